/* SPDX-License-Identifier: MIT */
/**
 * text_scan: where the first byte of a kind stands.
 *
 * Each scan is there twice, 16 bytes at a time with SSE2 and 8 at a time in plain C; both give the
 * same result, and tests compare them. Neither reads a byte outside of what it is given.
 *
 * Returns   of each: the offset of the first such byte; @size if there is none.
 */
#ifndef WEIR_TEXT_SCAN_H
#define WEIR_TEXT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#define WEIR__TEXT_SSE2 1
#else
#define WEIR__TEXT_SSE2 0
#endif

/** A byte from 0x80 on. */
size_t weir__text_find_high_words(const uint8_t *data, size_t size);

/** A byte from @first to @last, both below 0x80. */
size_t weir__text_find_range_words(const uint8_t *data, size_t size, uint8_t first, uint8_t last);

/** A byte that JSON has to escape: below 0x20, a quote, a backslash. */
size_t weir__text_find_json_words(const uint8_t *data, size_t size);

#if WEIR__TEXT_SSE2
size_t weir__text_find_high_sse2(const uint8_t *data, size_t size);
size_t weir__text_find_range_sse2(const uint8_t *data, size_t size, uint8_t first, uint8_t last);
size_t weir__text_find_json_sse2(const uint8_t *data, size_t size);
#endif

/** 0x80 in each byte of @word that is from @first to @last, both below 0x80. */
static inline uint64_t weir__text_word_range(uint64_t word, uint8_t first, uint8_t last)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t low = word & ~(ones << 7);
    /* Of a byte below 0x80 neither sum leaves its byte: at most 0x7f + 0x80, 0x7f + 0x7f. */
    uint64_t not_below = low + ones * (uint8_t)(0x80 - first);
    uint64_t above = low + ones * (uint8_t)(0x7f - last);
    return not_below & ~above & ~word & (ones << 7);
}

/**
 * Whether the @size bytes behind the one at @at, up to 31, are below 0x80. 32 are readable there.
 */
static inline bool weir__text_ascii_behind_words(const uint8_t *at, unsigned size)
{
    const uint8_t *end = at + 1 + size;
    uint64_t seen = 0;
    uint64_t word;

    for (at++; (size_t)(end - at) >= sizeof word; at += sizeof word) {
        memcpy(&word, at, sizeof word);
        seen |= word;
    }
    while (at != end)
        seen |= *at++;
    return (seen & UINT64_C(0x8080808080808080)) == 0;
}

#if WEIR__TEXT_SSE2
static inline bool weir__text_ascii_behind_sse2(const uint8_t *at, unsigned size)
{
    __m128i low, high;

    memcpy(&low, at, sizeof low);
    memcpy(&high, at + 16, sizeof high);
    uint32_t signs = (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
    return (signs & ((UINT32_C(2) << size) - 2)) == 0;
}
#define weir__text_ascii_behind weir__text_ascii_behind_sse2
#else
#define weir__text_ascii_behind weir__text_ascii_behind_words
#endif

#endif /* WEIR_TEXT_SCAN_H */
