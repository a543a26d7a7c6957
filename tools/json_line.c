/* SPDX-License-Identifier: MIT */
#include "json_line.h"

#include <errno.h>

#include <weir/buf.h>
#include <weir/unpack.h>

#include "json_write.h"

static int print_front(struct weir_buf *text, FILE *out)
{
    struct weir_slice part;
    while (weir_buf_front(text, &part) == 0) {
        size_t done = fwrite(part.view.data, 1, part.view.size, out);
        size_t size = part.view.size;
        weir_slice_drop(&part);
        weir_buf_consume(text, size);
        if (done != size)
            return errno != 0 ? -errno : -EIO;
    }
    return 0;
}

int json_line_print(struct weir_view value, struct weir_pool *pool, FILE *out)
{
    struct json_writer writer;
    struct weir_buf text;
    int rc = weir_check(value, NULL, NULL);
    if (rc != 0)
        return -EBADMSG;
    json_writer_init(&writer, pool);
    rc = weir_buf_init(&text, pool, NULL);
    if (rc == 0)
        rc = json_writer_start(&writer, value);
    if (rc == 0) {
        int more;
        do {
            more = json_writer_step(&writer, &text);
            rc = more < 0 ? more : print_front(&text, out);
        } while (rc == 0 && more > 0);
    }
    weir_buf_fini(&text);
    json_writer_fini(&writer);
    if (rc == 0 && (fputc('\n', out) == EOF || fflush(out) != 0))
        rc = errno != 0 ? -errno : -EIO;
    return rc;
}
