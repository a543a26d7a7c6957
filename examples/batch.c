/* SPDX-License-Identifier: MIT */
/* Words of standard input: kept as items, processed batch by batch, the long ones gathered. */
#include <stdalign.h>
#include <stdio.h>

#include <weir.h>

struct word {
    char text[28];
    unsigned length;
};

/* A whole batch at once. What is gathered outlives it: a line in the arena, its view an item. */
static int find_long(const struct weir_batch_span *span, const struct weir_batch_results *results,
                     void *context)
{
    const struct word *words = span->items;
    const unsigned *least = context;
    for (size_t i = 0; i < span->count; i++) {
        char line[64];
        struct weir_view kept;
        if (words[i].length < *least)
            continue;
        snprintf(line, sizeof(line), "%zu %s", span->first + i, words[i].text);
        int rc = weir_arena_copy(results->arena, weir_view_text(line), &kept);
        if (rc == 0)
            rc = weir_batch_append(results->batch, &kept);
        if (rc != 0)
            return rc; // and nothing of all was gathered
    }
    return 0;
}

int main(void)
{
    /* Eight words to a batch, a million at most. */
    const struct weir_batch_options options = {.batch_items = 8, .growth = {.limit = 1000000}};
    struct weir_pool *pool;
    struct weir_batch words, lines;
    struct weir_arena arena;
    char text[28];
    unsigned least = 6;
    void *at;
    if (weir_pool_create(NULL, &pool) != 0 ||
        weir_batch_init(&words, pool, sizeof(struct word), alignof(struct word), &options) != 0 ||
        weir_batch_init(&lines, pool, sizeof(struct weir_view), alignof(struct weir_view), NULL) !=
            0)
        return 1;
    weir_arena_init(&arena, pool, NULL);
    while (scanf("%27s", text) == 1) {
        if (weir_batch_add(&words, &at) != 0)
            return 1;
        struct word *word = at; // here for good, however many follow
        word->length = (unsigned)snprintf(word->text, sizeof(word->text), "%s", text);
    }
    printf("%zu words in %zu batches, room for %zu\n", weir_batch_count(&words),
           weir_batch_batches(&words), weir_batch_capacity(&words));
    const struct word *tenth = weir_batch_get(&words, 9);
    printf("tenth: %s\n", tenth != NULL ? tenth->text : "there is none");

    const struct weir_batch_results results = {&lines, &arena};
    int rc = weir_batch_process(&words, find_long, &results, &least);
    if (rc != 0)
        fprintf(stderr, "process: %s\n", weir_error_text(rc));
    for (size_t i = 0; i < weir_batch_count(&lines); i++) {
        const struct weir_view *line = weir_batch_get(&lines, i);
        printf("%.*s\n", (int)line->size, (const char *)line->data);
    }
    weir_batch_fini(&lines);
    weir_batch_fini(&words);
    weir_arena_fini(&arena);
    return weir_pool_destroy(pool) != 0 || rc != 0;
}
