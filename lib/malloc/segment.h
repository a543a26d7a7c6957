/* SPDX-License-Identifier: MIT */
/*
 * segment: where heaps have their slices from, and large blocks. Private to lib/malloc.
 */
#ifndef WEIR_MALLOC_SEGMENT_H
#define WEIR_MALLOC_SEGMENT_H

#include <weir/pool.h>

#include "heap.h"

/* Bytes held from the system, in segments and for large blocks. */
struct weir__heap_segment_totals {
    size_t segment_bytes;
    size_t large_bytes;
    size_t large_count;
};
extern struct weir__heap_segment_totals weir__heap_segment_totals;

size_t weir__heap_page_bytes(void);

/*
 * Take @slices adjacent slices for @heap.
 *
 * Returns  the descriptor of the first, of which slices, zero and class are set; the others are
 *          tails. NULL: no memory.
 */
struct weir__heap_slab *weir__heap_slices_take(struct weir__heap *heap, unsigned slices);

/* Give back a slab that has no block in use; its segment may be gone afterwards. */
void weir__heap_slices_give(struct weir__heap *heap, struct weir__heap_slab *slab);

/* Make a span that is in use @slices long, at its place. Returns whether that could be done. */
bool weir__heap_slices_resize(struct weir__heap *heap, struct weir__heap_slab *slab,
                              unsigned slices);

/* Give all free memory of @heap back to the system. Returns whether there was any. */
bool weir__heap_segments_purge(struct weir__heap *heap);

/* The same if there is much and it is some time since the last time. */
void weir__heap_segments_purge_some(struct weir__heap *heap, uint32_t keep_slices);

/* Give empty segments of @heap away, all but @keep. */
void weir__heap_segments_drop(struct weir__heap *heap, uint32_t keep);

/* Give back what is kept for any heap. Returns whether there was anything. */
bool weir__heap_segments_flush(void);

static inline struct weir__heap_segment *weir__heap_slab_segment(const struct weir__heap_slab *slab)
{
    return (struct weir__heap_segment *)((uintptr_t)slab &
                                         ~(uintptr_t)(WEIR__HEAP_SEGMENT_BYTES - 1));
}

static inline uint8_t *weir__heap_slab_base(const struct weir__heap_slab *slab)
{
    struct weir__heap_segment *segment = weir__heap_slab_segment(slab);
    return (uint8_t *)segment + ((size_t)(slab - segment->slabs) << WEIR__HEAP_SLICE_SHIFT);
}

/* --- large blocks ---------------------------------------------------------------------------- */

/* *@zero says whether the block is known to be zero. NULL: no memory, or @size is too large. */
void *weir__heap_large_alloc(size_t align, size_t size, bool *zero);
void weir__heap_large_free(struct weir__heap_segment *segment);
void *weir__heap_large_resize(struct weir__heap_segment *segment, size_t size);

/* Give back mappings that are kept for reuse. Returns whether there were any. */
bool weir__heap_large_flush(void);

/* Give back what the source handed out. */
static inline void weir__heap_unmap(void *memory, size_t bytes)
{
    const struct weir_source *source = weir_source_mmap();
    source->release(source->context, memory, bytes);
}

/* Note, or forget, that there is a segment. */
void weir__heap_segment_note(const struct weir__heap_segment *segment);
void weir__heap_segment_forget(const struct weir__heap_segment *segment);

#endif /* WEIR_MALLOC_SEGMENT_H */
