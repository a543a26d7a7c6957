/* SPDX-License-Identifier: MIT */
/*
 * The steady state allocates nothing: a service and its client, each a connection, exchange
 * messages, each of which the service also writes to a file. Once warm, not one call of malloc,
 * calloc, realloc or mmap, and none of the pool's source.
 */
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <weir/conn.h>
#include <weir/rpc.h>

/* --- counting --------------------------------------------------------------------------------- */

/* A sanitizer brings its own malloc; there only the pool's counters are looked at. */
#define COUNTS_MALLOC (!TEST_ASAN && !TEST_TSAN)

/* Volatile: the compiler knows what malloc does, and that it touches no variable of ours. */
static volatile unsigned long allocations;

#if COUNTS_MALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    allocations++;
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    allocations++;
    return __libc_memalign(align, size);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    allocations++;
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}
#endif

/* --- the service ------------------------------------------------------------------------------ */

#define WINDOW 32

struct service {
    struct weir_conn conn;
    struct weir_ring *ring;
    struct weir_op writes[WINDOW];
    unsigned next_write;
    unsigned writing;
    unsigned closed;
    int file;
    uint64_t written_bytes;
    uint64_t bad;
};

static void written(struct weir_op *op)
{
    struct service *service = op->user;
    service->writing--;
    if (op->result > 0)
        service->written_bytes += (uint64_t)op->result;
    else
        service->bad++;
    if (service->writing == 0)
        weir_conn_resume(&service->conn);
}

static void serve(struct weir_conn *conn, const struct weir_slice *message)
{
    struct service *service = conn->user;
    struct weir_rpc_message m;
    struct weir_packer p;

    if (weir_rpc_parse(message->view, &m, NULL) != 0 || m.kind != WEIR_RPC_REQUEST) {
        service->bad++;
        return;
    }
    struct weir_op *op = &service->writes[service->next_write++ % WINDOW];
    if (weir_op_is_active(op) ||
        weir_file_write(service->ring, op, service->file, message, WEIR_FILE_POSITION) != 0)
        service->bad++;
    else
        service->writing++;
    weir_pack_begin(&p, weir_conn_out(conn), 0);
    weir_rpc_result(&p, m.id);
    weir_pack_raw(&p, m.params);
    if (weir_pack_end(&p, NULL) != 0)
        service->bad++;
    weir_conn_flush(conn);
    /* Writes complete in any order: all of them before the first op is used again. */
    if (service->next_write % WINDOW == 0 && service->writing != 0)
        weir_conn_pause(conn);
}

static void service_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    struct service *service = conn->user;
    (void)why;
    service->closed++;
}

/* --- the client ------------------------------------------------------------------------------- */

struct client {
    struct weir_conn conn;
    struct test_random random;
    uint32_t sent;
    uint32_t answered;
    uint32_t wanted; /* answers to come before it rests */
    uint64_t sizes[WINDOW];
    unsigned closed;
    uint64_t bad;
};

static uint8_t filler[4096];

static void ask(struct client *client)
{
    struct weir_packer p;
    while (client->sent < client->wanted && client->sent - client->answered < WINDOW) {
        size_t size = 1 + test_random_size(&client->random, sizeof filler - 1);
        client->sizes[client->sent % WINDOW] = size;
        weir_pack_begin(&p, weir_conn_out(&client->conn), 0);
        weir_rpc_request(&p, client->sent, weir_view_text("echo"), 1);
        weir_pack_bin(&p, weir_view_of(filler, size));
        if (weir_pack_end(&p, NULL) != 0)
            client->bad++;
        client->sent++;
    }
    weir_conn_flush(&client->conn);
}

static void answer(struct weir_conn *conn, const struct weir_slice *message)
{
    struct client *client = conn->user;
    struct weir_rpc_message m;
    struct weir_unpacker u;
    struct weir_view bytes = weir_view_of(NULL, 0);

    if (weir_rpc_parse(message->view, &m, NULL) != 0 || m.kind != WEIR_RPC_RESPONSE ||
        m.id != client->answered || m.failed) {
        client->bad++;
        return;
    }
    weir_unpack_init(&u, m.result, NULL);
    weir_unpack_bin(&u, &bytes);
    client->bad += weir_unpack_end(&u) != 0 ||
                   bytes.size != client->sizes[client->answered % WINDOW] ||
                   memcmp(bytes.data, filler, bytes.size) != 0;
    client->answered++;
    ask(client);
}

static void client_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    struct client *client = conn->user;
    (void)why;
    client->closed++;
}

/* --- the test --------------------------------------------------------------------------------- */

static void exchange(struct io *io, struct service *service, struct client *client, uint32_t count)
{
    client->wanted += count;
    ask(client);
    while (client->answered < client->wanted || service->writing != 0)
        if (io_wait(io, 100 * 1000000) < 0)
            client->bad++;
}

static void a_warm_service_allocates_nothing(void **state)
{
    static const struct weir_conn_handlers serving = {serve, NULL, service_closed};
    static const struct weir_conn_handlers asking = {answer, NULL, client_closed};
    static struct service service;
    static struct client client;
    struct weir_pool_stats warm, after;
    struct io io;
    char dir[64], path[80];
    int fds[2];

    (void)state;
    if (COUNTS_MALLOC) {
        /* The counter counts. */
        unsigned long before = allocations;
        void *volatile memory = malloc(10);
        free(memory);
        assert_int_equal(allocations, before + 1);
    }
    memset(&service, 0, sizeof service);
    memset(&client, 0, sizeof client);
    io_open(&io, NULL, NULL);
    io_make_dir(dir);
    snprintf(path, sizeof path, "%s/log", dir);
    assert_int_equal(weir_file_open(path, O_WRONLY | O_CREAT | O_APPEND, 0600, &service.file), 0);
    test_fill(filler, sizeof filler, 1);
    test_random_init(&client.random);
    io_pair(fds, false);
    service.ring = io.ring;
    for (unsigned i = 0; i < WINDOW; i++)
        weir_op_init(&service.writes[i], written, &service);
    assert_int_equal(weir_conn_init(&service.conn, io.ring, fds[0], &serving, NULL, &service), 0);
    assert_int_equal(weir_conn_init(&client.conn, io.ring, fds[1], &asking, NULL, &client), 0);

    exchange(&io, &service, &client, 5000);
    weir_pool_stats(io.pool, &warm);
    unsigned long counted = allocations;
    exchange(&io, &service, &client, 50000);
    counted = allocations - counted;
    weir_pool_stats(io.pool, &after);

    assert_int_equal(client.bad, 0);
    assert_int_equal(service.bad, 0);
    assert_int_equal(counted, 0);
    assert_int_equal(after.source_calls, warm.source_calls);
    assert_int_equal(after.total.misses, warm.total.misses);
    assert_int_equal(after.bytes_held, warm.bytes_held);
    /* Polling, what nobody keeps is received into the same block again. */
    if (io_backend == WEIR_BACKEND_URING)
        assert_true(after.total.hits > warm.total.hits);
    /* What is written is the message itself, where it was received. */
    struct weir_conn_stats stats = weir_conn_stats(&service.conn);
    assert_int_equal(service.written_bytes, stats.in.bytes);
    weir_conn_finish(&client.conn);
    io_until(&io, &client.closed, 1);
    io_until(&io, &service.closed, 1);
    close(service.file);
    io_remove_dir(dir);
    io_close(&io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_warm_service_allocates_nothing),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
