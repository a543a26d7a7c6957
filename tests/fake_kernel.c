/* SPDX-License-Identifier: MIT */
#include "fake_kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "../lib/uring_compat.h"

/* Somebody who waits without bound is given up after so many idle calls without a completion. */
#define PATIENCE 100000

struct fake_kernel fake;

static unsigned sq_head, sq_tail, sq_flags, cq_head, cq_tail, cq_overflow;

/* --- what requests name ----------------------------------------------------------------------- */

static uint64_t sum_bytes(uint64_t sum, const void *data, size_t size)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ at[i]) * 1099511628211u;
    return sum;
}

static uint64_t sum_vector(const struct iovec *iov, size_t count)
{
    uint64_t sum = count;
    for (size_t i = 0; i < count; i++)
        sum = sum_bytes(sum, iov[i].iov_base, iov[i].iov_len);
    return sum;
}

static void *address(const struct io_uring_sqe *sqe)
{
    return (void *)(uintptr_t)sqe->addr;
}

/* All that the kernel may read between the start of a request and its end. */
static uint64_t sum_of(const struct io_uring_sqe *sqe)
{
    struct msghdr msg;
    switch (sqe->opcode) {
    case IORING_OP_SEND:
    case IORING_OP_WRITE:
    case IORING_OP_WRITE_FIXED:
        return sum_bytes(1, address(sqe), sqe->len);
    case IORING_OP_SENDMSG:
        memcpy(&msg, address(sqe), sizeof msg);
        return sum_vector(msg.msg_iov, msg.msg_iovlen);
    case IORING_OP_WRITEV:
        return sum_vector(address(sqe), sqe->len);
    default:
        return 0;
    }
}

/* --- completions ------------------------------------------------------------------------------ */

static bool put(const struct fake_completion *completion)
{
    struct io_uring_cq *cq = &fake.uring->cq;
    if (*cq->ktail - *cq->khead >= cq->ring_entries)
        return false;
    struct io_uring_cqe *cqe = &cq->cqes[*cq->ktail & cq->ring_mask];
    cqe->user_data = completion->user_data;
    cqe->res = completion->result;
    cqe->flags = completion->flags;
    ++*cq->ktail;
    return true;
}

/* What found no room comes in order, when the kernel is entered. */
static void flush_backlog(void)
{
    unsigned done = 0;
    while (done < fake.backlog_count && put(&fake.backlog[done]))
        done++;
    fake.backlog_count -= done;
    memmove(fake.backlog, fake.backlog + done, fake.backlog_count * sizeof fake.backlog[0]);
    if (fake.backlog_count == 0)
        *fake.uring->sq.kflags &= ~IORING_SQ_CQ_OVERFLOW;
}

static void post(uint64_t user_data, int result, uint32_t flags)
{
    struct fake_completion completion = {user_data, result, flags};
    if (fake.backlog_count == 0 && put(&completion))
        return;
    assert_true(fake.backlog_count < FAKE_BACKLOG);
    fake.backlog[fake.backlog_count++] = completion;
    *fake.uring->sq.kflags |= IORING_SQ_CQ_OVERFLOW;
    fake.overflows++;
}

void fake_complete(struct fake_request *request, int result, uint32_t flags)
{
    assert_true(request->used);
    if (sum_of(&request->sqe) != request->sum)
        fail_msg("the bytes of a request have changed while the kernel had it");
    post(request->sqe.user_data, result, flags);
    if ((flags & IORING_CQE_F_MORE) != 0) {
        request->notifies =
            request->sqe.opcode == IORING_OP_SEND || request->sqe.opcode == IORING_OP_SENDMSG;
        return;
    }
    request->used = false;
    fake.count--;
}

int fake_receive(struct fake_request *request, size_t size_bytes, uint64_t tag, bool more)
{
    uint32_t flags = more ? IORING_CQE_F_MORE : 0;
    assert_int_equal(request->sqe.opcode, IORING_OP_RECV);
    if (fake.buffers_head == fake.buffers->tail) {
        fake_complete(request, -ENOBUFS, 0);
        return -ENOBUFS;
    }
    const struct io_uring_buf *buffer = &fake.buffers->bufs[fake.buffers_head & fake.buffers_mask];
    size_t room = buffer->len - fake.buffer_offset;
    size_t size = size_bytes < room ? size_bytes : room;
    test_fill((uint8_t *)(uintptr_t)buffer->addr + fake.buffer_offset, size, tag);
    flags |= IORING_CQE_F_BUFFER | (uint32_t)buffer->bid << IORING_CQE_BUFFER_SHIFT;
    fake.buffer_offset += (uint32_t)size;
    if (fake.by_parts && fake.buffer_offset < buffer->len) {
        flags |= WEIR__CQE_F_BUF_MORE;
    } else {
        fake.buffers_head++;
        fake.buffer_offset = 0;
    }
    fake_complete(request, (int)size, flags);
    return (int)size;
}

/* --- requests --------------------------------------------------------------------------------- */

struct fake_request *fake_find(const struct weir_op *op)
{
    for (unsigned i = 0; i < FAKE_REQUESTS; i++)
        if (fake.requests[i].used && fake.requests[i].sqe.user_data == (uintptr_t)op)
            return &fake.requests[i];
    return NULL;
}

static int cancel_all(struct fake_request *request)
{
    if (request == NULL || request->notifies)
        return -ENOENT;
    fake_complete(request, -ECANCELED, 0);
    return 0;
}

/* Cancels are carried out at once, in order with the other entries. */
static void cancel(const struct io_uring_sqe *sqe)
{
    struct fake_request *request = fake_find(address(sqe));
    int rc = fake.cancel != NULL ? fake.cancel(request) : cancel_all(request);
    assert_true((sqe->flags & IOSQE_CQE_SKIP_SUCCESS) != 0);
    if (rc < 0)
        post(sqe->user_data, rc, 0);
}

static bool is_fixed(const struct io_uring_sqe *sqe)
{
    return sqe->opcode == IORING_OP_READ_FIXED || sqe->opcode == IORING_OP_WRITE_FIXED;
}

static void look_up_buffer(const struct io_uring_sqe *sqe)
{
    assert_true(sqe->buf_index < fake.registered_count);
    const struct iovec *buffer = &fake.registered[sqe->buf_index];
    uint64_t offset = sqe->addr - (uintptr_t)buffer->iov_base;
    assert_true(offset <= buffer->iov_len && sqe->len <= buffer->iov_len - offset);
    fake.fixed++;
}

static void take(const struct io_uring_sqe *sqe)
{
    if (is_fixed(sqe))
        look_up_buffer(sqe);
    if (sqe->opcode == IORING_OP_ASYNC_CANCEL) {
        cancel(sqe);
        return;
    }
    for (unsigned i = 0; i < FAKE_REQUESTS; i++) {
        struct fake_request *request = &fake.requests[i];
        if (request->used)
            continue;
        memset(request, 0, sizeof *request);
        request->used = true;
        request->sqe = *sqe;
        request->sum = sum_of(sqe);
        fake.count++;
        return;
    }
    fail_msg("more requests than the fake has room for");
}

/* Take entries in order, as far as it goes. */
static int take_entries(void)
{
    struct io_uring_sq *sq = &fake.uring->sq;
    int taken = 0;
    while (sq->sqe_head != sq->sqe_tail && (unsigned)taken < fake.take_max) {
        take(&sq->sqes[sq->sqe_head & sq->ring_mask]);
        sq->sqe_head++;
        *sq->khead = sq->sqe_head;
        taken++;
    }
    return taken;
}

/* --- in the place of liburing ----------------------------------------------------------------- */

static int enter(bool waits, bool bounded)
{
    const struct io_uring_cq *cq = &fake.uring->cq;
    fake.enters++;
    if (fake.errors_left != 0) {
        fake.errors_left--;
        return fake.error;
    }
    flush_backlog();
    int taken = take_entries();
    flush_backlog();
    for (unsigned i = 0; waits && *cq->ktail == *cq->khead; i++) {
        if (fake.idle != NULL)
            fake.idle(fake.context);
        if (bounded && *cq->ktail == *cq->khead)
            return taken != 0 ? taken : -ETIME;
        if (i > PATIENCE)
            fail_msg("somebody waits, and nothing comes");
    }
    return taken;
}

int io_uring_submit(struct io_uring *ring)
{
    assert_ptr_equal(ring, fake.uring);
    return enter(false, false);
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
    return io_uring_submit(ring);
}

int io_uring_get_events(struct io_uring *ring)
{
    return io_uring_submit(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    assert_ptr_equal(ring, fake.uring);
    assert_int_equal(count, 1);
    return enter(true, false);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
                                     unsigned count, struct __kernel_timespec *time, sigset_t *mask)
{
    assert_ptr_equal(ring, fake.uring);
    assert_int_equal(count, 1);
    assert_non_null(cqe);
    assert_non_null(time);
    assert_null(mask);
    return enter(true, true);
}

unsigned io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned count)
{
    const struct io_uring_cq *cq = &ring->cq;
    unsigned ready = *cq->ktail - *cq->khead;
    count = count < ready ? count : ready;
    for (unsigned i = 0; i < count; i++)
        cqes[i] = &cq->cqes[(*cq->khead + i) & cq->ring_mask];
    return count;
}

static unsigned power_of_two(unsigned number)
{
    unsigned power = 1;
    while (power < number)
        power *= 2;
    return power;
}

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                               struct io_uring_params *params)
{
    assert_null(fake.uring);
    fake.uring = ring;
    sq_head = sq_tail = sq_flags = cq_head = cq_tail = cq_overflow = 0;
    memset(ring, 0, sizeof *ring);
    ring->flags = params->flags;
    ring->ring_fd = ring->enter_ring_fd = -1;
    ring->features = params->features = IORING_FEAT_NODROP;
    ring->sq.khead = &sq_head;
    ring->sq.ktail = &sq_tail;
    ring->sq.kflags = &sq_flags;
    ring->sq.ring_entries = power_of_two(entries);
    ring->sq.ring_mask = ring->sq.ring_entries - 1;
    ring->sq.sqes = calloc(ring->sq.ring_entries, sizeof *ring->sq.sqes);
    ring->cq.khead = &cq_head;
    ring->cq.ktail = &cq_tail;
    ring->cq.koverflow = &cq_overflow;
    ring->cq.ring_entries = power_of_two(params->cq_entries);
    ring->cq.ring_mask = ring->cq.ring_entries - 1;
    ring->cq.cqes = calloc(ring->cq.ring_entries, sizeof *ring->cq.cqes);
    return 0;
}

void io_uring_queue_exit(struct io_uring *ring)
{
    assert_ptr_equal(ring, fake.uring);
    free(ring->sq.sqes);
    free(ring->cq.cqes);
    fake.uring = NULL;
}

int io_uring_register(unsigned fd, unsigned opcode, const void *argument, unsigned count)
{
    struct weir__buf_reg reg;
    (void)fd;
    if (opcode != IORING_REGISTER_PBUF_RING)
        return -EINVAL;
    assert_int_equal(count, 1);
    memcpy(&reg, argument, sizeof reg);
    if ((reg.flags & WEIR__PBUF_RING_INC) != 0 && !fake.by_parts)
        return -EINVAL; /* as kernels before 6.12 */
    fake.buffers = (struct io_uring_buf_ring *)(uintptr_t)reg.ring_addr;
    fake.buffers_mask = (uint16_t)(reg.ring_entries - 1);
    fake.buffers_head = 0;
    return 0;
}

int io_uring_register_buffers_sparse(struct io_uring *ring, unsigned count)
{
    assert_ptr_equal(ring, fake.uring);
    assert_true(count <= FAKE_BUFFERS);
    fake.registered_count = count;
    return 0;
}

int io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned offset,
                                         const struct iovec *iovecs, const __u64 *tags,
                                         unsigned count)
{
    assert_ptr_equal(ring, fake.uring);
    assert_null(tags);
    assert_int_equal(count, 1);
    assert_true(offset < fake.registered_count);
    for (unsigned i = 0; i < FAKE_REQUESTS; i++)
        assert_false(fake.requests[i].used && is_fixed(&fake.requests[i].sqe) &&
                     fake.requests[i].sqe.buf_index == offset);
    assert_int_equal(fake.registered[offset].iov_len == 0, iovecs->iov_len != 0);
    fake.registered[offset] = *iovecs;
    fake.unregistered += iovecs->iov_len == 0;
    return 1;
}

int io_uring_register_ring_fd(struct io_uring *ring)
{
    (void)ring;
    return -EINVAL;
}

int io_uring_unregister_buf_ring(struct io_uring *ring, int group)
{
    assert_ptr_equal(ring, fake.uring);
    assert_int_equal(group, 0);
    fake.buffers = NULL;
    return 0;
}

void fake_reset(void)
{
    assert_null(fake.uring);
    memset(&fake, 0, sizeof fake);
    fake.take_max = UINT32_MAX;
    fake.by_parts = 1;
}
