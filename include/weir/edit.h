/* SPDX-License-Identifier: MIT */
/**
 * edit: change a value of a packed message, without decoding and packing the rest.
 *
 * In place, where the new value takes as many bytes as the old one and nobody else reads them; or
 * by splicing: a new chain of slices that shares every byte that stays as it is.
 *
 *     struct weir_unpacker u;                        // find "seq", then
 *     size_t at = weir_unpack_offset(&u);
 *     weir_edit_uint(message, size_bytes, at, 7);    // in the width that is there
 *
 *     struct weir_chain changed;
 *     weir_chain_init(&changed, pool);
 *     int rc = weir_edit_replace(&original, at, 5, &new_value, &changed);
 *     rc = weir_edit_set(&original, 0, weir_view_text("name"), &new_name, &changed);  // or so
 *     weir_chain_iovecs(&changed, 0, iov, 8);        // to be sent
 *
 * Invariants   Bytes do not move. Splicing writes to none of the message's bytes, so every view and
 *              slice of it stays valid and as it was; the count of an array or map is written anew,
 *              into a block of its own, for in place others would see it. In place, whoever has a
 *              view of the same bytes sees the new value: see weir_edit_writable().
 * Errors       -EAGAIN the bytes end before the value does; -EBADMSG malformed; -EPROTO the value
 *              is of another kind than the call is for; -EOVERFLOW it does not fit the place, or
 *              2^32-1 is exceeded; -ENOENT no such element or key; -ENOMEM, -ENOBUFS as
 *              weir_pool_alloc(). On an error everything is as before the call.
 * Bounds       no recursion; nothing is believed that is not there. Each walk is linear in the
 *              bytes that it passes over, strs and the like not looked into.
 * Threads      in place: the caller's sole business. Splicing: the owner of the result's pool.
 */
#ifndef WEIR_EDIT_H
#define WEIR_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/chain.h>
#include <weir/slice.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/* --- in place ------------------------------------------------------------------------------ */

/**
 * The bytes of a slice, to be written to, if its reference is the only one on its block.
 *
 * @ret      written on success only; slice->view.size bytes, valid as long as the slice is
 * Returns   0; -EBUSY others hold the block, and would see what is written; -EINVAL the bytes are
 *           nobody's, so whether they may be written to is for the caller to know.
 */
WEIR_API int weir_edit_writable(const struct weir_slice *slice, uint8_t **ret);

/*
 * All of these: @message, of @size_bytes, may be written to and is read by nobody else meanwhile;
 * @offset_bytes is where the value begins in it, as weir_unpack_offset() tells. Nothing but the
 * value's own bytes is written.
 */

/** Write a bool over a bool. */
WEIR_API int weir_edit_bool(void *message, size_t size_bytes, size_t offset_bytes, bool value);

/**
 * Write an integer over an integer of any kind, in the width that is there.
 *
 * The form stays the same where @value fits it; otherwise the other one of that width is taken, as
 * int 32 for uint 32. So 5 bytes take -2^31..2^32-1, and 1 byte -32..127.
 *
 * Returns   0; -EOVERFLOW @value takes more bytes than there are.
 */
WEIR_API int weir_edit_uint(void *message, size_t size_bytes, size_t offset_bytes, uint64_t value);
WEIR_API int weir_edit_int(void *message, size_t size_bytes, size_t offset_bytes, int64_t value);

/** Write a float 32 over a float 32; a float 64 is -EPROTO. */
WEIR_API int weir_edit_f32(void *message, size_t size_bytes, size_t offset_bytes, float value);

/** Write a float 64 over a float 64; a float 32 is -EPROTO. */
WEIR_API int weir_edit_f64(void *message, size_t size_bytes, size_t offset_bytes, double value);

/** Write a str over one of the same size, else -EOVERFLOW. @text lies elsewhere. */
WEIR_API int weir_edit_str(void *message, size_t size_bytes, size_t offset_bytes,
                           struct weir_view text);

/** Write a bin over one of the same size, else -EOVERFLOW. @bytes lies elsewhere. */
WEIR_API int weir_edit_bin(void *message, size_t size_bytes, size_t offset_bytes,
                           struct weir_view bytes);

/**
 * Write any packed value over any other, with all they contain, of the same size.
 *
 * @value    one value, which lies elsewhere
 * Returns   0; -EOVERFLOW the sizes differ; -EAGAIN, -EBADMSG also for @value.
 */
WEIR_API int weir_edit_value(void *message, size_t size_bytes, size_t offset_bytes,
                             struct weir_view value);

/* --- by splicing --------------------------------------------------------------------------- */

/*
 * All of these: @message may be one slice as well as many, and is walked across the joints.
 * @offset_bytes is where a value begins in it. @ret is initialised, empty, and not @message; on an
 * error it stays empty. It has references of its own, and small blocks of its pool for new heads;
 * new values are shared like old ones and stay the caller's, too. The result of one edit may be the
 * message of the next one; each leaves more and smaller slices (weir_chain_flatten()).
 */

/** As an index: behind the last element. */
#define WEIR_EDIT_END UINT32_MAX

/**
 * Replace the value at @offset_bytes, with all it contains, by another one.
 *
 * @value    one packed value, or -EINVAL
 */
WEIR_API int weir_edit_replace(const struct weir_chain *message, size_t offset_bytes,
                               const struct weir_slice *value, struct weir_chain *ret);

/**
 * Insert elements into the array at @offset_bytes, or pairs into the map.
 *
 * @index    of the element or pair that they go before; WEIR_EDIT_END, or the count: at the end
 * @values   packed, one after the other; for a map key, value, key, value. -EINVAL they are cut off
 *           or malformed, or a key lacks its value. Whether a map has the key already is not looked
 *           at.
 * Returns   0; -ENOENT @index is above the count; -EOVERFLOW there would be more than 2^32-1. The
 *           head keeps its form as long as the count fits it, else it takes the next one.
 */
WEIR_API int weir_edit_insert(const struct weir_chain *message, size_t offset_bytes, uint32_t index,
                              const struct weir_slice *values, struct weir_chain *ret);

/**
 * Remove @count elements of the array at @offset_bytes, or pairs of the map, from @index on.
 *
 * Returns   0; -ENOENT there are not so many. The head keeps its form.
 */
WEIR_API int weir_edit_remove(const struct weir_chain *message, size_t offset_bytes, uint32_t index,
                              uint32_t count, struct weir_chain *ret);

/**
 * Let the str @key have @value in the map at @offset_bytes: replace the one it has (of several the
 * first), or insert the pair at the end.
 *
 * @key      copied into a block of @ret's pool if it is new
 * @value    one packed value, or -EINVAL
 */
WEIR_API int weir_edit_set(const struct weir_chain *message, size_t offset_bytes,
                           struct weir_view key, const struct weir_slice *value,
                           struct weir_chain *ret);

/** Remove the pair of the str @key from the map at @offset_bytes. -ENOENT it has none. */
WEIR_API int weir_edit_unset(const struct weir_chain *message, size_t offset_bytes,
                             struct weir_view key, struct weir_chain *ret);

WEIR_END_DECLS

#endif /* WEIR_EDIT_H */
