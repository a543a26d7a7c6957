/* SPDX-License-Identifier: MIT */
/* Lines of standard input as frames with a length before them: written, cut anywhere, read. */
#include <stdio.h>
#include <string.h>

#include <weir.h>

/* One line behind its length, which is known only when the line is packed. */
static int write_frame(struct weir_buf *out, const char *line)
{
    struct weir_packer p;
    uint8_t *at;
    weir_pack_begin(&p, out, 0); // leaves the headroom free
    weir_pack_text(&p, line);
    size_t body = weir_pack_offset(&p);
    if (weir_buf_prepend(out, 4, &at) == 0) // the body stays where it is
        weir_wire_store32(at, (uint32_t)body);
    return weir_pack_end(&p, NULL);
}

/* What a network does: the bytes come in blocks of 16, wherever that cuts them. */
static int receive(const struct weir_chain *sent, struct weir_pool *pool, struct weir_chain *input)
{
    for (size_t done = 0; done < sent->size_bytes; done += 16) {
        struct weir_block *block;
        size_t size = sent->size_bytes - done < 16 ? sent->size_bytes - done : 16;
        int rc = weir_pool_alloc(pool, size, &block);
        if (rc != 0)
            return rc;
        weir_chain_copy(sent, done, block->data, size);
        struct weir_slice slice = weir_slice_adopt(weir_view_of(block->data, size), block);
        rc = weir_chain_append(input, &slice);
        weir_slice_drop(&slice); // the chain holds it
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Read frame by frame, across all joints. A body that lies in one block is read where it lies. */
static int read_frames(const struct weir_chain *input)
{
    struct weir_chain_reader reader;
    weir_chain_reader_init(&reader, input);
    while (weir_chain_reader_remaining(&reader) != 0) {
        uint8_t prefix[4], scratch[80];
        struct weir_view body, line;
        struct weir_unpacker u;
        if (weir_chain_reader_read(&reader, prefix, sizeof prefix) != 0 ||
            weir_wire_load32(prefix) > sizeof scratch ||
            weir_chain_reader_take(&reader, weir_wire_load32(prefix), scratch, &body) != 0)
            return -EBADMSG;
        weir_unpack_init(&u, body, NULL);
        weir_unpack_str(&u, &line);
        int rc = weir_unpack_end(&u);
        if (rc != 0)
            return rc;
        printf("%.*s (%s)\n", (int)line.size, (const char *)line.data,
               body.data == scratch ? "gathered" : "in place");
    }
    return 0;
}

int main(void)
{
    const struct weir_buf_options options = {.headroom_bytes = 4, .message_limit_bytes = 80};
    struct weir_pool *pool;
    struct weir_buf out;
    struct weir_chain sent, input;
    char line[200];
    if (weir_pool_create(NULL, &pool) != 0 || weir_buf_init(&out, pool, &options) != 0)
        return 1;
    weir_chain_init(&sent, pool);
    weir_chain_init(&input, pool);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = 0;
        int rc = write_frame(&out, line);
        if (rc != 0) // and the buffer is as if it had never been begun
            printf("%.10s...: %s\n", line, weir_error_name(rc));
    }
    /* The bytes leave the buffer without a copy, which is then done with. */
    int rc = weir_buf_split(&out, weir_buf_size(&out), &sent);
    weir_buf_fini(&out);
    printf("%zu bytes in %u slice(s)\n", sent.size_bytes, sent.count);
    if (rc == 0)
        rc = receive(&sent, pool, &input);
    if (rc == 0)
        rc = read_frames(&input);
    weir_chain_fini(&input);
    weir_chain_fini(&sent);
    return weir_pool_destroy(pool) != 0 || rc != 0;
}
