/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "weir/buf.h"
#include "buf_private.h"

#define INITIAL_BYTES 4096u
#define SEGMENT_MAX_BYTES (64u << 10)
#define LINK_MIN_BYTES 4096u
/* A table of segments up to this size is kept by a reset. */
#define TABLE_KEPT_BYTES 4096u

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
    buf->message_limit_bytes = o->message_limit_bytes;
    buf->headroom_bytes = o->headroom_bytes;
    buf->messages_max = o->messages_max;
    weir__buf_choose_path(buf);
    return 0;
}

void weir_buf_fini(struct weir_buf *buf)
{
    weir__buf_give_back_spare(buf);
    weir__buf_give_back_linked(buf);
    for (uint32_t i = 0; i < buf->count; i++)
        weir_block_drop(buf->segments[buf->first + i].block);
    weir_block_drop(buf->table);
    weir_block_drop(buf->listed);
    memset(buf, 0, sizeof(*buf));
}

int weir__buf_reserve_table(struct weir_buf *buf, uint32_t more)
{
    struct weir_buf_segment *live = buf->segments + buf->first;
    size_t live_bytes = buf->count * sizeof(*live);
    struct weir_block *table;

    weir__buf_revoke_links(buf);
    if (more <= buf->capacity - buf->first - buf->count)
        return 0;
    if (buf->first >= buf->capacity / 2 && more <= buf->capacity - buf->count) {
        /* At least half is free in front: each entry is moved once per half table. */
        memmove(buf->segments, live, live_bytes);
        buf->first = 0;
        return 0;
    }
    if (buf->capacity > UINT32_MAX / 2 || more > UINT32_MAX / 2)
        return -EOVERFLOW;
    size_t wanted = (size_t)buf->capacity * 2;
    if (wanted < (size_t)buf->count + more)
        wanted = (size_t)buf->count + more;
    int rc = weir_pool_alloc(buf->pool, wanted * sizeof(*live), &table);
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

int weir__buf_take_segment(struct weir_buf *buf, size_t need_bytes)
{
    struct weir_block *block;
    size_t planned = buf->next_bytes;

    int rc = weir__buf_reserve_table(buf, 1);
    if (rc != 0)
        return rc;
    rc = weir_pool_alloc(buf->pool, need_bytes > planned ? need_bytes : planned, &block);
    if (rc != 0)
        return rc;
    weir__buf_close_segment(buf);
    weir__buf_drop_empty_last(buf);
    if (buf->count == 0) {
        buf->mixed = false;
        buf->linked_taken = buf->linked_refs;
    }
    weir__buf_push_segment(buf, block->data, 0, block);
    weir__buf_open_segment(buf, block->data);
    /* The limit is on the bytes in the buffer, not on what its segments have room for. */
    buf->next_bytes = weir_growth_next(&buf->growth, block->size, 0);
    return 0;
}

void weir__buf_rewind_open(struct weir_buf *buf)
{
    struct weir_buf_segment *last;

    if (buf->pos == NULL || buf->pos != buf->open)
        return;
    last = weir__buf_last_segment(buf);
    if (last->size != 0 || !weir__buf_is_exclusive(buf, last->block))
        return;
    /* A message that is begun has no byte yet, but perhaps headroom. */
    last->data = last->block->data + (buf->message_fixed == 0 ? buf->headroom_left : 0);
    if (buf->message != NULL)
        buf->message = last->data;
    weir__buf_open_segment(buf, last->data);
}

/* The size of the segment that a message of @so_far bytes moves to, for at least @need. */
static size_t moved_bytes(const struct weir_buf *buf, size_t so_far, size_t need)
{
    /* By half at least, lest a message written in small steps be moved at each of them. */
    uint32_t percent = buf->growth.percent;
    if (percent < WEIR_GROWTH_PERCENT)
        percent = WEIR_GROWTH_PERCENT;
    size_t wanted = weir_growth_scale(so_far, percent);
    if (buf->growth.limit != 0 && wanted > buf->growth.limit)
        wanted = buf->growth.limit;
    if (buf->message_limit_bytes != 0 && wanted > buf->message_limit_bytes)
        wanted = buf->message_limit_bytes;
    return wanted < need ? need : wanted;
}

/*
 * The message does not fit its segment: take a larger one, and the message with it, or what comes
 * behind the slices that were linked into it. Nobody has seen its bytes, and those before it stay
 * where they are.
 */
static int move_message(struct weir_buf *buf, size_t size_bytes)
{
    size_t so_far = (size_t)(buf->pos - buf->message);
    size_t headroom = buf->message_fixed == 0 ? buf->headroom_left : 0;
    const uint8_t *from = buf->message;
    /* Held, so that the bytes live while they are copied even if their segment becomes empty. */
    struct weir_block *old = weir__buf_last_segment(buf)->block;
    size_t need, wanted;

    if (weir_add_overflows(so_far, size_bytes, &need) || weir_add_overflows(need, headroom, &need))
        return -EOVERFLOW;
    wanted = moved_bytes(buf, so_far, need);
    weir_block_hold(old);
    weir__buf_last_segment(buf)->size -= so_far;
    buf->settled_bytes -= so_far;
    buf->pos = buf->message;
    buf->open = buf->message;
    int rc = weir__buf_take_segment(buf, wanted);
    if (rc != 0) {
        buf->pos = buf->message + so_far;
        weir__buf_settle(buf);
        weir_block_drop(old);
        return rc;
    }
    weir__buf_last_segment(buf)->data += headroom;
    buf->message = weir__buf_last_segment(buf)->data;
    buf->open = buf->message;
    buf->pos = buf->message;
    if (so_far != 0)
        memcpy(buf->pos, from, so_far);
    buf->pos += so_far;
    weir__buf_settle(buf);
    weir__buf_update_end(buf);
    buf->bytes_copied += so_far;
    weir_block_drop(old);
    return 0;
}

int weir_buf_reserve_slow(struct weir_buf *buf, size_t size_bytes, uint8_t **ret)
{
    int rc = 0;

    weir__buf_settle(buf);
    if (size_bytes > weir__buf_allowance(buf))
        return weir__buf_refusal(buf);
    weir__buf_rewind_open(buf);
    if (size_bytes > weir_buf_room_bytes(buf))
        rc = buf->message != NULL ? move_message(buf, size_bytes)
                                  : weir__buf_take_segment(buf, size_bytes);
    if (rc != 0)
        return rc;
    assert(size_bytes <= weir_buf_room_bytes(buf));
    *ret = buf->pos;
    return 0;
}

/* Whether any of @bytes lies in @block. As numbers: they may be of different objects. */
static bool touches_block(struct weir_view bytes, const struct weir_block *block)
{
    uintptr_t from = (uintptr_t)bytes.data, start = (uintptr_t)block->data;

    return from < start ? bytes.size > start - from : from - start < block->size;
}

int weir_buf_append(struct weir_buf *buf, struct weir_view bytes)
{
    struct weir_block *keep = NULL;
    uint8_t *at;

    if (bytes.size == 0)
        return 0;
    if (bytes.size > weir_buf_room_bytes(buf) && buf->pos != NULL &&
        touches_block(bytes, weir__buf_last_segment(buf)->block))
        /* They may be all that is in the segment, in a message that is about to move, say. */
        keep = weir_block_hold(weir__buf_last_segment(buf)->block);
    int rc = weir_buf_reserve(buf, bytes.size, &at);
    if (rc == 0) {
        /* They may overlap what was reserved, which nobody else has seen. */
        memmove(at, bytes.data, bytes.size);
        weir_buf_commit(buf, bytes.size);
        buf->bytes_copied += bytes.size;
    }
    weir_block_drop(keep);
    return rc;
}

/*
 * Link @slice behind everything; the open segment, if there is one, goes on behind it. There is
 * room for two entries.
 */
static void link_slice(struct weir_buf *buf, const struct weir_slice *slice)
{
    struct weir_block *block = slice->block;
    /* The buffer does not write to what it links, see weir__buf_open_segment(). */
    uint8_t *data = (uint8_t *)(uintptr_t)slice->view.data;
    uint8_t *pos = buf->pos;
    bool in_message = buf->message != NULL;
    size_t before = in_message ? weir_buf_message_bytes(buf) : 0;
    bool first = in_message && buf->message_fixed == 0;

    if (pos != NULL && !in_message && weir__buf_block_room(buf) == 0)
        pos = NULL;
    struct weir_block *open =
        pos != NULL ? weir_block_hold(weir__buf_last_segment(buf)->block) : NULL;
    weir__buf_close_segment(buf);
    /* An empty segment stays if what is to be put before the message's first byte goes there. */
    if (!first || buf->headroom_left == 0)
        weir__buf_drop_empty_last(buf);
    if (first)
        buf->message_index = buf->count - (before != 0 || buf->headroom_left != 0);
    weir__buf_spare_linked(buf, block);
    buf->linked_refs -= block != NULL;
    weir__buf_push_segment(buf, data, slice->view.size, block);
    if (pos != NULL) {
        /* The rest of the block is not wasted: two entries over one block, each with its hold. */
        weir__buf_push_segment(buf, pos, 0, open);
        weir__buf_open_segment(buf, pos);
    }
    if (in_message) {
        buf->message = pos;
        buf->message_fixed = before + slice->view.size;
        if (buf->message_limit_bytes != 0)
            weir__buf_update_end(buf);
    }
}

static int link_checked(struct weir_buf *buf, const struct weir_slice *slice)
{
    weir__buf_settle(buf);
    if (slice->view.size > weir__buf_allowance(buf))
        return weir__buf_refusal(buf);
    int rc = weir__buf_reserve_table(buf, 2);
    if (rc == 0)
        link_slice(buf, slice);
    return rc;
}

int weir_buf_keep(struct weir_buf *buf, const struct weir_slice *slice)
{
    assert(buf->message == NULL);
    return weir_slice_is_small(slice) ? weir_buf_append(buf, slice->view)
                                      : weir_buf_append_slice(buf, slice);
}

int weir_buf_append_slice(struct weir_buf *buf, const struct weir_slice *slice)
{
    if (slice->view.size < buf->link_min_bytes)
        return weir_buf_append(buf, slice->view);
    return link_checked(buf, slice);
}

int weir__buf_link(struct weir_buf *buf, const struct weir_slice *slice)
{
    size_t size = slice->view.size;

    assert(buf->message != NULL && size != 0);
    /* Links of less than 2^32 bytes, of which there are less than 2^31, overflow no 64 bits. */
    if (sizeof(size_t) < sizeof(uint64_t) || buf->slow_messages || buf->growth.limit != 0 ||
        buf->pos == buf->message || size > UINT32_MAX || size > SIZE_MAX - weir_buf_size(buf))
        return link_checked(buf, slice);
    if (buf->links_left == 0) {
        int rc = weir__buf_reserve_table(buf, 2);
        if (rc != 0)
            return rc;
        weir__buf_allow_links(buf);
    }
    weir__buf_spare_linked(buf, slice->block);
    weir_buf_link_here(buf, buf->pos, slice);
    return 0;
}

/* What appending a chain takes. */
struct demand {
    size_t copied;   /* bytes */
    uint32_t linked; /* slices */
    bool own;        /* some of what is copied lies in the open segment */
};

static struct demand demand_of(const struct weir_buf *buf, const struct weir_chain *chain)
{
    const struct weir_block *open = buf->pos != NULL ? weir__buf_last_segment(buf)->block : NULL;
    struct demand demand = {0, 0, false};

    for (uint32_t i = 0; i < chain->count; i++) {
        const struct weir_slice *slice = &chain->slices[i];
        if (slice->view.size >= buf->link_min_bytes) {
            demand.linked++;
            continue;
        }
        demand.copied += slice->view.size;
        demand.own = demand.own || (open != NULL && touches_block(slice->view, open));
    }
    return demand;
}

int weir_buf_append_chain(struct weir_buf *buf, const struct weir_chain *chain)
{
    struct weir_block *keep = NULL;
    uint8_t *at;

    if (chain->size_bytes == 0)
        return 0;
    weir__buf_settle(buf);
    if (chain->size_bytes > weir__buf_allowance(buf))
        return weir__buf_refusal(buf);
    struct demand demand = demand_of(buf, chain);
    if (demand.linked > (UINT32_MAX / 2 - 1) / 2)
        return -EOVERFLOW;
    /* Everything that can fail, so that it is all or nothing; one entry is for a new segment. */
    int rc = weir__buf_reserve_table(buf, 2 * demand.linked + 1);
    if (demand.own)
        keep = weir_block_hold(weir__buf_last_segment(buf)->block);
    if (rc == 0 && demand.copied != 0)
        rc = weir_buf_reserve(buf, demand.copied, &at);
    for (uint32_t i = 0; rc == 0 && i < chain->count; i++) {
        const struct weir_slice *slice = &chain->slices[i];
        if (slice->view.size < buf->link_min_bytes)
            rc = weir_buf_append(buf, slice->view);
        else
            link_slice(buf, slice);
    }
    weir_block_drop(keep);
    return rc;
}

void weir_buf_consume(struct weir_buf *buf, size_t size_bytes)
{
    assert(buf->message == NULL);
    assert(size_bytes <= weir_buf_size(buf));
    weir__buf_settle(buf);
    weir__buf_revoke_links(buf);
    const struct weir_block *open = buf->pos != NULL ? weir__buf_last_segment(buf)->block : NULL;
    buf->settled_bytes -= size_bytes;
    buf->consumed_bytes += size_bytes;
    while (size_bytes != 0) {
        struct weir_buf_segment *segment = &buf->segments[buf->first];
        size_t taken = size_bytes < segment->size ? size_bytes : segment->size;
        segment->data += taken;
        segment->size -= taken;
        size_bytes -= taken;
        if (segment->size != 0 || (buf->count == 1 && buf->pos != NULL))
            continue;
        weir__buf_drop(buf, segment->block, open);
        buf->first++;
        buf->count--;
    }
    weir__buf_give_back_linked(buf);
    if (buf->count == 0)
        buf->first = 0;
    if (buf->messages_max != 0)
        weir__buf_unlist_consumed(buf);
    weir__buf_rewind_open(buf);
    weir__buf_update_end(buf);
}

/* Drop the references of all entries; @open is the block of the open segment, which keeps one. */
static void drop_entries(struct weir_buf *buf, const struct weir_block *open)
{
    uint32_t count = buf->count - (open != NULL);

    weir__buf_revoke_links(buf);
    if (buf->mixed) {
        for (uint32_t i = 0; i < count; i++)
            weir__buf_drop(buf, buf->segments[buf->first + i].block, open);
        buf->spare_taken = buf->spare_refs;
        buf->linked_taken = buf->linked_refs;
    } else {
        /* Whatever they hold is of these, so they need no look. */
        buf->spare_refs = buf->spare_taken;
        buf->linked_refs = buf->linked_taken;
    }
    buf->mixed = false;
    weir__buf_give_back_linked(buf);
}

void weir_buf_reset(struct weir_buf *buf)
{
    struct weir_block *kept = buf->pos != NULL ? weir__buf_last_segment(buf)->block : NULL;

    drop_entries(buf, kept);
    bool ours = kept != NULL && weir__buf_is_exclusive(buf, kept);
    if (!ours)
        weir__buf_give_back_spare(buf);
    if (buf->table != NULL && buf->table->size > TABLE_KEPT_BYTES) {
        weir_block_drop(buf->table);
        buf->table = NULL;
        buf->segments = buf->inline_segments;
        buf->capacity = WEIR_BUF_INLINE_SEGMENTS;
    }
    buf->first = 0;
    buf->count = 0;
    buf->settled_bytes = 0;
    buf->pos = NULL;
    buf->end = NULL;
    buf->open = NULL;
    buf->message = NULL;
    buf->message_fixed = 0;
    buf->headroom_left = 0;
    buf->header_bytes = 0;
    buf->messages_first = 0;
    buf->messages_count = 0;
    buf->consumed_bytes = 0;
    weir__buf_choose_path(buf);
    if (kept == NULL) {
        buf->next_bytes = weir_growth_next(&buf->growth, 0, 0);
    } else if (ours) {
        weir__buf_push_segment(buf, kept->data, 0, kept);
        weir__buf_open_segment(buf, kept->data);
    } else {
        /* As large as the one given up, not larger: resets alone are no reason to grow. */
        buf->next_bytes = weir_growth_bound(&buf->growth, kept->size, 0);
        weir_block_drop(kept);
    }
}
