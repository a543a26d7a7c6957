/* SPDX-License-Identifier: MIT */
#include "json_place.h"

#include <stdbool.h>
#include <string.h>

#include <json-c/json.h>

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* One token: a string, number or literal as a whole, or one character. */
struct token {
    size_t offset;
    size_t size;
    bool is_name;
    bool is_value; /* or the beginning of one */
};

static size_t string_bytes(struct weir_view text, size_t offset)
{
    size_t at = offset + 1;

    while (at < text.size && text.data[at] != '"')
        at += text.data[at] == '\\' ? 2 : 1;
    return at < text.size ? at + 1 - offset : text.size - offset;
}

static bool next_token(struct weir_view text, size_t from, struct token *ret)
{
    while (from < text.size && is_blank(text.data[from]))
        from++;
    if (from == text.size)
        return false;
    uint8_t c = text.data[from];
    size_t end = from + 1;
    ret->is_name = false;
    ret->is_value = memchr(",:]}", c, 4) == NULL;
    if (c == '"') {
        end = from + string_bytes(text, from);
        size_t behind = end;
        while (behind < text.size && is_blank(text.data[behind]))
            behind++;
        ret->is_name = behind < text.size && text.data[behind] == ':';
        ret->is_value = !ret->is_name;
    } else if (ret->is_value && c != '[' && c != '{') {
        while (end < text.size && !is_blank(text.data[end]) &&
               memchr(",:]}", text.data[end], 4) == NULL)
            end++;
    }
    ret->offset = from;
    ret->size = end - from;
    return true;
}

size_t json_place_of_value(struct weir_view text, uint64_t index)
{
    struct token token = {0, 0, false, false};

    while (next_token(text, token.offset + token.size, &token)) {
        if (token.is_value && index-- == 0)
            return token.offset;
    }
    return text.size;
}

/* Names are compared as what they mean, not as how they are escaped: json-c tells. */
static bool name_is_new(struct json_object *names, const uint8_t *name, size_t size)
{
    struct json_tokener *tokener = json_tokener_new();
    bool is_new = true;

    if (tokener == NULL)
        return true;
    struct json_object *string = json_tokener_parse_ex(tokener, (const char *)name, (int)size);
    if (string != NULL) {
        const char *text = json_object_get_string(string);
        is_new = !json_object_object_get_ex(names, text, NULL);
        if (is_new)
            json_object_object_add(names, text, NULL);
    }
    json_object_put(string);
    json_tokener_free(tokener);
    return is_new;
}

struct weir_view json_place_of_repeated_name(struct weir_view text, size_t offset)
{
    struct json_object *names = json_object_new_object();
    struct weir_view repeated = weir_view_of(NULL, 0);
    struct token token = {offset, 0, false, false};
    size_t depth = 0;

    while (names != NULL && repeated.size == 0 &&
           next_token(text, token.offset + token.size, &token)) {
        uint8_t c = text.data[token.offset];
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        if (depth == 0)
            break;
        if (token.is_name && depth == 1 &&
            !name_is_new(names, text.data + token.offset, token.size))
            repeated = weir_view_of(text.data + token.offset, token.size);
    }
    json_object_put(names);
    return repeated;
}
