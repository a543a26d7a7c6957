/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <weir/rpc.h>

/* --- reading ---------------------------------------------------------------------------------- */

static int fault(struct weir_fault *ret, int error, size_t offset, const char *reason)
{
    if (ret != NULL) {
        ret->error = error;
        ret->offset = offset;
        ret->reason = reason;
    }
    return error;
}

/* Read "method, params". Returns NULL, or which of them is of another type. */
static const char *read_call(struct weir_unpacker *u, struct weir_rpc_message *m)
{
    const uint8_t *begin;
    if (weir_unpack_error(u) != 0)
        return NULL;
    if (weir_unpack_str(u, &m->method) == -EPROTO)
        return "the method is not a string";
    if (weir_unpack_array(u, &m->param_count) == -EPROTO)
        return "the parameters are not an array";
    begin = u->pos;
    for (uint32_t i = 0; i < m->param_count && weir_unpack_error(u) == 0; i++)
        weir_unpack_skip(u);
    if (weir_unpack_error(u) == 0)
        m->params = weir_view_of(begin, (size_t)(u->pos - begin));
    return NULL;
}

static void read_response(struct weir_unpacker *u, struct weir_rpc_message *m)
{
    enum weir_type type = WEIR_TYPE_NIL;
    weir_unpack_peek(u, &type);
    m->failed = type != WEIR_TYPE_NIL;
    weir_unpack_raw(u, &m->error);
    weir_unpack_raw(u, &m->result);
}

/* What is wrong with an envelope that a typed read refused. */
static const char *reason_of(int error)
{
    switch (error) {
    case -EPROTO:
        return "not a MessagePack-RPC envelope";
    case -EOVERFLOW:
        return "an RPC kind or id is out of range";
    case -EAGAIN:
        return "the bytes end within the envelope";
    default:
        return "malformed MessagePack";
    }
}

int weir_rpc_parse(struct weir_view message, struct weir_rpc_message *ret,
                   struct weir_fault *ret_fault)
{
    static const uint32_t lengths[] = {4, 4, 3};
    struct weir_unpacker u;
    struct weir_rpc_message m;
    uint32_t length = 0;
    uint32_t kind = 0;
    const char *wrong = NULL;
    memset(&m, 0, sizeof m);
    weir_unpack_init(&u, message, NULL);
    if (weir_unpack_array(&u, &length) == 0 && length == 0)
        return fault(ret_fault, -EPROTO, 0, "an RPC envelope with another number of elements");
    size_t kind_offset = weir_unpack_offset(&u);
    weir_unpack_u32(&u, &kind);
    if (u.error != 0)
        return fault(ret_fault, u.error, weir_unpack_offset(&u), reason_of(u.error));
    if (kind > WEIR_RPC_NOTIFICATION)
        return fault(ret_fault, -EPROTO, kind_offset, "an RPC kind other than 0, 1 or 2");
    if (length != lengths[kind])
        return fault(ret_fault, -EPROTO, 0, "an RPC envelope with another number of elements");
    m.kind = (enum weir_rpc_kind)kind;
    if (m.kind != WEIR_RPC_NOTIFICATION)
        weir_unpack_u32(&u, &m.id);
    if (m.kind == WEIR_RPC_RESPONSE)
        read_response(&u, &m);
    else
        wrong = read_call(&u, &m);
    if (wrong != NULL) {
        *ret = m;
        return fault(ret_fault, -EINVAL, weir_unpack_offset(&u), wrong);
    }
    int rc = weir_unpack_end(&u);
    if (rc != 0)
        return fault(ret_fault, rc, weir_unpack_offset(&u), reason_of(rc));
    *ret = m;
    return fault(ret_fault, 0, message.size, "");
}

/* --- writing ---------------------------------------------------------------------------------- */

void weir_rpc_request_slow(struct weir_packer *packer, uint32_t id, struct weir_view method,
                           uint32_t param_count)
{
    weir_pack_array(packer, 4);
    weir_pack_uint(packer, WEIR_RPC_REQUEST);
    weir_pack_uint(packer, id);
    weir_pack_str(packer, method);
    weir_pack_array(packer, param_count);
}

void weir_rpc_notification_slow(struct weir_packer *packer, struct weir_view method,
                                uint32_t param_count)
{
    weir_pack_array(packer, 3);
    weir_pack_uint(packer, WEIR_RPC_NOTIFICATION);
    weir_pack_str(packer, method);
    weir_pack_array(packer, param_count);
}

void weir_rpc_error_slow(struct weir_packer *packer, uint32_t id, struct weir_view text)
{
    weir_pack_array(packer, 4);
    weir_pack_uint(packer, WEIR_RPC_RESPONSE);
    weir_pack_uint(packer, id);
    weir_pack_str(packer, text);
    weir_pack_nil(packer);
}
