/* SPDX-License-Identifier: MIT */
/**
 * conn: a connection that speaks whole MessagePack messages.
 *
 * Received bytes are cut into messages, each handed to a function as a slice of the block it was
 * received into. Replies are packed into the connection's own buffer and leave in one vectored
 * send at the end of the turn.
 *
 *     static void on_message(struct weir_conn *conn, const struct weir_slice *message)
 *     {
 *         struct weir_packer p;
 *         weir_pack_begin(&p, weir_conn_out(conn), 0);
 *         weir_pack_raw(&p, message->view);                  // an echo
 *         if (weir_pack_end(&p, NULL) == 0)
 *             weir_conn_flush(conn);
 *     }
 *
 *     static const struct weir_conn_handlers handlers = {on_message, NULL, on_closed};
 *     int rc = weir_conn_init(&conn, ring, fd, &handlers, NULL, user);
 *
 * Lifetime     The struct is the caller's; from init until closed() was called it must stay where
 *              it is. closed() is called once, by the ring, when the kernel holds nothing of the
 *              connection any more and the descriptor is closed; it may free the struct. Close
 *              connections before their ring: weir_conn_abort() each, then run until closed().
 * Order        Messages are handed out in order of arrival, never two at once. What is packed
 *              leaves in order; one send is in flight at a time; short sends are continued.
 * Bounds       A message above limits.bytes closes the connection. A peer that does not read:
 *              above out_high_bytes no further message is handed out until out_low_bytes are left;
 *              at out_limit_bytes packing fails with -ENOBUFS. A peer that is silent, or slow, or
 *              sends too much: idle_ms, message_ms, rate_bytes_per_s.
 * Memory       A silent connection holds nothing but this struct, of at most 1 KiB: what is needed
 *              to receive and to send comes from the pool and goes back after a tenth of a second
 *              of silence.
 * Threads      the ring's.
 */
#ifndef WEIR_CONN_H
#define WEIR_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <weir/base.h>
#include <weir/buf.h>
#include <weir/ring.h>
#include <weir/slice.h>
#include <weir/stream.h>
#include <weir/unpack.h>

WEIR_BEGIN_DECLS

struct weir_conn;
struct weir__conn_in;

/** What a connection tells its owner. */
struct weir_conn_handlers {
    /** A message. It is valid during the call; weir_slice_hold() keeps it. Not NULL. */
    void (*message)(struct weir_conn *conn, const struct weir_slice *message);
    /**
     * The peer will send no more, or what it sent is malformed, and every message before has been
     * handed out. Answers may still be packed; weir_conn_finish() when there are none left to
     * come. NULL: that is done at once.
     */
    void (*ended)(struct weir_conn *conn);
    /**
     * The connection is closed and its memory is the owner's again. Not NULL.
     *
     * None of the functions below but weir_conn_stats() and weir_conn_end() may be called from
     * here on.
     *
     * @why      error 0: both sides ended in good order. Otherwise a negative errno with a reason.
     *           Malformed input: -EBADMSG, -EMSGSIZE or, cut within a message, -EAGAIN, with the
     *           offset in the received bytes; what was packed before has been sent.
     *           -ENOMEM, -ENOBUFS: of the pool. -ETIME: see weir_conn_finish(). -ECANCELED:
     *           weir_conn_abort(), or the ring is destroyed. Others: the kernel's, with the bytes
     *           sent as offset where a send failed.
     */
    void (*closed)(struct weir_conn *conn, const struct weir_fault *why);
};

/** What ended a connection: what closed() says, as a value. See weir_conn_end(). */
enum weir_conn_end {
    WEIR_CONN_END_NONE,      /**< it is open */
    WEIR_CONN_END_ORDERLY,   /**< 0: both sides ended */
    WEIR_CONN_END_MALFORMED, /**< -EBADMSG: the peer sent what is no message */
    WEIR_CONN_END_TOO_LARGE, /**< -EMSGSIZE: a message above the limits */
    WEIR_CONN_END_CUT,       /**< -EAGAIN: the peer ended within a message */
    WEIR_CONN_END_MEMORY,    /**< -ENOMEM, -ENOBUFS: of the pool */
    WEIR_CONN_END_IDLE,      /**< -ETIMEDOUT: nothing came or left for idle_ms */
    WEIR_CONN_END_MESSAGE,   /**< -ETIMEDOUT: a message took longer than message_ms */
    WEIR_CONN_END_LINGER,    /**< -ETIME: the peer did not end its side, see weir_conn_finish() */
    WEIR_CONN_END_RECEIVE,   /**< the kernel's: receiving failed, as with a reset */
    WEIR_CONN_END_SEND,      /**< the kernel's: sending failed */
    WEIR_CONN_END_ABORTED,   /**< -ECANCELED or what weir_conn_abort() was told */
    WEIR_CONN_END_RING       /**< -ECANCELED: the ring is being destroyed */
};

/** How a connection behaves. Zeroed: the defaults. */
struct weir_conn_options {
    struct weir_limits limits; /**< of each message, see weir_stream_init() */
    size_t out_high_bytes;     /**< waiting to leave, above which reading pauses; 0: 1 MiB */
    size_t out_limit_bytes;    /**< most that may wait to leave; 0: 64 MiB */
    uint32_t linger_ms;        /**< see weir_conn_finish(); 0: 5000 */
    /** How received messages are told apart; what is sent is framed by who packs it. */
    enum weir_framing framing;
    size_t out_low_bytes; /**< and down to which it stays so; 0: half of out_high_bytes */
    /** More than out_high_bytes wait to leave: called once, until out_low() was. NULL: nobody is
     * told. Both are called from the ring like message(), and may do what that may. */
    void (*out_high)(struct weir_conn *conn);
    void (*out_low)(struct weir_conn *conn); /**< it is time to go on */
    uint32_t idle_ms;    /**< longest time without a byte in either direction; 0: no bound */
    uint32_t message_ms; /**< from the first byte of a message to its last; 0: no bound */
    /** Received bytes per second in the long run, at most one second's worth at once; what is more
     * is left to the peer's patience. 0: no bound */
    uint32_t rate_bytes_per_s;
    uint32_t backlog_bytes; /**< received while paused, above which it is not read; 0: 64 Ki */
};

/** What a connection did. */
struct weir_conn_stats {
    struct weir_stream_stats in; /**< messages received */
    uint64_t sent_bytes;
    uint64_t sends;        /**< send requests */
    uint64_t bytes_copied; /**< in all: gathered when received, moved or copied when packed */
};

/** The caller's storage for a connection. Fields are private but for user. */
struct weir_conn {
    void *user; /**< the caller's */
    const struct weir_conn_handlers *handlers;
    struct weir_ring *ring;
    struct weir_op receive;
    struct weir_op send;
    struct weir_op *sending; /* the send in flight; NULL: none is */
    struct weir_task turn;   /* flushes, resumes, closes at the end of a turn */
    struct weir_alarm alarm; /* looks at all that has a time */
    struct weir_buf out;
    struct weir__conn_in *in; /* only while something comes in */
    void (*out_high)(struct weir_conn *conn);
    void (*out_low)(struct weir_conn *conn);
    struct weir_limits limits;
    struct weir_fault why;
    struct weir_conn_stats stats; /* of what is given up; once closed, all */
    uint64_t in_offset;           /* where the present input begins in the received bytes */
    uint32_t out_high_bytes;
    uint32_t out_low_bytes;
    uint32_t backlog_bytes;
    uint32_t rate_bytes_per_s;
    uint32_t idle_ms;
    uint32_t message_ms;
    uint32_t linger_ms;
    uint32_t linger_since_ms;
    uint32_t active_ms; /* when something came or left last */
    int fd;
    uint8_t state;
    uint8_t paused; /* why no message is handed out */
    uint8_t end;    /* enum weir_conn_end */
    uint8_t framing;
    bool peer_ended : 1;  /* the peer will send no more */
    bool out_broken : 1;  /* a send failed: nothing more can leave */
    bool told_ended : 1;  /* and the owner knows */
    bool pumping : 1;     /* within the loop that hands messages out */
    bool sent_lately : 1; /* since the linger time began */
};

/**
 * Take over a connected stream socket and start to receive.
 *
 * @conn      the caller's storage, any content
 * @fd        connected; closed by the connection. Stays the caller's when init fails.
 * @handlers  must outlive the connection
 * @options   NULL or zeroed: the defaults
 * @user      kept in conn->user
 * Returns    0; -ECANCELED the ring is being destroyed.
 * Cost       TCP: one setsockopt(2) for TCP_NODELAY.
 */
WEIR_API int weir_conn_init(struct weir_conn *conn, struct weir_ring *ring, int fd,
                            const struct weir_conn_handlers *handlers,
                            const struct weir_conn_options *options, void *user);

/**
 * The buffer to pack what is to be sent into; weir_conn_flush() sends it.
 *
 * Only append to it, and end a message before the ring runs on: no message may be begun in it when
 * a handler returns or weir_ring_run() is called.
 */
WEIR_INLINE struct weir_buf *weir_conn_out(struct weir_conn *conn);

/** Send what was packed, at the end of this turn and then as fast as the peer takes it. */
WEIR_API void weir_conn_flush(struct weir_conn *conn);

/** Bytes packed and not yet sent. */
WEIR_INLINE size_t weir_conn_pending_bytes(const struct weir_conn *conn);

/** Hand out no more messages until weir_conn_resume(); what arrives is kept, then not read. */
WEIR_API void weir_conn_pause(struct weir_conn *conn);

/** Go on after weir_conn_pause(). Messages come at the end of this turn at the earliest. */
WEIR_API void weir_conn_resume(struct weir_conn *conn);

/**
 * Close in good order: hand out no more messages, send what is packed, tell the peer that no more
 * will come, wait for it to end too, then close.
 *
 * Whatever the peer still sends is dropped. Closing at once would reset a TCP connection on which
 * something is unread, and the peer could lose the last bytes. A peer for which no send completes
 * within linger_ms, or which does not end its side within that after the last one, is not waited
 * for: closed() says -ETIME, after little more than twice linger_ms. May be called from every
 * handler but closed(), and more than once.
 */
WEIR_API void weir_conn_finish(struct weir_conn *conn);

/**
 * Close now; what waits to be sent is lost.
 *
 * @error    a negative errno for closed(), 0 for -ECANCELED; the first one given counts
 * @reason   a static line for closed(); NULL: a default
 */
WEIR_API void weir_conn_abort(struct weir_conn *conn, int error, const char *reason);

/** What ended it, also from within closed(); WEIR_CONN_END_NONE while nothing has. */
WEIR_API enum weir_conn_end weir_conn_end(const struct weir_conn *conn);

/** One of these in words: a constant string, never NULL. */
WEIR_API const char *weir_conn_end_text(enum weir_conn_end end);

/** Counters since init; also from within closed(). */
WEIR_API struct weir_conn_stats weir_conn_stats(const struct weir_conn *conn);

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE struct weir_buf *weir_conn_out(struct weir_conn *conn)
{
    return &conn->out;
}

WEIR_INLINE size_t weir_conn_pending_bytes(const struct weir_conn *conn)
{
    return weir_buf_size(&conn->out);
}

WEIR_END_DECLS

#endif /* WEIR_CONN_H */
