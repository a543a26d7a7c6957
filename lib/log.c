/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <weir/file.h>
#include <weir/log.h>

#include "log_private.h"

/*
 * Blocks are a queue: flights that are with the kernel, oldest first, and behind them at most one
 * that is being filled. Writes complete in any order; a flight leaves the queue when it is whole
 * and those before it have left. One sync at a time covers all that left before it was started,
 * while further blocks are being written.
 *
 * Callers are told last of all in each step, since they may append from there.
 */

/* Blocks of whole pages: what a file system does not have to fill up from the disk. */
#define DIRECT_ALIGN_BYTES ((size_t)4096)

static void go_on(struct weir_log *log);
static void write_rest(struct weir__log_flight *flight);

static struct weir__log_flight *flight_at(struct weir_log *log, uint32_t index)
{
    return &log->flights[(log->first + index) % log->options.flights];
}

static struct weir__log_flight *open_flight(struct weir_log *log)
{
    return log->open ? flight_at(log, log->in_flight) : NULL;
}

static uint64_t acknowledged(const struct weir_log *log)
{
    return log->options.ack_written ? log->written.last : log->durable.last;
}

/* --- telling ---------------------------------------------------------------------------------- */

static void tell_waiters(struct weir_log *log, uint64_t last, int error)
{
    while (log->waiters != NULL && log->waiters->last <= last) {
        struct weir_log_waiter *waiter = log->waiters;
        log->waiters = waiter->next;
        if (error == 0)
            log->told = waiter->last;
        waiter->done(waiter, error);
    }
}

/* Tell those whose messages are behind number @last that they failed. */
static void tell_failed(struct weir_log *log, uint64_t last, int error)
{
    struct weir_log_waiter **at = &log->waiters;
    struct weir_log_waiter *before = NULL;
    while (*at != NULL && (*at)->last <= last) {
        before = *at;
        at = &before->next;
    }
    struct weir_log_waiter *failed = *at;
    *at = NULL;
    log->last_waiter = before;
    while (failed != NULL) {
        struct weir_log_waiter *waiter = failed;
        failed = waiter->next;
        waiter->done(waiter, error);
    }
}

static void tell_room(struct weir_log *log)
{
    if (!log->want_room || log->failing != 0 || log->in_flight == log->options.flights)
        return;
    log->want_room = false;
    if (log->options.on_room != NULL)
        log->options.on_room(log, log->options.user);
}

/* --- failing ---------------------------------------------------------------------------------- */

static bool is_want_of_space(int error)
{
    return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

/* Once no write is under way: forget what was not written, or after a failed sync not durable. */
static void roll_back(struct weir_log *log)
{
    int error = log->failing;
    struct weir__log_mark to = log->sync_failed ? log->durable : log->written;
    uint32_t count = log->in_flight + log->open;
    for (uint32_t i = 0; i < count; i++)
        weir_buf_reset(&flight_at(log, i)->buf);
    log->in_flight = 0;
    log->open = false;
    if (log->sync_failed)
        log->written = to;
    log->submitted = to;
    log->appended = to.last;
    log->allocated = to.end;
    if (!is_want_of_space(error) || log->sync_failed)
        log->error = error;
    /* What failed must not turn up later. Where even that fails, whole blocks may. */
    if (ftruncate(log->fd, (off_t)to.end) < 0 && log->error == 0)
        log->error = -errno;
    log->failing = 0;
    log->stats.failures++;
    tell_failed(log, to.last, error);
}

static void fail(struct weir_log *log, int error)
{
    if (log->failing == 0)
        log->failing = error;
    /* Where nothing could be started, no completion comes to clear it up. */
    weir_ring_defer(log->ring, &log->task);
}

/* --- syncing ---------------------------------------------------------------------------------- */

static void start_sync(struct weir_log *log)
{
    if (log->is_syncing || log->options.ack_written || log->sync_failed ||
        log->written.last == log->durable.last)
        return;
    log->syncing = log->written;
    log->is_syncing = true;
    log->stats.syncs++;
    int rc = weir_file_sync(log->ring, &log->sync, log->sync_fd, true);
    if (rc != 0) {
        log->is_syncing = false;
        log->sync_failed = true;
        fail(log, rc);
    }
}

static void sync_done(struct weir_op *op)
{
    struct weir_log *log = op->user;
    log->is_syncing = false;
    if (op->result == 0) {
        log->durable = log->syncing;
    } else if (op->result != -EINTR && op->result != -EAGAIN) {
        /* The kernel may have dropped the pages: no later sync can vouch for them. */
        log->sync_failed = true;
        log->failing = 0;
        fail(log, op->result);
    }
    go_on(log);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Make sure that the file has extents up to @end. That it cannot have them shows when it is written
 * to. The size stays: readers see no zeros. */
static void allocate(struct weir_log *log, uint64_t end)
{
    uint64_t step = log->options.extent_bytes;
    if (step == WEIR_LOG_NO_EXTENTS || end <= log->allocated)
        return;
    uint64_t size = (end - log->allocated + step - 1) / step * step;
    if (fallocate(log->fd, FALLOC_FL_KEEP_SIZE, (off_t)log->allocated, (off_t)size) < 0) {
        if (errno == EOPNOTSUPP)
            log->options.extent_bytes = WEIR_LOG_NO_EXTENTS;
        return;
    }
    log->allocated += size;
    log->stats.extents++;
}

/* The device wants more than it says, or this file cannot: through the page cache from now on. */
static void give_up_direct(struct weir_log *log)
{
    log->direct.offset_align_bytes = log->direct.memory_align_bytes = 0;
    log->direct.text = "the file system refused a direct write";
}

static void write_done(struct weir_op *op)
{
    struct weir__log_flight *flight = op->user;
    struct weir_log *log = flight->log;
    log->writes--;
    if (op->result > 0)
        flight->written += (size_t)op->result;
    else if (op->result == -EINVAL && flight->direct)
        give_up_direct(log);
    else if (op->result != -EINTR && op->result != -EAGAIN)
        fail(log, op->result < 0 ? op->result : -EIO);
    flight->whole = flight->written == flight->size;
    if (!flight->whole && log->failing == 0)
        write_rest(flight);
    go_on(log);
}

static void write_rest(struct weir__log_flight *flight)
{
    struct weir_log *log = flight->log;
    unsigned count =
        weir_buf_iovecs_part(&flight->buf, flight->written, flight->size - flight->written,
                             flight->iov, flight->blocks, WEIR__LOG_IOV);
    uint64_t offset = flight->offset + flight->written;
    flight->direct =
        log->direct_fd >= 0 && weir_file_direct_takes(&log->direct, flight->iov, count, offset);
    int fd = flight->direct ? log->direct_fd : log->fd;
    int rc;
    if (flight->direct && count == 1) {
        /* Where the pool's segments are registered, its pages need not be looked up. */
        struct weir_slice slice = weir_slice_adopt(
            weir_view_of(flight->iov[0].iov_base, flight->iov[0].iov_len), flight->blocks[0]);
        rc = weir_file_write(log->ring, &flight->op, fd, &slice, offset);
    } else {
        rc = weir_file_writev(log->ring, &flight->op, fd, flight->iov, flight->blocks, count,
                              offset);
    }
    if (rc != 0) {
        fail(log, rc);
        return;
    }
    log->writes++;
    log->stats.writes++;
    log->stats.direct += flight->direct;
}

/* Finish the block that is being filled and write it. */
static void submit(struct weir_log *log)
{
    struct weir__log_flight *flight = open_flight(log);
    if (flight == NULL || flight->block.count == 0 || log->failing != 0)
        return;
    struct weir_log_block *block = &flight->block;
    uint64_t pending = block->first - 1 - log->durable.last;
    uint64_t end = log->submitted.end + weir_buf_size(&flight->buf);
    if (weir_log_block_finish(block, pending, weir_log_pad_bytes(end, log->options.align_bytes)))
        weir_log_block_finish(block, pending, 0); /* the next one begins with padding then */
    flight->offset = log->submitted.end;
    flight->size = weir_buf_size(&flight->buf);
    flight->written = 0;
    flight->whole = false;
    log->submitted.last = block->first + block->count - 1;
    log->submitted.end += flight->size;
    log->in_flight++;
    log->open = false;
    log->stats.blocks++;
    allocate(log, log->submitted.end);
    write_rest(flight);
}

/* Take whole flights off the front of the queue. */
static void retire(struct weir_log *log)
{
    while (log->in_flight != 0 && flight_at(log, 0)->whole) {
        struct weir__log_flight *flight = flight_at(log, 0);
        log->written.last = flight->block.first + flight->block.count - 1;
        log->written.end = flight->offset + flight->size;
        weir_buf_reset(&flight->buf);
        log->first = (log->first + 1) % log->options.flights;
        log->in_flight--;
    }
}

static void go_on(struct weir_log *log)
{
    if (!log->sync_failed)
        retire(log);
    if (log->failing != 0 && log->writes == 0)
        roll_back(log);
    start_sync(log);
    /* What came while the commit before was under way is the next one. */
    if (log->open && ((log->in_flight == 0 && !log->is_syncing) ||
                      open_flight(log)->block.size_bytes >= log->options.block_bytes))
        submit(log);
    tell_waiters(log, acknowledged(log), 0);
    tell_room(log);
}

/* At the end of a turn in which something was appended. */
static void turn_ends(struct weir_task *task)
{
    go_on(task->user);
}

/* --- appending -------------------------------------------------------------------------------- */

static int open_block(struct weir_log *log)
{
    if (log->submitted.end >= log->options.segment_bytes) {
        if (log->in_flight != 0 || log->is_syncing || acknowledged(log) != log->submitted.last)
            return -EAGAIN;
        int rc = weir__log_rotate(log);
        if (rc != 0)
            return rc;
    }
    if (log->in_flight == log->options.flights)
        return -EAGAIN;
    struct weir__log_flight *flight = flight_at(log, log->in_flight);
    int rc = weir_log_pad(&flight->buf,
                          weir_log_pad_bytes(log->submitted.end, log->options.align_bytes));
    if (rc == 0)
        rc = weir_log_block_begin(&flight->block, &flight->buf, log->id, log->appended + 1);
    if (rc != 0)
        weir_buf_reset(&flight->buf);
    else
        log->open = true;
    return rc;
}

int weir_log_append(struct weir_log *log, const struct weir_slice *messages, uint32_t count,
                    struct weir_log_waiter *waiter)
{
    size_t size = messages->view.size;
    if (log->error != 0)
        return log->error;
    if (count == 0 || size < count)
        return -EINVAL;
    if (size > WEIR_LOG_BLOCK_MAX_BYTES)
        return -EOVERFLOW;
    struct weir__log_flight *flight = open_flight(log);
    if (flight != NULL && flight->block.count != 0 &&
        (flight->block.size_bytes >= log->options.block_bytes ||
         size > log->options.block_bytes - flight->block.size_bytes))
        submit(log);
    int rc = log->failing != 0 ? -EAGAIN : log->open ? 0 : open_block(log);
    if (rc == 0)
        rc = weir_log_block_append(&open_flight(log)->block, messages, count);
    if (rc != 0) {
        log->want_room = log->want_room || rc == -EAGAIN;
        return rc;
    }
    log->appended += count;
    waiter->last = log->appended;
    waiter->next = NULL;
    if (log->waiters == NULL)
        log->waiters = waiter;
    else
        log->last_waiter->next = waiter;
    log->last_waiter = waiter;
    weir_ring_defer(log->ring, &log->task);
    return 0;
}

/* --- opening and closing ---------------------------------------------------------------------- */

static int take_options(struct weir_log_options *to, const struct weir_log_options *from)
{
    if (from != NULL)
        *to = *from;
    if (to->block_bytes == 0)
        to->block_bytes = (size_t)256 << 10;
    if (to->align_bytes == 0)
        to->align_bytes = 1;
    if (to->segment_bytes == 0)
        to->segment_bytes = (uint64_t)1 << 30;
    if (to->extent_bytes == 0)
        to->extent_bytes = (uint64_t)16 << 20;
    if (to->flights == 0)
        to->flights = 4;
    bool aligned = to->align_bytes == 1 ||
                   (to->align_bytes >= 8 && to->align_bytes <= WEIR_LOG_ALIGN_MAX_BYTES &&
                    (to->align_bytes & (to->align_bytes - 1)) == 0);
    return aligned && to->flights <= WEIR_LOG_FLIGHTS_MAX &&
                   to->block_bytes <= WEIR_LOG_BLOCK_MAX_BYTES &&
                   to->segment_bytes <= WEIR_LOG_SEGMENT_MAX_BYTES &&
                   (to->extent_bytes <= WEIR_LOG_SEGMENT_MAX_BYTES ||
                    to->extent_bytes == WEIR_LOG_NO_EXTENTS)
               ? 0
               : -EINVAL;
}

/* A block fits one piece of memory with its padding, which is aligned where that is asked for. */
static void prepare_buffers(struct weir_log *log)
{
    size_t block = log->options.block_bytes + WEIR_LOG_HEAD_BYTES;
    bool direct = log->direct_fd >= 0;
    if (direct && log->options.align_bytes < DIRECT_ALIGN_BYTES)
        log->options.align_bytes = DIRECT_ALIGN_BYTES;
    if (direct && log->options.align_bytes < log->direct.offset_align_bytes)
        log->options.align_bytes = log->direct.offset_align_bytes;
    size_t align = log->options.align_bytes;
    struct weir_buf_options options = {.initial_bytes = align == 1 ? block : block + align};
    if (direct) {
        options.initial_bytes = (block + 2 * align - 1) & ~(align - 1);
        options.link_min_bytes = SIZE_MAX;
    }
    options.segment_max_bytes = options.initial_bytes;
    for (uint32_t i = 0; i < log->options.flights; i++) {
        int rc = weir_buf_init(&log->flights[i].buf, log->pool, &options);
        assert(rc == 0);
        (void)rc;
    }
}

static void prepare(struct weir_log *log)
{
    for (uint32_t i = 0; i < log->options.flights; i++) {
        struct weir__log_flight *flight = &log->flights[i];
        flight->log = log;
        weir_op_init(&flight->op, write_done, flight);
    }
    weir_op_init(&log->sync, sync_done, log);
    log->task.run = turn_ends;
    log->task.user = log;
    log->lock_fd = log->fd = log->sync_fd = log->direct_fd = -1;
    log->direct.text = "not asked for";
}

static void release(struct weir_log *log)
{
    for (uint32_t i = 0; i < log->options.flights; i++)
        weir_buf_fini(&log->flights[i].buf);
    weir_block_drop(log->home);
}

int weir_log_open(struct weir_ring *ring, const char *path, const struct weir_log_options *options,
                  struct weir_log **ret, struct weir_log_report *report)
{
    struct weir_log_options taken = {0};
    struct weir_log_report ignored;
    struct weir_block *home;
    if (report == NULL)
        report = &ignored;
    memset(report, 0, sizeof *report);
    report->reason = report->gap.reason = "";
    int rc = take_options(&taken, options);
    size_t path_size = strlen(path) + 1;
    if (rc == 0 && path_size > PATH_MAX)
        rc = -ENAMETOOLONG;
    size_t size = sizeof(struct weir_log) + taken.flights * sizeof(struct weir__log_flight);
    if (rc == 0)
        rc = weir_pool_alloc(weir_ring_pool(ring), size, &home);
    if (rc != 0) {
        report->reason = rc == -EINVAL ? "options out of range" : weir_error_text(rc);
        return rc;
    }
    struct weir_log *log = (struct weir_log *)(void *)home->data;
    memset(log, 0, size);
    log->ring = ring;
    log->pool = weir_ring_pool(ring);
    log->home = home;
    log->options = taken;
    memcpy(log->path, path, path_size);
    prepare(log);
    rc = weir__log_open_files(log, report);
    if (rc != 0) {
        if (log->fd >= 0 && log->fd != log->lock_fd)
            close(log->fd);
        if (log->lock_fd >= 0)
            close(log->lock_fd);
        release(log);
        return rc;
    }
    prepare_buffers(log);
    *ret = log;
    return 0;
}

bool weir_log_is_idle(const struct weir_log *log)
{
    return log->in_flight == 0 && log->writes == 0 && !log->is_syncing && log->failing == 0 &&
           log->waiters == NULL && !log->task.queued;
}

int weir_log_close(struct weir_log *log)
{
    if (log == NULL)
        return 0;
    if (!weir_log_is_idle(log))
        return -EBUSY;
    int rc = weir__log_close_files(log);
    release(log);
    return rc;
}

/* --- asking ----------------------------------------------------------------------------------- */

uint64_t weir_log_last(const struct weir_log *log)
{
    return log->told;
}

int weir_log_error(const struct weir_log *log)
{
    return log->error;
}

const char *weir_log_direct_text(const struct weir_log *log)
{
    return log->direct.text;
}

size_t weir_log_waiting_bytes(const struct weir_log *log)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < log->in_flight + log->open; i++)
        bytes += weir_buf_size(&log->flights[(log->first + i) % log->options.flights].buf);
    return bytes;
}

struct weir_log_stats weir_log_stats(const struct weir_log *log)
{
    struct weir_log_stats stats = log->stats;
    stats.appended = log->appended;
    stats.written = log->written.last;
    stats.durable = log->durable.last;
    stats.segment = log->segment;
    stats.segment_bytes = log->written.end;
    for (uint32_t i = 0; i < log->options.flights; i++)
        stats.bytes_copied += weir_buf_bytes_copied(&log->flights[i].buf);
    stats.waiting_bytes = weir_log_waiting_bytes(log);
    return stats;
}
