/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <msgpack.h>

#include <weir/bulk.h>

#include "../lib/buf_private.h"
#include "../lib/bulk_private.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

/* More than any way takes at once, several times. */
#define COUNT_MAX 400u
#define BYTES_MAX (5 + 9 * COUNT_MAX)

/* --- types and ways -------------------------------------------------------------------------- */

static const struct type {
    const char *name;
    unsigned bytes;
    bool is_signed;
    bool is_float;
} types[WEIR__BULK_TYPES] = {
    {"u8", 1, false, false},
    {"u16", 2, false, false},
    {"u32", 4, false, false},
    {"u64", 8, false, false},
    {"i8", 1, true, false},
    {"i16", 2, true, false},
    {"i32", 4, true, false},
    {"i64", 8, true, false},
    {"f32", 4, false, true},
    {"f64", 8, false, true},
};

/* Calls @check for every way of this processor and every type. */
static void for_all(void (*check)(const struct weir__bulk_way *way, enum weir__bulk_type type,
                                  struct test_random *random),
                    struct test_random *random)
{
    const struct weir__bulk_way *way;

    for (unsigned i = 0; (way = weir__bulk_way(i)) != NULL; i++) {
        for (unsigned type = 0; type < WEIR__BULK_TYPES; type++)
            check(way, (enum weir__bulk_type)type, random);
    }
}

/* The low bits of @bits as an element of the type, back in 64 bits, sign-extended if signed. */
static uint64_t narrow(const struct type *type, uint64_t bits)
{
    unsigned spare = 64 - 8 * type->bytes;

    if (type->is_signed)
        return (uint64_t)((int64_t)(bits << spare) >> spare);
    return bits << spare >> spare;
}

/* Through a variable of the element's own size: processors differ in the order of its bytes. */
static void put_element(const struct type *type, uint8_t *at, uint64_t bits)
{
    uint8_t u8 = (uint8_t)bits;
    uint16_t u16 = (uint16_t)bits;
    uint32_t u32 = (uint32_t)bits;
    const void *from = type->bytes == 1   ? (const void *)&u8
                       : type->bytes == 2 ? (const void *)&u16
                       : type->bytes == 4 ? (const void *)&u32
                                          : (const void *)&bits;

    memcpy(at, from, type->bytes);
}

static uint64_t get_element(const struct type *type, const uint8_t *at)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (type->bytes) {
    case 1:
        memcpy(&u8, at, sizeof(u8));
        return narrow(type, u8);
    case 2:
        memcpy(&u16, at, sizeof(u16));
        return narrow(type, u16);
    case 4:
        memcpy(&u32, at, sizeof(u32));
        return narrow(type, u32);
    default:
        memcpy(&u64, at, sizeof(u64));
        return u64;
    }
}

/* How the values of an array are spread. */
enum spread { SMALL, MIXED, BOUNDARY, WIDE, NEGATIVE, MOSTLY_SMALL, RUNS, SPREADS };

static uint64_t random_bits(struct test_random *random, enum spread spread, size_t i)
{
    uint64_t bits = test_random(random);

    switch (spread) {
    case SMALL:
        return bits % 128;
    case MIXED:
        bits >>= bits % 64;
        return test_random_below(random, 2) ? bits : 0 - bits;
    case BOUNDARY:
        return (bits & 128 ? UINT64_C(1) << bits % 64 : 0 - (UINT64_C(1) << bits % 64)) +
               test_random_below(random, 5) - 2;
    case WIDE:
        return bits | UINT64_C(0x4040404040404040);
    case NEGATIVE:
        return ~(bits % 40);
    case MOSTLY_SMALL:
        return bits % 32 == 0 ? bits : bits % 97;
    default:
        return UINT64_C(1) << (i / 50 * 9 % 64);
    }
}

/* --- memory that ends where it ends ---------------------------------------------------------- */

/* Bytes behind which a page begins that nobody may touch. A sanitizer does not see all that vectors
 * load and store. */
struct fence {
    uint8_t *memory;
    size_t size_bytes;
};

static struct fence fence_create(size_t size_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = (size_bytes + page - 1) / page;
    struct fence fence = {NULL, pages * page};
    void *memory = mmap(
        NULL, fence.size_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(memory != MAP_FAILED);
    fence.memory = memory;
    assert_int_equal(mprotect(fence.memory + fence.size_bytes, page, PROT_NONE), 0);
    return fence;
}

static void fence_destroy(struct fence fence)
{
    munmap(fence.memory, fence.size_bytes + (size_t)sysconf(_SC_PAGESIZE));
}

/* The last @size_bytes before the fence, with a copy of @from there unless it is NULL. */
static uint8_t *at_fence(struct fence fence, const void *from, size_t size_bytes)
{
    uint8_t *at = fence.memory + fence.size_bytes - size_bytes;

    assert_true(size_bytes <= fence.size_bytes);
    if (from != NULL && size_bytes != 0)
        memcpy(at, from, size_bytes);
    return at;
}

/* --- packing --------------------------------------------------------------------------------- */

struct fixture {
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_packer packer;
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

/* One call per element: what the array must be. */
static void pack_each(struct weir_packer *packer, const struct type *type, const uint8_t *values,
                      size_t count)
{
    weir_pack_array(packer, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = get_element(type, values + i * type->bytes);
        uint32_t bits32 = (uint32_t)bits;
        float f32;
        double f64;
        memcpy(&f32, &bits32, sizeof(f32));
        memcpy(&f64, &bits, sizeof(f64));
        if (type->is_float && type->bytes == 4)
            weir_pack_f32(packer, f32);
        else if (type->is_float)
            weir_pack_f64(packer, f64);
        else if (type->is_signed)
            weir_pack_int(packer, (int64_t)bits);
        else
            weir_pack_uint(packer, bits);
    }
}

/* The same in memory of its own; @f is empty before and after. */
static size_t packed_each(struct fixture *f, const struct type *type, const uint8_t *values,
                          size_t count, uint8_t *ret)
{
    struct weir_view message;

    assert_int_equal(weir_pack_begin(&f->packer, &f->buf, 0), 0);
    pack_each(&f->packer, type, values, count);
    assert_int_equal(weir_pack_end(&f->packer, &message), 0);
    assert_true(message.size <= BYTES_MAX);
    memcpy(ret, message.data, message.size);
    weir_buf_reset(&f->buf);
    return message.size;
}

static void assert_bytes(struct weir_view got, const uint8_t *wanted, size_t size)
{
    assert_int_equal(got.size, size);
    assert_memory_equal(got.data, wanted, size);
}

/* A limit that leaves just the room for it, and one byte less, which does not. */
static void pack_within(const struct weir__bulk_way *way, enum weir__bulk_type type,
                        const uint8_t *values, size_t count, struct weir_view wanted)
{
    for (size_t missing = 0; missing < 2; missing++) {
        struct weir_buf_options options = {.limit_bytes = 4 + wanted.size - missing};
        struct weir_view message = {NULL, 77};
        struct fixture f;

        begin(&f, &options);
        assert_int_equal(weir_buf_append(&f.buf, VIEW("xyz")), 0);
        assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 0), 0);
        weir_pack_nil(&f.packer);
        weir__bulk_pack(&f.packer, way, type, values, count);
        if (missing == 0) {
            assert_int_equal(weir_pack_offset(&f.packer), 1 + wanted.size);
            assert_int_equal(weir_pack_end(&f.packer, &message), 0);
            assert_bytes(
                weir_view_of(message.data + 1, message.size - 1), wanted.data, wanted.size);
        } else {
            assert_int_equal(weir_pack_error(&f.packer), -ENOBUFS);
            assert_int_equal(weir_pack_offset(&f.packer), 1);
            weir__bulk_pack(&f.packer, way, type, values, count);
            assert_int_equal(weir_pack_offset(&f.packer), 1);
            assert_int_equal(weir_pack_end(&f.packer, &message), -ENOBUFS);
            assert_int_equal(message.size, 77);
            assert_int_equal(weir_buf_size(&f.buf), 3);
        }
        end(&f);
    }
}

static void check_packing(const struct weir__bulk_way *way, enum weir__bulk_type type,
                          struct test_random *random)
{
    static uint8_t wanted[BYTES_MAX];
    uint8_t made[8 * COUNT_MAX];
    struct fence fence = fence_create(sizeof(made));
    struct fixture f, each;

    begin(&f, NULL);
    begin(&each, NULL);
    for (size_t round = 0; round < 30 * SPREADS; round++) {
        size_t count = round < 140 ? round : test_random_below(random, COUNT_MAX + 1);
        struct weir_view message;
        for (size_t i = 0; i < count; i++)
            put_element(&types[type],
                        made + i * types[type].bytes,
                        random_bits(random, (enum spread)(round % SPREADS), i));
        const uint8_t *values = at_fence(fence, made, count * types[type].bytes);
        size_t size = packed_each(&each, &types[type], values, count, wanted);
        assert_int_equal(weir_pack_begin(&f.packer, &f.buf, round % 3 ? 0 : 2 * BYTES_MAX), 0);
        weir__bulk_pack(&f.packer, way, type, values, count);
        assert_int_equal(weir_pack_offset(&f.packer), size);
        assert_int_equal(weir_pack_end(&f.packer, &message), 0);
        assert_bytes(message, wanted, size);
        assert_null(weir__buf_check(&f.buf));
        if (count < 40 || round % 4 == 0)
            pack_within(way, type, values, count, weir_view_of(wanted, size));
        if (round % 5 == 0)
            weir_buf_reset(&f.buf);
    }
    end(&f);
    end(&each);
    fence_destroy(fence);
}

static void every_way_packs_what_a_call_per_element_packs(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for_all(check_packing, &random);
}

static void check_packing_ones(const struct weir__bulk_way *way, enum weir__bulk_type type,
                               struct test_random *random)
{
    static uint8_t wanted[BYTES_MAX];
    uint8_t values[8 * 128];
    struct fixture f;

    (void)random;
    begin(&f, NULL);
    for (unsigned bit = 0; bit < 8 * types[type].bytes; bit++) {
        for (uint64_t step = 0; step <= 80; step++) {
            uint64_t power = UINT64_C(1) << bit;
            for (size_t i = 0; i < 128; i++)
                put_element(&types[type],
                            values + i * types[type].bytes,
                            (i % 2 ? power : 0 - power) + step - 40);
            struct weir_view message;
            size_t size = packed_each(&f, &types[type], values, 128, wanted);
            assert_int_equal(weir_pack_begin(&f.packer, &f.buf, 2000), 0);
            weir__bulk_pack(&f.packer, way, type, values, 128);
            assert_int_equal(weir_pack_end(&f.packer, &message), 0);
            assert_bytes(message, wanted, size);
            weir_buf_reset(&f.buf);
        }
    }
    end(&f);
}

static void every_boundary_is_packed_as_by_a_call_per_element(void **state)
{
    (void)state;
    for_all(check_packing_ones, NULL);
}

/* By MessagePack-C. */
static void pack_theirs(msgpack_packer *packer, enum weir__bulk_type type, const uint8_t *values,
                        size_t count)
{
    msgpack_pack_array(packer, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = get_element(&types[type], values + i * types[type].bytes);
        uint32_t bits32 = (uint32_t)bits;
        float f32;
        double f64;
        memcpy(&f32, &bits32, sizeof(f32));
        memcpy(&f64, &bits, sizeof(f64));
        if (type == WEIR__BULK_F32)
            msgpack_pack_float(packer, f32);
        else if (type == WEIR__BULK_F64)
            msgpack_pack_double(packer, f64);
        else if (types[type].is_signed)
            msgpack_pack_int64(packer, (int64_t)bits);
        else
            msgpack_pack_uint64(packer, bits);
    }
}

/* The public function of the type. */
static void pack_public(struct weir_packer *packer, enum weir__bulk_type type, const void *values,
                        size_t count)
{
    switch (type) {
    case WEIR__BULK_U8:
        weir_pack_array_u8(packer, values, count);
        break;
    case WEIR__BULK_U16:
        weir_pack_array_u16(packer, values, count);
        break;
    case WEIR__BULK_U32:
        weir_pack_array_u32(packer, values, count);
        break;
    case WEIR__BULK_U64:
        weir_pack_array_u64(packer, values, count);
        break;
    case WEIR__BULK_I8:
        weir_pack_array_i8(packer, values, count);
        break;
    case WEIR__BULK_I16:
        weir_pack_array_i16(packer, values, count);
        break;
    case WEIR__BULK_I32:
        weir_pack_array_i32(packer, values, count);
        break;
    case WEIR__BULK_I64:
        weir_pack_array_i64(packer, values, count);
        break;
    case WEIR__BULK_F32:
        weir_pack_array_f32(packer, values, count);
        break;
    case WEIR__BULK_F64:
        weir_pack_array_f64(packer, values, count);
        break;
    }
}

static int unpack_public(struct weir_unpacker *unpacker, enum weir__bulk_type type, void *ret,
                         size_t capacity, size_t *ret_count)
{
    switch (type) {
    case WEIR__BULK_U8:
        return weir_unpack_array_u8(unpacker, ret, capacity, ret_count);
    case WEIR__BULK_U16:
        return weir_unpack_array_u16(unpacker, ret, capacity, ret_count);
    case WEIR__BULK_U32:
        return weir_unpack_array_u32(unpacker, ret, capacity, ret_count);
    case WEIR__BULK_U64:
        return weir_unpack_array_u64(unpacker, ret, capacity, ret_count);
    case WEIR__BULK_I8:
        return weir_unpack_array_i8(unpacker, ret, capacity, ret_count);
    case WEIR__BULK_I16:
        return weir_unpack_array_i16(unpacker, ret, capacity, ret_count);
    case WEIR__BULK_I32:
        return weir_unpack_array_i32(unpacker, ret, capacity, ret_count);
    case WEIR__BULK_I64:
        return weir_unpack_array_i64(unpacker, ret, capacity, ret_count);
    case WEIR__BULK_F32:
        return weir_unpack_array_f32(unpacker, ret, capacity, ret_count);
    default:
        return weir_unpack_array_f64(unpacker, ret, capacity, ret_count);
    }
}

static void large_arrays_are_as_MessagePack_C_packs_them_and_come_back(void **state)
{
    enum { COUNT = 70001 };
    static uint64_t values[COUNT], back[COUNT];
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (unsigned t = 0; t < WEIR__BULK_TYPES; t++) {
        for (unsigned spread = 0; spread < SPREADS; spread++) {
            size_t bytes = types[t].bytes;
            struct weir_view message;
            struct weir_unpacker u;
            msgpack_sbuffer theirs;
            msgpack_packer packer;
            struct fixture f;
            size_t count = 0;

            for (size_t i = 0; i < COUNT; i++)
                put_element(&types[t],
                            (uint8_t *)values + i * bytes,
                            random_bits(&random, (enum spread)spread, i));
            begin(&f, NULL);
            msgpack_sbuffer_init(&theirs);
            msgpack_packer_init(&packer, &theirs, msgpack_sbuffer_write);
            pack_theirs(&packer, (enum weir__bulk_type)t, (const uint8_t *)values, COUNT);
            weir_pack_begin(&f.packer, &f.buf, 0);
            pack_public(&f.packer, (enum weir__bulk_type)t, values, COUNT);
            assert_int_equal(weir_pack_end(&f.packer, &message), 0);
            assert_bytes(message, (const uint8_t *)theirs.data, theirs.size);
            /* Nothing is packed twice: the exact size was reserved. */
            assert_int_equal(weir_buf_bytes_copied(&f.buf), 0);
            weir_unpack_init(&u, message, NULL);
            assert_int_equal(unpack_public(&u, (enum weir__bulk_type)t, back, COUNT, &count), 0);
            assert_int_equal(count, COUNT);
            assert_int_equal(weir_unpack_end(&u), 0);
            assert_memory_equal(back, values, COUNT * bytes);
            msgpack_sbuffer_destroy(&theirs);
            end(&f);
        }
    }
}

static void small_arrays_have_their_golden_bytes(void **state)
{
    const uint8_t u8[] = {0, 127, 128, 255};
    const int8_t i8[] = {0, 127, -1, -32, -33, -128};
    const uint16_t u16[] = {1, 255, 256, 65535};
    const int16_t i16[] = {-128, -129, 128, 32767, -32768};
    const uint32_t u32[] = {65535, 65536, 4294967295};
    const int32_t i32[] = {-32769, INT32_MIN, INT32_MAX};
    const uint64_t u64[] = {4294967296, UINT64_MAX};
    const int64_t i64[] = {INT64_MIN, (int64_t)INT32_MIN - 1, INT64_MAX};
    const float f32[] = {1.5f, -0.0f};
    const double f64[] = {1.5};
    const struct weir_view wanted =
        VIEW("\x94\x00\x7f\xcc\x80\xcc\xff"
             "\x96\x00\x7f\xff\xe0\xd0\xdf\xd0\x80"
             "\x94\x01\xcc\xff\xcd\x01\x00\xcd\xff\xff"
             "\x95\xd0\x80\xd1\xff\x7f\xcc\x80\xcd\x7f\xff\xd1\x80\x00"
             "\x93\xcd\xff\xff\xce\x00\x01\x00\x00\xce\xff\xff\xff\xff"
             "\x93\xd2\xff\xff\x7f\xff\xd2\x80\x00\x00\x00\xce\x7f\xff\xff\xff"
             "\x92\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xcf\xff\xff\xff\xff\xff\xff\xff\xff"
             "\x93\xd3\x80\x00\x00\x00\x00\x00\x00\x00\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"
             "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"
             "\x92\xca\x3f\xc0\x00\x00\xca\x80\x00\x00\x00"
             "\x91\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"
             "\x90");
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    weir_pack_begin(&f.packer, &f.buf, 0);
    weir_pack_array_u8(&f.packer, u8, 4);
    weir_pack_array_i8(&f.packer, i8, 6);
    weir_pack_array_u16(&f.packer, u16, 4);
    weir_pack_array_i16(&f.packer, i16, 5);
    weir_pack_array_u32(&f.packer, u32, 3);
    weir_pack_array_i32(&f.packer, i32, 3);
    weir_pack_array_u64(&f.packer, u64, 2);
    weir_pack_array_i64(&f.packer, i64, 3);
    weir_pack_array_f32(&f.packer, f32, 2);
    weir_pack_array_f64(&f.packer, f64, 1);
    weir_pack_array_u8(&f.packer, NULL, 0);
    assert_int_equal(weir_pack_end(&f.packer, &message), 0);
    assert_bytes(message, wanted.data, wanted.size);
    end(&f);
}

static void more_than_an_array_can_count_is_refused(void **state)
{
#if SIZE_MAX > UINT32_MAX
    struct weir_view huge = {NULL, (size_t)UINT32_MAX + 1};
    struct weir_view near_max[2] = {{NULL, SIZE_MAX - 5}, {NULL, 5}};
    struct weir_view large[3] = {{NULL, UINT32_MAX}, {NULL, SIZE_MAX}, {NULL, 0}};
    const size_t count = (size_t)UINT32_MAX + 1;
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    for (unsigned t = 0; t < WEIR__BULK_TYPES + 4; t++) {
        weir_pack_begin(&f.packer, &f.buf, 0);
        weir_pack_nil(&f.packer);
        if (t < WEIR__BULK_TYPES)
            pack_public(&f.packer, (enum weir__bulk_type)t, NULL, count);
        else if (t == WEIR__BULK_TYPES)
            weir_pack_array_str(&f.packer, NULL, count);
        else if (t == WEIR__BULK_TYPES + 1)
            weir_pack_array_str(&f.packer, &huge, 1);
        else if (t == WEIR__BULK_TYPES + 2)
            weir_pack_array_str(&f.packer, near_max, 2);
        else
            weir_pack_array_str(&f.packer, large, 3);
        assert_int_equal(weir_pack_error(&f.packer), -EOVERFLOW);
        assert_int_equal(weir_pack_offset(&f.packer), 1);
        assert_int_equal(weir_pack_end(&f.packer, NULL), -EOVERFLOW);
        assert_int_equal(weir_buf_size(&f.buf), 0);
    }
    end(&f);
#else
    (void)state;
#endif
}

static int pack_from(struct weir_pool *pool)
{
    static const uint32_t values[3000] = {1, 70000, 300};
    static const struct weir_view strs[40] = {{(const uint8_t *)"weir", 4}};
    struct weir_packer packer;
    struct weir_buf buf;
    int rc = weir_buf_init(&buf, pool, &(struct weir_buf_options){.initial_bytes = 64});

    if (rc != 0)
        return rc;
    weir_pack_begin(&packer, &buf, 0);
    weir_pack_nil(&packer);
    weir_pack_array_u32(&packer, values, 3000);
    weir_pack_array_str(&packer, strs, 40);
    weir_pack_array_f64(&packer, (const double[20]){1.5}, 20);
    rc = weir_pack_end(&packer, NULL);
    assert_int_equal(weir_buf_size(&buf), rc == 0 ? 1 + 3 + 3000 + 6 + 3 + 44 + 3 + 180 : 0);
    assert_null(weir__buf_check(&buf));
    weir_buf_fini(&buf);
    return rc;
}

static void when_memory_runs_out_nothing_was_packed(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct test_source source;
        struct weir_pool *pool;
        test_source_init(&source);
        test_source_fail(&source, n);
        int rc = weir_pool_create(&(struct weir_pool_options){.source = &source.source}, &pool);
        if (rc == 0) {
            rc = pack_from(pool);
            test_pool_destroy(pool);
        }
        test_source_fini(&source);
        assert_int_equal(rc, source.failures != 0 ? -ENOMEM : 0);
        if (source.failures == 0)
            break;
    }
}

/* --- unpacking ------------------------------------------------------------------------------- */

/* What reading the elements one after the other gives, with typed reads of the plain cursor. */
static int unpack_each(struct weir_unpacker *u, const struct type *type, uint8_t *ret,
                       size_t *ret_offset)
{
    uint64_t max = type->is_signed ? UINT64_MAX >> (65 - 8 * type->bytes)
                                   : UINT64_MAX >> (64 - 8 * type->bytes);
    uint32_t count;
    int rc = weir_unpack_array(u, &count);

    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        size_t offset = weir_unpack_offset(u);
        uint64_t bits = 0;
        int64_t number;
        float f32;
        double f64;
        if (type->is_float && type->bytes == 4) {
            rc = weir_unpack_f32(u, &f32);
            if (rc == 0)
                memcpy(ret + i * 4, &f32, 4);
            continue;
        }
        if (type->is_float) {
            rc = weir_unpack_f64(u, &f64);
            if (rc == 0)
                memcpy(ret + i * 8, &f64, 8);
            continue;
        }
        if (type->is_signed) {
            rc = weir_unpack_int(u, &number);
            if (rc == 0 && (number > (int64_t)max || number < -(int64_t)max - 1)) {
                *ret_offset = offset;
                return -EOVERFLOW;
            }
            bits = rc == 0 ? (uint64_t)number : 0;
        } else {
            rc = weir_unpack_uint(u, &bits);
            if (rc == 0 && bits > max) {
                *ret_offset = offset;
                return -EOVERFLOW;
            }
        }
        if (rc == 0)
            put_element(type, ret + i * type->bytes, bits);
    }
    *ret_offset = weir_unpack_offset(u);
    return rc;
}

/* Whether the way reads @input as the plain cursor does; with the same error at the same byte. */
static int compare_unpacking(const struct weir__bulk_way *way, enum weir__bulk_type type,
                             struct weir_view input, uint64_t elements)
{
    static uint8_t wanted[8 * (COUNT_MAX + 20)], got[8 * (COUNT_MAX + 20)];
    struct weir_limits limits = {.elements = elements};
    struct weir_unpacker plain, bulk, head;
    uint32_t announced = 0;
    size_t offset = 0;
    size_t count = 77;
    size_t bytes = types[type].bytes;

    memset(wanted, 0xa5, sizeof(wanted));
    memset(got, 0xa5, sizeof(got));
    weir_unpack_init(&head, input, &limits);
    weir_unpack_array(&head, &announced);
    weir_unpack_init(&plain, input, &limits);
    weir_unpack_init(&bulk, input, &limits);
    int rc = announced <= COUNT_MAX ? unpack_each(&plain, &types[type], wanted, &offset) : -ENOBUFS;
    assert_int_equal(weir__bulk_unpack(&bulk, way, type, got, COUNT_MAX, &count), rc);
    assert_int_equal(weir_unpack_error(&bulk), rc);
    assert_int_equal(weir_unpack_offset(&bulk), offset);
    assert_int_equal(count, rc == 0 ? announced : 77);
    if (rc == 0) {
        assert_memory_equal(got, wanted, sizeof(got));
        assert_true(bulk.elements_left == plain.elements_left);
    } else {
        /* Behind the array nothing was written; nothing at all where its head is wrong. */
        size_t touched = head.error == 0 && announced <= COUNT_MAX ? announced : 0;
        for (size_t i = touched * bytes; i < sizeof(got); i++)
            assert_int_equal(got[i], 0xa5);
        assert_int_equal(weir__bulk_unpack(&bulk, way, type, got, COUNT_MAX, &count), rc);
        assert_int_equal(weir_unpack_offset(&bulk), offset);
    }
    return rc;
}

/* One integer in a given form; false: it does not fit. Forms: 0 fixint, 1..4 uint, 5..8 int. */
static bool put_form(uint8_t *at, uint64_t bits, bool below_0, unsigned form, size_t *ret_bytes)
{
    static const uint8_t tags[] = {0, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3};
    size_t bytes = form == 0 ? 0 : (size_t)1 << (form - 1) % 4;
    int64_t number = (int64_t)bits;

    if (form == 0) {
        at[0] = (uint8_t)bits;
        *ret_bytes = 1;
        return below_0 ? number >= -32 : bits < 128;
    }
    if (form <= 4 && (below_0 || (bytes < 8 && bits >> 8 * bytes != 0)))
        return false;
    if (form > 4) {
        int64_t limit = INT64_MAX >> (64 - 8 * bytes);
        if (below_0 ? number < -limit - 1 : bits > (uint64_t)limit)
            return false;
    }
    at[0] = tags[form];
    for (size_t i = 0; i < bytes; i++)
        at[1 + i] = (uint8_t)(bits >> 8 * (bytes - 1 - i));
    *ret_bytes = 1 + bytes;
    return true;
}

/* An array of elements that fit the type, in forms of any kind if @any, else in the shortest. */
static size_t make_input(const struct type *type, struct test_random *random, enum spread spread,
                         size_t count, bool any, uint8_t *ret)
{
    size_t size = 3;

    ret[0] = 0xdc;
    ret[1] = (uint8_t)(count >> 8);
    ret[2] = (uint8_t)count;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = narrow(type, random_bits(random, spread, i));
        bool below_0 = type->is_signed && (int64_t)bits < 0;
        bool narrower = any && type->bytes == 8 && test_random_below(random, 2);
        size_t bytes = 0;
        if (type->is_float) {
            bytes = type->bytes == 4 || narrower ? 4 : 8;
            ret[size] = bytes == 4 ? 0xca : 0xcb;
            for (size_t b = 0; b < bytes; b++)
                ret[size + 1 + b] = (uint8_t)(bits >> 8 * (bytes - 1 - b));
            size += 1 + bytes;
            continue;
        }
        unsigned form = any ? (unsigned)test_random_below(random, 9) : 0;
        while (!put_form(ret + size, bits, below_0, form, &bytes))
            form = (form + 1) % 9;
        size += bytes;
    }
    return size;
}

static void check_unpacking(const struct weir__bulk_way *way, enum weir__bulk_type type,
                            struct test_random *random)
{
    static uint8_t made[BYTES_MAX + 64];
    struct fence fence = fence_create(sizeof(made));

    for (size_t round = 0; round < 60 * SPREADS; round++) {
        size_t count = round < 140 ? round : test_random_below(random, COUNT_MAX + 1);
        bool any = round / SPREADS % 2;
        size_t size =
            make_input(&types[type], random, (enum spread)(round % SPREADS), count, any, made);
        /* At the end of what may be read, and with another value behind it. */
        struct weir_view input = weir_view_of(at_fence(fence, made, size), size);
        assert_int_equal(compare_unpacking(way, type, input, 0), 0);
        made[size] = 0xcf;
        input = weir_view_of(made, sizeof(made));
        assert_int_equal(compare_unpacking(way, type, input, 0), 0);
    }
    fence_destroy(fence);
}

static void every_way_reads_every_form_as_the_cursor_does(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for_all(check_unpacking, &random);
}

static void check_truncation(const struct weir__bulk_way *way, enum weir__bulk_type type,
                             struct test_random *random)
{
    static uint8_t made[BYTES_MAX + 64];
    struct fence fence = fence_create(sizeof(made));

    for (unsigned spread = 0; spread < SPREADS; spread++) {
        size_t count = 90;
        size_t size =
            make_input(&types[type], random, (enum spread)spread, count, spread % 2, made);
        for (size_t cut = 0; cut < size; cut++) {
            struct weir_view input = weir_view_of(at_fence(fence, made, cut), cut);
            assert_int_equal(compare_unpacking(way, type, input, 0), -EAGAIN);
        }
        /* And every budget. */
        for (uint64_t elements = 1; elements <= count; elements++) {
            struct weir_view input = weir_view_of(made, size);
            assert_int_equal(compare_unpacking(way, type, input, elements), -ENOBUFS);
        }
        assert_int_equal(compare_unpacking(way, type, weir_view_of(made, size), count + 1), 0);
    }
    fence_destroy(fence);
}

static void every_truncation_and_every_budget_ends_where_the_cursor_ends(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for_all(check_truncation, &random);
}

/* Elements that are wrong in an array of the type: what and with which error. */
struct fault {
    struct weir_view bytes;
    int error;
};

static int fault_error(const struct type *type, const struct fault *fault)
{
    bool is_integer = fault->error == -EOVERFLOW;

    /* What is too large for an integer is none of a float's. */
    return type->is_float && is_integer ? -EPROTO : fault->error;
}

static void check_faults(const struct weir__bulk_way *way, enum weir__bulk_type type,
                         struct test_random *random)
{
    static uint8_t made[BYTES_MAX + 64];
    const struct type *t = &types[type];
    /* Just too large, and just too small, in the form where it is seen first. */
    const struct weir_view large[] = {VIEW("\xcd\x01\x00"),
                                      VIEW("\xce\x00\x01\x00\x00"),
                                      VIEW("\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
                                      VIEW("\xff"),
                                      VIEW("\xcc\x80"),
                                      VIEW("\xcd\x80\x00"),
                                      VIEW("\xce\x80\x00\x00\x00"),
                                      VIEW("\xcf\x80\x00\x00\x00\x00\x00\x00\x00")};
    const struct weir_view small[] = {VIEW("\xd0\xff"),
                                      VIEW("\xd1\xff\xff"),
                                      VIEW("\xe0"),
                                      VIEW("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"),
                                      VIEW("\xd1\xff\x7f"),
                                      VIEW("\xd2\xff\xff\x7f\xff"),
                                      VIEW("\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
                                      VIEW("\xcf\xff\xff\xff\xff\xff\xff\xff\xff")};
    const struct fault faults[] = {
        {VIEW("\xc0"), -EPROTO},
        {VIEW("\xc1"), -EBADMSG},
        {VIEW("\xc3"), -EPROTO},
        {VIEW("\x80"), -EPROTO},
        {VIEW("\x9f"), -EPROTO},
        {VIEW("\xa1"), -EPROTO},
        {VIEW("\xbf"), -EPROTO},
        {VIEW("\xd4"), -EPROTO},
        {VIEW("\xdf"), -EPROTO},
        {t->is_float ? VIEW("\x07") : VIEW("\xcb"), -EPROTO},
        {t->is_float && t->bytes == 8 ? VIEW("\xcc")
         : t->is_float                ? VIEW("\xcb")
                                      : VIEW("\xca"),
         -EPROTO},
        {t->is_float ? VIEW("\xcf") : large[type], -EOVERFLOW},
        {t->is_float ? VIEW("\xff") : small[type], -EOVERFLOW},
    };

    for (size_t kind = 0; kind < sizeof(faults) / sizeof(faults[0]); kind++) {
        for (size_t at = 0; at < 90; at++) {
            enum spread spread = (enum spread)((at + kind) % SPREADS);
            size_t size = make_input(t, random, spread, at, at % 2, made);
            made[2] = 200;
            memcpy(made + size, faults[kind].bytes.data, faults[kind].bytes.size);
            memset(made + size + faults[kind].bytes.size, 1, 400);
            struct weir_view input = weir_view_of(made, size + 500);
            struct weir_unpacker u;
            size_t count = 77;
            uint8_t ret[8 * 200];
            int error = fault_error(t, &faults[kind]);
            assert_int_equal(compare_unpacking(way, type, input, 0), error);
            weir_unpack_init(&u, input, NULL);
            assert_int_equal(weir__bulk_unpack(&u, way, type, ret, 200, &count), error);
            assert_int_equal(weir_unpack_offset(&u), size);
            assert_int_equal(count, 77);
        }
    }
}

static void an_element_that_is_wrong_is_told_with_its_offset(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for_all(check_faults, &random);
}

static void check_noise(const struct weir__bulk_way *way, enum weir__bulk_type type,
                        struct test_random *random)
{
    static uint8_t made[BYTES_MAX + 64];
    struct fence fence = fence_create(sizeof(made));

    /* Valid arrays with some bytes changed. */
    for (unsigned round = 0; round < 2000; round++) {
        size_t count = test_random_below(random, 200);
        size_t size = make_input(
            &types[type], random, (enum spread)(round % SPREADS), count, round % 2, made);
        for (unsigned change = 0; change < 1 + round % 3; change++)
            made[test_random_below(random, size)] = (uint8_t)test_random(random);
        compare_unpacking(way, type, weir_view_of(at_fence(fence, made, size), size), 0);
    }
    fence_destroy(fence);
}

static void changed_bytes_are_judged_as_by_the_cursor(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for_all(check_noise, &random);
}

static void an_array_that_is_too_long_is_left_alone(void **state)
{
    struct weir_view input = VIEW("\xc0\x93\x01\x02\x03\xc0");

    (void)state;
    for (unsigned t = 0; t < WEIR__BULK_TYPES; t++) {
        uint8_t ret[8 * 3];
        struct weir_unpacker u;
        size_t count = 77;
        memset(ret, 0xa5, sizeof(ret));
        for (size_t capacity = 0; capacity < 3; capacity++) {
            weir_unpack_init(&u, input, NULL);
            assert_int_equal(weir_unpack_nil(&u), 0);
            assert_int_equal(
                unpack_public(&u, (enum weir__bulk_type)t, capacity ? ret : NULL, capacity, &count),
                -ENOBUFS);
            assert_int_equal(weir_unpack_offset(&u), 1);
            assert_int_equal(weir_unpack_end(&u), -ENOBUFS);
            assert_int_equal(count, 77);
            for (size_t i = 0; i < sizeof(ret); i++)
                assert_int_equal(ret[i], 0xa5);
        }
        weir_unpack_init(&u, input, NULL);
        assert_int_equal(unpack_public(&u, (enum weir__bulk_type)t, ret, 3, &count), -EPROTO);
        assert_int_equal(weir_unpack_offset(&u), 0);
    }
}

static void an_empty_array_needs_no_memory(void **state)
{
    (void)state;
    for (unsigned t = 0; t < WEIR__BULK_TYPES; t++) {
        struct weir_unpacker u;
        size_t count = 77;
        weir_unpack_init(&u, VIEW("\x90"), NULL);
        assert_int_equal(unpack_public(&u, (enum weir__bulk_type)t, NULL, 0, &count), 0);
        assert_int_equal(count, 0);
        assert_int_equal(weir_unpack_end(&u), 0);
    }
}

static void floats_32_are_widened_for_an_array_of_doubles(void **state)
{
    struct weir_view input = VIEW("\x93\xca\x3f\xc0\x00\x00\xcb\xbf\xf8\x00\x00\x00\x00\x00\x00"
                                  "\xca\x7f\x80\x00\x00");
    struct weir_unpacker u;
    double doubles[3];
    float floats[3];
    size_t count = 0;

    (void)state;
    weir_unpack_init(&u, input, NULL);
    assert_int_equal(weir_unpack_array_f64(&u, doubles, 3, &count), 0);
    assert_int_equal(count, 3);
    assert_true(doubles[0] == 1.5 && doubles[1] == -1.5 && doubles[2] > 1e308);
    weir_unpack_init(&u, input, NULL);
    assert_int_equal(weir_unpack_array_f32(&u, floats, 3, &count), -EPROTO);
    assert_int_equal(weir_unpack_offset(&u), 6);
}

/* --- strings --------------------------------------------------------------------------------- */

static void strs_are_packed_as_one_by_one_and_read_in_place(void **state)
{
    static const size_t sizes[] = {
        0, 1, 2, 4, 7, 8, 15, 16, 31, 32, 33, 255, 256, 257, 300, 65535, 65536, 5};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    struct weir_view strs[COUNT], back[COUNT + 1], message, wanted;
    char *text = malloc(65536);
    struct weir_unpacker u;
    size_t count = 0;
    struct fixture f;

    (void)state;
    assert_non_null(text);
    test_fill(text, 65536, 1);
    begin(&f, NULL);
    weir_pack_begin(&f.packer, &f.buf, 0);
    weir_pack_array(&f.packer, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        size_t from = sizes[i] < 60000 ? i : 0;
        strs[i] = sizes[i] != 0 ? weir_view_of(text + from, sizes[i]) : weir_view_of(NULL, 0);
        weir_pack_str(&f.packer, strs[i]);
    }
    assert_int_equal(weir_pack_end(&f.packer, &wanted), 0);
    weir_pack_begin(&f.packer, &f.buf, 0);
    weir_pack_array_str(&f.packer, strs, COUNT);
    assert_int_equal(weir_pack_end(&f.packer, &message), 0);
    assert_bytes(message, wanted.data, wanted.size);
    back[COUNT] = weir_view_of(text, 99);
    weir_unpack_init(&u, message, NULL);
    assert_int_equal(weir_unpack_array_str(&u, back, COUNT + 1, &count), 0);
    assert_int_equal(count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(weir_view_equal(back[i], strs[i]));
        assert_true(back[i].data > message.data && back[i].data <= message.data + message.size);
    }
    assert_int_equal(back[COUNT].size, 99);
    assert_int_equal(weir_unpack_end(&u), 0);
    end(&f);
    free(text);
}

static void an_array_of_strs_is_refused_as_the_cursor_refuses(void **state)
{
    static const struct {
        struct weir_view input;
        uint64_t elements;
        int error;
        size_t offset;
    } cases[] = {
        {{(const uint8_t *)"\x92\xa1x\xa1y", 5}, 3, 0, 5},
        {{(const uint8_t *)"\x92\xa1x\xa1y", 5}, 2, -ENOBUFS, 3},
        {{(const uint8_t *)"\x92\xa1x\xa1", 4}, 0, -EAGAIN, 3},
        {{(const uint8_t *)"\x92\xa1x\xc4\x00", 5}, 0, -EPROTO, 3},
        {{(const uint8_t *)"\x92\xc1\xa0", 3}, 0, -EBADMSG, 1},
        {{(const uint8_t *)"\x92\xa1", 2}, 0, -EAGAIN, 0},
        {{(const uint8_t *)"\x93\xa0\xa0\xa0", 4}, 0, -ENOBUFS, 0},
        {{(const uint8_t *)"\x81\xa0\xa0", 3}, 0, -EPROTO, 0},
        {{(const uint8_t *)"", 0}, 0, -EAGAIN, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_limits limits = {.elements = cases[i].elements};
        struct weir_view ret[2];
        struct weir_unpacker u;
        size_t count = 77;
        weir_unpack_init(&u, cases[i].input, &limits);
        assert_int_equal(weir_unpack_array_str(&u, ret, 2, &count), cases[i].error);
        assert_int_equal(weir_unpack_offset(&u), cases[i].offset);
        assert_int_equal(count, cases[i].error == 0 ? 2 : 77);
    }
}

/* --- the choice ------------------------------------------------------------------------------ */

static void the_best_way_of_the_processor_is_taken(void **state)
{
    const struct weir__bulk_way *way;
    unsigned count = 0;

    (void)state;
    while ((way = weir__bulk_way(count)) != NULL) {
        print_message("# a way: %s\n", way->name);
        for (unsigned type = 0; type < WEIR__BULK_TYPES; type++) {
            if (!types[type].is_float)
                assert_non_null(way->bytes[type]);
            assert_non_null(way->pack[type]);
            assert_non_null(way->unpack[type]);
        }
        count++;
    }
    assert_true(count >= 1);
    assert_null(weir__bulk_way(count + 1));
    assert_ptr_equal(weir__bulk_way(count - 1), &weir__bulk_scalar);
    assert_string_equal(weir_bulk_path(), weir__bulk_way(0)->name);
#if WEIR__BULK_X86
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
        assert_ptr_equal(weir__bulk_way(count - 2), &weir__bulk_avx2);
    if (__builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512bw"))
        assert_ptr_equal(weir__bulk_way(0), &weir__bulk_avx512);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_way_of_the_processor_is_taken),
        cmocka_unit_test(small_arrays_have_their_golden_bytes),
        cmocka_unit_test(every_way_packs_what_a_call_per_element_packs),
        cmocka_unit_test(every_boundary_is_packed_as_by_a_call_per_element),
        cmocka_unit_test(large_arrays_are_as_MessagePack_C_packs_them_and_come_back),
        cmocka_unit_test(more_than_an_array_can_count_is_refused),
        cmocka_unit_test(when_memory_runs_out_nothing_was_packed),
        cmocka_unit_test(every_way_reads_every_form_as_the_cursor_does),
        cmocka_unit_test(every_truncation_and_every_budget_ends_where_the_cursor_ends),
        cmocka_unit_test(an_element_that_is_wrong_is_told_with_its_offset),
        cmocka_unit_test(changed_bytes_are_judged_as_by_the_cursor),
        cmocka_unit_test(an_array_that_is_too_long_is_left_alone),
        cmocka_unit_test(an_empty_array_needs_no_memory),
        cmocka_unit_test(floats_32_are_widened_for_an_array_of_doubles),
        cmocka_unit_test(strs_are_packed_as_one_by_one_and_read_in_place),
        cmocka_unit_test(an_array_of_strs_is_refused_as_the_cursor_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
