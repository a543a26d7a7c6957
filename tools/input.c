/* SPDX-License-Identifier: MIT */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/base.h>
#include <weir/file.h>

#include "report.h"

/* Less than this is not worth a read. */
#define LEAST_READ_BYTES 4096

static int open_file(struct input *input, const char *path)
{
    struct stat status;

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

int input_open(struct input *input, struct weir_pool *pool, const char *path, bool ahead)
{
    /* Nothing is received: the least there is. */
    static const struct weir_ring_options options = {
        .entries = 2, .receive_blocks = 1, .receive_block_bytes = 4096};

    memset(input, 0, sizeof *input);
    input->pool = pool;
    weir_op_init(&input->op, NULL, NULL);
    int rc = open_file(input, path);
    if (rc == 0 && ahead && weir_ring_create(pool, &options, &input->ring) != 0)
        input->ring = NULL;
    return rc;
}

void input_close(struct input *input)
{
    /* Takes the read that is under way back. */
    weir_ring_destroy(input->ring);
    input->ring = NULL;
    weir_block_drop(input->block);
    input->block = NULL;
    if (input->fd > STDERR_FILENO)
        close(input->fd);
    input->fd = -1;
}

/* Standard input may be somebody's non-blocking descriptor. */
static int wait_readable(int fd)
{
    struct pollfd wait = {fd, POLLIN, 0};

    return poll(&wait, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

/* Have room for a read. The block before is kept by those who hold slices of it. */
static int make_room(struct input *input)
{
    struct weir_block *block;

    if (input->block != NULL && input->block->size - input->used >= LEAST_READ_BYTES)
        return 0;
    int rc = weir_pool_alloc(input->pool, INPUT_BLOCK_BYTES, &block);
    if (rc < 0)
        return rc;
    weir_block_drop(input->block);
    input->block = block;
    input->used = 0;
    return 0;
}

/* Have the next read under way. */
static int start_read(struct input *input)
{
    if (input->reading)
        return 0;
    int rc = make_room(input);
    if (rc == 0)
        rc = weir_file_read(input->ring, &input->op, input->fd, input->block, input->used,
                            input->block->size - input->used, WEIR_FILE_POSITION);
    input->reading = rc == 0;
    return rc;
}

/* The read that is under way, once it is over. Returns bytes or a negative errno. */
static int finish_read(struct input *input)
{
    while (weir_op_is_active(&input->op)) {
        int rc = weir_ring_run(input->ring, -1);
        if (rc < 0 && rc != -EINTR)
            return rc;
    }
    input->reading = false;
    return input->op.result;
}

static ssize_t read_now(struct input *input)
{
    int rc = make_room(input);
    if (rc < 0)
        return rc;
    ssize_t got =
        read(input->fd, input->block->data + input->used, input->block->size - input->used);
    return got < 0 ? -errno : got;
}

static ssize_t read_ahead(struct input *input)
{
    int rc = start_read(input);

    return rc < 0 ? rc : finish_read(input);
}

int input_read(struct input *input, struct weir_slice *ret)
{
    ssize_t got;
    int rc = 0;

    do {
        got = input->ring != NULL ? read_ahead(input) : read_now(input);
        if (got == -EAGAIN)
            rc = wait_readable(input->fd);
    } while (rc == 0 && (got == -EAGAIN || got == -EINTR));
    if (rc < 0 || got < 0)
        return rc < 0 ? rc : (int)got;
    *ret = weir_slice_adopt(weir_view_of(input->block->data + input->used, (size_t)got),
                            weir_block_hold(input->block));
    input->used += (size_t)got;
    /* What goes wrong with the next read is told when that is asked for. */
    if (input->ring != NULL && got != 0 && start_read(input) == 0)
        (void)weir_ring_run(input->ring, 0);
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
