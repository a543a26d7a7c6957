/* SPDX-License-Identifier: MIT */
/*
 * fake_kernel: io_uring without a kernel. A program that is linked with it has rings whose
 * completions the test makes: which, when, in which order, with which result; and whose system
 * calls fail when the test says so. One ring at a time.
 *
 * It stands in the place of liburing's functions that enter the kernel. The queues are those of
 * liburing, in ordinary memory.
 *
 * Registered buffers are a table: a request must lie within the one that it names, and none may be
 * taken out that a request names.
 *
 * While a request is with the fake its memory must stay as it was: what is sent or written is
 * summed up when it comes and when it ends, and under AddressSanitizer free blocks are poisoned.
 */
#ifndef WEIR_TESTS_FAKE_KERNEL_H
#define WEIR_TESTS_FAKE_KERNEL_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "support.h"

#include <weir/ring.h>

enum { FAKE_REQUESTS = 512, FAKE_BACKLOG = 4096, FAKE_BUFFERS = 4096 };

struct fake_request {
    bool used;
    bool notifies; /* its result is out, with F_MORE; the notification is not */
    struct io_uring_sqe sqe;
    uint64_t sum; /* of the bytes to be sent or written */
};

/* As struct io_uring_cqe, of which there are no arrays. */
struct fake_completion {
    uint64_t user_data;
    int result;
    uint32_t flags;
};

struct fake_kernel {
    struct fake_request requests[FAKE_REQUESTS];
    unsigned count;

    /* What goes wrong: so many enters from now on fail with this, and take nothing. */
    int error;
    unsigned errors_left;
    unsigned take_max; /* entries that an enter takes */

    /*
     * A request is to be cancelled, NULL: it is not there. Returns what the cancel comes to, and
     * completes the request if it likes. NULL: all that can be cancelled is.
     */
    int (*cancel)(struct fake_request *request);

    /* Somebody waits and the completion queue is empty: complete something, or nothing. */
    void (*idle)(void *context);
    void *context;

    uint64_t enters;
    uint64_t fixed;        /* requests in registered buffers */
    uint64_t unregistered; /* buffers taken out of the table */
    uint64_t overflows;    /* completions that found no room in the queue */
    unsigned by_parts;     /* bytes of a receive that leave the rest of a buffer for the next one */

    /* private */
    struct io_uring *uring;
    struct fake_completion backlog[FAKE_BACKLOG];
    unsigned backlog_count;
    struct io_uring_buf_ring *buffers;
    uint16_t buffers_head, buffers_mask;
    uint32_t buffer_offset;
    struct iovec registered[FAKE_BUFFERS];
    unsigned registered_count; /* of the table, 0: there is none */
};

extern struct fake_kernel fake;

/* Before a ring is made: nothing goes wrong. */
void fake_reset(void);

/* The request of @op, NULL if it is not there. */
struct fake_request *fake_find(const struct weir_op *op);

/* A completion. Without IORING_CQE_F_MORE it is the last one, and the request's memory is looked
 * at. @flags: IORING_CQE_F_... */
void fake_complete(struct fake_request *request, int result, uint32_t flags);

/*
 * A completion of a receive of @size_bytes at most, filled with the pattern of @tag, or -ENOBUFS
 * where there is no buffer, which ends it. Returns its result.
 */
int fake_receive(struct fake_request *request, size_t size_bytes, uint64_t tag, bool more);

#endif /* WEIR_TESTS_FAKE_KERNEL_H */
