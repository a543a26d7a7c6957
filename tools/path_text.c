/* SPDX-License-Identifier: MIT */
#include "path_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <weir/check.h>
#include <weir/text.h>

static const char ellipsis[] = "...";

/* The size of the character that @text begins with; 0: it is none to be shown. */
static size_t character_bytes(struct weir_view text)
{
    uint8_t first = text.data[0];
    size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (size == 1)
        return first >= 0x20 && first != 0x7f;
    if (size > text.size || !weir_text_is_utf8(weir_view_of(text.data, size)))
        return 0;
    return first == 0xc2 && text.data[1] < 0xa0 ? 0 : size; /* U+0080 to U+009F are controls */
}

void path_text(struct weir_view input, size_t offset, char ret[PATH_TEXT_BYTES])
{
    char raw[PATH_TEXT_BYTES];
    size_t whole = weir_path_of(input, offset, raw, sizeof(raw));
    bool is_cut = whole >= sizeof(raw);
    struct weir_view rest = weir_view_of(raw, is_cut ? sizeof(raw) - 1 : whole);
    char *at = ret;
    size_t room = PATH_TEXT_BYTES - sizeof(ellipsis);

    while (rest.size != 0) {
        size_t taken = character_bytes(rest);
        size_t written = taken != 0 ? taken : strlen("\\xNN");
        if (written > room) {
            is_cut = true;
            break;
        }
        if (taken != 0)
            memcpy(at, rest.data, taken);
        else
            snprintf(at, written + 1, "\\x%02x", rest.data[0]);
        at += written;
        room -= written;
        taken = taken != 0 ? taken : 1;
        rest = weir_view_of(rest.data + taken, rest.size - taken);
    }
    memcpy(at, is_cut ? ellipsis : "", is_cut ? sizeof(ellipsis) : 1);
}
