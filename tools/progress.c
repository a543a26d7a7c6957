/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <stdio.h>
#include <string.h>

#define BAR_COLUMNS 30

void progress_size(double bytes, char *text)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    while (bytes >= 1000 && unit + 1 < sizeof units / sizeof units[0]) {
        bytes /= 1000;
        unit++;
    }
    snprintf(text, PROGRESS_SIZE_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static void draw_bar(double share)
{
    char bar[BAR_COLUMNS + 1];
    size_t full = (size_t)(share * BAR_COLUMNS);
    memset(bar, ' ', BAR_COLUMNS);
    memset(bar, '=', full);
    if (full < BAR_COLUMNS)
        bar[full] = '>';
    bar[BAR_COLUMNS] = '\0';
    fprintf(stderr, "[%s] %3.0f%%  ", bar, share * 100);
}

void progress_draw(const struct progress *progress)
{
    char size[PROGRESS_SIZE_BYTES];
    double seconds = progress->seconds > 0 ? progress->seconds : 1e-9;
    fputc('\r', stderr);
    if (progress->total_bytes != 0) {
        double share = (double)progress->done_bytes / (double)progress->total_bytes;
        draw_bar(share < 1 ? share : 1);
    }
    progress_size((double)progress->done_bytes, size);
    fprintf(stderr, "%s  %llu records  %.0f records/s \033[K", size,
            (unsigned long long)progress->records, (double)progress->records / seconds);
    fflush(stderr);
}

void progress_clear(void)
{
    fputs("\r\033[K", stderr);
    fflush(stderr);
}
