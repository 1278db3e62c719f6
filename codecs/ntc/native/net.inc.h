/* The net: features to the number of a table. Every sum is of integers below 2^31: FORMAT.md §15.4. */

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

/* What is left of a net once a row's sums are there: pair 0, hidden units, the output. */
typedef struct {
    V first[VECTORS], second[VECTORS];
    int32_t base, hidden_shift, output_shift;
} Last;

INLINE Last last_of(const Model *m, int net, int embedding)
{
    Last last = {.base = m->base[net][embedding], .hidden_shift = m->hidden_shift[net], .output_shift = m->output_shift[net]};
    const int32_t *weights = (const int32_t *)(const void *)m->first[net];
    for (int v = 0; v < VECTORS; v++) {
        last.first[v] = v_load(weights + v * LANES);
        for (int k = 0; k < LANES; k++)
            last.second[v][k] = m->second[net][v * LANES + k] & 0xFFFF;
    }
    return last;
}

/* The table of a cell by its sums and the two cells to its left. */
INLINE int32_t table_of(const Last *last, const int32_t *sums, int32_t pair)
{
    V out = v_all(0), both = v_all(pair);
    for (int v = 0; v < VECTORS; v++) {
        V hidden = v_pair(v_load(sums + v * LANES), both, last->first[v]);
        out = v_pair(out, v_min(v_max(hidden, v_all(0)) >> last->hidden_shift, v_all(32767)), last->second[v]);
    }
    int32_t table = (v_total(out) + last->base) >> last->output_shift;
    return table < 0 ? 0 : table >= TABLE_COUNT ? TABLE_COUNT - 1 : table;
}
