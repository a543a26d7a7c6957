/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <weir/walk.h>

#include "documents.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

static struct weir_walk over(struct weir_view input)
{
    struct weir_checked checked = {{NULL, 0}};
    struct weir_walk walk;

    assert_int_equal(weir_check_with(input, NULL, &checked, NULL), 0);
    weir_walk_init(&walk, checked);
    return walk;
}

static void assert_same_value(const struct weir_value *a, const struct weir_value *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->count, b->count);
    switch (a->type) {
    case WEIR_TYPE_NIL:
    case WEIR_TYPE_ARRAY:
    case WEIR_TYPE_MAP:
        break;
    case WEIR_TYPE_BOOL:
        assert_true(a->as.boolean == b->as.boolean);
        break;
    case WEIR_TYPE_F32:
        assert_memory_equal(&a->as.f32, &b->as.f32, sizeof(float));
        break;
    case WEIR_TYPE_UINT:
    case WEIR_TYPE_INT:
    case WEIR_TYPE_F64:
        assert_true(a->as.u64 == b->as.u64);
        break;
    case WEIR_TYPE_EXT:
        assert_int_equal(a->ext_type, b->ext_type);
        assert_true(weir_view_equal(a->as.bytes, b->as.bytes));
        break;
    case WEIR_TYPE_STR:
    case WEIR_TYPE_BIN:
        assert_true(weir_view_equal(a->as.bytes, b->as.bytes));
        break;
    }
}

/* In memory of its own size, value by value, whole values from each head on. */
static void walks_as_unpack_does(struct weir_view bytes)
{
    uint8_t *copy = malloc(bytes.size);
    struct weir_value wanted = {WEIR_TYPE_NIL, 0, 0, {0}}, got = {WEIR_TYPE_NIL, 0, 0, {0}};
    struct weir_unpacker u;

    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.size);
    struct weir_view input = weir_view_of(copy, bytes.size);
    struct weir_walk walk = over(input);
    weir_unpack_init(&u, input, NULL);
    while (!weir_walk_done(&walk)) {
        struct weir_walk whole = walk;
        struct weir_unpacker whole_u = u;
        struct weir_view raw = {NULL, 0};
        assert_int_equal(weir_unpack_raw(&whole_u, &raw), 0);
        struct weir_view passed = weir_checked_view(weir_walk_raw(&whole));
        assert_ptr_equal(passed.data, raw.data);
        assert_int_equal(passed.size, raw.size);
        assert_int_equal(weir_unpack_next(&u, &wanted), 0);
        assert_int_equal(weir_walk_type(&walk), wanted.type);
        weir_walk_next(&walk, &got);
        assert_same_value(&got, &wanted);
        assert_int_equal(weir_walk_offset(&walk), weir_unpack_offset(&u));
    }
    assert_int_equal(weir_unpack_end(&u), 0);
    free(copy);
}

static void checked_bytes_are_walked_as_unchecked_ones_are_read(void **state)
{
    struct test_random random;

    (void)state;
    for (size_t i = 0; i < documents_count; i++)
        walks_as_unpack_does(documents[i]);
    test_random_init(&random);
    for (int round = 0; round < 500; round++) {
        msgpack_sbuffer bytes;
        msgpack_packer packer;
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
        random_document(&packer, &random, 3);
        walks_as_unpack_does(weir_view_of(bytes.data, bytes.size));
        msgpack_sbuffer_destroy(&bytes);
    }
}

/* Each typed read takes what the cursor's does, writes the same, and leaves the rest alone. */
#define READS_AS_UNPACK(name, type, walk, u)                              \
    do {                                                                  \
        struct weir_walk by = (walk);                                     \
        struct weir_unpacker of = (u);                                    \
        type wanted, got;                                                 \
        memset(&wanted, 0x5a, sizeof(wanted));                            \
        memset(&got, 0x5a, sizeof(got));                                  \
        bool fits = weir_unpack_##name(&of, &wanted) == 0;                \
        assert_int_equal(weir_walk_##name(&by, &got), fits);              \
        assert_memory_equal(&got, &wanted, sizeof(got));                  \
        assert_int_equal(weir_walk_offset(&by), weir_unpack_offset(&of)); \
    } while (0)

static void read_as_each_type(struct weir_walk walk, struct weir_unpacker u)
{
    READS_AS_UNPACK(bool, bool, walk, u);
    READS_AS_UNPACK(uint, uint64_t, walk, u);
    READS_AS_UNPACK(int, int64_t, walk, u);
    READS_AS_UNPACK(u8, uint8_t, walk, u);
    READS_AS_UNPACK(u16, uint16_t, walk, u);
    READS_AS_UNPACK(u32, uint32_t, walk, u);
    READS_AS_UNPACK(i8, int8_t, walk, u);
    READS_AS_UNPACK(i16, int16_t, walk, u);
    READS_AS_UNPACK(i32, int32_t, walk, u);
    READS_AS_UNPACK(f32, float, walk, u);
    READS_AS_UNPACK(f64, double, walk, u);
    READS_AS_UNPACK(str, struct weir_view, walk, u);
    READS_AS_UNPACK(bin, struct weir_view, walk, u);
    READS_AS_UNPACK(array, uint32_t, walk, u);
    READS_AS_UNPACK(map, uint32_t, walk, u);
    struct weir_unpacker of = u;
    struct weir_walk by = walk;
    struct weir_timestamp wanted, got;
    bool fits = weir_unpack_timestamp(&of, &wanted) == 0;
    assert_int_equal(weir_walk_timestamp(&by, &got), fits);
    if (fits)
        assert_true(got.seconds == wanted.seconds && got.nanoseconds == wanted.nanoseconds);
    assert_int_equal(weir_walk_offset(&by), weir_unpack_offset(&of));
    struct weir_view bytes = {NULL, 0}, got_bytes = {NULL, 0};
    int8_t type = 0, got_type = 0;
    of = u;
    by = walk;
    fits = weir_unpack_ext(&of, &type, &bytes) == 0;
    assert_int_equal(weir_walk_ext(&by, &got_type, &got_bytes), fits);
    assert_int_equal(got_type, type);
    if (fits)
        assert_true(got_bytes.data == bytes.data && got_bytes.size == bytes.size);
    of = u;
    by = walk;
    assert_int_equal(weir_walk_nil(&by), weir_unpack_nil(&of) == 0);
    assert_int_equal(weir_walk_offset(&by), weir_unpack_offset(&of));
    of = u;
    by = walk;
    assert_int_equal(weir_walk_key(&by, "name"), weir_unpack_key(&of, "name"));
    assert_int_equal(weir_walk_offset(&by), weir_unpack_offset(&of));
}

static void typed_reads_take_what_those_of_a_cursor_take(void **state)
{
    /* The limits of each integer, in several widths, timestamps that are none, and a key. */
    static const uint8_t edges[] =
        "\x7f\xcc\x80\xcc\xff\xcd\x01\x00\xcd\x7f\xff\xcd\x80\x00\xcd\xff\xff\xce\x00\x01\x00\x00"
        "\xce\x7f\xff\xff\xff\xce\x80\x00\x00\x00\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"
        "\xcf\x80\x00\x00\x00\x00\x00\x00\x00\xd0\x80\xd0\x05\xd1\xff\x7f\xd1\x80\x00"
        "\xd2\xff\xff\x7f\xff\xd2\x80\x00\x00\x00\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"
        "\xd3\x80\x00\x00\x00\x00\x00\x00\x00\xd6\xff\x01\x02\x03\x04\xd5\xff\x01\x02"
        "\xd7\xff\xff\xff\xff\xff\x00\x00\x00\x00\xca\x3f\x80\x00\x00\xa4name\xd9\x04name\xc0";

    (void)state;
    for (size_t i = 0; i <= documents_count; i++) {
        struct weir_view input =
            i < documents_count ? documents[i] : weir_view_of(edges, sizeof(edges) - 1);
        struct weir_walk walk = over(input);
        struct weir_unpacker u;
        struct weir_value value;
        weir_unpack_init(&u, input, NULL);
        while (!weir_walk_done(&walk)) {
            read_as_each_type(walk, u);
            weir_walk_next(&walk, &value);
            assert_int_equal(weir_unpack_next(&u, &value), 0);
        }
    }
}

static void values_are_found_by_key_and_path(void **state)
{
    struct weir_view input = VIEW("\x82\xa1"
                                  "a\x01\xa1"
                                  "b\x92\x05\x06\xc0");
    struct weir_walk walk = over(input);

    (void)state;
    assert_false(weir_walk_find(&walk, weir_view_text("c")));
    assert_int_equal(weir_walk_offset(&walk), 0);
    assert_true(weir_walk_find(&walk, weir_view_text("b")));
    assert_int_equal(weir_walk_offset(&walk), 6);
    assert_int_equal(weir_walk_type(&walk), WEIR_TYPE_ARRAY);
    assert_false(weir_walk_find(&walk, weir_view_text("b")));
    assert_true(weir_walk_path(&walk, weir_view_text("/1")));
    assert_int_equal(weir_walk_offset(&walk), 8);
    assert_false(weir_walk_path(&walk, weir_view_text("/1")));
    assert_false(weir_walk_path(&walk, weir_view_text("1")));
    weir_walk_skip(&walk);
    assert_int_equal(weir_walk_type(&walk), WEIR_TYPE_NIL);
    weir_walk_skip(&walk);
    assert_true(weir_walk_done(&walk));
    walk = over(weir_view_of(NULL, 0));
    assert_true(weir_walk_done(&walk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checked_bytes_are_walked_as_unchecked_ones_are_read),
        cmocka_unit_test(typed_reads_take_what_those_of_a_cursor_take),
        cmocka_unit_test(values_are_found_by_key_and_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
