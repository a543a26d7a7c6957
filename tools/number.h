/* SPDX-License-Identifier: MIT */
/* number: floats as text, the shortest that reads back as the same value, and NaNs as bits. */
#ifndef TOOLS_NUMBER_H
#define TOOLS_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for any text of this module, its NUL included. */
#define NUMBER_TEXT_BYTES 40

/*
 * The shortest decimal that reads back as @value, laid out as Python's repr() does: always with a
 * '.' or an 'e', so that it is recognizable as a float. @value is finite. Returns its length.
 */
size_t number_f64_text(double value, char ret[NUMBER_TEXT_BYTES]);
size_t number_f32_text(float value, char ret[NUMBER_TEXT_BYTES]);

/*
 * "nan", "inf", "-inf", or "nan:" and all the bits in hexadecimal for a NaN other than the usual
 * one (0x7ff8000000000000, 0x7fc00000). @value is not finite. Returns its length.
 */
size_t number_f64_special(double value, char ret[NUMBER_TEXT_BYTES]);
size_t number_f32_special(float value, char ret[NUMBER_TEXT_BYTES]);

/* Read what the functions above write. Returns false, @ret untouched, for any other text. */
bool number_f64_of_special(const char *text, size_t size, double *ret);
bool number_f32_of_special(const char *text, size_t size, float *ret);

/* Read @text to its end as a JSON number. Returns false if it is none or is out of range. */
bool number_f64_of_text(const char *text, double *ret);
bool number_f32_of_text(const char *text, float *ret);

#endif
