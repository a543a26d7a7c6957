/* SPDX-License-Identifier: MIT */
/* weir features: what is on in this library on this machine, and why something is off. */
#include "weir.h"

#include <getopt.h>
#include <stdio.h>

#include <weir/base.h>
#include <weir/pool.h>
#include <weir/ring.h>

#include "options.h"
#include "report.h"

static const char command[] = "weir features";

static int help(void)
{
    printf("Usage: weir features [OPTION]...\n"
           "Show what the library can do on this machine, and why something is off: a line each,\n"
           "its name, a tab, and \"on\" or the reason.\n"
           "\n"
           "      --backend NAME  ask for the backend " OPTIONS_BACKENDS " (default auto);\n"
           "                      auto is io_uring, or poll where the kernel refuses that\n"
           "  -h, --help          print this and exit\n"
           "  -V, --version       print the version and exit\n"
           "\n"
           "Exit status: 0; 64 wrong usage; 71 the kernel refuses that backend.\n"
           "\n"
           "Example:\n"
           "  $ weir features --backend poll | head -n 2\n"
           "  backend\tpoll\n"
           "  backend reason\tchosen by option\n");
    return report_stdout(command);
}

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, enum weir_backend *ret)
{
    static const struct option options[] = {
        {"backend", required_argument, NULL, 'b'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
        switch (option) {
        case 'b':
            if (!options_backend(command, optarg, ret))
                return EX_USAGE;
            break;
        case 'h':
            return help();
        case 'V':
            return report_version();
        default:
            return report_hint(command);
        }
    }
    if (optind != argc)
        return report_usage(command, "unexpected argument '%s'", argv[optind]);
    return -1;
}

static void show(const struct weir_ring *ring)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } features[] = {
        {WEIR_RING_SINGLE_ISSUER, "single issuer"},
        {WEIR_RING_DEFER_TASKRUN, "deferred task work"},
        {WEIR_RING_REGISTERED, "registered ring"},
        {WEIR_RING_RECEIVE_BY_PARTS, "receive by parts"},
        {WEIR_RING_BUFFERS, "registered buffers"},
        {WEIR_RING_MIN_WAIT, "waits for several"},
        {WEIR_RING_SQPOLL, "kernel submission thread"},
    };
    bool debug = (weir_features() & WEIR_FEATURE_DEBUG) != 0;

    printf("backend\t%s\n", weir_ring_backend(ring) == WEIR_BACKEND_POLL ? "poll" : "uring");
    printf("backend reason\t%s\n", weir_ring_backend_text(ring));
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
        printf("%s\t%s\n", features[i].name, weir_ring_feature_text(ring, features[i].bit));
    printf("debug library\t%s\n", debug ? "on" : "not configured with --enable-debug");
}

int weir_cmd_features(int argc, char **argv)
{
    struct weir_ring_options options = {.backend = WEIR_BACKEND_AUTO};
    struct weir_pool *pool;
    struct weir_ring *ring;

    int status = parse_options(argc, argv, &options.backend);
    if (status >= 0)
        return status;
    int rc = weir_pool_create(NULL, &pool);
    if (rc != 0)
        return report_memory_error(command, rc);
    rc = weir_ring_create(pool, &options, &ring);
    if (rc == 0) {
        show(ring);
        weir_ring_destroy(ring);
        status = report_stdout(command);
    } else {
        report_error(command, "the kernel refuses a ring: %s (%s)", weir_error_text(rc),
                     weir_error_name(rc));
        status = EX_OSERR;
    }
    weir_pool_destroy(pool);
    return status;
}
