/* SPDX-License-Identifier: MIT */
/*
 * mem: arenas, and blocks of a pool against general allocators.
 *
 * Several implementations of malloc live in this process. The program is linked with the C library
 * before all others, so that everybody's malloc is the C library's; the peers are called through
 * pointers that are taken from their own libraries, and setup() looks up where each one leads. All
 * calls go through pointers alike, weir's too, but for what is inline in its headers.
 *
 * Sizes and places come from a table of 65,536 entries that is made before anything is timed. The
 * first eight bytes of each block are written. Cases that need a second thread come last, because
 * some allocators are faster as long as there has never been one.
 */
#include "bench.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <weir/arena.h>
#include <weir/pool.h>
#include <weir/shared_arena.h>

#ifdef HAVE_MIMALLOC
#include <mimalloc.h>
#endif
#ifdef HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif
#ifdef HAVE_TCMALLOC
#include <gperftools/tcmalloc.h>
#endif

#define TABLE_COUNT 65536u /* a power of two */
#define WINDOW_COUNT 1024u
#define ARENA_BATCH 512u /* divides TABLE_COUNT; at most 32 KiB, so that it stays in the cache */
#define PAIR_BYTES 200u
#define QUEUE_COUNT 4096u
#define FREELIST_COUNT 4u                /* classes: 64, 256, 1024, 4096 bytes, as in the pool */
#define FREELIST_BYTES ((size_t)2 << 20) /* of each class */
#define PASSED_COUNT (2 * QUEUE_COUNT)
#define PASSED_BYTES 1088u /* from one to the next */
#define SHARED_BATCH 8192u /* of one thread between two resets */
#define SHARED_SHARDS 2u
#define SEED UINT64_C(0x6d656d)

typedef void *(*alloc_function)(size_t size);
typedef void (*release_function)(void *memory);

enum { GLIBC, MIMALLOC, JEMALLOC, TCMALLOC, WEIR_MALLOC, PEER_COUNT };

/* A general allocator. */
struct peer {
    alloc_function alloc; /* NULL: it is not there */
    release_function release;
    void *window[WINDOW_COUNT];
};

/* weir's own calls, as pointers like the peers'. */
struct weir_calls {
    int (*alloc)(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret);
    void (*drop)(struct weir_block *block);
};

struct entry {
    uint16_t slot; /* of the window */
    uint16_t size; /* 16 to 1039 */
};

/* A floor: no more than a list of free blocks for each class, which who releases has to know. */
struct freelist {
    void *free[FREELIST_COUNT];
    uint8_t class_of[4096 / 64]; /* by size */
    struct {
        void *block;
        uint8_t class;
    } window[WINDOW_COUNT];
    uint8_t *memory;
};

/* From the producer to the consumer. */
struct queue {
    size_t tail __attribute__((aligned(128))); /* written by the producer */
    size_t head __attribute__((aligned(128))); /* written by the consumer */
    void *items[QUEUE_COUNT] __attribute__((aligned(128)));
};

struct task;

struct mem {
    struct entry *table;
    uint8_t *small_sizes; /* as many; 16 to 64 */
    struct weir_pool *pool;
    struct weir_arena arena;
    uint8_t *bump_memory;
    struct weir_calls calls;
    struct weir_block *window[WINDOW_COUNT];
    struct peer peers[PEER_COUNT];
    struct weir_shared_arena *shared;
    struct freelist freelist;
    struct queue *queue;
    uint8_t *passed; /* what the queue alone hands over, in turn */

    /* The second thread, made when it is first needed. */
    bool helper_is_there;
    pthread_t helper;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct task *task; /* what the helper is to do next */
    bool stop;
};

/* Done by this thread and the helper at the same time. */
struct task {
    struct mem *mem;
    void (*own)(struct task *task);
    void (*helpers)(struct task *task);
    uint64_t ops;      /* of each thread */
    size_t batch;      /* through the queue */
    struct peer *peer; /* NULL: weir */
    bool queue_alone;
    int (*take)(struct weir_shared_arena *arena, uint32_t number, size_t size, void **ret);
    uint32_t arrived; /* at the barrier, ever */
    uint32_t parties; /* at the barrier */
    uint32_t ready, go, done;
    int rc; /* of either thread */
};

static inline void touch(void *memory, uint64_t value)
{
    memcpy(memory, &value, sizeof value);
    bench_use(memory);
}

static inline const struct entry *entry_of(const struct mem *mem, uint64_t i)
{
    return &mem->table[i & (TABLE_COUNT - 1)];
}

/* --- arena: 16 to 64 bytes ------------------------------------------------------------------- */

static int run_arena_weir(struct bench_round *round)
{
    struct mem *mem = round->context;
    const uint8_t *sizes = mem->small_sizes;

    for (uint64_t i = 0; i < round->ops;) {
        weir_arena_reset(&mem->arena);
        for (uint64_t end = i + ARENA_BATCH; i < end; i++) {
            void *memory = weir_arena_alloc(&mem->arena, sizes[i % TABLE_COUNT], 8);
            if (memory == NULL)
                return weir_arena_error(&mem->arena);
            touch(memory, i);
        }
    }
    return 0;
}

struct bump {
    uint8_t *cursor;
    uint8_t *end;
};

static inline __attribute__((always_inline)) int run_bump(struct bench_round *round, bool checked)
{
    struct mem *mem = round->context;
    const uint8_t *sizes = mem->small_sizes;
    struct bump place = {mem->bump_memory, mem->bump_memory + ARENA_BATCH * 64 + 64};
    struct bump *bump = bench_hide(&place);

    for (uint64_t i = 0; i < round->ops;) {
        bump->cursor = mem->bump_memory;
        for (uint64_t end = i + ARENA_BATCH; i < end; i++) {
            uintptr_t at = ((uintptr_t)bump->cursor + 7) & ~(uintptr_t)7;
            uint8_t *memory = bump->cursor + (at - (uintptr_t)bump->cursor);
            size_t size = sizes[i % TABLE_COUNT];
            if (checked && size > (size_t)(bump->end - memory))
                return -ENOMEM;
            bump->cursor = memory + size;
            touch(memory, i);
        }
    }
    return 0;
}

static int run_arena_bump(struct bench_round *round)
{
    return run_bump(round, true);
}

static int run_arena_unchecked(struct bench_round *round)
{
    return run_bump(round, false);
}

static int peer_arena(struct bench_round *round, struct peer *peer)
{
    struct mem *mem = round->context;
    const uint8_t *sizes = mem->small_sizes;
    void *kept[ARENA_BATCH];

    for (uint64_t i = 0; i < round->ops;) {
        for (size_t n = 0; n < ARENA_BATCH; n++, i++) {
            void *memory = peer->alloc(sizes[i % TABLE_COUNT]);
            if (memory == NULL)
                return -ENOMEM;
            touch(memory, i);
            kept[n] = memory;
        }
        for (size_t n = 0; n < ARENA_BATCH; n++)
            peer->release(kept[n]);
    }
    return 0;
}

/* --- pair: one size, released at once -------------------------------------------------------- */

/* As every program that includes the header has it: inline. */
static int run_pair_weir(struct bench_round *round)
{
    struct mem *mem = round->context;

    for (uint64_t i = 0; i < round->ops; i++) {
        struct weir_block *block;
        int rc = weir_pool_alloc(mem->pool, PAIR_BYTES, &block);
        if (rc < 0)
            return rc;
        touch(block->data, i);
        weir_block_drop(block);
    }
    return 0;
}

static int run_pair_called(struct bench_round *round)
{
    struct mem *mem = round->context;
    struct weir_calls calls = mem->calls;

    for (uint64_t i = 0; i < round->ops; i++) {
        struct weir_block *block;
        int rc = calls.alloc(mem->pool, PAIR_BYTES, &block);
        if (rc < 0)
            return rc;
        touch(block->data, i);
        calls.drop(block);
    }
    return 0;
}

/* The link is a block's second word: so taking it does not have to wait for what was just written
 * to the first. */
static inline void *freelist_take(struct freelist *list, unsigned class)
{
    void **block = list->free[class];
    if (block != NULL)
        list->free[class] = block[1];
    return block;
}

static inline void freelist_put(struct freelist *list, unsigned class, void *memory)
{
    void **block = memory;
    block[1] = list->free[class];
    list->free[class] = block;
}

static int run_pair_freelist(struct bench_round *round)
{
    struct mem *mem = round->context;
    struct freelist *list = bench_hide(&mem->freelist);

    for (uint64_t i = 0; i < round->ops; i++) {
        unsigned class = list->class_of[(PAIR_BYTES - 1) / 64];
        void *block = freelist_take(list, class);
        if (block == NULL)
            return -ENOMEM;
        touch(block, i);
        freelist_put(list, class, block);
    }
    return 0;
}

static int peer_pair(struct bench_round *round, struct peer *peer)
{
    alloc_function alloc = peer->alloc;
    release_function release = peer->release;

    for (uint64_t i = 0; i < round->ops; i++) {
        void *memory = alloc(PAIR_BYTES);
        if (memory == NULL)
            return -ENOMEM;
        touch(memory, i);
        release(memory);
    }
    return 0;
}

/* --- window: random sizes, 1024 blocks live -------------------------------------------------- */

static int run_window_weir(struct bench_round *round)
{
    struct mem *mem = round->context;

    for (uint64_t i = 0; i < round->ops; i++) {
        const struct entry *entry = entry_of(mem, i);
        struct weir_block **place = &mem->window[entry->slot];
        struct weir_block *block;
        weir_block_drop(*place);
        int rc = weir_pool_alloc(mem->pool, entry->size, &block);
        if (rc < 0) {
            *place = NULL;
            return rc;
        }
        *place = block;
        touch(block->data, i);
    }
    return 0;
}

static int run_window_called(struct bench_round *round)
{
    struct mem *mem = round->context;
    struct weir_calls calls = mem->calls;

    for (uint64_t i = 0; i < round->ops; i++) {
        const struct entry *entry = entry_of(mem, i);
        struct weir_block **place = &mem->window[entry->slot];
        calls.drop(*place);
        *place = NULL;
        int rc = calls.alloc(mem->pool, entry->size, place);
        if (rc < 0)
            return rc;
        touch((*place)->data, i);
    }
    return 0;
}

static int run_window_freelist(struct bench_round *round)
{
    struct mem *mem = round->context;
    struct freelist *list = bench_hide(&mem->freelist);

    for (uint64_t i = 0; i < round->ops; i++) {
        const struct entry *entry = entry_of(mem, i);
        void **place = &list->window[entry->slot].block;
        if (*place != NULL)
            freelist_put(list, list->window[entry->slot].class, *place);
        unsigned class = list->class_of[(entry->size - 1u) / 64];
        *place = freelist_take(list, class);
        if (*place == NULL)
            return -ENOMEM;
        list->window[entry->slot].class = (uint8_t) class;
        touch(*place, i);
    }
    return 0;
}

static int peer_window(struct bench_round *round, struct peer *peer)
{
    struct mem *mem = round->context;
    alloc_function alloc = peer->alloc;
    release_function release = peer->release;

    for (uint64_t i = 0; i < round->ops; i++) {
        const struct entry *entry = entry_of(mem, i);
        void **place = &peer->window[entry->slot];
        release(*place);
        *place = alloc(entry->size);
        if (*place == NULL)
            return -ENOMEM;
        touch(*place, i);
    }
    return 0;
}

/* --- two threads ----------------------------------------------------------------------------- */

/* The machine may have fewer free processors than there are threads. */
static void wait_a_little(unsigned *turns)
{
    if (++*turns % 256 == 0)
        sched_yield();
    else
        __asm__ volatile("" : : : "memory");
}

static void wait_for(const uint32_t *flag, uint32_t least)
{
    unsigned turns = 0;

    while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) < least)
        wait_a_little(&turns);
}

static void *helper_main(void *argument)
{
    struct mem *mem = argument;

    for (;;) {
        pthread_mutex_lock(&mem->mutex);
        while (mem->task == NULL && !mem->stop)
            pthread_cond_wait(&mem->wake, &mem->mutex);
        struct task *task = mem->task;
        mem->task = NULL;
        pthread_mutex_unlock(&mem->mutex);
        if (task == NULL)
            return NULL;
        __atomic_store_n(&task->ready, 1, __ATOMIC_RELEASE);
        wait_for(&task->go, 1);
        task->helpers(task);
        __atomic_store_n(&task->done, 1, __ATOMIC_RELEASE);
    }
}

/* Timed from where both threads are there until both are done. */
static int run_together(struct bench_round *round, struct task *task)
{
    struct mem *mem = task->mem;

    if (!mem->helper_is_there) {
        int rc = pthread_create(&mem->helper, NULL, helper_main, mem);
        if (rc != 0)
            return -rc;
        mem->helper_is_there = true;
    }
    pthread_mutex_lock(&mem->mutex);
    mem->task = task;
    pthread_cond_signal(&mem->wake);
    pthread_mutex_unlock(&mem->mutex);
    wait_for(&task->ready, 1);
    uint64_t begin = bench_now_ns();
    __atomic_store_n(&task->go, 1, __ATOMIC_RELEASE);
    task->own(task);
    wait_for(&task->done, 1);
    round->elapsed_ns = bench_now_ns() - begin;
    return __atomic_load_n(&task->rc, __ATOMIC_RELAXED);
}

/* --- remote: allocated here, released there -------------------------------------------------- */

static void *remote_take(struct task *task, const struct entry *entry, uint64_t i)
{
    if (task->queue_alone) {
        void *memory = task->mem->passed + i % PASSED_COUNT * PASSED_BYTES;
        touch(memory, i);
        return memory;
    }
    if (task->peer != NULL) {
        void *memory = task->peer->alloc(entry->size);
        if (memory != NULL)
            touch(memory, i);
        return memory;
    }
    struct weir_block *block;
    if (task->mem->calls.alloc(task->mem->pool, entry->size, &block) < 0)
        return NULL;
    touch(block->data, i);
    return block;
}

static void produce(struct task *task)
{
    struct queue *queue = task->mem->queue;
    size_t tail = queue->tail;

    for (uint64_t i = 0; i < task->ops;) {
        unsigned turns = 0;
        while (tail + task->batch - __atomic_load_n(&queue->head, __ATOMIC_ACQUIRE) > QUEUE_COUNT)
            wait_a_little(&turns);
        for (size_t n = 0; n < task->batch; n++, i++) {
            void *item = remote_take(task, entry_of(task->mem, i), i);
            if (item == NULL) /* the consumer passes over it */
                __atomic_store_n(&task->rc, -ENOMEM, __ATOMIC_RELAXED);
            queue->items[(tail + n) % QUEUE_COUNT] = item;
        }
        tail += task->batch;
        __atomic_store_n(&queue->tail, tail, __ATOMIC_RELEASE);
    }
}

static void remote_release(struct task *task, void *item, uint64_t i)
{
    struct weir_block *block = item;
    bool weir = task->peer == NULL && !task->queue_alone;
    uint64_t value = i;

    if (item != NULL)
        memcpy(&value, weir ? block->data : item, sizeof value);
    if (value != i)
        __atomic_store_n(&task->rc, -EFAULT, __ATOMIC_RELAXED);
    if (weir)
        task->mem->calls.drop(block);
    else if (!task->queue_alone)
        task->peer->release(item);
}

static void consume(struct task *task)
{
    struct queue *queue = task->mem->queue;
    size_t head = queue->head;

    for (uint64_t i = 0; i < task->ops;) {
        unsigned turns = 0;
        while (__atomic_load_n(&queue->tail, __ATOMIC_ACQUIRE) - head < task->batch)
            wait_a_little(&turns);
        for (size_t n = 0; n < task->batch; n++, i++)
            remote_release(task, queue->items[(head + n) % QUEUE_COUNT], i);
        head += task->batch;
        __atomic_store_n(&queue->head, head, __ATOMIC_RELEASE);
    }
}

static int remote(struct bench_round *round, struct peer *peer, size_t batch)
{
    struct task task = {.mem = round->context,
                        .own = produce,
                        .helpers = consume,
                        .ops = round->ops,
                        .batch = batch,
                        .peer = peer};

    return run_together(round, &task);
}

static int remote_queue(struct bench_round *round, size_t batch)
{
    struct task task = {.mem = round->context,
                        .own = produce,
                        .helpers = consume,
                        .ops = round->ops,
                        .batch = batch,
                        .queue_alone = true};

    return run_together(round, &task);
}

/* --- shared: one arena, one or two threads --------------------------------------------------- */

/* All that come here wait for the others; the last one empties the arena. */
static void meet(struct task *task)
{
    if (task->parties == 1) {
        weir_shared_arena_reset(task->mem->shared);
        return;
    }
    uint32_t mine = __atomic_add_fetch(&task->arrived, 1, __ATOMIC_ACQ_REL);
    /* Each meeting counts parties arrivals and one more for the reset. */
    uint32_t meeting = (mine - 1) / (task->parties + 1);
    uint32_t all = meeting * (task->parties + 1) + task->parties;
    if (mine == all) {
        weir_shared_arena_reset(task->mem->shared);
        __atomic_add_fetch(&task->arrived, 1, __ATOMIC_ACQ_REL);
    } else {
        wait_for(&task->arrived, all + 1);
    }
}

static void share(struct task *task, uint32_t number)
{
    struct mem *mem = task->mem;
    const uint8_t *sizes = mem->small_sizes;

    for (uint64_t i = 0; i < task->ops;) {
        meet(task);
        for (uint64_t end = i + SHARED_BATCH; i < end; i++) {
            void *memory;
            int rc = task->take(mem->shared, number, sizes[i % TABLE_COUNT], &memory);
            if (rc == 0)
                touch(memory, i);
            else
                __atomic_store_n(&task->rc, rc, __ATOMIC_RELAXED);
        }
    }
}

static void share_own(struct task *task)
{
    share(task, 0);
}

static void share_helpers(struct task *task)
{
    share(task, 1);
}

static int take_any(struct weir_shared_arena *arena, uint32_t number, size_t size, void **ret)
{
    (void)number;
    return weir_shared_arena_alloc(arena, size, 8, ret);
}

static int take_numbered(struct weir_shared_arena *arena, uint32_t number, size_t size, void **ret)
{
    return weir_shared_arena_alloc_at(arena, number, size, 8, ret);
}

/* All in one shard, until it is full. */
static int take_crowded(struct weir_shared_arena *arena, uint32_t number, size_t size, void **ret)
{
    (void)number;
    return weir_shared_arena_alloc_at(arena, 0, size, 8, ret);
}

static int shared(struct bench_round *round, uint32_t parties,
                  int (*take)(struct weir_shared_arena *, uint32_t, size_t, void **))
{
    struct task task = {.mem = round->context,
                        .own = share_own,
                        .helpers = share_helpers,
                        .ops = round->ops / parties,
                        .take = take,
                        .parties = parties};

    if (parties == 1) {
        share_own(&task);
        return task.rc;
    }
    return run_together(round, &task);
}

static int run_shared_1(struct bench_round *round)
{
    return shared(round, 1, take_any);
}

static int run_shared_2(struct bench_round *round)
{
    return shared(round, 2, take_any);
}

static int run_numbered_1(struct bench_round *round)
{
    return shared(round, 1, take_numbered);
}

static int run_numbered_2(struct bench_round *round)
{
    return shared(round, 2, take_numbered);
}

static int run_crowded_2(struct bench_round *round)
{
    return shared(round, 2, take_crowded);
}

/* --- the contenders' functions --------------------------------------------------------------- */

#define REMOTE(function, peer, batch)              \
    static int function(struct bench_round *round) \
    {                                              \
        struct mem *mem = round->context;          \
        (void)mem;                                 \
        return remote(round, (peer), (batch));     \
    }

REMOTE(run_remote_1_weir, NULL, 1)
REMOTE(run_remote_32_weir, NULL, 32)
REMOTE(run_remote_1024_weir, NULL, 1024)

static int run_remote_1_queue(struct bench_round *round)
{
    return remote_queue(round, 1);
}

static int run_remote_32_queue(struct bench_round *round)
{
    return remote_queue(round, 32);
}

static int run_remote_1024_queue(struct bench_round *round)
{
    return remote_queue(round, 1024);
}

#define PEER(name, index)                                                           \
    static int run_arena_##name(struct bench_round *round)                          \
    {                                                                               \
        return peer_arena(round, &((struct mem *)round->context)->peers[(index)]);  \
    }                                                                               \
    static int run_pair_##name(struct bench_round *round)                           \
    {                                                                               \
        return peer_pair(round, &((struct mem *)round->context)->peers[(index)]);   \
    }                                                                               \
    static int run_window_##name(struct bench_round *round)                         \
    {                                                                               \
        return peer_window(round, &((struct mem *)round->context)->peers[(index)]); \
    }                                                                               \
    REMOTE(run_remote_1_##name, &mem->peers[(index)], 1)                            \
    REMOTE(run_remote_32_##name, &mem->peers[(index)], 32)                          \
    REMOTE(run_remote_1024_##name, &mem->peers[(index)], 1024)

PEER(glibc, GLIBC)
#ifdef HAVE_MIMALLOC
PEER(mimalloc, MIMALLOC)
#endif
#ifdef HAVE_JEMALLOC
PEER(jemalloc, JEMALLOC)
#endif
#ifdef HAVE_TCMALLOC
PEER(tcmalloc, TCMALLOC)
#endif

#ifdef BENCH_WEIR_MALLOC
PEER(weir_malloc, WEIR_MALLOC)
#endif

/* --- where a pointer leads ------------------------------------------------------------------- */

#if defined(HAVE_MIMALLOC) || defined(HAVE_JEMALLOC) || defined(HAVE_TCMALLOC)

/* What @name is in the library at @path; NULL: nothing. */
static void *look_up(const char *path, const char *name)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    void *found = library != NULL ? dlsym(library, name) : NULL;

    if (library != NULL)
        dlclose(library); /* it was there before, and stays */
    return found;
}

/* Take @alloc_name and @release_name from the library that @inside lies in. */
static int find_peer(struct peer *peer, const char *name, void *inside, const char *alloc_name,
                     const char *release_name)
{
    Dl_info library, found;
    const void *general = dlsym(RTLD_DEFAULT, "malloc");

    if (dladdr(inside, &library) == 0) {
        bench_complain("%s: its library is not to be found", name);
        return -ENOENT;
    }
    void *alloc = look_up(library.dli_fname, alloc_name);
    void *release = look_up(library.dli_fname, release_name);
    if (alloc == NULL || release == NULL || dladdr(alloc, &found) == 0 ||
        found.dli_fbase != library.dli_fbase || dladdr(release, &found) == 0 ||
        found.dli_fbase != library.dli_fbase) {
        bench_complain("%s: %s and %s are not those of %s", name, alloc_name, release_name,
                       library.dli_fname);
        return -ENOENT;
    }
    if (dladdr(general, &found) != 0 && found.dli_fbase == library.dli_fbase) {
        bench_complain("%s: %s has replaced everybody's malloc", name, library.dli_fname);
        return -EEXIST;
    }
    memcpy(&peer->alloc, &alloc, sizeof alloc); /* what no cast may do */
    memcpy(&peer->release, &release, sizeof release);
    return 0;
}

/* A function as what dladdr() takes. */
#define ADDRESS_OF(function) bench_hide((void *)(uintptr_t)(function))

#endif

/* libweir-malloc.so, which is not preloaded here: nobody else's malloc is to be it. */
#ifdef BENCH_WEIR_MALLOC
static int find_weir_malloc(struct peer *peer)
{
    void *library = dlopen(BENCH_WEIR_MALLOC, RTLD_NOW | RTLD_LOCAL);
    void *alloc = library != NULL ? dlsym(library, "malloc") : NULL;
    void *release = library != NULL ? dlsym(library, "free") : NULL;

    if (alloc == NULL || release == NULL || alloc == dlsym(RTLD_DEFAULT, "malloc")) {
        bench_complain("%s: no malloc of its own", BENCH_WEIR_MALLOC);
        return -ENOENT;
    }
    memcpy(&peer->alloc, &alloc, sizeof alloc);
    memcpy(&peer->release, &release, sizeof release);
    return 0;
}
#endif

static int find_peers(struct mem *mem)
{
    int rc = 0;

    mem->calls.alloc = weir_pool_alloc;
    mem->calls.drop = weir_block_drop;
    mem->peers[GLIBC].alloc = malloc;
    mem->peers[GLIBC].release = free;
#ifdef HAVE_MIMALLOC
    if (rc == 0)
        rc = find_peer(&mem->peers[MIMALLOC], "mimalloc", ADDRESS_OF(mi_malloc), "mi_malloc",
                       "mi_free");
#endif
#ifdef HAVE_JEMALLOC
    if (rc == 0)
        rc = find_peer(&mem->peers[JEMALLOC], "jemalloc", ADDRESS_OF(mallocx), "malloc", "free");
#endif
#ifdef HAVE_TCMALLOC
    if (rc == 0)
        rc = find_peer(&mem->peers[TCMALLOC], "tcmalloc", ADDRESS_OF(tc_malloc), "tc_malloc",
                       "tc_free");
#endif
#ifdef BENCH_WEIR_MALLOC
    if (rc == 0)
        rc = find_weir_malloc(&mem->peers[WEIR_MALLOC]);
#endif
    return rc;
}

/* --- setup ----------------------------------------------------------------------------------- */

static void make_table(struct mem *mem)
{
    uint64_t state = SEED;

    for (size_t i = 0; i < TABLE_COUNT; i++) {
        mem->table[i].slot = (uint16_t)(bench_random(&state) % WINDOW_COUNT);
        mem->table[i].size = (uint16_t)(16 + bench_random(&state) % 1024);
        mem->small_sizes[i] = (uint8_t)(16 + bench_random(&state) % 49);
    }
}

/* One block of an allocator that is being looked at. */
struct probe {
    uint8_t *data;
    size_t size;
    uint8_t tag;
};

static bool is_filled(const struct probe *probe)
{
    for (size_t i = 0; i < probe->size; i++)
        if (probe->data[i] != probe->tag)
            return false;
    return true;
}

/* Each block is the contender's own, all of it, while it is held. */
static int verify_window(struct mem *mem, struct peer *peer)
{
    struct probe probes[WINDOW_COUNT] = {0};

    for (size_t i = 0; i < 2 * TABLE_COUNT; i++) {
        const struct entry *entry = entry_of(mem, i);
        struct probe *probe = &probes[entry->slot];
        void **place = &peer->window[entry->slot];
        if (!is_filled(probe))
            return -EFAULT;
        peer->release(*place);
        *place = peer->alloc(entry->size);
        if (*place == NULL)
            return -ENOMEM;
        *probe = (struct probe){*place, entry->size, (uint8_t)i};
        memset(probe->data, probe->tag, probe->size);
    }
    return 0;
}

static int verify_weir(struct mem *mem)
{
    struct probe probes[WINDOW_COUNT] = {0};

    for (size_t i = 0; i < 2 * TABLE_COUNT; i++) {
        const struct entry *entry = entry_of(mem, i);
        struct probe *probe = &probes[entry->slot];
        struct weir_block **place = &mem->window[entry->slot];
        if (!is_filled(probe))
            return -EFAULT;
        mem->calls.drop(*place);
        *place = NULL;
        int rc = mem->calls.alloc(mem->pool, entry->size, place);
        if (rc < 0)
            return rc;
        *probe = (struct probe){(*place)->data, entry->size, (uint8_t)i};
        memset(probe->data, probe->tag, probe->size);
    }
    return 0;
}

static int verify(struct mem *mem)
{
    int rc = verify_weir(mem);

    for (size_t i = 0; rc == 0 && i < PEER_COUNT; i++)
        if (mem->peers[i].alloc != NULL)
            rc = verify_window(mem, &mem->peers[i]);
    if (rc < 0)
        bench_complain("blocks in a window: %s",
                       rc == -EFAULT ? "one was changed while it was held" : strerror(-rc));
    return rc;
}

static void teardown(void *context)
{
    struct mem *mem = context;

    if (mem->helper_is_there) {
        pthread_mutex_lock(&mem->mutex);
        mem->stop = true;
        pthread_cond_signal(&mem->wake);
        pthread_mutex_unlock(&mem->mutex);
        pthread_join(mem->helper, NULL);
    }
    for (size_t i = 0; i < WINDOW_COUNT; i++)
        weir_block_drop(mem->window[i]);
    for (size_t p = 0; p < PEER_COUNT; p++)
        for (size_t i = 0; i < WINDOW_COUNT && mem->peers[p].alloc != NULL; i++)
            mem->peers[p].release(mem->peers[p].window[i]);
    weir_shared_arena_destroy(mem->shared);
    weir_arena_fini(&mem->arena);
    if (weir_pool_destroy(mem->pool) < 0)
        bench_complain("blocks of the pool are still held");
    free(mem->queue);
    free(mem->passed);
    free(mem->freelist.memory);
    free(mem->bump_memory);
    free(mem->small_sizes);
    free(mem->table);
    free(mem);
}

/* All blocks at once, each class's in a row. */
static int setup_freelist(struct freelist *list)
{
    const size_t bytes = FREELIST_COUNT * FREELIST_BYTES;

    list->memory = aligned_alloc(4096, bytes);
    if (list->memory == NULL)
        return -ENOMEM;
    memset(list->memory, 0, bytes); /* touched, as all others' is */
    for (unsigned class = 0; class < FREELIST_COUNT; class ++) {
        size_t block_bytes = (size_t)64 << 2 * class;
        uint8_t *first = list->memory + class * FREELIST_BYTES;
        for (size_t at = FREELIST_BYTES; at >= block_bytes; at -= block_bytes)
            freelist_put(list, class, first + at - block_bytes);
    }
    for (size_t i = 0, class = 0; i < sizeof list->class_of; i++) {
        if (i == (size_t)1 << 2 * class)
            class ++;
        list->class_of[i] = (uint8_t) class;
    }
    return 0;
}

static int setup_memory(struct mem *mem)
{
    const struct weir_arena_options arena = {.chunk_bytes = 65536};
    const struct weir_shared_arena_options shared_arena = {.capacity_bytes = 2 * SHARED_BATCH * 64,
                                                           .shards = SHARED_SHARDS};

    pthread_mutex_init(&mem->mutex, NULL);
    pthread_cond_init(&mem->wake, NULL);
    mem->table = calloc(TABLE_COUNT, sizeof *mem->table);
    mem->small_sizes = calloc(TABLE_COUNT, sizeof *mem->small_sizes);
    mem->bump_memory = calloc(1, ARENA_BATCH * 64 + 64);
    mem->queue = aligned_alloc(128, sizeof *mem->queue);
    mem->passed = calloc(PASSED_COUNT, PASSED_BYTES);
    if (mem->table == NULL || mem->small_sizes == NULL || mem->bump_memory == NULL ||
        mem->queue == NULL || mem->passed == NULL)
        return -ENOMEM;
    mem->queue->head = mem->queue->tail = 0;
    int rc = setup_freelist(&mem->freelist);
    if (rc == 0)
        rc = weir_pool_create(NULL, &mem->pool);
    if (rc < 0)
        return rc;
    weir_arena_init(&mem->arena, mem->pool, &arena);
    return weir_shared_arena_create(&shared_arena, &mem->shared);
}

static int setup(void **ret)
{
    struct mem *mem = calloc(1, sizeof *mem);

    if (mem == NULL) {
        bench_complain("out of memory");
        return -ENOMEM;
    }
    int rc = setup_memory(mem);
    if (rc < 0)
        bench_complain("%s", weir_error_text(rc));
    if (rc == 0) {
        make_table(mem);
        rc = find_peers(mem);
    }
    if (rc == 0)
        rc = verify(mem);
    if (rc < 0) {
        teardown(mem);
        return rc;
    }
    *ret = mem;
    return 0;
}

/* --- the cases ------------------------------------------------------------------------------- */

#if defined(HAVE_MIMALLOC)
#define MIMALLOC_ENTRY(function)                                            \
    {                                                                       \
        .name = "mimalloc", .note = "mi_malloc, mi_free", .run = (function) \
    }
#else
#define MIMALLOC_ENTRY(function)                     \
    {                                                \
        .name = "mimalloc", .missing = PEERS_MISSING \
    }
#endif
#if defined(HAVE_JEMALLOC)
#define JEMALLOC_ENTRY(function)                                                            \
    {                                                                                       \
        .name = "jemalloc", .note = "malloc and free of its own library", .run = (function) \
    }
#else
#define JEMALLOC_ENTRY(function)                     \
    {                                                \
        .name = "jemalloc", .missing = PEERS_MISSING \
    }
#endif
#if defined(HAVE_TCMALLOC)
#define TCMALLOC_ENTRY(function)                                                                   \
    {                                                                                              \
        .name = "tcmalloc", .note = "tc_malloc, tc_free of gperftools, minimal", .run = (function) \
    }
#else
#define TCMALLOC_ENTRY(function)                     \
    {                                                \
        .name = "tcmalloc", .missing = PEERS_MISSING \
    }
#endif
#if defined(BENCH_WEIR_MALLOC)
#define WEIR_MALLOC_ENTRY(function)                                                         \
    {                                                                                       \
        .name = "weir-malloc", .note = "malloc and free of libweir-malloc.so, opened here", \
        .run = (function)                                                                   \
    }
#else
#define WEIR_MALLOC_ENTRY(function)                                        \
    {                                                                      \
        .name = "weir-malloc", .missing = "no libweir-malloc.so was built" \
    }
#endif
#define PEERS_MISSING "configure did not find it, or the build has a sanitizer"

#define GENERAL(case_name)                                                                         \
    {.name = "glibc", .note = "malloc and free of the C library", .run = run_##case_name##_glibc}, \
        MIMALLOC_ENTRY(run_##case_name##_mimalloc), JEMALLOC_ENTRY(run_##case_name##_jemalloc),    \
        TCMALLOC_ENTRY(run_##case_name##_tcmalloc),                                                \
        WEIR_MALLOC_ENTRY(run_##case_name##_weir_malloc)

static const struct bench_contender arena_contenders[] = {
    {.name = "weir",
     .note = "weir_arena_alloc, and weir_arena_reset after every 512",
     .run = run_arena_weir},
    {.name = "bump",
     .note = "a bare pointer: rounded up to 8, compared with the end, moved on",
     .run = run_arena_bump},
    {.name = "bump-unchecked",
     .note = "the same without looking at the end: a floor",
     .run = run_arena_unchecked},
    GENERAL(arena),
};

static const struct bench_contender pair_contenders[] = {
    {.name = "weir",
     .note = "weir_pool_alloc, weir_block_drop, inline as in every program; statistics are on",
     .run = run_pair_weir},
    {.name = "weir-called",
     .note = "the same through pointers, as the others are called: no program has it so",
     .run = run_pair_called},
    {.name = "freelist",
     .note = "the first of a list and back again, nothing else: a floor",
     .run = run_pair_freelist},
    GENERAL(pair),
};

static const struct bench_contender window_contenders[] = {
    {.name = "weir",
     .note = "weir_block_drop, weir_pool_alloc, inline as in every program",
     .run = run_window_weir},
    {.name = "weir-called",
     .note = "the same through pointers, as the others are called",
     .run = run_window_called},
    {.name = "freelist",
     .note = "a list per class, nothing else; who releases knows the class: a floor",
     .run = run_window_freelist},
    GENERAL(window),
};

static const struct bench_contender shared_contenders[] = {
    {.name = "shared-1",
     .note = "weir_shared_arena_alloc, 2 shards, one thread",
     .run = run_shared_1},
    {.name = "shared-2",
     .note = "two threads, half of the allocations each; needs two free processors",
     .run = run_shared_2},
    {.name = "numbered-1",
     .note = "weir_shared_arena_alloc_at with the thread's number, one thread",
     .run = run_numbered_1},
    {.name = "numbered-2", .note = "the same, two threads", .run = run_numbered_2},
    {.name = "crowded-2",
     .note = "two threads that both begin with shard 0: what shards are for",
     .run = run_crowded_2},
};

#define WEIR_REMOTE(batch)                                                                     \
    {                                                                                          \
        .name = "weir", .note = "weir_pool_alloc on one thread, weir_block_drop on the other", \
        .run = run_remote_##batch##_weir                                                       \
    }

#define QUEUE_REMOTE(batch)                                                                  \
    {                                                                                        \
        .name = "queue", .note = "blocks of an array in turn, nothing is released: a floor", \
        .run = run_remote_##batch##_queue                                                    \
    }

static const struct bench_contender remote_1_contenders[] = {WEIR_REMOTE(1), QUEUE_REMOTE(1),
                                                             GENERAL(remote_1)};
static const struct bench_contender remote_32_contenders[] = {WEIR_REMOTE(32), QUEUE_REMOTE(32),
                                                              GENERAL(remote_32)};
static const struct bench_contender remote_1024_contenders[] = {
    WEIR_REMOTE(1024), QUEUE_REMOTE(1024), GENERAL(remote_1024)};

#define CONTENDERS(array) .contenders = (array), .contender_count = sizeof(array) / sizeof(array)[0]
#define REMOTE_CASE(batch)                                                                         \
    {                                                                                              \
        .name = "remote-" #batch,                                                                  \
        .op = "one block of 16..1039 bytes handed over and released there, in batches of " #batch, \
        .step_ops = TABLE_COUNT, CONTENDERS(remote_##batch##_contenders)                           \
    }

static const struct bench_case cases[] = {
    {.name = "arena",
     .op = "one allocation of 16..64 bytes, and its part of releasing 512 at once",
     .step_ops = TABLE_COUNT,
     CONTENDERS(arena_contenders)},
    {.name = "pair",
     .op = "one block of 200 bytes allocated and released",
     .step_ops = TABLE_COUNT,
     CONTENDERS(pair_contenders)},
    {.name = "window",
     .op = "one of 1024 live blocks released, another of 16..1039 bytes allocated",
     .step_ops = TABLE_COUNT,
     CONTENDERS(window_contenders)},
    {.name = "shared",
     .op = "one allocation of 16..64 bytes in a shared arena, by any of the threads",
     .step_ops = TABLE_COUNT,
     CONTENDERS(shared_contenders)},
    REMOTE_CASE(1),
    REMOTE_CASE(32),
    REMOTE_CASE(1024),
};

const struct bench_group bench_group_mem = {
    .name = "mem",
    .summary = "arenas and blocks, sizes from a table of 65536",
    .cases = cases,
    .case_count = sizeof cases / sizeof cases[0],
    .setup = setup,
    .teardown = teardown,
};
