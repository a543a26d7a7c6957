/* SPDX-License-Identifier: MIT */
/*
 * fuzz_bulk: every way to read an array reads what the plain cursor reads, with the same error at
 * the same byte, and every way to write one writes what the plain packer writes.
 *
 * The first byte is the type, the second the capacity, the third the budget of elements; if its
 * highest bit is set, the head of an array of so many elements is put in front that the capacity's
 * share of the bytes is one each.
 * The rest is the input to be read, and the values to be written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/bulk.h>
#include <weir/wire.h>

#include "../../lib/bulk_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CAPACITY_MAX 1024

static const struct type {
    unsigned bytes;
    bool is_signed;
    bool is_float;
} types[WEIR__BULK_TYPES] = {
    {1, false, false},
    {2, false, false},
    {4, false, false},
    {8, false, false},
    {1, true, false},
    {2, true, false},
    {4, true, false},
    {8, true, false},
    {4, false, true},
    {8, false, true},
};

static struct weir_pool *pool;

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* --- one by one ------------------------------------------------------------------------------ */

static int read_one(struct weir_unpacker *u, const struct type *type, uint64_t *ret)
{
    uint64_t max = UINT64_MAX >> (64 - 8 * type->bytes);
    float narrow;
    double wide;
    uint32_t bits = 0;
    int rc;

    *ret = 0;
    if (type->is_float && type->bytes == 4) {
        rc = weir_unpack_f32(u, &narrow);
        if (rc == 0)
            memcpy(&bits, &narrow, sizeof(bits));
        *ret = bits;
        return rc;
    }
    if (type->is_float) {
        rc = weir_unpack_f64(u, &wide);
        if (rc == 0)
            memcpy(ret, &wide, sizeof(*ret));
        return rc;
    }
    if (type->is_signed) {
        int64_t limit = (int64_t)(max >> 1);
        int64_t value = 0;
        rc = weir_unpack_int(u, &value);
        *ret = (uint64_t)value;
        return rc == 0 && (value > limit || value < -limit - 1) ? -EOVERFLOW : rc;
    }
    rc = weir_unpack_uint(u, ret);
    return rc == 0 && *ret > max ? -EOVERFLOW : rc;
}

static void put(uint8_t *at, const struct type *type, uint64_t bits)
{
    uint8_t u8 = (uint8_t)bits;
    uint16_t u16 = (uint16_t)bits;
    uint32_t u32 = (uint32_t)bits;

    if (type->bytes == 1)
        memcpy(at, &u8, 1);
    else if (type->bytes == 2)
        memcpy(at, &u16, 2);
    else if (type->bytes == 4)
        memcpy(at, &u32, 4);
    else
        memcpy(at, &bits, 8);
}

/* What all ways have to do. */
struct outcome {
    int error;
    size_t offset;
    size_t count;
    uint64_t elements_left;
    uint8_t values[8 * CAPACITY_MAX];
};

static void read_plainly(struct weir_view input, const struct weir_limits *limits,
                         const struct type *type, size_t capacity, struct outcome *ret)
{
    struct weir_unpacker u;
    uint32_t count = 0;

    weir_unpack_init(&u, input, limits);
    ret->offset = 0;
    ret->count = 0;
    ret->error = weir_unpack_array(&u, &count);
    if (ret->error == 0 && count > capacity) {
        ret->error = -ENOBUFS;
        return;
    }
    for (uint32_t i = 0; ret->error == 0 && i < count; i++) {
        uint64_t bits;
        ret->offset = weir_unpack_offset(&u);
        ret->error = read_one(&u, type, &bits);
        if (ret->error == 0)
            put(ret->values + (size_t)i * type->bytes, type, bits);
    }
    if (ret->error == 0) {
        ret->offset = weir_unpack_offset(&u);
        ret->count = count;
        ret->elements_left = u.elements_left;
    }
}

/* --- reading --------------------------------------------------------------------------------- */

static void compare_reading(struct weir_view input, const struct weir_limits *limits,
                            enum weir__bulk_type type, size_t capacity)
{
    static struct outcome wanted;
    static uint8_t got[8 * CAPACITY_MAX];
    const struct weir__bulk_way *way;

    read_plainly(input, limits, &types[type], capacity, &wanted);
    for (unsigned i = 0; (way = weir__bulk_way(i)) != NULL; i++) {
        size_t bytes = types[type].bytes;
        size_t count = 77;
        struct weir_unpacker u;
        memset(got, 0xa5, sizeof(got));
        weir_unpack_init(&u, input, limits);
        int rc = weir__bulk_unpack(&u, way, type, got, capacity, &count);
        require(rc == wanted.error && weir_unpack_error(&u) == rc);
        require(weir_unpack_offset(&u) == wanted.offset);
        require(count == (rc == 0 ? wanted.count : 77));
        size_t written = rc == 0 ? count : capacity;
        for (size_t b = written * bytes; b < sizeof(got); b++)
            require(got[b] == 0xa5);
        if (rc == 0) {
            require(count == 0 || memcmp(got, wanted.values, count * bytes) == 0);
            require(u.elements_left == wanted.elements_left);
        }
    }
}

static void compare_strs(struct weir_view input, const struct weir_limits *limits, size_t capacity)
{
    static struct weir_view views[CAPACITY_MAX];
    struct weir_unpacker plain, bulk;
    struct weir_view view;
    uint32_t count;
    size_t got = 0;

    weir_unpack_init(&bulk, input, limits);
    weir_unpack_init(&plain, input, limits);
    int rc = weir_unpack_array_str(&bulk, views, capacity, &got);
    if (weir_unpack_array(&plain, &count) == 0 && count > capacity) {
        require(rc == -ENOBUFS && weir_unpack_offset(&bulk) == 0);
        return;
    }
    for (uint32_t i = 0; weir_unpack_error(&plain) == 0 && i < count; i++) {
        if (weir_unpack_str(&plain, &view) == 0)
            require(view.data == views[i].data && view.size == views[i].size);
    }
    require(weir_unpack_error(&plain) == rc);
    require(weir_unpack_offset(&plain) == weir_unpack_offset(&bulk));
    require(rc != 0 || got == count);
}

/* --- writing --------------------------------------------------------------------------------- */

static void write_plainly(struct weir_packer *p, enum weir__bulk_type type, const uint8_t *values,
                          size_t count)
{
    weir_pack_array(p, count);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = values + i * types[type].bytes;
        int8_t i8;
        int16_t i16;
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        memcpy(&i8, at, 1);
        switch (types[type].bytes) {
        case 1:
            i64 = i8;
            break;
        case 2:
            memcpy(&i16, at, 2);
            i64 = i16;
            break;
        case 4:
            memcpy(&i32, at, 4);
            i64 = i32;
            break;
        default:
            memcpy(&i64, at, 8);
            break;
        }
        if (type == WEIR__BULK_F32) {
            memcpy(&f32, at, 4);
            weir_pack_f32(p, f32);
        } else if (type == WEIR__BULK_F64) {
            memcpy(&f64, at, 8);
            weir_pack_f64(p, f64);
        } else if (types[type].is_signed) {
            weir_pack_int(p, i64);
        } else {
            weir_pack_uint(p, (uint64_t)i64 & UINT64_MAX >> (64 - 8 * types[type].bytes));
        }
    }
}

static void compare_writing(enum weir__bulk_type type, struct weir_view bytes)
{
    const struct weir__bulk_way *way;
    size_t count = bytes.size / types[type].bytes;
    struct weir_view plain, bulk;
    struct weir_packer p;
    struct weir_buf buf;

    require(weir_buf_init(&buf, pool, &(struct weir_buf_options){.initial_bytes = 64}) == 0);
    weir_pack_begin(&p, &buf, 0);
    write_plainly(&p, type, bytes.data, count);
    require(weir_pack_end(&p, &plain) == 0);
    for (unsigned i = 0; (way = weir__bulk_way(i)) != NULL; i++) {
        /* Once in just the room that it needs, once in plenty. */
        for (unsigned plenty = 0; plenty < 2; plenty++) {
            weir_pack_begin(&p, &buf, plenty != 0 ? plain.size + 10 * count + 64 : 0);
            weir__bulk_pack(&p, way, type, bytes.data, count);
            require(weir_pack_end(&p, &bulk) == 0);
            require(weir_view_equal(plain, bulk));
        }
    }
    weir_buf_fini(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (pool == NULL)
        require(weir_pool_create(NULL, &pool) == 0);
    if (size < 3)
        return 0;
    unsigned type = data[0] % (WEIR__BULK_TYPES + 1);
    size_t capacity = (size_t)data[1] * CAPACITY_MAX / 255;
    struct weir_limits limits = {.elements = data[2] & 0x7f};
    /* In memory of its own, so that a sanitizer sees where it ends. */
    size_t head = data[2] & 0x80 ? 3 : 0;
    struct weir_view rest = weir_view_of(data + 3, size - 3);
    size_t count = rest.size < UINT16_MAX ? rest.size : UINT16_MAX;
    uint8_t *input = malloc(head + rest.size != 0 ? head + rest.size : 1);

    require(input != NULL);
    if (head != 0) {
        input[0] = WEIR_TAG_ARRAY16;
        weir_wire_store16(input + 1, (uint16_t)(count * data[1] / 255));
    }
    if (rest.size != 0)
        memcpy(input + head, rest.data, rest.size);
    struct weir_view whole = weir_view_of(input, head + rest.size);
    if (type == WEIR__BULK_TYPES) {
        compare_strs(whole, &limits, capacity);
    } else {
        compare_reading(whole, &limits, (enum weir__bulk_type)type, capacity);
        compare_writing((enum weir__bulk_type)type, rest);
    }
    free(input);
    return 0;
}
