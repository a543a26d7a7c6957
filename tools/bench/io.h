/* SPDX-License-Identifier: MIT */
/**
 * io: servers under load, on one core each.
 *
 * A case is a flow: so many connections, so deep, of such requests and answers. A contender is a
 * peer: a function that serves the connections of a flow on a thread of its own, until all have
 * ended. The load is the same for all, and looks at every answer.
 */
#ifndef BENCH_IO_H
#define BENCH_IO_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define IO_CONNECTIONS_MAX 64

/** Requests that differ, after which a connection begins anew: as many as may be under way. */
#define IO_CYCLE 64

/** What is said on a connection. */
enum io_talk {
    IO_ECHO,  /**< a bin of the flow's size, that comes back */
    IO_RPC,   /**< "order.put" with a record of 8 fields; the answer depends on all of them */
    IO_STREAM /**< a small bin is answered with a bin of the flow's size */
};

struct io_flow {
    bool is_unix;
    unsigned connections; /**< 1..IO_CONNECTIONS_MAX */
    unsigned depth;       /**< requests under way on each, 1..IO_CYCLE */
    enum io_talk talk;
    size_t bytes; /**< of an echo, or of a stream's answers: of the whole message */
};

/** What all connections of a flow say, and what they are to hear. */
struct io_script {
    size_t request_bytes;
    size_t answer_bytes;
    uint8_t *requests; /**< two cycles, so that what is due lies in one piece */
    uint8_t *answers;  /**< a cycle; of a stream one answer, which are all alike */
    unsigned answer_count;
};

struct io_server;

struct io_peer {
    /** Serve server->fds until all have ended, and close them. 0 or a negative errno. */
    int (*serve)(struct io_server *server);
    bool counts_calls; /**< server->calls is kept */
    unsigned option;   /**< the peer's own */
};

/** A peer at work. */
struct io_server {
    const struct io_flow *flow;
    const struct io_script *script;
    const struct io_peer *peer;
    int cpu; /**< -1: any */
    int fds[IO_CONNECTIONS_MAX];
    pthread_t thread;
    clockid_t clock; /**< of the thread's processor time */
    uint64_t calls;  /**< system calls so far, see io_count_calls() */
    int error;       /**< what serve() came to; atomic */
    bool runs;       /**< there is a thread to join */
    struct io_load *load;
};

/** What a round came to. */
struct io_result {
    uint64_t elapsed_ns;
    double p50_us; /**< of round trips; not a number where several are under way at once */
    double p99_us;
    double p999_us;
};

/* io_script.c */
int io_script_make(struct io_script *script, const struct io_flow *flow);
void io_script_free(struct io_script *script);

/* io_load.c */
/** The other side of the server's connections. Returns 0 or a negative errno. */
int io_load_open(struct io_load **ret, const struct io_flow *flow, const struct io_script *script,
                 const int *fds);
/** Have @ops requests answered, the same number on each connection. @thoroughly: see every byte. */
int io_load_run(struct io_load *load, const struct io_server *server, uint64_t ops, bool thoroughly,
                struct io_result *ret);
void io_load_close(struct io_load *load);

/* The peers. */
int io_weir_echo(struct io_server *server);
int io_weir_rpc(struct io_server *server);
int io_weir_stream(struct io_server *server);
int io_hand_serve(struct io_server *server);
int io_epoll_serve(struct io_server *server);
int io_calls_stream(struct io_server *server);
#ifdef HAVE_UV
int io_uv_serve(struct io_server *server);
#endif

/* io_talk.c: requests cut, read and answered without weir. */

/** How a session reads what it is asked. */
enum io_codec { IO_BY_HAND, IO_MSGPACK_C };

#define IO_OUT_BYTES ((size_t)64 << 10)
#define IO_CARRY_BYTES 1024

struct msgpack_unpacker;

/** One connection of a peer that is not weir's. */
struct io_session {
    uint8_t *out; /**< answers, IO_OUT_BYTES of room */
    size_t out_bytes;
    /** Called after each answer, unless NULL. Returns 0 or a negative errno. */
    int (*answered)(struct io_session *session);
    void *user;
    int fd;
    enum io_talk talk;
    uint8_t *room; /**< where to read to */
    size_t room_bytes;
    size_t carry_bytes; /**< of a request that has not come whole */
    uint8_t carry[IO_CARRY_BYTES];
    struct msgpack_unpacker *unpacker; /**< of MessagePack-C; then room is its */
};

/** @room is where to read to, shared by all sessions; MessagePack-C's have their own. */
int io_session_open(struct io_session *session, int fd, enum io_talk talk, enum io_codec codec,
                    uint8_t *room, size_t room_bytes);
void io_session_close(struct io_session *session);
/** @size bytes came, at @bytes; answers are appended to out. 0 or a negative errno. */
int io_session_take(struct io_session *session, const uint8_t *bytes, size_t size);

/** What the order.put of the flow IO_RPC brings. Strings are not terminated. */
struct io_order_read {
    uint64_t id;
    const uint8_t *symbol, *account, *note;
    size_t symbol_bytes, account_bytes, note_bytes;
    int64_t time_ns;
    double price;
    uint32_t quantity;
    bool buy;
};

/** What is answered of an order: its "total" and, of everything else, "filled". */
static inline double io_order_total(const struct io_order_read *order)
{
    return order->price * order->quantity;
}

static inline uint32_t io_order_filled(const struct io_order_read *order)
{
    return order->quantity + order->symbol[0] + order->account[order->account_bytes - 1] +
           (uint32_t)(order->symbol_bytes + order->account_bytes + order->note_bytes) +
           order->note[0] + (uint32_t)(order->time_ns & 0xffff) + order->buy;
}

/** Tell how many system calls there were so far. The server's thread alone. */
static inline void io_count_calls(struct io_server *server, uint64_t calls)
{
    __atomic_store_n(&server->calls, calls, __ATOMIC_RELAXED);
}

#endif /* BENCH_IO_H */
