/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "weir/chain.h"
#include "chain_private.h"

/* Where the entries begin; those before slices are free, since their bytes were consumed. */
static struct weir_slice *first_entry(const struct weir_chain *chain)
{
    if (chain->table != NULL)
        return (struct weir_slice *)(void *)chain->table->data;
    return (struct weir_slice *)(uintptr_t)chain->inline_slices;
}

static uint32_t free_in_front(const struct weir_chain *chain)
{
    return (uint32_t)(chain->slices - first_entry(chain));
}

static void drop_slices(struct weir_chain *chain)
{
    for (uint32_t i = 0; i < chain->count; i++)
        weir_slice_drop(&chain->slices[i]);
}

void weir_chain_init(struct weir_chain *chain, struct weir_pool *pool)
{
    memset(chain, 0, sizeof *chain);
    chain->pool = pool;
    chain->slices = chain->inline_slices;
    chain->capacity = WEIR_CHAIN_INLINE_SLICES;
}

void weir_chain_fini(struct weir_chain *chain)
{
    drop_slices(chain);
    weir_block_drop(chain->table);
    memset(chain, 0, sizeof *chain);
}

/* All entries are free. */
static void rewind_entries(struct weir_chain *chain)
{
    chain->capacity += free_in_front(chain);
    chain->slices = first_entry(chain);
}

void weir_chain_reset(struct weir_chain *chain)
{
    assert(chain->slices != NULL);
    drop_slices(chain);
    chain->count = 0;
    chain->size_bytes = 0;
    rewind_entries(chain);
}

void weir_chain_move(struct weir_chain *chain, struct weir_chain *ret)
{
    assert(chain != ret && chain->slices != NULL);
    uint32_t front = free_in_front(chain);
    *ret = *chain;
    ret->slices = first_entry(ret) + front;
    weir_chain_init(chain, ret->pool);
}

/* Room for @more entries behind the last one. On an error nothing changed. */
static int reserve_entries(struct weir_chain *chain, uint32_t more)
{
    assert(chain->slices != NULL);
    uint32_t front = free_in_front(chain);
    uint32_t all = front + chain->capacity;
    size_t live_bytes = chain->count * sizeof *chain->slices;
    struct weir_block *table;

    if (more <= chain->capacity - chain->count)
        return 0;
    if (front >= all / 2 && more <= all - chain->count) {
        /* At least half is free in front: each entry is moved once per half table. */
        memmove(first_entry(chain), chain->slices, live_bytes);
        rewind_entries(chain);
        return 0;
    }
    if (more > UINT32_MAX - chain->count)
        return -EOVERFLOW;
    uint32_t wanted = chain->count + more;
    if (wanted < all * UINT64_C(2))
        wanted = all <= UINT32_MAX / 2 ? all * 2 : UINT32_MAX;
    size_t bytes;
    if (weir_mul_overflows(wanted, sizeof *chain->slices, &bytes))
        return -EOVERFLOW;
    int rc = weir_pool_alloc(chain->pool, bytes, &table);
    if (rc != 0)
        return rc;
    size_t fits = table->size / sizeof *chain->slices;
    memcpy(table->data, chain->slices, live_bytes);
    weir_block_drop(chain->table);
    chain->table = table;
    chain->slices = first_entry(chain);
    chain->capacity = fits < UINT32_MAX ? (uint32_t)fits : UINT32_MAX;
    return 0;
}

/* As numbers: pointers into different objects are not C's to add up to each other. */
static bool ends_at(const void *data, size_t size_bytes, const void *next)
{
    return (uintptr_t)data + size_bytes == (uintptr_t)next;
}

/* Whether @view, in @block, goes on where the last slice ends. */
static bool touches_last(const struct weir_chain *chain, struct weir_view view,
                         const struct weir_block *block)
{
    if (chain->count == 0)
        return false;
    const struct weir_slice *last = &chain->slices[chain->count - 1];
    return last->block == block && ends_at(last->view.data, last->view.size, view.data);
}

/*
 * Append @view, which is not empty; there is an entry for it unless it touches the last one, and
 * the sum of sizes was looked at. Returns whether it took an entry, and so the caller's reference.
 */
static bool push(struct weir_chain *chain, struct weir_view view, struct weir_block *block)
{
    chain->size_bytes += view.size;
    if (touches_last(chain, view, block)) {
        chain->slices[chain->count - 1].view.size += view.size;
        return false;
    }
    assert(chain->count < chain->capacity);
    chain->slices[chain->count++] = weir_slice_adopt(view, block);
    return true;
}

/* The same with a reference of the chain's own. */
static void push_held(struct weir_chain *chain, struct weir_view view, struct weir_block *block)
{
    if (push(chain, view, block) && block != NULL)
        weir_block_hold(block);
}

/* Whether one more slice, not empty, can be pushed. */
static int prepare_push(struct weir_chain *chain, const struct weir_slice *slice)
{
    size_t sum;

    if (weir_add_overflows(chain->size_bytes, slice->view.size, &sum))
        return -EOVERFLOW;
    return touches_last(chain, slice->view, slice->block) ? 0 : reserve_entries(chain, 1);
}

int weir_chain_append(struct weir_chain *chain, const struct weir_slice *slice)
{
    /* By value: the slice may be one of the chain's own, whose table is about to go. */
    struct weir_slice copy = *slice;

    if (copy.view.size == 0)
        return 0;
    int rc = prepare_push(chain, &copy);
    if (rc == 0)
        push_held(chain, copy.view, copy.block);
    return rc;
}

int weir_chain_append_adopt(struct weir_chain *chain, struct weir_slice *slice)
{
    static const struct weir_slice none;

    if (slice->view.size != 0) {
        int rc = prepare_push(chain, slice);
        if (rc != 0)
            return rc;
        if (push(chain, slice->view, slice->block))
            *slice = none;
    }
    /* What was joined lies in a block that the chain holds already. */
    weir_slice_drop(slice);
    return 0;
}

/* A place in a chain: @at bytes into the slice at @index. At the end @index is count. */
struct place {
    uint32_t index;
    size_t at;
};

/* The slice that the byte at @offset_bytes lies in, which is at most the chain's size. */
static struct place find(const struct weir_chain *chain, size_t offset_bytes)
{
    struct place place = {0, offset_bytes};

    while (place.index < chain->count && place.at >= chain->slices[place.index].view.size) {
        place.at -= chain->slices[place.index].view.size;
        place.index++;
    }
    return place;
}

/*
 * Append @size_bytes from @from of @chain, where they are. They may be @ret's own: entries may
 * move, and the last slice may grow when the first one that is appended touches it, but no more
 * than @size_bytes are taken, which end where it ended.
 */
static int append_part(struct weir_chain *ret, const struct weir_chain *chain, struct place from,
                       size_t size_bytes)
{
    size_t sum, left = size_bytes + from.at;
    uint32_t entries = 0;

    if (size_bytes == 0)
        return 0;
    if (weir_add_overflows(ret->size_bytes, size_bytes, &sum))
        return -EOVERFLOW;
    for (uint32_t i = from.index; left != 0; i++, entries++) {
        size_t size = chain->slices[i].view.size;
        left -= size < left ? size : left;
    }
    int rc = reserve_entries(ret, entries);
    if (rc != 0)
        return rc;
    for (uint32_t i = from.index; size_bytes != 0; i++) {
        struct weir_slice slice = chain->slices[i];
        size_t size = slice.view.size - from.at;
        if (size > size_bytes)
            size = size_bytes;
        push_held(ret, weir_view_of(slice.view.data + from.at, size), slice.block);
        from.at = 0;
        size_bytes -= size;
    }
    return 0;
}

int weir_chain_append_chain(struct weir_chain *chain, const struct weir_chain *other)
{
    struct place front = {0, 0};

    return append_part(chain, other, front, other->size_bytes);
}

int weir_chain_sub(const struct weir_chain *chain, size_t offset_bytes, size_t size_bytes,
                   struct weir_chain *ret)
{
    if (offset_bytes > chain->size_bytes || size_bytes > chain->size_bytes - offset_bytes)
        return -EOVERFLOW;
    return append_part(ret, chain, find(chain, offset_bytes), size_bytes);
}

void weir_chain_consume(struct weir_chain *chain, size_t size_bytes)
{
    assert(size_bytes <= chain->size_bytes);
    chain->size_bytes -= size_bytes;
    while (size_bytes != 0) {
        struct weir_slice *front = chain->slices;
        if (size_bytes < front->view.size) {
            front->view.data += size_bytes;
            front->view.size -= size_bytes;
            return;
        }
        size_bytes -= front->view.size;
        weir_slice_drop(front);
        chain->slices++;
        chain->count--;
        chain->capacity--;
    }
    if (chain->count == 0 && chain->slices != NULL)
        rewind_entries(chain);
}

void weir_chain_truncate(struct weir_chain *chain, size_t size_bytes)
{
    assert(size_bytes <= chain->size_bytes);
    size_t excess = chain->size_bytes - size_bytes;
    chain->size_bytes = size_bytes;
    while (excess != 0) {
        struct weir_slice *last = &chain->slices[chain->count - 1];
        if (excess < last->view.size) {
            last->view.size -= excess;
            return;
        }
        excess -= last->view.size;
        weir_slice_drop(last);
        chain->count--;
    }
    if (chain->count == 0 && chain->slices != NULL)
        rewind_entries(chain);
}

unsigned weir_chain_iovecs_part(const struct weir_chain *chain, size_t offset_bytes,
                                size_t size_bytes, struct iovec *iov, unsigned iov_max)
{
    unsigned filled = 0;

    assert(offset_bytes <= chain->size_bytes);
    struct place from = find(chain, offset_bytes);
    for (uint32_t i = from.index; i < chain->count && size_bytes != 0; i++) {
        struct weir_view view = chain->slices[i].view;
        /* The kernel's type knows no const; nothing is written through it. */
        uint8_t *data = (uint8_t *)(uintptr_t)view.data + from.at;
        size_t size = view.size - from.at;
        struct iovec *last = filled != 0 ? &iov[filled - 1] : NULL;
        from.at = 0;
        if (size > size_bytes)
            size = size_bytes;
        size_bytes -= size;
        if (last != NULL && ends_at(last->iov_base, last->iov_len, data)) {
            last->iov_len += size;
            continue;
        }
        if (filled == iov_max)
            break;
        iov[filled].iov_base = data;
        iov[filled].iov_len = size;
        filled++;
    }
    return filled;
}

unsigned weir_chain_iovecs(const struct weir_chain *chain, size_t offset_bytes, struct iovec *iov,
                           unsigned iov_max)
{
    return weir_chain_iovecs_part(chain, offset_bytes, SIZE_MAX, iov, iov_max);
}

/* Copy @size_bytes from @from, which are there; the place behind them. */
static struct place copy_from(const struct weir_chain *chain, struct place from, uint8_t *dst,
                              size_t size_bytes)
{
    while (size_bytes != 0) {
        struct weir_view view = chain->slices[from.index].view;
        size_t size = view.size - from.at;
        if (size == 0) {
            from.index++;
            from.at = 0;
            continue;
        }
        if (size > size_bytes)
            size = size_bytes;
        memcpy(dst, view.data + from.at, size);
        dst += size;
        size_bytes -= size;
        from.at += size;
    }
    return from;
}

int weir_chain_copy(const struct weir_chain *chain, size_t offset_bytes, void *dst,
                    size_t size_bytes)
{
    if (offset_bytes > chain->size_bytes || size_bytes > chain->size_bytes - offset_bytes)
        return -EOVERFLOW;
    (void)copy_from(chain, find(chain, offset_bytes), dst, size_bytes);
    return 0;
}

int64_t weir_chain_flatten(const struct weir_chain *chain, struct weir_pool *pool,
                           struct weir_slice *ret)
{
    static const struct weir_slice none;
    struct place front = {0, 0};
    struct weir_block *block;

    if (chain->count <= 1) {
        *ret = chain->count == 0 ? none : weir_slice_hold(chain->slices);
        return 0;
    }
    if (chain->size_bytes > INT64_MAX)
        return -EOVERFLOW;
    size_t size = chain->size_bytes;
    int rc = weir_pool_alloc(pool, size, &block);
    if (rc != 0)
        return rc;
    (void)copy_from(chain, front, block->data, size);
    *ret = weir_slice_adopt(weir_view_of(block->data, size), block);
    return (int64_t)size;
}

int weir_chain_compare(const struct weir_chain *a, const struct weir_chain *b)
{
    struct weir_chain_reader left, right;

    weir_chain_reader_init(&left, a);
    weir_chain_reader_init(&right, b);
    for (;;) {
        struct weir_view x = weir_chain_reader_piece(&left);
        struct weir_view y = weir_chain_reader_piece(&right);
        size_t common = x.size < y.size ? x.size : y.size;
        if (common == 0)
            return (x.size != 0) - (y.size != 0);
        /* Shared blocks need no look. */
        int order = x.data == y.data ? 0 : memcmp(x.data, y.data, common);
        if (order != 0)
            return order;
        (void)weir_chain_reader_skip(&left, common);
        (void)weir_chain_reader_skip(&right, common);
    }
}

int weir_chain_compare_view(const struct weir_chain *a, struct weir_view b)
{
    struct weir_slice slice = weir_slice_adopt(b, NULL);
    struct weir_chain one = {.slices = &slice, .count = b.size != 0, .size_bytes = b.size};

    return weir_chain_compare(a, &one);
}

uint64_t weir_chain_hash(const struct weir_chain *chain, uint64_t seed)
{
    struct weir_view_hasher hasher;

    if (chain->count == 1)
        return weir_view_hash(chain->slices[0].view, seed);
    weir_view_hash_begin(&hasher, seed);
    for (uint32_t i = 0; i < chain->count; i++)
        weir_view_hash_add(&hasher, chain->slices[i].view);
    return weir_view_hash_end(&hasher);
}

void weir_chain_reader_skip_slow(struct weir_chain_reader *reader, size_t size_bytes)
{
    const struct weir_chain *chain = reader->chain;

    assert(size_bytes <= weir_chain_reader_remaining(reader));
    reader->offset_bytes += size_bytes;
    while (size_bytes != 0) {
        size_t left = chain->slices[reader->index].view.size - reader->at;
        if (size_bytes <= left) {
            reader->at += size_bytes;
            return;
        }
        size_bytes -= left;
        reader->index++;
        reader->at = 0;
    }
}

void weir_chain_reader_read_slow(struct weir_chain_reader *reader, void *dst, size_t size_bytes)
{
    struct place from = {reader->index, reader->at};

    assert(size_bytes <= weir_chain_reader_remaining(reader));
    from = copy_from(reader->chain, from, dst, size_bytes);
    reader->offset_bytes += size_bytes;
    reader->index = from.index;
    reader->at = from.at;
}

int weir_chain_reader_sub(struct weir_chain_reader *reader, size_t size_bytes,
                          struct weir_chain *ret)
{
    struct place from = {reader->index, reader->at};

    assert(ret != reader->chain);
    if (size_bytes > weir_chain_reader_remaining(reader))
        return -EAGAIN;
    if (size_bytes != 0 && from.at == reader->chain->slices[from.index].view.size) {
        from.index++;
        from.at = 0;
    }
    int rc = append_part(ret, reader->chain, from, size_bytes);
    return rc == 0 ? weir_chain_reader_skip(reader, size_bytes) : rc;
}

const char *weir__chain_check(const struct weir_chain *chain)
{
    size_t total = 0;

    if (chain->slices == NULL)
        return chain->count || chain->capacity || chain->size_bytes || chain->table
                   ? "a zeroed chain holds something"
                   : NULL;
    size_t entries = chain->table != NULL ? chain->table->size / sizeof *chain->slices
                                          : WEIR_CHAIN_INLINE_SLICES;
    if (chain->slices < first_entry(chain) ||
        chain->slices + chain->capacity != first_entry(chain) + entries)
        return "the entries are neither the inline ones nor those of the table";
    if (chain->count > chain->capacity)
        return "there are more slices than entries";
    for (uint32_t i = 0; i < chain->count; i++) {
        struct weir_view view = chain->slices[i].view;
        const struct weir_block *block = chain->slices[i].block;
        if (view.size == 0)
            return "a slice is empty";
        if (weir_add_overflows(total, view.size, &total))
            return "the sizes' sum wraps";
        const struct weir_slice *before = &chain->slices[i - (i != 0)];
        if (i != 0 && before->block == block &&
            ends_at(before->view.data, before->view.size, view.data))
            return "two slices touch and were not joined";
        if (block == NULL)
            continue;
        size_t offset = (size_t)((uintptr_t)view.data - (uintptr_t)block->data);
        if (offset > block->size || view.size > block->size - offset)
            return "a slice does not lie in its block";
    }
    return total != chain->size_bytes ? "the slices' sizes do not add up" : NULL;
}
