/* SPDX-License-Identifier: MIT */
/* weir cat: MessagePack as JSON or as MessagePack-C prints it, one line per value. */
#include "weir.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include <weir/pool.h>
#include <weir/unpack.h>

#include "json_write.h"
#include "options.h"
#include "output.h"
#include "raw_print.h"
#include "report.h"
#include "schema.h"
#include "values.h"

struct cat {
    const char *command;
    struct weir_limits limits;
    struct output output;
    struct weir_view path; /* to what is shown of each value */
    bool has_path;
    bool found; /* a value with that path */
    bool raw;
    struct json_writer writer;
    struct raw_printer printer; /* if raw */
    int output_error;           /* nothing more can be written */
    const char *schema_path;    /* NULL: none was asked for */
    struct schema schema;
    bool mismatched; /* a value that the schema is not of */
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
           "  -p, --path P       show of each value what P leads to, a JSON pointer (RFC 6901) as\n"
           "                     /orders/3/price; values without it are left out, and if all are,\n"
           "                     the status is 1. A key may be an integer; /~@N is the N-th key\n"
           "                     of a map from 0, /~#N its value\n"
           "  -s, --schema FILE  show each value as the record that FILE, a schema, describes:\n"
           "                     fields and values of enums by their names. What is no such\n"
           "                     record is left out; stderr tells where it differs, and the\n"
           "                     status is 1\n"
           "  -r, --raw          as MessagePack-C's msgpack_object_print() does it, not as JSON\n"
           "  -d, --depth N      accept at most N arrays and maps within each other, up to 1024\n"
           "                     (default 128)\n"
           "      --max-value N  accept values of at most N bytes (default 64M); K, M and G\n"
           "                     stand for 1024, 1024^2 and 1024^3\n"
           "  -h, --help         print this and exit\n"
           "  -V, --version      print the version and exit\n"
           "\n"
           "Exit status: 0 all is well, 1 a file is bad, or no value has the path, 64 wrong\n"
           "usage, 66 a file cannot be opened, 71 out of memory, 74 reading or writing failed.\n"
           "\n"
           "Example:\n"
           "  $ printf '\\x93\\x01\\xc3\\xa2hi' | weir cat\n"
           "  [1,true,\"hi\"]\n"
           "\n"
           "Example:\n"
           "  $ printf '\\x93\\x01\\xc3\\xa2hi' | weir cat --path /2 --raw\n"
           "  \"hi\"\n");
    return report_stdout("weir cat");
}

/* Whether the path is one at all; what it is looked up in does not matter. */
static bool path_is_valid(struct weir_view path)
{
    static const uint8_t nil = WEIR_TAG_NIL;
    struct weir_unpacker cursor;

    weir_unpack_init(&cursor, weir_view_of(&nil, 1), NULL);
    return weir_unpack_path(&cursor, path) != -EINVAL;
}

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, struct cat *cat)
{
    static const struct option options[] = {
        {"depth", required_argument, NULL, 'd'},  {"max-value", required_argument, NULL, 'b'},
        {"path", required_argument, NULL, 'p'},   {"raw", no_argument, NULL, 'r'},
        {"schema", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},      {NULL, 0, NULL, 0},
    };
    int status = -1;
    int option;

    while (status < 0 && (option = getopt_long(argc, argv, "d:p:rs:hV", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            cat->path = weir_view_text(optarg);
            cat->has_path = true;
            if (!path_is_valid(cat->path))
                status = report_usage(argv[0], "--path needs a JSON pointer as /orders/3, not '%s'",
                                      optarg);
            break;
        case 'r':
            cat->raw = true;
            break;
        case 's':
            cat->schema_path = optarg;
            break;
        default:
            status = options_shared(argv[0], option, help, VALUES_BYTES_MAX, &cat->limits);
        }
    }
    return status;
}

/* What is to be shown of @value. False: nothing. */
static bool select_part(struct cat *cat, struct weir_view *value)
{
    struct weir_unpacker cursor;

    if (!cat->has_path)
        return true;
    weir_unpack_init(&cursor, *value, NULL);
    int rc = weir_unpack_path(&cursor, cat->path);
    if (rc == -ENOENT)
        return false;
    rc = rc != 0 ? rc : weir_unpack_raw(&cursor, value);
    assert(rc == 0);
    (void)rc;
    cat->found = true;
    return true;
}

static int show_raw(struct cat *cat, struct weir_view value)
{
    int rc = raw_print(&cat->printer, value);

    cat->output_error = cat->printer.output_error;
    return rc;
}

static int show_json(struct cat *cat, struct weir_view value)
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
    return rc;
}

/* Make of @value, at @offset of its file, what the schema says. Returns 0, 1 nothing is shown of
 * it, or an error. */
static int apply_schema(struct cat *cat, const char *file, uint64_t offset, struct weir_view *value)
{
    struct weir_record_fault fault;

    if (cat->schema_path == NULL)
        return 0;
    int rc = schema_apply(&cat->schema, *value, value, &fault);
    if (rc != -EBADMSG)
        return rc;
    cat->mismatched = true;
    report_error(cat->command, "%s: offset %" PRIu64 ": record %s%s%s: %s (%s)", file,
                 offset + fault.offset, fault.record->name, fault.field != NULL ? ", field " : "",
                 fault.field != NULL ? fault.field->name : "", schema_reason(&fault),
                 weir_error_name(fault.error));
    return 1;
}

/* One line, or none. Returns 0 or an error; of writing it out, also as output_error. */
static int show(struct cat *cat, const char *file, uint64_t offset, struct weir_view value)
{
    int applied = apply_schema(cat, file, offset, &value);

    if (applied != 0)
        return applied < 0 ? applied : 0;
    if (!select_part(cat, &value))
        return 0;
    int rc = cat->raw ? show_raw(cat, value) : show_json(cat, value);
    return rc < 0 ? rc : weir_buf_append(&cat->output.buf, weir_view_text("\n"));
}

static int show_all(struct cat *cat, struct values *values)
{
    struct weir_view value;
    int rc;

    while ((rc = values_next_view(values, &value)) == 0) {
        rc = show(cat, values->input.name, weir_stream_offset(&values->stream) - value.size, value);
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

    int status = parse_options(argc, argv, &cat);
    if (status >= 0)
        return status;
    int rc = weir_pool_create(NULL, &pool);
    if (rc == 0)
        rc = output_init(&cat.output, pool, STDOUT_FILENO);
    if (rc == 0 && cat.raw)
        rc = raw_printer_init(&cat.printer, pool, &cat.output);
    if (rc < 0)
        return report_memory_error(argv[0], rc);
    json_writer_init(&cat.writer, pool);

    status = EX_OK;
    schema_init(&cat.schema);
    if (cat.schema_path != NULL)
        status = schema_open(&cat.schema, pool, argv[0], cat.schema_path);
    bool is_ready = status == EX_OK;
    if (is_ready && optind == argc)
        status = cat_file(&cat, pool, NULL);
    for (int i = optind; is_ready && i < argc && cat.output_error == 0; i++)
        status = report_first(status, cat_file(&cat, pool, argv[i]));
    if (cat.output_error == 0)
        cat.output_error = output_close(&cat.output);
    if (cat.output_error < 0)
        status = report_first(status, report_output_error(argv[0], cat.output_error));
    else if (cat.mismatched || (is_ready && cat.has_path && !cat.found))
        status = report_first(status, REPORT_BAD_DATA);

    schema_fini(&cat.schema);
    raw_printer_fini(&cat.printer);
    json_writer_fini(&cat.writer);
    output_fini(&cat.output);
    weir_pool_destroy(pool);
    return status;
}
