/* SPDX-License-Identifier: MIT */
#include "segment.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include <weir/pool.h>

/* Mappings that are kept for reuse: as many, each up to this size. */
#define KEPT_LARGE 4
#define KEPT_LARGE_MAX_BYTES ((size_t)4 << 20)

static struct weir__heap_segment *kept[KEPT_LARGE];

static void totals_add(size_t bytes, size_t count)
{
    __atomic_fetch_add(&weir__heap_segment_totals.large_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&weir__heap_segment_totals.large_count, count, __ATOMIC_RELAXED);
}

static void large_release(struct weir__heap_segment *segment)
{
    int saved = errno;
    weir__heap_segment_forget(segment);
    totals_add((size_t)0 - segment->map_bytes, (size_t)0 - 1);
    weir__heap_unmap(segment->map, segment->map_bytes);
    errno = saved;
}

/* Round up to pages; false if that, and a segment before it, is more than there can be. */
static bool round_up(size_t size, size_t *ret)
{
    size_t page_bytes = weir__heap_page_bytes();
    if (size > (size_t)PTRDIFF_MAX - page_bytes - WEIR__HEAP_SEGMENT_BYTES)
        return false;
    *ret = (size + page_bytes - 1) & ~(page_bytes - 1);
    return true;
}

static bool kept_put(struct weir__heap_segment *segment)
{
    for (unsigned i = 0; i < KEPT_LARGE; i++) {
        struct weir__heap_segment *none = NULL;
        if (__atomic_load_n(&kept[i], __ATOMIC_RELAXED) == NULL &&
            __atomic_compare_exchange_n(&kept[i], &none, segment, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

/* One that has @bytes, and at most half as many again. */
static struct weir__heap_segment *kept_take(size_t bytes)
{
    for (unsigned i = 0; i < KEPT_LARGE; i++) {
        if (__atomic_load_n(&kept[i], __ATOMIC_RELAXED) == NULL)
            continue;
        struct weir__heap_segment *segment = __atomic_exchange_n(&kept[i], NULL, __ATOMIC_ACQUIRE);
        if (segment == NULL)
            continue;
        if (segment->data_bytes >= bytes && segment->data_bytes / 3 * 2 <= bytes)
            return segment;
        if (!kept_put(segment))
            large_release(segment);
    }
    return NULL;
}

bool weir__heap_large_flush(void)
{
    bool any = false;
    for (unsigned i = 0; i < KEPT_LARGE; i++) {
        struct weir__heap_segment *segment = __atomic_exchange_n(&kept[i], NULL, __ATOMIC_ACQUIRE);
        if (segment == NULL)
            continue;
        large_release(segment);
        any = true;
    }
    return any;
}

void *weir__heap_large_alloc(size_t align, size_t size, bool *zero)
{
    const struct weir_source *source = weir_source_mmap();
    size_t bytes, map_bytes;
    if (!round_up(size, &bytes))
        return NULL;
    *zero = false;
    if (align <= weir__heap_page_bytes()) {
        struct weir__heap_segment *segment = kept_take(bytes);
        if (segment != NULL)
            return segment->data;
        align = weir__heap_page_bytes();
    }
    /* The data begin @align bytes into the mapping, the header lies less than a segment before. */
    size_t map_align = align > WEIR__HEAP_SEGMENT_BYTES ? align : WEIR__HEAP_SEGMENT_BYTES;
    if (weir_add_overflows(bytes, align, &map_bytes))
        return NULL;
    uint8_t *map = source->obtain(source->context, map_bytes, map_align);
    if (map == NULL)
        return NULL;
    uint8_t *data = map + align;
    struct weir__heap_segment *segment = weir__heap_segment_of(data);
    segment->heap = &weir__heap_nobody;
    segment->data = data;
    segment->data_bytes = bytes;
    segment->map = map;
    segment->map_bytes = map_bytes;
    totals_add(map_bytes, 1);
    weir__heap_segment_note(segment);
    *zero = true;
    return data;
}

void weir__heap_large_free(struct weir__heap_segment *segment)
{
    bool plain = segment->map == (uint8_t *)segment &&
                 segment->data == segment->map + weir__heap_page_bytes();
    if (plain && segment->data_bytes <= KEPT_LARGE_MAX_BYTES && kept_put(segment))
        return;
    large_release(segment);
}

/* Move the mapping of @segment, which becomes @map_bytes long, to where a segment can be. */
static struct weir__heap_segment *large_move(struct weir__heap_segment *segment, size_t map_bytes)
{
    const struct weir_source *source = weir_source_mmap();
    size_t old_bytes = segment->map_bytes;
    void *place = source->obtain(source->context, map_bytes, WEIR__HEAP_SEGMENT_BYTES);
    if (place == NULL)
        return NULL;
    weir__heap_segment_forget(segment);
    void *moved = mremap(segment, old_bytes, map_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    if (moved == MAP_FAILED) {
        weir__heap_segment_note(segment);
        weir__heap_unmap(place, map_bytes);
        return NULL;
    }
    weir__heap_segment_note(moved);
    return moved;
}

void *weir__heap_large_resize(struct weir__heap_segment *segment, size_t size)
{
    size_t bytes;
    if (!round_up(size, &bytes))
        return NULL;
    if (bytes <= segment->data_bytes && bytes > segment->data_bytes / 8 * 7)
        return segment->data;
    if (segment->map != (uint8_t *)segment)
        return NULL;
    size_t offset = (size_t)(segment->data - segment->map);
    size_t old_bytes = segment->map_bytes;
    size_t map_bytes = offset + bytes; /* cannot overflow: both are bounded by round_up() */
    int saved = errno;
    if (mremap(segment, old_bytes, map_bytes, 0) == MAP_FAILED) {
        errno = saved;
        segment = large_move(segment, map_bytes);
        if (segment == NULL)
            return NULL;
    }
    segment->map = (uint8_t *)segment;
    segment->map_bytes = map_bytes;
    segment->data = segment->map + offset;
    segment->data_bytes = bytes;
    totals_add(map_bytes - old_bytes, 0);
    return segment->data;
}
