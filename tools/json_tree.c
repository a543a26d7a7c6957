/* SPDX-License-Identifier: MIT */
#include "json_tree.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include <json-c/json.h>

#include "base64.h"
#include "json_form.h"
#include "json_read.h"
#include "number.h"
#include "rfc3339.h"

enum kind {
    ARRAY,
    OBJECT,
    PAIRS, /* the content of a $map */
    PAIR   /* one of its pairs */
};

struct json_tree_frame {
    struct json_object *array;
    size_t next;
    struct lh_entry *entry;
    enum kind kind;
};

size_t json_tree_frames_bytes(uint32_t nesting_max)
{
    return ((size_t)nesting_max + 1) * sizeof(struct json_tree_frame);
}

void json_tree_init(struct json_tree *walk, struct weir_packer *packer, struct json_reader *reader)
{
    memset(walk, 0, sizeof(*walk));
    walk->packer = packer;
    walk->reader = reader;
    walk->frames = (struct json_tree_frame *)(void *)vec_data(&reader->frames);
}

static int fail(struct json_tree *walk, uint64_t value, const char *reason)
{
    walk->error = -EBADMSG;
    walk->fault_value = value;
    walk->reason = reason;
    return -EBADMSG;
}

/* The value that was visited last is the one at fault. */
static int fail_here(struct json_tree *walk, const char *reason)
{
    return fail(walk, walk->values - 1, reason);
}

static int push(struct json_tree *walk, enum kind kind, struct json_object *array,
                struct lh_entry *entry)
{
    if (kind != PAIR && walk->depth == walk->reader->depth_max)
        return fail_here(walk, "arrays and maps are nested too deep");
    assert(walk->frame_count <= walk->reader->guard.depth_max);
    if (kind != PAIR)
        walk->depth++;
    struct json_tree_frame *frame = &walk->frames[walk->frame_count++];
    frame->kind = kind;
    frame->array = array;
    frame->next = 0;
    frame->entry = entry;
    return 0;
}

static void pop(struct json_tree *walk)
{
    walk->frame_count--;
    if (walk->frames[walk->frame_count].kind != PAIR)
        walk->depth--;
}

static struct weir_view string_of(struct json_object *string)
{
    return weir_view_of(json_object_get_string(string), (size_t)json_object_get_string_len(string));
}

/* Decode the string into the scratch memory. Returns 0; -EBADMSG it is no base64; others. */
static int decode(struct json_tree *walk, struct json_object *string, struct weir_view *ret)
{
    struct vec *scratch = &walk->reader->scratch;
    size_t size;

    if (!json_object_is_type(string, json_type_string))
        return -EBADMSG;
    struct weir_view text = string_of(string);
    scratch->size = 0;
    int rc = vec_reserve(scratch, text.size / 4 * 3 + 1);
    if (rc < 0) {
        walk->error = rc;
        return rc;
    }
    rc = base64_decode(text, vec_data(scratch), &size);
    if (rc == 0)
        *ret = weir_view_of(vec_data(scratch), size);
    return rc;
}

static int pack_base64(struct json_tree *walk, enum json_form form, struct json_object *content)
{
    struct weir_view bytes;
    int rc = decode(walk, content, &bytes);

    if (rc < 0 && walk->error != 0)
        return rc;
    if (rc < 0)
        return fail_here(walk, form == JSON_FORM_BIN
                                   ? "\"$bin\" needs a string: base64 with padding (RFC 4648)"
                                   : "\"$str\" needs a string: base64 with padding (RFC 4648)");
    if (form == JSON_FORM_BIN)
        weir_pack_bin(walk->packer, bytes);
    else
        weir_pack_str(walk->packer, bytes);
    walk->values += 1;
    return 0;
}

static int pack_ext(struct json_tree *walk, struct json_object *content)
{
    static const char reason[] =
        "\"$ext\" needs an array of two: a type of -128..127 and base64 with padding (RFC 4648)";
    struct weir_view bytes;

    if (!json_object_is_type(content, json_type_array) || json_object_array_length(content) != 2)
        return fail_here(walk, reason);
    struct json_object *type = json_object_array_get_idx(content, 0);
    if (!json_object_is_type(type, json_type_int) || json_object_get_int64(type) < INT8_MIN ||
        json_object_get_int64(type) > INT8_MAX)
        return fail_here(walk, reason);
    int rc = decode(walk, json_object_array_get_idx(content, 1), &bytes);
    if (rc < 0)
        return walk->error != 0 ? rc : fail_here(walk, reason);
    weir_pack_ext(walk->packer, (int8_t)json_object_get_int64(type), bytes);
    walk->values += 3;
    return 0;
}

static int pack_time(struct json_tree *walk, struct json_object *content)
{
    struct weir_timestamp time;

    if (!json_object_is_type(content, json_type_string) ||
        !rfc3339_of_text(json_object_get_string(content),
                         (size_t)json_object_get_string_len(content), &time))
        return fail_here(walk, "\"$time\" needs a string such as \"2001-02-03T04:05:06Z\" or "
                               "\"2001-02-03T04:05:06.789Z\"");
    weir_pack_timestamp(walk->packer, time.seconds, time.nanoseconds);
    walk->values += 1;
    return 0;
}

static int pack_float(struct json_tree *walk, struct json_object *content)
{
    double value;

    if (!json_object_is_type(content, json_type_string) ||
        !number_f64_of_special(json_object_get_string(content),
                               (size_t)json_object_get_string_len(content), &value))
        return fail_here(walk, "\"$float\" needs \"nan\", \"inf\", \"-inf\" or \"nan:\" and the 16 "
                               "hexadecimal digits of a NaN");
    weir_pack_f64(walk->packer, value);
    walk->values += 1;
    return 0;
}

static int pack_f32(struct json_tree *walk, struct json_object *content)
{
    enum json_type type = json_object_get_type(content);
    float value = 0;
    bool valid = false;

    if (type == json_type_string)
        valid = number_f32_of_special(json_object_get_string(content),
                                      (size_t)json_object_get_string_len(content), &value);
    else if (type == json_type_int || type == json_type_double)
        /* json-c keeps the text of a number: it is rounded once, straight to float 32. */
        valid = number_f32_of_text(json_object_get_string(content), &value);
    if (!valid)
        return fail_here(walk,
                         "\"$f32\" needs a number in the range of float 32, \"nan\", "
                         "\"inf\", \"-inf\" or \"nan:\" and the 8 hexadecimal digits of a NaN");
    weir_pack_f32(walk->packer, value);
    walk->values += 1;
    return 0;
}

static int pack_pairs(struct json_tree *walk, struct json_object *content)
{
    if (!json_object_is_type(content, json_type_array))
        return fail_here(walk, "\"$map\" needs an array of [key,value] pairs");
    int rc = push(walk, PAIRS, content, NULL);
    if (rc < 0)
        return rc;
    walk->values += 1;
    weir_pack_map(walk->packer, json_object_array_length(content));
    return 0;
}

static int pack_form(struct json_tree *walk, enum json_form form, struct json_object *content)
{
    switch (form) {
    case JSON_FORM_EXT:
        return pack_ext(walk, content);
    case JSON_FORM_TIME:
        return pack_time(walk, content);
    case JSON_FORM_FLOAT:
        return pack_float(walk, content);
    case JSON_FORM_F32:
        return pack_f32(walk, content);
    case JSON_FORM_MAP:
        return pack_pairs(walk, content);
    default:
        return pack_base64(walk, form, content);
    }
}

static struct weir_view name_of(const struct lh_entry *entry)
{
    return weir_view_text((const char *)lh_entry_k(entry));
}

static struct json_object *content_of(const struct lh_entry *entry)
{
    return (struct json_object *)lh_entry_v(entry);
}

static int visit_object(struct json_tree *walk, struct json_object *object)
{
    size_t count = (size_t)json_object_object_length(object);
    struct lh_entry *first = json_object_get_object(object)->head;

    if (json_guard_members(&walk->reader->guard, walk->objects++) != count)
        return fail_here(walk, NULL);
    if (count == 1) {
        enum json_form form = json_form_of_name(name_of(first));
        if (form != JSON_FORM_NONE)
            return pack_form(walk, form, content_of(first));
    }
    int rc = push(walk, OBJECT, NULL, first);
    if (rc == 0)
        weir_pack_map(walk->packer, count);
    return rc;
}

static int visit(struct json_tree *walk, struct json_object *value)
{
    struct weir_packer *packer = walk->packer;
    int rc = 0;

    walk->values++;
    switch (json_object_get_type(value)) {
    case json_type_null:
        weir_pack_nil(packer);
        break;
    case json_type_boolean:
        weir_pack_bool(packer, json_object_get_boolean(value));
        break;
    case json_type_int:
        if (json_object_get_int64(value) < 0)
            weir_pack_int(packer, json_object_get_int64(value));
        else
            weir_pack_uint(packer, json_object_get_uint64(value));
        break;
    case json_type_double:
        if (!isfinite(json_object_get_double(value)))
            return fail_here(walk, "a number beyond the range of float 64");
        weir_pack_f64(packer, json_object_get_double(value));
        break;
    case json_type_string:
        weir_pack_str(packer, string_of(value));
        break;
    case json_type_array:
        rc = push(walk, ARRAY, value, NULL);
        if (rc == 0)
            weir_pack_array(packer, json_object_array_length(value));
        break;
    case json_type_object:
        return visit_object(walk, value);
    }
    return rc;
}

/* The next value within the innermost frame, or leave that. */
static int step(struct json_tree *walk)
{
    struct json_tree_frame *frame = &walk->frames[walk->frame_count - 1];

    if (frame->kind == OBJECT) {
        struct lh_entry *entry = frame->entry;
        if (entry == NULL) {
            pop(walk);
            return 0;
        }
        frame->entry = entry->next;
        weir_pack_str(walk->packer, name_of(entry));
        return visit(walk, content_of(entry));
    }
    if (frame->next == json_object_array_length(frame->array)) {
        pop(walk);
        return 0;
    }
    struct json_object *value = json_object_array_get_idx(frame->array, frame->next++);
    if (frame->kind != PAIRS)
        return visit(walk, value);
    walk->values++;
    if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) != 2)
        return fail_here(walk, "\"$map\" needs an array of [key,value] pairs, and this is no pair");
    return push(walk, PAIR, value, NULL);
}

int json_tree_pack(struct json_tree *walk, struct json_object *tree)
{
    int rc = visit(walk, tree);

    while (rc == 0 && walk->frame_count != 0) {
        rc = step(walk);
        if (rc == 0 && weir_pack_error(walk->packer) != 0)
            rc = walk->error = weir_pack_error(walk->packer);
    }
    return rc;
}
