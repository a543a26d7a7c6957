/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "weir/stream.h"

/* No sum of a message's offsets and counts wraps below this. */
#define LIMIT_MAX (SIZE_MAX / 64)

/* See gather_size(). */
#define GATHER_TIMES 16
#define GATHER_MIN_BYTES 4096u

enum scan { SCAN_WHOLE, SCAN_MORE, SCAN_FAULT };

void weir_stream_init(struct weir_stream *stream, struct weir_pool *pool,
                      const struct weir_limits *limits)
{
    memset(stream, 0, sizeof(*stream));
    stream->pool = pool;
    if (limits != NULL)
        stream->limits = *limits;
    if (stream->limits.elements == 0)
        stream->limits.elements = UINT64_MAX;
    if (stream->limits.bytes == 0)
        stream->limits.bytes = WEIR_STREAM_BYTES_DEFAULT;
    if (stream->limits.bytes > LIMIT_MAX)
        stream->limits.bytes = LIMIT_MAX;
}

/* Drop input and gathered bytes. */
static void drop_bytes(struct weir_stream *stream)
{
    weir_slice_drop(&stream->input);
    weir_block_drop(stream->gather);
    stream->gather = NULL;
    stream->gathered = 0;
}

void weir_stream_fini(struct weir_stream *stream)
{
    drop_bytes(stream);
    memset(stream, 0, sizeof(*stream));
}

/* The bytes of the message that lie in one piece: gathered, or at the front of the input. */
static struct weir_view piece(const struct weir_stream *stream)
{
    if (stream->gather != NULL)
        return weir_view_of(stream->gather->data, stream->gathered);
    return stream->input.view;
}

static bool is_begun(const struct weir_stream *stream)
{
    return stream->scanned != 0 || stream->values_left != 0;
}

/* The least size that the message can have, from what is known of it. */
static size_t least_bytes(const struct weir_stream *stream)
{
    struct weir_view bytes = piece(stream);
    size_t least = stream->scanned + (size_t)stream->values_left;

    if (stream->values_left != 0 && stream->scanned < bytes.size)
        least += weir_wire_tags[bytes.data[stream->scanned]].head_bytes - 1u;
    return least;
}

/* Whether the message goes on behind the bytes that lie in one piece, as scan() found. */
static bool is_cut(const struct weir_stream *stream)
{
    return is_begun(stream) && least_bytes(stream) > piece(stream).size;
}

/* The value at scanned is at fault: the stream ends here. */
static enum scan refuse(struct weir_stream *stream, int error, const char *reason)
{
    stream->fault.error = error;
    stream->fault.offset = (size_t)stream->message_offset + stream->scanned;
    stream->fault.reason = reason;
    drop_bytes(stream);
    return SCAN_FAULT;
}

/*
 * Take the head at scanned, of which @at[0..left-1] is there, into account. SCAN_WHOLE: it was
 * all there, on to the next one.
 */
static enum scan scan_head(struct weir_stream *stream, const uint8_t *at, size_t left)
{
    const struct weir_limits *limits = &stream->limits;
    struct weir_wire_tag tag = weir_wire_tags[at[0]];
    /* Both within the limit so far, hence no sum below wraps. */
    uint64_t size = (uint64_t)stream->scanned + tag.head_bytes;
    uint64_t values = stream->values_left - 1;

    if (tag.kind == WEIR_WIRE_BAD)
        return refuse(stream, -EBADMSG, "the reserved byte 0xc1");
    if (size > limits->bytes || values > limits->bytes - size)
        return refuse(stream, -EMSGSIZE, "a message above the limit of bytes");
    if (left < tag.head_bytes)
        return SCAN_MORE;
    uint64_t length = weir_wire_length(at, tag);
    if (tag.kind == WEIR_WIRE_BYTES)
        size += length;
    else
        values += tag.kind == WEIR_WIRE_MAP ? 2 * length : length;
    if (size > limits->bytes || values > limits->bytes - size)
        return refuse(stream, -EMSGSIZE, "a message above the limit of bytes");
    if (values >= limits->elements - stream->elements)
        return refuse(stream, -EMSGSIZE, "a message above the limit of elements");
    stream->scanned = (size_t)size;
    stream->values_left = values;
    stream->elements++;
    return SCAN_WHOLE;
}

/* Look at the heads that are there, each once. */
static enum scan scan(struct weir_stream *stream)
{
    struct weir_view bytes = piece(stream);

    if (!is_begun(stream)) {
        if (bytes.size == 0)
            return SCAN_MORE;
        stream->values_left = 1;
    }
    while (stream->values_left != 0) {
        if (stream->scanned >= bytes.size)
            return SCAN_MORE;
        enum scan found =
            scan_head(stream, bytes.data + stream->scanned, bytes.size - stream->scanned);
        if (found != SCAN_WHOLE)
            return found;
    }
    return stream->scanned <= bytes.size ? SCAN_WHOLE : SCAN_MORE;
}

static void advance_input(struct weir_stream *stream, size_t size_bytes)
{
    stream->input.view.data += size_bytes;
    stream->input.view.size -= size_bytes;
    if (stream->input.view.size == 0)
        weir_slice_drop(&stream->input);
}

/*
 * The size of the next gather block, with @present bytes of the message here. What its heads
 * announce is believed up to a small multiple of that: memory goes to those who send bytes, not to
 * those who announce them.
 */
static size_t gather_size(const struct weir_stream *stream, size_t present)
{
    size_t size = GATHER_TIMES * present;
    size_t least = least_bytes(stream);
    /* Of the room, not of what is in it: what is known to come may grow by a byte per head. */
    size_t twice = stream->gather != NULL ? 2 * stream->gather->size : 0;

    if (size < GATHER_MIN_BYTES)
        size = GATHER_MIN_BYTES;
    if (size > least)
        size = least;
    if (size < twice)
        size = twice < stream->limits.bytes ? twice : (size_t)stream->limits.bytes;
    return size;
}

/*
 * Have a gather block with room, which begins with the message so far. That is copied into it
 * unless it is there already; @more bytes are about to follow. On an error nothing changed.
 */
static int grow_gather(struct weir_stream *stream, size_t more)
{
    struct weir_view so_far = piece(stream);
    struct weir_block *block;

    if (stream->gather != NULL && stream->gathered < stream->gather->size)
        return 0;
    int rc = weir_pool_alloc(stream->pool, gather_size(stream, so_far.size + more), &block);
    if (rc != 0)
        return rc;
    memcpy(block->data, so_far.data, so_far.size);
    stream->stats.bytes_copied += so_far.size;
    weir_block_drop(stream->gather);
    stream->gather = block;
    stream->gathered = so_far.size;
    return 0;
}

/* Copy from the input what the message surely needs of it. */
static int gather_more(struct weir_stream *stream)
{
    size_t least = least_bytes(stream);
    size_t wanted = least - stream->gathered;

    int rc = grow_gather(stream, stream->input.view.size);
    if (rc != 0)
        return rc;
    if (wanted > stream->input.view.size)
        wanted = stream->input.view.size;
    if (wanted > stream->gather->size - stream->gathered)
        wanted = stream->gather->size - stream->gathered;
    memcpy(stream->gather->data + stream->gathered, stream->input.view.data, wanted);
    stream->gathered += wanted;
    stream->stats.bytes_copied += wanted;
    advance_input(stream, wanted);
    return 0;
}

int weir_stream_feed(struct weir_stream *stream, const struct weir_slice *slice)
{
    struct weir_slice *input = &stream->input;

    if (stream->fault.error != 0)
        return stream->fault.error;
    if (input->view.size != 0) {
        if (stream->gather != NULL || !is_cut(stream))
            return -EBUSY;
        if (slice->view.size == 0)
            return 0;
        if (input->block == slice->block &&
            input->view.data + input->view.size == slice->view.data) {
            input->view.size += slice->view.size;
            return 0;
        }
        int rc = grow_gather(stream, slice->view.size);
        if (rc != 0)
            return rc;
        weir_slice_drop(input);
    }
    if (slice->view.size != 0)
        *input = weir_slice_hold(slice);
    return 0;
}

/* The whole message as a slice of its own; the stream is at the next one then. */
static struct weir_slice take_message(struct weir_stream *stream)
{
    size_t size = stream->scanned;
    struct weir_slice message;

    if (stream->gather != NULL) {
        assert(stream->gathered == size);
        message = weir_slice_adopt(weir_view_of(stream->gather->data, size), stream->gather);
        stream->gather = NULL;
        stream->gathered = 0;
        stream->stats.gathered++;
    } else {
        struct weir_block *block = stream->input.block;
        message = weir_slice_adopt(weir_view_of(stream->input.view.data, size),
                                   block != NULL ? weir_block_hold(block) : NULL);
        advance_input(stream, size);
    }
    stream->scanned = 0;
    stream->elements = 0;
    stream->message_offset += size;
    stream->stats.messages++;
    stream->stats.bytes += size;
    return message;
}

int weir_stream_next(struct weir_stream *stream, struct weir_slice *ret)
{
    if (stream->fault.error != 0)
        return stream->fault.error;
    for (;;) {
        enum scan found = scan(stream);
        if (found == SCAN_FAULT)
            return stream->fault.error;
        if (found == SCAN_WHOLE)
            break;
        if (stream->gather == NULL || stream->input.view.size == 0)
            return -EAGAIN;
        int rc = gather_more(stream);
        if (rc != 0)
            return rc;
    }
    *ret = take_message(stream);
    return 0;
}

int weir_stream_compact(struct weir_stream *stream, size_t below_bytes)
{
    struct weir_slice *input = &stream->input;

    if (stream->gather != NULL || input->view.size == 0 || input->view.size >= below_bytes ||
        !is_cut(stream))
        return 0;
    int rc = grow_gather(stream, 0);
    if (rc == 0)
        weir_slice_drop(input);
    return rc;
}

bool weir_stream_is_partial(const struct weir_stream *stream)
{
    return stream->gather != NULL || stream->input.view.size != 0;
}

struct weir_fault weir_stream_fault(const struct weir_stream *stream)
{
    return stream->fault;
}

uint64_t weir_stream_offset(const struct weir_stream *stream)
{
    return stream->message_offset;
}

struct weir_stream_stats weir_stream_stats(const struct weir_stream *stream)
{
    return stream->stats;
}
