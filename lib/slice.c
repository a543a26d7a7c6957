/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <weir/slice.h>

int64_t weir_slice_compact(struct weir_slice *slice, struct weir_pool *pool, size_t threshold_bytes)
{
    struct weir_block *old = slice->block;
    size_t size = slice->view.size;

    assert(old == NULL || size == 0 ||
           (size <= old->size && (size_t)(slice->view.data - old->data) <= old->size - size));
    if (threshold_bytes == 0)
        threshold_bytes = 1;
    if (old == NULL)
        return 0;
    size_t fitting = size == 0 ? 0 : weir_pool_block_bytes(pool, size);
    if (fitting >= old->size || old->size - fitting < threshold_bytes)
        return 0;
    if (size == 0) {
        weir_slice_drop(slice);
        return 0;
    }

    struct weir_block *block;
    int rc = weir_pool_alloc(pool, size, &block);
    if (rc < 0)
        return rc;
    memcpy(block->data, slice->view.data, size);
    slice->view.data = block->data;
    slice->block = block;
    weir_block_drop(old);
    return (int64_t)size;
}
