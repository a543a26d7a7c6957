/* SPDX-License-Identifier: MIT */
/*
 * heap: the memory of one thread, for a general allocator. Private to lib/malloc.
 *
 *     void *memory = weir__heap_alloc(100);     // of the calling thread's heap
 *     weir__heap_free(memory);                  // on any thread
 *
 * Memory comes in segments of 4 MiB, aligned to their size, so that the segment of a block is found
 * by masking its address. A segment is cut into 64 slices of 64 KiB; the first holds the segment's
 * header, and one descriptor per slice. A slab is a run of slices that holds blocks of one class; a
 * span is a run that holds one block. What is larger than a span has a mapping of its own, which
 * begins with the same header, so that it is found the same way.
 *
 *     size              is                                    and is found in
 *     1 to 32 KiB       a block of one of 72 classes          a slab of 1 to 4 slices
 *     up to 1 MiB       a span                                its slices
 *     more              a large block                         its own mapping
 *
 * Invariants   All blocks of a segment belong to the heap that the segment names, and that does not
 *              change while one of them is in use. A free block's first word is the list's link;
 *              there is no other bookkeeping inside blocks. Slabs start on slices: a block whose
 *              class is a multiple of an alignment up to 64 KiB is aligned to it.
 * Threads      A heap belongs to one thread, which alone changes it, with no lock and no atomic
 *              read-modify-write. Others push what they free on its list `remote`, which the owner
 *              takes back in one exchange. A thread that ends leaves an orphan; who starts a thread
 *              adopts one, and who frees a block of one claims it for as long as it takes to put
 *              the block in its place.
 * fork         Nothing here is ever locked, so a child can find nothing locked. Its thread goes on
 *              with the heap it had. The heaps of the threads that are not there any more may have
 *              been left in the middle of a change: nobody adopts them, what the child frees of
 *              their blocks stays on their lists.
 */
#ifndef WEIR_MALLOC_HEAP_H
#define WEIR_MALLOC_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>

#define WEIR__HEAP_SEGMENT_SHIFT 22
#define WEIR__HEAP_SEGMENT_BYTES ((size_t)1 << WEIR__HEAP_SEGMENT_SHIFT)
#define WEIR__HEAP_SLICE_SHIFT 16
#define WEIR__HEAP_SLICE_BYTES ((size_t)1 << WEIR__HEAP_SLICE_SHIFT)
#define WEIR__HEAP_SLICES 64
#define WEIR__HEAP_GRAIN_SHIFT \
    4 /* classes up to 128 bytes, and the direct table, step by 16 bytes */
#define WEIR__HEAP_CLASSES 72
#define WEIR__HEAP_CLASS_SPAN WEIR__HEAP_CLASSES /* none: the class field of a span */
#define WEIR__HEAP_CLASS_MAX_BYTES ((size_t)32 << 10)
#define WEIR__HEAP_DIRECT_MAX_BYTES ((size_t)2 << 10)
#define WEIR__HEAP_DIRECT (WEIR__HEAP_DIRECT_MAX_BYTES >> WEIR__HEAP_GRAIN_SHIFT)
#define WEIR__HEAP_SPAN_MAX_BYTES ((size_t)1 << 20)
#define WEIR__HEAP_ADDRESS_BITS 48
#define WEIR__HEAP_SEGMENTS_EVER ((size_t)1 << (WEIR__HEAP_ADDRESS_BITS - WEIR__HEAP_SEGMENT_SHIFT))

struct weir__heap;

/* A block that is free. */
struct weir__heap_link {
    struct weir__heap_link *next;
};

enum weir__heap_slab_state {
    WEIR__HEAP_SLAB_TAIL, /* no slab: a further slice of the one `back` slices before, or unused */
    WEIR__HEAP_SLAB_SPAN, /* one block */
    WEIR__HEAP_SLAB_FULL, /* all blocks in use; in no list; `used` is 1, whatever is in use */
    WEIR__HEAP_SLAB_LISTED,  /* in its class's list */
    WEIR__HEAP_SLAB_CURRENT, /* first of that list, and allocated from; counts as one of `used` */
};

/*
 * Each slice's descriptor; that of a slab's first slice describes the slab.
 *
 * `used` is kept such that freeing has one thing to test: it falls to 0 when the slab is empty,
 * and also at whatever else weir__heap_settle() has to look at.
 */
struct weir__heap_slab {
    struct weir__heap_link *free;
    uint32_t used;
    uint32_t block_bytes;
    uint32_t carved;   /* blocks that have ever been on the free list */
    uint32_t capacity; /* blocks */
    uint8_t class;
    uint8_t state;
    uint8_t slices;
    uint8_t back;
    bool zero; /* what is not carved yet was never written to */
    struct weir__heap_slab *next;
    struct weir__heap_slab *previous;
} __attribute__((aligned(64)));

/* What a segment, or the mapping of a large block, starts with. */
struct weir__heap_segment {
    struct weir__heap *heap; /* weir__heap_nobody: a large block */

    /* Of a large block: */
    uint8_t *data;
    size_t data_bytes; /* from data to the end of the mapping */
    uint8_t *map;      /* the whole mapping */
    size_t map_bytes;

    /* Of a segment: a bit for each slice, that of the first is never set in `free`. */
    uint64_t free __attribute__((aligned(64)));
    uint64_t dirty;                  /* has been in use since the system handed it out */
    struct weir__heap_segment *next; /* of the heap's */
    struct weir__heap_segment *previous;
    struct weir__heap_segment *bin_next; /* with as much room */
    struct weir__heap_segment *bin_previous;
    uint8_t bin;
    struct weir__heap_slab slabs[WEIR__HEAP_SLICES];
};

/* Segments by the logarithm of their longest run of free slices. */
#define WEIR__HEAP_BINS 6
#define WEIR__HEAP_BIN_NONE WEIR__HEAP_BINS

struct weir__heap_class_list {
    struct weir__heap_slab *first;
    struct weir__heap_slab *last;
};

enum weir__heap_state {
    WEIR__HEAP_OWNED,   /* by a thread, or by one that a fork left behind */
    WEIR__HEAP_ORPHAN,  /* by nobody */
    WEIR__HEAP_CLAIMED, /* an orphan that some thread is putting in order */
};

struct weir__heap {
    /* Where to allocate, by size in grains; an empty slab where there is nothing. */
    struct weir__heap_slab *direct[WEIR__HEAP_DIRECT + 1];
    struct weir__heap_class_list classes[WEIR__HEAP_CLASSES];
    struct weir__heap_segment *segments;
    struct weir__heap_segment *bins[WEIR__HEAP_BINS];
    uint32_t segment_count;
    uint32_t empty_segments;
    uint32_t used_slices;
    uint32_t dirty_slices; /* free ones, that were in use */
    uint64_t purge_after_ns;
    struct weir__heap *next; /* of all heaps that ever were */

    /* What other threads write. */
    struct weir__heap_link *remote __attribute__((aligned(128)));
    uint32_t state;
};

/* The calling thread's heap; NULL: it has not allocated yet, or is ending. Not the address of
 * something that is initialised, because the dynamic loader may allocate before it is. */
extern __thread struct weir__heap *weir__heap_mine
    __attribute__((tls_model("initial-exec"), visibility("hidden")));
extern struct weir__heap weir__heap_nobody;

/* A bit for each place where a segment may be. */
extern uint64_t weir__heap_segments_known[WEIR__HEAP_SEGMENTS_EVER / 64];

/* --- classes --------------------------------------------------------------------------------- */

/* The class of blocks of at least @size bytes: steps of 16 up to 128, then eight for each
 * doubling. @size up to WEIR__HEAP_CLASS_MAX_BYTES. */
static inline unsigned weir__heap_class_of(size_t size)
{
    if (size <= 128)
        return size == 0 ? 0 : (unsigned)((size - 1) >> WEIR__HEAP_GRAIN_SHIFT);
    unsigned top = 63u - (unsigned)__builtin_clzll(size - 1);
    return 8 + (top - 7) * 8 + (unsigned)(((size - 1) >> (top - 3)) & 7);
}

static inline size_t weir__heap_class_bytes(unsigned class)
{
    if (class < 8)
        return ((size_t) class + 1) << WEIR__HEAP_GRAIN_SHIFT;
    return ((size_t)(class & 7) + 9) << (class / 8 + 3);
}

/* --- finding --------------------------------------------------------------------------------- */

/* The segment of a block, which need not be one of ours. The byte before decides: the data of a
 * large block may begin where its header's segment ends. */
static inline struct weir__heap_segment *weir__heap_segment_of(const void *memory)
{
    uintptr_t before = (uintptr_t)memory - 1;
    return (struct weir__heap_segment *)(before & ~(uintptr_t)(WEIR__HEAP_SEGMENT_BYTES - 1));
}

static inline bool weir__heap_segment_is_known(const void *memory)
{
    uintptr_t index = ((uintptr_t)memory - 1) >> WEIR__HEAP_SEGMENT_SHIFT;
    if (WEIR_UNLIKELY(index >= WEIR__HEAP_SEGMENTS_EVER))
        return false; /* NULL among others */
    uint64_t word = __atomic_load_n(&weir__heap_segments_known[index / 64], __ATOMIC_RELAXED);
    return (word >> (index % 64) & 1) != 0;
}

static inline struct weir__heap_slab *weir__heap_slab_at(struct weir__heap_segment *segment,
                                                         const void *memory)
{
    return &segment->slabs[((uintptr_t)memory - (uintptr_t)segment) >> WEIR__HEAP_SLICE_SHIFT];
}

/* --- allocating and freeing ------------------------------------------------------------------ */

/* Any size; NULL and ENOMEM if there is no memory. With @zero the first @size bytes are zero. */
void *weir__heap_alloc_slow(size_t size, bool zero);

/* @align is a power of two. NULL and ENOMEM if there is no memory. */
void *weir__heap_alloc_aligned(size_t align, size_t size);

/* For blocks of other threads' heaps and large ones. */
void weir__heap_free_foreign(struct weir__heap_segment *segment, void *memory);

/* After `used` fell to 0. */
void weir__heap_settle(struct weir__heap_slab *slab, void *memory);

/* How many bytes a block has; 0: it is not ours. */
size_t weir__heap_usable(const void *memory);

/* Make @memory, which is ours, @size bytes large where it is, or move a large block without
 * copying. Returns the block, or NULL if that cannot be: then nothing has changed. */
void *weir__heap_resize(void *memory, size_t size);

/* Give back to the system what is not in use, of this thread's heap, of orphans and of what is
 * kept for reuse. Returns whether there was anything. */
bool weir__heap_trim(void);

/* The thread ends: leave its heap to others. */
void weir__heap_abandon(struct weir__heap *heap);

/* What is called with a heap that a thread has just got; NULL: nothing. Set once. */
extern void (*weir__heap_on_acquire)(struct weir__heap *heap);

/* Whether the structures of @heap, which the caller owns, agree with each other. Asserts. */
bool weir__heap_check(struct weir__heap *heap);

static inline void *weir__heap_alloc(size_t size)
{
    struct weir__heap *heap = weir__heap_mine;
    if (WEIR_LIKELY(heap != NULL && size <= WEIR__HEAP_DIRECT_MAX_BYTES)) {
        struct weir__heap_slab *slab = heap->direct[(size + 15) >> WEIR__HEAP_GRAIN_SHIFT];
        struct weir__heap_link *block = slab->free;
        if (WEIR_LIKELY(block != NULL)) {
            slab->free = block->next;
            slab->used++;
            return block;
        }
    }
    return weir__heap_alloc_slow(size, false);
}

static inline void weir__heap_free(void *memory)
{
    if (WEIR_UNLIKELY(!weir__heap_segment_is_known(memory)))
        return;
    struct weir__heap_segment *segment = weir__heap_segment_of(memory);
    if (WEIR_UNLIKELY(segment->heap != weir__heap_mine)) {
        weir__heap_free_foreign(segment, memory);
        return;
    }
    struct weir__heap_slab *slab = weir__heap_slab_at(segment, memory);
    struct weir__heap_link *block = memory;
    block->next = slab->free;
    slab->free = block;
    if (WEIR_UNLIKELY(--slab->used == 0))
        weir__heap_settle(slab, memory);
}

#endif /* WEIR_MALLOC_HEAP_H */
