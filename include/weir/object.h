/* SPDX-License-Identifier: MIT */
/**
 * object: a MessagePack value as a tree, MessagePack-C's own struct msgpack_object, in an arena.
 *
 * For programs that have code for such trees, or want a whole value at once. The tree is what
 * msgpack_unpack_next() would make of the same bytes, without its zone and without malloc: nodes
 * come from the arena, one allocation for each array or map, and strs, bins and exts stay in the
 * input. Nothing is to be destroyed; a reset of the arena frees all trees at once.
 *
 *     #include <msgpack.h>
 *     struct weir_unpacker u;
 *     msgpack_object order;
 *     weir_unpack_init(&u, message, &limits);
 *     while (!weir_unpack_done(&u)) {                       // several values in a row
 *         if (weir_object_unpack(&u, &arena, 0, &order) != 0)
 *             return report(weir_unpack_error(&u), weir_unpack_offset(&u));
 *         const msgpack_object *price = weir_object_find(&order, weir_view_text("price"));
 *         ...
 *         weir_arena_reset(&arena);
 *     }
 *
 * This header needs no other of MessagePack-C's; who looks into a tree includes <msgpack.h>.
 *
 * Bounds       One budget for all nesting: depth, values, bytes, and the arena's limit. A count is
 *              believed only as far as bytes are there for it and for all that is still to come
 *              around it, each value taking one at least: so a tree has at most as many nodes
 *              as its input has bytes, and memory is at most sizeof(msgpack_object), 24 bytes,
 *              per byte of input, alignment and the ends of chunks aside. Input of 1 MiB may ask
 *              for 24 MiB: give the arena a limit. No recursion: what would be the stack lies in
 *              nodes that are not read yet.
 * Errors       as the cursor's (unpack.h), sticky in it, with the offset of the value concerned.
 *              After an error the arena is where it was before the call, and *ret is untouched.
 * Lifetime     a tree is valid as long as the input and what it takes from the arena are.
 * Threads      a call uses the arena, so one thread; a tree may be read by many.
 * Unlike MessagePack-C's, the depth is the caller's choice (32 is what that one has), and an
 * empty array or map has a NULL pointer.
 */
#ifndef WEIR_OBJECT_H
#define WEIR_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include <weir/arena.h>
#include <weir/base.h>
#include <weir/unpack.h>
#include <weir/view.h>

/* MessagePack-C's, in msgpack/object.h. */
struct msgpack_object;

WEIR_BEGIN_DECLS

/**
 * Read the next value of a cursor, with all it contains, as a tree.
 *
 * @arena      where arrays and maps are allocated; nothing else is taken from it
 * @depth_max  arrays and maps within each other; any number, 0: 128. Remember that code which
 *             walks trees is often recursive, as MessagePack-C's is.
 * @ret        written on success only; its strs, bins and exts lie in the cursor's input
 * Returns     0, and the cursor stands behind the value; the cursor's error otherwise: -EAGAIN the
 *             bytes end before the value does, or a head announces more than can be there;
 *             -EBADMSG the reserved byte; -ENOBUFS the depth, the cursor's budget of elements, or
 *             a limit of the arena or its pool; -ENOMEM the arena's source failed.
 * Cost        linear in the bytes; a value that is no array or map allocates nothing.
 */
WEIR_API int weir_object_unpack(struct weir_unpacker *unpacker, struct weir_arena *arena,
                                uint32_t depth_max, struct msgpack_object *ret);

/**
 * Read @input, which is one value and nothing else, as a tree.
 *
 * @limits     NULL or zeroed: the defaults; depth may be above WEIR_DEPTH_MAX here
 * @ret        written on success only
 * @ret_fault  NULL, or receives what is wrong; error 0 and the input's size as offset if nothing is
 * Returns     as weir_object_unpack(); -EBADMSG also for bytes behind the value.
 */
WEIR_API int weir_object_parse(struct weir_view input, const struct weir_limits *limits,
                               struct weir_arena *arena, struct msgpack_object *ret,
                               struct weir_fault *ret_fault);

/**
 * The value of a map's pair whose key is the str @key.
 *
 * Returns      of several the first; NULL: there is none, or @object is no map. It lies in the
 *              tree.
 * Cost         looks at the keys one after the other.
 */
WEIR_API const struct msgpack_object *weir_object_find(const struct msgpack_object *object,
                                                       struct weir_view key);

/** Element @index of an array, from 0; NULL: there is none, or @object is no array. */
WEIR_API const struct msgpack_object *weir_object_at(const struct msgpack_object *object,
                                                     uint32_t index);

WEIR_END_DECLS

#endif /* WEIR_OBJECT_H */
