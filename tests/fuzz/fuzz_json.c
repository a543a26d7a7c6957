/* SPDX-License-Identifier: MIT */
/*
 * A MessagePack value that weir_check() accepts goes to JSON and back. What comes back must be the
 * value's bytes with every head in its shortest form, which are made here by walking over it; and
 * the JSON must be one line. The same input taken as JSON must be read or refused.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <weir/buf.h>
#include <weir/pack.h>
#include <weir/unpack.h>

#include "../../tools/json_read.h"
#include "../../tools/json_write.h"
#include "../../tools/rfc3339.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct weir_pool *pool; /* kept from run to run, empty in between */
static struct json_reader reader;
static struct json_writer writer;

static void must(int condition)
{
    if (!condition)
        abort();
}

static void pack_ext(struct weir_packer *packer, const struct weir_value *value)
{
    struct weir_timestamp time;
    char text[RFC3339_TEXT_BYTES];

    if (value->ext_type == WEIR_EXT_TIMESTAMP &&
        weir_timestamp_decode(value->as.bytes, &time) == 0 && rfc3339_text(time, text) != 0)
        weir_pack_timestamp(packer, time.seconds, time.nanoseconds);
    else
        weir_pack_ext(packer, value->ext_type, value->as.bytes);
}

static void pack_value(struct weir_packer *packer, const struct weir_value *value)
{
    switch (value->type) {
    case WEIR_TYPE_NIL:
        weir_pack_nil(packer);
        break;
    case WEIR_TYPE_BOOL:
        weir_pack_bool(packer, value->as.boolean);
        break;
    case WEIR_TYPE_UINT:
        weir_pack_uint(packer, value->as.u64);
        break;
    case WEIR_TYPE_INT:
        weir_pack_int(packer, value->as.i64);
        break;
    case WEIR_TYPE_F32:
        weir_pack_f32(packer, value->as.f32);
        break;
    case WEIR_TYPE_F64:
        weir_pack_f64(packer, value->as.f64);
        break;
    case WEIR_TYPE_STR:
        weir_pack_str(packer, value->as.bytes);
        break;
    case WEIR_TYPE_BIN:
        weir_pack_bin(packer, value->as.bytes);
        break;
    case WEIR_TYPE_ARRAY:
        weir_pack_array(packer, value->count);
        break;
    case WEIR_TYPE_MAP:
        weir_pack_map(packer, value->count);
        break;
    case WEIR_TYPE_EXT:
        pack_ext(packer, value);
        break;
    }
}

/* The value's bytes in their shortest form, in @buf. */
static struct weir_view shortest(struct weir_buf *buf, struct weir_view value)
{
    struct weir_packer packer;
    struct weir_unpacker cursor;
    struct weir_value head;
    struct weir_view bytes;

    weir_pack_begin(&packer, buf, value.size);
    weir_unpack_init(&cursor, value, NULL);
    while (!weir_unpack_done(&cursor)) {
        must(weir_unpack_next(&cursor, &head) == 0);
        pack_value(&packer, &head);
    }
    must(weir_pack_end(&packer, &bytes) == 0);
    return bytes;
}

/* One contiguous message of all that @from holds. */
static struct weir_view joined(struct weir_buf *to, const struct weir_buf *from)
{
    size_t size = weir_buf_size(from);
    struct weir_view bytes;

    must(weir_buf_begin(to, size) == 0);
    for (size_t done = 0; done < size;) {
        struct iovec iov;
        must(weir_buf_iovecs(from, done, &iov, NULL, 1) == 1);
        must(weir_buf_append(to, weir_view_of(iov.iov_base, iov.iov_len)) == 0);
        done += iov.iov_len;
    }
    weir_buf_end(to, &bytes);
    return bytes;
}

/* Read @text in two pieces. Returns what json_reader_end() says at last. */
static int read_json(struct weir_view text, size_t cut, struct weir_buf *out)
{
    struct weir_view pieces[2] = {weir_view_of(text.data, cut),
                                  weir_view_of(text.data + cut, text.size - cut)};

    must(json_reader_init(&reader, pool, NULL) == 0);
    int rc = 0;
    for (unsigned i = 0; i < 2 && (rc == 0 || rc == -EAGAIN); i++) {
        do {
            rc = json_reader_next(&reader, &pieces[i], out);
        } while (rc == 0);
    }
    if (rc == -EAGAIN) {
        do {
            rc = json_reader_end(&reader, out);
        } while (rc == 0);
    }
    must(rc == -EAGAIN || (reader.fault.error == rc && reader.fault.reason[0] != '\0' &&
                           reader.fault.offset <= text.size));
    json_reader_fini(&reader);
    return rc;
}

static void round_trip(struct weir_view value)
{
    struct weir_buf wanted, text, line, got, flat;

    must(weir_buf_init(&wanted, pool, NULL) == 0 && weir_buf_init(&text, pool, NULL) == 0 &&
         weir_buf_init(&line, pool, NULL) == 0 && weir_buf_init(&got, pool, NULL) == 0 &&
         weir_buf_init(&flat, pool, NULL) == 0);
    json_writer_init(&writer, pool);
    must(json_writer_start(&writer, value) == 0);
    int rc;
    do {
        rc = json_writer_step(&writer, &text);
    } while (rc > 0);
    must(rc == 0);
    json_writer_fini(&writer);
    struct weir_view json = joined(&line, &text);
    must(memchr(json.data, '\n', json.size) == NULL);
    must(read_json(json, json.size / 3, &got) == -EAGAIN);
    must(weir_view_equal(joined(&flat, &got), shortest(&wanted, value)));
    weir_buf_fini(&wanted);
    weir_buf_fini(&text);
    weir_buf_fini(&line);
    weir_buf_fini(&got);
    weir_buf_fini(&flat);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_view input = weir_view_of(data, size);
    struct weir_view whole = input;
    struct weir_pool_stats stats;
    struct weir_buf out;

    if (pool == NULL)
        must(weir_pool_create(NULL, &pool) == 0);
    while (input.size != 0) {
        struct weir_unpacker cursor;
        struct weir_view value;
        weir_unpack_init(&cursor, input, NULL);
        if (weir_unpack_raw(&cursor, &value) != 0 || weir_check(value, NULL, NULL) != 0)
            break;
        round_trip(value);
        input = weir_view_of(input.data + value.size, input.size - value.size);
    }
    must(weir_buf_init(&out, pool, NULL) == 0);
    read_json(whole, size / 2, &out);
    weir_buf_fini(&out);
    weir_pool_stats(pool, &stats);
    must(stats.total.blocks_in_use == 0);
    return 0;
}
