/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <string.h>

#include <msgpack.h>

#include <weir/log.h>
#include <weir/pack.h>

#define ID UINT64_C(0x0123456789abcdef)

/* --- a log in memory -------------------------------------------------------------------------- */

#define BLOCKS_MAX 16

struct log {
    struct weir_pool *pool;
    struct weir_buf buf;
    uint64_t next;
    uint8_t bytes[1 << 16];
    size_t size;
    size_t starts[BLOCKS_MAX + 1]; /* of blocks; then the end */
    size_t ends[BLOCKS_MAX];       /* of their messages */
    unsigned blocks;
};

static void log_open(struct log *log)
{
    memset(log, 0, sizeof *log);
    log->pool = test_pool_create(NULL);
    assert_int_equal(weir_buf_init(&log->buf, log->pool, NULL), 0);
    log->next = 1;
}

static void log_close(struct log *log)
{
    weir_buf_fini(&log->buf);
    test_pool_destroy(log->pool);
}

/* A message that its number decides: [number, "xx..."]. */
static struct weir_slice message(struct weir_pool *pool, uint64_t number, size_t text)
{
    struct weir_buf buf;
    struct weir_packer p;
    struct weir_view view;
    struct weir_slice slice;
    char x[256];
    memset(x, 'x', sizeof x);
    assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
    weir_pack_begin(&p, &buf, 0);
    weir_pack_array(&p, 2);
    weir_pack_uint(&p, number);
    weir_pack_str(&p, weir_view_of(x, text));
    assert_int_equal(weir_pack_end(&p, &view), 0);
    assert_int_equal(weir_buf_slice_of(&buf, view, &slice), 0);
    weir_buf_fini(&buf);
    return slice;
}

/* Take what is in the buffer over into bytes. */
static void log_flush(struct log *log)
{
    struct iovec iov[64];
    unsigned count = weir_buf_iovecs(&log->buf, 0, iov, NULL, 64);
    for (unsigned i = 0; i < count; i++) {
        assert_true(iov[i].iov_len <= sizeof log->bytes - log->size);
        memcpy(log->bytes + log->size, iov[i].iov_base, iov[i].iov_len);
        log->size += iov[i].iov_len;
    }
    weir_buf_reset(&log->buf);
}

static void log_block(struct log *log, unsigned count, size_t text, uint64_t pending, size_t align)
{
    struct weir_log_block block;
    assert_int_equal(weir_log_block_begin(&block, &log->buf, ID, log->next), 0);
    for (unsigned i = 0; i < count; i++) {
        struct weir_slice slice = message(log->pool, log->next++, text);
        assert_int_equal(weir_log_block_append(&block, &slice, 1), 0);
        weir_slice_drop(&slice);
    }
    size_t end = log->size + weir_buf_size(&log->buf);
    assert_int_equal(weir_log_block_finish(&block, pending, weir_log_pad_bytes(end, align)), 0);
    log->starts[log->blocks] = log->size;
    log->ends[log->blocks++] = end;
    log_flush(log);
    log->starts[log->blocks] = log->size;
}

/* Four blocks of some messages each, padded in between. */
static void log_fill(struct log *log)
{
    for (unsigned i = 0; i < 4; i++)
        log_block(log, 1 + i, 3 + 20 * i, i, i % 2 == 0 ? 1 : 64);
}

static struct weir_view log_view(const struct log *log)
{
    return weir_view_of(log->bytes, log->size);
}

/* Read all messages of @found and check that they are those of its numbers. */
static void expect_messages(const struct weir_log_found *found)
{
    struct weir_log_messages messages;
    struct weir_view view;
    uint64_t number;
    weir_log_messages_init(&messages, found);
    for (uint32_t i = 0; i < found->count; i++) {
        struct weir_unpacker u;
        uint32_t length;
        assert_int_equal(weir_log_messages_next(&messages, &view), 0);
        assert_int_equal(messages.number, found->first + i);
        weir_unpack_init(&u, view, NULL);
        weir_unpack_array(&u, &length);
        assert_int_equal(weir_unpack_uint(&u, &number), 0);
        assert_int_equal(number, found->first + i);
    }
    assert_int_equal(weir_log_messages_next(&messages, &view), -EAGAIN);
}

/* --- the format ------------------------------------------------------------------------------- */

static void a_block_has_exactly_these_bytes(void **state)
{
    static const uint8_t wanted[] = {
        0xc7, 0x2d, 0x77, 0x42, 0x00, 0x00, 0x00, 0x05,                         /* 5 bytes */
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,                         /* of this log */
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07,                         /* from 7 on */
        0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x03,                         /* 2, pending 3 */
        0x3e, 0x3e, 0x96, 0xf8, 0xf4, 0x58, 0xfb, 0x8c,                         /* checksums */
        0x9c, 0x72, 0x3d, 0xba, 0x6e, 0x23, 0x8e, 0x2b, 0x92, 0x01, 0xa1, 'x',  /* messages */
        0xc0, 0xc7, 0x08, 0x77, 0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* padding */
    };
    struct log log;
    struct weir_log_block block;
    struct weir_slice slice =
        weir_slice_adopt(weir_view_of((const uint8_t *)"\x92\x01\xa1x\xc0", 5), NULL);

    (void)state;
    log_open(&log);
    assert_int_equal(weir_log_block_begin(&block, &log.buf, ID, 7), 0);
    assert_int_equal(weir_log_block_append(&block, &slice, 2), 0);
    assert_int_equal(block.count, 2);
    assert_int_equal(block.size_bytes, 5);
    assert_int_equal(weir_log_pad_bytes(53, 64), 11);
    assert_int_equal(weir_log_block_finish(&block, 3, 11), 0);
    log_flush(&log);
    assert_int_equal(log.size, sizeof wanted);
    assert_memory_equal(log.bytes, wanted, sizeof wanted);
    log_close(&log);
}

static void padding_has_any_size_from_three_bytes_up(void **state)
{
    static const size_t aligns[] = {1, 8, 16, 64, 4096, WEIR_LOG_ALIGN_MAX_BYTES};
    struct log log;

    (void)state;
    log_open(&log);
    for (unsigned a = 0; a < 6; a++)
        for (uint64_t offset = 0; offset < 200; offset++) {
            size_t pad = weir_log_pad_bytes(offset, aligns[a]);
            assert_int_equal((offset + pad) % aligns[a], 0);
            assert_true(pad == 0 || (pad >= 3 && pad < aligns[a] + 3));
            assert_int_equal(pad == 0, offset % aligns[a] == 0);
        }
    for (size_t pad = 3; pad < 140000; pad += pad < 300 || (pad > 65500 && pad < 65600) ? 1 : 997) {
        static uint8_t bytes[140000];
        struct weir_log_scan scan;
        struct weir_log_found found;
        struct weir_view view;
        struct weir_unpacker u;
        int8_t type;
        assert_int_equal(weir_log_pad(&log.buf, pad), 0);
        assert_int_equal(weir_buf_size(&log.buf), pad);
        size_t at = 0;
        struct iovec iov[4];
        unsigned count = weir_buf_iovecs(&log.buf, 0, iov, NULL, 4);
        for (unsigned i = 0; i < count; at += iov[i++].iov_len)
            memcpy(bytes + at, iov[i].iov_base, iov[i].iov_len);
        weir_buf_reset(&log.buf);
        /* One ext value, and nothing to the scan. */
        weir_unpack_init(&u, weir_view_of(bytes, pad), NULL);
        assert_int_equal(weir_unpack_ext(&u, &type, &view), 0);
        assert_int_equal(weir_unpack_end(&u), 0);
        assert_int_equal(type, WEIR_LOG_EXT_TYPE);
        assert_int_equal(view.data[0], 'P');
        weir_log_scan_init(&scan, weir_view_of(bytes, pad));
        assert_int_equal(weir_log_scan_next(&scan, &found), -EAGAIN);
        assert_int_equal(scan.fault.error, 0);
        assert_int_equal(scan.end, pad);
        /* Cut off, or with a byte that is no zero, it is none. */
        scan.input.size = pad - 1;
        weir_log_scan_seek(&scan, 0, 0);
        assert_int_equal(weir_log_scan_next(&scan, &found), -EAGAIN);
        assert_int_equal(scan.fault.error, -EAGAIN);
        assert_int_equal(scan.fault.offset, 0);
    }
    log_close(&log);
}

/* MessagePack-C reads heads, messages and padding as what they are. */
static void another_reader_reads_it(void **state)
{
    struct log log;
    msgpack_unpacked value;
    size_t offset = 0;
    uint64_t next = 1;
    unsigned heads = 0;

    (void)state;
    log_open(&log);
    log_fill(&log);
    msgpack_unpacked_init(&value);
    while (offset < log.size) {
        assert_int_equal(msgpack_unpack_next(&value, (const char *)log.bytes, log.size, &offset),
                         MSGPACK_UNPACK_SUCCESS);
        if (value.data.type == MSGPACK_OBJECT_EXT) {
            assert_int_equal(value.data.via.ext.type, 119);
            heads += value.data.via.ext.ptr[0] == 'B';
            continue;
        }
        assert_int_equal(value.data.type, MSGPACK_OBJECT_ARRAY);
        assert_int_equal(value.data.via.array.ptr[0].via.u64, next++);
    }
    msgpack_unpacked_destroy(&value);
    assert_int_equal(offset, log.size);
    assert_int_equal(heads, 4);
    assert_int_equal(next, 11);
    log_close(&log);
}

/* --- making blocks ---------------------------------------------------------------------------- */

static void large_messages_are_linked_where_they_lie(void **state)
{
    struct log log;
    struct weir_log_block block;
    struct weir_log_scan scan;
    struct weir_log_found found;

    (void)state;
    log_open(&log);
    struct weir_slice large = test_slice(log.pool, 9000, 5);
    uint8_t *bytes = large.block->data;
    memcpy(bytes, "\xc5\x23\x25", 3); /* a bin of all that follows */
    struct weir_slice small = message(log.pool, 1, 4);
    assert_int_equal(weir_log_block_begin(&block, &log.buf, ID, 1), 0);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(weir_log_block_append(&block, &small, 1), 0);
        assert_int_equal(weir_buf_bytes_copied(&log.buf), (i + 1) * small.view.size);
        if (i < 2)
            assert_int_equal(weir_log_block_append(&block, &large, 1), 0);
    }
    assert_false(weir_block_is_exclusive(large.block));
    assert_int_equal(weir_log_block_finish(&block, 0, 0), 0);
    log_flush(&log);
    weir_log_scan_init(&scan, log_view(&log));
    assert_int_equal(weir_log_scan_next(&scan, &found), 0);
    assert_int_equal(found.count, 22);
    assert_int_equal(found.messages.size, 18000 + 20 * small.view.size);
    assert_memory_equal(found.messages.data + small.view.size, bytes, 9000);
    assert_int_equal(weir_log_scan_next(&scan, &found), -EAGAIN);
    assert_int_equal(scan.fault.error, 0);
    weir_slice_drop(&large);
    weir_slice_drop(&small);
    log_close(&log);
}

static void what_does_not_fit_a_block_changes_nothing(void **state)
{
    static const uint8_t nil[2] = {0xc0, 0xc0};
    struct log log;
    struct weir_log_block block;
    struct weir_slice one = weir_slice_adopt(weir_view_of(nil, 1), NULL);
    struct weir_slice huge = weir_slice_adopt(weir_view_of(nil, WEIR_LOG_BLOCK_MAX_BYTES), NULL);

    (void)state;
    log_open(&log);
    assert_int_equal(weir_log_block_begin(&block, &log.buf, ID, 1), 0);
    assert_int_equal(weir_log_block_append(&block, &one, 0), -EINVAL);
    assert_int_equal(weir_log_block_append(&block, &one, 2), -EINVAL);
    assert_int_equal(weir_log_block_append(&block, &one, 1), 0);
    assert_int_equal(weir_log_block_append(&block, &huge, 1), -EOVERFLOW);
    assert_int_equal(block.count, 1);
    assert_int_equal(block.size_bytes, 1);
    assert_int_equal(weir_buf_size(&log.buf), WEIR_LOG_HEAD_BYTES + 1);
    log_close(&log);
}

/* Every allocation fails in turn; what fails can be tried again. */
static void blocks_survive_want_of_memory(void **state)
{
    struct test_source source;
    struct weir_buf buf;
    struct weir_log_block block;
    struct weir_log_index index;
    struct weir_pool *pool;
    bool failed = true;

    (void)state;
    for (uint64_t n = 1; failed; n++) {
        test_source_init(&source);
        pool = test_pool_create(&source);
        struct weir_slice large = test_slice(pool, 5000, 1);
        struct weir_log_entry entry = {1, 0, 0};
        assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
        weir_log_index_init(&index, pool, 0);
        test_source_fail(&source, n);
        size_t before = 0;
        int rc = weir_log_block_begin(&block, &buf, ID, 1);
        for (unsigned i = 0; i < 40 && rc == 0; i++) {
            before = weir_buf_size(&buf);
            rc = weir_log_block_append(&block, &large, 1);
        }
        if (rc == 0) {
            before = weir_buf_size(&buf);
            rc = weir_log_block_finish(&block, 0, (size_t)1 << 20);
            if (rc != 0)
                assert_int_equal(weir_log_block_finish(&block, 0, 0), 0);
        }
        if (rc == 0)
            before = weir_buf_size(&buf);
        assert_int_equal(weir_buf_size(&buf), before);
        for (; entry.first < 1000 && rc == 0; entry.first++)
            rc = weir_log_index_add(&index, &entry);
        failed = source.failures != 0;
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        weir_log_index_fini(&index);
        weir_buf_fini(&buf);
        weir_slice_drop(&large);
        test_pool_destroy(pool);
        test_source_fini(&source);
    }
}

/* --- damage ----------------------------------------------------------------------------------- */

static void a_whole_log_is_found_in_order(void **state)
{
    struct log log;
    struct weir_log_scan scan;
    struct weir_log_found found;

    (void)state;
    log_open(&log);
    weir_log_scan_init(&scan, log_view(&log));
    assert_int_equal(weir_log_scan_next(&scan, &found), -EAGAIN); /* an empty one */
    assert_int_equal(scan.fault.error, 0);
    log_fill(&log);
    weir_log_scan_init(&scan, log_view(&log));
    uint64_t next = 1;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(weir_log_scan_next(&scan, &found), 0);
        assert_int_equal(found.offset, log.starts[i]);
        assert_int_equal(found.first, next);
        assert_int_equal(found.count, i + 1);
        assert_int_equal(found.pending, i);
        assert_int_equal(scan.durable, i < 2 ? 0 : next - 1 - i);
        expect_messages(&found);
        next += found.count;
    }
    assert_int_equal(weir_log_scan_next(&scan, &found), -EAGAIN);
    assert_int_equal(scan.end, log.size);
    assert_int_equal(scan.fault.error, 0);
    assert_int_equal(scan.id, ID);
    assert_int_equal(scan.gaps, 0);
    log_close(&log);
}

/* Cut anywhere: the blocks before are found, and the cut is told exactly. */
static void every_cut_of_the_last_two_blocks_is_a_torn_tail(void **state)
{
    struct log log;
    struct weir_log_scan scan;
    struct weir_log_found found;

    (void)state;
    log_open(&log);
    log_fill(&log);
    for (size_t size = log.starts[2]; size <= log.size; size++) {
        uint8_t *copy = test_malloc(size); /* so that a byte too much is seen */
        memcpy(copy, log.bytes, size);
        weir_log_scan_init(&scan, weir_view_of(copy, size));
        unsigned blocks = 0;
        while (weir_log_scan_next(&scan, &found) == 0) {
            expect_messages(&found);
            blocks++;
        }
        assert_int_equal(scan.gaps, 0);
        bool clean = size == log.starts[2] || size == log.starts[3] || size == log.size ||
                     size == log.ends[3];
        unsigned last = size >= log.ends[3] ? 4 : size >= log.starts[3] ? 3 : 2;
        assert_int_equal(blocks, last);
        assert_int_equal(scan.fault.error, clean ? 0 : -EAGAIN);
        assert_int_equal(scan.end, clean ? size : last == 4 ? log.ends[3] : log.starts[last]);
        if (!clean)
            assert_int_equal(scan.fault.offset, scan.end);
        test_free(copy);
    }
    log_close(&log);
}

/* What a scan must find of damage at byte @at, in block @hurt or the padding behind it. */
static void expect_damage(const struct log *log, size_t at, unsigned hurt)
{
    struct weir_log_scan scan;
    struct weir_log_found found;
    unsigned blocks = 0;
    unsigned gaps = 0;
    int rc;
    weir_log_scan_init(&scan, log_view(log));
    weir_log_scan_seek(&scan, 0, 1);
    while ((rc = weir_log_scan_next(&scan, &found)) != -EAGAIN) {
        if (rc == 0) {
            expect_messages(&found);
            blocks++;
            continue;
        }
        assert_int_equal(rc, -EBADMSG);
        gaps++;
        assert_int_equal(scan.gap.offset + scan.gap.size_bytes, log->starts[hurt + 1]);
        /* Another length can make shorter padding of it, then the zeros behind it are damage. */
        bool in_padding = at >= log->ends[hurt];
        if (in_padding)
            assert_true(scan.gap.offset >= log->ends[hurt]);
        else
            assert_int_equal(scan.gap.offset, log->starts[hurt]);
        assert_int_equal(scan.gap.count, in_padding ? 0 : hurt + 1);
    }
    assert_int_equal(gaps, scan.gaps);
    if (hurt < 3) {
        assert_int_equal(gaps, 1);
        assert_int_equal(scan.fault.error, 0);
        assert_int_equal(blocks, at < log->ends[hurt] ? 3 : 4);
    } else {
        assert_int_equal(gaps, 0);
        assert_int_equal(scan.fault.error, -EAGAIN);
        assert_int_equal(scan.fault.offset, scan.end);
        assert_int_equal(blocks, at < log->ends[hurt] ? 3 : 4);
        if (blocks == 3)
            assert_int_equal(scan.end, log->starts[3]);
        else
            assert_true(scan.end >= log->ends[3] && scan.end < log->size);
    }
}

static void every_flipped_byte_is_found_where_it_is(void **state)
{
    struct log log;

    (void)state;
    log_open(&log);
    log_fill(&log);
    for (unsigned hurt = 0; hurt < 4; hurt++)
        for (size_t at = log.starts[hurt]; at < log.starts[hurt + 1]; at++)
            for (unsigned bit = 0; bit < 9; bit++) {
                uint8_t was = log.bytes[at];
                log.bytes[at] ^= bit == 8 ? 0xff : (uint8_t)(1u << bit);
                expect_damage(&log, at, hurt);
                log.bytes[at] = was;
            }
    log_close(&log);
}

static void a_gap_between_two_blocks_in_flight_is_told(void **state)
{
    struct log log;
    struct weir_log_scan scan;
    struct weir_log_found found;

    (void)state;
    log_open(&log);
    log_fill(&log);
    memset(log.bytes + log.starts[1], 0, log.starts[3] - log.starts[1]);
    weir_log_scan_init(&scan, log_view(&log));
    assert_int_equal(weir_log_scan_next(&scan, &found), 0);
    assert_int_equal(weir_log_scan_next(&scan, &found), -EBADMSG);
    assert_int_equal(scan.gap.offset, log.starts[1]);
    assert_int_equal(scan.gap.size_bytes, log.starts[3] - log.starts[1]);
    assert_int_equal(scan.gap.first, 2);
    assert_int_equal(scan.gap.count, 5);
    assert_string_equal(scan.gap.reason, "no head of a block, nor padding");
    assert_int_equal(weir_log_scan_next(&scan, &found), 0);
    assert_int_equal(found.first, 7);
    /* That block knew that messages 2 and 3 were durable: what is missing had been whole. */
    assert_int_equal(scan.durable, 3);
    assert_int_equal(weir_log_scan_next(&scan, &found), -EAGAIN);
    assert_int_equal(scan.fault.error, 0);
    log_close(&log);
}

static void numbers_that_are_missing_or_behind_are_told(void **state)
{
    struct log log;
    struct weir_log_scan scan;
    struct weir_log_found found;

    (void)state;
    log_open(&log);
    log_block(&log, 2, 3, 0, 1);
    log.next = 10;
    log_block(&log, 1, 3, 0, 1);
    log.next = 5;
    log_block(&log, 1, 3, 0, 1);
    log.next = 11;
    log_block(&log, 1, 3, 0, 1);
    weir_log_scan_init(&scan, log_view(&log));
    assert_int_equal(weir_log_scan_next(&scan, &found), 0);
    assert_int_equal(weir_log_scan_next(&scan, &found), -EBADMSG);
    assert_int_equal(scan.gap.size_bytes, 0);
    assert_int_equal(scan.gap.first, 3);
    assert_int_equal(scan.gap.count, 7);
    assert_string_equal(scan.gap.reason, "messages are missing");
    assert_int_equal(weir_log_scan_next(&scan, &found), 0);
    assert_int_equal(weir_log_scan_next(&scan, &found), -EBADMSG);
    assert_int_equal(scan.gap.offset, log.starts[2]);
    assert_int_equal(scan.gap.size_bytes, log.starts[3] - log.starts[2]);
    assert_int_equal(scan.gap.count, 0);
    assert_string_equal(scan.gap.reason, "a block whose number is behind");
    assert_int_equal(weir_log_scan_next(&scan, &found), 0);
    assert_int_equal(found.first, 11);
    assert_int_equal(weir_log_scan_next(&scan, &found), -EAGAIN);
    log_close(&log);
}

/* A log within a message, or a block of another log, is not taken for a part of this one. */
static void blocks_within_messages_are_not_found(void **state)
{
    struct log log, inner;
    struct weir_log_block block;
    struct weir_log_scan scan;
    struct weir_log_found found;

    (void)state;
    log_open(&inner);
    log_fill(&inner);
    log_open(&log);
    log_block(&log, 11, 3, 0, 1);
    uint8_t head[3] = {0xc5, (uint8_t)(inner.size >> 8), (uint8_t)inner.size};
    struct weir_slice bin = weir_slice_adopt(weir_view_of(head, 3), NULL);
    struct weir_slice bytes = weir_slice_adopt(log_view(&inner), NULL);
    assert_int_equal(weir_log_block_begin(&block, &log.buf, ID, 12), 0);
    assert_int_equal(weir_log_block_append(&block, &bin, 1), 0);
    assert_int_equal(weir_log_block_append(&block, &bytes, 1), 0);
    block.count = 1; /* both are one message */
    assert_int_equal(weir_log_block_finish(&block, 0, 0), 0);
    size_t begin = log.size;
    log_flush(&log);
    log.next = 13;
    log_block(&log, 1, 3, 0, 1);
    /* The message's own bytes are damaged, or its head is, so that they are searched. */
    for (size_t at = 5; at < 50; at += 44) {
        log.bytes[begin + at] ^= 1;
        weir_log_scan_init(&scan, log_view(&log));
        assert_int_equal(weir_log_scan_next(&scan, &found), 0);
        assert_int_equal(weir_log_scan_next(&scan, &found), -EBADMSG);
        assert_int_equal(scan.gap.offset, begin);
        assert_int_equal(scan.gap.first, 12);
        assert_int_equal(scan.gap.count, 1);
        assert_int_equal(weir_log_scan_next(&scan, &found), 0);
        assert_int_equal(found.first, 13);
        log.bytes[begin + at] ^= 1;
    }
    log_close(&log);
    log_close(&inner);
}

static void a_block_that_lies_about_its_messages_is_refused(void **state)
{
    struct log log;
    struct weir_log_block block;
    struct weir_log_scan scan;
    struct weir_log_found found;
    struct weir_log_messages messages;
    struct weir_view view;
    struct weir_slice two = weir_slice_adopt(weir_view_of((const uint8_t *)"\xc0\xc0", 2), NULL);
    struct weir_slice cut =
        weir_slice_adopt(weir_view_of((const uint8_t *)"\xc0\x92\xc0", 3), NULL);

    (void)state;
    log_open(&log);
    assert_int_equal(weir_log_block_begin(&block, &log.buf, ID, 1), 0);
    assert_int_equal(weir_log_block_append(&block, &two, 1), 0);
    assert_int_equal(weir_log_block_finish(&block, 0, 0), 0);
    assert_int_equal(weir_log_block_begin(&block, &log.buf, ID, 2), 0);
    assert_int_equal(weir_log_block_append(&block, &cut, 2), 0);
    assert_int_equal(weir_log_block_finish(&block, 0, 0), 0);
    log_flush(&log);
    weir_log_scan_init(&scan, log_view(&log));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(weir_log_scan_next(&scan, &found), 0);
        weir_log_messages_init(&messages, &found);
        assert_int_equal(weir_log_messages_next(&messages, &view), 0);
        assert_int_equal(weir_log_messages_next(&messages, &view), -EBADMSG);
        assert_int_equal(weir_log_messages_next(&messages, &view), -EBADMSG);
    }
    log_close(&log);
}

static void somebody_elses_bytes_are_no_beginning(void **state)
{
    static const uint8_t zeros[9], head[] = {0xc7, 0x2d, 0x77, 0x42, 1}, other[] = {0x93, 1, 2, 3};
    static const uint8_t late[] = {0, 0, 0, 1};

    (void)state;
    assert_true(weir_log_may_begin(weir_view_of(NULL, 0)));
    for (size_t size = 1; size <= sizeof head; size++)
        assert_true(weir_log_may_begin(weir_view_of(head, size)));
    assert_true(weir_log_may_begin(weir_view_of(zeros, 1)));
    assert_true(weir_log_may_begin(weir_view_of(zeros, 9)));
    assert_false(weir_log_may_begin(weir_view_of(other, 1)));
    assert_false(weir_log_may_begin(weir_view_of(other, 4)));
    assert_false(weir_log_may_begin(weir_view_of(late, 4)));
    assert_false(weir_log_may_begin(weir_view_of(head + 1, 3)));
}

/* --- by number -------------------------------------------------------------------------------- */

static void the_index_finds_the_block_before_a_number(void **state)
{
    struct log log;
    struct weir_log_index index;
    struct weir_log_entry entry = {0, 0, 0};

    (void)state;
    log_open(&log);
    weir_log_index_init(&index, log.pool, 100);
    assert_int_equal(weir_log_index_find(&index, 1, &entry), -ENOENT);
    for (uint64_t i = 0; i < 5000; i++) {
        entry.first = 10 + 7 * i;
        entry.offset = 30 * (i % 2500);
        entry.segment = i / 2500;
        assert_int_equal(weir_log_index_add(&index, &entry), 0);
        assert_int_equal(weir_log_index_add(&index, &entry), 0); /* known */
    }
    assert_int_equal(weir_batch_count(&index.entries), 1250);
    assert_int_equal(weir_log_index_find(&index, 9, &entry), -ENOENT);
    for (uint64_t number = 10; number < 36000; number += 3) {
        assert_int_equal(weir_log_index_find(&index, number, &entry), 0);
        uint64_t block = (number - 10) / 7;
        if (block > 4999)
            block = 4999;
        uint64_t in_segment = block % 2500 / 4 * 4;
        assert_int_equal(entry.segment, block / 2500);
        assert_int_equal(entry.offset, in_segment * 30);
        assert_int_equal(entry.first, 10 + 7 * (block / 2500 * 2500 + in_segment));
    }
    weir_log_index_fini(&index);
    log_close(&log);
}

static void heads_alone_lead_to_a_block(void **state)
{
    struct log log;
    struct weir_log_scan scan;
    struct weir_log_found found;

    (void)state;
    log_open(&log);
    log_fill(&log);
    log.bytes[log.starts[1] + WEIR_LOG_HEAD_BYTES] ^= 1; /* which is not looked at */
    weir_log_scan_init(&scan, log_view(&log));
    scan.heads_only = true;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(weir_log_scan_next(&scan, &found), 0);
        assert_int_equal(found.offset, log.starts[i]);
    }
    assert_int_equal(weir_log_scan_next(&scan, &found), -EAGAIN);
    scan.heads_only = false;
    weir_log_scan_seek(&scan, log.starts[2], 4);
    assert_int_equal(weir_log_scan_next(&scan, &found), 0);
    expect_messages(&found);
    weir_log_scan_seek(&scan, log.starts[1], 2);
    assert_int_equal(weir_log_scan_next(&scan, &found), -EBADMSG);
    assert_int_equal(scan.gap.size_bytes, log.starts[2] - log.starts[1]);
    log_close(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_has_exactly_these_bytes),
        cmocka_unit_test(padding_has_any_size_from_three_bytes_up),
        cmocka_unit_test(another_reader_reads_it),
        cmocka_unit_test(large_messages_are_linked_where_they_lie),
        cmocka_unit_test(what_does_not_fit_a_block_changes_nothing),
        cmocka_unit_test(blocks_survive_want_of_memory),
        cmocka_unit_test(a_whole_log_is_found_in_order),
        cmocka_unit_test(every_cut_of_the_last_two_blocks_is_a_torn_tail),
        cmocka_unit_test(every_flipped_byte_is_found_where_it_is),
        cmocka_unit_test(a_gap_between_two_blocks_in_flight_is_told),
        cmocka_unit_test(numbers_that_are_missing_or_behind_are_told),
        cmocka_unit_test(blocks_within_messages_are_not_found),
        cmocka_unit_test(a_block_that_lies_about_its_messages_is_refused),
        cmocka_unit_test(somebody_elses_bytes_are_no_beginning),
        cmocka_unit_test(the_index_finds_the_block_before_a_number),
        cmocka_unit_test(heads_alone_lead_to_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
