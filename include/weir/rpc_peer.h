/* SPDX-License-Identifier: MIT */
/**
 * rpc_peer: MessagePack-RPC on a connection, client and server at once.
 *
 * Requests of the other side go to methods, which answer now or later. Our own calls are pipelined,
 * any number of them under way, and matched with their answers by id. All that is packed during a
 * turn leaves in one send.
 *
 *     static void add(struct weir_rpc_request *request)
 *     {
 *         int64_t a, b;
 *         struct weir_packer p;
 *         if (weir_unpack_i64(&request->params, &a) == 0 &&
 *             weir_unpack_i64(&request->params, &b) == 0) {
 *             weir_rpc_answer_begin(request, &p);
 *             weir_pack_int(&p, a + b);
 *             weir_rpc_answer_end(request, &p);
 *         } else {
 *             weir_rpc_answer_error(request, "add takes two integers");
 *         }
 *     }
 *
 *     static const struct weir_rpc_method methods[] = {{"add", add}};
 *     struct weir_rpc_peer_options options = {methods, 1, .closed = gone};
 *     int rc = weir_rpc_peer_init(&peer, ring, fd, &options, user);
 *
 *     call.done = answered;                                   // the other direction
 *     rc = weir_rpc_call_begin(&peer, &call, weir_view_text("add"), 2, &p);
 *     weir_pack_int(&p, 1);
 *     weir_pack_int(&p, 2);
 *     rc = weir_rpc_call_end(&call, &p, 1000);                // a second
 *
 * Lifetime     The structs are the caller's. A peer stays where it is from init until closed() was
 *              called, a call from a call_end() that returned 0 until done() was called or it was
 *              cancelled, a handle for a later answer until it was used or dropped.
 * Calls        Each that call_end() returned 0 for is completed exactly once, by done(): with its
 *              answer, -EREMOTEIO for an answer that is an error, -ETIMEDOUT, -ECONNRESET if the
 *              other side ends before, or why the connection was closed. Never from within
 *              call_end(). A cancelled one is not completed.
 * Methods      A request whose method is not in the table, or whose envelope names none properly,
 *              is answered with an error. What is no envelope ends the connection, after what came
 *              before it is answered. Notifications are never answered.
 * Bounds       calls under way: calls_max; messages, and what waits to leave: as weir_conn_options.
 * Memory       A table of calls under way, which grows to as many as there ever were at once, and
 *              then nothing more is allocated.
 * Threads      the ring's.
 * Source       MessagePack-RPC specification (github.com/msgpack-rpc/msgpack-rpc, spec.md).
 */
#ifndef WEIR_RPC_PEER_H
#define WEIR_RPC_PEER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/conn.h>
#include <weir/pack.h>
#include <weir/record.h>
#include <weir/ring.h>
#include <weir/rpc.h>
#include <weir/slice.h>
#include <weir/unpack.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

struct weir_rpc_call;
struct weir_rpc_later;
struct weir_rpc_peer;

/** What came of a call. Valid during done(). */
struct weir_rpc_answer {
    int error;                        /**< 0, or a negative errno, see "Calls" above */
    const char *reason;               /**< one line, for people; "" if there was no error */
    struct weir_view result;          /**< one value; empty unless error is 0 */
    struct weir_view error_value;     /**< with -EREMOTEIO: what the other side says, one value */
    const struct weir_slice *message; /**< that both lie in, to hold; NULL: there was none */
};

/** A call of ours, in the caller's memory. Zeroed at first. */
struct weir_rpc_call {
    /** May free the call, and start calls, this one included. */
    void (*done)(struct weir_rpc_call *call, const struct weir_rpc_answer *answer);
    void *user; /**< the caller's */

    /* private */
    struct weir_rpc_peer *peer; /* NULL: not under way */
    struct weir_rpc_call *next; /* in a list of the wheel */
    struct weir_rpc_call **at;  /* NULL: it has no timeout */
    uint64_t due_tick;
    uint32_t id;
};

/** A request or a notification, for the length of a method's call. */
struct weir_rpc_request {
    struct weir_rpc_peer *peer;
    const struct weir_slice *message; /**< all of it; weir_slice_hold() keeps it */
    struct weir_view method;
    struct weir_unpacker params; /**< at the first one; the method's, to read and move */
    struct weir_view param_bytes;
    uint32_t param_count;
    uint32_t id;
    bool is_notification; /**< what is answered goes nowhere */
    bool is_answered;     /* private: or will be, later */
};

/** A request that will be answered later, in the caller's memory. */
struct weir_rpc_later {
    struct weir_rpc_peer *peer; /**< NULL: the connection is closed, or it is answered */
    /* private */
    struct weir_rpc_later *next;
    struct weir_rpc_later **at;
    uint32_t id;
};

/** What the other side may ask for. */
struct weir_rpc_method {
    const char *name;
    /**
     * Answer with weir_rpc_answer_...(), or take a handle with weir_rpc_answer_later(); if it does
     * neither, a request is answered with nil.
     */
    void (*run)(struct weir_rpc_request *request);
};

/** How a peer behaves. */
struct weir_rpc_peer_options {
    const struct weir_rpc_method *methods; /**< must outlive the peer; NULL: none */
    size_t method_count;
    /** Methods that are not in the table; NULL: an error is the answer. */
    void (*other)(struct weir_rpc_request *request);
    /** As of a weir_conn; all calls were completed before. Its memory is the caller's. Not NULL. */
    void (*closed)(struct weir_rpc_peer *peer, const struct weir_fault *why);
    struct weir_conn_options conn;
    uint32_t calls_max; /**< of ours, under way at once, up to WEIR_RPC_CALLS_MAX; 0: 65536 */
    uint32_t tick_ms;   /**< how exact timeouts are: up to two ticks late, never early; 0: 10 */
};

#define WEIR_RPC_CALLS_MAX (1u << 20)

/** What a peer did. */
struct weir_rpc_peer_stats {
    uint64_t calls;         /**< of ours */
    uint64_t answers;       /**< of these, that were answered, with an error as well */
    uint64_t timeouts;      /**< that were not in time */
    uint64_t strays;        /**< answers to what is not, or no longer, under way: passed over */
    uint64_t requests;      /**< of the other side */
    uint64_t notifications; /**< of it */
    uint64_t errors;        /**< answered with an error, or notifications of no method */
};

#define WEIR_RPC_WHEEL 64

/** Private: a place for a call under way. */
struct weir_rpc_slot {
    struct weir_rpc_call *call; /* NULL: free */
    uint32_t generation;        /* of the next call in it, or of this one */
    uint32_t next_free;
};

/** The caller's storage for a peer. Fields are private but for user and conn. */
struct weir_rpc_peer {
    void *user;            /**< the caller's */
    struct weir_conn conn; /**< to pause, to abort, for its counters; the handlers are the peer's */
    struct weir_rpc_peer_options options;
    const struct weir_rpc_method *last; /* that was called last */
    struct weir_block *slots_home;
    struct weir_rpc_slot *slots;
    uint32_t slot_count;
    uint32_t free_first;
    uint32_t free_last;
    uint32_t index_bits;  /* of an id; the others are the generation */
    uint32_t call_count;  /* under way */
    uint32_t timed_count; /* of these, with a timeout */
    uint64_t later_count;
    struct weir_rpc_later *laters;
    struct weir_op timer;
    uint64_t tick;         /* that was handled last */
    int64_t tick_begin_ns; /* when tick 0 was */
    struct weir_rpc_call *wheel[WEIR_RPC_WHEEL];
    struct weir_fault fault;
    struct weir_rpc_peer_stats stats;
    uint64_t received_bytes;
    bool ended;      /* the other side will send no more, or what it sends is not looked at */
    bool draining;   /* weir_rpc_peer_finish() */
    bool closed;     /* the connection is, or is about to be */
    bool completing; /* calls are completed one by one: that is no time to finish */
};

/**
 * Take over a connected stream socket.
 *
 * @peer      the caller's storage, any content
 * @options   copied; closed must be set
 * Returns    0; -EINVAL calls_max is above its limit, or conn.framing is another than values;
 *            -ECANCELED the ring is being destroyed. Then fd is still the caller's.
 */
WEIR_API int weir_rpc_peer_init(struct weir_rpc_peer *peer, struct weir_ring *ring, int fd,
                                const struct weir_rpc_peer_options *options, void *user);

/**
 * End in good order: start no more calls, answer requests with an error from now on, wait for the
 * calls under way and the answers that come later, send everything, then as weir_conn_finish().
 *
 * What waits for an answer without a timeout may wait for ever: weir_conn_abort(&peer->conn, ...).
 */
WEIR_API void weir_rpc_peer_finish(struct weir_rpc_peer *peer);

/** Counters since init; also from within closed(). */
WEIR_INLINE struct weir_rpc_peer_stats weir_rpc_peer_stats(const struct weir_rpc_peer *peer);

/* --- calls ----------------------------------------------------------------------------------- */

/**
 * Begin a call: its envelope is written with @packer, @param_count values must follow, then
 * weir_rpc_call_end().
 *
 * @call      done set; not under way (asserted)
 * Returns    0; -EAGAIN calls_max are under way; -ENOTCONN the connection is closed or ended;
 *            -ESHUTDOWN weir_rpc_peer_finish() was called; -ENOMEM, -ENOBUFS of the pool and the
 *            connection's buffer. Nothing was begun then.
 */
WEIR_API int weir_rpc_call_begin(struct weir_rpc_peer *peer, struct weir_rpc_call *call,
                                 struct weir_view method, uint32_t param_count,
                                 struct weir_packer *packer);

/**
 * The parameters are complete: the call leaves at the end of the turn.
 *
 * @timeout_ms  0: none
 * Returns      0; or the packer's error, and nothing was begun.
 */
WEIR_API int weir_rpc_call_end(struct weir_rpc_call *call, struct weir_packer *packer,
                               uint32_t timeout_ms);

/** Forget a call, if it is under way: done() is not called, an answer is passed over. */
WEIR_API void weir_rpc_call_cancel(struct weir_rpc_call *call);

/** Whether the call is under way. */
WEIR_INLINE bool weir_rpc_call_is_active(const struct weir_rpc_call *call);

/**
 * Begin a notification; @param_count values must follow, then weir_rpc_notify_end().
 *
 * Returns    0, or an error as of weir_rpc_call_begin().
 */
WEIR_API int weir_rpc_notify_begin(struct weir_rpc_peer *peer, struct weir_view method,
                                   uint32_t param_count, struct weir_packer *packer);
WEIR_API int weir_rpc_notify_end(struct weir_rpc_peer *peer, struct weir_packer *packer);

/* --- answers --------------------------------------------------------------------------------- */

/*
 * An answer that finds no memory closes the connection with that error: who asked would wait for
 * ever. So none of these returns an error. For a notification they write nothing.
 */

/** Begin to answer; one value must follow, then weir_rpc_answer_end(). A notification's goes
 * nowhere, but is packed. */
WEIR_INLINE void weir_rpc_answer_begin(struct weir_rpc_request *request,
                                       struct weir_packer *packer);
WEIR_INLINE void weir_rpc_answer_end(struct weir_rpc_request *request, struct weir_packer *packer);

/** Answer with an error, a str. */
WEIR_API void weir_rpc_answer_error(struct weir_rpc_request *request, const char *text);

/**
 * Answer after the method has returned: @later is used once, with weir_rpc_later_...(), whenever
 * that is, even if the connection is closed by then. Not for notifications (asserted).
 */
WEIR_API void weir_rpc_answer_later(struct weir_rpc_request *request, struct weir_rpc_later *later);

/**
 * As weir_rpc_answer_begin(), _end() and _error().
 *
 * Returns    of begin: 0; -ENOTCONN the connection is closed, and the handle done with.
 */
WEIR_API int weir_rpc_later_begin(struct weir_rpc_later *later, struct weir_packer *packer);
WEIR_API void weir_rpc_later_end(struct weir_rpc_later *later, struct weir_packer *packer);
WEIR_API void weir_rpc_later_error(struct weir_rpc_later *later, const char *text);

/* --- records --------------------------------------------------------------------------------- */

/**
 * Define a method whose one parameter and whose result are records, of WEIR_RECORD() before.
 *
 *     static const char *place(struct weir_rpc_request *request, const struct order *order,
 *                              struct placed *ret);
 *     WEIR_RPC_METHOD(order_put, place, order, placed)     // defines order_put(), for the table
 *
 * FUNCTION gets the record that came, whose views lie in the message, and fills in the result,
 * which began with its defaults. It returns NULL, or the text of an error. What is no such record
 * is answered with an error that names the field.
 */
#define WEIR_RPC_METHOD(NAME, FUNCTION, PARAMETER, RESULT)                         \
    static void NAME(struct weir_rpc_request *request)                             \
    {                                                                              \
        struct PARAMETER parameter_;                                               \
        struct RESULT result_;                                                     \
        struct weir_record_fault fault_;                                           \
        struct weir_packer packer_;                                                \
        int rc_ = request->param_count == 1                                        \
                      ? PARAMETER##_unpack(&request->params, &parameter_, &fault_) \
                      : -ERANGE;                                                   \
        if (WEIR_LIKELY(rc_ == 0)) {                                               \
            RESULT##_init(&result_);                                               \
            const char *error_ = FUNCTION(request, &parameter_, &result_);         \
            if (error_ == NULL) {                                                  \
                weir_rpc_answer_begin(request, &packer_);                          \
                RESULT##_pack(&packer_, &result_);                                 \
                weir_rpc_answer_end(request, &packer_);                            \
            } else {                                                               \
                weir_rpc_answer_error(request, error_);                            \
            }                                                                      \
        } else {                                                                   \
            weir_rpc_answer_wrong(request, rc_, rc_ == -ERANGE ? NULL : &fault_);  \
        }                                                                          \
    }

/** Private: the parameters are not the record that they should be; @fault NULL: nor is it one. */
WEIR_API void weir_rpc_answer_wrong(struct weir_rpc_request *request, int error,
                                    const struct weir_record_fault *fault);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: the answer is not to be sent, or there was an error. */
WEIR_API void weir_rpc_answer_lost(struct weir_rpc_peer *peer, int error);

WEIR_INLINE struct weir_rpc_peer_stats weir_rpc_peer_stats(const struct weir_rpc_peer *peer)
{
    return peer->stats;
}

WEIR_INLINE bool weir_rpc_call_is_active(const struct weir_rpc_call *call)
{
    return call->peer != NULL;
}

WEIR_INLINE void weir_rpc_answer_begin(struct weir_rpc_request *request, struct weir_packer *packer)
{
    weir_pack_begin(packer, weir_conn_out(&request->peer->conn), 0);
    weir_rpc_result(packer, request->id);
}

WEIR_INLINE void weir_rpc_answer_end(struct weir_rpc_request *request, struct weir_packer *packer)
{
    int rc;
    if (WEIR_UNLIKELY(request->is_notification)) {
        weir_pack_cancel(packer);
    } else {
        rc = weir_pack_end(packer, NULL);
        request->is_answered = true;
        if (WEIR_LIKELY(rc == 0))
            weir_conn_flush(&request->peer->conn);
        else
            weir_rpc_answer_lost(request->peer, rc);
    }
}

WEIR_END_DECLS

#endif /* WEIR_RPC_PEER_H */
