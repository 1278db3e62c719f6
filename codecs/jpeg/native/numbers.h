/* The numbers that blocks are made of, bit by bit: lengths, signs, lower bits, counts. */
#ifndef TILEPRESS_JPEG_NUMBERS_H
#define TILEPRESS_JPEG_NUMBERS_H

#include "mixing.h"

/* Sets of weights from one on. */
#define SET(weights, set) ((weights) + (set) * INPUTS)

INLINE int64_t magnitude_of(int64_t value)
{
    return value < 0 ? -value : value;
}

INLINE int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rounded down; divisor > 0. */
INLINE int64_t floor_divide(int64_t value, int64_t divisor)
{
    int64_t quotient = value / divisor;
    return quotient - (value % divisor < 0);
}

/* Code in unary how many bits a magnitude has; returns it, at most 16. */
INLINE int code_length(Coder *c, int decoding, int64_t magnitude, int32_t *weights, int longest)
{
    int length = 0;
    while (length < 16) {
        int at = length < longest ? length : longest;
        if (!code_mixed(c, decoding, magnitude >> length != 0, at, SET(weights, at)))
            break;
        length++;
    }
    return length;
}

/* Code the lower bits of a magnitude of ``length`` bits, 1 to 16; returns it with its sign.

   rest : (17, 16, 8) slots; average : four times the magnitude that is expected. */
INLINE int64_t code_rest(Coder *c, int decoding, int64_t magnitude, int negative, uint32_t *rest, int length,
                         int64_t average)
{
    int64_t found = 1, near = least(average * 2 >> length, 7);
    for (int shift = length - 2; shift >= 0; shift--)
        found = found << 1 |
                code_plain(c, decoding, magnitude >> shift & 1, rest + ((length * 16 + shift) << 3) + near);
    return negative ? -found : found;
}

/* Code a number of at most ``bits`` bits: how many it has in unary, then those below the top.

   Of a context's slots the first are those of the length, then those of the lower bits. */
INLINE int code_count(Coder *c, int decoding, int count, int bits, int32_t *weights)
{
    int length = 0, node = 1;
    while (length < bits && code_mixed(c, decoding, count >> length != 0, length, SET(weights, length)))
        length++;
    if (length == 0)
        return 0;
    for (int shift = length - 2; shift >= 0; shift--) {
        int at = bits + node;
        node = node << 1 | code_mixed(c, decoding, count >> shift & 1, at, SET(weights, at));
    }
    return node;
}

#endif
