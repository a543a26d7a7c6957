/* SPDX-License-Identifier: MIT */
/*
 * json_guard: where a JSON value ends, and whether its tokens are what RFC 8259 allows.
 *
 * It goes before json-c and refuses what json-c lets pass even when told to be strict: integers
 * beyond 64 bits (json-c takes the nearest that fits), "-01" and "1.", NaN and Infinity, NUL in a
 * name (json-c cuts the name off), lone surrogates, control characters and malformed UTF-8 in
 * strings. It counts the members of each object, so that a name that stands twice can be noticed
 * in json-c's tree, which keeps the last one only. How tokens may follow each other is left to
 * json-c.
 *
 * Bytes are looked at once, in pieces cut anywhere.
 */
#ifndef TOOLS_JSON_GUARD_H
#define TOOLS_JSON_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/unpack.h>

#include "utf8.h"
#include "vec.h"

/* Arrays and objects within each other that JSON needs for a value of depth D: one that is not
 * plain takes three ({"$map":[[key,value]]}), an ext as the innermost value two more. */
#define JSON_NESTING(depth) (3 * (depth) + 2)
#define JSON_NESTING_MAX JSON_NESTING(WEIR_DEPTH_MAX)

struct json_guard {
    int state;
    uint32_t depth;
    uint32_t depth_max;
    struct utf8_state utf8;
    const char *word;   /* what is missing of a literal */
    uint32_t hex_left;  /* digits of a \u escape to come */
    uint32_t code;      /* of these, so far */
    bool low_surrogate; /* the escape must be one */
    bool negative;
    bool too_big;          /* the integer is beyond 64 bits */
    bool last_was_string;  /* the token before was a string */
    bool has_nul;          /* with a NUL in it, */
    uint64_t nul_offset;   /* here */
    uint64_t magnitude;    /* of an integer */
    uint64_t offset;       /* bytes of the value that were taken */
    uint64_t token_offset; /* where the token begins */
    struct vec members;    /* one uint32_t for each object, in the order of their '{' */
    uint32_t stack[JSON_NESTING_MAX + 1]; /* 0: an array; otherwise 1 + index into members */

    const char *reason; /* after an error */
    uint64_t fault;     /* its offset from the start of the value */
};

/* Prepare for use; json_guard_start() must follow. @nesting_max is at most JSON_NESTING_MAX. */
void json_guard_init(struct json_guard *guard, struct weir_pool *pool, uint32_t nesting_max);
void json_guard_fini(struct json_guard *guard);

/* A new value begins with the next byte, which is no blank. */
void json_guard_start(struct json_guard *guard);

/*
 * Take the next piece of the value. Returns 1 the value is complete after *ret_used bytes of the
 * piece; 0 all of it was taken and the value may go on; -EBADMSG, see reason and fault; -ENOMEM,
 * -ENOBUFS of the pool.
 */
int json_guard_take(struct json_guard *guard, struct weir_view piece, size_t *ret_used);

/*
 * No more input comes. Returns 1 the value is complete, as only a number or a literal can be that
 * is not inside of anything; 0 it is cut off; -EBADMSG as json_guard_take().
 */
int json_guard_end(struct json_guard *guard);

/* Members of the object that was the @index-th to be opened. */
uint32_t json_guard_members(const struct json_guard *guard, size_t index);

#endif
