/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- a source that counts and fails ---------------------------------------------------------- */

static void *counting_obtain(void *context, size_t size_bytes, size_t align_bytes)
{
    struct test_source *source = context;
    const struct weir_source *system = weir_source_mmap();

    assert_true(size_bytes != 0);
    assert_true(align_bytes >= 4096 && (align_bytes & (align_bytes - 1)) == 0);
    source->calls++;
    if (source->fail_at != 0 && (source->calls == source->fail_at ||
                                 (source->fail_on && source->calls > source->fail_at))) {
        source->failures++;
        return NULL;
    }
    void *memory = system->obtain(system->context, size_bytes, align_bytes);
    if (memory == NULL)
        return NULL;
    assert_true(((uintptr_t)memory & (align_bytes - 1)) == 0);
    assert_true(source->piece_count < TEST_SOURCE_PIECES_MAX);
    source->pieces[source->piece_count].memory = memory;
    source->pieces[source->piece_count].size_bytes = size_bytes;
    source->piece_count++;
    source->outstanding_bytes += size_bytes;
    if (source->outstanding_bytes > source->outstanding_peak_bytes)
        source->outstanding_peak_bytes = source->outstanding_bytes;
    return memory;
}

static void counting_release(void *context, void *memory, size_t size_bytes)
{
    struct test_source *source = context;
    const struct weir_source *system = weir_source_mmap();
    unsigned i = 0;

    while (i < source->piece_count && source->pieces[i].memory != memory)
        i++;
    assert_true(i < source->piece_count);
    assert_true(source->pieces[i].size_bytes == size_bytes);
    source->pieces[i] = source->pieces[--source->piece_count];
    source->outstanding_bytes -= size_bytes;
    system->release(system->context, memory, size_bytes);
}

void test_source_init(struct test_source *source)
{
    memset(source, 0, sizeof *source);
    source->source.obtain = counting_obtain;
    source->source.release = counting_release;
    source->source.context = source;
}

void test_source_fail(struct test_source *source, uint64_t n)
{
    source->fail_at = n == 0 ? 0 : source->calls + n;
    source->fail_on = false;
}

void test_source_fail_from(struct test_source *source, uint64_t n)
{
    test_source_fail(source, n);
    source->fail_on = true;
}

void test_source_fini(const struct test_source *source)
{
    assert_int_equal(source->piece_count, 0);
    assert_int_equal(source->outstanding_bytes, 0);
}

struct weir_pool *test_pool_create(struct test_source *source)
{
    struct weir_pool_options options = {.source = source == NULL ? NULL : &source->source};
    struct weir_pool *pool = NULL;

    assert_int_equal(weir_pool_create(&options, &pool), 0);
    assert_non_null(pool);
    return pool;
}

void test_pool_destroy(struct weir_pool *pool)
{
    assert_true(weir__pool_check(pool));
    assert_int_equal(weir_pool_destroy(pool), 0);
}

uint64_t test_blocks_in_use(const struct weir_pool *pool)
{
    struct weir_pool_stats stats;

    weir_pool_stats(pool, &stats);
    return stats.total.blocks_in_use;
}

struct weir_slice test_slice(struct weir_pool *pool, size_t size_bytes, uint64_t tag)
{
    struct weir_block *block;

    assert_int_equal(weir_pool_alloc(pool, size_bytes, &block), 0);
    test_fill(block->data, size_bytes, tag);
    return weir_slice_adopt(weir_view_of(block->data, size_bytes), block);
}

/* --- random numbers -------------------------------------------------------------------------- */

static uint64_t seed_of_this_run(void)
{
    const char *text = getenv("WEIR_TEST_SEED");
    struct timespec now;

    if (text != NULL && *text != '\0') {
        char *end;
        errno = 0;
        uint64_t seed = strtoull(text, &end, 0);
        if (errno != 0 || *end != '\0')
            fail_msg("WEIR_TEST_SEED is not a number: %s", text);
        return seed;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec + (uint64_t)getpid();
}

void test_random_seed(struct test_random *random, uint64_t seed)
{
    random->state = seed;
}

void test_random_init(struct test_random *random)
{
    uint64_t seed = seed_of_this_run();

    printf("# WEIR_TEST_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    test_random_seed(random, seed);
}

/* splitmix64, by Sebastiano Vigna, who put it in the public domain. */
uint64_t test_random(struct test_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t test_random_below(struct test_random *random, uint64_t bound)
{
    assert_true(bound != 0);
    return test_random(random) % bound;
}

size_t test_random_size(struct test_random *random, size_t max_bytes)
{
    unsigned bits = 0;

    while (bits < 64 && max_bytes >> bits != 0)
        bits++;
    size_t size = (size_t)(test_random(random) >> (63 - test_random_below(random, bits + 1)) >> 1);
    return size > max_bytes ? max_bytes : size;
}

/* --- bytes ----------------------------------------------------------------------------------- */

static uint8_t pattern(uint64_t tag, size_t index)
{
    return (uint8_t)((tag * UINT64_C(0x9e3779b97f4a7c15) + index * 7) >> 3);
}

void test_fill(void *memory, size_t size_bytes, uint64_t tag)
{
    uint8_t *bytes = memory;

    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = pattern(tag, i);
}

bool test_is_filled(const void *memory, size_t size_bytes, uint64_t tag)
{
    const uint8_t *bytes = memory;

    for (size_t i = 0; i < size_bytes; i++)
        if (bytes[i] != pattern(tag, i))
            return false;
    return true;
}

/* --- running --------------------------------------------------------------------------------- */

void test_skip_unless(bool condition, const char *what_is_needed)
{
    const char *no_skip = getenv("WEIR_TEST_NO_SKIP");

    if (condition)
        return;
    if (no_skip != NULL && *no_skip != '\0')
        fail_msg("needed and not there: %s", what_is_needed);
    printf("# skipped for want of: %s\n", what_is_needed);
    fflush(stdout);
    skip();
}

bool test_dies(void (*act)(void *context), void *context)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static const int deadly[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS};
        struct rlimit no_core = {0, 0};
        int nowhere = open("/dev/null", O_WRONLY);
        if (nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0 || dup2(nowhere, STDERR_FILENO) < 0 ||
            setrlimit(RLIMIT_CORE, &no_core) != 0)
            _exit(0);
        /* cmocka would take these for a failed test and go on with the next one. */
        for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
            signal(deadly[i], SIG_DFL);
        act(context);
        _exit(0);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
