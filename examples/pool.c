/* SPDX-License-Identifier: MIT */
/* Two pools with one quota, on pages as large as can be had; what a small view costs; a trim. */
#include <stdio.h>
#include <string.h>

#include <weir.h>

static void released(void *context, void *data, size_t size_bytes)
{
    printf("%zu bytes of %s are free again\n", size_bytes, (const char *)data);
    *(bool *)context = true;
}

/* Memory of somebody else's, sliced and kept like any other. */
static int use_foreign(struct weir_pool *pool)
{
    static char literal[] = "a buffer of another library";
    bool done = false;
    struct weir_block *block;
    int rc = weir_block_adopt(pool, literal, sizeof literal, released, &done, &block);
    if (rc != 0)
        return rc;
    struct weir_slice word = weir_slice_adopt(weir_view_of(block->data + 2, 6), block);
    printf("%.*s\n", (int)word.view.size, (const char *)word.view.data);
    weir_slice_drop(&word); // the last reference
    return done ? 0 : -1;
}

/* A few bytes of a large block that are to be kept for long. */
static int keep_little(struct weir_pool *pool)
{
    struct weir_block *block;
    int rc = weir_pool_alloc(pool, 65536, &block);
    if (rc != 0)
        return rc;
    memset(block->data, '.', block->size);
    struct weir_slice little = weir_slice_adopt(weir_view_of(block->data + 100, 40), block);
    printf("%zu bytes pin %zu", little.view.size, weir_slice_pinned_bytes(&little));
    int64_t copied = weir_slice_compact(&little, pool, 1024); // if that lets go of 1 KiB
    printf(", then %zu\n", weir_slice_pinned_bytes(&little));
    weir_slice_drop(&little);
    return copied < 0 ? (int)copied : 0;
}

int main(void)
{
    static struct weir_huge_source huge;
    struct weir_quota quota;
    struct weir_pool *pools[2];
    struct weir_pool_stats stats;
    struct weir_block *blocks[1000];

    weir_huge_source_init(&huge, WEIR_PAGES_TRANSPARENT); // plain ones where there are none
    weir_quota_init(&quota, 5 << 20); // for both; each takes 2 MiB at a time, and its own pages
    const struct weir_pool_options options = {
        .source = &huge.source,
        .class_bytes = {128, 4096, 65536},
        .class_prealloc_blocks = {0, 16}, // there from the start
        .quota = &quota,
    };
    if (weir_pool_create(&options, &pools[0]) != 0 || use_foreign(pools[0]) != 0 ||
        keep_little(pools[0]) != 0)
        return 1;
    int count = 0;
    while (count < 1000 && weir_pool_alloc(pools[0], 3000, &blocks[count]) == 0)
        count++;
    int rc = weir_pool_create(&options, &pools[1]);
    printf("%d blocks; a second pool: %s\n", count, weir_error_name(rc));
    for (int i = 0; i < count; i++)
        weir_block_drop(blocks[i]);
    printf("a trim: %zu bytes\n", weir_pool_trim(pools[0], 0)); // of other threads: a request
    rc = weir_pool_create(&options, &pools[1]);
    weir_pool_stats(pools[0], &stats);
    printf("a second pool: %d; the first: %d allocations, %d misses, %d blocks in use\n", rc,
           (int)stats.total.allocations, (int)stats.total.misses, (int)stats.total.blocks_in_use);
    return weir_pool_destroy(pools[0]) != 0 || rc != 0 || weir_pool_destroy(pools[1]) != 0;
}
