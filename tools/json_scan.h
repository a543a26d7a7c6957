/* SPDX-License-Identifier: MIT */
/*
 * json_scan: which maps of a MessagePack value can be JSON objects. A map's head comes before its
 * keys, so this is found out before anything is written, in one pass, whatever the nesting.
 *
 * Cost     linear in the bytes; a bit per map, and 8 bytes per key of the maps that are open at a
 *          time, with a hash table above a few keys.
 */
#ifndef TOOLS_JSON_SCAN_H
#define TOOLS_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/unpack.h>

#include "vec.h"

/* An array or map that is open. */
struct json_scan_frame {
    uint64_t values_left; /* of a map, keys and values */
    size_t map;           /* index of the map in the order of heads */
    size_t keys_from;     /* its first key in keys */
    uint32_t count;       /* pairs */
    bool is_map;
    bool is_object; /* as far as is known */
};

struct json_scan {
    struct vec objects; /* a bit per map, in the order of their heads: it is a JSON object */
    struct vec keys;
    struct vec table;
    uint64_t seed;
    uint32_t depth;
    struct json_scan_frame frames[WEIR_DEPTH_MAX];
};

void json_scan_init(struct json_scan *scan, struct weir_pool *pool);
void json_scan_fini(struct json_scan *scan);

/*
 * Look through @value: one value that weir_check() has accepted, of less than 4 GiB. Returns 0,
 * -ENOMEM, -ENOBUFS; -EBADMSG, -EAGAIN, -EOVERFLOW: that was not so.
 */
int json_scan_value(struct json_scan *scan, struct weir_view value);

/* Whether the @map-th map of the value looked through last is a JSON object. */
bool json_scan_is_object(const struct json_scan *scan, size_t map);

#endif
