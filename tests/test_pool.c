/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sizes of the default configuration that the exact figures below rest on. */
#define SEGMENT_BYTES ((uint64_t)2 << 20)

static const uint32_t default_classes[] = {64, 256, 1024, 4096, 16384, 65536};

static struct weir_pool_stats stats_of(const struct weir_pool *pool)
{
    struct weir_pool_stats stats;

    weir_pool_stats(pool, &stats);
    return stats;
}

static struct weir_block *take(struct weir_pool *pool, size_t size_bytes)
{
    struct weir_block *block = NULL;

    assert_int_equal(weir_pool_alloc(pool, size_bytes, &block), 0);
    assert_non_null(block);
    assert_true(block->size >= size_bytes);
    assert_true(block->size == weir_pool_block_bytes(pool, size_bytes));
    assert_true(weir_block_is_exclusive(block));
    assert_ptr_equal(weir_block_pool(block), pool);
    return block;
}

static struct weir_pool *create(const struct weir_pool_options *options)
{
    struct weir_pool *pool = NULL;

    assert_int_equal(weir_pool_create(options, &pool), 0);
    return pool;
}

/* --- the default source ---------------------------------------------------------------------- */

/* Pages of address space that the process has. */
static long mapped_pages(void)
{
    long pages = -1;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file != NULL) {
        if (fscanf(file, "%ld", &pages) != 1)
            pages = -1;
        fclose(file);
    }
    return pages;
}

static void the_default_source_maps_what_is_asked_for_and_no_more(void **state)
{
    const struct weir_source *source = weir_source_mmap();
    const long page_bytes = sysconf(_SC_PAGESIZE);

    (void)state;
    test_skip_unless(mapped_pages() > 0, "/proc/self/statm");
    (void)mapped_pages(); /* what reading it takes is taken by now */
    for (size_t align = 4096; align <= (size_t)64 << 20; align *= 4) {
        for (size_t size = 1 << 16; size <= (size_t)4 << 20; size *= 4) {
            long before = mapped_pages();
            uint8_t *memory = source->obtain(source->context, size, align);
            assert_non_null(memory);
            assert_int_equal((uintptr_t)memory % align, 0);
            assert_int_equal(mapped_pages() - before, (long)size / page_bytes);
            assert_int_equal(memory[0] | memory[size - 1], 0);
            memory[0] = memory[size - 1] = 1;
            source->release(source->context, memory, size);
            assert_int_equal(mapped_pages(), before);
        }
    }
    assert_null(source->obtain(source->context, SIZE_MAX - 4095, 1 << 21));
    assert_null(source->obtain(source->context, SIZE_MAX / 2, 4096));
}

/* A sanitizer has its own munmap. */
#define REFUSES_UNMAPPING (!TEST_ASAN && !TEST_TSAN)

#if REFUSES_UNMAPPING
static bool unmapping_is_refused;

int munmap(void *at, size_t size)
{
    if (unmapping_is_refused) {
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_munmap, at, size);
}

/* As when the process has as many mappings as it may have. */
static void what_cannot_be_unmapped_is_given_back_all_the_same(void **state)
{
    const struct weir_source *source = weir_source_mmap();
    const size_t size = (size_t)64 << 10;
    uint8_t *memory = source->obtain(source->context, size, 4096);

    (void)state;
    assert_non_null(memory);
    memset(memory, 1, size);
    unmapping_is_refused = true;
    source->release(source->context, memory, size);
    unmapping_is_refused = false;
    for (size_t i = 0; i < size; i++)
        assert_int_equal(memory[i], 0); /* of new pages */
    assert_int_equal(munmap(memory, size), 0);
}
#endif

/* --- configuration --------------------------------------------------------------------------- */

static void the_defaults_are_as_documented(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_pool_stats stats = stats_of(pool);

    (void)state;
    assert_int_equal(stats.class_count, 6);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(stats.classes[i].block_bytes, default_classes[i]);
    assert_int_equal(stats.segment_count, 0);
    assert_int_equal(stats.source_calls, 1);
    assert_int_equal(stats.total.allocations, 0);
    assert_int_equal(stats.bytes_held, stats.bytes_held_peak);
    assert_int_equal(stats.bytes_in_use_peak, 0);
    weir_block_drop(take(pool, 1));
    assert_int_equal(stats_of(pool).bytes_held, stats.bytes_held + SEGMENT_BYTES);
    test_pool_destroy(pool);
    assert_int_equal(weir_pool_destroy(NULL), 0);
}

static void a_bad_configuration_is_refused(void **state)
{
    static void *(*const no_obtain)(void *, size_t, size_t);
    static struct test_source source;
    const struct weir_source half = {no_obtain, source.source.release, NULL};
    const struct weir_pool_options bad[] = {
        {.class_bytes = {0, 64}},
        {.class_bytes = {64, 0, 128}},
        {.class_bytes = {63}},
        {.class_bytes = {100}},
        {.class_bytes = {128, 64}},
        {.class_bytes = {64, 64}},
        {.class_bytes = {(1 << 20) + 64}},
        {.class_bytes = {UINT32_MAX - 63}},
        {.segment_bytes = 3 << 20},
        {.segment_bytes = 4096},
        {.segment_bytes = 64 << 10},
        {.segment_bytes = (size_t)2 << 30},
        {.segment_bytes = SIZE_MAX},
        {.class_bytes = {1 << 20}, .segment_bytes = 1 << 20},
        {.class_bytes = {64}, .class_retain_bytes = {0, 1}},
        {.class_prealloc_blocks = {[6] = 1}},
        {.source = &half},
    };

    (void)state;
    test_source_init(&source);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct weir_pool_options options = bad[i];
        struct weir_pool *pool = NULL;
        if (options.source == NULL)
            options.source = &source.source;
        assert_int_equal(weir_pool_create(&options, &pool), -EINVAL);
        assert_null(pool);
    }
    assert_int_equal(source.calls, 0);
    test_source_fini(&source);
}

static void a_limit_below_the_bookkeeping_is_refused(void **state)
{
    static struct test_source source;
    struct weir_pool_options options = {.source = &source.source, .limit_bytes = 1};
    struct weir_pool *pool = NULL;

    (void)state;
    test_source_init(&source);
    assert_int_equal(weir_pool_create(&options, &pool), -ENOBUFS);
    options.limit_bytes = 4095;
    assert_int_equal(weir_pool_create(&options, &pool), -ENOBUFS);
    assert_int_equal(source.calls, 0);
    assert_null(pool);

    /* Exactly enough: the pool is there and can hand out nothing. */
    options.limit_bytes = 0;
    pool = create(&options);
    options.limit_bytes = source.outstanding_bytes;
    test_pool_destroy(pool);
    pool = create(&options);
    struct weir_block *block = NULL;
    assert_int_equal(weir_pool_alloc(pool, 1, &block), -ENOBUFS);
    assert_int_equal(weir_pool_alloc(pool, 100000, &block), -ENOBUFS);
    assert_null(block);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

/* Every size from 0 to beyond the largest class, against a search of the list. */
static void check_rounding(const struct weir_pool_options *options, size_t step)
{
    struct weir_pool *pool = create(options);
    struct weir_pool_stats stats = stats_of(pool);
    uint64_t largest = stats.classes[stats.class_count - 1].block_bytes;

    for (size_t size = 0; size <= largest; size += step) {
        uint32_t i = 0;
        while (stats.classes[i].block_bytes < size)
            i++;
        if (weir_pool_block_bytes(pool, size) != stats.classes[i].block_bytes)
            fail_msg("size %zu gets %zu", size, weir_pool_block_bytes(pool, size));
    }
    for (uint32_t i = 0; i < stats.class_count; i++) {
        uint64_t bytes = stats.classes[i].block_bytes;
        assert_int_equal(weir_pool_block_bytes(pool, bytes), bytes);
        assert_int_equal(weir_pool_block_bytes(pool, bytes - 63), bytes);
        weir_block_drop(take(pool, bytes));
        weir_block_drop(take(pool, bytes + 1));
    }
    /* Where the inline lookup ends, whatever the largest class is. */
    for (size_t size = WEIR__POOL_LOOKUP_BYTES - 1; size <= WEIR__POOL_LOOKUP_BYTES + 1; size++)
        weir_block_drop(take(pool, size));
    test_pool_destroy(pool);
}

static void every_size_gets_the_smallest_class_that_holds_it(void **state)
{
    const struct weir_pool_options lists[] = {
        {.class_bytes = {64}},
        {.class_bytes = {192}},
        {.class_bytes = {64, 128, 192, 256}},
        {.class_bytes = {64, 1536, 9024, 65536}},
        {.class_bytes =
             {64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960, 1024}},
    };
    const struct weir_pool_options big = {.class_bytes = {4096, 786432, 1 << 20}};

    (void)state;
    check_rounding(NULL, 1);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        check_rounding(&lists[i], 1);
    check_rounding(&big, 61);
}

static void sizes_at_the_ends_are_handled(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *block = (struct weir_block *)state;

    struct weir_block *least = take(pool, 0);
    assert_int_equal(least->size, 64);
    assert_int_equal(weir_pool_block_bytes(pool, 0), 64);
    assert_int_equal(weir_pool_block_bytes(pool, 65537), 65536 + 4096);
    assert_true(weir_pool_block_bytes(pool, SIZE_MAX) == SIZE_MAX);
    assert_true(weir_pool_block_bytes(pool, SIZE_MAX - 4094) == SIZE_MAX);
    assert_true(weir_pool_block_bytes(pool, SIZE_MAX - 4095) == SIZE_MAX - 4095);
    assert_int_equal(weir_pool_alloc(pool, SIZE_MAX, &block), -EOVERFLOW);
    assert_int_equal(weir_pool_alloc(pool, SIZE_MAX - 1, &block), -EOVERFLOW);
    assert_int_equal(weir_pool_alloc(pool, SIZE_MAX - 4094, &block), -EOVERFLOW);
    assert_int_equal(weir_pool_alloc(pool, SIZE_MAX - 4095, &block), -ENOMEM);
    assert_int_equal(weir_pool_alloc(pool, SIZE_MAX / 2 + 1, &block), -ENOMEM);
    assert_ptr_equal(block, state);
    assert_int_equal(weir_pool_destroy(pool), -EBUSY);
    assert_true(weir__pool_check(pool));
    weir_block_drop(NULL);

    /* The one from size 0 is the only one out. */
    weir_block_drop(least);
    test_pool_destroy(pool);
}

/* --- blocks ---------------------------------------------------------------------------------- */

static void blocks_are_aligned_to_their_class(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *blocks[6][20];

    (void)state;
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < 20; k++) {
            blocks[i][k] = take(pool, default_classes[i]);
            assert_int_equal((uintptr_t)blocks[i][k]->data % default_classes[i], 0);
        }
    }
    assert_true(weir__pool_check(pool));
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 20; k++)
            weir_block_drop(blocks[i][k]);
    struct weir_block *large = take(pool, 100000);
    assert_int_equal((uintptr_t)large->data % 4096, 0);
    weir_block_drop(large);
    test_pool_destroy(pool);
}

static void a_block_stays_while_it_has_a_holder(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *block = take(pool, 200);
    uint8_t *data = block->data;

    (void)state;
    test_fill(data, block->size, 1);
    assert_ptr_equal(weir_block_hold(block), block);
    assert_false(weir_block_is_exclusive(block));
    weir_block_drop(block);
    assert_true(weir_block_is_exclusive(block));
    struct weir_block *other = take(pool, 200);
    assert_ptr_not_equal(other, block);
    assert_ptr_equal(block->data, data);
    assert_true(test_is_filled(data, block->size, 1));
    weir_block_drop(other);
    weir_block_drop(block);
    assert_int_equal(stats_of(pool).total.releases, 2);
    test_pool_destroy(pool);
}

static void references_are_added_and_dropped_by_the_dozen(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *block = take(pool, 200);

    (void)state;
    weir_block_hold_many(block, 12);
    assert_false(weir_block_is_exclusive(block));
    for (int i = 0; i < 5; i++)
        weir_block_drop(block);
    assert_false(weir_block_is_exclusive(block));
    weir_block_drop_many(block, 7);
    assert_true(weir_block_is_exclusive(block));
    assert_int_equal(stats_of(pool).total.releases, 0);
    weir_block_drop(block);
    assert_int_equal(stats_of(pool).total.releases, 1);
    test_pool_destroy(pool);
}

static void the_block_dropped_last_is_taken_first(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *blocks[5];
    const uint8_t *data[5];

    (void)state;
    for (int i = 0; i < 5; i++)
        blocks[i] = take(pool, 256);
    /* Never used ones come in order of address. */
    for (int i = 1; i < 5; i++)
        assert_ptr_equal(blocks[i]->data, blocks[i - 1]->data + 256);
    for (int i = 0; i < 5; i++) {
        data[i] = blocks[i]->data;
        weir_block_drop(blocks[i]);
    }
    for (int i = 4; i >= 0; i--) {
        blocks[i] = take(pool, 256);
        assert_ptr_equal(blocks[i]->data, data[i]);
    }
    for (int i = 0; i < 5; i++)
        weir_block_drop(blocks[i]);
    test_pool_destroy(pool);
}

static void a_class_fills_its_segments_and_asks_for_another(void **state)
{
    static struct weir_block *blocks[6000];
    static struct test_source source;
    struct weir_pool_options options = {.source = &source.source, .segment_bytes = 512 << 10};

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = create(&options);
    for (int i = 0; i < 6000; i++) {
        blocks[i] = take(pool, 64);
        test_fill(blocks[i]->data, 64, (uint64_t)i);
    }
    /* 512 Ki hold four slabs of 1024 blocks and their descriptors. */
    struct weir_pool_stats stats = stats_of(pool);
    assert_int_equal(stats.segment_count, 2);
    assert_int_equal(stats.classes[0].misses, 2);
    assert_int_equal(stats.classes[0].hits, 5998);
    assert_int_equal(stats.bytes_in_use_peak, 6000 * 64);
    assert_true(weir__pool_check(pool));
    for (int i = 0; i < 6000; i++)
        assert_true(test_is_filled(blocks[i]->data, 64, (uint64_t)i));
    /* What is left of both segments serves a class that needs few descriptors. */
    for (int i = 0; i < 2; i++)
        weir_block_drop(take(pool, 65536));
    assert_int_equal(stats_of(pool).segment_count, 2);

    uint64_t calls = source.calls;
    for (int i = 0; i < 6000; i++)
        weir_block_drop(blocks[i]);
    for (int i = 0; i < 6000; i++)
        blocks[i] = take(pool, 64);
    assert_int_equal(source.calls, calls);
    for (int i = 0; i < 6000; i++)
        weir_block_drop(blocks[i]);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

static void segments_can_be_listed_and_found(void **state)
{
    enum { COUNT = 70 };
    struct weir_pool *pool = create(NULL);
    struct weir_block *blocks[COUNT];
    const uint8_t *bases[8] = {NULL};
    uint32_t count = 0;

    (void)state;
    assert_null(weir__pool_segment_next(pool, NULL));
    for (int i = 0; i < COUNT; i++)
        blocks[i] = take(pool, 65536);
    for (const struct weir__segment *segment = weir__pool_segment_next(pool, NULL); segment != NULL;
         segment = weir__pool_segment_next(pool, segment)) {
        assert_in_range(segment->index, 0, 7);
        assert_null(bases[segment->index]);
        bases[segment->index] = (const uint8_t *)segment;
        assert_int_equal((uintptr_t)segment % SEGMENT_BYTES, 0);
        count++;
    }
    assert_int_equal(count, 3); /* 31 blocks in each */
    assert_int_equal(count, stats_of(pool).segment_count);
    for (int i = 0; i < COUNT; i++) {
        int32_t index = weir__block_segment(blocks[i]);
        assert_in_range(index, 0, 2);
        assert_ptr_equal(weir__block_segment_base(blocks[i]), bases[index]);
        weir_block_drop(blocks[i]);
    }
    struct weir_block *large = take(pool, 65537);
    assert_int_equal(weir__block_segment(large), -1);
    weir_block_drop(large);
    test_pool_destroy(pool);
}

/* --- large blocks ---------------------------------------------------------------------------- */

static void a_large_block_is_kept_for_the_next_of_its_size(void **state)
{
    static struct test_source source;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    uint64_t calls = source.calls;
    struct weir_block *block = take(pool, 100000);
    uint8_t *data = block->data;
    assert_int_equal(block->size, 102400);
    weir_block_drop(block);
    for (int i = 0; i < 10; i++) {
        block = take(pool, 100001);
        assert_ptr_equal(block->data, data);
        weir_block_drop(block);
    }
    assert_int_equal(source.calls, calls + 1);
    struct weir_pool_stats stats = stats_of(pool);
    assert_int_equal(stats.large.allocations, 11);
    assert_int_equal(stats.large.hits, 10);
    assert_int_equal(stats.large.misses, 1);
    assert_int_equal(stats.large.block_bytes, 0);
    assert_int_equal(stats.segment_count, 0);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

static void a_kept_mapping_serves_what_is_little_smaller(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *large[3] = {
        take(pool, 100 << 12), take(pool, 110 << 12), take(pool, 200 << 12)};
    uint8_t *at[3] = {large[0]->data, large[1]->data, large[2]->data};

    (void)state;
    for (int i = 2; i >= 0; i--)
        weir_block_drop(large[i]);
    /* The smallest that fits; its size is what was asked for, in pages. */
    struct weir_block *block = take(pool, 101 << 12);
    assert_ptr_equal(block->data, at[1]);
    assert_int_equal(block->size, 101 << 12);
    assert_int_equal(stats_of(pool).large.bytes_in_use, 101 << 12);
    assert_true(weir__pool_check(pool));
    weir_block_drop(block);
    block = take(pool, 90 << 12);
    assert_ptr_equal(block->data, at[0]);
    weir_block_drop(block);
    block = take(pool, 160 << 12);
    assert_ptr_equal(block->data, at[2]);
    weir_block_drop(block);
    /* More than a quarter is not wasted: these are new. */
    assert_int_equal(stats_of(pool).large.misses, 3);
    block = take(pool, 159 << 12);
    assert_int_equal(stats_of(pool).large.misses, 4);
    weir_block_drop(block);
    block = take(pool, 79 << 12);
    assert_int_equal(stats_of(pool).large.misses, 5);
    weir_block_drop(block);
    /* The first of them once more in its full size. */
    block = take(pool, 110 << 12);
    assert_ptr_equal(block->data, at[1]);
    assert_int_equal(block->size, 110 << 12);
    weir_block_drop(block);
    test_pool_destroy(pool);
}

static void a_kept_mapping_is_not_wasted_on_what_is_much_smaller(void **state)
{
    struct weir_pool *pool = create(NULL);

    (void)state;
    weir_block_drop(take(pool, 190 << 12));
    weir_block_drop(take(pool, 152 << 12)); /* 190 is a quarter more */
    assert_int_equal(stats_of(pool).large.misses, 1);
    weir_block_drop(take(pool, 151 << 12));
    assert_int_equal(stats_of(pool).large.misses, 2);
    test_pool_destroy(pool);
}

static void the_oldest_large_blocks_are_given_back_first(void **state)
{
    static struct test_source source;
    struct weir_pool_options options = {.source = &source.source, .large_retain_bytes = 3 << 20};
    struct weir_block *blocks[4];

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = create(&options);
    size_t own_bytes = source.outstanding_bytes;
    for (int i = 0; i < 4; i++)
        blocks[i] = take(pool, 1 << 20);
    assert_int_equal(source.outstanding_bytes, own_bytes + (4 << 20));
    uint8_t *oldest = blocks[2]->data, *newest = blocks[3]->data;
    weir_block_drop(blocks[2]);
    weir_block_drop(blocks[1]);
    weir_block_drop(blocks[0]);
    assert_int_equal(source.outstanding_bytes, own_bytes + (4 << 20));
    weir_block_drop(blocks[3]);
    assert_int_equal(source.outstanding_bytes, own_bytes + (3 << 20));
    for (unsigned i = 0; i < source.piece_count; i++)
        assert_ptr_not_equal(source.pieces[i].memory, oldest);
    blocks[3] = take(pool, 1 << 20);
    assert_ptr_equal(blocks[3]->data, newest);
    /* One above the bound is not kept at all, and costs none of the others its place. */
    struct weir_block *huge = take(pool, 4 << 20);
    weir_block_drop(huge);
    assert_int_equal(source.outstanding_bytes, own_bytes + (3 << 20));
    assert_true(weir__pool_check(pool));
    weir_block_drop(blocks[3]);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

static void many_large_blocks_at_a_time_are_no_trouble(void **state)
{
    enum { COUNT = 500 };
    static struct test_source source;
    static struct weir_block *blocks[COUNT];

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = take(pool, 70000 + i * 4096);
            test_fill(blocks[i]->data, 100, i);
        }
        for (size_t i = 0; i < COUNT; i++)
            assert_true(test_is_filled(blocks[i]->data, 100, i));
        assert_true(weir__pool_check(pool));
        for (size_t i = 0; i < COUNT; i++)
            weir_block_drop(blocks[(i * 7) % COUNT]);
        assert_true(weir__pool_check(pool));
    }
    test_pool_destroy(pool);
    test_source_fini(&source);
}

/* --- limits ---------------------------------------------------------------------------------- */

static void the_limit_is_never_passed(void **state)
{
    static struct test_source source;
    static struct weir_block *blocks[4000];
    const size_t limit_bytes = 1536 << 10;
    struct weir_pool_options options = {
        .source = &source.source, .segment_bytes = 512 << 10, .limit_bytes = limit_bytes};
    struct weir_block *block = NULL;
    int count = 0;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = create(&options);
    while (count < 4000 && weir_pool_alloc(pool, 1024, &blocks[count]) == 0)
        count++;
    assert_int_equal(stats_of(pool).segment_count, 2);
    assert_true(source.outstanding_bytes <= limit_bytes);
    struct weir_pool_stats before = stats_of(pool);
    uint64_t calls = source.calls;
    assert_int_equal(weir_pool_alloc(pool, 1024, &block), -ENOBUFS);
    assert_int_equal(weir_pool_alloc(pool, 1 << 20, &block), -ENOBUFS);
    assert_null(block);
    assert_int_equal(source.calls, calls);
    struct weir_pool_stats after = stats_of(pool);
    assert_memory_equal(&before, &after, sizeof before);
    assert_true(weir__pool_check(pool));

    weir_block_drop(blocks[--count]);
    assert_int_equal(weir_pool_alloc(pool, 1024, &blocks[count]), 0);
    count++;
    /* There is room for a large block up to the last byte. */
    size_t left = (limit_bytes - source.outstanding_bytes) & ~(size_t)4095;
    assert_int_equal(weir_pool_alloc(pool, left + 1, &block), -ENOBUFS);
    assert_int_equal(weir_pool_alloc(pool, left, &block), 0);
    assert_true(limit_bytes - source.outstanding_bytes < 4096);
    weir_block_drop(block);
    while (count > 0)
        weir_block_drop(blocks[--count]);
    assert_true(source.outstanding_peak_bytes <= limit_bytes);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

static void at_the_limit_kept_large_blocks_give_way(void **state)
{
    static struct test_source source;
    struct weir_pool_options options = {.source = &source.source, .limit_bytes = 4 << 20};
    struct weir_block *large[3], *block;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = create(&options);
    for (int i = 0; i < 3; i++)
        large[i] = take(pool, 1 << 20);
    for (int i = 0; i < 3; i++)
        weir_block_drop(large[i]);
    /* It could not be had even then: nothing is given back for nothing. */
    size_t held = source.outstanding_bytes;
    assert_int_equal(weir_pool_alloc(pool, 4 << 20, &block), -ENOBUFS);
    assert_int_equal(source.outstanding_bytes, held);
    /* A segment of 2 MiB takes the place of two of them. */
    block = take(pool, 64);
    assert_int_equal(source.outstanding_bytes, held);
    assert_int_equal(stats_of(pool).bytes_held, held);
    assert_true(weir__pool_check(pool));
    weir_block_drop(block);
    test_pool_destroy(pool);
    assert_true(source.outstanding_peak_bytes <= 4 << 20);
    test_source_fini(&source);
}

/* --- failure --------------------------------------------------------------------------------- */

#define SCRIPT_BLOCKS 400

/* Something of everything; returns the first error. */
static int script(struct test_source *source)
{
    struct weir_pool_options options = {.source = &source->source, .segment_bytes = 512 << 10};
    static struct weir_block *blocks[SCRIPT_BLOCKS];
    uint8_t foreign[8];
    struct weir_pool *pool;
    int count = 0;
    int rc = weir_pool_create(&options, &pool);

    if (rc < 0)
        return rc;
    while (count < SCRIPT_BLOCKS) {
        size_t size = count % 3 == 0 ? 16000 : count % 3 == 1 ? 70000 : 100;
        struct weir_pool_stats before = stats_of(pool);
        rc = count % 8 == 7 ? weir_block_adopt(pool, foreign, 8, NULL, NULL, &blocks[count])
                            : weir_pool_alloc(pool, size, &blocks[count]);
        assert_true(weir__pool_check(pool));
        if (rc < 0) {
            struct weir_pool_stats after = stats_of(pool);
            /* As before, but for the attempt and what was held for a moment. */
            after.source_calls = before.source_calls;
            after.bytes_held_peak = before.bytes_held_peak;
            assert_memory_equal(&before, &after, sizeof before);
            break;
        }
        blocks[count]->data[0] = 1;
        count++;
    }
    int first_error = rc;
    while (count < SCRIPT_BLOCKS && rc < 0) {
        /* The source works again, and so does the pool. */
        rc = weir_pool_alloc(pool, 16000, &blocks[count]);
        assert_int_equal(rc, 0);
        count++;
    }
    while (count > 0)
        weir_block_drop(blocks[--count]);
    test_pool_destroy(pool);
    return first_error;
}

static void every_call_of_the_source_may_fail(void **state)
{
    static struct test_source source;
    uint64_t rounds = 0;

    (void)state;
    for (uint64_t n = 1;; n++) {
        test_source_init(&source);
        test_source_fail(&source, n);
        int rc = script(&source);
        test_source_fini(&source);
        if (source.failures == 0) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
        rounds++;
    }
    assert_true(rounds > 100);
}

static void destroy_refuses_while_blocks_are_out(void **state)
{
    static struct test_source source;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    struct weir_block *small = take(pool, 64), *large = take(pool, 1 << 20);
    test_fill(small->data, 64, 1);
    assert_int_equal(weir_pool_destroy(pool), -EBUSY);
    assert_true(weir__pool_check(pool));
    weir_block_drop(large);
    assert_int_equal(weir_pool_destroy(pool), -EBUSY);
    assert_true(test_is_filled(small->data, 64, 1));
    struct weir_block *another = take(pool, 64);
    weir_block_drop(small);
    assert_int_equal(weir_pool_destroy(pool), -EBUSY);
    weir_block_drop(another);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

/* --- statistics ------------------------------------------------------------------------------ */

static void counters_are_exact(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *blocks[10];

    (void)state;
    uint64_t own_bytes = stats_of(pool).bytes_held;
    for (int i = 0; i < 10; i++)
        blocks[i] = take(pool, 300);
    for (int i = 0; i < 4; i++)
        weir_block_drop(blocks[i]);
    struct weir_block *large = take(pool, 200000);
    struct weir_block *seventh = take(pool, 300);
    assert_int_equal(stats_of(pool).bytes_in_use_peak, 7 * 1024 + 200704);
    weir_block_drop(seventh);

    struct weir_pool_stats stats = stats_of(pool);
    const struct weir_pool_class_stats kibi = {.block_bytes = 1024,
                                               .allocations = 11,
                                               .hits = 10,
                                               .misses = 1,
                                               .releases = 5,
                                               .remote_releases = 0,
                                               .blocks_in_use = 6,
                                               .bytes_in_use = 6144};
    const struct weir_pool_class_stats big = {.block_bytes = 0,
                                              .allocations = 1,
                                              .hits = 0,
                                              .misses = 1,
                                              .releases = 0,
                                              .remote_releases = 0,
                                              .blocks_in_use = 1,
                                              .bytes_in_use = 200704};
    const struct weir_pool_class_stats total = {.block_bytes = 0,
                                                .allocations = 12,
                                                .hits = 10,
                                                .misses = 2,
                                                .releases = 5,
                                                .remote_releases = 0,
                                                .blocks_in_use = 7,
                                                .bytes_in_use = 6144 + 200704};
    assert_memory_equal(&stats.classes[2], &kibi, sizeof kibi);
    assert_memory_equal(&stats.large, &big, sizeof big);
    assert_memory_equal(&stats.total, &total, sizeof total);
    assert_int_equal(stats.bytes_in_use_peak, 7 * 1024 + 200704);
    assert_int_equal(stats.class_peak_blocks[2], 10);
    assert_int_equal(stats.bytes_held, own_bytes + SEGMENT_BYTES + 200704);
    assert_int_equal(stats.bytes_held_peak, stats.bytes_held);
    assert_int_equal(stats.source_calls, 3);
    assert_int_equal(stats.segment_count, 1);

    weir_block_drop(large);
    for (int i = 4; i < 10; i++)
        weir_block_drop(blocks[i]);
    stats = stats_of(pool);
    assert_int_equal(stats.total.bytes_in_use, 0);
    assert_int_equal(stats.total.blocks_in_use, 0);
    assert_int_equal(stats.bytes_in_use_peak, 7 * 1024 + 200704);
    test_pool_destroy(pool);
}

/* --- random use ------------------------------------------------------------------------------ */

#define SLOTS 400

struct slot {
    struct weir_block *block;
    unsigned holders;
    uint64_t tag;
};

static void check_slot(const struct slot *slot)
{
    if (!test_is_filled(slot->block->data, slot->block->size, slot->tag))
        fail_msg("a block of %zu bytes has lost its content", slot->block->size);
}

static void random_step(struct weir_pool *pool, struct test_random *random, struct slot *slot)
{
    if (slot->block == NULL) {
        size_t size = test_random_size(random, 1 << 17);
        int rc = weir_pool_alloc(pool, size, &slot->block);
        if (rc == -ENOBUFS) {
            slot->block = NULL;
            return;
        }
        assert_int_equal(rc, 0);
        assert_true(slot->block->size >= size);
        slot->holders = 1;
        slot->tag = test_random(random);
        test_fill(slot->block->data, slot->block->size, slot->tag);
    } else if (test_random_below(random, 3) == 0) {
        weir_block_hold(slot->block);
        slot->holders++;
    } else {
        check_slot(slot);
        assert_int_equal(weir_block_is_exclusive(slot->block), slot->holders == 1);
        weir_block_drop(slot->block);
        if (--slot->holders == 0)
            slot->block = NULL;
    }
}

static void random_use_keeps_every_content(void **state)
{
    static struct slot slots[SLOTS];
    static struct test_source source;
    struct test_random random;
    const struct weir_pool_options configurations[] = {
        {.limit_bytes = 0},
        {.class_bytes = {64, 192, 1536, 9024, 65536}, .limit_bytes = 6 << 20},
        {.class_bytes = {4096}, .segment_bytes = 512 << 10, .large_retain_bytes = 1 << 20},
    };

    (void)state;
    test_random_init(&random);
    for (size_t i = 0; i < sizeof configurations / sizeof configurations[0]; i++) {
        struct weir_pool_options options = configurations[i];
        test_source_init(&source);
        options.source = &source.source;
        struct weir_pool *pool = create(&options);
        for (int step = 0; step < 20000; step++) {
            random_step(pool, &random, &slots[test_random_below(&random, SLOTS)]);
            if (step % 1000 == 0)
                assert_true(weir__pool_check(pool));
        }
        assert_int_equal(stats_of(pool).bytes_held, source.outstanding_bytes);
        assert_int_equal(stats_of(pool).bytes_held_peak, source.outstanding_peak_bytes);
        for (int k = 0; k < SLOTS; k++) {
            for (; slots[k].holders > 0; slots[k].holders--) {
                check_slot(&slots[k]);
                weir_block_drop(slots[k].block);
            }
            slots[k].block = NULL;
        }
        test_pool_destroy(pool);
        test_source_fini(&source);
    }
}

/* --- threads --------------------------------------------------------------------------------- */

struct crowd {
    pthread_t thread;
    struct weir_block **blocks;
    size_t count;
    bool good;
};

static void *drop_all(void *argument)
{
    struct crowd *crowd = argument;

    crowd->good = true;
    for (size_t i = 0; i < crowd->count; i++) {
        struct weir_block *block = crowd->blocks[i];
        crowd->good &= test_is_filled(block->data, 64, (uintptr_t)block);
        weir_block_drop(block);
    }
    return NULL;
}

static void what_other_threads_drop_comes_back(void **state)
{
    enum { THREADS = 4, EACH = 200 };
    struct weir_pool *pool = create(NULL);
    struct weir_block *blocks[THREADS * EACH];
    struct crowd crowd[THREADS];

    (void)state;
    for (size_t i = 0; i < THREADS * EACH; i++) {
        blocks[i] = take(pool, i % 10 == 0 ? 70000 : 64 + i);
        test_fill(blocks[i]->data, 64, (uintptr_t)blocks[i]);
    }
    for (size_t t = 0; t < THREADS; t++) {
        crowd[t].blocks = blocks + t * EACH;
        crowd[t].count = EACH;
        assert_int_equal(pthread_create(&crowd[t].thread, NULL, drop_all, &crowd[t]), 0);
    }
    for (size_t t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(crowd[t].thread, NULL), 0);
        assert_true(crowd[t].good);
    }
    /* Not seen by the owner yet. */
    assert_int_equal(stats_of(pool).total.blocks_in_use, THREADS * EACH);
    assert_true(weir__pool_check(pool));
    assert_int_equal(weir_pool_reclaim(pool), THREADS * EACH);
    assert_int_equal(weir_pool_reclaim(pool), 0);
    struct weir_pool_stats stats = stats_of(pool);
    assert_int_equal(stats.total.releases, THREADS * EACH);
    assert_int_equal(stats.total.remote_releases, THREADS * EACH);
    assert_int_equal(stats.large.remote_releases, THREADS * EACH / 10);
    assert_int_equal(stats.total.bytes_in_use, 0);
    test_pool_destroy(pool);
}

static void run_elsewhere(void *(*function)(void *), void *argument)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, function, argument), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void *drop_one(void *argument)
{
    weir_block_drop(argument);
    return NULL;
}

static void an_empty_class_takes_back_before_it_grows(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *block = take(pool, 100), *large = take(pool, 100000);
    struct weir_pool_stats before = stats_of(pool);

    (void)state;
    run_elsewhere(drop_one, block);
    run_elsewhere(drop_one, large);
    const uint8_t *data = block->data;
    block = take(pool, 100);
    assert_ptr_equal(block->data, data);
    assert_int_equal(stats_of(pool).total.remote_releases, 2);
    struct weir_block *again = take(pool, 100000);
    assert_ptr_equal(again->data, large->data);
    struct weir_pool_stats after = stats_of(pool);
    assert_int_equal(after.source_calls, before.source_calls);
    assert_int_equal(after.total.hits, before.total.hits + 2);
    run_elsewhere(drop_one, again);
    /* A large one is taken back for the sake of a large one as well. */
    again = take(pool, 100000);
    assert_ptr_equal(again->data, large->data);
    weir_block_drop(again);
    weir_block_drop(block);
    test_pool_destroy(pool);
}

static void destroy_takes_back_what_other_threads_dropped(void **state)
{
    static struct test_source source;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    struct weir_block *block = take(pool, 100);
    weir_block_hold(block);
    run_elsewhere(drop_one, block);
    assert_int_equal(weir_pool_destroy(pool), -EBUSY);
    run_elsewhere(drop_one, block);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

/* Blocks go round between the owner and threads that check and drop them, in a ring of slots. */
#define RING_SLOTS 64

struct ring {
    struct weir_block *slots[RING_SLOTS];
    pthread_t thread;
    bool stop;
    uint64_t bad;
};

static void *drop_from_ring(void *argument)
{
    struct ring *ring = argument;
    bool stop = false;

    while (!stop) {
        stop = __atomic_load_n(&ring->stop, __ATOMIC_ACQUIRE);
        for (int i = 0; i < RING_SLOTS; i++) {
            struct weir_block *block = __atomic_exchange_n(&ring->slots[i], NULL, __ATOMIC_ACQ_REL);
            if (block == NULL)
                continue;
            weir_block_hold(block);
            weir_block_drop(block);
            if (!test_is_filled(block->data, 64, (uintptr_t)block))
                ring->bad++;
            weir_block_drop(block);
        }
    }
    return NULL;
}

static void owner_turn(struct weir_pool *pool, struct ring *rings, int ring_count, int turn)
{
    struct ring *ring = &rings[turn % ring_count];
    struct weir_block **slot = &ring->slots[(turn / ring_count) % RING_SLOTS];

    if (__atomic_load_n(slot, __ATOMIC_ACQUIRE) != NULL)
        return;
    struct weir_block *block = take(pool, turn % 50 == 0 ? 70000 : 64U << (turn % 4 * 2));
    test_fill(block->data, 64, (uintptr_t)block);
    /* Every third has two holders, of which the owner is one. */
    if (turn % 3 == 0) {
        weir_block_hold(block);
        __atomic_store_n(slot, block, __ATOMIC_RELEASE);
        weir_block_drop(block);
    } else {
        __atomic_store_n(slot, block, __ATOMIC_RELEASE);
    }
}

static void threads_may_drop_while_the_owner_allocates(void **state)
{
    enum { THREADS = 3 };
    static struct ring rings[THREADS];
    const int turns = 60000;
    struct weir_pool *pool = create(NULL);

    (void)state;
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&rings[t].thread, NULL, drop_from_ring, &rings[t]), 0);
    for (int turn = 0; turn < turns; turn++) {
        owner_turn(pool, rings, THREADS, turn);
        if (turn % 5000 == 0)
            assert_true(weir__pool_check(pool));
    }
    for (int t = 0; t < THREADS; t++) {
        __atomic_store_n(&rings[t].stop, true, __ATOMIC_RELEASE);
        assert_int_equal(pthread_join(rings[t].thread, NULL), 0);
        assert_int_equal(rings[t].bad, 0);
    }
    (void)weir_pool_reclaim(pool);
    struct weir_pool_stats stats = stats_of(pool);
    assert_int_equal(stats.total.blocks_in_use, 0);
    assert_int_equal(stats.total.releases, stats.total.allocations);
    assert_true(stats.total.remote_releases > 0);
    test_pool_destroy(pool);
}

struct reader {
    const struct weir_pool *pool;
    bool stop;
    uint64_t seen;
};

static void *read_statistics(void *argument)
{
    struct reader *reader = argument;

    while (!__atomic_load_n(&reader->stop, __ATOMIC_ACQUIRE)) {
        struct weir_pool_stats stats = stats_of(reader->pool);
        if (stats.total.allocations > reader->seen)
            reader->seen = stats.total.allocations;
    }
    return NULL;
}

static void any_thread_may_read_the_statistics(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct reader reader = {.pool = pool};
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, read_statistics, &reader), 0);
    for (int i = 0; i < 20000; i++)
        weir_block_drop(take(pool, i % 100 == 0 ? 80000 : 500));
    __atomic_store_n(&reader.stop, true, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(reader.seen <= 20000);
    test_pool_destroy(pool);
}

/* --- misuse that is caught ------------------------------------------------------------------- */

#ifndef NDEBUG
static void drop_twice(void *context)
{
    struct weir_block *block = context;

    weir_block_drop(block);
    weir_block_drop(block);
}

static void dropping_twice_is_caught(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *block = take(pool, 100);

    (void)state;
    assert_true(test_dies(drop_twice, block));
    weir_block_drop(block);
    test_pool_destroy(pool);
}

static void *alloc_as_a_stranger(void *argument)
{
    struct weir_block *block;

    return weir_pool_alloc(argument, 100, &block) == 0 ? argument : NULL;
}

static void be_a_stranger(void *context)
{
    run_elsewhere(alloc_as_a_stranger, context);
}

static void allocating_on_another_thread_is_caught(void **state)
{
    struct weir_pool *pool = create(NULL);

    (void)state;
    assert_true(test_dies(be_a_stranger, pool));
    test_pool_destroy(pool);
}
#endif

#if TEST_ASAN
struct touch {
    uint8_t *at;
};

static void touch(void *context)
{
    *(volatile uint8_t *)((struct touch *)context)->at = 1;
}

static void touching_a_dropped_block_is_caught(void **state)
{
    static const size_t sizes[] = {1, 64, 4096, 65536, 100000};
    struct weir_pool *pool = create(NULL);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct weir_block *block = take(pool, sizes[i]);
        struct touch first = {block->data}, last = {block->data + block->size - 1};
        assert_false(test_dies(touch, &first));
        assert_false(test_dies(touch, &last));
        weir_block_drop(block);
        assert_true(test_dies(touch, &first));
        assert_true(test_dies(touch, &last));
        block = take(pool, sizes[i]);
        assert_false(test_dies(touch, &first));
        assert_false(test_dies(touch, &last));
        run_elsewhere(drop_one, block);
        assert_true(test_dies(touch, &first));
    }
    test_pool_destroy(pool);
}

static void touching_what_was_never_handed_out_is_caught(void **state)
{
    struct weir_pool *pool = create(NULL);
    struct weir_block *block = take(pool, 64), *large;
    struct touch beyond = {block->data + 64};

    (void)state;
    assert_true(test_dies(touch, &beyond));
    weir_block_drop(block);
    /* A kept mapping that is larger than the block. */
    weir_block_drop(take(pool, 50 << 12));
    large = take(pool, 49 << 12);
    beyond.at = large->data + large->size;
    assert_int_equal(stats_of(pool).large.misses, 1);
    assert_true(test_dies(touch, &beyond));
    weir_block_drop(large);
    test_pool_destroy(pool);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_source_maps_what_is_asked_for_and_no_more),
#if REFUSES_UNMAPPING
        cmocka_unit_test(what_cannot_be_unmapped_is_given_back_all_the_same),
#endif
        cmocka_unit_test(the_defaults_are_as_documented),
        cmocka_unit_test(a_bad_configuration_is_refused),
        cmocka_unit_test(a_limit_below_the_bookkeeping_is_refused),
        cmocka_unit_test(every_size_gets_the_smallest_class_that_holds_it),
        cmocka_unit_test(sizes_at_the_ends_are_handled),
        cmocka_unit_test(blocks_are_aligned_to_their_class),
        cmocka_unit_test(a_block_stays_while_it_has_a_holder),
        cmocka_unit_test(references_are_added_and_dropped_by_the_dozen),
        cmocka_unit_test(the_block_dropped_last_is_taken_first),
        cmocka_unit_test(a_class_fills_its_segments_and_asks_for_another),
        cmocka_unit_test(segments_can_be_listed_and_found),
        cmocka_unit_test(a_large_block_is_kept_for_the_next_of_its_size),
        cmocka_unit_test(a_kept_mapping_serves_what_is_little_smaller),
        cmocka_unit_test(a_kept_mapping_is_not_wasted_on_what_is_much_smaller),
        cmocka_unit_test(the_oldest_large_blocks_are_given_back_first),
        cmocka_unit_test(many_large_blocks_at_a_time_are_no_trouble),
        cmocka_unit_test(the_limit_is_never_passed),
        cmocka_unit_test(at_the_limit_kept_large_blocks_give_way),
        cmocka_unit_test(every_call_of_the_source_may_fail),
        cmocka_unit_test(destroy_refuses_while_blocks_are_out),
        cmocka_unit_test(counters_are_exact),
        cmocka_unit_test(random_use_keeps_every_content),
        cmocka_unit_test(what_other_threads_drop_comes_back),
        cmocka_unit_test(an_empty_class_takes_back_before_it_grows),
        cmocka_unit_test(destroy_takes_back_what_other_threads_dropped),
        cmocka_unit_test(threads_may_drop_while_the_owner_allocates),
        cmocka_unit_test(any_thread_may_read_the_statistics),
#ifndef NDEBUG
        cmocka_unit_test(dropping_twice_is_caught),
        cmocka_unit_test(allocating_on_another_thread_is_caught),
#endif
#if TEST_ASAN
        cmocka_unit_test(touching_a_dropped_block_is_caught),
        cmocka_unit_test(touching_what_was_never_handed_out_is_caught),
#endif
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
