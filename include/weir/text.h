/* SPDX-License-Identifier: MIT */
/**
 * text: strings that are changed only where they have to be.
 *
 * Most text needs no repair, no escape and no other case. Each function here looks first; where
 * nothing has to change the result is the input itself, borrowed, otherwise it is a copy in the
 * caller's arena.
 *
 *     struct weir_text name;
 *     int rc = weir_text_repair(weir_view_text("caf\xe9"), &arena, &name);
 *     if (rc == 0)
 *         rc = weir_text_json(name.view, WEIR_TEXT_QUOTED, &arena, &name);
 *     if (rc == 0)
 *         put(name.view);                              // "caf\xef\xbf\xbd", with its quotes
 *     rc = weir_text_lower(header, &arena, &name);     // name.borrowed: it was lower case already
 *
 * Invariants   borrowed: view is what was passed in, same address and size. Otherwise view lies in
 *              the arena, and a NUL that it does not count follows it.
 * Valid        borrowed: as long as the input. Otherwise as what weir_arena_alloc() returns.
 * Threads      that of the arena; functions without one: any.
 * Errors       0 or a negative errno of the arena: -ENOMEM the source failed, -ENOBUFS a limit is
 *              reached, -EOVERFLOW a size. On an error the arena is as before the call.
 * Cost         one pass that looks, 16 bytes at a time with SSE2 and 8 without; where something
 *              changes, another one that counts and one that writes. One allocation of the exact
 *              size, or none.
 */
#ifndef WEIR_TEXT_H
#define WEIR_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/arena.h>
#include <weir/base.h>
#include <weir/growth.h>
#include <weir/pool.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/** A string, and whether it is the input itself. */
struct weir_text {
    struct weir_view view;
    bool borrowed; /**< view is what was passed in; otherwise it is a copy, which a NUL follows */
};

/* Bits of weir_text_json()'s flags. */
#define WEIR_TEXT_QUOTED UINT32_C(0x1) /* with quotes around it, hence never borrowed */

/** The most bytes that JSON escaping makes of one: \u001f. */
#define WEIR_TEXT_JSON_MAX 6

/** @text with A to Z in lower case; other bytes, those of UTF-8 included, stay. @ret: see above. */
WEIR_API int weir_text_lower(struct weir_view text, struct weir_arena *arena,
                             struct weir_text *ret);

/** @text with a to z in upper case; other bytes, those of UTF-8 included, stay. @ret: see above. */
WEIR_API int weir_text_upper(struct weir_view text, struct weir_arena *arena,
                             struct weir_text *ret);

/**
 * @text with each byte as @map has it.
 *
 * @map      called once for each byte, in order; returns what stands in its place. On an error
 *           it was called up to the first byte that changes.
 * @context  handed to @map; the caller's
 */
WEIR_API int weir_text_map(struct weir_view text, uint8_t (*map)(uint8_t byte, void *context),
                           void *context, struct weir_arena *arena, struct weir_text *ret);

/**
 * How many bytes of @text, from its start, are well-formed UTF-8: shortest forms, no surrogates,
 * nothing above U+10FFFF (RFC 3629, section 4; the Unicode Standard 15.0, table 3-7).
 *
 * Returns   text.size if all of it is; otherwise the offset of the first byte of the first
 *           sequence that is ill-formed or cut off.
 */
WEIR_API size_t weir_text_valid_bytes(struct weir_view text);

/** Whether all of @text is well-formed UTF-8. */
WEIR_INLINE bool weir_text_is_utf8(struct weir_view text);

/**
 * @text with every ill-formed part of it replaced by U+FFFD (EF BF BD), so that it is UTF-8.
 *
 * One U+FFFD stands for each maximal subpart of an ill-formed sequence (the Unicode Standard 15.0,
 * section 3.9, "U+FFFD Substitution of Maximal Subparts"): for as many bytes as could have begun a
 * character, or for one. The WHATWG Encoding Standard's decoder and Python's 'replace' do the same.
 */
WEIR_API int weir_text_repair(struct weir_view text, struct weir_arena *arena,
                              struct weir_text *ret);

/**
 * @text as it stands inside a JSON string (RFC 8259, section 7): quotes, backslashes and control
 * characters below 0x20 escaped, in the two-byte form where there is one (\n), otherwise as \u001f.
 *
 * Bytes from 0x80 on pass as they are: JSON has to be UTF-8, see weir_text_repair().
 *
 * @flags    0 or WEIR_TEXT_QUOTED
 */
WEIR_API int weir_text_json(struct weir_view text, uint32_t flags, struct weir_arena *arena,
                            struct weir_text *ret);

/** The size of @text when escaped, without quotes; SIZE_MAX if that does not fit. */
WEIR_API size_t weir_text_json_bytes(struct weir_view text);

/**
 * Escape @text, without quotes, into the caller's memory.
 *
 * @at       room for weir_text_json_bytes(), which is at most WEIR_TEXT_JSON_MAX * text.size; must
 *           not overlap @text
 * Returns   the bytes written.
 */
WEIR_API size_t weir_text_json_write(struct weir_view text, uint8_t *at);

/**
 * @text as a C string: a NUL, which the view does not count, follows its last byte.
 *
 * @next_readable  the byte behind @text may be read: if it is NUL, @text is borrowed. Of a
 *                 weir_text that is not borrowed that is so.
 * Returns         also -EBADMSG: there is a NUL within @text, where the C string would end.
 */
WEIR_API int weir_text_cstr(struct weir_view text, bool next_readable, struct weir_arena *arena,
                            struct weir_text *ret);

/**
 * @count strings in a row with @separator between each two.
 *
 * @parts    NULL if @count is 0
 * @ret      borrowed: one of @parts, where that is all there is; or empty
 */
WEIR_API int weir_text_join(const struct weir_view *parts, size_t count, struct weir_view separator,
                            struct weir_arena *arena, struct weir_text *ret);

/** One region for string after string, each in place of the one before. Fields are private. */
struct weir_text_scratch {
    struct weir_pool *pool;
    struct weir_block *block; /* NULL: none yet */
    struct weir_growth growth;
};

/**
 * Prepare a scratch over @pool. Allocates nothing yet.
 *
 * @pool         must outlive the scratch
 * @limit_bytes  the longest string; 0: no limit
 */
WEIR_API void weir_text_scratch_init(struct weir_text_scratch *scratch, struct weir_pool *pool,
                                     size_t limit_bytes);

/** Give the region back and zero the scratch. Takes a zeroed one. */
WEIR_API void weir_text_scratch_fini(struct weir_text_scratch *scratch);

/**
 * As weir_text_join(), into the scratch, which keeps its region from call to call.
 *
 * @parts       may lie in the scratch, so that a string can be added to: it moves to another block
 * Returns      0; -ENOMEM, -ENOBUFS, -EOVERFLOW: what the scratch holds stays.
 * Valid until  the next join into the scratch or its fini.
 * Cost         one pass; takes a block only where no string before was as long, or a part lies in
 *              the scratch.
 */
WEIR_API int weir_text_scratch_join(struct weir_text_scratch *scratch,
                                    const struct weir_view *parts, size_t count,
                                    struct weir_view separator, struct weir_text *ret);

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE bool weir_text_is_utf8(struct weir_view text)
{
    return weir_text_valid_bytes(text) == text.size;
}

WEIR_END_DECLS

#endif /* WEIR_TEXT_H */
