/* SPDX-License-Identifier: MIT */
/*
 * Messages from other threads.
 *
 * The mailbox is a list that any thread pushes on and its owner takes whole. Who pushed looks
 * whether the owner sleeps, and wakes it if so; who is about to sleep says so and then looks for
 * mail. Both do these two things in one order that all threads agree on (sequential consistency),
 * so one of them sees the other. A running owner costs a sender no system call, and of many senders
 * only the first one makes it.
 *
 * The call is a write to an eventfd that the backend waits for, not a ring message of io_uring:
 * that needs a ring on the sender's side as well, which threads and signal handlers may not have,
 * and is carried out when that ring is entered next. The eventfd is never read: each write makes
 * both an edge for epoll and a completion of a multishot poll.
 */
#include "ring_backend.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int weir__mail_open(struct weir_ring *ring)
{
    ring->mailbox.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return ring->mailbox.fd < 0 ? -errno : 0;
}

void weir__mail_close(struct weir_ring *ring)
{
    close(ring->mailbox.fd);
}

/* Any thread, any time. */
static void rouse(struct weir__mailbox *box)
{
    static const uint64_t one = 1;
    if (__atomic_load_n(&box->asleep, __ATOMIC_SEQ_CST) == 0 ||
        __atomic_exchange_n(&box->asleep, 0, __ATOMIC_SEQ_CST) == 0)
        return;
    /* A signal handler must leave errno alone. The counter has room for centuries. */
    int error = errno;
    ssize_t written = write(box->fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
    (void)written;
    errno = error;
}

void weir_ring_wake(struct weir_ring *ring)
{
    /* Not a store: what each of several callers wrote before is to be seen by who is woken. */
    __atomic_exchange_n(&ring->mailbox.woken, 1, __ATOMIC_SEQ_CST);
    rouse(&ring->mailbox);
}

int weir_ring_post(struct weir_ring *ring, struct weir_message *message)
{
    struct weir__mailbox *box = &ring->mailbox;
    struct weir_message *last = __atomic_load_n(&box->last, __ATOMIC_RELAXED);
    assert(message->deliver != NULL);
    do {
        if (last == &box->end)
            return -ECANCELED;
        message->next = last;
    } while (!__atomic_compare_exchange_n(&box->last, &last, message, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    rouse(box);
    return 0;
}

bool weir__mail_fall_asleep(struct weir_ring *ring)
{
    struct weir__mailbox *box = &ring->mailbox;
    if (ring->closing)
        return true;
    __atomic_store_n(&box->asleep, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&box->last, __ATOMIC_SEQ_CST) == NULL &&
        __atomic_load_n(&box->woken, __ATOMIC_SEQ_CST) == 0)
        return true;
    weir__mail_awake(ring);
    return false;
}

void weir__mail_awake(struct weir_ring *ring)
{
    __atomic_store_n(&ring->mailbox.asleep, 0, __ATOMIC_RELAXED);
}

static int deliver(struct weir_ring *ring, struct weir_message *last, int result)
{
    struct weir_message *first = NULL;
    int count = 0;
    while (last != NULL) {
        struct weir_message *before = last->next;
        last->next = first;
        first = last;
        last = before;
    }
    while (first != NULL) {
        struct weir_message *message = first;
        first = message->next; /* it may be posted on, or freed */
        message->next = NULL;
        message->result = result;
        ring->stats.messages++;
        count++;
        message->deliver(message);
    }
    return count;
}

int weir__mail_deliver(struct weir_ring *ring)
{
    struct weir__mailbox *box = &ring->mailbox;
    if (!weir__mail_is_there(ring))
        return 0;
    ring->stats.wakes++;
    __atomic_exchange_n(&box->woken, 0, __ATOMIC_SEQ_CST);
    return deliver(ring, __atomic_exchange_n(&box->last, NULL, __ATOMIC_ACQUIRE), 0);
}

void weir__mail_refuse(struct weir_ring *ring)
{
    struct weir__mailbox *box = &ring->mailbox;
    assert(ring->closing);
    deliver(ring, __atomic_exchange_n(&box->last, &box->end, __ATOMIC_ACQUIRE), -ECANCELED);
}

void weir_ring_await_messages(struct weir_ring *ring, bool awaits)
{
    ring->awaits_messages = awaits;
}
