/* SPDX-License-Identifier: MIT */
/*
 * json_place: where something stands in a JSON text. json-c's tree does not say, so that a fault
 * found in it is looked up in the text, which costs nothing as long as there is none.
 *
 * @text is one value that json-c has accepted.
 */
#ifndef TOOLS_JSON_PLACE_H
#define TOOLS_JSON_PLACE_H

#include <stddef.h>
#include <stdint.h>

#include <weir/view.h>

/* Offset of the @index-th value, in the order in which they begin; names are no values. */
size_t json_place_of_value(struct weir_view text, uint64_t index);

/*
 * The first name that stands for the second time in the object that begins at @offset, with its
 * quotes, as a part of @text; an empty view if there is none.
 */
struct weir_view json_place_of_repeated_name(struct weir_view text, size_t offset);

#endif
