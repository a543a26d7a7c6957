/* SPDX-License-Identifier: MIT */
/**
 * io_hand: io_uring written by hand, for one purpose each, with nothing of weir's: the load of the
 * group io, and the peer that its figures are held against. Multishot receives into a ring of
 * buffers that are used by parts where the kernel can; waits that look for a while before they
 * sleep.
 */
#ifndef BENCH_IO_HAND_H
#define BENCH_IO_HAND_H

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#define HAND_BUFFERS 32
#define HAND_BUFFER_BYTES ((size_t)64 << 10)

/* What liburing 2.3 has no names for. */
#define HAND_PBUF_RING_INC 2
#define HAND_CQE_F_BUF_MORE (1u << 4)

struct hand {
    struct io_uring uring;
    struct io_uring_buf_ring *ring;
    uint8_t *memory;
    size_t memory_bytes;
    size_t offsets[HAND_BUFFERS];
    bool by_parts;
    uint64_t calls;
};

/* As the kernel's header has it since 6.12. */
struct hand_buf_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid;
    uint16_t flags;
    uint64_t resv[3];
};

static inline void hand_offer(struct hand *hand, unsigned id)
{
    hand->offsets[id] = 0;
    io_uring_buf_ring_add(hand->ring, hand->memory + id * HAND_BUFFER_BYTES,
                          (unsigned)HAND_BUFFER_BYTES, (unsigned short)id,
                          io_uring_buf_ring_mask(HAND_BUFFERS), 0);
    io_uring_buf_ring_advance(hand->ring, 1);
}

static inline int hand_register(struct hand *hand, unsigned flags)
{
    struct hand_buf_reg reg;
    memset(&reg, 0, sizeof reg);
    reg.ring_addr = (uint64_t)(uintptr_t)hand->ring;
    reg.ring_entries = HAND_BUFFERS;
    reg.flags = (uint16_t)flags;
    return io_uring_register((unsigned)hand->uring.ring_fd, IORING_REGISTER_PBUF_RING, &reg, 1);
}

static inline void hand_close(struct hand *hand)
{
    if (hand->uring.ring_fd >= 0)
        io_uring_queue_exit(&hand->uring);
    if (hand->memory != NULL)
        munmap(hand->memory, hand->memory_bytes);
    free(hand->ring);
    memset(hand, 0, sizeof *hand);
    hand->uring.ring_fd = -1;
}

/** 0 or a negative errno, nothing kept. For the calling thread. */
static inline int hand_open(struct hand *hand)
{
    struct io_uring_params params;
    memset(hand, 0, sizeof *hand);
    memset(&params, 0, sizeof params);
    params.flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
                   IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    params.cq_entries = 2048;
    int rc = io_uring_queue_init_params(256, &hand->uring, &params);
    if (rc != 0) {
        hand->uring.ring_fd = -1;
        return rc;
    }
    hand->memory_bytes = HAND_BUFFERS * HAND_BUFFER_BYTES;
    void *memory = mmap(NULL, hand->memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    hand->memory = memory != MAP_FAILED ? memory : NULL;
    hand->ring = aligned_alloc(4096, 4096);
    rc = hand->memory == NULL || hand->ring == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        memset(hand->ring, 0, 4096);
        hand->by_parts = hand_register(hand, HAND_PBUF_RING_INC) == 0;
        if (!hand->by_parts)
            rc = hand_register(hand, 0);
    }
    if (rc != 0) {
        hand_close(hand);
        return rc;
    }
    io_uring_register_ring_fd(&hand->uring);
    for (unsigned i = 0; i < HAND_BUFFERS; i++)
        hand_offer(hand, i);
    return 0;
}

/** An entry; the queue is emptied for it if it must be. */
static inline struct io_uring_sqe *hand_entry(struct hand *hand)
{
    struct io_uring_sqe *sqe;
    while ((sqe = io_uring_get_sqe(&hand->uring)) == NULL) {
        hand->calls++;
        io_uring_submit(&hand->uring);
    }
    return sqe;
}

static inline void hand_receive(struct hand *hand, int fd, void *data)
{
    struct io_uring_sqe *sqe = hand_entry(hand);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data(sqe, data);
}

static inline void hand_send(struct hand *hand, int fd, const void *bytes, size_t size, void *data)
{
    struct io_uring_sqe *sqe = hand_entry(hand);
    io_uring_prep_send(sqe, fd, bytes, size, MSG_WAITALL | MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, data);
}

/** What a receive brought. */
static inline const uint8_t *hand_received(struct hand *hand, const struct io_uring_cqe *cqe)
{
    unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    const uint8_t *bytes = hand->memory + id * HAND_BUFFER_BYTES + hand->offsets[id];
    hand->offsets[id] += (size_t)cqe->res;
    return bytes;
}

/** It is not looked at any more. */
static inline void hand_give_back(struct hand *hand, const struct io_uring_cqe *cqe)
{
    bool more = hand->by_parts && (cqe->flags & HAND_CQE_F_BUF_MORE) != 0;
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0 && !more)
        hand_offer(hand, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
}

static inline bool hand_has_work(const struct hand *hand)
{
    return (IO_URING_READ_ONCE(*hand->uring.sq.kflags) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static inline void hand_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/** Hand everything over, and wait for a completion: looking for @spin_ns, then asleep, unless
 * @sleeps is false. Returns 0, -ETIME, or another negative errno. */
static inline int hand_wait(struct hand *hand, uint64_t spin_ns, bool sleeps)
{
    struct io_uring *uring = &hand->uring;
    uint64_t begin = 0;
    int rc;
    if (io_uring_sq_ready(uring) != 0 || hand_has_work(hand)) {
        hand->calls++;
        rc = io_uring_submit_and_get_events(uring);
        if (rc < 0)
            return rc;
    }
    while (io_uring_cq_ready(uring) == 0) {
        for (unsigned i = 0; i < 16 && io_uring_cq_ready(uring) == 0; i++) {
            if (hand_has_work(hand)) {
                hand->calls++;
                rc = io_uring_submit_and_get_events(uring);
                if (rc < 0)
                    return rc;
            }
            hand_relax();
        }
        uint64_t now = bench_now_ns();
        if (begin == 0)
            begin = now;
        if (io_uring_cq_ready(uring) != 0 || now - begin < spin_ns)
            continue;
        if (!sleeps)
            return -ETIME;
        hand->calls++;
        rc = io_uring_submit_and_wait(uring, 1);
        if (rc < 0 && rc != -EINTR)
            return rc;
    }
    return 0;
}

#endif /* BENCH_IO_HAND_H */
