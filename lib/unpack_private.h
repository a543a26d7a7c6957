/* SPDX-License-Identifier: MIT */
/**
 * unpack_private: what the halves of the cursor share.
 */
#ifndef WEIR_UNPACK_PRIVATE_H
#define WEIR_UNPACK_PRIVATE_H

#include "weir/unpack.h"
#include "wire_private.h"

/** The depth that a limit of 0 stands for. */
#define WEIR__DEPTH_DEFAULT 128u

/** Where the tag decides the size, as many bytes are enough to pass over the value unchecked. */
#define WEIR__ROOM WEIR__WIRE_STEP_MAX

/** The head of a value: everything before its payload or elements. Not to be copied. */
struct weir__head {
    const uint8_t *at; /* in the input, or scratch */
    struct weir_wire_tag tag;
    uint32_t length;                      /* payload bytes or count; 0 of a scalar */
    uint8_t scratch[WEIR__WIRE_HEAD_MAX]; /* where the head straddles pieces */
};

/** Set the error, if it is the first one, at the next value. Returns the error. */
int weir__unpack_fail(struct weir_unpacker *unpacker, int error);

/** Whether there is a value to look at: its tag is at pos, known, and within the budget. */
int weir__unpack_tag(struct weir_unpacker *unpacker);

/**
 * Whether the value, whose tag was checked, is there: its head, its payload, and for each of its
 * elements one byte at least. Nothing is taken.
 */
int weir__unpack_body(struct weir_unpacker *unpacker, struct weir__head *ret);

/** Take the value that was checked: its head, and the payload of a str, bin or ext. */
void weir__unpack_take(struct weir_unpacker *unpacker, const struct weir__head *head);

/** As weir__unpack_take(), and hand out the payload. Fails where it straddles pieces and there is
 * no room to gather it. */
int weir__unpack_take_bytes(struct weir_unpacker *unpacker, const struct weir__head *head,
                            struct weir_view *ret);

/** Pass over @size bytes, which are there, across pieces. Not an element. */
void weir__unpack_advance(struct weir_unpacker *unpacker, size_t size);

/** Pass over up to @size bytes, which are there and at least one, as many as lie in one piece. */
struct weir_view weir__unpack_part(struct weir_unpacker *unpacker, size_t size);

/** Arrays and maps that are open, and what is to come of them. */
struct weir__levels {
    uint64_t to_come; /* values, in the innermost one */
    uint64_t
        announced;   /* all that were ever to come, modulo 2^64; less those to come: are passed */
    uint64_t *outer; /* values to come around each of them */
    uint32_t depth;  /* entries of it */
    uint32_t depth_max;
};

/**
 * Pass over what can be passed over without looking at the end of the piece for each value: this is
 * where the time of a skip and of a check goes. Stops where nothing is to come; near the end of the
 * piece; and at what is wrong, rare, or too deep for @levels.
 *
 * @unpacker  only pos moves; the budget must have an element for each byte that is left
 */
void weir__unpack_run(struct weir_unpacker *unpacker, struct weir__levels *levels);

/** Pass over @count values with all they contain. */
int weir__unpack_skip(struct weir_unpacker *unpacker, uint64_t count);

/** What a tag means; of integers of the int forms WEIR_TYPE_INT, whatever their sign. */
enum weir_type weir__tag_type(unsigned tag);

/** The value of the integer at @at, whose head is there, as the 64 bits of an int64 or uint64. */
uint64_t weir__integer_bits(const uint8_t *at);

/** Whether the integer at @at, whose head is there, is below 0. */
bool weir__integer_negative(const uint8_t *at);

/** The value of the scalar at @at, whose head is there and whose type weir__tag_type() has told. */
void weir__read_scalar(const uint8_t *at, struct weir_value *value);

/* What is wrong, in the words of weir_check(): a value of @type is cut off; weir__unpack_tag() has
 * returned @error; and so on. */
const char *weir__cut_reason(enum weir_type type);
const char *weir__tag_reason(int error);
extern const char weir__deep_reason[];
extern const char weir__depth_reason[];
extern const char weir__large_reason[];

/** Values that follow the head. */
static inline uint64_t weir__head_values(const struct weir__head *head)
{
    return head->tag.kind == WEIR_WIRE_ARRAY ? head->length
           : head->tag.kind == WEIR_WIRE_MAP ? (uint64_t)head->length * 2
                                             : 0;
}

/**
 * Pass over the value at @*at, whose tag is @tag, if that decides the size. Returns whether it
 * does.
 *
 * What is frequent and predictable is found by branches, which let the processor go on before it
 * knows the tag; weir__wire_steps is for the rest. Measured against both alone. Each branch ends on
 * its own: a loop goes on from there.
 */
static inline __attribute__((always_inline)) bool weir__step_over(const uint8_t **at, unsigned tag)
{
    if ((tag & 0xe0u) == WEIR_TAG_FIXSTR) {
        *at += 1 + (tag & 0x1fu);
        return true;
    }
    if (tag == WEIR_TAG_FLOAT64) {
        *at += 9;
        return true;
    }
    if ((tag | 1u) == WEIR_TAG_TRUE) {
        *at += 1;
        return true;
    }
    size_t step = weir__wire_steps[tag];
    *at += step;
    return step != 0;
}

/** The size of a value whose tag decides it; 0 if the tag does not. */
static inline size_t weir__step(const uint8_t *at)
{
    const uint8_t *after = at;

    weir__step_over(&after, at[0]);
    return (size_t)(after - at);
}

/**
 * Take a step where the tag does not decide its size: over the head of an array or map, or over a
 * str, bin or ext with its payload. WEIR__ROOM bytes are readable at @*at. Returns whether that,
 * and a byte for each value that follows, is there; false for the reserved byte, too.
 *
 * @beyond      bytes there are besides those up to @end
 * @ret_values  how many values follow the head
 */
static inline __attribute__((always_inline)) bool weir__step_counted(const uint8_t **at,
                                                                     const uint8_t *end,
                                                                     size_t beyond,
                                                                     uint64_t *ret_values)
{
    unsigned first = (*at)[0];

    if ((first & 0xe0u) == WEIR_TAG_FIXMAP) { /* or a fixarray */
        uint64_t count = first & 0x0fu;
        uint64_t values = first < WEIR_TAG_FIXARRAY ? 2 * count : count;
        if (WEIR_UNLIKELY(values >= (size_t)(end - *at)))
            return false;
        *ret_values = values;
        *at += 1;
        return true;
    }
    struct weir_wire_tag tag = weir_wire_tags[first];
    uint64_t length = weir_wire_length(*at, tag);
    size_t left = (size_t)(end - *at) - tag.head_bytes;
    if (tag.kind == WEIR_WIRE_BYTES) {
        *ret_values = 0;
        if (length > left)
            return false;
        *at += tag.head_bytes + (size_t)length;
        return true;
    }
    uint64_t values = tag.kind == WEIR_WIRE_MAP ? 2 * length : length;
    if (tag.kind == WEIR_WIRE_BAD || values > left + beyond)
        return false;
    *ret_values = values;
    *at += tag.head_bytes;
    return true;
}

/** Pass over a value, by its tag alone where that does. */
static inline int weir__skip_value(struct weir_unpacker *unpacker)
{
    if (WEIR_LIKELY(weir_unpack_left(unpacker) >= WEIR__ROOM && unpacker->elements_left != 0)) {
        size_t step = weir__step(unpacker->pos);
        if (WEIR_LIKELY(step != 0)) {
            weir_unpack_take(unpacker, step);
            return 0;
        }
    }
    return weir__unpack_skip(unpacker, 1);
}

#endif /* WEIR_UNPACK_PRIVATE_H */
