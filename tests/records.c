/* SPDX-License-Identifier: MIT */
#include "records.h"

#include <stdlib.h>
#include <string.h>

#include <weir/check.h>

#define KIND(R)                                                                                    \
    static void R##_init_any(void *ret)                                                            \
    {                                                                                              \
        R##_init((struct R *)ret);                                                                 \
    }                                                                                              \
    static void R##_pack_any(struct weir_packer *packer, const void *record)                       \
    {                                                                                              \
        R##_pack(packer, (const struct R *)record);                                                \
    }                                                                                              \
    static int R##_unpack_any(struct weir_unpacker *u, void *ret, struct weir_record_fault *fault) \
    {                                                                                              \
        return R##_unpack(u, (struct R *)ret, fault);                                              \
    }                                                                                              \
    static int R##_decode_any(struct weir_view input, void *ret, struct weir_record_fault *fault)  \
    {                                                                                              \
        return R##_decode(input, NULL, (struct R *)ret, fault);                                    \
    }                                                                                              \
    static const struct kind R##_kind = {                                                          \
        &R##_schema, R##_init_any, R##_pack_any, R##_unpack_any, R##_decode_any};

KIND(tick)
KIND(tick2)
KIND(tick0)
KIND(all)
KIND(maybe)
KIND(point)
KIND(one)
KIND(lone)
KIND(leg)
KIND(basket)
KIND(path)

const struct kind *const records_kinds[RECORDS_KINDS] = {&tick_kind,
                                                         &tick2_kind,
                                                         &tick0_kind,
                                                         &all_kind,
                                                         &maybe_kind,
                                                         &point_kind,
                                                         &one_kind,
                                                         &lone_kind,
                                                         &leg_kind,
                                                         &basket_kind,
                                                         &path_kind};

/* --- fixed layouts --------------------------------------------------------------------------- */

static void place_of_ref(struct place *ret, struct place_ref ref)
{
    ret->present = place_present(&ref);
    ret->x = place_get_x(&ref);
    ret->y = place_get_y(&ref);
}

static void place_of_pointer(struct place *ret, const struct place *place)
{
    *ret = *place;
}

static void flat_get(const struct flat_ref *ref, struct flat *ret);

static void flat_of_ref(struct flat *ret, struct flat_ref ref)
{
    flat_get(&ref, ret);
}

#define GET(R, type, ...) GET_FIELD(R, GET_##type, __VA_ARGS__, ~)
#define GET_FIELD(R, get, name, ...) get(R, name)
#define GET_VALUE(R, name) ret->name = R##_get_##name(ref);
#define GET_COPY(R, name)                    \
    memset(ret->name, 0, sizeof(ret->name)); \
    if (R##_get_##name(ref).size != 0)       \
        memcpy(ret->name, R##_get_##name(ref).data, R##_get_##name(ref).size);
#define GET_bool GET_VALUE
#define GET_u8 GET_VALUE
#define GET_u16 GET_VALUE
#define GET_u32 GET_VALUE
#define GET_u64 GET_VALUE
#define GET_i8 GET_VALUE
#define GET_i16 GET_VALUE
#define GET_i32 GET_VALUE
#define GET_i64 GET_VALUE
#define GET_f32 GET_VALUE
#define GET_f64 GET_VALUE
#define GET_timestamp GET_VALUE
#define GET_str GET_VALUE
#define GET_bin GET_VALUE
#define GET_raw GET_VALUE
#define GET_ext(type) GET_VALUE
#define GET_chars(size) GET_COPY
#define GET_bytes(size) GET_COPY
#define GET_record(other) GET_NESTED
#define GET_NESTED(R, name) \
    _Generic((R##_get_##name(ref)),                \
             struct place_ref: place_of_ref,       \
             struct flat_ref: flat_of_ref,         \
             const struct place *: place_of_pointer)(&ret->name, R##_get_##name(ref));

#define FIXED_KIND(R, FIELDS)                                                          \
    KIND(R)                                                                            \
    static void R##_get(const struct R##_ref *ref, struct R *ret)                      \
    {                                                                                  \
        ret->present = R##_present(ref);                                               \
        FIELDS(GET, R)                                                                 \
    }                                                                                  \
    static void R##_get_any(const union any_ref *ref, void *ret)                       \
    {                                                                                  \
        R##_get(&ref->R, (struct R *)ret);                                             \
    }                                                                                  \
    static void R##_pack_fixed_any(struct weir_packer *packer, const void *record)     \
    {                                                                                  \
        R##_pack_fixed(packer, (const struct R *)record);                              \
    }                                                                                  \
    static int R##_unpack_fixed_any(                                                   \
        struct weir_unpacker *u, void *ret, struct weir_record_fault *fault)           \
    {                                                                                  \
        return R##_unpack_fixed(u, (struct R *)ret, fault);                            \
    }                                                                                  \
    static int R##_decode_fixed_any(                                                   \
        struct weir_view input, void *ret, struct weir_record_fault *fault)            \
    {                                                                                  \
        return R##_decode_fixed(input, NULL, (struct R *)ret, fault);                  \
    }                                                                                  \
    static int R##_open_any(struct weir_view input, union any_ref *ret)                \
    {                                                                                  \
        return R##_open(input, &ret->R);                                               \
    }                                                                                  \
    static int R##_open_next_any(struct weir_unpacker *u, union any_ref *ret)          \
    {                                                                                  \
        return R##_open_next(u, &ret->R);                                              \
    }                                                                                  \
    static const struct fixed_kind R##_fixed_kind = {&R##_kind,                        \
                                                     R##_pack_fixed_any,               \
                                                     R##_unpack_fixed_any,             \
                                                     R##_decode_fixed_any,             \
                                                     R##_open_any,                     \
                                                     R##_open_next_any,                \
                                                     R##_get_any,                      \
                                                     (const uint8_t *)&R##_weir_holes, \
                                                     R##_fixed_bytes};

FIXED_KIND(flat, FLAT_FIELDS)
FIXED_KIND(mixed, MIXED_FIELDS)
FIXED_KIND(dot, DOT_FIELDS)
FIXED_KIND(wide, WIDE_FIELDS)
FIXED_KIND(bit, BIT_FIELDS)

const struct fixed_kind *const records_fixed_kinds[RECORDS_FIXED_KINDS] = {
    &flat_fixed_kind, &mixed_fixed_kind, &dot_fixed_kind, &wide_fixed_kind, &bit_fixed_kind};

/* --- an oracle: the cursor, told by the schema ------------------------------------------------ */

static bool oracle(const struct weir_record *schema, struct weir_view input, uint8_t *record);

static bool oracle_integer(const struct weir_record_field *field, const struct weir_value *value,
                           uint8_t *member)
{
    unsigned bits = 8 * (unsigned)field->size;
    uint64_t number = value->as.u64;

    if (value->type != WEIR_TYPE_UINT && value->type != WEIR_TYPE_INT)
        return false;
    if (field->type < WEIR_RECORD_I8) {
        if (value->type != WEIR_TYPE_UINT || number > UINT64_MAX >> (64 - bits))
            return false;
    } else {
        int64_t max = (int64_t)(UINT64_MAX >> (65 - bits));
        if (value->type == WEIR_TYPE_UINT ? number > (uint64_t)max : value->as.i64 < -max - 1)
            return false;
    }
    const uint8_t *from = (const uint8_t *)&number;
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    from += sizeof(number) - field->size;
#endif
    memcpy(member, from, field->size);
    return true;
}

static bool oracle_value(const struct weir_record_field *field, struct weir_view raw,
                         const struct weir_value *value, uint8_t *member);

/* Whether it is an integer that the enum has no name for. */
static bool oracle_unknown(const struct weir_record_field *field, const struct weir_value *value)
{
    if (field->values == NULL || (value->type != WEIR_TYPE_UINT && value->type != WEIR_TYPE_INT))
        return false;
    for (size_t i = 0; i < field->values->count; i++) {
        int64_t number = field->values->values[i].number;
        if (number < 0 ? value->type == WEIR_TYPE_INT && value->as.i64 == number
                       : value->type == WEIR_TYPE_UINT && value->as.u64 == (uint64_t)number)
            return false;
    }
    return true;
}

static bool oracle_array(const struct weir_record_field *element, struct weir_view raw,
                         uint8_t *member)
{
    struct weir_record_array array = {NULL, 0, raw, NULL};
    struct weir_unpacker u, at;
    uint32_t count;
    union any scratch;

    weir_unpack_init(&u, raw, NULL);
    if (weir_unpack_array(&u, &count) != 0)
        return false;
    for (; array.count < count; array.count++) {
        struct weir_view each;
        struct weir_value value;
        weir_unpack_raw(&u, &each);
        weir_unpack_init(&at, each, NULL);
        weir_unpack_next(&at, &value);
        if (!oracle_value(element, each, &value, (uint8_t *)&scratch))
            return false;
    }
    memcpy(member, &array, sizeof(array));
    return true;
}

static bool oracle_value(const struct weir_record_field *field, struct weir_view raw,
                         const struct weir_value *value, uint8_t *member)
{
    struct weir_timestamp when;
    double f64;

    switch (field->type) {
    case WEIR_RECORD_BOOL:
        *member = value->type == WEIR_TYPE_BOOL && value->as.boolean;
        return value->type == WEIR_TYPE_BOOL;
    case WEIR_RECORD_F32:
        if (value->type == WEIR_TYPE_F32)
            memcpy(member, &value->as.f32, sizeof(value->as.f32));
        return value->type == WEIR_TYPE_F32;
    case WEIR_RECORD_F64:
        f64 = value->type == WEIR_TYPE_F32 ? (double)value->as.f32 : value->as.f64;
        memcpy(member, &f64, sizeof(f64));
        return value->type == WEIR_TYPE_F32 || value->type == WEIR_TYPE_F64;
    case WEIR_RECORD_TIMESTAMP:
        if (value->type != WEIR_TYPE_EXT || value->ext_type != -1 ||
            weir_timestamp_decode(value->as.bytes, &when) != 0)
            return false;
        memcpy(member, &when, sizeof(when));
        return true;
    case WEIR_RECORD_CHARS:
        if (value->type != WEIR_TYPE_STR || value->as.bytes.size > field->size)
            return false;
        memset(member, 0, field->size);
        memcpy(member, value->as.bytes.data, value->as.bytes.size);
        return true;
    case WEIR_RECORD_BYTES:
        if (value->type != WEIR_TYPE_BIN || value->as.bytes.size != field->size)
            return false;
        memcpy(member, value->as.bytes.data, field->size);
        return true;
    case WEIR_RECORD_STR:
    case WEIR_RECORD_BIN:
        memcpy(member, &value->as.bytes, sizeof(value->as.bytes));
        return value->type == (field->type == WEIR_RECORD_STR ? WEIR_TYPE_STR : WEIR_TYPE_BIN);
    case WEIR_RECORD_EXT:
        memcpy(member, &value->as.bytes, sizeof(value->as.bytes));
        return value->type == WEIR_TYPE_EXT && value->ext_type == field->ext_type;
    case WEIR_RECORD_RAW:
        memcpy(member, &raw, sizeof(raw));
        return true;
    case WEIR_RECORD_NESTED:
        return oracle(field->nested, raw, member);
    case WEIR_RECORD_ENUM:
        return !oracle_unknown(field, value) && oracle_integer(field, value, member);
    case WEIR_RECORD_ARRAY_OF:
        return oracle_array(field->element, raw, member);
    default:
        return oracle_integer(field, value, member);
    }
}

/* The bytes of the value of field @i; false: there is none. */
static bool oracle_find(const struct weir_record *schema, unsigned i, struct weir_view input,
                        struct weir_view *ret)
{
    struct weir_unpacker u;
    uint32_t count;

    weir_unpack_init(&u, input, NULL);
    if (schema->is_map) {
        const struct weir_record_field *field = &schema->fields[i];
        if (weir_unpack_find(&u, weir_view_of(field->key, field->key_bytes)) != 0)
            return false;
    } else {
        if (weir_unpack_array(&u, &count) != 0 || i >= count)
            return false;
        for (unsigned before = 0; before < i; before++)
            weir_unpack_skip(&u);
    }
    return weir_unpack_raw(&u, ret) == 0;
}

/* Whether all of @input is a record, and which. */
static bool oracle(const struct weir_record *schema, struct weir_view input, uint8_t *record)
{
    const struct weir_limits deep = {.depth = WEIR_DEPTH_MAX};
    struct weir_unpacker u;
    struct weir_value value;
    uint64_t values, present = 0;

    weir_unpack_init(&u, input, NULL);
    if (weir_check(input, &deep, NULL) != 0 || weir_unpack_left_values(&u, &values) != 0 ||
        values != 1 || weir_unpack_next(&u, &value) != 0 ||
        value.type != (schema->is_map ? WEIR_TYPE_MAP : WEIR_TYPE_ARRAY))
        return false;
    for (unsigned i = 0; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        struct weir_view raw;
        bool found = oracle_find(schema, i, input, &raw);
        if (found) {
            weir_unpack_init(&u, raw, NULL);
            weir_unpack_next(&u, &value);
            found = (value.type != WEIR_TYPE_NIL && !oracle_unknown(field, &value)) ||
                    field->presence == WEIR_RECORD_REQUIRED;
        }
        if (found && !oracle_value(field, raw, &value, record + field->offset))
            return false;
        if (!found && field->presence == WEIR_RECORD_REQUIRED)
            return false;
        present |= (uint64_t)found << i;
    }
    memcpy(record, &present, sizeof(present));
    return true;
}

/* --- all ways -------------------------------------------------------------------------------- */

static bool pack_walking(struct weir_buf *buf, const struct weir_record *schema, const void *record,
                         struct weir_view *ret)
{
    struct weir_packer packer;

    weir_pack_begin(&packer, buf, 0);
    weir_record_pack(&packer, schema, record);
    return weir_pack_end(&packer, ret) == 0;
}

bool records_equal(struct weir_buf *buf, const struct weir_record *schema, const void *a,
                   const void *b)
{
    struct weir_view first, second;
    bool equal = pack_walking(buf, schema, a, &first) && pack_walking(buf, schema, b, &second) &&
                 weir_view_equal(first, second) && memcmp(a, b, sizeof(uint64_t)) == 0;

    weir_buf_reset(buf);
    return equal;
}

static const char *compare(struct weir_buf *buf, const struct kind *kind, struct weir_view input)
{
    struct weir_record_fault fault = {0, 0, NULL, NULL}, walked_fault = {0, 0, NULL, NULL};
    struct weir_unpacker u, w;
    union any expected, walked, oracled;

    kind->init(&expected);
    kind->init(&walked);
    kind->init(&oracled);
    weir_unpack_init(&u, input, NULL);
    weir_unpack_init(&w, input, NULL);
    int rc = kind->unpack(&u, &expected, &fault);
    if (rc != weir_record_unpack(&w, kind->schema, &walked, &walked_fault))
        return "error";
    if (weir_unpack_offset(&u) != weir_unpack_offset(&w))
        return "offset";
    if (u.elements_left != w.elements_left)
        return "elements";
    if (fault.error != walked_fault.error || fault.offset != walked_fault.offset ||
        fault.field != walked_fault.field || fault.error != rc ||
        (rc != 0 && (fault.record == NULL || fault.offset != weir_unpack_offset(&u))))
        return "fault";
    if (rc == 0 && !records_equal(buf, kind->schema, &expected, &walked))
        return "record, of the schema";
    bool accepted = rc == 0 && weir_unpack_end(&u) == 0;
    if ((kind->decode(input, &walked, &fault) == 0) != accepted)
        return "what is all of the input";
    if (oracle(kind->schema, input, (uint8_t *)&oracled) != accepted)
        return "what the oracle accepts";
    if (accepted && !records_equal(buf, kind->schema, &expected, &oracled))
        return "record, of the oracle";
    return NULL;
}

/* Bytes of the input's size and place of their own: what reads beyond them is found. */
static uint8_t *copy_of(struct weir_view input)
{
    uint8_t *copy = (uint8_t *)malloc(input.size != 0 ? input.size : 1);

    if (copy != NULL && input.size != 0)
        memcpy(copy, input.data, input.size);
    return copy;
}

const char *records_compare(struct weir_buf *buf, const struct kind *kind, struct weir_view input)
{
    uint8_t *copy = copy_of(input);

    if (copy == NULL)
        return NULL;
    const char *differs = compare(buf, kind, weir_view_of(copy, input.size));
    free(copy);
    return differs;
}

static bool same_fault(const struct weir_record_fault *a, const struct weir_record_fault *b)
{
    return a->error == b->error && a->offset == b->offset && a->record == b->record &&
           a->field == b->field;
}

/* Where a cursor reads one after another. */
static const char *compare_fixed_cursor(struct weir_buf *buf, const struct fixed_kind *fixed,
                                        struct weir_view input)
{
    struct weir_record_fault fault = {0, 0, NULL, NULL}, wanted_fault = fault;
    struct weir_unpacker u, w, o;
    union any read, wanted;
    union any_ref ref;

    weir_unpack_init(&u, input, NULL);
    weir_unpack_init(&w, input, NULL);
    weir_unpack_init(&o, input, NULL);
    int rc = fixed->kind->unpack(&w, &wanted, &wanted_fault);
    if (fixed->unpack(&u, &read, &fault) != rc || !same_fault(&fault, &wanted_fault))
        return "error";
    if (u.pos != w.pos || u.elements_left != w.elements_left)
        return "place or elements";
    if (rc == 0 && !records_equal(buf, fixed->kind->schema, &read, &wanted))
        return "record";
    struct weir_unpacker before = o;
    if (fixed->open_next(&o, &ref) != 0)
        return memcmp(&o, &before, sizeof(o)) == 0 ? NULL : "cursor";
    if (rc != 0 || o.pos != w.pos || o.elements_left != w.elements_left)
        return "place or elements of what was opened";
    fixed->get(&ref, &read);
    return records_equal(buf, fixed->kind->schema, &read, &wanted) ? NULL : "fields of the next";
}

static const char *compare_fixed(struct weir_buf *buf, const struct fixed_kind *fixed,
                                 struct weir_view input, bool *ret_opened)
{
    struct weir_record_fault fault = {0, 0, NULL, NULL}, wanted_fault = fault;
    union any read, wanted;
    union any_ref ref;

    int rc = fixed->kind->decode(input, &wanted, &wanted_fault);
    if (fixed->decode(input, &read, &fault) != rc || !same_fault(&fault, &wanted_fault))
        return "error of the whole";
    if (rc == 0 && !records_equal(buf, fixed->kind->schema, &read, &wanted))
        return "whole";
    memset(&ref, 0x5a, sizeof(ref));
    union any_ref before = ref;
    *ret_opened = fixed->open(input, &ref) == 0;
    if (!*ret_opened && memcmp(&ref, &before, sizeof(ref)) != 0)
        return "reference that was refused";
    if (*ret_opened) {
        if (rc != 0 || ref.message.data != input.data || ref.message.size != input.size)
            return "what is opened";
        fixed->get(&ref, &read);
        if (!records_equal(buf, fixed->kind->schema, &read, &wanted))
            return "fields";
    }
    return compare_fixed_cursor(buf, fixed, input);
}

const char *records_fixed_compare(struct weir_buf *buf, const struct fixed_kind *fixed,
                                  struct weir_view input, bool *ret_opened)
{
    uint8_t *copy = copy_of(input);

    *ret_opened = false;
    if (copy == NULL)
        return NULL;
    const char *differs = compare_fixed(buf, fixed, weir_view_of(copy, input.size), ret_opened);
    free(copy);
    return differs;
}
