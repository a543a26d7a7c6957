/* SPDX-License-Identifier: MIT */
/* What the values in a file are made of. */
#include "stat_source.h"

#include <errno.h>
#include <stdio.h>

#include <weir/buf.h>
#include <weir/pack.h>

#include "census.h"
#include "json_line.h"
#include "report.h"
#include "stat_table.h"
#include "values.h"

static int count_all(struct values *values, struct census *census)
{
    struct weir_view value;
    int rc;

    do {
        rc = values_next_view(values, &value);
        if (rc == 0)
            rc = census_add(census, value);
    } while (rc == 0);
    return rc;
}

/* A line of JSON says whose it is, a table only where there are several. */
static int print(const struct census *census, struct weir_pool *pool, const char *name,
                 const struct stat_options *options)
{
    struct weir_buf buf;
    struct weir_packer packer;
    struct weir_view map;

    int rc = weir_buf_init(&buf, pool, NULL);
    if (rc == 0) {
        weir_pack_begin(&packer, &buf, 0);
        weir_pack_map(&packer, CENSUS_SECTIONS + (options->table ? 0 : 1));
        if (!options->table) {
            weir_pack_text(&packer, "file");
            weir_pack_text(&packer, name);
        }
        census_pack(&packer, census);
        rc = weir_pack_end(&packer, &map);
    }
    if (rc == 0 && options->table && options->headings)
        printf("==> %s <==\n", name);
    if (rc == 0)
        rc = options->table ? stat_table_print(map, stdout) : json_line_print(map, pool, stdout);
    weir_buf_fini(&buf);
    return rc;
}

int stat_file(const char *command, const char *path, const struct stat_options *options)
{
    struct weir_pool *pool;
    struct values values;
    struct census census;

    int rc = weir_pool_create(NULL, &pool);
    if (rc < 0)
        return report_memory_error(command, rc);
    census_init(&census);
    rc = values_open(&values, pool, &options->limits, path, true);
    while (rc == 0) {
        rc = count_all(&values, &census);
        if (rc == -EAGAIN)
            rc = values_fill(&values);
    }
    const char *name = values.input.name;
    int status = values_close(&values, command, rc);
    if (status == EX_OK) {
        rc = print(&census, pool, name, options);
        if (rc == -ENOMEM || rc == -ENOBUFS)
            status = report_memory_error(command, rc);
        else if (rc < 0)
            status = report_output_error(command, rc);
    }
    weir_pool_destroy(pool);
    return status;
}
