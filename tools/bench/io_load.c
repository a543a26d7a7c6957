/* SPDX-License-Identifier: MIT */
/* The load: keeps so many requests under way on each connection, and looks at every answer. */
#include "io.h"

#include <math.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io_hand.h"

/* A server that is silent for so long is broken. */
#define SILENCE_NS UINT64_C(20000000000)

/* Of a long answer's parts so much is compared, unless it is to be done thoroughly: comparing all
 * would cost more than receiving. */
#define LOOK_BYTES ((size_t)256)

/* Round trips by their time: 32 columns to each power of two of nanoseconds. */
#define TRIP_COLUMNS 32
#define TRIP_BINS (40 * TRIP_COLUMNS)

struct load_link {
    int fd;
    uint64_t left;     /* requests not yet due */
    uint64_t sent;     /* requests, in all */
    uint64_t received; /* answers, in all */
    size_t part;       /* bytes of the next answer that have come */
    size_t in_flight;  /* bytes of the send under way; 0: none */
    uint64_t due;      /* requests to send */
    uint64_t begin_ns; /* of the round trip, where one is under way at a time */
};

struct io_load {
    struct hand hand;
    const struct io_flow *flow;
    const struct io_script *script;
    struct load_link links[IO_CONNECTIONS_MAX];
    uint64_t awaited; /* answers of this round */
    bool thoroughly;
    uint64_t trips[TRIP_BINS];
};

/* The lowest bit of an entry's data tells sends from receives. */
static void *send_data(struct load_link *link)
{
    return (void *)((uintptr_t)link | 1);
}

static unsigned trip_bin(uint64_t ns)
{
    unsigned log2 = ns < TRIP_COLUMNS ? 0 : 63u - (unsigned)__builtin_clzll(ns) - 5;
    unsigned bin = log2 * TRIP_COLUMNS + (unsigned)(ns >> log2);
    return bin < TRIP_BINS ? bin : TRIP_BINS - 1;
}

static double trip_us(unsigned bin)
{
    unsigned log2 = bin < 2 * TRIP_COLUMNS ? 0 : bin / TRIP_COLUMNS - 1;
    double low = ldexp((double)(bin - log2 * TRIP_COLUMNS), (int)log2);
    return (low + ldexp(0.5, (int)log2)) / 1000;
}

static double trip_quantile(const struct io_load *load, double part)
{
    uint64_t count = 0;
    uint64_t below = 0;
    for (unsigned i = 0; i < TRIP_BINS; i++)
        count += load->trips[i];
    for (unsigned i = 0; i < TRIP_BINS; i++) {
        below += load->trips[i];
        if (below != 0 && (double)below >= part * (double)count)
            return trip_us(i);
    }
    return (double)NAN;
}

static void send_due(struct io_load *load, struct load_link *link)
{
    if (link->in_flight != 0 || link->due == 0)
        return;
    const struct io_script *script = load->script;
    size_t first = (size_t)(link->sent % IO_CYCLE) * script->request_bytes;
    link->in_flight = (size_t)link->due * script->request_bytes;
    link->sent += link->due;
    link->due = 0;
    if (load->flow->depth == 1)
        link->begin_ns = bench_now_ns();
    hand_send(&load->hand, link->fd, script->requests + first, link->in_flight, send_data(link));
}

/* Compare what came with what is to come. */
static int compare(struct io_load *load, struct load_link *link, const uint8_t *bytes, size_t size)
{
    const struct io_script *script = load->script;
    while (size != 0) {
        size_t left = script->answer_bytes - link->part;
        size_t part = size < left ? size : left;
        size_t look = load->thoroughly || part < LOOK_BYTES ? part : LOOK_BYTES;
        const uint8_t *answer =
            script->answers +
            (size_t)(link->received % script->answer_count) * script->answer_bytes + link->part;
        if (memcmp(bytes, answer, look) != 0) {
            bench_complain("io: answer %llu of a connection is wrong",
                           (unsigned long long)link->received);
            return -EBADMSG;
        }
        bytes += part;
        size -= part;
        link->part += part;
        if (link->part != script->answer_bytes)
            break;
        link->part = 0;
        link->received++;
        load->awaited--;
        if (link->left != 0) {
            link->left--;
            link->due++;
        }
    }
    return 0;
}

static int on_received(struct io_load *load, struct load_link *link, const struct io_uring_cqe *cqe)
{
    uint64_t before = link->received;
    if (cqe->res > 0) {
        int rc = compare(load, link, hand_received(&load->hand, cqe), (size_t)cqe->res);
        hand_give_back(&load->hand, cqe);
        if (rc != 0)
            return rc;
    } else if (cqe->res != -ENOBUFS) {
        bench_complain("io: a server closed a connection");
        return cqe->res != 0 ? cqe->res : -EPIPE;
    }
    if (load->flow->depth == 1 && link->received != before)
        load->trips[trip_bin(bench_now_ns() - link->begin_ns)]++;
    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        hand_receive(&load->hand, link->fd, link);
    return 0;
}

static int drain(struct io_load *load)
{
    struct io_uring_cqe *cqes[64];
    struct load_link *touched[64];
    unsigned count = io_uring_peek_batch_cqe(&load->hand.uring, cqes, 64);
    for (unsigned i = 0; i < count; i++) {
        uintptr_t data = (uintptr_t)io_uring_cqe_get_data(cqes[i]);
        struct load_link *link = (struct load_link *)(data & ~(uintptr_t)1);
        int rc = 0;
        if ((data & 1) == 0)
            rc = on_received(load, link, cqes[i]);
        else if (cqes[i]->res != (int)link->in_flight)
            rc = cqes[i]->res < 0 ? cqes[i]->res : -EPIPE;
        else
            link->in_flight = 0;
        if (rc != 0)
            return rc;
        touched[i] = link;
    }
    io_uring_cq_advance(&load->hand.uring, count);
    for (unsigned i = 0; i < count; i++)
        send_due(load, touched[i]);
    return 0;
}

int io_load_run(struct io_load *load, const struct io_server *server, uint64_t ops, bool thoroughly,
                struct io_result *ret)
{
    const struct io_flow *flow = load->flow;
    uint64_t each = ops / flow->connections;
    int rc = 0;
    load->awaited = each * flow->connections;
    load->thoroughly = thoroughly;
    memset(load->trips, 0, sizeof load->trips);
    uint64_t begin = bench_now_ns();
    for (unsigned i = 0; i < flow->connections; i++) {
        struct load_link *link = &load->links[i];
        link->due = each < flow->depth ? each : flow->depth;
        link->left = each - link->due;
        send_due(load, link);
    }
    while (rc == 0 && load->awaited != 0) {
        rc = hand_wait(&load->hand, SILENCE_NS, false);
        if (rc == 0)
            rc = drain(load);
    }
    ret->elapsed_ns = bench_now_ns() - begin;
    if (__atomic_load_n(&server->error, __ATOMIC_ACQUIRE) != 0)
        rc = server->error;
    ret->p50_us = ret->p99_us = ret->p999_us = (double)NAN;
    if (flow->depth == 1) {
        ret->p50_us = trip_quantile(load, 0.5);
        ret->p99_us = trip_quantile(load, 0.99);
        ret->p999_us = trip_quantile(load, 0.999);
    }
    return rc;
}

int io_load_open(struct io_load **ret, const struct io_flow *flow, const struct io_script *script,
                 const int *fds)
{
    struct io_load *load = calloc(1, sizeof *load);
    if (load == NULL)
        return -ENOMEM;
    load->flow = flow;
    load->script = script;
    int rc = hand_open(&load->hand);
    if (rc != 0) {
        bench_complain("io: the load needs io_uring, as of kernel 6.1");
        free(load);
        return rc;
    }
    for (unsigned i = 0; i < flow->connections; i++) {
        load->links[i].fd = fds[i];
        hand_receive(&load->hand, fds[i], &load->links[i]);
    }
    *ret = load;
    return 0;
}

void io_load_close(struct io_load *load)
{
    if (load == NULL)
        return;
    /* Closing alone would send no end while the kernel has receives. */
    for (unsigned i = 0; i < load->flow->connections; i++)
        shutdown(load->links[i].fd, SHUT_RDWR);
    hand_close(&load->hand);
    for (unsigned i = 0; i < load->flow->connections; i++)
        close(load->links[i].fd);
    free(load);
}
