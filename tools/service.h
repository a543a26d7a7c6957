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
 * Memory       A connection is one pool block, a request that waits for the disk another. Large
 *              records stay in the blocks that they were received into until they are written.
 * Reading      Records are answered from where they lie in the mapped log, in the turn in which
 *              they are asked for: what is not in the page cache holds all of us up.
 * Bounds       Bytes and requests that wait for the disk: above options.waiting_bytes, connections
 *              that append are paused until half of it is written. What finds the log without room
 *              waits in line, its connection paused: one request for each. Of answers that a peer
 *              does not take a quarter of a megabyte and the last one are kept, in blocks of at
 *              most four times their size, for options.stall_ns; no more requests are read from it
 *              meanwhile.
 * Threads      the ring's.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <weir/conn.h>
#include <weir/log.h>
#include <weir/pack.h>
#include <weir/pool.h>
#include <weir/ring.h>
#include <weir/sock.h>

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

/** What there is to say of the log beside its own counters. */
struct service_log_stats {
    uint64_t records;   /**< the last one acknowledged */
    uint64_t found;     /**< of these, there when it was opened */
    uint64_t failed;    /**< 1 once it has failed for good */
    uint64_t postponed; /**< appends that found no room and were tried again */
};

/** Everything that `stat` tells, see service_stats_pack(). */
struct service_stats {
    struct weir_pool_stats pool;
    struct weir_ring_stats ring;
    struct weir_log_stats log;
    struct service_log_stats log_more;
    struct service_counters connections;
    uint64_t bytes_copied; /**< by connections and log */
};

struct service;
struct service_peer;
struct service_append;

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
    struct weir_log *log;
    struct weir_log_reader reader;
    struct service_log_stats log_stats;
    struct service_append *postponed; /* appends that wait for room, in order */
    struct service_append *last_postponed;
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

/**
 * Prepare a service over a log that is open; both @ring and @log must outlive it.
 *
 * The log was opened with service_on_room() as its on_room, and @service as its user.
 *
 * @path     of the log, which is opened for reading as well; must outlive the service
 * Returns   0, or an error of weir_log_reader_open(): there is nothing to finish.
 * Cost      heads of the log's blocks are read through, so that any record is found at once later
 */
int service_init(struct service *service, struct weir_ring *ring, struct weir_log *log,
                 const char *path, const struct service_options *options);

/** Let go of what service_init() took. A zeroed service is allowed. */
void service_fini(struct service *service);

/** The log has room again: see weir_log_options. */
void service_on_room(struct weir_log *log, void *user);

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
