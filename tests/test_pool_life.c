/* SPDX-License-Identifier: MIT */
/* Pools whose thread ends, the calling thread's own pool, and memory that is not the pool's. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static struct weir_block *take(struct weir_pool *pool, size_t size_bytes)
{
    struct weir_block *block = NULL;

    assert_int_equal(weir_pool_alloc(pool, size_bytes, &block), 0);
    return block;
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

/* --- abandoned pools ------------------------------------------------------------------------- */

static void a_pool_without_blocks_is_gone_when_abandoned(void **state)
{
    static struct test_source source;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    weir_block_drop(take(pool, 100));
    run_elsewhere(drop_one, take(pool, 100000)); /* on its way home */
    weir_pool_abandon(pool);
    test_source_fini(&source);
    weir_pool_abandon(NULL);
}

static void the_last_drop_frees_an_abandoned_pool(void **state)
{
    static const size_t sizes[] = {64, 1000, 65536, 100000, 1 << 20};
    enum { COUNT = 5 };
    static struct test_source source;
    struct weir_quota quota;

    (void)state;
    /* Whoever is last: this thread, which was its owner, or another one. */
    for (size_t last = 0; last < 2 * (size_t)COUNT; last++) {
        struct weir_pool_options options = {.source = &source.source, .quota = &quota};
        struct weir_block *blocks[COUNT];
        struct weir_pool *pool;
        test_source_init(&source);
        weir_quota_init(&quota, 64 << 20);
        assert_int_equal(weir_pool_create(&options, &pool), 0);
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = take(pool, sizes[i]);
            test_fill(blocks[i]->data, blocks[i]->size, i);
        }
        weir_block_drop(take(pool, 4 << 20)); /* kept for reuse: no use any more */
        weir_block_hold(blocks[0]);
        weir_pool_abandon(pool);
        assert_true(weir_quota_used_bytes(&quota) < 4 << 20);
        weir_block_drop(blocks[0]);
        for (size_t i = 0; i < COUNT; i++) {
            struct weir_block *block = blocks[(last + 1 + i) % COUNT];
            assert_true(test_is_filled(block->data, block->size, (last + 1 + i) % COUNT));
            assert_true(source.outstanding_bytes != 0);
            if (i % 2 == last / COUNT)
                weir_block_drop(block);
            else
                run_elsewhere(drop_one, block);
        }
        test_source_fini(&source);
        assert_int_equal(weir_quota_used_bytes(&quota), 0);
    }
}

#define CROWD 4
#define EACH 300

struct crowd {
    pthread_t thread;
    pthread_barrier_t *barrier;
    struct weir_block *blocks[EACH];
    bool good;
};

static void *drop_at_once(void *argument)
{
    struct crowd *crowd = argument;

    crowd->good = true;
    pthread_barrier_wait(crowd->barrier);
    for (size_t i = 0; i < EACH; i++) {
        crowd->good &= test_is_filled(crowd->blocks[i]->data, 64, i);
        weir_block_drop(crowd->blocks[i]);
    }
    return NULL;
}

static void threads_may_drop_while_a_pool_is_abandoned(void **state)
{
    static struct crowd crowd[CROWD];

    (void)state;
    for (int round = 0; round < 60; round++) {
        static struct test_source source;
        pthread_barrier_t barrier;
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        assert_int_equal(pthread_barrier_init(&barrier, NULL, CROWD + 1), 0);
        for (size_t t = 0; t < CROWD; t++) {
            crowd[t].barrier = &barrier;
            for (size_t i = 0; i < EACH; i++) {
                crowd[t].blocks[i] = take(pool, i % 50 == 0 ? 80000 : 64 + i);
                test_fill(crowd[t].blocks[i]->data, 64, i);
            }
            assert_int_equal(pthread_create(&crowd[t].thread, NULL, drop_at_once, &crowd[t]), 0);
        }
        struct weir_block *mine = take(pool, 64);
        pthread_barrier_wait(&barrier);
        weir_pool_abandon(pool);
        weir_block_drop(mine);
        for (size_t t = 0; t < CROWD; t++) {
            assert_int_equal(pthread_join(crowd[t].thread, NULL), 0);
            assert_true(crowd[t].good);
        }
        test_source_fini(&source);
        pthread_barrier_destroy(&barrier);
    }
}

/* --- the calling thread's own pool ----------------------------------------------------------- */

struct visit {
    struct weir_pool *pool;
    struct weir_block *block;
};

static void *use_own_pool(void *argument)
{
    struct visit *visit = argument;
    struct weir_pool *again = NULL;

    if (weir_pool_default(&visit->pool) != 0 || weir_pool_default(&again) != 0 ||
        again != visit->pool || weir_pool_alloc(visit->pool, 1000, &visit->block) != 0)
        return NULL;
    test_fill(visit->block->data, 1000, 1);
    weir_block_drop(take(visit->pool, 100000));
    return NULL;
}

static void each_thread_has_a_pool_of_its_own_that_outlives_it(void **state)
{
    struct visit visits[3];
    struct weir_pool *pool = NULL, *again = NULL;

    (void)state;
    memset(visits, 0, sizeof visits);
    assert_int_equal(weir_pool_default(&pool), 0);
    assert_int_equal(weir_pool_default(&again), 0);
    assert_ptr_equal(pool, again);
    for (int i = 0; i < 3; i++) {
        run_elsewhere(use_own_pool, &visits[i]);
        assert_non_null(visits[i].block);
        assert_ptr_not_equal(visits[i].pool, pool);
    }
    /* The threads have ended, what they left has not. */
    for (int i = 0; i < 3; i++) {
        assert_true(test_is_filled(visits[i].block->data, 1000, 1));
        if (i == 1)
            run_elsewhere(drop_one, visits[i].block);
        else
            weir_block_drop(visits[i].block);
    }
    struct weir_block *block = take(pool, 100);
    run_elsewhere(drop_one, block);
    assert_int_equal(weir_pool_reclaim(pool), 1);
    assert_true(weir__pool_check(pool));
}

/* --- foreign memory -------------------------------------------------------------------------- */

struct foreign {
    uint8_t bytes[100];
    unsigned released;
    pthread_t by;
    size_t size_bytes;
    void *data;
};

static void release_foreign(void *context, void *data, size_t size_bytes)
{
    struct foreign *foreign = context;

    foreign->released++;
    foreign->by = pthread_self();
    foreign->data = data;
    foreign->size_bytes = size_bytes;
}

static struct weir_block *adopt(struct weir_pool *pool, struct foreign *foreign)
{
    struct weir_block *block = NULL;

    memset(foreign, 0, sizeof *foreign);
    assert_int_equal(weir_block_adopt(pool, foreign->bytes, 100, release_foreign, foreign, &block),
                     0);
    assert_ptr_equal(block->data, foreign->bytes);
    assert_int_equal(block->size, 100);
    assert_true(weir_block_is_exclusive(block));
    assert_ptr_equal(weir_block_pool(block), pool);
    assert_int_equal(weir__block_segment(block), -1);
    return block;
}

static void adopted_memory_is_released_once_by_whoever_drops_last(void **state)
{
    static struct test_source source;
    struct foreign foreign;
    struct weir_pool_stats stats;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    struct weir_block *block = adopt(pool, &foreign);
    weir_block_hold(block);
    weir_block_drop(block);
    assert_int_equal(foreign.released, 0);
    weir_pool_stats(pool, &stats);
    assert_int_equal(stats.adopted.blocks_in_use, 1);
    assert_int_equal(stats.adopted.bytes_in_use, 100);
    assert_int_equal(stats.total.bytes_in_use, 0);
    assert_int_equal(weir_pool_destroy(pool), -EBUSY);
    weir_block_drop(block);
    assert_int_equal(foreign.released, 1);
    assert_ptr_equal(foreign.data, foreign.bytes);
    assert_int_equal(foreign.size_bytes, 100);
    assert_true(pthread_equal(foreign.by, pthread_self()));

    block = adopt(pool, &foreign);
    run_elsewhere(drop_one, block);
    assert_int_equal(foreign.released, 1);
    assert_false(pthread_equal(foreign.by, pthread_self()));
    assert_int_equal(weir_pool_reclaim(pool), 1);
    assert_int_equal(foreign.released, 1);

    /* There is no such memory. */
    struct weir_block *none = NULL;
    assert_int_equal(
        weir_block_adopt(pool, &foreign, (size_t)PTRDIFF_MAX + 1, release_foreign, &foreign, &none),
        -EOVERFLOW);
    assert_int_equal(weir_block_adopt(pool, &foreign, SIZE_MAX, release_foreign, &foreign, &none),
                     -EOVERFLOW);
    assert_null(none);
    assert_int_equal(foreign.released, 1);

    /* Nobody needs to know. */
    static uint8_t constant[10];
    assert_int_equal(weir_block_adopt(pool, constant, 10, NULL, NULL, &block), 0);
    weir_block_drop(block);
    weir_pool_stats(pool, &stats);
    assert_int_equal(stats.adopted.allocations, 3);
    assert_int_equal(stats.adopted.releases, 3);
    assert_int_equal(stats.adopted.remote_releases, 1);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

static void descriptors_of_adopted_memory_may_fail_and_are_used_again(void **state)
{
    enum { COUNT = 400 };
    static struct foreign foreign[COUNT];
    static struct weir_block *blocks[COUNT];
    static struct test_source source;
    struct weir_block *block = NULL;
    int count = 0;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    test_source_fail(&source, 1);
    while (source.failures == 0) {
        assert_true(count < COUNT);
        memset(&foreign[count], 0, sizeof foreign[count]);
        int rc = weir_block_adopt(
            pool, foreign[count].bytes, 100, release_foreign, &foreign[count], &block);
        assert_int_equal(rc, source.failures == 0 ? 0 : -ENOMEM);
        if (rc == 0)
            blocks[count++] = block;
    }
    assert_int_equal(foreign[count].released, 0);
    assert_true(count > 5);
    for (; count < COUNT; count++)
        blocks[count] = adopt(pool, &foreign[count]);
    uint64_t calls = source.calls;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            weir_block_drop(blocks[i]);
            assert_int_equal(foreign[i].released, 1);
        }
        for (int i = 0; i < COUNT; i++)
            blocks[i] = adopt(pool, &foreign[i]);
        assert_true(weir__pool_check(pool));
    }
    assert_int_equal(source.calls, calls);
    /* In an abandoned pool, too, and the descriptor outlives the owner. */
    weir_pool_abandon(pool);
    for (int i = 0; i < COUNT; i++) {
        if (i % 2 == 0)
            weir_block_drop(blocks[i]);
        else if (i < 10)
            run_elsewhere(drop_one, blocks[i]);
        else
            weir_block_drop(blocks[i]);
        assert_int_equal(foreign[i].released, 1);
    }
    test_source_fini(&source);
}

/* --- tracking -------------------------------------------------------------------------------- */

struct seen {
    size_t count;
    size_t bytes;
    const char *tag; /* of the last one */
    const void *site;
    uint64_t oldest_ns;
};

static void see(void *context, const struct weir_pool_tracked *tracked)
{
    struct seen *seen = context;

    seen->count++;
    seen->bytes += tracked->size_bytes;
    seen->tag = tracked->tag;
    seen->site = tracked->site;
    if (tracked->age_ns > seen->oldest_ns)
        seen->oldest_ns = tracked->age_ns;
}

static void what_is_still_held_is_reported_by_tag(void **state)
{
    static const char head[] = "head", body[] = "body";
    static struct test_source source;
    struct weir_pool_options options = {.source = &source.source, .track_every = 1};
    struct weir_pool_tag_stats tags[3];
    struct weir_block *blocks[7];
    struct weir_pool *pool;
    struct seen seen = {0};
    struct foreign foreign;

    (void)state;
    test_source_init(&source);
    assert_int_equal(weir_pool_create(&options, &pool), 0);
    blocks[0] = take(pool, 10);
    assert_null(weir_pool_set_tag(pool, head));
    blocks[1] = take(pool, 20);
    blocks[2] = take(pool, 100000);
    assert_ptr_equal(weir_pool_set_tag(pool, body), head);
    blocks[3] = take(pool, 0);
    blocks[4] = adopt(pool, &foreign);
    blocks[5] = take(pool, 500);
    blocks[6] = take(pool, 600);
    weir_block_drop(blocks[5]);
    run_elsewhere(drop_one, blocks[6]);
    assert_int_equal(weir_pool_tracked(pool, NULL, NULL), 6); /* one is on its way home */
    (void)weir_pool_reclaim(pool);
    assert_true(weir__pool_check(pool));

    assert_int_equal(weir_pool_tracked(pool, see, &seen), 5);
    assert_int_equal(seen.count, 5);
    assert_int_equal(seen.bytes, 10 + 20 + 100000 + 0 + 100);
    assert_true(seen.oldest_ns < UINT64_C(100000000000));
    assert_int_equal(weir_pool_tags(pool, tags, 3), 3);
    assert_null(tags[0].tag);
    assert_int_equal(tags[0].blocks, 1);
    assert_ptr_equal(tags[1].tag, head);
    assert_int_equal(tags[1].blocks, 2);
    assert_int_equal(tags[1].bytes, 100020);
    assert_ptr_equal(tags[2].tag, body);
    assert_int_equal(tags[2].blocks, 2);
    assert_int_equal(weir_pool_tags(pool, tags, 1), 1);

    struct weir_pool_stats stats;
    weir_pool_stats(pool, &stats);
    assert_int_equal(stats.tracked, 5);
    assert_int_equal(stats.tracked_lost, 0);
    for (int i = 0; i < 5; i++)
        weir_block_drop(blocks[i]);
    assert_int_equal(weir_pool_tracked(pool, see, &seen), 0);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

/* Its address range is what a call site is compared with. */
static __attribute__((noinline)) struct weir_block *take_from_here(struct weir_pool *pool)
{
    struct weir_block *block = NULL;

    if (weir_pool_alloc(pool, 100, &block) != 0)
        return NULL;
    block->data[0] = 1; /* so that the call is not the last thing here */
    return block;
}

static void the_call_site_is_the_function_that_took_the_block(void **state)
{
    struct weir_pool_options options = {.track_every = 1};
    struct weir_pool *pool;
    struct seen seen = {0};

    (void)state;
    assert_int_equal(weir_pool_create(&options, &pool), 0);
    struct weir_block *block = take_from_here(pool);
    assert_int_equal(weir_pool_tracked(pool, see, &seen), 1);
    uintptr_t offset = (uintptr_t)seen.site - (uintptr_t)take_from_here;
    assert_in_range(offset, 1, 4000);
    weir_block_drop(block);
    test_pool_destroy(pool);
}

/* The sizes of what is taken, and whether each is recorded. */
static void tracking_samples_by_bytes(void **state)
{
    static const struct {
        size_t size_bytes;
        size_t tracked;
    } steps[] = {
        {999, 0},    /* 1 to go */
        {0, 0},      /* still */
        {1, 1},      /* 1000 */
        {100000, 1}, /* one record, however many times 1000 */
        {999, 0},
        {2, 1}, /* 999 */
        {998, 0},
        {1, 1},
        {4500, 1}, /* 500 */
        {499, 0},
        {SIZE_MAX, 0}, /* not taken at all */
        {1, 1},
    };
    struct weir_pool_options options = {.track_every_bytes = 1000};
    struct weir_block *block, *blocks[sizeof steps / sizeof steps[0]] = {NULL};
    struct weir_pool *pool;
    size_t tracked = 0;

    (void)state;
    assert_int_equal(weir_pool_create(&options, &pool), 0);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int rc = weir_pool_alloc(pool, steps[i].size_bytes, &blocks[i]);
        assert_int_equal(rc, steps[i].size_bytes == SIZE_MAX ? -EOVERFLOW : 0);
        tracked += steps[i].tracked;
        assert_int_equal(weir_pool_tracked(pool, NULL, NULL), tracked);
    }
    assert_true(weir__pool_check(pool));
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        weir_block_drop(blocks[i]);
    assert_int_equal(weir_pool_tracked(pool, NULL, NULL), 0);
    test_pool_destroy(pool);

    /* By number as well: of 20 blocks the 1st and 11th, and by bytes the 4th, 8th, and so on. */
    options.track_every = 10;
    assert_int_equal(weir_pool_create(&options, &pool), 0);
    tracked = 0;
    for (size_t i = 1; i <= 20; i++) {
        assert_int_equal(weir_pool_alloc(pool, 250, &block), 0);
        tracked += weir_pool_tracked(pool, NULL, NULL);
        weir_block_drop(block);
    }
    assert_int_equal(tracked, 2 + 5);
    test_pool_destroy(pool);
}

static void tracking_samples_and_has_a_bound(void **state)
{
    struct weir_pool_options options = {.track_every = 10, .track_blocks_max = 5};
    struct weir_block *blocks[100];
    struct weir_pool_stats stats;
    struct weir_pool *pool;

    (void)state;
    assert_int_equal(weir_pool_create(&options, &pool), 0);
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 100; i++)
            blocks[i] = take(pool, 100);
        assert_int_equal(weir_pool_tracked(pool, NULL, NULL), 5);
        weir_pool_stats(pool, &stats);
        assert_int_equal(stats.tracked_lost, 5 * round);
        assert_true(weir__pool_check(pool));
        for (int i = 0; i < 100; i++)
            weir_block_drop(blocks[i]);
        assert_int_equal(weir_pool_tracked(pool, NULL, NULL), 0);
    }
    /* The table is the source's, too. */
    test_pool_destroy(pool);
    static struct test_source source;
    test_source_init(&source);
    test_source_fail(&source, 2);
    options.source = &source.source;
    assert_int_equal(weir_pool_create(&options, &pool), -ENOMEM);
    test_source_fini(&source);
}

/* --- huge pages ------------------------------------------------------------------------------ */

static void a_source_of_huge_pages_falls_back_and_says_so(void **state)
{
    (void)state;
    for (int best = 0; best < WEIR_PAGES_KINDS; best++) {
        struct weir_huge_source huge;
        weir_huge_source_init(&huge, (enum weir_pages)best);
        enum weir_pages kind = weir_huge_source_kind(&huge);
        assert_true((int)kind <= best);
        for (int i = 0; i < WEIR_PAGES_KINDS; i++)
            assert_int_equal(weir_huge_source_bytes(&huge, (enum weir_pages)i), 0);

        struct weir_pool_options options = {.source = &huge.source};
        struct weir_pool *pool;
        assert_int_equal(weir_pool_create(&options, &pool), 0);
        struct weir_block *block = take(pool, 4096), *large = take(pool, 4 << 20);
        test_fill(block->data, block->size, 1);
        test_fill(large->data, large->size, 2);
        assert_true(test_is_filled(block->data, block->size, 1));
        assert_true(test_is_filled(large->data, large->size, 2));
        print_message("# asked for %d: got %d\n", best, (int)kind);

        uint64_t whole = 0, plain = weir_huge_source_bytes(&huge, WEIR_PAGES_PLAIN);
        for (int i = 0; i < WEIR_PAGES_KINDS; i++) {
            uint64_t bytes = weir_huge_source_bytes(&huge, (enum weir_pages)i);
            assert_true(i <= best || bytes == 0);
            whole += bytes;
        }
        assert_int_equal(whole, pool->bytes_held);
        if (kind != WEIR_PAGES_PLAIN)
            assert_int_equal(plain, pool->pool_bytes);
        weir_block_drop(block);
        weir_block_drop(large);
        test_pool_destroy(pool);
    }
}

static void a_source_of_huge_pages_aligns_and_gives_back(void **state)
{
    struct weir_huge_source huge;
    const struct weir_source *source = &huge.source;

    (void)state;
    weir_huge_source_init(&huge, WEIR_PAGES_EXPLICIT);
    for (size_t align = 4096; align <= (size_t)32 << 20; align *= 2) {
        for (size_t size = 1 << 20; size <= (size_t)8 << 20; size += 1 << 20) {
            uint8_t *memory = source->obtain(source->context, size, align);
            assert_non_null(memory);
            assert_int_equal((uintptr_t)memory % align, 0);
            assert_int_equal(memory[0] | memory[size - 1], 0);
            memory[size - 1] = 1;
            source->release(source->context, memory, size);
        }
    }
    assert_null(source->obtain(source->context, SIZE_MAX - 4095, 1 << 21));
    assert_null(source->obtain(source->context, SIZE_MAX / 2 + 1, 4096));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_without_blocks_is_gone_when_abandoned),
        cmocka_unit_test(the_last_drop_frees_an_abandoned_pool),
        cmocka_unit_test(threads_may_drop_while_a_pool_is_abandoned),
        cmocka_unit_test(each_thread_has_a_pool_of_its_own_that_outlives_it),
        cmocka_unit_test(adopted_memory_is_released_once_by_whoever_drops_last),
        cmocka_unit_test(descriptors_of_adopted_memory_may_fail_and_are_used_again),
        cmocka_unit_test(what_is_still_held_is_reported_by_tag),
        cmocka_unit_test(the_call_site_is_the_function_that_took_the_block),
        cmocka_unit_test(tracking_samples_by_bytes),
        cmocka_unit_test(tracking_samples_and_has_a_bound),
        cmocka_unit_test(a_source_of_huge_pages_falls_back_and_says_so),
        cmocka_unit_test(a_source_of_huge_pages_aligns_and_gives_back),
    };
    return cmocka_run_group_tests_name("pool life", tests, NULL, NULL);
}
