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

WEIR_END_DECLS

#endif /* WEIR_SLICE_H */
