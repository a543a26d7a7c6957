/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "weir/edit.h"
#include "weir/unpack.h"

/* --- in place ------------------------------------------------------------------------------ */

int weir_edit_writable(const struct weir_slice *slice, uint8_t **ret)
{
    if (slice->block == NULL)
        return -EINVAL;
    if (!weir_block_is_exclusive(slice->block))
        return -EBUSY;
    *ret = slice->block->data + (slice->view.data - slice->block->data);
    return 0;
}

/* A value to be written over. */
struct place {
    uint8_t *at;
    size_t size_bytes; /* with all that belongs to its head, and its payload */
    struct weir_value value;
};

static int find_place(void *message, size_t size_bytes, size_t offset_bytes, struct place *ret)
{
    struct weir_unpacker cursor;
    struct place place;

    if (offset_bytes >= size_bytes)
        return -EAGAIN;
    place.at = (uint8_t *)message + offset_bytes;
    weir_unpack_init(&cursor, weir_view_of(place.at, size_bytes - offset_bytes), NULL);
    int rc = weir_unpack_next(&cursor, &place.value);
    if (rc != 0)
        return rc;
    place.size_bytes = weir_unpack_offset(&cursor);
    *ret = place;
    return 0;
}

int weir_edit_bool(void *message, size_t size_bytes, size_t offset_bytes, bool value)
{
    struct place place;

    int rc = find_place(message, size_bytes, offset_bytes, &place);
    if (rc != 0)
        return rc;
    if (place.value.type != WEIR_TYPE_BOOL)
        return -EPROTO;
    place.at[0] = value ? WEIR_TAG_TRUE : WEIR_TAG_FALSE;
    return 0;
}

/* Store the low @width_bytes of @bits behind the tag. */
static void store_behind(uint8_t *at, uint8_t tag, uint64_t bits, size_t width_bytes)
{
    uint8_t big[8];

    weir_wire_store64(big, bits);
    at[0] = tag;
    memcpy(at + 1, big + 8 - width_bytes, width_bytes);
}

/* The tag of a uint or int that has @width_bytes: 1, 2, 4 or 8. */
static uint8_t tag_of_width(uint8_t tag8, size_t width_bytes)
{
    return (uint8_t)(tag8 + (width_bytes > 1) + (width_bytes > 2) + (width_bytes > 4));
}

/* Write the integer whose 64 bits are @bits over one: below 0 if @is_negative. */
static int edit_integer(void *message, size_t size_bytes, size_t offset_bytes, uint64_t bits,
                        bool is_negative)
{
    struct place place;

    int rc = find_place(message, size_bytes, offset_bytes, &place);
    if (rc != 0)
        return rc;
    if (place.value.type != WEIR_TYPE_UINT && place.value.type != WEIR_TYPE_INT)
        return -EPROTO;
    if (place.size_bytes == 1) {
        if (is_negative ? bits < (uint64_t)-32 : bits > 127)
            return -EOVERFLOW;
        place.at[0] = (uint8_t)bits;
        return 0;
    }
    size_t width_bytes = place.size_bytes - 1;
    uint64_t uint_max = UINT64_MAX >> (64 - 8 * width_bytes);
    uint64_t int_max = uint_max >> 1;
    bool fits_int = is_negative ? bits >= ~int_max : bits <= int_max;
    bool fits_uint = !is_negative && bits <= uint_max;
    if (!fits_int && !fits_uint)
        return -EOVERFLOW;
    bool was_int = place.at[0] >= WEIR_TAG_INT8;
    uint8_t tag8 = fits_int && (was_int || !fits_uint) ? WEIR_TAG_INT8 : WEIR_TAG_UINT8;
    store_behind(place.at, tag_of_width(tag8, width_bytes), bits, width_bytes);
    return 0;
}

int weir_edit_uint(void *message, size_t size_bytes, size_t offset_bytes, uint64_t value)
{
    return edit_integer(message, size_bytes, offset_bytes, value, false);
}

int weir_edit_int(void *message, size_t size_bytes, size_t offset_bytes, int64_t value)
{
    return edit_integer(message, size_bytes, offset_bytes, (uint64_t)value, value < 0);
}

int weir_edit_f32(void *message, size_t size_bytes, size_t offset_bytes, float value)
{
    struct place place;
    uint32_t bits;

    int rc = find_place(message, size_bytes, offset_bytes, &place);
    if (rc != 0)
        return rc;
    if (place.value.type != WEIR_TYPE_F32)
        return -EPROTO;
    memcpy(&bits, &value, sizeof bits);
    weir_wire_store32(place.at + 1, bits);
    return 0;
}

int weir_edit_f64(void *message, size_t size_bytes, size_t offset_bytes, double value)
{
    struct place place;
    uint64_t bits;

    int rc = find_place(message, size_bytes, offset_bytes, &place);
    if (rc != 0)
        return rc;
    if (place.value.type != WEIR_TYPE_F64)
        return -EPROTO;
    memcpy(&bits, &value, sizeof bits);
    weir_wire_store64(place.at + 1, bits);
    return 0;
}

/* Write the payload of a str or bin. */
static int edit_bytes(void *message, size_t size_bytes, size_t offset_bytes, enum weir_type type,
                      struct weir_view bytes)
{
    struct place place;

    int rc = find_place(message, size_bytes, offset_bytes, &place);
    if (rc != 0)
        return rc;
    if (place.value.type != type)
        return -EPROTO;
    if (place.value.as.bytes.size != bytes.size)
        return -EOVERFLOW;
    if (bytes.size != 0)
        memcpy(place.at + (place.size_bytes - bytes.size), bytes.data, bytes.size);
    return 0;
}

int weir_edit_str(void *message, size_t size_bytes, size_t offset_bytes, struct weir_view text)
{
    return edit_bytes(message, size_bytes, offset_bytes, WEIR_TYPE_STR, text);
}

int weir_edit_bin(void *message, size_t size_bytes, size_t offset_bytes, struct weir_view bytes)
{
    return edit_bytes(message, size_bytes, offset_bytes, WEIR_TYPE_BIN, bytes);
}

int weir_edit_value(void *message, size_t size_bytes, size_t offset_bytes, struct weir_view value)
{
    struct weir_unpacker cursor;
    struct weir_view old, whole;

    if (offset_bytes >= size_bytes)
        return -EAGAIN;
    uint8_t *at = (uint8_t *)message + offset_bytes;
    weir_unpack_init(&cursor, weir_view_of(at, size_bytes - offset_bytes), NULL);
    int rc = weir_unpack_raw(&cursor, &old);
    if (rc != 0)
        return rc;
    weir_unpack_init(&cursor, value, NULL);
    rc = weir_unpack_raw(&cursor, &whole);
    if (rc == 0)
        rc = weir_unpack_end(&cursor);
    if (rc != 0)
        return rc;
    if (old.size != value.size)
        return -EOVERFLOW;
    memcpy(at, value.data, value.size);
    return 0;
}

/* --- walking over a chain ------------------------------------------------------------------- */

/* The head of a value in a chain. */
struct head {
    struct weir_wire_tag tag;
    uint32_t length;
    uint8_t first; /* the tag's byte */
};

#define HEAD_BYTES_MAX 9

/* Read a head, and see that what it announces may be there. The reader is behind it then. */
static int read_head(struct weir_chain_reader *reader, struct head *ret)
{
    uint8_t scratch[HEAD_BYTES_MAX];
    struct weir_view piece = weir_chain_reader_piece(reader);
    struct weir_view bytes;
    struct head head;

    if (piece.size == 0)
        return -EAGAIN;
    head.first = piece.data[0];
    head.tag = weir_wire_tags[head.first];
    if (head.tag.kind == WEIR_WIRE_BAD)
        return -EBADMSG;
    int rc = weir_chain_reader_take(reader, head.tag.head_bytes, scratch, &bytes);
    if (rc != 0)
        return rc;
    head.length = weir_wire_length(bytes.data, head.tag);
    size_t left = weir_chain_reader_remaining(reader);
    if (head.length > left || (head.tag.kind == WEIR_WIRE_MAP && head.length > left - head.length))
        return -EAGAIN;
    *ret = head;
    return 0;
}

/* Values that follow the head. */
static uint64_t head_values(const struct head *head)
{
    return head->tag.kind == WEIR_WIRE_ARRAY ? head->length
           : head->tag.kind == WEIR_WIRE_MAP ? (uint64_t)head->length * 2
                                             : 0;
}

/* Pass over @count values with all they contain. */
static int skip_values(struct weir_chain_reader *reader, uint64_t count)
{
    struct head head;

    /* Each takes a byte at least: the count cannot wrap, nor the loop be longer than the bytes. */
    while (count != 0) {
        if (count > weir_chain_reader_remaining(reader))
            return -EAGAIN;
        int rc = read_head(reader, &head);
        if (rc == 0 && head.tag.kind == WEIR_WIRE_BYTES)
            rc = weir_chain_reader_skip(reader, head.length);
        if (rc != 0)
            return rc;
        count += head_values(&head) - 1;
    }
    return 0;
}

/* Whether @slice is whole values, and how many. */
static int count_values(const struct weir_slice *slice, uint64_t *ret)
{
    struct weir_unpacker cursor;
    uint64_t count = 0;

    weir_unpack_init(&cursor, slice->view, NULL);
    for (; !weir_unpack_done(&cursor); count++)
        if (weir_unpack_skip(&cursor) != 0)
            return -EINVAL;
    *ret = count;
    return 0;
}

/* -EINVAL unless @slice is one value. */
static int check_value(const struct weir_slice *slice)
{
    uint64_t count;

    int rc = count_values(slice, &count);
    return rc != 0 ? rc : count == 1 ? 0 : -EINVAL;
}

/* Read @chain from @offset_bytes. */
static int reader_at(const struct weir_chain *chain, size_t offset_bytes,
                     struct weir_chain_reader *ret)
{
    weir_chain_reader_init(ret, chain);
    return weir_chain_reader_skip(ret, offset_bytes);
}

/* An array or map that is to be changed. */
struct container {
    size_t head_at;
    struct head head;
    struct weir_chain_reader inside; /* at its first element */
};

static int open_container(const struct weir_chain *message, size_t offset_bytes,
                          struct container *ret)
{
    struct container container = {.head_at = offset_bytes};

    int rc = reader_at(message, offset_bytes, &container.inside);
    if (rc == 0)
        rc = read_head(&container.inside, &container.head);
    if (rc != 0)
        return rc;
    if (container.head.tag.kind != WEIR_WIRE_ARRAY && container.head.tag.kind != WEIR_WIRE_MAP)
        return -EPROTO;
    *ret = container;
    return 0;
}

static bool is_map(const struct container *container)
{
    return container->head.tag.kind == WEIR_WIRE_MAP;
}

/* Values that @count elements or pairs are. */
static uint64_t values_of(const struct container *container, uint32_t count)
{
    return (uint64_t)count << is_map(container);
}

/* --- by splicing --------------------------------------------------------------------------- */

/* A slice of the pool's with @head and, behind it, @bytes. */
static int make_slice(struct weir_pool *pool, const uint8_t *head, size_t head_bytes,
                      struct weir_view bytes, struct weir_slice *ret)
{
    struct weir_block *block;
    size_t size_bytes;

    if (weir_add_overflows(head_bytes, bytes.size, &size_bytes))
        return -EOVERFLOW;
    int rc = weir_pool_alloc(pool, size_bytes, &block);
    if (rc != 0)
        return rc;
    memcpy(block->data, head, head_bytes);
    if (bytes.size != 0)
        memcpy(block->data + head_bytes, bytes.data, bytes.size);
    *ret = weir_slice_adopt(weir_view_of(block->data, size_bytes), block);
    return 0;
}

/* The head of an array or map with another count, in the same form, or the first that has room. */
static size_t write_head(const struct head *head, uint32_t count, uint8_t *at)
{
    bool map = head->tag.kind == WEIR_WIRE_MAP;

    if (head->tag.length_bytes == 0 && count <= 15) {
        at[0] = (uint8_t)((map ? WEIR_TAG_FIXMAP : WEIR_TAG_FIXARRAY) | count);
        return 1;
    }
    if (head->tag.length_bytes != 4 && count <= UINT16_MAX) {
        at[0] = map ? WEIR_TAG_MAP16 : WEIR_TAG_ARRAY16;
        weir_wire_store16(at + 1, (uint16_t)count);
        return 3;
    }
    at[0] = map ? WEIR_TAG_MAP32 : WEIR_TAG_ARRAY32;
    weir_wire_store32(at + 1, count);
    return 5;
}

/* What becomes of a message: the bytes between @from and @to go, @first and @second come. */
struct splice {
    const struct container *container; /* whose count changes to count; NULL: none */
    uint32_t count;
    size_t from;
    size_t to;
    const struct weir_slice *first;
    const struct weir_slice *second;
};

static int append_spliced(const struct weir_chain *message, const struct splice *splice,
                          struct weir_chain *ret)
{
    uint8_t head[5];
    struct weir_slice slice;
    size_t from = 0;
    int rc = 0;

    if (splice->container != NULL) {
        const struct container *container = splice->container;
        size_t size_bytes = write_head(&container->head, splice->count, head);
        rc = make_slice(ret->pool, head, size_bytes, weir_view_of(NULL, 0), &slice);
        if (rc != 0)
            return rc;
        rc = weir_chain_sub(message, 0, container->head_at, ret);
        if (rc == 0)
            rc = weir_chain_append(ret, &slice);
        weir_slice_drop(&slice);
        from = container->head_at + container->head.tag.head_bytes;
    }
    if (rc == 0)
        rc = weir_chain_sub(message, from, splice->from - from, ret);
    if (rc == 0 && splice->first != NULL)
        rc = weir_chain_append(ret, splice->first);
    if (rc == 0 && splice->second != NULL)
        rc = weir_chain_append(ret, splice->second);
    if (rc == 0)
        rc = weir_chain_sub(message, splice->to, message->size_bytes - splice->to, ret);
    return rc;
}

static int apply(const struct weir_chain *message, const struct splice *splice,
                 struct weir_chain *ret)
{
    assert(ret != message && ret->size_bytes == 0);
    int rc = append_spliced(message, splice, ret);
    if (rc != 0)
        weir_chain_reset(ret);
    return rc;
}

int weir_edit_replace(const struct weir_chain *message, size_t offset_bytes,
                      const struct weir_slice *value, struct weir_chain *ret)
{
    struct splice splice = {.from = offset_bytes, .first = value};
    struct weir_chain_reader reader;

    int rc = check_value(value);
    if (rc == 0)
        rc = reader_at(message, offset_bytes, &reader);
    if (rc == 0)
        rc = skip_values(&reader, 1);
    if (rc != 0)
        return rc;
    splice.to = weir_chain_reader_offset(&reader);
    return apply(message, &splice, ret);
}

int weir_edit_insert(const struct weir_chain *message, size_t offset_bytes, uint32_t index,
                     const struct weir_slice *values, struct weir_chain *ret)
{
    struct container container;
    struct splice splice = {.container = &container, .first = values};
    uint64_t count;

    int rc = open_container(message, offset_bytes, &container);
    if (rc == 0)
        rc = count_values(values, &count);
    if (rc != 0)
        return rc;
    if (index == WEIR_EDIT_END)
        index = container.head.length;
    if (index > container.head.length)
        return -ENOENT;
    if (is_map(&container)) {
        if (count % 2 != 0)
            return -EINVAL;
        count /= 2;
    }
    if (count > UINT32_MAX - container.head.length)
        return -EOVERFLOW;
    rc = skip_values(&container.inside, values_of(&container, index));
    if (rc != 0)
        return rc;
    splice.count = container.head.length + (uint32_t)count;
    splice.from = splice.to = weir_chain_reader_offset(&container.inside);
    return apply(message, &splice, ret);
}

/* Remove the @count elements or pairs that begin where the reader is. */
static int remove_here(const struct weir_chain *message, struct container *container,
                       uint32_t count, struct weir_chain *ret)
{
    struct splice splice = {.container = container, .count = container->head.length - count};

    splice.from = weir_chain_reader_offset(&container->inside);
    int rc = skip_values(&container->inside, values_of(container, count));
    if (rc != 0)
        return rc;
    splice.to = weir_chain_reader_offset(&container->inside);
    return apply(message, &splice, ret);
}

int weir_edit_remove(const struct weir_chain *message, size_t offset_bytes, uint32_t index,
                     uint32_t count, struct weir_chain *ret)
{
    struct container container;

    int rc = open_container(message, offset_bytes, &container);
    if (rc != 0)
        return rc;
    if (index > container.head.length || count > container.head.length - index)
        return -ENOENT;
    rc = skip_values(&container.inside, values_of(&container, index));
    return rc != 0 ? rc : remove_here(message, &container, count, ret);
}

/* Read a value, whatever it contains. *ret: whether it is the str @key. */
static int read_key(struct weir_chain_reader *reader, struct weir_view key, bool *ret)
{
    struct weir_chain_reader value = *reader;
    struct weir_view piece;
    struct head head;

    int rc = skip_values(reader, 1);
    if (rc != 0)
        return rc;
    *ret = false;
    rc = read_head(&value, &head);
    if (rc != 0 || head.tag.kind != WEIR_WIRE_BYTES || head.length != key.size)
        return rc;
    /* Of all that have payload, the tags from there on are strs. */
    if ((head.first & 0xe0u) != WEIR_TAG_FIXSTR && head.first < WEIR_TAG_STR8)
        return 0;
    for (size_t done = 0; done < key.size; done += piece.size) {
        piece = weir_chain_reader_piece(&value);
        if (piece.size > key.size - done)
            piece.size = key.size - done;
        if (memcmp(piece.data, key.data + done, piece.size) != 0)
            return 0;
        (void)weir_chain_reader_skip(&value, piece.size);
    }
    *ret = true;
    return 0;
}

/* Let the reader within the map be at the pair of @key, or behind the last one. */
static int find_pair(struct container *map, struct weir_view key, bool *ret)
{
    if (!is_map(map))
        return -EPROTO;
    *ret = false;
    for (uint32_t i = 0; i < map->head.length; i++) {
        struct weir_chain_reader pair = map->inside;
        int rc = read_key(&map->inside, key, ret);
        if (rc == 0 && *ret)
            map->inside = pair;
        if (rc != 0 || *ret)
            return rc;
        rc = skip_values(&map->inside, 1);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The head of a str. @at has room for five bytes. Returns how many it takes. */
static size_t write_str_head(size_t size_bytes, uint8_t *at)
{
    if (size_bytes <= 31) {
        at[0] = (uint8_t)(WEIR_TAG_FIXSTR | size_bytes);
        return 1;
    }
    size_t width_bytes = size_bytes <= UINT8_MAX ? 1 : size_bytes <= UINT16_MAX ? 2 : 4;
    store_behind(at, tag_of_width(WEIR_TAG_STR8, width_bytes), size_bytes, width_bytes);
    return 1 + width_bytes;
}

/* Insert a pair where the reader within the map is. */
static int insert_pair(const struct weir_chain *message, const struct container *map,
                       struct weir_view key, const struct weir_slice *value, struct weir_chain *ret)
{
    size_t at = weir_chain_reader_offset(&map->inside);
    struct weir_slice name;
    uint8_t head[5];

    if (map->head.length == UINT32_MAX || key.size > UINT32_MAX)
        return -EOVERFLOW;
    int rc = make_slice(ret->pool, head, write_str_head(key.size, head), key, &name);
    if (rc != 0)
        return rc;
    struct splice splice = {map, map->head.length + 1, at, at, &name, value};
    rc = apply(message, &splice, ret);
    weir_slice_drop(&name);
    return rc;
}

int weir_edit_set(const struct weir_chain *message, size_t offset_bytes, struct weir_view key,
                  const struct weir_slice *value, struct weir_chain *ret)
{
    struct container map;
    bool found = false;

    int rc = check_value(value);
    if (rc == 0)
        rc = open_container(message, offset_bytes, &map);
    if (rc == 0)
        rc = find_pair(&map, key, &found);
    if (rc != 0)
        return rc;
    if (!found)
        return insert_pair(message, &map, key, value, ret);
    rc = skip_values(&map.inside, 1);
    if (rc != 0)
        return rc;
    return weir_edit_replace(message, weir_chain_reader_offset(&map.inside), value, ret);
}

int weir_edit_unset(const struct weir_chain *message, size_t offset_bytes, struct weir_view key,
                    struct weir_chain *ret)
{
    struct container map;
    bool found = false;

    int rc = open_container(message, offset_bytes, &map);
    if (rc == 0)
        rc = find_pair(&map, key, &found);
    if (rc != 0)
        return rc;
    return found ? remove_here(message, &map, 1, ret) : -ENOENT;
}
