/* SPDX-License-Identifier: MIT */
/*
 * unpack_private: what other readers need of the cursor.
 */
#ifndef WEIR_UNPACK_PRIVATE_H
#define WEIR_UNPACK_PRIVATE_H

#include "weir/unpack.h"

/* Arrays and maps within each other, where nothing else is said. */
#define WEIR__DEPTH_DEFAULT 128u

/* Let @error at the value that the cursor stands at be its error, if it is the first. Returns the
 * cursor's error. */
int weir__unpack_fail(struct weir_unpacker *unpacker, int error);

#endif /* WEIR_UNPACK_PRIVATE_H */
