/* SPDX-License-Identifier: MIT */
#include "options.h"

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
