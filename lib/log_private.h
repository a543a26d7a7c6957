/* SPDX-License-Identifier: MIT */
/*
 * What log.c, which writes, and log_open.c, which finds the end and rotates, share.
 */
#ifndef WEIR_LOG_PRIVATE_H
#define WEIR_LOG_PRIVATE_H

#include <limits.h>
#include <sys/uio.h>

#include <weir/buf.h>
#include <weir/file.h>
#include <weir/log.h>
#include <weir/ring.h>

#define WEIR__LOG_IOV 64

/* One block from its first message until it is written, and those before it are. */
struct weir__log_flight {
    struct weir_op op; /* its write */
    struct weir_log *log;
    struct weir_buf buf;
    struct weir_log_block block;
    uint64_t offset; /* in the segment */
    size_t size;
    size_t written;
    bool whole;  /* all of it is written */
    bool direct; /* the write that is under way is */
    struct iovec iov[WEIR__LOG_IOV];
    struct weir_block *blocks[WEIR__LOG_IOV];
};

/* A place in the log: messages up to number @last end at @end of the segment. */
struct weir__log_mark {
    uint64_t last;
    uint64_t end;
};

struct weir_log {
    struct weir_ring *ring;
    struct weir_pool *pool;
    struct weir_block *home; /* the block that this struct lies in */
    struct weir_log_options options;
    char path[PATH_MAX];
    uint32_t segment; /* number of the file that is written to; 0 is the path itself */
    int lock_fd;      /* the path itself */
    int fd;           /* the segment; may be lock_fd */
    int sync_fd;      /* as fd; another one in tests */
    int direct_fd;    /* the segment past the page cache; -1: not wanted or not possible */
    struct weir_file_direct direct;
    uint64_t id;
    uint64_t allocated; /* bytes of the segment that have extents */

    /* appended >= submitted >= written >= syncing >= durable */
    uint64_t appended;               /* number of the last message */
    struct weir__log_mark submitted; /* handed to the kernel */
    struct weir__log_mark written;   /* and nothing is missing before */
    struct weir__log_mark syncing;   /* covered by the sync that is under way */
    struct weir__log_mark durable;
    uint64_t told; /* number of the last message that was acknowledged */

    uint32_t first;     /* the oldest flight, */
    uint32_t in_flight; /* how many, */
    bool open;          /* and whether the one behind them is being filled */
    uint32_t writes;    /* started and not completed */
    bool is_syncing;
    struct weir_op sync;
    struct weir_task task;

    int failing;                     /* this error is being rolled back, which waits for writes */
    bool sync_failed;                /* and it was the sync's */
    int error;                       /* sticky */
    bool want_room;                  /* an append was refused */
    struct weir_log_waiter *waiters; /* in order */
    struct weir_log_waiter *last_waiter;
    struct weir_log_stats stats;
    struct weir__log_flight flights[];
};

/* The file of segment @number of the log at @path. -ENAMETOOLONG it does not fit. */
int weir__log_segment_path(const char *path, uint32_t number, char ret[PATH_MAX]);

/* Open or create the files and find the end. */
int weir__log_open_files(struct weir_log *log, struct weir_log_report *report);

/* Open the segment past the page cache as well, if that is wanted; no error if it cannot be. */
void weir__log_open_direct(struct weir_log *log);

/* Go on in a new segment. All that was submitted is durable, or written if that is enough. */
int weir__log_rotate(struct weir_log *log);

/* Cut the segment at the end of what was written, which gives its spare extents back; close. */
int weir__log_close_files(struct weir_log *log);

#endif /* WEIR_LOG_PRIVATE_H */
