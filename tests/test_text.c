/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <weir/text.h>

#include "../lib/text_scan.h"

/* A literal with NULs in it, as a view. */
#define BYTES(literal) weir_view_of(literal, sizeof(literal) - 1)

struct fixture {
    struct weir_pool *pool;
    struct weir_arena arena;
};

static void begin(struct fixture *f)
{
    f->pool = test_pool_create(NULL);
    weir_arena_init(&f->arena, f->pool, NULL);
}

static void end(struct fixture *f)
{
    weir_arena_fini(&f->arena);
    test_pool_destroy(f->pool);
}

static void assert_bytes(struct weir_view got, struct weir_view wanted)
{
    assert_int_equal(got.size, wanted.size);
    if (wanted.size != 0)
        assert_memory_equal(got.data, wanted.data, wanted.size);
}

static void assert_borrowed(const struct weir_text *text, struct weir_view input)
{
    assert_true(text->borrowed);
    assert_ptr_equal(text->view.data, input.data);
    assert_int_equal(text->view.size, input.size);
}

static void assert_copied(const struct weir_text *text, struct weir_view wanted)
{
    assert_false(text->borrowed);
    assert_bytes(text->view, wanted);
    assert_int_equal(text->view.data[wanted.size], 0);
}

/* --- a view whose neighbours cannot be read -------------------------------------------------- */

#define PAGE ((size_t)4096)

struct guarded {
    uint8_t *map; /* nothing, a page, nothing */
};

static void guarded_init(struct guarded *g)
{
    void *map = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(map != MAP_FAILED);
    g->map = map;
    assert_int_equal(mprotect(g->map + PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
}

static void guarded_fini(struct guarded *g)
{
    assert_int_equal(munmap(g->map, 3 * PAGE), 0);
}

/* @size bytes at the start of the page, or at its end. */
static uint8_t *guarded_at(const struct guarded *g, size_t size, bool at_end)
{
    return g->map + PAGE + (at_end ? PAGE - size : 0);
}

/* --- scans ----------------------------------------------------------------------------------- */

static size_t high_slowly(const uint8_t *data, size_t size)
{
    size_t i = 0;

    while (i < size && data[i] < 0x80)
        i++;
    return i;
}

static size_t range_slowly(const uint8_t *data, size_t size, uint8_t first, uint8_t last)
{
    size_t i = 0;

    while (i < size && (data[i] < first || data[i] > last))
        i++;
    return i;
}

static size_t json_slowly(const uint8_t *data, size_t size)
{
    size_t i = 0;

    while (i < size && data[i] >= 0x20 && data[i] != '"' && data[i] != '\\')
        i++;
    return i;
}

/* Every scan in every variant finds what a plain loop finds. */
static void assert_scans_agree(const uint8_t *data, size_t size)
{
    static const uint8_t ranges[][2] = {{'A', 'Z'}, {'a', 'z'}, {0, 0x7f}, {0, 0}, {0x7f, 0x7f}};

    assert_int_equal(weir__text_find_high_words(data, size), high_slowly(data, size));
    assert_int_equal(weir__text_find_json_words(data, size), json_slowly(data, size));
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        size_t wanted = range_slowly(data, size, ranges[i][0], ranges[i][1]);
        assert_int_equal(weir__text_find_range_words(data, size, ranges[i][0], ranges[i][1]),
                         wanted);
#if WEIR__TEXT_SSE2
        assert_int_equal(weir__text_find_range_sse2(data, size, ranges[i][0], ranges[i][1]),
                         wanted);
#endif
    }
#if WEIR__TEXT_SSE2
    assert_int_equal(weir__text_find_high_sse2(data, size), high_slowly(data, size));
    assert_int_equal(weir__text_find_json_sse2(data, size), json_slowly(data, size));
#endif
}

static void assert_ascii_behind(const uint8_t *at, unsigned size, bool wanted)
{
    assert_int_equal(weir__text_ascii_behind_words(at, size), wanted);
#if WEIR__TEXT_SSE2
    assert_int_equal(weir__text_ascii_behind_sse2(at, size), wanted);
#endif
}

/* What stands before and behind does not count. */
static void a_short_text_is_ASCII_if_each_byte_of_it_is(void **state)
{
    uint8_t *bytes = malloc(32);

    (void)state;
    assert_non_null(bytes);
    for (unsigned size = 0; size <= 31; size++) {
        memset(bytes, 0xff, 32);
        memset(bytes + 1, 0x7f, size);
        assert_ascii_behind(bytes, size, true);
        for (unsigned at = 1; at <= size; at++) {
            bytes[at] = 0x80;
            assert_ascii_behind(bytes, size, false);
            bytes[at] = 0x00;
            assert_ascii_behind(bytes, size, true);
        }
    }
    free(bytes);
}

static void scans_find_each_byte_at_each_place_and_read_no_other(void **state)
{
    /* The ends of what is looked for, and their neighbours. */
    static const uint8_t bytes[] = {0x00, 0x1f, 0x20, '!',  '"',  '#',  '@',  'A',
                                    'Z',  '[',  '\\', ']',  '`',  'a',  'z',  '{',
                                    0x7f, 0x80, 0xa2, 0xc1, 0xda, 0xdc, 0xe1, 0xff};
    struct guarded g;

    (void)state;
    guarded_init(&g);
    for (size_t size = 0; size <= 67; size++) {
        for (int at_end = 0; at_end <= 1; at_end++) {
            uint8_t *data = guarded_at(&g, size, at_end != 0);
            memset(data, '.', size);
            assert_scans_agree(data, size);
            for (size_t at = 0; at < size; at++) {
                for (size_t i = 0; i < sizeof(bytes); i++) {
                    data[at] = bytes[i];
                    assert_scans_agree(data, size);
                }
                data[at] = '.';
            }
        }
    }
    guarded_fini(&g);
}

static void scans_agree_on_every_pair_of_neighbours(void **state)
{
    uint8_t data[24];

    (void)state;
    /* A borrow or carry from one byte to the next would show here. */
    for (unsigned pair = 0; pair < 65536; pair++) {
        size_t at = pair % 23;
        memset(data, '.', sizeof(data));
        data[at] = (uint8_t)(pair >> 8);
        data[at + 1] = (uint8_t)pair;
        assert_scans_agree(data, sizeof(data));
    }
}

static void scans_agree_on_random_bytes(void **state)
{
    struct test_random random;
    uint8_t data[300];

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 20000; round++) {
        size_t size = test_random_size(&random, sizeof(data));
        uint64_t spread = 1 + test_random_below(&random, 256);
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)('0' + test_random_below(&random, spread));
        assert_scans_agree(data, size);
    }
}

/* --- case and mapping ------------------------------------------------------------------------ */

static void case_is_changed_of_ascii_letters_only(void **state)
{
    static const char mixed[] =
        "@AZ[`az{ \xc3\x84\xc3\xa4 \xc1\xda\xe1\xfa Content-Type 09\x7f\x80";
    static const char lower[] =
        "@az[`az{ \xc3\x84\xc3\xa4 \xc1\xda\xe1\xfa content-type 09\x7f\x80";
    static const char upper[] =
        "@AZ[`AZ{ \xc3\x84\xc3\xa4 \xc1\xda\xe1\xfa CONTENT-TYPE 09\x7f\x80";
    struct fixture f;
    struct weir_text text;

    (void)state;
    begin(&f);
    assert_int_equal(weir_text_lower(BYTES(mixed), &f.arena, &text), 0);
    assert_copied(&text, BYTES(lower));
    assert_int_equal(weir_text_upper(BYTES(mixed), &f.arena, &text), 0);
    assert_copied(&text, BYTES(upper));
    assert_int_equal(weir_text_lower(BYTES(lower), &f.arena, &text), 0);
    assert_borrowed(&text, BYTES(lower));
    assert_int_equal(weir_text_upper(BYTES(upper), &f.arena, &text), 0);
    assert_borrowed(&text, BYTES(upper));
    assert_int_equal(weir_arena_used_bytes(&f.arena), 2 * sizeof(mixed));
    end(&f);
}

static uint8_t lower_of(uint8_t byte, void *context)
{
    (*(size_t *)context)++;
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte;
}

static void case_and_mapping_agree_for_every_size_and_place(void **state)
{
    struct fixture f;
    struct guarded g;

    (void)state;
    begin(&f);
    guarded_init(&g);
    for (size_t size = 0; size <= 67; size++) {
        uint8_t *data = guarded_at(&g, size, true);
        struct weir_view input = weir_view_of(data, size);
        for (size_t at = 0; at <= size; at++) {
            struct weir_text fast, slow;
            size_t calls = 0;
            for (size_t i = 0; i < size; i++)
                data[i] = i < at ? 'm' : (uint8_t)(i * 37);
            assert_int_equal(weir_text_lower(input, &f.arena, &fast), 0);
            assert_int_equal(weir_text_map(input, lower_of, &calls, &f.arena, &slow), 0);
            assert_int_equal(calls, size);
            assert_bytes(fast.view, slow.view);
            assert_int_equal(fast.borrowed, slow.borrowed);
            if (fast.borrowed)
                assert_borrowed(&fast, input);
            else
                assert_copied(&fast, slow.view);
            weir_arena_reset(&f.arena);
        }
    }
    guarded_fini(&g);
    end(&f);
}

static uint8_t rot13(uint8_t byte, void *context)
{
    (void)context;
    if ((byte | 0x20) < 'a' || (byte | 0x20) > 'z')
        return byte;
    return (byte & 0x1f) <= 13 ? (uint8_t)(byte + 13) : (uint8_t)(byte - 13);
}

static void a_mapping_is_the_callers(void **state)
{
    struct fixture f;
    struct weir_text text;

    (void)state;
    begin(&f);
    assert_int_equal(weir_text_map(BYTES("1: Hello"), rot13, NULL, &f.arena, &text), 0);
    assert_copied(&text, BYTES("1: Uryyb"));
    assert_int_equal(weir_text_map(text.view, rot13, NULL, &f.arena, &text), 0);
    assert_copied(&text, BYTES("1: Hello"));
    const struct weir_view digits = BYTES("123");
    assert_int_equal(weir_text_map(digits, rot13, NULL, &f.arena, &text), 0);
    assert_borrowed(&text, digits);
    end(&f);
}

/* --- UTF-8 ----------------------------------------------------------------------------------- */

/* What a decoder says that follows the table of RFC 3629 to the letter. */
static bool is_utf8(const uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size;) {
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        uint8_t c = at[i++];
        unsigned more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : 4;
        if (more == 4 || more > size - i)
            return false;
        uint32_t code = more == 0 ? c : c & (0x3fu >> more);
        for (unsigned n = 0; n < more; n++) {
            if (at[i] >> 6 != 2)
                return false;
            code = code << 6 | (at[i++] & 0x3f);
        }
        if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return false;
    }
    return true;
}

/* Whether the @size bytes at @at can begin a character of more bytes. */
static bool begins_character(const uint8_t *at, size_t size)
{
    static const uint8_t seconds[] = {0x80, 0xbf};
    uint8_t whole[4];

    if (size > 3)
        return false;
    memset(whole, 0x80, sizeof(whole));
    memcpy(whole, at, size);
    for (size_t total = size + 1; total <= 4; total++) {
        for (size_t i = 0; i < 2; i++) {
            if (size == 1)
                whole[1] = seconds[i];
            /* One character, and not several in a row. */
            if (is_utf8(whole, total) && !is_utf8(whole, 1) && at[0] >= 0xc0)
                return true;
        }
    }
    return false;
}

/* Repair by the words of the standard. Returns the size written; *ret_valid: before the first. */
static size_t repair_slowly(const uint8_t *at, size_t size, uint8_t *to, size_t *ret_valid)
{
    size_t written = 0;

    *ret_valid = SIZE_MAX;
    for (size_t i = 0; i < size;) {
        size_t good = 1;
        while (good <= 4 && !(good <= size - i && is_utf8(at + i, good)))
            good++;
        if (good <= 4) {
            memcpy(to + written, at + i, good);
            written += good;
            i += good;
            continue;
        }
        size_t bad = 1;
        for (size_t n = 2; n <= size - i && begins_character(at + i, n); n++)
            bad = n;
        if (*ret_valid == SIZE_MAX)
            *ret_valid = i;
        memcpy(to + written, "\xef\xbf\xbd", 3);
        written += 3;
        i += bad;
    }
    if (*ret_valid == SIZE_MAX)
        *ret_valid = size;
    return written;
}

static void assert_repaired(struct weir_arena *arena, const uint8_t *data, size_t size)
{
    struct weir_view input = weir_view_of(data, size);
    struct weir_text text;
    uint8_t wanted[3 * 64];
    size_t valid;

    assert_true(size <= 64);
    size_t wanted_size = repair_slowly(data, size, wanted, &valid);
    if (weir_text_valid_bytes(input) != valid)
        fail_msg("%zu valid bytes, not %zu", weir_text_valid_bytes(input), valid);
    assert_int_equal(weir_text_is_utf8(input), valid == size);
    assert_int_equal(weir_text_repair(input, arena, &text), 0);
    if (valid == size)
        assert_borrowed(&text, input);
    else
        assert_copied(&text, weir_view_of(wanted, wanted_size));
    weir_arena_reset(arena);
}

static void validation_follows_the_table_for_all_of_three_bytes(void **state)
{
    static const uint8_t lasts[] = {0x00, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};

    (void)state;
    for (uint32_t n = 0; n < 65536; n++) {
        for (size_t last = 0; last < 64; last++) {
            uint8_t text[4] = {(uint8_t)(n >> 8), (uint8_t)n, lasts[last / 8], lasts[last % 8]};
            for (size_t size = 1; size <= 4; size++)
                if (weir_text_is_utf8(weir_view_of(text, size)) != is_utf8(text, size))
                    fail_msg(
                        "%02x %02x %02x %02x, %zu bytes", text[0], text[1], text[2], text[3], size);
        }
    }
}

static void repair_follows_the_standard_at_every_boundary(void **state)
{
    static const uint8_t ends[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                   0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
                                   0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    const size_t count = sizeof(ends);
    struct fixture f;

    (void)state;
    begin(&f);
    for (size_t n = 0; n < count * count * count * count; n++) {
        uint8_t data[4] = {ends[n / count / count / count],
                           ends[n / count / count % count],
                           ends[n / count % count],
                           ends[n % count]};
        assert_repaired(&f.arena, data, 4);
        for (size_t size = 1; size < 4 && n % count == 0; size++)
            assert_repaired(&f.arena, data, size);
    }
    end(&f);
}

static void every_character_is_valid_and_no_other_code(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x120000; code++) {
        uint8_t data[4];
        size_t size = 0;
        if (code < 0x80) {
            data[size++] = (uint8_t)code;
        } else if (code < 0x800) {
            data[size++] = (uint8_t)(0xc0 | code >> 6);
        } else if (code < 0x10000) {
            data[size++] = (uint8_t)(0xe0 | code >> 12);
            data[size++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        } else {
            data[size++] = (uint8_t)(0xf0 | code >> 18);
            data[size++] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
            data[size++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        }
        if (code >= 0x80)
            data[size++] = (uint8_t)(0x80 | (code & 0x3f));
        bool wanted = code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
        if (weir_text_is_utf8(weir_view_of(data, size)) != wanted)
            fail_msg("U+%04X", code);
    }
}

static void the_examples_of_the_standard_are_repaired_as_it_says(void **state)
{
    /* The Unicode Standard 15.0, section 3.9, tables 3-8 to 3-11. */
    static const struct {
        const char *input, *wanted;
        size_t valid;
    } cases[] = {
        {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", "????????A", 0},
        {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", "????????A", 0},
        {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", "?????A??B", 0},
        {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", "????A", 0},
        {"ab\xe2\x82", "ab?", 2},
        {"ab\xf0\x9f\x98", "ab?", 2},
        {"ab\xf0\x9f\x98z", "ab?z", 2},
        {"\xe2\x82\xac\xc3", "\xe2\x82\xac?", 3},
    };
    struct fixture f;

    (void)state;
    begin(&f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_text text;
        uint8_t wanted[64];
        size_t size = 0;
        for (const char *c = cases[i].wanted; *c != '\0'; c++) {
            memcpy(wanted + size, *c == '?' ? "\xef\xbf\xbd" : c, *c == '?' ? 3 : 1);
            size += *c == '?' ? 3 : 1;
        }
        struct weir_view input = weir_view_text(cases[i].input);
        assert_int_equal(weir_text_valid_bytes(input), cases[i].valid);
        assert_int_equal(weir_text_repair(input, &f.arena, &text), 0);
        assert_copied(&text, weir_view_of(wanted, size));
    }
    end(&f);
}

static void bad_bytes_are_found_at_every_place_of_every_size(void **state)
{
    /* Each one is ill-formed whatever ASCII or end follows. */
    static const char *const bad[] = {
        "\x80", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xed\xa0"};
    struct fixture f;
    struct guarded g;

    (void)state;
    begin(&f);
    guarded_init(&g);
    for (size_t size = 1; size <= 50; size++) {
        for (int at_end = 0; at_end <= 1; at_end++) {
            uint8_t *data = guarded_at(&g, size, at_end != 0);
            for (size_t at = 0; at < size; at++) {
                for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                    size_t bytes = strlen(bad[i]);
                    memset(data, 'a', size);
                    memcpy(data + at, bad[i], bytes < size - at ? bytes : size - at);
                    assert_int_equal(weir_text_valid_bytes(weir_view_of(data, size)), at);
                    assert_repaired(&f.arena, data, size);
                }
            }
        }
    }
    guarded_fini(&g);
    end(&f);
}

static void random_bytes_are_repaired_as_by_the_model(void **state)
{
    static const char *const pieces[] = {"a",
                                         "hello",
                                         "\xc3\xa9",
                                         "\xe2\x82\xac",
                                         "\xf0\x9f\x98\x80",
                                         "\xed\x9f\xbf",
                                         "\xee\x80\x80",
                                         "\xf4\x8f\xbf\xbf"};
    struct test_random random;
    struct fixture f;

    (void)state;
    begin(&f);
    test_random_init(&random);
    for (int round = 0; round < 50000; round++) {
        uint8_t data[64];
        size_t wanted = test_random_size(&random, sizeof(data)), size = 0;
        while (size < wanted) {
            const char *piece = pieces[test_random_below(&random, 8)];
            size_t bytes = strlen(piece);
            memcpy(data + size, piece, bytes < wanted - size ? bytes : wanted - size);
            size += bytes < wanted - size ? bytes : wanted - size;
        }
        for (uint64_t flips = test_random_below(&random, 4); flips != 0 && size != 0; flips--)
            data[test_random_below(&random, size)] = (uint8_t)test_random(&random);
        assert_repaired(&f.arena, data, size);
    }
    end(&f);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static void json_escapes_what_it_must_and_nothing_else(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    for (unsigned byte = 0; byte < 256; byte++) {
        const uint8_t input[3] = {'x', (uint8_t)byte, 'y'};
        char wanted[16];
        struct weir_text text;
        static const char shorts[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
        const char *found = byte != 0 ? strchr(shorts, (int)byte) : NULL;
        if (found != NULL)
            snprintf(wanted, sizeof(wanted), "x\\%cy", letters[found - shorts]);
        else if (byte < 0x20)
            snprintf(wanted, sizeof(wanted), "x\\u%04xy", byte);
        else
            snprintf(wanted, sizeof(wanted), "x%cy", (int)byte);
        const struct weir_view view = weir_view_of(input, 3);
        assert_int_equal(weir_text_json_bytes(view), strlen(wanted));
        assert_int_equal(weir_text_json(view, 0, &f.arena, &text), 0);
        if (strlen(wanted) == 3)
            assert_borrowed(&text, view);
        else
            assert_copied(&text, weir_view_text(wanted));
    }
    end(&f);
}

static void json_is_quoted_on_request_and_never_borrowed_then(void **state)
{
    struct fixture f;
    struct weir_text text;

    (void)state;
    begin(&f);
    assert_int_equal(weir_text_json(BYTES("plain"), WEIR_TEXT_QUOTED, &f.arena, &text), 0);
    assert_copied(&text, BYTES("\"plain\""));
    assert_int_equal(weir_text_json(BYTES(""), WEIR_TEXT_QUOTED, &f.arena, &text), 0);
    assert_copied(&text, BYTES("\"\""));
    assert_int_equal(weir_text_json(BYTES("a\"\0\n"), WEIR_TEXT_QUOTED, &f.arena, &text), 0);
    assert_copied(&text, BYTES("\"a\\\"\\u0000\\n\""));
    end(&f);
}

static void json_is_escaped_at_every_place_of_every_size(void **state)
{
    struct fixture f;
    struct guarded g;

    (void)state;
    begin(&f);
    guarded_init(&g);
    for (size_t size = 1; size <= 67; size++) {
        uint8_t *data = guarded_at(&g, size, true);
        for (size_t at = 0; at < size; at++) {
            uint8_t wanted[80];
            struct weir_text text;
            memset(data, '.', size);
            memset(wanted, '.', sizeof(wanted));
            data[at] = 0x01;
            memcpy(wanted + at, "\\u0001", 6);
            assert_int_equal(weir_text_json(weir_view_of(data, size), 0, &f.arena, &text), 0);
            assert_copied(&text, weir_view_of(wanted, size + 5));
            weir_arena_reset(&f.arena);
        }
        memset(data, '\\', size);
        uint8_t all[2 * 67 + 1];
        all[2 * size] = 0xee;
        assert_int_equal(weir_text_json_write(weir_view_of(data, size), all), 2 * size);
        assert_int_equal(all[2 * size - 1], '\\');
        assert_int_equal(all[2 * size], 0xee);
    }
    guarded_fini(&g);
    end(&f);
}

/* --- C strings ------------------------------------------------------------------------------- */

static void a_c_string_is_borrowed_only_where_its_nul_may_be_read(void **state)
{
    struct weir_view word = weir_view_of("word", 4), part = weir_view_of("words", 4);
    struct fixture f;
    struct weir_text text;

    (void)state;
    begin(&f);
    assert_int_equal(weir_text_cstr(word, true, &f.arena, &text), 0);
    assert_borrowed(&text, word);
    assert_int_equal(weir_text_cstr(word, false, &f.arena, &text), 0);
    assert_copied(&text, word);
    assert_int_equal(weir_text_cstr(part, true, &f.arena, &text), 0);
    assert_copied(&text, word);
    assert_int_equal(weir_text_cstr(weir_view_of(NULL, 0), false, &f.arena, &text), 0);
    assert_copied(&text, weir_view_of(NULL, 0));
    /* What is not borrowed has its NUL. */
    assert_int_equal(weir_text_upper(word, &f.arena, &text), 0);
    struct weir_view upper = text.view;
    assert_int_equal(weir_text_cstr(upper, !text.borrowed, &f.arena, &text), 0);
    assert_borrowed(&text, upper);
    end(&f);
}

static void a_c_string_is_not_read_past_its_end_unasked(void **state)
{
    struct fixture f;
    struct guarded g;

    (void)state;
    begin(&f);
    guarded_init(&g);
    for (size_t size = 0; size < 40; size++) {
        struct weir_text text;
        uint8_t *data = guarded_at(&g, size, true);
        memset(data, 'a', size);
        assert_int_equal(weir_text_cstr(weir_view_of(data, size), false, &f.arena, &text), 0);
        assert_copied(&text, weir_view_of(data, size));
    }
    guarded_fini(&g);
    end(&f);
}

static void a_nul_within_a_c_string_is_refused(void **state)
{
    struct fixture f;
    struct weir_text text = {{NULL, 7}, false};

    (void)state;
    begin(&f);
    assert_int_equal(weir_text_cstr(BYTES("a\0b"), true, &f.arena, &text), -EBADMSG);
    assert_int_equal(weir_text_cstr(BYTES("a\0"), false, &f.arena, &text), -EBADMSG);
    assert_int_equal(text.view.size, 7); /* untouched */
    assert_int_equal(weir_arena_used_bytes(&f.arena), 0);
    end(&f);
}

/* --- joining --------------------------------------------------------------------------------- */

static void strings_are_joined_with_a_separator_between_them(void **state)
{
    const struct weir_view parts[] = {BYTES("a"), BYTES(""), BYTES("bc"), {NULL, 0}};
    static const char *const wanted[] = {NULL, NULL, "a, ", "a, , bc", "a, , bc, "};
    struct weir_text_scratch scratch;
    struct fixture f;
    struct weir_text text;

    (void)state;
    begin(&f);
    weir_text_scratch_init(&scratch, f.pool, 0);
    for (size_t count = 2; count <= 4; count++) {
        assert_int_equal(weir_text_join(parts, count, BYTES(", "), &f.arena, &text), 0);
        assert_copied(&text, weir_view_text(wanted[count]));
        assert_int_equal(weir_text_scratch_join(&scratch, parts, count, BYTES(", "), &text), 0);
        assert_copied(&text, weir_view_text(wanted[count]));
    }
    assert_int_equal(weir_text_join(parts, 3, BYTES(""), &f.arena, &text), 0);
    assert_copied(&text, BYTES("abc"));
    weir_text_scratch_fini(&scratch);
    weir_text_scratch_fini(&scratch); /* zeroed */
    end(&f);
}

static void what_is_one_of_the_parts_is_borrowed(void **state)
{
    const struct weir_view parts[] = {BYTES(""), BYTES("all"), BYTES("")};
    struct weir_text_scratch scratch;
    struct fixture f;
    struct weir_text text;

    (void)state;
    begin(&f);
    weir_text_scratch_init(&scratch, f.pool, 1);
    assert_int_equal(weir_text_join(parts, 3, BYTES(""), &f.arena, &text), 0);
    assert_borrowed(&text, parts[1]);
    assert_int_equal(weir_text_join(parts + 1, 1, BYTES("---"), &f.arena, &text), 0);
    assert_borrowed(&text, parts[1]);
    assert_int_equal(weir_text_scratch_join(&scratch, parts + 1, 1, BYTES("-"), &text), 0);
    assert_borrowed(&text, parts[1]);
    assert_int_equal(weir_text_join(NULL, 0, BYTES("-"), &f.arena, &text), 0);
    assert_borrowed(&text, weir_view_of(NULL, 0));
    assert_int_equal(weir_arena_used_bytes(&f.arena), 0);
    assert_int_equal(weir_text_join(parts, 2, BYTES("-"), &f.arena, &text), 0);
    assert_copied(&text, BYTES("-all"));
    weir_text_scratch_fini(&scratch);
    end(&f);
}

static void a_scratch_keeps_its_region(void **state)
{
    const struct weir_view parts[] = {BYTES("left"), BYTES("right")};
    struct weir_pool_stats before, after;
    struct weir_text_scratch scratch;
    struct fixture f;
    struct weir_text text;

    (void)state;
    begin(&f);
    weir_text_scratch_init(&scratch, f.pool, 0);
    assert_int_equal(weir_text_scratch_join(&scratch, parts, 2, BYTES("/"), &text), 0);
    const uint8_t *region = text.view.data;
    weir_pool_stats(f.pool, &before);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(weir_text_scratch_join(&scratch, parts, 2, BYTES("/"), &text), 0);
        assert_copied(&text, BYTES("left/right"));
        assert_ptr_equal(text.view.data, region);
    }
    weir_pool_stats(f.pool, &after);
    assert_int_equal(after.total.allocations, before.total.allocations);
    weir_text_scratch_fini(&scratch);
    end(&f);
}

static void a_string_of_the_scratch_can_be_added_to(void **state)
{
    struct weir_text_scratch scratch;
    struct weir_text text;
    struct fixture f;
    char wanted[3 * 200 + 1] = "";

    (void)state;
    begin(&f);
    weir_text_scratch_init(&scratch, f.pool, 0);
    text.view = BYTES("");
    for (int i = 0; i < 200; i++) {
        const struct weir_view parts[] = {text.view, BYTES("ab")};
        assert_int_equal(weir_text_scratch_join(&scratch, parts, 2, BYTES("."), &text), 0);
        memcpy(wanted + 3 * i, ".ab", 4);
        assert_copied(&text, weir_view_text(wanted));
    }
    /* Part of it in another order, and as the separator. */
    const struct weir_view parts[] = {weir_view_of(text.view.data + 2, 1),
                                      weir_view_of(text.view.data + 1, 1)};
    assert_int_equal(
        weir_text_scratch_join(&scratch, parts, 2, weir_view_of(text.view.data, 2), &text), 0);
    assert_copied(&text, BYTES("b.aa"));
    weir_text_scratch_fini(&scratch);
    end(&f);
}

static void the_limit_of_a_scratch_is_exact(void **state)
{
    (void)state;
    for (size_t limit = 3; limit < 600; limit += 7) {
        struct weir_text_scratch scratch;
        struct weir_text text;
        struct fixture f;
        uint8_t bytes[600];
        begin(&f);
        memset(bytes, 'a', sizeof(bytes));
        weir_text_scratch_init(&scratch, f.pool, limit);
        const struct weir_view fits[] = {weir_view_of(bytes, limit - 2), BYTES("a")};
        const struct weir_view larger[] = {weir_view_of(bytes, limit - 1), BYTES("a")};
        assert_int_equal(weir_text_scratch_join(&scratch, fits, 2, BYTES("a"), &text), 0);
        assert_copied(&text, weir_view_of(bytes, limit));
        assert_int_equal(weir_text_scratch_join(&scratch, larger, 2, BYTES("a"), &text), -ENOBUFS);
        assert_copied(&text, weir_view_of(bytes, limit)); /* as before */
        weir_text_scratch_fini(&scratch);
        end(&f);
    }
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    const struct weir_view parts[] = {{NULL, SIZE_MAX / 2}, {NULL, SIZE_MAX / 2}, {NULL, 2}};
    const struct weir_view most[] = {{NULL, SIZE_MAX / 2}, {NULL, SIZE_MAX / 2 + 1}};
    struct weir_text_scratch scratch;
    struct weir_text text;
    struct fixture f;

    (void)state;
    begin(&f);
    weir_text_scratch_init(&scratch, f.pool, 0);
    assert_int_equal(weir_text_join(parts, 3, BYTES(""), &f.arena, &text), -EOVERFLOW);
    assert_int_equal(weir_text_join(parts, 2, BYTES("ab"), &f.arena, &text), -EOVERFLOW);
    assert_int_equal(weir_text_join(parts, 3, parts[0], &f.arena, &text), -EOVERFLOW);
    assert_int_equal(weir_text_join(parts, SIZE_MAX, parts[0], &f.arena, &text), -EOVERFLOW);
    /* SIZE_MAX bytes fit, their NUL does not. */
    assert_int_equal(weir_text_join(most, 2, BYTES(""), &f.arena, &text), -EOVERFLOW);
    assert_int_equal(weir_text_scratch_join(&scratch, most, 2, BYTES(""), &text), -EOVERFLOW);
    assert_int_equal(weir_arena_used_bytes(&f.arena), 0);
    end(&f);
}

/* --- failures -------------------------------------------------------------------------------- */

/* Every function that takes memory, on input that makes it do so. */
static int call(unsigned which, struct weir_view input, struct weir_arena *arena,
                struct weir_text *ret)
{
    const struct weir_view parts[] = {input, input};

    switch (which) {
    case 0:
        return weir_text_lower(input, arena, ret);
    case 1:
        return weir_text_upper(input, arena, ret);
    case 2:
        return weir_text_map(input, rot13, NULL, arena, ret);
    case 3:
        return weir_text_repair(input, arena, ret);
    case 4:
        return weir_text_json(input, 0, arena, ret);
    case 5:
        return weir_text_json(input, WEIR_TEXT_QUOTED, arena, ret);
    case 6:
        return weir_text_cstr(input, false, arena, ret);
    default:
        return weir_text_join(parts, 2, BYTES(","), arena, ret);
    }
}

#define CALLS 8

static void every_failing_allocation_leaves_the_arena_as_before(void **state)
{
    static uint8_t bytes[100000];

    (void)state;
    memset(bytes, 'A', sizeof(bytes));
    memcpy(bytes + sizeof(bytes) - 5, "a\"\\\xff\n", 5);
    for (unsigned which = 0; which < CALLS; which++) {
        for (uint64_t n = 1;; n++) {
            struct test_source source;
            struct weir_arena arena;
            struct weir_text text = {{NULL, 7}, true};
            test_source_init(&source);
            struct weir_pool *pool = test_pool_create(&source);
            weir_arena_init(&arena, pool, NULL);
            assert_non_null(weir_arena_alloc(&arena, 100, 1));
            struct weir_arena_mark before = weir_arena_mark(&arena);
            test_source_fail(&source, n);
            int rc = call(which, weir_view_of(bytes, sizeof(bytes)), &arena, &text);
            bool failed = source.failures != 0;
            if (failed) {
                assert_int_equal(rc, -ENOMEM);
                assert_int_equal(text.view.size, 7);
                assert_int_equal(weir_arena_used_bytes(&arena), 100);
                assert_ptr_equal(weir_arena_mark(&arena).cursor, before.cursor);
                assert_int_equal(call(which, weir_view_of(bytes, sizeof(bytes)), &arena, &text), 0);
            } else {
                assert_int_equal(rc, 0);
            }
            assert_false(text.borrowed);
            weir_arena_fini(&arena);
            test_pool_destroy(pool);
            test_source_fini(&source);
            if (!failed) {
                assert_true(n > 1);
                break;
            }
        }
    }
}

static void the_arenas_limit_is_exact(void **state)
{
    const struct weir_view input = BYTES("aZ\n\xff\"");
    /* With the NUL. */
    static const size_t sizes[CALLS] = {6, 6, 6, 8, 8, 10, 6, 12};
    struct fixture f;

    (void)state;
    begin(&f);
    for (unsigned which = 0; which < CALLS; which++) {
        for (size_t short_by = 0; short_by <= 1; short_by++) {
            const struct weir_arena_options options = {.limit_bytes = sizes[which] - short_by};
            struct weir_text text = {{NULL, 7}, true};
            struct weir_arena arena;
            weir_arena_init(&arena, f.pool, &options);
            assert_int_equal(call(which, input, &arena, &text), short_by == 0 ? 0 : -ENOBUFS);
            assert_int_equal(text.borrowed, short_by != 0);
            assert_int_equal(weir_arena_used_bytes(&arena), short_by == 0 ? sizes[which] : 0);
            weir_arena_fini(&arena);
        }
    }
    end(&f);
}

static void a_failing_allocation_leaves_the_scratch_as_before(void **state)
{
    static uint8_t bytes[300000];
    struct test_source source;
    struct weir_text_scratch scratch;
    struct weir_text text;
    const struct weir_view small[] = {BYTES("a"), BYTES("b")};
    const struct weir_view large[] = {weir_view_of(bytes, sizeof(bytes)), BYTES("b")};

    (void)state;
    memset(bytes, 'a', sizeof(bytes));
    test_source_init(&source);
    struct weir_pool *pool = test_pool_create(&source);
    weir_text_scratch_init(&scratch, pool, 0);
    assert_int_equal(weir_text_scratch_join(&scratch, small, 2, BYTES("-"), &text), 0);
    test_source_fail_from(&source, 1);
    assert_int_equal(weir_text_scratch_join(&scratch, large, 2, BYTES("-"), &text), -ENOMEM);
    assert_copied(&text, BYTES("a-b"));
    assert_int_equal(weir_text_scratch_join(&scratch, small, 2, BYTES("+"), &text), 0);
    assert_copied(&text, BYTES("a+b"));
    test_source_fail(&source, 0);
    assert_int_equal(weir_text_scratch_join(&scratch, large, 2, BYTES("-"), &text), 0);
    assert_int_equal(text.view.size, sizeof(bytes) + 2);
    weir_text_scratch_fini(&scratch);
    test_pool_destroy(pool);
    test_source_fini(&source);
}

static void nothing_is_allocated_where_nothing_changes(void **state)
{
    const struct weir_view lower = BYTES("nothing to do: caf\xc3\xa9 \xe2\x82\xac");
    struct weir_pool_stats stats;
    struct weir_text text;
    struct fixture f;

    (void)state;
    begin(&f);
    for (size_t size = 0; size <= lower.size; size++) {
        struct weir_view input = weir_view_of(lower.data, size);
        if (!is_utf8(input.data, size))
            continue;
        assert_int_equal(weir_text_lower(input, &f.arena, &text), 0);
        assert_borrowed(&text, input);
        assert_int_equal(weir_text_repair(input, &f.arena, &text), 0);
        assert_borrowed(&text, input);
        assert_int_equal(weir_text_json(input, 0, &f.arena, &text), 0);
        assert_borrowed(&text, input);
    }
    assert_int_equal(weir_text_upper(weir_view_of(NULL, 0), &f.arena, &text), 0);
    assert_borrowed(&text, weir_view_of(NULL, 0));
    weir_pool_stats(f.pool, &stats);
    assert_int_equal(stats.total.allocations, 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scans_find_each_byte_at_each_place_and_read_no_other),
        cmocka_unit_test(scans_agree_on_every_pair_of_neighbours),
        cmocka_unit_test(scans_agree_on_random_bytes),
        cmocka_unit_test(a_short_text_is_ASCII_if_each_byte_of_it_is),
        cmocka_unit_test(case_is_changed_of_ascii_letters_only),
        cmocka_unit_test(case_and_mapping_agree_for_every_size_and_place),
        cmocka_unit_test(a_mapping_is_the_callers),
        cmocka_unit_test(validation_follows_the_table_for_all_of_three_bytes),
        cmocka_unit_test(repair_follows_the_standard_at_every_boundary),
        cmocka_unit_test(every_character_is_valid_and_no_other_code),
        cmocka_unit_test(the_examples_of_the_standard_are_repaired_as_it_says),
        cmocka_unit_test(bad_bytes_are_found_at_every_place_of_every_size),
        cmocka_unit_test(random_bytes_are_repaired_as_by_the_model),
        cmocka_unit_test(json_escapes_what_it_must_and_nothing_else),
        cmocka_unit_test(json_is_quoted_on_request_and_never_borrowed_then),
        cmocka_unit_test(json_is_escaped_at_every_place_of_every_size),
        cmocka_unit_test(a_c_string_is_borrowed_only_where_its_nul_may_be_read),
        cmocka_unit_test(a_c_string_is_not_read_past_its_end_unasked),
        cmocka_unit_test(a_nul_within_a_c_string_is_refused),
        cmocka_unit_test(strings_are_joined_with_a_separator_between_them),
        cmocka_unit_test(what_is_one_of_the_parts_is_borrowed),
        cmocka_unit_test(a_scratch_keeps_its_region),
        cmocka_unit_test(a_string_of_the_scratch_can_be_added_to),
        cmocka_unit_test(the_limit_of_a_scratch_is_exact),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(every_failing_allocation_leaves_the_arena_as_before),
        cmocka_unit_test(the_arenas_limit_is_exact),
        cmocka_unit_test(a_failing_allocation_leaves_the_scratch_as_before),
        cmocka_unit_test(nothing_is_allocated_where_nothing_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
