/* SPDX-License-Identifier: MIT */
#include "unpack_private.h"

const char weir__deep_reason[] = "nested deeper than the limit";
const char weir__depth_reason[] = "a limit of depth above WEIR_DEPTH_MAX";
const char weir__large_reason[] = "more bytes than the limit allows";

struct checker {
    struct weir_unpacker cursor;
    struct weir__levels levels; /* where none is open, no end of values is to come */
    uint64_t outer[WEIR_DEPTH_MAX];
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

/* Check one head and pass over it. Returns NULL; or the reason, and the cursor has the error. */
static const char *check_head(struct checker *checker)
{
    struct weir_unpacker *cursor = &checker->cursor;
    struct weir__levels *levels = &checker->levels;
    struct weir__head head;

    int rc = weir__unpack_tag(cursor);
    if (rc != 0)
        return weir__tag_reason(rc);
    enum weir_type type = weir__tag_type(cursor->pos[0]);
    bool container = type == WEIR_TYPE_ARRAY || type == WEIR_TYPE_MAP;
    /* Before what is missing: more bytes would not help. */
    if (container && levels->depth == levels->depth_max) {
        weir__unpack_fail(cursor, -ENOBUFS);
        return weir__deep_reason;
    }
    if (weir__unpack_body(cursor, &head) != 0)
        return weir__cut_reason(type);
    weir__unpack_take(cursor, &head);
    levels->to_come--;
    uint64_t values = weir__head_values(&head);
    if (values != 0) {
        levels->outer[levels->depth++] = levels->to_come;
        levels->to_come = values;
    }
    while (levels->to_come == 0)
        levels->to_come = levels->outer[--levels->depth];
    return NULL;
}

int weir_check(struct weir_view input, const struct weir_limits *limits, struct weir_fault *ret)
{
    struct weir_fault fault = {0, 0, "nothing is wrong"};
    struct checker checker;

    checker.levels.to_come = UINT64_MAX - 1; /* even; a value takes a byte: never 0 */
    checker.levels.announced = 0;
    checker.levels.outer = checker.outer;
    checker.levels.depth = 0;
    checker.levels.depth_max = limits && limits->depth ? limits->depth : WEIR__DEPTH_DEFAULT;
    weir_unpack_init(&checker.cursor, input, limits);
    if (checker.levels.depth_max > WEIR_DEPTH_MAX) {
        fault.error = -EINVAL;
        fault.reason = weir__depth_reason;
    } else if (checker.cursor.error != 0) {
        fault.error = checker.cursor.error;
        fault.reason = weir__large_reason;
    }
    if (fault.error == 0 && checker.cursor.elements_left >= input.size)
        weir__unpack_run(&checker.cursor, &checker.levels);
    while (fault.error == 0 && (checker.levels.depth != 0 || !weir_unpack_done(&checker.cursor))) {
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
