/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <string.h>

#include <weir/rpc.h>

/* --- writing ---------------------------------------------------------------------------------- */

struct written {
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_packer packer;
};

static void written_begin(struct written *w)
{
    w->pool = test_pool_create(NULL);
    assert_int_equal(weir_buf_init(&w->buf, w->pool, NULL), 0);
    assert_int_equal(weir_pack_begin(&w->packer, &w->buf, 0), 0);
}

static void written_is(struct written *w, const char *bytes, size_t size)
{
    struct weir_view view;
    assert_int_equal(weir_pack_end_part(&w->packer, &view), 0);
    assert_int_equal(view.size, size);
    assert_memory_equal(view.data, bytes, size);
    weir_buf_fini(&w->buf);
    test_pool_destroy(w->pool);
}

#define IS(w, bytes) written_is(w, bytes, sizeof bytes - 1)

static void envelopes_are_these_bytes(void **state)
{
    struct written w;

    (void)state;
    written_begin(&w);
    weir_rpc_request(&w.packer, 7, weir_view_text("add"), 2);
    weir_pack_uint(&w.packer, 1);
    weir_pack_uint(&w.packer, 2);
    IS(&w,
       "\x94\x00\x07\xa3"
       "add"
       "\x92\x01\x02");
    written_begin(&w);
    weir_rpc_request(&w.packer, UINT32_MAX, weir_view_text(""), 0);
    IS(&w, "\x94\x00\xce\xff\xff\xff\xff\xa0\x90");
    written_begin(&w);
    weir_rpc_notification(&w.packer, weir_view_text("log"), 16);
    IS(&w,
       "\x93\x02\xa3"
       "log"
       "\xdc\x00\x10");
    written_begin(&w);
    weir_rpc_result(&w.packer, 128);
    weir_pack_bool(&w.packer, true);
    IS(&w, "\x94\x01\xcc\x80\xc0\xc3");
    written_begin(&w);
    weir_rpc_error(&w.packer, 300, weir_view_text("no such method"));
    IS(&w,
       "\x94\x01\xcd\x01\x2c\xae"
       "no such method"
       "\xc0");
}

/* --- reading ---------------------------------------------------------------------------------- */

static struct weir_view bytes_of(const char *bytes, size_t size)
{
    return weir_view_of((const uint8_t *)bytes, size);
}

#define BYTES(text) bytes_of(text, sizeof text - 1)

static void view_is(struct weir_view view, const char *bytes, size_t size)
{
    assert_int_equal(view.size, size);
    assert_memory_equal(view.data, bytes, size);
}

#define VIEW_IS(view, text) view_is(view, text, sizeof text - 1)

static void envelopes_are_read_in_place(void **state)
{
    struct weir_rpc_message m;
    struct weir_fault fault;
    struct weir_view in;

    (void)state;
    in = BYTES("\x94\x00\x07\xa3"
               "add"
               "\x93\x01\x92\xc0\xc3\xa1x");
    assert_int_equal(weir_rpc_parse(in, &m, &fault), 0);
    assert_int_equal(fault.error, 0);
    assert_int_equal(fault.offset, in.size);
    assert_int_equal(m.kind, WEIR_RPC_REQUEST);
    assert_int_equal(m.id, 7);
    assert_int_equal(m.param_count, 3);
    VIEW_IS(m.method, "add");
    VIEW_IS(m.params, "\x01\x92\xc0\xc3\xa1x");
    assert_ptr_equal(m.method.data, in.data + 4);
    assert_ptr_equal(m.params.data, in.data + 8);
    assert_null(m.error.data);
    assert_null(m.result.data);
    assert_false(m.failed);

    in = BYTES("\x93\x02\xa3"
               "log"
               "\x90");
    assert_int_equal(weir_rpc_parse(in, &m, NULL), 0);
    assert_int_equal(m.kind, WEIR_RPC_NOTIFICATION);
    assert_int_equal(m.id, 0);
    assert_int_equal(m.param_count, 0);
    VIEW_IS(m.method, "log");
    assert_int_equal(m.params.size, 0);

    in = BYTES("\x94\x01\xce\xff\xff\xff\xff\xc0\x81\xa1k\x91\x01");
    assert_int_equal(weir_rpc_parse(in, &m, NULL), 0);
    assert_int_equal(m.kind, WEIR_RPC_RESPONSE);
    assert_true(m.id == UINT32_MAX);
    assert_false(m.failed);
    VIEW_IS(m.error, "\xc0");
    VIEW_IS(m.result, "\x81\xa1k\x91\x01");
    assert_int_equal(m.method.size, 0);

    in = BYTES("\x94\x01\x03\x92\x01\xa1"
               "e\xc0");
    assert_int_equal(weir_rpc_parse(in, &m, NULL), 0);
    assert_true(m.failed);
    VIEW_IS(m.error,
            "\x92\x01\xa1"
            "e");
    VIEW_IS(m.result, "\xc0");
    /* false is an error that is not nil. */
    assert_int_equal(weir_rpc_parse(BYTES("\x94\x01\x03\xc2\xc0"), &m, NULL), 0);
    assert_true(m.failed);
}

/* Other encoders write longer forms; they mean the same. */
static void integers_and_lengths_may_be_in_any_form(void **state)
{
    struct weir_rpc_message m;

    (void)state;
    assert_int_equal(
        weir_rpc_parse(
            BYTES("\xdc\x00\x04\xcd\x00\x00\xd3\0\0\0\0\0\0\0\x07\xda\x00\x01m\xdd\0\0\0\x01"
                  "\x05"),
            &m,
            NULL),
        0);
    assert_int_equal(m.kind, WEIR_RPC_REQUEST);
    assert_int_equal(m.id, 7);
    VIEW_IS(m.method, "m");
    VIEW_IS(m.params, "\x05");
    assert_int_equal(weir_rpc_parse(BYTES("\xdd\0\0\0\x03\xd0\x02\xd9\x00\x90"), &m, NULL), 0);
    assert_int_equal(m.kind, WEIR_RPC_NOTIFICATION);
    assert_int_equal(m.method.size, 0);
}

static const char *const whole[] = {
    "\x94\x01\x07\xa3\x65rr\x93\x01\x92\xc3\xc3\xa1x",
    "\x93\x02\xa3log\x92\x82\x01\x02\x03\xc4\x02zz\xc3",
    "\x94\x01\xce\xff\xff\xff\xff\xa1\x65\x81\xa1k\x91\x01",
};

static void every_truncation_is_incomplete(void **state)
{
    struct weir_rpc_message m, before;
    struct weir_fault fault;

    (void)state;
    memset(&m, 0x5a, sizeof m);
    before = m;
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        size_t size = strlen(whole[i]);
        for (size_t cut = 0; cut < size; cut++) {
            assert_int_equal(weir_rpc_parse(bytes_of(whole[i], cut), &m, &fault), -EAGAIN);
            assert_int_equal(fault.error, -EAGAIN);
            assert_true(fault.offset <= cut);
            assert_string_equal(fault.reason, "the bytes end within the envelope");
            assert_memory_equal(&m, &before, sizeof m);
            assert_int_equal(weir_rpc_parse(bytes_of(whole[i], cut), &m, NULL), -EAGAIN);
        }
        assert_int_equal(weir_rpc_parse(bytes_of(whole[i], size), &before, NULL), 0);
        before = m;
    }
}

static void what_is_no_envelope_is_refused_with_its_place(void **state)
{
#define ROW(text, error, offset, reason)             \
    {                                                \
        text, sizeof text - 1, error, offset, reason \
    }
    static const char shape[] = "not a MessagePack-RPC envelope";
    static const char kind[] = "an RPC kind other than 0, 1 or 2";
    static const char length[] = "an RPC envelope with another number of elements";
    static const char range[] = "an RPC kind or id is out of range";
    static const char bad[] = "malformed MessagePack";
    static const struct {
        const char *bytes;
        size_t size;
        int error;
        size_t offset;
        const char *reason;
    } rows[] = {
        ROW("\xc0", -EPROTO, 0, shape),
        ROW("\x01", -EPROTO, 0, shape),
        ROW("\xa4"
            "text",
            -EPROTO,
            0,
            shape),
        ROW("\x82\x00\x01\x02\x03", -EPROTO, 0, shape),
        ROW("\xc7\x01\x05\x00", -EPROTO, 0, shape),
        ROW("\x90", -EPROTO, 0, length),
        ROW("\xdc\x00\x00", -EPROTO, 0, length),
        ROW("\x91\x00", -EPROTO, 0, length),
        ROW("\x92\x01\x02", -EPROTO, 0, length),
        ROW("\x93\x00\x01\xa1m", -EPROTO, 0, length),
        ROW("\x93\x01\x01\xc0", -EPROTO, 0, length),
        ROW("\x94\x02\xa1m\x90\x90", -EPROTO, 0, length),
        ROW("\x95\x00\x01\xa1m\x90\xc0", -EPROTO, 0, length),
        ROW("\x94\x03\x01\xa1m\x90", -EPROTO, 1, kind),
        ROW("\x94\xcc\xff\x01\xa1m\x90", -EPROTO, 1, kind),
        ROW("\x94\xff\x01\xa1m\x90", -EOVERFLOW, 1, range),
        ROW("\x94\xcf\0\0\0\x01\0\0\0\0\x01\xa1m\x90", -EOVERFLOW, 1, range),
        ROW("\x94\xc0\x01\xa1m\x90", -EPROTO, 1, shape),
        ROW("\x94\xa1z\x01\xa1m\x90", -EPROTO, 1, shape),
        ROW("\x94\x00\xc0\xa1m\x90", -EPROTO, 2, shape),
        ROW("\x94\x00\xff\xa1m\x90", -EOVERFLOW, 2, range),
        ROW("\x94\x00\xcf\0\0\0\x01\0\0\0\0\xa1m\x90", -EOVERFLOW, 2, range),
        ROW("\x94\x00\xca\0\0\0\0\xa1m\x90", -EPROTO, 2, shape),
        ROW("\x94\x00\xc0\xa1m\xc0", -EPROTO, 2, shape),
        ROW("\x94\x00\xc0\x05\x90", -EPROTO, 2, shape),
        ROW("\x94\x00\xff\xc0\x90", -EOVERFLOW, 2, range),
        ROW("\xc1", -EBADMSG, 0, bad),
        ROW("\x94\xc1\x01\xa1m\x90", -EBADMSG, 1, bad),
        ROW("\x94\x00\xc1\xa1m\x90", -EBADMSG, 2, bad),
        ROW("\x94\x00\x01\xc1\x90", -EBADMSG, 3, bad),
        ROW("\x94\x00\x01\xa1m\x91\xc1", -EBADMSG, 6, bad),
        ROW("\x94\x01\x01\xc1\xc0", -EBADMSG, 3, bad),
        ROW("\x94\x01\x01\xc0\xc1", -EBADMSG, 4, bad),
        ROW("\x94\x01\x01\xc0\xc0\xc0", -EBADMSG, 5, bad),
        ROW("\x93\x02\xa1m\x90\x93", -EBADMSG, 5, bad),
    };
#undef ROW
    struct weir_rpc_message m, before;
    struct weir_fault fault;

    (void)state;
    memset(&m, 0x5a, sizeof m);
    before = m;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int rc = weir_rpc_parse(bytes_of(rows[i].bytes, rows[i].size), &m, &fault);
        if (rc != rows[i].error || fault.error != rc || fault.offset != rows[i].offset ||
            strcmp(fault.reason, rows[i].reason) != 0)
            fail_msg("row %zu: %d at %zu: %s", i, rc, fault.offset, fault.reason);
        assert_memory_equal(&m, &before, sizeof m);
    }
}

/* Of a call that is one but for its types, what can be told is handed out beside the fault. */
static void calls_of_other_types_can_be_answered(void **state)
{
#define ROW(text, kind, id, method, offset, reason)             \
    {                                                           \
        text, sizeof text - 1, method, reason, offset, id, kind \
    }
    static const char method[] = "the method is not a string";
    static const char params[] = "the parameters are not an array";
    static const struct {
        const char *bytes;
        size_t size;
        const char *method; /* NULL: not handed out */
        const char *reason;
        size_t offset;
        uint32_t id;
        enum weir_rpc_kind kind;
    } rows[] = {
        ROW("\x94\x00\x07\xc4\x01m\x90", WEIR_RPC_REQUEST, 7, NULL, 3, method),
        ROW("\x94\x00\x07\x05\x90", WEIR_RPC_REQUEST, 7, NULL, 3, method),
        ROW("\x94\x00\xce\xff\xff\xff\xff\xc0\x90", WEIR_RPC_REQUEST, UINT32_MAX, NULL, 7, method),
        ROW("\x94\x00\x01\x91\xa1m\x80", WEIR_RPC_REQUEST, 1, NULL, 3, method),
        ROW("\x94\x00\x01\xa1m\xc0", WEIR_RPC_REQUEST, 1, "m", 5, params),
        ROW("\x94\x00\x01\xa1m\x80", WEIR_RPC_REQUEST, 1, "m", 5, params),
        ROW("\x94\x00\x01\xa1m\xa1p", WEIR_RPC_REQUEST, 1, "m", 5, params),
        ROW("\x93\x02\x01\x90", WEIR_RPC_NOTIFICATION, 0, NULL, 2, method),
        ROW("\x93\x02\xa1m\x81\x01\x02", WEIR_RPC_NOTIFICATION, 0, "m", 4, params),
    };
#undef ROW
    struct weir_rpc_message m;
    struct weir_fault fault;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(&m, 0x5a, sizeof m);
        assert_int_equal(weir_rpc_parse(bytes_of(rows[i].bytes, rows[i].size), &m, &fault),
                         -EINVAL);
        assert_int_equal(fault.error, -EINVAL);
        assert_int_equal(fault.offset, rows[i].offset);
        assert_string_equal(fault.reason, rows[i].reason);
        assert_int_equal(m.kind, rows[i].kind);
        assert_true(m.id == rows[i].id);
        if (rows[i].method != NULL)
            view_is(m.method, rows[i].method, strlen(rows[i].method));
        else
            assert_int_equal(m.method.size, 0);
        assert_int_equal(m.param_count, 0);
        assert_int_equal(m.params.size, 0);
        assert_false(m.failed);
        assert_int_equal(weir_rpc_parse(bytes_of(rows[i].bytes, rows[i].size), &m, NULL), -EINVAL);
    }
}

/* Each byte in turn becomes each value: never beyond the input, and what is taken is whole. */
static void every_mutation_is_taken_whole_or_refused(void **state)
{
    uint8_t bytes[64];
    struct weir_rpc_message m;
    struct weir_fault fault;

    (void)state;
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        size_t size = strlen(whole[i]);
        for (size_t at = 0; at < size; at++) {
            for (unsigned value = 0; value < 256; value++) {
                memcpy(bytes, whole[i], size);
                bytes[at] = (uint8_t)value;
                struct weir_view in = weir_view_of(bytes, size);
                int rc = weir_rpc_parse(in, &m, &fault);
                assert_int_equal(fault.error, rc);
                assert_true(fault.offset <= size);
                if (rc == 0)
                    assert_int_equal(weir_check(in, NULL, NULL), 0);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelopes_are_these_bytes),
        cmocka_unit_test(envelopes_are_read_in_place),
        cmocka_unit_test(integers_and_lengths_may_be_in_any_form),
        cmocka_unit_test(every_truncation_is_incomplete),
        cmocka_unit_test(what_is_no_envelope_is_refused_with_its_place),
        cmocka_unit_test(calls_of_other_types_can_be_answered),
        cmocka_unit_test(every_mutation_is_taken_whole_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
