/* SPDX-License-Identifier: MIT */
/**
 * slice: bytes that somebody owns, a view plus a reference on the block it lies in.
 *
 * Where a view is borrowed for the length of a call, a slice is kept: as long as it is held, the
 * bytes stay where they are. Holding and dropping move no bytes.
 *
 *     struct weir_slice body;
 *     if (weir_slice_sub(message, 4, message.view.size - 4, &body) == 0) {   // holds
 *         queue_push(&work, body);
 *         ...
 *         weir_slice_drop(&body);
 *     }
 *
 * Invariants   block == NULL: the bytes belong to nobody (literals, memory of the caller's that
 *              outlives every use) and hold/drop do nothing. Otherwise view lies within the block
 *              and the slice counts as one reference on it.
 * Threads      a slice may be handed to another thread and dropped there; see pool.h.
 */
#ifndef WEIR_SLICE_H
#define WEIR_SLICE_H

#include <weir/pool.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/** Owned bytes. Zeroed, it is an empty slice that owns nothing. */
struct weir_slice {
    struct weir_view view;
    struct weir_block *block; /**< whose reference the slice counts as; NULL: nobody's */
};

/**
 * A slice over @view that takes over one reference on @block from the caller.
 *
 * Ownership  the reference passes to the slice; use weir_block_hold() first to keep one.
 */
WEIR_INLINE struct weir_slice weir_slice_adopt(struct weir_view view, struct weir_block *block);

/** A second holder of the same bytes. Drop both. Cost: one atomic increment. */
WEIR_INLINE struct weir_slice weir_slice_hold(const struct weir_slice *slice);

/**
 * Part of a slice as a slice of its own: @size bytes from @offset.
 *
 * @ret      written on success only; holds a reference of its own
 * Returns   0; -EOVERFLOW the part does not lie within @slice.
 */
WEIR_INLINE int weir_slice_sub(const struct weir_slice *slice, size_t offset, size_t size,
                               struct weir_slice *ret);

/** Drop the reference and zero the slice. Dropping a zeroed slice does nothing. */
WEIR_INLINE void weir_slice_drop(struct weir_slice *slice);

/** Order of the bytes of two slices, as weir_view_compare(). Who holds them does not matter. */
WEIR_INLINE int weir_slice_compare(const struct weir_slice *a, const struct weir_slice *b);

/** Whether two slices have the same bytes. */
WEIR_INLINE bool weir_slice_equal(const struct weir_slice *a, const struct weir_slice *b);

/** The hash of the bytes: weir_view_hash() of the view, and so weir_chain_hash() of a chain. */
WEIR_INLINE uint64_t weir_slice_hash(const struct weir_slice *slice, uint64_t seed);

/**
 * Bytes of memory that the slice keeps from being used again: its block's, whatever part it views.
 *
 * Other holders may keep the same block. 0 for a slice that nobody owns. What a slice wastes is
 * this less its view's size.
 */
WEIR_INLINE size_t weir_slice_pinned_bytes(const struct weir_slice *slice);

/**
 * Move a small slice out of a large block: copy its bytes into a block of their own and drop the
 * reference on the old one, if that lets go of at least @threshold_bytes.
 *
 * For a few bytes that are kept for long after the message that they came with: "this 40-byte view
 * pins 64 KiB". The old block is free only when its other holders let go of it, too.
 *
 * @slice            that nobody owns: left alone; empty: it lets go of its block, if that pays
 * @pool             where the new block comes from; may be the old block's or another one
 * @threshold_bytes  what the new block must be smaller by, at least; 0 is treated as 1
 * Returns           the bytes copied, 0 if it does not pay (the slice is untouched and valid);
 *                   -ENOMEM, -ENOBUFS as weir_pool_alloc(): untouched, too.
 * Valid until       views of the old bytes die with the old block; take slice->view anew.
 * Threads           the owner of @pool.
 * Cost              one block, one copy: count it where copies are counted.
 */
WEIR_NODISCARD WEIR_API int64_t weir_slice_compact(struct weir_slice *slice, struct weir_pool *pool,
                                                   size_t threshold_bytes);

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE struct weir_slice weir_slice_adopt(struct weir_view view, struct weir_block *block)
{
    struct weir_slice slice = {view, block};
    return slice;
}

WEIR_INLINE struct weir_slice weir_slice_hold(const struct weir_slice *slice)
{
    return weir_slice_adopt(slice->view, slice->block ? weir_block_hold(slice->block) : NULL);
}

WEIR_INLINE int weir_slice_sub(const struct weir_slice *slice, size_t offset, size_t size,
                               struct weir_slice *ret)
{
    struct weir_view part;
    int rc = weir_view_slice(slice->view, offset, size, &part);
    if (rc == 0)
        *ret = weir_slice_adopt(part, slice->block ? weir_block_hold(slice->block) : NULL);
    return rc;
}

WEIR_INLINE void weir_slice_drop(struct weir_slice *slice)
{
    struct weir_block *block = slice->block;
    struct weir_slice none = {{NULL, 0}, NULL};
    *slice = none;
    weir_block_drop(block);
}

WEIR_INLINE int weir_slice_compare(const struct weir_slice *a, const struct weir_slice *b)
{
    return weir_view_compare(a->view, b->view);
}

WEIR_INLINE bool weir_slice_equal(const struct weir_slice *a, const struct weir_slice *b)
{
    return weir_view_equal(a->view, b->view);
}

WEIR_INLINE uint64_t weir_slice_hash(const struct weir_slice *slice, uint64_t seed)
{
    return weir_view_hash(slice->view, seed);
}

WEIR_INLINE size_t weir_slice_pinned_bytes(const struct weir_slice *slice)
{
    return slice->block != NULL ? slice->block->size : 0;
}

WEIR_END_DECLS

#endif /* WEIR_SLICE_H */
