/* SPDX-License-Identifier: MIT */
/* weir serve: options and life cycle; what the service does is service.h. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <weir/file.h>
#include <weir/log.h>
#include <weir/pool.h>
#include <weir/ring.h>

#include "address.h"
#include "json_line.h"
#include "options.h"
#include "report.h"
#include "service.h"
#include "weir.h"

#define MEMORY_BYTES ((uint64_t)256 << 20)
#define MEMORY_BYTES_MIN ((uint64_t)16 << 20)
#define MESSAGE_BYTES ((uint64_t)16 << 20)
#define WAITING_BYTES ((uint64_t)8 << 20)
#define CONNECTIONS 10000
#define CONNECTIONS_MAX 1000000
#define BYTES_MAX ((uint64_t)1 << 40)
#define STALL_SECONDS 300
#define DRAIN_SECONDS 10
#define SECONDS_MAX 86400
#define RECORD_DEPTH 128
#define SEGMENT_BYTES_MIN ((uint64_t)64 << 10)
#define RECEIVE_BLOCKS 16
#define RECEIVE_BLOCK_BYTES (256 << 10)
#define LINES_MAX 100
#define LINES_PER_SECOND 10
#define LINE_NS (INT64_C(1000000000) / LINES_PER_SECOND)
#define PREDECESSOR_PAUSE_NS 50000000
#define PREDECESSOR_PAUSES 20

static const char command[] = "weir serve";

struct config {
    struct weir_addr addrs[SERVICE_LISTENERS_MAX];
    unsigned addr_count;
    const char *log_path;
    const char *final_stat_path;
    uint64_t memory_bytes;
    uint64_t waiting_bytes;
    uint64_t stall_seconds;
    uint64_t drain_seconds;
    enum weir_backend backend;
    struct weir_log_options log;
    struct service_options service;
};

/* Everything that lives as long as the service. */
struct server {
    struct weir_pool *pool;
    struct weir_ring *ring;
    struct weir_log *log;
    struct service service;
    struct weir_op signal_op;
    struct weir_block *signal_block;
    int signal_fd;
    unsigned pauses; /* see wait_for_predecessor() */
};

static const char usage[] =
    "Usage: weir serve --listen ADDR --log FILE [OPTION]...\n"
    "Keep a log of records for clients that speak MessagePack-RPC.\n"
    "\n"
    "  -l, --listen ADDR      " ADDRESS_FORMS ", may be given several times;\n"
    "                         HOST empty: every address; PORT 0: one that is free;\n"
    "                         PATH @NAME: in the abstract namespace\n"
    "  -o, --log FILE         the log, a stream of MessagePack values; made if missing\n"
    "      --ack WHEN         append is answered when its records are durable (default), or\n"
    "                         once they are written, which a power failure may undo\n"
    "      --segment N        once the file has so many bytes, go on in FILE.000001 and so on\n"
    "                         (default 1G)\n"
    "      --direct           write past the page cache where the file system takes it\n"
    "      --max-message N    largest message taken, in bytes (default 16M)\n"
    "      --memory N         most memory for blocks, in bytes (default 256M, at least 16M)\n"
    "      --max-waiting N    bytes that may wait for the disk; connections that append more\n"
    "                         are paused (default 8M)\n"
    "      --max-connections N\n"
    "                         most connections at a time; more are accepted and closed at\n"
    "                         once (default 10000)\n"
    "      --stall SECONDS    close a connection that takes none of its answers, or less\n"
    "                         than one send of them, for so long; 0: never (default 300)\n"
    "      --drain SECONDS    on a signal, how long peers may take for their answers\n"
    "                         (default 10)\n"
    "      --backend NAME     " OPTIONS_BACKENDS ", see 'weir features' (default auto)\n"
    "      --final-stat FILE  at the end, write the counters of 'stat' there as JSON\n"
    "  -h, --help             show this text\n"
    "  -V, --version          show the version\n"
    "\n"
    "Methods, called as [0, id, method, [parameter...]]:\n"
    "  ping                   answers \"pong\"\n"
    "  echo VALUE...          answers VALUE\n"
    "  append RECORD...       appends each to the log, exactly as received; answers the number\n"
    "                         of the last one, see --ack. Also as a notification.\n"
    "  read FROM COUNT        answers an array of up to COUNT records from number FROM on, the\n"
    "                         first record being 1: as many as fit 1 MiB, at least one; none\n"
    "                         when there is no record FROM yet\n"
    "  stat                   answers a map of counters: pool, buffers, ring, log, connections\n"
    "\n"
    "The addresses are told on standard error ('listening on ADDR') when the service is ready.\n"
    "SIGINT and SIGTERM: answer what is under way, close, exit 0; a second one exits at once.\n"
    "\n"
    "When the disk is full appends are answered with an error, and work again when it is not.\n"
    "\n"
    "Exit status: 0 ended by a signal; 1 the file is not a log, or a second signal came; 64\n"
    "wrong usage; 69 an address is in use; 71 the system refused memory or a ring; 73, 74 the\n"
    "log cannot be opened or read; 75 another process serves it.\n";

/*
 * Lines for the operator, at most LINES_MAX at once and LINES_PER_SECOND for long: peers that
 * misbehave must not fill a disk, nor a pipe, which would stop us. What is left out is counted.
 */
static void report_line(const char *line)
{
    static int64_t line_ns; /* time that is used up */
    static unsigned long long left_out;
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    int64_t now_ns = (int64_t)clock.tv_sec * 1000000000 + clock.tv_nsec;
    int64_t oldest_ns = now_ns - LINES_MAX * LINE_NS;
    if (line_ns < oldest_ns)
        line_ns = oldest_ns;
    if (line_ns + LINE_NS > now_ns) {
        left_out++;
        return;
    }
    line_ns += LINE_NS;
    if (left_out != 0)
        report_error(command, "%llu lines left out", left_out);
    left_out = 0;
    report_error(command, "%s", line);
}

/* --- options ---------------------------------------------------------------------------------- */

enum {
    OPT_MAX_MESSAGE = 256,
    OPT_MEMORY,
    OPT_MAX_WAITING,
    OPT_MAX_CONNECTIONS,
    OPT_STALL,
    OPT_DRAIN,
    OPT_BACKEND,
    OPT_FINAL_STAT,
    OPT_ACK,
    OPT_SEGMENT,
    OPT_DIRECT,
};

static int add_address(struct config *config, const char *text)
{
    const char *why = NULL;
    if (config->addr_count == SERVICE_LISTENERS_MAX)
        return report_usage(command, "--listen %s: too many addresses", text);
    int rc = address_resolve(text, &config->addrs[config->addr_count], &why);
    if (rc == -EHOSTUNREACH) {
        report_error(command, "--listen %s: %s", text, why);
        return EX_NOHOST;
    }
    if (rc != 0)
        return report_usage(command, "--listen %s: %s", text, why);
    config->addr_count++;
    return EX_OK;
}

static int add_bytes(uint64_t *ret, const char *option, uint64_t min, const char *text)
{
    return options_number(command, option, text, true, min, BYTES_MAX, ret) ? EX_OK : EX_USAGE;
}

static int add_seconds(uint64_t *ret, const char *option, const char *text)
{
    return options_number(command, option, text, false, 0, SECONDS_MAX, ret) ? EX_OK : EX_USAGE;
}

static int apply_option(struct config *config, int option, const char *text)
{
    switch (option) {
    case 'l':
        return add_address(config, text);
    case 'o':
        config->log_path = text;
        return EX_OK;
    case OPT_MAX_MESSAGE:
        return add_bytes(&config->service.limits.bytes, "max-message", 64, text);
    case OPT_MEMORY:
        return add_bytes(&config->memory_bytes, "memory", MEMORY_BYTES_MIN, text);
    case OPT_MAX_WAITING:
        return add_bytes(&config->waiting_bytes, "max-waiting", 1, text);
    case OPT_MAX_CONNECTIONS:
        return options_number(command, "max-connections", text, false, 1, CONNECTIONS_MAX,
                              &config->service.connections_max)
                   ? EX_OK
                   : EX_USAGE;
    case OPT_STALL:
        return add_seconds(&config->stall_seconds, "stall", text);
    case OPT_DRAIN:
        return add_seconds(&config->drain_seconds, "drain", text);
    case OPT_BACKEND:
        return options_backend(command, text, &config->backend) ? EX_OK : EX_USAGE;
    case OPT_FINAL_STAT:
        config->final_stat_path = text;
        return EX_OK;
    case OPT_ACK:
        config->log.ack_written = strcmp(text, "written") == 0;
        return config->log.ack_written || strcmp(text, "durable") == 0
                   ? EX_OK
                   : report_usage(command, "--ack %s: durable or written is expected", text);
    case OPT_SEGMENT:
        return add_bytes(&config->log.segment_bytes, "segment", SEGMENT_BYTES_MIN, text);
    case OPT_DIRECT:
        config->log.direct = true;
        return EX_OK;
    default:
        return report_hint(command);
    }
}

/* Returns EX_OK or the status to exit with. @ret_done: what was asked for is done. */
static int parse_options(int argc, char **argv, struct config *config, bool *ret_done)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"log", required_argument, NULL, 'o'},
        {"max-message", required_argument, NULL, OPT_MAX_MESSAGE},
        {"memory", required_argument, NULL, OPT_MEMORY},
        {"max-waiting", required_argument, NULL, OPT_MAX_WAITING},
        {"max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS},
        {"stall", required_argument, NULL, OPT_STALL},
        {"drain", required_argument, NULL, OPT_DRAIN},
        {"backend", required_argument, NULL, OPT_BACKEND},
        {"final-stat", required_argument, NULL, OPT_FINAL_STAT},
        {"ack", required_argument, NULL, OPT_ACK},
        {"segment", required_argument, NULL, OPT_SEGMENT},
        {"direct", no_argument, NULL, OPT_DIRECT},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "l:o:hV", options, NULL)) != -1) {
        *ret_done = option == 'h' || option == 'V';
        if (option == 'h')
            fputs(usage, stdout);
        if (*ret_done)
            return option == 'V' ? report_version() : report_stdout(command);
        int status = apply_option(config, option, optarg);
        if (status != EX_OK)
            return status;
    }
    if (config->addr_count == 0)
        return report_usage(command, "--listen ADDR is missing");
    if (config->log_path == NULL)
        return report_usage(command, "--log FILE is missing");
    if (optind != argc)
        return report_usage(command, "unexpected argument '%s'", argv[optind]);
    config->service.waiting_bytes = (size_t)config->waiting_bytes;
    config->service.stall_ns = (int64_t)config->stall_seconds * 1000000000;
    config->service.drain_ns = (int64_t)config->drain_seconds * 1000000000;
    return EX_OK;
}

/* --- signals ---------------------------------------------------------------------------------- */

static int signal_wait(struct server *server)
{
    return weir_file_read(server->ring, &server->signal_op, server->signal_fd, server->signal_block,
                          0, sizeof(struct signalfd_siginfo), WEIR_FILE_POSITION);
}

static void on_signal(struct weir_op *op)
{
    struct server *server = op->user;
    if (op->result < 0 && op->result != -EINTR && op->result != -EAGAIN)
        return; /* the ring is being destroyed */
    if (op->result > 0 && server->service.stopping) {
        service_unlink(&server->service);
        report_error(command, "second signal: exit at once");
        _exit(1);
    }
    if (op->result > 0) {
        report_error(command, "signal: finishing what is under way");
        service_stop(&server->service);
    }
    signal_wait(server);
}

/* Signals come as bytes to read, so that they are handled like everything else, in turn. */
static int signal_open(struct server *server)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (server->signal_fd < 0)
        return -errno;
    int rc = weir_pool_alloc(server->pool, sizeof(struct signalfd_siginfo), &server->signal_block);
    if (rc != 0)
        return rc;
    weir_op_init(&server->signal_op, on_signal, server);
    return signal_wait(server);
}

/* --- life cycle ------------------------------------------------------------------------------- */

static int open_failed(const char *what, int error, int status)
{
    report_error(command, "%s: %s (%s)", what, weir_error_text(error), weir_error_name(error));
    return status;
}

/*
 * What a killed process had in its ring, sockets and locks included, is let go of by the kernel a
 * little later than the process is gone: whoever takes its place may have to wait. False: waited
 * long enough.
 */
static bool wait_for_predecessor(struct server *server)
{
    const struct timespec pause = {.tv_nsec = PREDECESSOR_PAUSE_NS};
    if (server->pauses == PREDECESSOR_PAUSES)
        return false;
    server->pauses++;
    nanosleep(&pause, NULL);
    return true;
}

/* What was found that should not be: said, and the service goes on. */
static void report_damage(const char *path, const struct weir_log_report *report)
{
    char name[32] = "";
    if (report->segment != 0)
        snprintf(name, sizeof name, ".%06u", (unsigned)report->segment);
    if (report->cut_bytes != 0)
        report_error(command, "%s%s: offset %llu: %s; %llu bytes removed", path, name,
                     (unsigned long long)report->end_bytes, report->reason,
                     (unsigned long long)report->cut_bytes);
    if (report->gaps != 0)
        report_error(command, "%s%s: offset %zu: %s", path, name, report->gap.offset,
                     report->gap.reason);
}

static int open_log(struct server *server, const struct config *config)
{
    const char *path = config->log_path;
    struct weir_log_options options = config->log;
    struct weir_log_report report;
    int rc;
    /* With its head, and if so its padding, a block fits a block of the pool. */
    options.block_bytes = RECEIVE_BLOCK_BYTES - (options.direct ? 4096 : 0) - WEIR_LOG_HEAD_BYTES;
    options.on_room = service_on_room;
    options.user = &server->service;
    do
        rc = weir_log_open(server->ring, path, &options, &server->log, &report);
    while (rc == -EWOULDBLOCK && wait_for_predecessor(server));
    switch (rc) {
    case 0:
        report_damage(path, &report);
        if (options.direct && strcmp(weir_log_direct_text(server->log), "on") != 0)
            report_error(command, "--direct: %s", weir_log_direct_text(server->log));
        return EX_OK;
    case -EWOULDBLOCK:
        report_error(command, "%s: %s", path, report.reason);
        return EX_TEMPFAIL;
    case -EPROTO:
        report_error(command, "%s: %s", path, report.reason);
        return REPORT_BAD_DATA;
    default:
        report_error(command, "%s: %s: %s (%s)", path, report.reason, weir_error_text(rc),
                     weir_error_name(rc));
        return rc == -EIO ? EX_IOERR : EX_CANTCREAT;
    }
}

static int listen_all(struct server *server, const struct config *config)
{
    struct weir_addr chosen[SERVICE_LISTENERS_MAX];
    char text[WEIR_ADDR_TEXT_BYTES];
    for (unsigned i = 0; i < config->addr_count; i++) {
        int rc;
        do
            rc = service_listen(&server->service, &config->addrs[i], &chosen[i]);
        while (rc == -EADDRINUSE && wait_for_predecessor(server));
        if (rc != 0) {
            weir_addr_format(&config->addrs[i], text);
            return open_failed(text, rc, EX_UNAVAILABLE);
        }
    }
    /* Only now, so that whoever has read one line finds the service wholly there. */
    for (unsigned i = 0; i < config->addr_count; i++) {
        weir_addr_format(&chosen[i], text);
        report_error(command, "listening on %s", text);
    }
    return EX_OK;
}

static int run(struct server *server)
{
    while (!service_is_done(&server->service)) {
        int rc = weir_ring_run(server->ring, -1);
        if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
            return open_failed("waiting for the kernel", rc, EX_OSERR);
    }
    return EX_OK;
}

/* The service's counters, with the memory that is held once everything is closed. */
static int write_final_stat(const char *path, const struct service_stats *stats)
{
    struct weir_pool *pool = NULL;
    struct weir_buf buf;
    struct weir_packer p;
    struct weir_view map;
    int rc = weir_pool_create(NULL, &pool);
    if (rc != 0)
        return rc;
    FILE *out = fopen(path, "w");
    rc = out == NULL ? -errno : weir_buf_init(&buf, pool, NULL);
    if (rc == 0) {
        weir_pack_begin(&p, &buf, 0);
        service_stats_pack(stats, &p);
        rc = weir_pack_end(&p, &map);
        if (rc == 0)
            rc = json_line_print(map, pool, out);
        weir_buf_fini(&buf);
    }
    if (out != NULL && fclose(out) != 0 && rc == 0)
        rc = -errno;
    weir_pool_destroy(pool);
    return rc;
}

/* Give everything back, and see that it is everything. */
static int close_all(struct server *server, const struct config *config, bool ran)
{
    struct service_stats stats;
    int rc = 0;
    if (ran)
        service_stats(&server->service, &stats);
    service_fini(&server->service);
    int closed = weir_log_close(server->log);
    if (closed != 0)
        open_failed(config->log_path, closed, 0);
    weir_ring_destroy(server->ring);
    weir_block_drop(server->signal_block);
    if (server->signal_fd >= 0)
        close(server->signal_fd);
    if (ran && config->final_stat_path != NULL) {
        weir_pool_stats(server->pool, &stats.pool);
        stats.ring.blocks_lent = 0;
        stats.ring.active = 0;
        rc = write_final_stat(config->final_stat_path, &stats);
        if (rc != 0)
            open_failed(config->final_stat_path, rc, 0);
    }
    if (weir_pool_destroy(server->pool) != 0) {
        report_error(command, "blocks of memory are still held at the end");
        return EX_SOFTWARE;
    }
    return rc != 0 ? EX_CANTCREAT : EX_OK;
}

static int serve(struct server *server, const struct config *config)
{
    /* One message in each receive block straddles its end and is copied: large blocks, few. */
    struct weir_pool_options pool_options = {
        .limit_bytes = (size_t)config->memory_bytes,
        .class_bytes = {64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, RECEIVE_BLOCK_BYTES},
        /* An eighth at once, of which the kernel gives what is touched: how many blocks are under
         * way depends on how long the disk takes, and is not to end in system calls. */
        .prealloc_bytes = (size_t)config->memory_bytes / 8,
    };
    struct weir_ring_options ring_options = {
        .receive_blocks = RECEIVE_BLOCKS,
        .receive_block_bytes = RECEIVE_BLOCK_BYTES,
        .backend = config->backend,
    };
    server->signal_fd = -1;
    int rc = weir_pool_create(&pool_options, &server->pool);
    if (rc != 0)
        return open_failed("no memory", rc, EX_OSERR);
    int status = EX_OK;
    rc = weir_ring_create(server->pool, &ring_options, &server->ring);
    if (rc != 0)
        status = open_failed("the kernel refuses a ring", rc, EX_OSERR);
    else if (config->backend == WEIR_BACKEND_AUTO &&
             weir_ring_backend(server->ring) == WEIR_BACKEND_POLL)
        report_error(command, "polling: %s", weir_ring_backend_text(server->ring));
    if (status == EX_OK)
        status = open_log(server, config);
    bool ran = status == EX_OK;
    if (ran) {
        rc = service_init(&server->service, server->ring, server->log, config->log_path,
                          &config->service);
        if (rc == 0)
            rc = signal_open(server);
        status = rc == 0 ? listen_all(server, config)
                         : open_failed("the log or signals cannot be read", rc, EX_OSERR);
        if (status == EX_OK)
            status = run(server);
        else
            service_unlink(&server->service);
    }
    int closed = close_all(server, config, ran);
    return status != EX_OK ? status : closed;
}

int weir_cmd_serve(int argc, char **argv)
{
    static struct server server; /* too large for some stacks */
    struct config config = {
        .memory_bytes = MEMORY_BYTES,
        .waiting_bytes = WAITING_BYTES,
        .stall_seconds = STALL_SECONDS,
        .drain_seconds = DRAIN_SECONDS,
        .service =
            {
                .limits = {.depth = RECORD_DEPTH, .bytes = MESSAGE_BYTES},
                .connections_max = CONNECTIONS,
                .report = report_line,
            },
    };
    bool done = false;
    int status = parse_options(argc, argv, &config, &done);
    if (done || status != EX_OK)
        return status;
    /* Whoever reads our standard error may go away; the service goes on. */
    signal(SIGPIPE, SIG_IGN);
    /* And whoever reads it gets whole lines. */
    setvbuf(stderr, NULL, _IOLBF, 0);
    return serve(&server, &config);
}
