/* SPDX-License-Identifier: MIT */
#include "stream_shape.h"

#include <assert.h>

/* Arrays and maps within each other. What lies deeper is no part of a shape. */
#define LEVELS_MAX 8u

/* Of fewer values there is nothing to be gained. */
#define VALUES_MIN 4u

#define LANE ((size_t)WEIR_STREAM_SHAPE_LANE)

/* Messages without the shape, from one that is learnt from to the next one, at most. */
#define PATIENCE_MAX 4096u

/* A shape that so many messages have, for each that has not, is learnt anew without waiting. */
#define HITS_MIN 16u

/* An array or map that is open. */
struct level {
    uint64_t to_come;
    bool map;
};

/* A message that is looked at, and the shape that is made of it. */
struct lesson {
    struct weir_stream_shape *shape;
    size_t used;   /* bytes of the lanes */
    size_t run_at; /* offset of the run that is made */
    bool open;     /* one is */
    struct level levels[LEVELS_MAX];
    unsigned depth;
    uint64_t announced;
};

/* The head at @at: how many bytes of it are the same in messages that are alike. 0: its value is of
 * another size in each, a joint. */
static size_t constant_bytes(const uint8_t *at, bool is_key)
{
    struct weir_wire_tag tag = weir_wire_tags[at[0]];

    if (tag.kind == WEIR_WIRE_ARRAY || tag.kind == WEIR_WIRE_MAP)
        return tag.head_bytes;
    size_t step = weir__wire_steps[at[0]];
    if (step == 0)
        return 0;
    switch (at[0]) {
    case WEIR_TAG_NIL:
    case WEIR_TAG_FALSE:
    case WEIR_TAG_TRUE:
    case WEIR_TAG_FLOAT32:
    case WEIR_TAG_FLOAT64:
    case WEIR_TAG_UINT64:
    case WEIR_TAG_INT64:
    case WEIR_TAG_FIXEXT1:
    case WEIR_TAG_FIXEXT2:
    case WEIR_TAG_FIXEXT4:
    case WEIR_TAG_FIXEXT8:
    case WEIR_TAG_FIXEXT16:
        return 1;
    default:
        return is_key ? 1 : 0;
    }
}

static struct weir_stream_shape_run *last_run(struct lesson *lesson)
{
    return &lesson->shape->runs[lesson->shape->run_count - 1];
}

/* Have a run that begins at @offset, if none is open. Returns whether there is one. */
static bool open_run(struct lesson *lesson, size_t offset)
{
    static const struct weir_stream_shape_run none;

    if (lesson->open)
        return true;
    if (lesson->shape->run_count == WEIR_STREAM_SHAPE_RUNS)
        return false;
    lesson->shape->run_count++;
    *last_run(lesson) = none;
    lesson->run_at = offset;
    lesson->open = true;
    return true;
}

/* Enter @byte into the open run, as far as @mask. Returns whether there is room. */
static bool enter_byte(struct lesson *lesson, size_t offset, uint8_t byte, uint8_t mask)
{
    struct weir_stream_shape_run *run = last_run(lesson);
    size_t place = offset - lesson->run_at;
    uint8_t *lanes = lesson->shape->lanes;

    while (place >= run->lane_bytes) {
        if (lesson->used == sizeof(lesson->shape->lanes))
            return false;
        memset(lanes + lesson->used, 0, 2 * LANE);
        lesson->used += 2 * LANE;
        run->lane_bytes = (uint8_t)(run->lane_bytes + LANE);
    }
    /* Its lanes are the last ones: each a mask, and what is under it. */
    uint8_t *lane = lanes + lesson->used - 2 * (size_t)run->lane_bytes + place / LANE * 2 * LANE;
    lane[place % LANE] = mask;
    lane[LANE + place % LANE] = byte & mask;
    return true;
}

/* The room that a run has to have: its lanes, and what its joint is looked at before its size is
 * known. */
static bool close_run(struct lesson *lesson, size_t end, bool joint)
{
    struct weir_stream_shape_run *run = last_run(lesson);
    size_t bytes = end - lesson->run_at;
    size_t room = bytes + 2 > run->lane_bytes ? bytes + 2 : run->lane_bytes;

    if (room > UINT8_MAX)
        return false;
    run->bytes = (uint8_t)bytes;
    run->room = (uint8_t)room;
    run->joint = joint;
    lesson->open = !joint;
    return true;
}

/* Enter the value at @offset, whose head the bytes at @at are. Returns whether there is room. */
static bool enter_value(struct lesson *lesson, const uint8_t *at, size_t offset, size_t size)
{
    const struct level *level = &lesson->levels[lesson->depth - 1];
    size_t constant = constant_bytes(at, level->map && level->to_come % 2 == 0);
    bool is_bool = (at[0] | 1u) == WEIR_TAG_TRUE;

    if (!open_run(lesson, offset))
        return false;
    if (constant == 0) {
        unsigned tag = at[0];
        return (weir__wire_steps[tag] != 0 || tag == WEIR_TAG_STR8 || tag == WEIR_TAG_BIN8) &&
               close_run(lesson, offset, true);
    }
    for (size_t i = 0; i < constant; i++) {
        if (!enter_byte(lesson, offset + i, at[i], is_bool ? 0xfe : 0xff))
            return false;
    }
    return close_run(lesson, offset + size, false);
}

/* The value with head @tag was entered. Returns whether another one is to come that can be, too. */
static bool next_value(struct lesson *lesson, struct weir_wire_tag tag, uint64_t length)
{
    uint64_t values = tag.kind == WEIR_WIRE_MAP     ? 2 * length
                      : tag.kind == WEIR_WIRE_ARRAY ? length
                                                    : 0;
    struct level inner = {values, tag.kind == WEIR_WIRE_MAP};

    lesson->shape->values++;
    lesson->announced += values;
    lesson->levels[lesson->depth - 1].to_come--;
    if (values != 0) {
        if (lesson->depth == LEVELS_MAX)
            return false;
        lesson->levels[lesson->depth++] = inner;
    }
    while (lesson->depth != 0 && lesson->levels[lesson->depth - 1].to_come == 0)
        lesson->depth--;
    return lesson->depth != 0;
}

/* A shape of the first values of @message, as many as there is room for. */
static void make_shape(struct weir_stream_shape *shape, struct weir_view message)
{
    struct lesson lesson = {.shape = shape, .levels = {{1, false}}, .depth = 1, .announced = 1};
    struct weir_stream_shape before;
    size_t offset = 0;
    bool more = true;

    shape->run_count = 0;
    shape->values = 0;
    while (more) {
        const uint8_t *at = message.data + offset;
        struct weir_wire_tag tag = weir_wire_tags[at[0]];
        uint64_t length = weir_wire_length(at, tag);
        size_t size = tag.head_bytes + (tag.kind == WEIR_WIRE_BYTES ? (size_t)length : 0);
        before = *shape;
        if (!enter_value(&lesson, at, offset, size)) {
            *shape = before;
            break;
        }
        more = next_value(&lesson, tag, length);
        offset += size;
        assert(offset <= message.size);
    }
    shape->to_come = lesson.announced - shape->values;
}

void weir__shape_learn(struct weir_stream_shape *shape, struct weir_view message)
{
    uint32_t patience = shape->hits / HITS_MIN >= shape->misses ? 1 : 1 + 2 * shape->patience;

    make_shape(shape, message);
    if (shape->values < VALUES_MIN)
        shape->run_count = 0;
    shape->hits = 0;
    shape->misses = 0;
    shape->patience = patience < PATIENCE_MAX ? patience : PATIENCE_MAX;
}
