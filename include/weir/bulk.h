/* SPDX-License-Identifier: MIT */
/**
 * bulk: whole arrays of one type of number, or of strings, in one call.
 *
 *     uint32_t ids[1000], back[1000];
 *     size_t count;
 *     weir_pack_begin(&p, &buf, 0);
 *     weir_pack_array_u32(&p, ids, 1000);              // head and elements
 *     weir_pack_end(&p, &message);
 *     weir_unpack_init(&u, message, NULL);
 *     int rc = weir_unpack_array_u32(&u, back, 1000, &count);   // 0, and count is 1000
 *
 * Forms        What is written is byte for byte what weir_pack_array() and a call per element
 *              write: integers in their shortest form, floats bit for bit in the array's own width.
 *              What is read may be in any form: an array of uint32_t takes every integer of
 *              0..2^32-1.
 * Vectors      Where the processor has AVX2 or AVX-512 (VBMI2) they are used; that is found out
 *              when the program runs and changes neither bytes nor errors. weir_bulk_path() tells.
 * Errors       are the packer's and the cursor's, and as sticky: see pack.h and unpack.h.
 * Invariants   A packed array is there as a whole or not at all. An unpacked one leaves the
 *              cursor behind its last element, or at the error.
 * Threads      as packer and cursor.
 * Source       MessagePack specification (github.com/msgpack/msgpack, spec.md).
 */
#ifndef WEIR_BULK_H
#define WEIR_BULK_H

#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/pack.h>
#include <weir/unpack.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/**
 * Which instructions the functions below use on this processor.
 *
 * Returns   "scalar", "avx2" or "avx512"; a constant string.
 */
WEIR_API const char *weir_bulk_path(void);

/* --- packing ------------------------------------------------------------------------------- */

/**
 * Write an array of @count integers, each in its shortest form.
 *
 * @values   @count of them; NULL is allowed if @count is 0
 * @count    up to 2^32-1
 * Errors    -EOVERFLOW @count is larger; -ENOMEM, -ENOBUFS as in pack.h; weir_pack_offset() is
 *           where the array would have begun.
 * Cost      room is looked for once: where the longest form of every element fits, nothing is
 *           computed beforehand; else the exact size is, so that a limit is hit only by an array
 *           that does not fit, and the message is moved once at most.
 */
WEIR_API void weir_pack_array_u8(struct weir_packer *packer, const uint8_t *values, size_t count);
WEIR_API void weir_pack_array_u16(struct weir_packer *packer, const uint16_t *values, size_t count);
WEIR_API void weir_pack_array_u32(struct weir_packer *packer, const uint32_t *values, size_t count);
WEIR_API void weir_pack_array_u64(struct weir_packer *packer, const uint64_t *values, size_t count);
WEIR_API void weir_pack_array_i8(struct weir_packer *packer, const int8_t *values, size_t count);
WEIR_API void weir_pack_array_i16(struct weir_packer *packer, const int16_t *values, size_t count);
WEIR_API void weir_pack_array_i32(struct weir_packer *packer, const int32_t *values, size_t count);
WEIR_API void weir_pack_array_i64(struct weir_packer *packer, const int64_t *values, size_t count);

/** Write an array of @count floats 32 or 64, bit for bit. Otherwise as for integers. */
WEIR_API void weir_pack_array_f32(struct weir_packer *packer, const float *values, size_t count);
WEIR_API void weir_pack_array_f64(struct weir_packer *packer, const double *values, size_t count);

/**
 * Write an array of @count strs. Their bytes should be UTF-8; they are not looked at.
 *
 * @values   must not lie in the message that is being packed, which may move
 * Errors    as for integers; a str above 2^32-1 bytes is -EOVERFLOW, and so is a sum that no
 *           size_t holds
 * Cost      the sizes are added up, then each str is copied once.
 */
WEIR_API void weir_pack_array_str(struct weir_packer *packer, const struct weir_view *values,
                                  size_t count);

/* --- unpacking ----------------------------------------------------------------------------- */

/**
 * Read an array of integers, each in any form, into the caller's array.
 *
 * @ret        receives the elements; may be NULL if @capacity is 0
 * @capacity   elements that fit
 * @ret_count  receives the number of elements, on success only
 * Returns     0 or the sticky error. -EPROTO the value is no array, or an element no integer;
 *             -ENOBUFS the array has more than @capacity elements (the offset is the array's), or
 *             the budget of elements is used up (the offset is the element's); -EOVERFLOW an
 *             element does not fit the type; -EAGAIN, -EBADMSG as in unpack.h. Of several errors
 *             it is the first one that reading one element after the other would meet.
 * On failure  what ret[] holds is unspecified where the error lies in an element: it may have
 *             been written to as far as the array's count goes. Nothing of it was where the error
 *             is the array's own. The elements from *ret_count on are never written.
 * Cost        linear in the bytes; no allocation. The array counts as one element of the budget,
 *             each of its elements as one more.
 */
WEIR_API int weir_unpack_array_u8(struct weir_unpacker *unpacker, uint8_t *ret, size_t capacity,
                                  size_t *ret_count);
WEIR_API int weir_unpack_array_u16(struct weir_unpacker *unpacker, uint16_t *ret, size_t capacity,
                                   size_t *ret_count);
WEIR_API int weir_unpack_array_u32(struct weir_unpacker *unpacker, uint32_t *ret, size_t capacity,
                                   size_t *ret_count);
WEIR_API int weir_unpack_array_u64(struct weir_unpacker *unpacker, uint64_t *ret, size_t capacity,
                                   size_t *ret_count);
WEIR_API int weir_unpack_array_i8(struct weir_unpacker *unpacker, int8_t *ret, size_t capacity,
                                  size_t *ret_count);
WEIR_API int weir_unpack_array_i16(struct weir_unpacker *unpacker, int16_t *ret, size_t capacity,
                                   size_t *ret_count);
WEIR_API int weir_unpack_array_i32(struct weir_unpacker *unpacker, int32_t *ret, size_t capacity,
                                   size_t *ret_count);
WEIR_API int weir_unpack_array_i64(struct weir_unpacker *unpacker, int64_t *ret, size_t capacity,
                                   size_t *ret_count);

/** Read an array of floats 32; a float 64 or an integer in it is -EPROTO. Otherwise as above. */
WEIR_API int weir_unpack_array_f32(struct weir_unpacker *unpacker, float *ret, size_t capacity,
                                   size_t *ret_count);

/** Read an array of floats 64, or of floats 32 widened, or of both. Otherwise as above. */
WEIR_API int weir_unpack_array_f64(struct weir_unpacker *unpacker, double *ret, size_t capacity,
                                   size_t *ret_count);

/** Read an array of strs; the views lie in the input. Otherwise as above. */
WEIR_API int weir_unpack_array_str(struct weir_unpacker *unpacker, struct weir_view *ret,
                                   size_t capacity, size_t *ret_count);

WEIR_END_DECLS

#endif /* WEIR_BULK_H */
