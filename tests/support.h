/* SPDX-License-Identifier: MIT */
/*
 * support: what the test programs share. Include it first.
 *
 *     struct test_source source;
 *     for (uint64_t n = 1; ; n++) {
 *         test_source_init(&source);
 *         test_source_fail(&source, n);              // the n-th call fails
 *         int rc = work(&source.source);
 *         test_source_fini(&source);                 // everything was given back
 *         if (source.failures == 0)
 *             break;
 *         assert_int_equal(rc, -ENOMEM);
 *     }
 */
#ifndef WEIR_TESTS_SUPPORT_H
#define WEIR_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <weir/pool.h>
#include <weir/slice.h>

#include "../lib/pool_private.h"

/* Whether the tests are built with a sanitizer. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define TEST_ASAN 1
#else
#define TEST_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#else
#define TEST_TSAN 0
#endif

/* --- a source that counts and fails ---------------------------------------------------------- */

#define TEST_SOURCE_PIECES_MAX 4096

struct test_piece {
    void *memory;
    size_t size_bytes;
};

/* A source that checks what it is asked for and what it is given back. Its last bytes are on no
 * page of anybody else's. */
struct test_source {
    struct weir_source source; /* hand this to the pool */
    uint64_t calls;            /* of obtain, failed ones included */
    uint64_t fail_at;          /* the value of calls that fails; 0: none */
    bool fail_on;              /* and all that follow */
    uint64_t failures;         /* calls that failed on purpose */
    size_t outstanding_bytes;
    size_t outstanding_peak_bytes;
    unsigned piece_count;
    struct test_piece pieces[TEST_SOURCE_PIECES_MAX];
};

void test_source_init(struct test_source *source);

/* Let the @n-th call from now fail, 1 being the next; 0: none. */
void test_source_fail(struct test_source *source, uint64_t n);

/* Let the @n-th call from now and all later ones fail. */
void test_source_fail_from(struct test_source *source, uint64_t n);

/* Fail the test if anything was not given back. */
void test_source_fini(const struct test_source *source);

/* A pool over @source, or over the default source if NULL, with default options. */
struct weir_pool *test_pool_create(struct test_source *source);

/* Check the pool's invariants and destroy it, which must work. */
void test_pool_destroy(struct weir_pool *pool);

/* Blocks of @pool that somebody holds, as far as their drops were taken back. */
uint64_t test_blocks_in_use(const struct weir_pool *pool);

/* A slice of @size_bytes of the pattern of @tag, in a block of its own. */
struct weir_slice test_slice(struct weir_pool *pool, size_t size_bytes, uint64_t tag);

/* --- random numbers -------------------------------------------------------------------------- */

struct test_random {
    uint64_t state;
};

/*
 * Start a sequence: from the environment's WEIR_TEST_SEED if that is set, else from a new seed. The
 * seed is printed, so that a failure can be had again.
 */
void test_random_init(struct test_random *random);

/* Start the sequence that belongs to @seed. Prints nothing. */
void test_random_seed(struct test_random *random, uint64_t seed);

/* All 64 bits. */
uint64_t test_random(struct test_random *random);

/* 0 to @bound - 1; @bound is not 0. */
uint64_t test_random_below(struct test_random *random, uint64_t bound);

/* A size up to @max_bytes; each power of two about as likely as the next. */
size_t test_random_size(struct test_random *random, size_t max_bytes);

/* --- bytes ----------------------------------------------------------------------------------- */

/* Write a pattern that @tag decides, and compare with it. */
void test_fill(void *memory, size_t size_bytes, uint64_t tag);
bool test_is_filled(const void *memory, size_t size_bytes, uint64_t tag);

/* --- running --------------------------------------------------------------------------------- */

/* Skip the test, saying why, unless @condition. With WEIR_TEST_NO_SKIP set that is a failure. */
void test_skip_unless(bool condition, const char *what_is_needed);

/*
 * Whether @act dies, by a signal or a sanitizer's report, when run in a child process. The child's
 * standard output and error are thrown away; its exit status counts as death unless it is 0.
 */
bool test_dies(void (*act)(void *context), void *context);

#endif /* WEIR_TESTS_SUPPORT_H */
