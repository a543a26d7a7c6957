/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>
#include <string.h>

#include <weir/record_batch.h>

#include "../lib/batch_private.h"
#include "../lib/buf_private.h"
#include "records.h"

WEIR_RECORD_BATCH(tick);
WEIR_RECORD_BATCH(leg);

#define TICKS 100

struct fixture {
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_batch batch;
    struct weir_batch read;
};

static void begin(struct fixture *f, size_t limit)
{
    const struct weir_batch_options options = {.batch_items = 8, .growth = {.limit = limit}};

    f->pool = test_pool_create(NULL);
    assert_int_equal(weir_buf_init(&f->buf, f->pool, NULL), 0);
    assert_int_equal(
        weir_batch_init(&f->batch, f->pool, sizeof(struct tick), _Alignof(struct tick), NULL), 0);
    assert_int_equal(
        weir_batch_init(&f->read, f->pool, sizeof(struct tick), _Alignof(struct tick), &options),
        0);
}

static void end(struct fixture *f)
{
    assert_null(weir__buf_check(&f->buf));
    weir_batch_fini(&f->read);
    weir_batch_fini(&f->batch);
    weir_buf_fini(&f->buf);
    test_pool_destroy(f->pool);
}

static void add_ticks(struct weir_batch *batch, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct tick tick = {.id = (uint64_t)i << i % 64, .price = 0.5 * (double)i};
        tick.symbol = weir_view_of("a symbol that is longer than 31 bytes", i % 38);
        tick.qty = (uint32_t)i;
        tick.note = weir_view_text("odd");
        tick.present = i % 2 != 0 ? WEIR_RECORD_BIT(tick_field_note) : 0;
        assert_int_equal(weir_batch_append(batch, &tick), 0);
    }
}

static struct tick tick_at(const struct weir_batch *batch, size_t index)
{
    struct tick tick = {.present = 0};
    const void *at = weir_batch_get(batch, index);

    assert_non_null(at);
    if (at != NULL)
        memcpy(&tick, at, sizeof(tick));
    return tick;
}

static void a_batch_is_packed_as_its_records_one_by_one(void **state)
{
    struct fixture f;

    (void)state;
    for (size_t hint = 0; hint <= 65536; hint += 65536) { /* in no room, and in plenty */
        struct weir_packer packer;
        struct weir_view all, each;
        begin(&f, 0);
        add_ticks(&f.batch, TICKS);
        weir_pack_begin(&packer, &f.buf, hint);
        tick_pack_batch(&packer, &f.batch);
        assert_int_equal(weir_pack_end_values(&packer, TICKS, &all), 0);
        weir_pack_begin(&packer, &f.buf, hint);
        for (size_t i = 0; i < TICKS; i++) {
            struct tick tick = tick_at(&f.batch, i);
            tick_pack(&packer, &tick);
        }
        assert_int_equal(weir_pack_end(&packer, &each), 0);
        assert_true(weir_view_equal(all, each));
        assert_int_equal(tick_encode_batch(&f.batch, &f.buf, &each), 0);
        assert_true(weir_view_equal(all, each));
        end(&f);
    }
}

static void a_batch_comes_back(void **state)
{
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f, 0);
    add_ticks(&f.batch, TICKS);
    assert_int_equal(tick_encode_batch(&f.batch, &f.buf, &message), 0);
    assert_int_equal(tick_decode_batch(message, NULL, &f.read, NULL), 0);
    assert_int_equal(weir_batch_count(&f.read), TICKS);
    for (size_t i = 0; i < TICKS; i++) {
        struct tick tick = tick_at(&f.read, i);
        assert_true(tick.id == tick_at(&f.batch, i).id);
        assert_int_equal(tick.qty, i);
        assert_int_equal(tick.symbol.size, i % 38);
        assert_int_equal(tick.note.size, i % 2 != 0 ? 3 : 0);
        assert_int_equal(tick.present, i % 2 != 0 ? 31 : 15);
    }
    /* More of them, behind those that are there. */
    assert_int_equal(tick_decode_batch(message, NULL, &f.read, NULL), 0);
    assert_int_equal(weir_batch_count(&f.read), 2 * TICKS);
    assert_int_equal(tick_at(&f.read, 2 * TICKS - 1).qty, TICKS - 1);
    end(&f);
}

static void no_records_are_no_bytes(void **state)
{
    struct weir_view message = {NULL, 1};
    struct fixture f;

    (void)state;
    begin(&f, 0);
    assert_int_equal(tick_encode_batch(&f.batch, &f.buf, &message), 0);
    assert_int_equal(message.size, 0);
    assert_int_equal(tick_decode_batch(message, NULL, &f.read, NULL), 0);
    assert_int_equal(weir_batch_count(&f.read), 0);
    end(&f);
}

static void as_many_records_are_read_as_were_asked_for(void **state)
{
    struct weir_unpacker u;
    struct weir_view message;
    struct fixture f;

    (void)state;
    begin(&f, 0);
    add_ticks(&f.batch, TICKS);
    assert_int_equal(tick_encode_batch(&f.batch, &f.buf, &message), 0);
    weir_unpack_init(&u, message, NULL);
    assert_int_equal(tick_unpack_batch(&u, 13, &f.read, NULL), 0);
    assert_int_equal(weir_batch_count(&f.read), 13);
    assert_int_equal(tick_unpack_batch(&u, 0, &f.read, NULL), 0);
    assert_int_equal(tick_unpack_batch(&u, 80, &f.read, NULL), 0);
    assert_int_equal(tick_unpack_batch(&u, 80, &f.read, NULL), 0);
    assert_int_equal(weir_batch_count(&f.read), TICKS);
    assert_int_equal(tick_at(&f.read, TICKS - 1).qty, TICKS - 1);
    assert_int_equal(weir_unpack_end(&u), 0);
    end(&f);
}

static void every_truncation_adds_all_records_or_none(void **state)
{
    struct weir_view message;
    struct fixture f;
    size_t whole = 0;

    (void)state;
    begin(&f, 0);
    add_ticks(&f.batch, 20);
    assert_int_equal(tick_encode_batch(&f.batch, &f.buf, &message), 0);
    for (size_t size = 0; size < message.size; size++) {
        struct weir_view cut = weir_view_of(message.data, size);
        struct weir_record_fault fault;
        int rc = tick_decode_batch(cut, NULL, &f.read, &fault);
        if (rc == 0) {
            assert_int_equal(weir_batch_count(&f.read), whole++);
            weir_batch_reset(&f.read);
            continue;
        }
        assert_int_equal(rc, -EAGAIN);
        assert_int_equal(fault.error, rc);
        assert_ptr_equal(fault.record, &tick_schema);
        assert_true(fault.offset <= size);
        assert_int_equal(weir_batch_count(&f.read), 0);
    }
    assert_int_equal(whole, 20);
    end(&f);
}

static void a_batch_that_is_full_is_an_error_where_the_records_end_that_fit(void **state)
{
    struct weir_record_fault fault;
    struct weir_unpacker u;
    struct weir_view message, eleven;
    struct fixture f;

    (void)state;
    begin(&f, 11);
    add_ticks(&f.batch, 11);
    assert_int_equal(tick_encode_batch(&f.batch, &f.buf, &eleven), 0);
    assert_int_equal(tick_decode_batch(eleven, NULL, &f.read, NULL), 0);
    assert_int_equal(weir_batch_count(&f.read), 11);
    weir_batch_reset(&f.read);
    weir_batch_reset(&f.batch);
    add_ticks(&f.batch, 12);
    assert_int_equal(tick_encode_batch(&f.batch, &f.buf, &message), 0);
    weir_unpack_init(&u, message, NULL);
    assert_int_equal(tick_unpack_batch(&u, SIZE_MAX, &f.read, &fault), -ENOBUFS);
    assert_int_equal(fault.offset, eleven.size);
    assert_ptr_equal(fault.record, &tick_schema);
    assert_null(fault.field);
    assert_int_equal(weir_batch_count(&f.read), 0);
    assert_int_equal(tick_unpack_batch(&u, SIZE_MAX, &f.read, &fault), -ENOBUFS);
    end(&f);
}

static void what_one_record_cannot_be_packed_for_is_the_whole_batch_s_error(void **state)
{
    struct leg legs[3];
    struct weir_batch batch;
    struct fixture f;

    (void)state;
    begin(&f, 0);
    assert_int_equal(
        weir_batch_init(&batch, f.pool, sizeof(struct leg), _Alignof(struct leg), NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        leg_init(&legs[i]);
        legs[i].side = i == 1 ? (enum side)7 : side_sell;
        assert_int_equal(weir_batch_append(&batch, &legs[i]), 0);
    }
    assert_int_equal(leg_encode_batch(&batch, &f.buf, NULL), -EINVAL);
    assert_int_equal(weir_buf_size(&f.buf), 0);
    weir_batch_fini(&batch);
    end(&f);
}

static void every_failing_allocation_leaves_the_batch(void **state)
{
    uint8_t bytes[8192];
    struct weir_view message;
    struct test_source source;
    struct fixture f;

    (void)state;
    begin(&f, 0);
    add_ticks(&f.batch, TICKS);
    assert_int_equal(tick_encode_batch(&f.batch, &f.buf, &message), 0);
    assert_true(message.size <= sizeof(bytes));
    memcpy(bytes, message.data, message.size);
    message.data = bytes;
    end(&f);
    for (uint64_t n = 1;; n++) {
        const struct weir_batch_options options = {.batch_items = 1024};
        struct weir_batch batch;
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        assert_int_equal(
            weir_batch_init(&batch, pool, sizeof(struct tick), _Alignof(struct tick), &options), 0);
        test_source_fail(&source, n);
        int rc = tick_decode_batch(message, NULL, &batch, NULL);
        assert_int_equal(rc, source.failures != 0 ? -ENOMEM : 0);
        assert_int_equal(weir_batch_count(&batch), rc == 0 ? TICKS : 0);
        weir_batch_fini(&batch);
        test_pool_destroy(pool);
        test_source_fini(&source);
        if (source.failures == 0)
            break;
    }
}

static void a_column_is_one_field_of_all_records(void **state)
{
    uint64_t ids[TICKS];
    double prices[TICKS];
    uint32_t qtys[TICKS + 1];
    struct weir_view symbols[TICKS];
    struct fixture f;

    (void)state;
    begin(&f, 0);
    add_ticks(&f.read, TICKS); /* in batches of eight */
    assert_int_equal(WEIR_RECORD_COLUMN(tick, id, &f.read, 0, ids, TICKS), TICKS);
    assert_int_equal(WEIR_RECORD_COLUMN(tick, price, &f.read, 0, prices, TICKS), TICKS);
    assert_int_equal(WEIR_RECORD_COLUMN(tick, symbol, &f.read, 0, symbols, TICKS), TICKS);
    for (size_t i = 0; i < TICKS; i++) {
        assert_true(ids[i] == (uint64_t)i << i % 64);
        assert_true(prices[i] == 0.5 * (double)i);
        assert_int_equal(symbols[i].size, i % 38);
    }
    memset(qtys, 0xff, sizeof(qtys));
    assert_int_equal(WEIR_RECORD_COLUMN(tick, qty, &f.read, 5, qtys, 10), 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(qtys[i], 5 + i);
    assert_int_equal(qtys[10], UINT32_MAX);
    assert_int_equal(WEIR_RECORD_COLUMN(tick, qty, &f.read, 97, qtys, TICKS), 3);
    assert_int_equal(qtys[2], 99);
    assert_int_equal(qtys[3], 8);
    assert_int_equal(WEIR_RECORD_COLUMN(tick, qty, &f.read, TICKS, qtys, TICKS), 0);
    assert_int_equal(WEIR_RECORD_COLUMN(tick, qty, &f.read, 0, qtys, 0), 0);
    end(&f);
}

static void columns_of_every_size_are_gathered(void **state)
{
    struct weir_batch batch;
    bool truths[20];
    uint16_t u_16[20];
    char codes[20][6];
    struct fixture f;

    (void)state;
    begin(&f, 0);
    assert_int_equal(
        weir_batch_init(&batch, f.pool, sizeof(struct all), _Alignof(struct all), NULL), 0);
    for (unsigned i = 0; i < 20; i++) {
        struct all all;
        all_init(&all);
        all.truth = i % 3 == 0;
        all.u_16 = (uint16_t)(1000 * i);
        memset(all.code, 'a' + (int)i, sizeof(all.code));
        assert_int_equal(weir_batch_append(&batch, &all), 0);
    }
    assert_int_equal(WEIR_RECORD_COLUMN(all, truth, &batch, 0, truths, 20), 20);
    assert_int_equal(WEIR_RECORD_COLUMN(all, u_16, &batch, 0, u_16, 20), 20);
    assert_int_equal(WEIR_RECORD_COLUMN(all, code, &batch, 0, codes, 20), 20);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(truths[i], i % 3 == 0);
        assert_int_equal(u_16[i], 1000 * i);
        assert_int_equal(codes[i][5], 'a' + (int)i);
    }
    weir_batch_fini(&batch);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_packed_as_its_records_one_by_one),
        cmocka_unit_test(a_batch_comes_back),
        cmocka_unit_test(no_records_are_no_bytes),
        cmocka_unit_test(as_many_records_are_read_as_were_asked_for),
        cmocka_unit_test(every_truncation_adds_all_records_or_none),
        cmocka_unit_test(a_batch_that_is_full_is_an_error_where_the_records_end_that_fit),
        cmocka_unit_test(what_one_record_cannot_be_packed_for_is_the_whole_batch_s_error),
        cmocka_unit_test(every_failing_allocation_leaves_the_batch),
        cmocka_unit_test(a_column_is_one_field_of_all_records),
        cmocka_unit_test(columns_of_every_size_are_gathered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
