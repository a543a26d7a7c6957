/* SPDX-License-Identifier: MIT */
/*
 * Versions of a record, each as a map and as an array: what is written by any of them is read by
 * any other one, or refused for the reason that the table says.
 */
#include "support.h"

#include <errno.h>
#include <string.h>

#include <weir/record.h>

#define BASE(F, R) F(R, u16, id) F(R, str, name) F(R, f32, w)
#define ADDED(F, R) BASE(F, R) F(R, u8, extra, optional)
#define DEFAULTED(F, R) BASE(F, R) F(R, u8, extra, default(9))
#define REQUIRED(F, R) BASE(F, R) F(R, u8, extra)
#define REMOVED(F, R) F(R, u16, id) F(R, str, name)
#define REORDERED(F, R) F(R, f32, w) F(R, str, name) F(R, u16, id)
#define WIDENED(F, R) F(R, u64, id) F(R, str, name) F(R, f64, w)
#define RENAMED(F, R) F(R, u16, number, key("id")) F(R, str, name) F(R, f32, w)
#define RETYPED(F, R) F(R, str, id) F(R, str, name) F(R, f32, w)

struct version {
    const struct weir_record *schema;
    int (*encode)(const void *record, struct weir_buf *buf, struct weir_view *ret);
    int (*decode)(struct weir_view input, void *ret, struct weir_record_fault *fault);
};

#define MAKE_VERSION(R, FIELDS, WHICH)                                                            \
    WHICH(R, FIELDS);                                                                             \
    static int R##_encode_any(const void *record, struct weir_buf *buf, struct weir_view *ret)    \
    {                                                                                             \
        return R##_encode((const struct R *)record, buf, ret);                                    \
    }                                                                                             \
    static int R##_decode_any(struct weir_view input, void *ret, struct weir_record_fault *fault) \
    {                                                                                             \
        return R##_decode(input, NULL, (struct R *)ret, fault);                                   \
    }                                                                                             \
    static const struct version R##_version = {&R##_schema, R##_encode_any, R##_decode_any}

#define BOTH(name, FIELDS)                       \
    MAKE_VERSION(name##_m, FIELDS, WEIR_RECORD); \
    MAKE_VERSION(name##_a, FIELDS, WEIR_RECORD_ARRAY)

BOTH(base, BASE);
BOTH(added, ADDED);
BOTH(defaulted, DEFAULTED);
BOTH(required, REQUIRED);
BOTH(removed, REMOVED);
BOTH(reordered, REORDERED);
BOTH(widened, WIDENED);
BOTH(renamed, RENAMED);
BOTH(retyped, RETYPED);

#define VERSIONS 9

static const struct version *const versions[2][VERSIONS] = {
    {&base_m_version,
     &added_m_version,
     &defaulted_m_version,
     &required_m_version,
     &removed_m_version,
     &reordered_m_version,
     &widened_m_version,
     &renamed_m_version,
     &retyped_m_version},
    {&base_a_version,
     &added_a_version,
     &defaulted_a_version,
     &required_a_version,
     &removed_a_version,
     &reordered_a_version,
     &widened_a_version,
     &renamed_a_version,
     &retyped_a_version},
};

/*
 * Who writes what, and for readers in the order of above: . it is read; M a required field is
 * missing (ENOENT); P a field is of another type (EPROTO); V a value does not fit (EOVERFLOW).
 */
static const struct {
    unsigned writer;
    bool has_extra;
    uint32_t id;
    const char *as_map;
    const char *as_array;
} rows[] = {
    /* readers:    BADRXOWNT    BADRXOWNT */
    {0, false, 300, "...M....P", "...M.P..P"},   /* base */
    {1, true, 300, "........P", ".....P..P"},    /* added */
    {1, false, 300, "...M....P", "...P.P..P"},   /* added, and not there: in an array nil */
    {2, true, 300, "........P", ".....P..P"},    /* added with a default */
    {3, true, 300, "........P", ".....P..P"},    /* added and required */
    {4, false, 300, "MMMM.MMMP", "MMMM.PMMP"},   /* removed */
    {5, false, 300, "...M....P", "PPPPP.PPP"},   /* reordered */
    {6, false, 300, "PPPP.P.PP", "PPPP.P.PP"},   /* widened: a double is no float */
    {6, false, 70000, "VVVVVV.VP", "VVVVVP.VP"}, /* widened, and so is the value */
    {7, false, 300, "...M....P", "...M.P..P"},   /* renamed in C, not on the wire */
    {8, false, 300, "PPPPPPPP.", "PPPPPPPP."},   /* of another type */
};

union any {
    uint64_t present;
    uint8_t bytes[128];
};

static const struct weir_record_field *find(const struct weir_record *schema, const char *key)
{
    /* Arrays have no keys; but here all fields of arrays are described with them as well. */
    return weir_record_find(schema, weir_view_text(key));
}

static void fill(const struct weir_record *schema, union any *ret, uint32_t id, bool has_extra)
{
    const struct weir_record_field *field = find(schema, "id");
    struct weir_view text = weir_view_text("id"), name = weir_view_text("n");
    uint16_t id16 = (uint16_t)id;
    uint64_t id64 = id;
    float w = 1.5F;
    double wide = 1.5;

    schema->init(ret);
    if (field->type == WEIR_RECORD_STR)
        memcpy(ret->bytes + field->offset, &text, sizeof(text));
    else if (field->type == WEIR_RECORD_U64)
        memcpy(ret->bytes + field->offset, &id64, sizeof(id64));
    else
        memcpy(ret->bytes + field->offset, &id16, sizeof(id16));
    memcpy(ret->bytes + find(schema, "name")->offset, &name, sizeof(name));
    field = find(schema, "w");
    if (field != NULL && field->type == WEIR_RECORD_F64)
        memcpy(ret->bytes + field->offset, &wide, sizeof(wide));
    else if (field != NULL)
        memcpy(ret->bytes + field->offset, &w, sizeof(w));
    field = find(schema, "extra");
    if (field != NULL && has_extra) {
        ret->bytes[field->offset] = 5;
        ret->present |= WEIR_RECORD_BIT(field - schema->fields);
    }
}

/* What was read is what was written, as far as both have it; what is missing has its default. */
static void assert_read(const struct weir_record *writer, const struct weir_record *reader,
                        const union any *read, uint32_t id, bool has_extra)
{
    const struct weir_record_field *extra = find(reader, "extra");
    union any wanted;

    fill(reader, &wanted, id, has_extra && find(writer, "extra") != NULL);
    wanted.present = 0;
    for (unsigned i = 0; i < reader->count; i++) {
        const struct weir_record_field *field = &reader->fields[i];
        bool came = find(writer, field->key) != NULL && (field != extra || has_extra);
        wanted.present |= came ? WEIR_RECORD_BIT(i) : 0;
        if (field->type == WEIR_RECORD_STR) {
            struct weir_view got, text;
            memcpy(&got, read->bytes + field->offset, sizeof(got));
            memcpy(&text, wanted.bytes + field->offset, sizeof(text));
            assert_true(weir_view_equal(got, text));
        } else {
            assert_memory_equal(
                read->bytes + field->offset, wanted.bytes + field->offset, field->size);
        }
    }
    assert_int_equal(read->present, wanted.present);
}

static int error_of(char outcome)
{
    return outcome == '.' ? 0 : outcome == 'M' ? -ENOENT : outcome == 'P' ? -EPROTO : -EOVERFLOW;
}

static void check_pair(struct weir_view message, const struct version *writer,
                       const struct version *reader, char outcome, uint32_t id, bool has_extra)
{
    struct weir_record_fault fault = {0, 0, NULL, NULL};
    union any read, walked, before;
    struct weir_unpacker u;

    memset(&read, 0x55, sizeof(read));
    before = read;
    int rc = reader->decode(message, &read, &fault);
    if (rc != error_of(outcome))
        fail_msg(
            "%s read as %s: %s", writer->schema->name, reader->schema->name, weir_error_name(rc));
    reader->schema->init(&walked);
    weir_unpack_init(&u, message, NULL);
    assert_int_equal(weir_record_unpack(&u, reader->schema, &walked, NULL), rc);
    if (rc != 0) {
        assert_memory_equal(&read, &before, sizeof(read));
        assert_int_equal(fault.error, rc);
        assert_ptr_equal(fault.record, reader->schema);
        assert_non_null(fault.field);
        return;
    }
    assert_read(writer->schema, reader->schema, &read, id, has_extra);
    assert_read(writer->schema, reader->schema, &walked, id, has_extra);
}

static void every_version_reads_what_every_other_wrote_or_says_why_not(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_view message;
    struct weir_buf buf;
    union any record;

    (void)state;
    assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
    for (unsigned layout = 0; layout < 2; layout++) {
        for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
            const struct version *writer = versions[layout][rows[row].writer];
            const char *outcomes = layout == 0 ? rows[row].as_map : rows[row].as_array;
            assert_int_equal(strlen(outcomes), VERSIONS);
            fill(writer->schema, &record, rows[row].id, rows[row].has_extra);
            assert_int_equal(writer->encode(&record, &buf, &message), 0);
            for (unsigned reader = 0; reader < VERSIONS; reader++)
                check_pair(message,
                           writer,
                           versions[layout][reader],
                           outcomes[reader],
                           rows[row].id,
                           rows[row].has_extra);
        }
    }
    weir_buf_fini(&buf);
    test_pool_destroy(pool);
}

static void a_map_is_not_read_as_an_array_nor_an_array_as_a_map(void **state)
{
    struct weir_pool *pool = test_pool_create(NULL);
    struct weir_view message;
    struct weir_buf buf;
    union any record;

    (void)state;
    assert_int_equal(weir_buf_init(&buf, pool, NULL), 0);
    for (unsigned layout = 0; layout < 2; layout++) {
        for (unsigned i = 0; i < VERSIONS; i++) {
            const struct version *writer = versions[layout][i];
            fill(writer->schema, &record, 300, true);
            assert_int_equal(writer->encode(&record, &buf, &message), 0);
            for (unsigned k = 0; k < VERSIONS; k++) {
                struct weir_record_fault fault = {0, SIZE_MAX, NULL, NULL};
                assert_int_equal(versions[1 - layout][k]->decode(message, &record, &fault),
                                 -EPROTO);
                assert_int_equal(fault.offset, 0);
                assert_null(fault.field);
            }
        }
    }
    weir_buf_fini(&buf);
    test_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_reads_what_every_other_wrote_or_says_why_not),
        cmocka_unit_test(a_map_is_not_read_as_an_array_nor_an_array_as_a_map),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
