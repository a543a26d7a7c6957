/* SPDX-License-Identifier: MIT */
/*
 * fuzz_stream: however a flow is cut, the same messages come out of it, and the same fault.
 *
 * The first byte chooses limits, the next eight the cuts and whether pieces touch; the rest flows.
 */
#include <errno.h>
#include <stdlib.h>

#include <weir/stream.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static struct weir_slice make_slice(struct weir_pool *pool, struct weir_view bytes)
{
    struct weir_block *block;

    require(weir_pool_alloc(pool, bytes.size, &block) == 0);
    if (bytes.size != 0)
        memcpy(block->data, bytes.data, bytes.size);
    return weir_slice_adopt(weir_view_of(block->data, bytes.size), block);
}

/* Take all messages that are there: they are the bytes of @flow from @*offset on. */
static int drain(struct weir_stream *stream, struct weir_view flow, uint64_t *offset)
{
    struct weir_slice message;
    int rc;

    while ((rc = weir_stream_next(stream, &message)) == 0) {
        struct weir_view wanted;
        struct weir_limits limits = {.depth = WEIR_DEPTH_MAX};
        require(weir_view_slice(flow, (size_t)*offset, message.view.size, &wanted) == 0);
        require(weir_view_equal(wanted, message.view));
        int checked = weir_check(message.view, &limits, NULL);
        require(checked == 0 || checked == -ENOBUFS);
        *offset += message.view.size;
        require(weir_stream_offset(stream) == *offset);
        weir_slice_drop(&message);
    }
    return rc;
}

struct verdict {
    int error;
    struct weir_fault fault;
    struct weir_stream_stats stats;
    uint64_t offset;
    bool partial;
};

/* Feed @whole in pieces of random sizes, or as one if @state is NULL. */
static struct verdict run(struct weir_pool *pool, const struct weir_limits *limits,
                          const struct weir_slice *whole, uint64_t *state)
{
    struct verdict verdict = {-EAGAIN, {0, 0, NULL}, {0, 0, 0, 0}, 0, false};
    struct weir_view flow = whole->view;
    struct weir_stream stream;
    size_t largest = state != NULL ? 1 + next_random(state) % 64 : 0;

    weir_stream_init(&stream, pool, limits);
    for (size_t at = 0; at < flow.size && verdict.error == -EAGAIN;) {
        size_t size = state != NULL ? next_random(state) % (largest + 1) : flow.size;
        struct weir_slice piece;
        if (size > flow.size - at)
            size = flow.size - at;
        if (state == NULL || next_random(state) % 4 == 0)
            require(weir_slice_sub(whole, at, size, &piece) == 0);
        else
            piece = make_slice(pool, weir_view_of(flow.data + at, size));
        require(weir_stream_feed(&stream, &piece) == 0);
        weir_slice_drop(&piece);
        verdict.error = drain(&stream, flow, &verdict.offset);
        at += size;
        if (verdict.error == -EAGAIN)
            require(weir_stream_is_partial(&stream) == (verdict.offset != at));
    }
    verdict.fault = weir_stream_fault(&stream);
    verdict.stats = weir_stream_stats(&stream);
    verdict.partial = weir_stream_is_partial(&stream);
    require(verdict.fault.error == (verdict.error == -EAGAIN ? 0 : verdict.error));
    weir_stream_fini(&stream);
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_limits limits = {.bytes = 1 << 20};
    struct weir_pool *pool;

    if (size < 9)
        return 0;
    if (data[0] % 4 == 1)
        limits.bytes = 1u + data[0] / 4;
    else if (data[0] % 4 == 2)
        limits.elements = 1u + data[0] / 4;
    uint64_t state = weir_wire_load64(data + 1);
    require(weir_pool_create(NULL, &pool) == 0);
    struct weir_slice whole = make_slice(pool, weir_view_of(data + 9, size - 9));
    struct verdict one = run(pool, &limits, &whole, NULL);
    require(one.stats.bytes_copied == 0 && one.stats.gathered == 0);
    for (int round = 0; round < 3; round++) {
        struct verdict cut = run(pool, &limits, &whole, &state);
        require(cut.error == one.error && cut.offset == one.offset && cut.partial == one.partial);
        require(cut.fault.offset == one.fault.offset);
        require(cut.stats.messages == one.stats.messages && cut.stats.bytes == one.stats.bytes);
        require(cut.stats.bytes_copied <= 8 * (size + 1));
    }
    weir_slice_drop(&whole);
    require(weir_pool_destroy(pool) == 0);
    return 0;
}
