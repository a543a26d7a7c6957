/* SPDX-License-Identifier: MIT */
#include "check_private.h"
#include "unpack_private.h"

#define KEYS_MIN 64u

/* What is compared of the key whose encoding is the @size bytes at @offset. */
static struct weir__key key_of(struct weir_view input, size_t offset, size_t size)
{
    const uint8_t *at = input.data + offset;
    struct weir_wire_tag tag = weir_wire_tags[at[0]];
    enum weir_type type = weir__tag_type(at[0]);
    struct weir__key key = {0, 0, offset, (uint32_t)type, false};

    switch (type) {
    case WEIR_TYPE_UINT:
    case WEIR_TYPE_INT:
        key.kind = weir__integer_negative(at) ? WEIR_TYPE_INT : WEIR_TYPE_UINT;
        key.bits = weir__integer_bits(at);
        break;
    case WEIR_TYPE_NIL:
        break;
    case WEIR_TYPE_BOOL:
        key.bits = at[0];
        break;
    case WEIR_TYPE_F32:
        key.bits = weir_wire_load32(at + 1);
        break;
    case WEIR_TYPE_F64:
        key.bits = weir_wire_load64(at + 1);
        break;
    case WEIR_TYPE_ARRAY:
    case WEIR_TYPE_MAP:
        key.bits = offset;
        key.size = size;
        key.has_bytes = true;
        break;
    case WEIR_TYPE_EXT:
        key.kind |= (uint32_t)at[tag.head_bytes - 1] << 8;
        __attribute__((fallthrough));
    default: /* str and bin */
        key.bits = offset + tag.head_bytes;
        key.size = size - tag.head_bytes;
        key.has_bytes = true;
        break;
    }
    return key;
}

int weir__keys_push(struct weir__keys *keys, size_t offset, size_t size)
{
    if (keys->count == keys->capacity) {
        size_t capacity = keys->capacity != 0 ? 2 * keys->capacity : KEYS_MIN;
        struct weir__key *all = WEIR_ARENA_ARRAY(keys->arena, struct weir__key, capacity);
        if (all == NULL)
            return weir_arena_error(keys->arena);
        if (keys->count != 0)
            memcpy(all, keys->all, keys->count * sizeof(*all));
        keys->all = all;
        keys->capacity = capacity;
    }
    keys->all[keys->count++] = key_of(keys->input, offset, size);
    return 0;
}

/* An order in which equal keys are neighbours. Sizes come before bytes: that is cheaper. */
static int compare(const struct weir__keys *keys, const struct weir__key *a,
                   const struct weir__key *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    if (a->has_bytes)
        return a->size == 0
                   ? 0
                   : memcmp(keys->input.data + a->bits, keys->input.data + b->bits, a->size);
    return (a->bits > b->bits) - (a->bits < b->bits);
}

/* Equal ones stand in the order of the input. */
static bool is_before(const struct weir__keys *keys, const struct weir__key *a,
                      const struct weir__key *b)
{
    int order = compare(keys, a, b);
    return order != 0 ? order < 0 : a->offset < b->offset;
}

/* Let what is at @root of a heap of @count sink to its place; the last one is on top. */
static void sift(const struct weir__keys *keys, struct weir__key *heap, size_t root, size_t count)
{
    struct weir__key sinking = heap[root];

    for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && is_before(keys, &heap[child], &heap[child + 1]))
            child++;
        if (!is_before(keys, &sinking, &heap[child]))
            break;
        heap[root] = heap[child];
        root = child;
    }
    heap[root] = sinking;
}

/* In place, without recursion, never worse than n log n: the keys may be anybody's. */
static void sort(const struct weir__keys *keys, struct weir__key *part, size_t count)
{
    for (size_t root = count / 2; root-- > 0;)
        sift(keys, part, root, count);
    for (size_t last = count; last-- > 1;) {
        struct weir__key top = part[0];
        part[0] = part[last];
        part[last] = top;
        sift(keys, part, 0, last);
    }
}

bool weir__keys_pop(struct weir__keys *keys, size_t first, size_t *ret_offset)
{
    size_t count = keys->count - first;
    bool sorted = true;
    bool unique = true;
    size_t offset = 0;

    keys->count = first;
    if (count < 2)
        return true;
    struct weir__key *part = keys->all + first;
    for (size_t i = 1; i < count && sorted; i++)
        sorted = compare(keys, &part[i - 1], &part[i]) < 0;
    if (sorted) /* hence unique */
        return true;
    sort(keys, part, count);
    for (size_t i = 1; i < count; i++) {
        if (compare(keys, &part[i - 1], &part[i]) != 0)
            continue;
        if (unique || part[i].offset < offset)
            offset = part[i].offset;
        unique = false;
    }
    if (!unique)
        *ret_offset = offset;
    return unique;
}
