/* SPDX-License-Identifier: MIT */
/**
 * record_fixed: described records whose fields lie at places that the compiler knows.
 *
 *     #define ORDER_FIELDS(F, R)  \
 *         F(R, u64, id)           \
 *         F(R, f64, price)        \
 *         F(R, u32, qty)          \
 *         F(R, chars(8), symbol)  \
 *         F(R, str, note)         // of variable length: these come last
 *     WEIR_RECORD(order, ORDER_FIELDS);
 *     WEIR_RECORD_FIXED(order, ORDER_FIELDS);
 *
 *     struct order_ref ref;
 *     order_encode_fixed(&order, &buf, &message);   // {"id": 7, "price": 99.5, ... in 70 bytes
 *     if (order_open(message, &ref) == 0)           // the shape is looked at once
 *         order_set_qty(&ref, order_get_qty(&ref) - 1);   // then loads and stores
 *
 * The layout is plain MessagePack. Map head, keys and type tags of full width form a template, the
 * same bytes in each record of a kind; so the values of the fixed fields lie at constant offsets.
 * Packing copies the template and stores the values. Reading compares what has to be constant, at
 * once, and then loads the values, all of them or those that are asked for. Fields of variable
 * length follow, in their shortest form. Any other decoder reads it, NAME_decode() of record.h too.
 *
 * Fixed        bool (its value is its tag), integers (0xcc to 0xcf, 0xd0 to 0xd3), f32, f64;
 *              timestamp, as one of 96 bits; chars(N) as a str of N bytes that ends in NULs,
 *              bytes(N) as a bin, N up to 255; record(OTHER), OTHER of WEIR_RECORD_FIXED() before
 *              and without variable fields. A default value does not matter: it is written.
 * Variable     str, bin, ext, raw; what is optional, for it may be nil: absent is nil here, so that
 *              the map's head is constant; and what has the option `variable`, which record.h takes
 *              and passes by. A nested record there is in compact layout.
 * Head         a map or array of the form with 16 bits, whatever the number of fields.
 * Refused      when compiling: a fixed field after a variable one, an empty key, chars or bytes of
 *              more than 255, a nested record with variable fields, or one without a
 *              WEIR_RECORD_FIXED() ("OTHER_needs_WEIR_RECORD_FIXED").
 * Invariants   a reference is to bytes that were looked at. They stay where they are and keep their
 *              shape as long as the reference is used: only the values may be changed, by
 *              NAME_set_FIELD() or by others.
 * Errors       of packing, as record.h. NAME_open(): -EPROTO only; why, NAME_decode() says.
 * Threads      no state; as the buffer, the cursor and the bytes.
 * Cost         packing: a copy of the template and a store per field. Opening: 16 bytes of message,
 *              template and mask in 4 instructions, 32 where the program is compiled for AVX2, or
 *              the record is large and the machine has it. No allocation.
 * Source       MessagePack specification (github.com/msgpack/msgpack, spec.md).
 */
#ifndef WEIR_RECORD_FIXED_H
#define WEIR_RECORD_FIXED_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/base.h>
#include <weir/buf.h>
#include <weir/pack.h>
#include <weir/record.h>
#include <weir/unpack.h>
#include <weir/view.h>
#include <weir/wire.h>

WEIR_BEGIN_DECLS

/**
 * Define the fixed layout of a record that WEIR_RECORD() defined, or WEIR_RECORD_ARRAY(), of the
 * same fields. Once, at file scope; for the record `order` this is:
 *
 *   void order_pack_fixed(struct weir_packer *packer, const struct order *record)
 *       As order_pack(), in this layout. An invalid timestamp is -EINVAL at the record's offset.
 *   int order_unpack_fixed(struct weir_unpacker *unpacker, struct order *ret,
 *                          struct weir_record_fault *ret_fault)
 *       As order_unpack(), and what that one takes; this layout is read faster.
 *   int order_encode_fixed(const struct order *record, struct weir_buf *buf, struct weir_view *ret)
 *   int order_decode_fixed(struct weir_view input, const struct weir_limits *limits,
 *                          struct order *ret, struct weir_record_fault *ret_fault)
 *       The same of a message of its own.
 *   struct order_ref
 *       `message`, the bytes that it refers to, and private members.
 *   int order_open(struct weir_view message, struct order_ref *ret)
 *       Refer to the record that @message is, all of it. Returns 0, or -EPROTO, and *ret as it was:
 *       it is not in this layout, though order_decode() may read it. Valid as long as the bytes.
 *   int order_open_next(struct weir_unpacker *unpacker, struct order_ref *ret)
 *       The same of the record that comes next, which is passed over; or -EPROTO, and then the
 *       cursor is as it was, without an error: order_unpack() may follow. Among slices, a record
 *       that lies in two is not opened.
 *   uint64_t order_present(const struct order_ref *ref)
 *       The fields that came, as `present` of record.h.
 *   TYPE order_get_FIELD(const struct order_ref *ref)
 *       The value. Of chars and bytes a struct weir_view: chars end at the first NUL. Of a fixed
 *       record a reference, by value; of a variable one a pointer to the struct. What is absent is
 *       zero. A view lies in the message, those of variable chars and bytes in *ref.
 *   void order_set_FIELD(const struct order_ref *ref, TYPE value)
 *       Of fixed fields: write the value where it lies. The bytes were writable when they became a
 *       view, and nobody else uses them now. Of chars and bytes it takes a view, of a timestamp the
 *       struct, and returns an int: 0, or with nothing written -EOVERFLOW more than the chars,
 *       -EPROTO not as many bytes, -EINVAL a timestamp's nanoseconds. Of records there is none: set
 *       the fields of what order_get_FIELD() returns.
 *   enum: order_fixed_bytes
 *       The size of the constant part with its values: that of the message without variable fields.
 */
#define WEIR_RECORD_FIXED(NAME, FIELDS) \
    WEIR_RECORD_FIXED_DEFINE(NAME, FIELDS, WEIR_F_MEMBER_MAP, WEIR_F_TEMPLATE_MAP, 1)
#define WEIR_RECORD_FIXED_ARRAY(NAME, FIELDS) \
    WEIR_RECORD_FIXED_DEFINE(NAME, FIELDS, WEIR_F_MEMBER_ARRAY, WEIR_F_TEMPLATE_ARRAY, 0)

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: the most bytes that are compared and copied in line. */
#define WEIR_RECORD_FIXED_INLINE_BYTES 256u

/** Private: bytes that are compared at once. */
#ifdef __AVX2__
typedef uint64_t weir_record_fixed_vector __attribute__((vector_size(32)));
#else
typedef uint64_t weir_record_fixed_vector __attribute__((vector_size(16)));
#endif

/** Private: whether any of @size bytes at @at is not as @wanted where @holes has no bits. */
WEIR_API bool weir_record_fixed_differs(const uint8_t *at, const uint8_t *wanted,
                                        const uint8_t *holes, size_t size);

/** Private: pack the fields from @first on, the variable ones; what is absent as nil. */
WEIR_API void weir_record_fixed_pack_tail(struct weir_packer *packer,
                                          const struct weir_record *schema, unsigned first,
                                          const void *record);

#ifdef __clang__
#define WEIR_F_UNROLL _Pragma("clang loop unroll(full)")
#else
#define WEIR_F_UNROLL _Pragma("GCC unroll 64")
#endif

/** Private: where one vector differs. In @wanted all bits are set that @holes has. */
WEIR_INLINE weir_record_fixed_vector weir_record_fixed_differ(const uint8_t *at,
                                                              const uint8_t *wanted,
                                                              const uint8_t *holes)
{
    weir_record_fixed_vector got, want, hole;

    memcpy(&got, at, sizeof got);
    memcpy(&want, wanted, sizeof want);
    memcpy(&hole, holes, sizeof hole);
    return (got | hole) ^ want;
}

/** Private: the same of 8 bytes. */
WEIR_ALWAYS_INLINE uint64_t weir_record_fixed_differ8(const uint8_t *at, const uint8_t *wanted,
                                                      const uint8_t *holes)
{
    return (weir_unpack_word(at) | weir_unpack_word(holes)) ^ weir_unpack_word(wanted);
}

/** Private: the opposite of weir_record_fixed_differs(); @size is a constant. */
WEIR_ALWAYS_INLINE bool weir_record_fixed_equal(const uint8_t *at, const uint8_t *wanted,
                                                const uint8_t *holes, size_t size)
{
    const size_t step = sizeof(weir_record_fixed_vector);
    uint64_t differ = 0;

    if (size > WEIR_RECORD_FIXED_INLINE_BYTES)
        return !weir_record_fixed_differs(at, wanted, holes, size);
    if (size >= step) {
        const size_t last = size - step;
        weir_record_fixed_vector all =
            weir_record_fixed_differ(at + last, wanted + last, holes + last);
        WEIR_F_UNROLL
        for (size_t i = 0; i < last; i += step)
            all |= weir_record_fixed_differ(at + i, wanted + i, holes + i);
        WEIR_F_UNROLL
        for (size_t i = 0; i < step / 8; i++)
            differ |= all[i];
        return differ == 0;
    }
    if (size >= 8) {
        differ = weir_record_fixed_differ8(at + size - 8, wanted + size - 8, holes + size - 8);
        if (size > 8)
            differ |= weir_record_fixed_differ8(at, wanted, holes);
        if (size > 16)
            differ |= weir_record_fixed_differ8(at + 8, wanted + 8, holes + 8);
        if (size > 24)
            differ |= weir_record_fixed_differ8(at + 16, wanted + 16, holes + 16);
        return differ == 0;
    }
    WEIR_F_UNROLL
    for (size_t i = 0; i < size; i++)
        differ |= (unsigned)(at[i] | holes[i]) ^ wanted[i];
    return differ == 0;
}

WEIR_INLINE void weir_record_fixed_copy1(uint8_t *to, const uint8_t *from)
{
    memcpy(to, from, sizeof(weir_record_fixed_vector));
}

/** Private: copy the template; @size is a constant. Compilers call a function, or a string
 * instruction that starts slowly, for what are a few vectors. */
WEIR_ALWAYS_INLINE void weir_record_fixed_copy(uint8_t *to, const uint8_t *from, size_t size)
{
    const size_t step = sizeof(weir_record_fixed_vector);

    if (size < step || size > WEIR_RECORD_FIXED_INLINE_BYTES) {
        memcpy(to, from, size);
        return;
    }
    WEIR_F_UNROLL
    for (size_t i = 0; i < size - step; i += step)
        weir_record_fixed_copy1(to + i, from + i);
    weir_record_fixed_copy1(to + size - step, from + size - step);
}

/** Private: a bit for each of the first @count fields. */
WEIR_ALWAYS_INLINE uint64_t weir_record_fixed_bits(unsigned count)
{
    return count != 0 ? weir_record_all(count) : 0;
}

/* --- values; of numbers the size is a constant */

WEIR_ALWAYS_INLINE void weir_record_fixed_store(uint8_t *at, uint64_t value, size_t size)
{
    if (size == 8)
        weir_wire_store64(at, value);
    else if (size == 4)
        weir_wire_store32(at, (uint32_t)value);
    else if (size == 2)
        weir_wire_store16(at, (uint16_t)value);
    else
        at[0] = (uint8_t)value;
}

WEIR_ALWAYS_INLINE uint64_t weir_record_fixed_load(const uint8_t *at, size_t size)
{
    return size == 8   ? weir_wire_load64(at)
           : size == 4 ? weir_wire_load32(at)
           : size == 2 ? weir_wire_load16(at)
                       : at[0];
}

WEIR_ALWAYS_INLINE float weir_record_fixed_load_float32(const uint8_t *at)
{
    uint32_t bits = weir_wire_load32(at);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

WEIR_ALWAYS_INLINE double weir_record_fixed_load_float64(const uint8_t *at)
{
    uint64_t bits = weir_wire_load64(at);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

WEIR_ALWAYS_INLINE void weir_record_fixed_store_timestamp(uint8_t *at, struct weir_timestamp value)
{
    weir_wire_store32(at, value.nanoseconds);
    weir_wire_store64(at + 4, (uint64_t)value.seconds);
}

WEIR_ALWAYS_INLINE struct weir_timestamp weir_record_fixed_load_timestamp(const uint8_t *at)
{
    struct weir_timestamp value;
    value.seconds = (int64_t)weir_wire_load64(at + 4);
    value.nanoseconds = weir_wire_load32(at);
    return value;
}

/** Private: chars up to the first NUL, then NULs: what lies behind it in memory is nobody's. */
WEIR_ALWAYS_INLINE void weir_record_fixed_store_chars(uint8_t *at, const char *chars, size_t size)
{
    uint64_t alive = UINT64_MAX;

    for (size_t i = 0; i < size; i += 8) {
        size_t part = size - i < 8 ? size - i : 8;
        uint64_t word = 0;
        memcpy(&word, chars + i, part);
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        /* The high bit of each byte that is 0, and maybe of some behind the first of them. */
        uint64_t zero =
            (word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080);
        word &= (zero ^ (zero - 1)) & alive; /* up to the first of them, or all */
        alive = zero != 0 ? 0 : alive;
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        memcpy(at + i, &word, part);
    }
}

/** Private: the bytes of a reference, to be written; see NAME_set_FIELD(). */
WEIR_ALWAYS_INLINE uint8_t *weir_record_fixed_writable(struct weir_view message)
{
    return (uint8_t *)(uintptr_t)message.data;
}

WEIR_INLINE int weir_record_fixed_set_timestamp(uint8_t *at, struct weir_timestamp value)
{
    if (value.nanoseconds > 999999999)
        return -EINVAL;
    weir_record_fixed_store_timestamp(at, value);
    return 0;
}

WEIR_INLINE int weir_record_fixed_set_chars(uint8_t *at, struct weir_view value, size_t size)
{
    if (value.size > size)
        return -EOVERFLOW;
    memset(at, 0, size);
    if (value.size != 0)
        memcpy(at, value.data, value.size);
    return 0;
}

WEIR_INLINE int weir_record_fixed_set_bytes(uint8_t *at, struct weir_view value, size_t size)
{
    if (value.size != size)
        return -EPROTO;
    memcpy(at, value.data, size);
    return 0;
}

/* --- from a description to code; see record.h --------------------------------------------------
 *
 * A field's class is `fixed` or `tail`, by its kind and its options; macros whose names end in one
 * of these two are picked by it. The template is a struct of bytes only, so it has no padding: for
 * each fixed field its key's tag, its key, its tag, and its value. C initialises it from the keys,
 * which C++ refuses to; there it is the result of a constexpr function.
 */

/* clang-format off */
#define WEIR_F_CLASS_boolean fixed
#define WEIR_F_CLASS_uint fixed
#define WEIR_F_CLASS_sint fixed
#define WEIR_F_CLASS_float32 fixed
#define WEIR_F_CLASS_float64 fixed
#define WEIR_F_CLASS_timestamp fixed
#define WEIR_F_CLASS_chars fixed
#define WEIR_F_CLASS_bytes fixed
#define WEIR_F_CLASS_nested fixed
#define WEIR_F_CLASS_str tail
#define WEIR_F_CLASS_bin tail
#define WEIR_F_CLASS_ext tail
#define WEIR_F_CLASS_raw tail
#define WEIR_F_TAIL_optional ~, tail
#define WEIR_F_TAIL_variable ~, tail
#define WEIR_F_PASTE_OF(first, second) first##second
#define WEIR_F_PASTE(first, second) WEIR_F_PASTE_OF(first, second)
#define WEIR_F_PICK(what, kind, o1, o2) \
    WEIR_F_PASTE(what, WEIR_R_EITHER(WEIR_F_TAIL_##o1, WEIR_F_TAIL_##o2, WEIR_F_CLASS_##kind))

/* Bytes of the value, and its tag. */
#define WEIR_F_WIDTH_boolean(param, ctype) 1
#define WEIR_F_WIDTH_uint(param, ctype) sizeof(ctype)
#define WEIR_F_WIDTH_sint(param, ctype) sizeof(ctype)
#define WEIR_F_WIDTH_float32(param, ctype) 4
#define WEIR_F_WIDTH_float64(param, ctype) 8
#define WEIR_F_WIDTH_timestamp(param, ctype) 12
#define WEIR_F_WIDTH_chars(param, ctype) (param)
#define WEIR_F_WIDTH_bytes(param, ctype) (param)
#define WEIR_F_WIDTH_nested(param, ctype) ((size_t)param##_needs_WEIR_RECORD_FIXED)
#define WEIR_F_LOG2(ctype) \
    (sizeof(ctype) == 8 ? 3u : sizeof(ctype) == 4 ? 2u : sizeof(ctype) == 2 ? 1u : 0u)
#define WEIR_F_TAG1_uint(param, ctype) (WEIR_TAG_UINT8 + WEIR_F_LOG2(ctype))
#define WEIR_F_TAG1_sint(param, ctype) (WEIR_TAG_INT8 + WEIR_F_LOG2(ctype))
#define WEIR_F_TAG1_float32(param, ctype) WEIR_TAG_FLOAT32
#define WEIR_F_TAG1_float64(param, ctype) WEIR_TAG_FLOAT64
#define WEIR_F_TAG1_timestamp(param, ctype) WEIR_TAG_EXT8
#define WEIR_F_TAG1_chars(param, ctype) WEIR_TAG_STR8
#define WEIR_F_TAG1_bytes(param, ctype) WEIR_TAG_BIN8
#define WEIR_F_TAG2_timestamp(param) 12, 0xff
#define WEIR_F_TAG2_chars(param) (uint8_t)(param)
#define WEIR_F_TAG2_bytes(param) (uint8_t)(param)

/* The bytes of a tag: none, one, or more, in a member each. */
#define WEIR_F_TAGS_boolean(more, param, ctype, name)
#define WEIR_F_TAGS_nested(more, param, ctype, name)
#define WEIR_F_TAGS_uint(more, param, ctype, name) WEIR_F_##more##1(uint, param, ctype, name)
#define WEIR_F_TAGS_sint(more, param, ctype, name) WEIR_F_##more##1(sint, param, ctype, name)
#define WEIR_F_TAGS_float32(more, param, ctype, name) WEIR_F_##more##1(float32, param, ctype, name)
#define WEIR_F_TAGS_float64(more, param, ctype, name) WEIR_F_##more##1(float64, param, ctype, name)
#define WEIR_F_TAGS_timestamp(more, param, ctype, name)                            \
    WEIR_F_##more##1(timestamp, param, ctype, name) WEIR_F_##more##2(timestamp, 2, param, name)
#define WEIR_F_TAGS_chars(more, param, ctype, name)                            \
    WEIR_F_##more##1(chars, param, ctype, name) WEIR_F_##more##2(chars, 1, param, name)
#define WEIR_F_TAGS_bytes(more, param, ctype, name)                            \
    WEIR_F_##more##1(bytes, param, ctype, name) WEIR_F_##more##2(bytes, 1, param, name)

/* The struct of a template. */
#define WEIR_F_MEMBER_MAP(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_MEMBER_OF, key, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_MEMBER_ARRAY(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_MEMBER_OF, keyless, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_MEMBER_OF(keys, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_MEMBER_, kind, o1, o2)(keys, kind, param, ctype, name, o1, o2)
#define WEIR_F_MEMBER_tail(keys, kind, param, ctype, name, o1, o2)
#define WEIR_F_MEMBER_fixed(keys, kind, param, ctype, name, o1, o2)                     \
    WEIR_F_MEMBER_##keys(name, o1, o2) WEIR_F_TAGS_##kind(MEMBER, param, ctype, name)   \
    uint8_t name[WEIR_F_WIDTH_##kind(param, ctype)];
#define WEIR_F_MEMBER_keyless(name, o1, o2)
#define WEIR_F_MEMBER_key(name, o1, o2) \
    uint8_t weir_head_of_##name;        \
    char weir_key_of_##name[WEIR_R_KEY_SIZE(name, o1, o2)];
#define WEIR_F_MEMBER1(kind, param, ctype, name) uint8_t weir_tag_of_##name;
#define WEIR_F_MEMBER2(kind, count, param, name) uint8_t weir_tags_of_##name[count];

/* The template, and what of it are values: their bits are set in both, of a bool the one that it
 * may have. */
#define WEIR_F_TEMPLATE_MAP(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_TEMPLATE_OF, key, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_TEMPLATE_ARRAY(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_TEMPLATE_OF, keyless, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_TEMPLATE_OF(keys, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, \
                           ...)                                                                 \
    WEIR_F_PICK(WEIR_F_TEMPLATE_, kind, o1, o2)(keys, kind, param, ctype, name, o1, o2)
#define WEIR_F_TEMPLATE_tail(keys, kind, param, ctype, name, o1, o2)
#define WEIR_F_TEMPLATE_fixed(keys, kind, param, ctype, name, o1, o2)                      \
    WEIR_F_TEMPLATE_##keys(name, o1, o2) WEIR_F_TAGS_##kind(TEMPLATE, param, ctype, name)  \
    WEIR_F_FILL(WEIR_F_SETS_##kind(WEIR_TAG_TRUE), name, WEIR_F_WIDTH_##kind(param, ctype))
#define WEIR_F_TEMPLATE_keyless(name, o1, o2)
#define WEIR_F_HOLES(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_HOLES_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_HOLES_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_HOLES_, kind, o1, o2)(kind, param, ctype, name)
#define WEIR_F_HOLES_tail(kind, param, ctype, name)
#define WEIR_F_HOLES_fixed(kind, param, ctype, name) \
    WEIR_F_FILL(WEIR_F_SETS_##kind(1), name, WEIR_F_WIDTH_##kind(param, ctype))
#define WEIR_F_SETS_boolean(bits) bits
#define WEIR_F_SETS_uint(bits) 0xff
#define WEIR_F_SETS_sint(bits) 0xff
#define WEIR_F_SETS_float32(bits) 0xff
#define WEIR_F_SETS_float64(bits) 0xff
#define WEIR_F_SETS_timestamp(bits) 0xff
#define WEIR_F_SETS_chars(bits) 0xff
#define WEIR_F_SETS_bytes(bits) 0xff
#define WEIR_F_SETS_nested(bits) 0xff

#define WEIR_F_ALIGNED __attribute__((aligned(32)))
#ifdef __cplusplus
#define WEIR_F_HEAD(tag, count)          \
    bytes.weir_head[0] = (uint8_t)(tag); \
    bytes.weir_head[2] = (uint8_t)(count);
#define WEIR_F_FILL(bits, name, width) weir_record_fixed_fill(bytes.name, bits, width);
#define WEIR_F_TEMPLATE_key(name, o1, o2)                                                     \
    bytes.weir_head_of_##name = (uint8_t)(WEIR_TAG_FIXSTR | WEIR_R_KEY_SIZE(name, o1, o2));   \
    for (size_t i = 0; i < WEIR_R_KEY_SIZE(name, o1, o2); i++)                                \
        bytes.weir_key_of_##name[i] = (WEIR_R_KEY(name, o1, o2))[i];
#define WEIR_F_TEMPLATE1(kind, param, ctype, name) \
    bytes.weir_tag_of_##name = (uint8_t)WEIR_F_TAG1_##kind(param, ctype);
#define WEIR_F_TEMPLATE2(kind, count, param, name)             \
    for (size_t i = 0; i < count; i++) {                       \
        const uint8_t tags[count] = {WEIR_F_TAG2_##kind(param)}; \
        bytes.weir_tags_of_##name[i] = tags[i];                \
    }
#define WEIR_F_CONSTANT(R, what, ...)                                        \
    WEIR_R_UNUSED static constexpr struct R##_weir_fixed R##_weir_make_##what() \
    {                                                                        \
        struct R##_weir_fixed bytes = {};                                    \
        __VA_ARGS__                                                          \
        return bytes;                                                        \
    }                                                                        \
    WEIR_R_UNUSED WEIR_F_ALIGNED static constexpr struct R##_weir_fixed         \
        R##_weir_##what = R##_weir_make_##what();

constexpr void weir_record_fixed_fill(uint8_t *to, unsigned bits, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)bits;
}
#else
#define WEIR_F_HEAD(tag, count) .weir_head = {tag, 0, count},
#define WEIR_F_FILL(bits, name, width) .name = {[0 ... (width) - 1] = bits},
#define WEIR_F_TEMPLATE_key(name, o1, o2)                                       \
    .weir_head_of_##name = WEIR_TAG_FIXSTR | WEIR_R_KEY_SIZE(name, o1, o2),     \
    .weir_key_of_##name = WEIR_R_KEY(name, o1, o2),
#define WEIR_F_TEMPLATE1(kind, param, ctype, name) \
    .weir_tag_of_##name = WEIR_F_TAG1_##kind(param, ctype),
#define WEIR_F_TEMPLATE2(kind, count, param, name) \
    .weir_tags_of_##name = {WEIR_F_TAG2_##kind(param)},
#define WEIR_F_CONSTANT(R, what, ...) \
    __extension__ WEIR_R_UNUSED WEIR_F_ALIGNED static const struct R##_weir_fixed \
        R##_weir_##what = {__VA_ARGS__};
#endif

/* How many variable fields there are before a field, and up to its end. */
#define WEIR_F_COUNT(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_COUNT_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_COUNT_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_COUNT_, kind, o1, o2)(R, name)
#define WEIR_F_COUNT_tail(R, name) \
    R##_weir_tails_before_##name, R##_weir_tails_to_##name = R##_weir_tails_before_##name,
#define WEIR_F_COUNT_fixed(R, name) \
    R##_weir_tails_before_##name, R##_weir_tails_to_##name = R##_weir_tails_before_##name - 1,

/* What is refused. */
#define WEIR_F_ASSERT_MAP(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_ASSERT_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_ASSERT_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    static_assert(!R##_weir_is_map || WEIR_R_KEY_SIZE(name, o1, o2) != 0, \
                  "the key of field " #name " is empty, which the fixed layout does not take"); \
    WEIR_F_PICK(WEIR_F_ASSERT_, kind, o1, o2)(R, kind, param, ctype, name)
#define WEIR_F_ASSERT_tail(R, kind, param, ctype, name)
#define WEIR_F_ASSERT_fixed(R, kind, param, ctype, name)                                       \
    static_assert((int)R##_weir_tails_before_##name == 0,                                      \
                  "field " #name " of record " #R " is of fixed width: it must come before those " \
                  "of variable length (or have the option `variable`)");                       \
    WEIR_F_ASSERT_##kind(param, name)
#define WEIR_F_ASSERT_boolean(param, name)
#define WEIR_F_ASSERT_uint(param, name)
#define WEIR_F_ASSERT_sint(param, name)
#define WEIR_F_ASSERT_float32(param, name)
#define WEIR_F_ASSERT_float64(param, name)
#define WEIR_F_ASSERT_timestamp(param, name)
#define WEIR_F_ASSERT_chars(param, name)                                                      \
    static_assert((param) <= 255, "field " #name " has more than 255 bytes, which the fixed " \
                                  "layout takes with the option `variable` only");
#define WEIR_F_ASSERT_bytes WEIR_F_ASSERT_chars
#define WEIR_F_ASSERT_nested(param, name)                                                     \
    static_assert((int)param##_weir_tails == 0,                                               \
                  "field " #name ", a record with variable fields, needs the option `variable`");

/* The most bytes of variable fields, and what depends on the values. */
#define WEIR_F_MAX(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_MAX_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_MAX_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_MAX_, kind, o1, o2)(R, max, name, o1, o2)
#define WEIR_F_MAX_fixed(R, max, name, o1, o2)
#define WEIR_F_MAX_tail(R, max, name, o1, o2) \
    +(int)WEIR_R_KEY_TOTAL(R, name, o1, o2) + (int)(max)
#define WEIR_F_BYTES(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_BYTES_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_BYTES_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_BYTES_, kind, o1, o2)(kind, param, name)
#define WEIR_F_BYTES_tail(kind, param, name) WEIR_R_BYTES_##kind(param, name)
#define WEIR_F_BYTES_fixed(kind, param, name) WEIR_F_BYTES_fixed_##kind(param, name)
#define WEIR_F_BYTES_fixed_boolean(param, name)
#define WEIR_F_BYTES_fixed_uint(param, name)
#define WEIR_F_BYTES_fixed_sint(param, name)
#define WEIR_F_BYTES_fixed_float32(param, name)
#define WEIR_F_BYTES_fixed_float64(param, name)
#define WEIR_F_BYTES_fixed_chars(param, name)
#define WEIR_F_BYTES_fixed_bytes(param, name)
#define WEIR_F_BYTES_fixed_timestamp WEIR_R_BYTES_timestamp
#define WEIR_F_BYTES_fixed_nested(param, name) +param##_weir_fixed_bytes_of(&record->name)

/* The elements that a fixed record in it has. */
#define WEIR_F_ELEMENTS(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_ELEMENTS_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_ELEMENTS_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_ELEMENTS_, kind, o1, o2)(kind, param)
#define WEIR_F_ELEMENTS_tail(kind, param)
#define WEIR_F_ELEMENTS_fixed(kind, param) WEIR_F_ELEMENTS_##kind(param)
#define WEIR_F_ELEMENTS_boolean(param)
#define WEIR_F_ELEMENTS_uint(param)
#define WEIR_F_ELEMENTS_sint(param)
#define WEIR_F_ELEMENTS_float32(param)
#define WEIR_F_ELEMENTS_float64(param)
#define WEIR_F_ELEMENTS_timestamp(param)
#define WEIR_F_ELEMENTS_chars(param)
#define WEIR_F_ELEMENTS_bytes(param)
#define WEIR_F_ELEMENTS_nested(param) +(int)param##_weir_fixed_elements

/* Where a value is. */
#define WEIR_F_AT(R, name) (at + offsetof(struct R##_weir_fixed, name))

/* Packing. */
#define WEIR_F_STORE(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_STORE_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_STORE_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_STORE_, kind, o1, o2)(R, kind, param, ctype, name)
#define WEIR_F_STORE_tail(R, kind, param, ctype, name)
#define WEIR_F_STORE_fixed(R, kind, param, ctype, name) \
    WEIR_F_STORE_##kind(WEIR_F_AT(R, name), param, ctype, record->name);
#define WEIR_F_STORE_boolean(to, param, ctype, value) to[0] = (uint8_t)(WEIR_TAG_FALSE | (value))
#define WEIR_F_STORE_uint(to, param, ctype, value) \
    weir_record_fixed_store(to, value, sizeof(ctype))
#define WEIR_F_STORE_sint(to, param, ctype, value) \
    weir_record_fixed_store(to, (uint64_t)(value), sizeof(ctype))
#define WEIR_F_STORE_float32(to, param, ctype, value) weir_record_put_float32(to, value)
#define WEIR_F_STORE_float64(to, param, ctype, value) weir_record_put_float64(to, value)
#define WEIR_F_STORE_timestamp(to, param, ctype, value) weir_record_fixed_store_timestamp(to, value)
#define WEIR_F_STORE_chars(to, param, ctype, value) weir_record_fixed_store_chars(to, value, param)
#define WEIR_F_STORE_bytes(to, param, ctype, value) memcpy(to, value, param)
#define WEIR_F_STORE_nested(to, param, ctype, value) param##_weir_fixed_store(to, &value)

#define WEIR_F_PUT(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_PUT_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_PUT_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_PUT_, kind, o1, o2)(R, kind, param, name, o1, o2)
#define WEIR_F_PUT_fixed(R, kind, param, name, o1, o2)
#define WEIR_F_PUT_tail(R, kind, param, name, o1, o2)                                      \
    if (WEIR_R_PRESENCE(o1, o2) != WEIR_RECORD_OPTIONAL ||                                 \
        (record->present & WEIR_RECORD_BIT(R##_field_##name)) != 0) {                      \
        at = weir_record_put_key(at, WEIR_R_WIRE_KEY(R, name, o1, o2),                     \
                                 WEIR_R_KEY_SIZE(name, o1, o2), WEIR_R_TAG_##kind);        \
        at = WEIR_R_PUT_##kind(param, name);                                               \
    } else {                                                                               \
        at = weir_record_put_key(at, WEIR_R_WIRE_KEY(R, name, o1, o2),                     \
                                 WEIR_R_KEY_SIZE(name, o1, o2), WEIR_TAG_NIL) + 1;         \
    }

/* Opening: what the constant bytes do not tell of fixed fields, and the variable fields. */
#define WEIR_F_FITS(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_FITS_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_FITS_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_FITS_, kind, o1, o2)(R, kind, param, name)
#define WEIR_F_FITS_tail(R, kind, param, name)
#define WEIR_F_FITS_fixed(R, kind, param, name) WEIR_F_FITS_##kind(R, param, name)
#define WEIR_F_FITS_boolean(R, param, name)
#define WEIR_F_FITS_uint(R, param, name)
#define WEIR_F_FITS_sint(R, param, name)
#define WEIR_F_FITS_float32(R, param, name)
#define WEIR_F_FITS_float64(R, param, name)
#define WEIR_F_FITS_chars(R, param, name)
#define WEIR_F_FITS_bytes(R, param, name)
#define WEIR_F_FITS_timestamp(R, param, name) &&weir_wire_load32(WEIR_F_AT(R, name)) <= 999999999
#define WEIR_F_FITS_nested(R, param, name) &&param##_weir_fixed_fits(WEIR_F_AT(R, name))

#define WEIR_F_TAIL(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_TAIL_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_TAIL_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_TAIL_, kind, o1, o2)(ctype, kind, param, name)
#define WEIR_F_TAIL_fixed(ctype, kind, param, name)
#define WEIR_F_TAIL_tail(ctype, kind, param, name) WEIR_R_MEMBER_##kind(ctype, param, name);

#define WEIR_F_READ(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_READ_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_READ_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_READ_, kind, o1, o2)(R, kind, param, ctype, name, o1, o2)
#define WEIR_F_READ_fixed(R, kind, param, ctype, name, o1, o2)
#define WEIR_F_READ_tail(R, kind, param, ctype, name, o1, o2)                                     \
    if (WEIR_LIKELY(ok)) {                                                                        \
        const size_t key_bytes = WEIR_R_KEY_TOTAL(R, name, o1, o2);                               \
        const bool is_required = WEIR_R_PRESENCE(o1, o2) == WEIR_RECORD_REQUIRED;                 \
        const enum weir_record_room room = R##_fixed_bytes + key_bytes >= 6                       \
                                               ? WEIR_RECORD_ROOM_BEHIND                          \
                                               : WEIR_RECORD_ROOM_NONE;                           \
        (void)room;                                                                               \
        (void)is_required;                                                                        \
        if (WEIR_R_PRESENCE(o1, o2) == WEIR_RECORD_OPTIONAL &&                                    \
            weir_record_left(at, end) > key_bytes && at[key_bytes] == WEIR_TAG_NIL) {             \
            ok = weir_record_equal(at, WEIR_R_WIRE_KEY(R, name, o1, o2),                          \
                                   WEIR_R_KEY_SIZE(name, o1, o2), WEIR_TAG_NIL);                  \
            at += key_bytes + 1;                                                                  \
            memset(&ret->name, 0, sizeof ret->name);                                              \
            WEIR_R_INIT_##kind(ctype, param, name, WEIR_R_PRESENCE(o1, o2), o1, o2)               \
        } else {                                                                                  \
            ok = weir_record_left(at, end) >= key_bytes + WEIR_R_AHEAD_##kind(room) &&            \
                 weir_record_equal(at, WEIR_R_WIRE_KEY(R, name, o1, o2),                          \
                                   WEIR_R_KEY_SIZE(name, o1, o2), WEIR_R_TAG_##kind);             \
            if (WEIR_LIKELY(ok)) {                                                                \
                at += key_bytes;                                                                  \
                seen |= WEIR_RECORD_BIT(R##_field_##name);                                        \
                WEIR_R_READ_##kind(ctype, param, name)                                            \
            }                                                                                     \
        }                                                                                         \
    }

/* From what was opened to the struct. */
#define WEIR_F_LOAD(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_LOAD_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_LOAD_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_LOAD_, kind, o1, o2)(R, kind, param, ctype, name)
#define WEIR_F_LOAD_tail(R, kind, param, ctype, name)
#define WEIR_F_LOAD_fixed(R, kind, param, ctype, name) WEIR_F_LOAD_##kind(R, param, ctype, name)
#define WEIR_F_LOAD_value(R, kind, param, ctype, name) \
    ret->name = WEIR_F_VALUE_##kind(WEIR_F_AT(R, name), ctype);
#define WEIR_F_LOAD_boolean(R, param, ctype, name) WEIR_F_LOAD_value(R, boolean, param, ctype, name)
#define WEIR_F_LOAD_uint(R, param, ctype, name) WEIR_F_LOAD_value(R, uint, param, ctype, name)
#define WEIR_F_LOAD_sint(R, param, ctype, name) WEIR_F_LOAD_value(R, sint, param, ctype, name)
#define WEIR_F_LOAD_float32(R, param, ctype, name) WEIR_F_LOAD_value(R, float32, param, ctype, name)
#define WEIR_F_LOAD_float64(R, param, ctype, name) WEIR_F_LOAD_value(R, float64, param, ctype, name)
#define WEIR_F_LOAD_timestamp(R, param, ctype, name) \
    WEIR_F_LOAD_value(R, timestamp, param, ctype, name)
#define WEIR_F_LOAD_chars(R, param, ctype, name) memcpy(ret->name, WEIR_F_AT(R, name), param);
#define WEIR_F_LOAD_bytes WEIR_F_LOAD_chars
#define WEIR_F_LOAD_nested(R, param, ctype, name) \
    param##_weir_fixed_load(WEIR_F_AT(R, name), &ret->name);
#define WEIR_F_VALUE_boolean(from, ctype) (from[0] & 1u) != 0
#define WEIR_F_VALUE_uint(from, ctype) (ctype)weir_record_fixed_load(from, sizeof(ctype))
#define WEIR_F_VALUE_sint(from, ctype) (ctype)weir_record_fixed_load(from, sizeof(ctype))
#define WEIR_F_VALUE_float32(from, ctype) weir_record_fixed_load_float32(from)
#define WEIR_F_VALUE_float64(from, ctype) weir_record_fixed_load_float64(from)
#define WEIR_F_VALUE_timestamp(from, ctype) weir_record_fixed_load_timestamp(from)

#define WEIR_F_MOVE(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_MOVE_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_MOVE_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_MOVE_, kind, o1, o2)(name)
#define WEIR_F_MOVE_fixed(name)
#define WEIR_F_MOVE_tail(name) memcpy(&ret->name, &tail->name, sizeof ret->name);

/* The fields in their place. */
#define WEIR_F_ACCESS(R, type, ...) \
    WEIR_R_APPLY(WEIR_F_ACCESS_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_F_ACCESS_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_F_PICK(WEIR_F_ACCESS_, kind, o1, o2)(R, kind, param, ctype, name)
#define WEIR_F_ACCESS_fixed(R, kind, param, ctype, name) \
    WEIR_F_ACCESS_##kind(R, kind, param, ctype, name)
#define WEIR_F_ACCESS_tail(R, kind, param, ctype, name)                                         \
    WEIR_R_UNUSED WEIR_INLINE WEIR_F_HELD_TYPE_##kind(ctype)                                    \
        R##_get_##name(const struct R##_ref *ref)                                               \
    {                                                                                           \
        return WEIR_F_HELD_##kind(ref->weir_tail.name, param);                                  \
    }
#define WEIR_F_GET(R, type, name, value)                                           \
    WEIR_R_UNUSED WEIR_INLINE type R##_get_##name(const struct R##_ref *ref)       \
    {                                                                              \
        const uint8_t *at = ref->message.data;                                     \
        return value;                                                              \
    }
#define WEIR_F_SET(R, result, type, name, action)                                              \
    WEIR_R_UNUSED WEIR_INLINE result R##_set_##name(const struct R##_ref *ref, type value)     \
    {                                                                                          \
        uint8_t *at = weir_record_fixed_writable(ref->message);                                \
        action;                                                                                \
    }
#define WEIR_F_ACCESS_number(R, kind, param, ctype, name)                                \
    WEIR_F_GET(R, ctype, name, WEIR_F_VALUE_##kind(WEIR_F_AT(R, name), ctype))           \
    WEIR_F_SET(R, void, ctype, name,                                                     \
               WEIR_F_STORE_##kind(WEIR_F_AT(R, name), param, ctype, value))
#define WEIR_F_ACCESS_boolean WEIR_F_ACCESS_number
#define WEIR_F_ACCESS_uint WEIR_F_ACCESS_number
#define WEIR_F_ACCESS_sint WEIR_F_ACCESS_number
#define WEIR_F_ACCESS_float32 WEIR_F_ACCESS_number
#define WEIR_F_ACCESS_float64 WEIR_F_ACCESS_number
#define WEIR_F_ACCESS_timestamp(R, kind, param, ctype, name)                             \
    WEIR_F_GET(R, ctype, name, WEIR_F_VALUE_timestamp(WEIR_F_AT(R, name), ctype))        \
    WEIR_F_SET(R, int, ctype, name,                                                      \
               return weir_record_fixed_set_timestamp(WEIR_F_AT(R, name), value))
#define WEIR_F_ACCESS_chars(R, kind, param, ctype, name)                                 \
    WEIR_F_GET(R, struct weir_view, name,                                                \
               weir_record_chars((const char *)WEIR_F_AT(R, name), param))               \
    WEIR_F_SET(R, int, struct weir_view, name,                                           \
               return weir_record_fixed_set_chars(WEIR_F_AT(R, name), value, param))
#define WEIR_F_ACCESS_bytes(R, kind, param, ctype, name)                                 \
    WEIR_F_GET(R, struct weir_view, name, weir_view_of(WEIR_F_AT(R, name), param))       \
    WEIR_F_SET(R, int, struct weir_view, name,                                           \
               return weir_record_fixed_set_bytes(WEIR_F_AT(R, name), value, param))
#define WEIR_F_ACCESS_nested(R, kind, param, ctype, name) \
    WEIR_F_GET(R, struct param##_ref, name, param##_weir_fixed_ref(WEIR_F_AT(R, name)))
#define WEIR_F_HELD_TYPE_boolean(ctype) ctype
#define WEIR_F_HELD_TYPE_uint(ctype) ctype
#define WEIR_F_HELD_TYPE_sint(ctype) ctype
#define WEIR_F_HELD_TYPE_float32(ctype) ctype
#define WEIR_F_HELD_TYPE_float64(ctype) ctype
#define WEIR_F_HELD_TYPE_timestamp(ctype) ctype
#define WEIR_F_HELD_TYPE_str(ctype) ctype
#define WEIR_F_HELD_TYPE_bin(ctype) ctype
#define WEIR_F_HELD_TYPE_ext(ctype) ctype
#define WEIR_F_HELD_TYPE_raw(ctype) ctype
#define WEIR_F_HELD_TYPE_chars(ctype) struct weir_view
#define WEIR_F_HELD_TYPE_bytes(ctype) struct weir_view
#define WEIR_F_HELD_TYPE_nested(ctype) const ctype *
#define WEIR_F_HELD_boolean(value, param) value
#define WEIR_F_HELD_uint(value, param) value
#define WEIR_F_HELD_sint(value, param) value
#define WEIR_F_HELD_float32(value, param) value
#define WEIR_F_HELD_float64(value, param) value
#define WEIR_F_HELD_timestamp(value, param) value
#define WEIR_F_HELD_str(value, param) value
#define WEIR_F_HELD_bin(value, param) value
#define WEIR_F_HELD_ext(value, param) value
#define WEIR_F_HELD_raw(value, param) value
#define WEIR_F_HELD_chars(value, param) weir_record_chars(value, param)
#define WEIR_F_HELD_bytes(value, param) weir_view_of(value, param)
#define WEIR_F_HELD_nested(value, param) &value

#define WEIR_RECORD_FIXED_DEFINE(R, FIELDS, MEMBER, TEMPLATE, IS_MAP)                              \
    static_assert((int)R##_weir_is_map == IS_MAP,                                                  \
                  "record " #R " is a map in one of its layouts only");                            \
    struct R##_weir_fixed {                                                                        \
        uint8_t weir_head[3];                                                                      \
        FIELDS(MEMBER, R)                                                                          \
    };                                                                                             \
    enum R##_weir_fixed_order { FIELDS(WEIR_F_COUNT, R) R##_weir_tails };                          \
    enum R##_weir_fixed_sizes {                                                                    \
        R##_fixed_bytes = sizeof(struct R##_weir_fixed),                                           \
        R##_needs_WEIR_RECORD_FIXED = R##_fixed_bytes,                                             \
        R##_weir_fixed_fields = (int)R##_field_count - (int)R##_weir_tails,                        \
        R##_weir_fixed_max = R##_fixed_bytes FIELDS(WEIR_F_MAX, R),                                \
        R##_weir_fixed_elements =                                                                  \
            (int)R##_field_count * (IS_MAP ? 2 : 1) FIELDS(WEIR_F_ELEMENTS, R)                     \
    };                                                                                             \
    FIELDS(WEIR_F_ASSERT_MAP, R)                                                                   \
    WEIR_F_CONSTANT(R, template,                                                                   \
                    WEIR_F_HEAD(IS_MAP ? WEIR_TAG_MAP16 : WEIR_TAG_ARRAY16, R##_field_count)       \
                    FIELDS(TEMPLATE, R))                                                           \
    WEIR_F_CONSTANT(R, holes, WEIR_F_HEAD(0, 0) FIELDS(WEIR_F_HOLES, R))                           \
    struct R##_weir_tail {                                                                         \
        uint64_t present;                                                                          \
        FIELDS(WEIR_F_TAIL, R)                                                                     \
    };                                                                                             \
    struct R##_ref {                                                                               \
        struct weir_view message;                                                                  \
        struct R##_weir_tail weir_tail;                                                            \
    };                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE uint64_t R##_weir_fixed_bytes_of(const struct R *record)             \
    {                                                                                              \
        (void)record;                                                                              \
        return (uint64_t)R##_weir_fixed_max FIELDS(WEIR_F_BYTES, R);                               \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_ALWAYS_INLINE bool R##_weir_fixed_fits(const uint8_t *at)                   \
    {                                                                                              \
        return weir_record_fixed_equal(at, (const uint8_t *)&R##_weir_template,                    \
                                       (const uint8_t *)&R##_weir_holes, R##_fixed_bytes)          \
            FIELDS(WEIR_F_FITS, R);                                                                \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_ALWAYS_INLINE void R##_weir_fixed_store(uint8_t *at, const struct R *record)\
    {                                                                                              \
        (void)record;                                                                              \
        weir_record_fixed_copy(at, (const uint8_t *)&R##_weir_template, R##_fixed_bytes);          \
        FIELDS(WEIR_F_STORE, R)                                                                    \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_ALWAYS_INLINE uint8_t *R##_weir_fixed_put(struct weir_buf *buf,             \
                                                                 uint8_t *at,                      \
                                                          const struct R *record)                  \
    {                                                                                              \
        (void)buf;                                                                                 \
        R##_weir_fixed_store(at, record);                                                          \
        at += R##_fixed_bytes;                                                                     \
        FIELDS(WEIR_F_PUT, R)                                                                      \
        return at;                                                                                 \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_ALWAYS_INLINE void R##_weir_fixed_load(const uint8_t *at, struct R *ret)    \
    {                                                                                              \
        ret->present = weir_record_fixed_bits(R##_weir_fixed_fields);                              \
        (void)at;                                                                                  \
        FIELDS(WEIR_F_LOAD, R)                                                                     \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_ALWAYS_INLINE struct R##_ref R##_weir_fixed_ref(const uint8_t *at)          \
    {                                                                                              \
        struct R##_ref ref;                                                                        \
        memset(&ref, 0, sizeof ref);                                                               \
        ref.message = weir_view_of(at, R##_fixed_bytes);                                           \
        ref.weir_tail.present = weir_record_all(R##_field_count);                                  \
        return ref;                                                                                \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_ALWAYS_INLINE const uint8_t *R##_weir_fixed_open(                           \
        const uint8_t *at, const uint8_t *end, struct R##_weir_tail *ret, uint64_t *elements)      \
    {                                                                                              \
        uint64_t seen = weir_record_fixed_bits(R##_weir_fixed_fields);                             \
        bool ok = true;                                                                            \
        if (WEIR_UNLIKELY(weir_record_left(at, end) < R##_fixed_bytes || !R##_weir_fixed_fits(at)))\
            return NULL;                                                                           \
        at += R##_fixed_bytes;                                                                     \
        FIELDS(WEIR_F_READ, R)                                                                     \
        *elements += R##_weir_fixed_elements;                                                      \
        ret->present = seen;                                                                       \
        return ok ? at : NULL;                                                                     \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_ALWAYS_INLINE void R##_weir_fixed_take(                                     \
        const uint8_t *at, const struct R##_weir_tail *tail, struct R *ret)                        \
    {                                                                                              \
        R##_weir_fixed_load(at, ret);                                                              \
        ret->present = tail->present;                                                              \
        FIELDS(WEIR_F_MOVE, R)                                                                     \
    }                                                                                              \
    WEIR_R_UNUSED static __attribute__((noinline, cold)) void R##_weir_fixed_pack_slow(            \
        struct weir_packer *packer, const struct R *record)                                        \
    {                                                                                              \
        uint8_t *at = weir_pack_room(packer, R##_fixed_bytes);                                     \
        if (at != NULL) {                                                                          \
            R##_weir_fixed_store(at, record);                                                      \
            if (R##_weir_fixed_fits(at))                                                           \
                packer->pos += R##_fixed_bytes;                                                    \
            else                                                                                   \
                weir_pack_fail(packer, -EINVAL);                                                   \
        }                                                                                          \
        weir_record_fixed_pack_tail(packer, &R##_schema, R##_weir_fixed_fields, record);           \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_INLINE void R##_pack_fixed(struct weir_packer *packer,                      \
                                                  const struct R *record)                          \
    {                                                                                              \
        if (WEIR_LIKELY(R##_weir_fixed_bytes_of(record) + 8 <= weir_pack_room_bytes(packer))) {    \
            packer->pos = R##_weir_fixed_put(packer->buf, packer->pos, record);                    \
            packer->values++;                                                                      \
        } else {                                                                                   \
            struct weir_packer copy = *packer;                                                     \
            R##_weir_fixed_pack_slow(&copy, record);                                               \
            *packer = copy;                                                                        \
        }                                                                                          \
    }                                                                                              \
    WEIR_R_UNUSED static __attribute__((noinline, cold)) int R##_weir_encode_fixed_slow(           \
        const struct R *record, struct weir_buf *buf, struct weir_view *ret)                       \
    {                                                                                              \
        struct weir_packer packer;                                                                 \
        weir_pack_begin(&packer, buf, 0);                                                          \
        R##_weir_fixed_pack_slow(&packer, record);                                                 \
        return weir_pack_end(&packer, ret);                                                        \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_INLINE int R##_encode_fixed(const struct R *record, struct weir_buf *buf,   \
                                                   struct weir_view *ret)                          \
    {                                                                                              \
        uint8_t *at = buf->pos;                                                                    \
        if (WEIR_UNLIKELY(!weir_record_may_write(buf, R##_weir_fixed_bytes_of(record) + 8)))       \
            return R##_weir_encode_fixed_slow(record, buf, ret);                                   \
        buf->pos = R##_weir_fixed_put(buf, at, record);                                            \
        if (ret != NULL)                                                                           \
            *ret = weir_view_of(at, (size_t)(buf->pos - at));                                      \
        return 0;                                                                                  \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_INLINE int R##_open(struct weir_view message, struct R##_ref *ret)          \
    {                                                                                              \
        struct R##_weir_tail tail;                                                                 \
        uint64_t elements = 1;                                                                     \
        const uint8_t *end = message.size != 0 ? message.data + message.size : message.data;       \
        const uint8_t *at = R##_weir_fixed_open(message.data, end, &tail, &elements);              \
        if (WEIR_UNLIKELY(at == NULL || at != end))                                                \
            return -EPROTO;                                                                        \
        ret->message = message;                                                                    \
        ret->weir_tail = tail;                                                                     \
        return 0;                                                                                  \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_INLINE int R##_open_next(struct weir_unpacker *unpacker,                    \
                                                struct R##_ref *ret)                               \
    {                                                                                              \
        struct R##_weir_tail tail;                                                                 \
        uint64_t elements = 1;                                                                     \
        const uint8_t *from = unpacker->pos;                                                       \
        const uint8_t *at = R##_weir_fixed_open(from, unpacker->end, &tail, &elements);            \
        if (WEIR_UNLIKELY(at == NULL || elements > unpacker->elements_left))                       \
            return -EPROTO;                                                                        \
        ret->message = weir_view_of(from, (size_t)(at - from));                                    \
        ret->weir_tail = tail;                                                                     \
        unpacker->pos = at;                                                                        \
        unpacker->elements_left -= elements;                                                       \
        return 0;                                                                                  \
    }                                                                                              \
    WEIR_R_UNUSED static __attribute__((noinline, cold)) int R##_weir_fixed_unpack_slow(           \
        struct weir_unpacker *unpacker, struct R *ret, struct weir_record_fault *ret_fault)        \
    {                                                                                              \
        return R##_unpack(unpacker, ret, ret_fault);                                               \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_INLINE int R##_unpack_fixed(struct weir_unpacker *unpacker, struct R *ret,  \
                                                   struct weir_record_fault *ret_fault)            \
    {                                                                                              \
        struct R##_weir_tail tail;                                                                 \
        uint64_t elements = 1;                                                                     \
        const uint8_t *at = R##_weir_fixed_open(unpacker->pos, unpacker->end, &tail, &elements);   \
        if (WEIR_LIKELY(at != NULL && elements <= unpacker->elements_left)) {                      \
            R##_weir_fixed_take(unpacker->pos, &tail, ret);                                        \
            unpacker->pos = at;                                                                    \
            unpacker->elements_left -= elements;                                                   \
            return 0;                                                                              \
        }                                                                                          \
        struct weir_unpacker copy = *unpacker;                                                     \
        int rc = R##_weir_fixed_unpack_slow(&copy, ret, ret_fault);                                \
        *unpacker = copy;                                                                          \
        return rc;                                                                                 \
    }                                                                                              \
    WEIR_R_UNUSED static __attribute__((noinline, cold)) int R##_weir_fixed_decode_slow(           \
        struct weir_view input, const struct weir_limits *limits, struct R *ret,                   \
        struct weir_record_fault *ret_fault)                                                       \
    {                                                                                              \
        return R##_decode(input, limits, ret, ret_fault);                                          \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_INLINE int R##_decode_fixed(struct weir_view input,                         \
                                                   const struct weir_limits *limits, struct R *ret,\
                                                   struct weir_record_fault *ret_fault)            \
    {                                                                                              \
        struct R##_weir_tail tail;                                                                 \
        uint64_t elements = 1;                                                                     \
        const uint8_t *end = input.size != 0 ? input.data + input.size : input.data;               \
        const uint8_t *at = R##_weir_fixed_open(input.data, end, &tail, &elements);                \
        if (WEIR_LIKELY(at != NULL && at == end &&                                                 \
                        weir_record_may_read(limits, input.size, elements))) {                     \
            R##_weir_fixed_take(input.data, &tail, ret);                                           \
            return 0;                                                                              \
        }                                                                                          \
        return R##_weir_fixed_decode_slow(input, limits, ret, ret_fault);                          \
    }                                                                                              \
    WEIR_R_UNUSED WEIR_INLINE uint64_t R##_present(const struct R##_ref *ref)                      \
    {                                                                                              \
        return ref->weir_tail.present;                                                             \
    }                                                                                              \
    FIELDS(WEIR_F_ACCESS, R)                                                                       \
    static_assert((int)R##_fixed_bytes > 0, "")
/* clang-format on */

WEIR_END_DECLS

#endif /* WEIR_RECORD_FIXED_H */
