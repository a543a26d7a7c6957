/* SPDX-License-Identifier: MIT */
/*
 * The poll backend: requests as system calls that do not wait, made when epoll says that they are
 * worth it. For machines where io_uring is not allowed.
 *
 * A request that is handed over is put on the ready list. A turn tries each once. Those that cannot
 * go on are watched: they stand in a table by descriptor, and epoll is told what to look for, the
 * union of what the requests on a descriptor need. It reports levels, not edges: a receive takes
 * one block's worth per report, so that none starves the others, and a report comes again as
 * long as there is more. With edges every receive had to go on until it finds nothing, one call
 * more each time, because a short receive does not prove that a socket is empty (passed
 * descriptors, urgent data). The price of levels is that what nobody waits for has to be taken
 * out; this happens when a send blocks or a receive starves, not with each message.
 *
 * Results of what is done outside of drain() wait in the finished list, since done functions run
 * from there only. Nothing else in this file calls them, so the lists and the table change
 * under a loop in two ways only: requests are added to the ready list, and any request may be
 * cancelled.
 */
#include "ring_poll_private.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/time_types.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a request rests that nobody says is worth a try. */
#define RETRY_NS 1000000

/* --- lists ------------------------------------------------------------------------------------ */

static void list_append(struct weir__op_list *list, struct weir_op *op, enum weir__poll_place place)
{
    op->place = (uint8_t)place;
    op->queue_next = NULL;
    if (list->first == NULL)
        list->first = op;
    else
        list->last->queue_next = op;
    list->last = op;
    list->count++;
}

static struct weir_op *list_take(struct weir__op_list *list)
{
    struct weir_op *op = list->first;
    list->first = op->queue_next;
    list->count--;
    op->place = WEIR__PLACE_NONE;
    return op;
}

static void finish(struct weir__poll *p, struct weir_op *op, int result)
{
    op->result = result;
    list_append(&p->finished, op, WEIR__PLACE_FINISHED);
}

/* A request ends before its time; a send says what has left. */
static void finish_early(struct weir__poll *p, struct weir_op *op, int error)
{
    bool sends = op->kind == WEIR_OP_SEND || op->kind == WEIR_OP_SENDV;
    finish(p, op, sends && op->result > 0 ? op->result : error);
}

/* --- receive blocks --------------------------------------------------------------------------- */

uint8_t *weir__poll_room(struct weir__poll *p, size_t *ret_bytes)
{
    if (p->block == NULL) {
        if (p->idle_count == 0)
            return NULL;
        p->block = p->idle[--p->idle_count];
        p->block_offset = 0;
    }
    *ret_bytes = p->lent_bytes - p->block_offset;
    return p->block->data + p->block_offset;
}

static bool poll_refill(struct weir_ring *ring, bool few)
{
    struct weir__poll *p = weir__poll_of(ring);
    uint32_t there = p->idle_count + (p->block != NULL);
    while (there < p->lent_count) {
        if (weir_pool_alloc(ring->pool, p->lent_bytes, &p->idle[p->idle_count]) != 0)
            break;
        p->idle_count++;
        there++;
    }
    ring->stats.blocks_lent = there;
    /* As the other backend: not for a trickle, unless nothing else happens. */
    uint32_t enough = few || p->lent_count < 4 ? 1 : p->lent_count / 4;
    return there >= enough;
}

/* After a receive: use the block again from its start if nobody kept what it brought, go on in it
 * where there is room, else have a fresh one. */
static void settle_block(struct weir_ring *ring)
{
    struct weir__poll *p = weir__poll_of(ring);
    if (p->block == NULL)
        return;
    if (weir_block_is_exclusive(p->block)) {
        p->block_offset = 0;
        return;
    }
    /* The last bytes of a block are not worth a system call. */
    if (p->by_parts && p->lent_bytes - p->block_offset > p->lent_bytes / 16)
        return;
    weir_block_drop(p->block);
    p->block = NULL;
    if (weir_pool_alloc(ring->pool, p->lent_bytes, &p->idle[p->idle_count]) == 0)
        p->idle_count++;
    else
        ring->stats.blocks_lent--;
}

static void close_receive(struct weir__poll *p)
{
    weir_block_drop(p->block);
    while (p->idle_count != 0)
        weir_block_drop(p->idle[--p->idle_count]);
}

/* --- set-up ----------------------------------------------------------------------------------- */

static void set_features(struct weir_ring *ring, uint32_t without)
{
    static const char io_uring_only[] = "io_uring only";
    weir__ring_feature(ring, WEIR_RING_SINGLE_ISSUER, io_uring_only);
    weir__ring_feature(ring, WEIR_RING_DEFER_TASKRUN, io_uring_only);
    weir__ring_feature(ring, WEIR_RING_REGISTERED, io_uring_only);
    weir__ring_feature(ring, WEIR_RING_BUFFERS, io_uring_only);
    weir__ring_feature(ring, WEIR_RING_MIN_WAIT, io_uring_only);
    weir__ring_feature(ring, WEIR_RING_SQPOLL, io_uring_only);
    weir__ring_feature_wanted(ring, without, WEIR_RING_RECEIVE_BY_PARTS, NULL);
}

static void poll_close(struct weir_ring *ring)
{
    struct weir__poll *p = weir__poll_of(ring);
    close(p->epoll_fd);
    close_receive(p);
    weir_block_drop(p->home);
}

/* An edge per wake; what is in the eventfd stays there. */
static int watch_mail(const struct weir__poll *p, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
    return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int poll_open(struct weir_ring *ring, const struct weir_ring_options *options)
{
    uint32_t lent_count = options->receive_blocks != 0 ? options->receive_blocks : 32;
    uint32_t bucket_count = 8 * (options->entries != 0 ? options->entries : 256);
    struct weir_block *home;
    if (bucket_count > 32768)
        bucket_count = 32768;
    size_t bytes = sizeof(struct weir__poll) + bucket_count * sizeof(struct weir_op *) +
                   lent_count * sizeof(struct weir_block *);
    int rc = weir_pool_alloc(ring->pool, bytes, &home);
    if (rc != 0)
        return rc;
    memset(home->data, 0, bytes);
    struct weir__poll *p = (struct weir__poll *)(void *)home->data;
    p->home = home;
    p->buckets = (struct weir_op **)(void *)(p + 1);
    p->bucket_count = bucket_count;
    p->idle = (struct weir_block **)(void *)(p->buckets + bucket_count);
    set_features(ring, options->without);
    p->lent_count = lent_count;
    p->by_parts = (ring->features & WEIR_RING_RECEIVE_BY_PARTS) != 0;
    p->lent_bytes = options->receive_block_bytes;
    if (p->lent_bytes == 0)
        p->lent_bytes = p->by_parts ? 65536 : 16384;
    for (uint32_t i = 0; i < lent_count && rc == 0; i++) {
        rc = weir_pool_alloc(ring->pool, p->lent_bytes, &p->idle[i]);
        p->idle_count += rc == 0;
    }
    if (rc == 0) {
        p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        rc = p->epoll_fd < 0 ? -errno : 0;
    }
    if (rc == 0) {
        rc = watch_mail(p, ring->mailbox.fd);
        if (rc != 0)
            close(p->epoll_fd);
    }
    if (rc != 0) {
        close_receive(p);
        weir_block_drop(home);
        return rc;
    }
    ring->stats.blocks_lent = lent_count;
    ring->backend_state = p;
    return 0;
}

/* --- watched descriptors ---------------------------------------------------------------------- */

static uint32_t awaited(const struct weir_op *op)
{
    bool in = op->kind == WEIR_OP_RECEIVE || op->kind == WEIR_OP_ACCEPT || weir__op_reads(op);
    return in ? EPOLLIN : EPOLLOUT;
}

static struct weir_op **bucket_of(const struct weir__poll *p, int fd)
{
    return &p->buckets[(uint32_t)fd & (p->bucket_count - 1)];
}

/* What the watched requests on @fd need. */
static uint32_t all_awaited(const struct weir__poll *p, int fd)
{
    uint32_t mask = 0;
    for (const struct weir_op *op = *bucket_of(p, fd); op != NULL; op = op->watch_next)
        if (op->fd == fd)
            mask |= awaited(op);
    return mask;
}

static int control(struct weir_ring *ring, int what, int fd, uint32_t mask)
{
    struct epoll_event event = {.events = mask, .data = {.fd = fd}};
    ring->stats.enters++;
    return epoll_ctl(weir__poll_of(ring)->epoll_fd, what, fd, &event) == 0 ? 0 : -errno;
}

/* Have epoll look for @mask, where it has looked for @before. */
static int watch_fd(struct weir_ring *ring, int fd, uint32_t before, uint32_t mask)
{
    struct weir__poll *p = weir__poll_of(ring);
    if (mask == before)
        return 0;
    int rc = control(ring, before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, mask);
    /* Somebody closed a descriptor under us, or kept a copy of one that we knew by this number. */
    if (rc == -EEXIST)
        rc = control(ring, EPOLL_CTL_MOD, fd, mask);
    else if (rc == -ENOENT)
        rc = control(ring, EPOLL_CTL_ADD, fd, mask);
    if (rc == 0 && before == 0)
        p->watched_fds++;
    return rc;
}

/* Returns 0 or the error of epoll_ctl(2), -EPERM where the descriptor is always ready. */
static int watch(struct weir_ring *ring, struct weir_op *op)
{
    struct weir__poll *p = weir__poll_of(ring);
    uint32_t before = all_awaited(p, op->fd);
    int rc = watch_fd(ring, op->fd, before, before | awaited(op));
    if (rc != 0)
        return rc;
    struct weir_op **at = bucket_of(p, op->fd);
    while (*at != NULL)
        at = &(*at)->watch_next;
    *at = op;
    op->watch_next = NULL;
    op->flags = p->event_pass;
    op->place = WEIR__PLACE_WATCHED;
    return 0;
}

static void unwatch(struct weir_ring *ring, struct weir_op *op)
{
    struct weir__poll *p = weir__poll_of(ring);
    uint32_t before = all_awaited(p, op->fd);
    struct weir_op **at = bucket_of(p, op->fd);
    assert(op->place == WEIR__PLACE_WATCHED);
    while (*at != op)
        at = &(*at)->watch_next;
    *at = op->watch_next;
    op->place = WEIR__PLACE_NONE;
    uint32_t mask = all_awaited(p, op->fd);
    if (mask != 0) {
        (void)watch_fd(ring, op->fd, before, mask);
        return;
    }
    p->watched_fds--;
    (void)control(ring, EPOLL_CTL_DEL, op->fd, 0);
}

/* Before @fd is closed: what waits for it must not wait for the next file of that number. */
static void forget_fd(struct weir_ring *ring, int fd)
{
    struct weir__poll *p = weir__poll_of(ring);
    for (;;) {
        struct weir_op *op = *bucket_of(p, fd);
        while (op != NULL && op->fd != fd)
            op = op->watch_next;
        if (op == NULL)
            return;
        unwatch(ring, op);
        finish_early(p, op, -EBADF);
    }
}

/* --- trying ----------------------------------------------------------------------------------- */

static void watch_or_finish(struct weir_ring *ring, struct weir_op *op)
{
    int rc = watch(ring, op);
    if (rc == 0)
        return;
    weir__poll_try_unwatched(ring, op, rc);
    finish(weir__poll_of(ring), op, op->result);
}

static void try_ready(struct weir_ring *ring, struct weir_op *op)
{
    struct weir__poll *p = weir__poll_of(ring);
    if (op->cancel != 0) {
        finish_early(p, op, -ECANCELED);
        return;
    }
    if (op->kind == WEIR_OP_CLOSE)
        forget_fd(ring, op->fd);
    switch (weir__poll_try(ring, op, true)) {
    case WEIR__TRIED_DONE:
        finish(p, op, op->result);
        break;
    case WEIR__TRIED_BROUGHT:
        finish(p, op, op->result);
        settle_block(ring);
        break;
    case WEIR__TRIED_RETRY:
        if (p->retry.first == NULL)
            p->retry_ns = weir__now_ns() + RETRY_NS;
        list_append(&p->retry, op, WEIR__PLACE_RETRY);
        break;
    case WEIR__TRIED_WAITS:
    case WEIR__TRIED_STARVED:
        watch_or_finish(ring, op);
        break;
    }
}

/* Try all that is ready, once. */
static void try_all_ready(struct weir_ring *ring)
{
    struct weir__poll *p = weir__poll_of(ring);
    if (p->retry.first != NULL && weir__now_ns() >= p->retry_ns) {
        while (p->retry.first != NULL)
            list_append(&p->ready, list_take(&p->retry), WEIR__PLACE_READY);
    }
    for (size_t left = p->ready.count; left != 0; left--)
        try_ready(ring, list_take(&p->ready));
}

static bool poll_hand(struct weir_ring *ring, struct weir_op *op)
{
    struct weir__poll *p = weir__poll_of(ring);
    ring->stats.requests++;
    if (op->kind != WEIR_OP_TIMEOUT) {
        list_append(&p->ready, op, WEIR__PLACE_READY);
        return true;
    }
    int64_t deadline;
    if (__builtin_mul_overflow(op->args.time.seconds, 1000000000, &deadline) ||
        __builtin_add_overflow(deadline, op->args.time.nanoseconds, &deadline) ||
        __builtin_add_overflow(deadline, op->flags != 0 ? 0 : weir__now_ns(), &deadline))
        deadline = INT64_MAX;
    op->place = WEIR__PLACE_TIMED;
    weir__timers_add(&p->timers, op, deadline);
    return true;
}

static bool poll_cancel(struct weir_ring *ring, struct weir_op *op)
{
    struct weir__poll *p = weir__poll_of(ring);
    ring->stats.requests++;
    switch ((enum weir__poll_place)op->place) {
    case WEIR__PLACE_WATCHED:
        unwatch(ring, op);
        finish_early(p, op, -ECANCELED);
        break;
    case WEIR__PLACE_TIMED:
        weir__timers_remove(&p->timers, op);
        finish_early(p, op, -ECANCELED);
        break;
    case WEIR__PLACE_NONE:
    case WEIR__PLACE_READY:
    case WEIR__PLACE_RETRY:
    case WEIR__PLACE_FINISHED:
        break; /* it comes by soon, and op->cancel is seen then */
    }
    return true;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Shorten a wait, where -1 is without bound, so that it ends at @deadline_ns. */
static int64_t until(int64_t timeout_ns, int64_t deadline_ns)
{
    int64_t left = deadline_ns - weir__now_ns();
    if (left < 0)
        left = 0;
    return timeout_ns < 0 || timeout_ns > left ? left : timeout_ns;
}

static int ask_epoll_ms(struct weir__poll *p, int64_t timeout_ns)
{
    int64_t ms = timeout_ns < 0 ? -1 : timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
    return epoll_wait(p->epoll_fd, p->events, WEIR__POLL_EVENTS, ms < INT_MAX ? (int)ms : INT_MAX);
}

static int ask_epoll(struct weir_ring *ring, int64_t timeout_ns)
{
    struct weir__poll *p = weir__poll_of(ring);
    int rc = -1;
    ring->stats.enters++;
    if (timeout_ns <= 0 || p->no_pwait2) {
        rc = ask_epoll_ms(p, timeout_ns);
    } else {
#ifdef SYS_epoll_pwait2
        struct __kernel_timespec time = {timeout_ns / 1000000000, timeout_ns % 1000000000};
        rc = (int)syscall(SYS_epoll_pwait2, p->epoll_fd, p->events, WEIR__POLL_EVENTS, &time, NULL,
                          (size_t)0);
        /* Kernel 5.11 has it. Old filters of system calls answer EPERM to what they do not know. */
        p->no_pwait2 = rc < 0 && (errno == ENOSYS || errno == EPERM);
#else
        p->no_pwait2 = true;
#endif
        if (p->no_pwait2) {
            ring->stats.enters++;
            rc = ask_epoll_ms(p, timeout_ns);
        }
    }
    p->event_count = rc > 0 ? (unsigned)rc : 0;
    return rc < 0 ? -errno : 0;
}

/* Look again and again before sleeping. Returns what is left of the wait, or a negative errno in
 * *error; nothing is left when there is something to do. */
static int64_t spin(struct weir_ring *ring, int64_t timeout_ns, int *error)
{
    struct weir__poll *p = weir__poll_of(ring);
    int64_t spin_ns = weir__ring_spin_begin(ring, timeout_ns);
    int64_t spent = 0;
    if (spin_ns == 0)
        return timeout_ns;
    for (int64_t begin = weir__now_ns(); spent < spin_ns; spent = weir__now_ns() - begin) {
        *error = ask_epoll(ring, 0);
        if (p->event_count != 0 || *error != 0 || weir__mail_is_there(ring)) {
            weir__ring_spin_end(ring, true);
            return 0;
        }
    }
    weir__ring_spin_end(ring, false);
    return weir__time_left(timeout_ns, spent);
}

static int poll_wait(struct weir_ring *ring, int64_t timeout_ns)
{
    struct weir__poll *p = weir__poll_of(ring);
    try_all_ready(ring);
    if (p->finished.first != NULL) {
        /* There is enough to do, and what it starts would only be seen by the next look. But not
         * twice: others may be ready, too. */
        p->passed_over = !p->passed_over;
        if (p->passed_over)
            return 0;
        timeout_ns = 0;
    }
    p->passed_over = false;
    if (timeout_ns != 0 && p->timers.root != NULL)
        timeout_ns = until(timeout_ns, p->timers.root->args.timer.deadline_ns);
    if (timeout_ns != 0 && p->retry.first != NULL)
        timeout_ns = until(timeout_ns, p->retry_ns);
    if (timeout_ns == 0 && p->watched_fds == 0)
        return 0;
    int rc = 0;
    bool may_come = p->watched_fds != 0 || ring->awaits_messages;
    if (timeout_ns != 0 && may_come && p->retry.first == NULL) {
        timeout_ns = spin(ring, timeout_ns, &rc);
        if (timeout_ns == 0)
            return rc;
    }
    if (timeout_ns == 0)
        return ask_epoll(ring, 0);
    if (weir__mail_fall_asleep(ring)) {
        rc = ask_epoll(ring, timeout_ns);
        weir__mail_awake(ring);
    }
    return rc;
}

/* --- completion ------------------------------------------------------------------------------- */

static void complete(struct weir_ring *ring, struct weir_op *op)
{
    ring->stats.completions++;
    if ((op->kind == WEIR_OP_SEND || op->kind == WEIR_OP_SENDV) && op->result > 0)
        ring->stats.sent_bytes += (uint64_t)op->result;
    weir__ring_complete(ring, op, op->result, false);
}

/* Hand out what a request brought that goes on. */
static void bring(struct weir_ring *ring, struct weir_op *op)
{
    struct weir_slice received = op->received;
    ring->stats.completions++;
    if (op->kind == WEIR_OP_RECEIVE) {
        ring->stats.receives++;
        ring->stats.received_bytes += (uint64_t)op->result;
    }
    weir__ring_complete(ring, op, op->result, true);
    memset(&op->received, 0, sizeof op->received);
    weir_slice_drop(&received);
}

static int drain_finished(struct weir_ring *ring)
{
    struct weir__poll *p = weir__poll_of(ring);
    size_t count = p->finished.count;
    for (size_t left = count; left != 0; left--) {
        struct weir_op *op = list_take(&p->finished);
        if (op->kind != WEIR_OP_RECEIVE || op->result <= 0) {
            complete(ring, op);
            continue;
        }
        bring(ring, op);
        list_append(&p->ready, op, WEIR__PLACE_READY);
    }
    return (int)count;
}

static int drain_timers(struct weir_ring *ring)
{
    struct weir__poll *p = weir__poll_of(ring);
    struct weir_op *op = p->timers.root;
    uint64_t end = p->timers.number; /* what is started now is due in the next turn */
    int handled = 0;
    if (op == NULL)
        return 0;
    int64_t now = weir__now_ns();
    for (; op != NULL && op->args.timer.deadline_ns <= now && op->args.timer.number < end;
         op = p->timers.root) {
        weir__timers_remove(&p->timers, op);
        op->result = 0;
        complete(ring, op);
        handled++;
    }
    return handled;
}

static int try_watched(struct weir_ring *ring, struct weir_op *op)
{
    switch (weir__poll_try(ring, op, false)) {
    case WEIR__TRIED_DONE:
        unwatch(ring, op);
        complete(ring, op);
        return 1;
    case WEIR__TRIED_BROUGHT:
        bring(ring, op);
        settle_block(ring);
        return 1;
    case WEIR__TRIED_STARVED:
        /* If blocks came back within this turn, the report comes again. */
        if (poll_refill(ring, true))
            return 0;
        ring->stats.receive_starved++;
        unwatch(ring, op);
        op->starved = true;
        weir__ring_requeue(ring, op);
        return 0;
    case WEIR__TRIED_WAITS:
    case WEIR__TRIED_RETRY:
        break;
    }
    return 0;
}

/* The first watched request that @event is for and that was not tried for it. */
static struct weir_op *next_for(const struct weir__poll *p, const struct epoll_event *event)
{
    uint32_t mask = event->events;
    if ((mask & (EPOLLERR | EPOLLHUP)) != 0)
        mask |= EPOLLIN | EPOLLOUT;
    for (struct weir_op *op = *bucket_of(p, event->data.fd); op != NULL; op = op->watch_next)
        if (op->fd == event->data.fd && op->flags != p->event_pass && (awaited(op) & mask) != 0)
            return op;
    return NULL;
}

static int drain_event(struct weir_ring *ring, const struct epoll_event *event)
{
    struct weir__poll *p = weir__poll_of(ring);
    bool risked = false;
    int handled = 0;
    p->event_pass++;
    /* From the front again each time: the done function may have taken any out. */
    for (struct weir_op *op; (op = next_for(p, event)) != NULL;) {
        /* One report is good for one call that may wait: the first may take what there was. */
        bool may_wait = op->kind == WEIR_OP_ACCEPT || weir__op_reads(op) ||
                        op->kind == WEIR_OP_WRITE || op->kind == WEIR_OP_WRITEV;
        op->flags = p->event_pass;
        if (!may_wait || !risked)
            handled += try_watched(ring, op);
        risked |= may_wait;
    }
    return handled;
}

static int poll_drain(struct weir_ring *ring)
{
    struct weir__poll *p = weir__poll_of(ring);
    int handled = drain_finished(ring) + drain_timers(ring);
    for (unsigned i = 0; i < p->event_count; i++)
        handled += drain_event(ring, &p->events[i]);
    p->event_count = 0;
    return handled;
}

const struct weir__backend weir__backend_poll = {
    .open = poll_open,
    .close = poll_close,
    .hand = poll_hand,
    .cancel = poll_cancel,
    .refill = poll_refill,
    .wait = poll_wait,
    .drain = poll_drain,
};
