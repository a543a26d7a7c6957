/* SPDX-License-Identifier: MIT */
/*
 * values/walk, values/tree, values/check: the documents of values_encode.c read in three ways.
 *
 * walk visits each value as a program does that knows nothing of the document: what is it, take it,
 * add it to a sum. tree makes a tree of it, which is not visited. check only finds out whether it
 * is well formed.
 */
#include "values.h"

#include <errno.h>

#include <weir/check.h>
#include <weir/object.h>
#include <weir/walk.h>

/* --- walk ------------------------------------------------------------------------------------ */

/* The cursor knows of values, not of what contains them: that all came is for us to count. */
__attribute__((noinline)) int sum_weir(struct weir_view message, uint64_t *sum)
{
    struct weir_unpacker u;
    struct weir_value value;
    uint64_t to_come = 1;
    uint64_t total = 0;

    weir_unpack_init(&u, message, NULL);
    while (to_come != 0) {
        int rc = weir_unpack_next(&u, &value);
        if (rc != 0)
            return rc;
        total += sum_value(&value);
        to_come--;
        if (value.type == WEIR_TYPE_ARRAY)
            to_come += value.count;
        else if (value.type == WEIR_TYPE_MAP)
            to_come += 2 * (uint64_t)value.count;
    }
    *sum += total;
    return weir_unpack_end(&u);
}

static __attribute__((noinline)) void sum_checked(struct weir_checked message, uint64_t *sum)
{
    struct weir_walk walk;
    struct weir_value value;
    uint64_t total = 0;

    for (weir_walk_init(&walk, message); !weir_walk_done(&walk);) {
        weir_walk_next(&walk, &value);
        total += sum_value(&value);
    }
    *sum += total;
}

/* The objects of one array or map that are not visited yet. */
struct siblings {
    const msgpack_object *at;
    size_t left;
};

int sum_tree(const msgpack_object *tree, uint64_t *sum)
{
    struct siblings open[VALUES_DEPTH_MAX] = {{tree, 1}};
    size_t depth = 1;
    uint64_t total = 0;

    /* A map's pairs lie in memory as an array of key, value, key, value. */
    _Static_assert(sizeof(msgpack_object_kv) == 2 * sizeof(msgpack_object), "pairs with padding");
    while (depth != 0) {
        struct siblings *inner = &open[depth - 1];
        if (inner->left == 0) {
            depth--;
            continue;
        }
        const msgpack_object *object = inner->at++;
        struct siblings next = {NULL, 0};
        inner->left--;
        switch (object->type) {
        case MSGPACK_OBJECT_BOOLEAN:
            total += object->via.boolean;
            break;
        case MSGPACK_OBJECT_POSITIVE_INTEGER:
        case MSGPACK_OBJECT_NEGATIVE_INTEGER:
            total += object->via.u64;
            break;
        case MSGPACK_OBJECT_FLOAT32:
        case MSGPACK_OBJECT_FLOAT64:
            total += sum_f64(object->via.f64);
            break;
        case MSGPACK_OBJECT_STR:
        case MSGPACK_OBJECT_BIN: /* the same fields as of a str */
            total += sum_bytes(object->via.str.ptr, object->via.str.size);
            break;
        case MSGPACK_OBJECT_ARRAY:
            total += object->via.array.size;
            next = (struct siblings){object->via.array.ptr, object->via.array.size};
            break;
        case MSGPACK_OBJECT_MAP:
            total += object->via.map.size;
            next = (struct siblings){(const msgpack_object *)object->via.map.ptr,
                                     2 * (size_t)object->via.map.size};
            break;
        default:
            break;
        }
        if (next.left == 0)
            continue;
        if (depth == VALUES_DEPTH_MAX)
            return -ENOBUFS;
        open[depth++] = next;
    }
    *sum += total;
    return 0;
}

static __attribute__((noinline)) int make_tree(msgpack_zone *zone, struct weir_view message,
                                               msgpack_object *ret)
{
    size_t offset = 0;

    msgpack_zone_clear(zone);
    msgpack_unpack_return rc =
        msgpack_unpack((const char *)message.data, message.size, &offset, zone, ret);
    return rc == MSGPACK_UNPACK_SUCCESS ? 0 : -EBADMSG;
}

static int read_weir(struct values *values, struct weir_view document, uint64_t *sum)
{
    (void)values;
    return sum_weir(document, sum);
}

static int read_checked(struct values *values, struct weir_view document, uint64_t *sum)
{
    struct weir_checked checked;
    int rc = weir_check_with(document, NULL, &checked, NULL);

    (void)values;
    if (rc == 0)
        sum_checked(checked, sum);
    return rc;
}

/* Documents that weir_check_with() has accepted: before they are timed, all of them were. */
static int read_trusted(struct values *values, struct weir_view document, uint64_t *sum)
{
    const struct weir_checked checked = {document};

    (void)values;
    sum_checked(checked, sum);
    return 0;
}

static int read_msgpack(struct values *values, struct weir_view document, uint64_t *sum)
{
    msgpack_object tree;
    int rc = make_tree(values->zone, document, &tree);

    return rc < 0 ? rc : sum_tree(&tree, sum);
}

#ifdef HAVE_MSGPUCK
static __attribute__((noinline)) void sum_msgpuck(const char *at, const char *end, uint64_t *sum)
{
    uint64_t total = 0;
    uint32_t size;

    while (at < end) {
        const char *bytes;
        switch (mp_typeof(*at)) {
        case MP_UINT:
            total += mp_decode_uint(&at);
            break;
        case MP_INT:
            total += (uint64_t)mp_decode_int(&at);
            break;
        case MP_STR:
            bytes = mp_decode_str(&at, &size);
            total += sum_bytes(bytes, size);
            break;
        case MP_BIN:
            bytes = mp_decode_bin(&at, &size);
            total += sum_bytes(bytes, size);
            break;
        case MP_ARRAY:
            total += mp_decode_array(&at);
            break;
        case MP_MAP:
            total += mp_decode_map(&at);
            break;
        case MP_BOOL:
            total += mp_decode_bool(&at);
            break;
        case MP_FLOAT:
            total += sum_f64((double)mp_decode_float(&at));
            break;
        case MP_DOUBLE:
            total += sum_f64(mp_decode_double(&at));
            break;
        default:
            mp_next(&at);
        }
    }
    *sum += total;
}

static __attribute__((noinline)) int check_msgpuck(struct weir_view document)
{
    const char *at = (const char *)document.data;
    const char *end = at + document.size;

    return mp_check(&at, end) == 0 && at == end ? 0 : -EBADMSG;
}

static int read_msgpuck(struct values *values, struct weir_view document, uint64_t *sum)
{
    const char *at = (const char *)document.data;

    (void)values;
    sum_msgpuck(at, at + document.size, sum);
    return 0;
}

static int read_msgpuck_checked(struct values *values, struct weir_view document, uint64_t *sum)
{
    int rc = check_msgpuck(document);

    return rc < 0 ? rc : read_msgpuck(values, document, sum);
}
#endif

#ifdef HAVE_MPACK
static inline uint64_t sum_token(mpack_token_t token)
{
    switch (token.type) {
    case MPACK_TOKEN_BOOLEAN:
        return mpack_unpack_boolean(token);
    case MPACK_TOKEN_UINT:
        return mpack_unpack_uint(token);
    case MPACK_TOKEN_SINT:
        return (uint64_t)mpack_unpack_sint(token);
    case MPACK_TOKEN_FLOAT:
        return sum_f64(mpack_unpack_float(token));
    case MPACK_TOKEN_CHUNK: /* the size was counted with the head */
        return *(const uint8_t *)token.data.chunk_ptr;
    case MPACK_TOKEN_STR:
    case MPACK_TOKEN_BIN:
    case MPACK_TOKEN_EXT:
    case MPACK_TOKEN_ARRAY:
    case MPACK_TOKEN_MAP:
        return token.length;
    default:
        return 0;
    }
}

/* It knows of tokens, not of values: that the document is whole is for us to count. */
static inline __attribute__((always_inline)) int read_tokens(struct weir_view document, bool add,
                                                             uint64_t *sum)
{
    mpack_tokbuf_t tokens;
    mpack_token_t token;
    const char *at = (const char *)document.data;
    size_t left = document.size;
    uint64_t to_come = 1;
    uint64_t total = 0;

    mpack_tokbuf_init(&tokens);
    while (left != 0) {
        if (mpack_read(&tokens, &at, &left, &token) != MPACK_OK)
            return -EBADMSG;
        if (add)
            total += sum_token(token);
        to_come -= token.type != MPACK_TOKEN_CHUNK;
        if (token.type == MPACK_TOKEN_ARRAY)
            to_come += token.length;
        else if (token.type == MPACK_TOKEN_MAP)
            to_come += 2 * (uint64_t)token.length;
    }
    *sum += total;
    return to_come == 0 && tokens.passthrough == 0 ? 0 : -EBADMSG;
}

static __attribute__((noinline)) int read_mpack(struct values *values, struct weir_view document,
                                                uint64_t *sum)
{
    (void)values;
    return read_tokens(document, true, sum);
}

static __attribute__((noinline)) int skip_mpack(struct values *values, struct weir_view document,
                                                uint64_t *sum)
{
    (void)values;
    return read_tokens(document, false, sum);
}
#endif

static int run_walk_weir(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, read_weir);
}

static int run_walk_checked(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, read_checked);
}

static int run_walk_trusted(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, read_trusted);
}

static int run_walk_msgpack(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, read_msgpack);
}

#ifdef HAVE_MSGPUCK
static int run_walk_msgpuck(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, read_msgpuck);
}

static int run_walk_msgpuck_checked(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, read_msgpuck_checked);
}
#endif

#ifdef HAVE_MPACK
static int run_walk_mpack(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, read_mpack);
}
#endif

static int run_walk_struct(struct bench_round *round)
{
    struct values *values = round->context;
    struct stopwatch watch = {0};
    uint64_t sum = 0;

    for (uint64_t done = 0; done < round->ops; done += VALUES_STAGED) {
        memcpy(values->staged_orders, values->orders + done % VALUES_COUNT,
               VALUES_STAGED * sizeof *values->staged_orders);
        stopwatch_go(&watch);
        for (size_t i = 0; i < VALUES_STAGED; i++)
            sum += order_sum(&values->staged_orders[i]);
        stopwatch_stop(&watch);
    }
    bench_use(&sum);
    round->elapsed_ns = watch.elapsed_ns;
    return 0;
}

/* --- tree ------------------------------------------------------------------------------------ */

static __attribute__((noinline)) int tree_weir(struct values *values, struct weir_view document,
                                               uint64_t *sum)
{
    msgpack_object tree;

    (void)sum;
    weir_arena_reset(&values->arena);
    int rc = weir_object_parse(document, NULL, &values->arena, &tree, NULL);
    bench_use(&tree);
    return rc;
}

static int run_tree_weir(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, tree_weir);
}

/* To be compared with the others' sums. */
static int read_weir_tree(struct values *values, struct weir_view document, uint64_t *sum)
{
    msgpack_object tree;

    weir_arena_reset(&values->arena);
    int rc = weir_object_parse(document, NULL, &values->arena, &tree, NULL);
    return rc < 0 ? rc : sum_tree(&tree, sum);
}

static int tree_msgpack_zone(struct values *values, struct weir_view document, uint64_t *sum)
{
    msgpack_object tree;
    int rc = make_tree(values->zone, document, &tree);

    (void)sum;
    bench_use(&tree);
    return rc;
}

static int run_tree_msgpack_zone(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, tree_msgpack_zone);
}

static __attribute__((noinline)) int tree_msgpack(struct values *values, struct weir_view document,
                                                  uint64_t *sum)
{
    size_t offset = 0;
    msgpack_unpack_return rc =
        msgpack_unpack_next(&values->unpacked, (const char *)document.data, document.size, &offset);

    (void)sum;
    return rc == MSGPACK_UNPACK_SUCCESS && offset == document.size ? 0 : -EBADMSG;
}

static int run_tree_msgpack(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, tree_msgpack);
}

/* --- check ----------------------------------------------------------------------------------- */

static int check_weir(struct values *values, struct weir_view document, uint64_t *sum)
{
    (void)values;
    (void)sum;
    return weir_check(document, NULL, NULL);
}

static int run_check_weir(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, check_weir);
}

static __attribute__((noinline)) int skip_weir(struct values *values, struct weir_view document,
                                               uint64_t *sum)
{
    struct weir_unpacker u;

    (void)values;
    (void)sum;
    weir_unpack_init(&u, document, NULL);
    weir_unpack_skip(&u);
    return weir_unpack_end(&u);
}

static int run_skip_weir(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, skip_weir);
}

#ifdef HAVE_MSGPUCK
static int only_check_msgpuck(struct values *values, struct weir_view document, uint64_t *sum)
{
    (void)values;
    (void)sum;
    return check_msgpuck(document);
}

static int run_check_msgpuck(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, only_check_msgpuck);
}

static __attribute__((noinline)) int skip_msgpuck(struct values *values, struct weir_view document,
                                                  uint64_t *sum)
{
    const char *at = (const char *)document.data;

    (void)values;
    (void)sum;
    mp_next(&at);
    return at == (const char *)document.data + document.size ? 0 : -EBADMSG;
}

static int run_skip_msgpuck(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, skip_msgpuck);
}
#endif

#ifdef HAVE_MPACK
static int run_skip_mpack(struct bench_round *round)
{
    struct values *values = round->context;

    return values_read_all(round, &values->documents, skip_mpack);
}
#endif

/* --- that all do the same -------------------------------------------------------------------- */

typedef int reader(struct values *values, struct weir_view document, uint64_t *sum);

struct named_reader {
    const char *name;
    reader *read;
    bool adds;   /* to the sum */
    bool checks; /* that the document is whole */
};

static const struct named_reader readers[] = {
    {"weir", read_weir, true, true},
    {"weir's check and reading", read_checked, true, true},
    {"weir's reading of what was checked", read_trusted, true, false},
    {"weir's tree", read_weir_tree, true, true},
    {"msgpack-c", read_msgpack, true, true},
    {"msgpack-c's tree", tree_msgpack, false, true},
    {"weir_check", check_weir, false, true},
    {"weir_unpack_skip", skip_weir, false, true},
#ifdef HAVE_MSGPUCK
    {"msgpuck", read_msgpuck, true, false},
    {"msgpuck's check and reading", read_msgpuck_checked, true, true},
    {"mp_check", only_check_msgpuck, false, true},
    {"mp_next", skip_msgpuck, false, false},
#endif
#ifdef HAVE_MPACK
    {"libmpack", read_mpack, true, true},
    {"libmpack's skipping", skip_mpack, false, true},
#endif
};

static int verify_reader(struct values *values, const struct named_reader *by, size_t index)
{
    struct weir_view document = corpus_value(&values->documents, index);
    uint64_t sum = 0;
    int rc = by->read(values, document, &sum);

    if (rc < 0 || (by->adds && sum != order_sum(&values->orders[index]))) {
        bench_complain("order %zu: %s %s", index, by->name,
                       rc < 0 ? "cannot read it" : "reads other values than were packed");
        return rc < 0 ? rc : -EBADMSG;
    }
    if (!by->checks || index % 9973 != 0)
        return 0;
    /* No bytes at all are no value, which weir_check() takes for well formed. */
    for (size_t size = 1; size < document.size; size++) {
        if (by->read(values, weir_view_of(document.data, size), &sum) == 0) {
            bench_complain("order %zu: %s accepts %zu bytes of it", index, by->name, size);
            return -EBADMSG;
        }
    }
    return 0;
}

int values_walk_verify(struct values *values)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < VALUES_COUNT; i++) {
        for (size_t by = 0; rc == 0 && by < sizeof readers / sizeof readers[0]; by++)
            rc = verify_reader(values, &readers[by], i);
    }
    return rc;
}

const struct bench_contender values_walk_contenders[VALUES_WALK_CONTENDERS] = {
    {.name = "weir", .note = "weir_unpack_next, checked", .run = run_walk_weir},
    {.name = "weir-check",
     .note = "weir_check_with, then weir_walk_next: checked once and read once",
     .run = run_walk_checked},
    {.name = "weir-trusted",
     .note = "weir_walk_next of what was checked before: to be compared with msgpuck",
     .run = run_walk_trusted},
    {.name = "msgpack-c",
     .note = MSGPACK_C " msgpack_unpack with one zone used again, then its tree is visited: it has "
                       "no reading in place",
     .run = run_walk_msgpack},
#ifdef HAVE_MSGPUCK
    {.name = "msgpuck",
     .note = "mp_typeof and mp_decode_*, which check nothing",
     .run = run_walk_msgpuck},
    {.name = "msgpuck-check",
     .note = "the same after mp_check, which accepts broken input: 0xc1, and an array 32 or map 32 "
             "whose count wraps its int",
     .run = run_walk_msgpuck_checked},
#else
    {.name = "msgpuck", .missing = NO_MSGPUCK},
    {.name = "msgpuck-check", .missing = NO_MSGPUCK},
#endif
#ifdef HAVE_MPACK
    {.name = "libmpack", .note = "mpack_read, checked", .run = run_walk_mpack},
#else
    {.name = "libmpack", .missing = NO_MPACK},
#endif
    {.name = "struct",
     .note = "the same sum from the struct: what is not parsed",
     .run = run_walk_struct},
};

const struct bench_contender values_tree_contenders[VALUES_TREE_CONTENDERS] = {
    {.name = "weir",
     .note = "weir_object_parse into an arena that is reset before each: MessagePack-C's own nodes",
     .run = run_tree_weir},
    {.name = "msgpack-c-zone",
     .note = MSGPACK_C " msgpack_unpack, obsolete but able to use one zone again",
     .run = run_tree_msgpack_zone},
    {.name = "msgpack-c",
     .note = "msgpack_unpack_next, which takes and frees a zone per call",
     .run = run_tree_msgpack},
};

const struct bench_contender values_check_contenders[VALUES_CHECK_CONTENDERS] = {
    {.name = "weir", .note = "weir_check", .run = run_check_weir},
    {.name = "weir-skip",
     .note = "weir_unpack_skip, which checks everything but the depth",
     .run = run_skip_weir},
#ifdef HAVE_MSGPUCK
    {.name = "msgpuck-check",
     .note = "mp_check, which accepts broken input: 0xc1, and an array 32 or map 32 whose count "
             "wraps its int",
     .run = run_check_msgpuck},
    {.name = "msgpuck-skip", .note = "mp_next, which checks nothing", .run = run_skip_msgpuck},
#else
    {.name = "msgpuck-check", .missing = NO_MSGPUCK},
    {.name = "msgpuck-skip", .missing = NO_MSGPUCK},
#endif
#ifdef HAVE_MPACK
    {.name = "libmpack", .note = "mpack_read, tokens counted", .run = run_skip_mpack},
#else
    {.name = "libmpack", .missing = NO_MPACK},
#endif
};
