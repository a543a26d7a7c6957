/* SPDX-License-Identifier: MIT */
/* record_private: what the sources of record share. */
#ifndef WEIR_RECORD_PRIVATE_H
#define WEIR_RECORD_PRIVATE_H

#include "weir/record.h"

/* Pack the value of @field from the struct's member at @member. */
void weir__record_pack_field(struct weir_packer *packer, const struct weir_record_field *field,
                             const uint8_t *member);

/* As weir_record_fixed_differs(). The first is portable; the second needs AVX2 and 32 bytes. */
bool weir__record_differs_words(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes,
                                size_t size);
bool weir__record_differs_avx2(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes,
                               size_t size);

#endif /* WEIR_RECORD_PRIVATE_H */
