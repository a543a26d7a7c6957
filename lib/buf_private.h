/* SPDX-License-Identifier: MIT */
/**
 * buf_private: what the tests of buf may look at, and what pack does to a message.
 */
#ifndef WEIR_BUF_PRIVATE_H
#define WEIR_BUF_PRIVATE_H

#include "weir/buf.h"

/**
 * Every invariant of @buf, for tests to look at after each step; not while a packer writes.
 *
 * Returns   NULL: all hold; else a static line that says which one does not.
 * Cost      a walk over the segments.
 */
WEIR_NODISCARD const char *weir__buf_check(const struct weir_buf *buf);

/**
 * Take the last @size_bytes of the message that is begun (asserted) back: they lie behind each other.
 */
void weir__buf_take_back(struct weir_buf *buf, size_t size_bytes);

#endif /* WEIR_BUF_PRIVATE_H */
