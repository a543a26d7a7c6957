/* SPDX-License-Identifier: MIT */
/*
 * fuzz_select: keys are found in maps of any bytes as by a plain walk: by weir_unpack_find(), by
 * weir_unpack_select(), and by a selector that has seen the maps before.
 *
 * The first byte is a limit of elements, if it is not 0, the second a number of keys; each is its
 * size and its bytes; what follows is maps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/unpack.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEYS_MAX 8u

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool same_view(struct weir_view a, struct weir_view b)
{
    return a.data == b.data && a.size == b.size;
}

/* Where the value of @key is in the map that comes next, by reading all of it. */
static struct weir_view walk_to(struct weir_unpacker u, struct weir_view key)
{
    struct weir_view found = {NULL, 0};
    struct weir_value value;
    uint32_t pairs = 0;

    require(weir_unpack_map(&u, &pairs) == 0);
    for (; pairs != 0; pairs--) {
        struct weir_unpacker at = u;
        struct weir_view raw;
        require(weir_unpack_skip(&u) == 0);
        bool equal = weir_unpack_next(&at, &value) == 0 && value.type == WEIR_TYPE_STR &&
                     weir_view_equal(value.as.bytes, key);
        require(weir_unpack_raw(&u, &raw) == 0);
        if (equal && found.data == NULL)
            found = raw;
    }
    return found;
}

/* The next value, whatever it is. Returns whether the keys could be looked for in it. */
static bool look(struct weir_unpacker *u, struct weir_selector *selector,
                 const struct weir_view *keys, uint32_t count)
{
    struct weir_view wanted[KEYS_MAX], got[KEYS_MAX];
    struct weir_unpacker before = *u, by = *u, skipped = *u;

    int rc = weir_unpack_select(u, keys, count, wanted);
    require(weir_unpack_select_with(&by, selector, got) == rc);
    require(weir_unpack_offset(&by) == weir_unpack_offset(u));
    require(by.elements_left == u->elements_left && by.error == u->error);
    if (rc != 0)
        return false;
    require(weir_unpack_skip(&skipped) == 0);
    require(weir_unpack_offset(&skipped) == weir_unpack_offset(u));
    require(skipped.elements_left == u->elements_left);
    for (uint32_t i = 0; i < count; i++) {
        struct weir_unpacker to = before;
        require(same_view(got[i], wanted[i]));
        require(same_view(got[i], walk_to(before, keys[i])));
        rc = weir_unpack_find(&to, keys[i]);
        require(rc == (got[i].data != NULL ? 0 : -ENOENT));
        require(rc != 0 || to.pos == got[i].data);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct weir_selector selector;
    struct weir_limits limits = {0};
    struct weir_view keys[KEYS_MAX];
    struct weir_unpacker u;
    size_t at = 2;

    if (size < at)
        return 0;
    limits.elements = data[0];
    uint32_t count = data[1] % (KEYS_MAX + 1);
    for (uint32_t i = 0; i < count; i++) {
        size_t length = at < size ? data[at++] % 40 : 0;
        if (length > size - at)
            length = size - at;
        keys[i] = weir_view_of(data + at, length);
        at += length;
    }
    require(weir_selector_init(&selector, keys, count) == 0);
    struct weir_view maps = weir_view_of(data + at, size - at);
    for (int pass = 0; pass < 2; pass++) {
        weir_unpack_init(&u, maps, &limits);
        while (!weir_unpack_done(&u) && look(&u, &selector, keys, count))
            continue;
    }
    return 0;
}
