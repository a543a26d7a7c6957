/* SPDX-License-Identifier: MIT */
/**
 * chain_private: what the tests of chain may look at.
 */
#ifndef WEIR_CHAIN_PRIVATE_H
#define WEIR_CHAIN_PRIVATE_H

#include "weir/chain.h"

/**
 * Every invariant of @chain, for tests to look at after each step.
 *
 * Returns   NULL: all hold; else a static line that says which one does not.
 * Cost      a walk over the slices.
 */
WEIR_NODISCARD const char *weir__chain_check(const struct weir_chain *chain);

#endif /* WEIR_CHAIN_PRIVATE_H */
