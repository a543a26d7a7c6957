/* SPDX-License-Identifier: MIT */
/**
 * bench: named cases in groups, each run by several contenders, timed against each other.
 *
 * To add a group:
 *
 *   1. Write tools/bench/group_NAME.c with one `const struct bench_group bench_group_NAME`.
 *   2. Declare it below, and enter it in bench_groups[] at the top of bench.c.
 *   3. Enter the file in Makefile.am, beside group_codec.c.
 *   4. For a peer that configure may not find, compile its functions under configure's macro and
 *      otherwise give the contender no run function but a line in `missing`:
 *
 *          #ifdef HAVE_PEER
 *              {.name = "peer", .note = "peer 1.2 from the system", .run = run_peer},
 *          #else
 *              {.name = "peer", .missing = "configure did not find peer"},
 *          #endif
 *
 *      It then stands in the table, in --list and in the JSON, as left out and why.
 *      m4/weir_allocator.m4 and m4/weir_codec.m4 are how configure looks for peers.
 *
 * What makes a case honest, and is the group's to see to:
 *
 *   - All contenders do the same work, and setup() shows it before anything is timed: compare what
 *     they produce, byte by byte where bytes are the product. It reports a difference with
 *     bench_complain() and fails; then no figure is printed.
 *   - A peer is used the way that its own documentation says is fastest. Where there are two
 *     reasonable ways, both are contenders, and `note` says what the difference is.
 *   - The input has enough variety that the branch predictor cannot learn it by heart, and every
 *     round sees all of it: `step_ops` is the number of operations in one pass over the input.
 *   - Results are used: hand them to bench_use(), so that the compiler cannot drop the work.
 *
 * How it is timed: the number of operations per round is calibrated for each contender to take
 * about the time asked for, and rounded up to whole passes. After a warm-up round, each round runs
 * every contender once, in an order that rotates. Reported are the median over the rounds, the
 * least, the spread (distance of the quartiles, in percent of the median), and as ratio the median
 * of the rounds' own ratios peer / first contender, so that a slow phase of the machine, which
 * hits both, cancels out.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** The fewest rounds that a median is reported of. */
#define BENCH_ROUNDS_MIN 9
#define BENCH_ROUNDS_MAX 10000
#define BENCH_ROUNDS_DEFAULT 15

/** Milliseconds that a round of one contender takes at least. */
#define BENCH_TIME_MS_MAX 60000
#define BENCH_TIME_MS_DEFAULT 5

/** How much a case may report beside time. */
#define BENCH_FIGURES_MAX 6

struct bench_case;
struct bench_contender;

/** One contender's part of one round. */
struct bench_round {
    void *context; /**< what the group's setup() made */
    const struct bench_case *item;
    const struct bench_contender *contender;
    uint64_t ops; /**< operations to perform; a multiple of the case's step_ops */
    /** 0, and the whole call is timed; a contender that has to prepare something first, or that
     * uses threads, may time itself with bench_now_ns() and store the nanoseconds here. */
    uint64_t elapsed_ns;
    /** What the case's `figures` name, as the run found it; not a number if it cannot be told. */
    double figures[BENCH_FIGURES_MAX];
};

/** One way to do what the case asks for. */
struct bench_contender {
    const char *name;    /**< without blanks; the same in all cases, as far as it is the same */
    const char *note;    /**< one line: what exactly is measured; NULL: nothing to say */
    const char *missing; /**< why there is no run(); NULL if there is */
    int (*run)(struct bench_round *round); /**< 0, or a negative errno, which ends the program */
    const void *data;                      /**< for run() to know what it is, where many share it */
};

/** What is to be done. */
struct bench_case {
    const char *name;                            /**< without blanks */
    const char *op;                              /**< what one operation is: "one record packed" */
    uint64_t step_ops;                           /**< operations in one pass over the input; 0: 1 */
    double (*bytes_per_op)(const void *context); /**< for the MB/s column; NULL: it is left empty */
    const struct bench_contender *contenders;    /**< what ratios refer to comes first */
    size_t contender_count;
    /** Names of what is reported beside time, up to BENCH_FIGURES_MAX and a NULL; NULL: nothing.
     * Each is a column of the table, the median over the rounds. */
    const char *const *figures;
    const void *data; /**< for run() to know which case it is in */
};

/** Cases that share their input. */
struct bench_group {
    const char *name; /**< without blanks */
    const char *summary;
    const struct bench_case *cases;
    size_t case_count;
    /**
     * Make the input and show that all contenders do the same with it.
     *
     * @ret      the context, NULL is allowed; written on success only
     * Returns   0 or a negative errno, after bench_complain().
     */
    int (*setup)(void **ret);
    void (*teardown)(void *context);
};

/** How to measure. */
struct bench_options {
    unsigned rounds;  /**< BENCH_ROUNDS_MIN..BENCH_ROUNDS_MAX */
    unsigned time_ms; /**< of one contender in one round, 1..BENCH_TIME_MS_MAX */
};

/** One contender's figures, all of them per operation. */
struct bench_result {
    const struct bench_contender *contender;
    uint64_t ops;      /**< per round; 0: left out, see contender->missing */
    double *rounds_ns; /**< each round's; as many as there were rounds */
    double median_ns;
    double min_ns;
    double max_ns;
    double spread;          /**< distance of the quartiles / median */
    double mb_per_s;        /**< 10^6 bytes; 0: the case has no bytes */
    double ratio;           /**< times the first contender's time; 0: that one was left out */
    double *rounds_figures; /**< BENCH_FIGURES_MAX of each round */
    double figures[BENCH_FIGURES_MAX]; /**< medians; not a number: nothing was told */
};

/** Every group, in the order in which they run; a NULL ends the list. */
extern const struct bench_group *const bench_groups[];

extern const struct bench_group bench_group_bytes;
extern const struct bench_group bench_group_arrays;
extern const struct bench_group bench_group_codec;
extern const struct bench_group bench_group_io;
extern const struct bench_group bench_group_mem;
extern const struct bench_group bench_group_values;
extern const struct bench_group bench_group_record;
extern const struct bench_group bench_group_batch;
extern const struct bench_group bench_group_record_fixed;

/**
 * Run one case.
 *
 * @context  of the case's group
 * @results  receives one entry per contender; to be freed with bench_results_free()
 * Returns   0 or a negative errno, after bench_complain().
 */
int bench_run_case(const struct bench_case *item, void *context,
                   const struct bench_options *options, struct bench_result *results);

/** Free what bench_run_case() stored in @count results, which may also be zeroed. */
void bench_results_free(struct bench_result *results, size_t count);

/**
 * Sort @values and return the value at @part of 0..1 of the way through them, interpolated.
 *
 * @count  at least 1
 */
double bench_quantile(double *values, size_t count, double part);

/** A literal and its length, for the compiler to compare and copy as constants. */
#define KEY(literal) (literal), (sizeof(literal) - 1)

/** The monotonic clock. */
uint64_t bench_now_ns(void);

/** One line on stderr that begins with the program's name. */
void bench_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** A generator of reproducible numbers: splitmix64. @state may start anywhere. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/** Make the compiler believe that what @pointer points to is read here, and all other memory. */
static inline void bench_use(const void *pointer)
{
    __asm__ volatile("" : : "r"(pointer) : "memory");
}

/** @pointer, of which the compiler no longer knows where it points. */
static inline void *bench_hide(void *pointer)
{
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

#endif /* BENCH_H */
