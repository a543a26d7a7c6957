/* SPDX-License-Identifier: MIT */
/**
 * bulk_scalar: one value after the other, without a branch on how wide it is.
 *
 * Where widths follow no pattern, a branch on them is mispredicted at every other value. These
 * bodies are compiled once for any processor and once for those that shift by any number of bits in
 * one instruction.
 */
#ifndef WEIR_BULK_SCALAR_H
#define WEIR_BULK_SCALAR_H

#include <string.h>

#include "bulk_private.h"
#include "weir/wire.h"

/** No value is longer than this on the wire. */
#define WEIR__BULK_VALUE_MAX 9u

/* How the integers of one magnitude are written. */
struct weir__bulk_form {
    uint8_t tag;       /* of integers from 0 up; of others it is 4 more; 0 of the fixints */
    uint8_t tag_bytes; /* 0 of the fixints, which are their own tag */
    uint8_t shift;     /* that brings the payload to the top of 64 bits */
    uint8_t bytes;     /* tag and payload */
};

/** The form of an integer by the number of its highest bit, 0 if it has none. */
extern const struct weir__bulk_form weir__bulk_forms[64];

/** The element at @at as 64 bits, sign-extended if it is signed. @bytes is a constant. */
WEIR_ALWAYS_INLINE uint64_t weir__bulk_load(const uint8_t *at, unsigned bytes, bool is_signed)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (bytes) {
    case 1:
        memcpy(&u8, at, sizeof(u8));
        return is_signed ? (uint64_t)(int8_t)u8 : u8;
    case 2:
        memcpy(&u16, at, sizeof(u16));
        return is_signed ? (uint64_t)(int16_t)u16 : u16;
    case 4:
        memcpy(&u32, at, sizeof(u32));
        return is_signed ? (uint64_t)(int32_t)u32 : u32;
    default:
        memcpy(&u64, at, sizeof(u64));
        return u64;
    }
}

/** Store @value, which fits, as an element of @bytes. */
WEIR_ALWAYS_INLINE void weir__bulk_store(uint8_t *at, unsigned bytes, uint64_t value)
{
    uint8_t u8 = (uint8_t)value;
    uint16_t u16 = (uint16_t)value;
    uint32_t u32 = (uint32_t)value;

    switch (bytes) {
    case 1:
        memcpy(at, &u8, sizeof(u8));
        break;
    case 2:
        memcpy(at, &u16, sizeof(u16));
        break;
    case 4:
        memcpy(at, &u32, sizeof(u32));
        break;
    default:
        memcpy(at, &value, sizeof(value));
        break;
    }
}

/*
 * A number from 0 up that takes the form that @value does, but for the tag: what is below 0 is
 * turned over and loses a bit of each width to the sign. Of the fixints there are 32 below 0 and
 * 128 above, so from 0x40 on the bit that leads to the next form is set.
 */
WEIR_ALWAYS_INLINE uint64_t weir__bulk_magnitude(uint64_t value, bool is_signed)
{
    uint64_t sign = is_signed ? (uint64_t)((int64_t)value >> 63) : 0;
    uint64_t turned = (value << (sign & 1)) ^ sign;

    return turned | (turned & sign & 0x40) << 1;
}

/** Write one integer; 9 bytes are written to. Returns how many of them count. */
WEIR_ALWAYS_INLINE size_t weir__bulk_pack_integer(uint8_t *at, uint64_t value, bool is_signed)
{
    uint64_t magnitude = weir__bulk_magnitude(value, is_signed);
    unsigned highest = 63 - (unsigned)__builtin_clzll(magnitude | 1);
    struct weir__bulk_form form = weir__bulk_forms[highest];
    unsigned below_0 = is_signed ? (unsigned)(value >> 63) << 2 : 0;

    at[0] = (uint8_t)(form.tag + below_0);
    weir_wire_store64(at + form.tag_bytes, value << form.shift);
    return form.bytes;
}

/** How many bytes @count integers take. */
WEIR_ALWAYS_INLINE uint64_t weir__bulk_integers_bytes(const uint8_t *values, size_t count,
                                                      unsigned bytes, bool is_signed)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t value = weir__bulk_load(values + i * bytes, bytes, is_signed);
        uint64_t magnitude = weir__bulk_magnitude(value, is_signed);
        sum += weir__bulk_forms[63 - __builtin_clzll(magnitude | 1)].bytes;
    }
    return sum;
}

WEIR_ALWAYS_INLINE void weir__bulk_pack_integers(struct weir__bulk_pack *job, unsigned bytes,
                                                 bool is_signed)
{
    const uint8_t *values = job->values;
    uint8_t *at = job->at;

    /* As many as fit in their longest form, and again with what they left. */
    while (job->count != 0 && (size_t)(job->end - at) >= WEIR__BULK_VALUE_MAX) {
        size_t count = (size_t)(job->end - at) / WEIR__BULK_VALUE_MAX;
        if (count > job->count)
            count = job->count;
        job->count -= count;
        for (const uint8_t *last = values + count * bytes; values != last; values += bytes)
            at += weir__bulk_pack_integer(at, weir__bulk_load(values, bytes, is_signed), is_signed);
    }
    job->values = values;
    job->at = at;
}

/** Floats of 4 or 8 bytes. */
WEIR_ALWAYS_INLINE void weir__bulk_pack_floats(struct weir__bulk_pack *job, unsigned bytes)
{
    size_t count = (size_t)(job->end - job->at) / (1 + bytes);
    const uint8_t *values = job->values;
    uint8_t *at = job->at;

    if (count > job->count)
        count = job->count;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = weir__bulk_load(values + i * bytes, bytes, false);
        at[0] = bytes == 4 ? WEIR_TAG_FLOAT32 : WEIR_TAG_FLOAT64;
        if (bytes == 4)
            weir_wire_store32(at + 1, (uint32_t)bits);
        else
            weir_wire_store64(at + 1, bits);
        at += 1 + bytes;
    }
    job->values = values + count * bytes;
    job->count -= count;
    job->at = at;
}

/* --- unpacking ----------------------------------------------------------------------------- */

/*
 * How long the integer with @tag is. The two low bits of the tags behind 0xcc are the logarithm of
 * the payload's size; the short way from a tag to where the next one stands decides how fast
 * this is, so it is computed and not looked up. Of tags of other types it is something of 1..9.
 */
WEIR_ALWAYS_INLINE size_t weir__bulk_integer_bytes(unsigned tag, bool is_signed)
{
    unsigned has_payload = is_signed ? tag >> 7 & ~(tag >> 5) : tag >> 7;

    return 1 + ((size_t)has_payload << (tag & 3));
}

/**
 * Read the integer at @at, where 9 bytes are readable, into an element of @bytes.
 *
 * Returns   whether it is an integer that fits; *ret is written in any case.
 */
WEIR_ALWAYS_INLINE bool weir__bulk_unpack_integer(const uint8_t *at, unsigned bytes, bool is_signed,
                                                  uint64_t *ret)
{
    unsigned tag = at[0];
    unsigned has_payload = tag >> 7 & ~(tag >> 5);
    unsigned log2_bytes = tag & 3 & (0 - has_payload);
    unsigned shift = 64 - (8u << log2_bytes);
    uint64_t top = weir_wire_load64(at + has_payload);
    /* The tags from here on are of signed kinds, whose first bit is extended. */
    uint64_t is_signed_kind = tag >= WEIR_TAG_INT8;
    uint64_t first_bit = is_signed_kind << 63 >> shift;
    uint64_t value = (top >> shift ^ first_bit) - first_bit;
    uint64_t below_0 = is_signed_kind & top >> 63;
    bool is_integer = ((uint8_t)(tag + 32) < 160) | ((uint8_t)(tag - WEIR_TAG_UINT8) < 8);
    unsigned spare = 64 - 8 * bytes;

    *ret = value;
    if (!is_signed)
        return is_integer & !below_0 & (value << spare >> spare == value);
    /* As a signed element it keeps its value, and that is below 0 if and only if it was so. */
    uint64_t kept = (uint64_t)((int64_t)(value << spare) >> spare);
    return is_integer & (kept == value) & (kept >> 63 == below_0);
}

/**
 * The same for what shortest forms are of an unsigned type: fixints, and the unsigned kinds up to
 * its own width, of which every value fits.
 */
WEIR_ALWAYS_INLINE bool weir__bulk_unpack_shortest(const uint8_t *at, unsigned bytes, uint64_t *ret)
{
    unsigned tag = at[0];
    unsigned has_payload = tag >> 7;
    unsigned bits = 8u << (tag & 3 & (0 - has_payload));
    unsigned kind = (uint8_t)(tag - WEIR_TAG_UINT8);

    *ret = weir_wire_load64(at + has_payload) >> ((0 - bits) & 63);
    return !(has_payload & (kind > (unsigned)__builtin_ctz(bytes)));
}

/* Integers whose widths follow no pattern, up to @count of them, where 9 bytes are readable for
 * each. Returns whether all were taken and were as long as the first one. */
WEIR_ALWAYS_INLINE bool weir__bulk_unpack_mixed(struct weir__bulk_unpack *job, size_t count,
                                                unsigned bytes, bool is_signed)
{
    const uint8_t *at = job->at;
    size_t first_bytes = weir__bulk_integer_bytes(at[0], is_signed);
    size_t differences = 0;
    size_t i = 0;

    for (; i < count; i++) {
        uint64_t value;
        size_t value_bytes = weir__bulk_integer_bytes(at[0], is_signed);
        bool is_taken = !is_signed && weir__bulk_unpack_shortest(at, bytes, &value);
        if (!is_taken && !weir__bulk_unpack_integer(at, bytes, is_signed, &value))
            break;
        weir__bulk_store(job->values + i * bytes, bytes, value);
        differences |= value_bytes ^ first_bytes;
        at += value_bytes;
    }
    job->at = at;
    job->values += i * bytes;
    job->count -= i;
    return differences == 0 && i == count;
}

/* Fixints, up to @count of them. Returns how many. */
WEIR_ALWAYS_INLINE size_t weir__bulk_unpack_fixints(struct weir__bulk_unpack *job, size_t count,
                                                    unsigned bytes, bool is_signed)
{
    size_t i = 0;

    for (; i < count; i++) {
        int8_t value = (int8_t)job->at[i];
        if (value < (is_signed ? -32 : 0))
            break;
        weir__bulk_store(job->values + i * bytes, bytes, (uint64_t)value);
    }
    job->at += i;
    return i;
}

/* Integers of an unsigned kind with @payload bytes, up to @count of them. Returns how many. */
WEIR_ALWAYS_INLINE size_t weir__bulk_unpack_uints(struct weir__bulk_unpack *job, size_t count,
                                                  unsigned payload, unsigned bytes, bool is_signed)
{
    uint64_t max = UINT64_MAX >> (64 - 8 * bytes + is_signed);
    const uint8_t *at = job->at;
    unsigned tag = at[0];
    size_t i = 0;

    for (; i < count && at[0] == tag; i++) {
        uint64_t value = weir_wire_load64(at + 1) >> (64 - 8 * payload);
        if (value > max)
            break;
        weir__bulk_store(job->values + i * bytes, bytes, value);
        at += 1 + payload;
    }
    job->at = at;
    return i;
}

/*
 * Integers in the form of the one at the front, up to @count of them. Here the next one's place
 * does not wait for this one's tag: the branch is predicted.
 */
WEIR_ALWAYS_INLINE void weir__bulk_unpack_run(struct weir__bulk_unpack *job, size_t count,
                                              unsigned bytes, bool is_signed)
{
    size_t taken = 0;

    switch (job->at[0]) {
    case WEIR_TAG_UINT8:
        taken = weir__bulk_unpack_uints(job, count, 1, bytes, is_signed);
        break;
    case WEIR_TAG_UINT16:
        taken = weir__bulk_unpack_uints(job, count, 2, bytes, is_signed);
        break;
    case WEIR_TAG_UINT32:
        taken = weir__bulk_unpack_uints(job, count, 4, bytes, is_signed);
        break;
    case WEIR_TAG_UINT64:
        taken = weir__bulk_unpack_uints(job, count, 8, bytes, is_signed);
        break;
    default:
        taken = weir__bulk_unpack_fixints(job, count, bytes, is_signed);
        break;
    }
    job->values += taken * bytes;
    job->count -= taken;
}

/* How many integers without a pattern are looked at until one is looked for. */
#define WEIR__BULK_MIXED 16u

WEIR_ALWAYS_INLINE void weir__bulk_unpack_integers(struct weir__bulk_unpack *job, unsigned bytes,
                                                   bool is_signed)
{
    bool is_run = false;

    while (job->count != 0 && (size_t)(job->end - job->at) >= WEIR__BULK_VALUE_MAX) {
        size_t count = (size_t)(job->end - job->at) / WEIR__BULK_VALUE_MAX;
        size_t before = job->count;
        if (count > job->count)
            count = job->count;
        if (is_run) {
            weir__bulk_unpack_run(job, count, bytes, is_signed);
            is_run = before - job->count == count;
            continue;
        }
        if (count > WEIR__BULK_MIXED)
            count = WEIR__BULK_MIXED;
        is_run = weir__bulk_unpack_mixed(job, count, bytes, is_signed);
        if (before - job->count != count)
            break;
    }
}

/** Floats 32. */
WEIR_ALWAYS_INLINE void weir__bulk_unpack_floats32(struct weir__bulk_unpack *job)
{
    size_t count = (size_t)(job->end - job->at) / 5;
    const uint8_t *at = job->at;
    size_t i = 0;

    if (count > job->count)
        count = job->count;
    for (; i < count && at[0] == WEIR_TAG_FLOAT32; i++) {
        weir__bulk_store(job->values + i * 4, 4, weir_wire_load32(at + 1));
        at += 5;
    }
    job->at = at;
    job->values += i * 4;
    job->count -= i;
}

/** Floats 64, and floats 32 among them. */
WEIR_ALWAYS_INLINE void weir__bulk_unpack_floats64(struct weir__bulk_unpack *job)
{
    const uint8_t *at = job->at;
    const uint8_t *end = job->end;
    uint8_t *values = job->values;
    size_t i = 0;

    for (; i < job->count && end - at >= 9; i++) {
        if (WEIR_LIKELY(at[0] == WEIR_TAG_FLOAT64)) {
            weir__bulk_store(values + i * 8, 8, weir_wire_load64(at + 1));
            at += 9;
        } else if (at[0] == WEIR_TAG_FLOAT32) {
            uint32_t bits = weir_wire_load32(at + 1);
            float narrow;
            memcpy(&narrow, &bits, sizeof(narrow));
            double wide = (double)narrow;
            memcpy(values + i * 8, &wide, sizeof(wide));
            at += 5;
        } else {
            break;
        }
    }
    job->at = at;
    job->values += i * 8;
    job->count -= i;
}

/*
 * Define bytes_u8(), pack_u8() and unpack_u8() to those of i64 with the above, each with
 * @attributes.
 */
#define WEIR__BULK_INTEGER(attributes, name, bytes, is_signed)                              \
    attributes static void bytes_##name(const uint8_t *values, size_t count, uint64_t *ret) \
    {                                                                                       \
        *ret = weir__bulk_integers_bytes(values, count, bytes, is_signed);                  \
    }                                                                                       \
    attributes static void pack_##name(struct weir__bulk_pack *job)                         \
    {                                                                                       \
        weir__bulk_pack_integers(job, bytes, is_signed);                                    \
    }                                                                                       \
    attributes static void unpack_##name(struct weir__bulk_unpack *job)                     \
    {                                                                                       \
        weir__bulk_unpack_integers(job, bytes, is_signed);                                  \
    }
#define WEIR__BULK_INTEGERS(attributes)           \
    WEIR__BULK_INTEGER(attributes, u8, 1, false)  \
    WEIR__BULK_INTEGER(attributes, u16, 2, false) \
    WEIR__BULK_INTEGER(attributes, u32, 4, false) \
    WEIR__BULK_INTEGER(attributes, u64, 8, false) \
    WEIR__BULK_INTEGER(attributes, i8, 1, true)   \
    WEIR__BULK_INTEGER(attributes, i16, 2, true)  \
    WEIR__BULK_INTEGER(attributes, i32, 4, true)  \
    WEIR__BULK_INTEGER(attributes, i64, 8, true)

/* The functions of a way, in the order of the types. */
#define WEIR__BULK_OF_INTEGERS(verb) \
    verb##_u8, verb##_u16, verb##_u32, verb##_u64, verb##_i8, verb##_i16, verb##_i32, verb##_i64
#define WEIR__BULK_OF_ALL(verb) WEIR__BULK_OF_INTEGERS(verb), verb##_f32, verb##_f64

#endif /* WEIR_BULK_SCALAR_H */
