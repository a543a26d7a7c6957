/* SPDX-License-Identifier: MIT */
/*
 * Timeouts by the time that they are due, those of the same time in the order of their start: a
 * pairing heap whose links lie in the ops, so that any number of them needs no memory. Adding is
 * constant, removing logarithmic over many.
 */
#ifndef WEIR_RING_TIMERS_H
#define WEIR_RING_TIMERS_H

#include <stddef.h>
#include <stdint.h>

#include <weir/ring.h>

/* Zeroed: empty. */
struct weir__timers {
    struct weir_op *root; /* the next that is due, NULL: none */
    uint64_t number;      /* of the next to be added */
};

void weir__timers_add(struct weir__timers *timers, struct weir_op *op, int64_t deadline_ns);

/* @op must be one of them. */
void weir__timers_remove(struct weir__timers *timers, struct weir_op *op);

#endif /* WEIR_RING_TIMERS_H */
