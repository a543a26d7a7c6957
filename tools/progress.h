/* SPDX-License-Identifier: MIT */
/* progress: one line on a terminal that shows how far a transfer is. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/** Room for a size as people read it, "12.3 MB". */
#define PROGRESS_SIZE_BYTES 24

struct progress {
    uint64_t done_bytes;
    uint64_t total_bytes; /**< 0: not known */
    uint64_t records;
    double seconds;
};

/** Draw the line over the last one, on stderr. */
void progress_draw(const struct progress *progress);

/** Take the line away. */
void progress_clear(void);

/** Write a size in powers of 1000 to @text. */
void progress_size(double bytes, char *text);

#endif
