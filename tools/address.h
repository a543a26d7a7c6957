/* SPDX-License-Identifier: MIT */
/**
 * address: what a person types as an address, host names included.
 *
 *     struct weir_addr addr;
 *     const char *why;
 *     if (address_resolve("tcp:localhost:7000", &addr, &why) < 0)
 *         fprintf(stderr, "%s\n", why);
 */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <weir/sock.h>

/** The forms that address_resolve() takes, for help texts. */
#define ADDRESS_FORMS "tcp:HOST:PORT or unix:PATH"

/**
 * Read an address as weir_addr_parse() does; a HOST that is a name is looked up.
 *
 * @text     may be anything
 * @ret      written on success only; of a name the first address found
 * @ret_why  written on failure only: one static line for people
 * Returns   0; -EINVAL no such form; -ENAMETOOLONG; -EHOSTUNREACH the name is not known.
 * Cost      blocks while a name is looked up.
 */
int address_resolve(const char *text, struct weir_addr *ret, const char **ret_why);

/**
 * Remove the socket file that a service left behind at a unix address, if nobody listens there.
 *
 * Returns   0 nothing is in the way (any more); -EADDRINUSE somebody listens; -EEXIST something
 *           that is no socket has that name; another error of connect(2) or unlink(2).
 */
int address_clear_stale(const struct weir_addr *addr);

/** The file name of a unix address; NULL: it has none (TCP, or the abstract namespace). */
const char *address_path(const struct weir_addr *addr);

#endif /* ADDRESS_H */
