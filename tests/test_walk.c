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
        cmocka_unit_test(values_are_found_by_key_and_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
