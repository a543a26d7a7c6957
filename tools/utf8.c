/* SPDX-License-Identifier: MIT */
#include "utf8.h"

/* The lead byte decides how many bytes follow and, by the range of the first of them, that the
 * character is in its shortest form, no surrogate and not above U+10FFFF (RFC 3629, section 4). */
static bool lead(struct utf8_state *state, uint8_t byte)
{
    state->low = 0x80;
    state->high = 0xbf;
    if (byte >= 0xc2 && byte <= 0xdf) {
        state->left = 1;
    } else if (byte >= 0xe0 && byte <= 0xef) {
        state->left = 2;
        if (byte == 0xe0)
            state->low = 0xa0;
        if (byte == 0xed)
            state->high = 0x9f;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
        state->left = 3;
        if (byte == 0xf0)
            state->low = 0x90;
        if (byte == 0xf4)
            state->high = 0x8f;
    } else {
        return false;
    }
    return true;
}

bool utf8_step(struct utf8_state *state, uint8_t byte)
{
    if (state->left == 0)
        return byte < 0x80 || lead(state, byte);
    if (byte < state->low || byte > state->high)
        return false;
    state->left--;
    state->low = 0x80;
    state->high = 0xbf;
    return true;
}
