/* SPDX-License-Identifier: MIT */
/**
 * batch_private: what the tests of batch may look at.
 */
#ifndef WEIR_BATCH_PRIVATE_H
#define WEIR_BATCH_PRIVATE_H

#include "weir/batch.h"

/**
 * Every invariant of @batch, for tests to look at after each step.
 *
 * Returns   NULL: all hold; else a static line that says which one does not.
 * Cost      a walk over the batches.
 */
WEIR_NODISCARD const char *weir__batch_check(const struct weir_batch *batch);

#endif /* WEIR_BATCH_PRIVATE_H */
