/* SPDX-License-Identifier: MIT */
#include "ring_registered.h"

#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char too_little[] = "RLIMIT_MEMLOCK is too low for a segment of the pool";

static bool is_in(const struct weir__registered *r, unsigned index)
{
    return (r->bits[index / 8] >> index % 8 & 1) != 0;
}

/* Put a segment in the table, or take it out if @size is 0. */
static int update(const struct weir__registered *r, unsigned index, const void *base, size_t size)
{
    struct iovec iov = {size != 0 ? (void *)(uintptr_t)base : NULL, size};
    int rc = io_uring_register_buffers_update_tag(r->uring, index, &iov, NULL, 1);
    return rc < 0 ? rc : 0;
}

/* Who has CAP_IPC_LOCK is asked for no limit. */
static bool is_unlimited(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    memset(data, 0, sizeof data);
    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & 1u << CAP_IPC_LOCK) != 0;
}

/* Half of what this user may lock in all his processes: rings are charged for themselves, too. */
static uint64_t budget_of(void)
{
    struct rlimit limit;
    if (is_unlimited() || getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur / 2;
}

/* The pool gives a segment back: its pages must not stay locked, nor its index be taken for that
 * of another. No request names it, for none of its blocks is held. */
static void segment_leaves(struct weir__segment_watch *watch, const struct weir__segment *segment)
{
    struct weir__registered *r =
        (struct weir__registered *)(void *)((uint8_t *)watch -
                                            offsetof(struct weir__registered, watch));
    unsigned index = (unsigned)segment->index;
    if (index >= WEIR__REGISTERED_MAX || !is_in(r, index))
        return;
    int rc = update(r, index, NULL, 0);
    assert(rc == 0);
    (void)rc;
    r->bits[index / 8] &= (uint8_t) ~(1u << index % 8);
    *r->bytes -= r->pool->segment_bytes;
    if (r->budget_bytes != UINT64_MAX)
        r->budget_bytes += r->pool->segment_bytes;
}

void weir__registered_open(struct weir__registered *r, struct weir_pool *pool,
                           struct io_uring *uring, uint64_t *bytes)
{
    r->bytes = bytes;
    r->uring = uring;
    r->pool = pool;
    r->budget_bytes = budget_of();
    if (r->budget_bytes < pool->segment_bytes) {
        r->missing = too_little;
        return;
    }
    int rc = io_uring_register_buffers_sparse(uring, WEIR__REGISTERED_MAX);
    if (rc != 0) {
        r->missing = rc == -EINVAL ? "the kernel is older than 5.19" : "the kernel refuses it";
        return;
    }
    r->watch.leaves = segment_leaves;
    weir__pool_watch(pool, &r->watch);
}

void weir__registered_close(struct weir__registered *r)
{
    if (r->watch.leaves != NULL)
        weir__pool_unwatch(r->pool, &r->watch);
}

static int add(struct weir__registered *r, unsigned index, const void *base)
{
    uint64_t size = r->pool->segment_bytes;
    if (r->missing != NULL || r->budget_bytes < size)
        return -1;
    int rc = update(r, index, base, size);
    if (rc != 0) {
        /* Not to be tried with each request. */
        r->missing = rc == -ENOMEM ? too_little : "the kernel refuses it";
        return -1;
    }
    r->bits[index / 8] |= (uint8_t)(1u << index % 8);
    *r->bytes += size;
    if (r->budget_bytes != UINT64_MAX)
        r->budget_bytes -= size;
    return (int)index;
}

int weir__registered_index(struct weir__registered *r, const struct weir_block *block)
{
    /* Bytes may also come from other threads' pools, or be the caller's own. */
    if (block == NULL || block->home->pool != r->pool || r->watch.leaves == NULL)
        return -1;
    int32_t index = weir__block_segment(block);
    if (index < 0 || index >= WEIR__REGISTERED_MAX)
        return -1;
    if (is_in(r, (unsigned)index))
        return index;
    return add(r, (unsigned)index, weir__block_segment_base(block));
}
