/* SPDX-License-Identifier: MIT */
/*
 * json_read: JSON values, one after the other, to MessagePack.
 *
 *     struct json_reader reader;
 *     json_reader_init(&reader, pool, NULL);
 *     ...on each piece of input:
 *     while ((rc = json_reader_next(&reader, &piece, &buf)) == 0)
 *         written++;
 *     ...at its end:
 *     rc = json_reader_end(&reader, &buf);
 *     if (rc < 0 && rc != -EAGAIN)
 *         complain(&reader.fault);
 *     json_reader_fini(&reader);
 *
 * json-c parses and builds the tree; json_guard goes before it. Objects with one member whose name
 * begins with '$' are what json_form.h says. Values may be separated by blanks or not at all.
 * No recursion, except that json-c frees its tree so, which the nesting limit bounds.
 */
#ifndef TOOLS_JSON_READ_H
#define TOOLS_JSON_READ_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/buf.h>
#include <weir/unpack.h>

#include "json_guard.h"
#include "vec.h"

/* The largest text of one value that json-c takes. */
#define JSON_TEXT_BYTES_MAX ((uint64_t)INT32_MAX - 1)

struct json_fault {
    int error;       /* 0: none; -EBADMSG: the input's; others: ours */
    uint64_t offset; /* from the start of the input */
    uint64_t line;   /* from 1 */
    char reason[200];
};

struct json_tokener;

struct json_reader {
    struct weir_pool *pool;
    struct json_tokener *tokener;
    uint32_t depth_max;
    uint64_t bytes_max;
    uint64_t offset; /* of the value that is begun, or else of the next byte */
    uint64_t line;   /* of that offset */
    bool in_value;
    struct vec text;    /* of a value that did not come in one piece */
    struct vec scratch; /* decoded base64 */
    struct vec frames;
    struct json_guard guard;
    struct json_fault fault;
};

/*
 * Prepare for reading a new input.
 *
 * @limits  NULL or zeroed: the defaults. depth is that of the MessagePack value, as weir_check()
 *          counts it; bytes bounds the JSON text of one value, 0: WEIR_STREAM_BYTES_DEFAULT.
 * Returns  0, -ENOMEM, -ENOBUFS, -EINVAL a limit is too large. json_reader_fini() in any case.
 */
int json_reader_init(struct json_reader *reader, struct weir_pool *pool,
                     const struct weir_limits *limits);
void json_reader_fini(struct json_reader *reader);

/*
 * Append the next value to @out as one message; @input is shortened by what was read.
 *
 * Returns  0; -EAGAIN @input is used up; another error: see fault, @out is as before and nothing
 *          more can be read.
 */
int json_reader_next(struct json_reader *reader, struct weir_view *input, struct weir_buf *out);

/* No more input comes. Returns as json_reader_next(); -EAGAIN: there is no value left. */
int json_reader_end(struct json_reader *reader, struct weir_buf *out);

#endif
