/* SPDX-License-Identifier: MIT */
/* A peer over libuv: what one read brought is answered with one write. */
#include "io.h"
#include "io_peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct uv_link {
    struct io_session session;
    struct uv_peer *peer;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } as;
    uv_write_t write;
};

struct uv_peer {
    uv_loop_t loop;
    struct uv_link links[IO_CONNECTIONS_MAX];
    uint8_t room[IO_OUT_BYTES];
    int error;
};

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct uv_link *link = handle->data;
    (void)suggested;
    *ret = uv_buf_init((char *)link->session.room, (unsigned)link->session.room_bytes);
}

static void fail(struct uv_peer *peer, int error)
{
    if (peer->error == 0)
        peer->error = error;
    uv_stop(&peer->loop);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);

static void on_written(uv_write_t *write, int status)
{
    struct uv_link *link = write->data;
    link->session.out_bytes = 0;
    if (status != 0)
        fail(link->peer, status);
    else
        uv_read_start(&link->as.stream, on_room, on_read);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct uv_link *link = stream->data;
    struct io_session *session = &link->session;
    if (size == 0)
        return;
    if (size < 0) {
        uv_close(&link->as.handle, NULL);
        return;
    }
    int rc = io_session_take(session, (const uint8_t *)buf->base, (size_t)size);
    if (rc != 0)
        fail(link->peer, rc);
    if (rc != 0 || session->out_bytes == 0)
        return;
    uv_buf_t out = uv_buf_init((char *)session->out, (unsigned)session->out_bytes);
    rc = uv_try_write(stream, &out, 1);
    if (rc == (int)session->out_bytes) {
        session->out_bytes = 0;
        return;
    }
    /* What did not leave at once: read no more until it has. */
    size_t done = rc > 0 ? (size_t)rc : 0;
    out = uv_buf_init((char *)session->out + done, (unsigned)(session->out_bytes - done));
    uv_read_stop(stream);
    rc = uv_write(&link->write, stream, &out, 1, on_written);
    if (rc != 0)
        fail(link->peer, rc);
}

static int open_link(struct uv_peer *peer, struct io_server *server, unsigned index)
{
    struct uv_link *link = &peer->links[index];
    bool with_msgpack_c = (server->peer->option & IO_WITH_MSGPACK_C) != 0;
    int rc =
        io_session_open(&link->session, server->fds[index], server->flow->talk,
                        with_msgpack_c ? IO_MSGPACK_C : IO_BY_HAND, peer->room, sizeof peer->room);
    if (rc != 0)
        return rc;
    if (server->flow->is_unix) {
        uv_pipe_init(&peer->loop, &link->as.pipe, 0);
        rc = uv_pipe_open(&link->as.pipe, server->fds[index]);
    } else {
        uv_tcp_init(&peer->loop, &link->as.tcp);
        rc = uv_tcp_open(&link->as.tcp, server->fds[index]);
    }
    link->peer = peer;
    link->as.handle.data = link;
    link->write.data = link;
    return rc == 0 ? uv_read_start(&link->as.stream, on_room, on_read) : rc;
}

static void close_one(uv_handle_t *handle, void *user)
{
    (void)user;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

int io_uv_serve(struct io_server *server)
{
    struct uv_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return -ENOMEM;
    int rc = uv_loop_init(&peer->loop);
    for (unsigned i = 0; rc == 0 && i < server->flow->connections; i++)
        rc = open_link(peer, server, i);
    if (rc == 0)
        uv_run(&peer->loop, UV_RUN_DEFAULT);
    if (rc == 0)
        rc = peer->error;
    uv_walk(&peer->loop, close_one, NULL);
    uv_run(&peer->loop, UV_RUN_DEFAULT);
    uv_loop_close(&peer->loop);
    for (unsigned i = 0; i < server->flow->connections; i++)
        io_session_close(&peer->links[i].session);
    free(peer);
    return rc;
}
