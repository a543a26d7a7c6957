/* SPDX-License-Identifier: MIT */
/*
 * record_peers: what the groups of records ask of libraries that generate code. Each has a source
 * of its own, which is built where configure found the library and its generator.
 */
#ifndef BENCH_RECORD_PEERS_H
#define BENCH_RECORD_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A record of 40 fields, in the words of weir/record.h; tools/bench/records.fbs has the same. */
#define LARGE_RECORD_FIELDS(F, R) \
    F(R, u64, id)                 \
    F(R, i64, created)            \
    F(R, i64, modified)           \
    F(R, f64, price)              \
    F(R, f64, stop_price)         \
    F(R, u64, quantity)           \
    F(R, u64, filled)             \
    F(R, u64, remaining)          \
    F(R, u32, symbol_id)          \
    F(R, u32, venue_id)           \
    F(R, u32, account_id)         \
    F(R, u32, trader_id)          \
    F(R, u16, side)               \
    F(R, u16, type)               \
    F(R, u16, time_in_force)      \
    F(R, u16, currency)           \
    F(R, bool, is_hidden)         \
    F(R, bool, is_pegged)         \
    F(R, bool, is_test)           \
    F(R, u8, priority)            \
    F(R, f64, best_bid)           \
    F(R, f64, best_ask)           \
    F(R, f64, last_price)         \
    F(R, u64, last_quantity)      \
    F(R, i64, last_time)          \
    F(R, i64, settled)            \
    F(R, u32, clearing_id)        \
    F(R, u32, broker_id)          \
    F(R, f64, fee)                \
    F(R, f64, tax)                \
    F(R, f64, limit_up)           \
    F(R, f64, limit_down)         \
    F(R, u64, parent_id)          \
    F(R, u64, group_id)           \
    F(R, u64, session)            \
    F(R, u32, revision)           \
    F(R, u32, retries)            \
    F(R, i32, offset)             \
    F(R, i64, expires)            \
    F(R, u64, sequence)

#define LARGE_CTYPE_u8 uint8_t
#define LARGE_CTYPE_u16 uint16_t
#define LARGE_CTYPE_u32 uint32_t
#define LARGE_CTYPE_u64 uint64_t
#define LARGE_CTYPE_i32 int32_t
#define LARGE_CTYPE_i64 int64_t
#define LARGE_CTYPE_f64 double
#define LARGE_CTYPE_bool bool
#define LARGE_MEMBER(R, type, name) LARGE_CTYPE_##type name;

/* The record for who does not know weir's. */
struct large_values {
    LARGE_RECORD_FIELDS(LARGE_MEMBER, large_values)
};

/* The record of group_record.c; texts are not terminated. */
struct order_values {
    uint64_t id;
    int64_t ts;
    double price;
    uint64_t seq;
    const char *symbol;
    const char *venue;
    const char *account;
    uint32_t qty;
    uint32_t symbol_size;
    uint32_t venue_size;
    uint32_t account_size;
    bool side;
    uint8_t flags;
};

/* FlatBuffers, whose library for C++ is the one that Debian has. Building returns the size, or 0 if
 * it does not fit; the builder is used again and again, as its documentation says. */
struct record_flatbuffers;
struct record_flatbuffers *record_flatbuffers_create(void);
void record_flatbuffers_destroy(struct record_flatbuffers *self);
size_t record_flatbuffers_pack(struct record_flatbuffers *self, const struct order_values *from,
                               uint8_t *to, size_t room);
bool record_flatbuffers_verify(const uint8_t *message, size_t size);
void record_flatbuffers_unpack(const uint8_t *message, struct order_values *ret);
size_t record_flatbuffers_pack_large(struct record_flatbuffers *self,
                                     const struct large_values *from, uint8_t *to, size_t room);
bool record_flatbuffers_verify_large(const uint8_t *message, size_t size);
uint64_t record_flatbuffers_read_three(const uint8_t *message);

/* Protocol Buffers, by two libraries. What is read is in @room, of RECORD_SCRATCH_BYTES and aligned
 * as malloc() does, or in the message. */
#define RECORD_SCRATCH_BYTES 1024u
size_t record_protobuf_c_pack(const struct order_values *from, uint8_t *to, size_t room);
bool record_protobuf_c_unpack(const uint8_t *message, size_t size, uint8_t *room,
                              struct order_values *ret);
size_t record_nanopb_pack(const struct order_values *from, uint8_t *to, size_t room);
bool record_nanopb_unpack(const uint8_t *message, size_t size, uint8_t *room,
                          struct order_values *ret);

#ifdef __cplusplus
}
#endif

#endif /* BENCH_RECORD_PEERS_H */
