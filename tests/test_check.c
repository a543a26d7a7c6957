/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <weir/canonical.h>
#include <weir/check.h>

#include "documents.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

/* --- one verdict ----------------------------------------------------------------------------- */

static uint8_t arena_memory[1 << 20];

/* Check with @flags; keys, where they are kept, in an arena that has to be as before. */
static struct weir_fault check(struct weir_view input, uint32_t flags)
{
    struct weir_check_options options = {.flags = flags};
    struct weir_checked checked = {{(const uint8_t *)"x", 1}};
    struct weir_fault fault = {1, 1, NULL};
    struct weir_arena arena;
    uint8_t *copy = malloc(input.size != 0 ? input.size : 1);

    assert_non_null(copy);
    if (input.size != 0)
        memcpy(copy, input.data, input.size);
    weir_arena_init_fixed(&arena, arena_memory, sizeof(arena_memory));
    options.arena = &arena;
    int rc = weir_check_with(weir_view_of(copy, input.size), &options, &checked, &fault);
    assert_int_equal(rc, fault.error);
    assert_non_null(fault.reason);
    assert_int_equal(weir_arena_used_bytes(&arena), 0);
    if (rc == 0)
        assert_ptr_equal(weir_checked_view(checked).data, copy);
    else
        assert_int_equal(weir_checked_view(checked).size, 1);
    free(copy);
    return fault;
}

#define assert_fault(fault, wanted_error, wanted_offset, wanted_reason) \
    do {                                                                \
        struct weir_fault got = (fault);                                \
        assert_string_equal(got.reason, wanted_reason);                 \
        assert_int_equal(got.error, wanted_error);                      \
        assert_int_equal(got.offset, wanted_offset);                    \
    } while (false)

#define WELL "nothing is wrong"
#define THERE "a key that was there before"

static void without_flags_it_is_the_plain_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        for (size_t size = 0; size <= documents[i].size; size++) {
            struct weir_view cut = weir_view_of(documents[i].data, size);
            struct weir_fault plain, with = check(cut, 0);
            weir_check(cut, NULL, &plain);
            assert_fault(with, plain.error, plain.offset, plain.reason);
            /* and a flag changes nothing about what is cut off or malformed */
            with = check(cut, WEIR_CHECK_UTF8);
            if (plain.error != 0 && with.offset >= plain.offset)
                assert_fault(with, plain.error, plain.offset, plain.reason);
        }
    }
    assert_int_equal(weir_check_with(VIEW("\x01"), NULL, NULL, NULL), 0);
    assert_int_equal(weir_check_with(VIEW("\xc1"), NULL, NULL, NULL), -EBADMSG);
}

static void limits_hold_with_flags_too(void **state)
{
    struct weir_check_options options = {.flags = WEIR_CHECK_UTF8};
    uint8_t bytes[WEIR_DEPTH_MAX + 2];
    struct weir_fault fault;

    (void)state;
    memset(bytes, 0x91, sizeof(bytes));
    for (uint32_t depth = 1; depth <= WEIR_DEPTH_MAX; depth++) {
        options.limits.depth = depth;
        bytes[depth] = 0x01;
        struct weir_view input = weir_view_of(bytes, depth + 1);
        assert_int_equal(weir_check_with(input, &options, NULL, &fault), 0);
        assert_int_equal(fault.offset, depth + 1);
        bytes[depth] = 0x80;
        assert_int_equal(weir_check_with(input, &options, NULL, &fault), -ENOBUFS);
        assert_fault(fault, -ENOBUFS, depth, "nested deeper than the limit");
        bytes[depth] = 0x91;
    }
    options.limits.depth = WEIR_DEPTH_MAX + 1;
    assert_int_equal(weir_check_with(VIEW("\x01"), &options, NULL, &fault), -EINVAL);
    options.limits.depth = 0;
    options.limits.elements = 2;
    assert_int_equal(weir_check_with(VIEW("\x92\x01\x02"), &options, NULL, &fault), -ENOBUFS);
    assert_fault(fault, -ENOBUFS, 2, "more values than the limit allows");
    options.limits.bytes = 2;
    assert_int_equal(weir_check_with(VIEW("\x92\x01\x02"), &options, NULL, &fault), -ENOBUFS);
    assert_fault(fault, -ENOBUFS, 0, "more bytes than the limit allows");
}

static void a_single_value_is_one(void **state)
{
    (void)state;
    assert_fault(check(VIEW(""), WEIR_CHECK_SINGLE), -EAGAIN, 0, "there is no value");
    assert_fault(check(VIEW("\x92\x01\x02"), WEIR_CHECK_SINGLE), 0, 3, WELL);
    assert_fault(
        check(VIEW("\x92\x01\x02\x03"), WEIR_CHECK_SINGLE), -EBADMSG, 3, "bytes are left over");
    assert_fault(
        check(VIEW("\x92\x01\x02\xc1"), WEIR_CHECK_SINGLE), -EBADMSG, 3, "bytes are left over");
    assert_fault(
        check(VIEW("\x92\x01"), WEIR_CHECK_SINGLE), -EAGAIN, 0, "the bytes end within an array");
}

static void text_is_UTF_8_if_wanted(void **state)
{
    static const char bad[] = "a str that is not UTF-8";

    (void)state;
    assert_fault(
        check(VIEW("\x92\xa3\xe2\x82\xac\x81\xa1k\xc4\x01\xff"), WEIR_CHECK_UTF8), 0, 11, WELL);
    assert_fault(check(VIEW("\x92\x01\xa3\xe2\x82\x41"), WEIR_CHECK_UTF8), -EBADMSG, 2, bad);
    assert_fault(check(VIEW("\x81\xa1\xff\x01"), WEIR_CHECK_UTF8), -EBADMSG, 1, bad);
    assert_fault(check(VIEW("\x81\x01\xd9\x02\xc0\x80"), WEIR_CHECK_UTF8), -EBADMSG, 2, bad);
    assert_fault(check(VIEW("\x81\x01\xd9\x02\xc0\x80"), 0), 0, 6, WELL);
}

/* The same where every element is counted, which is another way through the bytes. */
static struct weir_fault check_text_slowly(struct weir_view input)
{
    struct weir_check_options options = {.limits.elements = input.size - 1,
                                         .flags = WEIR_CHECK_UTF8};
    struct weir_fault fault;

    (void)weir_check_with(input, &options, NULL, &fault);
    return fault;
}

/* A long str at the end, so that there are fewer elements than bytes. */
static size_t text_document(struct test_random *random, uint8_t *bytes, size_t size_max)
{
    size_t size = 0;

    while (size + 100 < size_max) {
        uint64_t kind = test_random_below(random, 40);
        size_t text = (size_t)test_random_below(random, 32);
        if (kind < 4) {
            bytes[size++] = (uint8_t)((kind < 2 ? 0x80 : 0x90) + test_random_below(random, 4));
        } else if (kind < 8) {
            bytes[size++] = (uint8_t)test_random(random);
        } else if (kind < 10) {
            bytes[size++] = kind == 8 ? 0xd9 : 0xc4;
            bytes[size++] = (uint8_t)text;
        } else {
            bytes[size++] = (uint8_t)(0xa0 + text);
        }
        for (size_t i = 0; kind >= 8 && i < text; i++)
            bytes[size++] = (uint8_t)('a' + i);
        if (kind >= 30 && text >= 3)
            memcpy(bytes + size - text + test_random_below(random, text - 2), "\xe2\x82\xac", 3);
        if (test_random_below(random, 100) == 0)
            bytes[size - 1] |= 0x80;
    }
    memcpy(bytes + size, "\xd9\x40", 2);
    memset(bytes + size + 2, 'z', 64);
    return size + 66;
}

static void text_is_found_bad_in_every_way_at_the_same_place(void **state)
{
    struct test_random random;
    uint8_t bytes[1000];
    size_t well = 0;

    (void)state;
    test_random_init(&random);
    for (int i = 0; i < 20000; i++) {
        size_t size = text_document(&random, bytes, 110 + (size_t)test_random_below(&random, 890));
        /* outside of any container, and within a large one */
        for (int inner = 0; inner < 2; inner++) {
            uint8_t wrapped[1000 + 3] = {0xdc, 0x03, 0x00};
            memcpy(wrapped + (inner != 0 ? 3 : 0), bytes, size);
            struct weir_view input = weir_view_of(wrapped, size + (inner != 0 ? 3 : 0));
            struct weir_fault slowly = check_text_slowly(input);
            assert_fault(check(input, WEIR_CHECK_UTF8), slowly.error, slowly.offset, slowly.reason);
            well += slowly.error == 0;
        }
    }
    assert_true(well > 100);
}

/* --- the canonical form ---------------------------------------------------------------------- */

static void heads_must_be_in_their_shortest_form(void **state)
{
    static const char integer[] = "an integer that is not in its shortest form";
    static const char length[] = "a length that is not in its shortest form";
    static const struct {
        struct weir_view bytes;
        const char *reason;
    } cases[] = {
        {{(const uint8_t *)"\xcc\x7f", 2}, integer},
        {{(const uint8_t *)"\xcc\x80", 2}, WELL},
        {{(const uint8_t *)"\xcd\x00\xff", 3}, integer},
        {{(const uint8_t *)"\xcd\x01\x00", 3}, WELL},
        {{(const uint8_t *)"\xce\x00\x00\xff\xff", 5}, integer},
        {{(const uint8_t *)"\xce\x00\x01\x00\x00", 5}, WELL},
        {{(const uint8_t *)"\xcf\x00\x00\x00\x00\xff\xff\xff\xff", 9}, integer},
        {{(const uint8_t *)"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 9}, WELL},
        {{(const uint8_t *)"\xd0\x01", 2}, integer},
        {{(const uint8_t *)"\xd0\xe0", 2}, integer},
        {{(const uint8_t *)"\xd0\xdf", 2}, WELL},
        {{(const uint8_t *)"\xd1\xff\x80", 3}, integer},
        {{(const uint8_t *)"\xd1\xff\x7f", 3}, WELL},
        {{(const uint8_t *)"\xd1\x12\x34", 3}, integer},
        {{(const uint8_t *)"\xd2\xff\xff\x80\x00", 5}, integer},
        {{(const uint8_t *)"\xd2\xff\xff\x7f\xff", 5}, WELL},
        {{(const uint8_t *)"\xd3\xff\xff\xff\xff\x80\x00\x00\x00", 9}, integer},
        {{(const uint8_t *)"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", 9}, WELL},
        {{(const uint8_t *)"\xd3\x7f\xff\xff\xff\x7f\xff\xff\xff", 9}, integer},
        {{(const uint8_t *)"\xd9\x01x", 3}, length},
        {{(const uint8_t *)"\xda\x00\x01x", 4}, length},
        {{(const uint8_t *)"\xdb\x00\x00\x00\x01x", 6}, length},
        {{(const uint8_t *)"\xc4\x00", 2}, WELL},
        {{(const uint8_t *)"\xc5\x00\x01x", 4}, length},
        {{(const uint8_t *)"\xc6\x00\x00\x00\x01x", 6}, length},
        {{(const uint8_t *)"\xc7\x00\x05", 3}, WELL},
        {{(const uint8_t *)"\xc7\x01\x05x", 4}, length},
        {{(const uint8_t *)"\xc7\x03\x05xyz", 6}, WELL},
        {{(const uint8_t *)"\xc7\x04\x05wxyz", 7}, length},
        {{(const uint8_t *)"\xc7\x10\x05"
                           "0123456789abcdef",
          19},
         length},
        {{(const uint8_t *)"\xc8\x00\x03\x05xyz", 7}, length},
        {{(const uint8_t *)"\xc9\x00\x00\x00\x03\x05xyz", 9}, length},
        {{(const uint8_t *)"\xd6\xff\x00\x00\x00\x00", 6}, WELL},
        {{(const uint8_t *)"\xdc\x00\x01\x00", 4}, length},
        {{(const uint8_t *)"\xdd\x00\x00\x00\x01\x00", 6}, length},
        {{(const uint8_t *)"\xde\x00\x00", 3}, length},
        {{(const uint8_t *)"\xdf\x00\x00\x00\x00", 5}, length},
        {{(const uint8_t *)"\xca\x7f\xc0\x00\x01", 5}, WELL},
        {{(const uint8_t *)"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", 9}, WELL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool well = strcmp(cases[i].reason, WELL) == 0;
        assert_fault(check(cases[i].bytes, WEIR_CHECK_CANONICAL),
                     well ? 0 : -EBADMSG,
                     well ? cases[i].bytes.size : 0,
                     cases[i].reason);
        assert_fault(check(cases[i].bytes, 0), 0, cases[i].bytes.size, WELL);
    }
}

/* Strs at the borders of the forms; what is one byte too short for its form is refused. */
static void long_heads_are_for_what_is_long(void **state)
{
    static const struct {
        uint8_t tag;
        size_t width, least;
    } forms[] = {
        {0xd9, 1, 32},
        {0xda, 2, 256},
        {0xdb, 4, 65536},
        {0xc5, 2, 256},
        {0xc6, 4, 65536},
        {0xdc, 2, 16},
        {0xdd, 4, 65536},
    };
    static uint8_t bytes[70000];

    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        for (size_t size = forms[i].least - 1; size <= forms[i].least; size++) {
            memset(bytes, 0x61, sizeof(bytes));
            bytes[0] = forms[i].tag;
            for (size_t b = 0; b < forms[i].width; b++)
                bytes[1 + b] = (uint8_t)(size >> (8 * (forms[i].width - 1 - b)));
            struct weir_view input = weir_view_of(bytes, 1 + forms[i].width + size);
            assert_int_equal(check(input, WEIR_CHECK_CANONICAL).error,
                             size < forms[i].least ? -EBADMSG : 0);
        }
    }
}

static void keys_must_stand_in_the_order_of_their_bytes(void **state)
{
    static const char order[] = "a key that is not in the order of their bytes";
    const uint32_t canonical = WEIR_CHECK_CANONICAL;

    (void)state;
    assert_fault(check(VIEW("\x83\x01\x00\xa1"
                            "a\x00\xa1"
                            "b\x00"),
                       canonical),
                 0,
                 9,
                 WELL);
    assert_fault(check(VIEW("\x82\xa1"
                            "b\x00\xa1"
                            "a\x00"),
                       canonical),
                 -EBADMSG,
                 4,
                 order);
    /* shorter strs first, because the tag is a byte of the key */
    assert_fault(check(VIEW("\x82\xa1z\x00\xa2"
                            "aa\x00"),
                       canonical),
                 0,
                 8,
                 WELL);
    assert_fault(check(VIEW("\x91\x82\x05\x00\x05\x00"), canonical), -EBADMSG, 4, THERE);
    /* each map for itself; a map as a value, and as a key */
    assert_fault(check(VIEW("\x82\x05\x81\x09\x00\x07\x81\x09\x00"), canonical), 0, 9, WELL);
    assert_fault(check(VIEW("\x82\x81\x01\x02\x00\x81\x01\x03\x00"), canonical), 0, 9, WELL);
    assert_fault(
        check(VIEW("\x82\x81\x01\x03\x00\x81\x01\x02\x00"), canonical), -EBADMSG, 5, order);
    assert_fault(check(VIEW("\x81\x82\x02\x00\x01\x00\x00"), canonical), -EBADMSG, 4, order);
    assert_fault(check(VIEW("\x82\x80\x80\x90\x90"), canonical), 0, 5, WELL);
}

static void canonical_is_what_packing_makes_so(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct test_random random;
    unsigned unchanged = 0;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 1000; round++) {
        struct weir_packer packer;
        struct weir_view made, input;
        struct weir_buf buf;
        msgpack_sbuffer bytes;
        msgpack_packer theirs;
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&theirs, &bytes, msgpack_sbuffer_write);
        random_document(&theirs, &random, 3);
        input = weir_view_of(bytes.data, bytes.size);
        assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
        weir_pack_begin(&packer, &buf, 0);
        weir_pack_raw(&packer, input);
        int rc = weir_pack_end_canonical(&packer, NULL, &made);
        bool same = rc == 0 && weir_view_equal(made, input);
        assert_int_equal(check(input, WEIR_CHECK_CANONICAL).error, same ? 0 : -EBADMSG);
        if (rc == 0) {
            assert_int_equal(check(made, WEIR_CHECK_CANONICAL).error, 0);
            assert_int_equal(check(input, WEIR_CHECK_UNIQUE).error, 0);
        }
        unchanged += same;
        weir_buf_fini(&buf);
        msgpack_sbuffer_destroy(&bytes);
    }
    assert_true(unchanged > 100 && unchanged < 1000);
    test_pool_destroy(pool);
}

/* --- unique keys ----------------------------------------------------------------------------- */

static void equal_keys_are_found_in_any_order_and_form(void **state)
{
    static const struct {
        struct weir_view bytes;
        size_t offset; /* of the second one; 0: there is none */
    } cases[] = {
        {{(const uint8_t *)"\x83\xa1"
                           "b\x00\xa1"
                           "a\x00\xa1"
                           "b\x00",
          10},
         7},
        {{(const uint8_t *)"\x83\x05\x00\x04\x00\xcc\x05\x00", 8}, 5},
        {{(const uint8_t *)"\x82\xd3\x00\x00\x00\x00\x00\x00\x00\x05\x00\x05\x00", 13}, 11},
        {{(const uint8_t *)"\x82\xff\x00\xd1\xff\xff\x00", 7}, 3},
        {{(const uint8_t *)"\x82\xff\x00\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x00", 13}, 0},
        {{(const uint8_t *)"\x82\xa1"
                           "a\x00\xd9\x01"
                           "a\x00",
          8},
         4},
        {{(const uint8_t *)"\x82\xa1"
                           "a\x00\xc4\x01"
                           "a\x00",
          8},
         0},
        {{(const uint8_t *)"\x82\xa0\x00\xd9\x00\x00", 6}, 3},
        {{(const uint8_t *)"\x82\xd4\x01"
                           "a\x00\xc7\x01\x01"
                           "a\x00",
          10},
         5},
        {{(const uint8_t *)"\x82\xd4\x01"
                           "a\x00\xc7\x01\x02"
                           "a\x00",
          10},
         0},
        {{(const uint8_t *)"\x83\xc0\x00\xc2\x00\xc3\x00", 7}, 0},
        {{(const uint8_t *)"\x83\xc3\x00\xc0\x00\xc3\x00", 7}, 5},
        {{(const uint8_t *)"\x82\xca\x00\x00\x00\x00\x00\xca\x80\x00\x00\x00\x00", 13}, 0},
        {{(const uint8_t *)"\x82\xca\x00\x00\x00\x00\x00\xca\x00\x00\x00\x00\x00", 13}, 7},
        {{(const uint8_t *)"\x82\x00\x00\xca\x00\x00\x00\x00\x00", 9}, 0},
        {{(const uint8_t *)"\x82\x91\x01\x00\x91\x01\x00", 7}, 4},
        {{(const uint8_t *)"\x82\x91\x01\x00\x91\xcc\x01\x00", 8}, 0},
        /* the inner one is complete first; each map for itself */
        {{(const uint8_t *)"\x82\x01\x82\x07\x00\x07\x00\x01\x00", 9}, 5},
        {{(const uint8_t *)"\x83\x01\x81\x01\x00\x02\x81\x01\x00\x01\x00", 11}, 9},
        {{(const uint8_t *)"\x82\x01\x81\x02\x00\x02\x81\x01\x00", 9}, 0},
        {{(const uint8_t *)"\x82\x82\x01\x00\x01\x00\x00\x03\x00", 9}, 4},
        /* several: the first that was there before */
        {{(const uint8_t *)"\x84\x02\x00\x01\x00\x02\x00\x01\x00", 9}, 5},
        {{(const uint8_t *)"\x84\x02\x00\x02\x00\x02\x00\x01\x00", 9}, 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool well = cases[i].offset == 0;
        assert_fault(check(cases[i].bytes, WEIR_CHECK_UNIQUE),
                     well ? 0 : -EBADMSG,
                     well ? cases[i].bytes.size : cases[i].offset,
                     well ? WELL : THERE);
    }
}

static void keys_are_kept_within_the_arena_or_not_at_all(void **state)
{
    struct weir_check_options options = {.flags = WEIR_CHECK_UNIQUE};
    enum { PAIRS = 50000 };
    static uint8_t bytes[3 + PAIRS * 4];
    struct weir_arena arena;
    struct weir_fault fault;

    (void)state;
    assert_int_equal(weir_check_with(VIEW("\x80"), &options, NULL, &fault), -EINVAL);
    assert_fault(fault, -EINVAL, 0, "an arena is needed to keep keys in");
    options.flags |= WEIR_CHECK_CANONICAL;
    assert_int_equal(weir_check_with(VIEW("\x80"), &options, NULL, &fault), 0);
    options.flags = WEIR_CHECK_UNIQUE;
    /* falling numbers, so that there is something to sort */
    memcpy(bytes, "\xde\xc3\x50", 3);
    for (unsigned i = 0; i < PAIRS; i++) {
        bytes[3 + 4 * i] = 0xcd;
        weir_wire_store16(bytes + 4 + 4 * i, (uint16_t)(PAIRS - i));
        bytes[6 + 4 * i] = 0;
    }
    struct weir_view input = weir_view_of(bytes, sizeof(bytes));
    struct test_source source;
    struct weir_pool *pool;
    for (uint64_t n = 1;; n++) {
        test_source_init(&source);
        pool = test_pool_create(&source);
        weir_arena_init(&arena, pool, NULL);
        options.arena = &arena;
        test_source_fail(&source, n);
        int rc = weir_check_with(input, &options, NULL, &fault);
        assert_int_equal(weir_arena_used_bytes(&arena), 0);
        bool failed = source.failures != 0;
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        if (failed)
            assert_string_equal(fault.reason, "no room in the arena for the keys");
        weir_arena_fini(&arena);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (!failed)
            break;
    }
    weir_arena_init_fixed(&arena, arena_memory, 8192);
    assert_int_equal(weir_check_with(input, &options, NULL, &fault), -ENOBUFS);
    assert_true(fault.offset > 3 && (fault.offset - 3) % 4 == 0);
    assert_int_equal(weir_arena_used_bytes(&arena), 0);
}

/* --- paths ----------------------------------------------------------------------------------- */

static void assert_path(struct weir_view input, size_t offset, const char *wanted)
{
    char path[64];

    assert_int_equal(weir_path_of(input, offset, path, sizeof(path)), strlen(wanted));
    assert_string_equal(path, wanted);
}

static void an_offset_has_a_path(void **state)
{
    struct weir_view input = VIEW("\x86\xa6orders\x93\x01\x02\x81\xa5price\xcd\x01\x00\x2a\xa3"
                                  "a/~\xff\xc3\xc0\x04\x92\x01\x02\x05\xa0\x06");

    (void)state;
    assert_path(input, 0, "");
    assert_path(input, 1, "/~@0");
    assert_path(input, 4, "/~@0");
    assert_path(input, 8, "/orders");
    assert_path(input, 9, "/orders/0");
    assert_path(input, 11, "/orders/2");
    assert_path(input, 12, "/orders/2/~@0");
    assert_path(input, 18, "/orders/2/price");
    assert_path(input, 20, "/orders/2/price");
    assert_path(input, 21, "/~@1");
    assert_path(input, 22, "/42");
    assert_path(input, 26, "/~@2");
    assert_path(input, 27, "/-1");
    assert_path(input, 28, "/~@3");
    assert_path(input, 29, "/~#3");
    assert_path(input, 30, "/~@4");
    assert_path(input, 32, "/~@4/1");
    assert_path(input, 33, "/~#4");
    assert_path(input, 34, "/~@5");
    assert_path(input, 35, "/");
    input = VIEW("\x82\xa3"
                 "a/~\x91\x07\xff\x08\x09");
    assert_path(input, 5, "/a~1~0");
    assert_path(input, 6, "/a~1~0/0");
    assert_path(input, 8, "/-1");
    assert_path(input, 9, ""); /* the next value at the top */
    assert_path(input, 10, "");
    /* Fewer bytes than elements: the rest may come yet. */
    assert_path(VIEW("\x92\x01"), 1, "/0");
    assert_path(VIEW("\x92\x01"), 2, "/1");
    assert_path(VIEW("\xdf\xff\xff\xff\xff\xa1k\x91"), 8, "/k/0");
    assert_path(VIEW("\xdd\x00\x00\x00"), 3, "");
    assert_path(VIEW("\x92\x01\xa2x"), 2, "/1");
    assert_path(VIEW("\x92\x01\xa2x"), 4, "/1");
    assert_path(VIEW("\x92\x91\x01"), 3, "/1"); /* what should begin there */
    assert_path(VIEW("\x81\xc1\x01"), 2, "/~@0");
    assert_path(VIEW(""), 0, "");
    assert_path(VIEW("\x81\xd3\x80\x00\x00\x00\x00\x00\x00\x00\x01"), 10, "/-9223372036854775808");
}

static void a_path_is_cut_to_the_room_there_is(void **state)
{
    struct weir_view input = VIEW("\x81\xa5price\x01");
    char path[8];

    (void)state;
    assert_int_equal(weir_path_of(input, 7, NULL, 0), 6);
    for (size_t size = 1; size <= 8; size++) {
        memset(path, 'x', sizeof(path));
        assert_int_equal(weir_path_of(input, 7, path, size), 6);
        assert_int_equal(strlen(path), size < 7 ? size - 1 : 6);
        assert_memory_equal(path, "/price", strlen(path));
        for (size_t i = size; i < sizeof(path); i++)
            assert_int_equal(path[i], 'x');
    }
}

static void deep_offsets_have_paths_as_deep_as_is_checked(void **state)
{
    enum { LEVELS = 3000 };
    uint8_t bytes[LEVELS + 1];

    (void)state;
    memset(bytes, 0x91, LEVELS);
    bytes[LEVELS] = 0;
    struct weir_view input = weir_view_of(bytes, sizeof(bytes));
    assert_int_equal(weir_path_of(input, WEIR_DEPTH_MAX, NULL, 0), 2 * WEIR_DEPTH_MAX);
    assert_int_equal(weir_path_of(input, LEVELS, NULL, 0), 2 * WEIR_DEPTH_MAX);
}

/* Whether a step of @path, which leads to nothing, comes to another value than the one that has the
 * bytes from @offset: to that of an equal key, which stands before. */
static bool an_equal_key_comes_first(struct weir_view value, const char *path, size_t size,
                                     size_t offset)
{
    struct weir_unpacker back;
    int rc = -ENOENT;

    while (rc == -ENOENT && size != 0) {
        while (path[--size] != '/')
            ;
        weir_unpack_init(&back, value, NULL);
        rc = weir_unpack_path(&back, weir_view_of(path, size));
    }
    return rc == 0 && weir_unpack_skip(&back) == 0 && weir_unpack_offset(&back) <= offset;
}

/* Each head of each value: its path leads back to it. */
static void a_path_leads_back(struct weir_view input)
{
    struct weir_unpacker heads, back;
    struct weir_value value = {WEIR_TYPE_NIL, 0, 0, {0}};
    size_t top = 0;
    uint64_t to_come = 0;
    static char path[100000];

    weir_unpack_init(&heads, input, NULL);
    while (!weir_unpack_done(&heads)) {
        size_t offset = weir_unpack_offset(&heads);
        if (to_come == 0) {
            top = offset;
            to_come = 1;
        }
        size_t size = weir_path_of(input, offset, path, sizeof(path));
        assert_true(size < sizeof(path));
        struct weir_view from_top = weir_view_of(input.data + top, input.size - top);
        weir_unpack_init(&back, from_top, NULL);
        int rc = weir_unpack_path(&back, weir_view_of(path, size));
        size_t got = top + weir_unpack_offset(&back);
        if (rc != 0) { /* of equal keys the first has nothing of that kind */
            assert_int_equal(rc, -ENOENT);
            assert_true(an_equal_key_comes_first(from_top, path, size, offset - top));
        } else if (got != offset) { /* it has */
            assert_true(got < offset);
        }
        assert_int_equal(weir_unpack_next(&heads, &value), 0);
        to_come--;
        if (value.type == WEIR_TYPE_ARRAY)
            to_come += value.count;
        else if (value.type == WEIR_TYPE_MAP)
            to_come += 2 * (uint64_t)value.count;
    }
}

static void paths_lead_back_to_their_offsets(void **state)
{
    struct test_random random;

    (void)state;
    for (size_t i = 0; i < documents_count; i++)
        a_path_leads_back(documents[i]);
    a_path_leads_back(VIEW("\x83\xa1"
                           "a\x01\xa1"
                           "a\x91\x05\xa1"
                           "a\x91\x06"));
    test_random_init(&random);
    for (int round = 0; round < 200; round++) {
        msgpack_sbuffer bytes;
        msgpack_packer packer;
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
        random_document(&packer, &random, 4);
        if (bytes.size < 20000)
            a_path_leads_back(weir_view_of(bytes.data, bytes.size));
        msgpack_sbuffer_destroy(&bytes);
    }
}

/* --- hostile input --------------------------------------------------------------------------- */

static void hostile_keys_take_no_quadratic_time(void **state)
{
    enum { PAIRS = 200000, SIZE = 5 };
    uint8_t *bytes = malloc(5 + (size_t)PAIRS * SIZE * 2);
    struct weir_check_options options = {.flags = WEIR_CHECK_UNIQUE};
    struct weir_arena arena;
    struct weir_fault fault;
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    assert_non_null(bytes);
    weir_arena_init(&arena, pool, NULL);
    options.arena = &arena;
    bytes[0] = 0xdf;
    weir_wire_store32(bytes + 1, PAIRS);
    for (uint32_t i = 0; i < PAIRS; i++) {
        uint8_t *pair = bytes + 5 + (size_t)i * 6;
        pair[0] = 0xce;
        weir_wire_store32(pair + 1, i % 2 == 0 ? i : UINT32_MAX - i);
        pair[5] = 0xc0;
    }
    struct weir_view input = weir_view_of(bytes, 5 + (size_t)PAIRS * 6);
    assert_int_equal(weir_check_with(input, &options, NULL, &fault), 0);
    weir_wire_store32(bytes + 5 + (size_t)(PAIRS - 1) * 6 + 1, 0);
    assert_int_equal(weir_check_with(input, &options, NULL, &fault), -EBADMSG);
    assert_int_equal(fault.offset, 5 + (size_t)(PAIRS - 1) * 6);
    free(bytes);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_flags_it_is_the_plain_check),
        cmocka_unit_test(limits_hold_with_flags_too),
        cmocka_unit_test(a_single_value_is_one),
        cmocka_unit_test(text_is_UTF_8_if_wanted),
        cmocka_unit_test(text_is_found_bad_in_every_way_at_the_same_place),
        cmocka_unit_test(heads_must_be_in_their_shortest_form),
        cmocka_unit_test(long_heads_are_for_what_is_long),
        cmocka_unit_test(keys_must_stand_in_the_order_of_their_bytes),
        cmocka_unit_test(canonical_is_what_packing_makes_so),
        cmocka_unit_test(equal_keys_are_found_in_any_order_and_form),
        cmocka_unit_test(keys_are_kept_within_the_arena_or_not_at_all),
        cmocka_unit_test(an_offset_has_a_path),
        cmocka_unit_test(a_path_is_cut_to_the_room_there_is),
        cmocka_unit_test(deep_offsets_have_paths_as_deep_as_is_checked),
        cmocka_unit_test(paths_lead_back_to_their_offsets),
        cmocka_unit_test(hostile_keys_take_no_quadratic_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
