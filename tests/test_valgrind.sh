#!/bin/sh
# Valgrind's memcheck sees what is wrong with the use of a block, and nothing
# wrong where nothing is. Prints TAP.

dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
number=0

skip_all()
{
    if [ -n "$WEIR_TEST_NO_SKIP" ] && [ "$2" = needed ]; then
        echo "1..1"
        echo "not ok 1 - memcheck: $1"
    else
        echo "1..0 # SKIP $1"
    fi
    exit 0
}

if [ -n "$WEIR_SANITIZER_LDFLAGS" ]; then
    skip_all 'a sanitizer watches already' alternative
fi
command -v valgrind >/dev/null 2>&1 || skip_all 'valgrind is not installed' needed
[ "$WEIR_HAVE_MEMCHECK" = yes ] || skip_all "valgrind's headers were not found by configure" needed
valgrind -q true 2>/dev/null || skip_all 'valgrind does not run here' needed

# Without debug information: Valgrind may be older than the compiler and not know its form.
program=$dir/use_after_drop
if ! ${STRIP:-strip} -g -o "$program" "$WEIR_BUILDDIR/tests/use_after_drop" 2>/dev/null; then
    cp "$WEIR_BUILDDIR/tests/use_after_drop" "$program" || exit 99
fi

# memcheck HOW: 0 if nothing is reported, 9 if something is.
memcheck()
{
    valgrind -q --error-exitcode=9 "$program" "$1" >"$dir/out" 2>"$dir/log"
}

# expect STATUS HOW NAME [TEXT]: the exit status, and what the report must contain.
expect()
{
    number=$((number + 1))
    memcheck "$2"
    status=$?
    if [ "$status" -eq "$1" ] && { [ -z "$4" ] || grep -q "$4" "$dir/log"; }; then
        echo "ok $number - $3"
    else
        echo "not ok $number - $3"
        sed 's/^/# /' "$dir/log"
        echo "# status $status"
    fi
}

echo 1..6
expect 0 well 'correct use is not reported'
expect 9 dropped 'a read after the last drop' 'Invalid read of size 1'
expect 9 large 'a read of a large block after the last drop' 'Invalid read of size 1'
expect 9 trimmed 'a read in a slab that nobody has' 'Invalid read of size 1'
expect 9 beyond 'a read beyond a block, where none was handed out' 'Invalid read of size 1'
expect 9 content 'a decision on the content of a fresh block' 'uninitialised'
