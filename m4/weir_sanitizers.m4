# WEIR_SANITIZERS
# ---------------
# Turn --enable-sanitizers=LIST and --enable-fuzz into SANITIZER_CFLAGS (for
# everything of ours), SANITIZER_LDFLAGS and, for the fuzz programs alone,
# FUZZ_ENGINE. Every finding ends the program: a test must not pass over it.
AC_DEFUN([WEIR_SANITIZERS], [
AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers=LIST],
        [build with these, e.g. address,undefined or thread])],
    [AS_CASE(["$enableval"],
        [no], [weir_sanitizers=],
        [yes], [weir_sanitizers=address,undefined],
        [weir_sanitizers=$enableval])],
    [weir_sanitizers=])
SANITIZER_CFLAGS=
SANITIZER_LDFLAGS=
FUZZ_ENGINE=
AS_IF([test "x$enable_fuzz" = xyes && test -z "$weir_sanitizers"],
    [weir_sanitizers=address,undefined])
AS_IF([test -n "$weir_sanitizers"], [
    SANITIZER_LDFLAGS="-fsanitize=$weir_sanitizers"
    SANITIZER_CFLAGS="$SANITIZER_LDFLAGS -fno-sanitize-recover=all -fno-omit-frame-pointer"
    WEIR_TRY_SANITIZER([-fsanitize=$weir_sanitizers], [$SANITIZER_CFLAGS], [],
        [AC_MSG_ERROR([$CC cannot build with -fsanitize=$weir_sanitizers])])
])
AS_IF([test "x$enable_fuzz" = xyes], [
    SANITIZER_CFLAGS="$SANITIZER_CFLAGS -fsanitize=fuzzer-no-link"
    WEIR_TRY_SANITIZER([-fsanitize=fuzzer], [$SANITIZER_CFLAGS],
        [FUZZ_ENGINE=-fsanitize=fuzzer],
        [AC_MSG_ERROR([--enable-fuzz needs clang with its fuzzer runtime (try CC=clang or CC=afl-clang-fast)])])
])
AM_CONDITIONAL([BUILD_FUZZ], [test "x$enable_fuzz" = xyes])
AC_SUBST([SANITIZER_CFLAGS])
AC_SUBST([SANITIZER_LDFLAGS])
AC_SUBST([FUZZ_ENGINE])
])

# WEIR_TRY_SANITIZER(NAME, FLAGS, IF-LINKS, IF-NOT)
# -------------------------------------------------
AC_DEFUN([WEIR_TRY_SANITIZER], [
AC_MSG_CHECKING([whether $CC links with $1])
weir_save_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS $2"
AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
    [CFLAGS=$weir_save_CFLAGS
     AC_MSG_RESULT([yes])
     $3],
    [CFLAGS=$weir_save_CFLAGS
     AC_MSG_RESULT([no])
     $4])
])
