/* SPDX-License-Identifier: MIT */
#include "base64.h"

#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encoded_bytes(size_t size_bytes)
{
    return size_bytes / 3 * 4 + (size_bytes % 3 != 0 ? 4 : 0);
}

void base64_encode(struct weir_view bytes, uint8_t *ret)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.size;

    while (left >= 3) {
        uint32_t bits = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        for (unsigned i = 0; i < 4; i++)
            *ret++ = (uint8_t)alphabet[bits >> (18 - 6 * i) & 63];
        at += 3;
        left -= 3;
    }
    if (left == 0)
        return;
    uint32_t bits = (uint32_t)at[0] << 16 | (left == 2 ? (uint32_t)at[1] << 8 : 0);
    ret[0] = (uint8_t)alphabet[bits >> 18];
    ret[1] = (uint8_t)alphabet[bits >> 12 & 63];
    ret[2] = left == 2 ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
    ret[3] = '=';
}

/* The six bits that a character stands for; 64 for any other character. */
static uint32_t bits_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

int base64_decode(struct weir_view text, uint8_t *ret, size_t *ret_size)
{
    if (text.size % 4 != 0)
        return -EBADMSG;
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=')
        padding++;

    size_t size = 0;
    for (size_t at = 0; at < text.size; at += 4) {
        size_t digits = text.size - at == 4 ? 4 - padding : 4;
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
            uint32_t six = i < digits ? bits_of(text.data[at + i]) : 0;
            if (six == 64)
                return -EBADMSG;
            bits = bits << 6 | six;
        }
        if ((digits == 3 && (bits & 0xff) != 0) || (digits == 2 && (bits & 0xffff) != 0))
            return -EBADMSG;
        for (size_t i = 0; i + 1 < digits; i++)
            ret[size++] = (uint8_t)(bits >> (16 - 8 * i));
    }
    *ret_size = size;
    return 0;
}
