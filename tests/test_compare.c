/* SPDX-License-Identifier: MIT */
/* Where weir diff finds the first difference of two values. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include <weir/unpack.h>

#include "../tools/compare.h"
#include "documents.h"

#define VIEW(text) weir_view_of(text, sizeof(text) - 1)

/* Both ways round. */
static void assert_difference(struct weir_view a, struct weir_view b, bool encodings,
                              enum difference wanted, size_t wanted_a, size_t wanted_b)
{
    size_t at[2] = {77, 77};

    assert_int_equal(compare(a, b, encodings, &at[0], &at[1]), wanted);
    assert_int_equal(at[0], wanted == DIFFERENCE_NONE ? 77 : wanted_a);
    assert_int_equal(at[1], wanted == DIFFERENCE_NONE ? 77 : wanted_b);
    assert_int_equal(compare(b, a, encodings, &at[1], &at[0]), wanted);
    assert_int_equal(at[0], wanted == DIFFERENCE_NONE ? 77 : wanted_a);
    assert_int_equal(at[1], wanted == DIFFERENCE_NONE ? 77 : wanted_b);
}

/* The encodings differ where the values do not. */
static void assert_same(struct weir_view a, struct weir_view b, size_t at_a, size_t at_b)
{
    assert_difference(a, b, false, DIFFERENCE_NONE, 0, 0);
    assert_difference(a, b, true, DIFFERENCE_ENCODING, at_a, at_b);
}

/* With and without encodings. */
static void assert_differ(struct weir_view a, struct weir_view b, enum difference wanted,
                          size_t at_a, size_t at_b)
{
    assert_difference(a, b, false, wanted, at_a, at_b);
    assert_difference(a, b, true, wanted, at_a, at_b);
}

static void a_value_is_the_same_in_every_encoding(void **state)
{
    static const struct weir_view ones[] = {
        {(const uint8_t *)"\x01", 1},
        {(const uint8_t *)"\xcc\x01", 2},
        {(const uint8_t *)"\xcd\x00\x01", 3},
        {(const uint8_t *)"\xce\x00\x00\x00\x01", 5},
        {(const uint8_t *)"\xcf\x00\x00\x00\x00\x00\x00\x00\x01", 9},
        {(const uint8_t *)"\xd0\x01", 2},
        {(const uint8_t *)"\xd1\x00\x01", 3},
        {(const uint8_t *)"\xd2\x00\x00\x00\x01", 5},
        {(const uint8_t *)"\xd3\x00\x00\x00\x00\x00\x00\x00\x01", 9},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(ones) / sizeof(ones[0]); i++) {
        for (size_t j = 0; j < i; j++)
            assert_same(ones[i], ones[j], 0, 0);
        assert_difference(ones[i], ones[i], true, DIFFERENCE_NONE, 0, 0);
    }
    assert_same(VIEW("\xff"), VIEW("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"), 0, 0);
    assert_same(VIEW("\xa1x"), VIEW("\xdb\x00\x00\x00\x01x"), 0, 0);
    assert_same(VIEW("\xc4\x01x"), VIEW("\xc5\x00\x01x"), 0, 0);
    assert_same(VIEW("\xd4\x05x"), VIEW("\xc7\x01\x05x"), 0, 0);
    assert_same(VIEW("\x92\x01\x02"), VIEW("\xdc\x00\x02\x01\x02"), 0, 0);
    assert_same(VIEW("\x91\x81\x01\x02"), VIEW("\x91\xdf\x00\x00\x00\x01\x01\x02"), 1, 1);
    /* 7 seconds in 32, 64 and 96 bits. */
    assert_same(
        VIEW("\xd6\xff\x00\x00\x00\x07"), VIEW("\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x07"), 0, 0);
    assert_same(VIEW("\x91\xd6\xff\x00\x00\x00\x07"),
                VIEW("\x91\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"),
                1,
                1);
}

static void values_that_look_alike_differ(void **state)
{
    static const struct weir_view unequal[] = {
        {(const uint8_t *)"\x01", 1},
        {(const uint8_t *)"\xff", 1},
        {(const uint8_t *)"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9},
        {(const uint8_t *)"\xc3", 1},
        {(const uint8_t *)"\xc2", 1},
        {(const uint8_t *)"\xc0", 1},
        {(const uint8_t *)"\x00", 1},
        {(const uint8_t *)"\xca\x3f\x80\x00\x00", 5},
        {(const uint8_t *)"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", 9},
        {(const uint8_t *)"\xcb\x00\x00\x00\x00\x00\x00\x00\x00", 9},
        {(const uint8_t *)"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", 9},
        {(const uint8_t *)"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", 9},
        {(const uint8_t *)"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", 9},
        {(const uint8_t *)"\xa1"
                          "1",
         2},
        {(const uint8_t *)"\xc4\x01"
                          "1",
         3},
        {(const uint8_t *)"\xd4\x01"
                          "1",
         3},
        {(const uint8_t *)"\xd4\x02"
                          "1",
         3},
        {(const uint8_t *)"\xd6\xff\x00\x00\x00\x07", 6},
        {(const uint8_t *)"\xd6\x01\x00\x00\x00\x07", 6},
        {(const uint8_t *)"\xd7\xff\x00\x00\x00\x04\x00\x00\x00\x07", 10}, /* and a nanosecond */
        /* No times: too many nanoseconds, a size that none has. */
        {(const uint8_t *)"\xc7\x0c\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x07", 15},
        {(const uint8_t *)"\xd5\xff\x00\x07", 4},
        {(const uint8_t *)"\x90", 1},
        {(const uint8_t *)"\x80", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(unequal) / sizeof(unequal[0]); i++) {
        for (size_t j = 0; j < i; j++)
            assert_differ(unequal[i], unequal[j], DIFFERENCE_VALUE, 0, 0);
    }
}

static void the_first_difference_is_found_in_both(void **state)
{
    (void)state;
    /* [1, [2, 3]] with 1 in two bytes on one side. */
    struct weir_view a = VIEW("\x92\xcc\x01\x92\x02\x03"), b = VIEW("\x92\x01\x92\x02\x04");
    assert_difference(a, b, false, DIFFERENCE_VALUE, 5, 4);
    assert_difference(a, b, true, DIFFERENCE_ENCODING, 1, 1);
    /* A key, a value, something in a key. */
    assert_differ(
        VIEW("\x82\x01\x01\x02\x02"), VIEW("\x82\x01\x01\x03\x02"), DIFFERENCE_VALUE, 3, 3);
    assert_differ(
        VIEW("\x82\x01\x01\x02\x02"), VIEW("\x82\x01\x01\x02\x03"), DIFFERENCE_VALUE, 4, 4);
    assert_differ(
        VIEW("\x81\x92\x01\x02\x05"), VIEW("\x81\x92\x01\x03\x05"), DIFFERENCE_VALUE, 3, 3);
    assert_differ(VIEW("\x91\x90"), VIEW("\x91\x80"), DIFFERENCE_VALUE, 1, 1);
}

static void a_count_differs_where_all_else_is_the_same(void **state)
{
    (void)state;
    assert_differ(VIEW("\x90"), VIEW("\x91\x01"), DIFFERENCE_COUNT, 0, 0);
    assert_differ(VIEW("\x92\x01\x02"), VIEW("\x93\x01\x02\x03"), DIFFERENCE_COUNT, 0, 0);
    assert_differ(VIEW("\x92\x01\x02"), VIEW("\x93\x01\x03\x03"), DIFFERENCE_VALUE, 2, 2);
    assert_differ(VIEW("\x81\x01\x02"), VIEW("\x82\x01\x02\x03\x04"), DIFFERENCE_COUNT, 0, 0);
    assert_differ(VIEW("\x80"), VIEW("\x81\x01\x02"), DIFFERENCE_COUNT, 0, 0);
    /* Within others, before what differs behind it, the inner one first. */
    assert_differ(VIEW("\x92\x91\x05\x01"), VIEW("\x92\x92\x05\x06\x02"), DIFFERENCE_COUNT, 1, 1);
    assert_differ(VIEW("\x91\x91\x90"), VIEW("\x92\x91\x91\xc0\xc0"), DIFFERENCE_COUNT, 2, 2);
    assert_differ(VIEW("\x81\x91\x01\x02"), VIEW("\x81\x92\x01\x02\x02"), DIFFERENCE_COUNT, 1, 1);
    /* The head is longer only because the count is larger. */
    assert_differ(VIEW("\x9f\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1"),
                  VIEW("\xdc\x00\x10\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1"),
                  DIFFERENCE_COUNT,
                  0,
                  0);
}

static void values_are_as_deep_as_they_are_checked_to_be(void **state)
{
    uint8_t a[WEIR_DEPTH_MAX + 1], b[WEIR_DEPTH_MAX + 1];
    struct weir_view views[2] = {weir_view_of(a, sizeof(a)), weir_view_of(b, sizeof(b))};

    (void)state;
    memset(a, 0x91, sizeof(a));
    memset(b, 0x91, sizeof(b));
    a[WEIR_DEPTH_MAX] = 0x01;
    b[WEIR_DEPTH_MAX] = 0x02;
    assert_differ(views[0], views[1], DIFFERENCE_VALUE, WEIR_DEPTH_MAX, WEIR_DEPTH_MAX);
    b[WEIR_DEPTH_MAX - 1] = 0x90;
    views[1].size--;
    assert_differ(views[0], views[1], DIFFERENCE_COUNT, WEIR_DEPTH_MAX - 1, WEIR_DEPTH_MAX - 1);
}

/* Write @object as MessagePack-C does, and a timestamp, which has three forms, in its shortest. */
static void pack_alike(msgpack_packer *packer, const msgpack_object *object)
{
    msgpack_timestamp timestamp;

    if (object->type == MSGPACK_OBJECT_ARRAY) {
        assert_int_equal(msgpack_pack_array(packer, object->via.array.size), 0);
        for (uint32_t i = 0; i < object->via.array.size; i++)
            pack_alike(packer, &object->via.array.ptr[i]);
    } else if (object->type == MSGPACK_OBJECT_MAP) {
        assert_int_equal(msgpack_pack_map(packer, object->via.map.size), 0);
        for (uint32_t i = 0; i < object->via.map.size; i++) {
            pack_alike(packer, &object->via.map.ptr[i].key);
            pack_alike(packer, &object->via.map.ptr[i].val);
        }
    } else if (object->type == MSGPACK_OBJECT_EXT && object->via.ext.type == -1 &&
               msgpack_object_to_timestamp(object, &timestamp) && timestamp.tv_nsec < 1000000000) {
        assert_int_equal(msgpack_pack_timestamp(packer, &timestamp), 0);
    } else {
        assert_int_equal(msgpack_pack_object(packer, *object), 0);
    }
}

/* What MessagePack-C reads of @value, written again: in the shortest form. */
static void rewrite(struct weir_view value, msgpack_sbuffer *ret)
{
    msgpack_unpacked unpacked;
    msgpack_packer packer;
    size_t offset = 0;

    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)value.data, value.size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    msgpack_sbuffer_init(ret);
    msgpack_packer_init(&packer, ret, msgpack_sbuffer_write);
    pack_alike(&packer, &unpacked.data);
    msgpack_unpacked_destroy(&unpacked);
}

static bool reference_equal(struct weir_view a, struct weir_view b)
{
    msgpack_sbuffer buffers[2];

    rewrite(a, &buffers[0]);
    rewrite(b, &buffers[1]);
    bool equal = weir_view_equal(weir_view_of(buffers[0].data, buffers[0].size),
                                 weir_view_of(buffers[1].data, buffers[1].size));
    msgpack_sbuffer_destroy(&buffers[0]);
    msgpack_sbuffer_destroy(&buffers[1]);
    return equal;
}

/* The next element of @view at @offset; returns the bytes of its head, with what it has in it of a
 * str, bin or ext. */
static size_t element_at(struct weir_view view, size_t offset, struct weir_value *ret)
{
    struct weir_unpacker cursor;

    weir_unpack_init(&cursor, weir_view_of(view.data + offset, view.size - offset), NULL);
    assert_int_equal(weir_unpack_next(&cursor, ret), 0);
    return weir_unpack_offset(&cursor);
}

/* Whether the bytes before @first, which are the same in both, are followed by the heads of two
 * arrays, or two maps, whose counts differ and have other widths: 15 and 16 elements, for example.
 * What is in these is compared first, and lies in another place of each. */
static bool heads_differ_in_width(struct weir_view a, struct weir_view b, size_t first)
{
    struct weir_value values[2];
    size_t offset = 0, next = 0;

    while (next <= first) {
        offset = next;
        next += element_at(a, offset, &values[0]);
    }
    return element_at(b, offset, &values[1]) != next - offset && values[0].type == values[1].type &&
           (values[0].type == WEIR_TYPE_ARRAY || values[0].type == WEIR_TYPE_MAP) &&
           values[0].count != values[1].count;
}

/* A difference is found at or before the first byte that differs, but where heads differ in width
 * anywhere behind; and where one is found the bytes of the elements differ. */
static void check_pair(struct weir_view a, struct weir_view b)
{
    size_t first = 0, at[2];

    while (first < a.size && first < b.size && a.data[first] == b.data[first])
        first++;
    enum difference strict = compare(a, b, true, &at[0], &at[1]);
    assert_int_equal(strict == DIFFERENCE_NONE, weir_view_equal(a, b));
    if (strict != DIFFERENCE_NONE && !heads_differ_in_width(a, b, first)) {
        assert_int_equal(at[0], at[1]); /* the same bytes stand before it */
        assert_true(at[0] <= first);
    }
    enum difference found = compare(a, b, false, &at[0], &at[1]);
    assert_int_equal(found == DIFFERENCE_NONE, reference_equal(a, b));
    if (found != DIFFERENCE_NONE)
        assert_true(at[0] < a.size && at[1] < b.size);
}

static void one_changed_byte_is_found_in_random_documents(void **state)
{
    struct test_random random;
    unsigned compared = 0;

    (void)state;
    test_random_init(&random);
    for (unsigned n = 0; n < 3000; n++) {
        msgpack_sbuffer packed;
        msgpack_packer packer;
        struct weir_unpacker cursor;
        struct weir_view value;
        msgpack_sbuffer_init(&packed);
        msgpack_packer_init(&packer, &packed, msgpack_sbuffer_write);
        random_document(&packer, &random, 4);
        uint8_t *changed = malloc(packed.size);
        assert_non_null(changed);
        memcpy(changed, packed.data, packed.size);
        struct weir_view original = weir_view_of(packed.data, packed.size);
        assert_difference(
            original, weir_view_of(changed, packed.size), true, DIFFERENCE_NONE, 0, 0);
        changed[test_random_below(&random, packed.size)] ^=
            (uint8_t)(1u << test_random(&random) % 8);
        weir_unpack_init(&cursor, weir_view_of(changed, packed.size), NULL);
        if (weir_unpack_raw(&cursor, &value) == 0) {
            check_pair(original, value);
            compared++;
        }
        msgpack_sbuffer_destroy(&packed);
        free(changed);
    }
    assert_true(compared > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_the_same_in_every_encoding),
        cmocka_unit_test(values_that_look_alike_differ),
        cmocka_unit_test(the_first_difference_is_found_in_both),
        cmocka_unit_test(a_count_differs_where_all_else_is_the_same),
        cmocka_unit_test(values_are_as_deep_as_they_are_checked_to_be),
        cmocka_unit_test(one_changed_byte_is_found_in_random_documents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
