/* SPDX-License-Identifier: MIT */
/* json_tree: json-c's tree to MessagePack, with the forms of json_form.h. Part of json_read. */
#ifndef TOOLS_JSON_TREE_H
#define TOOLS_JSON_TREE_H

#include <stddef.h>
#include <stdint.h>

#include <weir/pack.h>

struct json_object;
struct json_reader;
struct json_tree_frame;

struct json_tree {
    struct weir_packer *packer;
    struct json_reader *reader; /* for its guard, depth_max, frames and scratch */
    struct json_tree_frame *frames;
    uint32_t frame_count;
    uint32_t depth;  /* arrays and maps that are open in MessagePack */
    uint64_t values; /* of the JSON text visited so far */
    size_t objects;  /* of these, objects */

    int error;            /* -EBADMSG: the input's fault */
    uint64_t fault_value; /* index of the value at fault */
    const char *reason;   /* NULL: a name stands twice in that object */
};

/* Room for the walk through @nesting_max arrays and objects within each other. */
size_t json_tree_frames_bytes(uint32_t nesting_max);

void json_tree_init(struct json_tree *walk, struct weir_packer *packer, struct json_reader *reader);

/* Write @tree. Returns 0 or walk->error; what was written by then is the caller's to forget. */
int json_tree_pack(struct json_tree *walk, struct json_object *tree);

#endif
