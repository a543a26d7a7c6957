/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include <weir/pack.h>
#include <weir/unpack.h>

/* An array or map that both have open. */
struct frame {
    uint64_t values_left; /* that both have; of maps keys and values */
    size_t offsets[2];    /* of its heads */
    bool counts_differ;
};

struct comparison {
    struct weir_unpacker cursors[2];
    uint32_t depth;
    struct frame frames[WEIR_DEPTH_MAX];
};

/* The next element of one side. */
struct element {
    struct weir_value value;
    size_t offset;
    struct weir_view encoded; /* without what an array or map contains */
};

static void read_element(struct weir_unpacker *cursor, struct weir_view input, struct element *ret)
{
    ret->offset = weir_unpack_offset(cursor);
    int rc = weir_unpack_next(cursor, &ret->value);
    assert(rc == 0);
    (void)rc;
    ret->encoded = weir_view_of(input.data + ret->offset, weir_unpack_offset(cursor) - ret->offset);
}

static bool same_bits(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

static bool same_ext(const struct weir_value *a, const struct weir_value *b)
{
    struct weir_timestamp times[2];

    if (a->ext_type != b->ext_type)
        return false;
    if (weir_view_equal(a->as.bytes, b->as.bytes))
        return true;
    return a->ext_type == WEIR_EXT_TIMESTAMP &&
           weir_timestamp_decode(a->as.bytes, &times[0]) == 0 &&
           weir_timestamp_decode(b->as.bytes, &times[1]) == 0 &&
           times[0].seconds == times[1].seconds && times[0].nanoseconds == times[1].nanoseconds;
}

/* Of an array or map: that both are one. */
static bool same_value(const struct weir_value *a, const struct weir_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case WEIR_TYPE_NIL:
    case WEIR_TYPE_ARRAY:
    case WEIR_TYPE_MAP:
        return true;
    case WEIR_TYPE_BOOL:
        return a->as.boolean == b->as.boolean;
    case WEIR_TYPE_UINT:
        return a->as.u64 == b->as.u64;
    case WEIR_TYPE_INT:
        return a->as.i64 == b->as.i64;
    case WEIR_TYPE_F32:
        return same_bits(&a->as.f32, &b->as.f32, sizeof a->as.f32);
    case WEIR_TYPE_F64:
        return same_bits(&a->as.f64, &b->as.f64, sizeof a->as.f64);
    case WEIR_TYPE_STR:
    case WEIR_TYPE_BIN:
        return weir_view_equal(a->as.bytes, b->as.bytes);
    case WEIR_TYPE_EXT:
        return same_ext(a, b);
    }
    return false;
}

static bool is_container(const struct weir_value *value)
{
    return value->type == WEIR_TYPE_ARRAY || value->type == WEIR_TYPE_MAP;
}

static void open_frame(struct comparison *c, const struct element *a, const struct element *b)
{
    uint32_t count = a->value.count < b->value.count ? a->value.count : b->value.count;
    bool is_map = a->value.type == WEIR_TYPE_MAP;
    struct frame frame = {.values_left = (uint64_t)count << is_map,
                          .offsets = {a->offset, b->offset},
                          .counts_differ = a->value.count != b->value.count};

    assert(c->depth < WEIR_DEPTH_MAX);
    c->frames[c->depth++] = frame;
}

/* Close what is complete. True: one of these has more on one side. */
static bool close_frames(struct comparison *c, size_t *ret_a, size_t *ret_b)
{
    while (c->depth != 0 && c->frames[c->depth - 1].values_left == 0) {
        const struct frame *frame = &c->frames[--c->depth];
        if (frame->counts_differ) {
            *ret_a = frame->offsets[0];
            *ret_b = frame->offsets[1];
            return true;
        }
    }
    return false;
}

/* Of elements of the same value. That the heads of counts that differ do so, too, is no news. */
static bool same_encoding(const struct element *a, const struct element *b)
{
    return weir_view_equal(a->encoded, b->encoded) ||
           (is_container(&a->value) && a->value.count != b->value.count);
}

enum difference compare(struct weir_view a, struct weir_view b, bool encodings, size_t *ret_a,
                        size_t *ret_b)
{
    struct comparison c;
    struct element elements[2];

    if (weir_view_equal(a, b))
        return DIFFERENCE_NONE;
    c.depth = 0;
    weir_unpack_init(&c.cursors[0], a, NULL);
    weir_unpack_init(&c.cursors[1], b, NULL);
    do {
        if (c.depth != 0)
            c.frames[c.depth - 1].values_left--;
        read_element(&c.cursors[0], a, &elements[0]);
        read_element(&c.cursors[1], b, &elements[1]);
        bool same = same_value(&elements[0].value, &elements[1].value);
        if (!same || (encodings && !same_encoding(&elements[0], &elements[1]))) {
            *ret_a = elements[0].offset;
            *ret_b = elements[1].offset;
            return same ? DIFFERENCE_ENCODING : DIFFERENCE_VALUE;
        }
        if (is_container(&elements[0].value))
            open_frame(&c, &elements[0], &elements[1]);
        if (close_frames(&c, ret_a, ret_b))
            return DIFFERENCE_COUNT;
    } while (c.depth != 0);
    return DIFFERENCE_NONE;
}
