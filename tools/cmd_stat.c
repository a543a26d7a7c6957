/* SPDX-License-Identifier: MIT */
/* weir stat: the counters of a service, or what files are made of, as JSON or as tables. */
#include "weir.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "options.h"
#include "report.h"
#include "stat_source.h"
#include "values.h"

#define TIMEOUT_SECONDS 5
#define TIMEOUT_SECONDS_MAX 86400

static const char command[] = "weir stat";

static int help(void)
{
    printf("Usage: weir stat [OPTION]... ADDR\n"
           "   or: weir stat [OPTION]... [FILE]...\n"
           "\n"
           "Show the counters of the service at ADDR, " ADDRESS_FORMS ", as one\n"
           "line of JSON. Or show what the MessagePack values in each FILE are made of, a line\n"
           "each; with no FILE, or when FILE is -, read standard input. Of a file that begins\n"
           "like an address write ./FILE.\n"
           "\n"
           "      --table            as tables for people; kinds and classes are rows\n"
           "      --timeout SECONDS  for connecting, and for the answer (default 5)\n"
           "  -d, --depth N          accept at most N arrays and maps within each other in a\n"
           "                         file, up to 1024 (default 128)\n"
           "      --max-value N      accept values of at most N bytes in a file (default 64M);\n"
           "                         K, M and G stand for 1024, 1024^2 and 1024^3\n"
           "  -h, --help             print this and exit\n"
           "  -V, --version          print the version and exit\n"
           "\n"
           "Of a file are counted: all values, elements (arrays and maps as well as what is in\n"
           "them) and bytes; by type, elements, bytes (of an array or map those of its head),\n"
           "bytes that the shortest form would save, and lengths; values by size, up to a power\n"
           "of two; elements by depth. The line says whose it is, as \"file\"; so does a heading\n"
           "where there are tables of several files.\n"
           "\n"
           "Exit status: 0 all is well, 1 the service refused, or a file is bad, 64 wrong usage,\n"
           "66 a file cannot be opened, 69 the service cannot be reached, 71 out of memory, 74\n"
           "reading or writing failed.\n"
           "\n"
           "Example:\n"
           "  $ printf '\\x92\\xcd\\x00\\x07\\xa2hi' | weir stat | jq -c .depths\n"
           "  {\"elements\":3,\"depths\":[{\"depth\":0,\"elements\":1},"
           "{\"depth\":1,\"elements\":2}]}\n");
    return report_stdout(command);
}

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, struct stat_options *ret)
{
    static const struct option options[] = {
        {"depth", required_argument, NULL, 'd'},
        {"max-value", required_argument, NULL, 'b'},
        {"table", no_argument, NULL, 'T'},
        {"timeout", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int status = -1;
    int option;

    while (status < 0 && (option = getopt_long(argc, argv, "d:hV", options, NULL)) != -1) {
        switch (option) {
        case 'T':
            ret->table = true;
            break;
        case 't':
            if (!options_number(command, "timeout", optarg, false, 1, TIMEOUT_SECONDS_MAX,
                                &ret->timeout_seconds))
                status = EX_USAGE;
            break;
        default:
            status = options_shared(command, option, help, VALUES_BYTES_MAX, &ret->limits);
        }
    }
    return status;
}

static bool is_address(const char *text)
{
    return strncmp(text, "tcp:", 4) == 0 || strncmp(text, "unix:", 5) == 0;
}

int weir_cmd_stat(int argc, char **argv)
{
    struct stat_options options = {.timeout_seconds = TIMEOUT_SECONDS};

    int status = parse_options(argc, argv, &options);
    if (status >= 0)
        return status;
    if (optind == argc)
        return stat_file(command, NULL, &options);
    if (is_address(argv[optind])) {
        if (optind + 1 != argc)
            return report_usage(command, "one address is expected");
        return stat_service(command, argv[optind], &options);
    }
    options.headings = optind + 1 < argc;
    status = EX_OK;
    for (int i = optind; i < argc && !ferror(stdout); i++)
        status = report_first(status, stat_file(command, argv[i], &options));
    return status;
}
