/* SPDX-License-Identifier: MIT */
/**
 * record: C structs, described once, as plain MessagePack.
 *
 *     #define ORDER_FIELDS(F, R)            \
 *         F(R, u64, id)                     \
 *         F(R, f64, price, key("px"))       \
 *         F(R, str, symbol)                 \
 *         F(R, u32, qty, default(100))      \
 *         F(R, str, note, optional)
 *     WEIR_RECORD(order, ORDER_FIELDS);
 *
 *     struct order order = {.id = 7, .price = 99.5, .symbol = weir_view_text("WEIR"), .qty = 1};
 *     struct order read;
 *     struct weir_view message;
 *     order_encode(&order, &buf, &message);      // {"id": 7, "px": 99.5, "symbol": "WEIR", ...
 *     order_decode(message, NULL, &read, NULL);  // read.symbol lies in message
 *
 * WEIR_RECORD(NAME, FIELDS) defines struct NAME, its functions, which are described at their
 * definition below, and NAME_schema, the same description for programs that learn it at run time.
 * WEIR_RECORD_ARRAY(NAME, FIELDS) does so for a record that is an array on the wire: no keys, a
 * field is where it stands.
 *
 * Types        bool, u8, u16, u32, u64, i8, i16, i32, i64, f32, f64;
 *              timestamp: struct weir_timestamp;
 *              str, bin, ext(TYPE): struct weir_view, when read it lies in the input;
 *              raw: struct weir_view, any one value as its MessagePack bytes, to be read with a
 *              cursor; when packed they are not looked at;
 *              chars(N): char[N], a str of up to N bytes, which ends at the first NUL, if any;
 *              bytes(N): uint8_t[N], a bin of exactly N bytes;
 *              enum(OTHER): enum OTHER, of a WEIR_ENUM() before, see record_enum.h;
 *              record(OTHER): struct OTHER, of a WEIR_RECORD() before;
 *              array(TYPE): as many of a type as there are, see record_array.h.
 * Options      key("text") another key than the name, of up to 31 bytes; optional: the field may be
 *              missing or nil; default(VALUE): the same, and then it is VALUE; of numbers, bool,
 *              enum and str; variable: means something in record_fixed.h only. Each field may have
 *              two of them.
 * Presence     A record begins with the member `present`, a bit for each field. Reading sets those
 *              of the fields that came. Packing looks at the bits of optional fields only, and
 *              leaves out those that are not set (in an array: writes nil); all others are written
 *              in any case.
 * Bytes        of a packed record are what MessagePack-C writes for the same map or array: the keys
 *              in the order of the description, everything in its shortest form.
 * Reading      takes any MessagePack map with these keys: in any order, integers of any width that
 *              fit, float 32 for an f64, heads that are not the shortest. Unknown keys are passed
 *              over. Of several equal keys the first counts, the others are passed over. An array
 *              may be shorter, if what it lacks may be missing, and longer.
 * Errors       as pack.h and unpack.h have them, sticky as there. Besides, when reading: -ENOENT a
 *              required field is missing, at the offset of the record; -EOVERFLOW a str does not
 *              fit its chars; -EPROTO a bin is not of its size, an ext of another type, an enum's
 *              value unknown.
 * Refused      when compiling: two fields of one name or of one key, none or more than 64, a key
 *              above 31 bytes, an unknown option, a default of a type that takes none, an array of
 *              what arrays do not have.
 * Threads      no state; as the buffer and the cursor.
 * Cost         packing is one look at the buffer's room, then stores. Reading compares the expected
 *              keys as words, and falls back to a search where another one comes. No allocation.
 * Source       MessagePack specification (github.com/msgpack/msgpack, spec.md).
 */
#ifndef WEIR_RECORD_H
#define WEIR_RECORD_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/base.h>
#include <weir/buf.h>
#include <weir/pack.h>
#include <weir/unpack.h>
#include <weir/view.h>
#include <weir/wire.h>

WEIR_BEGIN_DECLS

/** The most fields of a record: a bit of `present` for each. */
#define WEIR_RECORD_FIELDS_MAX 64

/** The longest key, in bytes. */
#define WEIR_RECORD_KEY_MAX 31

/** What a field is in C, and on the wire. The numbers go into fingerprints and do not change. */
enum weir_record_type {
    WEIR_RECORD_BOOL = 1,
    WEIR_RECORD_U8,
    WEIR_RECORD_U16,
    WEIR_RECORD_U32,
    WEIR_RECORD_U64,
    WEIR_RECORD_I8,
    WEIR_RECORD_I16,
    WEIR_RECORD_I32,
    WEIR_RECORD_I64,
    WEIR_RECORD_F32,
    WEIR_RECORD_F64,
    WEIR_RECORD_TIMESTAMP,
    WEIR_RECORD_STR,
    WEIR_RECORD_BIN,
    WEIR_RECORD_CHARS,
    WEIR_RECORD_BYTES,
    WEIR_RECORD_EXT,
    WEIR_RECORD_NESTED,
    WEIR_RECORD_RAW,
    WEIR_RECORD_ENUM,
    WEIR_RECORD_ARRAY_OF
};

/** Whether a field has to be there. */
enum weir_record_presence {
    WEIR_RECORD_REQUIRED,
    WEIR_RECORD_OPTIONAL, /**< written if its bit of `present` is set */
    WEIR_RECORD_DEFAULT   /**< always written; if it does not come it has a value all the same */
};

struct weir_record;
struct weir_record_enum;

/** One field, as the description has it, or what an array consists of. */
struct weir_record_field {
    const char *name;                        /**< in C */
    const char *key;                         /**< on the wire; NUL-terminated */
    size_t key_bytes;                        /**< 0..WEIR_RECORD_KEY_MAX */
    enum weir_record_type type;              /**< also decides what follows */
    enum weir_record_presence presence;      /**< */
    size_t offset;                           /**< of the member, from the struct's start */
    size_t size;                             /**< of the member; of chars and bytes their number */
    int8_t ext_type;                         /**< of an ext */
    const struct weir_record *nested;        /**< of a nested record, else NULL */
    const struct weir_record_field *element; /**< of an array, else NULL; it has no name or key */
    const struct weir_record_enum *values;   /**< of an enum, else NULL */
};

/** A record's description. `present`, a uint64_t, is at offset 0 of its struct. */
struct weir_record {
    const char *name;
    const struct weir_record_field *fields;
    unsigned count;          /**< 1..WEIR_RECORD_FIELDS_MAX */
    bool is_map;             /**< else an array */
    uint64_t required;       /**< a bit for each field that has to be there */
    size_t size;             /**< of the struct */
    void (*init)(void *ret); /**< NAME_init(); NULL: all zero */
};

/** What is wrong with bytes that should be a record, and where. */
struct weir_record_fault {
    int error;                             /**< a negative errno as above */
    size_t offset;                         /**< of the value concerned, from the input's start */
    const struct weir_record *record;      /**< the innermost record that was being read */
    const struct weir_record_field *field; /**< of it; NULL: no field's value, but a head or key */
};

/** The bit of the field with this index, see NAME_field_FIELD below. */
#define WEIR_RECORD_BIT(index) (UINT64_C(1) << (index))

/**
 * Define a record that is a map, or one that is an array. Once, at file scope, in a header or a
 * source; for the record `order` this is:
 *
 *   struct order
 *       uint64_t present, then the fields in their order.
 *   enum order_field
 *       order_field_id and so on: indices, as in `present`. order_field_count: how many.
 *   const struct weir_record order_schema
 *       the description.
 *   void order_init(struct order *ret)
 *       all zero, but for the fields with a default.
 *   struct weir_record_iter order_each_legs(const struct order *record)
 *   bool order_next_legs(struct weir_record_iter *iter, TYPE *ret)
 *   int order_load(struct order *record, struct weir_arena *arena)
 *       for arrays, see record_array.h.
 *   void order_pack(struct weir_packer *packer, const struct order *record)
 *       Write the record as one value. Errors are the packer's: -EOVERFLOW a str, bin or ext above
 *       2^32-1 bytes, -EINVAL a timestamp's nanoseconds or an empty raw.
 *   int order_unpack(struct weir_unpacker *unpacker, struct order *ret,
 *                    struct weir_record_fault *ret_fault)
 *       Read the record that comes next. Returns 0, or the error, and then *ret is as it was and
 *       *ret_fault, unless it is NULL, tells which field and where. Elements are counted as any
 *       cursor would.
 *   int order_encode(const struct order *record, struct weir_buf *buf, struct weir_view *ret)
 *       A message of its own, see weir_pack_begin() and weir_pack_end(). @ret may be NULL.
 *   int order_decode(struct weir_view input, const struct weir_limits *limits, struct order *ret,
 *                    struct weir_record_fault *ret_fault)
 *       The record that @input is, all of it: -EBADMSG bytes are left over.
 */
#define WEIR_RECORD(NAME, FIELDS) WEIR_RECORD_DEFINE(NAME, FIELDS, 1)
#define WEIR_RECORD_ARRAY(NAME, FIELDS) WEIR_RECORD_DEFINE(NAME, FIELDS, 0)

/**
 * Whether a description that was made at run time is sound: no two fields of it have one key. Of
 * those of WEIR_RECORD() the compiler has seen to that.
 *
 * @ret      NULL, or receives the second of the two fields, on -EINVAL only
 * Returns   0; -EINVAL two fields of @schema, or of a record in it, have one key.
 * Cost      quadratic in the fields.
 */
WEIR_API int weir_record_check(const struct weir_record *schema,
                               const struct weir_record_field **ret);

/**
 * A number for what a record is on the wire: its layout, and the keys, types and presence of its
 * fields in their order, with nested records, and the numbers of enums. Neither C names, nor
 * offsets, nor the machine count.
 *
 * Two programs may compare it before they talk. Equal fingerprints mean equal descriptions, but for
 * chance; it is no defence against somebody who wants two to be equal.
 *
 * Source    FNV-1a, 64 bits (www.isthe.com/chongo/tech/comp/fnv).
 */
WEIR_API uint64_t weir_record_fingerprint(const struct weir_record *schema);

/** The name of a type as the description spells it, such as "u64"; "?" for what is none. */
WEIR_API const char *weir_record_type_name(enum weir_record_type type);

/** The field of @schema that has @key on the wire, NULL if none has. Linear. */
WEIR_API const struct weir_record_field *weir_record_find(const struct weir_record *schema,
                                                          struct weir_view key);

/**
 * As NAME_pack() and NAME_unpack(), for who has the schema only. They walk over the description.
 *
 * @record, @ret  the struct. What weir_record_unpack() does not find it leaves as it was, so begin
 *                with defaults there; on an error what it has read so far is in it.
 */
WEIR_API void weir_record_pack(struct weir_packer *packer, const struct weir_record *schema,
                               const void *record);
WEIR_API int weir_record_unpack(struct weir_unpacker *unpacker, const struct weir_record *schema,
                                void *ret, struct weir_record_fault *ret_fault);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: what an array consists of, as a constant. */
#define WEIR_RECORD_ELEMENT(type, size, nested, values)                         \
    {                                                                           \
        "", "", 0, type, WEIR_RECORD_REQUIRED, 0, size, 0, nested, NULL, values \
    }

/** Private: what takes no part in a fast path makes its size this large. Sums of it do not wrap. */
#define WEIR_RECORD_TOO_LARGE (UINT64_C(1) << 40)

/** Private: how a reader may look at the value that it is at. */
enum weir_record_room {
    WEIR_RECORD_ROOM_AHEAD,  /* valid records have 8 bytes behind a tag, or it is left to others */
    WEIR_RECORD_ROOM_BEHIND, /* 6 bytes of the record are before it */
    WEIR_RECORD_ROOM_NONE
};

/** Private: up to 8 bytes from @from on of the str @key, its tag before it and @after behind it, as
 * they lie in memory. See weir_pack_word(). */
WEIR_ALWAYS_INLINE uint64_t weir_record_word(const char *key, size_t size, unsigned after,
                                             size_t from)
{
    uint64_t word = 0;

#define WEIR_RECORD_CHAR(i)                                                 \
    (from + (i) == 0          ? (uint64_t)(uint8_t)(WEIR_TAG_FIXSTR | size) \
     : from + (i) <= size     ? (uint64_t)(uint8_t)key[from + (i)-1]        \
     : from + (i) == size + 1 ? (uint64_t)after                             \
                              : 0)
    word = WEIR_RECORD_CHAR(0u) | WEIR_RECORD_CHAR(1u) << 8 | WEIR_RECORD_CHAR(2u) << 16 |
           WEIR_RECORD_CHAR(3u) << 24 | WEIR_RECORD_CHAR(4u) << 32 | WEIR_RECORD_CHAR(5u) << 40 |
           WEIR_RECORD_CHAR(6u) << 48 | WEIR_RECORD_CHAR(7u) << 56;
#undef WEIR_RECORD_CHAR
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/** Private: whether a message of up to @size bytes may be written where @buf is, without a look at
 * anything else. */
WEIR_ALWAYS_INLINE bool weir_record_may_write(const struct weir_buf *buf, uint64_t size)
{
    return !buf->slow_messages && buf->message == NULL && size <= weir_buf_room_bytes(buf);
}

/** Private: whether @limits allow an input of @size bytes and @elements. */
WEIR_ALWAYS_INLINE bool weir_record_may_read(const struct weir_limits *limits, size_t size,
                                             uint64_t elements)
{
    return limits == NULL || ((limits->bytes == 0 || size <= limits->bytes) &&
                              (limits->elements == 0 || elements <= limits->elements));
}

/** Private: the first 4 of the 8 bytes that @word is in memory. */
WEIR_ALWAYS_INLINE uint32_t weir_record_half(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (uint32_t)word;
#else
    return (uint32_t)(word >> 32);
#endif
}

WEIR_ALWAYS_INLINE uint32_t weir_record_load32(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/**
 * Private: whether the str @key is at @at, with the byte @after behind it unless that is 0. As many
 * bytes are readable there, and no more are looked at. A key of a record that is an array is empty
 * in all respects: @key NULL.
 */
WEIR_ALWAYS_INLINE bool weir_record_equal(const uint8_t *at, const char *key, size_t size,
                                          unsigned after)
{
    size_t total = 1 + size + (after != 0);
    if (key == NULL)
        return after == 0 || at[0] == after;
    if (total >= 8) {
        uint64_t differ = weir_unpack_word(at) ^ weir_record_word(key, size, after, 0);
        if (total > 16)
            differ |= weir_unpack_word(at + 8) ^ weir_record_word(key, size, after, 8);
        if (total > 24)
            differ |= weir_unpack_word(at + 16) ^ weir_record_word(key, size, after, 16);
        if (total > 32)
            differ |= weir_unpack_word(at + 24) ^ weir_record_word(key, size, after, 24);
        if (total > 8)
            differ |=
                weir_unpack_word(at + total - 8) ^ weir_record_word(key, size, after, total - 8);
        return differ == 0;
    }
    if (total >= 4) {
        size_t last = total - 4;
        uint32_t differ =
            weir_record_load32(at) ^ weir_record_half(weir_record_word(key, size, after, 0));
        if (last != 0)
            differ |= weir_record_load32(at + last) ^
                      weir_record_half(weir_record_word(key, size, after, last));
        return differ == 0;
    }
    return at[0] == (WEIR_TAG_FIXSTR | size) &&
           (total < 2 || size == 0 || at[1] == (uint8_t)key[0]) &&
           (total < 3 || size < 2 || at[2] == (uint8_t)key[1]) &&
           (after == 0 || at[total - 1] == after);
}

/* --- writing: the room is there, 8 bytes more than the values take */

/** Private: a key, and the tag @after, 8 bytes at a time. Returns where the tag is. */
WEIR_ALWAYS_INLINE uint8_t *weir_record_put_key(uint8_t *at, const char *key, size_t size,
                                                unsigned after)
{
    if (key == NULL) {
        at[0] = (uint8_t)after;
        return at;
    }
    for (size_t from = 0; from < 1 + size + (after != 0); from += 8) {
        uint64_t word = weir_record_word(key, size, after, from);
        memcpy(at + from, &word, sizeof word);
    }
    return at + 1 + size;
}

WEIR_ALWAYS_INLINE uint8_t *weir_record_put_boolean(uint8_t *at, bool value)
{
    at[0] = (uint8_t)(WEIR_TAG_FALSE | value);
    return at + 1;
}

/**
 * Private: as weir_pack_uint(), of a number up to @max.
 *
 * Narrow ones are of all widths in practice, which no branch predictor learns: they take none.
 */
WEIR_ALWAYS_INLINE uint8_t *weir_record_put_uint(uint8_t *at, uint64_t value, uint64_t max)
{
    if (max == UINT8_MAX) {
        unsigned wide = (unsigned)(value >> 7);
        at[0] = WEIR_TAG_UINT8;
        at[wide] = (uint8_t)value;
        return at + 1 + wide;
    }
    if (max <= UINT32_MAX) {
        uint64_t wide = 0 - (uint64_t)(value >= 0x80);
        unsigned log2_bytes = (value > UINT8_MAX) + (unsigned)(value > UINT16_MAX);
        unsigned bits = 8u << log2_bytes;
        at[0] = (uint8_t)((value & ~wide) | ((WEIR_TAG_UINT8 + log2_bytes) & wide));
        weir_wire_store32(at + 1, (uint32_t)(value << (32 - bits)));
        return at + 1 + (bits / 8 & wide);
    }
    struct weir_packer packer = {at, at + 9, NULL, 0, 0, false};
    weir_pack_uint(&packer, value);
    return packer.pos;
}

WEIR_ALWAYS_INLINE uint8_t *weir_record_put_sint(uint8_t *at, int64_t value)
{
    struct weir_packer packer = {at, at + 9, NULL, 0, 0, false};
    weir_pack_int(&packer, value);
    return packer.pos;
}

WEIR_ALWAYS_INLINE uint8_t *weir_record_put_str(struct weir_buf *buf, uint8_t *at,
                                                struct weir_view text)
{
    if (WEIR_UNLIKELY(text.size > 31))
        return weir_pack_bytes_slow(buf, at, WEIR_TAG_STR8, text);
    at[0] = (uint8_t)(WEIR_TAG_FIXSTR | text.size);
    weir_wire_copy_short(at + 1, text.data, text.size);
    return at + 1 + text.size;
}

WEIR_ALWAYS_INLINE uint8_t *weir_record_put_raw(uint8_t *at, struct weir_view value)
{
    if (value.size != 0)
        memcpy(at, value.data, value.size);
    return at + value.size;
}

/** Private: bits behind a tag that is there. */
WEIR_ALWAYS_INLINE uint8_t *weir_record_put_float32(uint8_t *at, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    weir_wire_store32(at, bits);
    return at + sizeof bits;
}

WEIR_ALWAYS_INLINE uint8_t *weir_record_put_float64(uint8_t *at, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    weir_wire_store64(at, bits);
    return at + sizeof bits;
}

/** Private: what a view adds to the room that a record needs. */
WEIR_ALWAYS_INLINE uint64_t weir_record_view_bytes(struct weir_view view)
{
    return view.size <= UINT32_MAX ? view.size : WEIR_RECORD_TOO_LARGE;
}

/** Private: the same of a view that must not be empty. */
WEIR_ALWAYS_INLINE uint64_t weir_record_raw_bytes(struct weir_view view)
{
    return view.size != 0 ? weir_record_view_bytes(view) : WEIR_RECORD_TOO_LARGE;
}

WEIR_ALWAYS_INLINE uint64_t weir_record_timestamp_bytes(struct weir_timestamp value)
{
    return value.nanoseconds <= 999999999 ? 0 : WEIR_RECORD_TOO_LARGE;
}

/** Private: the str in @chars, which ends at the first NUL or after @size bytes. */
WEIR_INLINE struct weir_view weir_record_chars(const char *chars, size_t size)
{
    const char *nul = (const char *)memchr(chars, 0, size);
    return weir_view_of(chars, nul != NULL ? (size_t)(nul - chars) : size);
}

/** Private: a bit for each of @count fields. */
WEIR_ALWAYS_INLINE uint64_t weir_record_all(unsigned count)
{
    return UINT64_MAX >> (64 - count);
}

/** Private: how many of @count fields are written. */
WEIR_ALWAYS_INLINE unsigned weir_record_count(uint64_t optional, uint64_t present, unsigned count)
{
    return count - (unsigned)__builtin_popcountll(optional & ~present);
}

WEIR_ALWAYS_INLINE uint8_t *weir_record_put_head(uint8_t *at, unsigned tag_fix, unsigned tag16,
                                                 unsigned count)
{
    if (count <= 15) {
        at[0] = (uint8_t)(tag_fix | count);
        return at + 1;
    }
    at[0] = (uint8_t)tag16;
    weir_wire_store16(at + 1, (uint16_t)count);
    return at + 3;
}

/* --- reading what is expected: true, and it is passed over; or false, and anything else is left to
 * weir_record_unpack() */

/** Private: as weir_record_unpack(), of a record that is all of the input. */
WEIR_API int weir_record_decode_slow(struct weir_view input, const struct weir_limits *limits,
                                     const struct weir_record *schema, void *ret,
                                     struct weir_record_fault *ret_fault);

/** Private: values that a cursor reads. They return what follows them, NULL: leave it to others. */
WEIR_API const uint8_t *weir_record_bytes_slow(const uint8_t *at, const uint8_t *end,
                                               enum weir_type type, struct weir_view *ret);
WEIR_API const uint8_t *weir_record_ext_slow(const uint8_t *at, const uint8_t *end, int8_t type,
                                             struct weir_view *ret);
WEIR_API const uint8_t *weir_record_timestamp_slow(const uint8_t *at, const uint8_t *end,
                                                   struct weir_timestamp *ret);
WEIR_API const uint8_t *weir_record_raw_slow(const uint8_t *at, const uint8_t *end,
                                             struct weir_view *ret, uint64_t *elements);

WEIR_ALWAYS_INLINE size_t weir_record_left(const uint8_t *at, const uint8_t *end)
{
    return (size_t)(end - at);
}

/** Private: whether it is an array or map, and how many it has. */
WEIR_ALWAYS_INLINE bool weir_record_read_head(const uint8_t **at, const uint8_t *end,
                                              unsigned tag_fix, unsigned tag16, unsigned *ret)
{
    if (WEIR_UNLIKELY(weir_record_left(*at, end) < 3))
        return false;
    if (WEIR_LIKELY(((*at)[0] & 0xf0u) == tag_fix)) {
        *ret = (*at)[0] & 0x0fu;
        *at += 1;
        return true;
    }
    if ((*at)[0] != tag16)
        return false;
    *ret = weir_wire_load16(*at + 1);
    *at += 3;
    return true;
}

/**
 * Private: the @bits of a big-endian number at @at, the end of which is looked for.
 *
 * A value at the input's very end has no 8 bytes to load from it on. The 8 bytes up to its end are
 * there instead, the record's own.
 */
WEIR_ALWAYS_INLINE bool weir_record_load(const uint8_t *at, const uint8_t *end, unsigned bits,
                                         enum weir_record_room room, uint64_t *ret)
{
    size_t size = bits / 8;
    if (room == WEIR_RECORD_ROOM_AHEAD) {
        *ret = weir_wire_load64(at);
        return true;
    }
    if (WEIR_UNLIKELY(weir_record_left(at, end) < size))
        return false;
    if (room == WEIR_RECORD_ROOM_BEHIND) {
        *ret = weir_wire_load64(at + size - 8) << (64 - bits);
        return true;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | at[i];
    *ret = value << (64 - bits);
    return true;
}

/** Private: an integer of 0..@max. Its tag is there, and with room ahead 8 bytes behind it. */
WEIR_ALWAYS_INLINE bool weir_record_read_uint(const uint8_t **at, const uint8_t *end,
                                              enum weir_record_room room, uint64_t max,
                                              uint64_t *ret)
{
    unsigned tag = (*at)[0];
    unsigned bits = 8u << (tag & 3u);
    uint64_t value;
    if (room == WEIR_RECORD_ROOM_AHEAD && max <= UINT32_MAX) {
        /* As in weir_record_put_uint(). */
        uint64_t wide = 0 - (uint64_t)(tag >= 0x80);
        value = weir_wire_load64(*at + 1) >> (64 - bits);
        value = (value & wide) | (tag & ~wide);
        *ret = value;
        *at += 1 + (bits / 8 & wide);
        return (tag & wide & 0xfcu) == (WEIR_TAG_UINT8 & wide) && value <= max;
    }
    if (room == WEIR_RECORD_ROOM_AHEAD && tag == WEIR_TAG_UINT64) {
        /* A branch that is predicted well, so that the next field need not wait for this tag. */
        *ret = weir_wire_load64(*at + 1);
        *at += 9;
        return true;
    }
    if (tag < 0x80) {
        *ret = tag;
        *at += 1;
        return true;
    }
    if (WEIR_UNLIKELY((tag & 0xfcu) != WEIR_TAG_UINT8 ||
                      !weir_record_load(*at + 1, end, bits, room, &value)))
        return false;
    value >>= 64 - bits;
    *ret = value;
    *at += 1 + bits / 8;
    return value <= max;
}

/** Private: the same of -@max-1..@max. */
WEIR_ALWAYS_INLINE bool weir_record_read_sint(const uint8_t **at, const uint8_t *end,
                                              enum weir_record_room room, int64_t max, int64_t *ret)
{
    unsigned tag = (*at)[0];
    if (room == WEIR_RECORD_ROOM_AHEAD && max == INT64_MAX && tag == WEIR_TAG_UINT64) {
        *ret = (int64_t)weir_wire_load64(*at + 1);
        *at += 9;
        return *ret >= 0;
    }
    if (tag < 0x80 || tag >= WEIR_TAG_NEGATIVE_FIXINT) {
        *ret = (int8_t)tag;
        *at += 1;
        return true;
    }
    unsigned bits = 8u << (tag & 3u);
    uint64_t raw;
    if (WEIR_UNLIKELY(tag - WEIR_TAG_UINT8 >= 8 ||
                      !weir_record_load(*at + 1, end, bits, room, &raw)))
        return false;
    bool is_signed = tag >= WEIR_TAG_INT8;
    int64_t value = is_signed ? (int64_t)raw >> (64 - bits) : (int64_t)(raw >> (64 - bits));
    *ret = value;
    *at += 1 + bits / 8;
    return (is_signed || value >= 0) && value <= max && value >= -max - 1;
}

WEIR_ALWAYS_INLINE bool weir_record_read_boolean(const uint8_t **at, bool *ret)
{
    unsigned tag = (*at)[0];
    *ret = tag == WEIR_TAG_TRUE;
    *at += 1;
    return (tag | 1u) == WEIR_TAG_TRUE;
}

/** Private: a str or bin of any size; its tag is there. */
WEIR_ALWAYS_INLINE bool weir_record_read_view(const uint8_t **at, const uint8_t *end,
                                              enum weir_type type, struct weir_view *ret)
{
    size_t size = (*at)[0] & 0x1fu;
    if (type == WEIR_TYPE_STR &&
        WEIR_LIKELY(((*at)[0] & 0xe0u) == WEIR_TAG_FIXSTR && size < weir_record_left(*at, end))) {
        *ret = weir_view_of(*at + 1, size);
        *at += 1 + size;
        return true;
    }
    struct weir_view view = {NULL, 0};
    const uint8_t *next = weir_record_bytes_slow(*at, end, type, &view);
    *ret = view;
    *at = next;
    return next != NULL;
}

WEIR_INLINE bool weir_record_read_chars(const uint8_t **at, const uint8_t *end, size_t size,
                                        char *ret)
{
    struct weir_view view;
    if (!weir_record_read_view(at, end, WEIR_TYPE_STR, &view) || view.size > size)
        return false;
    memset(ret, 0, size);
    if (view.size != 0)
        memcpy(ret, view.data, view.size);
    return true;
}

WEIR_INLINE bool weir_record_read_bytes(const uint8_t **at, const uint8_t *end, size_t size,
                                        uint8_t *ret)
{
    struct weir_view view;
    if (!weir_record_read_view(at, end, WEIR_TYPE_BIN, &view) || view.size != size)
        return false;
    memcpy(ret, view.data, size);
    return true;
}

WEIR_ALWAYS_INLINE bool weir_record_read_ext(const uint8_t **at, const uint8_t *end, int8_t type,
                                             struct weir_view *ret)
{
    struct weir_view view = {NULL, 0};
    *at = weir_record_ext_slow(*at, end, type, &view);
    *ret = view;
    return *at != NULL;
}

WEIR_ALWAYS_INLINE bool weir_record_read_timestamp(const uint8_t **at, const uint8_t *end,
                                                   struct weir_timestamp *ret)
{
    struct weir_timestamp value = {0, 0};
    *at = weir_record_timestamp_slow(*at, end, &value);
    *ret = value;
    return *at != NULL;
}

WEIR_ALWAYS_INLINE bool weir_record_read_raw(const uint8_t **at, const uint8_t *end,
                                             struct weir_view *ret, uint64_t *elements)
{
    struct weir_view view = {NULL, 0};
    uint64_t more = 0;
    *at = weir_record_raw_slow(*at, end, &view, &more);
    *ret = view;
    *elements += more;
    return *at != NULL;
}

/* --- from a description to code ----------------------------------------------------------------
 *
 * FIELDS(DO, NAME) calls DO(NAME, type, name, options...) for each field. Each such macro pastes
 * the type, before anything expands it, to a list of what is known of that type:
 *
 *     kind      which of the macros and functions below do the work
 *     param     theirs
 *     ctype     of the member, or of its elements
 *     code      enum weir_record_type
 *     min, max  bytes on the wire without its key; of views without their bytes
 *     ext       the type of an ext
 *     nested    the address of a schema
 *
 * and the macros that end in _OF get it all as their arguments, with two options at least.
 */

/* clang-format off */
#define WEIR_R_TYPE_bool boolean, 0, bool, WEIR_RECORD_BOOL, 1, 1, 0, NULL
#define WEIR_R_TYPE_u8 uint, UINT8_MAX, uint8_t, WEIR_RECORD_U8, 1, 2, 0, NULL
#define WEIR_R_TYPE_u16 uint, UINT16_MAX, uint16_t, WEIR_RECORD_U16, 1, 3, 0, NULL
#define WEIR_R_TYPE_u32 uint, UINT32_MAX, uint32_t, WEIR_RECORD_U32, 1, 5, 0, NULL
#define WEIR_R_TYPE_u64 uint, UINT64_MAX, uint64_t, WEIR_RECORD_U64, 1, 9, 0, NULL
#define WEIR_R_TYPE_i8 sint, INT8_MAX, int8_t, WEIR_RECORD_I8, 1, 2, 0, NULL
#define WEIR_R_TYPE_i16 sint, INT16_MAX, int16_t, WEIR_RECORD_I16, 1, 3, 0, NULL
#define WEIR_R_TYPE_i32 sint, INT32_MAX, int32_t, WEIR_RECORD_I32, 1, 5, 0, NULL
#define WEIR_R_TYPE_i64 sint, INT64_MAX, int64_t, WEIR_RECORD_I64, 1, 9, 0, NULL
#define WEIR_R_TYPE_f32 float32, 0, float, WEIR_RECORD_F32, 5, 5, 0, NULL
#define WEIR_R_TYPE_f64 float64, 0, double, WEIR_RECORD_F64, 5, 9, 0, NULL
#define WEIR_R_TYPE_timestamp \
    timestamp, 0, struct weir_timestamp, WEIR_RECORD_TIMESTAMP, 6, 15, 0, NULL
#define WEIR_R_TYPE_str str, 0, struct weir_view, WEIR_RECORD_STR, 1, 5, 0, NULL
#define WEIR_R_TYPE_bin bin, 0, struct weir_view, WEIR_RECORD_BIN, 2, 5, 0, NULL
#define WEIR_R_TYPE_ext(type) ext, type, struct weir_view, WEIR_RECORD_EXT, 3, 6, type, NULL
#define WEIR_R_TYPE_raw raw, 0, struct weir_view, WEIR_RECORD_RAW, 1, 0, 0, NULL
#define WEIR_R_TYPE_chars(size) chars, size, char, WEIR_RECORD_CHARS, 1, 5 + (size), 0, NULL
#define WEIR_R_TYPE_bytes(size) \
    bytes, size, uint8_t, WEIR_RECORD_BYTES, 2 + (size), 5 + (size), 0, NULL
#define WEIR_R_TYPE_record(other) \
    nested, other, struct other, WEIR_RECORD_NESTED, other##_weir_min, other##_weir_max, 0, \
    &other##_schema

/* Call @action with @R, the type's list, the name, and the options. */
#define WEIR_R_APPLY(action, ...) action(__VA_ARGS__)

/* Options. What an option is not about stays a word that is defined nowhere, and is passed by. */
#define WEIR_R_SECOND_OF(first, second, ...) second
#define WEIR_R_SECOND(...) WEIR_R_SECOND_OF(__VA_ARGS__, ~, ~)
#define WEIR_R_EITHER(first, second, otherwise) \
    WEIR_R_SECOND(first, WEIR_R_SECOND(second, otherwise))
#define WEIR_R_KEY_key(text) ~, text
#define WEIR_R_PRESENCE_optional ~, WEIR_RECORD_OPTIONAL
#define WEIR_R_PRESENCE_default(value) ~, WEIR_RECORD_DEFAULT
#define WEIR_R_DEFAULT_default(value) ~, value
#define WEIR_R_KNOWN_none 0
#define WEIR_R_KNOWN_optional 0
#define WEIR_R_KNOWN_variable 0
#define WEIR_R_KNOWN_key(text) 0
#define WEIR_R_KNOWN_default(value) 0
#define WEIR_R_KEY(name, o1, o2) WEIR_R_EITHER(WEIR_R_KEY_##o1, WEIR_R_KEY_##o2, #name)
#define WEIR_R_PRESENCE(o1, o2) \
    WEIR_R_EITHER(WEIR_R_PRESENCE_##o1, WEIR_R_PRESENCE_##o2, WEIR_RECORD_REQUIRED)
#define WEIR_R_VALUE(o1, o2, otherwise) \
    WEIR_R_EITHER(WEIR_R_DEFAULT_##o1, WEIR_R_DEFAULT_##o2, otherwise)

/* The key as the functions above want it, its size, and its bytes on the wire. */
#define WEIR_R_WIRE_KEY(R, name, o1, o2) (R##_weir_is_map ? WEIR_R_KEY(name, o1, o2) : NULL)
#define WEIR_R_KEY_SIZE(name, o1, o2) (sizeof(WEIR_R_KEY(name, o1, o2)) - 1)
#define WEIR_R_KEY_TOTAL(R, name, o1, o2) \
    (R##_weir_is_map ? 1 + WEIR_R_KEY_SIZE(name, o1, o2) : 0)

/* Members of the struct. */
#define WEIR_R_MEMBER(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_MEMBER_OF, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_MEMBER_OF(kind, param, ctype, code, min, max, ext, nested, name, ...) \
    WEIR_R_MEMBER_##kind(ctype, param, name);
#define WEIR_R_MEMBER_boolean(ctype, param, name) ctype name
#define WEIR_R_MEMBER_uint(ctype, param, name) ctype name
#define WEIR_R_MEMBER_sint(ctype, param, name) ctype name
#define WEIR_R_MEMBER_float32(ctype, param, name) ctype name
#define WEIR_R_MEMBER_float64(ctype, param, name) ctype name
#define WEIR_R_MEMBER_timestamp(ctype, param, name) ctype name
#define WEIR_R_MEMBER_str(ctype, param, name) ctype name
#define WEIR_R_MEMBER_bin(ctype, param, name) ctype name
#define WEIR_R_MEMBER_ext(ctype, param, name) ctype name
#define WEIR_R_MEMBER_raw(ctype, param, name) ctype name
#define WEIR_R_MEMBER_nested(ctype, param, name) ctype name
#define WEIR_R_MEMBER_chars(ctype, param, name) ctype name[param]
#define WEIR_R_MEMBER_bytes(ctype, param, name) ctype name[param]

/* Indices; what an option is that nobody knows, the compiler names. */
#define WEIR_R_INDEX(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_INDEX_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_INDEX_OF(R, kind, param, ctype, code, min, max, ext, nested, name, ...) \
    R##_field_##name,

/* The least bytes before a field, and up to its end, the record's head aside. An enumerator is one
 * more than that before it, so each goes on where the last one ended. */
#define WEIR_R_PLACE(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_PLACE_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_PLACE_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...)    \
    R##_weir_from_##name,                                                                         \
        R##_weir_to_##name = R##_weir_from_##name +                                               \
                             ((int)WEIR_R_PRESENCE(o1, o2) == (int)WEIR_RECORD_REQUIRED           \
                                  ? (int)WEIR_R_KEY_TOTAL(R, name, o1, o2) + (int)(min)           \
                                  : R##_weir_is_map ? 0 : 1) -                                    \
                             1 + WEIR_R_KNOWN_##o1 + WEIR_R_KNOWN_##o2,

/* The most bytes of keys and values. */
#define WEIR_R_MAX(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_MAX_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_MAX_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    +(int)WEIR_R_KEY_TOTAL(R, name, o1, o2) + (int)(max)

/* The bits of fields that are required, or optional. */
#define WEIR_R_REQUIRED(R, type, ...)                                                  \
    WEIR_R_APPLY(WEIR_R_BITS_OF, R, WEIR_RECORD_REQUIRED, WEIR_R_TYPE_##type, __VA_ARGS__, \
                 none, none, none)
#define WEIR_R_OPTIONAL(R, type, ...)                                                  \
    WEIR_R_APPLY(WEIR_R_BITS_OF, R, WEIR_RECORD_OPTIONAL, WEIR_R_TYPE_##type, __VA_ARGS__, \
                 none, none, none)
#define WEIR_R_BITS_OF(R, which, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, \
                       ...)                                                                     \
    | (WEIR_R_PRESENCE(o1, o2) == which ? WEIR_RECORD_BIT(R##_field_##name) : 0)

#define WEIR_R_ASSERT(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_ASSERT_OF, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_ASSERT_OF(kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    static_assert(WEIR_R_KEY_SIZE(name, o1, o2) <= WEIR_RECORD_KEY_MAX,                      \
                  "the key of field " #name " is longer than 31 bytes");                     \
    static_assert((int)(code) != (int)WEIR_RECORD_ARRAY_OF || (ext) == 0,                    \
                  "arrays as field " #name " cannot have that type of elements");

/* The schema's fields. */
#define WEIR_R_SCHEMA(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_SCHEMA_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_SCHEMA_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    {#name,                                                                                     \
     WEIR_R_KEY(name, o1, o2),                                                                  \
     WEIR_R_KEY_SIZE(name, o1, o2),                                                             \
     code,                                                                                      \
     WEIR_R_PRESENCE(o1, o2),                                                                   \
     offsetof(struct R, name),                                                                  \
     sizeof(((struct R *)0)->name),                                                             \
     ext,                                                                                       \
     nested,                                                                                    \
     WEIR_R_MORE_##kind(param)},

/* Defaults. */
#define WEIR_R_INIT(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_INIT_OF, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_INIT_OF(kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...) \
    WEIR_R_INIT_##kind(ctype, param, name, WEIR_R_PRESENCE(o1, o2), o1, o2)
#define WEIR_R_INIT_uint(ctype, param, name, presence, o1, o2) \
    ret->name = (ctype)(WEIR_R_VALUE(o1, o2, 0));
#define WEIR_R_INIT_boolean WEIR_R_INIT_uint
#define WEIR_R_INIT_sint WEIR_R_INIT_uint
#define WEIR_R_INIT_float32 WEIR_R_INIT_uint
#define WEIR_R_INIT_float64 WEIR_R_INIT_uint
#define WEIR_R_INIT_str(ctype, param, name, presence, o1, o2) \
    if (presence == WEIR_RECORD_DEFAULT)                      \
        ret->name = weir_view_text(WEIR_R_VALUE(o1, o2, ""));
#define WEIR_R_INIT_none(ctype, param, name, presence, o1, o2) \
    static_assert(presence != WEIR_RECORD_DEFAULT, "the type of field " #name " takes no default");
#define WEIR_R_INIT_timestamp WEIR_R_INIT_none
#define WEIR_R_INIT_bin WEIR_R_INIT_none
#define WEIR_R_INIT_ext WEIR_R_INIT_none
#define WEIR_R_INIT_raw WEIR_R_INIT_none
#define WEIR_R_INIT_chars WEIR_R_INIT_none
#define WEIR_R_INIT_bytes WEIR_R_INIT_none
#define WEIR_R_INIT_nested(ctype, param, name, presence, o1, o2) \
    WEIR_R_INIT_none(ctype, param, name, presence, o1, o2) param##_init(&ret->name);

/* Bytes of views, and what else decides whether a record can be written without looking. */
#define WEIR_R_BYTES(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_BYTES_OF, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_BYTES_OF(kind, param, ctype, code, min, max, ext, nested, name, ...) \
    WEIR_R_BYTES_##kind(param, name)
#define WEIR_R_BYTES_none(param, name)
#define WEIR_R_BYTES_boolean WEIR_R_BYTES_none
#define WEIR_R_BYTES_uint WEIR_R_BYTES_none
#define WEIR_R_BYTES_sint WEIR_R_BYTES_none
#define WEIR_R_BYTES_float32 WEIR_R_BYTES_none
#define WEIR_R_BYTES_float64 WEIR_R_BYTES_none
#define WEIR_R_BYTES_chars WEIR_R_BYTES_none
#define WEIR_R_BYTES_bytes WEIR_R_BYTES_none
#define WEIR_R_BYTES_view(param, name) +weir_record_view_bytes(record->name)
#define WEIR_R_BYTES_str WEIR_R_BYTES_view
#define WEIR_R_BYTES_bin WEIR_R_BYTES_view
#define WEIR_R_BYTES_ext WEIR_R_BYTES_view
#define WEIR_R_BYTES_raw(param, name) +weir_record_raw_bytes(record->name)
#define WEIR_R_BYTES_timestamp(param, name) +weir_record_timestamp_bytes(record->name)
#define WEIR_R_BYTES_nested(param, name) +param##_weir_bytes(&record->name)

/* Packing: the key and, where it is always the same, the tag in the same stores. */
#define WEIR_R_PUT(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_PUT_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_PUT_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...)      \
    if (WEIR_R_PRESENCE(o1, o2) != WEIR_RECORD_OPTIONAL ||                                        \
        (record->present & WEIR_RECORD_BIT(R##_field_##name)) != 0) {                             \
        at = weir_record_put_key(at, WEIR_R_WIRE_KEY(R, name, o1, o2),                            \
                                 WEIR_R_KEY_SIZE(name, o1, o2), WEIR_R_TAG_##kind);               \
        at = WEIR_R_PUT_##kind(param, name);                                                      \
    } else if (!R##_weir_is_map) {                                                                \
        *at++ = (uint8_t)WEIR_TAG_NIL;                                                            \
    }
#define WEIR_R_PUT_boolean(param, name) weir_record_put_boolean(at, record->name)
#define WEIR_R_PUT_uint(param, name) weir_record_put_uint(at, record->name, param)
#define WEIR_R_PUT_sint(param, name) weir_record_put_sint(at, record->name)
#define WEIR_R_PUT_float32(param, name) weir_record_put_float32(at + 1, record->name)
#define WEIR_R_PUT_float64(param, name) weir_record_put_float64(at + 1, record->name)
#define WEIR_R_PUT_str(param, name) weir_record_put_str(buf, at, record->name)
#define WEIR_R_PUT_bin(param, name) weir_pack_bytes_slow(buf, at, WEIR_TAG_BIN8, record->name)
#define WEIR_R_PUT_ext(param, name) weir_pack_ext_slow(buf, at, param, record->name)
#define WEIR_R_PUT_raw(param, name) weir_record_put_raw(at, record->name)
#define WEIR_R_PUT_timestamp(param, name) \
    weir_pack_timestamp_slow(buf, at, record->name.seconds, record->name.nanoseconds)
#define WEIR_R_PUT_chars(param, name) \
    weir_record_put_str(buf, at, weir_record_chars(record->name, param))
#define WEIR_R_PUT_bytes(param, name) \
    weir_pack_bytes_slow(buf, at, WEIR_TAG_BIN8, weir_view_of(record->name, param))
#define WEIR_R_PUT_nested(param, name) param##_weir_put(buf, at, &record->name)

/* The tags that are always the same, else 0. */
#define WEIR_R_TAG_boolean 0u
#define WEIR_R_TAG_uint 0u
#define WEIR_R_TAG_sint 0u
#define WEIR_R_TAG_float32 WEIR_TAG_FLOAT32
#define WEIR_R_TAG_float64 WEIR_TAG_FLOAT64
#define WEIR_R_TAG_timestamp 0u
#define WEIR_R_TAG_str 0u
#define WEIR_R_TAG_bin 0u
#define WEIR_R_TAG_ext 0u
#define WEIR_R_TAG_raw 0u
#define WEIR_R_TAG_chars 0u
#define WEIR_R_TAG_bytes 0u
#define WEIR_R_TAG_nested 0u

/* Reading. Where the expected key is not next, a field that may be missing is taken to be. */
#define WEIR_R_READ(R, type, ...) \
    WEIR_R_APPLY(WEIR_R_READ_OF, R, WEIR_R_TYPE_##type, __VA_ARGS__, none, none, none)
#define WEIR_R_READ_OF(R, kind, param, ctype, code, min, max, ext, nested, name, o1, o2, ...)      \
    if (WEIR_LIKELY(ok)) {                                                                         \
        const enum weir_record_room room = WEIR_R_ROOM(R, name, o1, o2);                           \
        const size_t key_bytes = WEIR_R_KEY_TOTAL(R, name, o1, o2);                                \
        const bool is_required = WEIR_R_PRESENCE(o1, o2) == WEIR_RECORD_REQUIRED;                  \
        (void)room;                                                                                \
        (void)is_required;                                                                         \
        if (!R##_weir_is_map && WEIR_R_PRESENCE(o1, o2) != WEIR_RECORD_REQUIRED && at != end &&    \
            at[0] == WEIR_TAG_NIL) {                                                               \
            at++;                                                                                  \
            nils++;                                                                                \
        } else if (WEIR_LIKELY(                                                                    \
                       weir_record_left(at, end) >= key_bytes + WEIR_R_AHEAD_##kind(room) &&       \
                       weir_record_equal(at, WEIR_R_WIRE_KEY(R, name, o1, o2),                     \
                                         WEIR_R_KEY_SIZE(name, o1, o2), WEIR_R_TAG_##kind))) {     \
            at += key_bytes;                                                                       \
            seen |= WEIR_RECORD_BIT(R##_field_##name);                                             \
            WEIR_R_READ_##kind(ctype, param, name)                                                 \
        } else {                                                                                   \
            ok = R##_weir_is_map && WEIR_R_PRESENCE(o1, o2) != WEIR_RECORD_REQUIRED;               \
        }                                                                                          \
    }
#define WEIR_R_ROOM(R, name, o1, o2)                                           \
    (R##_weir_min_values - R##_weir_to_##name - 1 >= 8 ? WEIR_RECORD_ROOM_AHEAD \
     : 1 + R##_weir_from_##name + (int)WEIR_R_KEY_TOTAL(R, name, o1, o2) >= 6   \
         ? WEIR_RECORD_ROOM_BEHIND                                              \
         : WEIR_RECORD_ROOM_NONE)

/* The bytes that have to be there behind the key, for what the functions look at at once. */
#define WEIR_R_AHEAD_tag(room) 1u
#define WEIR_R_AHEAD_number(room) ((room) == WEIR_RECORD_ROOM_AHEAD ? 9u : 1u)
#define WEIR_R_AHEAD_boolean WEIR_R_AHEAD_tag
#define WEIR_R_AHEAD_uint WEIR_R_AHEAD_number
#define WEIR_R_AHEAD_sint WEIR_R_AHEAD_number
#define WEIR_R_AHEAD_float32(room) 5u
#define WEIR_R_AHEAD_float64(room) 9u
#define WEIR_R_AHEAD_timestamp WEIR_R_AHEAD_tag
#define WEIR_R_AHEAD_str WEIR_R_AHEAD_tag
#define WEIR_R_AHEAD_bin WEIR_R_AHEAD_tag
#define WEIR_R_AHEAD_ext WEIR_R_AHEAD_tag
#define WEIR_R_AHEAD_raw WEIR_R_AHEAD_tag
#define WEIR_R_AHEAD_chars WEIR_R_AHEAD_tag
#define WEIR_R_AHEAD_bytes WEIR_R_AHEAD_tag
#define WEIR_R_AHEAD_nested WEIR_R_AHEAD_tag

#define WEIR_R_READ_boolean(ctype, param, name) ok = weir_record_read_boolean(&at, &ret->name);
#define WEIR_R_READ_uint(ctype, param, name)                         \
    uint64_t value = 0;                                              \
    ok = weir_record_read_uint(&at, end, room, param, &value);       \
    ret->name = (ctype)value;
#define WEIR_R_READ_sint(ctype, param, name)                         \
    int64_t value = 0;                                               \
    ok = weir_record_read_sint(&at, end, room, param, &value);       \
    ret->name = (ctype)value;
#define WEIR_R_READ_float32(ctype, param, name)                      \
    uint32_t bits = weir_wire_load32(at + 1);                        \
    memcpy(&ret->name, &bits, sizeof bits);                          \
    at += 5;
#define WEIR_R_READ_float64(ctype, param, name)                      \
    uint64_t bits = weir_wire_load64(at + 1);                        \
    memcpy(&ret->name, &bits, sizeof bits);                          \
    at += 9;
#define WEIR_R_READ_str(ctype, param, name) \
    ok = weir_record_read_view(&at, end, WEIR_TYPE_STR, &ret->name);
#define WEIR_R_READ_bin(ctype, param, name) \
    ok = weir_record_read_view(&at, end, WEIR_TYPE_BIN, &ret->name);
#define WEIR_R_READ_ext(ctype, param, name) ok = weir_record_read_ext(&at, end, param, &ret->name);
#define WEIR_R_READ_raw(ctype, param, name)                                       \
    ok = (is_required || at[0] != WEIR_TAG_NIL) &&                                \
         weir_record_read_raw(&at, end, &ret->name, elements);
#define WEIR_R_READ_timestamp(ctype, param, name) \
    ok = weir_record_read_timestamp(&at, end, &ret->name);
#define WEIR_R_READ_chars(ctype, param, name) \
    ok = weir_record_read_chars(&at, end, param, ret->name);
#define WEIR_R_READ_bytes(ctype, param, name) \
    ok = weir_record_read_bytes(&at, end, param, ret->name);
#define WEIR_R_READ_nested(ctype, param, name)                 \
    at = param##_weir_read(at, end, &ret->name, elements);     \
    ok = at != NULL;

#define WEIR_R_UNUSED __attribute__((unused))

#define WEIR_RECORD_DEFINE(R, FIELDS, IS_MAP)                                                     \
    struct R {                                                                                    \
        uint64_t present;                                                                         \
        FIELDS(WEIR_R_MEMBER, R)                                                                  \
    };                                                                                            \
    enum R##_field { FIELDS(WEIR_R_INDEX, R) R##_field_count };                                   \
    enum R##_weir_layout { R##_weir_is_map = IS_MAP };                                            \
    enum R##_weir_places { FIELDS(WEIR_R_PLACE, R) R##_weir_min_values };                         \
    enum R##_weir_bounds {                                                                        \
        R##_weir_min = 1 + R##_weir_min_values,                                                   \
        R##_weir_max = 3 FIELDS(WEIR_R_MAX, R)                                                    \
    };                                                                                            \
    static_assert((int)R##_field_count <= WEIR_RECORD_FIELDS_MAX,                                 \
                  "record " #R " has more than 64 fields");                                       \
    FIELDS(WEIR_R_ASSERT, R)                                                                      \
    FIELDS(WEIR_R_UNIQUE, (IS_MAP, FIELDS(WEIR_R_KEYS, R) WEIR_R_PAD))                            \
    WEIR_R_UNUSED WEIR_INLINE void R##_weir_init(void *ret);                                      \
    WEIR_R_UNUSED static const struct weir_record_field R##_weir_fields[] = {                     \
        FIELDS(WEIR_R_SCHEMA, R)};                                                                \
    WEIR_R_UNUSED static const struct weir_record R##_schema = {                                  \
        #R,                                                                                       \
        R##_weir_fields,                                                                          \
        (unsigned)R##_field_count,                                                                \
        IS_MAP,                                                                                   \
        (0 FIELDS(WEIR_R_REQUIRED, R)),                                                           \
        sizeof(struct R),                                                                         \
        R##_weir_init};                                                                           \
    WEIR_R_UNUSED WEIR_INLINE void R##_init(struct R *ret)                                        \
    {                                                                                             \
        memset(ret, 0, sizeof *ret);                                                              \
        FIELDS(WEIR_R_INIT, R)                                                                    \
    }                                                                                             \
    WEIR_INLINE void R##_weir_init(void *ret)                                                     \
    {                                                                                             \
        R##_init((struct R *)ret);                                                                \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE uint64_t R##_weir_bytes(const struct R *record)                     \
    {                                                                                             \
        (void)record;                                                                             \
        return (uint64_t)R##_weir_max FIELDS(WEIR_R_BYTES, R);                                    \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE uint8_t *R##_weir_put(struct weir_buf *buf, uint8_t *at,            \
                                                    const struct R *record)                       \
    {                                                                                             \
        const uint64_t optional = 0 FIELDS(WEIR_R_OPTIONAL, R);                                   \
        (void)buf;                                                                                \
        if (!R##_weir_is_map)                                                                     \
            at = weir_record_put_head(at, WEIR_TAG_FIXARRAY, WEIR_TAG_ARRAY16, R##_field_count);  \
        else                                                                                      \
            at = weir_record_put_head(at, WEIR_TAG_FIXMAP, WEIR_TAG_MAP16,                        \
                                      weir_record_count(optional, record->present,                \
                                                        R##_field_count));                        \
        FIELDS(WEIR_R_PUT, R)                                                                     \
        return at;                                                                                \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_ALWAYS_INLINE void R##_weir_prepare(struct R *ret)                         \
    {                                                                                             \
        /* Where every field has to come there is nothing to begin with. */                       \
        if ((0 FIELDS(WEIR_R_REQUIRED, R)) != weir_record_all(R##_field_count))                   \
            R##_init(ret);                                                                        \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE const uint8_t *R##_weir_read(const uint8_t *at, const uint8_t *end, \
                                                           struct R *ret, uint64_t *elements)     \
    {                                                                                             \
        uint64_t seen = 0;                                                                        \
        unsigned count = 0, nils = 0;                                                             \
        bool ok;                                                                                  \
        if (R##_weir_is_map)                                                                      \
            ok = weir_record_read_head(&at, end, WEIR_TAG_FIXMAP, WEIR_TAG_MAP16, &count);        \
        else                                                                                      \
            ok = weir_record_read_head(&at, end, WEIR_TAG_FIXARRAY, WEIR_TAG_ARRAY16, &count);    \
        R##_weir_prepare(ret);                                                                    \
        FIELDS(WEIR_R_READ, R)                                                                    \
        *elements += (uint64_t)count * (R##_weir_is_map ? 2 : 1);                                 \
        ret->present = seen;                                                                      \
        return ok && nils + (unsigned)__builtin_popcountll(seen) == count ? at : NULL;            \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE void R##_pack(struct weir_packer *packer, const struct R *record)   \
    {                                                                                             \
        if (WEIR_LIKELY(R##_weir_bytes(record) + 8 <= weir_pack_room_bytes(packer))) {            \
            packer->pos = R##_weir_put(packer->buf, packer->pos, record);                         \
            packer->values++;                                                                     \
        } else {                                                                                  \
            struct weir_packer copy = *packer;                                                    \
            weir_record_pack(&copy, &R##_schema, record);                                         \
            *packer = copy;                                                                       \
        }                                                                                         \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE int R##_unpack(struct weir_unpacker *unpacker, struct R *ret,       \
                                             struct weir_record_fault *ret_fault)                 \
    {                                                                                             \
        struct R value;                                                                           \
        uint64_t elements = 1;                                                                    \
        const uint8_t *at = R##_weir_read(unpacker->pos, unpacker->end, &value, &elements);       \
        if (WEIR_LIKELY(at != NULL && elements <= unpacker->elements_left)) {                     \
            unpacker->pos = at;                                                                   \
            unpacker->elements_left -= elements;                                                  \
        } else {                                                                                  \
            struct weir_unpacker copy = *unpacker;                                                \
            R##_weir_prepare(&value);                                                             \
            int rc = weir_record_unpack(&copy, &R##_schema, &value, ret_fault);                   \
            *unpacker = copy;                                                                     \
            if (rc != 0)                                                                          \
                return rc;                                                                        \
        }                                                                                         \
        *ret = value;                                                                             \
        return 0;                                                                                 \
    }                                                                                             \
    WEIR_R_UNUSED static __attribute__((noinline, cold)) int R##_weir_encode_slow(                \
        const struct R *record, struct weir_buf *buf, struct weir_view *ret)                      \
    {                                                                                             \
        struct weir_packer packer;                                                                \
        weir_pack_begin(&packer, buf, 0);                                                         \
        R##_pack(&packer, record);                                                                \
        return weir_pack_end(&packer, ret);                                                       \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE int R##_encode(const struct R *record, struct weir_buf *buf,        \
                                             struct weir_view *ret)                               \
    {                                                                                             \
        uint8_t *at = buf->pos;                                                                   \
        if (WEIR_UNLIKELY(!weir_record_may_write(buf, R##_weir_bytes(record) + 8)))               \
            return R##_weir_encode_slow(record, buf, ret);                                        \
        buf->pos = R##_weir_put(buf, at, record);                                                 \
        if (ret != NULL)                                                                          \
            *ret = weir_view_of(at, (size_t)(buf->pos - at));                                     \
        return 0;                                                                                 \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE int R##_decode(struct weir_view input,                              \
                                             const struct weir_limits *limits, struct R *ret,     \
                                             struct weir_record_fault *ret_fault)                 \
    {                                                                                             \
        struct R value;                                                                           \
        uint64_t elements = 1;                                                                    \
        const uint8_t *end = input.size != 0 ? input.data + input.size : input.data;              \
        const uint8_t *at = R##_weir_read(input.data, end, &value, &elements);                    \
        if (WEIR_UNLIKELY(at == NULL || at != end ||                                              \
                          !weir_record_may_read(limits, input.size, elements))) {                 \
            R##_weir_prepare(&value);                                                             \
            int rc = weir_record_decode_slow(input, limits, &R##_schema, &value, ret_fault);      \
            if (rc != 0)                                                                          \
                return rc;                                                                        \
        }                                                                                         \
        *ret = value;                                                                             \
        return 0;                                                                                 \
    }                                                                                             \
    WEIR_R_ALL(R)                                                                                 \
    FIELDS(WEIR_R_EACH, R)                                                                        \
    static_assert((int)R##_field_count > 0, "record " #R " has no fields")
/* clang-format on */

WEIR_END_DECLS

/* The rest of what WEIR_RECORD() needs. */
#include <weir/record_array.h>
#include <weir/record_enum.h>

#endif /* WEIR_RECORD_H */
