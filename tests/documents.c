/* SPDX-License-Identifier: MIT */
#include "documents.h"

#include <string.h>

#define DOCUMENT(bytes)                             \
    {                                               \
        (const uint8_t *)(bytes), sizeof(bytes) - 1 \
    }
#define S16 "0123456789abcdef"
#define S256 S16 S16 S16 S16 S16 S16 S16 S16 S16 S16 S16 S16 S16 S16 S16 S16

const struct weir_view documents[] = {
    DOCUMENT("\xc0"),
    DOCUMENT("\xc2\xc3"),
    /* integers in each of their forms */
    DOCUMENT("\x00\x7f\xcc\x80\xcd\x01\x00\xce\x00\x01\x00\x00"
             "\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
    DOCUMENT("\xff\xe0\xd0\x80\xd1\x80\x00\xd2\x80\x00\x00\x00"
             "\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
    /* integers in wider forms than they need */
    DOCUMENT("\xcc\x01\xcd\x00\x01\xd0\x01\xd1\x00\x01\xd2\x00\x00\x00\x01\xd1\xff\xff"),
    DOCUMENT("\xca\x3f\x80\x00\x00\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    DOCUMENT("\xa0\xa3"
             "abc"
             "\xbf" S16 "0123456789abcde"),
    DOCUMENT("\xd9\x20" S16 S16 "\xda\x01\x00" S256 "\xdb\x00\x00\x00\x01x"),
    DOCUMENT("\xc4\x00\xc4\x03"
             "abc"
             "\xc5\x01\x00" S256 "\xc6\x00\x00\x00\x02yz"),
    DOCUMENT("\xd4\x01"
             "a"
             "\xd5\x02"
             "ab"
             "\xd6\x03"
             "abcd"
             "\xd7\x04"
             "abcdefgh"
             "\xd8\x05" S16),
    DOCUMENT("\xc7\x00\x06\xc7\x03\x07"
             "abc"
             "\xc8\x01\x00\x08" S256 "\xc9\x00\x00\x00\x01\x80x"),
    DOCUMENT("\xd6\xff\x00\x00\x00\x01"
             "\xc7\x0c\xff\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff"),
    DOCUMENT("\x90\x80\x93\x01\x02\x03\x82\xa1"
             "a"
             "\x01\xa1"
             "b"
             "\x02"),
    DOCUMENT("\xdc\x00\x02\x01\x02\xdd\x00\x00\x00\x01\xc0"
             "\xde\x00\x01\x01\x02\xdf\x00\x00\x00\x01\x03\x04"),
    DOCUMENT("\x91\x91\x91\x91\x91\x90\x81\x81\x01\x02\x81\x90\x80"),
    DOCUMENT("\x83\xa2"
             "id"
             "\x2a\xa4"
             "name"
             "\xa4"
             "weir"
             "\xa4"
             "list"
             "\x94\x01\xcd\x01\x00\xc4\x02\x00\x01\xd6\x07"
             "abcd"),
    DOCUMENT("\x92\x92\x01\x92\x02\x92\x03\x80\x82\x01\x92\xc0\xc2\x02\x81\x03\xcb"
             "\x40\x09\x21\xfb\x54\x44\x2d\x18"),
};
const size_t documents_count = sizeof(documents) / sizeof(documents[0]);

uint64_t random_integer(struct test_random *random)
{
    uint64_t bits = test_random(random);
    return bits >> (test_random(random) & 63);
}

static void random_bytes(msgpack_packer *packer, struct test_random *random, unsigned kind)
{
    static const char letters[70000];
    size_t size = (size_t)(test_random(random) % 40);

    if (test_random(random) % 64 == 0)
        size = (size_t)(test_random(random) % sizeof(letters));
    if (kind == 0)
        msgpack_pack_str_with_body(packer, letters, size);
    else if (kind == 1)
        msgpack_pack_bin_with_body(packer, letters, size);
    else
        msgpack_pack_ext_with_body(packer, letters, size, (int8_t)test_random(random));
}

void random_document(msgpack_packer *packer, struct test_random *random, unsigned depth)
{
    unsigned count = (unsigned)(test_random(random) % (test_random(random) % 8 == 0 ? 40 : 5));

    switch (test_random(random) % (depth != 0 ? 13 : 10)) {
    case 0:
        msgpack_pack_nil(packer);
        return;
    case 1:
        if (test_random(random) % 2 == 0)
            msgpack_pack_true(packer);
        else
            msgpack_pack_false(packer);
        return;
    case 2:
    case 3:
        msgpack_pack_uint64(packer, random_integer(random));
        return;
    case 4:
        msgpack_pack_int64(packer, -(int64_t)(random_integer(random) >> 1));
        return;
    case 5:
        msgpack_pack_float(packer, (float)random_integer(random));
        return;
    case 6:
        msgpack_pack_double(packer, (double)random_integer(random) / 3);
        return;
    case 7:
    case 8:
    case 9:
        random_bytes(packer, random, (unsigned)(test_random(random) % 3));
        return;
    case 10:
        msgpack_pack_map(packer, count);
        count *= 2;
        break;
    default:
        msgpack_pack_array(packer, count);
        break;
    }
    for (unsigned i = 0; i < count; i++)
        random_document(packer, random, depth - 1);
}

static bool same_bytes(struct weir_view bytes, const char *data, size_t size)
{
    return weir_view_equal(bytes, weir_view_of(data, size));
}

static bool scalar_equals(const struct weir_value *value, const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return value->type == WEIR_TYPE_NIL;
    case MSGPACK_OBJECT_BOOLEAN:
        return value->type == WEIR_TYPE_BOOL && value->as.boolean == object->via.boolean;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return value->type == WEIR_TYPE_UINT && value->as.u64 == object->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return value->type == WEIR_TYPE_INT && value->as.i64 == object->via.i64;
    case MSGPACK_OBJECT_FLOAT32: {
        double wide = (double)value->as.f32;
        return value->type == WEIR_TYPE_F32 && memcmp(&wide, &object->via.f64, sizeof(wide)) == 0;
    }
    case MSGPACK_OBJECT_FLOAT64:
        return value->type == WEIR_TYPE_F64 &&
               memcmp(&value->as.f64, &object->via.f64, sizeof(double)) == 0;
    case MSGPACK_OBJECT_STR:
        return value->type == WEIR_TYPE_STR &&
               same_bytes(value->as.bytes, object->via.str.ptr, object->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return value->type == WEIR_TYPE_BIN &&
               same_bytes(value->as.bytes, object->via.bin.ptr, object->via.bin.size);
    case MSGPACK_OBJECT_EXT:
        return value->type == WEIR_TYPE_EXT && value->ext_type == object->via.ext.type &&
               same_bytes(value->as.bytes, object->via.ext.ptr, object->via.ext.size);
    default:
        return false;
    }
}

bool value_equals(struct weir_unpacker *unpacker, const msgpack_object *object)
{
    struct weir_value value;

    if (weir_unpack_next(unpacker, &value) != 0)
        return false;
    if (object->type == MSGPACK_OBJECT_ARRAY) {
        const msgpack_object_array *array = &object->via.array;
        bool equal = value.type == WEIR_TYPE_ARRAY && value.count == array->size;
        for (uint32_t i = 0; equal && i < array->size; i++)
            equal = value_equals(unpacker, &array->ptr[i]);
        return equal;
    }
    if (object->type == MSGPACK_OBJECT_MAP) {
        const msgpack_object_map *map = &object->via.map;
        bool equal = value.type == WEIR_TYPE_MAP && value.count == map->size;
        for (uint32_t i = 0; equal && i < map->size; i++)
            equal = value_equals(unpacker, &map->ptr[i].key) &&
                    value_equals(unpacker, &map->ptr[i].val);
        return equal;
    }
    return scalar_equals(&value, object);
}
