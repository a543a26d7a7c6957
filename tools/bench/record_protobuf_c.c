/* SPDX-License-Identifier: MIT */
/* record_protobuf_c: the record as protobuf-c packs and unpacks it. */
#include "record_peers.h"

#include "order.pb-c.h"

/* Memory for one message, given away from the start on and never taken back. */
struct scratch {
    uint8_t *at;
    size_t left;
};

static void *scratch_alloc(void *data, size_t size)
{
    struct scratch *scratch = data;
    uint8_t *at = scratch->at;

    size = (size + 15) & ~(size_t)15;
    if (size > scratch->left)
        return NULL;
    scratch->at += size;
    scratch->left -= size;
    return at;
}

static void scratch_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

static ProtobufCBinaryData bytes_of(const char *text, size_t size)
{
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)text};
}

size_t record_protobuf_c_pack(const struct order_values *from, uint8_t *to, size_t room)
{
    WeirBench__Order order = WEIR_BENCH__ORDER__INIT;

    order.id = from->id;
    order.ts = from->ts;
    order.price = from->price;
    order.qty = from->qty;
    order.side = from->side;
    order.symbol = bytes_of(from->symbol, from->symbol_size);
    order.venue = bytes_of(from->venue, from->venue_size);
    order.account = bytes_of(from->account, from->account_size);
    order.flags = from->flags;
    order.seq = from->seq;
    if (weir_bench__order__get_packed_size(&order) > room)
        return 0;
    return weir_bench__order__pack(&order, to);
}

bool record_protobuf_c_unpack(const uint8_t *message, size_t size, uint8_t *room,
                              struct order_values *ret)
{
    struct scratch scratch = {room, RECORD_SCRATCH_BYTES};
    ProtobufCAllocator allocator = {scratch_alloc, scratch_free, &scratch};
    const WeirBench__Order *order = weir_bench__order__unpack(&allocator, size, message);

    if (order == NULL)
        return false;
    *ret = (struct order_values){.id = order->id,
                                 .ts = order->ts,
                                 .price = order->price,
                                 .seq = order->seq,
                                 .symbol = (const char *)order->symbol.data,
                                 .venue = (const char *)order->venue.data,
                                 .account = (const char *)order->account.data,
                                 .qty = order->qty,
                                 .symbol_size = (uint32_t)order->symbol.len,
                                 .venue_size = (uint32_t)order->venue.len,
                                 .account_size = (uint32_t)order->account.len,
                                 .side = order->side != 0,
                                 .flags = (uint8_t)order->flags};
    return true;
}
