/* SPDX-License-Identifier: MIT */
/*
 * fuzz_rpc: weir_rpc_parse() takes exactly what a plain walk over the values finds to be an
 * envelope, hands out the same parts, and what is written anew from them reads the same. Where the
 * call in an envelope is of other types, it hands out the parts before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/pool.h>
#include <weir/rpc.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* An integer of 0..@max, in any form. */
static bool walk_integer(struct weir_unpacker *u, uint64_t max, uint32_t *ret)
{
    struct weir_value value;
    if (weir_unpack_next(u, &value) != 0 || value.type != WEIR_TYPE_UINT || value.as.u64 > max)
        return false;
    *ret = (uint32_t)value.as.u64;
    return true;
}

/* One value with all that it contains, head by head. */
static bool walk_value(struct weir_unpacker *u, struct weir_view in, struct weir_view *ret,
                       bool *ret_nil)
{
    struct weir_value value;
    size_t begin = weir_unpack_offset(u);
    for (uint64_t left = 1; left != 0; left--) {
        if (weir_unpack_next(u, &value) != 0)
            return false;
        if (weir_unpack_offset(u) - begin == 1 && left == 1)
            *ret_nil = value.type == WEIR_TYPE_NIL;
        left += value.type == WEIR_TYPE_ARRAY ? value.count
                : value.type == WEIR_TYPE_MAP ? 2 * (uint64_t)value.count
                                              : 0;
    }
    return weir_view_slice(in, begin, weir_unpack_offset(u) - begin, ret) == 0;
}

static bool walk_call(struct weir_unpacker *u, struct weir_view in, struct weir_rpc_message *m)
{
    struct weir_value value;
    struct weir_view part;
    bool nil;
    if (weir_unpack_next(u, &value) != 0 || value.type != WEIR_TYPE_STR)
        return false;
    m->method = value.as.bytes;
    if (weir_unpack_next(u, &value) != 0 || value.type != WEIR_TYPE_ARRAY)
        return false; /* kind, id and method stay */
    m->param_count = value.count;
    size_t begin = weir_unpack_offset(u);
    for (uint32_t i = 0; i < m->param_count; i++)
        if (!walk_value(u, in, &part, &nil))
            return false;
    return weir_view_slice(in, begin, weir_unpack_offset(u) - begin, &m->params) == 0;
}

static bool walk(struct weir_view in, struct weir_rpc_message *m)
{
    struct weir_unpacker u;
    struct weir_value value;
    uint32_t kind;
    bool nil = false;
    bool ignored;
    memset(m, 0, sizeof *m);
    weir_unpack_init(&u, in, NULL);
    if (weir_unpack_next(&u, &value) != 0 || value.type != WEIR_TYPE_ARRAY)
        return false;
    if (!walk_integer(&u, 2, &kind) || value.count != (kind == 2 ? 3 : 4))
        return false;
    m->kind = (enum weir_rpc_kind)kind;
    if (kind != 2 && !walk_integer(&u, UINT32_MAX, &m->id))
        return false;
    if (kind == 1) {
        if (!walk_value(&u, in, &m->error, &nil) || !walk_value(&u, in, &m->result, &ignored))
            return false;
        m->failed = !nil;
    } else if (!walk_call(&u, in, m)) {
        return false;
    }
    return weir_unpack_done(&u);
}

static bool equal(const struct weir_rpc_message *a, const struct weir_rpc_message *b)
{
    return a->kind == b->kind && a->id == b->id && a->param_count == b->param_count &&
           a->failed == b->failed && weir_view_equal(a->method, b->method) &&
           weir_view_equal(a->params, b->params) && weir_view_equal(a->error, b->error) &&
           weir_view_equal(a->result, b->result);
}

static void write_anew(struct weir_pool *pool, const struct weir_rpc_message *m)
{
    struct weir_rpc_message again;
    struct weir_packer p;
    struct weir_buf buf;
    struct weir_view bytes;
    require(weir_buf_init(&buf, pool, NULL) == 0);
    weir_pack_begin(&p, &buf, 0);
    if (m->kind == WEIR_RPC_REQUEST)
        weir_rpc_request(&p, m->id, m->method, m->param_count);
    else if (m->kind == WEIR_RPC_NOTIFICATION)
        weir_rpc_notification(&p, m->method, m->param_count);
    else if (!m->failed)
        weir_rpc_result(&p, m->id);
    if (m->kind != WEIR_RPC_RESPONSE)
        weir_pack_raw(&p, m->params);
    else if (!m->failed)
        weir_pack_raw(&p, m->result);
    if (m->kind != WEIR_RPC_RESPONSE || !m->failed) {
        require(weir_pack_end(&p, &bytes) == 0);
        require(weir_rpc_parse(bytes, &again, NULL) == 0);
        require(equal(m, &again));
    } else {
        weir_pack_cancel(&p);
    }
    weir_buf_fini(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct weir_pool *pool;
    struct weir_view in = weir_view_of(data, size);
    struct weir_rpc_message m, walked, before;
    struct weir_fault fault;

    if (pool == NULL)
        require(weir_pool_create(NULL, &pool) == 0);
    memset(&m, 0x5a, sizeof m);
    before = m;
    int rc = weir_rpc_parse(in, &m, &fault);
    require(fault.error == rc && fault.offset <= size && fault.reason != NULL);
    require((rc == 0) == walk(in, &walked));
    if (rc == -EINVAL) {
        require(m.kind != WEIR_RPC_RESPONSE && equal(&m, &walked));
        return 0;
    }
    if (rc == 0) {
        require(equal(&m, &walked));
        require(fault.offset == size);
        write_anew(pool, &m);
    } else {
        require(rc == -EPROTO || rc == -EOVERFLOW || rc == -EBADMSG || rc == -EAGAIN);
        require(memcmp(&m, &before, sizeof m) == 0);
    }
    return 0;
}
