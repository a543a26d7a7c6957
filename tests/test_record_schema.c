/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weir/record_schema.h>

#include "../lib/buf_private.h"
#include "records.h"

#define VIEW(bytes) weir_view_of((bytes), sizeof(bytes) - 1)

struct fixture {
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_arena arena;
};

static void begin(struct fixture *f)
{
    f->pool = test_pool_create(NULL);
    assert_int_equal(weir_buf_init(&f->buf, f->pool, NULL), 0);
    weir_arena_init(&f->arena, f->pool, NULL);
}

static void end(struct fixture *f)
{
    assert_null(weir__buf_check(&f->buf));
    weir_arena_fini(&f->arena);
    weir_buf_fini(&f->buf);
    test_pool_destroy(f->pool);
}

static void assert_bytes(struct weir_view got, struct weir_view wanted)
{
    assert_int_equal(got.size, wanted.size);
    if (wanted.size != 0)
        assert_memory_equal(got.data, wanted.data, wanted.size);
}

static struct weir_view written(struct fixture *f, const struct weir_record *schema)
{
    struct weir_packer packer;
    struct weir_view bytes;

    weir_pack_begin(&packer, &f->buf, 0);
    weir_record_schema_pack(&packer, schema);
    assert_int_equal(weir_pack_end_values(&packer, 1, &bytes), 0);
    return bytes;
}

static const struct weir_record *again(struct fixture *f, const struct weir_record *schema)
{
    const struct weir_record *ret = NULL;
    struct weir_fault fault = {0, 0, "none"};
    struct weir_unpacker u;

    weir_unpack_init(&u, written(f, schema), NULL);
    if (weir_record_schema_unpack(&u, &f->arena, &ret, &fault) != 0)
        fail_msg("%s: offset %zu: %s", schema->name, fault.offset, fault.reason);
    assert_int_equal(weir_unpack_end(&u), 0);
    return ret;
}

#define PIN_FIELDS(F, R) \
    F(R, i8, x)          \
    F(R, enum(side), y, key("Y"), optional)
WEIR_RECORD_ARRAY(pin, PIN_FIELDS);
#define LINE_FIELDS(F, R)          \
    F(R, array(record(pin)), pins) \
    F(R, chars(6), code, key("c")) \
    F(R, ext(-5), blob)            \
    F(R, bool, ok, default(true))
WEIR_RECORD(line, LINE_FIELDS);

static void a_schema_is_a_map_of_enums_and_records_those_needed_first(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    assert_bytes(written(&f, &line_schema),
                 VIEW("\x83\xa6schema\x01\xa5"
                      "enums\x91\x82\xa4name\xa4side\xa6values\x93"
                      "\x82\xa4name\xa3"
                      "buy\xa6number\x01\x82\xa4name\xa4sell\xa6number\x02"
                      "\x82\xa4name\xa5never\xa6number\xd1\xfc\x18\xa7records\x92"
                      "\x83\xa4name\xa3"
                      "pin\xa6layout\xa5"
                      "array\xa6"
                      "fields\x92"
                      "\x82\xa4name\xa1x\xa4type\xa2i8"
                      "\x84\xa4name\xa1y\xa4type\xa4"
                      "enum\xa2of\xa4side\xa8presence\xa8optional"
                      "\x83\xa4name\xa4line\xa6layout\xa3map\xa6"
                      "fields\x94"
                      "\x84\xa4name\xa4"
                      "pins\xa4type\xa5"
                      "array\xa7"
                      "element\xa6record\xa2of\xa3"
                      "pin"
                      "\x84\xa4name\xa4"
                      "code\xa3key\xa1"
                      "c\xa4type\xa5"
                      "chars\xa5"
                      "bytes\x06"
                      "\x83\xa4name\xa4"
                      "blob\xa4type\xa3"
                      "ext\xa3"
                      "ext\xfb"
                      "\x83\xa4name\xa2ok\xa4type\xa4"
                      "bool\xa8presence\xa7"
                      "default"));
    end(&f);
}

static void a_schema_that_was_read_is_the_same_on_the_wire(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    for (size_t i = 0; i < RECORDS_KINDS; i++) {
        const struct weir_record *schema = records_kinds[i]->schema;
        const struct weir_record *read = again(&f, schema);
        assert_true(weir_record_fingerprint(read) == weir_record_fingerprint(schema));
        assert_string_equal(read->name, schema->name);
        assert_int_equal(read->count, schema->count);
        assert_int_equal(read->required, schema->required);
        for (unsigned k = 0; k < read->count; k++)
            assert_string_equal(read->fields[k].name, schema->fields[k].name);
        struct weir_view first = written(&f, schema);
        assert_bytes(written(&f, read), first);
    }
    end(&f);
}

static void records_are_read_and_shown_by_a_schema_that_was_read(void **state)
{
    struct pin pins[] = {{.x = -3}, {.x = 4, .y = side_sell}};
    struct line line = {.code = "abc", .ok = true};
    const struct weir_record *schema;
    struct weir_packer packer;
    struct weir_unpacker u;
    struct weir_view message, named, packed;
    struct fixture f;

    (void)state;
    begin(&f);
    schema = again(&f, &line_schema);
    pins[1].present = WEIR_RECORD_BIT(pin_field_y);
    line.pins.items = pins;
    line.pins.count = 2;
    line.blob = VIEW("hi");
    assert_int_equal(line_encode(&line, &f.buf, &message), 0);
    void *record = weir_arena_alloc(&f.arena, schema->size, 16);
    memset(record, 0, schema->size);
    weir_unpack_init(&u, message, NULL);
    assert_int_equal(weir_record_unpack(&u, schema, record, NULL), 0);
    weir_pack_begin(&packer, &f.buf, 0);
    weir_record_pack_named(&packer, schema, record);
    assert_int_equal(weir_pack_end(&packer, NULL), -EINVAL); /* not loaded */
    assert_int_equal(weir_record_load_arrays(schema, record, &f.arena), 0);
    weir_pack_begin(&packer, &f.buf, 0);
    weir_record_pack_named(&packer, schema, record);
    assert_int_equal(weir_pack_end(&packer, &named), 0);
    assert_bytes(named,
                 VIEW("\x84\xa4"
                      "pins\x92\x81\xa1x\xfd\x82\xa1x\x04\xa1y\xa4sell"
                      "\xa4"
                      "code\xa3"
                      "abc\xa4"
                      "blob\xd5\xfbhi\xa2ok\xc3"));
    weir_pack_begin(&packer, &f.buf, 0);
    weir_record_pack(&packer, schema, record);
    assert_int_equal(weir_pack_end(&packer, &packed), 0);
    assert_bytes(packed, message);
    /* The description in C knows the default, a schema that was read does not. */
    line.present = 0;
    weir_pack_begin(&packer, &f.buf, 0);
    weir_record_pack_named(&packer, &line_schema, &line);
    assert_int_equal(weir_pack_end(&packer, &packed), 0);
    assert_bytes(packed, named);
    end(&f);
}

/* Schemas in which one thing is wrong. What stands for what: see wrong_schema(). */
static const struct {
    const char *what;
    const char *reason;
    int error;
} wrongs[] = {
    {"v2 r:a:map n:u8", "a schema of another version", -EINVAL},
    {"v1", "a schema without records", -EINVAL},
    {"v1 r:a:heap n:u8", "a record is neither a map nor an array", -EINVAL},
    {"v1 r:a:map", "a record has no fields, or more than 64", -EINVAL},
    {"v1 r:a:map n:u24", "a field is of a type that there is not", -EINVAL},
    {"v1 r:a:map n:?", "a field is of a type that there is not", -EINVAL},
    {"v1 r:a:map n:chars", "a field of chars or bytes, and not how many", -EINVAL},
    {"v1 r:a:map n:record:a",
     "a field is of a record or enum that is not there before it",
     -EINVAL},
    {"v1 r:a:map n:enum:a", "a field is of a record or enum that is not there before it", -EINVAL},
    {"v1 r:a:map n:array:b:array", "an array of what arrays do not have", -EINVAL},
    {"v1 r:a:map n:array:b:", "an array of what arrays do not have", -EINVAL},
    {"v1 r:a:map n:array:a:record",
     "a field is of a record or enum that is not there before it",
     -EINVAL},
    {"v1 r:a:map n:u8 n:u16", "two fields of one key", -EINVAL},
    {"v1 r:a:map n:u8 r:a:map n:u16", "two records of one name", -EINVAL},
    {"v1 r:a:map a-key-of-thirty-two-bytes-no-less:u8", "a key is longer than 31 bytes", -EINVAL},
};

/* "v1 r:NAME:LAYOUT FIELD:TYPE:OF:ELEMENT ..." */
static struct weir_view wrong_schema(struct fixture *f, const char *what)
{
    struct weir_pack_scope file, records, record, fields;
    struct weir_packer packer;
    struct weir_view message;
    char text[256], *token, *rest = text;
    bool is_open = false;

    strncpy(text, what, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    weir_pack_begin(&packer, &f->buf, 0);
    weir_pack_open_map(&packer, &file, 0);
    weir_pack_text(&packer, "schema");
    weir_pack_uint(&packer, (uint64_t)(what[1] - '0'));
    weir_pack_text(&packer, "records");
    weir_pack_open_array(&packer, &records, 0);
    strsep(&rest, " ");
    while ((token = strsep(&rest, " ")) != NULL) {
        char *name = strsep(&token, ":"), *type = strsep(&token, ":");
        if (strcmp(name, "r") == 0) {
            if (is_open)
                weir_pack_close(&packer, &fields);
            if (is_open)
                weir_pack_close(&packer, &record);
            is_open = true;
            weir_pack_open_map(&packer, &record, 0);
            weir_pack_text(&packer, "name");
            weir_pack_text(&packer, type);
            weir_pack_text(&packer, "layout");
            weir_pack_text(&packer, token);
            weir_pack_text(&packer, "fields");
            weir_pack_open_array(&packer, &fields, 0);
            continue;
        }
        char *of = strsep(&token, ":");
        weir_pack_map(&packer, 4);
        weir_pack_text(&packer, "name");
        weir_pack_text(&packer, name);
        weir_pack_text(&packer, "type");
        weir_pack_text(&packer, type);
        weir_pack_text(&packer, "of");
        weir_pack_text(&packer, of != NULL ? of : "");
        weir_pack_text(&packer, "element");
        weir_pack_text(&packer, token != NULL ? token : "");
    }
    if (is_open)
        weir_pack_close(&packer, &fields);
    if (is_open)
        weir_pack_close(&packer, &record);
    weir_pack_close(&packer, &records);
    weir_pack_close(&packer, &file);
    assert_int_equal(weir_pack_end(&packer, &message), 0);
    return message;
}

static void what_is_no_sound_schema_is_refused_with_a_reason(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        const struct weir_record *schema = NULL;
        struct weir_fault fault = {0, SIZE_MAX, NULL};
        struct weir_unpacker u;
        weir_unpack_init(&u, wrong_schema(&f, wrongs[i].what), NULL);
        assert_int_equal(weir_record_schema_unpack(&u, &f.arena, &schema, &fault), wrongs[i].error);
        assert_string_equal(fault.reason, wrongs[i].reason);
        assert_int_equal(fault.error, wrongs[i].error);
        assert_int_equal(fault.offset, 0);
        assert_int_equal(weir_unpack_error(&u), wrongs[i].error);
        assert_null(schema);
        assert_int_equal(weir_arena_used_bytes(&f.arena), 0);
    }
    end(&f);
}

/* Each record has eight of the one before: sizes, or fields that come up, grow beyond any bound. */
static void a_schema_that_grows_by_nesting_is_refused(void **state)
{
    static const char *const types[] = {"record", "array"};
    struct fixture f;

    (void)state;
    begin(&f);
    for (unsigned t = 0; t < 2; t++) {
        const struct weir_record *schema = NULL;
        struct weir_packer packer;
        struct weir_view message;
        struct weir_fault fault;
        struct weir_unpacker u;
        char name[2] = "A", key[2] = "a", of[2] = "A";
        weir_pack_begin(&packer, &f.buf, 0);
        weir_pack_map(&packer, 2);
        weir_pack_text(&packer, "schema");
        weir_pack_uint(&packer, 1);
        weir_pack_text(&packer, "records");
        weir_pack_array(&packer, 20);
        for (unsigned i = 0; i < 20; i++) {
            weir_pack_map(&packer, 3);
            weir_pack_text(&packer, "name");
            name[0] = (char)('A' + i);
            of[0] = (char)('A' + i - 1);
            weir_pack_text(&packer, name);
            weir_pack_text(&packer, "layout");
            weir_pack_text(&packer, "map");
            weir_pack_text(&packer, "fields");
            weir_pack_array(&packer, 8);
            for (unsigned k = 0; k < 8; k++) {
                key[0] = (char)('a' + k);
                weir_pack_map(&packer, i == 0 ? 2 : 4);
                weir_pack_text(&packer, "name");
                weir_pack_text(&packer, key);
                weir_pack_text(&packer, "type");
                weir_pack_text(&packer, i == 0 ? "u8" : types[t]);
                if (i == 0)
                    continue;
                weir_pack_text(&packer, "of");
                weir_pack_text(&packer, of);
                weir_pack_text(&packer, "element");
                weir_pack_text(&packer, "record");
            }
        }
        assert_int_equal(weir_pack_end(&packer, &message), 0);
        weir_unpack_init(&u, message, NULL);
        assert_int_equal(weir_record_schema_unpack(&u, &f.arena, &schema, &fault), -ENOBUFS);
        assert_string_equal(fault.reason, "a record is too large");
    }
    end(&f);
}

static void every_truncation_and_change_of_a_schema_is_survived(void **state)
{
    uint8_t bytes[1024];
    struct test_random random;
    struct fixture f;

    (void)state;
    test_random_init(&random);
    begin(&f);
    struct weir_view message = written(&f, &line_schema);
    assert_true(message.size <= sizeof(bytes));
    memcpy(bytes, message.data, message.size);
    for (size_t at = 0; at < message.size; at++) {
        const struct weir_record *schema = NULL;
        struct weir_fault fault = {0, 0, NULL};
        struct weir_unpacker u;
        weir_unpack_init(&u, weir_view_of(bytes, at), NULL);
        assert_int_equal(weir_record_schema_unpack(&u, &f.arena, &schema, &fault), -EAGAIN);
        assert_non_null(fault.reason);
        uint8_t was = bytes[at];
        for (unsigned i = 0; i < 16; i++) {
            if (i < 8)
                bytes[at] = (uint8_t)(was ^ 1u << i);
            else
                bytes[at] = (uint8_t)test_random(&random);
            weir_unpack_init(&u, weir_view_of(bytes, message.size), NULL);
            int rc = weir_record_schema_unpack(&u, &f.arena, &schema, &fault);
            assert_int_equal(rc, weir_unpack_error(&u));
            if (rc != 0)
                continue;
            assert_int_equal(weir_record_check(schema, NULL), 0);
            assert_true(written(&f, schema).size != 0);
            weir_buf_reset(&f.buf);
        }
        bytes[at] = was;
        weir_arena_reset(&f.arena);
    }
    end(&f);
}

static void every_failing_allocation_gives_the_arena_back(void **state)
{
    static uint8_t memory[8192];
    struct weir_arena arena;
    struct fixture f;
    size_t size = 0;
    int rc = -1;

    (void)state;
    begin(&f);
    struct weir_view message = written(&f, &line_schema);
    for (; rc != 0; size += 8) {
        const struct weir_record *schema = NULL;
        struct weir_unpacker u;
        assert_true(size < sizeof(memory));
        weir_arena_init_fixed(&arena, memory, size);
        weir_unpack_init(&u, message, NULL);
        rc = weir_record_schema_unpack(&u, &arena, &schema, NULL);
        if (rc != 0) {
            assert_int_equal(rc, -ENOBUFS);
            assert_int_equal(weir_arena_used_bytes(&arena), 0);
            assert_null(schema);
        }
    }
    weir_arena_fini(&arena);
    end(&f);
}

static void records_are_the_same_by_what_they_are_on_the_wire(void **state)
{
    struct leg a, b;
    uint16_t marks[] = {1, 2};
    uint64_t hash_a = 0, hash_b = 0;
    struct fixture f;
    bool same = false;

    (void)state;
    begin(&f);
    memset(&a, 0, sizeof(a));
    memset(&b, 0xff, sizeof(b));
    leg_init(&a);
    b.present = 0;
    b.symbol = weir_view_of("AB", 1);
    b.ratio = 1;
    b.side = side_buy;
    a.symbol = weir_view_text("A");
    a.side = side_buy;
    assert_int_equal(weir_record_same(&leg_schema, &a, &b, &f.buf, &same), 0);
    assert_true(same); /* marks are not there, whatever is in the member */
    assert_int_equal(weir_record_hash(&leg_schema, &a, 7, &f.buf, &hash_a), 0);
    assert_int_equal(weir_record_hash(&leg_schema, &b, 7, &f.buf, &hash_b), 0);
    assert_true(hash_a == hash_b);
    a.marks.items = marks;
    a.marks.count = 2;
    b.marks.items = NULL;
    b.marks.source = NULL;
    b.marks.packed = VIEW("\x92\x01\x02");
    a.present = b.present = WEIR_RECORD_BIT(leg_field_marks);
    assert_int_equal(weir_record_same(&leg_schema, &a, &b, &f.buf, &same), 0);
    assert_true(same);
    b.marks.packed = VIEW("\x92\x01\x03");
    assert_int_equal(weir_record_same(&leg_schema, &a, &b, &f.buf, &same), 0);
    assert_false(same);
    assert_int_equal(weir_record_hash(&leg_schema, &a, 7, &f.buf, &hash_a), 0);
    assert_int_equal(weir_record_hash(&leg_schema, &b, 7, &f.buf, &hash_b), 0);
    assert_true(hash_a != hash_b);
    b.present = 0;
    assert_int_equal(weir_record_same(&leg_schema, &a, &b, &f.buf, &same), 0);
    assert_false(same);
    same = true;
    b.side = (enum side)9;
    assert_int_equal(weir_record_same(&leg_schema, &a, &b, &f.buf, &same), -EINVAL);
    assert_true(same);
    assert_int_equal(weir_record_hash(&leg_schema, &b, 7, &f.buf, &hash_b), -EINVAL);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_schema_is_a_map_of_enums_and_records_those_needed_first),
        cmocka_unit_test(a_schema_that_was_read_is_the_same_on_the_wire),
        cmocka_unit_test(records_are_read_and_shown_by_a_schema_that_was_read),
        cmocka_unit_test(what_is_no_sound_schema_is_refused_with_a_reason),
        cmocka_unit_test(a_schema_that_grows_by_nesting_is_refused),
        cmocka_unit_test(every_truncation_and_change_of_a_schema_is_survived),
        cmocka_unit_test(every_failing_allocation_gives_the_arena_back),
        cmocka_unit_test(records_are_the_same_by_what_they_are_on_the_wire),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
