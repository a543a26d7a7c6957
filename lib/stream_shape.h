/* SPDX-License-Identifier: MIT */
/**
 * stream_shape: the heads of an earlier message, with which those of the next one are compared.
 *
 * To find where a message ends its heads are read one after the other, and each one says where the
 * next one is: that chain of loads is where the time goes. But the messages of a flow are alike. A
 * shape has the tags of one message at their places, in lanes of 16 bytes with masks. If the next
 * message agrees under them, its heads are known all at once, without a chain.
 *
 * Where a value's size varies from message to message (small integers, strs, bins) a shape has a
 * joint: the value's own head says how far it is to the next run of tags. Whether a message has the
 * shape decides about speed alone: one that has not is read head by head, and now and then a shape
 * is learnt anew from such a one.
 */
#ifndef WEIR_STREAM_SHAPE_H
#define WEIR_STREAM_SHAPE_H

#include <string.h>

#include "unpack_private.h"
#include "weir/stream.h"

/** Sixteen bytes; whether the machine has registers for them is the compiler's business. */
typedef uint64_t weir__shape_lane __attribute__((vector_size(WEIR_STREAM_SHAPE_LANE)));

/**
 * Compare the message at @at with @shape.
 *
 * Returns   behind the last value that the shape has, all of them before @end; NULL: it has another
 *           shape, or nearly reaches @end.
 */
static inline __attribute__((always_inline)) const uint8_t *weir__shape_match(
    const struct weir_stream_shape *shape, const uint8_t *at, const uint8_t *end)
{
    const uint8_t *lane = shape->lanes;

    for (unsigned i = 0; i < shape->run_count; i++) {
        const struct weir_stream_shape_run run = shape->runs[i];
        weir__shape_lane differ = {0, 0};
        if (WEIR_UNLIKELY((size_t)(end - at) < run.room))
            return NULL;
        for (size_t from = 0; from < run.lane_bytes; from += sizeof(differ)) {
            weir__shape_lane bytes, mask, tags;
            memcpy(&bytes, at + from, sizeof(bytes));
            memcpy(&mask, lane, sizeof(mask));
            memcpy(&tags, lane + sizeof(mask), sizeof(tags));
            differ |= (bytes & mask) ^ tags;
            lane += 2 * sizeof(differ);
        }
        if (WEIR_UNLIKELY((differ[0] | differ[1]) != 0))
            return NULL;
        at += run.bytes;
        if (!run.joint)
            continue;
        size_t step = weir__wire_steps[at[0]];
        if (step == 0) {
            if (WEIR_UNLIKELY(at[0] != WEIR_TAG_STR8 && at[0] != WEIR_TAG_BIN8))
                return NULL;
            step = 2 + (size_t)at[1];
        }
        if (WEIR_UNLIKELY(step > (size_t)(end - at)))
            return NULL;
        at += step;
    }
    return at;
}

/** Whether a shape is to be learnt from the message that is whole and did not have this one. */
static inline bool weir__shape_missed(struct weir_stream_shape *shape)
{
    return ++shape->misses >= shape->patience;
}

/** Learn the shape of @message, which is whole and well-formed. */
void weir__shape_learn(struct weir_stream_shape *shape, struct weir_view message);

#endif /* WEIR_STREAM_SHAPE_H */
