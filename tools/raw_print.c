/* SPDX-License-Identifier: MIT */
#include "raw_print.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

#include <msgpack.h>

#include <weir/object.h>

/* What takes the text off a FILE. Returns what it took, 0 after an error. */
static ssize_t take_text(void *cookie, const char *text, size_t size)
{
    struct raw_printer *printer = cookie;

    if (printer->error == 0)
        printer->error = weir_buf_append(&printer->output->buf, weir_view_of(text, size));
    if (printer->error == 0)
        printer->error = printer->output_error = output_flush_some(printer->output);
    return printer->error == 0 ? (ssize_t)size : 0;
}

int raw_printer_init(struct raw_printer *printer, struct weir_pool *pool, struct output *output)
{
    const cookie_io_functions_t functions = {.write = take_text};

    memset(printer, 0, sizeof(*printer));
    printer->output = output;
    weir_arena_init(&printer->arena, pool, NULL);
    printer->text = fopencookie(printer, "w", functions);
    return printer->text != NULL ? 0 : -ENOMEM;
}

void raw_printer_fini(struct raw_printer *printer)
{
    if (printer->text != NULL)
        fclose(printer->text);
    weir_arena_fini(&printer->arena);
}

int raw_print(struct raw_printer *printer, struct weir_view value)
{
    const struct weir_limits limits = {.depth = WEIR_DEPTH_MAX};
    msgpack_object object;

    int rc = weir_object_parse(value, &limits, &printer->arena, &object, NULL);
    if (rc == 0) {
        msgpack_object_print(printer->text, object);
        if (fflush(printer->text) != 0 || ferror(printer->text))
            rc = printer->error != 0 ? printer->error : -EIO;
    }
    weir_arena_reset(&printer->arena);
    return rc;
}
