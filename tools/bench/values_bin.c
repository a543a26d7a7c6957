/* SPDX-License-Identifier: MIT */
/*
 * values/bin-*: a message of an id and a large bin, the bin by reference.
 *
 * The bytes lie in a block of a pool (weir) or in plain memory (MessagePack-C), and are the same
 * ones in every message. After VALUES_STAGED messages the output is thrown away.
 */
#include "values.h"

#include <errno.h>

#include <weir/pack.h>

#define SIZE_4K ((size_t)4096)
#define SIZE_64K ((size_t)65536)
#define SIZE_1M ((size_t)1048576)

static inline __attribute__((always_inline)) int pack_weir(struct weir_buf *buf, uint64_t id,
                                                           const struct weir_slice *large)
{
    struct weir_packer p;

    weir_pack_begin(&p, buf, 0);
    weir_pack_array(&p, 2);
    weir_pack_uint(&p, id);
    weir_pack_bin_slice(&p, large);
    return weir_pack_end(&p, NULL);
}

static inline __attribute__((always_inline)) int pack_msgpack(msgpack_packer *pk, uint64_t id,
                                                              const void *large, size_t size)
{
    int rc = msgpack_pack_array(pk, 2);

    rc |= msgpack_pack_uint64(pk, id);
    rc |= msgpack_pack_bin_with_body(pk, large, size);
    return rc == 0 ? 0 : -ENOMEM;
}

static inline uint64_t id_of(uint64_t index)
{
    return index % VALUES_COUNT;
}

static inline __attribute__((always_inline)) int run_slice(struct bench_round *round, size_t size,
                                                           bool held)
{
    struct values *values = round->context;
    struct weir_slice large =
        weir_slice_adopt(weir_view_of(values->large->data, size), held ? values->large : NULL);
    struct stopwatch watch = {0};
    int rc = 0;

    for (uint64_t done = 0; rc == 0 && done < round->ops; done += VALUES_BINS) {
        stopwatch_go(&watch);
        for (uint64_t i = done; rc == 0 && i < done + VALUES_BINS; i++) {
            rc = pack_weir(&values->buf, id_of(i), &large);
            if (i % VALUES_STAGED == VALUES_STAGED - 1)
                weir_buf_reset(&values->buf);
        }
        stopwatch_stop(&watch);
    }
    round->elapsed_ns = watch.elapsed_ns;
    return rc;
}

static inline __attribute__((always_inline)) int run_vref(struct bench_round *round, size_t size)
{
    struct values *values = round->context;
    struct stopwatch watch = {0};
    msgpack_packer pk;
    int rc = 0;

    msgpack_vrefbuffer_clear(&values->vref);
    msgpack_packer_init(&pk, &values->vref, msgpack_vrefbuffer_write);
    for (uint64_t done = 0; rc == 0 && done < round->ops; done += VALUES_BINS) {
        stopwatch_go(&watch);
        for (uint64_t i = done; rc == 0 && i < done + VALUES_BINS; i++) {
            rc = pack_msgpack(&pk, id_of(i), values->large->data, size);
            if (i % VALUES_STAGED == VALUES_STAGED - 1)
                msgpack_vrefbuffer_clear(&values->vref);
        }
        stopwatch_stop(&watch);
    }
    round->elapsed_ns = watch.elapsed_ns;
    return rc;
}

/* One message at a time, so that the copies need no more room than one. */
static inline __attribute__((always_inline)) int run_copy(struct bench_round *round, size_t size)
{
    struct values *values = round->context;
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < round->ops; i++) {
        struct weir_packer p;
        weir_buf_reset(&values->buf);
        weir_pack_begin(&p, &values->buf, size + 16);
        weir_pack_array(&p, 2);
        weir_pack_uint(&p, id_of(i));
        weir_pack_bin(&p, weir_view_of(values->large->data, size));
        rc = weir_pack_end(&p, NULL);
    }
    return rc;
}

static int run_weir_4k(struct bench_round *round)
{
    return run_slice(round, SIZE_4K, true);
}

static int run_borrowed_4k(struct bench_round *round)
{
    return run_slice(round, SIZE_4K, false);
}

static int run_weir_64k(struct bench_round *round)
{
    return run_slice(round, SIZE_64K, true);
}

static int run_borrowed_64k(struct bench_round *round)
{
    return run_slice(round, SIZE_64K, false);
}

static int run_weir_1m(struct bench_round *round)
{
    return run_slice(round, SIZE_1M, true);
}

static int run_borrowed_1m(struct bench_round *round)
{
    return run_slice(round, SIZE_1M, false);
}

static int run_vref_4k(struct bench_round *round)
{
    return run_vref(round, SIZE_4K);
}

static int run_vref_64k(struct bench_round *round)
{
    return run_vref(round, SIZE_64K);
}

static int run_vref_1m(struct bench_round *round)
{
    return run_vref(round, SIZE_1M);
}

static int run_copy_4k(struct bench_round *round)
{
    return run_copy(round, SIZE_4K);
}

static int run_copy_64k(struct bench_round *round)
{
    return run_copy(round, SIZE_64K);
}

static int run_copy_1m(struct bench_round *round)
{
    return run_copy(round, SIZE_1M);
}

/* Compare what lies in some iovecs with @want. */
static int compare_iovecs(const struct iovec *iov, size_t count, struct weir_view want,
                          const char *who)
{
    size_t offset = 0;

    for (size_t i = 0; i < count; i++) {
        struct weir_view part;
        if (weir_view_slice(want, offset, iov[i].iov_len, &part) < 0 ||
            !weir_view_equal(part, weir_view_of(iov[i].iov_base, iov[i].iov_len)))
            break;
        offset += iov[i].iov_len;
    }
    if (offset == want.size)
        return 0;
    bench_complain("a bin of %zu bytes: %s packs other bytes", want.size, who);
    return -EBADMSG;
}

static int verify_size(struct values *values, uint64_t id, size_t size)
{
    const struct weir_slice large =
        weir_slice_adopt(weir_view_of(values->large->data, size), values->large);
    struct iovec iov[4];
    msgpack_packer pk;

    msgpack_sbuffer_clear(&values->sbuffer);
    int rc = pack_msgpack(&values->packer, id, large.view.data, size);
    if (rc < 0)
        return rc;
    struct weir_view want = weir_view_of(values->sbuffer.data, values->sbuffer.size);
    weir_buf_reset(&values->buf);
    rc = pack_weir(&values->buf, id, &large);
    if (rc == 0)
        rc = compare_iovecs(iov, weir_buf_iovecs(&values->buf, 0, iov, NULL, 4), want, "weir");
    weir_buf_reset(&values->buf);
    if (rc < 0)
        return rc;
    msgpack_vrefbuffer_clear(&values->vref);
    msgpack_packer_init(&pk, &values->vref, msgpack_vrefbuffer_write);
    rc = pack_msgpack(&pk, id, large.view.data, size);
    if (rc < 0)
        return rc;
    return compare_iovecs((const struct iovec *)msgpack_vrefbuffer_vec(&values->vref),
                          msgpack_vrefbuffer_veclen(&values->vref), want, "the vrefbuffer");
}

int values_bin_verify(struct values *values)
{
    static const size_t sizes[] = {SIZE_4K, SIZE_64K, SIZE_1M};
    int rc = 0;

    for (size_t i = 0; i < SIZE_1M; i++)
        values->large->data[i] = (uint8_t)(i * 31 >> 3);
    for (uint64_t i = 0; rc == 0 && i < VALUES_COUNT; i += 997) {
        for (size_t size = 0; rc == 0 && size < sizeof sizes / sizeof sizes[0]; size++)
            rc = verify_size(values, id_of(i), sizes[size]);
    }
    return rc;
}

#define WEIR_NOTE "weir_pack_bin_slice: the message holds a reference on the bytes' block"
#define BORROWED_NOTE "the same with a slice that belongs to nobody: like the peer it holds nothing"
#define VREF_NOTE MSGPACK_C " into a vrefbuffer, which refers to the bytes and holds nothing"
#define COPY_NOTE "weir_pack_bin, which copies: what is saved"

const struct bench_contender values_bin_4k_contenders[VALUES_BIN_CONTENDERS] = {
    {.name = "weir", .note = WEIR_NOTE, .run = run_weir_4k},
    {.name = "weir-borrowed", .note = BORROWED_NOTE, .run = run_borrowed_4k},
    {.name = "msgpack-c-vref", .note = VREF_NOTE, .run = run_vref_4k},
    {.name = "copy", .note = COPY_NOTE, .run = run_copy_4k},
};

const struct bench_contender values_bin_64k_contenders[VALUES_BIN_CONTENDERS] = {
    {.name = "weir", .note = WEIR_NOTE, .run = run_weir_64k},
    {.name = "weir-borrowed", .note = BORROWED_NOTE, .run = run_borrowed_64k},
    {.name = "msgpack-c-vref", .note = VREF_NOTE, .run = run_vref_64k},
    {.name = "copy", .note = COPY_NOTE, .run = run_copy_64k},
};

const struct bench_contender values_bin_1m_contenders[VALUES_BIN_CONTENDERS] = {
    {.name = "weir", .note = WEIR_NOTE, .run = run_weir_1m},
    {.name = "weir-borrowed", .note = BORROWED_NOTE, .run = run_borrowed_1m},
    {.name = "msgpack-c-vref", .note = VREF_NOTE, .run = run_vref_1m},
    {.name = "copy", .note = COPY_NOTE, .run = run_copy_1m},
};
