/* SPDX-License-Identifier: MIT */
/* Pack a record into a pooled buffer, look at its bytes, read it where it lies. */
#include <stdio.h>

#include <weir.h>

int main(void)
{
    struct weir_pool *pool;
    struct weir_buf buf;
    struct weir_packer p;
    struct weir_unpacker u;
    struct weir_view message, key, name;
    uint32_t pairs;
    uint64_t id;

    if (weir_pool_create(NULL, &pool) != 0 || weir_buf_init(&buf, pool, NULL) != 0)
        return 1;
    weir_pack_begin(&p, &buf, 0);
    weir_pack_map(&p, 2);
    weir_pack_text(&p, "id");
    weir_pack_uint(&p, 42);
    weir_pack_text(&p, "name");
    weir_pack_text(&p, "weir");
    if (weir_pack_end(&p, &message) != 0) // the first error of all of the above
        return 1;
    printf("%zu bytes\n", message.size);

    weir_unpack_init(&u, message, NULL);
    weir_unpack_map(&u, &pairs);
    weir_unpack_str(&u, &key);
    weir_unpack_uint(&u, &id);
    weir_unpack_str(&u, &key);
    weir_unpack_str(&u, &name); // borrows from message: nothing is copied
    if (weir_unpack_end(&u) != 0)
        return 1;
    printf("id %llu, name %.*s\n", (unsigned long long)id, (int)name.size, (const char *)name.data);
    weir_buf_fini(&buf);
    return weir_pool_destroy(pool) != 0; // -EBUSY: somebody still holds a block
}
