/* SPDX-License-Identifier: MIT */
#include "segment.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <weir/pool.h>

/* All slices but the first. */
#define ALL_SLICES (~UINT64_C(1))

/* Empty segments that are kept for whichever heap needs one next. */
#define KEPT_SEGMENTS 4

/* Segments looked at that may have room, before one is taken that has. */
#define TRIES 16

/* Pages that the system took back cost much more than reusing them, hence not so often. */
#define PURGE_INTERVAL_NS UINT64_C(50000000)

uint64_t weir__heap_segments_known[WEIR__HEAP_SEGMENTS_EVER / 64];
struct weir__heap_segment_totals weir__heap_segment_totals;
static struct weir__heap_segment *kept[KEPT_SEGMENTS];

size_t weir__heap_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void weir__heap_segment_note(const struct weir__heap_segment *segment)
{
    uintptr_t index = (uintptr_t)segment >> WEIR__HEAP_SEGMENT_SHIFT;
    assert(index < WEIR__HEAP_SEGMENTS_EVER);
    __atomic_fetch_or(&weir__heap_segments_known[index / 64], UINT64_C(1) << (index % 64),
                      __ATOMIC_RELEASE);
}

void weir__heap_segment_forget(const struct weir__heap_segment *segment)
{
    uintptr_t index = (uintptr_t)segment >> WEIR__HEAP_SEGMENT_SHIFT;
    __atomic_fetch_and(&weir__heap_segments_known[index / 64], ~(UINT64_C(1) << (index % 64)),
                       __ATOMIC_RELEASE);
}

/* --- runs of bits ---------------------------------------------------------------------------- */

static uint64_t run_mask(unsigned first, unsigned count)
{
    return (count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1) << first;
}

/* The bits at which @count ones begin. */
static uint64_t run_starts(uint64_t bits, unsigned count)
{
    for (unsigned covered = 1; covered < count;) {
        unsigned step = covered < count - covered ? covered : count - covered;
        bits &= bits >> step;
        covered += step;
    }
    return bits;
}

/* The logarithm of the longest run of ones, rounded down. */
static unsigned longest_run(uint64_t bits)
{
    if (bits == 0)
        return WEIR__HEAP_BIN_NONE;
    unsigned log = 0;
    for (bits &= bits >> 1; bits != 0; bits &= bits >> (1u << log))
        log++;
    return log;
}

static unsigned floor_log(unsigned count)
{
    return 31u - (unsigned)__builtin_clz(count);
}

static unsigned ones(uint64_t bits)
{
    return (unsigned)__builtin_popcountll(bits);
}

/* --- a heap's segments ----------------------------------------------------------------------- */

static void unbin(struct weir__heap *heap, struct weir__heap_segment *segment)
{
    if (segment->bin == WEIR__HEAP_BIN_NONE)
        return;
    if (segment->bin_previous != NULL)
        segment->bin_previous->bin_next = segment->bin_next;
    else
        heap->bins[segment->bin] = segment->bin_next;
    if (segment->bin_next != NULL)
        segment->bin_next->bin_previous = segment->bin_previous;
    segment->bin = WEIR__HEAP_BIN_NONE;
}

static void rebin(struct weir__heap *heap, struct weir__heap_segment *segment)
{
    unsigned bin = longest_run(segment->free);
    if (bin == segment->bin)
        return;
    unbin(heap, segment);
    segment->bin = (uint8_t)bin;
    if (bin == WEIR__HEAP_BIN_NONE)
        return;
    segment->bin_previous = NULL;
    segment->bin_next = heap->bins[bin];
    if (segment->bin_next != NULL)
        segment->bin_next->bin_previous = segment;
    heap->bins[bin] = segment;
}

static struct weir__heap_segment *segment_obtain(void)
{
    for (unsigned i = 0; i < KEPT_SEGMENTS; i++) {
        if (__atomic_load_n(&kept[i], __ATOMIC_RELAXED) == NULL)
            continue;
        struct weir__heap_segment *segment = __atomic_exchange_n(&kept[i], NULL, __ATOMIC_ACQUIRE);
        if (segment != NULL)
            return segment;
    }
    const struct weir_source *source = weir_source_mmap();
    struct weir__heap_segment *segment =
        source->obtain(source->context, WEIR__HEAP_SEGMENT_BYTES, WEIR__HEAP_SEGMENT_BYTES);
    if (segment == NULL)
        return NULL;
    __atomic_fetch_add(&weir__heap_segment_totals.segment_bytes, WEIR__HEAP_SEGMENT_BYTES,
                       __ATOMIC_RELAXED);
    segment->free = ALL_SLICES;
    weir__heap_segment_note(segment);
    return segment;
}

static void segment_release(struct weir__heap_segment *segment)
{
    int saved = errno;
    weir__heap_segment_forget(segment);
    weir__heap_unmap(segment, WEIR__HEAP_SEGMENT_BYTES);
    __atomic_fetch_sub(&weir__heap_segment_totals.segment_bytes, WEIR__HEAP_SEGMENT_BYTES,
                       __ATOMIC_RELAXED);
    errno = saved;
}

static struct weir__heap_segment *segment_add(struct weir__heap *heap)
{
    struct weir__heap_segment *segment = segment_obtain();
    if (segment == NULL)
        return NULL;
    assert(segment->free == ALL_SLICES);
    segment->heap = heap;
    segment->bin = WEIR__HEAP_BIN_NONE;
    segment->previous = NULL;
    segment->next = heap->segments;
    if (segment->next != NULL)
        segment->next->previous = segment;
    heap->segments = segment;
    heap->segment_count++;
    heap->empty_segments++;
    heap->dirty_slices += ones(segment->dirty & segment->free);
    rebin(heap, segment);
    return segment;
}

/* @segment is empty: another heap may have it, or the system. */
static void segment_drop(struct weir__heap *heap, struct weir__heap_segment *segment)
{
    assert(segment->free == ALL_SLICES);
    unbin(heap, segment);
    if (segment->previous != NULL)
        segment->previous->next = segment->next;
    else
        heap->segments = segment->next;
    if (segment->next != NULL)
        segment->next->previous = segment->previous;
    heap->segment_count--;
    heap->empty_segments--;
    heap->dirty_slices -= ones(segment->dirty & segment->free);
    segment->heap = &weir__heap_nobody;
    for (unsigned i = 0; i < KEPT_SEGMENTS; i++) {
        struct weir__heap_segment *none = NULL;
        if (__atomic_load_n(&kept[i], __ATOMIC_RELAXED) == NULL &&
            __atomic_compare_exchange_n(&kept[i], &none, segment, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return;
    }
    segment_release(segment);
}

void weir__heap_segments_drop(struct weir__heap *heap, uint32_t keep)
{
    /* Empty ones are all in the last bin. */
    struct weir__heap_segment *next;
    for (struct weir__heap_segment *segment = heap->bins[WEIR__HEAP_BINS - 1];
         segment != NULL && heap->empty_segments > keep; segment = next) {
        next = segment->bin_next;
        if (segment->free == ALL_SLICES)
            segment_drop(heap, segment);
    }
}

bool weir__heap_segments_flush(void)
{
    bool any = false;
    for (unsigned i = 0; i < KEPT_SEGMENTS; i++) {
        struct weir__heap_segment *segment = __atomic_exchange_n(&kept[i], NULL, __ATOMIC_ACQUIRE);
        if (segment == NULL)
            continue;
        segment_release(segment);
        any = true;
    }
    return any;
}

/* --- slices ---------------------------------------------------------------------------------- */

static struct weir__heap_segment *find_room(struct weir__heap *heap, unsigned slices)
{
    unsigned bin = floor_log(slices);
    unsigned tries = 0;
    for (struct weir__heap_segment *segment = heap->bins[bin]; segment != NULL && tries < TRIES;
         segment = segment->bin_next, tries++)
        if (run_starts(segment->free, slices) != 0)
            return segment;
    while (++bin < WEIR__HEAP_BINS)
        if (heap->bins[bin] != NULL)
            return heap->bins[bin];
    return segment_add(heap);
}

/* The slices of @mask are in use from now on. Returns whether they are as the system made them. */
static bool slices_use(struct weir__heap *heap, struct weir__heap_segment *segment, uint64_t mask)
{
    assert((segment->free & mask) == mask);
    unsigned dirty = ones(segment->dirty & mask);
    if (segment->free == ALL_SLICES)
        heap->empty_segments--;
    segment->free &= ~mask;
    segment->dirty |= mask;
    heap->dirty_slices -= dirty;
    heap->used_slices += ones(mask);
    rebin(heap, segment);
    return dirty == 0;
}

static void slices_unuse(struct weir__heap *heap, struct weir__heap_segment *segment, uint64_t mask)
{
    assert((segment->free & mask) == 0);
    segment->free |= mask;
    heap->dirty_slices += ones(mask);
    heap->used_slices -= ones(mask);
    rebin(heap, segment);
    if (segment->free == ALL_SLICES && ++heap->empty_segments > 1)
        segment_drop(heap, segment);
    weir__heap_segments_purge_some(heap, 64 + heap->used_slices / 8);
}

/* Freeing a block in a tail comes to weir__heap_settle(), because of `used`. */
static void tails_make(struct weir__heap_slab *slab, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        slab[i].free = NULL;
        slab[i].used = 1;
        slab[i].state = WEIR__HEAP_SLAB_TAIL;
        slab[i].back = (uint8_t)i;
    }
}

struct weir__heap_slab *weir__heap_slices_take(struct weir__heap *heap, unsigned slices)
{
    struct weir__heap_segment *segment = find_room(heap, slices);
    if (segment == NULL)
        return NULL;
    unsigned first = (unsigned)__builtin_ctzll(run_starts(segment->free, slices));
    struct weir__heap_slab *slab = &segment->slabs[first];
    slab->zero = slices_use(heap, segment, run_mask(first, slices));
    slab->slices = (uint8_t)slices;
    slab->back = 0;
    tails_make(slab, 1, slices);
    return slab;
}

void weir__heap_slices_give(struct weir__heap *heap, struct weir__heap_slab *slab)
{
    struct weir__heap_segment *segment = weir__heap_slab_segment(slab);
    slab->state = WEIR__HEAP_SLAB_TAIL;
    slices_unuse(heap, segment, run_mask((unsigned)(slab - segment->slabs), slab->slices));
}

bool weir__heap_slices_resize(struct weir__heap *heap, struct weir__heap_slab *slab,
                              unsigned slices)
{
    struct weir__heap_segment *segment = weir__heap_slab_segment(slab);
    unsigned first = (unsigned)(slab - segment->slabs);
    unsigned had = slab->slices;
    if (slices > WEIR__HEAP_SLICES - first)
        return false;
    if (slices > had) {
        uint64_t more = run_mask(first + had, slices - had);
        if ((segment->free & more) != more)
            return false;
        (void)slices_use(heap, segment, more);
        tails_make(slab, had, slices);
    }
    slab->slices = (uint8_t)slices;
    if (slices < had)
        slices_unuse(heap, segment, run_mask(first + slices, had - slices));
    return true;
}

/* --- giving back ----------------------------------------------------------------------------- */

static void segment_purge(struct weir__heap *heap, struct weir__heap_segment *segment)
{
    uint64_t left = segment->free & segment->dirty;
    while (left != 0) {
        unsigned first = (unsigned)__builtin_ctzll(left);
        uint64_t rest = ~(left >> first);
        unsigned count = rest == 0 ? 64 - first : (unsigned)__builtin_ctzll(rest);
        uint64_t mask = run_mask(first, count);
        /* Locked memory cannot be given back: it stays dirty. */
        if (madvise((uint8_t *)segment + ((size_t)first << WEIR__HEAP_SLICE_SHIFT),
                    (size_t)count << WEIR__HEAP_SLICE_SHIFT, MADV_DONTNEED) == 0) {
            segment->dirty &= ~mask;
            heap->dirty_slices -= count;
        }
        left &= ~mask;
    }
}

/* Until no more than @keep_slices dirty ones are free; roomy segments first. */
static void purge_to(struct weir__heap *heap, uint32_t keep_slices)
{
    int saved = errno;
    for (unsigned bin = WEIR__HEAP_BINS; bin-- > 0 && heap->dirty_slices > keep_slices;)
        for (struct weir__heap_segment *segment = heap->bins[bin];
             segment != NULL && heap->dirty_slices > keep_slices; segment = segment->bin_next)
            segment_purge(heap, segment);
    errno = saved;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void weir__heap_segments_purge_some(struct weir__heap *heap, uint32_t keep_slices)
{
    if (heap->dirty_slices <= keep_slices)
        return;
    uint64_t now = now_ns();
    if (now < heap->purge_after_ns)
        return;
    purge_to(heap, keep_slices / 2);
    heap->purge_after_ns = now + PURGE_INTERVAL_NS;
}

bool weir__heap_segments_purge(struct weir__heap *heap)
{
    bool any = heap->dirty_slices != 0;
    purge_to(heap, 0);
    return any;
}
