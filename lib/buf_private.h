/* SPDX-License-Identifier: MIT */
/**
 * buf_private: what the sources of buf and of pack share, and tests may look at.
 *
 * buf.c has the segments and what is appended to them, buf_message.c messages, buf_part.c what is
 * taken out, buf_check.c the invariants.
 */
#ifndef WEIR_BUF_PRIVATE_H
#define WEIR_BUF_PRIVATE_H

#include <errno.h>

#include "weir/buf.h"

/**
 * Every invariant of @buf, for tests to look at after each step; not while a packer writes.
 *
 * Returns   NULL: all hold; else a static line that says which one does not.
 * Cost      a walk over the segments.
 */
WEIR_NODISCARD const char *weir__buf_check(const struct weir_buf *buf);

/* Take back the last @size_bytes of the message that is begun, which may still move (asserted). */
void weir__buf_take_back(struct weir_buf *buf, size_t size_bytes);

/*
 * Link @slice, which is not empty, into the message that is begun, whatever its size. Returns as
 * weir_buf_append_slice().
 */
int weir__buf_link(struct weir_buf *buf, const struct weir_slice *slice);

/*
 * Where the byte of the message that is begun lies which has @left_bytes from there to the end, at
 * least 1. Writes the entry that it is in.
 */
uint8_t *weir__buf_message_at(const struct weir_buf *buf, size_t left_bytes, uint32_t *ret_entry);

/* One message of the list. */
struct weir__buf_listed {
    const uint8_t *data; /* NULL: in pieces */
    size_t size;
    uint64_t at; /* bytes appended before it since init or reset */
};

/* Make room for @more entries behind the last one. */
int weir__buf_reserve_table(struct weir_buf *buf, uint32_t more);

/*
 * Go on in a new segment of at least @need_bytes; what was the last one is dropped if it is empty.
 * On an error nothing changed.
 */
int weir__buf_take_segment(struct weir_buf *buf, size_t need_bytes);

/*
 * The open segment is empty: if nobody else holds its block any more, all of the block is ours
 * again. Those who held it when it was consumed or reset may have dropped it since.
 */
void weir__buf_rewind_open(struct weir_buf *buf);

/* Append @size_bytes from @offset_bytes, which are there, to @ret: all of them, or nothing. */
int weir__buf_append_part(const struct weir_buf *buf, size_t offset_bytes, size_t size_bytes,
                          struct weir_chain *ret);

/* The messages that begin before the buffer's front are no longer whole. */
void weir__buf_unlist_consumed(struct weir_buf *buf);

static inline struct weir_buf_segment *weir__buf_last_segment(const struct weir_buf *buf)
{
    assert(buf->count != 0);
    return &buf->segments[buf->first + buf->count - 1];
}

/* Account for what was committed since the last time. */
static inline void weir__buf_settle(struct weir_buf *buf)
{
    if (buf->pos == buf->open)
        return;
    size_t fresh = (size_t)(buf->pos - buf->open);
    weir__buf_last_segment(buf)->size += fresh;
    buf->settled_bytes += fresh;
    buf->open = buf->pos;
}

/* Bytes that the limits still allow. What headroom is left is as good as taken. */
static inline size_t weir__buf_allowance(const struct weir_buf *buf)
{
    size_t limit = buf->growth.limit != 0 ? buf->growth.limit : SIZE_MAX;
    size_t allowed = limit - weir_buf_size(buf) - buf->headroom_left;

    if (buf->message == NULL || buf->message_limit_bytes == 0)
        return allowed;
    size_t of_message = buf->message_limit_bytes - weir_buf_message_bytes(buf) - buf->headroom_left;
    return allowed < of_message ? allowed : of_message;
}

/* The error of what is not allowed: a limit's, or that of a size_t. */
static inline int weir__buf_refusal(const struct weir_buf *buf)
{
    bool limited =
        buf->growth.limit != 0 || (buf->message != NULL && buf->message_limit_bytes != 0);

    return limited ? -ENOBUFS : -EOVERFLOW;
}

/* Bytes of the open segment's block that nothing was written to. */
static inline size_t weir__buf_block_room(const struct weir_buf *buf)
{
    const struct weir_block *block = weir__buf_last_segment(buf)->block;

    return block->size - (size_t)(buf->pos - block->data);
}

/* To be called when the open segment, or what the limit allows, changed. */
static inline void weir__buf_update_end(struct weir_buf *buf)
{
    if (buf->pos == NULL)
        return;
    size_t room = weir__buf_block_room(buf);
    size_t allowed = weir__buf_allowance(buf);
    if (allowed < room)
        room = allowed;
    buf->end = buf->pos + room;
}

/*
 * References on the open segment's block are taken many at a time, for entries over it that are to
 * come: an atomic operation costs as much as all else that linking takes. They are given back
 * before the segment is no longer the open one.
 */
#define WEIR__BUF_SPARE_REFS 64u

/* Take back what was set aside for links: to be called before entries are made or moved. */
static inline void weir__buf_revoke_links(struct weir_buf *buf)
{
    buf->spare_refs += buf->links_left;
    buf->links_left = 0;
}

/* Set aside what weir_buf_link_here() needs, for as many times as there is room for entries. */
static inline void weir__buf_allow_links(struct weir_buf *buf)
{
    uint32_t room = (buf->capacity - buf->first - buf->count) / 2;

    assert(room != 0 && buf->links_left == 0);
    if (buf->spare_refs == 0) {
        weir_block_hold_many(weir__buf_last_segment(buf)->block, WEIR__BUF_SPARE_REFS);
        buf->spare_refs = WEIR__BUF_SPARE_REFS;
        buf->spare_taken += WEIR__BUF_SPARE_REFS;
    }
    buf->links_left = room < buf->spare_refs ? room : buf->spare_refs;
    buf->spare_refs -= buf->links_left;
    buf->last = weir__buf_last_segment(buf);
}

/* The references to spare on the block that was linked last, of which there may be no other. */
static inline void weir__buf_give_back_linked(struct weir_buf *buf)
{
    uint32_t count = buf->linked_refs;

    if (count == 0)
        return;
    buf->linked_refs = 0;
    buf->linked_taken -= count;
    if (count > 1)
        weir_block_drop_many(buf->linked, count - 1);
    weir_block_drop(buf->linked);
}

/*
 * See to it that there is a reference to spare on @block, for an entry that links to it; NULL:
 * nobody's. What is linked twice in a row, a block that many parts are sent of, say, will be linked
 * again: so references are taken many at a time from then on. Those to spare are given back
 * whenever an entry leaves the buffer: until then an entry holds the block as well.
 */
static inline void weir__buf_spare_linked(struct weir_buf *buf, struct weir_block *block)
{
    if (block == NULL || (block == buf->linked && buf->linked_refs != 0))
        return;
    uint32_t count = block == buf->linked ? WEIR__BUF_SPARE_REFS : 1;
    if (block != buf->linked) {
        weir__buf_give_back_linked(buf);
        buf->mixed = buf->mixed || buf->linked_taken != 0;
        buf->linked_taken = 0;
        buf->linked = block;
    }
    weir_block_hold_many(block, count);
    buf->linked_refs += count;
    buf->linked_taken += count;
}

/*
 * Drop an entry's reference on @block; @open is the block of the open segment, NULL: none is. To be
 * followed by weir__buf_give_back_linked().
 */
static inline void weir__buf_drop(struct weir_buf *buf, struct weir_block *block,
                                  const struct weir_block *open)
{
    if (block == NULL)
        return;
    if (block == open)
        buf->spare_refs++;
    else if (block == buf->linked)
        buf->linked_refs++;
    else
        weir_block_drop(block);
}

/* The open segment has a reference of its own, so this never is the last one. */
static inline void weir__buf_give_back_spare(struct weir_buf *buf)
{
    weir__buf_revoke_links(buf);
    buf->spare_taken = 0;
    buf->mixed = true;
    if (buf->spare_refs == 0)
        return;
    /* Release: what was written in the block happens before it is used again. */
    weir_block_drop_many(weir__buf_last_segment(buf)->block, buf->spare_refs);
    buf->spare_refs = 0;
}

/* Whether nobody else holds the open segment's @block, nor another entry. */
static inline bool weir__buf_is_exclusive(const struct weir_buf *buf,
                                          const struct weir_block *block)
{
    return __atomic_load_n(&block->refs, __ATOMIC_ACQUIRE) == 1 + buf->spare_refs + buf->links_left;
}

static inline void weir__buf_close_segment(struct weir_buf *buf)
{
    weir__buf_settle(buf);
    weir__buf_give_back_spare(buf);
    buf->pos = NULL;
    buf->end = NULL;
    buf->open = NULL;
}

/* Write to the last segment from @at on, which is where its bytes end. */
static inline void weir__buf_open_segment(struct weir_buf *buf, uint8_t *at)
{
    assert(weir__buf_last_segment(buf)->data + weir__buf_last_segment(buf)->size == at);
    buf->pos = at;
    buf->open = at;
    weir__buf_update_end(buf);
}

/* Append an entry, for which there is room, taking over the caller's reference on @block. */
static inline void weir__buf_push_segment(struct weir_buf *buf, uint8_t *data, size_t size,
                                          struct weir_block *block)
{
    struct weir_buf_segment segment = {data, size, block};

    assert(buf->count < buf->capacity - buf->first);
    buf->segments[buf->first + buf->count++] = segment;
    buf->settled_bytes += size;
}

/* Drop the last segment if it is empty; it is not open then. */
static inline void weir__buf_drop_empty_last(struct weir_buf *buf)
{
    if (buf->count == 0 || weir__buf_last_segment(buf)->size != 0)
        return;
    weir_block_drop(weir__buf_last_segment(buf)->block);
    buf->count--;
}

/* Whether messages may be begun and ended inline. */
static inline void weir__buf_choose_path(struct weir_buf *buf)
{
    buf->slow_messages =
        buf->headroom_bytes != 0 || buf->message_limit_bytes != 0 || buf->messages_max != 0;
}

/* Bytes in the entry at @index, those included that are not settled. */
static inline size_t weir__buf_entry_bytes(const struct weir_buf *buf, uint32_t index)
{
    size_t size = buf->segments[buf->first + index].size;

    return index + 1 == buf->count ? size + (size_t)(buf->pos - buf->open) : size;
}

/* The bytes that are complete: without the message that is begun. */
static inline size_t weir__buf_complete_bytes(const struct weir_buf *buf)
{
    return weir_buf_size(buf) - (buf->message != NULL ? weir_buf_message_bytes(buf) : 0);
}

static inline struct weir__buf_listed *weir__buf_listed_at(const struct weir_buf *buf,
                                                           uint32_t index)
{
    assert(index < buf->messages_count);
    return (struct weir__buf_listed *)(void *)buf->listed->data + buf->messages_first + index;
}

#endif /* WEIR_BUF_PRIVATE_H */
