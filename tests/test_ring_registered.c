/* SPDX-License-Identifier: MIT */
/* Segments of the pool as registered buffers: when they are, when not, and how they leave. */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEGMENT = 1 << 20, SIZE = 60000 };

static const struct weir_pool_options small_segments = {.segment_bytes = SEGMENT};

static int temporary(void)
{
    char path[] = "/tmp/weir-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

/* Write a block, and look at the file; read it back into another block, and look at that. */
static int round_trip(struct io *io, int fd, const struct weir_slice *slice, struct weir_block *to,
                      uint64_t tag)
{
    static uint8_t got[SIZE];
    struct weir_op op;
    weir_op_init(&op, NULL, NULL);
    if (weir_file_write(io->ring, &op, fd, slice, 4096) != 0)
        return 1;
    while (weir_op_is_active(&op))
        if (io_wait(io, -1) < 0)
            return 2;
    if (op.result != SIZE || pread(fd, got, SIZE, 4096) != SIZE || !test_is_filled(got, SIZE, tag))
        return 3;
    memset(to->data, 0, SIZE);
    if (weir_file_read(io->ring, &op, fd, to, 0, SIZE, 4096) != 0)
        return 4;
    while (weir_op_is_active(&op))
        if (io_wait(io, -1) < 0)
            return 5;
    return op.result == SIZE && test_is_filled(to->data, SIZE, tag) ? 0 : 6;
}

static int round_trip_of(struct io *io, int fd, uint64_t tag)
{
    struct weir_slice slice = io_slice(io, SIZE, tag);
    struct weir_slice to = io_slice(io, SIZE, 0);
    int rc = round_trip(io, fd, &slice, to.block, tag);
    weir_slice_drop(&slice);
    weir_slice_drop(&to);
    return rc;
}

static bool registers(const struct io *io)
{
    return (weir_ring_features(io->ring) & WEIR_RING_BUFFERS) != 0;
}

static void reads_and_writes_name_registered_memory(void **state)
{
    struct io io;
    int fd = temporary();

    (void)state;
    for (unsigned without = 0; without < 2; without++) {
        const struct weir_ring_options options = {.without = without ? WEIR_RING_BUFFERS : 0};
        io_open(&io, &small_segments, &options);
        assert_int_equal(registers(&io), !without && io_backend == WEIR_BACKEND_URING);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(round_trip_of(&io, fd, i), 0);
        struct weir_ring_stats stats = weir_ring_stats(io.ring);
        assert_int_equal(stats.fixed, registers(&io) ? 6 : 0);
        assert_true(registers(&io) ? stats.registered_bytes >= SEGMENT
                                   : stats.registered_bytes == 0);
        assert_int_equal(stats.registered_bytes % SEGMENT, 0);
        io_close(&io);
    }
    close(fd);
}

static void memory_of_others_is_not_registered(void **state)
{
    struct io io;
    int fd = temporary();
    struct weir_block *block;

    (void)state;
    io_open(&io, &small_segments, NULL);
    /* Another pool's segments have the same indices. */
    struct weir_pool *other = test_pool_create(NULL);
    struct weir_slice slice = test_slice(other, SIZE, 1);
    assert_int_equal(weir_pool_alloc(io.pool, SEGMENT, &block), 0); /* has its own mapping */
    assert_int_equal(round_trip(&io, fd, &slice, block, 1), 0);
    assert_int_equal(weir_ring_stats(io.ring).fixed, 0);
    assert_int_equal(weir_ring_stats(io.ring).registered_bytes, 0);
    weir_slice_drop(&slice);
    weir_block_drop(block);
    test_pool_destroy(other);
    io_close(&io);
    close(fd);
}

enum { MANY = 100 };

/* Their indices are then those of other memory: what is written must not be what was there. */
static void segments_that_are_given_back_are_unregistered(void **state)
{
    static struct weir_slice slices[MANY];
    struct io io;
    int fd = temporary();

    (void)state;
    io_open(&io, &small_segments, NULL);
    struct weir_slice to = io_slice(&io, SIZE, 0);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            slices[i] = io_slice(&io, SIZE, round * MANY + i);
            assert_int_equal(round_trip(&io, fd, &slices[i], to.block, round * MANY + i), 0);
        }
        struct weir_ring_stats stats = weir_ring_stats(io.ring);
        assert_int_equal(stats.fixed, registers(&io) ? 2 * (round + 1) * MANY : 0);
        if (registers(&io))
            assert_true(stats.registered_bytes >= 5 * SEGMENT);
        for (unsigned i = 0; i < MANY; i++)
            weir_slice_drop(&slices[i]);
        assert_true(weir_pool_trim(io.pool, 0) >= 5 * SEGMENT);
        if (registers(&io)) {
            struct weir_ring_stats after = weir_ring_stats(io.ring);
            assert_true(after.registered_bytes < stats.registered_bytes);
            assert_true(after.registered_bytes >= SEGMENT);
        }
    }
    weir_slice_drop(&to);
    io_close(&io);
    close(fd);
}

/* Two rings over one pool, the first of which ends first. */
static void rings_share_a_pool(void **state)
{
    struct io io, second;
    int fd = temporary();

    (void)state;
    io_open(&io, &small_segments, NULL);
    second = io;
    assert_int_equal(io_ring_create(io.pool, NULL, &second.ring), 0);
    assert_int_equal(round_trip_of(&io, fd, 1), 0);
    assert_int_equal(round_trip_of(&second, fd, 2), 0);
    assert_int_equal(weir_ring_stats(second.ring).registered_bytes != 0, registers(&second));
    weir_ring_destroy(second.ring);
    struct weir_slice slices[MANY];
    for (unsigned i = 0; i < MANY; i++)
        slices[i] = io_slice(&io, SIZE, i);
    for (unsigned i = 0; i < MANY; i++)
        weir_slice_drop(&slices[i]);
    weir_pool_trim(io.pool, 0);
    assert_int_equal(round_trip_of(&io, fd, 3), 0);
    io_close(&io);
    close(fd);
}

/* --- where it is not allowed, in a child process ---------------------------------------------- */

/*
 * What is locked counts for all processes of a user together, and this test may run several times:
 * where we are root, each gets a user of its own, which also takes all capabilities.
 */
static int lose_capability(size_t limit_bytes)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    struct rlimit limit = {limit_bytes, limit_bytes};
    uid_t user = 20000 + (uid_t)getpid() % 40000;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return -1;
    if (geteuid() == 0 && setresuid(user, user, user) == 0)
        return 0;
    if (syscall(SYS_capget, &header, data) != 0)
        return -1;
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    data[0].permitted &= ~(1u << CAP_IPC_LOCK);
    data[0].inheritable &= ~(1u << CAP_IPC_LOCK);
    return (int)syscall(SYS_capset, &header, data);
}

struct limited {
    size_t limit_bytes; /* 0: not by a limit, but the call to register fails then */
    size_t segment_bytes;
    size_t registered_bytes_max;
    bool missing; /* the feature, from the start or in the end */
};

static int live_with(const struct limited *limited)
{
    const struct weir_pool_options options = {.segment_bytes = limited->segment_bytes};
    static struct weir_slice slices[MANY];
    struct io io = {.pool = NULL};
    int fd = temporary();
    if (limited->limit_bytes != 0 && lose_capability(limited->limit_bytes) != 0)
        return 100;
    if (weir_pool_create(&options, &io.pool) != 0 || io_ring_create(io.pool, NULL, &io.ring) != 0)
        return 101;
    if (limited->limit_bytes == 0)
        io_forbid(SYS_io_uring_register, ENOMEM);
    struct weir_slice to = io_slice(&io, SIZE, 0);
    for (unsigned i = 0; i < MANY; i++) {
        slices[i] = io_slice(&io, SIZE, i);
        int rc = round_trip(&io, fd, &slices[i], to.block, i);
        if (rc != 0)
            return rc;
    }
    uint64_t registered = weir_ring_stats(io.ring).registered_bytes;
    const char *text = weir_ring_feature_text(io.ring, WEIR_RING_BUFFERS);
    if (registered > limited->registered_bytes_max || registered % limited->segment_bytes != 0)
        return 102;
    if (registers(&io) != !limited->missing || (registered == 0) != limited->missing)
        return 103;
    if (limited->missing && strstr(text, "RLIMIT_MEMLOCK") == NULL)
        return 104;
    for (unsigned i = 0; i < MANY; i++)
        weir_slice_drop(&slices[i]);
    weir_slice_drop(&to);
    weir_ring_destroy(io.ring);
    return weir_pool_destroy(io.pool) != 0 ? 105 : 0;
}

static void where_memory_cannot_be_locked_it_works_unregistered(void **state)
{
    static const struct limited all[] = {
        {.limit_bytes = 6 << 20, .segment_bytes = 4 << 20, .missing = true},
        {.limit_bytes = 7 << 20, .segment_bytes = SEGMENT, .registered_bytes_max = 3 * SEGMENT},
        {.segment_bytes = SEGMENT, .missing = true},
    };
    struct rlimit limit;
    struct io io;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    test_skip_unless(limit.rlim_max >= 7 << 20, "a limit of 7 MiB of locked memory");
    io_open(&io, NULL, NULL); /* skips where there is no io_uring */
    io_close(&io);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int status = 0;
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(live_with(&all[i]));
        while (waitpid(child, &status, 0) < 0)
            assert_int_equal(errno, EINTR);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) != 0)
            fail_msg("%zu: %d", i, WEXITSTATUS(status));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(reads_and_writes_name_registered_memory),
        IO_TEST(memory_of_others_is_not_registered),
        IO_TEST(segments_that_are_given_back_are_unregistered),
        IO_TEST(rings_share_a_pool),
        IO_TEST_ONCE(where_memory_cannot_be_locked_it_works_unregistered),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
