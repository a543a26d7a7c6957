/* SPDX-License-Identifier: MIT */
/*
 * values/encode: an order of about 1436 bytes written from a struct.
 *
 * A map of 6 keys; one of them has an array of 20 maps of 5 keys, another one a bin of 256 bytes:
 * 233 values. The output of the staged orders lies one behind the other, then the next ones
 * overwrite it.
 */
#include "values.h"

#include <errno.h>

#include <weir/pack.h>

#include "msgpack_direct.h"

#define ORDER_KEYS 6
#define ITEM_KEYS 5

/* Errors of MessagePack-C are 0 or -1: or them together and look once. */
static inline int error_of(int rc)
{
    return rc == 0 ? 0 : -ENOMEM;
}

static __attribute__((noinline)) int encode_weir(struct weir_buf *buf, const struct order *order,
                                                 struct weir_view *ret)
{
    struct weir_packer p;

    weir_pack_begin(&p, buf, VALUES_BYTES_MAX);
    weir_pack_map(&p, ORDER_KEYS);
    weir_pack_key(&p, "id");
    weir_pack_uint(&p, order->id);
    weir_pack_key(&p, "customer");
    weir_pack_str(&p, weir_view_of(order->customer, order->customer_size));
    weir_pack_key(&p, "created");
    weir_pack_int(&p, order->created);
    weir_pack_key(&p, "items");
    weir_pack_array(&p, ORDER_ITEMS);
    for (size_t i = 0; i < ORDER_ITEMS; i++) {
        const struct order_item *item = &order->items[i];
        weir_pack_map(&p, ITEM_KEYS);
        weir_pack_key(&p, "sku");
        weir_pack_uint(&p, item->sku);
        weir_pack_key(&p, "name");
        weir_pack_str(&p, weir_view_of(item->name, item->name_size));
        weir_pack_key(&p, "qty");
        weir_pack_uint(&p, item->quantity);
        weir_pack_key(&p, "price");
        weir_pack_f64(&p, item->price);
        weir_pack_key(&p, "gift");
        weir_pack_bool(&p, item->gift);
    }
    weir_pack_key(&p, "total");
    weir_pack_f64(&p, order->total);
    weir_pack_key(&p, "proof");
    weir_pack_bin(&p, weir_view_of(order->proof, sizeof order->proof));
    return weir_pack_end(&p, ret);
}

static inline __attribute__((always_inline)) int encode_msgpack(msgpack_packer *pk,
                                                                const struct order *order)
{
    int rc = msgpack_pack_map(pk, ORDER_KEYS);

    rc |= msgpack_pack_str_with_body(pk, KEY("id"));
    rc |= msgpack_pack_uint64(pk, order->id);
    rc |= msgpack_pack_str_with_body(pk, KEY("customer"));
    rc |= msgpack_pack_str_with_body(pk, order->customer, order->customer_size);
    rc |= msgpack_pack_str_with_body(pk, KEY("created"));
    rc |= msgpack_pack_int64(pk, order->created);
    rc |= msgpack_pack_str_with_body(pk, KEY("items"));
    rc |= msgpack_pack_array(pk, ORDER_ITEMS);
    for (size_t i = 0; i < ORDER_ITEMS; i++) {
        const struct order_item *item = &order->items[i];
        rc |= msgpack_pack_map(pk, ITEM_KEYS);
        rc |= msgpack_pack_str_with_body(pk, KEY("sku"));
        rc |= msgpack_pack_uint32(pk, item->sku);
        rc |= msgpack_pack_str_with_body(pk, KEY("name"));
        rc |= msgpack_pack_str_with_body(pk, item->name, item->name_size);
        rc |= msgpack_pack_str_with_body(pk, KEY("qty"));
        rc |= msgpack_pack_uint32(pk, item->quantity);
        rc |= msgpack_pack_str_with_body(pk, KEY("price"));
        rc |= msgpack_pack_double(pk, item->price);
        rc |= msgpack_pack_str_with_body(pk, KEY("gift"));
        rc |= item->gift ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
    }
    rc |= msgpack_pack_str_with_body(pk, KEY("total"));
    rc |= msgpack_pack_double(pk, order->total);
    rc |= msgpack_pack_str_with_body(pk, KEY("proof"));
    rc |= msgpack_pack_bin_with_body(pk, order->proof, sizeof order->proof);
    return error_of(rc);
}

/* As a program writes it that has packer and buffer at hand. */
static __attribute__((noinline)) int encode_msgpack_plain(msgpack_sbuffer *sbuffer,
                                                          const struct order *order)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, sbuffer, msgpack_sbuffer_write);
    return encode_msgpack(&pk, order);
}

/* As a program writes it that is handed a packer. */
static __attribute__((noinline)) int encode_msgpack_opaque(msgpack_packer *pk,
                                                           const struct order *order)
{
    return encode_msgpack(pk, order);
}

static __attribute__((noinline, flatten)) int encode_msgpack_template(msgpack_sbuffer *sbuffer,
                                                                      const struct order *order)
{
    int rc = direct_pack_map(sbuffer, ORDER_KEYS);

    rc |= direct_text(sbuffer, KEY("id"));
    rc |= direct_pack_uint64(sbuffer, order->id);
    rc |= direct_text(sbuffer, KEY("customer"));
    rc |= direct_text(sbuffer, order->customer, order->customer_size);
    rc |= direct_text(sbuffer, KEY("created"));
    rc |= direct_pack_int64(sbuffer, order->created);
    rc |= direct_text(sbuffer, KEY("items"));
    rc |= direct_pack_array(sbuffer, ORDER_ITEMS);
    for (size_t i = 0; i < ORDER_ITEMS; i++) {
        const struct order_item *item = &order->items[i];
        rc |= direct_pack_map(sbuffer, ITEM_KEYS);
        rc |= direct_text(sbuffer, KEY("sku"));
        rc |= direct_pack_uint32(sbuffer, item->sku);
        rc |= direct_text(sbuffer, KEY("name"));
        rc |= direct_text(sbuffer, item->name, item->name_size);
        rc |= direct_text(sbuffer, KEY("qty"));
        rc |= direct_pack_uint32(sbuffer, item->quantity);
        rc |= direct_text(sbuffer, KEY("price"));
        rc |= direct_pack_double(sbuffer, item->price);
        rc |= direct_text(sbuffer, KEY("gift"));
        rc |= item->gift ? direct_pack_true(sbuffer) : direct_pack_false(sbuffer);
    }
    rc |= direct_text(sbuffer, KEY("total"));
    rc |= direct_pack_double(sbuffer, order->total);
    rc |= direct_text(sbuffer, KEY("proof"));
    rc |= direct_pack_bin(sbuffer, sizeof order->proof);
    rc |= direct_pack_bin_body(sbuffer, order->proof, sizeof order->proof);
    return error_of(rc);
}

#ifdef HAVE_MSGPUCK
static __attribute__((noinline)) char *encode_msgpuck(char *to, const struct order *order)
{
    to = mp_encode_map(to, ORDER_KEYS);
    to = mp_encode_str(to, KEY("id"));
    to = mp_encode_uint(to, order->id);
    to = mp_encode_str(to, KEY("customer"));
    to = mp_encode_str(to, order->customer, order->customer_size);
    to = mp_encode_str(to, KEY("created"));
    /* Its mp_encode_int() is for what is below 0. */
    to = order->created < 0 ? mp_encode_int(to, order->created)
                            : mp_encode_uint(to, (uint64_t)order->created);
    to = mp_encode_str(to, KEY("items"));
    to = mp_encode_array(to, ORDER_ITEMS);
    for (size_t i = 0; i < ORDER_ITEMS; i++) {
        const struct order_item *item = &order->items[i];
        to = mp_encode_map(to, ITEM_KEYS);
        to = mp_encode_str(to, KEY("sku"));
        to = mp_encode_uint(to, item->sku);
        to = mp_encode_str(to, KEY("name"));
        to = mp_encode_str(to, item->name, item->name_size);
        to = mp_encode_str(to, KEY("qty"));
        to = mp_encode_uint(to, item->quantity);
        to = mp_encode_str(to, KEY("price"));
        to = mp_encode_double(to, item->price);
        to = mp_encode_str(to, KEY("gift"));
        to = mp_encode_bool(to, item->gift);
    }
    to = mp_encode_str(to, KEY("total"));
    to = mp_encode_double(to, order->total);
    to = mp_encode_str(to, KEY("proof"));
    return mp_encode_bin(to, (const char *)order->proof, sizeof order->proof);
}

/* The bytes that encode_msgpuck() will write, as its documentation has programs ask first. */
static __attribute__((noinline)) size_t size_msgpuck(const struct order *order)
{
    size_t size = mp_sizeof_map(ORDER_KEYS);

    size += mp_sizeof_str(2) + mp_sizeof_uint(order->id);
    size += mp_sizeof_str(8) + mp_sizeof_str(order->customer_size);
    size += mp_sizeof_str(7) + (order->created < 0 ? mp_sizeof_int(order->created)
                                                   : mp_sizeof_uint((uint64_t)order->created));
    size += mp_sizeof_str(5) + mp_sizeof_array(ORDER_ITEMS);
    for (size_t i = 0; i < ORDER_ITEMS; i++) {
        const struct order_item *item = &order->items[i];
        size += mp_sizeof_map(ITEM_KEYS);
        size += mp_sizeof_str(3) + mp_sizeof_uint(item->sku);
        size += mp_sizeof_str(4) + mp_sizeof_str(item->name_size);
        size += mp_sizeof_str(3) + mp_sizeof_uint(item->quantity);
        size += mp_sizeof_str(5) + mp_sizeof_double(item->price);
        size += mp_sizeof_str(4) + mp_sizeof_bool(item->gift);
    }
    size += mp_sizeof_str(5) + mp_sizeof_double(order->total);
    return size + mp_sizeof_str(5) + mp_sizeof_bin(sizeof order->proof);
}

static inline int encode_msgpuck_checked(char **to, size_t *left, const struct order *order)
{
    size_t size = size_msgpuck(order);

    if (size > *left)
        return -ENOBUFS;
    *to = encode_msgpuck(*to, order);
    *left -= size;
    return 0;
}
#endif

#ifdef HAVE_MPACK
struct mpack_output {
    mpack_tokbuf_t tokens;
    char *at;
    size_t left;
    int error; /* sticky: nothing but MPACK_OK is right where there is room */
};

static inline void put(struct mpack_output *out, mpack_token_t token)
{
    out->error |= mpack_write(&out->tokens, &out->at, &out->left, &token);
}

static inline void put_text(struct mpack_output *out, const char *text, size_t size)
{
    put(out, mpack_pack_str((mpack_uint32_t)size));
    put(out, mpack_pack_chunk(text, (mpack_uint32_t)size));
}

/* A float 64: mpack_pack_float() writes a float 32 where that is exact. */
static inline void put_f64(struct mpack_output *out, double value)
{
    mpack_token_t token = {.type = MPACK_TOKEN_FLOAT, .length = 8};
    uint64_t bits = sum_f64(value);

    token.data.value.lo = (mpack_uint32_t)bits;
    token.data.value.hi = (mpack_uint32_t)(bits >> 32);
    put(out, token);
}

static __attribute__((noinline)) int encode_mpack(struct mpack_output *out,
                                                  const struct order *order)
{
    put(out, mpack_pack_map(ORDER_KEYS));
    put_text(out, KEY("id"));
    put(out, mpack_pack_uint(order->id));
    put_text(out, KEY("customer"));
    put_text(out, order->customer, order->customer_size);
    put_text(out, KEY("created"));
    put(out, mpack_pack_sint(order->created));
    put_text(out, KEY("items"));
    put(out, mpack_pack_array(ORDER_ITEMS));
    for (size_t i = 0; i < ORDER_ITEMS; i++) {
        const struct order_item *item = &order->items[i];
        put(out, mpack_pack_map(ITEM_KEYS));
        put_text(out, KEY("sku"));
        put(out, mpack_pack_uint(item->sku));
        put_text(out, KEY("name"));
        put_text(out, item->name, item->name_size);
        put_text(out, KEY("qty"));
        put(out, mpack_pack_uint(item->quantity));
        put_text(out, KEY("price"));
        put_f64(out, item->price);
        put_text(out, KEY("gift"));
        put(out, mpack_pack_boolean(item->gift));
    }
    put_text(out, KEY("total"));
    put_f64(out, order->total);
    put_text(out, KEY("proof"));
    put(out, mpack_pack_bin(sizeof order->proof));
    put(out, mpack_pack_chunk((const char *)order->proof, sizeof order->proof));
    return out->error == MPACK_OK ? 0 : -ENOBUFS;
}
#endif

/* --- runs ------------------------------------------------------------------------------------ */

/* Where the orders that are staged are written to. */
struct output {
    struct values *values;
    char *at;
    size_t left;
};

/*
 * Have @encode write all orders, in turn, until the round's operations are done. Before those that
 * are staged the output begins anew, which is timed.
 */
static inline __attribute__((always_inline)) int run_encode(
    struct bench_round *round, int (*encode)(struct output *out, const struct order *order))
{
    struct values *values = round->context;
    struct stopwatch watch = {0};

    for (uint64_t done = 0; done < round->ops; done += VALUES_STAGED) {
        memcpy(values->staged_orders, values->orders + done % VALUES_COUNT,
               VALUES_STAGED * sizeof *values->staged_orders);
        stopwatch_go(&watch);
        struct output out = {values, (char *)values->room, VALUES_ROOM_BYTES};
        msgpack_sbuffer_clear(&values->sbuffer);
        weir_buf_reset(&values->buf);
        for (size_t i = 0; i < VALUES_STAGED; i++) {
            int rc = encode(&out, &values->staged_orders[i]);
            if (rc < 0)
                return rc;
        }
        bench_use(&out);
        stopwatch_stop(&watch);
    }
    round->elapsed_ns = watch.elapsed_ns;
    return 0;
}

static inline int step_weir(struct output *out, const struct order *order)
{
    struct weir_view document;
    int rc = encode_weir(&out->values->buf, order, &document);

    bench_use(&document);
    return rc;
}

static int run_weir(struct bench_round *round)
{
    return run_encode(round, step_weir);
}

static inline int step_msgpack_plain(struct output *out, const struct order *order)
{
    return encode_msgpack_plain(&out->values->sbuffer, order);
}

static int run_msgpack_plain(struct bench_round *round)
{
    return run_encode(round, step_msgpack_plain);
}

static inline int step_msgpack_template(struct output *out, const struct order *order)
{
    return encode_msgpack_template(&out->values->sbuffer, order);
}

static int run_msgpack_template(struct bench_round *round)
{
    return run_encode(round, step_msgpack_template);
}

static inline int step_msgpack_opaque(struct output *out, const struct order *order)
{
    return encode_msgpack_opaque(&out->values->packer, order);
}

static int run_msgpack_opaque(struct bench_round *round)
{
    return run_encode(round, step_msgpack_opaque);
}

#ifdef HAVE_MSGPUCK
static inline int step_msgpuck(struct output *out, const struct order *order)
{
    out->at = encode_msgpuck(out->at, order);
    return 0;
}

static int run_msgpuck(struct bench_round *round)
{
    return run_encode(round, step_msgpuck);
}

static inline int step_msgpuck_checked(struct output *out, const struct order *order)
{
    return encode_msgpuck_checked(&out->at, &out->left, order);
}

static int run_msgpuck_checked(struct bench_round *round)
{
    return run_encode(round, step_msgpuck_checked);
}
#endif

#ifdef HAVE_MPACK
static inline int step_mpack(struct output *out, const struct order *order)
{
    struct mpack_output mpack = {.at = out->at, .left = out->left};

    mpack_tokbuf_init(&mpack.tokens);
    int rc = encode_mpack(&mpack, order);
    out->at = mpack.at;
    out->left = mpack.left;
    return rc;
}

static int run_mpack(struct bench_round *round)
{
    return run_encode(round, step_mpack);
}
#endif

/* Not the struct's bytes: as many as the others write. */
static int run_memcpy(struct bench_round *round)
{
    struct values *values = round->context;
    struct stopwatch watch = {0};

    for (uint64_t done = 0; done < round->ops; done += VALUES_STAGED) {
        corpus_stage(&values->documents, done % VALUES_COUNT);
        stopwatch_go(&watch);
        uint8_t *to = values->room;
        for (size_t i = 0; i < VALUES_STAGED; i++) {
            struct weir_view document = values->documents.staged[i];
            memcpy(to, document.data, document.size);
            to += document.size;
        }
        bench_use(to);
        stopwatch_stop(&watch);
    }
    round->elapsed_ns = watch.elapsed_ns;
    return 0;
}

static inline int step_struct(struct output *out, const struct order *order)
{
    memcpy(out->at, order, sizeof *order);
    out->at += sizeof *order;
    return 0;
}

static int run_struct(struct bench_round *round)
{
    return run_encode(round, step_struct);
}

/* --- that all do the same -------------------------------------------------------------------- */

/* @rc and @written are what @who made of order @index, of which @document is what weir made. */
static int compare(struct weir_view document, size_t index, int rc, struct weir_view written,
                   const char *who)
{
    if (rc == 0 && weir_view_equal(written, document))
        return 0;
    bench_complain("order %zu: %s %s", index, who,
                   rc == 0 ? "encodes it otherwise than weir" : "cannot encode it");
    return rc < 0 ? rc : -EBADMSG;
}

static struct weir_view in_sbuffer(const struct values *values)
{
    return weir_view_of(values->sbuffer.data, values->sbuffer.size);
}

static int verify_msgpack(struct values *values, struct weir_view document, size_t index)
{
    const struct order *order = &values->orders[index];
    msgpack_sbuffer *sbuffer = &values->sbuffer;

    msgpack_sbuffer_clear(sbuffer);
    int rc = encode_msgpack_plain(sbuffer, order);
    rc = compare(document, index, rc, in_sbuffer(values), "msgpack-c");
    if (rc < 0)
        return rc;
    msgpack_sbuffer_clear(sbuffer);
    rc = encode_msgpack_template(sbuffer, order);
    rc = compare(document, index, rc, in_sbuffer(values), "msgpack-c-template");
    if (rc < 0)
        return rc;
    msgpack_sbuffer_clear(sbuffer);
    rc = encode_msgpack_opaque(&values->packer, order);
    return compare(document, index, rc, in_sbuffer(values), "msgpack-c-opaque");
}

#if defined HAVE_MSGPUCK || defined HAVE_MPACK
/* What lies in the room that was given to @out. */
static struct weir_view in_room(const struct output *out)
{
    const char *start = (const char *)out->values->room;

    return weir_view_of(start, (size_t)(out->at - start));
}
#endif

#ifdef HAVE_MSGPUCK
static int verify_msgpuck(struct values *values, struct weir_view document, size_t index)
{
    struct output out = {values, (char *)values->room, VALUES_ROOM_BYTES};

    int rc = step_msgpuck_checked(&out, &values->orders[index]);
    rc = compare(document, index, rc, in_room(&out), "msgpuck");
    if (rc == 0 && VALUES_ROOM_BYTES - out.left != document.size) {
        bench_complain("order %zu: msgpuck computes another size", index);
        rc = -EBADMSG;
    }
    return rc;
}
#endif

#ifdef HAVE_MPACK
static int verify_mpack(struct values *values, struct weir_view document, size_t index)
{
    struct output out = {values, (char *)values->room, VALUES_ROOM_BYTES};

    int rc = step_mpack(&out, &values->orders[index]);
    return compare(document, index, rc, in_room(&out), "libmpack");
}
#endif

int values_encode_verify(struct values *values)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < VALUES_COUNT; i++) {
        struct weir_view document;
        weir_buf_reset(&values->buf);
        rc = encode_weir(&values->buf, &values->orders[i], &document);
        if (rc < 0) {
            bench_complain("order %zu: weir cannot encode it: %s", i, weir_error_text(rc));
            return rc;
        }
        rc = corpus_append(&values->documents, document);
        if (rc == 0)
            rc = verify_msgpack(values, document, i);
#ifdef HAVE_MSGPUCK
        if (rc == 0)
            rc = verify_msgpuck(values, document, i);
#endif
#ifdef HAVE_MPACK
        if (rc == 0)
            rc = verify_mpack(values, document, i);
#endif
    }
    return rc;
}

const struct bench_contender values_encode_contenders[VALUES_ENCODE_CONTENDERS] = {
    {.name = "weir",
     .note = "weir_pack_* into a weir_buf, one begin and end per document",
     .run = run_weir},
    {.name = "msgpack-c",
     .note = MSGPACK_C " pack functions from its headers into an sbuffer, packer and callback in "
                       "the compiler's sight, inlined as the flags above have it",
     .run = run_msgpack_plain},
    {.name = "msgpack-c-template",
     .note = "MessagePack-C's pack_template.h over an append to an sbuffer that is inlined, as its "
             "callback is not: the best that can be made of it",
     .run = run_msgpack_template},
    {.name = "msgpack-c-opaque",
     .note = "MessagePack-C with a packer that is handed in: every write is a call through its "
             "callback pointer",
     .run = run_msgpack_opaque},
#ifdef HAVE_MSGPUCK
    {.name = "msgpuck",
     .note = "mp_encode_* into memory that is large enough: it never looks whether it is",
     .run = run_msgpuck},
    {.name = "msgpuck-sized",
     .note = "the same after mp_sizeof_* of everything, compared with the room that is left",
     .run = run_msgpuck_checked},
#else
    {.name = "msgpuck", .missing = NO_MSGPUCK},
    {.name = "msgpuck-sized", .missing = NO_MSGPUCK},
#endif
#ifdef HAVE_MPACK
    {.name = "libmpack",
     .note = "mpack_write of tokens into memory, checked by it",
     .run = run_mpack},
#else
    {.name = "libmpack", .missing = NO_MPACK},
#endif
    {.name = "memcpy",
     .note = "the documents' bytes copied, one call per document: a floor",
     .run = run_memcpy},
    {.name = "struct",
     .note = "the struct's bytes (1104) copied, one call per document: what is not serialized",
     .run = run_struct},
};
