/* SPDX-License-Identifier: MIT */
/*
 * What tests/test_valgrind.sh runs under memcheck, and tests/test_mixed.sh with libraries that are
 * built otherwise: use_after_drop HOW. Exit status 0 unless the library itself fails; what is wrong
 * is the tools' to say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/slice.h>

static struct weir_block *take(struct weir_pool *pool, size_t size_bytes)
{
    struct weir_block *block = NULL;

    if (weir_pool_alloc(pool, size_bytes, &block) != 0)
        exit(2);
    memset(block->data, 1, block->size);
    return block;
}

/* All as it should be: many sizes, dropped and taken again, slabs that change their class. */
static int use_well(struct weir_pool *pool)
{
    unsigned sum = 0;

    for (size_t size = 1; size <= 200000; size = size * 3 + 1) {
        struct weir_block *blocks[50];
        for (int i = 0; i < 50; i++)
            blocks[i] = take(pool, size);
        for (int i = 0; i < 50; i++) {
            sum += blocks[i]->data[blocks[i]->size - 1];
            weir_block_drop(blocks[i]);
        }
        (void)weir_pool_trim(pool, 0);
    }
    return sum == 0;
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "well";
    struct weir_pool *pool;
    int failed = 0;

    if (weir_pool_create(NULL, &pool) != 0)
        return 2;
    struct weir_block *block = take(pool, strcmp(how, "large") == 0 ? 100000 : 256);
    const volatile uint8_t *data = block->data;
    const void *block_bytes = block->data;
    if (strcmp(how, "well") == 0)
        failed = use_well(pool);
    else if (strcmp(how, "beyond") == 0)
        printf("%u\n", data[256]);
    weir_block_drop(block);
    if (strcmp(how, "twice") == 0)
        weir_block_drop(block);
    else if (strcmp(how, "held") == 0)
        block = weir_block_hold(block);
    else if (strcmp(how, "printed") == 0)
        printf("%.1s\n", (const char *)block_bytes);
    else if (strcmp(how, "dropped") == 0 || strcmp(how, "large") == 0)
        printf("%u\n", data[10]);
    else if (strcmp(how, "trimmed") == 0) {
        /* The slab is free and belongs to nobody. */
        (void)weir_pool_trim(pool, SIZE_MAX);
        printf("%u\n", data[10]);
    } else if (strcmp(how, "content") == 0) {
        /* A block comes with no content, whatever was in it before. */
        if (weir_pool_alloc(pool, 256, &block) != 0)
            return 2;
        printf("%s\n", block->data[3] == 1 ? "one" : "other");
        weir_block_drop(block);
    }
    return weir_pool_destroy(pool) != 0 || failed;
}
