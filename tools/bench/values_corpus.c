/* SPDX-License-Identifier: MIT */
/*
 * The input of the group `values`, made with weir, which values_*_verify() then compare with what
 * others make of it.
 *
 * How values are spread decides what their widths on the wire are, and so how often branches are
 * mispredicted. Sizes of texts, widths of quantities and the booleans are unpredictable here.
 */
#include "values.h"

#include <errno.h>
#include <stdlib.h>

#include <weir/pack.h>

#define SEED UINT64_C(0x76616c756573)
#define MAP_KEYS 40u

int corpus_init(struct corpus *corpus, size_t count_max)
{
    memset(corpus, 0, sizeof *corpus);
    corpus->bytes = calloc(count_max, VALUES_BYTES_MAX);
    corpus->offsets = calloc(count_max + 1, sizeof *corpus->offsets);
    corpus->staged_bytes = calloc(VALUES_STAGED, VALUES_BYTES_MAX);
    return corpus->bytes != NULL && corpus->offsets != NULL && corpus->staged_bytes != NULL
               ? 0
               : -ENOMEM;
}

void corpus_fini(struct corpus *corpus)
{
    free(corpus->staged_bytes);
    free(corpus->offsets);
    free(corpus->bytes);
}

int corpus_append(struct corpus *corpus, struct weir_view value)
{
    uint32_t offset = corpus->offsets[corpus->count];

    if (value.size > VALUES_BYTES_MAX) {
        bench_complain("a value of %zu bytes", value.size);
        return -EOVERFLOW;
    }
    memcpy(corpus->bytes + offset, value.data, value.size);
    corpus->offsets[++corpus->count] = offset + (uint32_t)value.size;
    return 0;
}

struct weir_view corpus_value(const struct corpus *corpus, size_t index)
{
    return weir_view_of(corpus->bytes + corpus->offsets[index],
                        corpus->offsets[index + 1] - corpus->offsets[index]);
}

double corpus_bytes_per_value(const struct corpus *corpus)
{
    return (double)corpus->offsets[corpus->count] / (double)corpus->count;
}

void corpus_stage(struct corpus *corpus, size_t index)
{
    uint8_t *to = corpus->staged_bytes;

    for (size_t i = 0; i < VALUES_STAGED; i++) {
        struct weir_view value = corpus_value(corpus, index + i);
        memcpy(to, value.data, value.size);
        corpus->staged[i] = weir_view_of(to, value.size);
        to += value.size;
    }
}

/* @min to @max letters at @at; returns how many. */
static uint8_t make_text(uint64_t *state, char *at, unsigned min, unsigned max)
{
    uint64_t bits = bench_random(state);
    unsigned size = min + (unsigned)(bits >> 32) % (max - min + 1);

    for (unsigned i = 0; i < size; i++)
        at[i] = (char)('a' + (bits = bench_random(state)) % 26);
    return (uint8_t)size;
}

/* 1 to 1,000,000, the magnitude uniform: 1, 2, 3 or 5 bytes on the wire. */
static uint32_t make_quantity(uint64_t *state)
{
    uint64_t magnitude = UINT64_C(1) << (bench_random(state) % 20);

    return (uint32_t)(magnitude + bench_random(state) % magnitude);
}

static double make_price(uint64_t *state)
{
    return (double)(bench_random(state) % 1000000 + 1) / 100.0;
}

static int64_t make_time_ns(uint64_t *state)
{
    return INT64_C(1700000000000000000) +
           (int64_t)(bench_random(state) % UINT64_C(50000000000000000));
}

static void make_order(uint64_t *state, struct order *order)
{
    order->id = bench_random(state) | UINT64_C(1) << 63;
    order->created = make_time_ns(state);
    order->total = make_price(state);
    order->customer_size = make_text(state, order->customer, 8, 16);
    for (size_t i = 0; i < sizeof order->proof; i++)
        order->proof[i] = (uint8_t)bench_random(state);
    for (size_t i = 0; i < ORDER_ITEMS; i++) {
        struct order_item *item = &order->items[i];
        item->sku = (uint32_t)bench_random(state);
        item->quantity = make_quantity(state);
        item->price = make_price(state);
        item->name_size = make_text(state, item->name, 4, 18);
        item->gift = bench_random(state) >> 63 != 0;
    }
}

/* As the encoders spell it out; these are the sums of keys and heads. */
uint64_t order_sum(const struct order *order)
{
    uint64_t sum = 6 + sum_bytes(KEY("id")) + sum_bytes(KEY("customer")) +
                   sum_bytes(KEY("created")) + sum_bytes(KEY("items")) + sum_bytes(KEY("total")) +
                   sum_bytes(KEY("proof"));

    sum += order->id + (uint64_t)order->created + sum_f64(order->total) +
           sum_bytes(order->customer, order->customer_size) +
           sum_bytes(order->proof, sizeof order->proof) + ORDER_ITEMS;
    for (size_t i = 0; i < ORDER_ITEMS; i++) {
        const struct order_item *item = &order->items[i];
        sum += 5 + sum_bytes(KEY("sku")) + sum_bytes(KEY("name")) + sum_bytes(KEY("qty")) +
               sum_bytes(KEY("price")) + sum_bytes(KEY("gift"));
        sum += item->sku + (uint64_t)item->quantity + sum_f64(item->price) +
               sum_bytes(item->name, item->name_size) + item->gift;
    }
    return sum;
}

static void make_orders(struct values *values)
{
    uint64_t state = SEED;

    for (size_t i = 0; i < VALUES_COUNT; i++)
        make_order(&state, &values->orders[i]);
}

/* The keys of a map, of which values_find.c looks for three. */
static const char *const map_keys[MAP_KEYS] = {
    "account",  "amount",   "approved", "attempt", "balance", "batch",    "branch",  "broker",
    "channel",  "client",   "comment",  "country", "created", "currency", "desk",    "discount",
    "due",      "expires",  "fee",      "gateway", "host",    "invoice",  "isin",    "ledger",
    "limit",    "margin",   "market",   "method",  "note",    "parent",   "partner", "price",
    "priority", "quantity", "reason",   "region",  "status",  "tax",      "trader",  "version",
};

/* What a key's value is depends on the key alone, its width does not. */
static void pack_map_value(struct weir_packer *p, uint64_t *state, size_t key)
{
    char text[24];

    switch (key % 5) {
    case 0:
        weir_pack_str(p, weir_view_of(text, make_text(state, text, 2, 20)));
        break;
    case 1:
        weir_pack_uint(p, make_quantity(state));
        break;
    case 2:
        weir_pack_f64(p, make_price(state));
        break;
    case 3:
        weir_pack_bool(p, bench_random(state) >> 63 != 0);
        break;
    default:
        weir_pack_int(p, (int64_t)bench_random(state) >> bench_random(state) % 64);
    }
}

/* All keys, in an order of the map's own or in the same one in all maps. */
static int make_map(struct values *values, uint64_t *state, bool shuffled, struct corpus *corpus)
{
    struct weir_packer p;
    struct weir_view map;
    uint8_t order[MAP_KEYS];

    for (size_t i = 0; i < MAP_KEYS; i++) {
        size_t other = shuffled ? bench_random(state) % (i + 1) : i;
        order[i] = order[other];
        order[other] = (uint8_t)i;
    }
    weir_buf_reset(&values->buf);
    weir_pack_begin(&p, &values->buf, VALUES_BYTES_MAX);
    weir_pack_map(&p, MAP_KEYS);
    for (size_t i = 0; i < MAP_KEYS; i++) {
        weir_pack_text(&p, map_keys[order[i]]);
        pack_map_value(&p, state, order[i]);
    }
    int rc = weir_pack_end(&p, &map);
    return rc < 0 ? rc : corpus_append(corpus, map);
}

/* About 100 bytes in 11 values: what a log or a market feed sends. */
static int make_message(struct values *values, uint64_t *state)
{
    struct weir_packer p;
    struct weir_view message;
    char text[48];

    weir_buf_reset(&values->buf);
    weir_pack_begin(&p, &values->buf, VALUES_BYTES_MAX);
    weir_pack_map(&p, 5);
    weir_pack_text(&p, "id");
    weir_pack_uint(&p, bench_random(state) | UINT64_C(1) << 63);
    weir_pack_text(&p, "time");
    weir_pack_int(&p, make_time_ns(state));
    weir_pack_text(&p, "level");
    weir_pack_uint(&p, make_quantity(state));
    weir_pack_text(&p, "value");
    weir_pack_f64(&p, make_price(state));
    weir_pack_text(&p, "text");
    weir_pack_str(&p, weir_view_of(text, make_text(state, text, 36, 48)));
    int rc = weir_pack_end(&p, &message);
    if (rc == 0)
        rc = corpus_append(&values->messages, message);
    if (rc == 0)
        rc = sum_weir(message, &values->sums[values->messages.count - 1]);
    return rc;
}

int values_make(struct values *values)
{
    uint64_t state = ~SEED;
    int rc = 0;

    make_orders(values);
    for (size_t i = 0; rc == 0 && i < VALUES_COUNT; i++) {
        rc = make_map(values, &state, false, &values->maps);
        if (rc == 0)
            rc = make_map(values, &state, true, &values->shuffled);
        if (rc == 0)
            rc = make_message(values, &state);
    }
    if (rc < 0)
        bench_complain("the input cannot be made: %s", weir_error_text(rc));
    return rc;
}
