/* Choose the values of a row of a band under dependent quantisation: the least of bits and error together, by the
   algorithm of Viterbi. All above the row is known; of a survivor only the two cells to the left are its own. */

typedef struct {
    int64_t cost; /* bits and priced error, 1/256 */
    int32_t pair; /* of maps: the cell to the left, and the one beyond, as features have them */
} Survivor;

/* How a survivor came to a state at a cell. */
typedef struct {
    int32_t magnitude;
    uint8_t table, from;
} Step;

/* What is chosen for a cell. */
typedef struct {
    int32_t magnitude, table;
} Taken;

/* What a magnitude of the two around a size would be, in each quantiser. */
typedef struct {
    int32_t magnitude[2], token[2], map[2]; /* the one below, the one above */
} Near;

static const int64_t FAR = INT64_MAX / 4;

INLINE Near near_of(float size, int quantiser)
{
    Near near;
    int32_t below = (int32_t)(size + (quantiser ? 0.5f : 0.0f));
    for (int k = 0; k < 2; k++) {
        near.magnitude[k] = below + k, near.token[k] = token_of((uint32_t)(below + k));
        near.map[k] = tp_map_of(tp_halves_of(below + k, quantiser));
    }
    return near;
}

INLINE int64_t priced(const Model *m, int table, float size, int32_t magnitude, int32_t token, float price)
{
    float off = size - (magnitude ? reconstructed(m, table, magnitude) : 0.0f);
    return m->costs[table * TOKEN_COUNT + token] + (int64_t)(price * (off * off));
}

/* Fill ``path`` (width,) of a row that begins in a state. */
INLINE void choose_row(const Model *m, const Last *last, int64_t width, const int32_t *sums, const float *at,
                       int64_t column, float lambda, int state, Step *steps, Taken *path)
{
    const float price = 256.0f * lambda, most = MOST_MAGNITUDE - 1;
    Survivor old[STATES], fresh[STATES];
    for (int s = 0; s < STATES; s++)
        old[s].cost = FAR, old[s].pair = 0;
    old[state].cost = 0;
    for (int64_t x = 0; x < width; x++) {
        float given = at[x * column], size = given < 0 ? -given : given;
        size = size < most ? size : most;
        const Near near[2] = {near_of(size, 0), near_of(size, 1)};
        Step *step = steps + x * STATES;
        int32_t tables[STATES];
        for (int s = 0; s < STATES; s++)
            fresh[s].cost = FAR;
        for (int s = 0; s < STATES; s++) {
            if (old[s].cost >= FAR)
                continue;
            int same = 0;
            while (old[same].cost >= FAR || old[same].pair != old[s].pair)
                same++;
            tables[s] = same < s ? tables[same] : table_of(last, sums + x * HIDDEN, old[s].pair);
            const Near *n = near + QUANTISER[s];
            const int table = tables[s] + QUANTISER[s] * TABLE_COUNT;
            for (int k = 0; k < 2; k++) {
                int32_t magnitude = n->magnitude[k], map = n->map[k];
                int64_t cost = priced(m, table, size, magnitude, n->token[k], price);
                if (!(magnitude & 1) && magnitude) {
                    int64_t zero = priced(m, table, size, 0, 0, price);
                    if (zero < cost)
                        cost = zero, magnitude = map = 0;
                }
                int to = NEXT[s][magnitude & 1];
                cost += old[s].cost;
                if (cost < fresh[to].cost) {
                    fresh[to].cost = cost, fresh[to].pair = map | old[s].pair << 16;
                    step[to] = (Step){magnitude, (uint8_t)table, (uint8_t)s};
                }
            }
        }
        memcpy(old, fresh, sizeof old);
    }
    int best = 0;
    for (int s = 1; s < STATES; s++)
        if (old[s].cost < old[best].cost)
            best = s;
    for (int64_t x = width - 1; x >= 0; x--) {
        const Step *step = steps + x * STATES + best;
        path[x] = (Taken){step->magnitude, step->table};
        best = step->from;
    }
}
