/* SPDX-License-Identifier: MIT */
#include "unpack_private.h"

/* What a token of a path can stand for besides the str that it spells. */
enum meaning { SPELLS, NATURAL, NEGATIVE, NTH_VALUE, NTH_KEY };

/* One step of a path. */
struct token {
    struct weir_view text; /* as it stands in the path */
    bool escaped;          /* it has ~0 or ~1 in it */
    enum meaning meaning;
    uint64_t number; /* of all but SPELLS */
};

/* The decimal number in its shortest form that @digits are. Returns whether they are one. */
static bool read_number(struct weir_view digits, uint64_t *ret)
{
    uint64_t number = 0;

    if (digits.size == 0 || (digits.size > 1 && digits.data[0] == '0'))
        return false;
    for (size_t i = 0; i < digits.size; i++) {
        uint64_t digit = (uint64_t)digits.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, digit, &number))
            return false;
    }
    *ret = number;
    return true;
}

static struct weir_view behind(struct weir_view text, size_t size)
{
    return weir_view_of(text.data + size, text.size - size);
}

/* Take a slash and the token behind it off the front of @path. Returns 0 or -EINVAL. */
static int next_token(struct weir_view *path, struct token *ret)
{
    struct token token = {{NULL, 0}, false, SPELLS, 0};
    size_t size = 0;

    if (path->data[0] != '/')
        return -EINVAL;
    token.text = behind(*path, 1);
    while (size < token.text.size && token.text.data[size] != '/')
        size++;
    *path = behind(token.text, size);
    token.text.size = size;
    const uint8_t *text = token.text.data;
    if (size >= 2 && text[0] == '~' && (text[1] == '#' || text[1] == '@')) {
        token.meaning = text[1] == '#' ? NTH_VALUE : NTH_KEY;
        if (!read_number(behind(token.text, 2), &token.number))
            return -EINVAL;
        *ret = token;
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '~')
            continue;
        if (size - i < 2 || (text[i + 1] != '0' && text[i + 1] != '1'))
            return -EINVAL;
        token.escaped = true;
    }
    if (read_number(token.text, &token.number))
        token.meaning = NATURAL;
    else if (size > 1 && text[0] == '-' && text[1] != '0' &&
             read_number(behind(token.text, 1), &token.number))
        token.meaning = NEGATIVE;
    *ret = token;
    return 0;
}

/* Take the next byte that @text, a token that is not at its end, spells. */
static uint8_t spelled(struct weir_view *text)
{
    uint8_t byte = text->data[0];
    size_t size = 1;

    if (byte == '~') {
        byte = text->data[1] == '1' ? '/' : '~';
        size = 2;
    }
    *text = behind(*text, size);
    return byte;
}

/* Whether the str whose head was checked is what @text spells. */
static bool str_equals(const struct weir_unpacker *unpacker, const struct weir__head *head,
                       struct weir_view text)
{
    struct weir_unpacker ahead = *unpacker;
    size_t left = head->length;

    weir__unpack_advance(&ahead, head->tag.head_bytes);
    while (left != 0) {
        struct weir_view part = weir__unpack_part(&ahead, left);
        left -= part.size;
        for (size_t i = 0; i < part.size; i++) {
            if (text.size == 0 || spelled(&text) != part.data[i])
                return false;
        }
    }
    return text.size == 0;
}

/* Whether the key whose head was checked is the one that @token means. */
static bool key_equals(const struct weir_unpacker *unpacker, const struct weir__head *head,
                       const struct token *token)
{
    enum weir_type type = weir__tag_type(head->at[0]);

    if (type == WEIR_TYPE_STR)
        return str_equals(unpacker, head, token->text);
    if (token->meaning == SPELLS || (type != WEIR_TYPE_UINT && type != WEIR_TYPE_INT))
        return false;
    bool negative = token->meaning == NEGATIVE;
    return weir__integer_negative(head->at) == negative &&
           weir__integer_bits(head->at) == (negative ? 0 - token->number : token->number);
}

/* Go to the value of the key that @token means, in the map whose head was read. */
static int step_to_key(struct weir_unpacker *unpacker, uint32_t pairs, const struct token *token)
{
    struct weir__head head;
    int rc = 0;

    for (; rc == 0 && pairs != 0; pairs--) {
        rc = weir__unpack_tag(unpacker);
        if (rc == 0)
            rc = weir__unpack_body(unpacker, &head);
        if (rc != 0)
            break;
        bool found = key_equals(unpacker, &head, token);
        rc = weir__skip_value(unpacker);
        if (found)
            return rc;
        if (rc == 0)
            rc = weir__skip_value(unpacker);
    }
    return rc != 0 ? rc : -ENOENT;
}

static int step_into_map(struct weir_unpacker *unpacker, const struct token *token)
{
    uint32_t pairs;

    if (token->meaning == SPELLS && !token->escaped)
        return weir_unpack_find_slow(unpacker, token->text);
    int rc = weir_unpack_map(unpacker, &pairs);
    if (rc != 0)
        return rc;
    if (token->meaning != NTH_VALUE && token->meaning != NTH_KEY)
        return step_to_key(unpacker, pairs, token);
    if (token->number >= pairs)
        return -ENOENT;
    return weir__unpack_skip(unpacker, 2 * token->number + (token->meaning == NTH_VALUE));
}

/* Go from the value that comes next to the one within it that @token names. */
static int step_into(struct weir_unpacker *unpacker, const struct token *token)
{
    uint32_t count;

    int rc = weir__unpack_tag(unpacker);
    if (rc != 0)
        return rc;
    switch (weir__tag_type(unpacker->pos[0])) {
    case WEIR_TYPE_MAP:
        return step_into_map(unpacker, token);
    case WEIR_TYPE_ARRAY:
        rc = weir_unpack_array(unpacker, &count);
        if (rc != 0)
            return rc;
        if (token->meaning != NATURAL || token->number >= count)
            return -ENOENT;
        return weir__unpack_skip(unpacker, token->number);
    default:
        return -ENOENT;
    }
}

int weir_unpack_path(struct weir_unpacker *unpacker, struct weir_view path)
{
    struct weir_unpacker ahead = *unpacker;
    struct weir_view rest = path;
    struct token token;
    int rc = 0;

    while (rc == 0 && rest.size != 0)
        rc = next_token(&rest, &token);
    if (rc != 0)
        return rc;
    rc = ahead.error;
    while (rc == 0 && path.size != 0) {
        rc = next_token(&path, &token);
        if (rc == 0)
            rc = step_into(&ahead, &token);
    }
    if (rc != -ENOENT)
        *unpacker = ahead;
    return rc;
}
