/* SPDX-License-Identifier: MIT */
/**
 * batch: items of one size, appended into batches that never move.
 *
 * An item has an index, which counts up from 0, and an address; both stay what they are until the
 * item is truncated away. Items lie in batches of a power of two of them, each batch in one pool
 * block: an index is found by a shift and a mask, and work on all items is done batch by batch,
 * over plain arrays.
 *
 *     struct weir_batch points;
 *     struct weir_batch_options options = {.batch_items = 1024, .growth = {.limit = 1000000}};
 *     int rc = weir_batch_init(&points, pool, sizeof(struct point), 8, &options);
 *     void *at;
 *     rc = weir_batch_add(&points, &at);               // a new last item, to be written to
 *     *(struct point *)at = (struct point){3, 4};
 *     for (size_t i = 0; i < weir_batch_batches(&points); i++) {
 *         struct weir_batch_span span = weir_batch_span(&points, i);
 *         sum_up(span.items, span.count);
 *     }
 *     weir_batch_fini(&points);
 *
 * Growth       Capacity comes by the plan of growth.h, in items, rounded up to whole batches.
 *              Growing adds batches; only a table of pointers, which nobody sees, is ever copied.
 * Invariants   count <= capacity, count <= limit. Every batch but the last one in use is full.
 * Threads      one thread, the owner of the pool. Items may be read by others as long as this one
 *              neither truncates nor resets.
 * Errors       0 or -ENOMEM the source failed, -ENOBUFS a limit is reached (the pool's or the
 *              plan's), -EOVERFLOW a size, -EINVAL a bad configuration. On an error the batch is
 *              as before the call, its capacity included.
 */
#ifndef WEIR_BATCH_H
#define WEIR_BATCH_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/arena.h>
#include <weir/base.h>
#include <weir/growth.h>
#include <weir/pool.h>

WEIR_BEGIN_DECLS

/** How items are kept. Zeroed: the defaults. */
struct weir_batch_options {
    /** Items per batch, a power of two; 0: as many as fit 4096 bytes, one at least. */
    size_t batch_items;
    /**
     * In items; limit is the most items ever. By default initial is one batch and step_max as many
     * as fit 64 KiB, one at least.
     */
    struct weir_growth growth;
};

/** Where one batch lies. Private. */
struct weir_batch_entry {
    uint8_t *items;
    struct weir_block *block;
};

/** The caller's storage. Zeroed, weir_batch_fini() takes it. Fields are private. */
struct weir_batch {
    uint8_t *cursor;                /* next free item; equal to end: none is at hand */
    uint8_t *end;                   /* where the batch being filled or the limit ends */
    struct weir_batch_entry *table; /* of all batches, in table_block */
    size_t count;                   /* items */
    size_t stride_bytes;            /* from an item to the next */
    uint32_t shift;                 /* log2 of the items per batch */
    uint32_t align_bytes;
    size_t item_bytes;
    size_t slack_bytes; /* what a block needs beyond its items to be aligned */
    size_t batches;     /* held, those with no items included */
    size_t table_room;  /* entries that fit the table */
    size_t last_step;   /* items of the last growth */
    size_t held_bytes;
    struct weir_growth growth;
    struct weir_block *table_block;
    struct weir_pool *pool;
};

/** Items that lie side by side, weir_batch_stride_bytes() apart. */
struct weir_batch_span {
    void *items;  /**< the first of them */
    size_t count; /**< how many; not 0 */
    size_t first; /**< the index of the first */
};

/** Where weir_batch_process() gathers results; what is NULL is not used. */
struct weir_batch_results {
    struct weir_batch *batch; /**< results that are items */
    struct weir_arena *arena; /**< results of any size, or what the items point to */
};

/**
 * Prepare an empty batch over @pool. Allocates nothing yet. The struct may be moved.
 *
 * @batch        the caller's storage, any content
 * @pool         must outlive the batch
 * @item_bytes   size of an item, not 0; each item takes this rounded up to @align_bytes
 * @align_bytes  a power of two, at most 4096
 * @options      NULL or zeroed: the defaults
 * Returns       0; -EINVAL a size or the plan is out of its bounds; -EOVERFLOW a batch would be
 *               larger than memory. On an error the batch is zeroed.
 */
WEIR_API int weir_batch_init(struct weir_batch *batch, struct weir_pool *pool, size_t item_bytes,
                             size_t align_bytes, const struct weir_batch_options *options);

/** Give all memory back and zero the batch. Takes a zeroed one. */
WEIR_API void weir_batch_fini(struct weir_batch *batch);

/**
 * Add an item at the end and let the caller write it.
 *
 * @ret         written on success only: the item, contents unspecified
 * Returns      0, -ENOMEM, -ENOBUFS, -EOVERFLOW. The item's index is the count from before.
 * Valid until  truncated away, reset or fini.
 * Cost         inline: a comparison and two additions; where a batch is full, a planned step.
 */
WEIR_INLINE int weir_batch_add(struct weir_batch *batch, void **ret);

/** Add a copy of the item_bytes at @item. Returns as weir_batch_add(). */
WEIR_INLINE int weir_batch_append(struct weir_batch *batch, const void *item);

/**
 * Add as many items as lie side by side, at least one and at most @count_max, and let the caller
 * write them. A loop of it fills several batches by whole arrays.
 *
 * @count_max   not 0 (asserted)
 * @ret         written on success only
 * Returns      as weir_batch_add().
 */
WEIR_API int weir_batch_add_span(struct weir_batch *batch, size_t count_max,
                                 struct weir_batch_span *ret);

/**
 * Add copies of @count items that lie side by side at @items, weir_batch_stride_bytes() apart: all
 * of them, or on an error none. Returns as weir_batch_add().
 *
 * @items       may lie in this very batch
 */
WEIR_API int weir_batch_append_all(struct weir_batch *batch, const void *items, size_t count);

/**
 * Make sure that @count more items can be added without an error and without allocating.
 *
 * Returns      0; -ENOBUFS also where the limit leaves less than @count.
 */
WEIR_API int weir_batch_reserve(struct weir_batch *batch, size_t count);

/** The item at @index; NULL if there is none. Valid as weir_batch_add(). Cost: inline, O(1). */
WEIR_INLINE void *weir_batch_get(const struct weir_batch *batch, size_t index);

/** The items of the @number-th batch, below weir_batch_batches() (asserted). Cost: inline, O(1). */
WEIR_INLINE struct weir_batch_span weir_batch_span(const struct weir_batch *batch, size_t number);

/**
 * Call @process with each batch's items at once, in order, and gather what it makes of them.
 *
 * @process  takes a span and puts what it makes into results->batch and results->arena by their
 *           own functions; returns 0 to go on, or a negative errno, which ends it. It may change
 *           the items of the span and add items to @batch, which are not visited; it may not
 *           truncate it.
 * @results  handed to @process as it is; NULL: there are no results to gather. results->batch may
 *           be @batch itself.
 * @context  handed to @process; the caller's
 * Returns   0, or what @process returned: then results->batch is truncated to what it had before
 *           the call and results->arena rewound, so that there are all results or none.
 */
WEIR_API int weir_batch_process(struct weir_batch *batch,
                                int (*process)(const struct weir_batch_span *span,
                                               const struct weir_batch_results *results,
                                               void *context),
                                const struct weir_batch_results *results, void *context);

/** Remove all items but the first @count (asserted to be there), keeping the memory. */
WEIR_API void weir_batch_truncate(struct weir_batch *batch, size_t count);

/** Remove all items, keeping the memory. */
WEIR_INLINE void weir_batch_reset(struct weir_batch *batch);

/** Items. */
WEIR_INLINE size_t weir_batch_count(const struct weir_batch *batch);

/** Batches that have items. */
WEIR_INLINE size_t weir_batch_batches(const struct weir_batch *batch);

/** Items that there is memory for and the limit allows, those that are there included. */
WEIR_INLINE size_t weir_batch_capacity(const struct weir_batch *batch);

/** Items per batch, a power of two. */
WEIR_INLINE size_t weir_batch_batch_items(const struct weir_batch *batch);

/** Bytes from one item of a batch to the next. */
WEIR_INLINE size_t weir_batch_stride_bytes(const struct weir_batch *batch);

/** Bytes that the items take. */
WEIR_INLINE size_t weir_batch_used_bytes(const struct weir_batch *batch);

/** Bytes of the blocks that are held from the pool, the table's included. */
WEIR_INLINE size_t weir_batch_held_bytes(const struct weir_batch *batch);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: the cold half of weir_batch_add(). */
WEIR_API int weir_batch_add_slow(struct weir_batch *batch, void **ret);

WEIR_INLINE int weir_batch_add(struct weir_batch *batch, void **ret)
{
    uint8_t *item = batch->cursor;
    if (WEIR_UNLIKELY(item == batch->end))
        return weir_batch_add_slow(batch, ret);
    batch->cursor = item + batch->stride_bytes;
    batch->count++;
    *ret = item;
    return 0;
}

WEIR_INLINE int weir_batch_append(struct weir_batch *batch, const void *item)
{
    void *at;
    int rc = weir_batch_add(batch, &at);
    if (WEIR_LIKELY(rc == 0))
        memcpy(at, item, batch->item_bytes);
    return rc;
}

WEIR_INLINE void *weir_batch_get(const struct weir_batch *batch, size_t index)
{
    if (WEIR_UNLIKELY(index >= batch->count))
        return NULL;
    size_t within = index & (((size_t)1 << batch->shift) - 1);
    return batch->table[index >> batch->shift].items + within * batch->stride_bytes;
}

WEIR_INLINE struct weir_batch_span weir_batch_span(const struct weir_batch *batch, size_t number)
{
    assert(number < weir_batch_batches(batch));
    size_t batch_items = (size_t)1 << batch->shift;
    size_t first = number << batch->shift;
    size_t left = batch->count - first;
    struct weir_batch_span span = {batch->table[number].items,
                                   left < batch_items ? left : batch_items, first};
    return span;
}

WEIR_INLINE void weir_batch_reset(struct weir_batch *batch)
{
    weir_batch_truncate(batch, 0);
}

WEIR_INLINE size_t weir_batch_count(const struct weir_batch *batch)
{
    return batch->count;
}

WEIR_INLINE size_t weir_batch_batches(const struct weir_batch *batch)
{
    size_t full = batch->count >> batch->shift;
    return full + ((batch->count & (((size_t)1 << batch->shift) - 1)) != 0);
}

WEIR_INLINE size_t weir_batch_capacity(const struct weir_batch *batch)
{
    size_t capacity = batch->batches << batch->shift;
    size_t limit = batch->growth.limit;
    return limit != 0 && limit < capacity ? limit : capacity;
}

WEIR_INLINE size_t weir_batch_batch_items(const struct weir_batch *batch)
{
    return (size_t)1 << batch->shift;
}

WEIR_INLINE size_t weir_batch_stride_bytes(const struct weir_batch *batch)
{
    return batch->stride_bytes;
}

WEIR_INLINE size_t weir_batch_used_bytes(const struct weir_batch *batch)
{
    return batch->count * batch->stride_bytes;
}

WEIR_INLINE size_t weir_batch_held_bytes(const struct weir_batch *batch)
{
    return batch->held_bytes;
}

WEIR_END_DECLS

#endif /* WEIR_BATCH_H */
