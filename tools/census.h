/* SPDX-License-Identifier: MIT */
/*
 * census: what MessagePack values are made of: types, sizes, depths, and what shorter forms save.
 *
 *     struct census census;
 *     census_init(&census);
 *     rc = census_add(&census, value);      // for each value of a file
 *     weir_pack_map(&packer, CENSUS_SECTIONS);
 *     census_pack(&packer, &census);        // then it is what stat_table_print() takes
 */
#ifndef TOOLS_CENSUS_H
#define TOOLS_CENSUS_H

#include <stdint.h>

#include <weir/pack.h>
#include <weir/unpack.h>
#include <weir/view.h>

/* Values of up to 2^i bytes; the last one has all above. */
#define CENSUS_SIZES 33

enum census_type {
    CENSUS_NIL,
    CENSUS_BOOL,
    CENSUS_INTEGER,
    CENSUS_FLOAT32,
    CENSUS_FLOAT64,
    CENSUS_STR,
    CENSUS_BIN,
    CENSUS_ARRAY,
    CENSUS_MAP,
    CENSUS_TIMESTAMP,
    CENSUS_EXT,
    CENSUS_TYPES
};

/* Of one type. The length is that of the payload, or the count of elements or pairs. */
struct census_row {
    uint64_t count;
    uint64_t bytes; /* of an array or map its head's only */
    uint64_t savings_bytes;
    uint64_t length_least; /* of those that have one; UINT64_MAX: there was none */
    uint64_t length_most;
};

struct census {
    uint64_t values;
    uint64_t bytes;
    uint64_t value_bytes_least; /* UINT64_MAX: there was none */
    uint64_t value_bytes_most;
    uint64_t sizes[CENSUS_SIZES];        /* values of up to 2^i bytes */
    uint64_t depths[WEIR_DEPTH_MAX + 1]; /* elements within i arrays and maps */
    struct census_row types[CENSUS_TYPES];
};

void census_init(struct census *census);

/*
 * Count one value, which weir_check() has accepted. Returns 0; -EOVERFLOW it is nested deeper than
 * WEIR_DEPTH_MAX, -EBADMSG it was not checked: the census is of no use then.
 */
int census_add(struct census *census, struct weir_view value);

/* Pairs that census_pack() writes. */
#define CENSUS_SECTIONS 4

/* Write the census as pairs of a map that is begun: sections, each a map of counters by name. */
void census_pack(struct weir_packer *packer, const struct census *census);

#endif
