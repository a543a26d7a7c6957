/* SPDX-License-Identifier: MIT */
#include "stat_table.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <weir/unpack.h>

/* What does not fit is left out: the names come from the other side. */
#define COLUMNS_MAX 16
#define NAME_CHARS_MAX 40

/* Room for a name or a number. */
#define CELL_BYTES (NAME_CHARS_MAX + 1)

#define ROW_OF_ALL "total"

struct table {
    struct weir_view columns[COLUMNS_MAX];
    int widths[COLUMNS_MAX];
    int column_count;
    int label_width;
    char head[CELL_BYTES]; /* of the column with the labels */
};

/* --- the value, which was checked ------------------------------------------------------------- */

/* A walk over the rows of a section. */
struct rows {
    struct weir_unpacker section;
    struct weir_unpacker array;
    uint32_t pairs_left;
    uint32_t elements_left;
};

/* A map of counters. */
struct row {
    struct weir_view map;
    struct weir_view key; /* its own in the section */
    bool in_array;        /* named by its first counter instead */
};

static enum weir_type type_of(struct weir_view value)
{
    struct weir_unpacker u;
    enum weir_type type = WEIR_TYPE_NIL;
    weir_unpack_init(&u, value, NULL);
    (void)weir_unpack_peek(&u, &type);
    return type;
}

/* The next pair of a map; false: that was all. */
static bool pair_next(struct weir_unpacker *u, uint32_t *left, struct weir_view *key,
                      struct weir_view *value)
{
    if (*left == 0)
        return false;
    (*left)--;
    return weir_unpack_raw(u, key) == 0 && weir_unpack_raw(u, value) == 0;
}

static uint32_t map_begin(struct weir_unpacker *u, struct weir_view map)
{
    uint32_t pairs = 0;
    weir_unpack_init(u, map, NULL);
    (void)weir_unpack_map(u, &pairs);
    return pairs;
}

/* The value of a key, which is compared as it is encoded; false: there is none. */
static bool map_find(struct weir_view map, struct weir_view wanted, struct weir_view *ret)
{
    struct weir_unpacker u;
    struct weir_view key, value;
    uint32_t left = map_begin(&u, map);
    while (pair_next(&u, &left, &key, &value)) {
        if (weir_view_equal(key, wanted)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static void rows_begin(struct rows *rows, struct weir_view section)
{
    memset(rows, 0, sizeof *rows);
    rows->pairs_left = map_begin(&rows->section, section);
}

static bool rows_next(struct rows *rows, struct row *ret)
{
    struct weir_view value;
    for (;;) {
        while (rows->elements_left != 0) {
            rows->elements_left--;
            if (weir_unpack_raw(&rows->array, &ret->map) != 0)
                break;
            ret->in_array = true;
            if (type_of(ret->map) == WEIR_TYPE_MAP)
                return true;
        }
        if (!pair_next(&rows->section, &rows->pairs_left, &ret->key, &value))
            return false;
        if (type_of(value) == WEIR_TYPE_MAP) {
            ret->map = value;
            ret->in_array = false;
            return true;
        }
        if (type_of(value) == WEIR_TYPE_ARRAY) {
            weir_unpack_init(&rows->array, value, NULL);
            (void)weir_unpack_array(&rows->array, &rows->elements_left);
        }
    }
}

/* --- text ------------------------------------------------------------------------------------- */

/* A key as text that does nothing to a terminal. */
static void name_text(struct weir_view key, char *text)
{
    struct weir_unpacker u;
    struct weir_view name = weir_view_text("?");
    size_t size;
    weir_unpack_init(&u, key, NULL);
    (void)weir_unpack_str(&u, &name);
    for (size = 0; size < name.size && size < NAME_CHARS_MAX; size++) {
        uint8_t byte = name.data[size];
        text[size] = byte >= 0x20 && byte < 0x7f ? (char)byte : '?';
    }
    text[size] = '\0';
}

static void number_text(struct weir_view value, char *text)
{
    struct weir_unpacker u;
    uint64_t number;
    weir_unpack_init(&u, value, NULL);
    if (weir_unpack_uint(&u, &number) == 0)
        snprintf(text, CELL_BYTES, "%" PRIu64, number);
    else
        snprintf(text, CELL_BYTES, "-");
}

static void cell_text(struct weir_view map, struct weir_view column, char *text)
{
    struct weir_view value;
    if (map_find(map, column, &value))
        number_text(value, text);
    else
        snprintf(text, CELL_BYTES, "-");
}

static void label_text(const struct row *row, char *text)
{
    struct weir_unpacker u;
    struct weir_view key, value;
    uint32_t left = map_begin(&u, row->map);
    if (!row->in_array)
        name_text(row->key, text);
    else if (pair_next(&u, &left, &key, &value))
        number_text(value, text);
    else
        snprintf(text, CELL_BYTES, "-");
}

/* --- a table ---------------------------------------------------------------------------------- */

static void widen(int *width, const char *text)
{
    int size = (int)strlen(text);
    if (*width < size)
        *width = size;
}

static void measure_row(struct table *table, const char *label, struct weir_view map)
{
    char text[CELL_BYTES];
    widen(&table->label_width, label);
    for (int i = 0; i < table->column_count; i++) {
        cell_text(map, table->columns[i], text);
        widen(&table->widths[i], text);
    }
}

/* The first row names the columns. False: there is no row. */
static bool table_plan(struct table *table, struct weir_view section)
{
    struct rows rows;
    struct row row;
    struct weir_unpacker u;
    struct weir_view key, value;
    char text[CELL_BYTES];

    memset(table, 0, sizeof *table);
    rows_begin(&rows, section);
    if (!rows_next(&rows, &row))
        return false;
    uint32_t left = map_begin(&u, row.map);
    if (row.in_array && pair_next(&u, &left, &key, &value))
        name_text(key, table->head);
    widen(&table->label_width, table->head);
    while (table->column_count < COLUMNS_MAX && pair_next(&u, &left, &key, &value)) {
        name_text(key, text);
        widen(&table->widths[table->column_count], text);
        table->columns[table->column_count++] = key;
    }
    do {
        label_text(&row, text);
        measure_row(table, text, row.map);
    } while (rows_next(&rows, &row));
    measure_row(table, ROW_OF_ALL, section);
    return true;
}

static void print_row(const struct table *table, const char *label, struct weir_view map, FILE *out)
{
    char text[CELL_BYTES];
    fprintf(out, "  %-*s", table->label_width, label);
    for (int i = 0; i < table->column_count; i++) {
        cell_text(map, table->columns[i], text);
        fprintf(out, "  %*s", table->widths[i], text);
    }
    fputc('\n', out);
}

static void print_table(const struct table *table, struct weir_view section, FILE *out)
{
    struct rows rows;
    struct row row;
    char text[CELL_BYTES];

    fprintf(out, "  %-*s", table->label_width, table->head);
    for (int i = 0; i < table->column_count; i++) {
        name_text(table->columns[i], text);
        fprintf(out, "  %*s", table->widths[i], text);
    }
    fputc('\n', out);
    rows_begin(&rows, section);
    while (rows_next(&rows, &row)) {
        label_text(&row, text);
        print_row(table, text, row.map, out);
    }
    print_row(table, ROW_OF_ALL, section, out);
}

/* --- a section -------------------------------------------------------------------------------- */

static bool has_column(const struct table *table, struct weir_view key)
{
    for (int i = 0; i < table->column_count; i++)
        if (weir_view_equal(table->columns[i], key))
            return true;
    return false;
}

/* Whether a pair of the section is a line of its own. */
static bool is_line(const struct table *table, struct weir_view key, struct weir_view value)
{
    enum weir_type type = type_of(value);
    return type != WEIR_TYPE_MAP && type != WEIR_TYPE_ARRAY && !has_column(table, key);
}

static void print_lines(const struct table *table, struct weir_view section, FILE *out)
{
    struct weir_unpacker u;
    struct weir_view key, value;
    char name[CELL_BYTES], number[CELL_BYTES];
    int name_width = 0, number_width = 0;

    uint32_t left = map_begin(&u, section);
    while (pair_next(&u, &left, &key, &value)) {
        if (!is_line(table, key, value))
            continue;
        name_text(key, name);
        number_text(value, number);
        widen(&name_width, name);
        widen(&number_width, number);
    }
    left = map_begin(&u, section);
    while (pair_next(&u, &left, &key, &value)) {
        if (!is_line(table, key, value))
            continue;
        name_text(key, name);
        number_text(value, number);
        fprintf(out, "  %-*s  %*s\n", name_width, name, number_width, number);
    }
}

static bool is_map_of_maps(struct weir_view value)
{
    struct weir_unpacker u;
    struct weir_view key, section;
    if (weir_check(value, NULL, NULL) != 0 || type_of(value) != WEIR_TYPE_MAP)
        return false;
    uint32_t left = map_begin(&u, value);
    while (pair_next(&u, &left, &key, &section))
        if (type_of(section) != WEIR_TYPE_MAP)
            return false;
    return weir_unpack_end(&u) == 0;
}

int stat_table_print(struct weir_view value, FILE *out)
{
    struct weir_unpacker u;
    struct weir_view key, section;
    struct table table;
    char name[CELL_BYTES];

    if (!is_map_of_maps(value))
        return -EBADMSG;
    errno = 0;
    uint32_t left = map_begin(&u, value);
    while (pair_next(&u, &left, &key, &section)) {
        bool has_rows = table_plan(&table, section);
        name_text(key, name);
        fprintf(out, "%s\n", name);
        print_lines(&table, section, out);
        if (has_rows)
            print_table(&table, section, out);
    }
    if (fflush(out) != 0 || ferror(out))
        return errno != 0 ? -errno : -EIO;
    return 0;
}
