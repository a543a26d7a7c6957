/* SPDX-License-Identifier: MIT */
#include "io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Enough for a sanitizer on a busy machine; far less than what a program may take in all. */
#define GUARD_SECONDS 150

enum weir_backend io_backends[2] = {WEIR_BACKEND_URING, WEIR_BACKEND_POLL};
enum weir_backend io_backend;

int io_guard(void **state)
{
    const enum weir_backend *backend = *state;
    io_backend = *backend;
    alarm(GUARD_SECONDS);
    return 0;
}

int io_run(const struct CMUnitTest *tests, size_t count)
{
    return _cmocka_run_group_tests("tests", tests, count, NULL, NULL);
}

/* A ring of io_uring ends in the background: a kernel worker asks each thread that has used it to
 * forget it, as task work that is announced like a signal (TWA_SIGNAL), milliseconds after the
 * close. Until the thread has done so, epoll_wait(2) does not sleep but says EINTR, which cannot be
 * told from a signal with a handler; so weir_ring_run() passes it on, and loops go on. */
int io_wait(struct io *io, int64_t timeout_ns)
{
    uint64_t end = io_now_ms() + (uint64_t)(timeout_ns / 1000000);
    for (;;) {
        int rc = weir_ring_run(io->ring, timeout_ns);
        if (rc != -EINTR)
            return rc;
        if (timeout_ns > 0) {
            uint64_t now = io_now_ms();
            timeout_ns = now < end ? (int64_t)(end - now) * 1000000 : 0;
        }
    }
}

int io_unguard(void **state)
{
    (void)state;
    alarm(0);
    return 0;
}

/* --- a ring over a pool of its own ------------------------------------------------------------ */

int io_ring_create(struct weir_pool *pool, const struct weir_ring_options *options,
                   struct weir_ring **ret)
{
    struct weir_ring_options with = {.backend = WEIR_BACKEND_AUTO};
    if (options != NULL)
        with = *options;
    if (with.backend == WEIR_BACKEND_AUTO)
        with.backend = io_backend;
    int rc = weir_ring_create(pool, &with, ret);
    bool refused = rc == -EPERM || rc == -EACCES || rc == -ENOSYS;
    test_skip_unless(with.backend != WEIR_BACKEND_URING || !refused, "io_uring");
    return rc;
}

void io_open(struct io *io, const struct weir_pool_options *pool,
             const struct weir_ring_options *ring)
{
    io->descriptors = io_descriptors();
    assert_int_equal(weir_pool_create(pool, &io->pool), 0);
    assert_int_equal(io_ring_create(io->pool, ring, &io->ring), 0);
    assert_int_equal(weir_ring_backend(io->ring), io_backend);
}

void io_close(struct io *io)
{
    weir_ring_destroy(io->ring);
    assert_int_equal(io_blocks_in_use(io), 0);
    test_pool_destroy(io->pool);
    assert_int_equal(io_descriptors(), io->descriptors);
}

int io_turn(struct io *io)
{
    int rc = weir_ring_run(io->ring, 10000000);
    if (rc == -EINTR)
        return 0;
    if (rc < 0)
        fail_msg("weir_ring_run: %d", rc);
    return rc;
}

void io_until(struct io *io, const unsigned *count, unsigned least)
{
    while (*count < least)
        io_turn(io);
}

void io_turns_for(struct io *io, unsigned ms)
{
    for (uint64_t end = io_now_ms() + ms; io_now_ms() < end;)
        io_turn(io);
}

uint64_t io_blocks_in_use(const struct io *io)
{
    weir_pool_reclaim(io->pool);
    return test_blocks_in_use(io->pool);
}

/* --- requests that keep a record -------------------------------------------------------------- */

static void call_done(struct weir_op *op)
{
    struct io_call *call = op->user;
    call->completions++;
    call->ended += !op->more;
    call->result = op->result;
    assert_int_equal(weir_op_is_active(op), op->more);
}

void io_call_init(struct io_call *call)
{
    memset(call, 0, sizeof *call);
    weir_op_init(&call->op, call_done, call);
}

int io_call_wait(struct io *io, struct io_call *call)
{
    io_until(io, &call->ended, 1);
    assert_false(weir_op_is_active(&call->op));
    return call->result;
}

/* --- memory ----------------------------------------------------------------------------------- */

struct weir_slice io_slice(struct io *io, size_t size_bytes, uint64_t tag)
{
    struct weir_block *block = NULL;
    assert_int_equal(weir_pool_alloc(io->pool, size_bytes, &block), 0);
    test_fill(block->data, size_bytes, tag);
    return weir_slice_adopt(weir_view_of(block->data, size_bytes), block);
}

void io_hoard_take(struct io *io, struct io_hoard *hoard, size_t size_bytes)
{
    int rc = 0;
    hoard->count = 0;
    while (rc == 0 && hoard->count < 4096) {
        rc = weir_pool_alloc(io->pool, size_bytes, &hoard->blocks[hoard->count]);
        hoard->count += rc == 0;
    }
    assert_int_equal(rc, -ENOBUFS);
}

void io_hoard_drop(struct io_hoard *hoard)
{
    while (hoard->count > 0)
        weir_block_drop(hoard->blocks[--hoard->count]);
}

/* --- descriptors ------------------------------------------------------------------------------ */

int io_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the directory itself */
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

bool io_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

void io_pair(int fds[2], bool tcp)
{
    struct weir_addr addr;
    if (!tcp) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        return;
    }
    int listener = io_listen_tcp(&addr);
    fds[0] = io_connect(&addr);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    close(listener);
}

int io_listen_tcp(struct weir_addr *ret)
{
    struct weir_addr addr;
    int fd = -1;
    assert_int_equal(weir_addr_parse("tcp:127.0.0.1:0", &addr), 0);
    assert_int_equal(weir_sock_listen(&addr, 512, &fd), 0);
    assert_int_equal(weir_sock_local(fd, ret), 0);
    return fd;
}

int io_connect(const struct weir_addr *addr)
{
    int fd = -1;
    assert_int_equal(weir_sock_open(addr, &fd), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr->storage, addr->size), 0);
    return fd;
}

void io_shrink(int fd)
{
    const int size = 16384;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
}

size_t io_stuff(int fd)
{
    static const uint8_t bytes[4096];
    size_t total = 0;
    ssize_t sent;
    /* A TCP socket moves bytes to its peer in the background: full is when it stays full. */
    for (unsigned idle = 0; idle < 3;) {
        sent = send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            total += (size_t)sent;
            idle = 0;
            continue;
        }
        assert_int_equal(errno, EAGAIN);
        usleep(5000);
        idle++;
    }
    return total;
}

void io_write_all(int fd, const void *bytes, size_t size_bytes)
{
    const uint8_t *at = bytes;
    while (size_bytes != 0) {
        ssize_t sent = send(fd, at, size_bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        assert_true(sent > 0);
        at += sent;
        size_bytes -= (size_t)sent;
    }
}

size_t io_read_all(int fd, void *bytes, size_t size_bytes)
{
    size_t total = 0;
    while (total < size_bytes) {
        ssize_t got = read(fd, (uint8_t *)bytes + total, size_bytes - total);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        total += (size_t)got;
    }
    return total;
}

void io_make_dir(char path[64])
{
    strcpy(path, "/tmp/weir-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

void io_remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

uint64_t io_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void io_forbid(long number, int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(202);
}
