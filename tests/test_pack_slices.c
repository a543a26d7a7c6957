/* SPDX-License-Identifier: MIT */
/* Messages that many slices are linked into: their bytes, and who holds the slices' blocks. */
#include "support.h"

#include <errno.h>
#include <string.h>

#include <weir/pack.h>

#include "../lib/buf_private.h"

#define BLOCKS 3
#define BLOCK_BYTES 1000

struct fixture {
    struct test_source source;
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_packer packer;
    struct weir_slice slices[BLOCKS + 1]; /* the last one is nobody's */
};

static void begin(struct fixture *f, const struct weir_buf_options *options)
{
    static uint8_t nobodys[BLOCK_BYTES];

    test_source_init(&f->source);
    f->pool = test_pool_create(&f->source);
    assert_int_equal(weir_buf_init(&f->buf, f->pool, options), 0);
    for (unsigned i = 0; i < BLOCKS; i++)
        f->slices[i] = test_slice(f->pool, BLOCK_BYTES, i);
    test_fill(nobodys, sizeof nobodys, BLOCKS);
    f->slices[BLOCKS] = weir_slice_adopt(weir_view_of(nobodys, sizeof nobodys), NULL);
}

static uint32_t refs_of(const struct fixture *f, unsigned slice)
{
    return __atomic_load_n(&f->slices[slice].block->refs, __ATOMIC_RELAXED);
}

/* That of the slices' blocks nobody but the fixture is a holder. */
static void assert_let_go(const struct fixture *f)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        assert_int_equal(refs_of(f, i), 1);
}

static void end(struct fixture *f)
{
    assert_null(weir__buf_check(&f->buf));
    weir_buf_fini(&f->buf);
    assert_let_go(f);
    for (unsigned i = 0; i < BLOCKS; i++)
        weir_slice_drop(&f->slices[i]);
    assert_int_equal(test_blocks_in_use(f->pool), 0);
    test_pool_destroy(f->pool);
    test_source_fini(&f->source);
}

/* The message of @id and @slice: 2 + 3 + 1000 bytes. */
static void pack_message(struct fixture *f, unsigned id, unsigned slice)
{
    assert_int_equal(weir_pack_begin(&f->packer, &f->buf, 0), 0);
    weir_pack_array(&f->packer, 2);
    weir_pack_uint(&f->packer, id);
    weir_pack_bin_slice(&f->packer, &f->slices[slice]);
    assert_int_equal(weir_pack_offset(&f->packer), 2 + 3 + 1000);
    assert_int_equal(weir_pack_end(&f->packer, NULL), 0);
    assert_null(weir__buf_check(&f->buf));
}

static void a_block_that_is_linked_many_times_is_let_go_of_at_once(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 100});
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 100; i++) {
            pack_message(&f, i, 0);
            assert_true(refs_of(&f, 0) >= 2 + i);
        }
        assert_int_equal(weir_buf_size(&f.buf), 100 * 1005);
        /* the one that is partly there is held, and there is nothing to spare */
        if (round == 0)
            weir_buf_consume(&f.buf, 99 * 1005 + 500);
        if (round == 0)
            assert_int_equal(refs_of(&f, 0), 2);
        if (round == 1)
            weir_buf_consume(&f.buf, 100 * 1005);
        else
            weir_buf_reset(&f.buf);
        assert_let_go(&f);
        assert_null(weir__buf_check(&f.buf));
    }
    end(&f);
}

static void blocks_that_take_turns_are_let_go_of_with_their_entries(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 100});
    for (unsigned way = 0; way < 2; way++) {
        for (unsigned i = 0; i < 60; i++)
            pack_message(&f, i, i / 2 % (BLOCKS + 1));
        weir_buf_consume(&f.buf, 30 * 1005);
        assert_null(weir__buf_check(&f.buf));
        for (unsigned i = 0; i < BLOCKS; i++)
            assert_int_equal(refs_of(&f, i), i == 2 ? 7 : 9);
        if (way == 0)
            weir_buf_reset(&f.buf);
        else
            weir_buf_consume(&f.buf, 30 * 1005);
        assert_let_go(&f);
    }
    end(&f);
}

static void a_cancelled_message_lets_go_of_what_was_linked(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 100});
    for (unsigned i = 0; i < 5; i++) {
        pack_message(&f, i, 0);
        assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
        weir_pack_array(&f.packer, 3);
        weir_pack_bin_slice(&f.packer, &f.slices[0]);
        weir_pack_bin_slice(&f.packer, &f.slices[1]);
        weir_pack_bin_slice(&f.packer, &f.slices[1]);
        weir_pack_cancel(&f.packer);
        assert_int_equal(weir_buf_size(&f.buf), (i + 1) * 1005);
        assert_int_equal(refs_of(&f, 1), 1);
        assert_null(weir__buf_check(&f.buf));
    }
    weir_buf_reset(&f.buf);
    assert_let_go(&f);
    end(&f);
}

static void a_reset_keeps_a_table_that_is_not_large(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 100});
    for (unsigned i = 0; i < 40; i++)
        pack_message(&f, i, 0);
    const struct weir_block *table = f.buf.table;
    assert_non_null(table);
    weir_buf_reset(&f.buf);
    assert_ptr_equal(f.buf.table, table);
    assert_null(weir__buf_check(&f.buf));
    for (unsigned i = 0; i < 300; i++)
        pack_message(&f, i % 100, 0);
    weir_buf_reset(&f.buf);
    assert_null(f.buf.table);
    end(&f);
}

/* What is linked after the options changed has to heed them. */
static void headroom_that_is_set_between_links_is_left(void **state)
{
    struct weir_chain chain;
    struct fixture f;
    uint8_t *at;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 100});
    weir_chain_init(&chain, f.pool);
    pack_message(&f, 1, 0);
    pack_message(&f, 2, 0);
    weir_buf_set_headroom(&f.buf, 4);
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    weir_pack_bin_slice(&f.packer, &f.slices[0]);
    weir_pack_str_slice(&f.packer, &f.slices[0]);
    assert_int_equal(weir_buf_prepend(&f.buf, 4, &at), 0);
    memcpy(at, "head", 4);
    assert_int_equal(weir_buf_prepend(&f.buf, 0, &at), 0);
    assert_int_equal(weir_buf_prepend(&f.buf, 1, &at), -ENOBUFS);
    assert_int_equal(weir_pack_end_chain(&f.packer, &chain), 0);
    assert_null(weir__buf_check(&f.buf));
    assert_int_equal(chain.size_bytes, 4 + 2 * 1003);
    assert_memory_equal(chain.slices[0].view.data, "head\xc5\x03\xe8", 7);
    assert_ptr_equal(chain.slices[1].view.data, f.slices[0].view.data);
    assert_memory_equal(chain.slices[2].view.data, "\xda\x03\xe8", 3);
    weir_chain_fini(&chain);
    weir_buf_set_headroom(&f.buf, 0);
    pack_message(&f, 3, 0);
    end(&f);
}

static void each_width_of_a_linked_head_is_the_shortest(void **state)
{
    static uint8_t bytes[70000];
    static const struct {
        size_t size;
        const char *str, *bin, *ext;
        size_t str_bytes, bin_bytes, ext_bytes;
    } cases[] = {
        {1, "\xa1", "\xc4\x01", "\xd4\x05", 1, 2, 2},
        {2, "\xa2", "\xc4\x02", "\xd5\x05", 1, 2, 2},
        {3, "\xa3", "\xc4\x03", "\xc7\x03\x05", 1, 2, 3},
        {4, "\xa4", "\xc4\x04", "\xd6\x05", 1, 2, 2},
        {8, "\xa8", "\xc4\x08", "\xd7\x05", 1, 2, 2},
        {16, "\xb0", "\xc4\x10", "\xd8\x05", 1, 2, 2},
        {31, "\xbf", "\xc4\x1f", "\xc7\x1f\x05", 1, 2, 3},
        {32, "\xd9\x20", "\xc4\x20", "\xc7\x20\x05", 2, 2, 3},
        {255, "\xd9\xff", "\xc4\xff", "\xc7\xff\x05", 2, 2, 3},
        {256, "\xda\x01\x00", "\xc5\x01\x00", "\xc8\x01\x00\x05", 3, 3, 4},
        {65535, "\xda\xff\xff", "\xc5\xff\xff", "\xc8\xff\xff\x05", 3, 3, 4},
        {65536,
         "\xdb\x00\x01\x00\x00",
         "\xc6\x00\x01\x00\x00",
         "\xc9\x00\x01\x00\x00\x05",
         5,
         5,
         6},
    };
    struct weir_block *blocks[8];
    struct iovec iov[8];
    struct fixture f;

    (void)state;
    begin(&f, &(struct weir_buf_options){.link_min_bytes = 1});
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof cases[0]); i++) {
        size_t which = i / 2;
        struct weir_slice slice = weir_slice_adopt(weir_view_of(bytes, cases[which].size), NULL);
        weir_buf_reset(&f.buf);
        assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
        weir_pack_str_slice(&f.packer, &slice);
        weir_pack_bin_slice(&f.packer, &slice);
        weir_pack_ext_slice(&f.packer, 5, &slice);
        assert_int_equal(weir_pack_end(&f.packer, NULL), 0);
        assert_null(weir__buf_check(&f.buf));
        assert_int_equal(weir_buf_iovecs(&f.buf, 0, iov, blocks, 8), 6);
        assert_int_equal(iov[0].iov_len, cases[which].str_bytes);
        assert_memory_equal(iov[0].iov_base, cases[which].str, cases[which].str_bytes);
        assert_int_equal(iov[2].iov_len, cases[which].bin_bytes);
        assert_memory_equal(iov[2].iov_base, cases[which].bin, cases[which].bin_bytes);
        assert_int_equal(iov[4].iov_len, cases[which].ext_bytes);
        assert_memory_equal(iov[4].iov_base, cases[which].ext, cases[which].ext_bytes);
        for (unsigned j = 1; j < 6; j += 2) {
            assert_ptr_equal(iov[j].iov_base, bytes);
            assert_int_equal(iov[j].iov_len, cases[which].size);
        }
    }
    end(&f);
}

/* Nothing is read of a slice that is linked, so it may say any size. */
static void a_slice_above_four_gigabytes_is_refused(void **state)
{
    static uint8_t byte;
    struct weir_slice slice = weir_slice_adopt(weir_view_of(&byte, (size_t)UINT32_MAX + 1), NULL);
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    for (unsigned what = 0; what < 3; what++) {
        pack_message(&f, 1, BLOCKS);
        pack_message(&f, 2, BLOCKS);
        size_t size = weir_buf_size(&f.buf);
        assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
        weir_pack_array(&f.packer, 1);
        if (what == 0)
            weir_pack_str_slice(&f.packer, &slice);
        else if (what == 1)
            weir_pack_bin_slice(&f.packer, &slice);
        else
            weir_pack_ext_slice(&f.packer, 1, &slice);
        assert_int_equal(weir_pack_error(&f.packer), -EOVERFLOW);
        assert_int_equal(weir_pack_offset(&f.packer), 1);
        assert_int_equal(weir_pack_end(&f.packer, NULL), -EOVERFLOW);
        assert_int_equal(weir_buf_size(&f.buf), size);
        assert_null(weir__buf_check(&f.buf));
    }
    /* one byte less is linked */
    slice.view.size--;
    assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
    for (unsigned i = 0; i < 3; i++)
        weir_pack_ext_slice(&f.packer, -1, &slice);
    assert_int_equal(weir_pack_offset(&f.packer), 3 * (6 + (size_t)UINT32_MAX));
    assert_int_equal(weir_pack_end(&f.packer, NULL), 0);
    end(&f);
}

/* --- against a model ------------------------------------------------------------------------- */

#define MODEL_BYTES 400000

/* Put what a packer writes into @packer, the slices by reference, and into @copier. */
static void pack_some(struct fixture *f, struct test_random *random, struct weir_packer *copier)
{
    struct weir_packer *p = &f->packer;
    unsigned which = (unsigned)test_random_below(random, BLOCKS + 1);

    for (uint64_t left = test_random_below(random, 12); left > 0; left--) {
        struct weir_slice part = f->slices[which];
        uint64_t number = test_random(random) >> test_random_below(random, 64);
        part.view.size = test_random_size(random, BLOCK_BYTES);
        part.view.data += test_random_below(random, BLOCK_BYTES + 1 - part.view.size);
        switch (test_random_below(random, 6)) {
        case 0:
            weir_pack_uint(p, number);
            weir_pack_uint(copier, number);
            break;
        case 1:
            weir_pack_str_slice(p, &part);
            weir_pack_str(copier, part.view);
            break;
        case 2:
            weir_pack_ext_slice(p, (int8_t)number, &part);
            weir_pack_ext(copier, (int8_t)number, part.view);
            break;
        case 3:
            which = (unsigned)test_random_below(random, BLOCKS + 1);
            break;
        default:
            weir_pack_bin_slice(p, &part);
            weir_pack_bin(copier, part.view);
            break;
        }
    }
}

/* One message into the buffer and, if it is not given up, into @all. */
static void random_message(struct fixture *f, struct weir_buf *all, struct test_random *random)
{
    struct weir_packer copier;
    struct weir_slice own;

    assert_int_equal(weir_pack_begin(&f->packer, &f->buf, 0), 0);
    assert_int_equal(weir_pack_begin(&copier, all, 0), 0);
    pack_some(f, random, &copier);
    /* bytes of the buffer itself, the block of which is written to at the same time */
    if (weir_buf_front(&f->buf, &own) == 0) {
        weir_pack_bin_slice(&f->packer, &own);
        weir_pack_bin(&copier, own.view);
        weir_slice_drop(&own);
    }
    assert_int_equal(weir_pack_offset(&f->packer), weir_pack_offset(&copier));
    if (test_random_below(random, 5) == 0) {
        weir_pack_cancel(&f->packer);
        weir_pack_cancel(&copier);
        return;
    }
    assert_int_equal(weir_pack_end(&f->packer, NULL), 0);
    assert_int_equal(weir_pack_end(&copier, NULL), 0);
}

static void random_links_agree_with_copies(void **state)
{
    struct test_random random;
    struct weir_chain linked, copied;
    struct weir_slice wanted;
    struct weir_buf all;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    for (unsigned round = 0; round < 40; round++) {
        struct weir_buf_options options = {
            .initial_bytes = 64 + test_random_size(&random, 4000),
            .link_min_bytes = 1 + test_random_size(&random, 300),
            .limit_bytes = test_random_below(&random, 4) == 0 ? MODEL_BYTES : 0,
            .messages_max = test_random_below(&random, 4) == 0 ? 1000 : 0,
        };
        begin(&f, &options);
        assert_int_equal(weir_buf_init(&all, f.pool, NULL), 0);
        for (unsigned step = 0; step < 60; step++) {
            if (test_random_below(&random, 10) == 0)
                weir_buf_set_headroom(&f.buf, (size_t)test_random_below(&random, 5));
            if (weir_buf_size(&f.buf) < MODEL_BYTES / 10)
                random_message(&f, &all, &random);
            size_t gone = (size_t)test_random_below(&random, weir_buf_size(&f.buf) + 1);
            if (test_random_below(&random, 12) == 0) {
                weir_buf_reset(&f.buf);
                weir_buf_reset(&all);
                assert_let_go(&f);
            } else if (test_random_below(&random, 6) == 0) {
                weir_buf_consume(&f.buf, gone);
                weir_buf_consume(&all, gone);
            }
            assert_null(weir__buf_check(&f.buf));
            assert_int_equal(weir_buf_size(&f.buf), weir_buf_size(&all));
            weir_chain_init(&linked, f.pool);
            weir_chain_init(&copied, f.pool);
            assert_int_equal(weir_buf_sub(&f.buf, 0, weir_buf_size(&f.buf), &linked), 0);
            assert_int_equal(weir_buf_sub(&all, 0, weir_buf_size(&all), &copied), 0);
            assert_true(weir_chain_flatten(&copied, f.pool, &wanted) >= 0);
            assert_true(weir_chain_equal_view(&linked, wanted.view));
            weir_slice_drop(&wanted);
            weir_chain_fini(&linked);
            weir_chain_fini(&copied);
        }
        weir_buf_fini(&all);
        end(&f);
    }
}

/* Each allocation that a thousand messages take fails in turn: the message is not there then. */
static void every_failing_allocation_leaves_the_links_as_before(void **state)
{
    struct fixture f;
    unsigned failures = 0;
    bool failed = true;

    (void)state;
    for (uint64_t n = 1; failed; n++) {
        begin(&f, &(struct weir_buf_options){.link_min_bytes = 100, .initial_bytes = 64});
        test_source_fail(&f.source, n);
        for (unsigned i = 0; i < 1000; i++) {
            size_t size = weir_buf_size(&f.buf);
            int begun = weir_pack_begin(&f.packer, &f.buf, 0);
            assert_int_equal(begun, weir_pack_error(&f.packer));
            weir_pack_array(&f.packer, 2);
            weir_pack_bin_slice(&f.packer, &f.slices[i % 2]);
            weir_pack_ext_slice(&f.packer, 1, &f.slices[2]);
            int rc = weir_pack_end(&f.packer, NULL);
            assert_true(rc == 0 || rc == -ENOMEM);
            assert_int_equal(weir_buf_size(&f.buf), size + (rc == 0 ? 1 + 1003 + 1004 : 0));
            if (rc != 0 || i % 100 == 0)
                assert_null(weir__buf_check(&f.buf));
        }
        failed = f.source.failures != 0;
        failures += failed;
        test_source_fail(&f.source, 0);
        weir_buf_reset(&f.buf);
        assert_let_go(&f);
        end(&f);
    }
    assert_true(failures > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_that_is_linked_many_times_is_let_go_of_at_once),
        cmocka_unit_test(blocks_that_take_turns_are_let_go_of_with_their_entries),
        cmocka_unit_test(a_cancelled_message_lets_go_of_what_was_linked),
        cmocka_unit_test(a_reset_keeps_a_table_that_is_not_large),
        cmocka_unit_test(headroom_that_is_set_between_links_is_left),
        cmocka_unit_test(each_width_of_a_linked_head_is_the_shortest),
        cmocka_unit_test(a_slice_above_four_gigabytes_is_refused),
        cmocka_unit_test(random_links_agree_with_copies),
        cmocka_unit_test(every_failing_allocation_leaves_the_links_as_before),
    };
    return cmocka_run_group_tests_name("pack_slices", tests, NULL, NULL);
}
