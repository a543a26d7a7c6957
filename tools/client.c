/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir/sock.h>
#include <weir/unpack.h>

#include "address.h"
#include "report.h"

/* Connecting: two requests, of which the first to end ends the other. */
struct attempt {
    struct weir_op connect;
    struct weir_op timer;
};

static void on_connect(struct weir_op *op)
{
    struct attempt *attempt = op->user;
    weir_op_cancel(&attempt->timer);
}

static void on_timer(struct weir_op *op)
{
    struct attempt *attempt = op->user;
    weir_op_cancel(&attempt->connect);
}

static int try_connect(struct weir_ring *ring, int fd, const struct weir_addr *addr,
                       int64_t timeout_ns)
{
    struct attempt attempt;
    weir_op_init(&attempt.connect, on_connect, &attempt);
    weir_op_init(&attempt.timer, on_timer, &attempt);
    int rc = weir_sock_connect(ring, &attempt.connect, fd, addr);
    if (rc == 0)
        rc = weir_ring_timeout(ring, &attempt.timer, timeout_ns);
    while (weir_op_is_active(&attempt.connect) || weir_op_is_active(&attempt.timer)) {
        int turn = weir_ring_run(ring, -1);
        if (turn < 0 && turn != -EINTR)
            rc = turn;
    }
    if (rc == 0)
        rc = attempt.connect.result;
    /* What a cancelled connect says depends on where it was: ECANCELED, EINTR. */
    return rc != 0 && attempt.timer.result == 0 ? -ETIMEDOUT : rc;
}

/* Names and sockets: returns 0 and a connected descriptor. */
static int connect_to(struct client *client, int64_t timeout_ns, int *ret_fd)
{
    struct weir_addr addr;
    const char *why = NULL;
    int fd;
    int rc = address_resolve(client->address, &addr, &why);
    if (rc != 0) {
        if (rc == -EHOSTUNREACH)
            report_error(client->command, "%s: %s", client->address, why);
        else
            report_usage(client->command, "%s: %s", client->address, why);
        return rc == -EHOSTUNREACH ? EX_NOHOST : EX_USAGE;
    }
    rc = weir_sock_open(&addr, &fd);
    if (rc == 0) {
        rc = try_connect(client->ring, fd, &addr, timeout_ns);
        if (rc != 0)
            close(fd);
    }
    if (rc != 0) {
        report_error(client->command, "%s: cannot connect: %s", client->address, strerror(-rc));
        return EX_UNAVAILABLE;
    }
    *ret_fd = fd;
    return EX_OK;
}

int client_open(struct client *client, const char *command, const char *address,
                enum weir_backend backend, uint64_t timeout_seconds, int *ret_fd)
{
    const struct weir_ring_options options = {.backend = backend};
    memset(client, 0, sizeof *client);
    client->command = command;
    client->address = address;
    int rc = weir_pool_create(NULL, &client->pool);
    if (rc != 0)
        return report_memory_error(command, rc);
    rc = weir_ring_create(client->pool, &options, &client->ring);
    if (rc != 0) {
        report_error(command, "the kernel refuses a ring: %s (%s)", weir_error_text(rc),
                     weir_error_name(rc));
        return EX_OSERR;
    }
    return connect_to(client, (int64_t)timeout_seconds * 1000000000, ret_fd);
}

int client_close(struct client *client)
{
    weir_ring_destroy(client->ring);
    int rc = weir_pool_destroy(client->pool);
    client->ring = NULL;
    client->pool = NULL;
    if (rc == 0)
        return EX_OK;
    report_error(client->command, "blocks of memory are still held at the end");
    return EX_SOFTWARE;
}

void client_error_text(struct weir_view error, char *text)
{
    struct weir_unpacker u;
    struct weir_view str;
    weir_unpack_init(&u, error, NULL);
    if (weir_unpack_str(&u, &str) != 0) {
        snprintf(text, CLIENT_ERROR_BYTES, "an error that is not text, %zu bytes", error.size);
        return;
    }
    size_t size = str.size < CLIENT_ERROR_BYTES - 1 ? str.size : CLIENT_ERROR_BYTES - 1;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = str.data[i];
        /* Nothing that a terminal would obey. */
        text[i] = (char)(byte >= 0x20 && byte != 0x7f ? byte : '?');
    }
    text[size] = '\0';
}
