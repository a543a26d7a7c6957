/* SPDX-License-Identifier: MIT */
/* utf8: whether bytes that come one by one are UTF-8 as RFC 3629 has it: shortest forms, no
 * surrogates, to U+10FFFF. Whole texts are weir_text_is_utf8()'s. */
#ifndef TOOLS_UTF8_H
#define TOOLS_UTF8_H

#include <stdbool.h>
#include <stdint.h>

/* Where a text that comes byte by byte stands. Zeroed: between characters. */
struct utf8_state {
    uint8_t left; /* continuation bytes that must follow */
    uint8_t low;  /* the range of the next one */
    uint8_t high;
};

/* Take the next byte; false: it cannot stand here. */
bool utf8_step(struct utf8_state *state, uint8_t byte);

#endif
