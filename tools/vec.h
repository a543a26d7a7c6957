/* SPDX-License-Identifier: MIT */
/* vec: bytes that grow, in a block of a pool. A pointer into them dies when they grow. */
#ifndef TOOLS_VEC_H
#define TOOLS_VEC_H

#include <stddef.h>
#include <stdint.h>

#include <weir/pool.h>
#include <weir/view.h>

struct vec {
    struct weir_pool *pool;
    struct weir_block *block; /* NULL: nothing yet */
    size_t size;
};

void vec_init(struct vec *vec, struct weir_pool *pool);

/* Give the memory back. Takes a zeroed vec. */
void vec_fini(struct vec *vec);

/* Make room for @extra_bytes behind the end. Returns 0, -ENOMEM, -ENOBUFS, -EOVERFLOW. */
int vec_reserve(struct vec *vec, size_t extra_bytes);

/* Append a copy of @bytes. Returns as vec_reserve(). */
int vec_append(struct vec *vec, struct weir_view bytes);

/* The first byte; NULL as long as nothing was reserved. */
static inline uint8_t *vec_data(const struct vec *vec)
{
    return vec->block == NULL ? NULL : vec->block->data;
}

#endif
