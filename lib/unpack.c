/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "weir/unpack.h"

#include "unpack_private.h"

#define NANOSECONDS_MAX 999999999u

/* The head of a value: everything before its payload or elements. */
struct head {
    const uint8_t *at;
    struct weir_wire_tag tag;
    uint32_t length; /* payload bytes or count; 0 of a scalar */
};

static int fail(struct weir_unpacker *unpacker, int error)
{
    if (unpacker->error == 0) {
        unpacker->error = error;
        unpacker->error_offset = (size_t)(unpacker->pos - unpacker->start);
        unpacker->pos = unpacker->end;
    }
    return unpacker->error;
}

int weir__unpack_fail(struct weir_unpacker *unpacker, int error)
{
    return fail(unpacker, error);
}

void weir_unpack_init(struct weir_unpacker *unpacker, struct weir_view input,
                      const struct weir_limits *limits)
{
    unpacker->start = input.data;
    unpacker->pos = input.data;
    unpacker->end = input.size != 0 ? input.data + input.size : input.data;
    unpacker->elements_left = limits && limits->elements ? limits->elements : UINT64_MAX;
    unpacker->error = 0;
    unpacker->error_offset = 0;
    if (limits && limits->bytes != 0 && input.size > limits->bytes)
        fail(unpacker, -ENOBUFS);
}

/* Whether there is a value to look at: its tag is there, known, and within the budget. */
static int check_tag(struct weir_unpacker *unpacker)
{
    if (unpacker->error != 0)
        return unpacker->error;
    if (weir_unpack_left(unpacker) == 0)
        return fail(unpacker, -EAGAIN);
    if (unpacker->elements_left == 0)
        return fail(unpacker, -ENOBUFS);
    if (unpacker->pos[0] == WEIR_TAG_RESERVED)
        return fail(unpacker, -EBADMSG);
    return 0;
}

/*
 * Whether the value, whose tag was checked, is there: its head, its payload, and for each of its
 * elements one byte at least. Nothing is taken.
 */
static int check_body(struct weir_unpacker *unpacker, struct head *ret)
{
    size_t left = weir_unpack_left(unpacker);
    struct head head = {unpacker->pos, weir_wire_tags[unpacker->pos[0]], 0};

    if (head.tag.head_bytes > left)
        return fail(unpacker, -EAGAIN);
    left -= head.tag.head_bytes;
    head.length = weir_wire_length(head.at, head.tag);
    if (head.length > left)
        return fail(unpacker, -EAGAIN);
    if (head.tag.kind == WEIR_WIRE_MAP && head.length > left - head.length)
        return fail(unpacker, -EAGAIN);
    *ret = head;
    return 0;
}

/* Take the value that was checked, and hand out its payload. */
static struct weir_view take_bytes(struct weir_unpacker *unpacker, const struct head *head)
{
    weir_unpack_take(unpacker, head->tag.head_bytes + (size_t)head->length);
    return weir_view_of(head->at + head->tag.head_bytes, head->length);
}

/* What a tag means, integers aside: these depend on their value too. */
static enum weir_type tag_type(unsigned tag)
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

static bool is_integer(enum weir_type type)
{
    return type == WEIR_TYPE_UINT || type == WEIR_TYPE_INT;
}

/* The value of the integer at @at, whose head is there, as the 64 bits of an int64 or uint64. */
static uint64_t integer_bits(const uint8_t *at)
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

/* Whether the integer at @at is below 0. Its first payload byte, if it has any, must be there. */
static bool is_negative(const uint8_t *at)
{
    if (at[0] >= WEIR_TAG_INT8 && at[0] <= WEIR_TAG_INT64)
        return (at[1] & 0x80u) != 0;
    return at[0] >= WEIR_TAG_NEGATIVE_FIXINT;
}

/* Whether the next value is of @type, or of @other, and is all there. */
static int open_value(struct weir_unpacker *unpacker, enum weir_type type, enum weir_type other,
                      struct head *ret)
{
    int rc = check_tag(unpacker);
    if (rc != 0)
        return rc;
    enum weir_type found = tag_type(unpacker->pos[0]);
    if (found != type && found != other)
        return fail(unpacker, -EPROTO);
    return check_body(unpacker, ret);
}

int weir_unpack_uint_slow(struct weir_unpacker *unpacker, uint64_t max, uint64_t *ret)
{
    struct head head;
    int rc = open_value(unpacker, WEIR_TYPE_UINT, WEIR_TYPE_INT, &head);
    if (rc != 0)
        return rc;
    uint64_t bits = integer_bits(head.at);
    if (is_negative(head.at) || bits > max)
        return fail(unpacker, -EOVERFLOW);
    weir_unpack_take(unpacker, head.tag.head_bytes);
    *ret = bits;
    return 0;
}

int weir_unpack_int_slow(struct weir_unpacker *unpacker, int64_t min, int64_t max, int64_t *ret)
{
    struct head head;

    assert(min < 0 && max >= 0);
    int rc = open_value(unpacker, WEIR_TYPE_UINT, WEIR_TYPE_INT, &head);
    if (rc != 0)
        return rc;
    uint64_t bits = integer_bits(head.at);
    if (is_negative(head.at) ? (int64_t)bits < min : bits > (uint64_t)max)
        return fail(unpacker, -EOVERFLOW);
    weir_unpack_take(unpacker, head.tag.head_bytes);
    *ret = (int64_t)bits;
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
    struct head head;
    int rc = open_value(unpacker, WEIR_TYPE_F64, WEIR_TYPE_F32, &head);
    if (rc != 0)
        return rc;
    weir_unpack_take(unpacker, head.tag.head_bytes);
    *ret = head.at[0] == WEIR_TAG_FLOAT64 ? load_f64(head.at + 1) : (double)load_f32(head.at + 1);
    return 0;
}

int weir_unpack_f32(struct weir_unpacker *unpacker, float *ret)
{
    struct head head;
    int rc = open_value(unpacker, WEIR_TYPE_F32, WEIR_TYPE_F32, &head);
    if (rc != 0)
        return rc;
    weir_unpack_take(unpacker, head.tag.head_bytes);
    *ret = load_f32(head.at + 1);
    return 0;
}

int weir_unpack_nil(struct weir_unpacker *unpacker)
{
    struct head head;
    int rc = open_value(unpacker, WEIR_TYPE_NIL, WEIR_TYPE_NIL, &head);
    if (rc == 0)
        weir_unpack_take(unpacker, head.tag.head_bytes);
    return rc;
}

int weir_unpack_bool_slow(struct weir_unpacker *unpacker, bool *ret)
{
    struct head head;
    int rc = open_value(unpacker, WEIR_TYPE_BOOL, WEIR_TYPE_BOOL, &head);
    if (rc != 0)
        return rc;
    weir_unpack_take(unpacker, head.tag.head_bytes);
    *ret = head.at[0] == WEIR_TAG_TRUE;
    return 0;
}

int weir_unpack_str_slow(struct weir_unpacker *unpacker, struct weir_view *ret)
{
    struct head head;
    int rc = open_value(unpacker, WEIR_TYPE_STR, WEIR_TYPE_STR, &head);
    if (rc == 0)
        *ret = take_bytes(unpacker, &head);
    return rc;
}

int weir_unpack_bin(struct weir_unpacker *unpacker, struct weir_view *ret)
{
    struct head head;
    int rc = open_value(unpacker, WEIR_TYPE_BIN, WEIR_TYPE_BIN, &head);
    if (rc == 0)
        *ret = take_bytes(unpacker, &head);
    return rc;
}

int weir_unpack_count_slow(struct weir_unpacker *unpacker, enum weir_type type, uint32_t *ret)
{
    struct head head;

    assert(type == WEIR_TYPE_ARRAY || type == WEIR_TYPE_MAP);
    int rc = open_value(unpacker, type, type, &head);
    if (rc != 0)
        return rc;
    weir_unpack_take(unpacker, head.tag.head_bytes);
    *ret = head.length;
    return 0;
}

/* The type byte of an ext is the last one of its head. */
static int8_t ext_type(const struct head *head)
{
    return (int8_t)head->at[head->tag.head_bytes - 1];
}

int weir_unpack_ext(struct weir_unpacker *unpacker, int8_t *ret_type, struct weir_view *ret_bytes)
{
    struct head head;
    int rc = open_value(unpacker, WEIR_TYPE_EXT, WEIR_TYPE_EXT, &head);
    if (rc != 0)
        return rc;
    *ret_type = ext_type(&head);
    *ret_bytes = take_bytes(unpacker, &head);
    return 0;
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

int weir_unpack_timestamp(struct weir_unpacker *unpacker, struct weir_timestamp *ret)
{
    struct head head;
    int rc = open_value(unpacker, WEIR_TYPE_EXT, WEIR_TYPE_EXT, &head);
    if (rc != 0)
        return rc;
    if (ext_type(&head) != -1)
        return fail(unpacker, -EPROTO);
    struct weir_view bytes = weir_view_of(head.at + head.tag.head_bytes, head.length);
    if (weir_timestamp_decode(bytes, ret) != 0)
        return fail(unpacker, -EBADMSG);
    take_bytes(unpacker, &head);
    return 0;
}

int weir_unpack_peek(const struct weir_unpacker *unpacker, enum weir_type *ret)
{
    const uint8_t *at = unpacker->pos;
    size_t left = weir_unpack_left(unpacker);

    if (unpacker->error != 0)
        return unpacker->error;
    if (left == 0)
        return -EAGAIN;
    if (at[0] == WEIR_TAG_RESERVED)
        return -EBADMSG;
    enum weir_type type = tag_type(at[0]);
    if (type == WEIR_TYPE_INT) {
        if (left < weir_wire_tags[at[0]].head_bytes)
            return -EAGAIN;
        type = is_negative(at) ? WEIR_TYPE_INT : WEIR_TYPE_UINT;
    }
    *ret = type;
    return 0;
}

int weir_unpack_next(struct weir_unpacker *unpacker, struct weir_value *ret)
{
    struct weir_value value = {WEIR_TYPE_NIL, 0, 0, {0}};
    struct head head;

    int rc = check_tag(unpacker);
    if (rc == 0)
        rc = check_body(unpacker, &head);
    if (rc != 0)
        return rc;
    value.type = tag_type(head.at[0]);
    switch (head.tag.kind) {
    case WEIR_WIRE_BYTES:
        if (value.type == WEIR_TYPE_EXT)
            value.ext_type = ext_type(&head);
        value.as.bytes = take_bytes(unpacker, &head);
        *ret = value;
        return 0;
    case WEIR_WIRE_ARRAY:
    case WEIR_WIRE_MAP:
        value.count = head.length;
        break;
    default:
        if (is_integer(value.type)) {
            value.type = is_negative(head.at) ? WEIR_TYPE_INT : WEIR_TYPE_UINT;
            value.as.u64 = integer_bits(head.at);
        } else if (value.type == WEIR_TYPE_BOOL) {
            value.as.boolean = head.at[0] == WEIR_TAG_TRUE;
        } else if (value.type == WEIR_TYPE_F32) {
            value.as.f32 = load_f32(head.at + 1);
        } else if (value.type == WEIR_TYPE_F64) {
            value.as.f64 = load_f64(head.at + 1);
        }
        break;
    }
    weir_unpack_take(unpacker, head.tag.head_bytes);
    *ret = value;
    return 0;
}

/* Values that follow the head. */
static uint64_t head_values(const struct head *head)
{
    return head->tag.kind == WEIR_WIRE_ARRAY ? head->length
           : head->tag.kind == WEIR_WIRE_MAP ? (uint64_t)head->length * 2
                                             : 0;
}

int weir_unpack_skip(struct weir_unpacker *unpacker)
{
    uint64_t to_come = 1;
    struct head head;

    do {
        int rc = check_tag(unpacker);
        if (rc == 0)
            rc = check_body(unpacker, &head);
        if (rc != 0)
            return rc;
        if (head.tag.kind == WEIR_WIRE_BYTES)
            take_bytes(unpacker, &head);
        else
            weir_unpack_take(unpacker, head.tag.head_bytes);
        /* Each value to come takes a byte at least: once there are more of them than bytes, it
         * does not matter how many more, and the count cannot wrap. */
        size_t left = weir_unpack_left(unpacker);
        to_come += head_values(&head) - 1;
        if (to_come > left)
            to_come = (uint64_t)left + 1;
    } while (to_come != 0);
    return 0;
}

int weir_unpack_raw(struct weir_unpacker *unpacker, struct weir_view *ret)
{
    const uint8_t *from = unpacker->pos;
    int rc = weir_unpack_skip(unpacker);
    if (rc == 0)
        *ret = weir_view_of(from, (size_t)(unpacker->pos - from));
    return rc;
}

int weir_unpack_end(struct weir_unpacker *unpacker)
{
    if (unpacker->error == 0 && unpacker->pos != unpacker->end)
        fail(unpacker, -EBADMSG);
    return unpacker->error;
}

/* --- weir_check() -------------------------------------------------------------------------- */

struct checker {
    struct weir_unpacker cursor;
    uint32_t depth; /* arrays and maps that are open */
    uint32_t depth_max;
    uint64_t remaining[WEIR_DEPTH_MAX]; /* values still to come in each of them */
};

static const char *cut_reason(enum weir_type type)
{
    switch (type) {
    case WEIR_TYPE_STR:
        return "the bytes end within a str";
    case WEIR_TYPE_BIN:
        return "the bytes end within a bin";
    case WEIR_TYPE_EXT:
        return "the bytes end within an ext";
    case WEIR_TYPE_ARRAY:
        return "the bytes end within an array";
    case WEIR_TYPE_MAP:
        return "the bytes end within a map";
    case WEIR_TYPE_F32:
    case WEIR_TYPE_F64:
        return "the bytes end within a float";
    default:
        return "the bytes end within an integer";
    }
}

static const char *tag_reason(int error)
{
    switch (error) {
    case -EAGAIN:
        return "the bytes end within an array or map";
    case -ENOBUFS:
        return "more values than the limit allows";
    default:
        return "the reserved byte 0xc1";
    }
}

static void close_full(struct checker *checker)
{
    while (checker->depth != 0 && checker->remaining[checker->depth - 1] == 0)
        checker->depth--;
}

/* Check one head and pass over it. Returns NULL; or the reason, and the cursor has the error. */
static const char *check_head(struct checker *checker)
{
    struct weir_unpacker *cursor = &checker->cursor;
    struct head head;

    int rc = check_tag(cursor);
    if (rc != 0)
        return tag_reason(rc);
    enum weir_type type = tag_type(cursor->pos[0]);
    bool container = type == WEIR_TYPE_ARRAY || type == WEIR_TYPE_MAP;
    /* Before what is missing: more bytes would not help. */
    if (container && checker->depth == checker->depth_max) {
        fail(cursor, -ENOBUFS);
        return "nested deeper than the limit";
    }
    if (check_body(cursor, &head) != 0)
        return cut_reason(type);
    if (checker->depth != 0)
        checker->remaining[checker->depth - 1]--;
    if (container) {
        weir_unpack_take(cursor, head.tag.head_bytes);
        checker->remaining[checker->depth++] = head_values(&head);
    } else if (head.tag.kind == WEIR_WIRE_BYTES) {
        take_bytes(cursor, &head);
    } else {
        weir_unpack_take(cursor, head.tag.head_bytes);
    }
    close_full(checker);
    return NULL;
}

int weir_check(struct weir_view input, const struct weir_limits *limits, struct weir_fault *ret)
{
    struct weir_fault fault = {0, 0, "nothing is wrong"};
    struct checker checker;

    checker.depth = 0;
    checker.depth_max = limits && limits->depth ? limits->depth : WEIR__DEPTH_DEFAULT;
    weir_unpack_init(&checker.cursor, input, limits);
    if (checker.depth_max > WEIR_DEPTH_MAX) {
        fault.error = -EINVAL;
        fault.reason = "a limit of depth above WEIR_DEPTH_MAX";
    } else if (checker.cursor.error != 0) {
        fault.error = checker.cursor.error;
        fault.reason = "more bytes than the limit allows";
    }
    while (fault.error == 0 && (checker.depth != 0 || !weir_unpack_done(&checker.cursor))) {
        const char *reason = check_head(&checker);
        if (reason != NULL) {
            fault.error = checker.cursor.error;
            fault.reason = reason;
        }
    }
    if (fault.error != -EINVAL)
        fault.offset = weir_unpack_offset(&checker.cursor);
    if (ret != NULL)
        *ret = fault;
    return fault.error;
}
