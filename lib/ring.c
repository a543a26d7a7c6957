/* SPDX-License-Identifier: MIT */
#include "ring_backend.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <weir/ring.h>

/* How long a turn may wait while a receive has no blocks: nothing wakes us when blocks that other
 * threads dropped come back to the pool. */
#define STARVED_WAIT_NS 1000000

/* How long a turn may wait before a cancel that was missed is asked for again. */
#define MISSED_WAIT_NS 1000000

/* Most completions that a wait may be for. */
#define BATCH_MAX 4096

/* How far the coarse clock may be behind. */
#define COARSE_NS (WEIR_ALARM_TICK_MS * INT64_C(1000000))

/* How long a wait looks for completions before it sleeps. Going to sleep and waking cost more. */
#define DEFAULT_SPIN_NS 20000

/* --- lists ------------------------------------------------------------------------------------ */

static void active_link(struct weir_ring *ring, struct weir_op *op)
{
    op->prev = NULL;
    op->next = ring->active;
    if (op->next != NULL)
        op->next->prev = op;
    ring->active = op;
    ring->active_count++;
}

static void active_unlink(struct weir_ring *ring, struct weir_op *op)
{
    assert(ring->active_count > 0);
    if (op->prev != NULL)
        op->prev->next = op->next;
    else
        ring->active = op->next;
    if (op->next != NULL)
        op->next->prev = op->prev;
    ring->active_count--;
}

static void queue_append(struct weir_ring *ring, struct weir_op *op)
{
    op->queue_next = NULL;
    if (ring->queue == NULL)
        ring->queue = op;
    else
        ring->queue_last->queue_next = op;
    ring->queue_last = op;
    ring->starved_count += op->starved;
}

static struct weir_op *queue_take(struct weir_ring *ring)
{
    struct weir_op *op = ring->queue;
    ring->queue = op->queue_next;
    ring->starved_count -= op->starved;
    return op;
}

/* --- the life of a request -------------------------------------------------------------------- */

static void op_hold(struct weir_op *op)
{
    if (op->block != NULL)
        weir_block_hold(op->block);
    for (uint32_t i = 0; i < op->block_count; i++)
        if (op->blocks[i] != NULL)
            weir_block_hold(op->blocks[i]);
}

static void op_let_go(struct weir_op *op)
{
    weir_block_drop(op->block);
    for (uint32_t i = 0; i < op->block_count; i++)
        weir_block_drop(op->blocks[i]);
    op->block = NULL;
    op->blocks = NULL;
    op->block_count = 0;
}

int weir__ring_start(struct weir_ring *ring, struct weir_op *op)
{
    assert(op->state == WEIR_OP_IDLE);
    if (ring->closing)
        return -ECANCELED;
    op->ring = ring;
    op->cancel = 0;
    op->starved = false;
    op->more = false;
    op->link = NULL;
    op->late = false;
    op->result = 0;
    op_hold(op);
    active_link(ring, op);
    if (ring->queue == NULL && ring->backend->hand(ring, op)) {
        op->state = WEIR_OP_IN_KERNEL;
    } else {
        op->state = WEIR_OP_WAITING;
        queue_append(ring, op);
    }
    return 0;
}

static void leave_kernel(struct weir_ring *ring, const struct weir_op *op)
{
    ring->cancels -= op->cancel == 1;
    ring->asked -= op->cancel == 2;
}

void weir__ring_requeue(struct weir_ring *ring, struct weir_op *op)
{
    assert(op->state == WEIR_OP_IN_KERNEL);
    leave_kernel(ring, op);
    op->state = WEIR_OP_WAITING;
    queue_append(ring, op);
}

/* A request or what limits its time is over: the other one learns of it. */
static void unlink_limit(struct weir_op *op, int result)
{
    struct weir_op *other = op->link;
    op->link = NULL;
    other->link = NULL;
    if (op->limits) {
        if (result != 0)
            return; /* cancelled: the request goes on without */
        other->late = true;
    }
    weir_op_cancel(other);
}

void weir__ring_complete(struct weir_ring *ring, struct weir_op *op, int result, bool more)
{
    assert(op->state != WEIR_OP_IDLE);
    if (!more && op->link != NULL)
        unlink_limit(op, result);
    if (op->late && result == -ECANCELED)
        result = -ETIMEDOUT;
    op->result = result;
    op->more = more;
    if (!more) {
        if (op->state == WEIR_OP_IN_KERNEL)
            leave_kernel(ring, op);
        active_unlink(ring, op);
        op_let_go(op);
        op->state = WEIR_OP_IDLE;
    }
    if (op->done != NULL)
        op->done(op);
}

void weir_op_init(struct weir_op *op, void (*done)(struct weir_op *op), void *user)
{
    memset(op, 0, sizeof *op);
    op->done = done;
    op->user = user;
    op->fd = -1;
}

/* Ask for a cancel that is due. False: no room now. */
static bool ask_to_cancel(struct weir_ring *ring, struct weir_op *op)
{
    assert(op->state == WEIR_OP_IN_KERNEL && op->cancel == 1);
    if (!ring->backend->cancel(ring, op))
        return false;
    op->cancel = 2;
    ring->cancels--;
    ring->asked++;
    return true;
}

int weir_op_cancel(struct weir_op *op)
{
    if (op->state == WEIR_OP_IDLE)
        return -ENOENT;
    if (op->cancel != 0)
        return 0;
    op->cancel = 1;
    if (op->state == WEIR_OP_IN_KERNEL) {
        op->ring->cancels++;
        ask_to_cancel(op->ring, op);
    }
    return 0;
}

size_t weir_ring_cancel_fd(struct weir_ring *ring, int fd)
{
    size_t count = 0;
    for (struct weir_op *op = ring->active; op != NULL; op = op->next) {
        if (op->fd != fd || op->kind == WEIR_OP_TIMEOUT || op->kind == WEIR_OP_CLOSE)
            continue;
        weir_op_cancel(op);
        count++;
    }
    return count;
}

size_t weir_ring_cancel_all(struct weir_ring *ring)
{
    for (struct weir_op *op = ring->active; op != NULL; op = op->next)
        weir_op_cancel(op);
    return ring->active_count;
}

void weir__ring_cancel_missed(struct weir_ring *ring)
{
    ring->missed = 1;
}

int weir_ring_timeout(struct weir_ring *ring, struct weir_op *op, int64_t delay_ns)
{
    assert(delay_ns >= 0);
    weir__op_set(op, WEIR_OP_TIMEOUT, -1);
    op->args.time.seconds = delay_ns / 1000000000;
    op->args.time.nanoseconds = delay_ns % 1000000000;
    return weir__ring_start(ring, op);
}

int weir_ring_timeout_at(struct weir_ring *ring, struct weir_op *op, int64_t deadline_ns)
{
    if (deadline_ns < 0)
        deadline_ns = 0;
    weir__op_set(op, WEIR_OP_TIMEOUT, -1);
    op->flags = 1; /* absolute */
    op->args.time.seconds = deadline_ns / 1000000000;
    op->args.time.nanoseconds = deadline_ns % 1000000000;
    return weir__ring_start(ring, op);
}

int weir_op_limit(struct weir_op *op, struct weir_op *timer, int64_t delay_ns)
{
    if (op->state == WEIR_OP_IDLE)
        return -ENOENT;
    if (op->link != NULL)
        return -EBUSY;
    int rc = weir_ring_timeout(op->ring, timer, delay_ns);
    if (rc != 0)
        return rc;
    timer->limits = true;
    timer->link = op;
    op->link = timer;
    return 0;
}

/* --- alarms ----------------------------------------------------------------------------------- */

void weir_alarm_set(struct weir_ring *ring, struct weir_alarm *alarm, uint64_t delay_ms)
{
    ring->now_ns = weir__now_ns();
    weir__alarms_set(&ring->alarms, alarm, ring->now_ns, delay_ms);
}

void weir_alarm_clear(struct weir_ring *ring, struct weir_alarm *alarm)
{
    weir__alarms_clear(&ring->alarms, alarm);
}

/* By CLOCK_MONOTONIC as of the last tick of the kernel's timer, which takes a few nanoseconds. */
static void move_clock(struct weir_ring *ring)
{
    struct timespec coarse;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &coarse);
    int64_t now_ns = (int64_t)coarse.tv_sec * 1000000000 + coarse.tv_nsec;
    /* Never back: setting an alarm looked at the exact clock. */
    if (now_ns > ring->now_ns)
        ring->now_ns = now_ns;
}

/* Shorten a wait, where -1 is without bound, so that it ends when an alarm may be due. */
static int64_t until_alarm(const struct weir_ring *ring, int64_t timeout_ns)
{
    int64_t left_ns = weir__alarms_next_ns(&ring->alarms) - weir__now_ns();
    /* Behind the tick: a clock that is behind by as much must not make us look in vain. */
    left_ns = left_ns > 0 ? left_ns + COARSE_NS : COARSE_NS;
    return timeout_ns < 0 || timeout_ns > left_ns ? left_ns : timeout_ns;
}

/* --- a turn ----------------------------------------------------------------------------------- */

/* Ask for the cancels that found no room before. */
static void send_cancels(struct weir_ring *ring)
{
    for (struct weir_op *op = ring->active; op != NULL && ring->cancels != 0; op = op->next) {
        if (op->cancel != 1 || op->state != WEIR_OP_IN_KERNEL)
            continue;
        if (!ask_to_cancel(ring, op))
            return;
    }
}

/* Have those cancels asked for again that were missed a turn ago and whose requests go on. */
static void repeat_cancels(struct weir_ring *ring)
{
    if (ring->missed == 1 && ring->asked != 0) {
        ring->missed = 2;
        return;
    }
    for (struct weir_op *op = ring->active; op != NULL && ring->asked != 0 && ring->missed == 2;
         op = op->next) {
        if (op->cancel != 2 || op->state != WEIR_OP_IN_KERNEL)
            continue;
        op->cancel = 1;
        ring->asked--;
        ring->cancels++;
    }
    ring->missed = 0;
}

/* Hand waiting requests over, in order; those that have been cancelled complete here. */
static int hand_queue(struct weir_ring *ring)
{
    int completed = 0;
    /* When nothing else comes, a starved receive must not wait for more blocks than there may ever
     * be: their holders may be waiting for what it would bring. */
    bool blocks = ring->backend->refill(ring, ring->quiet);
    struct weir_op *last = ring->queue_last;
    bool full = false;
    for (bool more = ring->queue != NULL; more;) {
        struct weir_op *op = queue_take(ring);
        more = op != last;
        if (op->cancel != 0) {
            completed++;
            weir__ring_complete(ring, op, -ECANCELED, false);
            continue;
        }
        if (op->starved && blocks)
            op->starved = false;
        /* Who finds no room is not followed by others who ask the kernel for it in vain. */
        if (op->starved || full || !ring->backend->hand(ring, op)) {
            full |= !op->starved;
            queue_append(ring, op);
            continue;
        }
        op->state = WEIR_OP_IN_KERNEL;
    }
    return completed;
}

/* Run what is deferred now; what that defers in turn runs the next time. */
static void run_tasks(struct weir_ring *ring)
{
    for (size_t left = ring->task_count; left != 0 && ring->tasks != NULL; left--) {
        struct weir_task *task = ring->tasks;
        weir_ring_undefer(ring, task);
        task->run(task);
    }
}

/* Whether a turn would have nothing to wait for, nor to do. */
static bool is_idle(const struct weir_ring *ring)
{
    return ring->active_count == 0 && ring->tasks == NULL && !ring->awaits_messages &&
           (ring->alarms.count == 0 || ring->closing) && !weir__mail_is_there(ring);
}

static int turn(struct weir_ring *ring, int64_t timeout_ns)
{
    /* What other threads dropped or asked for is seen although no allocation misses. Two loads
     * where there is nothing. */
    (void)weir_pool_reclaim(ring->pool);
    run_tasks(ring);
    if (ring->missed != 0)
        repeat_cancels(ring);
    if (ring->cancels != 0)
        send_cancels(ring);
    int handled = hand_queue(ring);
    if (is_idle(ring))
        return handled;
    if (handled != 0 || ring->tasks != NULL || weir__mail_is_there(ring))
        timeout_ns = 0;
    else if (ring->queue != NULL && (timeout_ns < 0 || timeout_ns > STARVED_WAIT_NS))
        timeout_ns = STARVED_WAIT_NS;
    else if (ring->missed != 0 && (timeout_ns < 0 || timeout_ns > MISSED_WAIT_NS))
        timeout_ns = MISSED_WAIT_NS;
    ring->rests = ring->queue != NULL || ring->missed != 0;
    if (ring->alarms.count != 0 && timeout_ns != 0)
        timeout_ns = until_alarm(ring, timeout_ns);
    int rc = ring->backend->wait(ring, timeout_ns);
    if (ring->alarms.count != 0)
        move_clock(ring);
    int drained = ring->backend->drain(ring);
    ring->quiet = handled == 0 && drained == 0;
    handled += drained + weir__mail_deliver(ring);
    if (ring->alarms.count != 0 && !ring->closing)
        weir__alarms_run(&ring->alarms, ring->now_ns);
    run_tasks(ring);
    return handled == 0 && rc < 0 ? rc : handled;
}

int weir_ring_run(struct weir_ring *ring, int64_t timeout_ns)
{
    assert(!ring->running);
    ring->running = true;
    int rc = turn(ring, timeout_ns);
    ring->running = false;
    return rc;
}

/* Turns until the condition holds, which is asked for before each. */
static int run_until(struct weir_ring *ring, bool (*holds)(const void *context),
                     const void *context, int64_t timeout_ns)
{
    int64_t begin = timeout_ns > 0 ? weir__now_ns() : 0;
    int64_t left_ns = timeout_ns;
    while (!holds(context)) {
        if (is_idle(ring))
            return -EDEADLK;
        int rc = weir_ring_run(ring, left_ns);
        if (rc < 0)
            return rc;
        if (left_ns == 0 && !holds(context))
            return -ETIME;
        if (timeout_ns > 0)
            left_ns = weir__time_left(timeout_ns, weir__now_ns() - begin);
    }
    return 0;
}

static bool flag_holds(const void *context)
{
    return *(const bool *)context;
}

static bool op_is_over(const void *context)
{
    return !weir_op_is_active(context);
}

int weir_ring_run_until(struct weir_ring *ring, const bool *flag, int64_t timeout_ns)
{
    return run_until(ring, flag_holds, flag, timeout_ns);
}

int weir_op_wait(struct weir_op *op, int64_t timeout_ns)
{
    return run_until(op->ring, op_is_over, op, timeout_ns);
}

int weir_ring_run_for(struct weir_ring *ring, int64_t time_ns)
{
    int64_t begin = weir__now_ns();
    int64_t left_ns = time_ns;
    int handled = 0;
    assert(time_ns >= 0);
    do {
        int rc = weir_ring_run(ring, left_ns);
        if (rc < 0)
            return rc;
        handled = rc < INT_MAX - handled ? handled + rc : INT_MAX;
        left_ns = weir__time_left(time_ns, weir__now_ns() - begin);
    } while (left_ns != 0 && !is_idle(ring));
    return handled;
}

void weir_ring_defer(struct weir_ring *ring, struct weir_task *task)
{
    if (task->queued)
        return;
    task->queued = true;
    task->next = NULL;
    if (ring->tasks == NULL)
        ring->tasks = task;
    else
        ring->tasks_last->next = task;
    ring->tasks_last = task;
    ring->task_count++;
}

void weir_ring_undefer(struct weir_ring *ring, struct weir_task *task)
{
    struct weir_task *before = NULL;
    if (!task->queued)
        return;
    for (struct weir_task *at = ring->tasks; at != task; at = at->next)
        before = at;
    if (before != NULL)
        before->next = task->next;
    else
        ring->tasks = task->next;
    if (ring->tasks_last == task)
        ring->tasks_last = before;
    task->next = NULL;
    task->queued = false;
    ring->task_count--;
}

/* --- the ring itself -------------------------------------------------------------------------- */

static bool options_are_valid(const struct weir_ring_options *options)
{
    uint32_t entries = options->entries;
    uint32_t blocks = options->receive_blocks;
    return (entries == 0 || (weir_is_pow2(entries) && entries <= 32768)) &&
           (blocks == 0 || (weir_is_pow2(blocks) && blocks <= 32768)) &&
           options->receive_block_bytes <= (1u << 30) && (options->with & ~WEIR_RING_SQPOLL) == 0 &&
           options->batch <= BATCH_MAX && options->batch_wait_us <= WEIR_RING_SPIN_MAX_US &&
           (options->spin_us <= WEIR_RING_SPIN_MAX_US || options->spin_us == WEIR_RING_NO_SPIN) &&
           (unsigned)options->backend <= WEIR_BACKEND_POLL;
}

static int64_t spin_ns_of(const struct weir_ring_options *options)
{
    if (options->spin_us == WEIR_RING_NO_SPIN)
        return 0;
    if (options->spin_us != 0)
        return (int64_t)options->spin_us * 1000;
    /* On the only processor, whoever is waited for cannot run meanwhile. */
    return sysconf(_SC_NPROCESSORS_ONLN) > 1 ? DEFAULT_SPIN_NS : 0;
}

/* The backend that is asked for, or the best that there is here. */
static int open_backend(struct weir_ring *ring, const struct weir_ring_options *options)
{
    if (options->backend != WEIR_BACKEND_POLL) {
        ring->backend = &weir__backend_uring;
        int rc = ring->backend->open(ring, options);
        if (rc == 0 || options->backend == WEIR_BACKEND_URING || ring->refusal == NULL)
            return rc;
        /* What it got as far as does not count. */
        ring->features = 0;
        memset(&ring->stats, 0, sizeof ring->stats);
    }
    ring->backend = &weir__backend_poll;
    return ring->backend->open(ring, options);
}

int weir_ring_create(struct weir_pool *pool, const struct weir_ring_options *options,
                     struct weir_ring **ret)
{
    static const struct weir_ring_options defaults;
    struct weir_block *home;
    if (options == NULL)
        options = &defaults;
    if (!options_are_valid(options))
        return -EINVAL;
    int rc = weir_pool_alloc(pool, sizeof(struct weir_ring), &home);
    if (rc != 0)
        return rc;
    struct weir_ring *ring = (struct weir_ring *)(void *)home->data;
    memset(ring, 0, sizeof *ring);
    ring->pool = pool;
    ring->home = home;
    ring->spin_ns = spin_ns_of(options);
    ring->chosen = options->backend != WEIR_BACKEND_AUTO;
    rc = weir__mail_open(ring);
    if (rc == 0) {
        rc = open_backend(ring, options);
        if (rc != 0)
            weir__mail_close(ring);
    }
    if (rc != 0) {
        weir_block_drop(home);
        return rc;
    }
    *ret = ring;
    return 0;
}

void weir_ring_add_ending(struct weir_ring *ring, struct weir_ending *ending)
{
    assert(ending->at == NULL);
    ending->next = ring->endings;
    if (ending->next != NULL)
        ending->next->at = &ending->next;
    ending->at = &ring->endings;
    ring->endings = ending;
}

void weir_ring_remove_ending(struct weir_ending *ending)
{
    if (ending->at == NULL)
        return;
    *ending->at = ending->next;
    if (ending->next != NULL)
        ending->next->at = ending->at;
    ending->next = NULL;
    ending->at = NULL;
}

static void run_endings(struct weir_ring *ring)
{
    while (ring->endings != NULL) {
        struct weir_ending *ending = ring->endings;
        weir_ring_remove_ending(ending);
        ending->run(ending);
    }
}

void weir_ring_destroy(struct weir_ring *ring)
{
    if (ring == NULL)
        return;
    assert(!ring->running);
    ring->closing = true;
    ring->running = true;
    ring->awaits_messages = false;
    weir__mail_refuse(ring);
    run_endings(ring);
    ring->running = false;
    do {
        weir_ring_cancel_all(ring);
        /* An error here cannot end the wait: the kernel still holds our blocks. */
        weir_ring_run(ring, ring->active_count != 0 ? 100000000 : 0);
    } while (ring->active_count != 0 || ring->tasks != NULL);
    weir__alarms_forget(&ring->alarms);
    ring->backend->close(ring);
    weir__mail_close(ring);
    weir_block_drop(ring->home);
}

struct weir_pool *weir_ring_pool(const struct weir_ring *ring)
{
    return ring->pool;
}

uint32_t weir_ring_features(const struct weir_ring *ring)
{
    return ring->features;
}

const char *weir_ring_feature_text(const struct weir_ring *ring, uint32_t feature)
{
    for (unsigned i = 0; i < WEIR__RING_FEATURES; i++)
        if (feature == 1u << i)
            return ring->missing[i] != NULL ? ring->missing[i] : "on";
    return "there is no such feature";
}

enum weir_backend weir_ring_backend(const struct weir_ring *ring)
{
    return ring->backend == &weir__backend_poll ? WEIR_BACKEND_POLL : WEIR_BACKEND_URING;
}

const char *weir_ring_backend_text(const struct weir_ring *ring)
{
    if (ring->chosen)
        return "chosen by option";
    return ring->refusal != NULL ? ring->refusal : "the kernel has io_uring and lets us use it";
}

size_t weir_ring_active(const struct weir_ring *ring)
{
    return ring->active_count;
}

struct weir_ring_stats weir_ring_stats(const struct weir_ring *ring)
{
    struct weir_ring_stats stats = ring->stats;
    stats.active = ring->active_count;
    return stats;
}
