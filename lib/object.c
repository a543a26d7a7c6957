/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include <msgpack/object.h>

#include "weir/object.h"

#include "unpack_private.h"

/* --- values that contain no others ----------------------------------------------------------- */

/* The longest head of a value without payload, and the longest value whose tag is all its head. */
#define SCALAR_BYTES_MAX 9
#define SHORT_BYTES_MAX 32

enum kind {
    KIND_INTEGER,
    KIND_CONTAINER, /* array, map */
    KIND_BYTES,     /* str, bin, ext */
    KIND_F64,
    KIND_F32,
    KIND_CONSTANT, /* nil, false, true */
    KIND_BAD
};

/*
 * What a tag announces, and of an integer where its value lies. All integers take the same way,
 * without a branch: which width comes next is what is least predictable in a message.
 */
struct form {
    uint8_t kind;
    uint8_t size_bytes; /* of an integer, tag included */
    uint8_t from;       /* offset of the eight bytes that its value is the first of: 0 or 1 */
    uint8_t shift;      /* how many bits of these are not its own */
    uint8_t mask_shift; /* how many bits of the result are 0, whatever its first bit is */
    uint8_t has_sign;
    uint8_t unused[2]; /* to a size that is an index's scale */
};

/* clang-format off */
#define OTHER(kind) {(kind), 0, 0, 0, 0, 0, {0}}
#define FIXINT {KIND_INTEGER, 1, 0, 56, 0, 1, {0}}
#define UINT(width) {KIND_INTEGER, 1 + (width), 1, 64 - 8 * (width), 64 - 8 * (width), 0, {0}}
#define INT(width) {KIND_INTEGER, 1 + (width), 1, 64 - 8 * (width), 0, 1, {0}}
#define TIMES_4(...) __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__
#define TIMES_8(...) TIMES_4(__VA_ARGS__), TIMES_4(__VA_ARGS__)
#define TIMES_32(...)                                                                              \
    TIMES_8(__VA_ARGS__), TIMES_8(__VA_ARGS__), TIMES_8(__VA_ARGS__), TIMES_8(__VA_ARGS__)

/* In the order of the tags. */
static const struct form forms[256] = {
    /* 0x00..0x7f positive fixint */
    TIMES_32(FIXINT), TIMES_32(FIXINT), TIMES_32(FIXINT), TIMES_32(FIXINT),
    /* 0x80..0x9f fixmap, fixarray; 0xa0..0xbf fixstr */
    TIMES_32(OTHER(KIND_CONTAINER)), TIMES_32(OTHER(KIND_BYTES)),
    /* 0xc0 nil, 0xc1 never used, 0xc2 false, 0xc3 true */
    OTHER(KIND_CONSTANT), OTHER(KIND_BAD), OTHER(KIND_CONSTANT), OTHER(KIND_CONSTANT),
    /* 0xc4..0xc9 bin, ext; 0xca float 32, 0xcb float 64 */
    TIMES_4(OTHER(KIND_BYTES)), OTHER(KIND_BYTES), OTHER(KIND_BYTES),
    OTHER(KIND_F32), OTHER(KIND_F64),
    /* 0xcc..0xd3 uint 8, 16, 32, 64, int 8, 16, 32, 64 */
    UINT(1), UINT(2), UINT(4), UINT(8), INT(1), INT(2), INT(4), INT(8),
    /* 0xd4..0xd8 fixext, 0xd9..0xdb str */
    TIMES_8(OTHER(KIND_BYTES)),
    /* 0xdc..0xdf array, map */
    TIMES_4(OTHER(KIND_CONTAINER)),
    /* 0xe0..0xff negative fixint */
    TIMES_32(FIXINT),
};
/* clang-format on */

_Static_assert(MSGPACK_OBJECT_NEGATIVE_INTEGER == MSGPACK_OBJECT_POSITIVE_INTEGER + 1,
               "a sign is added to the type");

WEIR_ALWAYS_INLINE const uint8_t *read_f64(const uint8_t *at, struct msgpack_object *node)
{
    uint64_t bits = weir_wire_load64(at + 1);

    node->type = MSGPACK_OBJECT_FLOAT64;
    memcpy(&node->via.f64, &bits, sizeof bits);
    return at + 9;
}

/* Widened, as MessagePack-C does it. */
WEIR_ALWAYS_INLINE const uint8_t *read_f32(const uint8_t *at, struct msgpack_object *node)
{
    uint32_t bits = weir_wire_load32(at + 1);
    float value;

    memcpy(&value, &bits, sizeof value);
    node->type = MSGPACK_OBJECT_FLOAT32;
    node->via.f64 = (double)value;
    return at + 5;
}

WEIR_ALWAYS_INLINE const uint8_t *read_integer(const uint8_t *at, const struct form *form,
                                               struct msgpack_object *node)
{
    int64_t bits = (int64_t)weir_wire_load64(at + form->from) >> form->shift;
    uint64_t value = (uint64_t)bits & (UINT64_MAX >> form->mask_shift);

    node->type = (msgpack_object_type)(MSGPACK_OBJECT_POSITIVE_INTEGER +
                                       (form->has_sign & (unsigned)(value >> 63)));
    node->via.u64 = value;
    return at + form->size_bytes;
}

WEIR_ALWAYS_INLINE void set_str(struct msgpack_object *node, const uint8_t *bytes, uint32_t size)
{
    node->type = MSGPACK_OBJECT_STR;
    node->via.str.size = size;
    node->via.str.ptr = (const char *)bytes;
}

WEIR_ALWAYS_INLINE void set_bin(struct msgpack_object *node, const uint8_t *bytes, uint32_t size)
{
    node->type = MSGPACK_OBJECT_BIN;
    node->via.bin.size = size;
    node->via.bin.ptr = (const char *)bytes;
}

WEIR_ALWAYS_INLINE void set_ext(struct msgpack_object *node, int8_t type, const uint8_t *bytes,
                                uint32_t size)
{
    node->type = MSGPACK_OBJECT_EXT;
    node->via.ext.type = type;
    node->via.ext.size = size;
    node->via.ext.ptr = (const char *)bytes;
}

/* A str, bin or ext whose head is there; NULL if its payload is not. */
WEIR_ALWAYS_INLINE const uint8_t *read_bytes(const uint8_t *at, const uint8_t *end,
                                             struct msgpack_object *node)
{
    struct weir_wire_tag tag = weir_wire_tags[at[0]];
    uint32_t size = weir_wire_length(at, tag);
    const uint8_t *bytes = at + tag.head_bytes;

    if (WEIR_UNLIKELY(size > (size_t)(end - bytes)))
        return NULL;
    if (at[0] >= WEIR_TAG_STR8)
        set_str(node, bytes, size);
    else if (at[0] <= WEIR_TAG_BIN32)
        set_bin(node, bytes, size);
    else
        set_ext(node, (int8_t)bytes[-1], bytes, size);
    return bytes + size;
}

/*
 * Read a value at @at that contains no others. SCALAR_BYTES_MAX bytes are there; @roomy: also
 * SHORT_BYTES_MAX. Where the size follows from the tag alone it is no longer looked up: a processor
 * that foresees the branch begins with the next value before it has seen this one.
 * Returns what is behind it; NULL if it is something else, or not there as a whole.
 */
WEIR_ALWAYS_INLINE const uint8_t *read_leaf(const uint8_t *at, const uint8_t *end, bool roomy,
                                            struct msgpack_object *node)
{
    size_t size;

    if ((at[0] & 0xe0u) == WEIR_TAG_FIXSTR) {
        size = at[0] & 0x1fu;
        if (!roomy && WEIR_UNLIKELY(size >= (size_t)(end - at)))
            return NULL;
        set_str(node, at + 1, (uint32_t)size);
        return at + 1 + size;
    }
    const struct form *form = &forms[at[0]];
    switch (form->kind) {
    case KIND_INTEGER:
        return read_integer(at, form, node);
    case KIND_CONTAINER:
        return NULL;
    case KIND_F64:
        return read_f64(at, node);
    case KIND_F32:
        return read_f32(at, node);
    case KIND_CONSTANT:
        node->type = at[0] == WEIR_TAG_NIL ? MSGPACK_OBJECT_NIL : MSGPACK_OBJECT_BOOLEAN;
        node->via.boolean = (at[0] & 1u) != 0;
        return at + 1;
    case KIND_BYTES:
        return read_bytes(at, end, node);
    default:
        return NULL;
    }
}

/* Let @node be what the cursor read, no array or map. */
static void set_leaf(struct msgpack_object *node, const struct weir_value *value)
{
    switch (value->type) {
    case WEIR_TYPE_UINT:
    case WEIR_TYPE_INT:
        node->type = value->type == WEIR_TYPE_UINT ? MSGPACK_OBJECT_POSITIVE_INTEGER
                                                   : MSGPACK_OBJECT_NEGATIVE_INTEGER;
        node->via.u64 = value->as.u64;
        break;
    case WEIR_TYPE_F32:
        node->type = MSGPACK_OBJECT_FLOAT32;
        node->via.f64 = (double)value->as.f32;
        break;
    case WEIR_TYPE_F64:
        node->type = MSGPACK_OBJECT_FLOAT64;
        node->via.f64 = value->as.f64;
        break;
    case WEIR_TYPE_STR:
        set_str(node, value->as.bytes.data, (uint32_t)value->as.bytes.size);
        break;
    case WEIR_TYPE_BIN:
        set_bin(node, value->as.bytes.data, (uint32_t)value->as.bytes.size);
        break;
    case WEIR_TYPE_EXT:
        set_ext(node, value->ext_type, value->as.bytes.data, (uint32_t)value->as.bytes.size);
        break;
    case WEIR_TYPE_BOOL:
        node->type = MSGPACK_OBJECT_BOOLEAN;
        node->via.boolean = value->as.boolean;
        break;
    default:
        node->type = MSGPACK_OBJECT_NIL;
        break;
    }
}

/* --- arrays and maps ------------------------------------------------------------------------- */

/* A pair is two nodes in a row, so that a map is filled as an array of twice as many. */
_Static_assert(sizeof(msgpack_object_kv) == 2 * sizeof(msgpack_object) &&
                   offsetof(msgpack_object_kv, val) == sizeof(msgpack_object),
               "key and value lie side by side");

/*
 * Where to go on. What belongs to an array or map that others are open in lies in its last node,
 * which is the last to be written: that is the whole stack. What is opened in a last node has
 * nothing to come back to there and takes over what is outside of it.
 */
struct frame {
    struct msgpack_object *at;   /* the next node to be read */
    struct msgpack_object *last; /* the last one beside it; NULL: there is no such frame */
    uint32_t depth;              /* arrays and maps that it lies in */
};
_Static_assert(sizeof(struct frame) <= sizeof(msgpack_object), "a frame lies in a node");

/* Two frames, what is being filled and what is outside of it, field by field: they become
 * registers. */
struct builder {
    struct msgpack_object *at;
    struct msgpack_object *last;
    struct msgpack_object *outer_at; /* where to go on when last is read */
    struct msgpack_object *outer_last;
    size_t outer_to_come; /* nodes from outer_at on and around it */
    uint64_t budget;      /* elements beyond those that were announced */
    uint32_t depth;
    uint32_t outer_depth;
    uint32_t depth_max;
};

#define TOO_DEEP "nested deeper than the limit"
#define TOO_MANY "more values than the limit allows"

/* An error and a line on what is wrong. */
struct refusal {
    int error;
    const char *reason;
};

WEIR_ALWAYS_INLINE int refuse(struct refusal *ret, int error, const char *reason)
{
    ret->error = error;
    ret->reason = reason;
    return error;
}

/*
 * Let an array of @size elements, or a map of @size pairs, be the node to be read. @left: bytes
 * behind its head. Returns 1: its first element is the next one; 0: it has none; or an error.
 */
WEIR_ALWAYS_INLINE int open_container(struct builder *b, struct weir_arena *arena, bool is_map,
                                      uint32_t size, size_t left, struct refusal *ret_refusal)
{
    struct msgpack_object *node = b->at;
    struct msgpack_object *nodes = NULL;
    uint64_t count = (uint64_t)size << is_map;
    size_t to_come = b->outer_to_come + (size_t)(b->last - node);

    if (WEIR_UNLIKELY(b->depth == b->depth_max))
        return refuse(ret_refusal, -ENOBUFS, TOO_DEEP);
    if (WEIR_UNLIKELY(count > left || to_come > left - count))
        return refuse(ret_refusal, -EAGAIN, "more values are announced than bytes are there");
    if (WEIR_UNLIKELY(count > b->budget))
        return refuse(ret_refusal, -ENOBUFS, TOO_MANY);
    if (WEIR_LIKELY(count != 0)) {
        nodes = WEIR_ARENA_ARRAY(arena, struct msgpack_object, (size_t)count);
        if (WEIR_UNLIKELY(nodes == NULL))
            return refuse(ret_refusal, weir_arena_error(arena), "no memory for the tree");
    }

    if (is_map) {
        node->type = MSGPACK_OBJECT_MAP;
        node->via.map.size = size;
        node->via.map.ptr = (struct msgpack_object_kv *)(void *)nodes;
    } else {
        node->type = MSGPACK_OBJECT_ARRAY;
        node->via.array.size = size;
        node->via.array.ptr = nodes;
    }
    if (count == 0)
        return 0;
    if (node != b->last) {
        struct frame frame = {b->outer_at, b->outer_last, b->outer_depth};
        memcpy(b->last, &frame, sizeof frame);
        b->outer_at = node + 1;
        b->outer_last = b->last;
        b->outer_depth = b->depth;
        b->outer_to_come = to_come;
    }
    b->budget -= count;
    b->at = nodes;
    b->last = nodes + (count - 1);
    b->depth++;
    return 1;
}

/* Go on with the next node. Returns false if there is none: the tree is complete. */
WEIR_ALWAYS_INLINE bool next_node(struct builder *b)
{
    if (b->at != b->last) {
        b->at++;
        return true;
    }
    if (b->outer_last == NULL)
        return false;
    struct frame frame;
    memcpy(&frame, b->outer_last, sizeof frame);
    b->at = b->outer_at;
    b->last = b->outer_last;
    b->depth = b->outer_depth;
    b->outer_to_come -= (size_t)(b->last - b->at) + 1;
    b->outer_at = frame.at;
    b->outer_last = frame.last;
    b->outer_depth = frame.depth;
    return true;
}

/* Read a head, with its payload if it has any, by the cursor: it knows what is wrong. */
static int read_head_slow(struct weir_unpacker *cursor, bool is_deepest, struct weir_value *ret,
                          struct refusal *ret_refusal)
{
    enum weir_type type;

    /* Before what is missing: more bytes would not help. */
    if (is_deepest && weir_unpack_peek(cursor, &type) == 0 &&
        (type == WEIR_TYPE_ARRAY || type == WEIR_TYPE_MAP))
        return refuse(ret_refusal, -ENOBUFS, TOO_DEEP);
    int rc = weir_unpack_next(cursor, ret);
    if (rc == -EAGAIN)
        return refuse(ret_refusal, rc, "the bytes end within a value");
    if (rc == -EBADMSG)
        return refuse(ret_refusal, rc, "the reserved byte 0xc1");
    if (rc == -ENOBUFS)
        return refuse(ret_refusal, rc, TOO_MANY);
    return rc < 0 ? refuse(ret_refusal, rc, "not to be read") : 0;
}

/* Read any value by the cursor, and return what open_container() does, 0 for what is no array or
 * map. After an error the cursor is where it was, or has failed. */
static __attribute__((noinline)) int read_slow(struct weir_unpacker *cursor, struct builder *b,
                                               struct weir_arena *arena,
                                               struct refusal *ret_refusal)
{
    struct weir_unpacker before = *cursor;
    struct weir_value value = {WEIR_TYPE_NIL, 0, 0, {0}}; /* gcc -O3 would warn */

    int rc = read_head_slow(cursor, b->depth == b->depth_max, &value, ret_refusal);
    if (rc < 0)
        return rc;
    if (value.type != WEIR_TYPE_ARRAY && value.type != WEIR_TYPE_MAP) {
        set_leaf(b->at, &value);
        return 0;
    }
    rc = open_container(b, arena, value.type == WEIR_TYPE_MAP, value.count,
                        weir_unpack_left(cursor), ret_refusal);
    if (rc < 0)
        *cursor = before;
    return rc;
}

WEIR_ALWAYS_INLINE const uint8_t *roomy_end_of(const struct weir_unpacker *cursor)
{
    bool roomy = cursor->end - cursor->pos >= SHORT_BYTES_MAX;

    return roomy ? cursor->end - (SHORT_BYTES_MAX - 1) : cursor->pos;
}

/* Read the cursor's next value. The cursor is behind it then, or at what could not be read. */
static struct refusal build(struct weir_unpacker *cursor, struct weir_arena *arena,
                            uint32_t depth_max, struct msgpack_object *root)
{
    struct builder b = {root, root, NULL, NULL, 0, cursor->elements_left - 1, 0, 0, depth_max};
    const uint8_t *at = cursor->pos;
    const uint8_t *end = cursor->end;
    const uint8_t *roomy_end = roomy_end_of(cursor);
    struct refusal refusal = {0, "nothing is wrong"};
    struct weir_value none;
    int opened = 0;

    if (cursor->elements_left == 0) {
        read_head_slow(cursor, false, &none, &refusal);
        return refusal;
    }
    do {
        const uint8_t *behind = NULL;
        opened = 0;
        if (WEIR_LIKELY(at < roomy_end))
            behind = read_leaf(at, end, true, b.at);
        else if (end - at >= SCALAR_BYTES_MAX)
            behind = read_leaf(at, end, false, b.at);
        if (WEIR_LIKELY(behind != NULL)) {
            at = behind;
        } else if (end - at >= SCALAR_BYTES_MAX && forms[at[0]].kind == KIND_CONTAINER) {
            struct weir_wire_tag tag = weir_wire_tags[at[0]];
            cursor->pos = at;
            opened = open_container(&b, arena, tag.kind == WEIR_WIRE_MAP, weir_wire_length(at, tag),
                                    weir_unpack_left(cursor) - tag.head_bytes, &refusal);
            at += tag.head_bytes;
        } else {
            struct builder copy = b; /* the address of b itself would keep it out of registers */
            cursor->pos = at;
            cursor->elements_left = 1; /* it is counted already */
            opened = read_slow(cursor, &copy, arena, &refusal);
            b = copy;
            at = cursor->pos;
            end = cursor->end;
            roomy_end = roomy_end_of(cursor);
        }
        if (WEIR_UNLIKELY(opened < 0))
            return refusal;
    } while (opened > 0 || next_node(&b));
    cursor->pos = at;
    cursor->elements_left = b.budget;
    return refusal;
}

/* The same, all or nothing. */
static struct refusal read_tree(struct weir_unpacker *cursor, struct weir_arena *arena,
                                uint32_t depth_max, struct msgpack_object *ret)
{
    struct weir_arena_mark mark = weir_arena_mark(arena);
    struct msgpack_object root;

    struct refusal refusal =
        build(cursor, arena, depth_max != 0 ? depth_max : WEIR__DEPTH_DEFAULT, &root);
    if (refusal.error == 0) {
        *ret = root;
    } else {
        weir__unpack_fail(cursor, refusal.error);
        weir_arena_rewind(arena, mark);
    }
    return refusal;
}

int weir_object_unpack(struct weir_unpacker *unpacker, struct weir_arena *arena, uint32_t depth_max,
                       struct msgpack_object *ret)
{
    return read_tree(unpacker, arena, depth_max, ret).error;
}

int weir_object_parse(struct weir_view input, const struct weir_limits *limits,
                      struct weir_arena *arena, struct msgpack_object *ret,
                      struct weir_fault *ret_fault)
{
    struct weir_arena_mark mark = weir_arena_mark(arena);
    struct refusal refusal = {0, "more bytes than the limit allows"};
    struct weir_unpacker cursor;
    struct msgpack_object root;

    weir_unpack_init(&cursor, input, limits);
    if (cursor.error == 0)
        refusal = read_tree(&cursor, arena, limits != NULL ? limits->depth : 0, &root);
    if (cursor.error == 0 && weir_unpack_end(&cursor) != 0) {
        refusal.reason = "bytes are left over";
        weir_arena_rewind(arena, mark);
    }
    if (cursor.error == 0)
        *ret = root;
    if (ret_fault != NULL) {
        ret_fault->error = cursor.error;
        ret_fault->offset = weir_unpack_offset(&cursor);
        ret_fault->reason = refusal.reason;
    }
    return cursor.error;
}

/* --- looking into a tree --------------------------------------------------------------------- */

const struct msgpack_object *weir_object_find(const struct msgpack_object *object,
                                              struct weir_view key)
{
    if (object->type != MSGPACK_OBJECT_MAP)
        return NULL;
    for (uint32_t i = 0; i < object->via.map.size; i++) {
        const struct msgpack_object_kv *pair = &object->via.map.ptr[i];
        if (pair->key.type == MSGPACK_OBJECT_STR &&
            weir_view_equal(weir_view_of(pair->key.via.str.ptr, pair->key.via.str.size), key))
            return &pair->val;
    }
    return NULL;
}

const struct msgpack_object *weir_object_at(const struct msgpack_object *object, uint32_t index)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || index >= object->via.array.size)
        return NULL;
    return &object->via.array.ptr[index];
}
