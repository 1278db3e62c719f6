/* What Python calls: a plane to code by the instruction set that is asked for, and its symbols. */
#include <stddef.h>

#include "bands.h"

int tp_ntc_base(Coding *, const Model *);
#if defined(__x86_64__) || defined(_M_X64)
int tp_ntc_avx2(Coding *, const Model *), tp_ntc_avx512(Coding *, const Model *);
#endif

/* Code a plane as its structure asks. Returns 0 or a fault. */
EXPORT int tp_code_plane(Coding *coding, const Model *model)
{
#if defined(__x86_64__) || defined(_M_X64)
    if (coding->set == 2)
        return tp_ntc_avx512(coding, model);
    if (coding->set == 1)
        return tp_ntc_avx2(coding, model);
#endif
    return tp_ntc_base(coding, model);
}

/* Cells of the maps of a plane of coefficients. */
EXPORT int64_t tp_maps_size(int kind, int64_t height, int64_t width)
{
    Bands all;
    return tp_bands(&all, kind, height, width, 0, 0, 0, 0);
}

/* Bands of a plane behind the lowest. */
EXPORT int tp_band_count(int kind, int64_t height, int64_t width)
{
    Bands all;
    tp_bands(&all, kind, height, width, 0, 0, 0, 0);
    return all.count;
}

EXPORT int tp_wavelet_levels(int64_t height, int64_t width) { return tp_levels_of(height, width, MOST_LEVELS); }

/* Values under their tables as intervals of the coder, (n,), and raw bits, at most 2 n of them: of each value
   its token's after an escape and its low bits, then its sign. Returns how many raw bits' numbers there are. */
EXPORT int64_t tp_value_symbols(const int32_t *values, const uint8_t *tables, int64_t n, const int32_t *cumulative,
                                const int32_t *used, uint16_t *starts, uint16_t *sizes, uint32_t *bits,
                                uint8_t *counts)
{
    int64_t raw = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t magnitude = (uint32_t)(values[i] < 0 ? -values[i] : values[i]);
        int32_t token = (int32_t)magnitude, count = 0;
        if (magnitude >= 16) {
            int octave = 31 - __builtin_clz(magnitude);
            token = 4 * octave + (int32_t)((magnitude >> (octave - 2)) & 3);
            count = octave - 2;
        }
        int32_t table = tables[i], symbol = token < used[table] ? token : used[table];
        const int32_t *interval = cumulative + table * (TOKEN_COUNT + 2) + symbol;
        starts[i] = (uint16_t)interval[0], sizes[i] = (uint16_t)(interval[1] - interval[0]);
        uint32_t value = magnitude & (((uint32_t)1 << count) - 1);
        if (symbol == used[table])
            value = value << NTC_ESCAPE_BITS | (uint32_t)token, count += NTC_ESCAPE_BITS;
        if (magnitude)
            value |= (uint32_t)(values[i] < 0) << count, count++;
        if (count)
            bits[raw] = value, counts[raw++] = (uint8_t)count;
    }
    return raw;
}
