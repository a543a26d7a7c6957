/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include <weir/record.h>

#include "../lib/buf_private.h"
#include "records.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)
#define ROOM_BYTES 8192

/* --- records --------------------------------------------------------------------------------- */

#define TWICE_FIELDS(F, R) \
    F(R, record(place), p) \
    F(R, u8, a)            \
    F(R, u8, b)
WEIR_RECORD(twice, TWICE_FIELDS);

#define DEEP_FIELDS(F, R) F(R, record(twice), t)
WEIR_RECORD(deep, DEEP_FIELDS);

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

static struct weir_view pack(struct fixture *f, const struct kind *kind, const void *record)
{
    struct weir_packer packer;
    struct weir_view message;

    weir_pack_begin(&packer, &f->buf, ROOM_BYTES);
    kind->pack(&packer, record);
    assert_int_equal(weir_pack_end(&packer, &message), 0);
    return message;
}

/* The same by the schema alone. */
static struct weir_view pack_walking(struct fixture *f, const struct weir_record *schema,
                                     const void *record)
{
    struct weir_packer packer;
    struct weir_view message;

    weir_pack_begin(&packer, &f->buf, 0);
    weir_record_pack(&packer, schema, record);
    assert_int_equal(weir_pack_end(&packer, &message), 0);
    return message;
}

static void assert_same_record(struct fixture *f, const struct weir_record *schema, const void *a,
                               const void *b)
{
    assert_true(records_equal(&f->buf, schema, a, b));
}

/* --- records made up ------------------------------------------------------------------------- */

static const char letters[] =
    "the quick brown fox jumps over the lazy dog, and that is longer than "
    "thirty-one bytes, and so on until it is more than what a byte counts "
    "to, which takes some more words than one would like to write here, "
    "because a str of 256 bytes is long, as one sees when it is written";

static struct weir_view random_text(struct test_random *random)
{
    return weir_view_of(letters, test_random_size(random, sizeof(letters) - 1));
}

static uint64_t random_bits(struct test_random *random)
{
    return test_random(random) >> test_random_below(random, 64);
}

static const struct weir_view raws[] = {
    {(const uint8_t *)"\x93\x01\x02\xa1x", 5},
    {(const uint8_t *)"\x81\xa1k\x90", 4},
    {(const uint8_t *)"\xcb\x40\x00\x00\x00\x00\x00\x00\x00", 9},
    {(const uint8_t *)"\x05", 1}};

/* Some value for the member of @field. */
static void random_member(struct test_random *random, const struct weir_record_field *field,
                          uint8_t *member)
{
    struct weir_timestamp when = {(int64_t)random_bits(random), 0};
    uint64_t bits = test_random_below(random, 2) ? random_bits(random) : ~random_bits(random);
    struct weir_view text = random_text(random);

    switch (field->type) {
    case WEIR_RECORD_BOOL:
        *member = bits & 1;
        break;
    case WEIR_RECORD_TIMESTAMP:
        if (bits & 1)
            when.seconds = -when.seconds;
        if (bits & 2)
            when.nanoseconds = (uint32_t)test_random_below(random, 1000000000);
        memcpy(member, &when, sizeof(when));
        break;
    case WEIR_RECORD_CHARS:
        memset(member, 0, field->size);
        memcpy(member, letters, test_random_below(random, field->size + 1));
        break;
    case WEIR_RECORD_BYTES:
        memcpy(member, &bits, field->size);
        break;
    case WEIR_RECORD_RAW:
        text = raws[test_random_below(random, sizeof(raws) / sizeof(raws[0]))];
        memcpy(member, &text, sizeof(text));
        break;
    case WEIR_RECORD_STR:
    case WEIR_RECORD_BIN:
    case WEIR_RECORD_EXT:
        memcpy(member, &text, sizeof(text));
        break;
    case WEIR_RECORD_ENUM:
        memcpy(member, &field->values->values[bits % field->values->count].number, field->size);
        break;
    default: /* numbers; all bits make one */
        memcpy(member, &bits, field->size);
    }
}

/* Where items lie, until the next record is made. */
static struct {
    max_align_t align;
    uint8_t bytes[65536];
} item_room;
static size_t items_used;

static void random_record(struct test_random *random, const struct weir_record *schema,
                          uint8_t *record);

static void random_array(struct test_random *random, const struct weir_record_field *element,
                         uint8_t *member)
{
    struct weir_record_array array = {.count = test_random_below(random, 4)};
    bool is_number = element->type >= WEIR_RECORD_U8 && element->type <= WEIR_RECORD_F64;

    if (is_number && test_random_below(random, 16) == 0)
        array.count = test_random_below(random, 40);
    uint8_t *at = item_room.bytes + items_used;
    items_used += (array.count * element->size + 15) / 16 * 16;
    assert_true(items_used <= sizeof(item_room.bytes));
    array.items = array.count != 0 || test_random_below(random, 2) ? at : NULL;
    for (size_t i = 0; i < array.count; i++, at += element->size) {
        if (element->nested != NULL)
            random_record(random, element->nested, at);
        else
            random_member(random, element, at);
        if (element->type == WEIR_RECORD_STR || element->type == WEIR_RECORD_BIN) {
            struct weir_view text = {(const uint8_t *)letters, test_random_below(random, 12)};
            memcpy(at, &text, sizeof(text));
        }
    }
    memcpy(member, &array, sizeof(array));
}

static void random_record(struct test_random *random, const struct weir_record *schema,
                          uint8_t *record)
{
    uint64_t present = 0;

    for (unsigned i = 0; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        if (field->presence == WEIR_RECORD_OPTIONAL && test_random_below(random, 2) == 0)
            continue;
        present |= WEIR_RECORD_BIT(i);
        if (field->nested != NULL)
            random_record(random, field->nested, record + field->offset);
        else if (field->element != NULL)
            random_array(random, field->element, record + field->offset);
        else
            random_member(random, field, record + field->offset);
    }
    memcpy(record, &present, sizeof(present));
}

static void make(struct test_random *random, const struct kind *kind, union any *ret)
{
    items_used = 0;
    kind->init(ret);
    random_record(random, kind->schema, (uint8_t *)ret);
}

/* --- MessagePack-C, told by the schema ------------------------------------------------------- */

static void theirs_of(msgpack_packer *packer, const struct weir_record *schema,
                      const uint8_t *record);

static void theirs_str(msgpack_packer *packer, const void *data, size_t size)
{
    msgpack_pack_str(packer, size);
    msgpack_pack_str_body(packer, data, size);
}

static void theirs_view(msgpack_packer *packer, const struct weir_record_field *field,
                        struct weir_view view)
{
    if (field->type == WEIR_RECORD_STR) {
        theirs_str(packer, view.data, view.size);
    } else if (field->type == WEIR_RECORD_BIN) {
        msgpack_pack_bin(packer, view.size);
        msgpack_pack_bin_body(packer, view.data, view.size);
    } else if (field->type == WEIR_RECORD_EXT) {
        msgpack_pack_ext(packer, view.size, field->ext_type);
        msgpack_pack_ext_body(packer, view.data, view.size);
    } else {
        assert_int_equal(packer->callback(packer->data, (const char *)view.data, view.size), 0);
    }
}

static void theirs_member(msgpack_packer *packer, const struct weir_record_field *field,
                          const uint8_t *member);

static void theirs_array(msgpack_packer *packer, const struct weir_record_field *element,
                         const struct weir_record_array *array)
{
    msgpack_pack_array(packer, array->count);
    for (size_t i = 0; i < array->count; i++)
        theirs_member(packer, element, (const uint8_t *)array->items + i * element->size);
}

#define THEIRS(ctype, call)                    \
    {                                          \
        ctype value;                           \
        memcpy(&value, member, sizeof(value)); \
        call;                                  \
    }                                          \
    break

static void theirs_member(msgpack_packer *packer, const struct weir_record_field *field,
                          const uint8_t *member)
{
    switch (field->type) {
    case WEIR_RECORD_BOOL:
        THEIRS(bool, value ? msgpack_pack_true(packer) : msgpack_pack_false(packer));
    case WEIR_RECORD_U8:
        THEIRS(uint8_t, msgpack_pack_uint8(packer, value));
    case WEIR_RECORD_U16:
        THEIRS(uint16_t, msgpack_pack_uint16(packer, value));
    case WEIR_RECORD_U32:
        THEIRS(uint32_t, msgpack_pack_uint32(packer, value));
    case WEIR_RECORD_U64:
        THEIRS(uint64_t, msgpack_pack_uint64(packer, value));
    case WEIR_RECORD_I8:
        THEIRS(int8_t, msgpack_pack_int8(packer, value));
    case WEIR_RECORD_I16:
        THEIRS(int16_t, msgpack_pack_int16(packer, value));
    case WEIR_RECORD_I32:
        THEIRS(int32_t, msgpack_pack_int32(packer, value));
    case WEIR_RECORD_I64:
        THEIRS(int64_t, msgpack_pack_int64(packer, value));
    case WEIR_RECORD_F32:
        THEIRS(float, msgpack_pack_float(packer, value));
    case WEIR_RECORD_F64:
        THEIRS(double, msgpack_pack_double(packer, value));
    case WEIR_RECORD_TIMESTAMP: {
        struct weir_timestamp when;
        memcpy(&when, member, sizeof(when));
        msgpack_timestamp time = {.tv_sec = when.seconds, .tv_nsec = when.nanoseconds};
        msgpack_pack_timestamp(packer, &time);
        break;
    }
    case WEIR_RECORD_CHARS:
        theirs_str(packer, member, strnlen((const char *)member, field->size));
        break;
    case WEIR_RECORD_BYTES:
        msgpack_pack_bin(packer, field->size);
        msgpack_pack_bin_body(packer, member, field->size);
        break;
    case WEIR_RECORD_NESTED:
        theirs_of(packer, field->nested, member);
        break;
    case WEIR_RECORD_ENUM:
        THEIRS(int32_t, msgpack_pack_int32(packer, value));
    case WEIR_RECORD_ARRAY_OF:
        THEIRS(struct weir_record_array, theirs_array(packer, field->element, &value));
    default:
        THEIRS(struct weir_view, theirs_view(packer, field, value));
    }
}

static void theirs_of(msgpack_packer *packer, const struct weir_record *schema,
                      const uint8_t *record)
{
    uint64_t present;
    unsigned count = 0;

    memcpy(&present, record, sizeof(present));
    for (unsigned i = 0; i < schema->count; i++)
        count += schema->fields[i].presence != WEIR_RECORD_OPTIONAL || (present >> i & 1);
    if (schema->is_map)
        msgpack_pack_map(packer, count);
    else
        msgpack_pack_array(packer, schema->count);
    for (unsigned i = 0; i < schema->count; i++) {
        const struct weir_record_field *field = &schema->fields[i];
        bool absent = field->presence == WEIR_RECORD_OPTIONAL && !(present >> i & 1);
        if (schema->is_map && !absent)
            theirs_str(packer, field->key, field->key_bytes);
        if (!absent)
            theirs_member(packer, field, record + field->offset);
        else if (!schema->is_map)
            msgpack_pack_nil(packer);
    }
}

static void compare_ways(struct fixture *f, const struct kind *kind, struct weir_view input)
{
    const char *differs = records_compare(&f->buf, kind, input);

    if (differs != NULL)
        fail_msg(
            "%s of %zu bytes: the ways differ in: %s", kind->schema->name, input.size, differs);
}

/* --- packing --------------------------------------------------------------------------------- */

static void a_record_becomes_the_map_that_its_description_says(void **state)
{
    struct tick tick = {.id = 7, .price = 99.5, .symbol = weir_view_text("WEIR"), .qty = 300};
    struct fixture f;
    struct weir_view message;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(tick_encode(&tick, &f.buf, &message), 0);
    assert_bytes(message,
                 VIEW("\x84\xa2id\x07\xa2px\xcb\x40\x58\xe0\x00\x00\x00\x00\x00\xa6symbol"
                      "\xa4WEIR\xa3qty\xcd\x01\x2c"));
    tick.note = weir_view_text("!");
    assert_int_equal(tick_encode(&tick, &f.buf, &message), 0);
    assert_int_equal(message.data[0], 0x84);
    tick.present = WEIR_RECORD_BIT(tick_field_note);
    assert_int_equal(tick_encode(&tick, &f.buf, &message), 0);
    assert_bytes(message,
                 VIEW("\x85\xa2id\x07\xa2px\xcb\x40\x58\xe0\x00\x00\x00\x00\x00\xa6symbol"
                      "\xa4WEIR\xa3qty\xcd\x01\x2c\xa4note\xa1!"));
    end(&f);
}

static void an_array_record_has_no_keys(void **state)
{
    struct point point = {.x = -1, .y = 70000, .level = 200};
    struct fixture f;
    struct weir_view message;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(point_encode(&point, &f.buf, &message), 0);
    assert_bytes(message, VIEW("\x94\xff\xce\x00\x01\x11\x70\xc0\xcc\xc8"));
    point.present = WEIR_RECORD_BIT(point_field_label);
    point.label = weir_view_text("p");
    assert_int_equal(point_encode(&point, &f.buf, &message), 0);
    assert_bytes(message, VIEW("\x94\xff\xce\x00\x01\x11\x70\xa1p\xcc\xc8"));
    end(&f);
}

static void random_records_are_packed_as_messagepack_c_does(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, NULL);
    for (unsigned round = 0; round < 2000; round++) {
        const struct kind *kind = records_kinds[round % RECORDS_KINDS];
        msgpack_sbuffer theirs;
        msgpack_packer packer;
        union any record;
        make(&random, kind, &record);
        msgpack_sbuffer_init(&theirs);
        msgpack_packer_init(&packer, &theirs, msgpack_sbuffer_write);
        theirs_of(&packer, kind->schema, (const uint8_t *)&record);
        struct weir_view wanted = weir_view_of(theirs.data, theirs.size);
        assert_bytes(pack(&f, kind, &record), wanted);
        assert_bytes(pack_walking(&f, kind->schema, &record), wanted);
        msgpack_sbuffer_destroy(&theirs);
        weir_buf_reset(&f.buf);
    }
    end(&f);
}

static void a_record_fits_a_buffer_of_exactly_its_size(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (unsigned round = 0; round < 200; round++) {
        const struct kind *kind = records_kinds[round % RECORDS_KINDS];
        struct weir_packer packer;
        struct fixture f;
        union any record;
        uint8_t wanted[ROOM_BYTES];
        begin(&f, NULL);
        make(&random, kind, &record);
        struct weir_view message = pack(&f, kind, &record);
        size_t size = message.size;
        assert_true(size <= sizeof(wanted));
        memcpy(wanted, message.data, size);
        end(&f);

        for (size_t less = 0; less < 2; less++) {
            const struct weir_buf_options options = {.limit_bytes = size - less};
            begin(&f, &options);
            weir_pack_begin(&packer, &f.buf, 0);
            kind->pack(&packer, &record);
            assert_int_equal(weir_pack_end(&packer, &message), less ? -ENOBUFS : 0);
            if (less == 0)
                assert_bytes(message, weir_view_of(wanted, size));
            else
                assert_int_equal(weir_buf_size(&f.buf), 0);
            end(&f);
        }
    }
}

static void what_cannot_be_packed_is_a_sticky_error_where_it_stands(void **state)
{
    struct weir_packer packer;
    struct fixture f;
    union any any;

    (void)state;
    begin(&f, NULL);
    all_init(&any.all);
    any.all.rest = raws[0];
    any.all.when.nanoseconds = 1000000000;
    weir_pack_begin(&packer, &f.buf, 0);
    all_pack(&packer, &any.all);
    size_t offset = weir_pack_offset(&packer);
    any.all.when.nanoseconds = 0;
    all_pack(&packer, &any.all);
    assert_int_equal(weir_pack_error(&packer), -EINVAL);
    assert_int_equal(weir_pack_offset(&packer), offset);
    assert_int_equal(weir_pack_end(&packer, NULL), -EINVAL);
    assert_int_equal(weir_buf_size(&f.buf), 0);

    any.all.rest.size = 0;
    weir_pack_begin(&packer, &f.buf, 0);
    all_pack(&packer, &any.all);
    assert_int_equal(weir_pack_end(&packer, NULL), -EINVAL);
    any.all.rest = raws[0];
    any.all.data = weir_view_of(letters, (size_t)UINT32_MAX + 1);
    weir_pack_begin(&packer, &f.buf, 0);
    all_pack(&packer, &any.all);
    assert_int_equal(weir_pack_end(&packer, NULL), -EOVERFLOW);
    any.all.data.size = SIZE_MAX;
    any.all.text = any.all.data;
    any.all.text.size = 33;
    weir_pack_begin(&packer, &f.buf, 0);
    all_pack(&packer, &any.all);
    assert_int_equal(weir_pack_end(&packer, NULL), -EOVERFLOW);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    end(&f);
}

static void a_record_is_one_value_among_others(void **state)
{
    struct one one = {.n = 5};
    struct weir_packer packer;
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    weir_pack_begin(&packer, &f.buf, 0);
    weir_pack_array(&packer, 3);
    one_pack(&packer, &one);
    weir_record_pack(&packer, &one_schema, &one);
    assert_int_equal(weir_pack_end(&packer, NULL), -EBADMSG);
    weir_pack_begin(&packer, &f.buf, 0);
    weir_pack_array(&packer, 2);
    one_pack(&packer, &one);
    weir_record_pack(&packer, &one_schema, &one);
    assert_int_equal(weir_pack_end(&packer, &message), 0);
    assert_bytes(message, VIEW("\x92\x81\xa1n\x05\x81\xa1n\x05"));
    end(&f);
}

static void every_failing_allocation_is_reported_and_leaves_the_buffer(void **state)
{
    struct test_random random;
    struct test_source source;
    union any record;

    (void)state;
    test_random_seed(&random, 1);
    make(&random, records_kinds[3], &record);
    for (uint64_t n = 1;; n++) {
        const struct weir_buf_options options = {.initial_bytes = 64};
        struct weir_packer packer;
        struct weir_buf buf;
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        assert_int_equal(weir_buf_init(&buf, pool, &options), 0);
        test_source_fail(&source, n);
        weir_pack_begin(&packer, &buf, 0);
        all_pack(&packer, &record.all);
        int rc = weir_pack_end(&packer, NULL);
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

/* --- reading --------------------------------------------------------------------------------- */

static void random_records_come_back_as_they_were(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, NULL);
    for (unsigned round = 0; round < 2000; round++) {
        const struct kind *kind = records_kinds[round % RECORDS_KINDS];
        uint8_t bytes[ROOM_BYTES];
        union any record, read;
        make(&random, kind, &record);
        struct weir_view message = pack(&f, kind, &record);
        assert_true(message.size <= sizeof(bytes));
        memcpy(bytes, message.data, message.size);
        message.data = bytes;
        weir_buf_reset(&f.buf);
        compare_ways(&f, kind, message);
        assert_int_equal(kind->decode(message, &read, NULL), 0);
        assert_same_record(&f, kind->schema, &read, &record);
    }
    end(&f);
}

static void every_truncation_is_incomplete_and_changes_nothing(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, NULL);
    for (unsigned round = 0; round < 64; round++) {
        const struct kind *kind = records_kinds[round % RECORDS_KINDS];
        struct weir_record_fault fault;
        union any record, read, before;
        make(&random, kind, &record);
        struct weir_view message = pack(&f, kind, &record);
        uint8_t bytes[ROOM_BYTES];
        memcpy(bytes, message.data, message.size);
        weir_buf_reset(&f.buf);
        for (size_t size = 0; size < message.size; size++) {
            memset(&read, 0x55, sizeof(read));
            before = read;
            assert_int_equal(kind->decode(weir_view_of(bytes, size), &read, &fault), -EAGAIN);
            assert_memory_equal(&read, &before, sizeof(read));
            assert_int_equal(fault.error, -EAGAIN);
            assert_true(fault.offset <= size);
            compare_ways(&f, kind, weir_view_of(bytes, size));
        }
    }
    end(&f);
}

static void every_change_of_a_byte_is_read_alike_in_all_ways(void **state)
{
    static const uint8_t bytes_of_note[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0xa0, 0xa1, 0xbf, 0xc0,
                                            0xc1, 0xc2, 0xc4, 0xc7, 0xca, 0xcb, 0xcc, 0xcd, 0xce,
                                            0xcf, 0xd0, 0xd3, 0xd6, 0xd9, 0xda, 0xdc, 0xde, 0xff};
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, NULL);
    for (unsigned round = 0; round < 2 * RECORDS_KINDS; round++) {
        const struct kind *kind = records_kinds[round % RECORDS_KINDS];
        uint8_t bytes[ROOM_BYTES];
        union any record;
        make(&random, kind, &record);
        struct weir_view message = pack(&f, kind, &record);
        size_t size = message.size;
        memcpy(bytes, message.data, size);
        weir_buf_reset(&f.buf);
        for (size_t at = 0; at < size; at++) {
            uint8_t was = bytes[at];
            for (unsigned i = 0; i < sizeof(bytes_of_note) + 16; i++) {
                if (i < 8)
                    bytes[at] = (uint8_t)(was ^ 1u << i);
                else if (i < 16)
                    bytes[at] = (uint8_t)test_random(&random);
                else
                    bytes[at] = bytes_of_note[i - 16];
                compare_ways(&f, kind, weir_view_of(bytes, size));
            }
            bytes[at] = was;
        }
    }
    end(&f);
}

static void keys_in_any_order_and_unknown_ones_are_read(void **state)
{
    struct tick tick;

    (void)state;
    assert_int_equal(
        tick_decode(VIEW("\x87\xa3qty\x05\xa3new\x93\x01\x81\x02\x03\xc0\x07\xa0\xa6symbol"
                         "\xa1S\x90\xc3\xa2px\xca\x3f\xc0\x00\x00\xa2id\xd3\x00\x00\x00\x00"
                         "\x00\x00\x00\x09"),
                    NULL,
                    &tick,
                    NULL),
        0);
    assert_int_equal(tick.id, 9);
    assert_true(tick.price == 1.5);
    assert_bytes(tick.symbol, VIEW("S"));
    assert_int_equal(tick.qty, 5);
    assert_int_equal(tick.note.size, 0);
    assert_int_equal(tick.present, 15);
}

static void of_equal_keys_the_first_counts(void **state)
{
    struct one one;
    struct weir_record_fault fault;

    (void)state;
    assert_int_equal(one_decode(VIEW("\x82\xa1n\x05\xa1n\x06"), NULL, &one, NULL), 0);
    assert_int_equal(one.n, 5);
    assert_int_equal(one_decode(VIEW("\x82\xa1n\x05\xa1n\x90"), NULL, &one, NULL), 0);
    assert_int_equal(one.n, 5);
    assert_int_equal(one_decode(VIEW("\x82\xa1n\x90\xa1n\x06"), NULL, &one, &fault), -EPROTO);
    assert_int_equal(fault.offset, 3);
    assert_int_equal(one_decode(VIEW("\x82\xa1n\x05\xa1n\xc1"), NULL, &one, &fault), -EBADMSG);
    assert_int_equal(fault.offset, 6);
}

static void what_may_be_missing_has_its_default(void **state)
{
    struct maybe maybe;

    (void)state;
    memset(&maybe, 0x55, sizeof(maybe));
    assert_int_equal(maybe_decode(VIEW("\x80"), NULL, &maybe, NULL), 0);
    assert_int_equal(maybe.present, 0);
    assert_int_equal(maybe.a, 0);
    assert_int_equal(maybe.b, 0);
    assert_true(maybe.c == 0);
    assert_int_equal(maybe.d.x, 0);
    assert_int_equal(maybe.e.size, 0);
    assert_true(maybe.f);
    assert_int_equal(maybe.g, -7);
    assert_int_equal(
        maybe_decode(VIEW("\x83\xa1\x61\xc0\xa1G\xc0\xa1\x66\xc2"), NULL, &maybe, NULL), 0);
    assert_int_equal(maybe.present, WEIR_RECORD_BIT(maybe_field_f));
    assert_false(maybe.f);
    assert_int_equal(maybe.g, -7);
}

static void an_array_may_be_shorter_or_longer(void **state)
{
    struct point point;
    struct weir_record_fault fault;

    (void)state;
    assert_int_equal(point_decode(VIEW("\x92\x01\x02"), NULL, &point, NULL), 0);
    assert_int_equal(point.x, 1);
    assert_int_equal(point.y, 2);
    assert_int_equal(point.level, 3);
    assert_int_equal(point.present, 3);
    assert_int_equal(
        point_decode(VIEW("\x96\x01\x02\xa1p\x04\x90\x81\x01\x02"), NULL, &point, NULL), 0);
    assert_bytes(point.label, VIEW("p"));
    assert_int_equal(point.level, 4);
    assert_int_equal(point.present, 15);
    assert_int_equal(point_decode(VIEW("\xdd\x00\x00\x00\x03\x01\x02\xc0"), NULL, &point, NULL), 0);
    assert_int_equal(point.present, 3);
    assert_int_equal(point_decode(VIEW("\x91\x01"), NULL, &point, &fault), -ENOENT);
    assert_int_equal(fault.offset, 0);
    assert_string_equal(fault.field->name, "y");
}

/* What is wrong, and the fault that tells it. */
static const struct {
    struct weir_view input;
    int error;
    size_t offset;
    const char *field;
} faults[] = {
    {{(const uint8_t *)"", 0}, -EAGAIN, 0, NULL},
    {{(const uint8_t *)"\x90", 1}, -EPROTO, 0, NULL},
    {{(const uint8_t *)"\xc1", 1}, -EBADMSG, 0, NULL},
    {{(const uint8_t *)"\x80", 1}, -ENOENT, 0, "id"},
    {{(const uint8_t *)"\x82\xa2id\x01\xa2px\xca\0\0\0\0", 13}, -ENOENT, 0, "symbol"},
    {{(const uint8_t *)"\x81\xa2id\xff", 5}, -EOVERFLOW, 4, "id"},
    {{(const uint8_t *)"\x81\xa2id\xc0", 5}, -EPROTO, 4, "id"},
    {{(const uint8_t *)"\x82\xa2id\x01\xa2px\x01", 9}, -EPROTO, 8, "price"},
    {{(const uint8_t *)"\x82\xa2id\x01\xa2px\xcb\x01", 10}, -EAGAIN, 8, "price"},
    {{(const uint8_t *)"\x82\xa2id\x01\xc1\x01", 6}, -EBADMSG, 5, NULL},
    {{(const uint8_t *)"\x82\xa2id\x01\xa3qty\xcf\0\0\0\1\0\0\0\0", 18}, -EOVERFLOW, 9, "qty"},
    {{(const uint8_t *)"\x83\xa2id\x01\xa2px\xca\0\0\0\0\xa6symbol\xa0\x01", 22},
     -EBADMSG,
     21,
     NULL},
};

static void a_fault_tells_the_error_the_offset_and_the_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct weir_record_fault fault = {0, SIZE_MAX, NULL, NULL};
        struct tick tick;
        assert_int_equal(tick_decode(faults[i].input, NULL, &tick, &fault), faults[i].error);
        assert_int_equal(fault.error, faults[i].error);
        assert_int_equal(fault.offset, faults[i].offset);
        assert_ptr_equal(fault.record, &tick_schema);
        if (faults[i].field == NULL)
            assert_null(fault.field);
        else
            assert_string_equal(fault.field->name, faults[i].field);
        assert_int_equal(tick_decode(faults[i].input, NULL, &tick, NULL), faults[i].error);
    }
}

static void a_fault_in_a_nested_record_names_that(void **state)
{
    struct maybe maybe;
    struct weir_record_fault fault;

    (void)state;
    assert_int_equal(
        maybe_decode(VIEW("\x81\xa1\x64\x82\xa1x\x01\xa1y\xcc\x80"), NULL, &maybe, &fault),
        -EOVERFLOW);
    assert_int_equal(fault.offset, 9);
    assert_ptr_equal(fault.record, &place_schema);
    assert_string_equal(fault.field->name, "y");
    assert_int_equal(maybe_decode(VIEW("\x81\xa1\x64\x92\x01\x02"), NULL, &maybe, &fault), -EPROTO);
    assert_int_equal(fault.offset, 3);
    assert_ptr_equal(fault.record, &place_schema);
    assert_null(fault.field);
    assert_int_equal(maybe_decode(VIEW("\x81\xa1\x64\x81\xa1x\x01"), NULL, &maybe, &fault),
                     -ENOENT);
    assert_int_equal(fault.offset, 3);
    assert_ptr_equal(fault.record, &place_schema);
    assert_string_equal(fault.field->name, "y");
}

/* The error and the offset of one value that does not suit its field of struct all. */
static void assert_unsuitable(struct fixture *f, const char *key, struct weir_view value, int error)
{
    struct weir_packer packer;
    struct weir_view message;
    struct weir_record_fault fault;
    struct all all;

    weir_pack_begin(&packer, &f->buf, 0);
    weir_pack_map(&packer, 1);
    weir_pack_text(&packer, key);
    weir_pack_raw(&packer, value);
    assert_int_equal(weir_pack_end(&packer, &message), 0);
    assert_int_equal(all_decode(message, NULL, &all, &fault), error);
    assert_int_equal(fault.offset, 2 + strlen(key));
    assert_string_equal(fault.field->key, key);
}

static void a_value_that_does_not_suit_its_field_is_refused(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, NULL);
    assert_unsuitable(&f, "truth", VIEW("\x01"), -EPROTO);
    assert_unsuitable(&f, "u_8", VIEW("\xcd\x01\x00"), -EOVERFLOW);
    assert_unsuitable(&f, "i_8", VIEW("\xd1\xff\x7f"), -EOVERFLOW);
    assert_unsuitable(&f, "i_64", VIEW("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"), -EOVERFLOW);
    assert_unsuitable(&f, "when", VIEW("\xd6\x05\x00\x00\x00\x00"), -EPROTO);
    assert_unsuitable(&f, "when", VIEW("\xd5\xff\x00\x00"), -EBADMSG);
    assert_unsuitable(&f, "text", VIEW("\xc4\x00"), -EPROTO);
    assert_unsuitable(&f, "data", VIEW("\xa0"), -EPROTO);
    assert_unsuitable(&f, "code", VIEW("\xa7seven.."), -EOVERFLOW);
    assert_unsuitable(&f, "digest", VIEW("\xc4\x03..."), -EPROTO);
    assert_unsuitable(&f, "digest", VIEW("\xc4\x05....."), -EPROTO);
    assert_unsuitable(&f, "blob", VIEW("\xd4\x06x"), -EPROTO);
    assert_unsuitable(&f, "rest", VIEW("\xc1"), -EBADMSG);
    end(&f);
}

static void the_budget_is_that_of_any_cursor(void **state)
{
    static const struct weir_view messages[] = {
        {(const uint8_t *)"\x82\xa1x\x01\xa1y\x02", 7}, /* as expected: 5 elements */
        {(const uint8_t *)"\x82\xa1y\x01\xa1x\x02", 7}, /* not so */
        {(const uint8_t *)"\x82\xa1x\x01\xa1y\xd3\0\0\0\0\0\0\0\1", 15},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        for (uint64_t elements = 1; elements <= 5; elements++) {
            const struct weir_limits limits = {.elements = elements};
            struct weir_record_fault fault;
            struct place place;
            assert_int_equal(place_decode(messages[i], &limits, &place, &fault),
                             elements == 5 ? 0 : -ENOBUFS);
            if (elements < 5)
                assert_int_equal(fault.error, -ENOBUFS);
        }
    }
}

static void an_error_before_stays_and_nothing_is_read(void **state)
{
    struct weir_unpacker u;
    struct weir_record_fault fault;
    struct one one = {.n = 3};
    uint32_t count;

    (void)state;
    weir_unpack_init(&u, VIEW("\x81\xa1n\x05"), NULL);
    assert_int_equal(weir_unpack_array(&u, &count), -EPROTO);
    assert_int_equal(one_unpack(&u, &one, &fault), -EPROTO);
    assert_int_equal(fault.offset, 0);
    assert_int_equal(one.n, 3);
}

static void records_in_pieces_are_read_wherever_they_are_cut(void **state)
{
    struct test_random random;
    struct weir_arena arena;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, NULL);
    weir_arena_init(&arena, f.pool, NULL);
    for (unsigned round = 0; round < 32; round++) {
        const struct kind *kind = records_kinds[round % RECORDS_KINDS];
        uint8_t bytes[ROOM_BYTES];
        union any record, read;
        make(&random, kind, &record);
        struct weir_view message = pack(&f, kind, &record);
        size_t size = message.size;
        memcpy(bytes, message.data, size);
        weir_buf_reset(&f.buf);
        for (size_t cut = 0; cut <= size; cut++) {
            struct weir_slice slices[2] = {{weir_view_of(bytes, cut), NULL},
                                           {weir_view_of(bytes + cut, size - cut), NULL}};
            struct weir_unpack_pieces pieces;
            struct weir_unpacker u;
            weir_unpack_init_slices(&u, &pieces, slices, 2, &arena, NULL);
            assert_int_equal(kind->unpack(&u, &read, NULL), 0);
            assert_int_equal(weir_unpack_end(&u), 0);
            assert_same_record(&f, kind->schema, &read, &record);
            weir_arena_reset(&arena);
        }
    }
    weir_arena_fini(&arena);
    end(&f);
}

/* --- versions of a record -------------------------------------------------------------------- */

static void an_old_writer_is_understood_by_a_new_reader(void **state)
{
    struct tick tick = {.id = 7, .price = 2.5, .symbol = weir_view_text("W"), .qty = 300};
    struct tick0 tick0 = {.id = 65535, .symbol = weir_view_text("S"), .px = 0.5F};
    struct weir_record_fault fault;
    struct weir_view message;
    struct fixture f;
    struct tick2 new;
    struct tick read;

    (void)state;
    begin(&f, NULL);
    tick.present = WEIR_RECORD_BIT(tick_field_note);
    tick.note = weir_view_text("gone");
    assert_int_equal(tick_encode(&tick, &f.buf, &message), 0);
    assert_int_equal(tick2_decode(message, NULL, &new, NULL), 0);
    assert_int_equal(new.id, 7);
    assert_int_equal(new.quantity, 300);
    assert_true(new.price == 2.5);
    assert_bytes(new.symbol, VIEW("W"));
    assert_bytes(new.currency, VIEW("EUR"));

    tick0.present = WEIR_RECORD_BIT(tick0_field_px);
    assert_int_equal(tick0_encode(&tick0, &f.buf, &message), 0);
    assert_int_equal(tick_decode(message, NULL, &read, NULL), 0);
    assert_int_equal(read.id, 65535);
    assert_true(read.price == 0.5);
    assert_int_equal(read.qty, 100);
    assert_int_equal(tick2_decode(message, NULL, &new, &fault), -ENOENT);
    assert_string_equal(fault.field->key, "qty");
    end(&f);
}

static void a_new_writer_is_understood_by_an_old_reader_as_far_as_values_fit(void **state)
{
    struct tick2 new = {.id = 70000, .quantity = 3, .price = 2.5, .symbol = weir_view_text("W")};
    struct weir_record_fault fault;
    struct weir_view message;
    struct fixture f;
    struct tick tick;
    struct tick0 tick0;

    (void)state;
    begin(&f, NULL);
    assert_int_equal(tick2_encode(&new, &f.buf, &message), 0);
    assert_int_equal(tick_decode(message, NULL, &tick, NULL), 0);
    assert_int_equal(tick.id, 70000);
    assert_int_equal(tick.qty, 3);
    assert_int_equal(tick0_decode(message, NULL, &tick0, &fault),
                     -EPROTO); /* a double in a float */
    assert_string_equal(fault.field->name, "px");
    new.quantity = -1;
    assert_int_equal(tick2_encode(&new, &f.buf, &message), 0);
    assert_int_equal(tick_decode(message, NULL, &tick, &fault), -EOVERFLOW);
    assert_string_equal(fault.field->name, "qty");
    end(&f);
}

/* Each kind of record read as each other one: the ways agree whatever comes. */
static void records_read_as_another_come_to_the_same_in_all_ways(void **state)
{
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f, NULL);
    for (unsigned round = 0; round < 40 * RECORDS_KINDS * RECORDS_KINDS; round++) {
        const struct kind *writer = records_kinds[round % RECORDS_KINDS];
        uint8_t bytes[ROOM_BYTES];
        union any record;
        make(&random, writer, &record);
        struct weir_view message = pack(&f, writer, &record);
        size_t size = message.size;
        memcpy(bytes, message.data, size);
        weir_buf_reset(&f.buf);
        compare_ways(
            &f, records_kinds[round / RECORDS_KINDS % RECORDS_KINDS], weir_view_of(bytes, size));
    }
    end(&f);
}

/* --- the description ------------------------------------------------------------------------- */

static void the_schema_says_what_the_description_does(void **state)
{
    const struct weir_record_field *fields = tick_schema.fields;

    (void)state;
    assert_string_equal(tick_schema.name, "tick");
    assert_int_equal(tick_schema.count, 5);
    assert_int_equal(tick_schema.count, tick_field_count);
    assert_true(tick_schema.is_map);
    assert_false(point_schema.is_map);
    assert_int_equal(tick_schema.required, 7);
    assert_int_equal(tick_schema.size, sizeof(struct tick));
    assert_string_equal(fields[tick_field_price].name, "price");
    assert_string_equal(fields[tick_field_price].key, "px");
    assert_int_equal(fields[tick_field_price].key_bytes, 2);
    assert_int_equal(fields[tick_field_price].type, WEIR_RECORD_F64);
    assert_int_equal(fields[tick_field_price].offset, offsetof(struct tick, price));
    assert_int_equal(fields[tick_field_price].size, sizeof(double));
    assert_int_equal(fields[tick_field_qty].presence, WEIR_RECORD_DEFAULT);
    assert_int_equal(fields[tick_field_note].presence, WEIR_RECORD_OPTIONAL);
    assert_int_equal(all_schema.fields[all_field_code].size, 6);
    assert_int_equal(all_schema.fields[all_field_blob].ext_type, 5);
    assert_ptr_equal(all_schema.fields[all_field_place].nested, &place_schema);
    assert_ptr_equal(weir_record_find(&tick_schema, VIEW("px")), &fields[tick_field_price]);
    assert_null(weir_record_find(&tick_schema, VIEW("price")));
}

static void every_type_has_the_name_that_descriptions_use(void **state)
{
    static const char *const names[] = {"bool",
                                        "u8",
                                        "u16",
                                        "u32",
                                        "u64",
                                        "i8",
                                        "i16",
                                        "i32",
                                        "i64",
                                        "f32",
                                        "f64",
                                        "timestamp",
                                        "str",
                                        "bin",
                                        "chars",
                                        "bytes",
                                        "ext",
                                        "record",
                                        "raw"};

    (void)state;
    /* In the order in which the fields of struct all have the types. */
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_string_equal(weir_record_type_name(all_schema.fields[i].type), names[i]);
    assert_string_equal(weir_record_type_name((enum weir_record_type)0), "?");
    assert_string_equal(weir_record_type_name((enum weir_record_type)99), "?");
}

/* Made at run time: a compiler refuses it. */
static void two_fields_of_one_key_are_found(void **state)
{
    const struct weir_record_field *field = NULL;
    struct weir_record_field fields[twice_field_count], lone_fields[deep_field_count];
    struct weir_record bad = twice_schema, deep = deep_schema;
    struct weir_record_field element;

    (void)state;
    for (size_t i = 0; i < RECORDS_KINDS; i++)
        assert_int_equal(weir_record_check(records_kinds[i]->schema, &field), 0);
    assert_null(field);
    memcpy(fields, twice_schema.fields, sizeof(fields));
    fields[twice_field_b].key = "a";
    bad.fields = fields;
    assert_int_equal(weir_record_check(&twice_schema, NULL), 0);
    assert_int_equal(weir_record_check(&bad, &field), -EINVAL);
    assert_ptr_equal(field, &fields[twice_field_b]);
    memcpy(lone_fields, deep_schema.fields, sizeof(lone_fields));
    lone_fields[0].nested = &bad;
    deep.fields = lone_fields;
    assert_int_equal(weir_record_check(&deep, NULL), -EINVAL);
    element = lone_fields[0];
    lone_fields[0].nested = NULL;
    lone_fields[0].element = &element;
    assert_int_equal(weir_record_check(&deep, NULL), -EINVAL);
}

#define LONE_AGAIN(F, R) F(R, u64, other, key("n"))
WEIR_RECORD(one_again, LONE_AGAIN);
#define ONE_NARROW(F, R) F(R, u32, n)
WEIR_RECORD(one_narrow, ONE_NARROW);
#define ONE_MAYBE(F, R) F(R, u64, n, optional)
WEIR_RECORD(one_maybe, ONE_MAYBE);
#define SEVEN_FIELDS(F, R) F(R, chars(7), n)
WEIR_RECORD(seven, SEVEN_FIELDS);
#define EIGHT_FIELDS(F, R) F(R, chars(8), n)
WEIR_RECORD(eight, EIGHT_FIELDS);

static void a_fingerprint_is_of_what_is_on_the_wire(void **state)
{
    (void)state;
    /* A number that other programs, and later versions, come to as well. */
    assert_true(weir_record_fingerprint(&one_schema) == UINT64_C(0xcf60ed137eba68b1));
    assert_true(weir_record_fingerprint(&one_schema) == weir_record_fingerprint(&one_again_schema));
    const struct weir_record *differ[] = {&one_schema,
                                          &lone_schema,
                                          &one_narrow_schema,
                                          &one_maybe_schema,
                                          &seven_schema,
                                          &eight_schema,
                                          &tick_schema,
                                          &deep_schema,
                                          &twice_schema};
    for (size_t i = 0; i < sizeof(differ) / sizeof(differ[0]); i++)
        for (size_t k = 0; k < i; k++)
            assert_true(weir_record_fingerprint(differ[i]) != weir_record_fingerprint(differ[k]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_becomes_the_map_that_its_description_says),
        cmocka_unit_test(an_array_record_has_no_keys),
        cmocka_unit_test(random_records_are_packed_as_messagepack_c_does),
        cmocka_unit_test(a_record_fits_a_buffer_of_exactly_its_size),
        cmocka_unit_test(what_cannot_be_packed_is_a_sticky_error_where_it_stands),
        cmocka_unit_test(a_record_is_one_value_among_others),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_the_buffer),
        cmocka_unit_test(random_records_come_back_as_they_were),
        cmocka_unit_test(every_truncation_is_incomplete_and_changes_nothing),
        cmocka_unit_test(every_change_of_a_byte_is_read_alike_in_all_ways),
        cmocka_unit_test(keys_in_any_order_and_unknown_ones_are_read),
        cmocka_unit_test(of_equal_keys_the_first_counts),
        cmocka_unit_test(what_may_be_missing_has_its_default),
        cmocka_unit_test(an_array_may_be_shorter_or_longer),
        cmocka_unit_test(a_fault_tells_the_error_the_offset_and_the_field),
        cmocka_unit_test(a_fault_in_a_nested_record_names_that),
        cmocka_unit_test(a_value_that_does_not_suit_its_field_is_refused),
        cmocka_unit_test(the_budget_is_that_of_any_cursor),
        cmocka_unit_test(an_error_before_stays_and_nothing_is_read),
        cmocka_unit_test(records_in_pieces_are_read_wherever_they_are_cut),
        cmocka_unit_test(an_old_writer_is_understood_by_a_new_reader),
        cmocka_unit_test(a_new_writer_is_understood_by_an_old_reader_as_far_as_values_fit),
        cmocka_unit_test(records_read_as_another_come_to_the_same_in_all_ways),
        cmocka_unit_test(the_schema_says_what_the_description_does),
        cmocka_unit_test(every_type_has_the_name_that_descriptions_use),
        cmocka_unit_test(two_fields_of_one_key_are_found),
        cmocka_unit_test(a_fingerprint_is_of_what_is_on_the_wire),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
