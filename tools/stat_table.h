/* SPDX-License-Identifier: MIT */
/* stat_table: the counters of a service as tables for people. */
#ifndef TOOLS_STAT_TABLE_H
#define TOOLS_STAT_TABLE_H

#include <stdio.h>

#include <weir/view.h>

/*
 * Print a map of sections, each of them a map of counters by name:
 *
 *     pool
 *       bytes_held       2105344
 *       block_bytes  allocations  hits
 *       64                     7     6
 *       4096                  12    11
 *       large                  1     0
 *       total                 20    17
 *
 * What is a map of counters itself, or an array of such, is a table's rows: the first of them names
 * the columns. An array's map is named by its first counter, another one by its key. Counters of
 * the section that have a column are the last row.
 *
 * @value    one MessagePack value from anybody; only what is a counter is shown as a number
 * Returns   0; -EBADMSG it is not of this form, and nothing was printed; or what failed in writing.
 */
int stat_table_print(struct weir_view value, FILE *out);

#endif
