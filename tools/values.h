/* SPDX-License-Identifier: MIT */
/*
 * values: the MessagePack values of a file, one after the other, each checked.
 *
 *     struct values values;
 *     struct weir_view value;
 *     int rc;
 *     rc = values_open(&values, pool, &limits, path, true);
 *     while (rc == 0) {
 *         while ((rc = values_next_view(&values, &value)) == 0)
 *             use(value);
 *         if (rc == -EAGAIN)
 *             rc = values_fill(&values);   // a good moment to write out what there is
 *     }
 *     status = values_close(&values, "weir cat", rc);
 *
 * Memory is bounded by the largest value, whatever the size of the file.
 */
#ifndef TOOLS_VALUES_H
#define TOOLS_VALUES_H

#include <stdint.h>

#include <weir/arena.h>
#include <weir/buf.h>
#include <weir/check.h>
#include <weir/slice.h>
#include <weir/stream.h>

#include "input.h"
#include "path_text.h"

/* The largest limit of bytes per value. */
#define VALUES_BYTES_MAX ((uint64_t)UINT32_MAX)

struct values {
    struct input input;
    struct weir_stream stream;
    struct weir_check_options check; /* of the limits only the depth */
    struct weir_arena keys;          /* of the value that is checked */
    struct weir_slice fed;           /* to the stream, last */
    uint64_t checked_to;             /* offset in the file: no fault was found before that */
    struct weir_buf kept; /* what was read and not handed out, to look into for a fault */
    uint64_t kept_from;   /* offset of its first byte in the file */
    uint64_t fault_offset;
    const char *fault_reason; /* NULL: the file's bytes are not at fault */
    char fault_path[PATH_TEXT_BYTES];
};

/* Returned by values_fill() at the end of the file. */
#define VALUES_END 1

/*
 * Open @path, NULL or "-" for standard input.
 *
 * @limits  of each value; bytes 0: WEIR_STREAM_BYTES_DEFAULT
 * @ahead   as for input_open()
 * Returns  0 or a negative errno. values_close() in any case.
 */
int values_open(struct values *values, struct weir_pool *pool, const struct weir_limits *limits,
                const char *path, bool ahead);

/* Want values to be more than well-formed, before the first one: @flags are those of check.h. */
void values_require(struct values *values, uint32_t flags);

/*
 * The next value, well-formed and within the limits. The slice is the caller's to drop.
 *
 * Returns  0; -EAGAIN values_fill() is next; another error: that is all.
 */
int values_next(struct values *values, struct weir_slice *ret);

/* The same as a view, which is valid until the next call for @values, whichever. */
int values_next_view(struct values *values, struct weir_view *ret);

/* Read on. Returns 0, VALUES_END, or an error, which includes a value that the file cuts off. */
int values_fill(struct values *values);

/*
 * Close, and say what is wrong if @rc, which one of the above returned, is an error:
 * "COMMAND: FILE: offset N, /PATH: REASON", without "COMMAND: " if that is NULL, and without the
 * path if the value at the top is at fault. Returns the exit status.
 */
int values_close(struct values *values, const char *command, int rc);

#endif
