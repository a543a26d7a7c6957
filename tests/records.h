/* SPDX-License-Identifier: MIT */
/*
 * records: descriptions that a test and a fuzz program share, and a second opinion on what bytes
 * are as one of them.
 */
#ifndef WEIR_TESTS_RECORDS_H
#define WEIR_TESTS_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/buf.h>
#include <weir/record.h>
#include <weir/record_fixed.h>

#define TICK_FIELDS(F, R)        \
    F(R, u64, id)                \
    F(R, f64, price, key("px"))  \
    F(R, str, symbol)            \
    F(R, u32, qty, default(100)) \
    F(R, str, note, optional)
WEIR_RECORD(tick, TICK_FIELDS);

/* The same from some years later: a field is gone, one is new, one is wider, and the order is
 * another. */
#define TICK2_FIELDS(F, R)              \
    F(R, str, symbol)                   \
    F(R, i64, quantity, key("qty"))     \
    F(R, f64, price, key("px"))         \
    F(R, str, currency, default("EUR")) \
    F(R, u64, id)
WEIR_RECORD(tick2, TICK2_FIELDS);

/* And from before: narrower, less. */
#define TICK0_FIELDS(F, R) \
    F(R, u16, id)          \
    F(R, str, symbol)      \
    F(R, f32, px, optional)
WEIR_RECORD(tick0, TICK0_FIELDS);

#define PLACE_FIELDS(F, R) \
    F(R, u32, x)           \
    F(R, i8, y)
WEIR_RECORD(place, PLACE_FIELDS);
WEIR_RECORD_FIXED(place, PLACE_FIELDS);

#define ALL_FIELDS(F, R)                                    \
    F(R, bool, truth)                                       \
    F(R, u8, u_8)                                           \
    F(R, u16, u_16, key("sixteen bits"))                    \
    F(R, u32, u_32)                                         \
    F(R, u64, u_64)                                         \
    F(R, i8, i_8)                                           \
    F(R, i16, i_16, key(""))                                \
    F(R, i32, i_32)                                         \
    F(R, i64, i_64)                                         \
    F(R, f32, f_32, key("a key of 23 bytes here"))          \
    F(R, f64, f_64, key("a key of all of the 31 bytes ok")) \
    F(R, timestamp, when)                                   \
    F(R, str, text)                                         \
    F(R, bin, data)                                         \
    F(R, chars(6), code)                                    \
    F(R, bytes(4), digest)                                  \
    F(R, ext(5), blob)                                      \
    F(R, record(place), place)                              \
    F(R, raw, rest)                                         \
    F(R, u64, last)
WEIR_RECORD(all, ALL_FIELDS);

#define MAYBE_FIELDS(F, R)           \
    F(R, u8, a, optional)            \
    F(R, i64, b, optional)           \
    F(R, f64, c, optional)           \
    F(R, record(place), d, optional) \
    F(R, raw, e, optional)           \
    F(R, bool, f, default(true))     \
    F(R, i16, g, default(-7), key("G"))
WEIR_RECORD(maybe, MAYBE_FIELDS);

#define POINT_FIELDS(F, R)     \
    F(R, i32, x)               \
    F(R, i32, y)               \
    F(R, str, label, optional) \
    F(R, u8, level, default(3))
WEIR_RECORD_ARRAY(point, POINT_FIELDS);

#define ONE_FIELDS(F, R) F(R, u64, n)
WEIR_RECORD(one, ONE_FIELDS);
WEIR_RECORD_ARRAY(lone, ONE_FIELDS);

#define SIDE_VALUES(V, E) \
    V(E, buy, 1)          \
    V(E, sell, 2)         \
    V(E, never, -1000)
WEIR_ENUM(side, SIDE_VALUES);

#define LEG_FIELDS(F, R)         \
    F(R, str, symbol)            \
    F(R, i32, ratio, default(1)) \
    F(R, enum(side), side)       \
    F(R, array(u16), marks, optional)
WEIR_RECORD(leg, LEG_FIELDS);

/* All that arrays may consist of. */
#define BASKET_FIELDS(F, R)                    \
    F(R, u64, id)                              \
    F(R, enum(side), side, key("s"))           \
    F(R, enum(side), last, optional)           \
    F(R, enum(side), next, default(side_sell)) \
    F(R, array(record(leg)), legs)             \
    F(R, array(bool), truths)                  \
    F(R, array(u8), u_8, optional)             \
    F(R, array(u16), u_16)                     \
    F(R, array(u32), u_32)                     \
    F(R, array(u64), u_64)                     \
    F(R, array(i8), i_8)                       \
    F(R, array(i16), i_16)                     \
    F(R, array(i32), i_32)                     \
    F(R, array(i64), i_64)                     \
    F(R, array(f32), f_32)                     \
    F(R, array(f64), f_64)                     \
    F(R, array(timestamp), times)              \
    F(R, array(str), names)                    \
    F(R, array(bin), blobs)                    \
    F(R, array(raw), rest)                     \
    F(R, array(enum(side)), sides)
WEIR_RECORD(basket, BASKET_FIELDS);

#define PATH_FIELDS(F, R)                    \
    F(R, array(record(point)), points)       \
    F(R, array(record(leg)), legs, optional) \
    F(R, u8, end)
WEIR_RECORD_ARRAY(path, PATH_FIELDS);

/* Of fixed layout: all that may be fixed; fixed and variable; as an array; too large to be compared
 * in line; as small as can be. */
#define FLAT_FIELDS(F, R)           \
    F(R, bool, truth)               \
    F(R, u8, u_8)                   \
    F(R, u16, u_16, key("16 bits")) \
    F(R, u32, u_32, default(7))     \
    F(R, u64, u_64)                 \
    F(R, i8, i_8)                   \
    F(R, i16, i_16)                 \
    F(R, i32, i_32)                 \
    F(R, i64, i_64)                 \
    F(R, f32, f_32)                 \
    F(R, f64, f_64)                 \
    F(R, timestamp, when)           \
    F(R, record(place), place)      \
    F(R, chars(12), name)           \
    F(R, bytes(3), blob)            \
    F(R, bool, last)
WEIR_RECORD(flat, FLAT_FIELDS);
WEIR_RECORD_FIXED(flat, FLAT_FIELDS);

#define MIXED_FIELDS(F, R)              \
    F(R, u32, id)                       \
    F(R, chars(5), code)                \
    F(R, str, text, default("-"))       \
    F(R, u64, more, optional)           \
    F(R, f64, weight, optional)         \
    F(R, bin, data)                     \
    F(R, ext(-7), extra)                \
    F(R, chars(20), name, variable)     \
    F(R, record(place), spot, variable) \
    F(R, record(place), old, optional)  \
    F(R, raw, rest)                     \
    F(R, bytes(4), four, variable)      \
    F(R, bool, last, optional)
WEIR_RECORD(mixed, MIXED_FIELDS);
WEIR_RECORD_FIXED(mixed, MIXED_FIELDS);

#define DOT_FIELDS(F, R)       \
    F(R, i16, x)               \
    F(R, f32, y)               \
    F(R, str, label, optional) \
    F(R, i8, level, variable)
WEIR_RECORD_ARRAY(dot, DOT_FIELDS);
WEIR_RECORD_FIXED_ARRAY(dot, DOT_FIELDS);

#define WIDE_FIELDS(F, R)    \
    F(R, u64, a)             \
    F(R, u64, b)             \
    F(R, u64, c)             \
    F(R, u64, d)             \
    F(R, u64, e)             \
    F(R, u64, f)             \
    F(R, u64, g)             \
    F(R, record(flat), flat) \
    F(R, u8, i)              \
    F(R, u8, j)              \
    F(R, u8, k)              \
    F(R, u8, l)              \
    F(R, u8, m)              \
    F(R, bool, n)
WEIR_RECORD(wide, WIDE_FIELDS);
WEIR_RECORD_FIXED(wide, WIDE_FIELDS);

#define BIT_FIELDS(F, R) F(R, bool, bit)
WEIR_RECORD_ARRAY(bit, BIT_FIELDS);
WEIR_RECORD_FIXED_ARRAY(bit, BIT_FIELDS);

/* The functions of a description behind pointers, so that a test may go over all of them. */
struct kind {
    const struct weir_record *schema;
    void (*init)(void *);
    void (*pack)(struct weir_packer *, const void *);
    int (*unpack)(struct weir_unpacker *, void *, struct weir_record_fault *);
    int (*decode)(struct weir_view, void *, struct weir_record_fault *);
};

union any {
    uint64_t present;
    struct tick tick;
    struct tick2 tick2;
    struct tick0 tick0;
    struct all all;
    struct maybe maybe;
    struct point point;
    struct one one;
    struct lone lone;
    struct leg leg;
    struct basket basket;
    struct path path;
    struct flat flat;
    struct mixed mixed;
    struct dot dot;
    struct wide wide;
    struct bit bit;
};

#define RECORDS_KINDS 11

extern const struct kind *const records_kinds[RECORDS_KINDS];

/* The same of a fixed layout. */
union any_ref {
    struct weir_view message;
    struct flat_ref flat;
    struct mixed_ref mixed;
    struct dot_ref dot;
    struct wide_ref wide;
    struct bit_ref bit;
};

struct fixed_kind {
    const struct kind *kind;
    void (*pack)(struct weir_packer *, const void *);
    int (*unpack)(struct weir_unpacker *, void *, struct weir_record_fault *);
    int (*decode)(struct weir_view, void *, struct weir_record_fault *);
    int (*open)(struct weir_view, union any_ref *);
    int (*open_next)(struct weir_unpacker *, union any_ref *);
    void (*get)(const union any_ref *, void *); /* all fields, one after the other */
    const uint8_t *holes;                       /* the bits of values, in the constant part */
    size_t fixed_bytes;
};

#define RECORDS_FIXED_KINDS 5

extern const struct fixed_kind *const records_fixed_kinds[RECORDS_FIXED_KINDS];

/*
 * Read @input as a record of fixed layout in all ways, and as by record.h. Returns NULL, or in what
 * they differ. *ret_opened: whether it is of the fixed layout.
 */
const char *records_fixed_compare(struct weir_buf *buf, const struct fixed_kind *fixed,
                                  struct weir_view input, bool *ret_opened);

/*
 * Read @input as a record by its own code, by its schema, and by an oracle that knows the cursor
 * only. Returns NULL, or in what they differ: whether it is one, which, the error, its offset, the
 * field, or the elements counted. @buf is used, and empty in the end.
 */
const char *records_compare(struct weir_buf *buf, const struct kind *kind, struct weir_view input);

/* Whether two records are the same: by what they are on the wire, so that padding, spare bytes and
 * the place of views do not count. */
bool records_equal(struct weir_buf *buf, const struct weir_record *schema, const void *a,
                   const void *b);

#endif /* WEIR_TESTS_RECORDS_H */
