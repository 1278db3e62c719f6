/* Code the bands of a plane one after another: features, net, table, symbol. Once for each instruction set.

   A row's cells share everything but the two cells to their left: what the others add to the hidden units is
   summed up for the whole row first. */
#include <stdlib.h>
#include <string.h>

#include "bands.h"
#include "../../wave/native/vectors.h"

#include "features.inc.h"
#include "net.inc.h"
#include "values.inc.h"
#include "trellis.inc.h"

typedef struct {
    int32_t *pairs, *sums; /* (PAIRS, width), (width, HIDDEN) */
    uint16_t *none, *room, *energy;
    Step *steps;           /* (width,) */
    Taken *path;           /* (width,) */
    Source source;
    int64_t bits; /* 1/256 */
} Work;

/* Sums over 3 x 3 of a map that is whole. */
static void sum_map(const Band *band)
{
    for (int64_t y = 0; y < band->height; y++) {
        const uint16_t *n = band->own + (y - 1) * band->pitch, *c = n + band->pitch, *s = c + band->pitch;
        uint16_t *to = band->sums + y * band->pitch;
        for (int64_t x = 0; x < band->width; x++)
            to[x] = (uint16_t)(n[x - 1] + n[x] + n[x + 1] + c[x - 1] + c[x] + c[x + 1] + s[x - 1] + s[x] + s[x + 1]);
    }
}

/* Features of a cell, and its value: a given one, or its coefficient rounded, in its quantiser. */
static int32_t examined(Coding *c, const Band *band, const Work *work, int64_t x, const uint16_t *own, float given,
                        int quantiser, int64_t low_cells)
{
    int16_t *out = c->features + c->count * FEATURES;
    out[0] = (int16_t)own[x - 1], out[1] = (int16_t)own[x - 2];
    for (int k = 1; k < PAIRS; k++) {
        int32_t pair = work->pairs[k * band->width + x];
        out[2 * k] = (int16_t)pair, out[2 * k + 1] = (int16_t)(pair >> 16);
    }
    c->bands[c->count] = (uint8_t)((band->net == LAPPED ? 0 : LAPPED_BANDS) + band->embedding);
    if (c->known)
        return low_cells + c->count < c->known_count ? c->known[low_cells + c->count] : 0;
    float size = given < 0 ? -given : given;
    /* lambda is, here, what is added before rounding down. Half a step comes after 0, and may lie nearer to it
       than to one by what its offset takes off */
    int32_t magnitude = quantiser && size < 0.125f ? 0 : (int32_t)(size + 0.5f * (float)quantiser + c->lambda);
    return given < 0 ? -magnitude : magnitude;
}

INLINE void code_band(Coding *c, const Model *m, const Bands *all, Band *band, int32_t coded, int mode, int dependent,
                      Work *work)
{
    const int64_t width = band->width, height = band->height;
    const Around a = around(all, band, work->energy, coded);
    const int bands = band->net == LAPPED ? LAPPED_BANDS : WAVELET_BANDS;
    const int which = (c->previous ? bands : 0) + band->embedding;
    Last last;
    if (mode != EXAMINE)
        last = last_of(m, band->net, which);
    int state = 0;
    int64_t running = a.context_mean, total = 0;
    for (int64_t y = 0; y < height; y++) {
        row_features(band, &a, y, running, work->none + MARGIN, work->room, work->pairs);
        if (mode != EXAMINE)
            row_sums(m->first[band->net], m->bias[band->net] + which * HIDDEN, width, work->pairs, work->sums);
        uint16_t *own = band->own + y * band->pitch;
        float *at = band->at + y * band->row;
        if (mode == ENCODE && dependent)
            choose_row(m, &last, width, work->sums, at, band->column, c->lambda, state, work->steps, work->path);
        int64_t row_total = 0;
        for (int64_t x = 0; x < width; x++) {
            int32_t quantiser = dependent ? QUANTISER[state] : 0, value, table = 0;
            float given = at[x * band->column], size = given < 0 ? -given : given;
            if (mode == EXAMINE) {
                value = examined(c, band, work, x, own, given, quantiser, all->low_width * all->low_height);
            } else if (mode == ENCODE && dependent) {
                value = given < 0 ? -work->path[x].magnitude : work->path[x].magnitude;
                table = work->path[x].table;
            } else {
                table = table_of(&last, work->sums + x * HIDDEN, own[x - 1] | own[x - 2] << 16) + quantiser * TABLE_COUNT;
                if (mode == DECODE) {
                    value = read_value(c, m, &work->source, table);
                } else {
                    int32_t magnitude = chosen(m, table, size, c->lambda);
                    value = given < 0 ? -magnitude : magnitude;
                }
            }
            int32_t magnitude = value < 0 ? -value : value;
            if (mode == ENCODE) {
                work->bits += cost_of(m, table, magnitude);
                if (c->given)
                    c->given[c->count] = size;
                c->values[c->count] = value, c->tables[c->count] = (uint8_t)table;
            }
            if (mode == EXAMINE) {
                c->values[c->count] = value;
                if (c->tables)
                    c->tables[c->count] = (uint8_t)quantiser;
            } else {
                float made = magnitude ? reconstructed(m, table, magnitude) : 0.0f;
                at[x * band->column] = value < 0 ? -made : made;
            }
            c->count++;
            int32_t halves = tp_halves_of(magnitude, quantiser);
            own[x] = tp_map_of(halves);
            row_total += halves;
            state = dependent ? NEXT[state][magnitude & 1] : 0;
        }
        total += row_total;
        running += (128 * row_total / width - running) >> 3;
    }
    sum_map(band);
    band->mean = 128 * total / (width * height);
    all->means[band->number - 1] = (uint16_t)tp_log16((uint32_t)band->mean);
    if (band->net == LAPPED)
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++)
                work->energy[y * width + x] += band->own[y * band->pitch + x];
}

/* A band of zeros that is not coded. */
static void clear_band(const Band *band)
{
    for (int64_t y = 0; y < band->height; y++)
        for (int64_t x = 0; x < band->width; x++)
            band->at[y * band->row + x * band->column] = 0.0f;
}

static int32_t low_prediction(const int32_t *above, const int32_t *row, int64_t x)
{
    if (x == 0)
        return above ? above[0] : 0;
    return above ? (row[x - 1] + above[x] + 1) >> 1 : row[x - 1];
}

/* The lowest band: differences to what the cells west and north tell, under one table. */
static int code_low(Coding *c, const Model *m, const Bands *all, Work *work)
{
    int64_t w = all->low_width, count = w * all->low_height;
    int32_t *cells = malloc(sizeof(int32_t) * (size_t)count);
    if (!cells)
        return FAULT_MEMORY;
    for (int64_t y = 0; y < all->low_height; y++) {
        int32_t *row = cells + y * w;
        float *at = all->low + y * all->low_pitch;
        for (int64_t x = 0; x < w; x++) {
            int32_t prediction = low_prediction(y ? row - w : 0, row, x);
            if (c->mode == DECODE) {
                int32_t value = read_value(c, m, &work->source, c->low_table) + prediction;
                if (value > MOST_MAGNITUDE || value < -MOST_MAGNITUDE) {
                    work->source.fault = work->source.fault ? work->source.fault : FAULT_TOKEN;
                    value = 0;
                }
                row[x] = value;
            } else {
                float limit = MOST_MAGNITUDE / 2, v = at[x] < -limit ? -limit : at[x] > limit ? limit : at[x];
                row[x] = (int32_t)(v + (v < 0 ? -0.5f : 0.5f));
                if (c->mode == ENCODE)
                    c->values[c->count++] = row[x] - prediction;
            }
            at[x] = (float)row[x];
        }
    }
    free(cells);
    if (c->mode != ENCODE)
        return work->source.fault;
    int64_t least = INT64_MAX;
    for (int table = 0; table < TABLE_COUNT; table++) {
        int64_t cost = 0;
        for (int64_t k = 0; k < count && cost < least; k++)
            cost += cost_of(m, table, c->values[k] < 0 ? -c->values[k] : c->values[k]);
        if (cost < least)
            least = cost, c->low_table = table;
    }
    memset(c->tables, c->low_table, (size_t)count);
    work->bits += least;
    return 0;
}

/* The last band with anything in it decides how many are coded; what lies behind was all zeros. */
static void trim(Coding *c, const Bands *all, const int64_t *ends, const int64_t *costs, Work *work)
{
    while (c->band_count > 0) {
        int64_t from = ends[c->band_count - 1], to = ends[c->band_count];
        for (int64_t k = from; k < to; k++)
            if (c->values[k])
                return;
        c->band_count--;
        c->count = from;
        work->bits = costs[c->band_count];
        all->means[c->band_count] = 0;
    }
}

static int code_bands(Coding *c, const Model *m, Bands *all, float *means, Work *work)
{
    int64_t ends[MOST_BANDS + 1], costs[MOST_BANDS + 1];
    int64_t h = c->height / 8, w = c->width / 8;
    int levels = all->levels, fault;
    if (c->kind == LAPPED && c->mode != DECODE) {
        for (int64_t y = 0; y < h; y++)
            for (int64_t x = 0; x < w; x++)
                means[y * w + x] = c->coefficients[8 * y * c->width + 8 * x];
        if ((fault = tp_wavelet(means, h, w, levels)))
            return fault;
    }
    if (c->mode != DECODE)
        c->band_count = all->count;
    if ((fault = code_low(c, m, all, work)))
        return fault;
    ends[0] = c->count, costs[0] = work->bits;
    for (int k = 0, lapped = 0; k < all->count; k++) {
        Band *band = all->band + k;
        if (k >= c->band_count) {
            clear_band(band);
            continue;
        }
        if (c->mode == DECODE && c->dependent)
            code_band(c, m, all, band, lapped, DECODE, 1, work);
        else if (c->mode == DECODE)
            code_band(c, m, all, band, lapped, DECODE, 0, work);
        else if (c->mode == ENCODE && c->dependent)
            code_band(c, m, all, band, lapped, ENCODE, 1, work);
        else if (c->mode == ENCODE)
            code_band(c, m, all, band, lapped, ENCODE, 0, work);
        else
            code_band(c, m, all, band, lapped, EXAMINE, c->dependent, work);
        if (work->source.fault)
            return work->source.fault;
        lapped += band->net == LAPPED;
        ends[k + 1] = c->count, costs[k + 1] = work->bits;
    }
    if (c->mode == ENCODE)
        trim(c, all, ends, costs, work);
    if (c->kind == LAPPED && c->mode != EXAMINE) {
        if ((fault = tp_wavelet_inverse(means, h, w, levels, 0)))
            return fault;
        for (int64_t y = 0; y < h; y++)
            for (int64_t x = 0; x < w; x++)
                c->coefficients[8 * y * c->width + 8 * x] = means[y * w + x];
    }
    return 0;
}

static int code_plane(Coding *c, const Model *m)
{
    int64_t means = c->kind == LAPPED ? c->height / 8 * (c->width / 8) : 0, width = c->width;
    int64_t paths = c->mode == ENCODE && c->dependent ? width : 0;
    int64_t taken = (int64_t)(sizeof(Step) + sizeof(Taken)) * paths;
    char *memory = calloc(1, (size_t)(taken + 4 * (PAIRS + HIDDEN) * width + 12 * width + 32 * MARGIN + 6 * means + 64));
    if (!memory)
        return FAULT_MEMORY;
    Bands all;
    Work work = {.steps = (Step *)(void *)memory};
    work.path = (Taken *)(void *)(work.steps + paths);
    work.pairs = (int32_t *)(void *)(work.path + paths);
    work.sums = work.pairs + PAIRS * width;
    float *low = (float *)(void *)(work.sums + HIDDEN * width);
    work.energy = (uint16_t *)(void *)(low + means);
    work.none = work.energy + means, work.room = work.none + width + 2 * MARGIN;
    tp_bands(&all, c->kind, c->height, c->width, c->coefficients, low, c->maps, c->previous);
    if (c->mode == DECODE)
        memcpy(work.source.states, c->states, sizeof(uint32_t) * (size_t)c->lanes);
    int fault = code_bands(c, m, &all, low, &work);
    free(memory);
    c->bits = (double)work.bits / 256;
    if (fault || c->mode != DECODE)
        return fault;
    for (int k = 0; k < c->lanes; k++)
        if (work.source.states[k] != 65536)
            return FAULT_LEFT;
    return work.source.word != c->word_count || (work.source.bit + 7) / 8 != c->raw_bytes ? FAULT_LEFT : 0;
}

int NTC_KERNEL(Coding *c, const Model *m) { return code_plane(c, m); }
