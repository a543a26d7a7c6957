/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include <weir/arena.h>

/* A chunk's header takes this much of its block. */
#define HEADER_BYTES 32

static uint64_t allocations(const struct weir_pool *pool)
{
    struct weir_pool_stats stats;

    weir_pool_stats(pool, &stats);
    return stats.total.allocations;
}

static uint64_t bytes_in_use(const struct weir_pool *pool)
{
    struct weir_pool_stats stats;

    weir_pool_stats(pool, &stats);
    return stats.total.bytes_in_use;
}

static void *take(struct weir_arena *arena, size_t size_bytes, size_t align_bytes)
{
    void *memory = weir_arena_alloc(arena, size_bytes, align_bytes);

    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % align_bytes, 0);
    return memory;
}

static void assert_refused(struct weir_arena *arena, size_t size_bytes, size_t align_bytes, int rc)
{
    struct weir_arena_mark before = weir_arena_mark(arena);
    size_t used_bytes = weir_arena_used_bytes(arena);

    assert_null(weir_arena_alloc(arena, size_bytes, align_bytes));
    assert_int_equal(weir_arena_error(arena), rc);
    assert_int_equal(weir_arena_used_bytes(arena), used_bytes);
    assert_ptr_equal(weir_arena_mark(arena).chunk, before.chunk);
    assert_ptr_equal(weir_arena_mark(arena).cursor, before.cursor);
}

static void a_new_arena_holds_nothing(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    memset(&arena, 0xa5, sizeof arena);
    weir_arena_init(&arena, pool, NULL);
    assert_int_equal(weir_arena_error(&arena), 0);
    assert_int_equal(weir_arena_used_bytes(&arena), 0);
    assert_int_equal(weir_arena_held_bytes(&arena), 0);
    assert_int_equal(allocations(pool), 0);
    weir_arena_reset(&arena);
    weir_arena_rewind(&arena, weir_arena_mark(&arena));
    assert_int_equal(allocations(pool), 0);
    weir_arena_fini(&arena);
    weir_arena_fini(&arena); /* zeroed */
    assert_null(arena.pool);
    test_pool_destroy(pool);
}

static void allocations_follow_one_another(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    uint8_t *first = take(&arena, 10, 1);
    uint8_t *second = take(&arena, 10, 1);
    uint8_t *third = take(&arena, 8, 8);
    assert_ptr_equal(second, first + 10);
    assert_ptr_equal(third, first + 24);
    assert_int_equal(weir_arena_used_bytes(&arena), 32);
    assert_int_equal(weir_arena_held_bytes(&arena), 4096);
    weir_arena_fini(&arena);
    assert_int_equal(bytes_in_use(pool), 0);
    test_pool_destroy(pool);
}

static void every_alignment_is_met(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    for (size_t align = 1; align <= 4096; align *= 2) {
        for (size_t size = 1; size <= 20000; size = size * 3 + 1) {
            weir_arena_init(&arena, pool, NULL);
            for (int i = 0; i < 5; i++) {
                memset(take(&arena, size, align), i, size);
                memset(take(&arena, 1, 1), i, 1);
            }
            weir_arena_fini(&arena);
        }
    }
    assert_int_equal(bytes_in_use(pool), 0);
    test_pool_destroy(pool);
}

static void a_chunk_is_used_to_its_last_byte(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    uint8_t *first = take(&arena, 4096 - HEADER_BYTES, 1);
    assert_int_equal(weir_arena_held_bytes(&arena), 4096);
    memset(first, 1, 4096 - HEADER_BYTES);
    /* Nothing is left, and nothing is what 0 needs. */
    assert_ptr_equal(take(&arena, 0, 1), first + 4096 - HEADER_BYTES);
    assert_int_equal(weir_arena_held_bytes(&arena), 4096);
    take(&arena, 1, 1);
    assert_int_equal(weir_arena_held_bytes(&arena), 8192);
    take(&arena, 4096 - HEADER_BYTES - 2, 1);
    assert_int_equal(weir_arena_held_bytes(&arena), 8192);
    take(&arena, 1, 1);
    assert_int_equal(weir_arena_held_bytes(&arena), 8192);
    assert_int_equal(weir_arena_used_bytes(&arena), 8192 - 2 * HEADER_BYTES);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void a_large_request_gets_a_block_of_its_size_and_its_rest_is_used(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    uint8_t *large = take(&arena, 10000, 1);
    assert_int_equal(weir_arena_held_bytes(&arena), 16384);
    assert_ptr_equal(take(&arena, 100, 1), large + 10000);
    take(&arena, 200000, 16);
    assert_int_equal(weir_arena_held_bytes(&arena),
                     16384 + weir_pool_block_bytes(pool, 200000 + HEADER_BYTES));
    weir_arena_fini(&arena);

    const struct weir_arena_options options = {.chunk_bytes = 65000};
    weir_arena_init(&arena, pool, &options);
    take(&arena, 1, 1);
    assert_int_equal(weir_arena_held_bytes(&arena), 65536);
    take(&arena, 65536 - HEADER_BYTES - 1, 1);
    assert_int_equal(weir_arena_held_bytes(&arena), 65536);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void nothing_is_a_valid_request(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    uint8_t *first = take(&arena, 0, 1);
    assert_ptr_equal(take(&arena, 0, 1), first);
    assert_int_equal(weir_arena_used_bytes(&arena), 0);
    assert_ptr_equal(take(&arena, 1, 1), first);
    assert_ptr_equal(take(&arena, 0, 8), first + 8);
    assert_int_equal(weir_arena_used_bytes(&arena), 8);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void sizes_that_wrap_are_refused(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    const struct weir_arena_options limited = {.limit_bytes = 1000};
    const struct weir_arena_options vast = {.chunk_bytes = SIZE_MAX};

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (int round = 0; round < 2; round++) {
        assert_refused(&arena, SIZE_MAX, 1, -EOVERFLOW);
        assert_refused(&arena, SIZE_MAX - 1, 8, -EOVERFLOW);
        assert_refused(&arena, SIZE_MAX - 31, 1, -EOVERFLOW);
        assert_refused(&arena, SIZE_MAX - 32, 1, -EOVERFLOW); /* in whole pages */
        assert_refused(&arena, SIZE_MAX - 4000, 4096, -EOVERFLOW);
        assert_refused(&arena, SIZE_MAX / 2, 1, -ENOMEM);
        take(&arena, 3, 1);
    }
    struct weir_view copy = {NULL, 7};
    const struct weir_view endless = {(const uint8_t *)"", SIZE_MAX};
    assert_int_equal(weir_arena_copy(&arena, endless, &copy), -EOVERFLOW);
    assert_int_equal(weir_arena_error(&arena), -EOVERFLOW);
    assert_int_equal(copy.size, 7);
    weir_arena_fini(&arena);

    weir_arena_init(&arena, pool, &limited);
    assert_refused(&arena, SIZE_MAX, 4096, -EOVERFLOW);
    assert_refused(&arena, SIZE_MAX / 2, 4096, -ENOBUFS);
    weir_arena_fini(&arena);
    weir_arena_init(&arena, pool, &vast);
    assert_refused(&arena, 1, 1, -EOVERFLOW);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void the_limit_is_exact(void **state)
{
    static const size_t limits[] = {1, 7, 4063, 4064, 4065, 10000, 100000};
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const struct weir_arena_options options = {.limit_bytes = limits[i]};
        weir_arena_init(&arena, pool, &options);
        for (int round = 0; round < 3; round++) {
            assert_refused(&arena, limits[i] + 1, 1, -ENOBUFS);
            for (size_t n = 0; n < limits[i]; n++)
                *(uint8_t *)take(&arena, 1, 1) = 1;
            assert_int_equal(weir_arena_used_bytes(&arena), limits[i]);
            assert_refused(&arena, 1, 1, -ENOBUFS);
            take(&arena, 0, 1);
            weir_arena_reset(&arena);
            take(&arena, limits[i], 1);
            assert_refused(&arena, 1, 1, -ENOBUFS);
            weir_arena_reset(&arena);
        }
        weir_arena_fini(&arena);
    }
    test_pool_destroy(pool);
}

static void padding_counts_against_the_limit(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    const struct weir_arena_options options = {.limit_bytes = 20};

    (void)state;
    weir_arena_init(&arena, pool, &options);
    take(&arena, 1, 1);
    take(&arena, 8, 8);
    assert_int_equal(weir_arena_used_bytes(&arena), 16);
    assert_refused(&arena, 5, 1, -ENOBUFS);
    assert_refused(&arena, 0, 32, -ENOBUFS);
    take(&arena, 4, 1);
    assert_refused(&arena, 0, 8, -ENOBUFS);
    assert_int_equal(weir_arena_used_bytes(&arena), 20);
    weir_arena_fini(&arena);

    /* The padding behind the header of a fresh chunk as well. */
    const struct weir_arena_options larger = {.limit_bytes = 4096 - HEADER_BYTES + 100};
    weir_arena_init(&arena, pool, &larger);
    assert_refused(&arena, 101, 4096, -ENOBUFS);
    take(&arena, 100, 4096);
    assert_int_equal(weir_arena_used_bytes(&arena), larger.limit_bytes);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void the_limit_of_the_pool_is_reported(void **state)
{
    struct weir_pool_options options = {.segment_bytes = 512 << 10, .limit_bytes = 600 << 10};
    struct weir_pool *pool;
    struct weir_arena arena;

    (void)state;
    assert_int_equal(weir_pool_create(&options, &pool), 0);
    weir_arena_init(&arena, pool, NULL);
    size_t count = 0;
    while (weir_arena_alloc(&arena, 4000, 1) != NULL)
        count++;
    assert_in_range(count, 64, 128);
    assert_int_equal(weir_arena_error(&arena), -ENOBUFS);
    assert_refused(&arena, 4000, 1, -ENOBUFS);
    assert_int_equal(weir_arena_used_bytes(&arena), count * 4000);
    take(&arena, 64, 1);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* Write down where everything of a mixed sequence lies. */
#define SEQUENCE 200

static void run_sequence(struct weir_arena *arena, void **at)
{
    for (size_t i = 0; i < SEQUENCE; i++) {
        size_t size = i % 17 == 0 ? 6000 + i : 10 + i * 3;
        at[i] = take(arena, size, (size_t)1 << (i % 8));
        test_fill(at[i], size, i);
    }
    for (size_t i = 0; i < SEQUENCE; i++)
        assert_true(test_is_filled(at[i], i % 17 == 0 ? 6000 + i : 10 + i * 3, i));
}

static void reset_keeps_the_memory_in_its_order(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    void *first[SEQUENCE], *later[SEQUENCE];

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    run_sequence(&arena, first);
    uint64_t count = allocations(pool);
    size_t held_bytes = weir_arena_held_bytes(&arena);
    size_t used_bytes = weir_arena_used_bytes(&arena);
    assert_int_equal(bytes_in_use(pool), held_bytes);
    for (int round = 0; round < 5; round++) {
        weir_arena_reset(&arena);
        assert_int_equal(weir_arena_used_bytes(&arena), 0);
        assert_int_equal(weir_arena_held_bytes(&arena), held_bytes);
        run_sequence(&arena, later);
        assert_memory_equal(first, later, sizeof first);
        assert_int_equal(weir_arena_used_bytes(&arena), used_bytes);
    }
    assert_int_equal(allocations(pool), count);
    assert_int_equal(weir_arena_held_bytes(&arena), held_bytes);
    weir_arena_fini(&arena);
    assert_int_equal(bytes_in_use(pool), 0);
    test_pool_destroy(pool);
}

static void rewind_frees_what_came_after_the_mark(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    void *first[SEQUENCE], *later[SEQUENCE];

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    struct weir_arena_mark empty = weir_arena_mark(&arena);
    uint8_t *kept = take(&arena, 1000, 1);
    test_fill(kept, 1000, 9);
    struct weir_arena_mark mark = weir_arena_mark(&arena);
    run_sequence(&arena, first);
    uint64_t count = allocations(pool);
    struct weir_arena_mark deep = weir_arena_mark(&arena);
    size_t deep_bytes = weir_arena_used_bytes(&arena);
    take(&arena, 30000, 1);
    weir_arena_rewind(&arena, deep);
    assert_int_equal(weir_arena_used_bytes(&arena), deep_bytes);
    for (int round = 0; round < 5; round++) {
        weir_arena_rewind(&arena, mark);
        assert_int_equal(weir_arena_used_bytes(&arena), 1000);
        assert_true(test_is_filled(kept, 1000, 9));
        run_sequence(&arena, later);
        assert_memory_equal(first, later, sizeof first);
    }
    assert_int_equal(allocations(pool), count + 1);
    weir_arena_rewind(&arena, empty);
    assert_int_equal(weir_arena_used_bytes(&arena), 0);
    assert_ptr_equal(take(&arena, 1, 1), kept);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void a_rewind_gives_its_share_of_the_limit_back(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    const struct weir_arena_options options = {.limit_bytes = 20000};

    (void)state;
    weir_arena_init(&arena, pool, &options);
    take(&arena, 3000, 1);
    struct weir_arena_mark mark = weir_arena_mark(&arena);
    for (int round = 0; round < 4; round++) {
        take(&arena, 17000, 1);
        assert_refused(&arena, 1, 1, -ENOBUFS);
        weir_arena_rewind(&arena, mark);
        for (int i = 0; i < 17; i++)
            take(&arena, 1000, 1);
        assert_refused(&arena, 1, 1, -ENOBUFS);
        weir_arena_rewind(&arena, mark);
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void growing_requests_do_not_pile_up_memory(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (size_t size = 5000; size < 1000000; size += 5000) {
        take(&arena, 10, 1);
        take(&arena, size, 1);
        assert_true(weir_arena_held_bytes(&arena) <= 2 * (size + 70000));
        assert_int_equal(weir_arena_held_bytes(&arena), bytes_in_use(pool));
        weir_arena_reset(&arena);
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void copies_end_in_a_nul_that_is_not_counted(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    struct weir_view copy;
    char text[] = "some text";

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    assert_int_equal(weir_arena_copy(&arena, weir_view_text(text), &copy), 0);
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(copy.size, 9);
    assert_string_equal((const char *)copy.data, "some text");
    assert_int_equal(weir_arena_used_bytes(&arena), 10);
    assert_int_equal(weir_arena_copy(&arena, weir_view_of(NULL, 0), &copy), 0);
    assert_int_equal(copy.size, 0);
    assert_string_equal((const char *)copy.data, "");
    assert_int_equal(weir_arena_copy(&arena, weir_view_of("a\0b", 3), &copy), 0);
    assert_int_equal(copy.size, 3);
    assert_memory_equal(copy.data, "a\0b", 4);
    weir_arena_fini(&arena);

    const struct weir_arena_options options = {.limit_bytes = 4};
    weir_arena_init(&arena, pool, &options);
    copy = weir_view_of(NULL, 7);
    assert_int_equal(weir_arena_copy(&arena, weir_view_text("four"), &copy), -ENOBUFS);
    assert_int_equal(copy.size, 7);
    assert_int_equal(weir_arena_copy(&arena, weir_view_text("thr"), &copy), 0);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void every_call_of_the_source_may_fail(void **state)
{
    static struct test_source source;
    const struct weir_arena_options options = {.chunk_bytes = 70000};

    (void)state;
    for (uint64_t n = 1;; n++) {
        struct weir_arena arena;
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        test_source_fail(&source, n);
        weir_arena_init(&arena, pool, &options);
        void *last = NULL;
        for (int i = 0; i < 200; i++) {
            uint8_t *memory = weir_arena_alloc(&arena, 6000, 8);
            if (memory == NULL) {
                assert_int_equal(weir_arena_error(&arena), -ENOMEM);
                assert_int_equal(weir_arena_used_bytes(&arena), (size_t)i * 6000);
                memory = take(&arena, 6000, 8); /* the next one succeeds */
            }
            assert_ptr_not_equal(memory, last);
            last = memset(memory, 1, 6000);
            assert_true(weir__pool_check(pool));
        }
        uint64_t failures = source.failures;
        weir_arena_fini(&arena);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (failures == 0) {
            assert_true(n > 10);
            break;
        }
    }
}

/* --- random use ------------------------------------------------------------------------------ */

#define DEPTH 12
#define ITEMS 2000

struct item {
    uint8_t *at;
    size_t size_bytes;
    uint64_t tag;
};

static void check_items(const struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(test_is_filled(items[i].at, items[i].size_bytes, items[i].tag));
}

static void random_use_keeps_every_content(void **state)
{
    static struct item items[ITEMS];
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    struct weir_arena_mark marks[DEPTH];
    size_t counts[DEPTH], count = 0;
    unsigned depth = 0;
    struct test_random random;

    (void)state;
    test_random_init(&random);
    weir_arena_init(&arena, pool, NULL);
    for (int step = 0; step < 20000; step++) {
        uint64_t choice = test_random_below(&random, 100);
        if (choice < 2 && depth < DEPTH) {
            marks[depth] = weir_arena_mark(&arena);
            counts[depth++] = count;
        } else if (choice < 4 && depth > 0) {
            check_items(items, count);
            depth = (unsigned)test_random_below(&random, depth);
            weir_arena_rewind(&arena, marks[depth]);
            count = counts[depth];
        } else if (count == ITEMS || choice == 99) {
            check_items(items, count);
            weir_arena_reset(&arena);
            count = depth = 0;
        } else {
            struct item *item = &items[count++];
            item->size_bytes = test_random_size(&random, 8192);
            item->tag = test_random(&random);
            item->at = take(&arena, item->size_bytes, (size_t)1 << test_random_below(&random, 13));
            test_fill(item->at, item->size_bytes, item->tag);
        }
        assert_true(weir_arena_used_bytes(&arena) <= weir_arena_held_bytes(&arena));
    }
    check_items(items, count);
    assert_int_equal(weir_arena_held_bytes(&arena), bytes_in_use(pool));
    weir_arena_fini(&arena);
    assert_int_equal(bytes_in_use(pool), 0);
    test_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_arena_holds_nothing),
        cmocka_unit_test(allocations_follow_one_another),
        cmocka_unit_test(every_alignment_is_met),
        cmocka_unit_test(a_chunk_is_used_to_its_last_byte),
        cmocka_unit_test(a_large_request_gets_a_block_of_its_size_and_its_rest_is_used),
        cmocka_unit_test(nothing_is_a_valid_request),
        cmocka_unit_test(sizes_that_wrap_are_refused),
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(padding_counts_against_the_limit),
        cmocka_unit_test(the_limit_of_the_pool_is_reported),
        cmocka_unit_test(reset_keeps_the_memory_in_its_order),
        cmocka_unit_test(rewind_frees_what_came_after_the_mark),
        cmocka_unit_test(a_rewind_gives_its_share_of_the_limit_back),
        cmocka_unit_test(growing_requests_do_not_pile_up_memory),
        cmocka_unit_test(copies_end_in_a_nul_that_is_not_counted),
        cmocka_unit_test(every_call_of_the_source_may_fail),
        cmocka_unit_test(random_use_keeps_every_content),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
