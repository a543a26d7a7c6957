/* SPDX-License-Identifier: MIT */
/*
 * tree: code written for MessagePack-C's trees reads one made by weir, and frees nothing.
 *
 * Prints two orders with their totals.
 */
#include <stdio.h>

#include <msgpack.h>
#include <weir.h>

/* As it was before: it knows of msgpack_object and of nothing else. */
static double total_of(const msgpack_object_array *items)
{
    double total = 0;
    for (uint32_t i = 0; i < items->size; i++) {
        const msgpack_object *item = &items->ptr[i];
        if (item->type == MSGPACK_OBJECT_ARRAY && item->via.array.size == 2 &&
            item->via.array.ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
            item->via.array.ptr[1].type == MSGPACK_OBJECT_FLOAT64)
            total += (double)item->via.array.ptr[0].via.u64 * item->via.array.ptr[1].via.f64;
    }
    return total;
}

static void report(const msgpack_object *order)
{
    const msgpack_object *items = weir_object_find(order, weir_view_text("items"));

    msgpack_object_print(stdout, *order);
    printf("\n  total %.2f\n",
           items != NULL && items->type == MSGPACK_OBJECT_ARRAY ? total_of(&items->via.array) : 0);
}

static int pack_orders(struct weir_buf *buf, struct weir_view *ret)
{
    struct weir_packer p;

    weir_pack_begin(&p, buf, 0);
    for (unsigned id = 1; id <= 2; id++) {
        weir_pack_map(&p, 2);
        weir_pack_text(&p, "id");
        weir_pack_uint(&p, id);
        weir_pack_text(&p, "items");
        weir_pack_array(&p, id);
        for (unsigned i = 0; i < id; i++) {
            weir_pack_array(&p, 2);
            weir_pack_uint(&p, 3 + i);
            weir_pack_f64(&p, 2.25);
        }
    }
    return weir_pack_end(&p, ret);
}

int main(void)
{
    struct weir_limits limits = {.elements = 100000};
    struct weir_pool *pool;
    struct weir_arena arena;
    struct weir_buf buf;
    struct weir_view orders;
    struct weir_unpacker u;
    msgpack_object order;

    if (weir_pool_default(&pool) != 0 || weir_buf_init(&buf, pool, NULL) != 0 ||
        pack_orders(&buf, &orders) != 0)
        return 1;
    weir_arena_init(&arena, pool, &(struct weir_arena_options){.limit_bytes = 1 << 20});
    weir_unpack_init(&u, orders, &limits);
    while (!weir_unpack_done(&u) && weir_object_unpack(&u, &arena, 32, &order) == 0) {
        report(&order);
        weir_arena_reset(&arena); /* the tree is gone, its memory is kept for the next one */
    }
    if (weir_unpack_error(&u) != 0)
        fprintf(stderr, "tree: offset %zu: %s\n", weir_unpack_offset(&u),
                weir_error_text(weir_unpack_error(&u)));
    weir_arena_fini(&arena);
    weir_buf_fini(&buf);
    return weir_unpack_error(&u) != 0;
}
