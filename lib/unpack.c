/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "unpack_private.h"

#define NANOSECONDS_MAX 999999999u
#define TIMESTAMP_BYTES_MAX 12u

int weir__unpack_fail(struct weir_unpacker *unpacker, int error)
{
    if (unpacker->error == 0) {
        unpacker->error = error;
        unpacker->end = unpacker->pos;
        unpacker->pieces = NULL;
    }
    return unpacker->error;
}

void weir_unpack_limit_slow(struct weir_unpacker *unpacker, uint64_t bytes)
{
    if (bytes != 0 && weir_unpack_left_bytes(unpacker) > bytes)
        weir__unpack_fail(unpacker, -ENOBUFS);
}

/* --- pieces -------------------------------------------------------------------------------- */

/* Bytes in the pieces to come. */
static size_t beyond_bytes(const struct weir_unpacker *unpacker)
{
    return weir_unpack_left_bytes(unpacker) - weir_unpack_left(unpacker);
}

/* Go on with the next piece that has bytes. There is one, and this one is read. */
static void enter_next(struct weir_unpacker *unpacker)
{
    assert(unpacker->pos == unpacker->end && beyond_bytes(unpacker) != 0);
    size_t offset = weir_unpack_offset(unpacker);
    while (unpacker->next->view.size == 0)
        unpacker->next++;
    struct weir_view piece = (unpacker->next++)->view;
    assert(piece.size <= unpacker->pieces->size_bytes - offset);
    unpacker->pos = piece.data;
    unpacker->end = piece.data + piece.size;
    unpacker->origin = (uintptr_t)piece.data - offset;
}

void weir_unpack_init_slices(struct weir_unpacker *unpacker, struct weir_unpack_pieces *pieces,
                             const struct weir_slice *slices, size_t count,
                             struct weir_arena *arena, const struct weir_limits *limits)
{
    const struct weir_view none = {NULL, 0};

    weir_unpack_init(unpacker, none, limits);
    pieces->bytes_copied = 0;
    pieces->size_bytes = 0;
    pieces->arena = arena;
    for (size_t i = 0; i < count; i++) {
        if (weir_add_overflows(pieces->size_bytes, slices[i].view.size, &pieces->size_bytes)) {
            weir__unpack_fail(unpacker, -EOVERFLOW);
            return;
        }
    }
    unpacker->pieces = pieces;
    unpacker->next = slices;
    if (limits != NULL)
        weir_unpack_limit_slow(unpacker, limits->bytes);
    if (weir_unpack_left_bytes(unpacker) != 0)
        enter_next(unpacker);
}

void weir__unpack_advance(struct weir_unpacker *unpacker, size_t size)
{
    while (size > weir_unpack_left(unpacker)) {
        size -= weir_unpack_left(unpacker);
        unpacker->pos = unpacker->end;
        enter_next(unpacker);
    }
    unpacker->pos += size;
}

struct weir_view weir__unpack_part(struct weir_unpacker *unpacker, size_t size)
{
    if (weir_unpack_left(unpacker) == 0)
        enter_next(unpacker);
    size_t left = weir_unpack_left(unpacker);
    struct weir_view part = weir_view_of(unpacker->pos, left < size ? left : size);
    unpacker->pos += part.size;
    return part;
}

/* Pass over @size bytes, which are there, and copy them. */
static void copy_out(struct weir_unpacker *unpacker, uint8_t *to, size_t size)
{
    while (size != 0) {
        struct weir_view part = weir__unpack_part(unpacker, size);
        memcpy(to, part.data, part.size);
        to += part.size;
        size -= part.size;
    }
}

/*
 * Pass over @size bytes, which are there, and hand them out: where they lie, or gathered in the
 * arena. On an error nothing has happened.
 */
static int view_of(struct weir_unpacker *unpacker, size_t size, struct weir_view *ret)
{
    if (size > weir_unpack_left(unpacker)) {
        if (weir_unpack_left(unpacker) == 0)
            enter_next(unpacker);
        if (size > weir_unpack_left(unpacker)) {
            struct weir_unpack_pieces *pieces = unpacker->pieces;
            if (pieces->arena == NULL)
                return -EINVAL;
            uint8_t *memory = weir_arena_alloc(pieces->arena, size, 1);
            if (memory == NULL)
                return weir_arena_error(pieces->arena);
            copy_out(unpacker, memory, size);
            pieces->bytes_copied += size;
            *ret = weir_view_of(memory, size);
            return 0;
        }
    }
    *ret = weir_view_of(unpacker->pos, size);
    unpacker->pos += size;
    return 0;
}

/* --- heads --------------------------------------------------------------------------------- */

int weir__unpack_tag(struct weir_unpacker *unpacker)
{
    if (unpacker->error != 0)
        return unpacker->error;
    if (weir_unpack_left(unpacker) == 0) {
        if (beyond_bytes(unpacker) == 0)
            return weir__unpack_fail(unpacker, -EAGAIN);
        enter_next(unpacker);
    }
    if (unpacker->elements_left == 0)
        return weir__unpack_fail(unpacker, -ENOBUFS);
    if (unpacker->pos[0] == WEIR_TAG_RESERVED)
        return weir__unpack_fail(unpacker, -EBADMSG);
    return 0;
}

int weir__unpack_body(struct weir_unpacker *unpacker, struct weir__head *ret)
{
    size_t left = weir_unpack_left_bytes(unpacker);

    ret->at = unpacker->pos;
    ret->tag = weir_wire_tags[unpacker->pos[0]];
    if (ret->tag.head_bytes > left)
        return weir__unpack_fail(unpacker, -EAGAIN);
    if (ret->tag.head_bytes > weir_unpack_left(unpacker)) {
        struct weir_unpacker ahead = *unpacker;
        copy_out(&ahead, ret->scratch, ret->tag.head_bytes);
        ret->at = ret->scratch;
    }
    left -= ret->tag.head_bytes;
    ret->length = weir_wire_length(ret->at, ret->tag);
    if (ret->length > left)
        return weir__unpack_fail(unpacker, -EAGAIN);
    if (ret->tag.kind == WEIR_WIRE_MAP && ret->length > left - ret->length)
        return weir__unpack_fail(unpacker, -EAGAIN);
    return 0;
}

void weir__unpack_take(struct weir_unpacker *unpacker, const struct weir__head *head)
{
    weir__unpack_advance(unpacker, head->tag.head_bytes);
    if (head->tag.kind == WEIR_WIRE_BYTES)
        weir__unpack_advance(unpacker, head->length);
    unpacker->elements_left--;
}

int weir__unpack_take_bytes(struct weir_unpacker *unpacker, const struct weir__head *head,
                            struct weir_view *ret)
{
    struct weir_unpacker after = *unpacker;

    weir__unpack_advance(&after, head->tag.head_bytes);
    int rc = view_of(&after, head->length, ret);
    if (rc != 0)
        return weir__unpack_fail(unpacker, rc);
    after.elements_left--;
    *unpacker = after;
    return 0;
}

enum weir_type weir__tag_type(unsigned tag)
{
    if (tag < 0x80)
        return WEIR_TYPE_UINT;
    if (tag < WEIR_TAG_FIXARRAY || tag == WEIR_TAG_MAP16 || tag == WEIR_TAG_MAP32)
        return WEIR_TYPE_MAP;
    if (tag < WEIR_TAG_FIXSTR || tag == WEIR_TAG_ARRAY16 || tag == WEIR_TAG_ARRAY32)
        return WEIR_TYPE_ARRAY;
    if (tag < WEIR_TAG_NIL || (tag >= WEIR_TAG_STR8 && tag <= WEIR_TAG_STR32))
        return WEIR_TYPE_STR;
    if (tag >= WEIR_TAG_NEGATIVE_FIXINT || (tag >= WEIR_TAG_INT8 && tag <= WEIR_TAG_INT64))
        return WEIR_TYPE_INT;
    if (tag >= WEIR_TAG_UINT8 && tag <= WEIR_TAG_UINT64)
        return WEIR_TYPE_UINT;
    if (tag >= WEIR_TAG_BIN8 && tag <= WEIR_TAG_BIN32)
        return WEIR_TYPE_BIN;
    if (tag == WEIR_TAG_FLOAT32)
        return WEIR_TYPE_F32;
    if (tag == WEIR_TAG_FLOAT64)
        return WEIR_TYPE_F64;
    return tag == WEIR_TAG_NIL                             ? WEIR_TYPE_NIL
           : tag == WEIR_TAG_FALSE || tag == WEIR_TAG_TRUE ? WEIR_TYPE_BOOL
                                                           : WEIR_TYPE_EXT;
}

uint64_t weir__integer_bits(const uint8_t *at)
{
    switch (at[0]) {
    case WEIR_TAG_UINT8:
        return at[1];
    case WEIR_TAG_UINT16:
        return weir_wire_load16(at + 1);
    case WEIR_TAG_UINT32:
        return weir_wire_load32(at + 1);
    case WEIR_TAG_UINT64:
    case WEIR_TAG_INT64:
        return weir_wire_load64(at + 1);
    case WEIR_TAG_INT8:
        return (uint64_t)(int8_t)at[1];
    case WEIR_TAG_INT16:
        return (uint64_t)(int16_t)weir_wire_load16(at + 1);
    case WEIR_TAG_INT32:
        return (uint64_t)(int32_t)weir_wire_load32(at + 1);
    default: /* a fixint, positive or negative */
        return (uint64_t)(int8_t)at[0];
    }
}

bool weir__integer_negative(const uint8_t *at)
{
    if (at[0] >= WEIR_TAG_INT8 && at[0] <= WEIR_TAG_INT64)
        return (at[1] & 0x80u) != 0;
    return at[0] >= WEIR_TAG_NEGATIVE_FIXINT;
}

/* Whether the next value is of @type, or of @other, and is all there. */
static int open_value(struct weir_unpacker *unpacker, enum weir_type type, enum weir_type other,
                      struct weir__head *ret)
{
    int rc = weir__unpack_tag(unpacker);
    if (rc != 0)
        return rc;
    enum weir_type found = weir__tag_type(unpacker->pos[0]);
    if (found != type && found != other)
        return weir__unpack_fail(unpacker, -EPROTO);
    return weir__unpack_body(unpacker, ret);
}

/* Store an integer that fits it as one of @size_bytes; its sign is in the high bits. */
static void store_integer(uint64_t bits, size_t size_bytes, void *ret)
{
    uint8_t u8 = (uint8_t)bits;
    uint16_t u16 = (uint16_t)bits;
    uint32_t u32 = (uint32_t)bits;

    memcpy(ret,
           size_bytes == 1   ? (void *)&u8
           : size_bytes == 2 ? (void *)&u16
           : size_bytes == 4 ? (void *)&u32
                             : (void *)&bits,
           size_bytes);
}

int weir_unpack_uint_slow(struct weir_unpacker *unpacker, uint64_t max, size_t size_bytes,
                          void *ret)
{
    struct weir__head head;
    int rc = open_value(unpacker, WEIR_TYPE_UINT, WEIR_TYPE_INT, &head);
    if (rc != 0)
        return rc;
    uint64_t bits = weir__integer_bits(head.at);
    if (weir__integer_negative(head.at) || bits > max)
        return weir__unpack_fail(unpacker, -EOVERFLOW);
    weir__unpack_take(unpacker, &head);
    store_integer(bits, size_bytes, ret);
    return 0;
}

int weir_unpack_int_slow(struct weir_unpacker *unpacker, int64_t min, int64_t max,
                         size_t size_bytes, void *ret)
{
    struct weir__head head;

    assert(min < 0 && max >= 0);
    int rc = open_value(unpacker, WEIR_TYPE_UINT, WEIR_TYPE_INT, &head);
    if (rc != 0)
        return rc;
    uint64_t bits = weir__integer_bits(head.at);
    if (weir__integer_negative(head.at) ? (int64_t)bits < min : bits > (uint64_t)max)
        return weir__unpack_fail(unpacker, -EOVERFLOW);
    weir__unpack_take(unpacker, &head);
    store_integer(bits, size_bytes, ret);
    return 0;
}

static float load_f32(const uint8_t *at)
{
    uint32_t bits = weir_wire_load32(at);
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static double load_f64(const uint8_t *at)
{
    uint64_t bits = weir_wire_load64(at);
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

int weir_unpack_f64_slow(struct weir_unpacker *unpacker, double *ret)
{
    struct weir__head head;
    int rc = open_value(unpacker, WEIR_TYPE_F64, WEIR_TYPE_F32, &head);
    if (rc != 0)
        return rc;
    weir__unpack_take(unpacker, &head);
    *ret = head.at[0] == WEIR_TAG_FLOAT64 ? load_f64(head.at + 1) : (double)load_f32(head.at + 1);
    return 0;
}

int weir_unpack_f32_slow(struct weir_unpacker *unpacker, float *ret)
{
    struct weir__head head;
    int rc = open_value(unpacker, WEIR_TYPE_F32, WEIR_TYPE_F32, &head);
    if (rc != 0)
        return rc;
    weir__unpack_take(unpacker, &head);
    *ret = load_f32(head.at + 1);
    return 0;
}

int weir_unpack_nil_slow(struct weir_unpacker *unpacker)
{
    struct weir__head head;
    int rc = open_value(unpacker, WEIR_TYPE_NIL, WEIR_TYPE_NIL, &head);
    if (rc == 0)
        weir__unpack_take(unpacker, &head);
    return rc;
}

int weir_unpack_bool_slow(struct weir_unpacker *unpacker, bool *ret)
{
    struct weir__head head;
    int rc = open_value(unpacker, WEIR_TYPE_BOOL, WEIR_TYPE_BOOL, &head);
    if (rc != 0)
        return rc;
    weir__unpack_take(unpacker, &head);
    *ret = head.at[0] == WEIR_TAG_TRUE;
    return 0;
}

int weir_unpack_bytes_slow(struct weir_unpacker *unpacker, enum weir_type type,
                           struct weir_view *ret)
{
    struct weir__head head;

    assert(type == WEIR_TYPE_STR || type == WEIR_TYPE_BIN);
    int rc = open_value(unpacker, type, type, &head);
    return rc != 0 ? rc : weir__unpack_take_bytes(unpacker, &head, ret);
}

int weir_unpack_count_slow(struct weir_unpacker *unpacker, enum weir_type type, uint32_t *ret)
{
    struct weir__head head;

    assert(type == WEIR_TYPE_ARRAY || type == WEIR_TYPE_MAP);
    int rc = open_value(unpacker, type, type, &head);
    if (rc != 0)
        return rc;
    weir__unpack_take(unpacker, &head);
    *ret = head.length;
    return 0;
}

/* The type byte of an ext is the last one of its head. */
static int8_t ext_type(const struct weir__head *head)
{
    return (int8_t)head->at[head->tag.head_bytes - 1];
}

int weir_unpack_ext_slow(struct weir_unpacker *unpacker, int8_t *ret_type,
                         struct weir_view *ret_bytes)
{
    struct weir__head head;
    int rc = open_value(unpacker, WEIR_TYPE_EXT, WEIR_TYPE_EXT, &head);
    if (rc == 0)
        rc = weir__unpack_take_bytes(unpacker, &head, ret_bytes);
    if (rc == 0)
        *ret_type = ext_type(&head);
    return rc;
}

/* Source: MessagePack specification, "Timestamp extension type". */
int weir_timestamp_decode(struct weir_view bytes, struct weir_timestamp *ret)
{
    struct weir_timestamp time;
    uint64_t packed;

    switch (bytes.size) {
    case 4:
        time.seconds = weir_wire_load32(bytes.data);
        time.nanoseconds = 0;
        break;
    case 8:
        packed = weir_wire_load64(bytes.data);
        time.seconds = (int64_t)(packed & ((UINT64_C(1) << 34) - 1));
        time.nanoseconds = (uint32_t)(packed >> 34);
        break;
    case 12:
        time.nanoseconds = weir_wire_load32(bytes.data);
        time.seconds = (int64_t)weir_wire_load64(bytes.data + 4);
        break;
    default:
        return -EBADMSG;
    }
    if (time.nanoseconds > NANOSECONDS_MAX)
        return -EBADMSG;
    *ret = time;
    return 0;
}

int weir_unpack_timestamp_slow(struct weir_unpacker *unpacker, struct weir_timestamp *ret)
{
    uint8_t payload[TIMESTAMP_BYTES_MAX];
    struct weir__head head;

    int rc = open_value(unpacker, WEIR_TYPE_EXT, WEIR_TYPE_EXT, &head);
    if (rc != 0)
        return rc;
    if (ext_type(&head) != -1)
        return weir__unpack_fail(unpacker, -EPROTO);
    if (head.length > sizeof(payload))
        return weir__unpack_fail(unpacker, -EBADMSG);
    struct weir_unpacker after = *unpacker;
    weir__unpack_advance(&after, head.tag.head_bytes);
    copy_out(&after, payload, head.length);
    if (weir_timestamp_decode(weir_view_of(payload, head.length), ret) != 0)
        return weir__unpack_fail(unpacker, -EBADMSG);
    after.elements_left--;
    *unpacker = after;
    return 0;
}

/* --- any value ----------------------------------------------------------------------------- */

int weir_unpack_peek_slow(const struct weir_unpacker *unpacker, enum weir_type *ret)
{
    struct weir_unpacker ahead = *unpacker;
    struct weir__head head;

    ahead.elements_left = UINT64_MAX;
    int rc = weir__unpack_tag(&ahead);
    if (rc != 0)
        return rc;
    enum weir_type type = weir__tag_type(ahead.pos[0]);
    if (type == WEIR_TYPE_INT) {
        rc = weir__unpack_body(&ahead, &head);
        if (rc != 0)
            return rc;
        type = weir__integer_negative(head.at) ? WEIR_TYPE_INT : WEIR_TYPE_UINT;
    }
    *ret = type;
    return 0;
}

void weir__read_scalar(const uint8_t *at, struct weir_value *value)
{
    switch (value->type) {
    case WEIR_TYPE_UINT:
    case WEIR_TYPE_INT:
        value->type = weir__integer_negative(at) ? WEIR_TYPE_INT : WEIR_TYPE_UINT;
        value->as.u64 = weir__integer_bits(at);
        break;
    case WEIR_TYPE_BOOL:
        value->as.boolean = at[0] == WEIR_TAG_TRUE;
        break;
    case WEIR_TYPE_F32:
        value->as.f32 = load_f32(at + 1);
        break;
    case WEIR_TYPE_F64:
        value->as.f64 = load_f64(at + 1);
        break;
    default:
        break;
    }
}

int weir_unpack_next_slow(struct weir_unpacker *unpacker, struct weir_value *ret)
{
    struct weir_value value = {WEIR_TYPE_NIL, 0, 0, {0}};
    struct weir__head head;

    int rc = weir__unpack_tag(unpacker);
    if (rc == 0)
        rc = weir__unpack_body(unpacker, &head);
    if (rc != 0)
        return rc;
    value.type = weir__tag_type(head.at[0]);
    if (head.tag.kind == WEIR_WIRE_BYTES) {
        rc = weir__unpack_take_bytes(unpacker, &head, &value.as.bytes);
        if (rc != 0)
            return rc;
        if (value.type == WEIR_TYPE_EXT)
            value.ext_type = ext_type(&head);
    } else {
        value.count = head.length;
        weir__read_scalar(head.at, &value);
        weir__unpack_take(unpacker, &head);
    }
    *ret = value;
    return 0;
}

/* A value was the last one of an array or map. Returns whether something is to come around it. */
static inline __attribute__((always_inline)) bool close_levels(struct weir__levels *levels)
{
    while (levels->to_come == 0) {
        if (levels->depth == 0)
            return false;
        levels->to_come = levels->outer[--levels->depth];
    }
    return true;
}

/*
 * Pass over a value whose tag does not decide its size, or open it. Returns whether that is done
 * here, and something is to come.
 */
static inline __attribute__((always_inline)) bool run_counted(const uint8_t **at,
                                                              const uint8_t *end, size_t beyond,
                                                              struct weir__levels *levels)
{
    const uint8_t *after = *at;
    uint64_t values;
    if (WEIR_UNLIKELY(!weir__step_counted(&after, end, beyond, &values)))
        return false;
    if (levels->depth == levels->depth_max && /* an empty one is one deep, too */
        weir_wire_tags[(*at)[0]].kind != WEIR_WIRE_BYTES)
        return false;
    *at = after;
    levels->to_come--;
    if (values == 0)
        return close_levels(levels);
    levels->announced += values;
    levels->outer[levels->depth++] = levels->to_come;
    levels->to_come = values;
    return true;
}

void weir__unpack_run(struct weir_unpacker *unpacker, struct weir__levels *ret_levels)
{
    struct weir__levels levels = *ret_levels; /* in registers */
    const uint8_t *at = unpacker->pos;
    const uint8_t *end = unpacker->end;
    size_t beyond = beyond_bytes(unpacker);

    if (levels.to_come == 0)
        return;
    while ((size_t)(end - at) >= 2 * WEIR__ROOM) {
        unsigned tag = at[0];
        /* A short str before an even number of values is most often a key: its value is passed over
         * here too, where the processor learns on its own what values are like. */
        if ((tag & 0xe0u) == WEIR_TAG_FIXSTR && levels.to_come % 2 == 0) {
            at += 1 + (tag & 0x1fu);
            levels.to_come--;
            if (WEIR_LIKELY(weir__step_over(&at, at[0]))) {
                if (WEIR_UNLIKELY(--levels.to_come == 0) && !close_levels(&levels))
                    break;
            } else if (!run_counted(&at, end, beyond, &levels)) {
                break;
            }
        } else if (WEIR_LIKELY(weir__step_over(&at, tag))) {
            if (WEIR_UNLIKELY(--levels.to_come == 0) && !close_levels(&levels))
                break;
        } else if (!run_counted(&at, end, beyond, &levels)) {
            break;
        }
    }
    /* The rest of the piece, but for what is rare. */
    while (levels.to_come != 0 && at != end) {
        size_t step = weir__step(at);
        if (step == 0 || step > (size_t)(end - at))
            break;
        at += step;
        if (--levels.to_come == 0 && !close_levels(&levels))
            break;
    }
    unpacker->pos = at;
    *ret_levels = levels;
}

/* The most levels that a skip tells apart. One that is deeper is slower, no more. */
#define SKIP_LEVELS 24u

/* The same for values that are to come all at one level: what they contain is added to them. */
static void skip_run(struct weir_unpacker *unpacker, uint64_t *to_come)
{
    uint64_t outer[SKIP_LEVELS];
    struct weir__levels levels = {*to_come, *to_come, outer, 0, SKIP_LEVELS};

    weir__unpack_run(unpacker, &levels);
    /* No sum of so few counts of 33 bits wraps, and of what was there before them. */
    for (*to_come = levels.to_come; levels.depth != 0; levels.depth--)
        *to_come += outer[levels.depth - 1];
    unpacker->elements_left -= levels.announced - *to_come;
}

int weir_unpack_skip_slow(struct weir_unpacker *unpacker)
{
    return weir__unpack_skip(unpacker, 1);
}

int weir__unpack_skip(struct weir_unpacker *unpacker, uint64_t count)
{
    uint64_t to_come = count;
    struct weir__head head;

    for (;;) {
        if (unpacker->elements_left >= weir_unpack_left(unpacker))
            skip_run(unpacker, &to_come);
        if (to_come == 0)
            return 0;
        int rc = weir__unpack_tag(unpacker);
        if (rc == 0)
            rc = weir__unpack_body(unpacker, &head);
        if (rc != 0)
            return rc;
        weir__unpack_take(unpacker, &head);
        /* Each value to come takes a byte at least: once there are more of them than bytes, it
         * does not matter how many more, and the count cannot wrap. */
        size_t left = weir_unpack_left_bytes(unpacker);
        to_come += weir__head_values(&head) - 1;
        if (to_come > left)
            to_come = (uint64_t)left + 1;
    }
}

int weir_unpack_raw_slow(struct weir_unpacker *unpacker, struct weir_view *ret)
{
    struct weir_unpacker after = *unpacker;

    int rc = weir_unpack_skip_slow(&after);
    if (rc == 0) {
        struct weir_unpacker from = *unpacker;
        size_t size = weir_unpack_offset(&after) - weir_unpack_offset(&from);
        rc = view_of(&from, size, ret);
        if (rc != 0)
            return weir__unpack_fail(unpacker, rc);
    }
    *unpacker = after;
    return rc;
}

int weir_unpack_left_values(const struct weir_unpacker *unpacker, uint64_t *ret)
{
    struct weir_unpacker ahead = *unpacker;
    uint64_t count = 0;

    for (; ahead.error == 0 && !weir_unpack_done(&ahead); count++)
        weir_unpack_skip_slow(&ahead);
    if (ahead.error == 0)
        *ret = count;
    return ahead.error;
}

int weir_unpack_end_slow(struct weir_unpacker *unpacker)
{
    if (unpacker->error == 0 && weir_unpack_left_bytes(unpacker) != 0)
        weir__unpack_fail(unpacker, -EBADMSG);
    return unpacker->error;
}
