/* Weights that follow the plane: solved anew for each strip of rows, every few steps, from the
   samples that are already known. Section 5.5 of FORMAT.md.

   A block is STRIP rows by SPAN steps of the wavefront, so its left and upper right neighbours are
   complete before it begins, and the strips of a step are solved side by side, one in each lane.
   Sums of products are of integers; the rest are additions, multiplications and divisions of
   doubles in a fixed order, which every machine rounds alike. */

enum { STRIP = 8, SPAN = 16, BLOCK = STRIP * SPAN, ABOVE = 2, DOUBLES = LANES / 2 };

static const double RIDGE_SHARE = 1.0 / 1024, RIDGE_LEAST = 1.0;

typedef double D __attribute__((vector_size(8 * DOUBLES)));
typedef int16_t H __attribute__((vector_size(2 * LANES)));

typedef struct {
    int taps, mode;
    int64_t strips, stride; /* doubles from one pair of taps to the next */
    int64_t rows;           /* from one tap's weights to the next's */
    int32_t *weights;       /* (taps, rows), of each row */
    int16_t *batch;         /* (strips, taps + 1, BLOCK): regressors and targets of this block */
    double *sums;           /* (pairs, stride): those of all blocks so far, the older the less */
    D *system;              /* (pairs,) of DOUBLES strips */
    int32_t *fixed;         /* (rows,): what the weights that do not follow predicted in this step */
    int32_t *linear;        /* (rows,): for who has no other place for linear predictions */
    int32_t *blended[2];    /* (rows,): both predictions of this step, where they are blended: by sets, and
                               with weights that follow */
    int32_t *errors[2];     /* sheared: those of both, so far */
    void *block;
} Blocks;

/* Pairs i <= j of taps, and of each tap with the target. */
INLINE int64_t pairs_of(int taps) { return (int64_t)taps * (taps + 3) / 2; }

static int blocks_open(Blocks *b, const Plane *plane)
{
    b->block = 0;
    if (!plane->memory)
        return 0;
    b->mode = mode_for(plane);
    b->taps = OWN_REGRESSORS + plane->references * REFERENCE_REGRESSORS + plane->far;
    b->strips = (plane->height + STRIP - 1) / STRIP;
    b->stride = (b->strips + ABOVE + 1 + DOUBLES + 7) / 8 * 8;
    b->rows = b->strips * STRIP + PADDING;
    size_t pairs = (size_t)pairs_of(b->taps), taps = (size_t)b->taps;
    size_t system = pairs * sizeof(D), sums = pairs * (size_t)b->stride * 8, weights = (taps + 2) * (size_t)b->rows * 4;
    size_t batch = (size_t)(b->strips + 1) * (taps + 1) * BLOCK * 2;
    size_t rows = plane->blended ? (size_t)b->rows : 0;
    size_t cells = plane->blended ? (size_t)tp_sheared_size(plane->height, plane->width) : 0;
    char *at = calloc(1, 64 + system + sums + weights + batch + 8 * (rows + cells));
    if (!at)
        return FAULT_MEMORY;
    b->block = at;
    at += 64 - (uintptr_t)at % 64;
    b->system = (D *)(void *)at;
    b->sums = (double *)(void *)(at + system);
    b->weights = (int32_t *)(void *)(at + system + sums);
    b->fixed = b->weights + taps * (size_t)b->rows;
    b->linear = b->fixed + b->rows;
    int32_t *more = (int32_t *)(void *)(at + system + sums + weights);
    for (int k = 0; k < 2; k++, more += rows + cells)
        b->blended[k] = more, b->errors[k] = more + rows;
    b->batch = (int16_t *)(void *)more;
    return 0;
}

INLINE D d_load(const double *from)
{
    D out;
    memcpy(&out, from, sizeof out);
    return out;
}

/* Products of row ``one`` with ``count`` rows from ``others`` on, 1 to 4, to sums ``stride`` apart. */
INLINE void add_products_of(const int16_t *one, const int16_t *others, const int count, double *sum, int64_t stride)
{
    int32_t total[4] = {0}; /* 128 * 2047^2 < 2^31 */
    for (int k = 0; k < BLOCK; k++)
        for (int j = 0; j < count; j++)
            total[j] += (int32_t)one[k] * others[j * BLOCK + k];
    for (int j = 0; j < count; j++)
        sum[j * stride] += (double)total[j];
}

/* The sums of products of a strip's block, which is over, to those of its blocks so far. */
static void add_block(Blocks *b, int64_t strip)
{
    const int taps = b->taps;
    int16_t *batch = b->batch + strip * (taps + 1) * BLOCK;
    double *sum = b->sums + ABOVE + strip;
    for (int i = 0; i < taps; i++) {
        const int16_t *one = batch + i * BLOCK;
        int j = i;
        for (; j + 3 <= taps; j += 4, sum += 4 * b->stride)
            add_products_of(one, batch + j * BLOCK, 4, sum, b->stride);
        for (; j <= taps; j++, sum += b->stride)
            add_products_of(one, batch + j * BLOCK, 1, sum, b->stride);
    }
    memset(batch, 0, (size_t)(taps + 1) * BLOCK * sizeof *batch);
}

/* The weights of DOUBLES strips from ``strip`` on, of which the first ``count`` are wanted. */
static void solve_strips(Blocks *b, int64_t strip, int64_t count)
{
    const int taps = b->taps;
    D *a = b->system, trace = {0}, *row = a;
    const double *sum = b->sums + ABOVE + strip;
    for (int64_t p = pairs_of(taps); p > 0; p--, sum += b->stride, a++)
        *a = ((d_load(sum) + 0.75 * d_load(sum - 1)) + 0.5 * d_load(sum - 2)) + 0.25 * d_load(sum + 1);
    for (int i = 0; i < taps; i++, row += taps + 2 - i)
        trace += row[0];
    D ridge = trace * (RIDGE_SHARE / taps) + RIDGE_LEAST;
    row = b->system;
    for (int i = 0; i < taps; row += taps + 1 - i, i++) {
        row[0] += ridge;
    }
    D inverse[REGRESSORS + FAR_TAPS], x[REGRESSORS + FAR_TAPS];
    row = b->system;
    for (int k = 0; k < taps; row += taps + 1 - k, k++) {
        inverse[k] = 1.0 / row[0];
        D *below = row + taps + 1 - k;
        for (int i = 1; i < taps - k; i++) {
            D factor = row[i] * inverse[k];
            for (int j = i; j <= taps - k; j++, below++)
                *below -= factor * row[j];
        }
    }
    for (int k = taps - 1; k >= 0; k--) {
        row -= taps + 1 - k;
        D total = row[taps - k];
        for (int j = k + 1; j < taps; j++)
            total -= row[j - k] * x[j];
        x[k] = total * inverse[k];
    }
    for (int64_t lane = 0; lane < count; lane++) {
        int32_t weight[REGRESSORS + FAR_TAPS], all = 0;
        const int32_t most = (1 << 17) - 1;
        for (int k = 0; k < taps; k++) {
            double scaled = x[k][lane] * (1 << WEIGHT_BITS);
            scaled = scaled < most ? scaled > -most ? scaled : -most : most;
            weight[k] = (int32_t)(scaled + (most + 1 + 0.5)) - (most + 1);
            all += tp_abs(weight[k]);
        }
        for (int k = 0; k < taps; k++) {
            int32_t *to = b->weights + k * b->rows + (strip + lane) * STRIP;
            int32_t taken = all <= MAX_WEIGHTS_SUM ? weight[k] : 0;
            for (int y = 0; y < STRIP; y++)
                to[y] = taken;
        }
    }
}

/* Before step t: where blocks begin with it, end those before and solve. */
static void blocks_turn(Blocks *b, const Plane *plane, int64_t t)
{
    if (t % SPAN)
        return;
    int64_t last = tp_steps(plane->height, plane->width) - 1;
    if (t) {
        int64_t from = tp_first_row(t - SPAN, plane->width) / STRIP;
        int64_t to = (tp_end_row(t - 1, plane->height) + STRIP - 1) / STRIP;
        int64_t early = from < ABOVE + 1 ? 0 : from - ABOVE - 1;
        const double kept = plane->memory / 16.0;
        double *sum = b->sums + ABOVE;
        for (int64_t p = pairs_of(b->taps); p > 0; p--, sum += b->stride)
            for (int64_t s = early; s < to; s++)
                sum[s] *= kept;
        for (int64_t s = from; s < to; s++)
            add_block(b, s);
    }
    int64_t end = t + SPAN - 1 < last ? t + SPAN - 1 : last;
    int64_t from = tp_first_row(t, plane->width) / STRIP;
    int64_t to = (tp_end_row(end, plane->height) + STRIP - 1) / STRIP;
    for (int64_t s = from; s < to; s += DOUBLES)
        solve_strips(b, s, to - s < DOUBLES ? to - s : DOUBLES);
}

/* Of two predictions of samples from cell ``at`` on, by sets of weights and with those that follow,
   the mean, in which that one weighs more whose errors around were less: section 5.6. */
INLINE V blend(Blocks *b, int64_t at, int64_t pitch, int64_t row, V by_sets, V following)
{
    Around around[2];
    for (int k = 0; k < 2; k++)
        around_of(b->errors[k], at, pitch, &around[k]);
    V share = v_clip((BLENDED_WHOLE / 2) + BLENDED_STEP * (around[1].log - around[0].log), 0, BLENDED_WHOLE);
    v_store(b->blended[0] + row, by_sets);
    v_store(b->blended[1] + row, following);
    return following + (((by_sets - following) * share + BLENDED_WHOLE / 2) >> BLENDED_BITS);
}

/* The linear predictions of the n samples of a step, from row y0 on, with fixed weights and those of
   their strips: section 5.5. ``one``: those that follow add to the first set. */
INLINE void follow_step(Blocks *b, const Plane *plane, const int32_t *own, int64_t at, int64_t pitch, int64_t y0,
                        int64_t n, int32_t *out, const int references, const int mode, const int one)
{
    const int regressors = OWN_REGRESSORS + references * REFERENCE_REGRESSORS;
    for (int64_t i = 0; i < n; i += LANES) {
        Inputs in;
        inputs_of(plane, own, at + i, pitch, references, &in);
        V fixed = linear_of(plane, &in, references, mode, one ? OF_ONE_SET : OF_SETS);
        v_store(b->fixed + y0 + i, fixed);
        Rows rows = {b->weights + y0 + i, b->rows};
        V sum = fixed + linear_sum(plane, in.x, v_all(0), rows, regressors, plane->far, mode, OF_ROWS);
        V linear = v_min(v_max(sum, v_all(0)), v_all(plane->top << FRACTION_BITS));
        if (one && plane->blended) {
            V by_sets = linear_of(plane, &in, references, mode, OF_SETS);
            linear = blend(b, at + i, pitch, y0 + i, by_sets, linear);
        }
        v_store(out + i, linear);
    }
}

typedef void Follow(Blocks *, const Plane *, const int32_t *, int64_t, int64_t, int64_t, int64_t, int32_t *);
#define FOLLOW(name, references, mode, one)                                                                    \
    static __attribute__((noinline)) void name(Blocks *b, const Plane *p, const int32_t *o, int64_t at,          \
                                               int64_t pitch, int64_t y0, int64_t n, int32_t *out)             \
    {                                                                                                          \
        follow_step(b, p, o, at, pitch, y0, n, out, references, mode, one);                                    \
    }
#define FOLLOWS(r)                                                                                             \
    FOLLOW(follow_##r##_0_0, r, 0, 0) FOLLOW(follow_##r##_0_1, r, 0, 1) FOLLOW(follow_##r##_1_0, r, 1, 0)        \
    FOLLOW(follow_##r##_1_1, r, 1, 1) FOLLOW(follow_##r##_2_0, r, 2, 0) FOLLOW(follow_##r##_2_1, r, 2, 1)
FOLLOWS(0)
FOLLOWS(1)
FOLLOWS(2)
static Follow *const FOLLOW_OF[3][3][2] = {
#define FOLLOW_ROW(r)                                                                                          \
    {{follow_##r##_0_0, follow_##r##_0_1}, {follow_##r##_1_0, follow_##r##_1_1}, {follow_##r##_2_0, follow_##r##_2_1}}
    FOLLOW_ROW(0), FOLLOW_ROW(1), FOLLOW_ROW(2)};

/* Before step t, whose n samples begin at row y0 and cell ``at``: the weights of blocks that begin
   with it, and its linear predictions, (n,) and up to LANES more. */
static void blocks_predict(Blocks *b, const Plane *plane, const int32_t *own, int64_t t, int64_t y0, int64_t n,
                           int64_t at, int64_t pitch, int32_t *out)
{
    blocks_turn(b, plane, t);
    if (n > 0)
        FOLLOW_OF[plane->references][b->mode][plane->sets == 1 || plane->blended](b, plane, own, at, pitch, y0, n, out);
}

/* What sums of products are of: value * 2^up >> down, within its limits. */
INLINE V weighed_lanes(V value, int32_t up, V down)
{
    value = up < 0 ? value >> (down - up) : (value << up) >> down;
    return v_clip(value, -BATCH_LIMIT, BATCH_LIMIT);
}

/* After step t: its samples, which are known now, become part of their blocks. */
static void blocks_take(Blocks *b, const Plane *plane, const int32_t *own, int64_t t, int64_t pitch)
{
    const V lanes = {0, 1, 2, 3,
#if LANES > 4
                     4, 5, 6, 7,
#endif
#if LANES > 8
                     8, 9, 10, 11, 12, 13, 14, 15,
#endif
    };
    enum { PART = LANES < STRIP ? LANES : STRIP, PARTS = LANES / PART };
    const int64_t y0 = tp_first_row(t, plane->width), y1 = tp_end_row(t, plane->height);
    const int taps = b->taps, up = plane->up;
    for (int k = 0; k < 2 && plane->blended && y1 > y0; k++) {
        int32_t *errors = b->errors[k], *linear = b->blended[k];
        for (int64_t y = y0; y < y1; y++) {
            int64_t cell = tp_position(t, y, pitch);
            int absent = plane->mask && plane->mask[cell];
            errors[cell] = absent ? 0 : (int32_t)((uint32_t)own[cell] << FRACTION_BITS) - linear[y];
        }
        pad_edges(errors, t, y0, y1 - y0, plane, pitch);
    }
    for (int64_t y = y0 / STRIP * STRIP; y < y1; y += LANES) { /* as strips begin */
        Inputs in;
        int64_t at = tp_position(t, y, pitch);
        inputs_of(plane, own, at, pitch, plane->references, &in);
        V there = (lanes >= (int32_t)(y0 - y)) & (lanes < (int32_t)(y1 - y));
        for (int lane = 0; plane->mask && lane < LANES; lane++)
            there[lane] &= -!plane->mask[at + lane];
        V down = in.activity_log >> 4, error = (v_load(own + at) << FRACTION_BITS) - v_load(b->fixed + y);
        int16_t *to = b->batch + y / STRIP * (taps + 1) * BLOCK + t % SPAN * STRIP + y % STRIP;
        for (int k = 0; k <= taps; k++, to += BLOCK) {
            V value = k < taps ? weighed_lanes(in.x[k], up, down) : weighed_lanes(error, up - FRACTION_BITS, down);
            H part = __builtin_convertvector(value & there, H);
            for (int p = 0; p < PARTS; p++) /* of strips one after another */
                memcpy(to + p * (taps + 1) * BLOCK, (char *)&part + 2 * PART * p, 2 * PART);
        }
    }
}
