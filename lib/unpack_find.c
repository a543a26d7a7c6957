/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "unpack_private.h"

/* --- keys ---------------------------------------------------------------------------------- */

/* A str that is looked for, and how its shortest form begins. */
struct wanted {
    struct weir_view text;
    uint64_t word; /* the first bytes of that form: as many as mask has */
    uint64_t mask; /* as they lie in memory */
};

static struct wanted wanted_of(struct weir_view text)
{
    struct wanted wanted = {text, 0, 0};

    if (text.size > 31) { /* equals no short str; the others are compared in full */
        wanted.word = UINT64_MAX;
        return wanted;
    }
    uint64_t word = WEIR_TAG_FIXSTR | text.size;
    size_t part = text.size < 7 ? text.size : 7;
    for (size_t i = 0; i < part; i++)
        word = word << 8 | text.data[i];
    unsigned unused = (unsigned)(7 - part) * 8;
    wanted.word = weir_unpack_native64(word << unused);
    wanted.mask = weir_unpack_native64(UINT64_MAX << unused);
    return wanted;
}

/* Whether the short str at @at, where WEIR__ROOM bytes are readable, is @wanted. */
static inline bool is_wanted(const uint8_t *at, const struct wanted *wanted)
{
    if (WEIR_LIKELY((weir_unpack_word(at) & wanted->mask) != wanted->word))
        return false;
    return wanted->text.size <= 7 ||
           memcmp(at + 8, wanted->text.data + 7, wanted->text.size - 7) == 0;
}

/*
 * Whether the @head.length bytes of the value that was checked are @text. Nothing is taken, nothing
 * copied: they may straddle pieces.
 */
static bool bytes_equal(const struct weir_unpacker *unpacker, const struct weir__head *head,
                        struct weir_view text)
{
    struct weir_unpacker ahead = *unpacker;

    if (head->length != text.size)
        return false;
    weir__unpack_advance(&ahead, head->tag.head_bytes);
    while (text.size != 0) {
        struct weir_view part = weir__unpack_part(&ahead, text.size);
        if (memcmp(part.data, text.data, part.size) != 0)
            return false;
        text.data += part.size;
        text.size -= part.size;
    }
    return true;
}

bool weir_unpack_key_slow(struct weir_unpacker *unpacker, struct weir_view key)
{
    struct weir_unpacker ahead = *unpacker;
    struct weir__head head;

    if (weir__unpack_tag(&ahead) != 0 || weir__tag_type(ahead.pos[0]) != WEIR_TYPE_STR ||
        weir__unpack_body(&ahead, &head) != 0 || !bytes_equal(&ahead, &head, key))
        return false;
    weir__unpack_take(&ahead, &head);
    *unpacker = ahead;
    return true;
}

/* --- find ---------------------------------------------------------------------------------- */

/*
 * Pass over pairs of short strs and values whose tag decides their size, as many as there are in a
 * row, up to the one that is wanted. Returns whether that was found: its value comes next.
 */
static bool find_run(struct weir_unpacker *unpacker, uint32_t *pairs, const struct wanted *wanted)
{
    const uint8_t *at = unpacker->pos;
    const uint8_t *end = unpacker->end;
    uint32_t left = *pairs;
    bool found = false;

    /* Room for a key and a value, as far as they are looked at before their size is known. */
    while (left != 0 && (size_t)(end - at) >= 2 * WEIR__ROOM) {
        if ((at[0] & 0xe0u) != WEIR_TAG_FIXSTR)
            break;
        size_t key = 1 + (at[0] & 0x1fu);
        if (is_wanted(at, wanted)) {
            at += key;
            found = true;
            break;
        }
        size_t value = weir__step(at + key);
        if (WEIR_UNLIKELY(value == 0))
            break;
        at += key + value;
        left--;
    }
    /* The same near the end of the piece, where words cannot be loaded. */
    while (left != 0 && !found && at != end && (at[0] & 0xe0u) == WEIR_TAG_FIXSTR) {
        size_t key = 1 + (at[0] & 0x1fu);
        size_t rest = (size_t)(end - at);
        if (key >= rest)
            break;
        found = weir_view_equal(weir_view_of(at + 1, key - 1), wanted->text);
        size_t value = found ? 0 : weir__wire_steps[at[key]];
        if (value > rest - key || (value == 0 && !found))
            break;
        at += key + value;
        left -= !found;
    }
    unpacker->pos = at;
    unpacker->elements_left -= 2 * (uint64_t)(*pairs - left) + found;
    *pairs = left;
    return found;
}

/* The budget may be too small for a run, which does not look at it: an element takes a byte. */
static bool run_allowed(const struct weir_unpacker *unpacker)
{
    return unpacker->elements_left >= weir_unpack_left(unpacker);
}

int weir_unpack_find_slow(struct weir_unpacker *unpacker, struct weir_view key)
{
    struct wanted wanted = wanted_of(key);
    uint32_t pairs;

    int rc = weir_unpack_map(unpacker, &pairs);
    while (rc == 0) {
        if (run_allowed(unpacker) && find_run(unpacker, &pairs, &wanted))
            return 0;
        if (pairs == 0)
            return -ENOENT;
        if (weir_unpack_key_slow(unpacker, key))
            return 0;
        weir_unpack_skip_slow(unpacker);
        rc = weir_unpack_skip_slow(unpacker);
        pairs--;
    }
    return rc;
}

/* --- select -------------------------------------------------------------------------------- */

/* Which of the wanted keys that have no value yet comes next, as a bit set. Nothing is taken. */
static uint64_t select_keys(const struct weir_unpacker *unpacker, const struct wanted *wanted,
                            uint64_t missing)
{
    const uint8_t *at = unpacker->pos;
    size_t left = weir_unpack_left(unpacker);
    bool here = left != 0 && (at[0] & 0xe0u) == WEIR_TAG_FIXSTR && (at[0] & 0x1fu) < left;
    uint64_t found = 0;

    for (uint64_t rest = missing; rest != 0; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctzll(rest);
        struct weir_view text = wanted[i].text;
        bool equal;
        if (here) {
            equal = weir_view_equal(weir_view_of(at + 1, at[0] & 0x1fu), text);
        } else {
            struct weir_unpacker ahead = *unpacker;
            equal = weir_unpack_key_slow(&ahead, text);
        }
        found |= (uint64_t)equal << i;
    }
    return found;
}

/*
 * Pass over pairs of short strs and values whose tag decides their size, as many as there are in a
 * row, up to one whose key may be wanted.
 */
static void select_run(struct weir_unpacker *unpacker, uint32_t *pairs, const struct wanted *wanted,
                       uint32_t count)
{
    const uint8_t *at = unpacker->pos;
    const uint8_t *end = unpacker->end;
    uint32_t left = *pairs;

    while (left != 0 && (size_t)(end - at) >= 2 * WEIR__ROOM) {
        if ((at[0] & 0xe0u) != WEIR_TAG_FIXSTR)
            break;
        uint64_t word = weir_unpack_word(at);
        bool maybe = false;
        for (uint32_t i = 0; i < count; i++)
            maybe |= (word & wanted[i].mask) == wanted[i].word;
        if (WEIR_UNLIKELY(maybe))
            break;
        size_t key = 1 + (at[0] & 0x1fu);
        size_t value = weir__step(at + key);
        if (WEIR_UNLIKELY(value == 0))
            break;
        at += key + value;
        left--;
    }
    unpacker->pos = at;
    unpacker->elements_left -= 2 * (uint64_t)(*pairs - left);
    *pairs = left;
}

/* Read the next value as its bytes, which lie in one piece where there is only one. */
static int select_value(struct weir_unpacker *unpacker, struct weir_view *ret)
{
    const uint8_t *from = unpacker->pos;

    if (unpacker->pieces != NULL)
        return weir_unpack_raw_slow(unpacker, ret);
    int rc = weir__skip_value(unpacker);
    *ret = weir_view_of(from, rc == 0 ? (size_t)(unpacker->pos - from) : 0);
    return rc;
}

int weir_unpack_select(struct weir_unpacker *unpacker, const struct weir_view *keys, uint32_t count,
                       struct weir_view *ret)
{
    struct wanted wanted[WEIR_SELECT_MAX];
    struct weir_view values[WEIR_SELECT_MAX];
    uint64_t missing = count == 0 ? 0 : UINT64_MAX >> (64 - count % 64) % 64;
    uint32_t pairs;

    if (count > WEIR_SELECT_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++) {
        wanted[i] = wanted_of(keys[i]);
        values[i] = weir_view_of(NULL, 0);
    }
    int rc = weir_unpack_map(unpacker, &pairs);
    while (rc == 0 && missing != 0) {
        if (run_allowed(unpacker))
            select_run(unpacker, &pairs, wanted, count);
        if (pairs == 0)
            break;
        uint64_t found = select_keys(unpacker, wanted, missing);
        struct weir_view value = {NULL, 0};
        rc = weir__skip_value(unpacker);
        if (rc == 0)
            rc = found != 0 ? select_value(unpacker, &value) : weir__skip_value(unpacker);
        missing &= ~found;
        for (; rc == 0 && found != 0; found &= found - 1) {
            values[__builtin_ctzll(found)] = value;
            wanted[__builtin_ctzll(found)].mask = 0; /* no longer, */
            wanted[__builtin_ctzll(found)].word = 1; /* whatever comes */
        }
        pairs--;
    }
    if (rc == 0)
        rc = weir__unpack_skip(unpacker, 2 * (uint64_t)pairs);
    if (rc == 0 && count != 0)
        memcpy(ret, values, count * sizeof(*ret));
    return rc;
}
