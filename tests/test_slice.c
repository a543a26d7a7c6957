/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <weir/slice.h>

static void adopting_takes_the_callers_reference(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice slice = test_slice(pool, 100, 1);

    (void)state;
    assert_true(weir_block_is_exclusive(slice.block));
    assert_int_equal(test_blocks_in_use(pool), 1);
    weir_slice_drop(&slice);
    assert_null(slice.block);
    assert_null(slice.view.data);
    assert_int_equal(slice.view.size, 0);
    assert_int_equal(test_blocks_in_use(pool), 0);
    test_pool_destroy(pool);
}

static void the_bytes_live_until_the_last_holder_drops(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice first = test_slice(pool, 100, 1);
    struct weir_slice second = weir_slice_hold(&first);

    (void)state;
    assert_ptr_equal(second.view.data, first.view.data);
    assert_int_equal(second.view.size, 100);
    assert_false(weir_block_is_exclusive(first.block));
    weir_slice_drop(&first);
    assert_int_equal(test_blocks_in_use(pool), 1);
    assert_true(weir_block_is_exclusive(second.block));
    assert_true(test_is_filled(second.view.data, second.view.size, 1));
    weir_slice_drop(&second);
    assert_int_equal(test_blocks_in_use(pool), 0);
    test_pool_destroy(pool);
}

static void a_part_holds_a_reference_of_its_own(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice whole = test_slice(pool, 100, 1);
    struct weir_slice part = {{NULL, 0}, NULL};
    struct weir_slice empty = {{NULL, 0}, NULL};
    const uint8_t *start = whole.view.data;

    (void)state;
    assert_int_equal(weir_slice_sub(&whole, 10, 20, &part), 0);
    assert_int_equal(weir_slice_sub(&whole, 100, 0, &empty), 0);
    weir_slice_drop(&whole);
    assert_ptr_equal(part.view.data, start + 10);
    assert_int_equal(part.view.size, 20);
    assert_int_equal(empty.view.size, 0);
    weir_slice_drop(&part);
    assert_int_equal(test_blocks_in_use(pool), 1);
    weir_slice_drop(&empty);
    assert_int_equal(test_blocks_in_use(pool), 0);
    test_pool_destroy(pool);
}

static void a_part_outside_is_refused_and_holds_nothing(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice whole = test_slice(pool, 100, 1);
    struct weir_slice part = {{NULL, 77}, NULL};

    (void)state;
    assert_int_equal(weir_slice_sub(&whole, 0, 101, &part), -EOVERFLOW);
    assert_int_equal(weir_slice_sub(&whole, 101, 0, &part), -EOVERFLOW);
    assert_int_equal(weir_slice_sub(&whole, 50, SIZE_MAX, &part), -EOVERFLOW);
    assert_int_equal(weir_slice_sub(&whole, SIZE_MAX, 2, &part), -EOVERFLOW);
    assert_int_equal(part.view.size, 77);
    assert_null(part.block);
    assert_true(weir_block_is_exclusive(whole.block));
    weir_slice_drop(&whole);
    test_pool_destroy(pool);
}

static void bytes_of_nobody_need_no_block(void **state)
{
    struct weir_slice literal = weir_slice_adopt(weir_view_text("literal"), NULL);
    struct weir_slice zeroed = {{NULL, 0}, NULL};
    struct weir_slice part, held;

    (void)state;
    held = weir_slice_hold(&literal);
    assert_null(held.block);
    assert_true(weir_view_equal(held.view, weir_view_text("literal")));
    assert_int_equal(weir_slice_sub(&literal, 3, 4, &part), 0);
    assert_null(part.block);
    assert_true(weir_view_equal(part.view, weir_view_text("eral")));
    weir_slice_drop(&part);
    weir_slice_drop(&held);
    weir_slice_drop(&literal);
    weir_slice_drop(&literal);
    weir_slice_drop(&zeroed);
    held = weir_slice_hold(&zeroed);
    assert_null(held.view.data);
}

static void slices_are_equal_by_their_bytes(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice a = test_slice(pool, 100, 1), b = test_slice(pool, 100, 1);
    struct weir_slice zeroed = {{NULL, 0}, NULL}, shorter = zeroed;

    (void)state;
    assert_int_equal(weir_slice_sub(&a, 0, 99, &shorter), 0);
    assert_true(weir_slice_equal(&a, &b));
    assert_int_equal(weir_slice_compare(&a, &b), 0);
    assert_true(weir_slice_hash(&a, 5) == weir_slice_hash(&b, 5));
    assert_true(weir_slice_hash(&a, 5) == weir_view_hash(a.view, 5));
    assert_true(weir_slice_hash(&a, 5) != weir_slice_hash(&a, 6));
    assert_false(weir_slice_equal(&shorter, &b));
    assert_true(weir_slice_compare(&shorter, &b) < 0);
    assert_true(weir_slice_compare(&b, &shorter) > 0);
    assert_true(weir_slice_compare(&zeroed, &shorter) < 0);
    b.block->data[99] ^= 1;
    assert_false(weir_slice_equal(&a, &b));
    assert_true(weir_slice_hash(&a, 5) != weir_slice_hash(&b, 5));
    weir_slice_drop(&shorter);
    weir_slice_drop(&a);
    weir_slice_drop(&b);
    assert_true(weir_slice_equal(&a, &zeroed));
    assert_true(weir_slice_hash(&a, 5) == weir_view_hash(weir_view_text(""), 5));
    assert_int_equal(test_blocks_in_use(pool), 0);
    test_pool_destroy(pool);
}

static void a_small_slice_moves_out_of_a_large_block(void **state)
{
    static struct test_source source;
    struct weir_slice part, kept;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    struct weir_slice whole = test_slice(pool, 60000, 1);
    test_fill((uint8_t *)(uintptr_t)whole.view.data + 500, 40, 9);
    assert_int_equal(weir_slice_sub(&whole, 500, 40, &part), 0);
    assert_int_equal(weir_slice_pinned_bytes(&part), 65536);
    kept = weir_slice_hold(&part);

    /* It does not pay, or not enough. */
    assert_int_equal(weir_slice_compact(&part, pool, 65536 - 64 + 1), 0);
    assert_int_equal(weir_slice_compact(&part, pool, SIZE_MAX), 0);
    assert_int_equal(weir_slice_compact(&whole, pool, 0), 0);
    assert_ptr_equal(part.block, whole.block);
    assert_int_equal(weir_slice_compact(&part, pool, 65536 - 64), 40);
    assert_ptr_not_equal(part.block, whole.block);
    assert_true(test_is_filled(part.view.data, 40, 9));
    assert_int_equal(part.view.size, 40);
    assert_int_equal(weir_slice_pinned_bytes(&part), 64);
    /* Once is enough, and the others are not touched. */
    assert_int_equal(weir_slice_compact(&part, pool, 0), 0);
    assert_true(weir_view_equal(kept.view, part.view));
    assert_int_equal(test_blocks_in_use(pool), 2);
    weir_slice_drop(&whole);
    assert_int_equal(test_blocks_in_use(pool), 2);
    weir_slice_drop(&kept);
    assert_int_equal(test_blocks_in_use(pool), 1);
    weir_slice_drop(&part);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

static void compacting_may_fail_and_changes_nothing_then(void **state)
{
    static struct test_source source;
    struct weir_slice zeroed = {{NULL, 0}, NULL};

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    struct weir_pool *other = test_pool_create(&source);
    struct weir_slice slice = test_slice(pool, 100000, 1), before = slice;
    slice.view.size = 100;
    before.view.size = 100;
    test_source_fail_from(&source, 1);
    assert_int_equal(weir_slice_compact(&slice, other, 1), -ENOMEM);
    assert_memory_equal(&slice, &before, sizeof slice);
    test_source_fail(&source, 0);
    assert_int_equal(weir_slice_compact(&slice, other, 1), 100);
    assert_ptr_equal(weir_block_pool(slice.block), other);
    assert_int_equal(test_blocks_in_use(pool), 0);
    weir_slice_drop(&slice);

    assert_int_equal(weir_slice_compact(&zeroed, pool, 1), 0);
    assert_int_equal(weir_slice_pinned_bytes(&zeroed), 0);
    slice = test_slice(pool, 100, 1);
    slice.view.size = 0;
    assert_int_equal(weir_slice_compact(&slice, pool, 1), 0);
    assert_null(slice.block);
    assert_int_equal(test_blocks_in_use(pool), 0);
    test_pool_destroy(other);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

static void *check_and_drop(void *argument)
{
    struct weir_slice *slice = argument;
    bool good = test_is_filled(slice->view.data, slice->view.size, 1);

    weir_slice_drop(slice);
    return good ? argument : NULL;
}

static void a_slice_may_be_dropped_on_another_thread(void **state)
{
    enum { THREADS = 4 };
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice whole = test_slice(pool, 3000, 1);
    struct weir_slice held[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        held[i] = weir_slice_hold(&whole);
        assert_int_equal(pthread_create(&threads[i], NULL, check_and_drop, &held[i]), 0);
    }
    weir_slice_drop(&whole);
    for (int i = 0; i < THREADS; i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_non_null(good);
    }
    (void)weir_pool_reclaim(pool);
    assert_int_equal(test_blocks_in_use(pool), 0);
    test_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adopting_takes_the_callers_reference),
        cmocka_unit_test(the_bytes_live_until_the_last_holder_drops),
        cmocka_unit_test(a_part_holds_a_reference_of_its_own),
        cmocka_unit_test(a_part_outside_is_refused_and_holds_nothing),
        cmocka_unit_test(bytes_of_nobody_need_no_block),
        cmocka_unit_test(slices_are_equal_by_their_bytes),
        cmocka_unit_test(a_small_slice_moves_out_of_a_large_block),
        cmocka_unit_test(compacting_may_fail_and_changes_nothing_then),
        cmocka_unit_test(a_slice_may_be_dropped_on_another_thread),
    };
    return cmocka_run_group_tests_name("slice", tests, NULL, NULL);
}
