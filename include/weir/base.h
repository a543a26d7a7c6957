/**
 * base: what every other module of weir stands on.
 *
 * The export macro, the library's version and features, the names and meanings
 * of the errors that weir returns, and size arithmetic that cannot wrap.
 *
 *     size_t bytes;
 *     if (weir_mul_overflows(count, sizeof(struct item), &bytes))
 *         return -EOVERFLOW;
 *     int error = weir_buf_reserve(buf, bytes, &ptr);
 *     if (error < 0) {
 *         fprintf(stderr, "reserve: %s: %s\n", weir_error_name(error), weir_error_text(error));
 *         return error;
 *     }
 *
 * Invariants  no state; every string returned is constant and lives as long as the program.
 * Threads     any, at any time.
 * Errors      weir's functions return 0 (or a count) or a negative errno. Nothing here sets errno.
 */
#ifndef WEIR_BASE_H
#define WEIR_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0

/* One number to compare with: WEIR_VERSION >= WEIR_VERSION_OF(0, 1, 0). */
#define WEIR_VERSION_OF(major, minor, patch) (1000000 * (major) + 1000 * (minor) + (patch))
#define WEIR_VERSION WEIR_VERSION_OF(WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH)

/* Marks what the shared library exports; lib/libweir.map lists the same names. */
#define WEIR_API __attribute__((visibility("default")))

#define WEIR_INLINE static inline

/** As WEIR_INLINE where a compiler's own judgement was measured to be wrong. */
#define WEIR_ALWAYS_INLINE static inline __attribute__((always_inline))

/* The result says whether the call worked; dropping it is a mistake. */
#define WEIR_NODISCARD __attribute__((warn_unused_result))

#define WEIR_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define WEIR_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#ifdef __cplusplus
#define WEIR_BEGIN_DECLS extern "C" {
#define WEIR_END_DECLS }
#else
#define WEIR_BEGIN_DECLS
#define WEIR_END_DECLS
#endif

WEIR_BEGIN_DECLS

/* Bits of weir_features(). */
#define WEIR_FEATURE_DEBUG UINT32_C(0x1) /* configured with --enable-debug */
#define WEIR_FEATURE_ASAN UINT32_C(0x2)  /* the library is built with AddressSanitizer */

/**
 * The version of the library that the program runs with, as "0.1.0".
 *
 * It may be newer than the header that the program was compiled with, which is
 * WEIR_VERSION.
 *
 * Returns      a constant string, never NULL.
 * Cost         none.
 */
WEIR_API const char *weir_version(void);

/**
 * How the library that the program runs with was built: WEIR_FEATURE_ bits.
 *
 * What the kernel can do is the ring's to say; this is what was decided when
 * the library was compiled, and no public struct depends on it.
 */
WEIR_API uint32_t weir_features(void);

/**
 * The symbolic name of @error, such as "ENOBUFS".
 *
 * @error       0 or a negative errno, as weir's functions return it
 * Returns      a constant string, never NULL: "OK" for 0, "UNKNOWN" for a positive value (a
 *              count is no error) and for a number that no error has.
 * Cost         a search of a short table; for reports, not for the hot path.
 */
WEIR_API const char *weir_error_name(int error);

/**
 * One line that says what @error means when weir returns it.
 *
 * Without a full stop or a newline. Where weir gives an errno a meaning of its
 * own (ENOBUFS: a limit is reached), this is that meaning and not strerror()'s.
 *
 * @error       0 or a negative errno, as weir's functions return it
 * Returns      a constant string, never NULL; not translated.
 * Threads      any; unlike strerror() it keeps no buffer.
 */
WEIR_API const char *weir_error_text(int error);

/**
 * Whether @a + @b does not fit a size_t; if it fits, store the sum.
 *
 * @ret         written only when the result is false
 * Returns      true: overflow, @ret untouched; false: *@ret is the sum.
 * Cost         inline, an addition and a branch.
 */
WEIR_NODISCARD WEIR_INLINE bool weir_add_overflows(size_t a, size_t b, size_t *ret);

/**
 * Whether @a * @b does not fit a size_t; if it fits, store the product.
 *
 * @ret         written only when the result is false
 * Returns      true: overflow, @ret untouched; false: *@ret is the product.
 * Cost         inline, a multiplication and a branch.
 */
WEIR_NODISCARD WEIR_INLINE bool weir_mul_overflows(size_t a, size_t b, size_t *ret);

/**
 * Whether @value is a power of two. 0 is not.
 */
WEIR_NODISCARD WEIR_INLINE bool weir_is_pow2(size_t value);

/**
 * Round @value up to a multiple of @align; the result tells of an overflow.
 *
 * @align       a power of two (asserted)
 * @ret         written only when the result is false
 * Returns      true: overflow, @ret untouched; false: *@ret is the smallest multiple of
 *              @align that is not below @value, @value itself if it is one.
 * Cost         inline, an addition, a mask and a branch.
 */
WEIR_NODISCARD WEIR_INLINE bool weir_align_up(size_t value, size_t align, size_t *ret);

/**
 * How much of @whole @part is, in whole percent, for reports.
 *
 * Returns      0..100, rounded down: 100 means all of it; 0 if @whole is 0.
 * Cost         inline, two divisions at most.
 */
WEIR_INLINE unsigned weir_percent(size_t part, size_t whole);

/* Inline bodies. */

WEIR_INLINE bool weir_add_overflows(size_t a, size_t b, size_t *ret)
{
    size_t sum;

    if (WEIR_UNLIKELY(__builtin_add_overflow(a, b, &sum)))
        return true;
    *ret = sum;
    return false;
}

WEIR_INLINE bool weir_mul_overflows(size_t a, size_t b, size_t *ret)
{
    size_t product;

    if (WEIR_UNLIKELY(__builtin_mul_overflow(a, b, &product)))
        return true;
    *ret = product;
    return false;
}

WEIR_INLINE bool weir_is_pow2(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

WEIR_INLINE bool weir_align_up(size_t value, size_t align, size_t *ret)
{
    size_t padded;

    assert(weir_is_pow2(align));
    if (weir_add_overflows(value, align - 1, &padded))
        return true;
    *ret = padded & ~(align - 1);
    return false;
}

WEIR_INLINE unsigned weir_percent(size_t part, size_t whole)
{
    if (whole == 0)
        return 0;
    if (part >= whole)
        return 100;
    if (part <= SIZE_MAX / 100)
        return (unsigned)(part * 100 / whole);
    /* The hundredth is rounded down, which may show what is not quite full as full. */
    size_t percent = part / (whole / 100);
    return percent < 100 ? (unsigned)percent : 99;
}

WEIR_END_DECLS

#endif
