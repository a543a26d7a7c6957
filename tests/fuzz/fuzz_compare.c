/* SPDX-License-Identifier: MIT */
/*
 * fuzz_compare: of any two values a difference is found the same way from both sides, at elements
 * of both; without one they are the same bytes, unless only values count, which differ nowhere
 * earlier. The path that people are shown holds nothing that a terminal obeys.
 */
#include <stdlib.h>
#include <string.h>

#include <weir/unpack.h>

#include "../../tools/compare.h"
#include "../../tools/path_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_path(struct weir_view input, size_t offset)
{
    char path[PATH_TEXT_BYTES];

    path_text(input, offset, path);
    size_t size = strnlen(path, sizeof(path));
    require(size < sizeof(path));
    for (size_t i = 0; i < size; i++)
        require((unsigned char)path[i] >= 0x20 && path[i] != 0x7f);
}

/* How the two differ, and where. */
static enum difference differ(struct weir_view a, struct weir_view b, bool encodings, size_t at[2])
{
    size_t back[2];
    enum difference difference = compare(a, b, encodings, &at[0], &at[1]);

    require(compare(b, a, encodings, &back[1], &back[0]) == difference);
    require(encodings || difference != DIFFERENCE_ENCODING);
    if (difference == DIFFERENCE_NONE)
        return difference;
    require(at[0] == back[0] && at[1] == back[1]);
    require(at[0] < a.size && at[1] < b.size);
    return difference;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct weir_limits limits = {.depth = WEIR_DEPTH_MAX};
    struct weir_view input = weir_view_of(data, size), values[2];
    struct weir_unpacker cursor;
    size_t strict[2], loose[2];

    check_path(input, size / 2);
    if (weir_check(input, &limits, NULL) != 0 || size == 0)
        return 0;
    weir_unpack_init(&cursor, input, NULL);
    require(weir_unpack_raw(&cursor, &values[0]) == 0);
    if (weir_unpack_raw(&cursor, &values[1]) != 0)
        return 0;
    enum difference strictly = differ(values[0], values[1], true, strict);
    require((strictly == DIFFERENCE_NONE) == weir_view_equal(values[0], values[1]));
    enum difference loosely = differ(values[0], values[1], false, loose);
    if (loosely != DIFFERENCE_NONE) {
        require(strictly != DIFFERENCE_NONE);
        /* A count is told where it stands, and only once what both have was compared. */
        if (loosely == DIFFERENCE_VALUE)
            require(strict[0] <= loose[0] && strict[1] <= loose[1]);
        check_path(values[0], loose[0]);
        check_path(values[1], loose[1]);
    }
    require(differ(values[0], values[0], true, strict) == DIFFERENCE_NONE);
    return 0;
}
