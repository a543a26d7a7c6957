/* SPDX-License-Identifier: MIT */
/* The counters that a service gives when it is asked. */
#include "stat_source.h"

#include <errno.h>
#include <string.h>

#include <weir/conn.h>
#include <weir/rpc.h>

#include "client.h"
#include "json_line.h"
#include "report.h"
#include "stat_table.h"

#define CALL_ID 1

struct call {
    struct client client;
    struct weir_conn conn;
    struct weir_op timer;
    const struct stat_options *options;
    int status;
    bool answered;
    bool closed;
};

static int print(const struct call *call, struct weir_view counters)
{
    if (call->options->table)
        return stat_table_print(counters, stdout);
    return json_line_print(counters, call->client.pool, stdout);
}

static void on_message(struct weir_conn *conn, const struct weir_slice *message)
{
    struct call *call = conn->user;
    struct weir_rpc_message response;
    char text[CLIENT_ERROR_BYTES];
    int rc = weir_rpc_parse(message->view, &response, NULL);
    if (rc != 0 || response.kind != WEIR_RPC_RESPONSE || response.id != CALL_ID) {
        weir_conn_abort(conn, -EPROTO, "not a response to our call");
        return;
    }
    call->answered = true;
    if (response.failed) {
        client_error_text(response.error, text);
        report_error(call->client.command, "%s: %s", call->client.address, text);
        call->status = REPORT_BAD_DATA;
    } else {
        rc = print(call, response.result);
        if (rc == -EBADMSG)
            report_error(call->client.command, "%s: the answer is no map of counters",
                         call->client.address);
        if (rc != 0)
            call->status =
                rc == -EBADMSG ? REPORT_BAD_DATA : report_output_error(call->client.command, rc);
    }
    weir_conn_finish(conn);
}

static void on_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    struct call *call = conn->user;
    call->closed = true;
    weir_op_cancel(&call->timer);
    if (call->answered)
        return;
    report_error(call->client.command, "%s: no answer: %s", call->client.address,
                 why->error == 0 ? "the service closed the connection" : why->reason);
    call->status = EX_UNAVAILABLE;
}

static void on_timer(struct weir_op *op)
{
    struct call *call = op->user;
    if (op->result == 0)
        weir_conn_abort(&call->conn, -ETIMEDOUT, "none in time");
}

static const struct weir_conn_handlers handlers = {on_message, NULL, on_closed};

static int run(struct call *call, int fd)
{
    struct weir_packer p;
    int rc = weir_conn_init(&call->conn, call->client.ring, fd, &handlers, NULL, call);
    if (rc != 0)
        return report_memory_error(call->client.command, rc);
    weir_op_init(&call->timer, on_timer, call);
    weir_ring_timeout(call->client.ring, &call->timer,
                      (int64_t)call->options->timeout_seconds * 1000000000);
    weir_pack_begin(&p, weir_conn_out(&call->conn), 0);
    weir_rpc_request(&p, CALL_ID, weir_view_text("stat"), 0);
    rc = weir_pack_end(&p, NULL);
    if (rc != 0)
        weir_conn_abort(&call->conn, rc, "no memory for the call");
    weir_conn_flush(&call->conn);
    while (!call->closed) {
        rc = weir_ring_run(call->client.ring, -1);
        if (rc < 0 && rc != -EINTR) {
            report_error(call->client.command, "waiting for the kernel: %s", strerror(-rc));
            return EX_OSERR;
        }
    }
    return call->status;
}

int stat_service(const char *command, const char *address, const struct stat_options *options)
{
    struct call call;
    int fd;

    memset(&call, 0, sizeof call);
    call.options = options;
    int status = client_open(&call.client, command, address, WEIR_BACKEND_AUTO,
                             options->timeout_seconds, &fd);
    if (status == EX_OK)
        status = run(&call, fd);
    return report_first(status, client_close(&call.client));
}
