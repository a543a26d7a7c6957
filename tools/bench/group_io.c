/* SPDX-License-Identifier: MIT */
/*
 * The group io: servers on one processor, the load on another.
 *
 * The servers of a case are started when it is first run, and live until another case's turn comes;
 * a server that has nothing to do sleeps. All connections are made before, so no peer accepts.
 */
#include "io.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "io_peers.h"

#define SERVERS_MAX 8

struct io {
    cpu_set_t cpus; /* as the program was started */
    int server_cpu; /* -1: there is one alone, for both */
    int load_cpu;
    const struct bench_case *item; /* whose servers run */
    struct io_script script;
    struct io_server servers[SERVERS_MAX];
};

/* --- contenders ------------------------------------------------------------------------------- */

#define PEER(name, serve, counts, option) static const struct io_peer name = {serve, counts, option}

PEER(weir_echo, io_weir_echo, true, 0);
PEER(weir_poll_echo, io_weir_echo, true, IO_POLLS);
PEER(hand, io_hand_serve, true, 0);
PEER(epoll, io_epoll_serve, true, 0);
PEER(epoll_each, io_epoll_serve, true, IO_WRITES_EACH);
PEER(weir_rpc, io_weir_rpc, true, 0);
PEER(epoll_msgpack, io_epoll_serve, true, IO_WITH_MSGPACK_C);
PEER(weir_stream, io_weir_stream, true, 0);
PEER(write_stream, io_calls_stream, true, 0);
PEER(sendmsg_stream, io_calls_stream, true, IO_SENDS_VECTORS);
#ifdef HAVE_UV
PEER(uv, io_uv_serve, false, 0);
PEER(uv_msgpack, io_uv_serve, false, IO_WITH_MSGPACK_C);
#endif

static int run(struct bench_round *round);

#define CONTENDER(label, peer, text)                             \
    {                                                            \
        .name = label, .note = text, .run = run, .data = &(peer) \
    }

static const struct bench_contender echoes[] = {
    CONTENDER("weir", weir_echo, "weir_conn at its defaults, over io_uring"),
    CONTENDER("uring", hand,
              "io_uring by hand to the same design: buffers by parts, one send per connection and "
              "turn, the same spinning; messages cut by their heads"),
    CONTENDER("epoll", epoll, "epoll, one write for what one read brought"),
    CONTENDER("epoll-each", epoll_each, "epoll, a write for each message"),
    CONTENDER("weir-poll", weir_poll_echo, "weir_conn over epoll"),
#ifdef HAVE_UV
    CONTENDER("libuv", uv, "libuv, one uv_try_write for what one read brought"),
#else
    {.name = "libuv", .missing = "configure did not find libuv"},
#endif
};

static const struct bench_contender rpcs[] = {
    CONTENDER("weir", weir_rpc, "weir_rpc_peer, parameter and result as records"),
    CONTENDER("uring", hand,
              "io_uring by hand, and the request compared and loaded where it lies, its shape "
              "taken for granted: a floor"),
    CONTENDER("epoll-msgpack-c", epoll_msgpack,
              "epoll and MessagePack-C: its streaming unpacker, read into its buffer, trees; one "
              "write for what one read brought"),
#ifdef HAVE_UV
    CONTENDER("libuv-msgpack-c", uv_msgpack, "the same over libuv"),
#else
    {.name = "libuv-msgpack-c", .missing = "configure did not find libuv"},
#endif
};

static const struct bench_contender streams[] = {
    CONTENDER("weir", weir_stream, "weir_conn, the bytes linked, not copied"),
    CONTENDER("uring", hand, "io_uring by hand, all answers that are due in one sendmsg"),
    CONTENDER("write", write_stream, "calls that block: head and bytes in one piece"),
    CONTENDER("sendmsg", sendmsg_stream, "calls that block: head and bytes as a vector"),
};

/* --- cases ------------------------------------------------------------------------------------ */

static const char *const figures[] = {"kmsg/s", "cpu-us/msg", "calls/msg", "p50-us",
                                      "p99-us", "p99.9-us",   NULL};

static double bytes_64k(const void *context)
{
    (void)context;
    return 65536;
}

static double bytes_1m(const void *context)
{
    (void)context;
    return 1048576;
}

#define FLOW(local, connections, depth, talk, bytes) \
    (&(const struct io_flow){local, connections, depth, talk, bytes})
#define CASE(label, what, local, connections, depth, talk, bytes, list, rate)     \
    {                                                                             \
        .name = label, .op = what, .step_ops = (uint64_t)(connections) * (depth), \
        .bytes_per_op = rate, .contenders = list,                                 \
        .contender_count = sizeof(list) / sizeof(list)[0], .figures = figures,    \
        .data = FLOW(local, connections, depth, talk, bytes)                      \
    }
#define ECHO(label, local, connections, depth, bytes) \
    CASE(label, "one message echoed", local, connections, depth, IO_ECHO, bytes, echoes, NULL)
#define RPC(label, local, connections, depth) \
    CASE(label, "one call of 231 bytes answered", local, connections, depth, IO_RPC, 0, rpcs, NULL)

static const struct bench_case cases[] = {
    ECHO("tcp-64-1x1", false, 1, 1, 64),
    ECHO("tcp-64-16x1", false, 16, 1, 64),
    ECHO("tcp-64-16x32", false, 16, 32, 64),
    ECHO("tcp-64-64x32", false, 64, 32, 64),
    ECHO("tcp-256-64x1", false, 64, 1, 256),
    ECHO("unix-64-1x1", true, 1, 1, 64),
    ECHO("unix-64-16x1", true, 16, 1, 64),
    ECHO("unix-64-16x32", true, 16, 32, 64),
    ECHO("unix-64-64x32", true, 64, 32, 64),
    ECHO("unix-256-64x1", true, 64, 1, 256),
    RPC("tcp-rpc-16x1", false, 16, 1),
    RPC("tcp-rpc-16x32", false, 16, 32),
    RPC("unix-rpc-16x1", true, 16, 1),
    RPC("unix-rpc-64x32", true, 64, 32),
    CASE("tcp-stream-64k", "one message of 64 KiB sent", false, 1, 8, IO_STREAM, 65536, streams,
         bytes_64k),
    CASE("tcp-stream-1m", "one message of 1 MiB sent", false, 1, 8, IO_STREAM, 1048576, streams,
         bytes_1m),
    CASE("unix-stream-64k", "one message of 64 KiB sent", true, 1, 8, IO_STREAM, 65536, streams,
         bytes_64k),
    CASE("unix-stream-1m", "one message of 1 MiB sent", true, 1, 8, IO_STREAM, 1048576, streams,
         bytes_1m),
};

/* --- servers ---------------------------------------------------------------------------------- */

static void pin_to(int cpu)
{
    cpu_set_t set;
    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void *serve(void *user)
{
    struct io_server *server = user;
    pin_to(server->cpu);
    int rc = server->peer->serve(server);
    __atomic_store_n(&server->error, rc, __ATOMIC_RELEASE);
    return NULL;
}

/* A connected pair over the loopback device. */
static int tcp_pair(int *ret)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof addr;
    const int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ret[0] = ret[1] = -1;
    int rc = listener < 0 || bind(listener, (struct sockaddr *)&addr, size) != 0 ||
                     listen(listener, 1) != 0 ||
                     getsockname(listener, (struct sockaddr *)&addr, &size) != 0 ||
                     (ret[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
                     connect(ret[0], (struct sockaddr *)&addr, size) != 0 ||
                     (ret[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0
                 ? -errno
                 : 0;
    for (unsigned i = 0; rc == 0 && i < 2; i++)
        rc = setsockopt(ret[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ? -errno : 0;
    if (listener >= 0)
        close(listener);
    for (unsigned i = 0; rc != 0 && i < 2; i++)
        if (ret[i] >= 0)
            close(ret[i]);
    return rc;
}

static int connect_all(struct io_server *server, int *ret_ours)
{
    for (unsigned i = 0; i < server->flow->connections; i++) {
        int pair[2];
        int rc = server->flow->is_unix ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)
                                       : tcp_pair(pair);
        if (rc != 0) {
            rc = rc == -1 ? -errno : rc;
            while (i-- != 0) {
                close(ret_ours[i]);
                close(server->fds[i]);
            }
            return rc;
        }
        ret_ours[i] = pair[0];
        server->fds[i] = pair[1];
    }
    return 0;
}

/* The descriptors of a server are its own from the moment its thread runs. */
static int start_server(struct io *io, struct io_server *server, const struct bench_case *item,
                        const struct bench_contender *contender)
{
    struct io_result result;
    int ours[IO_CONNECTIONS_MAX];
    memset(server, 0, sizeof *server);
    server->flow = item->data;
    server->peer = contender->data;
    server->script = &io->script;
    server->cpu = io->server_cpu;
    int rc = connect_all(server, ours);
    if (rc == 0)
        rc = -pthread_create(&server->thread, NULL, serve, server);
    if (rc != 0)
        return rc;
    /* A profiler tells the contenders apart by that. */
    pthread_setname_np(server->thread, contender->name);
    server->runs = true;
    pthread_getcpuclockid(server->thread, &server->clock);
    rc = io_load_open(&server->load, server->flow, &io->script, ours);
    if (rc != 0) {
        for (unsigned i = 0; i < server->flow->connections; i++)
            close(ours[i]);
        return rc;
    }
    /* What no round looks at wholly is looked at here, and all memory touched. */
    uint64_t all = (uint64_t)server->flow->connections * IO_CYCLE * 4;
    return io_load_run(server->load, server, all, true, &result);
}

static void stop_server(struct io_server *server)
{
    io_load_close(server->load);
    if (server->runs)
        pthread_join(server->thread, NULL);
    memset(server, 0, sizeof *server);
}

static void stop_all(struct io *io)
{
    for (unsigned i = 0; i < SERVERS_MAX; i++)
        stop_server(&io->servers[i]);
    io_script_free(&io->script);
    io->item = NULL;
}

static double cpu_us(const struct io_server *server)
{
    struct timespec time;
    clock_gettime(server->clock, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int measure(struct bench_round *round, struct io_server *server)
{
    struct io_result result;
    double ops = (double)round->ops;
    double cpu_before = cpu_us(server);
    uint64_t calls = __atomic_load_n(&server->calls, __ATOMIC_RELAXED);
    int rc = io_load_run(server->load, server, round->ops, false, &result);
    if (rc != 0)
        return rc;
    round->elapsed_ns = result.elapsed_ns;
    round->figures[0] = ops * 1e6 / (double)result.elapsed_ns;
    round->figures[1] = (cpu_us(server) - cpu_before) / ops;
    if (server->peer->counts_calls)
        round->figures[2] =
            (double)(__atomic_load_n(&server->calls, __ATOMIC_RELAXED) - calls) / ops;
    round->figures[3] = result.p50_us;
    round->figures[4] = result.p99_us;
    round->figures[5] = result.p999_us;
    return 0;
}

static int run(struct bench_round *round)
{
    struct io *io = round->context;
    size_t index = (size_t)(round->contender - round->item->contenders);
    int rc = 0;
    if (io->item != round->item) {
        stop_all(io);
        rc = io_script_make(&io->script, round->item->data);
        if (rc == 0)
            io->item = round->item;
    }
    pin_to(io->load_cpu);
    if (rc == 0 && !io->servers[index].runs)
        rc = start_server(io, &io->servers[index], round->item, round->contender);
    if (rc == 0)
        rc = measure(round, &io->servers[index]);
    sched_setaffinity(0, sizeof io->cpus, &io->cpus);
    return rc;
}

/* --- the group -------------------------------------------------------------------------------- */

static int setup(void **ret)
{
    struct rlimit files;
    struct io *io = calloc(1, sizeof *io);
    if (io == NULL)
        return -ENOMEM;
    /* Each contender has both ends of its connections open. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    sched_getaffinity(0, sizeof io->cpus, &io->cpus);
    io->server_cpu = io->load_cpu = -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((unsigned)cpu, &io->cpus))
            continue;
        if (io->server_cpu < 0)
            io->server_cpu = cpu;
        io->load_cpu = cpu;
    }
    *ret = io;
    return 0;
}

static void teardown(void *context)
{
    struct io *io = context;
    stop_all(io);
    free(io);
}

const struct bench_group bench_group_io = {
    .name = "io",
    .summary = "a server on one processor, the load on another",
    .cases = cases,
    .case_count = sizeof cases / sizeof cases[0],
    .setup = setup,
    .teardown = teardown,
};
