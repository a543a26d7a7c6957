/* SPDX-License-Identifier: MIT */
#include "json_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include <weir/pack.h>
#include <weir/stream.h>

#include "json_place.h"
#include "json_tree.h"

int json_reader_init(struct json_reader *reader, struct weir_pool *pool,
                     const struct weir_limits *limits)
{
    memset(reader, 0, sizeof(*reader));
    reader->pool = pool;
    reader->line = 1;
    reader->depth_max = limits == NULL || limits->depth == 0 ? 128 : limits->depth;
    reader->bytes_max =
        limits == NULL || limits->bytes == 0 ? WEIR_STREAM_BYTES_DEFAULT : limits->bytes;
    vec_init(&reader->text, pool);
    vec_init(&reader->scratch, pool);
    vec_init(&reader->frames, pool);
    if (reader->depth_max > WEIR_DEPTH_MAX || reader->bytes_max > JSON_TEXT_BYTES_MAX)
        return -EINVAL;
    uint32_t nesting_max = JSON_NESTING(reader->depth_max);
    json_guard_init(&reader->guard, pool, nesting_max);
    /* json-c counts scalars as a level too. */
    reader->tokener = json_tokener_new_ex((int)nesting_max + 2);
    if (reader->tokener == NULL)
        return -ENOMEM;
    json_tokener_set_flags(reader->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8 |
                                                JSON_TOKENER_ALLOW_TRAILING_CHARS);
    return vec_reserve(&reader->frames, json_tree_frames_bytes(nesting_max));
}

void json_reader_fini(struct json_reader *reader)
{
    if (reader->tokener != NULL)
        json_tokener_free(reader->tokener);
    json_guard_fini(&reader->guard);
    vec_fini(&reader->text);
    vec_fini(&reader->scratch);
    vec_fini(&reader->frames);
    memset(reader, 0, sizeof(*reader));
}

static uint64_t lines_in(const uint8_t *at, size_t size)
{
    uint64_t lines = 0;

    while (size != 0) {
        const uint8_t *found = memchr(at, '\n', size);
        if (found == NULL)
            break;
        lines++;
        size -= (size_t)(found - at) + 1;
        at = found + 1;
    }
    return lines;
}

/* Set the fault at @offset within the value's @text. */
__attribute__((format(printf, 5, 6))) static int fail(struct json_reader *reader, int error,
                                                      struct weir_view text, uint64_t offset,
                                                      const char *format, ...)
{
    struct json_fault *fault = &reader->fault;
    size_t within = offset < text.size ? (size_t)offset : text.size;
    va_list arguments;

    fault->error = error;
    fault->offset = reader->offset + offset;
    fault->line = reader->line + lines_in(text.data, within);
    va_start(arguments, format);
    vsnprintf(fault->reason, sizeof(fault->reason), format, arguments);
    va_end(arguments);
    return error;
}

static int fail_of_ours(struct json_reader *reader, int error)
{
    return fail(reader, error, weir_view_of(NULL, 0), 0, "%s", weir_error_text(error));
}

/* The guard has seen to the tokens; what json-c finds is wrong with their order. */
static int fail_as_json_c(struct json_reader *reader, struct weir_view text)
{
    const char *reason;

    switch (json_tokener_get_error(reader->tokener)) {
    case json_tokener_error_parse_array:
        reason = "a ',' or ']' is missing here";
        break;
    case json_tokener_error_parse_object_key_name:
        reason = "a name in double quotes is missing here";
        break;
    case json_tokener_error_parse_object_key_sep:
        reason = "a ':' is missing here";
        break;
    case json_tokener_error_parse_object_value_sep:
        reason = "a ',' or '}' is missing here";
        break;
    default:
        reason = "a character that cannot stand here";
        break;
    }
    return fail(reader, -EBADMSG, text, json_tokener_get_parse_end(reader->tokener), "%s", reason);
}

/* The text breaks off, or the guard objects to what follows it: json-c may object before that. */
static int fail_after(struct json_reader *reader, struct weir_view text, uint64_t offset,
                      const char *reason)
{
    size_t before = offset < text.size ? (size_t)offset : text.size;

    json_tokener_reset(reader->tokener);
    json_object_put(json_tokener_parse_ex(reader->tokener, (const char *)text.data, (int)before));
    enum json_tokener_error error = json_tokener_get_error(reader->tokener);
    if (error != json_tokener_continue && error != json_tokener_success &&
        error != json_tokener_error_parse_utf8_string &&
        json_tokener_get_parse_end(reader->tokener) < before)
        return fail_as_json_c(reader, text);
    return fail(reader, -EBADMSG, text, offset, "%s", reason);
}

/* json-c's tree of a whole value; NULL is also the tree of null. */
static int parse(struct json_reader *reader, struct weir_view text, struct json_object **ret)
{
    struct json_tokener *tokener = reader->tokener;

    json_tokener_reset(tokener);
    struct json_object *tree =
        json_tokener_parse_ex(tokener, (const char *)text.data, (int)text.size);
    size_t end = json_tokener_get_parse_end(tokener);
    if (json_tokener_get_error(tokener) == json_tokener_continue)
        tree = json_tokener_parse_ex(tokener, "\n", 1); /* a number or literal might go on */
    if (json_tokener_get_error(tokener) != json_tokener_success)
        return fail_as_json_c(reader, text);
    if (tree == NULL && text.data[0] != 'n')
        return fail_of_ours(reader, -ENOMEM);
    if (end != text.size) {
        json_object_put(tree);
        return fail(reader, -EBADMSG, text, end, "a character that cannot stand here");
    }
    *ret = tree;
    return 0;
}

static int fail_in_tree(struct json_reader *reader, struct weir_view text,
                        const struct json_tree *walk)
{
    size_t offset = json_place_of_value(text, walk->fault_value);

    if (walk->error != -EBADMSG)
        return fail_of_ours(reader, walk->error);
    if (walk->reason != NULL)
        return fail(reader, -EBADMSG, text, offset, "%s", walk->reason);
    struct weir_view name = json_place_of_repeated_name(text, offset);
    if (name.size == 0)
        return fail(reader, -EBADMSG, text, offset, "an object with the same name twice");
    int shown = name.size > 80 ? 80 : (int)name.size;
    return fail(reader, -EBADMSG, text, (size_t)(name.data - text.data),
                "the name %.*s%s for the second time in an object", shown, (const char *)name.data,
                name.size > 80 ? "..." : "");
}

static int convert(struct json_reader *reader, struct weir_view text, struct weir_buf *out)
{
    struct json_object *tree = NULL;
    struct weir_packer packer;
    struct json_tree walk;

    if (text.size > reader->bytes_max)
        return fail(reader, -EBADMSG, text, 0, "a value of more than %" PRIu64 " bytes",
                    reader->bytes_max);
    int rc = parse(reader, text, &tree);
    if (rc < 0)
        return rc;
    weir_pack_begin(&packer, out, text.size);
    json_tree_init(&walk, &packer, reader);
    rc = json_tree_pack(&walk, tree);
    json_object_put(tree);
    if (rc < 0) {
        weir_pack_cancel(&packer);
        return fail_in_tree(reader, text, &walk);
    }
    rc = weir_pack_end(&packer, NULL);
    return rc < 0 ? fail_of_ours(reader, rc) : 0;
}

/* The value is done with: the next one begins behind it. */
static void leave_value(struct json_reader *reader, struct weir_view text)
{
    reader->offset += text.size;
    reader->line += lines_in(text.data, text.size);
    reader->in_value = false;
    reader->text.size = 0;
}

static void shorten(struct weir_view *view, size_t size)
{
    *view = weir_view_of(view->data + size, view->size - size);
}

static void skip_blanks(struct json_reader *reader, struct weir_view *input)
{
    size_t i = 0;

    while (i < input->size && memchr(" \t\r\n", input->data[i], 4) != NULL)
        reader->line += input->data[i++] == '\n';
    reader->offset += i;
    shorten(input, i);
}

/* The text of the value so far with @more; a value that came in one piece stays where it is. */
static int text_with(struct json_reader *reader, struct weir_view more, struct weir_view *ret)
{
    *ret = more;
    if (reader->text.size == 0)
        return 0;
    int rc = vec_append(&reader->text, more);
    *ret = weir_view_of(vec_data(&reader->text), reader->text.size);
    return rc < 0 ? fail_of_ours(reader, rc) : 0;
}

/* The value does not end in this piece. */
static int keep(struct json_reader *reader, struct weir_view *input)
{
    int rc = vec_append(&reader->text, *input);
    if (rc < 0)
        return fail_of_ours(reader, rc);
    if (reader->text.size > reader->bytes_max)
        return fail(reader, -EBADMSG, weir_view_of(NULL, 0), 0,
                    "a value of more than %" PRIu64 " bytes", reader->bytes_max);
    shorten(input, input->size);
    return -EAGAIN;
}

int json_reader_next(struct json_reader *reader, struct weir_view *input, struct weir_buf *out)
{
    struct weir_view text;
    size_t used = 0;

    if (reader->fault.error != 0)
        return reader->fault.error;
    if (!reader->in_value) {
        skip_blanks(reader, input);
        if (input->size == 0)
            return -EAGAIN;
        json_guard_start(&reader->guard);
        reader->in_value = true;
    }
    int rc = json_guard_take(&reader->guard, *input, &used);
    if (rc == 0)
        return keep(reader, input);
    if (rc < 0 && rc != -EBADMSG)
        return fail_of_ours(reader, rc);
    int rc_text = text_with(reader, weir_view_of(input->data, rc < 0 ? input->size : used), &text);
    if (rc_text < 0)
        return rc_text;
    if (rc < 0)
        return fail_after(reader, text, reader->guard.fault, reader->guard.reason);
    rc = convert(reader, text, out);
    if (rc < 0)
        return rc;
    leave_value(reader, text);
    shorten(input, used);
    return 0;
}

int json_reader_end(struct json_reader *reader, struct weir_buf *out)
{
    struct weir_view text = weir_view_of(vec_data(&reader->text), reader->text.size);

    if (reader->fault.error != 0)
        return reader->fault.error;
    if (!reader->in_value)
        return -EAGAIN;
    int rc = json_guard_end(&reader->guard);
    if (rc == 0)
        return fail_after(reader, text, text.size, "the input ends inside of a value");
    if (rc < 0)
        return fail_after(reader, text, reader->guard.fault, reader->guard.reason);
    rc = convert(reader, text, out);
    if (rc == 0)
        leave_value(reader, text);
    return rc;
}
