#!/bin/sh
# A program and the library need not be built alike: one of them with
# AddressSanitizer, with --enable-debug, or without assertions. Prints TAP.

dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
number=0
cc=${CC:-cc}

# Both with the flags of neither's build, so that they differ in what is said here.
library="$WEIR_SRCDIR/lib/base.c $WEIR_SRCDIR/lib/view.c $WEIR_SRCDIR/lib/slice.c"
for source in "$WEIR_SRCDIR"/lib/pool*.c; do
    [ "$source" = "$WEIR_SRCDIR/lib/pool_pack.c" ] || library="$library $source"
done
flags="-std=gnu11 -O2 -D_GNU_SOURCE -I$WEIR_SRCDIR/include"

# library NAME FLAGS...
library()
{
    name=$1
    shift
    $cc $flags -fPIC -shared "$@" -o "$dir/libweir-$name.so" $library -lpthread 2>>"$dir/log"
}

# program NAME LIBRARY FLAGS...
program()
{
    name=$1 with=$2
    shift 2
    $cc $flags "$@" -o "$dir/$name" "$WEIR_SRCDIR/tests/use_after_drop.c" \
        "$dir/libweir-$with.so" "-Wl,-rpath,$dir" 2>>"$dir/log"
}

result()
{
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        sed 's/^/# /' "$dir/log" "$dir/out" 2>/dev/null
    fi
    : >"$dir/log"
}

skip()
{
    number=$((number + 1))
    if [ -n "$WEIR_TEST_NO_SKIP" ] && [ "$2" = needed ]; then
        echo "not ok $number - $1"
    else
        echo "ok $number # SKIP $1"
    fi
}

# well PROGRAM: whether it runs to its end, and nothing is reported.
well()
{
    "$dir/$1" well >"$dir/out" 2>&1 && [ ! -s "$dir/out" ]
}

# says TEXT PROGRAM HOW: whether it dies, and says so.
says()
{
    ! sh -c 'ulimit -c 0; "$@"; exit $?' sh "$dir/$2" "$3" >"$dir/out" 2>&1 &&
        grep -q "$1" "$dir/out"
}

echo 1..11
: >"$dir/log"

library debug -DWEIR_DEBUG=1 && program plain-debug debug -DNDEBUG
result $? 'a program without assertions is linked with a debug library'
well plain-debug
result $? 'it runs'
says 'weir: released twice: block of 256 bytes' plain-debug twice &&
    grep -q '  taken in .*plain-debug' "$dir/out" &&
    grep -q '  released in .*plain-debug' "$dir/out"
result $? 'the library tells of a double release, and where'
says 'weir: used after its release: block of 256 bytes' plain-debug held
result $? 'and of a block that is held after its release'
library plain && program checked plain && says 'Assertion' checked twice &&
    says 'Assertion' checked held
result $? 'without --enable-debug it is an assertion'
library bare -DNDEBUG && program bare bare -DNDEBUG && well bare
result $? 'neither has assertions'

# The sanitizer's runtime has to come first, in a program that knows nothing of it too.
runtime=$($cc -print-file-name="libclang_rt.asan-$(uname -m).so")
shared=-shared-libasan
if [ ! -e "$runtime" ]; then
    runtime=$($cc -print-file-name=libasan.so)
    shared=
fi
if [ -n "$WEIR_SANITIZER_LDFLAGS" ]; then
    for name in 1 2 3 4 5; do
        skip 'a sanitizer watches already' alternative
    done
    exit 0
fi
if [ ! -e "$runtime" ] || ! library asan -fsanitize=address $shared; then
    for name in 1 2 3 4 5; do
        skip "$cc has no AddressSanitizer" needed
    done
    exit 0
fi
program with-asan asan "-Wl,-rpath-link,$(dirname "$runtime")"
result $? 'a plain program is linked with a library that has AddressSanitizer'
cat >"$dir/preloaded" <<END
#!/bin/sh
LD_PRELOAD=$runtime exec "$dir/with-asan" "\$@"
END
chmod +x "$dir/preloaded"
well preloaded
result $? 'it runs, and nothing is reported'
says 'use-after-poison' preloaded printed
result $? 'what it has the C library do with a dropped block is reported'
program asan plain -fsanitize=address $shared
result $? 'a program with AddressSanitizer is linked with a plain library'
LD_LIBRARY_PATH=$(dirname "$runtime")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
well asan
result $? 'it runs, and nothing is reported'
