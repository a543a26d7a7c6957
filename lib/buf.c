/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "weir/buf.h"
#include "buf_private.h"

#define INITIAL_BYTES 4096u
#define SEGMENT_MAX_BYTES (64u << 10)
#define LINK_MIN_BYTES 1024u

int weir_buf_init(struct weir_buf *buf, struct weir_pool *pool,
                  const struct weir_buf_options *options)
{
    static const struct weir_buf_options defaults;
    const struct weir_buf_options *o = options ? options : &defaults;
    struct weir_growth growth = {o->initial_bytes, o->segment_max_bytes, o->limit_bytes,
                                 o->growth_percent};

    memset(buf, 0, sizeof(*buf));
    int rc = weir_growth_init(&growth, INITIAL_BYTES, SEGMENT_MAX_BYTES);
    if (rc != 0)
        return rc;
    buf->pool = pool;
    buf->segments = buf->inline_segments;
    buf->capacity = WEIR_BUF_INLINE_SEGMENTS;
    buf->growth = growth;
    buf->next_bytes = weir_growth_next(&growth, 0, 0);
    buf->link_min_bytes = o->link_min_bytes ? o->link_min_bytes : LINK_MIN_BYTES;
    return 0;
}

void weir_buf_fini(struct weir_buf *buf)
{
    for (uint32_t i = 0; i < buf->count; i++)
        weir_block_drop(buf->segments[buf->first + i].block);
    weir_block_drop(buf->table);
    memset(buf, 0, sizeof(*buf));
}

static struct weir_buf_segment *last_segment(const struct weir_buf *buf)
{
    assert(buf->count != 0);
    return &buf->segments[buf->first + buf->count - 1];
}

/* Account for what was committed since the last time. */
static void settle(struct weir_buf *buf)
{
    if (buf->pos == buf->open)
        return;
    size_t fresh = (size_t)(buf->pos - buf->open);
    last_segment(buf)->size += fresh;
    buf->settled_bytes += fresh;
    buf->open = buf->pos;
}

/* Bytes that the limit still allows. */
static size_t allowance(const struct weir_buf *buf)
{
    if (buf->growth.limit == 0)
        return SIZE_MAX - weir_buf_size(buf);
    return buf->growth.limit - weir_buf_size(buf);
}

/* Bytes of the open segment's block that nothing was written to. */
static size_t block_room(const struct weir_buf *buf)
{
    const struct weir_block *block = last_segment(buf)->block;

    return block->size - (size_t)(buf->pos - block->data);
}

/* To be called when the open segment, or what the limit allows, changed. */
static void update_end(struct weir_buf *buf)
{
    if (buf->pos == NULL)
        return;
    size_t room = block_room(buf);
    size_t allowed = allowance(buf);
    if (allowed < room)
        room = allowed;
    buf->end = buf->pos + room;
}

static void close_segment(struct weir_buf *buf)
{
    settle(buf);
    buf->pos = NULL;
    buf->end = NULL;
    buf->open = NULL;
}

/* Write to the last segment from @at on, which is where its bytes end. */
static void open_segment(struct weir_buf *buf, uint8_t *at)
{
    assert(last_segment(buf)->data + last_segment(buf)->size == at);
    buf->pos = at;
    buf->open = at;
    update_end(buf);
}

/* Make room for @more entries behind the last one. */
static int reserve_table(struct weir_buf *buf, uint32_t more)
{
    struct weir_buf_segment *live = buf->segments + buf->first;
    size_t live_bytes = buf->count * sizeof(*live);
    struct weir_block *table;

    if (more <= buf->capacity - buf->first - buf->count)
        return 0;
    if (buf->first >= buf->capacity / 2 && more <= buf->capacity - buf->count) {
        /* At least half is free in front: each entry is moved once per half table. */
        memmove(buf->segments, live, live_bytes);
        buf->first = 0;
        return 0;
    }
    if (buf->capacity > UINT32_MAX / 2)
        return -EOVERFLOW;
    int rc = weir_pool_alloc(buf->pool, (size_t)buf->capacity * 2 * sizeof(*live), &table);
    if (rc != 0)
        return rc;
    size_t fits = table->size / sizeof(*live);
    memcpy(table->data, live, live_bytes);
    weir_block_drop(buf->table);
    buf->table = table;
    buf->segments = (struct weir_buf_segment *)(void *)table->data;
    buf->capacity = fits < UINT32_MAX ? (uint32_t)fits : UINT32_MAX;
    buf->first = 0;
    return 0;
}

/* Append an entry, for which there is room, taking over the caller's reference on @block. */
static void push_segment(struct weir_buf *buf, uint8_t *data, size_t size, struct weir_block *block)
{
    struct weir_buf_segment segment = {data, size, block};

    assert(buf->count < buf->capacity - buf->first);
    buf->segments[buf->first + buf->count++] = segment;
    buf->settled_bytes += size;
}

/* Drop the last segment if it is empty; it is not open then. */
static void drop_empty_last(struct weir_buf *buf)
{
    if (buf->count == 0 || last_segment(buf)->size != 0)
        return;
    weir_block_drop(last_segment(buf)->block);
    buf->count--;
}

/*
 * Go on in a new segment of at least @need_bytes; what was the last one is dropped if it is empty.
 * On an error nothing changed.
 */
static int take_segment(struct weir_buf *buf, size_t need_bytes)
{
    struct weir_block *block;
    size_t planned = buf->next_bytes;

    int rc = reserve_table(buf, 1);
    if (rc != 0)
        return rc;
    rc = weir_pool_alloc(buf->pool, need_bytes > planned ? need_bytes : planned, &block);
    if (rc != 0)
        return rc;
    close_segment(buf);
    drop_empty_last(buf);
    push_segment(buf, block->data, 0, block);
    open_segment(buf, block->data);
    /* The limit is on the bytes in the buffer, not on what its segments have room for. */
    buf->next_bytes = weir_growth_next(&buf->growth, block->size, 0);
    return 0;
}

/*
 * The open segment is empty: if nobody else holds its block any more, all of the block is ours
 * again. Those who held it when it was consumed or reset may have dropped it since.
 */
static void rewind_open(struct weir_buf *buf)
{
    struct weir_buf_segment *last;

    if (buf->pos == NULL || buf->pos != buf->open)
        return;
    last = last_segment(buf);
    if (last->size != 0 || !weir_block_is_exclusive(last->block))
        return;
    last->data = last->block->data;
    if (buf->message != NULL)
        buf->message = last->data;
    open_segment(buf, last->data);
}

/*
 * The message does not fit its segment: take a larger one, and the message with it. Nobody has seen
 * its bytes, and those before it stay where they are.
 */
static int move_message(struct weir_buf *buf, size_t size_bytes)
{
    size_t so_far = (size_t)(buf->pos - buf->message);
    const uint8_t *from = buf->message;
    /* Held, so that the bytes live while they are copied even if their segment becomes empty. */
    struct weir_block *old = last_segment(buf)->block;
    size_t need;

    if (weir_add_overflows(so_far, size_bytes, &need))
        return -EOVERFLOW;
    /* By half at least, lest a message written in small steps be moved at each of them. */
    uint32_t percent = buf->growth.percent;
    if (percent < WEIR_GROWTH_PERCENT)
        percent = WEIR_GROWTH_PERCENT;
    size_t wanted = weir_growth_scale(so_far, percent);
    if (buf->growth.limit != 0 && wanted > buf->growth.limit)
        wanted = buf->growth.limit;
    if (wanted < need)
        wanted = need;
    weir_block_hold(old);
    last_segment(buf)->size -= so_far;
    buf->settled_bytes -= so_far;
    buf->pos = buf->message;
    buf->open = buf->message;
    int rc = take_segment(buf, wanted);
    if (rc != 0) {
        buf->pos = buf->message + so_far;
        settle(buf);
        weir_block_drop(old);
        return rc;
    }
    if (so_far != 0)
        memcpy(buf->pos, from, so_far);
    buf->message = buf->pos;
    buf->pos += so_far;
    settle(buf);
    buf->bytes_copied += so_far;
    weir_block_drop(old);
    return 0;
}

int weir_buf_reserve_slow(struct weir_buf *buf, size_t size_bytes, uint8_t **ret)
{
    int rc = 0;

    settle(buf);
    if (size_bytes > allowance(buf))
        return buf->growth.limit != 0 ? -ENOBUFS : -EOVERFLOW;
    rewind_open(buf);
    if (size_bytes > weir_buf_room_bytes(buf))
        rc = buf->message != NULL ? move_message(buf, size_bytes) : take_segment(buf, size_bytes);
    if (rc != 0)
        return rc;
    assert(size_bytes <= weir_buf_room_bytes(buf));
    *ret = buf->pos;
    return 0;
}

int weir_buf_append(struct weir_buf *buf, struct weir_view bytes)
{
    struct weir_block *keep = NULL;
    uint8_t *at;

    if (bytes.size == 0)
        return 0;
    if (bytes.size > weir_buf_room_bytes(buf) && buf->message != NULL)
        /* The bytes may lie in the message, which is about to move. */
        keep = weir_block_hold(last_segment(buf)->block);
    int rc = weir_buf_reserve(buf, bytes.size, &at);
    if (rc == 0) {
        memcpy(at, bytes.data, bytes.size);
        weir_buf_commit(buf, bytes.size);
        buf->bytes_copied += bytes.size;
    }
    weir_block_drop(keep);
    return rc;
}

/* Link @slice behind everything; the open segment, if there is one, goes on behind it. */
static int link_slice(struct weir_buf *buf, const struct weir_slice *slice)
{
    struct weir_block *block = slice->block;
    /* The buffer does not write to what it links, see open_segment(). */
    uint8_t *data = (uint8_t *)(uintptr_t)slice->view.data;
    uint8_t *pos;

    int rc = reserve_table(buf, 2);
    if (rc != 0)
        return rc;
    pos = buf->pos;
    if (pos != NULL && block_room(buf) == 0)
        pos = NULL;
    struct weir_block *open = pos != NULL ? weir_block_hold(last_segment(buf)->block) : NULL;
    close_segment(buf);
    drop_empty_last(buf);
    push_segment(buf, data, slice->view.size, block != NULL ? weir_block_hold(block) : NULL);
    if (pos != NULL) {
        /* The rest of the block is not wasted: two entries over one block, each with its hold. */
        push_segment(buf, pos, 0, open);
        open_segment(buf, pos);
    }
    return 0;
}

int weir_buf_append_slice(struct weir_buf *buf, const struct weir_slice *slice)
{
    assert(buf->message == NULL);
    if (slice->view.size < buf->link_min_bytes)
        return weir_buf_append(buf, slice->view);
    if (slice->view.size > allowance(buf))
        return buf->growth.limit != 0 ? -ENOBUFS : -EOVERFLOW;
    return link_slice(buf, slice);
}

int weir_buf_begin(struct weir_buf *buf, size_t hint_bytes)
{
    assert(buf->message == NULL);
    settle(buf);
    if (hint_bytes > allowance(buf))
        return buf->growth.limit != 0 ? -ENOBUFS : -EOVERFLOW;
    if (buf->pos == NULL || hint_bytes > weir_buf_room_bytes(buf)) {
        rewind_open(buf);
        if (buf->pos == NULL || hint_bytes > weir_buf_room_bytes(buf)) {
            int rc = take_segment(buf, hint_bytes);
            if (rc != 0)
                return rc;
        }
    }
    buf->message = buf->pos;
    return 0;
}

void weir_buf_end(struct weir_buf *buf, struct weir_view *ret)
{
    assert(buf->message != NULL);
    if (ret != NULL)
        *ret = weir_view_of(buf->message, (size_t)(buf->pos - buf->message));
    buf->message = NULL;
}

void weir__buf_take_back(struct weir_buf *buf, size_t size_bytes)
{
    assert(buf->message != NULL && size_bytes <= (size_t)(buf->pos - buf->message));
    /* end stays: as much as pos goes back, the limit allows more. */
    buf->pos -= size_bytes;
    if (buf->open > buf->pos) {
        size_t settled = (size_t)(buf->open - buf->pos);
        last_segment(buf)->size -= settled;
        buf->settled_bytes -= settled;
        buf->open = buf->pos;
    }
}

void weir_buf_cancel(struct weir_buf *buf)
{
    assert(buf->message != NULL);
    weir__buf_take_back(buf, (size_t)(buf->pos - buf->message));
    buf->message = NULL;
}

/* Bytes of the segment at @index that are complete: without the message that is begun. */
static size_t complete_bytes(const struct weir_buf *buf, uint32_t index)
{
    const struct weir_buf_segment *segment = &buf->segments[buf->first + index];

    if (index + 1 != buf->count || buf->pos == NULL)
        return segment->size;
    return (size_t)((buf->message != NULL ? buf->message : buf->pos) - segment->data);
}

unsigned weir_buf_iovecs(const struct weir_buf *buf, size_t offset_bytes, struct iovec *iov,
                         struct weir_block **blocks, unsigned iov_max)
{
    unsigned filled = 0;

    assert(offset_bytes <= weir_buf_size(buf));
    for (uint32_t i = 0; i < buf->count; i++) {
        const struct weir_buf_segment *segment = &buf->segments[buf->first + i];
        size_t size = complete_bytes(buf, i);
        if (offset_bytes >= size) {
            offset_bytes -= size;
            continue;
        }
        uint8_t *data = segment->data + offset_bytes;
        size -= offset_bytes;
        offset_bytes = 0;
        struct iovec *last = filled != 0 ? &iov[filled - 1] : NULL;
        if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == data &&
            (blocks == NULL || blocks[filled - 1] == segment->block)) {
            last->iov_len += size;
            continue;
        }
        if (filled == iov_max)
            break;
        iov[filled].iov_base = data;
        iov[filled].iov_len = size;
        if (blocks != NULL)
            blocks[filled] = segment->block;
        filled++;
    }
    return filled;
}

/* A slice of @part that holds @block. */
static struct weir_slice hold_part(struct weir_view part, struct weir_block *block)
{
    return weir_slice_adopt(part, block != NULL ? weir_block_hold(block) : NULL);
}

int weir_buf_slice_of(const struct weir_buf *buf, struct weir_view part, struct weir_slice *ret)
{
    for (uint32_t i = buf->count; i-- > 0;) {
        const struct weir_buf_segment *segment = &buf->segments[buf->first + i];
        size_t size = complete_bytes(buf, i);
        /* As numbers: the order of pointers into different objects is not C's to tell. */
        uintptr_t offset = (uintptr_t)part.data - (uintptr_t)segment->data;
        if (offset <= size && part.size <= size - offset) {
            *ret = hold_part(part, segment->block);
            return 0;
        }
    }
    return -EINVAL;
}

int weir_buf_front(const struct weir_buf *buf, struct weir_slice *ret)
{
    if (buf->count == 0 || complete_bytes(buf, 0) == 0)
        return -EAGAIN;
    const struct weir_buf_segment *segment = &buf->segments[buf->first];
    *ret = hold_part(weir_view_of(segment->data, complete_bytes(buf, 0)), segment->block);
    return 0;
}

void weir_buf_consume(struct weir_buf *buf, size_t size_bytes)
{
    assert(buf->message == NULL);
    assert(size_bytes <= weir_buf_size(buf));
    settle(buf);
    buf->settled_bytes -= size_bytes;
    while (size_bytes != 0) {
        struct weir_buf_segment *segment = &buf->segments[buf->first];
        size_t taken = size_bytes < segment->size ? size_bytes : segment->size;
        segment->data += taken;
        segment->size -= taken;
        size_bytes -= taken;
        if (segment->size != 0 || (buf->count == 1 && buf->pos != NULL))
            continue;
        weir_block_drop(segment->block);
        buf->first++;
        buf->count--;
    }
    if (buf->count == 0)
        buf->first = 0;
    rewind_open(buf);
    update_end(buf);
}

void weir_buf_reset(struct weir_buf *buf)
{
    struct weir_block *kept = NULL;

    for (uint32_t i = 0; i < buf->count; i++) {
        struct weir_block *block = buf->segments[buf->first + i].block;
        if (i + 1 == buf->count && buf->pos != NULL)
            kept = block;
        else
            weir_block_drop(block);
    }
    weir_block_drop(buf->table);
    buf->table = NULL;
    buf->segments = buf->inline_segments;
    buf->capacity = WEIR_BUF_INLINE_SEGMENTS;
    buf->first = 0;
    buf->count = 0;
    buf->settled_bytes = 0;
    buf->pos = NULL;
    buf->end = NULL;
    buf->open = NULL;
    buf->message = NULL;
    if (kept == NULL) {
        buf->next_bytes = weir_growth_next(&buf->growth, 0, 0);
    } else if (weir_block_is_exclusive(kept)) {
        push_segment(buf, kept->data, 0, kept);
        open_segment(buf, kept->data);
    } else {
        /* As large as the one given up, not larger: resets alone are no reason to grow. */
        buf->next_bytes = weir_growth_bound(&buf->growth, kept->size, 0);
        weir_block_drop(kept);
    }
}

/* What is wrong with the entry at @index; NULL: nothing. */
static const char *broken_segment(const struct weir_buf *buf, uint32_t index)
{
    const struct weir_buf_segment *segment = &buf->segments[buf->first + index];
    const struct weir_block *block = segment->block;
    bool open = index + 1 == buf->count && buf->pos != NULL;

    if (segment->size == 0 && !open)
        return "a segment that is not written to is empty";
    if (block == NULL)
        return open ? "the open segment has no block" : NULL;
    size_t offset = (size_t)((uintptr_t)segment->data - (uintptr_t)block->data);
    if (offset > block->size || segment->size > block->size - offset)
        return "a segment does not lie in its block";
    return NULL;
}

/* What is wrong with pos, end, open and message; NULL: nothing. */
static const char *broken_cursor(const struct weir_buf *buf)
{
    if (buf->pos == NULL || buf->open == NULL || buf->end == NULL)
        return buf->pos || buf->open || buf->end || buf->message ? "half of a segment is open"
                                                                 : NULL;
    const struct weir_buf_segment *last = last_segment(buf);
    size_t room = block_room(buf);
    if (last->data + last->size != buf->open)
        return "open is not where the last segment's size ends";
    if (buf->open > buf->pos || buf->pos > buf->end)
        return "open, pos and end are out of order";
    if (weir_buf_room_bytes(buf) != (room < allowance(buf) ? room : allowance(buf)))
        return "end is not where the block or the limit ends";
    if (buf->message != NULL && (buf->message < last->data || buf->message > buf->pos))
        return "the message is not in the open segment";
    return NULL;
}

const char *weir__buf_check(const struct weir_buf *buf)
{
    const void *table =
        buf->table != NULL ? (const void *)buf->table->data : (const void *)buf->inline_segments;
    size_t total = 0;

    if (buf->segments != table)
        return "the table is neither the inline one nor in its block";
    if (buf->first > buf->capacity || buf->count > buf->capacity - buf->first)
        return "there are more segments than the table has entries";
    if (buf->next_bytes == 0 || buf->next_bytes > buf->growth.step_max)
        return "the next segment is planned out of bounds";
    for (uint32_t i = 0; i < buf->count; i++) {
        const char *broken = broken_segment(buf, i);
        if (broken != NULL)
            return broken;
        total += buf->segments[buf->first + i].size;
    }
    if (total != buf->settled_bytes)
        return "the segments' sizes do not add up";
    if (buf->growth.limit != 0 && weir_buf_size(buf) > buf->growth.limit)
        return "the limit is exceeded";
    return broken_cursor(buf);
}
