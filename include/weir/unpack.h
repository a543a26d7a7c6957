/* SPDX-License-Identifier: MIT */
/**
 * unpack: MessagePack values read where they lie, checked.
 *
 * A cursor walks over the values in a view, in the order in which they were written: an array or
 * map is its head, and its elements come next. Strings and bins are handed out as views into the
 * input; nothing is copied or allocated.
 *
 *     struct weir_unpacker u;
 *     uint32_t pairs;
 *     uint64_t id;
 *     struct weir_view key, name;
 *     weir_unpack_init(&u, message, NULL);
 *     weir_unpack_map(&u, &pairs);
 *     weir_unpack_str(&u, &key);      // "id"
 *     weir_unpack_uint(&u, &id);
 *     weir_unpack_str(&u, &key);      // "name"
 *     weir_unpack_str(&u, &name);     // lies in message
 *     int rc = weir_unpack_end(&u);   // 0, or the first error of all that
 *
 * Errors       are sticky: after the first one every call returns it, outputs stay as they were,
 *              and weir_unpack_offset() is the offset of the value that could not be read.
 *              -EAGAIN the bytes end before the value does; -EBADMSG malformed (the reserved byte
 *              0xc1, or, from weir_unpack_end(), bytes left over); -EPROTO another type than asked
 *              for; -EOVERFLOW the value does not fit what was asked for; -ENOBUFS a limit of the
 *              budget is reached.
 * Bounds       One budget of elements for all that a cursor reads, however nested. A count in an
 *              array or map head is believed only as far as bytes are there: each element takes
 *              one at least. No recursion anywhere; skipping takes constant memory.
 * Threads      a cursor is one thread's; many cursors may walk the same bytes.
 * Lifetime     views handed out are valid as long as the input is.
 * Source       MessagePack specification (github.com/msgpack/msgpack, spec.md).
 */
#ifndef WEIR_UNPACK_H
#define WEIR_UNPACK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/base.h>
#include <weir/view.h>
#include <weir/wire.h>

WEIR_BEGIN_DECLS

/** The deepest nesting that weir_check() can be told to allow. */
#define WEIR_DEPTH_MAX 1024

/** Bounds of one decode. Zeroed: the defaults. */
struct weir_limits {
    uint32_t depth;    /**< arrays and maps within each other, up to WEIR_DEPTH_MAX; 0: 128 */
    uint64_t elements; /**< values in all, heads of arrays and maps included; 0: no limit */
    uint64_t bytes;    /**< size of the input; 0: no limit */
};

/** What a value is. */
enum weir_type {
    WEIR_TYPE_NIL,
    WEIR_TYPE_BOOL,
    WEIR_TYPE_UINT, /**< an integer from 0 up, whatever its encoding */
    WEIR_TYPE_INT,  /**< an integer below 0 */
    WEIR_TYPE_F32,
    WEIR_TYPE_F64,
    WEIR_TYPE_STR,
    WEIR_TYPE_BIN,
    WEIR_TYPE_ARRAY,
    WEIR_TYPE_MAP,
    WEIR_TYPE_EXT
};

/** One value as weir_unpack_next() reads it. */
struct weir_value {
    enum weir_type type;
    int8_t ext_type; /**< of an ext */
    uint32_t count;  /**< of an array its elements, of a map its pairs, which follow */
    union {
        bool boolean;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
        struct weir_view bytes; /**< of a str, bin or ext; lies in the input */
    } as;
};

/** A timestamp as the specification's extension type -1 carries it. */
struct weir_timestamp {
    int64_t seconds;      /**< since 1970-01-01T00:00:00Z */
    uint32_t nanoseconds; /**< 0..999,999,999 */
};

/** What is wrong with some bytes, and where. */
struct weir_fault {
    int error;          /**< a negative errno as above; 0: nothing is wrong */
    size_t offset;      /**< of the value concerned, from the start of the input */
    const char *reason; /**< one static line, for people */
};

/** The caller's storage for a cursor. Fields are private. A copy is a second cursor. */
struct weir_unpacker {
    const uint8_t *pos; /* the next value's tag; == end after an error */
    const uint8_t *end;
    const uint8_t *start;
    uint64_t elements_left;
    size_t error_offset;
    int error;
};

/**
 * Start at the first value in @input.
 *
 * @limits   NULL or zeroed: the defaults. depth is not looked at here, see weir_check().
 * Errors    an input above limits->bytes is -ENOBUFS at offset 0, sticky.
 */
WEIR_API void weir_unpack_init(struct weir_unpacker *unpacker, struct weir_view input,
                               const struct weir_limits *limits);

/** Read the next value of any type. Returns 0 or the error; *ret is written on success only. */
WEIR_API int weir_unpack_next(struct weir_unpacker *unpacker, struct weir_value *ret);

/**
 * What the next value is, without reading it.
 *
 * Returns   0; the sticky error; or, not sticky, -EAGAIN no byte is left, or too few to tell an
 *           integer's sign; -EBADMSG it is the reserved byte.
 */
WEIR_API int weir_unpack_peek(const struct weir_unpacker *unpacker, enum weir_type *ret);

/** Read a nil. */
WEIR_API int weir_unpack_nil(struct weir_unpacker *unpacker);

/** Read a bool. */
WEIR_INLINE int weir_unpack_bool(struct weir_unpacker *unpacker, bool *ret);

/** Read an integer of 0..2^64-1, in any encoding; -EOVERFLOW below 0. */
WEIR_INLINE int weir_unpack_uint(struct weir_unpacker *unpacker, uint64_t *ret);

/** Read an integer of -2^63..2^63-1, in any encoding; -EOVERFLOW above. */
WEIR_INLINE int weir_unpack_int(struct weir_unpacker *unpacker, int64_t *ret);

/** Read an integer of 0..2^32-1, in any encoding; -EOVERFLOW outside. */
WEIR_INLINE int weir_unpack_u32(struct weir_unpacker *unpacker, uint32_t *ret);

/** Read an integer of -2^31..2^31-1, in any encoding; -EOVERFLOW outside. */
WEIR_INLINE int weir_unpack_i32(struct weir_unpacker *unpacker, int32_t *ret);

/** Read a float 32; a float 64 is -EPROTO. */
WEIR_API int weir_unpack_f32(struct weir_unpacker *unpacker, float *ret);

/** Read a float 64, or a float 32 widened. */
WEIR_INLINE int weir_unpack_f64(struct weir_unpacker *unpacker, double *ret);

/** Read a str; the view lies in the input. Whether it is UTF-8 is not looked at. */
WEIR_INLINE int weir_unpack_str(struct weir_unpacker *unpacker, struct weir_view *ret);

/** Read a bin; the view lies in the input. */
WEIR_API int weir_unpack_bin(struct weir_unpacker *unpacker, struct weir_view *ret);

/** Read the head of an array: *ret values follow. */
WEIR_INLINE int weir_unpack_array(struct weir_unpacker *unpacker, uint32_t *ret);

/** Read the head of a map: *ret pairs, so twice as many values, follow. */
WEIR_INLINE int weir_unpack_map(struct weir_unpacker *unpacker, uint32_t *ret);

/** Read an ext; the view lies in the input. */
WEIR_API int weir_unpack_ext(struct weir_unpacker *unpacker, int8_t *ret_type,
                             struct weir_view *ret_bytes);

/** Read a timestamp in any of its forms; -EBADMSG an ext -1 that is none. */
WEIR_API int weir_unpack_timestamp(struct weir_unpacker *unpacker, struct weir_timestamp *ret);

/** Decode the payload of an ext -1. Returns 0; -EBADMSG it is no timestamp. */
WEIR_API int weir_timestamp_decode(struct weir_view bytes, struct weir_timestamp *ret);

/**
 * Pass over the next value with all it contains.
 *
 * Cost      linear in the bytes passed over; constant memory, whatever the nesting.
 */
WEIR_API int weir_unpack_skip(struct weir_unpacker *unpacker);

/** As weir_unpack_skip(), and *ret receives the value's bytes, which lie in the input. */
WEIR_API int weir_unpack_raw(struct weir_unpacker *unpacker, struct weir_view *ret);

/** Whether every byte was read and no error happened. */
WEIR_INLINE bool weir_unpack_done(const struct weir_unpacker *unpacker);

/** The first error; -EBADMSG bytes are left over; 0 all is read and well. */
WEIR_API int weir_unpack_end(struct weir_unpacker *unpacker);

/** The first error, 0 if there was none. */
WEIR_INLINE int weir_unpack_error(const struct weir_unpacker *unpacker);

/** Offset of the next value from the start of the input; after an error, of the faulty one. */
WEIR_INLINE size_t weir_unpack_offset(const struct weir_unpacker *unpacker);

/**
 * Whether @input is whole, well-formed values, none or many, within @limits.
 *
 * @limits   NULL or zeroed: the defaults
 * @ret      NULL, or receives what is wrong; error 0 and the input's size as offset if nothing is
 * Returns   0; -EAGAIN the last value is cut off; -EBADMSG malformed; -ENOBUFS a limit is reached;
 *           -EINVAL limits->depth above WEIR_DEPTH_MAX.
 * Cost      linear in the bytes, 8 KiB of stack, no recursion, no allocation.
 */
WEIR_API int weir_check(struct weir_view input, const struct weir_limits *limits,
                        struct weir_fault *ret);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: the cold halves. */
WEIR_API int weir_unpack_bool_slow(struct weir_unpacker *unpacker, bool *ret);
WEIR_API int weir_unpack_uint_slow(struct weir_unpacker *unpacker, uint64_t max, uint64_t *ret);
WEIR_API int weir_unpack_int_slow(struct weir_unpacker *unpacker, int64_t min, int64_t max,
                                  int64_t *ret);
WEIR_API int weir_unpack_f64_slow(struct weir_unpacker *unpacker, double *ret);
WEIR_API int weir_unpack_str_slow(struct weir_unpacker *unpacker, struct weir_view *ret);
WEIR_API int weir_unpack_count_slow(struct weir_unpacker *unpacker, enum weir_type type,
                                    uint32_t *ret);

/** Private: bytes that are left. */
WEIR_INLINE size_t weir_unpack_left(const struct weir_unpacker *unpacker)
{
    return (size_t)(unpacker->end - unpacker->pos);
}

/** Private: whether one more element is within the budget and @size_bytes are left. */
WEIR_INLINE bool weir_unpack_has(const struct weir_unpacker *unpacker, size_t size_bytes)
{
    return WEIR_LIKELY(weir_unpack_left(unpacker) >= size_bytes && unpacker->elements_left != 0);
}

/** Private: take @size_bytes as one element. */
WEIR_INLINE void weir_unpack_take(struct weir_unpacker *unpacker, size_t size_bytes)
{
    unpacker->pos += size_bytes;
    unpacker->elements_left--;
}

WEIR_INLINE int weir_unpack_error(const struct weir_unpacker *unpacker)
{
    return unpacker->error;
}

WEIR_INLINE size_t weir_unpack_offset(const struct weir_unpacker *unpacker)
{
    return unpacker->error != 0 ? unpacker->error_offset
                                : (size_t)(unpacker->pos - unpacker->start);
}

WEIR_INLINE bool weir_unpack_done(const struct weir_unpacker *unpacker)
{
    return unpacker->error == 0 && unpacker->pos == unpacker->end;
}

/**
 * Private: an integer of 0..@max in an unsigned encoding. False: leave it to the cold half, which
 * knows the other encodings, the end of the input, and what is wrong.
 */
WEIR_INLINE bool weir_unpack_uint_fast(struct weir_unpacker *unpacker, uint64_t max, uint64_t *ret)
{
    const uint8_t *at = unpacker->pos;
    uint64_t value;
    size_t size_bytes;
    if (WEIR_UNLIKELY(!weir_unpack_has(unpacker, 9)))
        return false;
    if (at[0] < 0x80) {
        value = at[0];
        size_bytes = 1;
    } else if (at[0] == WEIR_TAG_UINT8) {
        value = at[1];
        size_bytes = 2;
    } else if (at[0] == WEIR_TAG_UINT16) {
        value = weir_wire_load16(at + 1);
        size_bytes = 3;
    } else if (at[0] == WEIR_TAG_UINT32) {
        value = weir_wire_load32(at + 1);
        size_bytes = 5;
    } else if (at[0] == WEIR_TAG_UINT64) {
        value = weir_wire_load64(at + 1);
        size_bytes = 9;
    } else {
        return false;
    }
    if (WEIR_UNLIKELY(value > max))
        return false;
    *ret = value;
    weir_unpack_take(unpacker, size_bytes);
    return true;
}

WEIR_INLINE int weir_unpack_uint(struct weir_unpacker *unpacker, uint64_t *ret)
{
    if (WEIR_LIKELY(weir_unpack_uint_fast(unpacker, UINT64_MAX, ret)))
        return 0;
    return weir_unpack_uint_slow(unpacker, UINT64_MAX, ret);
}

WEIR_INLINE int weir_unpack_int(struct weir_unpacker *unpacker, int64_t *ret)
{
    uint64_t value;
    if (weir_unpack_uint_fast(unpacker, INT64_MAX, &value)) {
        *ret = (int64_t)value;
        return 0;
    }
    return weir_unpack_int_slow(unpacker, INT64_MIN, INT64_MAX, ret);
}

WEIR_INLINE int weir_unpack_u32(struct weir_unpacker *unpacker, uint32_t *ret)
{
    uint64_t value;
    int rc = 0;
    if (WEIR_UNLIKELY(!weir_unpack_uint_fast(unpacker, UINT32_MAX, &value)))
        rc = weir_unpack_uint_slow(unpacker, UINT32_MAX, &value);
    if (rc == 0)
        *ret = (uint32_t)value;
    return rc;
}

WEIR_INLINE int weir_unpack_i32(struct weir_unpacker *unpacker, int32_t *ret)
{
    uint64_t positive;
    int64_t value;
    if (weir_unpack_uint_fast(unpacker, INT32_MAX, &positive)) {
        *ret = (int32_t)positive;
        return 0;
    }
    int rc = weir_unpack_int_slow(unpacker, INT32_MIN, INT32_MAX, &value);
    if (rc == 0)
        *ret = (int32_t)value;
    return rc;
}

WEIR_INLINE int weir_unpack_bool(struct weir_unpacker *unpacker, bool *ret)
{
    if (weir_unpack_has(unpacker, 1) && (unpacker->pos[0] | 1u) == WEIR_TAG_TRUE) {
        *ret = unpacker->pos[0] == WEIR_TAG_TRUE;
        weir_unpack_take(unpacker, 1);
        return 0;
    }
    return weir_unpack_bool_slow(unpacker, ret);
}

WEIR_INLINE int weir_unpack_f64(struct weir_unpacker *unpacker, double *ret)
{
    if (weir_unpack_has(unpacker, 9) && unpacker->pos[0] == WEIR_TAG_FLOAT64) {
        uint64_t bits = weir_wire_load64(unpacker->pos + 1);
        memcpy(ret, &bits, sizeof bits);
        weir_unpack_take(unpacker, 9);
        return 0;
    }
    return weir_unpack_f64_slow(unpacker, ret);
}

WEIR_INLINE int weir_unpack_str(struct weir_unpacker *unpacker, struct weir_view *ret)
{
    if (weir_unpack_has(unpacker, 1) && (unpacker->pos[0] & 0xe0u) == WEIR_TAG_FIXSTR) {
        size_t size = unpacker->pos[0] & 0x1fu;
        if (WEIR_LIKELY(size < weir_unpack_left(unpacker))) {
            *ret = weir_view_of(unpacker->pos + 1, size);
            weir_unpack_take(unpacker, 1 + size);
            return 0;
        }
    }
    return weir_unpack_str_slow(unpacker, ret);
}

WEIR_INLINE int weir_unpack_array(struct weir_unpacker *unpacker, uint32_t *ret)
{
    if (weir_unpack_has(unpacker, 1) && (unpacker->pos[0] & 0xf0u) == WEIR_TAG_FIXARRAY) {
        uint32_t count = unpacker->pos[0] & 0x0fu;
        if (WEIR_LIKELY(count < weir_unpack_left(unpacker))) {
            *ret = count;
            weir_unpack_take(unpacker, 1);
            return 0;
        }
    }
    return weir_unpack_count_slow(unpacker, WEIR_TYPE_ARRAY, ret);
}

WEIR_INLINE int weir_unpack_map(struct weir_unpacker *unpacker, uint32_t *ret)
{
    if (weir_unpack_has(unpacker, 1) && (unpacker->pos[0] & 0xf0u) == WEIR_TAG_FIXMAP) {
        uint32_t count = unpacker->pos[0] & 0x0fu;
        if (WEIR_LIKELY(2 * (size_t)count < weir_unpack_left(unpacker))) {
            *ret = count;
            weir_unpack_take(unpacker, 1);
            return 0;
        }
    }
    return weir_unpack_count_slow(unpacker, WEIR_TYPE_MAP, ret);
}

WEIR_END_DECLS

#endif /* WEIR_UNPACK_H */
