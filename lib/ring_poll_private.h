/* SPDX-License-Identifier: MIT */
/* What the two sources of the poll backend share: its state, and trying a request. */
#ifndef WEIR_RING_POLL_PRIVATE_H
#define WEIR_RING_POLL_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "ring_backend.h"
#include "ring_timers.h"

#define WEIR__POLL_EVENTS 128

/* First to last, through queue_next. */
struct weir__op_list {
    struct weir_op *first;
    struct weir_op *last;
    size_t count;
};

/* In op->place: where the backend has a request. */
enum weir__poll_place {
    WEIR__PLACE_NONE,     /* its done function runs, and more is true */
    WEIR__PLACE_READY,    /* to be tried in the next turn */
    WEIR__PLACE_WATCHED,  /* epoll tells when it is worth a try */
    WEIR__PLACE_RETRY,    /* nobody tells: to be tried after a while */
    WEIR__PLACE_TIMED,    /* a timeout */
    WEIR__PLACE_FINISHED, /* has its result, which is to be handed out */
};

struct weir__poll {
    struct weir_block *home;
    int epoll_fd;
    bool no_pwait2;      /* the kernel has no epoll_pwait2(2), or it is not allowed */
    bool passed_over;    /* the last turn did not ask epoll, since there was enough to do */
    uint32_t event_pass; /* counts events; marks the requests that were tried for the present one */
    uint32_t watched_fds;
    unsigned event_count;
    int64_t retry_ns; /* when to try those of the retry list */

    struct weir__op_list ready;
    struct weir__op_list retry;
    struct weir__op_list finished;
    struct weir__timers timers;

    struct weir_op **buckets; /* watched requests by descriptor, in the order they came */
    uint32_t bucket_count;    /* a power of two */

    /* receive blocks */
    struct weir_block **idle; /* a stack */
    struct weir_block *block; /* where the next receive goes, NULL: none taken yet */
    size_t block_offset;
    uint32_t idle_count;
    uint32_t lent_count; /* blocks in all, when none is missing */
    uint32_t lent_bytes;
    bool by_parts;

    struct epoll_event events[WEIR__POLL_EVENTS];
};

static inline struct weir__poll *weir__poll_of(const struct weir_ring *ring)
{
    return (struct weir__poll *)ring->backend_state;
}

/* Whether it is a read, which waits for bytes. */
static inline bool weir__op_reads(const struct weir_op *op)
{
    return op->kind == WEIR_OP_READ || op->kind == WEIR_OP_READV;
}

/* What trying a request came to. */
enum weir__tried {
    WEIR__TRIED_DONE,    /* over, its result is in op->result */
    WEIR__TRIED_BROUGHT, /* one of many: op->result, and op->received of a receive */
    WEIR__TRIED_WAITS,   /* to be tried when its descriptor is ready */
    WEIR__TRIED_RETRY,   /* to be tried later */
    WEIR__TRIED_STARVED, /* there are bytes, and no block for them */
};

/*
 * Do as much of a request as is possible without waiting. @first: for the first time, when nothing
 * is known about its descriptor; else epoll says that it is ready.
 *
 * Until it is over op->result counts what a send has sent.
 */
enum weir__tried weir__poll_try(struct weir_ring *ring, struct weir_op *op, bool first);

/* The result of a request on a descriptor that epoll does not take, for the reason @error. */
void weir__poll_try_unwatched(struct weir_ring *ring, struct weir_op *op, int error);

/* Memory for a receive, NULL: none. */
uint8_t *weir__poll_room(struct weir__poll *p, size_t *ret_bytes);

#endif /* WEIR_RING_POLL_PRIVATE_H */
