/* SPDX-License-Identifier: MIT */
#include "heap.h"

#include <assert.h>

#include "segment.h"

static bool holds(bool condition)
{
    assert(condition);
    return condition;
}

/* Whether a slab is what its state says; *@slices is where it ends. */
static bool slab_agrees(struct weir__heap *heap, struct weir__heap_segment *segment, unsigned first)
{
    struct weir__heap_slab *slab = &segment->slabs[first];
    bool ok = holds(slab->slices != 0 && slab->slices <= WEIR__HEAP_SLICES - first);
    for (unsigned i = 1; i < slab->slices; i++)
        ok &=
            holds(slab[i].state == WEIR__HEAP_SLAB_TAIL && slab[i].back == i && slab[i].used == 1);
    if (slab->state == WEIR__HEAP_SLAB_SPAN)
        return ok & holds(slab->used == 1 && slab->block_bytes <= WEIR__HEAP_SPAN_MAX_BYTES);
    ok &= holds(slab->class < WEIR__HEAP_CLASSES && slab->carved <= slab->capacity);
    ok &= holds(slab->block_bytes == weir__heap_class_bytes(slab->class));
    uint32_t unused = 0;
    for (struct weir__heap_link *block = slab->free; block != NULL; block = block->next) {
        size_t offset = (size_t)((uint8_t *)block - weir__heap_slab_base(slab));
        ok &= holds(offset % slab->block_bytes == 0 && offset / slab->block_bytes < slab->carved);
        if (!holds(++unused <= slab->carved))
            return false;
    }
    bool first_of_list = heap->classes[slab->class].first == slab;
    if (slab->state == WEIR__HEAP_SLAB_FULL)
        return ok & holds(unused == 0 && slab->carved == slab->capacity && slab->used == 1);
    if (slab->state == WEIR__HEAP_SLAB_CURRENT)
        return ok & holds(first_of_list && slab->used == slab->carved - unused + 1);
    return ok & holds(slab->state == WEIR__HEAP_SLAB_LISTED && slab->used == slab->carved - unused);
}

bool weir__heap_check(struct weir__heap *heap)
{
    bool ok = true;
    uint32_t segments = 0, used = 0, dirty = 0, empty = 0;
    for (struct weir__heap_segment *segment = heap->segments; segment != NULL;
         segment = segment->next) {
        segments++;
        empty += segment->free == ~UINT64_C(1);
        dirty += (uint32_t)__builtin_popcountll(segment->free & segment->dirty);
        ok &= holds(segment->heap == heap && (segment->free & 1) == 0);
        ok &= holds(weir__heap_segment_is_known((uint8_t *)segment + 1));
        for (unsigned i = 1; i < WEIR__HEAP_SLICES;) {
            if ((segment->free >> i & 1) != 0) {
                i++;
                continue;
            }
            ok &= slab_agrees(heap, segment, i);
            used += segment->slabs[i].slices;
            i += segment->slabs[i].slices;
        }
    }
    ok &= holds(segments == heap->segment_count && empty == heap->empty_segments);
    return ok & holds(used == heap->used_slices && dirty == heap->dirty_slices);
}
