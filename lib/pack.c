/* SPDX-License-Identifier: MIT */
#include "buf_private.h"
#include "pack_private.h"

uint8_t *weir__pack_fail_at(struct weir_buf *buf, int error, size_t offset)
{
    assert(error < 0);
    buf->message_error = error;
    buf->message_error_offset = offset;
    return NULL;
}

/* A packer of a function's own, to write with and to return the position of. */
static struct weir_packer packer_at(struct weir_buf *buf, uint8_t *pos)
{
    struct weir_packer packer = {pos, pos != NULL ? buf->end : NULL, buf, 0, 0, false};
    return packer;
}

uint8_t *weir_pack_begin_slow(struct weir_buf *buf, size_t hint_bytes)
{
    int rc = weir_buf_begin(buf, hint_bytes);
    if (rc != 0)
        return weir__pack_fail_at(buf, rc, 0);
    return buf->pos;
}

void weir_pack_cancel_slow(struct weir_buf *buf)
{
    /* Where beginning the message failed, there is none. */
    if (buf->message != NULL)
        weir_buf_cancel(buf);
}

uint8_t *weir_pack_fail_slow(struct weir_buf *buf, uint8_t *pos, int error)
{
    if (pos == NULL)
        return NULL;
    return weir__pack_fail_at(buf, error, weir_pack_offset_of(buf, pos));
}

uint8_t *weir_pack_room_slow(struct weir_buf *buf, uint8_t *pos, size_t size_bytes)
{
    uint8_t *at;

    if (pos == NULL)
        return NULL;
    assert(buf->message != NULL);
    buf->pos = pos;
    int rc = weir_buf_reserve(buf, size_bytes, &at);
    if (rc != 0)
        return weir_pack_fail_slow(buf, pos, rc);
    return at;
}

size_t weir__store_head(uint8_t *at, unsigned tag8, unsigned tag16, size_t value)
{
    if (value <= UINT8_MAX && tag8 != 0) {
        at[0] = (uint8_t)tag8;
        at[1] = (uint8_t)value;
        return 2;
    }
    if (value <= UINT16_MAX) {
        at[0] = (uint8_t)tag16;
        weir_wire_store16(at + 1, (uint16_t)value);
        return 3;
    }
    at[0] = (uint8_t)(tag16 + 1);
    weir_wire_store32(at + 1, (uint32_t)value);
    return 5;
}

static size_t head_bytes(unsigned tag8, size_t value)
{
    if (value <= UINT8_MAX && tag8 != 0)
        return 2;
    return value <= UINT16_MAX ? 3 : 5;
}

/* An integer in 1 << @log2_bytes bytes behind its tag, in exactly the room that it needs. */
static void pack_number_exactly(struct weir_packer *packer, unsigned tag, unsigned log2_bytes,
                                uint64_t value)
{
    size_t bytes = (size_t)1 << log2_bytes;
    uint8_t *at = weir_pack_room(packer, 1 + bytes);
    if (at == NULL)
        return;
    *at++ = (uint8_t)(tag + log2_bytes);
    for (size_t left = bytes; left-- > 0;)
        *at++ = (uint8_t)(value >> (8 * left));
    packer->pos = at;
}

uint8_t *weir_pack_uint_slow(struct weir_buf *buf, uint8_t *pos, uint64_t value)
{
    struct weir_packer packer = packer_at(buf, pos);
    unsigned log2_bytes = 3;

    while (log2_bytes > 0 && value >> (8u << (log2_bytes - 1)) == 0)
        log2_bytes--;
    if (value < 0x80)
        weir_pack_byte(&packer, (unsigned)value);
    else
        pack_number_exactly(&packer, WEIR_TAG_UINT8, log2_bytes, value);
    return packer.pos;
}

uint8_t *weir_pack_int_slow(struct weir_buf *buf, uint8_t *pos, int64_t value)
{
    struct weir_packer packer = packer_at(buf, pos);
    unsigned log2_bytes = 3;

    assert(value < 0);
    /* As wide as the sign and the bits that differ from it. */
    while (log2_bytes > 0 && ~(uint64_t)value >> ((8u << (log2_bytes - 1)) - 1) == 0)
        log2_bytes--;
    if (value >= -32)
        weir_pack_byte(&packer, (uint8_t)value);
    else
        pack_number_exactly(&packer, WEIR_TAG_INT8, log2_bytes, (uint64_t)value);
    return packer.pos;
}

/* Head and bytes of a str or bin, the head of which starts with @tag8 or one of the next two. */
uint8_t *weir_pack_bytes_slow(struct weir_buf *buf, uint8_t *pos, unsigned tag8,
                              struct weir_view bytes)
{
    struct weir_packer packer = packer_at(buf, pos);
    bool fix = tag8 == WEIR_TAG_STR8 && bytes.size <= 31;
    size_t total;

    if (bytes.size > UINT32_MAX ||
        weir_add_overflows(fix ? 1 : head_bytes(tag8, bytes.size), bytes.size, &total))
        return weir_pack_fail_slow(buf, pos, -EOVERFLOW);
    uint8_t *to = weir_pack_room(&packer, total);
    if (to == NULL)
        return packer.pos;
    if (fix)
        *to++ = (uint8_t)(WEIR_TAG_FIXSTR | bytes.size);
    else
        to += weir__store_head(to, tag8, tag8 + 1, bytes.size);
    if (bytes.size != 0)
        memcpy(to, bytes.data, bytes.size);
    packer.pos = to + bytes.size;
    return packer.pos;
}

/* Write a head of @head_bytes, which may be none, and link the bytes of @slice behind it. */
static uint8_t *pack_linked(struct weir_buf *buf, uint8_t *pos, const uint8_t *head,
                            size_t head_bytes, const struct weir_slice *slice)
{
    uint8_t *at = pos;

    if ((size_t)(buf->end - pos) < head_bytes) {
        at = weir_pack_room_slow(buf, pos, head_bytes);
        if (at == NULL)
            return NULL;
    }
    if (head_bytes != 0)
        memcpy(at, head, head_bytes);
    buf->pos = at + head_bytes;
    int rc = weir__buf_link(buf, slice);
    return rc == 0 ? buf->pos : weir__pack_fail_at(buf, rc, weir_pack_offset_of(buf, at));
}

uint8_t *weir_pack_slice_slow(struct weir_buf *buf, uint8_t *pos, unsigned tag8,
                              const struct weir_slice *slice)
{
    size_t size = slice->view.size;
    uint8_t head[5] = {(uint8_t)(WEIR_TAG_FIXSTR | size)};
    size_t head_bytes = 1;

    if (pos == NULL)
        return NULL;
    if (size < buf->link_min_bytes)
        return weir_pack_bytes_slow(buf, pos, tag8, slice->view);
    if (tag8 == 0)
        return pack_linked(buf, pos, head, 0, slice);
    if (size > UINT32_MAX)
        return weir_pack_fail_slow(buf, pos, -EOVERFLOW);
    if (tag8 != WEIR_TAG_STR8 || size > 31)
        head_bytes = weir__store_head(head, tag8, tag8 + 1, size);
    return pack_linked(buf, pos, head, head_bytes, slice);
}

uint8_t *weir_pack_count_slow(struct weir_buf *buf, uint8_t *pos, unsigned tag_fix, unsigned tag16,
                              size_t count)
{
    struct weir_packer packer = packer_at(buf, pos);

    if (count > UINT32_MAX)
        return weir_pack_fail_slow(buf, pos, -EOVERFLOW);
    if (count <= 15) {
        weir_pack_byte(&packer, tag_fix | (unsigned)count);
        return packer.pos;
    }
    uint8_t *to = weir_pack_room(&packer, head_bytes(0, count));
    if (to != NULL)
        packer.pos = to + weir__store_head(to, 0, tag16, count);
    return packer.pos;
}

/* --- counting what was written -------------------------------------------------------------- */

/* A walk over the heads of the end of a message, which are somebody's word to be MessagePack. */
struct walk {
    const struct weir_buf *buf;
    const uint8_t *pos;
    const uint8_t *end; /* of the piece that pos is in */
    size_t left;        /* bytes from pos to the end of the message */
    size_t size;        /* of the walk */
    uint32_t entry;     /* of the piece */
};

/* Walk the last @size bytes of the message that @buf was told the end of. */
static struct walk walk_last(const struct weir_buf *buf, size_t size)
{
    struct walk walk = {buf, NULL, NULL, size, size, 0};

    if (size != 0) {
        walk.pos = weir__buf_message_at(buf, size, &walk.entry);
        walk.end =
            buf->segments[buf->first + walk.entry].data + weir__buf_entry_bytes(buf, walk.entry);
    }
    return walk;
}

static size_t walk_offset(const struct walk *walk)
{
    return walk->size - walk->left;
}

/* Pass over @size bytes, which are there. */
static void walk_skip(struct walk *walk, size_t size)
{
    walk->left -= size;
    if (walk->left == 0)
        return;
    while (size >= (size_t)(walk->end - walk->pos)) {
        size -= (size_t)(walk->end - walk->pos);
        walk->entry++;
        walk->pos = walk->buf->segments[walk->buf->first + walk->entry].data;
        walk->end = walk->pos + weir__buf_entry_bytes(walk->buf, walk->entry);
    }
    walk->pos += size;
}

/* Step over the next head and its payload, for the number of values that it announces. */
static bool walk_step(struct walk *walk, uint64_t *ret_children)
{
    struct weir_wire_tag tag = weir_wire_tags[walk->pos[0]];

    /* Heads are contiguous, but for those in bytes that were linked. */
    if (tag.kind == WEIR_WIRE_BAD || tag.head_bytes > (size_t)(walk->end - walk->pos))
        return false;
    uint64_t length = weir_wire_length(walk->pos, tag);
    size_t size = tag.head_bytes;
    if (tag.kind == WEIR_WIRE_BYTES) {
        if (length > walk->left - size)
            return false;
        size += length;
    }
    walk_skip(walk, size);
    *ret_children = 0;
    if (tag.kind == WEIR_WIRE_ARRAY)
        *ret_children = length;
    else if (tag.kind == WEIR_WIRE_MAP)
        *ret_children = 2 * length;
    return true;
}

/* What a walk found. */
struct count {
    int error;      /* 0; -EBADMSG malformed, or lacking values, or having too many */
    size_t offset;  /* of what is wrong, in the message */
    uint64_t count; /* of values that are in no other; the last one may be incomplete */
};

/*
 * The innermost container that lacks values, in a walk of which as many as @missing were. Of what
 * follows it each value, when its turn comes, is expected besides those; of the container itself
 * and what it lies in, that is not so. The end if no container lacks any.
 */
static size_t innermost_incomplete(struct walk walk, uint64_t expected, uint64_t missing)
{
    size_t offset = walk.size;
    uint64_t left = expected;
    uint64_t children;

    while (walk.left != 0) {
        if (left == 0)
            left = 1;
        if (left <= missing)
            offset = walk_offset(&walk);
        if (!walk_step(&walk, &children))
            break;
        left += children - 1;
    }
    return offset;
}

/* Count the values from @from on. There must be @expected; UINT64_MAX: any number. */
static struct count count_values(const struct weir_buf *buf, size_t from, uint64_t expected)
{
    size_t size = weir_pack_offset_of(buf, buf->pos) - from;
    struct walk walk = walk_last(buf, size);
    struct count found = {0, 0, 0};
    bool any = expected == UINT64_MAX;
    uint64_t left = any ? 0 : expected;
    uint64_t children;

    while (walk.left != 0) {
        found.offset = from + walk_offset(&walk);
        if (left == 0) {
            if (!any)
                break;
            left = 1;
            found.count++;
        }
        if (!walk_step(&walk, &children))
            break;
        left += children - 1;
    }
    if (walk.left != 0) {
        found.error = -EBADMSG;
    } else if (left != 0) {
        found.error = -EBADMSG;
        found.offset = from + innermost_incomplete(walk_last(buf, size), any ? 0 : expected, left);
    }
    return found;
}

uint8_t *weir_pack_raw_slow(struct weir_buf *buf, uint8_t *pos, struct weir_view values,
                            uint64_t *ret_count)
{
    const uint8_t *end = values.size != 0 ? values.data + values.size : NULL;
    struct walk walk = {buf, values.data, end, values.size, values.size, 0};
    uint64_t count = 0;
    uint64_t children;

    if (pos == NULL)
        return NULL;
    while (walk.left != 0) {
        size_t offset = walk_offset(&walk);
        if (!walk_step(&walk, &children))
            return weir__pack_fail_at(buf, -EBADMSG, weir_pack_offset_of(buf, pos) + offset);
        count += 1 - children;
    }
    *ret_count = count;
    return pos;
}

/* Whether the message may be ended; else the error is set. */
static bool may_end(const struct weir_packer *packer, uint64_t count)
{
    struct weir_buf *buf = packer->buf;

    if (packer->pos == NULL)
        return false;
    assert(buf->message != NULL);
    if (packer->opened != 0) {
        weir__pack_fail_at(buf, -EINVAL, packer->opened - 1);
        return false;
    }
    buf->pos = packer->pos;
    if (count == UINT64_MAX && (packer->uncounted || (int64_t)packer->values > 0))
        return true;
    struct count found = count_values(buf, 0, count);
    if (found.error == 0)
        return true;
    weir__pack_fail_at(buf, found.error, found.offset);
    return false;
}

int weir_pack_end_slow(const struct weir_packer *packer, uint64_t count, struct weir_view *ret)
{
    struct weir_buf *buf = packer->buf;

    if (!may_end(packer, count)) {
        weir_pack_cancel_slow(buf);
        return buf->message_error;
    }
    weir_buf_end(buf, ret);
    return 0;
}

int weir_pack_end_chain_slow(const struct weir_packer *packer, struct weir_chain *ret)
{
    struct weir_buf *buf = packer->buf;

    if (!may_end(packer, UINT64_MAX)) {
        weir_pack_cancel_slow(buf);
        return buf->message_error;
    }
    int rc = weir_buf_end_chain(buf, ret);
    if (rc != 0) {
        weir__pack_fail_at(buf, rc, weir_pack_offset_of(buf, buf->pos));
        weir_pack_cancel_slow(buf);
    }
    return rc;
}

/* Bytes of the head that starts with @tag, and the most that its count can be. */
static size_t scope_head(uint8_t tag, uint64_t *ret_max)
{
    bool fix = tag == WEIR_TAG_FIXARRAY || tag == WEIR_TAG_FIXMAP;
    bool wide = tag == WEIR_TAG_ARRAY32 || tag == WEIR_TAG_MAP32;

    *ret_max = fix ? 15 : wide ? UINT32_MAX : UINT16_MAX;
    return fix ? 1 : wide ? 5 : 3;
}

uint8_t *weir_pack_close_slow(const struct weir_packer *packer, const struct weir_pack_scope *scope)
{
    struct weir_buf *buf = packer->buf;
    uint64_t count = packer->values;
    uint32_t entry;
    uint64_t max;

    if (packer->pos == NULL)
        return NULL;
    if (scope->tag == 0 || packer->opened != scope->offset + 1)
        return weir__pack_fail_at(buf, -EINVAL, scope->offset);
    size_t head_size = scope_head(scope->tag, &max);
    buf->pos = packer->pos;
    if (packer->uncounted || (int64_t)count <= 0) {
        struct count found = count_values(buf, scope->offset + head_size, UINT64_MAX);
        if (found.error != 0)
            return weir__pack_fail_at(buf, found.error, found.offset);
        count = found.count;
    }
    if (scope->tag == WEIR_TAG_FIXMAP || scope->tag >= WEIR_TAG_MAP16) {
        if (count % 2 != 0)
            return weir__pack_fail_at(buf, -EBADMSG, scope->offset);
        count /= 2;
    }
    if (count > max)
        return weir__pack_fail_at(buf, -EOVERFLOW, scope->offset);
    size_t behind = weir_pack_offset_of(buf, packer->pos) - scope->offset;
    uint8_t *head = weir__buf_message_at(buf, behind, &entry);
    if (max == 15)
        head[0] = (uint8_t)(scope->tag | count);
    else if (max == UINT16_MAX)
        weir_wire_store16(head + 1, (uint16_t)count);
    else
        weir_wire_store32(head + 1, (uint32_t)count);
    return packer->pos;
}

/* --- ext ------------------------------------------------------------------------------------- */

static unsigned fixext_tag(size_t size)
{
    switch (size) {
    case 1:
        return WEIR_TAG_FIXEXT1;
    case 2:
        return WEIR_TAG_FIXEXT2;
    case 4:
        return WEIR_TAG_FIXEXT4;
    case 8:
        return WEIR_TAG_FIXEXT8;
    case 16:
        return WEIR_TAG_FIXEXT16;
    default:
        return 0;
    }
}

size_t weir__store_ext_head(uint8_t *to, uint8_t type, size_t size)
{
    unsigned fixext = fixext_tag(size);
    size_t head = 1;

    if (fixext != 0)
        to[0] = (uint8_t)fixext;
    else
        head = weir__store_head(to, WEIR_TAG_EXT8, WEIR_TAG_EXT16, size);
    to[head] = type;
    return head + 1;
}

uint8_t *weir_pack_ext_slow(struct weir_buf *buf, uint8_t *pos, int8_t type, struct weir_view bytes)
{
    struct weir_packer packer = packer_at(buf, pos);
    uint8_t head[6];
    size_t total;

    if (bytes.size > UINT32_MAX)
        return weir_pack_fail_slow(buf, pos, -EOVERFLOW);
    size_t head_bytes = weir__store_ext_head(head, (uint8_t)type, bytes.size);
    if (weir_add_overflows(head_bytes, bytes.size, &total))
        return weir_pack_fail_slow(buf, pos, -EOVERFLOW);
    uint8_t *to = weir_pack_room(&packer, total);
    if (to == NULL)
        return packer.pos;
    memcpy(to, head, head_bytes);
    if (bytes.size != 0)
        memcpy(to + head_bytes, bytes.data, bytes.size);
    packer.pos = to + total;
    return packer.pos;
}

uint8_t *weir_pack_ext_slice_slow(struct weir_buf *buf, uint8_t *pos, int8_t type,
                                  const struct weir_slice *slice)
{
    uint8_t head[6];

    if (pos == NULL)
        return NULL;
    if (slice->view.size < buf->link_min_bytes)
        return weir_pack_ext_slow(buf, pos, type, slice->view);
    if (slice->view.size > UINT32_MAX)
        return weir_pack_fail_slow(buf, pos, -EOVERFLOW);
    size_t head_bytes = weir__store_ext_head(head, (uint8_t)type, slice->view.size);
    return pack_linked(buf, pos, head, head_bytes, slice);
}

/* Source: MessagePack specification, "Timestamp extension type", its pseudo code included. */
uint8_t *weir_pack_timestamp_slow(struct weir_buf *buf, uint8_t *pos, int64_t seconds,
                                  uint32_t nanoseconds)
{
    uint8_t payload[12];
    size_t size;

    if (nanoseconds > 999999999)
        return weir_pack_fail_slow(buf, pos, -EINVAL);
    if (nanoseconds == 0 && seconds >= 0 && seconds <= UINT32_MAX) {
        weir_wire_store32(payload, (uint32_t)seconds);
        size = 4;
    } else if (seconds >= 0 && (uint64_t)seconds >> 34 == 0) {
        weir_wire_store64(payload, (uint64_t)nanoseconds << 34 | (uint64_t)seconds);
        size = 8;
    } else {
        weir_wire_store32(payload, nanoseconds);
        weir_wire_store64(payload + 4, (uint64_t)seconds);
        size = 12;
    }
    return weir_pack_ext_slow(buf, pos, WEIR_EXT_TIMESTAMP, weir_view_of(payload, size));
}
