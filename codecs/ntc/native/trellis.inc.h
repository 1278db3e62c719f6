/* Choose the values of a row of a band under dependent quantisation: the least of bits and error together, by the
   algorithm of Viterbi. All above the row is known; of a survivor only the two cells to the left are its own. */

/* How survivors came to their states at a cell. */
typedef struct {
    int32_t magnitude[STATES], origin[STATES]; /* origin: table, 256 times the state before */
} Step;

/* What is chosen for a cell. */
typedef struct {
    int32_t magnitude, table;
} Taken;

/* A magnitude next to a size: what it costs is by its token, what it is for contexts by its map. */
typedef struct {
    int32_t magnitude, token, kind, map;
} Near;

enum {
    BEAM = 7 * 256,      /* survivors that cost so much more than the best are dropped */
    MOST_ERROR = 1 << 29,
    DROPPED = 1 << 30,
};

INLINE Near near_of(int32_t magnitude, int quantiser)
{
    Near near = {magnitude, token_of((uint32_t)magnitude), magnitude < OFFSETS ? magnitude : OFFSETS,
                 tp_map_of(tp_halves_of(magnitude, quantiser))};
    return near;
}

INLINE int32_t priced(float off, float price)
{
    float error = price * (off * off);
    return (int32_t)(error < (float)MOST_ERROR ? error : (float)MOST_ERROR);
}

/* Bits and priced error of a magnitude, 1/256. */
INLINE int32_t branch_cost(const Model *m, int row, const Near *near, float size, float price)
{
    float off = size - ((float)near->magnitude - m->reconstruction[row * (OFFSETS + 1) + near->kind]);
    return m->costs[row * TOKEN_COUNT + near->token] + priced(off, price);
}

/* The survivors of a row so far. */
typedef struct {
    int32_t costs[STATES]; /* more than the best's, or DROPPED */
    int32_t pairs[STATES]; /* of maps: the cell to the left, and the one beyond, as features have them */
    int alone;             /* the state of the only one, or -1 */
} Survivors;

/* What follows an only survivor: as of many, for the others are dropped. */
INLINE void follow_one(const Model *m, const Last *last, const int32_t *sums, float size, float price, Survivors *all,
                       Step *step)
{
    const int s = all->alone, q = QUANTISER[s], pair = all->pairs[s];
    const int row = table_of(last, sums, pair) + q * TABLE_COUNT;
    const int32_t below = (int32_t)(size + (q ? 0.5f : 0.0f)), zero = m->costs[row * TOKEN_COUNT] + priced(size, price);
    int32_t costs[2];
    all->costs[s] = DROPPED;
    for (int odd = 0; odd < 2; odd++) {
        Near near = near_of(odd ? below | 1 : below + (below & 1), q);
        costs[odd] = branch_cost(m, row, &near, size, price);
        if (!odd && zero < costs[odd])
            costs[odd] = zero, near.magnitude = near.map = 0;
        step->magnitude[NEXT[s][odd]] = near.magnitude, step->origin[NEXT[s][odd]] = row | s << 8;
        all->pairs[NEXT[s][odd]] = near.map | (int32_t)((uint32_t)pair << 16);
    }
    const int best = costs[1] < costs[0], more = costs[!best] - costs[best];
    all->costs[NEXT[s][best]] = 0;
    all->alone = more > BEAM ? NEXT[s][best] : -1;
    if (more <= BEAM)
        all->costs[NEXT[s][!best]] = more;
}


/* Tables of survivors, quantisers included; the net is asked once for each pair. */
INLINE void survivor_rows(const Last *last, const int32_t *sums, const Survivors *all, int32_t *rows)
{
    for (int s = 0; s < STATES; s++) {
        int same = 0;
        while (same < s && (all->costs[same] == DROPPED || all->pairs[same] != all->pairs[s]))
            same++;
        if (all->costs[s] == DROPPED)
            rows[s] = 0;
        else
            rows[s] = same < s ? rows[same] : table_of(last, sums, all->pairs[s]);
    }
    for (int s = 0; s < STATES; s++)
        rows[s] += QUANTISER[s] * TABLE_COUNT;
}

#if LANES >= 8
/* A number for each state: quantisers alternate. */
INLINE __m256i by_quantiser(int32_t first, int32_t second)
{
    return _mm256_set1_epi64x((int64_t)((uint64_t)(uint32_t)second << 32 | (uint32_t)first));
}

INLINE __m256i eight_of(const uint8_t *numbers)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)numbers));
}

/* branch_cost of each state. */
INLINE __m256i eight_costs(const Model *m, __m256i rows, const Near *near, __m256 size, __m256 price)
{
    __m256i kinds = _mm256_add_epi32(_mm256_mullo_epi32(rows, _mm256_set1_epi32(OFFSETS + 1)), by_quantiser(near[0].kind, near[1].kind));
    __m256i tokens = _mm256_add_epi32(_mm256_mullo_epi32(rows, _mm256_set1_epi32(TOKEN_COUNT)), by_quantiser(near[0].token, near[1].token));
    __m256 magnitude = _mm256_cvtepi32_ps(by_quantiser(near[0].magnitude, near[1].magnitude));
    __m256 off = _mm256_sub_ps(size, _mm256_sub_ps(magnitude, _mm256_i32gather_ps(m->reconstruction, kinds, 4)));
    __m256 error = _mm256_min_ps(_mm256_mul_ps(price, _mm256_mul_ps(off, off)), _mm256_set1_ps((float)MOST_ERROR));
    return _mm256_add_epi32(_mm256_i32gather_epi32(m->costs, tokens, 4), _mm256_cvttps_epi32(error));
}

/* What follows several. */
INLINE void follow_many(const Model *m, const Last *last, const int32_t *sums, float size, float price, Survivors *all,
                        Step *step)
{
    const int32_t below[2] = {(int32_t)size, (int32_t)(size + 0.5f)};
    Near even[2], odd[2];
    for (int q = 0; q < 2; q++)
        even[q] = near_of(below[q] + (below[q] & 1), q), odd[q] = near_of(below[q] | 1, q);
    const __m256i costs = _mm256_loadu_si256((const __m256i *)(const void *)all->costs);
    const __m256i pairs = _mm256_loadu_si256((const __m256i *)(const void *)all->pairs);
    const __m256i dropped = _mm256_set1_epi32(DROPPED);
    const __m256i ended = _mm256_cmpeq_epi32(costs, dropped);
    const int first = __builtin_ctz(~(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(ended)));
    const __m256i like_first = _mm256_cmpeq_epi32(pairs, _mm256_set1_epi32(all->pairs[first]));
    const int32_t error = priced(size, price);
    __m256i rows, zero, by_even, by_odd;
    if (_mm256_movemask_epi8(_mm256_or_si256(ended, like_first)) == -1) { /* one table of each quantiser */
        int32_t table[2] = {table_of(last, sums, all->pairs[first])}, found[3][2];
        table[1] = table[0] + TABLE_COUNT;
        for (int q = 0; q < 2; q++) {
            found[0][q] = m->costs[table[q] * TOKEN_COUNT] + error;
            found[1][q] = branch_cost(m, table[q], even + q, size, price);
            found[2][q] = branch_cost(m, table[q], odd + q, size, price);
        }
        rows = by_quantiser(table[0], table[1]), zero = by_quantiser(found[0][0], found[0][1]);
        by_even = by_quantiser(found[1][0], found[1][1]), by_odd = by_quantiser(found[2][0], found[2][1]);
    } else {
        int32_t made[STATES];
        survivor_rows(last, sums, all, made);
        rows = _mm256_loadu_si256((const __m256i *)(const void *)made);
        zero = _mm256_i32gather_epi32(m->costs, _mm256_mullo_epi32(rows, _mm256_set1_epi32(TOKEN_COUNT)), 4);
        zero = _mm256_add_epi32(zero, _mm256_set1_epi32(error));
        by_even = eight_costs(m, rows, even, _mm256_set1_ps(size), _mm256_set1_ps(price));
        by_odd = eight_costs(m, rows, odd, _mm256_set1_ps(size), _mm256_set1_ps(price));
    }
    const __m256i is_zero = _mm256_cmpgt_epi32(by_even, zero);
    by_even = _mm256_add_epi32(costs, _mm256_min_epi32(by_even, zero)), by_odd = _mm256_add_epi32(costs, by_odd);
    const __m256i a = eight_of(EVEN_FROM), b = eight_of(ODD_FROM), lower = _mm256_cmpgt_epi32(a, b);
    by_even = _mm256_permutevar8x32_epi32(by_even, a), by_odd = _mm256_permutevar8x32_epi32(by_odd, b);
    const __m256i is_odd = _mm256_cmpgt_epi32(_mm256_sub_epi32(by_even, lower), by_odd); /* of equals the lower state */
    const __m256i from = _mm256_blendv_epi8(a, b, is_odd);
    const __m256i zeros = _mm256_andnot_si256(is_odd, _mm256_permutevar8x32_epi32(is_zero, a));
    __m256i fresh = _mm256_blendv_epi8(by_even, by_odd, is_odd);
    __m256i least = _mm256_min_epi32(fresh, _mm256_permute2x128_si256(fresh, fresh, 1));
    least = _mm256_min_epi32(least, _mm256_shuffle_epi32(least, 0x4E));
    least = _mm256_min_epi32(least, _mm256_shuffle_epi32(least, 0xB1));
    fresh = _mm256_sub_epi32(fresh, least);
    const __m256i far = _mm256_cmpgt_epi32(fresh, _mm256_set1_epi32(BEAM));
    _mm256_storeu_si256((__m256i *)(void *)all->costs, _mm256_blendv_epi8(fresh, dropped, far));
    const unsigned live = ~(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(far)) & 255;
    all->alone = live & (live - 1) ? -1 : __builtin_ctz(live);
#define TAKEN(field)                                                                                                   \
    _mm256_andnot_si256(zeros,                                                                                         \
                        _mm256_blendv_epi8(_mm256_permutevar8x32_epi32(by_quantiser(even[0].field, even[1].field), a), \
                                           _mm256_permutevar8x32_epi32(by_quantiser(odd[0].field, odd[1].field), b), is_odd))
    const __m256i beyond = _mm256_slli_epi32(_mm256_permutevar8x32_epi32(pairs, from), 16);
    _mm256_storeu_si256((__m256i *)(void *)all->pairs, _mm256_or_si256(TAKEN(map), beyond));
    _mm256_storeu_si256((__m256i *)(void *)step->magnitude, TAKEN(magnitude));
#undef TAKEN
    const __m256i origin = _mm256_or_si256(_mm256_permutevar8x32_epi32(rows, from), _mm256_slli_epi32(from, 8));
    _mm256_storeu_si256((__m256i *)(void *)step->origin, origin);
}
#else
/* What follows several. */
INLINE void follow_many(const Model *m, const Last *last, const int32_t *sums, float size, float price, Survivors *all,
                        Step *step)
{
    const int32_t below[2] = {(int32_t)size, (int32_t)(size + 0.5f)}, error = priced(size, price);
    Near even[2], odd[2];
    for (int q = 0; q < 2; q++)
        even[q] = near_of(below[q] + (below[q] & 1), q), odd[q] = near_of(below[q] | 1, q);
    int32_t rows[STATES], by_even[STATES], by_odd[STATES], zeros[STATES], fresh[STATES], pairs[STATES];
    survivor_rows(last, sums, all, rows);
    for (int s = 0; s < STATES; s++) {
        const int32_t zero = m->costs[rows[s] * TOKEN_COUNT] + error;
        by_even[s] = branch_cost(m, rows[s], even + QUANTISER[s], size, price);
        by_odd[s] = all->costs[s] + branch_cost(m, rows[s], odd + QUANTISER[s], size, price);
        zeros[s] = zero < by_even[s];
        by_even[s] = all->costs[s] + (zeros[s] ? zero : by_even[s]);
    }
    int32_t least = DROPPED, live = 0;
    for (int t = 0; t < STATES; t++) {
        const int a = EVEN_FROM[t], b = ODD_FROM[t];
        const int is_odd = by_odd[b] < by_even[a] + (b < a), from = is_odd ? b : a; /* of equals the lower state */
        const Near *near = is_odd ? odd + QUANTISER[b] : even + QUANTISER[a];
        const int32_t kept = is_odd ? -1 : zeros[a] - 1;
        fresh[t] = is_odd ? by_odd[b] : by_even[a];
        least = fresh[t] < least ? fresh[t] : least;
        pairs[t] = (near->map & kept) | (int32_t)((uint32_t)all->pairs[from] << 16);
        step->magnitude[t] = near->magnitude & kept, step->origin[t] = rows[from] | from << 8;
    }
    for (int t = 0; t < STATES; t++) {
        const int is_live = fresh[t] - least <= BEAM;
        all->costs[t] = is_live ? fresh[t] - least : DROPPED, all->pairs[t] = pairs[t];
        live += is_live;
    }
    for (int t = 0; live == 1 && t < STATES; t++)
        all->alone = all->costs[t] ? all->alone : t;
}
#endif

/* Fill ``path`` (width,) of a row that begins in a state. */
INLINE void choose_row(const Model *m, const Last *last, int64_t width, const int32_t *sums, const float *at,
                       int64_t column, float lambda, int state, Step *steps, Taken *path)
{
    const float price = 256.0f * lambda, most = MOST_MAGNITUDE - 1;
    Survivors all = {.alone = state};
    for (int s = 0; s < STATES; s++)
        all.costs[s] = s == state ? 0 : DROPPED;
    for (int64_t x = 0; x < width; x++) {
        float given = at[x * column], size = given < 0 ? -given : given;
        size = size < most ? size : most;
        if (all.alone >= 0)
            follow_one(m, last, sums + x * HIDDEN, size, price, &all, steps + x);
        else
            follow_many(m, last, sums + x * HIDDEN, size, price, &all, steps + x);
    }
    int best = 0;
    for (int s = 1; s < STATES; s++)
        if (all.costs[s] < all.costs[best])
            best = s;
    for (int64_t x = width - 1; x >= 0; x--) {
        path[x] = (Taken){steps[x].magnitude[best], steps[x].origin[best] & 255};
        best = steps[x].origin[best] >> 8;
    }
}
