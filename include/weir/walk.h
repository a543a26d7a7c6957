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
WEIR_API const uint8_t *weir_walk_skip_slow(const uint8_t *at);

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

WEIR_INLINE void weir_walk_skip(struct weir_walk *walk)
{
    assert(!weir_walk_done(walk));
    walk->pos = weir_walk_skip_slow(walk->pos);
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
