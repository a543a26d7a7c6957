/* SPDX-License-Identifier: MIT */
/*
 * fuzz_check: weir_check(), skipping and reading value by value give one verdict on any bytes.
 *
 * The first byte chooses the limit of elements, the rest is looked at.
 */
#include <errno.h>
#include <stdlib.h>

#include <weir/unpack.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Pass over everything by weir_unpack_skip(). */
static struct weir_fault skip_walk(struct weir_view input, const struct weir_limits *limits)
{
    struct weir_unpacker u;
    struct weir_fault fault = {0, 0, NULL};

    weir_unpack_init(&u, input, limits);
    while (weir_unpack_error(&u) == 0 && !weir_unpack_done(&u))
        weir_unpack_skip(&u);
    fault.error = weir_unpack_error(&u);
    fault.offset = weir_unpack_offset(&u);
    return fault;
}

/* Pass over everything head by head; what is handed out lies in the input. */
static struct weir_fault next_walk(struct weir_view input, const struct weir_limits *limits)
{
    struct weir_unpacker u;
    struct weir_value value;
    struct weir_fault fault = {0, 0, NULL};
    uint64_t to_come = 0;

    weir_unpack_init(&u, input, limits);
    while (to_come != 0 || !weir_unpack_done(&u)) {
        enum weir_type type = WEIR_TYPE_NIL;
        int peeked = weir_unpack_peek(&u, &type);
        if (weir_unpack_next(&u, &value) != 0)
            break;
        require(peeked == 0 && type == value.type);
        if (type == WEIR_TYPE_STR || type == WEIR_TYPE_BIN || type == WEIR_TYPE_EXT) {
            struct weir_view part;
            size_t end = weir_unpack_offset(&u);
            require(value.as.bytes.size <= end);
            require(weir_view_slice(input, end - value.as.bytes.size, value.as.bytes.size, &part) ==
                    0);
            require(part.size == 0 || part.data == value.as.bytes.data);
        }
        if (to_come != 0)
            to_come--;
        to_come += type == WEIR_TYPE_ARRAY ? value.count
                   : type == WEIR_TYPE_MAP ? 2 * (uint64_t)value.count
                                           : 0;
    }
    fault.error = weir_unpack_error(&u);
    fault.offset = weir_unpack_offset(&u);
    return fault;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_limits limits = {.depth = WEIR_DEPTH_MAX};
    struct weir_fault checked, skipped, walked;

    if (size == 0)
        return 0;
    limits.elements = data[0] < 0x80 ? 0 : data[0] - 0x7fu;
    struct weir_view input = weir_view_of(data + 1, size - 1);
    int rc = weir_check(input, &limits, &checked);
    require(rc == checked.error && checked.reason != NULL);
    skipped = skip_walk(input, &limits);
    walked = next_walk(input, &limits);
    require(skipped.error == walked.error && skipped.offset == walked.offset);
    if (rc == skipped.error && checked.offset == skipped.offset)
        return 0;
    /* Only depth may tell them apart, and it comes first where it does. */
    require(rc == -ENOBUFS && checked.offset <= skipped.offset);
    limits.depth = 1;
    require(weir_check(input, &limits, NULL) == -ENOBUFS);
    return 0;
}
