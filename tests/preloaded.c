/* SPDX-License-Identifier: MIT */
/* What a program sees of libweir-malloc.so. Run by tests/test_malloc.sh, which preloads it. */
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIVE 1024u
#define MANY SIZE_MAX
#define HALF ((size_t)PTRDIFF_MAX)

/* The program's own references, through the dynamic linker like anybody's. */
static void *(*volatile alloc)(size_t size) = malloc;
static void *(*volatile again)(void *memory, size_t size) = realloc;
static void *(*volatile zeroed)(size_t count, size_t size) = calloc;
static void *(*volatile old_aligned)(size_t align, size_t size) = memalign;
static void *(*volatile array)(void *memory, size_t count, size_t size) = reallocarray;

/* Those that the C library may not have. */
static void (*free_of_size)(void *memory, size_t size);
static void (*free_of_align)(void *memory, size_t align, size_t size);
static void (*old_free)(void *memory);

static void find(const char *name, void *ret)
{
    void *symbol = dlsym(RTLD_DEFAULT, name);
    assert_non_null(symbol);
    memcpy(ret, &symbol, sizeof symbol);
}

static const char *library_of(const char *name)
{
    Dl_info info;
    void *symbol = dlsym(RTLD_DEFAULT, name);
    assert_non_null(symbol);
    assert_int_not_equal(dladdr(symbol, &info), 0);
    const char *slash = strrchr(info.dli_fname, '/');
    return slash != NULL ? slash + 1 : info.dli_fname;
}

static void every_function_is_weirs(void **state)
{
    (void)state;
    static const char *const names[] = {"malloc",
                                        "calloc",
                                        "realloc",
                                        "reallocarray",
                                        "free",
                                        "free_sized",
                                        "cfree",
                                        "memalign",
                                        "free_aligned_sized",
                                        "aligned_alloc",
                                        "posix_memalign",
                                        "valloc",
                                        "pvalloc",
                                        "malloc_usable_size",
                                        "malloc_trim",
                                        "mallopt",
                                        "mallinfo",
                                        "mallinfo2"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(library_of(names[i]), "libweir-malloc.so");
    find("free_sized", &free_of_size);
    find("free_aligned_sized", &free_of_align);
    find("cfree", &old_free);
    void *memory = alloc(129);
    assert_int_equal(malloc_usable_size(memory), 144); /* a class of weir's, none of glibc's */
    free(memory);
}

static void sizes_from_nothing_to_huge(void **state)
{
    (void)state;
    for (size_t size = 0; size < (size_t)100 << 20; size += 1 + size / 16) {
        uint8_t *memory = alloc(size);
        assert_non_null(memory);
        size_t usable = malloc_usable_size(memory);
        assert_true(usable >= size && usable != 0);
        assert_int_equal((uintptr_t)memory % 16, 0);
        assert_true(usable <= 16 || usable - size <= size / 8 + 16 || usable - size < 4096 * 2 ||
                    size > 1 << 20);
        if (size < 300000)
            test_fill(memory, usable, size);
        else
            memory[0] = memory[usable - 1] = 1;
        free(memory);
    }
}

static void nothing_is_something(void **state)
{
    (void)state;
    void *a = alloc(0), *b = alloc(0);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    free(a);
    assert_null(again(b, 0)); /* freed */
    a = again(NULL, 0);
    assert_non_null(a);
    free(a);
    a = zeroed(0, 100);
    assert_non_null(a);
    free(a);
    free(NULL);
    assert_int_equal(malloc_usable_size(NULL), 0);
}

static void expect_no_memory(void *memory)
{
    assert_null(memory);
    assert_int_equal(errno, ENOMEM);
    errno = 0;
}

static void too_much_is_refused(void **state)
{
    (void)state;
    volatile size_t many = MANY, half = HALF;
    void *kept = alloc(100);
    test_fill(kept, 100, 1);
    errno = 0;
    expect_no_memory(alloc(many));
    expect_no_memory(alloc(half + 1));
    expect_no_memory(alloc(half));
    expect_no_memory(alloc((size_t)1 << 60));
    expect_no_memory(zeroed(many, 1));
    expect_no_memory(zeroed(half, 3));
    expect_no_memory(zeroed((size_t)1 << 33, (size_t)1 << 33));
    expect_no_memory(again(kept, many));
    expect_no_memory(again(kept, half + 1));
    expect_no_memory(array(kept, half, 4));
    expect_no_memory(array(NULL, many / 2, 3));
    expect_no_memory(memalign(64, half));
    expect_no_memory(aligned_alloc(4096, many));
    expect_no_memory(valloc(many));
    expect_no_memory(pvalloc(many));
    expect_no_memory(pvalloc(many - 100));
    assert_true(test_is_filled(kept, 100, 1));
    free(kept);
}

static void alignments(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t align = 8; align <= (size_t)16 << 20; align *= 2) {
        for (size_t size = 0; size < 200000; size = size * 2 + 1) {
            void *a = NULL, *b = aligned_alloc(align, size), *c = memalign(align, size);
            assert_int_equal(posix_memalign(&a, align, size), 0);
            void *all[] = {a, b, c};
            for (unsigned i = 0; i < 3; i++) {
                assert_non_null(all[i]);
                assert_int_equal((uintptr_t)all[i] % align, 0);
                assert_true(malloc_usable_size(all[i]) >= size);
                test_fill(all[i], size, i);
            }
            for (unsigned i = 0; i < 3; i++)
                assert_true(test_is_filled(all[i], size, i));
            free(a);
            free_of_align(b, align, size);
            c = again(c, size + 100);
            assert_true(test_is_filled(c, size, 2));
            old_free(c);
        }
    }
    void *a = valloc(100), *b = pvalloc(page + 1), *c = old_aligned(48, 100);
    assert_int_equal((uintptr_t)a % page, 0);
    assert_int_equal((uintptr_t)b % page, 0);
    assert_true(malloc_usable_size(b) >= 2 * page);
    assert_int_equal((uintptr_t)c % 64, 0);
    free(a);
    free(b);
    free(c);
}

static void alignments_that_are_none(void **state)
{
    (void)state;
    void *memory = &memory;
    volatile size_t odd = 24, none = 0, small = 4;
    errno = 77;
    assert_int_equal(posix_memalign(&memory, odd, 10), EINVAL);
    assert_int_equal(posix_memalign(&memory, none, 10), EINVAL);
    assert_int_equal(posix_memalign(&memory, small, 10), EINVAL);
    assert_int_equal(posix_memalign(&memory, 64, MANY), ENOMEM);
    assert_ptr_equal(memory, &memory);
    assert_int_equal(errno, 77);
    assert_null(aligned_alloc(odd, 10));
    assert_int_equal(errno, EINVAL);
    assert_null(old_aligned((size_t)1 << 63 | 1, 10));
    assert_int_equal(errno, EINVAL);
}

static void zeroed_memory(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 3; turn++) {
        for (size_t size = 1; size < (size_t)8 << 20; size = size * 3 / 2 + 1) {
            uint8_t *memory = zeroed(size, 1);
            assert_non_null(memory);
            assert_int_equal(memory[0] | memory[size - 1], 0);
            assert_int_equal(memcmp(memory, memory + 1, size - 1), 0);
            memset(memory, 0xff, malloc_usable_size(memory));
            free_of_size(memory, size);
        }
    }
}

static void realloc_keeps_the_content(void **state)
{
    (void)state;
    struct test_random random;
    test_random_init(&random);
    for (unsigned turn = 0; turn < 300; turn++) {
        size_t had = test_random_size(&random, turn % 20 == 0 ? 8u << 20 : 200000);
        uint8_t *memory = alloc(had);
        test_fill(memory, had, turn);
        for (unsigned step = 0; step < 8; step++) {
            size_t size = 1 + test_random_size(&random, turn % 20 == 0 ? 8u << 20 : 200000);
            memory = again(memory, size);
            assert_non_null(memory);
            assert_true(malloc_usable_size(memory) >= size);
            assert_true(test_is_filled(memory, had < size ? had : size, turn));
            test_fill(memory, size, turn);
            had = size;
        }
        free(memory);
    }
}

static void free_leaves_errno_alone(void **state)
{
    (void)state;
    void *small = alloc(10), *span = alloc(500000), *large = alloc((size_t)64 << 20);
    errno = 1234;
    free(large);
    free(span);
    free(small);
    free(NULL);
    assert_int_equal(errno, 1234);
    (void)malloc_trim(0);
    assert_int_equal(errno, 1234);
}

static void what_is_not_ours_is_left_alone(void **state)
{
    (void)state;
    char here[64];
    void *(*theirs)(size_t);
    find("__libc_malloc", &theirs);
    void *volatile pointer = here + 16;
    free(pointer);
    assert_int_equal(malloc_usable_size(pointer), 0);
    pointer = theirs(100);
    free(pointer);
    errno = 0;
    expect_no_memory(again(pointer, 200));
}

static void settings_and_figures(void **state)
{
    (void)state;
    assert_int_equal(mallopt(M_ARENA_MAX, 1), 0);
    struct mallinfo2 before = mallinfo2();
    void *memory = alloc((size_t)32 << 20);
    struct mallinfo2 after = mallinfo2();
    assert_int_equal(after.hblks, before.hblks + 1);
    assert_true(after.hblkhd - before.hblkhd >= (size_t)32 << 20);
    assert_true(after.arena > 0);
    free(memory);
    assert_int_equal(mallinfo2().hblks, before.hblks);
}

/* --- threads --------------------------------------------------------------------------------- */

struct work {
    void *slots[LIVE]; /* anybody's; a block's first word is its size */
    uint64_t seed;
    unsigned turns;
    bool stop;
};

static void replace(struct work *work, struct test_random *random)
{
    size_t size = sizeof size + test_random_size(random, 3000);
    if (test_random_below(random, 100) == 0)
        size += test_random_size(random, 500000);
    if (test_random_below(random, 2000) == 0)
        size += 1 << 20;
    uint8_t *memory = test_random_below(random, 3) == 0 ? zeroed(1, size) : alloc(size);
    assert_non_null(memory);
    memcpy(memory, &size, sizeof size);
    test_fill(memory + sizeof size, size - sizeof size, size);
    uint64_t at = test_random_below(random, LIVE);
    memory = __atomic_exchange_n(&work->slots[at], memory, __ATOMIC_ACQ_REL);
    if (memory == NULL)
        return;
    memcpy(&size, memory, sizeof size);
    assert_true(test_is_filled(memory + sizeof size, size - sizeof size, size));
    if (test_random_below(random, 5) == 0) {
        memory = again(memory, size * 2);
        assert_true(test_is_filled(memory + sizeof size, size - sizeof size, size));
    }
    free(memory);
}

static void *churn(void *argument)
{
    struct work *work = argument;
    struct test_random random;
    test_random_seed(&random, __atomic_fetch_add(&work->seed, 1, __ATOMIC_RELAXED));
    for (unsigned i = 0; i < work->turns && !__atomic_load_n(&work->stop, __ATOMIC_RELAXED); i++)
        replace(work, &random);
    return NULL;
}

static void work_init(struct work *work, unsigned turns)
{
    struct test_random random;
    memset(work, 0, sizeof *work);
    test_random_init(&random);
    work->seed = test_random(&random);
    work->turns = turns;
}

static void work_fini(struct work *work)
{
    for (unsigned i = 0; i < LIVE; i++)
        free(work->slots[i]);
}

static void threads_that_free_each_others_blocks_and_end(void **state)
{
    (void)state;
    static struct work work;
    work_init(&work, 4000);
    for (unsigned round = 0; round < 12; round++) {
        pthread_t threads[6];
        for (unsigned i = 0; i < 6; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, churn, &work), 0);
        for (unsigned i = 0; i < 6; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    work_fini(&work);
}

static pthread_key_t late_key;
static unsigned late_calls;

static void allocate_late(void *memory)
{
    free(memory);
    free(alloc(1000));
    if (__atomic_add_fetch(&late_calls, 1, __ATOMIC_RELAXED) % 3 != 0)
        pthread_setspecific(late_key, alloc(50));
}

static void *end_with_a_destructor(void *argument)
{
    pthread_setspecific(late_key, alloc(100));
    return argument;
}

static void threads_that_allocate_while_they_end(void **state)
{
    (void)state;
    assert_int_equal(pthread_key_create(&late_key, allocate_late), 0);
    size_t held = 0;
    for (unsigned i = 0; i < 500; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, end_with_a_destructor, NULL), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        if (i == 20)
            held = mallinfo2().arena;
    }
    assert_int_equal(late_calls, 1500);
    assert_true(mallinfo2().arena <= held + ((size_t)8 << 20)); /* heaps are used again */
    pthread_key_delete(late_key);
}

/* --- processes ------------------------------------------------------------------------------- */

/* Run @act in a child; it must return true within a minute. */
static void in_a_child(bool (*act)(void *context), void *context)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60);
        _exit(act(context) ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* The child's own thread, new threads, and the blocks of threads that are gone. */
static bool go_on(void *context)
{
    struct work *work = context;
    pthread_t threads[2];
    struct test_random random;
    test_random_seed(&random, work->seed);
    __atomic_store_n(&work->stop, false, __ATOMIC_RELAXED);
    work->turns = 200;
    for (unsigned i = 0; i < 200; i++)
        replace(work, &random);
    for (unsigned i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, churn, work) != 0)
            return false;
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    work_fini(work);
    return true;
}

static void fork_while_other_threads_allocate(void **state)
{
    (void)state;
    static struct work work;
    pthread_t threads[3];
    work_init(&work, UINT32_MAX);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &work), 0);
    for (unsigned i = 0; i < 40; i++)
        in_a_child(go_on, &work);
    __atomic_store_n(&work.stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    work_fini(&work);
}

static bool limit_memory(size_t more_bytes)
{
    char text[256];
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fgets(text, sizeof text, file) == NULL)
        return false;
    fclose(file);
    size_t bytes = strtoul(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) + more_bytes;
    struct rlimit limit = {bytes, bytes};
    return setrlimit(RLIMIT_AS, &limit) == 0;
}

/* With 64 MiB left: until there is no more, then all of it again. */
static bool use_it_up(void *context)
{
    size_t size = *(const size_t *)context;
    size_t counts[3] = {0};
    if (!limit_memory((size_t)64 << 20))
        return false;
    for (unsigned round = 0; round < 3; round++) {
        void **first = NULL;
        errno = 0;
        for (void **block; (block = alloc(size)) != NULL; first = block) {
            block[0] = first;
            counts[round]++;
        }
        if (errno != ENOMEM)
            return false;
        errno = 0;
        if (first == NULL || again(first, (size_t)128 << 20) != NULL || errno != ENOMEM)
            return false;
        while (first != NULL) {
            void *next = first[0];
            free(first);
            first = next;
        }
        void *other = alloc((size_t)10 << 20); /* what was small can become large */
        if (other == NULL)
            return false;
        free(other);
    }
    /* Three quarters of what there was, in the unit of this size; the same each time. */
    return counts[0] * size > (size_t)48 << 20 && counts[2] >= counts[0] - counts[0] / 8;
}

static void out_of_memory_and_on(void **state)
{
    (void)state;
    size_t sizes[] = {16, 100, 1000, 5000, 60000, 700000, (size_t)3 << 20};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        in_a_child(use_it_up, &sizes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_is_weirs),
        cmocka_unit_test(sizes_from_nothing_to_huge),
        cmocka_unit_test(nothing_is_something),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(alignments),
        cmocka_unit_test(alignments_that_are_none),
        cmocka_unit_test(zeroed_memory),
        cmocka_unit_test(realloc_keeps_the_content),
        cmocka_unit_test(free_leaves_errno_alone),
        cmocka_unit_test(what_is_not_ours_is_left_alone),
        cmocka_unit_test(settings_and_figures),
        cmocka_unit_test(threads_that_free_each_others_blocks_and_end),
        cmocka_unit_test(threads_that_allocate_while_they_end),
        cmocka_unit_test(fork_while_other_threads_allocate),
        cmocka_unit_test(out_of_memory_and_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
