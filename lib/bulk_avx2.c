/* SPDX-License-Identifier: MIT */
/*
 * The AVX2 way: floats in vectors of 32 bytes. Integers go one by one as on any processor, but with
 * shifts by any number of bits in one instruction.
 */
#include "bulk_scalar.h"

#if WEIR__BULK_X86

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,bmi,bmi2")))

#define VECTOR_BYTES 32

WEIR__BULK_INTEGERS(AVX2)

/* Six floats are 30 bytes on the wire, three in each half of a vector; the 31st is a tag again. */
AVX2 static void pack_f32(struct weir__bulk_pack *job)
{
    const __m256i halves = _mm256_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5);
    /* In the first half f0, f1, f2 behind their tags; the last tag belongs to the next half. */
    const __m256i order = _mm256_setr_epi8(-1, 3, 2, 1, 0, -1, 7, 6, 5, 4, -1, 11, 10, 9, 8, -1, 3,
                                           2, 1, 0, -1, 7, 6, 5, 4, -1, 11, 10, 9, 8, -1, -1);
    const char t = (char)WEIR_TAG_FLOAT32;
    const __m256i tags = _mm256_setr_epi8(t, 0, 0, 0, 0, t, 0, 0, 0, 0, t, 0, 0, 0, 0, t, 0, 0, 0,
                                          0, t, 0, 0, 0, 0, t, 0, 0, 0, 0, 0, 0);
    uint8_t *at = job->at;

    /* Eight are loaded. */
    for (; job->count >= 8 && job->end - at >= VECTOR_BYTES; job->count -= 6) {
        __m256i values;
        memcpy(&values, job->values, sizeof(values));
        values = _mm256_permutevar8x32_epi32(values, halves);
        values = _mm256_or_si256(_mm256_shuffle_epi8(values, order), tags);
        memcpy(at, &values, sizeof(values));
        job->values += 24;
        at += 30;
    }
    job->at = at;
    weir__bulk_pack_floats(job, 4);
}

/* Three doubles are 27 bytes on the wire, the middle one in both halves of a vector. */
AVX2 static void pack_f64(struct weir__bulk_pack *job)
{
    const __m256i order =
        _mm256_setr_epi8(-1, 7, 6, 5, 4, 3, 2, 1, 0, -1, 15, 14, 13, 12, 11, 10, 1, 0, -1, 15, 14,
                         13, 12, 11, 10, 9, 8, -1, -1, -1, -1, -1);
    const char t = (char)WEIR_TAG_FLOAT64;
    const __m256i tags = _mm256_setr_epi8(t, 0, 0, 0, 0, 0, 0, 0, 0, t, 0, 0, 0, 0, 0, 0, 0, 0, t,
                                          0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    uint8_t *at = job->at;

    /* Four are loaded. */
    for (; job->count >= 4 && job->end - at >= VECTOR_BYTES; job->count -= 3) {
        __m256i values;
        memcpy(&values, job->values, sizeof(values));
        values = _mm256_permute4x64_epi64(values, _MM_SHUFFLE(2, 1, 1, 0));
        values = _mm256_or_si256(_mm256_shuffle_epi8(values, order), tags);
        memcpy(at, &values, sizeof(values));
        job->values += 24;
        at += 27;
    }
    job->at = at;
    weir__bulk_pack_floats(job, 8);
}

/* Six at a time, as they were packed; eight elements are stored. */
AVX2 static void unpack_f32(struct weir__bulk_unpack *job)
{
    const __m256i order = _mm256_setr_epi8(4, 3, 2, 1, 9, 8, 7, 6, 14, 13, 12, 11, -1, -1, -1, -1,
                                           4, 3, 2, 1, 9, 8, 7, 6, 14, 13, 12, 11, -1, -1, -1, -1);
    const __m256i together = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
    const uint32_t places = 0x04210421; /* of the tags, in both halves */
    const __m256i tag = _mm256_set1_epi8((char)WEIR_TAG_FLOAT32);
    const uint8_t *at = job->at;

    for (; job->count >= 8 && job->end - at >= VECTOR_BYTES; job->count -= 6) {
        __m128i first, second;
        memcpy(&first, at, sizeof(first));
        memcpy(&second, at + 15, sizeof(second));
        __m256i values = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
        uint32_t found = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(values, tag));
        if ((found & places) != places)
            break;
        values = _mm256_shuffle_epi8(values, order);
        values = _mm256_permutevar8x32_epi32(values, together);
        memcpy(job->values, &values, sizeof(values));
        job->values += 24;
        at += 30;
    }
    job->at = at;
    weir__bulk_unpack_floats32(job);
}

AVX2 static void unpack_f64(struct weir__bulk_unpack *job)
{
    const __m256i order = _mm256_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8, 7,
                                           6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8);
    const uint8_t *at = job->at;

    for (; job->count >= 4 && job->end - at >= 36; job->count -= 4) {
        unsigned differ = (at[0] ^ WEIR_TAG_FLOAT64) | (at[9] ^ WEIR_TAG_FLOAT64) |
                          (at[18] ^ WEIR_TAG_FLOAT64) | (at[27] ^ WEIR_TAG_FLOAT64);
        uint64_t big[4];
        if (differ != 0)
            break;
        memcpy(&big[0], at + 1, 8);
        memcpy(&big[1], at + 10, 8);
        memcpy(&big[2], at + 19, 8);
        memcpy(&big[3], at + 28, 8);
        __m256i values = _mm256_set_epi64x((long long)big[3], (long long)big[2], (long long)big[1],
                                           (long long)big[0]);
        values = _mm256_shuffle_epi8(values, order);
        memcpy(job->values, &values, sizeof(values));
        job->values += 32;
        at += 36;
    }
    job->at = at;
    weir__bulk_unpack_floats64(job);
}

const struct weir__bulk_way weir__bulk_avx2 = {
    .name = "avx2",
    .bytes = {WEIR__BULK_OF_INTEGERS(bytes)},
    .pack = {WEIR__BULK_OF_ALL(pack)},
    .unpack = {WEIR__BULK_OF_ALL(unpack)},
};

#else

/* A source without a declaration is no C. */
typedef int weir__bulk_no_avx2;

#endif /* WEIR__BULK_X86 */
