/* SPDX-License-Identifier: MIT */
/* Keys that are looked for in many maps: the same is found as in each map on its own. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/buf.h>
#include <weir/pack.h>
#include <weir/unpack.h>

#define KEYS_MAX 12u

static const char *const names[] = {
    "",
    "a",
    "id",
    "name",
    "status",
    "partner",
    "created",
    "quantity",
    "partners",
    "partnera",
    "partnerb",
    "partnerbc",
    "partnerbd",
    "x",
    "one that is as long as may be!!",
    "one that is longer than 31 bytes are",
    "price",
    "tax",
};
#define NAMES (sizeof(names) / sizeof(names[0]))

/* --- maps ------------------------------------------------------------------------------------- */

/* The keys and the types of their values. */
struct form {
    unsigned count;
    unsigned keys[KEYS_MAX];
    unsigned kinds[KEYS_MAX];
};

/* Keys may come twice. */
static void random_form(struct test_random *random, struct form *ret)
{
    ret->count = (unsigned)test_random_below(random, KEYS_MAX + 1);
    for (unsigned i = 0; i < ret->count; i++) {
        ret->keys[i] = (unsigned)test_random_below(random, NAMES);
        ret->kinds[i] = (unsigned)test_random_below(random, 8);
    }
}

static void pack_value(struct weir_packer *p, struct test_random *random, unsigned kind)
{
    static const char text[64] = "text";
    uint64_t number = test_random(random) >> test_random_below(random, 64);

    switch (kind) {
    case 0:
        weir_pack_uint(p, number);
        break;
    case 1:
        weir_pack_f64(p, (double)number);
        break;
    case 2:
        weir_pack_bool(p, number % 2 != 0);
        break;
    case 3:
        weir_pack_str(p, weir_view_of(text, number % 64));
        break;
    case 4:
        weir_pack_map(p, 1);
        weir_pack_text(p, "id");
        weir_pack_uint(p, number);
        break;
    case 5:
        weir_pack_nil(p);
        break;
    default:
        weir_pack_int(p, (int64_t)number);
    }
}

/* A map of @form, now and then with a key that is another one, or no str; in memory of its size. */
static struct weir_view make_map(struct weir_buf *buf, struct test_random *random,
                                 const struct form *form, bool changed)
{
    unsigned other = changed ? (unsigned)test_random_below(random, KEYS_MAX) : KEYS_MAX;
    struct weir_packer p;
    struct weir_view map;

    weir_buf_reset(buf);
    weir_pack_begin(&p, buf, 0);
    weir_pack_map(&p, form->count);
    for (unsigned i = 0; i < form->count; i++) {
        if (i != other)
            weir_pack_text(&p, names[form->keys[i]]);
        else if (test_random_below(random, 4) == 0)
            weir_pack_uint(&p, i);
        else
            weir_pack_text(&p, names[test_random_below(random, NAMES)]);
        bool same = test_random_below(random, 8) != 0;
        pack_value(&p, random, same ? form->kinds[i] : (unsigned)test_random_below(random, 8));
    }
    assert_int_equal(weir_pack_end(&p, &map), 0);
    uint8_t *copy = malloc(map.size);
    assert_non_null(copy);
    memcpy(copy, map.data, map.size);
    return weir_view_of(copy, map.size);
}

/* --- looking ---------------------------------------------------------------------------------- */

/* Look for the same with a selector and without: the same comes out, and is left. */
static int compare(struct weir_selector *selector, struct weir_unpacker u,
                   const struct weir_view *keys, uint32_t count)
{
    struct weir_view wanted[WEIR_SELECT_MAX], got[WEIR_SELECT_MAX];
    struct weir_unpacker by = u;

    memset(wanted, 0x55, sizeof(wanted));
    memset(got, 0x55, sizeof(got));
    int rc = weir_unpack_select(&u, keys, count, wanted);
    assert_int_equal(weir_unpack_select_with(&by, selector, got), rc);
    for (uint32_t i = 0; i < count; i++) {
        assert_ptr_equal(got[i].data, wanted[i].data);
        assert_int_equal(got[i].size, wanted[i].size);
    }
    assert_int_equal(weir_unpack_error(&by), weir_unpack_error(&u));
    assert_int_equal(weir_unpack_offset(&by), weir_unpack_offset(&u));
    assert_int_equal(by.elements_left, u.elements_left);
    return rc;
}

static struct weir_unpacker within(struct weir_view input, uint64_t elements)
{
    struct weir_limits limits = {.elements = elements};
    struct weir_unpacker unpacker;

    weir_unpack_init(&unpacker, input, &limits);
    return unpacker;
}

static void maps_that_are_alike_have_what_each_has_on_its_own(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_selector *selector = malloc(sizeof(*selector));
    struct weir_view keys[8];
    struct weir_buf buf;
    struct test_random random;
    uint64_t hits = 0;

    (void)state;
    assert_non_null(selector);
    test_random_init(&random);
    assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
    for (int round = 0; round < 400; round++) {
        struct form form;
        uint32_t count = (uint32_t)test_random_below(&random, 9);
        for (uint32_t i = 0; i < count; i++)
            keys[i] = weir_view_text(names[test_random_below(&random, NAMES)]);
        random_form(&random, &form);
        assert_int_equal(weir_selector_init(selector, keys, count), 0);
        for (int i = 0; i < 24; i++) {
            struct weir_view map = make_map(&buf, &random, &form, i % 6 == 5);
            assert_int_equal(compare(selector, within(map, 0), keys, count), 0);
            free((void *)(uintptr_t)map.data);
        }
        hits += selector->hits;
    }
    assert_true(hits > 400); /* maps were alike */
    weir_buf_fini(&buf);
    free(selector);
    test_pool_destroy(pool);
}

static void what_is_cut_or_above_the_budget_fails_as_without(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_selector *selector = malloc(sizeof(*selector));
    const struct form form = {8, {3, 2, 9, 4, 15, 6, 16, 17}, {0, 1, 3, 4, 2, 0, 1, 0}};
    const struct weir_view keys[] = {weir_view_text("partnera"),
                                     weir_view_text("price"),
                                     weir_view_text("tax"),
                                     weir_view_text("none")};
    struct weir_buf buf;
    struct test_random random;

    (void)state;
    assert_non_null(selector);
    test_random_seed(&random, 3);
    assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
    assert_int_equal(weir_selector_init(selector, keys, 4), 0);
    struct weir_view map = make_map(&buf, &random, &form, false);
    assert_int_equal(compare(selector, within(map, 0), keys, 4), 0);
    assert_int_equal(selector->pair_count, 4); /* the fifth key is no short one */
    for (size_t size = 0; size < map.size; size++) {
        uint8_t *copy = malloc(size + 1);
        assert_non_null(copy);
        memcpy(copy + 1, map.data, size);
        int rc = compare(selector, within(weir_view_of(copy + 1, size), 0), keys, 4);
        assert_int_equal(rc, -EAGAIN);
        free(copy);
    }
    for (uint64_t elements = 1; elements < 24; elements++)
        assert_int_equal(compare(selector, within(map, elements), keys, 4),
                         elements < 19 ? -ENOBUFS : 0);
    free((void *)(uintptr_t)map.data);
    weir_buf_fini(&buf);
    free(selector);
    test_pool_destroy(pool);
}

static void maps_in_pieces_are_read_as_without(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_selector *selector = malloc(sizeof(*selector));
    const struct form form = {9, {2, 2, 3, 4, 7, 6, 16, 4, 17}, {3, 0, 1, 0, 2, 0, 1, 0, 0}};
    const struct weir_view keys[] = {
        weir_view_text("id"), weir_view_text("status"), weir_view_text("quantity")};
    struct weir_view wanted[3], got[3];
    struct weir_buf buf;
    struct weir_arena arena;
    struct test_random random;

    (void)state;
    assert_non_null(selector);
    test_random_seed(&random, 5);
    assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
    weir_arena_init(&arena, pool, NULL);
    assert_int_equal(weir_selector_init(selector, keys, 3), 0);
    struct weir_view map = make_map(&buf, &random, &form, false);
    assert_int_equal(compare(selector, within(map, 0), keys, 3), 0);
    struct weir_view other = make_map(&buf, &random, &form, true);
    for (int k = 0; k < 2; k++) {
        struct weir_view input = k == 0 ? map : other;
        for (size_t cut = 0; cut <= input.size; cut++) {
            const struct weir_slice pieces[] = {{{input.data, cut}, NULL},
                                                {{input.data + cut, input.size - cut}, NULL}};
            struct weir_unpack_pieces storage;
            struct weir_unpacker plain = within(input, 0), u;
            assert_int_equal(weir_unpack_select(&plain, keys, 3, wanted), 0);
            weir_unpack_init_slices(&u, &storage, pieces, 2, &arena, NULL);
            assert_int_equal(weir_unpack_select_with(&u, selector, got), 0);
            for (int i = 0; i < 3; i++) {
                assert_int_equal(got[i].data == NULL, wanted[i].data == NULL);
                assert_true(weir_view_equal(got[i], wanted[i]));
            }
            assert_int_equal(weir_unpack_end(&u), 0);
        }
    }
    weir_arena_fini(&arena);
    free((void *)(uintptr_t)other.data);
    free((void *)(uintptr_t)map.data);
    weir_buf_fini(&buf);
    free(selector);
    test_pool_destroy(pool);
}

static void too_many_keys_are_refused(void **state)
{
    static struct weir_selector selector;
    struct weir_view keys[WEIR_SELECT_MAX + 1];

    (void)state;
    for (size_t i = 0; i <= WEIR_SELECT_MAX; i++)
        keys[i] = weir_view_text("a");
    selector.count = 77;
    assert_int_equal(weir_selector_init(&selector, keys, WEIR_SELECT_MAX + 1), -EINVAL);
    assert_int_equal(selector.count, 77);
    assert_int_equal(weir_selector_init(&selector, keys, WEIR_SELECT_MAX), 0);
    const struct weir_view map = weir_view_of("\x82\xa1"
                                              "a\x01\xa1"
                                              "a\x02",
                                              7);
    for (int i = 0; i < 3; i++)
        assert_int_equal(compare(&selector, within(map, 0), keys, WEIR_SELECT_MAX), 0);
    assert_int_equal(compare(&selector, within(weir_view_of("\x01", 1), 0), keys, 64), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_that_are_alike_have_what_each_has_on_its_own),
        cmocka_unit_test(what_is_cut_or_above_the_budget_fails_as_without),
        cmocka_unit_test(maps_in_pieces_are_read_as_without),
        cmocka_unit_test(too_many_keys_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
