/* SPDX-License-Identifier: MIT */
/**
 * pack_private: heads in their shortest form, for pack and canonical.
 */
#ifndef WEIR_PACK_PRIVATE_H
#define WEIR_PACK_PRIVATE_H

#include "weir/pack.h"

/**
 * Store a length or count behind its tag: 8 bits wide with @tag8 (0: there is no such form), 16
 * with @tag16, 32 with the tag after that.
 *
 * @value    at most 2^32-1
 * Returns   the bytes written.
 */
size_t weir__store_head(uint8_t *at, unsigned tag8, unsigned tag16, size_t value);

/** Store the head of an ext of @size bytes, its type included. Returns its size, up to 6. */
size_t weir__store_ext_head(uint8_t *at, uint8_t type, size_t size);

/** Set the sticky error of the message that is begun. Returns NULL, the position of a packer. */
uint8_t *weir__pack_fail_at(struct weir_buf *buf, int error, size_t offset);

#endif /* WEIR_PACK_PRIVATE_H */
