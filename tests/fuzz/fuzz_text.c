/* SPDX-License-Identifier: MIT */
/*
 * fuzz_text: what is repaired is UTF-8, what needs nothing is borrowed, what is escaped can be
 * unescaped, and what is taken apart at a separator is joined to the same.
 *
 * The first byte is the separator, the rest is the text.
 */
#include <stdlib.h>
#include <string.h>

#include <weir/text.h>

#include "../../lib/text_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARTS_MAX 64

static struct weir_pool *pool;
static struct weir_arena arena;
static struct weir_text_scratch scratch;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool is_same(struct weir_view a, struct weir_view b)
{
    return a.data == b.data && a.size == b.size;
}

/* @text is @input itself, or a copy that is not the same and ends in a NUL. */
static void require_sound(const struct weir_text *text, struct weir_view input, bool unchanged)
{
    require(text->borrowed == unchanged);
    if (unchanged)
        require(is_same(text->view, input));
    else
        require(text->view.data[text->view.size] == 0 && !weir_view_equal(text->view, input));
}

static void fuzz_repair(struct weir_view input)
{
    struct weir_text repaired, again;
    size_t valid = weir_text_valid_bytes(input);

    require(valid <= input.size && weir_text_is_utf8(weir_view_of(input.data, valid)));
    require(weir_text_repair(input, &arena, &repaired) == 0);
    require_sound(&repaired, input, valid == input.size);
    require(repaired.view.size >= valid &&
            (valid == 0 || memcmp(repaired.view.data, input.data, valid) == 0));
    require(weir_text_is_utf8(repaired.view));
    require(weir_text_repair(repaired.view, &arena, &again) == 0);
    require_sound(&again, repaired.view, true);
}

static unsigned hex_of(uint8_t digit)
{
    return digit <= '9' ? digit - '0' : digit - 'a' + 10u;
}

/* The next byte of a JSON string, which stands at *@at. */
static uint8_t unescape(struct weir_view json, size_t *at)
{
    static const char letters[] = "\"\\bfnrt", bytes[] = "\"\\\b\f\n\r\t";
    uint8_t c = json.data[(*at)++];

    require(c >= 0x20 && c != '"');
    if (c != '\\')
        return c;
    require(*at < json.size);
    c = json.data[(*at)++];
    if (c != 'u') {
        const char *letter = c != 0 ? strchr(letters, c) : NULL;
        require(letter != NULL);
        return (uint8_t)bytes[letter - letters];
    }
    require(json.size - *at >= 4 && memcmp(json.data + *at, "00", 2) == 0);
    c = (uint8_t)(hex_of(json.data[*at + 2]) << 4 | hex_of(json.data[*at + 3]));
    *at += 4;
    return c;
}

static void fuzz_json(struct weir_view input)
{
    struct weir_text json, quoted;
    size_t at = 0;

    require(weir_text_json(input, 0, &arena, &json) == 0);
    require(json.view.size == weir_text_json_bytes(input));
    require_sound(&json, input, json.view.size == input.size);
    for (size_t i = 0; i < input.size; i++) {
        require(at < json.view.size);
        require(unescape(json.view, &at) == input.data[i]);
    }
    require(at == json.view.size);
    require(weir_text_json(input, WEIR_TEXT_QUOTED, &arena, &quoted) == 0);
    require(quoted.view.size == json.view.size + 2 && quoted.view.data[0] == '"');
    require(quoted.view.data[quoted.view.size - 1] == '"');
    require(json.view.size == 0 ||
            memcmp(quoted.view.data + 1, json.view.data, json.view.size) == 0);
}

static void fuzz_case(struct weir_view input)
{
    struct weir_text lower, upper, back;

    require(weir_text_lower(input, &arena, &lower) == 0);
    require(weir_text_upper(input, &arena, &upper) == 0);
    require_sound(&lower, input, weir_view_equal(lower.view, input));
    require_sound(&upper, input, weir_view_equal(upper.view, input));
    require(weir_text_lower(upper.view, &arena, &back) == 0);
    require(weir_view_equal(back.view, lower.view));
}

static void fuzz_join(struct weir_view input, uint8_t separator)
{
    struct weir_view parts[PARTS_MAX];
    struct weir_view between = weir_view_of(&separator, 1);
    struct weir_text joined;
    size_t count = 0, from = 0;

    for (size_t i = 0; i < input.size && count < PARTS_MAX - 1; i++) {
        if (input.data[i] != separator)
            continue;
        parts[count++] = weir_view_of(input.data + from, i - from);
        from = i + 1;
    }
    parts[count++] = weir_view_of(input.size != 0 ? input.data + from : NULL, input.size - from);
    require(weir_text_join(parts, count, between, &arena, &joined) == 0);
    require(weir_view_equal(joined.view, input) && joined.borrowed == (count == 1));
    require(weir_text_scratch_join(&scratch, parts, count, between, &joined) == 0);
    require(weir_view_equal(joined.view, input) && joined.borrowed == (count == 1));
}

static void fuzz_scans(struct weir_view input)
{
#if WEIR__TEXT_SSE2
    const uint8_t *data = input.data;
    size_t size = input.size;
    require(weir__text_find_high_words(data, size) == weir__text_find_high_sse2(data, size));
    require(weir__text_find_json_words(data, size) == weir__text_find_json_sse2(data, size));
    require(weir__text_find_range_words(data, size, 'a', 'z') ==
            weir__text_find_range_sse2(data, size, 'a', 'z'));
#else
    (void)input;
#endif
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (pool == NULL) {
        require(weir_pool_create(NULL, &pool) == 0);
        weir_arena_init(&arena, pool, NULL);
        weir_text_scratch_init(&scratch, pool, 0);
    }
    struct weir_view input = weir_view_of(data + 1, size - 1);
    fuzz_repair(input);
    fuzz_json(input);
    fuzz_case(input);
    fuzz_join(input, data[0]);
    fuzz_scans(input);
    weir_arena_reset(&arena);
    return 0;
}
