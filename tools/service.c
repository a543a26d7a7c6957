/* SPDX-License-Identifier: MIT */
#include "service_private.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "address.h"

#define LISTEN_BACKLOG 1024
#define ACCEPT_RETRY_NS 100000000

/* Answers that a peer has not taken, above which it is not listened to. */
#define OUT_HIGH_BYTES ((size_t)256 << 10)

/* How often a stall is looked for within its time. */
#define STALL_LOOKS 4

void service_report(const struct service *service, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    service->options.report(line);
}

/* --- peers ------------------------------------------------------------------------------------ */

static void peer_free(struct service_peer *peer)
{
    struct weir_block *home = peer->home;
    peer->service->peer_blocks--;
    weir_block_drop(home);
}

/* Close in good order once nothing is left to answer. */
static void peer_finish_if_done(struct service_peer *peer)
{
    bool no_more = peer->ended || peer->service->stopping || (peer->pauses & PEER_IS_REFUSED) != 0;
    if (no_more && peer->under_way == 0 && !peer->closed)
        weir_conn_finish(&peer->conn);
}

void service_peer_answered(struct service_peer *peer)
{
    assert(peer->under_way != 0);
    peer->under_way--;
    if (peer->closed && peer->under_way == 0)
        peer_free(peer);
    else
        peer_finish_if_done(peer);
}

void service_peer_pause(struct service_peer *peer, uint8_t reason)
{
    if (peer->pauses == 0)
        weir_conn_pause(&peer->conn);
    peer->pauses |= reason;
}

void service_peer_resume(struct service_peer *peer, uint8_t reason)
{
    if ((peer->pauses & reason) == 0)
        return;
    peer->pauses &= (uint8_t)~reason;
    if (peer->pauses == 0 && !peer->closed && !peer->service->stopping)
        weir_conn_resume(&peer->conn);
}

void service_peer_refuse(struct service_peer *peer, int error, uint64_t offset, const char *reason)
{
    peer->fault.error = error;
    peer->fault.offset = (size_t)offset;
    peer->fault.reason = reason;
    service_peer_pause(peer, PEER_IS_REFUSED);
    peer_finish_if_done(peer);
}

static void on_message(struct weir_conn *conn, const struct weir_slice *message)
{
    struct service_peer *peer = conn->user;
    struct service_call call = {.peer = peer, .message = message};
    struct weir_fault fault;
    uint64_t start = peer->received_bytes;
    peer->received_bytes += message->view.size;
    peer->service->totals.messages++;
    int rc = weir_rpc_parse(message->view, &call.rpc, &fault);
    if (rc == -EINVAL)
        service_answer_wrong(&call, &fault);
    else if (rc != 0)
        service_peer_refuse(peer, rc, start + fault.offset, fault.reason);
    else if (call.rpc.kind == WEIR_RPC_RESPONSE)
        service_peer_refuse(peer, -EPROTO, start, "a response, where only requests are expected");
    else
        service_dispatch(&call);
}

static void on_ended(struct weir_conn *conn)
{
    struct service_peer *peer = conn->user;
    peer->ended = true;
    peer_finish_if_done(peer);
}

static void add_counters(struct service_counters *sum, const struct weir_conn *conn)
{
    struct weir_conn_stats stats = weir_conn_stats(conn);
    sum->received_bytes += stats.in.bytes;
    sum->gathered += stats.in.gathered;
    sum->sent_bytes += stats.sent_bytes;
    sum->sends += stats.sends;
    sum->bytes_copied += stats.bytes_copied;
}

static void on_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    struct service_peer *peer = conn->user;
    struct service *service = peer->service;
    const struct weir_fault *fault = peer->fault.error != 0 ? &peer->fault : why;
    add_counters(&service->totals, conn);
    service->totals.open--;
    if (fault->error == -EBADMSG || fault->error == -EMSGSIZE || fault->error == -EAGAIN ||
        fault->error == -EPROTO || fault->error == -EOVERFLOW) {
        service->totals.malformed++;
        service_report(service, "%s: offset %zu: %s; connection closed", peer->name, fault->offset,
                       fault->reason);
    } else if (fault->error != 0 && fault->error != -ECANCELED && fault->error != -ETIME) {
        service_report(service, "%s: %s: %s; connection closed", peer->name, fault->reason,
                       weir_error_text(fault->error));
    }
    if (peer->prev != NULL)
        peer->prev->next = peer->next;
    else
        service->peers = peer->next;
    if (peer->next != NULL)
        peer->next->prev = peer->prev;
    peer->closed = true;
    if (peer->under_way == 0)
        peer_free(peer);
}

static const struct weir_conn_handlers peer_handlers = {on_message, on_ended, on_closed};

/* What the operator is to call the peer: its address, or the process behind a unix socket. */
static void peer_name(struct service_peer *peer, int fd)
{
    struct weir_addr addr = {.size = sizeof addr.storage};
    struct ucred cred;
    socklen_t cred_size = sizeof cred;
    if (getpeername(fd, (struct sockaddr *)&addr.storage, &addr.size) < 0) {
        snprintf(peer->name, sizeof peer->name, "a peer that is gone");
        return;
    }
    weir_addr_format(&addr, peer->name);
    if (addr.storage.ss_family == AF_UNIX &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_size) == 0)
        snprintf(peer->name, sizeof peer->name, "unix: process %ld", (long)cred.pid);
}

/* Take over an accepted socket. Returns 0; on an error it is still the caller's. */
static int peer_open(struct service *service, int fd)
{
    struct weir_block *home;
    struct weir_conn_options options = {
        .limits = service->options.limits,
        .out_high_bytes = OUT_HIGH_BYTES,
    };
    int rc = weir_pool_alloc(service->pool, sizeof(struct service_peer), &home);
    if (rc != 0)
        return rc;
    struct service_peer *peer = (struct service_peer *)(void *)home->data;
    memset(peer, 0, sizeof *peer);
    peer->service = service;
    peer->home = home;
    peer_name(peer, fd);
    /* An answer that holds a message of the largest size must fit beside others. */
    options.out_limit_bytes = ((size_t)64 << 20) + 2 * (size_t)options.limits.bytes;
    rc = weir_conn_init(&peer->conn, service->ring, fd, &peer_handlers, &options, peer);
    if (rc != 0) {
        weir_block_drop(home);
        return rc;
    }
    peer->next = service->peers;
    if (peer->next != NULL)
        peer->next->prev = peer;
    service->peers = peer;
    service->peer_blocks++;
    service->totals.open++;
    service->totals.accepted++;
    return 0;
}

/* --- listening -------------------------------------------------------------------------------- */

static void listener_close(struct service_listener *listener)
{
    if (listener->fd < 0 || weir_op_is_active(&listener->accept) ||
        weir_op_is_active(&listener->retry))
        return;
    close(listener->fd);
    listener->fd = -1;
}

/* Say why connections are not accepted, once for each spell of the same trouble. */
static void accept_failed(struct service_listener *listener, int error)
{
    struct service *service = listener->service;
    char text[WEIR_ADDR_TEXT_BYTES];
    service->totals.accept_errors++;
    if (listener->last_error == error)
        return;
    listener->last_error = error;
    weir_addr_format(&listener->addr, text);
    service_report(service, "%s: cannot accept connections: %s (%s); trying again", text,
                   weir_error_text(error), weir_error_name(error));
}

static void accept_start(struct service_listener *listener)
{
    int rc = weir_sock_accept(listener->service->ring, &listener->accept, listener->fd);
    assert(rc == 0 || rc == -ECANCELED);
    (void)rc;
}

/* Whether one more connection is too many; said once, until there is room again. */
static bool is_full(struct service_listener *listener)
{
    struct service *service = listener->service;
    char text[WEIR_ADDR_TEXT_BYTES];
    bool was_full = service->full;
    service->full = service->totals.open >= service->options.connections_max;
    if (!service->full)
        return false;
    service->totals.turned_away++;
    if (was_full)
        return true;
    weir_addr_format(&listener->addr, text);
    service_report(service, "%s: %llu connections are open, closing others; see --max-connections",
                   text, (unsigned long long)service->totals.open);
    return true;
}

/* Serve the socket that was accepted, or close it. Returns 0 unless something failed. */
static int take_accepted(struct service_listener *listener, int fd)
{
    struct service *service = listener->service;
    if (!service->stopping && is_full(listener)) {
        close(fd);
        return 0;
    }
    int rc = service->stopping ? -ECANCELED : peer_open(service, fd);
    if (rc != 0)
        close(fd);
    else
        listener->last_error = 0;
    return rc;
}

static void on_accept(struct weir_op *op)
{
    struct service_listener *listener = op->user;
    struct service *service = listener->service;
    int error = op->result < 0 ? op->result : take_accepted(listener, op->result);
    if (!service->stopping && error != 0)
        accept_failed(listener, error);
    if (op->more)
        return;
    if (service->stopping)
        listener_close(listener);
    else if (error == 0)
        accept_start(listener);
    else if (weir_ring_timeout(service->ring, &listener->retry, ACCEPT_RETRY_NS) != 0)
        listener_close(listener);
}

static void on_retry(struct weir_op *op)
{
    struct service_listener *listener = op->user;
    if (listener->service->stopping)
        listener_close(listener);
    else
        accept_start(listener);
}

int service_listen(struct service *service, const struct weir_addr *addr, struct weir_addr *ret)
{
    if (service->listener_count == SERVICE_LISTENERS_MAX)
        return -ENOSPC;
    struct service_listener *listener = &service->listeners[service->listener_count];
    memset(listener, 0, sizeof *listener);
    listener->service = service;
    int rc = address_clear_stale(addr);
    if (rc == 0)
        rc = weir_sock_listen(addr, LISTEN_BACKLOG, &listener->fd);
    if (rc != 0)
        return rc;
    listener->addr = *addr;
    rc = weir_sock_local(listener->fd, &listener->addr);
    struct stat status;
    const char *path = address_path(&listener->addr);
    if (rc == 0 && path != NULL && lstat(path, &status) == 0) {
        listener->device = status.st_dev;
        listener->inode = status.st_ino;
    }
    weir_op_init(&listener->accept, on_accept, listener);
    weir_op_init(&listener->retry, on_retry, listener);
    if (rc == 0)
        rc = weir_sock_accept(service->ring, &listener->accept, listener->fd);
    if (rc != 0) {
        close(listener->fd);
        return rc;
    }
    service->listener_count++;
    *ret = listener->addr;
    return 0;
}

void service_unlink(struct service *service)
{
    for (unsigned i = 0; i < service->listener_count; i++) {
        struct service_listener *listener = &service->listeners[i];
        struct stat status;
        const char *path = address_path(&listener->addr);
        /* Somebody may have replaced it. */
        if (path != NULL && listener->inode != 0 && lstat(path, &status) == 0 &&
            status.st_dev == listener->device && status.st_ino == listener->inode)
            unlink(path);
        listener->inode = 0;
    }
}

/* --- the service ------------------------------------------------------------------------------ */

void service_resume_peers(struct service *service)
{
    size_t waiting_bytes = weir_log_waiting_bytes(service->log);
    if (!service->paused || service->postponed != NULL ||
        waiting_bytes > service->options.waiting_bytes / 2)
        return;
    service->paused = false;
    for (struct service_peer *peer = service->peers; peer != NULL; peer = peer->next)
        service_peer_resume(peer, PEER_WAITS_FOR_LOG);
}

void service_on_room(struct weir_log *log, void *user)
{
    struct service *service = user;
    (void)log;
    service_append_postponed(service);
    service_resume_peers(service);
}

/* Peers that do not take their answers hold memory that others need. */
static void on_stall_timer(struct weir_op *op)
{
    struct service *service = op->user;
    if (op->result != 0 || service->stopping)
        return;
    for (struct service_peer *peer = service->peers; peer != NULL; peer = peer->next) {
        uint64_t taken = weir_conn_stats(&peer->conn).sent_bytes;
        bool waits = weir_conn_pending_bytes(&peer->conn) != 0;
        peer->stalled = waits && taken == peer->taken_bytes ? peer->stalled + 1 : 0;
        peer->taken_bytes = taken;
        if (peer->stalled != STALL_LOOKS)
            continue;
        service->totals.stalled++;
        weir_conn_abort(&peer->conn, -ETIMEDOUT, "it takes no answers");
    }
    weir_ring_timeout(service->ring, op, service->options.stall_ns / STALL_LOOKS);
}

static void on_deadline(struct weir_op *op)
{
    struct service *service = op->user;
    if (op->result != 0 || service->peers == NULL)
        return;
    service_report(service, "%llu connections do not take their answers; closing them",
                   (unsigned long long)service->totals.open);
    for (struct service_peer *peer = service->peers; peer != NULL; peer = peer->next)
        weir_conn_abort(&peer->conn, -ECANCELED, "the service stops");
}

int service_init(struct service *service, struct weir_ring *ring, struct weir_log *log,
                 const char *path, const struct service_options *options)
{
    memset(service, 0, sizeof *service);
    int rc = weir_log_reader_open(&service->reader, weir_ring_pool(ring), path);
    if (rc != 0)
        return rc;
    service->ring = ring;
    service->pool = weir_ring_pool(ring);
    service->log = log;
    service->options = *options;
    service->log_stats.found = weir_log_last(log);
    /* What was passed over is found by the index. Damage on the way is told when it is read. */
    if (service->log_stats.found != 0)
        (void)weir_log_reader_seek(&service->reader, service->log_stats.found);
    weir_op_init(&service->deadline, on_deadline, service);
    weir_op_init(&service->stall_timer, on_stall_timer, service);
    if (options->stall_ns != 0)
        weir_ring_timeout(ring, &service->stall_timer, options->stall_ns / STALL_LOOKS);
    return 0;
}

void service_fini(struct service *service)
{
    weir_log_reader_close(&service->reader);
}

void service_stop(struct service *service)
{
    assert(!service->stopping);
    service->stopping = true;
    service_unlink(service);
    weir_op_cancel(&service->stall_timer);
    for (unsigned i = 0; i < service->listener_count; i++) {
        struct service_listener *listener = &service->listeners[i];
        weir_op_cancel(&listener->accept);
        weir_op_cancel(&listener->retry);
        listener_close(listener);
    }
    for (struct service_peer *peer = service->peers; peer != NULL; peer = peer->next) {
        weir_conn_pause(&peer->conn);
        peer_finish_if_done(peer);
    }
    if (weir_ring_timeout(service->ring, &service->deadline, service->options.drain_ns) != 0)
        return;
}

bool service_is_done(const struct service *service)
{
    for (unsigned i = 0; i < service->listener_count; i++)
        if (service->listeners[i].fd >= 0)
            return false;
    return service->stopping && service->peer_blocks == 0 && weir_log_is_idle(service->log);
}

void service_stats(const struct service *service, struct service_stats *ret)
{
    memset(ret, 0, sizeof *ret);
    weir_pool_stats(service->pool, &ret->pool);
    ret->ring = weir_ring_stats(service->ring);
    ret->log = weir_log_stats(service->log);
    ret->log_more = service->log_stats;
    ret->log_more.records = weir_log_last(service->log);
    ret->log_more.failed = weir_log_error(service->log) != 0;
    ret->connections = service->totals;
    for (struct service_peer *peer = service->peers; peer != NULL; peer = peer->next)
        add_counters(&ret->connections, &peer->conn);
    ret->bytes_copied = ret->connections.bytes_copied + ret->log.bytes_copied;
}
