/* SPDX-License-Identifier: MIT */
/*
 * record_schema: a schema on the wire is made of records, too. A record names only records before
 * it, so there are no cycles; and as the size and the number of fields of all that it contains are
 * bounded, recursion over a schema that was read is.
 */
#include <assert.h>

#include "weir/record_schema.h"
#include "record_private.h"

#define SCHEMA_VERSION 1
#define MEMBER_ALIGN 8u

#define FIELD_FIELDS(F, R)       \
    F(R, str, name)              \
    F(R, str, key, optional)     \
    F(R, str, type)              \
    F(R, str, element, optional) \
    F(R, str, of, optional)      \
    F(R, u16, bytes, optional)   \
    F(R, i8, ext, optional)      \
    F(R, str, presence, optional)
WEIR_RECORD(schema_field, FIELD_FIELDS);

#define RECORD_FIELDS(F, R) \
    F(R, str, name)         \
    F(R, str, layout)       \
    F(R, array(record(schema_field)), fields)
WEIR_RECORD(schema_record, RECORD_FIELDS);

#define VALUE_FIELDS(F, R) \
    F(R, str, name)        \
    F(R, i32, number)
WEIR_RECORD(schema_value, VALUE_FIELDS);

#define ENUM_FIELDS(F, R) \
    F(R, str, name)       \
    F(R, array(record(schema_value)), values)
WEIR_RECORD(schema_enum, ENUM_FIELDS);

#define FILE_FIELDS(F, R)                             \
    F(R, u32, version, key("schema"))                 \
    F(R, array(record(schema_enum)), enums, optional) \
    F(R, array(record(schema_record)), records)
WEIR_RECORD(schema_file, FILE_FIELDS);

static const char *const presences[] = {"required", "optional", "default"};

/* The type that a field's element has, or the field itself: what `of` is about. */
static const struct weir_record_field *innermost(const struct weir_record_field *field)
{
    return field->element != NULL ? field->element : field;
}

/* --- writing --------------------------------------------------------------------------------- */

/* All records and enums that a schema needs, those that are needed before those that need them. */
struct closure {
    const struct weir_record *records[WEIR_RECORD_SCHEMA_RECORDS_MAX];
    const struct weir_record_enum *enums[WEIR_RECORD_SCHEMA_RECORDS_MAX];
    size_t record_count;
    size_t enum_count;
    int error;
};

static void add_enum(struct closure *all, const struct weir_record_enum *description)
{
    for (size_t i = 0; i < all->enum_count; i++) {
        if (all->enums[i] == description)
            return;
        if (strcmp(all->enums[i]->name, description->name) == 0)
            all->error = -EINVAL;
    }
    if (all->enum_count == WEIR_RECORD_SCHEMA_RECORDS_MAX)
        all->error = -EOVERFLOW;
    else
        all->enums[all->enum_count++] = description;
}

static void add_record(struct closure *all, const struct weir_record *schema)
{
    for (size_t i = 0; i < all->record_count; i++) {
        if (all->records[i] == schema)
            return;
        if (strcmp(all->records[i]->name, schema->name) == 0)
            all->error = -EINVAL;
    }
    for (unsigned i = 0; i < schema->count && all->error == 0; i++) {
        const struct weir_record_field *value = innermost(&schema->fields[i]);
        if (value->nested != NULL)
            add_record(all, value->nested);
        if (value->values != NULL)
            add_enum(all, value->values);
    }
    if (all->record_count == WEIR_RECORD_SCHEMA_RECORDS_MAX)
        all->error = -EOVERFLOW;
    else if (all->error == 0)
        all->records[all->record_count++] = schema;
}

static struct schema_field form_of(const struct weir_record *schema,
                                   const struct weir_record_field *field)
{
    const struct weir_record_field *value = innermost(field);
    struct schema_field form = {.present = 0};

    form.name = weir_view_text(field->name);
    form.type = weir_view_text(weir_record_type_name(field->type));
    form.key = weir_view_of(field->key, field->key_bytes);
    if (schema->is_map && !weir_view_equal(form.key, form.name))
        form.present |= WEIR_RECORD_BIT(schema_field_field_key);
    if (field->element != NULL) {
        form.element = weir_view_text(weir_record_type_name(value->type));
        form.present |= WEIR_RECORD_BIT(schema_field_field_element);
    }
    if (value->nested != NULL || value->values != NULL) {
        form.of = weir_view_text(value->nested != NULL ? value->nested->name : value->values->name);
        form.present |= WEIR_RECORD_BIT(schema_field_field_of);
    }
    if (field->type == WEIR_RECORD_CHARS || field->type == WEIR_RECORD_BYTES) {
        form.bytes = (uint16_t)field->size;
        form.present |= WEIR_RECORD_BIT(schema_field_field_bytes);
    }
    if (field->type == WEIR_RECORD_EXT) {
        form.ext = field->ext_type;
        form.present |= WEIR_RECORD_BIT(schema_field_field_ext);
    }
    if (field->presence != WEIR_RECORD_REQUIRED) {
        form.presence = weir_view_text(presences[field->presence]);
        form.present |= WEIR_RECORD_BIT(schema_field_field_presence);
    }
    return form;
}

static void pack_one(struct weir_packer *packer, const struct weir_record *schema)
{
    struct schema_field fields[WEIR_RECORD_FIELDS_MAX];
    struct schema_record record = {.present = 0};

    for (unsigned i = 0; i < schema->count; i++) {
        fields[i] = form_of(schema, &schema->fields[i]);
        if (innermost(&schema->fields[i])->size > UINT16_MAX)
            weir_pack_fail(packer, -EOVERFLOW);
    }
    record.name = weir_view_text(schema->name);
    record.layout = weir_view_text(schema->is_map ? "map" : "array");
    record.fields.items = fields;
    record.fields.count = schema->count;
    schema_record_pack(packer, &record);
}

static void pack_enum(struct weir_packer *packer, const struct weir_record_enum *description)
{
    weir_pack_map(packer, 2);
    weir_pack_key(packer, "name");
    weir_pack_text(packer, description->name);
    weir_pack_key(packer, "values");
    weir_pack_array(packer, description->count);
    for (size_t i = 0; i < description->count; i++) {
        struct schema_value value = {.number = description->values[i].number};
        value.name = weir_view_text(description->values[i].name);
        schema_value_pack(packer, &value);
    }
}

void weir_record_schema_pack(struct weir_packer *packer, const struct weir_record *schema)
{
    struct closure all = {.error = 0};
    struct weir_packer local = *packer;

    add_record(&all, schema);
    if (all.error != 0)
        weir_pack_fail(&local, all.error);
    weir_pack_map(&local, all.enum_count != 0 ? 3 : 2);
    weir_pack_key(&local, "schema");
    weir_pack_uint(&local, SCHEMA_VERSION);
    if (all.enum_count != 0) {
        weir_pack_key(&local, "enums");
        weir_pack_array(&local, all.enum_count);
    }
    for (size_t i = 0; i < all.enum_count; i++)
        pack_enum(&local, all.enums[i]);
    weir_pack_key(&local, "records");
    weir_pack_array(&local, all.record_count);
    for (size_t i = 0; i < all.record_count; i++)
        pack_one(&local, all.records[i]);
    *packer = local;
}

/* --- reading --------------------------------------------------------------------------------- */

/* A schema that is being read. */
struct reader {
    struct weir_arena *arena;
    struct weir_record_enum *enums;
    size_t enum_count;
    struct weir_record *records;
    size_t record_count;                            /* that are done */
    size_t weights[WEIR_RECORD_SCHEMA_RECORDS_MAX]; /* fields of each, all within counted */
    int error;
    const char *reason;
};

static int refuse(struct reader *r, int error, const char *reason)
{
    if (r->error == 0) {
        r->error = error;
        r->reason = reason;
    }
    return r->error;
}

static void *allocate(struct reader *r, size_t count, size_t size_bytes)
{
    void *memory = weir_arena_alloc_array(r->arena, count, size_bytes, _Alignof(max_align_t));

    if (memory == NULL)
        refuse(r, weir_arena_error(r->arena), "no memory for the schema");
    else
        memset(memory, 0, count * size_bytes);
    return memory;
}

/* A name as a C string. */
static const char *name_of(struct reader *r, struct weir_view text)
{
    struct weir_view copy = {(const uint8_t *)"", 0};

    if (text.size != 0 && memchr(text.data, 0, text.size) != NULL)
        refuse(r, -EINVAL, "a name with a NUL in it");
    else if (weir_arena_copy(r->arena, text, &copy) != 0)
        refuse(r, weir_arena_error(r->arena), "no memory for the schema");
    return (const char *)copy.data;
}

/* The number of the type that is called so, 0 if none is. */
static enum weir_record_type type_of(struct weir_view name)
{
    for (unsigned i = WEIR_RECORD_BOOL; i <= WEIR_RECORD_ARRAY_OF; i++)
        if (weir_view_equal(name, weir_view_text(weir_record_type_name((enum weir_record_type)i))))
            return (enum weir_record_type)i;
    return (enum weir_record_type)0;
}

static void read_enum(struct reader *r, const struct schema_enum *form)
{
    struct weir_record_enum *ret = &r->enums[r->enum_count];
    struct weir_record_iter at = schema_enum_each_values(form);
    struct schema_value value;
    size_t count = 0;

    if (form->values.count == 0)
        refuse(r, -EINVAL, "an enum without values");
    for (size_t i = 0; i < r->enum_count; i++)
        if (weir_view_equal(weir_view_text(r->enums[i].name), form->name))
            refuse(r, -EINVAL, "two enums of one name");
    struct weir_record_enum_value *values =
        (struct weir_record_enum_value *)allocate(r, form->values.count, sizeof *values);
    if (r->error != 0)
        return;
    while (schema_enum_next_values(&at, &value)) {
        values[count].name = name_of(r, value.name);
        values[count++].number = value.number;
    }
    ret->name = name_of(r, form->name);
    ret->values = values;
    ret->count = count;
    r->enum_count++;
}

/* What a record or an enum is named for, for the field or its element. */
static void resolve(struct reader *r, const struct schema_field *form,
                    struct weir_record_field *value, size_t *weight)
{
    bool is_found = value->type != WEIR_RECORD_NESTED && value->type != WEIR_RECORD_ENUM;

    for (size_t i = 0; i < r->record_count && value->type == WEIR_RECORD_NESTED; i++) {
        if (weir_view_equal(weir_view_text(r->records[i].name), form->of)) {
            value->nested = &r->records[i];
            value->size = r->records[i].size;
            *weight += r->weights[i];
            is_found = true;
        }
    }
    for (size_t i = 0; i < r->enum_count && value->type == WEIR_RECORD_ENUM; i++) {
        if (weir_view_equal(weir_view_text(r->enums[i].name), form->of)) {
            value->values = &r->enums[i];
            value->size = sizeof(int32_t);
            is_found = true;
        }
    }
    if (!is_found)
        refuse(r, -EINVAL, "a field is of a record or enum that is not there before it");
}

/* The type and what follows from it. */
static void read_type(struct reader *r, const struct schema_field *form,
                      struct weir_record_field *ret, size_t *weight)
{
    ret->type = type_of(form->type);
    if ((unsigned)ret->type == 0) {
        refuse(r, -EINVAL, "a field is of a type that there is not");
        return;
    }
    switch (ret->type) {
    case WEIR_RECORD_CHARS:
    case WEIR_RECORD_BYTES:
        ret->size = form->bytes;
        if (form->bytes == 0)
            refuse(r, -EINVAL, "a field of chars or bytes, and not how many");
        break;
    case WEIR_RECORD_EXT:
        ret->size = sizeof(struct weir_view);
        ret->ext_type = form->ext;
        break;
    case WEIR_RECORD_ARRAY_OF: {
        enum weir_record_type type = type_of(form->element);
        struct weir_record_field *element =
            (struct weir_record_field *)allocate(r, 1, sizeof *element);
        if (type == 0 || type == WEIR_RECORD_ARRAY_OF || type == WEIR_RECORD_CHARS ||
            type == WEIR_RECORD_BYTES || type == WEIR_RECORD_EXT)
            refuse(r, -EINVAL, "an array of what arrays do not have");
        if (r->error != 0)
            return;
        *element = type <= WEIR_RECORD_RAW ? weir_record_elements[type] : *element;
        element->name = element->key = "";
        element->type = type;
        resolve(r, form, element, weight);
        ret->element = element;
        ret->size = sizeof(struct weir_record_array);
        break;
    }
    default:
        if (ret->type <= WEIR_RECORD_RAW)
            ret->size = weir_record_elements[ret->type].size;
        resolve(r, form, ret, weight);
    }
}

static void read_field(struct reader *r, const struct schema_record *record,
                       const struct schema_field *form, struct weir_record_field *ret,
                       size_t *weight)
{
    bool has_key = (form->present & WEIR_RECORD_BIT(schema_field_field_key)) != 0;
    struct weir_view key = has_key ? form->key : form->name;
    bool is_known = form->presence.size == 0;

    ret->name = name_of(r, form->name);
    ret->key = name_of(r, key);
    ret->key_bytes = key.size;
    if (key.size > WEIR_RECORD_KEY_MAX && weir_view_equal(record->layout, weir_view_text("map")))
        refuse(r, -EINVAL, "a key is longer than 31 bytes");
    for (unsigned i = 0; i < sizeof presences / sizeof presences[0]; i++) {
        if (weir_view_equal(form->presence, weir_view_text(presences[i]))) {
            ret->presence = (enum weir_record_presence)i;
            is_known = true;
        }
    }
    if (!is_known)
        refuse(r, -EINVAL, "a field is neither required nor optional nor with a default");
    read_type(r, form, ret, weight);
}

static void read_record(struct reader *r, const struct schema_record *form)
{
    struct weir_record *ret = &r->records[r->record_count];
    struct weir_record_iter at = schema_record_each_fields(form);
    size_t weight = form->fields.count, size = sizeof(uint64_t);
    struct weir_record_field *fields;
    struct schema_field field;

    ret->name = name_of(r, form->name);
    ret->is_map = weir_view_equal(form->layout, weir_view_text("map"));
    if (!ret->is_map && !weir_view_equal(form->layout, weir_view_text("array")))
        refuse(r, -EINVAL, "a record is neither a map nor an array");
    if (form->fields.count == 0 || form->fields.count > WEIR_RECORD_FIELDS_MAX)
        refuse(r, -EINVAL, "a record has no fields, or more than 64");
    for (size_t i = 0; i < r->record_count; i++)
        if (weir_view_equal(weir_view_text(r->records[i].name), form->name))
            refuse(r, -EINVAL, "two records of one name");
    if (r->error != 0)
        return;
    fields = (struct weir_record_field *)allocate(r, form->fields.count, sizeof *fields);
    for (; r->error == 0 && schema_record_next_fields(&at, &field); ret->count++) {
        struct weir_record_field *to = &fields[ret->count];
        read_field(r, form, &field, to, &weight);
        to->offset = size;
        size += (to->size + MEMBER_ALIGN - 1) / MEMBER_ALIGN * MEMBER_ALIGN;
        if (size > WEIR_RECORD_SCHEMA_BYTES_MAX || weight > WEIR_RECORD_SCHEMA_BYTES_MAX)
            refuse(r, -ENOBUFS, "a record is too large");
        if (to->presence == WEIR_RECORD_REQUIRED)
            ret->required |= WEIR_RECORD_BIT(ret->count);
    }
    ret->fields = fields;
    ret->size = size;
    if (r->error == 0 && weir_record_check(ret, NULL) != 0)
        refuse(r, -EINVAL, "two fields of one key");
    r->weights[r->record_count++] = weight;
}

static void read_file(struct reader *r, const struct schema_file *file)
{
    struct weir_record_iter at = schema_file_each_enums(file);
    struct schema_record record;
    struct schema_enum form;

    if (file->version != SCHEMA_VERSION)
        refuse(r, -EINVAL, "a schema of another version");
    if (file->records.count == 0)
        refuse(r, -EINVAL, "a schema without records");
    if (file->records.count > WEIR_RECORD_SCHEMA_RECORDS_MAX ||
        file->enums.count > WEIR_RECORD_SCHEMA_RECORDS_MAX)
        refuse(r, -ENOBUFS, "more than 64 records or enums");
    if (r->error != 0)
        return;
    r->enums = (struct weir_record_enum *)allocate(r, file->enums.count, sizeof *r->enums);
    r->records = (struct weir_record *)allocate(r, file->records.count, sizeof *r->records);
    while (r->error == 0 && schema_file_next_enums(&at, &form))
        read_enum(r, &form);
    at = schema_file_each_records(file);
    while (r->error == 0 && schema_file_next_records(&at, &record))
        read_record(r, &record);
}

int weir_record_schema_unpack(struct weir_unpacker *unpacker, struct weir_arena *arena,
                              const struct weir_record **ret, struct weir_fault *ret_fault)
{
    struct weir_arena_mark mark = weir_arena_mark(arena);
    struct weir_unpacker start = *unpacker, u = start;
    struct reader r = {.arena = arena};
    struct weir_record_fault fault = {0, 0, NULL, NULL};
    struct schema_file file;

    int rc = schema_file_unpack(&u, &file, &fault);
    if (rc != 0) {
        refuse(&r, rc, fault.field != NULL ? fault.field->name : "what is no schema");
    } else {
        read_file(&r, &file);
        if (r.error != 0)
            rc = weir__record_fail_at(&u, &start, r.error);
    }
    if (rc != 0 && ret_fault != NULL) {
        ret_fault->error = rc;
        ret_fault->offset = weir_unpack_offset(&u);
        ret_fault->reason = r.reason;
    }
    *unpacker = u;
    if (rc != 0) {
        weir_arena_rewind(arena, mark);
        return rc;
    }
    *ret = &r.records[r.record_count - 1];
    return 0;
}

/* --- records by their schema ----------------------------------------------------------------- */

static void named_value(struct weir_packer *packer, const struct weir_record_field *field,
                        const uint8_t *member);

static void named_array(struct weir_packer *packer, const struct weir_record_field *element,
                        const uint8_t *member)
{
    struct weir_record_iter at = weir_record_each(element, member);
    uint8_t scratch[sizeof(struct weir_view) + sizeof(struct weir_timestamp)];
    const struct weir_record_array array = at.array;

    weir_pack_array(packer, array.count);
    if (element->nested == NULL) {
        while (weir_record_next(&at, scratch))
            named_value(packer, element, scratch);
        if (at.error != 0)
            weir_pack_fail(packer, at.error);
        return;
    }
    if (array.items == NULL && array.count != 0)
        weir_pack_fail(packer, -EINVAL);
    for (size_t i = 0; i < array.count && weir_pack_error(packer) == 0; i++)
        named_value(packer, element, (const uint8_t *)array.items + i * element->size);
}

static void named_value(struct weir_packer *packer, const struct weir_record_field *field,
                        const uint8_t *member)
{
    int32_t number;

    if (field->nested != NULL) {
        weir_record_pack_named(packer, field->nested, member);
    } else if (field->element != NULL) {
        named_array(packer, field->element, member);
    } else if (field->values != NULL) {
        memcpy(&number, member, sizeof number);
        const char *name = weir_record_enum_name(field->values, number);
        if (name == NULL)
            weir_pack_fail(packer, -EINVAL);
        else
            weir_pack_text(packer, name);
    } else {
        weir__record_pack_value(packer, field, member);
    }
}

static bool is_shown(const struct weir_record *schema, unsigned index, uint64_t present)
{
    enum weir_record_presence presence = schema->fields[index].presence;

    return (present & WEIR_RECORD_BIT(index)) != 0 || presence == WEIR_RECORD_REQUIRED ||
           (presence == WEIR_RECORD_DEFAULT && schema->init != NULL);
}

void weir_record_pack_named(struct weir_packer *packer, const struct weir_record *schema,
                            const void *record)
{
    struct weir_packer local = *packer;
    uint64_t present;
    unsigned count = 0;

    memcpy(&present, record, sizeof present);
    for (unsigned i = 0; i < schema->count; i++)
        count += is_shown(schema, i, present);
    weir_pack_map(&local, count);
    for (unsigned i = 0; i < schema->count; i++) {
        if (!is_shown(schema, i, present))
            continue;
        weir_pack_text(&local, schema->fields[i].name);
        named_value(&local, &schema->fields[i], (const uint8_t *)record + schema->fields[i].offset);
    }
    /* One value, whole, whatever a raw may have left uncounted. */
    local.values = packer->values + 1;
    local.uncounted = packer->uncounted;
    *packer = local;
}

int weir_record_same(const struct weir_record *schema, const void *a, const void *b,
                     struct weir_buf *scratch, bool *ret)
{
    struct weir_packer packer;
    size_t first, both;

    weir_pack_begin(&packer, scratch, 0);
    weir_record_pack(&packer, schema, a);
    first = weir_pack_offset(&packer);
    weir_record_pack(&packer, schema, b);
    both = weir_pack_offset(&packer);
    int rc = weir_pack_error(&packer);
    if (rc == 0)
        *ret = both - first == first && memcmp(packer.pos - both, packer.pos - first, first) == 0;
    weir_pack_cancel(&packer);
    return rc;
}

int weir_record_hash(const struct weir_record *schema, const void *record, uint64_t seed,
                     struct weir_buf *scratch, uint64_t *ret)
{
    struct weir_packer packer;

    weir_pack_begin(&packer, scratch, 0);
    weir_record_pack(&packer, schema, record);
    int rc = weir_pack_error(&packer);
    size_t size = weir_pack_offset(&packer);
    if (rc == 0)
        *ret = weir_view_hash(weir_view_of(packer.pos - size, size), seed);
    weir_pack_cancel(&packer);
    return rc;
}
