/* SPDX-License-Identifier: MIT */
/**
 * canonical: one encoding for each value, for what is signed, hashed or compared as bytes.
 *
 *     weir_pack_begin(&p, &buf, 0);
 *     weir_pack_map(&p, 2);
 *     weir_pack_key(&p, "to");
 *     weir_pack_uint(&p, 7);
 *     weir_pack_key(&p, "at");
 *     weir_pack_u64(&p, 12);
 *     int rc = weir_pack_end_canonical(&p, NULL, &message);   // {"at": 12, "to": 7}, 9 bytes
 *
 * Bytes that came from elsewhere are brought into this form by packing them with weir_pack_raw().
 *
 * The form     Integers, lengths and counts are in their shortest form, integers from 0 up are
 *              unsigned, an ext of 1, 2, 4, 8 or 16 bytes is a fixext. The pairs of a map are
 *              sorted by the bytes of their encoded keys, as memcmp(3) orders them, and no two
 *              keys are equal. Nothing else is changed: floats keep their width and their bits,
 *              NaN included; the bytes of a str, bin or ext are the caller's, and so is which form
 *              a timestamp has (weir_pack_timestamp() takes the shortest). Keys are equal if their
 *              encoded bytes are: 1 and 1.0 are not.
 * Errors       are the packer's: see pack.h.
 * Threads      as the packer.
 */
#ifndef WEIR_CANONICAL_H
#define WEIR_CANONICAL_H

#include <weir/base.h>
#include <weir/pack.h>
#include <weir/unpack.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/**
 * End a message and give it its canonical form. Instead of weir_pack_end().
 *
 * The message is rewritten in its place, before anybody has seen it. One that was canonical already
 * is only looked at.
 *
 * @limits      NULL or zeroed: the defaults; depth is all that is looked at
 * @ret         NULL, or receives the bytes, on success only; as weir_pack_end()
 * Returns      0 or the first error; besides those of weir_pack_end() -EBADMSG two equal keys in a
 *              map, and the offset is that of the second; a container that lacks values; bytes of
 *              weir_pack_raw() that are no MessagePack; -ENOBUFS it is nested deeper than the
 *              limit; -EINVAL slices were linked into it; -ENOMEM the source failed. Offsets are
 *              those of the message as it was packed.
 * Cost         a pass over the heads. What is not in its shortest form moves what comes after it,
 *              and a map that is not sorted is copied twice with all that is in it, counted in
 *              bytes_copied: maps within each other that are all unsorted copy up to twice their
 *              size for each level, which the limit of depth bounds. Blocks of the buffer's pool
 *              for the time of the call: 32 bytes for each pair of the maps that contain each
 *              other, and as large as the largest map that is not sorted.
 */
WEIR_API int weir_pack_end_canonical(struct weir_packer *packer, const struct weir_limits *limits,
                                     struct weir_view *ret);

WEIR_END_DECLS

#endif /* WEIR_CANONICAL_H */
