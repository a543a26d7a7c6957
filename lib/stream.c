/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "stream_shape.h"

/* No sum of a message's offsets and counts wraps below this. */
#define LIMIT_MAX (SIZE_MAX / 64)

/* See gather_size(). */
#define GATHER_TIMES 16
#define GATHER_MIN_BYTES 4096u

/* The length before a message, WEIR_FRAMING_LENGTH32. */
#define PREFIX_BYTES 4u

/* No payload is that large: nothing leaves in fragments. */
#define NO_FRAGMENTS SIZE_MAX

/* A shape is learnt where so many bytes follow the message. */
#define SHAPE_ROOM 16u

/* References on the block of a slice that are taken at a time, for the messages in it. */
#define SPARE_REFS 64u

/* SCAN_PAYLOAD: scanned is where a payload begins that is to leave in fragments. */
enum scan { SCAN_WHOLE, SCAN_MORE, SCAN_FAULT, SCAN_PAYLOAD };

void weir_stream_init(struct weir_stream *stream, struct weir_pool *pool,
                      const struct weir_limits *limits)
{
    weir_stream_init_framed(stream, pool, WEIR_FRAMING_VALUES, limits);
}

void weir_stream_init_framed(struct weir_stream *stream, struct weir_pool *pool,
                             enum weir_framing framing, const struct weir_limits *limits)
{
    memset(stream, 0, sizeof(*stream));
    stream->pool = pool;
    stream->framing = (uint8_t)framing;
    if (limits != NULL)
        stream->limits = *limits;
    if (stream->limits.elements == 0)
        stream->limits.elements = UINT64_MAX;
    if (stream->limits.bytes == 0)
        stream->limits.bytes = WEIR_STREAM_BYTES_DEFAULT;
    if (stream->limits.bytes > LIMIT_MAX)
        stream->limits.bytes = LIMIT_MAX;
}

/* Let go of the references on the input's block that no message got. */
static void drop_spare(struct weir_stream *stream)
{
    if (stream->spare_refs != 0)
        weir_block_drop_many(stream->input.block, stream->spare_refs);
    stream->spare_refs = 0;
}

/* Let go of the slice that was fed last. */
static void drop_input(struct weir_stream *stream)
{
    drop_spare(stream);
    weir_slice_drop(&stream->input);
}

/* Let go of what the view that was handed out last lies in. */
static void drop_lent(struct weir_stream *stream)
{
    if (WEIR_LIKELY(stream->lent == NULL))
        return;
    weir_block_drop(stream->lent);
    stream->lent = NULL;
}

/* Drop everything that is held. What lies in a chain is the caller's. */
static void drop_bytes(struct weir_stream *stream)
{
    drop_lent(stream);
    drop_input(stream);
    weir_block_drop(stream->gather);
    stream->gather = NULL;
    stream->gathered = 0;
    stream->chained = 0;
    stream->in_parts = false;
}

void weir_stream_fini(struct weir_stream *stream)
{
    drop_bytes(stream);
    memset(stream, 0, sizeof(*stream));
}

/*
 * The bytes that come next in one piece: the message so far, gathered or at the front of the input;
 * of a message in a chain, what is not in it yet.
 */
static struct weir_view piece(const struct weir_stream *stream)
{
    if (stream->gather != NULL && stream->chained == 0)
        return weir_view_of(stream->gather->data, stream->gathered);
    return stream->input.view;
}

static bool is_begun(const struct weir_stream *stream)
{
    return stream->scanned != 0 || stream->values_left != 0 || stream->in_parts;
}

/* The least size that the message, or its part, can have, from what is known of it. Not chained. */
static size_t least_bytes(const struct weir_stream *stream)
{
    struct weir_view bytes = piece(stream);
    size_t least = stream->scanned + (size_t)stream->values_left;

    if (stream->values_left == 0)
        return least;
    if (stream->framing == WEIR_FRAMING_LENGTH32)
        return PREFIX_BYTES;
    /* A part may end with any value's head: nothing behind that is surely needed. */
    if (stream->by_parts)
        least = stream->scanned + 1;
    if (stream->scanned < bytes.size)
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
 * all there, on to the next one. SCAN_PAYLOAD: it was, and @fragment_min bytes or more follow it.
 */
static enum scan scan_head(struct weir_stream *stream, const uint8_t *at, size_t left,
                           size_t fragment_min)
{
    const struct weir_limits *limits = &stream->limits;
    struct weir_wire_tag tag = weir_wire_tags[at[0]];
    /* All within the limit so far, hence no sum below wraps. */
    uint64_t size = stream->parted + stream->scanned + tag.head_bytes;
    uint64_t values = stream->values_left - 1;

    if (tag.kind == WEIR_WIRE_BAD)
        return refuse(stream, -EBADMSG, "the reserved byte 0xc1");
    if (size > limits->bytes || values > limits->bytes - size)
        return refuse(stream, -EMSGSIZE, "a message above the limit of bytes");
    if (left < tag.head_bytes)
        return SCAN_MORE;
    uint64_t length = weir_wire_length(at, tag);
    bool is_payload = tag.kind == WEIR_WIRE_BYTES;
    bool is_large = is_payload && length >= fragment_min;
    if (is_payload)
        size += is_large ? 0 : length;
    else
        values += tag.kind == WEIR_WIRE_MAP ? 2 * length : length;
    if (size > limits->bytes || values > limits->bytes - size)
        return refuse(stream, -EMSGSIZE, "a message above the limit of bytes");
    if (values >= limits->elements - stream->elements)
        return refuse(stream, -EMSGSIZE, "a message above the limit of elements");
    stream->scanned = (size_t)(size - stream->parted);
    stream->values_left = values;
    stream->elements++;
    if (!is_large)
        return SCAN_WHOLE;
    stream->payload_left = length;
    return SCAN_PAYLOAD;
}

/* The same for the length that WEIR_FRAMING_LENGTH32 puts before a message. */
static enum scan scan_prefix(struct weir_stream *stream, const uint8_t *at, size_t left,
                             size_t fragment_min)
{
    if (left < PREFIX_BYTES)
        return SCAN_MORE;
    uint32_t length = weir_wire_load32(at);
    if (length > stream->limits.bytes && length < fragment_min)
        return refuse(stream, -EMSGSIZE, "a message above the limit of bytes");
    stream->values_left = 0;
    stream->scanned = PREFIX_BYTES;
    if (length < fragment_min) {
        stream->scanned += length;
        return SCAN_WHOLE;
    }
    stream->payload_left = length;
    return SCAN_PAYLOAD;
}

/*
 * The head at scanned, in @bytes, which piece() returned, and how much of it is there; 0: nothing.
 * A head that is cut by the end of a chain is put together from what was kept of it.
 */
static size_t find_head(struct weir_stream *stream, struct weir_view bytes, const uint8_t **ret)
{
    size_t kept = stream->head_size;
    size_t from = stream->scanned + kept - stream->chained;

    if (WEIR_LIKELY(kept == 0)) {
        if (from >= bytes.size)
            return 0;
        *ret = bytes.data + from;
        return bytes.size - from;
    }
    assert(from == 0);
    size_t more = sizeof(stream->head) - kept;
    if (more > bytes.size)
        more = bytes.size;
    if (more != 0)
        memcpy(stream->head + kept, bytes.data, more);
    *ret = stream->head;
    return kept + more;
}

/*
 * The size of a value whose tag decides it; 0 if the tag does not.
 *
 * Branches before tables: where they are predicted, and messages of a flow are alike, the processor
 * goes on to the next head before it knows this one.
 */
static inline size_t step_of(const uint8_t *at)
{
    unsigned tag = at[0];

    if ((tag & 0xe0u) == WEIR_TAG_FIXSTR)
        return 1 + (tag & 0x1fu);
    if (tag < 0x80)
        return 1;
    if (tag == WEIR_TAG_FLOAT64 || tag == WEIR_TAG_UINT64 || tag == WEIR_TAG_INT64)
        return 9;
    return weir__wire_steps[tag];
}

/* How much of what comes next scan_run() may look at, if @size bytes of the message are there. */
static size_t run_bytes(const struct weir_stream *stream, size_t size)
{
    const struct weir_limits *limits = &stream->limits;
    size_t half = (size_t)limits->bytes / 2;
    size_t left = size < half ? size : half;

    if (left <= stream->scanned)
        return 0;
    left -= stream->scanned;
    if (left > limits->elements - stream->elements)
        left = (size_t)(limits->elements - stream->elements);
    return left < stream->values_left ? 0 : left;
}

/* Heads that are looked at in a row. */
struct run {
    const uint8_t *at;
    uint64_t to_come;
    uint64_t announced; /* values that were ever to come */
};

/*
 * Look at heads that cannot be at fault, without asking about the limits for each: up to the end
 * of the message or of what is here, or to what scan_head() has to look at.
 *
 * A value takes a byte at least. So bytes that are no more than the values allowed hold not too
 * many values; and if they are up to half of the bytes allowed, and the values to come are no more
 * than they are, then both together are within the limit.
 */
static inline __attribute__((always_inline)) void run_heads(struct run *run, const uint8_t *end)
{
    const uint8_t *at = run->at;
    uint64_t to_come = run->to_come;
    size_t left;

    for (; to_come != 0 && (left = (size_t)(end - at)) >= WEIR__WIRE_HEAD_MAX; to_come--) {
        size_t step = step_of(at);
        if (WEIR_UNLIKELY(step == 0)) {
            struct weir_wire_tag tag = weir_wire_tags[at[0]];
            uint64_t length = weir_wire_length(at, tag);
            step = tag.head_bytes;
            if (tag.kind == WEIR_WIRE_BYTES) {
                step += (size_t)length;
            } else {
                uint64_t values = tag.kind == WEIR_WIRE_MAP ? 2 * length : length;
                if (tag.kind == WEIR_WIRE_BAD || values + to_come > left)
                    break;
                to_come += values;
                run->announced += values;
            }
        }
        if (WEIR_UNLIKELY(step > left))
            break;
        at += step;
    }
    /* The rest of the bytes, but for what is rare. */
    for (; to_come != 0 && at != end; to_come--) {
        size_t step = step_of(at);
        if (step == 0 || step > (size_t)(end - at))
            break;
        at += step;
    }
    run->at = at;
    run->to_come = to_come;
}

/* The same for a message from its start, by the shape that messages here have as far as that goes.
 * Returns whether it had that shape. */
static inline __attribute__((always_inline)) bool run_shape(const struct weir_stream_shape *shape,
                                                            struct run *run, const uint8_t *end)
{
    if (shape->run_count == 0)
        return false;
    const uint8_t *after = weir__shape_match(shape, run->at, end);
    if (WEIR_UNLIKELY(after == NULL || shape->to_come > (size_t)(end - after)))
        return false;
    run->at = after;
    run->to_come = shape->to_come;
    run->announced = shape->values + shape->to_come;
    return true;
}

/* The message that begins at @run did not have the shape, but it is whole: perhaps others are like
 * it. Those near @end are like nothing: a shape is not compared with what is behind that. */
static inline void note_other_shape(struct weir_stream *stream, const uint8_t *from,
                                    const struct run *run, const uint8_t *end)
{
    if ((size_t)(end - run->at) >= SHAPE_ROOM && weir__shape_missed(&stream->shape))
        weir__shape_learn(&stream->shape, weir_view_of(from, (size_t)(run->at - from)));
}

/*
 * Look at the heads of a message as run_heads() does, all at once where that can be, in @bytes,
 * which begin @from bytes behind the message's start, not behind the next head.
 */
static void scan_run(struct weir_stream *stream, struct weir_view bytes, size_t from)
{
    size_t left = run_bytes(stream, from + bytes.size);

    if (left == 0)
        return;
    const uint8_t *start = bytes.data + (stream->scanned - from);
    const uint8_t *end = start + left;
    struct run run = {start, stream->values_left, stream->values_left};
    bool first = stream->scanned == 0;
    bool known = first && run_shape(&stream->shape, &run, end);
    run_heads(&run, end);
    if (known)
        stream->shape.hits++;
    else if (first && run.to_come == 0)
        note_other_shape(stream, start, &run, end);
    stream->scanned += (size_t)(run.at - start);
    stream->values_left = run.to_come;
    stream->elements += run.announced - run.to_come;
}

/* Look at the heads that are there, each once. */
static enum scan scan(struct weir_stream *stream, size_t fragment_min)
{
    bool prefixed = stream->framing == WEIR_FRAMING_LENGTH32;
    struct weir_view bytes = piece(stream);

    if (!is_begun(stream)) {
        if (bytes.size == 0)
            return SCAN_MORE;
        stream->values_left = 1;
    }
    if (!prefixed && fragment_min == NO_FRAGMENTS && stream->chained == 0) {
        scan_run(stream, bytes, 0);
        /* Before the input is gathered: what its heads announce is then copied at once, and not a
         * byte for each of them. */
        if (stream->gather != NULL && stream->values_left != 0 &&
            stream->scanned >= stream->gathered)
            scan_run(stream, stream->input.view, stream->gathered);
    }
    while (stream->values_left != 0) {
        const uint8_t *at;
        size_t left = find_head(stream, bytes, &at);
        if (left == 0)
            return SCAN_MORE;
        enum scan found = prefixed ? scan_prefix(stream, at, left, fragment_min)
                                   : scan_head(stream, at, left, fragment_min);
        if (found != SCAN_MORE)
            stream->head_size = 0;
        if (found != SCAN_WHOLE)
            return found;
    }
    return stream->scanned - stream->chained <= bytes.size ? SCAN_WHOLE : SCAN_MORE;
}

static void advance_input(struct weir_stream *stream, size_t size_bytes)
{
    stream->input.view.data += size_bytes;
    stream->input.view.size -= size_bytes;
    if (stream->input.view.size == 0)
        drop_input(stream);
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
    size_t most = (size_t)stream->limits.bytes + PREFIX_BYTES;

    if (size < GATHER_MIN_BYTES)
        size = GATHER_MIN_BYTES;
    if (size > least)
        size = least;
    if (size < twice)
        size = twice < most ? twice : most;
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

    drop_lent(stream);
    if (stream->fault.error != 0)
        return stream->fault.error;
    if (input->view.size != 0) {
        if (stream->gather != NULL || stream->chained != 0 || stream->payload_left != 0 ||
            !is_cut(stream))
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
        drop_input(stream);
    }
    if (slice->view.size != 0)
        *input = weir_slice_hold(slice);
    return 0;
}

/* The message is complete: on to the next one. */
static void end_message(struct weir_stream *stream)
{
    stream->scanned = 0;
    stream->elements = 0;
    stream->parted = 0;
    stream->chained = 0;
    stream->in_parts = false;
    stream->by_parts = false;
    stream->stats.messages++;
}

/* Bytes at the start of what was scanned that are none of the message. */
static size_t prefix_bytes(const struct weir_stream *stream)
{
    return stream->framing == WEIR_FRAMING_LENGTH32 && !stream->in_parts ? PREFIX_BYTES : 0;
}

/* @size bytes at the front of the input, with a reference: the stream's own if they are all. */
static struct weir_slice take_input(struct weir_stream *stream, size_t size)
{
    struct weir_slice *input = &stream->input;
    struct weir_slice taken = {{input->view.data, size}, input->block};

    if (input->view.size == size) {
        drop_spare(stream);
        memset(input, 0, sizeof(*input));
        return taken;
    }
    if (input->block != NULL) {
        if (stream->spare_refs == 0) {
            weir_block_hold_many(input->block, SPARE_REFS);
            stream->spare_refs = SPARE_REFS;
        }
        stream->spare_refs--;
    }
    input->view.data += size;
    input->view.size -= size;
    return taken;
}

/* What was scanned as a slice of its own, which is all there. The stream goes on behind it. */
static struct weir_slice take_scanned(struct weir_stream *stream)
{
    size_t size = stream->scanned;
    size_t prefix = prefix_bytes(stream);
    struct weir_slice taken = {{NULL, 0}, NULL};

    if (size == 0)
        return taken;
    if (stream->gather != NULL) {
        assert(stream->gathered == size);
        taken = weir_slice_adopt(weir_view_of(stream->gather->data, size), stream->gather);
        stream->gather = NULL;
        stream->gathered = 0;
        stream->stats.gathered++;
    } else {
        taken = take_input(stream, size);
    }
    taken.view.data += prefix;
    taken.view.size -= prefix;
    stream->message_offset += size;
    stream->stats.bytes += size - prefix;
    return taken;
}

/* Gather until what can be scanned is. Returns 0 (@ret says what it is, not SCAN_MORE), -EAGAIN or
 * an error. */
static int scan_gathering(struct weir_stream *stream, size_t fragment_min, enum scan *ret)
{
    drop_lent(stream);
    if (stream->fault.error != 0)
        return stream->fault.error;
    for (;;) {
        enum scan found = scan(stream, fragment_min);
        if (found == SCAN_FAULT)
            return stream->fault.error;
        *ret = found;
        if (found != SCAN_MORE)
            return 0;
        if (stream->gather == NULL || stream->input.view.size == 0)
            return -EAGAIN;
        int rc = gather_more(stream);
        if (rc != 0)
            return rc;
    }
}

/* Whether a message that begins may be looked at by run_heads() alone, and the bytes that may. */
static struct weir_view whole_bytes(const struct weir_stream *stream)
{
    struct weir_view bytes = {NULL, 0};

    if (stream->framing != WEIR_FRAMING_VALUES || stream->gather != NULL || is_begun(stream))
        return bytes;
    return stream->input.view;
}

/*
 * The messages at the front of the input that are surely whole and within the limits, up to @most.
 * Returns how many. Nothing is taken, what is left is at *@ret_end.
 */
static inline __attribute__((always_inline)) size_t find_whole(struct weir_stream *stream,
                                                               size_t most, struct weir_view *ret,
                                                               const uint8_t **ret_end)
{
    struct weir_view bytes = whole_bytes(stream);
    const uint8_t *at = bytes.data;
    size_t allowed = (size_t)stream->limits.bytes / 2;
    size_t left = bytes.size;
    uint32_t hits = 0;
    size_t count = 0;

    if (allowed > stream->limits.elements)
        allowed = (size_t)stream->limits.elements;
    while (count < most && left != 0) {
        struct run run = {at, 1, 1};
        const uint8_t *end = at + (left < allowed ? left : allowed);
        bool known = run_shape(&stream->shape, &run, end);
        if (!known || run.to_come != 0)
            run_heads(&run, end);
        if (run.to_come != 0)
            break;
        hits += known;
        if (WEIR_UNLIKELY(!known))
            note_other_shape(stream, at, &run, end);
        size_t size = (size_t)(run.at - at);
        ret[count++] = weir_view_of(at, size);
        at += size;
        left -= size;
    }
    stream->shape.hits += hits;
    *ret_end = at;
    return count;
}

/* @count messages of @size bytes in all were taken from the front of the input. */
static void count_whole(struct weir_stream *stream, size_t count, size_t size)
{
    stream->message_offset += size;
    stream->stats.messages += count;
    stream->stats.bytes += size;
}

/* Take @count messages of @size bytes in all as views. */
static void take_whole(struct weir_stream *stream, size_t count, size_t size)
{
    if (size == stream->input.view.size)
        stream->lent = take_input(stream, size).block;
    else
        advance_input(stream, size);
    count_whole(stream, count, size);
}

/* The next message as a slice, found head by head. */
static int next_slow(struct weir_stream *stream, struct weir_slice *ret)
{
    enum scan found;

    int rc = scan_gathering(stream, NO_FRAGMENTS, &found);
    if (rc != 0)
        return rc;
    *ret = take_scanned(stream);
    end_message(stream);
    return 0;
}

/* The next message as a view, found head by head. */
static int next_view_slow(struct weir_stream *stream, struct weir_view *ret)
{
    enum scan found;

    int rc = scan_gathering(stream, NO_FRAGMENTS, &found);
    if (rc != 0)
        return rc;
    size_t size = stream->scanned;
    if (stream->gather == NULL && size < stream->input.view.size) {
        /* The input goes on, so its own reference keeps these bytes, too. */
        size_t prefix = prefix_bytes(stream);
        *ret = weir_view_of(stream->input.view.data + prefix, size - prefix);
        advance_input(stream, size);
        stream->message_offset += size;
        stream->stats.bytes += size - prefix;
    } else {
        struct weir_slice last = take_scanned(stream);
        *ret = last.view;
        stream->lent = last.block;
    }
    end_message(stream);
    return 0;
}

int weir_stream_next(struct weir_stream *stream, struct weir_slice *ret)
{
    struct weir_view found;
    const uint8_t *end;

    assert(stream->chained == 0 && (!stream->by_parts || stream->fault.error != 0));
    drop_lent(stream);
    if (WEIR_UNLIKELY(find_whole(stream, 1, &found, &end) == 0))
        return next_slow(stream, ret);
    *ret = take_input(stream, found.size);
    count_whole(stream, 1, found.size);
    return 0;
}

int weir_stream_next_view(struct weir_stream *stream, struct weir_view *ret)
{
    const uint8_t *end;
    struct weir_view found;

    assert(stream->chained == 0 && (!stream->by_parts || stream->fault.error != 0));
    drop_lent(stream);
    if (WEIR_UNLIKELY(find_whole(stream, 1, &found, &end) == 0))
        return next_view_slow(stream, ret);
    *ret = found;
    take_whole(stream, 1, found.size);
    return 0;
}

int weir_stream_next_views(struct weir_stream *stream, size_t capacity, struct weir_view *ret,
                           size_t *ret_count)
{
    const uint8_t *end;

    assert(capacity != 0 && stream->chained == 0);
    assert(!stream->by_parts || stream->fault.error != 0);
    drop_lent(stream);
    size_t count = find_whole(stream, capacity, ret, &end);
    if (count == 0) {
        int rc = next_view_slow(stream, ret);
        if (rc == 0)
            *ret_count = 1;
        return rc;
    }
    take_whole(stream, count, (size_t)(end - stream->input.view.data));
    *ret_count = count;
    return 0;
}

/* --- in chains -------------------------------------------------------------------------------- */

/* @size bytes at the front of the input went into the chain. */
static void count_chained(struct weir_stream *stream, struct weir_view bytes)
{
    size_t end = stream->chained + bytes.size;

    if (stream->values_left != 0 && stream->scanned < end) {
        /* The rest of a head, or as much of it as there is. */
        size_t from = stream->head_size != 0 ? 0 : stream->scanned - stream->chained;
        size_t more = bytes.size - from;
        assert(more <= sizeof(stream->head) - stream->head_size);
        memcpy(stream->head + stream->head_size, bytes.data + from, more);
        stream->head_size = (uint8_t)(stream->head_size + more);
    }
    stream->chained = end;
}

/* Have room for @size_bytes behind the small pieces that were copied before. */
static int make_tail(struct weir_stream *stream, size_t size_bytes)
{
    struct weir_block *block;

    if (stream->gather != NULL && size_bytes <= stream->gather->size - stream->gathered)
        return 0;
    int rc = weir_pool_alloc(stream->pool, GATHER_MIN_BYTES, &block);
    if (rc != 0)
        return rc;
    weir_block_drop(stream->gather);
    stream->gather = block;
    stream->gathered = 0;
    return 0;
}

/* Append a copy of @bytes, which touches the copy before. */
static int chain_copy(struct weir_stream *stream, struct weir_view bytes, struct weir_chain *chain)
{
    int rc = make_tail(stream, bytes.size);
    if (rc != 0)
        return rc;
    uint8_t *at = stream->gather->data + stream->gathered;
    struct weir_slice copy = weir_slice_adopt(weir_view_of(at, bytes.size), stream->gather);
    memcpy(at, bytes.data, bytes.size);
    rc = weir_chain_append(chain, &copy);
    if (rc != 0)
        return rc;
    stream->gathered += bytes.size;
    stream->stats.bytes_copied += bytes.size;
    return 0;
}

/* Move @size bytes from the front of the input into the chain. */
static int chain_input(struct weir_stream *stream, size_t size, struct weir_chain *chain)
{
    struct weir_slice bytes = stream->input;
    int rc;

    if (size == 0)
        return 0;
    bytes.view.size = size;
    if (size < WEIR_STREAM_LINK_MIN_BYTES && weir_slice_is_small(&bytes) &&
        stream->chained + size != stream->scanned)
        rc = chain_copy(stream, bytes.view, chain);
    else
        rc = weir_chain_append(chain, &bytes);
    if (rc != 0)
        return rc;
    count_chained(stream, bytes.view);
    advance_input(stream, size);
    return 0;
}

/* What was gathered of the message before is the chain's first slice. */
static int chain_gathered(struct weir_stream *stream, struct weir_chain *chain)
{
    struct weir_view bytes = piece(stream);
    struct weir_slice slice = weir_slice_adopt(bytes, stream->gather);

    int rc = weir_chain_append(chain, &slice);
    if (rc == 0)
        count_chained(stream, bytes);
    return rc;
}

int weir_stream_next_chain(struct weir_stream *stream, struct weir_chain *chain)
{
    int rc = 0;

    drop_lent(stream);
    if (stream->fault.error != 0)
        return stream->fault.error;
    assert(chain->size_bytes == stream->chained && !stream->by_parts);
    if (stream->gather != NULL && stream->chained == 0)
        rc = chain_gathered(stream, chain);
    if (rc != 0)
        return rc;
    enum scan found = scan(stream, NO_FRAGMENTS);
    if (found == SCAN_FAULT)
        return stream->fault.error;
    size_t size = stream->input.view.size;
    if (found == SCAN_WHOLE)
        size = stream->scanned - stream->chained;
    rc = chain_input(stream, size, chain);
    if (rc != 0 || found == SCAN_MORE)
        return rc != 0 ? rc : -EAGAIN;
    weir_block_drop(stream->gather);
    stream->gather = NULL;
    stream->gathered = 0;
    weir_chain_consume(chain, prefix_bytes(stream));
    stream->message_offset += stream->scanned;
    stream->stats.bytes += chain->size_bytes;
    end_message(stream);
    return 0;
}

/* --- in parts --------------------------------------------------------------------------------- */

/* A fragment of the payload that is begun. */
static int take_fragment(struct weir_stream *stream, struct weir_stream_part *ret)
{
    size_t size = stream->input.view.size;
    struct weir_slice bytes = stream->input;

    if (size == 0)
        return -EAGAIN;
    if (size > stream->payload_left)
        size = (size_t)stream->payload_left;
    bytes.view.size = size;
    ret->kind = WEIR_PART_FRAGMENT;
    ret->bytes = weir_slice_hold(&bytes);
    stream->payload_left -= size;
    ret->payload_left = stream->payload_left;
    stream->message_offset += size;
    stream->stats.bytes += size;
    advance_input(stream, size);
    return 0;
}

int weir_stream_next_part(struct weir_stream *stream, size_t fragment_min_bytes,
                          struct weir_stream_part *ret)
{
    enum scan found;

    assert(fragment_min_bytes != 0 && stream->chained == 0);
    if (stream->in_parts && stream->payload_left != 0)
        return take_fragment(stream, ret);
    stream->by_parts = true;
    int rc = scan_gathering(stream, fragment_min_bytes, &found);
    if (rc != 0) {
        stream->by_parts = is_begun(stream);
        return rc;
    }
    bool is_last = found == SCAN_WHOLE;
    ret->kind = !is_last ? WEIR_PART_HEAD : stream->in_parts ? WEIR_PART_TAIL : WEIR_PART_WHOLE;
    size_t size = stream->scanned;
    ret->bytes = take_scanned(stream);
    ret->payload_left = is_last ? 0 : stream->payload_left;
    stream->scanned = 0;
    stream->parted += size;
    stream->in_parts = true;
    if (is_last)
        end_message(stream);
    return 0;
}

/* --- the rest --------------------------------------------------------------------------------- */

int weir_stream_compact(struct weir_stream *stream, size_t below_bytes)
{
    struct weir_slice *input = &stream->input;

    if (stream->gather != NULL || stream->chained != 0 || input->view.size == 0 ||
        input->view.size >= below_bytes || !is_cut(stream))
        return 0;
    int rc = grow_gather(stream, 0);
    if (rc == 0)
        drop_input(stream);
    return rc;
}

bool weir_stream_is_partial(const struct weir_stream *stream)
{
    return stream->gather != NULL || stream->input.view.size != 0 || stream->chained != 0 ||
           stream->in_parts;
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
