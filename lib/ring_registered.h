/* SPDX-License-Identifier: MIT */
/*
 * A ring's registered buffers: the segments of its pool, each registered when a request first
 * names a block of it that is better off so, and unregistered before the pool gives it back.
 */
#ifndef WEIR_RING_REGISTERED_H
#define WEIR_RING_REGISTERED_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool_private.h"

/* Segments of a higher index are not registered; 2 GiB of the usual ones. */
#define WEIR__REGISTERED_MAX 1024

struct weir__registered {
    struct io_uring *uring;
    struct weir_pool *pool;
    struct weir__segment_watch watch;
    uint64_t budget_bytes; /* still to be locked in memory */
    const char *missing;   /* why nothing more is registered, NULL: it is */
    uint64_t *bytes;       /* registered now; the ring's counter */
    uint8_t bits[WEIR__REGISTERED_MAX / 8];
};

/* With r->missing set the others do nothing. */
void weir__registered_open(struct weir__registered *r, struct weir_pool *pool,
                           struct io_uring *uring, uint64_t *bytes);
void weir__registered_close(struct weir__registered *r);

/* The index of the registered buffer that @block lies in; -1: in none. */
int weir__registered_index(struct weir__registered *r, const struct weir_block *block);

#endif /* WEIR_RING_REGISTERED_H */
