/* SPDX-License-Identifier: MIT */
/**
 * record_array: arrays within records.
 *
 *     #define LEG_FIELDS(F, R) F(R, str, symbol) F(R, i32, ratio)
 *     WEIR_RECORD(leg, LEG_FIELDS);
 *     #define SPREAD_FIELDS(F, R)       \
 *         F(R, u64, id)                 \
 *         F(R, array(record(leg)), legs) \
 *         F(R, array(f64), prices, optional)
 *     WEIR_RECORD(spread, SPREAD_FIELDS);
 *
 *     struct spread spread = {.id = 7, .legs = {.items = legs, .count = 2}};
 *     spread_encode(&spread, &buf, &message);
 *
 *     spread_decode(message, NULL, &spread, NULL);   // spread.legs.count is 2
 *     struct weir_record_iter at = spread_each_legs(&spread);
 *     while (spread_next_legs(&at, &leg))
 *         use(leg.symbol, leg.ratio);
 *
 * Types        array(T), where T is bool, an integer, f32, f64, timestamp, str, bin, raw,
 *              enum(OTHER) or record(OTHER). On the wire an array of such values, of any count.
 * The member   is a struct of its own, laid out as struct weir_record_array with items of the
 *              element's C type. What is in an array is, in this order: `count` items at `items`,
 *              if that is not NULL; `count` items that `source` is asked for, if that is not NULL;
 *              one MessagePack array in `packed`, if that has bytes; nothing.
 * Packing      takes any of them. `packed` is written as it is and not looked at, as a raw is.
 * Reading      sets `packed`, which lies in the input, and `count`. Each element was looked at, so
 *              the iterator does not meet what cannot be read. Nothing is allocated: elements are
 *              read when the iterator comes to them, or all at once by NAME_load() into an arena.
 * Bounds       the cursor's: an array counts as one element of the budget, each of its elements as
 *              one more, and a count is believed only as far as there are bytes.
 * Errors       those of record.h, for the field of the array, or for the record in it.
 * Threads      no state.
 * Cost         packing numbers and strs from `items` is weir_pack_array_u32() and the like.
 */
#ifndef WEIR_RECORD_ARRAY_H
#define WEIR_RECORD_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/arena.h>
#include <weir/base.h>
#include <weir/record.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/** Elements that somebody has in a form of his own. Embed it in the struct that has them. */
struct weir_record_source {
    /**
     * Element @index, in order from 0, possibly more than once from the start again. Returns a
     * pointer to it that is valid until the next call; NULL: it cannot be had, which is -EINVAL.
     */
    const void *(*get)(const struct weir_record_source *source, size_t index);
};

/** An array field in C, whatever its elements are. */
struct weir_record_array {
    const void *items; /**< in the record itself of the element's type */
    size_t count;
    struct weir_view packed; /**< one MessagePack array */
    const struct weir_record_source *source;
};

/** The caller's storage for going over an array. Fields are private, but for error. */
struct weir_record_iter {
    int error;    /**< why there is no further element: 0 that was the last one */
    size_t index; /* of the next element */
    const struct weir_record_field *element;
    struct weir_record_array array;
    struct weir_unpacker cursor; /* over packed, behind its head */
};

/**
 * Begin to go over the array @member, whose elements are as @element says (of a field of a schema:
 * its `element`). NAME_each_FIELD() is the same for who has the record's type.
 *
 * Valid until  the items, or the bytes, are gone; the record itself may go before.
 */
WEIR_API struct weir_record_iter weir_record_each(const struct weir_record_field *element,
                                                  const void *member);

/**
 * Take the next element into *ret, which is of the element's type.
 *
 * Returns   whether there was one. If not, *ret is as it was, and iter->error tells whether that is
 *           the end: something else it can be only where the program itself set `packed`, which
 *           was not what it should be, or a source gave nothing.
 */
WEIR_API bool weir_record_next(struct weir_record_iter *iter, void *ret);

/**
 * Read the elements of all arrays of a record that came in MessagePack, those of records within
 * included, into @arena: their `items` are set.
 *
 * @record   a struct of @schema; NAME_load(record, arena) is the same by its type
 * Returns   0; an error of the arena, or of reading what the program itself set; then the arrays
 *           that came packed have no items, and @arena is as before.
 * Valid     as what weir_arena_alloc() returns; strs still lie in the input.
 */
WEIR_API int weir_record_load_arrays(const struct weir_record *schema, void *record,
                                     struct weir_arena *arena);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: elements that need no more said about them, by their type. */
WEIR_API extern const struct weir_record_field weir_record_elements[];

/** Private: the room that an array needs, with its head, or WEIR_RECORD_TOO_LARGE. */
WEIR_API uint64_t weir_record_array_bytes(const struct weir_record_field *element,
                                          const void *member);

/** Private: write an array into room that is there. Returns what follows it. */
WEIR_API uint8_t *weir_record_put_array(struct weir_buf *buf, uint8_t *at,
                                        const struct weir_record_field *element,
                                        const void *member);

/** Private: read an array, as weir_record_bytes_slow() and the like do. */
WEIR_API const uint8_t *weir_record_array_slow(const uint8_t *at, const uint8_t *end,
                                               const struct weir_record_field *element,
                                               void *ret_member, uint64_t *elements);

WEIR_INLINE bool weir_record_read_array(const uint8_t **at, const uint8_t *end,
                                        const struct weir_record_field *element, void *ret_member,
                                        uint64_t *elements)
{
    uint64_t more = 0;
    *at = weir_record_array_slow(*at, end, element, ret_member, &more);
    *elements += more;
    return *at != NULL;
}

/* What the macros of record.h do with enums and arrays. An array of records has code of its own,
 * that of the records; all others go by their element's description. */

/* clang-format off */
#define WEIR_R_TYPE_enum(other) enumeration, other, enum other, WEIR_RECORD_ENUM, 1, 5, 0, NULL
#define WEIR_R_TYPE_array(type) WEIR_R_ARRAY_##type

#define WEIR_R_ARRAY_OF(code, ctype) \
    array, (&weir_record_elements[code]), ctype, WEIR_RECORD_ARRAY_OF, 1, 5, 0, NULL
#define WEIR_R_ARRAY_bool WEIR_R_ARRAY_OF(WEIR_RECORD_BOOL, bool)
#define WEIR_R_ARRAY_u8 WEIR_R_ARRAY_OF(WEIR_RECORD_U8, uint8_t)
#define WEIR_R_ARRAY_u16 WEIR_R_ARRAY_OF(WEIR_RECORD_U16, uint16_t)
#define WEIR_R_ARRAY_u32 WEIR_R_ARRAY_OF(WEIR_RECORD_U32, uint32_t)
#define WEIR_R_ARRAY_u64 WEIR_R_ARRAY_OF(WEIR_RECORD_U64, uint64_t)
#define WEIR_R_ARRAY_i8 WEIR_R_ARRAY_OF(WEIR_RECORD_I8, int8_t)
#define WEIR_R_ARRAY_i16 WEIR_R_ARRAY_OF(WEIR_RECORD_I16, int16_t)
#define WEIR_R_ARRAY_i32 WEIR_R_ARRAY_OF(WEIR_RECORD_I32, int32_t)
#define WEIR_R_ARRAY_i64 WEIR_R_ARRAY_OF(WEIR_RECORD_I64, int64_t)
#define WEIR_R_ARRAY_f32 WEIR_R_ARRAY_OF(WEIR_RECORD_F32, float)
#define WEIR_R_ARRAY_f64 WEIR_R_ARRAY_OF(WEIR_RECORD_F64, double)
#define WEIR_R_ARRAY_timestamp WEIR_R_ARRAY_OF(WEIR_RECORD_TIMESTAMP, struct weir_timestamp)
#define WEIR_R_ARRAY_str WEIR_R_ARRAY_OF(WEIR_RECORD_STR, struct weir_view)
#define WEIR_R_ARRAY_bin WEIR_R_ARRAY_OF(WEIR_RECORD_BIN, struct weir_view)
#define WEIR_R_ARRAY_raw WEIR_R_ARRAY_OF(WEIR_RECORD_RAW, struct weir_view)
#define WEIR_R_ARRAY_enum(other) \
    array, (&other##_weir_element), enum other, WEIR_RECORD_ARRAY_OF, 1, 5, 0, NULL
#define WEIR_R_ARRAY_record(other) \
    records, other, struct other, WEIR_RECORD_ARRAY_OF, 1, 5, 0, NULL
/* What arrays cannot have: its `ext` says so to WEIR_R_ASSERT_OF(). */
#define WEIR_R_ARRAY_NOT array, NULL, char, WEIR_RECORD_ARRAY_OF, 1, 5, 1, NULL
#define WEIR_R_ARRAY_ext(type) WEIR_R_ARRAY_NOT
#define WEIR_R_ARRAY_chars(size) WEIR_R_ARRAY_NOT
#define WEIR_R_ARRAY_bytes(size) WEIR_R_ARRAY_NOT
#define WEIR_R_ARRAY_array(type) WEIR_R_ARRAY_NOT

#define WEIR_R_MEMBER_enumeration(ctype, param, name) ctype name
#define WEIR_R_MEMBER_array(ctype, param, name)   \
    struct {                                      \
        const ctype *items;                       \
        size_t count;                             \
        struct weir_view packed;                  \
        const struct weir_record_source *source;  \
    } name
#define WEIR_R_MEMBER_records WEIR_R_MEMBER_array

#define WEIR_R_INIT_enumeration WEIR_R_INIT_uint
#define WEIR_R_INIT_array WEIR_R_INIT_none
#define WEIR_R_INIT_records WEIR_R_INIT_none

#define WEIR_R_BYTES_enumeration(param, name) \
    +(param##_is_known((int64_t)record->name) ? 0 : WEIR_RECORD_TOO_LARGE)
#define WEIR_R_BYTES_array(param, name) +weir_record_array_bytes(param, &record->name)
#define WEIR_R_BYTES_records(param, name) +param##_weir_bytes_all(&record->name)

#define WEIR_R_PUT_enumeration(param, name) weir_record_put_sint(at, (int64_t)record->name)
#define WEIR_R_PUT_array(param, name) weir_record_put_array(buf, at, param, &record->name)
#define WEIR_R_PUT_records(param, name) param##_weir_put_all(buf, at, &record->name)

#define WEIR_R_TAG_enumeration 0u
#define WEIR_R_TAG_array 0u
#define WEIR_R_TAG_records 0u

#define WEIR_R_AHEAD_enumeration WEIR_R_AHEAD_number
#define WEIR_R_AHEAD_array WEIR_R_AHEAD_tag
#define WEIR_R_AHEAD_records WEIR_R_AHEAD_tag

#define WEIR_R_READ_enumeration(ctype, param, name)                         \
    int64_t value = 0;                                                      \
    ok = weir_record_read_sint(&at, end, room, INT32_MAX, &value) &&        \
         param##_is_known(value);                                           \
    ret->name = (ctype)(ok ? value : 0);
#define WEIR_R_READ_array(ctype, param, name) \
    ok = weir_record_read_array(&at, end, param, &ret->name, elements);
#define WEIR_R_READ_records(ctype, param, name)                       \
    at = param##_weir_read_all(at, end, &ret->name, elements);        \
    ok = at != NULL;

/* What else the schema has: the element, and the values of an enum. */
#define WEIR_R_MORE_none(param) NULL, NULL
#define WEIR_R_MORE_boolean WEIR_R_MORE_none
#define WEIR_R_MORE_uint WEIR_R_MORE_none
#define WEIR_R_MORE_sint WEIR_R_MORE_none
#define WEIR_R_MORE_float32 WEIR_R_MORE_none
#define WEIR_R_MORE_float64 WEIR_R_MORE_none
#define WEIR_R_MORE_timestamp WEIR_R_MORE_none
#define WEIR_R_MORE_str WEIR_R_MORE_none
#define WEIR_R_MORE_bin WEIR_R_MORE_none
#define WEIR_R_MORE_ext WEIR_R_MORE_none
#define WEIR_R_MORE_raw WEIR_R_MORE_none
#define WEIR_R_MORE_chars WEIR_R_MORE_none
#define WEIR_R_MORE_bytes WEIR_R_MORE_none
#define WEIR_R_MORE_nested WEIR_R_MORE_none
#define WEIR_R_MORE_enumeration(param) NULL, &param##_enum
#define WEIR_R_MORE_array(param) param, NULL
#define WEIR_R_MORE_records(param) &param##_weir_element, NULL

/* NAME_each_FIELD() and NAME_next_FIELD() of arrays. */
#define WEIR_R_EACH(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_EACH_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_EACH_OF(R, kind, param, ctype, code, min, max, ext, nested, name, ...) \
    WEIR_R_EACH_##kind(R, param, ctype, name)
#define WEIR_R_EACH_none(R, param, ctype, name)
#define WEIR_R_EACH_boolean WEIR_R_EACH_none
#define WEIR_R_EACH_uint WEIR_R_EACH_none
#define WEIR_R_EACH_sint WEIR_R_EACH_none
#define WEIR_R_EACH_float32 WEIR_R_EACH_none
#define WEIR_R_EACH_float64 WEIR_R_EACH_none
#define WEIR_R_EACH_timestamp WEIR_R_EACH_none
#define WEIR_R_EACH_str WEIR_R_EACH_none
#define WEIR_R_EACH_bin WEIR_R_EACH_none
#define WEIR_R_EACH_ext WEIR_R_EACH_none
#define WEIR_R_EACH_raw WEIR_R_EACH_none
#define WEIR_R_EACH_chars WEIR_R_EACH_none
#define WEIR_R_EACH_bytes WEIR_R_EACH_none
#define WEIR_R_EACH_nested WEIR_R_EACH_none
#define WEIR_R_EACH_enumeration WEIR_R_EACH_none
#define WEIR_R_EACH_BEGIN(R, element, name)                                                       \
    WEIR_R_UNUSED WEIR_INLINE struct weir_record_iter R##_each_##name(const struct R *record)     \
    {                                                                                             \
        return weir_record_each(element, &record->name);                                          \
    }
#define WEIR_R_EACH_array(R, param, ctype, name)                                                  \
    WEIR_R_EACH_BEGIN(R, param, name)                                                             \
    WEIR_R_UNUSED WEIR_INLINE bool R##_next_##name(struct weir_record_iter *iter, ctype *ret)     \
    {                                                                                             \
        return weir_record_next(iter, ret);                                                       \
    }
#define WEIR_R_EACH_records(R, param, ctype, name)                                                \
    WEIR_R_EACH_BEGIN(R, &param##_weir_element, name)                                             \
    WEIR_R_UNUSED WEIR_INLINE bool R##_next_##name(struct weir_record_iter *iter, ctype *ret)     \
    {                                                                                             \
        const uint8_t *at = iter->cursor.pos;                                                     \
        uint64_t elements = 0;                                                                    \
        ctype item;                                                                               \
        if (WEIR_LIKELY(iter->index < iter->array.count && at != NULL))                           \
            at = param##_weir_read(at, iter->cursor.end, &item, &elements);                       \
        else                                                                                      \
            at = NULL;                                                                            \
        if (WEIR_UNLIKELY(at == NULL))                                                            \
            return weir_record_next(iter, ret);                                                   \
        iter->cursor.pos = at;                                                                    \
        iter->index++;                                                                            \
        *ret = item;                                                                              \
        return true;                                                                              \
    }

/* The functions of a record that arrays of it consist of; part of WEIR_RECORD_DEFINE(). */
#define WEIR_R_ALL(R)                                                                             \
    WEIR_R_UNUSED static const struct weir_record_field R##_weir_element =                        \
        WEIR_RECORD_ELEMENT(WEIR_RECORD_NESTED, sizeof(struct R), &R##_schema, NULL);             \
    WEIR_R_UNUSED WEIR_INLINE uint64_t R##_weir_bytes_all(const void *member)                     \
    {                                                                                             \
        struct weir_record_array array;                                                           \
        memcpy(&array, member, sizeof array);                                                     \
        const struct R *items = (const struct R *)array.items;                                    \
        if (items == NULL || array.count > UINT32_MAX)                                            \
            return weir_record_array_bytes(&R##_weir_element, member);                            \
        uint64_t bytes = 5;                                                                       \
        for (size_t i = 0; i < array.count && bytes < WEIR_RECORD_TOO_LARGE; i++)                 \
            bytes += R##_weir_bytes(&items[i]);                                                   \
        return bytes < WEIR_RECORD_TOO_LARGE ? bytes : WEIR_RECORD_TOO_LARGE;                     \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE uint8_t *R##_weir_put_all(struct weir_buf *buf, uint8_t *at,        \
                                                        const void *member)                       \
    {                                                                                             \
        struct weir_record_array array;                                                           \
        memcpy(&array, member, sizeof array);                                                     \
        const struct R *items = (const struct R *)array.items;                                    \
        if (items == NULL)                                                                        \
            return weir_record_put_array(buf, at, &R##_weir_element, member);                     \
        at = weir_pack_count_slow(buf, at, WEIR_TAG_FIXARRAY, WEIR_TAG_ARRAY16, array.count);     \
        for (size_t i = 0; i < array.count; i++)                                                  \
            at = R##_weir_put(buf, at, &items[i]);                                                \
        return at;                                                                                \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE const uint8_t *R##_weir_read_all(                                   \
        const uint8_t *at, const uint8_t *end, void *ret_member, uint64_t *elements)              \
    {                                                                                             \
        struct weir_record_array array = {NULL, 0, {at, 0}, NULL};                                \
        unsigned count = 0;                                                                       \
        struct R item;                                                                            \
        if (!weir_record_read_head(&at, end, WEIR_TAG_FIXARRAY, WEIR_TAG_ARRAY16, &count))        \
            return NULL;                                                                          \
        for (unsigned i = 0; i < count && at != NULL; i++)                                        \
            at = R##_weir_read(at, end, &item, elements);                                         \
        if (at == NULL)                                                                           \
            return NULL;                                                                          \
        array.packed.size = (size_t)(at - array.packed.data);                                     \
        array.count = count;                                                                      \
        *elements += count;                                                                       \
        memcpy(ret_member, &array, sizeof array);                                                 \
        return at;                                                                                \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE int R##_load(struct R *record, struct weir_arena *arena)            \
    {                                                                                             \
        return weir_record_load_arrays(&R##_schema, record, arena);                                \
    }

/* Whether two keys are one: @list is (IS_MAP, key, key, ...), and each is compared with all. The
 * comparison of literals is a constant to gcc and clang, in C and in C++. */
#define WEIR_R_KEYS(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_KEYS_OF, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_KEYS_OF(kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_R_KEY(name, o1, o2),
#define WEIR_R_UNIQUE(list, type, ...) \
    WEIR_R_APPLY(WEIR_R_UNIQUE_OF, list, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_UNIQUE_OF(list, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    static_assert(WEIR_R_TIMES(WEIR_R_KEY(name, o1, o2), WEIR_R_BARE list, WEIR_R_PAD64, 0) <= 1,  \
                  "two fields have the key of field " #name);
#define WEIR_R_BARE(...) __VA_ARGS__
#define WEIR_R_TIMES(...) WEIR_R_TIMES64(__VA_ARGS__)
/* Longer than any key. */
#define WEIR_R_PAD "no key is as long as this one is, by far"
#define WEIR_R_PAD8                                                                               \
    WEIR_R_PAD, WEIR_R_PAD, WEIR_R_PAD, WEIR_R_PAD, WEIR_R_PAD, WEIR_R_PAD, WEIR_R_PAD, WEIR_R_PAD
#define WEIR_R_PAD64                                                                              \
    WEIR_R_PAD8, WEIR_R_PAD8, WEIR_R_PAD8, WEIR_R_PAD8, WEIR_R_PAD8, WEIR_R_PAD8, WEIR_R_PAD8,    \
        WEIR_R_PAD8
#define WEIR_R_ONE(key, other) (__builtin_strcmp(key, other) == 0)
#define WEIR_R_ONE8(key, a, b, c, d, e, f, g, h)                                                  \
    (WEIR_R_ONE(key, a) + WEIR_R_ONE(key, b) + WEIR_R_ONE(key, c) + WEIR_R_ONE(key, d) +          \
     WEIR_R_ONE(key, e) + WEIR_R_ONE(key, f) + WEIR_R_ONE(key, g) + WEIR_R_ONE(key, h))
#define WEIR_R_TIMES64(key, is_map, a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6,   \
                       b7, c0, c1, c2, c3, c4, c5, c6, c7, d0, d1, d2, d3, d4, d5, d6, d7, e0,    \
                       e1, e2, e3, e4, e5, e6, e7, f0, f1, f2, f3, f4, f5, f6, f7, g0, g1, g2,    \
                       g3, g4, g5, g6, g7, h0, h1, h2, h3, h4, h5, h6, h7, ...)                   \
    (is_map) * (WEIR_R_ONE8(key, a0, a1, a2, a3, a4, a5, a6, a7) +                                \
                WEIR_R_ONE8(key, b0, b1, b2, b3, b4, b5, b6, b7) +                                \
                WEIR_R_ONE8(key, c0, c1, c2, c3, c4, c5, c6, c7) +                                \
                WEIR_R_ONE8(key, d0, d1, d2, d3, d4, d5, d6, d7) +                                \
                WEIR_R_ONE8(key, e0, e1, e2, e3, e4, e5, e6, e7) +                                \
                WEIR_R_ONE8(key, f0, f1, f2, f3, f4, f5, f6, f7) +                                \
                WEIR_R_ONE8(key, g0, g1, g2, g3, g4, g5, g6, g7) +                                \
                WEIR_R_ONE8(key, h0, h1, h2, h3, h4, h5, h6, h7))
/* clang-format on */

WEIR_END_DECLS

#endif /* WEIR_RECORD_ARRAY_H */
