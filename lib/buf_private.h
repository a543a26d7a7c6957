/* SPDX-License-Identifier: MIT */
/**
 * buf_private: what the tests of buf may look at.
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

#endif /* WEIR_BUF_PRIVATE_H */
