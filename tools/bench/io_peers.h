/* SPDX-License-Identifier: MIT */
/* io_peers: what struct io_peer's option means. */
#ifndef BENCH_IO_PEERS_H
#define BENCH_IO_PEERS_H

enum {
    IO_WITH_MSGPACK_C = 1, /* read and answered by MessagePack-C */
    IO_WRITES_EACH = 2,    /* each answer leaves on its own */
    IO_SENDS_VECTORS = 4,  /* of head and bytes */
    IO_POLLS = 8           /* weir's other backend */
};

#endif
