/* Code the bands of a plane one after another: features, net, table, symbol. Once for each instruction set.

   A row's cells share everything but the two cells to their left: what the others add to the hidden units is
   summed up for the whole row first. Every sum is of integers below 2^31: FORMAT.md §15.4. */
#include <stdlib.h>
#include <string.h>

#include "bands.h"
#include "../../wave/native/vectors.h"

#include "features.inc.h"

enum { VECTORS = HIDDEN / LANES };

/* sum + the products of the two 16-bit numbers of each lane. */
INLINE V v_pair(V sum, V a, V b)
{
#if LANES == 16
    return (V)_mm512_add_epi32((__m512i)sum, _mm512_madd_epi16((__m512i)a, (__m512i)b));
#elif LANES == 8
    return sum + (V)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return sum + (V)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(__ARM_NEON)
    int16x8_t p = vreinterpretq_s16_s32((int32x4_t)a), q = vreinterpretq_s16_s32((int32x4_t)b);
    int32x4_t low = vmull_s16(vget_low_s16(p), vget_low_s16(q)), high = vmull_s16(vget_high_s16(p), vget_high_s16(q));
    return sum + (V)vpaddq_s32(low, high);
#else
    return sum + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}

INLINE int32_t v_total(V a)
{
#if LANES == 16
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256((__m512i)a), _mm512_extracti64x4_epi64((__m512i)a, 1));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
#elif LANES == 8
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128((__m256i)a), _mm256_extracti128_si256((__m256i)a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
#else
    return a[0] + a[1] + a[2] + a[3];
#endif
}

/* Tokens of magnitudes: from 16 on there are four to an octave. */
INLINE int32_t token_of(uint32_t magnitude)
{
    if (magnitude < 16)
        return (int32_t)magnitude;
    int octave = 31 - __builtin_clz(magnitude);
    return 4 * octave + (int32_t)((magnitude >> (octave - 2)) & 3);
}

INLINE int extra_bits(int32_t token) { return token < 16 ? 0 : ((token - 16) >> 2) + 2; }

/* What a decoder reads. */
typedef struct {
    uint32_t states[32];
    int64_t symbol, word, bit; /* how many are read */
    int fault;
} Source;

INLINE uint32_t raw_bits(const Coding *c, Source *s, int count)
{
    int64_t byte = s->bit >> 3;
    if (s->bit + count > 8 * c->raw_bytes) {
        s->fault = FAULT_RAW;
        return 0;
    }
    uint64_t value = 0;
    if (byte + 8 <= c->raw_bytes)
        memcpy(&value, c->raw + byte, 8);
    else
        for (int k = 0; byte + k < c->raw_bytes; k++)
            value |= (uint64_t)c->raw[byte + k] << (8 * k);
    value >>= s->bit & 7;
    s->bit += count;
    return (uint32_t)value & (uint32_t)(((uint64_t)1 << count) - 1);
}

/* The next value under a table; 0 from the first fault on. */
INLINE int32_t read_value(const Coding *c, const Model *m, Source *s, int table)
{
    uint32_t *state = s->states + (s->symbol++ & (c->lanes - 1)), slot = *state & 32767;
    const int32_t *cumulative = m->cumulative + table * (TOKEN_COUNT + 2);
    int32_t token = 0;
    if (slot >= (uint32_t)cumulative[1])
        for (token = m->lookup[table * 256 + (slot >> 7)]; slot >= (uint32_t)cumulative[token + 1];)
            token++;
    uint32_t start = (uint32_t)cumulative[token], size = (uint32_t)cumulative[token + 1] - start;
    uint32_t next = size * (*state >> NTC_TABLE_BITS) + slot - start;
    if (next < 65536) {
        if (s->word >= c->word_count) {
            s->fault = FAULT_WORDS;
            return 0;
        }
        next = next << 16 | c->words[s->word++];
    }
    *state = next;
    if (token == 0)
        return 0;
    if (token == m->used[table]) {
        token = (int32_t)raw_bits(c, s, NTC_ESCAPE_BITS);
        if (token < m->used[table] || token >= TOKEN_COUNT) {
            s->fault = s->fault ? s->fault : FAULT_TOKEN;
            return 0;
        }
    }
    uint32_t magnitude = (uint32_t)token;
    if (token >= 16) {
        int count = extra_bits(token);
        magnitude = ((uint32_t)(4 + (token & 3)) << count) + raw_bits(c, s, count);
    }
    if (magnitude == 0)
        return 0; /* an escaped zero has no sign */
    return raw_bits(c, s, 1) ? -(int32_t)magnitude : (int32_t)magnitude;
}

INLINE float reconstructed(const Model *m, int table, int32_t magnitude)
{
    return (float)magnitude - m->reconstruction[table * (OFFSETS + 1) + (magnitude < OFFSETS ? magnitude : OFFSETS)];
}

INLINE int32_t cost_of(const Model *m, int table, int32_t magnitude)
{
    return m->costs[table * TOKEN_COUNT + token_of((uint32_t)magnitude)];
}

/* The magnitude to code, of the nearest, the one below, and 0: distortion and bits together are least. */
INLINE int32_t chosen(const Model *m, int table, float size, float lambda)
{
    int32_t nearest = size < (float)MOST_MAGNITUDE ? (int32_t)(size + 0.5f) : MOST_MAGNITUDE;
    if (nearest == 0)
        return 0;
    float off = size - reconstructed(m, table, 0);
    float least = lambda * (off * off) + (float)cost_of(m, table, 0) * (1.0f / 256);
    int32_t best = 0;
    for (int32_t k = nearest; k >= nearest - 1 && k > 0; k--) {
        off = size - reconstructed(m, table, k);
        float cost = lambda * (off * off) + (float)cost_of(m, table, k) * (1.0f / 256);
        if (cost < least)
            least = cost, best = k;
    }
    return best;
}

typedef struct {
    int32_t *pairs, *sums; /* (PAIRS, width), (width, HIDDEN) */
    uint16_t *none, *room, *energy;
    Source source;
    int64_t bits; /* 1/256 */
} Work;

/* What a row's features but those of pair 0 add to the hidden units. */
static void row_sums(const int16_t *first, const int32_t *bias, int64_t width, const int32_t *pairs, int32_t *sums)
{
    const int32_t *weights = (const int32_t *)(const void *)first;
    for (int v = 0; v < VECTORS; v++) {
        V start = v_load(bias + v * LANES), w[PAIRS];
        for (int k = 1; k < PAIRS; k++)
            w[k] = v_load(weights + k * HIDDEN + v * LANES);
        for (int64_t x = 0; x < width; x++) {
            V sum = start;
            for (int k = 1; k < PAIRS; k++)
                sum = v_pair(sum, v_all(pairs[k * width + x]), w[k]);
            v_store(sums + x * HIDDEN + v * LANES, sum);
        }
    }
}

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

INLINE void code_band(Coding *c, const Model *m, const Bands *all, Band *band, int32_t coded, int mode, Work *work)
{
    const int64_t width = band->width, height = band->height;
    const Around a = around(all, band, work->energy, coded);
    const int bands = band->net == LAPPED ? LAPPED_BANDS : WAVELET_BANDS;
    const int which = (c->previous ? bands : 0) + band->embedding;
    const int32_t *bias = m->bias[band->net] + which * HIDDEN;
    const int32_t *weights = (const int32_t *)(const void *)m->first[band->net];
    const int32_t base = m->base[band->net][which], output_shift = m->output_shift[band->net];
    V first[VECTORS], second[VECTORS];
    const int32_t hidden_shift = m->hidden_shift[band->net];
    for (int v = 0; v < VECTORS && mode != EXAMINE; v++) {
        first[v] = v_load(weights + v * LANES);
        for (int k = 0; k < LANES; k++)
            second[v][k] = m->second[band->net][v * LANES + k] & 0xFFFF;
    }
    int64_t running = a.context_mean, total = 0;
    for (int64_t y = 0; y < height; y++) {
        row_features(band, &a, y, running, work->none + MARGIN, work->room, work->pairs);
        if (mode != EXAMINE)
            row_sums(m->first[band->net], bias, width, work->pairs, work->sums);
        uint16_t *own = band->own + y * band->pitch;
        float *at = band->at + y * band->row;
        int64_t row_total = 0;
        for (int64_t x = 0; x < width; x++) {
            int32_t pair = own[x - 1] | own[x - 2] << 16, magnitude, table = 0;
            if (mode == EXAMINE) {
                int16_t *out = c->features + c->count * FEATURES;
                out[0] = (int16_t)own[x - 1], out[1] = (int16_t)own[x - 2];
                for (int k = 1; k < PAIRS; k++)
                    out[2 * k] = (int16_t)work->pairs[k * width + x], out[2 * k + 1] = (int16_t)(work->pairs[k * width + x] >> 16);
                c->bands[c->count] = (uint8_t)((band->net == LAPPED ? 0 : LAPPED_BANDS) + band->embedding);
                float size = at[x * band->column], positive = size < 0 ? -size : size;
                magnitude = (int32_t)(positive + c->lambda); /* here: what is added before rounding down */
                c->values[c->count++] = size < 0 ? -magnitude : magnitude;
            } else {
                V out = v_all(0), both = v_all(pair);
                for (int v = 0; v < VECTORS; v++) {
                    V hidden = v_pair(v_load(work->sums + x * HIDDEN + v * LANES), both, first[v]);
                    out = v_pair(out, v_min(v_max(hidden, v_all(0)) >> hidden_shift, v_all(32767)), second[v]);
                }
                table = (v_total(out) + base) >> output_shift;
                table = table < 0 ? 0 : table >= TABLE_COUNT ? TABLE_COUNT - 1 : table;
                int32_t value;
                if (mode == DECODE) {
                    value = read_value(c, m, &work->source, table);
                    magnitude = value < 0 ? -value : value;
                } else {
                    float size = at[x * band->column];
                    magnitude = chosen(m, table, size < 0 ? -size : size, c->lambda);
                    value = size < 0 ? -magnitude : magnitude;
                    work->bits += cost_of(m, table, magnitude);
                    if (c->given)
                        c->given[c->count] = size < 0 ? -size : size;
                    c->values[c->count] = value, c->tables[c->count++] = (uint8_t)table;
                }
                float made = magnitude ? reconstructed(m, table, magnitude) : 0.0f;
                at[x * band->column] = value < 0 ? -made : made;
            }
            own[x] = (uint16_t)tp_log16((uint32_t)magnitude);
            row_total += magnitude;
        }
        total += row_total;
        running += (256 * row_total / width - running) >> 3;
    }
    sum_map(band);
    band->mean = 256 * total / (width * height);
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
        return 0;
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
        if (c->mode == DECODE)
            code_band(c, m, all, band, lapped, DECODE, work);
        else if (c->mode == ENCODE)
            code_band(c, m, all, band, lapped, ENCODE, work);
        else
            code_band(c, m, all, band, lapped, EXAMINE, work);
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
    char *memory = calloc(1, (size_t)(4 * (PAIRS + HIDDEN) * width + 12 * width + 32 * MARGIN + 6 * means + 64));
    if (!memory)
        return FAULT_MEMORY;
    Bands all;
    Work work = {.pairs = (int32_t *)(void *)memory};
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
