/* SPDX-License-Identifier: MIT */
/*
 * The seam between the ring, which keeps the list of started requests and what they hold, and the
 * backend, which brings them to the kernel and their completions back.
 *
 * Who does what: ring.c owns an op's state, its place in the lists and the references on blocks.
 * A backend calls weir__ring_complete() once per completion, and weir__ring_requeue() where a
 * request that completes many times has to be handed to the kernel anew.
 */
#ifndef WEIR_RING_BACKEND_H
#define WEIR_RING_BACKEND_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <weir/pool.h>
#include <weir/ring.h>

#include "ring_alarms.h"

struct weir__backend {
    /*
     * Set ring->backend_state and ring->features up. 0 or a negative errno, nothing kept; with
     * ring->refusal set if it is this machine that does not let us, and another backend may do.
     */
    int (*open)(struct weir_ring *ring, const struct weir_ring_options *options);
    /* Free it. No request is in the kernel any more. */
    void (*close)(struct weir_ring *ring);
    /* Hand one request over. False: not now, it stays in the queue. */
    bool (*hand)(struct weir_ring *ring, struct weir_op *op);
    /* Ask the kernel to end a request that it has. False: not now, ask again next turn. */
    bool (*cancel)(struct weir_ring *ring, struct weir_op *op);
    /*
     * Before requests are handed over: lend receive blocks again. True: starved receives may go on,
     * which they should with a good share of the blocks, or with any at all if @few will do.
     */
    bool (*refill)(struct weir_ring *ring, bool few);
    /* Hand everything to the kernel and wait for a completion. 0 or a negative errno. */
    int (*wait)(struct weir_ring *ring, int64_t timeout_ns);
    /* Handle the completions that are there; their number. */
    int (*drain)(struct weir_ring *ring);
};

#define WEIR__RING_FEATURES 7

/* What one read or write moves at most, read(2): MAX_RW_COUNT. */
#define WEIR__TRANSFER_MAX 0x7ffff000u

/* ring_mail.c: messages of other threads. last, asleep and woken are atomic. */
struct weir__mailbox {
    struct weir_message *last; /* the last posted, from which next leads to the first */
    struct weir_message end;   /* in the place of the last: nothing is taken any more */
    uint32_t asleep;           /* the owner sleeps, or is about to: who clears this wakes it */
    uint32_t woken;            /* weir_ring_wake() was called */
    int fd;                    /* an eventfd that the backend waits for while it sleeps */
};

struct weir_ring {
    struct weir_pool *pool;
    struct weir_block *home; /* the block that this struct lies in */
    const struct weir__backend *backend;
    void *backend_state;
    uint32_t features;
    const char *refusal; /* why the kernel refused io_uring, NULL if nobody asked or it did not */
    const char *missing[WEIR__RING_FEATURES]; /* per feature: why it is off, NULL: on */
    bool chosen;                              /* the backend, by option */
    bool running;                             /* within weir_ring_run() */
    bool closing;         /* within weir_ring_destroy(): nothing is started any more */
    bool quiet;           /* the last turn waited and nothing came */
    bool awaits_messages; /* even without requests */
    bool rests;      /* this turn's wait is bounded by us and not for completions: no spinning */
    int64_t spin_ns; /* how long a wait looks before it sleeps; 0: not at all */
    uint32_t spin_pause;      /* how many waits do without after the last spin */
    uint32_t spin_pause_left; /* how many still do */

    struct weir_op *active; /* all started requests */
    size_t active_count;
    struct weir_op *queue; /* those in state WAITING, first to last */
    struct weir_op *queue_last;
    size_t starved_count; /* of these, receives without blocks */
    size_t cancels;       /* requests in the kernel with cancel == 1 */
    size_t asked;         /* requests in the kernel with cancel == 2 */
    uint8_t missed;       /* a cancel found nothing: 1 just now, 2 a turn ago */

    struct weir_task *tasks; /* deferred, first to last */
    struct weir_task *tasks_last;
    size_t task_count;

    struct weir_ending *endings;
    struct weir_ring_stats stats;

    int64_t now_ns; /* as of this turn's wait, never goes back; only while there are alarms */
    struct weir__alarms alarms;

    /* What other threads write, apart from what this one does. */
    uint8_t apart[64];
    struct weir__mailbox mailbox;
    uint8_t apart_too[64];
};

extern const struct weir__backend weir__backend_uring;
extern const struct weir__backend weir__backend_poll;

/*
 * Hand a completion to the owner of @op. Without @more the op is the owner's again, and what it
 * held is let go, before its done function runs; afterwards it must not be touched.
 */
void weir__ring_complete(struct weir_ring *ring, struct weir_op *op, int result, bool more);

/*
 * A cancel found nothing to end. Mostly its request had just completed; but the kernel also says so
 * of one that a worker thread is at, whom the cancel merely interrupts, and who may try again.
 */
void weir__ring_cancel_missed(struct weir_ring *ring);

/* Put a request that is still started back into the queue, to be handed over in the next turn. */
void weir__ring_requeue(struct weir_ring *ring, struct weir_op *op);

/*
 * Start a request whose kind, fd and args are set; blocks to hold in op->block or op->blocks.
 * Takes the references. 0, or -ECANCELED while the ring is closing, nothing taken.
 */
int weir__ring_start(struct weir_ring *ring, struct weir_op *op);

/* CLOCK_MONOTONIC. */
static inline int64_t weir__now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* How many waits sleep at once, at most, after spins that found nothing. */
#define WEIR__SPIN_PAUSE_MAX 15

/* How long a wait of @timeout_ns, where -1 is without bound, spins before it sleeps: who gets more
 * than 0 does so, and says then what came of it. */
static inline int64_t weir__ring_spin_begin(struct weir_ring *ring, int64_t timeout_ns)
{
    if (ring->spin_ns == 0 || ring->rests)
        return 0;
    if (ring->spin_pause_left != 0) {
        ring->spin_pause_left--;
        return 0;
    }
    return timeout_ns < 0 || timeout_ns > ring->spin_ns ? ring->spin_ns : timeout_ns;
}

/* After each spin in vain twice as many waits do without, until one finds something: where what is
 * waited for takes longer, or needs this very processor, spinning only delays. */
static inline void weir__ring_spin_end(struct weir_ring *ring, bool found)
{
    ring->stats.spins++;
    ring->stats.spins_found += found;
    if (found)
        ring->spin_pause = 0;
    else if (ring->spin_pause < WEIR__SPIN_PAUSE_MAX)
        ring->spin_pause = 2 * ring->spin_pause + 1;
    ring->spin_pause_left = ring->spin_pause;
}

/* What is left of a wait of @timeout_ns after @spent_ns. */
static inline int64_t weir__time_left(int64_t timeout_ns, int64_t spent_ns)
{
    if (timeout_ns < 0)
        return timeout_ns;
    return timeout_ns > spent_ns ? timeout_ns - spent_ns : 0;
}

/* In a loop that waits for memory to change: leave the core to its other thread. */
static inline void weir__relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static inline unsigned weir__transfer_size(size_t size)
{
    return (unsigned)(size < WEIR__TRANSFER_MAX ? size : WEIR__TRANSFER_MAX);
}

/* A feature is on, or off for a reason. @why: NULL if it is on. */
static inline void weir__ring_feature(struct weir_ring *ring, uint32_t feature, const char *why)
{
    unsigned index = (unsigned)__builtin_ctz(feature);
    assert(index < WEIR__RING_FEATURES && feature == 1u << index);
    ring->missing[index] = why;
    if (why == NULL)
        ring->features |= feature;
}

/* The same where options may switch it off: @why counts if they do not. */
static inline void weir__ring_feature_wanted(struct weir_ring *ring, uint32_t without,
                                             uint32_t feature, const char *why)
{
    bool off = (without & feature) != 0;
    weir__ring_feature(ring, feature, off ? "switched off by option" : why);
}

/* --- messages --------------------------------------------------------------------------------- */

/* 0 or a negative errno. */
int weir__mail_open(struct weir_ring *ring);
void weir__mail_close(struct weir_ring *ring);

/* Something came that must not wait. */
static inline bool weir__mail_is_there(const struct weir_ring *ring)
{
    return !ring->closing && (__atomic_load_n(&ring->mailbox.last, __ATOMIC_RELAXED) != NULL ||
                              __atomic_load_n(&ring->mailbox.woken, __ATOMIC_RELAXED) != 0);
}

/* Around a call that sleeps, which the mailbox's descriptor is to end. False: do not sleep. */
bool weir__mail_fall_asleep(struct weir_ring *ring);
void weir__mail_awake(struct weir_ring *ring);

/* Deliver what has come, and forget that we were woken; the number of messages. */
int weir__mail_deliver(struct weir_ring *ring);

/* Deliver what is left with -ECANCELED, and refuse what is posted from now on. */
void weir__mail_refuse(struct weir_ring *ring);

/* A feature that was on has turned out not to work. */
static inline void weir__ring_feature_lost(struct weir_ring *ring, uint32_t feature,
                                           const char *why)
{
    ring->features &= ~feature;
    weir__ring_feature(ring, feature, why);
}

/* Why io_uring_setup(2) and the like say EPERM or EACCES. @disabled: the sysctl, -1 if unknown. */
const char *weir__uring_forbidden(int disabled, bool filtered);

/* Make an idle op a request of @kind on @fd that holds nothing yet. */
static inline void weir__op_set(struct weir_op *op, enum weir_op_kind kind, int fd)
{
    assert(op->state == WEIR_OP_IDLE);
    op->kind = (uint8_t)kind;
    op->fd = fd;
    op->limits = false;
    op->flags = 0;
    op->block = NULL;
    op->blocks = NULL;
    op->block_count = 0;
}

#endif /* WEIR_RING_BACKEND_H */
