#!/bin/sh
# libweir-malloc.so, preloaded, as a program's allocator. Prints TAP.
if [ -z "$WEIR_MALLOC" ]; then
    echo '1..0 # SKIP no libweir-malloc.so was built: a sanitizer has an allocator of its own, or --disable-shared'
    exit 0
fi
if [ ! -x "$WEIR_BUILDDIR/tests/preloaded" ]; then
    echo 1..1
    echo 'Bail out! tests/preloaded was not built: it needs cmocka'
    exit 0
fi
LD_PRELOAD=$WEIR_MALLOC exec "$WEIR_BUILDDIR/tests/preloaded"
