/* SPDX-License-Identifier: MIT */
/*
 * fuzz_record: any bytes are read as a record alike by its own code, by its schema and by the
 * cursor: the same fields, or the same error at the same place. What is read and packed again is
 * read again as the same. The same of fixed layouts: what is opened in place has the fields that
 * are read elsewhere.
 *
 * The first byte is which record it is, from 0x80 on of fixed layout; the rest is the message.
 */
#include <stdlib.h>

#include "../records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void pack_again(struct weir_buf *buf, struct weir_buf *other, struct weir_arena *arena,
                       const struct kind *kind, struct weir_view input)
{
    union any record, read;
    struct weir_packer packer;
    struct weir_view message, loaded, again;

    if (kind->decode(input, &record, NULL) != 0)
        return;
    weir_pack_begin(&packer, buf, 0);
    kind->pack(&packer, &record);
    require(weir_pack_end_values(&packer, 1, &message) == 0);
    require(kind->decode(message, &read, NULL) == 0);
    /* What had its default was written nevertheless, so now it is present. */
    for (unsigned i = 0; i < kind->schema->count; i++)
        if (kind->schema->fields[i].presence == WEIR_RECORD_DEFAULT)
            record.present |= WEIR_RECORD_BIT(i);
    require(records_equal(other, kind->schema, &record, &read));
    /* Arrays whose elements were read into memory are the same when packed from there. */
    require(weir_record_load_arrays(kind->schema, &read, arena) == 0);
    weir_pack_begin(&packer, other, 0);
    kind->pack(&packer, &read);
    require(weir_pack_end_values(&packer, 1, &loaded) == 0);
    require(kind->decode(loaded, &record, NULL) == 0);
    require(weir_record_load_arrays(kind->schema, &record, arena) == 0);
    weir_pack_begin(&packer, other, 0);
    weir_record_pack(&packer, kind->schema, &record);
    require(weir_pack_end_values(&packer, 1, &again) == 0);
    require(weir_view_equal(loaded, again));
}

static void fixed_again(struct weir_buf *buf, struct weir_buf *other,
                        const struct fixed_kind *fixed, struct weir_view input)
{
    union any record, read;
    struct weir_packer packer;
    struct weir_view message;
    bool opened;

    require(records_fixed_compare(buf, fixed, input, &opened) == NULL);
    if (fixed->decode(input, &record, NULL) != 0)
        return;
    weir_pack_begin(&packer, buf, 0);
    fixed->pack(&packer, &record);
    require(weir_pack_end_values(&packer, 1, &message) == 0);
    require(records_fixed_compare(other, fixed, message, &opened) == NULL && opened);
    require(fixed->decode(message, &read, NULL) == 0);
    for (unsigned i = 0; i < fixed->kind->schema->count; i++)
        if (fixed->kind->schema->fields[i].presence == WEIR_RECORD_DEFAULT)
            record.present |= WEIR_RECORD_BIT(i);
    require(record.present == read.present);
    require(records_equal(other, fixed->kind->schema, &record, &read));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_pool *pool;
    struct weir_arena arena;
    struct weir_buf buf, other;

    if (size == 0)
        return 0;
    const struct fixed_kind *fixed = records_fixed_kinds[data[0] % RECORDS_FIXED_KINDS];
    const struct kind *kind =
        data[0] >= 0x80 ? fixed->kind : records_kinds[data[0] % RECORDS_KINDS];
    struct weir_view input = weir_view_of(data + 1, size - 1);
    require(weir_pool_create(NULL, &pool) == 0);
    require(weir_buf_init(&buf, pool, NULL) == 0 && weir_buf_init(&other, pool, NULL) == 0);
    weir_arena_init(&arena, pool, NULL);
    require(records_compare(&buf, kind, input) == NULL);
    pack_again(&buf, &other, &arena, kind, input);
    if (data[0] >= 0x80)
        fixed_again(&buf, &other, fixed, input);
    weir_arena_fini(&arena);
    weir_buf_fini(&other);
    weir_buf_fini(&buf);
    require(weir_pool_destroy(pool) == 0);
    return 0;
}
