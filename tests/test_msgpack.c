/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <string.h>

#include <msgpack.h>

#include <weir/msgpack.h>
#include <weir/unpack.h>

#include "../lib/buf_private.h"
#include "documents.h"

/* A buffer over a pool of its own, and the same by MessagePack-C. */
struct fixture {
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_packer packer;
    msgpack_sbuffer theirs;
    msgpack_packer into_theirs;
};

static void begin(struct fixture *f, const struct weir_buf_options *options)
{
    f->pool = test_pool_create(NULL);
    assert_int_equal(weir_buf_init(&f->buf, f->pool, options), 0);
    msgpack_sbuffer_init(&f->theirs);
    msgpack_packer_init(&f->into_theirs, &f->theirs, msgpack_sbuffer_write);
}

static void end(struct fixture *f)
{
    assert_null(weir__buf_check(&f->buf));
    msgpack_sbuffer_destroy(&f->theirs);
    weir_buf_fini(&f->buf);
    test_pool_destroy(f->pool);
}

static void assert_same(const struct fixture *f, struct weir_view message)
{
    assert_int_equal(message.size, f->theirs.size);
    if (message.size != 0)
        assert_memory_equal(message.data, f->theirs.data, message.size);
}

/* --- the packer of MessagePack-C ------------------------------------------------------------- */

static void MessagePack_C_packs_into_a_message(void **state)
{
    struct test_random random;
    msgpack_packer into_buf;
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
    msgpack_packer_init(&into_buf, &f.buf, weir_msgpack_write);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    for (uint64_t seed = 0; seed < 200; seed++) {
        test_random_seed(&random, seed);
        random_document(&f.into_theirs, &random, 5);
        test_random_seed(&random, seed);
        random_document(&into_buf, &random, 5);
    }
    weir_buf_end(&f.buf, &message);
    assert_same(&f, message);
    end(&f);
}

static void outside_of_a_message_nothing_is_moved_or_counted(void **state)
{
    struct test_random random;
    msgpack_packer into_buf;
    struct weir_slice front;
    struct fixture f;
    size_t at = 0;

    (void)state;
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
    msgpack_packer_init(&into_buf, &f.buf, weir_msgpack_write);
    for (uint64_t seed = 0; seed < 100; seed++) {
        test_random_seed(&random, seed);
        random_document(&f.into_theirs, &random, 5);
        test_random_seed(&random, seed);
        random_document(&into_buf, &random, 5);
    }
    assert_int_equal(weir_buf_bytes_copied(&f.buf), 0);
    assert_int_equal(weir_buf_size(&f.buf), f.theirs.size);
    while (weir_buf_front(&f.buf, &front) == 0) {
        size_t size = front.view.size;
        assert_memory_equal(front.view.data, f.theirs.data + at, size);
        at += size;
        weir_slice_drop(&front);
        weir_buf_consume(&f.buf, size);
    }
    assert_int_equal(at, f.theirs.size);
    end(&f);
}

static void MessagePack_C_packs_values_of_a_message_of_ours(void **state)
{
    struct weir_pack_scope scope;
    struct weir_view message;
    msgpack_packer into_packer;
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    msgpack_packer_init(&into_packer, &f.packer, weir_msgpack_write_value);
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_open_array(&f.packer, &scope, 15);
    weir_pack_uint(&f.packer, 1);
    assert_int_equal(msgpack_pack_map(&into_packer, 1), 0);
    assert_int_equal(msgpack_pack_str_with_body(&into_packer, "key", 3), 0);
    assert_int_equal(msgpack_pack_int(&into_packer, -5), 0);
    assert_int_equal(msgpack_pack_bin_with_body(&into_packer, "", 0), 0);
    weir_pack_close(&f.packer, &scope);
    assert_int_equal(weir_pack_end_values(&f.packer, 1, &message), 0);
    assert_int_equal(message.size, 10);
    assert_memory_equal(message.data, "\x93\x01\x81\xa3key\xfb\xc4\x00", 10);
    end(&f);
}

static void at_the_limit_their_packer_returns_our_error(void **state)
{
    msgpack_packer into_buf, into_packer;
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_buf_options){.limit_bytes = 8});
    msgpack_packer_init(&into_buf, &f.buf, weir_msgpack_write);
    msgpack_packer_init(&into_packer, &f.packer, weir_msgpack_write_value);
    assert_int_equal(msgpack_pack_str_with_body(&into_buf, "1234567", 7), 0);
    assert_int_equal(msgpack_pack_nil(&into_buf), -ENOBUFS);
    assert_int_equal(weir_buf_size(&f.buf), 8);
    weir_buf_reset(&f.buf);
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    assert_int_equal(msgpack_pack_str_with_body(&into_packer, "123456", 6), 0);
    assert_int_equal(msgpack_pack_uint16(&into_packer, 1000), -ENOBUFS);
    assert_int_equal(msgpack_pack_nil(&into_packer), -ENOBUFS); /* sticky, though it would fit */
    assert_int_equal(weir_pack_offset(&f.packer), 7);
    assert_int_equal(weir_pack_end(&f.packer, &message), -ENOBUFS);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    end(&f);
}

/* --- trees ----------------------------------------------------------------------------------- */

/* Compare both packings of the tree of what is in theirs. */
static void assert_tree_is_packed_alike(struct fixture *f)
{
    msgpack_unpacked unpacked;
    struct weir_view message;
    msgpack_sbuffer again;
    msgpack_packer packer;
    size_t offset = 0;

    msgpack_unpacked_init(&unpacked);
    msgpack_sbuffer_init(&again);
    msgpack_packer_init(&packer, &again, msgpack_sbuffer_write);
    assert_int_equal(msgpack_unpack_next(&unpacked, f->theirs.data, f->theirs.size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(msgpack_pack_object(&packer, unpacked.data), 0);
    assert_int_equal(weir_pack_begin(&f->packer, &f->buf, 0), 0);
    weir_pack_object(&f->packer, &unpacked.data);
    assert_int_equal(weir_pack_end_values(&f->packer, 1, &message), 0);
    assert_int_equal(message.size, again.size);
    assert_memory_equal(message.data, again.data, again.size);
    msgpack_sbuffer_destroy(&again);
    msgpack_unpacked_destroy(&unpacked);
    msgpack_sbuffer_clear(&f->theirs);
    weir_buf_reset(&f->buf);
}

static void every_document_is_packed_as_by_MessagePack_C(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    for (size_t i = 0; i < documents_count; i++) {
        const char *bytes = (const char *)documents[i].data;
        size_t offset = 0, from = 0;
        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        while (msgpack_unpack_next(&unpacked, bytes, documents[i].size, &offset) ==
               MSGPACK_UNPACK_SUCCESS) {
            msgpack_sbuffer_write(&f.theirs, bytes + from, offset - from);
            from = offset;
            assert_tree_is_packed_alike(&f);
        }
        assert_int_equal(offset, documents[i].size);
        msgpack_unpacked_destroy(&unpacked);
    }
    end(&f);
}

static void random_trees_are_packed_as_by_MessagePack_C(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
    for (int i = 0; i < 3000; i++) {
        random_document(&f.into_theirs, &random, 6);
        assert_tree_is_packed_alike(&f);
    }
    end(&f);
}

/* @depth arrays within each other, the innermost one empty. */
static const msgpack_object *nested(msgpack_object *arrays, size_t depth)
{
    for (size_t i = 0; i < depth; i++) {
        memset(&arrays[i], 0, sizeof(arrays[i]));
        arrays[i].type = MSGPACK_OBJECT_ARRAY;
        arrays[i].via.array.size = i + 1 < depth;
        arrays[i].via.array.ptr = &arrays[i + 1];
    }
    return arrays;
}

static void a_tree_that_is_too_deep_is_refused(void **state)
{
    static msgpack_object arrays[WEIR_PACK_OBJECT_DEPTH_MAX + 2];
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_object(&f.packer, nested(arrays, WEIR_PACK_OBJECT_DEPTH_MAX + 1));
    assert_int_equal(weir_pack_end_values(&f.packer, 1, &message), 0);
    assert_int_equal(message.size, WEIR_PACK_OBJECT_DEPTH_MAX + 1);
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_nil(&f.packer);
    weir_pack_object(&f.packer, nested(arrays, WEIR_PACK_OBJECT_DEPTH_MAX + 2));
    assert_int_equal(weir_pack_offset(&f.packer), 1 + WEIR_PACK_OBJECT_DEPTH_MAX);
    assert_int_equal(weir_pack_end(&f.packer, &message), -ENOBUFS);
    end(&f);
}

static void a_type_that_is_none_is_refused_where_it_is(void **state)
{
    msgpack_object items[2];
    msgpack_object array;
    struct weir_view message;
    struct fixture f;
    int wrong = 0x7f;

    (void)state;
    begin(&f, NULL);
    memset(items, 0, sizeof(items));
    memset(&array, 0, sizeof(array));
    memcpy(&items[1].type, &wrong, sizeof(wrong));
    array.type = MSGPACK_OBJECT_ARRAY;
    array.via.array.size = 2;
    array.via.array.ptr = items;
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_object(&f.packer, &array);
    assert_int_equal(weir_pack_offset(&f.packer), 2);
    assert_int_equal(weir_pack_end(&f.packer, &message), -EINVAL);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    end(&f);
}

static void every_limit_below_its_size_refuses_a_tree(void **state)
{
    struct test_random random;
    msgpack_unpacked unpacked;
    size_t offset = 0;
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    test_random_seed(&random, 7);
    msgpack_pack_array(&f.into_theirs, 20);
    for (int i = 0; i < 20; i++)
        random_document(&f.into_theirs, &random, 2);
    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, f.theirs.data, f.theirs.size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_true(f.theirs.size > 100);
    for (size_t limit = 1; limit <= f.theirs.size; limit++) {
        struct weir_buf_options options = {.limit_bytes = limit};
        struct weir_view message;
        struct weir_buf buf;
        assert_int_equal(weir_buf_init(&buf, f.pool, &options), 0);
        assert_int_equal(weir_pack_begin(&f.packer, &buf, 0), 0);
        weir_pack_object(&f.packer, &unpacked.data);
        int rc = weir_pack_end(&f.packer, &message);
        assert_int_equal(rc, limit < f.theirs.size ? -ENOBUFS : 0);
        if (rc == 0)
            assert_same(&f, message);
        else
            assert_int_equal(weir_buf_size(&buf), 0);
        assert_null(weir__buf_check(&buf));
        weir_buf_fini(&buf);
    }
    msgpack_unpacked_destroy(&unpacked);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(MessagePack_C_packs_into_a_message),
        cmocka_unit_test(outside_of_a_message_nothing_is_moved_or_counted),
        cmocka_unit_test(MessagePack_C_packs_values_of_a_message_of_ours),
        cmocka_unit_test(at_the_limit_their_packer_returns_our_error),
        cmocka_unit_test(every_document_is_packed_as_by_MessagePack_C),
        cmocka_unit_test(random_trees_are_packed_as_by_MessagePack_C),
        cmocka_unit_test(a_tree_that_is_too_deep_is_refused),
        cmocka_unit_test(a_type_that_is_none_is_refused_where_it_is),
        cmocka_unit_test(every_limit_below_its_size_refuses_a_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
