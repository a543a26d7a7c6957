/* SPDX-License-Identifier: MIT */
/*
 * fuzz_edit: an edit of any bytes is refused, or leaves whole values whole; how the bytes are cut
 * does not matter, and what is not edited is never written to.
 *
 * The first bytes are what is done, where, the index, the count, and the size of the pieces; one
 * more is the size of the new values, which follow, and the rest is the message.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/edit.h>
#include <weir/unpack.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD_BYTES 6

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Whether @bytes are whole values, and how many. */
static bool whole_values(struct weir_view bytes, uint64_t *ret)
{
    struct weir_unpacker u;

    weir_unpack_init(&u, bytes, NULL);
    for (*ret = 0; !weir_unpack_done(&u); ++*ret)
        if (weir_unpack_skip(&u) != 0)
            return false;
    return true;
}

static void cut(struct weir_chain *chain, struct weir_view bytes, size_t piece)
{
    size_t size;

    for (size_t at = 0; at < bytes.size; at += size) {
        struct weir_block *block;
        size = bytes.size - at < piece ? bytes.size - at : piece;
        require(weir_pool_alloc(chain->pool, size, &block) == 0);
        memcpy(block->data, bytes.data + at, size);
        struct weir_slice slice = weir_slice_adopt(weir_view_of(block->data, size), block);
        require(weir_chain_append_adopt(chain, &slice) == 0);
    }
}

static int splice(const struct weir_chain *message, const uint8_t *head, struct weir_view values,
                  struct weir_chain *ret)
{
    struct weir_slice slice = weir_slice_adopt(values, NULL);
    struct weir_view key = weir_view_of(values.data, values.size < 2 ? values.size : 2);

    switch (head[0] % 5) {
    case 0:
        return weir_edit_replace(message, head[1], &slice, ret);
    case 1:
        return weir_edit_insert(
            message, head[1], head[2] == 255 ? WEIR_EDIT_END : head[2], &slice, ret);
    case 2:
        return weir_edit_remove(message, head[1], head[2], head[3], ret);
    case 3:
        slice.view = weir_view_of(values.data + key.size, values.size - key.size);
        return weir_edit_set(message, head[1], key, &slice, ret);
    default:
        return weir_edit_unset(message, head[1], key, ret);
    }
}

/* The same edit of the message in one piece and in many. */
static void compare_splices(const uint8_t *head, struct weir_view values, struct weir_view message)
{
    struct weir_pool *pool;
    struct weir_chain whole, pieces, from_whole, from_pieces;
    struct weir_slice flat;
    uint64_t before, after;

    require(weir_pool_create(NULL, &pool) == 0);
    weir_chain_init(&whole, pool);
    weir_chain_init(&pieces, pool);
    weir_chain_init(&from_whole, pool);
    weir_chain_init(&from_pieces, pool);
    cut(&whole, message, SIZE_MAX);
    cut(&pieces, message, 1 + head[4]);
    int rc = splice(&whole, head, values, &from_whole);
    require(splice(&pieces, head, values, &from_pieces) == rc);
    require(weir_chain_equal(&from_whole, &from_pieces));
    require(weir_chain_equal_view(&whole, message) && weir_chain_equal_view(&pieces, message));
    require(rc == 0 || from_whole.size_bytes == 0);
    if (rc == 0 && whole_values(message, &before)) {
        require(weir_chain_flatten(&from_pieces, pool, &flat) >= 0);
        /* An offset within a str, say, names no value, and what it makes of it is no one's. */
        if (head[1] == 0)
            require(whole_values(flat.view, &after) && after == before);
        weir_slice_drop(&flat);
    }
    weir_chain_fini(&whole);
    weir_chain_fini(&pieces);
    weir_chain_fini(&from_whole);
    weir_chain_fini(&from_pieces);
    require(weir_pool_destroy(pool) == 0);
}

static int write_over(uint8_t *message, size_t size, const uint8_t *head, struct weir_view values)
{
    uint64_t bits = 0;
    double wide;

    memcpy(&bits, values.data, values.size < sizeof bits ? values.size : sizeof bits);
    switch (head[0] / 5 % 7) {
    case 0:
        return weir_edit_uint(message, size, head[1], bits);
    case 1:
        return weir_edit_int(message, size, head[1], (int64_t)bits >> head[2] % 64);
    case 2:
        memcpy(&wide, &bits, sizeof wide);
        return weir_edit_f64(message, size, head[1], wide);
    case 3:
        return weir_edit_bool(message, size, head[1], bits != 0);
    case 4:
        return weir_edit_str(message, size, head[1], values);
    case 5:
        return weir_edit_bin(message, size, head[1], values);
    default:
        return weir_edit_value(message, size, head[1], values);
    }
}

/* Only the bytes of the value change, and it keeps its size. */
static void check_in_place(const uint8_t *head, struct weir_view values, struct weir_view message)
{
    uint8_t *copy = malloc(message.size + 1);
    struct weir_unpacker u;
    size_t at = head[1], size = 0;

    require(copy != NULL);
    if (message.size != 0)
        memcpy(copy, message.data, message.size);
    int rc = write_over(copy, message.size, head, values);
    if (rc == 0) {
        weir_unpack_init(&u, weir_view_of(message.data + at, message.size - at), NULL);
        require(weir_unpack_skip(&u) == 0);
        size = weir_unpack_offset(&u);
        weir_unpack_init(&u, weir_view_of(copy + at, message.size - at), NULL);
        require(weir_unpack_skip(&u) == 0 && weir_unpack_offset(&u) == size);
        require(memcmp(copy, message.data, at) == 0);
        require(memcmp(copy + at + size, message.data + at + size, message.size - at - size) == 0);
    } else {
        require(message.size == 0 || memcmp(copy, message.data, message.size) == 0);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES)
        return 0;
    size_t left = size - HEAD_BYTES;
    size_t new_bytes = data[5] < left ? data[5] : left;
    struct weir_view values = weir_view_of(data + HEAD_BYTES, new_bytes);
    struct weir_view message = weir_view_of(data + HEAD_BYTES + new_bytes, left - new_bytes);
    compare_splices(data, values, message);
    check_in_place(data, values, message);
    return 0;
}
