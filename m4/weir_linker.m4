# WEIR_LINKER
# -----------
# VERSION_LDFLAGS makes the version script the only list of what is exported.
# STRICT_LDFLAGS refuses a shared library with undefined symbols; a sanitizer's
# runtime belongs to the program, so it cannot be asked for there.
AC_DEFUN([WEIR_LINKER], [
VERSION_LDFLAGS=
STRICT_LDFLAGS=
AC_MSG_CHECKING([whether the linker takes a version script])
weir_save_LDFLAGS=$LDFLAGS
LDFLAGS="$LDFLAGS -Wl,--version-script=$srcdir/lib/libweir.map"
AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
    [AC_MSG_RESULT([yes])
     VERSION_LDFLAGS='-Wl,--version-script=$(srcdir)/lib/libweir.map'],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([a linker with --version-script is needed])])
LDFLAGS=$weir_save_LDFLAGS
AS_IF([test -z "$weir_sanitizers"],
    [AX_APPEND_LINK_FLAGS([-Wl,-z,defs], [STRICT_LDFLAGS])])
AC_SUBST([VERSION_LDFLAGS])
AC_SUBST([STRICT_LDFLAGS])
])
