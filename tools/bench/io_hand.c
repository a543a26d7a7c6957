/* SPDX-License-Identifier: MIT */
/* Peers over io_uring, written by hand. */
#include "io_hand.h"
#include "io.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* As long as weir's rings look before they sleep. */
#define SPIN_NS 20000

#define STREAM_IOVECS (2 * IO_CYCLE)

struct hand_link {
    struct io_session session;
    struct hand_peer *peer;
    struct hand_link *next; /* of those that have something to do at the end of the turn */
    uint8_t *other;         /* the other buffer of two, under way or to be filled */
    size_t in_flight;       /* bytes of it under way; 0: none */
    bool queued;
    bool receives; /* a receive is armed */
};

struct hand_peer {
    struct io_server *server;
    struct hand hand;
    struct hand_link links[IO_CONNECTIONS_MAX];
    struct hand_link *queue;
    unsigned open;
    /* of a stream */
    uint64_t due;
    size_t asked_bytes;
    struct iovec iov[STREAM_IOVECS];
    struct msghdr msg;
};

static void *send_data(struct hand_link *link)
{
    return (void *)((uintptr_t)link | 1);
}

static void queue(struct hand_peer *peer, struct hand_link *link)
{
    if (link->queued)
        return;
    link->queued = true;
    link->next = peer->queue;
    peer->queue = link;
}

/* Answers of a turn leave in one send; while that is under way the next ones are gathered. */
static void start_send(struct hand_peer *peer, struct hand_link *link)
{
    struct io_session *session = &link->session;
    if (link->in_flight != 0 || session->out_bytes == 0)
        return;
    uint8_t *bytes = session->out;
    link->in_flight = session->out_bytes;
    session->out = link->other;
    session->out_bytes = 0;
    link->other = bytes;
    hand_send(&peer->hand, session->fd, bytes, link->in_flight, send_data(link));
}

/* All answers that are due, each a head and bytes that lie apart, in one send. */
static void start_stream(struct hand_peer *peer, struct hand_link *link)
{
    const struct io_script *script = peer->server->script;
    unsigned count = 0;
    if (link->in_flight != 0 || peer->due == 0)
        return;
    for (; peer->due != 0; peer->due--) {
        peer->iov[count++] = (struct iovec){script->answers, 5};
        peer->iov[count++] = (struct iovec){script->answers + 5, script->answer_bytes - 5};
        link->in_flight += script->answer_bytes;
    }
    memset(&peer->msg, 0, sizeof peer->msg);
    peer->msg.msg_iov = peer->iov;
    peer->msg.msg_iovlen = count;
    struct io_uring_sqe *sqe = hand_entry(&peer->hand);
    io_uring_prep_sendmsg(sqe, link->session.fd, &peer->msg, MSG_WAITALL | MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, send_data(link));
}

static int take(struct hand_peer *peer, struct hand_link *link, const uint8_t *bytes, size_t size)
{
    if (peer->server->flow->talk != IO_STREAM)
        return io_session_take(&link->session, bytes, size);
    peer->asked_bytes += size;
    for (; peer->asked_bytes >= peer->server->script->request_bytes; peer->due++)
        peer->asked_bytes -= peer->server->script->request_bytes;
    return 0;
}

static int on_received(struct hand_peer *peer, struct hand_link *link,
                       const struct io_uring_cqe *cqe)
{
    int rc = 0;
    if (cqe->res > 0) {
        rc = take(peer, link, hand_received(&peer->hand, cqe), (size_t)cqe->res);
        hand_give_back(&peer->hand, cqe);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        link->receives = cqe->res > 0 || cqe->res == -ENOBUFS;
        if (link->receives)
            hand_receive(&peer->hand, link->session.fd, link);
        else
            peer->open--;
    }
    return rc;
}

static int drain(struct hand_peer *peer)
{
    struct io_uring_cqe *cqes[64];
    int rc = 0;
    unsigned count = io_uring_peek_batch_cqe(&peer->hand.uring, cqes, 64);
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        uintptr_t data = (uintptr_t)io_uring_cqe_get_data(cqes[i]);
        struct hand_link *link = (struct hand_link *)(data & ~(uintptr_t)1);
        if ((data & 1) == 0)
            rc = on_received(peer, link, cqes[i]);
        else
            link->in_flight = 0;
        queue(peer, link);
    }
    io_uring_cq_advance(&peer->hand.uring, count);
    return rc;
}

static int run(struct hand_peer *peer)
{
    bool streams = peer->server->flow->talk == IO_STREAM;
    while (peer->open != 0) {
        int rc = hand_wait(&peer->hand, SPIN_NS, true);
        if (rc == 0)
            rc = drain(peer);
        if (rc != 0)
            return rc;
        while (peer->queue != NULL) {
            struct hand_link *link = peer->queue;
            peer->queue = link->next;
            link->queued = false;
            if (!link->receives)
                continue;
            if (streams)
                start_stream(peer, link);
            else
                start_send(peer, link);
        }
        io_count_calls(peer->server, peer->hand.calls);
    }
    return 0;
}

int io_hand_serve(struct io_server *server)
{
    struct hand_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return -ENOMEM;
    peer->server = server;
    peer->open = server->flow->connections;
    int rc = hand_open(&peer->hand);
    for (unsigned i = 0; rc == 0 && i < server->flow->connections; i++) {
        struct hand_link *link = &peer->links[i];
        link->peer = peer;
        rc = io_session_open(&link->session, server->fds[i], server->flow->talk, IO_BY_HAND, NULL,
                             0);
        link->other = malloc(IO_OUT_BYTES);
        if (rc == 0 && link->other == NULL)
            rc = -ENOMEM;
        link->receives = true;
        hand_receive(&peer->hand, server->fds[i], link);
    }
    if (rc == 0)
        rc = run(peer);
    hand_close(&peer->hand);
    for (unsigned i = 0; i < server->flow->connections; i++) {
        io_session_close(&peer->links[i].session);
        free(peer->links[i].other);
        close(server->fds[i]);
    }
    free(peer);
    return rc;
}
