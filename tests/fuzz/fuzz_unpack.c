/* SPDX-License-Identifier: MIT */
/*
 * fuzz_unpack: typed reads of any bytes keep their promises, and MessagePack-C agrees on every
 * value: whether it is one, how long it is, what is in it, and how it is written again.
 *
 * The first byte is a number of reads, as many bytes say which, and the rest is read.
 */
#include <errno.h>
#include <stdlib.h>

#include <msgpack.h>

#include <weir/pack.h>
#include <weir/unpack.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* MessagePack-C's own bound of nesting, MSGPACK_EMBED_STACK_SIZE. */
#define THEIR_DEPTH 32

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* --- typed reads ----------------------------------------------------------------------------- */

struct outputs {
    bool boolean;
    uint64_t u64;
    int64_t i64;
    uint32_t u32;
    int32_t i32;
    uint32_t count;
    struct weir_timestamp time;
    struct weir_view bytes;
    struct weir_value value;
    int8_t type;
    float f32;
    double f64;
};

static int read_one(struct weir_unpacker *u, uint8_t what, struct outputs *o)
{
    switch (what % 16) {
    case 0:
        return weir_unpack_nil(u);
    case 1:
        return weir_unpack_bool(u, &o->boolean);
    case 2:
        return weir_unpack_uint(u, &o->u64);
    case 3:
        return weir_unpack_int(u, &o->i64);
    case 4:
        return weir_unpack_u32(u, &o->u32);
    case 5:
        return weir_unpack_i32(u, &o->i32);
    case 6:
        return weir_unpack_f32(u, &o->f32);
    case 7:
        return weir_unpack_f64(u, &o->f64);
    case 8:
        return weir_unpack_str(u, &o->bytes);
    case 9:
        return weir_unpack_bin(u, &o->bytes);
    case 10:
        return weir_unpack_array(u, &o->count);
    case 11:
        return weir_unpack_map(u, &o->count);
    case 12:
        return weir_unpack_ext(u, &o->type, &o->bytes);
    case 13:
        return weir_unpack_timestamp(u, &o->time);
    case 14:
        return weir_unpack_raw(u, &o->bytes);
    default:
        return weir_unpack_next(u, &o->value);
    }
}

/* Integers of any width are what the widest readers say. */
static void check_integer(struct weir_unpacker before, const struct outputs *o, uint8_t what)
{
    uint64_t u64 = 0;
    int64_t i64 = 0;

    if (what % 16 == 4)
        require(weir_unpack_uint(&before, &u64) == 0 && u64 == o->u32);
    if (what % 16 == 5)
        require(weir_unpack_int(&before, &i64) == 0 && i64 == o->i32);
}

static void read_typed(struct weir_view ops, struct weir_view input)
{
    struct weir_unpacker u;
    struct outputs o, as_before;

    weir_unpack_init(&u, input, NULL);
    for (size_t i = 0; i < ops.size; i++) {
        memset(&o, 0, sizeof(o));
        as_before = o;
        struct weir_unpacker before = u;
        int rc = read_one(&u, ops.data[i], &o);
        require(rc == weir_unpack_error(&u));
        if (rc == 0) {
            require(weir_unpack_offset(&u) > weir_unpack_offset(&before));
            require(weir_unpack_offset(&u) <= input.size);
            check_integer(before, &o, ops.data[i]);
            continue;
        }
        require(memcmp(&o, &as_before, sizeof(o)) == 0);
        if (before.error != 0)
            require(rc == before.error && weir_unpack_offset(&u) == weir_unpack_offset(&before));
        else
            require(weir_unpack_offset(&u) >= weir_unpack_offset(&before));
    }
}

/* --- against MessagePack-C ------------------------------------------------------------------- */

/* Write the value at @u again, with all it contains. */
static void repack(struct weir_unpacker *u, struct weir_packer *p)
{
    struct weir_value v;
    uint64_t to_come = 1;

    for (; to_come != 0; to_come--) {
        require(weir_unpack_next(u, &v) == 0);
        switch (v.type) {
        case WEIR_TYPE_NIL:
            weir_pack_nil(p);
            break;
        case WEIR_TYPE_BOOL:
            weir_pack_bool(p, v.as.boolean);
            break;
        case WEIR_TYPE_UINT:
            weir_pack_uint(p, v.as.u64);
            break;
        case WEIR_TYPE_INT:
            weir_pack_int(p, v.as.i64);
            break;
        case WEIR_TYPE_F32:
            weir_pack_f32(p, v.as.f32);
            break;
        case WEIR_TYPE_F64:
            weir_pack_f64(p, v.as.f64);
            break;
        case WEIR_TYPE_STR:
            weir_pack_str(p, v.as.bytes);
            break;
        case WEIR_TYPE_BIN:
            weir_pack_bin(p, v.as.bytes);
            break;
        case WEIR_TYPE_EXT:
            weir_pack_ext(p, v.ext_type, v.as.bytes);
            break;
        case WEIR_TYPE_ARRAY:
            weir_pack_array(p, v.count);
            to_come += v.count;
            break;
        case WEIR_TYPE_MAP:
            weir_pack_map(p, v.count);
            to_come += 2 * (uint64_t)v.count;
            break;
        }
    }
}

/* Whether both write the value the same. A NaN may lose bits in MessagePack-C's widening. */
static void compare_packed(struct weir_view value, const msgpack_object *tree,
                           struct weir_pool *pool)
{
    struct weir_unpacker u;
    struct weir_packer p;
    struct weir_buf buf;
    struct weir_view ours;
    msgpack_sbuffer theirs;
    msgpack_packer packer;

    require(weir_buf_init(&buf, pool, &(struct weir_buf_options){.initial_bytes = 64}) == 0);
    weir_unpack_init(&u, value, NULL);
    weir_pack_begin(&p, &buf, 0);
    repack(&u, &p);
    require(weir_unpack_end(&u) == 0);
    require(weir_pack_end(&p, &ours) == 0);
    require(ours.size <= value.size);
    msgpack_sbuffer_init(&theirs);
    msgpack_packer_init(&packer, &theirs, msgpack_sbuffer_write);
    msgpack_pack_object(&packer, *tree);
    require(ours.size == theirs.size);
    for (size_t i = 0, float_end = 0; i < ours.size; i++) {
        if (ours.data[i] == WEIR_TAG_FLOAT32)
            float_end = i + 5;
        require(ours.data[i] == (uint8_t)theirs.data[i] || i < float_end);
    }
    msgpack_sbuffer_destroy(&theirs);
    weir_buf_fini(&buf);
}

/*
 * The one value at the front of @input, by both. Returns its size; 0: no value, or not comparable.
 * @wholly: no head in @input announces more than there are bytes, for which theirs maps memory.
 */
static size_t compare_value(struct weir_view input, struct weir_pool *pool)
{
    struct weir_unpacker u;
    struct weir_limits limits = {.depth = THEIR_DEPTH - 2};
    msgpack_unpacked unpacked;
    size_t theirs = 0;
    size_t size = 0;

    weir_unpack_init(&u, input, NULL);
    int rc = weir_unpack_skip(&u);
    size_t ours = weir_unpack_offset(&u);
    if (rc == -EAGAIN && ours < input.size &&
        weir_wire_tags[input.data[ours]].kind != WEIR_WIRE_SCALAR)
        return 0;
    bool deep = weir_check(input, &limits, NULL) == -ENOBUFS;
    msgpack_unpacked_init(&unpacked);
    msgpack_unpack_return got =
        msgpack_unpack_next(&unpacked, (const char *)input.data, input.size, &theirs);
    if (got == MSGPACK_UNPACK_SUCCESS) {
        require(rc == 0 && theirs == ours);
        compare_packed(weir_view_of(input.data, ours), &unpacked.data, pool);
        size = ours;
    } else {
        require(rc != 0 || (deep && got == MSGPACK_UNPACK_NOMEM_ERROR));
        require(rc != -EBADMSG || got == MSGPACK_UNPACK_PARSE_ERROR || deep);
        require(rc != -EAGAIN || got == MSGPACK_UNPACK_CONTINUE || deep);
    }
    msgpack_unpacked_destroy(&unpacked);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_pool *pool;
    size_t op_count, length;

    if (size == 0)
        return 0;
    op_count = data[0] < size ? data[0] : size - 1;
    struct weir_view ops = weir_view_of(data + 1, op_count);
    struct weir_view input = weir_view_of(data + 1 + op_count, size - 1 - op_count);
    read_typed(ops, input);
    require(weir_pool_create(NULL, &pool) == 0);
    while (input.size != 0 && (length = compare_value(input, pool)) != 0)
        input = weir_view_of(input.data + length, input.size - length);
    require(weir_pool_destroy(pool) == 0);
    return 0;
}
