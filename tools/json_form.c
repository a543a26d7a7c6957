/* SPDX-License-Identifier: MIT */
#include "json_form.h"

enum json_form json_form_of_name(struct weir_view name)
{
    static const struct {
        const char *name;
        enum json_form form;
    } forms[] = {
        {"$bin", JSON_FORM_BIN}, {"$ext", JSON_FORM_EXT}, {"$time", JSON_FORM_TIME},
        {"$f32", JSON_FORM_F32}, {"$map", JSON_FORM_MAP}, {"$float", JSON_FORM_FLOAT},
        {"$str", JSON_FORM_STR},
    };

    if (name.size == 0 || name.data[0] != '$')
        return JSON_FORM_NONE;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (weir_view_equal(name, weir_view_text(forms[i].name)))
            return forms[i].form;
    }
    return JSON_FORM_NONE;
}
