/* SPDX-License-Identifier: MIT */
/*
 * A ring's alarms: times to the tick, in slots of a wheel. Setting and clearing one is constant; a
 * turn looks at a coarse clock and at the slots whose ticks have passed since the last one.
 *
 * An alarm that is further off than the wheel is wide lies in the last slot, and is moved on when
 * that comes by.
 */
#ifndef WEIR_RING_ALARMS_H
#define WEIR_RING_ALARMS_H

#include <stddef.h>
#include <stdint.h>

#include <weir/ring.h>

#define WEIR__ALARM_SLOTS 256

struct weir__alarms {
    struct weir_alarm *slots[WEIR__ALARM_SLOTS]; /* by tick */
    uint64_t used[WEIR__ALARM_SLOTS / 64];       /* a bit for each slot that is not empty */
    uint64_t tick;                               /* up to which all are handled */
    size_t count;
};

/* Put it in, or in another place. @now_ns: of the exact clock. */
void weir__alarms_set(struct weir__alarms *alarms, struct weir_alarm *alarm, int64_t now_ns,
                      uint64_t delay_ms);
void weir__alarms_clear(struct weir__alarms *alarms, struct weir_alarm *alarm);

/* A time when there may be something to run, not after the first that is due; only if there are
 * any. */
int64_t weir__alarms_next_ns(const struct weir__alarms *alarms);

/* Clear all of them. */
void weir__alarms_forget(struct weir__alarms *alarms);

/* Run those that are due at @now_ns. */
void weir__alarms_run(struct weir__alarms *alarms, int64_t now_ns);

#endif /* WEIR_RING_ALARMS_H */
