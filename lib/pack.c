/* SPDX-License-Identifier: MIT */
#include "weir/pack.h"

int weir_pack_begin(struct weir_packer *packer, struct weir_buf *buf, size_t hint_bytes)
{
    int rc = weir_buf_begin(buf, hint_bytes);

    packer->buf = buf;
    packer->error = rc;
    packer->error_offset = 0;
    packer->pos = rc == 0 ? buf->pos : NULL;
    packer->end = rc == 0 ? buf->end : NULL;
    return rc;
}

int weir_pack_end(struct weir_packer *packer, struct weir_view *ret)
{
    struct weir_buf *buf = packer->buf;

    if (packer->error != 0) {
        weir_pack_cancel(packer);
        return packer->error;
    }
    assert(buf->message != NULL && buf->end == packer->end);
    buf->pos = packer->pos;
    weir_buf_end(buf, ret);
    packer->end = packer->pos;
    return 0;
}

void weir_pack_cancel(struct weir_packer *packer)
{
    /* Where beginning the message failed, there is none. */
    if (packer->buf->message != NULL)
        weir_buf_cancel(packer->buf);
    packer->end = packer->pos;
}

void weir_pack_fail(struct weir_packer *packer, int error)
{
    assert(error < 0);
    if (packer->error != 0)
        return;
    packer->error_offset = (size_t)(packer->pos - packer->buf->message);
    packer->error = error;
    packer->pos = packer->end;
}

uint8_t *weir_pack_room_slow(struct weir_packer *packer, size_t size_bytes)
{
    struct weir_buf *buf = packer->buf;
    uint8_t *at;

    if (packer->error != 0)
        return NULL;
    assert(buf->message != NULL && buf->end == packer->end);
    buf->pos = packer->pos;
    int rc = weir_buf_reserve(buf, size_bytes, &at);
    if (rc != 0) {
        weir_pack_fail(packer, rc);
        return NULL;
    }
    packer->pos = at;
    packer->end = buf->end;
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

void weir_pack_uint_slow(struct weir_packer *packer, uint64_t value)
{
    unsigned log2_bytes = 3;
    if (value < 0x80) {
        weir_pack_byte(packer, (unsigned)value);
        return;
    }
    while (log2_bytes > 0 && value >> (8u << (log2_bytes - 1)) == 0)
        log2_bytes--;
    pack_number_exactly(packer, WEIR_TAG_UINT8, log2_bytes, value);
}

void weir_pack_int_slow(struct weir_packer *packer, int64_t value)
{
    unsigned log2_bytes = 3;
    if (value >= 0) {
        weir_pack_uint_slow(packer, (uint64_t)value);
        return;
    }
    if (value >= -32) {
        weir_pack_byte(packer, (uint8_t)value);
        return;
    }
    /* As wide as the sign and the bits that differ from it. */
    while (log2_bytes > 0 && ~(uint64_t)value >> ((8u << (log2_bytes - 1)) - 1) == 0)
        log2_bytes--;
    pack_number_exactly(packer, WEIR_TAG_INT8, log2_bytes, (uint64_t)value);
}

void weir_pack_bytes_slow(struct weir_packer *packer, uint8_t tag8, uint8_t tag16,
                          struct weir_view bytes)
{
    size_t total;

    if (bytes.size > UINT32_MAX ||
        weir_add_overflows(head_bytes(tag8, bytes.size), bytes.size, &total)) {
        weir_pack_fail(packer, -EOVERFLOW);
        return;
    }
    uint8_t *at = weir_pack_room(packer, total);
    if (at == NULL)
        return;
    at += store_head(at, tag8, tag16, bytes.size);
    if (bytes.size != 0)
        memcpy(at, bytes.data, bytes.size);
    packer->pos = at + bytes.size;
}

void weir_pack_count_slow(struct weir_packer *packer, uint8_t tag16, size_t count)
{
    if (count > UINT32_MAX) {
        weir_pack_fail(packer, -EOVERFLOW);
        return;
    }
    uint8_t *at = weir_pack_room(packer, head_bytes(0, count));
    if (at != NULL)
        packer->pos = at + store_head(at, 0, tag16, count);
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

void weir_pack_ext(struct weir_packer *packer, int8_t type, struct weir_view bytes)
{
    unsigned fixext = fixext_tag(bytes.size);
    size_t head = fixext != 0 ? 1 : head_bytes(WEIR_TAG_EXT8, bytes.size);
    size_t total;

    if (bytes.size > UINT32_MAX || weir_add_overflows(head + 1, bytes.size, &total)) {
        weir_pack_fail(packer, -EOVERFLOW);
        return;
    }
    uint8_t *at = weir_pack_room(packer, total);
    if (at == NULL)
        return;
    if (fixext != 0)
        *at++ = (uint8_t)fixext;
    else
        at += store_head(at, WEIR_TAG_EXT8, WEIR_TAG_EXT16, bytes.size);
    *at++ = (uint8_t)type;
    if (bytes.size != 0)
        memcpy(at, bytes.data, bytes.size);
    packer->pos = at + bytes.size;
}

/* Source: MessagePack specification, "Timestamp extension type", its pseudo code included. */
void weir_pack_timestamp(struct weir_packer *packer, int64_t seconds, uint32_t nanoseconds)
{
    uint8_t payload[12];
    size_t size;

    if (nanoseconds > 999999999) {
        weir_pack_fail(packer, -EINVAL);
        return;
    }
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
    weir_pack_ext(packer, WEIR_EXT_TIMESTAMP, weir_view_of(payload, size));
}
