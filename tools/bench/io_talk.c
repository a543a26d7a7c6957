/* SPDX-License-Identifier: MIT */
/* Requests cut, read and answered without weir: by hand, or by MessagePack-C. */
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* --- by hand ---------------------------------------------------------------------------------- */

/*
 * The request as its one sender writes it, every byte that does not change compared and the others
 * loaded where they lie: the least that reading it can cost. Anything else is refused.
 */
enum {
    AT_RPC_ID = 3,
    AT_METHOD = AT_RPC_ID + 4,
    AT_ID = AT_METHOD + 16,
    AT_SYMBOL = AT_ID + 8 + 8,
    AT_ACCOUNT = AT_SYMBOL + 8 + 9,
    AT_TIME = AT_ACCOUNT + 16 + 9,
    AT_PRICE = AT_TIME + 8 + 7,
    AT_QUANTITY = AT_PRICE + 8 + 10,
    AT_BUY = AT_QUANTITY + 4 + 4,
    AT_NOTE = AT_BUY + 1 + 7,
    REQUEST_BYTES = AT_NOTE + 101
};

static bool is_at(const uint8_t *message, size_t end, const char *constant, size_t size)
{
    return memcmp(message + end - size, constant, size) == 0;
}

static uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}

static uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

static void store32(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof value);
}

static void store64(uint8_t *at, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(at, &value, sizeof value);
}

static bool read_order(const uint8_t *m, struct io_order_read *ret)
{
    uint64_t price = load64(m + AT_PRICE);
    if (!is_at(m, AT_RPC_ID, KEY("\x94\x00\xce")) ||
        !is_at(m, AT_ID, KEY("\xa9order.put\x91\x88\xa2id\xcf")) ||
        !is_at(m, AT_SYMBOL, KEY("\xa6symbol\xa8")) ||
        !is_at(m, AT_ACCOUNT,
               KEY("\xa7"
                   "account\xb0")) ||
        !is_at(m, AT_TIME, KEY("\xa7time_ns\xcf")) || !is_at(m, AT_PRICE, KEY("\xa5price\xcb")) ||
        !is_at(m, AT_QUANTITY, KEY("\xa8quantity\xce")) ||
        !is_at(m, AT_BUY,
               KEY("\xa3"
                   "buy")) ||
        (m[AT_BUY] & 0xfe) != 0xc2 || !is_at(m, AT_NOTE, KEY("\xa4note\xd9\x65")))
        return false;
    ret->id = load64(m + AT_ID);
    ret->symbol = m + AT_SYMBOL;
    ret->symbol_bytes = 8;
    ret->account = m + AT_ACCOUNT;
    ret->account_bytes = 16;
    ret->time_ns = (int64_t)load64(m + AT_TIME);
    memcpy(&ret->price, &price, sizeof price);
    ret->quantity = load32(m + AT_QUANTITY);
    ret->buy = m[AT_BUY] == 0xc3;
    ret->note = m + AT_NOTE;
    ret->note_bytes = 101;
    return true;
}

/* The answer at @out; returns its size. */
static size_t write_answer(uint8_t *out, uint32_t id, const struct io_order_read *order)
{
    static const char shape[] = "\x94\x01\xce....\xc0\x83\xa2id\xcf........\xa5total\xcb........"
                                "\xa6"
                                "filled\xce....";
    double total = io_order_total(order);
    uint64_t bits;
    memcpy(&bits, &total, sizeof bits);
    memcpy(out, shape, sizeof shape - 1);
    store32(out + 3, id);
    store64(out + 13, order->id);
    store64(out + 28, bits);
    store32(out + 44, io_order_filled(order));
    return sizeof shape - 1;
}

/* The size of the message that begins at @bytes; 0: that takes more bytes to tell. */
static size_t message_size(const struct io_session *session, const uint8_t *bytes, size_t size)
{
    if (session->talk == IO_RPC)
        return REQUEST_BYTES;
    if (size < 3)
        return 0;
    return bytes[0] == 0xc4 ? 2 + (size_t)bytes[1] : 3 + ((size_t)bytes[1] << 8 | bytes[2]);
}

static int answer(struct io_session *session, const uint8_t *message, size_t size)
{
    struct io_order_read order;
    if (session->out_bytes > IO_OUT_BYTES - 512 || size > 512)
        return -ENOBUFS;
    if (session->talk == IO_ECHO) {
        memcpy(session->out + session->out_bytes, message, size);
        session->out_bytes += size;
    } else if (read_order(message, &order)) {
        session->out_bytes +=
            write_answer(session->out + session->out_bytes, load32(message + AT_RPC_ID), &order);
    } else {
        return -EBADMSG;
    }
    return session->answered != NULL ? session->answered(session) : 0;
}

/* Complete the message that has begun to come. Takes some of *bytes. */
static int take_carried(struct io_session *session, const uint8_t **bytes, size_t *size)
{
    while (*size != 0) {
        size_t whole = message_size(session, session->carry, session->carry_bytes);
        size_t wanted = whole != 0 ? whole : session->carry_bytes + 1;
        if (wanted > sizeof session->carry)
            return -EMSGSIZE;
        size_t part = wanted - session->carry_bytes;
        part = part < *size ? part : *size;
        memcpy(session->carry + session->carry_bytes, *bytes, part);
        session->carry_bytes += part;
        *bytes += part;
        *size -= part;
        if (whole != 0 && session->carry_bytes == whole) {
            session->carry_bytes = 0;
            return answer(session, session->carry, whole);
        }
    }
    return 0;
}

static int take_by_hand(struct io_session *session, const uint8_t *bytes, size_t size)
{
    int rc = 0;
    if (session->carry_bytes != 0)
        rc = take_carried(session, &bytes, &size);
    while (rc == 0 && size != 0) {
        size_t whole = message_size(session, bytes, size);
        if (whole == 0 || whole > size) {
            if (size > sizeof session->carry)
                return -EMSGSIZE;
            memcpy(session->carry, bytes, size);
            session->carry_bytes = size;
            break;
        }
        rc = answer(session, bytes, whole);
        bytes += whole;
        size -= whole;
    }
    return rc;
}

/* --- MessagePack-C ---------------------------------------------------------------------------- */

static int write_out(void *data, const char *bytes, size_t size)
{
    struct io_session *session = data;
    if (size > IO_OUT_BYTES - session->out_bytes)
        return -1;
    memcpy(session->out + session->out_bytes, bytes, size);
    session->out_bytes += size;
    return 0;
}

static bool is_key(const msgpack_object *key, const char *name, size_t size)
{
    return key->type == MSGPACK_OBJECT_STR && key->via.str.size == size &&
           memcmp(key->via.str.ptr, name, size) == 0;
}

static bool take_text(const msgpack_object *value, const uint8_t **ret, size_t *ret_bytes)
{
    *ret = (const uint8_t *)value->via.str.ptr;
    *ret_bytes = value->via.str.size;
    return value->type == MSGPACK_OBJECT_STR && *ret_bytes != 0;
}

static bool take_number(const msgpack_object *value, uint64_t *ret)
{
    *ret = value->via.u64;
    return value->type == MSGPACK_OBJECT_POSITIVE_INTEGER;
}

static bool read_pair(const msgpack_object_kv *pair, struct io_order_read *ret)
{
    const msgpack_object *value = &pair->val;
    uint64_t number;
    if (is_key(&pair->key, KEY("id")))
        return take_number(value, &ret->id);
    if (is_key(&pair->key, KEY("symbol")))
        return take_text(value, &ret->symbol, &ret->symbol_bytes);
    if (is_key(&pair->key, KEY("account")))
        return take_text(value, &ret->account, &ret->account_bytes);
    if (is_key(&pair->key, KEY("time_ns"))) {
        bool good = take_number(value, &number);
        ret->time_ns = (int64_t)number;
        return good;
    }
    if (is_key(&pair->key, KEY("price"))) {
        ret->price = value->via.f64;
        return value->type == MSGPACK_OBJECT_FLOAT64;
    }
    if (is_key(&pair->key, KEY("quantity"))) {
        bool good = take_number(value, &number) && number <= UINT32_MAX;
        ret->quantity = (uint32_t)number;
        return good;
    }
    if (is_key(&pair->key, KEY("buy"))) {
        ret->buy = value->via.boolean;
        return value->type == MSGPACK_OBJECT_BOOLEAN;
    }
    if (is_key(&pair->key, KEY("note")))
        return take_text(value, &ret->note, &ret->note_bytes);
    return true;
}

static bool read_tree(const msgpack_object *tree, uint32_t *ret_id, struct io_order_read *ret)
{
    if (tree->type != MSGPACK_OBJECT_ARRAY || tree->via.array.size != 4)
        return false;
    const msgpack_object *items = tree->via.array.ptr;
    if (items[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER || items[0].via.u64 != 0 ||
        items[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER || !is_key(&items[2], KEY("order.put")) ||
        items[3].type != MSGPACK_OBJECT_ARRAY || items[3].via.array.size != 1 ||
        items[3].via.array.ptr[0].type != MSGPACK_OBJECT_MAP)
        return false;
    *ret_id = (uint32_t)items[1].via.u64;
    const msgpack_object_map *map = &items[3].via.array.ptr[0].via.map;
    for (uint32_t i = 0; i < map->size; i++)
        if (!read_pair(&map->ptr[i], ret))
            return false;
    return map->size == 8;
}

static void pack_text(msgpack_packer *pk, const char *text, size_t size)
{
    msgpack_pack_str(pk, size);
    msgpack_pack_str_body(pk, text, size);
}

static void pack_answer(struct io_session *session, uint32_t id, const struct io_order_read *order)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, session, write_out);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_int(&pk, 1);
    msgpack_pack_uint32(&pk, id);
    msgpack_pack_nil(&pk);
    msgpack_pack_map(&pk, 3);
    pack_text(&pk, KEY("id"));
    msgpack_pack_uint64(&pk, order->id);
    pack_text(&pk, KEY("total"));
    msgpack_pack_double(&pk, io_order_total(order));
    pack_text(&pk, KEY("filled"));
    msgpack_pack_uint32(&pk, io_order_filled(order));
}

static void set_room(struct io_session *session)
{
    session->room = (uint8_t *)msgpack_unpacker_buffer(session->unpacker);
    session->room_bytes = msgpack_unpacker_buffer_capacity(session->unpacker);
}

static int take_msgpack_c(struct io_session *session, size_t size)
{
    msgpack_unpacked unpacked;
    msgpack_unpack_return got;
    int rc = 0;
    msgpack_unpacker_buffer_consumed(session->unpacker, size);
    msgpack_unpacked_init(&unpacked);
    while (rc == 0 &&
           (got = msgpack_unpacker_next(session->unpacker, &unpacked)) == MSGPACK_UNPACK_SUCCESS) {
        struct io_order_read order;
        uint32_t id = 0;
        memset(&order, 0, sizeof order);
        if (!read_tree(&unpacked.data, &id, &order))
            rc = -EBADMSG;
        else
            pack_answer(session, id, &order);
        if (rc == 0 && session->answered != NULL)
            rc = session->answered(session);
    }
    msgpack_unpacked_destroy(&unpacked);
    if (rc == 0 && got != MSGPACK_UNPACK_CONTINUE)
        rc = -EBADMSG;
    if (rc == 0 && !msgpack_unpacker_reserve_buffer(session->unpacker, IO_OUT_BYTES))
        rc = -ENOMEM;
    set_room(session);
    return rc;
}

/* --- sessions --------------------------------------------------------------------------------- */

int io_session_open(struct io_session *session, int fd, enum io_talk talk, enum io_codec codec,
                    uint8_t *room, size_t room_bytes)
{
    memset(session, 0, sizeof *session);
    session->fd = fd;
    session->talk = talk;
    session->room = room;
    session->room_bytes = room_bytes;
    session->out = malloc(IO_OUT_BYTES);
    if (codec == IO_MSGPACK_C) {
        session->unpacker = msgpack_unpacker_new(IO_OUT_BYTES);
        if (session->unpacker != NULL)
            set_room(session);
    }
    if (session->out != NULL && (codec != IO_MSGPACK_C || session->unpacker != NULL))
        return 0;
    io_session_close(session);
    return -ENOMEM;
}

void io_session_close(struct io_session *session)
{
    free(session->out);
    if (session->unpacker != NULL)
        msgpack_unpacker_free(session->unpacker);
    session->out = NULL;
    session->unpacker = NULL;
}

int io_session_take(struct io_session *session, const uint8_t *bytes, size_t size)
{
    if (session->unpacker == NULL)
        return take_by_hand(session, bytes, size);
    assert(bytes == session->room);
    return take_msgpack_c(session, size);
}
