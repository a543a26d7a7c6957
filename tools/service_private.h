/* SPDX-License-Identifier: MIT */
/* What the parts of the service share: a connection, and how its requests are answered. */
#ifndef SERVICE_PRIVATE_H
#define SERVICE_PRIVATE_H

#include <weir/rpc.h>

#include "service.h"

/* Why a peer is paused by us, a set. */
enum { PEER_WAITS_FOR_LOG = 1, PEER_IS_REFUSED = 2 };

struct service_peer {
    struct weir_conn conn;
    struct service *service;
    struct service_peer *prev;
    struct service_peer *next;
    struct weir_block *home; /* that this struct lies in */
    uint64_t received_bytes; /* of whole messages; the next one begins there */
    uint64_t under_way;      /* requests not answered yet */
    uint64_t taken_bytes;    /* what it had taken when we last looked, */
    unsigned stalled;        /* and how often that was the same while answers waited */
    struct weir_fault fault; /* what it is closed for by us */
    uint8_t pauses;
    bool ended; /* will send no more */
    bool closed;
    char name[WEIR_ADDR_TEXT_BYTES];
};

/* A call as it arrived, for the length of a handler. */
struct service_call {
    struct service_peer *peer;
    const struct weir_slice *message;
    struct weir_rpc_message rpc;
};

/* Do what @call asks for. */
void service_dispatch(const struct service_call *call);

/* Answer a call that says what kind it is and who asks, but not properly what for. */
void service_answer_wrong(const struct service_call *call, const struct weir_fault *fault);

/* Append what waits for room, as far as there is. */
void service_append_postponed(struct service *service);

/* Go on with peers that had to wait, if little enough waits now. */
void service_resume_peers(struct service *service);

/* Hand out no more messages of @peer until this reason is over. */
void service_peer_pause(struct service_peer *peer, uint8_t reason);
void service_peer_resume(struct service_peer *peer, uint8_t reason);

/* One request of @peer was answered, or need not be any more. The peer may be gone afterwards. */
void service_peer_answered(struct service_peer *peer);

/* Close @peer for what it sent, at @offset of all that it sent, once what it asked for before is
 * answered. Not twice. */
void service_peer_refuse(struct service_peer *peer, int error, uint64_t offset, const char *reason);

/* A line for the operator. */
void service_report(const struct service *service, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* SERVICE_PRIVATE_H */
