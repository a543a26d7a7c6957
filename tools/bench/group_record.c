/* SPDX-License-Identifier: MIT */
/*
 * record: one described struct of ten fields, packed and read again.
 *
 * What WEIR_RECORD() makes of a description, against the codecs that a program would call field by
 * field. There are 65,536 different records; how their values are spread is told in group_codec.c.
 * Each is a message of its own of 111 to 118 bytes. Output goes to one buffer that is emptied after
 * every 64 records, so that it stays in the first-level cache; the input does not. Strings are read
 * in place. For `shuffled` each message has its keys in an order of its own.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>
#ifdef HAVE_MSGPUCK
#include <msgpuck.h>
#endif

#include <weir/buf.h>
#include <weir/pool.h>
#include <weir/record.h>

#define RECORD_COUNT 65536u /* a power of two */
#define BATCH_RECORDS 64u   /* divides it */
#define RECORD_BYTES_MAX 256u
#define TEXT_BYTES 24u
#define SEED UINT64_C(0x7265636f)
#define NO_MSGPUCK "configure did not find msgpuck (Debian: libmsgpuck-dev)"

#define ORDER_FIELDS(F, R) \
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
WEIR_RECORD(order, ORDER_FIELDS);

/* Messages, one after the other. */
struct messages {
    uint8_t *bytes;
    uint32_t *offsets; /* of each, and the end */
};

struct orders {
    struct order *records;
    uint8_t *texts; /* of all records, TEXT_BYTES each */
    struct messages ordered;
    struct messages shuffled;
    uint8_t *room; /* BATCH_RECORDS times RECORD_BYTES_MAX */
    struct weir_pool *pool;
    struct weir_buf buf;
    msgpack_sbuffer sbuffer;
    msgpack_unpacked unpacked;
};

static struct weir_view message_of(const struct messages *messages, uint64_t index)
{
    uint32_t begin = messages->offsets[index];

    return weir_view_of(messages->bytes + begin, messages->offsets[index + 1] - begin);
}

/* --- packing --------------------------------------------------------------------------------- */

/* A way to pack: one function of these arguments, and its loop. */
typedef int pack_function(struct orders *orders, uint8_t *room, const struct order *record,
                          struct weir_view *ret);

static __attribute__((noinline)) int pack_weir(struct orders *orders, uint8_t *room,
                                               const struct order *record, struct weir_view *ret)
{
    (void)room;
    return order_encode(record, &orders->buf, ret);
}

static __attribute__((noinline)) int pack_walk(struct orders *orders, uint8_t *room,
                                               const struct order *record, struct weir_view *ret)
{
    struct weir_packer packer;

    (void)room;
    weir_pack_begin(&packer, &orders->buf, 0);
    weir_record_pack(&packer, &order_schema, record);
    return weir_pack_end(&packer, ret);
}

#define KEY(literal) (literal), (sizeof(literal) - 1)

static __attribute__((noinline)) int pack_msgpack(struct orders *orders, uint8_t *room,
                                                  const struct order *record, struct weir_view *ret)
{
    size_t begin = orders->sbuffer.size;
    msgpack_packer pk;
    int rc;

    (void)room;
    msgpack_packer_init(&pk, &orders->sbuffer, msgpack_sbuffer_write);
    rc = msgpack_pack_map(&pk, order_field_count);
    rc |= msgpack_pack_str_with_body(&pk, KEY("id"));
    rc |= msgpack_pack_uint64(&pk, record->id);
    rc |= msgpack_pack_str_with_body(&pk, KEY("ts"));
    rc |= msgpack_pack_int64(&pk, record->ts);
    rc |= msgpack_pack_str_with_body(&pk, KEY("price"));
    rc |= msgpack_pack_double(&pk, record->price);
    rc |= msgpack_pack_str_with_body(&pk, KEY("qty"));
    rc |= msgpack_pack_uint32(&pk, record->qty);
    rc |= msgpack_pack_str_with_body(&pk, KEY("side"));
    rc |= record->side ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk);
    rc |= msgpack_pack_str_with_body(&pk, KEY("symbol"));
    rc |= msgpack_pack_str_with_body(&pk, record->symbol.data, record->symbol.size);
    rc |= msgpack_pack_str_with_body(&pk, KEY("venue"));
    rc |= msgpack_pack_str_with_body(&pk, record->venue.data, record->venue.size);
    rc |= msgpack_pack_str_with_body(&pk, KEY("account"));
    rc |= msgpack_pack_str_with_body(&pk, record->account.data, record->account.size);
    rc |= msgpack_pack_str_with_body(&pk, KEY("flags"));
    rc |= msgpack_pack_uint8(&pk, record->flags);
    rc |= msgpack_pack_str_with_body(&pk, KEY("seq"));
    rc |= msgpack_pack_uint64(&pk, record->seq);
    *ret = weir_view_of(orders->sbuffer.data + begin, orders->sbuffer.size - begin);
    return rc == 0 ? 0 : -ENOMEM;
}

#ifdef HAVE_MSGPUCK
static __attribute__((noinline)) int pack_msgpuck(struct orders *orders, uint8_t *room,
                                                  const struct order *record, struct weir_view *ret)
{
    char *at = mp_encode_map((char *)room, order_field_count);

    (void)orders;
    at = mp_encode_str(at, KEY("id"));
    at = mp_encode_uint(at, record->id);
    at = mp_encode_str(at, KEY("ts"));
    at = record->ts < 0 ? mp_encode_int(at, record->ts) : mp_encode_uint(at, (uint64_t)record->ts);
    at = mp_encode_str(at, KEY("price"));
    at = mp_encode_double(at, record->price);
    at = mp_encode_str(at, KEY("qty"));
    at = mp_encode_uint(at, record->qty);
    at = mp_encode_str(at, KEY("side"));
    at = mp_encode_bool(at, record->side);
    at = mp_encode_str(at, KEY("symbol"));
    at = mp_encode_str(at, (const char *)record->symbol.data, (uint32_t)record->symbol.size);
    at = mp_encode_str(at, KEY("venue"));
    at = mp_encode_str(at, (const char *)record->venue.data, (uint32_t)record->venue.size);
    at = mp_encode_str(at, KEY("account"));
    at = mp_encode_str(at, (const char *)record->account.data, (uint32_t)record->account.size);
    at = mp_encode_str(at, KEY("flags"));
    at = mp_encode_uint(at, record->flags);
    at = mp_encode_str(at, KEY("seq"));
    at = mp_encode_uint(at, record->seq);
    *ret = weir_view_of(room, (size_t)(at - (char *)room));
    return 0;
}
#endif

/* --- unpacking ------------------------------------------------------------------------------- */

typedef int unpack_function(struct orders *orders, struct weir_view message, struct order *ret);

static __attribute__((noinline)) int unpack_weir(struct orders *orders, struct weir_view message,
                                                 struct order *ret)
{
    (void)orders;
    return order_decode(message, NULL, ret, NULL);
}

static unsigned find_field(const char *data, size_t size)
{
    for (unsigned i = 0; i < order_field_count; i++)
        if (order_weir_fields[i].key_bytes == size &&
            memcmp(order_weir_fields[i].key, data, size) == 0)
            return i;
    return order_field_count;
}

static bool take_uint(const msgpack_object *object, uint64_t max, uint64_t *ret)
{
    *ret = object->via.u64;
    return object->type == MSGPACK_OBJECT_POSITIVE_INTEGER && *ret <= max;
}

static bool take_str(const msgpack_object *object, struct weir_view *ret)
{
    *ret = weir_view_of(object->via.str.ptr, object->via.str.size);
    return object->type == MSGPACK_OBJECT_STR;
}

static bool take_field(const msgpack_object *object, unsigned field, struct order *ret)
{
    uint64_t value = 0;
    bool ok = true;

    switch (field) {
    case order_field_id:
        return take_uint(object, UINT64_MAX, &ret->id);
    case order_field_ts:
        ret->ts = object->via.i64;
        return object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER ||
               take_uint(object, INT64_MAX, &value);
    case order_field_price:
        ret->price = object->via.f64;
        return object->type == MSGPACK_OBJECT_FLOAT64 || object->type == MSGPACK_OBJECT_FLOAT32;
    case order_field_qty:
        ok = take_uint(object, UINT32_MAX, &value);
        ret->qty = (uint32_t)value;
        return ok;
    case order_field_side:
        ret->side = object->via.boolean;
        return object->type == MSGPACK_OBJECT_BOOLEAN;
    case order_field_symbol:
        return take_str(object, &ret->symbol);
    case order_field_venue:
        return take_str(object, &ret->venue);
    case order_field_account:
        return take_str(object, &ret->account);
    case order_field_flags:
        ok = take_uint(object, UINT8_MAX, &value);
        ret->flags = (uint8_t)value;
        return ok;
    case order_field_seq:
        return take_uint(object, UINT64_MAX, &ret->seq);
    default:
        return true;
    }
}

/* A tree, and its pairs picked by key; the next field's key is looked at first. */
static __attribute__((noinline)) int unpack_msgpack(struct orders *orders, struct weir_view message,
                                                    struct order *ret)
{
    const msgpack_object *tree = &orders->unpacked.data;
    size_t offset = 0;

    if (msgpack_unpack_next(&orders->unpacked, (const char *)message.data, message.size, &offset) !=
            MSGPACK_UNPACK_SUCCESS ||
        offset != message.size || tree->type != MSGPACK_OBJECT_MAP)
        return -EBADMSG;
    ret->present = 0;
    for (uint32_t i = 0; i < tree->via.map.size; i++) {
        const msgpack_object_kv *pair = &tree->via.map.ptr[i];
        struct weir_view key;
        if (!take_str(&pair->key, &key))
            return -EPROTO;
        unsigned field = i;
        if (i >= order_field_count || order_weir_fields[i].key_bytes != key.size ||
            memcmp(order_weir_fields[i].key, key.data, key.size) != 0)
            field = find_field((const char *)key.data, key.size);
        if (!take_field(&pair->val, field, ret))
            return -EPROTO;
        ret->present |= WEIR_RECORD_BIT(field);
    }
    return ret->present == order_schema.required ? 0 : -ENOENT;
}

#ifdef HAVE_MSGPUCK
static struct weir_view take_str_msgpuck(const char **at)
{
    uint32_t size;
    const char *data = mp_decode_str(at, &size);

    return weir_view_of(data, size);
}

static inline void take_field_msgpuck(const char **at, unsigned field, struct order *ret)
{
    switch (field) {
    case order_field_id:
        ret->id = mp_decode_uint(at);
        break;
    case order_field_ts:
        ret->ts = mp_typeof(**at) == MP_UINT ? (int64_t)mp_decode_uint(at) : mp_decode_int(at);
        break;
    case order_field_price:
        ret->price = mp_decode_double(at);
        break;
    case order_field_qty:
        ret->qty = (uint32_t)mp_decode_uint(at);
        break;
    case order_field_side:
        ret->side = mp_decode_bool(at);
        break;
    case order_field_symbol:
        ret->symbol = take_str_msgpuck(at);
        break;
    case order_field_venue:
        ret->venue = take_str_msgpuck(at);
        break;
    case order_field_account:
        ret->account = take_str_msgpuck(at);
        break;
    case order_field_flags:
        ret->flags = (uint8_t)mp_decode_uint(at);
        break;
    case order_field_seq:
        ret->seq = mp_decode_uint(at);
        break;
    default:
        mp_next(at);
    }
}

static __attribute__((noinline)) int unpack_msgpuck(struct orders *orders, struct weir_view message,
                                                    struct order *ret)
{
    const char *at = (const char *)message.data;
    uint32_t count = mp_decode_map(&at);

    (void)orders;
    ret->present = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size;
        const char *key = mp_decode_str(&at, &size);
        unsigned field = i;
        if (i >= order_field_count || order_weir_fields[i].key_bytes != size ||
            memcmp(order_weir_fields[i].key, key, size) != 0)
            field = find_field(key, size);
        take_field_msgpuck(&at, field, ret);
        ret->present |= WEIR_RECORD_BIT(field);
    }
    return 0;
}

/* Its decoder looks at no bounds: mp_check() does, before. */
static __attribute__((noinline)) int unpack_msgpuck_check(struct orders *orders,
                                                          struct weir_view message,
                                                          struct order *ret)
{
    const char *at = (const char *)message.data;

    if (mp_check(&at, at + message.size) != 0)
        return -EBADMSG;
    return unpack_msgpuck(orders, message, ret);
}
#endif

/* --- what is timed --------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) int run_pack(struct bench_round *round,
                                                          pack_function *pack)
{
    struct orders *orders = round->context;
    uint8_t *room = orders->room;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops && rc == 0; i++) {
        struct weir_view message;
        if (i % BATCH_RECORDS == 0) {
            weir_buf_reset(&orders->buf);
            msgpack_sbuffer_clear(&orders->sbuffer);
            room = orders->room;
        }
        rc = pack(orders, room, &orders->records[i % RECORD_COUNT], &message);
        bench_use(message.data);
        room += message.size;
    }
    return rc;
}

static inline __attribute__((always_inline)) int run_unpack(struct bench_round *round,
                                                            const struct messages *messages,
                                                            unpack_function *unpack)
{
    struct orders *orders = round->context;
    struct order record;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops && rc == 0; i++) {
        rc = unpack(orders, message_of(messages, i % RECORD_COUNT), &record);
        bench_use(&record);
    }
    return rc;
}

static int run_memcpy(struct bench_round *round)
{
    struct orders *orders = round->context;
    uint8_t *to = orders->room;

    for (uint64_t i = 0; i < round->ops; i++) {
        struct weir_view message = message_of(&orders->ordered, i % RECORD_COUNT);
        if (i % BATCH_RECORDS == 0)
            to = orders->room;
        memcpy(to, message.data, message.size);
        bench_use(to);
        to += message.size;
    }
    return 0;
}

/* A contender is told no function: one for each. */
#define RUN_PACK(way)                                    \
    static int run_pack_##way(struct bench_round *round) \
    {                                                    \
        return run_pack(round, pack_##way);              \
    }
#define RUN_UNPACK(way)                                            \
    static int run_unpack_##way(struct bench_round *round)         \
    {                                                              \
        const struct orders *orders = round->context;              \
        return run_unpack(round, &orders->ordered, unpack_##way);  \
    }                                                              \
    static int run_shuffled_##way(struct bench_round *round)       \
    {                                                              \
        const struct orders *orders = round->context;              \
        return run_unpack(round, &orders->shuffled, unpack_##way); \
    }

RUN_PACK(weir)
RUN_PACK(walk)
RUN_PACK(msgpack)
RUN_UNPACK(weir)
RUN_UNPACK(msgpack)
#ifdef HAVE_MSGPUCK
RUN_PACK(msgpuck)
RUN_UNPACK(msgpuck)
RUN_UNPACK(msgpuck_check)
#define MSGPUCK(contender, function, text)                                   \
    {                                                                        \
        .name = (contender), .note = "msgpuck, " text, .run = run_##function \
    }
#else
#define MSGPUCK(contender, function, text)         \
    {                                              \
        .name = (contender), .missing = NO_MSGPUCK \
    }
#endif

/* --- the input, and that all do the same ----------------------------------------------------- */

static struct weir_view make_text(uint64_t *state, uint8_t *at, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)letters[bench_random(state) % 32];
    return weir_view_of(at, size);
}

static void make_records(struct orders *orders)
{
    static const char venues[][5] = {"XNAS", "XNYS", "XLON", "XPAR",
                                     "XETR", "XTKS", "XHKG", "XSWX"};
    uint64_t state = SEED;

    for (size_t i = 0; i < RECORD_COUNT; i++) {
        struct order *record = &orders->records[i];
        uint8_t *text = orders->texts + i * TEXT_BYTES;
        record->present = order_schema.required;
        record->id = bench_random(&state);
        record->ts = INT64_C(1700000000000000000) + (int64_t)(bench_random(&state) >> 6);
        record->price = (double)(bench_random(&state) % 1000000) / 100;
        record->qty =
            1 + (uint32_t)((bench_random(&state) % 1000000) >> (bench_random(&state) % 20));
        record->side = bench_random(&state) & 1;
        record->symbol = make_text(&state, text, 4 + bench_random(&state) % 3);
        record->venue = weir_view_of(venues[bench_random(&state) % 8], 4);
        record->account = make_text(&state, text + 8, 12);
        record->flags = (uint8_t)bench_random(&state);
        record->seq = 10000000 + i;
    }
}

static int append(struct messages *to, size_t index, struct weir_view message)
{
    if (message.size > RECORD_BYTES_MAX)
        return -EOVERFLOW;
    memcpy(to->bytes + to->offsets[index], message.data, message.size);
    to->offsets[index + 1] = to->offsets[index] + (uint32_t)message.size;
    return 0;
}

/* The same pairs, in an order that the next random numbers decide. */
static int shuffle(struct orders *orders, struct weir_view message, uint64_t *state,
                   struct weir_view *ret)
{
    struct weir_view pairs[order_field_count];
    struct weir_unpacker u;
    struct weir_packer packer;
    uint32_t count;

    weir_unpack_init(&u, message, NULL);
    weir_unpack_map(&u, &count);
    for (unsigned i = 0; i < order_field_count; i++) {
        size_t begin = weir_unpack_offset(&u);
        weir_unpack_skip(&u);
        weir_unpack_skip(&u);
        struct weir_view pair = weir_view_of(message.data + begin, weir_unpack_offset(&u) - begin);
        unsigned place = (unsigned)(bench_random(state) % (i + 1));
        pairs[i] = pairs[place];
        pairs[place] = pair;
    }
    weir_pack_begin(&packer, &orders->buf, 0);
    weir_pack_map(&packer, order_field_count);
    for (unsigned i = 0; i < order_field_count; i++)
        weir_pack_raw(&packer, pairs[i]);
    int rc = weir_unpack_end(&u);
    int packed = weir_pack_end(&packer, ret);
    return rc != 0 ? rc : packed;
}

static int verify_packing(struct orders *orders, size_t index)
{
    static pack_function *const ways[] = {pack_walk, pack_msgpack,
#ifdef HAVE_MSGPUCK
                                          pack_msgpuck
#endif
    };
    struct weir_view wanted = message_of(&orders->ordered, index);
    struct weir_view got = {NULL, 0};

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        msgpack_sbuffer_clear(&orders->sbuffer);
        int rc = ways[i](orders, orders->room, &orders->records[index], &got);
        if (rc != 0 || !weir_view_equal(got, wanted)) {
            bench_complain("record %zu: the bytes of the %zu. way differ", index, i);
            return rc != 0 ? rc : -EBADMSG;
        }
    }
    return 0;
}

static int verify_unpacking(struct orders *orders, size_t index, struct weir_view message)
{
    static unpack_function *const ways[] = {unpack_weir, unpack_msgpack,
#ifdef HAVE_MSGPUCK
                                            unpack_msgpuck, unpack_msgpuck_check
#endif
    };
    struct weir_view wanted = message_of(&orders->ordered, index);
    struct weir_view again = {NULL, 0};

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct order got;
        memset(&got, 0xa5, sizeof got);
        got.side = !orders->records[index].side;
        int rc = ways[i](orders, message, &got);
        if (rc == 0)
            rc = order_encode(&got, &orders->buf, &again);
        if (rc != 0 || got.present != order_schema.required || !weir_view_equal(again, wanted)) {
            bench_complain("record %zu: what the %zu. way reads differs", index, i);
            return rc != 0 ? rc : -EBADMSG;
        }
    }
    return 0;
}

static int make_messages(struct orders *orders)
{
    uint64_t state = SEED + 1;
    int rc = 0;

    for (size_t i = 0; i < RECORD_COUNT && rc == 0; i++) {
        struct weir_view message = {NULL, 0}, shuffled = {NULL, 0};
        weir_buf_reset(&orders->buf);
        rc = order_encode(&orders->records[i], &orders->buf, &message);
        if (rc == 0)
            rc = append(&orders->ordered, i, message);
        if (rc == 0)
            rc = shuffle(orders, message, &state, &shuffled);
        if (rc == 0)
            rc = append(&orders->shuffled, i, shuffled);
        if (rc == 0)
            rc = verify_packing(orders, i);
        if (rc == 0)
            rc = verify_unpacking(orders, i, message_of(&orders->ordered, i));
        if (rc == 0)
            rc = verify_unpacking(orders, i, message_of(&orders->shuffled, i));
    }
    return rc;
}

static void teardown(void *context)
{
    struct orders *orders = context;

    msgpack_unpacked_destroy(&orders->unpacked);
    msgpack_sbuffer_destroy(&orders->sbuffer);
    weir_buf_fini(&orders->buf);
    if (weir_pool_destroy(orders->pool) < 0)
        bench_complain("blocks of the pool are still held");
    free(orders->room);
    free(orders->shuffled.offsets);
    free(orders->shuffled.bytes);
    free(orders->ordered.offsets);
    free(orders->ordered.bytes);
    free(orders->texts);
    free(orders->records);
    free(orders);
}

static int setup_messages(struct messages *messages)
{
    messages->bytes = calloc(RECORD_COUNT, RECORD_BYTES_MAX);
    messages->offsets = calloc(RECORD_COUNT + 1, sizeof *messages->offsets);
    return messages->bytes != NULL && messages->offsets != NULL ? 0 : -ENOMEM;
}

static int setup_memory(struct orders *orders)
{
    const struct weir_buf_options options = {.initial_bytes = 16384};

    orders->records = calloc(RECORD_COUNT, sizeof *orders->records);
    orders->texts = calloc(RECORD_COUNT, TEXT_BYTES);
    orders->room = calloc(BATCH_RECORDS, RECORD_BYTES_MAX);
    msgpack_sbuffer_init(&orders->sbuffer);
    msgpack_unpacked_init(&orders->unpacked);
    if (orders->records == NULL || orders->texts == NULL || orders->room == NULL ||
        setup_messages(&orders->ordered) != 0 || setup_messages(&orders->shuffled) != 0)
        return -ENOMEM;
    int rc = weir_pool_create(NULL, &orders->pool);
    return rc < 0 ? rc : weir_buf_init(&orders->buf, orders->pool, &options);
}

static int setup(void **ret)
{
    struct orders *orders = calloc(1, sizeof *orders);

    if (orders == NULL) {
        bench_complain("out of memory");
        return -ENOMEM;
    }
    int rc = setup_memory(orders);
    if (rc < 0) {
        bench_complain("%s", weir_error_text(rc));
    } else {
        make_records(orders);
        rc = make_messages(orders);
    }
    if (rc < 0) {
        teardown(orders);
        return rc;
    }
    *ret = orders;
    return 0;
}

static double bytes_per_op(const void *context)
{
    const struct orders *orders = context;

    return (double)orders->ordered.offsets[RECORD_COUNT] / RECORD_COUNT;
}

#define MSGPACK_C "MessagePack-C " MSGPACK_VERSION

static const struct bench_contender pack_contenders[] = {
    {.name = "weir", .note = "NAME_encode of the description", .run = run_pack_weir},
    {.name = "weir-walk", .note = "weir_record_pack by the schema alone", .run = run_pack_walk},
    MSGPUCK("msgpuck", pack_msgpuck, "into memory whose end it does not look at"),
    {.name = "msgpack-c",
     .note = MSGPACK_C " pack functions from its headers into an sbuffer",
     .run = run_pack_msgpack},
    {.name = "memcpy", .note = "the same bytes copied: a floor", .run = run_memcpy},
};

#define UNPACK_CONTENDERS(which)                                                               \
    {                                                                                          \
        {.name = "weir", .note = "NAME_decode of the description", .run = run_##which##_weir}, \
            MSGPUCK("msgpuck", which##_msgpuck, "unchecked: it trusts its input; any order"),  \
            MSGPUCK("msgpuck-check", which##_msgpuck_check, "after its mp_check; any order"),  \
            {.name = "msgpack-c",                                                              \
             .note = MSGPACK_C " msgpack_unpack_next; fields picked from the tree, any order", \
             .run = run_##which##_msgpack},                                                    \
            {.name = "memcpy", .note = "the same bytes copied: a floor", .run = run_memcpy},   \
    }

static const struct bench_contender unpack_contenders[] = UNPACK_CONTENDERS(unpack);
static const struct bench_contender shuffled_contenders[] = UNPACK_CONTENDERS(shuffled);

#define CASE(title, what, list)                                                                \
    {                                                                                          \
        .name = (title), .op = (what), .step_ops = RECORD_COUNT, .bytes_per_op = bytes_per_op, \
        .contenders = (list), .contender_count = sizeof(list) / sizeof(list)[0],               \
    }

static const struct bench_case cases[] = {
    CASE("pack", "one struct of 10 fields packed", pack_contenders),
    CASE("unpack", "one struct of 10 fields read, strings in place", unpack_contenders),
    CASE("shuffled", "the same from keys in some order", shuffled_contenders),
};

const struct bench_group bench_group_record = {
    .name = "record",
    .summary = "a described struct of 10 fields as a MessagePack map, 65536 different ones",
    .cases = cases,
    .case_count = sizeof cases / sizeof cases[0],
    .setup = setup,
    .teardown = teardown,
};
