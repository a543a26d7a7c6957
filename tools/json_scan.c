/* SPDX-License-Identifier: MIT */
#include "json_scan.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <weir/text.h>

#include "json_form.h"

/* Up to here keys are compared each with each. */
#define FEW_KEYS 16

/* A key's place in the value. */
struct key {
    uint32_t offset;
    uint32_t size;
};

void json_scan_init(struct json_scan *scan, struct weir_pool *pool)
{
    vec_init(&scan->objects, pool);
    vec_init(&scan->keys, pool);
    vec_init(&scan->table, pool);
    scan->depth = 0;
    /* Without randomness the hash tables work, only keys made to collide would make them slow. */
    if (getrandom(&scan->seed, sizeof(scan->seed), GRND_NONBLOCK) != (ssize_t)sizeof(scan->seed))
        scan->seed = (uint64_t)(uintptr_t)scan;
}

void json_scan_fini(struct json_scan *scan)
{
    vec_fini(&scan->objects);
    vec_fini(&scan->keys);
    vec_fini(&scan->table);
}

bool json_scan_is_object(const struct json_scan *scan, size_t map)
{
    return (vec_data(&scan->objects)[map / 8] >> (map % 8) & 1) != 0;
}

static struct weir_view key_at(const struct json_scan *scan, struct weir_view value, size_t index)
{
    struct key key;

    memcpy(&key, vec_data(&scan->keys) + index * sizeof(key), sizeof(key));
    return weir_view_of(value.data + key.offset, key.size);
}

static bool few_are_unique(const struct json_scan *scan, struct weir_view value, size_t from,
                           size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct weir_view key = key_at(scan, value, i);
        for (size_t j = from; j < i; j++) {
            if (weir_view_equal(key, key_at(scan, value, j)))
                return false;
        }
    }
    return true;
}

/* An open hash table of 1 + index of a key, twice as large as the keys at least. Returns 0 they
 * are unique, 1 they are not, or an error. */
static int many_are_unique(struct json_scan *scan, struct weir_view value, size_t from, size_t to)
{
    size_t slots = 4 * FEW_KEYS;

    while (slots / 2 < to - from)
        slots *= 2;
    scan->table.size = 0;
    int rc = vec_reserve(&scan->table, slots * sizeof(uint32_t));
    if (rc < 0)
        return rc;
    uint8_t *table = vec_data(&scan->table);
    memset(table, 0, slots * sizeof(uint32_t));
    for (size_t i = from; i < to; i++) {
        struct weir_view key = key_at(scan, value, i);
        uint32_t taken;
        size_t slot = (size_t)weir_view_hash(key, scan->seed) & (slots - 1);
        for (;; slot = (slot + 1) & (slots - 1)) {
            memcpy(&taken, table + slot * sizeof(taken), sizeof(taken));
            if (taken == 0)
                break;
            if (weir_view_equal(key, key_at(scan, value, taken - 1)))
                return 1;
        }
        taken = (uint32_t)i + 1;
        memcpy(table + slot * sizeof(taken), &taken, sizeof(taken));
    }
    return 0;
}

/* All of a map was seen: remember what it is and forget its keys. */
static int close_map(struct json_scan *scan, struct weir_view value,
                     const struct json_scan_frame *frame)
{
    size_t to = scan->keys.size / sizeof(struct key);
    bool is_object = frame->is_object;

    if (is_object && frame->count == 1)
        is_object = json_form_of_name(key_at(scan, value, frame->keys_from)) == JSON_FORM_NONE;
    if (is_object && frame->count <= FEW_KEYS) {
        is_object = few_are_unique(scan, value, frame->keys_from, to);
    } else if (is_object) {
        int rc = many_are_unique(scan, value, frame->keys_from, to);
        if (rc < 0)
            return rc;
        is_object = rc == 0;
    }
    scan->keys.size = frame->keys_from * sizeof(struct key);
    if (is_object)
        vec_data(&scan->objects)[frame->map / 8] |= (uint8_t)(1U << frame->map % 8);
    return 0;
}

static int open_container(struct json_scan *scan, const struct weir_value *head, size_t *maps)
{
    static const uint8_t none = 0;

    if (scan->depth == WEIR_DEPTH_MAX)
        return -EOVERFLOW;
    struct json_scan_frame *frame = &scan->frames[scan->depth];
    frame->is_map = head->type == WEIR_TYPE_MAP;
    frame->is_object = frame->is_map;
    frame->count = head->count;
    frame->values_left = (uint64_t)head->count * (frame->is_map ? 2 : 1);
    frame->keys_from = scan->keys.size / sizeof(struct key);
    frame->map = *maps;
    if (frame->is_map) {
        if (*maps % 8 == 0) {
            int rc = vec_append(&scan->objects, weir_view_of(&none, 1));
            if (rc < 0)
                return rc;
        }
        ++*maps;
    }
    scan->depth++;
    return 0;
}

/* The innermost map has @head as its next key. */
static int take_key(struct json_scan *scan, struct weir_view value, const struct weir_value *head)
{
    struct json_scan_frame *frame = &scan->frames[scan->depth - 1];
    struct weir_view bytes = head->as.bytes;

    if (head->type != WEIR_TYPE_STR || !weir_text_is_utf8(bytes) ||
        (bytes.size != 0 && memchr(bytes.data, '\0', bytes.size) != NULL)) {
        frame->is_object = false;
        scan->keys.size = frame->keys_from * sizeof(struct key);
        return 0;
    }
    struct key key = {bytes.size == 0 ? 0 : (uint32_t)(bytes.data - value.data),
                      (uint32_t)bytes.size};
    return vec_append(&scan->keys, weir_view_of(&key, sizeof(key)));
}

int json_scan_value(struct json_scan *scan, struct weir_view value)
{
    struct weir_unpacker cursor;
    struct weir_value head;
    size_t maps = 0;

    if (value.size > UINT32_MAX)
        return -EOVERFLOW;
    scan->depth = 0;
    scan->objects.size = 0;
    scan->keys.size = 0;
    weir_unpack_init(&cursor, value, NULL);
    do {
        int rc = weir_unpack_next(&cursor, &head);
        if (rc == 0 && scan->depth != 0) {
            struct json_scan_frame *frame = &scan->frames[scan->depth - 1];
            bool is_key = frame->is_object && frame->values_left % 2 == 0;
            frame->values_left--;
            if (is_key)
                rc = take_key(scan, value, &head);
        }
        if (rc == 0 && (head.type == WEIR_TYPE_ARRAY || head.type == WEIR_TYPE_MAP))
            rc = open_container(scan, &head, &maps);
        while (rc == 0 && scan->depth != 0 && scan->frames[scan->depth - 1].values_left == 0) {
            scan->depth--;
            if (scan->frames[scan->depth].is_map)
                rc = close_map(scan, value, &scan->frames[scan->depth]);
        }
        if (rc < 0)
            return rc;
    } while (scan->depth != 0);
    return 0;
}
