/* SPDX-License-Identifier: MIT */
/**
 * check: bytes are looked through once, thoroughly, and trusted afterwards.
 *
 * weir_check() of unpack.h says whether bytes are MessagePack within limits. This says more, where
 * that is wanted: text that is UTF-8, keys that are there once, the canonical form. What has passed
 * is a weir_checked, which a weir_walk (walk.h) reads without looking at the end of the input.
 *
 *     struct weir_check_options options = {.flags = WEIR_CHECK_UTF8 | WEIR_CHECK_CANONICAL};
 *     struct weir_checked checked;
 *     struct weir_fault fault;
 *     char path[256];
 *     if (weir_check_with(message, &options, &checked, &fault) != 0) {
 *         weir_path_of(message, fault.offset, path, sizeof(path));
 *         report("%s at byte %zu, %s", fault.reason, fault.offset, path);   // "/orders/3/price"
 *     }
 *
 * The canonical form   is what weir_pack_end_canonical() writes: integers, lengths and counts in
 *              their shortest form, integers from 0 up unsigned, an ext of 1, 2, 4, 8 or 16 bytes
 *              fixext; the pairs of a map sorted by the bytes of their encoded keys, as memcmp(3)
 *              orders them, and no two keys equal. Floats keep their width and their bits, NaN
 *              included; what a str, bin or ext contains is not looked at, timestamps included.
 * Equal keys   are of one type and one value, in whatever form they are written: integers by
 *              number, str, bin and ext by their bytes, an ext by its type too. 1, 1.0 as float 32,
 *              1.0 as float 64 and "1" are four keys; floats are equal if their bits are. An array
 *              or map as a key is equal to one that is encoded in the same bytes; in canonical form
 *              that is every equal one.
 * Bounds       linear in the bytes; for WEIR_CHECK_UNIQUE a sort of the keys of each map, in place
 *              and never worse than n log n, whatever they are. An array or map that is a key is
 *              compared as bytes, each of them as often as keys lie around it: as deep as the limit
 *              allows at most. No recursion.
 * Threads      any; the arena's rule where one is given.
 * Errors       0 or a negative errno, and in the fault the offset of the value that is to blame.
 */
#ifndef WEIR_CHECK_H
#define WEIR_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include <weir/arena.h>
#include <weir/base.h>
#include <weir/unpack.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/* What is looked at besides what weir_check() looks at. */
#define WEIR_CHECK_UTF8 UINT32_C(0x1)      /* every str is well-formed UTF-8 (RFC 3629) */
#define WEIR_CHECK_CANONICAL UINT32_C(0x2) /* the canonical form, hence unique keys too */
#define WEIR_CHECK_UNIQUE UINT32_C(0x4)    /* no map has two equal keys */
#define WEIR_CHECK_SINGLE UINT32_C(0x8)    /* the input is exactly one value */

/** How to check. Zeroed: as weir_check(). */
struct weir_check_options {
    struct weir_limits limits;
    uint32_t flags; /**< WEIR_CHECK_ bits */
    /** For WEIR_CHECK_UNIQUE without WEIR_CHECK_CANONICAL: where keys are kept while the maps that
     * they are in are open, up to 160 bytes each. It is as before when the check returns. */
    struct weir_arena *arena;
};

/** Bytes that weir_check_with() has accepted. Made by it, and by reading what it has made. */
struct weir_checked {
    struct weir_view view; /* private: read it by weir_checked_view(), write it never */
};

/**
 * Whether @input is whole, well-formed values, none or many, within the limits, and as the flags
 * want it.
 *
 * @options    NULL or zeroed: as weir_check()
 * @ret        NULL, or receives the checked input, on success only. It borrows: valid as long as
 *             @input is, and checked as long as nobody writes to that.
 * @ret_fault  NULL, or receives what is wrong; error 0 and the input's size if nothing is
 * Returns     0; -EAGAIN the last value is cut off, or with WEIR_CHECK_SINGLE there is none;
 *             -EBADMSG malformed, or not as the flags want it; -ENOBUFS a limit, or the arena's is
 *             reached; -ENOMEM the arena's source failed; -EINVAL limits.depth above
 *             WEIR_DEPTH_MAX, or an arena is missing.
 * Cost        see Bounds. 8 KiB of stack, 56 KiB where limits.depth is above 128.
 */
WEIR_API int weir_check_with(struct weir_view input, const struct weir_check_options *options,
                             struct weir_checked *ret, struct weir_fault *ret_fault);

/** The bytes of @checked, to be read. */
WEIR_INLINE struct weir_view weir_checked_view(struct weir_checked checked);

/**
 * The path that leads to what lies at @offset of @input, for people and for weir_unpack_path().
 *
 * It names the innermost value that the offset lies in, or that should begin there, from the value
 * at the top that it is part of: "" that one itself, "/orders/3/price", "/~@2" the third key of a
 * map, "/~#2" its value where the key is no str or integer. Bytes of keys stay as they are, but for
 * ~ and /, which become ~0 and ~1.
 *
 * @input       any bytes: up to the first fault in them the offset is followed. That they are too
 *              few for what an array or map announces is none; the rest may be still to come.
 * @ret         receives the path and a NUL, cut off if it does not fit; may be NULL if @size_bytes
 *              is 0
 * Returns      the path's size without the NUL, had it fitted.
 * Cost         linear in the bytes before the offset; 40 KiB of stack. For reports.
 */
WEIR_API size_t weir_path_of(struct weir_view input, size_t offset, char *ret, size_t size_bytes);

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE struct weir_view weir_checked_view(struct weir_checked checked)
{
    return checked.view;
}

WEIR_END_DECLS

#endif /* WEIR_CHECK_H */
