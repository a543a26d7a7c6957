/* SPDX-License-Identifier: MIT */
/**
 * chain: several slices as one run of bytes, a message that straddles receive blocks, say.
 *
 * The bytes stay where they are: a chain holds a reference on each block, and is read across the
 * joints as if there were none. What goes on in memory where the last slice ended is joined to it.
 *
 *     struct weir_chain message;
 *     weir_chain_init(&message, pool);
 *     weir_chain_append(&message, &first);             // holds, does not copy
 *     weir_chain_append(&message, &second);
 *     struct weir_chain_reader reader;
 *     uint8_t head[8];
 *     weir_chain_reader_init(&reader, &message);
 *     if (weir_chain_reader_read(&reader, head, 8) == 0)           // across the joint
 *         while (weir_chain_reader_next(&reader, &piece))          // the rest, where it lies
 *             digest(piece.data, piece.size);
 *     weir_chain_fini(&message);
 *
 * Invariants   No slice is empty, and size_bytes is the sum of their sizes, which never wraps. Two
 *              slices next to each other never touch in memory within one block. Read the fields as
 *              you like; only the functions here write to them.
 * Bounds       -EOVERFLOW where the sizes' sum would wrap; the table of slices comes from the pool,
 *              whose limits hold. Up to four slices need no table.
 * Threads      one at a time. Functions that append are for the owner of the pool; all others, fini
 *              included, may be called by whoever has the chain.
 * Errors       0 or -ENOMEM the source failed, -ENOBUFS the pool's limit is reached, -EOVERFLOW a
 *              size, or a part that does not lie within the chain; -EAGAIN a reader has fewer bytes
 *              left. On an error everything is as before the call.
 */
#ifndef WEIR_CHAIN_H
#define WEIR_CHAIN_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include <weir/base.h>
#include <weir/pool.h>
#include <weir/slice.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

#define WEIR_CHAIN_INLINE_SLICES 4

/** The caller's storage for a chain. Zeroed, weir_chain_fini() takes it. Not to be moved. */
struct weir_chain {
    struct weir_slice *slices; /**< in order, none empty; in inline_slices, or in table */
    uint32_t count;            /**< slices in use */
    uint32_t capacity;         /* entries from slices on */
    size_t size_bytes;         /**< sum of the slices' sizes */
    struct weir_pool *pool;    /* for the table */
    struct weir_block *table;
    struct weir_slice inline_slices[WEIR_CHAIN_INLINE_SLICES];
};

/**
 * Prepare an empty chain. Allocates nothing.
 *
 * @chain    the caller's storage, any content; must not be moved afterwards (weir_chain_move())
 * @pool     where a table of more than four slices comes from; must outlive the chain. The slices
 *           may be of any pool.
 */
WEIR_API void weir_chain_init(struct weir_chain *chain, struct weir_pool *pool);

/** Drop all slices and the table, and zero the chain. Takes a zeroed one. */
WEIR_API void weir_chain_fini(struct weir_chain *chain);

/** Drop all slices; the table is kept for the next ones. */
WEIR_API void weir_chain_reset(struct weir_chain *chain);

/**
 * Give everything that @chain holds to @ret, without touching a reference.
 *
 * @chain    is empty afterwards, over the same pool
 * @ret      the caller's storage, any content (finish what was a chain before), not @chain itself
 */
WEIR_API void weir_chain_move(struct weir_chain *chain, struct weir_chain *ret);

/**
 * Append the bytes of @slice, with a reference of the chain's own.
 *
 * @slice    stays the caller's. Empty: nothing happens. One that begins in memory where the last
 *           slice ends, in the same block (or both nobody's), is joined to it and needs no further
 *           reference.
 * Returns   0; -EOVERFLOW; -ENOMEM, -ENOBUFS no table is to be had.
 * Cost      a reference; now and then a table twice as large.
 */
WEIR_API int weir_chain_append(struct weir_chain *chain, const struct weir_slice *slice);

/**
 * As weir_chain_append(), but the caller's reference passes to the chain.
 *
 * @slice    zeroed on success, empty ones too; on an error untouched and still the caller's
 */
WEIR_API int weir_chain_append_adopt(struct weir_chain *chain, struct weir_slice *slice);

/**
 * Append all slices of @other, with references of the chain's own.
 *
 * @other    stays the caller's; may be @chain itself, whose bytes are there twice then
 * Returns   as weir_chain_append(): all of it, or nothing.
 */
WEIR_API int weir_chain_append_chain(struct weir_chain *chain, const struct weir_chain *other);

/**
 * Part of a chain: append @size_bytes from @offset_bytes of @chain to @ret.
 *
 * @ret      an initialised chain, usually an empty one; may be @chain itself. It gets references of
 *           its own and may outlive @chain.
 * Returns   0; -EOVERFLOW the part does not lie within @chain (any values are safe to pass), or the
 *           sizes' sum; -ENOMEM, -ENOBUFS. All of it, or nothing.
 * Cost      the slices up to the end of the part.
 */
WEIR_API int weir_chain_sub(const struct weir_chain *chain, size_t offset_bytes, size_t size_bytes,
                            struct weir_chain *ret);

/**
 * Remove @size_bytes from the front (asserted to be there) and drop the slices that are used up.
 */
WEIR_API void weir_chain_consume(struct weir_chain *chain, size_t size_bytes);

/** Remove all but the first @size_bytes (asserted to be there) and drop what lies behind them. */
WEIR_API void weir_chain_truncate(struct weir_chain *chain, size_t size_bytes);

/**
 * Export as iovecs, for writev(2) and sendmsg(2); after a short write, from what is left.
 *
 * @offset_bytes  where to start, counted from the front; 0..size_bytes (asserted)
 * @iov           receives up to @iov_max entries; what touches in memory is one
 * Returns        the number of entries written; their sizes may cover less than everything.
 * Valid until    the slices are consumed, reset or finished.
 */
WEIR_API unsigned weir_chain_iovecs(const struct weir_chain *chain, size_t offset_bytes,
                                    struct iovec *iov, unsigned iov_max);

/** The same for @size_bytes from @offset_bytes, or as many as are there. */
WEIR_API unsigned weir_chain_iovecs_part(const struct weir_chain *chain, size_t offset_bytes,
                                         size_t size_bytes, struct iovec *iov, unsigned iov_max);

/**
 * Copy @size_bytes from @offset_bytes to @dst.
 *
 * @dst      room for @size_bytes, none of the chain's own bytes
 * Returns   0; -EOVERFLOW the part does not lie within @chain: nothing was written.
 */
WEIR_API int weir_chain_copy(const struct weir_chain *chain, size_t offset_bytes, void *dst,
                             size_t size_bytes);

/**
 * All bytes in one piece: the slice itself if there is only one, else a block that they are
 * gathered in.
 *
 * @pool     where the block comes from
 * @ret      written on success only; a slice with a reference of its own. Empty for an empty chain.
 * Returns   the bytes copied, to be counted where copies are counted: 0 up to one slice; -ENOMEM,
 *           -ENOBUFS, -EOVERFLOW as weir_pool_alloc().
 * Threads   the owner of @pool.
 */
WEIR_NODISCARD WEIR_API int64_t weir_chain_flatten(const struct weir_chain *chain,
                                                   struct weir_pool *pool, struct weir_slice *ret);

/**
 * Order of two chains: that of their bytes, as weir_view_compare(), wherever they are cut.
 *
 * Returns   a number below, equal to or above 0.
 */
WEIR_API int weir_chain_compare(const struct weir_chain *a, const struct weir_chain *b);

/** The same with a view. */
WEIR_API int weir_chain_compare_view(const struct weir_chain *a, struct weir_view b);

/** Whether two chains have the same bytes, wherever they are cut. */
WEIR_INLINE bool weir_chain_equal(const struct weir_chain *a, const struct weir_chain *b);

/** The same with a view. */
WEIR_INLINE bool weir_chain_equal_view(const struct weir_chain *a, struct weir_view b);

/** The hash of the bytes: weir_view_hash() of the same bytes in one piece. */
WEIR_API uint64_t weir_chain_hash(const struct weir_chain *chain, uint64_t seed);

/* --- reading ------------------------------------------------------------------------------- */

/**
 * A place in a chain, that goes forward. The caller's storage, a value: a copy is a bookmark.
 * Fields are private.
 *
 * Appending to the chain leaves readers valid: they find more. Consuming, truncating before where
 * they are, reset, move and fini end them.
 */
struct weir_chain_reader {
    const struct weir_chain *chain;
    size_t offset_bytes; /* from the chain's front */
    size_t at;           /* the same from the start of the slice; its size: the next one is due */
    uint32_t index;      /* of the slice */
};

/** Read @chain from its front. There is nothing to fini. */
WEIR_INLINE void weir_chain_reader_init(struct weir_chain_reader *reader,
                                        const struct weir_chain *chain);

/** Bytes from the chain's front to where the reader is. */
WEIR_INLINE size_t weir_chain_reader_offset(const struct weir_chain_reader *reader);

/** Bytes from where the reader is to the chain's end. */
WEIR_INLINE size_t weir_chain_reader_remaining(const struct weir_chain_reader *reader);

/**
 * The bytes from here to the next joint, without reading them.
 *
 * Returns      a view that is empty only at the chain's end.
 * Valid until  the slice is consumed or dropped.
 */
WEIR_INLINE struct weir_view weir_chain_reader_piece(const struct weir_chain_reader *reader);

/**
 * Read to the next joint: for loops over all that is left, piece by piece.
 *
 * @ret      written if the result is true; as weir_chain_reader_piece(), and never empty
 * Returns   false: nothing is left.
 */
WEIR_INLINE bool weir_chain_reader_next(struct weir_chain_reader *reader, struct weir_view *ret);

/**
 * Read @size_bytes into @dst, across joints.
 *
 * Returns   0; -EAGAIN fewer are left: nothing was read or written.
 * Cost      inline within a slice.
 */
WEIR_INLINE int weir_chain_reader_read(struct weir_chain_reader *reader, void *dst,
                                       size_t size_bytes);

/**
 * Read @size_bytes in one piece: where they lie if no joint is in the way, else copied together.
 *
 * @scratch  room for @size_bytes, written to only where they lie in several slices
 * @ret      written on success only; into the slice, or @scratch
 * Returns   0; -EAGAIN fewer are left: nothing was read.
 * Cost      inline within a slice. Whether bytes were copied shows in @ret's address.
 */
WEIR_INLINE int weir_chain_reader_take(struct weir_chain_reader *reader, size_t size_bytes,
                                       void *scratch, struct weir_view *ret);

/**
 * Read @size_bytes as slices: append them to @ret.
 *
 * @ret      an initialised chain, not the one that is read; as of weir_chain_sub()
 * Returns   0; -EAGAIN fewer are left; -EOVERFLOW, -ENOMEM, -ENOBUFS: nothing was read.
 */
WEIR_API int weir_chain_reader_sub(struct weir_chain_reader *reader, size_t size_bytes,
                                   struct weir_chain *ret);

/** Go on @size_bytes. Returns 0; -EAGAIN fewer are left: the reader stays. */
WEIR_INLINE int weir_chain_reader_skip(struct weir_chain_reader *reader, size_t size_bytes);

/* What the inline bodies call where a joint is in the way. @size_bytes are left. */
WEIR_API void weir_chain_reader_skip_slow(struct weir_chain_reader *reader, size_t size_bytes);
WEIR_API void weir_chain_reader_read_slow(struct weir_chain_reader *reader, void *dst,
                                          size_t size_bytes);

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE bool weir_chain_equal(const struct weir_chain *a, const struct weir_chain *b)
{
    return a->size_bytes == b->size_bytes && weir_chain_compare(a, b) == 0;
}

WEIR_INLINE bool weir_chain_equal_view(const struct weir_chain *a, struct weir_view b)
{
    return a->size_bytes == b.size && weir_chain_compare_view(a, b) == 0;
}

WEIR_INLINE void weir_chain_reader_init(struct weir_chain_reader *reader,
                                        const struct weir_chain *chain)
{
    struct weir_chain_reader front = {chain, 0, 0, 0};
    *reader = front;
}

WEIR_INLINE size_t weir_chain_reader_offset(const struct weir_chain_reader *reader)
{
    return reader->offset_bytes;
}

WEIR_INLINE size_t weir_chain_reader_remaining(const struct weir_chain_reader *reader)
{
    return reader->chain->size_bytes - reader->offset_bytes;
}

WEIR_INLINE struct weir_view weir_chain_reader_piece(const struct weir_chain_reader *reader)
{
    const struct weir_chain *chain = reader->chain;
    struct weir_view none = {NULL, 0};

    if (WEIR_UNLIKELY(reader->index >= chain->count))
        return none;
    struct weir_view view = chain->slices[reader->index].view;
    if (WEIR_LIKELY(reader->at < view.size))
        return weir_view_of(view.data + reader->at, view.size - reader->at);
    return reader->index + 1 < chain->count ? chain->slices[reader->index + 1].view : none;
}

WEIR_INLINE int weir_chain_reader_skip(struct weir_chain_reader *reader, size_t size_bytes)
{
    const struct weir_chain *chain = reader->chain;

    if (size_bytes > chain->size_bytes - reader->offset_bytes)
        return -EAGAIN;
    if (WEIR_LIKELY(reader->index < chain->count &&
                    size_bytes <= chain->slices[reader->index].view.size - reader->at)) {
        reader->at += size_bytes;
        reader->offset_bytes += size_bytes;
        return 0;
    }
    weir_chain_reader_skip_slow(reader, size_bytes);
    return 0;
}

WEIR_INLINE bool weir_chain_reader_next(struct weir_chain_reader *reader, struct weir_view *ret)
{
    struct weir_view piece = weir_chain_reader_piece(reader);

    if (piece.size == 0)
        return false;
    (void)weir_chain_reader_skip(reader, piece.size);
    *ret = piece;
    return true;
}

WEIR_INLINE int weir_chain_reader_read(struct weir_chain_reader *reader, void *dst,
                                       size_t size_bytes)
{
    struct weir_view piece = weir_chain_reader_piece(reader);

    if (WEIR_LIKELY(size_bytes <= piece.size)) {
        if (size_bytes != 0)
            memcpy(dst, piece.data, size_bytes);
        return weir_chain_reader_skip(reader, size_bytes);
    }
    if (size_bytes > weir_chain_reader_remaining(reader))
        return -EAGAIN;
    weir_chain_reader_read_slow(reader, dst, size_bytes);
    return 0;
}

WEIR_INLINE int weir_chain_reader_take(struct weir_chain_reader *reader, size_t size_bytes,
                                       void *scratch, struct weir_view *ret)
{
    struct weir_view piece = weir_chain_reader_piece(reader);

    if (WEIR_LIKELY(size_bytes <= piece.size)) {
        *ret = weir_view_of(piece.data, size_bytes);
        return weir_chain_reader_skip(reader, size_bytes);
    }
    if (size_bytes > weir_chain_reader_remaining(reader))
        return -EAGAIN;
    weir_chain_reader_read_slow(reader, scratch, size_bytes);
    *ret = weir_view_of(scratch, size_bytes);
    return 0;
}

WEIR_END_DECLS

#endif /* WEIR_CHAIN_H */
