/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include <weir/batch.h>

#include "../lib/batch_private.h"

#define ASSERT_SOUND(batch) assert_null(weir__batch_check(batch))

struct item {
    uint64_t value;
    uint64_t tag;
};

/* A pool over a counting source, and a batch of struct item. */
struct fixture {
    struct test_source source;
    struct weir_pool *pool;
    struct weir_batch batch;
};

static void begin(struct fixture *f, const struct weir_batch_options *options)
{
    test_source_init(&f->source);
    f->pool = test_pool_create(&f->source);
    assert_int_equal(
        weir_batch_init(&f->batch, f->pool, sizeof(struct item), alignof(struct item), options), 0);
    ASSERT_SOUND(&f->batch);
}

static void end(struct fixture *f)
{
    struct weir_pool_stats stats;

    ASSERT_SOUND(&f->batch);
    weir_batch_fini(&f->batch);
    weir_batch_fini(&f->batch); /* zeroed */
    weir_pool_stats(f->pool, &stats);
    assert_int_equal(stats.total.bytes_in_use, 0);
    test_pool_destroy(f->pool);
    test_source_fini(&f->source);
}

static struct item item_of(uint64_t value)
{
    struct item item;

    memset(&item, 0, sizeof(item));
    item.value = value * 3;
    item.tag = ~value;
    return item;
}

static void append(struct weir_batch *batch, uint64_t value)
{
    struct item item = item_of(value);

    assert_int_equal(weir_batch_append(batch, &item), 0);
}

static void assert_item(const struct weir_batch *batch, size_t index, uint64_t value)
{
    struct item wanted = item_of(value);
    const struct item *item = weir_batch_get(batch, index);

    assert_non_null(item);
    assert_memory_equal(item, &wanted, sizeof(wanted));
}

/* Everything that may be asked of a batch, to see that a failed call changed nothing. */
struct snapshot {
    size_t count, batches, capacity, held;
    const void *cursor;
};

static struct snapshot snapshot_of(const struct weir_batch *batch)
{
    struct snapshot snapshot = {weir_batch_count(batch),
                                weir_batch_batches(batch),
                                weir_batch_capacity(batch),
                                weir_batch_held_bytes(batch),
                                batch->cursor};
    return snapshot;
}

static void assert_unchanged(const struct weir_batch *batch, struct snapshot before)
{
    struct snapshot now = snapshot_of(batch);

    assert_int_equal(now.count, before.count);
    assert_int_equal(now.batches, before.batches);
    assert_int_equal(now.capacity, before.capacity);
    assert_int_equal(now.held, before.held);
    assert_ptr_equal(now.cursor, before.cursor);
    ASSERT_SOUND(batch);
}

static void a_new_batch_holds_nothing(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(weir_batch_count(&f.batch), 0);
    assert_int_equal(weir_batch_batches(&f.batch), 0);
    assert_int_equal(weir_batch_capacity(&f.batch), 0);
    assert_int_equal(weir_batch_used_bytes(&f.batch), 0);
    assert_int_equal(weir_batch_held_bytes(&f.batch), 0);
    assert_int_equal(weir_batch_batch_items(&f.batch), 256); /* 256 * 16 == 4096 */
    assert_null(weir_batch_get(&f.batch, 0));
    assert_null(weir_batch_get(&f.batch, SIZE_MAX));
    weir_batch_reset(&f.batch);
    weir_batch_truncate(&f.batch, 0);
    ASSERT_SOUND(&f.batch);
    end(&f);
}

static void configurations_are_checked(void **state)
{
    static const struct {
        size_t item, align;
        struct weir_batch_options options;
        int rc;
    } cases[] = {
        {0, 1, {0}, -EINVAL},
        {1, 0, {0}, -EINVAL},
        {1, 3, {0}, -EINVAL},
        {1, 8192, {0}, -EINVAL},
        {1, SIZE_MAX, {0}, -EINVAL},
        {1, 1, {.batch_items = 3}, -EINVAL},
        {1, 1, {.batch_items = SIZE_MAX}, -EINVAL},
        {1, 1, {.growth = {.percent = 99}}, -EINVAL},
        {1, 1, {.growth = {.initial = 2, .step_max = 1}}, -EINVAL},
        {SIZE_MAX, 2, {0}, -EOVERFLOW},
        {SIZE_MAX - 4095, 4096, {0}, -EOVERFLOW},
        {2, 1, {.batch_items = SIZE_MAX / 2 + 1}, -EOVERFLOW},
        {1, 1, {.batch_items = 1}, 0},
        {1 << 20, 4096, {0}, 0},
        {1, 4096, {0}, 0},
    };
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_batch batch, zeroed;
        memset(&batch, 0xa5, sizeof(batch));
        memset(&zeroed, 0, sizeof(zeroed));
        assert_int_equal(
            weir_batch_init(&batch, pool, cases[i].item, cases[i].align, &cases[i].options),
            cases[i].rc);
        if (cases[i].rc != 0)
            assert_memory_equal(&batch, &zeroed, sizeof(zeroed));
        weir_batch_fini(&batch);
    }
    test_pool_destroy(pool);
}

static void items_keep_index_and_address(void **state)
{
    enum { ITEMS = 5000 };
    static struct item *seen[ITEMS];
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 8});
    for (size_t i = 0; i < ITEMS; i++) {
        void *at;
        assert_int_equal(weir_batch_add(&f.batch, &at), 0);
        seen[i] = at;
        *seen[i] = item_of(i);
        assert_int_equal(weir_batch_count(&f.batch), i + 1);
        if (i % 97 == 0)
            ASSERT_SOUND(&f.batch);
    }
    for (size_t i = 0; i < ITEMS; i++) {
        assert_ptr_equal(weir_batch_get(&f.batch, i), seen[i]);
        assert_item(&f.batch, i, i);
    }
    assert_null(weir_batch_get(&f.batch, ITEMS));
    assert_null(weir_batch_get(&f.batch, SIZE_MAX));
    end(&f);
}

static void capacity_grows_by_plan_in_whole_batches(void **state)
{
    /* 4, then 6, 12, 18, 27, 42, 63, 96 and at most 100, each rounded up to batches of 4. */
    static const size_t steps[] = {4, 8, 12, 20, 32, 48, 72, 100, 100};
    struct fixture f;
    size_t capacity = 0;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 4, .growth = {.step_max = 100}});
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        capacity += steps[i];
        while (weir_batch_count(&f.batch) < capacity) {
            append(&f.batch, weir_batch_count(&f.batch));
            assert_int_equal(weir_batch_capacity(&f.batch), capacity);
        }
        ASSERT_SOUND(&f.batch);
    }
    end(&f);
}

static void the_initial_capacity_is_there_with_the_first_item(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 16, .growth = {.initial = 100}});
    append(&f.batch, 0);
    assert_int_equal(weir_batch_capacity(&f.batch), 112);
    assert_int_equal(weir_batch_batches(&f.batch), 1);
    assert_int_equal(weir_batch_used_bytes(&f.batch), 16);
    /* Seven blocks of 256 bytes and a table of 256 for seven entries. */
    assert_int_equal(weir_batch_held_bytes(&f.batch), 8 * 256);
    end(&f);
}

static void the_limit_is_exact(void **state)
{
    (void)state;
    for (size_t limit = 1; limit <= 20; limit++) {
        struct fixture f;
        struct weir_batch_span span;
        void *at = NULL;
        begin(&f, &(struct weir_batch_options){.batch_items = 4, .growth = {.limit = limit}});
        for (size_t i = 0; i < limit; i++)
            append(&f.batch, i);
        assert_int_equal(weir_batch_capacity(&f.batch), limit);
        struct snapshot before = snapshot_of(&f.batch);
        assert_int_equal(weir_batch_add(&f.batch, &at), -ENOBUFS);
        assert_null(at);
        assert_int_equal(weir_batch_add_span(&f.batch, 1, &span), -ENOBUFS);
        assert_int_equal(weir_batch_reserve(&f.batch, 1), -ENOBUFS);
        assert_int_equal(weir_batch_reserve(&f.batch, SIZE_MAX), -ENOBUFS);
        assert_int_equal(weir_batch_reserve(&f.batch, 0), 0);
        assert_unchanged(&f.batch, before);
        weir_batch_truncate(&f.batch, limit - 1);
        append(&f.batch, 7);
        assert_int_equal(weir_batch_add(&f.batch, &at), -ENOBUFS);
        assert_item(&f.batch, limit - 1, 7);
        end(&f);
    }
}

static void spans_cover_all_items_in_order(void **state)
{
    (void)state;
    for (size_t count = 0; count <= 40; count++) {
        struct fixture f;
        size_t next = 0;
        begin(&f, &(struct weir_batch_options){.batch_items = 8});
        for (size_t i = 0; i < count; i++)
            append(&f.batch, i);
        assert_int_equal(weir_batch_batches(&f.batch), (count + 7) / 8);
        for (size_t i = 0; i < weir_batch_batches(&f.batch); i++) {
            struct weir_batch_span span = weir_batch_span(&f.batch, i);
            const struct item *items = span.items;
            assert_int_equal(span.first, next);
            assert_int_equal(span.count, count - next < 8 ? count - next : 8);
            for (size_t j = 0; j < span.count; j++)
                assert_ptr_equal(&items[j], weir_batch_get(&f.batch, next++));
        }
        assert_int_equal(next, count);
        end(&f);
    }
}

static void items_are_aligned_in_blocks_of_any_class(void **state)
{
    /* Blocks of 64, 192, 1344 and 4160 bytes are aligned to 64 only. */
    static const struct weir_pool_options classes = {.class_bytes = {64, 192, 1344, 4160, 65536}};
    static const size_t sizes[] = {1, 7, 24, 64, 100, 1000, 5000, 70000};
    const struct weir_pool_options *pools[] = {NULL, &classes};

    (void)state;
    for (size_t p = 0; p < 2; p++) {
        struct weir_pool *pool;
        assert_int_equal(weir_pool_create(pools[p], &pool), 0);
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            for (size_t align = 1; align <= 4096; align *= 2) {
                struct weir_batch batch;
                const struct weir_batch_options options = {.batch_items = 4};
                assert_int_equal(weir_batch_init(&batch, pool, sizes[s], align, &options), 0);
                for (size_t i = 0; i < 20; i++) {
                    void *at;
                    assert_int_equal(weir_batch_add(&batch, &at), 0);
                    assert_int_equal((uintptr_t)at % align, 0);
                    test_fill(at, sizes[s], i);
                }
                for (size_t i = 0; i < 20; i++)
                    assert_true(test_is_filled(weir_batch_get(&batch, i), sizes[s], i));
                ASSERT_SOUND(&batch);
                weir_batch_fini(&batch);
            }
        }
        test_pool_destroy(pool);
    }
}

static void a_reset_keeps_the_memory(void **state)
{
    struct fixture f;
    struct weir_pool_stats before, after;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 8});
    for (size_t i = 0; i < 1000; i++)
        append(&f.batch, i);
    const void *first = weir_batch_get(&f.batch, 0);
    struct snapshot full = snapshot_of(&f.batch);
    weir_pool_stats(f.pool, &before);
    for (int round = 0; round < 5; round++) {
        weir_batch_reset(&f.batch);
        assert_int_equal(weir_batch_count(&f.batch), 0);
        assert_int_equal(weir_batch_batches(&f.batch), 0);
        assert_null(weir_batch_get(&f.batch, 0));
        for (size_t i = 0; i < 1000; i++)
            append(&f.batch, i + 1);
        assert_ptr_equal(weir_batch_get(&f.batch, 0), first);
        assert_item(&f.batch, 999, 1000);
        assert_unchanged(&f.batch, full);
    }
    weir_pool_stats(f.pool, &after);
    assert_int_equal(after.total.allocations, before.total.allocations);
    end(&f);
}

static void truncation_is_exact_at_every_count(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 4});
    for (size_t i = 0; i < 30; i++)
        append(&f.batch, i);
    for (size_t keep = 30; keep-- > 0;) {
        weir_batch_truncate(&f.batch, keep);
        ASSERT_SOUND(&f.batch);
        assert_int_equal(weir_batch_count(&f.batch), keep);
        assert_null(weir_batch_get(&f.batch, keep));
        append(&f.batch, 1000 + keep);
        assert_item(&f.batch, keep, 1000 + keep);
        if (keep != 0)
            assert_item(&f.batch, keep - 1, keep - 1);
        weir_batch_truncate(&f.batch, keep);
    }
    end(&f);
}

static void what_was_reserved_needs_no_memory(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 4});
    append(&f.batch, 0);
    assert_int_equal(weir_batch_reserve(&f.batch, 1000), 0);
    assert_int_equal(weir_batch_capacity(&f.batch), 1004);
    struct snapshot before = snapshot_of(&f.batch);
    assert_int_equal(weir_batch_reserve(&f.batch, 1003), 0);
    assert_unchanged(&f.batch, before);
    test_source_fail_from(&f.source, 1);
    for (size_t i = 1; i < 1004; i++)
        append(&f.batch, i);
    assert_int_equal(f.source.failures, 0);
    test_source_fail(&f.source, 0);
    assert_int_equal(weir_batch_reserve(&f.batch, 1), 0);
    assert_true(weir_batch_capacity(&f.batch) > 1004);
    end(&f);
}

static void absurd_reservations_are_refused(void **state)
{
    static const size_t counts[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, SIZE_MAX / 16};
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    append(&f.batch, 5);
    struct snapshot before = snapshot_of(&f.batch);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        int rc = weir_batch_reserve(&f.batch, counts[i]);
        assert_true(rc == -EOVERFLOW || rc == -ENOMEM);
        assert_unchanged(&f.batch, before);
    }
    assert_int_equal(weir_batch_reserve(&f.batch, SIZE_MAX), -EOVERFLOW);
    end(&f);
}

static void arrays_are_appended_across_batches(void **state)
{
    enum { MOST = 30 };
    struct item items[MOST];

    (void)state;
    for (uint64_t i = 0; i < MOST; i++)
        items[i] = item_of(i);
    for (size_t before = 0; before < 9; before++) {
        for (size_t count = 0; count <= MOST; count++) {
            struct fixture f;
            begin(&f, &(struct weir_batch_options){.batch_items = 8});
            assert_int_equal(weir_batch_append_all(&f.batch, items, before), 0);
            assert_int_equal(weir_batch_append_all(&f.batch, count != 0 ? items : NULL, count), 0);
            assert_int_equal(weir_batch_count(&f.batch), before + count);
            for (size_t i = 0; i < count; i++)
                assert_item(&f.batch, before + i, i);
            ASSERT_SOUND(&f.batch);
            end(&f);
        }
    }
}

static void items_of_the_batch_itself_can_be_appended(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 8});
    for (size_t i = 0; i < 5; i++)
        append(&f.batch, i);
    for (int round = 0; round < 3; round++)
        assert_int_equal(weir_batch_append_all(&f.batch, weir_batch_get(&f.batch, 0), 5), 0);
    for (size_t i = 0; i < 20; i++)
        assert_item(&f.batch, i, i % 5);
    end(&f);
}

static void the_padding_of_the_last_item_is_not_read(void **state)
{
    static const uint8_t three[] = {1, 2, 3, 0, 4, 5, 6};
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_batch batch;

    (void)state;
    assert_int_equal(weir_batch_init(&batch, pool, 3, 4, NULL), 0);
    assert_int_equal(weir_batch_stride_bytes(&batch), 4);
    assert_int_equal(weir_batch_append_all(&batch, three, 2), 0); /* the sanitizer looks on */
    assert_memory_equal(weir_batch_get(&batch, 1), three + 4, 3);
    weir_batch_fini(&batch);
    test_pool_destroy(pool);
}

static void spans_can_be_filled_by_whole_arrays(void **state)
{
    struct fixture f;
    struct weir_batch_span span;
    size_t done = 3;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 8});
    for (size_t i = 0; i < done; i++)
        append(&f.batch, i);
    while (done < 20) {
        size_t wanted = done == 3 ? 5 : 20 - done < 8 ? 20 - done : 8;
        assert_int_equal(weir_batch_add_span(&f.batch, 20 - done, &span), 0);
        assert_int_equal(span.first, done);
        assert_int_equal(span.count, wanted);
        for (size_t i = 0; i < span.count; i++)
            ((struct item *)span.items)[i] = item_of(done++);
    }
    for (size_t i = 0; i < 20; i++)
        assert_item(&f.batch, i, i);
    assert_int_equal(weir_batch_add_span(&f.batch, 1, &span), 0);
    assert_int_equal(span.count, 1);
    end(&f);
}

/* --- processing ------------------------------------------------------------------------------ */

struct work {
    size_t calls;
    size_t items;
    size_t fail_at; /* the call that fails; 0: none */
    int rc;
};

/* For each item its value as a uint64_t, and for each span a note in the arena. */
static int gather_values(const struct weir_batch_span *span,
                         const struct weir_batch_results *results, void *context)
{
    struct work *work = context;
    const struct item *items = span->items;
    struct weir_view note = weir_view_text("a span"), kept;

    assert_int_equal(span->first, work->items);
    work->items += span->count;
    for (size_t i = 0; results->batch != NULL && i < span->count; i++)
        assert_int_equal(weir_batch_append(results->batch, &items[i].value), 0);
    if (results->arena != NULL)
        assert_int_equal(weir_arena_copy(results->arena, note, &kept), 0);
    return ++work->calls == work->fail_at ? work->rc : 0;
}

static void results_are_gathered_in_a_batch_and_an_arena(void **state)
{
    struct fixture f;
    struct weir_batch values;
    struct weir_arena arena;
    struct work work = {0};

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 8});
    weir_arena_init(&arena, f.pool, NULL);
    assert_int_equal(weir_batch_init(&values, f.pool, 8, 8, NULL), 0);
    const struct weir_batch_results results = {&values, &arena};
    assert_int_equal(weir_batch_process(&f.batch, gather_values, &results, &work), 0);
    assert_int_equal(work.calls, 0); /* there is nothing to process */
    for (size_t i = 0; i < 20; i++)
        append(&f.batch, i);
    assert_int_equal(weir_batch_process(&f.batch, gather_values, &results, &work), 0);
    assert_int_equal(work.calls, 3);
    assert_int_equal(work.items, 20);
    assert_int_equal(weir_batch_count(&values), 20);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(*(uint64_t *)weir_batch_get(&values, i), 3 * i);
    assert_int_equal(weir_arena_used_bytes(&arena), 3 * sizeof("a span"));
    memset(&work, 0, sizeof(work));
    assert_int_equal(weir_batch_process(&f.batch, gather_values, NULL, &work), 0);
    assert_int_equal(work.items, 20);
    weir_batch_fini(&values);
    weir_arena_fini(&arena);
    end(&f);
}

static void an_error_leaves_no_results(void **state)
{
    struct fixture f;
    struct weir_batch values;
    struct weir_arena arena;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 8});
    weir_arena_init(&arena, f.pool, NULL);
    assert_int_equal(weir_batch_init(&values, f.pool, 8, 8, NULL), 0);
    for (size_t i = 0; i < 20; i++)
        append(&f.batch, i);
    const struct weir_batch_results results = {&values, &arena};
    for (size_t fail_at = 1; fail_at <= 3; fail_at++) {
        struct work work = {.fail_at = fail_at, .rc = -EBADMSG};
        size_t count = weir_batch_count(&values);
        size_t used = weir_arena_used_bytes(&arena);
        assert_int_equal(weir_batch_process(&f.batch, gather_values, &results, &work), -EBADMSG);
        assert_int_equal(work.calls, fail_at);
        assert_int_equal(weir_batch_count(&values), count);
        assert_int_equal(weir_arena_used_bytes(&arena), used);
        memset(&work, 0, sizeof(work));
        assert_int_equal(weir_batch_process(&f.batch, gather_values, &results, &work), 0);
        assert_int_equal(weir_batch_count(&values), 20 * fail_at);
        ASSERT_SOUND(&values);
    }
    assert_int_equal(weir_batch_count(&f.batch), 20);
    weir_batch_fini(&values);
    weir_arena_fini(&arena);
    end(&f);
}

/* Appends each item again; fails at the call that is said. */
static int append_again(const struct weir_batch_span *span,
                        const struct weir_batch_results *results, void *context)
{
    struct work *work = context;

    work->items += span->count;
    assert_int_equal(weir_batch_append_all(results->batch, span->items, span->count), 0);
    return ++work->calls == work->fail_at ? -ECANCELED : 0;
}

static void results_can_go_into_the_batch_that_is_processed(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_batch_options){.batch_items = 8});
    for (size_t i = 0; i < 11; i++)
        append(&f.batch, i);
    const struct weir_batch_results itself = {&f.batch, NULL};
    struct work work = {.fail_at = 2};
    assert_int_equal(weir_batch_process(&f.batch, append_again, &itself, &work), -ECANCELED);
    assert_int_equal(weir_batch_count(&f.batch), 11);
    memset(&work, 0, sizeof(work));
    assert_int_equal(weir_batch_process(&f.batch, append_again, &itself, &work), 0);
    assert_int_equal(work.items, 11);
    assert_int_equal(weir_batch_count(&f.batch), 22);
    for (size_t i = 0; i < 22; i++)
        assert_item(&f.batch, i, i % 11);
    end(&f);
}

/* --- failures -------------------------------------------------------------------------------- */

static void every_failing_allocation_leaves_the_batch_as_before(void **state)
{
    enum { ITEMS = 6000 };

    (void)state;
    for (uint64_t n = 1;; n++) {
        struct fixture f;
        /* All blocks but the smallest are calls of the source. */
        struct weir_pool_options options = {.class_bytes = {64}};
        test_source_init(&f.source);
        options.source = &f.source.source;
        assert_int_equal(weir_pool_create(&options, &f.pool), 0);
        assert_int_equal(weir_batch_init(&f.batch, f.pool, sizeof(struct item), 8, NULL), 0);
        test_source_fail(&f.source, n);
        for (size_t i = 0; i < ITEMS; i++) {
            struct item item = item_of(i);
            struct snapshot before = snapshot_of(&f.batch);
            uint64_t failures = f.source.failures;
            int rc = weir_batch_append(&f.batch, &item);
            if (rc != 0) {
                assert_int_equal(rc, -ENOMEM);
                assert_int_equal(f.source.failures, failures + 1);
                assert_unchanged(&f.batch, before);
                assert_int_equal(weir_batch_append(&f.batch, &item), 0);
            }
        }
        for (size_t i = 0; i < ITEMS; i++)
            assert_item(&f.batch, i, i);
        bool failed = f.source.failures != 0;
        end(&f);
        if (!failed)
            break;
    }
}

static void a_failing_array_or_reservation_leaves_the_batch_as_before(void **state)
{
    enum { ITEMS = 6000 };
    static struct item items[ITEMS];
    unsigned failed = 0;

    (void)state;
    for (uint64_t i = 0; i < ITEMS; i++)
        items[i] = item_of(i);
    for (uint64_t n = 1;; n++) {
        struct fixture f;
        /* All blocks but the smallest are calls of the source. */
        struct weir_pool_options options = {.class_bytes = {64}};
        test_source_init(&f.source);
        options.source = &f.source.source;
        assert_int_equal(weir_pool_create(&options, &f.pool), 0);
        assert_int_equal(weir_batch_init(&f.batch, f.pool, sizeof(struct item), 8, NULL), 0);
        append(&f.batch, 9);
        struct snapshot before = snapshot_of(&f.batch);
        test_source_fail(&f.source, n);
        int rc = weir_batch_append_all(&f.batch, items, ITEMS);
        if (rc != 0) {
            failed++;
            assert_int_equal(rc, -ENOMEM);
            assert_unchanged(&f.batch, before);
        } else {
            assert_item(&f.batch, ITEMS, ITEMS - 1);
        }
        bool none = f.source.failures == 0;
        end(&f);
        if (none)
            break;
    }
    assert_true(failed != 0);
}

static void a_pool_at_its_limit_is_an_error_and_not_the_end(void **state)
{
    const struct weir_pool_options options = {.limit_bytes = 4 << 20};
    struct weir_pool *pool;
    struct weir_batch batch;
    void *at;
    int rc;

    (void)state;
    assert_int_equal(weir_pool_create(&options, &pool), 0);
    assert_int_equal(weir_batch_init(&batch, pool, 1000, 8, NULL), 0);
    while ((rc = weir_batch_add(&batch, &at)) == 0)
        test_fill(at, 1000, weir_batch_count(&batch));
    assert_int_equal(rc, -ENOBUFS);
    size_t count = weir_batch_count(&batch);
    /* A planned step that only part of could be had is taken as far as it goes. */
    assert_int_equal(weir_batch_capacity(&batch), count);
    assert_true(count > 1000);
    for (size_t i = 0; i < count; i++)
        assert_true(test_is_filled(weir_batch_get(&batch, i), 1000, i + 1));
    ASSERT_SOUND(&batch);
    weir_batch_truncate(&batch, count - 1);
    assert_int_equal(weir_batch_add(&batch, &at), 0);
    weir_batch_fini(&batch);
    test_pool_destroy(pool);
}

static void random_operations_agree_with_a_plain_array(void **state)
{
    enum { MOST = 4000 };
    static uint64_t model[MOST];
    static struct item items[200];
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 20; round++) {
        struct fixture f;
        size_t count = 0;
        begin(&f,
              &(struct weir_batch_options){
                  .batch_items = (size_t)1 << test_random_below(&random, 8),
                  .growth = {.limit = MOST,
                             .percent = 100 + (uint32_t)test_random_below(&random, 200)}});
        for (int step = 0; step < 500; step++) {
            size_t n = test_random_size(&random, 200);
            switch (test_random_below(&random, 5)) {
            case 0:
                for (size_t i = 0; i < n; i++)
                    items[i] = item_of(count + i + (uint64_t)step);
                if (n > MOST - count) {
                    assert_int_equal(weir_batch_append_all(&f.batch, items, n), -ENOBUFS);
                    break;
                }
                assert_int_equal(weir_batch_append_all(&f.batch, items, n), 0);
                for (size_t i = 0; i < n; i++, count++)
                    model[count] = count + (uint64_t)step;
                break;
            case 1:
                for (size_t i = 0; i < n && count < MOST; i++, count++) {
                    append(&f.batch, i);
                    model[count] = i;
                }
                break;
            case 2:
                assert_int_equal(weir_batch_reserve(&f.batch, n), n > MOST - count ? -ENOBUFS : 0);
                break;
            case 3:
                count = (size_t)test_random_below(&random, count + 1);
                weir_batch_truncate(&f.batch, count);
                break;
            default:
                for (size_t i = 0; i < n; i++) {
                    size_t index = (size_t)test_random_below(&random, MOST);
                    if (index < count)
                        assert_item(&f.batch, index, model[index]);
                    else
                        assert_null(weir_batch_get(&f.batch, index));
                }
                break;
            }
            assert_int_equal(weir_batch_count(&f.batch), count);
            ASSERT_SOUND(&f.batch);
        }
        for (size_t i = 0; i < count; i++)
            assert_item(&f.batch, i, model[i]);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_batch_holds_nothing),
        cmocka_unit_test(configurations_are_checked),
        cmocka_unit_test(items_keep_index_and_address),
        cmocka_unit_test(capacity_grows_by_plan_in_whole_batches),
        cmocka_unit_test(the_initial_capacity_is_there_with_the_first_item),
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(spans_cover_all_items_in_order),
        cmocka_unit_test(items_are_aligned_in_blocks_of_any_class),
        cmocka_unit_test(a_reset_keeps_the_memory),
        cmocka_unit_test(truncation_is_exact_at_every_count),
        cmocka_unit_test(what_was_reserved_needs_no_memory),
        cmocka_unit_test(absurd_reservations_are_refused),
        cmocka_unit_test(arrays_are_appended_across_batches),
        cmocka_unit_test(items_of_the_batch_itself_can_be_appended),
        cmocka_unit_test(the_padding_of_the_last_item_is_not_read),
        cmocka_unit_test(spans_can_be_filled_by_whole_arrays),
        cmocka_unit_test(results_are_gathered_in_a_batch_and_an_arena),
        cmocka_unit_test(an_error_leaves_no_results),
        cmocka_unit_test(results_can_go_into_the_batch_that_is_processed),
        cmocka_unit_test(every_failing_allocation_leaves_the_batch_as_before),
        cmocka_unit_test(a_failing_array_or_reservation_leaves_the_batch_as_before),
        cmocka_unit_test(a_pool_at_its_limit_is_an_error_and_not_the_end),
        cmocka_unit_test(random_operations_agree_with_a_plain_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
