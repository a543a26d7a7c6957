/* SPDX-License-Identifier: MIT */
/**
 * wire: big-endian loads and stores, and what each MessagePack tag byte means.
 *
 * Support for the inline bodies of pack.h and unpack.h; installed because they are, not meant to be
 * used by programs, and free to change in any release.
 *
 * Source   MessagePack specification, "Formats" (github.com/msgpack/msgpack, spec.md).
 */
#ifndef WEIR_WIRE_H
#define WEIR_WIRE_H

#include <stdint.h>
#include <string.h>

#include <weir/base.h>

WEIR_BEGIN_DECLS

/* Tag bytes, named as in the specification. The fix* ones carry a value in their low bits. */
#define WEIR_TAG_FIXMAP 0x80u
#define WEIR_TAG_FIXARRAY 0x90u
#define WEIR_TAG_FIXSTR 0xa0u
#define WEIR_TAG_NIL 0xc0u
#define WEIR_TAG_RESERVED 0xc1u
#define WEIR_TAG_FALSE 0xc2u
#define WEIR_TAG_TRUE 0xc3u
#define WEIR_TAG_BIN8 0xc4u
#define WEIR_TAG_BIN16 0xc5u
#define WEIR_TAG_BIN32 0xc6u
#define WEIR_TAG_EXT8 0xc7u
#define WEIR_TAG_EXT16 0xc8u
#define WEIR_TAG_EXT32 0xc9u
#define WEIR_TAG_FLOAT32 0xcau
#define WEIR_TAG_FLOAT64 0xcbu
#define WEIR_TAG_UINT8 0xccu
#define WEIR_TAG_UINT16 0xcdu
#define WEIR_TAG_UINT32 0xceu
#define WEIR_TAG_UINT64 0xcfu
#define WEIR_TAG_INT8 0xd0u
#define WEIR_TAG_INT16 0xd1u
#define WEIR_TAG_INT32 0xd2u
#define WEIR_TAG_INT64 0xd3u
#define WEIR_TAG_FIXEXT1 0xd4u
#define WEIR_TAG_FIXEXT2 0xd5u
#define WEIR_TAG_FIXEXT4 0xd6u
#define WEIR_TAG_FIXEXT8 0xd7u
#define WEIR_TAG_FIXEXT16 0xd8u
#define WEIR_TAG_STR8 0xd9u
#define WEIR_TAG_STR16 0xdau
#define WEIR_TAG_STR32 0xdbu
#define WEIR_TAG_ARRAY16 0xdcu
#define WEIR_TAG_ARRAY32 0xddu
#define WEIR_TAG_MAP16 0xdeu
#define WEIR_TAG_MAP32 0xdfu
#define WEIR_TAG_NEGATIVE_FIXINT 0xe0u

/** What follows a tag byte. */
enum weir_wire_kind {
    WEIR_WIRE_SCALAR, /**< nothing beyond the head */
    WEIR_WIRE_BYTES,  /**< the payload bytes of a str, bin or ext */
    WEIR_WIRE_ARRAY,  /**< count values */
    WEIR_WIRE_MAP,    /**< twice count values */
    WEIR_WIRE_BAD     /**< 0xc1, "never used" */
};

/** One entry of the tag table. */
struct weir_wire_tag {
    uint8_t head_bytes;   /**< tag, length field, ext type and scalar payload together */
    uint8_t length_bytes; /**< size of the big-endian length or count behind the tag: 0, 1, 2, 4 */
    uint8_t fixed;        /**< payload bytes or count where there is no length field */
    uint8_t kind;         /**< enum weir_wire_kind */
};

/** What each of the 256 tag bytes announces. */
WEIR_API extern const struct weir_wire_tag weir_wire_tags[256];

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE uint16_t weir_wire_load16(const uint8_t *at)
{
    return (uint16_t)((unsigned)at[0] << 8 | at[1]);
}

WEIR_INLINE uint32_t weir_wire_load32(const uint8_t *at)
{
    uint32_t big;
    memcpy(&big, at, sizeof big);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    big = __builtin_bswap32(big);
#endif
    return big;
}

WEIR_INLINE uint64_t weir_wire_load64(const uint8_t *at)
{
    uint64_t big;
    memcpy(&big, at, sizeof big);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    big = __builtin_bswap64(big);
#endif
    return big;
}

WEIR_INLINE void weir_wire_store16(uint8_t *at, uint16_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap16(value);
#endif
    memcpy(at, &value, sizeof value);
}

WEIR_INLINE void weir_wire_store32(uint8_t *at, uint32_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    memcpy(at, &value, sizeof value);
}

WEIR_INLINE void weir_wire_store64(uint8_t *at, uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    memcpy(at, &value, sizeof value);
}

/**
 * Copy @size bytes, at most 32, without a call, as words that overlap.
 *
 * From 8 bytes up there is no branch on the size, which nothing predicts where strings are of all
 * lengths. Below that there is, because bytes that are not the string's may not be read, and what
 * avoids both costs more than it saves. Where the size is a constant the compiler does as well on
 * its own.
 */
WEIR_INLINE void weir_wire_copy_short(uint8_t *to, const uint8_t *from, size_t size)
{
    if (__builtin_constant_p(size)) {
        memcpy(to, from, size);
    } else if (size >= 8) {
        size_t last = size - 8;
        size_t second = last < 8 ? last : 8;
        size_t third = last < 16 ? last : 16;
        memcpy(to, from, 8);
        memcpy(to + second, from + second, 8);
        memcpy(to + third, from + third, 8);
        memcpy(to + last, from + last, 8);
    } else if (size >= 4) {
        memcpy(to, from, 4);
        memcpy(to + size - 4, from + size - 4, 4);
    } else if (size != 0) {
        to[0] = from[0];
        to[size / 2] = from[size / 2];
        to[size - 1] = from[size - 1];
    }
}

/** The length or count that a tag carries; the whole head must be readable at @at. */
WEIR_INLINE uint32_t weir_wire_length(const uint8_t *at, struct weir_wire_tag tag)
{
    switch (tag.length_bytes) {
    case 1:
        return at[1];
    case 2:
        return weir_wire_load16(at + 1);
    case 4:
        return weir_wire_load32(at + 1);
    default:
        return tag.fixed;
    }
}

WEIR_END_DECLS

#endif /* WEIR_WIRE_H */
