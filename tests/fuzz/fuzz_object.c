/* SPDX-License-Identifier: MIT */
/*
 * fuzz_object: any bytes become the tree that MessagePack-C makes of them, or none; with no more
 * nodes than there are bytes, and nothing left in the arena after an error.
 *
 * The first byte is a limit of depth, the next one of elements, 0 being the default of either, and
 * the rest is read: value by value with the defaults, and once within the limits.
 */
#include <errno.h>
#include <stdlib.h>

#include <msgpack.h>

#include <weir/object.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* MessagePack-C's own bound of nesting, MSGPACK_EMBED_STACK_SIZE. */
#define THEIR_DEPTH 32

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Whether two trees over the same input are the same. Recursion: theirs is bounded. */
static bool same_tree(const msgpack_object *a, const msgpack_object *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case MSGPACK_OBJECT_NIL:
        return true;
    case MSGPACK_OBJECT_BOOLEAN:
        return a->via.boolean == b->via.boolean;
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN:
        return a->via.str.size == b->via.str.size &&
               (a->via.str.ptr == b->via.str.ptr || a->via.str.size == 0);
    case MSGPACK_OBJECT_EXT:
        return a->via.ext.size == b->via.ext.size && a->via.ext.type == b->via.ext.type &&
               (a->via.ext.ptr == b->via.ext.ptr || a->via.ext.size == 0);
    case MSGPACK_OBJECT_ARRAY:
        if (a->via.array.size != b->via.array.size)
            return false;
        for (uint32_t i = 0; i < a->via.array.size; i++)
            if (!same_tree(&a->via.array.ptr[i], &b->via.array.ptr[i]))
                return false;
        return true;
    case MSGPACK_OBJECT_MAP:
        if (a->via.map.size != b->via.map.size)
            return false;
        for (uint32_t i = 0; i < a->via.map.size; i++)
            if (!same_tree(&a->via.map.ptr[i].key, &b->via.map.ptr[i].key) ||
                !same_tree(&a->via.map.ptr[i].val, &b->via.map.ptr[i].val))
                return false;
        return true;
    default:
        return a->via.u64 == b->via.u64;
    }
}

/* Whether MessagePack-C would map memory for what only a head announces. */
static bool announces_too_much(struct weir_view input)
{
    struct weir_unpacker u;

    weir_unpack_init(&u, input, NULL);
    int rc = weir_unpack_skip(&u);
    size_t at = weir_unpack_offset(&u);
    return rc == -EAGAIN && at < input.size &&
           weir_wire_tags[input.data[at]].kind != WEIR_WIRE_SCALAR;
}

/* The value at the front of @input, by both. Returns its size; 0: there is none. */
static size_t compare_value(struct weir_view input, struct weir_arena *arena)
{
    struct weir_unpacker u, skipper;
    msgpack_object ours;
    msgpack_unpacked unpacked;
    size_t theirs = 0;

    weir_unpack_init(&skipper, input, NULL);
    weir_unpack_init(&u, input, NULL);
    int wanted = weir_unpack_skip(&skipper);
    int rc = weir_object_unpack(&u, arena, THEIR_DEPTH, &ours);
    size_t end = weir_unpack_offset(&u);
    require(end <= weir_unpack_offset(&skipper));
    if (rc == 0)
        require(wanted == 0 && end == weir_unpack_offset(&skipper));
    else
        require(rc == wanted || rc == -EAGAIN || rc == -ENOBUFS);
    require(rc == 0 || weir_arena_used_bytes(arena) == 0);
    if (announces_too_much(input))
        return 0;
    msgpack_unpacked_init(&unpacked);
    msgpack_unpack_return got =
        msgpack_unpack_next(&unpacked, (const char *)input.data, input.size, &theirs);
    require((got == MSGPACK_UNPACK_SUCCESS) == (rc == 0));
    require((got == MSGPACK_UNPACK_NOMEM_ERROR) <= (rc == -ENOBUFS || rc == -EAGAIN));
    if (rc == 0)
        require(theirs == end && same_tree(&ours, &unpacked.data));
    msgpack_unpacked_destroy(&unpacked);
    return rc == 0 ? end : 0;
}

/* Within limits: as weir_check() has it, but that a head may be refused before what is in it. */
static void compare_limits(struct weir_view input, const struct weir_limits *limits,
                           struct weir_arena *arena)
{
    struct weir_fault fault, checked;
    struct weir_unpacker u;
    msgpack_object object;

    int rc = weir_object_parse(input, limits, arena, &object, &fault);
    require(rc == fault.error && fault.offset <= input.size && fault.reason != NULL);
    require(rc == 0 || weir_arena_used_bytes(arena) == 0);
    int wanted = weir_check(input, limits, &checked);
    weir_unpack_init(&u, input, limits);
    bool one_value = weir_unpack_skip(&u) == 0 && weir_unpack_done(&u);
    require((rc == 0) == (wanted == 0 && one_value));
    require(rc == 0 || wanted == 0 || fault.offset <= checked.offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_arena arena;
    size_t length;

    if (size < 2)
        return 0;
    struct weir_limits limits = {.depth = data[0], .elements = data[1]};
    struct weir_view input = weir_view_of(data + 2, size - 2);
    size_t room_bytes = sizeof(msgpack_object) * (input.size + 1);
    uint8_t *memory = malloc(room_bytes);
    require(memory != NULL);
    do {
        /* No larger than it may become. */
        weir_arena_init_fixed(&arena, memory, sizeof(msgpack_object) * (input.size + 1));
        compare_limits(input, &limits, &arena);
        weir_arena_reset(&arena);
        length = compare_value(input, &arena);
        input = weir_view_of(input.data + length, input.size - length);
    } while (length != 0 && input.size != 0);
    free(memory);
    return 0;
}
