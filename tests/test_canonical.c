/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include <weir/canonical.h>

#include "../lib/buf_private.h"
#include "documents.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)
#define DOCUMENT(bytes)                             \
    {                                               \
        (const uint8_t *)(bytes), sizeof(bytes) - 1 \
    }

struct fixture {
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_packer packer;
};

static void begin(struct fixture *f, const struct weir_buf_options *options)
{
    f->pool = test_pool_create(NULL);
    assert_int_equal(weir_buf_init(&f->buf, f->pool, options), 0);
}

static void end(struct fixture *f)
{
    assert_null(weir__buf_check(&f->buf));
    weir_buf_fini(&f->buf);
    test_pool_destroy(f->pool);
}

/* Bring @values into canonical form, as a message of its own. */
static int make_canonical(struct fixture *f, struct weir_view values,
                          const struct weir_limits *limits, struct weir_view *ret)
{
    weir_pack_begin(&f->packer, &f->buf, 0);
    weir_pack_raw(&f->packer, values);
    int rc = weir_pack_end_canonical(&f->packer, limits, ret);
    assert_null(weir__buf_check(&f->buf));
    return rc;
}

static void assert_bytes(struct weir_view got, struct weir_view wanted)
{
    assert_int_equal(got.size, wanted.size);
    if (wanted.size != 0)
        assert_memory_equal(got.data, wanted.data, wanted.size);
}

/* --- golden bytes ---------------------------------------------------------------------------- */

static const struct {
    struct weir_view packed;
    struct weir_view canonical;
} forms[] = {
    {DOCUMENT(""), DOCUMENT("")},
    {DOCUMENT("\xc0\xc2\xc3\x7f\xe0"), DOCUMENT("\xc0\xc2\xc3\x7f\xe0")},
    /* integers */
    {DOCUMENT("\xcc\x7f\xcc\x80"), DOCUMENT("\x7f\xcc\x80")},
    {DOCUMENT("\xcd\x00\x00\xcd\x00\xff\xcd\x01\x00"), DOCUMENT("\x00\xcc\xff\xcd\x01\x00")},
    {DOCUMENT("\xce\x00\x00\x00\x05\xce\x00\x00\xff\xff\xce\x00\x01\x00\x00"),
     DOCUMENT("\x05\xcd\xff\xff\xce\x00\x01\x00\x00")},
    {DOCUMENT("\xcf\x00\x00\x00\x00\x00\x00\x00\x80\xcf\x00\x00\x00\x00\xff\xff\xff\xff"),
     DOCUMENT("\xcc\x80\xce\xff\xff\xff\xff")},
    {DOCUMENT("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
     DOCUMENT("\xcf\xff\xff\xff\xff\xff\xff\xff\xff")},
    {DOCUMENT("\xd0\x05\xd0\xe0\xd0\xdf\xd0\x80"), DOCUMENT("\x05\xe0\xd0\xdf\xd0\x80")},
    {DOCUMENT("\xd1\x00\x80\xd1\xff\x80\xd1\xff\x7f"), DOCUMENT("\xcc\x80\xd0\x80\xd1\xff\x7f")},
    {DOCUMENT("\xd2\xff\xff\x80\x00\xd2\x00\x00\x80\x00\xd2\x80\x00\x00\x00"),
     DOCUMENT("\xd1\x80\x00\xcd\x80\x00\xd2\x80\x00\x00\x00")},
    {DOCUMENT("\xd3\xff\xff\xff\xff\xff\xff\xff\xff\xd3\x00\x00\x00\x00\xff\xff\xff\xff"),
     DOCUMENT("\xff\xce\xff\xff\xff\xff")},
    {DOCUMENT("\xd3\x80\x00\x00\x00\x00\x00\x00\x00\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"),
     DOCUMENT("\xd3\x80\x00\x00\x00\x00\x00\x00\x00\xcf\x7f\xff\xff\xff\xff\xff\xff\xff")},
    /* floats stay as they are */
    {DOCUMENT("\xca\x7f\xc0\x00\x01\xcb\x00\x00\x00\x00\x00\x00\x00\x00"),
     DOCUMENT("\xca\x7f\xc0\x00\x01\xcb\x00\x00\x00\x00\x00\x00\x00\x00")},
    /* bytes */
    {DOCUMENT("\xd9\x02"
              "ab"
              "\xda\x00\x01z\xdb\x00\x00\x00\x00"),
     DOCUMENT("\xa2"
              "ab"
              "\xa1z\xa0")},
    {DOCUMENT("\xc5\x00\x02"
              "ab"
              "\xc6\x00\x00\x00\x01z\xc4\x00"),
     DOCUMENT("\xc4\x02"
              "ab"
              "\xc4\x01z\xc4\x00")},
    {DOCUMENT("\xc7\x04\x05"
              "abcd"
              "\xc8\x00\x03\x80"
              "abc"
              "\xc9\x00\x00\x00\x01\x07z"),
     DOCUMENT("\xd6\x05"
              "abcd"
              "\xc7\x03\x80"
              "abc"
              "\xd4\x07z")},
    /* counts */
    {DOCUMENT("\xdc\x00\x02\x01\xdd\x00\x00\x00\x00"), DOCUMENT("\x92\x01\x90")},
    {DOCUMENT("\xde\x00\x01\x01\xdf\x00\x00\x00\x01\x02\x03"), DOCUMENT("\x81\x01\x81\x02\x03")},
    /* maps */
    {DOCUMENT("\x82\xa1"
              "b\x01\xa1"
              "a\x02"),
     DOCUMENT("\x82\xa1"
              "a\x02\xa1"
              "b\x01")},
    /* by their encoded bytes: 1, then 255, then a string, whatever its length, then -1 */
    {DOCUMENT("\x85\xff\x00\xa2"
              "aa\x01\xa1"
              "b\x02\xcc\xff\x03\x01\x04"),
     DOCUMENT("\x85\x01\x04\xa1"
              "b\x02\xa2"
              "aa\x01\xcc\xff\x03\xff\x00")},
    /* in the order of what they become, not of what they were */
    {DOCUMENT("\x82\xcc\x7f\x01\xcd\x00\x03\x02"), DOCUMENT("\x82\x03\x02\x7f\x01")},
    /* maps as keys and as values, each sorted before the map around it */
    {DOCUMENT("\x82\x82\x05\xc0\x04\xc0\x82\x02\x00\x01\x00\x82\x03\xc0\x02\xc0\x80"),
     DOCUMENT("\x82\x82\x02\xc0\x03\xc0\x80\x82\x04\xc0\x05\xc0\x82\x01\x00\x02\x00")},
    {DOCUMENT("\x92\x82\x02\x90\x01\x92\xcc\x01\x80\xde\x00\x02\x08\x01\x07\x02"),
     DOCUMENT("\x92\x82\x01\x92\x01\x80\x02\x90\x82\x07\x02\x08\x01")},
};

static void every_form_becomes_its_canonical_one(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct weir_view message, again;
        assert_int_equal(make_canonical(&f, forms[i].packed, NULL, &message), 0);
        assert_bytes(message, forms[i].canonical);
        uint64_t copied = weir_buf_bytes_copied(&f.buf);
        assert_int_equal(make_canonical(&f, forms[i].canonical, NULL, &again), 0);
        assert_bytes(again, forms[i].canonical);
        assert_int_equal(weir_buf_bytes_copied(&f.buf), copied);
        assert_bytes(message, forms[i].canonical);
    }
    end(&f);
}

static void what_is_wrong_is_refused_where_it_was_packed(void **state)
{
    static const struct {
        struct weir_view packed;
        int error;
        size_t offset;
    } cases[] = {
        {DOCUMENT("\x82\x01\x02\x01\x03"), -EBADMSG, 3},
        {DOCUMENT("\x82\xcd\x00\x01\x02\x01\x03"), -EBADMSG, 5}, /* equal once they are shortest */
        {DOCUMENT("\x83\x02\xc0\x01\xc0\x02\xc0"), -EBADMSG, 5},
        {DOCUMENT("\x84\x02\xc0\x02\xc0\x01\xc0\x01\xc0"), -EBADMSG, 3},
        {DOCUMENT("\x83\x05\xc0\x05\xc0\x05\xc0"), -EBADMSG, 3},
        {DOCUMENT("\x82\x82\x01\xc0\x02\xc0\xc0\x82\x02\xc0\x01\xc0\xc0"), -EBADMSG, 7},
        {DOCUMENT("\xc0\x81\x01\x82\xa0\x01\xa0\x01"), -EBADMSG, 6},
        {DOCUMENT("\xc0\xc1"), -EBADMSG, 1},
        {DOCUMENT("\xc0\x92\x01"), -EBADMSG, 1},
        {DOCUMENT("\x92\x01\x81\x01"), -EBADMSG, 2},
        {DOCUMENT("\xc0\xa2"
                  "a"),
         -EBADMSG,
         1},
        {DOCUMENT("\xc0\xdb\xff\xff\xff\xff"), -EBADMSG, 1},
        {DOCUMENT("\xdf\xff\xff\xff\xff\x01\x02"), -EBADMSG, 0},
        {DOCUMENT("\xc0\x91\x91\x91\x90"), -ENOBUFS, 4},
        {DOCUMENT("\xc0\x81\x01\x81\x01\x91\x80"), -ENOBUFS, 6},
        {DOCUMENT("\xc0\x81\x01\x81\x01\x90"), 0, 0},
    };
    struct weir_limits limits = {.depth = 3};
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_view message = {NULL, 77};
        size_t before = weir_buf_size(&f.buf);
        int rc = make_canonical(&f, cases[i].packed, &limits, &message);
        assert_int_equal(rc, cases[i].error);
        if (rc == 0)
            continue;
        assert_int_equal(weir_pack_error(&f.packer), rc);
        assert_int_equal(weir_pack_offset(&f.packer), cases[i].offset);
        assert_int_equal(message.size, 77);
        assert_int_equal(weir_buf_size(&f.buf), before);
    }
    end(&f);
}

static void an_error_before_the_end_is_the_one_that_is_returned(void **state)
{
    struct weir_pack_scope scope;
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_nil(&f.packer);
    weir_pack_timestamp(&f.packer, 0, 1000000000);
    assert_int_equal(weir_pack_end_canonical(&f.packer, NULL, &message), -EINVAL);
    assert_int_equal(weir_pack_offset(&f.packer), 1);
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_open_map(&f.packer, &scope, 0);
    assert_int_equal(weir_pack_end_canonical(&f.packer, NULL, &message), -EINVAL);
    assert_int_equal(weir_pack_offset(&f.packer), 0);
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_array(&f.packer, 2);
    weir_pack_nil(&f.packer);
    assert_int_equal(weir_pack_end_canonical(&f.packer, NULL, &message), -EBADMSG);
    assert_int_equal(weir_pack_offset(&f.packer), 0);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    end(&f);
}

static void a_message_that_bytes_were_linked_into_is_refused(void **state)
{
    struct weir_view message;
    struct weir_slice slice;
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 8, .headroom_bytes = 2});
    slice = weir_slice_adopt(VIEW("12345678"), NULL);
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_nil(&f.packer);
    weir_pack_bin_slice(&f.packer, &slice);
    assert_int_equal(weir_pack_end_canonical(&f.packer, NULL, &message), -EINVAL);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    end(&f);
}

static void a_header_before_the_message_stays_as_it_is(void **state)
{
    struct weir_view message;
    struct fixture f;
    uint8_t *at;

    (void)state;
    begin(&f, &(struct weir_buf_options){.headroom_bytes = 2});
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_raw(&f.packer, VIEW("\xc0\x82\x02\xcc\x05\x01\xc0"));
    assert_int_equal(weir_buf_prepend(&f.buf, 2, &at), 0);
    memcpy(at, "\x82\xc1", 2);
    assert_int_equal(weir_pack_end_canonical(&f.packer, NULL, &message), 0);
    assert_bytes(message, VIEW("\x82\xc1\xc0\x82\x01\xc0\x02\x05"));
    end(&f);
}

/* --- against a model ------------------------------------------------------------------------- */

struct encoded {
    char *bytes;
    size_t key_size;
    size_t size;
};

static int compare_encoded(const void *a, const void *b)
{
    const struct encoded *left = a, *right = b;
    return weir_view_compare(weir_view_of(left->bytes, left->key_size),
                             weir_view_of(right->bytes, right->key_size));
}

static bool model(msgpack_sbuffer *out, const msgpack_object *object);

static bool model_map(msgpack_sbuffer *out, const msgpack_object_map *map)
{
    struct encoded *pairs = calloc(map->size + 1, sizeof(*pairs));
    bool unique = true;

    assert_non_null(pairs);
    for (uint32_t i = 0; i < map->size; i++) {
        msgpack_sbuffer pair;
        msgpack_sbuffer_init(&pair);
        unique = model(&pair, &map->ptr[i].key) && unique;
        pairs[i].key_size = pair.size;
        unique = model(&pair, &map->ptr[i].val) && unique;
        pairs[i].size = pair.size;
        pairs[i].bytes = msgpack_sbuffer_release(&pair);
    }
    qsort(pairs, map->size, sizeof(*pairs), compare_encoded);
    for (uint32_t i = 0; i < map->size; i++) {
        if (i != 0 && compare_encoded(&pairs[i - 1], &pairs[i]) == 0)
            unique = false;
        msgpack_sbuffer_write(out, pairs[i].bytes, pairs[i].size);
    }
    for (uint32_t i = 0; i < map->size; i++)
        free(pairs[i].bytes);
    free(pairs);
    return unique;
}

/* The canonical form of a tree, by recursion and MessagePack-C. False: two keys are equal. */
static bool model(msgpack_sbuffer *out, const msgpack_object *object)
{
    bool unique = true;
    msgpack_packer packer;

    msgpack_packer_init(&packer, out, msgpack_sbuffer_write);
    if (object->type == MSGPACK_OBJECT_ARRAY) {
        msgpack_pack_array(&packer, object->via.array.size);
        for (uint32_t i = 0; i < object->via.array.size; i++)
            unique = model(out, &object->via.array.ptr[i]) && unique;
        return unique;
    }
    if (object->type != MSGPACK_OBJECT_MAP) {
        msgpack_pack_object(&packer, *object);
        return true;
    }
    msgpack_pack_map(&packer, object->via.map.size);
    return model_map(out, &object->via.map);
}

/* Compare the canonical form of one value with that of the model. Returns whether it has one. */
static bool compare_with_model(struct fixture *f, struct weir_view value)
{
    msgpack_unpacked unpacked;
    msgpack_sbuffer wanted;
    struct weir_view message;
    size_t offset = 0;

    msgpack_unpacked_init(&unpacked);
    msgpack_sbuffer_init(&wanted);
    assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)value.data, value.size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, value.size);
    bool unique = model(&wanted, &unpacked.data);
    int rc = make_canonical(f, value, NULL, &message);
    assert_int_equal(rc, unique ? 0 : -EBADMSG);
    if (rc == 0)
        assert_bytes(message, weir_view_of(wanted.data, wanted.size));
    msgpack_sbuffer_destroy(&wanted);
    msgpack_unpacked_destroy(&unpacked);
    return unique;
}

static void random_documents_become_what_the_model_says(void **state)
{
    struct test_random random;
    struct fixture f;
    unsigned unique = 0;

    (void)state;
    test_random_init(&random);
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
    for (int i = 0; i < 3000; i++) {
        msgpack_sbuffer packed;
        msgpack_packer packer;
        msgpack_sbuffer_init(&packed);
        msgpack_packer_init(&packer, &packed, msgpack_sbuffer_write);
        random_document(&packer, &random, 6);
        unique += compare_with_model(&f, weir_view_of(packed.data, packed.size));
        msgpack_sbuffer_destroy(&packed);
        weir_buf_reset(&f.buf);
    }
    assert_true(unique > 1000 && unique < 3000);
    end(&f);
}

/* Maps of many keys, in given widths, packed by opening them. */
static void random_maps_become_what_the_model_says(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
    for (size_t count = 0; count < 700; count += 1 + count / 8) {
        struct weir_pack_scope scope;
        struct weir_view packed;
        assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
        weir_pack_open_map(&f.packer, &scope, 0);
        for (size_t i = 0; i < count; i++) {
            /* the low half makes them unique, mostly */
            uint64_t key = test_random(&random) % 8 << 16 | i * 40503 % 65536;
            if (test_random(&random) % 2 == 0)
                weir_pack_u32(&f.packer, (uint32_t)key);
            else
                weir_pack_i64(&f.packer, -(int64_t)key);
            weir_pack_map(&f.packer, 1);
            weir_pack_u16(&f.packer, (uint16_t)i);
            weir_pack_str(&f.packer, weir_view_of("0123456789", i % 10));
        }
        weir_pack_close(&f.packer, &scope);
        assert_int_equal(weir_pack_end(&f.packer, &packed), 0);
        compare_with_model(&f, packed);
        weir_buf_reset(&f.buf);
    }
    end(&f);
}

static void every_document_cut_anywhere_is_refused_or_whole(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    for (size_t i = 0; i < documents_count; i++) {
        for (size_t size = 0; size <= documents[i].size; size++) {
            struct weir_view values = weir_view_of(documents[i].data, size);
            struct weir_view message;
            bool whole = weir_check(values, NULL, NULL) == 0 || size == 0;
            uint64_t left = 1;
            struct weir_unpacker u;
            /* several values are one after the other in some documents */
            weir_unpack_init(&u, values, NULL);
            while (left != 0 && weir_unpack_skip(&u) == 0)
                left = size - weir_unpack_offset(&u);
            whole = whole || left == 0;
            assert_int_equal(make_canonical(&f, values, NULL, &message), whole ? 0 : -EBADMSG);
            if (!whole)
                assert_true(weir_pack_offset(&f.packer) <= size);
        }
        weir_buf_reset(&f.buf);
    }
    end(&f);
}

/* --- out of memory --------------------------------------------------------------------------- */

static void every_failing_allocation_is_reported_and_leaves_the_buffer(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct test_source source;
        struct weir_packer packer;
        struct weir_view message;
        struct weir_buf buf;
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
        assert_int_equal(weir_buf_append(&buf, VIEW("before")), 0);
        test_source_fail(&source, n);
        weir_pack_begin(&packer, &buf, 0);
        weir_pack_map(&packer, 9000);
        for (uint32_t i = 9000; i-- > 0;) {
            weir_pack_uint(&packer, i);
            weir_pack_text(&packer, "0123456789");
        }
        int rc = weir_pack_end_canonical(&packer, NULL, &message);
        assert_null(weir__buf_check(&buf));
        assert_int_equal(weir_buf_size(&buf), rc == 0 ? 6 + message.size : 6);
        weir_buf_fini(&buf);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (source.failures == 0) {
            assert_int_equal(rc, 0);
            assert_true(n > 3);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_becomes_its_canonical_one),
        cmocka_unit_test(what_is_wrong_is_refused_where_it_was_packed),
        cmocka_unit_test(an_error_before_the_end_is_the_one_that_is_returned),
        cmocka_unit_test(a_message_that_bytes_were_linked_into_is_refused),
        cmocka_unit_test(a_header_before_the_message_stays_as_it_is),
        cmocka_unit_test(random_documents_become_what_the_model_says),
        cmocka_unit_test(random_maps_become_what_the_model_says),
        cmocka_unit_test(every_document_cut_anywhere_is_refused_or_whole),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
