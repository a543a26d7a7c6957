/* SPDX-License-Identifier: MIT */
#include "check_private.h"
#include "unpack_private.h"

/* An array or map that the offset lies in. */
struct level {
    uint64_t begun;   /* values in it that have begun, keys included */
    uint64_t to_come; /* values that have not */
    size_t key;       /* of a map: the offset of its last key */
    bool map;
};

struct output {
    char *at;
    size_t size_bytes; /* room, that of the NUL included */
    size_t used;       /* what was written, or would have been */
};

static void put(struct output *output, char byte)
{
    if (output->size_bytes != 0 && output->used < output->size_bytes - 1)
        output->at[output->used] = byte;
    output->used++;
}

static void put_number(struct output *output, uint64_t number)
{
    char digits[20];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    while (count != 0)
        put(output, digits[--count]);
}

static void put_marked(struct output *output, char mark, uint64_t number)
{
    put(output, '~');
    put(output, mark);
    put_number(output, number);
}

static void put_text(struct output *output, struct weir_view text)
{
    for (size_t i = 0; i < text.size; i++) {
        char byte = (char)text.data[i];
        if (byte == '~' || byte == '/') {
            put(output, '~');
            put(output, byte == '~' ? '0' : '1');
        } else {
            put(output, byte);
        }
    }
}

/* The value of the pair with the key at @offset, which was read before. */
static void put_key(struct output *output, struct weir_view input, const struct level *map)
{
    const uint8_t *at = input.data + map->key;
    struct weir_wire_tag tag = weir_wire_tags[at[0]];
    enum weir_type type = weir__tag_type(at[0]);
    uint64_t bits;

    switch (type) {
    case WEIR_TYPE_STR:
        put_text(output, weir_view_of(at + tag.head_bytes, weir_wire_length(at, tag)));
        break;
    case WEIR_TYPE_UINT:
    case WEIR_TYPE_INT:
        bits = weir__integer_bits(at);
        if (weir__integer_negative(at)) {
            put(output, '-');
            bits = 0 - bits;
        }
        put_number(output, bits);
        break;
    default:
        put_marked(output, '#', (map->begun - 1) / 2);
        break;
    }
}

static void put_level(struct output *output, struct weir_view input, const struct level *level)
{
    put(output, '/');
    if (!level->map)
        put_number(output, level->begun - 1);
    else if (level->begun % 2 != 0)
        put_marked(output, '@', (level->begun - 1) / 2);
    else
        put_key(output, input, level);
}

/* Read a head, that of an array or map also where fewer bytes than values are left: what is there
 * of it may be more than the bytes that somebody has so far. Returns whether it is there. */
static bool read_head(struct weir_unpacker *cursor, struct weir__head *ret)
{
    if (weir__unpack_tag(cursor) != 0)
        return false;
    ret->at = cursor->pos;
    ret->tag = weir_wire_tags[cursor->pos[0]];
    if (ret->tag.kind != WEIR_WIRE_ARRAY && ret->tag.kind != WEIR_WIRE_MAP)
        return weir__unpack_body(cursor, ret) == 0;
    if (ret->tag.head_bytes > weir_unpack_left(cursor))
        return false;
    ret->length = weir_wire_length(ret->at, ret->tag);
    return true;
}

/*
 * Follow the heads up to the value that @offset lies in, or that should begin there. Returns how
 * many arrays and maps it is in.
 */
static size_t follow(struct weir_view input, size_t offset, struct level *levels)
{
    struct weir_unpacker cursor;
    struct weir__head head;
    size_t depth = 0;

    weir_unpack_init(&cursor, input, NULL);
    for (;;) {
        size_t here = weir_unpack_offset(&cursor);
        while (depth != 0 && levels[depth - 1].to_come == 0)
            depth--;
        if (depth != 0) {
            struct level *level = &levels[depth - 1];
            if (level->map && level->begun % 2 == 0)
                level->key = here;
            level->begun++;
            level->to_come--;
        }
        if (here >= offset || !read_head(&cursor, &head))
            return depth;
        weir__unpack_take(&cursor, &head);
        uint64_t values = weir__head_values(&head);
        if (offset < weir_unpack_offset(&cursor) || (values != 0 && depth == WEIR_DEPTH_MAX))
            return depth;
        if (values != 0) {
            struct level inner = {0, values, 0, head.tag.kind == WEIR_WIRE_MAP};
            levels[depth++] = inner;
        }
    }
}

size_t weir_path_of(struct weir_view input, size_t offset, char *ret, size_t size_bytes)
{
    struct level levels[WEIR_DEPTH_MAX];
    struct output output = {ret, size_bytes, 0};

    size_t depth = follow(input, offset, levels);
    for (size_t i = 0; i < depth; i++)
        put_level(&output, input, &levels[i]);
    if (size_bytes != 0)
        ret[output.used < size_bytes ? output.used : size_bytes - 1] = '\0';
    return output.used;
}
