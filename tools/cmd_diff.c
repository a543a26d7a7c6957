/* SPDX-License-Identifier: MIT */
/* weir diff: where the values of two files differ first. */
#include "weir.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <weir/buf.h>
#include <weir/pool.h>
#include <weir/unpack.h>

#include "compare.h"
#include "json_write.h"
#include "options.h"
#include "path_text.h"
#include "report.h"
#include "values.h"

/* What is shown of a value, in bytes. */
#define SHOWN_BYTES_MAX 60
/* And of how it is encoded, where that is the difference. */
#define ENCODING_BYTES_MAX 16

static const char command[] = "weir diff";

/* One of the files, and its value that is compared. */
struct side {
    struct values values;
    struct weir_view value;
    uint64_t from; /* its offset in the file */
    bool ended;
    int rc;
};

struct diff {
    struct side sides[2];
    uint64_t index; /* of the value */
    struct weir_pool *pool;
    struct weir_limits limits;
    bool encodings;
    bool quiet;
};

static int help(void)
{
    printf("Usage: weir diff [OPTION]... FILE FILE\n"
           "\n"
           "Say where the MessagePack values in two files differ first, by the value's number in\n"
           "its file, counted from 0, the offset in bytes, and the path within the value (RFC\n"
           "6901; /~@N is the N-th key of a map, /~#N the value of a key that is no str or\n"
           "integer). What is there is shown as 'weir cat' shows it, cut off if it is long. One\n"
           "FILE may be -, standard input.\n"
           "Values are equal whatever their encoding: 1 in one byte and in nine, a time in any\n"
           "form. The order of a map's pairs counts. Floats are equal if their bits are.\n"
           "\n"
           "  -e, --encoding     another encoding of the same value is a difference, too\n"
           "  -q, --quiet        print nothing\n"
           "  -d, --depth N      accept at most N arrays and maps within each other, up to 1024\n"
           "                     (default 128)\n"
           "      --max-value N  accept values of at most N bytes (default 64M); K, M and G\n"
           "                     stand for 1024, 1024^2 and 1024^3\n"
           "  -h, --help         print this and exit\n"
           "  -V, --version      print the version and exit\n"
           "\n"
           "Exit status: 0 the files are the same, 1 they differ, 64 wrong usage, 65 a file is\n"
           "bad, 66 a file cannot be opened, 71 out of memory, 74 reading or writing failed.\n"
           "\n"
           "Example:\n"
           "  $ echo '{\"id\":1,\"tags\":[\"a\",\"b\"]}' | weir pack > a.mp\n"
           "  $ echo '{\"id\":1,\"tags\":[\"a\",\"c\"]}' | weir pack | weir diff a.mp -\n"
           "  a.mp: value 0, offset 13, /tags/1: \"b\"\n"
           "  (stdin): value 0, offset 13, /tags/1: \"c\"\n");
    return report_stdout(command);
}

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, struct diff *diff)
{
    static const struct option options[] = {
        {"depth", required_argument, NULL, 'd'},
        {"encoding", no_argument, NULL, 'e'},
        {"max-value", required_argument, NULL, 'b'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int status = -1;
    int option;

    while (status < 0 && (option = getopt_long(argc, argv, "d:eqhV", options, NULL)) != -1) {
        switch (option) {
        case 'e':
            diff->encodings = true;
            break;
        case 'q':
            diff->quiet = true;
            break;
        default:
            status = options_shared(command, option, help, VALUES_BYTES_MAX, &diff->limits);
        }
    }
    if (status >= 0)
        return status;
    if (optind + 2 != argc)
        return report_usage(command, "two files are expected");
    if (strcmp(argv[optind], "-") == 0 && strcmp(argv[optind + 1], "-") == 0)
        return report_usage(command, "standard input cannot be both files");
    return -1;
}

/* Have the next value of the file, or ended. */
static int side_next(struct side *side)
{
    int rc;

    while ((rc = values_next_view(&side->values, &side->value)) == -EAGAIN) {
        rc = values_fill(&side->values);
        side->ended = rc == VALUES_END;
        if (rc != 0)
            return side->ended ? 0 : rc;
    }
    if (rc == 0)
        side->from = weir_stream_offset(&side->values.stream) - side->value.size;
    return rc;
}

/* Have the next value of both. Returns 0 or an error, which is a side's, too. */
static int next_values(struct diff *diff)
{
    for (size_t i = 0; i < 2; i++) {
        struct side *side = &diff->sides[i];
        side->rc = side_next(side);
        if (side->rc != 0)
            return side->rc;
    }
    return 0;
}

/* --- what is shown ---------------------------------------------------------------------------- */

/* Move what @text has at its front to @ret, up to @room bytes. */
static size_t take_front(struct weir_buf *text, char *ret, size_t room)
{
    struct weir_slice part;
    size_t used = 0;

    while (used < room && weir_buf_front(text, &part) == 0) {
        size_t size = part.view.size < room - used ? part.view.size : room - used;
        memcpy(ret + used, part.view.data, size);
        weir_slice_drop(&part);
        weir_buf_consume(text, size);
        used += size;
    }
    return used;
}

/* @value as JSON, the beginning of it if it is long. Sets @ret_cut if it is. */
static int show_json(struct diff *diff, struct weir_view value, bool *ret_cut)
{
    struct json_writer writer;
    struct weir_buf text;
    char shown[SHOWN_BYTES_MAX + 1];

    int rc = weir_buf_init(&text, diff->pool, NULL);
    json_writer_init(&writer, diff->pool);
    if (rc == 0)
        rc = json_writer_start(&writer, value);
    if (rc == 0)
        rc = json_writer_step(&writer, &text);
    if (rc >= 0) {
        size_t size = take_front(&text, shown, sizeof(shown));
        *ret_cut = size == sizeof(shown);
        if (*ret_cut) {
            /* The last byte is one too many; nor does text end within a character. */
            do
                size--;
            while (size != 0 && ((unsigned char)shown[size] & 0xc0) == 0x80);
        }
        printf("%.*s%s", (int)size, shown, *ret_cut ? "..." : "");
        rc = 0;
    }
    json_writer_fini(&writer);
    weir_buf_fini(&text);
    return rc;
}

static void show_encoding(struct weir_view encoded)
{
    printf(" (");
    for (size_t i = 0; i < encoded.size && i < ENCODING_BYTES_MAX; i++)
        printf("%s%02x", i != 0 ? " " : "", encoded.data[i]);
    printf("%s)", encoded.size > ENCODING_BYTES_MAX ? " ..." : "");
}

/* An element of one side. */
struct shown {
    uint64_t offset;
    struct weir_value value;
    struct weir_view encoded; /* with what an array or map contains */
};

static void read_shown(const struct side *side, size_t at, struct shown *ret)
{
    struct weir_unpacker cursor;
    struct weir_view input = weir_view_of(side->value.data + at, side->value.size - at);

    ret->offset = side->from + at;
    weir_unpack_init(&cursor, input, NULL);
    int rc = weir_unpack_next(&cursor, &ret->value);
    assert(rc == 0);
    weir_unpack_init(&cursor, input, NULL);
    rc = weir_unpack_raw(&cursor, &ret->encoded);
    assert(rc == 0);
    (void)rc;
}

/* Of strs, bins and exts, whose beginnings may be the same: how many bytes of both are. */
static bool common_bytes(const struct shown *a, const struct shown *b, size_t *ret)
{
    enum weir_type type = a->value.type;

    if (type != b->value.type ||
        (type != WEIR_TYPE_STR && type != WEIR_TYPE_BIN && type != WEIR_TYPE_EXT))
        return false;
    struct weir_view bytes[2] = {a->value.as.bytes, b->value.as.bytes};
    size_t count = bytes[0].size < bytes[1].size ? bytes[0].size : bytes[1].size;
    size_t same = 0;
    while (same < count && bytes[0].data[same] == bytes[1].data[same])
        same++;
    *ret = same;
    return true;
}

/* The line up to what is there. */
static void show_place(const struct diff *diff, const struct side *side, uint64_t offset,
                       const char *path)
{
    printf("%s: value %" PRIu64 ", offset %" PRIu64 "%s%s: ", side->values.input.name, diff->index,
           offset, path[0] != '\0' ? ", " : "", path);
}

/* The line about one side, whose element is @own. */
static int show_side(struct diff *diff, const struct side *side, enum difference difference,
                     const struct shown *own, const struct shown *other)
{
    char path[PATH_TEXT_BYTES];
    bool cut = false;
    size_t same;
    int rc = 0;

    path_text(side->value, (size_t)(own->offset - side->from), path);
    show_place(diff, side, own->offset, path);
    if (difference == DIFFERENCE_COUNT)
        printf("%s of %" PRIu32, own->value.type == WEIR_TYPE_MAP ? "a map" : "an array",
               own->value.count);
    else
        rc = show_json(diff, own->encoded, &cut);
    if (difference == DIFFERENCE_ENCODING)
        show_encoding(own->encoded);
    else if (cut && common_bytes(own, other, &same))
        printf(" (%zu bytes, %zu as in the other)", own->value.as.bytes.size, same);
    putchar('\n');
    return rc;
}

static int show_difference(struct diff *diff, enum difference difference, const size_t *at)
{
    struct shown shown[2];
    int rc = 0;

    for (size_t i = 0; i < 2; i++)
        read_shown(&diff->sides[i], at[i], &shown[i]);
    for (size_t i = 0; rc == 0 && i < 2; i++)
        rc = show_side(diff, &diff->sides[i], difference, &shown[i], &shown[1 - i]);
    return rc;
}

/* One file has no value where the other has one. */
static int show_end(struct diff *diff)
{
    struct shown shown;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < 2; i++) {
        const struct side *side = &diff->sides[i];
        if (side->ended) {
            show_place(diff, side, weir_stream_offset(&side->values.stream), "");
            puts("the end of the file");
        } else {
            read_shown(side, 0, &shown);
            rc = show_side(diff, side, DIFFERENCE_VALUE, &shown, &shown);
        }
    }
    return rc;
}

/* --- the command ------------------------------------------------------------------------------ */

/* Returns 0 the files are the same, 1 they differ, or an error of ours or of a side. */
static int compare_all(struct diff *diff)
{
    const struct side *a = &diff->sides[0], *b = &diff->sides[1];
    enum difference difference;
    size_t at[2];
    int rc;

    for (;; diff->index++) {
        rc = next_values(diff);
        if (rc != 0 || (a->ended && b->ended))
            return rc;
        if (a->ended || b->ended) {
            rc = diff->quiet ? 0 : show_end(diff);
            break;
        }
        difference = compare(a->value, b->value, diff->encodings, &at[0], &at[1]);
        if (difference != DIFFERENCE_NONE) {
            rc = diff->quiet ? 0 : show_difference(diff, difference, at);
            break;
        }
    }
    return rc < 0 ? rc : 1;
}

static int close_side(struct side *side)
{
    int status = values_close(&side->values, command, side->rc);
    /* 1 says that the files differ. */
    return status == REPORT_BAD_DATA ? EX_DATAERR : status;
}

static int diff_files(struct diff *diff, char **paths)
{
    int rc = 0;

    for (size_t i = 0; i < 2; i++) {
        struct side *side = &diff->sides[i];
        side->rc = values_open(&side->values, diff->pool, &diff->limits, paths[i], true);
        rc = rc != 0 ? rc : side->rc;
    }
    if (rc == 0)
        rc = compare_all(diff);
    bool is_ours = diff->sides[0].rc == 0 && diff->sides[1].rc == 0;
    int status = close_side(&diff->sides[0]);
    status = report_first(status, close_side(&diff->sides[1]));
    if (rc < 0 && is_ours)
        status = report_memory_error(command, rc);
    status = report_first(status, report_stdout(command));
    return status == EX_OK && rc > 0 ? 1 : status;
}

int weir_cmd_diff(int argc, char **argv)
{
    struct diff diff = {.quiet = false};

    int status = parse_options(argc, argv, &diff);
    if (status >= 0)
        return status;
    int rc = weir_pool_create(NULL, &diff.pool);
    if (rc < 0)
        return report_memory_error(command, rc);
    status = diff_files(&diff, argv + optind);
    weir_pool_destroy(diff.pool);
    return status;
}
