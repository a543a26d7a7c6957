/* SPDX-License-Identifier: MIT */
#include "heap.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <weir/pool.h>

#include "segment.h"

/* Blocks are put on the free list a page at a time, so that only what is needed is touched. */
#define CARVE_BYTES 4096u

/* A slab has at least so many blocks. */
#define SLAB_BLOCKS_MIN 8u

__thread struct weir__heap *weir__heap_mine;
struct weir__heap weir__heap_nobody;
void (*weir__heap_on_acquire)(struct weir__heap *heap);

static struct weir__heap *heaps; /* all that ever were; they are never given back */
static uint32_t orphans;

/* Stands in direct[] for classes without a slab; never written to. */
static struct weir__heap_slab no_slab;

/* --- slabs ----------------------------------------------------------------------------------- */

static void direct_set(struct weir__heap *heap, unsigned class, struct weir__heap_slab *slab)
{
    size_t last = weir__heap_class_bytes(class) >> WEIR__HEAP_GRAIN_SHIFT;
    size_t first =
        class == 0 ? 0 : (weir__heap_class_bytes(class - 1) >> WEIR__HEAP_GRAIN_SHIFT) + 1;
    if (last > WEIR__HEAP_DIRECT)
        return;
    for (size_t i = first; i <= last; i++)
        heap->direct[i] = slab;
}

static void list_append(struct weir__heap_class_list *list, struct weir__heap_slab *slab)
{
    slab->next = NULL;
    slab->previous = list->last;
    if (list->last != NULL)
        list->last->next = slab;
    else
        list->first = slab;
    list->last = slab;
}

static void list_remove(struct weir__heap_class_list *list, struct weir__heap_slab *slab)
{
    if (slab->previous != NULL)
        slab->previous->next = slab->next;
    else
        list->first = slab->next;
    if (slab->next != NULL)
        slab->next->previous = slab->previous;
    else
        list->last = slab->previous;
}

static void slab_carve(struct weir__heap_slab *slab)
{
    uint32_t count = CARVE_BYTES / slab->block_bytes;
    uint32_t left = slab->capacity - slab->carved;
    if (count == 0)
        count = 1;
    if (count > left)
        count = left;
    uint8_t *at = weir__heap_slab_base(slab) + (size_t)slab->carved * slab->block_bytes;
    struct weir__heap_link *first = (struct weir__heap_link *)(void *)at;
    struct weir__heap_link *block = first;
    for (uint32_t i = 1; i < count; i++) {
        at += slab->block_bytes;
        block->next = (struct weir__heap_link *)(void *)at;
        block = block->next;
    }
    block->next = NULL;
    slab->free = first;
    slab->carved += count;
}

static struct weir__heap_slab *slab_make(struct weir__heap *heap, unsigned class)
{
    size_t bytes = weir__heap_class_bytes(class);
    size_t slices =
        (SLAB_BLOCKS_MIN * bytes + WEIR__HEAP_SLICE_BYTES - 1) >> WEIR__HEAP_SLICE_SHIFT;
    struct weir__heap_slab *slab = weir__heap_slices_take(heap, (unsigned)slices);
    if (slab == NULL)
        return NULL;
    slab->free = NULL;
    slab->used = 0;
    slab->block_bytes = (uint32_t)bytes;
    slab->carved = 0;
    slab->capacity = (uint32_t)((slices << WEIR__HEAP_SLICE_SHIFT) / bytes);
    slab->class = (uint8_t) class;
    slab->state = WEIR__HEAP_SLAB_LISTED;
    list_append(&heap->classes[class], slab);
    return slab;
}

static void slab_give(struct weir__heap *heap, struct weir__heap_slab *slab)
{
    assert(slab->state == WEIR__HEAP_SLAB_LISTED && slab->used == 0);
    list_remove(&heap->classes[slab->class], slab);
    weir__heap_slices_give(heap, slab);
}

static void current_end(struct weir__heap *heap, struct weir__heap_slab *slab)
{
    assert(slab->state == WEIR__HEAP_SLAB_CURRENT && slab->used != 0);
    slab->state = WEIR__HEAP_SLAB_LISTED;
    slab->used--;
    direct_set(heap, slab->class, &no_slab);
}

/* --- freeing --------------------------------------------------------------------------------- */

void weir__heap_settle(struct weir__heap_slab *slab, void *memory)
{
    struct weir__heap *heap = weir__heap_slab_segment(slab)->heap;
    switch (slab->state) {
    case WEIR__HEAP_SLAB_TAIL:
        /* Undo it here, do it where it belongs. */
        slab->free = NULL;
        slab->used = 1;
        slab -= slab->back;
        ((struct weir__heap_link *)memory)->next = slab->free;
        slab->free = memory;
        if (--slab->used == 0)
            weir__heap_settle(slab, memory);
        break;
    case WEIR__HEAP_SLAB_FULL:
        slab->used = slab->capacity - 1;
        slab->state = WEIR__HEAP_SLAB_LISTED;
        list_append(&heap->classes[slab->class], slab);
        break;
    case WEIR__HEAP_SLAB_LISTED:
        slab_give(heap, slab);
        break;
    default:
        assert(slab->state == WEIR__HEAP_SLAB_SPAN);
        weir__heap_slices_give(heap, slab);
        break;
    }
}

/* Free a block of @heap, which the caller owns or has claimed. */
static void free_own(struct weir__heap_link *block)
{
    struct weir__heap_slab *slab = weir__heap_slab_at(weir__heap_segment_of(block), block);
    block->next = slab->free;
    slab->free = block;
    if (--slab->used == 0)
        weir__heap_settle(slab, block);
}

/* Put what others freed where it belongs. Returns whether there was anything. */
static bool take_back(struct weir__heap *heap)
{
    if (__atomic_load_n(&heap->remote, __ATOMIC_RELAXED) == NULL)
        return false;
    struct weir__heap_link *block = __atomic_exchange_n(&heap->remote, NULL, __ATOMIC_ACQUIRE);
    while (block != NULL) {
        struct weir__heap_link *next = block->next;
        free_own(block);
        block = next;
    }
    return true;
}

/* Claim an orphan and put it in order. Whoever pushed after the list was taken finds it claimed and
 * leaves, hence the second look. Returns whether there was anything to give back. */
static bool orphan_settle(struct weir__heap *heap, bool purge)
{
    bool any = false;
    do {
        uint32_t state = WEIR__HEAP_ORPHAN;
        if (!__atomic_compare_exchange_n(&heap->state, &state, WEIR__HEAP_CLAIMED, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return any;
        (void)take_back(heap);
        any |= heap->empty_segments != 0;
        weir__heap_segments_drop(heap, 0);
        if (purge)
            any |= weir__heap_segments_purge(heap);
        __atomic_store_n(&heap->state, WEIR__HEAP_ORPHAN, __ATOMIC_SEQ_CST);
    } while (__atomic_load_n(&heap->remote, __ATOMIC_SEQ_CST) != NULL);
    return any;
}

void weir__heap_free_foreign(struct weir__heap_segment *segment, void *memory)
{
    struct weir__heap *heap = segment->heap;
    struct weir__heap_link *block = memory;
    if (heap == &weir__heap_nobody) {
        weir__heap_large_free(segment);
        return;
    }
    struct weir__heap_link *first = __atomic_load_n(&heap->remote, __ATOMIC_RELAXED);
    do
        block->next = first;
    while (!__atomic_compare_exchange_n(&heap->remote, &first, block, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
    if (WEIR_UNLIKELY(__atomic_load_n(&heap->state, __ATOMIC_SEQ_CST) == WEIR__HEAP_ORPHAN))
        (void)orphan_settle(heap, false);
}

/* --- threads --------------------------------------------------------------------------------- */

static struct weir__heap *heap_adopt(void)
{
    if (__atomic_load_n(&orphans, __ATOMIC_RELAXED) == 0)
        return NULL;
    for (struct weir__heap *heap = __atomic_load_n(&heaps, __ATOMIC_ACQUIRE); heap != NULL;
         heap = heap->next) {
        uint32_t state = WEIR__HEAP_ORPHAN;
        if (__atomic_load_n(&heap->state, __ATOMIC_RELAXED) == state &&
            __atomic_compare_exchange_n(&heap->state, &state, WEIR__HEAP_OWNED, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
            __atomic_fetch_sub(&orphans, 1, __ATOMIC_RELAXED);
            return heap;
        }
    }
    return NULL;
}

static struct weir__heap *heap_make(void)
{
    const struct weir_source *source = weir_source_mmap();
    size_t page_bytes = weir__heap_page_bytes();
    size_t bytes = (sizeof(struct weir__heap) + page_bytes - 1) & ~(page_bytes - 1);
    struct weir__heap *heap = source->obtain(source->context, bytes, page_bytes);
    if (heap == NULL)
        return NULL;
    for (size_t i = 0; i <= WEIR__HEAP_DIRECT; i++)
        heap->direct[i] = &no_slab;
    heap->next = __atomic_load_n(&heaps, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&heaps, &heap->next, heap, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    return heap;
}

static struct weir__heap *heap_mine(void)
{
    struct weir__heap *heap = weir__heap_mine;
    if (WEIR_LIKELY(heap != NULL))
        return heap;
    heap = heap_adopt();
    if (heap == NULL)
        heap = heap_make();
    if (heap == NULL)
        return NULL;
    weir__heap_mine = heap;
    /* Last, because it may allocate. */
    if (weir__heap_on_acquire != NULL)
        weir__heap_on_acquire(heap);
    return heap;
}

/* Let go of slabs that are allocated from and empty. */
static void currents_end(struct weir__heap *heap)
{
    for (unsigned class = 0; class < WEIR__HEAP_CLASSES; class ++) {
        struct weir__heap_slab *slab = heap->classes[class].first;
        if (slab == NULL || slab->state != WEIR__HEAP_SLAB_CURRENT)
            continue;
        current_end(heap, slab);
        if (slab->used == 0)
            slab_give(heap, slab);
    }
}

void weir__heap_abandon(struct weir__heap *heap)
{
    assert(heap == weir__heap_mine);
    weir__heap_mine = NULL;
    (void)take_back(heap);
    currents_end(heap);
    weir__heap_segments_drop(heap, 0);
    weir__heap_segments_purge_some(heap, 8);
    __atomic_fetch_add(&orphans, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&heap->state, WEIR__HEAP_ORPHAN, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&heap->remote, __ATOMIC_SEQ_CST) != NULL)
        (void)orphan_settle(heap, false);
}

bool weir__heap_trim(void)
{
    bool any = false;
    struct weir__heap *own = weir__heap_mine;
    if (own != NULL) {
        (void)take_back(own);
        currents_end(own);
        any |= own->empty_segments != 0;
        weir__heap_segments_drop(own, 0);
        any |= weir__heap_segments_purge(own);
    }
    for (struct weir__heap *heap = __atomic_load_n(&heaps, __ATOMIC_ACQUIRE); heap != NULL;
         heap = heap->next)
        any |= orphan_settle(heap, true);
    any |= weir__heap_segments_flush();
    any |= weir__heap_large_flush();
    return any;
}

/* --- allocating ------------------------------------------------------------------------------ */

/* The first slab of @class that has a free block, made current; NULL: no memory. *@carved says that
 * all its free blocks have never been used. */
static struct weir__heap_slab *class_slab(struct weir__heap *heap, unsigned class, bool *carved)
{
    struct weir__heap_class_list *list = &heap->classes[class];
    struct weir__heap_slab *slab;
    while ((slab = list->first) != NULL) {
        if (slab->free != NULL)
            break;
        bool more = slab->carved < slab->capacity;
        if (more && (slab->next == NULL || slab->next->free == NULL)) {
            slab_carve(slab);
            *carved = true;
            break;
        }
        if (slab->state == WEIR__HEAP_SLAB_CURRENT)
            current_end(heap, slab);
        list_remove(list, slab);
        if (more) { /* others first, which have been touched already */
            list_append(list, slab);
            continue;
        }
        assert(slab->used == slab->capacity);
        slab->state = WEIR__HEAP_SLAB_FULL;
        slab->used = 1;
    }
    if (slab == NULL) {
        slab = slab_make(heap, class);
        if (slab == NULL)
            return NULL;
        slab_carve(slab);
        *carved = true;
    }
    if (slab->state != WEIR__HEAP_SLAB_CURRENT) {
        slab->state = WEIR__HEAP_SLAB_CURRENT;
        slab->used++;
        direct_set(heap, class, slab);
    }
    return slab;
}

static void *class_alloc(struct weir__heap *heap, size_t size, bool zero)
{
    unsigned class = weir__heap_class_of(size);
    struct weir__heap_slab *slab = heap->classes[class].first;
    bool carved = false;
    if (slab == NULL || slab->state != WEIR__HEAP_SLAB_CURRENT || slab->free == NULL)
        slab = class_slab(heap, class, &carved);
    if (slab == NULL)
        return NULL;
    struct weir__heap_link *block = slab->free;
    slab->free = block->next;
    slab->used++;
    if (zero && carved && slab->zero)
        block->next = NULL;
    else if (zero)
        memset(block, 0, size);
    return block;
}

static void *span_alloc(struct weir__heap *heap, size_t size, bool *zero)
{
    size_t slices = (size + WEIR__HEAP_SLICE_BYTES - 1) >> WEIR__HEAP_SLICE_SHIFT;
    struct weir__heap_slab *slab = weir__heap_slices_take(heap, (unsigned)slices);
    if (slab == NULL)
        return NULL;
    slab->state = WEIR__HEAP_SLAB_SPAN;
    slab->class = WEIR__HEAP_CLASS_SPAN;
    slab->free = NULL;
    slab->used = 1;
    slab->carved = 1;
    slab->capacity = 1;
    slab->block_bytes = (uint32_t)((size + 4095) & ~(size_t)4095);
    *zero = slab->zero;
    return weir__heap_slab_base(slab);
}

/* *@zero is whether the block must be zero, and afterwards whether it is. */
static void *try_alloc(size_t align, size_t size, bool *zero)
{
    struct weir__heap *heap = NULL;
    if (size <= WEIR__HEAP_SPAN_MAX_BYTES && align <= WEIR__HEAP_SLICE_BYTES) {
        heap = heap_mine();
        if (heap == NULL)
            return NULL;
        (void)take_back(heap);
    }
    if (heap == NULL)
        return weir__heap_large_alloc(align, size, zero);
    if (size <= WEIR__HEAP_CLASS_MAX_BYTES && align <= WEIR__HEAP_CLASS_MAX_BYTES) {
        size_t rounded = (size + align - 1) & ~(align - 1);
        if (rounded <= WEIR__HEAP_CLASS_MAX_BYTES) {
            bool clear = *zero;
            *zero = true;
            return class_alloc(heap, rounded, clear);
        }
    }
    return span_alloc(heap, size == 0 ? 1 : size, zero);
}

/* With @zero the result is zero. What is kept for reuse is the last resort. */
static void *alloc(size_t align, size_t size, bool zero)
{
    bool is_zero = zero;
    void *memory = NULL;
    if (size <= PTRDIFF_MAX) {
        int saved = errno;
        memory = try_alloc(align, size, &is_zero);
        if (WEIR_UNLIKELY(memory == NULL) && weir__heap_trim()) {
            is_zero = zero;
            memory = try_alloc(align, size, &is_zero);
        }
        errno = saved;
    }
    if (WEIR_UNLIKELY(memory == NULL))
        errno = ENOMEM;
    else if (zero && !is_zero)
        memset(memory, 0, size);
    return memory;
}

void *weir__heap_alloc_slow(size_t size, bool zero)
{
    struct weir__heap *heap = weir__heap_mine;
    if (heap != NULL && size <= WEIR__HEAP_CLASS_MAX_BYTES) {
        struct weir__heap_slab *slab = heap->classes[weir__heap_class_of(size)].first;
        if (slab != NULL && slab->state == WEIR__HEAP_SLAB_CURRENT && slab->free != NULL) {
            struct weir__heap_link *block = slab->free;
            slab->free = block->next;
            slab->used++;
            return zero ? memset(block, 0, size) : block;
        }
    }
    return alloc(1, size, zero);
}

void *weir__heap_alloc_aligned(size_t align, size_t size)
{
    assert(align != 0 && (align & (align - 1)) == 0);
    return alloc(align, size == 0 ? 1 : size, false);
}

/* --- blocks in use --------------------------------------------------------------------------- */

/* Any thread may ask: what is read does not change while the block is in use. */
static struct weir__heap_slab *slab_of(struct weir__heap_segment *segment, const void *memory)
{
    struct weir__heap_slab *slab = weir__heap_slab_at(segment, memory);
    return slab - slab->back;
}

size_t weir__heap_usable(const void *memory)
{
    if (!weir__heap_segment_is_known(memory))
        return 0;
    struct weir__heap_segment *segment = weir__heap_segment_of(memory);
    if (segment->heap == &weir__heap_nobody)
        return segment->data_bytes;
    return slab_of(segment, memory)->block_bytes;
}

void *weir__heap_resize(void *memory, size_t size)
{
    struct weir__heap_segment *segment = weir__heap_segment_of(memory);
    if (size > PTRDIFF_MAX)
        return NULL;
    if (segment->heap == &weir__heap_nobody)
        return size > WEIR__HEAP_SPAN_MAX_BYTES ? weir__heap_large_resize(segment, size) : NULL;
    struct weir__heap_slab *slab = slab_of(segment, memory);
    /* A smaller block is worth the copy if half of this one would be unused. */
    if (slab->class != WEIR__HEAP_CLASS_SPAN)
        return size <= slab->block_bytes && (size > slab->block_bytes / 2 || slab->class == 0)
                   ? memory
                   : NULL;
    if (size <= WEIR__HEAP_CLASS_MAX_BYTES || size > WEIR__HEAP_SPAN_MAX_BYTES)
        return NULL;
    size_t slices = (size + WEIR__HEAP_SLICE_BYTES - 1) >> WEIR__HEAP_SLICE_SHIFT;
    if (slices != slab->slices &&
        (segment->heap != weir__heap_mine ||
         !weir__heap_slices_resize(segment->heap, slab, (unsigned)slices)))
        return slices < slab->slices ? memory : NULL;
    slab->block_bytes = (uint32_t)((size + 4095) & ~(size_t)4095);
    return memory;
}
