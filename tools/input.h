/* SPDX-License-Identifier: MIT */
/*
 * input: a file, or standard input, read in slices of pool blocks.
 *
 *     struct input input;
 *     struct weir_slice slice;
 *     rc = input_open(&input, pool, path, true);
 *     while (rc == 0 && (rc = input_read(&input, &slice)) == 0 && slice.view.size != 0) {
 *         use(slice.view);
 *         weir_slice_drop(&slice);
 *     }
 *     input_close(&input);
 *
 * Short reads, as pipes give them, share a block: what follows in the input follows in memory.
 *
 * Reading ahead, the next read is with the kernel while the last slice is worked on. It takes a
 * ring; where none can be had, reads are done when they are asked for.
 */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/pool.h>
#include <weir/ring.h>
#include <weir/slice.h>

#define INPUT_BLOCK_BYTES 65536

struct input {
    const char *name; /* for messages */
    int fd;
    struct weir_pool *pool;
    struct weir_block *block; /* NULL: none yet */
    size_t used;              /* bytes of it */
    struct weir_ring *ring;   /* NULL: no reading ahead */
    struct weir_op op;        /* the read that is under way, or was and is not looked at yet */
    bool reading;
};

/*
 * Open @path, NULL or "-" for standard input. Returns 0 or a negative errno; -EISDIR, too.
 * input_close() in any case.
 *
 * @ahead  read ahead; whether the descriptor is readable says nothing then
 */
int input_open(struct input *input, struct weir_pool *pool, const char *path, bool ahead);
void input_close(struct input *input);

/* The next bytes, as many as are there, waiting for some; none at the end. Returns 0 or a negative
 * errno. The slice is the caller's to drop. */
int input_read(struct input *input, struct weir_slice *ret);

/* Say what input_open() or input_read() returned. Returns the exit status. */
int input_report(const struct input *input, const char *command, int error);

#endif
