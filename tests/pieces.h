/* SPDX-License-Identifier: MIT */
/*
 * pieces: a cursor over slices reads what a cursor over the same bytes in one piece reads.
 */
#ifndef WEIR_TESTS_PIECES_H
#define WEIR_TESTS_PIECES_H

#include <stdbool.h>

#include <weir/unpack.h>

/* How many ways to read there are: each is a number below. */
#define PIECES_OPS 29

/*
 * Read @input in one piece and in pieces, by the same @ops, and compare what is read, errors and
 * offsets after each.
 *
 * @cuts     the size of each piece but the last, which has the rest; each piece lies in memory of
 *           its own size
 * @arena    NULL: what straddles is an error, and nothing else is
 * Returns   NULL; or what differs.
 */
const char *pieces_compare(struct weir_view input, struct weir_view cuts, struct weir_view ops,
                           const struct weir_limits *limits, struct weir_arena *arena);

#endif /* WEIR_TESTS_PIECES_H */
