/* SPDX-License-Identifier: MIT */
/* weir cat: MessagePack as JSON, one line per value. */
#include "weir.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include <weir/pool.h>
#include <weir/unpack.h>

#include "json_write.h"
#include "options.h"
#include "output.h"
#include "report.h"
#include "values.h"

struct cat {
    const char *command;
    struct weir_limits limits;
    struct output output;
    struct json_writer writer;
    int output_error; /* nothing more can be written */
};

static int help(void)
{
    printf("Usage: weir cat [OPTION]... [FILE]...\n"
           "\n"
           "Show the MessagePack values in FILEs as JSON, one line per value. With no FILE, or\n"
           "when FILE is -, read standard input. 'weir pack' turns the lines back into the same\n"
           "values: what JSON lacks is shown as an object with one member:\n"
           "  {\"$bin\":\"aGk=\"}                    bytes (bin), in base64\n"
           "  {\"$time\":\"2001-02-03T04:05:06Z\"}   a timestamp\n"
           "  {\"$ext\":[5,\"aGk=\"]}                another extension: its type, its bytes\n"
           "  {\"$f32\":1.5}                       a float of 32 bits\n"
           "  {\"$float\":\"nan\"}                   a float that is no number, or infinite\n"
           "  {\"$map\":[[1,\"one\"]]}               a map with keys that JSON does not allow\n"
           "  {\"$str\":\"/w==\"}                    a str that is not UTF-8, in base64\n"
           "Malformed input ends its file with an error; what stood before it is shown.\n"
           "\n"
           "  -d, --depth N      accept at most N arrays and maps within each other, up to 1024\n"
           "                     (default 128)\n"
           "      --max-value N  accept values of at most N bytes (default 64M); K, M and G\n"
           "                     stand for 1024, 1024^2 and 1024^3\n"
           "  -h, --help         print this and exit\n"
           "  -V, --version      print the version and exit\n"
           "\n"
           "Example:\n"
           "  $ printf '\\x93\\x01\\xc3\\xa2hi' | weir cat\n"
           "  [1,true,\"hi\"]\n");
    return report_stdout("weir cat");
}

/* One line. Returns 0 or an error; of writing it out, also as output_error. */
static int show(struct cat *cat, struct weir_view value)
{
    struct weir_buf *buf = &cat->output.buf;
    int rc = json_writer_start(&cat->writer, value);

    if (rc < 0)
        return rc;
    while ((rc = json_writer_step(&cat->writer, buf)) > 0) {
        cat->output_error = output_flush_some(&cat->output);
        if (cat->output_error < 0)
            return cat->output_error;
    }
    return rc < 0 ? rc : weir_buf_append(buf, weir_view_text("\n"));
}

static int show_all(struct cat *cat, struct values *values)
{
    struct weir_slice value;
    int rc;

    while ((rc = values_next(values, &value)) == 0) {
        rc = show(cat, value.view);
        weir_slice_drop(&value);
        if (rc < 0)
            return rc;
        cat->output_error = output_flush_some(&cat->output);
        if (cat->output_error < 0)
            return cat->output_error;
    }
    return rc;
}

static int cat_file(struct cat *cat, struct weir_pool *pool, const char *path)
{
    struct values values;
    int rc = values_open(&values, pool, &cat->limits, path, true);

    while (rc == 0) {
        rc = show_all(cat, &values);
        /* Before waiting for more, and before an error is told. */
        if (cat->output_error == 0)
            cat->output_error = output_flush(&cat->output);
        if (rc == -EAGAIN && cat->output_error == 0)
            rc = values_fill(&values);
        if (cat->output_error < 0)
            rc = VALUES_END;
    }
    return values_close(&values, cat->command, rc);
}

int weir_cmd_cat(int argc, char **argv)
{
    struct cat cat = {.command = argv[0]};
    struct weir_pool *pool;

    int status = options_limits(argc, argv, help, VALUES_BYTES_MAX, &cat.limits);
    if (status >= 0)
        return status;
    int rc = weir_pool_create(NULL, &pool);
    if (rc == 0)
        rc = output_init(&cat.output, pool, STDOUT_FILENO);
    if (rc < 0)
        return report_memory_error(argv[0], rc);
    json_writer_init(&cat.writer, pool);

    status = EX_OK;
    if (optind == argc)
        status = cat_file(&cat, pool, NULL);
    for (int i = optind; i < argc && cat.output_error == 0; i++)
        status = report_first(status, cat_file(&cat, pool, argv[i]));
    if (cat.output_error == 0)
        cat.output_error = output_close(&cat.output);
    if (cat.output_error < 0)
        status = report_first(status, report_output_error(argv[0], cat.output_error));

    json_writer_fini(&cat.writer);
    output_fini(&cat.output);
    weir_pool_destroy(pool);
    return status;
}
