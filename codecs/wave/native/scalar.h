/* What a sample's context, residual and symbol are, in integers: FORMAT.md, sections 4 to 6.

   Plain functions of numbers, without memory and without vectors. The CPU's kernels include this
   file, and so may code for a GPU. Every shift to the right is arithmetic. */
#ifndef TILEPRESS_SCALAR_H
#define TILEPRESS_SCALAR_H

#include <stdint.h>

#ifndef TP_FUNCTION
#define TP_FUNCTION static inline
#endif

enum {
    SHEAR = 2,
    TIME_PAD = 12,
    TOP_PAD = 5,
    LEFT = 5,
    RIGHT = 5,
    PADDING = 32, /* cells behind the last of a sheared plane, for vectors that reach too far */
    OWN_TAPS = 16,
    FAR_TAPS = 28, /* at most, of a plane's own beyond these */
    REFERENCE_TAPS = 9,
    OWN_REGRESSORS = OWN_TAPS + 1,
    REFERENCE_REGRESSORS = REFERENCE_TAPS + 2,
    REGRESSORS = OWN_REGRESSORS + 2 * REFERENCE_REGRESSORS,
    CELLS = 64,
    BATCH_LIMIT = 2047, /* of what sums of products are of, either way */
    MAX_WEIGHTS_SUM = 1 << 17, /* of a strip, in units of 2^-14 */
    BLENDED_BITS = 6, /* of the share of one of two predictions that are blended ... */
    BLENDED_WHOLE = 1 << BLENDED_BITS,
    BLENDED_STEP = 4, /* ... which an eighth of an octave of their errors moves by so much */
    MAX_SETS = 16,
    OWN_FEATURES = 48,
    FEATURES = 72,
    MAX_HIDDEN = 64,
    GAIN_BITS = 3,
    FRACTION_BITS = 6,
    WEIGHT_BITS = 14,
    ONE = 1 << FRACTION_BITS,
    HALF = ONE / 2,
    TOKENS = 72,
    ESCAPE_BITS = 7,
    PHASES = 4,
    PHASED_CONTEXTS = 18 * 3,
    TABLE_BITS = 15,
    MATCH_CONTEXTS = 1024,
    OWN_PROPERTIES = 15,
    REFERENCE_PROPERTIES = 6,
    PROPERTIES = OWN_PROPERTIES + 2 * REFERENCE_PROPERTIES,
    WALK = 4, /* numbers of a node or leaf where samples walk down a tree */
};

#define STATE_LOW ((uint32_t)1 << 16)

TP_FUNCTION int32_t tp_min(int32_t a, int32_t b) { return a < b ? a : b; }
TP_FUNCTION int32_t tp_max(int32_t a, int32_t b) { return a > b ? a : b; }
TP_FUNCTION int32_t tp_abs(int32_t a) { return a < 0 ? -a : a; }

/* Map a residual to 0, 1, 2, ... by likelihood: signs alternate while both are possible. */
TP_FUNCTION int32_t tp_fold(int32_t residual, int32_t up, int32_t down, int flip)
{
    if (flip) {
        int32_t swap = up;
        up = down, down = swap, residual = -residual;
    }
    int32_t least = tp_min(up, down), size = tp_abs(residual);
    if (size > least)
        return size + least;
    return residual > 0 ? 2 * residual - 1 : -2 * residual;
}

/* Tokens of what most residuals are. From 16 on there are four to an octave. */
#define QUARTERS(octave)                                                                                       \
    [4 << ((octave) - 2)... (5 << ((octave) - 2)) - 1] = 4 * (octave),                                          \
    [5 << ((octave) - 2)... (6 << ((octave) - 2)) - 1] = 4 * (octave) + 1,                                      \
    [6 << ((octave) - 2)... (7 << ((octave) - 2)) - 1] = 4 * (octave) + 2,                                      \
    [7 << ((octave) - 2)... (8 << ((octave) - 2)) - 1] = 4 * (octave) + 3
static const uint8_t TP_TOKENS[1024] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, QUARTERS(4),
                                        QUARTERS(5), QUARTERS(6), QUARTERS(7), QUARTERS(8), QUARTERS(9)};
#undef QUARTERS

TP_FUNCTION int32_t tp_token_of(int32_t z)
{
    if (z < 1024)
        return TP_TOKENS[z];
    int32_t octave = 31 - __builtin_clz((uint32_t)z);
    return 4 * octave + ((z >> (octave - 2)) & 3);
}

/* Bits of a number from 0 to 2^31 - 1. */
TP_FUNCTION int32_t tp_bit_length(int32_t a) { return a ? 32 - __builtin_clz((uint32_t)a) : 0; }

/* Eight times the binary logarithm of a + 1, piecewise linear, for a from 0 to 2^30. */
TP_FUNCTION int32_t tp_log8(int32_t a)
{
    int32_t value = a + 1, n = tp_bit_length(value) - 1;
    return 8 * n + ((n < 3 ? value << (3 - n) : value >> (n - 3)) & 7);
}

/* How many raw bits follow a token. */
TP_FUNCTION int32_t tp_extra_bits(int32_t token) { return token < 16 ? 0 : ((token - 16) >> 2) + 2; }

/* The mean in 1/64 steps: the linear prediction plus the correction times the gain. */
TP_FUNCTION int32_t tp_corrected(int32_t linear, int32_t correction, int32_t gain, int32_t limit)
{
    int32_t moved = linear + ((correction * gain + (1 << (GAIN_BITS - 1))) >> GAIN_BITS);
    return tp_min(tp_max(moved, 0), limit);
}

/* Where samples lie in a sheared plane: see wavefront.py. */
TP_FUNCTION int64_t tp_steps(int64_t height, int64_t width) { return width + SHEAR * (height - 1); }

TP_FUNCTION int64_t tp_first_row(int64_t t, int64_t width)
{
    int64_t first = t - width + SHEAR;
    return first < 0 ? 0 : first / SHEAR;
}

TP_FUNCTION int64_t tp_end_row(int64_t t, int64_t height)
{
    int64_t end = t / SHEAR + 1;
    return end < height ? end : height;
}

TP_FUNCTION int64_t tp_most_rows(int64_t height, int64_t width)
{
    int64_t rows = (width + SHEAR - 1) / SHEAR;
    return rows < height ? rows : height;
}

TP_FUNCTION int64_t tp_pitch(int64_t height, int64_t width)
{
    int64_t band = (width + LEFT + RIGHT + SHEAR - 1) / SHEAR, rows = height + TOP_PAD + 1;
    return rows < band ? rows : band;
}

TP_FUNCTION int64_t tp_sheared_size(int64_t height, int64_t width)
{
    return (tp_steps(height, width) + TIME_PAD + 4) * tp_pitch(height, width) + height + TOP_PAD + 2 + PADDING;
}

TP_FUNCTION int64_t tp_position(int64_t t, int64_t y, int64_t pitch)
{
    return (t + TIME_PAD) * pitch + y + TOP_PAD;
}

#endif
