/* SPDX-License-Identifier: MIT */
#include "bulk_scalar.h"

/* clang-format off */
#define FIXINT {0, 0, 56, 1}
#define UINT8 {WEIR_TAG_UINT8, 1, 56, 2}
#define UINT16 {WEIR_TAG_UINT16, 1, 48, 3}
#define UINT32 {WEIR_TAG_UINT32, 1, 32, 5}
#define UINT64 {WEIR_TAG_UINT64, 1, 0, 9}
#define FOUR(...) __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__
#define EIGHT(...) FOUR(__VA_ARGS__), FOUR(__VA_ARGS__)
#define SIXTEEN(...) EIGHT(__VA_ARGS__), EIGHT(__VA_ARGS__)

const struct weir__bulk_form weir__bulk_forms[64] = {
    FOUR(FIXINT), FIXINT, FIXINT, FIXINT, UINT8,
    EIGHT(UINT16),
    SIXTEEN(UINT32),
    SIXTEEN(UINT64), SIXTEEN(UINT64),
};
/* clang-format on */

WEIR__BULK_INTEGERS()

static void pack_f32(struct weir__bulk_pack *job)
{
    weir__bulk_pack_floats(job, 4);
}

static void pack_f64(struct weir__bulk_pack *job)
{
    weir__bulk_pack_floats(job, 8);
}

static void unpack_f32(struct weir__bulk_unpack *job)
{
    weir__bulk_unpack_floats32(job);
}

static void unpack_f64(struct weir__bulk_unpack *job)
{
    weir__bulk_unpack_floats64(job);
}

const struct weir__bulk_way weir__bulk_scalar = {
    .name = "scalar",
    .bytes = {WEIR__BULK_OF_INTEGERS(bytes)},
    .pack = {WEIR__BULK_OF_ALL(pack)},
    .unpack = {WEIR__BULK_OF_ALL(unpack)},
};
