/* SPDX-License-Identifier: MIT */
#include "ring_timers.h"

#include <assert.h>
#include <stdbool.h>

/*
 * An op's children are a list from child along next. Its prev is the one before it in that list,
 * and for the first child the parent; the root has neither next nor prev.
 */

static bool is_earlier(const struct weir_op *a, const struct weir_op *b)
{
    if (a->args.timer.deadline_ns != b->args.timer.deadline_ns)
        return a->args.timer.deadline_ns < b->args.timer.deadline_ns;
    return a->args.timer.number < b->args.timer.number;
}

/* Two heaps become one. */
static struct weir_op *join(struct weir_op *a, struct weir_op *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    struct weir_op *root = is_earlier(a, b) ? a : b;
    struct weir_op *child = root == a ? b : a;
    child->args.timer.prev = root;
    child->args.timer.next = root->args.timer.child;
    if (child->args.timer.next != NULL)
        child->args.timer.next->args.timer.prev = child;
    root->args.timer.child = child;
    root->args.timer.next = NULL;
    root->args.timer.prev = NULL;
    return root;
}

/* A list of heaps becomes one: in pairs from the first on, and the pairs from the last on. */
static struct weir_op *join_list(struct weir_op *list)
{
    struct weir_op *pairs = NULL;
    struct weir_op *root = NULL;
    while (list != NULL) {
        struct weir_op *a = list;
        struct weir_op *b = a->args.timer.next;
        list = b != NULL ? b->args.timer.next : NULL;
        struct weir_op *pair = join(a, b);
        pair->args.timer.next = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        struct weir_op *pair = pairs;
        pairs = pair->args.timer.next;
        pair->args.timer.next = NULL;
        pair->args.timer.prev = NULL;
        root = join(root, pair);
    }
    return root;
}

void weir__timers_add(struct weir__timers *timers, struct weir_op *op, int64_t deadline_ns)
{
    op->args.timer.deadline_ns = deadline_ns;
    op->args.timer.number = timers->number++;
    op->args.timer.child = NULL;
    op->args.timer.next = NULL;
    op->args.timer.prev = NULL;
    timers->root = join(timers->root, op);
}

void weir__timers_remove(struct weir__timers *timers, struct weir_op *op)
{
    struct weir_op *below = join_list(op->args.timer.child);
    struct weir_op *prev = op->args.timer.prev;
    struct weir_op *next = op->args.timer.next;
    if (prev == NULL) {
        assert(timers->root == op && next == NULL);
        timers->root = below;
        return;
    }
    if (prev->args.timer.child == op)
        prev->args.timer.child = next;
    else
        prev->args.timer.next = next;
    if (next != NULL)
        next->args.timer.prev = prev;
    timers->root = join(timers->root, below);
}
