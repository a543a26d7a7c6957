/* SPDX-License-Identifier: MIT */
/*
 * fuzz_check: weir_check(), skipping and reading value by value give one verdict on any bytes; what
 * it accepts can be walked unchecked, and where it finds fault there is a path to.
 *
 * The first byte chooses the limit of elements, the rest is looked at.
 */
#include <errno.h>
#include <stdlib.h>

#include <weir/walk.h>

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

/* Walk over what was accepted; every value's path leads to it or to an equal key's. */
static void walk_unchecked(struct weir_view input, const struct weir_limits *limits)
{
    struct weir_check_options options = {.limits = *limits};
    struct weir_checked checked;
    struct weir_unpacker u;
    struct weir_walk walk;

    require(weir_check_with(input, &options, &checked, NULL) == 0);
    weir_walk_init(&walk, checked);
    weir_unpack_init(&u, input, limits);
    while (!weir_walk_done(&walk)) {
        struct weir_walk next = walk;
        struct weir_value value = {WEIR_TYPE_NIL, 0, 0, {0}}, same = value;
        weir_walk_next(&next, &value);
        require(weir_unpack_next(&u, &same) == 0);
        require(value.type == same.type && value.count == same.count);
        require(weir_walk_offset(&next) == weir_unpack_offset(&u));
        weir_walk_skip(&walk);
        while (!weir_unpack_done(&u) && weir_unpack_offset(&u) < weir_walk_offset(&walk))
            require(weir_unpack_next(&u, &same) == 0);
        require(weir_walk_offset(&walk) == weir_unpack_offset(&u));
    }
}

/* A path to the fault, which leads there as far as the bytes do. */
static void follow_path(struct weir_view input, size_t offset)
{
    char path[4 * WEIR_DEPTH_MAX];
    struct weir_unpacker u;

    size_t size = weir_path_of(input, offset, path, sizeof(path));
    require(strlen(path) <= size && strlen(path) < sizeof(path));
    if (size >= sizeof(path))
        return;
    weir_unpack_init(&u, input, NULL);
    require(weir_unpack_path(&u, weir_view_of(path, size)) != -EINVAL);
    require(weir_unpack_offset(&u) <= input.size);
}

/* That strs are UTF-8 is found out in two ways, one of which counts the elements. */
static void check_text(struct weir_view input)
{
    struct weir_check_options options = {.flags = WEIR_CHECK_UTF8};
    struct weir_fault fast, slow;

    int rc = weir_check_with(input, &options, NULL, &fast);
    require(rc == fast.error);
    if (input.size < 2)
        return;
    options.limits.elements = input.size - 1;
    weir_check_with(input, &options, NULL, &slow);
    /* Where each byte is an element, that is one too many. */
    require(slow.error == -ENOBUFS || (slow.error == rc && slow.offset == fast.offset));
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
    follow_path(input, checked.offset);
    check_text(input);
    if (rc == 0)
        walk_unchecked(input, &limits);
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
