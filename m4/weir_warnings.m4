# WEIR_WARNINGS
# -------------
# Put the warnings that the compiler knows into WARN_CFLAGS; with
# --enable-werror they are errors. clang only warns about a warning option
# that it does not know, hence -Werror while probing.
AC_DEFUN([WEIR_WARNINGS], [
AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--enable-werror], [treat the warnings about our code as errors])],
    [], [enable_werror=no])
WARN_CFLAGS=
AX_APPEND_COMPILE_FLAGS([ dnl
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow dnl
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition dnl
    -Wmissing-declarations -Wredundant-decls -Wnested-externs dnl
    -Wvla -Walloca -Wundef -Wcast-align -Wcast-qual -Wpointer-arith dnl
    -Wwrite-strings -Wimplicit-fallthrough -Wformat=2 dnl
    -Wnull-dereference -Wdouble-promotion -Wfloat-conversion dnl
    -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wtrampolines dnl
    -Wdate-time -Wcomma -Wunreachable-code], dnl
    [WARN_CFLAGS], [-Werror])
AS_IF([test "x$enable_werror" = xyes], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
AC_SUBST([WARN_CFLAGS])
])
