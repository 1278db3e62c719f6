/* The bands of a plane, in coding order, and where what is known of each lies: FORMAT.md §15.3. */
#ifndef TILEPRESS_NTC_BANDS_H
#define TILEPRESS_NTC_BANDS_H

#include "tile.h"

typedef struct {
    int64_t height, width;
    float *at;                    /* its first coefficient … */
    int64_t row, column;          /* … and how far it is to the next */
    int64_t pitch;                /* of maps */
    uint16_t *own, *sums;         /* cell (0, 0) of its logarithms, and of their sums over 3 x 3 */
    const uint16_t *before, *before_sums; /* those of the plane before, or null */
    int net, embedding;
    int number;                   /* from 1 on; 0 is the lowest band, which has no maps */
    int down, across;             /* lapped: the frequency; wavelet: level and orientation */
    int64_t mean;                 /* of magnitudes, 1/256; known once it is coded */
    int before_mean;              /* logarithm of the mean of the plane before */
} Band;

typedef struct {
    int count;                    /* of bands behind the lowest */
    int levels;
    int64_t low_height, low_width;
    float *low;
    int64_t low_pitch;
    uint16_t *means;              /* (MOST_BANDS,) logarithms of means, for the next plane */
    Band band[MOST_BANDS];
} Bands;

static inline int64_t tp_min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* Sixteen times the binary logarithm of a + 1, piecewise linear. */
static inline int32_t tp_log16(uint32_t a)
{
    uint32_t value = a + 1;
    int n = 31 - __builtin_clz(value);
    return 16 * n + (int32_t)((n < 4 ? value << (4 - n) : value >> (n - 4)) & 15);
}

/* A magnitude in half steps: quantiser 1 has 0, a half, one and a half, … */
static inline int32_t tp_halves_of(int32_t magnitude, int quantiser)
{
    return 2 * magnitude - (quantiser & (magnitude > 0));
}

/* What maps hold of a number of half steps: sixteen times the binary logarithm of one more step than it is. */
static inline uint16_t tp_map_of(int32_t halves) { return (uint16_t)(tp_log16((uint32_t)halves + 1) - 16); }

static inline int tp_levels_of(int64_t height, int64_t width, int most)
{
    int levels = 0;
    for (int64_t side = tp_min64(height, width); levels < most && side >= 8; side = (side + 1) / 2)
        levels++;
    return levels;
}

/* The 63 frequencies of a block in coding order: by v + u, then by v. */
static inline void tp_frequencies(int (*order)[2])
{
    for (int sum = 1, n = 0; sum < 15; sum++)
        for (int v = sum > 7 ? sum - 7 : 0; v <= (sum < 7 ? sum : 7); v++, n++)
            order[n][0] = v, order[n][1] = sum - v;
}

static inline int64_t tp_map_cells(int64_t height, int64_t width)
{
    return (height + 2 * MARGIN) * (width + 2 * MARGIN);
}

/* Lay a band's maps at ``*taken``, which moves on. */
static inline void tp_lay(Band *band, int number, uint16_t *maps, const uint16_t *previous, int64_t *taken)
{
    int64_t cells = tp_map_cells(band->height, band->width);
    band->number = number, band->mean = 0, band->before_mean = 0;
    band->pitch = band->width + 2 * MARGIN;
    int64_t first = *taken + MARGIN * band->pitch + MARGIN;
    band->own = maps ? maps + first : 0, band->sums = maps ? maps + first + cells : 0;
    band->before = previous ? previous + first : 0, band->before_sums = previous ? previous + first + cells : 0;
    *taken += 2 * cells;
}

/* Wavelet bands of a plane of coefficients, the coarsest first. Returns how many there are now. */
static inline int tp_wavelet_bands(Bands *all, int count, int levels, int first_embedding, float *plane, int64_t height,
                                   int64_t width, uint16_t *maps, const uint16_t *previous, int64_t *taken)
{
    int64_t heights[MOST_LEVELS + 1], widths[MOST_LEVELS + 1];
    heights[0] = height, widths[0] = width;
    for (int k = 0; k < levels; k++)
        heights[k + 1] = (heights[k] + 1) / 2, widths[k + 1] = (widths[k] + 1) / 2;
    all->levels = levels, all->low = plane, all->low_pitch = width;
    all->low_height = heights[levels], all->low_width = widths[levels];
    for (int level = levels; level > 0; level--)
        for (int k = 1; k < 4; k++) {
            Band *band = all->band + count++;
            band->height = k & 2 ? heights[level - 1] - heights[level] : heights[level];
            band->width = k & 1 ? widths[level - 1] - widths[level] : widths[level];
            band->at = plane + (k & 2 ? heights[level] * width : 0) + (k & 1 ? widths[level] : 0);
            band->row = width, band->column = 1;
            band->net = WAVELET, band->embedding = first_embedding + 3 * (level - 1) + k - 1;
            band->down = level, band->across = k;
            tp_lay(band, count, maps, previous, taken);
        }
    return count;
}

/* Lay out a plane; ``means`` are the lapped transform's, (height / 8, width / 8). Returns the cells of its maps,
   which a plane of maps = null only counts. */
static inline int64_t tp_bands(Bands *all, int kind, int64_t height, int64_t width, float *plane, float *means,
                               uint16_t *maps, const uint16_t *previous)
{
    int64_t taken = MOST_BANDS;
    all->means = maps;
    if (kind == WAVELET) {
        int levels = tp_levels_of(height, width, MOST_LEVELS);
        all->count = tp_wavelet_bands(all, 0, levels, 0, plane, height, width, maps, previous, &taken);
    } else {
        int64_t h = height / 8, w = width / 8;
        int order[63][2], count;
        count = tp_wavelet_bands(all, 0, tp_levels_of(h, w, 3), 3 * MOST_LEVELS, means, h, w, maps, previous, &taken);
        tp_frequencies(order);
        for (int k = 0; k < 63; k++) {
            Band *band = all->band + count++;
            band->height = h, band->width = w;
            band->down = order[k][0], band->across = order[k][1];
            band->at = plane + band->down * width + band->across;
            band->row = 8 * width, band->column = 8;
            band->net = LAPPED, band->embedding = 8 * band->down + band->across;
            tp_lay(band, count, maps, previous, &taken);
        }
        all->count = count;
    }
    for (int k = 0; previous && k < all->count; k++)
        all->band[k].before_mean = previous[k];
    return taken;
}

#endif
