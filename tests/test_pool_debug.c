/* SPDX-License-Identifier: MIT */
/*
 * What becomes of blocks and slices that are used after their release: with --enable-debug the
 * program ends and says where they were taken and released, however often their memory was used
 * again; otherwise assertions catch what is not yet in use again.
 */
#include "support.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/slice.h>

#if WEIR_DEBUG || !defined(NDEBUG)

#define TEXT_BYTES 4096

/* Functions with a section of their own: its ends, which the linker names, are theirs. */
#define PLACE(name) __attribute__((noinline, section(#name)))
#define PLACE_ENDS(name) extern const char __start_##name[], __stop_##name[]

PLACE_ENDS(weir_taken);
PLACE_ENDS(weir_released);
PLACE_ENDS(weir_misused);

struct act {
    struct weir_pool *pool;
    struct weir_slice slice;
    struct weir_slice stale;
    bool elsewhere; /* released on another thread */
    bool reused;    /* its memory is in use again */
    void (*misuse)(struct act *act);
};

PLACE(weir_taken) static void take(struct act *act)
{
    struct weir_block *block;
    int rc = weir_pool_alloc(act->pool, 100, &block);
    if (rc == 0)
        act->slice = weir_slice_adopt(weir_view_of(block->data, 100), block);
    act->stale = act->slice;
}

PLACE(weir_released) static void *release(void *context)
{
    struct act *act = context;
    weir_slice_drop(&act->slice);
    return NULL; /* not a tail call: the call site is here */
}

PLACE(weir_misused) static void misuse_drop(struct act *act)
{
    weir_slice_drop(&act->stale);
    act->stale.view.size = 1;
}

PLACE(weir_misused) static void misuse_hold(struct act *act)
{
    act->slice = weir_slice_hold(&act->stale);
    act->stale.view.size = 1;
}

PLACE(weir_misused) static void misuse_sub(struct act *act)
{
    (void)weir_slice_sub(&act->stale, 1, 2, &act->slice);
    act->stale.view.size = 1;
}

PLACE(weir_misused) static void misuse_exclusive(struct act *act)
{
    act->reused = weir_block_is_exclusive(act->stale.block);
    act->stale.view.size = 1;
}

static void use_stale(void *context)
{
    struct act *act = context;
    pthread_t thread;

    take(act);
    if (!act->elsewhere)
        release(act);
    else if (pthread_create(&thread, NULL, release, act) != 0 || pthread_join(thread, NULL) != 0)
        return;
    if (act->reused) {
        struct weir_slice stale = act->stale;
        take(act);
        if (act->slice.view.data != stale.view.data)
            return;
        act->stale = stale;
    }
    act->misuse(act);
}

/* One line of the report: @what, and behind it a place between @start and @stop. */
static void tells(const char *text, const char *what, const char *start, const char *stop)
{
    const char *line = strstr(text, what);
    if (line == NULL)
        fail_msg("no '%s' in: %s", what, text);
    line = strchr(line, '[');
    assert_non_null(line);
    uintptr_t address = (uintptr_t)strtoumax(line + 1, NULL, 16);
    if (address <= (uintptr_t)start || address > (uintptr_t)stop)
        fail_msg("'%s' is not between %p and %p: %s",
                 what,
                 (const void *)start,
                 (const void *)stop,
                 text);
}

static void (*const misuses[])(struct act *act) = {
    misuse_drop, misuse_hold, misuse_sub, misuse_exclusive};

static void is_caught(bool elsewhere, bool reused)
{
    char text[TEXT_BYTES], tag[] = "a tag";
    for (size_t i = 0; i < sizeof misuses / sizeof misuses[0]; i++) {
        struct weir_pool *pool = test_pool_create(NULL);
        struct act act = {
            .pool = pool, .elsewhere = elsewhere, .reused = reused, .misuse = misuses[i]};
        weir_pool_set_tag(pool, tag);
        assert_true(test_dies_saying(use_stale, &act, text, sizeof text));
        if (WEIR_DEBUG) {
            const char *what = misuses[i] == misuse_drop
                                   ? "weir: released twice: block of 256 bytes"
                                   : "weir: used after its release: block of "
                                     "256 bytes";
            assert_ptr_equal(strstr(text, what), text);
            assert_non_null(strstr(text, ", 100 asked for, tag a tag\n"));
            tells(text, "  now in ", __start_weir_misused, __stop_weir_misused);
            tells(text, "  taken in ", __start_weir_taken, __stop_weir_taken);
            tells(text,
                  elsewhere ? "  released by another thread in " : "  released in ",
                  __start_weir_released,
                  __stop_weir_released);
        }
        test_pool_destroy(pool);
    }
}

static void a_stale_slice_is_caught_wherever_it_is_used(void **state)
{
    (void)state;
    is_caught(false, false);
}

static void what_another_thread_released_is_caught(void **state)
{
    (void)state;
    is_caught(true, false);
}
#endif

#if WEIR_DEBUG
/* The block is somebody else's by now: only its generation tells. */
static void a_stale_slice_is_caught_although_its_memory_is_in_use_again(void **state)
{
    (void)state;
    is_caught(false, true);
}
#endif

/* Blocks of all kinds come and go, more than are remembered. */
static void right_use_is_never_stopped(void **state)
{
    static const size_t sizes[] = {1, 300, 4096, 65536, 70000};
    uint8_t foreign[10];
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (unsigned i = 0; i < 3 * WEIR__DEBUG_RETIRED; i++) {
        struct weir_block *block, *adopted;
        assert_int_equal(weir_pool_alloc(pool, sizes[i % 5], &block), 0);
        assert_int_equal(weir_block_adopt(pool, foreign, sizeof foreign, NULL, NULL, &adopted), 0);
        assert_ptr_equal(adopted->data, foreign);
        weir_block_drop(weir_block_hold(block));
        assert_true(weir_block_is_exclusive(block));
        weir_block_drop(adopted);
        weir_block_drop(block);
    }
    assert_true(pool->debug.retired_count <= WEIR__DEBUG_RETIRED + 2);
    assert_int_equal(pool->debug.retired_count != 0, WEIR_DEBUG);
    test_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if WEIR_DEBUG || !defined(NDEBUG)
        cmocka_unit_test(a_stale_slice_is_caught_wherever_it_is_used),
        cmocka_unit_test(what_another_thread_released_is_caught),
#endif
#if WEIR_DEBUG
        cmocka_unit_test(a_stale_slice_is_caught_although_its_memory_is_in_use_again),
#endif
        cmocka_unit_test(right_use_is_never_stopped),
    };

    return cmocka_run_group_tests_name("pool_debug", tests, NULL, NULL);
}
