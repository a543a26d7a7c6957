/* SPDX-License-Identifier: MIT */
/* compare: where two MessagePack values differ first. */
#ifndef TOOLS_COMPARE_H
#define TOOLS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/view.h>

enum difference {
    DIFFERENCE_NONE,
    DIFFERENCE_VALUE,    /* of an element, which may be a map's key */
    DIFFERENCE_ENCODING, /* of the same element */
    DIFFERENCE_COUNT     /* of an array or map, found once what both have of it was compared */
};

/*
 * Compare value by value in the order in which they are written.
 *
 * Values are equal as MessagePack's data model has it: 1 is 1 in any width, a timestamp in any
 * form, a float of 32 bits is none of 64. Floats are compared bit for bit.
 *
 * @a, @b       one value each that weir_check() has accepted
 * @encodings   the same value in another encoding is a difference, too
 * @ret_a, @ret_b  written if there is a difference: the offset of the element, or of the array or
 *              map, in each
 * Cost         linear; bytes that are the same are not looked into. 40 KiB of stack.
 */
enum difference compare(struct weir_view a, struct weir_view b, bool encodings, size_t *ret_a,
                        size_t *ret_b);

#endif
