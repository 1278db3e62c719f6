/* What a context tree asks of the samples of a step, and where it leads: FORMAT.md, section 6.1. */

INLINE void subtract(const int32_t *a, const int32_t *b, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i < n; i += LANES)
        v_store(out + i, v_load(a + i) - v_load(b + i));
}

INLINE void copy(const int32_t *a, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i < n; i += LANES)
        v_store(out + i, v_load(a + i));
}

/* What a tree may ask of a step's samples, those rows of it that it does ask: FORMAT.md, 6.1. */
static void step_properties(const Plane *plane, const int32_t *own, const int32_t *errors, int64_t at,
                            int64_t pitch, int64_t n, const uint8_t *wanted, Work *work)
{
    const int32_t *o = own + at, *e = errors + at;
    const int32_t *west = o + NEXT(0, -1), *north = o + NEXT(-1, 0), *north_west = o + NEXT(-1, -1);
#define ROW_OF(k) (work->properties + (k) * work->rows)
    if (wanted[0])
        copy(work->context, n, ROW_OF(0));
    if (wanted[1])
        for (int64_t i = 0; i < n; i++)
            ROW_OF(1)[i] = work->mean[i] - work->prediction[i] * ONE;
    if (wanted[2])
        copy(work->prediction, n, ROW_OF(2));
    if (wanted[3])
        copy(west, n, ROW_OF(3));
    if (wanted[4])
        copy(north, n, ROW_OF(4));
    if (wanted[5])
        subtract(west, north_west, n, ROW_OF(5));
    if (wanted[6])
        subtract(north, north_west, n, ROW_OF(6));
    if (wanted[7])
        subtract(north, o + NEXT(-1, 1), n, ROW_OF(7));
    if (wanted[8])
        subtract(west, o + NEXT(0, -2), n, ROW_OF(8));
    if (wanted[9])
        subtract(north, o + NEXT(-2, 0), n, ROW_OF(9));
    if (wanted[10])
        subtract(west, north, n, ROW_OF(10));
    if (wanted[11])
        subtract(west, work->prediction, n, ROW_OF(11));
    if (wanted[12])
        subtract(north, work->prediction, n, ROW_OF(12));
    if (wanted[13])
        copy(e + NEXT(0, -1), n, ROW_OF(13));
    if (wanted[14])
        copy(e + NEXT(-1, 0), n, ROW_OF(14));
    for (int r = 0; r < plane->references; r++) {
        int f = OWN_PROPERTIES + REFERENCE_PROPERTIES * r;
        const int32_t *here = plane->reference + r * plane->reference_stride + at;
        if (wanted[f])
            copy(here, n, ROW_OF(f));
        if (wanted[f + 1])
            subtract(here, here + NEXT(0, -1), n, ROW_OF(f + 1));
        if (wanted[f + 2])
            subtract(here, here + NEXT(-1, 0), n, ROW_OF(f + 2));
        if (wanted[f + 3])
            subtract(here, here + NEXT(0, 1), n, ROW_OF(f + 3));
        if (wanted[f + 4])
            subtract(here, here + NEXT(1, 0), n, ROW_OF(f + 4));
        if (wanted[f + 5])
            copy(plane->reference_error + r * plane->reference_stride + at, n, ROW_OF(f + 5));
    }
#undef ROW_OF
}

/* Put down what a walk takes: of each node where its property's row begins, threshold, and both ways.
   Leaves come after the nodes and lead to themselves. Marks the properties that are asked for. */
static void prepare_walk(const int32_t *nodes, int64_t node_count, uint8_t *wanted, Work *work)
{
    for (int64_t k = 0; k < node_count; k++) {
        const int32_t *asked = nodes + 4 * k;
        int32_t *step = work->walk + WALK * k;
        wanted[asked[0]] = 1;
        step[0] = (int32_t)(asked[0] * work->rows), step[1] = asked[1];
        for (int side = 2; side < 4; side++)
            step[side] = asked[side] < 0 ? (int32_t)node_count + ~asked[side] : asked[side];
    }
    for (int64_t k = node_count; k <= 2 * node_count; k++) {
        int32_t *step = work->walk + WALK * k;
        step[0] = step[1] = 0, step[2] = step[3] = (int32_t)k;
    }
    work->inner = (int32_t)node_count;
}

/* The leaf of each sample of a step, in place of its pattern. Some walk side by side, so that none
   waits for what another reads, and all until the last is there. */
static void step_leaves(int64_t n, Work *work)
{
    enum { ABREAST = 16 };
    const int32_t *walk = work->walk, inner = work->inner;
    for (int64_t i = 0; i < n; i += ABREAST) {
        const int32_t *properties = work->properties + i;
        int32_t node[ABREAST] = {0}, least = 0;
        while (least < inner) {
#pragma GCC unroll 16
            for (int k = 0; k < ABREAST; k++) {
                const int32_t *step = walk + WALK * node[k];
                node[k] = step[2 + (properties[step[0] + k] > step[1])];
            }
            least = node[0];
            for (int k = 1; k < ABREAST; k++)
                least = tp_min(least, node[k]);
        }
        for (int k = 0; k < ABREAST; k++)
            work->pattern[i + k] = node[k] - inner;
    }
}
