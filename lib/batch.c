/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "weir/batch.h"
#include "batch_private.h"

#define BATCH_DEFAULT_BYTES ((size_t)4096)
#define STEP_DEFAULT_BYTES ((size_t)64 << 10)
#define ALIGN_MAX_BYTES ((size_t)4096)

/* What every block is aligned to, see weir_pool_options. */
#define BLOCK_ALIGN_BYTES ((size_t)64)

/* As many items as fit the default size of a batch, a power of two, one at least. */
static size_t default_items(size_t stride_bytes)
{
    size_t items = 1;

    while (items <= BATCH_DEFAULT_BYTES / 2 / stride_bytes)
        items *= 2;
    return items;
}

int weir_batch_init(struct weir_batch *batch, struct weir_pool *pool, size_t item_bytes,
                    size_t align_bytes, const struct weir_batch_options *options)
{
    static const struct weir_batch_options defaults;
    const struct weir_batch_options *o = options != NULL ? options : &defaults;
    struct weir_growth growth = o->growth;
    size_t items = o->batch_items;
    size_t stride, batch_bytes;

    memset(batch, 0, sizeof(*batch));
    if (item_bytes == 0 || !weir_is_pow2(align_bytes) || align_bytes > ALIGN_MAX_BYTES)
        return -EINVAL;
    if (weir_align_up(item_bytes, align_bytes, &stride))
        return -EOVERFLOW;
    if (items == 0)
        items = default_items(stride);
    if (!weir_is_pow2(items))
        return -EINVAL;
    if (weir_mul_overflows(items, stride, &batch_bytes) || batch_bytes > SIZE_MAX - align_bytes)
        return -EOVERFLOW;
    size_t steps = STEP_DEFAULT_BYTES / batch_bytes;
    int rc = weir_growth_init(&growth, items, steps > 1 ? items * steps : items);
    if (rc != 0)
        return rc;
    batch->pool = pool;
    batch->growth = growth;
    batch->item_bytes = item_bytes;
    batch->stride_bytes = stride;
    batch->align_bytes = (uint32_t)align_bytes;
    batch->shift = (uint32_t)__builtin_ctzll(items);
    return 0;
}

void weir_batch_fini(struct weir_batch *batch)
{
    for (size_t i = 0; i < batch->batches; i++)
        weir_block_drop(batch->table[i].block);
    weir_block_drop(batch->table_block);
    memset(batch, 0, sizeof(*batch));
}

/* Point the cursor to where the next item goes, if there is a batch for it. */
static void seek(struct weir_batch *batch)
{
    size_t batch_items = weir_batch_batch_items(batch);
    size_t within = batch->count & (batch_items - 1);
    size_t number = batch->count >> batch->shift;
    size_t room = batch_items - within;

    if (number >= batch->batches) {
        batch->cursor = NULL;
        batch->end = NULL;
        return;
    }
    if (batch->growth.limit != 0 && room > batch->growth.limit - batch->count)
        room = batch->growth.limit - batch->count;
    batch->cursor = batch->table[number].items + within * batch->stride_bytes;
    batch->end = batch->cursor + room * batch->stride_bytes;
}

static size_t misalignment(const struct weir_batch *batch, const uint8_t *at)
{
    return (size_t)((uintptr_t)at & (batch->align_bytes - 1));
}

/*
 * A block for one more batch. Blocks of most sizes are aligned well enough as they are, so room to
 * align within the block is asked for only once one was not.
 */
static int take_batch(struct weir_batch *batch, struct weir_batch_entry *ret)
{
    size_t bytes = batch->stride_bytes << batch->shift;
    struct weir_block *block;

    int rc = weir_pool_alloc(batch->pool, bytes + batch->slack_bytes, &block);
    if (rc == 0 && batch->slack_bytes == 0 && misalignment(batch, block->data) != 0) {
        assert(batch->align_bytes > BLOCK_ALIGN_BYTES);
        weir_block_drop(block);
        batch->slack_bytes = batch->align_bytes - BLOCK_ALIGN_BYTES;
        rc = weir_pool_alloc(batch->pool, bytes + batch->slack_bytes, &block);
    }
    if (rc != 0)
        return rc;
    size_t off = misalignment(batch, block->data);
    ret->items = block->data + (off != 0 ? batch->align_bytes - off : 0);
    ret->block = block;
    assert(block->size - (size_t)(ret->items - block->data) >= bytes);
    return 0;
}

/* A table with room for @entries, the present ones in it, which is not the batch's yet. */
static int make_table(const struct weir_batch *batch, size_t entries, struct weir_block **ret)
{
    struct weir_block *block;
    size_t bytes;

    if (entries < batch->table_room * 2)
        entries = batch->table_room * 2;
    if (weir_mul_overflows(entries, sizeof(*batch->table), &bytes))
        return -EOVERFLOW;
    int rc = weir_pool_alloc(batch->pool, bytes, &block);
    if (rc != 0)
        return rc;
    if (batch->batches != 0)
        memcpy(block->data, batch->table, batch->batches * sizeof(*batch->table));
    *ret = block;
    return 0;
}

/* Take blocks for @wanted batches into @table; fewer will do if they are @needed at least. */
static int take_batches(struct weir_batch *batch, struct weir_batch_entry *table, size_t needed,
                        size_t wanted)
{
    size_t taken = 0, bytes = 0;
    int rc = 0;

    table += batch->batches;
    while (taken < wanted && (rc = take_batch(batch, &table[taken])) == 0)
        bytes += table[taken++].block->size;
    if (taken < needed) {
        while (taken != 0)
            weir_block_drop(table[--taken].block);
        return rc;
    }
    batch->batches += taken;
    batch->held_bytes += bytes;
    batch->last_step = taken << batch->shift;
    return 0;
}

/* Grow by a planned step, of @needed batches at least. */
static int grow(struct weir_batch *batch, size_t needed)
{
    size_t capacity = batch->batches << batch->shift;
    size_t most = (SIZE_MAX >> batch->shift) - batch->batches;
    size_t step = weir_growth_next(&batch->growth, batch->last_step, capacity);
    size_t wanted = (step >> batch->shift) + ((step & (weir_batch_batch_items(batch) - 1)) != 0);
    struct weir_batch_entry *table = batch->table;
    struct weir_block *table_block = NULL;

    if (needed > most)
        return -EOVERFLOW;
    if (wanted > most)
        wanted = most;
    if (wanted < needed)
        wanted = needed;
    if (wanted > batch->table_room - batch->batches) {
        int rc = make_table(batch, batch->batches + wanted, &table_block);
        if (rc != 0)
            return rc;
        table = (struct weir_batch_entry *)(void *)table_block->data;
    }
    int rc = take_batches(batch, table, needed, wanted);
    if (rc != 0) {
        weir_block_drop(table_block);
        return rc;
    }
    if (table_block != NULL) {
        batch->held_bytes += table_block->size;
        if (batch->table_block != NULL)
            batch->held_bytes -= batch->table_block->size;
        weir_block_drop(batch->table_block);
        batch->table_block = table_block;
        batch->table = table;
        batch->table_room = table_block->size / sizeof(*table);
    }
    return 0;
}

/* There is a free item at the cursor, or an error. */
static int open_batch(struct weir_batch *batch)
{
    if (batch->cursor != batch->end)
        return 0;
    if (batch->growth.limit != 0 && batch->count == batch->growth.limit)
        return -ENOBUFS;
    if (batch->count >> batch->shift == batch->batches) {
        int rc = grow(batch, 1);
        if (rc != 0)
            return rc;
    }
    seek(batch);
    assert(batch->cursor != batch->end);
    return 0;
}

int weir_batch_add_slow(struct weir_batch *batch, void **ret)
{
    int rc = open_batch(batch);
    return rc != 0 ? rc : weir_batch_add(batch, ret);
}

/* As many items as lie side by side at the cursor, where there is one, up to @count_max. */
static struct weir_batch_span take_items(struct weir_batch *batch, size_t count_max)
{
    size_t room = (size_t)(batch->end - batch->cursor) / batch->stride_bytes;
    struct weir_batch_span span = {batch->cursor, count_max < room ? count_max : room,
                                   batch->count};

    assert(span.count != 0);
    batch->cursor += span.count * batch->stride_bytes;
    batch->count += span.count;
    return span;
}

int weir_batch_add_span(struct weir_batch *batch, size_t count_max, struct weir_batch_span *ret)
{
    assert(count_max != 0);
    int rc = open_batch(batch);
    if (rc == 0)
        *ret = take_items(batch, count_max);
    return rc;
}

int weir_batch_reserve(struct weir_batch *batch, size_t count)
{
    size_t total;

    if (batch->growth.limit != 0 && count > batch->growth.limit - batch->count)
        return -ENOBUFS;
    if (weir_add_overflows(batch->count, count, &total))
        return -EOVERFLOW;
    size_t needed = (total >> batch->shift) + ((total & (weir_batch_batch_items(batch) - 1)) != 0);
    return needed > batch->batches ? grow(batch, needed - batch->batches) : 0;
}

int weir_batch_append_all(struct weir_batch *batch, const void *items, size_t count)
{
    const uint8_t *from = items;

    int rc = weir_batch_reserve(batch, count);
    if (rc != 0)
        return rc;
    while (count != 0) {
        if (batch->cursor == batch->end)
            seek(batch);
        struct weir_batch_span span = take_items(batch, count);
        /* Of the last item no padding is read, which need not be there. */
        memcpy(span.items, from, (span.count - 1) * batch->stride_bytes + batch->item_bytes);
        from += span.count * batch->stride_bytes;
        count -= span.count;
    }
    return 0;
}

int weir_batch_process(struct weir_batch *batch,
                       int (*process)(const struct weir_batch_span *span,
                                      const struct weir_batch_results *results, void *context),
                       const struct weir_batch_results *results, void *context)
{
    static const struct weir_batch_results none;
    const struct weir_batch_results into = results != NULL ? *results : none;
    size_t count_before = into.batch != NULL ? into.batch->count : 0;
    struct weir_arena_mark mark_before;
    size_t count = batch->count;
    int rc = 0;

    memset(&mark_before, 0, sizeof(mark_before));
    if (into.arena != NULL)
        mark_before = weir_arena_mark(into.arena);
    for (size_t first = 0; rc == 0 && first < count;) {
        struct weir_batch_span span = weir_batch_span(batch, first >> batch->shift);
        /* What was added meanwhile is not among what is processed. */
        if (span.count > count - first)
            span.count = count - first;
        first += span.count;
        rc = process(&span, &into, context);
        assert(batch->count >= count);
    }
    if (rc != 0 && into.batch != NULL)
        weir_batch_truncate(into.batch, count_before);
    if (rc != 0 && into.arena != NULL)
        weir_arena_rewind(into.arena, mark_before);
    return rc;
}

void weir_batch_truncate(struct weir_batch *batch, size_t count)
{
    assert(count <= batch->count);
    batch->count = count;
    seek(batch);
}

/* What is wrong with the cursor; NULL: nothing. */
static const char *broken_cursor(const struct weir_batch *batch)
{
    struct weir_batch sought = *batch;

    seek(&sought);
    if (batch->cursor != batch->end)
        return batch->cursor == sought.cursor && batch->end == sought.end
                   ? NULL
                   : "the cursor is not where the next item goes";
    if ((batch->count & (weir_batch_batch_items(batch) - 1)) == 0 ||
        batch->count == batch->growth.limit)
        return NULL;
    return "no item is at hand, and the batch being filled has some";
}

const char *weir__batch_check(const struct weir_batch *batch)
{
    size_t held = batch->table_block != NULL ? batch->table_block->size : 0;
    size_t bytes = batch->stride_bytes << batch->shift;

    if (batch->count > weir_batch_capacity(batch))
        return "there are more items than there is room for";
    if (batch->batches > batch->table_room || batch->table_room * sizeof(*batch->table) > held)
        return "there are more batches than the table has entries";
    for (size_t i = 0; i < batch->batches; i++) {
        const struct weir_batch_entry *entry = &batch->table[i];
        size_t offset = (size_t)((uintptr_t)entry->items - (uintptr_t)entry->block->data);
        if (offset > entry->block->size || bytes > entry->block->size - offset)
            return "a batch does not lie in its block";
        if (misalignment(batch, entry->items) != 0)
            return "a batch is not aligned";
        held += entry->block->size;
    }
    if (held != batch->held_bytes)
        return "the blocks' sizes do not add up";
    return broken_cursor(batch);
}
