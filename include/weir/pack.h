/* SPDX-License-Identifier: MIT */
/**
 * pack: MessagePack values, written straight into a buffer.
 *
 *     struct weir_packer p;
 *     struct weir_view message;
 *     weir_pack_begin(&p, &buf, 0);
 *     weir_pack_map(&p, 2);
 *     weir_pack_key(&p, "id");
 *     weir_pack_uint(&p, 42);
 *     weir_pack_key(&p, "name");
 *     weir_pack_text(&p, "weir");
 *     int rc = weir_pack_end(&p, &message);   // 0, and the bytes as one view into buf
 *
 * Forms        Integers, lengths and counts are written in the shortest form, as the specification
 *              asks of serializers, unless a width is asked for; a float keeps its width.
 * Errors       are sticky: after the first one further calls do nothing, weir_pack_end() returns
 *              it and leaves the buffer as it was at weir_pack_begin(). weir_pack_error() and
 *              weir_pack_offset() tell the error and the byte where it happened. -ENOMEM the
 *              source failed, -ENOBUFS a limit is reached, -EOVERFLOW a size or count above
 *              2^32-1, -EINVAL a timestamp with more than 999,999,999 nanoseconds, or containers
 *              that are not closed in order, -EBADMSG a container that lacks values.
 * Invariants   Between begin and end nothing else appends to the buffer. A message may consist of
 *              any number of values, one after the other.
 * Threads      as the buffer: one writer.
 * Cost         inline; no call, no allocation while the reserved room lasts. A packer that is a
 *              local variable is kept in registers as long as its address goes to functions of this
 *              header only. A function that is handed a pointer to one does well to write through a
 *              copy, and to put that back at its end:
 *                  struct weir_packer local = *packer;
 *                  ...
 *                  *packer = local;
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
#include <weir/chain.h>
#include <weir/slice.h>
#include <weir/view.h>
#include <weir/wire.h>

WEIR_BEGIN_DECLS

/** The caller's storage for a packer. Fields are private. A copy may be written through instead. */
struct weir_packer {
    uint8_t *pos; /* next byte to write; NULL after an error, which is in the buffer then */
    uint8_t *end;
    struct weir_buf *buf;
    uint64_t values; /* values written less values announced by heads, modulo 2^64, in the innermost
                        open container */
    size_t opened;   /* 1 + the offset of the innermost open container; 0: none is open */
    bool uncounted;  /* values were written that nobody counted, in the same */
};

/** The caller's storage for an open container, see weir_pack_open_array(). Fields are private. */
struct weir_pack_scope {
    size_t offset; /* of its head, see weir_pack_offset() */
    size_t outer;  /* the packer's, of the container around it */
    uint64_t outer_values;
    bool outer_uncounted;
    uint8_t tag; /* of its head; 0: closed */
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
WEIR_INLINE int weir_pack_begin(struct weir_packer *packer, struct weir_buf *buf,
                                size_t hint_bytes);

/**
 * End the message: its bytes are the buffer's now; after an error, forget it.
 *
 * @ret         NULL, or receives the bytes, on success only; valid as weir_buf_end() says. A
 *              message that bytes were linked into is no single view: data is NULL and size 0. It
 *              is in the buffer nevertheless, to be exported or sent with all else in it; to get
 *              it alone end it with weir_pack_end_chain().
 * Returns      0 or the first error; -EBADMSG the message has fewer values than its arrays and maps
 *              announced, the offset is that of the innermost one that lacks some (a message with
 *              weir_pack_raw() in it is not looked at; see weir_pack_end_values(), too); -EINVAL a
 *              container is still open, the offset is the innermost one's.
 */
WEIR_INLINE int weir_pack_end(struct weir_packer *packer, struct weir_view *ret);

/**
 * End the message and append it to a chain, in as many slices as it has pieces: one, unless bytes
 * were linked into it.
 *
 * @ret         an initialised chain; it holds what it gets, which stays in the buffer nevertheless
 * Returns      as weir_pack_end(), or an error of the chain: -ENOMEM, -ENOBUFS, -EOVERFLOW. On an
 *              error the message is forgotten.
 */
WEIR_INLINE int weir_pack_end_chain(struct weir_packer *packer, struct weir_chain *ret);

/**
 * End a message that is exactly @count values, which is verified.
 *
 * weir_pack_end() refuses a message that lacks values on the whole, which costs nothing. That
 * misses what one container lacks and another one has too much of, and what a message of many
 * values lacks at its end. This function does not.
 *
 * Errors       besides those of weir_pack_end(): -EBADMSG, and the offset tells the innermost
 *              container that got fewer values than it announced, or the first value that is too
 *              many; the end of the message if there are fewer than @count values, all complete.
 * Cost         a walk over the heads, about 5 nanoseconds each.
 */
WEIR_INLINE int weir_pack_end_values(struct weir_packer *packer, uint64_t count,
                                     struct weir_view *ret);

/**
 * End a message that is part of a value, or of several, such as a head whose values come in
 * messages of their own: as weir_pack_end(), and what arrays and maps lack is not looked at.
 */
WEIR_INLINE int weir_pack_end_part(struct weir_packer *packer, struct weir_view *ret);

/** Instead of weir_pack_end(): give the message up, the buffer is as it was before it began. */
WEIR_INLINE void weir_pack_cancel(struct weir_packer *packer);

/** The first error, 0 if there was none. */
WEIR_INLINE int weir_pack_error(const struct weir_packer *packer);

/**
 * Bytes written since weir_pack_begin(); after an error, where it happened. What weir_buf_prepend()
 * put before them does not count.
 */
WEIR_INLINE size_t weir_pack_offset(const struct weir_packer *packer);

/** Write nil. */
WEIR_INLINE void weir_pack_nil(struct weir_packer *packer);

/** Write false or true. */
WEIR_INLINE void weir_pack_bool(struct weir_packer *packer, bool value);

/** Write an unsigned integer, 1 to 9 bytes. */
WEIR_ALWAYS_INLINE void weir_pack_uint(struct weir_packer *packer, uint64_t value);

/** Write a signed integer, 1 to 9 bytes; from 0 up it is written as weir_pack_uint() would. */
WEIR_INLINE void weir_pack_int(struct weir_packer *packer, int64_t value);

/**
 * Write an integer in exactly this width, 2, 3, 5 or 9 bytes, whatever its value.
 *
 * For values that are changed in place later, and for readers that expect a place and not a value.
 * Any decoder takes them; they are not the shortest form.
 */
WEIR_INLINE void weir_pack_u8(struct weir_packer *packer, uint8_t value);
WEIR_INLINE void weir_pack_u16(struct weir_packer *packer, uint16_t value);
WEIR_INLINE void weir_pack_u32(struct weir_packer *packer, uint32_t value);
WEIR_INLINE void weir_pack_u64(struct weir_packer *packer, uint64_t value);
WEIR_INLINE void weir_pack_i8(struct weir_packer *packer, int8_t value);
WEIR_INLINE void weir_pack_i16(struct weir_packer *packer, int16_t value);
WEIR_INLINE void weir_pack_i32(struct weir_packer *packer, int32_t value);
WEIR_INLINE void weir_pack_i64(struct weir_packer *packer, int64_t value);

/** Write a float 32, bit for bit. */
WEIR_INLINE void weir_pack_f32(struct weir_packer *packer, float value);

/** Write a float 64, bit for bit. */
WEIR_INLINE void weir_pack_f64(struct weir_packer *packer, double value);

/** Write a str. The bytes should be UTF-8; they are not looked at. */
WEIR_ALWAYS_INLINE void weir_pack_str(struct weir_packer *packer, struct weir_view text);

/** Write a NUL-terminated string as a str. A literal costs what weir_pack_key() does. */
WEIR_ALWAYS_INLINE void weir_pack_text(struct weir_packer *packer, const char *text);

/**
 * Write a key, which is a str: as weir_pack_text(), meant for literals.
 *
 * Cost         of a literal of up to 31 bytes: its tag and its text are constants, stored as words.
 */
WEIR_ALWAYS_INLINE void weir_pack_key(struct weir_packer *packer, const char *literal);

/** Write a bin. */
WEIR_INLINE void weir_pack_bin(struct weir_packer *packer, struct weir_view bytes);

/**
 * Write a str or bin whose bytes are somebody's already: by reference, without a copy.
 *
 * @slice       stays the caller's; the message holds a reference of its own. Fewer bytes than the
 *              buffer's link_min_bytes are copied, see weir_buf_append_slice(). From there up they
 *              are linked, and the message is in pieces: see weir_pack_end().
 * Cost         of linked bytes: independent of their number. Inline, and without an atomic
 *              operation, from the second time on that a block is linked in a row, or where the
 *              slice belongs to nobody, and nothing limits the buffer or its messages.
 */
WEIR_ALWAYS_INLINE void weir_pack_str_slice(struct weir_packer *packer,
                                            const struct weir_slice *slice);
WEIR_ALWAYS_INLINE void weir_pack_bin_slice(struct weir_packer *packer,
                                            const struct weir_slice *slice);

/** Write the head of an array; @count values must follow. */
WEIR_INLINE void weir_pack_array(struct weir_packer *packer, size_t count);

/** Write the head of a map; @count keys with their values must follow. */
WEIR_INLINE void weir_pack_map(struct weir_packer *packer, size_t count);

/**
 * Open an array whose count is not known: values follow, then weir_pack_close().
 *
 * The head is written now, and the count into it when the array is closed; nothing is moved. So the
 * head's form is decided now. Containers may be opened within each other.
 *
 * @scope       the caller's storage, any content; until weir_pack_close()
 * @count_max   the most elements there can be: up to 15 the head takes 1 byte, up to 65,535 it
 *              takes 3; else, and for 0, which is unknown, 5. It is the shortest form only if the
 *              count comes out as large.
 */
WEIR_INLINE void weir_pack_open_array(struct weir_packer *packer, struct weir_pack_scope *scope,
                                      size_t count_max);

/** Open a map whose count is not known; @count_max is of pairs. See weir_pack_open_array(). */
WEIR_INLINE void weir_pack_open_map(struct weir_packer *packer, struct weir_pack_scope *scope,
                                    size_t count_max);

/**
 * Close the container that was opened last and is still open.
 *
 * Errors       -EINVAL @scope is another one, or closed already; -EOVERFLOW more elements or pairs
 *              than the head has room for; -EBADMSG a map with a key that lacks its value. The
 *              offset is that of the container. -EBADMSG containers within, whose counts were
 *              given, lack values on the whole, as in weir_pack_end(); the offset is that one's.
 * Cost         constant, unless MessagePack-C wrote into it by weir_msgpack_write_value(), not into
 *              a container opened within: then a walk over all heads from its own on.
 */
WEIR_INLINE void weir_pack_close(struct weir_packer *packer, struct weir_pack_scope *scope);

/** Write an ext of the given type, -128..127; those below 0 are the specification's. */
WEIR_INLINE void weir_pack_ext(struct weir_packer *packer, int8_t type, struct weir_view bytes);

/** Write an ext by reference, see weir_pack_bin_slice(). */
WEIR_INLINE void weir_pack_ext_slice(struct weir_packer *packer, int8_t type,
                                     const struct weir_slice *slice);

/**
 * Write a timestamp in the shortest of its three forms (32, 64, 96 bits).
 *
 * @seconds      since 1970-01-01T00:00:00Z, negative before
 * @nanoseconds  0..999,999,999, else -EINVAL
 */
WEIR_INLINE void weir_pack_timestamp(struct weir_packer *packer, int64_t seconds,
                                     uint32_t nanoseconds);

/**
 * Write bytes that are already MessagePack: any number of whole values, which is the caller's word
 * for it. Outside of opened containers they are not looked at, so weir_pack_end() cannot count the
 * values of this message.
 *
 * Errors       -EBADMSG in an opened container, whose values have to be counted: bytes that end
 *              within a head or payload, or the reserved one; the offset is that of the value.
 * Cost         a copy; in an opened container, however deep it lies, also a walk over the heads of
 *              @values, about 5 nanoseconds each.
 */
WEIR_INLINE void weir_pack_raw(struct weir_packer *packer, struct weir_view values);

/** The same by reference, see weir_pack_bin_slice(): in an opened container it is walked, too. */
WEIR_INLINE void weir_pack_raw_slice(struct weir_packer *packer, const struct weir_slice *values);

/* --- inline bodies ------------------------------------------------------------------------- */

/*
 * The functions below never pass on the packer's address, and those out of line take and return its
 * position in registers. So the compiler keeps a packer that is a local variable in registers:
 * otherwise it would have to load the position again after each byte stored, for a byte may be
 * stored anywhere, and the next value would wait for that.
 */

/** Private: begin where there is not enough room, or no segment open. */
WEIR_API uint8_t *weir_pack_begin_slow(struct weir_buf *buf, size_t hint_bytes);

/** Private: end with an error, or with something to look at; @count UINT64_MAX: any. */
WEIR_API int weir_pack_end_slow(const struct weir_packer *packer, uint64_t count,
                                struct weir_view *ret);

/** Private: weir_pack_end_chain(). */
WEIR_API int weir_pack_end_chain_slow(const struct weir_packer *packer, struct weir_chain *ret);

/**
 * Private: count the values of raw bytes, less those that their heads announce. Returns @pos, or
 * NULL after an error.
 */
WEIR_API uint8_t *weir_pack_raw_slow(struct weir_buf *buf, uint8_t *pos, struct weir_view values,
                                     uint64_t *ret_count);

/** Private: weir_pack_close(). */
WEIR_API uint8_t *weir_pack_close_slow(const struct weir_packer *packer,
                                       const struct weir_pack_scope *scope);

/** Private: weir_pack_cancel(). */
WEIR_API void weir_pack_cancel_slow(struct weir_buf *buf);

/** Private: make room for @size_bytes, or set the error. */
WEIR_API uint8_t *weir_pack_room_slow(struct weir_buf *buf, uint8_t *pos, size_t size_bytes);

/** Private: set the sticky error, if it is the first. */
WEIR_API uint8_t *weir_pack_fail_slow(struct weir_buf *buf, uint8_t *pos, int error);

/** Private: the head of a str or bin in its shortest form, and its bytes. */
WEIR_API uint8_t *weir_pack_bytes_slow(struct weir_buf *buf, uint8_t *pos, unsigned tag8,
                                       struct weir_view bytes);

/** Private: a str or bin by reference; @tag8 0: only its bytes. */
WEIR_API uint8_t *weir_pack_slice_slow(struct weir_buf *buf, uint8_t *pos, unsigned tag8,
                                       const struct weir_slice *slice);

/** Private: an array or map head that is large, or near the end of the room. */
WEIR_API uint8_t *weir_pack_count_slow(struct weir_buf *buf, uint8_t *pos, unsigned tag_fix,
                                       unsigned tag16, size_t count);

/** Private: integers where fewer than 9 bytes of room are left. */
WEIR_API uint8_t *weir_pack_uint_slow(struct weir_buf *buf, uint8_t *pos, uint64_t value);
WEIR_API uint8_t *weir_pack_int_slow(struct weir_buf *buf, uint8_t *pos, int64_t value);

/** Private: weir_pack_ext(), weir_pack_ext_slice() and weir_pack_timestamp(). */
WEIR_API uint8_t *weir_pack_ext_slow(struct weir_buf *buf, uint8_t *pos, int8_t type,
                                     struct weir_view bytes);
WEIR_API uint8_t *weir_pack_ext_slice_slow(struct weir_buf *buf, uint8_t *pos, int8_t type,
                                           const struct weir_slice *slice);
WEIR_API uint8_t *weir_pack_timestamp_slow(struct weir_buf *buf, uint8_t *pos, int64_t seconds,
                                           uint32_t nanoseconds);

/** Private: go on at @pos, which a function out of line returned; NULL: there is an error. */
WEIR_INLINE void weir_pack_go_on(struct weir_packer *packer, uint8_t *pos)
{
    packer->pos = pos;
    packer->end = pos != NULL ? packer->buf->end : NULL;
}

WEIR_INLINE size_t weir_pack_room_bytes(const struct weir_packer *packer)
{
    return (size_t)(packer->end - packer->pos);
}

WEIR_INLINE int weir_pack_begin(struct weir_packer *packer, struct weir_buf *buf, size_t hint_bytes)
{
    packer->buf = buf;
    packer->values = 0;
    packer->opened = 0;
    packer->uncounted = false;
    if (WEIR_UNLIKELY(buf->slow_messages || buf->pos == NULL ||
                      hint_bytes > weir_buf_room_bytes(buf))) {
        weir_pack_go_on(packer, weir_pack_begin_slow(buf, hint_bytes));
        return weir_pack_error(packer);
    }
    assert(buf->message == NULL);
    buf->message = buf->pos;
    packer->pos = buf->pos;
    packer->end = buf->end;
    return 0;
}

/** Private: weir_pack_end_slow() on a copy, for the sake of the packer's own address. */
WEIR_INLINE int weir_pack_end_copy(struct weir_packer *packer, uint64_t count,
                                   struct weir_view *ret)
{
    struct weir_packer copy = *packer;
    int rc = weir_pack_end_slow(&copy, count, ret);
    if (rc != 0)
        packer->pos = NULL;
    packer->end = packer->pos;
    return rc;
}

WEIR_INLINE int weir_pack_end(struct weir_packer *packer, struct weir_view *ret)
{
    struct weir_buf *buf = packer->buf;
    uint8_t *pos = packer->pos;

    if (WEIR_UNLIKELY(pos == NULL || packer->opened != 0 ||
                      ((int64_t)packer->values <= 0 && !packer->uncounted)))
        return weir_pack_end_copy(packer, UINT64_MAX, ret);
    assert(buf->message != NULL && buf->end == packer->end);
    packer->end = pos;
    if (WEIR_UNLIKELY(buf->slow_messages)) {
        buf->pos = pos;
        weir_buf_end(buf, ret);
        return 0;
    }
    weir_buf_end_here(buf, pos, ret);
    return 0;
}

WEIR_INLINE int weir_pack_end_values(struct weir_packer *packer, uint64_t count,
                                     struct weir_view *ret)
{
    return weir_pack_end_copy(packer, count, ret);
}

WEIR_INLINE int weir_pack_end_chain(struct weir_packer *packer, struct weir_chain *ret)
{
    struct weir_packer copy = *packer;
    int rc = weir_pack_end_chain_slow(&copy, ret);
    if (rc != 0)
        packer->pos = NULL;
    packer->end = packer->pos;
    return rc;
}

WEIR_INLINE int weir_pack_end_part(struct weir_packer *packer, struct weir_view *ret)
{
    packer->uncounted = true;
    return weir_pack_end_copy(packer, UINT64_MAX, ret);
}

WEIR_INLINE void weir_pack_cancel(struct weir_packer *packer)
{
    weir_pack_cancel_slow(packer->buf);
    packer->end = packer->pos;
}

/** Private: whether there is room for @size_bytes at pos; else there is an error now. */
WEIR_INLINE bool weir_pack_has_room(struct weir_packer *packer, size_t size_bytes)
{
    if (WEIR_LIKELY(size_bytes <= weir_pack_room_bytes(packer)))
        return true;
    weir_pack_go_on(packer, weir_pack_room_slow(packer->buf, packer->pos, size_bytes));
    return packer->pos != NULL;
}

WEIR_INLINE uint8_t *weir_pack_room(struct weir_packer *packer, size_t size_bytes)
{
    return weir_pack_has_room(packer, size_bytes) ? packer->pos : NULL;
}

WEIR_INLINE void weir_pack_fail(struct weir_packer *packer, int error)
{
    weir_pack_go_on(packer, weir_pack_fail_slow(packer->buf, packer->pos, error));
}

WEIR_INLINE int weir_pack_error(const struct weir_packer *packer)
{
    return packer->pos != NULL ? 0 : packer->buf->message_error;
}

/** Private: the offset of @pos in the message, less what was put before its first byte. */
WEIR_INLINE size_t weir_pack_offset_of(const struct weir_buf *buf, const uint8_t *pos)
{
    return buf->message_fixed + (size_t)(pos - buf->message) - buf->header_bytes;
}

WEIR_INLINE size_t weir_pack_offset(const struct weir_packer *packer)
{
    if (packer->pos == NULL)
        return packer->buf->message_error_offset;
    return weir_pack_offset_of(packer->buf, packer->pos);
}

WEIR_INLINE void weir_pack_byte(struct weir_packer *packer, unsigned byte)
{
    if (weir_pack_has_room(packer, 1))
        *packer->pos++ = (uint8_t)byte;
}

WEIR_INLINE void weir_pack_nil(struct weir_packer *packer)
{
    packer->values++;
    weir_pack_byte(packer, WEIR_TAG_NIL);
}

WEIR_INLINE void weir_pack_bool(struct weir_packer *packer, bool value)
{
    packer->values++;
    weir_pack_byte(packer, value ? WEIR_TAG_TRUE : WEIR_TAG_FALSE);
}

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
    packer->values++;
    if (WEIR_UNLIKELY(weir_pack_room_bytes(packer) < 9)) {
        weir_pack_go_on(packer, weir_pack_uint_slow(packer->buf, packer->pos, value));
    } else {
        /* A fixint, too, without a branch: compilers make one of a condition in C, which is
         * mispredicted where widths vary. */
        uint8_t *at = packer->pos;
        unsigned log2_bytes =
            (value > UINT8_MAX) + (unsigned)(value > UINT16_MAX) + (value > UINT32_MAX);
        unsigned bytes = 1u << log2_bytes;
        unsigned wide = 0u - (unsigned)(value > 0x7f);
        at[0] = (uint8_t)(((WEIR_TAG_UINT8 + log2_bytes) & wide) | ((unsigned)value & ~wide));
        weir_wire_store64(at + 1, value << (64 - 8 * bytes));
        packer->pos = at + 1 + (bytes & wide);
    }
}

WEIR_INLINE void weir_pack_int(struct weir_packer *packer, int64_t value)
{
    if (value >= 0) {
        weir_pack_uint(packer, (uint64_t)value);
        return;
    }
    packer->values++;
    if (WEIR_UNLIKELY(weir_pack_room_bytes(packer) < 9)) {
        weir_pack_go_on(packer, weir_pack_int_slow(packer->buf, packer->pos, value));
    } else if (value >= -32) {
        *packer->pos++ = (uint8_t)value;
    } else {
        unsigned log2_bytes =
            (value < INT8_MIN) + (unsigned)(value < INT16_MIN) + (value < INT32_MIN);
        weir_pack_number(packer, WEIR_TAG_INT8, log2_bytes, (uint64_t)value);
    }
}

/** Private: @tag and the 8 bits behind it. */
WEIR_INLINE void weir_pack_tagged8(struct weir_packer *packer, unsigned tag, uint8_t bits)
{
    packer->values++;
    if (!weir_pack_has_room(packer, 2))
        return;
    packer->pos[0] = (uint8_t)tag;
    packer->pos[1] = bits;
    packer->pos += 2;
}

/** Private: @tag and the 16 bits behind it. */
WEIR_INLINE void weir_pack_tagged16(struct weir_packer *packer, unsigned tag, uint16_t bits)
{
    packer->values++;
    if (!weir_pack_has_room(packer, 3))
        return;
    packer->pos[0] = (uint8_t)tag;
    weir_wire_store16(packer->pos + 1, bits);
    packer->pos += 3;
}

/** Private: @tag and the 32 bits behind it. */
WEIR_INLINE void weir_pack_tagged32(struct weir_packer *packer, unsigned tag, uint32_t bits)
{
    packer->values++;
    if (!weir_pack_has_room(packer, 5))
        return;
    packer->pos[0] = (uint8_t)tag;
    weir_wire_store32(packer->pos + 1, bits);
    packer->pos += 5;
}

/** Private: @tag and the 64 bits behind it. */
WEIR_INLINE void weir_pack_tagged64(struct weir_packer *packer, unsigned tag, uint64_t bits)
{
    packer->values++;
    if (!weir_pack_has_room(packer, 9))
        return;
    packer->pos[0] = (uint8_t)tag;
    weir_wire_store64(packer->pos + 1, bits);
    packer->pos += 9;
}

WEIR_INLINE void weir_pack_u8(struct weir_packer *packer, uint8_t value)
{
    weir_pack_tagged8(packer, WEIR_TAG_UINT8, value);
}

WEIR_INLINE void weir_pack_u16(struct weir_packer *packer, uint16_t value)
{
    weir_pack_tagged16(packer, WEIR_TAG_UINT16, value);
}

WEIR_INLINE void weir_pack_u32(struct weir_packer *packer, uint32_t value)
{
    weir_pack_tagged32(packer, WEIR_TAG_UINT32, value);
}

WEIR_INLINE void weir_pack_u64(struct weir_packer *packer, uint64_t value)
{
    weir_pack_tagged64(packer, WEIR_TAG_UINT64, value);
}

WEIR_INLINE void weir_pack_i8(struct weir_packer *packer, int8_t value)
{
    weir_pack_tagged8(packer, WEIR_TAG_INT8, (uint8_t)value);
}

WEIR_INLINE void weir_pack_i16(struct weir_packer *packer, int16_t value)
{
    weir_pack_tagged16(packer, WEIR_TAG_INT16, (uint16_t)value);
}

WEIR_INLINE void weir_pack_i32(struct weir_packer *packer, int32_t value)
{
    weir_pack_tagged32(packer, WEIR_TAG_INT32, (uint32_t)value);
}

WEIR_INLINE void weir_pack_i64(struct weir_packer *packer, int64_t value)
{
    weir_pack_tagged64(packer, WEIR_TAG_INT64, (uint64_t)value);
}

WEIR_INLINE void weir_pack_f32(struct weir_packer *packer, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    weir_pack_tagged32(packer, WEIR_TAG_FLOAT32, bits);
}

WEIR_INLINE void weir_pack_f64(struct weir_packer *packer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    weir_pack_tagged64(packer, WEIR_TAG_FLOAT64, bits);
}

/** Private: count raw bytes if their number has to be known. */
WEIR_INLINE void weir_pack_take_raw(struct weir_packer *packer, struct weir_view values)
{
    uint64_t count = 0;

    if (WEIR_LIKELY(packer->opened == 0)) {
        packer->uncounted = true;
        return;
    }
    weir_pack_go_on(packer, weir_pack_raw_slow(packer->buf, packer->pos, values, &count));
    packer->values += count;
}

/** Private: write bytes as they are. */
WEIR_INLINE void weir_pack_put(struct weir_packer *packer, struct weir_view bytes)
{
    if (!weir_pack_has_room(packer, bytes.size) || bytes.size == 0)
        return;
    memcpy(packer->pos, bytes.data, bytes.size);
    packer->pos += bytes.size;
}

WEIR_INLINE void weir_pack_raw(struct weir_packer *packer, struct weir_view values)
{
    weir_pack_take_raw(packer, values);
    weir_pack_put(packer, values);
}

WEIR_ALWAYS_INLINE void weir_pack_str(struct weir_packer *packer, struct weir_view text)
{
    packer->values++;
    if (WEIR_UNLIKELY(text.size > 31 || weir_pack_room_bytes(packer) < 33)) {
        weir_pack_go_on(packer,
                        weir_pack_bytes_slow(packer->buf, packer->pos, WEIR_TAG_STR8, text));
        return;
    }
    uint8_t *at = packer->pos;
    at[0] = (uint8_t)(WEIR_TAG_FIXSTR | text.size);
    weir_wire_copy_short(at + 1, text.data, text.size);
    packer->pos = at + 1 + text.size;
}

/** Private: up to 8 bytes of the str @text from @from on, its tag before it, as they lie in memory.
 * From characters, because compilers do not fold a copy of a short literal into a word. */
WEIR_ALWAYS_INLINE uint64_t weir_pack_word(const char *text, size_t size, size_t from)
{
    uint64_t word = 0;

#define WEIR_PACK_CHAR(i)                                               \
    (from + (i) == 0      ? (uint64_t)(uint8_t)(WEIR_TAG_FIXSTR | size) \
     : from + (i) <= size ? (uint64_t)(uint8_t)text[from + (i)-1]       \
                          : 0)
    word = WEIR_PACK_CHAR(0u) | WEIR_PACK_CHAR(1u) << 8 | WEIR_PACK_CHAR(2u) << 16 |
           WEIR_PACK_CHAR(3u) << 24 | WEIR_PACK_CHAR(4u) << 32 | WEIR_PACK_CHAR(5u) << 40 |
           WEIR_PACK_CHAR(6u) << 48 | WEIR_PACK_CHAR(7u) << 56;
#undef WEIR_PACK_CHAR
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

WEIR_ALWAYS_INLINE void weir_pack_key(struct weir_packer *packer, const char *literal)
{
    size_t size = strlen(literal);

    if (!__builtin_constant_p(size) || size > 31 || weir_pack_room_bytes(packer) < 32) {
        weir_pack_str(packer, weir_view_of(literal, size));
        return;
    }
    uint8_t *at = packer->pos;
    uint64_t word = weir_pack_word(literal, size, 0);
    memcpy(at, &word, sizeof word);
    if (size >= 8) {
        word = weir_pack_word(literal, size, 8);
        memcpy(at + 8, &word, sizeof word);
    }
    if (size >= 16) {
        word = weir_pack_word(literal, size, 16);
        memcpy(at + 16, &word, sizeof word);
    }
    if (size >= 24) {
        word = weir_pack_word(literal, size, 24);
        memcpy(at + 24, &word, sizeof word);
    }
    packer->values++;
    packer->pos = at + 1 + size;
}

WEIR_ALWAYS_INLINE void weir_pack_text(struct weir_packer *packer, const char *text)
{
    weir_pack_key(packer, text);
}

WEIR_INLINE void weir_pack_bin(struct weir_packer *packer, struct weir_view bytes)
{
    packer->values++;
    weir_pack_go_on(packer, weir_pack_bytes_slow(packer->buf, packer->pos, WEIR_TAG_BIN8, bytes));
}

/** Private: a str or bin by reference, in one of the two forms with @tag8 + 1 and @tag8 + 2. */
WEIR_ALWAYS_INLINE void weir_pack_slice(struct weir_packer *packer, unsigned tag8,
                                        const struct weir_slice *slice)
{
    struct weir_buf *buf = packer->buf;
    uint8_t *pos = packer->pos;
    size_t size = slice->view.size;

    packer->values++;
    if (WEIR_UNLIKELY(size < buf->link_min_bytes || size - (UINT8_MAX + 1) > UINT32_MAX / 2 ||
                      weir_pack_room_bytes(packer) < 5 || !weir_buf_may_link(buf, slice->block))) {
        weir_pack_go_on(packer, weir_pack_slice_slow(buf, pos, tag8, slice));
        return;
    }
    if (size <= UINT16_MAX) {
        pos[0] = (uint8_t)(tag8 + 1);
        weir_wire_store16(pos + 1, (uint16_t)size);
        pos += 3;
    } else {
        pos[0] = (uint8_t)(tag8 + 2);
        weir_wire_store32(pos + 1, (uint32_t)size);
        pos += 5;
    }
    weir_buf_link_here(buf, pos, slice);
    packer->pos = pos;
}

WEIR_ALWAYS_INLINE void weir_pack_str_slice(struct weir_packer *packer,
                                            const struct weir_slice *slice)
{
    weir_pack_slice(packer, WEIR_TAG_STR8, slice);
}

WEIR_ALWAYS_INLINE void weir_pack_bin_slice(struct weir_packer *packer,
                                            const struct weir_slice *slice)
{
    weir_pack_slice(packer, WEIR_TAG_BIN8, slice);
}

WEIR_INLINE void weir_pack_raw_slice(struct weir_packer *packer, const struct weir_slice *values)
{
    if (values->view.size < packer->buf->link_min_bytes) {
        weir_pack_raw(packer, values->view);
        return;
    }
    weir_pack_take_raw(packer, values->view);
    weir_pack_go_on(packer, weir_pack_slice_slow(packer->buf, packer->pos, 0, values));
}

/** Private: an array or map head; @tag16 is followed by that of the form with 32 bits. */
WEIR_ALWAYS_INLINE void weir_pack_count(struct weir_packer *packer, unsigned tag_fix,
                                        unsigned tag16, size_t count)
{
    if (WEIR_UNLIKELY(count > UINT16_MAX || weir_pack_room_bytes(packer) < 3)) {
        weir_pack_go_on(packer,
                        weir_pack_count_slow(packer->buf, packer->pos, tag_fix, tag16, count));
    } else if (count <= 15) {
        *packer->pos++ = (uint8_t)(tag_fix | count);
    } else {
        packer->pos[0] = (uint8_t)tag16;
        weir_wire_store16(packer->pos + 1, (uint16_t)count);
        packer->pos += 3;
    }
}

WEIR_INLINE void weir_pack_array(struct weir_packer *packer, size_t count)
{
    packer->values += 1 - (uint64_t)count;
    weir_pack_count(packer, WEIR_TAG_FIXARRAY, WEIR_TAG_ARRAY16, count);
}

WEIR_INLINE void weir_pack_map(struct weir_packer *packer, size_t count)
{
    packer->values += 1 - 2 * (uint64_t)count;
    weir_pack_count(packer, WEIR_TAG_FIXMAP, WEIR_TAG_MAP16, count);
}

/** Private: open a container; its tags of 16 and 32 bits follow each other. */
WEIR_INLINE void weir_pack_open(struct weir_packer *packer, struct weir_pack_scope *scope,
                                unsigned tag_fix, unsigned tag16, size_t count_max)
{
    bool wide = count_max == 0 || count_max > UINT16_MAX;
    size_t size = count_max - 1 < 15 ? 1 : wide ? 5 : 3;
    unsigned tag = size == 1 ? tag_fix : tag16 + wide;

    scope->offset = weir_pack_offset(packer);
    scope->outer = packer->opened;
    scope->outer_values = packer->values;
    scope->outer_uncounted = packer->uncounted;
    scope->tag = (uint8_t)tag;
    if (!weir_pack_has_room(packer, size))
        return;
    packer->pos[0] = (uint8_t)tag;
    packer->pos += size;
    packer->values = 0;
    packer->opened = scope->offset + 1;
    packer->uncounted = false;
}

WEIR_INLINE void weir_pack_open_array(struct weir_packer *packer, struct weir_pack_scope *scope,
                                      size_t count_max)
{
    weir_pack_open(packer, scope, WEIR_TAG_FIXARRAY, WEIR_TAG_ARRAY16, count_max);
}

WEIR_INLINE void weir_pack_open_map(struct weir_packer *packer, struct weir_pack_scope *scope,
                                    size_t count_max)
{
    weir_pack_open(packer, scope, WEIR_TAG_FIXMAP, WEIR_TAG_MAP16, count_max);
}

WEIR_INLINE void weir_pack_close(struct weir_packer *packer, struct weir_pack_scope *scope)
{
    struct weir_packer copy = *packer;

    weir_pack_go_on(packer, weir_pack_close_slow(&copy, scope));
    packer->values = scope->outer_values + 1;
    packer->opened = scope->outer;
    packer->uncounted = scope->outer_uncounted;
    scope->tag = 0;
}

WEIR_INLINE void weir_pack_ext(struct weir_packer *packer, int8_t type, struct weir_view bytes)
{
    packer->values++;
    weir_pack_go_on(packer, weir_pack_ext_slow(packer->buf, packer->pos, type, bytes));
}

WEIR_INLINE void weir_pack_ext_slice(struct weir_packer *packer, int8_t type,
                                     const struct weir_slice *slice)
{
    packer->values++;
    weir_pack_go_on(packer, weir_pack_ext_slice_slow(packer->buf, packer->pos, type, slice));
}

WEIR_INLINE void weir_pack_timestamp(struct weir_packer *packer, int64_t seconds,
                                     uint32_t nanoseconds)
{
    packer->values++;
    weir_pack_go_on(packer,
                    weir_pack_timestamp_slow(packer->buf, packer->pos, seconds, nanoseconds));
}

WEIR_END_DECLS

#endif /* WEIR_PACK_H */
