/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "pool_poison.h"
#include "pool_private.h"

/* Bounds a search that in practice ends at its first step. */
#define SEGMENTS_TRIED_MAX 64

/* A sweep, before more is obtained or kept than it may be: when a sixteenth of what is in use lies
 * idle. */
#define SWEEP_SHARE 16

/* More than any machine gives a program. */
#define ADDRESSABLE_BYTES ((size_t)1 << 47)

/* How full slabs are told apart when their free blocks are sorted. */
#define SWEEP_BINS 8

static size_t slab_bytes(const struct weir_pool *pool)
{
    return (size_t)1 << pool->slab_shift;
}

/* --- segments -------------------------------------------------------------------------------- */

static size_t header_bytes(const struct weir_pool *pool)
{
    size_t slab_count = pool->segment_bytes >> pool->slab_shift;
    return sizeof(struct weir__segment) + slab_count * sizeof(struct weir__slab);
}

static void state_leave(struct weir_pool *pool, struct weir__segment *segment)
{
    if (segment->prev != NULL)
        segment->prev->next = segment->next;
    else
        pool->by_state[segment->state] = segment->next;
    if (segment->next != NULL)
        segment->next->prev = segment->prev;
    if (segment->state == WEIR__SEGMENT_VACANT)
        weir__subtract(&pool->bytes_free, pool->segment_bytes);
}

static void state_enter(struct weir_pool *pool, struct weir__segment *segment)
{
    if (segment->used == segment->slab_count)
        segment->state = WEIR__SEGMENT_FULL;
    else if (segment->used == 0 && !segment->pinned)
        segment->state = WEIR__SEGMENT_VACANT;
    else
        segment->state = WEIR__SEGMENT_ROOMY;

    struct weir__segment **list = &pool->by_state[segment->state];
    segment->prev = NULL;
    segment->next = *list;
    if (*list != NULL)
        (*list)->prev = segment;
    *list = segment;
    if (segment->state == WEIR__SEGMENT_VACANT)
        weir__add(&pool->bytes_free, pool->segment_bytes);
}

/* After segment->used has changed. */
static void state_update(struct weir_pool *pool, struct weir__segment *segment)
{
    bool vacant = segment->used == 0 && !segment->pinned;
    bool full = segment->used == segment->slab_count;
    if (full == (segment->state == WEIR__SEGMENT_FULL) &&
        vacant == (segment->state == WEIR__SEGMENT_VACANT))
        return;
    state_leave(pool, segment);
    state_enter(pool, segment);
}

/* The smallest index that no segment has. */
static int32_t index_unused(const struct weir_pool *pool)
{
    if (pool->segment_index_end == pool->segment_count)
        return (int32_t)pool->segment_count;
    for (uint32_t base = 0;; base += 64) {
        uint64_t seen = 0;
        for (const struct weir__segment *segment = pool->segments; segment != NULL;
             segment = segment->older) {
            uint32_t index = (uint32_t)segment->index;
            if (index >= base && index - base < 64)
                seen |= (uint64_t)1 << (index - base);
        }
        if (seen != UINT64_MAX)
            return (int32_t)(base + (uint32_t)__builtin_ctzll(~seen));
    }
}

static int segment_add(struct weir_pool *pool, bool pinned)
{
    void *memory;
    int rc = weir__pool_obtain(pool, pool->segment_bytes, pool->segment_bytes, &memory);
    if (rc < 0)
        return rc;

    struct weir__segment *segment = memory;
    segment->pool = pool;
    segment->free_slabs = NULL;
    segment->fresh = 1; /* slab 0 is told by its home */
    segment->used = 0;
    segment->slab_count = (uint32_t)(pool->segment_bytes >> pool->slab_shift);
    segment->index = index_unused(pool);
    segment->pinned = pinned;
    segment->slabs[0].home = NULL;
    segment->newer = NULL;
    segment->older = pool->segments;
    if (pool->segments != NULL)
        pool->segments->newer = segment;
    pool->segments = segment;
    __atomic_store_n(&pool->segment_count, pool->segment_count + 1, __ATOMIC_RELAXED);
    if ((uint32_t)segment->index >= pool->segment_index_end)
        pool->segment_index_end = (uint32_t)segment->index + 1;
    state_enter(pool, segment);
    return 0;
}

void weir__segment_remove(struct weir_pool *pool, struct weir__segment *segment)
{
    struct weir__segment_watch *next;
    for (struct weir__segment_watch *watch = pool->watches; watch != NULL; watch = next) {
        next = watch->next;
        watch->leaves(watch, segment);
    }
    state_leave(pool, segment);
    if (segment->newer != NULL)
        segment->newer->older = segment->older;
    else
        pool->segments = segment->older;
    if (segment->older != NULL)
        segment->older->newer = segment->newer;
    __atomic_store_n(&pool->segment_count, pool->segment_count - 1, __ATOMIC_RELAXED);
    if (pool->segment_count == 0)
        pool->segment_index_end = 0;
    weir__pool_release(pool, segment, pool->segment_bytes);
}

struct weir__segment *weir__pool_vacant(const struct weir_pool *pool)
{
    return pool->by_state[WEIR__SEGMENT_VACANT];
}

/* --- slabs ----------------------------------------------------------------------------------- */

/* Blocks of @block_bytes in a slab of which the first @taken_bytes are not to be had. */
static uint32_t slab_plan(const struct weir_pool *pool, size_t block_bytes, size_t taken_bytes,
                          bool own, uint32_t *lead_bytes)
{
    size_t align = block_bytes & -block_bytes;
    size_t room = slab_bytes(pool) - taken_bytes;
    size_t count = room / (block_bytes + (own ? 0 : sizeof(struct weir_block)));
    for (;; count--) {
        size_t lead = taken_bytes + (own ? 0 : count * sizeof(struct weir_block));
        lead = (lead + align - 1) & ~(align - 1);
        if (count == 0 ||
            (lead < slab_bytes(pool) && count * block_bytes <= slab_bytes(pool) - lead)) {
            *lead_bytes = (uint32_t)lead;
            return (uint32_t)count;
        }
    }
}

void weir__class_plan(const struct weir_pool *pool, const struct weir_pool_class *home,
                      struct weir__class *info)
{
    size_t block_bytes = home->block_bytes;
    bool own = slab_bytes(pool) / block_bytes <= WEIR__SLAB_OWN;
    info->slab_blocks = slab_plan(pool, block_bytes, 0, own, &info->lead_bytes);
    size_t header = header_bytes(pool);
    info->slab0_blocks = header >= slab_bytes(pool)
                             ? 0
                             : slab_plan(pool, block_bytes, header, own, &info->lead0_bytes);
}

static uint8_t *slab_start(const struct weir_pool *pool, struct weir__segment *segment,
                           const struct weir__slab *slab)
{
    return (uint8_t *)segment + ((size_t)(slab - segment->slabs) << pool->slab_shift);
}

/* Give a free slab to a class, as one that was never used. */
static void slab_assign(struct weir_pool *pool, struct weir_pool_class *home,
                        struct weir__segment *segment, struct weir__slab *slab)
{
    const struct weir__class *info = weir__class_info(home);
    bool first = slab == segment->slabs;
    uint8_t *start = slab_start(pool, segment, slab);
    size_t lead = first ? info->lead0_bytes : info->lead_bytes;
    size_t taken = first ? header_bytes(pool) : 0;

    slab->home = home;
    slab->count = first ? info->slab0_blocks : info->slab_blocks;
    slab->carved = 0;
    slab->pinned = false;
    slab->base = start + lead;
    bool own = slab_bytes(pool) / home->block_bytes <= WEIR__SLAB_OWN;
    slab->blocks = own ? slab->own : (struct weir_block *)(void *)(start + taken);
    if (!own && (slab - segment->slabs) % 2 != 0) {
        /* The other way round: first the blocks. Slabs begin where addresses are all alike, and so
         * would their descriptors, which would then contend for one half of the first cache. What
         * leads is at least as long as the descriptors, and so is what it leaves at the end. */
        slab->base = start;
        slab->blocks = (struct weir_block *)(void *)(start + slab_bytes(pool) - lead);
    }
    assert(slab->count != 0);
    weir__poison(start + taken, slab_bytes(pool) - taken);
    weir__unpoison(slab->blocks, slab->count * sizeof slab->blocks[0]);
    segment->used++;
    state_update(pool, segment);
}

/* A free slab of this segment that the class can use. Small classes go into slab 0, of which they
 * lose least; others do if there is nothing else. */
static struct weir__slab *segment_take(struct weir_pool *pool, struct weir_pool_class *home,
                                       struct weir__segment *segment)
{
    const struct weir__class *info = weir__class_info(home);
    struct weir__slab *slab = NULL;
    bool first_free = segment->slabs[0].home == NULL && info->slab0_blocks != 0;

    if (first_free && home->block_bytes <= slab_bytes(pool) / 16) {
        slab = segment->slabs;
    } else if (segment->free_slabs != NULL) {
        slab = segment->free_slabs;
        segment->free_slabs = slab->next;
    } else if (segment->fresh < segment->slab_count) {
        slab = &segment->slabs[segment->fresh++];
    } else if (first_free) {
        slab = segment->slabs;
    }
    if (slab != NULL)
        slab_assign(pool, home, segment, slab);
    return slab;
}

static void slab_give_back(struct weir_pool *pool, struct weir__slab *slab)
{
    size_t offset = (uintptr_t)slab & (pool->segment_bytes - 1);
    struct weir__segment *segment = (struct weir__segment *)(void *)((uint8_t *)slab - offset);
    bool first = slab == segment->slabs;
    size_t taken = first ? header_bytes(pool) : 0;

    weir__poison(slab_start(pool, segment, slab) + taken, slab_bytes(pool) - taken);
    slab->home = NULL;
    if (!first) {
        slab->next = segment->free_slabs;
        segment->free_slabs = slab;
    }
    segment->used--;
    state_update(pool, segment);
}

static bool segment_fits(const struct weir__class *info, const struct weir__segment *segment)
{
    return segment->free_slabs != NULL || segment->fresh < segment->slab_count ||
           (segment->slabs[0].home == NULL && info->slab0_blocks != 0);
}

/* Slabs are taken from the segment that is nearest to full, so that the others have a chance to
 * become vacant; from a vacant one last. */
static struct weir__slab *slab_find(struct weir_pool *pool, struct weir_pool_class *home)
{
    const struct weir__class *info = weir__class_info(home);
    struct weir__segment *best = NULL;
    struct weir__segment *segment = pool->by_state[WEIR__SEGMENT_ROOMY];
    for (int tried = 0; segment != NULL && tried < SEGMENTS_TRIED_MAX; tried++) {
        if ((best == NULL || segment->used > best->used) && segment_fits(info, segment))
            best = segment;
        segment = segment->next;
    }
    if (best == NULL)
        best = weir__pool_vacant(pool);
    return best == NULL ? NULL : segment_take(pool, home, best);
}

/* A slab for the class: a free one; one that a sweep finds; one of a new segment. */
static int slab_add(struct weir_pool *pool, struct weir_pool_class *home, struct weir__slab **ret)
{
    struct weir__slab *slab = slab_find(pool, home);
    if (slab == NULL) {
        uint64_t least = weir__pool_in_use(pool) / SWEEP_SHARE;
        if (weir__pool_sweep_if_due(pool, least) != 0) {
            slab = slab_find(pool, home);
            weir__pool_shrink(pool, pool->retain_bytes);
        }
    }
    if (slab == NULL) {
        int rc = segment_add(pool, false);
        /* It may have swept to make room, and found what is wanted. */
        slab = slab_find(pool, home);
        if (slab == NULL && rc == -ENOMEM && weir__pool_sweep_may_help(pool) &&
            weir__pool_sweep(pool) != 0)
            slab = slab_find(pool, home);
        if (slab == NULL)
            return rc < 0 ? rc : -ENOMEM;
    }
    weir__class_info(home)->slab_count++;
    *ret = slab;
    return 0;
}

int weir__class_refill(struct weir_pool *pool, struct weir_pool_class *home)
{
    struct weir__class *info = weir__class_info(home);
    struct weir__slab *slab = info->slabs;
    assert(*weir__class_free(home) == NULL);

    if (slab == NULL || slab->carved == slab->count) {
        if (info->spare != NULL) {
            slab = info->spare;
            info->spare = slab->next;
        } else {
            int rc = slab_add(pool, home, &slab);
            if (rc < 0)
                return rc;
        }
        slab->next = info->slabs;
        info->slabs = slab;
    }

    /* One at a time, so that a descriptor is not touched before its block is wanted. */
    struct weir_block *block = &slab->blocks[slab->carved];
    block->data = slab->base + (size_t)slab->carved * home->block_bytes;
    block->home = home;
    block->next = NULL;
    block->refs = 0;
    block->track = 0;
    *weir__class_free(home) = block;
    slab->carved++;
    weir__add(&info->carved, 1);
    /* All but this one are in use. */
    weir__raise(&info->carved_peak, info->carved);
    return 0;
}

/* What is wanted from the start, at least; SIZE_MAX if it does not fit. */
static size_t prealloc_bytes(const struct weir_pool *pool, const struct weir_pool_options *options)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < pool->class_count; i++) {
        size_t class_bytes;
        if (weir_mul_overflows(pool->head.classes[i].block_bytes, options->class_prealloc_blocks[i],
                               &class_bytes) ||
            weir_add_overflows(bytes, class_bytes, &bytes))
            return SIZE_MAX;
    }
    return bytes > options->prealloc_bytes ? bytes : options->prealloc_bytes;
}

int weir__pool_prealloc(struct weir_pool *pool, const struct weir_pool_options *options)
{
    /* What cannot be is not begun: it would take all memory before it failed. */
    size_t least = prealloc_bytes(pool, options);
    size_t most = pool->limit_bytes == SIZE_MAX ? ADDRESSABLE_BYTES : pool->limit_bytes;
    if (least > most)
        return pool->limit_bytes == SIZE_MAX ? -ENOMEM : -ENOBUFS;
    if (pool->quota != NULL && least > __atomic_load_n(&pool->quota->limit_bytes, __ATOMIC_RELAXED))
        return -ENOBUFS;

    size_t bytes = 0;
    while (bytes < options->prealloc_bytes) {
        int rc = segment_add(pool, true);
        if (rc < 0)
            return rc;
        bytes += pool->segment_bytes;
    }
    for (uint32_t i = 0; i < pool->class_count; i++) {
        uint64_t blocks = 0;
        while (blocks < options->class_prealloc_blocks[i]) {
            struct weir__slab *slab;
            int rc = slab_add(pool, &pool->head.classes[i], &slab);
            if (rc < 0)
                return rc;
            slab->pinned = true;
            slab->next = pool->infos[i].spare;
            pool->infos[i].spare = slab;
            blocks += slab->count;
        }
    }
    return 0;
}

/* --- what is free again ---------------------------------------------------------------------- */

/* Give each free block of the class to its slab. */
static void class_sort_out(struct weir_pool_class *home)
{
    for (struct weir__slab *slab = weir__class_info(home)->slabs; slab != NULL; slab = slab->next) {
        slab->free = NULL;
        slab->free_last = NULL;
        slab->free_count = 0;
    }
    struct weir_block **list = weir__class_free(home);
    struct weir_block *block = *list;
    *list = NULL;
    while (block != NULL) {
        struct weir_block *next = block->next;
        struct weir__slab *slab = weir__block_slab(block);
        block->next = NULL;
        if (slab->free_last == NULL)
            slab->free = block;
        else
            slab->free_last->next = block;
        slab->free_last = block;
        slab->free_count++;
        block = next;
    }
}

/* The class's free list anew, blocks of full slabs first: those of slabs that are nearly empty are
 * taken last, so that they may become empty. */
static void class_put_together(struct weir_pool_class *home)
{
    struct weir_block *first[SWEEP_BINS] = {NULL};
    struct weir_block *last[SWEEP_BINS] = {NULL};
    struct weir_block **list = weir__class_free(home);

    for (struct weir__slab *slab = weir__class_info(home)->slabs; slab != NULL; slab = slab->next) {
        if (slab->free_last == NULL)
            continue;
        uint64_t bin = (uint64_t)slab->free_count * SWEEP_BINS / (slab->count + 1);
        slab->free_last->next = first[bin];
        if (first[bin] == NULL)
            last[bin] = slab->free_last;
        first[bin] = slab->free;
    }
    for (int bin = SWEEP_BINS - 1; bin >= 0; bin--) {
        if (last[bin] == NULL)
            continue;
        last[bin]->next = *list;
        *list = first[bin];
    }
}

/* Sort all free blocks of the class by slab and take the empty slabs from it, those above
 * @keep_bytes. */
static size_t class_sweep(struct weir_pool *pool, struct weir_pool_class *home, size_t keep_bytes,
                          uint64_t operations)
{
    struct weir__class *info = weir__class_info(home);
    struct weir__slab **link = &info->slabs;
    size_t emptied = 0;

    info->swept_operations = operations;
    info->swept_releases = home->releases;
    if (*weir__class_free(home) == NULL)
        return 0;
    class_sort_out(home);
    while (*link != NULL) {
        struct weir__slab *slab = *link;
        size_t bytes = slab->carved * home->block_bytes;
        if (slab->free_count != slab->carved || slab->pinned) {
            link = &slab->next;
            continue;
        }
        if (bytes <= keep_bytes) {
            keep_bytes -= bytes;
            link = &slab->next;
            continue;
        }
        *link = slab->next;
        weir__subtract(&info->carved, slab->carved);
        info->slab_count--;
        slab_give_back(pool, slab);
        emptied++;
    }
    class_put_together(home);
    return emptied;
}

static uint64_t releases_so_far(const struct weir_pool *pool)
{
    uint64_t releases = 0;
    for (uint32_t i = 0; i < pool->class_count; i++)
        releases += pool->head.classes[i].releases;
    return releases;
}

static uint64_t operations_so_far(const struct weir_pool *pool)
{
    uint64_t operations = releases_so_far(pool);
    for (uint32_t i = 0; i < pool->class_count; i++)
        operations += pool->head.classes[i].allocations;
    return operations;
}

size_t weir__pool_sweep(struct weir_pool *pool)
{
    size_t emptied = 0;
    uint64_t operations = operations_so_far(pool);
    for (uint32_t i = 0; i < pool->class_count; i++)
        emptied += class_sweep(pool, &pool->head.classes[i], 0, operations);
    pool->swept_releases = releases_so_far(pool);
    weir__add(&pool->sweeps, 1);
    weir__add(&pool->slabs_emptied, emptied);
    return emptied;
}

/* Only releases make slabs empty; but the last one may have left some to their class. */
bool weir__pool_sweep_may_help(const struct weir_pool *pool)
{
    return releases_so_far(pool) != pool->swept_releases;
}

static uint64_t class_free_blocks(const struct weir_pool_class *home)
{
    return weir__class_info(home)->carved - weir__class_in_use(home);
}

/* The cost is that of looking at every free block of the class, so it is due when at least as many
 * blocks of any class came and went since the last time: a class that is no longer in demand is
 * looked at too, and it is the one that has empty slabs. */
static bool class_is_due(const struct weir_pool *pool, const struct weir_pool_class *home,
                         uint64_t operations)
{
    const struct weir__class *info = weir__class_info(home);
    uint64_t blocks = class_free_blocks(home);
    return blocks * home->block_bytes >= slab_bytes(pool) / 2 &&
           operations - info->swept_operations >= blocks && home->releases != info->swept_releases;
}

size_t weir__pool_sweep_if_due(struct weir_pool *pool, uint64_t least_free_bytes)
{
    uint64_t free_bytes = 0;
    for (uint32_t i = 0; i < pool->class_count; i++) {
        const struct weir_pool_class *home = &pool->head.classes[i];
        free_bytes += class_free_blocks(home) * home->block_bytes;
    }
    if (free_bytes < least_free_bytes)
        return 0;

    size_t emptied = 0;
    uint64_t operations = operations_so_far(pool);
    bool swept = false;
    for (uint32_t i = 0; i < pool->class_count; i++) {
        struct weir_pool_class *home = &pool->head.classes[i];
        if (!class_is_due(pool, home, operations))
            continue;
        emptied += class_sweep(pool, home, pool->infos[i].retain_bytes, operations);
        swept = true;
    }
    if (swept) {
        pool->swept_releases = UINT64_MAX; /* it may have left what a whole sweep takes */
        weir__add(&pool->sweeps, 1);
        weir__add(&pool->slabs_emptied, emptied);
    }
    return emptied;
}

void weir__pool_shrink(struct weir_pool *pool, size_t keep_bytes)
{
    while (pool->bytes_free > keep_bytes && weir__pool_evict(pool))
        ;
}

void weir__pool_tend(struct weir_pool *pool)
{
    if (WEIR_UNLIKELY(__atomic_load_n(&pool->trim_request, __ATOMIC_RELAXED) != 0)) {
        size_t request = __atomic_exchange_n(&pool->trim_request, 0, __ATOMIC_ACQUIRE);
        if (request != 0)
            (void)weir_pool_trim(pool, request - 1);
    }
    if (pool->retain_bytes == SIZE_MAX)
        return;
    uint64_t in_use = weir__pool_in_use(pool);
    if (pool->bytes_held - in_use > pool->retain_bytes)
        (void)weir__pool_sweep_if_due(pool, in_use / SWEEP_SHARE);
    weir__pool_shrink(pool, pool->retain_bytes);
}
