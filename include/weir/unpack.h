/* SPDX-License-Identifier: MIT */
/**
 * unpack: MessagePack values read where they lie, checked.
 *
 * A cursor walks over the values in a view, in the order in which they were written: an array or
 * map is its head, and its elements come next. Strings and bins are handed out as views into the
 * input; nothing is copied or allocated.
 *
 *     struct weir_unpacker u;
 *     uint32_t pairs;
 *     uint64_t id;
 *     struct weir_view key, name;
 *     weir_unpack_init(&u, message, NULL);
 *     weir_unpack_map(&u, &pairs);
 *     weir_unpack_str(&u, &key);      // "id"
 *     weir_unpack_uint(&u, &id);
 *     weir_unpack_str(&u, &key);      // "name"
 *     weir_unpack_str(&u, &name);     // lies in message
 *     int rc = weir_unpack_end(&u);   // 0, or the first error of all that
 *
 * Errors       are sticky: after the first one every call returns it, outputs stay as they were,
 *              and weir_unpack_offset() is the offset of the value that could not be read.
 *              -EAGAIN the bytes end before the value does; -EBADMSG malformed (the reserved byte
 *              0xc1, or, from weir_unpack_end(), bytes left over); -EPROTO another type than asked
 *              for; -EOVERFLOW the value does not fit what was asked for; -ENOBUFS a limit of the
 *              budget is reached.
 * Bounds       One budget of elements for all that a cursor reads, however nested. A count in an
 *              array or map head is believed only as far as bytes are there: each element takes
 *              one at least. No recursion anywhere; skipping takes constant memory.
 * Threads      a cursor is one thread's; many cursors may walk the same bytes.
 * Cost         inline for what is small or of fixed width. A cursor that is a local variable is
 *              kept in registers as long as its address goes to functions of this header only. A
 *              function that is handed a pointer to one does well to read through a copy, and to
 *              put that back at its end.
 * Lifetime     views handed out are valid as long as the input is.
 * Source       MessagePack specification (github.com/msgpack/msgpack, spec.md).
 */
#ifndef WEIR_UNPACK_H
#define WEIR_UNPACK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/arena.h>
#include <weir/base.h>
#include <weir/chain.h>
#include <weir/slice.h>
#include <weir/view.h>
#include <weir/wire.h>

WEIR_BEGIN_DECLS

/** The deepest nesting that weir_check() can be told to allow. */
#define WEIR_DEPTH_MAX 1024

/** Bounds of one decode. Zeroed: the defaults. */
struct weir_limits {
    uint32_t depth;    /**< arrays and maps within each other, up to WEIR_DEPTH_MAX; 0: 128 */
    uint64_t elements; /**< values in all, heads of arrays and maps included; 0: no limit */
    uint64_t bytes;    /**< size of the input; 0: no limit */
};

/** What a value is. */
enum weir_type {
    WEIR_TYPE_NIL,
    WEIR_TYPE_BOOL,
    WEIR_TYPE_UINT, /**< an integer from 0 up, whatever its encoding */
    WEIR_TYPE_INT,  /**< an integer below 0 */
    WEIR_TYPE_F32,
    WEIR_TYPE_F64,
    WEIR_TYPE_STR,
    WEIR_TYPE_BIN,
    WEIR_TYPE_ARRAY,
    WEIR_TYPE_MAP,
    WEIR_TYPE_EXT
};

/** One value as weir_unpack_next() reads it. */
struct weir_value {
    enum weir_type type;
    int8_t ext_type; /**< of an ext */
    uint32_t count;  /**< of an array its elements, of a map its pairs, which follow */
    union {
        bool boolean;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
        struct weir_view bytes; /**< of a str, bin or ext; lies in the input */
    } as;
};

/** A timestamp as the specification's extension type -1 carries it. */
struct weir_timestamp {
    int64_t seconds;      /**< since 1970-01-01T00:00:00Z */
    uint32_t nanoseconds; /**< 0..999,999,999 */
};

/** What is wrong with some bytes, and where. */
struct weir_fault {
    int error;          /**< a negative errno as above; 0: nothing is wrong */
    size_t offset;      /**< of the value concerned, from the start of the input */
    const char *reason; /**< one static line, for people */
};

struct weir_unpack_pieces;

/**
 * The caller's storage for a cursor. Fields are private. A copy is a second cursor.
 *
 * Pointers and numbers take turns: two of a kind next to each other gcc moves in one vector
 * register, and then takes them apart again for every value.
 */
struct weir_unpacker {
    const uint8_t *pos; /* the next value's tag; == end after an error */
    uint64_t elements_left;
    const uint8_t *end;                /* of this piece of the input */
    uintptr_t origin;                  /* pos less this is the offset */
    struct weir_unpack_pieces *pieces; /* NULL: there is one piece, or an error happened */
    int error;
    const struct weir_slice *next; /* the piece to come, if any are */
};

/** The caller's storage for what cursors over the same pieces share. */
struct weir_unpack_pieces {
    size_t bytes_copied;      /**< because they straddled pieces; counted here, yours to read */
    size_t size_bytes;        /* of all of them */
    struct weir_arena *arena; /* for what straddles; NULL: none */
};

/**
 * Start at the first value in @input.
 *
 * @limits   NULL or zeroed: the defaults. depth is not looked at here, see weir_check().
 * Errors    an input above limits->bytes is -ENOBUFS at offset 0, sticky.
 */
WEIR_ALWAYS_INLINE void weir_unpack_init(struct weir_unpacker *unpacker, struct weir_view input,
                                         const struct weir_limits *limits);

/**
 * Start at the first value in the bytes of @slices, in a row: values may straddle them anywhere.
 *
 * A str, bin or ext that straddles, and what weir_unpack_raw() hands out, is gathered in @arena,
 * and counted; everything else is read where it lies.
 *
 * @pieces   the caller's storage, any content; must outlive the cursor and its copies
 * @slices   must stay as they are until the last read; empty ones are allowed. Not held: the caller
 *           keeps the references.
 * @arena    NULL: bytes that straddle are -EINVAL, sticky. Otherwise views of such bytes are valid
 *           as long as what weir_arena_alloc() returns, and its errors are the cursor's.
 * @limits   NULL or zeroed: the defaults, as with weir_unpack_init()
 * Errors    -EOVERFLOW the sizes' sum does not fit, sticky.
 * Cost      a look at each slice; later about 20 ns at each joint.
 */
WEIR_API void weir_unpack_init_slices(struct weir_unpacker *unpacker,
                                      struct weir_unpack_pieces *pieces,
                                      const struct weir_slice *slices, size_t count,
                                      struct weir_arena *arena, const struct weir_limits *limits);

/** As weir_unpack_init_slices(), over the bytes of @chain, which must stay as it is. */
WEIR_ALWAYS_INLINE void weir_unpack_init_chain(struct weir_unpacker *unpacker,
                                               struct weir_unpack_pieces *pieces,
                                               const struct weir_chain *chain,
                                               struct weir_arena *arena,
                                               const struct weir_limits *limits);

/**
 * Read the next value of any type.
 *
 * @ret      written on success only: its type, its count (0 where there is none), and what else
 *           such a value has
 * Returns   0 or the error.
 * Cost      inline for small and fixed-width values. Compiles to about 400 bytes: call it in one
 *           place.
 */
WEIR_ALWAYS_INLINE int weir_unpack_next(struct weir_unpacker *unpacker, struct weir_value *ret);

/**
 * What the next value is, without reading it.
 *
 * Returns   0; the sticky error; or, not sticky, -EAGAIN no byte is left, or too few to tell an
 *           integer's sign; -EBADMSG it is the reserved byte.
 */
WEIR_ALWAYS_INLINE int weir_unpack_peek(const struct weir_unpacker *unpacker, enum weir_type *ret);

/** Read a nil. */
WEIR_ALWAYS_INLINE int weir_unpack_nil(struct weir_unpacker *unpacker);

/** Read a bool. */
WEIR_ALWAYS_INLINE int weir_unpack_bool(struct weir_unpacker *unpacker, bool *ret);

/**
 * Read an integer, in any encoding, as a type that it has to fit: -EOVERFLOW if it does not. The
 * width in which it was written does not matter. uint and int are of 64 bits.
 */
WEIR_ALWAYS_INLINE int weir_unpack_uint(struct weir_unpacker *unpacker, uint64_t *ret);
WEIR_ALWAYS_INLINE int weir_unpack_int(struct weir_unpacker *unpacker, int64_t *ret);
WEIR_ALWAYS_INLINE int weir_unpack_u8(struct weir_unpacker *unpacker, uint8_t *ret);
WEIR_ALWAYS_INLINE int weir_unpack_u16(struct weir_unpacker *unpacker, uint16_t *ret);
WEIR_ALWAYS_INLINE int weir_unpack_u32(struct weir_unpacker *unpacker, uint32_t *ret);
WEIR_ALWAYS_INLINE int weir_unpack_u64(struct weir_unpacker *unpacker, uint64_t *ret);
WEIR_ALWAYS_INLINE int weir_unpack_i8(struct weir_unpacker *unpacker, int8_t *ret);
WEIR_ALWAYS_INLINE int weir_unpack_i16(struct weir_unpacker *unpacker, int16_t *ret);
WEIR_ALWAYS_INLINE int weir_unpack_i32(struct weir_unpacker *unpacker, int32_t *ret);
WEIR_ALWAYS_INLINE int weir_unpack_i64(struct weir_unpacker *unpacker, int64_t *ret);

/** Read a float 32; a float 64 is -EPROTO. */
WEIR_ALWAYS_INLINE int weir_unpack_f32(struct weir_unpacker *unpacker, float *ret);

/** Read a float 64, or a float 32 widened. */
WEIR_ALWAYS_INLINE int weir_unpack_f64(struct weir_unpacker *unpacker, double *ret);

/** Read a str; the view lies in the input. Whether it is UTF-8 is not looked at. */
WEIR_ALWAYS_INLINE int weir_unpack_str(struct weir_unpacker *unpacker, struct weir_view *ret);

/** Read a bin; the view lies in the input. */
WEIR_ALWAYS_INLINE int weir_unpack_bin(struct weir_unpacker *unpacker, struct weir_view *ret);

/** Read the head of an array: *ret values follow. */
WEIR_ALWAYS_INLINE int weir_unpack_array(struct weir_unpacker *unpacker, uint32_t *ret);

/** Read the head of a map: *ret pairs, so twice as many values, follow. */
WEIR_ALWAYS_INLINE int weir_unpack_map(struct weir_unpacker *unpacker, uint32_t *ret);

/** Read an ext; the view lies in the input. */
WEIR_ALWAYS_INLINE int weir_unpack_ext(struct weir_unpacker *unpacker, int8_t *ret_type,
                                       struct weir_view *ret_bytes);

/** Read a timestamp in any of its forms; -EBADMSG an ext -1 that is none. */
WEIR_ALWAYS_INLINE int weir_unpack_timestamp(struct weir_unpacker *unpacker,
                                             struct weir_timestamp *ret);

/** Decode the payload of an ext -1. Returns 0; -EBADMSG it is no timestamp. */
WEIR_API int weir_timestamp_decode(struct weir_view bytes, struct weir_timestamp *ret);

/**
 * Read the next value if it is the str @literal, the key of a map that is expected next, say.
 *
 *     if (weir_unpack_key(&u, "id"))
 *         weir_unpack_uint(&u, &id);
 *
 * @literal  NUL-terminated; of a literal text and tag are compared together, as words
 * Returns   whether it was. If not, nothing is read, and it is no error: the next value may be
 *           another one, or none, or there was an error before.
 * Cost      inline; with a literal of up to 31 bytes one comparison per 8 bytes.
 */
WEIR_ALWAYS_INLINE bool weir_unpack_key(struct weir_unpacker *unpacker, const char *literal);

/**
 * Pass over the next value with all it contains.
 *
 * Cost      linear in the bytes passed over; constant memory, whatever the nesting.
 */
WEIR_ALWAYS_INLINE int weir_unpack_skip(struct weir_unpacker *unpacker);

/** As weir_unpack_skip(), and *ret receives the value's bytes, which lie in the input. */
WEIR_ALWAYS_INLINE int weir_unpack_raw(struct weir_unpacker *unpacker, struct weir_view *ret);

/**
 * Go to the value that the map which comes next has under the str @key, the first one if several.
 *
 * The rest of the map lies behind it. To look up several keys, find each with a copy of the cursor,
 * or read all at once with weir_unpack_select().
 *
 * Returns   0 and the value is what comes next; -ENOENT there is none, the cursor has not moved and
 *           has no error; otherwise the error: -EPROTO it is no map, or something in the map before
 *           the value is wrong.
 * Cost      linear in the bytes before the value, about 10 instructions for each pair of short
 *           ones.
 */
WEIR_ALWAYS_INLINE int weir_unpack_find(struct weir_unpacker *unpacker, struct weir_view key);

/** The most keys of one weir_unpack_select(). */
#define WEIR_SELECT_MAX 64

/**
 * Read a map, and hand out the values of some of its keys.
 *
 * @keys     strs; each is looked for, in any order, also twice
 * @count    up to WEIR_SELECT_MAX (-EINVAL above, the cursor has not moved)
 * @ret      for each key the bytes of its value, as weir_unpack_raw() has them: of the first one if
 *           the map has several, {NULL, 0} if it has none. Written on success only.
 * Returns   0 and the map is passed over; -EINVAL; or the error.
 * Cost      one pass; a comparison of words per key and pair that it may be, of others one bit.
 */
WEIR_API int weir_unpack_select(struct weir_unpacker *unpacker, const struct weir_view *keys,
                                uint32_t count, struct weir_view *ret);

/** Private: a key that is looked for, and how its shortest form begins. */
struct weir_select_key {
    struct weir_view text;
    uint64_t word; /* the first bytes of that form: as many as mask has */
    uint64_t mask; /* as they lie in memory */
};

/** Private: a pair of an earlier map. */
struct weir_select_pair {
    uint64_t word; /* how its key begins, under mask */
    uint64_t mask;
    uint64_t found;    /* which keys it has the value of, as a bit set */
    uint8_t key_bytes; /* with the tag */
    uint8_t room;      /* bytes that are looked at before the value's size is known */
    uint8_t step;      /* size of the value; 0: it varies */
    uint8_t tag;       /* then of the value, under tag_mask */
    uint8_t tag_mask;
};

/** The most pairs of an earlier map that are remembered. */
#define WEIR_SELECT_PAIRS_MAX 64

/**
 * The caller's storage for keys that are looked for in many maps, see weir_unpack_select_with().
 * Fields are private. One thread's; a copy is a second one.
 */
struct weir_selector {
    struct weir_select_key keys[WEIR_SELECT_MAX];
    struct weir_select_pair pairs[WEIR_SELECT_PAIRS_MAX];
    uint64_t filter;
    uint32_t count;
    uint32_t pair_count;
    uint32_t patience;
    uint32_t hits;
    uint32_t misses;
};

/**
 * Prepare to look for @keys in maps of which many are alike.
 *
 * @keys     as of weir_unpack_select(); their bytes must stay, the array need not
 * @count    up to WEIR_SELECT_MAX
 * Returns   0 or -EINVAL, and then nothing was written.
 */
WEIR_API int weir_selector_init(struct weir_selector *selector, const struct weir_view *keys,
                                uint32_t count);

/**
 * As weir_unpack_select(), for the keys of @selector, faster where maps are alike.
 *
 * Programs write the keys of their maps in the same order each time. A selector remembers the
 * beginnings of the keys of an earlier map and goes from pair to pair by these; the input only has
 * to agree. That decides about speed alone: what another map has, or has elsewhere, is found as
 * weir_unpack_select() does, and now and then another map is remembered.
 *
 * @ret      for each key, as of weir_unpack_select()
 * Returns   as weir_unpack_select()
 * Cost      about half of its time where the keys are in one order.
 */
WEIR_API int weir_unpack_select_with(struct weir_unpacker *unpacker, struct weir_selector *selector,
                                     struct weir_view *ret);

/**
 * Go to the value that @path names within the one that comes next, as "/orders/3/price" does.
 *
 * @path     a JSON pointer (RFC 6901): "" the value itself; "/" and a token for each step. In an
 *           array a token is an index from 0; in a map a str key, with ~1 for / and ~0 for ~, or an
 *           integer key in decimal; of several equal ones the first. Beyond the RFC, for other
 *           keys: ~#N is the value of the N-th pair from 0, and ~@N is its key.
 * Returns   0 and the value is what comes next; -ENOENT there is none, -EINVAL @path is malformed:
 *           the cursor has not moved and has no error; otherwise the error.
 * Cost      linear in the bytes before the value; no allocation.
 */
WEIR_API int weir_unpack_path(struct weir_unpacker *unpacker, struct weir_view path);

/** Whether every byte was read and no error happened. */
WEIR_ALWAYS_INLINE bool weir_unpack_done(const struct weir_unpacker *unpacker);

/** The first error; -EBADMSG bytes are left over; 0 all is read and well. */
WEIR_ALWAYS_INLINE int weir_unpack_end(struct weir_unpacker *unpacker);

/** The first error, 0 if there was none. */
WEIR_ALWAYS_INLINE int weir_unpack_error(const struct weir_unpacker *unpacker);

/** Offset of the next value from the start of the input; after an error, of the faulty one. */
WEIR_ALWAYS_INLINE size_t weir_unpack_offset(const struct weir_unpacker *unpacker);

/** Bytes that are not read yet; 0 after an error. */
WEIR_ALWAYS_INLINE size_t weir_unpack_left_bytes(const struct weir_unpacker *unpacker);

/**
 * How many whole values, with all that they contain, lie from here to the end of the input.
 *
 * @ret      written on success only
 * Returns   0; or what passing over them would return. The cursor does not move and gets no error.
 * Cost      linear in the bytes that are left.
 */
WEIR_API int weir_unpack_left_values(const struct weir_unpacker *unpacker, uint64_t *ret);

/**
 * Whether @input is whole, well-formed values, none or many, within @limits.
 *
 * @limits   NULL or zeroed: the defaults
 * @ret      NULL, or receives what is wrong; error 0 and the input's size as offset if nothing is
 * Returns   0; -EAGAIN the last value is cut off; -EBADMSG malformed; -ENOBUFS a limit is reached;
 *           -EINVAL limits->depth above WEIR_DEPTH_MAX.
 * Cost      linear in the bytes, 8 KiB of stack, no recursion, no allocation.
 */
WEIR_API int weir_check(struct weir_view input, const struct weir_limits *limits,
                        struct weir_fault *ret);

/* --- inline bodies ------------------------------------------------------------------------- */

/*
 * Private: the cold halves. Their callers hand them a copy of the cursor and take it back: so the
 * address of the user's own is never taken, and where it is a local variable the compiler keeps it
 * in registers. That is worth a third of the time of a walk. It is also why all that touches a
 * cursor is inlined whatever the compiler thinks of it: half of a function that it leaves outside
 * would take the address.
 */
WEIR_API void weir_unpack_limit_slow(struct weir_unpacker *unpacker, uint64_t bytes);
WEIR_API int weir_unpack_next_slow(struct weir_unpacker *unpacker, struct weir_value *ret);
WEIR_API int weir_unpack_peek_slow(const struct weir_unpacker *unpacker, enum weir_type *ret);
WEIR_API int weir_unpack_nil_slow(struct weir_unpacker *unpacker);
WEIR_API int weir_unpack_bool_slow(struct weir_unpacker *unpacker, bool *ret);
WEIR_API int weir_unpack_uint_slow(struct weir_unpacker *unpacker, uint64_t max, size_t size_bytes,
                                   void *ret);
WEIR_API int weir_unpack_int_slow(struct weir_unpacker *unpacker, int64_t min, int64_t max,
                                  size_t size_bytes, void *ret);
WEIR_API int weir_unpack_f32_slow(struct weir_unpacker *unpacker, float *ret);
WEIR_API int weir_unpack_f64_slow(struct weir_unpacker *unpacker, double *ret);
WEIR_API int weir_unpack_bytes_slow(struct weir_unpacker *unpacker, enum weir_type type,
                                    struct weir_view *ret);
WEIR_API int weir_unpack_count_slow(struct weir_unpacker *unpacker, enum weir_type type,
                                    uint32_t *ret);
WEIR_API int weir_unpack_ext_slow(struct weir_unpacker *unpacker, int8_t *ret_type,
                                  struct weir_view *ret_bytes);
WEIR_API int weir_unpack_timestamp_slow(struct weir_unpacker *unpacker, struct weir_timestamp *ret);
WEIR_API bool weir_unpack_key_slow(struct weir_unpacker *unpacker, struct weir_view key);
WEIR_API int weir_unpack_skip_slow(struct weir_unpacker *unpacker);
WEIR_API int weir_unpack_raw_slow(struct weir_unpacker *unpacker, struct weir_view *ret);
WEIR_API int weir_unpack_find_slow(struct weir_unpacker *unpacker, struct weir_view key);
WEIR_API int weir_unpack_end_slow(struct weir_unpacker *unpacker);

/** Private: bytes that are left of this piece. */
WEIR_ALWAYS_INLINE size_t weir_unpack_left(const struct weir_unpacker *unpacker)
{
    return (size_t)(unpacker->end - unpacker->pos);
}

/** Private: whether one more element is within the budget and @size_bytes are left. */
WEIR_ALWAYS_INLINE bool weir_unpack_has(const struct weir_unpacker *unpacker, size_t size_bytes)
{
    return WEIR_LIKELY(weir_unpack_left(unpacker) >= size_bytes && unpacker->elements_left != 0);
}

/** Private: take @size_bytes as one element. */
WEIR_ALWAYS_INLINE void weir_unpack_take(struct weir_unpacker *unpacker, size_t size_bytes)
{
    unpacker->pos += size_bytes;
    unpacker->elements_left--;
}

WEIR_ALWAYS_INLINE void weir_unpack_init(struct weir_unpacker *unpacker, struct weir_view input,
                                         const struct weir_limits *limits)
{
    unpacker->pos = input.data;
    unpacker->end = input.size != 0 ? input.data + input.size : input.data;
    unpacker->elements_left = limits && limits->elements ? limits->elements : UINT64_MAX;
    unpacker->origin = (uintptr_t)input.data;
    unpacker->pieces = NULL;
    unpacker->next = NULL;
    unpacker->error = 0;
    if (limits && limits->bytes != 0 && WEIR_UNLIKELY(input.size > limits->bytes)) {
        struct weir_unpacker copy = *unpacker;
        weir_unpack_limit_slow(&copy, limits->bytes);
        *unpacker = copy;
    }
}

WEIR_ALWAYS_INLINE int weir_unpack_error(const struct weir_unpacker *unpacker)
{
    return unpacker->error;
}

WEIR_ALWAYS_INLINE size_t weir_unpack_offset(const struct weir_unpacker *unpacker)
{
    return (size_t)((uintptr_t)unpacker->pos - unpacker->origin);
}

WEIR_ALWAYS_INLINE size_t weir_unpack_left_bytes(const struct weir_unpacker *unpacker)
{
    if (WEIR_LIKELY(unpacker->pieces == NULL))
        return weir_unpack_left(unpacker);
    return unpacker->pieces->size_bytes - weir_unpack_offset(unpacker);
}

WEIR_ALWAYS_INLINE bool weir_unpack_done(const struct weir_unpacker *unpacker)
{
    return unpacker->error == 0 && weir_unpack_left_bytes(unpacker) == 0;
}

WEIR_ALWAYS_INLINE int weir_unpack_end(struct weir_unpacker *unpacker)
{
    if (WEIR_LIKELY(weir_unpack_done(unpacker)))
        return 0;
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_end_slow(&copy);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE void weir_unpack_init_chain(struct weir_unpacker *unpacker,
                                               struct weir_unpack_pieces *pieces,
                                               const struct weir_chain *chain,
                                               struct weir_arena *arena,
                                               const struct weir_limits *limits)
{
    weir_unpack_init_slices(unpacker, pieces, chain->slices, chain->count, arena, limits);
}

/* --- integers */

/**
 * Private: an integer of 0..@max in an unsigned encoding. False: leave it to the cold half, which
 * knows the other encodings, the end of the input, and what is wrong.
 *
 * Of four widths that cannot be predicted the tag's low bits are made a shift, which costs less
 * than a branch that is mispredicted.
 */
WEIR_ALWAYS_INLINE bool weir_unpack_uint_fast(struct weir_unpacker *unpacker, uint64_t max,
                                              uint64_t *ret)
{
    const uint8_t *at = unpacker->pos;
    uint64_t value;
    size_t size_bytes;
    if (WEIR_UNLIKELY(!weir_unpack_has(unpacker, 1)))
        return false;
    if (at[0] < 0x80) {
        value = at[0];
        size_bytes = 1;
    } else if (WEIR_LIKELY((at[0] & 0xfcu) == WEIR_TAG_UINT8 && weir_unpack_left(unpacker) >= 9)) {
        unsigned bits = 8u << (at[0] & 3u);
        value = weir_wire_load64(at + 1) >> (64 - bits);
        size_bytes = 1 + bits / 8;
    } else {
        return false;
    }
    if (WEIR_UNLIKELY(value > max))
        return false;
    *ret = value;
    weir_unpack_take(unpacker, size_bytes);
    return true;
}

/** Private: the same of @min..@max, in any encoding. */
WEIR_ALWAYS_INLINE bool weir_unpack_int_fast(struct weir_unpacker *unpacker, int64_t min,
                                             int64_t max, int64_t *ret)
{
    const uint8_t *at = unpacker->pos;
    int64_t value;
    size_t size_bytes;
    if (WEIR_UNLIKELY(!weir_unpack_has(unpacker, 1)))
        return false;
    if (at[0] < 0x80 || at[0] >= WEIR_TAG_NEGATIVE_FIXINT) {
        value = (int8_t)at[0];
        size_bytes = 1;
    } else if (WEIR_LIKELY(at[0] - WEIR_TAG_UINT8 < 8 && weir_unpack_left(unpacker) >= 9)) {
        unsigned bits = 8u << (at[0] & 3u);
        uint64_t raw = weir_wire_load64(at + 1);
        bool is_signed = at[0] >= WEIR_TAG_INT8;
        value = is_signed ? (int64_t)raw >> (64 - bits) : (int64_t)(raw >> (64 - bits));
        if (WEIR_UNLIKELY(!is_signed && value < 0)) /* a uint64 above every int64 */
            return false;
        size_bytes = 1 + bits / 8;
    } else {
        return false;
    }
    if (WEIR_UNLIKELY(value < min || value > max))
        return false;
    *ret = value;
    weir_unpack_take(unpacker, size_bytes);
    return true;
}

/** Private: the other encodings, the end of the input and what is wrong. @ret: of @size_bytes. */
WEIR_ALWAYS_INLINE int weir_unpack_uint_cold(struct weir_unpacker *unpacker, uint64_t max,
                                             size_t size_bytes, void *ret)
{
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_uint_slow(&copy, max, size_bytes, ret);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_int_cold(struct weir_unpacker *unpacker, int64_t min,
                                            int64_t max, size_t size_bytes, void *ret)
{
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_int_slow(&copy, min, max, size_bytes, ret);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_uint(struct weir_unpacker *unpacker, uint64_t *ret)
{
    if (WEIR_LIKELY(weir_unpack_uint_fast(unpacker, UINT64_MAX, ret)))
        return 0;
    return weir_unpack_uint_cold(unpacker, UINT64_MAX, sizeof *ret, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_int(struct weir_unpacker *unpacker, int64_t *ret)
{
    if (WEIR_LIKELY(weir_unpack_int_fast(unpacker, INT64_MIN, INT64_MAX, ret)))
        return 0;
    return weir_unpack_int_cold(unpacker, INT64_MIN, INT64_MAX, sizeof *ret, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_u64(struct weir_unpacker *unpacker, uint64_t *ret)
{
    return weir_unpack_uint(unpacker, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_i64(struct weir_unpacker *unpacker, int64_t *ret)
{
    return weir_unpack_int(unpacker, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_u8(struct weir_unpacker *unpacker, uint8_t *ret)
{
    uint64_t value;
    if (WEIR_LIKELY(weir_unpack_uint_fast(unpacker, UINT8_MAX, &value))) {
        *ret = (uint8_t)value;
        return 0;
    }
    return weir_unpack_uint_cold(unpacker, UINT8_MAX, sizeof *ret, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_u16(struct weir_unpacker *unpacker, uint16_t *ret)
{
    uint64_t value;
    if (WEIR_LIKELY(weir_unpack_uint_fast(unpacker, UINT16_MAX, &value))) {
        *ret = (uint16_t)value;
        return 0;
    }
    return weir_unpack_uint_cold(unpacker, UINT16_MAX, sizeof *ret, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_u32(struct weir_unpacker *unpacker, uint32_t *ret)
{
    uint64_t value;
    if (WEIR_LIKELY(weir_unpack_uint_fast(unpacker, UINT32_MAX, &value))) {
        *ret = (uint32_t)value;
        return 0;
    }
    return weir_unpack_uint_cold(unpacker, UINT32_MAX, sizeof *ret, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_i8(struct weir_unpacker *unpacker, int8_t *ret)
{
    int64_t value;
    if (WEIR_LIKELY(weir_unpack_int_fast(unpacker, INT8_MIN, INT8_MAX, &value))) {
        *ret = (int8_t)value;
        return 0;
    }
    return weir_unpack_int_cold(unpacker, INT8_MIN, INT8_MAX, sizeof *ret, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_i16(struct weir_unpacker *unpacker, int16_t *ret)
{
    int64_t value;
    if (WEIR_LIKELY(weir_unpack_int_fast(unpacker, INT16_MIN, INT16_MAX, &value))) {
        *ret = (int16_t)value;
        return 0;
    }
    return weir_unpack_int_cold(unpacker, INT16_MIN, INT16_MAX, sizeof *ret, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_i32(struct weir_unpacker *unpacker, int32_t *ret)
{
    int64_t value;
    if (WEIR_LIKELY(weir_unpack_int_fast(unpacker, INT32_MIN, INT32_MAX, &value))) {
        *ret = (int32_t)value;
        return 0;
    }
    return weir_unpack_int_cold(unpacker, INT32_MIN, INT32_MAX, sizeof *ret, ret);
}

/* --- other scalars */

WEIR_ALWAYS_INLINE int weir_unpack_nil(struct weir_unpacker *unpacker)
{
    if (WEIR_LIKELY(weir_unpack_has(unpacker, 1) && unpacker->pos[0] == WEIR_TAG_NIL)) {
        weir_unpack_take(unpacker, 1);
        return 0;
    }
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_nil_slow(&copy);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_bool(struct weir_unpacker *unpacker, bool *ret)
{
    if (WEIR_LIKELY(weir_unpack_has(unpacker, 1) && (unpacker->pos[0] | 1u) == WEIR_TAG_TRUE)) {
        *ret = unpacker->pos[0] == WEIR_TAG_TRUE;
        weir_unpack_take(unpacker, 1);
        return 0;
    }
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_bool_slow(&copy, ret);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_f32(struct weir_unpacker *unpacker, float *ret)
{
    if (WEIR_LIKELY(weir_unpack_has(unpacker, 5) && unpacker->pos[0] == WEIR_TAG_FLOAT32)) {
        uint32_t bits = weir_wire_load32(unpacker->pos + 1);
        memcpy(ret, &bits, sizeof bits);
        weir_unpack_take(unpacker, 5);
        return 0;
    }
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_f32_slow(&copy, ret);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_f64(struct weir_unpacker *unpacker, double *ret)
{
    if (WEIR_LIKELY(weir_unpack_has(unpacker, 9) && unpacker->pos[0] == WEIR_TAG_FLOAT64)) {
        uint64_t bits = weir_wire_load64(unpacker->pos + 1);
        memcpy(ret, &bits, sizeof bits);
        weir_unpack_take(unpacker, 9);
        return 0;
    }
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_f64_slow(&copy, ret);
    *unpacker = copy;
    return rc;
}

/* --- bytes */

/** Private: a str or bin whose head is of two bytes, or none. */
WEIR_ALWAYS_INLINE bool weir_unpack_bytes_fast(struct weir_unpacker *unpacker, unsigned tag,
                                               struct weir_view *ret)
{
    if (WEIR_LIKELY(weir_unpack_has(unpacker, 2) && unpacker->pos[0] == tag)) {
        size_t size = unpacker->pos[1];
        if (WEIR_LIKELY(size <= weir_unpack_left(unpacker) - 2)) {
            *ret = weir_view_of(unpacker->pos + 2, size);
            weir_unpack_take(unpacker, 2 + size);
            return true;
        }
    }
    return false;
}

WEIR_ALWAYS_INLINE int weir_unpack_str(struct weir_unpacker *unpacker, struct weir_view *ret)
{
    if (WEIR_LIKELY(weir_unpack_has(unpacker, 1) &&
                    (unpacker->pos[0] & 0xe0u) == WEIR_TAG_FIXSTR)) {
        size_t size = unpacker->pos[0] & 0x1fu;
        if (WEIR_LIKELY(size < weir_unpack_left(unpacker))) {
            *ret = weir_view_of(unpacker->pos + 1, size);
            weir_unpack_take(unpacker, 1 + size);
            return 0;
        }
    }
    if (WEIR_LIKELY(weir_unpack_bytes_fast(unpacker, WEIR_TAG_STR8, ret)))
        return 0;
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_bytes_slow(&copy, WEIR_TYPE_STR, ret);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_bin(struct weir_unpacker *unpacker, struct weir_view *ret)
{
    if (WEIR_LIKELY(weir_unpack_bytes_fast(unpacker, WEIR_TAG_BIN8, ret)))
        return 0;
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_bytes_slow(&copy, WEIR_TYPE_BIN, ret);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_ext(struct weir_unpacker *unpacker, int8_t *ret_type,
                                       struct weir_view *ret_bytes)
{
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_ext_slow(&copy, ret_type, ret_bytes);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_timestamp(struct weir_unpacker *unpacker,
                                             struct weir_timestamp *ret)
{
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_timestamp_slow(&copy, ret);
    *unpacker = copy;
    return rc;
}

/* --- arrays and maps */

/** Private: the count of an array or map whose head is more than a byte, or that is none. */
WEIR_ALWAYS_INLINE int weir_unpack_count_cold(struct weir_unpacker *unpacker, enum weir_type type,
                                              uint32_t *ret)
{
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_count_slow(&copy, type, ret);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_array(struct weir_unpacker *unpacker, uint32_t *ret)
{
    if (WEIR_LIKELY(weir_unpack_has(unpacker, 1) &&
                    (unpacker->pos[0] & 0xf0u) == WEIR_TAG_FIXARRAY)) {
        uint32_t count = unpacker->pos[0] & 0x0fu;
        if (WEIR_LIKELY(count < weir_unpack_left(unpacker))) {
            *ret = count;
            weir_unpack_take(unpacker, 1);
            return 0;
        }
    }
    return weir_unpack_count_cold(unpacker, WEIR_TYPE_ARRAY, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_map(struct weir_unpacker *unpacker, uint32_t *ret)
{
    if (WEIR_LIKELY(weir_unpack_has(unpacker, 1) &&
                    (unpacker->pos[0] & 0xf0u) == WEIR_TAG_FIXMAP)) {
        uint32_t count = unpacker->pos[0] & 0x0fu;
        if (WEIR_LIKELY(2 * (size_t)count < weir_unpack_left(unpacker))) {
            *ret = count;
            weir_unpack_take(unpacker, 1);
            return 0;
        }
    }
    return weir_unpack_count_cold(unpacker, WEIR_TYPE_MAP, ret);
}

/* --- any value */

/** Private: one value of @type and @size_bytes is read. */
WEIR_ALWAYS_INLINE bool weir_unpack_give(struct weir_unpacker *unpacker, struct weir_value *ret,
                                         enum weir_type type, uint32_t count, size_t size_bytes)
{
    ret->type = type;
    ret->count = count; /* of all types, or compilers think that it may be read unset */
    weir_unpack_take(unpacker, size_bytes);
    return true;
}

/**
 * Private: the inline half of weir_unpack_next(), for strs of less than 32 bytes and values that
 * end within the next 9. False: leave it to the other half.
 *
 * Each type ends on its own, with a constant: the compiler goes from there straight to what the
 * caller does with that type, without asking again.
 */
WEIR_ALWAYS_INLINE bool weir_unpack_next_fast(struct weir_unpacker *unpacker,
                                              struct weir_value *ret)
{
    const uint8_t *at = unpacker->pos;
    size_t left = weir_unpack_left(unpacker);
    if (WEIR_UNLIKELY(left < 9 || unpacker->elements_left == 0))
        return false;
    unsigned tag = at[0];
    if (tag < 0x80) {
        ret->as.u64 = tag;
        return weir_unpack_give(unpacker, ret, WEIR_TYPE_UINT, 0, 1);
    }
    if ((tag & 0xe0u) == WEIR_TAG_FIXSTR) {
        size_t size = tag & 0x1fu;
        if (WEIR_UNLIKELY(size >= left))
            return false;
        ret->as.bytes = weir_view_of(at + 1, size);
        return weir_unpack_give(unpacker, ret, WEIR_TYPE_STR, 0, 1 + size);
    }
    if (tag == WEIR_TAG_FLOAT64) {
        uint64_t bits = weir_wire_load64(at + 1);
        memcpy(&ret->as.f64, &bits, sizeof bits);
        return weir_unpack_give(unpacker, ret, WEIR_TYPE_F64, 0, 9);
    }
    if ((tag & 0xfcu) == WEIR_TAG_UINT8) {
        unsigned bits = 8u << (tag & 3u);
        ret->as.u64 = weir_wire_load64(at + 1) >> (64 - bits);
        return weir_unpack_give(unpacker, ret, WEIR_TYPE_UINT, 0, 1 + bits / 8);
    }
    if ((tag | 1u) == WEIR_TAG_TRUE) {
        ret->as.boolean = tag == WEIR_TAG_TRUE;
        return weir_unpack_give(unpacker, ret, WEIR_TYPE_BOOL, 0, 1);
    }
    if ((tag & 0xf0u) == WEIR_TAG_FIXMAP) {
        if (WEIR_UNLIKELY(2 * (size_t)(tag & 0x0fu) >= left))
            return false;
        return weir_unpack_give(unpacker, ret, WEIR_TYPE_MAP, tag & 0x0fu, 1);
    }
    if ((tag & 0xf0u) == WEIR_TAG_FIXARRAY) {
        if (WEIR_UNLIKELY((tag & 0x0fu) >= left))
            return false;
        return weir_unpack_give(unpacker, ret, WEIR_TYPE_ARRAY, tag & 0x0fu, 1);
    }
    if (tag >= WEIR_TAG_NEGATIVE_FIXINT) {
        ret->as.i64 = (int8_t)tag;
        return weir_unpack_give(unpacker, ret, WEIR_TYPE_INT, 0, 1);
    }
    if (tag == WEIR_TAG_NIL)
        return weir_unpack_give(unpacker, ret, WEIR_TYPE_NIL, 0, 1);
    return false;
}

WEIR_ALWAYS_INLINE int weir_unpack_next(struct weir_unpacker *unpacker, struct weir_value *ret)
{
    if (WEIR_LIKELY(weir_unpack_next_fast(unpacker, ret)))
        return 0;
    struct weir_unpacker copy = *unpacker;
    struct weir_value value;
    int rc = weir_unpack_next_slow(&copy, &value);
    *unpacker = copy;
    if (rc == 0)
        *ret = value;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_peek(const struct weir_unpacker *unpacker, enum weir_type *ret)
{
    struct weir_unpacker copy = *unpacker;
    return weir_unpack_peek_slow(&copy, ret);
}

WEIR_ALWAYS_INLINE int weir_unpack_skip(struct weir_unpacker *unpacker)
{
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_skip_slow(&copy);
    *unpacker = copy;
    return rc;
}

WEIR_ALWAYS_INLINE int weir_unpack_raw(struct weir_unpacker *unpacker, struct weir_view *ret)
{
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_raw_slow(&copy, ret);
    *unpacker = copy;
    return rc;
}

/* --- keys */

WEIR_ALWAYS_INLINE int weir_unpack_find(struct weir_unpacker *unpacker, struct weir_view key)
{
    struct weir_unpacker copy = *unpacker;
    int rc = weir_unpack_find_slow(&copy, key);
    if (rc != -ENOENT) /* then the copy has moved all the same */
        *unpacker = copy;
    return rc;
}

/** Private: byte @i of a short str that contains @key; 0 behind it. */
WEIR_ALWAYS_INLINE uint64_t weir_unpack_key_byte(struct weir_view key, size_t i)
{
    return i == 0 ? WEIR_TAG_FIXSTR | key.size : i <= key.size ? key.data[i - 1] : 0;
}

/** Private: the 8 bytes of it from @from on, as weir_wire_load64() loads them. Constant for a
 * literal, which a memcpy() from it would not be. */
WEIR_ALWAYS_INLINE uint64_t weir_unpack_key_word(struct weir_view key, size_t from)
{
    return weir_unpack_key_byte(key, from) << 56 | weir_unpack_key_byte(key, from + 1) << 48 |
           weir_unpack_key_byte(key, from + 2) << 40 | weir_unpack_key_byte(key, from + 3) << 32 |
           weir_unpack_key_byte(key, from + 4) << 24 | weir_unpack_key_byte(key, from + 5) << 16 |
           weir_unpack_key_byte(key, from + 6) << 8 | weir_unpack_key_byte(key, from + 7);
}

WEIR_ALWAYS_INLINE uint64_t weir_unpack_native64(uint64_t big)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap64(big);
#else
    return big;
#endif
}

/** Private: the 8 bytes at @at in the machine's own order. */
WEIR_ALWAYS_INLINE uint64_t weir_unpack_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/** Private: whether the str @key, of 0..31 bytes and constant, is at @at. 8 bytes and all of the
 * str are readable there. */
WEIR_ALWAYS_INLINE bool weir_unpack_key_equal(const uint8_t *at, struct weir_view key)
{
    size_t total = 1 + key.size;
    if (total < 8) {
        uint64_t mask = weir_unpack_native64(~(UINT64_MAX >> (8 * (total & 7))));
        return (weir_unpack_word(at) & mask) == weir_unpack_native64(weir_unpack_key_word(key, 0));
    }
    uint64_t differ = weir_unpack_word(at) ^ weir_unpack_native64(weir_unpack_key_word(key, 0));
    if (total > 16)
        differ |= weir_unpack_word(at + 8) ^ weir_unpack_native64(weir_unpack_key_word(key, 8));
    if (total > 24)
        differ |= weir_unpack_word(at + 16) ^ weir_unpack_native64(weir_unpack_key_word(key, 16));
    if (total > 8)
        differ |= weir_unpack_word(at + total - 8) ^
                  weir_unpack_native64(weir_unpack_key_word(key, total - 8));
    return differ == 0;
}

WEIR_ALWAYS_INLINE bool weir_unpack_key(struct weir_unpacker *unpacker, const char *literal)
{
    struct weir_view key = weir_view_text(literal);
    size_t left = weir_unpack_left(unpacker);
    if (__builtin_constant_p(key.size) && key.size < 32 && WEIR_LIKELY(left > key.size) &&
        WEIR_LIKELY(left >= 8) && WEIR_LIKELY(unpacker->elements_left != 0)) {
        if (WEIR_LIKELY(weir_unpack_key_equal(unpacker->pos, key))) {
            weir_unpack_take(unpacker, 1 + key.size);
            return true;
        }
        if (WEIR_LIKELY((unpacker->pos[0] & 0xe0u) == WEIR_TAG_FIXSTR))
            return false; /* another one: there is only one short form */
    }
    struct weir_unpacker copy = *unpacker;
    bool equal = weir_unpack_key_slow(&copy, key);
    *unpacker = copy;
    return equal;
}

WEIR_END_DECLS

#endif /* WEIR_UNPACK_H */
