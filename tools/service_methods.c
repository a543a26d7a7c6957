/* SPDX-License-Identifier: MIT */
/* The methods of the service: what each takes, does and answers. */
#include "service_private.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define READ_TRIES_MAX 8

/* An answer is linked if it is at least one in so many bytes of the block that it lies in. */
#define LINK_PART 4

/* Requests that may wait for the disk, beside the bytes that may. */
#define WAITING_REQUESTS_MAX 65536

/* --- answers ---------------------------------------------------------------------------------- */

static void answer_begin(struct service_peer *peer, uint32_t id, struct weir_packer *p)
{
    weir_pack_begin(p, weir_conn_out(&peer->conn), 0);
    weir_rpc_result(p, id);
}

/* Without memory for its answers a connection cannot go on: whoever asked would wait for ever. */
static void answer_lost(struct service_peer *peer, int error)
{
    weir_conn_abort(&peer->conn, error, "no memory for an answer");
}

static void answer_end(struct service_peer *peer, struct weir_packer *p)
{
    int rc = weir_pack_end(p, NULL);
    if (rc != 0)
        answer_lost(peer, rc);
    else
        weir_conn_flush(&peer->conn);
}

/*
 * Append bytes of a block. They are linked, unless they are a small part of it: a peer that does
 * not take its answers would keep all of the block for them.
 */
static int append_part(struct weir_buf *out, const struct weir_slice *slice)
{
    if (slice->view.size < slice->block->size / LINK_PART)
        return weir_buf_append(out, slice->view);
    return weir_buf_append_slice(out, slice);
}

/* Answer with what was begun and, behind it, the bytes of @slice. */
static void answer_end_with(struct service_peer *peer, struct weir_packer *p,
                            const struct weir_slice *slice)
{
    int rc = weir_pack_end_part(p, NULL);
    if (rc == 0)
        rc = append_part(weir_conn_out(&peer->conn), slice);
    if (rc != 0)
        answer_lost(peer, rc);
    else
        weir_conn_flush(&peer->conn);
}

static void answer_error(struct service_peer *peer, uint32_t id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void answer_error(struct service_peer *peer, uint32_t id, const char *format, ...)
{
    char text[256];
    struct weir_packer p;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    peer->service->totals.errors++;
    weir_pack_begin(&p, weir_conn_out(&peer->conn), 0);
    weir_rpc_error(&p, id, weir_view_text(text));
    answer_end(peer, &p);
}

/* Notifications are not answered, not even with an error. */
static bool is_answered(const struct service_call *call)
{
    return call->rpc.kind == WEIR_RPC_REQUEST;
}

/* --- ping, echo, stat ------------------------------------------------------------------------- */

static void do_ping(const struct service_call *call)
{
    struct weir_packer p;
    answer_begin(call->peer, call->rpc.id, &p);
    weir_pack_text(&p, "pong");
    answer_end(call->peer, &p);
}

/* A part of the message of @call as a slice that borrows its reference: not to be dropped. */
static struct weir_slice part_of(const struct service_call *call, struct weir_view part)
{
    return weir_slice_adopt(part, call->message->block);
}

static void do_echo(const struct service_call *call)
{
    struct weir_unpacker u;
    struct weir_view first;
    struct weir_packer p;
    weir_unpack_init(&u, call->rpc.params, NULL);
    int rc = weir_unpack_raw(&u, &first);
    assert(rc == 0);
    (void)rc;
    struct weir_slice slice = part_of(call, first);
    answer_begin(call->peer, call->rpc.id, &p);
    answer_end_with(call->peer, &p, &slice);
}

static void do_stat(const struct service_call *call)
{
    struct service_stats stats;
    struct weir_packer p;
    service_stats(call->peer->service, &stats);
    answer_begin(call->peer, call->rpc.id, &p);
    service_stats_pack(&stats, &p);
    answer_end(call->peer, &p);
}

/* --- append ----------------------------------------------------------------------------------- */

/* A request that waits for the disk; it lies in a pool block of its own. */
struct waiting {
    struct record_append append;
    struct weir_block *home;
    struct service_peer *peer;
    uint32_t id;
    bool answered; /* or a notification */
};

static void on_stored(struct record_append *append, int error)
{
    struct waiting *waiting =
        (struct waiting *)(void *)((char *)append - offsetof(struct waiting, append));
    struct service_peer *peer = waiting->peer;
    struct weir_packer p;
    peer->service->waiting--;
    if (waiting->answered && !peer->closed) {
        if (error != 0) {
            answer_error(peer, waiting->id, "append: the log has failed: %s (%s)",
                         weir_error_text(error), weir_error_name(error));
        } else {
            answer_begin(peer, waiting->id, &p);
            weir_pack_uint(&p, append->last);
            answer_end(peer, &p);
        }
    }
    weir_block_drop(waiting->home);
    service_peer_answered(peer);
}

/* The log must stay readable to every reader: say which record is nested too deeply for most. */
static bool refuse_deep(const struct service_call *call, const struct weir_limits *limits)
{
    struct weir_unpacker u;
    struct weir_view record;
    struct weir_fault fault;
    uint32_t number = 0;
    struct weir_limits depth = {.depth = limits->depth};
    if (weir_check(call->rpc.params, &depth, &fault) == 0)
        return false;
    weir_unpack_init(&u, call->rpc.params, NULL);
    while (weir_unpack_raw(&u, &record) == 0) {
        number++;
        if (weir_check(record, &depth, &fault) != 0)
            break;
    }
    if (is_answered(call))
        answer_error(call->peer, call->rpc.id, "append: parameter %u, offset %zu: %s",
                     (unsigned)number, fault.offset, fault.reason);
    return true;
}

static void append_failed(const struct service_call *call, int error)
{
    struct service *service = call->peer->service;
    if (!is_answered(call)) {
        service->totals.errors++;
        return;
    }
    if (service->log->error != 0)
        answer_error(call->peer, call->rpc.id, "append: the log has failed: %s (%s)",
                     weir_error_text(error), weir_error_name(error));
    else if (error == -ENOSPC)
        answer_error(call->peer, call->rpc.id, "append: the log's index is full");
    else
        answer_error(call->peer, call->rpc.id, "append: no memory for now: %s (%s)",
                     weir_error_text(error), weir_error_name(error));
}

static void do_append(const struct service_call *call)
{
    struct service_peer *peer = call->peer;
    struct service *service = peer->service;
    struct weir_block *home;
    if (refuse_deep(call, &service->options.limits))
        return;
    int rc = weir_pool_alloc(service->pool, sizeof(struct waiting), &home);
    if (rc != 0) {
        append_failed(call, rc);
        return;
    }
    struct waiting *waiting = (struct waiting *)(void *)home->data;
    waiting->append.done = on_stored;
    waiting->home = home;
    waiting->peer = peer;
    waiting->id = call->rpc.id;
    waiting->answered = is_answered(call);
    struct weir_slice records = part_of(call, call->rpc.params);
    rc = record_log_append(service->log, &records, call->rpc.param_count, &waiting->append);
    if (rc != 0) {
        weir_block_drop(home);
        append_failed(call, rc);
        return;
    }
    peer->under_way++;
    service->waiting++;
    if (record_log_waiting_bytes(service->log) <= service->options.waiting_bytes &&
        service->waiting <= WAITING_REQUESTS_MAX)
        return;
    service->totals.pauses++;
    service->paused = true;
    service_peer_pause(peer, PEER_WAITS_FOR_LOG);
}

/* --- read ------------------------------------------------------------------------------------- */

static void read_end(struct service_peer *peer)
{
    weir_block_drop(peer->read.block);
    peer->read.block = NULL;
    service_peer_resume(peer, PEER_WAITS_FOR_READ);
    service_peer_answered(peer);
}

/*
 * Find the records asked for in what was read: how many there are from the first one on, within
 * SERVICE_READ_BYTES or one, and their bytes. Returns 0 if not even the first is there.
 */
static uint32_t find_records(const struct service_read *read, size_t size, struct weir_view *ret)
{
    struct weir_unpacker u;
    uint32_t found = 0;
    weir_unpack_init(&u, weir_view_of(read->block->data, size), NULL);
    for (uint64_t record = read->range.first; record < read->from; record++)
        if (weir_unpack_skip(&u) != 0)
            return 0;
    size_t begin = weir_unpack_offset(&u);
    size_t end = begin;
    while (found < read->count && found < UINT32_MAX && !weir_unpack_done(&u)) {
        if (weir_unpack_skip(&u) != 0)
            break;
        size_t next = weir_unpack_offset(&u);
        if (found != 0 && next - begin > SERVICE_READ_BYTES)
            break;
        end = next;
        found++;
    }
    *ret = weir_view_of(read->block->data + begin, end - begin);
    return found;
}

static void on_read(struct weir_op *op)
{
    struct service_peer *peer = op->user;
    struct service_read *read = &peer->read;
    struct weir_view records;
    struct weir_packer p;
    uint32_t found = op->result > 0 ? find_records(read, (size_t)op->result, &records) : 0;
    bool again = op->result > 0 || op->result == -EINTR || op->result == -EAGAIN;
    if (peer->closed) {
        read_end(peer);
        return;
    }
    if (found == 0 && again && ++read->tries < READ_TRIES_MAX &&
        weir_file_read(peer->service->ring, op, peer->service->log->fd, read->block,
                       read->range.size, read->range.offset) == 0)
        return;
    if (op->result < 0) {
        answer_error(peer, read->id, "read: the log cannot be read: %s (%s)",
                     weir_error_text(op->result), weir_error_name(op->result));
    } else if (found == 0) {
        answer_error(peer, read->id,
                     "read: the log is not what it was: record %llu is not at "
                     "offset %llu any more",
                     (unsigned long long)read->from, (unsigned long long)read->range.offset);
    } else {
        struct weir_slice slice = weir_slice_adopt(records, read->block);
        answer_begin(peer, read->id, &p);
        weir_pack_array(&p, found);
        answer_end_with(peer, &p, &slice);
    }
    read_end(peer);
}

/* A parameter that is a whole number, or an answer that says what else it is. */
static bool read_number(const struct service_call *call, struct weir_unpacker *u, unsigned number,
                        const char *name, uint64_t *ret)
{
    int rc = weir_unpack_uint(u, ret);
    if (rc == 0)
        return true;
    answer_error(call->peer, call->rpc.id, "read: parameter %u (%s) is %s", number, name,
                 rc == -EOVERFLOW ? "negative" : "not an integer");
    return false;
}

static void do_read(const struct service_call *call)
{
    struct service_peer *peer = call->peer;
    struct service *service = peer->service;
    struct service_read *read = &peer->read;
    struct weir_unpacker u;
    struct weir_packer p;
    weir_unpack_init(&u, call->rpc.params, NULL);
    if (!read_number(call, &u, 1, "from", &read->from) ||
        !read_number(call, &u, 2, "count", &read->count))
        return;
    if (read->from == 0) {
        answer_error(peer, call->rpc.id, "read: parameter 1 (from) is 0; records count from 1");
        return;
    }
    if (read->count == 0 || record_log_locate(service->log, read->from, read->count,
                                              SERVICE_READ_BYTES, &read->range) != 0) {
        answer_begin(peer, call->rpc.id, &p);
        weir_pack_array(&p, 0);
        answer_end(peer, &p);
        return;
    }
    int rc = weir_pool_alloc(service->pool, read->range.size, &read->block);
    if (rc != 0) {
        answer_error(peer, call->rpc.id, "read: no memory for now: %s (%s)", weir_error_text(rc),
                     weir_error_name(rc));
        return;
    }
    read->id = call->rpc.id;
    read->tries = 0;
    weir_op_init(&read->op, on_read, peer);
    rc = weir_file_read(service->ring, &read->op, service->log->fd, read->block, read->range.size,
                        read->range.offset);
    if (rc != 0) {
        weir_block_drop(read->block);
        read->block = NULL;
        return; /* the ring is being destroyed, and the connection with it */
    }
    peer->under_way++;
    service_peer_pause(peer, PEER_WAITS_FOR_READ);
}

/* --- dispatch --------------------------------------------------------------------------------- */

static const struct method {
    const char *name;
    void (*run)(const struct service_call *call);
    uint32_t params_min;
    uint32_t params_max;
    const char *params; /* for people */
    bool notified;      /* does something as a notification, too */
} methods[] = {
    {"append", do_append, 1, UINT32_MAX, "one or more records", true},
    {"echo", do_echo, 1, UINT32_MAX, "a value to send back", false},
    {"read", do_read, 2, 2, "the first record's number and a count", false},
    {"stat", do_stat, 0, 0, "none", false},
    {"ping", do_ping, 0, 0, "none", false},
};

static const struct method *find_method(struct weir_view name)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (weir_view_equal(name, weir_view_text(methods[i].name)))
            return &methods[i];
    return NULL;
}

/* Answers are text: a name that is none is shown as far as it is printable. */
static void answer_unknown(const struct service_call *call)
{
    char name[65];
    size_t size = call->rpc.method.size < sizeof name - 1 ? call->rpc.method.size : sizeof name - 1;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = call->rpc.method.data[i];
        name[i] = (char)(byte >= 0x20 && byte < 0x7f ? byte : '?');
    }
    name[size] = '\0';
    answer_error(call->peer, call->rpc.id,
                 "unknown method '%s%s'; there are ping, echo, append, read, stat", name,
                 size < call->rpc.method.size ? "..." : "");
}

static void count_call(const struct service_call *call)
{
    struct service_counters *totals = &call->peer->service->totals;
    if (is_answered(call))
        totals->requests++;
    else
        totals->notifications++;
}

void service_answer_wrong(const struct service_call *call, const struct weir_fault *fault)
{
    count_call(call);
    if (is_answered(call))
        answer_error(call->peer, call->rpc.id, "offset %zu of the request: %s", fault->offset,
                     fault->reason);
}

void service_dispatch(const struct service_call *call)
{
    const struct method *method = find_method(call->rpc.method);
    count_call(call);
    if (method == NULL) {
        if (is_answered(call))
            answer_unknown(call);
    } else if (call->rpc.param_count < method->params_min ||
               call->rpc.param_count > method->params_max) {
        if (is_answered(call))
            answer_error(call->peer, call->rpc.id, "%s: %u parameters given, expected: %s",
                         method->name, (unsigned)call->rpc.param_count, method->params);
    } else if (is_answered(call) || method->notified) {
        method->run(call);
    }
}
