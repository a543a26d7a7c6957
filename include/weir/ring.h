/* SPDX-License-Identifier: MIT */
/**
 * ring: requests to the kernel and their completions, over io_uring, or over epoll where io_uring
 * is not allowed.
 *
 * A request is a struct weir_op embedded in the caller's own struct. Starting it hands it to the
 * ring, its done function hands it back with the result. The ring allocates nothing per request.
 * What can be started is declared in sock.h (accept, connect, receive, send) and file.h (read,
 * write, sync, allocate, close); timeouts and cancelling are here.
 *
 *     static void tick(struct weir_op *op) { puts(op->result == 0 ? "tick" : "cancelled"); }
 *
 *     struct weir_ring *ring;
 *     struct weir_op timer;
 *     int rc = weir_ring_create(pool, NULL, &ring);
 *     weir_op_init(&timer, tick, NULL);
 *     weir_ring_timeout(ring, &timer, 1000000000);
 *     while (weir_ring_active(ring) != 0)
 *         weir_ring_run(ring, -1);
 *     weir_ring_destroy(ring);
 *
 * Lifetime     From the start of a request to its last completion the ring holds a reference on
 *              every block that the request names; the op itself, and iovecs and addresses given
 *              with it, must stay where they are for as long. This holds through cancelling and
 *              through weir_ring_destroy(), which waits for the kernel.
 * Completions  A request completes once, from within weir_ring_run() or weir_ring_destroy(), never
 *              from within the call that started it. Accept and receive complete many times:
 *              while op->more is true the request stays started.
 * Nesting      A done function may start, restart and cancel requests, its own op included once
 *              more is false, and may free the op then. So may tasks, messages and endings. None
 *              of them may run or destroy the ring (asserted).
 * Waiting      A turn that waits watches for completions for a while (spin_us) before it sleeps,
 *              and may wait for several of them (batch). Other threads and signal handlers end its
 *              wait with weir_ring_wake(); threads have it do something with weir_ring_post().
 * Backends     What is said here, in sock.h and in file.h holds on both. On epoll, reads, writes
 *              and syncs of files are ordinary system calls, made within the turn: a slow disk
 *              holds it up. A descriptor must stay open while a request waits for it: io_uring
 *              keeps the file, epoll forgets it. (Closed by weir_file_close(), such requests end
 *              with -EBADF.) A descriptor with O_NONBLOCK is waited for like any other, where
 *              io_uring completes with -EAGAIN. One that others accept from or read as well, who
 *              may take what there was between epoll's report and our call, should have
 *              O_NONBLOCK: without it that call waits.
 * Threads      one: the thread that created the ring, which owns the pool as well. Others may
 *              wake it and post messages to it, nothing else.
 * Errors       0 or a negative errno; in op->result the kernel's own. -EAGAIN is never returned by
 *              a start: a request that finds the submission queue full waits for the next turn.
 * Source       io_uring(7), io_uring_enter(2), io_uring_setup(2), epoll(7).
 */
#ifndef WEIR_RING_H
#define WEIR_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <weir/base.h>
#include <weir/pool.h>
#include <weir/slice.h>

WEIR_BEGIN_DECLS

/** What brings requests to the kernel. */
enum weir_backend {
    WEIR_BACKEND_AUTO,  /**< io_uring; poll where the kernel refuses it */
    WEIR_BACKEND_URING, /**< io_uring or an error */
    WEIR_BACKEND_POLL   /**< epoll and non-blocking calls */
};

/** How a ring is made. Zeroed: the defaults. */
struct weir_ring_options {
    uint32_t entries; /**< submission queue, a power of two; 0: 256. Completions: 8 times that */
    /** Blocks that are set aside for receiving, a power of two up to 32768; 0: 32 */
    uint32_t receive_blocks;
    uint32_t receive_block_bytes; /**< size of each; 0: 64 Ki if consumed by parts, else 16 Ki */
    uint32_t without;             /**< WEIR_RING_... features not to be used */
    /**
     * How long a turn that waits looks for completions, in microseconds, before it puts the thread
     * to sleep; at most WEIR_RING_SPIN_MAX_US. 0: 20 where the machine has more than one processor,
     * else none. WEIR_RING_NO_SPIN: none. A thread that sleeps takes tens of microseconds to wake.
     * Spins that find nothing are followed by waits without: one, then three, seven, fifteen, until
     * one finds something.
     */
    uint32_t spin_us;
    enum weir_backend backend;
    uint32_t with; /**< features that are not used unless asked for: WEIR_RING_SQPOLL, or 0 */
    /**
     * A wait goes on until so many completions are there, but for batch_wait_us at most, from
     * where on one is enough: less wake-ups for a longer way. 0 or 1: one is enough at once.
     * Wakes and messages count as one; a timeout that is due always ends it. Where the kernel
     * cannot, it is as if this were 0.
     */
    uint32_t batch;
    uint32_t batch_wait_us; /**< 0: 50 */
};

#define WEIR_RING_SPIN_MAX_US 1000000u
#define WEIR_RING_NO_SPIN UINT32_MAX

/* What a ring can do here, see weir_ring_features(); also what to do without. */
#define WEIR_RING_SINGLE_ISSUER (1u << 0)    /**< the kernel knows that one thread submits */
#define WEIR_RING_DEFER_TASKRUN (1u << 1)    /**< completions are made when we ask for them */
#define WEIR_RING_REGISTERED (1u << 2)       /**< the ring's own descriptor is registered */
#define WEIR_RING_RECEIVE_BY_PARTS (1u << 3) /**< one receive block serves many receives */
#define WEIR_RING_BUFFERS (1u << 4)          /**< reads and writes name registered memory */
#define WEIR_RING_MIN_WAIT (1u << 5)         /**< waits may be for several completions */
#define WEIR_RING_SQPOLL (1u << 6)           /**< a thread of the kernel takes what is submitted */

/** What a ring did. */
struct weir_ring_stats {
    uint64_t enters;      /**< all system calls of the steady state: with io_uring, its enter */
    uint64_t requests;    /**< handed to the kernel, cancels included */
    uint64_t completions; /**< completions handled */
    uint64_t receives;    /**< of these, with received bytes */
    uint64_t received_bytes;
    uint64_t receive_starved; /**< receives that found no receive block and were armed again */
    uint64_t sent_bytes;
    uint64_t spins;            /**< waits that began with looking for completions */
    uint64_t spins_found;      /**< of these, that found one and put nobody to sleep */
    uint64_t fixed;            /**< reads and writes in registered memory */
    uint64_t registered_bytes; /**< of the pool, registered now */
    uint64_t messages;         /**< delivered, see weir_ring_post() */
    uint64_t wakes;            /**< waits that weir_ring_wake() or a message ended or prevented */
    uint64_t blocks_lent;      /**< receive blocks that wait for bytes now */
    uint64_t active;           /**< requests started and not completed now */
};

struct weir_ring;

/** Private: what an op does. */
enum weir_op_kind {
    WEIR_OP_NONE,
    WEIR_OP_TIMEOUT,
    WEIR_OP_ACCEPT,
    WEIR_OP_CONNECT,
    WEIR_OP_RECEIVE,
    WEIR_OP_SEND,
    WEIR_OP_SENDV,
    WEIR_OP_READ,
    WEIR_OP_WRITE,
    WEIR_OP_WRITEV,
    WEIR_OP_READV,
    WEIR_OP_SYNC,
    WEIR_OP_ALLOCATE,
    WEIR_OP_CLOSE
};

/** Private: where an op is. */
enum weir_op_state {
    WEIR_OP_IDLE,     /* the caller's */
    WEIR_OP_WAITING,  /* started, not yet with the kernel */
    WEIR_OP_IN_KERNEL /* until its last completion */
};

/** One request, in the caller's memory. Set up by weir_op_init(). */
struct weir_op {
    /** Called on each completion; NULL: none, look at weir_op_is_active() and result. */
    void (*done)(struct weir_op *op);
    void *user;                 /**< the caller's */
    struct weir_slice received; /**< of a receive: the bytes; valid during done, hold to keep */
    int result;                 /**< bytes, descriptor or 0; or a negative errno */
    bool more;                  /**< more completions follow; the op is still the ring's */

    /* private */
    uint8_t kind;   /* enum weir_op_kind */
    uint8_t state;  /* enum weir_op_state */
    uint8_t cancel; /* 0; 1: to be cancelled as soon as possible; 2: the kernel was asked to */
    bool starved;   /* a receive that waits for receive blocks */
    bool limits;    /* a timeout that weir_op_limit() started */
    bool late;      /* its time was over */
    uint8_t place;  /* poll backend: in which of its lists */
    int fd;
    struct weir_ring *ring;
    struct weir_op *link; /* of a request: what limits its time; of that: the request */
    struct weir_op *next; /* list of started requests */
    struct weir_op *prev;
    struct weir_op *queue_next;       /* those that wait to be handed to the kernel */
    struct weir_op *watch_next;       /* poll backend: those that wait for a descriptor */
    struct weir_block *block;         /* held */
    struct weir_block *const *blocks; /* each held, the caller's array */
    uint32_t block_count;
    uint32_t flags;
    union {
        struct {
            void *data;
            size_t size;
            uint64_t offset;
        } io;
        struct {
            const struct iovec *iov;
            uint64_t count;
            uint64_t offset;
        } iov;
        struct msghdr msg;
        struct {
            const struct sockaddr *addr;
            socklen_t size;
        } addr;
        struct {
            int64_t seconds;
            long long nanoseconds;
        } time;
        struct {
            int64_t deadline_ns;
            uint64_t number;
            struct weir_op *child;
            struct weir_op *next;
            struct weir_op *prev;
        } timer; /* a timeout in the poll backend's heap */
    } args;
};

/**
 * What one thread says to another's ring: weir_ring_post(). In the sender's memory; from the post
 * until it is delivered the ring's, from then on the receiver's, who may post it on, or back.
 */
struct weir_message {
    /** On the thread of the ring that it was posted to; may start requests, and free the message */
    void (*deliver)(struct weir_message *message);
    void *user;                /**< the sender's; may point to anything that goes along */
    struct weir_slice slice;   /**< goes along, its reference as well; empty: none */
    int result;                /**< 0; -ECANCELED: the ring is being destroyed */
    struct weir_message *next; /* private */
};

/** Something to run when the ring is destroyed, for what has no request that would tell it. */
struct weir_ending {
    void (*run)(struct weir_ending *ending);
    void *user;               /**< the caller's */
    struct weir_ending *next; /* private; zero at first */
    struct weir_ending **at;  /* private; zero at first */
};

/**
 * A time to run something at, to about WEIR_ALARM_TICK_MS, for what mostly does not come to pass:
 * the bound of a connection's silence, say. Unlike a timeout it is no request and costs the kernel
 * nothing. It has no field for a user: it lies in the struct that it is about.
 */
struct weir_alarm {
    /** Within weir_ring_run(), at the end of a turn; may set and clear alarms, and free this one */
    void (*run)(struct weir_alarm *alarm);
    uint64_t tick;           /* private */
    struct weir_alarm *next; /* private; zero at first */
    struct weir_alarm **at;  /* private; zero at first */
};

#define WEIR_ALARM_TICK_MS 4

/** Something to run once at the end of the present turn, before requests go to the kernel. */
struct weir_task {
    void (*run)(struct weir_task *task);
    void *user;             /**< the caller's */
    struct weir_task *next; /* private; zero at first */
    bool queued;            /* private; zero at first */
};

/**
 * Make a ring over @pool for the calling thread.
 *
 * @pool     of the same thread; must outlive the ring. The ring's own structures and the blocks
 *           for receiving come from it.
 * @options  NULL or zeroed: the defaults
 * @ret      written on success only
 * Returns   0; -EINVAL options out of range; -ENOMEM, -ENOBUFS of the pool; -EMFILE. Where io_uring
 *           is insisted on: -ENOMEM of the kernel's RLIMIT_MEMLOCK; -ENOSYS, -EPERM, -EACCES it is
 *           missing or not allowed here; -EINVAL the kernel is older than 6.0.
 * Cost      some system calls, mappings and two descriptors; takes receive_blocks blocks.
 */
WEIR_API int weir_ring_create(struct weir_pool *pool, const struct weir_ring_options *options,
                              struct weir_ring **ret);

/**
 * Cancel all requests, wait until the kernel has let go of every one, and free the ring.
 *
 * Messages that are left are delivered first, then endings are run. Each request's done function is
 * called; what is started is refused with -ECANCELED, and what is posted as well.
 *
 * @ring     NULL is allowed and does nothing
 */
WEIR_API void weir_ring_destroy(struct weir_ring *ring);

/** The pool that the ring was made over. */
WEIR_API struct weir_pool *weir_ring_pool(const struct weir_ring *ring);

/** What is on: a set of WEIR_RING_... bits. */
WEIR_API uint32_t weir_ring_features(const struct weir_ring *ring);

/**
 * Why a feature is on or off.
 *
 * @feature  one of the WEIR_RING_... bits
 * Returns   a constant string, never NULL: "on", or what is missing.
 */
WEIR_API const char *weir_ring_feature_text(const struct weir_ring *ring, uint32_t feature);

/** What brings this ring's requests to the kernel; never WEIR_BACKEND_AUTO. */
WEIR_API enum weir_backend weir_ring_backend(const struct weir_ring *ring);

/** Why it is that one: a constant string, never NULL. */
WEIR_API const char *weir_ring_backend_text(const struct weir_ring *ring);

/** Requests that are started and not completed. */
WEIR_API size_t weir_ring_active(const struct weir_ring *ring);

/** Counters since the ring was made. Threads: the ring's. */
WEIR_API struct weir_ring_stats weir_ring_stats(const struct weir_ring *ring);

/**
 * One turn: run tasks, hand requests to the kernel, wait for a completion, handle all there are.
 *
 * It begins with weir_pool_reclaim(): what other threads dropped comes back, and a trim that they
 * asked for is done, with the next turn. Nothing of that wakes a turn that waits; weir_ring_wake()
 * and weir_ring_post() do.
 *
 * @timeout_ns  longest wait; 0 does not wait, -1 waits without bound
 * Returns      the number of completions handled, those of cancels that came too late included, and
 *              of messages delivered;
 *              0 when the time is over, when there is nothing to wait for, or early: woken, with a
 *              task left to run, a receive that waits for blocks, an alarm that may be due, a
 *              request that went on and is not over (epoll), or a signal that came after requests
 *              had been handed over; -EINTR a signal came, or something in the kernel that is
 *              handled like one (nothing is lost: epoll says so once more after each ring of
 *              io_uring that the thread ended); another error of io_uring_enter(2) or
 *              epoll_wait(2), after which requests keep their state.
 */
WEIR_API int weir_ring_run(struct weir_ring *ring, int64_t timeout_ns);

/**
 * Turns for a time.
 *
 * @time_ns   not negative (asserted)
 * Returns    what was handled, as the sum of weir_ring_run(), when the time is over or earlier when
 *            there is nothing to wait for; or its error, at once.
 */
WEIR_API int weir_ring_run_for(struct weir_ring *ring, int64_t time_ns);

/**
 * Turns until *@flag is true, which a done function, task or message sets.
 *
 * @timeout_ns  as for weir_ring_run()
 * Returns      0 it is true; -ETIME the time is over; -EDEADLK there is nothing left to wait for
 *              that could set it; or an error of weir_ring_run(), -EINTR among them.
 */
WEIR_API int weir_ring_run_until(struct weir_ring *ring, const bool *flag, int64_t timeout_ns);

/**
 * Turns until a request is over; its result is in op->result. Its done function must not free it.
 *
 * @timeout_ns  as for weir_ring_run()
 * Returns      0 it is not active, or not any more; -ETIME the time is over and it still is; or an
 *              error of weir_ring_run().
 */
WEIR_API int weir_op_wait(struct weir_op *op, int64_t timeout_ns);

/**
 * Have @ending run once when the ring is destroyed: before requests are cancelled, when nothing can
 * be started any more. The ring does not touch it afterwards.
 *
 * @ending  zeroed but for run and user; not added already (asserted). Stays until run or removed.
 */
WEIR_API void weir_ring_add_ending(struct weir_ring *ring, struct weir_ending *ending);

/** Forget an ending; does nothing if it is not added. Endings may remove others. */
WEIR_API void weir_ring_remove_ending(struct weir_ending *ending);

/** Run @task at the end of this turn, once, however often it is deferred until then. */
WEIR_API void weir_ring_defer(struct weir_ring *ring, struct weir_task *task);

/** Forget a deferred task; does nothing if it is not queued. */
WEIR_API void weir_ring_undefer(struct weir_ring *ring, struct weir_task *task);

/**
 * End the present wait of @ring, or the next one if it does not wait: its turn returns soon. Any
 * number of calls until then count as one.
 *
 * Threads   any; also from a signal handler, which is how one ends a wait for sure: a signal that
 *           comes just before it only delays it. The ring must not be destroyed meanwhile.
 * Cost      two atomic accesses; a system call only where the ring's thread sleeps.
 */
WEIR_API void weir_ring_wake(struct weir_ring *ring);

/**
 * Have @message delivered by the thread of @ring, soon: it is woken if it sleeps.
 *
 * Messages of one thread are delivered in the order in which it posted them. A ring that is
 * destroyed delivers those that it still has, with the result -ECANCELED, before anything else.
 *
 * @message   deliver set, result need not be; must stay where it is until it is delivered. Posted
 *            once at a time. What its slice refers to may belong to any thread's pool: whoever
 *            drops the reference, the bytes go home.
 * Returns    0; -ECANCELED the ring is being destroyed, the message and its slice are the caller's.
 * Threads    any. The ring must not be destroyed before the call has returned.
 * Cost       a compare-and-exchange and a load; a system call only where the ring's thread sleeps.
 */
WEIR_API int weir_ring_post(struct weir_ring *ring, struct weir_message *message);

/**
 * Whether a turn without requests waits for messages and wakes. At first it does not, and returns
 * at once. A thread that does nothing but serve others needs it; one that has requests does not.
 */
WEIR_API void weir_ring_await_messages(struct weir_ring *ring, bool awaits);

/**
 * Set up an op in the caller's storage, any content. It can then be started, again and again.
 *
 * @done     called on each completion; may be NULL
 * @user     kept in op->user
 */
WEIR_API void weir_op_init(struct weir_op *op, void (*done)(struct weir_op *op), void *user);

/** Whether the op is the ring's: started and its last completion not yet handed out. */
WEIR_INLINE bool weir_op_is_active(const struct weir_op *op);

/**
 * Ask for a request to end early.
 *
 * It completes all the same, later: with -ECANCELED, or with its own result if that was faster.
 *
 * Returns   0; -ENOENT the op is not active.
 */
WEIR_API int weir_op_cancel(struct weir_op *op);

/**
 * Ask for all requests on @fd to end early, but for closing it.
 *
 * Returns   how many these are.    Cost  proportional to all requests that are started.
 */
WEIR_API size_t weir_ring_cancel_fd(struct weir_ring *ring, int fd);

/** Ask for all requests to end early; how many these are. */
WEIR_API size_t weir_ring_cancel_all(struct weir_ring *ring);

/**
 * Bound the time of a request that is started: when @delay_ns have passed it is cancelled, and
 * -ETIMEDOUT takes the place of its result -ECANCELED. If it was faster, or sent a part, the result
 * is its own.
 *
 * @op         any kind; of one that completes many times, what counts is its end
 * @timer      an idle op, which is started. Completes with 0 when the time was over, or -ECANCELED
 *             after @op has ended; cancelled by the caller, it leaves @op without a bound.
 * @delay_ns   not negative (asserted); CLOCK_MONOTONIC
 * Returns     0; -ENOENT @op is not active; -EBUSY it has a bound; -ECANCELED the ring is being
 *             destroyed. @timer is the caller's then.
 * Cost        a timeout, and mostly its cancel.
 */
WEIR_API int weir_op_limit(struct weir_op *op, struct weir_op *timer, int64_t delay_ns);

/**
 * Start a timeout: result 0 when @delay_ns have passed, -ECANCELED when it was cancelled.
 *
 * @delay_ns  not negative (asserted); CLOCK_MONOTONIC
 * Returns    0; -ECANCELED the ring is being destroyed: the op is still the caller's.
 */
WEIR_API int weir_ring_timeout(struct weir_ring *ring, struct weir_op *op, int64_t delay_ns);

/** The same at the time @deadline_ns of CLOCK_MONOTONIC; at once if that is over. */
WEIR_API int weir_ring_timeout_at(struct weir_ring *ring, struct weir_op *op, int64_t deadline_ns);

/**
 * Set an alarm, which may be set already: it runs once, not before @delay_ms have passed, and not
 * more than two ticks later but for what else the thread does.
 *
 * While one is set there is something to wait for. The ring's end forgets it without a word.
 *
 * Cost      constant, a look at the clock.
 */
WEIR_API void weir_alarm_set(struct weir_ring *ring, struct weir_alarm *alarm, uint64_t delay_ms);

/** Clear an alarm; of one that is not set, nothing. Constant. */
WEIR_API void weir_alarm_clear(struct weir_ring *ring, struct weir_alarm *alarm);

/** Whether it is set. */
WEIR_INLINE bool weir_alarm_is_set(const struct weir_alarm *alarm);

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE bool weir_op_is_active(const struct weir_op *op)
{
    return op->state != WEIR_OP_IDLE;
}

WEIR_INLINE bool weir_alarm_is_set(const struct weir_alarm *alarm)
{
    return alarm->at != NULL;
}

WEIR_END_DECLS

#endif /* WEIR_RING_H */
