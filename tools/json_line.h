/* SPDX-License-Identifier: MIT */
/* json_line: one MessagePack value as a line of JSON. */
#ifndef TOOLS_JSON_LINE_H
#define TOOLS_JSON_LINE_H

#include <stdio.h>

#include <weir/pool.h>
#include <weir/view.h>

/**
 * Write @value, as json_write.h has it, and a newline to @out, and flush.
 *
 * Returns   0; -EBADMSG it is not one well-formed value; -ENOMEM, -ENOBUFS of the pool; or the
 *           error of write(2).
 */
int json_line_print(struct weir_view value, struct weir_pool *pool, FILE *out);

#endif
