/* SPDX-License-Identifier: MIT */
/* Lines of standard input as JSON: how many bytes of each are UTF-8, and its text, repaired. */
#include <stdio.h>
#include <stdlib.h>

#include <weir.h>

static struct weir_arena arena;
static struct weir_text_scratch scratch;

/* Where a line needs neither repair nor escapes, it is read where it lies. */
static int show(struct weir_view line)
{
    struct weir_text repaired, escaped, object;
    char number[24];
    snprintf(number, sizeof(number), "%zu", weir_text_valid_bytes(line));
    int rc = weir_text_repair(line, &arena, &repaired);
    if (rc == 0)
        rc = weir_text_json(repaired.view, 0, &arena, &escaped);
    if (rc != 0)
        return rc;
    const struct weir_view parts[] = {
        weir_view_text("{\"valid\":"),
        weir_view_text(number),
        weir_view_text(repaired.borrowed && escaped.borrowed ? ",\"borrowed\":true,\"text\":\""
                                                             : ",\"borrowed\":false,\"text\":\""),
        escaped.view,
        weir_view_text("\"}\n"),
    };
    rc = weir_text_scratch_join(&scratch, parts, sizeof(parts) / sizeof(parts[0]),
                                weir_view_text(""), &object);
    if (rc == 0)
        fwrite(object.view.data, 1, object.view.size, stdout);
    weir_arena_reset(&arena); // the memory is kept for the next line
    return rc;
}

int main(void)
{
    struct weir_pool *pool;
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    int rc = weir_pool_create(NULL, &pool);
    if (rc != 0)
        return 1;
    weir_arena_init(&arena, pool, NULL);
    weir_text_scratch_init(&scratch, pool, 1 << 30);
    while (rc == 0 && (size = getline(&line, &room, stdin)) > 0)
        rc = show(weir_view_of(line, (size_t)size - (line[size - 1] == '\n')));
    if (rc != 0)
        fprintf(stderr, "text: %s\n", weir_error_text(rc));
    free(line);
    weir_text_scratch_fini(&scratch);
    weir_arena_fini(&arena);
    return weir_pool_destroy(pool) != 0 || rc != 0;
}
