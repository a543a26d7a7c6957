/* SPDX-License-Identifier: MIT */
#include "unpack_private.h"

const char weir__deep_reason[] = "nested deeper than the limit";
const char weir__depth_reason[] = "a limit of depth above WEIR_DEPTH_MAX";
const char weir__large_reason[] = "more bytes than the limit allows";

struct checker {
    struct weir_unpacker cursor;
    uint64_t
        to_come;    /* values, in the innermost array or map; where none is open, no end of them */
    uint32_t depth; /* arrays and maps that are open */
    uint32_t depth_max;
    uint64_t outer[WEIR_DEPTH_MAX]; /* values to come around each of them */
};

const char *weir__cut_reason(enum weir_type type)
{
    switch (type) {
    case WEIR_TYPE_STR:
        return "the bytes end within a str";
    case WEIR_TYPE_BIN:
        return "the bytes end within a bin";
    case WEIR_TYPE_EXT:
        return "the bytes end within an ext";
    case WEIR_TYPE_ARRAY:
        return "the bytes end within an array";
    case WEIR_TYPE_MAP:
        return "the bytes end within a map";
    case WEIR_TYPE_F32:
    case WEIR_TYPE_F64:
        return "the bytes end within a float";
    default:
        return "the bytes end within an integer";
    }
}

const char *weir__tag_reason(int error)
{
    switch (error) {
    case -EAGAIN:
        return "the bytes end within an array or map";
    case -ENOBUFS:
        return "more values than the limit allows";
    default:
        return "the reserved byte 0xc1";
    }
}

/*
 * Check what can be checked without looking at the end of the input for each value. Stops near the
 * end, and at what is wrong or rare. The budget must have an element for each byte that is left.
 */
static void check_run(struct checker *checker)
{
    const uint8_t *at = checker->cursor.pos;
    const uint8_t *end = checker->cursor.end;
    uint64_t to_come = checker->to_come;
    uint32_t depth = checker->depth;

    while ((size_t)(end - at) >= WEIR__ROOM) {
        unsigned tag = at[0];
        if (WEIR_UNLIKELY(to_come == 0)) {
            to_come = checker->outer[--depth];
            continue;
        }
        if (WEIR_LIKELY(weir__step_frequent(&at, tag))) {
            to_come--;
            continue;
        }
        size_t step = weir__wire_steps[tag];
        if (WEIR_UNLIKELY(step == 0)) {
            uint64_t values = 0;
            step = weir__step_counted(at, end, 0, &values);
            if (step == 0)
                break;
            if (values == 0) { /* even an empty one counts */
                if (depth == checker->depth_max && weir_wire_tags[tag].kind != WEIR_WIRE_BYTES)
                    break;
            } else {
                if (depth == checker->depth_max)
                    break;
                checker->outer[depth++] = to_come - 1;
                to_come = values + 1;
            }
        }
        at += step;
        to_come--;
    }
    /* The rest, but for what is rare. */
    while (at != end) {
        size_t step = weir__wire_steps[at[0]];
        while (to_come == 0)
            to_come = checker->outer[--depth];
        if (step == 0 || step > (size_t)(end - at))
            break;
        at += step;
        to_come--;
    }
    while (to_come == 0)
        to_come = checker->outer[--depth];
    checker->cursor.pos = at;
    checker->to_come = to_come;
    checker->depth = depth;
}

/* Check one head and pass over it. Returns NULL; or the reason, and the cursor has the error. */
static const char *check_head(struct checker *checker)
{
    struct weir_unpacker *cursor = &checker->cursor;
    struct weir__head head;

    int rc = weir__unpack_tag(cursor);
    if (rc != 0)
        return weir__tag_reason(rc);
    enum weir_type type = weir__tag_type(cursor->pos[0]);
    bool container = type == WEIR_TYPE_ARRAY || type == WEIR_TYPE_MAP;
    /* Before what is missing: more bytes would not help. */
    if (container && checker->depth == checker->depth_max) {
        weir__unpack_fail(cursor, -ENOBUFS);
        return weir__deep_reason;
    }
    if (weir__unpack_body(cursor, &head) != 0)
        return weir__cut_reason(type);
    weir__unpack_take(cursor, &head);
    checker->to_come--;
    uint64_t values = weir__head_values(&head);
    if (values != 0) {
        checker->outer[checker->depth++] = checker->to_come;
        checker->to_come = values;
    }
    while (checker->to_come == 0)
        checker->to_come = checker->outer[--checker->depth];
    return NULL;
}

int weir_check(struct weir_view input, const struct weir_limits *limits, struct weir_fault *ret)
{
    struct weir_fault fault = {0, 0, "nothing is wrong"};
    struct checker checker;

    checker.depth = 0;
    checker.to_come = UINT64_MAX; /* a value takes a byte: never 0 */
    checker.depth_max = limits && limits->depth ? limits->depth : WEIR__DEPTH_DEFAULT;
    weir_unpack_init(&checker.cursor, input, limits);
    if (checker.depth_max > WEIR_DEPTH_MAX) {
        fault.error = -EINVAL;
        fault.reason = weir__depth_reason;
    } else if (checker.cursor.error != 0) {
        fault.error = checker.cursor.error;
        fault.reason = weir__large_reason;
    }
    if (fault.error == 0 && checker.cursor.elements_left >= input.size)
        check_run(&checker);
    while (fault.error == 0 && (checker.depth != 0 || !weir_unpack_done(&checker.cursor))) {
        const char *reason = check_head(&checker);
        if (reason != NULL) {
            fault.error = checker.cursor.error;
            fault.reason = reason;
        }
    }
    if (fault.error != -EINVAL)
        fault.offset = weir_unpack_offset(&checker.cursor);
    if (ret != NULL)
        *ret = fault;
    return fault.error;
}
