/* SPDX-License-Identifier: MIT */
/* weir check: whether files are well-formed MessagePack. */
#include "weir.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include <weir/check.h>
#include <weir/pool.h>
#include <weir/unpack.h>

#include "options.h"
#include "report.h"
#include "values.h"

static int help(void)
{
    printf("Usage: weir check [OPTION]... [FILE]...\n"
           "\n"
           "Say whether every FILE consists of whole, well-formed MessagePack values. With no\n"
           "FILE, or when FILE is -, read standard input. Nothing is printed about good files;\n"
           "of a bad one its first fault: 'FILE: offset N, /PATH: REASON', N counted from 0, the\n"
           "path (RFC 6901) leading from the value at the top to the one at fault, if that is in\n"
           "it: /~@N is the N-th key of a map, /~#N the value of a key that is no str or\n"
           "integer.\n"
           "\n"
           "      --canonical    every value must be in canonical form: integers, lengths and\n"
           "                     counts in their shortest form, and the pairs of maps sorted by\n"
           "                     the bytes of their keys, of which no two are equal\n"
           "      --utf8         every str must be UTF-8\n"
           "      --unique-keys  no map may have two equal keys\n"
           "  -d, --depth N      accept at most N arrays and maps within each other, up to 1024\n"
           "                     (default 128)\n"
           "  -e, --elements N   accept values of at most N elements, counting arrays, maps and\n"
           "                     all that is in them (default: any number)\n"
           "  -b, --bytes N      accept values of at most N bytes (default 64M); K, M and G stand\n"
           "                     for 1024, 1024^2 and 1024^3\n"
           "  -h, --help         print this and exit\n"
           "  -V, --version      print the version and exit\n"
           "\n"
           "Exit status: 0 all files are good, 1 a file is bad, 64 wrong usage, 66 a file cannot\n"
           "be opened, 71 out of memory, 74 reading failed. Of several files that are not good\n"
           "the first decides.\n"
           "\n"
           "Example:\n"
           "  $ printf '\\x92\\x01\\xc1' | weir check\n"
           "  (stdin): offset 2, /1: the reserved byte 0xc1\n"
           "\n"
           "Example:\n"
           "  $ printf '\\x82\\xa1a\\x00\\xa1a\\x01' | weir check --unique-keys\n"
           "  (stdin): offset 4, /~@1: a key that was there before\n");
    return report_stdout("weir check");
}

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, struct weir_check_options *check)
{
    static const struct option options[] = {
        {"canonical", no_argument, NULL, 'C'},
        {"depth", required_argument, NULL, 'd'},
        {"elements", required_argument, NULL, 'e'},
        {"bytes", required_argument, NULL, 'b'},
        {"max-value", required_argument, NULL, 'b'},
        {"unique-keys", no_argument, NULL, 'K'},
        {"utf8", no_argument, NULL, 'U'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    struct weir_limits *limits = &check->limits;
    int status = -1;
    int option;

    while (status < 0 && (option = getopt_long(argc, argv, "d:e:b:hV", options, NULL)) != -1) {
        switch (option) {
        case 'e':
            if (!options_number(argv[0], "elements", optarg, false, 1, UINT64_MAX,
                                &limits->elements))
                status = EX_USAGE;
            break;
        case 'b':
            if (!options_number(argv[0], "bytes", optarg, true, 1, VALUES_BYTES_MAX,
                                &limits->bytes))
                status = EX_USAGE;
            break;
        case 'C':
            check->flags |= WEIR_CHECK_CANONICAL;
            break;
        case 'K':
            check->flags |= WEIR_CHECK_UNIQUE;
            break;
        case 'U':
            check->flags |= WEIR_CHECK_UTF8;
            break;
        default:
            status = options_shared(argv[0], option, help, VALUES_BYTES_MAX, limits);
        }
    }
    return status;
}

static int check_file(struct weir_pool *pool, const struct weir_check_options *check,
                      const char *path)
{
    struct values values;
    struct weir_view value;
    int rc = values_open(&values, pool, &check->limits, path, true);

    values_require(&values, check->flags);
    while (rc == 0) {
        do
            rc = values_next_view(&values, &value);
        while (rc == 0);
        if (rc == -EAGAIN)
            rc = values_fill(&values);
    }
    /* A fault of the file is the answer, all else is an error of ours. */
    return values_close(&values, values.fault_reason != NULL ? NULL : "weir check", rc);
}

int weir_cmd_check(int argc, char **argv)
{
    struct weir_check_options check = {.flags = 0};
    struct weir_pool *pool;

    int status = parse_options(argc, argv, &check);
    if (status >= 0)
        return status;
    int rc = weir_pool_create(NULL, &pool);
    if (rc < 0)
        return report_memory_error(argv[0], rc);
    status = EX_OK;
    if (optind == argc)
        status = check_file(pool, &check, NULL);
    for (int i = optind; i < argc; i++)
        status = report_first(status, check_file(pool, &check, argv[i]));
    weir_pool_destroy(pool);
    return status;
}
