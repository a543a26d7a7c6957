/* SPDX-License-Identifier: MIT */
#include "vec.h"

#include <errno.h>
#include <string.h>

void vec_init(struct vec *vec, struct weir_pool *pool)
{
    vec->pool = pool;
    vec->block = NULL;
    vec->size = 0;
}

void vec_fini(struct vec *vec)
{
    weir_block_drop(vec->block);
    vec_init(vec, vec->pool);
}

int vec_reserve(struct vec *vec, size_t extra_bytes)
{
    size_t capacity = vec->block == NULL ? 0 : vec->block->size;
    size_t need;
    struct weir_block *block;

    if (extra_bytes <= capacity - vec->size)
        return 0;
    if (weir_add_overflows(vec->size, extra_bytes, &need))
        return -EOVERFLOW;
    if (capacity <= SIZE_MAX / 2 && need < 2 * capacity)
        need = 2 * capacity;
    int rc = weir_pool_alloc(vec->pool, need, &block);
    if (rc < 0)
        return rc;
    if (vec->size != 0)
        memcpy(block->data, vec->block->data, vec->size);
    weir_block_drop(vec->block);
    vec->block = block;
    return 0;
}

int vec_append(struct vec *vec, struct weir_view bytes)
{
    int rc = vec_reserve(vec, bytes.size);

    if (rc == 0 && bytes.size != 0) {
        memcpy(vec->block->data + vec->size, bytes.data, bytes.size);
        vec->size += bytes.size;
    }
    return rc;
}
