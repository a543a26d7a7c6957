/* SPDX-License-Identifier: MIT */
/*
 * bytes: slices that are appended to a buffer and sent, linked or copied.
 *
 * What weir_buf_options.link_min_bytes decides. A message is a head of 8 bytes and a slice, as a
 * server forwards what it received; 16 of them leave in one vectored send over a Unix socket, whose
 * other end is read on the same thread: TCP to the same machine was too noisy to tell the two
 * apart. A linked slice costs two entries of the vector, its own and that of the next head, two
 * references and two segments of the buffer; a copied one its bytes. The kernel copies them all in
 * either case. The slices are of 64 blocks, so that up to 4 KiB they stay in the second-level
 * cache, as bytes do that have just come.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include <weir/buf.h>
#include <weir/pool.h>

#define SLICES 64u
#define BATCH 16u /* divides it */
#define HEAD_BYTES 8u
#define SLICE_BYTES_MAX 16384u
#define IOVECS (2 * BATCH + 8)
#define SOCKET_BUFFER_BYTES (1 << 20)

struct bytes {
    struct weir_pool *pool;
    struct weir_slice slices[SLICES]; /* of the largest size */
    struct weir_buf linked;           /* links everything but heads */
    struct weir_buf copied;
    int ends[2]; /* of a connection: written to and read from */
    uint8_t input[64 << 10];
};

/* Read @size bytes and throw them away. */
static int discard(struct bytes *bytes, size_t size)
{
    while (size != 0) {
        ssize_t got = recv(bytes->ends[1], bytes->input, sizeof bytes->input, 0);
        if (got <= 0)
            return got == 0 ? -EPIPE : -errno;
        size -= (size_t)got;
    }
    return 0;
}

static int send_all(struct bytes *bytes, struct weir_buf *buf)
{
    struct iovec iov[IOVECS];

    while (weir_buf_size(buf) != 0) {
        struct msghdr message = {.msg_iov = iov};
        message.msg_iovlen = weir_buf_iovecs(buf, 0, iov, NULL, IOVECS);
        ssize_t sent = sendmsg(bytes->ends[0], &message, MSG_NOSIGNAL);
        if (sent < 0)
            return -errno;
        weir_buf_consume(buf, (size_t)sent);
        int rc = discard(bytes, (size_t)sent);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int run(struct bench_round *round, struct weir_buf *buf, size_t size)
{
    struct bytes *bytes = round->context;
    uint8_t *at;

    for (uint64_t op = 0; op < round->ops; op++) {
        struct weir_slice slice = bytes->slices[op % SLICES];
        slice.view.size = size;
        int rc = weir_buf_reserve(buf, HEAD_BYTES, &at);
        if (rc != 0)
            return rc;
        memcpy(at, &op, HEAD_BYTES);
        weir_buf_commit(buf, HEAD_BYTES);
        rc = weir_buf_append_slice(buf, &slice);
        if (rc == 0 && op % BATCH == BATCH - 1)
            rc = send_all(bytes, buf);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int run_linked(struct bench_round *round, size_t size)
{
    return run(round, &((struct bytes *)round->context)->linked, size);
}

static int run_copied(struct bench_round *round, size_t size)
{
    return run(round, &((struct bytes *)round->context)->copied, size);
}

/* A contender is told no size: a function for each. */
#define SIZED(size)                                                                                \
    static int run_linked_##size(struct bench_round *round)                                        \
    {                                                                                              \
        return run_linked(round, size);                                                            \
    }                                                                                              \
    static int run_copied_##size(struct bench_round *round)                                        \
    {                                                                                              \
        return run_copied(round, size);                                                            \
    }                                                                                              \
    static double bytes_##size(const void *context)                                                \
    {                                                                                              \
        (void)context;                                                                             \
        return size + HEAD_BYTES;                                                                  \
    }                                                                                              \
    static const struct bench_contender contenders_##size[] = {                                    \
        {.name = "linked", .note = "by weir_buf_append_slice", .run = run_linked_##size},          \
        {.name = "copied", .note = "by the same, below link_min_bytes", .run = run_copied_##size}, \
    };

SIZED(256)
SIZED(512)
SIZED(1024)
SIZED(2048)
SIZED(4096)
SIZED(8192)
SIZED(16384)

#define CASE(size)                                                                               \
    {                                                                                            \
        .name = "send-" #size, .op = "8 bytes and a slice of " #size " bytes appended and sent", \
        .step_ops = SLICES, .bytes_per_op = bytes_##size, .contenders = contenders_##size,       \
        .contender_count = 2,                                                                    \
    }

static const struct bench_case cases[] = {
    CASE(256), CASE(512), CASE(1024), CASE(2048), CASE(4096), CASE(8192), CASE(16384),
};

static void teardown(void *context)
{
    struct bytes *bytes = context;

    if (bytes == NULL)
        return;
    weir_buf_fini(&bytes->linked);
    weir_buf_fini(&bytes->copied);
    for (unsigned i = 0; i < SLICES; i++)
        weir_slice_drop(&bytes->slices[i]);
    (void)weir_pool_destroy(bytes->pool);
    if (bytes->ends[0] != bytes->ends[1]) {
        close(bytes->ends[0]);
        close(bytes->ends[1]);
    }
    free(bytes);
}

/* Both buffers produce the same bytes, one by linking and one by copying. */
static int verify(struct bytes *bytes)
{
    struct weir_chain linked, copied;

    for (unsigned i = 0; i < SLICES; i++) {
        struct weir_slice slice = bytes->slices[i];
        slice.view.size = 256;
        int rc = weir_buf_append_slice(&bytes->linked, &slice);
        if (rc == 0)
            rc = weir_buf_append_slice(&bytes->copied, &slice);
        if (rc != 0)
            return rc;
    }
    weir_chain_init(&linked, bytes->pool);
    weir_chain_init(&copied, bytes->pool);
    int rc = weir_buf_split(&bytes->linked, SLICES * 256, &linked);
    if (rc == 0)
        rc = weir_buf_split(&bytes->copied, SLICES * 256, &copied);
    if (rc == 0 && (!weir_chain_equal(&linked, &copied) || linked.count != SLICES ||
                    weir_buf_bytes_copied(&bytes->linked) != 0 ||
                    weir_buf_bytes_copied(&bytes->copied) != SLICES * 256))
        rc = -EBADMSG;
    weir_chain_fini(&linked);
    weir_chain_fini(&copied);
    return rc;
}

static int setup(void **ret)
{
    struct weir_buf_options link = {.link_min_bytes = 1};
    struct weir_buf_options copy = {.link_min_bytes = SIZE_MAX};
    uint64_t seed = 1;
    const int size = SOCKET_BUFFER_BYTES;

    struct bytes *bytes = calloc(1, sizeof *bytes);
    if (bytes == NULL)
        return -ENOMEM;
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bytes->ends) == 0 ? 0 : -errno;
    if (rc == 0)
        (void)setsockopt(bytes->ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (rc == 0)
        rc = weir_pool_create(NULL, &bytes->pool);
    if (rc == 0)
        rc = weir_buf_init(&bytes->linked, bytes->pool, &link);
    if (rc == 0)
        rc = weir_buf_init(&bytes->copied, bytes->pool, &copy);
    for (unsigned i = 0; rc == 0 && i < SLICES; i++) {
        struct weir_block *block;
        rc = weir_pool_alloc(bytes->pool, SLICE_BYTES_MAX, &block);
        if (rc != 0)
            break;
        for (size_t at = 0; at < SLICE_BYTES_MAX; at++)
            block->data[at] = (uint8_t)bench_random(&seed);
        bytes->slices[i] = weir_slice_adopt(weir_view_of(block->data, SLICE_BYTES_MAX), block);
    }
    if (rc == 0)
        rc = verify(bytes);
    if (rc != 0) {
        bench_complain("bytes: %s", weir_error_name(rc));
        teardown(bytes);
        return rc;
    }
    *ret = bytes;
    return 0;
}

const struct bench_group bench_group_bytes = {
    .name = "bytes",
    .summary = "slices appended to a buffer and sent over a Unix socket, 16 at a time",
    .cases = cases,
    .case_count = sizeof cases / sizeof cases[0],
    .setup = setup,
    .teardown = teardown,
};
