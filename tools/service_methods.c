/* SPDX-License-Identifier: MIT */
/* The methods of the service: what each takes, does and answers. */
#include "service_private.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Blocks of the log that one answer is made of. */
#define READ_RUNS_MAX 64

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

/* Answer with what was begun and, behind it, the bytes of @slice: a peer that does not take its
 * answers must not keep all of a block for a small part of it. */
static void answer_end_with(struct service_peer *peer, struct weir_packer *p,
                            const struct weir_slice *slice)
{
    int rc = weir_pack_end_part(p, NULL);
    if (rc == 0)
        rc = weir_buf_keep(weir_conn_out(&peer->conn), slice);
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
struct service_append {
    struct weir_log_waiter waiter;
    struct weir_block *home;
    struct service_peer *peer;
    struct weir_slice records; /* held while it waits for room */
    struct service_append *next;
    uint32_t count;
    uint32_t id;
    bool answered; /* or a notification */
};

static void answer_failed(struct service_peer *peer, uint32_t id, int error)
{
    const char *text = weir_error_text(error);
    const char *name = weir_error_name(error);
    if (weir_log_error(peer->service->log) != 0)
        answer_error(peer, id, "append: the log has failed: %s (%s)", text, name);
    else if (error == -ENOMEM || error == -ENOBUFS)
        answer_error(peer, id, "append: no memory for now: %s (%s)", text, name);
    else
        answer_error(peer, id, "append: the log cannot be written to for now: %s (%s)", text, name);
}

/* The request is over, with an answer if it wants one and somebody is there to take it. */
static void append_end(struct service_append *append, int error)
{
    struct service_peer *peer = append->peer;
    struct service *service = peer->service;
    struct weir_packer p;
    service->waiting--;
    if (!append->answered) {
        service->totals.errors += error != 0;
    } else if (!peer->closed) {
        if (error != 0) {
            answer_failed(peer, append->id, error);
        } else {
            answer_begin(peer, append->id, &p);
            weir_pack_uint(&p, append->waiter.last);
            answer_end(peer, &p);
        }
    }
    weir_block_drop(append->home);
    service_peer_answered(peer);
    if (service->paused)
        service_resume_peers(service);
}

static void on_stored(struct weir_log_waiter *waiter, int error)
{
    append_end(waiter->user, error);
}

static void postpone(struct service *service, struct service_append *append)
{
    append->records = weir_slice_hold(&append->records);
    append->next = NULL;
    if (service->postponed == NULL)
        service->postponed = append;
    else
        service->last_postponed->next = append;
    service->last_postponed = append;
    service->log_stats.postponed++;
}

void service_append_postponed(struct service *service)
{
    while (service->postponed != NULL) {
        struct service_append *append = service->postponed;
        int rc = weir_log_append(service->log, &append->records, append->count, &append->waiter);
        if (rc == -EAGAIN)
            return;
        service->postponed = append->next;
        weir_slice_drop(&append->records);
        if (rc != 0)
            append_end(append, rc);
    }
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
    if (is_answered(call))
        answer_failed(call->peer, call->rpc.id, error);
    else
        call->peer->service->totals.errors++;
}

static void do_append(const struct service_call *call)
{
    struct service_peer *peer = call->peer;
    struct service *service = peer->service;
    struct weir_block *home;
    if (refuse_deep(call, &service->options.limits))
        return;
    int rc = weir_pool_alloc(service->pool, sizeof(struct service_append), &home);
    if (rc != 0) {
        append_failed(call, rc);
        return;
    }
    struct service_append *append = (struct service_append *)(void *)home->data;
    append->waiter.done = on_stored;
    append->waiter.user = append;
    append->home = home;
    append->peer = peer;
    append->records = part_of(call, call->rpc.params);
    append->count = call->rpc.param_count;
    append->id = call->rpc.id;
    append->answered = is_answered(call);
    rc = service->postponed != NULL
             ? -EAGAIN
             : weir_log_append(service->log, &append->records, append->count, &append->waiter);
    if (rc == -EAGAIN) {
        postpone(service, append);
    } else if (rc != 0) {
        weir_block_drop(home);
        append_failed(call, rc);
        return;
    }
    peer->under_way++;
    service->waiting++;
    if (rc == 0 && service->waiting <= WAITING_REQUESTS_MAX &&
        weir_log_waiting_bytes(service->log) <= service->options.waiting_bytes)
        return;
    service->totals.pauses++;
    service->paused = true;
    service_peer_pause(peer, PEER_WAITS_FOR_LOG);
}

/* --- read ------------------------------------------------------------------------------------- */

/* Records that lie behind one another in the mapped log. */
struct run {
    struct weir_slice bytes; /* holds what is mapped */
    uint32_t count;
};

/* What is to be answered, and as much of it as there is room to hold. */
struct found {
    uint32_t count;
    size_t size;
    struct run runs[READ_RUNS_MAX];
    unsigned run_count;
};

static void drop_runs(struct found *found)
{
    for (unsigned i = 0; i < found->run_count; i++)
        weir_slice_drop(&found->runs[i].bytes);
    found->run_count = 0;
}

/* Count a record, and hold it if those before it are held. */
static void note(struct found *found, const struct weir_slice *map, struct weir_view bytes)
{
    struct run *last = found->run_count != 0 ? &found->runs[found->run_count - 1] : NULL;
    found->count++;
    found->size += bytes.size;
    if (last != NULL && last->bytes.block == map->block &&
        last->bytes.view.data + last->bytes.view.size == bytes.data) {
        last->bytes.view.size += bytes.size;
        last->count++;
    } else if (found->run_count < READ_RUNS_MAX) {
        last = &found->runs[found->run_count++];
        last->bytes = weir_slice_adopt(bytes, weir_block_hold(map->block));
        last->count = 1;
    }
}

/*
 * Find the records from number @from on: up to @count, within SERVICE_READ_BYTES or one. Returns 0,
 * or an error if not even the first is there.
 */
static int find_records(struct service *service, uint64_t from, uint64_t count, struct found *ret)
{
    struct weir_log_message message;
    uint64_t last = weir_log_last(service->log);
    int rc = weir_log_reader_seek(&service->reader, from);
    ret->count = ret->run_count = 0;
    ret->size = 0;
    for (; rc == 0 && ret->count < count && ret->count < UINT32_MAX && from <= last; from++) {
        rc = weir_log_reader_next(&service->reader, &message);
        if (rc != 0 || message.number != from ||
            (ret->count != 0 && message.bytes.size > SERVICE_READ_BYTES - ret->size))
            break;
        note(ret, &service->reader.map, message.bytes);
        if (ret->size >= SERVICE_READ_BYTES)
            break;
    }
    return ret->count != 0 ? 0 : rc != 0 ? rc : -ENOENT;
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

/* Append what was found; what lies in more runs than are held at a time is found once more.
 * What is mapped takes no memory of ours, so it may be linked however little of it is needed. */
static int answer_records(struct service_peer *peer, struct found *found, uint64_t from)
{
    uint32_t left = found->count;
    int rc = 0;
    while (rc == 0) {
        for (unsigned i = 0; i < found->run_count && rc == 0; i++) {
            rc = weir_buf_append_slice(weir_conn_out(&peer->conn), &found->runs[i].bytes);
            left -= found->runs[i].count;
            from += found->runs[i].count;
        }
        drop_runs(found);
        if (rc != 0 || left == 0)
            break;
        rc = find_records(peer->service, from, left, found);
    }
    drop_runs(found);
    return rc;
}

static void answer_found(const struct service_call *call, struct found *found, uint64_t from)
{
    struct service_peer *peer = call->peer;
    struct weir_packer p;
    answer_begin(peer, call->rpc.id, &p);
    weir_pack_array(&p, found->count);
    int rc = weir_pack_end_part(&p, NULL);
    if (rc == 0)
        rc = answer_records(peer, found, from);
    drop_runs(found);
    if (rc != 0)
        answer_lost(peer, rc);
    else
        weir_conn_flush(&peer->conn);
}

static void do_read(const struct service_call *call)
{
    struct service_peer *peer = call->peer;
    struct service *service = peer->service;
    struct weir_unpacker u;
    struct found found;
    uint64_t from, count;
    weir_unpack_init(&u, call->rpc.params, NULL);
    if (!read_number(call, &u, 1, "from", &from) || !read_number(call, &u, 2, "count", &count))
        return;
    if (from == 0) {
        answer_error(peer, call->rpc.id, "read: parameter 1 (from) is 0; records count from 1");
        return;
    }
    found.count = found.run_count = 0;
    int rc = 0;
    if (count != 0 && from <= weir_log_last(service->log))
        rc = find_records(service, from, count, &found);
    if (rc == 0)
        answer_found(call, &found, from);
    else if (rc == -ENOENT || rc == -EBADMSG)
        answer_error(peer, call->rpc.id, "read: record %llu is missing in the log: %s",
                     (unsigned long long)from, service->reader.scan.gap.reason);
    else
        answer_error(peer, call->rpc.id, "read: the log cannot be read: %s (%s)",
                     weir_error_text(rc), weir_error_name(rc));
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
