/* SPDX-License-Identifier: MIT */
#include "weir/text.h"
#include "check_private.h"
#include "text_scan.h"
#include "unpack_private.h"

/* An array or map that is open; the first one stands for the input. */
struct level {
    uint64_t to_come; /* values, keys included; of the input, no end of them */
    size_t offset;    /* of its head */
    size_t key;       /* of a map: where its last key begins */
    size_t key_end;   /* and ends; 0: there was none yet */
    size_t first;     /* of its keys that are kept */
    bool map;
};

struct checker {
    struct weir_unpacker cursor;
    struct weir__keys keys;
    struct level *levels;
    uint32_t depth; /* arrays and maps that are open */
    uint32_t depth_max;
    uint32_t flags;
    struct weir_fault fault;
};

static bool refuse(struct checker *checker, int error, size_t offset, const char *reason)
{
    checker->fault.error = error;
    checker->fault.offset = offset;
    checker->fault.reason = reason;
    return false;
}

/* --- forms --------------------------------------------------------------------------------- */

/* Whether the integer at @at could not be written in fewer bytes, or in an unsigned form. */
static bool integer_is_shortest(const uint8_t *at)
{
    uint64_t bits = weir__integer_bits(at);
    int64_t number = (int64_t)bits;

    switch (at[0]) {
    case WEIR_TAG_UINT8:
        return bits >= 0x80;
    case WEIR_TAG_UINT16:
        return bits > UINT8_MAX;
    case WEIR_TAG_UINT32:
        return bits > UINT16_MAX;
    case WEIR_TAG_UINT64:
        return bits > UINT32_MAX;
    case WEIR_TAG_INT8:
        return number < -32;
    case WEIR_TAG_INT16:
        return number < INT8_MIN;
    case WEIR_TAG_INT32:
        return number < INT16_MIN;
    case WEIR_TAG_INT64:
        return number < INT32_MIN;
    default:
        return true;
    }
}

/* Whether the length or count of the head could not be written in a shorter one. */
static bool length_is_shortest(const struct weir__head *head)
{
    uint32_t length = head->length;

    switch (head->at[0]) {
    case WEIR_TAG_STR8:
        return length > 31;
    case WEIR_TAG_EXT8:
        return length > 16 || (length & (length - 1)) != 0 || length == 0;
    case WEIR_TAG_ARRAY16:
    case WEIR_TAG_MAP16:
        return length > 15;
    case WEIR_TAG_STR16:
    case WEIR_TAG_BIN16:
    case WEIR_TAG_EXT16:
        return length > UINT8_MAX;
    case WEIR_TAG_STR32:
    case WEIR_TAG_BIN32:
    case WEIR_TAG_EXT32:
    case WEIR_TAG_ARRAY32:
    case WEIR_TAG_MAP32:
        return length > UINT16_MAX;
    default:
        return true;
    }
}

/* Whether the value whose head was checked is as the flags want it. */
static bool check_form(struct checker *checker, const struct weir__head *head)
{
    size_t offset = weir_unpack_offset(&checker->cursor);

    if ((checker->flags & WEIR_CHECK_CANONICAL) != 0) {
        if (!integer_is_shortest(head->at))
            return refuse(checker, -EBADMSG, offset, "an integer that is not in its shortest form");
        if (!length_is_shortest(head))
            return refuse(checker, -EBADMSG, offset, "a length that is not in its shortest form");
    }
    if ((checker->flags & WEIR_CHECK_UTF8) != 0 && weir__tag_type(head->at[0]) == WEIR_TYPE_STR &&
        !weir_text_is_utf8(weir_view_of(head->at + head->tag.head_bytes, head->length)))
        return refuse(checker, -EBADMSG, offset, "a str that is not UTF-8");
    return true;
}

/* --- keys ---------------------------------------------------------------------------------- */

/* A key of the innermost map is complete: from @offset to where the cursor is. */
static bool complete_key(struct checker *checker, struct level *map, size_t offset)
{
    size_t end = weir_unpack_offset(&checker->cursor);
    const uint8_t *bytes = checker->keys.input.data;

    if ((checker->flags & WEIR_CHECK_CANONICAL) != 0) {
        if (map->key_end != 0) {
            int order = weir_view_compare(weir_view_of(bytes + map->key, map->key_end - map->key),
                                          weir_view_of(bytes + offset, end - offset));
            if (order >= 0)
                return refuse(checker, -EBADMSG, offset,
                              order == 0 ? "a key that was there before"
                                         : "a key that is not in the order of their bytes");
        }
        map->key = offset;
        map->key_end = end;
        return true;
    }
    if ((checker->flags & WEIR_CHECK_UNIQUE) == 0)
        return true;
    int rc = weir__keys_push(&checker->keys, offset, end - offset);
    return rc == 0 || refuse(checker, rc, offset, "no room in the arena for the keys");
}

/* A value that began at @offset is complete, and with it perhaps what it lies in, and so on. */
static bool complete_value(struct checker *checker, size_t offset)
{
    for (;;) {
        struct level *level = &checker->levels[checker->depth];
        level->to_come--;
        if (level->map && level->to_come % 2 != 0 && !complete_key(checker, level, offset))
            return false;
        if (level->to_come != 0)
            return true;
        if (level->map && !weir__keys_pop(&checker->keys, level->first, &offset))
            return refuse(checker, -EBADMSG, offset, "a key that was there before");
        checker->depth--;
        offset = level->offset;
    }
}

/* --- the walk ------------------------------------------------------------------------------ */

/*
 * Pass over what can be passed over where strs have to be UTF-8 and nothing else is asked for:
 * short strs of ASCII are, and what the tag decides the size of. Stops at what is rare, wrong or
 * too deep, near the end, and behind each value that lies in no other.
 */
static void run_utf8(struct checker *checker)
{
    struct weir_unpacker *cursor = &checker->cursor;
    struct level *level = &checker->levels[checker->depth];
    const struct level *outermost = checker->levels;
    const struct level *innermost = outermost + checker->depth_max;
    const uint8_t *at = cursor->pos;
    const uint8_t *end = cursor->end;

    while (level != outermost && (size_t)(end - at) >= WEIR__ROOM) {
        unsigned tag = at[0];
        uint64_t values = 0;
        if ((tag & 0xe0u) == WEIR_TAG_FIXSTR) {
            unsigned size = tag & 0x1fu;
            if (WEIR_UNLIKELY(!weir__text_ascii_behind(at, size)) &&
                !weir_text_is_utf8(weir_view_of(at + 1, size)))
                break;
            at += 1 + size;
        } else if (WEIR_UNLIKELY(!weir__step_over(&at, tag))) {
            if (level == innermost || weir__tag_type(tag) == WEIR_TYPE_STR ||
                !weir__step_counted(&at, end, 0, &values))
                break;
        }
        if (values != 0) {
            /* Of no use without keys to look at: which of them are maps, and where they begin. */
            *++level = (struct level){.to_come = values};
            continue;
        }
        while (--level->to_come == 0)
            level--;
    }
    cursor->pos = at;
    checker->depth = (uint32_t)(level - outermost);
}

/* Check one head and pass over it. Returns false, with the fault set, if something is wrong. */
static bool check_head(struct checker *checker)
{
    struct weir_unpacker *cursor = &checker->cursor;
    size_t offset = weir_unpack_offset(cursor);
    struct weir__head head;

    int rc = weir__unpack_tag(cursor);
    if (rc != 0)
        return refuse(checker, rc, offset, weir__tag_reason(rc));
    enum weir_type type = weir__tag_type(cursor->pos[0]);
    bool container = type == WEIR_TYPE_ARRAY || type == WEIR_TYPE_MAP;
    if (container && checker->depth == checker->depth_max)
        return refuse(checker, -ENOBUFS, offset, weir__deep_reason);
    rc = weir__unpack_body(cursor, &head);
    if (rc != 0)
        return refuse(checker, rc, offset, weir__cut_reason(type));
    if (!check_form(checker, &head))
        return false;
    weir__unpack_take(cursor, &head);
    uint64_t values = weir__head_values(&head);
    if (values == 0)
        return complete_value(checker, offset);
    struct level inner = {values, offset, 0, 0, checker->keys.count, type == WEIR_TYPE_MAP};
    checker->levels[++checker->depth] = inner;
    return true;
}

static bool check_all(struct checker *checker)
{
    struct weir_unpacker *cursor = &checker->cursor;
    bool single = (checker->flags & WEIR_CHECK_SINGLE) != 0;

    if (cursor->error != 0)
        return refuse(checker, cursor->error, 0, weir__large_reason);
    if (single && weir_unpack_done(cursor))
        return refuse(checker, -EAGAIN, 0, "there is no value");
    /* An element for each byte: no need to count them. */
    bool plain = (checker->flags & ~(uint32_t)WEIR_CHECK_SINGLE) == WEIR_CHECK_UTF8 &&
                 cursor->elements_left >= checker->keys.input.size;
    while (checker->depth != 0 || !weir_unpack_done(cursor)) {
        if (!check_head(checker))
            return false;
        if (plain)
            run_utf8(checker);
        if (single && checker->depth == 0 && !weir_unpack_done(cursor))
            return refuse(checker, -EBADMSG, weir_unpack_offset(cursor), "bytes are left over");
    }
    checker->fault.offset = weir_unpack_offset(cursor);
    return true;
}

/* Check with room for as many levels as most need, or for as many as there may be. */
static __attribute__((noinline)) void check_shallow(struct checker *checker)
{
    struct level levels[1 + WEIR__DEPTH_DEFAULT];

    levels[0] = (struct level){UINT64_MAX, 0, 0, 0, 0, false};
    checker->levels = levels;
    check_all(checker);
}

static __attribute__((noinline)) void check_deep(struct checker *checker)
{
    struct level levels[1 + WEIR_DEPTH_MAX];

    levels[0] = (struct level){UINT64_MAX, 0, 0, 0, 0, false};
    checker->levels = levels;
    check_all(checker);
}

int weir_check_with(struct weir_view input, const struct weir_check_options *options,
                    struct weir_checked *ret, struct weir_fault *ret_fault)
{
    static const struct weir_check_options defaults;
    const struct weir_check_options *o = options != NULL ? options : &defaults;
    struct checker checker = {.fault = {0, 0, "nothing is wrong"}, .flags = o->flags};

    if ((o->flags & WEIR_CHECK_CANONICAL) != 0)
        checker.flags &= ~WEIR_CHECK_UNIQUE; /* which it includes */
    checker.depth_max = o->limits.depth != 0 ? o->limits.depth : WEIR__DEPTH_DEFAULT;
    checker.keys.input = input;
    checker.keys.arena = o->arena;
    if (checker.flags == 0) {
        weir_check(input, &o->limits, &checker.fault);
    } else if (checker.depth_max > WEIR_DEPTH_MAX) {
        refuse(&checker, -EINVAL, 0, weir__depth_reason);
    } else if ((checker.flags & WEIR_CHECK_UNIQUE) != 0 && o->arena == NULL) {
        refuse(&checker, -EINVAL, 0, "an arena is needed to keep keys in");
    } else {
        struct weir_arena_mark mark = {NULL, NULL, 0};
        if (o->arena != NULL)
            mark = weir_arena_mark(o->arena);
        weir_unpack_init(&checker.cursor, input, &o->limits);
        if (checker.depth_max <= WEIR__DEPTH_DEFAULT)
            check_shallow(&checker);
        else
            check_deep(&checker);
        if (o->arena != NULL)
            weir_arena_rewind(o->arena, mark);
    }
    if (checker.fault.error == 0 && ret != NULL)
        ret->view = input;
    if (ret_fault != NULL)
        *ret_fault = checker.fault;
    return checker.fault.error;
}
