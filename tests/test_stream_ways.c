/* SPDX-License-Identifier: MIT */
/* Streams: framing by length, messages as chains and in parts. What is common is in test_stream. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/stream.h>

#include "documents.h"

#define FLOW_BYTES_MAX 8192
#define MESSAGES_MAX 512
#define FRAGMENT_BYTES 16

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

/* Messages in a flow, and where the bytes of each lie in it. */
struct flow {
    uint8_t bytes[FLOW_BYTES_MAX];
    size_t size;
    struct weir_view messages[MESSAGES_MAX];
    size_t ends[MESSAGES_MAX];
    size_t count;
    enum weir_framing framing;
};

static void flow_add(struct flow *flow, struct weir_view message)
{
    uint8_t *at = flow->bytes + flow->size;
    size_t prefix = flow->framing == WEIR_FRAMING_LENGTH32 ? 4 : 0;

    assert_true(flow->count < MESSAGES_MAX && prefix + message.size <= FLOW_BYTES_MAX - flow->size);
    if (prefix != 0)
        weir_wire_store32(at, (uint32_t)message.size);
    if (message.size != 0)
        memcpy(at + prefix, message.data, message.size);
    flow->messages[flow->count] = weir_view_of(at + prefix, message.size);
    flow->size += prefix + message.size;
    flow->ends[flow->count++] = flow->size;
}

/* Every document that fits, value by value. */
static void flow_init(struct flow *flow, enum weir_framing framing)
{
    flow->size = 0;
    flow->count = 0;
    flow->framing = framing;
    if (framing == WEIR_FRAMING_LENGTH32)
        flow_add(flow, weir_view_of(NULL, 0));
    for (size_t i = 0; i < documents_count; i++) {
        struct weir_unpacker u;
        struct weir_view value;
        weir_unpack_init(&u, documents[i], NULL);
        while (!weir_unpack_done(&u)) {
            assert_int_equal(weir_unpack_raw(&u, &value), 0);
            if (value.size < 400 && value.size + 4 < FLOW_BYTES_MAX - flow->size)
                flow_add(flow, value);
        }
    }
}

/* --- one reader for all ways ------------------------------------------------------------------ */

enum way { PIECE, CHAIN, PARTS, WAYS };

struct reader {
    struct weir_stream stream;
    struct weir_chain chain;
    const struct flow *flow;
    size_t next;
    enum way way;
    uint8_t parts[FLOW_BYTES_MAX]; /* of the message so far */
    size_t parts_bytes;
    uint64_t payload_left;
    bool head_came;
};

static void reader_init(struct reader *r, struct weir_pool *pool, const struct flow *flow,
                        enum way way)
{
    weir_stream_init_framed(&r->stream, pool, flow->framing, NULL);
    weir_chain_init(&r->chain, pool);
    r->flow = flow;
    r->next = 0;
    r->way = way;
    r->parts_bytes = 0;
    r->payload_left = 0;
    r->head_came = false;
}

static void expect_message(struct reader *r, struct weir_view got)
{
    assert_true(r->next < r->flow->count);
    struct weir_view wanted = r->flow->messages[r->next];
    assert_int_equal(got.size, wanted.size);
    if (wanted.size != 0)
        assert_memory_equal(got.data, wanted.data, wanted.size);
    assert_int_equal(weir_stream_offset(&r->stream), r->flow->ends[r->next]);
    r->next++;
}

static int take_piece(struct reader *r)
{
    struct weir_slice message;
    int rc = weir_stream_next(&r->stream, &message);

    if (rc == 0) {
        expect_message(r, message.view);
        weir_slice_drop(&message);
    }
    return rc;
}

static int take_chain(struct reader *r)
{
    uint8_t bytes[FLOW_BYTES_MAX];
    int rc = weir_stream_next_chain(&r->stream, &r->chain);

    if (rc == 0) {
        size_t size = r->chain.size_bytes;
        assert_int_equal(weir_chain_copy(&r->chain, 0, bytes, size), 0);
        expect_message(r, weir_view_of(bytes, size));
        weir_chain_reset(&r->chain);
    }
    return rc;
}

/* What may come after what. */
static void expect_order(struct reader *r, const struct weir_stream_part *part)
{
    switch (part->kind) {
    case WEIR_PART_WHOLE:
        assert_false(r->head_came);
        assert_int_equal(part->payload_left, 0);
        break;
    case WEIR_PART_HEAD:
        assert_int_equal(r->payload_left, 0);
        assert_true(part->payload_left >= FRAGMENT_BYTES);
        r->head_came = true;
        break;
    case WEIR_PART_FRAGMENT:
        assert_true(r->head_came && part->bytes.view.size != 0);
        assert_int_equal(part->payload_left, r->payload_left - part->bytes.view.size);
        break;
    case WEIR_PART_TAIL:
        assert_true(r->head_came);
        assert_int_equal(r->payload_left, 0);
        assert_int_equal(part->payload_left, 0);
        r->head_came = false;
        break;
    }
    r->payload_left = part->payload_left;
}

static int take_part(struct reader *r)
{
    struct weir_stream_part part;
    int rc = weir_stream_next_part(&r->stream, FRAGMENT_BYTES, &part);

    if (rc != 0)
        return rc;
    expect_order(r, &part);
    size_t size = part.bytes.view.size;
    assert_true(size <= sizeof r->parts - r->parts_bytes);
    if (size != 0)
        memcpy(r->parts + r->parts_bytes, part.bytes.view.data, size);
    r->parts_bytes += size;
    if (part.kind == WEIR_PART_WHOLE || part.kind == WEIR_PART_TAIL) {
        expect_message(r, weir_view_of(r->parts, r->parts_bytes));
        r->parts_bytes = 0;
    }
    weir_slice_drop(&part.bytes);
    return 0;
}

static int take(struct reader *r)
{
    return r->way == PIECE ? take_piece(r) : r->way == CHAIN ? take_chain(r) : take_part(r);
}

/* A slice of the flow's bytes in a block of its own with @room bytes. */
static struct weir_slice make_slice(struct weir_pool *pool, struct weir_view bytes, size_t room)
{
    struct weir_block *block;

    assert_int_equal(weir_pool_alloc(pool, bytes.size > room ? bytes.size : room, &block), 0);
    if (bytes.size != 0)
        memcpy(block->data, bytes.data, bytes.size);
    return weir_slice_adopt(weir_view_of(block->data, bytes.size), block);
}

static void feed(struct reader *r, size_t from, size_t to, size_t room)
{
    struct weir_view bytes = weir_view_of(r->flow->bytes + from, to - from);
    struct weir_slice slice = make_slice(r->stream.pool, bytes, room);
    int rc;

    assert_int_equal(weir_stream_feed(&r->stream, &slice), 0);
    weir_slice_drop(&slice);
    while ((rc = take(r)) == 0)
        ;
    assert_int_equal(rc, -EAGAIN);
    bool between = to == 0 || (r->next != 0 && r->flow->ends[r->next - 1] == to);
    assert_int_equal(weir_stream_is_partial(&r->stream), !between);
}

static struct weir_stream_stats reader_end(struct reader *r)
{
    struct weir_stream_stats stats = weir_stream_stats(&r->stream);
    size_t total = 0;

    for (size_t i = 0; i < r->flow->count; i++)
        total += r->flow->messages[i].size;
    assert_int_equal(r->next, r->flow->count);
    assert_int_equal(stats.messages, r->flow->count);
    assert_int_equal(stats.bytes, total);
    assert_false(weir_stream_is_partial(&r->stream));
    weir_stream_fini(&r->stream);
    weir_chain_fini(&r->chain);
    return stats;
}

/* --- every way, every cut --------------------------------------------------------------------- */

static void flows_cut_at_every_place_come_out_whole_in_every_way(void **state)
{
    static struct flow flow;
    static struct reader r;
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (int framing = WEIR_FRAMING_VALUES; framing <= WEIR_FRAMING_LENGTH32; framing++) {
        flow_init(&flow, (enum weir_framing)framing);
        assert_true(flow.count > 20);
        for (size_t cut = 0; cut <= flow.size; cut++) {
            for (int way = PIECE; way < WAYS; way++) {
                reader_init(&r, pool, &flow, (enum way)way);
                feed(&r, 0, cut, 0);
                feed(&r, cut, flow.size, 0);
                reader_end(&r);
            }
        }
    }
    test_pool_destroy(pool);
}

static void flows_come_out_whole_byte_by_byte_in_every_way(void **state)
{
    static struct flow flow;
    static struct reader r;
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (int framing = WEIR_FRAMING_VALUES; framing <= WEIR_FRAMING_LENGTH32; framing++) {
        flow_init(&flow, (enum weir_framing)framing);
        for (int way = PIECE; way < WAYS; way++) {
            reader_init(&r, pool, &flow, (enum way)way);
            for (size_t at = 0; at < flow.size; at++)
                feed(&r, at, at + 1, 0);
            reader_end(&r);
        }
    }
    test_pool_destroy(pool);
}

static void flows_cut_at_random_come_out_whole_in_every_way(void **state)
{
    static struct flow flow;
    static struct reader r;
    struct weir_pool *pool = test_pool_create(NULL);
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 300; round++) {
        flow_init(&flow,
                  test_random_below(&random, 2) != 0 ? WEIR_FRAMING_VALUES : WEIR_FRAMING_LENGTH32);
        reader_init(&r, pool, &flow, (enum way)test_random_below(&random, WAYS));
        for (size_t at = 0; at < flow.size;) {
            size_t size = test_random_size(&random, flow.size - at);
            feed(&r, at, at + size, test_random_size(&random, 65536));
            if (test_random_below(&random, 4) == 0)
                assert_int_equal(weir_stream_compact(&r.stream, 64), 0);
            at += size;
        }
        reader_end(&r);
    }
    test_pool_destroy(pool);
}

/* --- chains ----------------------------------------------------------------------------------- */

static void a_chain_holds_what_was_received(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_stream stream;
    struct weir_chain chain;
    struct weir_slice slices[3];
    uint8_t head[5] = {WEIR_TAG_BIN32, 0, 0, 0, 0};

    (void)state;
    weir_stream_init(&stream, pool, NULL);
    weir_chain_init(&chain, pool);
    weir_wire_store32(head + 1, 3 * 4096 - 5);
    for (size_t i = 0; i < 3; i++) {
        slices[i] = make_slice(pool, weir_view_of(NULL, 0), 4096);
        slices[i].view.size = 4096;
        test_fill(slices[i].block->data, 4096, i);
        if (i == 0)
            memcpy(slices[i].block->data, head, sizeof head);
        assert_int_equal(weir_stream_feed(&stream, &slices[i]), 0);
        assert_int_equal(weir_stream_next_chain(&stream, &chain), i < 2 ? -EAGAIN : 0);
    }
    assert_int_equal(chain.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(chain.slices[i].view.data, slices[i].view.data);
        assert_int_equal(chain.slices[i].view.size, 4096);
        assert_ptr_equal(chain.slices[i].block, slices[i].block);
    }
    struct weir_stream_stats stats = weir_stream_stats(&stream);
    assert_int_equal(stats.messages, 1);
    assert_int_equal(stats.bytes, 3 * 4096);
    assert_int_equal(stats.gathered + stats.bytes_copied, 0);
    weir_chain_fini(&chain);
    for (size_t i = 0; i < 3; i++) {
        assert_true(weir_block_is_exclusive(slices[i].block));
        weir_slice_drop(&slices[i]);
    }
    weir_stream_fini(&stream);
    test_pool_destroy(pool);
}

/* Somebody who sends a byte at a time must not pin a block for each. */
static void small_pieces_in_large_blocks_are_copied_together(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_stream stream;
    struct weir_chain chain;
    struct weir_pool_stats stats;

    (void)state;
    weir_stream_init(&stream, pool, NULL);
    weir_chain_init(&chain, pool);
    for (size_t i = 0; i < 2000; i++) {
        uint8_t byte = i == 0 ? WEIR_TAG_BIN16 : i == 1 ? 0x07 : i == 2 ? 0xcd : (uint8_t)i;
        struct weir_slice slice = make_slice(pool, weir_view_of(&byte, 1), 65536);
        assert_int_equal(weir_stream_feed(&stream, &slice), 0);
        weir_slice_drop(&slice);
        assert_int_equal(weir_stream_next_chain(&stream, &chain), i < 1999 ? -EAGAIN : 0);
        weir_pool_stats(pool, &stats);
        assert_true(stats.total.bytes_in_use <= 2 * 65536);
    }
    assert_int_equal(chain.size_bytes, 2000);
    /* The last byte is not waited with: it is linked. */
    assert_int_equal(chain.count, 2);
    assert_int_equal(weir_stream_stats(&stream).bytes_copied, 1999);
    weir_chain_fini(&chain);
    weir_stream_fini(&stream);
    test_pool_destroy(pool);
}

static void a_message_gathered_in_part_goes_on_as_a_chain(void **state)
{
    static const struct weir_view whole = {(const uint8_t *)"\x92\xa3xyz\xcd\x01\x02\x07", 9};
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t cut = 1; cut < 8; cut++) {
        struct weir_stream stream;
        struct weir_chain chain;
        struct weir_slice first = make_slice(pool, weir_view_of(whole.data, cut), 4096);
        struct weir_slice rest =
            make_slice(pool, weir_view_of(whole.data + cut, whole.size - cut), 4096);
        weir_stream_init(&stream, pool, NULL);
        weir_chain_init(&chain, pool);
        assert_int_equal(weir_stream_feed(&stream, &first), 0);
        struct weir_slice none;
        assert_int_equal(weir_stream_next(&stream, &none), -EAGAIN);
        assert_int_equal(weir_stream_compact(&stream, 100), 0);
        assert_true(weir_block_is_exclusive(first.block));
        assert_int_equal(weir_stream_next_chain(&stream, &chain), -EAGAIN);
        assert_int_equal(weir_stream_feed(&stream, &rest), 0);
        assert_int_equal(weir_stream_next_chain(&stream, &chain), 0);
        assert_true(weir_chain_equal_view(&chain, weir_view_of(whole.data, 8)));
        weir_chain_reset(&chain);
        assert_int_equal(weir_stream_next_chain(&stream, &chain), 0);
        assert_true(weir_chain_equal_view(&chain, VIEW("\x07")));
        weir_chain_fini(&chain);
        weir_stream_fini(&stream);
        weir_slice_drop(&first);
        weir_slice_drop(&rest);
    }
    test_pool_destroy(pool);
}

/* --- framing ---------------------------------------------------------------------------------- */

static void the_limit_of_a_message_behind_its_length_is_exact(void **state)
{
    struct weir_limits limits = {.bytes = 5};
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t cut = 0; cut <= 4; cut++) {
        static const struct weir_view good = {(const uint8_t *)"\0\0\0\5hello\0\0\0\6", 13};
        struct weir_stream stream;
        struct weir_slice message;
        struct weir_slice first = make_slice(pool, weir_view_of(good.data, 9 + cut), 0);
        struct weir_slice rest = make_slice(pool, weir_view_of(good.data + 9 + cut, 4 - cut), 0);
        weir_stream_init_framed(&stream, pool, WEIR_FRAMING_LENGTH32, &limits);
        assert_int_equal(weir_stream_feed(&stream, &first), 0);
        assert_int_equal(weir_stream_next(&stream, &message), 0);
        assert_true(weir_view_equal(message.view, VIEW("hello")));
        assert_ptr_equal(message.view.data, first.view.data + 4);
        weir_slice_drop(&message);
        int rc = weir_stream_next(&stream, &message);
        assert_int_equal(rc, cut < 4 ? -EAGAIN : -EMSGSIZE);
        if (cut < 4) {
            assert_int_equal(weir_stream_feed(&stream, &rest), 0);
            assert_int_equal(weir_stream_next(&stream, &message), -EMSGSIZE);
        }
        struct weir_fault fault = weir_stream_fault(&stream);
        assert_int_equal(fault.error, -EMSGSIZE);
        assert_int_equal(fault.offset, 9);
        assert_string_equal(fault.reason, "a message above the limit of bytes");
        weir_stream_fini(&stream);
        weir_slice_drop(&first);
        weir_slice_drop(&rest);
    }
    test_pool_destroy(pool);
}

/* A message of exactly the limit that comes in many pieces needs four bytes more than that. */
static void a_message_of_the_limit_is_gathered_behind_its_length(void **state)
{
    enum { BYTES = 100000, PIECE_BYTES = 700 };
    struct weir_limits limits = {.bytes = BYTES};
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_stream stream;
    struct weir_slice message;
    uint8_t *flow = malloc(4 + BYTES);
    int rc = -EAGAIN;

    (void)state;
    assert_non_null(flow);
    weir_wire_store32(flow, BYTES);
    test_fill(flow + 4, BYTES, 3);
    weir_stream_init_framed(&stream, pool, WEIR_FRAMING_LENGTH32, &limits);
    for (size_t at = 0; at < 4 + BYTES; at += PIECE_BYTES) {
        size_t size = 4 + BYTES - at < PIECE_BYTES ? 4 + BYTES - at : PIECE_BYTES;
        struct weir_slice slice = make_slice(pool, weir_view_of(flow + at, size), 0);
        assert_int_equal(rc, -EAGAIN);
        assert_int_equal(weir_stream_feed(&stream, &slice), 0);
        rc = weir_stream_next(&stream, &message);
        weir_slice_drop(&slice);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(message.view.size, BYTES);
    assert_true(test_is_filled(message.view.data, BYTES, 3));
    weir_slice_drop(&message);
    weir_stream_fini(&stream);
    free(flow);
    test_pool_destroy(pool);
}

/* --- parts ------------------------------------------------------------------------------------ */

static void payloads_larger_than_the_limit_pass_in_fragments(void **state)
{
    const uint64_t payload = UINT64_C(4294967295);
    struct weir_limits limits = {.bytes = 100};
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice head = make_slice(pool, VIEW("\x93\x01\xc6\xff\xff\xff\xff"), 0);
    struct weir_slice body = make_slice(pool, weir_view_of(NULL, 0), 1 << 20);
    struct weir_slice tail = make_slice(pool, VIEW("\xc3\x07"), 0);
    struct weir_stream stream;
    struct weir_stream_part part;
    uint64_t left = payload;

    (void)state;
    weir_stream_init(&stream, pool, &limits);
    assert_int_equal(weir_stream_feed(&stream, &head), 0);
    assert_int_equal(weir_stream_next_part(&stream, 1000, &part), 0);
    assert_int_equal(part.kind, WEIR_PART_HEAD);
    assert_ptr_equal(part.bytes.view.data, head.view.data);
    assert_int_equal(part.bytes.view.size, 7);
    assert_true(part.payload_left == payload);
    weir_slice_drop(&part.bytes);
    while (left != 0) {
        assert_int_equal(weir_stream_next_part(&stream, 1000, &part), -EAGAIN);
        body.view.size = left < 1 << 20 ? (size_t)left : 1 << 20;
        assert_int_equal(weir_stream_feed(&stream, &body), 0);
        assert_int_equal(weir_stream_feed(&stream, &body), -EBUSY);
        assert_int_equal(weir_stream_next_part(&stream, 1000, &part), 0);
        assert_int_equal(part.kind, WEIR_PART_FRAGMENT);
        assert_ptr_equal(part.bytes.view.data, body.view.data);
        assert_int_equal(part.bytes.view.size, body.view.size);
        left -= body.view.size;
        assert_true(part.payload_left == left);
        weir_slice_drop(&part.bytes);
    }
    assert_true(weir_stream_is_partial(&stream));
    assert_int_equal(weir_stream_feed(&stream, &tail), 0);
    assert_int_equal(weir_stream_next_part(&stream, 1000, &part), 0);
    assert_int_equal(part.kind, WEIR_PART_TAIL);
    assert_true(weir_view_equal(part.bytes.view, VIEW("\xc3")));
    weir_slice_drop(&part.bytes);
    assert_int_equal(weir_stream_next_part(&stream, 1000, &part), 0);
    assert_int_equal(part.kind, WEIR_PART_WHOLE);
    weir_slice_drop(&part.bytes);
    struct weir_stream_stats stats = weir_stream_stats(&stream);
    assert_int_equal(stats.messages, 2);
    assert_true(stats.bytes == payload + 9);
    assert_int_equal(stats.bytes_copied, 0);
    weir_stream_fini(&stream);
    weir_slice_drop(&head);
    weir_slice_drop(&body);
    weir_slice_drop(&tail);
    test_pool_destroy(pool);
}

/* What is not in fragments counts against the limit, all parts of a message together. */
static void the_limit_holds_over_the_parts_of_a_message(void **state)
{
    static const struct weir_view flow = {(const uint8_t *)"\x93\xc4\x04"
                                                           "wxyz\xc4\x04"
                                                           "wxyz\xa2"
                                                           "ab",
                                          16};
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (uint64_t bytes = 4; bytes <= 9; bytes++) {
        struct weir_limits limits = {.bytes = bytes};
        struct weir_slice slice = make_slice(pool, flow, 0);
        struct weir_stream stream;
        struct weir_stream_part part;
        int rc;
        unsigned parts = 0;
        weir_stream_init(&stream, pool, &limits);
        assert_int_equal(weir_stream_feed(&stream, &slice), 0);
        while ((rc = weir_stream_next_part(&stream, 4, &part)) == 0) {
            parts++;
            weir_slice_drop(&part.bytes);
        }
        assert_int_equal(rc, bytes < 8 ? -EMSGSIZE : -EAGAIN);
        assert_int_equal(parts, bytes < 5 ? 0 : bytes < 6 ? 2 : bytes < 8 ? 4 : 5);
        if (bytes < 8)
            assert_int_equal(weir_stream_fault(&stream).offset, bytes < 5 ? 1 : bytes < 6 ? 7 : 13);
        weir_stream_fini(&stream);
        weir_slice_drop(&slice);
    }
    test_pool_destroy(pool);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Read @flow byte by byte while the @n-th call of the source fails; try again after an error. */
static void read_with_failure(struct test_source *source, const struct flow *flow, enum way way,
                              uint64_t n)
{
    static struct reader r;
    /* What is above 64 bytes is asked of the source each time. */
    struct weir_pool_options options = {
        .class_bytes = {64}, .large_retain_bytes = 1, .source = &source->source};
    struct weir_pool *pool;
    assert_int_equal(weir_pool_create(&options, &pool), 0);
    struct weir_slice whole = make_slice(pool, weir_view_of(NULL, 0), 4 * FLOW_BYTES_MAX);

    reader_init(&r, pool, flow, way);
    test_source_fail(source, n);
    for (size_t at = 0; at < flow->size; at += 2) {
        /* Every other byte is missing in memory: no two slices touch. */
        struct weir_slice two[2];
        for (size_t i = 0; i < 2 && at + i < flow->size; i++) {
            size_t place = (at + i) * 2;
            whole.block->data[FLOW_BYTES_MAX + place] = flow->bytes[at + i];
            two[i] = weir_slice_adopt(weir_view_of(whole.block->data + FLOW_BYTES_MAX + place, 1),
                                      whole.block);
            int rc;
            while ((rc = weir_stream_feed(&r.stream, &two[i])) != 0)
                assert_int_equal(rc, -ENOMEM);
            while ((rc = take(&r)) != -EAGAIN)
                assert_true(rc == 0 || rc == -ENOMEM);
        }
    }
    reader_end(&r);
    weir_slice_drop(&whole);
    test_pool_destroy(pool);
}

static void no_failed_allocation_loses_a_byte_in_any_way(void **state)
{
    static struct flow flow;
    struct test_source source;

    (void)state;
    for (int way = PIECE; way < WAYS; way++) {
        uint64_t n = 0;
        flow_init(&flow, WEIR_FRAMING_VALUES);
        do {
            test_source_init(&source);
            read_with_failure(&source, &flow, (enum way)way, ++n);
            test_source_fini(&source);
        } while (source.failures != 0);
        /* Gathering, and the tail of small pieces, take memory. */
        assert_true(n > 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flows_cut_at_every_place_come_out_whole_in_every_way),
        cmocka_unit_test(flows_come_out_whole_byte_by_byte_in_every_way),
        cmocka_unit_test(flows_cut_at_random_come_out_whole_in_every_way),
        cmocka_unit_test(a_chain_holds_what_was_received),
        cmocka_unit_test(small_pieces_in_large_blocks_are_copied_together),
        cmocka_unit_test(a_message_gathered_in_part_goes_on_as_a_chain),
        cmocka_unit_test(the_limit_of_a_message_behind_its_length_is_exact),
        cmocka_unit_test(a_message_of_the_limit_is_gathered_behind_its_length),
        cmocka_unit_test(payloads_larger_than_the_limit_pass_in_fragments),
        cmocka_unit_test(the_limit_holds_over_the_parts_of_a_message),
        cmocka_unit_test(no_failed_allocation_loses_a_byte_in_any_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
