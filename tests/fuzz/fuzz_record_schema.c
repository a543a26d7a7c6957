/* SPDX-License-Identifier: MIT */
/*
 * fuzz_record_schema: any bytes are read as a schema, or refused with a reason. One that was read
 * is sound, and is the same when it is written and read again; and any bytes are read by it as a
 * record or refused, are shown, and are the same when they are packed and read again.
 *
 * The first two bytes are the size of the schema; the record is the rest.
 */
#include <stdlib.h>
#include <string.h>

#include <weir/record_schema.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static struct weir_view written(struct weir_buf *buf, const struct weir_record *schema)
{
    struct weir_packer packer;
    struct weir_view bytes = {NULL, 0};

    weir_pack_begin(&packer, buf, 0);
    weir_record_schema_pack(&packer, schema);
    require(weir_pack_end_values(&packer, 1, &bytes) == 0);
    return bytes;
}

static struct weir_view packed(struct weir_buf *buf, const struct weir_record *schema,
                               const void *record, bool named)
{
    struct weir_packer packer;
    struct weir_view bytes = {NULL, 0};

    weir_pack_begin(&packer, buf, 0);
    if (named)
        weir_record_pack_named(&packer, schema, record);
    else
        weir_record_pack(&packer, schema, record);
    require(weir_pack_end_values(&packer, 1, &bytes) == 0);
    return bytes;
}

static bool read_record(struct weir_arena *arena, const struct weir_record *schema,
                        struct weir_view input, void **ret)
{
    struct weir_record_fault fault = {0, 0, NULL, NULL};
    struct weir_unpacker u;
    void *record = weir_arena_alloc(arena, schema->size, 16);

    require(record != NULL);
    memset(record, 0, schema->size);
    weir_unpack_init(&u, input, NULL);
    int rc = weir_record_unpack(&u, schema, record, &fault);
    require(fault.error == rc && (rc == 0 || fault.offset <= input.size));
    *ret = record;
    if (rc == 0)
        require(weir_record_load_arrays(schema, record, arena) == 0);
    return rc == 0;
}

/* Whether all that would be written of a record came: a default that a schema does not tell may be
 * no value of its enum. What is within other values is not looked into. */
static bool is_complete(const struct weir_record *schema, const void *record)
{
    uint64_t present;

    memcpy(&present, record, sizeof present);
    for (unsigned i = 0; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        if (field->nested != NULL || field->element != NULL ||
            (field->presence == WEIR_RECORD_DEFAULT && (present >> i & 1) == 0))
            return false;
    }
    return true;
}

static void use(struct weir_arena *arena, struct weir_buf *buf, const struct weir_record *schema,
                struct weir_view input)
{
    void *record, *again;

    if (!read_record(arena, schema, input, &record))
        return;
    packed(buf, schema, record, true);
    if (!is_complete(schema, record))
        return;
    struct weir_view first = packed(buf, schema, record, false);
    require(read_record(arena, schema, first, &again));
    require(weir_view_equal(packed(buf, schema, again, false), first));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct weir_record *schema = NULL, *again = NULL;
    struct weir_fault fault = {0, 0, NULL};
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_arena arena;
    struct weir_unpacker u;

    if (size < 2)
        return 0;
    size_t schema_bytes = (size_t)data[0] << 8 | data[1];
    struct weir_view all = weir_view_of(data + 2, size - 2);
    if (schema_bytes > all.size)
        schema_bytes = all.size;
    require(weir_pool_create(NULL, &pool) == 0 && weir_buf_init(&buf, pool, NULL) == 0);
    weir_arena_init(&arena, pool, NULL);
    weir_unpack_init(&u, weir_view_of(all.data, schema_bytes), NULL);
    int rc = weir_record_schema_unpack(&u, &arena, &schema, &fault);
    require(rc == weir_unpack_error(&u) && (rc == 0 || (fault.error == rc && fault.reason)));
    if (rc == 0) {
        require(weir_record_check(schema, NULL) == 0);
        struct weir_view bytes = written(&buf, schema);
        weir_unpack_init(&u, bytes, NULL);
        require(weir_record_schema_unpack(&u, &arena, &again, NULL) == 0);
        require(weir_record_fingerprint(again) == weir_record_fingerprint(schema));
        require(weir_view_equal(written(&buf, again), bytes));
        use(&arena, &buf, schema, weir_view_of(all.data + schema_bytes, all.size - schema_bytes));
    }
    weir_arena_fini(&arena);
    weir_buf_fini(&buf);
    require(weir_pool_destroy(pool) == 0);
    return 0;
}
