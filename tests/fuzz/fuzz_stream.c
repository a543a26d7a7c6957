/* SPDX-License-Identifier: MIT */
/*
 * fuzz_stream: however a flow is cut, the same messages come out of it, and the same fault.
 *
 * The first byte chooses limits, the next eight the cuts, whether pieces touch, the framing, and
 * whether messages come in one piece, as views, as chains or in parts; the rest flows.
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

enum way { PIECE, CHAIN, PARTS, VIEW, VIEWS, WAYS };

#define VIEWS_MAX 5

/* How a flow is read. */
struct plan {
    struct weir_limits limits;
    enum weir_framing framing;
    enum way way;
    size_t fragment_min;
};

struct reader {
    struct weir_stream stream;
    struct weir_chain chain;
    struct weir_view flow;
    uint64_t offset;  /* up to here all came out */
    uint64_t message; /* and here the message began */
    uint64_t payload_left;
};

/* The next bytes of the flow are @got, behind the length that framing puts there. */
static void expect_bytes(struct reader *r, struct weir_view got, size_t prefix)
{
    struct weir_view wanted;

    r->offset += prefix;
    require(weir_view_slice(r->flow, (size_t)r->offset, got.size, &wanted) == 0);
    require(weir_view_equal(wanted, got));
    r->offset += got.size;
    require(weir_stream_offset(&r->stream) == r->offset);
}

static void end_message(struct reader *r, const struct plan *plan)
{
    if (plan->framing == WEIR_FRAMING_VALUES) {
        struct weir_limits limits = {.depth = WEIR_DEPTH_MAX};
        size_t size = (size_t)(r->offset - r->message);
        int checked = weir_check(weir_view_of(r->flow.data + r->message, size), &limits, NULL);
        require(checked == 0 || checked == -ENOBUFS);
    }
    r->message = r->offset;
}

static int take_chain(struct reader *r, const struct plan *plan, size_t prefix)
{
    int rc = weir_stream_next_chain(&r->stream, &r->chain);
    struct weir_view wanted;

    if (rc != 0)
        return rc;
    r->offset += prefix;
    require(weir_view_slice(r->flow, (size_t)r->offset, r->chain.size_bytes, &wanted) == 0);
    require(weir_chain_equal_view(&r->chain, wanted));
    r->offset += wanted.size;
    weir_chain_reset(&r->chain);
    end_message(r, plan);
    return 0;
}

static int take_part(struct reader *r, const struct plan *plan, size_t prefix)
{
    struct weir_stream_part part;
    bool is_first = r->message == r->offset;

    int rc = weir_stream_next_part(&r->stream, plan->fragment_min, &part);
    if (rc != 0)
        return rc;
    expect_bytes(r, part.bytes.view, is_first ? prefix : 0);
    if (part.kind == WEIR_PART_FRAGMENT)
        require(part.payload_left == r->payload_left - part.bytes.view.size);
    else
        require(r->payload_left == 0);
    require((part.kind == WEIR_PART_WHOLE) == (is_first && part.payload_left == 0));
    r->payload_left = part.payload_left;
    weir_slice_drop(&part.bytes);
    if (part.kind == WEIR_PART_WHOLE || part.kind == WEIR_PART_TAIL)
        end_message(r, plan);
    return 0;
}

static int take_views(struct reader *r, const struct plan *plan, size_t prefix)
{
    struct weir_view views[VIEWS_MAX];
    size_t capacity = 1 + plan->fragment_min % VIEWS_MAX;
    size_t count = 1;

    int rc = plan->way == VIEW ? weir_stream_next_view(&r->stream, views)
                               : weir_stream_next_views(&r->stream, capacity, views, &count);
    if (rc != 0)
        return rc;
    require(count >= 1 && count <= capacity);
    for (size_t i = 0; i < count; i++) {
        struct weir_view wanted;
        r->offset += prefix;
        require(weir_view_slice(r->flow, (size_t)r->offset, views[i].size, &wanted) == 0);
        require(weir_view_equal(wanted, views[i]));
        r->offset += wanted.size;
        end_message(r, plan);
    }
    require(weir_stream_offset(&r->stream) == r->offset);
    return 0;
}

static int take(struct reader *r, const struct plan *plan)
{
    size_t prefix = plan->framing == WEIR_FRAMING_LENGTH32 ? 4 : 0;
    struct weir_slice message;

    if (plan->way == CHAIN)
        return take_chain(r, plan, prefix);
    if (plan->way == PARTS)
        return take_part(r, plan, prefix);
    if (plan->way == VIEW || plan->way == VIEWS)
        return take_views(r, plan, prefix);
    int rc = weir_stream_next(&r->stream, &message);
    if (rc != 0)
        return rc;
    expect_bytes(r, message.view, prefix);
    weir_slice_drop(&message);
    end_message(r, plan);
    return 0;
}

struct verdict {
    int error;
    struct weir_fault fault;
    struct weir_stream_stats stats;
    uint64_t message;
    bool partial;
};

/* Feed @whole in pieces of random sizes, or as one if @state is NULL. */
static struct verdict run(struct weir_pool *pool, const struct plan *plan,
                          const struct weir_slice *whole, uint64_t *state)
{
    struct verdict verdict = {-EAGAIN, {0, 0, NULL}, {0, 0, 0, 0}, 0, false};
    struct weir_view flow = whole->view;
    struct reader r = {.flow = flow};
    size_t largest = state != NULL ? 1 + next_random(state) % 64 : 0;

    weir_stream_init_framed(&r.stream, pool, plan->framing, &plan->limits);
    weir_chain_init(&r.chain, pool);
    for (size_t at = 0; at < flow.size && verdict.error == -EAGAIN;) {
        size_t size = state != NULL ? next_random(state) % (largest + 1) : flow.size;
        struct weir_slice piece;
        if (size > flow.size - at)
            size = flow.size - at;
        if (state == NULL || next_random(state) % 4 == 0)
            require(weir_slice_sub(whole, at, size, &piece) == 0);
        else
            piece = make_slice(pool, weir_view_of(flow.data + at, size));
        require(weir_stream_feed(&r.stream, &piece) == 0);
        weir_slice_drop(&piece);
        while ((verdict.error = take(&r, plan)) == 0)
            ;
        at += size;
        if (verdict.error == -EAGAIN)
            require(weir_stream_is_partial(&r.stream) == (r.message != at));
        if (state != NULL && next_random(state) % 8 == 0)
            require(weir_stream_compact(&r.stream, 64) == 0);
    }
    verdict.fault = weir_stream_fault(&r.stream);
    verdict.stats = weir_stream_stats(&r.stream);
    verdict.partial = weir_stream_is_partial(&r.stream);
    verdict.message = r.message;
    require(verdict.fault.error == (verdict.error == -EAGAIN ? 0 : verdict.error));
    weir_stream_fini(&r.stream);
    weir_chain_fini(&r.chain);
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan plan = {.limits = {.bytes = 1 << 20}};
    struct weir_pool *pool;

    if (size < 9)
        return 0;
    if (data[0] % 4 == 1)
        plan.limits.bytes = 1u + data[0] / 4;
    else if (data[0] % 4 == 2)
        plan.limits.elements = 1u + data[0] / 4;
    uint64_t state = weir_wire_load64(data + 1);
    plan.way = (enum way)(data[1] % WAYS);
    plan.framing = data[1] / WAYS % 2 != 0 ? WEIR_FRAMING_LENGTH32 : WEIR_FRAMING_VALUES;
    plan.fragment_min = 1u + data[2] % 32;
    require(weir_pool_create(NULL, &pool) == 0);
    struct weir_slice whole = make_slice(pool, weir_view_of(data + 9, size - 9));
    struct verdict one = run(pool, &plan, &whole, NULL);
    require((plan.way == CHAIN || one.stats.bytes_copied == 0) && one.stats.gathered == 0);
    for (int round = 0; round < 3; round++) {
        struct verdict cut = run(pool, &plan, &whole, &state);
        require(cut.error == one.error && cut.message == one.message && cut.partial == one.partial);
        require(cut.fault.offset == one.fault.offset);
        require(cut.stats.messages == one.stats.messages);
        require(plan.way == PARTS || cut.stats.bytes == one.stats.bytes);
        require(cut.stats.bytes_copied <= 8 * (size + 1));
    }
    weir_slice_drop(&whole);
    require(weir_pool_destroy(pool) == 0);
    return 0;
}
