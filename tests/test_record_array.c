/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <string.h>

#include <weir/record.h>

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

#define SHELF_FIELDS(F, R)         \
    F(R, array(record(leg)), legs) \
    F(R, array(u32), sizes, optional)
WEIR_RECORD(shelf, SHELF_FIELDS);

/* {"legs": [{"symbol": "A", "ratio": -2, "side": 1}, {"symbol": "B", "ratio": 1, "side": 2,
 * "marks": [300]}], "sizes": [1, 70000]} */
#define LEG_A            \
    "\x83\xa6symbol\xa1" \
    "A\xa5ratio\xfe\xa4side\x01"
#define LEG_B            \
    "\x84\xa6symbol\xa1" \
    "B\xa5ratio\x01\xa4side\x02\xa5marks\x91\xcd\x01\x2c"
#define SHELF "\x82\xa4legs\x92" LEG_A LEG_B "\xa5sizes\x92\x01\xce\x00\x01\x11\x70"

static const uint16_t marks[] = {300};
static const uint32_t sizes[] = {1, 70000};

static void make_legs(struct leg *legs)
{
    leg_init(&legs[0]);
    leg_init(&legs[1]);
    legs[0].symbol = weir_view_text("A");
    legs[0].ratio = -2;
    legs[0].side = side_buy;
    legs[1].symbol = weir_view_text("B");
    legs[1].side = side_sell;
    legs[1].marks.items = marks;
    legs[1].marks.count = 1;
    legs[1].present = WEIR_RECORD_BIT(leg_field_marks);
}

/* A list of legs in a form of its own. */
struct list {
    struct weir_record_source source;
    struct leg legs[2];
    size_t missing; /* that it cannot give */
};

static const void *list_get(const struct weir_record_source *source, size_t index)
{
    const struct list *list = (const struct list *)(const void *)source;

    return index == list->missing ? NULL : &list->legs[index];
}

static void arrays_are_packed_from_items_from_a_source_and_from_bytes(void **state)
{
    struct list list = {.source = {list_get}, .missing = SIZE_MAX};
    struct shelf shelf = {.present = WEIR_RECORD_BIT(shelf_field_sizes)};
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f);
    make_legs(list.legs);
    shelf.sizes.items = sizes;
    shelf.sizes.count = 2;
    shelf.legs.items = list.legs;
    shelf.legs.count = 2;
    assert_int_equal(shelf_encode(&shelf, &f.buf, &message), 0);
    assert_bytes(message, VIEW(SHELF));
    shelf.legs.items = NULL;
    shelf.legs.source = &list.source;
    assert_int_equal(shelf_encode(&shelf, &f.buf, &message), 0);
    assert_bytes(message, VIEW(SHELF));
    shelf.legs.source = NULL;
    shelf.legs.packed = VIEW("\x92" LEG_A LEG_B);
    assert_int_equal(shelf_encode(&shelf, &f.buf, &message), 0);
    assert_bytes(message, VIEW(SHELF));
    shelf.legs.packed.size = 0;
    shelf.legs.count = 0;
    assert_int_equal(shelf_encode(&shelf, &f.buf, &message), 0);
    assert_bytes(message, VIEW("\x82\xa4legs\x90\xa5sizes\x92\x01\xce\x00\x01\x11\x70"));
    end(&f);
}

static void what_is_no_array_or_no_value_is_not_packed(void **state)
{
    struct list list = {.source = {list_get}, .missing = 1};
    struct shelf shelf = {.present = 0};
    struct basket basket;
    enum side odd[] = {side_buy, (enum side)3};
    struct fixture f;

    (void)state;
    begin(&f);
    make_legs(list.legs);
    shelf.legs.count = 2;
    assert_int_equal(shelf_encode(&shelf, &f.buf, NULL), -EINVAL);
    shelf.legs.source = &list.source;
    assert_int_equal(shelf_encode(&shelf, &f.buf, NULL), -EINVAL);
    list.missing = 2;
    assert_int_equal(shelf_encode(&shelf, &f.buf, NULL), 0);
    list.legs[1].side = (enum side)0;
    assert_int_equal(shelf_encode(&shelf, &f.buf, NULL), -EINVAL);
    shelf.legs.source = NULL;
    shelf.legs.items = list.legs;
    assert_int_equal(shelf_encode(&shelf, &f.buf, NULL), -EINVAL);
    weir_buf_reset(&f.buf);
    basket_init(&basket);
    assert_int_equal(basket.next, side_sell);
    assert_int_equal(basket_encode(&basket, &f.buf, NULL), -EINVAL); /* there is no side 0 */
    basket.side = side_never;
    assert_int_equal(basket_encode(&basket, &f.buf, NULL), 0);
    weir_buf_reset(&f.buf);
    basket.sides.items = odd;
    basket.sides.count = 2;
    assert_int_equal(basket_encode(&basket, &f.buf, NULL), -EINVAL);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    basket.sides.count = (size_t)UINT32_MAX + 1;
    basket.sides.items = NULL;
    basket.u_64.items = (const uint64_t *)(const void *)&basket;
    basket.u_64.count = (size_t)UINT32_MAX + 1;
    basket.sides.count = 0;
    assert_int_equal(basket_encode(&basket, &f.buf, NULL), -EOVERFLOW);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    end(&f);
}

static void assert_legs(struct weir_record_iter at)
{
    struct leg leg;
    struct weir_record_iter inner;
    uint16_t mark = 0;

    assert_true(shelf_next_legs(&at, &leg));
    assert_bytes(leg.symbol, VIEW("A"));
    assert_int_equal(leg.ratio, -2);
    assert_int_equal(leg.side, side_buy);
    inner = leg_each_marks(&leg);
    assert_false(leg_next_marks(&inner, &mark));
    assert_true(shelf_next_legs(&at, &leg));
    assert_bytes(leg.symbol, VIEW("B"));
    assert_int_equal(leg.ratio, 1);
    inner = leg_each_marks(&leg);
    assert_true(leg_next_marks(&inner, &mark));
    assert_int_equal(mark, 300);
    assert_false(leg_next_marks(&inner, &mark));
    assert_false(shelf_next_legs(&at, &leg));
    assert_false(shelf_next_legs(&at, &leg));
    assert_bytes(leg.symbol, VIEW("B"));
    assert_int_equal(at.error, 0);
}

static void an_iterator_goes_over_an_array_wherever_it_lies(void **state)
{
    struct list list = {.source = {list_get}, .missing = SIZE_MAX};
    struct shelf shelf;
    struct weir_record_iter at;
    uint32_t size = 0;

    (void)state;
    make_legs(list.legs);
    assert_int_equal(shelf_decode(VIEW(SHELF), NULL, &shelf, NULL), 0);
    assert_int_equal(shelf.legs.count, 2);
    assert_null(shelf.legs.items);
    assert_bytes(shelf.legs.packed, VIEW("\x92" LEG_A LEG_B));
    assert_legs(shelf_each_legs(&shelf));
    at = shelf_each_sizes(&shelf);
    assert_true(shelf_next_sizes(&at, &size));
    assert_int_equal(size, 1);
    assert_true(shelf_next_sizes(&at, &size));
    assert_int_equal(size, 70000);
    assert_false(shelf_next_sizes(&at, &size));
    /* The keys of a leg in another order, and one missing that has a default. */
    shelf.legs.packed = VIEW("\x92\x83\xa4side\x01\xa6symbol\xa1"
                             "A\xa5ratio\xfe"
                             "\x83\xa5marks\x91\xcd\x01\x2c\xa4side\x02\xa6symbol\xa1"
                             "B");
    assert_legs(shelf_each_legs(&shelf));
    shelf.legs.source = &list.source;
    assert_legs(shelf_each_legs(&shelf));
    shelf.legs.items = list.legs;
    assert_legs(shelf_each_legs(&shelf));
}

static void an_iterator_tells_what_is_wrong_with_what_the_program_made(void **state)
{
    struct list list = {.source = {list_get}, .missing = 1};
    struct shelf shelf = {.present = 0};
    struct weir_record_iter at;
    struct leg leg, before;

    (void)state;
    make_legs(list.legs);
    shelf.legs.source = &list.source;
    shelf.legs.count = 2;
    at = shelf_each_legs(&shelf);
    assert_true(shelf_next_legs(&at, &leg));
    assert_false(shelf_next_legs(&at, &leg));
    assert_int_equal(at.error, -EINVAL);
    shelf.legs.source = NULL;
    shelf.legs.packed = VIEW("\x05");
    at = shelf_each_legs(&shelf);
    assert_false(shelf_next_legs(&at, &leg));
    assert_int_equal(at.error, -EPROTO);
    shelf.legs.packed = VIEW("\x92" LEG_A "\x81\xa4side\x02");
    at = shelf_each_legs(&shelf);
    assert_true(shelf_next_legs(&at, &leg));
    before = leg;
    assert_false(shelf_next_legs(&at, &leg));
    assert_int_equal(at.error, -ENOENT);
    assert_memory_equal(&leg, &before, sizeof(leg));
}

static void arrays_are_loaded_into_an_arena_with_all_within(void **state)
{
    struct shelf shelf;
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f);
    assert_int_equal(shelf_decode(VIEW(SHELF), NULL, &shelf, NULL), 0);
    assert_int_equal(shelf_load(&shelf, &f.arena), 0);
    assert_non_null(shelf.legs.items);
    assert_bytes(shelf.legs.items[1].symbol, VIEW("B"));
    assert_int_equal(shelf.legs.items[1].ratio, 1);
    assert_int_equal(shelf.legs.items[1].marks.items[0], 300);
    assert_int_equal(shelf.sizes.items[1], 70000);
    assert_int_equal(shelf_encode(&shelf, &f.buf, &message), 0);
    assert_bytes(message, VIEW(SHELF));
    end(&f);
}

static void a_load_that_fails_leaves_record_and_arena(void **state)
{
    static uint8_t memory[512];
    struct shelf shelf;
    struct weir_arena arena;
    size_t size = 0;
    int rc;

    (void)state;
    for (rc = -1; rc != 0; size++) {
        assert_true(size < sizeof(memory));
        weir_arena_init_fixed(&arena, memory, size);
        assert_int_equal(shelf_decode(VIEW(SHELF), NULL, &shelf, NULL), 0);
        rc = shelf_load(&shelf, &arena);
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOBUFS);
        assert_int_equal(weir_arena_used_bytes(&arena), 0);
        assert_null(shelf.legs.items);
        assert_null(shelf.sizes.items);
        assert_legs(shelf_each_legs(&shelf));
    }
    assert_true(size >= 2 * sizeof(struct leg));
    weir_arena_fini(&arena);
}

/* What is wrong, and the fault that tells it. */
static const struct {
    struct weir_view input;
    int error;
    size_t offset;
    const struct weir_record *record;
    const char *field;
} faults[] = {
    {{(const uint8_t *)"\x81\xa4legs\x81\x01\x02", 9}, -EPROTO, 6, &shelf_schema, "legs"},
    {{(const uint8_t *)"\x81\xa4legs\x91\x01", 8}, -EPROTO, 7, &leg_schema, NULL},
    {{(const uint8_t *)"\x81\xa4legs\x92\x80", 8}, -EAGAIN, 6, &shelf_schema, "legs"},
    {{(const uint8_t *)"\x81\xa4legs\xdd\xff\xff\xff\xff\x80", 12},
     -EAGAIN,
     6,
     &shelf_schema,
     "legs"},
    {{(const uint8_t *)"\x81\xa4legs\x91\x81\xa6symbol\xa0", 16}, -ENOENT, 7, &leg_schema, "side"},
    {{(const uint8_t *)"\x81\xa4legs\x91\x82\xa6symbol\xa0\xa4side\x03", 22},
     -EPROTO,
     21,
     &leg_schema,
     "side"},
    {{(const uint8_t *)"\x82\xa4legs\x90\xa5sizes\x93\x01\x02\xff", 17},
     -EOVERFLOW,
     16,
     &shelf_schema,
     "sizes"},
    {{(const uint8_t *)"\x82\xa4legs\x90\xa5sizes\x92\x01\xa0", 16},
     -EPROTO,
     15,
     &shelf_schema,
     "sizes"},
    {{(const uint8_t *)"\x81\xa5sizes\x90", 8}, -ENOENT, 0, &shelf_schema, "legs"},
};

static void a_fault_tells_the_element_by_its_offset(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct weir_record_fault fault = {0, SIZE_MAX, NULL, NULL};
        struct shelf shelf;
        assert_int_equal(shelf_decode(faults[i].input, NULL, &shelf, &fault), faults[i].error);
        assert_int_equal(fault.error, faults[i].error);
        assert_int_equal(fault.offset, faults[i].offset);
        assert_ptr_equal(fault.record, faults[i].record);
        if (faults[i].field == NULL)
            assert_null(fault.field);
        else
            assert_string_equal(fault.field->name, faults[i].field);
    }
}

static void elements_of_arrays_count_in_the_budget(void **state)
{
    /* The map, two keys, the array, two legs, of them six and eight, an array with one; the other
     * array with two. */
    const uint64_t needed = 1 + 2 + 1 + 2 + 6 + 8 + 1 + 1 + 2;
    struct weir_record_fault fault;
    struct shelf shelf;

    (void)state;
    for (uint64_t elements = 1; elements <= needed; elements++) {
        const struct weir_limits limits = {.elements = elements};
        assert_int_equal(shelf_decode(VIEW(SHELF), &limits, &shelf, &fault),
                         elements == needed ? 0 : -ENOBUFS);
        if (elements < needed)
            assert_true(fault.offset < sizeof(SHELF) - 1);
    }
}

static void a_large_array_comes_back(void **state)
{
    static uint64_t numbers[70000];
    struct weir_view message;
    struct weir_record_iter at;
    struct basket basket, read;
    struct fixture f;
    uint64_t number;

    (void)state;
    begin(&f);
    for (size_t i = 0; i < 70000; i++)
        numbers[i] = (uint64_t)i << i % 60;
    basket_init(&basket);
    basket.side = side_buy;
    basket.u_64.items = numbers;
    basket.u_64.count = 70000;
    assert_int_equal(basket_encode(&basket, &f.buf, &message), 0);
    assert_int_equal(basket_decode(message, NULL, &read, NULL), 0);
    assert_int_equal(read.u_64.count, 70000);
    at = basket_each_u_64(&read);
    for (size_t i = 0; i < 70000; i++) {
        assert_true(basket_next_u_64(&at, &number));
        assert_true(number == numbers[i]);
    }
    assert_false(basket_next_u_64(&at, &number));
    assert_int_equal(basket_load(&read, &f.arena), 0);
    assert_memory_equal(read.u_64.items, numbers, sizeof(numbers));
    end(&f);
}

static void arrays_in_pieces_are_gathered_once(void **state)
{
    static uint8_t bytes[] = SHELF;
    const size_t size = sizeof(bytes) - 1;
    struct fixture f;

    (void)state;
    begin(&f);
    for (size_t cut = 0; cut <= size; cut++) {
        struct weir_slice slices[2] = {{weir_view_of(bytes, cut), NULL},
                                       {weir_view_of(bytes + cut, size - cut), NULL}};
        struct weir_unpack_pieces pieces;
        struct weir_unpacker u;
        struct shelf shelf;
        weir_unpack_init_slices(&u, &pieces, slices, 2, &f.arena, NULL);
        assert_int_equal(shelf_unpack(&u, &shelf, NULL), 0);
        assert_int_equal(weir_unpack_end(&u), 0);
        assert_true(pieces.bytes_copied <= shelf.legs.packed.size);
        assert_legs(shelf_each_legs(&shelf));
        weir_arena_reset(&f.arena);
    }
    end(&f);
}

static void an_unknown_value_is_missing_where_it_may_be_and_else_refused(void **state)
{
    struct weir_record_fault fault;
    struct weir_view message;
    struct basket basket;
    struct fixture f;

    (void)state;
    begin(&f);
    basket_init(&basket);
    basket.side = side_buy;
    basket.last = side_sell;
    basket.present = WEIR_RECORD_BIT(basket_field_last);
    assert_int_equal(basket_encode(&basket, &f.buf, &message), 0);
    uint8_t *last = (uint8_t *)memmem(message.data, message.size, "\xa4last\x02", 6) + 5;
    uint8_t *next = (uint8_t *)memmem(message.data, message.size, "\xa4next\x02", 6) + 5;
    uint8_t *side = (uint8_t *)memmem(message.data, message.size, "\xa1s\x01", 3) + 2;
    *last = 0x63;
    *next = 0xff;
    assert_int_equal(basket_decode(message, NULL, &basket, NULL), 0);
    assert_int_equal(basket.present & WEIR_RECORD_BIT(basket_field_last), 0);
    assert_int_equal(basket.present & WEIR_RECORD_BIT(basket_field_next), 0);
    assert_int_equal(basket.last, 0);
    assert_int_equal(basket.next, side_sell);
    *last = 0xc3; /* is no integer at all */
    assert_int_equal(basket_decode(message, NULL, &basket, &fault), -EPROTO);
    assert_string_equal(fault.field->name, "last");
    *last = 0x01;
    *side = 0x03;
    assert_int_equal(basket_decode(message, NULL, &basket, &fault), -EPROTO);
    assert_string_equal(fault.field->key, "s");
    assert_int_equal(fault.offset, side - message.data);
    end(&f);
}

static void an_enum_knows_its_names(void **state)
{
    enum side side = side_buy;

    (void)state;
    assert_string_equal(side_enum.name, "side");
    assert_int_equal(side_enum.count, 3);
    assert_string_equal(side_name(side_never), "never");
    assert_string_equal(side_name(2), "sell");
    assert_null(side_name(3));
    assert_null(side_name(INT64_MIN));
    assert_true(side_is_known(-1000));
    assert_false(side_is_known(0));
    assert_int_equal(side_find(VIEW("sell"), &side), 0);
    assert_int_equal(side, side_sell);
    assert_int_equal(side_find(VIEW("sel"), &side), -ENOENT);
    assert_int_equal(side, side_sell);
    assert_ptr_equal(basket_schema.fields[basket_field_side].values, &side_enum);
    assert_int_equal(basket_schema.fields[basket_field_side].type, WEIR_RECORD_ENUM);
    assert_ptr_equal(basket_schema.fields[basket_field_legs].element->nested, &leg_schema);
    assert_ptr_equal(basket_schema.fields[basket_field_sides].element->values, &side_enum);
    assert_string_equal(weir_record_type_name(WEIR_RECORD_ENUM), "enum");
    assert_string_equal(weir_record_type_name(WEIR_RECORD_ARRAY_OF), "array");
}

#define SIDE3_VALUES(V, E) V(E, up, 1) V(E, down, 2) V(E, other, -1000)
WEIR_ENUM(side3, SIDE3_VALUES);
#define SIDE4_VALUES(V, E) V(E, up, 1) V(E, down, 3) V(E, other, -1000)
WEIR_ENUM(side4, SIDE4_VALUES);
#define E1_FIELDS(F, R) F(R, enum(side), a)
WEIR_RECORD(e1, E1_FIELDS);
#define E3_FIELDS(F, R) F(R, enum(side3), a)
WEIR_RECORD(e3, E3_FIELDS);
#define E4_FIELDS(F, R) F(R, enum(side4), a)
WEIR_RECORD(e4, E4_FIELDS);
#define A1_FIELDS(F, R) F(R, array(u8), a)
WEIR_RECORD(a1, A1_FIELDS);
#define A2_FIELDS(F, R) F(R, array(u16), a)
WEIR_RECORD(a2, A2_FIELDS);
#define A3_FIELDS(F, R) F(R, array(enum(side)), a)
WEIR_RECORD(a3, A3_FIELDS);

static void a_fingerprint_tells_elements_and_numbers_but_not_names(void **state)
{
    const struct weir_record *const differ[] = {
        &e1_schema, &e4_schema, &a1_schema, &a2_schema, &a3_schema, &leg_schema, &shelf_schema};

    (void)state;
    assert_true(weir_record_fingerprint(&e1_schema) == weir_record_fingerprint(&e3_schema));
    for (size_t i = 0; i < sizeof(differ) / sizeof(differ[0]); i++)
        for (size_t k = 0; k < i; k++)
            assert_true(weir_record_fingerprint(differ[i]) != weir_record_fingerprint(differ[k]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_are_packed_from_items_from_a_source_and_from_bytes),
        cmocka_unit_test(what_is_no_array_or_no_value_is_not_packed),
        cmocka_unit_test(an_iterator_goes_over_an_array_wherever_it_lies),
        cmocka_unit_test(an_iterator_tells_what_is_wrong_with_what_the_program_made),
        cmocka_unit_test(arrays_are_loaded_into_an_arena_with_all_within),
        cmocka_unit_test(a_load_that_fails_leaves_record_and_arena),
        cmocka_unit_test(a_fault_tells_the_element_by_its_offset),
        cmocka_unit_test(elements_of_arrays_count_in_the_budget),
        cmocka_unit_test(a_large_array_comes_back),
        cmocka_unit_test(arrays_in_pieces_are_gathered_once),
        cmocka_unit_test(an_unknown_value_is_missing_where_it_may_be_and_else_refused),
        cmocka_unit_test(an_enum_knows_its_names),
        cmocka_unit_test(a_fingerprint_tells_elements_and_numbers_but_not_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
