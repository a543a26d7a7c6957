/* SPDX-License-Identifier: MIT */
/* The messages of a buffer: begun and ended, with headers, limits and links; and their list. */
#include <errno.h>
#include <string.h>

#include "weir/buf.h"
#include "buf_private.h"

/* Room for one more message in the list. */
static int reserve_listed(struct weir_buf *buf)
{
    size_t used = (size_t)buf->messages_first + buf->messages_count;
    size_t fits = buf->listed != NULL ? buf->listed->size / sizeof(struct weir__buf_listed) : 0;
    size_t live_bytes = buf->messages_count * sizeof(struct weir__buf_listed);
    struct weir_block *block;

    if (buf->messages_max == 0)
        return 0;
    if (buf->messages_count >= buf->messages_max)
        return -ENOBUFS;
    if (used < fits)
        return 0;
    uint8_t *live = NULL;
    if (buf->listed != NULL)
        live = buf->listed->data + buf->messages_first * sizeof(struct weir__buf_listed);
    if (buf->messages_first != 0 && buf->messages_first >= fits / 2) {
        /* At least half is free in front: each entry is moved once per half table. */
        memmove(buf->listed->data, live, live_bytes);
        buf->messages_first = 0;
        return 0;
    }
    size_t wanted = fits < buf->messages_max / 2 ? fits * 2 : buf->messages_max;
    if (wanted <= buf->messages_count)
        wanted = (size_t)buf->messages_count + 1;
    size_t bytes;
    if (weir_mul_overflows(wanted, sizeof(struct weir__buf_listed), &bytes))
        return -EOVERFLOW;
    int rc = weir_pool_alloc(buf->pool, bytes, &block);
    if (rc != 0)
        return rc;
    if (live_bytes != 0)
        memcpy(block->data, live, live_bytes);
    weir_block_drop(buf->listed);
    buf->listed = block;
    buf->messages_first = 0;
    return 0;
}

/* The list's entry of what is whole in the buffer, from @offset on. */
static void list_message(struct weir_buf *buf, struct weir_view view, size_t offset, size_t size)
{
    struct weir__buf_listed message = {view.data, size, buf->consumed_bytes + offset};

    buf->messages_count++;
    *weir__buf_listed_at(buf, buf->messages_count - 1) = message;
}

void weir__buf_unlist_consumed(struct weir_buf *buf)
{
    while (buf->messages_count != 0 && weir__buf_listed_at(buf, 0)->at < buf->consumed_bytes) {
        buf->messages_first++;
        buf->messages_count--;
    }
    if (buf->messages_count == 0)
        buf->messages_first = 0;
}

/* Remove the entry at @index, whose block is somebody else's to drop. */
static void remove_entry(struct weir_buf *buf, uint32_t index)
{
    struct weir_buf_segment *at = &buf->segments[buf->first + index];

    weir__buf_revoke_links(buf);
    buf->mixed = true;
    memmove(at, at + 1, (buf->count - index - 1) * sizeof(*at));
    buf->count--;
}

/*
 * The entry at @index may turn out to be none of its own: join it to the one before if they touch
 * within a block, as they do when all headroom was used, and remove it if it is empty.
 */
static void unify(struct weir_buf *buf, uint32_t index)
{
    struct weir_buf_segment *segment = &buf->segments[buf->first + index];
    struct weir_block *block = segment->block;
    bool is_open = index + 1 == buf->count && buf->pos != NULL;

    if (index != 0 && block != NULL && segment[-1].block == block &&
        segment[-1].data + segment[-1].size == segment->data)
        segment[-1].size += segment->size;
    else if (segment->size != 0 || is_open)
        return;
    remove_entry(buf, index);
    weir_block_drop(block);
}

/* Leave the headroom of a message free. There is a table entry for it, and room. */
static void leave_headroom(struct weir_buf *buf)
{
    struct weir_buf_segment *last = weir__buf_last_segment(buf);
    uint8_t *at = buf->pos + buf->headroom_bytes;

    if (last->size != 0) {
        struct weir_block *block = weir_block_hold(last->block);
        weir__buf_close_segment(buf);
        weir__buf_push_segment(buf, at, 0, block);
    } else {
        last->data = at;
    }
    buf->headroom_left = buf->headroom_bytes;
    buf->pos = at;
    buf->open = at;
}

static __attribute__((noinline)) int begin_slow(struct weir_buf *buf, size_t hint_bytes)
{
    size_t need;
    int rc = 0;

    weir__buf_settle(buf);
    if (weir_add_overflows(hint_bytes, buf->headroom_bytes, &need))
        return buf->growth.limit != 0 || buf->message_limit_bytes != 0 ? -ENOBUFS : -EOVERFLOW;
    if (need > weir__buf_allowance(buf))
        return weir__buf_refusal(buf);
    if (buf->slow_messages) {
        if (buf->message_limit_bytes != 0 && need > buf->message_limit_bytes)
            return -ENOBUFS;
        rc = reserve_listed(buf);
        if (rc == 0 && buf->headroom_bytes != 0)
            rc = weir__buf_reserve_table(buf, 1);
        if (rc != 0)
            return rc;
    }
    if (buf->pos == NULL || need > weir_buf_room_bytes(buf)) {
        weir__buf_rewind_open(buf);
        if (buf->pos == NULL || need > weir_buf_room_bytes(buf))
            rc = weir__buf_take_segment(buf, need);
        if (rc != 0)
            return rc;
    }
    if (buf->headroom_bytes != 0)
        leave_headroom(buf);
    buf->message = buf->pos;
    if (buf->slow_messages)
        weir__buf_update_end(buf);
    return 0;
}

int weir_buf_begin(struct weir_buf *buf, size_t hint_bytes)
{
    assert(buf->message == NULL);
    if (WEIR_UNLIKELY(buf->slow_messages || buf->pos == NULL ||
                      hint_bytes > weir_buf_room_bytes(buf)))
        return begin_slow(buf, hint_bytes);
    buf->message = buf->pos;
    return 0;
}

void weir_buf_set_headroom(struct weir_buf *buf, size_t headroom_bytes)
{
    weir__buf_revoke_links(buf);
    buf->headroom_bytes = headroom_bytes;
    weir__buf_choose_path(buf);
    /* The message that is begun has to be ended as it was begun. */
    buf->slow_messages = buf->slow_messages || buf->message != NULL;
}

int weir_buf_prepend(struct weir_buf *buf, size_t size_bytes, uint8_t **ret)
{
    if (buf->message == NULL)
        return -EINVAL;
    if (size_bytes > buf->headroom_left)
        return -ENOBUFS;
    if (size_bytes == 0) {
        *ret = buf->message;
        return 0;
    }
    bool whole = buf->message_fixed == 0;
    uint32_t index = whole ? buf->count - 1 : buf->message_index;
    struct weir_buf_segment *segment = &buf->segments[buf->first + index];
    segment->data -= size_bytes;
    segment->size += size_bytes;
    buf->settled_bytes += size_bytes;
    buf->headroom_left -= size_bytes;
    buf->header_bytes += size_bytes;
    if (whole)
        buf->message -= size_bytes;
    else
        buf->message_fixed += size_bytes;
    *ret = segment->data;
    return 0;
}

/* No message is begun any more, and the last entry may be that of its headroom. */
static void leave_message(struct weir_buf *buf)
{
    /* Only where there was headroom are there entries to unify, and more room than before. */
    bool headed = buf->headroom_left != 0 || buf->header_bytes != 0;

    if (headed && buf->message_fixed != 0)
        unify(buf, buf->message_index);
    buf->message = NULL;
    buf->message_fixed = 0;
    buf->headroom_left = 0;
    buf->header_bytes = 0;
    if (headed)
        unify(buf, buf->count - 1);
    if (headed || buf->message_limit_bytes != 0)
        weir__buf_update_end(buf);
    weir__buf_choose_path(buf);
}

/* End a message that has a limit, headroom, or an entry in the list. */
static __attribute__((noinline)) void end_slow(struct weir_buf *buf, struct weir_view *ret)
{
    struct weir_view view = {NULL, 0};

    weir__buf_settle(buf);
    size_t size = weir_buf_message_bytes(buf);
    if (buf->message_fixed == 0)
        view = weir_view_of(buf->message, size);
    if (buf->messages_max != 0)
        list_message(buf, view, weir_buf_size(buf) - size, size);
    leave_message(buf);
    if (ret != NULL)
        *ret = view;
}

void weir_buf_end(struct weir_buf *buf, struct weir_view *ret)
{
    assert(buf->message != NULL);
    if (WEIR_UNLIKELY(buf->slow_messages)) {
        end_slow(buf, ret);
        return;
    }
    weir_buf_end_here(buf, buf->pos, ret);
}

int weir_buf_end_chain(struct weir_buf *buf, struct weir_chain *ret)
{
    size_t offset = weir__buf_complete_bytes(buf);

    int rc = weir__buf_append_part(buf, offset, weir_buf_size(buf) - offset, ret);
    if (rc == 0)
        weir_buf_end(buf, NULL);
    return rc;
}

/* Take the last @excess bytes back, which nobody has seen. The open segment stays the last one. */
static void take_back(struct weir_buf *buf, size_t excess)
{
    struct weir_buf_segment open = *weir__buf_last_segment(buf);

    weir__buf_revoke_links(buf);
    buf->settled_bytes -= excess;
    if (excess > open.size) {
        excess -= open.size;
        open.size = 0;
        buf->count--;
        while (excess != 0 || (buf->count != 0 && weir__buf_last_segment(buf)->size == 0)) {
            struct weir_buf_segment *last = weir__buf_last_segment(buf);
            size_t taken = excess < last->size ? excess : last->size;
            last->size -= taken;
            excess -= taken;
            if (last->size != 0)
                break;
            weir__buf_drop(buf, last->block, open.block);
            buf->count--;
        }
        buf->segments[buf->first + buf->count++] = open;
        weir__buf_give_back_linked(buf);
    } else {
        open.size -= excess;
        *weir__buf_last_segment(buf) = open;
    }
    buf->pos = open.data + open.size;
    buf->open = buf->pos;
}

void weir__buf_take_back(struct weir_buf *buf, size_t size_bytes)
{
    assert(buf->message != NULL && size_bytes <= (size_t)(buf->pos - buf->message));
    weir__buf_settle(buf);
    take_back(buf, size_bytes);
}

uint8_t *weir__buf_message_at(const struct weir_buf *buf, size_t left_bytes, uint32_t *ret_entry)
{
    uint32_t entry = buf->count - 1;

    assert(left_bytes != 0 && left_bytes <= weir_buf_message_bytes(buf));
    for (; left_bytes > weir__buf_entry_bytes(buf, entry); entry--)
        left_bytes -= weir__buf_entry_bytes(buf, entry);
    *ret_entry = entry;
    return buf->segments[buf->first + entry].data + weir__buf_entry_bytes(buf, entry) - left_bytes;
}

void weir_buf_cancel(struct weir_buf *buf)
{
    assert(buf->message != NULL);
    weir__buf_settle(buf);
    size_t headroom = buf->message_fixed == 0 ? buf->headroom_left : 0;
    take_back(buf, weir_buf_message_bytes(buf));
    if (headroom != 0) {
        /* The segment is the message's own, see leave_headroom(). */
        weir__buf_last_segment(buf)->data -= headroom;
        buf->pos -= headroom;
        buf->open -= headroom;
    }
    buf->message_fixed = 0;
    leave_message(buf);
}

void weir_buf_message(const struct weir_buf *buf, uint32_t index, struct weir_view *ret)
{
    const struct weir__buf_listed *message = weir__buf_listed_at(buf, index);
    struct weir_view none = {NULL, 0};

    *ret = message->data != NULL ? weir_view_of(message->data, message->size) : none;
}

int weir_buf_message_chain(const struct weir_buf *buf, uint32_t index, struct weir_chain *ret)
{
    const struct weir__buf_listed *message = weir__buf_listed_at(buf, index);

    return weir_buf_sub(buf, (size_t)(message->at - buf->consumed_bytes), message->size, ret);
}
