/* SPDX-License-Identifier: MIT */
/*
 * The AVX-512 way: vectors of 64 bytes.
 *
 * Packing   Each value gets a lane that holds its longest form: the tag, then the payload. A mask
 *           says which of these bytes its own form has, and a compression pushes them together.
 * Unpacking Where an element begins depends on all before it. So for each of 64 bytes it is
 *           computed how far the next element is, should one begin there. This function from place
 *           to place, applied to itself, goes two elements on, then four and so on, and from that
 *           the places of 32 elements follow in five steps. Then the payloads are gathered.
 *
 * Both compute the same for each of many widths; there is no branch on one.
 */
#include "bulk_scalar.h"

#if WEIR__BULK_X86

#include <immintrin.h>

#define AVX512                                                                                \
    __attribute__((target("avx2,bmi,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512cd," \
                          "avx512vbmi,avx512vbmi2")))
#define AVX512_INLINE static inline __attribute__((always_inline)) AVX512

#define VECTOR_BYTES 64

/* --- packing --------------------------------------------------------------------------------- */

/* A lane: where it gets its bytes from, and which of them count. Patterns of 16 bytes. */
struct lane {
    unsigned bytes;
    uint64_t payload; /* bytes that the value is copied to, big-endian; a bit each */
    uint64_t used;    /* these and the tag */
    uint8_t order[16];
    uint8_t zeros[16];  /* every byte: the one where the count of leading zeros is */
    uint8_t limits[16]; /* a byte counts if there are not more leading zeros than that */
};

/* The lanes of u16 have 32 bits, and so the leading zeros are counted in 32 bits; of the others
 * in 64. A lane of 16 bytes holds its value twice. */
static const struct lane lane_u16 = {
    4,
    UINT64_C(0x6666666666666666),
    UINT64_C(0x7777777777777777),
    {0, 1, 0, 0, 4, 5, 4, 4, 8, 9, 8, 8, 12, 13, 12, 12},
    {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12},
    {24, 23, 32, 0, 24, 23, 32, 0, 24, 23, 32, 0, 24, 23, 32, 0},
};
static const struct lane lane_u32 = {
    8,
    UINT64_C(0x1e1e1e1e1e1e1e1e),
    UINT64_C(0x1f1f1f1f1f1f1f1f),
    {0, 3, 2, 1, 0, 0, 0, 0, 8, 11, 10, 9, 8, 8, 8, 8},
    {0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8},
    {56, 47, 47, 55, 64, 0, 0, 0, 56, 47, 47, 55, 64, 0, 0, 0},
};
static const struct lane lane_u64 = {
    16,
    UINT64_C(0x01fe01fe01fe01fe),
    UINT64_C(0x01ff01ff01ff01ff),
    {0, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0},
    {0},
    {56, 31, 31, 31, 31, 47, 47, 55, 64, 0, 0, 0, 0, 0, 0, 0},
};

/* The tag of a value from 0 up, by its leading zeros in 64 bits. Fixints: it does not count. */
static const uint8_t tags_of_64[64] = {
    0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf,
    0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf,
    0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce, 0xce,
    0xcd, 0xcd, 0xcd, 0xcd, 0xcd, 0xcd, 0xcd, 0xcd, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
};

AVX512_INLINE __m512i load_512(const uint8_t *at)
{
    return _mm512_loadu_si512(at);
}

AVX512_INLINE __m256i load_256(const uint8_t *at)
{
    __m256i vector;
    memcpy(&vector, at, sizeof(vector));
    return vector;
}

/* The same 16 bytes four times. */
AVX512_INLINE __m512i four_times(const uint8_t *at)
{
    __m128i pattern;
    memcpy(&pattern, at, sizeof(pattern));
    return _mm512_broadcast_i32x4(pattern);
}

/* A vector of values, one in each lane, sign-extended. A lane of 16 bytes holds its value twice. */
AVX512_INLINE __m512i load_lanes(const uint8_t *at, const struct lane *lane, bool is_signed)
{
    const __m512i twice = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
    __m256i values = load_256(at);

    if (lane->bytes == 16)
        return _mm512_permutexvar_epi64(twice, _mm512_castsi256_si512(values));
    if (lane->bytes == 8)
        return is_signed ? _mm512_cvtepi32_epi64(values) : _mm512_cvtepu32_epi64(values);
    return is_signed ? _mm512_cvtepi16_epi32(values) : _mm512_cvtepu16_epi32(values);
}

/* weir__bulk_magnitude() of each lane, and which are below 0: 4 in their lowest byte. */
AVX512_INLINE __m512i magnitudes(__m512i values, const struct lane *lane, __m512i *ret_below_0)
{
    const __m512i narrow = _mm512_set1_epi32(0x40);
    const __m512i wide = _mm512_set1_epi64(0x40);
    __m512i all = _mm512_set1_epi64(-1);
    __m512i turned;

    if (lane->bytes == 4) {
        __mmask16 below_0 = _mm512_movepi32_mask(values);
        turned = _mm512_xor_si512(_mm512_add_epi32(values, values), all);
        *ret_below_0 = _mm512_maskz_set1_epi32(below_0, 4);
        return _mm512_mask_or_epi32(values, below_0, turned,
                                    _mm512_slli_epi32(_mm512_and_si512(turned, narrow), 1));
    }
    __mmask8 below_0 = _mm512_movepi64_mask(values);
    turned = _mm512_xor_si512(_mm512_add_epi64(values, values), all);
    *ret_below_0 = _mm512_maskz_set1_epi64(below_0, 4);
    return _mm512_mask_or_epi64(values, below_0, turned,
                                _mm512_slli_epi64(_mm512_and_si512(turned, wide), 1));
}

/* Write the values of one vector's lanes; 64 bytes are written to. Returns how many count. */
AVX512_INLINE size_t pack_lanes(uint8_t *at, __m512i values, const struct lane *lane,
                                bool is_signed)
{
    __m512i below_0 = _mm512_setzero_si512();
    __m512i magnitude = is_signed ? magnitudes(values, lane, &below_0) : values;
    __m512i zeros, tags;

    /* In 32 bits the table's second half counts, and 0 of them must not be its start. */
    if (lane->bytes == 4) {
        zeros = _mm512_lzcnt_epi32(magnitude);
        tags = _mm512_permutexvar_epi8(_mm512_add_epi8(zeros, _mm512_set1_epi8(32)),
                                       load_512(tags_of_64));
    } else {
        zeros = _mm512_lzcnt_epi64(magnitude);
        tags = _mm512_permutexvar_epi8(zeros, load_512(tags_of_64));
    }
    if (is_signed)
        tags = _mm512_add_epi8(tags, below_0);
    __m512i bytes = _mm512_mask_shuffle_epi8(tags, lane->payload, values, four_times(lane->order));
    zeros = _mm512_shuffle_epi8(zeros, four_times(lane->zeros));
    uint64_t counts = _mm512_mask_cmple_epu8_mask(lane->used, zeros, four_times(lane->limits));
    /* A compression right into memory is far slower on some processors. */
    _mm512_storeu_si512(at, _mm512_maskz_compress_epi8(counts, bytes));
    return (size_t)__builtin_popcountll(counts);
}

AVX512_INLINE void pack_integers(struct weir__bulk_pack *job, const struct lane *lane,
                                 bool is_signed)
{
    const uint8_t *values = job->values;
    size_t per_vector = VECTOR_BYTES / lane->bytes;
    size_t count = job->count;
    uint8_t *at = job->at;

    for (; count >= per_vector && job->end - at >= VECTOR_BYTES; count -= per_vector) {
        at += pack_lanes(at, load_lanes(values, lane, is_signed), lane, is_signed);
        values += 32;
    }
    job->values = values;
    job->count = count;
    job->at = at;
}

AVX512 static void pack_u16(struct weir__bulk_pack *job)
{
    pack_integers(job, &lane_u16, false);
}

AVX512 static void pack_u32(struct weir__bulk_pack *job)
{
    pack_integers(job, &lane_u32, false);
}

AVX512 static void pack_i16(struct weir__bulk_pack *job)
{
    pack_integers(job, &lane_u16, true);
}

AVX512 static void pack_i32(struct weir__bulk_pack *job)
{
    pack_integers(job, &lane_u32, true);
}

/* A bit for each element, @bytes wide, of at least @from. */
AVX512_INLINE uint64_t at_least(__m512i magnitudes, unsigned bytes, uint64_t from)
{
    if (bytes == 1)
        return _mm512_cmpge_epu8_mask(magnitudes, _mm512_set1_epi8((char)from));
    if (bytes == 2)
        return _mm512_cmpge_epu16_mask(magnitudes, _mm512_set1_epi16((short)from));
    if (bytes == 4)
        return _mm512_cmpge_epu32_mask(magnitudes, _mm512_set1_epi32((int)from));
    return _mm512_cmpge_epu64_mask(magnitudes, _mm512_set1_epi64((long long)from));
}

/* weir__bulk_magnitude() of each element. Within its own width: it loses none. */
AVX512_INLINE __m512i magnitudes_within(__m512i values, unsigned bytes)
{
    const __m512i all = _mm512_set1_epi64(-1);
    __m512i sign, turned, lowest;

    /* Bit 6 of the lowest byte alone leads to bit 7. */
    if (bytes == 1) {
        sign = _mm512_movm_epi8(_mm512_movepi8_mask(values));
        turned = _mm512_add_epi8(values, values);
        lowest = _mm512_set1_epi8(0x40);
    } else if (bytes == 2) {
        sign = _mm512_srai_epi16(values, 15);
        turned = _mm512_add_epi16(values, values);
        lowest = _mm512_set1_epi16(0x40);
    } else if (bytes == 4) {
        sign = _mm512_srai_epi32(values, 31);
        turned = _mm512_add_epi32(values, values);
        lowest = _mm512_set1_epi32(0x40);
    } else {
        sign = _mm512_srai_epi64(values, 63);
        turned = _mm512_add_epi64(values, values);
        lowest = _mm512_set1_epi64(0x40);
    }
    turned = _mm512_and_si512(_mm512_xor_si512(turned, all), sign);
    lowest = _mm512_and_si512(turned, lowest);
    turned = _mm512_or_si512(turned, _mm512_add_epi8(lowest, lowest));
    return _mm512_or_si512(turned, _mm512_andnot_si512(sign, values));
}

AVX512_INLINE uint64_t integers_bytes(const uint8_t *values, size_t count, unsigned bytes,
                                      bool is_signed)
{
    const size_t per_vector = VECTOR_BYTES / bytes;
    uint64_t sum = count;

    for (; count >= per_vector; count -= per_vector) {
        __m512i elements = load_512(values);
        if (is_signed)
            elements = magnitudes_within(elements, bytes);
        sum += (uint64_t)__builtin_popcountll(at_least(elements, bytes, 0x80));
        if (bytes >= 2)
            sum += (uint64_t)__builtin_popcountll(at_least(elements, bytes, 0x100));
        if (bytes >= 4)
            sum += 2 * (uint64_t)__builtin_popcountll(at_least(elements, bytes, 0x10000));
        if (bytes == 8)
            sum += 4 *
                   (uint64_t)__builtin_popcountll(at_least(elements, bytes, UINT64_C(0x100000000)));
        values += VECTOR_BYTES;
    }
    return sum - count + weir__bulk_integers_bytes(values, count, bytes, is_signed);
}

AVX512 static void bytes_u8(const uint8_t *values, size_t count, uint64_t *ret)
{
    *ret = integers_bytes(values, count, 1, false);
}

AVX512 static void bytes_u16(const uint8_t *values, size_t count, uint64_t *ret)
{
    *ret = integers_bytes(values, count, 2, false);
}

AVX512 static void bytes_u32(const uint8_t *values, size_t count, uint64_t *ret)
{
    *ret = integers_bytes(values, count, 4, false);
}

AVX512 static void bytes_u64(const uint8_t *values, size_t count, uint64_t *ret)
{
    *ret = integers_bytes(values, count, 8, false);
}

AVX512 static void bytes_i8(const uint8_t *values, size_t count, uint64_t *ret)
{
    *ret = integers_bytes(values, count, 1, true);
}

AVX512 static void bytes_i16(const uint8_t *values, size_t count, uint64_t *ret)
{
    *ret = integers_bytes(values, count, 2, true);
}

AVX512 static void bytes_i32(const uint8_t *values, size_t count, uint64_t *ret)
{
    *ret = integers_bytes(values, count, 4, true);
}

AVX512 static void bytes_i64(const uint8_t *values, size_t count, uint64_t *ret)
{
    *ret = integers_bytes(values, count, 8, true);
}

/* Seven values of 8 bytes behind a tag each: 63 bytes. Byte i is byte sevens[i] of the values. */
#define SEVEN_PLACES UINT64_C(0x0040201008040201)
#define SEVEN_PAYLOADS (~SEVEN_PLACES & UINT64_C(0x7fffffffffffffff))
static const uint8_t sevens[64] = {
    0,  7,  6,  5,  4,  3,  2,  1,  0,  0,  15, 14, 13, 12, 11, 10, 9,  8,  0,  23, 22, 21,
    20, 19, 18, 17, 16, 0,  31, 30, 29, 28, 27, 26, 25, 24, 0,  39, 38, 37, 36, 35, 34, 33,
    32, 0,  47, 46, 45, 44, 43, 42, 41, 40, 0,  55, 54, 53, 52, 51, 50, 49, 48, 0,
};

/* Twelve of 4 bytes behind a tag each: 60 bytes. */
#define TWELVE_PLACES UINT64_C(0x0084210842108421)
#define TWELVE_PAYLOADS (~TWELVE_PLACES & UINT64_C(0x0fffffffffffffff))
static const uint8_t twelves[64] = {
    0,  3,  2,  1,  0,  0,  7,  6,  5,  4,  0,  11, 10, 9,  8,  0,  15, 14, 13, 12, 0,  19,
    18, 17, 16, 0,  23, 22, 21, 20, 0,  27, 26, 25, 24, 0,  31, 30, 29, 28, 0,  35, 34, 33,
    32, 0,  39, 38, 37, 36, 0,  43, 42, 41, 40, 0,  47, 46, 45, 44, 0,  0,  0,  0,
};

/* Write values that all have the longest form; 64 bytes are written to. */
AVX512_INLINE void pack_full(uint8_t *at, __m512i values, unsigned bytes, unsigned tag)
{
    __m512i order = load_512(bytes == 8 ? sevens : twelves);
    __mmask64 payloads = bytes == 8 ? SEVEN_PAYLOADS : TWELVE_PAYLOADS;

    values = _mm512_mask_permutexvar_epi8(_mm512_set1_epi8((char)tag), payloads, order, values);
    _mm512_storeu_si512(at, values);
}

/* Numbers that need 64 bits are often among themselves: hashes, times. */
AVX512_INLINE void pack_integers64(struct weir__bulk_pack *job, bool is_signed)
{
    const __m512i first_wide = _mm512_set1_epi64((long long)UINT64_C(0x100000000));
    uint8_t *at = job->at;

    /* Twice 32 bytes are written to where it goes by lanes, and each time 36 count at most. */
    while (job->count >= 8 && job->end - at >= 2 * VECTOR_BYTES) {
        __m512i values = load_512(job->values);
        __m512i below_0, magnitude = values;
        __mmask8 negative = 0;
        if (is_signed) {
            magnitude = magnitudes(values, &lane_u64, &below_0);
            negative = _mm512_movepi64_mask(values) & 0x7f;
        }
        __mmask8 is_wide = _mm512_cmpge_epu64_mask(magnitude, first_wide) & 0x7f;
        if (is_wide == 0x7f && (negative == 0 || negative == 0x7f)) {
            pack_full(at, values, 8, negative != 0 ? WEIR_TAG_INT64 : WEIR_TAG_UINT64);
            job->values += 7 * 8;
            job->count -= 7;
            at += 63;
            continue;
        }
        for (unsigned half = 0; half < 2; half++) {
            values = load_lanes(job->values, &lane_u64, is_signed);
            at += pack_lanes(at, values, &lane_u64, is_signed);
            job->values += 4 * 8;
        }
        job->count -= 8;
    }
    job->at = at;
}

AVX512 static void pack_u64(struct weir__bulk_pack *job)
{
    pack_integers64(job, false);
}

AVX512 static void pack_i64(struct weir__bulk_pack *job)
{
    pack_integers64(job, true);
}

/* Of one byte: 32 of them, each behind a tag that counts or does not. */
AVX512_INLINE void pack_integers8(struct weir__bulk_pack *job, bool is_signed)
{
    const uint64_t places = UINT64_C(0x5555555555555555);
    const __m512i tags = _mm512_set1_epi16(is_signed ? WEIR_TAG_INT8 : WEIR_TAG_UINT8);
    uint8_t *at = job->at;

    for (; job->count >= 32 && job->end - at >= VECTOR_BYTES; job->count -= 32) {
        __m256i values = load_256(job->values);
        __mmask32 has_tag = is_signed ? _mm256_cmplt_epi8_mask(values, _mm256_set1_epi8(-32))
                                      : _mm256_movepi8_mask(values);
        __m512i bytes = _mm512_slli_epi16(_mm512_cvtepu8_epi16(values), 8);
        uint64_t counts = _pdep_u64(has_tag, places) | ~places;
        bytes = _mm512_or_si512(bytes, tags);
        _mm512_storeu_si512(at, _mm512_maskz_compress_epi8(counts, bytes));
        at += __builtin_popcountll(counts);
        job->values += 32;
    }
    job->at = at;
}

AVX512 static void pack_u8(struct weir__bulk_pack *job)
{
    pack_integers8(job, false);
}

AVX512 static void pack_i8(struct weir__bulk_pack *job)
{
    pack_integers8(job, true);
}

AVX512_INLINE void pack_floats(struct weir__bulk_pack *job, unsigned bytes)
{
    const uint8_t *values = job->values;
    size_t per_vector = bytes == 8 ? 7 : 12;
    size_t count = job->count;
    uint8_t *at = job->at;

    for (; count >= VECTOR_BYTES / bytes && job->end - at >= VECTOR_BYTES; count -= per_vector) {
        pack_full(at, load_512(values), bytes, bytes == 8 ? WEIR_TAG_FLOAT64 : WEIR_TAG_FLOAT32);
        values += per_vector * bytes;
        at += per_vector * (1 + bytes);
    }
    job->values = values;
    job->count = count;
    job->at = at;
}

AVX512 static void pack_f32(struct weir__bulk_pack *job)
{
    pack_floats(job, 4);
}

AVX512 static void pack_f64(struct weir__bulk_pack *job)
{
    pack_floats(job, 8);
}

/* --- unpacking ------------------------------------------------------------------------------- */

/*
 * How long an element is, by its tag less 0xc0: the first entry stands for 0x00..0x7f. What a type
 * does not take here is so long that it is never all there; it goes the scalar way.
 */
#define NO 128
/* clang-format off */
#define NO_16 NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO
#define ONE_16 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
#define LENGTHS(cc, cd, ce, cf, d0, d1, d2, d3, negative) \
    {1, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, cc, cd, ce, cf, \
     d0, d1, d2, d3, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, negative, negative}

static const uint8_t lengths[8][64] = {
    [WEIR__BULK_U8] = LENGTHS(2, NO, NO, NO, NO, NO, NO, NO, NO_16),
    [WEIR__BULK_U16] = LENGTHS(2, 3, NO, NO, NO, NO, NO, NO, NO_16),
    [WEIR__BULK_U32] = LENGTHS(2, 3, 5, NO, NO, NO, NO, NO, NO_16),
    [WEIR__BULK_U64] = LENGTHS(2, 3, 5, 9, NO, NO, NO, NO, NO_16),
    [WEIR__BULK_I8] = LENGTHS(NO, NO, NO, NO, 2, NO, NO, NO, ONE_16),
    [WEIR__BULK_I16] = LENGTHS(2, 3, NO, NO, 2, 3, NO, NO, ONE_16),
    [WEIR__BULK_I32] = LENGTHS(2, 3, 5, NO, 2, 3, 5, NO, ONE_16),
    [WEIR__BULK_I64] = LENGTHS(2, 3, 5, 9, 2, 3, 5, 9, ONE_16),
};

static const uint8_t iota[65] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
    26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49,
    50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64,
};

/* For each element that is gathered, its number in each of its bytes; by the element's size. */
static const uint8_t spreads[4][64] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
    {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7,
     8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15,
     16, 16, 17, 17, 18, 18, 19, 19, 20, 20, 21, 21, 22, 22, 23, 23,
     24, 24, 25, 25, 26, 26, 27, 27, 28, 28, 29, 29, 30, 30, 31, 31},
    {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7,
     8, 8, 8, 8, 9, 9, 9, 9, 10, 10, 10, 10, 11, 11, 11, 11,
     12, 12, 12, 12, 13, 13, 13, 13, 14, 14, 14, 14, 15, 15, 15, 15},
    {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3,
     4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7,
      7},
};

/* For each byte of an element, the lowest first: its distance from the element's end on the wire,
 * and how long an element is at least that has it. */
static const uint8_t distances[4][16] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2},
    {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4},
    {1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8},
};
static const uint8_t lengths_from[4][16] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3},
    {1, 3, 5, 5, 1, 3, 5, 5, 1, 3, 5, 5, 1, 3, 5, 5},
    {1, 3, 5, 5, 9, 9, 9, 9, 1, 3, 5, 5, 9, 9, 9, 9},
};
/* Elements that all have the longest form, as many as 64 bytes hold; by their size. */
struct full {
    unsigned count;
    uint64_t places;   /* of the tags; a bit each */
    uint8_t order[64]; /* where an element's bytes are, the lowest first */
};
static const struct full fulls[4] = {
    {0},
    {21,
     UINT64_C(0x1249249249249249),
     {
      2, 1, 5, 4, 8, 7, 11, 10, 14, 13, 17, 16, 20, 19, 23, 22, 26, 25, 29, 28, 32, 31, 35, 34, 38,
         37, 41, 40, 44, 43, 47, 46, 50, 49, 53, 52, 56, 55, 59, 58, 62, 61, 0, 0, 0, 0, 0, 0, 0,
          0, 0,
         0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     }},
    {12,
     UINT64_C(0x0084210842108421),
     {
      4, 3, 2, 1, 9, 8, 7, 6, 14, 13, 12, 11, 19, 18, 17, 16, 24, 23, 22, 21, 29, 28, 27, 26, 34,
       33,
         32, 31, 39, 38, 37, 36, 44, 43, 42, 41, 49, 48, 47, 46, 54, 53, 52, 51, 59, 58, 57, 56, 0,
          0, 0,
         0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     }},
    {7,
     UINT64_C(0x0040201008040201),
     {
      8, 7, 6, 5, 4, 3, 2, 1, 17, 16, 15, 14, 13, 12, 11, 10, 26, 25, 24, 23, 22, 21, 20, 19, 35,
       34,
         33, 32, 31, 30, 29, 28, 44, 43, 42, 41, 40, 39, 38, 37, 53, 52, 51, 50, 49, 48, 47, 46,
          62, 61,
         60, 59, 58, 57, 56, 55, 0, 0, 0, 0, 0, 0, 0, 0,
     }},
};
/* clang-format on */

/* What 64 bytes of input are. */
struct window {
    __m512i bytes;
    __m512i next;    /* of each place the next element's; the same where none ends in here */
    __m512i below_0; /* all ones at the tags of elements below 0 */
};

/* Of the 64 bytes @size are there; places behind them are the start of nothing. */
AVX512_INLINE struct window look(__m512i bytes, size_t size, enum weir__bulk_type type,
                                 bool is_signed)
{
    const __m512i places = load_512(iota);
    /* The place behind the last one has no number. */
    size_t limit = size < VECTOR_BYTES - 1 ? size : VECTOR_BYTES - 1;
    struct window window;

    window.bytes = bytes;
    /* All below 0xc1 are looked up as if they were fixints, but 0x80..0xc0 are of other types. */
    __mmask64 fine = _mm512_cmpge_epi8_mask(bytes, _mm512_set1_epi8(-63));
    __m512i tags = _mm512_subs_epu8(bytes, _mm512_set1_epi8((char)WEIR_TAG_NIL));
    __m512i length = _mm512_permutexvar_epi8(tags, load_512(lengths[type]));
    __m512i next = _mm512_add_epi8(places, length);
    window.below_0 = _mm512_setzero_si512();
    if (is_signed) {
        /* The payload's first bit is at the next place. */
        __m512i ahead =
            _mm512_maskz_permutexvar_epi8(~UINT64_C(0), load_512(iota + 1), window.bytes);
        __mmask64 top = _mm512_movepi8_mask(ahead);
        const unsigned full = WEIR_TAG_UINT8 + (type - WEIR__BULK_I8);
        __mmask64 is_full = _mm512_cmpeq_epi8_mask(window.bytes, _mm512_set1_epi8((char)full));
        __mmask64 tagged = _mm512_cmplt_epi8_mask(window.bytes, _mm512_set1_epi8(-44)) &
                           _mm512_cmpge_epi8_mask(window.bytes, _mm512_set1_epi8(-48));
        __mmask64 fix = _mm512_cmpge_epu8_mask(window.bytes, _mm512_set1_epi8(-32));
        fine &= ~(is_full & top);
        window.below_0 = _mm512_movm_epi8((tagged & top) | fix);
    }
    fine = _mm512_mask_cmple_epu8_mask(fine, next, _mm512_set1_epi8((char)limit));
    window.next = _mm512_mask_mov_epi8(places, fine, next);
    return window;
}

/* Where 32 elements begin, the first one at place 0; with @lanes 16, only 16. */
AVX512_INLINE __m512i follow(const struct window *window, unsigned lanes)
{
    __m512i one = window->next;
    __m512i two = _mm512_permutexvar_epi8(one, one);
    __m512i four = _mm512_permutexvar_epi8(two, two);
    __m512i eight = _mm512_permutexvar_epi8(four, four);
    __m512i place = _mm512_maskz_broadcastb_epi8(0xaaaaaaaa, _mm512_castsi512_si128(one));

    place = _mm512_mask_permutexvar_epi8(place, 0xcccccccc, place, two);
    place = _mm512_mask_permutexvar_epi8(place, 0xf0f0f0f0, place, four);
    place = _mm512_mask_permutexvar_epi8(place, 0xff00ff00, place, eight);
    if (lanes == 32) {
        __m512i sixteen = _mm512_permutexvar_epi8(eight, eight);
        place = _mm512_mask_permutexvar_epi8(place, 0xffff0000, place, sixteen);
    }
    return place;
}

/* The elements whose numbers @spread has in each byte; @log2_bytes is their size. */
AVX512_INLINE __m512i gather(const struct window *window, __m512i begins, __m512i ends,
                             __m512i spread, unsigned log2_bytes, bool is_signed)
{
    __m512i begin = _mm512_permutexvar_epi8(spread, begins);
    __m512i end = _mm512_permutexvar_epi8(spread, ends);
    __m512i from = _mm512_sub_epi8(end, four_times(distances[log2_bytes]));
    __mmask64 there =
        _mm512_cmpge_epu8_mask(_mm512_sub_epi8(end, begin), four_times(lengths_from[log2_bytes]));

    if (!is_signed)
        return _mm512_maskz_permutexvar_epi8(there, from, window->bytes);
    __m512i fill = _mm512_permutexvar_epi8(begin, window->below_0);
    return _mm512_mask_permutexvar_epi8(fill, there, from, window->bytes);
}

/* Store the first @count of @elements, which are 1 << @log2_bytes bytes. */
AVX512_INLINE void store_elements(uint8_t *values, __m512i elements, size_t count,
                                  unsigned log2_bytes)
{
    __mmask64 mask = _bzhi_u64(~UINT64_C(0), (unsigned)count);

    if (log2_bytes == 0)
        _mm512_mask_storeu_epi8(values, mask, elements);
    else if (log2_bytes == 1)
        _mm512_mask_storeu_epi16(values, (__mmask32)mask, elements);
    else if (log2_bytes == 2)
        _mm512_mask_storeu_epi32(values, (__mmask16)mask, elements);
    else
        _mm512_mask_storeu_epi64(values, (__mmask8)mask, elements);
}

/* Elements of the window, up to @count. Returns how many, *ret receives how many bytes they are. */
AVX512_INLINE size_t take_mixed(const struct window *window, uint8_t *values, size_t count,
                                unsigned log2_bytes, bool is_signed, size_t *ret_bytes)
{
    /* Of 8 bytes there are seldom more in 64. */
    const unsigned lanes = log2_bytes == 3 ? 16 : 32;
    const unsigned per_vector = VECTOR_BYTES >> log2_bytes;
    __m512i begins = follow(window, lanes);
    __m512i ends = _mm512_permutexvar_epi8(begins, window->next);
    __mmask64 taken = _mm512_mask_cmpneq_epi8_mask((UINT64_C(1) << lanes) - 1, begins, ends);
    size_t found = (size_t)__builtin_popcountll(taken);
    uint8_t places[33] = {0};

    if (found > count)
        found = count;
    for (unsigned first = 0; first < lanes; first += per_vector) {
        __m512i spread =
            _mm512_add_epi8(load_512(spreads[log2_bytes]), _mm512_set1_epi8((char)first));
        size_t left = found > first ? found - first : 0;
        store_elements(values + ((size_t)first << log2_bytes),
                       gather(window, begins, ends, spread, log2_bytes, is_signed),
                       left < per_vector ? left : per_vector, log2_bytes);
    }
    /* Where none follows an element ends where it begins, so that the last end is the last taken
     * element's; unless there are fewer elements to be taken. */
    __m256i all = _mm512_castsi512_si256(ends);
    if (WEIR_LIKELY(count >= lanes)) {
        *ret_bytes = lanes == 16 ? (uint8_t)_mm_extract_epi8(_mm256_castsi256_si128(all), 15)
                                 : (uint8_t)_mm_extract_epi8(_mm256_extracti128_si256(all, 1), 15);
    } else {
        memcpy(places + 1, &all, 32);
        *ret_bytes = places[found];
    }
    return found;
}

/* 64 fixints. */
AVX512_INLINE void take_fixints(__m512i bytes, uint8_t *values, unsigned log2_bytes, bool is_signed)
{
    for (unsigned i = 0; i < 1u << log2_bytes; i++) {
        const __m512i part = load_512(spreads[log2_bytes]);
        __m512i numbers = _mm512_add_epi8(part, _mm512_set1_epi8((char)(i << (6 - log2_bytes))));
        __m512i elements = bytes;
        if (log2_bytes != 0) {
            __mmask64 lowest = log2_bytes == 1   ? UINT64_C(0x5555555555555555)
                               : log2_bytes == 2 ? UINT64_C(0x1111111111111111)
                                                 : UINT64_C(0x0101010101010101);
            __m512i fill =
                is_signed ? _mm512_movm_epi8(_mm512_movepi8_mask(bytes)) : _mm512_setzero_si512();
            elements = _mm512_permutexvar_epi8(numbers, fill);
            elements = _mm512_mask_permutexvar_epi8(elements, lowest, numbers, bytes);
        }
        _mm512_storeu_si512(values + (size_t)i * 64, elements);
    }
}

/* Elements in their longest form. Returns how many: as many as a vector has, or none. */
AVX512_INLINE size_t take_full(__m512i bytes, uint8_t *values, unsigned log2_bytes, bool is_signed)
{
    const struct full *full = &fulls[log2_bytes];
    const __m512i tag = _mm512_set1_epi8((char)(WEIR_TAG_UINT8 + log2_bytes));
    const __m512i signed_tag = _mm512_set1_epi8((char)(WEIR_TAG_INT8 + log2_bytes));
    __mmask64 found = _mm512_cmpeq_epi8_mask(bytes, tag);
    __mmask64 found_signed = 0;

    if (is_signed)
        found_signed = _mm512_cmpeq_epi8_mask(bytes, signed_tag) & full->places;
    if (((found | found_signed) & full->places) != full->places)
        return 0;
    __m512i elements = _mm512_permutexvar_epi8(load_512(full->order), bytes);
    if (is_signed) {
        /* Below 0 are those and only those whose tag is of the signed kind; else look closer. */
        uint64_t below_0 = log2_bytes == 1   ? _mm512_movepi16_mask(elements)
                           : log2_bytes == 2 ? _mm512_movepi32_mask(elements)
                                             : _mm512_movepi64_mask(elements);
        if (_bzhi_u64(below_0, full->count) != _pext_u64(found_signed, full->places))
            return 0;
    }
    store_elements(values, elements, full->count, log2_bytes);
    return full->count;
}

AVX512_INLINE bool are_fixints(__m512i bytes, bool is_signed)
{
    if (is_signed)
        return _mm512_cmplt_epi8_mask(bytes, _mm512_set1_epi8(-32)) == 0;
    return _mm512_movepi8_mask(bytes) == 0;
}

AVX512_INLINE void unpack_integers(struct weir__bulk_unpack *job, enum weir__bulk_type type,
                                   unsigned log2_bytes, bool is_signed)
{
    const size_t value_bytes = (size_t)1 << log2_bytes;
    const uint8_t *at = job->at;
    uint8_t *values = job->values;
    size_t count = job->count;

    while (count != 0 && at != job->end) {
        size_t size = (size_t)(job->end - at);
        size_t taken = 0;
        size_t taken_bytes = 0;
        __m512i bytes;
        if (WEIR_LIKELY(size >= VECTOR_BYTES)) {
            bytes = load_512(at);
            if (count >= VECTOR_BYTES && are_fixints(bytes, is_signed)) {
                take_fixints(bytes, values, log2_bytes, is_signed);
                taken = VECTOR_BYTES;
                taken_bytes = VECTOR_BYTES;
            } else if (log2_bytes != 0 && count >= fulls[log2_bytes].count) {
                taken = take_full(bytes, values, log2_bytes, is_signed);
                taken_bytes = taken * (1 + value_bytes);
            }
        } else {
            bytes = _mm512_maskz_loadu_epi8(_bzhi_u64(~UINT64_C(0), (unsigned)size), at);
        }
        if (taken == 0) {
            struct window window = look(bytes, size, type, is_signed);
            taken = take_mixed(&window, values, count, log2_bytes, is_signed, &taken_bytes);
        }
        if (taken == 0)
            break;
        at += taken_bytes;
        values += taken * value_bytes;
        count -= taken;
    }
    job->at = at;
    job->values = values;
    job->count = count;
}

AVX512 static void unpack_u8(struct weir__bulk_unpack *job)
{
    unpack_integers(job, WEIR__BULK_U8, 0, false);
}

AVX512 static void unpack_u16(struct weir__bulk_unpack *job)
{
    unpack_integers(job, WEIR__BULK_U16, 1, false);
}

AVX512 static void unpack_u32(struct weir__bulk_unpack *job)
{
    unpack_integers(job, WEIR__BULK_U32, 2, false);
}

AVX512 static void unpack_u64(struct weir__bulk_unpack *job)
{
    unpack_integers(job, WEIR__BULK_U64, 3, false);
}

AVX512 static void unpack_i8(struct weir__bulk_unpack *job)
{
    unpack_integers(job, WEIR__BULK_I8, 0, true);
}

AVX512 static void unpack_i16(struct weir__bulk_unpack *job)
{
    unpack_integers(job, WEIR__BULK_I16, 1, true);
}

AVX512 static void unpack_i32(struct weir__bulk_unpack *job)
{
    unpack_integers(job, WEIR__BULK_I32, 2, true);
}

AVX512 static void unpack_i64(struct weir__bulk_unpack *job)
{
    unpack_integers(job, WEIR__BULK_I64, 3, true);
}

/* Floats among themselves. */
AVX512_INLINE void unpack_floats(struct weir__bulk_unpack *job, unsigned log2_bytes, unsigned tag)
{
    const struct full *full = &fulls[log2_bytes];
    const __m512i tags = _mm512_set1_epi8((char)tag);
    const __m512i order = load_512(full->order);
    const size_t value_bytes = (size_t)1 << log2_bytes;
    const uint8_t *at = job->at;
    uint8_t *values = job->values;
    size_t count = job->count;

    for (; count >= full->count && job->end - at >= VECTOR_BYTES; count -= full->count) {
        __m512i bytes = load_512(at);
        if ((_mm512_cmpeq_epi8_mask(bytes, tags) & full->places) != full->places)
            break;
        store_elements(values, _mm512_permutexvar_epi8(order, bytes), full->count, log2_bytes);
        values += full->count * value_bytes;
        at += full->count * (1 + value_bytes);
    }
    job->at = at;
    job->values = values;
    job->count = count;
}

AVX512 static void unpack_f32(struct weir__bulk_unpack *job)
{
    unpack_floats(job, 2, WEIR_TAG_FLOAT32);
}

AVX512 static void unpack_f64(struct weir__bulk_unpack *job)
{
    unpack_floats(job, 3, WEIR_TAG_FLOAT64);
}

const struct weir__bulk_way weir__bulk_avx512 = {
    .name = "avx512",
    .bytes = {WEIR__BULK_OF_INTEGERS(bytes)},
    .pack = {WEIR__BULK_OF_ALL(pack)},
    .unpack = {WEIR__BULK_OF_ALL(unpack)},
};

#else

/* A source without a declaration is no C. */
typedef int weir__bulk_no_avx512;

#endif /* WEIR__BULK_X86 */
