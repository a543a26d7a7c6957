/* SPDX-License-Identifier: MIT */
/*
 * values/find, values/find-shuffled: three keys of a map of 40, whose values are added up.
 *
 * The maps have about 530 bytes; the keys are in the same order in all of them, as one producer
 * sends them, or in another one in each: then even the values' types cannot be predicted. Loops
 * stop at the third key found, and compare keys with the same function.
 */
#include "values.h"

#include <errno.h>

#define WANTED 3u

/* The number of the key wanted, WANTED if it is none. */
static inline __attribute__((always_inline)) unsigned wanted(const void *key, size_t size)
{
    if (size == 7 && memcmp(key, "partner", 7) == 0)
        return 0;
    if (size == 7 && memcmp(key, "created", 7) == 0)
        return 1;
    if (size == 6 && memcmp(key, "status", 6) == 0)
        return 2;
    return WANTED;
}

static inline __attribute__((always_inline)) int add_next(struct weir_unpacker *u, uint64_t *sum)
{
    struct weir_value value;
    int rc = weir_unpack_next(u, &value);

    if (rc == 0)
        *sum += sum_value(&value);
    return rc;
}

static __attribute__((noinline)) int select_weir(struct values *values, struct weir_view map,
                                                 uint64_t *sum)
{
    const struct weir_view keys[WANTED] = {weir_view_text("partner"), weir_view_text("created"),
                                           weir_view_text("status")};
    struct weir_view found[WANTED];
    struct weir_unpacker u;

    (void)values;
    weir_unpack_init(&u, map, NULL);
    int rc = weir_unpack_select(&u, keys, WANTED, found);
    for (unsigned i = 0; rc == 0 && i < WANTED; i++) {
        if (found[i].data == NULL)
            return -ENOENT;
        weir_unpack_init(&u, found[i], NULL);
        rc = add_next(&u, sum);
    }
    return rc;
}

static __attribute__((noinline)) int selector_weir(struct values *values, struct weir_view map,
                                                   uint64_t *sum)
{
    struct weir_view found[WANTED];
    struct weir_unpacker u;

    weir_unpack_init(&u, map, NULL);
    int rc = weir_unpack_select_with(&u, &values->selector, found);
    for (unsigned i = 0; rc == 0 && i < WANTED; i++) {
        if (found[i].data == NULL)
            return -ENOENT;
        weir_unpack_init(&u, found[i], NULL);
        rc = add_next(&u, sum);
    }
    return rc;
}

static __attribute__((noinline)) int find_weir(struct values *values, struct weir_view map,
                                               uint64_t *sum)
{
    const struct weir_view keys[WANTED] = {weir_view_text("partner"), weir_view_text("created"),
                                           weir_view_text("status")};
    struct weir_unpacker start;
    int rc = 0;

    (void)values;
    weir_unpack_init(&start, map, NULL);
    for (unsigned i = 0; rc == 0 && i < WANTED; i++) {
        struct weir_unpacker u = start;
        rc = weir_unpack_find(&u, keys[i]);
        if (rc == 0)
            rc = add_next(&u, sum);
    }
    return rc;
}

static __attribute__((noinline)) int loop_weir(struct values *values, struct weir_view map,
                                               uint64_t *sum)
{
    struct weir_unpacker u;
    struct weir_view key;
    uint32_t pairs;
    unsigned missing = WANTED;

    (void)values;
    weir_unpack_init(&u, map, NULL);
    int rc = weir_unpack_map(&u, &pairs);
    for (uint32_t i = 0; rc == 0 && missing != 0 && i < pairs; i++) {
        rc = weir_unpack_str(&u, &key);
        if (rc != 0)
            break;
        if (wanted(key.data, key.size) == WANTED) {
            rc = weir_unpack_skip(&u);
            continue;
        }
        rc = add_next(&u, sum);
        missing--;
    }
    return rc != 0 ? rc : missing == 0 ? 0 : -ENOENT;
}

static __attribute__((noinline)) int find_msgpack(struct values *values, struct weir_view map,
                                                  uint64_t *sum)
{
    msgpack_object tree;
    size_t offset = 0;
    unsigned missing = WANTED;

    msgpack_zone_clear(values->zone);
    if (msgpack_unpack((const char *)map.data, map.size, &offset, values->zone, &tree) !=
            MSGPACK_UNPACK_SUCCESS ||
        tree.type != MSGPACK_OBJECT_MAP)
        return -EBADMSG;
    for (uint32_t i = 0; missing != 0 && i < tree.via.map.size; i++) {
        const msgpack_object_kv *pair = &tree.via.map.ptr[i];
        if (pair->key.type != MSGPACK_OBJECT_STR)
            return -EPROTO;
        if (wanted(pair->key.via.str.ptr, pair->key.via.str.size) == WANTED)
            continue;
        int rc = sum_tree(&pair->val, sum);
        if (rc < 0)
            return rc;
        missing--;
    }
    return missing == 0 ? 0 : -ENOENT;
}

#ifdef HAVE_MSGPUCK
static inline uint64_t sum_msgpuck(const char **at)
{
    const char *bytes;
    uint32_t size;

    switch (mp_typeof(**at)) {
    case MP_UINT:
        return mp_decode_uint(at);
    case MP_STR:
        bytes = mp_decode_str(at, &size);
        return sum_bytes(bytes, size);
    case MP_DOUBLE:
        return sum_f64(mp_decode_double(at));
    default:
        mp_next(at);
        return 0;
    }
}

static __attribute__((noinline)) int find_msgpuck(struct values *values, struct weir_view map,
                                                  uint64_t *sum)
{
    const char *at = (const char *)map.data;
    uint32_t pairs = mp_decode_map(&at);
    unsigned missing = WANTED;

    (void)values;
    for (uint32_t i = 0; missing != 0 && i < pairs; i++) {
        uint32_t size;
        const char *key = mp_decode_str(&at, &size);
        if (wanted(key, size) == WANTED) {
            mp_next(&at);
            continue;
        }
        *sum += sum_msgpuck(&at);
        missing--;
    }
    return missing == 0 ? 0 : -ENOENT;
}

static __attribute__((noinline)) int find_msgpuck_checked(struct values *values,
                                                          struct weir_view map, uint64_t *sum)
{
    const char *at = (const char *)map.data;

    if (mp_check(&at, at + map.size) != 0)
        return -EBADMSG;
    return find_msgpuck(values, map, sum);
}
#endif

#ifdef HAVE_MPACK
static inline uint64_t sum_scalar(mpack_token_t token)
{
    switch (token.type) {
    case MPACK_TOKEN_UINT:
        return mpack_unpack_uint(token);
    case MPACK_TOKEN_FLOAT:
        return sum_f64(mpack_unpack_float(token));
    default:
        return token.length;
    }
}

/* Of what values there are in these maps, a str alone is more than one token. */
static __attribute__((noinline)) int find_mpack(struct values *values, struct weir_view map,
                                                uint64_t *sum)
{
    mpack_tokbuf_t tokens;
    mpack_token_t token;
    const char *at = (const char *)map.data;
    size_t left = map.size;
    unsigned missing = WANTED;

    (void)values;
    mpack_tokbuf_init(&tokens);
    if (mpack_read(&tokens, &at, &left, &token) != MPACK_OK || token.type != MPACK_TOKEN_MAP)
        return -EBADMSG;
    for (uint32_t pairs = token.length; missing != 0 && pairs != 0; pairs--) {
        if (mpack_read(&tokens, &at, &left, &token) != MPACK_OK || token.type != MPACK_TOKEN_STR ||
            mpack_read(&tokens, &at, &left, &token) != MPACK_OK || token.type != MPACK_TOKEN_CHUNK)
            return -EBADMSG;
        bool found = wanted(token.data.chunk_ptr, token.length) != WANTED;
        if (mpack_read(&tokens, &at, &left, &token) != MPACK_OK)
            return -EBADMSG;
        missing -= found;
        if (found)
            *sum += sum_scalar(token);
        if (token.type != MPACK_TOKEN_STR)
            continue;
        if (mpack_read(&tokens, &at, &left, &token) != MPACK_OK)
            return -EBADMSG;
        if (found)
            *sum += *(const uint8_t *)token.data.chunk_ptr;
    }
    return missing == 0 ? 0 : -ENOENT;
}
#endif

static inline __attribute__((always_inline)) int run(struct bench_round *round, bool shuffled,
                                                     int (*find)(struct values *values,
                                                                 struct weir_view map,
                                                                 uint64_t *sum))
{
    struct values *values = round->context;

    return values_read_all(round, shuffled ? &values->shuffled : &values->maps, find);
}

static int run_weir(struct bench_round *round)
{
    return run(round, false, select_weir);
}

static int shuffled_weir(struct bench_round *round)
{
    return run(round, true, select_weir);
}

static int run_weir_selector(struct bench_round *round)
{
    return run(round, false, selector_weir);
}

static int shuffled_weir_selector(struct bench_round *round)
{
    return run(round, true, selector_weir);
}

static int run_weir_find(struct bench_round *round)
{
    return run(round, false, find_weir);
}

static int shuffled_weir_find(struct bench_round *round)
{
    return run(round, true, find_weir);
}

static int run_weir_loop(struct bench_round *round)
{
    return run(round, false, loop_weir);
}

static int shuffled_weir_loop(struct bench_round *round)
{
    return run(round, true, loop_weir);
}

static int run_msgpack(struct bench_round *round)
{
    return run(round, false, find_msgpack);
}

static int shuffled_msgpack(struct bench_round *round)
{
    return run(round, true, find_msgpack);
}

#ifdef HAVE_MSGPUCK
static int run_msgpuck(struct bench_round *round)
{
    return run(round, false, find_msgpuck);
}

static int shuffled_msgpuck(struct bench_round *round)
{
    return run(round, true, find_msgpuck);
}

static int run_msgpuck_checked(struct bench_round *round)
{
    return run(round, false, find_msgpuck_checked);
}

static int shuffled_msgpuck_checked(struct bench_round *round)
{
    return run(round, true, find_msgpuck_checked);
}
#endif

#ifdef HAVE_MPACK
static int run_mpack(struct bench_round *round)
{
    return run(round, false, find_mpack);
}

static int shuffled_mpack(struct bench_round *round)
{
    return run(round, true, find_mpack);
}
#endif

struct named_finder {
    const char *name;
    int (*find)(struct values *values, struct weir_view map, uint64_t *sum);
};

/* The first one looks at the whole tree and is what the others are compared with. */
static const struct named_finder finders[] = {
    {"msgpack-c", find_msgpack},      {"weir", select_weir},
    {"weir-selector", selector_weir}, {"weir-find", find_weir},
    {"weir-loop", loop_weir},
#ifdef HAVE_MSGPUCK
    {"msgpuck", find_msgpuck},        {"msgpuck-check", find_msgpuck_checked},
#endif
#ifdef HAVE_MPACK
    {"libmpack", find_mpack},
#endif
};

static int verify_maps(struct values *values, const struct corpus *corpus)
{
    for (size_t i = 0; i < VALUES_COUNT; i++) {
        struct weir_view map = corpus_value(corpus, i);
        uint64_t want = 0;
        for (size_t by = 0; by < sizeof finders / sizeof finders[0]; by++) {
            uint64_t sum = 0;
            int rc = finders[by].find(values, map, &sum);
            if (by == 0)
                want = sum;
            if (rc == 0 && sum == want)
                continue;
            bench_complain("map %zu: %s %s", i, finders[by].name,
                           rc < 0 ? "does not find the keys" : "finds other values");
            return rc < 0 ? rc : -EBADMSG;
        }
    }
    return 0;
}

int values_find_verify(struct values *values)
{
    const struct weir_view keys[WANTED] = {weir_view_text("partner"), weir_view_text("created"),
                                           weir_view_text("status")};

    int rc = weir_selector_init(&values->selector, keys, WANTED);
    if (rc == 0)
        rc = verify_maps(values, &values->maps);

    return rc < 0 ? rc : verify_maps(values, &values->shuffled);
}

#define SELECT_NOTE "weir_unpack_select of the three, checked; it goes on to the end of the map"
#define SELECTOR_NOTE \
    "weir_unpack_select_with: the same by keys prepared once, which remember the order of the keys"
#define FIND_NOTE "weir_unpack_find of each, from the start of the map"
#define LOOP_NOTE \
    "the loop that the peers have: weir_unpack_str, weir_unpack_skip, weir_unpack_next"
#define TREE_NOTE MSGPACK_C " msgpack_unpack with one zone used again, then the keys of its tree"
#define MSGPUCK_NOTE "mp_decode_str and mp_next, which check nothing"
#define CHECKED_NOTE "the same after mp_check, which accepts broken input, see values/check"
#define MPACK_NOTE "mpack_read, checked"

const struct bench_contender values_find_contenders[VALUES_FIND_CONTENDERS] = {
    {.name = "weir", .note = SELECT_NOTE, .run = run_weir},
    {.name = "weir-selector", .note = SELECTOR_NOTE, .run = run_weir_selector},
    {.name = "weir-find", .note = FIND_NOTE, .run = run_weir_find},
    {.name = "weir-loop", .note = LOOP_NOTE, .run = run_weir_loop},
    {.name = "msgpack-c", .note = TREE_NOTE, .run = run_msgpack},
#ifdef HAVE_MSGPUCK
    {.name = "msgpuck", .note = MSGPUCK_NOTE, .run = run_msgpuck},
    {.name = "msgpuck-check", .note = CHECKED_NOTE, .run = run_msgpuck_checked},
#else
    {.name = "msgpuck", .missing = NO_MSGPUCK},
    {.name = "msgpuck-check", .missing = NO_MSGPUCK},
#endif
#ifdef HAVE_MPACK
    {.name = "libmpack", .note = MPACK_NOTE, .run = run_mpack},
#else
    {.name = "libmpack", .missing = NO_MPACK},
#endif
};

const struct bench_contender values_shuffled_contenders[VALUES_FIND_CONTENDERS] = {
    {.name = "weir", .note = SELECT_NOTE, .run = shuffled_weir},
    {.name = "weir-selector", .note = SELECTOR_NOTE, .run = shuffled_weir_selector},
    {.name = "weir-find", .note = FIND_NOTE, .run = shuffled_weir_find},
    {.name = "weir-loop", .note = LOOP_NOTE, .run = shuffled_weir_loop},
    {.name = "msgpack-c", .note = TREE_NOTE, .run = shuffled_msgpack},
#ifdef HAVE_MSGPUCK
    {.name = "msgpuck", .note = MSGPUCK_NOTE, .run = shuffled_msgpuck},
    {.name = "msgpuck-check", .note = CHECKED_NOTE, .run = shuffled_msgpuck_checked},
#else
    {.name = "msgpuck", .missing = NO_MSGPUCK},
    {.name = "msgpuck-check", .missing = NO_MSGPUCK},
#endif
#ifdef HAVE_MPACK
    {.name = "libmpack", .note = MPACK_NOTE, .run = shuffled_mpack},
#else
    {.name = "libmpack", .missing = NO_MPACK},
#endif
};
