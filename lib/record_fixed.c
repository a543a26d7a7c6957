/* SPDX-License-Identifier: MIT */
/*
 * record_fixed: templates too large to be compared in line, and packing where the room has to be
 * looked for.
 */
#include "record_private.h"
#include "weir/record_fixed.h"

bool weir__record_differs_words(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes,
                                size_t size)
{
    uint64_t differ = 0;
    size_t i = 0;

    for (; size - i >= 16; i += 16)
        differ |= weir_record_fixed_differ8(at + i, wanted + i, holes + i) |
                  weir_record_fixed_differ8(at + i + 8, wanted + i + 8, holes + i + 8);
    for (; i < size; i++)
        differ |= (unsigned)(at[i] | holes[i]) ^ wanted[i];
    return differ != 0;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i differ32(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes)
{
    __m256i got = _mm256_loadu_si256((const __m256i_u *)at);
    __m256i want = _mm256_loadu_si256((const __m256i_u *)wanted);
    __m256i hole = _mm256_loadu_si256((const __m256i_u *)holes);

    return _mm256_xor_si256(_mm256_or_si256(got, hole), want);
}

AVX2 bool weir__record_differs_avx2(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes,
                                    size_t size)
{
    const size_t last = size - 32;
    __m256i one = differ32(at + last, wanted + last, holes + last);
    __m256i two = _mm256_setzero_si256();
    size_t i = 0;

    assert(size >= 32);
    for (; i + 32 < last; i += 64) {
        one = _mm256_or_si256(one, differ32(at + i, wanted + i, holes + i));
        two = _mm256_or_si256(two, differ32(at + i + 32, wanted + i + 32, holes + i + 32));
    }
    if (i < last)
        one = _mm256_or_si256(one, differ32(at + i, wanted + i, holes + i));
    one = _mm256_or_si256(one, two);
    return !_mm256_testz_si256(one, one);
}
#endif

bool weir_record_fixed_differs(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes,
                               size_t size)
{
#if defined(__x86_64__)
    if (size >= 32 && __builtin_cpu_supports("avx2"))
        return weir__record_differs_avx2(at, wanted, holes, size);
#endif
    return weir__record_differs_words(at, wanted, holes, size);
}

void weir_record_fixed_pack_tail(struct weir_packer *packer, const struct weir_record *schema,
                                 unsigned first, const void *record)
{
    struct weir_packer local = *packer;
    uint64_t present;

    memcpy(&present, record, sizeof present);
    for (unsigned i = first; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        if (schema->is_map)
            weir_pack_str(&local, weir_view_of(field->key, field->key_bytes));
        if (field->presence == WEIR_RECORD_OPTIONAL && (present & WEIR_RECORD_BIT(i)) == 0)
            weir_pack_nil(&local);
        else
            weir__record_pack_value(&local, field, (const uint8_t *)record + field->offset);
    }
    /* One value, whole, as weir_record_pack() has it. */
    local.values = packer->values + 1;
    local.uncounted = packer->uncounted;
    *packer = local;
}
