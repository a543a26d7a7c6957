/* SPDX-License-Identifier: MIT */
/*
 * io: what the tests of ring, file, sock, conn share: rings over pools that are checked at the
 * end, sockets in pairs, requests that keep a record, a clock that ends a hang.
 */
#ifndef WEIR_TESTS_IO_H
#define WEIR_TESTS_IO_H

#include "support.h"

#include <weir/file.h>
#include <weir/ring.h>
#include <weir/sock.h>

/*
 * A test that is killed when it hangs. It is run once per backend of the ring: every ring that is
 * made without a choice of its own has that one.
 */
#define IO_TEST(name)                                                \
    {#name " (io_uring)", name, io_guard, io_unguard, io_backends},  \
    {                                                                \
#name " (poll)", name, io_guard, io_unguard, io_backends + 1 \
    }

/* The same for one whose backend does not matter. */
#define IO_TEST_ONCE(name)                             \
    {                                                  \
#name, name, io_guard, io_unguard, io_backends \
    }

/* The same for one that is about the poll backend. */
#define IO_TEST_POLL(name)                                 \
    {                                                      \
#name, name, io_guard, io_unguard, io_backends + 1 \
    }

/* Run the tests of a program; its exit status. */
int io_run(const struct CMUnitTest *tests, size_t count);

extern enum weir_backend io_backends[2];

/* That of the present test. */
extern enum weir_backend io_backend;

int io_guard(void **state);
int io_unguard(void **state);

/* --- a ring over a pool of its own ------------------------------------------------------------ */

struct io {
    struct weir_pool *pool;
    struct weir_ring *ring;
    int descriptors; /* open before */
};

/* Either options may be NULL. */
void io_open(struct io *io, const struct weir_pool_options *pool,
             const struct weir_ring_options *ring);

/* weir_ring_create() with the backend of the present test. */
int io_ring_create(struct weir_pool *pool, const struct weir_ring_options *options,
                   struct weir_ring **ret);

/* Destroy ring and pool; fail if a block is held or a descriptor more is open than before. */
void io_close(struct io *io);

/* One turn that must not fail. Returns what was handled. */
int io_turn(struct io *io);

/* weir_ring_run(), again after an EINTR of which the test knows nothing. */
int io_wait(struct io *io, int64_t timeout_ns);

/* Turns until *count is at least @least. */
void io_until(struct io *io, const unsigned *count, unsigned least);

/* Turns for a time. */
void io_turns_for(struct io *io, unsigned ms);

uint64_t io_blocks_in_use(const struct io *io);

/* --- requests that keep a record -------------------------------------------------------------- */

struct io_call {
    struct weir_op op;
    unsigned completions;
    unsigned ended; /* completions without more */
    int result;     /* of the last one */
};

void io_call_init(struct io_call *call);

/* Turns until the call is over; its result. */
int io_call_wait(struct io *io, struct io_call *call);

/* --- memory ----------------------------------------------------------------------------------- */

/* A slice of a block of its own, filled with the pattern of @tag. */
struct weir_slice io_slice(struct io *io, size_t size_bytes, uint64_t tag);

/* Every block that the pool can give. */
struct io_hoard {
    struct weir_block *blocks[4096];
    unsigned count;
};

/* Take all blocks of @size_bytes that the pool's limit allows. */
void io_hoard_take(struct io *io, struct io_hoard *hoard, size_t size_bytes);
void io_hoard_drop(struct io_hoard *hoard);

/* --- descriptors ------------------------------------------------------------------------------ */

int io_descriptors(void);
bool io_is_open(int fd);

/* A connected pair of stream sockets. */
void io_pair(int fds[2], bool tcp);

/* A listening TCP socket on a free port of the loopback address. */
int io_listen_tcp(struct weir_addr *ret);

/* A blocking connection to @addr. */
int io_connect(const struct weir_addr *addr);

/* Small socket buffers, so that a blocked peer is near. */
void io_shrink(int fd);

/* Send bytes until the socket takes no more; how many. */
size_t io_stuff(int fd);

/* Blocking: all of it. */
void io_write_all(int fd, const void *bytes, size_t size_bytes);

/* Blocking: read exactly so much, or to the end; what was read. */
size_t io_read_all(int fd, void *bytes, size_t size_bytes);

/* A new directory; remove it with io_remove_dir(). */
void io_make_dir(char path[64]);
void io_remove_dir(const char *path);

uint64_t io_now_ms(void);

/* In a child process: have system call @number fail with @error, as containers do it by default. */
void io_forbid(long number, int error);

#endif /* WEIR_TESTS_IO_H */
