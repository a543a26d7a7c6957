/* SPDX-License-Identifier: MIT */
/* record_flatbuffers: the records as FlatBuffers. */
#include "record_peers.h"

#include <cstring>

#include "records_generated.h"

using namespace weir_bench;

struct record_flatbuffers {
    flatbuffers::FlatBufferBuilder builder{4096};
};

struct record_flatbuffers *record_flatbuffers_create(void)
{
    return new record_flatbuffers;
}

void record_flatbuffers_destroy(struct record_flatbuffers *self)
{
    delete self;
}

/* What was built, to where all contenders write; padded, for messages follow each other there. */
static size_t take(const flatbuffers::FlatBufferBuilder &builder, uint8_t *to, size_t room)
{
    const size_t size = (builder.GetSize() + 7) & ~size_t{7};

    if (size > room)
        return 0;
    std::memcpy(to, builder.GetBufferPointer(), builder.GetSize());
    return size;
}

size_t record_flatbuffers_pack(struct record_flatbuffers *self, const struct order_values *from,
                               uint8_t *to, size_t room)
{
    flatbuffers::FlatBufferBuilder &b = self->builder;

    b.Clear();
    auto symbol = b.CreateString(from->symbol, from->symbol_size);
    auto venue = b.CreateString(from->venue, from->venue_size);
    auto account = b.CreateString(from->account, from->account_size);
    b.Finish(CreateOrder(b, from->id, from->ts, from->price, from->qty, from->side, symbol, venue,
                         account, from->flags, from->seq));
    return take(b, to, room);
}

bool record_flatbuffers_verify(const uint8_t *message, size_t size)
{
    flatbuffers::Verifier verifier(message, size);

    return verifier.VerifyBuffer<Order>(nullptr);
}

void record_flatbuffers_unpack(const uint8_t *message, struct order_values *ret)
{
    const Order *order = flatbuffers::GetRoot<Order>(message);
    const flatbuffers::String *symbol = order->symbol();
    const flatbuffers::String *venue = order->venue();
    const flatbuffers::String *account = order->account();

    ret->id = order->id();
    ret->ts = order->ts();
    ret->price = order->price();
    ret->qty = order->qty();
    ret->side = order->side();
    ret->flags = order->flags();
    ret->seq = order->seq();
    ret->symbol = symbol->c_str();
    ret->symbol_size = symbol->size();
    ret->venue = venue->c_str();
    ret->venue_size = venue->size();
    ret->account = account->c_str();
    ret->account_size = account->size();
}

size_t record_flatbuffers_pack_large(struct record_flatbuffers *self,
                                     const struct large_values *from, uint8_t *to, size_t room)
{
    flatbuffers::FlatBufferBuilder &b = self->builder;

    b.Clear();
    LargeBuilder large(b);
#define ADD(R, type, name) large.add_##name(from->name);
    LARGE_RECORD_FIELDS(ADD, large)
#undef ADD
    b.Finish(large.Finish());
    return take(b, to, room);
}

bool record_flatbuffers_verify_large(const uint8_t *message, size_t size)
{
    flatbuffers::Verifier verifier(message, size);

    return verifier.VerifyBuffer<Large>(nullptr);
}

uint64_t record_flatbuffers_read_three(const uint8_t *message)
{
    const Large *large = flatbuffers::GetRoot<Large>(message);

    return large->quantity() + static_cast<uint64_t>(large->settled()) + large->session();
}
