/* SPDX-License-Identifier: MIT */
#include "rfc3339.h"

#include <inttypes.h>
#include <stdio.h>

#define DAY_SECONDS 86400
#define FIRST_SECOND INT64_C(-62167219200) /* 0000-01-01T00:00:00Z */
#define LAST_SECOND INT64_C(253402300799)  /* 9999-12-31T23:59:59Z */
#define ERA_DAYS 146097                    /* in 400 years of the Gregorian calendar */
#define EPOCH_DAYS 719468                  /* from 0000-03-01 to 1970-01-01 */

/* Years are counted from March, so that the leap day is the last one of its year. Days from
 * 0000-03-01; the year before that is reached by starting an era earlier. */
static int64_t days_of_date(int64_t year, int64_t month, int64_t day)
{
    int64_t months = (month + 9) % 12;
    int64_t years = year - (month <= 2) + 400;
    int64_t days = years * 365 + years / 4 - years / 100 + years / 400;

    return days - ERA_DAYS + (153 * months + 2) / 5 + day - 1;
}

static void date_of_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    days += ERA_DAYS;
    int64_t era = days / ERA_DAYS;
    int64_t of_era = days % ERA_DAYS;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
    int64_t months = (5 * of_year + 2) / 153;

    *day = of_year - (153 * months + 2) / 5 + 1;
    *month = months < 10 ? months + 3 : months - 9;
    *year = years + era * 400 - 400 + (*month <= 2);
}

size_t rfc3339_text(struct weir_timestamp time, char ret[RFC3339_TEXT_BYTES])
{
    int64_t year, month, day;

    if (time.seconds < FIRST_SECOND || time.seconds > LAST_SECOND || time.nanoseconds > 999999999)
        return 0;
    int64_t since_first = time.seconds - FIRST_SECOND;
    int64_t of_day = since_first % DAY_SECONDS;
    date_of_days(since_first / DAY_SECONDS + FIRST_SECOND / DAY_SECONDS + EPOCH_DAYS, &year, &month,
                 &day);
    int size =
        snprintf(ret, RFC3339_TEXT_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d", (int)year, (int)month,
                 (int)day, (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60));
    if (time.nanoseconds != 0)
        size += snprintf(ret + size, RFC3339_TEXT_BYTES - (size_t)size, ".%09" PRIu32,
                         time.nanoseconds);
    ret[size++] = 'Z';
    ret[size] = '\0';
    return (size_t)size;
}

/* Exactly @digits decimal digits, and a number of at most @max. */
static bool number(const char *text, size_t digits, int64_t max, int64_t *ret)
{
    int64_t value = 0;

    for (size_t i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    *ret = value;
    return value <= max;
}

static bool date_and_time(const char *text, int64_t *ret_seconds)
{
    static const uint8_t month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day, hour, minute, second;

    if (!number(text, 4, 9999, &year) || text[4] != '-' || !number(text + 5, 2, 12, &month) ||
        text[7] != '-' || !number(text + 8, 2, 31, &day) || text[10] != 'T' ||
        !number(text + 11, 2, 23, &hour) || text[13] != ':' || !number(text + 14, 2, 59, &minute) ||
        text[16] != ':' || !number(text + 17, 2, 59, &second) || month == 0 || day == 0)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > month_days[month - 1] + (month == 2 && leap))
        return false;
    *ret_seconds = (days_of_date(year, month, day) - EPOCH_DAYS) * DAY_SECONDS + hour * 3600 +
                   minute * 60 + second;
    return true;
}

bool rfc3339_of_text(const char *text, size_t size, struct weir_timestamp *ret)
{
    int64_t seconds;
    int64_t nanoseconds = 0;

    if (size < 20 || size > 30 || size == 21 || text[size - 1] != 'Z' ||
        !date_and_time(text, &seconds))
        return false;
    if (size > 20) {
        size_t digits = size - 21;
        if (text[19] != '.' || !number(text + 20, digits, 999999999, &nanoseconds))
            return false;
        for (; digits < 9; digits++)
            nanoseconds *= 10;
    }
    ret->seconds = seconds;
    ret->nanoseconds = (uint32_t)nanoseconds;
    return true;
}
