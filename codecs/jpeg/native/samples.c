/* Coefficients to samples, as samples.py says and, of the committee's library, fine.py.

   Blocks are (n, 64) int16, row by row, those of a component from ``first`` on, ``stride`` in a row;
   steps are (64,), of the quantisation table. */
#include <stdlib.h>

#include "export.h"
#include "transform.h"

enum { FRACTION = 4 };

static inline int64_t clamp(int64_t value, int64_t top)
{
    return value < 0 ? 0 : value > top ? top : value;
}

/* 64 samples from numbers whose middle is 0 to ``out``, (…, pitch). */
#define PUT(s, wide, height, width)                                                                          \
    for (int y = 0; y < height; y++)                                                                         \
        for (int x = 0; x < width; x++)                                                                      \
            out[y * pitch + x] = (uint16_t)clamp((s)[(wide) * y + x] + middle, top)

static void put_block(const int16_t *block, const int64_t *steps, int bits, uint16_t *out, int64_t pitch)
{
    const int extra = bits == 8 ? 2 : 1, middle = 1 << (bits - 1), top = (1 << bits) - 1;
    int64_t s[64], sum = dequantise(block, steps, s);
    if (sum == (s[0] < 0 ? -s[0] : s[0])) { /* flat: what both passes come to */
        int64_t level = (s[0] * (1 << extra) + (1 << (extra + 2))) >> (extra + 3);
        uint16_t all = (uint16_t)clamp(level + middle, top);
        for (int y = 0; y < 8; y++)
            for (int x = 0; x < 8; x++)
                out[y * pitch + x] = all;
    } else if (sum <= SMALL) {
        int32_t small[64];
        for (int k = 0; k < 64; k++)
            small[k] = (int32_t)s[k];
        inverse_32(small, extra, 3);
        for (int y = 0; y < 8; y++)
            for (int x = 0; x < 8; x++) {
                int32_t value = small[8 * y + x] + middle;
                out[y * pitch + x] = (uint16_t)(value < 0 ? 0 : value > top ? top : value);
            }
    } else {
        inverse_64(s, extra, 3);
        PUT(s, 8, 8, 8);
    }
}

/* Samples of a component, (8 rows, 8 columns). */
EXPORT void tp_component_samples(const int16_t *blocks, int64_t first, int64_t stride, int64_t rows, int64_t columns,
                                 const int64_t *steps, int bits, uint16_t *out)
{
    for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < columns; column++)
            put_block(blocks + 64 * (first + row * stride + column), steps, bits,
                      out + 64 * row * columns + 8 * column, 8 * columns);
}

/* As tp_component_samples, of twice the height, the width or both. */
EXPORT void tp_larger_samples(const int16_t *blocks, int64_t first, int64_t stride, int64_t rows, int64_t columns,
                              const int64_t *steps, int bits, int high, int wide, uint16_t *samples)
{
    const int extra = bits == 8 ? 2 : 1, middle = 1 << (bits - 1), top = (1 << bits) - 1;
    const int height = high ? 16 : 8, width = wide ? 16 : 8;
    const int64_t pitch = width * columns;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < columns; column++) {
            uint16_t *out = samples + row * height * pitch + column * width;
            int64_t s[64], t[256];
            int64_t sum = dequantise(blocks + 64 * (first + row * stride + column), steps, s);
            if (sum <= SMALL) {
                int32_t small[64], found[256];
                for (int k = 0; k < 64; k++)
                    small[k] = (int32_t)s[k];
                larger_32(small, extra, high, wide, found);
                PUT(found, width, height, width);
            } else {
                larger_64(s, extra, high, wide, t);
                PUT(t, width, height, width);
            }
        }
}

/* Samples in sixteenths, not cut off, (8 rows, 8 columns). */
EXPORT void tp_fine_samples(const int16_t *blocks, int64_t first, int64_t stride, int64_t rows, int64_t columns,
                            const int64_t *steps, int bits, int64_t *samples)
{
    const int64_t pitch = 8 * columns;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < columns; column++) {
            int64_t s[64], *out = samples + 8 * (row * pitch + column);
            int64_t sum = dequantise(blocks + 64 * (first + row * stride + column), steps, s);
            for (int k = 0; k < 64; k++)
                s[k] *= 1 << FRACTION;
            s[0] += (int64_t)1 << (bits - 1 + FRACTION + 3);
            if (sum <= SMALL) {
                int32_t small[64];
                for (int k = 0; k < 64; k++)
                    small[k] = (int32_t)s[k];
                fine_inverse_32(small);
                for (int k = 0; k < 64; k++)
                    s[k] = small[k];
            } else
                fine_inverse_64(s);
            for (int y = 0; y < 8; y++)
                memcpy(out + y * pitch, s + 8 * y, 8 * sizeof(int64_t));
        }
}

/* Upsampling ----------------------------------------------------------------------------------- */

/* A line doubled by the triangle filter, of which ``width`` are wanted. Its samples are ``times`` what
   they should be, 1 or 4; what is added before rounding down alternates. */
static inline void widen(const int32_t *line, int64_t size, int times, int64_t width, uint16_t *out)
{
    const int shift = times == 1 ? 2 : 4, left = times == 1 ? 1 : 8, right = times == 1 ? 2 : 7;
    int64_t pairs = width >> 1 < size - 1 ? width >> 1 : size - 1;
    out[0] = (uint16_t)(times == 1 ? line[0] : (line[0] * 4 + 8) >> 4);
    if (width > 1)
        out[1] = (uint16_t)((line[0] * 3 + line[1] + right) >> shift);
    for (int64_t x = 1; x < pairs; x++) {
        out[2 * x] = (uint16_t)((line[x] * 3 + line[x - 1] + left) >> shift);
        out[2 * x + 1] = (uint16_t)((line[x] * 3 + line[x + 1] + right) >> shift);
    }
    for (int64_t x = pairs < 1 ? 1 : pairs; x < size && 2 * x < width; x++) {
        out[2 * x] = (uint16_t)((line[x] * 3 + line[x - 1] + left) >> shift);
        if (2 * x + 1 == width)
            return;
        if (x + 1 < size)
            out[2 * x + 1] = (uint16_t)((line[x] * 3 + line[x + 1] + right) >> shift);
        else
            out[2 * x + 1] = (uint16_t)(times == 1 ? line[x] : (line[x] * 4 + 7) >> 4);
    }
}

/* Samples of a component, of which (rows, columns) are real, ``pitch`` in a row, to (height, width).

   fancy : by the triangle filter; tall : those of half the height and full width, too. Returns 0 or
   FAULT_MEMORY. */
EXPORT int tp_upsample(const uint16_t *plane, int64_t pitch, int64_t rows, int64_t columns, int64_t by_v, int64_t by_h,
                       int fancy, int tall, uint16_t *out, int64_t height, int64_t width)
{
    const int wide = by_h == 2 && columns > 2, sums = by_v == 2 && (wide || (by_h == 1 && tall));
    if (!fancy || !(sums || (by_v == 1 && wide))) {
        for (int64_t y = 0; y < height; y++) {
            const uint16_t *row = plane + y / by_v * pitch;
            if (by_h == 1)
                memcpy(out + y * width, row, (size_t)width * sizeof(uint16_t));
            else
                for (int64_t x = 0; x < width; x++)
                    out[y * width + x] = row[x / by_h];
        }
        return 0;
    }
    int32_t *line = malloc(sizeof(int32_t) * (size_t)columns);
    if (!line)
        return FAULT_MEMORY;
    for (int64_t y = 0; y < height; y++, out += width) {
        int64_t near = y / by_v, far = near;
        if (sums)
            far = clamp(near + (y & 1 ? 1 : -1), rows - 1);
        const uint16_t *a = plane + near * pitch, *b = plane + far * pitch;
        if (sums)
            for (int64_t x = 0; x < columns; x++)
                line[x] = a[x] * 3 + b[x];
        else
            for (int64_t x = 0; x < columns; x++)
                line[x] = a[x];
        if (!wide)
            for (int64_t x = 0; x < width; x++)
                out[x] = (uint16_t)((line[x] + (y & 1 ? 2 : 1)) >> 2);
        else if (sums)
            widen(line, columns, 4, width, out);
        else
            widen(line, columns, 1, width, out);
    }
    free(line);
    return 0;
}

/* A sample of sixteenths, rounded and cut off. */
static inline uint16_t whole(int64_t value, int64_t top)
{
    return (uint16_t)clamp((value + (1 << (FRACTION - 1))) >> FRACTION, top);
}

/* A line of sixteenths doubled, of which ``width`` are wanted. */
static void widen_fine(const int64_t *line, int64_t size, int64_t top, int64_t width, uint16_t *out)
{
    for (int64_t n = 0; 2 * n < width; n++) {
        int64_t own = 3 * line[n], left = line[n > 0 ? n - 1 : 0], right = line[n + 1 < size ? n + 1 : size - 1];
        out[2 * n] = whole((left + own + 2) >> 2, top);
        if (2 * n + 1 == width)
            return;
        if (!(n & 3)) /* the neighbour as it was just made */
            right = (line[n] + 3 * right + 2) >> 2;
        out[2 * n + 1] = whole((right + own + 1) >> 2, top);
    }
}

/* As tp_upsample, of samples in sixteenths, by_v and by_h 1 or 2. */
EXPORT int tp_fine_upsample(const int64_t *plane, int64_t pitch, int64_t rows, int64_t columns, int64_t by_v,
                            int64_t by_h, int bits, uint16_t *out, int64_t height, int64_t width)
{
    const int64_t top = ((int64_t)1 << bits) - 1;
    int64_t *line = malloc(sizeof(int64_t) * (size_t)columns);
    if (!line)
        return FAULT_MEMORY;
    for (int64_t y = 0; y < height; y++, out += width) {
        int64_t near = y / by_v;
        const int64_t *a = plane + near * pitch, *found = a;
        if (by_v == 2) {
            const int64_t *b = plane + clamp(near + (y & 1 ? 1 : -1), rows - 1) * pitch;
            for (int64_t x = 0; x < columns; x++)
                line[x] = (b[x] + 3 * a[x] + 2 - ((x + y + by_h - 1) & 1)) >> 2;
            found = line;
        }
        if (by_h == 2)
            widen_fine(found, columns, top, width, out);
        else
            for (int64_t x = 0; x < width; x++)
                out[x] = whole(found[x], top);
    }
    free(line);
    return 0;
}

/* Planes of YCbCr, (3, n), samples of at most 12 bits, to RGB in place.

   inverted : to CMY, as YCCK; green : 2^16 times what of blueness is taken from green. */
EXPORT void tp_to_rgb(uint16_t *planes, int64_t n, int bits, int inverted, int32_t green)
{
    const int32_t middle = 1 << (bits - 1), top = (1 << bits) - 1, half = 1 << 15;
    const int32_t sign = inverted ? -1 : 1, base = inverted ? top : 0;
    uint16_t *first = planes, *second = planes + n, *third = planes + 2 * n;
    for (int64_t i = 0; i < n; i++) {
        int32_t y = first[i], cb = second[i] - middle, cr = third[i] - middle;
        int32_t r = base + sign * (y + ((91881 * cr + half) >> 16));
        int32_t g = base + sign * (y + ((-green * cb - 46802 * cr + half) >> 16));
        int32_t b = base + sign * (y + ((116130 * cb + half) >> 16));
        first[i] = (uint16_t)(r < 0 ? 0 : r > top ? top : r);
        second[i] = (uint16_t)(g < 0 ? 0 : g > top ? top : g);
        third[i] = (uint16_t)(b < 0 ? 0 : b > top ? top : b);
    }
}
