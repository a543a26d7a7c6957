/* SPDX-License-Identifier: MIT */
#include "json_write.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <weir/pack.h>
#include <weir/text.h>

#include "base64.h"
#include "number.h"
#include "rfc3339.h"

/* What is taken from a string at a time; a multiple of 3 for base64. */
#define PART_BYTES 6144

/* Room for any token that is not a string: the longest is a float 32 or a timestamp. */
#define TOKEN_BYTES 64

enum kind { ARRAY, OBJECT, PAIRS };

void json_writer_init(struct json_writer *writer, struct weir_pool *pool)
{
    json_scan_init(&writer->scan, pool);
    writer->depth = 0;
    writer->closing = NULL;
    writer->begun = true;
}

void json_writer_fini(struct json_writer *writer)
{
    json_scan_fini(&writer->scan);
}

int json_writer_start(struct json_writer *writer, struct weir_view value)
{
    weir_unpack_init(&writer->cursor, value, NULL);
    writer->maps = 0;
    writer->depth = 0;
    writer->closing = NULL;
    writer->begun = false;
    return json_scan_value(&writer->scan, value);
}

static int put(struct weir_buf *out, const char *text, size_t size)
{
    uint8_t *at;
    int rc = weir_buf_reserve(out, size, &at);

    if (rc < 0)
        return rc;
    memcpy(at, text, size);
    weir_buf_commit(out, size);
    return 0;
}

static int put_text(struct weir_buf *out, const char *text)
{
    return put(out, text, strlen(text));
}

/* Begin a string: @opening now, @bytes and @closing by write_rest(). */
static int put_string(struct json_writer *writer, struct weir_buf *out, const char *opening,
                      struct weir_view bytes, bool is_bytes, const char *closing)
{
    int rc = put_text(out, opening);

    if (rc == 0) {
        writer->rest = bytes;
        writer->rest_is_bytes = is_bytes;
        writer->closing = closing;
    }
    return rc;
}

/* The next part of the string that is begun, and its end behind the last one. */
static int write_rest(struct json_writer *writer, struct weir_buf *out)
{
    struct weir_view *rest = &writer->rest;
    size_t size = rest->size < PART_BYTES ? rest->size : PART_BYTES;
    uint8_t *at;

    if (size != 0) {
        struct weir_view part = weir_view_of(rest->data, size);
        int rc = weir_buf_reserve(out, WEIR_TEXT_JSON_MAX * size, &at);
        if (rc < 0)
            return rc;
        if (writer->rest_is_bytes) {
            base64_encode(part, at);
            weir_buf_commit(out, base64_encoded_bytes(size));
        } else {
            weir_buf_commit(out, weir_text_json_write(part, at));
        }
        *rest = weir_view_of(rest->data + size, rest->size - size);
    }
    if (rest->size != 0)
        return 0;
    const char *closing = writer->closing;
    writer->closing = NULL;
    return put_text(out, closing);
}

static int write_f64(struct weir_buf *out, double value)
{
    char text[NUMBER_TEXT_BYTES];
    char token[TOKEN_BYTES];

    if (isfinite(value))
        return put(out, text, number_f64_text(value, text));
    number_f64_special(value, text);
    return put(out, token, (size_t)snprintf(token, sizeof(token), "{\"$float\":\"%s\"}", text));
}

static int write_f32(struct weir_buf *out, float value)
{
    char text[NUMBER_TEXT_BYTES];
    char token[TOKEN_BYTES];
    const char *quote = isfinite(value) ? "" : "\"";

    if (isfinite(value))
        number_f32_text(value, text);
    else
        number_f32_special(value, text);
    return put(out, token,
               (size_t)snprintf(token, sizeof(token), "{\"$f32\":%s%s%s}", quote, text, quote));
}

static int write_ext(struct json_writer *writer, struct weir_buf *out,
                     const struct weir_value *value)
{
    struct weir_timestamp time;
    char text[RFC3339_TEXT_BYTES];
    char token[TOKEN_BYTES];

    if (value->ext_type == WEIR_EXT_TIMESTAMP &&
        weir_timestamp_decode(value->as.bytes, &time) == 0 && rfc3339_text(time, text) != 0)
        return put(out, token, (size_t)snprintf(token, sizeof(token), "{\"$time\":\"%s\"}", text));
    snprintf(token, sizeof(token), "{\"$ext\":[%d,\"", value->ext_type);
    return put_string(writer, out, token, value->as.bytes, true, "\"]}");
}

static int write_container(struct json_writer *writer, struct weir_buf *out,
                           const struct weir_value *value)
{
    static const char *const openings[] = {"[", "{", "{\"$map\":["};
    enum kind kind = ARRAY;

    if (writer->depth == WEIR_DEPTH_MAX)
        return -EOVERFLOW;
    if (value->type == WEIR_TYPE_MAP)
        kind = json_scan_is_object(&writer->scan, writer->maps++) ? OBJECT : PAIRS;
    struct json_writer_frame *frame = &writer->frames[writer->depth++];
    frame->values_left = (uint64_t)value->count * (kind == ARRAY ? 1 : 2);
    frame->kind = (uint8_t)kind;
    frame->begun = false;
    return put_text(out, openings[kind]);
}

static int write_value(struct json_writer *writer, struct weir_buf *out,
                       const struct weir_value *value)
{
    char text[TOKEN_BYTES];

    switch (value->type) {
    case WEIR_TYPE_NIL:
        return put_text(out, "null");
    case WEIR_TYPE_BOOL:
        return put_text(out, value->as.boolean ? "true" : "false");
    case WEIR_TYPE_UINT:
        return put(out, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, value->as.u64));
    case WEIR_TYPE_INT:
        return put(out, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, value->as.i64));
    case WEIR_TYPE_F32:
        return write_f32(out, value->as.f32);
    case WEIR_TYPE_F64:
        return write_f64(out, value->as.f64);
    case WEIR_TYPE_STR:
        if (weir_text_is_utf8(value->as.bytes))
            return put_string(writer, out, "\"", value->as.bytes, false, "\"");
        return put_string(writer, out, "{\"$str\":\"", value->as.bytes, true, "\"}");
    case WEIR_TYPE_BIN:
        return put_string(writer, out, "{\"$bin\":\"", value->as.bytes, true, "\"}");
    case WEIR_TYPE_EXT:
        return write_ext(writer, out, value);
    case WEIR_TYPE_ARRAY:
    case WEIR_TYPE_MAP:
        return write_container(writer, out, value);
    }
    return -EPROTO;
}

/* What stands before the next value of the innermost array or map. */
static const char *separator(const struct json_writer_frame *frame)
{
    bool is_key = frame->values_left % 2 == 0;

    switch ((enum kind)frame->kind) {
    case ARRAY:
        return frame->begun ? "," : "";
    case OBJECT:
        return !is_key ? ":" : frame->begun ? "," : "";
    case PAIRS:
        break;
    }
    return !is_key ? "," : frame->begun ? "],[" : "[";
}

static int close_container(struct json_writer *writer, struct weir_buf *out)
{
    const struct json_writer_frame *frame = &writer->frames[--writer->depth];

    switch ((enum kind)frame->kind) {
    case ARRAY:
        return put(out, "]", 1);
    case OBJECT:
        return put(out, "}", 1);
    case PAIRS:
        break;
    }
    return put_text(out, frame->begun ? "]]}" : "]}");
}

/* Returns 1 something was written, 0 there is nothing left, or an error. */
static int write_next(struct json_writer *writer, struct weir_buf *out)
{
    struct weir_value value;
    int rc = 0;

    if (writer->closing != NULL) {
        rc = write_rest(writer, out);
        return rc < 0 ? rc : 1;
    }
    if (writer->depth == 0 && writer->begun)
        return 0;
    writer->begun = true;
    if (writer->depth != 0) {
        struct json_writer_frame *frame = &writer->frames[writer->depth - 1];
        if (frame->values_left == 0) {
            rc = close_container(writer, out);
            return rc < 0 ? rc : 1;
        }
        rc = put_text(out, separator(frame));
        frame->begun = true;
        frame->values_left--;
    }
    if (rc == 0)
        rc = weir_unpack_next(&writer->cursor, &value);
    if (rc == 0)
        rc = write_value(writer, out, &value);
    return rc < 0 ? rc : 1;
}

int json_writer_step(struct json_writer *writer, struct weir_buf *out)
{
    int rc;

    do {
        rc = write_next(writer, out);
    } while (rc > 0 && weir_buf_size(out) < JSON_WRITE_STEP_BYTES);
    return rc;
}
