/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <string.h>

#include <weir/pool_pack.h>
#include <weir/unpack.h>

/* Seven counters, from @first on. */
static struct weir_pool_class_stats counters_from(uint64_t first)
{
    return (struct weir_pool_class_stats){.blocks_in_use = first,
                                          .bytes_in_use = first + 1,
                                          .allocations = first + 2,
                                          .hits = first + 3,
                                          .misses = first + 4,
                                          .releases = first + 5,
                                          .remote_releases = first + 6};
}

static const struct weir_pool_tag_stats tags[] = {
    {.tag = "session", .blocks = 3, .bytes = 600, .oldest_ns = 52000000},
    {.tag = NULL, .blocks = 1, .bytes = 0, .oldest_ns = UINT64_MAX},
    {.tag = "", .blocks = 2, .bytes = 128, .oldest_ns = 0},
};

static struct weir_pool_stats made_up(void)
{
    struct weir_pool_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.total = counters_from(1);
    stats.bytes_in_use_peak = 10;
    stats.bytes_held = 0x200000;
    stats.bytes_held_peak = 0x100000000;
    stats.bytes_free = 13;
    stats.source_calls = 14;
    stats.source_bytes_returned = 15;
    stats.sweeps = 16;
    stats.slabs_emptied = 17;
    stats.tracked = 18;
    stats.tracked_lost = 19;
    stats.segment_count = 20;
    stats.class_count = 2;
    stats.classes[0] = counters_from(30);
    stats.classes[0].block_bytes = 64;
    stats.class_peak_blocks[0] = 0xff;
    stats.classes[1] = counters_from(40);
    stats.classes[1].block_bytes = 4096;
    stats.class_peak_blocks[1] = 0xffff;
    stats.classes[2] = counters_from(99); /* beyond class_count */
    stats.large = counters_from(50);
    stats.adopted = counters_from(60);
    return stats;
}

/* What made_up() is as MessagePack: each str, and the number behind it. */
/* clang-format off */
static const char made_up_bytes[] =
    "\xde\x00\x15"
    "\xad" "blocks_in_use" "\x01"
    "\xac" "bytes_in_use" "\x02"
    "\xab" "allocations" "\x03"
    "\xa4" "hits" "\x04"
    "\xa6" "misses" "\x05"
    "\xa8" "releases" "\x06"
    "\xaf" "remote_releases" "\x07"
    "\xb1" "bytes_in_use_peak" "\x0a"
    "\xaa" "bytes_held" "\xce\x00\x20\x00\x00"
    "\xaf" "bytes_held_peak" "\xcf\x00\x00\x00\x01\x00\x00\x00\x00"
    "\xaa" "bytes_free" "\x0d"
    "\xac" "source_calls" "\x0e"
    "\xb5" "source_bytes_returned" "\x0f"
    "\xa6" "sweeps" "\x10"
    "\xad" "slabs_emptied" "\x11"
    "\xa7" "tracked" "\x12"
    "\xac" "tracked_lost" "\x13"
    "\xa8" "segments" "\x14"
    "\xa7" "classes" "\x92"
    "\x89"
    "\xab" "block_bytes" "\x40"
    "\xad" "blocks_in_use" "\x1e"
    "\xac" "bytes_in_use" "\x1f"
    "\xab" "allocations" "\x20"
    "\xa4" "hits" "\x21"
    "\xa6" "misses" "\x22"
    "\xa8" "releases" "\x23"
    "\xaf" "remote_releases" "\x24"
    "\xab" "blocks_peak" "\xcc\xff"
    "\x89"
    "\xab" "block_bytes" "\xcd\x10\x00"
    "\xad" "blocks_in_use" "\x28"
    "\xac" "bytes_in_use" "\x29"
    "\xab" "allocations" "\x2a"
    "\xa4" "hits" "\x2b"
    "\xa6" "misses" "\x2c"
    "\xa8" "releases" "\x2d"
    "\xaf" "remote_releases" "\x2e"
    "\xab" "blocks_peak" "\xcd\xff\xff"
    "\xa5" "large" "\x87"
    "\xad" "blocks_in_use" "\x32"
    "\xac" "bytes_in_use" "\x33"
    "\xab" "allocations" "\x34"
    "\xa4" "hits" "\x35"
    "\xa6" "misses" "\x36"
    "\xa8" "releases" "\x37"
    "\xaf" "remote_releases" "\x38"
    "\xa7" "adopted" "\x87"
    "\xad" "blocks_in_use" "\x3c"
    "\xac" "bytes_in_use" "\x3d"
    "\xab" "allocations" "\x3e"
    "\xa4" "hits" "\x3f"
    "\xa6" "misses" "\x40"
    "\xa8" "releases" "\x41"
    "\xaf" "remote_releases" "\x42";
/* clang-format on */

struct packed {
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_packer packer;
};

static void packed_begin(struct packed *packed)
{
    packed->pool = test_pool_create(NULL);
    assert_int_equal(weir_buf_init(&packed->buf, packed->pool, NULL), 0);
    assert_int_equal(weir_pack_begin(&packed->packer, &packed->buf, 0), 0);
}

static void packed_end(struct packed *packed)
{
    weir_buf_fini(&packed->buf);
    test_pool_destroy(packed->pool);
}

static void packed_is(struct packed *packed, const char *bytes, size_t size)
{
    struct weir_view view;
    assert_int_equal(weir_pack_end(&packed->packer, &view), 0);
    assert_int_equal(view.size, size);
    assert_memory_equal(view.data, bytes, size);
    assert_int_equal(weir_check(view, NULL, NULL), 0);
    packed_end(packed);
}

static void counters_are_these_bytes(void **state)
{
    const struct weir_pool_stats stats = made_up();
    struct packed packed;

    (void)state;
    packed_begin(&packed);
    weir_pool_pack_stats(&packed.packer, &stats);
    packed_is(&packed, made_up_bytes, sizeof made_up_bytes - 1);
}

static void a_report_of_tags_is_these_bytes(void **state)
{
    static const char bytes[] = "\x93\x84\xa3tag\xa7session\xa6"
                                "blocks\x03\xa5"
                                "bytes\xcd\x02\x58"
                                "\xa9oldest_ns\xce\x03\x19\x75\x00"
                                "\x84\xa3tag\xc0\xa6"
                                "blocks\x01\xa5"
                                "bytes\x00"
                                "\xa9oldest_ns\xcf\xff\xff\xff\xff\xff\xff\xff\xff"
                                "\x84\xa3tag\xa0\xa6"
                                "blocks\x02\xa5"
                                "bytes\xcc\x80"
                                "\xa9oldest_ns\x00";
    struct packed packed;

    (void)state;
    packed_begin(&packed);
    weir_pool_pack_tags(&packed.packer, tags, 3);
    packed_is(&packed, bytes, sizeof bytes - 1);
    packed_begin(&packed);
    weir_pool_pack_tags(&packed.packer, NULL, 0);
    packed_is(&packed, "\x90", 1);
}

static void more_classes_than_there_can_be_are_an_error(void **state)
{
    struct weir_pool_stats stats = made_up();
    struct packed packed;

    (void)state;
    packed_begin(&packed);
    weir_pack_nil(&packed.packer);
    stats.class_count = WEIR_POOL_CLASSES_MAX + 1;
    weir_pool_pack_stats(&packed.packer, &stats);
    assert_int_equal(weir_pack_error(&packed.packer), -EINVAL);
    assert_int_equal(weir_pack_offset(&packed.packer), 1);
    assert_int_equal(weir_pack_end(&packed.packer, NULL), -EINVAL);
    assert_int_equal(weir_buf_size(&packed.buf), 0);
    packed_end(&packed);
}

/* The number of @key in the map at the cursor's start; fails the test if it is not there. */
static uint64_t number_of(struct weir_view map, const char *key)
{
    struct weir_unpacker u;
    struct weir_view name;
    uint32_t pairs;
    uint64_t value = 0;
    weir_unpack_init(&u, map, NULL);
    assert_int_equal(weir_unpack_map(&u, &pairs), 0);
    for (; pairs != 0; pairs--) {
        assert_int_equal(weir_unpack_str(&u, &name), 0);
        if (weir_view_equal(name, weir_view_text(key))) {
            assert_int_equal(weir_unpack_uint(&u, &value), 0);
            return value;
        }
        assert_int_equal(weir_unpack_skip(&u), 0);
    }
    fail_msg("there is no %s", key);
    return 0;
}

/* Of a pool in use: what was done to it is what the reader finds. */
static void a_reader_finds_what_a_pool_did(void **state)
{
    struct weir_pool_stats stats;
    struct weir_block *small, *large;
    struct packed packed;
    struct weir_view map;
    struct weir_pool *pool = test_pool_create(NULL);

    (void)state;
    assert_int_equal(weir_pool_alloc(pool, 100, &small), 0);
    assert_int_equal(weir_pool_alloc(pool, 100000, &large), 0);
    weir_block_drop(large);
    weir_pool_stats(pool, &stats);
    packed_begin(&packed);
    weir_pool_pack_stats(&packed.packer, &stats);
    assert_int_equal(weir_pack_end(&packed.packer, &map), 0);
    assert_int_equal(number_of(map, "allocations"), 2);
    assert_int_equal(number_of(map, "releases"), 1);
    assert_int_equal(number_of(map, "blocks_in_use"), 1);
    assert_int_equal(number_of(map, "bytes_in_use"), 256);
    assert_int_equal(number_of(map, "segments"), 1);
    assert_int_equal(number_of(map, "bytes_held"), stats.bytes_held);
    packed_end(&packed);
    weir_block_drop(small);
    test_pool_destroy(pool);
}

static void every_failed_allocation_leaves_the_buffer_as_it_was(void **state)
{
    static struct test_source source;
    const struct weir_buf_options options = {.initial_bytes = 64};
    const struct weir_pool_stats stats = made_up();
    uint64_t rounds = 0;

    (void)state;
    for (bool failed = true; failed; rounds++) {
        struct weir_packer packer;
        struct weir_buf buf;
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        test_source_fail(&source, rounds + 1);
        assert_int_equal(weir_buf_init(&buf, pool, &options), 0);
        weir_pack_begin(&packer, &buf, 0);
        weir_pool_pack_stats(&packer, &stats);
        int rc = weir_pack_end(&packer, NULL);
        failed = source.failures != 0;
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        assert_int_equal(weir_buf_size(&buf), failed ? 0 : sizeof made_up_bytes - 1);
        test_source_fail(&source, 0);
        weir_buf_fini(&buf);
        test_pool_destroy(pool);
        test_source_fini(&source);
    }
    assert_true(rounds >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_are_these_bytes),
        cmocka_unit_test(a_report_of_tags_is_these_bytes),
        cmocka_unit_test(more_classes_than_there_can_be_are_an_error),
        cmocka_unit_test(a_reader_finds_what_a_pool_did),
        cmocka_unit_test(every_failed_allocation_leaves_the_buffer_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
