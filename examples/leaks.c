/* SPDX-License-Identifier: MIT */
/* Who still has blocks when a pool is to end: every block is tracked, and the rest reported. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <weir.h>

static struct weir_block *open_session(struct weir_pool *pool, size_t size_bytes)
{
    struct weir_block *block = NULL;
    const char *before = weir_pool_set_tag(pool, "session"); // of what is taken from now on
    (void)!weir_pool_alloc(pool, size_bytes, &block);
    weir_pool_set_tag(pool, before);
    return block;
}

static void show(void *context, const struct weir_pool_tracked *tracked)
{
    FILE *out = context; // and tracked->site for addr2line(1), tracked->age_ns
    fprintf(out, "  %zu bytes, %s\n", tracked->size_bytes,
            tracked->tag != NULL ? tracked->tag : "no tag");
}

/* The same for a program: MessagePack, here from another pool. */
static int pack_report(const struct weir_pool_tag_stats *tags, size_t count)
{
    struct weir_pool *pool;
    struct weir_packer packer;
    struct weir_view report;
    struct weir_buf buf;
    int rc = weir_pool_default(&pool);
    if (rc == 0)
        rc = weir_buf_init(&buf, pool, NULL);
    if (rc != 0)
        return rc;
    weir_pack_begin(&packer, &buf, 0);
    weir_pool_pack_tags(&packer, tags, count);
    rc = weir_pack_end(&packer, &report);
    if (rc == 0 && weir_check(report, NULL, NULL) == 0)
        printf("and as MessagePack\n");
    weir_buf_fini(&buf);
    return rc;
}

int main(void)
{
    /* In production every 100th, or one for each megabyte asked for: .track_every_bytes */
    const struct weir_pool_options options = {.track_every = 1};
    struct weir_pool_tag_stats tags[8];
    struct weir_pool *pool;
    struct weir_block *first, *second, *third;

    if (weir_pool_create(&options, &pool) != 0)
        return 1;
    first = open_session(pool, 200);
    second = open_session(pool, 3000);
    if (first == NULL || second == NULL || weir_pool_alloc(pool, 77, &third) != 0)
        return 1;
    weir_block_drop(first);

    if (weir_pool_destroy(pool) != -EBUSY) // nothing is changed while blocks are out
        return 1;
    printf("%zu blocks are left\n", weir_pool_tracked(pool, show, stdout));
    size_t count = weir_pool_tags(pool, tags, sizeof tags / sizeof tags[0]);
    for (size_t i = 0; i < count; i++)
        printf("%s: %" PRIu64 " with %" PRIu64 " bytes\n",
               tags[i].tag != NULL ? tags[i].tag : "no tag", tags[i].blocks, tags[i].bytes);
    int rc = pack_report(tags, count);
    weir_block_drop(second);
    weir_block_drop(third);
    return weir_pool_destroy(pool) != 0 || rc != 0;
}
