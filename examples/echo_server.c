/* SPDX-License-Identifier: MIT */
/* Send every MessagePack value back to whoever sent it: echo_server unix:PATH | tcp:HOST:PORT */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <weir.h>

static struct weir_pool *pool;
static struct weir_ring *ring;

/* A whole value. Small ones are copied, others leave from the block that they came in. */
static void on_message(struct weir_conn *conn, const struct weir_slice *message)
{
    int rc = weir_buf_append_slice(weir_conn_out(conn), message);
    if (rc != 0)
        weir_conn_abort(conn, rc, "no room for the answer");
    weir_conn_flush(conn);
}

/* The kernel holds nothing of it any more: the block that it lies in can go. */
static void on_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    if (why->error != 0)
        printf("closed at offset %zu: %s\n", why->offset, why->reason);
    fflush(stdout);
    weir_block_drop(conn->user);
}

static const struct weir_conn_handlers handlers = {on_message, NULL, on_closed};

/* Called for each connection; op->result is its descriptor. */
static void on_accept(struct weir_op *op)
{
    struct weir_block *block;
    if (op->result < 0) {
        fprintf(stderr, "accept: %s\n", weir_error_text(op->result));
        return;
    }
    if (weir_pool_alloc(pool, sizeof(struct weir_conn), &block) != 0) {
        close(op->result);
        return;
    }
    struct weir_conn *conn = (struct weir_conn *)(void *)block->data;
    if (weir_conn_init(conn, ring, op->result, &handlers, NULL, block) != 0) {
        close(op->result);
        weir_block_drop(block);
    }
}

int main(int argc, char **argv)
{
    struct weir_addr addr;
    struct weir_op accept;
    char text[WEIR_ADDR_TEXT_BYTES];
    int fd;
    if (argc != 2 || weir_addr_parse(argv[1], &addr) != 0) {
        fprintf(stderr, "usage: echo_server unix:PATH | tcp:HOST:PORT\n");
        return 64;
    }
    int rc = weir_pool_create(NULL, &pool);
    if (rc == 0)
        rc = weir_ring_create(pool, NULL, &ring);
    if (rc == 0)
        rc = weir_sock_listen(&addr, 128, &fd);
    if (rc == 0)
        rc = weir_sock_local(fd, &addr);
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", argv[1], weir_error_text(rc));
        return 1;
    }
    weir_addr_format(&addr, text);
    printf("listening on %s\n", text);
    fflush(stdout);
    weir_op_init(&accept, on_accept, NULL);
    rc = weir_sock_accept(ring, &accept, fd);
    while (rc >= 0 || rc == -EINTR)
        rc = weir_ring_run(ring, -1);
    return 1;
}
