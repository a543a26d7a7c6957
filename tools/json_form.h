/* SPDX-License-Identifier: MIT */
/*
 * json_form: how values that JSON lacks are written in it, as objects with one member.
 *
 *     bin                            {"$bin":"base64"}
 *     ext                            {"$ext":[type,"base64"]}
 *     ext -1 that is a timestamp     {"$time":"2001-02-03T04:05:06Z"}
 *     float 64 that is not finite    {"$float":"nan"}, "inf", "-inf", "nan:7ff8000000000001"
 *     float 32                       {"$f32":1.5}, {"$f32":"nan"}, "inf", "-inf", "nan:7fc00001"
 *     str that is not UTF-8          {"$str":"base64"}
 *     map that is no JSON object     {"$map":[[key,value],...]}
 *
 * A map is a JSON object if its keys are str, UTF-8, without NUL, all different, and it would not
 * be mistaken for one of the above.
 */
#ifndef TOOLS_JSON_FORM_H
#define TOOLS_JSON_FORM_H

#include <weir/view.h>

enum json_form {
    JSON_FORM_NONE,
    JSON_FORM_BIN,
    JSON_FORM_EXT,
    JSON_FORM_TIME,
    JSON_FORM_FLOAT,
    JSON_FORM_F32,
    JSON_FORM_MAP,
    JSON_FORM_STR
};

/* The form whose only member has this name. */
enum json_form json_form_of_name(struct weir_view name);

#endif
