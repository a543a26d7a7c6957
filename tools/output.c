/* SPDX-License-Identifier: MIT */
#include "output.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#define IOVECS 64

int output_init(struct output *output, struct weir_pool *pool, int fd)
{
    const struct weir_buf_options options = {.initial_bytes = OUTPUT_BYTES,
                                             .segment_max_bytes = OUTPUT_BYTES};

    output->fd = fd;
    return weir_buf_init(&output->buf, pool, &options);
}

void output_fini(struct output *output)
{
    weir_buf_fini(&output->buf);
}

int output_flush(struct output *output)
{
    struct iovec iovecs[IOVECS];

    while (weir_buf_size(&output->buf) != 0) {
        unsigned count = weir_buf_iovecs(&output->buf, 0, iovecs, NULL, IOVECS);
        ssize_t written = writev(output->fd, iovecs, (int)count);
        if (written >= 0) {
            weir_buf_consume(&output->buf, (size_t)written);
        } else if (errno == EAGAIN) {
            struct pollfd wait = {output->fd, POLLOUT, 0};
            if (poll(&wait, 1, -1) < 0 && errno != EINTR)
                return -errno;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

int output_flush_some(struct output *output)
{
    return weir_buf_size(&output->buf) < OUTPUT_BYTES ? 0 : output_flush(output);
}

int output_close(struct output *output)
{
    int rc = output_flush(output);

    if (close(output->fd) != 0 && rc == 0)
        rc = -errno;
    return rc;
}
