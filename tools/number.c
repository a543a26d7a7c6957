/* SPDX-License-Identifier: MIT */
#include "number.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define F64_NAN UINT64_C(0x7ff8000000000000)
#define F32_NAN UINT32_C(0x7fc00000)

/* From here up a positional layout would show digits that the value does not have. */
#define POSITIONAL_MAX 16
#define POSITIONAL_MIN (-4)

/* A value in decimal: d.ddd... times 10 to the exponent. */
struct decimal {
    char digits[20];
    int count;
    int exponent;
    bool negative;
};

/* Take "-d.ddde-dd" apart, as printf's %e writes it. */
static void take_apart(const char *text, struct decimal *ret)
{
    ret->negative = *text == '-';
    text += ret->negative;
    ret->count = 0;
    for (; *text != 'e'; text++) {
        if (*text != '.')
            ret->digits[ret->count++] = *text;
    }
    while (ret->count > 1 && ret->digits[ret->count - 1] == '0')
        ret->count--;
    ret->exponent = (int)strtol(text + 1, NULL, 10);
}

static size_t lay_out(const struct decimal *d, char *ret)
{
    char *at = ret;

    if (d->negative)
        *at++ = '-';
    if (d->exponent < POSITIONAL_MIN || d->exponent >= POSITIONAL_MAX) {
        *at++ = d->digits[0];
        if (d->count > 1) {
            *at++ = '.';
            memcpy(at, d->digits + 1, (size_t)d->count - 1);
            at += d->count - 1;
        }
        at += snprintf(at, 8, "e%+03d", d->exponent);
        return (size_t)(at - ret);
    }
    if (d->exponent < 0) {
        *at++ = '0';
        *at++ = '.';
        for (int i = -1; i > d->exponent; i--)
            *at++ = '0';
        memcpy(at, d->digits, (size_t)d->count);
        at += d->count;
    } else {
        for (int i = 0; i <= d->exponent || i < d->count; i++) {
            if (i == d->exponent + 1)
                *at++ = '.';
            *at++ = i < d->count ? d->digits[i] : '0';
        }
        if (d->count <= d->exponent + 1) {
            *at++ = '.';
            *at++ = '0';
        }
    }
    *at = '\0';
    return (size_t)(at - ret);
}

/* The next decimal of as many digits, away from zero. */
static void next_decimal(struct decimal *d, int digits)
{
    while (d->count < digits)
        d->digits[d->count++] = '0';
    while (d->count > 0 && d->digits[d->count - 1] == '9')
        d->count--;
    if (d->count > 0) {
        d->digits[d->count - 1]++;
    } else {
        d->digits[d->count++] = '1';
        d->exponent++;
    }
}

/* Up to DBL_DIG digits of an integer, which has no zeros at its end unless it is one. */
static void take_digits(uint64_t integer, int decimals, struct decimal *ret)
{
    char reversed[20];
    int count = 0;

    do {
        reversed[count++] = (char)('0' + integer % 10);
        integer /= 10;
    } while (integer != 0);
    ret->exponent = count - 1 - decimals;
    int zeros = 0;
    while (zeros < count - 1 && reversed[zeros] == '0')
        zeros++;
    ret->count = count - zeros;
    for (int i = 0; i < ret->count; i++)
        ret->digits[i] = reversed[count - 1 - i];
}

/*
 * Most floats that people write are an integer of up to DBL_DIG digits by a power of ten. Both are
 * exact, so their quotient is what the decimal reads back as, and no other decimal of so many
 * digits reads back as the same: with the fewest decimals it is the shortest. The product is off by
 * less than a quarter, so that rounding it finds the integer.
 */
static bool is_short(double value, struct decimal *ret)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const double integers_end = 1e15;
    double magnitude = fabs(value);

    for (int i = 0; i <= DBL_DIG && magnitude * powers[i] < integers_end; i++) {
        uint64_t integer = (uint64_t)(magnitude * powers[i] + 0.5);
        if ((double)integer / powers[i] == magnitude) {
            take_digits(integer, i, ret);
            ret->negative = signbit(value) != 0;
            return true;
        }
    }
    return false;
}

/*
 * Some decimal of DBL_DIG digits reads back if one of fewer does, and DBL_DECIMAL_DIG digits always
 * do, so that at most three precisions are tried; subnormals have fewer digits. The decimal that is
 * nearest to a power of two may lie below it, where its neighbours are half as far as above: then
 * it reads back as the neighbour, and yet the next decimal above reads back as the power.
 */
size_t number_f64_text(double value, char ret[NUMBER_TEXT_BYTES])
{
    char text[NUMBER_TEXT_BYTES];
    struct decimal decimal;
    int exponent;
    bool power = fabs(frexp(value, &exponent)) == 0.5;
    int digits = value != 0 && fabs(value) < DBL_MIN ? 1 : DBL_DIG;

    if (is_short(value, &decimal))
        return lay_out(&decimal, ret);
    for (;; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, value);
        take_apart(text, &decimal);
        if (digits == DBL_DECIMAL_DIG || strtod(text, NULL) == value)
            return lay_out(&decimal, ret);
        if (power) {
            next_decimal(&decimal, digits);
            size_t size = lay_out(&decimal, ret);
            if (strtod(ret, NULL) == value)
                return size;
        }
    }
}

size_t number_f32_text(float value, char ret[NUMBER_TEXT_BYTES])
{
    char text[NUMBER_TEXT_BYTES];
    struct decimal decimal;
    int exponent;
    bool power = fabsf(frexpf(value, &exponent)) == 0.5F;
    int digits = value != 0 && fabsf(value) < FLT_MIN ? 1 : FLT_DIG;

    for (;; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, (double)value);
        take_apart(text, &decimal);
        if (digits == FLT_DECIMAL_DIG || strtof(text, NULL) == value)
            return lay_out(&decimal, ret);
        if (power) {
            next_decimal(&decimal, digits);
            size_t size = lay_out(&decimal, ret);
            if (strtof(ret, NULL) == value)
                return size;
        }
    }
}

size_t number_f64_special(double value, char ret[NUMBER_TEXT_BYTES])
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    if (isinf(value))
        return (size_t)snprintf(ret, NUMBER_TEXT_BYTES, "%s", value < 0 ? "-inf" : "inf");
    if (bits == F64_NAN)
        return (size_t)snprintf(ret, NUMBER_TEXT_BYTES, "nan");
    return (size_t)snprintf(ret, NUMBER_TEXT_BYTES, "nan:%016" PRIx64, bits);
}

size_t number_f32_special(float value, char ret[NUMBER_TEXT_BYTES])
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    if (isinf(value))
        return (size_t)snprintf(ret, NUMBER_TEXT_BYTES, "%s", value < 0 ? "-inf" : "inf");
    if (bits == F32_NAN)
        return (size_t)snprintf(ret, NUMBER_TEXT_BYTES, "nan");
    return (size_t)snprintf(ret, NUMBER_TEXT_BYTES, "nan:%08" PRIx32, bits);
}

static bool equals(const char *text, size_t size, const char *other)
{
    return size == strlen(other) && memcmp(text, other, size) == 0;
}

/* Exactly @digits hexadecimal digits behind "nan:". */
static bool nan_bits(const char *text, size_t size, size_t digits, uint64_t *ret)
{
    static const char hex[] = "0123456789abcdef0123456789ABCDEF";
    uint64_t bits = 0;

    if (size != 4 + digits || memcmp(text, "nan:", 4) != 0)
        return false;
    for (size_t i = 4; i < size; i++) {
        const char *digit = memchr(hex, text[i], sizeof(hex) - 1);
        if (digit == NULL)
            return false;
        bits = bits << 4 | (uint64_t)((digit - hex) % 16);
    }
    *ret = bits;
    return true;
}

bool number_f64_of_special(const char *text, size_t size, double *ret)
{
    uint64_t bits;
    double value;

    if (equals(text, size, "nan"))
        bits = F64_NAN;
    else if (equals(text, size, "inf"))
        bits = UINT64_C(0x7ff0000000000000);
    else if (equals(text, size, "-inf"))
        bits = UINT64_C(0xfff0000000000000);
    else if (!nan_bits(text, size, 16, &bits) ||
             (bits & UINT64_C(0x7fffffffffffffff)) <= UINT64_C(0x7ff0000000000000))
        return false;
    memcpy(&value, &bits, sizeof(value));
    *ret = value;
    return true;
}

bool number_f32_of_special(const char *text, size_t size, float *ret)
{
    uint64_t wide;
    uint32_t bits;
    float value;

    if (equals(text, size, "nan"))
        bits = F32_NAN;
    else if (equals(text, size, "inf"))
        bits = UINT32_C(0x7f800000);
    else if (equals(text, size, "-inf"))
        bits = UINT32_C(0xff800000);
    else if (nan_bits(text, size, 8, &wide) && (wide & 0x7fffffff) > 0x7f800000)
        bits = (uint32_t)wide;
    else
        return false;
    memcpy(&value, &bits, sizeof(value));
    *ret = value;
    return true;
}

bool number_f64_of_text(const char *text, double *ret)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(value))
        return false;
    *ret = value;
    return true;
}

bool number_f32_of_text(const char *text, float *ret)
{
    char *end;
    float value = strtof(text, &end);

    if (end == text || *end != '\0' || !isfinite(value))
        return false;
    *ret = value;
    return true;
}
