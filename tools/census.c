/* SPDX-License-Identifier: MIT */
#include "census.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static const char *const type_names[CENSUS_TYPES] = {
    "nil", "bool",  "integer", "float32",   "float64", "str",
    "bin", "array", "map",     "timestamp", "ext",
};

/* The heads there are for a length; those of 3 and 5 bytes are always there. */
struct head_forms {
    uint32_t fix_max; /* a head of 1 byte up to here; NO_FIX: there is no such form */
    bool has_8_bits;  /* of 2 bytes up to 255 */
};

#define NO_FIX UINT32_MAX

/* --- shortest forms (MessagePack specification) ----------------------------------------------- */

static size_t integer_bytes(const struct weir_value *value)
{
    if (value->type == WEIR_TYPE_UINT) {
        uint64_t n = value->as.u64;
        return n < 0x80 ? 1 : n <= UINT8_MAX ? 2 : n <= UINT16_MAX ? 3 : n <= UINT32_MAX ? 5 : 9;
    }
    int64_t n = value->as.i64;
    return n >= -32 ? 1 : n >= INT8_MIN ? 2 : n >= INT16_MIN ? 3 : n >= INT32_MIN ? 5 : 9;
}

static size_t head_bytes(struct head_forms forms, uint64_t length)
{
    if (forms.fix_max != NO_FIX && length <= forms.fix_max)
        return 1;
    if (forms.has_8_bits && length <= UINT8_MAX)
        return 2;
    return length <= UINT16_MAX ? 3 : 5;
}

static size_t ext_bytes(size_t size)
{
    bool is_fixed = size == 1 || size == 2 || size == 4 || size == 8 || size == 16;
    size_t head = is_fixed ? 1 : size <= UINT8_MAX ? 2 : size <= UINT16_MAX ? 3 : 5;
    return head + 1 + size;
}

static size_t timestamp_bytes(struct weir_timestamp time)
{
    if (time.seconds < 0 || time.seconds >> 34 != 0)
        return ext_bytes(12);
    return time.nanoseconds == 0 && time.seconds <= UINT32_MAX ? ext_bytes(4) : ext_bytes(8);
}

/* --- counting --------------------------------------------------------------------------------- */

static bool read_timestamp(const struct weir_value *value, struct weir_timestamp *ret)
{
    return value->type == WEIR_TYPE_EXT && value->ext_type == WEIR_EXT_TIMESTAMP &&
           weir_timestamp_decode(value->as.bytes, ret) == 0;
}

/* The type of @value, its shortest encoding without what an array or map contains, its length. */
static enum census_type classify(const struct weir_value *value, size_t *shortest, uint64_t *length)
{
    struct weir_timestamp time;

    *length = 0;
    switch (value->type) {
    case WEIR_TYPE_NIL:
    case WEIR_TYPE_BOOL:
        *shortest = 1;
        return value->type == WEIR_TYPE_NIL ? CENSUS_NIL : CENSUS_BOOL;
    case WEIR_TYPE_UINT:
    case WEIR_TYPE_INT:
        *shortest = integer_bytes(value);
        return CENSUS_INTEGER;
    case WEIR_TYPE_F32:
        *shortest = 5;
        return CENSUS_FLOAT32;
    case WEIR_TYPE_F64:
        *shortest = 9;
        return CENSUS_FLOAT64;
    case WEIR_TYPE_STR:
        *length = value->as.bytes.size;
        *shortest = head_bytes((struct head_forms){31, true}, *length) + value->as.bytes.size;
        return CENSUS_STR;
    case WEIR_TYPE_BIN:
        *length = value->as.bytes.size;
        *shortest = head_bytes((struct head_forms){NO_FIX, true}, *length) + value->as.bytes.size;
        return CENSUS_BIN;
    case WEIR_TYPE_ARRAY:
    case WEIR_TYPE_MAP:
        *length = value->count;
        *shortest = head_bytes((struct head_forms){15, false}, *length);
        return value->type == WEIR_TYPE_ARRAY ? CENSUS_ARRAY : CENSUS_MAP;
    case WEIR_TYPE_EXT:
        break;
    }
    if (read_timestamp(value, &time)) {
        *shortest = timestamp_bytes(time);
        return CENSUS_TIMESTAMP;
    }
    *length = value->as.bytes.size;
    *shortest = ext_bytes(value->as.bytes.size);
    return CENSUS_EXT;
}

static bool has_length(enum census_type type)
{
    return type >= CENSUS_STR && type != CENSUS_TIMESTAMP;
}

static void count_element(struct census *census, const struct weir_value *value, size_t size)
{
    size_t shortest;
    uint64_t length;
    enum census_type type = classify(value, &shortest, &length);
    struct census_row *row = &census->types[type];

    row->count++;
    row->bytes += size;
    row->savings_bytes += size - shortest;
    if (has_length(type) && length < row->length_least)
        row->length_least = length;
    if (has_length(type) && length > row->length_most)
        row->length_most = length;
}

static unsigned size_class(size_t size)
{
    unsigned class = 0;
    while (class < CENSUS_SIZES - 1 && size > (size_t)1 << class)
        class ++;
    return class;
}

static void count_value(struct census *census, size_t size)
{
    census->values++;
    census->bytes += size;
    census->sizes[size_class(size)]++;
    if (size < census->value_bytes_least)
        census->value_bytes_least = size;
    if (size > census->value_bytes_most)
        census->value_bytes_most = size;
}

void census_init(struct census *census)
{
    memset(census, 0, sizeof *census);
    census->value_bytes_least = UINT64_MAX;
    for (size_t i = 0; i < CENSUS_TYPES; i++)
        census->types[i].length_least = UINT64_MAX;
}

int census_add(struct census *census, struct weir_view value)
{
    uint64_t left[WEIR_DEPTH_MAX]; /* elements to come in each array or map that is open */
    struct weir_unpacker cursor;
    struct weir_value element;
    size_t depth = 0;

    weir_unpack_init(&cursor, value, NULL);
    do {
        size_t from = weir_unpack_offset(&cursor);
        if (weir_unpack_next(&cursor, &element) != 0)
            return -EBADMSG;
        census->depths[depth]++;
        count_element(census, &element, weir_unpack_offset(&cursor) - from);
        if (element.type == WEIR_TYPE_ARRAY || element.type == WEIR_TYPE_MAP) {
            if (depth == WEIR_DEPTH_MAX)
                return -EOVERFLOW;
            left[depth++] = (uint64_t)element.count << (element.type == WEIR_TYPE_MAP);
        }
        while (depth != 0 && left[depth - 1] == 0)
            depth--;
        if (depth != 0)
            left[depth - 1]--;
    } while (depth != 0);
    count_value(census, value.size);
    return 0;
}

/* --- the map ---------------------------------------------------------------------------------- */

static void pack_number(struct weir_packer *packer, const char *name, uint64_t number)
{
    weir_pack_text(packer, name);
    weir_pack_uint(packer, number);
}

/* A number that nothing was there to count for. */
static void pack_known(struct weir_packer *packer, const char *name, uint64_t number, bool known)
{
    weir_pack_text(packer, name);
    if (known)
        weir_pack_uint(packer, number);
    else
        weir_pack_nil(packer);
}

static struct census_row sum_types(const struct census *census)
{
    struct census_row sum = {0, 0, 0, UINT64_MAX, 0};

    for (size_t i = 0; i < CENSUS_TYPES; i++) {
        sum.count += census->types[i].count;
        sum.bytes += census->types[i].bytes;
        sum.savings_bytes += census->types[i].savings_bytes;
    }
    return sum;
}

static void pack_types(struct weir_packer *packer, const struct census_row *sum,
                       const struct census_row *rows)
{
    weir_pack_text(packer, "types");
    weir_pack_map(packer, CENSUS_TYPES + 3);
    for (size_t i = 0; i < CENSUS_TYPES; i++) {
        bool measured = rows[i].length_least != UINT64_MAX;
        weir_pack_text(packer, type_names[i]);
        weir_pack_map(packer, 5);
        pack_number(packer, "count", rows[i].count);
        pack_number(packer, "bytes", rows[i].bytes);
        pack_number(packer, "savings_bytes", rows[i].savings_bytes);
        pack_known(packer, "length_least", rows[i].length_least, measured);
        pack_known(packer, "length_most", rows[i].length_most, measured);
    }
    pack_number(packer, "count", sum->count);
    pack_number(packer, "bytes", sum->bytes);
    pack_number(packer, "savings_bytes", sum->savings_bytes);
}

/* The counters from the first to the last one that is not 0, by number. */
static void pack_histogram(struct weir_packer *packer, const char *section, const char *name,
                           const char *counted, const uint64_t *counters, size_t count,
                           bool powers_of_two)
{
    uint64_t total = 0;
    size_t first = 0;

    for (size_t i = 0; i < count; i++)
        total += counters[i];
    while (count != 0 && counters[count - 1] == 0)
        count--;
    while (first < count && counters[first] == 0)
        first++;
    weir_pack_text(packer, section);
    weir_pack_map(packer, 2);
    pack_number(packer, counted, total);
    weir_pack_text(packer, section);
    weir_pack_array(packer, count - first);
    for (size_t i = first; i < count; i++) {
        weir_pack_map(packer, 2);
        pack_number(packer, name, powers_of_two ? (uint64_t)1 << i : i);
        pack_number(packer, counted, counters[i]);
    }
}

static uint64_t deepest(const struct census *census)
{
    uint64_t depth = WEIR_DEPTH_MAX;
    while (depth != 0 && census->depths[depth] == 0)
        depth--;
    return depth;
}

void census_pack(struct weir_packer *packer, const struct census *census)
{
    struct census_row sum = sum_types(census);
    bool any = census->values != 0;

    weir_pack_text(packer, "all");
    weir_pack_map(packer, 7);
    pack_number(packer, "values", census->values);
    pack_number(packer, "bytes", census->bytes);
    pack_number(packer, "elements", sum.count);
    pack_number(packer, "depth", deepest(census));
    pack_number(packer, "savings_bytes", sum.savings_bytes);
    pack_known(packer, "value_bytes_least", census->value_bytes_least, any);
    pack_known(packer, "value_bytes_most", census->value_bytes_most, any);
    pack_types(packer, &sum, census->types);
    pack_histogram(packer, "sizes", "up_to_bytes", "values", census->sizes, CENSUS_SIZES, true);
    pack_histogram(packer, "depths", "depth", "elements", census->depths, WEIR_DEPTH_MAX + 1,
                   false);
}
