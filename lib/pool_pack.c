/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <weir/pool_pack.h>

/* A counter by name. */
struct row {
    const char *name;
    size_t offset; /* of an uint64_t in the struct that it is a counter of */
};

#define ROW(type, field)                                \
    {                                                   \
        .name = #field, .offset = offsetof(type, field) \
    }
#define CLASS_ROW(field) ROW(struct weir_pool_class_stats, field)
#define POOL_ROW(field) ROW(struct weir_pool_stats, field)

/* Of a class, of large and adopted blocks, and of all together. */
static const struct row class_rows[] = {
    CLASS_ROW(blocks_in_use), CLASS_ROW(bytes_in_use), CLASS_ROW(allocations),     CLASS_ROW(hits),
    CLASS_ROW(misses),        CLASS_ROW(releases),     CLASS_ROW(remote_releases),
};

static const struct row pool_rows[] = {
    POOL_ROW(bytes_in_use_peak),
    POOL_ROW(bytes_held),
    POOL_ROW(bytes_held_peak),
    POOL_ROW(bytes_free),
    POOL_ROW(source_calls),
    POOL_ROW(source_bytes_returned),
    POOL_ROW(sweeps),
    POOL_ROW(slabs_emptied),
    POOL_ROW(tracked),
    POOL_ROW(tracked_lost),
};

#define CLASS_ROWS (sizeof class_rows / sizeof class_rows[0])
#define POOL_ROWS (sizeof pool_rows / sizeof pool_rows[0])

static void pack_number(struct weir_packer *packer, const char *name, uint64_t value)
{
    weir_pack_text(packer, name);
    weir_pack_uint(packer, value);
}

static void pack_rows(struct weir_packer *packer, const struct row *rows, size_t count,
                      const void *stats)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, (const uint8_t *)stats + rows[i].offset, sizeof value);
        pack_number(packer, rows[i].name, value);
    }
}

static void pack_kind(struct weir_packer *packer, const char *name,
                      const struct weir_pool_class_stats *stats)
{
    weir_pack_text(packer, name);
    weir_pack_map(packer, CLASS_ROWS);
    pack_rows(packer, class_rows, CLASS_ROWS, stats);
}

void weir_pool_pack_stats(struct weir_packer *packer, const struct weir_pool_stats *stats)
{
    if (stats->class_count > WEIR_POOL_CLASSES_MAX) {
        weir_pack_fail(packer, -EINVAL);
        return;
    }
    /* Beside the counters: segments, classes, large, adopted. */
    weir_pack_map(packer, CLASS_ROWS + POOL_ROWS + 4);
    pack_rows(packer, class_rows, CLASS_ROWS, &stats->total);
    pack_rows(packer, pool_rows, POOL_ROWS, stats);
    pack_number(packer, "segments", stats->segment_count);
    weir_pack_text(packer, "classes");
    weir_pack_array(packer, stats->class_count);
    for (uint32_t i = 0; i < stats->class_count; i++) {
        weir_pack_map(packer, CLASS_ROWS + 2);
        pack_number(packer, "block_bytes", stats->classes[i].block_bytes);
        pack_rows(packer, class_rows, CLASS_ROWS, &stats->classes[i]);
        pack_number(packer, "blocks_peak", stats->class_peak_blocks[i]);
    }
    pack_kind(packer, "large", &stats->large);
    pack_kind(packer, "adopted", &stats->adopted);
}

void weir_pool_pack_tags(struct weir_packer *packer, const struct weir_pool_tag_stats *tags,
                         size_t count)
{
    weir_pack_array(packer, count);
    for (size_t i = 0; i < count; i++) {
        weir_pack_map(packer, 4);
        weir_pack_text(packer, "tag");
        if (tags[i].tag != NULL)
            weir_pack_text(packer, tags[i].tag);
        else
            weir_pack_nil(packer);
        pack_number(packer, "blocks", tags[i].blocks);
        pack_number(packer, "bytes", tags[i].bytes);
        pack_number(packer, "oldest_ns", tags[i].oldest_ns);
    }
}
