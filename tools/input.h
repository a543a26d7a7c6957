/* SPDX-License-Identifier: MIT */
/*
 * input: a file, or standard input, read in slices of pool blocks.
 *
 *     struct input input;
 *     struct weir_slice slice;
 *     rc = input_open(&input, pool, path);
 *     while (rc == 0 && (rc = input_read(&input, &slice)) == 0 && slice.view.size != 0) {
 *         use(slice.view);
 *         weir_slice_drop(&slice);
 *     }
 *     input_close(&input);
 *
 * Short reads, as pipes give them, share a block: what follows in the input follows in memory.
 */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H

#include <stddef.h>

#include <weir/pool.h>
#include <weir/slice.h>

#define INPUT_BLOCK_BYTES 65536

struct input {
    const char *name; /* for messages */
    int fd;
    struct weir_pool *pool;
    struct weir_block *block; /* NULL: none yet */
    size_t used;              /* bytes of it */
};

/*
 * Open @path, NULL or "-" for standard input. Returns 0 or a negative errno; -EISDIR, too.
 * input_close() in any case.
 */
int input_open(struct input *input, struct weir_pool *pool, const char *path);
void input_close(struct input *input);

/* The next bytes, as many as are there, waiting for some; none at the end. Returns 0 or a negative
 * errno. The slice is the caller's to drop. */
int input_read(struct input *input, struct weir_slice *ret);

/* Say what input_open() or input_read() returned. Returns the exit status. */
int input_report(const struct input *input, const char *command, int error);

#endif
