/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/edit.h>
#include <weir/unpack.h>

#include "../lib/chain_private.h"
#include "documents.h"

#define VIEW(bytes) ((struct weir_view){(const uint8_t *)(bytes), sizeof(bytes) - 1})

static uint64_t in_use(const struct weir_pool *pool)
{
    struct weir_pool_stats stats;

    weir_pool_stats(pool, &stats);
    return stats.total.blocks_in_use;
}

/* --- in place -------------------------------------------------------------------------------- */

/* What a value is written over with. */
struct new_value {
    enum { BOOL, UINT, INT, F32, F64, STR, BIN, VALUE } kind;
    uint64_t u64;
    int64_t i64;
    double f64;
    struct weir_view bytes;
};

static int write_over(uint8_t *message, size_t size, size_t offset, const struct new_value *value)
{
    switch (value->kind) {
    case BOOL:
        return weir_edit_bool(message, size, offset, value->u64 != 0);
    case UINT:
        return weir_edit_uint(message, size, offset, value->u64);
    case INT:
        return weir_edit_int(message, size, offset, value->i64);
    case F32:
        return weir_edit_f32(message, size, offset, (float)value->f64);
    case F64:
        return weir_edit_f64(message, size, offset, value->f64);
    case STR:
        return weir_edit_str(message, size, offset, value->bytes);
    case BIN:
        return weir_edit_bin(message, size, offset, value->bytes);
    default:
        return weir_edit_value(message, size, offset, value->bytes);
    }
}

/* Write @value over @before, which lies between other bytes, and look at all of them. */
static void check_in_place(struct weir_view before, const struct new_value *value, int error,
                           struct weir_view after)
{
    uint8_t message[64];
    uint8_t wanted[64];

    for (size_t offset = 0; offset < 3; offset++) {
        for (size_t behind = 0; behind < 3; behind++) {
            size_t size = offset + before.size + behind;
            memset(message, 0xc0, sizeof message);
            memcpy(message + offset, before.data, before.size);
            memcpy(wanted, message, sizeof wanted);
            if (error == 0) {
                assert_int_equal(after.size, before.size);
                memcpy(wanted + offset, after.data, after.size);
            }
            assert_int_equal(write_over(message, size, offset, value), error);
            assert_memory_equal(message, wanted, sizeof message);
        }
    }
    /* Cut off, it is left alone. */
    for (size_t size = 0; size < before.size; size++) {
        memcpy(message, before.data, before.size);
        memset(message + before.size, 0xc0, sizeof message - before.size);
        memcpy(wanted, message, sizeof wanted);
        assert_int_equal(write_over(message, size, 0, value), -EAGAIN);
        assert_int_equal(write_over(message, size, size + 1, value), -EAGAIN);
        assert_memory_equal(message, wanted, sizeof message);
    }
}

static void an_integer_is_written_in_the_width_that_is_there(void **state)
{
    const struct {
        struct weir_view before;
        int64_t value;
        int error;
        const char *after;
    } cases[] = {
        {VIEW("\x05"), 127, 0, "\x7f"},
        {VIEW("\x05"), -32, 0, "\xe0"},
        {VIEW("\xff"), 1, 0, "\x01"},
        {VIEW("\x05"), 128, -EOVERFLOW, NULL},
        {VIEW("\x05"), -33, -EOVERFLOW, NULL},
        {VIEW("\xcc\x05"), 0, 0, "\xcc\x00"},
        {VIEW("\xcc\x05"), 255, 0, "\xcc\xff"},
        {VIEW("\xcc\x05"), 256, -EOVERFLOW, NULL},
        {VIEW("\xcc\x05"), -1, 0, "\xd0\xff"},
        {VIEW("\xcc\x05"), -128, 0, "\xd0\x80"},
        {VIEW("\xcc\x05"), -129, -EOVERFLOW, NULL},
        {VIEW("\xd0\x05"), 127, 0, "\xd0\x7f"},
        {VIEW("\xd0\x05"), 128, 0, "\xcc\x80"},
        {VIEW("\xcd\x01\x00"), 5, 0, "\xcd\x00\x05"},
        {VIEW("\xcd\x01\x00"), 65535, 0, "\xcd\xff\xff"},
        {VIEW("\xcd\x01\x00"), 65536, -EOVERFLOW, NULL},
        {VIEW("\xd1\x01\x00"), -32768, 0, "\xd1\x80\x00"},
        {VIEW("\xd1\x01\x00"), -32769, -EOVERFLOW, NULL},
        {VIEW("\xd1\x01\x00"), 32768, 0, "\xcd\x80\x00"},
        {VIEW("\xce\x00\x00\x00\x01"), 0x1020304, 0, "\xce\x01\x02\x03\x04"},
        {VIEW("\xce\x00\x00\x00\x01"), UINT32_MAX, 0, "\xce\xff\xff\xff\xff"},
        {VIEW("\xce\x00\x00\x00\x01"), (int64_t)UINT32_MAX + 1, -EOVERFLOW, NULL},
        {VIEW("\xce\x00\x00\x00\x01"), INT32_MIN, 0, "\xd2\x80\x00\x00\x00"},
        {VIEW("\xd2\x00\x00\x00\x01"), INT32_MAX, 0, "\xd2\x7f\xff\xff\xff"},
        {VIEW("\xd2\x00\x00\x00\x01"), (int64_t)INT32_MIN - 1, -EOVERFLOW, NULL},
        {VIEW("\xcf\0\0\0\0\0\0\0\0"), 5, 0, "\xcf\0\0\0\0\0\0\0\x05"},
        {VIEW("\xcf\0\0\0\0\0\0\0\0"), -5, 0, "\xd3\xff\xff\xff\xff\xff\xff\xff\xfb"},
        {VIEW("\xd3\0\0\0\0\0\0\0\0"), INT64_MAX, 0, "\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"},
        {VIEW("\xd3\0\0\0\0\0\0\0\0"), INT64_MIN, 0, "\xd3\x80\0\0\0\0\0\0\0"},
        {VIEW("\xca\0\0\0\0"), 5, -EPROTO, NULL},
        {VIEW("\xa1\x05"), 5, -EPROTO, NULL},
        {VIEW("\xc0"), 5, -EPROTO, NULL},
        {VIEW("\x90"), 5, -EPROTO, NULL},
        {VIEW("\xc1"), 5, -EBADMSG, NULL},
    };
    uint8_t widest[] = {0xd3, 0, 0, 0, 0, 0, 0, 0, 0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_view after = weir_view_of(cases[i].after, cases[i].before.size);
        struct new_value value = {.kind = INT, .i64 = cases[i].value};
        check_in_place(cases[i].before, &value, cases[i].error, after);
        value = (struct new_value){.kind = UINT, .u64 = (uint64_t)cases[i].value};
        if (cases[i].value >= 0)
            check_in_place(cases[i].before, &value, cases[i].error, after);
    }
    assert_int_equal(weir_edit_uint(widest, 9, 0, UINT64_MAX), 0);
    assert_memory_equal(widest, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9);
    assert_int_equal(weir_edit_uint(widest, 5, 0, 1), -EAGAIN);
}

static void other_values_are_written_over_their_own_kind(void **state)
{
    const struct {
        struct weir_view before;
        struct new_value value;
        int error;
        const char *after;
    } cases[] = {
        {VIEW("\xc2"), {.kind = BOOL, .u64 = 1}, 0, "\xc3"},
        {VIEW("\xc3"), {.kind = BOOL, .u64 = 0}, 0, "\xc2"},
        {VIEW("\xc0"), {.kind = BOOL, .u64 = 1}, -EPROTO, NULL},
        {VIEW("\xca\0\0\0\0"), {.kind = F32, .f64 = 1.5}, 0, "\xca\x3f\xc0\0\0"},
        {VIEW("\xca\0\0\0\0"), {.kind = F64, .f64 = 1.5}, -EPROTO, NULL},
        {VIEW("\xcb\0\0\0\0\0\0\0\0"), {.kind = F64, .f64 = -2}, 0, "\xcb\xc0\0\0\0\0\0\0\0"},
        {VIEW("\xcb\0\0\0\0\0\0\0\0"), {.kind = F32, .f64 = -2}, -EPROTO, NULL},
        {VIEW("\xa3"
              "abc"),
         {.kind = STR, .bytes = VIEW("xyz")},
         0,
         "\xa3"
         "xyz"},
        {VIEW("\xd9\x03"
              "abc"),
         {.kind = STR, .bytes = VIEW("xyz")},
         0,
         "\xd9\x03"
         "xyz"},
        {VIEW("\xa3"
              "abc"),
         {.kind = STR, .bytes = VIEW("xy")},
         -EOVERFLOW,
         NULL},
        {VIEW("\xa0"), {.kind = STR, .bytes = {NULL, 0}}, 0, "\xa0"},
        {VIEW("\xc4\x03"
              "abc"),
         {.kind = STR, .bytes = VIEW("xyz")},
         -EPROTO,
         NULL},
        {VIEW("\xc4\x03"
              "abc"),
         {.kind = BIN, .bytes = VIEW("xyz")},
         0,
         "\xc4\x03"
         "xyz"},
        {VIEW("\xc4\x01"
              "a"),
         {.kind = BIN, .bytes = VIEW("xyz")},
         -EOVERFLOW,
         NULL},
        {VIEW("\x92\x01\x02"), {.kind = VALUE, .bytes = VIEW("\xa2xy")}, 0, "\xa2xy"},
        {VIEW("\xa2xy"), {.kind = VALUE, .bytes = VIEW("\x81\x01\xc0")}, 0, "\x81\x01\xc0"},
        {VIEW("\xa2xy"), {.kind = VALUE, .bytes = VIEW("\xa1x")}, -EOVERFLOW, NULL},
        {VIEW("\xa2xy"), {.kind = VALUE, .bytes = VIEW("\x01\x02\x03")}, -EBADMSG, NULL},
        {VIEW("\xa2xy"), {.kind = VALUE, .bytes = VIEW("\x92\x01")}, -EAGAIN, NULL},
        {VIEW("\xa2xy"), {.kind = VALUE, .bytes = VIEW("\xc1")}, -EBADMSG, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_in_place(cases[i].before,
                       &cases[i].value,
                       cases[i].error,
                       weir_view_of(cases[i].after, cases[i].before.size));
}

static void bytes_that_others_hold_are_not_writable(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_block *block;
    struct weir_slice part;
    uint8_t *writable = NULL;

    (void)state;
    assert_int_equal(weir_pool_alloc(pool, 64, &block), 0);
    struct weir_slice slice = weir_slice_adopt(weir_view_of(block->data + 3, 9), block);
    assert_int_equal(weir_edit_writable(&slice, &writable), 0);
    assert_ptr_equal(writable, block->data + 3);
    writable = NULL;
    assert_int_equal(weir_slice_sub(&slice, 1, 1, &part), 0);
    assert_int_equal(weir_edit_writable(&slice, &writable), -EBUSY);
    assert_int_equal(weir_edit_writable(&part, &writable), -EBUSY);
    assert_null(writable);
    weir_slice_drop(&slice);
    assert_int_equal(weir_edit_writable(&part, &writable), 0);
    assert_ptr_equal(writable, block->data + 4);
    writable = NULL;
    weir_slice_drop(&part);
    slice = weir_slice_adopt(VIEW("literal"), NULL);
    assert_int_equal(weir_edit_writable(&slice, &writable), -EINVAL);
    assert_null(writable);
    test_pool_destroy(pool);
}

/* --- by splicing ----------------------------------------------------------------------------- */

/* A message in one block per piece of at most @piece bytes. */
static void cut(struct weir_chain *chain, struct weir_view bytes, size_t piece)
{
    for (size_t at = 0; at < bytes.size; at += piece) {
        struct weir_block *block;
        size_t size = bytes.size - at < piece ? bytes.size - at : piece;
        assert_int_equal(weir_pool_alloc(chain->pool, size, &block), 0);
        memcpy(block->data, bytes.data + at, size);
        struct weir_slice slice = weir_slice_adopt(weir_view_of(block->data, size), block);
        assert_int_equal(weir_chain_append_adopt(chain, &slice), 0);
    }
}

struct edit {
    enum { REPLACE, INSERT, REMOVE, SET, UNSET } kind;
    size_t offset;
    uint32_t index;
    uint32_t count;
    const char *key;
    struct weir_view bytes;
};

static int apply(const struct weir_chain *message, const struct edit *edit, struct weir_chain *ret)
{
    struct weir_slice slice = weir_slice_adopt(edit->bytes, NULL);
    struct weir_view key = weir_view_text(edit->key != NULL ? edit->key : "");

    switch (edit->kind) {
    case REPLACE:
        return weir_edit_replace(message, edit->offset, &slice, ret);
    case INSERT:
        return weir_edit_insert(message, edit->offset, edit->index, &slice, ret);
    case REMOVE:
        return weir_edit_remove(message, edit->offset, edit->index, edit->count, ret);
    case SET:
        return weir_edit_set(message, edit->offset, key, &slice, ret);
    default:
        return weir_edit_unset(message, edit->offset, key, ret);
    }
}

/* How many bytes of @chain lie in the blocks of @message. */
static size_t shared_bytes(const struct weir_chain *chain, const struct weir_chain *message)
{
    size_t size = 0;

    for (uint32_t i = 0; i < chain->count; i++) {
        bool shared = false;
        for (uint32_t j = 0; j < message->count && !shared; j++)
            shared = chain->slices[i].block == message->slices[j].block;
        size += shared ? chain->slices[i].view.size : 0;
    }
    return size;
}

/*
 * Edit @before, cut into pieces of every size, and compare. @stays: bytes of the message that are
 * not to be copied.
 */
static void check_edit(struct weir_view before, const struct edit *edit, int error,
                       struct weir_view after, size_t stays)
{
    for (size_t piece = 1; piece <= before.size; piece++) {
        struct weir_pool *pool = test_pool_create(NULL);
        struct weir_chain message, changed;
        weir_chain_init(&message, pool);
        weir_chain_init(&changed, pool);
        cut(&message, before, piece);
        uint64_t blocks = in_use(pool);
        assert_int_equal(apply(&message, edit, &changed), error);
        assert_null(weir__chain_check(&changed));
        assert_true(weir_chain_equal_view(&message, before));
        if (error == 0) {
            assert_true(weir_chain_equal_view(&changed, after));
            assert_int_equal(shared_bytes(&changed, &message), stays);
        } else {
            assert_int_equal(changed.size_bytes, 0);
            assert_int_equal(changed.count, 0);
            assert_int_equal(in_use(pool), blocks);
        }
        /* The result outlives the message. */
        weir_chain_fini(&message);
        assert_true(error != 0 || weir_chain_equal_view(&changed, after));
        weir_chain_fini(&changed);
        assert_int_equal(in_use(pool), 0);
        test_pool_destroy(pool);
    }
}

static void values_are_replaced_inserted_and_removed(void **state)
{
    const struct {
        struct weir_view before;
        struct edit edit;
        int error;
        struct weir_view after;
        size_t stays;
    } cases[] = {
        {VIEW("\x07"), {.kind = REPLACE, .bytes = VIEW("\xa1x")}, 0, VIEW("\xa1x"), 0},
        {VIEW("\x93\x01\x92\x02\x03\x04"),
         {.kind = REPLACE, .offset = 2, .bytes = VIEW("\xcd\x01\x00")},
         0,
         VIEW("\x93\x01\xcd\x01\x00\x04"),
         3},
        {VIEW("\x93\x01\x92\x02\x03\x04"),
         {.kind = REPLACE, .offset = 5, .bytes = VIEW("\x90")},
         0,
         VIEW("\x93\x01\x92\x02\x03\x90"),
         5},
        {VIEW("\x91\xda\x00\x02xy"),
         {.kind = REPLACE, .offset = 1, .bytes = VIEW("\xc0")},
         0,
         VIEW("\x91\xc0"),
         1},
        {VIEW("\x93\x01\x02\x03"),
         {.kind = INSERT, .index = 0, .bytes = VIEW("\x09")},
         0,
         VIEW("\x94\x09\x01\x02\x03"),
         3},
        {VIEW("\x93\x01\x92\x05\x06\x03"),
         {.kind = INSERT, .index = 2, .bytes = VIEW("\x09\xa1x")},
         0,
         VIEW("\x95\x01\x92\x05\x06\x09\xa1x\x03"),
         5},
        {VIEW("\xc0\x91\x01\xc3"),
         {.kind = INSERT, .offset = 1, .index = WEIR_EDIT_END, .bytes = VIEW("\x09")},
         0,
         VIEW("\xc0\x92\x01\x09\xc3"),
         3},
        {VIEW("\xdc\x00\x01\x01"),
         {.kind = INSERT, .index = 1, .bytes = VIEW("\x09")},
         0,
         VIEW("\xdc\x00\x02\x01\x09"),
         1},
        {VIEW("\xdd\x00\x00\x00\x01\x01"),
         {.kind = INSERT, .index = 1, .bytes = VIEW("\x09")},
         0,
         VIEW("\xdd\x00\x00\x00\x02\x01\x09"),
         1},
        {VIEW("\x9f\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
         {.kind = INSERT, .index = 15, .bytes = VIEW("\x01")},
         0,
         VIEW("\xdc\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
         15},
        {VIEW("\x90"), {.kind = INSERT, .bytes = {NULL, 0}}, 0, VIEW("\x90"), 0},
        {VIEW("\x81\xa1"
              "a\x01"),
         {.kind = INSERT,
          .index = 1,
          .bytes = VIEW("\xa1"
                        "b\x02")},
         0,
         VIEW("\x82\xa1"
              "a\x01\xa1"
              "b\x02"),
         3},
        {VIEW("\xde\x00\x01\x01\x02"),
         {.kind = INSERT, .index = 0, .bytes = VIEW("\x03\x04")},
         0,
         VIEW("\xde\x00\x02\x03\x04\x01\x02"),
         2},
        {VIEW("\xdf\x00\x00\x00\x01\x01\x02"),
         {.kind = INSERT, .index = 0, .bytes = VIEW("\x03\x04")},
         0,
         VIEW("\xdf\x00\x00\x00\x02\x03\x04\x01\x02"),
         2},
        {VIEW("\x93\x01\x92\x05\x06\x03"),
         {.kind = REMOVE, .index = 1, .count = 1},
         0,
         VIEW("\x92\x01\x03"),
         2},
        {VIEW("\x93\x01\x92\x05\x06\x03"),
         {.kind = REMOVE, .index = 0, .count = 3},
         0,
         VIEW("\x90"),
         0},
        {VIEW("\x93\x01\x92\x05\x06\x03"),
         {.kind = REMOVE, .offset = 2, .index = 1, .count = 1},
         0,
         VIEW("\x93\x01\x91\x05\x03"),
         4},
        {VIEW("\xde\x00\x02\x01\x02\x03\x04"),
         {.kind = REMOVE, .index = 1, .count = 1},
         0,
         VIEW("\xde\x00\x01\x01\x02"),
         2},
        {VIEW("\x91\x01"), {.kind = REMOVE, .index = 1, .count = 0}, 0, VIEW("\x91\x01"), 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_edit(cases[i].before, &cases[i].edit, cases[i].error, cases[i].after, cases[i].stays);
}

static void pairs_are_set_and_unset_by_key(void **state)
{
    /* {7: 0, h'61': 1, "ab": 2, "a": [3], "a": 4} behind a nil */
    struct weir_view map = VIEW("\xc0\x85\x07\x00\xc4\x01\x61\x01\xa2\x61\x62\x02\xa1\x61\x91\x03"
                                "\xa1\x61\x04\xc3");
    struct weir_view wide = VIEW("\x81\xd9\x02\x61\x62\x02");
    struct edit edit = {.kind = SET, .offset = 1, .key = "a", .bytes = VIEW("\xcd\x01\x00")};

    (void)state;
    check_edit(map,
               &edit,
               0,
               VIEW("\xc0\x85\x07\x00\xc4\x01\x61\x01\xa2\x61\x62\x02\xa1\x61\xcd\x01\x00"
                    "\xa1\x61\x04\xc3"),
               18);
    edit.key = "abc";
    check_edit(map,
               &edit,
               0,
               VIEW("\xc0\x86\x07\x00\xc4\x01\x61\x01\xa2\x61\x62\x02\xa1\x61\x91\x03"
                    "\xa1\x61\x04\xa3\x61\x62\x63\xcd\x01\x00\xc3"),
               19);
    edit.key = "";
    check_edit(map,
               &edit,
               0,
               VIEW("\xc0\x86\x07\x00\xc4\x01\x61\x01\xa2\x61\x62\x02\xa1\x61\x91\x03"
                    "\xa1\x61\x04\xa0\xcd\x01\x00\xc3"),
               19);
    edit = (struct edit){.kind = UNSET, .offset = 1, .key = "a"};
    check_edit(map,
               &edit,
               0,
               VIEW("\xc0\x84\x07\x00\xc4\x01\x61\x01\xa2\x61\x62\x02\xa1\x61\x04\xc3"),
               15);
    edit.key = "abc";
    check_edit(map, &edit, -ENOENT, map, 0);
    edit = (struct edit){.kind = SET, .key = "ab", .bytes = VIEW("\xc0")};
    check_edit(wide, &edit, 0, VIEW("\x81\xd9\x02\x61\x62\xc0"), 5);
    edit.kind = UNSET;
    check_edit(wide, &edit, 0, VIEW("\x80"), 0);
    edit.offset = 1;
    check_edit(wide, &edit, -EPROTO, wide, 0);
    edit.kind = SET;
    check_edit(VIEW("\x91\x01"),
               &(struct edit){.kind = SET, .key = "a", .bytes = VIEW("\xc0")},
               -EPROTO,
               VIEW(""),
               0);
}

static void a_new_key_of_any_size_has_the_shortest_head(void **state)
{
    static const size_t sizes[] = {0, 31, 32, 255, 256, 65535, 65536};
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice empty_map = weir_slice_adopt(VIEW("\x80"), NULL);
    struct weir_slice value = weir_slice_adopt(VIEW("\x01"), NULL);
    char *text = malloc(65537);
    uint8_t *flat = malloc(65536 + 16);

    (void)state;
    assert_non_null(text);
    assert_non_null(flat);
    memset(text, 'k', 65536);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct weir_chain message, changed;
        struct weir_unpacker u;
        struct weir_view key;
        uint32_t pairs = 0;
        uint64_t number = 0;
        weir_chain_init(&message, pool);
        weir_chain_init(&changed, pool);
        assert_int_equal(weir_chain_append(&message, &empty_map), 0);
        assert_int_equal(weir_edit_set(&message, 0, weir_view_of(text, sizes[i]), &value, &changed),
                         0);
        size_t head = sizes[i] <= 31 ? 1 : sizes[i] <= 255 ? 2 : sizes[i] <= 65535 ? 3 : 5;
        assert_int_equal(changed.size_bytes, 1 + head + sizes[i] + 1);
        assert_int_equal(weir_chain_copy(&changed, 0, flat, changed.size_bytes), 0);
        weir_unpack_init(&u, weir_view_of(flat, changed.size_bytes), NULL);
        assert_int_equal(weir_unpack_map(&u, &pairs), 0);
        assert_int_equal(weir_unpack_str(&u, &key), 0);
        assert_true(weir_view_equal(key, weir_view_of(text, sizes[i])));
        assert_int_equal(weir_unpack_uint(&u, &number), 0);
        assert_int_equal(weir_unpack_end(&u), 0);
        /* And it is found again, however it is cut. */
        struct weir_chain again;
        weir_chain_init(&again, pool);
        assert_int_equal(weir_edit_unset(&changed, 0, weir_view_of(text, sizes[i]), &again), 0);
        assert_true(weir_chain_equal_view(&again, VIEW("\x80")));
        weir_chain_fini(&again);
        weir_chain_fini(&message);
        weir_chain_fini(&changed);
    }
    free(flat);
    free(text);
    test_pool_destroy(pool);
}

static void what_is_not_there_is_refused(void **state)
{
    const struct {
        struct weir_view before;
        struct edit edit;
        int error;
    } cases[] = {
        {VIEW("\x91\x01"), {.kind = REPLACE, .offset = 2, .bytes = VIEW("\x01")}, -EAGAIN},
        {VIEW("\x91\x01"), {.kind = REPLACE, .offset = 3, .bytes = VIEW("\x01")}, -EAGAIN},
        {VIEW("\x91\x01"), {.kind = REPLACE, .offset = SIZE_MAX, .bytes = VIEW("\x01")}, -EAGAIN},
        {VIEW("\x91\xc1"), {.kind = REPLACE, .offset = 1, .bytes = VIEW("\x01")}, -EBADMSG},
        {VIEW("\x92\x01"), {.kind = REPLACE, .bytes = VIEW("\x01")}, -EAGAIN},
        {VIEW("\x91\xa3xy"), {.kind = REPLACE, .bytes = VIEW("\x01")}, -EAGAIN},
        {VIEW("\xdf\x80\x00\x00\x01\x01"), {.kind = REPLACE, .bytes = VIEW("\x01")}, -EAGAIN},
        {VIEW("\x91\x01"), {.kind = REPLACE, .bytes = VIEW("\x01\x02")}, -EINVAL},
        {VIEW("\x91\x01"), {.kind = REPLACE, .bytes = {NULL, 0}}, -EINVAL},
        {VIEW("\x91\x01"), {.kind = REPLACE, .bytes = VIEW("\x92\x01")}, -EINVAL},
        {VIEW("\x91\x01"), {.kind = REPLACE, .bytes = VIEW("\xc1")}, -EINVAL},
        {VIEW("\x91\x01"), {.kind = INSERT, .index = 2, .bytes = VIEW("\x01")}, -ENOENT},
        {VIEW("\x91\x01"), {.kind = INSERT, .offset = 1, .bytes = VIEW("\x01")}, -EPROTO},
        {VIEW("\xa1\x91"), {.kind = INSERT, .bytes = VIEW("\x01")}, -EPROTO},
        {VIEW("\x91\x01"), {.kind = INSERT, .bytes = VIEW("\xa2x")}, -EINVAL},
        {VIEW("\x81\x01\x02"), {.kind = INSERT, .bytes = VIEW("\x01")}, -EINVAL},
        {VIEW("\x92\xa1x\xa2x"),
         {.kind = INSERT, .index = WEIR_EDIT_END, .bytes = VIEW("\x01")},
         -EAGAIN},
        {VIEW("\x91\x01"), {.kind = REMOVE, .index = 1, .count = 1}, -ENOENT},
        {VIEW("\x91\x01"), {.kind = REMOVE, .index = 0, .count = 2}, -ENOENT},
        {VIEW("\x91\x01"), {.kind = REMOVE, .index = 2, .count = 0}, -ENOENT},
        {VIEW("\x91\x01"), {.kind = REMOVE, .index = 1, .count = UINT32_MAX}, -ENOENT},
        {VIEW("\xc0"), {.kind = REMOVE, .index = 0, .count = 0}, -EPROTO},
        {VIEW("\x82\x01\x02\x03\xc1"), {.kind = UNSET, .key = "a"}, -EBADMSG},
        {VIEW("\x82\x01\x02\xa1\x61"), {.kind = UNSET, .key = "b"}, -EAGAIN},
        {VIEW("\x81\xa1\x61\xc1"), {.kind = SET, .key = "a", .bytes = VIEW("\x01")}, -EBADMSG},
        {VIEW("\x81\xa1\x61\x01"), {.kind = SET, .key = "a", .bytes = VIEW("\x01\x02")}, -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_edit(cases[i].before, &cases[i].edit, cases[i].error, weir_view_of(NULL, 0), 0);
}

static void a_map_head_grows_through_all_its_forms(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice pair = weir_slice_adopt(VIEW("\x01\x02"), NULL);
    uint8_t *bytes = malloc(65535 * 2 + 8);
    struct weir_chain message, changed;

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 0x00, 65535 * 2 + 8);
    bytes[0] = WEIR_TAG_MAP16;
    bytes[1] = bytes[2] = 0xff;
    struct weir_slice whole = weir_slice_adopt(weir_view_of(bytes, 3 + 2 * 65535), NULL);
    weir_chain_init(&message, pool);
    weir_chain_init(&changed, pool);
    assert_int_equal(weir_chain_append(&message, &whole), 0);
    assert_int_equal(weir_edit_insert(&message, 0, 65535, &pair, &changed), 0);
    assert_int_equal(changed.size_bytes, whole.view.size + 2 + 2);
    uint8_t head[5];
    assert_int_equal(weir_chain_copy(&changed, 0, head, 5), 0);
    assert_memory_equal(head, "\xdf\x00\x01\x00\x00", 5);
    assert_int_equal(weir_chain_copy(&changed, changed.size_bytes - 2, head, 2), 0);
    assert_memory_equal(head, "\x01\x02", 2);
    /* Taken away again, it is as before but for the head's form. */
    struct weir_chain again;
    weir_chain_init(&again, pool);
    assert_int_equal(weir_edit_remove(&changed, 0, 65535, 1, &again), 0);
    assert_int_equal(weir_chain_copy(&again, 0, head, 5), 0);
    assert_memory_equal(head, "\xdf\x00\x00\xff\xff", 5);
    assert_int_equal(again.size_bytes, whole.view.size + 2);
    weir_chain_fini(&again);
    weir_chain_fini(&changed);
    weir_chain_fini(&message);
    free(bytes);
    test_pool_destroy(pool);
}

/* Edits one after the other, against a list of elements. */
static void random_edits_do_what_they_do_to_a_list(void **state)
{
    enum { COUNT_MAX = 64 };
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_chain chains[2];
    struct test_random random;
    uint8_t list[COUNT_MAX]; /* elements are two-byte uints of this value */
    uint8_t flat[4 + 2 * COUNT_MAX];
    uint8_t packed[8];

    (void)state;
    test_random_init(&random);
    for (unsigned round = 0; round < 200; round++) {
        unsigned count = 0;
        struct weir_slice start = weir_slice_adopt(VIEW("\x90\xc3"), NULL);
        weir_chain_init(&chains[0], pool);
        weir_chain_init(&chains[1], pool);
        assert_int_equal(weir_chain_append(&chains[0], &start), 0);
        for (unsigned step = 0; step < 60; step++) {
            struct weir_chain *from = &chains[step % 2];
            struct weir_chain *to = &chains[(step + 1) % 2];
            uint32_t at = (uint32_t)test_random_below(&random, count + 1);
            uint32_t some = (uint32_t)test_random_below(&random, 4);
            unsigned what = (unsigned)test_random_below(&random, 4);
            if (what < 2 && count + some <= COUNT_MAX) {
                struct weir_block *block;
                assert_int_equal(weir_pool_alloc(pool, sizeof packed, &block), 0);
                memmove(list + at + some, list + at, count - at);
                for (uint32_t i = 0; i < some; i++) {
                    list[at + i] = (uint8_t)test_random(&random);
                    block->data[2 * i] = WEIR_TAG_UINT8;
                    block->data[2 * i + 1] = list[at + i];
                }
                struct weir_slice values =
                    weir_slice_adopt(weir_view_of(block->data, 2 * (size_t)some), block);
                uint32_t index = at == count && what == 0 ? WEIR_EDIT_END : at;
                assert_int_equal(weir_edit_insert(from, 0, index, &values, to), 0);
                weir_slice_drop(&values);
                count += some;
            } else if (what == 2 || at == count) {
                some = some < count - at ? some : count - at;
                assert_int_equal(weir_edit_remove(from, 0, at, some, to), 0);
                memmove(list + at, list + at + some, count - at - some);
                count -= some;
            } else {
                list[at] = (uint8_t)test_random(&random);
                packed[0] = WEIR_TAG_UINT8;
                packed[1] = list[at];
                struct weir_unpacker u;
                size_t size = from->size_bytes;
                uint32_t ignored;
                assert_int_equal(weir_chain_copy(from, 0, flat, size), 0);
                weir_unpack_init(&u, weir_view_of(flat, size), NULL);
                assert_int_equal(weir_unpack_array(&u, &ignored), 0);
                size_t offset = weir_unpack_offset(&u) + 2 * (size_t)at;
                struct weir_block *block;
                assert_int_equal(weir_pool_alloc(pool, 2, &block), 0);
                memcpy(block->data, packed, 2);
                struct weir_slice value = weir_slice_adopt(weir_view_of(block->data, 2), block);
                assert_int_equal(weir_edit_replace(from, offset, &value, to), 0);
                weir_slice_drop(&value);
            }
            weir_chain_reset(from);
            assert_null(weir__chain_check(to));
            struct weir_unpacker u;
            uint32_t got = 0;
            size_t size = to->size_bytes;
            assert_int_equal(weir_chain_copy(to, 0, flat, size), 0);
            weir_unpack_init(&u, weir_view_of(flat, size), NULL);
            assert_int_equal(weir_unpack_array(&u, &got), 0);
            assert_int_equal(got, count);
            for (uint32_t i = 0; i < count; i++) {
                uint64_t element = 999;
                assert_int_equal(weir_unpack_uint(&u, &element), 0);
                assert_int_equal(element, list[i]);
            }
            bool last = false;
            assert_int_equal(weir_unpack_bool(&u, &last), 0);
            assert_int_equal(weir_unpack_end(&u), 0);
        }
        weir_chain_fini(&chains[0]);
        weir_chain_fini(&chains[1]);
    }
    assert_int_equal(in_use(pool), 0);
    test_pool_destroy(pool);
}

static void every_failed_allocation_leaves_the_result_empty(void **state)
{
    static struct test_source source;
    const struct edit edits[] = {
        {.kind = REPLACE, .offset = 1, .bytes = VIEW("\xa1x")},
        {.kind = INSERT, .index = 1, .bytes = VIEW("\x01\x02")},
        {.kind = REMOVE, .index = 0, .count = 1},
        {.kind = SET, .key = "new", .bytes = VIEW("\x01")},
        {.kind = SET, .key = "k", .bytes = VIEW("\x01")},
        {.kind = UNSET, .key = "k"},
    };
    struct weir_view before = VIEW("\x83\x01\x02\xa1k\x05\xa3xyz\x92\x01\x02\xc3");

    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        unsigned failed = 0;
        bool failing = true;
        for (uint64_t n = 1; failing; n++) {
            test_source_init(&source);
            struct weir_pool *blocks = test_pool_create(NULL);
            struct weir_pool *pool = test_pool_create(&source);
            struct weir_chain message, changed;
            weir_chain_init(&message, blocks);
            weir_chain_init(&changed, pool);
            cut(&message, before, 1);
            test_source_fail_from(&source, n);
            int rc = apply(&message, &edits[i], &changed);
            failing = source.failures != 0;
            assert_int_equal(rc, failing ? -ENOMEM : 0);
            if (failing) {
                failed++;
                assert_int_equal(changed.count, 0);
                assert_int_equal(changed.size_bytes, 0);
                assert_null(weir__chain_check(&changed));
                test_source_fail(&source, 0);
                assert_int_equal(apply(&message, &edits[i], &changed), 0);
            }
            assert_true(weir_chain_equal_view(&message, before));
            weir_chain_fini(&changed);
            weir_chain_fini(&message);
            assert_int_equal(in_use(blocks), 0);
            assert_int_equal(in_use(pool), 0);
            test_pool_destroy(pool);
            test_pool_destroy(blocks);
            test_source_fini(&source);
        }
        assert_true(failed != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_integer_is_written_in_the_width_that_is_there),
        cmocka_unit_test(other_values_are_written_over_their_own_kind),
        cmocka_unit_test(bytes_that_others_hold_are_not_writable),
        cmocka_unit_test(values_are_replaced_inserted_and_removed),
        cmocka_unit_test(pairs_are_set_and_unset_by_key),
        cmocka_unit_test(a_new_key_of_any_size_has_the_shortest_head),
        cmocka_unit_test(what_is_not_there_is_refused),
        cmocka_unit_test(a_map_head_grows_through_all_its_forms),
        cmocka_unit_test(random_edits_do_what_they_do_to_a_list),
        cmocka_unit_test(every_failed_allocation_leaves_the_result_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
