#!/bin/sh
# test_serve.py once more, with the backend that is used where io_uring is not allowed.
WEIR_TEST_BACKEND=poll exec "$WEIR_SRCDIR/tests/test_serve.py"
