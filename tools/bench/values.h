/* SPDX-License-Identifier: MIT */
/**
 * values: what the parts of the benchmark's group `values` share.
 *
 * group_values.c is the group; values_encode.c, values_walk.c, values_find.c, values_bin.c and
 * values_stream.c are a theme each: contenders, and a function that shows that they do the same.
 * values_corpus.c makes the input.
 *
 * Input is staged: a few values at a time are copied, untimed, to where all others lay before them,
 * as a receive puts messages into the same block again and again. So what is read is in the
 * nearest cache, as after a receive, while there are too many different values for the branch
 * predictor to learn.
 */
#ifndef VALUES_H
#define VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <msgpack.h>
#ifdef HAVE_MSGPUCK
#include <msgpuck.h>
#endif
#ifdef HAVE_MPACK
#include <mpack.h>
#endif

#include <weir/arena.h>
#include <weir/buf.h>
#include <weir/pool.h>
#include <weir/slice.h>
#include <weir/stream.h>
#include <weir/unpack.h>

#include "bench.h"

#define VALUES_COUNT 65536u /* different ones of each kind; a power of two */
#define VALUES_STAGED 16u   /* divides it: staged and timed at a time, about 40 KiB in and out */
#define VALUES_BYTES_MAX 2048u
#define VALUES_DEPTH_MAX 32u
#define VALUES_BINS 512u /* messages with large bins that are timed at a time */

/** What the notes say of peers, and of peers that are not there. */
#define MSGPACK_C "MessagePack-C " MSGPACK_VERSION
#define MSGPUCK "msgpuck"
#define LIBMPACK "libmpack"
#define NO_MSGPUCK "configure did not find msgpuck (Debian: libmsgpuck-dev)"
#define NO_MPACK "configure did not find libmpack (Debian: libmpack-dev)"

#define ORDER_ITEMS 20u
#define ORDER_PROOF_BYTES 256u

struct order_item {
    double price;
    uint32_t sku;
    uint32_t quantity;
    uint8_t name_size;
    bool gift;
    char name[22];
};

/** What an order document is packed from; packed, it is itself a limit to compare with. */
struct order {
    uint64_t id;
    int64_t created;
    double total;
    uint8_t customer_size;
    char customer[23];
    uint8_t proof[ORDER_PROOF_BYTES];
    struct order_item items[ORDER_ITEMS];
};

/** Encoded values, one after the other. */
struct corpus {
    uint8_t *bytes;
    uint32_t *offsets; /* of each value, and the end */
    size_t count;
    uint8_t *staged_bytes;
    struct weir_view staged[VALUES_STAGED];
};

struct values {
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_arena arena; /* for weir's trees */
    msgpack_sbuffer sbuffer;
    msgpack_packer packer; /* into sbuffer */
    msgpack_unpacked unpacked;
    msgpack_zone *zone;
    uint8_t *room; /* where those write who want memory; ends where the staged ones need it to */
    struct order *orders;
    struct order *staged_orders;
    struct corpus documents;       /* the orders, packed */
    struct corpus maps;            /* of 40 keys in the same order */
    struct corpus shuffled;        /* the same, in an order of each one's own */
    struct corpus messages;        /* of about 100 bytes */
    struct weir_selector selector; /* for the keys that values_find.c looks for */
    uint64_t *sums;                /* of each message's values */
    struct weir_block *large;      /* a large bin */
    msgpack_vrefbuffer vref;
};

#define VALUES_ROOM_BYTES ((size_t)VALUES_STAGED * VALUES_BYTES_MAX)

/* --- values_corpus.c ------------------------------------------------------------------------- */

/** Prepare for up to @count_max values of VALUES_BYTES_MAX bytes on average. 0 or -ENOMEM. */
int corpus_init(struct corpus *corpus, size_t count_max);
void corpus_fini(struct corpus *corpus);

/** Append a value. 0; -EOVERFLOW, after bench_complain(), if it is too large. */
int corpus_append(struct corpus *corpus, struct weir_view value);
struct weir_view corpus_value(const struct corpus *corpus, size_t index);
double corpus_bytes_per_value(const struct corpus *corpus);

/** Stage the VALUES_STAGED values from @index on: corpus->staged are views of the copies. */
void corpus_stage(struct corpus *corpus, size_t index);

/** Make the input: orders, documents, maps, messages with their sums. 0 or a negative errno. */
int values_make(struct values *values);

/** The sum of an order's values, keys included, computed from the struct. */
uint64_t order_sum(const struct order *order);

/* --- the themes ------------------------------------------------------------------------------ */

/* Each verify: 0; or a negative errno, after bench_complain(). */
int values_encode_verify(struct values *values);
int values_walk_verify(struct values *values);
int values_find_verify(struct values *values);
int values_bin_verify(struct values *values);
int values_stream_verify(struct values *values);

#define VALUES_ENCODE_CONTENDERS 9
#define VALUES_WALK_CONTENDERS 8
#define VALUES_TREE_CONTENDERS 3
#define VALUES_CHECK_CONTENDERS 5
#define VALUES_FIND_CONTENDERS 8
#define VALUES_BIN_CONTENDERS 4
#define VALUES_STREAM_CONTENDERS 9

extern const struct bench_contender values_encode_contenders[VALUES_ENCODE_CONTENDERS];
extern const struct bench_contender values_walk_contenders[VALUES_WALK_CONTENDERS];
extern const struct bench_contender values_tree_contenders[VALUES_TREE_CONTENDERS];
extern const struct bench_contender values_check_contenders[VALUES_CHECK_CONTENDERS];
extern const struct bench_contender values_find_contenders[VALUES_FIND_CONTENDERS];
extern const struct bench_contender values_shuffled_contenders[VALUES_FIND_CONTENDERS];
extern const struct bench_contender values_bin_4k_contenders[VALUES_BIN_CONTENDERS];
extern const struct bench_contender values_bin_64k_contenders[VALUES_BIN_CONTENDERS];
extern const struct bench_contender values_bin_1m_contenders[VALUES_BIN_CONTENDERS];
extern const struct bench_contender values_stream_contenders[VALUES_STREAM_CONTENDERS];

/* --- sums ------------------------------------------------------------------------------------ */

/* A reader shows that it saw every value, and each as what it is, by adding these up. */

static inline uint64_t sum_bytes(const void *data, size_t size)
{
    return size + (size != 0 ? *(const uint8_t *)data : 0u);
}

static inline uint64_t sum_f64(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/** Of one value as weir reads it; of an array its count, of a map its pairs. */
static inline __attribute__((always_inline)) uint64_t sum_value(const struct weir_value *value)
{
    switch (value->type) {
    case WEIR_TYPE_BOOL:
        return value->as.boolean;
    case WEIR_TYPE_UINT:
    case WEIR_TYPE_INT:
        return value->as.u64;
    case WEIR_TYPE_F64:
        return sum_f64(value->as.f64);
    case WEIR_TYPE_F32:
        return sum_f64((double)value->as.f32);
    case WEIR_TYPE_STR:
    case WEIR_TYPE_BIN:
    case WEIR_TYPE_EXT:
        return sum_bytes(value->as.bytes.data, value->as.bytes.size);
    case WEIR_TYPE_ARRAY:
    case WEIR_TYPE_MAP:
        return value->count;
    default:
        return 0;
    }
}

/** Add up the values of one message. 0 or a negative errno. */
int sum_weir(struct weir_view message, uint64_t *sum);
int sum_tree(const msgpack_object *tree, uint64_t *sum);

/* --- timing ---------------------------------------------------------------------------------- */

/** A clock that stands still while input is staged. */
struct stopwatch {
    uint64_t begin_ns;
    uint64_t elapsed_ns;
};

static inline void stopwatch_go(struct stopwatch *watch)
{
    watch->begin_ns = bench_now_ns();
}

static inline void stopwatch_stop(struct stopwatch *watch)
{
    watch->elapsed_ns += bench_now_ns() - watch->begin_ns;
}

/**
 * Have @read read every value of @corpus, in turn, until the round's operations are done.
 *
 * Only what @read does is timed.
 */
static inline __attribute__((always_inline)) int values_read_all(
    struct bench_round *round, struct corpus *corpus,
    int (*read)(struct values *values, struct weir_view value, uint64_t *sum))
{
    struct stopwatch watch = {0};
    uint64_t sum = 0;

    for (uint64_t done = 0; done < round->ops; done += VALUES_STAGED) {
        corpus_stage(corpus, done % corpus->count);
        stopwatch_go(&watch);
        for (size_t i = 0; i < VALUES_STAGED; i++) {
            int rc = read(round->context, corpus->staged[i], &sum);
            if (rc < 0)
                return rc;
        }
        stopwatch_stop(&watch);
    }
    bench_use(&sum);
    round->elapsed_ns = watch.elapsed_ns;
    return 0;
}

#endif /* VALUES_H */
