/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/buf.h>

#include "../lib/buf_private.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

/* A buffer over a pool of its own. */
struct fixture {
    struct weir_pool *pool;
    struct weir_buf buf;
};

static void begin(struct fixture *f, const struct weir_buf_options *options)
{
    f->pool = test_pool_create(NULL);
    assert_int_equal(weir_buf_init(&f->buf, f->pool, options), 0);
}

static void end(struct fixture *f)
{
    assert_null(weir__buf_check(&f->buf));
    weir_buf_fini(&f->buf);
    test_pool_destroy(f->pool);
}

/* Read all of @buf from @offset through iovecs, @iov_max at a time, and compare. */
static void assert_content(const struct weir_buf *buf, size_t offset, unsigned iov_max,
                           const void *wanted, size_t size)
{
    struct iovec iov[64];
    struct weir_block *blocks[64];
    size_t done = 0;

    assert_int_equal(weir_buf_size(buf) - offset, size);
    while (done < size) {
        bool with_blocks = done % 2 == 0;
        unsigned count =
            weir_buf_iovecs(buf, offset + done, iov, with_blocks ? blocks : NULL, iov_max);
        assert_true(count >= 1 && count <= iov_max);
        for (unsigned i = 0; i < count; i++) {
            assert_true(iov[i].iov_len != 0 && iov[i].iov_len <= size - done);
            assert_memory_equal(iov[i].iov_base, (const uint8_t *)wanted + done, iov[i].iov_len);
            done += iov[i].iov_len;
        }
    }
    assert_int_equal(weir_buf_iovecs(buf, weir_buf_size(buf), iov, NULL, 64), 0);
}

/* --- configuration --------------------------------------------------------------------------- */

static void a_zeroed_buffer_can_be_finished(void **state)
{
    struct weir_buf buf = {0};

    (void)state;
    weir_buf_fini(&buf);
    weir_buf_fini(&buf);
}

static void a_bad_configuration_is_refused(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    static const struct {
        struct weir_buf_options options;
        int error;
    } cases[] = {
        {{.growth_percent = 99}, -EINVAL},
        {{.growth_percent = 1001}, -EINVAL},
        {{.initial_bytes = 65, .segment_max_bytes = 64}, -EINVAL},
        {{.growth_percent = 100}, 0},
        {{.growth_percent = 1000}, 0},
        {{.initial_bytes = 64, .segment_max_bytes = 64}, 0},
        {{.initial_bytes = 1 << 20}, 0},
        {{.segment_max_bytes = 64}, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_buf buf;
        memset(&buf, 0xff, sizeof(buf));
        assert_int_equal(weir_buf_init(&buf, pool, &cases[i].options), cases[i].error);
        if (cases[i].error == 0)
            assert_null(weir__buf_check(&buf));
        weir_buf_fini(&buf);
    }
    test_pool_destroy(pool);
}

/* --- reserve and commit ---------------------------------------------------------------------- */

static void only_what_is_committed_is_in_the_buffer(void **state)
{
    struct fixture f;
    uint8_t *at, *again;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    assert_int_equal(weir_buf_reserve(&f.buf, 100, &at), 0);
    assert_int_equal(weir_buf_reserve(&f.buf, 50, &again), 0);
    assert_ptr_equal(at, again);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    memcpy(at, "abcdef", 6);
    weir_buf_commit(&f.buf, 0);
    weir_buf_commit(&f.buf, 4);
    assert_int_equal(weir_buf_size(&f.buf), 4);
    assert_int_equal(weir_buf_reserve(&f.buf, 1, &again), 0);
    assert_ptr_equal(again, at + 4);
    assert_content(&f.buf, 0, 1, "abcd", 4);
    assert_int_equal(weir_buf_bytes_copied(&f.buf), 0);
    end(&f);
}

static void nothing_can_be_reserved_at_any_time(void **state)
{
    struct fixture f;
    uint8_t *at;

    (void)state;
    begin(&f, &(struct weir_buf_options){.limit_bytes = 1});
    assert_int_equal(weir_buf_reserve(&f.buf, 0, &at), 0);
    weir_buf_commit(&f.buf, 0);
    assert_int_equal(weir_buf_append(&f.buf, VIEW("x")), 0);
    assert_int_equal(weir_buf_reserve(&f.buf, 0, &at), 0);
    assert_int_equal(weir_buf_append(&f.buf, VIEW("")), 0);
    assert_int_equal(weir_buf_append(&f.buf, weir_view_of(NULL, 0)), 0);
    assert_int_equal(weir_buf_size(&f.buf), 1);
    end(&f);
}

static void sizes_near_the_largest_are_refused(void **state)
{
    struct fixture f;
    uint8_t *at = NULL;

    (void)state;
    for (int committed = 0; committed < 2; committed++) {
        begin(&f, NULL);
        if (committed != 0)
            assert_int_equal(weir_buf_append(&f.buf, VIEW("abc")), 0);
        for (size_t less = 0; less < 8192; less += less < 20 ? 1 : 500) {
            int rc = weir_buf_reserve(&f.buf, SIZE_MAX - less, &at);
            assert_true(rc == -EOVERFLOW || rc == -ENOMEM);
            rc = weir_buf_begin(&f.buf, SIZE_MAX - less);
            assert_true(rc == -EOVERFLOW || rc == -ENOMEM);
            assert_null(at);
            assert_null(weir__buf_check(&f.buf));
        }
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        assert_int_equal(weir_buf_append(&f.buf, VIEW("def")), 0);
        for (size_t less = 0; less < 20; less++) {
            int rc = weir_buf_reserve(&f.buf, SIZE_MAX - less, &at);
            assert_true(rc == -EOVERFLOW || rc == -ENOMEM);
            assert_null(weir__buf_check(&f.buf));
        }
        assert_int_equal(weir_buf_reserve(&f.buf, SIZE_MAX / 2, &at), -ENOMEM);
        weir_buf_end(&f.buf, NULL);
        assert_content(&f.buf, 0, 1, committed ? "abcdef" : "def", committed ? 6 : 3);
        end(&f);
    }
    /* with a limit it is the limit that refuses */
    begin(&f, &(struct weir_buf_options){.limit_bytes = 100});
    assert_int_equal(weir_buf_reserve(&f.buf, SIZE_MAX, &at), -ENOBUFS);
    assert_int_equal(weir_buf_begin(&f.buf, SIZE_MAX), -ENOBUFS);
    end(&f);
}

static void the_limit_is_exact_and_comes_back_with_consume(void **state)
{
    struct fixture f;
    uint8_t *at;

    (void)state;
    for (size_t limit = 1; limit < 300; limit += 13) {
        begin(&f, &(struct weir_buf_options){.limit_bytes = limit, .initial_bytes = 64});
        assert_int_equal(weir_buf_reserve(&f.buf, limit + 1, &at), -ENOBUFS);
        assert_int_equal(weir_buf_reserve(&f.buf, limit, &at), 0);
        assert_int_equal(weir_buf_room_bytes(&f.buf), limit);
        test_fill(at, limit, limit);
        weir_buf_commit(&f.buf, limit);
        assert_int_equal(weir_buf_room_bytes(&f.buf), 0);
        assert_int_equal(weir_buf_reserve(&f.buf, 1, &at), -ENOBUFS);
        assert_int_equal(weir_buf_append(&f.buf, VIEW("x")), -ENOBUFS);
        assert_int_equal(weir_buf_begin(&f.buf, 1), -ENOBUFS);
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0); /* an empty message would fit */
        assert_int_equal(weir_buf_reserve(&f.buf, 1, &at), -ENOBUFS);
        weir_buf_end(&f.buf, NULL);
        assert_null(weir__buf_check(&f.buf));
        weir_buf_consume(&f.buf, 1);
        assert_null(weir__buf_check(&f.buf));
        assert_int_equal(weir_buf_reserve(&f.buf, 2, &at), -ENOBUFS);
        assert_int_equal(weir_buf_append(&f.buf, VIEW("y")), 0);
        assert_int_equal(weir_buf_append(&f.buf, VIEW("z")), -ENOBUFS);
        assert_int_equal(weir_buf_size(&f.buf), limit);
        weir_buf_reset(&f.buf);
        assert_int_equal(weir_buf_reserve(&f.buf, limit, &at), 0);
        assert_int_equal(weir_buf_reserve(&f.buf, limit + 1, &at), -ENOBUFS);
        end(&f);
    }
}

static void a_linked_slice_counts_against_the_limit(void **state)
{
    struct fixture f;
    uint8_t *at;

    (void)state;
    begin(&f, &(struct weir_buf_options){.limit_bytes = 2000, .link_min_bytes = 1});
    struct weir_slice slice = test_slice(f.pool, 1500, 3);
    assert_int_equal(weir_buf_append_slice(&f.buf, &slice), 0);
    assert_int_equal(weir_buf_append_slice(&f.buf, &slice), -ENOBUFS);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    assert_int_equal(weir_buf_reserve(&f.buf, 501, &at), -ENOBUFS);
    assert_int_equal(weir_buf_reserve(&f.buf, 500, &at), 0);
    weir_buf_commit(&f.buf, 500);
    weir_buf_end(&f.buf, NULL);
    assert_int_equal(weir_buf_append(&f.buf, VIEW("x")), -ENOBUFS);
    assert_int_equal(weir_buf_size(&f.buf), 2000);
    weir_slice_drop(&slice);
    end(&f);
}

static void linking_cannot_wrap_the_size(void **state)
{
    static const uint8_t byte;
    struct weir_slice huge = {{&byte, SIZE_MAX / 2}, NULL};
    struct fixture f;
    uint8_t *at;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(weir_buf_append_slice(&f.buf, &huge), 0);
    assert_int_equal(weir_buf_append_slice(&f.buf, &huge), 0);
    assert_int_equal(weir_buf_append_slice(&f.buf, &huge), -EOVERFLOW);
    assert_int_equal(weir_buf_append(&f.buf, VIEW("x")), 0);
    assert_int_equal(weir_buf_reserve(&f.buf, 1, &at), -EOVERFLOW);
    assert_int_equal(weir_buf_begin(&f.buf, 1), -EOVERFLOW);
    assert_int_equal(weir_buf_size(&f.buf), SIZE_MAX);
    end(&f);
}

static void growth_is_planned(void **state)
{
    struct weir_pool_stats stats;
    struct fixture f;
    uint8_t *at;

    (void)state;
    /* blocks of 64, then 150 percent: 96, which is a block of 256, 384: 1024, 1536: 4096 */
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64, .segment_max_bytes = 4096});
    for (size_t i = 0; i < 64 + 256 + 1024 + 3 * 4096; i++) {
        assert_int_equal(weir_buf_reserve(&f.buf, 1, &at), 0);
        weir_buf_commit(&f.buf, 1);
    }
    weir_pool_stats(f.pool, &stats);
    for (uint32_t i = 0; i < stats.class_count; i++) {
        uint64_t block = stats.classes[i].block_bytes;
        uint64_t wanted = block == 64 || block == 256 || block == 1024 ? 1 : block == 4096 ? 3 : 0;
        if (block == 256)
            wanted++; /* the table, once the four entries in the buffer were too few */
        assert_int_equal(stats.classes[i].blocks_in_use, wanted);
    }
    end(&f);
}

/* --- appending from the buffer itself -------------------------------------------------------- */

static void a_buffer_can_be_appended_to_itself(void **state)
{
    struct fixture f;
    uint8_t model[8192];
    size_t size = 7;

    (void)state;
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
    test_fill(model, size, 1);
    assert_int_equal(weir_buf_append(&f.buf, weir_view_of(model, size)), 0);
    while (size * 2 <= sizeof(model)) {
        /* all that lies in one piece, once more; the first piece may lie elsewhere by now */
        struct iovec iov[64];
        unsigned count = weir_buf_iovecs(&f.buf, 0, iov, NULL, 64);
        size_t done = 0;
        for (unsigned i = 0; i < count; i++) {
            struct weir_view piece = weir_view_of(iov[i].iov_base, iov[i].iov_len);
            assert_int_equal(weir_buf_append(&f.buf, piece), 0);
            memcpy(model + size + done, model + done, piece.size);
            done += piece.size;
        }
        assert_int_equal(done, size);
        size *= 2;
        assert_content(&f.buf, 0, 64, model, size);
        assert_null(weir__buf_check(&f.buf));
    }
    end(&f);
}

static void a_message_can_be_appended_to_itself_while_it_moves(void **state)
{
    (void)state;
    for (size_t before = 0; before < 64; before += 21) {
        struct fixture f;
        uint8_t model[8192];
        size_t size = 5;
        struct weir_view message;
        begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
        test_fill(model, sizeof(model), 1);
        assert_int_equal(weir_buf_append(&f.buf, weir_view_of(model, before)), 0);
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        assert_int_equal(weir_buf_append(&f.buf, weir_view_of(model, size)), 0);
        while (size * 2 <= sizeof(model)) {
            assert_int_equal(weir_buf_append(&f.buf, weir_view_of(f.buf.message, size)), 0);
            memcpy(model + size, model, size);
            size *= 2;
            assert_null(weir__buf_check(&f.buf));
        }
        weir_buf_end(&f.buf, &message);
        assert_int_equal(message.size, size);
        assert_memory_equal(message.data, model, size);
        end(&f);
    }
}

static void a_slice_of_the_buffer_can_be_linked_into_it(void **state)
{
    struct fixture f;
    struct weir_slice slice;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 1});
    assert_int_equal(weir_buf_append(&f.buf, VIEW("abcdef")), 0);
    assert_int_equal(weir_buf_front(&f.buf, &slice), 0);
    assert_int_equal(weir_buf_append_slice(&f.buf, &slice), 0);
    assert_int_equal(weir_buf_append(&f.buf, VIEW("gh")), 0);
    assert_content(&f.buf, 0, 64, "abcdefabcdefgh", 14);
    weir_buf_consume(&f.buf, 8);
    assert_content(&f.buf, 0, 64, "cdefgh", 6);
    weir_slice_drop(&slice);
    end(&f);
}

/* --- messages -------------------------------------------------------------------------------- */

static void a_message_is_one_view(void **state)
{
    struct fixture f;
    struct weir_view empty, message;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    weir_buf_end(&f.buf, &empty);
    assert_int_equal(empty.size, 0);
    assert_int_equal(weir_buf_begin(&f.buf, 10), 0);
    assert_int_equal(weir_buf_append(&f.buf, VIEW("hello")), 0);
    assert_int_equal(weir_buf_append(&f.buf, VIEW(" world")), 0);
    assert_int_equal(weir_buf_size(&f.buf), 11);
    struct iovec iov[4];
    assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, NULL, 4), 0); /* not yet complete */
    struct weir_slice slice;
    assert_int_equal(weir_buf_front(&f.buf, &slice), -EAGAIN);
    assert_int_equal(weir_buf_slice_of(&f.buf, weir_view_of(f.buf.message, 5), &slice), -EINVAL);
    weir_buf_end(&f.buf, &message);
    assert_true(weir_view_equal(message, VIEW("hello world")));
    assert_content(&f.buf, 0, 4, "hello world", 11);
    end(&f);
}

static void moves_are_counted_exactly_and_move_nothing_else(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 300; round++) {
        struct fixture f;
        static uint8_t bytes[20000];
        size_t before = (size_t)test_random_below(&random, 200);
        uint64_t copied = 0, moved = 0;
        struct weir_view first = {NULL, 0}, message;
        begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
        test_fill(bytes, sizeof(bytes), (uint64_t)round);
        if (before != 0) {
            assert_int_equal(weir_buf_begin(&f.buf, before), 0);
            assert_int_equal(weir_buf_append(&f.buf, weir_view_of(bytes, before)), 0);
            weir_buf_end(&f.buf, &first);
            copied = before;
        }
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        size_t size = 0;
        while (size < 10000) {
            size_t step = test_random_size(&random, 1000);
            size_t room = weir_buf_room_bytes(&f.buf);
            uint8_t *at;
            assert_int_equal(weir_buf_reserve(&f.buf, step, &at), 0);
            if (step > room)
                moved += size;
            assert_int_equal(weir_buf_bytes_copied(&f.buf), copied + moved);
            memcpy(at, bytes + size, step);
            weir_buf_commit(&f.buf, step);
            size += step;
            assert_null(weir__buf_check(&f.buf));
            assert_int_equal(weir_buf_size(&f.buf), before + size);
        }
        weir_buf_end(&f.buf, &message);
        assert_int_equal(message.size, size);
        assert_memory_equal(message.data, bytes, size);
        assert_int_equal(first.size, before);
        if (before != 0)
            assert_memory_equal(first.data, bytes, before);
        end(&f);
    }
}

static void a_cancelled_message_leaves_the_buffer_as_before(void **state)
{
    struct test_random random;
    struct fixture f;
    uint8_t *at;

    (void)state;
    test_random_init(&random);
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64, .limit_bytes = 5000});
    uint8_t model[5000];
    size_t size = 0;
    for (int round = 0; round < 2000; round++) {
        size_t hint = test_random_size(&random, 100);
        int rc = weir_buf_begin(&f.buf, hint);
        assert_int_equal(rc, hint > 5000 - size ? -ENOBUFS : 0);
        for (uint64_t steps = rc == 0 ? test_random_below(&random, 6) : 0; steps != 0; steps--) {
            size_t step = test_random_size(&random, 300);
            if (weir_buf_reserve(&f.buf, step, &at) == 0) {
                test_fill(at, step, 99);
                weir_buf_commit(&f.buf, step);
            }
        }
        if (rc == 0)
            weir_buf_cancel(&f.buf);
        assert_null(weir__buf_check(&f.buf));
        assert_content(&f.buf, 0, 64, model, size);
        if (round % 8 == 0 && size + 10 <= sizeof(model)) {
            test_fill(model + size, 10, (uint64_t)round);
            assert_int_equal(weir_buf_append(&f.buf, weir_view_of(model + size, 10)), 0);
            size += 10;
        }
    }
    end(&f);
}

static void the_limit_within_a_message_is_exact(void **state)
{
    (void)state;
    for (size_t limit = 1; limit < 400; limit++) {
        struct fixture f;
        struct weir_view message;
        uint8_t *at;
        begin(&f, &(struct weir_buf_options){.initial_bytes = 64, .limit_bytes = limit});
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        for (size_t i = 0; i < limit; i++) {
            assert_int_equal(weir_buf_reserve(&f.buf, 1, &at), 0);
            at[0] = (uint8_t)i;
            weir_buf_commit(&f.buf, 1);
        }
        assert_int_equal(weir_buf_reserve(&f.buf, 1, &at), -ENOBUFS);
        weir_buf_end(&f.buf, &message);
        assert_int_equal(message.size, limit);
        for (size_t i = 0; i < limit; i++)
            assert_int_equal(message.data[i], (uint8_t)i);
        end(&f);
    }
}

/* --- linking --------------------------------------------------------------------------------- */

static void slices_are_linked_or_copied_by_their_size(void **state)
{
    struct fixture f;
    struct iovec iov[8];
    struct weir_block *blocks[8];

    (void)state;
    begin(&f, &(struct weir_buf_options){.initial_bytes = 8192});
    struct weir_slice small = test_slice(f.pool, 4095, 1);
    struct weir_slice large = test_slice(f.pool, 4096, 2);
    assert_int_equal(weir_buf_append(&f.buf, VIEW("head")), 0);
    assert_int_equal(weir_buf_append_slice(&f.buf, &small), 0);
    assert_int_equal(weir_buf_bytes_copied(&f.buf), 4 + 4095);
    assert_int_equal(weir_buf_append_slice(&f.buf, &large), 0);
    assert_int_equal(weir_buf_bytes_copied(&f.buf), 4 + 4095);
    assert_int_equal(weir_buf_append(&f.buf, VIEW("tail")), 0);
    assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, blocks, 8), 3);
    assert_int_equal(iov[0].iov_len, 4 + 4095);
    assert_ptr_equal(iov[1].iov_base, large.view.data);
    assert_ptr_equal(blocks[1], large.block);
    assert_int_equal(iov[1].iov_len, 4096);
    assert_int_equal(iov[2].iov_len, 4);
    /* the rest of the first block was gone on with */
    assert_ptr_equal(blocks[0], blocks[2]);
    assert_ptr_equal(iov[2].iov_base, (uint8_t *)iov[0].iov_base + iov[0].iov_len);
    weir_slice_drop(&small);
    weir_slice_drop(&large);
    end(&f);
}

static void linked_bytes_of_nobody_are_not_held(void **state)
{
    static const uint8_t literal[5000];
    struct weir_slice slice = {{literal, sizeof(literal)}, NULL};
    struct fixture f;
    struct iovec iov[4];
    struct weir_block *blocks[4];
    struct weir_slice part;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(weir_buf_append_slice(&f.buf, &slice), 0);
    assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, blocks, 4), 1);
    assert_ptr_equal(iov[0].iov_base, literal);
    assert_null(blocks[0]);
    assert_int_equal(weir_buf_slice_of(&f.buf, weir_view_of(literal + 5, 10), &part), 0);
    assert_null(part.block);
    weir_buf_consume(&f.buf, sizeof(literal));
    assert_int_equal(weir_buf_size(&f.buf), 0);
    end(&f);
}

static void pieces_that_touch_are_one_iovec(void **state)
{
    struct fixture f;
    struct iovec iov[8];
    struct weir_block *blocks[8];

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 1});
    struct weir_slice slice = test_slice(f.pool, 4000, 1);
    struct weir_slice part;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(weir_slice_sub(&slice, i * 1000, 1000, &part), 0);
        assert_int_equal(weir_buf_append_slice(&f.buf, &part), 0);
        weir_slice_drop(&part);
    }
    assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, NULL, 8), 1);
    assert_int_equal(iov[0].iov_len, 4000);
    assert_int_equal(weir_buf_iovecs(&f.buf, 10, iov, blocks, 1), 1);
    assert_int_equal(iov[0].iov_len, 3990);
    assert_ptr_equal(blocks[0], slice.block);
    assert_int_equal(weir_buf_iovecs(&f.buf, 1500, iov, blocks, 8), 1);
    assert_ptr_equal(iov[0].iov_base, slice.view.data + 1500);
    assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, NULL, 0), 0);
    /* two blocks that happen to touch are one only where nobody asks for blocks */
    weir_buf_reset(&f.buf);
    struct weir_slice nobodys = {{slice.view.data + 100, 100}, NULL};
    assert_int_equal(weir_slice_sub(&slice, 0, 100, &part), 0);
    assert_int_equal(weir_buf_append_slice(&f.buf, &part), 0);
    assert_int_equal(weir_buf_append_slice(&f.buf, &nobodys), 0);
    assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, NULL, 8), 1);
    assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, blocks, 8), 2);
    weir_slice_drop(&part);
    weir_slice_drop(&slice);
    end(&f);
}

static void an_export_from_every_offset_equals_the_bytes(void **state)
{
    struct fixture f;
    static uint8_t model[6000];
    size_t size = 0;

    (void)state;
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64, .link_min_bytes = 100});
    for (size_t i = 0; size + 400 < sizeof(model); i++) {
        struct weir_slice slice = test_slice(f.pool, 1 + i * 37 % 300, i);
        memcpy(model + size, slice.view.data, slice.view.size);
        size += slice.view.size;
        assert_int_equal(weir_buf_append_slice(&f.buf, &slice), 0);
        weir_slice_drop(&slice);
    }
    for (size_t offset = 0; offset <= size; offset++)
        assert_content(&f.buf, offset, 1 + (unsigned)(offset % 64), model + offset, size - offset);
    end(&f);
}

/* --- slices that outlive --------------------------------------------------------------------- */

static void slices_outlive_consume_reset_and_fini(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct weir_pool *pool = test_pool_create(NULL);
        struct weir_slice slices[40];
        struct weir_buf buf;
        assert_int_equal(
            weir_buf_init(&buf, pool, &(struct weir_buf_options){.initial_bytes = 256}), 0);
        for (size_t i = 0; i < 40; i++) {
            struct weir_view message;
            uint8_t *at;
            assert_int_equal(weir_buf_begin(&buf, 0), 0);
            assert_int_equal(weir_buf_reserve(&buf, 50 + i, &at), 0);
            test_fill(at, 50 + i, i);
            weir_buf_commit(&buf, 50 + i);
            weir_buf_end(&buf, &message);
            assert_int_equal(weir_buf_slice_of(&buf, message, &slices[i]), 0);
            if (i % 5 == 4) {
                if (how == 0)
                    weir_buf_consume(&buf, weir_buf_size(&buf));
                else if (how == 1)
                    weir_buf_reset(&buf);
            }
            assert_null(weir__buf_check(&buf));
        }
        weir_buf_fini(&buf);
        struct weir_block *block; /* what is free is written over */
        assert_int_equal(weir_pool_alloc(pool, 256, &block), 0);
        test_fill(block->data, block->size, 1234);
        for (size_t i = 0; i < 40; i++) {
            assert_true(test_is_filled(slices[i].view.data, 50 + i, i));
            assert_int_equal(slices[i].view.size, 50 + i);
            weir_slice_drop(&slices[i]);
        }
        weir_block_drop(block);
        test_pool_destroy(pool);
    }
}

static void a_slice_is_of_one_segment(void **state)
{
    struct fixture f;
    struct weir_slice slice = {{NULL, 7}, NULL};
    struct iovec iov[8];

    (void)state;
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64, .segment_max_bytes = 64});
    for (int i = 0; i < 3; i++)
        assert_int_equal(weir_buf_append(&f.buf, VIEW("0123456789012345678901234567890123456789")),
                         0);
    assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, NULL, 8), 3);
    for (int i = 0; i < 3; i++) {
        struct weir_view all = weir_view_of(iov[i].iov_base, iov[i].iov_len);
        struct weir_view more = weir_view_of(all.data, all.size + 1);
        struct weir_slice good;
        assert_int_equal(weir_buf_slice_of(&f.buf, all, &good), 0);
        assert_ptr_equal(good.view.data, all.data);
        weir_slice_drop(&good);
        assert_int_equal(weir_buf_slice_of(&f.buf, more, &slice), -EINVAL);
        assert_int_equal(weir_buf_slice_of(&f.buf, weir_view_of(all.data, SIZE_MAX), &slice),
                         -EINVAL);
    }
    assert_int_equal(weir_buf_slice_of(&f.buf, VIEW("elsewhere"), &slice), -EINVAL);
    /* what is consumed is no longer in the buffer */
    weir_buf_consume(&f.buf, 10);
    assert_int_equal(weir_buf_slice_of(&f.buf, weir_view_of(iov[0].iov_base, 11), &slice), -EINVAL);
    assert_int_equal(slice.view.size, 7);
    end(&f);
}

/* --- reuse ----------------------------------------------------------------------------------- */

static void an_empty_buffer_begins_its_block_again(void **state)
{
    struct fixture f;
    uint8_t *first, *at;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(weir_buf_reserve(&f.buf, 100, &first), 0);
    for (int round = 0; round < 1000; round++) {
        assert_int_equal(weir_buf_reserve(&f.buf, 100, &at), 0);
        assert_ptr_equal(at, first);
        weir_buf_commit(&f.buf, 100);
        if (round % 2 == 0) {
            weir_buf_reset(&f.buf);
        } else {
            weir_buf_consume(&f.buf, 60);
            weir_buf_consume(&f.buf, 40);
        }
    }
    struct weir_pool_stats stats;
    weir_pool_stats(f.pool, &stats);
    assert_int_equal(stats.total.allocations, 1);
    end(&f);
}

static void a_block_that_was_held_is_reused_once_it_is_not(void **state)
{
    struct fixture f;
    struct weir_slice slice;
    uint8_t *first, *at;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(weir_buf_reserve(&f.buf, 4096, &first), 0);
    weir_buf_commit(&f.buf, 4000);
    assert_int_equal(weir_buf_front(&f.buf, &slice), 0);
    weir_buf_consume(&f.buf, 4000);
    assert_int_equal(weir_buf_reserve(&f.buf, 96, &at), 0);
    assert_ptr_equal(at, first + 4000); /* behind what is held */
    weir_slice_drop(&slice);
    assert_int_equal(weir_buf_reserve(&f.buf, 97, &at), 0);
    assert_ptr_equal(at, first);
    assert_null(weir__buf_check(&f.buf));
    end(&f);
}

static void a_steady_state_takes_nothing_new_from_the_source(void **state)
{
    struct test_source source;
    struct weir_buf buf;
    uint64_t calls = 0;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
    static const uint8_t bytes[3000];
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 100; i++)
            assert_int_equal(weir_buf_append(&buf, weir_view_of(bytes, sizeof(bytes))), 0);
        weir_buf_consume(&buf, 1000);
        if (round % 2 == 0)
            weir_buf_reset(&buf);
        else
            weir_buf_consume(&buf, weir_buf_size(&buf));
        if (round == 10)
            calls = source.calls;
    }
    assert_int_equal(source.calls, calls);
    weir_buf_fini(&buf);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

/* --- against a model ------------------------------------------------------------------------- */

#define MODEL_MAX 60000

struct model {
    uint8_t bytes[MODEL_MAX];
    size_t size;
    size_t message; /* where the message begins, if one is begun */
    bool begun;
    struct weir_slice slices[32]; /* held, each with the pattern of its bytes kept */
    uint8_t *copies[32];
};

static void model_hold(struct fixture *f, struct model *m, struct test_random *random)
{
    size_t slot = (size_t)test_random_below(random, 32);
    struct iovec iov[64];

    weir_slice_drop(&m->slices[slot]);
    free(m->copies[slot]);
    m->copies[slot] = NULL;
    unsigned count = weir_buf_iovecs(&f->buf, 0, iov, NULL, 64);
    if (count == 0)
        return;
    struct iovec *piece = &iov[test_random_below(random, count)];
    size_t offset = (size_t)test_random_below(random, piece->iov_len);
    size_t size = 1 + (size_t)test_random_below(random, piece->iov_len - offset);
    struct weir_view part = weir_view_of((uint8_t *)piece->iov_base + offset, size);
    if (weir_buf_slice_of(&f->buf, part, &m->slices[slot]) != 0)
        return; /* of two segments that touch */
    m->copies[slot] = malloc(size);
    assert_non_null(m->copies[slot]);
    memcpy(m->copies[slot], part.data, size);
}

static void model_append(struct fixture *f, struct model *m, struct test_random *random)
{
    size_t size = test_random_size(random, 3000);
    uint8_t *at;

    if (size > MODEL_MAX - m->size)
        return;
    uint8_t *tail = m->bytes + m->size;
    test_fill(tail, size, test_random(random));
    struct weir_slice slice = {{tail, size}, NULL};
    switch (test_random_below(random, m->begun ? 2 : 4)) {
    case 0:
        assert_int_equal(weir_buf_append(&f->buf, slice.view), 0);
        break;
    case 1:
        assert_int_equal(
            weir_buf_reserve(&f->buf, size + (size_t)test_random_below(random, 500), &at), 0);
        if (size != 0)
            memcpy(at, tail, size);
        weir_buf_commit(&f->buf, size);
        break;
    default:
        if (size == 0)
            return;
        assert_int_equal(weir_pool_alloc(f->pool, size, &slice.block), 0);
        memcpy(slice.block->data, tail, size);
        slice.view.data = slice.block->data;
        assert_int_equal(weir_buf_append_slice(&f->buf, &slice), 0);
        weir_slice_drop(&slice);
        break;
    }
    m->size += size;
}

static void model_drop(struct fixture *f, struct model *m, struct test_random *random)
{
    size_t size = m->size;

    if (test_random_below(random, 50) == 0) {
        weir_buf_reset(&f->buf);
        m->begun = false;
    } else if (!m->begun) {
        if (test_random_below(random, 3) != 0)
            size = (size_t)test_random_below(random, m->size + 1);
        weir_buf_consume(&f->buf, size);
    } else {
        return;
    }
    m->size -= size;
    memmove(m->bytes, m->bytes + size, m->size);
}

static void model_message(struct fixture *f, struct model *m, struct test_random *random)
{
    struct weir_view message;

    if (!m->begun) {
        assert_int_equal(weir_buf_begin(&f->buf, test_random_size(random, 5000)), 0);
        m->message = m->size;
        m->begun = true;
        return;
    }
    m->begun = false;
    if (test_random_below(random, 3) == 0) {
        weir_buf_cancel(&f->buf);
        m->size = m->message;
        return;
    }
    weir_buf_end(&f->buf, &message);
    assert_int_equal(message.size, m->size - m->message);
    if (message.size != 0)
        assert_memory_equal(message.data, m->bytes + m->message, message.size);
}

static void model_compare(struct fixture *f, const struct model *m)
{
    struct iovec iov[64];
    size_t complete = m->begun ? m->message : m->size;
    size_t done = 0;

    assert_null(weir__buf_check(&f->buf));
    assert_int_equal(weir_buf_size(&f->buf), m->size);
    while (done < complete) {
        unsigned count = weir_buf_iovecs(&f->buf, done, iov, NULL, 64);
        assert_true(count > 0);
        for (unsigned i = 0; i < count; i++) {
            assert_true(iov[i].iov_len <= complete - done);
            assert_memory_equal(iov[i].iov_base, m->bytes + done, iov[i].iov_len);
            done += iov[i].iov_len;
        }
    }
    for (size_t i = 0; i < 32; i++) {
        if (m->copies[i] != NULL)
            assert_memory_equal(m->slices[i].view.data, m->copies[i], m->slices[i].view.size);
    }
}

static void random_operations_agree_with_a_plain_array(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 40; round++) {
        struct weir_buf_options options = {
            .initial_bytes = 64 + test_random_size(&random, 1000),
            .segment_max_bytes = 1100 + test_random_size(&random, 20000),
            .link_min_bytes = 1 + test_random_size(&random, 1000),
            .growth_percent = 100 + (uint32_t)test_random_below(&random, 200),
        };
        struct model *m = calloc(1, sizeof(*m));
        struct fixture f;
        assert_non_null(m);
        begin(&f, &options);
        for (int step = 0; step < 500; step++) {
            uint64_t what = test_random_below(&random, 10);
            if (what < 5)
                model_append(&f, m, &random);
            else if (what < 6)
                model_drop(&f, m, &random);
            else if (what < 8)
                model_message(&f, m, &random);
            else
                model_hold(&f, m, &random);
            model_compare(&f, m);
        }
        weir_buf_fini(&f.buf);
        for (size_t i = 0; i < 32; i++) {
            if (m->copies[i] != NULL)
                assert_memory_equal(m->slices[i].view.data, m->copies[i], m->slices[i].view.size);
            weir_slice_drop(&m->slices[i]);
            free(m->copies[i]);
        }
        test_pool_destroy(f.pool);
        free(m);
    }
}

static void a_queue_of_many_segments_stays_small(void **state)
{
    static const uint8_t literal[64];
    struct fixture f;
    struct weir_pool_stats stats;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 1});
    for (size_t i = 0; i < 100000; i++) {
        struct weir_slice slice = {{literal, 1 + i % sizeof(literal)}, NULL};
        assert_int_equal(weir_buf_append_slice(&f.buf, &slice), 0);
        if (i >= 50)
            weir_buf_consume(&f.buf, 1 + (i - 50) % sizeof(literal));
    }
    assert_null(weir__buf_check(&f.buf));
    weir_pool_stats(f.pool, &stats);
    assert_true(stats.bytes_in_use_peak <= 8192);
    end(&f);
}

/* --- out of memory --------------------------------------------------------------------------- */

/* Append the @i-th thing, in one of the ways that take memory. */
static int append_one(struct weir_buf *buf, const struct weir_slice *slice, int i)
{
    uint8_t *at;
    int rc;

    switch (i % 4) {
    case 0:
        return weir_buf_append_slice(buf, slice);
    case 1:
        return weir_buf_append(buf, weir_view_of(slice->view.data, 700));
    case 2:
        rc = weir_buf_reserve(buf, 900, &at);
        if (rc == 0) {
            memcpy(at, slice->view.data, 900);
            weir_buf_commit(buf, 900);
        }
        return rc;
    default:
        rc = weir_buf_begin(buf, 0);
        if (rc != 0)
            return rc;
        for (int part = 0; part < 100 && rc == 0; part++)
            rc = weir_buf_append(buf, weir_view_of(slice->view.data, 100));
        if (rc == 0)
            weir_buf_end(buf, NULL);
        else
            weir_buf_cancel(buf);
        return rc;
    }
}

static void every_failing_allocation_leaves_the_buffer_as_before(void **state)
{
    static uint8_t wanted[10 * (2000 + 700 + 900 + 10000)];
    uint8_t piece[2000];
    size_t size = 0;

    (void)state;
    test_fill(piece, sizeof(piece), 1);
    for (int i = 0; i < 10; i++) {
        static const size_t sizes[] = {2000, 700, 900};
        for (size_t j = 0; j < 103; j++) {
            size_t part = j < 3 ? sizes[j] : 100;
            memcpy(wanted + size, piece, part);
            size += part;
        }
    }
    assert_int_equal(size, sizeof(wanted));
    for (uint64_t n = 1;; n++) {
        /* Pool blocks of every size come from the source: nothing is at hand. */
        struct weir_pool_options options = {.class_bytes = {64}, .large_retain_bytes = 1};
        struct test_source source;
        struct weir_pool *pool;
        struct weir_buf buf;
        int failed = 0;
        test_source_init(&source);
        options.source = &source.source;
        assert_int_equal(weir_pool_create(&options, &pool), 0);
        struct weir_buf_options how = {.segment_max_bytes = 64, .link_min_bytes = 1000};
        assert_int_equal(weir_buf_init(&buf, pool, &how), 0);
        struct weir_slice slice = test_slice(pool, 2000, 1);
        test_source_fail(&source, n);
        for (int i = 0; i < 40; i++) {
            size = weir_buf_size(&buf);
            int rc = append_one(&buf, &slice, i);
            assert_null(weir__buf_check(&buf));
            if (rc == 0)
                continue;
            assert_int_equal(rc, -ENOMEM);
            assert_int_equal(weir_buf_size(&buf), size);
            failed++;
            i--; /* the second attempt works */
        }
        assert_int_equal(failed, source.failures);
        assert_int_equal(weir_buf_size(&buf), 10 * (2000 + 700 + 900 + 10000));
        assert_content(&buf, 0, 64, wanted, sizeof(wanted));
        weir_buf_fini(&buf);
        weir_slice_drop(&slice);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (source.failures == 0) {
            assert_true(n > 20);
            break;
        }
    }
}

static void a_pool_at_its_limit_is_an_error_and_not_the_end(void **state)
{
    struct weir_pool_options options = {.limit_bytes = 8 << 20};
    struct weir_pool *pool;
    struct weir_buf buf;
    static const uint8_t bytes[10000];
    int rc;

    (void)state;
    assert_int_equal(weir_pool_create(&options, &pool), 0);
    assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
    size_t size = 0;
    while ((rc = weir_buf_append(&buf, weir_view_of(bytes, sizeof(bytes)))) == 0)
        size += sizeof(bytes);
    assert_int_equal(rc, -ENOBUFS);
    assert_int_equal(weir_buf_size(&buf), size);
    assert_null(weir__buf_check(&buf));
    weir_buf_consume(&buf, size / 2);
    assert_int_equal(weir_buf_append(&buf, weir_view_of(bytes, sizeof(bytes))), 0);
    weir_buf_fini(&buf);
    test_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_buffer_can_be_finished),
        cmocka_unit_test(a_bad_configuration_is_refused),
        cmocka_unit_test(only_what_is_committed_is_in_the_buffer),
        cmocka_unit_test(nothing_can_be_reserved_at_any_time),
        cmocka_unit_test(sizes_near_the_largest_are_refused),
        cmocka_unit_test(the_limit_is_exact_and_comes_back_with_consume),
        cmocka_unit_test(a_linked_slice_counts_against_the_limit),
        cmocka_unit_test(linking_cannot_wrap_the_size),
        cmocka_unit_test(growth_is_planned),
        cmocka_unit_test(a_buffer_can_be_appended_to_itself),
        cmocka_unit_test(a_message_can_be_appended_to_itself_while_it_moves),
        cmocka_unit_test(a_slice_of_the_buffer_can_be_linked_into_it),
        cmocka_unit_test(a_message_is_one_view),
        cmocka_unit_test(moves_are_counted_exactly_and_move_nothing_else),
        cmocka_unit_test(a_cancelled_message_leaves_the_buffer_as_before),
        cmocka_unit_test(the_limit_within_a_message_is_exact),
        cmocka_unit_test(slices_are_linked_or_copied_by_their_size),
        cmocka_unit_test(linked_bytes_of_nobody_are_not_held),
        cmocka_unit_test(pieces_that_touch_are_one_iovec),
        cmocka_unit_test(an_export_from_every_offset_equals_the_bytes),
        cmocka_unit_test(slices_outlive_consume_reset_and_fini),
        cmocka_unit_test(a_slice_is_of_one_segment),
        cmocka_unit_test(an_empty_buffer_begins_its_block_again),
        cmocka_unit_test(a_block_that_was_held_is_reused_once_it_is_not),
        cmocka_unit_test(a_steady_state_takes_nothing_new_from_the_source),
        cmocka_unit_test(random_operations_agree_with_a_plain_array),
        cmocka_unit_test(a_queue_of_many_segments_stays_small),
        cmocka_unit_test(every_failing_allocation_leaves_the_buffer_as_before),
        cmocka_unit_test(a_pool_at_its_limit_is_an_error_and_not_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
