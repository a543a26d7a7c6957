#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "weir/base.h"

_Static_assert(WEIR_VERSION_OF(0, 1, 0) < WEIR_VERSION_OF(0, 1, 1), "by patch");
_Static_assert(WEIR_VERSION_OF(0, 999, 999) < WEIR_VERSION_OF(1, 0, 0), "by major");

static void version_is_configures(void **state)
{
    (void)state;
    assert_string_equal(weir_version(), PACKAGE_VERSION);
}

static void version_is_the_headers(void **state)
{
    char text[64];

    (void)state;
    snprintf(
        text, sizeof(text), "%d.%d.%d", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH);
    assert_string_equal(weir_version(), text);
}

static void features_say_how_it_was_built(void **state)
{
    const uint32_t known = WEIR_FEATURE_DEBUG | WEIR_FEATURE_ASAN;

    (void)state;
    assert_int_equal(weir_features() & ~known, 0);
    assert_int_equal((weir_features() & WEIR_FEATURE_DEBUG) != 0, WEIR_DEBUG);
#ifdef __SANITIZE_ADDRESS__
    assert_true(weir_features() & WEIR_FEATURE_ASAN);
#endif
}

static void errors_have_names(void **state)
{
    (void)state;
    assert_string_equal(weir_error_name(0), "OK");
    assert_string_equal(weir_error_name(-ENOBUFS), "ENOBUFS");
    assert_string_equal(weir_error_name(-EAGAIN), "EAGAIN");
    assert_string_equal(weir_error_name(-EBADMSG), "EBADMSG");
    assert_string_equal(weir_error_name(-EPROTO), "EPROTO");
    assert_string_equal(weir_error_name(-ECONNRESET), "ECONNRESET");
    assert_string_equal(weir_error_name(EINVAL), "UNKNOWN");
    assert_string_equal(weir_error_name(INT_MIN), "UNKNOWN");
    assert_string_equal(weir_error_name(INT_MAX), "UNKNOWN");
    assert_string_equal(weir_error_name(-99999), "UNKNOWN");
}

/* An errno that weir never returns itself still gets a name where the system knows one. */
static void foreign_errors_have_names(void **state)
{
    (void)state;
#ifdef HAVE_STRERRORNAME_NP
    assert_string_equal(weir_error_name(-EXDEV), "EXDEV");
#else
    assert_string_equal(weir_error_name(-EXDEV), "UNKNOWN");
#endif
}

static void error_texts_are_one_line(void **state)
{
    (void)state;
    for (int number = -5; number < 200; number++) {
        const char *text = weir_error_text(-number);

        assert_non_null(text);
        assert_true(strlen(text) > 5 && strlen(text) < 80);
        assert_null(strpbrk(text, "\n\t"));
        assert_int_not_equal(text[strlen(text) - 1], '.');
    }
}

static void error_texts_are_weirs_own(void **state)
{
    (void)state;
    assert_string_equal(weir_error_text(0), "success");
    assert_string_equal(weir_error_text(-ENOBUFS), "a limit of the pool or buffer is reached");
    assert_string_equal(weir_error_text(EINVAL), "not an error");
    assert_string_equal(weir_error_text(INT_MIN), "an error that this system has no name for");
}

static void sums_do_not_wrap(void **state)
{
    size_t ret = 7;

    (void)state;
    assert_false(weir_add_overflows(0, 0, &ret));
    assert_int_equal(ret, 0);
    assert_false(weir_add_overflows(SIZE_MAX - 3, 3, &ret));
    assert_true(ret == SIZE_MAX);
    ret = 7;
    assert_true(weir_add_overflows(SIZE_MAX, 1, &ret));
    assert_true(weir_add_overflows(SIZE_MAX, SIZE_MAX, &ret));
    assert_int_equal(ret, 7);
}

static void products_do_not_wrap(void **state)
{
    const size_t half = SIZE_MAX / 2 + 1;
    size_t ret = 7;

    (void)state;
    assert_false(weir_mul_overflows(SIZE_MAX, 0, &ret));
    assert_int_equal(ret, 0);
    assert_false(weir_mul_overflows(half / 2, 2, &ret));
    assert_true(ret == half);
    ret = 7;
    assert_true(weir_mul_overflows(half, 2, &ret));
    assert_true(weir_mul_overflows(SIZE_MAX, SIZE_MAX, &ret));
    assert_int_equal(ret, 7);
}

static void powers_of_two(void **state)
{
    (void)state;
    assert_false(weir_is_pow2(0));
    assert_true(weir_is_pow2(1));
    for (size_t bit = 2; bit != 0; bit <<= 1) {
        assert_true(weir_is_pow2(bit));
        assert_false(weir_is_pow2(bit + 1));
        assert_true(bit == 2 || !weir_is_pow2(bit - 1));
    }
    assert_false(weir_is_pow2(SIZE_MAX));
}

static void rounding_up_does_not_wrap(void **state)
{
    size_t ret = 7;

    (void)state;
    assert_false(weir_align_up(0, 64, &ret));
    assert_int_equal(ret, 0);
    assert_false(weir_align_up(1, 64, &ret));
    assert_int_equal(ret, 64);
    assert_false(weir_align_up(64, 64, &ret));
    assert_int_equal(ret, 64);
    assert_false(weir_align_up(65, 64, &ret));
    assert_int_equal(ret, 128);
    assert_false(weir_align_up(SIZE_MAX, 1, &ret));
    assert_true(ret == SIZE_MAX);
    assert_false(weir_align_up(SIZE_MAX - 63, 64, &ret));
    assert_true(ret == SIZE_MAX - 63);
    ret = 7;
    assert_true(weir_align_up(SIZE_MAX - 62, 64, &ret));
    assert_true(weir_align_up(SIZE_MAX, 2, &ret));
    assert_int_equal(ret, 7);
}

static void percents_are_rounded_down(void **state)
{
    (void)state;
    assert_int_equal(weir_percent(0, 0), 0);
    assert_int_equal(weir_percent(5, 0), 0);
    assert_int_equal(weir_percent(0, 7), 0);
    assert_int_equal(weir_percent(1, 3), 33);
    assert_int_equal(weir_percent(999, 1000), 99);
    assert_int_equal(weir_percent(1000, 1000), 100);
    assert_int_equal(weir_percent(2000, 1000), 100);
    assert_int_equal(weir_percent(SIZE_MAX / 2, SIZE_MAX), 50);
    assert_int_equal(weir_percent(SIZE_MAX - 1, SIZE_MAX), 99);
    assert_int_equal(weir_percent(SIZE_MAX, SIZE_MAX), 100);
    assert_int_equal(weir_percent(SIZE_MAX / 100, SIZE_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_is_configures),
        cmocka_unit_test(version_is_the_headers),
        cmocka_unit_test(features_say_how_it_was_built),
        cmocka_unit_test(errors_have_names),
        cmocka_unit_test(foreign_errors_have_names),
        cmocka_unit_test(error_texts_are_one_line),
        cmocka_unit_test(error_texts_are_weirs_own),
        cmocka_unit_test(sums_do_not_wrap),
        cmocka_unit_test(products_do_not_wrap),
        cmocka_unit_test(powers_of_two),
        cmocka_unit_test(rounding_up_does_not_wrap),
        cmocka_unit_test(percents_are_rounded_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
