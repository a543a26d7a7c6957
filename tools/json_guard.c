/* SPDX-License-Identifier: MIT */
#include "json_guard.h"

#include <errno.h>
#include <string.h>

enum state {
    BETWEEN, /* tokens */
    STRING,
    ESCAPE,
    HEX,
    EXPECT_BACKSLASH, /* of the second half of a surrogate pair */
    EXPECT_U,
    MINUS,
    ZERO,
    INTEGER,
    POINT,
    FRACTION,
    EXPONENT_MARK,
    EXPONENT_SIGN,
    EXPONENT,
    WORD,
    WORD_END
};

void json_guard_init(struct json_guard *guard, struct weir_pool *pool, uint32_t nesting_max)
{
    memset(guard, 0, sizeof(*guard));
    guard->depth_max = nesting_max;
    vec_init(&guard->members, pool);
}

void json_guard_fini(struct json_guard *guard)
{
    vec_fini(&guard->members);
}

void json_guard_start(struct json_guard *guard)
{
    static const struct utf8_state between = {0, 0, 0};

    guard->state = BETWEEN;
    guard->depth = 0;
    guard->utf8 = between;
    guard->last_was_string = false;
    guard->has_nul = false;
    guard->offset = 0;
    guard->members.size = 0;
    guard->reason = NULL;
}

uint32_t json_guard_members(const struct json_guard *guard, size_t index)
{
    uint32_t count;

    memcpy(&count, vec_data(&guard->members) + index * sizeof(count), sizeof(count));
    return count;
}

static int fail_at(struct json_guard *guard, uint64_t offset, const char *reason)
{
    guard->reason = reason;
    guard->fault = offset;
    return -EBADMSG;
}

static int fail(struct json_guard *guard, const char *reason)
{
    return fail_at(guard, guard->offset, reason);
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Bytes that cannot follow a number or a literal at once. */
static bool goes_on(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '.' || c == '+' || c == '-' || c >= 0x80;
}

/* A string, number, literal, array or object is at its end. */
static int token_end(struct json_guard *guard)
{
    guard->state = BETWEEN;
    return guard->depth == 0;
}

static int open_object(struct json_guard *guard)
{
    static const uint32_t none = 0;
    size_t index = guard->members.size / sizeof(none);

    if (index >= UINT32_MAX - 1)
        return -ENOBUFS;
    int rc = vec_append(&guard->members, weir_view_of(&none, sizeof(none)));
    if (rc == 0)
        guard->stack[guard->depth] = (uint32_t)index + 1;
    return rc;
}

static int open_bracket(struct json_guard *guard, uint8_t c)
{
    if (guard->depth == guard->depth_max)
        return fail(guard, "arrays and objects are nested too deep");
    int rc = 0;
    if (c == '{')
        rc = open_object(guard);
    else
        guard->stack[guard->depth] = 0;
    if (rc == 0)
        guard->depth++;
    return rc;
}

static int colon(struct json_guard *guard)
{
    uint32_t count;

    if (guard->last_was_string && guard->has_nul)
        return fail_at(guard, guard->nul_offset,
                       "a name with \\u0000 in it (write the object as {\"$map\":[[key,value]]}"
                       " with the key as {\"$str\":\"base64\"})");
    if (guard->depth == 0 || guard->stack[guard->depth - 1] == 0)
        return 0; /* json-c has a word for it */
    uint8_t *at = vec_data(&guard->members) + (guard->stack[guard->depth - 1] - 1) * sizeof(count);
    memcpy(&count, at, sizeof(count));
    if (count == UINT32_MAX)
        return fail(guard, "an object with too many members");
    count++;
    memcpy(at, &count, sizeof(count));
    return 0;
}

static int begin_number(struct json_guard *guard, uint8_t c)
{
    guard->too_big = false;
    guard->negative = c == '-';
    guard->magnitude = guard->negative ? 0 : (uint64_t)(c - '0');
    guard->state = guard->negative ? MINUS : c == '0' ? ZERO : INTEGER;
    return 0;
}

static int begin_token(struct json_guard *guard, uint8_t c)
{
    bool was_string = guard->last_was_string;

    guard->token_offset = guard->offset;
    guard->last_was_string = false;
    switch (c) {
    case '"':
        guard->last_was_string = true;
        guard->has_nul = false;
        guard->state = STRING;
        return 0;
    case '{':
    case '[':
        return open_bracket(guard, c);
    case '}':
    case ']':
        if (guard->depth == 0)
            return fail(guard, "a bracket that closes nothing");
        guard->depth--;
        return token_end(guard);
    case ':':
        guard->last_was_string = was_string;
        return colon(guard);
    case ',':
        return guard->depth == 0 ? fail(guard, "a comma outside of arrays and objects") : 0;
    case 't':
        guard->word = "rue";
        break;
    case 'f':
        guard->word = "alse";
        break;
    case 'n':
        guard->word = "ull";
        break;
    default:
        if (c == '-' || is_digit(c))
            return begin_number(guard, c);
        return fail(guard, c == '/' ? "a comment, which JSON does not have"
                                    : "a byte that begins no JSON value");
    }
    guard->state = WORD;
    return 0;
}

static int between(struct json_guard *guard, uint8_t c)
{
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
        return 0;
    return begin_token(guard, c);
}

static int hex_digit(struct json_guard *guard, uint8_t c)
{
    uint32_t four;

    if (is_digit(c))
        four = (uint32_t)(c - '0');
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        four = (uint32_t)((c | 0x20) - 'a') + 10;
    else
        return fail(guard, "\\u without four hexadecimal digits");
    guard->code = guard->code << 4 | four;
    if (--guard->hex_left != 0)
        return 0;

    bool low = guard->code >= 0xdc00 && guard->code <= 0xdfff;
    bool high = guard->code >= 0xd800 && guard->code <= 0xdbff;
    if (low != guard->low_surrogate)
        return fail(guard, low ? "a low surrogate (\\udc00..\\udfff) without a high one before it"
                               : "a high surrogate (\\ud800..\\udbff) without a low one behind it");
    guard->low_surrogate = high;
    guard->state = high ? EXPECT_BACKSLASH : STRING;
    if (guard->code == 0 && !guard->has_nul) {
        guard->has_nul = true;
        guard->nul_offset = guard->offset - 5;
    }
    return 0;
}

static int in_escape(struct json_guard *guard, uint8_t c)
{
    switch ((enum state)guard->state) {
    case EXPECT_BACKSLASH:
    case EXPECT_U:
        if (c != (guard->state == EXPECT_U ? 'u' : '\\'))
            return fail(guard, "a high surrogate (\\ud800..\\udbff) without a low one behind it");
        guard->state = guard->state == EXPECT_U ? HEX : EXPECT_U;
        guard->hex_left = 4;
        guard->code = 0;
        return 0;
    case HEX:
        return hex_digit(guard, c);
    default:
        break;
    }
    if (c == 'u') {
        guard->state = HEX;
        guard->hex_left = 4;
        guard->code = 0;
        guard->low_surrogate = false;
        return 0;
    }
    if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL)
        return fail(guard, "a backslash before a character that it cannot escape");
    guard->state = STRING;
    return 0;
}

static int in_string(struct json_guard *guard, uint8_t c)
{
    if (!utf8_step(&guard->utf8, c))
        return fail(guard, "a string that is not UTF-8");
    if (c == '"')
        return token_end(guard);
    if (c == '\\')
        guard->state = ESCAPE;
    else if (c < 0x20)
        return fail(guard, "a control character in a string, which must be escaped");
    return 0;
}

static void add_digit(struct json_guard *guard, uint8_t c)
{
    if (__builtin_mul_overflow(guard->magnitude, 10U, &guard->magnitude) ||
        __builtin_add_overflow(guard->magnitude, (uint64_t)(c - '0'), &guard->magnitude) ||
        (guard->negative && guard->magnitude > (uint64_t)INT64_MAX + 1))
        guard->too_big = true;
}

/* Returns as the others; 2: the number ended before @c. */
static int in_number(struct json_guard *guard, uint8_t c)
{
    switch ((enum state)guard->state) {
    case MINUS:
        if (!is_digit(c))
            break;
        guard->magnitude = (uint64_t)(c - '0');
        guard->state = c == '0' ? ZERO : INTEGER;
        return 0;
    case ZERO:
    case INTEGER:
        if (is_digit(c) && guard->state == INTEGER) {
            add_digit(guard, c);
            return 0;
        }
        if (c == '.' || c == 'e' || c == 'E') {
            guard->state = c == '.' ? POINT : EXPONENT_MARK;
            guard->too_big = false;
            return 0;
        }
        if (goes_on(c))
            break;
        if (guard->too_big)
            return fail_at(guard, guard->token_offset,
                           "an integer outside -9223372036854775808..18446744073709551615");
        return 2;
    case POINT:
    case FRACTION:
        if (is_digit(c)) {
            guard->state = FRACTION;
            return 0;
        }
        if (guard->state == POINT || goes_on(c)) {
            if (guard->state == POINT || (c != 'e' && c != 'E'))
                break;
            guard->state = EXPONENT_MARK;
            return 0;
        }
        return 2;
    default:
        if (is_digit(c)) {
            guard->state = EXPONENT;
            return 0;
        }
        if (guard->state == EXPONENT_MARK && (c == '+' || c == '-')) {
            guard->state = EXPONENT_SIGN;
            return 0;
        }
        if (guard->state != EXPONENT || goes_on(c))
            break;
        return 2;
    }
    return fail_at(guard, guard->token_offset, "a number that is none of JSON's");
}

/* Returns as in_number(). */
static int in_word(struct json_guard *guard, uint8_t c)
{
    if (guard->state == WORD_END && !goes_on(c))
        return 2;
    if (guard->state == WORD_END || c != (uint8_t)*guard->word)
        return fail_at(guard, guard->token_offset, "a word that is not true, false or null");
    guard->word++;
    if (*guard->word == '\0')
        guard->state = WORD_END;
    return 0;
}

static int take_byte(struct json_guard *guard, uint8_t c)
{
    if (guard->state == BETWEEN)
        return between(guard, c);
    if (guard->state == STRING)
        return in_string(guard, c);
    if (guard->state <= EXPECT_U)
        return in_escape(guard, c);
    int rc = guard->state >= WORD ? in_word(guard, c) : in_number(guard, c);
    if (rc != 2)
        return rc;
    return token_end(guard) ? 2 : between(guard, c);
}

/* Most bytes are plain characters of strings. */
static size_t plain_run(const struct json_guard *guard, const uint8_t *at, size_t left)
{
    size_t run = 0;

    if (guard->state != STRING || guard->utf8.left != 0)
        return 0;
    while (run < left && at[run] >= 0x20 && at[run] < 0x80 && at[run] != '"' && at[run] != '\\')
        run++;
    return run;
}

int json_guard_take(struct json_guard *guard, struct weir_view piece, size_t *ret_used)
{
    size_t i = 0;

    while (i < piece.size) {
        size_t run = plain_run(guard, piece.data + i, piece.size - i);
        if (run != 0) {
            i += run;
            guard->offset += run;
            continue;
        }
        int rc = take_byte(guard, piece.data[i]);
        if (rc < 0)
            return rc;
        if (rc != 2) {
            i++;
            guard->offset++;
        }
        if (rc != 0) {
            *ret_used = i;
            return 1;
        }
    }
    return 0;
}

int json_guard_end(struct json_guard *guard)
{
    static const uint8_t blank = ' ';
    size_t used;

    if (guard->depth != 0 || guard->state < MINUS)
        return 0;
    return json_guard_take(guard, weir_view_of(&blank, 1), &used);
}
