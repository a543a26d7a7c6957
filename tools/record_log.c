/* SPDX-License-Identifier: MIT */
#include "record_log.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/stream.h>

#define SCAN_BYTES ((size_t)64 << 10)

/* --- the index -------------------------------------------------------------------------------- */

static struct record_log_entry *entry_at(const struct record_log *log, uint64_t index)
{
    uint8_t *data = log->chunks[index / RECORD_LOG_CHUNK_ENTRIES]->data;
    return (struct record_log_entry *)(void *)data + index % RECORD_LOG_CHUNK_ENTRIES;
}

/* Make sure that @more entries can be added without failing. */
static int index_reserve(struct record_log *log, uint64_t more)
{
    if (more > RECORD_LOG_ENTRIES_MAX - log->entry_count)
        return -ENOSPC;
    uint64_t chunks =
        (log->entry_count + more + RECORD_LOG_CHUNK_ENTRIES - 1) / RECORD_LOG_CHUNK_ENTRIES;
    for (uint64_t i = log->entry_count / RECORD_LOG_CHUNK_ENTRIES; i < chunks; i++) {
        if (log->chunks[i] != NULL)
            continue;
        int rc = weir_pool_alloc(
            log->pool, RECORD_LOG_CHUNK_ENTRIES * sizeof(struct record_log_entry), &log->chunks[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Whether a record that begins at @offset is far enough from the last entry for one of its own. */
static bool index_is_due(const struct record_log *log, uint64_t record, uint64_t offset)
{
    if (log->entry_count == 0)
        return true;
    const struct record_log_entry *last = entry_at(log, log->entry_count - 1);
    return record - last->record >= RECORD_LOG_ENTRY_RECORDS ||
           offset - last->offset >= RECORD_LOG_ENTRY_BYTES;
}

/* Note a record that begins at @offset. Room was reserved. */
static void index_note(struct record_log *log, uint64_t record, uint64_t offset)
{
    if (!index_is_due(log, record, offset))
        return;
    struct record_log_entry *entry = entry_at(log, log->entry_count++);
    entry->record = record;
    entry->offset = offset;
}

/* Note @count records that begin at the log's end. Mostly none is due, and none is looked at. */
static void index_note_all(struct record_log *log, struct weir_view records, uint32_t count)
{
    if (!index_is_due(log, log->records + count, log->end + records.size))
        return;
    struct weir_unpacker u;
    weir_unpack_init(&u, records, NULL);
    for (uint32_t i = 0; i < count && weir_unpack_error(&u) == 0; i++) {
        index_note(log, log->records + 1 + i, log->end + weir_unpack_offset(&u));
        weir_unpack_skip(&u);
    }
}

/* The last entry whose record is not behind @record; there is one. */
static uint64_t index_find(const struct record_log *log, uint64_t record)
{
    uint64_t low = 0;
    uint64_t high = log->entry_count;
    assert(high != 0 && entry_at(log, 0)->record <= record);
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (entry_at(log, middle)->record <= record)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Where the durable records before entry @index end: at that entry, or at the end of all. */
static uint64_t index_end(const struct record_log *log, uint64_t index)
{
    if (index >= log->entry_count || entry_at(log, index)->offset > log->told_end)
        return log->told_end;
    return entry_at(log, index)->offset;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int set_fault(struct weir_fault *ret, int error, uint64_t offset, const char *reason)
{
    ret->error = error;
    ret->offset = (size_t)offset;
    ret->reason = reason;
    return error;
}

/* Take every whole value out of @stream. Returns 0 or the error. */
static int scan_values(struct record_log *log, struct weir_stream *stream,
                       struct weir_fault *ret_fault)
{
    for (;;) {
        struct weir_slice record;
        uint64_t offset = weir_stream_offset(stream);
        int rc = index_reserve(log, 1);
        if (rc != 0)
            return set_fault(ret_fault, rc, offset, "no memory for the index of the log");
        rc = weir_stream_next(stream, &record);
        if (rc == -EAGAIN)
            return 0;
        if (rc == -EBADMSG || rc == -EMSGSIZE) {
            *ret_fault = weir_stream_fault(stream);
            return rc;
        }
        if (rc != 0)
            return set_fault(ret_fault, rc, offset, "no memory to read a record of the log");
        index_note(log, ++log->records, offset);
        weir_slice_drop(&record);
    }
}

/* Read the next bytes of the file into @stream. Returns their number, 0 at the end, or an error. */
static ssize_t scan_chunk(struct record_log *log, struct weir_stream *stream, uint64_t offset)
{
    struct weir_block *block;
    ssize_t size;
    int rc = weir_pool_alloc(log->pool, SCAN_BYTES, &block);
    if (rc != 0)
        return rc;
    do
        size = pread(log->fd, block->data, SCAN_BYTES, (off_t)offset);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        size = -errno;
    struct weir_slice slice = weir_slice_adopt(weir_view_of(block->data, 0), block);
    if (size > 0) {
        slice.view.size = (size_t)size;
        rc = weir_stream_feed(stream, &slice);
    }
    weir_slice_drop(&slice);
    return rc != 0 ? rc : size;
}

static int scan(struct record_log *log, struct weir_stream *stream, struct weir_fault *ret_fault)
{
    for (uint64_t offset = 0;;) {
        ssize_t size = scan_chunk(log, stream, offset);
        if (size < 0)
            return set_fault(ret_fault, (int)size, offset, "the log cannot be read");
        if (size == 0)
            break;
        offset += (uint64_t)size;
        int rc = scan_values(log, stream, ret_fault);
        if (rc != 0)
            return rc;
    }
    log->end = weir_stream_offset(stream);
    if (!weir_stream_is_partial(stream))
        return 0;
    set_fault(ret_fault, -EAGAIN, log->end, "the last value was cut off");
    if (ftruncate(log->fd, (off_t)log->end) < 0 || fdatasync(log->fd) < 0)
        return set_fault(ret_fault, -errno, log->end, "the cut-off value cannot be removed");
    return 0;
}

/* Make the directory entry of a file that may be new durable as well. */
static int sync_directory(const char *path)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy)
        return -ENAMETOOLONG;
    strcpy(copy, path);
    int fd;
    int rc = weir_file_open(dirname(copy), O_RDONLY | O_DIRECTORY, 0, &fd);
    if (rc != 0)
        return rc;
    /* Some filesystems cannot sync a directory and say EINVAL; there is nothing to be done. */
    rc = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
    close(fd);
    return rc;
}

static int open_file(struct record_log *log, const char *path, struct weir_fault *ret_fault)
{
    struct stat status;
    int rc = weir_file_open(path, O_RDWR | O_CREAT | O_NOCTTY, 0666, &log->fd);
    if (rc != 0)
        return set_fault(ret_fault, rc, 0, "the log cannot be opened");
    if (fstat(log->fd, &status) < 0 || !S_ISREG(status.st_mode))
        return set_fault(ret_fault, -EINVAL, 0, "the log is not a regular file");
    if (flock(log->fd, LOCK_EX | LOCK_NB) < 0)
        return set_fault(ret_fault, -errno, 0,
                         errno == EWOULDBLOCK ? "another process serves this log"
                                              : "the log cannot be locked");
    rc = sync_directory(path);
    if (rc != 0)
        return set_fault(ret_fault, rc, 0, "the directory of the log cannot be synced");
    return 0;
}

static void group_done(struct weir_op *op);
static void group_start(struct weir_task *task);

int record_log_open(struct record_log *log, struct weir_ring *ring, const char *path,
                    const struct weir_limits *limits, struct weir_fault *ret_fault)
{
    struct weir_stream stream;
    struct weir_buf_options options = {
        .initial_bytes = (size_t)64 << 10,
        .segment_max_bytes = (size_t)64 << 10,
    };
    memset(log, 0, sizeof *log);
    log->fd = -1;
    log->ring = ring;
    log->pool = weir_ring_pool(ring);
    log->task.run = group_start;
    weir_op_init(&log->op, group_done, log);
    set_fault(ret_fault, 0, 0, "");
    int rc = weir_buf_init(&log->waiting, log->pool, &options);
    assert(rc == 0);
    rc = open_file(log, path, ret_fault);
    if (rc == 0) {
        weir_stream_init(&stream, log->pool, limits);
        rc = scan(log, &stream, ret_fault);
        weir_stream_fini(&stream);
    }
    if (rc != 0) {
        record_log_close(log);
        return rc;
    }
    log->synced = log->written = log->group_end = log->told_end = log->end;
    log->told_records = log->stats.found = log->records;
    return 0;
}

void record_log_close(struct record_log *log)
{
    assert(record_log_is_idle(log));
    weir_ring_undefer(log->ring, &log->task);
    weir_buf_fini(&log->waiting);
    for (size_t i = 0; i < RECORD_LOG_CHUNKS_MAX && log->chunks[i] != NULL; i++)
        weir_block_drop(log->chunks[i]);
    if (log->fd >= 0)
        close(log->fd);
    memset(log->chunks, 0, sizeof log->chunks);
    log->fd = -1;
}

/* --- groups ----------------------------------------------------------------------------------- */

/* Tell whoever waits for bytes before @end. */
static void tell(struct record_log *log, uint64_t end, int error)
{
    while (log->first != NULL && log->first->end <= end) {
        struct record_append *append = log->first;
        log->first = append->next;
        if (error == 0) {
            log->told_end = append->end;
            log->told_records = append->last;
        }
        append->done(append, error);
    }
}

/* The log's state goes back to what was reported durable, and stays there. */
static void fail(struct record_log *log, int error)
{
    log->error = error;
    log->busy = false;
    weir_buf_reset(&log->waiting);
    /* What is behind it is answered with an error and must not turn up later. If this fails too, a
     * later start finds whole records, and cuts off a torn one. */
    int cut = ftruncate(log->fd, (off_t)log->told_end);
    (void)cut;
    uint64_t end = log->end;
    log->end = log->synced = log->written = log->told_end;
    log->records = log->told_records;
    while (log->entry_count != 0 && entry_at(log, log->entry_count - 1)->offset >= log->end)
        log->entry_count--;
    tell(log, end, error);
    if (log->on_group != NULL)
        log->on_group(log);
}

/* Write what is left of the group, or sync once nothing is. */
static void group_go_on(struct record_log *log)
{
    int rc;
    if (log->written == log->group_end) {
        log->stats.syncs++;
        rc = weir_file_sync(log->ring, &log->op, log->fd, true);
    } else {
        unsigned count = weir_buf_iovecs(&log->waiting, (size_t)(log->written - log->synced),
                                         log->iov, log->blocks, IOV_MAX);
        uint64_t left = log->group_end - log->written;
        unsigned used = 0;
        /* What was appended since the group began belongs to the next one. */
        for (; used < count && left != 0; used++) {
            if (log->iov[used].iov_len > left)
                log->iov[used].iov_len = (size_t)left;
            left -= log->iov[used].iov_len;
        }
        log->stats.writes++;
        rc = weir_file_writev(log->ring, &log->op, log->fd, log->iov, log->blocks, used,
                              log->written);
    }
    if (rc != 0)
        fail(log, rc);
}

/* Make a group of what fits one vectored write. */
static void group_start(struct weir_task *task)
{
    struct record_log *log =
        (struct record_log *)(void *)((char *)task - offsetof(struct record_log, task));
    if (log->busy || log->error != 0 || log->end == log->synced)
        return;
    unsigned count = weir_buf_iovecs(&log->waiting, 0, log->iov, log->blocks, IOV_MAX);
    assert(count != 0 && log->written == log->synced);
    log->group_end = log->written;
    for (unsigned i = 0; i < count; i++)
        log->group_end += log->iov[i].iov_len;
    log->busy = true;
    log->stats.groups++;
    group_go_on(log);
}

static void group_done(struct weir_op *op)
{
    struct record_log *log = op->user;
    bool synced = log->written == log->group_end;
    if (op->result == -EINTR || op->result == -EAGAIN) {
        group_go_on(log);
        return;
    }
    if (op->result < 0 || (!synced && op->result == 0)) {
        fail(log, op->result < 0 ? op->result : -EIO);
        return;
    }
    if (!synced) {
        log->written += (uint64_t)op->result;
        group_go_on(log);
        return;
    }
    weir_buf_consume(&log->waiting, (size_t)(log->written - log->synced));
    log->synced = log->written;
    log->busy = false;
    tell(log, log->synced, 0);
    /* At the end of the turn, so that what is received in it comes along. */
    if (log->end != log->synced)
        weir_ring_defer(log->ring, &log->task);
    if (log->on_group != NULL)
        log->on_group(log);
}

int record_log_append(struct record_log *log, const struct weir_slice *records, uint32_t count,
                      struct record_append *append)
{
    assert(count != 0 && records->view.size >= count);
    if (log->error != 0)
        return log->error;
    /* Each entry but the first lies RECORD_LOG_ENTRY_... behind the one before. */
    int rc = index_reserve(log, 2 + count / RECORD_LOG_ENTRY_RECORDS +
                                    records->view.size / RECORD_LOG_ENTRY_BYTES);
    if (rc == 0)
        rc = weir_buf_append_slice(&log->waiting, records);
    if (rc != 0)
        return rc;
    index_note_all(log, records->view, count);
    log->records += count;
    log->end += records->view.size;
    append->last = log->records;
    append->end = log->end;
    append->next = NULL;
    if (log->first == NULL)
        log->first = append;
    else
        log->last->next = append;
    log->last = append;
    if (!log->busy)
        weir_ring_defer(log->ring, &log->task);
    return 0;
}

/* --- asking ----------------------------------------------------------------------------------- */

int record_log_locate(const struct record_log *log, uint64_t from, uint64_t count,
                      size_t limit_bytes, struct record_range *ret)
{
    if (from == 0 || from > log->told_records)
        return -ENOENT;
    uint64_t index = index_find(log, from);
    const struct record_log_entry *entry = entry_at(log, index);
    /* Record @from begins less than ENTRY_BYTES behind its entry and ends before the next one. */
    uint64_t needed = index_end(log, index + 1);
    uint64_t most = entry->offset + RECORD_LOG_ENTRY_BYTES + limit_bytes;
    uint64_t end = needed;
    for (uint64_t i = index + 1; end < most && end < log->told_end; i++) {
        if (entry_at(log, i)->record - from >= count)
            break;
        end = index_end(log, i + 1);
    }
    if (end > most)
        end = most > needed ? most : needed;
    ret->offset = entry->offset;
    ret->size = (size_t)(end - entry->offset);
    ret->first = entry->record;
    return 0;
}

uint64_t record_log_durable(const struct record_log *log)
{
    return log->told_records;
}

size_t record_log_waiting_bytes(const struct record_log *log)
{
    return weir_buf_size(&log->waiting);
}

bool record_log_is_idle(const struct record_log *log)
{
    return !log->busy && weir_buf_size(&log->waiting) == 0;
}

struct record_log_stats record_log_stats(const struct record_log *log)
{
    struct record_log_stats stats = log->stats;
    stats.records = log->told_records;
    stats.bytes = log->told_end;
    stats.bytes_copied = weir_buf_bytes_copied(&log->waiting);
    stats.waiting_bytes = weir_buf_size(&log->waiting);
    stats.failed = log->error != 0;
    return stats;
}
