/* SPDX-License-Identifier: MIT */
#include "weir/walk.h"
#include "unpack_private.h"

const uint8_t *weir_walk_next_slow(const uint8_t *at, struct weir_value *ret)
{
    struct weir_wire_tag tag = weir_wire_tags[at[0]];
    uint32_t length = weir_wire_length(at, tag);
    struct weir_value value = {weir__tag_type(at[0]), 0, 0, {0}};

    switch (tag.kind) {
    case WEIR_WIRE_BYTES:
        if (value.type == WEIR_TYPE_EXT)
            value.ext_type = (int8_t)at[tag.head_bytes - 1];
        value.as.bytes = weir_view_of(at + tag.head_bytes, length);
        *ret = value;
        return at + tag.head_bytes + length;
    case WEIR_WIRE_ARRAY:
    case WEIR_WIRE_MAP:
        value.count = length;
        break;
    default:
        weir__read_scalar(at, &value);
        break;
    }
    *ret = value;
    return at + tag.head_bytes;
}

const uint8_t *weir_walk_skip_slow(const uint8_t *at, const uint8_t *end)
{
    struct weir_unpacker cursor;

    weir_unpack_init(&cursor, weir_view_of(at, (size_t)(end - at)), NULL);
    weir__skip_value(&cursor);
    assert(cursor.error == 0);
    return cursor.pos;
}

/* The same place, for what the checked cursor does well enough: it ends early. */
static struct weir_unpacker cursor_at(const struct weir_walk *walk)
{
    struct weir_unpacker cursor;

    weir_unpack_init(&cursor, weir_view_of(walk->pos, (size_t)(walk->end - walk->pos)), NULL);
    return cursor;
}

bool weir_walk_find(struct weir_walk *walk, struct weir_view key)
{
    struct weir_unpacker cursor = cursor_at(walk);

    assert(!weir_walk_done(walk));
    if (weir_unpack_find(&cursor, key) != 0)
        return false;
    walk->pos = cursor.pos;
    return true;
}

bool weir_walk_path(struct weir_walk *walk, struct weir_view path)
{
    struct weir_unpacker cursor = cursor_at(walk);

    assert(!weir_walk_done(walk));
    if (weir_unpack_path(&cursor, path) != 0)
        return false;
    walk->pos = cursor.pos;
    return true;
}
