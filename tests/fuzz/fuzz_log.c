/* SPDX-License-Identifier: MIT */
/*
 * fuzz_log: a scan of any bytes comes to an end, its blocks and gaps follow one another without a
 * hole, numbers only go up, blocks are found the same when it begins at any of them, and what was
 * found reads the same when it is written anew. A bit of the last byte says that checksums are put
 * right before, which no fuzzer would find.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <weir/log.h>
#include <weir/pool.h>
#include <weir/wire.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void read_messages(const struct weir_log_found *found)
{
    struct weir_log_messages messages;
    struct weir_view view;
    size_t bytes = 0;
    int rc;
    weir_log_messages_init(&messages, found);
    while ((rc = weir_log_messages_next(&messages, &view)) == 0) {
        bytes += view.size;
        require(messages.number - found->first < found->count);
    }
    require(rc == -EBADMSG || (bytes == found->messages.size && messages.left == 0));
    require(weir_log_messages_next(&messages, &view) == rc);
}

static void write_anew(struct weir_pool *pool, const struct weir_log_scan *scan,
                       const struct weir_log_found *found)
{
    struct weir_log_block block;
    struct weir_buf buf;
    struct weir_slice bytes, messages = weir_slice_adopt(found->messages, NULL);
    require(weir_buf_init(&buf, pool, NULL) == 0);
    require(weir_log_block_begin(&block, &buf, scan->id, found->first) == 0);
    require(weir_log_block_append(&block, &messages, found->count) == 0);
    require(weir_log_block_finish(&block, found->pending, 0) == 0);
    require(weir_buf_freeze(&buf, &bytes) == 0);
    require(bytes.view.size == WEIR_LOG_HEAD_BYTES + found->messages.size);
    require(memcmp(bytes.view.data, scan->input.data + found->offset, bytes.view.size) == 0);
    weir_slice_drop(&bytes);
    weir_buf_fini(&buf);
}

static void begin_there(const struct weir_log_scan *scan, const struct weir_log_found *found)
{
    struct weir_log_scan other;
    struct weir_log_found again;
    weir_log_scan_init(&other, scan->input);
    weir_log_scan_seek(&other, found->offset, found->first);
    require(weir_log_scan_next(&other, &again) == 0);
    require(again.offset == found->offset && again.first == found->first);
    require(again.messages.size == found->messages.size);
}

/* Let whatever looks like a head be one. */
static void mend(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; size >= WEIR_LOG_HEAD_BYTES && at <= size - WEIR_LOG_HEAD_BYTES; at++) {
        uint8_t *head = bytes + at;
        if (memcmp(head, "\xc7\x2d\x77\x42", 4) != 0)
            continue;
        size_t messages = weir_wire_load32(head + 4);
        if (messages <= size - at - WEIR_LOG_HEAD_BYTES && head[32] % 8 != 0)
            weir_wire_store64(head + 32, XXH3_64bits(head + WEIR_LOG_HEAD_BYTES, messages));
        weir_wire_store64(head + 40, XXH3_64bits(head, 40));
    }
}

static void look_at(const uint8_t *data, size_t size)
{
    static struct weir_pool *pool;
    struct weir_log_scan scan;
    struct weir_log_found found;
    size_t offset = 0;
    uint64_t next = 0;
    int rc;

    if (pool == NULL)
        require(weir_pool_create(NULL, &pool) == 0);
    weir_log_scan_init(&scan, weir_view_of(data, size));
    if (size != 0 && data[size - 1] % 2 == 1)
        weir_log_scan_seek(&scan, 0, next = 1);
    while ((rc = weir_log_scan_next(&scan, &found)) != -EAGAIN) {
        require(rc == 0 || rc == -EBADMSG);
        require(scan.offset <= size && scan.end <= scan.offset);
        if (rc != 0) {
            require(scan.gap.offset >= offset && scan.gap.size_bytes <= size - scan.gap.offset);
            require(scan.gap.offset + scan.gap.size_bytes == scan.offset);
            require(scan.gap.size_bytes != 0 || scan.gap.count != 0);
            require(scan.gap.first == next);
            offset = scan.offset;
            next = scan.next;
            continue;
        }
        require(found.offset >= offset && (next == 0 || found.first == next));
        require(scan.durable < found.first || scan.blocks > 1);
        offset = scan.offset;
        next = found.first + found.count;
        read_messages(&found);
        write_anew(pool, &scan, &found);
        begin_there(&scan, &found);
    }
    require(scan.end >= offset || scan.gaps != 0);
    require(scan.fault.error == 0 ? scan.end == size : scan.fault.offset == scan.end);
    weir_log_may_begin(weir_view_of(data, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[size - 1] / 2 % 2 == 0) {
        look_at(data, size);
        return 0;
    }
    uint8_t *bytes = malloc(size);
    require(bytes != NULL);
    memcpy(bytes, data, size);
    mend(bytes, size);
    look_at(bytes, size);
    free(bytes);
    return 0;
}
