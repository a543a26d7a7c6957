/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <weir/object.h>

#include "documents.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

/* MessagePack-C's own bound of nesting, MSGPACK_EMBED_STACK_SIZE. */
#define THEIR_DEPTH 32

/* A tree's bytes in an arena: its nodes, and what their alignment may cost. */
#define TREE_BYTES_MAX(size_bytes) (sizeof(msgpack_object) * (size_bytes) + sizeof(msgpack_object))

static struct weir_unpacker over(struct weir_view input)
{
    struct weir_unpacker unpacker;

    weir_unpack_init(&unpacker, input, NULL);
    return unpacker;
}

/* What *ret must not become on failure. */
static msgpack_object untouched(void)
{
    msgpack_object object;

    memset(&object, 0x5a, sizeof object);
    return object;
}

static bool is_untouched(const msgpack_object *object)
{
    msgpack_object before = untouched();

    return memcmp(object, &before, sizeof before) == 0;
}

/* --- comparing trees ------------------------------------------------------------------------- */

/* Whether two trees over the same input are the same, bit for bit, payloads in the same place. */
static bool same_tree(const msgpack_object *a, const msgpack_object *b)
{
    bool same = a->type == b->type;

    if (!same)
        return false;
    switch (a->type) {
    case MSGPACK_OBJECT_NIL:
        return true;
    case MSGPACK_OBJECT_BOOLEAN:
        return a->via.boolean == b->via.boolean;
    case MSGPACK_OBJECT_STR:
        return a->via.str.size == b->via.str.size &&
               (a->via.str.ptr == b->via.str.ptr || a->via.str.size == 0);
    case MSGPACK_OBJECT_BIN:
        return a->via.bin.size == b->via.bin.size &&
               (a->via.bin.ptr == b->via.bin.ptr || a->via.bin.size == 0);
    case MSGPACK_OBJECT_EXT:
        return a->via.ext.size == b->via.ext.size && a->via.ext.type == b->via.ext.type &&
               (a->via.ext.ptr == b->via.ext.ptr || a->via.ext.size == 0);
    case MSGPACK_OBJECT_ARRAY:
        same = a->via.array.size == b->via.array.size;
        for (uint32_t i = 0; same && i < a->via.array.size; i++)
            same = same_tree(&a->via.array.ptr[i], &b->via.array.ptr[i]);
        return same;
    case MSGPACK_OBJECT_MAP:
        same = a->via.map.size == b->via.map.size;
        for (uint32_t i = 0; same && i < a->via.map.size; i++)
            same = same_tree(&a->via.map.ptr[i].key, &b->via.map.ptr[i].key) &&
                   same_tree(&a->via.map.ptr[i].val, &b->via.map.ptr[i].val);
        return same;
    default:
        return a->via.u64 == b->via.u64;
    }
}

/*
 * Read all values of @input one after the other, and compare with what MessagePack-C makes of them,
 * how much it takes, and when there are no more. Returns how many there are.
 */
static unsigned compare_all(struct weir_view input, struct weir_arena *arena)
{
    struct weir_unpacker u = over(input);
    msgpack_unpacked theirs;
    size_t offset = 0;
    unsigned count = 0;

    msgpack_unpacked_init(&theirs);
    while (offset < input.size) {
        msgpack_object ours = untouched();
        msgpack_unpack_return got =
            msgpack_unpack_next(&theirs, (const char *)input.data, input.size, &offset);
        assert_int_equal(got, MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(weir_object_unpack(&u, arena, 0, &ours), 0);
        assert_int_equal(weir_unpack_offset(&u), offset);
        assert_true(same_tree(&ours, &theirs.data));
        count++;
    }
    assert_true(weir_unpack_done(&u));
    msgpack_unpacked_destroy(&theirs);
    return count;
}

/* --- the same tree --------------------------------------------------------------------------- */

static void documents_become_the_trees_of_MessagePack_C(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    uint8_t copy[2048];

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (size_t i = 0; i < documents_count; i++) {
        /* With and without room behind the last value, for the end is read in another way. */
        size_t size = documents[i].size;
        assert_true(size + 40 <= sizeof copy);
        memcpy(copy, documents[i].data, size);
        memset(copy + size, 0xc0, 40);
        unsigned count = compare_all(documents[i], &arena);
        assert_int_equal(compare_all(weir_view_of(copy, size + 40), &arena), count + 40);
        weir_arena_reset(&arena);
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* Compare the value of @size bytes at @bytes, with @behind nils behind it. */
static void compare_one(const uint8_t *bytes, size_t size, struct weir_arena *arena)
{
    uint8_t input[64];

    for (size_t behind = 0; behind <= 40; behind += behind < 10 ? 1 : 10) {
        memset(input, 0xc0, sizeof input);
        memcpy(input, bytes, size);
        compare_all(weir_view_of(input, size + behind), arena);
    }
}

static void integers_and_floats_of_every_width_are_the_same(void **state)
{
    static const uint64_t values[] = {0,
                                      1,
                                      0x7f,
                                      0x80,
                                      0xff,
                                      0x7fff,
                                      0x8000,
                                      0xffff,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      INT64_MAX,
                                      UINT64_C(1) << 63,
                                      UINT64_MAX,
                                      UINT64_MAX - 32,
                                      UINT64_C(0x3ff0000000000000),
                                      UINT64_C(0x7ff0000000000001),
                                      UINT64_C(0x7f8000017fc00001),
                                      UINT64_C(0x0123456789abcdef)};
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    uint8_t bytes[9];

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (unsigned tag = 0; tag < 256; tag++) {
        bytes[0] = (uint8_t)tag;
        if (weir_wire_tags[tag].kind != WEIR_WIRE_SCALAR)
            continue;
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            weir_wire_store64(bytes + 1, values[i]);
            compare_one(bytes, weir_wire_tags[tag].head_bytes, &arena);
            /* The low bytes of the value in the place that is read. */
            unsigned width = weir_wire_tags[tag].head_bytes - 1u;
            weir_wire_store64(bytes + 1, width == 0 ? 0 : values[i] << (64 - 8 * width));
            compare_one(bytes, weir_wire_tags[tag].head_bytes, &arena);
        }
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void random_documents_become_the_trees_of_MessagePack_C(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    struct test_random random;
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    (void)state;
    test_random_init(&random);
    weir_arena_init(&arena, pool, &(struct weir_arena_options){.chunk_bytes = 256});
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    for (unsigned round = 0; round < 2000; round++) {
        unsigned count = 1 + (unsigned)test_random_below(&random, 3);
        msgpack_sbuffer_clear(&buffer);
        for (unsigned i = 0; i < count; i++)
            random_document(&packer, &random, 6);
        struct weir_view input = weir_view_of(buffer.data, buffer.size);
        assert_int_equal(compare_all(input, &arena), count);
        assert_true(weir_arena_used_bytes(&arena) <= TREE_BYTES_MAX(input.size));
        weir_arena_reset(&arena);
    }
    msgpack_sbuffer_destroy(&buffer);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* As deep as weir_check() says, no less, and it is refused where that one refuses it. */
static void random_documents_are_as_deep_as_they_are_checked_to_be(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    struct test_random random;
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    (void)state;
    test_random_init(&random);
    weir_arena_init(&arena, pool, NULL);
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    for (unsigned round = 0; round < 1000; round++) {
        struct weir_limits limits = {.depth = 1};
        struct weir_fault wanted, fault;
        msgpack_object object;
        msgpack_sbuffer_clear(&buffer);
        msgpack_pack_array(&packer, 3);
        for (unsigned i = 0; i < 3; i++)
            random_document(&packer, &random, 6);
        struct weir_view input = weir_view_of(buffer.data, buffer.size);
        for (int rc = -ENOBUFS; rc != 0; limits.depth++) {
            rc = weir_check(input, &limits, &wanted);
            assert_int_equal(weir_object_parse(input, &limits, &arena, &object, &fault), rc);
            assert_int_equal(fault.error, wanted.error);
            assert_int_equal(fault.offset, wanted.offset);
            weir_arena_reset(&arena);
        }
    }
    msgpack_sbuffer_destroy(&buffer);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* What MessagePack-C and weir_unpack_skip() say of the first value in @input, and what we say. */
static void compare_verdicts(struct weir_view input, struct weir_arena *arena)
{
    struct weir_unpacker u = over(input);
    struct weir_unpacker skipper = over(input);
    msgpack_object ours = untouched();
    msgpack_unpacked theirs;
    size_t offset = 0;

    int wanted = weir_unpack_skip(&skipper);
    int rc = weir_object_unpack(&u, arena, 0, &ours);
    assert_true((rc == 0) == (wanted == 0));
    if (rc != 0) {
        assert_true(is_untouched(&ours));
        assert_int_equal(weir_arena_used_bytes(arena), 0);
        /* It is refused where skipping fails, or before, where a head announces too much. */
        size_t fault = weir_unpack_offset(&u);
        assert_true(rc == -EAGAIN || rc == wanted);
        assert_true(fault <= weir_unpack_offset(&skipper));
        assert_true(rc == wanted || fault < weir_unpack_offset(&skipper));
        return;
    }
    assert_int_equal(weir_unpack_offset(&u), weir_unpack_offset(&skipper));
    msgpack_unpacked_init(&theirs);
    assert_int_equal(msgpack_unpack_next(&theirs, (const char *)input.data, input.size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, weir_unpack_offset(&u));
    assert_true(same_tree(&ours, &theirs.data));
    msgpack_unpacked_destroy(&theirs);
    weir_arena_reset(arena);
}

/* All shapes that few bytes can have, arrays and maps in the last place of others among them. */
static void every_short_input_gets_the_same_tree_or_none(void **state)
{
    static const uint8_t alphabet[] = {0x01, 0x80, 0x81, 0x82, 0x90, 0x91, 0x92, 0xa1, 0xc1};
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    uint8_t input[6];
    unsigned total = 1;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (size_t size = 0; size <= sizeof input; size++, total *= sizeof alphabet) {
        for (unsigned number = 0; number < total; number++) {
            unsigned rest = number;
            for (size_t i = 0; i < size; i++, rest /= sizeof alphabet)
                input[i] = alphabet[rest % sizeof alphabet];
            compare_verdicts(weir_view_of(input, size), &arena);
        }
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* --- where the bytes end, and what is wrong with them ---------------------------------------- */

static void each_fault_is_named_by_its_offset_and_kind(void **state)
{
    static const struct {
        struct weir_view input;
        int error;
        size_t offset;
    } cases[] = {
        {{NULL, 0}, -EAGAIN, 0},
        {{(const uint8_t *)"\xc1", 1}, -EBADMSG, 0},
        {{(const uint8_t *)"\xcd\x01", 2}, -EAGAIN, 0},
        {{(const uint8_t *)"\xa3\x61\x62", 3}, -EAGAIN, 0},
        {{(const uint8_t *)"\xdc\x00", 2}, -EAGAIN, 0},
        {{(const uint8_t *)"\x92\x01", 2}, -EAGAIN, 0},
        {{(const uint8_t *)"\x81\x01", 2}, -EAGAIN, 0},
        {{(const uint8_t *)"\x92\x01\xc1", 3}, -EBADMSG, 2},
        {{(const uint8_t *)"\x92\xa1\x61\xcc", 4}, -EAGAIN, 3},
        /* The str took the byte that the second element needs: that is what is missing. */
        {{(const uint8_t *)"\x92\xa1\x61", 3}, -EAGAIN, 3},
        /* Two values within, one behind: the inner head asks for one more than there are. */
        {{(const uint8_t *)"\x92\x92\x01\x02", 4}, -EAGAIN, 1},
        {{(const uint8_t *)"\x92\x01\x92\x02", 4}, -EAGAIN, 2},
        {{(const uint8_t *)"\x91\x92\x91\x81\x01\x02", 6}, -EAGAIN, 3},
        {{(const uint8_t *)"\xdd\xff\xff\xff\xff", 5}, -EAGAIN, 0},
        {{(const uint8_t *)"\xdf\xff\xff\xff\xff\x01\x02", 7}, -EAGAIN, 0},
        {{(const uint8_t *)"\xdf\x80\x00\x00\x00\x01\x02\x03\x04\x05", 10}, -EAGAIN, 0},
        {{(const uint8_t *)"\x91\xc9\xff\xff\xff\xff\x01\x02\x03\x04\x05\x06", 12}, -EAGAIN, 1},
    };
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_unpacker u = over(cases[i].input);
        msgpack_object object = untouched();
        struct weir_fault fault = {7, 7, NULL};
        assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), cases[i].error);
        assert_int_equal(weir_unpack_offset(&u), cases[i].offset);
        assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), cases[i].error);
        assert_int_equal(weir_unpack_offset(&u), cases[i].offset);
        assert_int_equal(weir_object_parse(cases[i].input, NULL, &arena, &object, &fault),
                         cases[i].error);
        assert_int_equal(fault.error, cases[i].error);
        assert_int_equal(fault.offset, cases[i].offset);
        assert_non_null(fault.reason);
        assert_true(is_untouched(&object));
        assert_int_equal(weir_arena_used_bytes(&arena), 0);
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* Read every part of @value that begins where it does. */
static void truncate_everywhere(struct weir_view value, struct weir_arena *arena)
{
    for (size_t size = 0; size < value.size; size++) {
        /* A copy of the right size, so that a sanitizer sees what is read beyond it. */
        uint8_t *copy = malloc(size + 1);
        assert_non_null(copy);
        memcpy(copy, value.data, size);
        struct weir_unpacker u = over(weir_view_of(copy, size));
        msgpack_object object = untouched();
        assert_int_equal(weir_object_unpack(&u, arena, 0, &object), -EAGAIN);
        assert_true(weir_unpack_offset(&u) <= size);
        assert_true(is_untouched(&object));
        assert_int_equal(weir_arena_used_bytes(arena), 0);
        compare_verdicts(weir_view_of(copy, size), arena);
        free(copy);
    }
}

static void every_truncation_is_incomplete_and_leaves_nothing_behind(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (size_t i = 0; i < documents_count; i++) {
        struct weir_unpacker values = over(documents[i]);
        struct weir_view value;
        while (!weir_unpack_done(&values)) {
            assert_int_equal(weir_unpack_raw(&values, &value), 0);
            truncate_everywhere(value, &arena);
        }
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void the_reserved_byte_is_malformed_wherever_a_value_begins(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    uint8_t copy[2048];

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (size_t i = 0; i < documents_count; i++) {
        struct weir_unpacker heads = over(documents[i]);
        while (!weir_unpack_done(&heads)) {
            struct weir_value value;
            size_t offset = weir_unpack_offset(&heads);
            assert_int_equal(weir_unpack_next(&heads, &value), 0);
            memcpy(copy, documents[i].data, documents[i].size);
            copy[offset] = 0xc1;
            struct weir_unpacker u = over(weir_view_of(copy, documents[i].size));
            msgpack_object object;
            while (weir_object_unpack(&u, &arena, 0, &object) == 0)
                continue;
            assert_int_equal(weir_unpack_error(&u), -EBADMSG);
            assert_int_equal(weir_unpack_offset(&u), offset);
            weir_arena_reset(&arena);
        }
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void bytes_behind_the_value_are_refused_by_parse_alone(void **state)
{
    struct weir_view input = VIEW("\x91\x05\x06");
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    struct weir_unpacker u = over(input);
    msgpack_object object = untouched();
    struct weir_fault fault = {7, 7, NULL};

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    assert_int_equal(weir_object_parse(input, NULL, &arena, &object, &fault), -EBADMSG);
    assert_int_equal(fault.offset, 2);
    assert_string_equal(fault.reason, "bytes are left over");
    assert_true(is_untouched(&object));
    assert_int_equal(weir_arena_used_bytes(&arena), 0);
    assert_int_equal(weir_object_parse(input, NULL, &arena, &object, NULL), -EBADMSG);
    assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), 0);
    assert_int_equal(object.via.array.ptr[0].via.u64, 5);
    assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), 0);
    assert_int_equal(object.via.u64, 6);
    assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), -EAGAIN);
    assert_int_equal(object.via.u64, 6);
    assert_int_equal(weir_object_parse(VIEW("\x91\x05"), NULL, &arena, &object, &fault), 0);
    assert_int_equal(fault.error, 0);
    assert_int_equal(fault.offset, 2);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* --- bounds ---------------------------------------------------------------------------------- */

static void hostile_counts_allocate_nothing(void **state)
{
    static const struct weir_view inputs[] = {
        {(const uint8_t *)"\xdd\xff\xff\xff\xff\x01\x02\x03\x04\x05", 10},
        {(const uint8_t *)"\xdf\xff\xff\xff\xff\x01\x02\x03\x04\x05", 10},
        {(const uint8_t *)"\xdf\x80\x00\x00\x01\x01\x02\x03\x04\x05", 10},
        {(const uint8_t *)"\xdc\xff\xff\x01\x02\x03\x04\x05\x06\x07", 10},
        {(const uint8_t *)"\xde\xff\xff\x01\x02\x03\x04\x05\x06\x07", 10},
        {(const uint8_t *)"\xdd\xff\xff\xff\xff", 5},
    };
    struct test_source source;
    struct weir_arena arena;
    msgpack_object object;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    uint64_t calls = source.calls;
    weir_arena_init(&arena, pool, NULL);
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        struct weir_unpacker u = over(inputs[i]);
        assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), -EAGAIN);
        assert_int_equal(weir_unpack_offset(&u), 0);
        assert_int_equal(weir_arena_held_bytes(&arena), 0);
    }
    assert_int_equal(source.calls, calls);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

/* Arrays within each other, each of which announces as many as there are bytes behind it. */
static void a_tree_has_no_more_nodes_than_its_input_has_bytes(void **state)
{
    enum { SIZE = 5000 };
    uint8_t input[SIZE];
    static uint8_t memory[TREE_BYTES_MAX(SIZE)];
    struct test_random random;
    struct weir_arena arena;
    msgpack_object object;

    (void)state;
    for (size_t i = 0; i + 5 <= SIZE; i += 5) {
        input[i] = WEIR_TAG_ARRAY32;
        weir_wire_store32(input + i + 1, (uint32_t)(SIZE - i - 5));
    }
    weir_arena_init_fixed(&arena, memory, sizeof memory);
    struct weir_unpacker u = over(weir_view_of(input, SIZE));
    assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), -EAGAIN);
    assert_int_equal(weir_unpack_offset(&u), 5);
    /* And whatever else the bytes are: they never need more. */
    test_random_init(&random);
    for (unsigned round = 0; round < 5000; round++) {
        static const uint8_t heads[] = {0x91, 0x92, 0x9f, 0x81, 0x8f, 0xdc, 0xdd, 0xde, 0xa1};
        size_t size = 1 + (size_t)test_random_below(&random, 300);
        for (size_t i = 0; i < size; i++)
            input[i] = test_random_below(&random, 3) == 0
                           ? heads[test_random_below(&random, sizeof heads)]
                           : (uint8_t)test_random_below(&random, 4);
        weir_arena_init_fixed(&arena, memory, TREE_BYTES_MAX(size));
        u = over(weir_view_of(input, size));
        while (weir_object_unpack(&u, &arena, UINT32_MAX, &object) == 0)
            continue;
        assert_int_not_equal(weir_unpack_error(&u), -ENOBUFS);
    }
}

static void the_limit_of_depth_is_exact(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    uint8_t input[256];
    msgpack_object object = untouched();

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (uint32_t depth = 1; depth <= 140; depth++) {
        /* [[[...]]] with an empty one innermost; then with something behind each. */
        for (unsigned behind = 0; behind < 2; behind++) {
            memset(input, behind ? 0x92 : 0x91, depth);
            input[depth - 1] = 0x80;
            memset(input + depth, 0xc0, sizeof input - depth);
            size_t size = depth + (behind ? depth - 1 : 0);
            if (size > sizeof input)
                continue;
            struct weir_view view = weir_view_of(input, size);
            struct weir_unpacker u = over(view);
            object = untouched();
            assert_int_equal(weir_object_unpack(&u, &arena, depth, &object), 0);
            assert_true(weir_unpack_done(&u));
            if (depth > 1) { /* for 0 is the default */
                object = untouched();
                u = over(view);
                assert_int_equal(weir_object_unpack(&u, &arena, depth - 1, &object), -ENOBUFS);
                assert_int_equal(weir_unpack_offset(&u), depth - 1);
                assert_true(is_untouched(&object));
            }
            u = over(view);
            assert_int_equal(weir_object_unpack(&u, &arena, 0, &object),
                             depth <= 128 ? 0 : -ENOBUFS);
            weir_arena_reset(&arena);
        }
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void too_deep_comes_before_cut_off(void **state)
{
    static const struct weir_view inputs[] = {
        {(const uint8_t *)"\x91\x91", 2},
        {(const uint8_t *)"\x91\xdc\x00", 3},
        {(const uint8_t *)"\x91\xdf\xff\xff\xff\xff\x00\x00\x00\x00\x00", 11},
    };
    uint8_t memory[64];
    struct weir_arena arena;

    (void)state;
    weir_arena_init_fixed(&arena, memory, sizeof memory);
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        struct weir_limits limits = {.depth = 1};
        struct weir_fault wanted, fault;
        msgpack_object object;
        assert_int_equal(weir_object_parse(inputs[i], &limits, &arena, &object, &fault), -ENOBUFS);
        assert_int_equal(fault.offset, 1);
        assert_string_equal(fault.reason, "nested deeper than the limit");
        assert_int_equal(weir_check(inputs[i], &limits, &wanted), fault.error);
        assert_int_equal(wanted.offset, fault.offset);
    }
}

static void a_depth_of_32_is_the_limit_of_MessagePack_C(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    uint8_t input[64];

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (size_t depth = THEIR_DEPTH - 2; depth <= THEIR_DEPTH + 2; depth++) {
        msgpack_unpacked theirs;
        msgpack_object ours;
        size_t offset = 0;
        memset(input, 0x91, depth);
        input[depth] = 0x07;
        struct weir_unpacker u = over(weir_view_of(input, depth + 1));
        int rc = weir_object_unpack(&u, &arena, THEIR_DEPTH, &ours);
        msgpack_unpacked_init(&theirs);
        msgpack_unpack_return got =
            msgpack_unpack_next(&theirs, (const char *)input, depth + 1, &offset);
        assert_int_equal(rc, depth <= THEIR_DEPTH ? 0 : -ENOBUFS);
        assert_int_equal(
            got, depth <= THEIR_DEPTH ? MSGPACK_UNPACK_SUCCESS : MSGPACK_UNPACK_NOMEM_ERROR);
        if (rc == 0)
            assert_true(same_tree(&ours, &theirs.data));
        msgpack_unpacked_destroy(&theirs);
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void millions_of_nested_arrays_need_no_stack(void **state)
{
    enum { DEPTH = 3000000 };
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    uint8_t *input = malloc(2 * DEPTH + 1);
    msgpack_object object;

    (void)state;
    assert_non_null(input);
    weir_arena_init(&arena, pool, &(struct weir_arena_options){.chunk_bytes = 65536});
    /* [[[..., 2], 2], 2], so that there is something to come back to everywhere. */
    memset(input, 0x92, DEPTH);
    input[DEPTH] = 0x01;
    memset(input + DEPTH + 1, 0x02, DEPTH);
    struct weir_unpacker u = over(weir_view_of(input, 2 * DEPTH + 1));
    assert_int_equal(weir_object_unpack(&u, &arena, UINT32_MAX, &object), 0);
    assert_true(weir_unpack_done(&u));
    const msgpack_object *node = &object;
    for (size_t i = 0; i < DEPTH; i++) {
        assert_true(node->type == MSGPACK_OBJECT_ARRAY && node->via.array.size == 2);
        assert_true(node->via.array.ptr[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
                    node->via.array.ptr[1].via.u64 == 2);
        node = &node->via.array.ptr[0];
    }
    assert_true(node->type == MSGPACK_OBJECT_POSITIVE_INTEGER && node->via.u64 == 1);
    u = over(weir_view_of(input, 2 * DEPTH));
    assert_int_equal(weir_object_unpack(&u, &arena, UINT32_MAX, &object), -EAGAIN);
    weir_arena_fini(&arena);
    free(input);
    test_pool_destroy(pool);
}

static void the_limits_of_elements_and_bytes_are_exact(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (size_t i = 0; i < documents_count; i++) {
        struct weir_unpacker heads = over(documents[i]);
        struct weir_view value;
        struct weir_value ignored;
        uint64_t elements = 0;
        assert_int_equal(weir_unpack_raw(&heads, &value), 0);
        for (heads = over(value); !weir_unpack_done(&heads); elements++)
            assert_int_equal(weir_unpack_next(&heads, &ignored), 0);
        struct weir_limits limits = {.elements = elements, .bytes = value.size};
        struct weir_unpacker u;
        msgpack_object object = untouched();
        assert_int_equal(weir_object_parse(value, &limits, &arena, &object, NULL), 0);
        weir_unpack_init(&u, documents[i], &limits);
        assert_int_equal(weir_object_unpack(&u, &arena, 0, &object),
                         documents[i].size == value.size ? 0 : -ENOBUFS);
        /* The budget is one for all that the cursor reads. */
        limits.bytes = 0;
        weir_unpack_init(&u, documents[i], &limits);
        assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), 0);
        if (documents[i].size != value.size) {
            assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), -ENOBUFS);
            assert_int_equal(weir_unpack_offset(&u), value.size);
        }
        weir_arena_reset(&arena);
        object = untouched();
        struct weir_fault fault;
        limits = (struct weir_limits){.bytes = value.size - 1};
        if (limits.bytes != 0) { /* which is none */
            assert_int_equal(weir_object_parse(value, &limits, &arena, &object, &fault), -ENOBUFS);
            assert_int_equal(fault.offset, 0);
        }
        limits = (struct weir_limits){.elements = elements - 1};
        if (limits.elements != 0)
            assert_int_equal(weir_object_parse(value, &limits, &arena, &object, &fault), -ENOBUFS);
        assert_int_equal(weir_arena_used_bytes(&arena), 0);
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void an_array_beyond_the_budget_is_refused_at_its_head(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_limits limits = {.elements = 5};
    struct weir_arena arena;
    struct weir_fault fault;
    msgpack_object object = untouched();

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    /* 1 + 2 + 2 are within it, one more is not. */
    assert_int_equal(
        weir_object_parse(VIEW("\x92\x92\x01\x02\x03"), &limits, &arena, &object, &fault), 0);
    object = untouched();
    weir_arena_reset(&arena);
    assert_int_equal(
        weir_object_parse(VIEW("\x92\x93\x01\x02\x03\x04"), &limits, &arena, &object, &fault),
        -ENOBUFS);
    assert_int_equal(fault.offset, 1);
    assert_string_equal(fault.reason, "more values than the limit allows");
    assert_int_equal(
        weir_object_parse(VIEW("\x92\x01\x82\x01\x02\x03\x04"), &limits, &arena, &object, &fault),
        -ENOBUFS);
    assert_int_equal(fault.offset, 2);
    assert_true(is_untouched(&object));
    assert_int_equal(weir_arena_used_bytes(&arena), 0);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* --- memory ---------------------------------------------------------------------------------- */

static const struct weir_view nested = {
    (const uint8_t *)"\x93\x93\x01\x02\x03\x82\xa1k\x93\x04\x05\x06\xa1l\x90\x92\x07\x08", 18};

static void a_failed_allocation_leaves_everything_as_it_was(void **state)
{
    unsigned failed = 0;
    unsigned room = 0;

    (void)state;
    for (;; room++) {
        uint8_t memory[1024];
        struct weir_arena arena;
        struct weir_unpacker u = over(nested);
        msgpack_object object = untouched();
        weir_arena_init_fixed(&arena, memory, room * 8);
        size_t used = weir_arena_used_bytes(&arena);
        int rc = weir_object_unpack(&u, &arena, 0, &object);
        if (rc == 0)
            break;
        failed++;
        assert_int_equal(rc, -ENOBUFS);
        assert_true(is_untouched(&object));
        assert_int_equal(weir_arena_used_bytes(&arena), used);
        /* At the head of an array or map: 0, 1, 5, 8 or 15. */
        size_t at = weir_unpack_offset(&u);
        assert_true(at == 0 || at == 1 || at == 5 || at == 8 || at == 15);
    }
    /* 3 + 3 + 4 + 3 + 2 nodes, and what the alignment costs. */
    assert_true(room * 8 >= 15 * sizeof(msgpack_object));
    assert_int_equal(failed, room);
}

static void a_source_that_fails_is_reported_at_the_head_that_asked(void **state)
{
    enum { COUNT = 5000 };
    static uint8_t input[3 * (COUNT + 3)];
    struct test_source source;
    struct weir_arena arena;
    uint64_t n = 1;

    (void)state;
    /* Three arrays of 120,000 bytes of nodes each, the last within the second. */
    for (size_t i = 0; i < 3; i++) {
        uint8_t *array = input + i * (COUNT + 3);
        array[0] = WEIR_TAG_ARRAY16;
        weir_wire_store16(array + 1, COUNT);
        memset(array + 3, 0x01, COUNT);
    }
    memmove(input + 2 * (COUNT + 3) - 1, input + 2 * (COUNT + 3), COUNT + 3);
    size_t size = sizeof input - 1;
    for (;; n++) {
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        weir_arena_init(&arena, pool, NULL);
        struct weir_unpacker u = over(weir_view_of(input, size));
        msgpack_object first = untouched();
        msgpack_object second = untouched();
        test_source_fail(&source, n);
        int rc = weir_object_unpack(&u, &arena, 0, &first);
        struct weir_arena_mark mark = weir_arena_mark(&arena);
        if (rc == 0)
            rc = weir_object_unpack(&u, &arena, 0, &second);
        if (rc != 0) {
            assert_int_equal(rc, -ENOMEM);
            size_t at = weir_unpack_offset(&u);
            assert_true(at == 0 || at == COUNT + 3 || at == 2 * (COUNT + 3) - 1);
            assert_true(is_untouched(&second));
            assert_ptr_equal(weir_arena_mark(&arena).cursor, mark.cursor);
            if (at != 0)
                assert_int_equal(first.via.array.ptr[COUNT - 1].via.u64, 1);
        } else {
            assert_int_equal(second.via.array.ptr[COUNT - 1].via.array.size, COUNT);
        }
        uint64_t failures = source.failures;
        weir_arena_fini(&arena);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (failures == 0)
            break;
    }
    assert_true(n > 2);
}

static void one_allocation_per_array_or_map_and_none_for_others(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    msgpack_object object;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    struct weir_unpacker u = over(VIEW("\x07\xa3"
                                       "abc\xcb\x00\x00\x00\x00\x00\x00\x00\x00\x90\x80\xc0"));
    while (!weir_unpack_done(&u))
        assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), 0);
    assert_int_equal(weir_arena_held_bytes(&arena), 0);
    u = over(nested);
    assert_int_equal(weir_object_unpack(&u, &arena, 0, &object), 0);
    assert_int_equal(weir_arena_used_bytes(&arena), 15 * sizeof(msgpack_object));
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* --- looking into a tree --------------------------------------------------------------------- */

static void values_are_found_by_key_and_index(void **state)
{
    /* {"a": 1, 7: 2, h'61': 3, "": 4, "a": 5, "list": [6, 7]} */
    struct weir_view input = VIEW("\x86\xa1\x61\x01\x07\x02\xc4\x01\x61\x03\xa0\x04\xa1\x61\x05\xa4"
                                  "list\x92\x06\x07");
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    msgpack_object object;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    assert_int_equal(weir_object_parse(input, NULL, &arena, &object, NULL), 0);
    assert_int_equal(weir_object_find(&object, weir_view_text("a"))->via.u64, 1);
    assert_int_equal(weir_object_find(&object, weir_view_of(NULL, 0))->via.u64, 4);
    assert_null(weir_object_find(&object, weir_view_text("lis")));
    assert_null(weir_object_find(&object, weir_view_text("list2")));
    const msgpack_object *list = weir_object_find(&object, weir_view_text("list"));
    assert_non_null(list);
    assert_int_equal(weir_object_at(list, 0)->via.u64, 6);
    assert_int_equal(weir_object_at(list, 1)->via.u64, 7);
    assert_null(weir_object_at(list, 2));
    assert_null(weir_object_at(&object, 0));
    assert_null(weir_object_find(list, weir_view_text("a")));
    assert_null(weir_object_find(weir_object_at(list, 0), weir_view_text("a")));
    assert_null(weir_object_at(weir_object_at(list, 0), 0));
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_become_the_trees_of_MessagePack_C),
        cmocka_unit_test(integers_and_floats_of_every_width_are_the_same),
        cmocka_unit_test(random_documents_become_the_trees_of_MessagePack_C),
        cmocka_unit_test(random_documents_are_as_deep_as_they_are_checked_to_be),
        cmocka_unit_test(every_short_input_gets_the_same_tree_or_none),
        cmocka_unit_test(each_fault_is_named_by_its_offset_and_kind),
        cmocka_unit_test(every_truncation_is_incomplete_and_leaves_nothing_behind),
        cmocka_unit_test(the_reserved_byte_is_malformed_wherever_a_value_begins),
        cmocka_unit_test(bytes_behind_the_value_are_refused_by_parse_alone),
        cmocka_unit_test(hostile_counts_allocate_nothing),
        cmocka_unit_test(a_tree_has_no_more_nodes_than_its_input_has_bytes),
        cmocka_unit_test(the_limit_of_depth_is_exact),
        cmocka_unit_test(too_deep_comes_before_cut_off),
        cmocka_unit_test(a_depth_of_32_is_the_limit_of_MessagePack_C),
        cmocka_unit_test(millions_of_nested_arrays_need_no_stack),
        cmocka_unit_test(the_limits_of_elements_and_bytes_are_exact),
        cmocka_unit_test(an_array_beyond_the_budget_is_refused_at_its_head),
        cmocka_unit_test(a_failed_allocation_leaves_everything_as_it_was),
        cmocka_unit_test(a_source_that_fails_is_reported_at_the_head_that_asked),
        cmocka_unit_test(one_allocation_per_array_or_map_and_none_for_others),
        cmocka_unit_test(values_are_found_by_key_and_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
