/* SPDX-License-Identifier: MIT */
/**
 * view: borrowed bytes.
 *
 * A view is a pointer and a size, passed by value. It owns nothing: it stays valid exactly as long
 * as the memory it points into, which the function that returned it states.
 *
 *     struct weir_view line = weir_view_text("GET /index");
 *     struct weir_view verb;
 *     if (weir_view_slice(line, 0, 3, &verb) == 0 && weir_view_equal(verb, weir_view_text("GET")))
 *         serve_get(line);
 *
 * Invariants   size == 0 allows any data, NULL included; otherwise data points to size readable
 *              bytes. A hash of bytes that come in pieces is that of the bytes in one piece,
 *              wherever they are cut.
 * Threads      a view is a value; reading through it follows the rules of what it points into.
 * Errors       0 or a negative errno, see each function.
 */
#ifndef WEIR_VIEW_H
#define WEIR_VIEW_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/base.h>

WEIR_BEGIN_DECLS

/** Borrowed bytes: @size bytes at @data. */
struct weir_view {
    const uint8_t *data;
    size_t size;
};

/** The @size bytes at @data as a view. No cost. Valid as long as @data is. */
WEIR_INLINE struct weir_view weir_view_of(const void *data, size_t size);

/** A NUL-terminated string as a view, the NUL not included. @text is not NULL. */
WEIR_INLINE struct weir_view weir_view_text(const char *text);

/**
 * Part of a view: @size bytes from @offset.
 *
 * @ret      written on success only; borrows from the same memory as @view
 * Returns   0; -EOVERFLOW the part does not lie within @view (any values are safe to pass).
 */
WEIR_INLINE int weir_view_slice(struct weir_view view, size_t offset, size_t size,
                                struct weir_view *ret);

/**
 * Order of two views: bytewise as memcmp(3), a prefix before what it begins.
 *
 * Returns   a number below, equal to or above 0.
 */
WEIR_INLINE int weir_view_compare(struct weir_view a, struct weir_view b);

/** Whether two views have the same size and the same bytes. */
WEIR_INLINE bool weir_view_equal(struct weir_view a, struct weir_view b);

/**
 * A 64-bit hash of the bytes, for hash tables.
 *
 * Not cryptographic. The same bytes and seed give the same hash within one version of weir on
 * machines of one byte order; do not store it. Give tables that hold hostile keys a random seed.
 *
 * @seed     any value; different seeds give unrelated hashes
 * Cost      about a multiplication per 16 bytes; no allocation.
 */
WEIR_API uint64_t weir_view_hash(struct weir_view view, uint64_t seed);

/** A hash of bytes that come in pieces. The caller's storage, a value; fields are private. */
struct weir_view_hasher {
    uint64_t secret;
    uint64_t state;
    size_t size_bytes; /* of all that was added */
    uint8_t tail[16];  /* the last bytes, which the end treats in another way */
    uint32_t tail_size;
};

/**
 * Begin a hash that pieces are added to. There is nothing to fini.
 *
 * @hash     the caller's storage, any content; may be copied to go on from here twice
 * @seed     as of weir_view_hash()
 */
WEIR_API void weir_view_hash_begin(struct weir_view_hasher *hash, uint64_t seed);

/** Add the next bytes, any number of them. They are not needed afterwards. Cost: as hashing them.
 */
WEIR_API void weir_view_hash_add(struct weir_view_hasher *hash, struct weir_view piece);

/**
 * What weir_view_hash() returns for all the bytes that were added, in one view.
 *
 * @hash     as it is: more may be added, and this be asked again
 */
WEIR_API uint64_t weir_view_hash_end(const struct weir_view_hasher *hash);

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE struct weir_view weir_view_of(const void *data, size_t size)
{
    struct weir_view view = {(const uint8_t *)data, size};
    return view;
}

WEIR_INLINE struct weir_view weir_view_text(const char *text)
{
    return weir_view_of(text, strlen(text));
}

WEIR_INLINE int weir_view_slice(struct weir_view view, size_t offset, size_t size,
                                struct weir_view *ret)
{
    if (offset > view.size || size > view.size - offset)
        return -EOVERFLOW;
    *ret = weir_view_of(size == 0 ? view.data : view.data + offset, size);
    return 0;
}

WEIR_INLINE int weir_view_compare(struct weir_view a, struct weir_view b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

WEIR_INLINE bool weir_view_equal(struct weir_view a, struct weir_view b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

WEIR_END_DECLS

#endif /* WEIR_VIEW_H */
