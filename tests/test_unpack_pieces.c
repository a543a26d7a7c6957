/* SPDX-License-Identifier: MIT */
/* Cursors over slices, and over chains. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <weir/chain.h>
#include <weir/unpack.h>

#include "documents.h"
#include "pieces.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

static struct weir_slice slice_of(struct weir_view view)
{
    struct weir_slice slice = {view, NULL};

    return slice;
}

static void assert_same(const char *differs)
{
    if (differs != NULL)
        fail_msg("differs: %s", differs);
}

static void every_document_cut_in_two_anywhere_reads_the_same(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    uint8_t ops[512];

    (void)state;
    weir_arena_init(&arena, pool, NULL);
    for (unsigned op = 17; op < PIECES_OPS; op++) {
        memset(ops, (int)op, sizeof(ops));
        for (size_t i = 0; i < documents_count; i++) {
            size_t most = documents[i].size < UINT8_MAX ? documents[i].size : UINT8_MAX;
            for (size_t cut = 0; cut <= most; cut++) {
                uint8_t cuts[1] = {(uint8_t)cut};
                struct weir_view all = weir_view_of(ops, op == 28 ? sizeof(ops) : 16);
                assert_same(pieces_compare(documents[i], weir_view_of(cuts, 1), all, NULL, &arena));
                assert_same(pieces_compare(documents[i], weir_view_of(cuts, 1), all, NULL, NULL));
                weir_arena_reset(&arena);
            }
        }
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void random_cuts_reads_limits_and_changes_make_no_difference(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_arena arena;
    struct test_random random;

    (void)state;
    test_random_init(&random);
    weir_arena_init(&arena, pool, NULL);
    for (int round = 0; round < 60000; round++) {
        uint8_t bytes[1024], cuts[64], ops[32];
        struct weir_limits limits = {0};
        struct weir_view input = documents[test_random_below(&random, documents_count)];
        memcpy(bytes, input.data, input.size);
        for (uint64_t changes = test_random_below(&random, 3); changes != 0; changes--)
            bytes[test_random_below(&random, input.size)] = (uint8_t)test_random(&random);
        input = weir_view_of(bytes, 1 + (size_t)test_random_below(&random, input.size));
        uint64_t largest = 1 + test_random_below(&random, 12);
        for (size_t i = 0; i < sizeof(cuts); i++)
            cuts[i] = (uint8_t)test_random_below(&random, largest);
        for (size_t i = 0; i < sizeof(ops); i++)
            ops[i] =
                test_random_below(&random, 3) != 0 ? 27 : (uint8_t)test_random_below(&random, 29);
        if (test_random_below(&random, 4) == 0)
            limits.elements = 1 + test_random_below(&random, 20);
        assert_same(pieces_compare(input,
                                   weir_view_of(cuts, sizeof(cuts)),
                                   weir_view_of(ops, sizeof(ops)),
                                   &limits,
                                   round % 2 == 0 ? &arena : NULL));
        weir_arena_reset(&arena);
    }
    weir_arena_fini(&arena);
    test_pool_destroy(pool);
}

static void what_straddles_is_gathered_and_counted(void **state)
{
    struct weir_slice slices[] = {slice_of(VIEW("\x93\xa5"
                                                "ab")),
                                  slice_of(VIEW("")),
                                  slice_of(VIEW("cde\xcd\x01")),
                                  slice_of(VIEW("\x02\xa2xy"))};
    uint8_t memory[64];
    struct weir_unpack_pieces pieces;
    struct weir_unpacker u;
    struct weir_arena arena;
    struct weir_view str, kept = {NULL, 3};
    uint32_t count;
    uint64_t number = 0;

    (void)state;
    weir_arena_init_fixed(&arena, memory, sizeof(memory));
    weir_unpack_init_slices(&u, &pieces, slices, 4, &arena, NULL);
    assert_int_equal(weir_unpack_left_bytes(&u), 13);
    assert_int_equal(weir_unpack_array(&u, &count), 0);
    struct weir_unpacker second = u;
    assert_int_equal(weir_unpack_str(&u, &str), 0);
    assert_true(weir_view_equal(str, VIEW("abcde")));
    assert_int_equal(pieces.bytes_copied, 5);
    assert_int_equal(weir_unpack_uint(&u, &number), 0);
    assert_int_equal(number, 0x102);
    assert_int_equal(pieces.bytes_copied, 5);
    assert_int_equal(weir_unpack_str(&u, &str), 0);
    assert_ptr_equal(str.data, slices[3].view.data + 2);
    assert_int_equal(weir_unpack_end(&u), 0);
    assert_int_equal(weir_unpack_offset(&u), 13);
    assert_int_equal(weir_unpack_skip(&second), 0); /* nothing is copied */
    assert_int_equal(weir_unpack_offset(&second), 7);
    assert_int_equal(pieces.bytes_copied, 5);
    /* without room, and without an arena: an error at the value, and nothing is handed out */
    weir_arena_init_fixed(&arena, memory, 4);
    for (unsigned with = 0; with < 2; with++) {
        weir_unpack_init_slices(&u, &pieces, slices, 4, with != 0 ? &arena : NULL, NULL);
        assert_int_equal(weir_unpack_array(&u, &count), 0);
        assert_int_equal(weir_unpack_str(&u, &kept), with != 0 ? -ENOBUFS : -EINVAL);
        assert_int_equal(kept.size, 3);
        assert_int_equal(weir_unpack_offset(&u), 1);
        assert_int_equal(weir_unpack_skip(&u), with != 0 ? -ENOBUFS : -EINVAL);
        assert_int_equal(weir_unpack_left_bytes(&u), 0);
        assert_int_equal(pieces.bytes_copied, 0);
    }
}

static void counts_are_believed_as_far_as_all_pieces_go(void **state)
{
    struct weir_slice slices[] = {
        slice_of(VIEW("\xdc\x00\x03\x01")), slice_of(VIEW("\x02")), slice_of(VIEW("\x03"))};
    struct weir_slice huge[] = {slice_of(weir_view_of("", SIZE_MAX)), slice_of(VIEW("\x01"))};
    struct weir_limits limits = {.bytes = 5};
    struct weir_unpack_pieces pieces;
    struct weir_unpacker u;
    uint32_t count = 0;

    (void)state;
    weir_unpack_init_slices(&u, &pieces, slices, 3, NULL, NULL);
    assert_int_equal(weir_unpack_array(&u, &count), 0);
    assert_int_equal(count, 3);
    weir_unpack_init_slices(&u, &pieces, slices, 2, NULL, NULL);
    assert_int_equal(weir_unpack_array(&u, &count), -EAGAIN);
    assert_int_equal(weir_unpack_offset(&u), 0);
    weir_unpack_init_slices(&u, &pieces, slices, 3, NULL, &limits);
    assert_int_equal(weir_unpack_array(&u, &count), -ENOBUFS);
    assert_int_equal(weir_unpack_offset(&u), 0);
    weir_unpack_init_slices(&u, &pieces, slices, 2, NULL, &limits);
    assert_int_equal(weir_unpack_error(&u), 0);
    weir_unpack_init_slices(&u, &pieces, huge, 2, NULL, NULL);
    assert_int_equal(weir_unpack_error(&u), -EOVERFLOW);
    weir_unpack_init_slices(&u, &pieces, NULL, 0, NULL, NULL);
    assert_int_equal(weir_unpack_end(&u), 0);
    assert_int_equal(weir_unpack_skip(&u), -EAGAIN);
}

static void a_chain_is_read_like_its_slices(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_slice first = slice_of(VIEW("\x82\xa2id\xcd\x01")),
                      second = slice_of(VIEW("\x02\xa4name\xa1x"));
    struct weir_unpack_pieces pieces;
    struct weir_unpacker u;
    struct weir_chain chain;
    struct weir_view name;

    (void)state;
    weir_chain_init(&chain, pool);
    assert_int_equal(weir_chain_append(&chain, &first), 0);
    assert_int_equal(weir_chain_append(&chain, &second), 0);
    weir_unpack_init_chain(&u, &pieces, &chain, NULL, NULL);
    assert_int_equal(weir_unpack_find(&u, weir_view_text("name")), 0);
    assert_int_equal(weir_unpack_str(&u, &name), 0);
    assert_true(weir_view_equal(name, weir_view_text("x")));
    assert_int_equal(weir_unpack_end(&u), 0);
    weir_chain_fini(&chain);
    test_pool_destroy(pool);
}

static void millions_of_slices_take_linear_time(void **state)
{
    enum { COUNT = 2000000 };
    struct weir_slice *slices = malloc(COUNT * sizeof(*slices));
    struct weir_unpack_pieces pieces;
    struct weir_unpacker u;

    (void)state;
    assert_non_null(slices);
    for (size_t i = 0; i < COUNT; i++)
        slices[i] = slice_of(i + 1 == COUNT ? VIEW("\x00") : VIEW("\x91"));
    weir_unpack_init_slices(&u, &pieces, slices, COUNT, NULL, NULL);
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_end(&u), 0);
    assert_int_equal(weir_unpack_offset(&u), COUNT);
    weir_unpack_init_slices(&u, &pieces, slices, COUNT - 1, NULL, NULL);
    assert_int_equal(weir_unpack_skip(&u), -EAGAIN);
    assert_int_equal(weir_unpack_offset(&u), COUNT - 2);
    free(slices);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_document_cut_in_two_anywhere_reads_the_same),
        cmocka_unit_test(random_cuts_reads_limits_and_changes_make_no_difference),
        cmocka_unit_test(what_straddles_is_gathered_and_counted),
        cmocka_unit_test(counts_are_believed_as_far_as_all_pieces_go),
        cmocka_unit_test(a_chain_is_read_like_its_slices),
        cmocka_unit_test(millions_of_slices_take_linear_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
