/* SPDX-License-Identifier: MIT */
/*
 * The io_uring backend.
 *
 * Receives are multishot and take their memory from a ring of provided buffers, which are pool
 * blocks lent to the kernel. Where the kernel can, a block serves many receives ("by parts",
 * IOU_PBUF_RING_INC); each receive then holds a reference on it.
 */
#include "ring_backend.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ring_registered.h"
#include "uring_compat.h"

#define BUFFER_GROUP 0
#define DRAIN_BATCH 64

/* While spinning: how often the queue is looked at for one look at the clock. */
#define LOOKS_PER_CLOCK 16

/* After so long without requests the kernel's thread sleeps, and is woken by a call. */
#define SQPOLL_IDLE_MS 20

#define BATCH_WAIT_US 50

/* A block lent to the kernel, by buffer id. */
struct lent {
    struct weir_block *block; /* NULL: the id has no block at present */
    size_t offset;            /* where the next receive goes */
};

struct uring {
    struct io_uring uring;
    struct weir_block *home;
    struct weir_block *buffers_home; /* memory of buffers */
    struct weir_block *lent_home;    /* memory of lent and missing */
    struct io_uring_buf_ring *buffers;
    struct lent *lent;
    uint16_t *missing; /* ids without a block, a stack */
    uint32_t missing_count;
    uint32_t lent_count; /* ids in all */
    uint32_t lent_bytes; /* size of each buffer */
    bool by_parts;
    struct weir__registered registered;
    uint32_t kernel_features; /* IORING_FEAT_... */
    uint32_t batch;           /* completions that a wait is for, if not one */
    uint32_t batch_wait_us;
    bool watches_mail; /* its address is the data of the request that does */
};

static struct uring *state(const struct weir_ring *ring)
{
    return (struct uring *)ring->backend_state;
}

const char *weir__uring_forbidden(int disabled, bool filtered)
{
    if (disabled > 0)
        return "io_uring is not allowed here (sysctl kernel.io_uring_disabled)";
    if (filtered)
        return "io_uring is not allowed here (a seccomp filter)";
    return "io_uring is not allowed here (a security module or the like)";
}

/* The sysctl of kernel 6.6: 0 all may, 1 a group may, 2 nobody may; -1 it cannot be read. */
static int disabled_by_sysctl(void)
{
    char digit = 0;
    int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, &digit, 1) : -1;
    if (fd >= 0)
        close(fd);
    return got == 1 && digit >= '0' && digit <= '9' ? digit - '0' : -1;
}

/* Keep why the kernel does not let us use io_uring. Errors of other kinds may pass. */
static void refuse(struct weir_ring *ring, int error, const char *invalid)
{
    switch (-error) {
    case EPERM:
    case EACCES:
        ring->refusal = weir__uring_forbidden(disabled_by_sysctl(), prctl(PR_GET_SECCOMP) == 2);
        break;
    case ENOSYS:
        ring->refusal = "the kernel has no io_uring";
        break;
    case ENOMEM:
        ring->refusal = "io_uring gets no memory (RLIMIT_MEMLOCK is too low)";
        break;
    case EINVAL:
        ring->refusal = invalid;
        break;
    default:
        break;
    }
}

/* --- receive blocks --------------------------------------------------------------------------- */

/* Give @id to the kernel with the block that it has. */
static void offer(struct uring *u, uint16_t id)
{
    struct lent *lent = &u->lent[id];
    lent->offset = 0;
    io_uring_buf_ring_add(u->buffers, lent->block->data, u->lent_bytes, id,
                          io_uring_buf_ring_mask(u->lent_count), 0);
    io_uring_buf_ring_advance(u->buffers, 1);
}

/* The kernel is done with @id: offer the same block again if nobody holds it, else a fresh one. */
static void recycle(struct weir_ring *ring, uint16_t id)
{
    struct uring *u = state(ring);
    struct lent *lent = &u->lent[id];
    if (!weir_block_is_exclusive(lent->block)) {
        struct weir_block *fresh = NULL;
        int rc = weir_pool_alloc(ring->pool, u->lent_bytes, &fresh);
        weir_block_drop(lent->block);
        lent->block = fresh;
        if (rc != 0) {
            u->missing[u->missing_count++] = id;
            ring->stats.blocks_lent--;
            return;
        }
    }
    offer(u, id);
}

static bool uring_refill(struct weir_ring *ring, bool few)
{
    struct uring *u = state(ring);
    while (u->missing_count != 0) {
        uint16_t id = u->missing[u->missing_count - 1];
        if (weir_pool_alloc(ring->pool, u->lent_bytes, &u->lent[id].block) != 0)
            break;
        u->missing_count--;
        ring->stats.blocks_lent++;
        offer(u, id);
    }
    /* Arming a receive on a nearly empty buffer ring fails at once, over and over. */
    uint32_t enough = few || u->lent_count < 4 ? 1 : u->lent_count / 4;
    return u->lent_count - u->missing_count >= enough;
}

/* The buffer ring's memory must be page-aligned, whatever the pool's classes are. */
static int alloc_pages(struct weir_pool *pool, size_t size, struct weir_block **ret, void **memory)
{
    const size_t page = 4096;
    int rc = weir_pool_alloc(pool, size + page, ret);
    if (rc == 0)
        *memory = (*ret)->data + (-(uintptr_t)(*ret)->data & (page - 1));
    return rc;
}

static int register_buffers(struct uring *u)
{
    struct weir__buf_reg reg;
    memset(&reg, 0, sizeof reg);
    reg.ring_addr = (uint64_t)(uintptr_t)u->buffers;
    reg.ring_entries = u->lent_count;
    reg.bgid = BUFFER_GROUP;
    reg.flags = u->by_parts ? WEIR__PBUF_RING_INC : 0;
    return io_uring_register((unsigned)u->uring.ring_fd, IORING_REGISTER_PBUF_RING, &reg, 1);
}

static void close_receive(struct uring *u)
{
    for (uint32_t i = 0; u->lent != NULL && i < u->lent_count; i++)
        weir_block_drop(u->lent[i].block);
    weir_block_drop(u->lent_home);
    weir_block_drop(u->buffers_home);
}

static int open_receive(struct weir_ring *ring, const struct weir_ring_options *options)
{
    struct uring *u = state(ring);
    void *memory;
    u->lent_count = options->receive_blocks != 0 ? options->receive_blocks : 32;
    size_t ring_bytes = u->lent_count * sizeof(struct io_uring_buf);
    size_t lent_bytes = u->lent_count * (sizeof(struct lent) + sizeof(uint16_t));
    int rc = alloc_pages(ring->pool, ring_bytes, &u->buffers_home, &memory);
    if (rc != 0)
        return rc;
    memset(memory, 0, ring_bytes);
    u->buffers = (struct io_uring_buf_ring *)memory;
    rc = weir_pool_alloc(ring->pool, lent_bytes, &u->lent_home);
    if (rc != 0)
        return rc;
    memset(u->lent_home->data, 0, lent_bytes);
    u->lent = (struct lent *)(void *)u->lent_home->data;
    u->missing = (uint16_t *)(void *)(u->lent + u->lent_count);

    u->by_parts = (options->without & WEIR_RING_RECEIVE_BY_PARTS) == 0;
    rc = register_buffers(u);
    if (rc == -EINVAL && u->by_parts) {
        u->by_parts = false;
        rc = register_buffers(u);
    }
    if (rc != 0) {
        refuse(ring, rc, "the kernel lends no buffers to io_uring (EINVAL)");
        return rc;
    }
    weir__ring_feature_wanted(ring, options->without, WEIR_RING_RECEIVE_BY_PARTS,
                              u->by_parts ? NULL : "the kernel is older than 6.12");
    u->lent_bytes = options->receive_block_bytes;
    if (u->lent_bytes == 0)
        u->lent_bytes = u->by_parts ? 65536 : 16384;
    for (uint32_t i = 0; i < u->lent_count; i++) {
        rc = weir_pool_alloc(ring->pool, u->lent_bytes, &u->lent[i].block);
        if (rc != 0)
            return rc;
        offer(u, (uint16_t)i);
        ring->stats.blocks_lent++;
    }
    return 0;
}

/* --- entries ---------------------------------------------------------------------------------- */

static struct io_uring_sqe *get_entry(struct weir_ring *ring)
{
    struct uring *u = state(ring);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->uring);
    if (sqe == NULL) {
        /* Whatever this returns, entries that the kernel did not take are still in the queue. */
        ring->stats.enters++;
        io_uring_submit(&u->uring);
        sqe = io_uring_get_sqe(&u->uring);
        if (sqe == NULL && (ring->features & WEIR_RING_SQPOLL) != 0) {
            ring->stats.enters++;
            io_uring_sqring_wait(&u->uring); /* for the kernel's thread to take some */
            sqe = io_uring_get_sqe(&u->uring);
        }
    }
    if (sqe != NULL)
        ring->stats.requests++;
    return sqe;
}

/* Have wakes make a completion, before anybody sleeps. False: not now. */
static bool watch_mail(struct weir_ring *ring)
{
    struct uring *u = state(ring);
    if (u->watches_mail)
        return true;
    struct io_uring_sqe *sqe = get_entry(ring);
    if (sqe == NULL)
        return false;
    ring->stats.requests--; /* it is nobody's */
    io_uring_prep_poll_multishot(sqe, ring->mailbox.fd, POLLIN);
    io_uring_sqe_set_data(sqe, &u->watches_mail);
    u->watches_mail = true;
    return true;
}

/* --- set-up ----------------------------------------------------------------------------------- */

/* Make the ring with the features in @wanted. */
static int setup_with(struct weir_ring *ring, const struct weir_ring_options *options,
                      uint32_t wanted)
{
    uint32_t entries = options->entries != 0 ? options->entries : 256;
    struct uring *u = state(ring);
    struct io_uring_params params;
    memset(&params, 0, sizeof params);
    params.flags = IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
    params.cq_entries = 8 * entries;
    if (wanted & WEIR_RING_SINGLE_ISSUER)
        params.flags |= IORING_SETUP_SINGLE_ISSUER;
    if (wanted & WEIR_RING_DEFER_TASKRUN)
        params.flags |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    if (wanted & WEIR_RING_SQPOLL) {
        params.flags |= IORING_SETUP_SQPOLL;
        params.sq_thread_idle = SQPOLL_IDLE_MS;
    }
    int rc = io_uring_queue_init_params(entries, &u->uring, &params);
    u->kernel_features = params.features;
    return rc;
}

/* Make the ring with the best flags that the kernel takes. */
static int setup(struct weir_ring *ring, const struct weir_ring_options *options)
{
    const uint32_t without = options->without;
    uint32_t wanted =
        (WEIR_RING_SINGLE_ISSUER | WEIR_RING_DEFER_TASKRUN | options->with) & ~without;
    bool sqpoll = (wanted & WEIR_RING_SQPOLL) != 0;
    /* Deferred task work needs the single issuer, and is not for a thread of the kernel. */
    const char *undeferred = sqpoll                             ? "not together with SQPOLL"
                             : wanted & WEIR_RING_SINGLE_ISSUER ? NULL
                                                                : "it needs the single issuer";
    if (undeferred != NULL)
        wanted &= ~WEIR_RING_DEFER_TASKRUN;
    int rc = setup_with(ring, options, wanted);
    if (rc != 0 && sqpoll) {
        wanted &= ~WEIR_RING_SQPOLL;
        rc = setup_with(ring, options, wanted);
    }
    /* Kernel 6.0 knows the single issuer alone; one that does not has no multishot receive. */
    if (rc == -EINVAL && (wanted & WEIR_RING_DEFER_TASKRUN) != 0) {
        wanted &= ~WEIR_RING_DEFER_TASKRUN;
        undeferred = "the kernel is older than 6.1";
        rc = setup_with(ring, options, wanted);
    }
    if (rc != 0) {
        refuse(ring, rc, "the kernel's io_uring is older than 6.0 (EINVAL)");
        return rc;
    }
    weir__ring_feature_wanted(ring, without, WEIR_RING_SINGLE_ISSUER, NULL);
    weir__ring_feature_wanted(ring, without, WEIR_RING_DEFER_TASKRUN, undeferred);
    weir__ring_feature_wanted(ring, without, WEIR_RING_SQPOLL,
                              wanted & WEIR_RING_SQPOLL ? NULL
                              : sqpoll                  ? "the kernel refuses it"
                                                        : "not asked for by option");
    return 0;
}

static void open_extras(struct weir_ring *ring, const struct weir_ring_options *options)
{
    struct uring *u = state(ring);
    bool min_wait = (u->kernel_features & WEIR__FEAT_MIN_TIMEOUT) != 0;
    weir__ring_feature_wanted(ring, options->without, WEIR_RING_MIN_WAIT,
                              min_wait ? NULL : "the kernel is older than 6.12");
    if ((ring->features & WEIR_RING_MIN_WAIT) != 0)
        u->batch = options->batch;
    u->batch_wait_us = options->batch_wait_us != 0 ? options->batch_wait_us : BATCH_WAIT_US;
    if ((options->without & WEIR_RING_BUFFERS) == 0)
        weir__registered_open(&u->registered, ring->pool, &u->uring, &ring->stats.registered_bytes);
    weir__ring_feature_wanted(ring, options->without, WEIR_RING_BUFFERS, u->registered.missing);
}

/* Some forbid what others make: see that a ring can also be used. */
static int try_out(struct weir_ring *ring, const struct weir_ring_options *options)
{
    struct uring *u = state(ring);
    int rc = watch_mail(ring) ? io_uring_submit_and_get_events(&u->uring) : -EAGAIN;
    if (rc < 0) {
        refuse(ring, rc, "io_uring_enter does not work (EINVAL)");
        return rc;
    }
    bool registered =
        (options->without & WEIR_RING_REGISTERED) == 0 && io_uring_register_ring_fd(&u->uring) == 1;
    weir__ring_feature_wanted(ring, options->without, WEIR_RING_REGISTERED,
                              registered ? NULL : "the kernel refuses it");
    return 0;
}

static int uring_open(struct weir_ring *ring, const struct weir_ring_options *options)
{
    struct weir_block *home;
    int rc = weir_pool_alloc(ring->pool, sizeof(struct uring), &home);
    if (rc != 0)
        return rc;
    struct uring *u = (struct uring *)(void *)home->data;
    memset(u, 0, sizeof *u);
    u->home = home;
    ring->backend_state = u;
    rc = setup(ring, options);
    if (rc != 0) {
        weir_block_drop(home);
        return rc;
    }
    rc = try_out(ring, options);
    if (rc == 0)
        rc = open_receive(ring, options);
    if (rc != 0) {
        io_uring_queue_exit(&u->uring);
        close_receive(u);
        weir_block_drop(home);
        return rc;
    }
    open_extras(ring, options);
    return 0;
}

static void uring_close(struct weir_ring *ring)
{
    struct uring *u = state(ring);
    weir__registered_close(&u->registered);
    /* Freeing a ring ends in the background; taking the buffers out first ends it for them. */
    io_uring_unregister_buf_ring(&u->uring, BUFFER_GROUP);
    io_uring_queue_exit(&u->uring);
    close_receive(u);
    weir_block_drop(u->home);
}

/* --- submission ------------------------------------------------------------------------------- */

/* In registered memory there is nothing to be looked up and locked for each request. */
static void use_registered(struct weir_ring *ring, struct io_uring_sqe *sqe,
                           const struct weir_op *op)
{
    struct weir__registered *r = &state(ring)->registered;
    int index = weir__registered_index(r, op->block);
    if (index < 0) {
        if (r->missing != NULL && ring->stats.registered_bytes == 0)
            weir__ring_feature_lost(ring, WEIR_RING_BUFFERS, r->missing);
        return;
    }
    ring->stats.fixed++;
    sqe->opcode = op->kind == WEIR_OP_READ ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED;
    sqe->buf_index = (uint16_t)index;
}

static void fill(struct weir_ring *ring, struct io_uring_sqe *sqe, struct weir_op *op)
{
    switch ((enum weir_op_kind)op->kind) {
    case WEIR_OP_TIMEOUT:
        io_uring_prep_timeout(sqe, (struct __kernel_timespec *)(void *)&op->args.time, 0,
                              op->flags != 0 ? IORING_TIMEOUT_ABS : 0);
        break;
    case WEIR_OP_ACCEPT:
        io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
        break;
    case WEIR_OP_CONNECT:
        io_uring_prep_connect(sqe, op->fd, op->args.addr.addr, op->args.addr.size);
        break;
    case WEIR_OP_RECEIVE:
        io_uring_prep_recv_multishot(sqe, op->fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = BUFFER_GROUP;
        break;
    case WEIR_OP_SEND:
        io_uring_prep_send(sqe, op->fd, op->args.io.data, weir__transfer_size(op->args.io.size),
                           MSG_WAITALL | MSG_NOSIGNAL);
        break;
    case WEIR_OP_SENDV:
        io_uring_prep_sendmsg(sqe, op->fd, &op->args.msg, MSG_WAITALL | MSG_NOSIGNAL);
        break;
    case WEIR_OP_READ:
        io_uring_prep_read(sqe, op->fd, op->args.io.data, weir__transfer_size(op->args.io.size),
                           op->args.io.offset);
        use_registered(ring, sqe, op);
        break;
    case WEIR_OP_WRITE:
        io_uring_prep_write(sqe, op->fd, op->args.io.data, weir__transfer_size(op->args.io.size),
                            op->args.io.offset);
        use_registered(ring, sqe, op);
        break;
    case WEIR_OP_WRITEV:
        io_uring_prep_writev(sqe, op->fd, op->args.iov.iov, (unsigned)op->args.iov.count,
                             op->args.iov.offset);
        break;
    case WEIR_OP_READV:
        io_uring_prep_readv(sqe, op->fd, op->args.iov.iov, (unsigned)op->args.iov.count,
                            op->args.iov.offset);
        break;
    case WEIR_OP_ALLOCATE:
        io_uring_prep_fallocate(sqe, op->fd, (int)op->flags, (off_t)op->args.io.offset,
                                (off_t)op->args.io.size);
        break;
    case WEIR_OP_SYNC:
        io_uring_prep_fsync(sqe, op->fd, op->flags != 0 ? IORING_FSYNC_DATASYNC : 0);
        break;
    case WEIR_OP_CLOSE:
        io_uring_prep_close(sqe, op->fd);
        break;
    case WEIR_OP_NONE:
        assert(false);
        io_uring_prep_nop(sqe);
        break;
    }
    io_uring_sqe_set_data(sqe, op);
}

static bool uring_hand(struct weir_ring *ring, struct weir_op *op)
{
    struct io_uring_sqe *sqe = get_entry(ring);
    if (sqe == NULL)
        return false;
    fill(ring, sqe, op);
    return true;
}

static bool uring_cancel(struct weir_ring *ring, struct weir_op *op)
{
    struct io_uring_sqe *sqe = get_entry(ring);
    if (sqe == NULL)
        return false;
    /* Entries are carried out in order, so this cannot hit a later request at the same address. */
    io_uring_prep_cancel(sqe, op, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data(sqe, NULL);
    return true;
}

/* Returns 0 where nothing was lost and the next turn simply tries again. */
static int wait_result(int rc)
{
    return rc >= 0 || rc == -ETIME || rc == -EAGAIN || rc == -EBUSY ? 0 : rc;
}

/* Whether the kernel has completions that it makes when it is entered: deferred task work, or what
 * found no room in the completion queue. */
static bool has_deferred(const struct uring *u)
{
    return (IO_URING_READ_ONCE(*u->uring.sq.kflags) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static int look(struct weir_ring *ring)
{
    ring->stats.enters++;
    return wait_result(io_uring_submit_and_get_events(&state(ring)->uring));
}

/*
 * Watch the completion queue before sleeping. Returns what is left of the wait, or 0 and a negative
 * errno in *error; nothing is left when there is something to do. Costs no system call but that
 * which hands requests over, and one when the kernel says that it has something.
 */
static int64_t spin(struct weir_ring *ring, int64_t timeout_ns, int *error)
{
    struct uring *u = state(ring);
    int64_t spin_ns = weir__ring_spin_begin(ring, timeout_ns);
    int64_t spent = 0;
    if (spin_ns == 0)
        return timeout_ns;
    if (io_uring_sq_ready(&u->uring) != 0)
        *error = look(ring);
    if (*error != 0 || io_uring_cq_ready(&u->uring) != 0)
        return 0; /* what was over at once is no merit of spinning */
    for (int64_t begin = weir__now_ns(); spent < spin_ns; spent = weir__now_ns() - begin) {
        for (unsigned i = 0; i < LOOKS_PER_CLOCK; i++) {
            if (has_deferred(u))
                *error = look(ring);
            if (*error != 0 || io_uring_cq_ready(&u->uring) != 0 || weir__mail_is_there(ring)) {
                weir__ring_spin_end(ring, true);
                return 0;
            }
            weir__relax();
        }
    }
    weir__ring_spin_end(ring, false);
    return weir__time_left(timeout_ns, spent);
}

/* A wait for several completions, which this liburing has no function for. */
static int sleep_for_batch(struct weir_ring *ring, int64_t timeout_ns)
{
    struct uring *u = state(ring);
    struct __kernel_timespec time = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    struct weir__getevents_arg arg;
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (io_uring_sq_ready(&u->uring) != 0) {
        int rc = look(ring);
        if (rc != 0 || io_uring_cq_ready(&u->uring) != 0)
            return rc;
    }
    memset(&arg, 0, sizeof arg);
    arg.min_wait_usec = u->batch_wait_us;
    /* The kernel does not end this part of the wait with the whole. */
    if (timeout_ns >= 0 && timeout_ns / 1000 < u->batch_wait_us)
        arg.min_wait_usec = (uint32_t)(timeout_ns / 1000);
    arg.ts = timeout_ns < 0 ? 0 : (uint64_t)(uintptr_t)&time;
    if ((ring->features & WEIR_RING_REGISTERED) != 0)
        flags |= IORING_ENTER_REGISTERED_RING;
    ring->stats.enters++;
    return wait_result(io_uring_enter2((unsigned)u->uring.enter_ring_fd, 0, u->batch, flags,
                                       (sigset_t *)(void *)&arg, sizeof arg));
}

static int sleep_for(struct weir_ring *ring, int64_t timeout_ns)
{
    struct uring *u = state(ring);
    struct io_uring_cqe *cqe;
    if (u->batch > 1)
        return sleep_for_batch(ring, timeout_ns);
    ring->stats.enters++;
    if (timeout_ns < 0)
        return wait_result(io_uring_submit_and_wait(&u->uring, 1));
    struct __kernel_timespec time = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    return wait_result(io_uring_submit_and_wait_timeout(&u->uring, &cqe, 1, &time, NULL));
}

static int uring_wait(struct weir_ring *ring, int64_t timeout_ns)
{
    struct uring *u = state(ring);
    int error = 0;
    if (io_uring_cq_ready(&u->uring) != 0) {
        if (io_uring_sq_ready(&u->uring) == 0)
            return 0;
        timeout_ns = 0;
    }
    if (timeout_ns == 0)
        return look(ring);
    timeout_ns = spin(ring, timeout_ns, &error);
    if (timeout_ns == 0)
        return error;
    if (!watch_mail(ring) || !weir__mail_fall_asleep(ring))
        return look(ring);
    int rc = sleep_for(ring, timeout_ns);
    weir__mail_awake(ring);
    return rc;
}

/* --- completion ------------------------------------------------------------------------------- */

/* Hand out what a receive brought, then see to its block. */
static void complete_receive(struct weir_ring *ring, struct weir_op *op, int result, uint32_t flags)
{
    struct uring *u = state(ring);
    bool more = (flags & IORING_CQE_F_MORE) != 0;
    bool has_block = (flags & IORING_CQE_F_BUFFER) != 0;
    uint16_t id = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
    bool block_done = has_block && !(u->by_parts && (flags & WEIR__CQE_F_BUF_MORE));

    if (result > 0) {
        struct lent *lent = &u->lent[id];
        assert(has_block && lent->block != NULL);
        struct weir_view bytes = weir_view_of(lent->block->data + lent->offset, (size_t)result);
        struct weir_slice received = weir_slice_adopt(bytes, weir_block_hold(lent->block));
        lent->offset += (size_t)result;
        ring->stats.receives++;
        ring->stats.received_bytes += (uint64_t)result;
        /* The end of a multishot is no end of the receive: it is armed again. */
        op->received = received;
        weir__ring_complete(ring, op, result, true);
        memset(&op->received, 0, sizeof op->received);
        weir_slice_drop(&received);
        if (!more)
            weir__ring_requeue(ring, op);
    } else if (result == -ENOBUFS && !more) {
        ring->stats.receive_starved++;
        op->starved = true;
        weir__ring_requeue(ring, op);
    } else {
        weir__ring_complete(ring, op, result, more);
    }
    if (block_done)
        recycle(ring, id);
}

static void complete_accept(struct weir_ring *ring, struct weir_op *op, int result, uint32_t flags)
{
    bool more = (flags & IORING_CQE_F_MORE) != 0;
    if (result >= 0) {
        weir__ring_complete(ring, op, result, true);
        if (!more)
            weir__ring_requeue(ring, op);
    } else if (result == -ECONNABORTED && !more) {
        weir__ring_requeue(ring, op); /* a peer that left while it waited */
    } else {
        weir__ring_complete(ring, op, result, more);
    }
}

/*
 * A send of which the kernel keeps the bytes for longer (zero copy) has a result with more, and is
 * over with what follows, whatever that says and however late it comes.
 */
static void complete_send(struct weir_ring *ring, struct weir_op *op, int result, uint32_t flags)
{
    bool more = (flags & IORING_CQE_F_MORE) != 0;
    if (op->more)
        result = op->result;
    else if (result > 0)
        ring->stats.sent_bytes += (uint64_t)result;
    weir__ring_complete(ring, op, result, more);
}

/* False: it was of no request. */
static bool complete(struct weir_ring *ring, const struct io_uring_cqe *cqe)
{
    struct weir_op *op = io_uring_cqe_get_data(cqe);
    if (op == NULL) {
        weir__ring_cancel_missed(ring);
        return true;
    }
    if ((void *)op == (void *)&state(ring)->watches_mail) {
        state(ring)->watches_mail = (cqe->flags & IORING_CQE_F_MORE) != 0;
        return false;
    }
    switch ((enum weir_op_kind)op->kind) {
    case WEIR_OP_RECEIVE:
        complete_receive(ring, op, cqe->res, cqe->flags);
        break;
    case WEIR_OP_ACCEPT:
        complete_accept(ring, op, cqe->res, cqe->flags);
        break;
    case WEIR_OP_TIMEOUT:
        weir__ring_complete(ring, op, cqe->res == -ETIME ? 0 : cqe->res, false);
        break;
    case WEIR_OP_SEND:
    case WEIR_OP_SENDV:
        complete_send(ring, op, cqe->res, cqe->flags);
        break;
    default:
        /* A cancel interrupts what a worker thread has blocked in, a connect for example. */
        weir__ring_complete(ring, op, cqe->res == -EINTR && op->cancel != 0 ? -ECANCELED : cqe->res,
                            false);
        break;
    }
    return true;
}

static int uring_drain(struct weir_ring *ring)
{
    struct uring *u = state(ring);
    struct io_uring_cqe *cqes[DRAIN_BATCH];
    /* Only what is there now: what done functions start may complete at once, and must not keep
     * the turn from ending. */
    unsigned left = io_uring_cq_ready(&u->uring);
    int handled = 0;
    while (left != 0) {
        unsigned batch = left < DRAIN_BATCH ? left : DRAIN_BATCH;
        unsigned count = io_uring_peek_batch_cqe(&u->uring, cqes, batch);
        assert(count == batch);
        for (unsigned i = 0; i < count; i++)
            handled += complete(ring, cqes[i]);
        io_uring_cq_advance(&u->uring, count);
        left -= count;
    }
    ring->stats.completions += (unsigned)handled;
    return handled;
}

const struct weir__backend weir__backend_uring = {
    .open = uring_open,
    .close = uring_close,
    .hand = uring_hand,
    .cancel = uring_cancel,
    .refill = uring_refill,
    .wait = uring_wait,
    .drain = uring_drain,
};
