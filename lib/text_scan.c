/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <string.h>

#include "text_scan.h"

#if WEIR__TEXT_SSE2
#include <emmintrin.h>
#endif

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS (ONES << 7)

/* What is looked for. A constant where it is used, so that each scan is a loop of its own. */
enum kind { HIGH, RANGE, JSON };

struct what {
    enum kind kind;
    uint8_t first;
    uint8_t last;
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE bool is_found(uint8_t byte, struct what what)
{
    switch (what.kind) {
    case HIGH:
        return byte >= 0x80;
    case RANGE:
        return byte >= what.first && byte <= what.last;
    case JSON:
        break;
    }
    return byte < 0x20 || byte == '"' || byte == '\\';
}

/* Not 0 if a byte of @word is looked for. Which one the bits do not tell. */
ALWAYS_INLINE uint64_t word_mask(uint64_t word, struct what what)
{
    switch (what.kind) {
    case HIGH:
        return word & HIGHS;
    case RANGE:
        return weir__text_word_range(word, what.first, what.last);
    case JSON:
        break;
    }
    return weir__text_word_range(word, 0, 0x1f) | weir__text_word_range(word, '"', '"') |
           weir__text_word_range(word, '\\', '\\');
}

ALWAYS_INLINE size_t find_by_words(const uint8_t *data, size_t size, struct what what)
{
    size_t i = 0;

    for (; size - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, data + i, sizeof(word));
        if (word_mask(word, what) != 0)
            break;
    }
    while (i < size && !is_found(data[i], what))
        i++;
    return i;
}

size_t weir__text_find_high_words(const uint8_t *data, size_t size)
{
    const struct what what = {HIGH, 0, 0};
    return find_by_words(data, size, what);
}

size_t weir__text_find_range_words(const uint8_t *data, size_t size, uint8_t first, uint8_t last)
{
    const struct what what = {RANGE, first, last};
    return find_by_words(data, size, what);
}

size_t weir__text_find_json_words(const uint8_t *data, size_t size)
{
    const struct what what = {JSON, 0, 0};
    return find_by_words(data, size, what);
}

#if WEIR__TEXT_SSE2

#define VECTOR_BYTES sizeof(__m128i)

/* The bytes from @first to @last: unsigned @bytes - @first <= @last - @first. */
ALWAYS_INLINE __m128i vector_range(__m128i bytes, uint8_t first, uint8_t last)
{
    __m128i from_first = _mm_sub_epi8(bytes, _mm_set1_epi8((char)first));
    __m128i width = _mm_set1_epi8((char)(last - first));
    return _mm_cmpeq_epi8(_mm_min_epu8(from_first, width), from_first);
}

/* A bit for each of the 16 bytes at @data that is looked for, the first in the lowest. */
ALWAYS_INLINE unsigned vector_mask(const uint8_t *data, struct what what)
{
    __m128i bytes, found;

    memcpy(&bytes, data, sizeof(bytes));
    switch (what.kind) {
    case HIGH:
        return (unsigned)_mm_movemask_epi8(bytes);
    case RANGE:
        return (unsigned)_mm_movemask_epi8(vector_range(bytes, what.first, what.last));
    case JSON:
        break;
    }
    found = vector_range(bytes, 0, 0x1f);
    found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
    found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    return (unsigned)_mm_movemask_epi8(found);
}

ALWAYS_INLINE size_t find_by_vectors(const uint8_t *data, size_t size, struct what what)
{
    size_t i = 0;

    if (size < VECTOR_BYTES)
        return find_by_words(data, size, what);
    for (; size - i >= VECTOR_BYTES; i += VECTOR_BYTES) {
        unsigned mask = vector_mask(data + i, what);
        if (mask != 0)
            return i + (unsigned)__builtin_ctz(mask);
    }
    if (i == size)
        return size;
    /* The last 16, of which the first have been looked at: they hold nothing. */
    unsigned mask = vector_mask(data + size - VECTOR_BYTES, what);
    return mask != 0 ? size - VECTOR_BYTES + (unsigned)__builtin_ctz(mask) : size;
}

size_t weir__text_find_high_sse2(const uint8_t *data, size_t size)
{
    const struct what what = {HIGH, 0, 0};
    return find_by_vectors(data, size, what);
}

size_t weir__text_find_range_sse2(const uint8_t *data, size_t size, uint8_t first, uint8_t last)
{
    const struct what what = {RANGE, first, last};
    return find_by_vectors(data, size, what);
}

size_t weir__text_find_json_sse2(const uint8_t *data, size_t size)
{
    const struct what what = {JSON, 0, 0};
    return find_by_vectors(data, size, what);
}

#endif /* WEIR__TEXT_SSE2 */
