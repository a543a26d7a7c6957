/* SPDX-License-Identifier: MIT */
/* Peers over epoll, and over calls that block. */
#include "io.h"
#include "io_peers.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define EVENTS 64

struct epoll_peer {
    struct io_server *server;
    struct io_session sessions[IO_CONNECTIONS_MAX];
    uint8_t room[IO_OUT_BYTES];
    uint64_t calls;
};

static int write_all(struct io_session *session)
{
    struct epoll_peer *peer = session->user;
    size_t done = 0;
    while (done != session->out_bytes) {
        peer->calls++;
        ssize_t n = send(session->fd, session->out + done, session->out_bytes - done,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            /* The load takes its answers at once: this is rare. */
            struct pollfd wait = {.fd = session->fd, .events = POLLOUT};
            poll(&wait, 1, -1);
            peer->calls++;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    session->out_bytes = 0;
    return 0;
}

/* One read, as epoll reports levels. Returns 1 at the end, 0, or a negative errno. */
static int serve_one(struct epoll_peer *peer, struct io_session *session)
{
    peer->calls++;
    ssize_t n = recv(session->fd, session->room, session->room_bytes, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : errno == ECONNRESET ? 1 : -errno;
    if (n == 0)
        return 1;
    int rc = io_session_take(session, session->room, (size_t)n);
    return rc == 0 && session->out_bytes != 0 ? write_all(session) : rc;
}

static int run(struct epoll_peer *peer, int epoll)
{
    unsigned open = peer->server->flow->connections;
    struct epoll_event events[EVENTS];
    while (open != 0) {
        peer->calls++;
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct io_session *session = events[i].data.ptr;
            int rc = serve_one(peer, session);
            if (rc < 0)
                return rc;
            if (rc == 0)
                continue;
            epoll_ctl(epoll, EPOLL_CTL_DEL, session->fd, NULL);
            open--;
        }
        io_count_calls(peer->server, peer->calls);
    }
    return 0;
}

int io_epoll_serve(struct io_server *server)
{
    unsigned option = server->peer->option;
    enum io_codec codec = (option & IO_WITH_MSGPACK_C) != 0 ? IO_MSGPACK_C : IO_BY_HAND;
    struct epoll_peer *peer = calloc(1, sizeof *peer);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int rc = peer == NULL ? -ENOMEM : epoll < 0 ? -errno : 0;
    for (unsigned i = 0; rc == 0 && i < server->flow->connections; i++) {
        struct io_session *session = &peer->sessions[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};
        peer->server = server;
        rc = io_session_open(session, server->fds[i], server->flow->talk, codec, peer->room,
                             sizeof peer->room);
        session->user = peer;
        if ((option & IO_WRITES_EACH) != 0)
            session->answered = write_all;
        if (rc == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, server->fds[i], &event) != 0)
            rc = -errno;
    }
    if (rc == 0)
        rc = run(peer, epoll);
    for (unsigned i = 0; i < server->flow->connections; i++) {
        if (peer != NULL)
            io_session_close(&peer->sessions[i]);
        close(server->fds[i]);
    }
    if (epoll >= 0)
        close(epoll);
    free(peer);
    return rc;
}

/* --- streams ---------------------------------------------------------------------------------- */

static int send_answer(struct io_server *server, uint64_t *calls)
{
    const struct io_script *script = server->script;
    size_t done = 0;
    while (done != script->answer_bytes) {
        struct iovec iov[2] = {{script->answers + done, 5 - done},
                               {script->answers + 5, script->answer_bytes - 5}};
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
        ssize_t n;
        ++*calls;
        /* The head and the bytes, as they lie apart in a program that has them so. */
        if (done < 5 && (server->peer->option & IO_SENDS_VECTORS) != 0)
            n = sendmsg(server->fds[0], &msg, MSG_NOSIGNAL);
        else
            n = send(server->fds[0], script->answers + done, script->answer_bytes - done,
                     MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int io_calls_stream(struct io_server *server)
{
    uint8_t room[4096];
    uint64_t calls = 0;
    size_t got = 0;
    int rc = 0;
    while (rc == 0) {
        calls++;
        ssize_t n = recv(server->fds[0], room, sizeof room, 0);
        if (n <= 0)
            break;
        for (got += (size_t)n; rc == 0 && got >= server->script->request_bytes;
             got -= server->script->request_bytes)
            rc = send_answer(server, &calls);
        io_count_calls(server, calls);
    }
    close(server->fds[0]);
    return rc;
}
