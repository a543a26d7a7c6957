/* SPDX-License-Identifier: MIT */
/*
 * documents: MessagePack for tests: fixed ones for every form, and random ones.
 */
#ifndef WEIR_TESTS_DOCUMENTS_H
#define WEIR_TESTS_DOCUMENTS_H

#include "support.h"

#include <msgpack.h>

#include <weir/unpack.h>

/* One or more whole values each, in every form that the specification has. Constant. */
extern const struct weir_view documents[];
extern const size_t documents_count;

/* An integer of random width: small ones as often as large ones. */
uint64_t random_integer(struct test_random *random);

/* Append one random value, containers up to @depth deep, written by MessagePack-C. */
void random_document(msgpack_packer *packer, struct test_random *random, unsigned depth);

/*
 * Walk over the next value with weir_unpack_next() and compare it, with all it contains, with
 * MessagePack-C's tree. Returns whether they are equal.
 */
bool value_equals(struct weir_unpacker *unpacker, const msgpack_object *object);

#endif /* WEIR_TESTS_DOCUMENTS_H */
