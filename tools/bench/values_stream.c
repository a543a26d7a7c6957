/* SPDX-License-Identifier: MIT */
/*
 * values/stream: messages of about 100 bytes that arrive in receives of 4096 bytes, cut anywhere.
 *
 * A receive is a copy to where the contender wants its bytes from the kernel, and is not timed;
 * what the contender does to have room for it is. All get every message; what they do with it
 * beyond finding where it ends, the notes say.
 */
#include "values.h"

#include <errno.h>

#define RECEIVE_BYTES ((size_t)4096)
#define MANY ((size_t)64)           /* messages that are asked for at a time */
#define BLOCK_BYTES ((size_t)65536) /* a multiple of it */

/* How far a round is. */
struct flow {
    struct values *values;
    uint64_t ops; /* messages to take */
    size_t offset;
    struct stopwatch watch;
    uint64_t sum; /* of the messages' values or sizes */
    uint64_t taken;
};

static struct flow flow_begin(struct bench_round *round)
{
    struct flow flow = {.values = round->context, .ops = round->ops};

    stopwatch_go(&flow.watch);
    return flow;
}

static int flow_end(struct flow *flow, struct bench_round *round)
{
    stopwatch_stop(&flow->watch);
    round->elapsed_ns = flow->watch.elapsed_ns;
    bench_use(flow);
    return flow->taken == flow->ops ? 0 : -EBADMSG;
}

/* The next receive, at most RECEIVE_BYTES to @to; when a pass is over, the next one begins. */
static size_t flow_receive(struct flow *flow, void *to)
{
    const struct corpus *messages = &flow->values->messages;
    size_t end = messages->offsets[messages->count];
    size_t size = end - flow->offset < RECEIVE_BYTES ? end - flow->offset : RECEIVE_BYTES;

    stopwatch_stop(&flow->watch);
    memcpy(to, messages->bytes + flow->offset, size);
    flow->offset = flow->offset + size == end ? 0 : flow->offset + size;
    stopwatch_go(&flow->watch);
    return size;
}

/* --- weir ------------------------------------------------------------------------------------ */

/* What is done with a message; a view is not even held. */
enum use { USE_SLICE, USE_VIEW, USE_VIEWS, USE_WALK };

static inline __attribute__((always_inline)) int take_slices(struct flow *flow,
                                                             struct weir_stream *stream)
{
    struct weir_slice message;
    int rc;

    while ((rc = weir_stream_next(stream, &message)) == 0) {
        flow->sum += message.view.size;
        weir_slice_drop(&message);
        flow->taken++;
    }
    return rc == -EAGAIN ? 0 : rc;
}

static inline __attribute__((always_inline)) int take_views(struct flow *flow,
                                                            struct weir_stream *stream,
                                                            enum use use)
{
    struct weir_view message;
    int rc;

    while ((rc = weir_stream_next_view(stream, &message)) == 0) {
        flow->taken++;
        flow->sum += use == USE_WALK ? 0 : message.size;
        if (use == USE_WALK && (rc = sum_weir(message, &flow->sum)) != 0)
            break;
    }
    return rc == -EAGAIN ? 0 : rc;
}

static inline __attribute__((always_inline)) int take_many(struct flow *flow,
                                                           struct weir_stream *stream)
{
    struct weir_view messages[MANY];
    size_t count;
    int rc;

    while ((rc = weir_stream_next_views(stream, MANY, messages, &count)) == 0) {
        for (size_t i = 0; i < count; i++)
            flow->sum += messages[i].size;
        flow->taken += count;
    }
    return rc == -EAGAIN ? 0 : rc;
}

/*
 * Receive into blocks of @block_bytes, as a provided-buffer ring does. Where they are larger than
 * a receive, one follows the other within a block.
 */
static inline __attribute__((always_inline)) int stream_weir(struct flow *flow, size_t block_bytes,
                                                             enum use use)
{
    struct weir_stream stream;
    struct weir_block *block = NULL;
    size_t used = 0;
    int rc = 0;

    weir_stream_init(&stream, flow->values->pool, NULL);
    while (rc == 0 && flow->taken < flow->ops) {
        if (block == NULL) {
            rc = weir_pool_alloc(flow->values->pool, block_bytes, &block);
            if (rc < 0)
                break;
            used = 0;
        }
        size_t size = flow_receive(flow, block->data + used);
        struct weir_slice slice = weir_slice_adopt(weir_view_of(block->data + used, size), block);
        used += size;
        rc = weir_stream_feed(&stream, &slice);
        if (block_bytes - used < RECEIVE_BYTES) {
            weir_block_drop(block);
            block = NULL;
        }
        if (rc == 0)
            rc = use == USE_SLICE   ? take_slices(flow, &stream)
                 : use == USE_VIEWS ? take_many(flow, &stream)
                                    : take_views(flow, &stream, use);
    }
    weir_block_drop(block);
    weir_stream_fini(&stream);
    return rc;
}

/* --- MessagePack-C --------------------------------------------------------------------------- */

static int feed_unpacker(struct flow *flow, msgpack_unpacker *unpacker)
{
    if (!msgpack_unpacker_reserve_buffer(unpacker, RECEIVE_BYTES))
        return -ENOMEM;
    msgpack_unpacker_buffer_consumed(unpacker,
                                     flow_receive(flow, msgpack_unpacker_buffer(unpacker)));
    return 0;
}

/* The loop of its documentation: a zone per message. */
static inline __attribute__((always_inline)) int stream_msgpack(struct flow *flow,
                                                                msgpack_unpacker *unpacker,
                                                                enum use use)
{
    msgpack_unpacked message;
    msgpack_unpack_return found = MSGPACK_UNPACK_CONTINUE;
    int rc = 0;

    msgpack_unpacked_init(&message);
    while (rc == 0 && flow->taken < flow->ops) {
        rc = feed_unpacker(flow, unpacker);
        while (rc == 0 &&
               (found = msgpack_unpacker_next(unpacker, &message)) == MSGPACK_UNPACK_SUCCESS) {
            if (use == USE_WALK)
                rc = sum_tree(&message.data, &flow->sum);
            bench_use(&message);
            flow->taken++;
        }
        if (found != MSGPACK_UNPACK_CONTINUE)
            rc = -EBADMSG;
    }
    msgpack_unpacked_destroy(&message);
    return rc;
}

/* Its lower level: one zone, emptied after each message. */
static inline __attribute__((always_inline)) int stream_execute(struct flow *flow,
                                                                msgpack_unpacker *unpacker,
                                                                enum use use)
{
    int found = 0;
    int rc = 0;

    while (rc == 0 && flow->taken < flow->ops) {
        rc = feed_unpacker(flow, unpacker);
        while (rc == 0 && (found = msgpack_unpacker_execute(unpacker)) == 1) {
            msgpack_object tree = msgpack_unpacker_data(unpacker);
            if (use == USE_WALK)
                rc = sum_tree(&tree, &flow->sum);
            bench_use(&tree);
            msgpack_unpacker_reset_zone(unpacker);
            msgpack_unpacker_reset(unpacker);
            flow->taken++;
        }
        if (found < 0)
            rc = -EBADMSG;
    }
    return rc;
}

/* --- libmpack -------------------------------------------------------------------------------- */

#ifdef HAVE_MPACK
/* Where a message ends is for us to count; the bytes of a str are handed out as they come. */
static int stream_mpack(struct flow *flow)
{
    mpack_tokbuf_t tokens;
    mpack_token_t token;
    uint64_t to_come = 1;

    mpack_tokbuf_init(&tokens);
    while (flow->taken < flow->ops) {
        const char *at = (const char *)flow->values->room;
        size_t left = flow_receive(flow, flow->values->room);
        while (left != 0) {
            int rc = mpack_read(&tokens, &at, &left, &token);
            if (rc == MPACK_EOF)
                break;
            if (rc != MPACK_OK)
                return -EBADMSG;
            bench_use(&token);
            to_come -= token.type != MPACK_TOKEN_CHUNK;
            if (token.type == MPACK_TOKEN_ARRAY)
                to_come += token.length;
            else if (token.type == MPACK_TOKEN_MAP)
                to_come += 2 * (uint64_t)token.length;
            if (to_come != 0 || tokens.passthrough != 0)
                continue;
            flow->taken++;
            to_come = 1;
        }
    }
    return 0;
}

static int run_mpack(struct bench_round *round)
{
    struct flow flow = flow_begin(round);
    int rc = stream_mpack(&flow);

    return rc < 0 ? rc : flow_end(&flow, round);
}
#endif

/* --- runs ------------------------------------------------------------------------------------ */

static int run_weir(struct bench_round *round)
{
    struct flow flow = flow_begin(round);
    int rc = stream_weir(&flow, RECEIVE_BYTES, USE_VIEW);

    return rc < 0 ? rc : flow_end(&flow, round);
}

static int run_weir_many(struct bench_round *round)
{
    struct flow flow = flow_begin(round);
    int rc = stream_weir(&flow, RECEIVE_BYTES, USE_VIEWS);

    return rc < 0 ? rc : flow_end(&flow, round);
}

static int run_weir_slice(struct bench_round *round)
{
    struct flow flow = flow_begin(round);
    int rc = stream_weir(&flow, RECEIVE_BYTES, USE_SLICE);

    return rc < 0 ? rc : flow_end(&flow, round);
}

static int run_weir_joined(struct bench_round *round)
{
    struct flow flow = flow_begin(round);
    int rc = stream_weir(&flow, BLOCK_BYTES, USE_VIEW);

    return rc < 0 ? rc : flow_end(&flow, round);
}

static int run_weir_walk(struct bench_round *round)
{
    struct flow flow = flow_begin(round);
    int rc = stream_weir(&flow, RECEIVE_BYTES, USE_WALK);

    return rc < 0 ? rc : flow_end(&flow, round);
}

/* Have @stream work with an unpacker of its own, which is not made within the time. */
static inline __attribute__((always_inline)) int with_unpacker(
    struct bench_round *round, enum use use,
    int (*stream)(struct flow *flow, msgpack_unpacker *unpacker, enum use use))
{
    msgpack_unpacker unpacker;

    if (!msgpack_unpacker_init(&unpacker, MSGPACK_UNPACKER_INIT_BUFFER_SIZE))
        return -ENOMEM;
    struct flow flow = flow_begin(round);
    int rc = stream(&flow, &unpacker, use);
    if (rc == 0)
        rc = flow_end(&flow, round);
    msgpack_unpacker_destroy(&unpacker);
    return rc;
}

static int run_msgpack(struct bench_round *round)
{
    return with_unpacker(round, USE_SLICE, stream_msgpack);
}

static int run_msgpack_walk(struct bench_round *round)
{
    return with_unpacker(round, USE_WALK, stream_msgpack);
}

static int run_execute(struct bench_round *round)
{
    return with_unpacker(round, USE_SLICE, stream_execute);
}

/* --- that all do the same -------------------------------------------------------------------- */

static uint64_t sum_of_sums(const struct values *values)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < VALUES_COUNT; i++)
        sum += values->sums[i];
    return sum;
}

static int compare(const struct flow *flow, int rc, uint64_t want, const char *who)
{
    if (rc == 0 && flow->taken == VALUES_COUNT && flow->sum == want)
        return 0;
    bench_complain("the stream: %s %s", who,
                   rc < 0 ? "cannot read it" : "finds other messages than are in it");
    return rc < 0 ? rc : -EBADMSG;
}

int values_stream_verify(struct values *values)
{
    struct bench_round round = {.context = values, .ops = VALUES_COUNT};
    uint64_t want = sum_of_sums(values);
    uint64_t bytes = values->messages.offsets[VALUES_COUNT];
    msgpack_unpacker unpacker;

    struct flow flow = flow_begin(&round);
    int rc = compare(&flow, stream_weir(&flow, RECEIVE_BYTES, USE_WALK), want, "weir");
    if (rc < 0)
        return rc;
    flow = flow_begin(&round);
    rc = compare(&flow, stream_weir(&flow, BLOCK_BYTES, USE_WALK), want, "weir, joined");
    if (rc < 0)
        return rc;
    flow = flow_begin(&round);
    rc = compare(&flow, stream_weir(&flow, RECEIVE_BYTES, USE_SLICE), bytes, "weir-slice");
    if (rc < 0)
        return rc;
    flow = flow_begin(&round);
    rc = compare(&flow, stream_weir(&flow, RECEIVE_BYTES, USE_VIEWS), bytes, "weir-views");
    if (rc < 0)
        return rc;
    if (!msgpack_unpacker_init(&unpacker, MSGPACK_UNPACKER_INIT_BUFFER_SIZE))
        return -ENOMEM;
    flow = flow_begin(&round);
    rc = compare(&flow, stream_msgpack(&flow, &unpacker, USE_WALK), want, "msgpack-c");
    flow = flow_begin(&round);
    if (rc == 0)
        rc = compare(&flow, stream_execute(&flow, &unpacker, USE_WALK), want, "msgpack-c-execute");
    msgpack_unpacker_destroy(&unpacker);
#ifdef HAVE_MPACK
    flow = flow_begin(&round);
    if (rc == 0)
        rc = compare(&flow, stream_mpack(&flow), 0, "libmpack");
#endif
    return rc;
}

const struct bench_contender values_stream_contenders[VALUES_STREAM_CONTENDERS] = {
    {.name = "weir",
     .note = "weir_stream_next_view: each message where it was received, until the next one is "
             "asked for; not decoded. Each receive has a block of its own: one in 40 is gathered",
     .run = run_weir},
    {.name = "weir-views",
     .note = "weir_stream_next_views: the same, up to 64 messages in each call",
     .run = run_weir_many},
    {.name = "weir-slice",
     .note = "weir_stream_next: each message with a reference of its own, dropped at once",
     .run = run_weir_slice},
    {.name = "weir-joined",
     .note = "the first with receives that follow each other in blocks of 64 KiB, as buffers that "
             "the kernel consumes by parts have it",
     .run = run_weir_joined},
    {.name = "weir-walk",
     .note = "the first, and every value of each message is visited as in values/walk",
     .run = run_weir_walk},
    {.name = "msgpack-c",
     .note = MSGPACK_C " msgpack_unpacker_next, the loop of its documentation: a tree of each "
                       "message, in a zone that it allocates",
     .run = run_msgpack},
    {.name = "msgpack-c-walk",
     .note = "the same, and every value of each tree is visited",
     .run = run_msgpack_walk},
    {.name = "msgpack-c-execute",
     .note = "msgpack_unpacker_execute, its lower level: the trees are in one zone, used again",
     .run = run_execute},
#ifdef HAVE_MPACK
    {.name = "libmpack",
     .note = "mpack_read, tokens counted; strings in the pieces in which they come",
     .run = run_mpack},
#else
    {.name = "libmpack", .missing = NO_MPACK},
#endif
};
