/* Inverse cosine transforms in 32 bits, where a block's numbers are small enough, and in 64. */
#ifndef TILEPRESS_JPEG_TRANSFORM_H
#define TILEPRESS_JPEG_TRANSFORM_H

#include <stdint.h>
#include <string.h>

/* A constant of 13 bits rounded to fewer. */
#define CONSTANT(c, bits) (((c) + (1 << (13 - (bits)) >> 1)) >> (13 - (bits)))

/* 2^13 times what each of 8 coefficients gives to the first 8 of 16 samples, as the sums of the
   constants of the IJG's algorithm come out; the last 8 are alike, odd coefficients turned round. */
static const int32_t LONG[8][8] = {
    {8192, 11529, 11363, 11086, 10703, 10217, 9632, 8956},
    {8192, 11086, 9633, 7350, 4433, 1136, -2260, -5461},
    {8192, 10217, 6437, 1136, -4433, -8955, -11363, -11086},
    {8192, 8956, 2260, -5461, -10703, -11086, -6436, 1137},
    {8192, 7350, -2260, -10217, -10703, -3363, 6436, 11529},
    {8192, 5461, -6437, -11529, -4433, 7349, 11363, 3363},
    {8192, 3363, -9633, -8955, 4433, 11529, 2260, -10217},
    {8192, 1136, -11363, -3363, 10703, 5461, -9632, -7350},
};

/* Sum of a block's magnitudes up to which nothing overflows in 32 bits: every number on the way is a
   linear form of them, with factors up to 25172 in either pass and eight lines of up to 1.41 times the
   sum, four times as large, between both; sixteenths of the committee's library are fewer. */
enum { SMALL = 8192 };

#define T int32_t
#define NAME(x) x##_32
#include "transform.inc.h"
#undef T
#undef NAME
#define T int64_t
#define NAME(x) x##_64
#include "transform.inc.h"
#undef T
#undef NAME

/* Coefficients times their steps, which are at most 65535; returns the sum of the magnitudes. */
static inline int64_t dequantise(const int16_t *block, const int64_t *steps, int64_t *s)
{
    int64_t sum = 0;
    for (int k = 0; k < 64; k++) {
        s[k] = block[k] * steps[k];
        sum += s[k] < 0 ? -s[k] : s[k];
    }
    return sum;
}

#endif
