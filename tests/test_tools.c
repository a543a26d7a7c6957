/* SPDX-License-Identifier: MIT */
/* The parts of the program weir that can be called alone, and its JSON in memory. */
#include "support.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/buf.h>
#include <weir/pack.h>
#include <weir/text.h>
#include <weir/unpack.h>

#include "../tools/base64.h"
#include "../tools/json_read.h"
#include "../tools/json_write.h"
#include "../tools/number.h"
#include "../tools/rfc3339.h"
#include "../tools/stat_table.h"
#include "../tools/utf8.h"

/* --- base64 ---------------------------------------------------------------------------------- */

static void base64_as_in_the_rfc(void **state)
{
    /* RFC 4648, section 10. */
    static const char *const vectors[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+"},
    };
    uint8_t out[16];
    size_t size;

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct weir_view plain = weir_view_text(vectors[i][0]);
        struct weir_view text = weir_view_text(vectors[i][1]);
        assert_int_equal(base64_encoded_bytes(plain.size), text.size);
        base64_encode(plain, out);
        assert_memory_equal(out, text.data, text.size);
        assert_int_equal(base64_decode(text, out, &size), 0);
        assert_int_equal(size, plain.size);
        assert_memory_equal(out, plain.data, size);
    }
}

static void base64_refuses_all_else(void **state)
{
    static const char *const texts[] = {
        "Z",
        "Zg",
        "Zg=",
        "Zg===",
        "=",
        "====",
        "Z===",
        "Zh==",
        "Zm9=",
        "Zm9v=",
        "Zm 9",
        "Zg==Zg==",
        "Zm9vZ===",
        "Zm-_",
        "Zm9\n",
        "\xc3\xa9==",
        "Z=g=",
        "=Zg=",
    };
    uint8_t out[16];
    size_t size = 77;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(base64_decode(weir_view_text(texts[i]), out, &size), -EBADMSG);
    assert_int_equal(size, 77);
}

static void base64_round_trip(void **state)
{
    struct test_random random;
    uint8_t bytes[200], text[280], back[210];
    size_t size;

    (void)state;
    test_random_init(&random);
    for (unsigned n = 0; n < 2000; n++) {
        size_t length = (size_t)test_random_below(&random, sizeof(bytes) + 1);
        test_fill(bytes, length, test_random(&random));
        struct weir_view view = weir_view_of(text, base64_encoded_bytes(length));
        base64_encode(weir_view_of(bytes, length), text);
        assert_int_equal(base64_decode(view, back, &size), 0);
        assert_int_equal(size, length);
        assert_memory_equal(back, bytes, length);
    }
}

/* --- UTF-8 ----------------------------------------------------------------------------------- */

/* Whether @text can be stepped through to its end, which is one of a character. */
static bool steps_through(struct weir_view text)
{
    struct utf8_state state = {0, 0, 0};

    for (size_t i = 0; i < text.size; i++)
        if (!utf8_step(&state, text.data[i]))
            return false;
    return state.left == 0;
}

static void utf8_byte_by_byte_is_utf8_as_a_whole(void **state)
{
    static const uint8_t lasts[] = {0x00, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};

    (void)state;
    for (uint32_t n = 0; n < 65536; n++) {
        for (size_t last = 0; last < 64; last++) {
            uint8_t text[4] = {(uint8_t)(n >> 8), (uint8_t)n, lasts[last / 8], lasts[last % 8]};
            for (size_t size = 1; size <= 4; size++) {
                struct weir_view view = weir_view_of(text, size);
                if (steps_through(view) != weir_text_is_utf8(view))
                    fail_msg(
                        "%02x %02x %02x %02x, %zu bytes", text[0], text[1], text[2], text[3], size);
            }
        }
    }
}

/* --- numbers and times ----------------------------------------------------------------------- */

static void floats_as_text(void **state)
{
    static const struct {
        double value;
        const char *text;
    } vectors[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-12.5, "-12.5"},
        {0.1, "0.1"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {9007199254740993.0, "9007199254740992.0"},
        {0x1p-1017,
         "7.120236347223045e-307"}, /* the nearest 16 digits are those of its neighbour */
    };
    char text[NUMBER_TEXT_BYTES];
    double back;

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        size_t size = number_f64_text(vectors[i].value, text);
        assert_string_equal(text, vectors[i].text);
        assert_int_equal(size, strlen(text));
        assert_true(number_f64_of_text(text, &back));
        assert_memory_equal(&back, &vectors[i].value, sizeof(back));
    }
    assert_false(number_f64_of_text("1e999", &back));
    assert_false(number_f64_of_text("1 ", &back));
    assert_false(number_f64_of_text("", &back));
}

/* All floats of 32 bits would take minutes: every 4,099th, a prime. */
static void floats_of_32_bits(void **state)
{
    char text[NUMBER_TEXT_BYTES];

    (void)state;
    for (uint64_t n = 0; n <= UINT32_MAX; n += 4099) {
        uint32_t bits = (uint32_t)n;
        float value, back = 0;
        memcpy(&value, &bits, sizeof(value));
        if ((bits & 0x7f800000) == 0x7f800000) {
            size_t size = number_f32_special(value, text);
            assert_true(number_f32_of_special(text, size, &back));
        } else {
            number_f32_text(value, text);
            assert_true(strpbrk(text, ".e") != NULL);
            assert_true(number_f32_of_text(text, &back));
        }
        if (memcmp(&back, &value, sizeof(back)) != 0)
            fail_msg("%08" PRIx32 " became %s", bits, text);
    }
}

static void times_as_text(void **state)
{
    static const struct {
        struct weir_timestamp time;
        const char *text;
    } vectors[] = {
        {{0, 0}, "1970-01-01T00:00:00Z"},
        {{-1, 999999999}, "1969-12-31T23:59:59.999999999Z"},
        {{951825600, 1}, "2000-02-29T12:00:00.000000001Z"},
        {{-62167219200, 0}, "0000-01-01T00:00:00Z"},
        {{-62162035201, 0}, "0000-02-29T23:59:59Z"},
        {{-62162035200, 0}, "0000-03-01T00:00:00Z"},
        {{253402300799, 0}, "9999-12-31T23:59:59Z"},
        {{4107542400, 0}, "2100-03-01T00:00:00Z"},
    };
    char text[RFC3339_TEXT_BYTES];
    struct weir_timestamp back;

    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        size_t size = rfc3339_text(vectors[i].time, text);
        assert_string_equal(text, vectors[i].text);
        assert_int_equal(size, strlen(text));
        assert_true(rfc3339_of_text(text, size, &back));
        assert_int_equal(back.seconds, vectors[i].time.seconds);
        assert_int_equal(back.nanoseconds, vectors[i].time.nanoseconds);
    }
    assert_int_equal(rfc3339_text((struct weir_timestamp){-62167219201, 0}, text), 0);
    assert_int_equal(rfc3339_text((struct weir_timestamp){253402300800, 0}, text), 0);
    assert_int_equal(rfc3339_text((struct weir_timestamp){INT64_MIN, 0}, text), 0);
    assert_int_equal(rfc3339_text((struct weir_timestamp){INT64_MAX, 0}, text), 0);
    assert_int_equal(rfc3339_text((struct weir_timestamp){0, 1000000000}, text), 0);
}

/* Day after day for 10,000 years, and each is the day after the one before. */
static void every_day_has_its_text(void **state)
{
    char text[RFC3339_TEXT_BYTES], before[RFC3339_TEXT_BYTES] = "";
    struct weir_timestamp time = {-62167219200, 0}, back;
    unsigned days = 0;

    (void)state;
    for (; rfc3339_text(time, text) != 0; time.seconds += 86400, days++) {
        assert_true(strcmp(before, text) < 0);
        assert_true(rfc3339_of_text(text, strlen(text), &back));
        assert_int_equal(back.seconds, time.seconds);
        memcpy(before, text, sizeof(before));
    }
    assert_int_equal(days, 3652425);
    assert_string_equal(before, "9999-12-31T00:00:00Z");
}

/* --- JSON in memory -------------------------------------------------------------------------- */

static const char document[] =
    " [1,-2.5e3 , \"a\\u00e9\\ud83d\\ude00\\n\" ,true]\t"
    "{\"k\" :{\"$bin\":\"aGk=\"} , \"\xc3\xa9\":[]}"
    "null\"\xf0\x9f\x98\x80\""
    "{\"$map\":[[{\"$f32\":0.1},{\"$time\":\"2001-02-03T04:05:06.5Z\"}]]}\n"
    "18446744073709551615 -9223372036854775808 0 {\"a\":{\"b\":{\"c\":[[[]]]}}} 1e-7 12";
static const char faulty[] = "[1]\n{\"a\":[\"\xc3\xa9\\u0041\"],\n\"b\":1,\"a\":0}";

/* Read @text cut at the offsets @cuts, ascending. Returns the reader's last word. */
static int read_cut(struct json_reader *reader, struct weir_pool *pool, const char *text,
                    const size_t cuts[2], struct weir_buf *out)
{
    size_t size = strlen(text);
    size_t ends[3] = {cuts[0], cuts[1], size};
    size_t at = 0;
    int rc = json_reader_init(reader, pool, NULL);

    for (unsigned i = 0; rc == 0 && i < 3; i++) {
        /* Memory of its own, so that a sanitizer sees a read beyond the piece. */
        uint8_t *copy = malloc(ends[i] - at + 1);
        assert_non_null(copy);
        memcpy(copy, text + at, ends[i] - at);
        struct weir_view piece = weir_view_of(copy, ends[i] - at);
        while (rc == 0)
            rc = json_reader_next(reader, &piece, out);
        if (rc == -EAGAIN) {
            assert_int_equal(piece.size, 0);
            rc = 0;
        }
        free(copy);
        at = ends[i];
    }
    while (rc == 0)
        rc = json_reader_end(reader, out);
    return rc;
}

static size_t buf_bytes(const struct weir_buf *buf, uint8_t *ret, size_t size)
{
    size_t copied = 0;

    assert_true(weir_buf_size(buf) <= size);
    while (copied < weir_buf_size(buf)) {
        struct iovec iov;
        assert_int_equal(weir_buf_iovecs(buf, copied, &iov, NULL, 1), 1);
        memcpy(ret + copied, iov.iov_base, iov.iov_len);
        copied += iov.iov_len;
    }
    return copied;
}

static void json_cut_anywhere(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct json_reader *reader = malloc(sizeof(*reader));
    uint8_t whole[512], bytes[512];
    size_t whole_size = 0;
    struct weir_buf out;

    (void)state;
    assert_non_null(reader);
    assert_int_equal(weir_buf_init(&out, pool, NULL), 0);
    for (size_t first = 0; first < sizeof(document); first++) {
        for (size_t second = first; second < sizeof(document); second += 1 + second % 7) {
            size_t cuts[2] = {first, second};
            assert_int_equal(read_cut(reader, pool, document, cuts, &out), -EAGAIN);
            size_t size = buf_bytes(&out, bytes, sizeof(bytes));
            if (whole_size == 0) {
                whole_size = size;
                memcpy(whole, bytes, size);
                assert_int_equal(weir_check(weir_view_of(whole, size), NULL, NULL), 0);
            }
            assert_int_equal(size, whole_size);
            assert_memory_equal(bytes, whole, size);
            json_reader_fini(reader);
            weir_buf_reset(&out);
        }
    }
    weir_buf_fini(&out);
    free(reader);
    test_pool_destroy(pool);
}

static void faults_are_where_they_are(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct json_reader *reader = malloc(sizeof(*reader));
    struct weir_buf out;
    uint8_t bytes[16];

    (void)state;
    assert_non_null(reader);
    assert_int_equal(weir_buf_init(&out, pool, NULL), 0);
    for (size_t first = 0; first < sizeof(faulty); first++) {
        for (size_t second = first; second < sizeof(faulty); second++) {
            size_t cuts[2] = {first, second};
            assert_int_equal(read_cut(reader, pool, faulty, cuts, &out), -EBADMSG);
            assert_int_equal(reader->fault.line, 3);
            assert_int_equal(reader->fault.offset, (size_t)(strstr(faulty, "\"a\":0") - faulty));
            assert_string_equal(reader->fault.reason,
                                "the name \"a\" for the second time in an object");
            assert_int_equal(buf_bytes(&out, bytes, sizeof(bytes)), 2);
            assert_memory_equal(bytes, "\x91\x01", 2);
            json_reader_fini(reader);
            weir_buf_reset(&out);
        }
    }
    weir_buf_fini(&out);
    free(reader);
    test_pool_destroy(pool);
}

/* Both directions over @pool; 0, or the first error. */
static int both_ways(struct weir_pool *pool, struct json_reader *reader, struct json_writer *writer)
{
    size_t cuts[2] = {50, 130};
    struct weir_buf packed, text;
    static const struct weir_buf_options whole = {.initial_bytes = 4096};
    struct weir_slice front;

    int rc = weir_buf_init(&packed, pool, &whole);
    assert_int_equal(rc, 0);
    assert_int_equal(weir_buf_init(&text, pool, NULL), 0);
    json_writer_init(writer, pool);
    rc = read_cut(reader, pool, document, cuts, &packed);
    if (rc == -EAGAIN) {
        rc = 0;
        assert_int_equal(weir_buf_front(&packed, &front), 0);
        struct weir_view rest = front.view;
        while (rc == 0 && rest.size != 0) {
            struct weir_unpacker cursor;
            struct weir_view value;
            weir_unpack_init(&cursor, rest, NULL);
            assert_int_equal(weir_unpack_raw(&cursor, &value), 0);
            rc = json_writer_start(writer, value);
            while (rc == 0 && (rc = json_writer_step(writer, &text)) > 0)
                rc = 0;
            rest = weir_view_of(rest.data + value.size, rest.size - value.size);
        }
        weir_slice_drop(&front);
    }
    json_reader_fini(reader);
    json_writer_fini(writer);
    weir_buf_fini(&packed);
    weir_buf_fini(&text);
    return rc;
}

static void memory_may_fail_anywhere(void **state)
{
    struct json_reader *reader = malloc(sizeof(*reader));
    struct json_writer *writer = malloc(sizeof(*writer));
    struct test_source source;

    (void)state;
    assert_non_null(reader);
    assert_non_null(writer);
    for (uint64_t n = 1;; n++) {
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        test_source_fail_from(&source, n);
        int rc = both_ways(pool, reader, writer);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (source.failures == 0) {
            assert_int_equal(rc, 0);
            assert_true(n > 1);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
    free(reader);
    free(writer);
}

/* --- tables ---------------------------------------------------------------------------------- */

/* Print a value and compare; NULL: it is refused, and nothing is printed. */
static void table_is(const char *bytes, size_t size, const char *want)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    int rc = stat_table_print(weir_view_of(bytes, size), out);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(rc, want != NULL ? 0 : -EBADMSG);
    assert_string_equal(text, want != NULL ? want : "");
    free(text);
}

#define TABLE_IS(bytes, want) table_is(bytes, sizeof(bytes) - 1, want)

static const char counters[] = "\x82"
                               "\xa4pool\x84\xa6in_use\x02\xa4held\xcd\x20\x00"
                               "\xa7"
                               "classes\x92"
                               "\x83\xa5"
                               "bytes\x40\xa6in_use\x02\xa4peak\xcd\x01\x2c"
                               "\x82\xa6in_use\x00\xa4peak\x01"
                               "\xa5large\x81\xa6in_use\xcf\xff\xff\xff\xff\xff\xff\xff\xff"
                               "\xa4ring\x82\xa6"
                               "enters\x07\xa1x\xc0";

static void counters_are_lines_and_rows(void **state)
{
    (void)state;
    TABLE_IS(counters,
             "pool\n"
             "  held  8192\n"
             "  bytes                in_use  peak\n"
             "  64                        2   300\n"
             "  0                         0     1\n"
             "  large  18446744073709551615     -\n"
             "  total                     2     -\n"
             "ring\n"
             "  enters  7\n"
             "  x       -\n");
    TABLE_IS("\x80", "");
    TABLE_IS("\x81\xa1"
             "a\x80",
             "a\n");
    TABLE_IS("\x81\xa1"
             "a\x81\xa1r\x93\x80\x01\x80",
             "a\n       \n  -    \n  -    \n  total\n");
    /* Names come from the other side. */
    TABLE_IS("\x81\xa5"
             "a\x1b\n\xc3\xbc\x81\x01\x05",
             "a????\n  ?  5\n");
    TABLE_IS("\x81\xd9\x29"
             "0123456789012345678901234567890123456789X\x80",
             "0123456789012345678901234567890123456789\n");
}

static void what_is_no_map_of_maps_has_no_table(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof counters - 1; size++)
        table_is(counters, size, NULL);
    TABLE_IS("\x80\x80", NULL);
    TABLE_IS("\x90", NULL);
    TABLE_IS("\x81\xa1"
             "a\x01",
             NULL);
    TABLE_IS("\x82\xa1"
             "a\x80\xa1"
             "b\x90",
             NULL);
    TABLE_IS("\xc1", NULL);
}

static void a_table_that_cannot_be_written_says_why(void **state)
{
    FILE *out = fopen("/dev/full", "w");
    (void)state;
    assert_non_null(out);
    assert_int_equal(stat_table_print(weir_view_of(counters, sizeof counters - 1), out), -ENOSPC);
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_as_in_the_rfc),
        cmocka_unit_test(base64_refuses_all_else),
        cmocka_unit_test(base64_round_trip),
        cmocka_unit_test(utf8_byte_by_byte_is_utf8_as_a_whole),
        cmocka_unit_test(floats_as_text),
        cmocka_unit_test(floats_of_32_bits),
        cmocka_unit_test(times_as_text),
        cmocka_unit_test(every_day_has_its_text),
        cmocka_unit_test(json_cut_anywhere),
        cmocka_unit_test(faults_are_where_they_are),
        cmocka_unit_test(memory_may_fail_anywhere),
        cmocka_unit_test(counters_are_lines_and_rows),
        cmocka_unit_test(what_is_no_map_of_maps_has_no_table),
        cmocka_unit_test(a_table_that_cannot_be_written_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
