/* SPDX-License-Identifier: MIT */
/**
 * record_private: what walking over a description and walking over its arrays share.
 */
#ifndef WEIR_RECORD_PRIVATE_H
#define WEIR_RECORD_PRIVATE_H

#include "weir/record.h"

/** An integer was passed over that its enum has no name for; no error yet. */
#define WEIR__RECORD_UNKNOWN 1

/** What a fault says of whoever meets it. */
struct weir__record_place {
    const struct weir_record *schema;
    const struct weir_record_field *field;
    struct weir_record_fault *ret; /* NULL: nobody wants to know */
};

/** A cursor over some bytes, with no limits. */
static inline struct weir_unpacker weir__record_cursor(const uint8_t *at, const uint8_t *end)
{
    struct weir_unpacker u;

    weir_unpack_init(&u, weir_view_of(at, (size_t)(end - at)), NULL);
    return u;
}

/** Undo the reading of the value at @start, and fail there. */
int weir__record_fail_at(struct weir_unpacker *u, const struct weir_unpacker *start, int error);

/** Fill in the fault, if the cursor has an error. Returns that. */
int weir__record_tell(const struct weir_unpacker *u, const struct weir__record_place *place);

/** Write one value as @field has it, which may be an array's element. */
void weir__record_pack_value(struct weir_packer *packer, const struct weir_record_field *field,
                             const uint8_t *member);

/** Write the array @member, whose elements are as @element says. */
void weir__record_pack_array(struct weir_packer *packer, const struct weir_record_field *element,
                             const uint8_t *member);

/**
 * Read one value as @field has it, and tell the fault, if there is one.
 *
 * @member   where to; NULL: only look whether it is one
 * Returns   0; the error; WEIR__RECORD_UNKNOWN.
 */
int weir__record_unpack_value(struct weir_unpacker *u, const struct weir_record_field *field,
                              uint8_t *member, const struct weir__record_place *place);

/** Read the array whose elements are as @element says; else as weir__record_unpack_value(). */
int weir__record_unpack_array(struct weir_unpacker *u, const struct weir_record_field *element,
                              uint8_t *member, const struct weir__record_place *place);

/* As weir_record_fixed_differs(). The first is portable; the second needs AVX2 and 32 bytes. */
bool weir__record_differs_words(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes,
                                size_t size);
bool weir__record_differs_avx2(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes,
                               size_t size);

#endif /* WEIR_RECORD_PRIVATE_H */
