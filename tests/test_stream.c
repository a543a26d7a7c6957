/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/stream.h>

#include "documents.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

/* A slice of @bytes copied into a block of its own. */
static struct weir_slice make_slice(struct weir_pool *pool, struct weir_view bytes)
{
    struct weir_block *block;

    assert_int_equal(weir_pool_alloc(pool, bytes.size, &block), 0);
    if (bytes.size != 0)
        memcpy(block->data, bytes.data, bytes.size);
    return weir_slice_adopt(weir_view_of(block->data, bytes.size), block);
}

/* --- feeding and comparing ------------------------------------------------------------------- */

/* A flow of whole values, and where each of them begins. */
struct flow {
    struct weir_view bytes;
    const size_t *starts; /* count + 1 of them, the last one the end */
    size_t count;
};

/* What came out so far. */
struct reader {
    struct weir_stream stream;
    const struct flow *flow;
    size_t next; /* message */
};

static struct flow make_flow(struct weir_view bytes)
{
    struct flow flow = {bytes, NULL, 0};
    size_t *starts = malloc((bytes.size + 1) * sizeof(*starts));
    struct weir_unpacker u;

    assert_non_null(starts);
    weir_unpack_init(&u, bytes, NULL);
    while (!weir_unpack_done(&u)) {
        starts[flow.count++] = weir_unpack_offset(&u);
        assert_int_equal(weir_unpack_skip(&u), 0);
    }
    starts[flow.count] = bytes.size;
    flow.starts = starts;
    return flow;
}

static void free_flow(struct flow *flow)
{
    free((void *)(uintptr_t)flow->starts);
}

static void reader_begin(struct reader *r, struct weir_pool *pool, const struct flow *flow)
{
    weir_stream_init(&r->stream, pool, NULL);
    r->flow = flow;
    r->next = 0;
}

/* Take every message that is there and compare it. */
static void drain(struct reader *r)
{
    struct weir_slice message;
    int rc;

    while ((rc = weir_stream_next(&r->stream, &message)) == 0) {
        assert_true(r->next < r->flow->count);
        size_t start = r->flow->starts[r->next];
        assert_int_equal(message.view.size, r->flow->starts[r->next + 1] - start);
        assert_memory_equal(message.view.data, r->flow->bytes.data + start, message.view.size);
        r->next++;
        assert_int_equal(weir_stream_offset(&r->stream), r->flow->starts[r->next]);
        weir_slice_drop(&message);
    }
    assert_int_equal(rc, -EAGAIN);
}

static void feed_piece(struct reader *r, size_t from, size_t to)
{
    struct weir_view bytes = weir_view_of(r->flow->bytes.data + from, to - from);
    struct weir_slice slice = make_slice(r->stream.pool, bytes);

    assert_int_equal(weir_stream_feed(&r->stream, &slice), 0);
    weir_slice_drop(&slice);
    drain(r);
    /* partial exactly between messages' starts */
    assert_int_equal(weir_stream_is_partial(&r->stream), r->flow->starts[r->next] != to);
}

/* Everything came out; each byte of a message that straddles was copied, a few for growth too. */
static void reader_end(struct reader *r, uint64_t straddling_bytes)
{
    struct weir_stream_stats stats = weir_stream_stats(&r->stream);

    assert_int_equal(r->next, r->flow->count);
    assert_int_equal(stats.messages, r->flow->count);
    assert_int_equal(stats.bytes, r->flow->bytes.size);
    assert_true(stats.bytes_copied >= straddling_bytes);
    assert_true(stats.bytes_copied <= 4 * straddling_bytes);
    assert_false(weir_stream_is_partial(&r->stream));
    assert_int_equal(weir_stream_fault(&r->stream).error, 0);
    weir_stream_fini(&r->stream);
}

/* The bytes of the message that @cut goes through, 0 if it lies between two. */
static size_t straddling(const struct flow *flow, size_t cut)
{
    for (size_t i = 0; i < flow->count; i++) {
        if (flow->starts[i] < cut && cut < flow->starts[i + 1])
            return flow->starts[i + 1] - flow->starts[i];
    }
    return 0;
}

/* --- messages -------------------------------------------------------------------------------- */

static void a_zeroed_stream_can_be_finished(void **state)
{
    struct weir_stream stream = {0};

    (void)state;
    weir_stream_fini(&stream);
    weir_stream_fini(&stream);
}

static void messages_within_a_slice_are_not_copied(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        struct flow flow = make_flow(documents[i]);
        struct weir_slice slice = make_slice(pool, flow.bytes);
        struct weir_slice message;
        struct weir_stream stream;
        weir_stream_init(&stream, pool, NULL);
        assert_int_equal(weir_stream_next(&stream, &message), -EAGAIN);
        assert_int_equal(weir_stream_feed(&stream, &slice), 0);
        for (size_t n = 0; n < flow.count; n++) {
            assert_true(weir_stream_is_partial(&stream));
            assert_int_equal(weir_stream_next(&stream, &message), 0);
            assert_ptr_equal(message.view.data, slice.view.data + flow.starts[n]);
            assert_int_equal(message.view.size, flow.starts[n + 1] - flow.starts[n]);
            assert_ptr_equal(message.block, slice.block);
            weir_slice_drop(&message);
        }
        assert_int_equal(weir_stream_next(&stream, &message), -EAGAIN);
        assert_false(weir_stream_is_partial(&stream));
        struct weir_stream_stats stats = weir_stream_stats(&stream);
        assert_int_equal(stats.messages, flow.count);
        assert_int_equal(stats.bytes, flow.bytes.size);
        assert_int_equal(stats.gathered, 0);
        assert_int_equal(stats.bytes_copied, 0);
        assert_true(weir_block_is_exclusive(slice.block)); /* nothing is kept */
        weir_stream_fini(&stream);
        weir_slice_drop(&slice);
        free_flow(&flow);
    }
    test_pool_destroy(pool);
}

static void documents_cut_at_every_place_come_out_whole(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        struct flow flow = make_flow(documents[i]);
        for (size_t cut = 0; cut <= flow.bytes.size; cut++) {
            struct reader r;
            reader_begin(&r, pool, &flow);
            feed_piece(&r, 0, cut);
            feed_piece(&r, cut, flow.bytes.size);
            /* a single cut: the straddling message is gathered in one block, exactly once */
            struct weir_stream_stats stats = weir_stream_stats(&r.stream);
            assert_int_equal(stats.gathered, straddling(&flow, cut) != 0);
            reader_end(&r, straddling(&flow, cut));
        }
        free_flow(&flow);
    }
    test_pool_destroy(pool);
}

static void documents_come_out_whole_byte_by_byte(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        struct flow flow = make_flow(documents[i]);
        struct reader r;
        uint64_t straddling_bytes = 0;
        reader_begin(&r, pool, &flow);
        for (size_t at = 0; at < flow.bytes.size; at++)
            feed_piece(&r, at, at + 1);
        for (size_t n = 0; n < flow.count; n++) {
            size_t size = flow.starts[n + 1] - flow.starts[n];
            straddling_bytes += size > 1 ? size : 0;
        }
        reader_end(&r, straddling_bytes);
        free_flow(&flow);
    }
    test_pool_destroy(pool);
}

static void random_flows_cut_anywhere_come_out_whole(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 300; round++) {
        msgpack_sbuffer bytes;
        msgpack_packer packer;
        struct reader r;
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
        for (uint64_t n = 1 + test_random_below(&random, 20); n != 0; n--)
            random_document(&packer, &random, 4);
        struct flow flow = make_flow(weir_view_of(bytes.data, bytes.size));
        reader_begin(&r, pool, &flow);
        for (size_t at = 0; at < bytes.size;) {
            size_t piece = test_random_size(&random, 20000);
            if (piece > bytes.size - at)
                piece = bytes.size - at;
            feed_piece(&r, at, at + piece);
            at += piece;
        }
        assert_int_equal(r.next, flow.count);
        assert_true(weir_stream_stats(&r.stream).bytes_copied <= 4 * bytes.size);
        reader_end(&r, weir_stream_stats(&r.stream).bytes_copied);
        free_flow(&flow);
        msgpack_sbuffer_destroy(&bytes);
    }
    test_pool_destroy(pool);
}

/* As drain(), by views. */
static void drain_views(struct reader *r)
{
    struct weir_view message;
    int rc;

    while ((rc = weir_stream_next_view(&r->stream, &message)) == 0) {
        assert_true(r->next < r->flow->count);
        size_t start = r->flow->starts[r->next++];
        assert_int_equal(message.size, r->flow->starts[r->next] - start);
        assert_memory_equal(message.data, r->flow->bytes.data + start, message.size);
        assert_int_equal(weir_stream_offset(&r->stream), r->flow->starts[r->next]);
    }
    assert_int_equal(rc, -EAGAIN);
}

static void views_are_the_same_messages_as_slices(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        struct flow flow = make_flow(documents[i]);
        for (size_t cut = 0; cut <= flow.bytes.size; cut++) {
            const size_t ends[] = {0, cut, flow.bytes.size};
            struct reader r;
            reader_begin(&r, pool, &flow);
            for (size_t k = 0; k < 2; k++) {
                struct weir_view part =
                    weir_view_of(flow.bytes.data + ends[k], ends[k + 1] - ends[k]);
                struct weir_slice slice = make_slice(pool, part);
                assert_int_equal(weir_stream_feed(&r.stream, &slice), 0);
                weir_slice_drop(&slice); /* the stream's own reference keeps the bytes */
                drain_views(&r);
            }
            reader_end(&r, straddling(&flow, cut));
            assert_int_equal(test_blocks_in_use(pool), 0);
        }
        free_flow(&flow);
    }
    test_pool_destroy(pool);
}

static void a_view_is_kept_until_the_next_one_is_asked_for(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice slice = make_slice(pool,
                                         VIEW("\x01\xa3"
                                              "abc"));
    struct weir_slice rest = make_slice(pool,
                                        VIEW("\xa2"
                                             "de\x92\x01"));
    struct weir_stream stream;
    struct weir_view message;

    (void)state;
    weir_stream_init(&stream, pool, NULL);
    assert_int_equal(weir_stream_feed(&stream, &slice), 0);
    weir_slice_drop(&slice);
    assert_int_equal(weir_stream_next_view(&stream, &message), 0);
    assert_int_equal(weir_stream_next_view(&stream, &message), 0);
    assert_false(weir_stream_is_partial(&stream));
    assert_int_equal(test_blocks_in_use(pool), 2);
    assert_memory_equal(message.data,
                        "\xa3"
                        "abc",
                        4);
    assert_int_equal(weir_stream_feed(&stream, &rest), 0);
    assert_int_equal(test_blocks_in_use(pool), 1);
    weir_slice_drop(&rest);
    assert_int_equal(weir_stream_next_view(&stream, &message), 0);
    assert_int_equal(weir_stream_next_view(&stream, &message), -EAGAIN);
    struct weir_slice last = make_slice(pool, VIEW("\x02"));
    assert_int_equal(weir_stream_feed(&stream, &last), 0);
    weir_slice_drop(&last);
    assert_int_equal(weir_stream_next_view(&stream, &message), 0); /* gathered */
    assert_memory_equal(message.data, "\x92\x01\x02", 3);
    assert_int_equal(test_blocks_in_use(pool), 1);
    weir_stream_fini(&stream);
    assert_int_equal(test_blocks_in_use(pool), 0);
    test_pool_destroy(pool);
}

/* References are taken by the dozen; what nobody got is given back with the slice. */
static void any_number_of_messages_of_a_slice_can_be_kept(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    uint8_t bytes[300];
    struct weir_slice messages[sizeof(bytes)];
    struct weir_stream stream;

    (void)state;
    memset(bytes, 1, sizeof(bytes));
    for (size_t count = 1; count <= sizeof(bytes); count++) {
        struct weir_slice slice = make_slice(pool, weir_view_of(bytes, sizeof(bytes)));
        weir_stream_init(&stream, pool, NULL);
        assert_int_equal(weir_stream_feed(&stream, &slice), 0);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(weir_stream_next(&stream, &messages[i]), 0);
        weir_stream_fini(&stream);
        for (size_t i = 0; i < count; i++)
            weir_slice_drop(&messages[i]);
        assert_true(weir_block_is_exclusive(slice.block));
        weir_slice_drop(&slice);
        assert_int_equal(test_blocks_in_use(pool), 0);
    }
    test_pool_destroy(pool);
}

static void pieces_that_touch_are_joined_without_a_copy(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        struct flow flow = make_flow(documents[i]);
        struct weir_slice whole = make_slice(pool, flow.bytes);
        struct reader r;
        reader_begin(&r, pool, &flow);
        for (size_t at = 0; at < flow.bytes.size; at++) {
            struct weir_slice piece;
            assert_int_equal(weir_slice_sub(&whole, at, 1, &piece), 0);
            assert_int_equal(weir_stream_feed(&r.stream, &piece), 0);
            weir_slice_drop(&piece);
            drain(&r);
        }
        assert_int_equal(weir_stream_stats(&r.stream).bytes_copied, 0);
        reader_end(&r, 0);
        weir_slice_drop(&whole);
        free_flow(&flow);
    }
    test_pool_destroy(pool);
}

/* --- what is copied -------------------------------------------------------------------------- */

static void a_message_that_straddles_is_copied_exactly_once(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_stream stream;
    struct weir_slice message;

    (void)state;
    weir_stream_init(&stream, pool, NULL);
    /* 01, then a str of 10 of which 4 bytes are here; the rest, then 02 03 */
    struct weir_slice first = make_slice(pool,
                                         VIEW("\x01\xaa"
                                              "abcd"));
    struct weir_slice second = make_slice(pool, VIEW("efghij\x02\x03"));
    assert_int_equal(weir_stream_feed(&stream, &first), 0);
    assert_int_equal(weir_stream_next(&stream, &message), 0);
    weir_slice_drop(&message);
    assert_int_equal(weir_stream_next(&stream, &message), -EAGAIN);
    assert_int_equal(weir_stream_offset(&stream), 1);
    assert_int_equal(weir_stream_stats(&stream).bytes_copied, 0);
    assert_int_equal(weir_stream_feed(&stream, &second), 0);
    assert_int_equal(weir_stream_stats(&stream).bytes_copied, 5);
    assert_int_equal(weir_stream_next(&stream, &message), 0);
    assert_true(weir_view_equal(message.view,
                                VIEW("\xaa"
                                     "abcdefghij")));
    assert_int_equal(weir_stream_stats(&stream).bytes_copied, 11);
    assert_int_equal(weir_stream_stats(&stream).gathered, 1);
    struct weir_slice last;
    assert_int_equal(weir_stream_next(&stream, &last), 0);
    assert_ptr_equal(last.view.data, second.view.data + 6);
    assert_int_equal(weir_stream_stats(&stream).bytes_copied, 11);
    weir_slice_drop(&last);
    weir_slice_drop(&first);
    weir_slice_drop(&second);
    weir_stream_fini(&stream);
    /* it outlives the stream */
    assert_true(weir_view_equal(message.view,
                                VIEW("\xaa"
                                     "abcdefghij")));
    weir_slice_drop(&message);
    test_pool_destroy(pool);
}

/* Gather a bin of @size bytes that comes in slices of @piece_bytes; @moved of them are moved on. */
static void check_large(size_t size, size_t piece_bytes, size_t moved)
{
    struct weir_pool *pool = test_pool_create(NULL);
    uint8_t *bytes = malloc(size + 5);
    struct weir_view view = weir_view_of(bytes, size + 5);
    struct reader r;

    assert_non_null(bytes);
    bytes[0] = 0xc6;
    weir_wire_store32(bytes + 1, (uint32_t)size);
    test_fill(bytes + 5, size, 1);
    struct flow flow = make_flow(view);
    reader_begin(&r, pool, &flow);
    for (size_t at = 0; at < view.size;) {
        size_t piece = view.size - at < piece_bytes ? view.size - at : piece_bytes;
        feed_piece(&r, at, at + piece);
        at += piece;
    }
    assert_int_equal(weir_stream_stats(&r.stream).bytes_copied, view.size + moved);
    reader_end(&r, view.size + moved);
    free_flow(&flow);
    free(bytes);
    test_pool_destroy(pool);
}

static void a_large_message_in_many_slices_is_gathered_in_its_final_place(void **state)
{
    (void)state;
    /* what is here when it first straddles is more than a sixteenth: no byte is copied twice */
    check_large(1 << 20, 65536, 0);
    /* 16 x 32 KiB; then 16 x (512 + 16) KiB; then all of it */
    check_large(10 << 20, 16384, (512 << 10) + (8448 << 10));
}

static void memory_follows_the_bytes_that_came_not_those_announced(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_pool_stats stats;
    struct weir_stream stream;
    struct weir_slice message;

    (void)state;
    weir_stream_init(&stream, pool, NULL);
    /* a bin of 16 MiB, six bytes of it in two slices */
    struct weir_slice first = make_slice(pool, VIEW("\xc6\x01\x00\x00\x00"));
    struct weir_slice second = make_slice(pool, VIEW("x"));
    assert_int_equal(weir_stream_feed(&stream, &first), 0);
    assert_int_equal(weir_stream_next(&stream, &message), -EAGAIN);
    assert_int_equal(weir_stream_feed(&stream, &second), 0);
    assert_int_equal(weir_stream_next(&stream, &message), -EAGAIN);
    weir_slice_drop(&first);
    weir_slice_drop(&second);
    weir_pool_stats(pool, &stats);
    assert_int_equal(stats.total.blocks_in_use, 1);
    assert_int_equal(stats.total.bytes_in_use, 4096);
    weir_stream_fini(&stream);
    test_pool_destroy(pool);
}

static void a_small_partial_message_can_let_go_of_its_slice(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_stream stream;
    struct weir_slice message;
    uint8_t part[100] = {0xd9, 200};

    (void)state;
    weir_stream_init(&stream, pool, NULL);
    struct weir_slice first = make_slice(pool, weir_view_of(part, sizeof part));
    struct weir_slice rest = make_slice(pool, weir_view_of(part, sizeof part));
    struct weir_slice last = make_slice(pool, VIEW("yz"));
    assert_int_equal(weir_stream_compact(&stream, 100), 0); /* there is nothing */
    assert_int_equal(weir_stream_feed(&stream, &first), 0);
    assert_int_equal(weir_stream_next(&stream, &message), -EAGAIN);
    assert_int_equal(weir_stream_compact(&stream, 100), 0); /* not fewer than 100 */
    assert_false(weir_block_is_exclusive(first.block));
    assert_int_equal(weir_stream_stats(&stream).bytes_copied, 0);
    assert_int_equal(weir_stream_compact(&stream, 101), 0);
    assert_true(weir_block_is_exclusive(first.block));
    assert_int_equal(weir_stream_stats(&stream).bytes_copied, 100);
    assert_true(weir_stream_is_partial(&stream));
    assert_int_equal(weir_stream_compact(&stream, 101), 0); /* it is its own already */
    assert_int_equal(weir_stream_stats(&stream).bytes_copied, 100);
    assert_int_equal(weir_stream_feed(&stream, &rest), 0);
    assert_int_equal(weir_stream_next(&stream, &message), -EAGAIN);
    assert_int_equal(weir_stream_feed(&stream, &last), 0);
    assert_int_equal(weir_stream_next(&stream, &message), 0);
    assert_int_equal(message.view.size, 202);
    assert_int_equal(message.view.data[200], 'y');
    weir_slice_drop(&message);
    weir_slice_drop(&first);
    weir_slice_drop(&rest);
    weir_slice_drop(&last);
    weir_stream_fini(&stream);
    test_pool_destroy(pool);
}

static void a_mebibyte_fed_byte_by_byte_is_linear(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    enum { COUNT = 1 << 19 };
    uint8_t *bytes = malloc(5 + 2 * COUNT);
    struct reader r;

    (void)state;
    assert_non_null(bytes);
    bytes[0] = 0xdd;
    weir_wire_store32(bytes + 1, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        bytes[5 + 2 * i] = 0xcc;
        bytes[6 + 2 * i] = (uint8_t)i;
    }
    struct flow flow = make_flow(weir_view_of(bytes, 5 + 2 * COUNT));
    reader_begin(&r, pool, &flow);
    struct weir_block *block;
    assert_int_equal(weir_pool_alloc(pool, 64, &block), 0);
    for (size_t at = 0; at < flow.bytes.size; at++) {
        struct weir_slice piece = {{bytes + at, 1}, NULL};
        /* every other byte at another place, so that none touch */
        if (at % 2 != 0) {
            block->data[0] = bytes[at];
            piece.view.data = block->data;
        }
        assert_int_equal(weir_stream_feed(&r.stream, &piece), 0);
        drain(&r);
    }
    reader_end(&r, flow.bytes.size);
    weir_block_drop(block);
    free_flow(&flow);
    free(bytes);
    test_pool_destroy(pool);
}

static void nothing_behind_a_gathered_message_is_copied(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 500; round++) {
        msgpack_sbuffer bytes;
        msgpack_packer packer;
        struct reader r;
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
        random_document(&packer, &random, 4);
        size_t size = bytes.size;
        for (int i = 0; i < 30; i++)
            msgpack_pack_int(&packer, i);
        struct flow flow = make_flow(weir_view_of(bytes.data, bytes.size));
        size_t cut = (size_t)test_random_below(&random, size);
        reader_begin(&r, pool, &flow);
        feed_piece(&r, 0, cut);
        feed_piece(&r, cut, bytes.size);
        struct weir_stream_stats stats = weir_stream_stats(&r.stream);
        assert_int_equal(stats.gathered, cut != 0);
        /* each byte once; of growing, less than once more and its doublings */
        assert_true(stats.bytes_copied >= (cut != 0 ? size : 0));
        assert_true(stats.bytes_copied <= (cut != 0 ? 3 * size : 0));
        reader_end(&r, cut != 0 ? size : 0);
        free_flow(&flow);
        msgpack_sbuffer_destroy(&bytes);
    }
    test_pool_destroy(pool);
}

/* --- the rules of feeding -------------------------------------------------------------------- */

static void a_slice_that_is_not_worked_through_is_in_the_way(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice slice = make_slice(pool,
                                         VIEW("\x01\x02\xa3"
                                              "a"));
    struct weir_slice rest = make_slice(pool, VIEW("bc"));
    struct weir_slice empty = {{NULL, 0}, NULL};
    struct weir_slice message;
    struct weir_stream stream;

    (void)state;
    weir_stream_init(&stream, pool, NULL);
    assert_int_equal(weir_stream_feed(&stream, &empty), 0);
    assert_false(weir_stream_is_partial(&stream));
    assert_int_equal(weir_stream_feed(&stream, &slice), 0);
    assert_int_equal(weir_stream_feed(&stream, &rest), -EBUSY);
    assert_int_equal(weir_stream_next(&stream, &message), 0);
    weir_slice_drop(&message);
    assert_int_equal(weir_stream_feed(&stream, &rest), -EBUSY);
    assert_int_equal(weir_stream_next(&stream, &message), 0);
    weir_slice_drop(&message);
    assert_int_equal(weir_stream_feed(&stream, &rest), -EBUSY);
    assert_int_equal(weir_stream_next(&stream, &message), -EAGAIN);
    assert_true(weir_stream_is_partial(&stream));
    assert_int_equal(weir_stream_feed(&stream, &empty), 0);
    assert_int_equal(weir_stream_stats(&stream).bytes_copied, 0);
    assert_int_equal(weir_stream_next(&stream, &message), -EAGAIN);
    assert_int_equal(weir_stream_feed(&stream, &rest), 0);
    assert_int_equal(weir_stream_feed(&stream, &rest), -EBUSY);
    assert_int_equal(weir_stream_next(&stream, &message), 0);
    assert_true(weir_view_equal(message.view,
                                VIEW("\xa3"
                                     "abc")));
    weir_slice_drop(&message);
    weir_slice_drop(&slice);
    weir_slice_drop(&rest);
    weir_stream_fini(&stream);
    test_pool_destroy(pool);
}

static void a_partial_message_is_told_from_a_clean_end(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        struct flow flow = make_flow(documents[i]);
        for (size_t size = 0; size <= flow.bytes.size; size++) {
            struct reader r;
            reader_begin(&r, pool, &flow);
            feed_piece(&r, 0, size);
            bool clean = false;
            for (size_t n = 0; n <= flow.count; n++)
                clean = clean || flow.starts[n] == size;
            assert_int_equal(weir_stream_is_partial(&r.stream), !clean);
            weir_stream_fini(&r.stream); /* and what is held is given back */
        }
        free_flow(&flow);
    }
    test_pool_destroy(pool);
}

/* --- faults and limits ----------------------------------------------------------------------- */

/* Feed @bytes cut at @cut; returns the error that comes in the end. */
static int verdict(struct weir_pool *pool, const struct weir_limits *limits, struct weir_view bytes,
                   size_t cut, struct weir_fault *ret)
{
    struct weir_stream stream;
    struct weir_slice message;
    int rc = 0;

    weir_stream_init(&stream, pool, limits);
    for (int piece = 0; piece < 2 && (rc == 0 || rc == -EAGAIN); piece++) {
        size_t from = piece == 0 ? 0 : cut;
        size_t to = piece == 0 ? cut : bytes.size;
        struct weir_slice slice = make_slice(pool, weir_view_of(bytes.data + from, to - from));
        assert_int_equal(weir_stream_feed(&stream, &slice), 0);
        while ((rc = weir_stream_next(&stream, &message)) == 0)
            weir_slice_drop(&message);
        if (rc != -EAGAIN) {
            assert_int_equal(weir_stream_next(&stream, &message), rc);
            assert_int_equal(weir_stream_feed(&stream, &slice), rc);
        }
        weir_slice_drop(&slice);
    }
    *ret = weir_stream_fault(&stream);
    assert_int_equal(ret->error, rc == -EAGAIN ? 0 : rc);
    if (rc == -EAGAIN && !weir_stream_is_partial(&stream))
        rc = 0;
    weir_stream_fini(&stream);
    return rc;
}

/* The same @error at @offset wherever @bytes are cut. */
static void check_verdict(const struct weir_limits *limits, struct weir_view bytes, int error,
                          size_t offset)
{
    struct weir_pool *pool = test_pool_create(NULL);

    for (size_t cut = 0; cut <= bytes.size; cut++) {
        struct weir_fault fault;
        assert_int_equal(verdict(pool, limits, bytes, cut, &fault), error);
        if (error != 0 && error != -EAGAIN) {
            assert_int_equal(fault.offset, offset);
            assert_non_null(fault.reason);
        }
    }
    test_pool_destroy(pool);
}

static void the_reserved_byte_ends_the_stream(void **state)
{
    (void)state;
    check_verdict(NULL, VIEW("\xc1"), -EBADMSG, 0);
    check_verdict(NULL,
                  VIEW("\x01\xa2"
                       "ab\xc1\x02"),
                  -EBADMSG,
                  4);
    check_verdict(NULL,
                  VIEW("\x01\x93\x01\xa1"
                       "a\xc1\x02"),
                  -EBADMSG,
                  5);
    check_verdict(NULL, VIEW("\xa1\xc1\xc4\x02\xc1\xc1"), 0, 0);
}

static void the_limit_of_bytes_is_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        struct flow flow = make_flow(documents[i]);
        for (size_t n = 0; n < flow.count; n++) {
            size_t size = flow.starts[n + 1] - flow.starts[n];
            struct weir_limits limits = {.bytes = size};
            struct weir_pool *pool = test_pool_create(NULL);
            struct weir_view one = weir_view_of(flow.bytes.data + flow.starts[n], size);
            check_verdict(&limits, one, 0, 0);
            if (size > 1) {
                struct weir_fault fault;
                limits.bytes = size - 1;
                for (size_t cut = 0; cut <= size; cut++)
                    assert_int_equal(verdict(pool, &limits, one, cut, &fault), -EMSGSIZE);
            }
            test_pool_destroy(pool);
        }
        free_flow(&flow);
    }
    /* each message on its own, and refused at the head that announces too much */
    check_verdict(&(struct weir_limits){.bytes = 4},
                  VIEW("\xa3"
                       "abc\xa3"
                       "abc\x01"),
                  0,
                  0);
    check_verdict(&(struct weir_limits){.bytes = 4},
                  VIEW("\xa3"
                       "abc\xa4"
                       "abcd"),
                  -EMSGSIZE,
                  4);
    check_verdict(&(struct weir_limits){.bytes = 4}, VIEW("\x01\x93\x01\xcc"), -EMSGSIZE, 3);
    check_verdict(&(struct weir_limits){.bytes = 4}, VIEW("\x01\x84"), -EMSGSIZE, 1);
}

static void the_limit_of_elements_is_exact(void **state)
{
    struct weir_limits limits = {.elements = 5};

    (void)state;
    check_verdict(&limits, VIEW("\x94\x01\x02\x03\x04\x94\x01\x02\x03\x04"), 0, 0);
    check_verdict(&limits, VIEW("\x82\x01\x02\x03\x04"), 0, 0);
    check_verdict(&limits, VIEW("\x01\x95"), -EMSGSIZE, 1);
    check_verdict(&limits, VIEW("\x83"), -EMSGSIZE, 0);
    check_verdict(&limits, VIEW("\x92\x92\x01\x02\x90"), 0, 0);
    check_verdict(&limits, VIEW("\x92\x92\x01\x02\x91\x03"), -EMSGSIZE, 4);
    limits.elements = 1;
    check_verdict(&limits,
                  VIEW("\x01\x90\x80\xa1"
                       "a\x91"),
                  -EMSGSIZE,
                  5);
}

static void announced_sizes_are_refused_before_memory_is_taken(void **state)
{
    static const struct weir_view hostile[] = {
        {(const uint8_t *)"\xdd\xff\xff\xff\xff\x01", 6},
        {(const uint8_t *)"\xdf\xff\xff\xff\xff", 5},
        {(const uint8_t *)"\xdf\x80\x00\x00\x00", 5},
        {(const uint8_t *)"\xdb\xff\xff\xff\xff", 5},
        {(const uint8_t *)"\xc6\xff\xff\xff\xff", 5},
        {(const uint8_t *)"\xc9\xff\xff\xff\xff\x01", 6},
        {(const uint8_t *)"\xc6\x04\x00\x00\x00", 5},
    };
    struct weir_pool_stats before, after;

    (void)state;
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        struct weir_pool *pool = test_pool_create(NULL);
        struct weir_fault fault;
        check_verdict(NULL, hostile[i], -EMSGSIZE, 0);
        /* take what the slices themselves need, then see that nothing more is taken */
        verdict(pool, NULL, hostile[i], 3, &fault);
        weir_pool_stats(pool, &before);
        verdict(pool, NULL, hostile[i], 3, &fault);
        weir_pool_stats(pool, &after);
        assert_int_equal(after.bytes_held, before.bytes_held);
        test_pool_destroy(pool);
    }
    /* an explicit limit above all sense does not wrap anything */
    struct weir_limits limits = {.bytes = UINT64_MAX, .elements = UINT64_MAX};
    static uint8_t chain[5 * 2000];
    for (size_t i = 0; i < sizeof(chain); i += 5)
        memcpy(chain + i, "\xdf\xff\xff\xff\xff", 5);
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_fault fault;
    assert_int_equal(
        verdict(pool, &limits, weir_view_of(chain, sizeof(chain)), sizeof(chain), &fault), -EAGAIN);
    test_pool_destroy(pool);
}

/* What a stream says of @bytes that are fed in pieces of @piece: the error, if any, and its offset;
 * otherwise where the next message begins. */
static int verdict_in_pieces(struct weir_pool *pool, const struct weir_limits *limits,
                             struct weir_view bytes, size_t piece, size_t *ret_offset)
{
    struct weir_stream stream;
    struct weir_view message;
    int rc = -EAGAIN;

    weir_stream_init(&stream, pool, limits);
    for (size_t at = 0; at < bytes.size && rc == -EAGAIN; at += piece) {
        size_t size = piece < bytes.size - at ? piece : bytes.size - at;
        struct weir_slice slice = make_slice(pool, weir_view_of(bytes.data + at, size));
        assert_int_equal(weir_stream_feed(&stream, &slice), 0);
        weir_slice_drop(&slice);
        while ((rc = weir_stream_next_view(&stream, &message)) == 0)
            continue;
    }
    *ret_offset =
        rc == -EAGAIN ? (size_t)weir_stream_offset(&stream) : weir_stream_fault(&stream).offset;
    weir_stream_fini(&stream);
    return rc;
}

static void compare_verdicts(struct weir_pool *pool, struct weir_view bytes)
{
    for (size_t limit = 1; limit <= 80; limit++) {
        const struct weir_limits limits[] = {{.bytes = limit}, {.elements = limit}};
        for (size_t k = 0; k < 2; k++) {
            size_t whole, single;
            int rc = verdict_in_pieces(pool, &limits[k], bytes, bytes.size, &whole);
            assert_int_equal(verdict_in_pieces(pool, &limits[k], bytes, 1, &single), rc);
            assert_int_equal(whole, single);
        }
    }
}

/* In one piece, heads are looked at in a run; a byte at a time, each on its own. */
static void limits_are_the_same_whole_and_byte_by_byte(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    uint8_t numbers[1 + 5 * 9];

    (void)state;
    for (size_t i = 0; i < documents_count; i++)
        compare_verdicts(pool, documents[i]);
    /* What is announced is above the limit before the bytes are. */
    memset(numbers, 0, sizeof(numbers));
    numbers[0] = 0x95;
    for (size_t i = 1; i < sizeof(numbers); i += 9)
        numbers[i] = 0xcf;
    compare_verdicts(pool, weir_view_of(numbers, sizeof(numbers)));
    test_pool_destroy(pool);
}

static void nesting_is_no_matter(void **state)
{
    const size_t levels = 1000000;
    struct weir_pool *pool = test_pool_create(NULL);
    uint8_t *bytes = malloc(levels + 1);
    struct reader r;

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 0x91, levels);
    bytes[levels] = 0xc0;
    struct flow flow = make_flow(weir_view_of(bytes, levels + 1));
    reader_begin(&r, pool, &flow);
    feed_piece(&r, 0, 1000);
    feed_piece(&r, 1000, levels - 1000);
    feed_piece(&r, levels - 1000, levels + 1);
    reader_end(&r, levels + 1);
    free_flow(&flow);
    free(bytes);
    test_pool_destroy(pool);
}

/* --- out of memory --------------------------------------------------------------------------- */

static void every_failing_allocation_can_be_tried_again(void **state)
{
    msgpack_sbuffer bytes;
    msgpack_packer packer;
    struct test_random random;

    (void)state;
    test_random_seed(&random, 5);
    msgpack_sbuffer_init(&bytes);
    msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
    for (int i = 0; i < 200; i++) {
        /* of many small values: a message's size shows only as it comes */
        msgpack_pack_array(&packer, 40);
        for (int j = 0; j < 40; j++)
            msgpack_pack_str_with_body(&packer,
                                       "0123456789012345678901234567890123456789",
                                       (size_t)test_random_below(&random, 40));
    }
    struct flow flow = make_flow(weir_view_of(bytes.data, bytes.size));
    for (uint64_t n = 1;; n++) {
        struct weir_pool_options options = {.class_bytes = {64}, .large_retain_bytes = 1};
        struct test_source source;
        struct weir_pool *pool;
        struct reader r;
        struct weir_slice message;
        uint8_t copies[2][32];
        test_source_init(&source);
        options.source = &source.source;
        assert_int_equal(weir_pool_create(&options, &pool), 0);
        reader_begin(&r, pool, &flow);
        test_source_fail(&source, n);
        for (size_t at = 0; at < bytes.size; at += 13) {
            size_t size = bytes.size - at < 13 ? bytes.size - at : 13;
            /* nobody's, so that only the stream takes memory, and none that touch */
            uint8_t *copy = copies[at / 13 % 2];
            memcpy(copy, bytes.data + at, size);
            struct weir_slice piece = {{copy, size}, NULL};
            int rc = weir_stream_feed(&r.stream, &piece);
            if (rc != 0) {
                assert_int_equal(rc, -ENOMEM);
                assert_int_equal(weir_stream_feed(&r.stream, &piece), 0);
            }
            while ((rc = weir_stream_next(&r.stream, &message)) != -EAGAIN) {
                if (rc == -ENOMEM)
                    continue;
                assert_int_equal(rc, 0);
                size_t start = flow.starts[r.next];
                assert_int_equal(message.view.size, flow.starts[r.next + 1] - start);
                assert_memory_equal(message.view.data, flow.bytes.data + start, message.view.size);
                r.next++;
                weir_slice_drop(&message);
            }
        }
        assert_int_equal(r.next, flow.count);
        weir_stream_fini(&r.stream);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (source.failures == 0) {
            assert_true(n > 3);
            break;
        }
    }
    free_flow(&flow);
    msgpack_sbuffer_destroy(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_stream_can_be_finished),
        cmocka_unit_test(messages_within_a_slice_are_not_copied),
        cmocka_unit_test(documents_cut_at_every_place_come_out_whole),
        cmocka_unit_test(documents_come_out_whole_byte_by_byte),
        cmocka_unit_test(random_flows_cut_anywhere_come_out_whole),
        cmocka_unit_test(views_are_the_same_messages_as_slices),
        cmocka_unit_test(a_view_is_kept_until_the_next_one_is_asked_for),
        cmocka_unit_test(any_number_of_messages_of_a_slice_can_be_kept),
        cmocka_unit_test(pieces_that_touch_are_joined_without_a_copy),
        cmocka_unit_test(a_message_that_straddles_is_copied_exactly_once),
        cmocka_unit_test(a_large_message_in_many_slices_is_gathered_in_its_final_place),
        cmocka_unit_test(memory_follows_the_bytes_that_came_not_those_announced),
        cmocka_unit_test(a_small_partial_message_can_let_go_of_its_slice),
        cmocka_unit_test(a_mebibyte_fed_byte_by_byte_is_linear),
        cmocka_unit_test(nothing_behind_a_gathered_message_is_copied),
        cmocka_unit_test(a_slice_that_is_not_worked_through_is_in_the_way),
        cmocka_unit_test(a_partial_message_is_told_from_a_clean_end),
        cmocka_unit_test(the_reserved_byte_ends_the_stream),
        cmocka_unit_test(the_limit_of_bytes_is_exact),
        cmocka_unit_test(the_limit_of_elements_is_exact),
        cmocka_unit_test(announced_sizes_are_refused_before_memory_is_taken),
        cmocka_unit_test(limits_are_the_same_whole_and_byte_by_byte),
        cmocka_unit_test(nesting_is_no_matter),
        cmocka_unit_test(every_failing_allocation_can_be_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
