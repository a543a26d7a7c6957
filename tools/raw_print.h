/* SPDX-License-Identifier: MIT */
/*
 * raw_print: a value as MessagePack-C's msgpack_object_print() shows it.
 *
 *     struct raw_printer printer;
 *     rc = raw_printer_init(&printer, pool, &output);
 *     if (rc == 0)
 *         rc = raw_print(&printer, value);
 *     raw_printer_fini(&printer);
 *
 * A value is made a tree first: up to 24 bytes of memory for each of its bytes. The text goes to
 * the output piece by piece.
 */
#ifndef TOOLS_RAW_PRINT_H
#define TOOLS_RAW_PRINT_H

#include <stdio.h>

#include <weir/arena.h>
#include <weir/view.h>

#include "output.h"

struct raw_printer {
    FILE *text; /* what is printed here arrives in the output */
    struct output *output;
    struct weir_arena arena;
    int error;        /* why text took no more */
    int output_error; /* the same, if it is the output's descriptor */
};

/* Zeroed, raw_printer_fini() takes it. Returns 0 or -ENOMEM. */
int raw_printer_init(struct raw_printer *printer, struct weir_pool *pool, struct output *output);
void raw_printer_fini(struct raw_printer *printer);

/*
 * Append @value, one that weir_check() has accepted, to the output, and write out what gathers.
 *
 * Returns  0 or an error; of writing it out, also as output_error. After one, no more is printed.
 */
int raw_print(struct raw_printer *printer, struct weir_view value);

#endif
