/* SPDX-License-Identifier: MIT */
/* weir pack: JSON to MessagePack. */
#include "weir.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include <weir/pool.h>
#include <weir/unpack.h>

#include "input.h"
#include "json_read.h"
#include "options.h"
#include "output.h"
#include "report.h"

struct pack {
    const char *command;
    struct weir_limits limits;
    struct output output;
    int output_error; /* nothing more can be written */
};

static int help(void)
{
    printf("Usage: weir pack [OPTION]... [FILE]...\n"
           "\n"
           "Turn the JSON values in FILEs into MessagePack on standard output. With no FILE, or\n"
           "when FILE is -, read standard input. Values may be separated by blanks, by newlines\n"
           "or not at all. Integers and lengths are written in their shortest form, numbers with\n"
           "a fraction or an exponent as floats of 64 bits. Objects with one member whose name\n"
           "begins with '$' stand for what JSON lacks, as 'weir cat --help' lists it.\n"
           "What JSON does not define is an error, as are a name that stands twice in an object\n"
           "and integers that do not fit 64 bits. The values before an error are written.\n"
           "\n"
           "  -d, --depth N      accept at most N arrays and maps within each other, up to 1024\n"
           "                     (default 128)\n"
           "      --max-value N  accept values of at most N bytes of JSON (default 64M); K, M and\n"
           "                     G stand for 1024, 1024^2 and 1024^3. A value's tree in memory\n"
           "                     may take 40 times as much.\n"
           "  -h, --help         print this and exit\n"
           "  -V, --version      print the version and exit\n"
           "\n"
           "Exit status: 0 all is well, 1 a file is bad, 64 wrong usage, 66 a file cannot be\n"
           "opened, 71 out of memory, 74 reading or writing failed.\n"
           "\n"
           "Example:\n"
           "  $ echo '[1, true, \"hi\"]' | weir pack | od -An -tx1\n"
           "   93 01 c3 a2 68 69\n");
    return report_stdout("weir pack");
}

/* All values of a piece of input, or with NULL those that end with the input. Returns -EAGAIN when
 * that is done, 0 if the output failed, or an error of the reader. */
static int pack_piece(struct pack *pack, struct json_reader *reader, struct weir_view *piece)
{
    for (;;) {
        int rc = piece != NULL ? json_reader_next(reader, piece, &pack->output.buf)
                               : json_reader_end(reader, &pack->output.buf);
        if (rc < 0)
            return rc;
        pack->output_error = output_flush_some(&pack->output);
        if (pack->output_error < 0)
            return 0;
    }
}

static int report_fault(const struct pack *pack, const struct input *input,
                        const struct json_fault *fault)
{
    report_error(pack->command, "%s: line %" PRIu64 ", offset %" PRIu64 ": %s", input->name,
                 fault->line, fault->offset, fault->reason);
    return fault->error == -EBADMSG ? REPORT_BAD_DATA : EX_OSERR;
}

/* Returns the status. */
static int pack_input(struct pack *pack, struct input *input, struct json_reader *reader)
{
    bool is_end = false;
    int rc = -EAGAIN;

    while (rc == -EAGAIN && !is_end) {
        struct weir_slice slice;
        pack->output_error = output_flush(&pack->output); /* before waiting for more */
        if (pack->output_error < 0)
            return EX_OK;
        rc = input_read(input, &slice);
        if (rc < 0)
            return input_report(input, pack->command, rc);
        struct weir_view piece = slice.view;
        is_end = piece.size == 0;
        rc = pack_piece(pack, reader, is_end ? NULL : &piece);
        weir_slice_drop(&slice);
    }
    if (rc == 0 || rc == -EAGAIN)
        return EX_OK;
    pack->output_error = output_flush(&pack->output);
    return report_fault(pack, input, &reader->fault);
}

static int pack_file(struct pack *pack, struct weir_pool *pool, const char *path)
{
    struct input input;
    struct json_reader reader;
    int status = EX_OK;

    int rc = input_open(&input, pool, path, true);
    if (rc < 0) {
        status = input_report(&input, pack->command, rc);
    } else {
        rc = json_reader_init(&reader, pool, &pack->limits);
        if (rc < 0)
            status = report_memory_error(pack->command, rc);
        else
            status = pack_input(pack, &input, &reader);
        json_reader_fini(&reader);
    }
    input_close(&input);
    return status;
}

int weir_cmd_pack(int argc, char **argv)
{
    struct pack pack = {.command = argv[0]};
    struct weir_pool *pool;

    int status = options_limits(argc, argv, help, JSON_TEXT_BYTES_MAX, &pack.limits);
    if (status >= 0)
        return status;
    int rc = weir_pool_create(NULL, &pool);
    if (rc == 0)
        rc = output_init(&pack.output, pool, STDOUT_FILENO);
    if (rc < 0)
        return report_memory_error(argv[0], rc);

    status = EX_OK;
    if (optind == argc)
        status = pack_file(&pack, pool, NULL);
    for (int i = optind; i < argc && pack.output_error == 0; i++)
        status = report_first(status, pack_file(&pack, pool, argv[i]));
    if (pack.output_error == 0)
        pack.output_error = output_close(&pack.output);
    if (pack.output_error < 0)
        status = report_first(status, report_output_error(argv[0], pack.output_error));

    output_fini(&pack.output);
    weir_pool_destroy(pool);
    return status;
}
