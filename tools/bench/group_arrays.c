/* SPDX-License-Identifier: MIT */
/*
 * arrays/u32-*, arrays/f64-*: arrays of 100,000 numbers, against msgpuck and MessagePack-C.
 *
 * The integers are of four widths, each as likely and in no order, so that nobody can predict the
 * next one's form; the doubles are any. Both arrays and what is encoded fit a second-level cache
 * together. Output always goes to the same place.
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
#include <weir/bulk.h>
#include <weir/pool.h>

#define COUNT 100000u
#define SEED UINT64_C(0x61727261)
#define ENCODED_BYTES_MAX (5 + 9 * (size_t)COUNT)

#define NO_MSGPUCK "configure did not find msgpuck (Debian: libmsgpuck-dev)"

struct arrays {
    uint32_t *integers;
    double *doubles;
    uint32_t *integers_read;
    double *doubles_read;
    uint8_t *encoded_integers;
    size_t encoded_integers_bytes;
    uint8_t *encoded_doubles;
    size_t encoded_doubles_bytes;
    uint8_t *room; /* what others encode into */
    struct weir_pool *pool;
    struct weir_buf buf;
    msgpack_sbuffer sbuffer;
    msgpack_zone *zone;
};

/* --- encoding -------------------------------------------------------------------------------- */

/* Each way to encode: an array into memory of its own. 0 or a negative errno. */
typedef int encode_function(struct arrays *arrays, struct weir_view *ret);

static int encode_u32_weir(struct arrays *arrays, struct weir_view *ret)
{
    struct weir_packer p;

    weir_buf_reset(&arrays->buf);
    weir_pack_begin(&p, &arrays->buf, ENCODED_BYTES_MAX);
    weir_pack_array_u32(&p, arrays->integers, COUNT);
    return weir_pack_end(&p, ret);
}

static int encode_u32_each(struct arrays *arrays, struct weir_view *ret)
{
    struct weir_packer p;

    weir_buf_reset(&arrays->buf);
    weir_pack_begin(&p, &arrays->buf, ENCODED_BYTES_MAX);
    weir_pack_array(&p, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        weir_pack_uint(&p, arrays->integers[i]);
    return weir_pack_end(&p, ret);
}

static int encode_f64_weir(struct arrays *arrays, struct weir_view *ret)
{
    struct weir_packer p;

    weir_buf_reset(&arrays->buf);
    weir_pack_begin(&p, &arrays->buf, ENCODED_BYTES_MAX);
    weir_pack_array_f64(&p, arrays->doubles, COUNT);
    return weir_pack_end(&p, ret);
}

static int encode_f64_each(struct arrays *arrays, struct weir_view *ret)
{
    struct weir_packer p;

    weir_buf_reset(&arrays->buf);
    weir_pack_begin(&p, &arrays->buf, ENCODED_BYTES_MAX);
    weir_pack_array(&p, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        weir_pack_f64(&p, arrays->doubles[i]);
    return weir_pack_end(&p, ret);
}

/* Errors of MessagePack-C's writer are 0 or -1: or them together and look once. */
static int encode_u32_msgpack(struct arrays *arrays, struct weir_view *ret)
{
    msgpack_packer pk;

    msgpack_sbuffer_clear(&arrays->sbuffer);
    msgpack_packer_init(&pk, &arrays->sbuffer, msgpack_sbuffer_write);
    int rc = msgpack_pack_array(&pk, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        rc |= msgpack_pack_uint32(&pk, arrays->integers[i]);
    *ret = weir_view_of(arrays->sbuffer.data, arrays->sbuffer.size);
    return rc == 0 ? 0 : -ENOMEM;
}

static int encode_f64_msgpack(struct arrays *arrays, struct weir_view *ret)
{
    msgpack_packer pk;

    msgpack_sbuffer_clear(&arrays->sbuffer);
    msgpack_packer_init(&pk, &arrays->sbuffer, msgpack_sbuffer_write);
    int rc = msgpack_pack_array(&pk, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        rc |= msgpack_pack_double(&pk, arrays->doubles[i]);
    *ret = weir_view_of(arrays->sbuffer.data, arrays->sbuffer.size);
    return rc == 0 ? 0 : -ENOMEM;
}

#ifdef HAVE_MSGPUCK
static int encode_u32_msgpuck(struct arrays *arrays, struct weir_view *ret)
{
    char *begin = (char *)arrays->room;
    char *at = mp_encode_array(begin, COUNT);

    for (size_t i = 0; i < COUNT; i++)
        at = mp_encode_uint(at, arrays->integers[i]);
    *ret = weir_view_of(begin, (size_t)(at - begin));
    return 0;
}

static int encode_f64_msgpuck(struct arrays *arrays, struct weir_view *ret)
{
    char *begin = (char *)arrays->room;
    char *at = mp_encode_array(begin, COUNT);

    for (size_t i = 0; i < COUNT; i++)
        at = mp_encode_double(at, arrays->doubles[i]);
    *ret = weir_view_of(begin, (size_t)(at - begin));
    return 0;
}
#endif

static int copy_u32(struct arrays *arrays, struct weir_view *ret)
{
    memcpy(arrays->room, arrays->encoded_integers, arrays->encoded_integers_bytes);
    *ret = weir_view_of(arrays->room, arrays->encoded_integers_bytes);
    return 0;
}

static int copy_f64(struct arrays *arrays, struct weir_view *ret)
{
    memcpy(arrays->room, arrays->encoded_doubles, arrays->encoded_doubles_bytes);
    *ret = weir_view_of(arrays->room, arrays->encoded_doubles_bytes);
    return 0;
}

static inline __attribute__((always_inline)) int encode_all(struct bench_round *round,
                                                            encode_function *encode)
{
    for (uint64_t done = 0; done < round->ops; done += COUNT) {
        struct weir_view encoded;
        int rc = encode(round->context, &encoded);
        if (rc < 0)
            return rc;
        bench_use(encoded.data);
    }
    return 0;
}

/* --- decoding -------------------------------------------------------------------------------- */

/* Each way to decode: what is encoded into the array for what is read. 0 or a negative errno. */
typedef int decode_function(struct arrays *arrays);

static struct weir_view encoded_u32(const struct arrays *arrays)
{
    return weir_view_of(arrays->encoded_integers, arrays->encoded_integers_bytes);
}

static struct weir_view encoded_f64(const struct arrays *arrays)
{
    return weir_view_of(arrays->encoded_doubles, arrays->encoded_doubles_bytes);
}

static int decode_u32_weir(struct arrays *arrays)
{
    struct weir_unpacker u;
    size_t count;

    weir_unpack_init(&u, encoded_u32(arrays), NULL);
    return weir_unpack_array_u32(&u, arrays->integers_read, COUNT, &count);
}

static int decode_u32_each(struct arrays *arrays)
{
    struct weir_unpacker u;
    uint32_t count;

    weir_unpack_init(&u, encoded_u32(arrays), NULL);
    if (weir_unpack_array(&u, &count) != 0 || count > COUNT)
        return -EPROTO;
    for (uint32_t i = 0; i < count; i++)
        weir_unpack_u32(&u, &arrays->integers_read[i]);
    return weir_unpack_end(&u);
}

static int decode_f64_weir(struct arrays *arrays)
{
    struct weir_unpacker u;
    size_t count;

    weir_unpack_init(&u, encoded_f64(arrays), NULL);
    return weir_unpack_array_f64(&u, arrays->doubles_read, COUNT, &count);
}

static int decode_f64_each(struct arrays *arrays)
{
    struct weir_unpacker u;
    uint32_t count;

    weir_unpack_init(&u, encoded_f64(arrays), NULL);
    if (weir_unpack_array(&u, &count) != 0 || count > COUNT)
        return -EPROTO;
    for (uint32_t i = 0; i < count; i++)
        weir_unpack_f64(&u, &arrays->doubles_read[i]);
    return weir_unpack_end(&u);
}

#ifdef HAVE_MSGPUCK
/* The head, after mp_check() has seen all of it where @is_checked. */
static inline __attribute__((always_inline)) int open_msgpuck(struct weir_view encoded,
                                                              bool is_checked, const char **ret)
{
    const char *end = (const char *)encoded.data + encoded.size;
    const char *at = (const char *)encoded.data;

    if (is_checked && mp_check(&at, end) != 0)
        return -EBADMSG;
    at = (const char *)encoded.data;
    if (mp_typeof(*at) != MP_ARRAY || mp_decode_array(&at) != COUNT)
        return -EPROTO;
    *ret = at;
    return 0;
}

static inline __attribute__((always_inline)) int decode_u32_msgpuck(struct arrays *arrays,
                                                                    bool is_checked)
{
    const char *at;
    int rc = open_msgpuck(encoded_u32(arrays), is_checked, &at);

    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < COUNT; i++) {
        if (is_checked && mp_typeof(*at) != MP_UINT)
            return -EPROTO;
        uint64_t value = mp_decode_uint(&at);
        if (is_checked && value > UINT32_MAX)
            return -EOVERFLOW;
        arrays->integers_read[i] = (uint32_t)value;
    }
    return 0;
}

static inline __attribute__((always_inline)) int decode_f64_msgpuck(struct arrays *arrays,
                                                                    bool is_checked)
{
    const char *at;
    int rc = open_msgpuck(encoded_f64(arrays), is_checked, &at);

    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < COUNT; i++) {
        if (is_checked && mp_typeof(*at) != MP_DOUBLE)
            return -EPROTO;
        arrays->doubles_read[i] = mp_decode_double(&at);
    }
    return 0;
}

static int decode_u32_msgpuck_checked(struct arrays *arrays)
{
    return decode_u32_msgpuck(arrays, true);
}

static int decode_u32_msgpuck_unchecked(struct arrays *arrays)
{
    return decode_u32_msgpuck(arrays, false);
}

static int decode_f64_msgpuck_checked(struct arrays *arrays)
{
    return decode_f64_msgpuck(arrays, true);
}

static int decode_f64_msgpuck_unchecked(struct arrays *arrays)
{
    return decode_f64_msgpuck(arrays, false);
}
#endif

/* A tree in a zone that is kept; then the numbers out of it. */
static int tree_msgpack(struct arrays *arrays, struct weir_view encoded, msgpack_object *ret)
{
    size_t offset = 0;

    msgpack_zone_clear(arrays->zone);
    msgpack_unpack_return rc =
        msgpack_unpack((const char *)encoded.data, encoded.size, &offset, arrays->zone, ret);
    if (rc != MSGPACK_UNPACK_SUCCESS || ret->type != MSGPACK_OBJECT_ARRAY ||
        ret->via.array.size != COUNT)
        return -EBADMSG;
    return 0;
}

static int decode_u32_msgpack(struct arrays *arrays)
{
    msgpack_object tree;
    int rc = tree_msgpack(arrays, encoded_u32(arrays), &tree);

    for (uint32_t i = 0; rc == 0 && i < COUNT; i++) {
        const msgpack_object *element = &tree.via.array.ptr[i];
        if (element->type != MSGPACK_OBJECT_POSITIVE_INTEGER || element->via.u64 > UINT32_MAX)
            return -EPROTO;
        arrays->integers_read[i] = (uint32_t)element->via.u64;
    }
    return rc;
}

static int decode_f64_msgpack(struct arrays *arrays)
{
    msgpack_object tree;
    int rc = tree_msgpack(arrays, encoded_f64(arrays), &tree);

    for (uint32_t i = 0; rc == 0 && i < COUNT; i++) {
        const msgpack_object *element = &tree.via.array.ptr[i];
        if (element->type != MSGPACK_OBJECT_FLOAT64)
            return -EPROTO;
        arrays->doubles_read[i] = element->via.f64;
    }
    return rc;
}

static int copy_integers(struct arrays *arrays)
{
    memcpy(arrays->integers_read, arrays->integers, COUNT * sizeof *arrays->integers);
    return 0;
}

static int copy_doubles(struct arrays *arrays)
{
    memcpy(arrays->doubles_read, arrays->doubles, COUNT * sizeof *arrays->doubles);
    return 0;
}

static inline __attribute__((always_inline)) int decode_all(struct bench_round *round,
                                                            decode_function *decode)
{
    struct arrays *arrays = round->context;

    for (uint64_t done = 0; done < round->ops; done += COUNT) {
        int rc = decode(arrays);
        if (rc < 0)
            return rc;
        bench_use(arrays);
    }
    return 0;
}

/* --- rounds ---------------------------------------------------------------------------------- */

#define RUN(kind, function)                              \
    static int run_##function(struct bench_round *round) \
    {                                                    \
        return kind##_all(round, function);              \
    }
RUN(encode, encode_u32_weir)
RUN(encode, encode_u32_each)
RUN(encode, encode_u32_msgpack)
RUN(encode, copy_u32)
RUN(encode, encode_f64_weir)
RUN(encode, encode_f64_each)
RUN(encode, encode_f64_msgpack)
RUN(encode, copy_f64)
RUN(decode, decode_u32_weir)
RUN(decode, decode_u32_each)
RUN(decode, decode_u32_msgpack)
RUN(decode, copy_integers)
RUN(decode, decode_f64_weir)
RUN(decode, decode_f64_each)
RUN(decode, decode_f64_msgpack)
RUN(decode, copy_doubles)
#ifdef HAVE_MSGPUCK
RUN(encode, encode_u32_msgpuck)
RUN(encode, encode_f64_msgpuck)
RUN(decode, decode_u32_msgpuck_checked)
RUN(decode, decode_u32_msgpuck_unchecked)
RUN(decode, decode_f64_msgpuck_checked)
RUN(decode, decode_f64_msgpuck_unchecked)
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

/* --- the input ------------------------------------------------------------------------------- */

static int check_encoded(struct arrays *arrays, const char *name, encode_function *encode,
                         struct weir_view wanted)
{
    struct weir_view got;
    int rc = encode(arrays, &got);

    if (rc < 0 || !weir_view_equal(got, wanted)) {
        bench_complain("%s does not encode the same", name);
        return rc < 0 ? rc : -EBADMSG;
    }
    return 0;
}

static int check_decoded(struct arrays *arrays, const char *name, decode_function *decode,
                         bool is_u32)
{
    memset(arrays->integers_read, 0xa5, COUNT * sizeof *arrays->integers_read);
    memset(arrays->doubles_read, 0xa5, COUNT * sizeof *arrays->doubles_read);
    int rc = decode(arrays);
    int differ =
        is_u32 ? memcmp(arrays->integers_read, arrays->integers, COUNT * sizeof *arrays->integers)
               : memcmp(arrays->doubles_read, arrays->doubles, COUNT * sizeof *arrays->doubles);
    if (rc < 0 || differ != 0) {
        bench_complain("%s does not decode the same", name);
        return rc < 0 ? rc : -EBADMSG;
    }
    return 0;
}

static int verify(struct arrays *arrays)
{
    static const struct {
        const char *name;
        encode_function *encode_u32, *encode_f64;
        decode_function *decode_u32, *decode_f64;
    } ways[] = {
        {"weir", encode_u32_weir, encode_f64_weir, decode_u32_weir, decode_f64_weir},
        {"weir-each", encode_u32_each, encode_f64_each, decode_u32_each, decode_f64_each},
#ifdef HAVE_MSGPUCK
        {"msgpuck-check", encode_u32_msgpuck, encode_f64_msgpuck, decode_u32_msgpuck_checked,
         decode_f64_msgpuck_checked},
        {"msgpuck", encode_u32_msgpuck, encode_f64_msgpuck, decode_u32_msgpuck_unchecked,
         decode_f64_msgpuck_unchecked},
#endif
    };

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const char *name = ways[i].name;
        if (check_encoded(arrays, name, ways[i].encode_u32, encoded_u32(arrays)) != 0 ||
            check_encoded(arrays, name, ways[i].encode_f64, encoded_f64(arrays)) != 0 ||
            check_decoded(arrays, name, ways[i].decode_u32, true) != 0 ||
            check_decoded(arrays, name, ways[i].decode_f64, false) != 0)
            return -EBADMSG;
    }
    if (check_decoded(arrays, "msgpack-c", decode_u32_msgpack, true) != 0 ||
        check_decoded(arrays, "msgpack-c", decode_f64_msgpack, false) != 0)
        return -EBADMSG;
    return 0;
}

/* The numbers, and what MessagePack-C makes of them. */
static int make(struct arrays *arrays)
{
    static const unsigned widths[4] = {7, 8, 16, 32};
    uint64_t state = SEED;
    struct weir_view encoded;
    int rc;

    for (size_t i = 0; i < COUNT; i++) {
        uint64_t bits = bench_random(&state);
        unsigned width = widths[bits >> 62];
        arrays->integers[i] = (uint32_t)(bits & ((UINT64_C(1) << width) - 1));
        arrays->doubles[i] = (double)(int64_t)bench_random(&state) / 1e6;
    }
    rc = encode_u32_msgpack(arrays, &encoded);
    if (rc < 0)
        return rc;
    memcpy(arrays->encoded_integers, encoded.data, encoded.size);
    arrays->encoded_integers_bytes = encoded.size;
    rc = encode_f64_msgpack(arrays, &encoded);
    if (rc < 0)
        return rc;
    memcpy(arrays->encoded_doubles, encoded.data, encoded.size);
    arrays->encoded_doubles_bytes = encoded.size;
    return 0;
}

static void teardown(void *context)
{
    struct arrays *arrays = context;

    msgpack_zone_free(arrays->zone);
    msgpack_sbuffer_destroy(&arrays->sbuffer);
    weir_buf_fini(&arrays->buf);
    if (weir_pool_destroy(arrays->pool) < 0)
        bench_complain("blocks of the pool are still held");
    free(arrays->room);
    free(arrays->encoded_doubles);
    free(arrays->encoded_integers);
    free(arrays->doubles_read);
    free(arrays->integers_read);
    free(arrays->doubles);
    free(arrays->integers);
    free(arrays);
}

static int setup_memory(struct arrays *arrays)
{
    msgpack_sbuffer_init(&arrays->sbuffer);
    arrays->zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
    arrays->integers = calloc(COUNT, sizeof *arrays->integers);
    arrays->doubles = calloc(COUNT, sizeof *arrays->doubles);
    arrays->integers_read = calloc(COUNT, sizeof *arrays->integers_read);
    arrays->doubles_read = calloc(COUNT, sizeof *arrays->doubles_read);
    arrays->encoded_integers = calloc(1, ENCODED_BYTES_MAX);
    arrays->encoded_doubles = calloc(1, ENCODED_BYTES_MAX);
    arrays->room = calloc(1, ENCODED_BYTES_MAX);
    if (arrays->zone == NULL || arrays->integers == NULL || arrays->doubles == NULL ||
        arrays->integers_read == NULL || arrays->doubles_read == NULL ||
        arrays->encoded_integers == NULL || arrays->encoded_doubles == NULL || arrays->room == NULL)
        return -ENOMEM;
    int rc = weir_pool_create(NULL, &arrays->pool);
    if (rc == 0)
        rc = weir_buf_init(&arrays->buf, arrays->pool, NULL);
    return rc;
}

static int setup(void **ret)
{
    struct arrays *arrays = calloc(1, sizeof *arrays);

    if (arrays == NULL) {
        bench_complain("out of memory");
        return -ENOMEM;
    }
    int rc = setup_memory(arrays);
    if (rc == 0)
        rc = make(arrays);
    if (rc < 0)
        bench_complain("%s", weir_error_text(rc));
    else
        rc = verify(arrays);
    if (rc < 0) {
        teardown(arrays);
        return rc;
    }
    *ret = arrays;
    return 0;
}

/* --- the cases ------------------------------------------------------------------------------- */

static double integer_bytes(const void *context)
{
    const struct arrays *arrays = context;

    return (double)arrays->encoded_integers_bytes / COUNT;
}

static double double_bytes(const void *context)
{
    const struct arrays *arrays = context;

    return (double)arrays->encoded_doubles_bytes / COUNT;
}

#define BULK_NOTE "one call; with vectors where the processor has them"
#define EACH_NOTE "one inline call per element"

static const struct bench_contender u32_encode_contenders[] = {
    {.name = "weir", .note = BULK_NOTE, .run = run_encode_u32_weir},
    {.name = "weir-each", .note = EACH_NOTE, .run = run_encode_u32_each},
    MSGPUCK("msgpuck", encode_u32_msgpuck, "into memory that is large enough"),
    {.name = "msgpack-c", .note = "into a kept sbuffer", .run = run_encode_u32_msgpack},
    {.name = "memcpy", .note = "the encoded bytes copied", .run = run_copy_u32},
};

static const struct bench_contender u32_decode_contenders[] = {
    {.name = "weir", .note = BULK_NOTE, .run = run_decode_u32_weir},
    {.name = "weir-each", .note = EACH_NOTE, .run = run_decode_u32_each},
    MSGPUCK("msgpuck-check", decode_u32_msgpuck_checked,
            "mp_check() of it all, then type and range of each"),
    MSGPUCK("msgpuck", decode_u32_msgpuck_unchecked, "no check at all"),
    {.name = "msgpack-c",
     .note = "a tree in a kept zone, then each",
     .run = run_decode_u32_msgpack},
    {.name = "memcpy", .note = "the decoded array copied", .run = run_copy_integers},
};

static const struct bench_contender f64_encode_contenders[] = {
    {.name = "weir", .note = BULK_NOTE, .run = run_encode_f64_weir},
    {.name = "weir-each", .note = EACH_NOTE, .run = run_encode_f64_each},
    MSGPUCK("msgpuck", encode_f64_msgpuck, "into memory that is large enough"),
    {.name = "msgpack-c", .note = "into a kept sbuffer", .run = run_encode_f64_msgpack},
    {.name = "memcpy", .note = "the encoded bytes copied", .run = run_copy_f64},
};

static const struct bench_contender f64_decode_contenders[] = {
    {.name = "weir", .note = BULK_NOTE, .run = run_decode_f64_weir},
    {.name = "weir-each", .note = EACH_NOTE, .run = run_decode_f64_each},
    MSGPUCK("msgpuck-check", decode_f64_msgpuck_checked,
            "mp_check() of it all, then the type of each"),
    MSGPUCK("msgpuck", decode_f64_msgpuck_unchecked, "no check at all"),
    {.name = "msgpack-c",
     .note = "a tree in a kept zone, then each",
     .run = run_decode_f64_msgpack},
    {.name = "memcpy", .note = "the decoded array copied", .run = run_copy_doubles},
};

#define CONTENDERS(table) .contenders = (table), .contender_count = sizeof(table) / sizeof(table)[0]

static const struct bench_case cases[] = {
    {.name = "u32-encode",
     .op = "one of 100,000 integers of mixed widths written",
     .step_ops = COUNT,
     .bytes_per_op = integer_bytes,
     CONTENDERS(u32_encode_contenders)},
    {.name = "u32-decode",
     .op = "one of 100,000 integers of mixed widths read into an array",
     .step_ops = COUNT,
     .bytes_per_op = integer_bytes,
     CONTENDERS(u32_decode_contenders)},
    {.name = "f64-encode",
     .op = "one of 100,000 doubles written",
     .step_ops = COUNT,
     .bytes_per_op = double_bytes,
     CONTENDERS(f64_encode_contenders)},
    {.name = "f64-decode",
     .op = "one of 100,000 doubles read into an array",
     .step_ops = COUNT,
     .bytes_per_op = double_bytes,
     CONTENDERS(f64_decode_contenders)},
};

const struct bench_group bench_group_arrays = {
    .name = "arrays",
    .summary = "arrays of 100,000 numbers",
    .cases = cases,
    .case_count = sizeof cases / sizeof cases[0],
    .setup = setup,
    .teardown = teardown,
};
