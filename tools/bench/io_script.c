/* SPDX-License-Identifier: MIT */
/* What is said on a connection, and what is to be answered: written with MessagePack-C. */
#include "io.h"

#include <errno.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define RPC_BYTES 231
#define NOTE_BYTES 101
#define ASK_BYTES 64

static void pack_text(msgpack_packer *pk, const char *text, size_t size)
{
    msgpack_pack_str(pk, size);
    msgpack_pack_str_body(pk, text, size);
}

static void pack_request(msgpack_packer *pk, uint32_t id, const struct io_order_read *order)
{
    msgpack_pack_array(pk, 4);
    msgpack_pack_int(pk, 0);
    msgpack_pack_uint32(pk, id);
    pack_text(pk, KEY("order.put"));
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 8);
    pack_text(pk, KEY("id"));
    msgpack_pack_uint64(pk, order->id);
    pack_text(pk, KEY("symbol"));
    pack_text(pk, (const char *)order->symbol, order->symbol_bytes);
    pack_text(pk, KEY("account"));
    pack_text(pk, (const char *)order->account, order->account_bytes);
    pack_text(pk, KEY("time_ns"));
    msgpack_pack_int64(pk, order->time_ns);
    pack_text(pk, KEY("price"));
    msgpack_pack_double(pk, order->price);
    pack_text(pk, KEY("quantity"));
    msgpack_pack_uint32(pk, order->quantity);
    pack_text(pk, KEY("buy"));
    if (order->buy)
        msgpack_pack_true(pk);
    else
        msgpack_pack_false(pk);
    pack_text(pk, KEY("note"));
    pack_text(pk, (const char *)order->note, order->note_bytes);
}

static void pack_answer(msgpack_packer *pk, uint32_t id, const struct io_order_read *order)
{
    msgpack_pack_array(pk, 4);
    msgpack_pack_int(pk, 1);
    msgpack_pack_uint32(pk, id);
    msgpack_pack_nil(pk);
    msgpack_pack_map(pk, 3);
    pack_text(pk, KEY("id"));
    msgpack_pack_uint64(pk, order->id);
    pack_text(pk, KEY("total"));
    msgpack_pack_double(pk, io_order_total(order));
    pack_text(pk, KEY("filled"));
    msgpack_pack_uint32(pk, io_order_filled(order));
}

static void make_rpcs(msgpack_packer *requests, msgpack_packer *answers)
{
    uint64_t state = 231;
    for (uint32_t i = 0; i < IO_CYCLE; i++) {
        char symbol[9];
        char account[17];
        char note[NOTE_BYTES];
        /* Numbers that take the same width each time, so that all messages are of one size. */
        struct io_order_read order = {
            .id = bench_random(&state) | (UINT64_C(1) << 40),
            .symbol = (const uint8_t *)symbol,
            .account = (const uint8_t *)account,
            .note = (const uint8_t *)note,
            .symbol_bytes = 8,
            .account_bytes = 16,
            .note_bytes = NOTE_BYTES,
            .time_ns = (int64_t)((bench_random(&state) >> 2) | (UINT64_C(1) << 40)),
            .price = (double)(bench_random(&state) >> 40) / 64.0,
            .quantity = (uint32_t)(bench_random(&state) & 0xffffff) | 0x1000000,
            .buy = (bench_random(&state) & 1) != 0,
        };
        snprintf(symbol, sizeof symbol, "%08x", (unsigned)(bench_random(&state) >> 32));
        snprintf(account, sizeof account, "%016llx", (unsigned long long)bench_random(&state));
        for (size_t at = 0; at < sizeof note; at++)
            note[at] = (char)('a' + bench_random(&state) % 26);
        pack_request(requests, 0x10000 + i, &order);
        pack_answer(answers, 0x10000 + i, &order);
    }
}

/* A bin of @bytes in all. */
static void make_bin(msgpack_packer *pk, size_t bytes, uint64_t seed)
{
    size_t size = bytes - (bytes < 2 + 256 ? 2 : bytes < 3 + 65536 ? 3 : 5);
    uint8_t body[64];
    msgpack_pack_bin(pk, size);
    while (size != 0) {
        size_t part = size < sizeof body ? size : sizeof body;
        for (size_t i = 0; i < sizeof body; i++)
            body[i] = (uint8_t)bench_random(&seed);
        msgpack_pack_bin_body(pk, body, part);
        size -= part;
    }
}

int io_script_make(struct io_script *script, const struct io_flow *flow)
{
    msgpack_sbuffer requests;
    msgpack_sbuffer answers;
    msgpack_packer pk;
    msgpack_packer answer_pk;
    msgpack_sbuffer_init(&requests);
    msgpack_sbuffer_init(&answers);
    msgpack_packer_init(&pk, &requests, msgpack_sbuffer_write);
    msgpack_packer_init(&answer_pk, &answers, msgpack_sbuffer_write);
    memset(script, 0, sizeof *script);
    script->answer_count = flow->talk == IO_STREAM ? 1 : IO_CYCLE;
    if (flow->talk == IO_RPC)
        make_rpcs(&pk, &answer_pk);
    for (uint64_t i = 0; flow->talk == IO_ECHO && i < IO_CYCLE; i++) {
        make_bin(&pk, flow->bytes, i);
        make_bin(&answer_pk, flow->bytes, i);
    }
    for (uint64_t i = 0; flow->talk == IO_STREAM && i < IO_CYCLE; i++)
        make_bin(&pk, ASK_BYTES, i);
    if (flow->talk == IO_STREAM)
        make_bin(&answer_pk, flow->bytes, 1);
    script->request_bytes = requests.size / IO_CYCLE;
    script->answer_bytes = answers.size / script->answer_count;
    size_t wanted = flow->talk == IO_RPC ? RPC_BYTES : flow->bytes;
    if ((flow->talk == IO_STREAM ? script->answer_bytes : script->request_bytes) != wanted) {
        bench_complain("io: a message has not the size that it is to have");
        msgpack_sbuffer_destroy(&requests);
        msgpack_sbuffer_destroy(&answers);
        return -EINVAL;
    }
    script->requests = malloc(2 * requests.size);
    if (script->requests != NULL) {
        memcpy(script->requests, requests.data, requests.size);
        memcpy(script->requests + requests.size, requests.data, requests.size);
        script->answers = (uint8_t *)msgpack_sbuffer_release(&answers);
    }
    msgpack_sbuffer_destroy(&requests);
    msgpack_sbuffer_destroy(&answers);
    return script->requests != NULL ? 0 : -ENOMEM;
}

void io_script_free(struct io_script *script)
{
    free(script->requests);
    free(script->answers);
    memset(script, 0, sizeof *script);
}
