/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include <weir/record_fixed.h>

#include "../lib/buf_private.h"
#include "../lib/record_private.h"
#include "records.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)
#define ROOM_BYTES 1024

#define FLAT records_fixed_kinds[0]
#define MIXED records_fixed_kinds[1]
#define DOT records_fixed_kinds[2]
#define WIDE records_fixed_kinds[3]

/* What a reference is to before it is opened: compilers do not know that asserting ends a test. */
static const uint8_t nowhere[ROOM_BYTES];

struct fixture {
    struct weir_pool *pool;
    struct weir_buf buf;
};

static void begin(struct fixture *f, const struct weir_buf_options *options)
{
    f->pool = test_pool_create(NULL);
    assert_int_equal(weir_buf_init(&f->buf, f->pool, options), 0);
}

static void end(struct fixture *f)
{
    assert_null(weir__buf_check(&f->buf));
    weir_buf_fini(&f->buf);
    test_pool_destroy(f->pool);
}

static void assert_bytes(struct weir_view got, struct weir_view wanted)
{
    assert_int_equal(got.size, wanted.size);
    if (wanted.size != 0)
        assert_memory_equal(got.data, wanted.data, wanted.size);
}

/* A message, and how much of it there is. */
struct message {
    uint8_t bytes[ROOM_BYTES];
    size_t size;
};

static struct weir_view view_of(const struct message *message)
{
    return weir_view_of(message->bytes, message->size);
}

static void pack(struct fixture *f, const struct fixed_kind *fixed, const void *record,
                 struct message *ret)
{
    struct weir_packer packer;
    struct weir_view message;

    weir_pack_begin(&packer, &f->buf, ROOM_BYTES);
    fixed->pack(&packer, record);
    assert_int_equal(weir_pack_end_values(&packer, 1, &message), 0);
    assert_true(message.size <= sizeof(ret->bytes));
    memcpy(ret->bytes, message.data, message.size);
    ret->size = message.size;
    weir_buf_reset(&f->buf);
}

/* Whether @message is opened; all ways to read it agree. */
static bool opens(struct fixture *f, const struct fixed_kind *fixed, struct weir_view message)
{
    bool opened;
    const char *differs = records_fixed_compare(&f->buf, fixed, message, &opened);

    if (differs != NULL)
        fail_msg("%s of %zu bytes: the ways differ in: %s",
                 fixed->kind->schema->name,
                 message.size,
                 differs);
    return opened;
}

/* --- records made up ------------------------------------------------------------------------- */

static struct mixed some_mixed(void)
{
    struct mixed mixed;

    mixed_init(&mixed);
    mixed.present = UINT64_MAX >> (64 - mixed_field_count);
    mixed.id = 0x01020304;
    memcpy(mixed.code, "WE\0IR", 5);
    mixed.text = weir_view_text("a text");
    mixed.more = 300;
    mixed.weight = 1.5;
    mixed.data = VIEW("\x00\xff");
    mixed.extra = VIEW("ext");
    memcpy(mixed.name, "name", 5);
    mixed.spot.x = 70000;
    mixed.spot.y = -5;
    mixed.old.x = 1;
    mixed.old.y = 2;
    mixed.rest = VIEW("\x92\x01\x90");
    memcpy(mixed.four, "4444", 4);
    mixed.last = true;
    return mixed;
}

/* Some record: that of some values, in the constant part any, of variable fields a few. */
static void make(struct fixture *f, struct test_random *random, const struct fixed_kind *fixed,
                 union any *ret)
{
    static const char text[] = "a text, and it is longer than any head of one byte could tell";
    struct message message;
    union any record;
    struct weir_view raw = VIEW("\xc0");

    fixed->kind->init(&record);
    if (fixed == MIXED) {
        record.mixed = some_mixed();
        record.mixed.text = weir_view_of(text, test_random_size(random, sizeof(text)));
        record.mixed.data = weir_view_of(text, test_random_size(random, sizeof(text)));
        record.mixed.extra = weir_view_of(text, test_random_size(random, sizeof(text)));
        record.mixed.more = test_random(random) >> test_random_below(random, 64);
        record.mixed.spot.y = (int8_t)test_random(random);
        record.mixed.rest = test_random_below(random, 2) ? raw : record.mixed.rest;
    } else if (fixed == DOT) {
        record.dot.label = weir_view_of(text, test_random_size(random, sizeof(text)));
        record.dot.level = (int8_t)test_random(random);
    }
    record.present = test_random(random);
    pack(f, fixed, &record, &message);
    for (size_t i = 0; i < fixed->fixed_bytes; i++)
        message.bytes[i] ^= (uint8_t)(test_random(random) & fixed->holes[i]);
    if (fixed->decode(view_of(&message), ret, NULL) != 0) /* a timestamp's nanoseconds */
        *ret = record;
    else if (ret->present != 0 && fixed == MIXED)
        /* Views lie in what ends with this function. */
        for (unsigned i = 0; i < fixed->kind->schema->count; i++)
            if (fixed->kind->schema->fields[i].size == sizeof(struct weir_view))
                memcpy((uint8_t *)ret + fixed->kind->schema->fields[i].offset,
                       (uint8_t *)&record + fixed->kind->schema->fields[i].offset,
                       sizeof(struct weir_view));
    if (fixed == DOT)
        ret->dot.label = record.dot.label;
    ret->present = record.present;
}

/* --- bytes ----------------------------------------------------------------------------------- */

#define FLAT_HEAD "\xde\x00\x10"
#define FLAT_SOME                                                                            \
    FLAT_HEAD "\xa5truth\xc3\xa3u_8\xcc\x05\xa7"                                             \
              "16 bits\xcd\x00\x06\xa4u_32\xce\x00\x00\x00\x07\xa4u_64"                      \
              "\xcf\x00\x00\x00\x00\x00\x00\x00\x08\xa3i_8\xd0\xff\xa4i_16\xd1\xff\xfe"      \
              "\xa4i_32\xd2\xff\xff\xff\xfd\xa4i_64\xd3\xff\xff\xff\xff\xff\xff\xff\xfc"     \
              "\xa4"                                                                         \
              "f_32\xca\x3f\xc0\x00\x00\xa4"                                                 \
              "f_64\xcb\x40\x58\xe0\x00\x00\x00\x00\x00\xa4when\xc7\x0c\xff\x00\x00\x00\x09" \
              "\xff\xff\xff\xff\xff\xff\xff\xff\xa5place\xde\x00\x02\xa1x\xce\x00\x00\x00"   \
              "\x0a\xa1y\xd0\x0b\xa4name\xd9\x0cWEIR\x00\x00\x00\x00\x00\x00\x00\x00\xa4"    \
              "blob\xc4\x03\x01\x02\x03\xa4last\xc2"

static struct flat some_flat(void)
{
    struct flat flat;

    flat_init(&flat);
    flat.truth = true;
    flat.u_8 = 5;
    flat.u_16 = 6;
    flat.u_64 = 8;
    flat.i_8 = -1;
    flat.i_16 = -2;
    flat.i_32 = -3;
    flat.i_64 = -4;
    flat.f_32 = 1.5f;
    flat.f_64 = 99.5;
    flat.when.seconds = -1;
    flat.when.nanoseconds = 9;
    flat.place.x = 10;
    flat.place.y = 11;
    memcpy(flat.name, "WEIR\0not this", 12);
    memcpy(flat.blob, "\x01\x02\x03", 3);
    return flat;
}

static void a_fixed_record_is_a_map_of_full_widths(void **state)
{
    struct flat flat = some_flat();
    struct fixture f;
    struct weir_view message;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(flat_encode_fixed(&flat, &f.buf, &message), 0);
    assert_bytes(message, VIEW(FLAT_SOME));
    assert_int_equal(message.size, flat_fixed_bytes);
    end(&f);
}

static void variable_fields_follow_in_their_shortest_form(void **state)
{
    struct mixed mixed = some_mixed();
    struct fixture f;
    struct weir_view message;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(mixed_encode_fixed(&mixed, &f.buf, &message), 0);
    assert_bytes(message,
                 VIEW("\xde\x00\x0d\xa2id\xce\x01\x02\x03\x04\xa4"
                      "code\xd9\x05WE\0\0\0\xa4text\xa6"
                      "a text\xa4more\xcd\x01\x2c\xa6weight\xcb\x3f\xf8\0\0\0\0\0\0\xa4"
                      "data\xc4\x02\x00\xff\xa5"
                      "extra\xc7\x03\xf9"
                      "ext\xa4name\xa4name\xa4spot\x82\xa1x\xce\x00\x01\x11\x70\xa1y\xfb\xa3"
                      "old\x82\xa1x\x01\xa1y\x02\xa4rest\x92\x01\x90\xa4"
                      "four\xc4\x04"
                      "4444\xa4last\xc3"));
    mixed.present = 0;
    mixed.text.size = 0;
    assert_int_equal(mixed_encode_fixed(&mixed, &f.buf, &message), 0);
    assert_bytes(message,
                 VIEW("\xde\x00\x0d\xa2id\xce\x01\x02\x03\x04\xa4"
                      "code\xd9\x05WE\0\0\0\xa4text\xa0\xa4more\xc0\xa6weight\xc0\xa4"
                      "data\xc4\x02\x00\xff\xa5"
                      "extra\xc7\x03\xf9"
                      "ext\xa4name\xa4name\xa4spot\x82\xa1x\xce\x00\x01\x11\x70\xa1y\xfb\xa3"
                      "old\xc0\xa4rest\x92\x01\x90\xa4"
                      "four\xc4\x04"
                      "4444\xa4last\xc0"));
    end(&f);
}

static void a_fixed_array_record_has_no_keys(void **state)
{
    struct dot dot = {.x = -2, .y = 1.5f, .level = 100};
    struct bit bit = {.bit = true};
    struct fixture f;
    struct weir_view message;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(dot_encode_fixed(&dot, &f.buf, &message), 0);
    assert_bytes(message, VIEW("\xdc\x00\x04\xd1\xff\xfe\xca\x3f\xc0\x00\x00\xc0\x64"));
    assert_int_equal(bit_encode_fixed(&bit, &f.buf, &message), 0);
    assert_bytes(message, VIEW("\xdc\x00\x01\xc3"));
    end(&f);
}

static void assert_key(const msgpack_object_kv *pair, const char *key)
{
    assert_int_equal(pair->key.type, MSGPACK_OBJECT_STR);
    assert_bytes(weir_view_of(pair->key.via.str.ptr, pair->key.via.str.size), weir_view_text(key));
}

static void messagepack_c_reads_the_values(void **state)
{
    static const char *const keys[] = {"truth",
                                       "u_8",
                                       "16 bits",
                                       "u_32",
                                       "u_64",
                                       "i_8",
                                       "i_16",
                                       "i_32",
                                       "i_64",
                                       "f_32",
                                       "f_64",
                                       "when",
                                       "place",
                                       "name",
                                       "blob",
                                       "last"};
    struct flat flat = some_flat();
    msgpack_timestamp when = {0, 0};
    msgpack_unpacked unpacked;
    struct fixture f;
    struct weir_view message;
    size_t offset = 0;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(flat_encode_fixed(&flat, &f.buf, &message), 0);
    msgpack_unpacked_init(&unpacked);
    assert_int_equal(
        msgpack_unpack_next(&unpacked, (const char *)message.data, message.size, &offset),
        MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, message.size);
    assert_int_equal(unpacked.data.type, MSGPACK_OBJECT_MAP);
    assert_int_equal(unpacked.data.via.map.size, flat_field_count);
    const msgpack_object_kv *pairs = unpacked.data.via.map.ptr;
    for (unsigned i = 0; i < flat_field_count; i++)
        assert_key(&pairs[i], keys[i]);
    assert_int_equal(pairs[flat_field_truth].val.type, MSGPACK_OBJECT_BOOLEAN);
    assert_true(pairs[flat_field_truth].val.via.boolean);
    for (unsigned i = flat_field_u_8; i <= flat_field_u_64; i++)
        assert_true(pairs[i].val.type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
                    pairs[i].val.via.u64 == 4 + i);
    for (unsigned i = flat_field_i_8; i <= flat_field_i_64; i++)
        assert_true(pairs[i].val.type == MSGPACK_OBJECT_NEGATIVE_INTEGER &&
                    pairs[i].val.via.i64 == 4 - (int64_t)i);
    assert_true(pairs[flat_field_f_32].val.type == MSGPACK_OBJECT_FLOAT32 &&
                pairs[flat_field_f_32].val.via.f64 == 1.5);
    assert_true(pairs[flat_field_f_64].val.type == MSGPACK_OBJECT_FLOAT64 &&
                pairs[flat_field_f_64].val.via.f64 == 99.5);
    assert_true(msgpack_object_to_timestamp(&pairs[flat_field_when].val, &when));
    assert_true(when.tv_sec == -1 && when.tv_nsec == 9);
    const msgpack_object_kv *place = pairs[flat_field_place].val.via.map.ptr;
    assert_int_equal(pairs[flat_field_place].val.via.map.size, 2);
    assert_true(place[0].val.via.u64 == 10 && place[1].val.via.u64 == 11);
    assert_int_equal(pairs[flat_field_name].val.type, MSGPACK_OBJECT_STR);
    assert_bytes(weir_view_of(pairs[flat_field_name].val.via.str.ptr,
                              pairs[flat_field_name].val.via.str.size),
                 VIEW("WEIR\0\0\0\0\0\0\0\0"));
    assert_int_equal(pairs[flat_field_blob].val.type, MSGPACK_OBJECT_BIN);
    assert_int_equal(pairs[flat_field_blob].val.via.bin.size, 3);
    msgpack_unpacked_destroy(&unpacked);
    end(&f);
}

static void chars_end_at_their_first_nul_and_nothing_behind_it_is_written(void **state)
{
    char chars[40];
    uint8_t got[40], wanted[40];

    (void)state;
    for (size_t size = 1; size <= sizeof(chars); size++)
        for (size_t nul = 0; nul <= size; nul++)
            for (unsigned letter = 1; letter < 256; letter += 127) { /* 1, 128, 255 */
                memset(chars, (int)letter, sizeof(chars));
                if (nul < sizeof(chars))
                    chars[nul] = 0;
                if (nul + 3 < sizeof(chars))
                    chars[nul + 3] = 0;
                memset(got, 0xee, sizeof(got));
                memset(wanted, 0xee, sizeof(wanted));
                memset(wanted, 0, size);
                memset(wanted, (int)letter, nul);
                weir_record_fixed_store_chars(got, chars, size);
                assert_memory_equal(got, wanted, sizeof(got));
            }
}

/* --- packing --------------------------------------------------------------------------------- */

static void a_fixed_record_fits_a_buffer_of_exactly_its_size(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    for (unsigned round = 0; round < 20 * RECORDS_FIXED_KINDS; round++) {
        const struct fixed_kind *fixed = records_fixed_kinds[round % RECORDS_FIXED_KINDS];
        struct message wanted;
        struct weir_packer packer;
        struct weir_view message;
        union any record;
        begin(&f, NULL);
        make(&f, &random, fixed, &record);
        pack(&f, fixed, &record, &wanted);
        end(&f);
        for (size_t less = 0; less < 2; less++) {
            const struct weir_buf_options options = {.limit_bytes = wanted.size - less};
            begin(&f, &options);
            weir_pack_begin(&packer, &f.buf, 0);
            fixed->pack(&packer, &record);
            assert_int_equal(weir_pack_end_values(&packer, 1, &message), less ? -ENOBUFS : 0);
            if (less == 0)
                assert_bytes(message, view_of(&wanted));
            else
                assert_int_equal(weir_buf_size(&f.buf), 0);
            end(&f);
        }
    }
}

static void every_failing_allocation_is_reported_and_leaves_the_buffer(void **state)
{
    struct mixed mixed = some_mixed();
    struct test_source source;

    (void)state;
    for (uint64_t n = 1;; n++) {
        const struct weir_buf_options options = {.initial_bytes = 64};
        struct weir_buf buf;
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        assert_int_equal(weir_buf_init(&buf, pool, &options), 0);
        test_source_fail(&source, n);
        int rc = mixed_encode_fixed(&mixed, &buf, NULL);
        assert_int_equal(rc, source.failures != 0 ? -ENOMEM : 0);
        if (rc != 0)
            assert_int_equal(weir_buf_size(&buf), 0);
        assert_null(weir__buf_check(&buf));
        weir_buf_fini(&buf);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (source.failures == 0)
            break;
    }
}

static void what_cannot_be_packed_is_an_error_where_the_record_begins(void **state)
{
    struct flat flat = some_flat();
    struct mixed mixed = some_mixed();
    struct weir_packer packer;
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    flat.when.nanoseconds = 1000000000;
    weir_pack_begin(&packer, &f.buf, 0);
    weir_pack_array(&packer, 2);
    flat_pack_fixed(&packer, &flat);
    flat.when.nanoseconds = 0;
    flat_pack_fixed(&packer, &flat);
    assert_int_equal(weir_pack_error(&packer), -EINVAL);
    assert_int_equal(weir_pack_offset(&packer), 1);
    assert_int_equal(weir_pack_end(&packer, NULL), -EINVAL);
    mixed.rest.size = 0;
    assert_int_equal(mixed_encode_fixed(&mixed, &f.buf, NULL), -EINVAL);
    mixed.rest = VIEW("\x01");
    mixed.text.size = (size_t)UINT32_MAX + 1;
    assert_int_equal(mixed_encode_fixed(&mixed, &f.buf, NULL), -EOVERFLOW);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    end(&f);
}

/* --- reading --------------------------------------------------------------------------------- */

static void random_records_come_back_in_all_ways(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, NULL);
    for (unsigned round = 0; round < 400 * RECORDS_FIXED_KINDS; round++) {
        const struct fixed_kind *fixed = records_fixed_kinds[round % RECORDS_FIXED_KINDS];
        struct message message;
        union any record, read;
        make(&f, &random, fixed, &record);
        pack(&f, fixed, &record, &message);
        assert_true(opens(&f, fixed, view_of(&message)));
        assert_int_equal(fixed->decode(view_of(&message), &read, NULL), 0);
        for (unsigned i = 0; i < fixed->kind->schema->count; i++)
            if (fixed->kind->schema->fields[i].presence != WEIR_RECORD_OPTIONAL)
                record.present |= WEIR_RECORD_BIT(i);
        record.present &= weir_record_all(fixed->kind->schema->count);
        assert_true(records_equal(&f.buf, fixed->kind->schema, &read, &record));
        const char *differs = records_compare(&f.buf, fixed->kind, view_of(&message));
        assert_null(differs);
    }
    end(&f);
}

static void a_record_is_read_wherever_it_lies(void **state)
{
    struct wide wide;
    struct fixture f;
    struct message message;
    uint8_t place[ROOM_BYTES + 64];

    (void)state;
    begin(&f, NULL);
    wide_init(&wide);
    wide.flat = some_flat();
    pack(&f, WIDE, &wide, &message);
    for (size_t at = 0; at < 64; at++) {
        struct wide_ref ref = {.message = {nowhere, 0}};
        memcpy(place + at, message.bytes, message.size);
        assert_int_equal(wide_open(weir_view_of(place + at, message.size), &ref), 0);
        struct flat_ref flat = wide_get_flat(&ref);
        assert_int_equal(flat_get_i_32(&flat), -3);
        assert_bytes(flat.message, VIEW(FLAT_SOME));
    }
    end(&f);
}

static void every_truncation_is_refused(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, NULL);
    for (unsigned round = 0; round < 4 * RECORDS_FIXED_KINDS; round++) {
        const struct fixed_kind *fixed = records_fixed_kinds[round % RECORDS_FIXED_KINDS];
        struct message message;
        union any record, read;
        make(&f, &random, fixed, &record);
        pack(&f, fixed, &record, &message);
        for (size_t size = 0; size < message.size; size++) {
            assert_false(opens(&f, fixed, weir_view_of(message.bytes, size)));
            assert_int_equal(fixed->decode(weir_view_of(message.bytes, size), &read, NULL),
                             -EAGAIN);
        }
        message.bytes[message.size] = 0xc0;
        assert_false(opens(&f, fixed, weir_view_of(message.bytes, message.size + 1)));
    }
    end(&f);
}

/* Of the constant part each bit that is not a value's is looked at, and no other. */
static void every_change_of_a_bit_is_seen_where_it_is_no_value(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    for (unsigned k = 0; k < RECORDS_FIXED_KINDS; k++) {
        const struct fixed_kind *fixed = records_fixed_kinds[k];
        struct message message;
        union any record;
        fixed->kind->init(&record);
        if (fixed == MIXED)
            record.mixed = some_mixed();
        pack(&f, fixed, &record, &message);
        for (size_t at = 0; at < fixed->fixed_bytes; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                bool is_value = (fixed->holes[at] >> bit & 1) != 0;
                message.bytes[at] ^= (uint8_t)(1u << bit);
                bool opened = opens(&f, fixed, view_of(&message));
                /* In nested records and timestamps there is more to see: what is no value of
                 * theirs, and too many nanoseconds. */
                if (!is_value)
                    assert_false(opened);
                else if (fixed != WIDE && !opened)
                    assert_true(fixed == FLAT);
                message.bytes[at] ^= (uint8_t)(1u << bit);
            }
        assert_true(opens(&f, fixed, view_of(&message)));
    }
    end(&f);
}

static void every_change_of_a_byte_is_read_alike_in_all_ways(void **state)
{
    static const uint8_t bytes_of_note[] = {0x00, 0x80, 0x90, 0xa0, 0xa1, 0xc0, 0xc1, 0xc2,
                                            0xc4, 0xc7, 0xca, 0xcb, 0xcc, 0xcd, 0xcf, 0xd0,
                                            0xd3, 0xd9, 0xda, 0xdc, 0xde, 0xff};
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, NULL);
    for (unsigned round = 0; round < 2 * RECORDS_FIXED_KINDS; round++) {
        const struct fixed_kind *fixed = records_fixed_kinds[round % RECORDS_FIXED_KINDS];
        struct message message;
        union any record;
        make(&f, &random, fixed, &record);
        pack(&f, fixed, &record, &message);
        for (size_t at = 0; at < message.size; at++) {
            uint8_t was = message.bytes[at];
            for (unsigned i = 0; i < sizeof(bytes_of_note); i++) {
                message.bytes[at] = bytes_of_note[i];
                opens(&f, fixed, view_of(&message));
            }
            message.bytes[at] = was;
        }
    }
    end(&f);
}

static void any_other_arrangement_is_decoded_though_not_opened(void **state)
{
    static const char *const others[] = {
        "\x83\xa1x\x05\xa1y\xfb\xa1z\xc0",            /* one more */
        "\x82\xa1y\xfb\xa1x\x05",                     /* another order */
        "\x82\xa1x\x05\xa1y\xfb",                     /* compact */
        "\xde\x00\x02\xa1x\xcd\x00\x05\xa1y\xd0\xfb", /* narrower */
    };
    static const size_t sizes[] = {10, 7, 7, 12};
    struct place place;
    struct place_ref ref = {.message = {nowhere, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct weir_view message = weir_view_of(others[i], sizes[i]);
        memset(&place, 0, sizeof(place));
        assert_int_equal(place_open(message, &ref), -EPROTO);
        assert_int_equal(place_decode_fixed(message, NULL, &place, NULL), 0);
        assert_int_equal(place.x, 5);
        assert_int_equal(place.y, -5);
        assert_int_equal(place.present, 3);
    }
    struct weir_record_fault fault;
    assert_int_equal(
        place_decode_fixed(VIEW("\xde\x00\x02\xa1x\xc3\xa1y\x01"), NULL, &place, &fault), -EPROTO);
    assert_int_equal(fault.offset, 5);
    assert_ptr_equal(fault.field, &place_schema.fields[place_field_x]);
}

static void a_timestamp_of_too_many_nanoseconds_is_not_opened(void **state)
{
    struct flat flat = some_flat();
    struct flat_ref ref = {.message = {nowhere, 0}};
    struct fixture f;
    struct message message;

    (void)state;
    begin(&f, NULL);
    flat.when.nanoseconds = 999999999;
    pack(&f, FLAT, &flat, &message);
    assert_int_equal(flat_open(view_of(&message), &ref), 0);
    message.bytes[offsetof(struct flat_weir_fixed, when) + 2]++; /* 0x3b9ac9ff was the most */
    assert_int_equal(flat_open(view_of(&message), &ref), -EPROTO);
    assert_false(opens(&f, FLAT, view_of(&message)));
    end(&f);
}

static void records_are_opened_one_after_another_within_the_budget(void **state)
{
    struct mixed mixed = some_mixed();
    const struct weir_limits limits = {.elements = 101};
    struct weir_packer packer;
    struct weir_unpacker u;
    struct weir_view message;
    struct mixed_ref ref = {.message = {nowhere, 0}};
    struct fixture f;
    uint32_t count;

    (void)state;
    begin(&f, NULL);
    weir_pack_begin(&packer, &f.buf, ROOM_BYTES);
    weir_pack_array(&packer, 3);
    for (unsigned i = 0; i < 3; i++) {
        mixed.id = i;
        mixed_pack_fixed(&packer, &mixed);
    }
    assert_int_equal(weir_pack_end(&packer, &message), 0);
    weir_unpack_init(&u, message, &limits);
    assert_int_equal(weir_unpack_array(&u, &count), 0);
    for (unsigned i = 0; i < 3; i++) {
        /* 27 of the record, 4 in each of two places, 2 in the raw: 37 of 100. */
        size_t offset = weir_unpack_offset(&u);
        assert_int_equal(mixed_open_next(&u, &ref), i < 2 ? 0 : -EPROTO);
        assert_int_equal(mixed_get_id(&ref), i < 2 ? i : 1);
        if (i == 2)
            assert_int_equal(weir_unpack_offset(&u), offset);
    }
    assert_int_equal(weir_unpack_error(&u), 0);
    assert_int_equal(mixed_unpack_fixed(&u, &mixed, NULL), -ENOBUFS);
    end(&f);
}

/* --- in place -------------------------------------------------------------------------------- */

static void fields_are_read_in_place(void **state)
{
    struct mixed mixed = some_mixed();
    struct mixed_ref ref = {.message = {nowhere, 0}};
    struct fixture f;
    struct weir_view message;

    (void)state;
    begin(&f, NULL);
    mixed.present &= ~WEIR_RECORD_BIT(mixed_field_more);
    assert_int_equal(mixed_encode_fixed(&mixed, &f.buf, &message), 0);
    assert_int_equal(mixed_open(message, &ref), 0);
    assert_int_equal(mixed_present(&ref), mixed.present);
    assert_int_equal(mixed_get_id(&ref), 0x01020304);
    assert_bytes(mixed_get_code(&ref), VIEW("WE"));
    struct weir_view text = mixed_get_text(&ref);
    assert_bytes(text, VIEW("a text"));
    assert_true(text.data > message.data && text.data < message.data + message.size);
    assert_int_equal(mixed_get_more(&ref), 0);
    assert_true(mixed_get_weight(&ref) == 1.5);
    assert_bytes(mixed_get_extra(&ref), VIEW("ext"));
    assert_bytes(mixed_get_name(&ref), VIEW("name"));
    assert_int_equal(mixed_get_spot(&ref)->y, -5);
    assert_bytes(mixed_get_four(&ref), VIEW("4444"));
    assert_true(mixed_get_last(&ref));
    end(&f);
}

static void fields_are_changed_where_they_lie(void **state)
{
    struct flat flat = some_flat(), read, wanted = flat;
    struct flat_ref ref = {.message = {nowhere, 0}};
    struct place_ref place = {.message = {nowhere, 0}};
    struct fixture f;
    struct message message;
    struct weir_timestamp when = {INT64_MIN, 999999999};

    (void)state;
    begin(&f, NULL);
    pack(&f, FLAT, &flat, &message);
    assert_int_equal(flat_open(view_of(&message), &ref), 0);
    flat_set_truth(&ref, wanted.truth = false);
    flat_set_last(&ref, wanted.last = true);
    flat_set_u_8(&ref, wanted.u_8 = 255);
    flat_set_u_16(&ref, wanted.u_16 = 0xfffe);
    flat_set_u_32(&ref, wanted.u_32 = 0xfffefdfc);
    flat_set_u_64(&ref, wanted.u_64 = UINT64_MAX - 1);
    flat_set_i_8(&ref, wanted.i_8 = INT8_MIN);
    flat_set_i_16(&ref, wanted.i_16 = INT16_MIN);
    flat_set_i_32(&ref, wanted.i_32 = INT32_MIN);
    flat_set_i_64(&ref, wanted.i_64 = INT64_MIN);
    flat_set_f_32(&ref, wanted.f_32 = -0.5f);
    flat_set_f_64(&ref, wanted.f_64 = -1e300);
    assert_int_equal(flat_set_when(&ref, wanted.when = when), 0);
    assert_int_equal(flat_set_name(&ref, VIEW("twelve bytes")), 0);
    memcpy(wanted.name, "twelve bytes", 12);
    assert_int_equal(flat_set_blob(&ref, VIEW("abc")), 0);
    memcpy(wanted.blob, "abc", 3);
    place = flat_get_place(&ref);
    place_set_y(&place, wanted.place.y = -100);
    assert_int_equal(flat_decode(view_of(&message), NULL, &read, NULL), 0);
    assert_true(opens(&f, FLAT, view_of(&message)));
    wanted.present = UINT64_MAX >> (64 - flat_field_count);
    assert_true(records_equal(&f.buf, &flat_schema, &read, &wanted));

    when.nanoseconds = 1000000000;
    assert_int_equal(flat_set_when(&ref, when), -EINVAL);
    assert_int_equal(flat_set_name(&ref, VIEW("thirteen byte")), -EOVERFLOW);
    assert_int_equal(flat_set_blob(&ref, VIEW("ab")), -EPROTO);
    assert_int_equal(flat_decode(view_of(&message), NULL, &read, NULL), 0);
    assert_true(records_equal(&f.buf, &flat_schema, &read, &wanted));
    assert_int_equal(flat_set_name(&ref, VIEW("")), 0);
    assert_int_equal(flat_get_name(&ref).size, 0);
    end(&f);
}

/* --- comparing ------------------------------------------------------------------------------- */

typedef bool differs_function(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes,
                              size_t size);

static void check_differs(differs_function *differs, size_t least)
{
    uint8_t got[320], wanted[320], holes[320];
    struct test_random random;

    test_random_init(&random);
    for (size_t size = least; size <= sizeof(got); size += size < 140 ? 1 : 37) {
        for (size_t i = 0; i < size; i++) {
            holes[i] = (uint8_t)(test_random(&random) & test_random(&random));
            got[i] = (uint8_t)test_random(&random);
            wanted[i] = got[i] | holes[i];
        }
        assert_false(differs(got, wanted, holes, size));
        for (size_t i = 0; i < 8 * size; i++) {
            uint8_t bit = (uint8_t)(1u << i % 8);
            got[i / 8] ^= bit;
            assert_int_equal(differs(got, wanted, holes, size), (holes[i / 8] & bit) == 0);
            got[i / 8] ^= bit;
        }
    }
}

static bool differs_in_line(const uint8_t *at, const uint8_t *wanted, const uint8_t *holes,
                            size_t size)
{
    return !weir_record_fixed_equal(at, wanted, holes, size);
}

static void one_bit_is_found_in_templates_of_every_size(void **state)
{
    (void)state;
    check_differs(differs_in_line, 1);
    check_differs(weir_record_fixed_differs, 1);
    check_differs(weir__record_differs_words, 1);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        check_differs(weir__record_differs_avx2, 32);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fixed_record_is_a_map_of_full_widths),
        cmocka_unit_test(variable_fields_follow_in_their_shortest_form),
        cmocka_unit_test(a_fixed_array_record_has_no_keys),
        cmocka_unit_test(messagepack_c_reads_the_values),
        cmocka_unit_test(chars_end_at_their_first_nul_and_nothing_behind_it_is_written),
        cmocka_unit_test(a_fixed_record_fits_a_buffer_of_exactly_its_size),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_the_buffer),
        cmocka_unit_test(what_cannot_be_packed_is_an_error_where_the_record_begins),
        cmocka_unit_test(random_records_come_back_in_all_ways),
        cmocka_unit_test(a_record_is_read_wherever_it_lies),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_change_of_a_bit_is_seen_where_it_is_no_value),
        cmocka_unit_test(every_change_of_a_byte_is_read_alike_in_all_ways),
        cmocka_unit_test(any_other_arrangement_is_decoded_though_not_opened),
        cmocka_unit_test(a_timestamp_of_too_many_nanoseconds_is_not_opened),
        cmocka_unit_test(records_are_opened_one_after_another_within_the_budget),
        cmocka_unit_test(fields_are_read_in_place),
        cmocka_unit_test(fields_are_changed_where_they_lie),
        cmocka_unit_test(one_bit_is_found_in_templates_of_every_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
