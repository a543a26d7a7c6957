/* SPDX-License-Identifier: MIT */
/**
 * buf: append-only bytes in segments that never move.
 *
 * Bytes are written once, where they will be sent from. Segments are pool blocks, or foreign
 * slices linked in without a copy. What was appended stays at its address until it is consumed
 * from the front or the buffer is reset, and even then for as long as somebody holds a slice of it.
 *
 *     struct weir_buf buf;
 *     weir_buf_init(&buf, pool, NULL);
 *     uint8_t *at;
 *     int rc = weir_buf_reserve(&buf, 512, &at);       // room for 512 contiguous bytes
 *     size_t n = render(at, 512);
 *     weir_buf_commit(&buf, n);                        // n of them are the buffer's now
 *     struct iovec iov[8];
 *     unsigned count = weir_buf_iovecs(&buf, 0, iov, NULL, 8);   // for writev(2), sendmsg(2)
 *     weir_buf_consume(&buf, sent);                    // the front is done with
 *     weir_buf_fini(&buf);
 *
 * Messages     weir_buf_begin() starts a message and weir_buf_end() ends it; what lies between is
 *              one contiguous view, unless slices are linked into it: then it is a chain. A message
 *              that outgrows its segment is moved once to a larger one, before anybody has seen it,
 *              and the move is counted in bytes_copied; a size hint avoids that. weir_buf_cancel()
 *              forgets the message: the buffer is as before.
 * Headers      What is known only at the end, a length prefix say, is put before the body without
 *              moving it: weir_buf_set_headroom() keeps room in front of each message, and
 *              weir_buf_prepend() takes of it. What is not taken is no part of the message.
 * Handing over What is in the buffer leaves it as slices, which outlive it, without a copy:
 *              weir_buf_split() the front, weir_buf_sub() any part, weir_buf_freeze() all of it.
 * Invariants   Segments are in order; their sizes add up to weir_buf_size(). Only the last segment
 *              is written to, and only past its committed end. Views handed out never move.
 * Bounds       limit_bytes bounds the bytes in the buffer, message_limit_bytes those of a message,
 *              messages_max the list of messages; at a limit -ENOBUFS, nothing changed.
 * Overlap      What is appended may lie in this very buffer, even where it is appended to: the
 *              bytes are taken as they were before the call.
 * Threads      one writer, the owner of the pool. Slices taken from it may be dropped anywhere.
 * Errors       0 or -ENOMEM the source failed, -ENOBUFS a limit is reached, -EOVERFLOW a size.
 */
#ifndef WEIR_BUF_H
#define WEIR_BUF_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <weir/base.h>
#include <weir/chain.h>
#include <weir/growth.h>
#include <weir/pool.h>
#include <weir/slice.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/** How a buffer grows. Zeroed: the defaults, which give way to what is set. */
struct weir_buf_options {
    size_t initial_bytes;     /**< first segment; 0: 4096 */
    size_t segment_max_bytes; /**< largest planned segment (a reserve may need more); 0: 64 Ki */
    size_t limit_bytes;       /**< most bytes in the buffer at a time; 0: no limit */
    /** weir_buf_append_slice() copies slices smaller than this and links the rest; 0: 4096, where
     * a copy began to cost more than two more iovecs (weir-bench --filter bytes). */
    size_t link_min_bytes;
    size_t message_limit_bytes; /**< most bytes of a message, its header included; 0: no limit */
    size_t headroom_bytes;      /**< see weir_buf_set_headroom(); 0: none */
    /** Next segment in percent of the last one, 100..1000; 0: 150, which moved messages grow by. */
    uint32_t growth_percent;
    /** Keep a list of the messages in the buffer, of at most so many, see weir_buf_message(). 0: no
     * list, which costs nothing; else 24 bytes of the pool for each. */
    uint32_t messages_max;
};

/** One stretch of bytes. Private. */
struct weir_buf_segment {
    uint8_t *data;            /* first byte that is not consumed; only written to by the buffer */
    size_t size;              /* bytes from there on; of the open segment up to the buffer's open */
    struct weir_block *block; /* held; NULL: linked bytes that belong to nobody */
};

#define WEIR_BUF_INLINE_SEGMENTS 4

/** The caller's storage for a buffer. Zeroed, weir_buf_fini() takes it. Fields are private. */
struct weir_buf {
    uint8_t *pos;     /* next byte to write, in the last segment; NULL: none is open */
    uint8_t *end;     /* one past the last byte that block and limit let us write */
    uint8_t *open;    /* first byte not yet accounted for in the last segment's size */
    uint8_t *message; /* what may still move of the message that is begun; NULL: none is */
    /* Set: who begins and ends messages inline, as pack does, has to call weir_buf_begin() and
     * weir_buf_end() instead, which have more to do. */
    bool slow_messages;
    /* That weir_buf_link_here() may still make: entries and references are set aside for them. */
    uint32_t links_left;
    struct weir_buf_segment *last; /* entry, while there are such links */
    struct weir_block *linked;     /* last; without an entry over it, it may be gone */
    uint32_t linked_refs;          /* to spare on that block, besides those of the entries */
    struct weir_pool *pool;
    struct weir_buf_segment *segments; /* inline_segments, or in table */
    uint32_t first;                    /* index of the first live segment */
    uint32_t count;                    /* live segments, the open one included */
    uint32_t capacity;
    struct weir_block *table;  /* memory of segments once the inline ones are too few */
    size_t settled_bytes;      /* live bytes but for those between open and pos */
    size_t next_bytes;         /* size of the next planned segment */
    struct weir_growth growth; /* of segments, in bytes; its limit is limit_bytes */
    size_t link_min_bytes;
    uint64_t bytes_copied; /* see weir_buf_bytes_copied() */
    /* The first error of the packer that writes the message, and where; only where there is one. */
    int message_error;
    size_t message_error_offset;
    size_t headroom_bytes; /* that messages are begun with */
    size_t headroom_left;  /* in front of the message that is begun */
    uint32_t spare_refs;   /* on the open segment's block, besides those of the entries */
    uint32_t spare_taken;  /* the same, and those that entries got of them */
    uint32_t linked_taken; /* the same of linked_refs */
    bool mixed;            /* set: entries may hold other references than those */
    size_t header_bytes;   /* that were put before the message that is begun */
    size_t message_limit_bytes;
    size_t message_fixed; /* bytes of the message before what may move: linked, and before it */
    /* Of the live segment that it begins in, if there are such bytes, and headroom or a header. */
    uint32_t message_index;
    uint32_t messages_max;     /* of the list; 0: there is none */
    uint32_t messages_first;   /* entry of the first one */
    uint32_t messages_count;   /* that are whole in the buffer */
    struct weir_block *listed; /* memory of the list */
    uint64_t consumed_bytes;   /* from the front since init or reset */
    struct weir_buf_segment inline_segments[WEIR_BUF_INLINE_SEGMENTS];
};

/**
 * Prepare a buffer over @pool. Allocates nothing yet.
 *
 * @buf      the caller's storage, any content; must not be moved afterwards
 * @pool     must outlive the buffer
 * @options  NULL or zeroed: the defaults
 * Returns   0; -EINVAL growth_percent is out of range or initial_bytes above segment_max_bytes: the
 *           buffer is zeroed then.
 */
WEIR_API int weir_buf_init(struct weir_buf *buf, struct weir_pool *pool,
                           const struct weir_buf_options *options);

/** Drop all segments and zero the buffer. Slices taken from it stay valid. Takes a zeroed one. */
WEIR_API void weir_buf_fini(struct weir_buf *buf);

/**
 * Reserve @size_bytes contiguous writable bytes at the tail.
 *
 * To be followed by weir_buf_commit(); reserving again without a commit gives the same place.
 *
 * @size_bytes  any; 0 gives a pointer that may not be written through
 * @ret         written on success only
 * Returns      0, -ENOMEM, -ENOBUFS, -EOVERFLOW; on an error the buffer is as before.
 * Valid until  the next call that appends, weir_buf_consume() of everything, reset or fini.
 * Cost         inline: a comparison; may take one pool block. Within a message that outgrows its
 *              segment the message so far is moved and counted.
 */
WEIR_INLINE int weir_buf_reserve(struct weir_buf *buf, size_t size_bytes, uint8_t **ret);

/** Contiguous bytes that a reserve would give right now at no cost. */
WEIR_INLINE size_t weir_buf_room_bytes(const struct weir_buf *buf);

/** Append the first @size_bytes of what was reserved (asserted to be that much). */
WEIR_INLINE void weir_buf_commit(struct weir_buf *buf, size_t size_bytes);

/**
 * Append a copy of @bytes (which may lie in this very buffer), counted in bytes_copied.
 *
 * The copy is contiguous. Returns as weir_buf_reserve(). Nothing is counted on an error.
 */
WEIR_API int weir_buf_append(struct weir_buf *buf, struct weir_view bytes);

/**
 * Append the bytes of @slice: linked with a reference of the buffer's own, or copied when there
 * are fewer than link_min_bytes (a small copy is cheaper than one more iovec).
 *
 * @slice     stays the caller's
 * Returns    0, -ENOMEM, -ENOBUFS, -EOVERFLOW; on an error the buffer is as before.
 * Messages   one that bytes are linked into is in pieces, see weir_buf_end(); what was appended to
 *            it before no longer moves.
 */
WEIR_API int weir_buf_append_slice(struct weir_buf *buf, const struct weir_slice *slice);

/**
 * Append bytes that may stay in the buffer for long: as weir_buf_append_slice(), but copied also
 * where they are small against the block that they would pin, see weir_slice_is_small().
 */
WEIR_API int weir_buf_keep(struct weir_buf *buf, const struct weir_slice *slice);

/**
 * Append the bytes of a chain, each slice as weir_buf_append_slice(): all of them, or nothing.
 *
 * @chain     stays the caller's
 */
WEIR_API int weir_buf_append_chain(struct weir_buf *buf, const struct weir_chain *chain);

/**
 * Begin a message: everything appended until weir_buf_end() is contiguous, unless it is linked.
 *
 * @hint_bytes  expected size without a header, 0 if unknown; a message within its hint is never
 *              moved
 * Returns      0, -ENOMEM, -ENOBUFS (limit_bytes or message_limit_bytes leaves less than the hint
 *              and the headroom, or there are messages_max messages), -EOVERFLOW; on an error the
 *              buffer is as before.
 * Not          while another message is begun (asserted).
 */
WEIR_API int weir_buf_begin(struct weir_buf *buf, size_t hint_bytes);

/**
 * Keep @headroom_bytes free in front of each message that is begun from now on, a packer's too.
 *
 *     weir_buf_set_headroom(&buf, 4);
 *     weir_pack_begin(&p, &buf, 0);
 *     ...
 *     size_t body = weir_pack_offset(&p);
 *     if (weir_buf_prepend(&buf, 4, &at) == 0)
 *         weir_wire_store32(at, (uint32_t)body);
 *     weir_pack_end(&p, &frame);                       // prefix and body
 *
 * @headroom_bytes  0: none. Counts against both limits from the message's begin to its end.
 */
WEIR_API void weir_buf_set_headroom(struct weir_buf *buf, size_t headroom_bytes);

/**
 * Put @size_bytes before the first byte of the message that is begun.
 *
 * May be done several times, each goes before the one before.
 *
 * @ret         written on success only: where to write them. Until then they are undefined.
 * Returns      0; -ENOBUFS less headroom is left, -EINVAL no message is begun (a packer's begin
 *              that failed says so only at its end): nothing changed.
 * Valid until  the next call that appends, cancel or end: write them at once.
 */
WEIR_API int weir_buf_prepend(struct weir_buf *buf, size_t size_bytes, uint8_t **ret);

/**
 * Bytes of the message that is begun (asserted), its header included; not those that a packer has
 * yet to hand over, which keeps its own position: weir_pack_offset().
 */
WEIR_INLINE size_t weir_buf_message_bytes(const struct weir_buf *buf);

/**
 * End the message.
 *
 * @ret         NULL, or receives the message's bytes. One in pieces, since slices were linked into
 *              it, has no view: data is NULL and size 0. See weir_buf_end_chain().
 * Valid until  the bytes are consumed, reset, fini; longer for holders, see weir_buf_slice_of().
 */
WEIR_API void weir_buf_end(struct weir_buf *buf, struct weir_view *ret);

/**
 * End the message and append it to a chain, in as many slices as it has pieces.
 *
 * @ret      an initialised chain; it holds what it gets, which stays in the buffer nevertheless
 * Returns   0; -ENOMEM, -ENOBUFS, -EOVERFLOW of the chain: the message is still begun.
 */
WEIR_API int weir_buf_end_chain(struct weir_buf *buf, struct weir_chain *ret);

/** Forget the message that is begun; the buffer is as it was before weir_buf_begin(). */
WEIR_API void weir_buf_cancel(struct weir_buf *buf);

/**
 * The number of messages in the list: those that are whole in the buffer, the oldest first. A
 * message leaves the list when the first of its bytes is consumed or split off.
 *
 * 0 where the options said no messages_max.
 */
WEIR_INLINE uint32_t weir_buf_message_count(const struct weir_buf *buf);

/**
 * One of the messages in the list.
 *
 * @index       0..weir_buf_message_count() - 1 (asserted)
 * @ret         its bytes; data NULL and size 0 for one in pieces, see weir_buf_message_chain()
 * Valid until  as the view that weir_buf_end() gave.     Cost  none.
 */
WEIR_API void weir_buf_message(const struct weir_buf *buf, uint32_t index, struct weir_view *ret);

/** The same, appended to a chain. Returns as weir_buf_sub(). */
WEIR_API int weir_buf_message_chain(const struct weir_buf *buf, uint32_t index,
                                    struct weir_chain *ret);

/** Bytes in the buffer: appended and not consumed, an unfinished message included. */
WEIR_INLINE size_t weir_buf_size(const struct weir_buf *buf);

/**
 * Export a range as iovecs, for writev(2) and sendmsg(2). Ranges that touch in memory are one.
 *
 * @offset_bytes  where to start, counted from the front; 0..weir_buf_size()
 * @iov           receives up to @iov_max entries
 * @blocks        NULL, or receives for each entry the block it lies in (NULL: nobody's), without
 *                a new reference; entries of several blocks are never joined when it is given
 * @iov_max       entries that fit
 * Returns        the number of entries written; their sizes may cover less than everything.
 * Valid until    as the views: consume, reset or fini. An unfinished message is not exported.
 */
WEIR_API unsigned weir_buf_iovecs(const struct weir_buf *buf, size_t offset_bytes,
                                  struct iovec *iov, struct weir_block **blocks, unsigned iov_max);

/**
 * The same for @size_bytes from @offset_bytes; what is not complete, or not there, is left out.
 *
 * After a short write of a part, go on with as much added to the offset and taken from the size.
 */
WEIR_API unsigned weir_buf_iovecs_part(const struct weir_buf *buf, size_t offset_bytes,
                                       size_t size_bytes, struct iovec *iov,
                                       struct weir_block **blocks, unsigned iov_max);

/**
 * Any part as slices, which outlive the buffer: append @size_bytes from @offset_bytes to a chain.
 *
 * The buffer keeps the bytes, and may go on writing behind them.
 *
 * @ret      an initialised chain, of this or another pool; it gets references of its own
 * Returns   0; -EOVERFLOW the part is not all there, or not complete since it lies in the message
 *           that is begun; -ENOMEM, -ENOBUFS, -EOVERFLOW of the chain: @ret is as before.
 * Cost      the segments up to the part's end; no byte is copied.
 */
WEIR_API int weir_buf_sub(const struct weir_buf *buf, size_t offset_bytes, size_t size_bytes,
                          struct weir_chain *ret);

/**
 * Cut the buffer in two: its first @size_bytes leave it and are appended to a chain.
 *
 * No byte moves, also where the cut goes through a segment: both sides hold it then, and the buffer
 * goes on writing behind its end. To hand them to another buffer: weir_buf_append_chain().
 *
 * Returns   as weir_buf_sub(): on an error buffer and chain are as before.
 * Not       while a message is begun (asserted).
 */
WEIR_API int weir_buf_split(struct weir_buf *buf, size_t size_bytes, struct weir_chain *ret);

/**
 * Empty the buffer into one slice, which outlives it.
 *
 * @ret      written on success only: the segment itself if there is only one, else a block of the
 *           buffer's pool that all of them are gathered in, counted in bytes_copied
 * Returns   0; -ENOMEM, -ENOBUFS: the buffer is as before.
 * Not       while a message is begun (asserted).
 */
WEIR_API int weir_buf_freeze(struct weir_buf *buf, struct weir_slice *ret);

/**
 * A slice of bytes of this buffer, which outlives it.
 *
 * @part     a view into bytes that are in the buffer, within one segment
 * @ret      written on success only; holds a reference of its own
 * Returns   0; -EINVAL @part does not lie within one segment of the buffer, or in the message that
 *           is begun, which may still move or be cancelled.
 * Cost      a search through the segments, the last one first.
 */
WEIR_API int weir_buf_slice_of(const struct weir_buf *buf, struct weir_view part,
                               struct weir_slice *ret);

/**
 * The bytes of the front segment, for working through a buffer from its front.
 *
 * @ret      written if there are any; a slice with a reference of its own
 * Returns   0; -EAGAIN the buffer is empty but for a message that is begun.
 */
WEIR_API int weir_buf_front(const struct weir_buf *buf, struct weir_slice *ret);

/**
 * Remove @size_bytes from the front (asserted to be there). Segments that are used up are given
 * back; the last one is written to again from its start if nobody else holds it.
 *
 * Not       while a message is begun (asserted).
 */
WEIR_API void weir_buf_consume(struct weir_buf *buf, size_t size_bytes);

/**
 * Empty the buffer and keep its newest segment for reuse if nobody else holds it. Segments with
 * other holders are given up to them: nobody's bytes change. A message that is begun is forgotten.
 *
 * Cost      constant where everything lies in one segment, but for slices of one block that are
 *           linked behind it; else a walk over the segments.
 */
WEIR_API void weir_buf_reset(struct weir_buf *buf);

/** Bytes that were copied into the buffer or moved within it since init. */
WEIR_INLINE uint64_t weir_buf_bytes_copied(const struct weir_buf *buf);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: the cold half of weir_buf_reserve(). */
WEIR_API int weir_buf_reserve_slow(struct weir_buf *buf, size_t size_bytes, uint8_t **ret);

/**
 * Private: whether bytes of @block may be linked into the message that is begun by
 * weir_buf_link_here().
 */
WEIR_ALWAYS_INLINE bool weir_buf_may_link(const struct weir_buf *buf,
                                          const struct weir_block *block)
{
    return buf->links_left != 0 &&
           (block == NULL || (block == buf->linked && buf->linked_refs != 0));
}

/**
 * Private: link @slice, of less than 4 GiB, into the message. @pos is behind the last byte written,
 * of which there is one since the last link. No atomic operation, and nothing that can fail.
 */
WEIR_ALWAYS_INLINE void weir_buf_link_here(struct weir_buf *buf, uint8_t *pos,
                                           const struct weir_slice *slice)
{
    struct weir_buf_segment *last = buf->last;
    size_t fresh = (size_t)(pos - buf->open);
    size_t size = slice->view.size;
    struct weir_block *block = slice->block;

    last[0].size += fresh;
    /* The buffer does not write to what it links. */
    last[1].data = (uint8_t *)(uintptr_t)slice->view.data;
    last[1].size = size;
    last[1].block = block;
    last[2].data = pos;
    last[2].size = 0;
    last[2].block = last[0].block;
    buf->last = last + 2;
    buf->count += 2;
    buf->links_left--;
    if (block != NULL)
        buf->linked_refs--;
    buf->message_fixed += (size_t)(pos - buf->message) + size;
    buf->settled_bytes += fresh + size;
    buf->pos = pos;
    buf->open = pos;
    buf->message = pos;
}

/** Private: weir_buf_end() of a message whose last byte is before @pos, and that needs no more. */
WEIR_INLINE void weir_buf_end_here(struct weir_buf *buf, uint8_t *pos, struct weir_view *ret)
{
    if (ret != NULL) {
        ret->data = buf->message_fixed == 0 ? buf->message : NULL;
        ret->size = buf->message_fixed == 0 ? (size_t)(pos - buf->message) : 0;
    }
    buf->pos = pos;
    buf->message = NULL;
    buf->message_fixed = 0;
}

WEIR_INLINE size_t weir_buf_room_bytes(const struct weir_buf *buf)
{
    return (size_t)(buf->end - buf->pos);
}

WEIR_INLINE size_t weir_buf_size(const struct weir_buf *buf)
{
    return buf->settled_bytes + (size_t)(buf->pos - buf->open);
}

WEIR_INLINE int weir_buf_reserve(struct weir_buf *buf, size_t size_bytes, uint8_t **ret)
{
    if (WEIR_UNLIKELY(size_bytes > weir_buf_room_bytes(buf)))
        return weir_buf_reserve_slow(buf, size_bytes, ret);
    *ret = buf->pos;
    return 0;
}

WEIR_INLINE void weir_buf_commit(struct weir_buf *buf, size_t size_bytes)
{
    assert(size_bytes <= weir_buf_room_bytes(buf));
    if (size_bytes != 0)
        buf->pos += size_bytes;
}

WEIR_INLINE size_t weir_buf_message_bytes(const struct weir_buf *buf)
{
    assert(buf->message != NULL);
    return buf->message_fixed + (size_t)(buf->pos - buf->message);
}

WEIR_INLINE uint32_t weir_buf_message_count(const struct weir_buf *buf)
{
    return buf->messages_count;
}

WEIR_INLINE uint64_t weir_buf_bytes_copied(const struct weir_buf *buf)
{
    return buf->bytes_copied;
}

WEIR_END_DECLS

#endif /* WEIR_BUF_H */
