/* SPDX-License-Identifier: MIT */
/**
 * record_schema: descriptions of records as data: written down, read again, used by tools.
 *
 *     weir_pack_begin(&p, &buf, 0);
 *     weir_record_schema_pack(&p, &order_schema);     // in the program that knows it
 *     rc = weir_pack_end(&p, &bytes);
 *
 *     weir_unpack_init(&u, bytes, NULL);              // in one that does not
 *     rc = weir_record_schema_unpack(&u, &arena, &schema, &fault);
 *     void *record = weir_arena_alloc(&arena, schema->size, 16);
 *     memset(record, 0, schema->size);
 *     rc = weir_record_unpack(&message, schema, record, NULL);
 *
 * `weir cat --schema FILE` shows records so; FILE has what weir_record_schema_pack() writes.
 *
 * Form         a map that `weir cat` shows as JSON, and that `weir pack` makes of it:
 *                  {"schema": 1,
 *                   "enums": [{"name": "side", "values": [{"name": "buy", "number": 1}]}],
 *                   "records": [{"name": "order", "layout": "map", "fields": [
 *                       {"name": "id", "type": "u64"},
 *                       {"name": "price", "key": "px", "type": "f64", "presence": "optional"},
 *                       {"name": "side", "type": "enum", "of": "side"},
 *                       {"name": "legs", "type": "array", "element": "record", "of": "leg"},
 *                       {"name": "code", "type": "chars", "bytes": 6},
 *                       {"name": "blob", "type": "ext", "ext": 5}]}]}
 *              Types are spelled as in descriptions. A record names only records before it; the
 *              last one is what the schema is of. Defaults are told ("presence": "default"), their
 *              values are not.
 * Bounds       of a schema that is read: WEIR_RECORD_SCHEMA_RECORDS_MAX records and as many enums,
 *              WEIR_RECORD_SCHEMA_BYTES_MAX of struct, and as many fields when each record is
 *              counted wherever it is used.
 * Threads      no state; a schema that was read may be used by many.
 */
#ifndef WEIR_RECORD_SCHEMA_H
#define WEIR_RECORD_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/arena.h>
#include <weir/base.h>
#include <weir/pack.h>
#include <weir/record.h>
#include <weir/unpack.h>

WEIR_BEGIN_DECLS

/** The most records of a schema, that which it is of included, and the most enums. */
#define WEIR_RECORD_SCHEMA_RECORDS_MAX 64

/** The largest struct of a schema that is read. */
#define WEIR_RECORD_SCHEMA_BYTES_MAX 65536

/**
 * Write a schema with all that it needs, as one value.
 *
 * Errors    the packer's; -EOVERFLOW it needs more records or enums than there may be; -EINVAL two
 *           of them have one name.
 */
WEIR_API void weir_record_schema_pack(struct weir_packer *packer, const struct weir_record *schema);

/**
 * Read a schema that comes next.
 *
 * @arena    receives it; it is valid as what weir_arena_alloc() returns
 * @ret      written on success only. Its members lie in an order and with offsets of its own, not
 *           those of a C struct that was described alike; its `init` is NULL.
 * @ret_fault  NULL, or receives what is wrong, on an error
 * Returns   0; an error of the cursor or the arena; -EPROTO, -ENOENT and so on as of any record;
 *           -EINVAL what it says is no sound description; -ENOBUFS a bound. What was allocated
 *           until then is given back to the arena.
 */
WEIR_API int weir_record_schema_unpack(struct weir_unpacker *unpacker, struct weir_arena *arena,
                                       const struct weir_record **ret,
                                       struct weir_fault *ret_fault);

/**
 * Write a record for people: a map whose keys are the fields' names, in which values of enums are
 * their names. Fields that are not present are left out, of those with a default only where the
 * schema cannot tell it.
 *
 * @record   its arrays of records have items, see weir_record_load_arrays(): else -EINVAL
 * Errors    the packer's; -EINVAL as of weir_record_pack()
 */
WEIR_API void weir_record_pack_named(struct weir_packer *packer, const struct weir_record *schema,
                                     const void *record);

/**
 * Whether two structs of @schema are the same on the wire: what is optional is present in both or
 * in none, all that is written is equal. Padding, spare bytes, and where views and items lie do not
 * count; floats are compared by their bits, arrays that came packed by their bytes: load them
 * (weir_record_load_arrays()) where an encoder may have written what it could have shorter.
 *
 * @scratch  a buffer that no message is begun in; it is as before afterwards
 * Returns   0 and *ret; or why one of the two could not be packed.
 */
WEIR_API int weir_record_same(const struct weir_record *schema, const void *a, const void *b,
                              struct weir_buf *scratch, bool *ret);

/** A number that is the same for records that weir_record_same() finds to be so, by
 * weir_view_hash() with @seed. Otherwise as that function. */
WEIR_API int weir_record_hash(const struct weir_record *schema, const void *record, uint64_t seed,
                              struct weir_buf *scratch, uint64_t *ret);

WEIR_END_DECLS

#endif /* WEIR_RECORD_SCHEMA_H */
