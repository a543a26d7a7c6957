# WEIR_FLATBUFFERS
# ----------------
# If there are a C++ compiler, FlatBuffers' headers for it and its generator, have the benchmark
# build the source that needs them, and define HAVE_FLATBUFFERS for it.
AC_DEFUN([WEIR_FLATBUFFERS], [
weir_flatbuffers=no
AC_CHECK_PROG([FLATC], [flatc], [flatc])
AS_IF([test "x$enable_tools" = xyes && test -n "$FLATC"], [
    AC_LANG_PUSH([C++])
    AC_CHECK_HEADER([flatbuffers/flatbuffers.h],
        [weir_flatbuffers=yes
         CODEC_CPPFLAGS="$CODEC_CPPFLAGS -DHAVE_FLATBUFFERS"
         weir_codecs="$weir_codecs${weir_codecs:+, }flatbuffers"])
    AC_LANG_POP([C++])
])
AM_CONDITIONAL([HAVE_FLATBUFFERS], [test "x$weir_flatbuffers" = xyes])
])
