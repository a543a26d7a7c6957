/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <weir/unpack.h>

#include "documents.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

static struct weir_unpacker over(struct weir_view input)
{
    struct weir_unpacker unpacker;

    weir_unpack_init(&unpacker, input, NULL);
    return unpacker;
}

/* --- reading what is there ------------------------------------------------------------------- */

static const struct integer {
    struct weir_view bytes;
    bool negative;
    uint64_t bits;
} integers[] = {
    {{(const uint8_t *)"\x00", 1}, false, 0},
    {{(const uint8_t *)"\x7f", 1}, false, 127},
    {{(const uint8_t *)"\xcc\x00", 2}, false, 0},
    {{(const uint8_t *)"\xcc\xff", 2}, false, 255},
    {{(const uint8_t *)"\xcd\x01\x02", 3}, false, 0x102},
    {{(const uint8_t *)"\xcd\xff\xff", 3}, false, 65535},
    {{(const uint8_t *)"\xce\x01\x02\x03\x04", 5}, false, 0x1020304},
    {{(const uint8_t *)"\xce\xff\xff\xff\xff", 5}, false, UINT32_MAX},
    {{(const uint8_t *)"\xcf\x01\x02\x03\x04\x05\x06\x07\x08", 9}, false, 0x102030405060708},
    {{(const uint8_t *)"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9}, false, UINT64_MAX},
    {{(const uint8_t *)"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9}, false, INT64_MAX},
    {{(const uint8_t *)"\xcf\x80\x00\x00\x00\x00\x00\x00\x00", 9}, false, UINT64_C(1) << 63},
    {{(const uint8_t *)"\xd0\x7f", 2}, false, 127},
    {{(const uint8_t *)"\xd1\x7f\xff", 3}, false, 32767},
    {{(const uint8_t *)"\xd2\x7f\xff\xff\xff", 5}, false, INT32_MAX},
    {{(const uint8_t *)"\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", 9}, false, INT64_MAX},
    {{(const uint8_t *)"\xff", 1}, true, (uint64_t)-1},
    {{(const uint8_t *)"\xe0", 1}, true, (uint64_t)-32},
    {{(const uint8_t *)"\xd0\x80", 2}, true, (uint64_t)-128},
    {{(const uint8_t *)"\xd0\xff", 2}, true, (uint64_t)-1},
    {{(const uint8_t *)"\xd1\x80\x00", 3}, true, (uint64_t)-32768},
    {{(const uint8_t *)"\xd2\x80\x00\x00\x00", 5}, true, (uint64_t)INT32_MIN},
    {{(const uint8_t *)"\xd2\xff\xff\xff\xfe", 5}, true, (uint64_t)-2},
    {{(const uint8_t *)"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9}, true, (uint64_t)INT64_MIN},
    {{(const uint8_t *)"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", 9}, true, (uint64_t)INT32_MIN - 1},
};

/* Read @bytes, with @behind bytes of something else behind them, as each kind of integer. */
static void check_integer(const struct integer *integer, size_t behind)
{
    uint8_t input[32] = {0};
    size_t size = integer->bytes.size;
    bool fits_i64 = integer->negative || integer->bits <= INT64_MAX;
    bool fits_u32 = !integer->negative && integer->bits <= UINT32_MAX;
    bool fits_i32 =
        fits_i64 && (int64_t)integer->bits >= INT32_MIN && (int64_t)integer->bits <= INT32_MAX;
    uint64_t u64 = 7;
    int64_t i64 = 7;
    uint32_t u32 = 7;
    int32_t i32 = 7;

    /* Misaligned on purpose. */
    memcpy(input + 1, integer->bytes.data, size);
    struct weir_view view = weir_view_of(input + 1, size + behind);
    struct weir_unpacker u = over(view);
    assert_int_equal(weir_unpack_uint(&u, &u64), integer->negative ? -EOVERFLOW : 0);
    assert_true(u64 == (integer->negative ? 7 : integer->bits));
    assert_int_equal(weir_unpack_offset(&u), integer->negative ? 0 : size);
    u = over(view);
    assert_int_equal(weir_unpack_int(&u, &i64), fits_i64 ? 0 : -EOVERFLOW);
    assert_true(i64 == (fits_i64 ? (int64_t)integer->bits : 7));
    assert_int_equal(weir_unpack_offset(&u), fits_i64 ? size : 0);
    u = over(view);
    assert_int_equal(weir_unpack_u32(&u, &u32), fits_u32 ? 0 : -EOVERFLOW);
    assert_true(u32 == (fits_u32 ? integer->bits : 7));
    assert_int_equal(weir_unpack_offset(&u), fits_u32 ? size : 0);
    u = over(view);
    assert_int_equal(weir_unpack_i32(&u, &i32), fits_i32 ? 0 : -EOVERFLOW);
    assert_true(i32 == (fits_i32 ? (int64_t)integer->bits : 7));
    assert_int_equal(weir_unpack_offset(&u), fits_i32 ? size : 0);
}

static void integers_are_read_in_every_form_and_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        enum weir_type type = integers[i].negative ? WEIR_TYPE_INT : WEIR_TYPE_UINT;
        struct weir_value value;
        for (size_t behind = 0; behind <= 9; behind++)
            check_integer(&integers[i], behind);
        struct weir_unpacker u = over(integers[i].bytes);
        enum weir_type peeked;
        assert_int_equal(weir_unpack_peek(&u, &peeked), 0);
        assert_int_equal(peeked, type);
        assert_int_equal(weir_unpack_next(&u, &value), 0);
        assert_int_equal(value.type, type);
        assert_true(value.as.u64 == integers[i].bits);
        assert_true(weir_unpack_done(&u));
    }
}

static void floats_are_read_bit_for_bit(void **state)
{
    struct weir_unpacker u = over(VIEW("\xca\x3f\xc0\x00\x00\xca\x3f\xc0\x00\x00"
                                       "\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18"
                                       "\xcb\x7f\xf8\x00\x00\x00\x00\x12\x34\xcb\x40\x00"));
    float narrow = 0;
    double wide = 0;
    uint64_t bits;

    (void)state;
    assert_int_equal(weir_unpack_f32(&u, &narrow), 0);
    assert_true(narrow == 1.5f);
    assert_int_equal(weir_unpack_f64(&u, &wide), 0);
    assert_true(wide == 1.5);
    assert_int_equal(weir_unpack_f64(&u, &wide), 0);
    assert_true(wide == 3.141592653589793);
    assert_int_equal(weir_unpack_f64(&u, &wide), 0);
    memcpy(&bits, &wide, sizeof(bits));
    assert_true(bits == UINT64_C(0x7ff8000000001234));
    assert_int_equal(weir_unpack_f64(&u, &wide), -EAGAIN);
    assert_int_equal(weir_unpack_offset(&u), 28);
    u = over(VIEW("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"));
    assert_int_equal(weir_unpack_f32(&u, &narrow), -EPROTO);
    assert_true(narrow == 1.5f);
}

static void bytes_are_views_into_the_input(void **state)
{
    struct weir_view input = VIEW("\xa3"
                                  "abc"
                                  "\xd9\x02"
                                  "de"
                                  "\xda\x00\x01"
                                  "f"
                                  "\xdb\x00\x00\x00\x00"
                                  "\xc4\x01"
                                  "g"
                                  "\xc5\x00\x01"
                                  "h"
                                  "\xc6\x00\x00\x00\x01"
                                  "i"
                                  "\xa0");
    struct weir_unpacker u = over(input);
    struct weir_view bytes;

    (void)state;
    assert_int_equal(weir_unpack_str(&u, &bytes), 0);
    assert_ptr_equal(bytes.data, input.data + 1);
    assert_int_equal(bytes.size, 3);
    assert_int_equal(weir_unpack_str(&u, &bytes), 0);
    assert_ptr_equal(bytes.data, input.data + 6);
    assert_int_equal(bytes.size, 2);
    assert_int_equal(weir_unpack_str(&u, &bytes), 0);
    assert_true(weir_view_equal(bytes, weir_view_text("f")));
    assert_int_equal(weir_unpack_str(&u, &bytes), 0);
    assert_int_equal(bytes.size, 0);
    assert_int_equal(weir_unpack_bin(&u, &bytes), 0);
    assert_true(weir_view_equal(bytes, weir_view_text("g")));
    assert_int_equal(weir_unpack_bin(&u, &bytes), 0);
    assert_true(weir_view_equal(bytes, weir_view_text("h")));
    assert_int_equal(weir_unpack_bin(&u, &bytes), 0);
    assert_true(weir_view_equal(bytes, weir_view_text("i")));
    assert_int_equal(weir_unpack_str(&u, &bytes), 0);
    assert_int_equal(bytes.size, 0);
    assert_int_equal(weir_unpack_end(&u), 0);
}

static void containers_are_their_heads(void **state)
{
    struct weir_unpacker u =
        over(VIEW("\x92\xc0\xc3\xdc\x00\x01\x80\xdd\x00\x00\x00\x00\x81\x01\x02"
                  "\xde\x00\x01\x01\x02\xdf\x00\x00\x00\x00"));
    uint32_t count = 9;
    bool truth = false;

    (void)state;
    assert_int_equal(weir_unpack_array(&u, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(weir_unpack_nil(&u), 0);
    assert_int_equal(weir_unpack_bool(&u, &truth), 0);
    assert_true(truth);
    assert_int_equal(weir_unpack_array(&u, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(weir_unpack_map(&u, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(weir_unpack_array(&u, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(weir_unpack_map(&u, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_map(&u, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_map(&u, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(weir_unpack_end(&u), 0);
}

static void exts_carry_their_type(void **state)
{
    struct weir_unpacker u = over(VIEW("\xd4\x05"
                                       "a"
                                       "\xd5\x80"
                                       "ab"
                                       "\xd6\x7f"
                                       "abcd"
                                       "\xd7\x01"
                                       "abcdefgh"
                                       "\xd8\x02"
                                       "0123456789abcdef"
                                       "\xc7\x00\x03"
                                       "\xc8\x00\x01\xff"
                                       "z"
                                       "\xc9\x00\x00\x00\x03\x04"
                                       "xyz"));
    static const struct {
        int8_t type;
        const char *bytes;
    } wanted[] = {
        {5, "a"},
        {-128, "ab"},
        {127, "abcd"},
        {1, "abcdefgh"},
        {2, "0123456789abcdef"},
        {3, ""},
        {-1, "z"},
        {4, "xyz"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        int8_t type = 0;
        struct weir_view bytes;
        assert_int_equal(weir_unpack_ext(&u, &type, &bytes), 0);
        assert_int_equal(type, wanted[i].type);
        assert_true(weir_view_equal(bytes, weir_view_text(wanted[i].bytes)));
    }
    assert_int_equal(weir_unpack_end(&u), 0);
}

static void timestamps_are_read_in_their_three_forms(void **state)
{
    static const struct {
        struct weir_view bytes;
        int error;
        int64_t seconds;
        uint32_t nanoseconds;
    } cases[] = {
        {{(const uint8_t *)"\xd6\xff\x00\x00\x00\x00", 6}, 0, 0, 0},
        {{(const uint8_t *)"\xd6\xff\xff\xff\xff\xff", 6}, 0, UINT32_MAX, 0},
        {{(const uint8_t *)"\xd7\xff\xee\x6b\x27\xff\xff\xff\xff\xff", 10},
         0,
         0x3ffffffff,
         999999999},
        {{(const uint8_t *)"\xd7\xff\xee\x6b\x28\x00\x00\x00\x00\x00", 10}, -EBADMSG, 0, 0},
        {{(const uint8_t *)"\xc7\x0c\xff\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff", 15},
         0,
         -1,
         1},
        {{(const uint8_t *)"\xc7\x0c\xff\x3b\x9a\xca\x00\x00\x00\x00\x00\x00\x00\x00\x00", 15},
         -EBADMSG,
         0,
         0},
        {{(const uint8_t *)"\xc7\x04\xff\x00\x00\x00\x07", 7}, 0, 7, 0},
        {{(const uint8_t *)"\xd4\xff\x00", 3}, -EBADMSG, 0, 0},
        {{(const uint8_t *)"\xc7\x00\xff", 3}, -EBADMSG, 0, 0},
        {{(const uint8_t *)"\xd6\x01\x00\x00\x00\x00", 6}, -EPROTO, 0, 0},
        {{(const uint8_t *)"\xd6\xff\x00\x00\x00", 5}, -EAGAIN, 0, 0},
        {{(const uint8_t *)"\x07", 1}, -EPROTO, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_timestamp time = {77, 77};
        struct weir_unpacker u = over(cases[i].bytes);
        assert_int_equal(weir_unpack_timestamp(&u, &time), cases[i].error);
        assert_int_equal(weir_unpack_offset(&u), cases[i].error ? 0 : cases[i].bytes.size);
        assert_true(time.seconds == (cases[i].error ? 77 : cases[i].seconds));
        assert_int_equal(time.nanoseconds, cases[i].error ? 77 : cases[i].nanoseconds);
    }
}

static void peek_says_what_comes_without_reading(void **state)
{
    static const struct {
        uint8_t tag;
        enum weir_type type;
    } cases[] = {
        {0x00, WEIR_TYPE_UINT},  {0x7f, WEIR_TYPE_UINT},  {0x80, WEIR_TYPE_MAP},
        {0x8f, WEIR_TYPE_MAP},   {0x90, WEIR_TYPE_ARRAY}, {0x9f, WEIR_TYPE_ARRAY},
        {0xa0, WEIR_TYPE_STR},   {0xbf, WEIR_TYPE_STR},   {0xc0, WEIR_TYPE_NIL},
        {0xc2, WEIR_TYPE_BOOL},  {0xc3, WEIR_TYPE_BOOL},  {0xc4, WEIR_TYPE_BIN},
        {0xc5, WEIR_TYPE_BIN},   {0xc6, WEIR_TYPE_BIN},   {0xc7, WEIR_TYPE_EXT},
        {0xc8, WEIR_TYPE_EXT},   {0xc9, WEIR_TYPE_EXT},   {0xca, WEIR_TYPE_F32},
        {0xcb, WEIR_TYPE_F64},   {0xcc, WEIR_TYPE_UINT},  {0xcf, WEIR_TYPE_UINT},
        {0xd4, WEIR_TYPE_EXT},   {0xd8, WEIR_TYPE_EXT},   {0xd9, WEIR_TYPE_STR},
        {0xda, WEIR_TYPE_STR},   {0xdb, WEIR_TYPE_STR},   {0xdc, WEIR_TYPE_ARRAY},
        {0xdd, WEIR_TYPE_ARRAY}, {0xde, WEIR_TYPE_MAP},   {0xdf, WEIR_TYPE_MAP},
        {0xe0, WEIR_TYPE_INT},   {0xff, WEIR_TYPE_INT},
    };
    enum weir_type type = WEIR_TYPE_EXT;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_unpacker u = over(weir_view_of(&cases[i].tag, 1));
        assert_int_equal(weir_unpack_peek(&u, &type), 0);
        assert_int_equal(type, cases[i].type);
        assert_int_equal(weir_unpack_offset(&u), 0);
    }
    type = WEIR_TYPE_NIL;
    struct weir_unpacker u = over(VIEW("\xd1"));
    assert_int_equal(weir_unpack_peek(&u, &type), -EAGAIN);
    u = over(VIEW("\xc1"));
    assert_int_equal(weir_unpack_peek(&u, &type), -EBADMSG);
    u = over(VIEW(""));
    assert_int_equal(weir_unpack_peek(&u, &type), -EAGAIN);
    assert_int_equal(weir_unpack_error(&u), 0);
    assert_int_equal(type, WEIR_TYPE_NIL);
    assert_int_equal(weir_unpack_nil(&u), -EAGAIN);
    assert_int_equal(weir_unpack_peek(&u, &type), -EAGAIN);
}

static void raw_hands_out_the_bytes_of_a_value(void **state)
{
    struct weir_view input = VIEW("\x01\x92\xa1"
                                  "a"
                                  "\x81\x01\xc0\xc3");
    struct weir_unpacker u = over(input);
    struct weir_view raw;

    (void)state;
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_raw(&u, &raw), 0);
    assert_ptr_equal(raw.data, input.data + 1);
    assert_int_equal(raw.size, 6);
    assert_int_equal(weir_unpack_raw(&u, &raw), 0);
    assert_int_equal(raw.size, 1);
    assert_int_equal(weir_unpack_raw(&u, &raw), -EAGAIN);
    assert_int_equal(raw.size, 1);
    assert_int_equal(weir_unpack_offset(&u), input.size);
}

static void an_empty_input_is_no_values(void **state)
{
    struct weir_view none = {NULL, 0};
    struct weir_unpacker u = over(none);
    struct weir_fault fault;

    (void)state;
    assert_true(weir_unpack_done(&u));
    assert_int_equal(weir_unpack_end(&u), 0);
    assert_int_equal(weir_unpack_offset(&u), 0);
    assert_int_equal(weir_unpack_skip(&u), -EAGAIN);
    assert_false(weir_unpack_done(&u));
    assert_int_equal(weir_check(none, NULL, &fault), 0);
    assert_int_equal(fault.offset, 0);
}

static void bytes_left_over_are_an_error_of_the_end(void **state)
{
    struct weir_unpacker u = over(VIEW("\x01\x02"));

    (void)state;
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_end(&u), -EBADMSG);
    assert_int_equal(weir_unpack_offset(&u), 1);
    assert_int_equal(weir_unpack_skip(&u), -EBADMSG);
}

/* --- another type than asked for ------------------------------------------------------------- */

enum reader {
    R_NIL,
    R_BOOL,
    R_UINT,
    R_INT,
    R_U32,
    R_I32,
    R_F32,
    R_F64,
    R_STR,
    R_BIN,
    R_ARRAY,
    R_MAP,
    R_EXT,
    R_TIME,
    R_COUNT
};

/* Read with @reader into outputs of zero bytes; returns the error and whether one was written. */
static int read_with(struct weir_unpacker *u, enum reader reader, bool *written)
{
    static const uint8_t zeros[64];
    union {
        uint8_t bytes[64];
        struct {
            struct weir_view view;
            int8_t type;
        } ext;
        bool boolean;
        uint64_t u64;
        int64_t i64;
        uint32_t u32;
        int32_t i32;
        float f32;
        double f64;
        struct weir_view view;
        struct weir_timestamp time;
    } out;
    int rc = 0;

    memset(&out, 0, sizeof(out));
    switch (reader) {
    case R_NIL:
        rc = weir_unpack_nil(u);
        break;
    case R_BOOL:
        rc = weir_unpack_bool(u, &out.boolean);
        break;
    case R_UINT:
        rc = weir_unpack_uint(u, &out.u64);
        break;
    case R_INT:
        rc = weir_unpack_int(u, &out.i64);
        break;
    case R_U32:
        rc = weir_unpack_u32(u, &out.u32);
        break;
    case R_I32:
        rc = weir_unpack_i32(u, &out.i32);
        break;
    case R_F32:
        rc = weir_unpack_f32(u, &out.f32);
        break;
    case R_F64:
        rc = weir_unpack_f64(u, &out.f64);
        break;
    case R_STR:
        rc = weir_unpack_str(u, &out.view);
        break;
    case R_BIN:
        rc = weir_unpack_bin(u, &out.view);
        break;
    case R_ARRAY:
        rc = weir_unpack_array(u, &out.u32);
        break;
    case R_MAP:
        rc = weir_unpack_map(u, &out.u32);
        break;
    case R_EXT:
        rc = weir_unpack_ext(u, &out.ext.type, &out.ext.view);
        break;
    default:
        rc = weir_unpack_timestamp(u, &out.time);
        break;
    }
    *written = memcmp(out.bytes, zeros, sizeof(zeros)) != 0;
    return rc;
}

#define BIT(reader) (1u << (reader))
#define INTEGERS (BIT(R_UINT) | BIT(R_INT) | BIT(R_U32) | BIT(R_I32))

static void another_type_than_asked_for_is_an_error(void **state)
{
    static const struct {
        struct weir_view bytes;
        unsigned readers; /* that take it */
    } cases[] = {
        {{(const uint8_t *)"\xc0", 1}, BIT(R_NIL)},
        {{(const uint8_t *)"\xc3", 1}, BIT(R_BOOL)},
        {{(const uint8_t *)"\x07", 1}, INTEGERS},
        {{(const uint8_t *)"\xcd\x12\x34", 3}, INTEGERS},
        {{(const uint8_t *)"\xff", 1}, BIT(R_INT) | BIT(R_I32)},
        {{(const uint8_t *)"\xca\x3f\x80\x00\x00", 5}, BIT(R_F32) | BIT(R_F64)},
        {{(const uint8_t *)"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", 9}, BIT(R_F64)},
        {{(const uint8_t *)"\xa1x", 2}, BIT(R_STR)},
        {{(const uint8_t *)"\xd9\x01x", 3}, BIT(R_STR)},
        {{(const uint8_t *)"\xc4\x01x", 3}, BIT(R_BIN)},
        {{(const uint8_t *)"\x91\x01", 2}, BIT(R_ARRAY)},
        {{(const uint8_t *)"\x81\x01\x02", 3}, BIT(R_MAP)},
        {{(const uint8_t *)"\xd4\x01x", 3}, BIT(R_EXT)},
        {{(const uint8_t *)"\xd6\xff\x00\x00\x00\x01", 6}, BIT(R_EXT) | BIT(R_TIME)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned reader = 0; reader < R_COUNT; reader++) {
            bool written;
            uint8_t input[16] = {0xc2};
            memcpy(input + 1, cases[i].bytes.data, cases[i].bytes.size);
            struct weir_unpacker u = over(weir_view_of(input, sizeof(input)));
            assert_int_equal(weir_unpack_skip(&u), 0);
            int rc = read_with(&u, reader, &written);
            if ((cases[i].readers & BIT(reader)) != 0) {
                assert_int_equal(rc, 0);
                assert_true(written || reader == R_NIL);
                assert_true(weir_unpack_offset(&u) > 1);
                continue;
            }
            bool range = input[1] == 0xff && (reader == R_UINT || reader == R_U32);
            assert_int_equal(rc, range ? -EOVERFLOW : -EPROTO);
            assert_false(written);
            assert_int_equal(weir_unpack_offset(&u), 1);
            /* and it stays: no later read does anything */
            for (unsigned later = 0; later < R_COUNT; later++) {
                assert_int_equal(read_with(&u, later, &written), rc);
                assert_false(written);
            }
            assert_int_equal(weir_unpack_skip(&u), rc);
            assert_int_equal(weir_unpack_end(&u), rc);
            assert_int_equal(weir_unpack_error(&u), rc);
            assert_int_equal(weir_unpack_offset(&u), 1);
            assert_false(weir_unpack_done(&u));
        }
    }
}

/* --- malformed and cut off ------------------------------------------------------------------- */

/* Pass over everything with weir_unpack_skip(), or head by head; returns as weir_check() does. */
static int walk(struct weir_view input, bool heads, size_t *ret_offset)
{
    struct weir_unpacker u = over(input);
    struct weir_value value;
    uint64_t to_come = 0;

    while (weir_unpack_error(&u) == 0 && (to_come != 0 || !weir_unpack_done(&u))) {
        if (!heads) {
            weir_unpack_skip(&u);
            continue;
        }
        to_come = to_come != 0 ? to_come : 1;
        if (weir_unpack_next(&u, &value) == 0) {
            to_come--;
            if (value.type == WEIR_TYPE_ARRAY)
                to_come += value.count;
            else if (value.type == WEIR_TYPE_MAP)
                to_come += 2 * (uint64_t)value.count;
        }
    }
    *ret_offset = weir_unpack_offset(&u);
    return weir_unpack_error(&u);
}

/* All three ways agree on @error at @offset. */
static void check_verdict(struct weir_view input, int error, size_t offset)
{
    /* In memory of its own size, so that a read past the end is seen. */
    uint8_t *copy = malloc(input.size + 1);
    struct weir_fault fault = {1, 1, NULL};
    size_t at = SIZE_MAX;

    assert_non_null(copy);
    uint8_t *exact = input.size != 0 ? realloc(copy, input.size) : copy;
    assert_non_null(exact);
    if (input.size != 0)
        memcpy(exact, input.data, input.size);
    input.data = exact;
    assert_int_equal(weir_check(input, NULL, &fault), error);
    assert_int_equal(fault.error, error);
    assert_non_null(fault.reason);
    if (offset != SIZE_MAX)
        assert_int_equal(fault.offset, offset);
    assert_int_equal(walk(input, false, &at), error);
    assert_int_equal(at, fault.offset);
    assert_int_equal(walk(input, true, &at), error);
    assert_int_equal(at, fault.offset);
    free(exact);
}

static void whole_documents_are_well(void **state)
{
    (void)state;
    for (size_t i = 0; i < documents_count; i++)
        check_verdict(documents[i], 0, documents[i].size);
}

static void every_truncation_is_incomplete_or_a_shorter_document(void **state)
{
    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        for (size_t size = 0; size < documents[i].size; size++) {
            /* Whole values before the cut make it well; MessagePack-C says where they end. */
            msgpack_unpacked unpacked;
            size_t offset = 0;
            msgpack_unpacked_init(&unpacked);
            msgpack_unpack_return got = MSGPACK_UNPACK_SUCCESS;
            while (offset < size && got == MSGPACK_UNPACK_SUCCESS)
                got =
                    msgpack_unpack_next(&unpacked, (const char *)documents[i].data, size, &offset);
            msgpack_unpacked_destroy(&unpacked);
            check_verdict(weir_view_of(documents[i].data, size),
                          got == MSGPACK_UNPACK_SUCCESS ? 0 : -EAGAIN,
                          got == MSGPACK_UNPACK_SUCCESS ? size : SIZE_MAX);
        }
    }
}

static void a_cut_value_is_named_by_its_offset_and_kind(void **state)
{
    static const struct {
        struct weir_view bytes;
        size_t offset;
        const char *reason;
    } cases[] = {
        {{(const uint8_t *)"\x01\xa3"
                           "ab",
          4},
         1,
         "the bytes end within a str"},
        {{(const uint8_t *)"\x01\xda\x00", 3}, 1, "the bytes end within a str"},
        {{(const uint8_t *)"\xc4", 1}, 0, "the bytes end within a bin"},
        {{(const uint8_t *)"\xc4\x02\x00", 3}, 0, "the bytes end within a bin"},
        {{(const uint8_t *)"\xd5\x01\x00", 3}, 0, "the bytes end within an ext"},
        {{(const uint8_t *)"\xcd\x01", 2}, 0, "the bytes end within an integer"},
        {{(const uint8_t *)"\xcb\x01", 2}, 0, "the bytes end within a float"},
        {{(const uint8_t *)"\x92\x01", 2}, 0, "the bytes end within an array"},
        {{(const uint8_t *)"\x81\x01", 2}, 0, "the bytes end within a map"},
        {{(const uint8_t *)"\x91\x92\xa1"
                           "a",
          4},
         4,
         "the bytes end within an array or map"},
        {{(const uint8_t *)"\x91\x92\xa1"
                           "a\xd9",
          5},
         4,
         "the bytes end within a str"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_fault fault;
        check_verdict(cases[i].bytes, -EAGAIN, cases[i].offset);
        weir_check(cases[i].bytes, NULL, &fault);
        assert_string_equal(fault.reason, cases[i].reason);
    }
}

static void the_reserved_byte_is_malformed_wherever_a_value_begins(void **state)
{
    struct weir_fault fault;

    (void)state;
    check_verdict(VIEW("\xc1"), -EBADMSG, 0);
    check_verdict(VIEW("\x01\x92\x02\xc1"), -EBADMSG, 3);
    check_verdict(VIEW("\x81\xa1"
                       "a"
                       "\xc1"),
                  -EBADMSG,
                  3);
    check_verdict(VIEW("\xa1\xc1\xcc\xc1\xc4\x01\xc1"), 0, 7);
    assert_int_equal(weir_check(VIEW("\xc1"), NULL, &fault), -EBADMSG);
    assert_string_equal(fault.reason, "the reserved byte 0xc1");
    /* Each head of each document in turn. */
    for (size_t i = 0; i < documents_count; i++) {
        uint8_t copy[1024];
        struct weir_unpacker u = over(documents[i]);
        struct weir_value value;
        assert_true(documents[i].size <= sizeof(copy));
        while (!weir_unpack_done(&u)) {
            size_t at = weir_unpack_offset(&u);
            memcpy(copy, documents[i].data, documents[i].size);
            copy[at] = 0xc1;
            check_verdict(weir_view_of(copy, documents[i].size), -EBADMSG, at);
            assert_int_equal(weir_unpack_next(&u, &value), 0);
        }
    }
}

static void hostile_counts_are_refused_at_their_head(void **state)
{
    (void)state;
    check_verdict(VIEW("\xdd\xff\xff\xff\xff"), -EAGAIN, 0);
    check_verdict(VIEW("\xdf\xff\xff\xff\xff"), -EAGAIN, 0);
    check_verdict(VIEW("\xdf\x80\x00\x00\x00"), -EAGAIN, 0);
    check_verdict(VIEW("\xdb\xff\xff\xff\xff"), -EAGAIN, 0);
    check_verdict(VIEW("\xc6\xff\xff\xff\xff"), -EAGAIN, 0);
    check_verdict(VIEW("\xc9\xff\xff\xff\xff\x01"), -EAGAIN, 0);
    check_verdict(VIEW("\x91\xdd\xff\xff\xff\xff"), -EAGAIN, 1);
    check_verdict(VIEW("\x82\x01\x02\xdf\xff\xff\xff\xff\x00"), -EAGAIN, 3);
    /* one element and one byte short of what is announced */
    check_verdict(VIEW("\xdc\x00\x02\x01"), -EAGAIN, 0);
    check_verdict(VIEW("\xde\x00\x01\x01"), -EAGAIN, 0);
    check_verdict(VIEW("\xde\x00\x01\x01\x01"), 0, 5);
}

static void chains_of_hostile_counts_take_linear_time(void **state)
{
    enum { HEADS = 2000000 };
    uint8_t *bytes = malloc((size_t)HEADS * 5);
    struct weir_limits limits = {.depth = WEIR_DEPTH_MAX};
    struct weir_fault fault;
    size_t at;

    (void)state;
    assert_non_null(bytes);
    /* Each announces as many pairs as half of what is left could be. */
    for (size_t i = 0; i < HEADS; i++) {
        uint32_t left = (uint32_t)((HEADS - i - 1) * 5);
        bytes[i * 5] = i % 2 == 0 ? 0xdf : 0xdd;
        weir_wire_store32(bytes + i * 5 + 1, i % 2 == 0 ? left / 2 : left);
    }
    struct weir_view input = weir_view_of(bytes, (size_t)HEADS * 5);
    assert_int_equal(walk(input, false, &at), -EAGAIN);
    assert_int_equal(at, input.size);
    assert_int_equal(weir_check(input, &limits, &fault), -ENOBUFS);
    assert_int_equal(fault.offset, WEIR_DEPTH_MAX * 5);
    /* all of them impossible: the first is refused */
    for (size_t i = 0; i < HEADS; i++)
        memcpy(bytes + i * 5, "\xdd\xff\xff\xff\xff", 5);
    assert_int_equal(walk(input, false, &at), -EAGAIN);
    assert_int_equal(at, 0);
    assert_int_equal(weir_check(input, &limits, &fault), -EAGAIN);
    assert_int_equal(fault.offset, 0);
    free(bytes);
}

static void millions_of_nested_arrays_need_no_stack(void **state)
{
    const size_t levels = 20000000;
    uint8_t *bytes = malloc(levels + 1);
    struct weir_fault fault;
    struct weir_view raw;
    size_t at;

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 0x91, levels);
    bytes[levels] = 0xc0;
    struct weir_view input = weir_view_of(bytes, levels + 1);
    struct weir_unpacker u = over(input);
    assert_int_equal(weir_unpack_raw(&u, &raw), 0);
    assert_int_equal(raw.size, input.size);
    assert_int_equal(weir_unpack_end(&u), 0);
    assert_int_equal(weir_check(input, NULL, &fault), -ENOBUFS);
    assert_int_equal(fault.offset, 128);
    assert_string_equal(fault.reason, "nested deeper than the limit");
    input.size--;
    assert_int_equal(walk(input, false, &at), -EAGAIN);
    assert_int_equal(at, levels - 1);
    assert_int_equal(walk(input, true, &at), -EAGAIN);
    assert_int_equal(at, levels - 1);
    free(bytes);
}

/* --- limits ---------------------------------------------------------------------------------- */

static void the_limit_of_depth_is_exact(void **state)
{
    uint8_t bytes[WEIR_DEPTH_MAX + 2];
    struct weir_limits limits = {0};
    struct weir_fault fault;

    (void)state;
    memset(bytes, 0x91, sizeof(bytes));
    for (uint32_t depth = 1; depth <= WEIR_DEPTH_MAX; depth++) {
        limits.depth = depth;
        bytes[depth] = 0x01;
        assert_int_equal(weir_check(weir_view_of(bytes, depth + 1), &limits, &fault), 0);
        assert_int_equal(fault.offset, depth + 1);
        bytes[depth] = 0x80; /* even an empty one is one more */
        assert_int_equal(weir_check(weir_view_of(bytes, depth + 1), &limits, &fault), -ENOBUFS);
        assert_int_equal(fault.offset, depth);
        bytes[depth] = 0x91;
    }
    /* what is closed does not count */
    limits.depth = 2;
    assert_int_equal(weir_check(VIEW("\x93\x91\x01\x90\x81\x01\x02\x92\x01\x02"), &limits, NULL),
                     0);
    limits.depth = WEIR_DEPTH_MAX + 1;
    assert_int_equal(weir_check(VIEW("\x01"), &limits, &fault), -EINVAL);
    assert_int_equal(fault.error, -EINVAL);
    assert_int_equal(fault.offset, 0);
}

static void the_limit_of_elements_is_exact(void **state)
{
    struct weir_view input = VIEW("\x93\x01\xa1"
                                  "a"
                                  "\x81\x02\xc0\xcb\x00\x00\x00\x00\x00\x00\x00\x00");
    struct weir_limits limits = {.elements = 7};
    struct weir_unpacker u;
    struct weir_value value;
    struct weir_fault fault;

    (void)state;
    assert_int_equal(weir_check(input, &limits, NULL), 0);
    weir_unpack_init(&u, input, &limits);
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_skip(&u), 0);
    assert_int_equal(weir_unpack_end(&u), 0);
    limits.elements = 6;
    assert_int_equal(weir_check(input, &limits, &fault), -ENOBUFS);
    assert_int_equal(fault.offset, 7);
    assert_string_equal(fault.reason, "more values than the limit allows");
    weir_unpack_init(&u, input, &limits);
    assert_int_equal(weir_unpack_skip(&u), 0);
    double wide;
    assert_int_equal(weir_unpack_f64(&u, &wide), -ENOBUFS);
    assert_int_equal(weir_unpack_offset(&u), 7);
    limits.elements = 5;
    weir_unpack_init(&u, input, &limits);
    assert_int_equal(weir_unpack_skip(&u), -ENOBUFS);
    assert_int_equal(weir_unpack_offset(&u), 6);
    /* inline readers count too */
    for (unsigned reader = 0; reader < R_COUNT; reader++) {
        bool written;
        uint8_t bytes[32] = {0x01};
        limits.elements = 1;
        memset(bytes + 1,
               reader == R_STR     ? 0xa1
               : reader == R_ARRAY ? 0x91
               : reader == R_MAP   ? 0x81
               : reader == R_F64   ? 0xcb
                                   : 0x01,
               sizeof(bytes) - 1);
        weir_unpack_init(&u, weir_view_of(bytes, sizeof(bytes)), &limits);
        assert_int_equal(weir_unpack_next(&u, &value), 0);
        assert_int_equal(read_with(&u, reader, &written), -ENOBUFS);
        assert_false(written);
        assert_int_equal(weir_unpack_offset(&u), 1);
    }
}

static void the_limit_of_bytes_is_exact(void **state)
{
    struct weir_limits limits = {.bytes = 3};
    struct weir_unpacker u;
    struct weir_fault fault;
    uint64_t value = 7;

    (void)state;
    weir_unpack_init(&u, VIEW("\x01\x02\x03"), &limits);
    assert_int_equal(weir_unpack_uint(&u, &value), 0);
    assert_int_equal(weir_check(VIEW("\x01\x02\x03"), &limits, NULL), 0);
    weir_unpack_init(&u, VIEW("\x01\x02\x03\x04"), &limits);
    assert_int_equal(weir_unpack_error(&u), -ENOBUFS);
    assert_int_equal(weir_unpack_uint(&u, &value), -ENOBUFS);
    assert_int_equal(weir_unpack_offset(&u), 0);
    assert_int_equal(weir_check(VIEW("\x01\x02\x03\x04"), &limits, &fault), -ENOBUFS);
    assert_int_equal(fault.offset, 0);
    assert_string_equal(fault.reason, "more bytes than the limit allows");
}

/* --- against MessagePack-C ------------------------------------------------------------------- */

static void random_documents_decode_as_with_MessagePack_C(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 3000; round++) {
        msgpack_sbuffer bytes;
        msgpack_packer packer;
        msgpack_unpacked unpacked;
        size_t offset = 0;
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
        random_document(&packer, &random, 6);
        msgpack_unpacked_init(&unpacked);
        assert_int_equal(msgpack_unpack_next(&unpacked, bytes.data, bytes.size, &offset),
                         MSGPACK_UNPACK_SUCCESS);
        struct weir_unpacker u = over(weir_view_of(bytes.data, bytes.size));
        assert_true(value_equals(&u, &unpacked.data));
        assert_int_equal(weir_unpack_end(&u), 0);
        check_verdict(weir_view_of(bytes.data, bytes.size), 0, bytes.size);
        msgpack_unpacked_destroy(&unpacked);
        msgpack_sbuffer_destroy(&bytes);
    }
}

static void documents_decode_as_with_MessagePack_C(void **state)
{
    (void)state;
    for (size_t i = 0; i < documents_count; i++) {
        struct weir_unpacker u = over(documents[i]);
        msgpack_unpacked unpacked;
        size_t offset = 0;
        msgpack_unpacked_init(&unpacked);
        while (offset < documents[i].size) {
            assert_int_equal(
                msgpack_unpack_next(
                    &unpacked, (const char *)documents[i].data, documents[i].size, &offset),
                MSGPACK_UNPACK_SUCCESS);
            assert_true(value_equals(&u, &unpacked.data));
            assert_int_equal(weir_unpack_offset(&u), offset);
        }
        assert_int_equal(weir_unpack_end(&u), 0);
        msgpack_unpacked_destroy(&unpacked);
    }
}

static void changed_bytes_get_one_verdict_from_all(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int round = 0; round < 200000; round++) {
        uint8_t copy[1024];
        struct weir_fault fault;
        size_t at;
        struct weir_view input = documents[test_random(&random) % documents_count];
        memcpy(copy, input.data, input.size);
        input.data = copy;
        for (uint64_t changes = test_random(&random) % 4; changes != 0; changes--)
            copy[test_random(&random) % input.size] = (uint8_t)test_random(&random);
        input.size = (size_t)(test_random(&random) % (input.size + 1));
        int rc = weir_check(input, NULL, &fault);
        assert_int_equal(walk(input, false, &at), rc);
        assert_int_equal(at, fault.offset);
        assert_int_equal(walk(input, true, &at), rc);
        assert_int_equal(at, fault.offset);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read_in_every_form_and_range),
        cmocka_unit_test(floats_are_read_bit_for_bit),
        cmocka_unit_test(bytes_are_views_into_the_input),
        cmocka_unit_test(containers_are_their_heads),
        cmocka_unit_test(exts_carry_their_type),
        cmocka_unit_test(timestamps_are_read_in_their_three_forms),
        cmocka_unit_test(peek_says_what_comes_without_reading),
        cmocka_unit_test(raw_hands_out_the_bytes_of_a_value),
        cmocka_unit_test(an_empty_input_is_no_values),
        cmocka_unit_test(bytes_left_over_are_an_error_of_the_end),
        cmocka_unit_test(another_type_than_asked_for_is_an_error),
        cmocka_unit_test(whole_documents_are_well),
        cmocka_unit_test(every_truncation_is_incomplete_or_a_shorter_document),
        cmocka_unit_test(a_cut_value_is_named_by_its_offset_and_kind),
        cmocka_unit_test(the_reserved_byte_is_malformed_wherever_a_value_begins),
        cmocka_unit_test(hostile_counts_are_refused_at_their_head),
        cmocka_unit_test(chains_of_hostile_counts_take_linear_time),
        cmocka_unit_test(millions_of_nested_arrays_need_no_stack),
        cmocka_unit_test(the_limit_of_depth_is_exact),
        cmocka_unit_test(the_limit_of_elements_is_exact),
        cmocka_unit_test(the_limit_of_bytes_is_exact),
        cmocka_unit_test(random_documents_decode_as_with_MessagePack_C),
        cmocka_unit_test(documents_decode_as_with_MessagePack_C),
        cmocka_unit_test(changed_bytes_get_one_verdict_from_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
