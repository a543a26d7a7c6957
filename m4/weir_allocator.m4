# WEIR_ALLOCATOR(NAME, HEADER, LIBRARY, FUNCTION)
# -----------------------------------------------
# If HEADER is there and LIBRARY has FUNCTION, define HAVE_NAME for the benchmark
# and link it. Not with a sanitizer, whose malloc must be the only one;
# so call it after WEIR_SANITIZERS.
AC_DEFUN([WEIR_ALLOCATOR], [
AS_IF([test "x$enable_tools" = xyes && test -z "$weir_sanitizers"], [
    AC_CHECK_HEADER([$2],
        [AC_CHECK_LIB([$3], [$4],
            [ALLOCATOR_CPPFLAGS="$ALLOCATOR_CPPFLAGS -DHAVE_[]m4_toupper([$1])"
             ALLOCATOR_LIBS="$ALLOCATOR_LIBS -l$3"
             weir_allocators="$weir_allocators${weir_allocators:+, }$1"])])
])
])
