/* SPDX-License-Identifier: MIT */
/*
 * record-fixed: described structs in fixed layout, against the least that such work can be.
 *
 * The record is that of group_record.c, 65,536 different ones, once with its texts in arrays of the
 * struct (`chars`), so that all of it lies at constant places, and once with texts as views, which
 * follow at the end (`views`). The limit is a packed struct without any key, tag or check, its
 * numbers in network order. `three-of-40` reads three fields of a record of 40 in place. Its
 * messages are 1,024 different ones, which lie in the second-level cache, as what was received just
 * now does.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/buf.h>
#include <weir/pool.h>
#include <weir/record_fixed.h>

#include "record_peers.h"

#define RECORD_COUNT 65536u /* a power of two */
#define LARGE_COUNT 1024u   /* the same */
#define BATCH_RECORDS 64u   /* divides both */
#define MESSAGE_BYTES 192u  /* at least any message of 10 fields */
#define LARGE_BYTES 1024u   /* the same of 40 */
#define TEXT_BYTES 24u
#define SEED UINT64_C(0x66697865)

#define CHARS_FIELDS(F, R)   \
    F(R, u64, id)            \
    F(R, i64, ts)            \
    F(R, f64, price)         \
    F(R, u32, qty)           \
    F(R, bool, side)         \
    F(R, chars(8), symbol)   \
    F(R, chars(4), venue)    \
    F(R, chars(12), account) \
    F(R, u8, flags)          \
    F(R, u64, seq)
WEIR_RECORD(chars, CHARS_FIELDS);
WEIR_RECORD_FIXED(chars, CHARS_FIELDS);

#define VIEWS_FIELDS(F, R) \
    F(R, u64, id)          \
    F(R, i64, ts)          \
    F(R, f64, price)       \
    F(R, u32, qty)         \
    F(R, bool, side)       \
    F(R, u8, flags)        \
    F(R, u64, seq)         \
    F(R, str, symbol)      \
    F(R, str, venue)       \
    F(R, str, account)
WEIR_RECORD(views, VIEWS_FIELDS);
WEIR_RECORD_FIXED(views, VIEWS_FIELDS);

WEIR_RECORD(large, LARGE_RECORD_FIELDS);
WEIR_RECORD_FIXED(large, LARGE_RECORD_FIELDS);

/* What is nearest to a struct that has one meaning on all machines. */
struct __attribute__((packed)) limit {
    uint64_t id;
    uint64_t ts;
    uint64_t price;
    uint32_t qty;
    uint8_t side;
    char symbol[8];
    char venue[4];
    char account[12];
    uint8_t flags;
    uint64_t seq;
};

struct context {
    struct chars *chars;
    struct views *views;
    uint8_t *texts;       /* of the views, TEXT_BYTES each */
    struct limit *limits; /* the packed structs */
    uint8_t *chars_messages;
    uint8_t *views_messages; /* one after the other, as all are */
    uint32_t *views_offsets; /* of each, and the end */
    uint8_t *large_messages;
    uint8_t *room; /* BATCH_RECORDS times MESSAGE_BYTES */
    struct weir_pool *pool;
    struct weir_buf buf;
    struct order_values *values; /* the views, for peers */
    uint8_t *scratch;
    uint8_t *proto_messages;
    uint32_t *proto_offsets;
#ifdef HAVE_FLATBUFFERS
    struct record_flatbuffers *flatbuffers;
    uint8_t *flat_messages;
    uint32_t *flat_offsets;
    uint8_t *flat_large_messages;
    uint32_t *flat_large_offsets;
#endif
};

/* --- the limit ------------------------------------------------------------------------------- */

static inline uint64_t swap64(uint64_t value)
{
    uint8_t bytes[8];

    weir_wire_store64(bytes, value);
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint32_t swap32(uint32_t value)
{
    uint8_t bytes[4];

    weir_wire_store32(bytes, value);
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double value_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

#define LIMIT_NUMBERS(record)                                                \
    .id = swap64((record)->id), .ts = swap64((uint64_t)(record)->ts),        \
    .price = swap64(bits_of((record)->price)), .qty = swap32((record)->qty), \
    .side = (record)->side, .flags = (record)->flags, .seq = swap64((record)->seq)

static __attribute__((noinline)) void limit_pack_chars(struct limit *to, const struct chars *record)
{
    *to = (struct limit){LIMIT_NUMBERS(record)};
    memcpy(to->symbol, record->symbol, sizeof to->symbol);
    memcpy(to->venue, record->venue, sizeof to->venue);
    memcpy(to->account, record->account, sizeof to->account);
}

/* Texts of any size that fits, the rest NULs. */
static __attribute__((noinline)) void limit_pack_views(struct limit *to, const struct views *record)
{
    *to = (struct limit){LIMIT_NUMBERS(record)};
    weir_wire_copy_short((uint8_t *)to->symbol, record->symbol.data, record->symbol.size & 7u);
    weir_wire_copy_short((uint8_t *)to->venue, record->venue.data, record->venue.size & 7u);
    weir_wire_copy_short((uint8_t *)to->account, record->account.data, record->account.size & 15u);
}

#define LIMIT_READ(from, ret)                       \
    (ret)->id = swap64((from)->id);                 \
    (ret)->ts = (int64_t)swap64((from)->ts);        \
    (ret)->price = value_of(swap64((from)->price)); \
    (ret)->qty = swap32((from)->qty);               \
    (ret)->side = (from)->side != 0;                \
    (ret)->flags = (from)->flags;                   \
    (ret)->seq = swap64((from)->seq)

static __attribute__((noinline)) void limit_unpack_chars(const struct limit *from,
                                                         struct chars *ret)
{
    ret->present = UINT64_MAX >> (64 - chars_field_count);
    LIMIT_READ(from, ret);
    memcpy(ret->symbol, from->symbol, sizeof ret->symbol);
    memcpy(ret->venue, from->venue, sizeof ret->venue);
    memcpy(ret->account, from->account, sizeof ret->account);
}

static struct weir_view limit_text(const char *text, size_t size)
{
    const char *nul = memchr(text, 0, size);

    return weir_view_of(text, nul != NULL ? (size_t)(nul - text) : size);
}

static __attribute__((noinline)) void limit_unpack_views(const struct limit *from,
                                                         struct views *ret)
{
    ret->present = UINT64_MAX >> (64 - views_field_count);
    LIMIT_READ(from, ret);
    ret->symbol = limit_text(from->symbol, sizeof from->symbol);
    ret->venue = weir_view_of(from->venue, sizeof from->venue);
    ret->account = weir_view_of(from->account, sizeof from->account);
}

/* --- ours ------------------------------------------------------------------------------------ */

/* A function of its own for each, so that what is timed is one call, as of the limit's. */
#define WAYS(R)                                                                                 \
    static __attribute__((noinline)) int pack_##R(struct weir_buf *buf, const struct R *record, \
                                                  struct weir_view *ret)                        \
    {                                                                                           \
        return R##_encode_fixed(record, buf, ret);                                              \
    }                                                                                           \
    static __attribute__((noinline)) int unpack_##R(struct weir_view message, struct R *ret)    \
    {                                                                                           \
        return R##_decode_fixed(message, NULL, ret, NULL);                                      \
    }                                                                                           \
    static int run_pack_##R(struct bench_round *round)                                          \
    {                                                                                           \
        struct context *context = round->context;                                               \
        int rc = 0;                                                                             \
        for (uint64_t i = 0; i < round->ops && rc == 0; i++) {                                  \
            struct weir_view message;                                                           \
            if (i % BATCH_RECORDS == 0)                                                         \
                weir_buf_reset(&context->buf);                                                  \
            rc = pack_##R(&context->buf, &context->R[i % RECORD_COUNT], &message);              \
            bench_use(message.data);                                                            \
        }                                                                                       \
        return rc;                                                                              \
    }
WAYS(chars)
WAYS(views)

#define RUN_LIMIT(R)                                                                \
    static int run_pack_limit_##R(struct bench_round *round)                        \
    {                                                                               \
        struct context *context = round->context;                                   \
        for (uint64_t i = 0; i < round->ops; i++) {                                 \
            uint8_t *to = context->room + i % BATCH_RECORDS * sizeof(struct limit); \
            limit_pack_##R((struct limit *)to, &context->R[i % RECORD_COUNT]);      \
            bench_use(to);                                                          \
        }                                                                           \
        return 0;                                                                   \
    }                                                                               \
    static int run_unpack_limit_##R(struct bench_round *round)                      \
    {                                                                               \
        struct context *context = round->context;                                   \
        struct R record;                                                            \
        for (uint64_t i = 0; i < round->ops; i++) {                                 \
            limit_unpack_##R(&context->limits[i % RECORD_COUNT], &record);          \
            bench_use(&record);                                                     \
        }                                                                           \
        return 0;                                                                   \
    }
RUN_LIMIT(chars)
RUN_LIMIT(views)

static struct weir_view between(const uint8_t *messages, const uint32_t *offsets, size_t index)
{
    return weir_view_of(messages + offsets[index], offsets[index + 1] - offsets[index]);
}

static struct weir_view chars_message(const struct context *context, size_t index)
{
    return weir_view_of(context->chars_messages + index * chars_fixed_bytes, chars_fixed_bytes);
}

static struct weir_view views_message(const struct context *context, size_t index)
{
    return between(context->views_messages, context->views_offsets, index);
}

#define RUN_UNPACK(R)                                                         \
    static int run_unpack_##R(struct bench_round *round)                      \
    {                                                                         \
        struct context *context = round->context;                             \
        struct R record;                                                      \
        int rc = 0;                                                           \
        for (uint64_t i = 0; i < round->ops && rc == 0; i++) {                \
            rc = unpack_##R(R##_message(context, i % RECORD_COUNT), &record); \
            bench_use(&record);                                               \
        }                                                                     \
        return rc;                                                            \
    }
RUN_UNPACK(chars)
RUN_UNPACK(views)

static struct weir_view large_message(const struct context *context, size_t index)
{
    return weir_view_of(context->large_messages + index * large_fixed_bytes, large_fixed_bytes);
}

static __attribute__((noinline)) int read_three(struct weir_view message, uint64_t *sum)
{
    struct large_ref ref;
    int rc = large_open(message, &ref);

    if (rc == 0)
        *sum +=
            large_get_quantity(&ref) + (uint64_t)large_get_settled(&ref) + large_get_session(&ref);
    return rc;
}

static int run_three(struct bench_round *round)
{
    struct context *context = round->context;
    uint64_t sum = 0;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops && rc == 0; i++)
        rc = read_three(large_message(context, i % LARGE_COUNT), &sum);
    bench_use(&sum);
    return rc;
}

/* --- FlatBuffers ----------------------------------------------------------------------------- */

#ifdef HAVE_FLATBUFFERS
static int run_pack_flatbuffers(struct bench_round *round)
{
    struct context *context = round->context;

    for (uint64_t i = 0; i < round->ops; i++) {
        uint8_t *to = context->room + i % BATCH_RECORDS * MESSAGE_BYTES;
        record_flatbuffers_pack(context->flatbuffers, &context->values[i % RECORD_COUNT], to,
                                MESSAGE_BYTES);
        bench_use(to);
    }
    return 0;
}

static int run_unpack_flatbuffers(struct bench_round *round)
{
    struct context *context = round->context;
    struct order_values record;

    for (uint64_t i = 0; i < round->ops; i++) {
        record_flatbuffers_unpack(
            between(context->flat_messages, context->flat_offsets, i % RECORD_COUNT).data, &record);
        bench_use(&record);
    }
    return 0;
}

static int run_unpack_flatbuffers_verified(struct bench_round *round)
{
    struct context *context = round->context;
    struct order_values record;
    bool ok = true;

    for (uint64_t i = 0; i < round->ops && ok; i++) {
        struct weir_view message =
            between(context->flat_messages, context->flat_offsets, i % RECORD_COUNT);
        ok = record_flatbuffers_verify(message.data, message.size);
        record_flatbuffers_unpack(message.data, &record);
        bench_use(&record);
    }
    return ok ? 0 : -EBADMSG;
}

static int run_three_flatbuffers(struct bench_round *round)
{
    struct context *context = round->context;
    uint64_t sum = 0;

    for (uint64_t i = 0; i < round->ops; i++)
        sum += record_flatbuffers_read_three(
            between(context->flat_large_messages, context->flat_large_offsets, i % LARGE_COUNT)
                .data);
    bench_use(&sum);
    return 0;
}

static int run_three_flatbuffers_verified(struct bench_round *round)
{
    struct context *context = round->context;
    uint64_t sum = 0;
    bool ok = true;

    for (uint64_t i = 0; i < round->ops && ok; i++) {
        struct weir_view message =
            between(context->flat_large_messages, context->flat_large_offsets, i % LARGE_COUNT);
        ok = record_flatbuffers_verify_large(message.data, message.size);
        sum += record_flatbuffers_read_three(message.data);
    }
    bench_use(&sum);
    return ok ? 0 : -EBADMSG;
}
#define FLATBUFFERS(contender, function, text)                                   \
    {                                                                            \
        .name = (contender), .note = "FlatBuffers, " text, .run = run_##function \
    }
#else
#define FLATBUFFERS(contender, function, text)                                                    \
    {                                                                                             \
        .name = (contender), .missing =                                                           \
                                 "configure did not find FlatBuffers for C++ and flatc (Debian: " \
                                 "libflatbuffers-dev, flatbuffers-compiler)"                      \
    }
#endif

/* --- Protocol Buffers ------------------------------------------------------------------------ */

#define RUN_PROTO(peer)                                                                         \
    static int run_pack_##peer(struct bench_round *round)                                       \
    {                                                                                           \
        struct context *context = round->context;                                               \
        for (uint64_t i = 0; i < round->ops; i++) {                                             \
            uint8_t *to = context->room + i % BATCH_RECORDS * MESSAGE_BYTES;                    \
            record_##peer##_pack(&context->values[i % RECORD_COUNT], to, MESSAGE_BYTES);        \
            bench_use(to);                                                                      \
        }                                                                                       \
        return 0;                                                                               \
    }                                                                                           \
    static int run_unpack_##peer(struct bench_round *round)                                     \
    {                                                                                           \
        struct context *context = round->context;                                               \
        struct order_values record;                                                             \
        bool ok = true;                                                                         \
        for (uint64_t i = 0; i < round->ops && ok; i++) {                                       \
            struct weir_view message =                                                          \
                between(context->proto_messages, context->proto_offsets, i % RECORD_COUNT);     \
            ok = record_##peer##_unpack(message.data, message.size, context->scratch, &record); \
            bench_use(&record);                                                                 \
        }                                                                                       \
        return ok ? 0 : -EBADMSG;                                                               \
    }
#define PROTO(contender, function, text)                         \
    {                                                            \
        .name = (contender), .note = text, .run = run_##function \
    }
#define NO_PROTO(contender, text)                                      \
    {                                                                  \
        .name = (contender), .missing = "configure did not find " text \
    }
#ifdef HAVE_PROTOBUF_C
RUN_PROTO(protobuf_c)
#define PROTOBUF_C(function, text) PROTO("protobuf-c", function, "protobuf-c, " text)
#else
#define PROTOBUF_C(function, text) \
    NO_PROTO("protobuf-c", "protobuf-c (Debian: libprotobuf-c-dev, protobuf-c-compiler)")
#endif
#ifdef HAVE_NANOPB
RUN_PROTO(nanopb)
#define NANOPB(function, text) PROTO("nanopb", function, "nanopb, " text)
#else
#define NANOPB(function, text) NO_PROTO("nanopb", "nanopb (Debian: libnanopb-dev, nanopb)")
#endif

/* --- the input, and that all do the same ----------------------------------------------------- */

static void make_text(uint64_t *state, char *at, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

    for (size_t i = 0; i < size; i++)
        at[i] = letters[bench_random(state) % 32];
}

static void make_record(struct context *context, size_t index, uint64_t *state)
{
    struct chars *chars = &context->chars[index];
    struct views *views = &context->views[index];
    uint8_t *texts = context->texts + index * TEXT_BYTES;
    size_t symbol_size = 4 + bench_random(state) % 3;

    chars->id = views->id = bench_random(state);
    chars->ts = views->ts = INT64_C(1700000000000000000) + (int64_t)(bench_random(state) >> 6);
    chars->price = views->price = (double)(bench_random(state) % 1000000) / 100;
    chars->qty = views->qty =
        1 + (uint32_t)((bench_random(state) % 1000000) >> (bench_random(state) % 20));
    chars->side = views->side = bench_random(state) & 1;
    chars->flags = views->flags = (uint8_t)bench_random(state);
    chars->seq = views->seq = 10000000 + index;
    make_text(state, chars->symbol, symbol_size);
    make_text(state, chars->venue, 4);
    make_text(state, chars->account, 12);
    memcpy(texts, chars->symbol, 8);
    memcpy(texts + 8, chars->venue, 4);
    memcpy(texts + 12, chars->account, 12);
    views->symbol = weir_view_of(texts, symbol_size);
    views->venue = weir_view_of(texts + 8, 4);
    views->account = weir_view_of(texts + 12, 12);
}

static bool same_views(const struct views *a, const struct views *b)
{
    return a->id == b->id && a->ts == b->ts && bits_of(a->price) == bits_of(b->price) &&
           a->qty == b->qty && a->side == b->side && a->flags == b->flags && a->seq == b->seq &&
           weir_view_equal(a->symbol, b->symbol) && weir_view_equal(a->venue, b->venue) &&
           weir_view_equal(a->account, b->account);
}

static bool same_chars(const struct chars *a, const struct chars *b)
{
    return a->id == b->id && a->ts == b->ts && bits_of(a->price) == bits_of(b->price) &&
           a->qty == b->qty && a->side == b->side && a->flags == b->flags && a->seq == b->seq &&
           memcmp(a->symbol, b->symbol, sizeof a->symbol) == 0 &&
           memcmp(a->venue, b->venue, sizeof a->venue) == 0 &&
           memcmp(a->account, b->account, sizeof a->account) == 0;
}

static void append(uint8_t *messages, uint32_t *offsets, size_t index, struct weir_view message)
{
    memcpy(messages + offsets[index], message.data, message.size);
    offsets[index + 1] = offsets[index] + (uint32_t)message.size;
}

static int make_message(struct context *context, size_t index)
{
    struct weir_view message;
    struct limit of_views;
    struct chars chars;
    struct views views;

    weir_buf_reset(&context->buf);
    int rc = pack_chars(&context->buf, &context->chars[index], &message);
    if (rc != 0 || message.size != chars_fixed_bytes || message.size > MESSAGE_BYTES)
        return rc != 0 ? rc : -EOVERFLOW;
    memcpy(context->chars_messages + index * chars_fixed_bytes, message.data, message.size);
    rc = pack_views(&context->buf, &context->views[index], &message);
    if (rc != 0 || message.size > MESSAGE_BYTES)
        return rc != 0 ? rc : -EOVERFLOW;
    append(context->views_messages, context->views_offsets, index, message);
    limit_pack_chars(&context->limits[index], &context->chars[index]);
    limit_pack_views(&of_views, &context->views[index]);
    if (memcmp(&of_views, &context->limits[index], sizeof of_views) != 0)
        return -EBADMSG;
    if (unpack_chars(chars_message(context, index), &chars) != 0 ||
        !same_chars(&chars, &context->chars[index]) ||
        unpack_views(views_message(context, index), &views) != 0 ||
        !same_views(&views, &context->views[index]))
        return -EBADMSG;
    limit_unpack_chars(&context->limits[index], &chars);
    limit_unpack_views(&context->limits[index], &views);
    return same_chars(&chars, &context->chars[index]) && same_views(&views, &context->views[index])
               ? 0
               : -EBADMSG;
}

static struct order_values values_of(const struct views *from)
{
    return (struct order_values){.id = from->id,
                                 .ts = from->ts,
                                 .price = from->price,
                                 .seq = from->seq,
                                 .symbol = (const char *)from->symbol.data,
                                 .venue = (const char *)from->venue.data,
                                 .account = (const char *)from->account.data,
                                 .qty = from->qty,
                                 .symbol_size = (uint32_t)from->symbol.size,
                                 .venue_size = (uint32_t)from->venue.size,
                                 .account_size = (uint32_t)from->account.size,
                                 .side = from->side,
                                 .flags = from->flags};
}

#if defined(HAVE_FLATBUFFERS) || defined(HAVE_PROTOBUF_C) || defined(HAVE_NANOPB)
static bool same_values(const struct order_values *got, const struct views *wanted)
{
    struct views views = {.id = got->id,
                          .ts = got->ts,
                          .price = got->price,
                          .qty = got->qty,
                          .side = got->side,
                          .flags = got->flags,
                          .seq = got->seq,
                          .symbol = weir_view_of(got->symbol, got->symbol_size),
                          .venue = weir_view_of(got->venue, got->venue_size),
                          .account = weir_view_of(got->account, got->account_size)};

    return same_views(&views, wanted);
}
#endif

#ifdef HAVE_FLATBUFFERS
static int make_flatbuffers(struct context *context, size_t index)
{
    uint8_t *message = context->flat_messages + context->flat_offsets[index];
    struct order_values got;

    size_t size = record_flatbuffers_pack(context->flatbuffers, &context->values[index], message,
                                          MESSAGE_BYTES);
    if (size == 0 || !record_flatbuffers_verify(message, size))
        return -EBADMSG;
    context->flat_offsets[index + 1] = context->flat_offsets[index] + (uint32_t)size;
    record_flatbuffers_unpack(message, &got);
    return same_values(&got, &context->views[index]) ? 0 : -EBADMSG;
}
#endif

#if defined(HAVE_PROTOBUF_C) || defined(HAVE_NANOPB)
typedef size_t proto_pack_function(const struct order_values *from, uint8_t *to, size_t room);
typedef bool proto_unpack_function(const uint8_t *message, size_t size, uint8_t *room,
                                   struct order_values *ret);

/* Those of both are the same bytes, so each overwrites the other's. */
static int make_proto(struct context *context, size_t index, proto_pack_function *pack,
                      proto_unpack_function *unpack)
{
    uint8_t *message = context->proto_messages + context->proto_offsets[index];
    size_t before = context->proto_offsets[index + 1];
    struct order_values got;

    size_t size = pack(&context->values[index], message, MESSAGE_BYTES);
    if (size == 0 || !unpack(message, size, context->scratch, &got) ||
        !same_values(&got, &context->views[index]))
        return -EBADMSG;
    context->proto_offsets[index + 1] = context->proto_offsets[index] + (uint32_t)size;
    return before == 0 || before == context->proto_offsets[index + 1] ? 0 : -EBADMSG;
}
#endif

static int make_peers(struct context *context, size_t index)
{
    int rc = 0;

    context->values[index] = values_of(&context->views[index]);
#ifdef HAVE_FLATBUFFERS
    rc = make_flatbuffers(context, index);
#endif
#ifdef HAVE_PROTOBUF_C
    if (rc == 0)
        rc = make_proto(context, index, record_protobuf_c_pack, record_protobuf_c_unpack);
#endif
#ifdef HAVE_NANOPB
    if (rc == 0)
        rc = make_proto(context, index, record_nanopb_pack, record_nanopb_unpack);
#endif
    return rc;
}

static int make_large(struct context *context, size_t index, uint64_t *state)
{
    struct weir_view message;
    struct large large = {.present = 0};
    uint64_t sum = 0;

#define LARGE_RANDOM_bool(bits) ((bits)&1) != 0
#define LARGE_RANDOM_u8(bits) (uint8_t)(bits)
#define LARGE_RANDOM_u16(bits) (uint16_t)(bits)
#define LARGE_RANDOM_u32(bits) (uint32_t)(bits)
#define LARGE_RANDOM_u64(bits) (bits)
#define LARGE_RANDOM_i32(bits) (int32_t)(bits)
#define LARGE_RANDOM_i64(bits) (int64_t)(bits)
#define LARGE_RANDOM_f64(bits) (double)(bits)
#define LARGE_RANDOM(R, type, name) large.name = LARGE_RANDOM_##type(bench_random(state));
    LARGE_RECORD_FIELDS(LARGE_RANDOM, large)
    weir_buf_reset(&context->buf);
    int rc = large_encode_fixed(&large, &context->buf, &message);
    if (rc != 0 || message.size > LARGE_BYTES)
        return rc != 0 ? rc : -EOVERFLOW;
    memcpy(context->large_messages + index * large_fixed_bytes, message.data, message.size);
    rc = read_three(message, &sum);
    if (rc != 0 || sum != large.quantity + (uint64_t)large.settled + large.session)
        return rc != 0 ? rc : -EBADMSG;
#ifdef HAVE_FLATBUFFERS
    struct large_values values;
    uint8_t *flat = context->flat_large_messages + context->flat_large_offsets[index];
#define LARGE_COPY(R, type, name) values.name = large.name;
    LARGE_RECORD_FIELDS(LARGE_COPY, large)
    size_t size = record_flatbuffers_pack_large(context->flatbuffers, &values, flat, LARGE_BYTES);
    if (size == 0 || !record_flatbuffers_verify_large(flat, size) ||
        record_flatbuffers_read_three(flat) != sum)
        return -EBADMSG;
    context->flat_large_offsets[index + 1] = context->flat_large_offsets[index] + (uint32_t)size;
#endif
    return 0;
}

static int make_all(struct context *context)
{
    uint64_t state = SEED;
    int rc = 0;

    for (size_t i = 0; i < RECORD_COUNT && rc == 0; i++) {
        make_record(context, i, &state);
        rc = make_message(context, i);
        if (rc == 0)
            rc = make_peers(context, i);
        if (rc == 0 && i < LARGE_COUNT)
            rc = make_large(context, i, &state);
        if (rc != 0)
            bench_complain("record %zu: the ways differ", i);
    }
    return rc;
}

static void teardown(void *ptr)
{
    struct context *context = ptr;

    weir_buf_fini(&context->buf);
    if (weir_pool_destroy(context->pool) < 0)
        bench_complain("blocks of the pool are still held");
#ifdef HAVE_FLATBUFFERS
    record_flatbuffers_destroy(context->flatbuffers);
    free(context->flat_large_offsets);
    free(context->flat_large_messages);
    free(context->flat_offsets);
    free(context->flat_messages);
#endif
    free(context->proto_offsets);
    free(context->proto_messages);
    free(context->scratch);
    free(context->values);
    free(context->room);
    free(context->large_messages);
    free(context->views_offsets);
    free(context->views_messages);
    free(context->chars_messages);
    free(context->limits);
    free(context->texts);
    free(context->views);
    free(context->chars);
    free(context);
}

static int setup_memory(struct context *context)
{
    const struct weir_buf_options options = {.initial_bytes = 16384};

    context->chars = calloc(RECORD_COUNT, sizeof *context->chars);
    context->views = calloc(RECORD_COUNT, sizeof *context->views);
    context->texts = calloc(RECORD_COUNT, TEXT_BYTES);
    context->limits = calloc(RECORD_COUNT, sizeof *context->limits);
    context->chars_messages = calloc(RECORD_COUNT, MESSAGE_BYTES);
    context->views_messages = calloc(RECORD_COUNT, MESSAGE_BYTES);
    context->views_offsets = calloc(RECORD_COUNT + 1, sizeof *context->views_offsets);
    context->large_messages = calloc(LARGE_COUNT, LARGE_BYTES);
    context->room = calloc(BATCH_RECORDS, MESSAGE_BYTES);
    context->values = calloc(RECORD_COUNT, sizeof *context->values);
    context->scratch = calloc(1, RECORD_SCRATCH_BYTES);
    context->proto_messages = calloc(RECORD_COUNT, MESSAGE_BYTES);
    context->proto_offsets = calloc(RECORD_COUNT + 1, sizeof *context->proto_offsets);
    if (context->chars == NULL || context->views == NULL || context->texts == NULL ||
        context->limits == NULL || context->chars_messages == NULL ||
        context->views_messages == NULL || context->views_offsets == NULL ||
        context->large_messages == NULL || context->room == NULL || context->values == NULL ||
        context->scratch == NULL || context->proto_messages == NULL ||
        context->proto_offsets == NULL)
        return -ENOMEM;
#ifdef HAVE_FLATBUFFERS
    context->flatbuffers = record_flatbuffers_create();
    context->flat_messages = calloc(RECORD_COUNT, MESSAGE_BYTES);
    context->flat_offsets = calloc(RECORD_COUNT + 1, sizeof *context->flat_offsets);
    context->flat_large_messages = calloc(LARGE_COUNT, LARGE_BYTES);
    context->flat_large_offsets = calloc(LARGE_COUNT + 1, sizeof *context->flat_large_offsets);
    if (context->flat_messages == NULL || context->flat_offsets == NULL ||
        context->flat_large_messages == NULL || context->flat_large_offsets == NULL)
        return -ENOMEM;
#endif
    int rc = weir_pool_create(NULL, &context->pool);
    return rc < 0 ? rc : weir_buf_init(&context->buf, context->pool, &options);
}

static int setup(void **ret)
{
    struct context *context = calloc(1, sizeof *context);

    if (context == NULL) {
        bench_complain("out of memory");
        return -ENOMEM;
    }
    int rc = setup_memory(context);
    if (rc < 0)
        bench_complain("%s", weir_error_text(rc));
    else
        rc = make_all(context);
    if (rc < 0) {
        teardown(context);
        return rc;
    }
    *ret = context;
    return 0;
}

#define WEIR(function, text)                                \
    {                                                       \
        .name = "weir", .note = text, .run = run_##function \
    }
#define LIMIT(function)                                                                       \
    {                                                                                         \
        .name = "packed-struct", .note = "its fields stored or loaded, unchecked: the limit", \
        .run = run_##function                                                                 \
    }

static const struct bench_contender pack_chars_contenders[] = {
    WEIR(pack_chars, "NAME_encode_fixed, texts in arrays"), LIMIT(pack_limit_chars)};
static const struct bench_contender pack_views_contenders[] = {
    WEIR(pack_views, "NAME_encode_fixed, texts as views"), LIMIT(pack_limit_views),
    FLATBUFFERS("flatbuffers", pack_flatbuffers, "one builder that is cleared, and a copy"),
    PROTOBUF_C(pack_protobuf_c, "its size computed and its struct packed"),
    NANOPB(pack_nanopb, "its struct filled and encoded into memory")};
static const struct bench_contender unpack_chars_contenders[] = {
    WEIR(unpack_chars, "NAME_decode_fixed, texts in arrays"), LIMIT(unpack_limit_chars)};
static const struct bench_contender unpack_views_contenders[] = {
    WEIR(unpack_views, "NAME_decode_fixed, texts as views"),
    LIMIT(unpack_limit_views),
    FLATBUFFERS("flatbuffers", unpack_flatbuffers, "all fields read, unverified"),
    FLATBUFFERS("flatbuffers-verify", unpack_flatbuffers_verified, "after its Verifier"),
    PROTOBUF_C(unpack_protobuf_c, "its struct in memory that a bump allocator gives"),
    NANOPB(unpack_nanopb, "texts in arrays of its struct")};
static const struct bench_contender three_contenders[] = {
    WEIR(three, "NAME_open, then NAME_get_FIELD"),
    FLATBUFFERS("flatbuffers", three_flatbuffers, "three accessors, unverified"),
    FLATBUFFERS("flatbuffers-verify", three_flatbuffers_verified, "after its Verifier")};

#define CASE(title, what, count, list)                                            \
    {                                                                             \
        .name = (title), .op = (what), .step_ops = (count), .contenders = (list), \
        .contender_count = sizeof(list) / sizeof(list)[0],                        \
    }

static const struct bench_case cases[] = {
    CASE("pack-chars", "one struct of 10 fields packed", RECORD_COUNT, pack_chars_contenders),
    CASE("unpack-chars", "one struct of 10 fields read", RECORD_COUNT, unpack_chars_contenders),
    CASE("pack-views", "one struct of 10 fields packed", RECORD_COUNT, pack_views_contenders),
    CASE("unpack-views", "one struct of 10 fields read", RECORD_COUNT, unpack_views_contenders),
    CASE("three-of-40", "three fields of 40 read in place", LARGE_COUNT, three_contenders),
};

const struct bench_group bench_group_record_fixed = {
    .name = "record-fixed",
    .summary = "described structs in fixed layout, 65536 different ones, against the limit",
    .cases = cases,
    .case_count = sizeof cases / sizeof cases[0],
    .setup = setup,
    .teardown = teardown,
};
