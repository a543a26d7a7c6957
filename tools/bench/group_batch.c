/* SPDX-License-Identifier: MIT */
/*
 * batch: records of ten fields by the batch, against the same one by one.
 *
 * 1024 batches of 64 different records each, of about 114 bytes packed. A message is a batch;
 * output goes to one buffer, and what is read to one batch, which are emptied after each. A column
 * is one field of all records of a batch, gathered into an array.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/buf.h>
#include <weir/pool.h>
#include <weir/record_batch.h>

#define BATCHES 1024u /* a power of two */
#define BATCH_RECORDS 64u
#define MESSAGE_BYTES_MAX (BATCH_RECORDS * 128u)
#define TEXT_BYTES 24u
#define SEED UINT64_C(0x6261746368)

#define TRADE_FIELDS(F, R) \
    F(R, u64, id)          \
    F(R, i64, ts)          \
    F(R, f64, price)       \
    F(R, u32, qty)         \
    F(R, bool, side)       \
    F(R, str, symbol)      \
    F(R, str, venue)       \
    F(R, str, account)     \
    F(R, u8, flags)        \
    F(R, u64, seq)
WEIR_RECORD(trade, TRADE_FIELDS);
WEIR_RECORD_BATCH(trade);

struct trades {
    struct weir_batch batches[BATCHES];
    size_t sizes[BATCHES]; /* of the messages, each at its place in bytes */
    uint8_t *bytes;
    uint8_t *texts;
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_batch read;
};

static struct weir_view message_of(const struct trades *trades, uint64_t index)
{
    return weir_view_of(trades->bytes + index * MESSAGE_BYTES_MAX, trades->sizes[index]);
}

/* --- what is timed --------------------------------------------------------------------------- */

static int pack_each(struct trades *trades, const struct weir_batch *batch, struct weir_view *ret)
{
    struct weir_batch_span span = weir_batch_span(batch, 0);
    const struct trade *items = (const struct trade *)span.items;
    struct weir_packer packer;

    weir_pack_begin(&packer, &trades->buf, 0);
    for (size_t i = 0; i < span.count; i++)
        trade_pack(&packer, &items[i]);
    return weir_pack_end(&packer, ret);
}

static int run_pack_each(struct bench_round *round)
{
    struct trades *trades = round->context;
    struct weir_view message = {NULL, 0};
    int rc = 0;

    for (uint64_t i = 0; i < round->ops / BATCH_RECORDS && rc == 0; i++) {
        weir_buf_reset(&trades->buf);
        rc = pack_each(trades, &trades->batches[i % BATCHES], &message);
        bench_use(message.data);
    }
    return rc;
}

static int run_pack_batch(struct bench_round *round)
{
    struct trades *trades = round->context;
    struct weir_view message = {NULL, 0};
    int rc = 0;

    for (uint64_t i = 0; i < round->ops / BATCH_RECORDS && rc == 0; i++) {
        weir_buf_reset(&trades->buf);
        rc = trade_encode_batch(&trades->batches[i % BATCHES], &trades->buf, &message);
        bench_use(message.data);
    }
    return rc;
}

static int unpack_each(struct weir_view message, struct weir_batch *ret)
{
    struct weir_unpacker u;
    int rc = 0;

    weir_unpack_init(&u, message, NULL);
    while (rc == 0 && !weir_unpack_done(&u)) {
        void *at;
        rc = weir_batch_add(ret, &at);
        if (rc == 0)
            rc = trade_unpack(&u, (struct trade *)at, NULL);
    }
    return rc;
}

static int run_unpack_each(struct bench_round *round)
{
    struct trades *trades = round->context;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops / BATCH_RECORDS && rc == 0; i++) {
        weir_batch_reset(&trades->read);
        rc = unpack_each(message_of(trades, i % BATCHES), &trades->read);
        bench_use(&trades->read);
    }
    return rc;
}

static int run_unpack_batch(struct bench_round *round)
{
    struct trades *trades = round->context;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops / BATCH_RECORDS && rc == 0; i++) {
        weir_batch_reset(&trades->read);
        rc = trade_decode_batch(message_of(trades, i % BATCHES), NULL, &trades->read, NULL);
        bench_use(&trades->read);
    }
    return rc;
}

static int run_column_each(struct bench_round *round)
{
    struct trades *trades = round->context;
    double prices[BATCH_RECORDS];

    for (uint64_t i = 0; i < round->ops / BATCH_RECORDS; i++) {
        struct weir_batch_span span = weir_batch_span(&trades->batches[i % BATCHES], 0);
        const struct trade *items = (const struct trade *)span.items;
        for (size_t k = 0; k < span.count && k < BATCH_RECORDS; k++)
            prices[k] = items[k].price;
        bench_use(prices);
    }
    return 0;
}

static int run_column(struct bench_round *round)
{
    struct trades *trades = round->context;
    double prices[BATCH_RECORDS];

    for (uint64_t i = 0; i < round->ops / BATCH_RECORDS; i++) {
        WEIR_RECORD_COLUMN(trade, price, &trades->batches[i % BATCHES], 0, prices, BATCH_RECORDS);
        bench_use(prices);
    }
    return 0;
}

/* --- the input, and that all do the same ----------------------------------------------------- */

static struct weir_view make_text(uint64_t *state, uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)('A' + bench_random(state) % 26);
    return weir_view_of(at, size);
}

static int make_batch(struct trades *trades, size_t number, uint64_t *state)
{
    const struct weir_batch_options options = {.batch_items = BATCH_RECORDS};
    struct weir_batch *batch = &trades->batches[number];
    int rc = weir_batch_init(batch, trades->pool, sizeof(struct trade), _Alignof(struct trade),
                             &options);

    for (size_t i = 0; i < BATCH_RECORDS && rc == 0; i++) {
        uint8_t *text = trades->texts + (number * BATCH_RECORDS + i) * TEXT_BYTES;
        struct trade trade = {.present = trade_schema.required};
        trade.id = bench_random(state);
        trade.ts = INT64_C(1700000000000000000) + (int64_t)(bench_random(state) >> 6);
        trade.price = (double)(bench_random(state) % 1000000) / 100;
        trade.qty = 1 + (uint32_t)((bench_random(state) % 1000000) >> (bench_random(state) % 20));
        trade.side = bench_random(state) & 1;
        trade.symbol = make_text(state, text, 4 + bench_random(state) % 3);
        trade.venue = make_text(state, text + 6, 4);
        trade.account = make_text(state, text + 10, 12);
        trade.flags = (uint8_t)bench_random(state);
        trade.seq = 10000000 + number * BATCH_RECORDS + i;
        rc = weir_batch_append(batch, &trade);
    }
    return rc;
}

/* Pack a batch in both ways, read it in both ways and pack that again. */
static int make_message(struct trades *trades, size_t number)
{
    struct weir_view message = {NULL, 0}, other = {NULL, 0};
    int rc = pack_each(trades, &trades->batches[number], &message);

    if (rc != 0 || message.size > MESSAGE_BYTES_MAX)
        return rc != 0 ? rc : -EOVERFLOW;
    memcpy(trades->bytes + number * MESSAGE_BYTES_MAX, message.data, message.size);
    trades->sizes[number] = message.size;
    message = message_of(trades, number);
    for (unsigned way = 0; way < 3 && rc == 0; way++) {
        weir_buf_reset(&trades->buf);
        weir_batch_reset(&trades->read);
        if (way == 1)
            rc = unpack_each(message, &trades->read);
        else if (way == 2)
            rc = trade_decode_batch(message, NULL, &trades->read, NULL);
        if (rc == 0)
            rc = trade_encode_batch(way == 0 ? &trades->batches[number] : &trades->read,
                                    &trades->buf, &other);
        if (rc == 0 && !weir_view_equal(message, other))
            rc = -EBADMSG;
    }
    weir_buf_reset(&trades->buf);
    return rc;
}

static void teardown(void *context)
{
    struct trades *trades = context;

    weir_batch_fini(&trades->read);
    for (size_t i = 0; i < BATCHES; i++)
        weir_batch_fini(&trades->batches[i]);
    weir_buf_fini(&trades->buf);
    if (weir_pool_destroy(trades->pool) < 0)
        bench_complain("blocks of the pool are still held");
    free(trades->bytes);
    free(trades->texts);
    free(trades);
}

static int setup_all(struct trades *trades)
{
    const struct weir_buf_options options = {.initial_bytes = 65536};
    uint64_t state = SEED;

    trades->bytes = calloc(BATCHES, MESSAGE_BYTES_MAX);
    trades->texts = calloc((size_t)BATCHES * BATCH_RECORDS, TEXT_BYTES);
    if (trades->bytes == NULL || trades->texts == NULL)
        return -ENOMEM;
    int rc = weir_pool_create(NULL, &trades->pool);
    if (rc == 0)
        rc = weir_buf_init(&trades->buf, trades->pool, &options);
    if (rc == 0)
        rc = weir_batch_init(&trades->read, trades->pool, sizeof(struct trade),
                             _Alignof(struct trade), NULL);
    for (size_t i = 0; i < BATCHES && rc == 0; i++)
        rc = make_batch(trades, i, &state);
    for (size_t i = 0; i < BATCHES && rc == 0; i++)
        rc = make_message(trades, i);
    return rc;
}

static int setup(void **ret)
{
    struct trades *trades = calloc(1, sizeof *trades);
    int rc = trades != NULL ? setup_all(trades) : -ENOMEM;

    if (rc < 0) {
        bench_complain("batches: %s", weir_error_text(rc));
        if (trades != NULL)
            teardown(trades);
        return rc;
    }
    *ret = trades;
    return 0;
}

static double bytes_per_op(const void *context)
{
    const struct trades *trades = context;
    double sum = 0;

    for (size_t i = 0; i < BATCHES; i++)
        sum += (double)trades->sizes[i];
    return sum / BATCHES / BATCH_RECORDS;
}

static const struct bench_contender pack_contenders[] = {
    {.name = "batch", .note = "NAME_encode_batch of 64 records", .run = run_pack_batch},
    {.name = "each", .note = "NAME_pack of each, one message", .run = run_pack_each},
};

static const struct bench_contender unpack_contenders[] = {
    {.name = "batch", .note = "NAME_decode_batch of 64 records", .run = run_unpack_batch},
    {.name = "each", .note = "weir_batch_add and NAME_unpack of each", .run = run_unpack_each},
};

static const struct bench_contender column_contenders[] = {
    {.name = "batch", .note = "WEIR_RECORD_COLUMN of a double", .run = run_column},
    {.name = "each", .note = "a loop over the span", .run = run_column_each},
};

#define CASE(title, what, list, bytes)                                                \
    {                                                                                 \
        .name = (title), .op = (what), .step_ops = (uint64_t)BATCHES * BATCH_RECORDS, \
        .bytes_per_op = (bytes), .contenders = (list),                                \
        .contender_count = sizeof(list) / sizeof(list)[0],                            \
    }

static const struct bench_case cases[] = {
    CASE("pack", "one of 64 structs of 10 fields packed", pack_contenders, bytes_per_op),
    CASE("unpack", "one of 64 structs of 10 fields read", unpack_contenders, bytes_per_op),
    CASE("column", "one field gathered", column_contenders, NULL),
};

const struct bench_group bench_group_batch = {
    .name = "batch",
    .summary = "described structs by the batch of 64, against one by one",
    .cases = cases,
    .case_count = sizeof cases / sizeof cases[0],
    .setup = setup,
    .teardown = teardown,
};
