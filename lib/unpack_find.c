/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "unpack_private.h"

/* --- keys ---------------------------------------------------------------------------------- */

static struct weir_select_key wanted_of(struct weir_view text)
{
    struct weir_select_key wanted = {text, 0, 0};

    if (text.size > 31) { /* equals no short str; the others are compared in full */
        wanted.word = UINT64_MAX;
        return wanted;
    }
    const uint8_t *from = text.data;
    size_t part = text.size < 7 ? text.size : 7;
    unsigned unused = (unsigned)(8 - part) * 8;
    uint64_t bytes = 0; /* from the highest on; where loads overlap they agree */
    if (part >= 4)
        bytes = (uint64_t)weir_wire_load32(from) << 32 | (uint64_t)weir_wire_load32(from + part - 4)
                                                             << unused;
    else if (part != 0)
        bytes = (uint64_t)from[0] << 56 | (uint64_t)from[part / 2] << (56 - 8 * (part / 2)) |
                (uint64_t)from[part - 1] << unused;
    wanted.word = weir_unpack_native64((uint64_t)(WEIR_TAG_FIXSTR | text.size) << 56 | bytes >> 8);
    wanted.mask = weir_unpack_native64(UINT64_MAX << (unused - 8));
    return wanted;
}

/* Whether the short str at @at, where WEIR__ROOM bytes are readable, is @wanted. */
static inline bool is_wanted(const uint8_t *at, const struct weir_select_key *wanted)
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
static bool find_run(struct weir_unpacker *unpacker, uint32_t *pairs,
                     const struct weir_select_key *wanted)
{
    const uint8_t *at = unpacker->pos;
    const uint8_t *end = unpacker->end;
    uint32_t left = *pairs;
    bool found = false;

    /* Room for a key and a value, as far as they are looked at before their size is known. */
    while (left != 0 && (size_t)(end - at) >= 2 * WEIR__ROOM) {
        if ((at[0] & 0xe0u) != WEIR_TAG_FIXSTR)
            break;
        const uint8_t *value = at + 1 + (at[0] & 0x1fu);
        found = is_wanted(at, wanted);
        if (WEIR_UNLIKELY(found)) {
            at = value;
            break;
        }
        if (WEIR_UNLIKELY(!weir__step_over(&value, value[0])))
            break;
        at = value;
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
    struct weir_select_key wanted = wanted_of(key);
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
static uint64_t select_keys(const struct weir_unpacker *unpacker,
                            const struct weir_select_key *wanted, uint64_t missing)
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

/* One select. */
struct selection {
    const struct weir_select_key *wanted;
    struct weir_view values[WEIR_SELECT_MAX];
    uint64_t missing; /* those that have no value yet, as a bit set */
    uint64_t filter;  /* the bits that select_bit() tells of them, and others; 0: none is missing */
};

/* A number below 64 that depends on the first two bytes of a short str. */
static inline unsigned select_bit(const uint8_t *at)
{
    return (((unsigned)at[0] << 8 | at[1]) * 0x9e37u >> 10) & 63u;
}

/* Which of those that are missing the short str at @at is. Near the end no words can be loaded. */
static uint64_t select_short(const struct selection *selection, const uint8_t *at, bool near_end)
{
    struct weir_view text = weir_view_of(at + 1, at[0] & 0x1fu);
    uint64_t found = 0;

    for (uint64_t rest = selection->missing; rest != 0; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctzll(rest);
        const struct weir_select_key *wanted = &selection->wanted[i];
        bool equal = near_end ? weir_view_equal(text, wanted->text) : is_wanted(at, wanted);
        found |= (uint64_t)equal << i;
    }
    return found;
}

/* The value of those that are found. */
static void select_set(struct selection *selection, uint64_t found, struct weir_view value)
{
    selection->missing &= ~found;
    if (selection->missing == 0)
        selection->filter = 0;
    for (; found != 0; found &= found - 1)
        selection->values[__builtin_ctzll(found)] = value;
}

/*
 * Pass over the pair at @*at if it is a short str and a value whose tag decides its size, and take
 * the value if it is wanted: one bit of a mask tells of most that they are not. Returns whether it
 * was such a pair. Unless near the end there is room for a key and a value.
 */
static inline __attribute__((always_inline)) bool select_simple(const uint8_t **at,
                                                                const uint8_t *end,
                                                                struct selection *selection,
                                                                bool near_end)
{
    const uint8_t *key = *at;
    size_t key_size = 1 + (key[0] & 0x1fu);
    size_t left = (size_t)(end - key);

    if ((key[0] & 0xe0u) != WEIR_TAG_FIXSTR || (near_end && key_size >= left))
        return false;
    const uint8_t *value = key + key_size;
    /* No branches on what the value is: they cost more than they save where maps are in an order of
     * their own, and who selects is ready for that. */
    size_t step = weir__wire_steps[value[0]];
    if (WEIR_UNLIKELY(step == 0) || (near_end && step > left - key_size))
        return false;
    const uint8_t *after = value + step;
    if (WEIR_UNLIKELY((selection->filter >> select_bit(key) & 1u) != 0)) {
        uint64_t found = select_short(selection, key, near_end);
        select_set(selection, found, weir_view_of(value, (size_t)(after - value)));
    }
    *at = after;
    return true;
}

/* Pass over such pairs, as many as there are in a row while any are missing. */
static void select_run(struct weir_unpacker *unpacker, uint32_t *pairs, struct selection *selection)
{
    const uint8_t *at = unpacker->pos;
    const uint8_t *end = unpacker->end;
    uint32_t left = *pairs;

    while (left != 0 && selection->filter != 0 && (size_t)(end - at) >= 2 * WEIR__ROOM &&
           select_simple(&at, end, selection, false))
        left--;
    while (left != 0 && selection->filter != 0 && at != end &&
           select_simple(&at, end, selection, true))
        left--;
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

/* Read the next pair. */
static int select_pair(struct weir_unpacker *unpacker, struct selection *selection)
{
    uint64_t found = select_keys(unpacker, selection->wanted, selection->missing);
    struct weir_view value = {NULL, 0};

    int rc = weir__skip_value(unpacker);
    if (rc == 0)
        rc = found != 0 ? select_value(unpacker, &value) : weir__skip_value(unpacker);
    if (rc == 0)
        select_set(selection, found, value);
    return rc;
}

/* The bits of @count keys. */
static uint64_t all_of(uint32_t count)
{
    return count == 0 ? 0 : UINT64_MAX >> (WEIR_SELECT_MAX - count);
}

/* Prepare to look for @keys. Returns the filter for all of them. */
static uint64_t prepare_keys(struct weir_select_key *wanted, const struct weir_view *keys,
                             uint32_t count)
{
    uint64_t filter = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t form[8];
        wanted[i] = wanted_of(keys[i]);
        memcpy(form, &wanted[i].word, sizeof form);
        /* Behind a str of no bytes anything may come. */
        filter |= keys[i].size == 0 ? UINT64_MAX : UINT64_C(1) << select_bit(form);
    }
    return filter;
}

static void begin_selection(struct selection *selection, const struct weir_select_key *wanted,
                            uint64_t filter, uint32_t count)
{
    selection->wanted = wanted;
    selection->missing = all_of(count);
    selection->filter = filter;
    for (uint32_t i = 0; i < count; i++)
        selection->values[i] = weir_view_of(NULL, 0);
}

/* Read the rest of the map, of which @pairs are left. */
static int select_rest(struct weir_unpacker *unpacker, uint32_t pairs, struct selection *selection)
{
    int rc = 0;

    while (rc == 0 && pairs != 0 && selection->missing != 0) {
        uint32_t before = pairs;
        if (run_allowed(unpacker))
            select_run(unpacker, &pairs, selection);
        if (pairs == before) {
            rc = select_pair(unpacker, selection);
            pairs--;
        }
    }
    return rc != 0 || pairs == 0 ? rc : weir__unpack_skip(unpacker, 2 * (uint64_t)pairs);
}

/* --- by an earlier map ----------------------------------------------------------------------- */

/* A map of the remembered form, for so many maps of another one, is remembered anew at once. */
#define HITS_MIN 16u

/* Maps of another form, from one that is remembered to the next one, at most. */
#define PATIENCE_MAX 4096u

/*
 * Why select_known() stopped: no pair is left, or none is remembered; the next one's key agrees,
 * but its value is not small, or is cut by the end of the piece; too few bytes are left in the
 * piece to look; or the key is another one.
 */
enum known { KNOWN_ALL, KNOWN_LARGE, KNOWN_END, KNOWN_OTHER };

/*
 * Pass over the next pairs, of which *@pairs are left, as long as they agree with those that are
 * remembered from @from on, and take the values of those that are wanted.
 *
 * The input says nothing that the next address depends on but the sizes of values that vary: that
 * is what makes it fast.
 */
static enum known select_known(struct weir_unpacker *unpacker, uint32_t *pairs,
                               const struct weir_selector *selector, uint32_t from,
                               struct selection *selection)
{
    const struct weir_select_pair *pair = selector->pairs + from;
    const uint8_t *at = unpacker->pos;
    const uint8_t *end = unpacker->end;
    uint32_t left = selector->pair_count - from;
    enum known known = KNOWN_ALL;

    if (left > *pairs)
        left = *pairs;
    uint32_t before = left;
    for (; left != 0; left--, pair++) {
        known = KNOWN_END;
        if (WEIR_UNLIKELY((size_t)(end - at) < pair->room))
            break;
        known = KNOWN_OTHER;
        if (WEIR_UNLIKELY((weir_unpack_word(at) & pair->mask) != pair->word))
            break;
        const uint8_t *value = at + pair->key_bytes;
        uint64_t found = pair->found;
        if (WEIR_UNLIKELY(found != 0) && !is_wanted(at, &selector->keys[__builtin_ctzll(found)]))
            break;
        size_t step = pair->step;
        if (step == 0 || WEIR_UNLIKELY((value[0] & pair->tag_mask) != pair->tag))
            step = weir__wire_steps[value[0]];
        known = KNOWN_LARGE;
        if (WEIR_UNLIKELY(step == 0 || step > (size_t)(end - value)))
            break;
        if (WEIR_UNLIKELY(found != 0))
            select_set(selection, found & selection->missing, weir_view_of(value, step));
        at = value + step;
        known = KNOWN_ALL;
    }
    unpacker->pos = at;
    unpacker->elements_left -= 2 * (uint64_t)(before - left);
    *pairs -= before - left;
    return known;
}

/* Whether the short str @key begins like one that is wanted, but may be another one. */
static bool is_ambiguous(const struct weir_selector *selector, const uint8_t *key, uint64_t found)
{
    if ((key[0] & 0x1fu) <= 7 || found != 0)
        return false;
    for (uint32_t i = 0; i < selector->count; i++) {
        const struct weir_select_key *wanted = &selector->keys[i];
        if ((weir_unpack_word(key) & wanted->mask) == wanted->word)
            return true;
    }
    return false;
}

/* What is remembered of a pair whose key, a short str, is at @key, its value at @value. */
static struct weir_select_pair pair_of(const uint8_t *key, const uint8_t *value, uint64_t found)
{
    struct weir_select_pair pair = {0};
    struct weir_select_key form = wanted_of(weir_view_of(key + 1, key[0] & 0x1fu));

    pair.word = form.word;
    pair.mask = form.mask;
    pair.found = found;
    pair.key_bytes = (uint8_t)(1 + (key[0] & 0x1fu));
    pair.room =
        (uint8_t)(pair.key_bytes < sizeof(pair.word) ? sizeof(pair.word) : pair.key_bytes + 1u);
    pair.tag_mask = (value[0] | 1u) == WEIR_TAG_TRUE ? 0xfe : 0xff;
    pair.tag = value[0] & pair.tag_mask;
    size_t step = weir__wire_steps[value[0]];
    if (step == 9 || (value[0] | 1u) == WEIR_TAG_TRUE)
        pair.step = (uint8_t)step;
    return pair;
}

/* Remember the map at @map, which was read. */
static void remember(struct weir_selector *selector, const struct weir_unpacker *map)
{
    struct weir_unpacker cursor = *map;
    uint64_t missing = all_of(selector->count);
    uint32_t pairs = 0;

    selector->pair_count = 0;
    cursor.elements_left = UINT64_MAX;
    weir_unpack_map(&cursor, &pairs);
    for (; pairs != 0 && selector->pair_count < WEIR_SELECT_PAIRS_MAX; pairs--) {
        const uint8_t *key = cursor.pos;
        if ((key[0] & 0xe0u) != WEIR_TAG_FIXSTR)
            break;
        uint64_t found = select_keys(&cursor, selector->keys, missing);
        if (is_ambiguous(selector, key, found) || weir__skip_value(&cursor) != 0)
            break;
        selector->pairs[selector->pair_count++] = pair_of(key, cursor.pos, found);
        missing &= ~found;
        if (weir__skip_value(&cursor) != 0)
            break;
    }
}

/* The map at @map did not agree with what is remembered. */
static void miss(struct weir_selector *selector, const struct weir_unpacker *map)
{
    if (++selector->misses < selector->patience || map->pieces != NULL)
        return;
    uint32_t patience =
        selector->hits / HITS_MIN >= selector->misses ? 1 : 1 + 2 * selector->patience;
    selector->patience = patience < PATIENCE_MAX ? patience : PATIENCE_MAX;
    selector->hits = 0;
    selector->misses = 0;
    remember(selector, map);
}

int weir_selector_init(struct weir_selector *selector, const struct weir_view *keys, uint32_t count)
{
    if (count > WEIR_SELECT_MAX)
        return -EINVAL;
    memset(selector, 0, sizeof(*selector));
    selector->count = count;
    selector->filter = prepare_keys(selector->keys, keys, count);
    return 0;
}

int weir_unpack_select_with(struct weir_unpacker *unpacker, struct weir_selector *selector,
                            struct weir_view *ret)
{
    struct weir_unpacker map = *unpacker;
    struct selection selection;
    uint32_t pairs;

    begin_selection(&selection, selector->keys, selector->filter, selector->count);
    int rc = weir_unpack_map(unpacker, &pairs);
    uint32_t total = rc == 0 ? pairs : 0;
    enum known known = KNOWN_ALL;
    while (rc == 0 && pairs != 0 && total - pairs < selector->pair_count && run_allowed(unpacker)) {
        known = select_known(unpacker, &pairs, selector, total - pairs, &selection);
        if (known != KNOWN_LARGE)
            break;
        rc = select_pair(unpacker, &selection);
        pairs--;
    }
    if (rc == 0)
        rc = select_rest(unpacker, pairs, &selection);
    if (rc != 0)
        return rc;
    if (known == KNOWN_OTHER || selector->pair_count == 0)
        miss(selector, &map);
    else
        selector->hits++;
    if (selector->count != 0)
        memcpy(ret, selection.values, selector->count * sizeof(*ret));
    return 0;
}

int weir_unpack_select(struct weir_unpacker *unpacker, const struct weir_view *keys, uint32_t count,
                       struct weir_view *ret)
{
    struct weir_select_key wanted[WEIR_SELECT_MAX];
    struct selection selection;
    uint32_t pairs;

    if (count > WEIR_SELECT_MAX)
        return -EINVAL;
    begin_selection(&selection, wanted, prepare_keys(wanted, keys, count), count);
    int rc = weir_unpack_map(unpacker, &pairs);
    if (rc == 0)
        rc = select_rest(unpacker, pairs, &selection);
    if (rc == 0 && count != 0)
        memcpy(ret, selection.values, count * sizeof(*ret));
    return rc;
}
