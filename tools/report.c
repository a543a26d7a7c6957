/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <weir/base.h>

__attribute__((format(printf, 2, 0))) static void say(const char *command, const char *format,
                                                      va_list arguments)
{
    if (command != NULL)
        fprintf(stderr, "%s: ", command);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void report_error(const char *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say(command, format, arguments);
    va_end(arguments);
}

int report_usage(const char *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say(command, format, arguments);
    va_end(arguments);
    return report_hint(command);
}

int report_hint(const char *command)
{
    fprintf(stderr, "Try '%s --help'.\n", command);
    return EX_USAGE;
}

int report_version(void)
{
    printf("weir %s\n", weir_version());
    return report_stdout("weir");
}

int report_stdout(const char *command)
{
    int failed = ferror(stdout);

    errno = 0;
    if (fclose(stdout) != 0 || failed)
        return report_output_error(command, errno != 0 ? -errno : -EIO);
    return EX_OK;
}

int report_output_error(const char *command, int error)
{
    if (error != -EPIPE)
        report_error(command, "writing to standard output: %s", strerror(-error));
    return EX_IOERR;
}

int report_memory_error(const char *command, int error)
{
    report_error(command, "%s", weir_error_text(error));
    return EX_OSERR;
}
