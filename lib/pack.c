/* SPDX-License-Identifier: MIT */
#include "weir/pack.h"

static uint8_t *failed(struct weir_buf *buf, int error, size_t offset)
{
    assert(error < 0);
    buf->message_error = error;
    buf->message_error_offset = offset;
    return NULL;
}

/* A packer of a function's own, to write with and to return the position of. */
static struct weir_packer packer_at(struct weir_buf *buf, uint8_t *pos)
{
    struct weir_packer packer = {pos, pos != NULL ? buf->end : NULL, buf, 0, false};
    return packer;
}

uint8_t *weir_pack_begin_slow(struct weir_buf *buf, size_t hint_bytes)
{
    int rc = weir_buf_begin(buf, hint_bytes);
    if (rc != 0)
        return failed(buf, rc, 0);
    return buf->pos;
}

int weir_pack_end_slow(struct weir_buf *buf, uint8_t *pos, uint64_t values, bool uncounted,
                       struct weir_view *ret)
{
    (void)values;
    (void)uncounted;
    if (pos == NULL) {
        weir_pack_cancel_slow(buf);
        return buf->message_error;
    }
    assert(buf->message != NULL);
    buf->pos = pos;
    weir_buf_end(buf, ret);
    return 0;
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
    return failed(buf, error, (size_t)(pos - buf->message));
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

/*
 * A length or count behind its tag: 8 bits wide with @tag8 (0: there is no such form), 16 with
 * @tag16, 32 with the tag after that. Returns the bytes written; @value is at most 2^32-1.
 */
static size_t store_head(uint8_t *at, unsigned tag8, unsigned tag16, size_t value)
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
        to += store_head(to, tag8, tag8 + 1, bytes.size);
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
        packer.pos = to + store_head(to, 0, tag16, count);
    return packer.pos;
}

/* The tag of the ext form that has no length field, 0 if there is none for this size. */
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

uint8_t *weir_pack_ext_slow(struct weir_buf *buf, uint8_t *pos, int8_t type, struct weir_view bytes)
{
    struct weir_packer packer = packer_at(buf, pos);
    unsigned fixext = fixext_tag(bytes.size);
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
        to += store_head(to, WEIR_TAG_EXT8, WEIR_TAG_EXT16, bytes.size);
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
