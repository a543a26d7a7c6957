/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "weir/record_batch.h"
#include "record_private.h"
#include "unpack_private.h"

int weir_record_batch_fail(struct weir_unpacker *unpacker, const struct weir_record *schema,
                           int error, struct weir_record_fault *ret_fault)
{
    const struct weir__record_place place = {schema, NULL, ret_fault};

    weir__unpack_fail(unpacker, error);
    return weir__record_tell(unpacker, &place);
}

/* Members of a size that is a constant where this is called are moved by a load and a store. */
static inline __attribute__((always_inline)) void gather(uint8_t *to, const uint8_t *from,
                                                         size_t stride_bytes, size_t size_bytes,
                                                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memcpy(to, from, size_bytes);
        to += size_bytes;
        from += stride_bytes;
    }
}

size_t weir_record_column(const struct weir_record_field *field, const struct weir_batch *batch,
                          size_t first, void *ret, size_t count)
{
    size_t stride = weir_batch_stride_bytes(batch);
    size_t all = weir_batch_count(batch);
    uint8_t *to = (uint8_t *)ret;
    size_t done = 0;

    assert(field->size <= stride && field->offset <= stride - field->size);
    if (first >= all)
        return 0;
    if (count > all - first)
        count = all - first;
    while (done < count) {
        size_t index = first + done;
        struct weir_batch_span span = weir_batch_span(batch, index / weir_batch_batch_items(batch));
        size_t skipped = index - span.first;
        size_t here = span.count - skipped < count - done ? span.count - skipped : count - done;
        const uint8_t *from = (const uint8_t *)span.items + skipped * stride + field->offset;
        if (field->size == 8)
            gather(to, from, stride, 8, here);
        else if (field->size == 4)
            gather(to, from, stride, 4, here);
        else if (field->size == 1)
            gather(to, from, stride, 1, here);
        else if (field->size == sizeof(struct weir_view))
            gather(to, from, stride, sizeof(struct weir_view), here);
        else
            gather(to, from, stride, field->size, here);
        to += here * field->size;
        done += here;
    }
    return count;
}
