/* SPDX-License-Identifier: MIT */
/**
 * pool_pack: what a pool did and holds, as MessagePack.
 *
 * For a service that tells its counters to whoever asks, as `weir serve` does.
 *
 *     struct weir_pool_stats stats;
 *     struct weir_packer p;
 *     weir_pool_stats(pool, &stats);
 *     weir_pack_begin(&p, &buf, 0);
 *     weir_pool_pack_stats(&p, &stats);                        // one value: a map
 *     int rc = weir_pack_end(&p, NULL);
 *
 * Form         Keys are str, in an order that stays; numbers are integers from 0 up. A reader looks
 *              for the keys that it knows: later versions may add some.
 * Errors       are the packer's, sticky: see pack.h.
 * Threads      as the packer; the pool itself is not touched.
 */
#ifndef WEIR_POOL_PACK_H
#define WEIR_POOL_PACK_H

#include <weir/base.h>
#include <weir/pack.h>
#include <weir/pool.h>

WEIR_BEGIN_DECLS

/**
 * Write all counters as one map.
 *
 *     {blocks_in_use: 2, bytes_in_use: 128, allocations: 7, ...,        of all classes
 *      bytes_held: 2105344, ..., segments: 1, ...,                      of the pool
 *      classes: [{block_bytes: 64, blocks_in_use: 2, ..., blocks_peak: 3}, ...],
 *      large: {blocks_in_use: 0, ...}, adopted: {blocks_in_use: 0, ...}}
 *
 * What is told of all classes, of each class, of large and of adopted blocks has the same keys:
 * blocks_in_use, bytes_in_use, allocations, hits, misses, releases, remote_releases. The names are
 * those of struct weir_pool_stats, but for segments, its segment_count, and blocks_peak, its
 * class_peak_blocks.
 *
 * @stats    as weir_pool_stats() gave them; a class_count above WEIR_POOL_CLASSES_MAX is -EINVAL
 */
WEIR_API void weir_pool_pack_stats(struct weir_packer *packer, const struct weir_pool_stats *stats);

/**
 * Write the report of leaks: what weir_pool_tags() tells, as an array with a map for each tag.
 *
 *     [{tag: "session", blocks: 3, bytes: 600, oldest_ns: 52000000}, {tag: nil, ...}]
 *
 * @tags     as weir_pool_tags() gave them, @count of them; may be NULL if that is 0
 */
WEIR_API void weir_pool_pack_tags(struct weir_packer *packer,
                                  const struct weir_pool_tag_stats *tags, size_t count);

WEIR_END_DECLS

#endif /* WEIR_POOL_PACK_H */
