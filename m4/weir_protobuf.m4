# WEIR_PROTOBUF(NAME, HEADER, LIBRARY, FUNCTION, GENERATOR)
# ---------------------------------------------------------
# If HEADER is there, LIBRARY has FUNCTION and GENERATOR is a program, have the benchmark build the
# source that needs them, and define HAVE_NAME for it. The conditional of the same name must follow.
AC_DEFUN([WEIR_PROTOBUF], [
weir_have_$1=no
AC_CHECK_PROG([weir_generator_$1], [$5], [$5])
AS_IF([test "x$enable_tools" = xyes && test -n "$weir_generator_$1"], [
    AC_CHECK_HEADER([$2],
        [AC_CHECK_LIB([$3], [$4],
            [weir_have_$1=yes
             CODEC_CPPFLAGS="$CODEC_CPPFLAGS -DHAVE_[]m4_toupper([$1])"
             weir_codecs="$weir_codecs${weir_codecs:+, }$1"])])
])
])
