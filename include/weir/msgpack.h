/* SPDX-License-Identifier: MIT */
/**
 * msgpack: what was written for MessagePack-C goes on with weir's buffers.
 *
 * Code that packs with a msgpack_packer writes into a weir_buf unchanged, and into a message that a
 * weir_packer has begun; a msgpack_object tree is packed without MessagePack-C's packer.
 *
 *     msgpack_packer pk;
 *     struct weir_view message;
 *     msgpack_packer_init(&pk, &buf, weir_msgpack_write);      // a weir_buf instead of an sbuffer
 *     weir_buf_begin(&buf, 0);
 *     int rc = record_save(record, &pk);                       // as it is; not 0: the first error
 *     if (rc == 0)
 *         weir_buf_end(&buf, &message);
 *     else
 *         weir_buf_cancel(&buf);
 *
 * Errors       as buf.h and pack.h say. MessagePack-C's functions return what the callback returned
 *              where that is not 0, and go on if they are called again: look at each, or let
 *              weir_msgpack_write_value() remember the error.
 * Linking      nothing of MessagePack-C is called, and this header needs none of its.
 * Threads      as the buffer and the packer.
 * Source       MessagePack-C (github.com/msgpack/msgpack-c, branch c_master), msgpack/pack.h and
 *              msgpack/object.h.
 */
#ifndef WEIR_MSGPACK_H
#define WEIR_MSGPACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/base.h>
#include <weir/buf.h>
#include <weir/pack.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

struct msgpack_object; /* of <msgpack.h> */

/** Arrays and maps within each other that weir_pack_object() goes down to. */
#define WEIR_PACK_OBJECT_DEPTH_MAX 1024

/**
 * A msgpack_packer_write that appends to a buffer, for msgpack_packer_init().
 *
 * @buf         the struct weir_buf, within a message or not
 * Returns      as weir_buf_reserve(): 0, -ENOMEM, -ENOBUFS, -EOVERFLOW. The bytes of one call are
 *              contiguous; those of several are only within a message.
 * Cost         inline where the compiler sees through the packer's callback; one copy, which is the
 *              serialization itself and not counted.
 */
WEIR_INLINE int weir_msgpack_write(void *buf, const char *bytes, size_t size);

/**
 * A msgpack_packer_write that writes into the message that a struct weir_packer has begun.
 *
 * @packer      the struct weir_packer
 * Returns      0 or the packer's sticky error. How many values it were is counted where a container
 *              is closed only, see weir_pack_close().
 */
WEIR_INLINE int weir_msgpack_write_value(void *packer, const char *bytes, size_t size);

/**
 * Write a MessagePack-C tree, byte for byte as msgpack_pack_object() does.
 *
 * @object      not changed; its strings are copied into the message
 * Errors       sticky: -ENOBUFS it is nested more than WEIR_PACK_OBJECT_DEPTH_MAX deep; -EINVAL a
 *              type that MessagePack-C does not have; those of the packer. The offset is that of
 *              the value concerned.
 * Cost         one pass, no recursion, 24 KiB of stack, no allocation but the buffer's.
 */
WEIR_INLINE void weir_pack_object(struct weir_packer *packer, const struct msgpack_object *object);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: weir_pack_object() on a copy, which keeps the packer's address out of it. */
WEIR_API void weir_pack_object_slow(struct weir_packer *packer,
                                    const struct msgpack_object *object);

WEIR_INLINE int weir_msgpack_write(void *buf, const char *bytes, size_t size)
{
    struct weir_buf *to = (struct weir_buf *)buf;
    uint8_t *at;

    int rc = weir_buf_reserve(to, size, &at);
    if (rc != 0 || size == 0)
        return rc;
    memcpy(at, bytes, size);
    weir_buf_commit(to, size);
    return 0;
}

WEIR_INLINE int weir_msgpack_write_value(void *packer, const char *bytes, size_t size)
{
    struct weir_packer *to = (struct weir_packer *)packer;

    /* A head and its payload come in calls of their own: these are no whole values. */
    to->uncounted = true;
    weir_pack_put(to, weir_view_of(bytes, size));
    return weir_pack_error(to);
}

WEIR_INLINE void weir_pack_object(struct weir_packer *packer, const struct msgpack_object *object)
{
    struct weir_packer copy = *packer;

    weir_pack_object_slow(&copy, object);
    *packer = copy;
}

WEIR_END_DECLS

#endif /* WEIR_MSGPACK_H */
