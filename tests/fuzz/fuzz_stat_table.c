/* SPDX-License-Identifier: MIT */
/*
 * fuzz_stat_table: whatever a service answers, the tables of its counters are lines of bounded
 * length and of plain characters, or it is refused and nothing is printed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/unpack.h>

#include "../../tools/stat_table.h"

/* A label and 16 columns of 40 characters with two blanks before each. */
#define LINE_MAX_CHARS (17 * 42)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_view in = weir_view_of(data, size);
    char *text = NULL;
    size_t length = 0, line = 0;
    FILE *out = open_memstream(&text, &length);

    require(out != NULL);
    int rc = stat_table_print(in, out);
    require(fclose(out) == 0);
    require(rc == 0 || (rc == -EBADMSG && length == 0));
    require(rc != 0 || weir_check(in, NULL, NULL) == 0);
    for (size_t i = 0; i < length; i++) {
        line = text[i] == '\n' ? 0 : line + 1;
        require(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
        require(line <= LINE_MAX_CHARS);
    }
    require(line == 0);
    free(text);
    return 0;
}
