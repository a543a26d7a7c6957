/* SPDX-License-Identifier: MIT */
/* options: what the commands have in common on their command lines. */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/ring.h>
#include <weir/unpack.h>

/*
 * Read the value of an option: a decimal number, with @is_bytes also followed by K, M or G (1024,
 * 1024^2, 1024^3), within @min and @max. Returns true; false: @ret untouched, and stderr has been
 * told what is wrong with --@option.
 */
bool options_number(const char *command, const char *option, const char *text, bool is_bytes,
                    uint64_t min, uint64_t max, uint64_t *ret);

/* What --backend takes, for help texts. */
#define OPTIONS_BACKENDS "auto, uring or poll"

/* Read the value of --backend. Returns as options_number() does. */
bool options_backend(const char *command, const char *text, enum weir_backend *ret);

/*
 * What getopt_long() found and the command itself does not know: 'd' --depth and 'b' --max-value
 * (at most @bytes_max), read into @limits; 'h' --help, which calls @help; 'V' --version; anything
 * else is wrong. Returns -1 to go on, or an exit status.
 */
int options_shared(const char *command, int option, int (*help)(void), uint64_t bytes_max,
                   struct weir_limits *limits);

/*
 * The options of a command that has no others than --depth, --max-value (at most @bytes_max),
 * --help, which calls @help, and --version. Returns -1 to go on with @limits, or an exit status.
 */
int options_limits(int argc, char **argv, int (*help)(void), uint64_t bytes_max,
                   struct weir_limits *limits);

#endif
