#!/bin/bash
# All of weir's own test programs pass when libweir-malloc.so is their allocator. Prints TAP.
#
# WEIR_TEST_PROGRAMS: their names, from the build directory on. Two run at a time.
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
number=0

if [ -z "$WEIR_MALLOC" ]; then
    echo '1..0 # SKIP no libweir-malloc.so was built: a sanitizer has an allocator of its own, or --disable-shared'
    exit 0
fi
if [ -z "$WEIR_TEST_PROGRAMS" ] || [ ! -x "$WEIR_BUILDDIR/tests/test_pool" ]; then
    echo 1..1
    echo 'Bail out! no test programs: WEIR_TEST_PROGRAMS is not set, or cmocka is not there'
    exit 0
fi

# run PROGRAM
run()
{
    local log=$dir/${1##*/}
    LD_PRELOAD=$WEIR_MALLOC timeout -k 5 200 "$WEIR_BUILDDIR/$1" </dev/null >"$log" 2>&1
    local status=$?
    # The loader only complains about a library that it cannot load, and goes on without.
    if [ $status -eq 0 ] && grep -q '^ok 1 ' "$log" && ! grep -q LD_PRELOAD "$log"; then
        : >"$log.passed"
    fi
    echo "status $status" >>"$log"
}
export -f run
export dir

LD_PRELOAD=$WEIR_MALLOC grep -q libweir-malloc /proc/self/maps
loaded=$?
printf '%s\n' $WEIR_TEST_PROGRAMS | xargs -P 2 -I '{}' bash -c 'run {}'

# result STATUS NAME
result()
{
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        tail -n 40 "$dir/$2" 2>/dev/null | sed 's/^/# /'
    fi
}

result $loaded 'the allocator is loaded'
for program in $WEIR_TEST_PROGRAMS; do
    [ -e "$dir/${program##*/}.passed" ]
    result $? "${program##*/}"
done
echo "1..$number"
