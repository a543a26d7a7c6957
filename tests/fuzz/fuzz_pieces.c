/* SPDX-License-Identifier: MIT */
/*
 * fuzz_pieces: a cursor over slices, cut anywhere, reads what one over the same bytes in one piece
 * reads, whatever is read and however wrong the bytes are.
 *
 * The first byte chooses the limit of elements and whether there is an arena, the next two are
 * numbers of cuts and of reads, which follow; the rest is read.
 */
#include <stdlib.h>

#include "../pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Take up to @size bytes off the front of @rest. */
static struct weir_view take(struct weir_view *rest, size_t size)
{
    struct weir_view part = weir_view_of(rest->data, size < rest->size ? size : rest->size);

    *rest = weir_view_of(rest->data + part.size, rest->size - part.size);
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t memory[1 << 20];
    struct weir_limits limits = {0};
    struct weir_arena arena;

    if (size < 3)
        return 0;
    struct weir_view rest = weir_view_of(data + 3, size - 3);
    struct weir_view cuts = take(&rest, data[1]);
    struct weir_view ops = take(&rest, data[2] % 64);
    limits.elements = data[0] < 0x80 ? 0 : data[0] & 0x3fu;
    weir_arena_init_fixed(&arena, memory, sizeof(memory));
    bool gathers = (data[0] & 0x40) != 0 && rest.size * 64 < sizeof(memory);
    if (pieces_compare(rest, cuts, ops, &limits, gathers ? &arena : NULL) != NULL)
        abort();
    return 0;
}
