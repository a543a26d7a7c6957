/* SPDX-License-Identifier: MIT */
/*
 * record: what the functions of a description leave to others, and all that is known at run time
 * only. Here a record is walked over by its schema. Nested records are recursion, as deep as the
 * program's own descriptions are, whatever comes in.
 */
#include <assert.h>

#include "weir/record.h"
#include "record_private.h"
#include "unpack_private.h"

#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* --- values that the expected order meets ---------------------------------------------------- */

const uint8_t *weir_record_bytes_slow(const uint8_t *at, const uint8_t *end, enum weir_type type,
                                      struct weir_view *ret)
{
    struct weir_unpacker u = weir__record_cursor(at, end);
    int rc = type == WEIR_TYPE_STR ? weir_unpack_str(&u, ret) : weir_unpack_bin(&u, ret);

    return rc == 0 ? u.pos : NULL;
}

const uint8_t *weir_record_ext_slow(const uint8_t *at, const uint8_t *end, int8_t type,
                                    struct weir_view *ret)
{
    struct weir_unpacker u = weir__record_cursor(at, end);
    int8_t got;

    return weir_unpack_ext(&u, &got, ret) == 0 && got == type ? u.pos : NULL;
}

const uint8_t *weir_record_timestamp_slow(const uint8_t *at, const uint8_t *end,
                                          struct weir_timestamp *ret)
{
    struct weir_unpacker u = weir__record_cursor(at, end);

    return weir_unpack_timestamp(&u, ret) == 0 ? u.pos : NULL;
}

const uint8_t *weir_record_raw_slow(const uint8_t *at, const uint8_t *end, struct weir_view *ret,
                                    uint64_t *elements)
{
    struct weir_unpacker u = weir__record_cursor(at, end);

    if (weir_unpack_raw(&u, ret) != 0)
        return NULL;
    *elements = UINT64_MAX - u.elements_left - 1;
    return u.pos;
}

/* --- packing --------------------------------------------------------------------------------- */

static bool is_optional(const struct weir_record_field *field)
{
    return field->presence == WEIR_RECORD_OPTIONAL;
}

static uint64_t present_of(const void *record)
{
    uint64_t present;

    memcpy(&present, record, sizeof present);
    return present;
}

/* The member's unsigned integer, or the bits of its signed one with the sign extended. */
static uint64_t load_integer(const struct weir_record_field *field, const uint8_t *member)
{
    bool is_signed = field->type >= WEIR_RECORD_I8;
    unsigned unused = 64 - 8 * (unsigned)field->size;
    uint64_t value = 0;
    uint8_t *to = (uint8_t *)&value;

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    to += sizeof value - field->size;
#endif
    memcpy(to, member, field->size);
    return is_signed ? (uint64_t)((int64_t)(value << unused) >> unused) : value;
}

/* The low @size bytes of @value; a constant size in each branch is a store. */
static void store_integer(uint8_t *member, uint64_t value, size_t size)
{
    const uint16_t u16 = (uint16_t)value;
    const uint32_t u32 = (uint32_t)value;

    if (size == sizeof value)
        memcpy(member, &value, sizeof value);
    else if (size == sizeof u32)
        memcpy(member, &u32, sizeof u32);
    else if (size == sizeof u16)
        memcpy(member, &u16, sizeof u16);
    else
        *member = (uint8_t)value;
}

static void pack_view(struct weir_packer *packer, const struct weir_record_field *field,
                      struct weir_view view)
{
    switch (field->type) {
    case WEIR_RECORD_STR:
        weir_pack_str(packer, view);
        break;
    case WEIR_RECORD_BIN:
        weir_pack_bin(packer, view);
        break;
    case WEIR_RECORD_EXT:
        weir_pack_ext(packer, field->ext_type, view);
        break;
    default:
        assert(field->type == WEIR_RECORD_RAW);
        if (view.size == 0)
            weir_pack_fail(packer, -EINVAL);
        else
            weir_pack_raw(packer, view);
    }
}

static void pack_enum(struct weir_packer *packer, const struct weir_record_field *field,
                      const uint8_t *member)
{
    int32_t number;

    memcpy(&number, member, sizeof number);
    if (weir_record_enum_name(field->values, number) == NULL)
        weir_pack_fail(packer, -EINVAL);
    else
        weir_pack_int(packer, number);
}

void weir__record_pack_value(struct weir_packer *packer, const struct weir_record_field *field,
                             const uint8_t *member)
{
    struct weir_timestamp timestamp;
    struct weir_view view;
    double f64;
    float f32;

    switch (field->type) {
    case WEIR_RECORD_BOOL:
        weir_pack_bool(packer, *member != 0);
        break;
    case WEIR_RECORD_U8:
    case WEIR_RECORD_U16:
    case WEIR_RECORD_U32:
    case WEIR_RECORD_U64:
        weir_pack_uint(packer, load_integer(field, member));
        break;
    case WEIR_RECORD_I8:
    case WEIR_RECORD_I16:
    case WEIR_RECORD_I32:
    case WEIR_RECORD_I64:
        weir_pack_int(packer, (int64_t)load_integer(field, member));
        break;
    case WEIR_RECORD_F32:
        memcpy(&f32, member, sizeof f32);
        weir_pack_f32(packer, f32);
        break;
    case WEIR_RECORD_F64:
        memcpy(&f64, member, sizeof f64);
        weir_pack_f64(packer, f64);
        break;
    case WEIR_RECORD_TIMESTAMP:
        memcpy(&timestamp, member, sizeof timestamp);
        weir_pack_timestamp(packer, timestamp.seconds, timestamp.nanoseconds);
        break;
    case WEIR_RECORD_CHARS:
        weir_pack_str(packer, weir_record_chars((const char *)member, field->size));
        break;
    case WEIR_RECORD_BYTES:
        weir_pack_bin(packer, weir_view_of(member, field->size));
        break;
    case WEIR_RECORD_NESTED:
        weir_record_pack(packer, field->nested, member);
        break;
    case WEIR_RECORD_ENUM:
        pack_enum(packer, field, member);
        break;
    case WEIR_RECORD_ARRAY_OF:
        weir__record_pack_array(packer, field->element, member);
        break;
    default:
        memcpy(&view, member, sizeof view);
        pack_view(packer, field, view);
    }
}

static unsigned count_written(const struct weir_record *schema, uint64_t present)
{
    unsigned count = schema->count;

    for (unsigned i = 0; i < schema->count && schema->is_map; i++)
        count -= is_optional(&schema->fields[i]) && (present & WEIR_RECORD_BIT(i)) == 0;
    return count;
}

void weir_record_pack(struct weir_packer *packer, const struct weir_record *schema,
                      const void *record)
{
    struct weir_packer local = *packer;
    uint64_t present = present_of(record);

    if (schema->is_map)
        weir_pack_map(&local, count_written(schema, present));
    else
        weir_pack_array(&local, schema->count);
    for (unsigned i = 0; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        bool absent = is_optional(field) && (present & WEIR_RECORD_BIT(i)) == 0;
        if (absent && schema->is_map)
            continue;
        if (schema->is_map)
            weir_pack_str(&local, weir_view_of(field->key, field->key_bytes));
        if (absent)
            weir_pack_nil(&local);
        else
            weir__record_pack_value(&local, field, (const uint8_t *)record + field->offset);
    }
    /* One value, whole, whatever a raw may have left uncounted. */
    local.values = packer->values + 1;
    local.uncounted = packer->uncounted;
    *packer = local;
}

/* --- unpacking ------------------------------------------------------------------------------- */

int weir__record_fail_at(struct weir_unpacker *u, const struct weir_unpacker *start, int error)
{
    *u = *start;
    return weir__unpack_fail(u, error);
}

int weir__record_tell(const struct weir_unpacker *u, const struct weir__record_place *place)
{
    if (place->ret != NULL && u->error != 0) {
        place->ret->error = u->error;
        place->ret->offset = weir_unpack_offset(u);
        place->ret->record = place->schema;
        place->ret->field = place->field;
    }
    return u->error;
}

/* The same of no field's value. */
static int tell(const struct weir_unpacker *u, const struct weir_record *schema,
                struct weir_record_fault *ret)
{
    const struct weir__record_place place = {schema, NULL, ret};

    return weir__record_tell(u, &place);
}

/* An integer that fits the member; inlined with constants, so that a type is one jump. */
WEIR_ALWAYS_INLINE int unpack_unsigned(struct weir_unpacker *u, size_t size, uint8_t *member)
{
    const uint64_t max = UINT64_MAX >> (64 - 8 * size);
    uint64_t value;

    if (WEIR_UNLIKELY(!weir_unpack_uint_fast(u, max, &value)))
        return weir_unpack_uint_slow(u, max, size, member);
    store_integer(member, value, size);
    return 0;
}

WEIR_ALWAYS_INLINE int unpack_signed(struct weir_unpacker *u, size_t size, uint8_t *member)
{
    const int64_t max = (int64_t)(UINT64_MAX >> (65 - 8 * size));
    int64_t value;

    if (WEIR_UNLIKELY(!weir_unpack_int_fast(u, -max - 1, max, &value)))
        return weir_unpack_int_slow(u, -max - 1, max, size, member);
    store_integer(member, (uint64_t)value, size);
    return 0;
}

/* A str or bin into an array of the struct. */
static int unpack_copied(struct weir_unpacker *u, const struct weir_record_field *field,
                         uint8_t *member)
{
    struct weir_unpacker start = *u;
    bool is_chars = field->type == WEIR_RECORD_CHARS;
    struct weir_view view;

    if ((is_chars ? weir_unpack_str(u, &view) : weir_unpack_bin(u, &view)) != 0)
        return u->error;
    if (is_chars && view.size > field->size)
        return weir__record_fail_at(u, &start, -EOVERFLOW);
    if (!is_chars && view.size != field->size)
        return weir__record_fail_at(u, &start, -EPROTO);
    if (member == NULL)
        return 0;
    memset(member, 0, field->size);
    if (view.size != 0)
        memcpy(member, view.data, view.size);
    return 0;
}

static int unpack_enum(struct weir_unpacker *u, const struct weir_record_field *field,
                       uint8_t *member)
{
    struct weir_unpacker start = *u;
    struct weir_value value;

    if (weir_unpack_next(u, &value) != 0)
        return u->error;
    if (value.type != WEIR_TYPE_UINT && value.type != WEIR_TYPE_INT)
        return weir__record_fail_at(u, &start, -EPROTO);
    if ((value.type == WEIR_TYPE_UINT && value.as.u64 > INT32_MAX) ||
        weir_record_enum_name(field->values, value.as.i64) == NULL)
        return WEIR__RECORD_UNKNOWN;
    int32_t number = (int32_t)value.as.i64;
    memcpy(member, &number, sizeof number);
    return 0;
}

static int unpack_view(struct weir_unpacker *u, const struct weir_record_field *field,
                       uint8_t *member)
{
    struct weir_unpacker start = *u;
    struct weir_view view = {NULL, 0};
    int8_t ext_type = field->ext_type;

    switch (field->type) {
    case WEIR_RECORD_BIN:
        weir_unpack_bin(u, &view);
        break;
    case WEIR_RECORD_EXT:
        weir_unpack_ext(u, &ext_type, &view);
        break;
    default:
        assert(field->type == WEIR_RECORD_RAW);
        weir_unpack_raw(u, &view);
    }
    if (u->error != 0)
        return u->error;
    if (ext_type != field->ext_type)
        return weir__record_fail_at(u, &start, -EPROTO);
    memcpy(member, &view, sizeof view);
    return 0;
}

/* Types that are of one value, and into memory of at least 16 bytes that are not an array. */
static int unpack_leaf(struct weir_unpacker *u, const struct weir_record_field *field,
                       uint8_t *member)
{
    struct weir_timestamp timestamp;
    struct weir_view view;
    double f64;
    float f32;
    bool boolean;

    switch (field->type) {
    case WEIR_RECORD_BOOL:
        if (weir_unpack_bool(u, &boolean) == 0)
            memcpy(member, &boolean, sizeof boolean);
        return u->error;
    case WEIR_RECORD_F32:
        if (weir_unpack_f32(u, &f32) == 0)
            memcpy(member, &f32, sizeof f32);
        return u->error;
    case WEIR_RECORD_F64:
        if (weir_unpack_f64(u, &f64) == 0)
            memcpy(member, &f64, sizeof f64);
        return u->error;
    case WEIR_RECORD_TIMESTAMP:
        if (weir_unpack_timestamp(u, &timestamp) == 0)
            memcpy(member, &timestamp, sizeof timestamp);
        return u->error;
    case WEIR_RECORD_STR:
        if (weir_unpack_str(u, &view) == 0)
            memcpy(member, &view, sizeof view);
        return u->error;
    case WEIR_RECORD_BIN:
    case WEIR_RECORD_EXT:
    case WEIR_RECORD_RAW:
        return unpack_view(u, field, member);
    case WEIR_RECORD_ENUM:
        return unpack_enum(u, field, member);
    case WEIR_RECORD_U8:
        return unpack_unsigned(u, 1, member);
    case WEIR_RECORD_U16:
        return unpack_unsigned(u, 2, member);
    case WEIR_RECORD_U32:
        return unpack_unsigned(u, 4, member);
    case WEIR_RECORD_U64:
        return unpack_unsigned(u, 8, member);
    case WEIR_RECORD_I8:
        return unpack_signed(u, 1, member);
    case WEIR_RECORD_I16:
        return unpack_signed(u, 2, member);
    case WEIR_RECORD_I32:
        return unpack_signed(u, 4, member);
    default:
        assert(field->type == WEIR_RECORD_I64);
        return unpack_signed(u, 8, member);
    }
}

int weir__record_unpack_value(struct weir_unpacker *u, const struct weir_record_field *field,
                              uint8_t *member, const struct weir__record_place *place)
{
    uint8_t scratch[sizeof(struct weir_view) + sizeof(struct weir_timestamp)];
    int rc;

    switch (field->type) {
    case WEIR_RECORD_NESTED:
        return weir_record_unpack(u, field->nested, member, place->ret);
    case WEIR_RECORD_ARRAY_OF:
        return weir__record_unpack_array(u, field->element, member, place);
    case WEIR_RECORD_CHARS:
    case WEIR_RECORD_BYTES:
        rc = unpack_copied(u, field, member);
        break;
    default:
        rc = unpack_leaf(u, field, member != NULL ? member : scratch);
    }
    return rc < 0 ? weir__record_tell(u, place) : rc;
}

/*
 * Read the value of field @index, if it is not nil for missing, and set its bit in @present.
 * @record NULL: only look at it.
 */
static int unpack_field(struct weir_unpacker *u, const struct weir_record *schema, unsigned index,
                        uint8_t *record, uint64_t *present, struct weir_record_fault *ret_fault)
{
    const struct weir_record_field *field = &schema->fields[index];
    const struct weir__record_place place = {schema, field, ret_fault};
    struct weir_unpacker start = *u;
    enum weir_type type;

    if (field->presence != WEIR_RECORD_REQUIRED && weir_unpack_peek(u, &type) == 0 &&
        type == WEIR_TYPE_NIL)
        return weir_unpack_nil(u) == 0 ? 0 : weir__record_tell(u, &place);
    int rc =
        weir__record_unpack_value(u, field, record != NULL ? record + field->offset : NULL, &place);
    if (rc == WEIR__RECORD_UNKNOWN) {
        if (field->presence != WEIR_RECORD_REQUIRED)
            return 0;
        weir__record_fail_at(u, &start, -EPROTO);
        return weir__record_tell(u, &place);
    }
    *present |= WEIR_RECORD_BIT(index);
    return rc;
}

/* Whether @field has @key, which begins with @first; one test for what nearly always tells. */
static inline bool has_key(const struct weir_record_field *field, struct weir_view key,
                           unsigned first)
{
    const uint8_t *ours = (const uint8_t *)field->key;

    if (((field->key_bytes ^ key.size) | (ours[0] ^ first)) != 0)
        return false;
    if (key.size >= 8)
        return memcmp(ours, key.data, key.size) == 0;
    if (key.size >= 4)
        return ((weir_record_load32(ours) ^ weir_record_load32(key.data)) |
                (weir_record_load32(ours + key.size - 4) ^
                 weir_record_load32(key.data + key.size - 4))) == 0;
    return key.size < 2 || (ours[1] == key.data[1] && ours[key.size - 1] == key.data[key.size - 1]);
}

/*
 * Pass over the key that comes next, for the index of the field that has it, schema->count if none
 * of @wanted has. @expected is the field that would be next in order, a guess that is mostly right.
 */
static int unpack_key(struct weir_unpacker *u, const struct weir_record *schema, uint64_t wanted,
                      unsigned expected, unsigned *ret)
{
    enum weir_type type;
    struct weir_view key;

    *ret = schema->count;
    if (weir_unpack_left(u) == 0 || (u->pos[0] & 0xe0u) != WEIR_TAG_FIXSTR) {
        int rc = weir_unpack_peek(u, &type);
        if (rc != 0 || type != WEIR_TYPE_STR)
            return weir_unpack_skip(u);
    }
    if (weir_unpack_str(u, &key) != 0)
        return u->error;
    unsigned first = key.size != 0 ? key.data[0] : 0;
    if ((wanted >> expected & 1) != 0 && has_key(&schema->fields[expected], key, first)) {
        *ret = expected;
        return 0;
    }
    for (; wanted != 0; wanted &= wanted - 1) {
        unsigned index = (unsigned)__builtin_ctzll(wanted);
        if (has_key(&schema->fields[index], key, first)) {
            *ret = index;
            break;
        }
    }
    return 0;
}

static int unpack_map(struct weir_unpacker *u, const struct weir_record *schema, uint8_t *record,
                      uint64_t *present, struct weir_record_fault *ret_fault)
{
    uint64_t seen = 0;
    unsigned next = 0;
    uint32_t pairs;

    if (weir_unpack_map(u, &pairs) != 0)
        return tell(u, schema, ret_fault);
    for (; pairs != 0; pairs--) {
        unsigned index;
        int rc = unpack_key(u, schema, weir_record_all(schema->count) & ~seen, next, &index);
        if (rc != 0)
            return tell(u, schema, ret_fault);
        if (index == schema->count) { /* unknown, or a second time */
            if (weir_unpack_skip(u) != 0)
                return tell(u, schema, ret_fault);
            continue;
        }
        seen |= WEIR_RECORD_BIT(index);
        rc = unpack_field(u, schema, index, record, present, ret_fault);
        if (rc != 0)
            return rc;
        next = index + 1 < schema->count ? index + 1 : 0;
    }
    return 0;
}

static int unpack_array(struct weir_unpacker *u, const struct weir_record *schema, uint8_t *record,
                        uint64_t *present, struct weir_record_fault *ret_fault)
{
    uint32_t count;

    if (weir_unpack_array(u, &count) != 0)
        return tell(u, schema, ret_fault);
    for (uint32_t i = 0; i < count; i++) {
        if (i >= schema->count) {
            if (weir_unpack_skip(u) != 0)
                return tell(u, schema, ret_fault);
            continue;
        }
        int rc = unpack_field(u, schema, i, record, present, ret_fault);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int weir_record_unpack(struct weir_unpacker *unpacker, const struct weir_record *schema, void *ret,
                       struct weir_record_fault *ret_fault)
{
    struct weir_unpacker start = *unpacker;
    struct weir_unpacker u = start;
    uint64_t present = 0;
    int rc = schema->is_map ? unpack_map(&u, schema, (uint8_t *)ret, &present, ret_fault)
                            : unpack_array(&u, schema, (uint8_t *)ret, &present, ret_fault);

    uint64_t missing = schema->required & ~present;
    if (rc == 0 && missing != 0) {
        const struct weir__record_place place = {schema, &schema->fields[__builtin_ctzll(missing)],
                                                 ret_fault};
        weir__record_fail_at(&u, &start, -ENOENT);
        rc = weir__record_tell(&u, &place);
    }
    if (rc == 0 && ret != NULL)
        memcpy(ret, &present, sizeof present);
    *unpacker = u;
    return rc;
}

int weir_record_decode_slow(struct weir_view input, const struct weir_limits *limits,
                            const struct weir_record *schema, void *ret,
                            struct weir_record_fault *ret_fault)
{
    struct weir_unpacker u;

    weir_unpack_init(&u, input, limits);
    int rc = weir_record_unpack(&u, schema, ret, ret_fault);
    if (rc == 0 && weir_unpack_end(&u) != 0)
        rc = tell(&u, schema, ret_fault);
    return rc;
}

/* --- the description itself ------------------------------------------------------------------ */

const struct weir_record_field *weir_record_find(const struct weir_record *schema,
                                                 struct weir_view key)
{
    for (unsigned i = 0; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        if (weir_view_equal(weir_view_of(field->key, field->key_bytes), key))
            return field;
    }
    return NULL;
}

int weir_record_check(const struct weir_record *schema, const struct weir_record_field **ret)
{
    for (unsigned i = 0; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        struct weir_view key = weir_view_of(field->key, field->key_bytes);
        if (schema->is_map && weir_record_find(schema, key) != field) {
            if (ret != NULL)
                *ret = field;
            return -EINVAL;
        }
        const struct weir_record_field *value = field->element != NULL ? field->element : field;
        int rc = value->nested != NULL ? weir_record_check(value->nested, ret) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static uint64_t hash_byte(uint64_t hash, unsigned byte)
{
    return (hash ^ byte) * FNV_PRIME;
}

/* A number in 4 bytes. */
static uint64_t hash_number(uint64_t hash, uint32_t number)
{
    for (unsigned i = 0; i < 4; i++)
        hash = hash_byte(hash, (uint8_t)(number >> (8 * i)));
    return hash;
}

static uint64_t hash_record(uint64_t hash, const struct weir_record *schema);

/* What a value is, and what is in it. */
static uint64_t hash_value(uint64_t hash, const struct weir_record_field *field)
{
    if (field->nested != NULL)
        hash = hash_record(hash, field->nested);
    if (field->values != NULL) {
        hash = hash_number(hash, (uint32_t)field->values->count);
        for (size_t i = 0; i < field->values->count; i++)
            hash = hash_number(hash, (uint32_t)field->values->values[i].number);
    }
    if (field->element != NULL)
        hash = hash_value(hash_byte(hash, field->element->type), field->element);
    return hash;
}

static uint64_t hash_record(uint64_t hash, const struct weir_record *schema)
{
    hash = hash_byte(hash_byte(hash, schema->is_map), schema->count);
    for (unsigned i = 0; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        bool is_sized = field->type == WEIR_RECORD_CHARS || field->type == WEIR_RECORD_BYTES;
        hash = hash_byte(hash_byte(hash, field->type), field->presence);
        hash = hash_byte(hash, (uint8_t)field->ext_type);
        hash = hash_number(hash, is_sized ? (uint32_t)field->size : 0);
        if (schema->is_map) {
            hash = hash_byte(hash, (unsigned)field->key_bytes);
            for (size_t k = 0; k < field->key_bytes; k++)
                hash = hash_byte(hash, (uint8_t)field->key[k]);
        }
        hash = hash_value(hash, field);
    }
    return hash;
}

uint64_t weir_record_fingerprint(const struct weir_record *schema)
{
    return hash_record(FNV_BASIS, schema);
}

const char *weir_record_type_name(enum weir_record_type type)
{
    static const char *const names[] = {"?",         "bool", "u8",   "u16",   "u32",   "u64",
                                        "i8",        "i16",  "i32",  "i64",   "f32",   "f64",
                                        "timestamp", "str",  "bin",  "chars", "bytes", "ext",
                                        "record",    "raw",  "enum", "array"};

    return (unsigned)type < sizeof names / sizeof names[0] ? names[type] : names[0];
}
