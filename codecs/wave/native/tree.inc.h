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

/* The leaf of each sample of a step, in place of its pattern. */
static void step_leaves(const int32_t *nodes, int64_t n, Work *work)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t node = 0;
        while (node >= 0) {
            const int32_t *asked = nodes + 4 * node;
            node = asked[2 + (work->properties[asked[0] * work->rows + i] > asked[1])];
        }
        work->pattern[i] = ~node;
    }
}
