# WEIR_CODEC(NAME, HEADER, LIBRARY, FUNCTION)
# -------------------------------------------
# If HEADER is there and LIBRARY has FUNCTION, define HAVE_NAME for the benchmark
# and link it.
AC_DEFUN([WEIR_CODEC], [
AS_IF([test "x$enable_tools" = xyes], [
    AC_CHECK_HEADER([$2],
        [AC_CHECK_LIB([$3], [$4],
            [CODEC_CPPFLAGS="$CODEC_CPPFLAGS -DHAVE_[]m4_toupper([$1])"
             CODEC_LIBS="$CODEC_LIBS -l$3"
             weir_codecs="$weir_codecs${weir_codecs:+, }$1"])])
])
])
