/* SPDX-License-Identifier: MIT */
/**
 * walk: checked bytes read without looking at the end of the input.
 *
 * A weir_unpacker asks before each value whether it is there. A weir_walk does not: it reads only
 * a weir_checked, which weir_check_with() has made, so the types tell what is trusted. Bytes that
 * come from elsewhere go through the check first; what is read more than once is checked once.
 *
 *     struct weir_checked message;
 *     struct weir_walk walk;
 *     struct weir_value value;
 *     if (weir_check_with(bytes, NULL, &message, &fault) != 0)
 *         return fault.error;
 *     weir_walk_init(&walk, message);
 *     if (weir_walk_find(&walk, weir_view_text("items")))
 *         weir_walk_next(&walk, &value);
 *
 * Invariants   pos lies within the checked bytes, where a value begins or all of them end. A walk
 *              never gets an error: what is not there, or of another type, is a false that moves
 *              nothing.
 * Misuse       reading past the last value is an assertion, and undefined without them. An array or
 *              map that is entered is left by reading its values, as with a weir_unpacker.
 * Threads      a walk is one thread's; many may walk the same bytes.
 * Lifetime     what is handed out is valid, and checked, as long as the input is and nobody writes
 *              to it.
 */
#ifndef WEIR_WALK_H
#define WEIR_WALK_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/base.h>
#include <weir/check.h>
#include <weir/unpack.h>
#include <weir/view.h>
#include <weir/wire.h>

WEIR_BEGIN_DECLS

/** The caller's storage for a walk. Fields are private. A copy is a second one. */
struct weir_walk {
    const uint8_t *pos;
    const uint8_t *end;
    const uint8_t *start;
};

/** Start at the first value in @checked. */
WEIR_INLINE void weir_walk_init(struct weir_walk *walk, struct weir_checked checked);

/** Whether every value was read. */
WEIR_INLINE bool weir_walk_done(const struct weir_walk *walk);

/** Offset of the next value from the start of the input. */
WEIR_INLINE size_t weir_walk_offset(const struct weir_walk *walk);

/** What the next value is. There is one (asserted). */
WEIR_INLINE enum weir_type weir_walk_type(const struct weir_walk *walk);

/**
 * Read the next value of any type, as weir_unpack_next() does. There is one (asserted).
 *
 * Cost      inline for what is frequent; see weir_unpack_next().
 */
WEIR_ALWAYS_INLINE void weir_walk_next(struct weir_walk *walk, struct weir_value *ret);

/**
 * Read the next value as what it is expected to be. There is one (asserted).
 *
 *     uint32_t pairs;
 *     uint16_t port;
 *     if (!weir_walk_map(&walk, &pairs) || !weir_walk_key(&walk, "port") ||
 *         !weir_walk_u16(&walk, &port))
 *         return -EPROTO;
 *
 * The types are those of weir_unpack_uint() and so on: an integer has to fit, in whatever encoding
 * it is; f64 takes a float 32 too, f32 no float 64; an ext -1 that is no timestamp is none. The
 * literal of weir_walk_key() is compared with a str key.
 *
 * Returns   whether it is; if not, the walk has not moved and nothing was written.
 * Cost      inline, as weir_walk_next().
 */
WEIR_INLINE bool weir_walk_nil(struct weir_walk *walk);
WEIR_INLINE bool weir_walk_bool(struct weir_walk *walk, bool *ret);
WEIR_INLINE bool weir_walk_uint(struct weir_walk *walk, uint64_t *ret);
WEIR_INLINE bool weir_walk_int(struct weir_walk *walk, int64_t *ret);
WEIR_INLINE bool weir_walk_u8(struct weir_walk *walk, uint8_t *ret);
WEIR_INLINE bool weir_walk_u16(struct weir_walk *walk, uint16_t *ret);
WEIR_INLINE bool weir_walk_u32(struct weir_walk *walk, uint32_t *ret);
WEIR_INLINE bool weir_walk_i8(struct weir_walk *walk, int8_t *ret);
WEIR_INLINE bool weir_walk_i16(struct weir_walk *walk, int16_t *ret);
WEIR_INLINE bool weir_walk_i32(struct weir_walk *walk, int32_t *ret);
WEIR_INLINE bool weir_walk_f32(struct weir_walk *walk, float *ret);
WEIR_INLINE bool weir_walk_f64(struct weir_walk *walk, double *ret);
WEIR_INLINE bool weir_walk_str(struct weir_walk *walk, struct weir_view *ret);
WEIR_INLINE bool weir_walk_bin(struct weir_walk *walk, struct weir_view *ret);
WEIR_INLINE bool weir_walk_array(struct weir_walk *walk, uint32_t *ret);
WEIR_INLINE bool weir_walk_map(struct weir_walk *walk, uint32_t *ret);
WEIR_INLINE bool weir_walk_ext(struct weir_walk *walk, int8_t *ret_type,
                               struct weir_view *ret_bytes);
WEIR_INLINE bool weir_walk_timestamp(struct weir_walk *walk, struct weir_timestamp *ret);
WEIR_INLINE bool weir_walk_key(struct weir_walk *walk, const char *literal);

/** Pass over the next value with all it contains. There is one (asserted). */
WEIR_INLINE void weir_walk_skip(struct weir_walk *walk);

/** As weir_walk_skip(), and return the value's bytes, which are as checked as the rest. */
WEIR_INLINE struct weir_checked weir_walk_raw(struct weir_walk *walk);

/**
 * Go to the value that the map which comes next has under the str @key, the first one if several.
 *
 * Returns   whether there is one; if not, or if it is no map, the walk has not moved.
 */
WEIR_API bool weir_walk_find(struct weir_walk *walk, struct weir_view key);

/**
 * Go to the value that @path names within the one that comes next: see weir_unpack_path().
 *
 * Returns   whether there is one; if not, or if @path is malformed, the walk has not moved.
 */
WEIR_API bool weir_walk_path(struct weir_walk *walk, struct weir_view path);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: the other halves, which return where the next value begins. */
WEIR_API const uint8_t *weir_walk_next_slow(const uint8_t *at, struct weir_value *ret);
WEIR_API const uint8_t *weir_walk_skip_slow(const uint8_t *at, const uint8_t *end);

WEIR_INLINE void weir_walk_init(struct weir_walk *walk, struct weir_checked checked)
{
    struct weir_view bytes = weir_checked_view(checked);
    walk->pos = bytes.data;
    walk->end = bytes.size != 0 ? bytes.data + bytes.size : bytes.data;
    walk->start = bytes.data;
}

WEIR_INLINE bool weir_walk_done(const struct weir_walk *walk)
{
    return walk->pos == walk->end;
}

WEIR_INLINE size_t weir_walk_offset(const struct weir_walk *walk)
{
    return (size_t)(walk->pos - walk->start);
}

WEIR_INLINE enum weir_type weir_walk_type(const struct weir_walk *walk)
{
    struct weir_value value;
    assert(!weir_walk_done(walk));
    weir_walk_next_slow(walk->pos, &value);
    return value.type;
}

/** Private: one value of @type and @size_bytes is read. */
WEIR_ALWAYS_INLINE void weir_walk_give(struct weir_walk *walk, struct weir_value *ret,
                                       enum weir_type type, uint32_t count, size_t size_bytes)
{
    ret->type = type;
    ret->count = count;
    walk->pos += size_bytes;
}

WEIR_ALWAYS_INLINE void weir_walk_next(struct weir_walk *walk, struct weir_value *ret)
{
    const uint8_t *at = walk->pos;
    assert(!weir_walk_done(walk));
    unsigned tag = at[0];
    if (tag < 0x80) {
        ret->as.u64 = tag;
        weir_walk_give(walk, ret, WEIR_TYPE_UINT, 0, 1);
    } else if ((tag & 0xe0u) == WEIR_TAG_FIXSTR) {
        size_t size = tag & 0x1fu;
        ret->as.bytes = weir_view_of(at + 1, size);
        weir_walk_give(walk, ret, WEIR_TYPE_STR, 0, 1 + size);
    } else if (tag == WEIR_TAG_FLOAT64) {
        uint64_t bits = weir_wire_load64(at + 1);
        memcpy(&ret->as.f64, &bits, sizeof bits);
        weir_walk_give(walk, ret, WEIR_TYPE_F64, 0, 9);
    } else if ((tag & 0xfcu) == WEIR_TAG_UINT8 && WEIR_LIKELY(walk->end - at >= 9)) {
        /* Of four widths that cannot be predicted one shift, as in weir_unpack_next(). */
        unsigned bits = 8u << (tag & 3u);
        ret->as.u64 = weir_wire_load64(at + 1) >> (64 - bits);
        weir_walk_give(walk, ret, WEIR_TYPE_UINT, 0, 1 + bits / 8);
    } else if ((tag | 1u) == WEIR_TAG_TRUE) {
        ret->as.boolean = tag == WEIR_TAG_TRUE;
        weir_walk_give(walk, ret, WEIR_TYPE_BOOL, 0, 1);
    } else if ((tag & 0xf0u) == WEIR_TAG_FIXMAP) {
        weir_walk_give(walk, ret, WEIR_TYPE_MAP, tag & 0x0fu, 1);
    } else if ((tag & 0xf0u) == WEIR_TAG_FIXARRAY) {
        weir_walk_give(walk, ret, WEIR_TYPE_ARRAY, tag & 0x0fu, 1);
    } else {
        struct weir_value value;
        walk->pos = weir_walk_next_slow(at, &value);
        *ret = value;
    }
}

/** Private: read the next value, if it is of @type. If not, the walk may have moved. */
WEIR_ALWAYS_INLINE bool weir_walk_take(struct weir_walk *walk, enum weir_type type,
                                       struct weir_value *ret)
{
    weir_walk_next(walk, ret);
    return ret->type == type;
}

WEIR_INLINE bool weir_walk_nil(struct weir_walk *walk)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_NIL, &value))
        return false;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_bool(struct weir_walk *walk, bool *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_BOOL, &value))
        return false;
    *ret = value.as.boolean;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_uint(struct weir_walk *walk, uint64_t *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_UINT, &value))
        return false;
    *ret = value.as.u64;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_int(struct weir_walk *walk, int64_t *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    weir_walk_next(&ahead, &value);
    if (value.type != WEIR_TYPE_INT &&
        (value.type != WEIR_TYPE_UINT || value.as.u64 > (uint64_t)INT64_MAX))
        return false;
    *ret = value.type == WEIR_TYPE_INT ? value.as.i64 : (int64_t)value.as.u64;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_u8(struct weir_walk *walk, uint8_t *ret)
{
    struct weir_walk ahead = *walk;
    uint64_t value;
    if (!weir_walk_uint(&ahead, &value) || value > UINT8_MAX)
        return false;
    *ret = (uint8_t)value;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_u16(struct weir_walk *walk, uint16_t *ret)
{
    struct weir_walk ahead = *walk;
    uint64_t value;
    if (!weir_walk_uint(&ahead, &value) || value > UINT16_MAX)
        return false;
    *ret = (uint16_t)value;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_u32(struct weir_walk *walk, uint32_t *ret)
{
    struct weir_walk ahead = *walk;
    uint64_t value;
    if (!weir_walk_uint(&ahead, &value) || value > UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_i8(struct weir_walk *walk, int8_t *ret)
{
    struct weir_walk ahead = *walk;
    int64_t value;
    if (!weir_walk_int(&ahead, &value) || value < INT8_MIN || value > INT8_MAX)
        return false;
    *ret = (int8_t)value;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_i16(struct weir_walk *walk, int16_t *ret)
{
    struct weir_walk ahead = *walk;
    int64_t value;
    if (!weir_walk_int(&ahead, &value) || value < INT16_MIN || value > INT16_MAX)
        return false;
    *ret = (int16_t)value;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_i32(struct weir_walk *walk, int32_t *ret)
{
    struct weir_walk ahead = *walk;
    int64_t value;
    if (!weir_walk_int(&ahead, &value) || value < INT32_MIN || value > INT32_MAX)
        return false;
    *ret = (int32_t)value;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_f32(struct weir_walk *walk, float *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_F32, &value))
        return false;
    *ret = value.as.f32;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_f64(struct weir_walk *walk, double *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    weir_walk_next(&ahead, &value);
    if (value.type != WEIR_TYPE_F64 && value.type != WEIR_TYPE_F32)
        return false;
    *ret = value.type == WEIR_TYPE_F64 ? value.as.f64 : (double)value.as.f32;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_str(struct weir_walk *walk, struct weir_view *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_STR, &value))
        return false;
    *ret = value.as.bytes;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_bin(struct weir_walk *walk, struct weir_view *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_BIN, &value))
        return false;
    *ret = value.as.bytes;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_array(struct weir_walk *walk, uint32_t *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_ARRAY, &value))
        return false;
    *ret = value.count;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_map(struct weir_walk *walk, uint32_t *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_MAP, &value))
        return false;
    *ret = value.count;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_ext(struct weir_walk *walk, int8_t *ret_type,
                               struct weir_view *ret_bytes)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_EXT, &value))
        return false;
    *ret_type = value.ext_type;
    *ret_bytes = value.as.bytes;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_timestamp(struct weir_walk *walk, struct weir_timestamp *ret)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_EXT, &value) || value.ext_type != -1 ||
        weir_timestamp_decode(value.as.bytes, ret) != 0)
        return false;
    *walk = ahead;
    return true;
}

WEIR_INLINE bool weir_walk_key(struct weir_walk *walk, const char *literal)
{
    struct weir_walk ahead = *walk;
    struct weir_value value;
    if (!weir_walk_take(&ahead, WEIR_TYPE_STR, &value) ||
        !weir_view_equal(value.as.bytes, weir_view_text(literal)))
        return false;
    *walk = ahead;
    return true;
}

WEIR_INLINE void weir_walk_skip(struct weir_walk *walk)
{
    assert(!weir_walk_done(walk));
    walk->pos = weir_walk_skip_slow(walk->pos, walk->end);
}

WEIR_INLINE struct weir_checked weir_walk_raw(struct weir_walk *walk)
{
    struct weir_checked value;
    const uint8_t *from = walk->pos;
    weir_walk_skip(walk);
    value.view = weir_view_of(from, (size_t)(walk->pos - from));
    return value;
}

WEIR_END_DECLS

#endif /* WEIR_WALK_H */
