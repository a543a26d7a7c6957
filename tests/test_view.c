/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <string.h>

#include <weir/view.h>

static void a_view_is_what_it_was_made_of(void **state)
{
    static const char bytes[] = "abc";
    struct weir_view view = weir_view_of(bytes, 2);

    (void)state;
    assert_ptr_equal(view.data, bytes);
    assert_int_equal(view.size, 2);
    view = weir_view_text(bytes);
    assert_ptr_equal(view.data, bytes);
    assert_int_equal(view.size, 3);
    assert_int_equal(weir_view_text("").size, 0);
}

static void a_slice_lies_within_its_view(void **state)
{
    struct weir_view view = weir_view_text("0123456789");
    struct weir_view part;

    (void)state;
    assert_int_equal(weir_view_slice(view, 0, 10, &part), 0);
    assert_ptr_equal(part.data, view.data);
    assert_int_equal(part.size, 10);
    assert_int_equal(weir_view_slice(view, 3, 4, &part), 0);
    assert_ptr_equal(part.data, view.data + 3);
    assert_int_equal(part.size, 4);
    assert_int_equal(weir_view_slice(view, 10, 0, &part), 0);
    assert_int_equal(part.size, 0);
    assert_int_equal(weir_view_slice(weir_view_of(NULL, 0), 0, 0, &part), 0);
    assert_null(part.data);
    assert_int_equal(part.size, 0);
}

static void a_slice_outside_its_view_is_refused(void **state)
{
    static const struct {
        size_t offset, size;
    } outside[] = {{0, 11},
                   {1, 10},
                   {10, 1},
                   {11, 0},
                   {SIZE_MAX, 1},
                   {1, SIZE_MAX},
                   {SIZE_MAX, SIZE_MAX},
                   {SIZE_MAX - 3, 8}};
    struct weir_view view = weir_view_text("0123456789");

    (void)state;
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        struct weir_view part = weir_view_text("untouched");
        assert_int_equal(weir_view_slice(view, outside[i].offset, outside[i].size, &part),
                         -EOVERFLOW);
        assert_string_equal((const char *)part.data, "untouched");
        assert_int_equal(part.size, 9);
    }
}

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

static void views_are_ordered_bytewise(void **state)
{
    static const char *const ordered[] = {
        "", "\1", "A", "AA", "AB", "B", "a", "aa", "\x80", "\xff"};
    const int count = sizeof ordered / sizeof ordered[0];

    (void)state;
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < count; k++) {
            struct weir_view a = weir_view_text(ordered[i]);
            struct weir_view b = weir_view_text(ordered[k]);
            assert_int_equal(sign(weir_view_compare(a, b)), sign(i - k));
            assert_int_equal(weir_view_equal(a, b), i == k);
        }
    }
}

static void bytes_of_zero_count(void **state)
{
    struct weir_view one = weir_view_of("\0", 1);
    struct weir_view two = weir_view_of("\0\0", 2);

    (void)state;
    assert_true(weir_view_compare(one, two) < 0);
    assert_true(weir_view_compare(weir_view_of(NULL, 0), one) < 0);
    assert_false(weir_view_equal(one, two));
    assert_true(weir_view_equal(weir_view_of(NULL, 0), weir_view_of("x", 0)));
    assert_int_equal(weir_view_compare(weir_view_of(NULL, 0), weir_view_of("x", 0)), 0);
}

static void a_hash_depends_on_the_bytes_alone(void **state)
{
    uint8_t text[128 + 8];

    (void)state;
    for (size_t size = 0; size <= 128; size++) {
        uint64_t first = 0;
        for (size_t shift = 0; shift < 8; shift++) {
            /* What lies around the bytes differs, and so does their alignment. */
            memset(text, (int)(shift + 1), sizeof text);
            test_fill(text + shift, size, 5);
            uint64_t hash = weir_view_hash(weir_view_of(text + shift, size), 1);
            if (shift == 0)
                first = hash;
            assert_true(hash == first);
        }
    }
    assert_true(weir_view_hash(weir_view_of(NULL, 0), 9) ==
                weir_view_hash(weir_view_of(text, 0), 9));
}

static int popcount(uint64_t bits)
{
    return __builtin_popcountll(bits);
}

static void every_bit_of_the_bytes_and_the_seed_reaches_the_hash(void **state)
{
    uint8_t bytes[80];
    long flipped = 0, flips = 0;

    (void)state;
    test_fill(bytes, sizeof bytes, 3);
    for (size_t size = 1; size <= sizeof bytes; size++) {
        struct weir_view view = weir_view_of(bytes, size);
        uint64_t hash = weir_view_hash(view, 7);
        for (size_t bit = 0; bit < size * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
            int changed = popcount(hash ^ weir_view_hash(view, 7));
            assert_in_range(changed, 8, 56);
            flipped += changed;
            flips++;
            bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        }
        for (unsigned bit = 0; bit < 64; bit++) {
            uint64_t other = weir_view_hash(view, 7 ^ UINT64_C(1) << bit);
            assert_in_range(popcount(hash ^ other), 8, 56);
        }
    }
    /* Half of the 64 bits on average. */
    assert_in_range(flipped * 100 / flips, 3150, 3250);
}

static void zeros_of_different_length_hash_differently(void **state)
{
    static const uint8_t zeros[300];
    uint64_t hashes[300];

    (void)state;
    for (size_t i = 0; i < 300; i++) {
        hashes[i] = weir_view_hash(weir_view_of(zeros, i), 0);
        for (size_t k = 0; k < i; k++)
            assert_true(hashes[i] != hashes[k]);
    }
}

/* A table of small integers and one of words that differ in one place: each bucket about full. */
static void hashes_fill_a_table_evenly(void **state)
{
    unsigned low[256] = {0}, high[256] = {0};

    (void)state;
    for (uint32_t i = 0; i < 256 * 256; i++) {
        uint64_t hash = weir_view_hash(weir_view_of(&i, sizeof i), 0);
        low[hash & 255]++;
        high[hash >> 56]++;
    }
    for (int i = 0; i < 256; i++) {
        assert_in_range(low[i], 160, 352);
        assert_in_range(high[i], 160, 352);
    }
}

/* The words that the product is masked with: with another seed they are nothing special. */
static void a_block_that_vanishes_for_one_seed_does_not_for_another(void **state)
{
    const uint64_t masks[] = {UINT64_C(0x9e3779b97f4a7c15),
                              UINT64_C(0xd6e8feb86659fd93),
                              UINT64_C(0xa0761d6478bd642f),
                              0,
                              UINT64_MAX};
    uint64_t words[6] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        words[2] = masks[i];
        words[3] = masks[i];
        for (uint64_t seed = 0; seed < 4; seed++) {
            words[0] = 1;
            uint64_t one = weir_view_hash(weir_view_of(words, sizeof words), seed);
            words[0] = 2;
            assert_true(one != weir_view_hash(weir_view_of(words, sizeof words), seed));
        }
    }
}

static void a_hash_of_pieces_is_that_of_the_whole(void **state)
{
    uint8_t bytes[200];
    struct test_random random;

    (void)state;
    test_random_init(&random);
    test_fill(bytes, sizeof bytes, 11);
    /* Every cut in two of every size, and then cuts at random. */
    for (size_t size = 0; size <= 70; size++) {
        uint64_t wanted = weir_view_hash(weir_view_of(bytes, size), size);
        for (size_t cut = 0; cut <= size; cut++) {
            struct weir_view_hasher hash;
            weir_view_hash_begin(&hash, size);
            weir_view_hash_add(&hash, weir_view_of(bytes, cut));
            weir_view_hash_add(&hash, weir_view_of(NULL, 0));
            weir_view_hash_add(&hash, weir_view_of(bytes + cut, size - cut));
            assert_true(weir_view_hash_end(&hash) == wanted);
        }
    }
    for (int round = 0; round < 2000; round++) {
        uint64_t seed = test_random(&random);
        size_t size = (size_t)test_random_below(&random, sizeof bytes + 1), done = 0;
        struct weir_view_hasher hash;
        weir_view_hash_begin(&hash, seed);
        while (done < size) {
            size_t piece = (size_t)test_random_below(&random, size - done + 1);
            weir_view_hash_add(&hash, weir_view_of(bytes + done, piece));
            done += piece;
            /* Asking on the way changes nothing. */
            assert_true(weir_view_hash_end(&hash) ==
                        weir_view_hash(weir_view_of(bytes, done), seed));
        }
        assert_true(weir_view_hash_end(&hash) == weir_view_hash(weir_view_of(bytes, size), seed));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_is_what_it_was_made_of),
        cmocka_unit_test(a_slice_lies_within_its_view),
        cmocka_unit_test(a_slice_outside_its_view_is_refused),
        cmocka_unit_test(views_are_ordered_bytewise),
        cmocka_unit_test(bytes_of_zero_count),
        cmocka_unit_test(a_hash_depends_on_the_bytes_alone),
        cmocka_unit_test(every_bit_of_the_bytes_and_the_seed_reaches_the_hash),
        cmocka_unit_test(a_hash_of_pieces_is_that_of_the_whole),
        cmocka_unit_test(zeros_of_different_length_hash_differently),
        cmocka_unit_test(hashes_fill_a_table_evenly),
        cmocka_unit_test(a_block_that_vanishes_for_one_seed_does_not_for_another),
    };
    return cmocka_run_group_tests_name("view", tests, NULL, NULL);
}
