/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "bulk_scalar.h"
#include "unpack_private.h"
#include "weir/bulk.h"

/* How many elements go the scalar way where a faster one did not know the next, before it is asked
 * again: not to ask in vain for each. */
#define SCALAR_BATCH 32u

const struct weir__bulk_way *weir__bulk_way(unsigned index)
{
#if WEIR__BULK_X86
    bool has_bmi = __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool has_avx2 = has_bmi && __builtin_cpu_supports("avx2");
    bool has_avx512 = has_avx2 && __builtin_cpu_supports("popcnt") &&
                      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi") &&
                      __builtin_cpu_supports("avx512vbmi2");

    if (has_avx512 && index-- == 0)
        return &weir__bulk_avx512;
    if (has_avx2 && index-- == 0)
        return &weir__bulk_avx2;
#endif
    return index == 0 ? &weir__bulk_scalar : NULL;
}

const char *weir_bulk_path(void)
{
    return weir__bulk_way(0)->name;
}

/* --- types ----------------------------------------------------------------------------------- */

/* What is known of a type of element. */
struct type {
    unsigned bytes;
    bool is_signed;
    bool is_float;
    int64_t min;
    uint64_t max;
};

static const struct type types[WEIR__BULK_TYPES] = {
    [WEIR__BULK_U8] = {1, false, false, 0, UINT8_MAX},
    [WEIR__BULK_U16] = {2, false, false, 0, UINT16_MAX},
    [WEIR__BULK_U32] = {4, false, false, 0, UINT32_MAX},
    [WEIR__BULK_U64] = {8, false, false, 0, UINT64_MAX},
    [WEIR__BULK_I8] = {1, true, false, INT8_MIN, INT8_MAX},
    [WEIR__BULK_I16] = {2, true, false, INT16_MIN, INT16_MAX},
    [WEIR__BULK_I32] = {4, true, false, INT32_MIN, INT32_MAX},
    [WEIR__BULK_I64] = {8, true, false, INT64_MIN, INT64_MAX},
    [WEIR__BULK_F32] = {4, false, true, 0, 0},
    [WEIR__BULK_F64] = {8, false, true, 0, 0},
};

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static double double_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* --- packing --------------------------------------------------------------------------------- */

static size_t head_bytes(size_t count)
{
    return count <= 15 ? 1 : count <= UINT16_MAX ? 3 : 5;
}

/* How many bytes @count elements take. Of 2^32 that fits 64 bits. */
static uint64_t body_bytes(const struct weir__bulk_way *way, enum weir__bulk_type type,
                           const uint8_t *values, size_t count)
{
    uint64_t bytes;

    if (types[type].is_float)
        return (uint64_t)count * (1 + types[type].bytes);
    way->bytes[type](values, count, &bytes);
    return bytes;
}

/* Have room for the whole array and write its head; false: the error is set. */
static bool begin_array(struct weir_packer *packer, const struct weir__bulk_way *way,
                        enum weir__bulk_type type, const uint8_t *values, size_t count)
{
    uint64_t room = (uint64_t)(packer->end - packer->pos);
    uint64_t need;

    if (weir_pack_error(packer) != 0)
        return false;
    if (count > UINT32_MAX) {
        weir_pack_fail(packer, -EOVERFLOW);
        return false;
    }
    need = head_bytes(count) + (uint64_t)count * (1 + types[type].bytes);
    if (need > room)
        need = head_bytes(count) + body_bytes(way, type, values, count);
    if (need > SIZE_MAX) {
        weir_pack_fail(packer, -EOVERFLOW);
        return false;
    }
    if (weir_pack_room(packer, (size_t)need) == NULL)
        return false;
    weir_pack_array(packer, count);
    return true;
}

/* Write one element in exactly the room that it needs. */
static void pack_one(struct weir_packer *packer, const struct type *type, const uint8_t *at)
{
    uint64_t value = weir__bulk_load(at, type->bytes, type->is_signed);

    if (type->is_float && type->bytes == 4)
        weir_pack_f32(packer, float_of((uint32_t)value));
    else if (type->is_float)
        weir_pack_f64(packer, double_of(value));
    else if (type->is_signed)
        weir_pack_int(packer, (int64_t)value);
    else
        weir_pack_uint(packer, value);
}

void weir__bulk_pack(struct weir_packer *packer, const struct weir__bulk_way *way,
                     enum weir__bulk_type type, const void *values, size_t count)
{
    struct weir__bulk_pack job;

    if (!begin_array(packer, way, type, values, count) || count == 0)
        return;
    job.at = packer->pos;
    job.end = packer->end;
    job.values = values;
    job.count = count;
    way->pack[type](&job);
    weir__bulk_scalar.pack[type](&job);
    assert(job.count <= count && job.at <= job.end);
    packer->pos = job.at;
    packer->values += count - job.count;
    for (size_t i = 0; i < job.count; i++)
        pack_one(packer, &types[type], job.values + i * types[type].bytes);
    assert(weir_pack_error(packer) == 0);
}

void weir_pack_array_u8(struct weir_packer *packer, const uint8_t *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_U8, values, count);
}

void weir_pack_array_u16(struct weir_packer *packer, const uint16_t *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_U16, values, count);
}

void weir_pack_array_u32(struct weir_packer *packer, const uint32_t *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_U32, values, count);
}

void weir_pack_array_u64(struct weir_packer *packer, const uint64_t *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_U64, values, count);
}

void weir_pack_array_i8(struct weir_packer *packer, const int8_t *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_I8, values, count);
}

void weir_pack_array_i16(struct weir_packer *packer, const int16_t *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_I16, values, count);
}

void weir_pack_array_i32(struct weir_packer *packer, const int32_t *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_I32, values, count);
}

void weir_pack_array_i64(struct weir_packer *packer, const int64_t *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_I64, values, count);
}

void weir_pack_array_f32(struct weir_packer *packer, const float *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_F32, values, count);
}

void weir_pack_array_f64(struct weir_packer *packer, const double *values, size_t count)
{
    weir__bulk_pack(packer, weir__bulk_way(0), WEIR__BULK_F64, values, count);
}

static size_t str_head_bytes(size_t size)
{
    return size <= 31 ? 1 : size <= UINT8_MAX ? 2 : size <= UINT16_MAX ? 3 : 5;
}

void weir_pack_array_str(struct weir_packer *packer, const struct weir_view *values, size_t count)
{
    size_t need = head_bytes(count);
    bool overflows = count > UINT32_MAX;

    if (weir_pack_error(packer) != 0)
        return;
    for (size_t i = 0; i < count && !overflows; i++) {
        size_t size = values[i].size;
        overflows = size > UINT32_MAX || weir_add_overflows(need, str_head_bytes(size), &need) ||
                    weir_add_overflows(need, size, &need);
    }
    if (overflows) {
        weir_pack_fail(packer, -EOVERFLOW);
        return;
    }
    if (weir_pack_room(packer, need) == NULL)
        return;
    weir_pack_array(packer, count);
    for (size_t i = 0; i < count; i++)
        weir_pack_str(packer, values[i]);
    assert(weir_pack_error(packer) == 0);
}

/* --- unpacking ------------------------------------------------------------------------------- */

/* Read the head of an array that has at most @capacity elements. */
static int open_array(struct weir_unpacker *unpacker, size_t capacity, size_t *ret)
{
    struct weir_unpacker ahead = *unpacker;
    uint32_t count;
    int rc = weir_unpack_array(&ahead, &count);

    if (rc == 0 && count > capacity)
        return weir__unpack_fail(unpacker, -ENOBUFS);
    *unpacker = ahead;
    if (rc == 0)
        *ret = count;
    return rc;
}

/* Read one element of any form, or find out what is wrong with it. */
static int unpack_one(struct weir_unpacker *unpacker, const struct type *type, uint8_t *ret)
{
    float narrow;
    double wide;
    int rc;

    if (type->is_float && type->bytes == 4) {
        rc = weir_unpack_f32(unpacker, &narrow);
        if (rc == 0)
            memcpy(ret, &narrow, sizeof(narrow));
        return rc;
    }
    if (type->is_float) {
        rc = weir_unpack_f64(unpacker, &wide);
        if (rc == 0)
            memcpy(ret, &wide, sizeof(wide));
        return rc;
    }
    if (type->is_signed)
        return weir_unpack_int_slow(unpacker, type->min, (int64_t)type->max, type->bytes, ret);
    return weir_unpack_uint_slow(unpacker, type->max, type->bytes, ret);
}

/* Let @function take up to @count elements. Returns how many it took. */
static size_t take(struct weir_unpacker *unpacker, void (*function)(struct weir__bulk_unpack *job),
                   uint8_t *values, size_t count)
{
    struct weir__bulk_unpack job = {unpacker->pos, unpacker->end, values, count};

    if (job.count > unpacker->elements_left)
        job.count = (size_t)unpacker->elements_left;
    count = job.count;
    function(&job);
    assert(job.count <= count && job.at <= job.end);
    unpacker->pos = job.at;
    unpacker->elements_left -= count - job.count;
    return count - job.count;
}

int weir__bulk_unpack(struct weir_unpacker *unpacker, const struct weir__bulk_way *way,
                      enum weir__bulk_type type, void *ret, size_t capacity, size_t *ret_count)
{
    size_t bytes = types[type].bytes;
    uint8_t *values = ret;
    size_t count;
    int rc = open_array(unpacker, capacity, &count);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < count;) {
        size_t taken = take(unpacker, way->unpack[type], values + i * bytes, count - i);
        i += taken;
        if (i < count && way != &weir__bulk_scalar) {
            size_t batch = count - i < SCALAR_BATCH ? count - i : SCALAR_BATCH;
            size_t more = take(unpacker, weir__bulk_scalar.unpack[type], values + i * bytes, batch);
            i += more;
            taken += more;
        }
        if (taken != 0)
            continue;
        rc = unpack_one(unpacker, &types[type], values + i * bytes);
        if (rc != 0)
            return rc;
        i++;
    }
    *ret_count = count;
    return 0;
}

int weir_unpack_array_u8(struct weir_unpacker *unpacker, uint8_t *ret, size_t capacity,
                         size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_U8, ret, capacity, ret_count);
}

int weir_unpack_array_u16(struct weir_unpacker *unpacker, uint16_t *ret, size_t capacity,
                          size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_U16, ret, capacity, ret_count);
}

int weir_unpack_array_u32(struct weir_unpacker *unpacker, uint32_t *ret, size_t capacity,
                          size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_U32, ret, capacity, ret_count);
}

int weir_unpack_array_u64(struct weir_unpacker *unpacker, uint64_t *ret, size_t capacity,
                          size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_U64, ret, capacity, ret_count);
}

int weir_unpack_array_i8(struct weir_unpacker *unpacker, int8_t *ret, size_t capacity,
                         size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_I8, ret, capacity, ret_count);
}

int weir_unpack_array_i16(struct weir_unpacker *unpacker, int16_t *ret, size_t capacity,
                          size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_I16, ret, capacity, ret_count);
}

int weir_unpack_array_i32(struct weir_unpacker *unpacker, int32_t *ret, size_t capacity,
                          size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_I32, ret, capacity, ret_count);
}

int weir_unpack_array_i64(struct weir_unpacker *unpacker, int64_t *ret, size_t capacity,
                          size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_I64, ret, capacity, ret_count);
}

int weir_unpack_array_f32(struct weir_unpacker *unpacker, float *ret, size_t capacity,
                          size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_F32, ret, capacity, ret_count);
}

int weir_unpack_array_f64(struct weir_unpacker *unpacker, double *ret, size_t capacity,
                          size_t *ret_count)
{
    return weir__bulk_unpack(unpacker, weir__bulk_way(0), WEIR__BULK_F64, ret, capacity, ret_count);
}

int weir_unpack_array_str(struct weir_unpacker *unpacker, struct weir_view *ret, size_t capacity,
                          size_t *ret_count)
{
    size_t count;
    int rc = open_array(unpacker, capacity, &count);

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = weir_unpack_str(unpacker, &ret[i]);
    if (rc == 0)
        *ret_count = count;
    return rc;
}
