/* Choose the values of a row of a band under dependent quantisation: the least of bits and error together, by the
   algorithm of Viterbi. All above the row is known; of a survivor only the two cells to the left are its own. */

/* How a survivor came to a state at a cell. */
typedef struct {
    int32_t magnitude;
    uint8_t table, from;
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
        step[NEXT[s][odd]] = (Step){near.magnitude, (uint8_t)row, (uint8_t)s};
        all->pairs[NEXT[s][odd]] = near.map | pair << 16;
    }
    const int best = costs[1] < costs[0], more = costs[!best] - costs[best];
    all->costs[NEXT[s][best]] = 0;
    all->alone = more > BEAM ? NEXT[s][best] : -1;
    if (more <= BEAM)
        all->costs[NEXT[s][!best]] = more;
}


/* What follows several. */
INLINE void follow_many(const Model *m, const Last *last, const int32_t *sums, float size, float price, Survivors *all,
                        Step *step)
{
    const int32_t below[2] = {(int32_t)size, (int32_t)(size + 0.5f)}, error = priced(size, price);
    Near even[2], odd[2];
    for (int q = 0; q < 2; q++)
        even[q] = near_of(below[q] + (below[q] & 1), q), odd[q] = near_of(below[q] | 1, q);
    int32_t rows[STATES] = {0}, by_even[STATES], by_odd[STATES], zeros[STATES], fresh[STATES], pairs[STATES];
    for (int s = 0; s < STATES; s++) {
        if (all->costs[s] == DROPPED)
            continue;
        int same = 0;
        while (all->costs[same] == DROPPED || all->pairs[same] != all->pairs[s])
            same++;
        rows[s] = same < s ? rows[same] : table_of(last, sums, all->pairs[s]);
    }
    for (int s = 0; s < STATES; s++) {
        rows[s] += QUANTISER[s] * TABLE_COUNT;
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
        pairs[t] = (near->map & kept) | all->pairs[from] << 16;
        step[t] = (Step){near->magnitude & kept, (uint8_t)rows[from], (uint8_t)from};
    }
    for (int t = 0; t < STATES; t++) {
        const int is_live = fresh[t] - least <= BEAM;
        all->costs[t] = is_live ? fresh[t] - least : DROPPED, all->pairs[t] = pairs[t];
        live += is_live;
    }
    for (int t = 0; live == 1 && t < STATES; t++)
        all->alone = all->costs[t] ? all->alone : t;
}

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
            follow_one(m, last, sums + x * HIDDEN, size, price, &all, steps + x * STATES);
        else
            follow_many(m, last, sums + x * HIDDEN, size, price, &all, steps + x * STATES);
    }
    int best = 0;
    for (int s = 1; s < STATES; s++)
        if (all.costs[s] < all.costs[best])
            best = s;
    for (int64_t x = width - 1; x >= 0; x--) {
        const Step *step = steps + x * STATES + best;
        path[x] = (Taken){step->magnitude, step->table};
        best = step->from;
    }
}
