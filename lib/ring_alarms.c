/* SPDX-License-Identifier: MIT */
#include "ring_alarms.h"

#include <assert.h>
#include <stdbool.h>

#define TICK_NS (WEIR_ALARM_TICK_MS * INT64_C(1000000))
#define MASK (WEIR__ALARM_SLOTS - 1)

static void link_to(struct weir_alarm **head, struct weir_alarm *alarm)
{
    alarm->next = *head;
    if (alarm->next != NULL)
        alarm->next->at = &alarm->next;
    alarm->at = head;
    *head = alarm;
}

static void unlink_from_list(struct weir_alarm *alarm)
{
    *alarm->at = alarm->next;
    if (alarm->next != NULL)
        alarm->next->at = alarm->at;
    alarm->next = NULL;
    alarm->at = NULL;
}

static void put(struct weir__alarms *alarms, struct weir_alarm *alarm)
{
    uint64_t tick = alarm->tick;
    assert(tick > alarms->tick);
    if (tick - alarms->tick > MASK)
        tick = alarms->tick + MASK;
    unsigned slot = (unsigned)(tick & MASK);
    link_to(&alarms->slots[slot], alarm);
    alarms->used[slot / 64] |= UINT64_C(1) << slot % 64;
}

void weir__alarms_set(struct weir__alarms *alarms, struct weir_alarm *alarm, int64_t now_ns,
                      uint64_t delay_ms)
{
    weir__alarms_clear(alarms, alarm);
    /* Without any, nobody has counted the ticks. */
    if (alarms->count == 0)
        alarms->tick = (uint64_t)(now_ns / TICK_NS);
    /* Both rounded up: never early. No overflow: the first is below 2^62, the second below 2^41. */
    uint64_t delay_ticks = delay_ms / WEIR_ALARM_TICK_MS + (delay_ms % WEIR_ALARM_TICK_MS != 0);
    alarm->tick = (uint64_t)(now_ns / TICK_NS) + (now_ns % TICK_NS != 0) + delay_ticks;
    if (alarm->tick <= alarms->tick)
        alarm->tick = alarms->tick + 1;
    alarms->count++;
    put(alarms, alarm);
}

void weir__alarms_clear(struct weir__alarms *alarms, struct weir_alarm *alarm)
{
    if (alarm->at == NULL)
        return;
    assert(alarms->count > 0);
    alarms->count--;
    unlink_from_list(alarm);
    /* The bit of its slot may stay: an empty one that is looked at does no harm. */
}

/* The first slot that is used, from the one of the next tick on. */
static unsigned ticks_to_next(const struct weir__alarms *alarms)
{
    for (unsigned ahead = 1; ahead <= WEIR__ALARM_SLOTS;) {
        unsigned slot = (unsigned)((alarms->tick + ahead) & MASK);
        uint64_t bits = alarms->used[slot / 64] >> slot % 64;
        if (bits != 0)
            return ahead + (unsigned)__builtin_ctzll(bits);
        ahead += 64 - slot % 64;
    }
    return WEIR__ALARM_SLOTS;
}

int64_t weir__alarms_next_ns(const struct weir__alarms *alarms)
{
    assert(alarms->count != 0);
    return (int64_t)(alarms->tick + ticks_to_next(alarms)) * TICK_NS;
}

static void run_slot(struct weir__alarms *alarms, unsigned slot)
{
    /* Taken out first: what these set may belong in the same slot, a round later. */
    struct weir_alarm *due = alarms->slots[slot];
    alarms->slots[slot] = NULL;
    alarms->used[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    if (due != NULL)
        due->at = &due;
    while (due != NULL) {
        struct weir_alarm *alarm = due;
        unlink_from_list(alarm);
        if (alarm->tick > alarms->tick) {
            put(alarms, alarm);
            continue;
        }
        alarms->count--;
        alarm->run(alarm);
    }
}

void weir__alarms_run(struct weir__alarms *alarms, int64_t now_ns)
{
    uint64_t end = (uint64_t)(now_ns / TICK_NS);
    if (alarms->count == 0 || end <= alarms->tick)
        return;
    if (end - alarms->tick > MASK) {
        /* Nobody looked for long: once around, instead of tick by tick. */
        alarms->tick = end;
        for (unsigned slot = 0; slot < WEIR__ALARM_SLOTS; slot++)
            run_slot(alarms, slot);
        return;
    }
    while (alarms->tick < end && alarms->count != 0) {
        unsigned ahead = ticks_to_next(alarms);
        if (ahead > end - alarms->tick) {
            alarms->tick = end;
            return;
        }
        alarms->tick += ahead;
        run_slot(alarms, (unsigned)(alarms->tick & MASK));
    }
}

void weir__alarms_forget(struct weir__alarms *alarms)
{
    for (unsigned slot = 0; slot < WEIR__ALARM_SLOTS; slot++)
        while (alarms->slots[slot] != NULL)
            weir__alarms_clear(alarms, alarms->slots[slot]);
    assert(alarms->count == 0);
}
