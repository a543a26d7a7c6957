/* SPDX-License-Identifier: MIT */
#include <msgpack/object.h>

#include "weir/msgpack.h"

/* An array or map that is being written: what is left of it. */
struct level {
    const msgpack_object *items;    /* of an array, NULL: it is a map */
    const msgpack_object_kv *pairs; /* of a map */
    uint64_t left;                  /* elements, or keys and values */
};

/* The next value of @level, which has one. */
static const msgpack_object *next_of(struct level *level)
{
    level->left--;
    if (level->items != NULL)
        return level->items++;
    if (level->left % 2 != 0)
        return &level->pairs->key;
    return &level->pairs++->val;
}

/* Write the head of @object, an array or map, for what is to follow. */
static struct level pack_head(struct weir_packer *p, const msgpack_object *object)
{
    struct level level = {NULL, NULL, 0};

    if (object->type == MSGPACK_OBJECT_ARRAY) {
        weir_pack_array(p, object->via.array.size);
        level.items = object->via.array.ptr;
        level.left = object->via.array.size;
    } else {
        weir_pack_map(p, object->via.map.size);
        level.pairs = object->via.map.ptr;
        level.left = 2 * (uint64_t)object->via.map.size;
    }
    return level;
}

/* Write @object, which is followed by no values of its own. */
static void pack_one(struct weir_packer *p, const msgpack_object *object)
{
    struct weir_view bytes;

    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        weir_pack_nil(p);
        return;
    case MSGPACK_OBJECT_BOOLEAN:
        weir_pack_bool(p, object->via.boolean);
        return;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        weir_pack_uint(p, object->via.u64);
        return;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        weir_pack_int(p, object->via.i64);
        return;
    case MSGPACK_OBJECT_FLOAT32:
        weir_pack_f32(p, (float)object->via.f64);
        return;
    case MSGPACK_OBJECT_FLOAT64:
        weir_pack_f64(p, object->via.f64);
        return;
    case MSGPACK_OBJECT_STR:
        weir_pack_str(p, weir_view_of(object->via.str.ptr, object->via.str.size));
        return;
    case MSGPACK_OBJECT_BIN:
        weir_pack_bin(p, weir_view_of(object->via.bin.ptr, object->via.bin.size));
        return;
    case MSGPACK_OBJECT_EXT:
        bytes = weir_view_of(object->via.ext.ptr, object->via.ext.size);
        weir_pack_ext(p, object->via.ext.type, bytes);
        return;
    case MSGPACK_OBJECT_ARRAY:
        weir_pack_array(p, 0);
        return;
    case MSGPACK_OBJECT_MAP:
        weir_pack_map(p, 0);
        return;
    }
    weir_pack_fail(p, -EINVAL);
}

/* Whether @object is followed by values of its own. */
static bool has_values(const msgpack_object *object)
{
    return (object->type == MSGPACK_OBJECT_ARRAY && object->via.array.size != 0) ||
           (object->type == MSGPACK_OBJECT_MAP && object->via.map.size != 0);
}

void weir_pack_object_slow(struct weir_packer *packer, const msgpack_object *object)
{
    struct level levels[WEIR_PACK_OBJECT_DEPTH_MAX];
    struct weir_packer local = *packer;
    size_t depth = 0;

    while (weir_pack_error(&local) == 0) {
        if (!has_values(object)) {
            pack_one(&local, object);
        } else if (depth == WEIR_PACK_OBJECT_DEPTH_MAX) {
            weir_pack_fail(&local, -ENOBUFS);
        } else {
            levels[depth++] = pack_head(&local, object);
        }
        while (depth != 0 && levels[depth - 1].left == 0)
            depth--;
        if (depth == 0)
            break;
        object = next_of(&levels[depth - 1]);
    }
    *packer = local;
}
