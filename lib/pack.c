/* SPDX-License-Identifier: MIT */
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
    return weir__pack_fail_at(buf, error, (size_t)(pos - buf->message));
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

/* A walk over the heads of bytes that are somebody's word to be MessagePack. */
struct walk {
    const uint8_t *start;
    const uint8_t *pos;
    const uint8_t *end;
};

static struct walk walk_from(const uint8_t *start, const uint8_t *end)
{
    struct walk walk = {start, start, end};
    return walk;
}

/* Step over the next head and its payload, for the number of values that it announces. */
static bool walk_step(struct walk *walk, uint64_t *ret_children)
{
    struct weir_wire_tag tag = weir_wire_tags[walk->pos[0]];
    size_t left = (size_t)(walk->end - walk->pos);

    if (tag.kind == WEIR_WIRE_BAD || tag.head_bytes > left)
        return false;
    uint64_t length = weir_wire_length(walk->pos, tag);
    left -= tag.head_bytes;
    if (tag.kind == WEIR_WIRE_BYTES && length > left)
        return false;
    walk->pos += tag.head_bytes;
    *ret_children = 0;
    if (tag.kind == WEIR_WIRE_BYTES)
        walk->pos += length;
    else if (tag.kind == WEIR_WIRE_ARRAY)
        *ret_children = length;
    else if (tag.kind == WEIR_WIRE_MAP)
        *ret_children = 2 * length;
    return true;
}

/* What a walk found. */
struct count {
    int error;      /* 0; -EBADMSG malformed, or lacking values, or having too many */
    size_t offset;  /* of what is wrong, from where the walk began */
    uint64_t count; /* of values that are in no other; the last one may be incomplete */
};

/*
 * The innermost container that lacks values, in a walk of which as many as @missing were. Of what
 * follows it each value, when its turn comes, is expected besides those; of the container itself
 * and what it lies in, that is not so. The end if no container lacks any.
 */
static size_t innermost_incomplete(struct walk walk, uint64_t expected, uint64_t missing)
{
    size_t offset = (size_t)(walk.end - walk.start);
    uint64_t left = expected;
    uint64_t children;

    while (walk.pos != walk.end) {
        if (left == 0)
            left = 1;
        if (left <= missing)
            offset = (size_t)(walk.pos - walk.start);
        if (!walk_step(&walk, &children))
            break;
        left += children - 1;
    }
    return offset;
}

/* Count the values from @start to @end. There must be @expected; UINT64_MAX: any number. */
static struct count count_values(const uint8_t *start, const uint8_t *end, uint64_t expected)
{
    struct walk walk = walk_from(start, end);
    struct count found = {0, 0, 0};
    bool any = expected == UINT64_MAX;
    uint64_t left = any ? 0 : expected;
    uint64_t children;

    while (walk.pos != end) {
        found.offset = (size_t)(walk.pos - start);
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
    if (walk.pos != end) {
        found.error = -EBADMSG;
    } else if (left != 0) {
        found.error = -EBADMSG;
        found.offset = innermost_incomplete(walk_from(start, end), any ? 0 : expected, left);
    }
    return found;
}

/* Whether the message may be ended; else the error is set. */
static bool may_end(const struct weir_packer *packer, uint64_t count)
{
    struct weir_buf *buf = packer->buf;

    if (packer->pos == NULL)
        return false;
    if (packer->opened != 0) {
        weir__pack_fail_at(buf, -EINVAL, packer->opened - 1);
        return false;
    }
    if (count == UINT64_MAX && (packer->uncounted || packer->pos == buf->message))
        return true;
    struct count found = count_values(buf->message, packer->pos, count);
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
    assert(buf->message != NULL);
    buf->pos = packer->pos;
    weir_buf_end(buf, ret);
    return 0;
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
    uint64_t max;

    if (packer->pos == NULL)
        return NULL;
    if (scope->tag == 0 || packer->opened != scope->offset + 1)
        return weir__pack_fail_at(buf, -EINVAL, scope->offset);
    uint8_t *head = buf->message + scope->offset;
    uint8_t *values = head + scope_head(scope->tag, &max);
    if (packer->uncounted || (int64_t)count <= 0) {
        struct count found = count_values(values, packer->pos, UINT64_MAX);
        if (found.error != 0)
            return weir__pack_fail_at(buf, found.error,
                                      (size_t)(values - buf->message) + found.offset);
        count = found.count;
    }
    if (scope->tag == WEIR_TAG_FIXMAP || scope->tag >= WEIR_TAG_MAP16) {
        if (count % 2 != 0)
            return weir__pack_fail_at(buf, -EBADMSG, scope->offset);
        count /= 2;
    }
    if (count > max)
        return weir__pack_fail_at(buf, -EOVERFLOW, scope->offset);
    if (max == 15)
        head[0] = (uint8_t)(scope->tag | count);
    else if (max == UINT16_MAX)
        weir_wire_store16(head + 1, (uint16_t)count);
    else
        weir_wire_store32(head + 1, (uint32_t)count);
    return packer->pos;
}

/* --- ext ------------------------------------------------------------------------------------- */

unsigned weir__fixext_tag(size_t size)
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

uint8_t *weir_pack_ext_slow(struct weir_buf *buf, uint8_t *pos, int8_t type, struct weir_view bytes)
{
    struct weir_packer packer = packer_at(buf, pos);
    unsigned fixext = weir__fixext_tag(bytes.size);
    size_t head = fixext != 0 ? 1 : head_bytes(WEIR_TAG_EXT8, bytes.size);
    size_t total;

    if (bytes.size > UINT32_MAX || weir_add_overflows(head + 1, bytes.size, &total))
        return weir_pack_fail_slow(buf, pos, -EOVERFLOW);
    uint8_t *to = weir_pack_room(&packer, total);
    if (to == NULL)
        return packer.pos;
    if (fixext != 0)
        *to++ = (uint8_t)fixext;
    else
        to += weir__store_head(to, WEIR_TAG_EXT8, WEIR_TAG_EXT16, bytes.size);
    *to++ = (uint8_t)type;
    if (bytes.size != 0)
        memcpy(to, bytes.data, bytes.size);
    packer.pos = to + bytes.size;
    return packer.pos;
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
