/* SPDX-License-Identifier: MIT */
/*
 * churn: work for whichever malloc the program has got, for tools/bench-malloc.
 *
 *     LD_PRELOAD=ALLOCATOR churn CASE THREADS OPERATIONS
 *
 * prints nanoseconds per operation (wall time, operations of all threads counted) and the peak of
 * resident memory in KiB. The cases, each thread for itself unless it says otherwise:
 *
 *     pair     200 bytes, freed at once
 *     window   random sizes 16 to 1039, 1024 blocks live, a random one replaced
 *     mixed    sizes up to 64 KiB, small ones far more often; a fifth grows by realloc, 4096 live
 *     pass     as window, but every block is freed by the next thread, 8192 at most on their way
 *     threads  each thread lives for 2000 operations of window, then another one starts
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define THREADS_MAX 64u
#define LIVE_MAX 4096u
#define PASS_BATCH 64u
#define PASS_MAX 8192u
#define LIFE_OPERATIONS 2000u

struct worker {
    pthread_t thread;
    uint64_t operations;
    uint64_t random;
    struct worker *next;
    struct worker *previous;
    void *live[LIVE_MAX];
    void *inbox; /* blocks linked by their first word, from the worker before */
    uint32_t inbox_count;
    bool done;
};

static uint64_t next_random(struct worker *worker)
{
    uint64_t mixed = worker->random += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return mixed ^ (mixed >> 27);
}

static void *get(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL) {
        fputs("churn: no memory\n", stderr);
        _Exit(1);
    }
    if (size >= sizeof size)
        memcpy(memory, &size, sizeof size);
    return memory;
}

static void release_all(struct worker *worker)
{
    for (size_t i = 0; i < LIVE_MAX; i++) {
        free(worker->live[i]);
        worker->live[i] = NULL;
    }
}

static void run_pair(struct worker *worker)
{
    for (uint64_t i = 0; i < worker->operations; i++)
        free(get(200));
}

static void run_window(struct worker *worker)
{
    for (uint64_t i = 0; i < worker->operations; i++) {
        uint64_t random = next_random(worker);
        void **place = &worker->live[random % 1024];
        free(*place);
        *place = get(16 + (random >> 32) % 1024);
    }
    release_all(worker);
}

static void run_mixed(struct worker *worker)
{
    for (uint64_t i = 0; i < worker->operations; i++) {
        uint64_t random = next_random(worker);
        void **place = &worker->live[random % LIVE_MAX];
        size_t size = (size_t)1 << (random >> 16) % 13; /* mostly small */
        size += (random >> 32) % size;
        if ((random >> 24) % 64 == 0)
            size *= 8;
        if ((random >> 40) % 5 == 0) {
            void *grown = realloc(*place, size);
            if (grown == NULL)
                _Exit(1);
            *place = grown;
            memset(grown, 2, size < 64 ? size : 64);
            continue;
        }
        free(*place);
        *place = get(size);
    }
    release_all(worker);
}

static void free_inbox(struct worker *worker)
{
    void *block = __atomic_exchange_n(&worker->inbox, NULL, __ATOMIC_ACQUIRE);
    uint32_t count = 0;
    while (block != NULL) {
        void *next;
        memcpy(&next, block, sizeof next);
        free(block);
        block = next;
        count++;
    }
    __atomic_fetch_sub(&worker->inbox_count, count, __ATOMIC_RELAXED);
}

static void run_pass(struct worker *worker)
{
    for (uint64_t i = 0; i < worker->operations;) {
        void *first = NULL, *last = NULL;
        while (__atomic_load_n(&worker->next->inbox_count, __ATOMIC_RELAXED) > PASS_MAX) {
            free_inbox(worker);
            sched_yield();
        }
        __atomic_fetch_add(&worker->next->inbox_count, PASS_BATCH, __ATOMIC_RELAXED);
        for (unsigned n = 0; n < PASS_BATCH; n++, i++) {
            void *block = get(16 + next_random(worker) % 1024);
            if (last == NULL)
                last = block;
            memcpy(block, &first, sizeof first);
            first = block;
        }
        void *head = __atomic_load_n(&worker->next->inbox, __ATOMIC_RELAXED);
        do
            memcpy(last, &head, sizeof head);
        while (!__atomic_compare_exchange_n(&worker->next->inbox, &head, first, false,
                                            __ATOMIC_RELEASE, __ATOMIC_RELAXED));
        free_inbox(worker);
    }
    __atomic_store_n(&worker->done, true, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&worker->previous->done, __ATOMIC_ACQUIRE)) {
        free_inbox(worker);
        sched_yield();
    }
}

static void *start_window(void *argument)
{
    run_window(argument);
    return NULL;
}

static void run_threads(struct worker *worker)
{
    struct worker *child = calloc(1, sizeof *child);
    if (child == NULL)
        _Exit(1);
    for (uint64_t done = 0; done < worker->operations; done += LIFE_OPERATIONS) {
        child->random = next_random(worker);
        child->operations = LIFE_OPERATIONS;
        if (pthread_create(&child->thread, NULL, start_window, child) != 0)
            _Exit(1);
        pthread_join(child->thread, NULL);
    }
    free(child);
}

static const struct {
    const char *name;
    void (*run)(struct worker *worker);
} cases[] = {
    {"pair", run_pair}, {"window", run_window},   {"mixed", run_mixed},
    {"pass", run_pass}, {"threads", run_threads},
};

static void (*run)(struct worker *worker);

static void *start(void *worker)
{
    run(worker);
    return NULL;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
    static struct worker workers[THREADS_MAX];
    for (size_t i = 0; argc == 4 && i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            run = cases[i].run;
    unsigned count = argc == 4 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    uint64_t operations = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
    if (run == NULL || count == 0 || count > THREADS_MAX || operations < count * PASS_BATCH) {
        fputs("usage: churn pair|window|mixed|pass|threads THREADS OPERATIONS\n", stderr);
        return 64;
    }

    uint64_t begin = now_ns();
    for (unsigned i = 0; i < count; i++) {
        workers[i].operations = operations / count;
        workers[i].random = i + 1;
        workers[i].next = &workers[(i + 1) % count];
        workers[i].previous = &workers[(i + count - 1) % count];
    }
    for (unsigned i = 1; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, start, &workers[i]) != 0)
            return 1;
    start(&workers[0]);
    for (unsigned i = 1; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < count; i++)
        free_inbox(&workers[i]);
    uint64_t elapsed = now_ns() - begin;

    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%.2f %ld\n", (double)elapsed / (double)operations, usage.ru_maxrss);
    return 0;
}
