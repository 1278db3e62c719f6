/* Code the hidden units of a plane's blocks: FORMAT.md §18.3. Python fills the arrays: ../plane.py. */
#include <stdint.h>
#include <string.h>

#include "export.h"

enum {
    FEATURES = 11,
    PARENTS = 3,
    CLASSES = 40,
    TOKENS = 88,
    ESCAPE_BITS = 7,
    MOST_LARGE = 32767, /* what a magnitude counts as at most */
    MOST_VALUE = (1 << 22) - 1,
};
enum { ENCODE = 0, DECODE = 1, EXAMINE = 2 };
enum { FAULT_WORDS = 1, FAULT_RAW, FAULT_TOKEN, FAULT_LEFT };

/* Magnitudes of a plane, (units, rows + 3, columns + 4), zeros around: 2 above, 1 below, 2 at both sides. */
typedef struct {
    int64_t width, cells;
} Shape;

static inline int64_t place(Shape s, int64_t unit, int64_t y, int64_t x)
{
    return unit * s.cells + (y + 2) * s.width + x + 2;
}

static inline uint16_t magnitude_of(int32_t value)
{
    int32_t m = value < 0 ? -value : value;
    return (uint16_t)(m > MOST_LARGE ? MOST_LARGE : m);
}

static inline int32_t around(const uint16_t *at, int64_t width)
{
    return at[-width] + at[width] + at[-1] + at[1];
}

/* What tells how large a value may be. */
static inline void look(int32_t *f, const uint16_t *at, Shape s, int64_t unit, const int16_t *parents,
                        const uint16_t *before)
{
    f[0] = at[-1], f[1] = at[-s.width];
    f[2] = at[-s.width - 1] + at[-s.width + 1];
    f[3] = at[-2] + at[-2 * s.width];
    for (int k = 0; k < PARENTS; k++) {
        const uint16_t *other = parents[k] < 0 ? 0 : at - (unit - parents[k]) * s.cells;
        f[4 + k] = other ? other[0] : 0;
        if (k == 0)
            f[7] = other ? around(other, s.width) : 0;
    }
    f[8] = 0;
    for (int64_t k = 1; k <= 8 && k <= unit; k++)
        f[8] += at[-k * s.cells];
    f[9] = before ? before[0] : 0;
    f[10] = before ? around(before, s.width) : 0;
}

static inline int class_of(const int32_t *f, const int16_t *weights)
{
    int64_t sum = 1;
    for (int k = 0; k < FEATURES; k++)
        sum += (int64_t)f[k] * weights[k];
    int octave = 63 - __builtin_clzll((uint64_t)sum);
    int found = 2 * octave + (octave ? (int)(sum >> (octave - 1) & 1) : 0);
    return found < CLASSES ? found : CLASSES - 1;
}

typedef struct {
    uint32_t states[32];
    int64_t symbol, word, bit; /* how many are read */
    int fault;
} Source;

static uint32_t raw(Source *s, const uint8_t *bytes, int64_t size, int count)
{
    if (s->bit + count > 8 * size) {
        s->fault = FAULT_RAW;
        return 0;
    }
    uint32_t value = 0;
    for (int k = 0; k < count; k++, s->bit++)
        value |= (uint32_t)(bytes[s->bit >> 3] >> (s->bit & 7) & 1) << k;
    return value;
}

/* Code ``units`` planes of (rows, columns) values, a plane after another, row by row.

   values: (units, rows, columns), given when encoding, else made. maps: of magnitudes, zeros, made; previous: those
   of the plane before, or null. weights, parents, tables_of: (units, FEATURES), (units, PARENTS), (units, CLASSES).
   Encoding: coded and tables, (units * rows * columns), get what is coded and under which table. Examining: features,
   likewise of FEATURES each, and coded. The first unit is coded as its difference from what is around.
   Returns 0 or a fault. */
EXPORT int tp_code_units(int32_t mode, int32_t *values, int64_t units, int64_t rows, int64_t columns, uint16_t *maps,
                         const uint16_t *previous, const int16_t *weights, const int16_t *parents,
                         const uint8_t *tables_of, int32_t *coded, uint8_t *tables, int32_t *features,
                         const int32_t *cumulative, const int32_t *used, const uint32_t *states, int32_t lanes,
                         const uint16_t *words, int64_t word_count, const uint8_t *raw_bytes, int64_t raw_count)
{
    Shape s = {columns + 4, (rows + 3) * (columns + 4)};
    Source source;
    memset(&source, 0, sizeof source);
    if (mode == DECODE)
        memcpy(source.states, states, sizeof(uint32_t) * (size_t)lanes);
    int64_t n = 0;
    for (int64_t unit = 0; unit < units; unit++)
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < columns; x++, n++) {
                int32_t f[FEATURES];
                int64_t there = place(s, unit, y, x);
                look(f, maps + there, s, unit, parents + unit * PARENTS, previous ? previous + there : 0);
                int32_t expected = 0;
                if (unit == 0 && y && x)
                    expected = (values[n - columns] + values[n - 1] + 1) >> 1;
                else if (unit == 0 && n)
                    expected = y ? values[n - columns] : values[n - 1];
                if (mode == EXAMINE) {
                    memcpy(features + n * FEATURES, f, sizeof f);
                    coded[n] = values[n] - expected;
                    maps[there] = magnitude_of(coded[n]);
                    continue;
                }
                int table = tables_of[unit * CLASSES + class_of(f, weights + unit * FEATURES)];
                if (mode == ENCODE) {
                    coded[n] = values[n] - expected, tables[n] = (uint8_t)table;
                    maps[there] = magnitude_of(coded[n]);
                    continue;
                }
                uint32_t *state = source.states + (n & (lanes - 1)), slot = *state & 32767;
                const int32_t *interval = cumulative + table * (TOKENS + 2);
                int32_t token = 0;
                while (slot >= (uint32_t)interval[token + 1])
                    token++;
                uint32_t start = (uint32_t)interval[token], size = (uint32_t)interval[token + 1] - start;
                uint32_t next = size * (*state >> 15) + slot - start;
                if (next < 65536) {
                    if (source.word >= word_count)
                        return FAULT_WORDS;
                    next = next << 16 | words[source.word++];
                }
                *state = next;
                if (token == used[table]) {
                    token = (int32_t)raw(&source, raw_bytes, raw_count, ESCAPE_BITS);
                    if (token < used[table] || token >= TOKENS)
                        return FAULT_TOKEN;
                }
                uint32_t magnitude = (uint32_t)token;
                if (token >= 16) {
                    int count = ((token - 16) >> 2) + 2;
                    magnitude = ((uint32_t)(4 + (token & 3)) << count) + raw(&source, raw_bytes, raw_count, count);
                }
                int32_t value = (int32_t)magnitude;
                if (magnitude && raw(&source, raw_bytes, raw_count, 1))
                    value = -value;
                if (source.fault)
                    return source.fault;
                maps[there] = magnitude_of(value);
                value += expected;
                if (value > MOST_VALUE || value < -MOST_VALUE)
                    return FAULT_TOKEN;
                values[n] = value;
            }
    if (mode != DECODE)
        return 0;
    for (int k = 0; k < lanes; k++)
        if (source.states[k] != 65536)
            return FAULT_LEFT;
    return source.word != word_count || (source.bit + 7) / 8 != raw_count ? FAULT_LEFT : 0;
}
