/* SPDX-License-Identifier: MIT */
/**
 * bulk_private: the ways to encode and decode many numbers, of which bulk.c takes the best one.
 *
 * A way is a table of functions, one for each type. Each works on a job: it takes what it can,
 * moves the job's fields behind that, and leaves the rest, which may be everything, to a simpler
 * way. So a function for 64 bytes at a time need not care for the last few bytes or for forms that
 * are rare, and none of them knows about errors: what nobody takes is read by the plain cursor,
 * which says what is wrong.
 */
#ifndef WEIR_BULK_PRIVATE_H
#define WEIR_BULK_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/bulk.h"

/* AVX2 and AVX-512 are compiled for every x86-64, and taken where the processor has them. */
#if defined(__x86_64__) && (defined(__clang__) || __GNUC__ >= 8)
#define WEIR__BULK_X86 1
#else
#define WEIR__BULK_X86 0
#endif

enum weir__bulk_type {
    WEIR__BULK_U8,
    WEIR__BULK_U16,
    WEIR__BULK_U32,
    WEIR__BULK_U64,
    WEIR__BULK_I8,
    WEIR__BULK_I16,
    WEIR__BULK_I32,
    WEIR__BULK_I64,
    WEIR__BULK_F32,
    WEIR__BULK_F64
};
#define WEIR__BULK_TYPES 10u
#define WEIR__BULK_INTEGER_TYPES 8u /* which come first */

/** Values to be encoded. Bytes up to @end may be written to, also behind what is encoded. */
struct weir__bulk_pack {
    uint8_t *at;
    uint8_t *end;
    const uint8_t *values;
    size_t count;
};

/** Values to be decoded. Of @values at most @count are written, perhaps more than are taken. */
struct weir__bulk_unpack {
    const uint8_t *at;
    const uint8_t *end;
    uint8_t *values;
    size_t count;
};

/** A way. Every function is there. */
struct weir__bulk_way {
    const char *name;
    /** How many bytes @count integers take, 2^32 - 1 of them at most. */
    void (*bytes[WEIR__BULK_INTEGER_TYPES])(const uint8_t *values, size_t count, uint64_t *ret);
    void (*pack[WEIR__BULK_TYPES])(struct weir__bulk_pack *job);
    void (*unpack[WEIR__BULK_TYPES])(struct weir__bulk_unpack *job);
};

/** Takes everything but encodings that might not fit into the 9 bytes before the end. */
extern const struct weir__bulk_way weir__bulk_scalar;
#if WEIR__BULK_X86
extern const struct weir__bulk_way weir__bulk_avx2;
extern const struct weir__bulk_way weir__bulk_avx512;
#endif

/** The ways that this processor can go, the best one being number 0; NULL behind the last. */
const struct weir__bulk_way *weir__bulk_way(unsigned index);

/** What the public functions do, by a given way. */
void weir__bulk_pack(struct weir_packer *packer, const struct weir__bulk_way *way,
                     enum weir__bulk_type type, const void *values, size_t count);
int weir__bulk_unpack(struct weir_unpacker *unpacker, const struct weir__bulk_way *way,
                      enum weir__bulk_type type, void *ret, size_t capacity, size_t *ret_count);

#endif /* WEIR_BULK_PRIVATE_H */
