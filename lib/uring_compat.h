/* SPDX-License-Identifier: MIT */
/*
 * Constants of io_uring that kernels have and liburing 2.3's headers lack: the one place for them.
 * Values from the kernel's include/uapi/linux/io_uring.h.
 */
#ifndef WEIR_URING_COMPAT_H
#define WEIR_URING_COMPAT_H

#include <stdint.h>

/* Kernel 6.12: receives take a provided buffer bit by bit. */
#define WEIR__PBUF_RING_INC 2u   /* IOU_PBUF_RING_INC, in the registration's flags */
#define WEIR__CQE_F_BUF_MORE 16u /* IORING_CQE_F_BUF_MORE: the buffer is not used up */

/* Kernel 6.12: a wait for several completions that after a time is content with one. */
#define WEIR__FEAT_MIN_TIMEOUT (1u << 15) /* IORING_FEAT_MIN_TIMEOUT */

/* struct io_uring_getevents_arg with the field that liburing 2.3 still calls pad. */
struct weir__getevents_arg {
    uint64_t sigmask;
    uint32_t sigmask_sz;
    uint32_t min_wait_usec;
    uint64_t ts;
};

/* struct io_uring_buf_reg with the flags field that liburing 2.3 still calls pad. */
struct weir__buf_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid;
    uint16_t flags;
    uint64_t reserved[3];
};

#endif /* WEIR_URING_COMPAT_H */
