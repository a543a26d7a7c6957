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
};

#define RECORDS_KINDS 11

extern const struct kind *const records_kinds[RECORDS_KINDS];

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
