/* SPDX-License-Identifier: MIT */
/* Words of a text as a list in an arena, a scratch arena on the stack, and one for many threads. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <weir.h>

struct word {
    struct word *next;
    struct weir_view text;
};

static void *fill(void *argument)
{
    struct weir_shared_arena *arena = argument;
    void *memory;

    for (int i = 0; i < 1000; i++)
        if (weir_shared_arena_alloc(arena, 100, 8, &memory) == 0) // any thread, no lock
            memset(memory, i, 100);
    return NULL;
}

static int use_shared(void)
{
    const struct weir_shared_arena_options options = {.capacity_bytes = 320000, .shards = 2};
    struct weir_shared_arena *arena;
    pthread_t threads[2];

    if (weir_shared_arena_create(&options, &arena) != 0)
        return 1;
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, fill, arena) != 0)
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("2 threads took %zu bytes, %u%%\n", weir_shared_arena_used_bytes(arena),
           weir_shared_arena_used_percent(arena));
    weir_shared_arena_destroy(arena); // nobody uses it any more
    return 0;
}

int main(void)
{
    struct weir_pool *pool;
    struct weir_arena arena, scratch;
    struct weir_view line;
    struct word *first = NULL;
    char memory[64]; // all that scratch will ever have

    if (weir_pool_create(NULL, &pool) != 0)
        return 1;
    weir_arena_init(&arena, pool, NULL);
    for (const char *text = "what was handed out does not move"; *text != '\0';) {
        size_t size = strcspn(text, " ");
        struct word *word = WEIR_ARENA_NEW(&arena, struct word);
        if (word == NULL || weir_arena_copy(&arena, weir_view_of(text, size), &word->text) != 0)
            return 1;
        word->next = first;
        first = word;
        text += size + (text[size] == ' ');
    }
    for (const struct word *word = first; word != NULL; word = word->next)
        printf("%s%s", (const char *)word->text.data, word->next != NULL ? " " : "\n");

    weir_arena_init_fixed(&scratch, memory, sizeof memory);
    const struct weir_arena_mark mark = weir_arena_mark(&scratch);
    int rc = weir_arena_format(&scratch, &line, "%zu bytes used", weir_arena_used_bytes(&arena));
    printf("%s, of the scratch %u%%\n", rc == 0 ? (const char *)line.data : weir_error_name(rc),
           weir_arena_used_percent(&scratch));
    rc = weir_arena_format(&scratch, &line, "%60d", 7);
    printf("more of it: %s\n", weir_error_name(rc));
    weir_arena_rewind(&scratch, mark);
    if (weir_arena_format(&scratch, &line, "%60d", 7) == 0)
        printf("after a rewind: %zu bytes used\n", weir_arena_used_bytes(&scratch));

    weir_arena_fini(&arena); // all words at once
    return weir_pool_destroy(pool) != 0 || use_shared() != 0;
}
