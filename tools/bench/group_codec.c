/* SPDX-License-Identifier: MIT */
/*
 * codec: one record of ten fields, packed and read again, against MessagePack-C.
 *
 * The record is a map with string keys, 111 to 118 bytes. There are 65,536 different ones, since a
 * branch predictor learns a few thousand by heart. How the values are spread decides what the
 * widths on the wire are, and so how often branches are mispredicted:
 *
 *   id       u64  uniform over all 64 bits: 9 bytes
 *   ts       i64  nanoseconds of the years around 2024: 9 bytes
 *   price    f64  whole cents up to 10,000
 *   qty      u32  1 to 1,000,000, its magnitude uniform: 1, 2, 3 or 5 bytes, unpredictable
 *   side     bool uniform, unpredictable
 *   symbol   str  4 to 6 letters, length uniform, unpredictable
 *   venue    str  one of eight of 4 letters
 *   account  str  12 letters and digits
 *   flags    u8   uniform: 1 or 2 bytes, unpredictable
 *   seq      u64  counting up from ten million: 5 bytes
 *
 * Every record is a message of its own. Strings are read in place on both sides: the struct gets a
 * pointer into the message. Output goes to one buffer that is emptied after every 64 records, so
 * that it stays in the first-level cache; the input does not.
 */
#include "bench.h"
#include "msgpack_direct.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include <weir/buf.h>
#include <weir/pack.h>
#include <weir/pool.h>
#include <weir/unpack.h>

#define RECORD_COUNT 65536u /* a power of two */
#define BATCH_RECORDS 64u   /* divides it */
#define RECORD_BYTES_MAX 256u
#define TEXT_BYTES 24u
#define FIELD_COUNT 10u
#define SEED UINT64_C(0x77656972)

struct record {
    uint64_t id;
    int64_t ts;
    double price;
    uint64_t seq;
    uint32_t qty;
    uint8_t flags;
    bool side;
    struct weir_view symbol;
    struct weir_view venue;
    struct weir_view account;
};

static const char *const field_names[FIELD_COUNT] = {"id",     "ts",    "price",   "qty",   "side",
                                                     "symbol", "venue", "account", "flags", "seq"};

struct codec {
    struct record *records;
    uint8_t *texts;    /* of all records, TEXT_BYTES each */
    uint8_t *encoded;  /* all records, one after the other */
    uint32_t *offsets; /* of each record in encoded, and the end */
    uint8_t *copies;   /* where memcpy copies to: BATCH_RECORDS times RECORD_BYTES_MAX */
    struct weir_pool *pool;
    struct weir_buf buf;
    msgpack_sbuffer sbuffer;
    msgpack_unpacked unpacked;
    msgpack_zone *zone;
};

/* --- packing --------------------------------------------------------------------------------- */

static __attribute__((noinline)) int pack_weir(struct weir_buf *buf, const struct record *record,
                                               struct weir_view *ret)
{
    struct weir_packer p;

    weir_pack_begin(&p, buf, 0);
    weir_pack_map(&p, FIELD_COUNT);
    weir_pack_text(&p, "id");
    weir_pack_uint(&p, record->id);
    weir_pack_text(&p, "ts");
    weir_pack_int(&p, record->ts);
    weir_pack_text(&p, "price");
    weir_pack_f64(&p, record->price);
    weir_pack_text(&p, "qty");
    weir_pack_uint(&p, record->qty);
    weir_pack_text(&p, "side");
    weir_pack_bool(&p, record->side);
    weir_pack_text(&p, "symbol");
    weir_pack_str(&p, record->symbol);
    weir_pack_text(&p, "venue");
    weir_pack_str(&p, record->venue);
    weir_pack_text(&p, "account");
    weir_pack_str(&p, record->account);
    weir_pack_text(&p, "flags");
    weir_pack_uint(&p, record->flags);
    weir_pack_text(&p, "seq");
    weir_pack_uint(&p, record->seq);
    return weir_pack_end(&p, ret);
}

/* Errors of MessagePack-C's writer are 0 or -1: or them together and look once. */
static inline __attribute__((always_inline)) int pack_msgpack(msgpack_packer *pk,
                                                              const struct record *record)
{
    int rc = msgpack_pack_map(pk, FIELD_COUNT);

    rc |= msgpack_pack_str_with_body(pk, KEY("id"));
    rc |= msgpack_pack_uint64(pk, record->id);
    rc |= msgpack_pack_str_with_body(pk, KEY("ts"));
    rc |= msgpack_pack_int64(pk, record->ts);
    rc |= msgpack_pack_str_with_body(pk, KEY("price"));
    rc |= msgpack_pack_double(pk, record->price);
    rc |= msgpack_pack_str_with_body(pk, KEY("qty"));
    rc |= msgpack_pack_uint32(pk, record->qty);
    rc |= msgpack_pack_str_with_body(pk, KEY("side"));
    rc |= record->side ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
    rc |= msgpack_pack_str_with_body(pk, KEY("symbol"));
    rc |= msgpack_pack_str_with_body(pk, record->symbol.data, record->symbol.size);
    rc |= msgpack_pack_str_with_body(pk, KEY("venue"));
    rc |= msgpack_pack_str_with_body(pk, record->venue.data, record->venue.size);
    rc |= msgpack_pack_str_with_body(pk, KEY("account"));
    rc |= msgpack_pack_str_with_body(pk, record->account.data, record->account.size);
    rc |= msgpack_pack_str_with_body(pk, KEY("flags"));
    rc |= msgpack_pack_uint8(pk, record->flags);
    rc |= msgpack_pack_str_with_body(pk, KEY("seq"));
    rc |= msgpack_pack_uint64(pk, record->seq);
    return rc == 0 ? 0 : -ENOMEM;
}

/* As a program writes it that has packer and buffer at hand. */
static __attribute__((noinline)) int pack_msgpack_plain(msgpack_sbuffer *sbuffer,
                                                        const struct record *record)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, sbuffer, msgpack_sbuffer_write);
    return pack_msgpack(&pk, record);
}

static __attribute__((noinline, flatten)) int pack_msgpack_template(msgpack_sbuffer *sbuffer,
                                                                    const struct record *record)
{
    int rc = direct_pack_map(sbuffer, FIELD_COUNT);

    rc |= direct_text(sbuffer, KEY("id"));
    rc |= direct_pack_uint64(sbuffer, record->id);
    rc |= direct_text(sbuffer, KEY("ts"));
    rc |= direct_pack_int64(sbuffer, record->ts);
    rc |= direct_text(sbuffer, KEY("price"));
    rc |= direct_pack_double(sbuffer, record->price);
    rc |= direct_text(sbuffer, KEY("qty"));
    rc |= direct_pack_uint32(sbuffer, record->qty);
    rc |= direct_text(sbuffer, KEY("side"));
    rc |= record->side ? direct_pack_true(sbuffer) : direct_pack_false(sbuffer);
    rc |= direct_text(sbuffer, KEY("symbol"));
    rc |= direct_text(sbuffer, record->symbol.data, record->symbol.size);
    rc |= direct_text(sbuffer, KEY("venue"));
    rc |= direct_text(sbuffer, record->venue.data, record->venue.size);
    rc |= direct_text(sbuffer, KEY("account"));
    rc |= direct_text(sbuffer, record->account.data, record->account.size);
    rc |= direct_text(sbuffer, KEY("flags"));
    rc |= direct_pack_uint8(sbuffer, record->flags);
    rc |= direct_text(sbuffer, KEY("seq"));
    rc |= direct_pack_uint64(sbuffer, record->seq);
    return rc == 0 ? 0 : -ENOMEM;
}

/* As a program writes it that is handed a packer. */
static __attribute__((noinline)) int pack_msgpack_opaque(msgpack_packer *pk,
                                                         const struct record *record)
{
    return pack_msgpack(pk, record);
}

/* --- unpacking ------------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) bool is_key(struct weir_view key, const char *name,
                                                         size_t size)
{
    return key.size == size && memcmp(key.data, name, size) == 0;
}

/* The number of the field called @key; FIELD_COUNT if there is none. */
static unsigned find_field(struct weir_view key)
{
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (weir_view_equal(key, weir_view_text(field_names[i])))
            return i;
    }
    return FIELD_COUNT;
}

static inline int read_flags(struct weir_unpacker *u, uint8_t *ret)
{
    uint32_t flags;
    int rc = weir_unpack_u32(u, &flags);

    if (rc != 0)
        return rc;
    if (flags > UINT8_MAX)
        return -EOVERFLOW;
    *ret = (uint8_t)flags;
    return 0;
}

static int read_field_weir(struct weir_unpacker *u, unsigned field, struct record *ret)
{
    switch (field) {
    case 0:
        return weir_unpack_uint(u, &ret->id);
    case 1:
        return weir_unpack_int(u, &ret->ts);
    case 2:
        return weir_unpack_f64(u, &ret->price);
    case 3:
        return weir_unpack_u32(u, &ret->qty);
    case 4:
        return weir_unpack_bool(u, &ret->side);
    case 5:
        return weir_unpack_str(u, &ret->symbol);
    case 6:
        return weir_unpack_str(u, &ret->venue);
    case 7:
        return weir_unpack_str(u, &ret->account);
    case 8:
        return read_flags(u, &ret->flags);
    case 9:
        return weir_unpack_uint(u, &ret->seq);
    default:
        return weir_unpack_skip(u);
    }
}

/* Any order, unknown keys passed over, all fields required. */
static __attribute__((noinline, cold)) int unpack_weir_any(struct weir_view message,
                                                           struct record *ret)
{
    struct weir_unpacker u;
    struct weir_view key;
    uint32_t pairs;
    unsigned seen = 0;

    weir_unpack_init(&u, message, NULL);
    int rc = weir_unpack_map(&u, &pairs);
    for (uint32_t i = 0; rc == 0 && i < pairs; i++) {
        rc = weir_unpack_str(&u, &key);
        if (rc != 0)
            break;
        unsigned field = find_field(key);
        rc = read_field_weir(&u, field, ret);
        seen |= 1u << field;
    }
    if (rc == 0)
        rc = weir_unpack_end(&u);
    if (rc == 0 && (seen & ((1u << FIELD_COUNT) - 1)) != (1u << FIELD_COUNT) - 1)
        rc = -EBADMSG;
    return rc;
}

static inline __attribute__((always_inline)) bool next_is(struct weir_unpacker *u, const char *name,
                                                          size_t size)
{
    struct weir_view key;

    return weir_unpack_str(u, &key) == 0 && is_key(key, name, size);
}

/* The expected order first; whatever is not as expected is decided by the general decoder. */
static __attribute__((noinline)) int unpack_weir(struct weir_view message, struct record *ret)
{
    struct weir_unpacker u;
    uint32_t pairs;

    weir_unpack_init(&u, message, NULL);
    if (weir_unpack_map(&u, &pairs) == 0 && pairs == FIELD_COUNT && next_is(&u, KEY("id")) &&
        weir_unpack_uint(&u, &ret->id) == 0 && next_is(&u, KEY("ts")) &&
        weir_unpack_int(&u, &ret->ts) == 0 && next_is(&u, KEY("price")) &&
        weir_unpack_f64(&u, &ret->price) == 0 && next_is(&u, KEY("qty")) &&
        weir_unpack_u32(&u, &ret->qty) == 0 && next_is(&u, KEY("side")) &&
        weir_unpack_bool(&u, &ret->side) == 0 && next_is(&u, KEY("symbol")) &&
        weir_unpack_str(&u, &ret->symbol) == 0 && next_is(&u, KEY("venue")) &&
        weir_unpack_str(&u, &ret->venue) == 0 && next_is(&u, KEY("account")) &&
        weir_unpack_str(&u, &ret->account) == 0 && next_is(&u, KEY("flags")) &&
        read_flags(&u, &ret->flags) == 0 && next_is(&u, KEY("seq")) &&
        weir_unpack_uint(&u, &ret->seq) == 0 && weir_unpack_done(&u))
        return 0;
    return unpack_weir_any(message, ret);
}

static inline bool take_uint(const msgpack_object *object, uint64_t max, uint64_t *ret)
{
    if (object->type != MSGPACK_OBJECT_POSITIVE_INTEGER || object->via.u64 > max)
        return false;
    *ret = object->via.u64;
    return true;
}

static inline bool take_u32(const msgpack_object *object, uint32_t *ret)
{
    uint64_t value;

    if (!take_uint(object, UINT32_MAX, &value))
        return false;
    *ret = (uint32_t)value;
    return true;
}

static inline bool take_u8(const msgpack_object *object, uint8_t *ret)
{
    uint64_t value;

    if (!take_uint(object, UINT8_MAX, &value))
        return false;
    *ret = (uint8_t)value;
    return true;
}

static inline bool take_int(const msgpack_object *object, int64_t *ret)
{
    uint64_t value;

    if (object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        *ret = object->via.i64;
        return true;
    }
    if (!take_uint(object, INT64_MAX, &value))
        return false;
    *ret = (int64_t)value;
    return true;
}

static inline bool take_f64(const msgpack_object *object, double *ret)
{
    if (object->type != MSGPACK_OBJECT_FLOAT64 && object->type != MSGPACK_OBJECT_FLOAT32)
        return false;
    *ret = object->via.f64;
    return true;
}

static inline bool take_bool(const msgpack_object *object, bool *ret)
{
    if (object->type != MSGPACK_OBJECT_BOOLEAN)
        return false;
    *ret = object->via.boolean;
    return true;
}

static inline bool take_str(const msgpack_object *object, struct weir_view *ret)
{
    if (object->type != MSGPACK_OBJECT_STR)
        return false;
    *ret = weir_view_of(object->via.str.ptr, object->via.str.size);
    return true;
}

static bool take_field(const msgpack_object *object, unsigned field, struct record *ret)
{
    switch (field) {
    case 0:
        return take_uint(object, UINT64_MAX, &ret->id);
    case 1:
        return take_int(object, &ret->ts);
    case 2:
        return take_f64(object, &ret->price);
    case 3:
        return take_u32(object, &ret->qty);
    case 4:
        return take_bool(object, &ret->side);
    case 5:
        return take_str(object, &ret->symbol);
    case 6:
        return take_str(object, &ret->venue);
    case 7:
        return take_str(object, &ret->account);
    case 8:
        return take_u8(object, &ret->flags);
    case 9:
        return take_uint(object, UINT64_MAX, &ret->seq);
    default:
        return true;
    }
}

/* Any order, unknown keys passed over, all fields required. */
static __attribute__((noinline, cold)) int pick_any(const msgpack_object *tree, struct record *ret)
{
    unsigned seen = 0;

    if (tree->type != MSGPACK_OBJECT_MAP)
        return -EPROTO;
    for (uint32_t i = 0; i < tree->via.map.size; i++) {
        const msgpack_object_kv *pair = &tree->via.map.ptr[i];
        struct weir_view key;
        if (!take_str(&pair->key, &key))
            return -EPROTO;
        unsigned field = find_field(key);
        if (!take_field(&pair->val, field, ret))
            return -EPROTO;
        seen |= 1u << field;
    }
    return (seen & ((1u << FIELD_COUNT) - 1)) == (1u << FIELD_COUNT) - 1 ? 0 : -EBADMSG;
}

static inline __attribute__((always_inline)) bool pair_is(const msgpack_object_kv *pair,
                                                          const char *name, size_t size)
{
    return pair->key.type == MSGPACK_OBJECT_STR && pair->key.via.str.size == size &&
           memcmp(pair->key.via.str.ptr, name, size) == 0;
}

/* As unpack_weir(): the expected order first. */
static inline __attribute__((always_inline)) int pick(const msgpack_object *tree,
                                                      struct record *ret)
{
    if (tree->type == MSGPACK_OBJECT_MAP && tree->via.map.size == FIELD_COUNT) {
        const msgpack_object_kv *at = tree->via.map.ptr;
        if (pair_is(&at[0], KEY("id")) && take_uint(&at[0].val, UINT64_MAX, &ret->id) &&
            pair_is(&at[1], KEY("ts")) && take_int(&at[1].val, &ret->ts) &&
            pair_is(&at[2], KEY("price")) && take_f64(&at[2].val, &ret->price) &&
            pair_is(&at[3], KEY("qty")) && take_u32(&at[3].val, &ret->qty) &&
            pair_is(&at[4], KEY("side")) && take_bool(&at[4].val, &ret->side) &&
            pair_is(&at[5], KEY("symbol")) && take_str(&at[5].val, &ret->symbol) &&
            pair_is(&at[6], KEY("venue")) && take_str(&at[6].val, &ret->venue) &&
            pair_is(&at[7], KEY("account")) && take_str(&at[7].val, &ret->account) &&
            pair_is(&at[8], KEY("flags")) && take_u8(&at[8].val, &ret->flags) &&
            pair_is(&at[9], KEY("seq")) && take_uint(&at[9].val, UINT64_MAX, &ret->seq))
            return 0;
    }
    return pick_any(tree, ret);
}

/* A tree whose memory is the result's: given back and obtained anew by every call. */
static __attribute__((noinline)) int unpack_msgpack(msgpack_unpacked *unpacked,
                                                    struct weir_view message, struct record *ret)
{
    size_t offset = 0;

    if (msgpack_unpack_next(unpacked, (const char *)message.data, message.size, &offset) !=
            MSGPACK_UNPACK_SUCCESS ||
        offset != message.size)
        return -EBADMSG;
    return pick(&unpacked->data, ret);
}

/* A tree in a zone that is cleared and used again: a function that its header calls obsolete. */
static __attribute__((noinline)) int unpack_msgpack_zone(msgpack_zone *zone,
                                                         struct weir_view message,
                                                         struct record *ret)
{
    msgpack_object tree;
    size_t offset = 0;

    msgpack_zone_clear(zone);
    if (msgpack_unpack((const char *)message.data, message.size, &offset, zone, &tree) !=
            MSGPACK_UNPACK_SUCCESS ||
        offset != message.size)
        return -EBADMSG;
    return pick(&tree, ret);
}

/* --- what is timed --------------------------------------------------------------------------- */

static struct weir_view message_of(const struct codec *codec, uint64_t index)
{
    uint32_t begin = codec->offsets[index];

    return weir_view_of(codec->encoded + begin, codec->offsets[index + 1] - begin);
}

static int run_pack_weir(struct bench_round *round)
{
    struct codec *codec = round->context;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops; i++) {
        struct weir_view message;
        if (i % BATCH_RECORDS == 0)
            weir_buf_reset(&codec->buf);
        rc = pack_weir(&codec->buf, &codec->records[i % RECORD_COUNT], &message);
        if (rc < 0)
            break;
        bench_use(message.data);
    }
    return rc;
}

static int run_pack_msgpack_plain(struct bench_round *round)
{
    struct codec *codec = round->context;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops; i++) {
        if (i % BATCH_RECORDS == 0)
            msgpack_sbuffer_clear(&codec->sbuffer);
        rc = pack_msgpack_plain(&codec->sbuffer, &codec->records[i % RECORD_COUNT]);
        if (rc < 0)
            break;
        bench_use(codec->sbuffer.data);
    }
    return rc;
}

static int run_pack_msgpack_template(struct bench_round *round)
{
    struct codec *codec = round->context;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops; i++) {
        if (i % BATCH_RECORDS == 0)
            msgpack_sbuffer_clear(&codec->sbuffer);
        rc = pack_msgpack_template(&codec->sbuffer, &codec->records[i % RECORD_COUNT]);
        if (rc < 0)
            break;
        bench_use(codec->sbuffer.data);
    }
    return rc;
}

static int run_pack_msgpack_opaque(struct bench_round *round)
{
    struct codec *codec = round->context;
    msgpack_packer packer;
    msgpack_packer *pk = bench_hide(&packer);
    int rc = 0;

    msgpack_packer_init(pk, &codec->sbuffer, msgpack_sbuffer_write);
    pk = bench_hide(pk);
    for (uint64_t i = 0; i < round->ops; i++) {
        if (i % BATCH_RECORDS == 0)
            msgpack_sbuffer_clear(&codec->sbuffer);
        rc = pack_msgpack_opaque(pk, &codec->records[i % RECORD_COUNT]);
        if (rc < 0)
            break;
        bench_use(codec->sbuffer.data);
    }
    return rc;
}

static int run_memcpy(struct bench_round *round)
{
    struct codec *codec = round->context;
    uint8_t *to = codec->copies;

    for (uint64_t i = 0; i < round->ops; i++) {
        struct weir_view message = message_of(codec, i % RECORD_COUNT);
        if (i % BATCH_RECORDS == 0)
            to = codec->copies;
        memcpy(to, message.data, message.size);
        bench_use(to);
        to += message.size;
    }
    return 0;
}

static int run_unpack_weir(struct bench_round *round)
{
    struct codec *codec = round->context;
    struct record record;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops; i++) {
        rc = unpack_weir(message_of(codec, i % RECORD_COUNT), &record);
        if (rc < 0)
            break;
        bench_use(&record);
    }
    return rc;
}

static int run_unpack_msgpack(struct bench_round *round)
{
    struct codec *codec = round->context;
    struct record record;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops; i++) {
        rc = unpack_msgpack(&codec->unpacked, message_of(codec, i % RECORD_COUNT), &record);
        if (rc < 0)
            break;
        bench_use(&record);
    }
    return rc;
}

static int run_unpack_msgpack_zone(struct bench_round *round)
{
    struct codec *codec = round->context;
    struct record record;
    int rc = 0;

    for (uint64_t i = 0; i < round->ops; i++) {
        rc = unpack_msgpack_zone(codec->zone, message_of(codec, i % RECORD_COUNT), &record);
        if (rc < 0)
            break;
        bench_use(&record);
    }
    return rc;
}

/* --- the input, and that all do the same ----------------------------------------------------- */

static struct weir_view make_text(uint64_t *state, uint8_t *at, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

    uint64_t bits = bench_random(state);
    for (size_t i = 0; i < size; i++, bits >>= 5)
        at[i] = (uint8_t)letters[bits & 31];
    return weir_view_of(at, size);
}

static void make_records(struct codec *codec)
{
    static const char venues[8][5] = {"XNAS", "XNYS", "XLON", "XPAR",
                                      "XETR", "XTKS", "XHKG", "BATS"};
    uint64_t state = SEED;

    for (size_t i = 0; i < RECORD_COUNT; i++) {
        struct record *record = &codec->records[i];
        uint8_t *text = codec->texts + i * TEXT_BYTES;
        record->id = bench_random(&state) | UINT64_C(1) << 63;
        record->ts = INT64_C(1700000000000000000) +
                     (int64_t)(bench_random(&state) % UINT64_C(50000000000000000));
        record->price = (double)(bench_random(&state) % 1000000 + 1) / 100.0;
        uint64_t magnitude = UINT64_C(1) << (bench_random(&state) % 20);
        record->qty = (uint32_t)(magnitude + bench_random(&state) % magnitude);
        if (record->qty > 1000000)
            record->qty = 1000000;
        record->side = bench_random(&state) >> 63 != 0;
        record->symbol = make_text(&state, text, 4 + bench_random(&state) % 3);
        memcpy(text + 6, venues[bench_random(&state) % 8], 4);
        record->venue = weir_view_of(text + 6, 4);
        record->account = make_text(&state, text + 10, 12);
        record->flags = (uint8_t)bench_random(&state);
        record->seq = UINT64_C(10000000) + i;
    }
}

/* Pack all records with @codec's buffer into encoded: the reference for everything else. */
static int encode_records(struct codec *codec)
{
    size_t offset = 0;

    for (size_t i = 0; i < RECORD_COUNT; i++) {
        struct weir_view message;
        weir_buf_reset(&codec->buf);
        int rc = pack_weir(&codec->buf, &codec->records[i], &message);
        if (rc < 0) {
            bench_complain("record %zu: weir cannot pack it: %s", i, weir_error_text(rc));
            return rc;
        }
        if (message.size > RECORD_BYTES_MAX) {
            bench_complain("record %zu has %zu bytes", i, message.size);
            return -EOVERFLOW;
        }
        memcpy(codec->encoded + offset, message.data, message.size);
        codec->offsets[i] = (uint32_t)offset;
        offset += message.size;
    }
    codec->offsets[RECORD_COUNT] = (uint32_t)offset;
    return 0;
}

static int compare_bytes(const struct codec *codec, size_t index, const char *who)
{
    struct weir_view written = weir_view_of(codec->sbuffer.data, codec->sbuffer.size);

    if (weir_view_equal(written, message_of(codec, index)))
        return 0;
    bench_complain("record %zu: weir and %s pack different bytes", index, who);
    return -EBADMSG;
}

static int verify_packing(struct codec *codec)
{
    msgpack_packer pk;
    int rc = 0;

    msgpack_packer_init(&pk, &codec->sbuffer, msgpack_sbuffer_write);
    for (size_t i = 0; rc == 0 && i < RECORD_COUNT; i++) {
        const struct record *record = &codec->records[i];
        msgpack_sbuffer_clear(&codec->sbuffer);
        rc = pack_msgpack_plain(&codec->sbuffer, record);
        if (rc == 0)
            rc = compare_bytes(codec, i, "msgpack-c");
        msgpack_sbuffer_clear(&codec->sbuffer);
        if (rc == 0)
            rc = pack_msgpack_template(&codec->sbuffer, record);
        if (rc == 0)
            rc = compare_bytes(codec, i, "msgpack-c-template");
        msgpack_sbuffer_clear(&codec->sbuffer);
        if (rc == 0)
            rc = pack_msgpack_opaque(&pk, record);
        if (rc == 0)
            rc = compare_bytes(codec, i, "msgpack-c-opaque");
    }
    return rc;
}

static bool same_record(const struct record *a, const struct record *b)
{
    return a->id == b->id && a->ts == b->ts && memcmp(&a->price, &b->price, sizeof a->price) == 0 &&
           a->qty == b->qty && a->side == b->side && a->flags == b->flags && a->seq == b->seq &&
           weir_view_equal(a->symbol, b->symbol) && weir_view_equal(a->venue, b->venue) &&
           weir_view_equal(a->account, b->account);
}

static int compare_record(const struct record *want, const struct record *got, int rc,
                          const char *who)
{
    if (rc == 0 && same_record(want, got))
        return 0;
    bench_complain("record %llu: %s %s", (unsigned long long)(want->seq - UINT64_C(10000000)), who,
                   rc == 0 ? "reads other values than were packed" : "cannot read it");
    return rc < 0 ? rc : -EBADMSG;
}

/* Each decoder starts from a struct that has nothing right in it. */
static int verify_unpacking(struct codec *codec, struct weir_view message,
                            const struct record *want)
{
    struct record got;

    memset(&got, 0xa5, sizeof got);
    got.side = !want->side;
    int rc = compare_record(want, &got, unpack_weir(message, &got), "weir");
    if (rc < 0)
        return rc;
    memset(&got, 0xa5, sizeof got);
    got.side = !want->side;
    rc = compare_record(want, &got, unpack_msgpack(&codec->unpacked, message, &got), "msgpack-c");
    if (rc < 0)
        return rc;
    memset(&got, 0xa5, sizeof got);
    got.side = !want->side;
    return compare_record(want, &got, unpack_msgpack_zone(codec->zone, message, &got),
                          "msgpack-c-zone");
}

/* Append one field of @record, by its number, with its key. */
static void pack_field(struct weir_packer *p, unsigned field, const struct record *record)
{
    weir_pack_text(p, field_names[field]);
    switch (field) {
    case 0:
        weir_pack_uint(p, record->id);
        break;
    case 1:
        weir_pack_int(p, record->ts);
        break;
    case 2:
        weir_pack_f64(p, record->price);
        break;
    case 3:
        weir_pack_uint(p, record->qty);
        break;
    case 4:
        weir_pack_bool(p, record->side);
        break;
    case 5:
        weir_pack_str(p, record->symbol);
        break;
    case 6:
        weir_pack_str(p, record->venue);
        break;
    case 7:
        weir_pack_str(p, record->account);
        break;
    case 8:
        weir_pack_uint(p, record->flags);
        break;
    default:
        weir_pack_uint(p, record->seq);
    }
}

/* What is not as expected is read too, by all: fields in reverse, and one that nobody knows. */
static int verify_any_order(struct codec *codec)
{
    for (size_t i = 0; i < RECORD_COUNT; i += 997) {
        const struct record *record = &codec->records[i];
        struct weir_packer p;
        struct weir_view message;
        weir_buf_reset(&codec->buf);
        weir_pack_begin(&p, &codec->buf, 0);
        weir_pack_map(&p, FIELD_COUNT + 1);
        for (unsigned field = FIELD_COUNT; field-- > 0;)
            pack_field(&p, field, record);
        weir_pack_text(&p, "unknown");
        weir_pack_array(&p, 1);
        weir_pack_nil(&p);
        int rc = weir_pack_end(&p, &message);
        if (rc < 0) {
            bench_complain("record %zu: weir cannot pack it: %s", i, weir_error_text(rc));
            return rc;
        }
        rc = verify_unpacking(codec, message, record);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void teardown(void *context)
{
    struct codec *codec = context;

    msgpack_zone_free(codec->zone);
    msgpack_unpacked_destroy(&codec->unpacked);
    msgpack_sbuffer_destroy(&codec->sbuffer);
    weir_buf_fini(&codec->buf);
    if (weir_pool_destroy(codec->pool) < 0)
        bench_complain("blocks of the pool are still held");
    free(codec->copies);
    free(codec->offsets);
    free(codec->encoded);
    free(codec->texts);
    free(codec->records);
    free(codec);
}

static int setup_memory(struct codec *codec)
{
    const struct weir_buf_options options = {.initial_bytes = 16384};

    codec->records = calloc(RECORD_COUNT, sizeof *codec->records);
    codec->texts = calloc(RECORD_COUNT, TEXT_BYTES);
    codec->encoded = calloc(RECORD_COUNT, RECORD_BYTES_MAX);
    codec->offsets = calloc(RECORD_COUNT + 1, sizeof *codec->offsets);
    codec->copies = calloc(BATCH_RECORDS, RECORD_BYTES_MAX);
    msgpack_sbuffer_init(&codec->sbuffer);
    msgpack_unpacked_init(&codec->unpacked);
    codec->zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
    if (codec->records == NULL || codec->texts == NULL || codec->encoded == NULL ||
        codec->offsets == NULL || codec->copies == NULL || codec->zone == NULL)
        return -ENOMEM;
    int rc = weir_pool_create(NULL, &codec->pool);
    return rc < 0 ? rc : weir_buf_init(&codec->buf, codec->pool, &options);
}

static int setup(void **ret)
{
    struct codec *codec = calloc(1, sizeof *codec);

    if (codec == NULL) {
        bench_complain("out of memory");
        return -ENOMEM;
    }
    int rc = setup_memory(codec);
    if (rc < 0) {
        bench_complain("%s", weir_error_text(rc));
        teardown(codec);
        return rc;
    }
    make_records(codec);
    rc = encode_records(codec);
    if (rc == 0)
        rc = verify_packing(codec);
    for (size_t i = 0; rc == 0 && i < RECORD_COUNT; i++)
        rc = verify_unpacking(codec, message_of(codec, i), &codec->records[i]);
    if (rc == 0)
        rc = verify_any_order(codec);
    if (rc < 0) {
        teardown(codec);
        return rc;
    }
    *ret = codec;
    return 0;
}

static double bytes_per_op(const void *context)
{
    const struct codec *codec = context;

    return (double)codec->offsets[RECORD_COUNT] / RECORD_COUNT;
}

#define MSGPACK_C "MessagePack-C " MSGPACK_VERSION

static const struct bench_contender pack_contenders[] = {
    {.name = "weir",
     .note = "weir_pack_* into a weir_buf, one begin and end per record",
     .run = run_pack_weir},
    {.name = "msgpack-c",
     .note = MSGPACK_C " pack functions from its headers into an sbuffer, packer and callback in "
                       "the compiler's sight, inlined as the flags above have it",
     .run = run_pack_msgpack_plain},
    {.name = "msgpack-c-template",
     .note =
         "MessagePack-C's pack_template.h over a writer of the benchmark's own that is inlined, "
         "as its callback is not: the best that can be made of it",
     .run = run_pack_msgpack_template},
    {.name = "msgpack-c-opaque",
     .note = "the same with a packer that is handed in: every write is a call through its callback "
             "pointer",
     .run = run_pack_msgpack_opaque},
    {.name = "memcpy",
     .note = "the same bytes copied, one call per record: a floor",
     .run = run_memcpy},
};

static const struct bench_contender unpack_contenders[] = {
    {.name = "weir",
     .note = "weir_unpack_* in the expected order, checked; any other order by a general decoder",
     .run = run_unpack_weir},
    {.name = "msgpack-c",
     .note = MSGPACK_C
     " msgpack_unpack_next, which takes and frees a zone per call; fields picked "
     "from the tree in the expected order, checked; any other order by a general picker",
     .run = run_unpack_msgpack},
    {.name = "msgpack-c-zone",
     .note = "the same with msgpack_unpack, obsolete but able to use one zone again",
     .run = run_unpack_msgpack_zone},
    {.name = "memcpy",
     .note = "the same bytes copied, one call per record: a floor",
     .run = run_memcpy},
};

static const struct bench_case cases[] = {
    {.name = "pack",
     .op = "one record of 10 fields packed",
     .step_ops = RECORD_COUNT,
     .bytes_per_op = bytes_per_op,
     .contenders = pack_contenders,
     .contender_count = sizeof pack_contenders / sizeof pack_contenders[0]},
    {.name = "unpack",
     .op = "one record of 10 fields read into a struct, strings in place",
     .step_ops = RECORD_COUNT,
     .bytes_per_op = bytes_per_op,
     .contenders = unpack_contenders,
     .contender_count = sizeof unpack_contenders / sizeof unpack_contenders[0]},
};

const struct bench_group bench_group_codec = {
    .name = "codec",
    .summary = "one record of 10 fields as a MessagePack map, 65536 different ones",
    .cases = cases,
    .case_count = sizeof cases / sizeof cases[0],
    .setup = setup,
    .teardown = teardown,
};
