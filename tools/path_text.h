/* SPDX-License-Identifier: MIT */
/* path_text: the path of a value as people are shown it. */
#ifndef TOOLS_PATH_TEXT_H
#define TOOLS_PATH_TEXT_H

#include <stddef.h>

#include <weir/view.h>

/* Room for 1024 levels of short names. */
#define PATH_TEXT_BYTES 8192

/*
 * The path of what lies at @offset of @input, as weir_path_of() has it, and a NUL.
 *
 * Keys come from the other side: what is no UTF-8, and what a terminal would obey, is written as
 * \xNN. A path that does not fit ends in "...".
 */
void path_text(struct weir_view input, size_t offset, char ret[PATH_TEXT_BYTES]);

#endif
