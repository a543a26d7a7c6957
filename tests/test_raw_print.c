/* SPDX-License-Identifier: MIT */
/* What weir cat --raw prints is what MessagePack-C prints, to the byte. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <msgpack.h>

#include <weir/unpack.h>

#include "../tools/raw_print.h"
#include "documents.h"

struct fixture {
    struct weir_pool *pool;
    struct output output;
    struct raw_printer printer;
};

static void begin(struct fixture *f, struct weir_pool *pool, int fd)
{
    assert_true(fd >= 0);
    f->pool = pool;
    assert_int_equal(output_init(&f->output, pool, fd), 0);
    assert_int_equal(raw_printer_init(&f->printer, pool, &f->output), 0);
}

static void end(struct fixture *f)
{
    raw_printer_fini(&f->printer);
    output_fini(&f->output);
    close(f->output.fd);
    test_pool_destroy(f->pool);
}

/* The text of @value as MessagePack-C prints what it reads itself. To be freed. */
static char *reference(struct weir_view value, size_t *ret_size)
{
    msgpack_unpacked unpacked;
    char *text = NULL;
    size_t offset = 0;

    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)value.data, value.size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    FILE *out = open_memstream(&text, ret_size);
    assert_non_null(out);
    msgpack_object_print(out, unpacked.data);
    fclose(out);
    msgpack_unpacked_destroy(&unpacked);
    return text;
}

static void assert_prints(struct fixture *f, struct weir_view value)
{
    size_t size;
    char *wanted = reference(value, &size);
    char *got = malloc(size + 1);

    assert_non_null(got);
    assert_int_equal(ftruncate(f->output.fd, 0), 0);
    assert_int_equal(lseek(f->output.fd, 0, SEEK_SET), 0);
    assert_int_equal(raw_print(&f->printer, value), 0);
    assert_int_equal(output_flush(&f->output), 0);
    assert_int_equal(pread(f->output.fd, got, size + 1, 0), (ssize_t)size);
    assert_memory_equal(got, wanted, size);
    free(got);
    free(wanted);
}

static void assert_all_print(struct fixture *f, struct weir_view values)
{
    struct weir_unpacker cursor;
    struct weir_view value;

    weir_unpack_init(&cursor, values, NULL);
    while (!weir_unpack_done(&cursor)) {
        assert_int_equal(weir_unpack_raw(&cursor, &value), 0);
        assert_prints(f, value);
    }
    assert_int_equal(weir_arena_used_bytes(&f->printer.arena), 0);
}

static void every_form_is_printed_as_MessagePack_C_prints_it(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, test_pool_create(NULL), memfd_create("raw", 0));
    for (size_t i = 0; i < documents_count; i++)
        assert_all_print(&f, documents[i]);
    end(&f);
}

static void random_documents_are_printed_as_MessagePack_C_prints_them(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, test_pool_create(NULL), memfd_create("raw", 0));
    for (unsigned n = 0; n < 300; n++) {
        msgpack_sbuffer packed;
        msgpack_packer packer;
        msgpack_sbuffer_init(&packed);
        msgpack_packer_init(&packer, &packed, msgpack_sbuffer_write);
        random_document(&packer, &random, 6);
        assert_all_print(&f, weir_view_of(packed.data, packed.size));
        msgpack_sbuffer_destroy(&packed);
    }
    end(&f);
}

static void text_that_cannot_be_written_out_says_why(void **state)
{
    static uint8_t large[200000] = {0xc6, 0x00, 0x03, 0x0d, 0x3b}; /* a bin of the other bytes */
    struct weir_view value = weir_view_of(large, sizeof(large));
    struct fixture f;

    (void)state;
    begin(&f, test_pool_create(NULL), open("/dev/full", O_WRONLY));
    assert_int_equal(raw_print(&f.printer, weir_view_of("\x07", 1)), 0);
    assert_int_equal(raw_print(&f.printer, value), -ENOSPC);
    assert_int_equal(f.printer.output_error, -ENOSPC);
    assert_int_equal(raw_print(&f.printer, weir_view_of("\x07", 1)), -ENOSPC);
    end(&f);
}

static void memory_may_fail_anywhere(void **state)
{
    enum { COUNT = 30000 };
    static uint8_t array[3 + COUNT] = {0xdc, COUNT >> 8, COUNT & 0xff};
    struct test_source source;

    (void)state;
    for (uint64_t n = 1;; n++) {
        struct fixture f;
        test_source_init(&source);
        begin(&f, test_pool_create(&source), memfd_create("raw", 0));
        test_source_fail_from(&source, n);
        int rc = raw_print(&f.printer, weir_view_of(array, sizeof(array)));
        assert_int_equal(f.printer.output_error, 0);
        end(&f);
        test_source_fini(&source);
        if (source.failures == 0) {
            assert_int_equal(rc, 0);
            assert_true(n > 1);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_printed_as_MessagePack_C_prints_it),
        cmocka_unit_test(random_documents_are_printed_as_MessagePack_C_prints_them),
        cmocka_unit_test(text_that_cannot_be_written_out_says_why),
        cmocka_unit_test(memory_may_fail_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
