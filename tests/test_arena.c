/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <wchar.h>

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
    for (size_t align = 1; align <= 1 << 20; align *= 2) {
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

static void an_alignment_that_is_no_power_of_two_is_refused(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (int round = 0; round < 2; round++) {
        assert_refused(&arena, 8, 0, -EINVAL);
        assert_refused(&arena, 8, 3, -EINVAL);
        assert_refused(&arena, 8, SIZE_MAX, -EINVAL);
        assert_refused(&arena, 0, 48, -EINVAL);
        take(&arena, 8, 8);
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void an_alignment_beyond_the_limit_leaves_nothing_behind(void **state)
{
    static struct test_source source;
    const struct weir_arena_options options = {.limit_bytes = 5000};
    struct weir_arena arena;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    weir_arena_init(&arena, pool, &options);
    take(&arena, 1000, 1);
    for (int i = 0; i < 3; i++) {
        /* A block of this class is aligned to its size: the header alone is in the way. */
        assert_refused(&arena, 100, 65536, -ENOBUFS);
        assert_int_equal(weir_arena_held_bytes(&arena), 4096);
        assert_int_equal(bytes_in_use(pool), 4096);
    }
    assert_refused(&arena, 1, (size_t)1 << (8 * sizeof(size_t) - 1), -ENOMEM);
    take(&arena, 3000, 1);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
    test_source_fini(&source);
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

static void a_chunk_is_a_usual_one_whatever_it_was_rounded_up_from(void **state)
{
    const size_t sizes[] = {65000, 65536, 100000, 102400};
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const struct weir_arena_options options = {.chunk_bytes = sizes[i]};
        const size_t chunk_bytes = weir_pool_block_bytes(pool, sizes[i]);
        const size_t large_bytes = weir_pool_block_bytes(pool, 200000 + HEADER_BYTES);
        struct weir_arena arena;
        weir_arena_init(&arena, pool, &options);
        take(&arena, 60000, 1);
        take(&arena, 60000, 1);
        assert_int_equal(weir_arena_held_bytes(&arena), 2 * chunk_bytes);
        /* Unlike a chunk that was made for a large request, it stays when a larger one comes. */
        weir_arena_reset(&arena);
        take(&arena, 200000, 1);
        assert_int_equal(weir_arena_held_bytes(&arena), 2 * chunk_bytes + large_bytes);
        weir_arena_fini(&arena);
    }
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

static void views_are_joined_without_gaps(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    struct weir_view parts[] = {
        weir_view_text("a/"), {NULL, 0}, weir_view_text("bc"), weir_view_of("\0d", 2)};

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    assert_int_equal(weir_arena_concat(&arena, parts, 4, &parts[1]), 0); /* its own result */
    assert_int_equal(parts[1].size, 6);
    assert_memory_equal(parts[1].data, "a/bc\0d", 7);
    assert_int_equal(weir_arena_used_bytes(&arena), 7);
    assert_int_equal(weir_arena_concat(&arena, NULL, 0, &parts[0]), 0);
    assert_int_equal(parts[0].size, 0);
    assert_string_equal((const char *)parts[0].data, "");
    weir_arena_fini(&arena);

    const struct weir_arena_options options = {.limit_bytes = 4};
    weir_arena_init(&arena, pool, &options);
    parts[0] = weir_view_text("ab");
    parts[3] = weir_view_of(NULL, 7);
    parts[1] = weir_view_text("cd");
    assert_int_equal(weir_arena_concat(&arena, parts, 2, &parts[3]), -ENOBUFS);
    parts[1].size = SIZE_MAX - 1;
    assert_int_equal(weir_arena_concat(&arena, parts, 2, &parts[3]), -EOVERFLOW);
    assert_int_equal(weir_arena_error(&arena), -EOVERFLOW);
    parts[1].size = SIZE_MAX - 2; /* only the NUL is too much */
    assert_int_equal(weir_arena_concat(&arena, parts, 2, &parts[3]), -EOVERFLOW);
    assert_int_equal(parts[3].size, 7);
    assert_int_equal(weir_arena_used_bytes(&arena), 0);
    parts[1].size = 1;
    assert_int_equal(weir_arena_concat(&arena, parts, 2, &parts[3]), 0);
    assert_string_equal((const char *)parts[3].data, "abc");
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void text_is_formatted_wherever_it_fits(void **state)
{
    static char expected[9000];
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    struct weir_view text;

    (void)state;
    memset(expected, ' ', sizeof expected);
    /* At every distance from the end of a chunk, and larger than a chunk. */
    for (int width = 1; width < 8999; width = width < 40 || width > 4020 ? width + 1 : 4021) {
        if (width > 4140)
            width = 8998;
        weir_arena_init(&arena, pool, NULL);
        take(&arena, 10, 1);
        errno = 77;
        assert_int_equal(weir_arena_format(&arena, &text, "%*d%c", width, 7, '!'), 0);
        assert_int_equal(errno, 77);
        assert_int_equal(text.size, width + 1);
        assert_memory_equal(text.data, expected, (size_t)width - 1);
        assert_memory_equal(text.data + width - 1, "7!", 3);
        assert_int_equal(weir_arena_used_bytes(&arena), 10 + width + 2);
        assert_int_equal(weir_arena_held_bytes(&arena),
                         width + 2 <= 4096 - HEADER_BYTES - 10 ? 4096
                         : width + 2 <= 4096 - HEADER_BYTES    ? 8192
                                                               : 4096 + 16384);
        weir_arena_fini(&arena);
    }
    weir_arena_init(&arena, pool, NULL);
    assert_int_equal(weir_arena_format(&arena, &text, "%s", ""), 0); /* in an empty arena */
    assert_int_equal(text.size, 0);
    assert_string_equal((const char *)text.data, "");
    assert_int_equal(weir_arena_used_bytes(&arena), 1);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* Compilers look into literals, and refuse this one. */
static int format_endless(struct weir_arena *arena, struct weir_view *ret)
{
    const char *volatile format = "%99999999999d";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    return weir_arena_format(arena, ret, format, 1);
#pragma GCC diagnostic pop
}

static void text_that_cannot_be_had_is_refused(void **state)
{
    static const wchar_t none[] = {0x7ffffffe, 0};
    uint8_t memory[16];
    struct weir_arena arena;
    struct weir_view text = {NULL, 7};

    (void)state;
    weir_arena_init_fixed(&arena, memory, sizeof memory);
    errno = 77;
    assert_int_equal(weir_arena_format(&arena, &text, "%d", 1), 0);
    text.size = 7;
    assert_int_equal(weir_arena_format(&arena, &text, "%014d", 1), -ENOBUFS);
    assert_int_equal(format_endless(&arena, &text), -EOVERFLOW);
    assert_int_equal(weir_arena_error(&arena), -EOVERFLOW);
    assert_int_equal(weir_arena_format(&arena, &text, "%ls", none), -EILSEQ);
    assert_int_equal(errno, 77);
    assert_int_equal(text.size, 7);
    assert_int_equal(weir_arena_used_bytes(&arena), 2);
    assert_int_equal(weir_arena_format(&arena, &text, "%013d", 1), 0);
    assert_int_equal(weir_arena_used_percent(&arena), 100);
    assert_int_equal(weir_arena_format(&arena, &text, "%s", ""), -ENOBUFS);
    weir_arena_fini(&arena);
}

static void arrays_are_typed_and_their_size_does_not_wrap(void **state)
{
    struct triple {
        double a;
        char b;
    };
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    take(&arena, 1, 1);
    struct triple *one = WEIR_ARENA_NEW(&arena, struct triple);
    assert_int_equal((uintptr_t)one % _Alignof(struct triple), 0);
    size_t count = 9;
    struct triple *many = WEIR_ARENA_ARRAY(&arena, struct triple, count++);
    assert_int_equal(count, 10);
    assert_ptr_equal(many, one + 1);
    assert_int_equal(weir_arena_used_bytes(&arena), 8 + 10 * sizeof(struct triple));
    assert_non_null(WEIR_ARENA_ARRAY(&arena, struct triple, 0));
    assert_null(WEIR_ARENA_ARRAY(&arena, struct triple, SIZE_MAX / sizeof(struct triple) + 1));
    assert_int_equal(weir_arena_error(&arena), -EOVERFLOW);
    assert_null(WEIR_ARENA_ARRAY(&arena, char, SIZE_MAX));
    assert_int_equal(weir_arena_error(&arena), -EOVERFLOW);
    assert_null(weir_arena_alloc_array(&arena, SIZE_MAX, SIZE_MAX, 64));
    assert_int_equal(weir_arena_used_bytes(&arena), 8 + 10 * sizeof(struct triple));
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void the_callers_memory_is_used_to_its_last_byte(void **state)
{
    static uint8_t memory[256] __attribute__((aligned(64)));
    struct weir_arena arena;

    (void)state;
    memset(&arena, 0xa5, sizeof arena);
    for (size_t offset = 0; offset < 3; offset++) {
        size_t size_bytes = sizeof memory - offset;
        weir_arena_init_fixed(&arena, memory + offset, size_bytes);
        for (int round = 0; round < 2; round++) {
            assert_int_equal(weir_arena_limit_bytes(&arena), size_bytes);
            assert_int_equal(weir_arena_held_bytes(&arena), 0);
            assert_int_equal(weir_arena_used_bytes(&arena), 0);
            assert_ptr_equal(take(&arena, 1, 1), memory + offset);
            assert_ptr_equal(take(&arena, 8, 8), memory + 8);
            struct weir_arena_mark mark = weir_arena_mark(&arena);
            assert_refused(&arena, SIZE_MAX, 1, -EOVERFLOW);
            assert_refused(&arena, SIZE_MAX / 2, 64, -ENOBUFS);
            assert_refused(&arena, 0, (size_t)1 << (8 * sizeof(size_t) - 1), -ENOBUFS);
            assert_refused(&arena, 241, 1, -ENOBUFS);
            assert_refused(&arena, 193, 64, -ENOBUFS);
            assert_ptr_equal(take(&arena, 192, 64), memory + 64);
            assert_int_equal(weir_arena_used_percent(&arena), 100);
            assert_refused(&arena, 1, 1, -ENOBUFS);
            take(&arena, 0, 1);
            weir_arena_rewind(&arena, mark);
            assert_int_equal(weir_arena_used_bytes(&arena), 16 - offset);
            assert_ptr_equal(take(&arena, 240, 1), memory + 16);
            weir_arena_reset(&arena);
        }
        weir_arena_fini(&arena);
        assert_refused(&arena, 1, 1, -ENOBUFS); /* zeroed: it has no memory */
    }
    weir_arena_init_fixed(&arena, memory, 0);
    assert_refused(&arena, 1, 1, -ENOBUFS);
    assert_ptr_equal(take(&arena, 0, 1), memory);
    assert_int_equal(weir_arena_used_percent(&arena), 0);
    weir_arena_fini(&arena);
}

static void the_usage_is_told_in_percent_of_the_limit(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    const struct weir_arena_options options = {.limit_bytes = 10000};

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    take(&arena, 100000, 1);
    assert_int_equal(weir_arena_limit_bytes(&arena), SIZE_MAX);
    assert_int_equal(weir_arena_used_percent(&arena), 0);
    weir_arena_fini(&arena);
    weir_arena_init(&arena, pool, &options);
    assert_int_equal(weir_arena_used_percent(&arena), 0);
    take(&arena, 3399, 1);
    assert_int_equal(weir_arena_used_percent(&arena), 33);
    take(&arena, 6600, 1);
    assert_int_equal(weir_arena_used_percent(&arena), 99);
    take(&arena, 1, 1);
    assert_int_equal(weir_arena_used_percent(&arena), 100);
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

/* One call of each that makes text or an array, all too large for what is left in a chunk. */
static int make_each(struct weir_arena *arena, int which, const char *letters)
{
    struct weir_view text = {NULL, 0};
    const struct weir_view parts[] = {weir_view_text(letters), weir_view_text(letters)};

    switch (which) {
    case 0:
        return weir_arena_copy(arena, parts[0], &text);
    case 1:
        return weir_arena_concat(arena, parts, 2, &text);
    case 2:
        return weir_arena_format(arena, &text, "%s", letters);
    default:
        return WEIR_ARENA_ARRAY(arena, double, 6000) != NULL ? 0 : weir_arena_error(arena);
    }
}

static void every_way_to_make_something_may_fail(void **state)
{
    static struct test_source source;
    static char letters[40001];

    (void)state;
    memset(letters, 'x', sizeof letters - 1);
    for (uint64_t n = 1;; n++) {
        struct weir_arena arena;
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        test_source_fail(&source, n);
        weir_arena_init(&arena, pool, NULL);
        for (int i = 0; i < 40; i++) {
            size_t used_bytes = weir_arena_used_bytes(&arena);
            int rc = make_each(&arena, i % 4, letters);
            if (rc == 0)
                continue;
            assert_int_equal(rc, -ENOMEM);
            assert_int_equal(weir_arena_used_bytes(&arena), used_bytes);
            assert_true(weir__pool_check(pool));
            assert_int_equal(make_each(&arena, i % 4, letters), 0);
        }
        uint64_t failures = source.failures;
        weir_arena_fini(&arena);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (failures == 0) {
            assert_true(n > 5);
            break;
        }
    }
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
        cmocka_unit_test(an_alignment_that_is_no_power_of_two_is_refused),
        cmocka_unit_test(an_alignment_beyond_the_limit_leaves_nothing_behind),
        cmocka_unit_test(a_chunk_is_used_to_its_last_byte),
        cmocka_unit_test(a_large_request_gets_a_block_of_its_size_and_its_rest_is_used),
        cmocka_unit_test(a_chunk_is_a_usual_one_whatever_it_was_rounded_up_from),
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
        cmocka_unit_test(views_are_joined_without_gaps),
        cmocka_unit_test(text_is_formatted_wherever_it_fits),
        cmocka_unit_test(text_that_cannot_be_had_is_refused),
        cmocka_unit_test(arrays_are_typed_and_their_size_does_not_wrap),
        cmocka_unit_test(the_callers_memory_is_used_to_its_last_byte),
        cmocka_unit_test(the_usage_is_told_in_percent_of_the_limit),
        cmocka_unit_test(every_way_to_make_something_may_fail),
        cmocka_unit_test(every_call_of_the_source_may_fail),
        cmocka_unit_test(random_use_keeps_every_content),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
