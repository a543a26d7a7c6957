/* SPDX-License-Identifier: MIT */
/* stat_source: what `weir stat` shows the counters of, a service or a file. */
#ifndef TOOLS_STAT_SOURCE_H
#define TOOLS_STAT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/unpack.h>

struct stat_options {
    bool table;    /* for people, instead of JSON */
    bool headings; /* the names of files over their tables */
    uint64_t timeout_seconds;
    struct weir_limits limits; /* of a file's values */
};

/* Print the counters of the service at @address. Returns the exit status; says what is wrong. */
int stat_service(const char *command, const char *address, const struct stat_options *options);

/* Print what the values in the file at @path, NULL or "-" for standard input, are made of. Returns
 * the exit status; says what is wrong. */
int stat_file(const char *command, const char *path, const struct stat_options *options);

#endif
