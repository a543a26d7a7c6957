/* SPDX-License-Identifier: MIT */
/**
 * service: the connections of `weir serve` and what its methods do.
 *
 *     struct service service;
 *     service_init(&service, ring, &log, &options);
 *     service_listen(&service, &addr, &chosen);
 *     while (!service_is_done(&service))
 *         weir_ring_run(ring, -1);          // somebody calls service_stop()
 *
 * Memory       A connection is one pool block, a request that waits for the disk another. Records
 *              stay in the blocks that they were received into until they are durable.
 * Bounds       Bytes and requests that wait for the disk: above options.waiting_bytes, connections
 *              that append are paused until half of it is durable. One read of a connection is
 *              under way at a time. Of answers that a peer does not take a quarter of a megabyte
 *              and the last one are kept, in blocks of at most four times their size, for
 *              options.stall_ns; no more requests are read from it meanwhile.
 * Threads      the ring's.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <weir/conn.h>
#include <weir/pack.h>
#include <weir/pool.h>
#include <weir/ring.h>
#include <weir/sock.h>

#include "record_log.h"

#define SERVICE_LISTENERS_MAX 16

/* What the answer to one read holds at most, unless its first record alone is larger. */
#define SERVICE_READ_BYTES ((size_t)1 << 20)

/** How a service behaves. All fields must be set. */
struct service_options {
    struct weir_limits limits; /**< of a message; depth: of a record */
    size_t waiting_bytes;      /**< not yet durable, above which connections are paused */
    uint64_t connections_max;  /**< open at a time; more are closed as soon as accepted */
    int64_t stall_ns; /**< how long a peer may take none of the answers that wait for it; 0: ever */
    int64_t drain_ns; /**< after service_stop(): how long peers may take for their answers */
    /** Called with one line for the operator, without a newline. */
    void (*report)(const char *line);
};

/** What all connections together did. */
struct service_counters {
    uint64_t open;
    uint64_t accepted;
    uint64_t malformed; /**< closed for what they sent */
    uint64_t accept_errors;
    uint64_t turned_away; /**< closed because connections_max were open */
    uint64_t stalled;     /**< closed for not taking their answers */
    uint64_t messages;
    uint64_t requests;
    uint64_t notifications;
    uint64_t errors; /**< requests answered with an error */
    uint64_t pauses; /**< times that a connection waited for the disk */
    uint64_t received_bytes;
    uint64_t sent_bytes;
    uint64_t sends;
    uint64_t gathered; /**< messages that straddled receive blocks */
    uint64_t bytes_copied;
};

/** Everything that `stat` tells, see service_stats_pack(). */
struct service_stats {
    struct weir_pool_stats pool;
    struct weir_ring_stats ring;
    struct record_log_stats log;
    struct service_counters connections;
    uint64_t bytes_copied; /**< by connections and log */
};

struct service;
struct service_peer;

/* Private: a listening socket. */
struct service_listener {
    struct service *service;
    struct weir_op accept;
    struct weir_op retry; /* a pause after accept failed */
    struct weir_addr addr;
    int fd; /* -1: closed */
    int last_error;
    dev_t device; /* of the socket file that we made */
    ino_t inode;
};

/** The caller's storage. Fields are private. */
struct service {
    struct weir_ring *ring;
    struct weir_pool *pool;
    struct record_log *log;
    struct service_options options;
    struct service_listener listeners[SERVICE_LISTENERS_MAX];
    unsigned listener_count;
    struct service_peer *peers;
    uint64_t peer_blocks; /* peers not yet freed, closed ones with answers under way included */
    uint64_t waiting;     /* requests that wait for the disk */
    bool paused;          /* a connection waits for the disk */
    bool full;            /* the last connection was turned away */
    bool stopping;
    struct weir_op stall_timer;
    struct weir_op deadline;
    struct service_counters totals; /* of closed connections; counts of all */
};

/** Prepare a service over a log that is open; both @ring and @log must outlive it. */
void service_init(struct service *service, struct weir_ring *ring, struct record_log *log,
                  const struct service_options *options);

/**
 * Listen on @addr and accept connections from now on.
 *
 * A socket file that nobody listens behind is replaced.
 *
 * @ret      the address with the port that was chosen, written on success only
 * Returns   0; -ENOSPC SERVICE_LISTENERS_MAX is reached; -EADDRINUSE, -EEXIST see
 *           address_clear_stale(); or the error of socket(2), bind(2), listen(2).
 */
int service_listen(struct service *service, const struct weir_addr *addr, struct weir_addr *ret);

/** Accept no more, read no more, answer what is under way, close. To be called once. */
void service_stop(struct service *service);

/** Whether a stopped service has let go of everything: connections, sockets, the log. */
bool service_is_done(const struct service *service);

/** Remove our socket files now; done by service_stop() as well. */
void service_unlink(struct service *service);

/** Copy the counters out. */
void service_stats(const struct service *service, struct service_stats *ret);

/** Write counters as a map of maps: pool, buffers, ring, log, connections. */
void service_stats_pack(const struct service_stats *stats, struct weir_packer *packer);

#endif /* SERVICE_H */
