/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/file.h>
#include <weir/log.h>

#include "log_private.h"

static int refuse(struct weir_log_report *report, int error, const char *reason)
{
    report->reason = reason;
    return error;
}

int weir__log_segment_path(const char *path, uint32_t number, char ret[PATH_MAX])
{
    int size = number == 0 ? snprintf(ret, PATH_MAX, "%s", path)
                           : snprintf(ret, PATH_MAX, "%s.%06u", path, number);
    return size < 0 || size >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Make the directory entry of a file that may be new durable as well. */
static int sync_directory(const struct weir_log *log)
{
    char copy[PATH_MAX];
    int fd;
    memcpy(copy, log->path, strlen(log->path) + 1);
    int rc = weir_file_open(dirname(copy), O_RDONLY | O_DIRECTORY, 0, &fd);
    if (rc != 0)
        return rc;
    /* Some filesystems cannot sync a directory and say EINVAL; there is nothing to be done. */
    rc = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
    close(fd);
    return rc;
}

/* The path itself: whoever has it locked has the whole log. */
static int lock_path(struct weir_log *log, struct weir_log_report *report)
{
    struct stat status;
    int rc = weir_file_open(log->path, O_RDWR | O_CREAT | O_NOCTTY, 0666, &log->lock_fd);
    if (rc != 0)
        return refuse(report, rc, "the log cannot be opened");
    if (fstat(log->lock_fd, &status) < 0 || !S_ISREG(status.st_mode))
        return refuse(report, -EINVAL, "the log is not a regular file");
    if (flock(log->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? refuse(report, -EWOULDBLOCK, "another process has the log open")
                   : refuse(report, -errno, "the log cannot be locked");
    rc = sync_directory(log);
    return rc == 0 ? 0 : refuse(report, rc, "the directory of the log cannot be synced");
}

/* Open the last segment. Its number is one less than the first one that is not there. */
static int open_last(struct weir_log *log, struct weir_log_report *report)
{
    char path[PATH_MAX];
    log->fd = log->lock_fd;
    for (uint32_t number = 1;; number++) {
        int fd;
        int rc = weir__log_segment_path(log->path, number, path);
        if (rc == 0)
            rc = weir_file_open(path, O_RDWR | O_NOCTTY, 0, &fd);
        if (rc == -ENOENT)
            return 0;
        if (rc != 0)
            return refuse(report, rc, "a segment of the log cannot be opened");
        if (log->fd != log->lock_fd)
            close(log->fd);
        log->fd = fd;
        log->segment = number;
    }
}

/* What a new segment goes on from: the last block of one before it. */
static int look_back(struct weir_log *log, struct weir_log_scan *scan)
{
    char path[PATH_MAX];
    struct weir_slice map;
    struct weir_log_found found;
    int fd;
    for (uint32_t number = log->segment; number-- != 0 && scan->blocks == 0;) {
        int rc = weir__log_segment_path(log->path, number, path);
        if (rc == 0)
            rc = weir_file_open(path, O_RDONLY, 0, &fd);
        if (rc != 0)
            return rc;
        rc = weir_file_map(log->pool, fd, 0, 0, &map);
        close(fd);
        if (rc != 0)
            return rc;
        weir_log_scan_init(scan, map.view);
        scan->heads_only = true;
        while (weir_log_scan_next(scan, &found) != -EAGAIN)
            ;
        weir_slice_drop(&map);
    }
    return 0;
}

static void note_gap(struct weir_log_report *report, const struct weir_log_scan *scan)
{
    if (report->gaps == 0)
        report->gap = scan->gap;
    report->gaps++;
    report->missing += scan->gap.count;
}

/* Read the last segment through, and cut off what lies behind its last whole block. */
static int find_end(struct weir_log *log, struct weir_log_report *report,
                    struct weir_log_scan *scan)
{
    struct weir_log_found found;
    struct weir_slice map;
    int result;
    int rc = weir_file_map(log->pool, log->fd, 0, 0, &map);
    if (rc != 0)
        return refuse(report, rc, "the log cannot be read");
    weir_log_scan_init(scan, map.view);
    weir_log_scan_seek(scan, 0, log->segment == 0 ? 1 : 0);
    while ((result = weir_log_scan_next(scan, &found)) != -EAGAIN)
        if (result != 0)
            note_gap(report, scan);
    bool foreign = scan->blocks == 0 && !weir_log_may_begin(map.view);
    uint64_t size = map.view.size;
    weir_slice_drop(&map);
    if (foreign)
        return refuse(report, -EPROTO, "the file is not a log: it was left as it is");
    report->end_bytes = scan->end;
    report->cut_bytes = size - scan->end;
    report->segment = log->segment;
    report->reason = scan->fault.reason;
    if (report->cut_bytes != 0 &&
        (ftruncate(log->fd, (off_t)scan->end) < 0 || fdatasync(log->fd) < 0))
        return refuse(report, -errno, "the torn tail of the log cannot be cut off");
    return 0;
}

static int new_id(uint64_t *ret)
{
    uint64_t id = 0;
    while (id == 0) {
        ssize_t got = getrandom(&id, sizeof id, 0);
        if (got != (ssize_t)sizeof id && errno != EINTR)
            return -errno;
        if (got != (ssize_t)sizeof id)
            id = 0;
    }
    *ret = id;
    return 0;
}

void weir__log_open_direct(struct weir_log *log)
{
    char path[PATH_MAX];
    if (log->direct_fd >= 0)
        close(log->direct_fd);
    log->direct_fd = -1;
    if (!log->options.direct)
        return;
    int fd;
    int rc = weir__log_segment_path(log->path, log->segment, path);
    if (rc == 0)
        rc = weir_file_open_direct(path, O_WRONLY | O_NOCTTY, 0, &fd, &log->direct);
    if (rc == 0 && log->direct.offset_align_bytes != 0) {
        log->direct_fd = fd;
        return;
    }
    if (rc == 0)
        close(fd);
    else
        log->direct.text = weir_error_text(rc);
}

int weir__log_open_files(struct weir_log *log, struct weir_log_report *report)
{
    struct weir_log_scan scan;
    int rc = lock_path(log, report);
    if (rc == 0)
        rc = open_last(log, report);
    if (rc == 0)
        rc = find_end(log, report, &scan);
    if (rc != 0)
        return rc;
    uint64_t end = scan.end;
    if (scan.blocks == 0) {
        rc = look_back(log, &scan);
        if (rc != 0)
            return refuse(report, rc, "a segment of the log cannot be read");
    }
    log->id = scan.id;
    if (log->id == 0 && (rc = new_id(&log->id)) != 0)
        return refuse(report, rc, "there are no random bytes for the log's id");
    log->sync_fd = log->fd;
    weir__log_open_direct(log);
    report->last = scan.blocks != 0 ? scan.next - 1 : 0;
    report->missing_durable = report->gaps != 0 && report->gap.first <= scan.durable;
    log->appended = log->told = report->last;
    log->submitted.last = report->last;
    log->submitted.end = log->allocated = end;
    log->written = log->syncing = log->durable = log->submitted;
    return 0;
}

int weir__log_close_files(struct weir_log *log)
{
    int rc = 0;
    if (log->fd >= 0 && ftruncate(log->fd, (off_t)log->written.end) < 0)
        rc = -errno;
    if (log->fd >= 0 && log->options.ack_written && fdatasync(log->fd) < 0 && rc == 0)
        rc = -errno;
    if (log->direct_fd >= 0)
        close(log->direct_fd);
    if (log->fd >= 0 && log->fd != log->lock_fd)
        close(log->fd);
    if (log->lock_fd >= 0) {
        /* A worker of the kernel's may hold the file a moment longer than its request: closing it
         * would leave it locked for as long. */
        flock(log->lock_fd, LOCK_UN);
        close(log->lock_fd);
    }
    log->direct_fd = log->fd = log->sync_fd = log->lock_fd = -1;
    return rc;
}

int weir__log_rotate(struct weir_log *log)
{
    char path[PATH_MAX];
    int fd;
    if (log->segment == WEIR_LOG_SEGMENTS_MAX)
        return -ENOSPC;
    int rc = weir__log_segment_path(log->path, log->segment + 1, path);
    if (rc == 0)
        rc = weir_file_open(path, O_RDWR | O_CREAT | O_NOCTTY, 0666, &fd);
    if (rc != 0)
        return rc;
    rc = ftruncate(log->fd, (off_t)log->written.end) < 0 ? -errno : sync_directory(log);
    if (rc == 0 && log->options.ack_written && fdatasync(log->sync_fd) < 0)
        rc = -errno;
    if (rc != 0) {
        close(fd); /* an empty segment, which the next try takes */
        return rc;
    }
    if (log->fd != log->lock_fd)
        close(log->fd);
    log->fd = log->sync_fd = fd;
    log->segment++;
    weir__log_open_direct(log);
    log->allocated = 0;
    log->submitted.end = log->written.end = log->syncing.end = log->durable.end = 0;
    log->stats.rotations++;
    return 0;
}
