/* SPDX-License-Identifier: MIT */
/* rfc3339: timestamps as text, "2001-02-03T04:05:06.789000000Z", in the years 0000 to 9999. */
#ifndef TOOLS_RFC3339_H
#define TOOLS_RFC3339_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/unpack.h>

/* Room for any text of this module, its NUL included. */
#define RFC3339_TEXT_BYTES 32

/*
 * Write @time in UTC, with 9 digits of fraction unless it is zero. Returns the length of the text;
 * 0 if the year is outside 0000..9999 or there are more than 999,999,999 nanoseconds.
 */
size_t rfc3339_text(struct weir_timestamp time, char ret[RFC3339_TEXT_BYTES]);

/*
 * Read a date and time in UTC: a fraction of 1 to 9 digits or none, and a Z. Returns false, @ret
 * untouched, for any other text, such as a day that the month does not have or a leap second,
 * which a timestamp cannot tell from the second after it.
 */
bool rfc3339_of_text(const char *text, size_t size, struct weir_timestamp *ret);

#endif
