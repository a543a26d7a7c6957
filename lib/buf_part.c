/* SPDX-License-Identifier: MIT */
/* What leaves a buffer: iovecs, slices, chains. */
#include <errno.h>
#include <string.h>

#include "weir/buf.h"
#include "buf_private.h"

unsigned weir_buf_iovecs_part(const struct weir_buf *buf, size_t offset_bytes, size_t size_bytes,
                              struct iovec *iov, struct weir_block **blocks, unsigned iov_max)
{
    size_t complete = weir__buf_complete_bytes(buf);
    unsigned filled = 0;

    assert(offset_bytes <= weir_buf_size(buf));
    if (offset_bytes >= complete)
        return 0;
    if (size_bytes > complete - offset_bytes)
        size_bytes = complete - offset_bytes;
    for (uint32_t i = 0; size_bytes != 0; i++) {
        const struct weir_buf_segment *segment = &buf->segments[buf->first + i];
        size_t size = weir__buf_entry_bytes(buf, i);
        if (offset_bytes >= size) {
            offset_bytes -= size;
            continue;
        }
        uint8_t *data = segment->data + offset_bytes;
        size -= offset_bytes;
        offset_bytes = 0;
        if (size > size_bytes)
            size = size_bytes;
        struct iovec *last = filled != 0 ? &iov[filled - 1] : NULL;
        if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == data &&
            (blocks == NULL || blocks[filled - 1] == segment->block)) {
            last->iov_len += size;
        } else {
            if (filled == iov_max)
                break;
            iov[filled].iov_base = data;
            iov[filled].iov_len = size;
            if (blocks != NULL)
                blocks[filled] = segment->block;
            filled++;
        }
        size_bytes -= size;
    }
    return filled;
}

unsigned weir_buf_iovecs(const struct weir_buf *buf, size_t offset_bytes, struct iovec *iov,
                         struct weir_block **blocks, unsigned iov_max)
{
    return weir_buf_iovecs_part(buf, offset_bytes, SIZE_MAX, iov, blocks, iov_max);
}

/* A slice of @part that holds @block. */
static struct weir_slice hold_part(struct weir_view part, struct weir_block *block)
{
    return weir_slice_adopt(part, block != NULL ? weir_block_hold(block) : NULL);
}

int weir_buf_slice_of(const struct weir_buf *buf, struct weir_view part, struct weir_slice *ret)
{
    size_t unfinished = weir_buf_size(buf) - weir__buf_complete_bytes(buf);

    for (uint32_t i = buf->count; i-- > 0;) {
        const struct weir_buf_segment *segment = &buf->segments[buf->first + i];
        size_t size = weir__buf_entry_bytes(buf, i);
        size_t hidden = unfinished < size ? unfinished : size;
        unfinished -= hidden;
        size -= hidden;
        /* As numbers: the order of pointers into different objects is not C's to tell. */
        uintptr_t offset = (uintptr_t)part.data - (uintptr_t)segment->data;
        if (offset <= size && part.size <= size - offset) {
            *ret = hold_part(part, segment->block);
            return 0;
        }
    }
    return -EINVAL;
}

int weir_buf_front(const struct weir_buf *buf, struct weir_slice *ret)
{
    size_t complete = weir__buf_complete_bytes(buf);

    if (complete == 0)
        return -EAGAIN;
    const struct weir_buf_segment *segment = &buf->segments[buf->first];
    size_t size = weir__buf_entry_bytes(buf, 0);
    if (size > complete)
        size = complete;
    *ret = hold_part(weir_view_of(segment->data, size), segment->block);
    return 0;
}

int weir__buf_append_part(const struct weir_buf *buf, size_t offset_bytes, size_t size_bytes,
                          struct weir_chain *ret)
{
    size_t before = ret->size_bytes;
    int rc = 0;

    for (uint32_t i = 0; size_bytes != 0; i++) {
        const struct weir_buf_segment *segment = &buf->segments[buf->first + i];
        size_t size = weir__buf_entry_bytes(buf, i);
        if (offset_bytes >= size) {
            offset_bytes -= size;
            continue;
        }
        size -= offset_bytes;
        if (size > size_bytes)
            size = size_bytes;
        struct weir_slice slice =
            hold_part(weir_view_of(segment->data + offset_bytes, size), segment->block);
        rc = weir_chain_append_adopt(ret, &slice);
        if (rc != 0) {
            weir_slice_drop(&slice);
            weir_chain_truncate(ret, before);
            return rc;
        }
        offset_bytes = 0;
        size_bytes -= size;
    }
    return 0;
}

int weir_buf_sub(const struct weir_buf *buf, size_t offset_bytes, size_t size_bytes,
                 struct weir_chain *ret)
{
    size_t complete = weir__buf_complete_bytes(buf);

    if (offset_bytes > complete || size_bytes > complete - offset_bytes)
        return -EOVERFLOW;
    return weir__buf_append_part(buf, offset_bytes, size_bytes, ret);
}

int weir_buf_split(struct weir_buf *buf, size_t size_bytes, struct weir_chain *ret)
{
    assert(buf->message == NULL);
    int rc = weir_buf_sub(buf, 0, size_bytes, ret);
    if (rc == 0)
        weir_buf_consume(buf, size_bytes);
    return rc;
}

int weir_buf_freeze(struct weir_buf *buf, struct weir_slice *ret)
{
    struct weir_chain all;

    assert(buf->message == NULL);
    weir_chain_init(&all, buf->pool);
    int64_t rc = weir_buf_sub(buf, 0, weir_buf_size(buf), &all);
    if (rc == 0)
        rc = weir_chain_flatten(&all, buf->pool, ret);
    if (rc >= 0) {
        buf->bytes_copied += (uint64_t)rc;
        weir_buf_consume(buf, weir_buf_size(buf));
        rc = 0;
    }
    weir_chain_fini(&all);
    return (int)rc;
}
