/* SPDX-License-Identifier: MIT */
/* The invariants of a buffer. */
#include "weir/buf.h"
#include "buf_private.h"

/* What is wrong with the entry at @index; NULL: nothing. */
static const char *broken_segment(const struct weir_buf *buf, uint32_t index)
{
    const struct weir_buf_segment *segment = &buf->segments[buf->first + index];
    const struct weir_block *block = segment->block;
    bool open = index + 1 == buf->count && buf->pos != NULL;

    bool first = buf->message_fixed != 0 && index == buf->message_index;

    if (segment->size == 0 && !open && !(first && buf->headroom_left != 0))
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
               : buf->spare_refs != 0 ? "there are spare references on no segment"
                                      : NULL;
    const struct weir_buf_segment *last = weir__buf_last_segment(buf);
    size_t room = weir__buf_block_room(buf);
    if (__atomic_load_n(&last->block->refs, __ATOMIC_RELAXED) <= buf->spare_refs + buf->links_left)
        return "there are more spare references than references";
    if (last->data + last->size != buf->open)
        return "open is not where the last segment's size ends";
    if (buf->open > buf->pos || buf->pos > buf->end)
        return "open, pos and end are out of order";
    if (weir_buf_room_bytes(buf) !=
        (room < weir__buf_allowance(buf) ? room : weir__buf_allowance(buf)))
        return "end is not where the block or the limit ends";
    if (buf->message != NULL && (buf->message < last->data || buf->message > buf->pos))
        return "the message is not in the open segment";
    return NULL;
}

/* What is wrong with the message that is begun, and with the list; NULL: nothing. */
static const char *broken_messages(const struct weir_buf *buf)
{
    size_t fits = buf->listed != NULL ? buf->listed->size / sizeof(struct weir__buf_listed) : 0;
    uint64_t from = buf->consumed_bytes;

    if (buf->message == NULL && (buf->message_fixed != 0 || buf->headroom_left != 0))
        return "no message is begun, but there are parts of one";
    if (buf->message != NULL && weir_buf_message_bytes(buf) > weir_buf_size(buf))
        return "the message is larger than the buffer";
    if (buf->message_fixed != 0 && (buf->headroom_left != 0 || buf->header_bytes != 0) &&
        buf->message_index + 1 >= buf->count)
        return "the message begins behind itself";
    if (buf->messages_count > buf->messages_max || buf->messages_first > fits ||
        buf->messages_count > fits - buf->messages_first)
        return "there are more messages than the list has room for";
    for (uint32_t i = 0; i < buf->messages_count; i++) {
        const struct weir__buf_listed *message = weir__buf_listed_at(buf, i);
        if (message->at < from ||
            message->at - buf->consumed_bytes > weir_buf_size(buf) - message->size)
            return "a message of the list is not in the buffer";
        from = message->at + message->size;
    }
    return NULL;
}

/* What is wrong with the references that are taken many at a time; NULL: nothing. */
static const char *broken_references(const struct weir_buf *buf)
{
    uint32_t spare = buf->spare_refs + buf->links_left + buf->linked_refs;

    if (buf->links_left != 0 &&
        (buf->pos == NULL || buf->last != weir__buf_last_segment(buf) || buf->slow_messages ||
         buf->growth.limit != 0 || buf->links_left > (buf->capacity - buf->first - buf->count) / 2))
        return "there are more links set aside than can be made";
    if (buf->mixed)
        return NULL;
    for (uint32_t i = 0; i + (buf->pos != NULL) < buf->count; i++)
        spare += buf->segments[buf->first + i].block != NULL;
    if (spare != buf->spare_taken + buf->linked_taken)
        return "references are neither an entry's nor to spare";
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
    const char *broken = broken_references(buf);
    if (broken == NULL)
        broken = broken_messages(buf);
    return broken != NULL ? broken : broken_cursor(buf);
}
