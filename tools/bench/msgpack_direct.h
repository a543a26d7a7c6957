/* SPDX-License-Identifier: MIT */
/**
 * msgpack_direct: MessagePack-C's own encoders over a writer that is inlined.
 *
 * Its pack_template.h is installed for that: what it has its packer call through a pointer is here
 * an append to an sbuffer in the compiler's sight. The functions are named direct_pack_*.
 */
#ifndef MSGPACK_DIRECT_H
#define MSGPACK_DIRECT_H

#include <string.h>

#include <msgpack.h>

static inline __attribute__((always_inline)) int direct_append(msgpack_sbuffer *sbuffer,
                                                               const void *bytes, size_t size)
{
    if (sbuffer->alloc - sbuffer->size < size)
        return msgpack_sbuffer_write(sbuffer, bytes, size);
    memcpy(sbuffer->data + sbuffer->size, bytes, size);
    sbuffer->size += size;
    return 0;
}

#define msgpack_pack_inline_func(name) static inline int direct_pack##name
#define msgpack_pack_inline_func_cint(name) static inline int direct_pack##name
#define msgpack_pack_inline_func_fixint(name) static inline int direct_pack_fix##name
#define msgpack_pack_user msgpack_sbuffer *
#define msgpack_pack_append_buffer(user, bytes, size) return direct_append(user, bytes, size)
#include <msgpack/pack_template.h>

static inline __attribute__((always_inline)) int direct_text(msgpack_sbuffer *sbuffer,
                                                             const void *bytes, size_t size)
{
    int rc = direct_pack_str(sbuffer, size);

    return rc != 0 ? rc : direct_pack_str_body(sbuffer, bytes, size);
}

#endif /* MSGPACK_DIRECT_H */
