/* SPDX-License-Identifier: MIT */
/**
 * record_log: an append-only file of MessagePack values, numbered from 1.
 *
 * What is appended is gathered while the group before it is on its way to the disk; then all of it
 * leaves in one vectored write and one fdatasync(2), and everybody who waited is told.
 *
 *     struct record_log log;
 *     struct weir_fault fault;
 *     int rc = record_log_open(&log, ring, "events.log", &limits, &fault);
 *     ...
 *     append->done = stored;                              // called when it is durable
 *     rc = record_log_append(&log, &records, 3, append);  // a slice of three values
 *     ...
 *     record_log_close(&log);                             // once record_log_is_idle()
 *
 * Records      The file is nothing but the values one after the other, exactly as appended. Record
 *              1 is the first; record_log_locate() finds any by number through a sparse index.
 * Failure      The first error of a write or a sync is final: whoever waits is told, the file is
 *              cut back to what was reported durable, appending is refused from then on, reading
 *              goes on.
 * Bounds       RECORD_LOG_ENTRIES_MAX index entries, above which appending is refused (-ENOSPC).
 *              How much may wait is the caller's to decide, see record_log_waiting_bytes().
 * Threads      the ring's.
 */
#ifndef RECORD_LOG_H
#define RECORD_LOG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <weir/buf.h>
#include <weir/file.h>
#include <weir/ring.h>
#include <weir/unpack.h>

/* A new index entry at the first record that begins this far behind the last one. */
#define RECORD_LOG_ENTRY_RECORDS 256
#define RECORD_LOG_ENTRY_BYTES ((uint64_t)64 << 10)

/* The index is a table of chunks, each one pool block, taken as the log grows. */
#define RECORD_LOG_CHUNK_ENTRIES 4096
#define RECORD_LOG_CHUNKS_MAX 4096
#define RECORD_LOG_ENTRIES_MAX ((uint64_t)RECORD_LOG_CHUNK_ENTRIES * RECORD_LOG_CHUNKS_MAX)

/** Someone who waits for records to be durable. The caller's storage, kept until done(). */
struct record_append {
    /** Called once; @error 0: durable, else what the log failed with. */
    void (*done)(struct record_append *append, int error);
    uint64_t last;              /**< number of the last record, set by record_log_append() */
    uint64_t end;               /* private: file offset behind it */
    struct record_append *next; /* private */
};

/** What a log did and holds. */
struct record_log_stats {
    uint64_t records;      /**< durable */
    uint64_t bytes;        /**< of these */
    uint64_t found;        /**< of these, there when the log was opened */
    uint64_t groups;       /**< written and synced together */
    uint64_t writes;       /**< vectored writes; more than groups only after short ones */
    uint64_t syncs;        /**< fdatasync(2) */
    uint64_t bytes_copied; /**< of records too small to be linked */
    uint64_t waiting_bytes;
    uint64_t failed; /**< 1 once the log has failed */
};

/** Where to read records, see record_log_locate(). */
struct record_range {
    uint64_t offset;
    size_t size;
    uint64_t first; /**< number of the record that begins at offset */
};

struct record_log_entry {
    uint64_t record;
    uint64_t offset;
};

/** The caller's storage. Fields are private but for fd, error, on_group and user. */
struct record_log {
    int fd;
    int error; /**< 0, or what the log failed with */
    /** Called after each group, when less is waiting; may be NULL. */
    void (*on_group)(struct record_log *log);
    void *user;

    struct weir_ring *ring;
    struct weir_pool *pool;
    struct weir_buf waiting; /* appended and not durable; its front lies at synced in the file */
    uint64_t synced;         /* file offsets: up to here durable, */
    uint64_t written;        /* written, */
    uint64_t group_end;      /* to be written with this group, */
    uint64_t end;            /* appended */
    uint64_t records;        /* appended */
    uint64_t told_end;       /* file offset and number of the last record reported durable */
    uint64_t told_records;
    struct record_append *first; /* who waits, in order */
    struct record_append *last;
    struct weir_op op; /* the write or sync of the group */
    struct weir_task task;
    bool busy;
    struct record_log_stats stats;
    uint64_t entry_count;
    struct weir_block *chunks[RECORD_LOG_CHUNKS_MAX];
    struct iovec iov[IOV_MAX];
    struct weir_block *blocks[IOV_MAX];
};

/**
 * Open or create a log, and read it through once to find its records.
 *
 * A value that is cut off at the end is what a crash leaves behind: it is truncated away, and told
 * in @ret_fault. The file is locked (flock) until it is closed.
 *
 * @limits    of a record: bytes is the largest one taken from the file
 * @ret_fault written always: on success error is 0, or -EAGAIN with the offset of a cut-off value
 *            that was removed; on failure what is wrong and where
 * Returns    0; -EWOULDBLOCK another process has it open; -EBADMSG, -EMSGSIZE it holds something
 *            else; -EINVAL no regular file; or an error of open(2), read(2), ftruncate(2).
 */
int record_log_open(struct record_log *log, struct weir_ring *ring, const char *path,
                    const struct weir_limits *limits, struct weir_fault *ret_fault);

/** Close the file and drop everything. The log must be idle (asserted). */
void record_log_close(struct record_log *log);

/**
 * Append @count records.
 *
 * @records   @count whole values (the caller's word for it), one after the other; linked or, when
 *            small, copied: the slice stays the caller's
 * @append    done is set; kept until it is called, at the end of this turn at the earliest
 * Returns    0; the error that the log failed with; -ENOSPC the index is full; -ENOMEM, -ENOBUFS
 *            of the pool. On an error nothing is appended and done is not called.
 */
int record_log_append(struct record_log *log, const struct weir_slice *records, uint32_t count,
                      struct record_append *append);

/**
 * Where to read from to get record @from, and more of those that follow, up to @count and about
 * @limit_bytes. The range holds record @from wholly; its last record may be cut off.
 *
 * @ret      written on success only
 * Returns   0; -ENOENT there is no durable record of that number.
 */
int record_log_locate(const struct record_log *log, uint64_t from, uint64_t count,
                      size_t limit_bytes, struct record_range *ret);

/** Number of the last durable record; 0 if there is none. */
uint64_t record_log_durable(const struct record_log *log);

/** Bytes appended and not yet durable. */
size_t record_log_waiting_bytes(const struct record_log *log);

/** Whether nothing is on its way to the disk or waits for it. */
bool record_log_is_idle(const struct record_log *log);

/** What the log did and holds. */
struct record_log_stats record_log_stats(const struct record_log *log);

#endif /* RECORD_LOG_H */
