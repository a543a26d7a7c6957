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

#include <weir/log.h>
#include <weir/pack.h>

#include "../lib/log_private.h"

/* --- a log in a directory of its own ---------------------------------------------------------- */

struct waiter {
    struct weir_log_waiter waiter;
    struct place *place;
    unsigned told;
    int error;
};

#define WAITERS_MAX 4096

struct place {
    struct io io;
    char dir[64];
    char path[80];
    struct weir_log *log;
    struct weir_log_report report;
    unsigned waiting;
    unsigned rooms;
    uint64_t last_told;
    unsigned count; /* of waiters in use */
    struct waiter waiters[WAITERS_MAX];
};

static struct place place_storage;

static void done(struct weir_log_waiter *waiter, int error)
{
    struct waiter *self = waiter->user;
    struct place *place = self->place;
    self->told++;
    self->error = error;
    place->waiting--;
    if (error != 0)
        return;
    /* In order, and not before it is safe. */
    assert_true(waiter->last > place->last_told);
    place->last_told = waiter->last;
    struct weir_log_stats stats = weir_log_stats(place->log);
    assert_true(waiter->last <= (place->log->options.ack_written ? stats.written : stats.durable));
}

static void room(struct weir_log *log, void *user)
{
    struct place *place = user;
    assert_ptr_equal(log, place->log);
    place->rooms++;
}

static int reopen(struct place *place, const struct weir_log_options *options)
{
    struct weir_log_options own = {0};
    if (options != NULL)
        own = *options;
    if (own.extent_bytes == 0)
        own.extent_bytes = 65536; /* which costs memory here */
    own.on_room = room;
    own.user = place;
    place->last_told = 0;
    return weir_log_open(place->io.ring, place->path, &own, &place->log, &place->report);
}

static struct place *place_open_in(bool in_memory, const struct weir_log_options *options,
                                   const struct weir_pool_options *pool)
{
    struct place *place = &place_storage;
    memset(place, 0, sizeof *place);
    io_open(&place->io, pool, NULL);
    strcpy(place->dir, "/dev/shm/weir-test-XXXXXX");
    if (!in_memory || mkdtemp(place->dir) == NULL)
        io_make_dir(place->dir);
    snprintf(place->path, sizeof place->path, "%.63s/log", place->dir);
    assert_int_equal(reopen(place, options), 0);
    return place;
}

/* In memory where that is possible: some tests open it hundreds of times. */
static struct place *place_open(const struct weir_log_options *options,
                                const struct weir_pool_options *pool)
{
    return place_open_in(true, options, pool);
}

static void settle(struct place *place)
{
    while (!weir_log_is_idle(place->log))
        io_turn(&place->io);
    assert_int_equal(place->waiting, 0);
}

static void log_close(struct place *place)
{
    settle(place);
    assert_int_equal(weir_log_close(place->log), 0);
    place->log = NULL;
}

static void place_close(struct place *place)
{
    if (place->log != NULL)
        log_close(place);
    io_remove_dir(place->dir);
    io_close(&place->io);
}

/* A bin of @size bytes in all, at least 5, which its number decides. */
static struct weir_slice message(struct place *place, uint64_t number, size_t size)
{
    struct weir_slice slice = io_slice(&place->io, size, number);
    uint8_t *at = slice.block->data;
    at[0] = 0xc6;
    at[1] = (uint8_t)((size - 5) >> 24);
    at[2] = (uint8_t)((size - 5) >> 16);
    at[3] = (uint8_t)((size - 5) >> 8);
    at[4] = (uint8_t)(size - 5);
    return slice;
}

static int append(struct place *place, uint64_t number, size_t size)
{
    struct waiter *waiter = &place->waiters[place->count % WAITERS_MAX];
    struct weir_slice slice = message(place, number, size);
    memset(waiter, 0, sizeof *waiter);
    waiter->waiter.done = done;
    waiter->waiter.user = waiter;
    waiter->place = place;
    int rc = weir_log_append(place->log, &slice, 1, &waiter->waiter);
    weir_slice_drop(&slice);
    if (rc != 0)
        return rc;
    assert_int_equal(waiter->waiter.last, number);
    assert_int_equal(waiter->told, 0);
    place->count++;
    place->waiting++;
    return 0;
}

static size_t size_of(uint64_t number)
{
    return 5 + (size_t)(number * 37 % 300) + (number % 50 == 7 ? 9000 : 0);
}

/* Append messages @from to @to, waiting where there is no room. */
static void append_all(struct place *place, uint64_t from, uint64_t to)
{
    for (uint64_t number = from; number <= to; number++) {
        int rc;
        while ((rc = append(place, number, size_of(number))) == -EAGAIN)
            io_turn(&place->io);
        assert_int_equal(rc, 0);
    }
}

/* Read the file of @segment through: messages from @next on. Returns the number after the last. */
static uint64_t expect_segment(struct place *place, const char *suffix, uint64_t next, size_t align)
{
    char path[128];
    struct weir_slice map;
    struct weir_log_scan scan;
    struct weir_log_found found;
    struct weir_log_messages messages;
    struct weir_view view;
    int fd;
    snprintf(path, sizeof path, "%s%s", place->path, suffix);
    assert_int_equal(weir_file_open(path, O_RDONLY, 0, &fd), 0);
    assert_int_equal(weir_file_map(place->io.pool, fd, 0, 0, &map), 0);
    close(fd);
    weir_log_scan_init(&scan, map.view);
    weir_log_scan_seek(&scan, 0, next);
    while (weir_log_scan_next(&scan, &found) == 0) {
        assert_int_equal(found.offset % align, 0);
        weir_log_messages_init(&messages, &found);
        while (weir_log_messages_next(&messages, &view) == 0) {
            uint8_t wanted[16384];
            assert_int_equal(messages.number, next);
            assert_int_equal(view.size, size_of(next));
            test_fill(wanted, view.size, next);
            assert_memory_equal(view.data + 5, wanted + 5, view.size - 5);
            next++;
        }
        assert_int_equal(messages.left, 0);
    }
    assert_int_equal(scan.gaps, 0);
    assert_int_equal(scan.fault.error, 0);
    weir_slice_drop(&map);
    return next;
}

static void expect_all(struct place *place, uint64_t count)
{
    assert_int_equal(expect_segment(place, "", 1, 1), count + 1);
}

static off_t file_size(const struct place *place)
{
    struct stat status;
    assert_int_equal(stat(place->path, &status), 0);
    return status.st_size;
}

/* --- appending -------------------------------------------------------------------------------- */

static void messages_are_acknowledged_in_order_once_durable(void **state)
{
    struct weir_log_options options = {.block_bytes = 4096};
    struct place *place = place_open(&options, NULL);

    (void)state;
    assert_int_equal(place->report.last, 0);
    append_all(place, 1, 1000);
    settle(place);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(place->waiters[i].told, 1);
        assert_int_equal(place->waiters[i].error, 0);
    }
    assert_int_equal(weir_log_last(place->log), 1000);
    struct weir_log_stats stats = weir_log_stats(place->log);
    assert_int_equal(stats.durable, 1000);
    assert_int_equal(stats.segment_bytes, file_size(place));
    assert_true(stats.syncs <= stats.blocks && stats.blocks < 200);
    assert_int_equal(stats.waiting_bytes, 0);
    expect_all(place, 1000);
    place_close(place);
}

static void one_commit_serves_all_of_a_turn(void **state)
{
    struct place *place = place_open(NULL, NULL);

    (void)state;
    for (uint64_t number = 1; number <= 200; number++)
        assert_int_equal(append(place, number, size_of(number)), 0);
    assert_int_equal(place->waiting, 200);
    settle(place);
    struct weir_log_stats stats = weir_log_stats(place->log);
    assert_int_equal(stats.blocks, 1);
    assert_int_equal(stats.writes, 1);
    assert_int_equal(stats.syncs, 1);
    /* What comes while a commit is under way is the next one. */
    for (uint64_t number = 201; number <= 300; number++) {
        assert_int_equal(append(place, number, size_of(number)), 0);
        weir_ring_run(place->io.ring, 0);
    }
    settle(place);
    expect_all(place, 300);
    place_close(place);
}

static void large_messages_are_written_from_where_they_lie(void **state)
{
    struct place *place = place_open(NULL, NULL);

    (void)state;
    append_all(place, 1, 60); /* 7 and 57 are large */
    settle(place);
    uint64_t small = 0;
    for (uint64_t number = 1; number <= 60; number++)
        small += number % 50 == 7 ? 0 : size_of(number);
    struct weir_log_stats stats = weir_log_stats(place->log);
    assert_int_equal(stats.bytes_copied, small);
    expect_all(place, 60);
    place_close(place);
}

static void a_block_of_many_pieces_is_written_in_several_writes(void **state)
{
    struct weir_log_options options = {.block_bytes = (size_t)4 << 20};
    struct place *place = place_open(&options, NULL);
    struct waiter waiter = {.place = place};

    (void)state;
    for (unsigned i = 1; i <= 200; i++) {
        struct weir_slice slice = message(place, i, 5000);
        waiter.waiter.done = done;
        waiter.waiter.user = &waiter;
        memcpy(&place->waiters[i], &waiter, sizeof waiter);
        place->waiters[i].waiter.user = &place->waiters[i];
        assert_int_equal(weir_log_append(place->log, &slice, 1, &place->waiters[i].waiter), 0);
        place->waiting++;
        weir_slice_drop(&slice);
    }
    settle(place);
    struct weir_log_stats stats = weir_log_stats(place->log);
    assert_int_equal(stats.blocks, 1);
    assert_int_equal(stats.writes, 4); /* 201 pieces, 64 at a time */
    assert_int_equal(stats.durable, 200);
    assert_int_equal(file_size(place), WEIR_LOG_HEAD_BYTES + 200 * 5000);
    assert_int_equal(weir_log_close(place->log), 0);
    assert_int_equal(reopen(place, NULL), 0);
    assert_int_equal(place->report.last, 200);
    place_close(place);
}

static void blocks_are_aligned_where_that_is_asked_for(void **state)
{
    struct weir_log_options options = {.block_bytes = 1000, .align_bytes = 512};
    struct place *place = place_open(&options, NULL);

    (void)state;
    append_all(place, 1, 100);
    log_close(place);
    assert_int_equal(file_size(place) % 512, 0);
    /* An end that is not aligned is padded by who goes on. */
    assert_int_equal(reopen(place, NULL), 0);
    append_all(place, 101, 101);
    log_close(place);
    assert_int_not_equal(file_size(place) % 512, 0);
    assert_int_equal(reopen(place, &options), 0);
    append_all(place, 102, 110);
    log_close(place);
    assert_int_equal(expect_segment(place, "", 1, 512), 111);
    place_close(place);
}

/* Direct or not, as the file system takes it, the log is the same. */
static void blocks_go_past_the_page_cache_where_that_is_possible(void **state)
{
    struct weir_log_options options = {
        .block_bytes = 20000, .direct = true, .segment_bytes = 300000};
    struct place *place = place_open_in(false, &options, NULL);
    uint64_t next = 1;
    char suffix[16] = "";

    (void)state;
    bool on = strcmp(weir_log_direct_text(place->log), "on") == 0;
    append_all(place, 1, 1500);
    /* Larger than a block: in several pieces, which need not be aligned. */
    while (append(place, 1501, size_of(1501)) == -EAGAIN)
        io_turn(&place->io);
    settle(place);
    struct weir_log_stats stats = weir_log_stats(place->log);
    assert_int_equal(stats.durable, 1501);
    assert_int_equal(stats.direct != 0, on);
    assert_true(!on || stats.direct == stats.writes);
    assert_true(!on || stats.bytes_copied >= 200000);
    unsigned segment = (unsigned)stats.segment;
    assert_true(segment >= 1);
    log_close(place);
    for (unsigned i = 0; i <= segment; i++) {
        if (i != 0)
            snprintf(suffix, sizeof suffix, ".%06u", i);
        next = expect_segment(place, suffix, next, on ? 4096 : 1);
    }
    assert_int_equal(next, 1502);
    place_close(place);
}

static void what_is_not_aligned_goes_through_the_page_cache(void **state)
{
    struct weir_log_options options = {.block_bytes = 20000, .direct = true};
    struct place *place = place_open_in(false, NULL, NULL);

    (void)state;
    assert_string_equal(weir_log_direct_text(place->log), "not asked for");
    append_all(place, 1, 3);
    log_close(place);
    assert_int_not_equal(file_size(place) % 4096, 0);
    assert_int_equal(reopen(place, &options), 0);
    bool on = strcmp(weir_log_direct_text(place->log), "on") == 0;
    /* The first one begins at an odd place and pads up to an even one. */
    append_all(place, 4, 4);
    settle(place);
    assert_int_equal(weir_log_stats(place->log).direct, 0);
    append_all(place, 5, 5);
    settle(place);
    assert_int_equal(weir_log_stats(place->log).direct, on);
    /* A device that wants more than it says. */
    if (on) {
        place->log->direct.memory_align_bytes = place->log->direct.offset_align_bytes = 1;
        place->log->options.align_bytes = 1;
        append_all(place, 6, 7);
        settle(place);
        append_all(place, 8, 8);
        settle(place);
        assert_string_equal(weir_log_direct_text(place->log),
                            "the file system refused a direct write");
    } else {
        append_all(place, 6, 8);
    }
    log_close(place);
    expect_all(place, 8);
    place_close(place);
}

static void a_log_in_memory_is_not_direct(void **state)
{
    struct weir_log_options options = {.direct = true};
    struct place *place = place_open(&options, NULL);

    (void)state;
    if (strncmp(place->dir, "/dev/shm", 8) == 0)
        assert_string_equal(weir_log_direct_text(place->log), "the file system lies in memory");
    append_all(place, 1, 100);
    log_close(place);
    expect_all(place, 100);
    place_close(place);
}

static void an_append_that_finds_no_room_is_told_when_there_is(void **state)
{
    struct weir_log_options options = {.block_bytes = 500, .flights = 2};
    struct place *place = place_open(&options, NULL);
    uint64_t number = 1;
    int rc;

    (void)state;
    while ((rc = append(place, number, 400)) == 0)
        number++;
    assert_int_equal(rc, -EAGAIN);
    assert_int_equal(number, 3);
    assert_int_equal(place->rooms, 0);
    assert_int_equal(weir_log_close(place->log), -EBUSY);
    io_until(&place->io, &place->rooms, 1);
    assert_int_equal(append(place, number, 400), 0);
    settle(place);
    assert_int_equal(weir_log_last(place->log), 3);
    place_close(place);
}

static void written_is_enough_where_that_was_chosen(void **state)
{
    struct weir_log_options options = {.block_bytes = 4096, .ack_written = true};
    struct place *place = place_open(&options, NULL);

    (void)state;
    append_all(place, 1, 300);
    settle(place);
    struct weir_log_stats stats = weir_log_stats(place->log);
    assert_int_equal(stats.syncs, 0);
    assert_int_equal(stats.written, 300);
    assert_int_equal(weir_log_last(place->log), 300);
    expect_all(place, 300);
    place_close(place);
}

static void the_file_is_given_space_and_gives_back_the_rest(void **state)
{
    struct weir_log_options options = {.extent_bytes = (uint64_t)4 << 20};
    struct place *place = place_open(&options, NULL);
    struct stat status;

    (void)state;
    append_all(place, 1, 10);
    settle(place);
    assert_int_equal(weir_log_stats(place->log).extents, 1);
    assert_int_equal(stat(place->path, &status), 0);
    assert_true(status.st_blocks * 512 >= 4 << 20);
    assert_int_equal(status.st_size, weir_log_stats(place->log).segment_bytes);
    log_close(place);
    assert_int_equal(stat(place->path, &status), 0);
    assert_true(status.st_blocks * 512 < 1 << 20);
    place_close(place);
}

static void the_steady_state_takes_no_memory(void **state)
{
    static struct test_source source;
    struct weir_log_options options = {.block_bytes = 100000};

    (void)state;
    test_source_init(&source);
    struct weir_pool_options pool = {.source = &source.source};
    struct place *place = place_open(&options, &pool);
    append_all(place, 1, 2000);
    settle(place);
    uint64_t calls = source.calls;
    append_all(place, 2001, 6000);
    settle(place);
    assert_int_equal(source.calls, calls);
    expect_all(place, 6000);
    place_close(place);
    test_source_fini(&source);
}

static void wrong_arguments_change_nothing(void **state)
{
    struct place *place = place_open(NULL, NULL);
    struct weir_log_waiter waiter = {.done = done};
    struct weir_slice nil = weir_slice_adopt(weir_view_of((const uint8_t *)"\xc0", 1), NULL);
    struct weir_slice huge =
        weir_slice_adopt(weir_view_of(nil.view.data, WEIR_LOG_BLOCK_MAX_BYTES + 1), NULL);
    static const struct weir_log_options wrong[] = {
        {.flights = WEIR_LOG_FLIGHTS_MAX + 1},
        {.align_bytes = 4},
        {.align_bytes = 24},
        {.align_bytes = 2 * WEIR_LOG_ALIGN_MAX_BYTES},
        {.block_bytes = WEIR_LOG_BLOCK_MAX_BYTES + 1},
        {.segment_bytes = WEIR_LOG_SEGMENT_MAX_BYTES + 1},
        {.extent_bytes = WEIR_LOG_SEGMENT_MAX_BYTES + 1},
    };

    (void)state;
    assert_int_equal(weir_log_append(place->log, &nil, 0, &waiter), -EINVAL);
    assert_int_equal(weir_log_append(place->log, &nil, 2, &waiter), -EINVAL);
    assert_int_equal(weir_log_append(place->log, &huge, 1, &waiter), -EOVERFLOW);
    assert_true(weir_log_is_idle(place->log));
    log_close(place);
    assert_int_equal(file_size(place), 0);
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(reopen(place, &wrong[i]), -EINVAL);
    assert_int_equal(weir_log_close(NULL), 0);
    place_close(place);
}

/* --- opening again ---------------------------------------------------------------------------- */

static void numbers_go_on_where_they_ended(void **state)
{
    struct place *place = place_open(NULL, NULL);

    (void)state;
    for (uint64_t number = 1; number <= 50; number += 10) {
        assert_int_equal(place->report.last, number - 1);
        assert_int_equal(place->report.cut_bytes, 0);
        assert_int_equal(place->report.gaps, 0);
        assert_string_equal(place->report.reason, "");
        append_all(place, number, number + 9);
        log_close(place);
        assert_int_equal(reopen(place, NULL), 0);
    }
    assert_int_equal(weir_log_last(place->log), 50);
    expect_all(place, 50);
    place_close(place);
}

static void a_second_opener_is_refused(void **state)
{
    struct place *place = place_open(NULL, NULL);
    struct weir_log_report report;
    struct weir_log *other = NULL;

    (void)state;
    assert_int_equal(weir_log_open(place->io.ring, place->path, NULL, &other, &report),
                     -EWOULDBLOCK);
    assert_string_equal(report.reason, "another process has the log open");
    assert_null(other);
    append_all(place, 1, 10);
    log_close(place);
    assert_int_equal(weir_log_open(place->io.ring, place->path, NULL, &other, &report), 0);
    assert_int_equal(weir_log_close(other), 0);
    place_close(place);
}

static void write_file(const struct place *place, const void *bytes, size_t size)
{
    FILE *file = fopen(place->path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static size_t read_file(const struct place *place, uint8_t *bytes, size_t room_bytes)
{
    FILE *file = fopen(place->path, "r");
    assert_non_null(file);
    size_t size = fread(bytes, 1, room_bytes, file);
    fclose(file);
    return size;
}

static void a_file_that_is_no_log_is_left_alone(void **state)
{
    struct place *place = place_open(NULL, NULL);
    uint8_t bytes[64];

    (void)state;
    log_close(place);
    write_file(place, "\x93\x01\x02\x03\xc0", 5);
    assert_int_equal(reopen(place, NULL), -EPROTO);
    assert_string_equal(place->report.reason, "the file is not a log: it was left as it is");
    assert_int_equal(read_file(place, bytes, sizeof bytes), 5);
    assert_memory_equal(bytes, "\x93\x01\x02\x03\xc0", 5);
    unlink(place->path);
    assert_int_equal(mkdir(place->path, 0700), 0);
    assert_int_equal(reopen(place, NULL), -EISDIR);
    rmdir(place->path);
    assert_int_equal(mkfifo(place->path, 0600), 0);
    assert_int_equal(reopen(place, NULL), -EINVAL);
    assert_string_equal(place->report.reason, "the log is not a regular file");
    unlink(place->path);
    /* Zeros are what a power failure can leave of a first block. */
    write_file(place, "\0\0\0\0\0\0\0", 7);
    assert_int_equal(reopen(place, NULL), 0);
    assert_int_equal(place->report.cut_bytes, 7);
    append_all(place, 1, 1);
    settle(place);
    expect_all(place, 1);
    place_close(place);
}

/* Three blocks of two messages; where the last two begin, and the end. */
static size_t three_blocks(struct place *place, uint8_t *bytes, size_t starts[4])
{
    for (uint64_t i = 0; i < 3; i++) {
        starts[i] = (size_t)file_size(place);
        for (uint64_t number = 1 + 2 * i; number <= 2 + 2 * i; number++)
            assert_int_equal(append(place, number, size_of(number)), 0);
        settle(place);
    }
    log_close(place);
    starts[3] = (size_t)file_size(place);
    return read_file(place, bytes, 65536);
}

static void every_torn_tail_is_cut_back_and_told(void **state)
{
    static uint8_t bytes[65536];
    struct place *place = place_open(NULL, NULL);
    size_t starts[4];

    (void)state;
    size_t size = three_blocks(place, bytes, starts);
    assert_int_equal(size, starts[3]);
    for (size_t cut = starts[1]; cut <= size; cut++) {
        unsigned blocks = cut == size ? 3 : cut >= starts[2] ? 2 : 1;
        write_file(place, bytes, cut);
        assert_int_equal(reopen(place, NULL), 0);
        assert_int_equal(place->report.last, 2 * blocks);
        assert_int_equal(place->report.end_bytes, starts[blocks]);
        assert_int_equal(place->report.cut_bytes, cut - starts[blocks]);
        assert_int_equal(place->report.gaps, 0);
        assert_int_equal(place->report.reason[0] != 0, cut != starts[blocks]);
        assert_int_equal(file_size(place), starts[blocks]);
        append_all(place, 2 * blocks + 1, 2 * blocks + 1);
        log_close(place);
        expect_all(place, 2 * blocks + 1);
    }
    place_close(place);
}

static void every_flipped_byte_costs_one_block_and_is_told(void **state)
{
    static uint8_t bytes[65536];
    struct place *place = place_open(NULL, NULL);
    size_t starts[4];

    (void)state;
    size_t size = three_blocks(place, bytes, starts);
    for (size_t at = starts[1]; at < size; at++) {
        bool last = at >= starts[2];
        bytes[at] ^= 0x20;
        write_file(place, bytes, size);
        bytes[at] ^= 0x20;
        assert_int_equal(reopen(place, NULL), 0);
        assert_int_equal(place->report.last, last ? 4 : 6);
        assert_int_equal(place->report.cut_bytes, last ? size - starts[2] : 0);
        assert_int_equal(place->report.gaps, !last);
        assert_int_equal(place->report.missing, last ? 0 : 2);
        /* The last block was made when the one before was durable. */
        assert_int_equal(place->report.missing_durable, !last);
        if (!last) {
            assert_int_equal(place->report.gap.offset, starts[1]);
            assert_int_equal(place->report.gap.size_bytes, starts[2] - starts[1]);
            assert_int_equal(place->report.gap.first, 3);
        }
        log_close(place);
        assert_int_equal(file_size(place), last ? starts[2] : starts[3]);
    }
    place_close(place);
}

/* --- segments --------------------------------------------------------------------------------- */

static void full_files_are_followed_by_numbered_ones(void **state)
{
    struct weir_log_options options = {.block_bytes = 1000, .segment_bytes = 5000};
    struct place *place = place_open(&options, NULL);
    char suffix[16] = "";
    char path[128];

    (void)state;
    append_all(place, 1, 300);
    settle(place);
    struct weir_log_stats stats = weir_log_stats(place->log);
    assert_int_equal(stats.segment, stats.rotations);
    assert_true(stats.segment > 5);
    uint64_t next = 1;
    for (unsigned i = 0; i <= stats.segment; i++) {
        uint64_t first = next;
        next = expect_segment(place, suffix, next, 1);
        assert_true(next > first);
        snprintf(suffix, sizeof suffix, ".%06u", i + 1);
    }
    assert_int_equal(next, 301);
    log_close(place);
    /* The last one goes on, and an empty one from those before it. */
    assert_int_equal(reopen(place, &options), 0);
    assert_int_equal(place->report.last, 300);
    assert_int_equal(place->report.segment, stats.segment);
    log_close(place);
    snprintf(path, sizeof path, "%s%s", place->path, suffix);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    uint64_t id = 0;
    assert_int_equal(reopen(place, &options), 0);
    id = place->log->id;
    assert_int_equal(place->report.last, 300);
    assert_int_equal(place->report.segment, stats.segment + 1);
    append_all(place, 301, 303);
    settle(place);
    assert_int_equal(expect_segment(place, suffix, 301, 1), 304);
    log_close(place);
    assert_int_equal(reopen(place, &options), 0);
    assert_int_equal(place->log->id, id);
    assert_int_equal(place->report.last, 303);
    place_close(place);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void expect_next(struct weir_log_reader *reader, uint64_t number)
{
    struct weir_log_message got;
    uint8_t wanted[16384];
    assert_int_equal(weir_log_reader_next(reader, &got), 0);
    assert_int_equal(got.number, number);
    assert_int_equal(got.bytes.size, size_of(number));
    test_fill(wanted, got.bytes.size, number);
    assert_memory_equal(got.bytes.data + 5, wanted + 5, got.bytes.size - 5);
}

static void a_log_is_read_in_order_while_it_grows(void **state)
{
    struct weir_log_options options = {.block_bytes = 1000, .segment_bytes = 5000};
    struct place *place = place_open(&options, NULL);
    struct weir_log_reader reader;
    struct weir_log_message got = {77, {NULL, 0}};
    uint64_t next = 1;

    (void)state;
    assert_int_equal(weir_log_reader_open(&reader, place->io.pool, place->path), 0);
    assert_int_equal(weir_log_reader_next(&reader, &got), -EAGAIN);
    for (unsigned step = 1; step < 60; step += 7) {
        append_all(place, next, next + step - 1);
        settle(place);
        for (unsigned i = 0; i < step; i++)
            expect_next(&reader, next++);
        assert_int_equal(weir_log_reader_next(&reader, &got), -EAGAIN);
        assert_int_equal(reader.scan.fault.error, 0);
    }
    assert_int_equal(got.number, 77);
    assert_int_equal(reader.segment, weir_log_stats(place->log).segment);
    assert_true(reader.segment > 3);
    weir_log_reader_close(&reader);
    weir_log_reader_close(&reader);
    place_close(place);
}

static void a_message_is_found_by_its_number(void **state)
{
    struct weir_log_options options = {.block_bytes = 3000, .segment_bytes = 300000};
    struct place *place = place_open(&options, NULL);
    struct weir_log_reader reader;
    struct weir_log_message got;
    struct test_random random;

    (void)state;
    test_random_init(&random);
    append_all(place, 1, 3000);
    settle(place);
    assert_true(weir_log_stats(place->log).segment >= 2);
    assert_int_equal(weir_log_reader_open(&reader, place->io.pool, place->path), 0);
    for (unsigned i = 0; i < 300; i++) {
        uint64_t number = 1 + test_random_below(&random, 3000);
        assert_int_equal(weir_log_reader_seek(&reader, number), 0);
        for (uint64_t n = number; n < number + 3 && n <= 3000; n++)
            expect_next(&reader, n);
    }
    assert_true(weir_batch_count(&reader.index.entries) > 5);
    assert_int_equal(weir_log_reader_seek(&reader, 0), -EINVAL);
    assert_int_equal(weir_log_reader_seek(&reader, 3001), -ENOENT);
    assert_int_equal(weir_log_reader_next(&reader, &got), -EAGAIN);
    append_all(place, 3001, 3002);
    settle(place);
    expect_next(&reader, 3001);
    assert_int_equal(weir_log_reader_seek(&reader, 3002), 0);
    expect_next(&reader, 3002);
    /* A message that is kept outlives the reader. */
    assert_int_equal(weir_log_reader_seek(&reader, 20), 0);
    assert_int_equal(weir_log_reader_next(&reader, &got), 0);
    struct weir_slice kept = weir_slice_adopt(got.bytes, weir_block_hold(reader.map.block));
    weir_log_reader_close(&reader);
    assert_int_equal(kept.view.size, size_of(20));
    assert_int_equal(kept.view.data[0], 0xc6);
    weir_slice_drop(&kept);
    place_close(place);
}

static void reading_goes_on_behind_what_is_damaged(void **state)
{
    static uint8_t bytes[65536];
    struct place *place = place_open(NULL, NULL);
    struct weir_log_reader reader;
    struct weir_log_message got;
    size_t starts[4];

    (void)state;
    size_t size = three_blocks(place, bytes, starts);
    bytes[starts[1] + 60] ^= 1;
    write_file(place, bytes, size - 1);
    assert_int_equal(weir_log_reader_open(&reader, place->io.pool, place->path), 0);
    expect_next(&reader, 1);
    expect_next(&reader, 2);
    /* The block behind is not whole either, so this is the end. */
    assert_int_equal(weir_log_reader_next(&reader, &got), -EAGAIN);
    assert_int_equal(reader.scan.fault.error, -EAGAIN);
    assert_int_equal(reader.scan.fault.offset, starts[1]);
    write_file(place, bytes, size);
    assert_int_equal(weir_log_reader_next(&reader, &got), -EBADMSG);
    assert_int_equal(reader.scan.gap.offset, starts[1]);
    assert_int_equal(reader.scan.gap.size_bytes, starts[2] - starts[1]);
    assert_int_equal(reader.scan.gap.first, 3);
    assert_int_equal(reader.scan.gap.count, 2);
    expect_next(&reader, 5);
    expect_next(&reader, 6);
    assert_int_equal(weir_log_reader_seek(&reader, 4), -EBADMSG);
    expect_next(&reader, 5);
    /* Where its head is gone, too, nothing says that it was there. */
    bytes[starts[1]] ^= 1;
    write_file(place, bytes, size);
    weir_log_reader_close(&reader);
    assert_int_equal(weir_log_reader_open(&reader, place->io.pool, place->path), 0);
    assert_int_equal(weir_log_reader_seek(&reader, 4), -ENOENT);
    expect_next(&reader, 5);
    weir_log_reader_close(&reader);
    assert_int_equal(weir_log_reader_open(&reader, place->io.pool, "/nowhere/at/all"), -ENOENT);
    place_close(place);
}

/* --- failures --------------------------------------------------------------------------------- */

static void want_of_space_fails_what_is_not_written_and_passes(void **state)
{
    struct weir_log_options options = {.block_bytes = 1000, .extent_bytes = WEIR_LOG_NO_EXTENTS};
    struct place *place = place_open(&options, NULL);
    struct rlimit limit, before;
    unsigned failed = 0;

    (void)state;
    append_all(place, 1, 6);
    settle(place);
    off_t size = file_size(place);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)size + 1500;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    uint64_t number = 7;
    for (; number <= 18; number++)
        if (append(place, number, 400) != 0)
            break;
    settle(place);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    uint64_t last = weir_log_last(place->log);
    assert_true(last < number - 1);
    for (unsigned i = 6; i < place->count; i++) {
        assert_int_equal(place->waiters[i].told, 1);
        assert_int_equal(place->waiters[i].error, i + 1 <= last ? 0 : -EFBIG);
        failed += place->waiters[i].error != 0;
    }
    assert_int_equal(failed, number - 1 - last);
    assert_int_equal(weir_log_error(place->log), 0);
    assert_true(weir_log_stats(place->log).failures >= 1);
    assert_int_equal(file_size(place), weir_log_stats(place->log).segment_bytes);
    /* Space is back. */
    assert_int_equal(append(place, last + 1, 400), 0);
    log_close(place);
    assert_int_equal(reopen(place, NULL), 0);
    assert_int_equal(place->report.last, last + 1);
    assert_int_equal(place->report.gaps, 0);
    assert_int_equal(place->report.cut_bytes, 0);
    place_close(place);
}

static void a_full_file_system_is_told_and_passes(void **state)
{
    struct weir_log_options options = {.block_bytes = 20000, .extent_bytes = 1 << 20};
    struct place *place = place_open(&options, NULL);
    uint64_t number = 1;
    unsigned failures = 0;

    (void)state;
    log_close(place);
    bool mounted = mount("none", place->dir, "tmpfs", 0, "size=128k") == 0;
    if (!mounted) {
        place_close(place);
        test_skip_unless(false, "the right to mount a file system");
    }
    char other[128];
    snprintf(other, sizeof other, "%s/other", place->dir);
    int fd = open(other, O_CREAT | O_RDWR, 0600);
    assert_true(fd >= 0);
    assert_int_equal(posix_fallocate(fd, 0, 60000), 0);
    assert_int_equal(reopen(place, &options), 0);
    while (failures == 0) {
        assert_int_equal(append(place, number, 9000), 0);
        settle(place);
        int error = place->waiters[place->count - 1].error;
        assert_true(error == 0 || error == -ENOSPC);
        failures += error != 0;
        number += error == 0;
    }
    assert_true(number > 3 && number < 15);
    assert_int_equal(weir_log_error(place->log), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(append(place, number++, 9000), 0);
    log_close(place);
    assert_int_equal(reopen(place, &options), 0);
    assert_int_equal(place->report.last, number - 1);
    assert_int_equal(place->report.cut_bytes + place->report.gaps, 0);
    log_close(place);
    /* Detached: a worker of the ring may let go of the file a moment after its completion. */
    assert_int_equal(umount2(place->dir, MNT_DETACH), 0);
    place_close(place);
}

static void a_failed_sync_is_final(void **state)
{
    struct weir_log_options options = {.block_bytes = 1000};
    struct place *place = place_open(&options, NULL);
    int pipes[2];

    (void)state;
    append_all(place, 1, 20);
    settle(place);
    off_t size = file_size(place);
    assert_int_equal(pipe(pipes), 0);
    int fd = place->log->sync_fd;
    place->log->sync_fd = pipes[1]; /* which cannot be synced */
    for (uint64_t number = 21; number <= 30; number++)
        assert_int_equal(append(place, number, size_of(number)), 0);
    settle(place);
    place->log->sync_fd = fd;
    for (unsigned i = 20; i < 30; i++) {
        assert_int_equal(place->waiters[i].told, 1);
        assert_int_equal(place->waiters[i].error, -EINVAL);
    }
    assert_int_equal(weir_log_error(place->log), -EINVAL);
    assert_int_equal(append(place, 21, 10), -EINVAL);
    assert_int_equal(weir_log_last(place->log), 20);
    assert_int_equal(file_size(place), size);
    close(pipes[0]);
    close(pipes[1]);
    log_close(place);
    expect_all(place, 20);
    place_close(place);
}

static void a_failed_write_is_final_unless_space_is_wanted(void **state)
{
    struct place *place = place_open(NULL, NULL);
    int read_only;

    (void)state;
    append_all(place, 1, 20);
    settle(place);
    assert_int_equal(weir_file_open(place->path, O_RDONLY, 0, &read_only), 0);
    int fd = place->log->fd;
    place->log->fd = read_only;
    assert_int_equal(append(place, 21, 10), 0);
    settle(place);
    place->log->fd = fd;
    close(read_only);
    assert_int_equal(place->waiters[20].error, -EBADF);
    assert_int_equal(weir_log_error(place->log), -EBADF);
    assert_int_equal(append(place, 21, 10), -EBADF);
    log_close(place);
    assert_int_equal(reopen(place, NULL), 0);
    assert_int_equal(weir_log_error(place->log), 0);
    append_all(place, 21, 22);
    settle(place);
    expect_all(place, 22);
    place_close(place);
}

static void a_log_survives_want_of_memory(void **state)
{
    static struct test_source source;
    struct weir_log_options options = {.block_bytes = 3000, .align_bytes = 64};
    bool failed = true;

    (void)state;
    for (uint64_t n = 1; failed; n++) {
        test_source_init(&source);
        struct weir_pool_options pool = {.source = &source.source};
        struct place *place = place_open(&options, &pool);
        append_all(place, 1, 3);
        log_close(place);
        test_source_fail(&source, n);
        int rc = reopen(place, &options);
        uint64_t number = 4;
        for (; rc == 0 && number <= 60; number++) {
            rc = append(place, number, size_of(number));
            if (rc == -EAGAIN) {
                io_turn(&place->io);
                number--;
                rc = 0;
            }
        }
        failed = source.failures != 0;
        test_source_fail(&source, 0);
        if (rc != 0) {
            assert_int_equal(rc, -ENOMEM);
            if (place->log == NULL)
                assert_int_equal(reopen(place, &options), 0);
            /* Nothing was appended, and the same can be. */
            append_all(place, place->log->appended + 1, 60);
        }
        log_close(place);
        expect_all(place, 60);
        place_close(place);
        test_source_fini(&source);
    }
}

/* --- another reader --------------------------------------------------------------------------- */

static void python_reads_it(void **state)
{
    static const char script[] =
        "import msgpack, sys\n"
        "values = list(msgpack.Unpacker(open(sys.argv[1], 'rb'), raw=True))\n"
        "heads = [v for v in values if isinstance(v, msgpack.ExtType)]\n"
        "assert all(h.code == 119 and h.data[:1] in b'BP' for h in heads)\n"
        "assert any(h.data[:1] == b'P' for h in heads)\n"
        "print(len(values) - len(heads), sum(len(v) for v in values if isinstance(v, bytes)))\n";
    struct weir_log_options options = {.block_bytes = 2000, .align_bytes = 512};
    struct place *place = place_open(&options, NULL);
    char command[1024];
    unsigned long count = 0, bytes = 0, wanted = 0;

    (void)state;
    append_all(place, 1, 100);
    settle(place);
    for (uint64_t number = 1; number <= 100; number++)
        wanted += size_of(number) - 5;
    snprintf(command, sizeof command, "/usr/bin/python3 -c \"%s\" %s", script, place->path);
    FILE *python = popen(command, "r");
    assert_non_null(python);
    assert_int_equal(fscanf(python, "%lu %lu", &count, &bytes), 2);
    assert_int_equal(pclose(python), 0);
    assert_int_equal(count, 100);
    assert_int_equal(bytes, wanted);
    place_close(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(messages_are_acknowledged_in_order_once_durable),
        IO_TEST(one_commit_serves_all_of_a_turn),
        IO_TEST(large_messages_are_written_from_where_they_lie),
        IO_TEST(a_block_of_many_pieces_is_written_in_several_writes),
        IO_TEST(blocks_are_aligned_where_that_is_asked_for),
        IO_TEST(blocks_go_past_the_page_cache_where_that_is_possible),
        IO_TEST(what_is_not_aligned_goes_through_the_page_cache),
        IO_TEST_ONCE(a_log_in_memory_is_not_direct),
        IO_TEST(an_append_that_finds_no_room_is_told_when_there_is),
        IO_TEST(written_is_enough_where_that_was_chosen),
        IO_TEST_ONCE(the_file_is_given_space_and_gives_back_the_rest),
        IO_TEST(the_steady_state_takes_no_memory),
        IO_TEST_ONCE(wrong_arguments_change_nothing),
        IO_TEST_ONCE(numbers_go_on_where_they_ended),
        IO_TEST_ONCE(a_second_opener_is_refused),
        IO_TEST_ONCE(a_file_that_is_no_log_is_left_alone),
        IO_TEST_ONCE(every_torn_tail_is_cut_back_and_told),
        IO_TEST_ONCE(every_flipped_byte_costs_one_block_and_is_told),
        IO_TEST(full_files_are_followed_by_numbered_ones),
        IO_TEST_ONCE(a_log_is_read_in_order_while_it_grows),
        IO_TEST_ONCE(a_message_is_found_by_its_number),
        IO_TEST_ONCE(reading_goes_on_behind_what_is_damaged),
        IO_TEST(want_of_space_fails_what_is_not_written_and_passes),
        IO_TEST(a_full_file_system_is_told_and_passes),
        IO_TEST(a_failed_sync_is_final),
        IO_TEST(a_failed_write_is_final_unless_space_is_wanted),
        IO_TEST(a_log_survives_want_of_memory),
        IO_TEST_ONCE(python_reads_it),
    };
    return io_run(tests, sizeof tests / sizeof *tests);
}
