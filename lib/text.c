/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "weir/text.h"
#include "text_scan.h"

#define SCRATCH_INITIAL_BYTES ((size_t)256)

static const uint8_t replacement[] = {0xef, 0xbf, 0xbd}; /* U+FFFD */

/* --- which scan ---------------------------------------------------------------------------- */

static size_t find_high(const uint8_t *data, size_t size)
{
#if WEIR__TEXT_SSE2
    return weir__text_find_high_sse2(data, size);
#else
    return weir__text_find_high_words(data, size);
#endif
}

static size_t find_range(struct weir_view text, uint8_t first, uint8_t last)
{
#if WEIR__TEXT_SSE2
    return weir__text_find_range_sse2(text.data, text.size, first, last);
#else
    return weir__text_find_range_words(text.data, text.size, first, last);
#endif
}

static size_t find_json(const uint8_t *data, size_t size)
{
#if WEIR__TEXT_SSE2
    return weir__text_find_json_sse2(data, size);
#else
    return weir__text_find_json_words(data, size);
#endif
}

/* --- results ------------------------------------------------------------------------------- */

static int borrow(struct weir_view text, struct weir_text *ret)
{
    const struct weir_text borrowed = {text, true};

    *ret = borrowed;
    return 0;
}

static int own(const uint8_t *data, size_t size, struct weir_text *ret)
{
    const struct weir_text copy = {weir_view_of(data, size), false};

    *ret = copy;
    return 0;
}

static void copy(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size != 0)
        memcpy(to, from, size);
}

/* Memory for @size bytes and the NUL behind them, which is written; NULL and *@ret_error. The only
 * allocation of each function, made when nothing else can fail: so the arena is as before on any
 * error. */
static uint8_t *take(struct weir_arena *arena, size_t size, int *ret_error)
{
    size_t with_nul;

    if (weir_add_overflows(size, 1, &with_nul)) {
        *ret_error = -EOVERFLOW;
        return NULL;
    }
    uint8_t *memory = weir_arena_alloc(arena, with_nul, 1);
    if (memory != NULL)
        memory[size] = '\0';
    else
        *ret_error = weir_arena_error(arena);
    return memory;
}

/* --- bytes for bytes ----------------------------------------------------------------------- */

/* Flip the case of the letters from @first to @last. */
static int flip_case(struct weir_view text, uint8_t first, uint8_t last, struct weir_arena *arena,
                     struct weir_text *ret)
{
    size_t i = find_range(text, first, last);
    int rc = 0;

    if (i == text.size)
        return borrow(text, ret);
    uint8_t *to = take(arena, text.size, &rc);
    if (to == NULL)
        return rc;
    copy(to, text.data, i);
    for (; text.size - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, text.data + i, sizeof(word));
        word ^= weir__text_word_range(word, first, last) >> 2; /* 0x80 to 0x20 */
        memcpy(to + i, &word, sizeof(word));
    }
    for (; i < text.size; i++) {
        uint8_t byte = text.data[i];
        to[i] = byte >= first && byte <= last ? byte ^ 0x20 : byte;
    }
    return own(to, text.size, ret);
}

int weir_text_lower(struct weir_view text, struct weir_arena *arena, struct weir_text *ret)
{
    return flip_case(text, 'A', 'Z', arena, ret);
}

int weir_text_upper(struct weir_view text, struct weir_arena *arena, struct weir_text *ret)
{
    return flip_case(text, 'a', 'z', arena, ret);
}

int weir_text_map(struct weir_view text, uint8_t (*map)(uint8_t byte, void *context), void *context,
                  struct weir_arena *arena, struct weir_text *ret)
{
    uint8_t changed = 0;
    size_t i = 0;
    int rc = 0;

    while (i < text.size && (changed = map(text.data[i], context)) == text.data[i])
        i++;
    if (i == text.size)
        return borrow(text, ret);
    uint8_t *to = take(arena, text.size, &rc);
    if (to == NULL)
        return rc;
    copy(to, text.data, i);
    to[i++] = changed;
    for (; i < text.size; i++)
        to[i] = map(text.data[i], context);
    return own(to, text.size, ret);
}

/* --- UTF-8 --------------------------------------------------------------------------------- */

/*
 * Size of the character at @at, of which @left bytes are there, at least one. 0: it is ill-formed
 * or cut off; then *@ret_bad is the size of the maximal subpart, which one U+FFFD stands for. The
 * lead byte says how many follow and, by the range of the first of them, that the form is the
 * shortest, no surrogate and not above U+10FFFF (the Unicode Standard 15.0, table 3-7).
 */
static size_t character_bytes(const uint8_t *at, size_t left, size_t *ret_bad)
{
    uint8_t lead = at[0], low = 0x80, high = 0xbf;
    size_t size;

    if (lead < 0x80) {
        return 1;
    } else if (lead >= 0xc2 && lead <= 0xdf) {
        size = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        size = 3;
        low = lead == 0xe0 ? 0xa0 : low;
        high = lead == 0xed ? 0x9f : high;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        size = 4;
        low = lead == 0xf0 ? 0x90 : low;
        high = lead == 0xf4 ? 0x8f : high;
    } else {
        *ret_bad = 1;
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if (i == left || at[i] < low || at[i] > high) {
            *ret_bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return size;
}

/* Offset, from @from on, of the first ill-formed sequence, and the size of its maximal subpart;
 * text.size and 0 if there is none. */
static size_t find_bad(struct weir_view text, size_t from, size_t *ret_bad)
{
    size_t i = from;

    *ret_bad = 0;
    while (i < text.size) {
        if (text.data[i] < 0x80) {
            i += find_high(text.data + i, text.size - i);
            continue;
        }
        size_t size = character_bytes(text.data + i, text.size - i, ret_bad);
        if (size == 0)
            break;
        i += size;
    }
    return i;
}

size_t weir_text_valid_bytes(struct weir_view text)
{
    size_t bad;

    return find_bad(text, 0, &bad);
}

/* The size of @text, which has @bad bytes that are ill-formed at @first_bad, when repaired. */
static int repaired_bytes(struct weir_view text, size_t first_bad, size_t bad, size_t *ret)
{
    size_t total = text.size, i = first_bad;

    while (bad != 0) {
        if (weir_add_overflows(total, sizeof(replacement) - bad, &total))
            return -EOVERFLOW;
        i = find_bad(text, i + bad, &bad);
    }
    *ret = total;
    return 0;
}

int weir_text_repair(struct weir_view text, struct weir_arena *arena, struct weir_text *ret)
{
    size_t total, bad, good = 0;
    size_t i = find_bad(text, 0, &bad);

    if (bad == 0)
        return borrow(text, ret);
    int rc = repaired_bytes(text, i, bad, &total);
    if (rc != 0)
        return rc;
    uint8_t *memory = take(arena, total, &rc);
    if (memory == NULL)
        return rc;
    uint8_t *to = memory;
    while (bad != 0) {
        copy(to, text.data + good, i - good);
        to += i - good;
        memcpy(to, replacement, sizeof(replacement));
        to += sizeof(replacement);
        good = i + bad;
        i = find_bad(text, good, &bad);
    }
    copy(to, text.data + good, text.size - good);
    assert(to + (text.size - good) == memory + total);
    return own(memory, total, ret);
}

/* --- JSON ---------------------------------------------------------------------------------- */

/* The letter that stands for @byte behind a backslash; 0: there is none. */
static uint8_t json_letter(uint8_t byte)
{
    static const uint8_t controls[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    return byte < sizeof(controls) ? controls[byte] : byte;
}

static uint8_t *json_escape(uint8_t byte, uint8_t *at)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t letter = json_letter(byte);

    *at++ = '\\';
    if (letter != 0) {
        *at++ = letter;
        return at;
    }
    memcpy(at, "u00", 3);
    at[3] = (uint8_t)hex[byte >> 4];
    at[4] = (uint8_t)hex[byte & 15];
    return at + 5;
}

size_t weir_text_json_bytes(struct weir_view text)
{
    size_t total = text.size;

    for (size_t i = 0; i < text.size; i++) {
        i += find_json(text.data + i, text.size - i);
        if (i == text.size)
            break;
        size_t more = json_letter(text.data[i]) != 0 ? 1 : WEIR_TEXT_JSON_MAX - 1;
        if (weir_add_overflows(total, more, &total))
            return SIZE_MAX;
    }
    return total;
}

size_t weir_text_json_write(struct weir_view text, uint8_t *at)
{
    uint8_t *to = at;

    for (size_t i = 0; i < text.size; i++) {
        size_t plain = find_json(text.data + i, text.size - i);
        copy(to, text.data + i, plain);
        to += plain;
        i += plain;
        if (i == text.size)
            break;
        to = json_escape(text.data[i], to);
    }
    return (size_t)(to - at);
}

int weir_text_json(struct weir_view text, uint32_t flags, struct weir_arena *arena,
                   struct weir_text *ret)
{
    size_t quote = (flags & WEIR_TEXT_QUOTED) != 0 ? 1 : 0;
    size_t escaped = weir_text_json_bytes(text), total;
    int rc = 0;

    assert((flags & ~WEIR_TEXT_QUOTED) == 0);
    if (quote == 0 && escaped == text.size)
        return borrow(text, ret);
    if (escaped == SIZE_MAX || weir_add_overflows(escaped, 2 * quote, &total))
        return -EOVERFLOW;
    uint8_t *memory = take(arena, total, &rc);
    if (memory == NULL)
        return rc;
    if (quote != 0) {
        memory[0] = '"';
        memory[total - 1] = '"';
    }
    size_t written = weir_text_json_write(text, memory + quote);
    assert(written == escaped);
    (void)written;
    return own(memory, total, ret);
}

/* --- C strings ----------------------------------------------------------------------------- */

int weir_text_cstr(struct weir_view text, bool next_readable, struct weir_arena *arena,
                   struct weir_text *ret)
{
    int rc = 0;

    if (text.size != 0 && memchr(text.data, '\0', text.size) != NULL)
        return -EBADMSG;
    if (next_readable && text.data[text.size] == '\0')
        return borrow(text, ret);
    uint8_t *memory = take(arena, text.size, &rc);
    if (memory == NULL)
        return rc;
    copy(memory, text.data, text.size);
    return own(memory, text.size, ret);
}

/* --- many in a row ------------------------------------------------------------------------- */

/* If one of @parts is all of @total bytes, or there are none, there is nothing to do. */
static bool borrow_part(const struct weir_view *parts, size_t count, size_t total,
                        struct weir_text *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size == total) {
            borrow(parts[i], ret);
            return true;
        }
    }
    if (count == 0)
        borrow(weir_view_of(NULL, 0), ret);
    return count == 0;
}

int weir_text_join(const struct weir_view *parts, size_t count, struct weir_view separator,
                   struct weir_arena *arena, struct weir_text *ret)
{
    size_t total;

    int rc = weir_view_join_bytes(parts, count, separator.size, &total);
    if (rc != 0)
        return rc;
    if (borrow_part(parts, count, total, ret))
        return 0;
    uint8_t *memory = take(arena, total, &rc);
    if (memory == NULL)
        return rc;
    (void)weir_view_join_write(parts, count, separator, memory);
    return own(memory, total, ret);
}

void weir_text_scratch_init(struct weir_text_scratch *scratch, struct weir_pool *pool,
                            size_t limit_bytes)
{
    const struct weir_growth growth = {SCRATCH_INITIAL_BYTES, SIZE_MAX, limit_bytes,
                                       WEIR_GROWTH_PERCENT};

    scratch->pool = pool;
    scratch->block = NULL;
    scratch->growth = growth;
}

void weir_text_scratch_fini(struct weir_text_scratch *scratch)
{
    weir_block_drop(scratch->block);
    memset(scratch, 0, sizeof(*scratch));
}

static bool lies_in(struct weir_view part, const struct weir_block *block)
{
    /* As numbers: the order of pointers into different objects is not C's to tell. */
    return part.size != 0 && (uintptr_t)part.data - (uintptr_t)block->data < block->size;
}

/* Whether one of the strings that are to be joined lies in @block. */
static bool any_lies_in(const struct weir_view *parts, size_t count, struct weir_view separator,
                        const struct weir_block *block)
{
    for (size_t i = 0; i < count; i++)
        if (lies_in(parts[i], block))
            return true;
    return lies_in(separator, block);
}

/* The size of the region for @need_bytes: the present one's if that will do. */
static size_t region_bytes(const struct weir_text_scratch *scratch, size_t need_bytes)
{
    size_t present = scratch->block != NULL ? scratch->block->size : 0;

    if (present >= need_bytes)
        return present;
    size_t planned = weir_growth_next(&scratch->growth, present, 0);
    return planned > need_bytes ? planned : need_bytes;
}

int weir_text_scratch_join(struct weir_text_scratch *scratch, const struct weir_view *parts,
                           size_t count, struct weir_view separator, struct weir_text *ret)
{
    struct weir_block *block = scratch->block, *before = NULL;
    size_t total, with_nul;

    int rc = weir_view_join_bytes(parts, count, separator.size, &total);
    if (rc != 0 || weir_add_overflows(total, 1, &with_nul))
        return -EOVERFLOW;
    if (borrow_part(parts, count, total, ret))
        return 0;
    if (scratch->growth.limit != 0 && total > scratch->growth.limit)
        return -ENOBUFS;
    if (block == NULL || block->size < with_nul || any_lies_in(parts, count, separator, block)) {
        rc = weir_pool_alloc(scratch->pool, region_bytes(scratch, with_nul), &block);
        if (rc != 0)
            return rc;
        before = scratch->block;
        scratch->block = block;
    }
    (void)weir_view_join_write(parts, count, separator, block->data);
    block->data[total] = '\0';
    weir_block_drop(before);
    return own(block->data, total, ret);
}
