/* SPDX-License-Identifier: MIT */
/* client: what the commands that call a service have in common. */
#ifndef TOOLS_CLIENT_H
#define TOOLS_CLIENT_H

#include <stdint.h>

#include <weir/pool.h>
#include <weir/ring.h>
#include <weir/view.h>

/** Room for a line made by client_error_text(). */
#define CLIENT_ERROR_BYTES 256

/** What a client stands on. Zeroed, client_close() takes it. */
struct client {
    const char *command; /* for messages */
    const char *address;
    struct weir_pool *pool;
    struct weir_ring *ring;
};

/**
 * Make pool and ring, and connect to @address.
 *
 * @backend  of the ring
 * @ret_fd   written on success only: the connected socket, the caller's
 * Returns   the exit status: EX_OK, or what was said on stderr. client_close() in any case.
 */
int client_open(struct client *client, const char *command, const char *address,
                enum weir_backend backend, uint64_t timeout_seconds, int *ret_fd);

/** Give everything back. Returns EX_OK, or EX_SOFTWARE if blocks are still held. */
int client_close(struct client *client);

/**
 * The error value of a response as text for people, within CLIENT_ERROR_BYTES.
 *
 * @error    one MessagePack value; what is no str is named as such
 */
void client_error_text(struct weir_view error, char *text);

#endif
