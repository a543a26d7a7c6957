/* SPDX-License-Identifier: MIT */
/* Quotes described once, packed into a buffer, and read where they lie, also by a newer reader. */
#include <stdio.h>

#include <weir.h>

#define QUOTE_FIELDS(F, R)      \
    F(R, u64, id)               \
    F(R, str, symbol)           \
    F(R, f64, price, key("px")) \
    F(R, u32, qty)              \
    F(R, bool, is_buy, key("buy"))
WEIR_RECORD(quote, QUOTE_FIELDS);

/* A year later: fields in another order, one wider, one gone, and two that old writers lack. */
#define QUOTE2_FIELDS(F, R)           \
    F(R, str, symbol)                 \
    F(R, str, venue, default("XNYS")) \
    F(R, f64, price, key("px"))       \
    F(R, i64, qty)                    \
    F(R, timestamp, time, optional)   \
    F(R, u64, id)
WEIR_RECORD(quote2, QUOTE2_FIELDS);

/* Read every quote of @input; strings lie in it. */
static int read_quotes(struct weir_view input)
{
    struct weir_unpacker u;
    struct weir_record_fault fault;
    struct quote2 quote;
    weir_unpack_init(&u, input, NULL);
    while (!weir_unpack_done(&u)) {
        int rc = quote2_unpack(&u, &quote, &fault);
        if (rc != 0) {
            printf("byte %zu, %s: %s\n", fault.offset, fault.field ? fault.field->name : "quote",
                   weir_error_name(rc));
            return rc;
        }
        printf("%.*s at %.*s: %lld for %.2f\n", (int)quote.symbol.size,
               (const char *)quote.symbol.data, (int)quote.venue.size,
               (const char *)quote.venue.data, (long long)quote.qty, quote.price);
    }
    return 0;
}

int main(void)
{
    static const char *const symbols[] = {"WEIR", "POOL", "RING"};
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_packer p;
    struct weir_view message;
    if (weir_pool_create(NULL, &pool) != 0 || weir_buf_init(&buf, pool, NULL) != 0)
        return 1;
    weir_pack_begin(&p, &buf, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct quote quote = {.id = i, .price = 99.5 + i, .qty = 100 * i, .is_buy = true};
        quote.symbol = weir_view_text(symbols[i]);
        quote_pack(&p, &quote); // errors wait for weir_pack_end()
    }
    if (weir_pack_end(&p, &message) != 0)
        return 1;
    printf("%zu bytes\n", message.size);
    int rc = read_quotes(message);
    read_quotes(weir_view_of("\x81\xa2px\xc3", 5)); // a bool is no price
    weir_buf_fini(&buf);
    return rc != 0 || weir_pool_destroy(pool) != 0;
}
