/* SPDX-License-Identifier: MIT */
/*
 * Talk to Neovim, a MessagePack-RPC server, over io_uring:
 *
 *     nvim --headless --listen /tmp/nvim.sock &
 *     nvim_api unix:/tmp/nvim.sock
 */
#include <errno.h>
#include <stdio.h>

#include <weir.h>

static struct weir_ring *ring;
static struct weir_conn conn;
static int fd;
static bool closed;
static int status = 1;

/* Pack one call; all of them leave together at the end of the turn. */
static void call(uint32_t id, const char *method, const char *param)
{
    struct weir_packer p;
    weir_pack_begin(&p, weir_conn_out(&conn), 0);
    weir_rpc_request(&p, id, weir_view_text(method), param != NULL);
    if (param != NULL)
        weir_pack_text(&p, param);
    int rc = weir_pack_end(&p, NULL);
    if (rc != 0)
        weir_conn_abort(&conn, rc, "packing failed");
    weir_conn_flush(&conn);
}

/* [channel, {"version": ..., "functions": [...], ...}]: tens of kilobytes, read where they lie. */
static void show_api_info(struct weir_view result)
{
    struct weir_unpacker u;
    struct weir_view key;
    uint32_t elements, pairs, functions = 0;
    uint64_t channel;
    weir_unpack_init(&u, result, NULL);
    weir_unpack_array(&u, &elements);
    weir_unpack_uint(&u, &channel);
    weir_unpack_map(&u, &pairs);
    for (uint32_t i = 0; i < pairs && weir_unpack_str(&u, &key) == 0; i++) {
        if (weir_view_equal(key, weir_view_text("functions"))) {
            weir_unpack_array(&u, &functions);
            for (uint32_t j = 0; j < functions; j++)
                weir_unpack_skip(&u);
        } else {
            weir_unpack_skip(&u);
        }
    }
    if (weir_unpack_end(&u) == 0)
        printf("nvim_get_api_info: channel %u, %u functions, %zu bytes\n", (unsigned)channel,
               (unsigned)functions, result.size);
}

static void on_message(struct weir_conn *from, const struct weir_slice *message)
{
    struct weir_rpc_message m;
    struct weir_unpacker u;
    struct weir_view text = weir_view_text("not a str");
    if (weir_rpc_parse(message->view, &m, NULL) != 0 || m.kind != WEIR_RPC_RESPONSE || m.failed) {
        weir_conn_abort(from, -EPROTO, "no answer, or an error");
        return;
    }
    if (m.id == 1)
        show_api_info(m.result);
    if (m.id == 2)
        printf("nvim_command: done\n");
    if (m.id == 3) {
        weir_unpack_init(&u, m.result, NULL);
        weir_unpack_str(&u, &text);
        printf("nvim_eval: %.*s\n", (int)text.size, (const char *)text.data);
        status = 0;
        weir_conn_finish(from);
    }
}

static void on_closed(struct weir_conn *from, const struct weir_fault *why)
{
    (void)from;
    if (status != 0)
        fprintf(stderr, "connection closed: %s\n", why->reason);
    closed = true;
}

static const struct weir_conn_handlers handlers = {on_message, NULL, on_closed};

static void on_connect(struct weir_op *op)
{
    int rc = op->result;
    if (rc == 0)
        rc = weir_conn_init(&conn, ring, fd, &handlers, NULL, NULL);
    if (rc != 0) {
        fprintf(stderr, "connect: %s\n", weir_error_text(rc));
        closed = true;
        return;
    }
    call(1, "nvim_get_api_info", NULL);
    call(2, "nvim_command", "let g:from_weir = 'hello'");
    call(3, "nvim_eval", "g:from_weir . ' ' . (6 * 7)");
}

int main(int argc, char **argv)
{
    struct weir_pool *pool;
    struct weir_addr addr;
    struct weir_op connect;
    if (argc != 2 || weir_addr_parse(argv[1], &addr) != 0 || weir_sock_open(&addr, &fd) != 0 ||
        weir_pool_create(NULL, &pool) != 0 || weir_ring_create(pool, NULL, &ring) != 0)
        return 64;
    weir_op_init(&connect, on_connect, NULL);
    weir_sock_connect(ring, &connect, fd, &addr);
    while (!closed)
        weir_ring_run(ring, -1);
    weir_ring_destroy(ring);
    return weir_pool_destroy(pool) == 0 ? status : 1;
}
