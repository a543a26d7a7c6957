/* SPDX-License-Identifier: MIT */
/*
 * json_write: MessagePack to JSON, compact, with the forms of json_form.h.
 *
 *     struct json_writer writer;
 *     json_writer_init(&writer, pool);
 *     rc = json_writer_start(&writer, message);
 *     while (rc == 0 && (rc = json_writer_step(&writer, &buf)) > 0)
 *         rc = flush(&buf);
 *     json_writer_fini(&writer);
 *
 * UTF-8 is written as it is; quotes, backslashes and control characters are escaped. Integers and
 * floats are exact: read back, they are the same value of the same type.
 */
#ifndef TOOLS_JSON_WRITE_H
#define TOOLS_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/buf.h>
#include <weir/unpack.h>

#include "json_scan.h"

/* A step ends when the buffer holds so much; it may then hold some more. */
#define JSON_WRITE_STEP_BYTES 65536

/* An array or map that is open. */
struct json_writer_frame {
    uint64_t values_left; /* of a map, keys and values */
    uint8_t kind;
    bool begun; /* something was written */
};

struct json_writer {
    struct weir_unpacker cursor;
    size_t maps;           /* heads of maps seen */
    struct weir_view rest; /* what is still to be written of a string */
    const char *closing;   /* and behind it; NULL: there is none */
    bool rest_is_bytes;    /* as base64 */
    bool begun;
    uint32_t depth;
    struct json_writer_frame frames[WEIR_DEPTH_MAX];
    struct json_scan scan;
};

void json_writer_init(struct json_writer *writer, struct weir_pool *pool);
void json_writer_fini(struct json_writer *writer);

/*
 * Begin with @value: one value that weir_check() has accepted, of less than 4 GiB; it must stay
 * where it is until it is written. Returns as json_scan_value().
 */
int json_writer_start(struct json_writer *writer, struct weir_view value);

/* Append the next part to @out. Returns 1 there is more; 0 that was the end; an error of @out. */
int json_writer_step(struct json_writer *writer, struct weir_buf *out);

#endif
