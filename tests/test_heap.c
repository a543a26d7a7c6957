/* SPDX-License-Identifier: MIT */
/* The allocator's heaps, called by their own names: what they promise to malloc.c. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/malloc/heap.h"
#include "../lib/malloc/segment.h"

#define LIVE 2048u

/* --- a system that fails --------------------------------------------------------------------- */

/* A sanitizer has its own mmap. */
#define FAILS_CALLS (!TEST_ASAN && !TEST_TSAN)

#if FAILS_CALLS
static bool armed;
static uint64_t calls, fail_at, failures;
static bool fail_on; /* and all that follow */

static bool fails(void)
{
    if (!armed)
        return false;
    calls++;
    if (calls != fail_at && !(fail_on && calls > fail_at))
        return false;
    failures++;
    errno = ENOMEM;
    return true;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails() ? MAP_FAILED
                   : (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

void *mremap(void *old, size_t old_size, size_t new_size, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    void *at = (flags & MREMAP_FIXED) != 0 ? va_arg(more, void *) : NULL;
    va_end(more);
    return fails() ? MAP_FAILED : (void *)syscall(SYS_mremap, old, old_size, new_size, flags, at);
}
#endif

static size_t held_bytes(void)
{
    return weir__heap_segment_totals.segment_bytes + weir__heap_segment_totals.large_bytes;
}

/* Nothing is in use any more: all of it can be given back. */
static void expect_nothing_held(void)
{
    assert_true(weir__heap_check(weir__heap_mine));
    (void)weir__heap_trim();
    assert_int_equal(held_bytes(), 0);
}

static void *get(size_t size)
{
    void *memory = weir__heap_alloc(size);
    assert_non_null(memory);
    assert_true(weir__heap_usable(memory) >= size);
    assert_int_equal((uintptr_t)memory % 16, 0);
    return memory;
}

static void a_class_is_at_most_an_eighth_larger_than_needed(void **state)
{
    (void)state;
    for (size_t size = 0; size <= WEIR__HEAP_CLASS_MAX_BYTES; size++) {
        unsigned class = weir__heap_class_of(size);
        size_t bytes = weir__heap_class_bytes(class);
        assert_true(class < WEIR__HEAP_CLASSES && bytes >= size && bytes % 16 == 0);
        assert_true(class == 0 || weir__heap_class_bytes(class - 1) < size);
        assert_true(size <= 128 || bytes - size <= size / 8);
    }
    assert_int_equal(weir__heap_class_bytes(WEIR__HEAP_CLASSES - 1), WEIR__HEAP_CLASS_MAX_BYTES);
}

static void a_multiple_of_an_alignment_has_an_aligned_class(void **state)
{
    (void)state;
    for (size_t align = 16; align <= WEIR__HEAP_CLASS_MAX_BYTES; align *= 2)
        for (size_t size = align; size <= WEIR__HEAP_CLASS_MAX_BYTES; size += align)
            assert_int_equal(weir__heap_class_bytes(weir__heap_class_of(size)) % align, 0);
}

static void each_class_fills_slabs_and_empties_them(void **state)
{
    (void)state;
    enum { COUNT = 9000 };
    void **blocks = calloc(COUNT, sizeof *blocks);
    assert_non_null(blocks);
    for (unsigned class = 0; class < WEIR__HEAP_CLASSES; class ++) {
        size_t size = weir__heap_class_bytes(class);
        size_t count = (size_t)2 * 65536 / size + 20;
        assert_true(count <= COUNT);
        for (size_t i = 0; i < count; i++)
            test_fill(blocks[i] = get(size), size, i);
        assert_true(weir__heap_check(weir__heap_mine));
        for (size_t i = 0; i < count; i++)
            assert_true(test_is_filled(blocks[i], size, i));
        for (size_t i = 0; i < count; i += 2)
            weir__heap_free(blocks[i]);
        assert_true(weir__heap_check(weir__heap_mine));
        for (size_t i = 1; i < count; i += 2)
            weir__heap_free(blocks[i]);
        assert_true(weir__heap_check(weir__heap_mine));
    }
    free(blocks);
    expect_nothing_held();
}

static void a_freed_block_is_the_next_one(void **state)
{
    (void)state;
    void *first = get(100);
    weir__heap_free(first);
    void *second = get(100);
    assert_ptr_equal(first, second);
    weir__heap_free(second);
    expect_nothing_held();
}

static void zeroed_memory_is_zero_however_often_it_was_used(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 500, 1500, 3000, 20000, 40000, 300000, 1 << 20, 2 << 20};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (unsigned turn = 0; turn < 40; turn++) {
            uint8_t *memory = weir__heap_alloc_slow(sizes[i], true);
            assert_non_null(memory);
            for (size_t n = 0; n < sizes[i]; n++)
                assert_int_equal(memory[n], 0);
            memset(memory, 0xff, weir__heap_usable(memory));
            void *other = get(sizes[i]);
            memset(other, 0xff, weir__heap_usable(other));
            weir__heap_free(memory);
            if (turn % 7 == 0)
                (void)weir__heap_trim();
            weir__heap_free(other);
        }
    }
    expect_nothing_held();
}

static void a_span_grows_where_there_is_room(void **state)
{
    (void)state;
    uint8_t *span = get(70000);
    uint8_t *wall = NULL;
    test_fill(span, 70000, 1);
    assert_ptr_equal(weir__heap_resize(span, 600000), span);
    assert_true(test_is_filled(span, 70000, 1));
    wall = get(40000);
    assert_ptr_equal(weir__heap_resize(span, 900000), wall < span ? span : NULL);
    assert_ptr_equal(weir__heap_resize(span, 66000), span);
    assert_true(weir__heap_check(weir__heap_mine));
    assert_true(test_is_filled(span, 66000, 1));
    assert_null(weir__heap_resize(span, (size_t)2 << 20));
    assert_null(weir__heap_resize(span, 100));
    weir__heap_free(span);
    weir__heap_free(wall);
    expect_nothing_held();
}

static void a_large_block_moves_without_a_copy(void **state)
{
    (void)state;
    uint8_t *first = get((size_t)3 << 20);
    uint8_t *second = get((size_t)3 << 20);
    test_fill(second, (size_t)3 << 20, 7);
    uint8_t *grown = weir__heap_resize(second, (size_t)30 << 20);
    assert_non_null(grown);
    assert_true(test_is_filled(grown, (size_t)3 << 20, 7));
    assert_true(weir__heap_usable(grown) >= (size_t)30 << 20);
    assert_int_equal(weir__heap_usable(grown == second ? NULL : second), 0);
    grown = weir__heap_resize(grown, (size_t)2 << 20);
    assert_non_null(grown);
    assert_true(weir__heap_usable(grown) < (size_t)3 << 20);
    weir__heap_free(grown);
    weir__heap_free(first);
    expect_nothing_held();
}

static void alignments_up_to_a_gigabyte(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 5000, 33000, 70000, (1 << 20) + 1, 5 << 20};
    for (size_t align = 1; align <= (size_t)1 << 30; align *= 2) {
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            uint8_t *memory = weir__heap_alloc_aligned(align, sizes[i]);
            assert_non_null(memory);
            assert_int_equal((uintptr_t)memory % align, 0);
            assert_true(weir__heap_usable(memory) >= sizes[i]);
            if (sizes[i] != 0)
                memory[0] = memory[sizes[i] - 1] = 1;
            weir__heap_free(memory);
        }
    }
    expect_nothing_held();
}

static void what_there_cannot_be_is_refused(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        SIZE_MAX, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX, PTRDIFF_MAX - 4096, (size_t)1 << 60};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        errno = 0;
        assert_null(weir__heap_alloc(sizes[i]));
        assert_int_equal(errno, ENOMEM);
        assert_null(weir__heap_alloc_aligned((size_t)1 << 40, sizes[i]));
        assert_null(weir__heap_alloc_aligned((size_t)1 << 63, sizes[i]));
    }
    void *large = get((size_t)2 << 20);
    assert_null(weir__heap_resize(large, SIZE_MAX));
    assert_null(weir__heap_resize(large, PTRDIFF_MAX));
    weir__heap_free(large);
    expect_nothing_held();
}

static void pointers_of_others_are_left_alone(void **state)
{
    (void)state;
    char here[64];
    static char there[100];
    void *volatile pointers[] = {
        NULL, here + 16, there + 16, (void *)(uintptr_t)0x10, (void *)UINTPTR_MAX, malloc(100)};
    for (unsigned i = 0; i < sizeof pointers / sizeof pointers[0]; i++) {
        weir__heap_free(pointers[i]);
        assert_int_equal(weir__heap_usable(pointers[i]), 0);
    }
    free(pointers[5]);
}

/* Replace random blocks, checking what the old ones hold. */
static void churn(struct test_random *random, void **live, size_t *sizes, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        uint64_t at = test_random_below(random, LIVE);
        if (live[at] != NULL) {
            assert_true(test_is_filled(live[at], sizes[at], at));
            weir__heap_free(live[at]);
        }
        sizes[at] = test_random_size(random, test_random_below(random, 200) == 0 ? 3u << 20 : 9000);
        live[at] = test_random_below(random, 4) != 0 ? get(sizes[at]) : NULL;
        if (live[at] != NULL)
            test_fill(live[at], sizes[at], at);
    }
}

static void random_use_keeps_contents_and_structure(void **state)
{
    (void)state;
    struct test_random random;
    static void *live[LIVE];
    static size_t sizes[LIVE];
    test_random_init(&random);
    for (unsigned turn = 0; turn < 40; turn++) {
        churn(&random, live, sizes, 1000);
        assert_true(weir__heap_check(weir__heap_mine));
    }
    for (size_t i = 0; i < LIVE; i++) {
        weir__heap_free(live[i]);
        live[i] = NULL;
    }
    expect_nothing_held();
}

/* --- threads --------------------------------------------------------------------------------- */

struct exchange {
    void *slots[512]; /* blocks that whoever finds them frees; their first word is their size */
    uint64_t seed;
    unsigned turns;
};

static void put(struct exchange *exchange, struct test_random *random)
{
    size_t size = 16 + test_random_size(random, test_random_below(random, 50) == 0 ? 200000 : 2000);
    uint8_t *memory = get(size);
    memcpy(memory, &size, sizeof size);
    test_fill(memory + sizeof size, size - sizeof size, size);
    uint64_t at = test_random_below(random, 512);
    memory = __atomic_exchange_n(&exchange->slots[at], memory, __ATOMIC_ACQ_REL);
    if (memory == NULL)
        return;
    memcpy(&size, memory, sizeof size);
    assert_true(test_is_filled(memory + sizeof size, size - sizeof size, size));
    weir__heap_free(memory);
}

static void *work(void *argument)
{
    struct exchange *exchange = argument;
    struct test_random random;
    test_random_seed(&random, __atomic_fetch_add(&exchange->seed, 1, __ATOMIC_RELAXED));
    for (unsigned i = 0; i < exchange->turns; i++)
        put(exchange, &random);
    assert_true(weir__heap_check(weir__heap_mine));
    weir__heap_abandon(weir__heap_mine);
    return NULL;
}

static void threads_free_each_others_blocks_and_end(void **state)
{
    (void)state;
    static struct exchange exchange;
    struct test_random random;
    test_random_init(&random);
    exchange.seed = test_random(&random);
    exchange.turns = 3000;
    for (unsigned round = 0; round < 15; round++) {
        pthread_t threads[4];
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, work, &exchange), 0);
        for (unsigned i = 0; i < 200; i++)
            put(&exchange, &random);
        for (unsigned i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < 512; i++)
        weir__heap_free(exchange.slots[i]);
    expect_nothing_held(); /* orphans gave back what they got */
}

static void *leave_a_block(void *argument)
{
    *(void **)argument = get(64);
    weir__heap_abandon(weir__heap_mine);
    return NULL;
}

static void a_thread_adopts_what_another_left(void **state)
{
    (void)state;
    void *blocks[100];
    pthread_t thread;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(pthread_create(&thread, NULL, leave_a_block, &blocks[i]), 0);
        pthread_join(thread, NULL);
        if (i > 0)
            assert_ptr_equal(weir__heap_segment_of(blocks[i])->heap,
                             weir__heap_segment_of(blocks[0])->heap);
    }
    assert_ptr_not_equal(weir__heap_segment_of(blocks[0])->heap, weir__heap_mine);
    for (unsigned i = 0; i < 100; i++)
        weir__heap_free(blocks[i]);
    expect_nothing_held();
}

#if FAILS_CALLS
/* A block of the script below: as it was filled, or NULL. */
struct scripted {
    uint8_t *memory;
    size_t size;
};

/* Enough to see whose it is, and not all of it, for the script runs often. */
static size_t looked_at(size_t size)
{
    return size < 5000 ? size : 5000;
}

static void scripted_take(struct scripted *block, unsigned i)
{
    static const size_t sizes[] = {24, 3000, 40000, 70000, 1 << 20, 3 << 20, 9 << 20};
    size_t size = sizes[i % 7] + i;
    errno = 0;
    block->memory = i % 5 == 0   ? weir__heap_alloc_aligned((size_t)8192 << i % 11, size)
                    : i % 5 == 1 ? weir__heap_alloc_slow(size, true)
                                 : weir__heap_alloc(size);
    block->size = size;
    if (block->memory == NULL) {
        assert_int_equal(errno, ENOMEM);
        return;
    }
    if (i % 5 == 1)
        for (size_t at = 0; at < looked_at(size); at++)
            assert_int_equal(block->memory[at], 0);
    test_fill(block->memory, looked_at(size), i);
    block->memory[size - 1] = 1;
}

/* In place, or not at all: then it is as before. */
static void scripted_resize(struct scripted *block, unsigned i)
{
    size_t size = block->size + block->size / (i % 3 + 1);
    uint8_t *resized = weir__heap_resize(block->memory, size);
    assert_true(
        test_is_filled(resized != NULL ? resized : block->memory, looked_at(block->size) - 1, i));
    if (resized == NULL)
        return;
    block->memory = resized;
    block->size = size;
    test_fill(resized, looked_at(size), i);
    resized[size - 1] = 1;
}

/* mmap(2) and mremap(2) fail at each call in turn, or from there on. */
static void script(uint64_t n, bool on)
{
    enum { COUNT = 60 };
    static struct scripted blocks[COUNT];
    fail_at = n;
    fail_on = on;
    calls = failures = 0;
    armed = true;
    for (unsigned i = 0; i < COUNT; i++) {
        scripted_take(&blocks[i], i);
        if (i % 4 == 3 && blocks[i - 1].memory != NULL)
            scripted_resize(&blocks[i - 1], i - 1);
        if (i % 6 == 5) {
            weir__heap_free(blocks[i - 4].memory);
            blocks[i - 4].memory = NULL;
        }
    }
    armed = false;
    assert_true(weir__heap_check(weir__heap_mine));
    for (unsigned i = 0; i < COUNT; i++) {
        assert_true(blocks[i].memory == NULL ||
                    test_is_filled(blocks[i].memory, looked_at(blocks[i].size) - 1, i));
        weir__heap_free(blocks[i].memory);
        blocks[i].memory = NULL;
    }
    expect_nothing_held();
}

static void every_call_of_the_system_may_fail(void **state)
{
    (void)state;
    for (int on = 0; on < 2; on++) {
        uint64_t rounds = 0;
        do {
            script(++rounds, on != 0);
        } while (failures != 0);
        assert_true(rounds > 30);
    }
}
#endif

static void freeing_much_gives_memory_back(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = get(100000);
    assert_true(held_bytes() > (size_t)100 << 20);
    for (unsigned i = 0; i < COUNT; i++)
        weir__heap_free(blocks[i]);
    assert_true(held_bytes() <= 5 * WEIR__HEAP_SEGMENT_BYTES); /* four, and one of the heap's own */
    expect_nothing_held();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_class_is_at_most_an_eighth_larger_than_needed),
        cmocka_unit_test(a_multiple_of_an_alignment_has_an_aligned_class),
        cmocka_unit_test(each_class_fills_slabs_and_empties_them),
        cmocka_unit_test(a_freed_block_is_the_next_one),
        cmocka_unit_test(zeroed_memory_is_zero_however_often_it_was_used),
        cmocka_unit_test(a_span_grows_where_there_is_room),
        cmocka_unit_test(a_large_block_moves_without_a_copy),
        cmocka_unit_test(alignments_up_to_a_gigabyte),
        cmocka_unit_test(what_there_cannot_be_is_refused),
        cmocka_unit_test(pointers_of_others_are_left_alone),
        cmocka_unit_test(random_use_keeps_contents_and_structure),
        cmocka_unit_test(threads_free_each_others_blocks_and_end),
        cmocka_unit_test(a_thread_adopts_what_another_left),
        cmocka_unit_test(freeing_much_gives_memory_back),
#if FAILS_CALLS
        cmocka_unit_test(every_call_of_the_system_may_fail),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
