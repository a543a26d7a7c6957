/* SPDX-License-Identifier: MIT */
/* base64: RFC 4648 section 4, with padding; decoding takes only what encoding would write. */
#ifndef TOOLS_BASE64_H
#define TOOLS_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include <weir/view.h>

/* Characters that @size_bytes bytes become; @size_bytes is at most SIZE_MAX / 2. */
size_t base64_encoded_bytes(size_t size_bytes);

/* Write base64_encoded_bytes() characters, no NUL. Parts of a text are multiples of 3 bytes. */
void base64_encode(struct weir_view bytes, uint8_t *ret);

/*
 * Decode @text; @ret has room for text.size / 4 * 3 bytes and *ret_size receives how many it is.
 * Returns 0; -EBADMSG a character outside the alphabet, padding that is missing or misplaced, or
 * bits behind the last byte that are not zero: what decodes is written back as it was.
 */
int base64_decode(struct weir_view text, uint8_t *ret, size_t *ret_size);

#endif
