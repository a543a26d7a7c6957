/* SPDX-License-Identifier: MIT */
/**
 * wire_private: what only the library needs of the tags.
 */
#ifndef WEIR_WIRE_PRIVATE_H
#define WEIR_WIRE_PRIVATE_H

#include "weir/wire.h"

/** Size of the whole value where the tag alone decides it; 0 where it does not. */
extern const uint8_t weir__wire_steps[256] __attribute__((visibility("hidden")));

/** The largest of them: a str of 31 bytes, its tag included. */
#define WEIR__WIRE_STEP_MAX 32

/** The largest head. */
#define WEIR__WIRE_HEAD_MAX 9

#endif /* WEIR_WIRE_PRIVATE_H */
