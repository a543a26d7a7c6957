/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <weir/shared_arena.h>

#include "../lib/shared_arena_private.h"

#define GRAIN ((size_t)WEIR_SHARED_ARENA_GRAIN_BYTES)

static struct weir_shared_arena *create(size_t capacity_bytes, uint32_t shards)
{
    const struct weir_shared_arena_options options = {.capacity_bytes = capacity_bytes,
                                                      .shards = shards};
    struct weir_shared_arena *arena = NULL;

    assert_int_equal(weir_shared_arena_create(&options, &arena), 0);
    assert_non_null(arena);
    return arena;
}

static uint8_t *take_at(struct weir_shared_arena *arena, uint32_t shard, size_t size_bytes,
                        size_t align_bytes)
{
    void *memory = NULL;

    assert_int_equal(weir_shared_arena_alloc_at(arena, shard, size_bytes, align_bytes, &memory), 0);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % align_bytes, 0);
    return memory;
}

/* Both ways to allocate refuse, and nothing has changed. */
static void assert_refused(struct weir_shared_arena *arena, size_t size_bytes, size_t align_bytes,
                           int rc)
{
    size_t used_bytes = weir_shared_arena_used_bytes(arena);
    void *memory = &used_bytes;

    assert_int_equal(weir_shared_arena_alloc(arena, size_bytes, align_bytes, &memory), rc);
    assert_int_equal(weir_shared_arena_alloc_at(arena, 1, size_bytes, align_bytes, &memory), rc);
    assert_ptr_equal(memory, &used_bytes);
    assert_int_equal(weir_shared_arena_used_bytes(arena), used_bytes);
}

/* --- one thread ------------------------------------------------------------------------------ */

static void a_new_arena_is_empty(void **state)
{
    struct weir_shared_arena *arena = create(1000, 4);

    (void)state;
    assert_int_equal(weir_shared_arena_shard_count(arena), 4);
    assert_int_equal(weir_shared_arena_shard_bytes(arena), 256);
    assert_int_equal(weir_shared_arena_capacity_bytes(arena), 1024);
    assert_int_equal(weir_shared_arena_used_bytes(arena), 0);
    assert_int_equal(weir_shared_arena_used_percent(arena), 0);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(weir_shared_arena_shard_used_bytes(arena, i), 0);
    weir_shared_arena_destroy(arena);
    weir_shared_arena_destroy(NULL);

    arena = create(1, 0);
    assert_int_equal(weir_shared_arena_shard_count(arena), WEIR_SHARED_ARENA_SHARDS_DEFAULT);
    assert_int_equal(weir_shared_arena_shard_bytes(arena), 64);
    weir_shared_arena_destroy(arena);
}

static void bad_configurations_are_refused(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    const struct weir_shared_arena_options empty = {.shards = 4};
    const struct weir_shared_arena_options odd = {.capacity_bytes = 4096, .shards = 3};
    const struct weir_shared_arena_options many = {.capacity_bytes = 4096, .shards = 2048};
    const struct weir_shared_arena_options both = {
        .capacity_bytes = 4096, .pool = pool, .source = weir_source_mmap()};
    const struct weir_shared_arena_options endless = {.capacity_bytes = SIZE_MAX};
    const struct weir_shared_arena_options vast = {.capacity_bytes = SIZE_MAX - 4096, .shards = 1};
    const struct weir_shared_arena_options large = {.capacity_bytes = SIZE_MAX / 2};
    struct weir_shared_arena *arena = (struct weir_shared_arena *)pool;

    (void)state;
    assert_int_equal(weir_shared_arena_create(&empty, &arena), -EINVAL);
    assert_int_equal(weir_shared_arena_create(&odd, &arena), -EINVAL);
    assert_int_equal(weir_shared_arena_create(&many, &arena), -EINVAL);
    assert_int_equal(weir_shared_arena_create(&both, &arena), -EINVAL);
    assert_int_equal(weir_shared_arena_create(&endless, &arena), -EOVERFLOW);
    assert_int_equal(weir_shared_arena_create(&vast, &arena), -EOVERFLOW);
    assert_int_equal(weir_shared_arena_create(&large, &arena), -ENOMEM);
    assert_ptr_equal(arena, pool);
    test_pool_destroy(pool);
}

static void the_memory_is_obtained_once(void **state)
{
    static struct test_source source;
    struct weir_shared_arena *arena = NULL;
    const struct weir_shared_arena_options options = {
        .capacity_bytes = 100000, .shards = 2, .source = &source.source};

    (void)state;
    test_source_init(&source);
    test_source_fail(&source, 1);
    assert_int_equal(weir_shared_arena_create(&options, &arena), -ENOMEM);
    assert_null(arena);
    test_source_fail(&source, 0);
    assert_int_equal(weir_shared_arena_create(&options, &arena), 0);
    test_source_fail_from(&source, 1);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++)
            memset(take_at(arena, (uint32_t)i, 900, 8), i, 900);
        weir_shared_arena_reset(arena);
    }
    assert_int_equal(source.failures, 1); /* the one above */
    assert_int_equal(source.piece_count, 1);
    weir_shared_arena_destroy(arena);
    test_source_fini(&source);
}

static void a_pool_gives_one_block(void **state)
{
    static struct test_source source;
    struct weir_pool_stats stats;

    (void)state;
    for (uint64_t n = 1;; n++) {
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        test_source_fail(&source, n);
        for (size_t capacity = 1; capacity <= 1 << 20; capacity *= 32) {
            const struct weir_shared_arena_options options = {
                .capacity_bytes = capacity, .shards = 4, .pool = pool};
            struct weir_shared_arena *arena = NULL;
            int rc = weir_shared_arena_create(&options, &arena);
            if (rc < 0) {
                assert_int_equal(rc, -ENOMEM);
                assert_null(arena);
                rc = weir_shared_arena_create(&options, &arena); /* the next one succeeds */
            }
            assert_int_equal(rc, 0);
            weir_pool_stats(pool, &stats);
            assert_int_equal(stats.total.blocks_in_use, 1);
            memset(take_at(arena, 3, weir_shared_arena_shard_bytes(arena), 1),
                   1,
                   weir_shared_arena_shard_bytes(arena));
            assert_true(weir__pool_check(pool));
            weir_shared_arena_destroy(arena);
        }
        uint64_t failures = source.failures;
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (failures == 0) {
            assert_true(n > 2);
            break;
        }
    }

    const struct weir_pool_options limited = {.limit_bytes = 1 << 20};
    const struct weir_shared_arena_options options = {.capacity_bytes = 2 << 20};
    struct weir_shared_arena_options pooled = options;
    struct weir_shared_arena *arena = NULL;
    assert_int_equal(weir_pool_create(&limited, &pooled.pool), 0);
    assert_int_equal(weir_shared_arena_create(&pooled, &arena), -ENOBUFS);
    assert_null(arena);
    test_pool_destroy(pooled.pool);
}

static void allocations_follow_one_another_in_grains(void **state)
{
    struct weir_shared_arena *arena = create(4096, 1);

    (void)state;
    uint8_t *first = take_at(arena, 0, 1, 1);
    assert_ptr_equal(take_at(arena, 0, 16, 16), first + 16);
    assert_ptr_equal(take_at(arena, 0, 17, 8), first + 32);
    assert_ptr_equal(take_at(arena, 0, 1, 1), first + 64);
    assert_int_equal(weir_shared_arena_used_bytes(arena), 80);
    assert_int_equal(weir_shared_arena_used_percent(arena), 1);
    weir_shared_arena_destroy(arena);
}

static void every_alignment_costs_only_the_padding_it_needs(void **state)
{
    struct weir_shared_arena *arena = create(1 << 20, 1);

    (void)state;
    for (size_t align = 1; align <= 1 << 18; align *= 2) {
        weir_shared_arena_reset(arena);
        uint8_t *base = take_at(arena, 0, 16, 1);
        uint8_t *memory = take_at(arena, 0, 100, align);
        assert_true((size_t)(memory - (base + 16)) < align);
        memset(memory, 1, 100);
        assert_int_equal(weir_shared_arena_used_bytes(arena), memory + 112 - base);
    }
    assert_refused(arena, 1, (size_t)1 << (8 * sizeof(size_t) - 1), -ENOBUFS);
    assert_refused(arena, 1, 0, -EINVAL);
    assert_refused(arena, 1, 24, -EINVAL);
    assert_refused(arena, 1, SIZE_MAX, -EINVAL);
    weir_shared_arena_destroy(arena);
}

static void nothing_is_a_valid_request(void **state)
{
    struct weir_shared_arena *arena = create(64, 1);

    (void)state;
    uint8_t *first = take_at(arena, 0, 0, 1);
    assert_int_equal(weir_shared_arena_used_bytes(arena), 0);
    assert_ptr_equal(take_at(arena, 0, 64, 1), first);
    assert_ptr_equal(take_at(arena, 0, 0, 1), first + 64); /* full, and nothing is needed */
    assert_ptr_equal(take_at(arena, 0, 0, 64), first + 64);
    assert_int_equal(weir_shared_arena_used_percent(arena), 100);
    weir_shared_arena_destroy(arena);
}

static void sizes_that_wrap_or_exceed_a_shard_are_refused(void **state)
{
    struct weir_shared_arena *arena = create(4096, 4);

    (void)state;
    assert_refused(arena, SIZE_MAX, 1, -EOVERFLOW);
    assert_refused(arena, SIZE_MAX - 14, 1, -EOVERFLOW);
    assert_refused(arena, SIZE_MAX - 15, 1, -ENOBUFS);
    assert_refused(arena, SIZE_MAX / 2, 4096, -ENOBUFS);
    assert_refused(arena, 1025, 1, -ENOBUFS);
    assert_int_equal(weir_shared_arena_used_bytes(arena), 0);
    take_at(arena, 0, 1024, 1);
    weir_shared_arena_destroy(arena);
}

static void full_shards_are_passed_over(void **state)
{
    struct weir_shared_arena *arena = create(4096, 4);
    uint8_t *base[4];
    void *memory;

    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        base[i] = take_at(arena, i, 0, 1);
    assert_ptr_equal(take_at(arena, 6, 1000, 1), base[2]);
    assert_ptr_equal(take_at(arena, 2, 1000, 1), base[3]);
    assert_ptr_equal(take_at(arena, 2, 1000, 1), base[0]);
    assert_ptr_equal(take_at(arena, 2, 16, 1), base[2] + 1008); /* a smaller one still fits */
    assert_ptr_equal(take_at(arena, 3, 1024, 1), base[1]);
    assert_refused(arena, 17, 1, -ENOBUFS);
    assert_int_equal(weir_shared_arena_shard_used_bytes(arena, 0), 1008);
    assert_int_equal(weir_shared_arena_shard_used_bytes(arena, 1), 1024);
    assert_int_equal(weir_shared_arena_shard_used_bytes(arena, 2), 1024);
    assert_int_equal(weir_shared_arena_shard_used_bytes(arena, 3), 1008);
    assert_int_equal(weir_shared_arena_used_bytes(arena), 4064);
    assert_int_equal(weir_shared_arena_used_percent(arena), 99);
    for (int i = 0; i < 2; i++)
        assert_int_equal(weir_shared_arena_alloc(arena, 16, 16, &memory), 0);
    assert_int_equal(weir_shared_arena_used_percent(arena), 100);
    assert_refused(arena, 1, 1, -ENOBUFS);
    weir_shared_arena_reset(arena);
    assert_int_equal(weir_shared_arena_used_bytes(arena), 0);
    assert_ptr_equal(take_at(arena, 1, 1024, 1), base[1]);
    weir_shared_arena_destroy(arena);
}

/* --- many threads ---------------------------------------------------------------------------- */

#define THREADS 4
#define ITEMS_MAX 20000

struct item {
    uint8_t *at;
    size_t size_bytes;
    size_t align_bytes;
    uint64_t tag;
};

struct worker {
    pthread_t thread;
    pthread_barrier_t *start;
    struct weir_shared_arena *arena;
    uint64_t seed;
    size_t size_max; /* of one request */
    size_t count;
    int rc; /* the first that is neither 0 nor -ENOBUFS */
    struct item *items;
};

/* Allocate until even one byte is refused. Each size is as likely to be small as large, so that
 * refusals of large ones and allocations of small ones go on side by side. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    struct test_random random;
    bool full = false;

    test_random_seed(&random, worker->seed);
    pthread_barrier_wait(worker->start);
    while (!full && worker->rc == 0 && worker->count < ITEMS_MAX) {
        struct item *item = &worker->items[worker->count];
        bool small = test_random_below(&random, 2) == 0;
        item->size_bytes = 1 + test_random_size(&random, small ? 63 : worker->size_max);
        item->align_bytes = (size_t)1 << test_random_below(&random, small ? 5 : 13);
        item->tag = test_random(&random);
        void *memory;
        int rc =
            weir_shared_arena_alloc(worker->arena, item->size_bytes, item->align_bytes, &memory);
        if (rc == -ENOBUFS) {
            item->size_bytes = 1;
            item->align_bytes = 1;
            rc = weir_shared_arena_alloc(worker->arena, 1, 1, &memory);
            full = rc == -ENOBUFS;
        }
        if (rc == 0) {
            item->at = memory;
            test_fill(item->at, item->size_bytes, item->tag);
            worker->count++;
        } else if (rc != -ENOBUFS) {
            worker->rc = rc;
        }
    }
    return NULL;
}

static int compare_items(const void *left, const void *right)
{
    const struct item *a = left, *b = right;

    return (a->at > b->at) - (a->at < b->at);
}

/* Each item begins where the one before it ends, but for the padding that its alignment needs. */
static void check_items(struct weir_shared_arena *arena, uint8_t *const *bases, struct item *items,
                        size_t count)
{
    size_t shard_bytes = weir_shared_arena_shard_bytes(arena), next = 0;

    qsort(items, count, sizeof *items, compare_items);
    for (uint32_t shard = 0; shard < weir_shared_arena_shard_count(arena); shard++) {
        uintptr_t at = (uintptr_t)bases[shard];
        for (; next < count && items[next].at < bases[shard] + shard_bytes; next++) {
            size_t align = items[next].align_bytes > GRAIN ? items[next].align_bytes : GRAIN;
            at = (at + align - 1) & ~(uintptr_t)(align - 1);
            assert_int_equal((uintptr_t)items[next].at, at);
            assert_true(test_is_filled(items[next].at, items[next].size_bytes, items[next].tag));
            at += (items[next].size_bytes + GRAIN - 1) / GRAIN * GRAIN;
        }
        assert_int_equal(weir_shared_arena_shard_used_bytes(arena, shard),
                         at - (uintptr_t)bases[shard]);
    }
    assert_int_equal(next, count);
}

/* What the threads have left over is had by one, to the last byte: nothing was lost. */
static size_t fill_up(struct weir_shared_arena *arena, struct item *items)
{
    size_t count = 0;
    void *memory;

    while (weir_shared_arena_alloc(arena, 1, 1, &memory) == 0) {
        assert_true(count < ITEMS_MAX);
        items[count] = (struct item){memory, 1, 1, count};
        test_fill(memory, 1, count);
        count++;
    }
    assert_int_equal(weir_shared_arena_used_bytes(arena), weir_shared_arena_capacity_bytes(arena));
    assert_int_equal(weir_shared_arena_used_percent(arena), 100);
    return count;
}

static void run_workers(struct weir_shared_arena *arena, struct worker *workers,
                        struct test_random *random, size_t size_max)
{
    pthread_barrier_t start;

    assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++) {
        workers[i].start = &start;
        workers[i].arena = arena;
        workers[i].seed = test_random(random);
        workers[i].size_max = size_max;
        workers[i].count = 0;
        workers[i].rc = 0;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].rc, 0);
    }
    pthread_barrier_destroy(&start);
}

static void contend(size_t capacity_bytes, uint32_t shards, size_t size_max, int rounds)
{
    struct weir_shared_arena *arena = create(capacity_bytes, shards);
    struct item *items = calloc((THREADS + 1) * ITEMS_MAX, sizeof *items);
    struct worker workers[THREADS];
    uint8_t *bases[8];
    struct test_random random;

    assert_non_null(items);
    for (uint32_t i = 0; i < shards; i++)
        bases[i] = take_at(arena, i, 0, 1);
    for (int i = 0; i < THREADS; i++)
        workers[i].items = calloc(ITEMS_MAX, sizeof *items);
    test_random_init(&random);
    for (int round = 0; round < rounds; round++) {
        size_t count = 0;
        run_workers(arena, workers, &random, size_max);
        for (int i = 0; i < THREADS; i++) {
            memcpy(items + count, workers[i].items, workers[i].count * sizeof *items);
            count += workers[i].count;
        }
        check_items(arena, bases, items, count);
        count += fill_up(arena, items + count);
        check_items(arena, bases, items, count);
        weir_shared_arena_reset(arena);
    }
    for (int i = 0; i < THREADS; i++)
        free(workers[i].items);
    free(items);
    weir_shared_arena_destroy(arena);
}

static void threads_in_one_shard_neither_overlap_nor_lose_a_byte(void **state)
{
    (void)state;
    contend(256 << 10, 1, 5000, 40);
}

static void threads_in_many_shards_neither_overlap_nor_lose_a_byte(void **state)
{
    (void)state;
    contend(1 << 20, 8, 5000, 10);
}

static void refusals_of_large_requests_leave_small_ones_alone(void **state)
{
    (void)state;
    contend(8 << 10, 1, 16 << 10, TEST_TSAN ? 300 : 2000);
}

/* --- every order ------------------------------------------------------------------------------ */

#define SHARD_BYTES 1000
#define TAKERS 5

/* A thread that takes bytes once, step by step: it has looked, it has added, it knows. */
enum step { LOOK, ADD, SETTLE, OVER };

struct taker {
    size_t size;
    enum step next;
    bool taken;
    uint64_t found;
};

struct shard_state {
    uint64_t used;
    struct taker takers[TAKERS];
};

static void take_step(struct shard_state *state, unsigned who)
{
    struct taker *taker = &state->takers[who];

    switch (taker->next) {
    case LOOK:
        taker->next = weir__shard_fits(&state->used, SHARD_BYTES, taker->size) ? ADD : OVER;
        break;
    case ADD:
        taker->found = weir__shard_add(&state->used, taker->size);
        taker->next = SETTLE;
        break;
    case SETTLE:
        taker->taken =
            weir__shard_settle(&state->used, taker->found, SHARD_BYTES, taker->size) == 0;
        taker->next = OVER;
        break;
    case OVER:
        break;
    }
}

/* Whether what was taken lies in the shard, nothing of it twice, and nothing is lost. */
static bool is_sound(const struct shard_state *state)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < TAKERS; i++) {
        const struct taker *a = &state->takers[i];
        if (!a->taken)
            continue;
        total += a->size;
        if (a->found > SHARD_BYTES || a->size > SHARD_BYTES - a->found)
            return false;
        for (unsigned j = 0; j < i; j++) {
            const struct taker *b = &state->takers[j];
            if (b->taken && a->found < b->found + b->size && b->found < a->found + a->size)
                return false;
        }
    }
    return total == state->used;
}

static void no_order_of_steps_hands_out_a_byte_twice_or_loses_one(void **state)
{
    /* All but the last have looked at the empty shard. */
    static const struct shard_state start = {0,
                                             {{600, ADD, false, 0},
                                              {600, ADD, false, 0},
                                              {300, ADD, false, 0},
                                              {100, ADD, false, 0},
                                              {300, LOOK, false, 0}}};
    struct shard_state states[3 * TAKERS + 1]; /* after each step */
    unsigned whose[3 * TAKERS + 1];            /* the step to try next in each */
    unsigned depth = 0;
    uint64_t orders = 0;

    (void)state;
    states[0] = start;
    whose[0] = 0;
    for (;;) {
        while (whose[depth] < TAKERS && states[depth].takers[whose[depth]].next == OVER)
            whose[depth]++;
        if (whose[depth] < TAKERS) {
            states[depth + 1] = states[depth];
            take_step(&states[depth + 1], whose[depth]++);
            whose[++depth] = 0;
            continue;
        }
        bool all_over = true;
        for (unsigned i = 0; i < TAKERS; i++)
            all_over = all_over && states[depth].takers[i].next == OVER;
        if (all_over) {
            orders++;
            assert_true(is_sound(&states[depth]));
        }
        if (depth == 0)
            break;
        depth--;
    }
    /* 11 steps would be 415,800; where the last one is refused at its look there are fewer. */
    assert_true(orders > 100000 && orders <= 415800);
}

struct reader {
    pthread_t thread;
    struct weir_shared_arena *arena;
    uint32_t stop;
    bool above;
};

static void *read_usage(void *argument)
{
    struct reader *reader = argument;
    size_t capacity_bytes = weir_shared_arena_capacity_bytes(reader->arena);

    while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)) {
        reader->above |= weir_shared_arena_used_bytes(reader->arena) > capacity_bytes;
        reader->above |= weir_shared_arena_used_percent(reader->arena) > 100;
    }
    return NULL;
}

static void the_usage_can_be_read_meanwhile_and_never_exceeds_the_capacity(void **state)
{
    struct weir_shared_arena *arena = create(64 << 10, 2);
    struct reader reader = {.arena = arena};
    struct worker workers[THREADS];
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int i = 0; i < THREADS; i++)
        workers[i].items = calloc(ITEMS_MAX, sizeof *workers[i].items);
    assert_int_equal(pthread_create(&reader.thread, NULL, read_usage, &reader), 0);
    run_workers(arena, workers, &random, 20000);
    __atomic_store_n(&reader.stop, 1, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(reader.thread, NULL), 0);
    assert_false(reader.above);
    for (int i = 0; i < THREADS; i++)
        free(workers[i].items);
    weir_shared_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_arena_is_empty),
        cmocka_unit_test(bad_configurations_are_refused),
        cmocka_unit_test(the_memory_is_obtained_once),
        cmocka_unit_test(a_pool_gives_one_block),
        cmocka_unit_test(allocations_follow_one_another_in_grains),
        cmocka_unit_test(every_alignment_costs_only_the_padding_it_needs),
        cmocka_unit_test(nothing_is_a_valid_request),
        cmocka_unit_test(sizes_that_wrap_or_exceed_a_shard_are_refused),
        cmocka_unit_test(full_shards_are_passed_over),
        cmocka_unit_test(threads_in_one_shard_neither_overlap_nor_lose_a_byte),
        cmocka_unit_test(threads_in_many_shards_neither_overlap_nor_lose_a_byte),
        cmocka_unit_test(refusals_of_large_requests_leave_small_ones_alone),
        cmocka_unit_test(no_order_of_steps_hands_out_a_byte_twice_or_loses_one),
        cmocka_unit_test(the_usage_can_be_read_meanwhile_and_never_exceeds_the_capacity),
    };
    return cmocka_run_group_tests_name("shared_arena", tests, NULL, NULL);
}
