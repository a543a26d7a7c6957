/* SPDX-License-Identifier: MIT */
#include "schema.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "report.h"
#include "values.h"

void schema_init(struct schema *schema)
{
    memset(schema, 0, sizeof(*schema));
}

void schema_fini(struct schema *schema)
{
    weir_buf_fini(&schema->buf);
    weir_arena_fini(&schema->arena);
}

/* The one value of the file. */
static int read_value(struct schema *schema, struct values *values, struct weir_view *ret)
{
    struct weir_slice value;
    int rc;

    *ret = weir_view_of(NULL, 0);
    for (;;) {
        while ((rc = values_next(values, &value)) == 0) {
            if (ret->size != 0)
                rc = -EINVAL;
            else
                rc = weir_arena_copy(&schema->arena, value.view, ret);
            weir_slice_drop(&value);
            if (rc < 0)
                return rc;
        }
        if (rc == -EAGAIN)
            rc = values_fill(values);
        if (rc != 0)
            return rc == VALUES_END && ret->size == 0 ? -EINVAL : rc;
    }
}

int schema_open(struct schema *schema, struct weir_pool *pool, const char *command,
                const char *path)
{
    const struct weir_limits limits = {.bytes = 1 << 20};
    struct weir_fault fault = {0, 0, NULL};
    struct weir_unpacker cursor;
    struct values values;
    struct weir_view bytes;

    weir_arena_init(&schema->arena, pool, NULL);
    int rc = weir_buf_init(&schema->buf, pool, NULL);
    if (rc < 0)
        return report_memory_error(command, rc);
    rc = values_open(&values, pool, &limits, path, false);
    if (rc == 0)
        rc = read_value(schema, &values, &bytes);
    if (rc == -EINVAL) {
        values_close(&values, command, VALUES_END);
        report_error(command, "%s: a schema is one value", path);
        return REPORT_BAD_DATA;
    }
    int status = values_close(&values, command, rc);
    if (status != EX_OK)
        return status;
    weir_unpack_init(&cursor, bytes, NULL);
    rc = weir_record_schema_unpack(&cursor, &schema->arena, &schema->record, &fault);
    if (rc < 0) {
        report_error(command, "%s: offset %zu: no schema: %s (%s)", path, fault.offset,
                     fault.reason, weir_error_name(rc));
        return REPORT_BAD_DATA;
    }
    schema->mark = weir_arena_mark(&schema->arena);
    return EX_OK;
}

int schema_apply(struct schema *schema, struct weir_view value, struct weir_view *ret,
                 struct weir_record_fault *ret_fault)
{
    struct weir_unpacker cursor;
    struct weir_packer packer;

    weir_arena_rewind(&schema->arena, schema->mark);
    weir_buf_reset(&schema->buf);
    void *record = weir_arena_alloc(&schema->arena, schema->record->size, _Alignof(max_align_t));
    if (record == NULL)
        return weir_arena_error(&schema->arena);
    memset(record, 0, schema->record->size);
    weir_unpack_init(&cursor, value, NULL);
    if (weir_record_unpack(&cursor, schema->record, record, ret_fault) != 0)
        return -EBADMSG;
    int rc = weir_record_load_arrays(schema->record, record, &schema->arena);
    if (rc < 0)
        return rc;
    weir_pack_begin(&packer, &schema->buf, 0);
    weir_record_pack_named(&packer, schema->record, record);
    return weir_pack_end(&packer, ret);
}

const char *schema_reason(const struct weir_record_fault *fault)
{
    switch (fault->error) {
    case -ENOENT:
        return "is required and missing";
    case -EPROTO:
        return fault->field != NULL && fault->field->values != NULL ? "is no value of the enum"
                                                                    : "is of another type or size";
    case -EOVERFLOW:
        return "is too large for its type";
    default:
        return "is malformed";
    }
}
