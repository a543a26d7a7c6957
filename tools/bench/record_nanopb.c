/* SPDX-License-Identifier: MIT */
/* record_nanopb: the record as nanopb packs and unpacks it, texts in arrays of its struct. */
#include "record_peers.h"

#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "order.pb.h"

size_t record_nanopb_pack(const struct order_values *from, uint8_t *to, size_t room)
{
    weir_bench_Order order = weir_bench_Order_init_zero;
    pb_ostream_t stream = pb_ostream_from_buffer(to, room);

    order.id = from->id;
    order.ts = from->ts;
    order.price = from->price;
    order.qty = from->qty;
    order.side = from->side;
    order.symbol.size = (pb_size_t)from->symbol_size;
    memcpy(order.symbol.bytes, from->symbol, from->symbol_size);
    order.venue.size = (pb_size_t)from->venue_size;
    memcpy(order.venue.bytes, from->venue, from->venue_size);
    order.account.size = (pb_size_t)from->account_size;
    memcpy(order.account.bytes, from->account, from->account_size);
    order.flags = from->flags;
    order.seq = from->seq;
    return pb_encode(&stream, weir_bench_Order_fields, &order) ? stream.bytes_written : 0;
}

bool record_nanopb_unpack(const uint8_t *message, size_t size, uint8_t *room,
                          struct order_values *ret)
{
    weir_bench_Order *order = (weir_bench_Order *)(void *)room;
    pb_istream_t stream = pb_istream_from_buffer(message, size);

    _Static_assert(sizeof *order <= RECORD_SCRATCH_BYTES, "the struct fits the memory for it");
    *order = (weir_bench_Order)weir_bench_Order_init_zero;
    if (!pb_decode(&stream, weir_bench_Order_fields, order))
        return false;
    *ret = (struct order_values){.id = order->id,
                                 .ts = order->ts,
                                 .price = order->price,
                                 .seq = order->seq,
                                 .symbol = (const char *)order->symbol.bytes,
                                 .venue = (const char *)order->venue.bytes,
                                 .account = (const char *)order->account.bytes,
                                 .qty = order->qty,
                                 .symbol_size = order->symbol.size,
                                 .venue_size = order->venue.size,
                                 .account_size = order->account.size,
                                 .side = order->side,
                                 .flags = (uint8_t)order->flags};
    return true;
}
