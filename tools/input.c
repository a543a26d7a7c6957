/* SPDX-License-Identifier: MIT */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/base.h>

#include "report.h"

/* Less than this is not worth a read. */
#define LEAST_READ_BYTES 4096

int input_open(struct input *input, struct weir_pool *pool, const char *path)
{
    struct stat status;

    input->pool = pool;
    input->block = NULL;
    input->used = 0;
    if (path == NULL || strcmp(path, "-") == 0) {
        input->name = "(stdin)";
        input->fd = STDIN_FILENO;
    } else {
        input->name = path;
        input->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (input->fd < 0)
            return -errno;
    }
    if (fstat(input->fd, &status) != 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    /* Advice only: whether it is taken does not matter. */
    posix_fadvise(input->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

void input_close(struct input *input)
{
    weir_block_drop(input->block);
    input->block = NULL;
    if (input->fd > STDERR_FILENO)
        close(input->fd);
    input->fd = -1;
}

/* Standard input may be somebody's non-blocking descriptor. */
static ssize_t read_some(int fd, uint8_t *at, size_t size)
{
    for (;;) {
        ssize_t got = read(fd, at, size);
        if (got >= 0)
            return got;
        if (errno == EAGAIN) {
            struct pollfd wait = {fd, POLLIN, 0};
            if (poll(&wait, 1, -1) < 0 && errno != EINTR)
                return -errno;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

int input_read(struct input *input, struct weir_slice *ret)
{
    if (input->block == NULL || input->block->size - input->used < LEAST_READ_BYTES) {
        struct weir_block *block;
        int rc = weir_pool_alloc(input->pool, INPUT_BLOCK_BYTES, &block);
        if (rc < 0)
            return rc;
        weir_block_drop(input->block);
        input->block = block;
        input->used = 0;
    }
    uint8_t *at = input->block->data + input->used;
    ssize_t got = read_some(input->fd, at, input->block->size - input->used);
    if (got < 0)
        return (int)got;
    input->used += (size_t)got;
    *ret = weir_slice_adopt(weir_view_of(at, (size_t)got), weir_block_hold(input->block));
    return 0;
}

int input_report(const struct input *input, const char *command, int error)
{
    if (error == -ENOMEM || error == -ENOBUFS) {
        report_error(command, "%s: %s", input->name, weir_error_text(error));
        return EX_OSERR;
    }
    report_error(command, "%s: %s", input->name, strerror(-error));
    switch (-error) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EACCES:
    case EPERM:
    case ELOOP:
    case ENAMETOOLONG:
    case ENXIO:
        return EX_NOINPUT;
    default:
        return EX_IOERR;
    }
}
