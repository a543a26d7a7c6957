/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "report.h"

static bool scale(const char *suffix, bool is_bytes, uint64_t *number)
{
    static const char suffixes[] = "KMG";

    if (*suffix == '\0')
        return true;
    const char *found = strchr(suffixes, *suffix);
    if (!is_bytes || found == NULL || suffix[1] != '\0')
        return false;
    return !__builtin_mul_overflow(*number, (uint64_t)1024 << 10 * (found - suffixes), number);
}

static bool parse(const char *text, bool is_bytes, uint64_t *ret)
{
    uint64_t number = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(number, 10U, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return false;
    }
    if (at == text || !scale(at, is_bytes, &number))
        return false;
    *ret = number;
    return true;
}

bool options_number(const char *command, const char *option, const char *text, bool is_bytes,
                    uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t number;

    if (parse(text, is_bytes, &number) && number >= min && number <= max) {
        *ret = number;
        return true;
    }
    report_usage(command, "--%s needs a number of %" PRIu64 "..%" PRIu64 "%s, not '%s'", option,
                 min, max, is_bytes ? " bytes (K, M and G may follow it)" : "", text);
    return false;
}

bool options_backend(const char *command, const char *text, enum weir_backend *ret)
{
    static const char *const names[] = {
        [WEIR_BACKEND_AUTO] = "auto",
        [WEIR_BACKEND_URING] = "uring",
        [WEIR_BACKEND_POLL] = "poll",
    };

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum weir_backend)i;
            return true;
        }
    }
    report_usage(command, "--backend needs " OPTIONS_BACKENDS ", not '%s'", text);
    return false;
}

int options_shared(const char *command, int option, int (*help)(void), uint64_t bytes_max,
                   struct weir_limits *limits)
{
    uint64_t depth;

    switch (option) {
    case 'd':
        if (!options_number(command, "depth", optarg, false, 1, WEIR_DEPTH_MAX, &depth))
            return EX_USAGE;
        limits->depth = (uint32_t)depth;
        return -1;
    case 'b':
        if (!options_number(command, "max-value", optarg, true, 1, bytes_max, &limits->bytes))
            return EX_USAGE;
        return -1;
    case 'h':
        return help();
    case 'V':
        return report_version();
    default:
        return report_hint(command);
    }
}

int options_limits(int argc, char **argv, int (*help)(void), uint64_t bytes_max,
                   struct weir_limits *limits)
{
    static const struct option options[] = {
        {"depth", required_argument, NULL, 'd'},
        {"max-value", required_argument, NULL, 'b'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int status = -1;
    int option;

    while (status < 0 && (option = getopt_long(argc, argv, "d:hV", options, NULL)) != -1)
        status = options_shared(argv[0], option, help, bytes_max, limits);
    return status;
}
