/* SPDX-License-Identifier: MIT */
/* Keys that are expected, looked up, and named by a path. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <weir/unpack.h>

#include "documents.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

static struct weir_unpacker over(struct weir_view input)
{
    struct weir_unpacker unpacker;

    weir_unpack_init(&unpacker, input, NULL);
    return unpacker;
}

static struct weir_unpacker within(struct weir_view input, uint64_t elements)
{
    struct weir_limits limits = {.elements = elements};
    struct weir_unpacker unpacker;

    weir_unpack_init(&unpacker, input, &limits);
    return unpacker;
}

/* In memory of its own size, so that a read past the end is seen. The caller frees .data. */
static struct weir_view exact_copy(struct weir_view bytes)
{
    uint8_t *copy = malloc(bytes.size != 0 ? bytes.size : 1);

    assert_non_null(copy);
    if (bytes.size != 0)
        memcpy(copy, bytes.data, bytes.size);
    return weir_view_of(copy, bytes.size);
}

/* --- expected keys --------------------------------------------------------------------------- */

#define LETTERS "abcdefghijklmnopqrstuvwxyz0123456789"

/* One call per length, because only a literal takes the way by words. */
static bool key_of_length(struct weir_unpacker *u, size_t size)
{
    switch (size) {
    case 0:
        return weir_unpack_key(u, "");
    case 1:
        return weir_unpack_key(u, "a");
    case 2:
        return weir_unpack_key(u, "ab");
    case 6:
        return weir_unpack_key(u, "abcdef");
    case 7:
        return weir_unpack_key(u, "abcdefg");
    case 8:
        return weir_unpack_key(u, "abcdefgh");
    case 9:
        return weir_unpack_key(u, "abcdefghi");
    case 15:
        return weir_unpack_key(u, "abcdefghijklmno");
    case 16:
        return weir_unpack_key(u, "abcdefghijklmnop");
    case 17:
        return weir_unpack_key(u, "abcdefghijklmnopq");
    case 23:
        return weir_unpack_key(u, "abcdefghijklmnopqrstuvw");
    case 24:
        return weir_unpack_key(u, "abcdefghijklmnopqrstuvwx");
    case 31:
        return weir_unpack_key(u, "abcdefghijklmnopqrstuvwxyz01234");
    case 32:
        return weir_unpack_key(u, "abcdefghijklmnopqrstuvwxyz012345");
    default: {
        char text[64] = LETTERS;
        text[size] = '\0';
        return weir_unpack_key(u, text);
    }
    }
}

static size_t write_str(uint8_t *to, const char *text, size_t size, unsigned form)
{
    if (form == 0 && size < 32) {
        to[0] = (uint8_t)(0xa0 | size);
        memcpy(to + 1, text, size);
        return 1 + size;
    }
    to[0] = form == 2 ? 0xda : 0xd9;
    to[1] = form == 2 ? 0 : (uint8_t)size;
    to[2] = (uint8_t)size;
    memcpy(to + (form == 2 ? 3 : 2), text, size);
    return size + (form == 2 ? 3 : 2);
}

static void an_expected_key_is_taken_in_every_length_and_form(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 36; size++) {
        for (unsigned form = 0; form < 3; form++) {
            for (size_t behind = 0; behind <= 9; behind++) {
                uint8_t bytes[64] = {0};
                size_t total = write_str(bytes, LETTERS, size, form);
                struct weir_view input = exact_copy(weir_view_of(bytes, total + behind));
                struct weir_unpacker u = over(input);
                assert_true(key_of_length(&u, size));
                assert_int_equal(weir_unpack_offset(&u), total);
                assert_int_equal(weir_unpack_error(&u), 0);
                u = within(input, 1);
                assert_true(key_of_length(&u, size));
                assert_false(key_of_length(&u, size));
                assert_int_equal(weir_unpack_offset(&u), total);
                free((void *)(uintptr_t)input.data);
            }
        }
    }
}

static void another_key_is_left_where_it_is(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 36; size++) {
        uint8_t bytes[64] = {0};
        size_t total = write_str(bytes, LETTERS, size, 0);
        /* every byte changed in turn, and every length cut */
        for (size_t i = 0; i < total; i++) {
            uint8_t changed[64];
            memcpy(changed, bytes, total);
            changed[i] ^= 1;
            struct weir_view input = exact_copy(weir_view_of(changed, total));
            struct weir_unpacker u = over(input);
            assert_false(key_of_length(&u, size));
            assert_int_equal(weir_unpack_offset(&u), 0);
            assert_int_equal(weir_unpack_error(&u), 0);
            u = over(weir_view_of(bytes, i));
            assert_false(key_of_length(&u, size));
            assert_int_equal(weir_unpack_offset(&u), 0);
            assert_int_equal(weir_unpack_error(&u), 0);
            free((void *)(uintptr_t)input.data);
        }
        struct weir_unpacker u = within(weir_view_of(bytes, total + 8), 1);
        assert_true(key_of_length(&u, size));
        u = over(VIEW("\xc1\0\0\0\0\0\0\0\0"));
        assert_false(key_of_length(&u, size));
        assert_int_equal(weir_unpack_skip(&u), -EBADMSG);
        assert_false(key_of_length(&u, size));
        assert_int_equal(weir_unpack_error(&u), -EBADMSG);
    }
}

/* --- find and select ------------------------------------------------------------------------- */

#define MAP                                                                                       \
    VIEW("\x88\xa2id\x2a\xa4name\xa4weir\x05\x06\xd9\x02xy\xc3\xc4\x02zz\xcd\x01\x00\xa4list\x93" \
         "\x01\x92\x02\x03\xa1q\xa2id\x07\xd9\x28" LETTERS                                        \
         "0123\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18")

static void a_value_is_found_by_its_key(void **state)
{
    static const struct {
        const char *key;
        size_t offset; /* of the value; 0: there is none */
    } cases[] = {
        {"id", 4},
        {"name", 10},
        {"xy", 21},
        {"list", 34},
        {LETTERS "0123", 87},
        {"", 0},
        {"i", 0},
        {"ids", 0},
        {"zz", 0},
        {"weir", 0},
        {"q", 0},
        {"nam", 0},
        {"name\xa4", 0},
        {LETTERS, 0},
        {"\x05", 0},
    };
    struct weir_view input = exact_copy(MAP);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_unpacker u = over(input);
        int rc = weir_unpack_find(&u, weir_view_text(cases[i].key));
        assert_int_equal(rc, cases[i].offset != 0 ? 0 : -ENOENT);
        assert_int_equal(weir_unpack_offset(&u), cases[i].offset);
        assert_int_equal(weir_unpack_error(&u), 0);
        assert_int_equal(weir_unpack_skip(&u), 0);
    }
    free((void *)(uintptr_t)input.data);
}

static void finding_fails_as_reading_would(void **state)
{
    struct weir_unpacker u = over(VIEW("\x91\xa1"
                                       "a"));

    (void)state;
    assert_int_equal(weir_unpack_find(&u, weir_view_text("a")), -EPROTO);
    assert_int_equal(weir_unpack_offset(&u), 0);
    assert_int_equal(weir_unpack_skip(&u), -EPROTO);
    u = over(VIEW("\x82\xa1"
                  "b\xc1\xa1"
                  "a\x01"));
    assert_int_equal(weir_unpack_find(&u, weir_view_text("a")), -EBADMSG);
    assert_int_equal(weir_unpack_offset(&u), 3);
    u = over(VIEW("\xdf\xff\xff\xff\xff\xa1"
                  "a"));
    assert_int_equal(weir_unpack_find(&u, weir_view_text("a")), -EAGAIN);
    assert_int_equal(weir_unpack_offset(&u), 0);
    /* every truncation: an error, or what lies before the cut is found */
    for (size_t size = 0; size < MAP.size; size++) {
        struct weir_view cut = exact_copy(weir_view_of(MAP.data, size));
        u = over(cut);
        int rc = weir_unpack_find(&u, weir_view_text("list"));
        assert_int_equal(rc, size >= 34 ? 0 : -EAGAIN);
        struct weir_view key = weir_view_text("nothing"), value;
        u = over(cut);
        assert_int_equal(weir_unpack_find(&u, key), -EAGAIN);
        u = over(cut);
        assert_int_equal(weir_unpack_select(&u, &key, 1, &value), -EAGAIN);
        free((void *)(uintptr_t)cut.data);
    }
    /* every budget: what is passed over is counted, what is found is not */
    for (uint64_t elements = 1; elements < 30; elements++) {
        struct weir_view key = weir_view_text("list"), value;
        u = within(MAP, elements);
        assert_int_equal(weir_unpack_find(&u, key), elements >= 12 ? 0 : -ENOBUFS);
        assert_int_equal(weir_unpack_skip(&u), elements >= 18 ? 0 : -ENOBUFS);
        u = within(MAP, elements);
        assert_int_equal(weir_unpack_select(&u, &key, 1, &value), elements >= 22 ? 0 : -ENOBUFS);
    }
}

static void several_keys_are_read_in_one_pass(void **state)
{
    struct weir_view keys[] = {weir_view_text("list"),
                               weir_view_text("none"),
                               weir_view_text("id"),
                               weir_view_text("id"),
                               weir_view_text(LETTERS "0123")};
    struct weir_view values[5] = {{NULL, 7}, {NULL, 7}, {NULL, 7}, {NULL, 7}, {NULL, 7}};
    struct weir_view many[WEIR_SELECT_MAX + 1] = {{NULL, 0}};
    struct weir_unpacker u = over(MAP);

    (void)state;
    assert_int_equal(weir_unpack_select(&u, keys, 5, values), 0);
    assert_int_equal(weir_unpack_end(&u), 0);
    assert_true(weir_view_equal(values[0], VIEW("\x93\x01\x92\x02\x03\xa1q")));
    assert_true(values[1].data == NULL && values[1].size == 0);
    assert_true(weir_view_equal(values[2], VIEW("\x2a")));
    assert_true(weir_view_equal(values[3], VIEW("\x2a")));
    assert_int_equal(values[4].size, 9);
    u = over(MAP);
    assert_int_equal(weir_unpack_select(&u, keys, 0, values), 0);
    assert_int_equal(weir_unpack_end(&u), 0);
    u = over(MAP);
    assert_int_equal(weir_unpack_select(&u, many, WEIR_SELECT_MAX + 1, many), -EINVAL);
    assert_int_equal(weir_unpack_offset(&u), 0);
    assert_int_equal(weir_unpack_select(&u, many, WEIR_SELECT_MAX, many), 0);
    assert_int_equal(weir_unpack_end(&u), 0);
    u = over(VIEW("\x01"));
    values[0].size = 7;
    assert_int_equal(weir_unpack_select(&u, keys, 5, values), -EPROTO);
    assert_int_equal(values[0].size, 7);
}

/* What a plain walk over the pairs finds: the offset of the first value under @key; 0: none. */
static size_t find_slowly(struct weir_view input, struct weir_view key)
{
    struct weir_unpacker u = over(input);
    struct weir_value value = {WEIR_TYPE_NIL, 0, 0, {0}};
    uint32_t pairs;

    assert_int_equal(weir_unpack_map(&u, &pairs), 0);
    for (; pairs != 0; pairs--) {
        struct weir_unpacker at = u;
        assert_int_equal(weir_unpack_next(&at, &value), 0);
        assert_int_equal(weir_unpack_skip(&u), 0);
        if (value.type == WEIR_TYPE_STR && weir_view_equal(value.as.bytes, key))
            return weir_unpack_offset(&u);
        assert_int_equal(weir_unpack_skip(&u), 0);
    }
    return 0;
}

static void random_maps_are_searched_as_by_a_plain_walk(void **state)
{
    static const char letters[] = LETTERS LETTERS;
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 2000; round++) {
        msgpack_sbuffer bytes;
        msgpack_packer packer;
        struct weir_view keys[WEIR_SELECT_MAX], values[WEIR_SELECT_MAX];
        char texts[WEIR_SELECT_MAX][48];
        uint32_t pairs = (uint32_t)test_random_below(&random, 60);
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
        msgpack_pack_map(&packer, pairs);
        for (uint32_t i = 0; i < pairs; i++) {
            if (test_random_below(&random, 8) == 0) {
                random_document(&packer, &random, 2);
            } else {
                size_t size = test_random_size(&random, 40);
                msgpack_pack_str(&packer, size);
                msgpack_pack_str_body(&packer, &letters[test_random_below(&random, 3)], size);
            }
            random_document(&packer, &random, test_random_below(&random, 3) == 0 ? 3 : 0);
        }
        struct weir_view input = exact_copy(weir_view_of(bytes.data, bytes.size));
        for (uint32_t i = 0; i < 20; i++) {
            size_t size = test_random_size(&random, 40);
            memcpy(texts[i], &letters[test_random_below(&random, 4)], size);
            keys[i] = weir_view_of(texts[i], size);
        }
        struct weir_unpacker u = over(input);
        assert_int_equal(weir_unpack_select(&u, keys, 20, values), 0);
        assert_int_equal(weir_unpack_end(&u), 0);
        for (uint32_t i = 0; i < 20; i++) {
            size_t wanted = find_slowly(input, keys[i]);
            u = over(input);
            assert_int_equal(weir_unpack_find(&u, keys[i]), wanted != 0 ? 0 : -ENOENT);
            assert_int_equal(weir_unpack_offset(&u), wanted);
            if (wanted != 0)
                assert_ptr_equal(values[i].data, input.data + wanted);
            else
                assert_null(values[i].data);
        }
        free((void *)(uintptr_t)input.data);
        msgpack_sbuffer_destroy(&bytes);
    }
}

/* --- paths ----------------------------------------------------------------------------------- */

#define TREE                                                                                       \
    VIEW("\x8a\xa6orders\x94\x01\x02\x03\x81\xa5price\xcd\x01\x00\x00\x2a\xff\x2b\xcc\x09\x2c\xa1" \
         "7\x2d\xa3"                                                                               \
         "a/b\x2e\xa2~0\x2f\xa0\x30\xc3\x31\x92\x05\x06\x32")

static void a_path_leads_to_its_value(void **state)
{
    static const struct {
        const char *path;
        int error;
        size_t offset;
    } cases[] = {
        {"", 0, 0},
        {"/orders", 0, 8},
        {"/orders/0", 0, 9},
        {"/orders/2", 0, 11},
        {"/orders/3", 0, 12},
        {"/orders/3/price", 0, 19},
        {"/0", 0, 23},
        {"/-1", 0, 25},
        {"/9", 0, 28},
        {"/7", 0, 31},
        {"/a~1b", 0, 36},
        {"/~00", 0, 40},
        {"/", 0, 42},
        {"/~#0", 0, 8},
        {"/~#8", 0, 44},
        {"/~@8", 0, 43},
        {"/~#9", 0, 48},
        {"/~@9", 0, 45},
        {"/~@9/1", 0, 47},
        {"/orders/4", -ENOENT, 0},
        {"/orders/-", -ENOENT, 0},
        {"/orders/-1", -ENOENT, 0},
        {"/orders/00", -ENOENT, 0},
        {"/orders/03", -ENOENT, 0},
        {"/orders/3/pric", -ENOENT, 0},
        {"/orders/3/price/0", -ENOENT, 0},
        {"/orders/18446744073709551616", -ENOENT, 0},
        {"/orders/18446744073709551615", -ENOENT, 0},
        {"/1", -ENOENT, 0},
        {"/-9", -ENOENT, 0},
        {"/00", -ENOENT, 0},
        {"/-0", -ENOENT, 0},
        {"/a", -ENOENT, 0},
        {"/true", -ENOENT, 0},
        {"/~#10", -ENOENT, 0},
        {"/~@10", -ENOENT, 0},
        {"/orders/~#0", -ENOENT, 0},
        {"orders", -EINVAL, 0},
        {"/~", -EINVAL, 0},
        {"/a~", -EINVAL, 0},
        {"/~2", -EINVAL, 0},
        {"/~#", -EINVAL, 0},
        {"/~#1x", -EINVAL, 0},
        {"/~#01", -EINVAL, 0},
        {"/nothing/~", -EINVAL, 0},
    };
    struct weir_view input = exact_copy(TREE);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_unpacker u = over(input);
        assert_int_equal(weir_unpack_path(&u, weir_view_text(cases[i].path)), cases[i].error);
        assert_int_equal(weir_unpack_offset(&u), cases[i].offset);
        assert_int_equal(weir_unpack_error(&u), 0);
        /* cut anywhere: incomplete, or what lies before the cut */
        for (size_t size = 0; size < input.size && cases[i].error != -EINVAL; size++) {
            struct weir_view cut = exact_copy(weir_view_of(input.data, size));
            u = over(cut);
            int rc = weir_unpack_path(&u, weir_view_text(cases[i].path));
            assert_true(rc == cases[i].error || rc == -EAGAIN);
            assert_int_equal(weir_unpack_error(&u), rc == -EAGAIN ? rc : 0);
            free((void *)(uintptr_t)cut.data);
        }
    }
    free((void *)(uintptr_t)input.data);
}

static void a_path_meets_errors_where_they_are(void **state)
{
    struct weir_unpacker u = over(VIEW("\x92\xc1\x81\xa1"
                                       "a\x01"));

    (void)state;
    assert_int_equal(weir_unpack_path(&u, weir_view_text("/1/a")), -EBADMSG);
    assert_int_equal(weir_unpack_offset(&u), 1);
    assert_int_equal(weir_unpack_path(&u, weir_view_text("")), -EBADMSG);
    u = within(TREE, 2);
    assert_int_equal(weir_unpack_path(&u, weir_view_text("/orders/3/price")), -ENOBUFS);
    u = within(TREE, 9);
    assert_int_equal(weir_unpack_path(&u, weir_view_text("/orders/3/price")), 0);
    assert_int_equal(weir_unpack_offset(&u), 19);
    uint16_t price = 0;
    assert_int_equal(weir_unpack_u16(&u, &price), 0);
    assert_int_equal(price, 256);
}

static void values_that_are_left_are_counted(void **state)
{
    struct weir_unpacker u = over(VIEW("\x01\x92\x02\x03\xa1x"));
    uint64_t count = 9;

    (void)state;
    assert_int_equal(weir_unpack_left_bytes(&u), 6);
    assert_int_equal(weir_unpack_left_values(&u, &count), 0);
    assert_int_equal(count, 3);
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_left_bytes(&u), 5);
    assert_int_equal(weir_unpack_left_values(&u, &count), 0);
    assert_int_equal(count, 2);
    u = over(VIEW("\x01\x92\x02"));
    assert_int_equal(weir_unpack_left_values(&u, &count), -EAGAIN);
    assert_int_equal(count, 2);
    assert_int_equal(weir_unpack_error(&u), 0);
    assert_int_equal(weir_unpack_offset(&u), 0);
    assert_int_equal(weir_unpack_bool(&u, &(bool){false}), -EPROTO);
    assert_int_equal(weir_unpack_left_bytes(&u), 0);
    assert_int_equal(weir_unpack_left_values(&u, &count), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_expected_key_is_taken_in_every_length_and_form),
        cmocka_unit_test(another_key_is_left_where_it_is),
        cmocka_unit_test(a_value_is_found_by_its_key),
        cmocka_unit_test(finding_fails_as_reading_would),
        cmocka_unit_test(several_keys_are_read_in_one_pass),
        cmocka_unit_test(random_maps_are_searched_as_by_a_plain_walk),
        cmocka_unit_test(a_path_leads_to_its_value),
        cmocka_unit_test(a_path_meets_errors_where_they_are),
        cmocka_unit_test(values_that_are_left_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
