/* SPDX-License-Identifier: MIT */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a directory with a file to work on ------------------------------------------------------- */

struct place {
    struct io io;
    struct io_call call;
    char dir[64];
    char path[80];
    int fd;
};

static void place_open(struct place *place, int flags)
{
    io_open(&place->io, NULL, NULL);
    io_make_dir(place->dir);
    snprintf(place->path, sizeof place->path, "%s/file", place->dir);
    assert_int_equal(weir_file_open(place->path, flags | O_CREAT, 0640, &place->fd), 0);
}

static void place_close(struct place *place)
{
    close(place->fd);
    io_remove_dir(place->dir);
    io_close(&place->io);
}

static int do_write(struct place *place, const struct weir_slice *slice, uint64_t offset)
{
    io_call_init(&place->call);
    assert_int_equal(weir_file_write(place->io.ring, &place->call.op, place->fd, slice, offset), 0);
    return io_call_wait(&place->io, &place->call);
}

static int do_read(struct place *place, struct weir_block *block, size_t size, uint64_t offset)
{
    io_call_init(&place->call);
    assert_int_equal(
        weir_file_read(place->io.ring, &place->call.op, place->fd, block, 0, size, offset), 0);
    return io_call_wait(&place->io, &place->call);
}

static int do_sync(struct place *place, bool data_only)
{
    io_call_init(&place->call);
    assert_int_equal(weir_file_sync(place->io.ring, &place->call.op, place->fd, data_only), 0);
    return io_call_wait(&place->io, &place->call);
}

static struct weir_slice text(const char *bytes)
{
    return weir_slice_adopt(weir_view_of((const uint8_t *)bytes, strlen(bytes)), NULL);
}

static void expect(struct place *place, const char *bytes)
{
    char got[256] = {0};
    FILE *file = fopen(place->path, "r");
    assert_non_null(file);
    size_t size = fread(got, 1, sizeof got - 1, file);
    fclose(file);
    assert_int_equal(size, strlen(bytes));
    assert_string_equal(got, bytes);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void opening_says_why_not(void **state)
{
    int fd = -7;

    (void)state;
    assert_int_equal(weir_file_open("/nowhere/at/all", O_RDONLY, 0, &fd), -ENOENT);
    assert_int_equal(weir_file_open("/tmp", O_RDWR, 0, &fd), -EISDIR);
    assert_int_equal(weir_file_open("/dev/null/x", O_RDONLY, 0, &fd), -ENOTDIR);
    assert_int_equal(fd, -7);
    assert_int_equal(weir_file_open("/dev/null", O_RDONLY, 0, &fd), 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
}

static void a_directory_can_be_opened_and_synced_but_not_read(void **state)
{
    struct place place;
    struct weir_block *block;
    int fd = -1;

    (void)state;
    place_open(&place, O_RDWR);
    assert_int_equal(weir_file_open(place.dir, O_RDONLY | O_DIRECTORY, 0, &fd), 0);
    int file = place.fd;
    place.fd = fd;
    assert_int_equal(weir_pool_alloc(place.io.pool, 64, &block), 0);
    assert_int_equal(do_read(&place, block, 64, 0), -EISDIR);
    assert_int_equal(do_sync(&place, false), 0);
    weir_block_drop(block);
    place.fd = file;
    close(fd);
    place_close(&place);
}

/* --- moving bytes ----------------------------------------------------------------------------- */

static void writes_go_to_their_offsets(void **state)
{
    struct place place;
    struct weir_slice hello = text("hello"), world = text("world"), dots = text("..");

    (void)state;
    place_open(&place, O_RDWR);
    assert_int_equal(do_write(&place, &world, 7), 5);
    assert_int_equal(do_write(&place, &hello, 0), 5);
    assert_int_equal(do_write(&place, &dots, 5), 2);
    expect(&place, "hello..world");
    struct weir_slice none = text("");
    assert_int_equal(do_write(&place, &none, 3), 0);
    /* None of them moved the file's own position. */
    assert_int_equal(do_write(&place, &dots, WEIR_FILE_POSITION), 2);
    assert_int_equal(do_write(&place, &dots, WEIR_FILE_POSITION), 2);
    expect(&place, "....o..world");
    place_close(&place);
}

static void appending_writes_at_the_end_whatever_the_offset(void **state)
{
    struct place place;
    struct weir_slice a = text("aa"), b = text("bb"), c = text("cc");

    (void)state;
    place_open(&place, O_WRONLY | O_APPEND);
    assert_int_equal(do_write(&place, &a, WEIR_FILE_POSITION), 2);
    assert_int_equal(do_write(&place, &b, WEIR_FILE_POSITION), 2);
    assert_int_equal(do_write(&place, &c, 0), 2);
    expect(&place, "aabbcc");
    place_close(&place);
}

static void reads_go_behind_one_another_in_a_block(void **state)
{
    struct place place;
    struct weir_block *block;
    struct weir_slice bytes = text("abcdef");

    (void)state;
    place_open(&place, O_RDWR);
    assert_int_equal(do_write(&place, &bytes, 0), 6);
    assert_int_equal(weir_pool_alloc(place.io.pool, 64, &block), 0);
    memset(block->data, '.', 64);
    for (size_t at = 0; at < 3; at++) {
        io_call_init(&place.call);
        assert_int_equal(weir_file_read(place.io.ring,
                                        &place.call.op,
                                        place.fd,
                                        block,
                                        block->size - 2 * (at + 1),
                                        2,
                                        4 - 2 * at),
                         0);
        assert_int_equal(io_call_wait(&place.io, &place.call), 2);
    }
    assert_memory_equal(block->data + block->size - 6, "abcdef", 6);
    assert_int_equal(block->data[block->size - 7], '.');
    weir_block_drop(block);
    place_close(&place);
}

static void reads_are_short_at_the_end(void **state)
{
    struct place place;
    struct weir_block *block;

    (void)state;
    place_open(&place, O_RDWR);
    struct weir_slice slice = io_slice(&place.io, 10000, 9);
    assert_int_equal(weir_pool_alloc(place.io.pool, 10000, &block), 0);
    assert_int_equal(do_read(&place, block, 10000, 0), 0);
    assert_int_equal(do_write(&place, &slice, 0), 10000);
    assert_int_equal(do_read(&place, block, 10000, 0), 10000);
    assert_true(test_is_filled(block->data, 10000, 9));
    assert_int_equal(do_read(&place, block, 10000, 9000), 1000);
    assert_memory_equal(block->data, slice.view.data + 9000, 1000);
    assert_int_equal(do_read(&place, block, 10000, 10000), 0);
    assert_int_equal(do_read(&place, block, 10000, 1u << 30), 0);
    assert_int_equal(do_read(&place, block, 0, 0), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(do_read(&place, block, 4000, WEIR_FILE_POSITION), i < 2 ? 4000 : 2000);
    assert_int_equal(do_read(&place, block, 4000, WEIR_FILE_POSITION), 0);
    weir_block_drop(block);
    weir_slice_drop(&slice);
    place_close(&place);
}

static void vectors_are_written_in_order(void **state)
{
    enum { COUNT = 1024 };
    static struct iovec iov[COUNT];
    static struct weir_block *blocks[COUNT];
    struct place place;
    struct weir_block *all;
    size_t total = 0;

    (void)state;
    place_open(&place, O_RDWR);
    for (unsigned i = 0; i < COUNT; i++) {
        struct weir_slice slice = io_slice(&place.io, i % 200, i);
        iov[i].iov_base = slice.block->data;
        iov[i].iov_len = i % 200;
        blocks[i] = slice.block;
        total += i % 200;
    }
    uint64_t before = io_blocks_in_use(&place.io);
    io_call_init(&place.call);
    assert_int_equal(
        weir_file_writev(place.io.ring, &place.call.op, place.fd, iov, blocks, COUNT, 100), 0);
    for (unsigned i = 0; i < COUNT; i++)
        weir_block_drop(blocks[i]);
    assert_int_equal(io_blocks_in_use(&place.io), before);
    assert_int_equal(io_call_wait(&place.io, &place.call), (int)total);
    assert_int_equal(io_blocks_in_use(&place.io), before - COUNT);
    assert_int_equal(weir_pool_alloc(place.io.pool, total + 100, &all), 0);
    assert_int_equal(do_read(&place, all, total + 100, 0), (int)(total + 100));
    const uint8_t *at = all->data;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(*at++, 0);
    for (unsigned i = 0; i < COUNT; at += iov[i++].iov_len)
        assert_true(test_is_filled(at, iov[i].iov_len, i));
    weir_block_drop(all);
    /* Bytes of nobody's, at the position; and no bytes at all. */
    char mine[] = "mine";
    struct iovec one = {mine, 4};
    io_call_init(&place.call);
    assert_int_equal(
        weir_file_writev(
            place.io.ring, &place.call.op, place.fd, &one, NULL, 1, WEIR_FILE_POSITION),
        0);
    assert_int_equal(io_call_wait(&place.io, &place.call), 4);
    io_call_init(&place.call);
    assert_int_equal(weir_file_writev(place.io.ring, &place.call.op, place.fd, &one, NULL, 0, 0),
                     0);
    assert_int_equal(io_call_wait(&place.io, &place.call), 0);
    place_close(&place);
}

static void vectors_are_read_in_order(void **state)
{
    struct place place;
    struct weir_block *blocks[3];
    struct iovec iov[3];

    (void)state;
    place_open(&place, O_RDWR);
    struct weir_slice slice = text("one two three");
    assert_int_equal(do_write(&place, &slice, 0), 13);
    uint64_t idle = io_blocks_in_use(&place.io);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(weir_pool_alloc(place.io.pool, 64, &blocks[i]), 0);
        memset(blocks[i]->data, '-', 64);
        iov[i].iov_base = blocks[i]->data;
        iov[i].iov_len = i == 2 ? 64 : 4;
    }
    io_call_init(&place.call);
    assert_int_equal(weir_file_readv(place.io.ring, &place.call.op, place.fd, iov, blocks, 3, 0),
                     0);
    assert_int_equal(io_call_wait(&place.io, &place.call), 13);
    assert_memory_equal(blocks[0]->data, "one -", 5);
    assert_memory_equal(blocks[1]->data, "two -", 5);
    assert_memory_equal(blocks[2]->data, "three-", 6);
    /* At the end there is nothing; at the position, which has not moved, all of it. */
    io_call_init(&place.call);
    assert_int_equal(weir_file_readv(place.io.ring, &place.call.op, place.fd, iov, blocks, 3, 13),
                     0);
    assert_int_equal(io_call_wait(&place.io, &place.call), 0);
    io_call_init(&place.call);
    assert_int_equal(
        weir_file_readv(
            place.io.ring, &place.call.op, place.fd, iov + 1, NULL, 2, WEIR_FILE_POSITION),
        0);
    assert_int_equal(io_call_wait(&place.io, &place.call), 13);
    assert_memory_equal(blocks[1]->data, "one -", 5);
    assert_memory_equal(blocks[2]->data, "two three-", 10);
    /* The ring holds what it reads into. */
    io_call_init(&place.call);
    assert_int_equal(weir_file_readv(place.io.ring, &place.call.op, place.fd, iov, blocks, 3, 0),
                     0);
    for (unsigned i = 0; i < 3; i++)
        weir_block_drop(blocks[i]);
    assert_int_equal(io_blocks_in_use(&place.io), idle + 3);
    assert_int_equal(io_call_wait(&place.io, &place.call), 13);
    assert_int_equal(io_blocks_in_use(&place.io), idle);
    place_close(&place);
}

static int do_allocate(struct place *place, uint64_t offset, uint64_t size, bool keep_size)
{
    io_call_init(&place->call);
    assert_int_equal(
        weir_file_allocate(place->io.ring, &place->call.op, place->fd, offset, size, keep_size), 0);
    return io_call_wait(&place->io, &place->call);
}

static void space_is_given_behind_the_end_and_goes_back(void **state)
{
    struct place place;
    struct stat status;

    (void)state;
    place_open(&place, O_RDWR);
    struct weir_slice slice = text("kept");
    assert_int_equal(do_write(&place, &slice, 0), 4);
    int rc = do_allocate(&place, 0, 1 << 20, true);
    if (rc == -EOPNOTSUPP) {
        place_close(&place);
        test_skip_unless(false, "a file system that gives space");
    }
    assert_int_equal(rc, 0);
    assert_int_equal(fstat(place.fd, &status), 0);
    assert_int_equal(status.st_size, 4);
    assert_true(status.st_blocks * 512 >= 1 << 20);
    expect(&place, "kept");
    assert_int_equal(weir_file_truncate(place.fd, 4), 0);
    assert_int_equal(fstat(place.fd, &status), 0);
    assert_true(status.st_blocks * 512 < 1 << 20);
    assert_int_equal(do_allocate(&place, 4, 96, false), 0);
    assert_int_equal(fstat(place.fd, &status), 0);
    assert_int_equal(status.st_size, 100);
    assert_int_equal(weir_file_truncate(place.fd, 2), 0);
    expect(&place, "ke");
    assert_int_equal(do_allocate(&place, 0, 0, true), -EINVAL);
    assert_int_equal(weir_file_truncate(place.fd, UINT64_MAX), -EFBIG);
    assert_int_equal(weir_file_truncate(-1, 0), -EBADF);
    int fd = place.fd;
    place.fd = -1;
    assert_int_equal(do_allocate(&place, 0, 10, true), -EBADF);
    place.fd = fd;
    place_close(&place);
}

static void direct_files_say_what_they_ask_for(void **state)
{
    struct place place;
    struct weir_file_direct direct = {1, 2, "untouched"};
    struct iovec iov[2];
    int fd = -2;

    (void)state;
    place_open(&place, O_RDWR);
    assert_int_equal(weir_file_open_direct("/nowhere/at/all", O_RDWR, 0, &fd, &direct), -ENOENT);
    assert_int_equal(fd, -2);
    assert_string_equal(direct.text, "untouched");
    assert_int_equal(weir_file_open_direct(place.path, O_RDWR, 0, &fd, &direct), 0);
    struct weir_slice slice = io_slice(&place.io, 65536, 4);
    iov[0].iov_base = iov[1].iov_base = slice.block->data;
    iov[0].iov_len = iov[1].iov_len = 4096;
    bool is_direct = (fcntl(fd, F_GETFL) & O_DIRECT) != 0;
    assert_int_equal(is_direct, direct.offset_align_bytes != 0);
    assert_int_equal(is_direct, direct.memory_align_bytes != 0);
    assert_int_equal(is_direct, strcmp(direct.text, "on") == 0);
    assert_int_equal(weir_file_direct_takes(&direct, iov, 2, 8192), is_direct);
    assert_false(weir_file_direct_takes(&direct, iov, 2, 8192 + 1));
    iov[1].iov_len = 4097;
    assert_false(weir_file_direct_takes(&direct, iov, 2, 8192));
    iov[1].iov_len = 4096;
    iov[1].iov_base = slice.block->data + 1;
    assert_false(weir_file_direct_takes(&direct, iov, 2, 8192) && direct.memory_align_bytes > 1);
    int plain = place.fd;
    place.fd = fd;
    assert_int_equal(do_write(&place, &slice, 4096), 65536);
    place.fd = plain;
    weir_slice_drop(&slice);
    close(fd);
    place_close(&place);
}

static void a_file_in_memory_is_not_direct_and_says_so(void **state)
{
    struct weir_file_direct direct;
    char path[] = "/dev/shm/weir-test-XXXXXX";
    struct iovec none = {NULL, 0};
    int fd;

    (void)state;
    int made = mkstemp(path);
    test_skip_unless(made >= 0, "a file system in memory");
    close(made);
    assert_int_equal(weir_file_open_direct(path, O_RDWR, 0, &fd, &direct), 0);
    assert_string_equal(direct.text, "the file system lies in memory");
    assert_int_equal(direct.memory_align_bytes, 0);
    assert_int_equal(direct.offset_align_bytes, 0);
    assert_false(weir_file_direct_takes(&direct, &none, 1, 0));
    assert_int_equal(pwrite(fd, "odd", 3, 1), 3);
    close(fd);
    unlink(path);
}

/* A pool block of a page and more is aligned as O_DIRECT asks. */
static void blocks_are_aligned_for_direct_io(void **state)
{
    struct place place;
    int direct = -1;

    (void)state;
    place_open(&place, O_RDWR);
    int rc = weir_file_open(place.path, O_RDWR | O_DIRECT, 0, &direct);
    if (rc == -EINVAL) {
        place_close(&place);
        test_skip_unless(false, "a file system with O_DIRECT");
    }
    assert_int_equal(rc, 0);
    struct weir_slice slice = io_slice(&place.io, 65536, 4);
    int plain = place.fd;
    place.fd = direct;
    assert_int_equal(do_write(&place, &slice, 4096), 65536);
    struct weir_block *block;
    assert_int_equal(weir_pool_alloc(place.io.pool, 4096, &block), 0);
    assert_int_equal(do_read(&place, block, 4096, 8192), 4096);
    assert_memory_equal(block->data, slice.view.data + 4096, 4096);
    weir_block_drop(block);
    weir_slice_drop(&slice);
    place.fd = plain;
    close(direct);
    place_close(&place);
}

static void syncing_and_closing_work(void **state)
{
    struct place place;
    struct weir_slice a = text("a");

    (void)state;
    place_open(&place, O_WRONLY);
    assert_int_equal(do_write(&place, &a, 0), 1);
    assert_int_equal(do_sync(&place, true), 0);
    assert_int_equal(do_sync(&place, false), 0);
    io_call_init(&place.call);
    assert_int_equal(weir_file_close(place.io.ring, &place.call.op, place.fd), 0);
    assert_int_equal(io_call_wait(&place.io, &place.call), 0);
    assert_false(io_is_open(place.fd));
    io_call_init(&place.call);
    assert_int_equal(weir_file_close(place.io.ring, &place.call.op, place.fd), 0);
    assert_int_equal(io_call_wait(&place.io, &place.call), -EBADF);
    place_close(&place);
}

/* --- mapping ---------------------------------------------------------------------------------- */

static void a_part_of_a_file_is_read_where_it_lies(void **state)
{
    struct place place;
    struct weir_slice map, part, none = {{(const uint8_t *)"x", 1}, NULL};

    (void)state;
    place_open(&place, O_RDWR);
    assert_int_equal(weir_file_map(place.io.pool, place.fd, 0, 0, &none), 0);
    assert_int_equal(none.view.size, 0);
    assert_null(none.block);
    struct weir_slice bytes = io_slice(&place.io, 10000, 6);
    assert_int_equal(do_write(&place, &bytes, 0), 10000);
    uint64_t before = io_blocks_in_use(&place.io);
    static const size_t parts[][2] = {
        {0, 0}, {0, 10000}, {1, 0}, {4095, 2}, {4096, 5904}, {9999, 1}};
    for (unsigned i = 0; i < 6; i++) {
        size_t size = parts[i][1] != 0 ? parts[i][1] : 10000 - parts[i][0];
        assert_int_equal(weir_file_map(place.io.pool, place.fd, parts[i][0], parts[i][1], &map), 0);
        assert_int_equal(map.view.size, size);
        assert_memory_equal(map.view.data, bytes.view.data + parts[i][0], size);
        assert_int_equal(weir_slice_sub(&map, size - 1, 1, &part), 0);
        weir_slice_drop(&map);
        assert_int_equal(part.view.data[0], bytes.view.data[parts[i][0] + size - 1]);
        weir_slice_drop(&part);
    }
    assert_int_equal(io_blocks_in_use(&place.io), before);
    weir_slice_drop(&bytes);
    place_close(&place);
}

static void what_cannot_be_mapped_is_told(void **state)
{
    struct place place;
    struct weir_slice map = {{NULL, 77}, NULL};
    struct weir_slice hello = text("hello");
    int pipes[2];

    (void)state;
    place_open(&place, O_RDWR);
    assert_int_equal(do_write(&place, &hello, 0), 5);
    assert_int_equal(weir_file_map(place.io.pool, place.fd, 6, 0, &map), -EOVERFLOW);
    assert_int_equal(weir_file_map(place.io.pool, place.fd, 3, 3, &map), -EOVERFLOW);
    assert_int_equal(weir_file_map(place.io.pool, place.fd, 0, SIZE_MAX, &map), -EOVERFLOW);
    assert_int_equal(weir_file_map(place.io.pool, -1, 0, 0, &map), -EBADF);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(weir_file_map(place.io.pool, pipes[0], 0, 0, &map), -EINVAL);
    close(pipes[0]);
    close(pipes[1]);
    int write_only = -1;
    assert_int_equal(weir_file_open(place.path, O_WRONLY, 0, &write_only), 0);
    assert_int_equal(weir_file_map(place.io.pool, write_only, 0, 0, &map), -EACCES);
    close(write_only);
    assert_int_equal(map.view.size, 77);
    place_close(&place);
}

static void mapping_survives_want_of_memory(void **state)
{
    struct place place;
    struct test_source source;
    struct weir_slice map = {{NULL, 77}, NULL};
    struct weir_slice hello = text("hello");
    bool failed = true;

    (void)state;
    place_open(&place, O_RDWR);
    assert_int_equal(do_write(&place, &hello, 0), 5);
    for (uint64_t n = 1; failed; n++) {
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        test_source_fail(&source, n);
        int rc = weir_file_map(pool, place.fd, 0, 0, &map);
        failed = source.failures != 0;
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        if (failed)
            assert_int_equal(map.view.size, 77);
        else
            weir_slice_drop(&map);
        test_pool_destroy(pool);
        test_source_fini(&source);
    }
    place_close(&place);
}

/* --- failures --------------------------------------------------------------------------------- */

static void a_wrong_descriptor_is_ebadf_and_drops_the_block(void **state)
{
    struct place place;
    struct weir_slice slice;

    (void)state;
    place_open(&place, O_RDONLY);
    slice = io_slice(&place.io, 100, 1);
    assert_int_equal(do_write(&place, &slice, 0), -EBADF);
    assert_true(weir_block_is_exclusive(slice.block));
    int fd = place.fd;
    place.fd = -1;
    assert_int_equal(do_write(&place, &slice, 0), -EBADF);
    assert_int_equal(do_read(&place, slice.block, 10, 0), -EBADF);
    assert_int_equal(do_sync(&place, true), -EBADF);
    assert_true(weir_block_is_exclusive(slice.block));
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    place.fd = pipes[1];
    assert_int_equal(do_sync(&place, true), -EINVAL);
    weir_slice_drop(&slice);
    close(pipes[0]);
    close(pipes[1]);
    place.fd = fd;
    place_close(&place);
}

static void a_full_file_system_is_reported(void **state)
{
    struct place place;
    struct weir_slice slice;

    (void)state;
    place_open(&place, O_RDWR);
    bool mounted = mount("none", place.dir, "tmpfs", 0, "size=64k") == 0;
    if (!mounted) {
        place_close(&place);
        test_skip_unless(false, "the right to mount a file system");
    }
    int fd = place.fd;
    assert_int_equal(weir_file_open(place.path, O_RDWR | O_CREAT, 0600, &place.fd), 0);
    slice = io_slice(&place.io, 50000, 1);
    assert_int_equal(do_write(&place, &slice, 0), 50000);
    /* What there is room for, then nothing. */
    int rest = do_write(&place, &slice, 50000);
    assert_true(rest == -ENOSPC || (rest > 0 && rest < 50000));
    assert_int_equal(do_write(&place, &slice, 65536), -ENOSPC);
    weir_slice_drop(&slice);
    close(place.fd);
    /* Detached: a worker of the ring may let go of the file a moment after its completion. */
    assert_int_equal(umount2(place.dir, MNT_DETACH), 0);
    place.fd = fd;
    place_close(&place);
}

static void the_limit_of_file_sizes_is_reported(void **state)
{
    struct place place;
    struct rlimit limit, before;
    struct weir_slice slice;

    (void)state;
    place_open(&place, O_RDWR);
    slice = io_slice(&place.io, 6000, 1);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 10000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int first = do_write(&place, &slice, 0);
    int second = do_write(&place, &slice, 6000);
    int third = do_write(&place, &slice, 10000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(first, 6000);
    assert_int_equal(second, 4000);
    assert_int_equal(third, -EFBIG);
    weir_slice_drop(&slice);
    place_close(&place);
}

/* --- many ------------------------------------------------------------------------------------- */

static void many_writes_at_once_all_arrive(void **state)
{
    enum { COUNT = 500, SIZE = 3000 };
    static struct io_call calls[COUNT];
    struct place place;
    struct weir_block *block;

    (void)state;
    place_open(&place, O_RDWR);
    uint64_t idle = io_blocks_in_use(&place.io);
    for (unsigned i = 0; i < COUNT; i++) {
        struct weir_slice slice = io_slice(&place.io, SIZE, i);
        io_call_init(&calls[i]);
        assert_int_equal(
            weir_file_write(place.io.ring, &calls[i].op, place.fd, &slice, (uint64_t)i * SIZE), 0);
        weir_slice_drop(&slice);
    }
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(io_call_wait(&place.io, &calls[i]), SIZE);
    assert_int_equal(io_blocks_in_use(&place.io), idle);
    assert_int_equal(weir_pool_alloc(place.io.pool, SIZE, &block), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(do_read(&place, block, SIZE, (uint64_t)i * SIZE), SIZE);
        assert_true(test_is_filled(block->data, SIZE, i));
    }
    weir_block_drop(block);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST_ONCE(opening_says_why_not),
        IO_TEST(a_directory_can_be_opened_and_synced_but_not_read),
        IO_TEST(writes_go_to_their_offsets),
        IO_TEST(appending_writes_at_the_end_whatever_the_offset),
        IO_TEST(reads_go_behind_one_another_in_a_block),
        IO_TEST(reads_are_short_at_the_end),
        IO_TEST(vectors_are_written_in_order),
        IO_TEST(vectors_are_read_in_order),
        IO_TEST(space_is_given_behind_the_end_and_goes_back),
        IO_TEST(direct_files_say_what_they_ask_for),
        IO_TEST_ONCE(a_file_in_memory_is_not_direct_and_says_so),
        IO_TEST(blocks_are_aligned_for_direct_io),
        IO_TEST(syncing_and_closing_work),
        IO_TEST_ONCE(a_part_of_a_file_is_read_where_it_lies),
        IO_TEST_ONCE(what_cannot_be_mapped_is_told),
        IO_TEST_ONCE(mapping_survives_want_of_memory),
        IO_TEST(a_wrong_descriptor_is_ebadf_and_drops_the_block),
        IO_TEST(a_full_file_system_is_reported),
        IO_TEST(the_limit_of_file_sizes_is_reported),
        IO_TEST(many_writes_at_once_all_arrive),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
