/* SPDX-License-Identifier: MIT */
/* output: a buffer that is written to a descriptor from where its bytes lie. */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <weir/buf.h>

/* When so much has gathered it is time to write. */
#define OUTPUT_BYTES 65536

struct output {
    struct weir_buf buf;
    int fd;
};

/* Returns 0 or an error of weir_buf_init(). */
int output_init(struct output *output, struct weir_pool *pool, int fd);

/* Forget what was not written. */
void output_fini(struct output *output);

/* Write everything. Returns 0 or a negative errno. */
int output_flush(struct output *output);

/* Write everything if enough has gathered to make it worth while. Returns 0 or a negative errno. */
int output_flush_some(struct output *output);

/* Write everything and close the descriptor: the last errors come only then. Returns 0 or a
 * negative errno. */
int output_close(struct output *output);

#endif
