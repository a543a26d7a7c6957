/* SPDX-License-Identifier: MIT */
/* weir as a peer: connections of messages, at its defaults. */
#include "io.h"
#include "io_peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir.h>

#define ORDER_FIELDS(F, R) \
    F(R, u64, id)          \
    F(R, str, symbol)      \
    F(R, str, account)     \
    F(R, i64, time_ns)     \
    F(R, f64, price)       \
    F(R, u32, quantity)    \
    F(R, bool, buy)        \
    F(R, str, note)
WEIR_RECORD(order, ORDER_FIELDS);

#define PLACED_FIELDS(F, R) \
    F(R, u64, id)           \
    F(R, f64, total)        \
    F(R, u32, filled)
WEIR_RECORD(placed, PLACED_FIELDS);

struct weir_peer {
    struct io_server *server;
    struct weir_ring *ring;
    struct weir_slice payload; /* of a stream's answer, without its head */
    unsigned open;
    int error;
    union {
        struct weir_conn conn;
        struct weir_rpc_peer rpc;
    } links[IO_CONNECTIONS_MAX];
};

static void end_answer(struct weir_conn *conn, struct weir_packer *p)
{
    int rc = weir_pack_end(p, NULL);
    if (rc == 0)
        weir_conn_flush(conn);
    else
        weir_conn_abort(conn, rc, "no memory for an answer");
}

static void on_echo(struct weir_conn *conn, const struct weir_slice *message)
{
    struct weir_packer p;
    weir_pack_begin(&p, weir_conn_out(conn), 0);
    weir_pack_raw(&p, message->view);
    end_answer(conn, &p);
}

static void on_ask(struct weir_conn *conn, const struct weir_slice *message)
{
    struct weir_peer *peer = conn->user;
    struct weir_packer p;
    (void)message;
    weir_pack_begin(&p, weir_conn_out(conn), 0);
    weir_pack_bin_slice(&p, &peer->payload);
    end_answer(conn, &p);
}

static const char *place(struct weir_rpc_request *request, const struct order *order,
                         struct placed *ret)
{
    struct io_order_read read = {
        .id = order->id,
        .symbol = order->symbol.data,
        .symbol_bytes = order->symbol.size,
        .account = order->account.data,
        .account_bytes = order->account.size,
        .note = order->note.data,
        .note_bytes = order->note.size,
        .time_ns = order->time_ns,
        .price = order->price,
        .quantity = order->quantity,
        .buy = order->buy,
    };
    (void)request;
    if (read.symbol_bytes == 0 || read.account_bytes == 0 || read.note_bytes == 0)
        return "an empty text";
    ret->id = order->id;
    ret->total = io_order_total(&read);
    ret->filled = io_order_filled(&read);
    return NULL;
}
WEIR_RPC_METHOD(order_put, place, order, placed)

static const struct weir_rpc_method methods[] = {{"order.put", order_put}};

static void closed(struct weir_peer *peer, const struct weir_fault *why)
{
    if (why->error != 0 && why->error != -ECONNRESET && why->error != -EPIPE && peer->error == 0)
        peer->error = why->error;
    peer->open--;
}

static void on_rpc_closed(struct weir_rpc_peer *rpc, const struct weir_fault *why)
{
    closed(rpc->user, why);
}

static void on_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    closed(conn->user, why);
}

/* The bytes that every answer of a stream has behind its head. */
static int make_payload(struct weir_peer *peer, struct weir_pool *pool)
{
    const struct io_script *script = peer->server->script;
    struct weir_block *block;
    size_t size = script->answer_bytes - (script->answer_bytes < 3 + 65536 ? 3 : 5);
    int rc = weir_pool_alloc(pool, size, &block);
    if (rc != 0)
        return rc;
    memcpy(block->data, script->answers + script->answer_bytes - size, size);
    peer->payload = weir_slice_adopt(weir_view_of(block->data, size), block);
    return 0;
}

/* @handlers NULL: calls. */
static int open_link(struct weir_peer *peer, unsigned index,
                     const struct weir_conn_handlers *handlers)
{
    static const struct weir_rpc_peer_options options = {
        .methods = methods,
        .method_count = 1,
        .closed = on_rpc_closed,
    };
    int fd = peer->server->fds[index];
    if (handlers == NULL)
        return weir_rpc_peer_init(&peer->links[index].rpc, peer->ring, fd, &options, peer);
    return weir_conn_init(&peer->links[index].conn, peer->ring, fd, handlers, NULL, peer);
}

static int run(struct weir_peer *peer, const struct weir_conn_handlers *handlers)
{
    struct io_server *server = peer->server;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < server->flow->connections; i++) {
        rc = open_link(peer, i, handlers);
        peer->open += rc == 0;
    }
    while (rc == 0 && peer->open != 0) {
        rc = weir_ring_run(peer->ring, -1);
        rc = rc < 0 && rc != -EINTR ? rc : 0;
        io_count_calls(server, weir_ring_stats(peer->ring).enters);
    }
    return rc != 0 ? rc : peer->error;
}

static int serve(struct io_server *server, const struct weir_conn_handlers *handlers)
{
    struct weir_ring_options options = {
        .backend = (server->peer->option & IO_POLLS) != 0 ? WEIR_BACKEND_POLL : WEIR_BACKEND_URING};
    struct weir_pool *pool = NULL;
    struct weir_peer *peer = calloc(1, sizeof *peer);
    int rc = peer == NULL ? -ENOMEM : weir_pool_create(NULL, &pool);
    if (rc == 0) {
        peer->server = server;
        rc = weir_ring_create(pool, &options, &peer->ring);
    }
    if (rc == 0 && server->flow->talk == IO_STREAM)
        rc = make_payload(peer, pool);
    if (rc == 0)
        rc = run(peer, handlers);
    if (peer != NULL) {
        weir_ring_destroy(peer->ring);
        weir_slice_drop(&peer->payload);
    }
    if (weir_pool_destroy(pool) != 0 && rc == 0)
        rc = -EBUSY;
    free(peer);
    return rc;
}

int io_weir_echo(struct io_server *server)
{
    static const struct weir_conn_handlers handlers = {on_echo, NULL, on_closed};
    return serve(server, &handlers);
}

int io_weir_rpc(struct io_server *server)
{
    return serve(server, NULL);
}

int io_weir_stream(struct io_server *server)
{
    static const struct weir_conn_handlers handlers = {on_ask, NULL, on_closed};
    return serve(server, &handlers);
}
