/* SPDX-License-Identifier: MIT */
/*
 * record_array: arrays within records, where their elements are known by a description only. What
 * numbers and strs can be done with at once is left to bulk.
 */
#include <assert.h>

#include "weir/bulk.h"
#include "weir/record_array.h"
#include "record_private.h"
#include "unpack_private.h"

#define ELEMENT(type, ctype) WEIR_RECORD_ELEMENT(type, sizeof(ctype), NULL, NULL)

const struct weir_record_field weir_record_elements[] = {
    [WEIR_RECORD_BOOL] = ELEMENT(WEIR_RECORD_BOOL, bool),
    [WEIR_RECORD_U8] = ELEMENT(WEIR_RECORD_U8, uint8_t),
    [WEIR_RECORD_U16] = ELEMENT(WEIR_RECORD_U16, uint16_t),
    [WEIR_RECORD_U32] = ELEMENT(WEIR_RECORD_U32, uint32_t),
    [WEIR_RECORD_U64] = ELEMENT(WEIR_RECORD_U64, uint64_t),
    [WEIR_RECORD_I8] = ELEMENT(WEIR_RECORD_I8, int8_t),
    [WEIR_RECORD_I16] = ELEMENT(WEIR_RECORD_I16, int16_t),
    [WEIR_RECORD_I32] = ELEMENT(WEIR_RECORD_I32, int32_t),
    [WEIR_RECORD_I64] = ELEMENT(WEIR_RECORD_I64, int64_t),
    [WEIR_RECORD_F32] = ELEMENT(WEIR_RECORD_F32, float),
    [WEIR_RECORD_F64] = ELEMENT(WEIR_RECORD_F64, double),
    [WEIR_RECORD_TIMESTAMP] = ELEMENT(WEIR_RECORD_TIMESTAMP, struct weir_timestamp),
    [WEIR_RECORD_STR] = ELEMENT(WEIR_RECORD_STR, struct weir_view),
    [WEIR_RECORD_BIN] = ELEMENT(WEIR_RECORD_BIN, struct weir_view),
    [WEIR_RECORD_RAW] = ELEMENT(WEIR_RECORD_RAW, struct weir_view),
};

static struct weir_record_array array_at(const void *member)
{
    struct weir_record_array array;

    memcpy(&array, member, sizeof array);
    return array;
}

/* --- enums ----------------------------------------------------------------------------------- */

const char *weir_record_enum_name(const struct weir_record_enum *description, int64_t number)
{
    for (size_t i = 0; i < description->count; i++)
        if (description->values[i].number == number)
            return description->values[i].name;
    return NULL;
}

int weir_record_enum_find(const struct weir_record_enum *description, struct weir_view name,
                          int32_t *ret)
{
    for (size_t i = 0; i < description->count; i++) {
        if (weir_view_equal(weir_view_text(description->values[i].name), name)) {
            *ret = description->values[i].number;
            return 0;
        }
    }
    return -ENOENT;
}

/* --- packing --------------------------------------------------------------------------------- */

/* Element @index of an array that is in no MessagePack; NULL: its source has none. */
static const uint8_t *element_of(const struct weir_record_array *array,
                                 const struct weir_record_field *element, size_t index)
{
    if (array->items != NULL)
        return (const uint8_t *)array->items + index * element->size;
    return (const uint8_t *)array->source->get(array->source, index);
}

static void pack_each(struct weir_packer *packer, const struct weir_record_field *element,
                      const struct weir_record_array *array)
{
    struct weir_packer local = *packer;

    weir_pack_array(&local, array->count);
    for (size_t i = 0; i < array->count && weir_pack_error(&local) == 0; i++) {
        const uint8_t *at = element_of(array, element, i);
        if (at == NULL)
            weir_pack_fail(&local, -EINVAL);
        else
            weir__record_pack_value(&local, element, at);
    }
    *packer = local;
}

static void pack_items(struct weir_packer *packer, const struct weir_record_field *element,
                       const struct weir_record_array *array)
{
    const void *items = array->items;
    size_t count = array->count;

    switch (element->type) {
    case WEIR_RECORD_U8:
        weir_pack_array_u8(packer, (const uint8_t *)items, count);
        break;
    case WEIR_RECORD_U16:
        weir_pack_array_u16(packer, (const uint16_t *)items, count);
        break;
    case WEIR_RECORD_U32:
        weir_pack_array_u32(packer, (const uint32_t *)items, count);
        break;
    case WEIR_RECORD_U64:
        weir_pack_array_u64(packer, (const uint64_t *)items, count);
        break;
    case WEIR_RECORD_I8:
        weir_pack_array_i8(packer, (const int8_t *)items, count);
        break;
    case WEIR_RECORD_I16:
        weir_pack_array_i16(packer, (const int16_t *)items, count);
        break;
    case WEIR_RECORD_I32:
        weir_pack_array_i32(packer, (const int32_t *)items, count);
        break;
    case WEIR_RECORD_I64:
        weir_pack_array_i64(packer, (const int64_t *)items, count);
        break;
    case WEIR_RECORD_F32:
        weir_pack_array_f32(packer, (const float *)items, count);
        break;
    case WEIR_RECORD_F64:
        weir_pack_array_f64(packer, (const double *)items, count);
        break;
    case WEIR_RECORD_STR:
        weir_pack_array_str(packer, (const struct weir_view *)items, count);
        break;
    default:
        pack_each(packer, element, array);
    }
}

void weir__record_pack_array(struct weir_packer *packer, const struct weir_record_field *element,
                             const uint8_t *member)
{
    struct weir_record_array array = array_at(member);

    if (array.items != NULL)
        pack_items(packer, element, &array);
    else if (array.source != NULL)
        pack_each(packer, element, &array);
    else if (array.packed.size != 0)
        weir_pack_raw(packer, array.packed);
    else if (array.count == 0)
        weir_pack_array(packer, 0);
    else
        weir_pack_fail(packer, -EINVAL);
}

/* The most bytes of an element without its views' bytes; 0: that has to be looked at. */
static unsigned element_bytes_max(const struct weir_record_field *element)
{
    switch (element->type) {
    case WEIR_RECORD_BOOL:
        return 1;
    case WEIR_RECORD_F32:
    case WEIR_RECORD_STR:
    case WEIR_RECORD_BIN:
        return 5;
    case WEIR_RECORD_RAW:
    case WEIR_RECORD_ENUM:
    case WEIR_RECORD_TIMESTAMP:
    case WEIR_RECORD_NESTED:
        return 0;
    default:
        return 1 + (unsigned)element->size;
    }
}

uint64_t weir_record_array_bytes(const struct weir_record_field *element, const void *member)
{
    struct weir_record_array array = array_at(member);
    unsigned each = element_bytes_max(element);
    struct weir_view view;

    if (array.items == NULL && array.source == NULL) {
        if (array.packed.size != 0)
            return weir_record_view_bytes(array.packed);
        return array.count == 0 ? 1 : WEIR_RECORD_TOO_LARGE;
    }
    if (array.items == NULL || array.count > UINT32_MAX || each == 0)
        return WEIR_RECORD_TOO_LARGE;
    uint64_t bytes = 5 + (uint64_t)array.count * each;
    bool has_views = element->type == WEIR_RECORD_STR || element->type == WEIR_RECORD_BIN;
    for (size_t i = 0; has_views && i < array.count && bytes < WEIR_RECORD_TOO_LARGE; i++) {
        memcpy(&view, element_of(&array, element, i), sizeof view);
        bytes += weir_record_view_bytes(view);
    }
    return bytes < WEIR_RECORD_TOO_LARGE ? bytes : WEIR_RECORD_TOO_LARGE;
}

uint8_t *weir_record_put_array(struct weir_buf *buf, uint8_t *at,
                               const struct weir_record_field *element, const void *member)
{
    struct weir_packer packer = {at, buf->end, buf, 0, 0, false};

    weir__record_pack_array(&packer, element, (const uint8_t *)member);
    assert(packer.pos != NULL);
    return packer.pos;
}

/* --- reading --------------------------------------------------------------------------------- */

/* Look at @count elements. */
static int check_elements(struct weir_unpacker *u, const struct weir_record_field *element,
                          uint32_t count, const struct weir__record_place *place)
{
    for (uint32_t i = 0; i < count; i++) {
        struct weir_unpacker start = *u;
        int rc = weir__record_unpack_value(u, element, NULL, place);
        if (rc == WEIR__RECORD_UNKNOWN) {
            weir__record_fail_at(u, &start, -EPROTO);
            rc = weir__record_tell(u, place);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

int weir__record_unpack_array(struct weir_unpacker *u, const struct weir_record_field *element,
                              uint8_t *member, const struct weir__record_place *place)
{
    struct weir_record_array array = {NULL, 0, {u->pos, 0}, NULL};
    struct weir_unpacker whole = *u, inner;
    uint32_t count;
    bool in_pieces = u->pieces != NULL;

    /* What lies in pieces is gathered first, so that no str of it is gathered alone. If that fails,
     * or an element is wrong, going over the pieces tells what it is and where. */
    if (in_pieces && weir_unpack_raw(&whole, &array.packed) == 0) {
        weir_unpack_init(&inner, array.packed, NULL);
        const struct weir__record_place nowhere = {place->schema, place->field, NULL};
        in_pieces = weir_unpack_array(&inner, &count) != 0 ||
                    check_elements(&inner, element, count, &nowhere) != 0;
        if (!in_pieces)
            *u = whole;
    } else {
        in_pieces = true;
    }
    if (in_pieces) {
        if (weir_unpack_array(u, &count) != 0)
            return weir__record_tell(u, place);
        int rc = check_elements(u, element, count, place);
        if (rc != 0)
            return rc;
        array.packed.size = (size_t)(u->pos - array.packed.data);
    }
    array.count = count;
    if (member != NULL)
        memcpy(member, &array, sizeof array);
    return 0;
}

const uint8_t *weir_record_array_slow(const uint8_t *at, const uint8_t *end,
                                      const struct weir_record_field *element, void *ret_member,
                                      uint64_t *elements)
{
    const struct weir__record_place nowhere = {NULL, element, NULL};
    struct weir_unpacker u = weir__record_cursor(at, end);

    if (weir__record_unpack_array(&u, element, (uint8_t *)ret_member, &nowhere) != 0)
        return NULL;
    *elements = UINT64_MAX - u.elements_left - 1;
    return u.pos;
}

/* --- going over them ------------------------------------------------------------------------- */

struct weir_record_iter weir_record_each(const struct weir_record_field *element,
                                         const void *member)
{
    struct weir_record_iter iter = {.element = element, .array = array_at(member)};
    uint32_t count;

    weir_unpack_init(&iter.cursor, weir_view_of(NULL, 0), NULL);
    if (iter.array.items == NULL && iter.array.source == NULL) {
        iter.array.count = 0;
        if (iter.array.packed.size == 0)
            return iter;
        weir_unpack_init(&iter.cursor, iter.array.packed, NULL);
        iter.error = weir_unpack_array(&iter.cursor, &count);
        if (iter.error == 0)
            iter.array.count = count;
    }
    return iter;
}

bool weir_record_next(struct weir_record_iter *iter, void *ret)
{
    const struct weir__record_place nowhere = {NULL, iter->element, NULL};
    const struct weir_record *nested = iter->element->nested;

    if (iter->error != 0 || iter->index == iter->array.count)
        return false;
    if (iter->array.items != NULL || iter->array.source != NULL) {
        const uint8_t *at = element_of(&iter->array, iter->element, iter->index);
        if (at == NULL) {
            iter->error = -EINVAL;
            return false;
        }
        memcpy(ret, at, iter->element->size);
        iter->index++;
        return true;
    }
    if (nested != NULL) {
        /* Looked at first, for *ret to be as it was on an error. */
        struct weir_unpacker ahead = iter->cursor;
        iter->error = weir_record_unpack(&ahead, nested, NULL, NULL);
        if (iter->error != 0)
            return false;
        if (nested->init != NULL)
            nested->init(ret);
        else
            memset(ret, 0, nested->size);
    }
    int rc = weir__record_unpack_value(&iter->cursor, iter->element, (uint8_t *)ret, &nowhere);
    iter->error = rc == WEIR__RECORD_UNKNOWN ? -EPROTO : rc;
    iter->index += iter->error == 0;
    return iter->error == 0;
}

/* --- into an arena --------------------------------------------------------------------------- */

static int load_record(const struct weir_record *schema, uint8_t *record, struct weir_arena *arena);

static int load_array(const struct weir_record_field *element, uint8_t *member,
                      struct weir_arena *arena)
{
    struct weir_record_iter iter = weir_record_each(element, member);
    struct weir_record_array array = iter.array;
    int rc = iter.error;

    if (array.packed.size == 0 || array.items != NULL || rc != 0)
        return rc;
    /* Large enough for any C type that elements are of. */
    uint8_t *items =
        (uint8_t *)weir_arena_alloc_array(arena, array.count, element->size, _Alignof(max_align_t));
    if (items == NULL)
        return weir_arena_error(arena);
    for (size_t i = 0; i < array.count && rc == 0; i++) {
        uint8_t *item = items + i * element->size;
        if (!weir_record_next(&iter, item))
            rc = iter.error;
        else if (element->nested != NULL)
            rc = load_record(element->nested, item, arena);
    }
    array.items = items;
    if (rc == 0)
        memcpy(member, &array, sizeof array);
    return rc;
}

static int load_record(const struct weir_record *schema, uint8_t *record, struct weir_arena *arena)
{
    int rc = 0;

    for (unsigned i = 0; i < schema->count && rc == 0; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        if (field->nested != NULL)
            rc = load_record(field->nested, record + field->offset, arena);
        else if (field->element != NULL)
            rc = load_array(field->element, record + field->offset, arena);
    }
    return rc;
}

/* Forget the items of what came packed: they were in the arena. */
static void unload_record(const struct weir_record *schema, uint8_t *record)
{
    for (unsigned i = 0; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        uint8_t *member = record + field->offset;
        if (field->nested != NULL)
            unload_record(field->nested, member);
        if (field->element == NULL)
            continue;
        struct weir_record_array array = array_at(member);
        if (array.packed.size != 0)
            array.items = NULL;
        memcpy(member, &array, sizeof array);
    }
}

int weir_record_load_arrays(const struct weir_record *schema, void *record,
                            struct weir_arena *arena)
{
    struct weir_arena_mark mark = weir_arena_mark(arena);
    int rc = load_record(schema, (uint8_t *)record, arena);

    if (rc != 0) {
        weir_arena_rewind(arena, mark);
        unload_record(schema, (uint8_t *)record);
    }
    return rc;
}
