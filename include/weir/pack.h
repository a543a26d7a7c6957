/* SPDX-License-Identifier: MIT */
/**
 * pack: MessagePack values, written straight into a buffer.
 *
 *     struct weir_packer p;
 *     struct weir_view message;
 *     weir_pack_begin(&p, &buf, 0);
 *     weir_pack_map(&p, 2);
 *     weir_pack_text(&p, "id");
 *     weir_pack_uint(&p, 42);
 *     weir_pack_text(&p, "name");
 *     weir_pack_text(&p, "weir");
 *     int rc = weir_pack_end(&p, &message);   // 0, and the bytes as one view into buf
 *
 * Forms        Integers, lengths and counts are written in the shortest form, as the specification
 *              asks of serializers; a float keeps its width.
 * Errors       are sticky: after the first one further calls do nothing, weir_pack_end() returns
 *              it and leaves the buffer as it was at weir_pack_begin(). weir_pack_error() and
 *              weir_pack_offset() tell the error and the byte where it happened. -ENOMEM the
 *              source failed, -ENOBUFS a limit is reached, -EOVERFLOW a size or count above
 *              2^32-1, -EINVAL a timestamp with more than 999,999,999 nanoseconds.
 * Invariants   Between begin and end nothing else appends to the buffer. A message may consist of
 *              any number of values, one after the other.
 * Threads      as the buffer: one writer.
 * Cost         inline; no call, no allocation while the reserved room lasts.
 * Source       MessagePack specification (github.com/msgpack/msgpack, spec.md).
 */
#ifndef WEIR_PACK_H
#define WEIR_PACK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/base.h>
#include <weir/buf.h>
#include <weir/view.h>
#include <weir/wire.h>

WEIR_BEGIN_DECLS

/** The caller's storage for a packer. Fields are private. */
struct weir_packer {
    uint8_t *pos; /* next byte to write; pos == end after an error */
    uint8_t *end;
    struct weir_buf *buf;
    int error;
    size_t error_offset;
};

/** The extension type of timestamps, as the specification fixes it. */
#define WEIR_EXT_TIMESTAMP (-1)

/**
 * Begin a message at the tail of @buf.
 *
 * @packer      the caller's storage, any content
 * @hint_bytes  expected size, 0 if unknown, see weir_buf_begin()
 * Returns      as weir_buf_begin(); the error is sticky, so it may be left to weir_pack_end().
 * Followed by  weir_pack_end(), always.
 */
WEIR_API int weir_pack_begin(struct weir_packer *packer, struct weir_buf *buf, size_t hint_bytes);

/**
 * End the message: its bytes are the buffer's now; after an error, forget it.
 *
 * @ret         NULL, or receives the bytes, on success only; valid as weir_buf_end() says
 * Returns      0 or the first error.
 */
WEIR_API int weir_pack_end(struct weir_packer *packer, struct weir_view *ret);

/** Instead of weir_pack_end(): give the message up, the buffer is as it was before it began. */
WEIR_API void weir_pack_cancel(struct weir_packer *packer);

/** The first error, 0 if there was none. */
WEIR_INLINE int weir_pack_error(const struct weir_packer *packer);

/** Bytes written since weir_pack_begin(); after an error, where it happened. */
WEIR_INLINE size_t weir_pack_offset(const struct weir_packer *packer);

/** Write nil. */
WEIR_INLINE void weir_pack_nil(struct weir_packer *packer);

/** Write false or true. */
WEIR_INLINE void weir_pack_bool(struct weir_packer *packer, bool value);

/** Write an unsigned integer, 1 to 9 bytes. */
WEIR_ALWAYS_INLINE void weir_pack_uint(struct weir_packer *packer, uint64_t value);

/** Write a signed integer, 1 to 9 bytes; from 0 up it is written as weir_pack_uint() would. */
WEIR_INLINE void weir_pack_int(struct weir_packer *packer, int64_t value);

/** Write a float 32, bit for bit. */
WEIR_INLINE void weir_pack_f32(struct weir_packer *packer, float value);

/** Write a float 64, bit for bit. */
WEIR_INLINE void weir_pack_f64(struct weir_packer *packer, double value);

/** Write a str. The bytes should be UTF-8; they are not looked at. */
WEIR_ALWAYS_INLINE void weir_pack_str(struct weir_packer *packer, struct weir_view text);

/** Write a NUL-terminated string as a str. */
WEIR_ALWAYS_INLINE void weir_pack_text(struct weir_packer *packer, const char *text);

/** Write a bin. */
WEIR_INLINE void weir_pack_bin(struct weir_packer *packer, struct weir_view bytes);

/** Write the head of an array; @count values must follow. */
WEIR_INLINE void weir_pack_array(struct weir_packer *packer, size_t count);

/** Write the head of a map; @count keys with their values must follow. */
WEIR_INLINE void weir_pack_map(struct weir_packer *packer, size_t count);

/** Write an ext of the given type, -128..127; those below 0 are the specification's. */
WEIR_API void weir_pack_ext(struct weir_packer *packer, int8_t type, struct weir_view bytes);

/**
 * Write a timestamp in the shortest of its three forms (32, 64, 96 bits).
 *
 * @seconds      since 1970-01-01T00:00:00Z, negative before
 * @nanoseconds  0..999,999,999, else -EINVAL
 */
WEIR_API void weir_pack_timestamp(struct weir_packer *packer, int64_t seconds,
                                  uint32_t nanoseconds);

/** Write bytes that are already MessagePack: whole values, which is the caller's word for it. */
WEIR_INLINE void weir_pack_raw(struct weir_packer *packer, struct weir_view values);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: make room for @size_bytes, or set the error and return NULL. */
WEIR_API uint8_t *weir_pack_room_slow(struct weir_packer *packer, size_t size_bytes);

/** Private: set the sticky error, if it is the first. */
WEIR_API void weir_pack_fail(struct weir_packer *packer, int error);

/** Private: write @head_bytes of a length head and then @bytes. */
WEIR_API void weir_pack_bytes_slow(struct weir_packer *packer, uint8_t tag8, uint8_t tag16,
                                   struct weir_view bytes);

/** Private: write an array or map head that does not fit its fix form. */
WEIR_API void weir_pack_count_slow(struct weir_packer *packer, uint8_t tag16, size_t count);

WEIR_INLINE uint8_t *weir_pack_room(struct weir_packer *packer, size_t size_bytes)
{
    if (WEIR_UNLIKELY(size_bytes > (size_t)(packer->end - packer->pos)))
        return weir_pack_room_slow(packer, size_bytes);
    return packer->pos;
}

WEIR_INLINE int weir_pack_error(const struct weir_packer *packer)
{
    return packer->error;
}

WEIR_INLINE size_t weir_pack_offset(const struct weir_packer *packer)
{
    if (packer->error != 0)
        return packer->error_offset;
    return (size_t)(packer->pos - packer->buf->message);
}

WEIR_INLINE void weir_pack_byte(struct weir_packer *packer, unsigned byte)
{
    uint8_t *at = weir_pack_room(packer, 1);
    if (WEIR_UNLIKELY(at == NULL))
        return;
    at[0] = (uint8_t)byte;
    packer->pos = at + 1;
}

WEIR_INLINE void weir_pack_nil(struct weir_packer *packer)
{
    weir_pack_byte(packer, WEIR_TAG_NIL);
}

WEIR_INLINE void weir_pack_bool(struct weir_packer *packer, bool value)
{
    weir_pack_byte(packer, value ? WEIR_TAG_TRUE : WEIR_TAG_FALSE);
}

/** Private: integers where fewer than 9 bytes of room are left. */
WEIR_API void weir_pack_uint_slow(struct weir_packer *packer, uint64_t value);
WEIR_API void weir_pack_int_slow(struct weir_packer *packer, int64_t value);

/**
 * Private: the first 1 << @log2_bytes of the 8 low bytes of @value behind @tag, without a branch on
 * the width. It stores 9 bytes in any case, which must be there, and takes only what counts.
 */
WEIR_INLINE void weir_pack_number(struct weir_packer *packer, unsigned tag, unsigned log2_bytes,
                                  uint64_t value)
{
    uint8_t *at = packer->pos;
    unsigned bits = 8u << log2_bytes;
    at[0] = (uint8_t)(tag + log2_bytes);
    weir_wire_store64(at + 1, value << (64 - bits));
    packer->pos = at + 1 + bits / 8;
}

WEIR_ALWAYS_INLINE void weir_pack_uint(struct weir_packer *packer, uint64_t value)
{
    if (WEIR_UNLIKELY(packer->end - packer->pos < 9)) {
        weir_pack_uint_slow(packer, value);
    } else if (value < 0x80) {
        *packer->pos++ = (uint8_t)value;
    } else {
        unsigned log2_bytes =
            (value > UINT8_MAX) + (unsigned)(value > UINT16_MAX) + (value > UINT32_MAX);
        weir_pack_number(packer, WEIR_TAG_UINT8, log2_bytes, value);
    }
}

WEIR_INLINE void weir_pack_int(struct weir_packer *packer, int64_t value)
{
    if (value >= 0) {
        weir_pack_uint(packer, (uint64_t)value);
    } else if (WEIR_UNLIKELY(packer->end - packer->pos < 9)) {
        weir_pack_int_slow(packer, value);
    } else if (value >= -32) {
        *packer->pos++ = (uint8_t)value;
    } else {
        unsigned log2_bytes =
            (value < INT8_MIN) + (unsigned)(value < INT16_MIN) + (value < INT32_MIN);
        weir_pack_number(packer, WEIR_TAG_INT8, log2_bytes, (uint64_t)value);
    }
}

WEIR_INLINE void weir_pack_f32(struct weir_packer *packer, float value)
{
    uint32_t bits;
    uint8_t *at = weir_pack_room(packer, 5);
    if (WEIR_UNLIKELY(at == NULL))
        return;
    memcpy(&bits, &value, sizeof bits);
    at[0] = WEIR_TAG_FLOAT32;
    weir_wire_store32(at + 1, bits);
    packer->pos = at + 5;
}

WEIR_INLINE void weir_pack_f64(struct weir_packer *packer, double value)
{
    uint64_t bits;
    uint8_t *at = weir_pack_room(packer, 9);
    if (WEIR_UNLIKELY(at == NULL))
        return;
    memcpy(&bits, &value, sizeof bits);
    at[0] = WEIR_TAG_FLOAT64;
    weir_wire_store64(at + 1, bits);
    packer->pos = at + 9;
}

WEIR_INLINE void weir_pack_raw(struct weir_packer *packer, struct weir_view values)
{
    uint8_t *at = weir_pack_room(packer, values.size);
    if (WEIR_UNLIKELY(at == NULL || values.size == 0))
        return;
    memcpy(at, values.data, values.size);
    packer->pos = at + values.size;
}

WEIR_ALWAYS_INLINE void weir_pack_str(struct weir_packer *packer, struct weir_view text)
{
    if (WEIR_UNLIKELY(text.size > 31)) {
        weir_pack_bytes_slow(packer, WEIR_TAG_STR8, WEIR_TAG_STR16, text);
        return;
    }
    uint8_t *at = weir_pack_room(packer, 1 + text.size);
    if (WEIR_UNLIKELY(at == NULL))
        return;
    at[0] = (uint8_t)(WEIR_TAG_FIXSTR | text.size);
    weir_wire_copy_short(at + 1, text.data, text.size);
    packer->pos = at + 1 + text.size;
}

WEIR_ALWAYS_INLINE void weir_pack_text(struct weir_packer *packer, const char *text)
{
    weir_pack_str(packer, weir_view_text(text));
}

WEIR_INLINE void weir_pack_bin(struct weir_packer *packer, struct weir_view bytes)
{
    weir_pack_bytes_slow(packer, WEIR_TAG_BIN8, WEIR_TAG_BIN16, bytes);
}

WEIR_INLINE void weir_pack_array(struct weir_packer *packer, size_t count)
{
    if (count <= 15)
        weir_pack_byte(packer, WEIR_TAG_FIXARRAY | (unsigned)count);
    else
        weir_pack_count_slow(packer, WEIR_TAG_ARRAY16, count);
}

WEIR_INLINE void weir_pack_map(struct weir_packer *packer, size_t count)
{
    if (count <= 15)
        weir_pack_byte(packer, WEIR_TAG_FIXMAP | (unsigned)count);
    else
        weir_pack_count_slow(packer, WEIR_TAG_MAP16, count);
}

WEIR_END_DECLS

#endif /* WEIR_PACK_H */
