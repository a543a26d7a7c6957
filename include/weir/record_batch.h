/* SPDX-License-Identifier: MIT */
/**
 * record_batch: many records at once, out of batches and into them.
 *
 *     WEIR_RECORD_BATCH(order);            // after WEIR_RECORD(order, ORDER_FIELDS)
 *
 *     struct weir_batch orders;
 *     double prices[1000];
 *     weir_batch_init(&orders, pool, sizeof(struct order), WEIR__ALIGNOF(struct order), NULL);
 *     int rc = order_decode_batch(input, NULL, &orders, &fault);   // all that are in input
 *     size_t count = WEIR_RECORD_COLUMN(order, price, &orders, 0, prices, 1000);
 *     rc = order_encode_batch(&orders, &buf, &message);            // one after the other
 *
 * Bytes        the records one after the other, with nothing before, between or behind them; for an
 *              array of them begin with weir_pack_array().
 * Batches      are of items of exactly the record's struct (asserted). They hold what the records
 *              hold: strs stay in the input.
 * Errors       as record.h has them, and those of the batch. All records or none: after an error
 *              the batch is as before, and the buffer, too, at the message's end.
 * Threads      as batch, packer and cursor.
 * Cost         of packing one look at the buffer's room for each span of the batch, of reading one
 *              look at the batch's capacity for each span; no allocation beyond theirs.
 */
#ifndef WEIR_RECORD_BATCH_H
#define WEIR_RECORD_BATCH_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/batch.h>
#include <weir/record.h>

WEIR_BEGIN_DECLS

/**
 * Define what a record does in batches. Once, at file scope; for the record `order` this is:
 *
 *   void order_pack_batch(struct weir_packer *packer, const struct weir_batch *batch)
 *       Write all records of the batch, each as one value.
 *   int order_encode_batch(const struct weir_batch *batch, struct weir_buf *buf,
 *                          struct weir_view *ret)
 *       A message of them. @ret may be NULL. Of no records it is of no bytes.
 *   int order_unpack_batch(struct weir_unpacker *unpacker, size_t count_max,
 *                          struct weir_batch *batch, struct weir_record_fault *ret_fault)
 *       Read records to the end of the input, or @count_max of them, and add them to the batch.
 *       Returns 0 or the error, and then *ret_fault, unless it is NULL, tells where; an error of
 *       the batch (-ENOMEM, -ENOBUFS), which the cursor has then as well, at the first record that
 *       has no place.
 *   int order_decode_batch(struct weir_view input, const struct weir_limits *limits,
 *                          struct weir_batch *batch, struct weir_record_fault *ret_fault)
 *       All records that @input is.
 */
#define WEIR_RECORD_BATCH(NAME) WEIR_RECORD_BATCH_DEFINE(NAME)

/**
 * Copy one field of records of a batch into an array of the caller's.
 *
 * @field    of the schema of the batch's records; whether it is present is not looked at
 * @first    index of the first record
 * @ret      receives the members, side by side, each of field->size bytes
 * @count    how many fit @ret
 * Returns   how many there were from @first on, at most @count.
 * Cost      a load and a store for each.
 */
WEIR_API size_t weir_record_column(const struct weir_record_field *field,
                                   const struct weir_batch *batch, size_t first, void *ret,
                                   size_t count);

/** The same by names; that @ret is a pointer to what the field is the compiler sees. */
#define WEIR_RECORD_COLUMN(NAME, FIELD, batch, first, ret, count)                     \
    weir_record_column(&NAME##_schema.fields[NAME##_field_##FIELD], (batch), (first), \
                       (1 ? (ret) : &((struct NAME *)NULL)->FIELD), (count))

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: the batch could not grow: the cursor fails at what comes next. */
WEIR_API int weir_record_batch_fail(struct weir_unpacker *unpacker,
                                    const struct weir_record *schema, int error,
                                    struct weir_record_fault *ret_fault);

/* clang-format off */
#define WEIR_RECORD_BATCH_DEFINE(R)                                                               \
    WEIR_R_UNUSED WEIR_INLINE void R##_weir_pack_span(struct weir_packer *packer,                 \
                                                      const struct R *records, size_t count)      \
    {                                                                                             \
        struct weir_packer local = *packer;                                                       \
        uint64_t bytes = 8;                                                                       \
        for (size_t i = 0; i < count && bytes < WEIR_RECORD_TOO_LARGE; i++)                       \
            bytes += R##_weir_bytes(&records[i]);                                                 \
        if (WEIR_LIKELY(bytes <= weir_pack_room_bytes(&local))) {                                 \
            for (size_t i = 0; i < count; i++)                                                    \
                local.pos = R##_weir_put(local.buf, local.pos, &records[i]);                      \
            local.values += count;                                                                \
        } else {                                                                                  \
            for (size_t i = 0; i < count; i++)                                                    \
                R##_pack(&local, &records[i]);                                                    \
        }                                                                                         \
        *packer = local;                                                                          \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE void R##_pack_batch(struct weir_packer *packer,                     \
                                                  const struct weir_batch *batch)                 \
    {                                                                                             \
        assert(weir_batch_stride_bytes(batch) == sizeof(struct R));                               \
        for (size_t i = 0; i < weir_batch_batches(batch); i++) {                                  \
            struct weir_batch_span span = weir_batch_span(batch, i);                              \
            R##_weir_pack_span(packer, (const struct R *)span.items, span.count);                 \
        }                                                                                         \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE int R##_encode_batch(const struct weir_batch *batch,                \
                                                   struct weir_buf *buf, struct weir_view *ret)   \
    {                                                                                             \
        struct weir_packer packer;                                                                \
        weir_pack_begin(&packer, buf, 0);                                                         \
        R##_pack_batch(&packer, batch);                                                           \
        return weir_batch_count(batch) != 0 ? weir_pack_end(&packer, ret)                         \
                                            : weir_pack_end_values(&packer, 0, ret);              \
    }                                                                                             \
    /* Read up to @count records; how many they were. */                                          \
    WEIR_R_UNUSED WEIR_INLINE size_t R##_weir_read_span(struct weir_unpacker *unpacker,           \
                                                        struct R *ret, size_t count, int *rc,     \
                                                        struct weir_record_fault *ret_fault)      \
    {                                                                                             \
        struct weir_unpacker local = *unpacker;                                                   \
        size_t i = 0;                                                                             \
        for (; i < count && !weir_unpack_done(&local); i++) {                                     \
            uint64_t elements = 1;                                                                \
            const uint8_t *at = R##_weir_read(local.pos, local.end, &ret[i], &elements);          \
            if (WEIR_LIKELY(at != NULL && elements <= local.elements_left)) {                     \
                local.pos = at;                                                                   \
                local.elements_left -= elements;                                                  \
                continue;                                                                         \
            }                                                                                     \
            *rc = R##_unpack(&local, &ret[i], ret_fault);                                         \
            if (*rc != 0)                                                                         \
                break;                                                                            \
        }                                                                                         \
        *unpacker = local;                                                                        \
        return i;                                                                                 \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE int R##_unpack_batch(struct weir_unpacker *unpacker,                \
                                                   size_t count_max, struct weir_batch *batch,    \
                                                   struct weir_record_fault *ret_fault)           \
    {                                                                                             \
        size_t before = weir_batch_count(batch);                                                  \
        int rc = weir_unpack_error(unpacker);                                                     \
        assert(weir_batch_stride_bytes(batch) == sizeof(struct R));                               \
        if (rc != 0)                                                                              \
            return weir_record_batch_fail(unpacker, &R##_schema, rc, ret_fault);                  \
        while (rc == 0 && count_max != 0 && !weir_unpack_done(unpacker)) {                        \
            struct weir_batch_span span;                                                          \
            rc = weir_batch_add_span(batch, count_max, &span);                                    \
            if (rc != 0) {                                                                        \
                weir_record_batch_fail(unpacker, &R##_schema, rc, ret_fault);                     \
                break;                                                                            \
            }                                                                                     \
            size_t read = R##_weir_read_span(unpacker, (struct R *)span.items, span.count, &rc,   \
                                             ret_fault);                                          \
            weir_batch_truncate(batch, span.first + read);                                        \
            count_max -= read;                                                                    \
        }                                                                                         \
        if (rc != 0)                                                                              \
            weir_batch_truncate(batch, before);                                                   \
        return rc;                                                                                \
    }                                                                                             \
    WEIR_R_UNUSED WEIR_INLINE int R##_decode_batch(                                               \
        struct weir_view input, const struct weir_limits *limits, struct weir_batch *batch,       \
        struct weir_record_fault *ret_fault)                                                      \
    {                                                                                             \
        struct weir_unpacker unpacker;                                                            \
        weir_unpack_init(&unpacker, input, limits);                                               \
        return R##_unpack_batch(&unpacker, SIZE_MAX, batch, ret_fault);                           \
    }                                                                                             \
    static_assert(sizeof(struct R) != 0, "")
/* clang-format on */

WEIR_END_DECLS

#endif /* WEIR_RECORD_BATCH_H */
