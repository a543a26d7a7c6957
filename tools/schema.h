/* SPDX-License-Identifier: MIT */
/* schema: a schema file of `weir cat`, and values as it has them. */
#ifndef TOOLS_SCHEMA_H
#define TOOLS_SCHEMA_H

#include <stdint.h>

#include <weir/arena.h>
#include <weir/buf.h>
#include <weir/record_schema.h>

struct schema {
    const struct weir_record *record; /* NULL: there is none */
    struct weir_arena arena;          /* holds it, and a record at a time behind it */
    struct weir_arena_mark mark;      /* where the record begins */
    struct weir_buf buf;              /* of the record as people read it */
};

void schema_init(struct schema *schema);
void schema_fini(struct schema *schema);

/* Read the file at @path, which is one value. Returns an exit status; if not EX_OK, stderr was told
 * why. */
int schema_open(struct schema *schema, struct weir_pool *pool, const char *command,
                const char *path);

/*
 * Make of @value, which is whole and well-formed, what is shown of it.
 *
 * @ret        valid until the next call
 * @ret_fault  what does not match the schema, if -EBADMSG is returned
 * Returns     0, -EBADMSG, -ENOMEM, -ENOBUFS.
 */
int schema_apply(struct schema *schema, struct weir_view value, struct weir_view *ret,
                 struct weir_record_fault *ret_fault);

/* What a fault means, for people. */
const char *schema_reason(const struct weir_record_fault *fault);

#endif
