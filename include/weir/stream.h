/* SPDX-License-Identifier: MIT */
/**
 * stream: where messages begin and end in a flow of received slices.
 *
 * Slices go in as they were received, cut anywhere; whole MessagePack values come out. A value
 * that lies within one slice comes out as a slice of it, without a copy. One that straddles slices
 * is gathered into a block of its own, and the copied bytes are counted. Every byte is looked at
 * once, however finely the flow is cut.
 *
 *     struct weir_stream stream;
 *     weir_stream_init(&stream, pool, NULL);
 *     ...on each received slice:
 *     struct weir_slice message;
 *     int rc;
 *     weir_stream_feed(&stream, &slice);
 *     while ((rc = weir_stream_next(&stream, &message)) == 0) {
 *         handle(message.view);
 *         weir_slice_drop(&message);
 *     }
 *     if (rc != -EAGAIN)
 *         refuse(weir_stream_fault(&stream));
 *     weir_stream_fini(&stream);
 *
 * Messages     A message is one whole value without the reserved byte 0xc1 in it and within the
 *              limits. Its depth is not looked at (see weir_check()), nor what its strings contain.
 *              Or, by framing, any bytes behind their length.
 * Three ways   to take messages out, one of them at a time; who has begun a message goes on with
 *              it: weir_stream_next() in one piece, gathered where it straddles;
 *              weir_stream_next_chain() as a chain of what was received, never gathered;
 *              weir_stream_next_part() with large payloads in fragments as they arrive.
 * Bounds       A message that is larger than the limits is refused as soon as its heads announce
 *              it, before memory is taken for it. Memory for gathering follows the bytes that have
 *              come, not what they announce: at most 4 KiB or sixteen times as much.
 * Errors       -EAGAIN more input is needed; -EBADMSG malformed and -EMSGSIZE above a limit are
 *              sticky; -ENOMEM and -ENOBUFS come from the pool when a message is to be gathered:
 *              nothing is lost, calling again tries again.
 * Threads      one thread, the owner of the pool.
 */
#ifndef WEIR_STREAM_H
#define WEIR_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/chain.h>
#include <weir/slice.h>
#include <weir/unpack.h>

WEIR_BEGIN_DECLS

/** The largest message a stream takes where weir_limits.bytes is 0. */
#define WEIR_STREAM_BYTES_DEFAULT ((uint64_t)64 << 20)

/** How messages are told apart. */
enum weir_framing {
    WEIR_FRAMING_VALUES,  /**< each MessagePack value is a message */
    WEIR_FRAMING_LENGTH32 /**< any bytes behind their number, 4 bytes big-endian */
};

/** What a stream did. */
struct weir_stream_stats {
    uint64_t messages;     /**< handed out whole, or to their last part */
    uint64_t bytes;        /**< of these, without the length that framing puts before them */
    uint64_t gathered;     /**< messages and parts that straddled slices and were gathered */
    uint64_t bytes_copied; /**< by gathering them, and small pieces into a chain */
};

/** What a part of a message is. */
enum weir_part {
    WEIR_PART_WHOLE,    /**< a message without a large payload */
    WEIR_PART_HEAD,     /**< what stands before a large payload, its head included */
    WEIR_PART_FRAGMENT, /**< bytes of the payload */
    WEIR_PART_TAIL      /**< what stands behind the last large payload: the message is complete */
};

/** A part of a message, see weir_stream_next_part(). */
struct weir_stream_part {
    enum weir_part kind;
    struct weir_slice bytes; /**< the caller's to drop; may be empty, a fragment is not */
    uint64_t payload_left;   /**< bytes of the payload that follow; 0 where none is begun */
};

/** Private: see lib/stream_shape.h. */
#define WEIR_STREAM_SHAPE_LANE 16
#define WEIR_STREAM_SHAPE_LANES 10
#define WEIR_STREAM_SHAPE_RUNS 12

/** Private: tags at fixed places, and how far it is from the first to what follows the last. */
struct weir_stream_shape_run {
    uint8_t lane_bytes; /* of the message that are compared */
    uint8_t bytes;      /* to the next run, or to the joint between them */
    uint8_t room;       /* bytes that are looked at, without the joint's payload */
    bool joint;         /* a value follows whose size its own head tells */
};

/** Private: how the messages of a flow are alike. */
struct weir_stream_shape {
    uint8_t
        lanes[2 * WEIR_STREAM_SHAPE_LANES * WEIR_STREAM_SHAPE_LANE]; /* masks and tags, in turn */
    struct weir_stream_shape_run runs[WEIR_STREAM_SHAPE_RUNS];
    uint32_t run_count; /* 0: none is known */
    uint32_t patience;  /* misses after which another one is learnt */
    uint32_t hits;      /* messages that had it */
    uint32_t misses;    /* that had not */
    uint64_t values;    /* that it is of */
    uint64_t to_come;   /* values behind these */
};

/** The caller's storage for a stream. Zeroed, weir_stream_fini() takes it. Fields are private. */
struct weir_stream {
    struct weir_pool *pool;
    struct weir_slice input;   /* what is not handed out yet of the slice that was fed last */
    uint32_t spare_refs;       /* references on its block, besides input's own */
    struct weir_block *lent;   /* what the view that was handed out last lies in, if it is held for
                                  that view alone */
    struct weir_block *gather; /* a straddling message so far; NULL: it starts where input does */
    size_t gathered;           /* bytes of the message in it */
    size_t scanned;            /* message's start to its next head; may be in the future */
    uint64_t values_left;      /* heads still to come in this message; 0: none is begun */
    uint64_t elements;         /* heads seen in this message */
    uint64_t message_offset;   /* of the message, or its next part, from the start of the flow */
    uint64_t parted;           /* bytes of the message that left as parts but for fragments */
    uint64_t payload_left;     /* of a payload that leaves in fragments */
    size_t chained;            /* bytes of the message that lie in the caller's chain */
    uint8_t head[9];           /* of these, the ones of a head that is cut there */
    uint8_t head_size;
    uint8_t framing; /* enum weir_framing */
    bool by_parts;   /* the message is taken by weir_stream_next_part() */
    bool in_parts;   /* and a part of it has left */
    struct weir_limits limits;
    struct weir_fault fault;
    struct weir_stream_stats stats;
    struct weir_stream_shape shape;
};

/**
 * Prepare a stream that gathers into blocks of @pool. Allocates nothing yet.
 *
 * @limits   of each message; NULL or zeroed: no limit of elements, WEIR_STREAM_BYTES_DEFAULT bytes
 */
WEIR_API void weir_stream_init(struct weir_stream *stream, struct weir_pool *pool,
                               const struct weir_limits *limits);

/**
 * The same for messages that are told apart by @framing.
 *
 * @limits   WEIR_FRAMING_LENGTH32: bytes is that of a message without its length; elements are not
 *           looked at
 */
WEIR_API void weir_stream_init_framed(struct weir_stream *stream, struct weir_pool *pool,
                                      enum weir_framing framing, const struct weir_limits *limits);

/** Drop what is held and zero the stream. Messages handed out stay valid. Takes a zeroed one. */
WEIR_API void weir_stream_fini(struct weir_stream *stream);

/**
 * Put the next received slice in. To be followed by weir_stream_next() until it says -EAGAIN.
 *
 * @slice    stays the caller's; the stream takes a reference of its own
 * Returns   0; a sticky error; -EBUSY the last slice has not been worked through: nothing changed.
 *           -ENOMEM, -ENOBUFS a message that straddles needs a block: nothing changed.
 * Cost      a straddling message's bytes of the slice before are copied; a slice that goes on in
 *           memory where the last one ended is joined to it instead.
 */
WEIR_API int weir_stream_feed(struct weir_stream *stream, const struct weir_slice *slice);

/**
 * The next whole message.
 *
 * @ret      written on success only; a slice with a reference of its own, the caller's to drop
 * Returns   0; -EAGAIN feed more; -EBADMSG, -EMSGSIZE (sticky); -ENOMEM, -ENOBUFS of the pool.
 */
WEIR_API int weir_stream_next(struct weir_stream *stream, struct weir_slice *ret);

/**
 * The next whole message as a view, for who is done with it before asking for the next one.
 *
 * It saves the reference and with it two atomic operations per message.
 *
 * @ret         written on success only
 * Returns      as weir_stream_next()
 * Valid until  the stream is fed, asked for another message in any way, or ended.
 */
WEIR_API int weir_stream_next_view(struct weir_stream *stream, struct weir_view *ret);

/**
 * The next whole messages as views, as many as lie one behind the other.
 *
 * What is asked of the stream for each message, it is asked once for all of them: where messages
 * are small that is most of the time.
 *
 *     while ((rc = weir_stream_next_views(&stream, 32, views, &count)) == 0) {
 *         for (size_t i = 0; i < count; i++)
 *             handle(views[i]);
 *     }
 *
 * @capacity    of @ret, at least 1 (asserted)
 * @ret         written on success only
 * @ret_count   how many there are, at least 1; fewer than @capacity does not mean that these are
 *              all: ask until -EAGAIN
 * Returns      as weir_stream_next(); an error once the messages before it were handed out.
 * Valid until  the stream is fed, asked for another message in any way, or ended.
 */
WEIR_API int weir_stream_next_views(struct weir_stream *stream, size_t capacity,
                                    struct weir_view *ret, size_t *ret_count);

/**
 * The next whole message as a chain of the slices that it came in, wherever they are cut.
 *
 * A message that straddles is not gathered: its slices are held as they were received, but for
 * those below WEIR_STREAM_LINK_MIN_BYTES in a large block (see weir_slice_is_small()), which would
 * pin many times what they are: those are copied together, counted.
 *
 * @chain    an initialised chain, empty when a message begins. As long as the result is not 0 the
 *           message so far lies in it: pass the same one, unchanged, until it is. Then it is the
 *           caller's, to be reset for the next message.
 * Returns   as weir_stream_next(). After an error that is sticky the chain may be reset.
 */
WEIR_API int weir_stream_next_chain(struct weir_stream *stream, struct weir_chain *chain);

/** What is smaller is copied into a chain if it is small against its block, too. */
#define WEIR_STREAM_LINK_MIN_BYTES 1024

/**
 * The next part of a message: large payloads leave in fragments, as they arrive and where they lie,
 * so that a value much larger than memory can pass.
 *
 *     while ((rc = weir_stream_next_part(&stream, 65536, &part)) == 0) {
 *         if (part.kind == WEIR_PART_FRAGMENT)
 *             digest(part.bytes.view);
 *         else
 *             keep(part.bytes);
 *         weir_slice_drop(&part.bytes);
 *     }
 *
 * A message with no str, bin or ext of @fragment_min_bytes or more is WEIR_PART_WHOLE. Any other
 * one is a WEIR_PART_HEAD up to the payload, fragments until payload_left is 0, then perhaps
 * another head and fragments, and at last a WEIR_PART_TAIL, which may be empty. All parts in a row
 * are the message's bytes. With WEIR_FRAMING_LENGTH32 the whole message is the payload.
 *
 * Bounds      limits.bytes bounds what is not in fragments.
 * @fragment_min_bytes  at least 1 (asserted), the same throughout a message
 * @ret        written on success only
 * Returns     as weir_stream_next().
 */
WEIR_API int weir_stream_next_part(struct weir_stream *stream, size_t fragment_min_bytes,
                                   struct weir_stream_part *ret);

/**
 * Let go of a slice that is kept for the sake of a few bytes.
 *
 * A message that is begun keeps the slice that it began in, and so the whole block, until more
 * comes. This copies its bytes, if they are fewer than @below_bytes, to a block of their own size,
 * counted; what follows in memory can then no longer be joined to them. For when the rest may be
 * long in coming.
 *
 * Returns   0; -ENOMEM, -ENOBUFS of the pool: nothing changed, and nothing is wrong.
 */
WEIR_API int weir_stream_compact(struct weir_stream *stream, size_t below_bytes);

/** Whether a message is begun and not complete: the flow must not end here. */
WEIR_API bool weir_stream_is_partial(const struct weir_stream *stream);

/**
 * The sticky error with its offset from the start of the flow and its reason; error 0 if none.
 *
 * The offset is that of the value whose head is at fault.
 */
WEIR_API struct weir_fault weir_stream_fault(const struct weir_stream *stream);

/**
 * Offset of the next message from the start of the flow; a partial message begins there. After a
 * part, that of the next part. Lengths that framing puts before messages count.
 */
WEIR_API uint64_t weir_stream_offset(const struct weir_stream *stream);

/** What the stream did since init. */
WEIR_API struct weir_stream_stats weir_stream_stats(const struct weir_stream *stream);

WEIR_END_DECLS

#endif /* WEIR_STREAM_H */
