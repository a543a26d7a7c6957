/* SPDX-License-Identifier: MIT */
/*
 * A record with an array of records and an enum: packed, read without allocating, and read into an
 * arena. With a file name the schema goes there, for `weir cat --schema FILE`.
 */
#include <stdio.h>

#include <weir.h>

#define POSITION_FIELDS(F, R) \
    F(R, str, symbol)         \
    F(R, u32, quantity)       \
    F(R, f64, price)
WEIR_RECORD(position, POSITION_FIELDS);

#define STATE_VALUES(V, E) \
    V(E, open, 1)          \
    V(E, closed, 2)
WEIR_ENUM(state, STATE_VALUES);

#define PORTFOLIO_FIELDS(F, R)               \
    F(R, u64, account)                       \
    F(R, enum(state), state)                 \
    F(R, array(record(position)), positions) \
    F(R, array(u32), tags, optional)
WEIR_RECORD(portfolio, PORTFOLIO_FIELDS);

static int write_schema(struct weir_buf *buf, const char *path)
{
    struct weir_packer p;
    struct weir_view schema;
    weir_pack_begin(&p, buf, 0);
    weir_record_schema_pack(&p, &portfolio_schema);
    int rc = weir_pack_end(&p, &schema);
    FILE *file = rc == 0 ? fopen(path, "wb") : NULL;
    if (file == NULL)
        return -1;
    size_t written = fwrite(schema.data, 1, schema.size, file);
    return fclose(file) == 0 && written == schema.size ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct position positions[] = {{.quantity = 100, .price = 2.5}, {.quantity = 7, .price = 99}};
    struct portfolio portfolio = {.account = 42, .state = state_open}, read;
    struct position position;
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_arena arena;
    struct weir_view message;
    double value = 0;
    if (weir_pool_create(NULL, &pool) != 0 || weir_buf_init(&buf, pool, NULL) != 0)
        return 1;
    weir_arena_init(&arena, pool, NULL);
    positions[0].symbol = weir_view_text("WEIR");
    positions[1].symbol = weir_view_text("POOL");
    portfolio.positions.items = positions;
    portfolio.positions.count = 2;
    if (portfolio_encode(&portfolio, &buf, &message) != 0 ||
        portfolio_decode(message, NULL, &read, NULL) != 0)
        return 1;
    struct weir_record_iter at = portfolio_each_positions(&read);
    while (portfolio_next_positions(&at, &position)) // elements lie in message, and are well
        value += position.quantity * position.price;
    printf("account %llu, %s: %zu positions in %zu bytes, worth %.2f\n",
           (unsigned long long)read.account, state_name(read.state), read.positions.count,
           message.size, value);
    if (portfolio_load(&read, &arena) != 0) // all at once: an array of structs
        return 1;
    printf("the last is %.*s\n", (int)read.positions.items[1].symbol.size,
           (const char *)read.positions.items[1].symbol.data);
    int rc = argc > 1 ? write_schema(&buf, argv[1]) : 0;
    weir_arena_fini(&arena);
    weir_buf_fini(&buf);
    return rc != 0 || weir_pool_destroy(pool) != 0;
}
