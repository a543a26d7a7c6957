/* SPDX-License-Identifier: MIT */
#include "weir/canonical.h"
#include "buf_private.h"
#include "pack_private.h"

#define DEPTH_DEFAULT 128u

/* A pair of a map that is open. Offsets are from the start of the message. */
struct pair {
    size_t key;    /* of the key as it was written anew */
    size_t value;  /* of its value, which is where the key ends */
    size_t end;    /* of what comes behind its value */
    size_t packed; /* of the key as it was packed, for the error */
};

/* An array or map that is open. */
struct frame {
    uint64_t left; /* values to come, keys included */
    size_t packed; /* offset of its head as it was packed */
    size_t pairs;  /* of a map: entry of its first pair */
    bool map;
};

struct rewrite {
    struct weir_buf *buf;
    uint8_t *start;
    const uint8_t *from; /* the next head to read */
    const uint8_t *end;
    uint8_t *to; /* where the next head is written, never behind from */
    struct weir_block *frames;
    struct weir_block *pairs;
    struct weir_block *sorted; /* the bytes of a map in their order */
    size_t depth;
    size_t depth_max;
    size_t pair_count;
    size_t error_offset;
};

/* Make *@scratch a block of at least @size_bytes; the first @keep_bytes in it stay. */
static int scratch_grow(struct rewrite *r, struct weir_block **scratch, size_t size_bytes,
                        size_t keep_bytes)
{
    struct weir_block *block;

    if (*scratch != NULL && size_bytes <= (*scratch)->size)
        return 0;
    if (size_bytes < 2 * keep_bytes)
        size_bytes = 2 * keep_bytes;
    int rc = weir_pool_alloc(r->buf->pool, size_bytes, &block);
    if (rc != 0)
        return rc;
    if (keep_bytes != 0)
        memcpy(block->data, (*scratch)->data, keep_bytes);
    weir_block_drop(*scratch);
    *scratch = block;
    return 0;
}

static struct frame *frames_of(const struct rewrite *r)
{
    return (struct frame *)(void *)r->frames->data;
}

static struct pair *pairs_of(const struct rewrite *r)
{
    return (struct pair *)(void *)r->pairs->data;
}

static size_t offset_of(const struct rewrite *r, const uint8_t *at)
{
    return (size_t)(at - r->start);
}

/* --- heads ----------------------------------------------------------------------------------- */

static size_t put_uint(uint8_t *to, uint64_t value)
{
    unsigned log2_bytes =
        (value > UINT8_MAX) + (unsigned)(value > UINT16_MAX) + (value > UINT32_MAX);

    if (value < 0x80) {
        to[0] = (uint8_t)value;
        return 1;
    }
    to[0] = (uint8_t)(WEIR_TAG_UINT8 + log2_bytes);
    weir_wire_store64(to + 1, value << (64 - (8u << log2_bytes)));
    return 1 + ((size_t)1 << log2_bytes);
}

static size_t put_int(uint8_t *to, int64_t value)
{
    unsigned log2_bytes = (value < INT8_MIN) + (unsigned)(value < INT16_MIN) + (value < INT32_MIN);

    if (value >= 0)
        return put_uint(to, (uint64_t)value);
    to[0] = (uint8_t)value;
    if (value >= -32)
        return 1;
    to[0] = (uint8_t)(WEIR_TAG_INT8 + log2_bytes);
    weir_wire_store64(to + 1, (uint64_t)value << (64 - (8u << log2_bytes)));
    return 1 + ((size_t)1 << log2_bytes);
}

/* The integer of 1 << @log2_bytes bytes at @at, its sign extended. */
static int64_t load_int(const uint8_t *at, unsigned log2_bytes)
{
    switch (log2_bytes) {
    case 0:
        return (int8_t)at[0];
    case 1:
        return (int16_t)weir_wire_load16(at);
    case 2:
        return (int32_t)weir_wire_load32(at);
    default:
        return (int64_t)weir_wire_load64(at);
    }
}

static uint64_t load_uint(const uint8_t *at, unsigned log2_bytes)
{
    uint64_t value = (uint64_t)load_int(at, log2_bytes);
    return log2_bytes == 3 ? value : value & ((UINT64_C(1) << (8u << log2_bytes)) - 1);
}

static size_t put_count(uint8_t *to, unsigned tag_fix, unsigned tag16, uint32_t count)
{
    if (count > 15)
        return weir__store_head(to, 0, tag16, count);
    to[0] = (uint8_t)(tag_fix | count);
    return 1;
}

/* The shortest form of the head at @at, in up to 16 bytes at @to. Returns its size. */
static size_t shortest_head(const uint8_t *at, struct weir_wire_tag tag, uint8_t *to)
{
    uint32_t length = weir_wire_length(at, tag);

    switch (at[0]) {
    case WEIR_TAG_UINT8:
    case WEIR_TAG_UINT16:
    case WEIR_TAG_UINT32:
    case WEIR_TAG_UINT64:
        return put_uint(to, load_uint(at + 1, at[0] - WEIR_TAG_UINT8));
    case WEIR_TAG_INT8:
    case WEIR_TAG_INT16:
    case WEIR_TAG_INT32:
    case WEIR_TAG_INT64:
        return put_int(to, load_int(at + 1, at[0] - WEIR_TAG_INT8));
    case WEIR_TAG_STR8:
    case WEIR_TAG_STR16:
    case WEIR_TAG_STR32:
        if (length > 31)
            return weir__store_head(to, WEIR_TAG_STR8, WEIR_TAG_STR16, length);
        to[0] = (uint8_t)(WEIR_TAG_FIXSTR | length);
        return 1;
    case WEIR_TAG_BIN8:
    case WEIR_TAG_BIN16:
    case WEIR_TAG_BIN32:
        return weir__store_head(to, WEIR_TAG_BIN8, WEIR_TAG_BIN16, length);
    case WEIR_TAG_EXT8:
    case WEIR_TAG_EXT16:
    case WEIR_TAG_EXT32:
        return weir__store_ext_head(to, at[tag.head_bytes - 1], length);
    case WEIR_TAG_ARRAY16:
    case WEIR_TAG_ARRAY32:
        return put_count(to, WEIR_TAG_FIXARRAY, WEIR_TAG_ARRAY16, length);
    case WEIR_TAG_MAP16:
    case WEIR_TAG_MAP32:
        return put_count(to, WEIR_TAG_FIXMAP, WEIR_TAG_MAP16, length);
    default:
        memcpy(to, at, tag.head_bytes);
        return tag.head_bytes;
    }
}

/* --- maps ------------------------------------------------------------------------------------ */

static int compare_keys(const struct rewrite *r, const struct pair *a, const struct pair *b)
{
    return weir_view_compare(weir_view_of(r->start + a->key, a->value - a->key),
                             weir_view_of(r->start + b->key, b->value - b->key));
}

/* Whether @a stands before @b; equal keys as they were packed. */
static bool is_before(const struct rewrite *r, const struct pair *a, const struct pair *b)
{
    int order = compare_keys(r, a, b);
    return order != 0 ? order < 0 : a->packed < b->packed;
}

/* Let what is at @root of a heap of @count sink to its place; the last one is on top. */
static void sift(const struct rewrite *r, struct pair *pairs, size_t root, size_t count)
{
    struct pair sinking = pairs[root];

    for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && is_before(r, &pairs[child], &pairs[child + 1]))
            child++;
        if (!is_before(r, &sinking, &pairs[child]))
            break;
        pairs[root] = pairs[child];
        root = child;
    }
    pairs[root] = sinking;
}

/* In place, without recursion, never worse than n log n: the keys may be anybody's. */
static void sort_pairs(const struct rewrite *r, struct pair *pairs, size_t count)
{
    for (size_t root = count / 2; root-- > 0;)
        sift(r, pairs, root, count);
    for (size_t last = count; last-- > 1;) {
        struct pair top = pairs[0];
        pairs[0] = pairs[last];
        pairs[last] = top;
        sift(r, pairs, 0, last);
    }
}

/* Whether the keys stand in their order, and no two are equal. */
static bool is_sorted(const struct rewrite *r, const struct pair *pairs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (compare_keys(r, &pairs[i - 1], &pairs[i]) >= 0)
            return false;
    }
    return true;
}

/* Of sorted pairs: set the error to the first key, as packed, that was there before. */
static int refuse_equal_keys(struct rewrite *r, const struct pair *pairs, size_t count)
{
    int rc = 0;

    for (size_t i = 1; i < count; i++) {
        if (compare_keys(r, &pairs[i - 1], &pairs[i]) != 0)
            continue;
        if (rc == 0 || pairs[i].packed < r->error_offset)
            r->error_offset = pairs[i].packed;
        rc = -EBADMSG;
    }
    return rc;
}

/* The map whose pairs begin at entry @first is complete: bring them into their order. */
static int finish_map(struct rewrite *r, size_t first)
{
    struct pair *pairs = pairs_of(r) + first;
    size_t count = r->pair_count - first;
    size_t begin = pairs[0].key;
    size_t size = pairs[count - 1].end - begin;

    r->pair_count = first;
    if (is_sorted(r, pairs, count))
        return 0;
    sort_pairs(r, pairs, count);
    int rc = refuse_equal_keys(r, pairs, count);
    if (rc != 0)
        return rc;
    rc = scratch_grow(r, &r->sorted, size, 0);
    if (rc != 0)
        return rc;
    uint8_t *to = r->sorted->data;
    for (size_t i = 0; i < count; i++) {
        memcpy(to, r->start + pairs[i].key, pairs[i].end - pairs[i].key);
        to += pairs[i].end - pairs[i].key;
    }
    memcpy(r->start + begin, r->sorted->data, size);
    r->buf->bytes_copied += 2 * (uint64_t)size;
    return 0;
}

/* --- the walk -------------------------------------------------------------------------------- */

/* A value is about to be written in the map of @frame. */
static int note_pair(struct rewrite *r, const struct frame *frame)
{
    size_t used = r->pair_count * sizeof(struct pair);

    if (frame->left % 2 != 0) {
        pairs_of(r)[r->pair_count - 1].value = offset_of(r, r->to);
        return 0;
    }
    int rc = scratch_grow(r, &r->pairs, used + sizeof(struct pair), used);
    if (rc != 0)
        return rc;
    struct pair pair = {offset_of(r, r->to), 0, 0, offset_of(r, r->from)};
    pairs_of(r)[r->pair_count++] = pair;
    return 0;
}

/* A value is complete, and with it perhaps what it lies in, and so on. */
static int complete_value(struct rewrite *r)
{
    while (r->depth != 0) {
        struct frame *frame = &frames_of(r)[r->depth - 1];
        frame->left--;
        if (frame->map && frame->left % 2 == 0)
            pairs_of(r)[r->pair_count - 1].end = offset_of(r, r->to);
        if (frame->left != 0)
            return 0;
        int rc = frame->map ? finish_map(r, frame->pairs) : 0;
        if (rc != 0)
            return rc;
        r->depth--;
    }
    return 0;
}

static void open_container(struct rewrite *r, bool map, uint64_t values)
{
    struct frame frame = {values, offset_of(r, r->from), r->pair_count, map};

    frames_of(r)[r->depth++] = frame;
}

/* Rewrite the next head, and what is behind it that is no value. */
static int rewrite_head(struct rewrite *r)
{
    struct weir_wire_tag tag = weir_wire_tags[r->from[0]];
    size_t left = (size_t)(r->end - r->from);
    uint8_t head[16];

    r->error_offset = offset_of(r, r->from);
    if (tag.kind == WEIR_WIRE_BAD || tag.head_bytes > left)
        return -EBADMSG;
    size_t length = weir_wire_length(r->from, tag);
    size_t body = tag.kind == WEIR_WIRE_BYTES ? length : 0;
    if (body > left - tag.head_bytes)
        return -EBADMSG;
    bool map = tag.kind == WEIR_WIRE_MAP;
    bool container = map || tag.kind == WEIR_WIRE_ARRAY;
    if (container && r->depth == r->depth_max)
        return -ENOBUFS;
    if (r->depth != 0 && frames_of(r)[r->depth - 1].map) {
        int rc = note_pair(r, &frames_of(r)[r->depth - 1]);
        if (rc != 0)
            return rc;
    }
    if (container && length != 0)
        open_container(r, map, map ? 2 * (uint64_t)length : length);
    size_t head_bytes = shortest_head(r->from, tag, head);
    r->from += tag.head_bytes;
    if (r->to + head_bytes != r->from)
        memmove(r->to + head_bytes, r->from, body);
    memcpy(r->to, head, head_bytes);
    r->to += head_bytes + body;
    r->from += body;
    return container && length != 0 ? 0 : complete_value(r);
}

static int rewrite_all(struct rewrite *r)
{
    int rc = scratch_grow(r, &r->frames, r->depth_max * sizeof(struct frame), 0);

    while (rc == 0 && r->from != r->end)
        rc = rewrite_head(r);
    if (rc == 0 && r->depth != 0) {
        r->error_offset = frames_of(r)[r->depth - 1].packed;
        rc = -EBADMSG;
    }
    weir_block_drop(r->frames);
    weir_block_drop(r->pairs);
    weir_block_drop(r->sorted);
    return rc;
}

int weir_pack_end_canonical(struct weir_packer *packer, const struct weir_limits *limits,
                            struct weir_view *ret)
{
    uint32_t depth = limits != NULL && limits->depth != 0 ? limits->depth : DEPTH_DEFAULT;
    struct weir_buf *buf = packer->buf;
    struct rewrite r = {.buf = buf};

    /* What weir_pack_end() refuses at once. */
    if (packer->pos == NULL || packer->opened != 0)
        return weir_pack_end(packer, ret);
    r.start = buf->message + buf->header_bytes;
    r.from = r.start;
    r.to = r.start;
    r.end = packer->pos;
    r.depth_max = depth < WEIR_DEPTH_MAX ? depth : WEIR_DEPTH_MAX;
    int rc = buf->message_fixed == 0 ? rewrite_all(&r) : -EINVAL;
    if (rc != 0) {
        packer->pos = weir__pack_fail_at(buf, rc, r.error_offset);
        return weir_pack_end(packer, ret);
    }
    buf->pos = packer->pos;
    weir__buf_take_back(buf, (size_t)(r.end - r.to));
    packer->pos = buf->pos;
    packer->end = buf->end;
    /* They were counted just now. */
    return weir_pack_end_part(packer, ret);
}
