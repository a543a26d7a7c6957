/* SPDX-License-Identifier: MIT */
#include "weir/wire.h"
#include "wire_private.h"

/* clang-format off */
#define SCALAR(bytes) {(bytes), 0, 0, WEIR_WIRE_SCALAR}
#define FIXED(kind, bytes, value) {(bytes), 0, (value), (kind)}
#define COUNTED(kind, bytes, width) {(bytes), (width), 0, (kind)}

#define SCALARS_4 SCALAR(1), SCALAR(1), SCALAR(1), SCALAR(1)
#define SCALARS_16 SCALARS_4, SCALARS_4, SCALARS_4, SCALARS_4
#define SCALARS_32 SCALARS_16, SCALARS_16
#define FIXED_8(kind, from)                                                                        \
    FIXED(kind, 1, (from)), FIXED(kind, 1, (from) + 1), FIXED(kind, 1, (from) + 2),                \
        FIXED(kind, 1, (from) + 3), FIXED(kind, 1, (from) + 4), FIXED(kind, 1, (from) + 5),        \
        FIXED(kind, 1, (from) + 6), FIXED(kind, 1, (from) + 7)
#define FIXED_16(kind, from) FIXED_8(kind, from), FIXED_8(kind, (from) + 8)

/* In the order of the tags, which the specification's table "Formats" has too. */
const struct weir_wire_tag weir_wire_tags[256] = {
    /* 0x00..0x7f positive fixint */
    SCALARS_32, SCALARS_32, SCALARS_32, SCALARS_32,
    /* 0x80..0x8f fixmap, 0x90..0x9f fixarray, 0xa0..0xbf fixstr */
    FIXED_16(WEIR_WIRE_MAP, 0), FIXED_16(WEIR_WIRE_ARRAY, 0),
    FIXED_16(WEIR_WIRE_BYTES, 0), FIXED_16(WEIR_WIRE_BYTES, 16),
    /* 0xc0 nil, 0xc1 never used, 0xc2 false, 0xc3 true */
    SCALAR(1), FIXED(WEIR_WIRE_BAD, 1, 0), SCALAR(1), SCALAR(1),
    /* 0xc4..0xc6 bin 8, 16, 32 */
    COUNTED(WEIR_WIRE_BYTES, 2, 1), COUNTED(WEIR_WIRE_BYTES, 3, 2), COUNTED(WEIR_WIRE_BYTES, 5, 4),
    /* 0xc7..0xc9 ext 8, 16, 32: the type byte follows the length */
    COUNTED(WEIR_WIRE_BYTES, 3, 1), COUNTED(WEIR_WIRE_BYTES, 4, 2), COUNTED(WEIR_WIRE_BYTES, 6, 4),
    /* 0xca float 32, 0xcb float 64 */
    SCALAR(5), SCALAR(9),
    /* 0xcc..0xcf uint 8, 16, 32, 64 */
    SCALAR(2), SCALAR(3), SCALAR(5), SCALAR(9),
    /* 0xd0..0xd3 int 8, 16, 32, 64 */
    SCALAR(2), SCALAR(3), SCALAR(5), SCALAR(9),
    /* 0xd4..0xd8 fixext 1, 2, 4, 8, 16: tag and type, then the bytes */
    FIXED(WEIR_WIRE_BYTES, 2, 1), FIXED(WEIR_WIRE_BYTES, 2, 2), FIXED(WEIR_WIRE_BYTES, 2, 4),
    FIXED(WEIR_WIRE_BYTES, 2, 8), FIXED(WEIR_WIRE_BYTES, 2, 16),
    /* 0xd9..0xdb str 8, 16, 32 */
    COUNTED(WEIR_WIRE_BYTES, 2, 1), COUNTED(WEIR_WIRE_BYTES, 3, 2), COUNTED(WEIR_WIRE_BYTES, 5, 4),
    /* 0xdc, 0xdd array 16, 32; 0xde, 0xdf map 16, 32 */
    COUNTED(WEIR_WIRE_ARRAY, 3, 2), COUNTED(WEIR_WIRE_ARRAY, 5, 4),
    COUNTED(WEIR_WIRE_MAP, 3, 2), COUNTED(WEIR_WIRE_MAP, 5, 4),
    /* 0xe0..0xff negative fixint */
    SCALARS_32,
};

#define ONES_16 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
#define NONE_16 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0

const uint8_t weir__wire_steps[256] = {
    /* positive fixint */
    ONES_16, ONES_16, ONES_16, ONES_16, ONES_16, ONES_16, ONES_16, ONES_16,
    /* fixmap, fixarray, fixstr */
    NONE_16, NONE_16,
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
    /* 0xc0: nil, none, false, true; bin; ext; float 32 and 64; uint */
    1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9,
    /* 0xd0: int; fixext; str; array, map */
    2, 3, 5, 9, 3, 4, 6, 10, 18, 0, 0, 0, 0, 0, 0, 0,
    /* negative fixint */
    ONES_16, ONES_16,
};
/* clang-format on */
