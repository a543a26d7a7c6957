/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <weir/file.h>
#include <weir/log.h>

#include "log_private.h"

/* A search by number reads from the last noted block on, which is never further behind. */
#define INDEX_EVERY_BYTES ((uint64_t)64 << 10)

static int map_segment(struct weir_log_reader *reader, uint32_t segment, struct weir_slice *ret)
{
    char path[PATH_MAX];
    int fd;
    int rc = weir__log_segment_path(reader->path, segment, path);
    if (rc == 0)
        rc = weir_file_open(path, O_RDONLY | O_NOCTTY, 0, &fd);
    if (rc != 0)
        return rc;
    rc = weir_file_map(reader->pool, fd, 0, 0, ret);
    close(fd);
    return rc;
}

/* Read @map from @offset on, where message @next is expected. */
static void take_map(struct weir_log_reader *reader, uint32_t segment, struct weir_slice map,
                     size_t offset, uint64_t next)
{
    uint64_t id = reader->scan.id;
    weir_slice_drop(&reader->map);
    reader->map = map;
    reader->segment = segment;
    reader->in_block = false;
    weir_log_scan_init(&reader->scan, map.view);
    weir_log_scan_seek(&reader->scan, offset, next);
    reader->scan.id = id;
}

/*
 * The scan has come to the end of what is mapped: map what was added meanwhile, or go on in the
 * next file. Whether there is one is looked at first: once there is, nothing is added to this one.
 * 0 there is more to be scanned; -EAGAIN this is the end; -EBADMSG a gap.
 */
static int advance(struct weir_log_reader *reader)
{
    struct weir_log_scan *scan = &reader->scan;
    struct weir_slice next, again;
    uint32_t segment = reader->segment;
    int found = map_segment(reader, segment + 1, &next);
    if (found != 0 && found != -ENOENT)
        return found;
    int rc = map_segment(reader, segment, &again);
    if (rc == 0 && again.view.size > scan->input.size) {
        take_map(reader, segment, again, scan->end, scan->next);
    } else if (rc == 0) {
        weir_slice_drop(&again);
        if (found != 0)
            return -EAGAIN;
        struct weir_log_gap torn = {scan->end, scan->input.size - scan->end, scan->next, 0,
                                    scan->fault.reason};
        take_map(reader, segment + 1, next, 0, scan->next);
        if (torn.size_bytes == 0)
            return 0;
        /* Nobody goes on in a new file before the old one is whole. */
        scan->gap = torn;
        return -EBADMSG;
    }
    if (found == 0)
        weir_slice_drop(&next);
    return rc;
}

/* The next whole block, in this file or a later one. */
static int next_block(struct weir_log_reader *reader, bool heads_only)
{
    for (;;) {
        reader->scan.heads_only = heads_only;
        int rc = weir_log_scan_next(&reader->scan, &reader->found);
        if (rc == 0) {
            struct weir_log_entry entry = {reader->found.first, reader->found.offset,
                                           reader->segment};
            /* What cannot be noted takes longer to be found. */
            (void)weir_log_index_add(&reader->index, &entry);
            return 0;
        }
        if (rc == -EAGAIN)
            rc = advance(reader);
        if (rc != 0)
            return rc;
    }
}

int weir_log_reader_open(struct weir_log_reader *reader, struct weir_pool *pool, const char *path)
{
    struct weir_slice map;
    memset(reader, 0, sizeof *reader);
    reader->pool = pool;
    reader->path = path;
    int rc = map_segment(reader, 0, &map);
    if (rc != 0)
        return rc;
    weir_log_index_init(&reader->index, pool, INDEX_EVERY_BYTES);
    take_map(reader, 0, map, 0, 1);
    return 0;
}

void weir_log_reader_close(struct weir_log_reader *reader)
{
    if (reader->pool != NULL)
        weir_log_index_fini(&reader->index);
    weir_slice_drop(&reader->map);
    memset(reader, 0, sizeof *reader);
}

/* The messages of a block are not what its head says: it is as good as lost. */
static int refuse_block(struct weir_log_reader *reader)
{
    struct weir_log_gap *gap = &reader->scan.gap;
    gap->offset = reader->found.offset;
    gap->size_bytes = WEIR_LOG_HEAD_BYTES + reader->found.messages.size;
    gap->first = reader->messages.number + 1;
    gap->count = reader->messages.left;
    gap->reason = "the block does not hold as many messages as it says";
    reader->in_block = false;
    return -EBADMSG;
}

int weir_log_reader_next(struct weir_log_reader *reader, struct weir_log_message *ret)
{
    for (;;) {
        if (reader->in_block) {
            struct weir_view bytes;
            int rc = weir_log_messages_next(&reader->messages, &bytes);
            if (rc == -EBADMSG)
                return refuse_block(reader);
            if (rc == 0) {
                ret->number = reader->messages.number;
                ret->bytes = bytes;
                return 0;
            }
            reader->in_block = false;
        }
        int rc = next_block(reader, false);
        if (rc != 0)
            return rc;
        weir_log_messages_init(&reader->messages, &reader->found);
        reader->in_block = true;
    }
}

/* The block found by its head alone: see that it is whole, and pass over what is before @number. */
static int enter_block(struct weir_log_reader *reader, uint64_t number)
{
    struct weir_view ignored;
    weir_log_scan_seek(&reader->scan, reader->found.offset, reader->found.first);
    int rc = next_block(reader, false);
    if (rc != 0)
        return rc;
    weir_log_messages_init(&reader->messages, &reader->found);
    reader->in_block = true;
    while (reader->messages.number + 1 < number)
        if (weir_log_messages_next(&reader->messages, &ignored) != 0)
            return refuse_block(reader);
    return 0;
}

int weir_log_reader_seek(struct weir_log_reader *reader, uint64_t number)
{
    struct weir_log_entry entry = {1, 0, 0};
    struct weir_slice map;
    if (number == 0)
        return -EINVAL;
    int rc = weir_log_index_find(&reader->index, number, &entry);
    bool noted = rc == 0;
    rc = map_segment(reader, (uint32_t)entry.segment, &map);
    if (rc != 0)
        return rc;
    if (noted && entry.offset > map.view.size) {
        weir_slice_drop(&map);
        return -ENOENT; /* the file was cut since */
    }
    take_map(reader, (uint32_t)entry.segment, map, (size_t)entry.offset, entry.first);
    for (;;) {
        rc = next_block(reader, true);
        if (rc == -EBADMSG)
            continue;
        if (rc != 0)
            return rc == -EAGAIN ? -ENOENT : rc;
        if (number < reader->found.first + reader->found.count)
            break;
    }
    if (number >= reader->found.first)
        return enter_block(reader, number);
    /* It is in a gap: what follows is what is behind it. */
    weir_log_scan_seek(&reader->scan, reader->found.offset, reader->found.first);
    return -ENOENT;
}
