/* SPDX-License-Identifier: MIT */
/* The messages of a buffer: headers, limits, links, the list; and what leaves it as slices. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weir/buf.h>
#include <weir/pack.h>
#include <weir/wire.h>

#include "../lib/buf_private.h"

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
    if (f->buf.pool != NULL) /* not finished by the test */
        assert_null(weir__buf_check(&f->buf));
    weir_buf_fini(&f->buf);
    assert_int_equal(test_blocks_in_use(f->pool), 0);
    test_pool_destroy(f->pool);
}

static void append(struct weir_buf *buf, const char *text)
{
    assert_int_equal(weir_buf_append(buf, weir_view_text(text)), 0);
}

static void prepend(struct weir_buf *buf, const char *text)
{
    uint8_t *at;
    size_t size = strlen(text);

    assert_int_equal(weir_buf_prepend(buf, size, &at), 0);
    memcpy(at, text, size);
    assert_null(weir__buf_check(buf));
}

/* Link @text, which nobody owns, whatever its size is against the threshold. */
static void link_text(struct weir_buf *buf, const char *text)
{
    struct weir_slice slice = weir_slice_adopt(weir_view_text(text), NULL);

    assert_true(slice.view.size >= buf->link_min_bytes);
    assert_int_equal(weir_buf_append_slice(buf, &slice), 0);
    assert_null(weir__buf_check(buf));
}

/* All that is complete in the buffer is @wanted, read as a chain and by iovecs. */
static void assert_complete(const struct weir_buf *buf, struct weir_view wanted)
{
    struct weir_chain chain;
    struct iovec iov[64];

    assert_null(weir__buf_check(buf));
    weir_chain_init(&chain, buf->pool);
    assert_int_equal(weir_buf_sub(buf, 0, wanted.size + 1, &chain), -EOVERFLOW);
    assert_int_equal(weir_buf_sub(buf, 0, wanted.size, &chain), 0);
    assert_true(weir_chain_equal_view(&chain, wanted));
    weir_chain_fini(&chain);
    for (unsigned max = 1; max <= 64; max *= 4) {
        size_t done = 0;
        for (;;) {
            unsigned count = weir_buf_iovecs(buf, done, iov, NULL, max);
            if (count == 0)
                break;
            for (unsigned i = 0; i < count; i++) {
                assert_true(iov[i].iov_len != 0 && iov[i].iov_len <= wanted.size - done);
                assert_memory_equal(iov[i].iov_base, wanted.data + done, iov[i].iov_len);
                done += iov[i].iov_len;
            }
        }
        assert_int_equal(done, wanted.size);
    }
}

static void assert_text(const struct weir_buf *buf, const char *wanted)
{
    assert_complete(buf, weir_view_text(wanted));
}

/* --- headers --------------------------------------------------------------------------------- */

static void a_header_is_put_before_a_body_that_does_not_move(void **state)
{
    struct fixture f;
    struct weir_view message;

    (void)state;
    begin(&f, &(struct weir_buf_options){.headroom_bytes = 8});
    append(&f.buf, "before ");
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    append(&f.buf, "body");
    const uint8_t *body = f.buf.pos - 4;
    assert_text(&f.buf, "before ");
    prepend(&f.buf, "ad:");
    prepend(&f.buf, "he");
    assert_int_equal(weir_buf_message_bytes(&f.buf), 9);
    weir_buf_end(&f.buf, &message);
    assert_true(weir_view_equal(message, weir_view_text("head:body")));
    assert_ptr_equal(message.data + 5, body);
    /* Three bytes of headroom were not taken, and are not there. */
    assert_int_equal(weir_buf_size(&f.buf), 16);
    assert_text(&f.buf, "before head:body");
    assert_int_equal(weir_buf_bytes_copied(&f.buf), 11);
    end(&f);
}

static void a_header_that_fills_the_headroom_leaves_one_piece(void **state)
{
    struct fixture f;
    struct iovec iov[4];

    (void)state;
    begin(&f, &(struct weir_buf_options){.headroom_bytes = 4});
    for (int i = 0; i < 200; i++) {
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        append(&f.buf, "body");
        prepend(&f.buf, "head");
        weir_buf_end(&f.buf, NULL);
        assert_null(weir__buf_check(&f.buf));
    }
    assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, NULL, 4), 1);
    assert_int_equal(iov[0].iov_len, 1600);
    /* Nor does the buffer need a table. */
    assert_int_equal(test_blocks_in_use(f.pool), 1);
    end(&f);
}

static void headroom_that_nobody_takes_is_in_no_message(void **state)
{
    struct fixture f;
    struct weir_view message;

    (void)state;
    for (size_t headroom = 0; headroom < 100; headroom++) {
        begin(&f, NULL);
        weir_buf_set_headroom(&f.buf, headroom);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
            assert_null(weir__buf_check(&f.buf));
            append(&f.buf, "abc");
            weir_buf_end(&f.buf, &message);
            assert_true(weir_view_equal(message, weir_view_text("abc")));
        }
        weir_buf_set_headroom(&f.buf, 0);
        append(&f.buf, "d");
        assert_text(&f.buf, "abcabcabcd");
        weir_buf_consume(&f.buf, 4);
        assert_text(&f.buf, "bcabcd");
        end(&f);
    }
}

static void more_than_the_headroom_is_refused(void **state)
{
    struct fixture f;
    uint8_t *at = NULL;

    (void)state;
    begin(&f, &(struct weir_buf_options){.headroom_bytes = 4});
    assert_int_equal(weir_buf_prepend(&f.buf, 0, &at), -EINVAL);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    assert_int_equal(weir_buf_prepend(&f.buf, 5, &at), -ENOBUFS);
    assert_int_equal(weir_buf_prepend(&f.buf, SIZE_MAX, &at), -ENOBUFS);
    assert_null(at);
    prepend(&f.buf, "abc");
    assert_int_equal(weir_buf_prepend(&f.buf, 2, &at), -ENOBUFS);
    prepend(&f.buf, "");
    prepend(&f.buf, "x");
    assert_int_equal(weir_buf_prepend(&f.buf, 1, &at), -ENOBUFS);
    weir_buf_end(&f.buf, NULL);
    assert_text(&f.buf, "xabc");
    end(&f);

    /* Without headroom, only nothing. */
    begin(&f, NULL);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    assert_int_equal(weir_buf_prepend(&f.buf, 1, &at), -ENOBUFS);
    assert_int_equal(weir_buf_prepend(&f.buf, 0, &at), 0);
    weir_buf_set_headroom(&f.buf, 4); /* of the next one */
    assert_int_equal(weir_buf_prepend(&f.buf, 1, &at), -ENOBUFS);
    weir_buf_end(&f.buf, NULL);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    weir_buf_set_headroom(&f.buf, 0);
    prepend(&f.buf, "head");
    weir_buf_end(&f.buf, NULL);
    assert_text(&f.buf, "head");
    weir_buf_set_headroom(&f.buf, SIZE_MAX);
    assert_int_equal(weir_buf_begin(&f.buf, 1), -EOVERFLOW);
    assert_int_equal(weir_buf_begin(&f.buf, 0), -EOVERFLOW);
    weir_buf_set_headroom(&f.buf, SIZE_MAX / 2);
    assert_int_equal(weir_buf_begin(&f.buf, 0), -ENOMEM);
    assert_text(&f.buf, "head");
    end(&f);
}

static void a_message_keeps_its_headroom_when_it_moves(void **state)
{
    struct fixture f;
    struct weir_view message;
    static uint8_t wanted[20005];

    (void)state;
    for (int what = 0; what < 4; what++) {
        begin(&f, &(struct weir_buf_options){.initial_bytes = 64, .headroom_bytes = 7});
        if (what & 1)
            append(&f.buf, "before");
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        if (what & 2)
            prepend(&f.buf, "12"); /* before it moves, and so it moves with it */
        for (int i = 0; i < 1000; i++)
            append(&f.buf, "0123456789abcdefghij");
        assert_true(weir_buf_bytes_copied(&f.buf) > 20006);
        prepend(&f.buf, what & 2 ? "345" : "34512");
        weir_buf_end(&f.buf, &message);
        memcpy(wanted, "34512", 5);
        for (size_t i = 0; i < 1000; i++)
            memcpy(wanted + 5 + 20 * i, "0123456789abcdefghij", 20);
        assert_true(weir_view_equal(message, weir_view_of(wanted, 20005)));
        if (what & 1)
            weir_buf_consume(&f.buf, 6);
        assert_complete(&f.buf, weir_view_of(wanted, 20005));
        end(&f);
    }
}

static void a_message_keeps_its_headroom_when_its_block_is_begun_again(void **state)
{
    struct fixture f;
    struct weir_slice held;
    uint8_t *at;

    (void)state;
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64, .headroom_bytes = 8});
    append(&f.buf, "0123456789");
    assert_int_equal(weir_buf_freeze(&f.buf, &held), 0);
    const uint8_t *start = held.view.data;
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    assert_int_equal(weir_buf_room_bytes(&f.buf), 64 - 18);
    /* The last holder lets go: the block is all ours, but for the headroom. */
    weir_slice_drop(&held);
    assert_int_equal(weir_buf_reserve(&f.buf, 56, &at), 0);
    assert_ptr_equal(at, start + 8);
    test_fill(at, 56, 1);
    weir_buf_commit(&f.buf, 56);
    prepend(&f.buf, "headhead");
    weir_buf_end(&f.buf, NULL);
    uint8_t wanted[64] = "headhead";
    test_fill(wanted + 8, 56, 1);
    assert_complete(&f.buf, weir_view_of(wanted, 64));
    assert_int_equal(weir_buf_bytes_copied(&f.buf), 10);
    end(&f);
}

static void a_cancelled_header_leaves_the_buffer_as_before(void **state)
{
    struct fixture f;

    (void)state;
    for (int what = 0; what < 16; what++) {
        begin(&f, &(struct weir_buf_options){.initial_bytes = 128, .headroom_bytes = 8});
        if (what & 1)
            append(&f.buf, "before");
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        const uint8_t *at = f.buf.message;
        if (what & 2)
            append(&f.buf, "body");
        if (what & 4)
            prepend(&f.buf, what & 8 ? "headhead" : "head");
        weir_buf_cancel(&f.buf);
        assert_text(&f.buf, what & 1 ? "before" : "");
        /* The next one begins at the same place. */
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        assert_ptr_equal(f.buf.message, at);
        weir_buf_cancel(&f.buf);
        append(&f.buf, "!");
        assert_text(&f.buf, what & 1 ? "before!" : "!");
        end(&f);
    }
}

static void headroom_counts_against_the_limit(void **state)
{
    struct fixture f;
    uint8_t *at;

    (void)state;
    begin(&f, &(struct weir_buf_options){.limit_bytes = 20, .headroom_bytes = 8});
    assert_int_equal(weir_buf_begin(&f.buf, 13), -ENOBUFS);
    assert_int_equal(weir_buf_begin(&f.buf, SIZE_MAX), -ENOBUFS);
    assert_int_equal(weir_buf_begin(&f.buf, 12), 0);
    assert_int_equal(weir_buf_reserve(&f.buf, 13, &at), -ENOBUFS);
    append(&f.buf, "0123456789ab");
    assert_int_equal(weir_buf_append(&f.buf, weir_view_text("x")), -ENOBUFS);
    prepend(&f.buf, "head");
    assert_int_equal(weir_buf_append(&f.buf, weir_view_text("x")), -ENOBUFS);
    weir_buf_end(&f.buf, NULL);
    /* What was not taken comes back. */
    assert_int_equal(weir_buf_begin(&f.buf, 0), -ENOBUFS);
    append(&f.buf, "wxyz");
    assert_int_equal(weir_buf_append(&f.buf, weir_view_text("x")), -ENOBUFS);
    assert_text(&f.buf, "head0123456789abwxyz");
    end(&f);
}

static void a_packed_message_gets_a_length_prefix(void **state)
{
    struct fixture f;
    struct weir_packer packer;
    struct weir_view frame;
    uint8_t *at;

    (void)state;
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64, .headroom_bytes = 4});
    for (unsigned count = 1; count <= 300; count++) {
        weir_pack_begin(&packer, &f.buf, 0);
        weir_pack_array(&packer, count);
        for (unsigned i = 0; i < count; i++)
            weir_pack_uint(&packer, 7);
        size_t body = weir_pack_offset(&packer);
        assert_int_equal(weir_buf_prepend(&f.buf, 4, &at), 0);
        weir_wire_store32(at, (uint32_t)body);
        assert_int_equal(weir_pack_end(&packer, &frame), 0);
        assert_int_equal(frame.size, 4 + body);
        assert_int_equal(weir_wire_load32(frame.data), body);
        assert_int_equal(frame.data[frame.size - 1], 7);
        assert_null(weir__buf_check(&f.buf));
        weir_buf_consume(&f.buf, count % 3 == 0 ? frame.size : 0);
    }
    end(&f);
}

/* --- limits ---------------------------------------------------------------------------------- */

static void a_message_has_a_limit_of_its_own(void **state)
{
    struct fixture f;
    struct weir_slice slice = {{(const uint8_t *)"0123456789", 10}, NULL};
    uint8_t *at;

    (void)state;
    begin(&f,
          &(struct weir_buf_options){
              .message_limit_bytes = 10, .headroom_bytes = 2, .link_min_bytes = 4});
    for (int i = 0; i < 100; i++) {
        assert_int_equal(weir_buf_begin(&f.buf, 9), -ENOBUFS);
        assert_int_equal(weir_buf_begin(&f.buf, 8), 0);
        append(&f.buf, "0123");
        assert_int_equal(weir_buf_reserve(&f.buf, 5, &at), -ENOBUFS);
        slice.view.size = 5;
        assert_int_equal(weir_buf_append_slice(&f.buf, &slice), -ENOBUFS);
        slice.view.size = 4;
        if (i % 2)
            assert_int_equal(weir_buf_append_slice(&f.buf, &slice), 0);
        else
            append(&f.buf, "0123");
        assert_int_equal(weir_buf_append(&f.buf, weir_view_text("x")), -ENOBUFS);
        prepend(&f.buf, "hh");
        assert_int_equal(weir_buf_append(&f.buf, weir_view_text("x")), -ENOBUFS);
        if (i % 3 == 0)
            weir_buf_cancel(&f.buf);
        else
            weir_buf_end(&f.buf, NULL);
        assert_null(weir__buf_check(&f.buf));
        /* What is no message has no limit. */
        append(&f.buf, "more than ten bytes");
    }
    end(&f);
}

static void a_message_moves_to_no_more_than_its_limit(void **state)
{
    struct fixture f;
    uint8_t *at;

    (void)state;
    for (size_t limit = 65; limit <= 200; limit++) {
        begin(&f,
              &(struct weir_buf_options){
                  .initial_bytes = 64, .segment_max_bytes = 64, .message_limit_bytes = limit});
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        for (size_t i = 0; i < limit; i++)
            assert_int_equal(weir_buf_append(&f.buf, weir_view_of("x", 1)), 0);
        assert_int_equal(weir_buf_append(&f.buf, weir_view_of("x", 1)), -ENOBUFS);
        assert_int_equal(weir_buf_reserve(&f.buf, 1, &at), -ENOBUFS);
        assert_int_equal(weir_buf_room_bytes(&f.buf), 0);
        weir_buf_end(&f.buf, NULL);
        assert_int_equal(weir_buf_size(&f.buf), limit);
        end(&f);
    }
}

static void a_packer_keeps_within_the_limit_of_a_message(void **state)
{
    struct fixture f;
    struct weir_packer packer;
    struct weir_view message;

    (void)state;
    begin(&f, &(struct weir_buf_options){.message_limit_bytes = 10, .messages_max = 9});
    for (size_t size = 0; size < 20; size++) {
        weir_pack_begin(&packer, &f.buf, 0);
        weir_pack_str(&packer, weir_view_of("0123456789abcdefghij", size));
        int rc = weir_pack_end(&packer, &message);
        assert_int_equal(rc, size < 9 ? 0 : -ENOBUFS);
        if (rc == 0)
            assert_int_equal(message.size, size + 1);
        assert_int_equal(weir_buf_message_count(&f.buf), size < 9 ? size + 1 : 9);
    }
    end(&f);
}

/* --- links ----------------------------------------------------------------------------------- */

static void slices_are_linked_into_a_message(void **state)
{
    struct fixture f;
    struct weir_view message = weir_view_text("?");
    struct weir_chain chain;
    struct weir_slice body;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 100});
    weir_chain_init(&chain, f.pool);
    body = test_slice(f.pool, 5000, 3);
    append(&f.buf, "before ");
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    append(&f.buf, "head");
    assert_int_equal(weir_buf_append_slice(&f.buf, &body), 0);
    append(&f.buf, "tail");
    /* Nothing of it is complete yet, nor can it be held. */
    assert_text(&f.buf, "before ");
    struct weir_slice held = {{NULL, 77}, NULL};
    assert_int_equal(weir_buf_slice_of(&f.buf, body.view, &held), -EINVAL);
    assert_int_equal(weir_buf_slice_of(&f.buf, weir_view_of(f.buf.pos - 4, 4), &held), -EINVAL);
    assert_int_equal(held.view.size, 77);
    assert_int_equal(weir_buf_message_bytes(&f.buf), 5008);
    weir_buf_end(&f.buf, &message);
    assert_null(message.data);
    assert_int_equal(message.size, 0);
    assert_int_equal(weir_buf_sub(&f.buf, 7, 5008, &chain), 0);
    assert_int_equal(chain.count, 3);
    assert_ptr_equal(chain.slices[1].view.data, body.view.data);
    assert_memory_equal(chain.slices[0].view.data, "head", 4);
    assert_memory_equal(chain.slices[2].view.data, "tail", 4);
    assert_int_equal(weir_buf_slice_of(&f.buf, body.view, &held), 0);
    weir_slice_drop(&held);
    weir_slice_drop(&body);
    weir_chain_fini(&chain);
    /* The next one is in one piece again. */
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    append(&f.buf, "whole");
    weir_buf_end(&f.buf, &message);
    assert_true(weir_view_equal(message, weir_view_text("whole")));
    end(&f);
}

static void a_full_segment_is_linked_behind(void **state)
{
    struct fixture f;
    struct weir_slice front;
    uint8_t wanted[200];

    (void)state;
    for (int in_message = 0; in_message < 2; in_message++) {
        begin(&f, &(struct weir_buf_options){.initial_bytes = 64, .link_min_bytes = 6});
        test_fill(wanted, 64, 1);
        assert_int_equal(weir_buf_append(&f.buf, weir_view_of(wanted, 60)), 0);
        if (in_message) {
            /* What is in front of the message can be taken already. */
            assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
            append(&f.buf, "abcd");
            assert_int_equal(weir_buf_front(&f.buf, &front), 0);
            assert_true(weir_view_equal(front.view, weir_view_of(wanted, 60)));
            weir_slice_drop(&front);
        } else {
            append(&f.buf, "abcd");
        }
        assert_int_equal(weir_buf_room_bytes(&f.buf), 0);
        link_text(&f.buf, "linked");
        append(&f.buf, "tail");
        if (in_message)
            weir_buf_end(&f.buf, NULL);
        memcpy(wanted + 60, "abcdlinkedtail", 14);
        assert_complete(&f.buf, weir_view_of(wanted, 74));
        end(&f);
    }
}

/* Every order of appending, linking and prepending, ended and cancelled. */
static void pieces_of_a_message_come_in_any_order(void **state)
{
    struct fixture f;

    (void)state;
    for (unsigned what = 0; what < 4096; what++) {
        char wanted[200] = "", message[200] = "";
        begin(&f,
              &(struct weir_buf_options){
                  .initial_bytes = 64, .link_min_bytes = 4, .headroom_bytes = what & 1 ? 4 : 0});
        if (what & 2) {
            append(&f.buf, "abc");
            strcat(wanted, "abc");
        }
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        for (unsigned i = 0; i < 4; i++) {
            switch (what >> (2 * i + 2) & 3) {
            case 0:
                append(&f.buf, "0123456789012345678901234567890123");
                strcat(message, "0123456789012345678901234567890123");
                break;
            case 1:
                link_text(&f.buf, "linked");
                strcat(message, "linked");
                break;
            case 2:
                if (f.buf.headroom_left < 2)
                    break;
                prepend(&f.buf, "hd");
                memmove(message + 2, message, strlen(message) + 1);
                memcpy(message, "hd", 2);
                break;
            default:
                append(&f.buf, "z");
                strcat(message, "z");
            }
            assert_int_equal(weir_buf_message_bytes(&f.buf), strlen(message));
            assert_text(&f.buf, wanted);
        }
        if (what & 1024) {
            weir_buf_cancel(&f.buf);
        } else {
            struct weir_chain chain;
            weir_chain_init(&chain, f.pool);
            assert_int_equal(weir_buf_end_chain(&f.buf, &chain), 0);
            assert_true(weir_chain_equal_view(&chain, weir_view_text(message)));
            weir_chain_fini(&chain);
            strcat(wanted, message);
        }
        assert_text(&f.buf, wanted);
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        append(&f.buf, "next");
        weir_buf_end(&f.buf, NULL);
        strcat(wanted, "next");
        assert_text(&f.buf, wanted);
        if (what & 2048)
            weir_buf_reset(&f.buf);
        else
            weir_buf_consume(&f.buf, strlen(wanted));
        assert_text(&f.buf, "");
        end(&f);
    }
}

static void a_message_can_be_reset_in_every_state(void **state)
{
    struct fixture f;

    (void)state;
    for (unsigned what = 0; what < 8; what++) {
        begin(&f,
              &(struct weir_buf_options){
                  .link_min_bytes = 4, .headroom_bytes = 8, .messages_max = 4});
        for (unsigned round = 0; round < 3; round++) {
            assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
            if (what & 1)
                append(&f.buf, "abc");
            if (what & 2)
                link_text(&f.buf, "linked");
            if (what & 4)
                prepend(&f.buf, "head");
            weir_buf_reset(&f.buf);
            assert_text(&f.buf, "");
        }
        assert_int_equal(weir_buf_message_count(&f.buf), 0);
        end(&f);
    }
}

static void the_bytes_of_a_chain_are_appended_all_or_none(void **state)
{
    struct fixture f;
    struct weir_chain chain;
    struct weir_slice slices[4];

    (void)state;
    begin(&f, &(struct weir_buf_options){.limit_bytes = 10000, .link_min_bytes = 100});
    weir_chain_init(&chain, f.pool);
    for (unsigned i = 0; i < 4; i++) {
        slices[i] = test_slice(f.pool, i % 2 ? 2000 : 50, i);
        assert_int_equal(weir_chain_append(&chain, &slices[i]), 0);
    }
    assert_int_equal(weir_buf_append_chain(&f.buf, &chain), 0);
    assert_int_equal(weir_buf_bytes_copied(&f.buf), 100);
    assert_int_equal(weir_buf_size(&f.buf), 4100);
    assert_int_equal(weir_buf_append_chain(&f.buf, &chain), 0);
    assert_int_equal(weir_buf_append_chain(&f.buf, &chain), -ENOBUFS);
    assert_int_equal(weir_buf_size(&f.buf), 8200);
    assert_int_equal(weir_buf_bytes_copied(&f.buf), 200);
    assert_null(weir__buf_check(&f.buf));
    /* The buffer's own bytes, through a chain, in a message that moves. */
    weir_chain_reset(&chain);
    weir_buf_reset(&f.buf);
    append(&f.buf, "own");
    assert_int_equal(weir_buf_sub(&f.buf, 0, 3, &chain), 0);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(weir_buf_append_chain(&f.buf, &chain), 0);
    weir_buf_end(&f.buf, NULL);
    assert_int_equal(weir_buf_size(&f.buf), 3003);
    weir_chain_reset(&chain);
    assert_int_equal(weir_buf_append_chain(&f.buf, &chain), 0);
    assert_int_equal(weir_buf_size(&f.buf), 3003);
    weir_chain_fini(&chain);
    for (unsigned i = 0; i < 4; i++)
        weir_slice_drop(&slices[i]);
    end(&f);
}

/* --- overlap --------------------------------------------------------------------------------- */

static void a_view_that_overlaps_the_tail_is_taken_as_it_was(void **state)
{
    struct fixture f;
    uint8_t *at;

    (void)state;
    for (size_t back = 0; back <= 6; back++) {
        for (size_t size = 1; size <= 12; size++) {
            for (int in_message = 0; in_message < 2; in_message++) {
                uint8_t wanted[32] = "abcdefghijklmnopqr";
                begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
                if (in_message)
                    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
                assert_int_equal(weir_buf_reserve(&f.buf, 18, &at), 0);
                memcpy(at, wanted, 18);
                weir_buf_commit(&f.buf, 6);
                /* From within what is committed to beyond it, over where it is written to. */
                uint8_t *from = at + 6 - back;
                memcpy(wanted + 6, (const uint8_t *)"abcdefghijklmnopqr" + 6 - back, size);
                assert_int_equal(weir_buf_append(&f.buf, weir_view_of(from, size)), 0);
                if (in_message)
                    weir_buf_end(&f.buf, NULL);
                assert_complete(&f.buf, weir_view_of(wanted, 6 + size));
                end(&f);
            }
        }
    }
}

static void a_tail_that_does_not_fit_is_taken_from_where_it_was(void **state)
{
    struct fixture f;
    struct weir_block *other;
    uint8_t *at;

    (void)state;
    /* 64 bytes that were written and not committed, appended behind 0, 1 or 64 bytes. */
    for (size_t before = 0; before <= 64; before += before == 0 ? 1 : 63) {
        begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
        assert_int_equal(weir_buf_reserve(&f.buf, 64, &at), 0);
        test_fill(at, 64, 5);
        weir_buf_commit(&f.buf, before);
        struct weir_view tail = weir_view_of(at + before, 64 - before);
        uint8_t wanted[200];
        memcpy(wanted, at, 64);
        memcpy(wanted + before, tail.data, tail.size);
        assert_int_equal(weir_buf_append(&f.buf, tail), 0);
        assert_complete(&f.buf, weir_view_of(wanted, before + tail.size));
        /* All of the segment, which has no room for it, and whose block nobody else holds. */
        struct weir_view all = weir_view_of(at, 64);
        size_t size = weir_buf_size(&f.buf);
        memcpy(wanted + size, at, 64);
        assert_int_equal(weir_buf_append(&f.buf, all), 0);
        assert_complete(&f.buf, weir_view_of(wanted, size + 64));
        end(&f);
    }
    /* A segment that is empty, and given up for a larger one while its bytes are appended. */
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
    assert_int_equal(weir_buf_reserve(&f.buf, 64, &at), 0);
    test_fill(at, 64, 6);
    append(&f.buf, "");
    assert_int_equal(weir_pool_alloc(f.pool, 64, &other), 0);
    weir_block_drop(other);
    struct weir_view halves[2] = {weir_view_of(at, 64), weir_view_of(at, 64)};
    for (int i = 0; i < 2; i++)
        assert_int_equal(weir_buf_append(&f.buf, halves[i]), 0);
    uint8_t wanted[128];
    test_fill(wanted, 64, 6);
    memcpy(wanted + 64, wanted, 64);
    assert_complete(&f.buf, weir_view_of(wanted, 128));
    end(&f);
}

static void a_chain_of_views_into_a_message_that_moves_is_taken_as_it_was(void **state)
{
    struct fixture f;
    struct weir_chain chain;
    uint8_t wanted[64 + 3 * 40];

    (void)state;
    begin(&f, &(struct weir_buf_options){.initial_bytes = 64});
    weir_chain_init(&chain, f.pool);
    test_fill(wanted, 64, 8);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    assert_int_equal(weir_buf_append(&f.buf, weir_view_of(wanted, 64)), 0);
    for (size_t i = 0; i < 3; i++) {
        /* Nobody's: the block goes back to the pool when the message leaves it. */
        struct weir_slice part = {{f.buf.message + 10 * i, 40}, NULL};
        memcpy(wanted + 64 + 40 * i, wanted + 10 * i, 40);
        assert_int_equal(weir_chain_append(&chain, &part), 0);
    }
    assert_int_equal(weir_buf_append_chain(&f.buf, &chain), 0);
    weir_buf_end(&f.buf, NULL);
    assert_complete(&f.buf, weir_view_of(wanted, sizeof wanted));
    weir_chain_fini(&chain);
    end(&f);
}

static void lengths_near_the_largest_are_refused_everywhere(void **state)
{
    struct fixture f;
    struct weir_chain chain;

    (void)state;
    for (size_t less = 0; less < 6000; less += less < 20 ? 1 : 500) {
        struct weir_slice slice = {{(const uint8_t *)"x", SIZE_MAX - less}, NULL};
        for (int in_message = 0; in_message < 2; in_message++) {
            begin(&f, NULL);
            weir_chain_init(&chain, f.pool);
            assert_int_equal(weir_chain_append(&chain, &slice), 0);
            for (size_t i = 0; i <= less && i < 30; i++)
                append(&f.buf, "a");
            if (in_message)
                assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
            if (less < 30) {
                append(&f.buf, "a");
                assert_int_equal(weir_buf_append_slice(&f.buf, &slice), -EOVERFLOW);
                assert_int_equal(weir_buf_append_chain(&f.buf, &chain), -EOVERFLOW);
            }
            assert_true(weir_buf_append(&f.buf, slice.view) < 0);
            assert_int_equal(weir_buf_sub(&f.buf, SIZE_MAX - less, 1, &chain), -EOVERFLOW);
            assert_int_equal(weir_buf_sub(&f.buf, 1, SIZE_MAX - less, &chain), -EOVERFLOW);
            if (in_message)
                weir_buf_cancel(&f.buf);
            assert_int_equal(weir_buf_split(&f.buf, SIZE_MAX - less, &chain), -EOVERFLOW);
            assert_null(weir__buf_check(&f.buf));
            weir_chain_fini(&chain);
            end(&f);
        }
    }
}

/* --- the list -------------------------------------------------------------------------------- */

static void messages_are_listed_until_they_are_consumed(void **state)
{
    struct fixture f;
    struct weir_view view;
    struct weir_chain chain;

    (void)state;
    begin(&f, &(struct weir_buf_options){.messages_max = 5, .link_min_bytes = 6});
    weir_chain_init(&chain, f.pool);
    append(&f.buf, "..");
    static const char *const texts[] = {"one", "two", "linked", "", "five"};
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
        if (i == 2)
            link_text(&f.buf, texts[i]);
        else
            append(&f.buf, texts[i]);
        assert_int_equal(weir_buf_message_count(&f.buf), i);
        weir_buf_end(&f.buf, NULL);
        assert_int_equal(weir_buf_message_count(&f.buf), i + 1);
    }
    assert_int_equal(weir_buf_begin(&f.buf, 0), -ENOBUFS);
    for (unsigned i = 0; i < 5; i++) {
        weir_buf_message(&f.buf, i, &view);
        assert_true(weir_view_equal(view, weir_view_text(i == 2 ? "" : texts[i])));
        assert_int_equal(view.data == NULL, i == 2);
        assert_int_equal(weir_buf_message_chain(&f.buf, i, &chain), 0);
        assert_true(weir_chain_equal_view(&chain, weir_view_text(texts[i])));
        weir_chain_reset(&chain);
    }
    weir_buf_consume(&f.buf, 2);
    assert_int_equal(weir_buf_message_count(&f.buf), 5);
    weir_buf_consume(&f.buf, 1);
    assert_int_equal(weir_buf_message_count(&f.buf), 4);
    weir_buf_consume(&f.buf, 2);
    assert_int_equal(weir_buf_message_count(&f.buf), 4);
    weir_buf_message(&f.buf, 0, &view);
    assert_true(weir_view_equal(view, weir_view_text("two")));
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    append(&f.buf, "cancelled");
    weir_buf_cancel(&f.buf);
    assert_int_equal(weir_buf_message_count(&f.buf), 4);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    append(&f.buf, "six");
    weir_buf_end(&f.buf, NULL);
    weir_buf_message(&f.buf, 4, &view);
    assert_true(weir_view_equal(view, weir_view_text("six")));
    assert_int_equal(weir_buf_split(&f.buf, weir_buf_size(&f.buf) - 3, &chain), 0);
    assert_int_equal(weir_buf_message_count(&f.buf), 1);
    weir_buf_message(&f.buf, 0, &view);
    assert_true(weir_view_equal(view, weir_view_text("six")));
    weir_buf_reset(&f.buf);
    assert_int_equal(weir_buf_message_count(&f.buf), 0);
    weir_chain_fini(&chain);
    end(&f);
}

static void a_list_grows_to_its_bound_and_is_reused(void **state)
{
    static struct test_source source;
    struct weir_view view;
    struct weir_buf buf;
    uint64_t calls = 0;

    (void)state;
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    assert_int_equal(weir_buf_init(&buf, pool, &(struct weir_buf_options){.messages_max = 1000}),
                     0);
    for (unsigned round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 1000; i++) {
            assert_int_equal(weir_buf_begin(&buf, 0), 0);
            assert_int_equal(weir_buf_append(&buf, weir_view_of(&i, sizeof i)), 0);
            weir_buf_end(&buf, NULL);
        }
        assert_int_equal(weir_buf_begin(&buf, 0), -ENOBUFS);
        for (uint32_t i = 0; i < 1000; i++) {
            weir_buf_message(&buf, i, &view);
            assert_int_equal(view.size, 4);
            assert_memory_equal(view.data, &i, 4);
        }
        assert_null(weir__buf_check(&buf));
        if (round % 2)
            weir_buf_reset(&buf);
        else
            weir_buf_consume(&buf, 4000);
        assert_int_equal(weir_buf_message_count(&buf), 0);
        if (round == 2)
            calls = source.calls;
    }
    assert_int_equal(source.calls, calls);
    /* A queue: one comes, one goes. */
    for (uint32_t i = 0; i < 5000; i++) {
        assert_int_equal(weir_buf_begin(&buf, 0), 0);
        assert_int_equal(weir_buf_append(&buf, weir_view_of(&i, sizeof i)), 0);
        weir_buf_end(&buf, NULL);
        if (i >= 700) {
            uint32_t oldest = i - 700;
            weir_buf_message(&buf, 0, &view);
            assert_memory_equal(view.data, &oldest, 4);
            weir_buf_consume(&buf, 4);
        }
        if (i % 100 == 0)
            assert_null(weir__buf_check(&buf));
    }
    assert_int_equal(source.calls, calls);
    weir_buf_fini(&buf);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

/* --- taking out ------------------------------------------------------------------------------ */

/* "0123456789" copied, "abcdefghij" linked, "ABCDEFGHIJ" copied behind it. */
static void fill(struct weir_buf *buf)
{
    append(buf, "01234");
    append(buf, "56789");
    link_text(buf, "abcdefghij");
    append(buf, "ABCDEFGHIJ");
}

static const char filled[] = "0123456789abcdefghijABCDEFGHIJ";

static void the_front_leaves_at_every_position(void **state)
{
    struct fixture f;
    struct weir_chain front, both;

    (void)state;
    for (size_t cut = 0; cut <= 30; cut++) {
        begin(&f, &(struct weir_buf_options){.link_min_bytes = 10});
        weir_chain_init(&front, f.pool);
        weir_chain_init(&both, f.pool);
        fill(&f.buf);
        const uint8_t *last = f.buf.pos - 1;
        assert_int_equal(weir_buf_split(&f.buf, 31, &front), -EOVERFLOW);
        assert_int_equal(front.size_bytes, 0);
        uint64_t copied = weir_buf_bytes_copied(&f.buf);
        assert_int_equal(weir_buf_split(&f.buf, cut, &front), 0);
        assert_int_equal(weir_buf_bytes_copied(&f.buf), copied);
        assert_true(weir_chain_equal_view(&front, weir_view_of(filled, cut)));
        assert_text(&f.buf, filled + cut);
        /* The buffer goes on behind, and what left is not touched. */
        append(&f.buf, "more");
        if (cut < 30)
            assert_ptr_equal(f.buf.pos - 5, last);
        assert_true(weir_chain_equal_view(&front, weir_view_of(filled, cut)));
        assert_int_equal(weir_chain_append_chain(&both, &front), 0);
        assert_int_equal(weir_buf_split(&f.buf, 34 - cut, &both), 0);
        weir_buf_fini(&f.buf);
        assert_true(
            weir_chain_equal_view(&both, weir_view_text("0123456789abcdefghijABCDEFGHIJmore")));
        weir_chain_fini(&front);
        weir_chain_fini(&both);
        end(&f);
    }
}

static void a_split_that_fails_changes_nothing(void **state)
{
    static struct test_source source;
    struct fixture f;
    struct weir_chain front;

    (void)state;
    test_source_init(&source);
    struct weir_pool *poor = test_pool_create(&source);
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 1});
    weir_chain_init(&front, poor);
    for (int i = 0; i < 3; i++) {
        link_text(&f.buf, "abc");
        link_text(&f.buf, "def");
    }
    test_source_fail_from(&source, 1);
    assert_int_equal(weir_buf_sub(&f.buf, 1, 15, &front), -ENOMEM);
    assert_int_equal(weir_buf_split(&f.buf, 18, &front), -ENOMEM);
    assert_int_equal(front.size_bytes, 0);
    assert_int_equal(front.count, 0);
    assert_text(&f.buf, "abcdefabcdefabcdef");
    assert_int_equal(weir_buf_split(&f.buf, 12, &front), 0);
    assert_int_equal(front.size_bytes, 12);
    assert_int_equal(weir_buf_split(&f.buf, 6, &front), -ENOMEM);
    assert_int_equal(front.size_bytes, 12);
    assert_text(&f.buf, "abcdef");
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    link_text(&f.buf, "xyz");
    assert_int_equal(weir_buf_end_chain(&f.buf, &front), -ENOMEM);
    /* It is still begun. */
    link_text(&f.buf, "uvw");
    weir_chain_reset(&front);
    assert_int_equal(weir_buf_end_chain(&f.buf, &front), 0);
    assert_true(weir_chain_equal_view(&front, weir_view_text("xyzuvw")));
    weir_chain_fini(&front);
    end(&f);
    test_pool_destroy(poor);
    test_source_fini(&source);
}

static void parts_come_as_chains_and_iovecs(void **state)
{
    struct fixture f;
    struct weir_chain part;
    struct iovec iov[4];
    struct weir_block *blocks[4];

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 10});
    fill(&f.buf);
    assert_int_equal(weir_buf_begin(&f.buf, 0), 0);
    append(&f.buf, "not complete");
    for (size_t offset = 0; offset <= 42; offset++) {
        for (size_t size = 0; size <= 44; size++) {
            size_t there = offset >= 30 ? 0 : size < 30 - offset ? size : 30 - offset;
            weir_chain_init(&part, f.pool);
            int rc = weir_buf_sub(&f.buf, offset, size, &part);
            assert_int_equal(rc, offset <= 30 && size <= 30 - offset ? 0 : -EOVERFLOW);
            if (rc == 0)
                assert_true(weir_chain_equal_view(&part, weir_view_of(filled + offset, size)));
            for (unsigned max = 0; max <= 4; max++) {
                unsigned count =
                    weir_buf_iovecs_part(&f.buf, offset, size, iov, size % 2 ? blocks : NULL, max);
                size_t done = 0;
                assert_true(count <= max);
                for (unsigned i = 0; i < count; done += iov[i].iov_len, i++)
                    assert_memory_equal(iov[i].iov_base, filled + offset + done, iov[i].iov_len);
                assert_true(max >= 3 ? done == there : done <= there);
                assert_int_equal(count == 0, there == 0 || max == 0);
            }
            if (rc == 0) {
                /* The same of the chain. */
                size_t half = size / 2, done = 0;
                unsigned count = weir_chain_iovecs_part(&part, half, size / 4, iov, blocks, 4);
                for (unsigned i = 0; i < count; done += iov[i].iov_len, i++)
                    assert_memory_equal(
                        iov[i].iov_base, filled + offset + half + done, iov[i].iov_len);
                assert_int_equal(done, size / 4);
            }
            weir_chain_fini(&part);
        }
    }
    weir_buf_cancel(&f.buf);
    end(&f);
}

static void a_part_is_written_in_short_writes(void **state)
{
    struct fixture f;
    struct iovec iov[3];
    char got[64];
    int ends[2];

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 10});
    fill(&f.buf);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (size_t step = 1; step <= 22; step++) {
        /* 22 bytes from 5 on, of which the kernel, here our step, takes only so many. */
        for (size_t done = 0; done < 22;) {
            unsigned count = weir_buf_iovecs_part(
                &f.buf, 5 + done, 22 - done < step ? 22 - done : step, iov, NULL, 3);
            ssize_t sent = writev(ends[0], iov, (int)count);
            assert_true(sent > 0);
            done += (size_t)sent;
        }
        assert_int_equal(recv(ends[1], got, 22, MSG_WAITALL), 22);
        assert_memory_equal(got, filled + 5, 22);
    }
    close(ends[0]);
    close(ends[1]);
    end(&f);
}

static void a_frozen_buffer_is_one_slice(void **state)
{
    struct fixture f;
    struct weir_slice slice = {{NULL, 77}, NULL};

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 10});
    assert_int_equal(weir_buf_freeze(&f.buf, &slice), 0);
    assert_int_equal(slice.view.size, 0);
    append(&f.buf, "one piece");
    const uint8_t *at = f.buf.pos - 9;
    assert_int_equal(weir_buf_freeze(&f.buf, &slice), 0);
    assert_ptr_equal(slice.view.data, at);
    assert_int_equal(weir_buf_bytes_copied(&f.buf), 9);
    assert_text(&f.buf, "");
    /* The block is shared now: the buffer goes on, the slice stays. */
    append(&f.buf, "other");
    assert_true(weir_view_equal(slice.view, weir_view_text("one piece")));
    weir_slice_drop(&slice);
    weir_buf_reset(&f.buf);
    fill(&f.buf);
    uint64_t copied = weir_buf_bytes_copied(&f.buf);
    assert_int_equal(weir_buf_freeze(&f.buf, &slice), 0);
    assert_true(weir_view_equal(slice.view, weir_view_text(filled)));
    assert_int_equal(weir_buf_bytes_copied(&f.buf), copied + 30);
    weir_buf_fini(&f.buf);
    assert_true(weir_view_equal(slice.view, weir_view_text(filled)));
    weir_slice_drop(&slice);
    end(&f);
}

static void a_split_part_goes_into_another_buffer(void **state)
{
    struct fixture f;
    struct weir_buf other;
    struct weir_chain front;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 10});
    assert_int_equal(weir_buf_init(&other, f.pool, &(struct weir_buf_options){.link_min_bytes = 1}),
                     0);
    weir_chain_init(&front, f.pool);
    fill(&f.buf);
    assert_int_equal(weir_buf_split(&f.buf, 23, &front), 0);
    assert_int_equal(weir_buf_append_chain(&other, &front), 0);
    weir_chain_fini(&front);
    assert_int_equal(weir_buf_bytes_copied(&other), 0);
    assert_complete(&other, weir_view_of(filled, 23));
    append(&other, "!");
    append(&f.buf, "!");
    assert_text(&f.buf, "DEFGHIJ!");
    weir_buf_consume(&other, 20);
    assert_text(&other, "ABC!");
    weir_buf_fini(&other);
    end(&f);
}

/* --- failing --------------------------------------------------------------------------------- */

/* One message of everything, its bytes behind those that are there. */
static int write_message(struct weir_buf *buf, const struct weir_chain *chain)
{
    uint8_t *at;

    int rc = weir_buf_begin(buf, 0);
    if (rc != 0)
        return rc;
    rc = weir_buf_append(buf, weir_view_text("body of some length"));
    if (rc == 0)
        rc = weir_buf_append_chain(buf, chain);
    if (rc == 0)
        rc = weir_buf_append_slice(buf, &chain->slices[0]);
    if (rc == 0)
        rc = weir_buf_prepend(buf, 4, &at);
    if (rc != 0) {
        weir_buf_cancel(buf);
        return rc;
    }
    memcpy(at, "head", 4);
    weir_buf_end(buf, NULL);
    return 0;
}

static void every_failing_allocation_leaves_the_messages_as_before(void **state)
{
    static struct test_source source;
    bool failed = true;

    (void)state;
    for (uint64_t n = 1; failed; n++) {
        test_source_init(&source);
        struct weir_pool *blocks = test_pool_create(NULL);
        struct weir_pool *pool = test_pool_create(&source);
        struct weir_buf_options options = {
            .initial_bytes = 64, .headroom_bytes = 6, .messages_max = 100, .link_min_bytes = 60};
        struct weir_buf buf;
        struct weir_chain chain, out;
        assert_int_equal(weir_buf_init(&buf, pool, &options), 0);
        weir_chain_init(&chain, blocks);
        for (uint64_t i = 0; i < 3; i++) {
            struct weir_slice slice = test_slice(blocks, i == 1 ? 50 : 70, i);
            assert_int_equal(weir_chain_append_adopt(&chain, &slice), 0);
        }
        test_source_fail(&source, n);
        for (int i = 0; i < 60; i++) {
            size_t size = weir_buf_size(&buf);
            uint32_t count = weir_buf_message_count(&buf);
            int rc = write_message(&buf, &chain);
            assert_null(weir__buf_check(&buf));
            assert_int_equal(weir_buf_size(&buf), rc == 0 ? size + 283 : size);
            assert_int_equal(weir_buf_message_count(&buf), rc == 0 ? count + 1 : count);
            if (rc != 0)
                assert_int_equal(rc, -ENOMEM);
        }
        weir_chain_init(&out, pool);
        for (uint32_t i = 0; i < weir_buf_message_count(&buf); i++) {
            if (weir_buf_message_chain(&buf, i, &out) == 0)
                assert_int_equal(out.size_bytes, 283);
            else
                assert_int_equal(out.size_bytes, 0);
            weir_chain_reset(&out);
        }
        failed = source.failures != 0;
        weir_chain_fini(&out);
        weir_chain_fini(&chain);
        weir_buf_fini(&buf);
        assert_int_equal(test_blocks_in_use(blocks), 0);
        assert_int_equal(test_blocks_in_use(pool), 0);
        test_pool_destroy(pool);
        test_pool_destroy(blocks);
        test_source_fini(&source);
    }
}

/* --- the invariants -------------------------------------------------------------------------- */

/* Each statement breaks the buffer in one way; the copy is as it was before. */
#define BREAKS(what, reason)                      \
    do {                                          \
        const struct weir_buf intact = *buf;      \
        what;                                     \
        const char *found = weir__buf_check(buf); \
        *buf = intact;                            \
        assert_non_null(found);                   \
        assert_string_equal(found, reason);       \
    } while (0)

static void each_broken_invariant_is_found(void **state)
{
    struct fixture f;
    struct weir_buf *buf = &f.buf;

    (void)state;
    begin(&f,
          &(struct weir_buf_options){
              .limit_bytes = 1000, .link_min_bytes = 6, .messages_max = 4, .headroom_bytes = 4});
    assert_int_equal(weir_buf_begin(buf, 0), 0);
    append(buf, "def");
    weir_buf_end(buf, NULL);
    BREAKS(buf->message_fixed = 1, "no message is begun, but there are parts of one");
    BREAKS(buf->headroom_left = 1, "no message is begun, but there are parts of one");
    BREAKS(buf->messages_count = 5, "there are more messages than the list has room for");
    BREAKS(buf->messages_first = 100, "there are more messages than the list has room for");
    BREAKS(buf->consumed_bytes = 4, "a message of the list is not in the buffer");
    assert_int_equal(weir_buf_begin(buf, 0), 0);
    link_text(buf, "linked");
    append(buf, "tail");
    prepend(buf, "head");
    assert_ptr_equal(buf->segments, buf->inline_segments);
    BREAKS(buf->segments = NULL, "the table is neither the inline one nor in its block");
    BREAKS(buf->count = 5, "there are more segments than the table has entries");
    BREAKS(buf->next_bytes = 0, "the next segment is planned out of bounds");
    BREAKS(buf->inline_segments[0].size = 0, "a segment that is not written to is empty");
    BREAKS(buf->inline_segments[0].data += 10000, "a segment does not lie in its block");
    BREAKS(buf->inline_segments[0].size += 1, "the segments' sizes do not add up");
    BREAKS(buf->settled_bytes += 1, "the segments' sizes do not add up");
    BREAKS(buf->growth.limit = 10, "the limit is exceeded");
    BREAKS(buf->links_left = 1, "there are more links set aside than can be made");
    BREAKS((buf->mixed = false, buf->spare_taken = 99),
           "references are neither an entry's nor to spare");
    BREAKS(buf->message_fixed = 100, "the message is larger than the buffer");
    BREAKS(buf->message_index = buf->count, "the message begins behind itself");
    BREAKS(buf->end = NULL, "half of a segment is open");
    BREAKS(buf->open += 1, "open is not where the last segment's size ends");
    BREAKS(buf->end = buf->pos - 1, "open, pos and end are out of order");
    BREAKS(buf->end -= 1, "end is not where the block or the limit ends");
    BREAKS(buf->message -= 1, "the message is not in the open segment");
    weir_buf_cancel(buf);
    end(&f);
}

/* --- against a model ------------------------------------------------------------------------- */

#define MODEL_BYTES 60000
#define MODEL_MESSAGES 40

/* What should be in the buffer. */
struct model {
    uint8_t bytes[MODEL_BYTES];
    size_t size;
    size_t message; /* where the message begins, if one is begun */
    bool begun;
    size_t starts[MODEL_MESSAGES], sizes[MODEL_MESSAGES];
    unsigned count;
};

static void model_take(struct model *m, size_t size)
{
    unsigned gone = 0;

    memmove(m->bytes, m->bytes + size, m->size - size);
    m->size -= size;
    while (gone < m->count && m->starts[gone] < size)
        gone++;
    for (unsigned i = gone; i < m->count; i++) {
        m->starts[i - gone] = m->starts[i] - size;
        m->sizes[i - gone] = m->sizes[i];
    }
    m->count -= gone;
}

static void model_append(struct fixture *f, struct model *m, struct test_random *random)
{
    size_t size = test_random_size(random, 2000);
    struct weir_chain chain;

    if (size > MODEL_BYTES - m->size - 100)
        return;
    uint8_t *tail = m->bytes + m->size;
    weir_chain_init(&chain, f->pool);
    if (test_random_below(random, 4) == 0 && m->size != 0 && !m->begun) {
        /* The buffer's own bytes. */
        size_t offset = (size_t)test_random_below(random, m->size);
        size = size < m->size - offset ? size : m->size - offset;
        memmove(tail, m->bytes + offset, size);
        assert_int_equal(weir_buf_sub(&f->buf, offset, size, &chain), 0);
    } else {
        test_fill(tail, size, test_random(random));
        for (size_t done = 0; done < size;) {
            size_t piece = 1 + test_random_size(random, size - done - 1);
            struct weir_slice slice = test_slice(f->pool, piece, 0);
            memcpy(slice.block->data, tail + done, piece);
            assert_int_equal(weir_chain_append_adopt(&chain, &slice), 0);
            done += piece;
        }
    }
    if (chain.count == 1 && test_random_below(random, 2) == 0)
        assert_int_equal(weir_buf_append_slice(&f->buf, &chain.slices[0]), 0);
    else if (chain.count == 1)
        assert_int_equal(weir_buf_append(&f->buf, chain.slices[0].view), 0);
    else
        assert_int_equal(weir_buf_append_chain(&f->buf, &chain), 0);
    weir_chain_fini(&chain);
    m->size += size;
}

static void model_begin(struct fixture *f, struct model *m, struct test_random *random)
{
    if (test_random_below(random, 3) == 0)
        weir_buf_set_headroom(&f->buf, (size_t)test_random_below(random, 20));
    int rc = weir_buf_begin(&f->buf, test_random_size(random, 3000));
    assert_int_equal(rc, m->count == MODEL_MESSAGES ? -ENOBUFS : 0);
    m->begun = rc == 0;
    m->message = m->size;
}

static void model_end(struct fixture *f, struct model *m, struct test_random *random)
{
    struct weir_view view = {NULL, 0};
    struct weir_chain chain;
    size_t size = m->size - m->message;

    if (test_random_below(random, 4) == 0) {
        weir_buf_cancel(&f->buf);
        m->size = m->message;
        m->begun = false;
        return;
    }
    weir_chain_init(&chain, f->pool);
    if (test_random_below(random, 2) == 0)
        weir_buf_end(&f->buf, &view);
    else
        assert_int_equal(weir_buf_end_chain(&f->buf, &chain), 0);
    if (view.data != NULL)
        assert_true(weir_view_equal(view, weir_view_of(m->bytes + m->message, size)));
    if (chain.count != 0)
        assert_true(weir_chain_equal_view(&chain, weir_view_of(m->bytes + m->message, size)));
    weir_chain_fini(&chain);
    m->begun = false;
    m->starts[m->count] = m->message;
    m->sizes[m->count++] = size;
}

static void model_prepend(struct fixture *f, struct model *m, struct test_random *random)
{
    size_t size = (size_t)test_random_below(random, 12);
    size_t left = f->buf.headroom_left;
    uint8_t *at;

    int rc = weir_buf_prepend(&f->buf, size, &at);
    assert_int_equal(rc, size <= left ? 0 : -ENOBUFS);
    if (rc != 0)
        return;
    uint8_t *start = m->bytes + m->message;
    memmove(start + size, start, m->size - m->message);
    test_fill(start, size, 99);
    test_fill(at, size, 99);
    m->size += size;
}

static void model_drop(struct fixture *f, struct model *m, struct test_random *random)
{
    size_t size = (size_t)test_random_below(random, m->size + 1);
    struct weir_chain chain;

    if (test_random_below(random, 40) == 0) {
        weir_buf_reset(&f->buf);
        m->begun = false;
        m->size = 0;
        m->count = 0;
        return;
    }
    if (m->begun)
        return;
    if (test_random_below(random, 3) == 0)
        size = m->size;
    if (test_random_below(random, 2) == 0) {
        weir_buf_consume(&f->buf, size);
    } else {
        weir_chain_init(&chain, f->pool);
        assert_int_equal(weir_buf_split(&f->buf, size, &chain), 0);
        assert_true(weir_chain_equal_view(&chain, weir_view_of(m->bytes, size)));
        weir_chain_fini(&chain);
    }
    model_take(m, size);
}

static void model_compare(struct fixture *f, const struct model *m)
{
    struct weir_chain chain;

    assert_int_equal(weir_buf_size(&f->buf), m->size);
    if (m->begun)
        assert_int_equal(weir_buf_message_bytes(&f->buf), m->size - m->message);
    assert_complete(&f->buf, weir_view_of(m->bytes, m->begun ? m->message : m->size));
    assert_int_equal(weir_buf_message_count(&f->buf), m->count);
    weir_chain_init(&chain, f->pool);
    for (unsigned i = 0; i < m->count; i++) {
        struct weir_view wanted = weir_view_of(m->bytes + m->starts[i], m->sizes[i]), view;
        weir_buf_message(&f->buf, i, &view);
        if (view.data != NULL)
            assert_true(weir_view_equal(view, wanted));
        assert_int_equal(weir_buf_message_chain(&f->buf, i, &chain), 0);
        assert_true(weir_chain_equal_view(&chain, wanted));
        weir_chain_reset(&chain);
    }
    weir_chain_fini(&chain);
}

static void random_messages_agree_with_a_plain_array(void **state)
{
    static struct model model;
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 30; round++) {
        struct weir_buf_options options = {
            .initial_bytes = 64 + test_random_size(&random, 1000),
            .segment_max_bytes = 1100 + test_random_size(&random, 20000),
            .link_min_bytes = 1 + test_random_size(&random, 500),
            .growth_percent = 100 + (uint32_t)test_random_below(&random, 200),
            .messages_max = MODEL_MESSAGES,
        };
        memset(&model, 0, sizeof model);
        begin(&f, &options);
        for (int step = 0; step < 300; step++) {
            uint64_t what = test_random_below(&random, 10);
            if (what < 4)
                model_append(&f, &model, &random);
            else if (what < 5)
                model_drop(&f, &model, &random);
            else if (!model.begun)
                model_begin(&f, &model, &random);
            else if (what < 8)
                model_prepend(&f, &model, &random);
            else
                model_end(&f, &model, &random);
            model_compare(&f, &model);
        }
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_put_before_a_body_that_does_not_move),
        cmocka_unit_test(a_header_that_fills_the_headroom_leaves_one_piece),
        cmocka_unit_test(headroom_that_nobody_takes_is_in_no_message),
        cmocka_unit_test(more_than_the_headroom_is_refused),
        cmocka_unit_test(a_message_keeps_its_headroom_when_it_moves),
        cmocka_unit_test(a_message_keeps_its_headroom_when_its_block_is_begun_again),
        cmocka_unit_test(a_cancelled_header_leaves_the_buffer_as_before),
        cmocka_unit_test(headroom_counts_against_the_limit),
        cmocka_unit_test(a_packed_message_gets_a_length_prefix),
        cmocka_unit_test(a_message_has_a_limit_of_its_own),
        cmocka_unit_test(a_message_moves_to_no_more_than_its_limit),
        cmocka_unit_test(a_packer_keeps_within_the_limit_of_a_message),
        cmocka_unit_test(slices_are_linked_into_a_message),
        cmocka_unit_test(a_full_segment_is_linked_behind),
        cmocka_unit_test(pieces_of_a_message_come_in_any_order),
        cmocka_unit_test(a_message_can_be_reset_in_every_state),
        cmocka_unit_test(the_bytes_of_a_chain_are_appended_all_or_none),
        cmocka_unit_test(a_view_that_overlaps_the_tail_is_taken_as_it_was),
        cmocka_unit_test(a_tail_that_does_not_fit_is_taken_from_where_it_was),
        cmocka_unit_test(a_chain_of_views_into_a_message_that_moves_is_taken_as_it_was),
        cmocka_unit_test(lengths_near_the_largest_are_refused_everywhere),
        cmocka_unit_test(messages_are_listed_until_they_are_consumed),
        cmocka_unit_test(a_list_grows_to_its_bound_and_is_reused),
        cmocka_unit_test(the_front_leaves_at_every_position),
        cmocka_unit_test(a_split_that_fails_changes_nothing),
        cmocka_unit_test(parts_come_as_chains_and_iovecs),
        cmocka_unit_test(a_part_is_written_in_short_writes),
        cmocka_unit_test(a_frozen_buffer_is_one_slice),
        cmocka_unit_test(a_split_part_goes_into_another_buffer),
        cmocka_unit_test(every_failing_allocation_leaves_the_messages_as_before),
        cmocka_unit_test(each_broken_invariant_is_found),
        cmocka_unit_test(random_messages_agree_with_a_plain_array),
    };
    return cmocka_run_group_tests_name("buf_message", tests, NULL, NULL);
}
