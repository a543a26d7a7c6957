/* SPDX-License-Identifier: MIT */
/*
 * values: schemaless MessagePack, against MessagePack-C, msgpuck and libmpack. See values.h.
 */
#include "values.h"

#include <errno.h>
#include <stdlib.h>

#include <weir/base.h>

#define LARGE_BYTES ((size_t)1048576)

static void teardown(void *context)
{
    struct values *values = context;

    weir_block_drop(values->large);
    weir_arena_fini(&values->arena);
    free(values->sums);
    corpus_fini(&values->messages);
    corpus_fini(&values->shuffled);
    corpus_fini(&values->maps);
    corpus_fini(&values->documents);
    free(values->staged_orders);
    free(values->orders);
    free(values->room);
    msgpack_vrefbuffer_destroy(&values->vref);
    msgpack_zone_free(values->zone);
    msgpack_unpacked_destroy(&values->unpacked);
    msgpack_sbuffer_destroy(&values->sbuffer);
    weir_buf_fini(&values->buf);
    if (weir_pool_destroy(values->pool) < 0)
        bench_complain("blocks of the pool are still held");
    free(values);
}

static int setup_memory(struct values *values)
{
    const struct weir_buf_options options = {.initial_bytes = 65536};

    msgpack_sbuffer_init(&values->sbuffer);
    msgpack_packer_init(&values->packer, &values->sbuffer, msgpack_sbuffer_write);
    msgpack_unpacked_init(&values->unpacked);
    values->zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
    values->room = calloc(1, VALUES_ROOM_BYTES);
    values->orders = calloc(VALUES_COUNT, sizeof *values->orders);
    values->staged_orders = calloc(VALUES_STAGED, sizeof *values->staged_orders);
    values->sums = calloc(VALUES_COUNT, sizeof *values->sums);
    if (values->zone == NULL || values->room == NULL || values->orders == NULL ||
        values->staged_orders == NULL || values->sums == NULL ||
        !msgpack_vrefbuffer_init(&values->vref, MSGPACK_VREFBUFFER_REF_SIZE,
                                 MSGPACK_VREFBUFFER_CHUNK_SIZE))
        return -ENOMEM;
    int rc = corpus_init(&values->documents, VALUES_COUNT);
    if (rc == 0)
        rc = corpus_init(&values->maps, VALUES_COUNT);
    if (rc == 0)
        rc = corpus_init(&values->shuffled, VALUES_COUNT);
    if (rc == 0)
        rc = corpus_init(&values->messages, VALUES_COUNT);
    if (rc == 0)
        rc = weir_pool_create(NULL, &values->pool);
    if (rc == 0)
        weir_arena_init(&values->arena, values->pool, NULL);
    if (rc == 0)
        rc = weir_buf_init(&values->buf, values->pool, &options);
    if (rc == 0)
        rc = weir_pool_alloc(values->pool, LARGE_BYTES, &values->large);
    return rc;
}

static int setup(void **ret)
{
    struct values *values = calloc(1, sizeof *values);

    if (values == NULL) {
        bench_complain("out of memory");
        return -ENOMEM;
    }
    int rc = setup_memory(values);
    if (rc < 0) {
        bench_complain("%s", weir_error_text(rc));
        teardown(values);
        return rc;
    }
    rc = values_make(values);
    if (rc == 0)
        rc = values_encode_verify(values);
    if (rc == 0)
        rc = values_walk_verify(values);
    if (rc == 0)
        rc = values_find_verify(values);
    if (rc == 0)
        rc = values_bin_verify(values);
    if (rc == 0)
        rc = values_stream_verify(values);
    if (rc < 0) {
        teardown(values);
        return rc;
    }
    *ret = values;
    return 0;
}

static double document_bytes(const void *context)
{
    const struct values *values = context;

    return corpus_bytes_per_value(&values->documents);
}

static double map_bytes(const void *context)
{
    const struct values *values = context;

    return corpus_bytes_per_value(&values->maps);
}

static double message_bytes(const void *context)
{
    const struct values *values = context;

    return corpus_bytes_per_value(&values->messages);
}

static const struct bench_case cases[] = {
    {.name = "encode",
     .op = "one order of 233 values written from a struct",
     .step_ops = VALUES_COUNT,
     .bytes_per_op = document_bytes,
     .contenders = values_encode_contenders,
     .contender_count = VALUES_ENCODE_CONTENDERS},
    {.name = "walk",
     .op = "every value of one order visited and added up",
     .step_ops = VALUES_COUNT,
     .bytes_per_op = document_bytes,
     .contenders = values_walk_contenders,
     .contender_count = VALUES_WALK_CONTENDERS},
    {.name = "tree",
     .op = "a tree made of one order, strings in place",
     .step_ops = VALUES_COUNT,
     .bytes_per_op = document_bytes,
     .contenders = values_tree_contenders,
     .contender_count = VALUES_TREE_CONTENDERS},
    {.name = "check",
     .op = "one order found to be well formed, or passed over",
     .step_ops = VALUES_COUNT,
     .bytes_per_op = document_bytes,
     .contenders = values_check_contenders,
     .contender_count = VALUES_CHECK_CONTENDERS},
    {.name = "find",
     .op = "the values of 3 keys found in one map of 40",
     .step_ops = VALUES_COUNT,
     .bytes_per_op = map_bytes,
     .contenders = values_find_contenders,
     .contender_count = VALUES_FIND_CONTENDERS},
    {.name = "find-shuffled",
     .op = "the same where each map has the keys in another order",
     .step_ops = VALUES_COUNT,
     .bytes_per_op = map_bytes,
     .contenders = values_shuffled_contenders,
     .contender_count = VALUES_FIND_CONTENDERS},
    {.name = "bin-4k",
     .op = "one message of an id and a bin of 4 KiB by reference",
     .step_ops = VALUES_BINS,
     .contenders = values_bin_4k_contenders,
     .contender_count = VALUES_BIN_CONTENDERS},
    {.name = "bin-64k",
     .op = "one message of an id and a bin of 64 KiB by reference",
     .step_ops = VALUES_BINS,
     .contenders = values_bin_64k_contenders,
     .contender_count = VALUES_BIN_CONTENDERS},
    {.name = "bin-1m",
     .op = "one message of an id and a bin of 1 MiB by reference",
     .step_ops = VALUES_BINS,
     .contenders = values_bin_1m_contenders,
     .contender_count = VALUES_BIN_CONTENDERS},
    {.name = "stream",
     .op = "one message of 100 bytes out of receives of 4 KiB",
     .step_ops = VALUES_COUNT,
     .bytes_per_op = message_bytes,
     .contenders = values_stream_contenders,
     .contender_count = VALUES_STREAM_CONTENDERS},
};

const struct bench_group bench_group_values = {
    .name = "values",
    .summary = "schemaless MessagePack: 65536 different orders, maps and messages",
    .cases = cases,
    .case_count = sizeof cases / sizeof cases[0],
    .setup = setup,
    .teardown = teardown,
};
