/* SPDX-License-Identifier: MIT */
/**
 * check_private: the keys of the maps that are open, kept to find equal ones.
 */
#ifndef WEIR_CHECK_PRIVATE_H
#define WEIR_CHECK_PRIVATE_H

#include "weir/check.h"

/** A key, so that equal ones are equal in kind, size and what follows from bits. */
struct weir__key {
    uint64_t bits;  /* of a number its bits; of others the offset of the bytes to compare */
    size_t size;    /* of these bytes; 0 of a number */
    size_t offset;  /* of the key */
    uint32_t kind;  /* enum weir_type, and of an ext its type */
    bool has_bytes; /* bits is an offset */
};

/** The keys of the maps that are open, those of the innermost one last. */
struct weir__keys {
    struct weir_view input;
    struct weir_arena *arena;
    struct weir__key *all; /* in the arena */
    size_t count;
    size_t capacity;
};

/** Append the key whose encoding is the @size bytes at @offset, which were checked. Returns 0 or
 * the arena's error. */
int weir__keys_push(struct weir__keys *keys, size_t offset, size_t size);

/**
 * Remove the keys from @first on, which are those of one map.
 *
 * Returns   whether no two of them were equal; if not, *@ret_offset is that of the first key that
 *           was there before.
 */
bool weir__keys_pop(struct weir__keys *keys, size_t first, size_t *ret_offset);

#endif /* WEIR_CHECK_PRIVATE_H */
