/* SPDX-License-Identifier: MIT */
/*
 * Streams of messages that are alike, whose heads are compared with those of an earlier one: the
 * same messages come out as head by head, and the same faults.
 */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/buf.h>
#include <weir/pack.h>
#include <weir/stream.h>

#include "documents.h"

#define FLOW_BYTES_MAX ((size_t)65536)
#define MESSAGES_MAX 512u
#define FIELDS_MAX 12u
#define VIEWS_MAX 9u

struct flow {
    uint8_t bytes[FLOW_BYTES_MAX];
    size_t ends[MESSAGES_MAX];
    size_t size;
    size_t count;
};

static struct weir_slice make_slice(struct weir_pool *pool, struct weir_view bytes)
{
    struct weir_block *block;

    assert_int_equal(weir_pool_alloc(pool, bytes.size, &block), 0);
    if (bytes.size != 0)
        memcpy(block->data, bytes.data, bytes.size);
    return weir_slice_adopt(weir_view_of(block->data, bytes.size), block);
}

/* --- messages --------------------------------------------------------------------------------- */

/* What the fields of a kind of message are; the values are random. */
struct schema {
    unsigned count;
    unsigned kinds[FIELDS_MAX];
    bool map;
};

static void random_schema(struct test_random *random, struct schema *ret)
{
    ret->count = 1 + (unsigned)test_random_below(random, FIELDS_MAX);
    ret->map = test_random_below(random, 4) != 0;
    for (unsigned i = 0; i < ret->count; i++)
        ret->kinds[i] = (unsigned)test_random_below(random, 11);
}

static void pack_field(struct weir_packer *p, struct test_random *random, unsigned kind)
{
    char text[300] = {0};
    uint64_t number = test_random(random) >> test_random_below(random, 64);

    switch (kind) {
    case 0:
        weir_pack_uint(p, number);
        break;
    case 1:
        weir_pack_int(p, (int64_t)(number - number / 2 * 3));
        break;
    case 2:
        weir_pack_f64(p, (double)number);
        break;
    case 3:
        weir_pack_bool(p, number % 2 != 0);
        break;
    case 4:
        weir_pack_str(p, weir_view_of(text, number % 32));
        break;
    case 5:
        weir_pack_bin(p, weir_view_of(text, number % 256));
        break;
    case 6:
        weir_pack_nil(p);
        break;
    case 7:
        weir_pack_ext(p, 5, weir_view_of(text, 4));
        break;
    case 8:
        weir_pack_map(p, 1);
        weir_pack_text(p, "inner");
        weir_pack_uint(p, number % 300);
        break;
    case 9:
        weir_pack_array(p, 2);
        weir_pack_uint(p, UINT64_MAX);
        weir_pack_array(p, 0);
        break;
    default:
        weir_pack_str(p, weir_view_of(text, 32 + number % 260));
        break;
    }
}

static void flow_add(struct flow *flow, struct weir_buf *buf, struct test_random *random,
                     const struct schema *schema)
{
    static const char *const keys[] = {"", "a", "key", "longer key", "one of more than a lane"};
    struct weir_packer p;
    struct weir_view message;

    weir_buf_reset(buf);
    weir_pack_begin(&p, buf, 0);
    if (schema->map)
        weir_pack_map(&p, schema->count);
    else
        weir_pack_array(&p, schema->count);
    for (unsigned i = 0; i < schema->count; i++) {
        if (schema->map)
            weir_pack_text(&p, keys[(i + schema->count) % 5]);
        pack_field(&p, random, schema->kinds[i]);
    }
    assert_int_equal(weir_pack_end(&p, &message), 0);
    if (message.size > FLOW_BYTES_MAX - flow->size)
        return;
    memcpy(flow->bytes + flow->size, message.data, message.size);
    flow->size += message.size;
    flow->ends[flow->count++] = flow->size;
}

/* Messages of one schema for a while, then of another one; between them now and then any. */
static void random_flow(struct flow *flow, struct weir_buf *buf, struct test_random *random,
                        unsigned count)
{
    struct schema schemas[3];

    flow->size = 0;
    flow->count = 0;
    for (unsigned i = 0; i < count; i++) {
        if (i % 64 == 0) {
            for (unsigned k = 0; k < 3; k++)
                random_schema(random, &schemas[k]);
        }
        uint64_t dice = test_random_below(random, 16);
        flow_add(flow, buf, random, &schemas[dice < 14 ? 0 : dice - 13]);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The messages that came out, and what was said of the rest. */
struct outcome {
    int error;
    uint64_t offset;
    uint64_t messages;
    uint64_t hits; /* by their shape */
};

/* Read the flow in pieces of up to @piece_max bytes, at least half of that, up to @capacity
 * messages at a time; 0: one, by weir_stream_next(). All must end where the flow says. */
static struct outcome read_flow(struct weir_pool *pool, const struct flow *flow,
                                const struct weir_limits *limits, size_t piece_max, size_t capacity)
{
    struct outcome outcome = {-EAGAIN, 0, 0, 0};
    struct weir_stream stream;
    struct weir_view views[VIEWS_MAX];
    size_t offset = 0;

    weir_stream_init(&stream, pool, limits);
    for (size_t at = 0; at < flow->size && outcome.error == -EAGAIN;) {
        size_t size = flow->size - at < piece_max ? flow->size - at : piece_max;
        struct weir_slice slice = make_slice(pool, weir_view_of(flow->bytes + at, size));
        assert_int_equal(weir_stream_feed(&stream, &slice), 0);
        weir_slice_drop(&slice);
        at += size;
        for (;;) {
            struct weir_slice kept = {{NULL, 0}, NULL};
            size_t count = 1;
            if (capacity == 0) {
                outcome.error = weir_stream_next(&stream, &kept);
                views[0] = kept.view;
            } else if (capacity == 1) {
                outcome.error = weir_stream_next_view(&stream, views);
            } else {
                outcome.error = weir_stream_next_views(&stream, capacity, views, &count);
            }
            if (outcome.error != 0)
                break;
            assert_true(count >= 1 && count <= (capacity != 0 ? capacity : 1));
            for (size_t i = 0; i < count; i++) {
                assert_true(views[i].size <= flow->size - offset);
                assert_memory_equal(views[i].data, flow->bytes + offset, views[i].size);
                offset += views[i].size;
                if (outcome.messages < flow->count)
                    assert_int_equal(offset, flow->ends[outcome.messages]);
                outcome.messages++;
            }
            assert_int_equal(weir_stream_offset(&stream), offset);
            weir_slice_drop(&kept);
        }
    }
    struct weir_stream_stats stats = weir_stream_stats(&stream);
    assert_int_equal(stats.messages, outcome.messages);
    assert_int_equal(stats.bytes, offset);
    outcome.offset = outcome.error == -EAGAIN ? offset : weir_stream_fault(&stream).offset;
    outcome.hits = stream.shape.hits;
    weir_stream_fini(&stream);
    assert_int_equal(test_blocks_in_use(pool), 0);
    return outcome;
}

static void messages_that_are_alike_end_where_they_end(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_pool *other = test_pool_create(NULL);
    struct flow *flow = malloc(sizeof(*flow));
    struct weir_buf buf;
    struct test_random random;
    uint64_t hits = 0;

    (void)state;
    assert_non_null(flow);
    test_random_init(&random);
    assert_int_equal(weir_buf_init(&buf, other, NULL), 0);
    for (int round = 0; round < 60; round++) {
        random_flow(flow, &buf, &random, 192);
        for (size_t capacity = 0; capacity <= VIEWS_MAX; capacity++) {
            size_t piece = 1 + test_random_below(&random, 4096);
            struct outcome outcome = read_flow(pool, flow, NULL, piece, capacity);
            assert_int_equal(outcome.error, -EAGAIN);
            assert_int_equal(outcome.messages, flow->count);
            hits += outcome.hits;
        }
    }
    assert_true(hits > 1000); /* shapes were learnt, and messages had them */
    weir_buf_fini(&buf);
    free(flow);
    test_pool_destroy(other);
    test_pool_destroy(pool);
}

/* A flow of which nothing is known but its bytes. */
static void forget_ends(struct flow *flow)
{
    flow->count = 0;
}

static void a_changed_byte_makes_the_same_difference_as_head_by_head(void **state)
{
    static const uint8_t bytes[] = {0xc1, 0xdd, 0x85, 0x00, 0xff, 0xd9, 0xc6, 0xcf, 0xbf};
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_pool *other = test_pool_create(NULL);
    struct flow *flow = malloc(sizeof(*flow));
    const struct schema schema = {6, {0, 2, 4, 8, 3, 5}, true};
    const struct weir_limits limits = {.bytes = 4096, .elements = 64};
    struct weir_buf buf;
    struct test_random random;

    (void)state;
    assert_non_null(flow);
    test_random_seed(&random, 7);
    assert_int_equal(weir_buf_init(&buf, other, NULL), 0);
    flow->size = flow->count = 0;
    for (int i = 0; i < 4; i++)
        flow_add(flow, &buf, &random, &schema);
    size_t first = flow->ends[1]; /* by the third the shape is known */
    size_t last = flow->ends[2];
    forget_ends(flow);
    for (size_t at = first; at < last; at++) {
        uint8_t before = flow->bytes[at];
        for (size_t k = 0; k < sizeof(bytes); k++) {
            flow->bytes[at] = bytes[k];
            struct outcome slow = read_flow(pool, flow, &limits, 1, 0);
            for (size_t capacity = 0; capacity <= 4; capacity++) {
                struct outcome fast = read_flow(pool, flow, &limits, flow->size, capacity);
                assert_int_equal(fast.error, slow.error);
                assert_int_equal(fast.offset, slow.offset);
                assert_int_equal(fast.messages, slow.messages);
            }
        }
        flow->bytes[at] = before;
    }
    weir_buf_fini(&buf);
    free(flow);
    test_pool_destroy(other);
    test_pool_destroy(pool);
}

static void limits_hold_for_messages_that_are_alike(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_pool *other = test_pool_create(NULL);
    struct flow *flow = malloc(sizeof(*flow));
    const struct schema schema = {5, {2, 2, 4, 0, 5}, true};
    struct weir_buf buf;
    struct test_random random;

    (void)state;
    assert_non_null(flow);
    test_random_seed(&random, 11);
    assert_int_equal(weir_buf_init(&buf, other, NULL), 0);
    flow->size = flow->count = 0;
    for (int i = 0; i < 40; i++)
        flow_add(flow, &buf, &random, &schema);
    for (uint64_t limit = 1; limit < 700; limit += limit < 24 ? 1 : 13) {
        const struct weir_limits limits[] = {{.bytes = limit}, {.elements = limit}};
        for (size_t k = 0; k < 2; k++) {
            struct outcome slow = read_flow(pool, flow, &limits[k], 3, 0);
            for (size_t capacity = 0; capacity <= 4; capacity++) {
                struct outcome fast = read_flow(pool, flow, &limits[k], flow->size, capacity);
                assert_int_equal(fast.error, slow.error);
                assert_int_equal(fast.offset, slow.offset);
                assert_int_equal(fast.messages, slow.messages);
            }
        }
    }
    weir_buf_fini(&buf);
    free(flow);
    test_pool_destroy(other);
    test_pool_destroy(pool);
}

static void views_are_kept_until_the_next_ones_are_asked_for(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_view views[4];
    struct weir_stream stream;
    size_t count = 77;

    (void)state;
    struct weir_slice slice = make_slice(pool,
                                         weir_view_of("\x92\x01\x02\xa1x\xa3"
                                                      "abc\x92\x07",
                                                      11));
    struct weir_slice rest = make_slice(pool, weir_view_of("\x08\x09\xc1\x01", 4));
    weir_stream_init(&stream, pool, NULL);
    assert_int_equal(weir_stream_next_views(&stream, 4, views, &count), -EAGAIN);
    assert_int_equal(count, 77);
    assert_int_equal(weir_stream_feed(&stream, &slice), 0);
    weir_slice_drop(&slice);
    assert_int_equal(weir_stream_next_views(&stream, 2, views, &count), 0);
    assert_int_equal(count, 2);
    assert_memory_equal(views[0].data, "\x92\x01\x02", 3);
    assert_memory_equal(views[1].data, "\xa1x", 2);
    assert_int_equal(weir_stream_next_views(&stream, 4, views, &count), 0);
    assert_int_equal(count, 1);
    assert_memory_equal(views[0].data,
                        "\xa3"
                        "abc",
                        4);
    assert_int_equal(weir_stream_next_views(&stream, 4, views, &count), -EAGAIN);
    assert_true(weir_stream_is_partial(&stream));
    assert_int_equal(weir_stream_feed(&stream, &rest), 0);
    weir_slice_drop(&rest);
    assert_int_equal(test_blocks_in_use(pool), 2); /* the rest, and what was gathered before it */
    assert_int_equal(weir_stream_next_views(&stream, 4, views, &count), 0);
    assert_int_equal(count, 1); /* gathered */
    assert_memory_equal(views[0].data, "\x92\x07\x08", 3);
    /* What stands before a fault is handed out before it is told. */
    assert_int_equal(weir_stream_next_views(&stream, 4, views, &count), 0);
    assert_int_equal(count, 1);
    assert_memory_equal(views[0].data, "\x09", 1);
    assert_int_equal(test_blocks_in_use(pool), 1);
    assert_int_equal(weir_stream_next_views(&stream, 4, views, &count), -EBADMSG);
    assert_int_equal(weir_stream_fault(&stream).offset, 13);
    assert_int_equal(test_blocks_in_use(pool), 0);
    weir_stream_fini(&stream);
    test_pool_destroy(pool);
}

static void views_that_end_a_slice_outlive_the_stream_s_own_reference(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_view views[64];
    struct weir_stream stream;
    uint8_t bytes[40];
    size_t count;

    (void)state;
    memset(bytes, 0x2a, sizeof(bytes));
    struct weir_slice slice = make_slice(pool, weir_view_of(bytes, sizeof(bytes)));
    weir_stream_init(&stream, pool, NULL);
    assert_int_equal(weir_stream_feed(&stream, &slice), 0);
    weir_slice_drop(&slice);
    /* Its last bytes are looked at head by head. */
    size_t got = 0;
    while (weir_stream_next_views(&stream, 64, views + got, &count) == 0) {
        for (size_t i = 0; i < count; i++)
            assert_int_equal(views[got + i].data[0], 0x2a);
        got += count;
    }
    assert_int_equal(got, sizeof(bytes));
    assert_int_equal(test_blocks_in_use(pool), 0);
    weir_stream_fini(&stream);
    test_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_that_are_alike_end_where_they_end),
        cmocka_unit_test(a_changed_byte_makes_the_same_difference_as_head_by_head),
        cmocka_unit_test(limits_hold_for_messages_that_are_alike),
        cmocka_unit_test(views_are_kept_until_the_next_ones_are_asked_for),
        cmocka_unit_test(views_that_end_a_slice_outlive_the_stream_s_own_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
