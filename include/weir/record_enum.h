/* SPDX-License-Identifier: MIT */
/**
 * record_enum: enums that know the names of their values, as fields of records.
 *
 *     #define SIDE_VALUES(V, E) \
 *         V(E, buy, 1)          \
 *         V(E, sell, 2)
 *     WEIR_ENUM(side, SIDE_VALUES);          // enum side {side_buy = 1, side_sell = 2}
 *
 *     #define ORDER_FIELDS(F, R) F(R, u64, id) F(R, enum(side), side)
 *     WEIR_RECORD(order, ORDER_FIELDS);
 *
 *     order.side = side_sell;
 *     puts(side_name(order.side));           // "sell"
 *
 * On the wire  an enum is an integer. Its names are the schema's, for tools and for people.
 * Unknown      integers, which are those that have no name here, do not become values. Where a
 *              field may be missing they count as missing: its bit of `present` is not set, and it
 *              has its default, if any. Elsewhere they are -EPROTO. Packing one is -EINVAL.
 *              So what was read is a value that a switch knows, and a reader that has to get along
 *              with values of later writers says so, by `optional` or by `default`.
 * Refused      when compiling: two values of one name or number, a value outside of 32 bits.
 * Threads      no state.
 */
#ifndef WEIR_RECORD_ENUM_H
#define WEIR_RECORD_ENUM_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/record.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/** One value of an enum. */
struct weir_record_enum_value {
    const char *name; /**< NUL-terminated, without the enum's name before it */
    int32_t number;
};

/** An enum's description. */
struct weir_record_enum {
    const char *name;
    const struct weir_record_enum_value *values;
    size_t count;
};

/** The name of @number, NULL if it has none; valid as long as the description. Linear. */
WEIR_API const char *weir_record_enum_name(const struct weir_record_enum *description,
                                           int64_t number);

/** The value that is called @name. Returns 0; -ENOENT none is, *ret is untouched. Linear. */
WEIR_API int weir_record_enum_find(const struct weir_record_enum *description,
                                   struct weir_view name, int32_t *ret);

/**
 * Define an enum. Once, at file scope; for the enum `side` this is:
 *
 *   enum side
 *       side_buy and so on.
 *   const struct weir_record_enum side_enum
 *       the description.
 *   bool side_is_known(int64_t number)
 *       whether it is one of them.
 *   const char *side_name(int64_t number)
 *       "buy" and so on, NULL if it is none.
 *   int side_find(struct weir_view name, enum side *ret)
 *       The value of that name. Returns 0 or -ENOENT.
 */
#define WEIR_ENUM(NAME, VALUES) WEIR_ENUM_DEFINE(NAME, VALUES)

/* --- inline bodies ------------------------------------------------------------------------- */

/* clang-format off */
#define WEIR_E_VALUE(E, name, number) E##_##name = number,
#define WEIR_E_ENTRY(E, name, number) {#name, (int32_t)(number)},
#define WEIR_E_KNOWN(E, name, value) || number == (int64_t)(value)
/* Two of one number: the compiler says so. */
#define WEIR_E_CASE(E, name, number) case number:
#define WEIR_E_ASSERT(E, name, number)                                     \
    static_assert((number) >= INT32_MIN && (number) <= INT32_MAX,          \
                  "value " #name " of enum " #E " is outside of 32 bits");

#define WEIR_ENUM_DEFINE(E, VALUES)                                                             \
    enum E { VALUES(WEIR_E_VALUE, E) };                                                         \
    VALUES(WEIR_E_ASSERT, E)                                                                    \
    __attribute__((unused)) static const struct weir_record_enum_value E##_weir_values[] = {    \
        VALUES(WEIR_E_ENTRY, E)};                                                               \
    __attribute__((unused)) static const struct weir_record_enum E##_enum = {                   \
        #E, E##_weir_values, sizeof E##_weir_values / sizeof E##_weir_values[0]};               \
    __attribute__((unused)) static const struct weir_record_field E##_weir_element =            \
        WEIR_RECORD_ELEMENT(WEIR_RECORD_ENUM, sizeof(enum E), NULL, &E##_enum);                 \
    __attribute__((unused)) WEIR_INLINE bool E##_is_known(int64_t number)                       \
    {                                                                                           \
        return false VALUES(WEIR_E_KNOWN, E);                                                   \
    }                                                                                           \
    __attribute__((unused)) WEIR_INLINE void E##_weir_numbers_differ(int32_t number)            \
    {                                                                                           \
        switch (number) {                                                                       \
        VALUES(WEIR_E_CASE, E)                                                                  \
        default:                                                                                \
            break;                                                                              \
        }                                                                                       \
    }                                                                                           \
    __attribute__((unused)) WEIR_INLINE const char *E##_name(int64_t number)                    \
    {                                                                                           \
        return weir_record_enum_name(&E##_enum, number);                                        \
    }                                                                                           \
    __attribute__((unused)) WEIR_INLINE int E##_find(struct weir_view name, enum E *ret)        \
    {                                                                                           \
        int32_t number;                                                                         \
        int rc = weir_record_enum_find(&E##_enum, name, &number);                               \
        if (rc == 0)                                                                            \
            *ret = (enum E)number;                                                              \
        return rc;                                                                              \
    }                                                                                           \
    static_assert(sizeof(enum E) == sizeof(int32_t), "enum " #E " is not of 32 bits")
/* clang-format on */

WEIR_END_DECLS

#endif /* WEIR_RECORD_ENUM_H */
