/* SPDX-License-Identifier: MIT */
/**
 * log: an append-only file of messages that any MessagePack reader can read.
 *
 * Messages are numbered from 1 and lie in blocks with checksums. First come the format, how blocks
 * are made and how they are found again, in memory, a mapped file for example (weir_file_map());
 * then a log that is written through a ring: see weir_log_open().
 *
 *     struct weir_log_block block;
 *     rc = weir_log_block_begin(&block, &buf, id, 1);
 *     rc = weir_log_block_append(&block, &message, 1);        // as often as there are messages
 *     rc = weir_log_block_finish(&block, 0, 0);               // the buffer's bytes are the file's
 *     ...
 *     weir_log_scan_init(&scan, file);
 *     while ((rc = weir_log_scan_next(&scan, &found)) != -EAGAIN)
 *         if (rc == 0)
 *             look_at(found.first, found.messages);
 *         else
 *             tell(scan.gap);                                 // and go on behind it
 *     if (scan.fault.error != 0)
 *         cut_off_at(scan.end);
 *
 * Format       The file is a sequence of MessagePack values: block heads, each with its messages
 *              behind it as they are, and padding. Head and padding are ext values of type 119
 *              ('w'); the first byte of their payload says which. All numbers are big-endian.
 *
 *              offset  bytes  a head
 *              0       4      c7 2d 77 42: ext 8 of 45 bytes, type 119; 'B', a block
 *              4       4      size of the messages, 1 to 2^30
 *              8       8      id of the log: random, not 0, the same in all its blocks
 *              16      8      number of the first message, from 1
 *              24      4      count of messages, 1 to the size
 *              28      4      how many of the messages before this block were not known to be
 *                             durable when it was made; 2^32 - 1: that many or more
 *              32      8      XXH3 (64 bits, seed 0) of the messages
 *              40      8      XXH3 (64 bits, seed 0) of the 40 bytes before
 *              48             the messages
 *
 *              Padding is an ext value of 3 bytes or more whose payload is 'P' (0x50) and then only
 *              zeros: fixext 1 for 3 bytes, otherwise the shortest of ext 8, 16 and 32. It stands
 *              between blocks, never in one. Numbers go up without a hole from block to block, and
 *              from segment to segment. An empty file is an empty log.
 *
 *              Other readers tell heads and padding from messages by type 119 and leave them out.
 *              (A message may be an ext of that type itself: in a block it is one all the same.)
 * Damage       What a head's checksum vouches for is believed, so damage within messages costs one
 *              block. Elsewhere the next whole block is searched for, which must have the log's id
 *              and a number that is not behind. Bytes behind the last whole block are a torn tail:
 *              what was being written when the power failed.
 * Checksums    find accidents. Who can write to the file can make blocks of his own.
 * Bounds       Every byte is hashed at most twice and searched at most once; nothing is allocated
 *              but by the index.
 * Threads      any, one at a time; a log on a ring: the ring's.
 * Source       MessagePack specification, "ext format family" (github.com/msgpack/msgpack,
 *              spec.md); xxHash fast digest algorithm (github.com/Cyan4973/xxHash, doc/).
 */
#ifndef WEIR_LOG_H
#define WEIR_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/batch.h>
#include <weir/buf.h>
#include <weir/pool.h>
#include <weir/ring.h>
#include <weir/slice.h>
#include <weir/unpack.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/** The ext type of heads and padding. */
#define WEIR_LOG_EXT_TYPE 119

/** Size of a block's head. */
#define WEIR_LOG_HEAD_BYTES 48

/** The most bytes of messages in a block. */
#define WEIR_LOG_BLOCK_MAX_BYTES ((size_t)1 << 30)

/** The largest alignment that padding serves. */
#define WEIR_LOG_ALIGN_MAX_BYTES ((size_t)1 << 20)

/* --- making blocks ---------------------------------------------------------------------------- */

/** A block under way. The caller's storage; fields are private but for those said. */
struct weir_log_block {
    struct weir_buf *buf;
    uint8_t *head;       /* where it will be written */
    size_t offset_bytes; /* of the head from the buffer's front */
    size_t size_bytes;   /**< of its messages so far */
    uint64_t id;
    uint64_t first; /**< number of its first message */
    uint32_t count; /**< of its messages so far */
};

/**
 * Begin a block at the end of @buf.
 *
 * Until it is finished nothing else may be appended to @buf, and nothing consumed.
 *
 * @block    any content
 * @id       of the log, not 0 (asserted)
 * @first    number of the first message, not 0 (asserted)
 * Returns   0; -ENOMEM, -ENOBUFS, -EOVERFLOW of the buffer: it is as before.
 */
WEIR_API int weir_log_block_begin(struct weir_log_block *block, struct weir_buf *buf, uint64_t id,
                                  uint64_t first);

/**
 * Append @count messages, linked or copied as weir_buf_append_slice() decides.
 *
 * @messages whole MessagePack values, one after the other; that there are @count of them, 1 or
 *           more, is the caller's word. The slice stays the caller's.
 * Returns   0; -EOVERFLOW the block would exceed WEIR_LOG_BLOCK_MAX_BYTES; -EINVAL fewer bytes than
 *           messages, or no message; -ENOMEM, -ENOBUFS of the buffer. On an error nothing changed.
 */
WEIR_API int weir_log_block_append(struct weir_log_block *block, const struct weir_slice *messages,
                                   uint32_t count);

/**
 * Write the head, and padding behind the messages. The block needs a message (asserted).
 *
 * @pending   how many messages before this block are not known to be durable
 * @pad_bytes what weir_log_pad_bytes() said; 0: none
 * Returns    0; with @pad_bytes only: -ENOMEM, -ENOBUFS of the buffer, nothing changed: it may be
 *            finished without.
 * Cost       one pass over the messages.
 */
WEIR_API int weir_log_block_finish(struct weir_log_block *block, uint64_t pending,
                                   size_t pad_bytes);

/**
 * Bytes of padding to be put at @offset of the file, so that what follows is aligned.
 *
 * @align_bytes  a power of two up to WEIR_LOG_ALIGN_MAX_BYTES (asserted); 8 or more, or 1
 * Returns       0, or 3 up to @align_bytes + 2: padding has no less than 3 bytes.
 */
WEIR_API size_t weir_log_pad_bytes(uint64_t offset, size_t align_bytes);

/** Append @pad_bytes of padding, 0 or at least 3 (asserted), to @buf. Returns as the buffer. */
WEIR_API int weir_log_pad(struct weir_buf *buf, size_t pad_bytes);

/* --- finding blocks --------------------------------------------------------------------------- */

/** A whole block. */
struct weir_log_found {
    size_t offset;             /**< of its head from the start of the input */
    uint64_t first;            /**< number of its first message */
    uint32_t count;            /**< of messages */
    uint32_t pending;          /**< messages before it that were not known to be durable */
    struct weir_view messages; /**< in the input */
};

/** Bytes or numbers between whole blocks that are not what they should be. */
struct weir_log_gap {
    size_t offset;     /**< where it begins */
    size_t size_bytes; /**< up to the next whole block; 0 if only numbers are missing */
    uint64_t first;    /**< number of the first message that is missing; 0: unknown, see count */
    uint64_t count;    /**< of missing messages; 0: only padding was damaged, or first is unknown */
    const char *reason; /**< one static line, for people */
};

/** The caller's storage for a scan. Fields are for reading. */
struct weir_log_scan {
    struct weir_view input;
    size_t offset;    /**< where it goes on */
    size_t end;       /**< behind the last whole block or padding */
    uint64_t id;      /**< of the log; 0: no block was found yet */
    uint64_t next;    /**< number of the next message; 0: any */
    uint64_t blocks;  /**< found */
    uint64_t gaps;    /**< found */
    uint64_t durable; /**< highest number that a block found so far says was durable before it */
    bool heads_only;  /**< may be set: messages are not compared with their checksum */
    struct weir_log_gap gap; /**< the last one */
    struct weir_fault fault; /**< at the end: error 0, or -EAGAIN with the torn tail's offset */
};

/**
 * Begin a scan, with any number.
 *
 * @input    a log, or the part of one that begins with a block; must outlive the scan
 */
WEIR_API void weir_log_scan_init(struct weir_log_scan *scan, struct weir_view input);

/** Go on at @offset, where a block begins, with message @next expected; 0: any. */
WEIR_API void weir_log_scan_seek(struct weir_log_scan *scan, size_t offset, uint64_t next);

/**
 * The next whole block.
 *
 * @ret      written on success only; its view lies in the input
 * Returns   0; -EBADMSG scan->gap tells what lies before the next whole block, which the next call
 *           returns; -EAGAIN there is no more whole block: scan->end is where the last one ended,
 *           and scan->fault says whether the input ends there.
 */
WEIR_API int weir_log_scan_next(struct weir_log_scan *scan, struct weir_log_found *ret);

/**
 * Whether bytes in which no whole block was found may be the beginning of a log all the same: none,
 * a head that was cut off, or zeros, as a power failure leaves them. Else they are somebody else's.
 */
WEIR_API bool weir_log_may_begin(struct weir_view input);

/** The messages of a block, one after the other. The caller's storage. */
struct weir_log_messages {
    struct weir_unpacker unpacker; /* private */
    uint64_t number;               /**< of the message that was handed out last */
    uint32_t left;                 /**< messages that follow */
};

/** Begin with the first message of @found. */
WEIR_API void weir_log_messages_init(struct weir_log_messages *messages,
                                     const struct weir_log_found *found);

/**
 * The next message.
 *
 * @ret      written on success only: lies where the block lies
 * Returns   0; -EAGAIN that was the last one; -EBADMSG the block, whatever its checksum says, does
 *           not hold as many MessagePack values as its head says: sticky.
 */
WEIR_API int weir_log_messages_next(struct weir_log_messages *messages, struct weir_view *ret);

/* --- finding messages by number --------------------------------------------------------------- */

/** Where a block begins. */
struct weir_log_entry {
    uint64_t first;   /**< number of its first message */
    uint64_t offset;  /**< in its segment */
    uint64_t segment; /**< the caller's count of files */
};

/** Some of a log's blocks, in order. Zeroed, weir_log_index_fini() takes it. Private. */
struct weir_log_index {
    struct weir_batch entries;
    uint64_t every_bytes;
};

/**
 * Prepare an empty index over @pool, which must outlive it.
 *
 * @every_bytes  distance in the file from an entry to the next, at least; 0: each block
 */
WEIR_API void weir_log_index_init(struct weir_log_index *index, struct weir_pool *pool,
                                  uint64_t every_bytes);

/** Give its memory back. */
WEIR_API void weir_log_index_fini(struct weir_log_index *index);

/**
 * Note a block, if it lies behind all that are noted and far enough from the last one.
 *
 * Returns   0, also if there was no need to; -ENOMEM, -ENOBUFS of the pool: nothing changed.
 */
WEIR_API int weir_log_index_add(struct weir_log_index *index, const struct weir_log_entry *entry);

/**
 * The last entry that is not behind message @number.
 *
 * @ret      written on success only
 * Returns   0; -ENOENT there is none.     Cost  logarithmic.
 */
WEIR_API int weir_log_index_find(const struct weir_log_index *index, uint64_t number,
                                 struct weir_log_entry *ret);

/* --- reading a log ---------------------------------------------------------------------------- */

/** A message of a log. */
struct weir_log_message {
    uint64_t number;
    struct weir_view bytes; /**< lies in the mapped file */
};

/** The files of a log, read in place. The caller's storage; fields are for reading. */
struct weir_log_reader {
    struct weir_pool *pool;
    const char *path;
    uint32_t segment;          /**< number of the file that is read; 0: the path itself */
    bool in_block;             /* messages of found follow */
    struct weir_slice map;     /**< the file; may be held, and cut into slices that outlive it */
    struct weir_log_scan scan; /**< gap and fault in it */
    struct weir_log_found found;
    struct weir_log_messages messages;
    struct weir_log_index index;
};

/**
 * Open a log for reading, from its first message on. It is not locked, and may be appended to.
 *
 *     rc = weir_log_reader_open(&reader, pool, "events.log");
 *     rc = weir_log_reader_seek(&reader, 1000);
 *     while ((rc = weir_log_reader_next(&reader, &message)) == 0)
 *         handle(message.number, message.bytes);
 *     weir_log_reader_close(&reader);
 *
 * Files are mapped, one at a time, and block after block is compared with its checksum. See
 * weir_file_map() for what a file that shrinks does to who reads it: a log shrinks only where its
 * owner cuts off what could not be written, or a torn tail after a crash.
 *
 * @reader   any content
 * @pool     for the index and the mapping's descriptor; must outlive the reader
 * @path     as of weir_log_open(); must stay as it is until the reader is closed
 * Returns   0; -ENAMETOOLONG; -ENOMEM, -ENOBUFS of the pool; or an error of open(2) or mmap(2).
 *           On an error there is nothing to close.
 */
WEIR_API int weir_log_reader_open(struct weir_log_reader *reader, struct weir_pool *pool,
                                  const char *path);

/** Drop the mapping and the index. Slices of the mapping stay valid. Takes a zeroed reader. */
WEIR_API void weir_log_reader_close(struct weir_log_reader *reader);

/**
 * The next message.
 *
 * @ret         written on success only
 * Returns      0; -EAGAIN that was the last one: after more was appended it can be called again,
 *              and reader->scan.fault tells if a part of a block follows; -EBADMSG
 *              reader->scan.gap tells what is damaged in file reader->segment (of a file that ends
 *              within a block, in the one before): the next call goes on behind it; an error of
 *              mapping the next file: calling again tries again.
 * Valid until  the next call. To keep a message: weir_slice_adopt(message.bytes,
 *              weir_block_hold(reader.map.block)).
 */
WEIR_API int weir_log_reader_next(struct weir_log_reader *reader, struct weir_log_message *ret);

/**
 * Make message @number the next one.
 *
 * Returns   0; -ENOENT it is not there: the next one is the first behind it, if there is one;
 *           -EBADMSG its block is damaged, see reader->scan.gap: the next one is the first behind
 *           that; -EINVAL @number is 0; or as weir_log_reader_open(), after which it may be tried
 *           again.
 * Cost      what was read or passed over before is found by the index, to 64 KiB of the file; from
 *           there on, heads alone are read, and of one block the messages.
 */
WEIR_API int weir_log_reader_seek(struct weir_log_reader *reader, uint64_t number);

/* --- a log on a ring -------------------------------------------------------------------------- */

struct weir_log;

/** Preallocate nothing. */
#define WEIR_LOG_NO_EXTENTS UINT64_MAX

#define WEIR_LOG_FLIGHTS_MAX 16
#define WEIR_LOG_SEGMENTS_MAX 999999
#define WEIR_LOG_SEGMENT_MAX_BYTES ((uint64_t)1 << 40)

/** How a log is written. Zeroed: the defaults. */
struct weir_log_options {
    size_t block_bytes; /**< messages of a full block; 0: 256 Ki. A larger message has its own */
    size_t align_bytes; /**< each block ends and begins at a multiple, padded; 0: 1, not padded */
    uint64_t segment_bytes; /**< a new file is begun once one has so many bytes; 0: 1 Gi */
    uint64_t extent_bytes;  /**< the file is given space by so many; 0: 16 Mi, or _NO_EXTENTS */
    uint32_t flights;       /**< blocks that are filled and written at a time; 0: 4 */
    bool ack_written;       /**< done() is called once it is written: what a crash of the program
                                 survives, not a power failure. Nothing is synced until close */
    /**
     * Write past the page cache (O_DIRECT) where the file system takes it, see
     * weir_log_direct_text(). Blocks are aligned to 4096 bytes then, or what the device asks for,
     * and every message is copied, since where it lies is not aligned.
     */
    bool direct;
    /** Called when an append that was refused with -EAGAIN may be tried again; may be NULL. */
    void (*on_room)(struct weir_log *log, void *user);
    void *user; /**< handed to on_room */
};

/** What weir_log_open() found. */
struct weir_log_report {
    uint64_t last;           /**< number of the last message; 0: the log is empty */
    uint32_t segment;        /**< number of the last file; 0: the path itself */
    uint64_t end_bytes;      /**< of the last file, as it is now */
    uint64_t cut_bytes;      /**< that were cut off there, behind the last whole block */
    uint64_t gaps;           /**< places in the last file where bytes or numbers are damaged */
    uint64_t missing;        /**< messages that are missing there */
    bool missing_durable;    /**< the first of them had been durable: a later block says so */
    struct weir_log_gap gap; /**< the first of the gaps */
    const char *reason;      /**< why it was cut, or cannot be opened; "" */
};

/** Somebody who waits for messages to be durable. The caller's storage, kept until done(). */
struct weir_log_waiter {
    /** Called once; @error 0: they are durable; else what failed, and they are not in the log. */
    void (*done)(struct weir_log_waiter *waiter, int error);
    void *user;                   /**< the caller's */
    uint64_t last;                /**< number of the last of the messages, set by the append */
    struct weir_log_waiter *next; /* private */
};

/** What a log did and holds. Numbers are of messages. */
struct weir_log_stats {
    uint64_t appended;      /**< the last one appended, */
    uint64_t written;       /**< written, */
    uint64_t durable;       /**< and durable */
    uint64_t segment;       /**< the file that is written to, and its size */
    uint64_t segment_bytes; /* */
    uint64_t blocks;        /**< made */
    uint64_t writes;        /**< one for a block but for long lists and short ones */
    uint64_t direct;        /**< of these, past the page cache */
    uint64_t syncs;         /**< fdatasync(2) */
    uint64_t extents;       /**< times that space was given to the file */
    uint64_t rotations;     /**< files begun */
    uint64_t failures;      /**< of writes and syncs, as far as they were rolled back */
    uint64_t bytes_copied;  /**< of messages too small to be linked */
    uint64_t waiting_bytes; /**< in blocks that are not written */
};

/**
 * Open or create a log for appending.
 *
 * The last file is read through. What lies behind its last whole block is cut off, whole blocks
 * are kept wherever they lie, and @report tells of both. A file that is not a log is left alone.
 *
 *     rc = weir_log_open(ring, "events.log", NULL, &log, &report);
 *     waiter->done = stored;
 *     rc = weir_log_append(log, &message, 1, waiter);
 *     ...
 *     while (!weir_log_is_idle(log))
 *         weir_ring_run(ring, -1);
 *     weir_log_close(log);
 *
 * Files        @path, then @path.000001 and so on: each a log's part that readers read one after
 *              the other, with nothing missing between. The one with @path is locked, flock(2), for
 *              all of them, so it has to stay; old ones may be emptied, not removed.
 * Commits      What is appended while a commit is under way becomes the next one: a block that is
 *              full is written at once, a partial one when the sync before it is over, or when
 *              nothing was under way at the end of the turn. So one fdatasync(2) serves everybody
 *              who waits, and no write waits for it.
 * Failures     A write that fails for want of space (ENOSPC, EDQUOT, EFBIG) fails the messages that
 *              are not written; they are cut off, and appending may be tried again. Any other
 *              failed write, and a failed sync above all, is final: nothing is acknowledged from
 *              then on and weir_log_append() returns the error.
 * Copies       Messages below 4096 bytes are copied into the block, counted; larger ones are
 *              written from where they lie, which is held until then.
 *
 * @ring     the log is of its thread and its pool; close it first
 * @options  NULL or zeroed: the defaults
 * @ret      written on success only
 * @report   NULL, or written always
 * Returns   0; -EWOULDBLOCK another process has it open, or this one has; -EPROTO the file is not a
 *           log; -EINVAL options out of range, no regular file; -ENAMETOOLONG; -ENOMEM, -ENOBUFS of
 *           the pool; or an error of open(2), flock(2), mmap(2), ftruncate(2), fdatasync(2).
 * Cost      blocking; reads the last file.
 */
WEIR_API int weir_log_open(struct weir_ring *ring, const char *path,
                           const struct weir_log_options *options, struct weir_log **ret,
                           struct weir_log_report *report);

/**
 * Append @count messages, which stay together in one block.
 *
 * @messages whole MessagePack values, see weir_log_block_append(); stays the caller's
 * @waiter   done is set; kept until it is called, never from within this call. In order of appends.
 * Returns   0; -EAGAIN all blocks are under way, a file is full, or a failure is being cleared up:
 *           try again after on_room; -EINVAL, -EOVERFLOW as weir_log_block_append(); -ENOMEM,
 *           -ENOBUFS of the pool; the error of the next file's opening; the error that the log
 *           failed with, for good. On an error nothing is appended and done is not called.
 * Cost      a copy of small messages; now and then a checksum of a block, or space for the file.
 */
WEIR_API int weir_log_append(struct weir_log *log, const struct weir_slice *messages,
                             uint32_t count, struct weir_log_waiter *waiter);

/** Bytes of messages, heads and padding that were appended and are not written. */
WEIR_API size_t weir_log_waiting_bytes(const struct weir_log *log);

/** Whether nothing is under way, and nobody waits. */
WEIR_API bool weir_log_is_idle(const struct weir_log *log);

/**
 * Give spare space of the file back, close it, and free the log. Not from within done() or on_room.
 *
 * @log      NULL is allowed and does nothing
 * Returns   0; -EBUSY it is not idle: nothing happened; or, the log being gone all the same, an
 *           error of ftruncate(2), or with ack_written of fdatasync(2).
 */
WEIR_API int weir_log_close(struct weir_log *log);

/** Number of the last message that was acknowledged, or there when the log was opened. */
WEIR_API uint64_t weir_log_last(const struct weir_log *log);

/** 0, or what the log failed with for good. */
WEIR_API int weir_log_error(const struct weir_log *log);

/**
 * Whether blocks are written past the page cache: "on", or why they are not. A constant string. A
 * block that does not begin or end where the device wants it, as the first one after a log that was
 * not aligned, or one of a message larger than a block, goes through the page cache all the same.
 */
WEIR_API const char *weir_log_direct_text(const struct weir_log *log);

/** What the log did and holds. */
WEIR_API struct weir_log_stats weir_log_stats(const struct weir_log *log);

WEIR_END_DECLS

#endif /* WEIR_LOG_H */
