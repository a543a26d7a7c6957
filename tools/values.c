/* SPDX-License-Identifier: MIT */
#include "values.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <weir/unpack.h>

#include "report.h"
#include "vec.h"

#define IOVECS 16

/* A value up to this size is checked together with what follows it in memory. */
#define TOGETHER_BYTES_MAX 4096

int values_open(struct values *values, struct weir_pool *pool, const struct weir_limits *limits,
                const char *path, bool ahead)
{
    memset(values, 0, sizeof(*values));
    /* Of the limits of one value the stream sees to the others. */
    values->check.limits.depth = limits->depth;
    weir_arena_init(&values->keys, pool, NULL);
    values->check.arena = &values->keys;
    weir_stream_init(&values->stream, pool, limits);
    int rc = input_open(&values->input, pool, path, ahead);
    int rc_buf = weir_buf_init(&values->kept, pool, NULL);
    return rc < 0 ? rc : rc_buf;
}

void values_require(struct values *values, uint32_t flags)
{
    values->check.flags = flags;
}

/* The fault @offset bytes behind the start of @value, which is at @from in the file. */
static int set_fault(struct values *values, struct weir_view value, uint64_t from, size_t offset,
                     const char *reason)
{
    path_text(value, offset, values->fault_path);
    values->fault_offset = from + offset;
    values->fault_reason = reason;
    return -EBADMSG;
}

/* Forget what was handed out. */
static void forget(struct values *values)
{
    uint64_t from = weir_stream_offset(&values->stream);

    weir_buf_consume(&values->kept, (size_t)(from - values->kept_from));
    values->kept_from = from;
}

/* Move the kept bytes into one piece. */
static int join_kept(struct values *values, struct vec *ret)
{
    struct iovec iovecs[IOVECS];
    int rc = vec_reserve(ret, weir_buf_size(&values->kept));

    while (rc == 0 && weir_buf_size(&values->kept) != 0) {
        unsigned count = weir_buf_iovecs(&values->kept, 0, iovecs, NULL, IOVECS);
        size_t before = ret->size;
        for (unsigned i = 0; rc == 0 && i < count; i++)
            rc = vec_append(ret, weir_view_of(iovecs[i].iov_base, iovecs[i].iov_len));
        weir_buf_consume(&values->kept, ret->size - before);
    }
    return rc;
}

/*
 * The stream has found a fault, or the file ends inside of a value. A stream sees heads as they
 * come; weir_check(), which looks at the depth as well, may have a fault before that. That bytes
 * are missing is none if the stream has seen worse.
 */
static int diagnose(struct values *values)
{
    struct weir_fault found = weir_stream_fault(&values->stream);
    struct weir_fault fault = {0, 0, NULL};
    struct vec bytes;

    forget(values);
    vec_init(&bytes, values->input.pool);
    int rc = join_kept(values, &bytes);
    if (rc == 0) {
        struct weir_view value = weir_view_of(vec_data(&bytes), bytes.size);
        int rc_check = weir_check_with(value, &values->check, NULL, &fault);
        size_t found_at = (size_t)(found.offset - values->kept_from);
        if (rc_check == -ENOMEM)
            rc = rc_check;
        else if (fault.error == 0 ||
                 (found.error != 0 && (fault.error == -EAGAIN || found_at <= fault.offset)))
            rc = set_fault(values, value, values->kept_from, found_at, found.reason);
        else
            rc = set_fault(values, value, values->kept_from, fault.offset, fault.reason);
    }
    vec_fini(&bytes);
    return rc;
}

/*
 * What to look at for @value: what was read behind it as well, if that is in the same piece of
 * memory. For small values a call for each would cost more than the look.
 */
static struct weir_view with_following(const struct values *values, struct weir_view value)
{
    struct weir_view fed = values->fed.view;
    uintptr_t end = (uintptr_t)value.data + value.size;

    if (value.size > TOGETHER_BYTES_MAX || end < (uintptr_t)fed.data ||
        end - (uintptr_t)fed.data > fed.size)
        return value;
    size_t behind = fed.size - (size_t)(end - (uintptr_t)fed.data);
    return weir_view_of(value.data, value.size + behind);
}

/* Whether the value that the stream has handed out last is as is wanted. Returns 0 or an error. */
static int check_value(struct values *values, struct weir_view value)
{
    struct weir_fault fault;
    uint64_t to = weir_stream_offset(&values->stream);
    uint64_t from = to - value.size;

    if (to <= values->checked_to)
        return 0;
    int rc = weir_check_with(with_following(values, value), &values->check, NULL, &fault);
    values->checked_to = from + fault.offset;
    /* A fault behind the value is that of the one in which it lies, once that is complete. */
    if (values->checked_to >= to)
        return 0;
    return rc == -ENOMEM ? rc : set_fault(values, value, from, fault.offset, fault.reason);
}

int values_next(struct values *values, struct weir_slice *ret)
{
    struct weir_slice value;

    int rc = weir_stream_next(&values->stream, &value);
    if (rc == -EBADMSG || rc == -EMSGSIZE)
        return diagnose(values);
    if (rc < 0)
        return rc;
    rc = check_value(values, value.view);
    if (rc < 0)
        weir_slice_drop(&value);
    else
        *ret = value;
    return rc;
}

int values_next_view(struct values *values, struct weir_view *ret)
{
    struct weir_view value;

    int rc = weir_stream_next_view(&values->stream, &value);
    if (rc == -EBADMSG || rc == -EMSGSIZE)
        return diagnose(values);
    if (rc == 0)
        rc = check_value(values, value);
    if (rc == 0)
        *ret = value;
    return rc;
}

int values_fill(struct values *values)
{
    struct weir_slice *fed = &values->fed;

    forget(values);
    weir_slice_drop(fed);
    int rc = input_read(&values->input, fed);
    if (rc < 0)
        return rc;
    if (fed->view.size == 0)
        return weir_stream_is_partial(&values->stream) ? diagnose(values) : VALUES_END;
    rc = weir_buf_append_slice(&values->kept, fed);
    return rc == 0 ? weir_stream_feed(&values->stream, fed) : rc;
}

int values_close(struct values *values, const char *command, int rc)
{
    int status = EX_OK;

    if (rc < 0 && values->fault_reason != NULL) {
        report_error(command, "%s: offset %" PRIu64 "%s%s: %s", values->input.name,
                     values->fault_offset, values->fault_path[0] != '\0' ? ", " : "",
                     values->fault_path, values->fault_reason);
        status = REPORT_BAD_DATA;
    } else if (rc < 0) {
        status = input_report(&values->input, command, rc);
    }
    weir_slice_drop(&values->fed);
    weir_arena_fini(&values->keys);
    weir_buf_fini(&values->kept);
    weir_stream_fini(&values->stream);
    input_close(&values->input);
    return status;
}
