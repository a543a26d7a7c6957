/* SPDX-License-Identifier: MIT */
/* weir send: values from files to the log of a service. */
#include "weir.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <weir/conn.h>
#include <weir/rpc.h>

#include "address.h"
#include "client.h"
#include "options.h"
#include "progress.h"
#include "report.h"
#include "values.h"

#define WINDOW 256
#define WINDOW_MAX 65536
#define BATCH_RECORDS 64
#define BATCH_RECORDS_MAX 4096
#define BATCH_BYTES ((uint64_t)16 << 10)
#define BATCH_BYTES_MAX ((uint64_t)1 << 30)
#define CONNECT_SECONDS 5
#define ANSWER_SECONDS 60
#define SECONDS_MAX 86400
#define TICK_NS 100000000
#define ERRORS_SHOWN 5

/* Packed and not sent, above which no more is read. */
#define PENDING_BYTES ((size_t)1 << 20)

static const char command[] = "weir send";

static const char usage[] =
    "Usage: weir send [OPTION]... ADDR [FILE]...\n"
    "Append the MessagePack values of each FILE to the log of the service at ADDR,\n" ADDRESS_FORMS
    ". Without FILE, or when FILE is -, read standard input.\n"
    "\n"
    "      --window N             requests without an answer at a time (default 256)\n"
    "      --batch-records N      most records in a request (default 64)\n"
    "      --batch-bytes N        most bytes of records in a request; a larger record goes alone\n"
    "                             (default 16K)\n"
    "      --repeat N             send everything N times (default 1)\n"
    "      --connect-timeout SECONDS  (default 5)\n"
    "      --timeout SECONDS      longest time without any answer, 0: no limit (default 60)\n"
    "      --backend NAME         " OPTIONS_BACKENDS ", see 'weir features' (default auto)\n"
    "  -q, --quiet                neither progress nor summary\n"
    "  -h, --help                 show this text\n"
    "  -V, --version              show the version\n"
    "\n"
    "A record counts as acknowledged once the service says that it is durable.\n"
    "\n"
    "Exit status: 0 every record was acknowledged; 1 some were not, or a FILE holds something\n"
    "else; 64 wrong usage; 66 a FILE cannot be opened; 69 the service cannot be reached.\n";

struct config {
    const char *address;
    char **files; /* NULL: standard input */
    int file_count;
    uint64_t window;
    uint64_t batch_records;
    uint64_t batch_bytes;
    uint64_t repeat;
    uint64_t connect_seconds;
    uint64_t answer_seconds;
    enum weir_backend backend;
    bool quiet;
};

/* A request without an answer yet. */
struct slot {
    uint32_t id;
    uint32_t records;
    uint64_t bytes;
    bool busy;
};

struct sender {
    const struct config *config;
    struct client client;
    struct weir_conn conn;
    struct weir_op tick;

    /* input */
    struct values values;
    bool file_open;
    bool input_done;
    bool input_idle; /* nothing to read for the moment */
    int file;
    uint64_t round;
    uint64_t total_bytes; /* 0: not known */
    int status;           /* of the input */

    /* the next request: slices of adjacent records are joined */
    struct weir_slice next; /* read and not in the batch */
    struct weir_block *batch_home;
    struct weir_slice *batch;
    uint32_t batch_slices;
    uint32_t batch_records;
    uint64_t batch_bytes;

    /* requests under way: id % window is the slot */
    struct weir_block *slots_home;
    struct slot *slots;
    uint32_t next_id;
    uint64_t outstanding;

    uint64_t records; /* read */
    uint64_t bytes;
    uint64_t acknowledged;
    uint64_t refused;
    uint64_t errors;
    uint64_t largest; /* record sent */
    int64_t start_ns;
    int64_t answer_ns; /* when the last answer came, or the first question since */
    bool show_progress;
    bool closed;
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double seconds_since(int64_t start_ns)
{
    return (double)(now_ns() - start_ns) / 1e9;
}

/* --- the connection --------------------------------------------------------------------------- */

static void show_refusal(struct sender *sender, const struct slot *slot, struct weir_view error)
{
    char text[CLIENT_ERROR_BYTES];
    sender->refused += slot->records;
    if (++sender->errors > ERRORS_SHOWN)
        return;
    client_error_text(error, text);
    if (sender->show_progress)
        progress_clear();
    report_error(command, "%s: %u records refused: %s", sender->client.address,
                 (unsigned)slot->records, text);
    if (sender->errors == ERRORS_SHOWN)
        report_error(command, "more of this is not shown");
}

static void on_message(struct weir_conn *conn, const struct weir_slice *message)
{
    struct sender *sender = conn->user;
    struct weir_rpc_message response;
    int rc = weir_rpc_parse(message->view, &response, NULL);
    struct slot *slot = &sender->slots[response.id % sender->config->window];
    if (rc != 0 || response.kind != WEIR_RPC_RESPONSE || !slot->busy || slot->id != response.id) {
        weir_conn_abort(conn, -EPROTO, "the service sent something else than answers");
        return;
    }
    slot->busy = false;
    sender->outstanding--;
    sender->answer_ns = now_ns();
    if (response.failed)
        show_refusal(sender, slot, response.error);
    else
        sender->acknowledged += slot->records;
}

static void on_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    struct sender *sender = conn->user;
    sender->closed = true;
    weir_op_cancel(&sender->tick);
    if (sender->outstanding == 0 && sender->input_done)
        return;
    if (sender->show_progress)
        progress_clear();
    report_error(command, "%s: connection lost: %s; %llu requests without an answer",
                 sender->client.address, why->error == 0 ? "the service closed it" : why->reason,
                 (unsigned long long)sender->outstanding);
    if (sender->largest > sender->config->batch_bytes)
        report_error(command,
                     "the largest record sent has %llu bytes: maybe more than the service "
                     "takes (--max-message)",
                     (unsigned long long)sender->largest);
}

static void draw(struct sender *sender)
{
    struct progress progress = {
        .done_bytes = sender->bytes,
        .total_bytes = sender->total_bytes,
        .records = sender->acknowledged,
        .seconds = seconds_since(sender->start_ns),
    };
    progress_draw(&progress);
}

static void on_tick(struct weir_op *op)
{
    struct sender *sender = op->user;
    double silent = seconds_since(sender->answer_ns);
    if (op->result != 0 || sender->closed)
        return;
    if (sender->show_progress)
        draw(sender);
    if (sender->config->answer_seconds != 0 && sender->outstanding != 0 &&
        silent > (double)sender->config->answer_seconds)
        weir_conn_abort(&sender->conn, -ETIMEDOUT, "no answer in time");
    weir_ring_timeout(sender->client.ring, op, TICK_NS);
}

static const struct weir_conn_handlers handlers = {on_message, NULL, on_closed};

/* --- requests --------------------------------------------------------------------------------- */

/* Whether one more request may be under way. */
static bool has_room(const struct sender *sender)
{
    return !sender->slots[sender->next_id % sender->config->window].busy &&
           weir_conn_pending_bytes(&sender->conn) < PENDING_BYTES;
}

static void batch_forget(struct sender *sender)
{
    for (uint32_t i = 0; i < sender->batch_slices; i++)
        weir_slice_drop(&sender->batch[i]);
    sender->batch_slices = 0;
    sender->batch_records = 0;
    sender->batch_bytes = 0;
}

static void batch_add_next(struct sender *sender)
{
    struct weir_slice *end = sender->batch + sender->batch_slices;
    struct weir_slice *last = end != sender->batch ? end - 1 : NULL;
    struct weir_slice *next = &sender->next;
    uint64_t size = next->view.size;
    if (last != NULL && next->block == last->block &&
        next->view.data == last->view.data + last->view.size) {
        last->view.size += size;
        weir_slice_drop(next);
    } else {
        *end = *next;
        sender->batch_slices++;
        memset(next, 0, sizeof *next);
    }
    sender->batch_records++;
    sender->batch_bytes += size;
    if (size > sender->largest)
        sender->largest = size;
}

/* Send the batch as one request; there is room for it. */
static void batch_send(struct sender *sender)
{
    struct weir_buf *out = weir_conn_out(&sender->conn);
    struct weir_packer p;
    weir_pack_begin(&p, out, 0);
    weir_rpc_request(&p, sender->next_id, weir_view_text("append"), sender->batch_records);
    int rc = weir_pack_end_part(&p, NULL);
    for (uint32_t i = 0; rc == 0 && i < sender->batch_slices; i++)
        rc = weir_buf_append_slice(out, &sender->batch[i]);
    struct slot *slot = &sender->slots[sender->next_id % sender->config->window];
    slot->id = sender->next_id++;
    slot->records = sender->batch_records;
    slot->bytes = sender->batch_bytes;
    slot->busy = true;
    if (sender->outstanding++ == 0)
        sender->answer_ns = now_ns();
    batch_forget(sender);
    if (rc != 0)
        weir_conn_abort(&sender->conn, rc, weir_error_text(rc));
    else
        weir_conn_flush(&sender->conn);
}

/* --- input ------------------------------------------------------------------------------------ */

static void input_end(struct sender *sender, int rc)
{
    int status = EX_OK;
    if (sender->show_progress && rc < 0)
        progress_clear();
    status = values_close(&sender->values, command, rc);
    sender->file_open = false;
    sender->file++;
    if (status != EX_OK) {
        sender->status = status;
        sender->input_done = true;
    }
}

/* Open the next file, the first one again in the next round. */
static void input_next_file(struct sender *sender)
{
    static const struct weir_limits limits;
    int count = sender->config->file_count;
    if (sender->file == (count != 0 ? count : 1)) {
        sender->file = 0;
        sender->round++;
    }
    if (sender->round == sender->config->repeat) {
        sender->input_done = true;
        return;
    }
    const char *path = count != 0 ? sender->config->files[sender->file] : NULL;
    sender->file_open = true;
    int rc = values_open(&sender->values, sender->client.pool, &limits, path, false);
    if (rc == 0 && sender->round != 0 && sender->values.input.fd == STDIN_FILENO &&
        lseek(STDIN_FILENO, 0, SEEK_SET) < 0)
        rc = -errno;
    if (rc != 0)
        input_end(sender, rc);
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) != 0;
}

/* Have a value in sender->next. False: not now, or there are no more. */
static bool input_get(struct sender *sender)
{
    while (sender->next.view.data == NULL && !sender->input_done) {
        if (!sender->file_open) {
            input_next_file(sender);
            continue;
        }
        int rc = values_next(&sender->values, &sender->next);
        if (rc == 0) {
            sender->records++;
            sender->bytes += sender->next.view.size;
            break;
        }
        if (rc == -EAGAIN) {
            /* What waits for company leaves before we wait for input. */
            if (sender->batch_records != 0)
                return false;
            sender->input_idle = !is_readable(sender->values.input.fd);
            if (sender->input_idle)
                return false;
            rc = values_fill(&sender->values);
        }
        if (rc != 0)
            input_end(sender, rc);
    }
    return sender->next.view.data != NULL;
}

/* Read and send as much as the window allows. */
static void feed(struct sender *sender)
{
    const struct config *config = sender->config;
    sender->input_idle = false;
    while (has_room(sender)) {
        bool more = input_get(sender);
        bool full = more && (sender->batch_records == config->batch_records ||
                             sender->batch_bytes + sender->next.view.size > config->batch_bytes);
        if (sender->batch_records != 0 && (full || !more))
            batch_send(sender);
        else if (more)
            batch_add_next(sender);
        else
            break;
    }
    if (sender->input_done && sender->outstanding == 0 && sender->batch_records == 0)
        weir_conn_finish(&sender->conn);
}

/* The bytes that will be sent in all, if every file can tell. */
static uint64_t total_bytes(const struct config *config)
{
    uint64_t total = 0;
    struct stat status;
    for (int i = 0; i < config->file_count; i++) {
        bool is_stdin = strcmp(config->files[i], "-") == 0;
        int rc = is_stdin ? fstat(STDIN_FILENO, &status) : stat(config->files[i], &status);
        if (rc < 0 || !S_ISREG(status.st_mode))
            return 0;
        total += (uint64_t)status.st_size;
    }
    if (config->file_count == 0 && fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode))
        total = (uint64_t)status.st_size;
    return total * config->repeat;
}

/* --- the whole -------------------------------------------------------------------------------- */

static int run(struct sender *sender)
{
    while (!sender->closed) {
        feed(sender);
        int rc = weir_ring_run(sender->client.ring, sender->input_idle ? TICK_NS / 10 : -1);
        if (rc < 0 && rc != -EINTR) {
            report_error(command, "waiting for the kernel: %s", strerror(-rc));
            return EX_OSERR;
        }
    }
    return EX_OK;
}

static int prepare(struct sender *sender, int fd)
{
    struct weir_pool *pool = sender->client.pool;
    struct weir_conn_options options = {.out_limit_bytes = SIZE_MAX / 2};
    size_t slots_bytes = (size_t)sender->config->window * sizeof(struct slot);
    size_t batch_bytes = (size_t)sender->config->batch_records * sizeof(struct weir_slice);
    int rc = weir_pool_alloc(pool, slots_bytes, &sender->slots_home);
    if (rc == 0)
        rc = weir_pool_alloc(pool, batch_bytes, &sender->batch_home);
    if (rc == 0)
        rc = weir_conn_init(&sender->conn, sender->client.ring, fd, &handlers, &options, sender);
    if (rc != 0) {
        close(fd);
        return report_memory_error(command, rc);
    }
    memset(sender->slots_home->data, 0, slots_bytes);
    sender->slots = (struct slot *)(void *)sender->slots_home->data;
    sender->batch = (struct weir_slice *)(void *)sender->batch_home->data;
    sender->show_progress = !sender->config->quiet && isatty(STDERR_FILENO) == 1;
    sender->total_bytes = total_bytes(sender->config);
    sender->start_ns = sender->answer_ns = now_ns();
    weir_op_init(&sender->tick, on_tick, sender);
    weir_ring_timeout(sender->client.ring, &sender->tick, TICK_NS);
    return EX_OK;
}

static void summarize(const struct sender *sender)
{
    double seconds = seconds_since(sender->start_ns);
    report_error(command, "%llu records, %llu bytes, %.3f s, %.0f records/s, %llu acknowledged",
                 (unsigned long long)sender->records, (unsigned long long)sender->bytes, seconds,
                 (double)sender->acknowledged / (seconds > 0 ? seconds : 1e-9),
                 (unsigned long long)sender->acknowledged);
}

static int send_all(struct sender *sender)
{
    int fd;
    int status = client_open(&sender->client, command, sender->config->address,
                             sender->config->backend, sender->config->connect_seconds, &fd);
    if (status == EX_OK)
        status = prepare(sender, fd);
    if (status == EX_OK) {
        status = run(sender);
        if (sender->show_progress)
            progress_clear();
        if (!sender->config->quiet)
            summarize(sender);
        if (sender->acknowledged != sender->records || !sender->input_done)
            status = report_first(status, REPORT_BAD_DATA);
        status = report_first(status, sender->status);
    }
    if (sender->file_open)
        values_close(&sender->values, command, 0);
    weir_slice_drop(&sender->next);
    batch_forget(sender);
    weir_block_drop(sender->batch_home);
    weir_block_drop(sender->slots_home);
    return report_first(status, client_close(&sender->client));
}

enum { OPT_WINDOW = 256, OPT_RECORDS, OPT_BYTES, OPT_REPEAT, OPT_CONNECT, OPT_ANSWER, OPT_BACKEND };

/* Returns whether the option's value is one. */
static bool apply_option(struct config *config, int option, const char *text)
{
    switch (option) {
    case OPT_WINDOW:
        return options_number(command, "window", text, false, 1, WINDOW_MAX, &config->window);
    case OPT_RECORDS:
        return options_number(command, "batch-records", text, false, 1, BATCH_RECORDS_MAX,
                              &config->batch_records);
    case OPT_BYTES:
        return options_number(command, "batch-bytes", text, true, 1, BATCH_BYTES_MAX,
                              &config->batch_bytes);
    case OPT_REPEAT:
        return options_number(command, "repeat", text, false, 1, UINT32_MAX, &config->repeat);
    case OPT_CONNECT:
        return options_number(command, "connect-timeout", text, false, 1, SECONDS_MAX,
                              &config->connect_seconds);
    case OPT_ANSWER:
        return options_number(command, "timeout", text, false, 0, SECONDS_MAX,
                              &config->answer_seconds);
    case OPT_BACKEND:
        return options_backend(command, text, &config->backend);
    case 'q':
        config->quiet = true;
        return true;
    default:
        report_hint(command);
        return false;
    }
}

int weir_cmd_send(int argc, char **argv)
{
    static const struct option options[] = {
        {"window", required_argument, NULL, OPT_WINDOW},
        {"batch-records", required_argument, NULL, OPT_RECORDS},
        {"batch-bytes", required_argument, NULL, OPT_BYTES},
        {"repeat", required_argument, NULL, OPT_REPEAT},
        {"connect-timeout", required_argument, NULL, OPT_CONNECT},
        {"timeout", required_argument, NULL, OPT_ANSWER},
        {"backend", required_argument, NULL, OPT_BACKEND},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    static struct sender sender;
    struct config config = {
        .window = WINDOW,
        .batch_records = BATCH_RECORDS,
        .batch_bytes = BATCH_BYTES,
        .repeat = 1,
        .connect_seconds = CONNECT_SECONDS,
        .answer_seconds = ANSWER_SECONDS,
    };
    int option;
    while ((option = getopt_long(argc, argv, "qhV", options, NULL)) != -1) {
        if (option == 'V')
            return report_version();
        if (option == 'h') {
            fputs(usage, stdout);
            return report_stdout(command);
        }
        if (!apply_option(&config, option, optarg))
            return EX_USAGE;
    }
    if (optind == argc)
        return report_usage(command, "an address is missing");
    config.address = argv[optind];
    config.files = argv + optind + 1;
    config.file_count = argc - optind - 1;
    sender.config = &config;
    return send_all(&sender);
}
