/* SPDX-License-Identifier: MIT */
/* report: what the program says to people, and its exit status. */
#ifndef TOOLS_REPORT_H
#define TOOLS_REPORT_H

#include <sysexits.h>

/* The data is at fault. The others are those of sysexits.h: EX_OK, EX_USAGE, ... */
#define REPORT_BAD_DATA 1

/* "COMMAND: MESSAGE" on stderr; COMMAND is "weir cat", or NULL for the message alone. */
__attribute__((format(printf, 2, 3))) void report_error(const char *command, const char *format,
                                                        ...);

/* As report_error(), with a hint to --help behind it. Returns EX_USAGE. */
__attribute__((format(printf, 2, 3))) int report_usage(const char *command, const char *format,
                                                       ...);

/* Where to find help, after getopt_long() has complained. Returns EX_USAGE. */
int report_hint(const char *command);

/* Print the version on stdout. Returns the status. */
int report_version(void);

/* Flush and close stdout; says so if anything that was printed could not be written. Returns the
 * status. */
int report_stdout(const char *command);

/* Say that writing to standard output failed, unless nobody reads it any more. @error is a negative
 * errno. Returns EX_IOERR. */
int report_output_error(const char *command, int error);

/* Out of memory or the like, -ENOMEM or -ENOBUFS. Returns EX_OSERR. */
int report_memory_error(const char *command, int error);

/* The status of several things: that of the first that went wrong. */
static inline int report_first(int status, int next)
{
    return status != EX_OK ? status : next;
}

#endif
