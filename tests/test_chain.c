/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <weir/chain.h>

#include "../lib/chain_private.h"

/* A chain over a pool of its own. */
struct fixture {
    struct weir_pool *pool;
    struct weir_chain chain;
};

static void begin(struct fixture *f)
{
    f->pool = test_pool_create(NULL);
    memset(&f->chain, 0xff, sizeof f->chain);
    weir_chain_init(&f->chain, f->pool);
    assert_null(weir__chain_check(&f->chain));
}

static void end(struct fixture *f)
{
    assert_null(weir__chain_check(&f->chain));
    weir_chain_fini(&f->chain);
    assert_int_equal(test_blocks_in_use(f->pool), 0);
    test_pool_destroy(f->pool);
}

/* A slice of @text in a block of its own. */
static struct weir_slice slice_of(struct weir_pool *pool, const char *text)
{
    struct weir_block *block;
    size_t size = strlen(text);

    assert_int_equal(weir_pool_alloc(pool, size, &block), 0);
    memcpy(block->data, text, size);
    return weir_slice_adopt(weir_view_of(block->data, size), block);
}

/* Append @text from a block of its own, which only the chain holds afterwards. */
static void add(struct fixture *f, const char *text)
{
    struct weir_slice slice = slice_of(f->pool, text);

    assert_int_equal(weir_chain_append(&f->chain, &slice), 0);
    weir_slice_drop(&slice);
    assert_null(weir__chain_check(&f->chain));
}

/* Compare the bytes by every way there is to read them. */
static void assert_bytes(const struct weir_chain *chain, struct weir_view wanted)
{
    static uint8_t copy[1 << 16];
    struct weir_chain_reader reader;
    struct weir_view piece;
    struct iovec iov[3];
    size_t done = 0;

    assert_null(weir__chain_check(chain));
    assert_int_equal(chain->size_bytes, wanted.size);
    assert_true(wanted.size <= sizeof copy);
    assert_int_equal(weir_chain_copy(chain, 0, copy, wanted.size), 0);
    assert_true(weir_view_equal(weir_view_of(copy, wanted.size), wanted));
    weir_chain_reader_init(&reader, chain);
    while (weir_chain_reader_next(&reader, &piece)) {
        assert_true(piece.size != 0 && piece.size <= wanted.size - done);
        assert_memory_equal(piece.data, wanted.data + done, piece.size);
        done += piece.size;
        assert_int_equal(weir_chain_reader_offset(&reader), done);
        assert_int_equal(weir_chain_reader_remaining(&reader), wanted.size - done);
    }
    assert_int_equal(done, wanted.size);
    for (done = 0; done < wanted.size;) {
        unsigned count = weir_chain_iovecs(chain, done, iov, 3);
        assert_true(count >= 1 && count <= 3);
        for (unsigned i = 0; i < count; i++) {
            assert_true(iov[i].iov_len != 0 && iov[i].iov_len <= wanted.size - done);
            assert_memory_equal(iov[i].iov_base, wanted.data + done, iov[i].iov_len);
            done += iov[i].iov_len;
        }
    }
    assert_int_equal(weir_chain_iovecs(chain, wanted.size, iov, 3), 0);
    assert_true(weir_chain_equal_view(chain, wanted));
    assert_true(weir_chain_hash(chain, 3) == weir_view_hash(wanted, 3));
}

static void assert_text(const struct weir_chain *chain, const char *wanted)
{
    assert_bytes(chain, weir_view_text(wanted));
}

/* --- storage --------------------------------------------------------------------------------- */

static void a_zeroed_chain_can_be_finished_and_read(void **state)
{
    struct weir_chain chain = {0};
    struct weir_chain_reader reader;
    struct weir_slice slice = {{NULL, 7}, NULL};

    (void)state;
    assert_null(weir__chain_check(&chain));
    weir_chain_fini(&chain);
    weir_chain_fini(&chain);
    weir_chain_consume(&chain, 0);
    weir_chain_reader_init(&reader, &chain);
    assert_int_equal(weir_chain_reader_piece(&reader).size, 0);
    assert_int_equal(weir_chain_compare(&chain, &chain), 0);
    assert_true(weir_chain_hash(&chain, 3) == weir_view_hash(weir_view_of(NULL, 0), 3));
    assert_int_equal(weir_chain_flatten(&chain, NULL, &slice), 0);
    assert_null(slice.view.data);
    assert_int_equal(slice.view.size, 0);
}

static void a_chain_holds_what_is_appended(void **state)
{
    struct fixture f;
    struct weir_slice slice;

    (void)state;
    begin(&f);
    slice = slice_of(f.pool, "first");
    assert_int_equal(weir_chain_append(&f.chain, &slice), 0);
    assert_false(weir_block_is_exclusive(slice.block));
    assert_ptr_equal(f.chain.slices[0].view.data, slice.view.data);
    weir_slice_drop(&slice);
    assert_int_equal(test_blocks_in_use(f.pool), 1);
    assert_true(weir_block_is_exclusive(f.chain.slices[0].block));
    add(&f, ", second");
    assert_int_equal(f.chain.count, 2);
    assert_text(&f.chain, "first, second");
    weir_chain_reset(&f.chain);
    assert_int_equal(test_blocks_in_use(f.pool), 0);
    assert_text(&f.chain, "");
    end(&f);
}

static void empty_slices_leave_no_trace(void **state)
{
    struct fixture f;
    struct weir_slice zeroed = {{NULL, 0}, NULL}, slice;

    (void)state;
    begin(&f);
    slice = slice_of(f.pool, "x");
    slice.view.size = 0;
    assert_int_equal(weir_chain_append(&f.chain, &zeroed), 0);
    assert_int_equal(weir_chain_append(&f.chain, &slice), 0);
    assert_true(weir_block_is_exclusive(slice.block));
    assert_int_equal(f.chain.count, 0);
    assert_int_equal(weir_chain_append_adopt(&f.chain, &slice), 0);
    assert_null(slice.block);
    assert_int_equal(test_blocks_in_use(f.pool), 0);
    assert_int_equal(weir_chain_append_chain(&f.chain, &f.chain), 0);
    assert_int_equal(weir_chain_sub(&f.chain, 0, 0, &f.chain), 0);
    assert_text(&f.chain, "");
    end(&f);
}

static void slices_that_touch_are_joined_with_one_reference(void **state)
{
    struct fixture f;
    struct weir_slice whole, part;
    const char *text = "0123456789";

    (void)state;
    begin(&f);
    whole = slice_of(f.pool, text);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(weir_slice_sub(&whole, i, 1, &part), 0);
        assert_int_equal(i % 2 ? weir_chain_append(&f.chain, &part)
                               : weir_chain_append_adopt(&f.chain, &part),
                         0);
        weir_slice_drop(&part);
        assert_int_equal(f.chain.count, 1);
    }
    assert_text(&f.chain, text);
    /* One is the chain's, and not ten. */
    weir_slice_drop(&whole);
    assert_true(weir_block_is_exclusive(f.chain.slices[0].block));
    weir_chain_reset(&f.chain);
    /* The same of bytes that nobody owns. */
    for (size_t i = 0; i < 10; i++) {
        part = weir_slice_adopt(weir_view_of(text + i, 1), NULL);
        assert_int_equal(weir_chain_append(&f.chain, &part), 0);
    }
    assert_int_equal(f.chain.count, 1);
    assert_text(&f.chain, text);
    end(&f);
}

static void slices_that_touch_in_different_blocks_are_not_joined(void **state)
{
    struct fixture f;
    struct weir_block *blocks[64];
    struct iovec iov[64];
    unsigned touching = 0;

    (void)state;
    begin(&f);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_equal(weir_pool_alloc(f.pool, 64, &blocks[i]), 0);
        test_fill(blocks[i]->data, 64, i);
        struct weir_slice slice = weir_slice_adopt(weir_view_of(blocks[i]->data, 64), blocks[i]);
        touching += i != 0 && blocks[i - 1]->data + 64 == blocks[i]->data;
        assert_int_equal(weir_chain_append_adopt(&f.chain, &slice), 0);
    }
    assert_null(weir__chain_check(&f.chain));
    assert_int_equal(f.chain.count, 64);
    /* For the kernel they are one. */
    assert_int_equal(weir_chain_iovecs(&f.chain, 0, iov, 64), 64 - touching);
    end(&f);
}

static void a_chain_grows_beyond_its_inline_slices(void **state)
{
    struct fixture f;
    char wanted[1001];

    (void)state;
    begin(&f);
    for (unsigned i = 0; i < 1000; i++) {
        char text[2] = {(char)('a' + i % 26), 0};
        wanted[i] = text[0];
        add(&f, text);
        assert_int_equal(f.chain.table != NULL, i >= WEIR_CHAIN_INLINE_SLICES);
    }
    wanted[1000] = 0;
    assert_text(&f.chain, wanted);
    assert_int_equal(test_blocks_in_use(f.pool), 1001);
    weir_chain_reset(&f.chain);
    /* The table stays, and is used again. */
    assert_int_equal(test_blocks_in_use(f.pool), 1);
    for (unsigned i = 0; i < 1000; i++)
        add(&f, "x");
    assert_int_equal(test_blocks_in_use(f.pool), 1001);
    end(&f);
}

static void a_queue_of_slices_needs_no_larger_table(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    /* Six at a time pass through: appended behind, consumed in front. */
    for (unsigned i = 0; i < 6; i++)
        add(&f, "abc");
    uint32_t capacity = f.chain.capacity;
    const struct weir_block *table = f.chain.table;
    for (unsigned i = 0; i < 1000; i++) {
        weir_chain_consume(&f.chain, 3);
        assert_null(weir__chain_check(&f.chain));
        add(&f, "abc");
    }
    assert_ptr_equal(f.chain.table, table);
    assert_true(f.chain.capacity <= capacity);
    assert_text(&f.chain, "abcabcabcabcabcabc");
    weir_chain_consume(&f.chain, 18);
    assert_int_equal(f.chain.capacity, capacity);
    end(&f);
}

static void moving_a_chain_touches_no_reference(void **state)
{
    struct fixture f;
    struct weir_chain other;

    (void)state;
    for (unsigned slices = 0; slices < 12; slices++) {
        begin(&f);
        for (unsigned i = 0; i < slices; i++)
            add(&f, "abc");
        if (slices != 0)
            weir_chain_consume(&f.chain, 4 < slices * 3 ? 4 : 3);
        uint64_t before = test_blocks_in_use(f.pool);
        size_t size = f.chain.size_bytes;
        memset(&other, 0xff, sizeof other);
        weir_chain_move(&f.chain, &other);
        assert_null(weir__chain_check(&other));
        assert_text(&f.chain, "");
        assert_int_equal(other.size_bytes, size);
        assert_int_equal(test_blocks_in_use(f.pool), before);
        add(&f, "new");
        assert_text(&f.chain, "new");
        weir_chain_fini(&other);
        end(&f);
    }
}

/* --- appending ------------------------------------------------------------------------------- */

static void an_adopted_slice_passes_its_reference(void **state)
{
    struct fixture f;
    struct weir_slice slice, huge = {{(const uint8_t *)"x", SIZE_MAX}, NULL};

    (void)state;
    begin(&f);
    slice = slice_of(f.pool, "mine");
    struct weir_block *block = slice.block;
    assert_int_equal(weir_chain_append_adopt(&f.chain, &slice), 0);
    assert_null(slice.block);
    assert_int_equal(slice.view.size, 0);
    assert_ptr_equal(f.chain.slices[0].block, block);
    assert_true(weir_block_is_exclusive(block));
    assert_int_equal(weir_chain_append_adopt(&f.chain, &huge), -EOVERFLOW);
    assert_true(huge.view.size == SIZE_MAX);
    assert_text(&f.chain, "mine");
    end(&f);
}

static void a_chain_appended_to_itself_is_there_twice(void **state)
{
    struct fixture f;
    struct weir_slice whole, head, tail;

    (void)state;
    begin(&f);
    add(&f, "ab");
    add(&f, "cd");
    add(&f, "ef");
    assert_int_equal(weir_chain_append_chain(&f.chain, &f.chain), 0);
    assert_text(&f.chain, "abcdefabcdef");
    assert_int_equal(weir_chain_append_chain(&f.chain, &f.chain), 0);
    assert_text(&f.chain, "abcdefabcdefabcdefabcdef");
    weir_chain_reset(&f.chain);

    /* The first slice goes on where the last one ends: the joint is joined, once. */
    whole = slice_of(f.pool, "0123456789");
    assert_int_equal(weir_slice_sub(&whole, 4, 6, &head), 0);
    assert_int_equal(weir_slice_sub(&whole, 0, 4, &tail), 0);
    assert_int_equal(weir_chain_append(&f.chain, &head), 0);
    assert_int_equal(weir_chain_append(&f.chain, &tail), 0);
    assert_int_equal(f.chain.count, 2);
    assert_int_equal(weir_chain_append_chain(&f.chain, &f.chain), 0);
    assert_int_equal(f.chain.count, 3);
    assert_text(&f.chain, "45678901234567890123");
    weir_slice_drop(&whole);
    weir_slice_drop(&head);
    weir_slice_drop(&tail);
    end(&f);
}

static void a_slice_of_the_chain_itself_can_be_appended(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add(&f, "a");
    add(&f, "b");
    add(&f, "c");
    add(&f, "d");
    /* The table is allocated in this very call, and later made larger. */
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(weir_chain_append(&f.chain, &f.chain.slices[i]), 0);
    assert_text(&f.chain, "abcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcd");
    end(&f);
}

static void sizes_that_do_not_add_up_are_refused(void **state)
{
    struct fixture f;
    struct weir_chain other;
    struct weir_slice huge = {{(const uint8_t *)"x", SIZE_MAX - 3}, NULL};
    struct weir_slice small = {{(const uint8_t *)"abcd", 4}, NULL};
    struct weir_slice flat = small;

    (void)state;
    begin(&f);
    weir_chain_init(&other, f.pool);
    assert_int_equal(weir_chain_append(&other, &huge), 0);
    add(&f, "abcd");
    assert_int_equal(weir_chain_append(&f.chain, &huge), -EOVERFLOW);
    assert_int_equal(weir_chain_append_chain(&f.chain, &other), -EOVERFLOW);
    assert_int_equal(weir_chain_sub(&other, 0, SIZE_MAX - 3, &f.chain), -EOVERFLOW);
    assert_int_equal(weir_chain_append_chain(&other, &other), -EOVERFLOW);
    assert_int_equal(weir_chain_append(&other, &small), -EOVERFLOW);
    small.view.size = 3;
    assert_int_equal(weir_chain_append(&other, &small), 0);
    assert_true(other.size_bytes == SIZE_MAX);
    assert_int_equal(weir_chain_flatten(&other, f.pool, &flat), -EOVERFLOW);
    assert_int_equal(flat.view.size, 4);
    assert_null(weir__chain_check(&other));
    assert_text(&f.chain, "abcd");
    weir_chain_consume(&other, SIZE_MAX - 3);
    assert_text(&other, "abc");
    weir_chain_fini(&other);
    end(&f);
}

static void every_failed_allocation_changes_nothing(void **state)
{
    static struct test_source source;
    bool failed = true;

    (void)state;
    for (uint64_t n = 1; failed; n++) {
        test_source_init(&source);
        struct weir_pool *blocks = test_pool_create(NULL);
        struct weir_pool *pool = test_pool_create(&source);
        struct weir_chain chain;
        struct weir_slice flat = {{NULL, 0}, NULL};
        char wanted[201] = "";
        size_t size = 0;
        weir_chain_init(&chain, pool);
        test_source_fail(&source, n);
        for (unsigned i = 0; i < 100; i++) {
            struct weir_slice slice = slice_of(blocks, "ab");
            int rc =
                i % 2 ? weir_chain_append(&chain, &slice) : weir_chain_append_adopt(&chain, &slice);
            if (rc == 0) {
                memcpy(wanted + size, "ab", 3);
                size += 2;
            } else {
                assert_int_equal(rc, -ENOMEM);
                assert_non_null(slice.block);
                assert_true(weir_block_is_exclusive(slice.block));
            }
            weir_slice_drop(&slice);
            assert_text(&chain, wanted);
        }
        if (n == 1)
            test_source_fail_from(&source, 1);
        int64_t copied = weir_chain_flatten(&chain, pool, &flat);
        if (copied < 0) {
            assert_int_equal(copied, -ENOMEM);
            assert_null(flat.block);
        } else {
            assert_int_equal(copied, size);
            assert_true(weir_view_equal(flat.view, weir_view_text(wanted)));
        }
        failed = source.failures != 0;
        weir_slice_drop(&flat);
        weir_chain_fini(&chain);
        assert_int_equal(test_blocks_in_use(blocks), 0);
        test_pool_destroy(pool);
        test_pool_destroy(blocks);
        test_source_fini(&source);
    }
}

static void a_part_that_finds_no_table_is_not_appended_at_all(void **state)
{
    static struct test_source source;
    struct weir_chain chain, part;
    struct weir_chain_reader reader;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(NULL), *poor = test_pool_create(&source);
    weir_chain_init(&chain, pool);
    weir_chain_init(&part, poor);
    for (unsigned i = 0; i < 8; i++) {
        struct weir_slice slice = slice_of(pool, "abc");
        assert_int_equal(weir_chain_append_adopt(&chain, &slice), 0);
    }
    test_source_fail_from(&source, 1);
    weir_chain_reader_init(&reader, &chain);
    assert_int_equal(weir_chain_append_chain(&part, &chain), -ENOMEM);
    assert_int_equal(weir_chain_sub(&chain, 1, 13, &part), -ENOMEM);
    assert_int_equal(weir_chain_reader_sub(&reader, 13, &part), -ENOMEM);
    assert_int_equal(weir_chain_reader_offset(&reader), 0);
    for (unsigned i = 0; i < 8; i++)
        assert_true(weir_block_is_exclusive(chain.slices[i].block));
    assert_text(&part, "");
    /* Four slices fit in without a table. */
    assert_int_equal(weir_chain_sub(&chain, 2, 10, &part), 0);
    assert_text(&part, "cabcabcabc");
    test_source_fail(&source, 0);
    assert_int_equal(weir_chain_append_chain(&part, &chain), 0);
    assert_text(&part, "cabcabcabcabcabcabcabcabcabcabcabc");
    weir_chain_fini(&part);
    weir_chain_fini(&chain);
    test_pool_destroy(poor);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

/* --- parts ----------------------------------------------------------------------------------- */

static void every_part_is_cut_out_without_a_copy(void **state)
{
    static const char text[] = "0123456789abcdef";
    struct fixture f;
    const size_t size = sizeof text - 1;

    (void)state;
    begin(&f);
    add(&f, "012");
    add(&f, "3");
    add(&f, "456789");
    add(&f, "abcdef");
    for (size_t offset = 0; offset <= size; offset++) {
        for (size_t part_size = 0; part_size <= size - offset; part_size++) {
            struct weir_view wanted = weir_view_of(text + offset, part_size);
            struct weir_chain part;
            uint8_t copy[sizeof text];
            weir_chain_init(&part, f.pool);
            assert_int_equal(weir_chain_sub(&f.chain, offset, part_size, &part), 0);
            assert_bytes(&part, wanted);
            for (uint32_t i = 0; i < part.count; i++)
                assert_false(weir_block_is_exclusive(part.slices[i].block));
            memset(copy, '#', sizeof copy);
            assert_int_equal(weir_chain_copy(&f.chain, offset, copy, part_size), 0);
            assert_true(weir_view_equal(weir_view_of(copy, part_size), wanted));
            assert_int_equal(copy[part_size], '#');
            weir_chain_fini(&part);
        }
    }
    for (uint32_t i = 0; i < f.chain.count; i++)
        assert_true(weir_block_is_exclusive(f.chain.slices[i].block));
    end(&f);
}

static void a_part_outside_is_refused(void **state)
{
    static const struct {
        size_t offset, size;
    } outside[] = {{0, 7}, {1, 6}, {6, 1}, {7, 0}, {SIZE_MAX, 1}, {1, SIZE_MAX}, {SIZE_MAX, 0}};
    struct fixture f;
    struct weir_chain part;
    uint8_t copy[8] = "#######";

    (void)state;
    begin(&f);
    weir_chain_init(&part, f.pool);
    add(&f, "abc");
    add(&f, "def");
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        size_t offset = outside[i].offset, size = outside[i].size;
        assert_int_equal(weir_chain_sub(&f.chain, offset, size, &part), -EOVERFLOW);
        assert_int_equal(weir_chain_sub(&f.chain, offset, size, &f.chain), -EOVERFLOW);
        assert_int_equal(weir_chain_copy(&f.chain, offset, copy, size), -EOVERFLOW);
    }
    assert_string_equal((const char *)copy, "#######");
    assert_text(&part, "");
    assert_text(&f.chain, "abcdef");
    weir_chain_fini(&part);
    end(&f);
}

static void a_part_of_a_chain_can_be_appended_to_the_same(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add(&f, "abc");
    add(&f, "def");
    assert_int_equal(weir_chain_sub(&f.chain, 2, 3, &f.chain), 0);
    assert_text(&f.chain, "abcdefcde");
    /* The last slice, of which more lies behind in the same block. */
    assert_int_equal(weir_chain_sub(&f.chain, 3, 6, &f.chain), 0);
    assert_text(&f.chain, "abcdefcdedefcde");
    end(&f);
}

static void what_is_consumed_is_let_go_of(void **state)
{
    static const char text[] = "0123456789";
    struct fixture f;

    (void)state;
    for (size_t step = 1; step <= 10; step++) {
        begin(&f);
        add(&f, "0123");
        add(&f, "4");
        add(&f, "567");
        add(&f, "89");
        for (size_t done = 0; done < 10;) {
            size_t size = step < 10 - done ? step : 10 - done;
            weir_chain_consume(&f.chain, size);
            done += size;
            assert_text(&f.chain, text + done);
            assert_int_equal(test_blocks_in_use(f.pool), f.chain.count);
        }
        end(&f);
    }
}

static void the_end_is_cut_off_at_every_byte(void **state)
{
    static const char text[] = "0123456789";
    struct fixture f;

    (void)state;
    for (size_t front = 0; front <= 10; front++) {
        for (size_t keep = 0; keep <= 10 - front; keep++) {
            begin(&f);
            add(&f, "0123");
            add(&f, "4");
            add(&f, "567");
            add(&f, "89");
            weir_chain_consume(&f.chain, front);
            weir_chain_truncate(&f.chain, keep);
            assert_bytes(&f.chain, weir_view_of(text + front, keep));
            assert_int_equal(test_blocks_in_use(f.pool), f.chain.count);
            add(&f, "more");
            weir_chain_truncate(&f.chain, keep);
            assert_bytes(&f.chain, weir_view_of(text + front, keep));
            end(&f);
        }
    }
}

static void a_short_write_goes_on_at_every_byte(void **state)
{
    static const char text[] = "0123456789";
    struct fixture f;
    struct iovec iov[4];

    (void)state;
    begin(&f);
    add(&f, "0123");
    add(&f, "4");
    add(&f, "56789");
    for (size_t sent = 0; sent <= 10; sent++) {
        for (unsigned max = 0; max <= 4; max++) {
            unsigned wanted = sent < 4 ? 3 : sent < 5 ? 2 : sent < 10 ? 1 : 0;
            unsigned count = weir_chain_iovecs(&f.chain, sent, iov, max);
            assert_int_equal(count, wanted < max ? wanted : max);
            size_t at = sent;
            for (unsigned i = 0; i < count; at += iov[i].iov_len, i++)
                assert_memory_equal(iov[i].iov_base, text + at, iov[i].iov_len);
            if (max >= wanted)
                assert_int_equal(at, 10);
        }
    }
    end(&f);
}

static void flattening_copies_only_what_lies_in_pieces(void **state)
{
    struct fixture f;
    struct weir_slice flat = {{NULL, 7}, NULL};

    (void)state;
    begin(&f);
    assert_int_equal(weir_chain_flatten(&f.chain, f.pool, &flat), 0);
    assert_int_equal(flat.view.size, 0);
    assert_null(flat.block);
    add(&f, "abc");
    assert_int_equal(weir_chain_flatten(&f.chain, f.pool, &flat), 0);
    assert_ptr_equal(flat.view.data, f.chain.slices[0].view.data);
    assert_false(weir_block_is_exclusive(flat.block));
    weir_slice_drop(&flat);
    add(&f, "defg");
    assert_int_equal(weir_chain_flatten(&f.chain, f.pool, &flat), 7);
    assert_true(weir_view_equal(flat.view, weir_view_text("abcdefg")));
    assert_true(weir_block_is_exclusive(flat.block));
    weir_chain_reset(&f.chain);
    assert_true(weir_view_equal(flat.view, weir_view_text("abcdefg")));
    weir_slice_drop(&flat);
    end(&f);
}

/* --- comparing ------------------------------------------------------------------------------- */

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

/* Append @text, cut after the bytes whose bits are set in @cuts. */
static void add_cut(struct fixture *f, const char *text, unsigned cuts)
{
    char piece[16];
    size_t size = 0;

    for (size_t i = 0; text[i] != 0; i++) {
        piece[size++] = text[i];
        if ((cuts >> i & 1) == 0 && text[i + 1] != 0)
            continue;
        piece[size] = 0;
        add(f, piece);
        size = 0;
    }
}

static void where_a_chain_is_cut_does_not_matter(void **state)
{
    static const char *const ordered[] = {"", "a", "aab", "aabb", "aabba", "aabc", "ab", "\xff"};
    const int count = sizeof ordered / sizeof ordered[0];
    struct fixture a, b;

    (void)state;
    for (int i = 0; i < count * count; i++) {
        const char *left = ordered[i / count], *right = ordered[i % count];
        const int order = sign(i / count - i % count);
        for (unsigned cuts = 0; cuts < 64; cuts++) {
            begin(&a);
            begin(&b);
            add_cut(&a, left, cuts & 7);
            add_cut(&b, right, cuts >> 3);
            assert_int_equal(sign(weir_chain_compare(&a.chain, &b.chain)), order);
            assert_int_equal(weir_chain_equal(&a.chain, &b.chain), order == 0);
            assert_int_equal(sign(weir_chain_compare_view(&a.chain, weir_view_text(right))), order);
            assert_int_equal(weir_chain_equal_view(&a.chain, weir_view_text(right)), order == 0);
            assert_int_equal(weir_chain_hash(&a.chain, 1) == weir_chain_hash(&b.chain, 1),
                             order == 0);
            end(&a);
            end(&b);
        }
    }
}

/* --- reading --------------------------------------------------------------------------------- */

static void a_reader_crosses_every_joint(void **state)
{
    static const char text[] = "0123456789";
    /* Not known to the compiler, which would warn of a copy of that size. */
    volatile size_t largest = SIZE_MAX;
    struct fixture f;

    (void)state;
    /* Every way to cut ten bytes, read in steps of every size. */
    for (unsigned cuts = 0; cuts < 512; cuts++) {
        begin(&f);
        add_cut(&f, text, cuts);
        for (size_t step = 1; step <= 11; step++) {
            struct weir_chain_reader reader, taker, skipper;
            size_t done = 0;
            weir_chain_reader_init(&reader, &f.chain);
            weir_chain_reader_init(&taker, &f.chain);
            weir_chain_reader_init(&skipper, &f.chain);
            for (; step <= 10 - done; done += step) {
                char dst[12], scratch[12] = "###########";
                struct weir_view view = {NULL, 0};
                assert_int_equal(weir_chain_reader_read(&reader, dst, step), 0);
                assert_memory_equal(dst, text + done, step);
                assert_int_equal(weir_chain_reader_take(&taker, step, scratch, &view), 0);
                assert_true(weir_view_equal(view, weir_view_of(text + done, step)));
                /* Only what is cut was copied: a cut behind its last byte is none. */
                bool cut = (cuts >> done & ((1U << (step - 1)) - 1)) != 0;
                assert_int_equal(view.data == (const uint8_t *)scratch, cut);
                assert_int_equal(scratch[0], cut ? text[done] : '#');
                assert_int_equal(weir_chain_reader_skip(&skipper, step), 0);
            }
            /* What is left is less than a step: nothing is read, and everybody stays. */
            char dst[12] = "###########";
            struct weir_view view = {NULL, 77};
            assert_int_equal(weir_chain_reader_read(&reader, dst, step), -EAGAIN);
            assert_int_equal(weir_chain_reader_take(&taker, step, dst, &view), -EAGAIN);
            assert_int_equal(weir_chain_reader_skip(&skipper, step), -EAGAIN);
            assert_int_equal(weir_chain_reader_read(&reader, dst, largest), -EAGAIN);
            assert_int_equal(weir_chain_reader_skip(&skipper, SIZE_MAX), -EAGAIN);
            assert_string_equal(dst, "###########");
            assert_int_equal(view.size, 77);
            assert_int_equal(weir_chain_reader_offset(&reader), done);
            assert_int_equal(weir_chain_reader_offset(&taker), done);
            assert_int_equal(weir_chain_reader_offset(&skipper), done);
            assert_int_equal(weir_chain_reader_remaining(&skipper), 10 - done);
            struct weir_view rest = weir_chain_reader_piece(&skipper);
            assert_int_equal(rest.size != 0, done != 10);
            if (rest.size != 0)
                assert_int_equal(rest.data[0], text[done]);
        }
        end(&f);
    }
}

static void a_reader_finds_what_is_appended_later(void **state)
{
    struct fixture f;
    struct weir_chain_reader reader;
    struct weir_slice whole, part;
    char dst[4];

    (void)state;
    begin(&f);
    weir_chain_reader_init(&reader, &f.chain);
    assert_int_equal(weir_chain_reader_read(&reader, dst, 1), -EAGAIN);
    assert_int_equal(weir_chain_reader_skip(&reader, 0), 0);
    whole = slice_of(f.pool, "abcd");
    assert_int_equal(weir_slice_sub(&whole, 0, 2, &part), 0);
    assert_int_equal(weir_chain_append_adopt(&f.chain, &part), 0);
    assert_int_equal(weir_chain_reader_read(&reader, dst, 2), 0);
    assert_memory_equal(dst, "ab", 2);
    assert_int_equal(weir_chain_reader_piece(&reader).size, 0);
    /* What is joined to the slice that the reader is at the end of, */
    assert_int_equal(weir_slice_sub(&whole, 2, 2, &part), 0);
    assert_int_equal(weir_chain_append_adopt(&f.chain, &part), 0);
    assert_int_equal(weir_chain_reader_read(&reader, dst, 2), 0);
    assert_memory_equal(dst, "cd", 2);
    /* and so many that there is another table. */
    for (unsigned i = 0; i < 30; i++) {
        add(&f, "xyz");
        assert_int_equal(weir_chain_reader_read(&reader, dst, 3), 0);
        assert_memory_equal(dst, "xyz", 3);
    }
    assert_int_equal(weir_chain_reader_offset(&reader), 94);
    weir_slice_drop(&whole);
    end(&f);
}

static void a_reader_hands_out_parts(void **state)
{
    static const char text[] = "0123456789";
    struct fixture f;

    (void)state;
    for (unsigned cuts = 0; cuts < 512; cuts++) {
        begin(&f);
        add_cut(&f, text, cuts);
        for (size_t step = 1; step <= 10; step++) {
            struct weir_chain_reader reader;
            size_t done = 0;
            weir_chain_reader_init(&reader, &f.chain);
            while (done < 10) {
                struct weir_chain part;
                size_t size = step < 10 - done ? step : 10 - done;
                weir_chain_init(&part, f.pool);
                assert_int_equal(weir_chain_reader_sub(&reader, 11 - done, &part), -EAGAIN);
                assert_int_equal(weir_chain_reader_sub(&reader, 0, &part), 0);
                assert_int_equal(weir_chain_reader_sub(&reader, size, &part), 0);
                assert_bytes(&part, weir_view_of(text + done, size));
                weir_chain_fini(&part);
                done += size;
                assert_int_equal(weir_chain_reader_offset(&reader), done);
            }
        }
        end(&f);
    }
}

/* --- the invariants -------------------------------------------------------------------------- */

/* Each statement breaks the chain in one way; the copy is as it was before. */
#define BREAKS(what, reason)                          \
    do {                                              \
        const struct weir_chain intact = *chain;      \
        what;                                         \
        const char *found = weir__chain_check(chain); \
        *chain = intact;                              \
        assert_non_null(found);                       \
        assert_string_equal(found, reason);           \
    } while (0)

static void each_broken_invariant_is_found(void **state)
{
    struct fixture f;
    struct weir_chain *chain = &f.chain;
    struct weir_slice *slices = f.chain.inline_slices;

    (void)state;
    begin(&f);
    add(&f, "abc");
    add(&f, "def");
    BREAKS(chain->slices = NULL, "a zeroed chain holds something");
    BREAKS(chain->slices--, "the entries are neither the inline ones nor those of the table");
    BREAKS(chain->capacity--, "the entries are neither the inline ones nor those of the table");
    BREAKS(chain->count = 5, "there are more slices than entries");
    BREAKS(slices[1].view.size = 0, "a slice is empty");
    BREAKS(slices[1].view.size = 100, "a slice does not lie in its block");
    BREAKS(slices[1].view.data -= 1, "a slice does not lie in its block");
    BREAKS(slices[1].view.size -= 1, "the slices' sizes do not add up");
    BREAKS(chain->size_bytes += 1, "the slices' sizes do not add up");
    BREAKS((slices[0].block = NULL, slices[1].block = NULL, slices[1].view.size = SIZE_MAX),
           "the sizes' sum wraps");
    BREAKS((slices[1].view.data = slices[0].view.data + 3, slices[1].block = slices[0].block),
           "two slices touch and were not joined");
    end(&f);
}

/* --- all of it ------------------------------------------------------------------------------- */

#define MODEL_BYTES 20000

/* A chain, and what its bytes should be. */
struct model {
    struct weir_chain chain;
    size_t size;
    uint8_t bytes[MODEL_BYTES];
};

static void model_append(struct model *model, const void *bytes, size_t size)
{
    memcpy(model->bytes + model->size, bytes, size);
    model->size += size;
}

/* One step on @model, which may take from @other or from itself. */
static void model_step(struct model *model, const struct model *other, struct weir_pool *pool,
                       struct test_random *random)
{
    struct weir_slice slice, part;
    uint8_t taken[MODEL_BYTES];
    size_t room = MODEL_BYTES - model->size;
    size_t offset = (size_t)test_random_below(random, other->size + 1);
    size_t size = test_random_size(random, other->size - offset);

    switch (test_random_below(random, 8)) {
    case 0: /* a block, of which parts that may touch are appended */
    case 1:
        if (room < 600)
            break;
        assert_int_equal(weir_chain_append(&model->chain, &(struct weir_slice){{NULL, 0}, NULL}),
                         0);
        struct weir_block *block;
        assert_int_equal(weir_pool_alloc(pool, 600, &block), 0);
        test_fill(block->data, 600, test_random(random));
        slice = weir_slice_adopt(weir_view_of(block->data, 600), block);
        for (size_t at = 0; at < 600;) {
            size_t piece = 1 + test_random_size(random, 600 - at - 1);
            assert_int_equal(weir_slice_sub(&slice, at, piece, &part), 0);
            at += piece;
            if (test_random_below(random, 3) != 0) {
                model_append(model, part.view.data, piece);
                assert_int_equal(weir_chain_append_adopt(&model->chain, &part), 0);
            }
            weir_slice_drop(&part);
        }
        weir_slice_drop(&slice);
        break;
    case 2:
        if (other->size > room)
            break;
        size = other->size;
        memcpy(taken, other->bytes, size);
        assert_int_equal(weir_chain_append_chain(&model->chain, &other->chain), 0);
        model_append(model, taken, size);
        break;
    case 3:
    case 4:
        if (size > room)
            break;
        memcpy(taken, other->bytes + offset, size);
        assert_int_equal(weir_chain_sub(&other->chain, offset, size, &model->chain), 0);
        model_append(model, taken, size);
        break;
    case 5:
        if (test_random_below(random, 20) != 0)
            break;
        weir_chain_reset(&model->chain);
        model->size = 0;
        break;
    default:
        size = test_random_size(random, model->size);
        weir_chain_consume(&model->chain, size);
        memmove(model->bytes, model->bytes + size, model->size - size);
        model->size -= size;
    }
}

static void chains_behave_as_plain_bytes_do(void **state)
{
    static struct model models[2];
    struct weir_pool *pool = test_pool_create(NULL);
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int i = 0; i < 2; i++) {
        models[i].size = 0;
        weir_chain_init(&models[i].chain, pool);
    }
    for (int step = 0; step < 4000; step++) {
        uint64_t which = test_random_below(&random, 4);
        struct model *model = &models[which & 1];
        model_step(model, &models[which >> 1], pool, &random);
        assert_bytes(&model->chain, weir_view_of(model->bytes, model->size));
        struct weir_view a = weir_view_of(models[0].bytes, models[0].size);
        struct weir_view b = weir_view_of(models[1].bytes, models[1].size);
        assert_int_equal(sign(weir_chain_compare(&models[0].chain, &models[1].chain)),
                         sign(weir_view_compare(a, b)));
    }
    for (int i = 0; i < 2; i++)
        weir_chain_fini(&models[i].chain);
    assert_int_equal(test_blocks_in_use(pool), 0);
    test_pool_destroy(pool);
}

static void *read_and_finish(void *argument)
{
    struct weir_chain *chain = argument;
    bool good = weir_chain_equal_view(chain, weir_view_text("abcdefabcdef"));

    weir_chain_fini(chain);
    return good ? argument : NULL;
}

static void a_chain_may_be_read_and_finished_on_another_thread(void **state)
{
    struct fixture f;
    struct weir_chain chains[4];
    pthread_t threads[4];

    (void)state;
    begin(&f);
    for (int i = 0; i < 6; i++)
        add(&f, i % 3 == 0 ? "ab" : i % 3 == 1 ? "cd" : "ef");
    for (int i = 0; i < 4; i++) {
        weir_chain_init(&chains[i], f.pool);
        assert_int_equal(weir_chain_append_chain(&chains[i], &f.chain), 0);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_and_finish, &chains[i]), 0);
    weir_chain_reset(&f.chain);
    for (int i = 0; i < 4; i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_non_null(good);
    }
    weir_chain_fini(&f.chain);
    (void)weir_pool_reclaim(f.pool);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_chain_can_be_finished_and_read),
        cmocka_unit_test(a_chain_holds_what_is_appended),
        cmocka_unit_test(empty_slices_leave_no_trace),
        cmocka_unit_test(slices_that_touch_are_joined_with_one_reference),
        cmocka_unit_test(slices_that_touch_in_different_blocks_are_not_joined),
        cmocka_unit_test(a_chain_grows_beyond_its_inline_slices),
        cmocka_unit_test(a_queue_of_slices_needs_no_larger_table),
        cmocka_unit_test(moving_a_chain_touches_no_reference),
        cmocka_unit_test(an_adopted_slice_passes_its_reference),
        cmocka_unit_test(a_chain_appended_to_itself_is_there_twice),
        cmocka_unit_test(a_slice_of_the_chain_itself_can_be_appended),
        cmocka_unit_test(sizes_that_do_not_add_up_are_refused),
        cmocka_unit_test(every_failed_allocation_changes_nothing),
        cmocka_unit_test(a_part_that_finds_no_table_is_not_appended_at_all),
        cmocka_unit_test(every_part_is_cut_out_without_a_copy),
        cmocka_unit_test(a_part_outside_is_refused),
        cmocka_unit_test(a_part_of_a_chain_can_be_appended_to_the_same),
        cmocka_unit_test(what_is_consumed_is_let_go_of),
        cmocka_unit_test(the_end_is_cut_off_at_every_byte),
        cmocka_unit_test(a_short_write_goes_on_at_every_byte),
        cmocka_unit_test(flattening_copies_only_what_lies_in_pieces),
        cmocka_unit_test(where_a_chain_is_cut_does_not_matter),
        cmocka_unit_test(a_reader_crosses_every_joint),
        cmocka_unit_test(a_reader_finds_what_is_appended_later),
        cmocka_unit_test(a_reader_hands_out_parts),
        cmocka_unit_test(each_broken_invariant_is_found),
        cmocka_unit_test(chains_behave_as_plain_bytes_do),
        cmocka_unit_test(a_chain_may_be_read_and_finished_on_another_thread),
    };
    return cmocka_run_group_tests_name("chain", tests, NULL, NULL);
}
