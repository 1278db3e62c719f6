/* Predict the samples of a plane, a step of the wavefront at a time: FORMAT.md, section 5. */

static const int8_t OWN_DY[OWN_TAPS] = {0, -1, -1, -1, 0, -2, -1, -2, -2, -2, -2, 0, -3, -2, -1, -3};
static const int8_t OWN_DX[OWN_TAPS] = {-1, 0, -1, 1, -2, 0, -2, -1, 1, -2, 2, -3, 0, 3, -3, -1};
static const int8_t FAR_DY[FAR_TAPS] = {-3, -3, -3, -2, -4, 0, -1, -4, -4, -3, -3, -4, -4, -2,
                                        -5, -4, -4, -3, -3, 0, -5, -5, -1, -5, -5, -2, -4, -4};
static const int8_t FAR_DX[FAR_TAPS] = {1, -2, 2, -3, 0, -4, -4, -1, 1, -3, 3, -2, 2, -4,
                                        0, -3, 3, -4, 4, -5, -1, 1, -5, -2, 2, -5, -4, 4};
static const int8_t REF_DY[REFERENCE_TAPS] = {0, 0, -1, 0, 1, -1, -1, 1, 1};
static const int8_t REF_DX[REFERENCE_TAPS] = {0, -1, 0, 1, 0, -1, 1, -1, 1};

/* From a sample's cell to that of its neighbour (dy, dx). */
#define NEXT(dy, dx) (((dx) + SHEAR * (dy)) * pitch + (dy))
#define TAP(plane, dy, dx) v_load((plane) + NEXT(dy, dx))

/* Weights of rows: those of a tap lie side by side, those of the next ``stride`` further on. */
typedef struct {
    const int32_t *first;
    int64_t stride;
} Rows;

/* What the steps of a plane are worked out in: a number for each row of samples of a step. */
typedef struct {
    int32_t *linear, *pattern, *correction, *context, *mean, *prediction, *table, *folded;
    int32_t *ruled_out[2];
    int32_t *properties; /* (PROPERTIES, rows) */
    int32_t *open; /* 0 where a sample is absent or as a neighbour */
    int64_t rows;
    /* the network, its bytes four to a number as v_dot4 takes them: of four units, four inputs each */
    int32_t hidden_weight[MAX_HIDDEN * FEATURES / 4], hidden_bias[MAX_HIDDEN];
    int32_t output_weight[3 * MAX_HIDDEN / 4];
    int32_t *walk, inner; /* what a walk down a tree takes, and how many of its steps are no leaves */
    void *block;
} Work;

/* In place of the number of a tree's nodes: properties are not asked for. */
enum { NO_PROPERTIES = -1 };

static int work_open(Work *work, const Plane *plane, int64_t nodes)
{
    int64_t rows = (tp_most_rows(plane->height, plane->width) + PADDING) / 16 * 16 + 16;
    int properties = nodes != NO_PROPERTIES;
    int64_t arrays = 10 + (properties ? PROPERTIES : 0), walk = properties ? WALK * (2 * nodes + 1) : 0;
    int32_t *at = calloc(1, 4 * (size_t)(rows * (arrays + 1) + walk));
    if (!at)
        return FAULT_MEMORY;
    work->block = at, work->rows = rows;
    int32_t **parts[] = {&work->linear, &work->pattern, &work->correction, &work->context, &work->mean,
                         &work->prediction, &work->table, &work->folded, &work->ruled_out[0],
                         &work->ruled_out[1]};
    for (int k = 0; k < 10; k++, at += rows)
        *parts[k] = at;
    work->properties = at;
    at += properties ? PROPERTIES * rows : 0;
    work->open = at;
    work->walk = at + rows;
    int inputs = plane->references ? FEATURES : OWN_FEATURES;
    for (int j = 0; j < plane->hidden; j++) {
        int32_t sum = 0;
        for (int k = 0; k < FEATURES; k++) {
            int32_t weight = plane->hidden_weight[j * FEATURES + k];
            uint32_t place = (uint32_t)(uint8_t)weight << (8 * (k & 3));
            int at = (j / 4) * FEATURES + 4 * (k / 4) + j % 4;
            work->hidden_weight[at] = k % 4 ? work->hidden_weight[at] | (int32_t)place : (int32_t)place;
            sum += k < inputs ? weight : 0;
        }
        int32_t shift = plane->hidden_shift[j];
        /* inputs are 64 too large, so that they are never negative */
        work->hidden_bias[j] = plane->hidden_bias[j] + (((int32_t)1 << shift) >> 1) - 64 * sum;
    }
    for (int j = 0; j < 3; j++)
        for (int k = 0; k < plane->hidden; k++) {
            uint32_t place = (uint32_t)(uint8_t)plane->output_weight[j * plane->hidden + k] << (8 * (k & 3));
            int at = (j * plane->hidden + k) / 4;
            work->output_weight[at] = k % 4 ? work->output_weight[at] | (int32_t)place : (int32_t)place;
        }
    return 0;
}

/* Where the weights of a sample come from; GIVEN: what they predict is worked out already. */
enum { OF_SETS = 0, OF_ONE_SET = 1, OF_ROWS = 2, GIVEN = 3 };

INLINE void add_product(const Plane *plane, int k, V x, V set, Rows rows, const int mode, const int source, V *low,
                        V *high)
{
    V weight = source == OF_ROWS      ? v_load(rows.first + k * rows.stride)
               : source == OF_ONE_SET ? v_all(plane->weights[16 * k])
                                      : v_pick(plane->weights + 16 * k, set);
    if (mode == SUMS_OF_32_BITS)
        *low += weight * x;
    else { /* (256 h + l + 128) >> 8 = h + ((l + 128) >> 8) */
        *low += weight * (x & 255);
        *high += weight * (x >> 8);
    }
}

/* sum of weight * regressor in 1/64 steps, above base * 64, for the sets ``set`` */
INLINE V linear_sum(const Plane *plane, const V *x, V set, Rows rows, const int regressors, int far,
                    const int mode, const int source)
{
    if (mode == SUMS_OF_64_BITS) {
        V out;
        for (int lane = 0; lane < LANES; lane++) {
            int64_t sum = 1 << (WEIGHT_BITS - FRACTION_BITS - 1);
            for (int k = 0; k < regressors + far; k++)
                sum += (int64_t)x[k][lane] *
                       (source == OF_ROWS ? rows.first[k * rows.stride + lane] : plane->weights[16 * k + set[lane]]);
            sum >>= WEIGHT_BITS - FRACTION_BITS;
            int64_t most = (int64_t)1 << 29; /* far beyond what a clip to the range leaves */
            out[lane] = (int32_t)(sum < -most ? -most : sum > most ? most : sum);
        }
        return out;
    }
    V low = v_all(1 << (WEIGHT_BITS - FRACTION_BITS - 1)), high = v_all(0);
    for (int k = 0; k < regressors; k++)
        add_product(plane, k, x[k], set, rows, mode, source, &low, &high);
    for (int k = regressors; k < regressors + far; k++)
        add_product(plane, k, x[k], set, rows, mode, source, &low, &high);
    return high + (low >> (WEIGHT_BITS - FRACTION_BITS));
}

INLINE V four_bytes(V a, V b, V c, V d)
{
    return (a + (b << 8) + (c << 16) + (d << 24)) + 0x40404040;
}

/* What is known of LANES samples from cell ``at`` on before they are: section 5.1 of FORMAT.md. */
typedef struct {
    V x[REGRESSORS + FAR_TAPS]; /* regressors; far taps follow those that there are */
    V base, pattern, near, far, activity, activity_log;
} Inputs;

INLINE void inputs_of(const Plane *plane, const int32_t *own, int64_t at, int64_t pitch, const int references,
                      Inputs *in)
{
    const int32_t *o = own + at;
    V *x = in->x;
    for (int k = 0; k < OWN_TAPS; k++)
        x[k] = TAP(o, OWN_DY[k], OWN_DX[k]);
    V west = x[0], north = x[1], north_west = x[2], north_east = x[3];
    V base = (west + north + north_west + north_east + 2) >> 2;
    V pattern = -((north == north_west) + ((west == north_west) << 1) + ((north == north_east) << 2) +
                  ((x[4] == west) << 3) + ((x[5] == north) << 4) + ((west == north) << 5));
    x[OWN_TAPS] = v_median_edge(west, north, north_west) - base;
    V near = v_all(0), far = v_all(0);
    for (int k = 0; k < OWN_TAPS; k++) {
        x[k] -= base;
        if (k < 4)
            near += v_abs(x[k]);
        else
            far += v_abs(x[k]);
    }
    for (int r = 0; r < references; r++) {
        const int32_t *p = plane->reference + r * plane->reference_stride + at;
        V *y = x + OWN_REGRESSORS + r * REFERENCE_REGRESSORS;
        for (int k = 0; k < REFERENCE_TAPS; k++)
            y[k] = TAP(p, REF_DY[k], REF_DX[k]);
        V mean = (y[1] + y[2] + y[5] + y[6] + 2) >> 2;
        y[REFERENCE_TAPS] = y[0] - v_median_edge(y[1], y[2], y[5]);
        pattern -= ((y[0] == y[1]) << (6 + 2 * r)) + ((y[0] == y[2]) << (7 + 2 * r));
        for (int k = 0; k < REFERENCE_TAPS; k++)
            y[k] -= mean;
        y[REFERENCE_TAPS + 1] = v_load(plane->reference_error + r * plane->reference_stride + at);
    }
    V *far_taps = x + OWN_REGRESSORS + references * REFERENCE_REGRESSORS;
    for (int k = 0; k < plane->far; k++)
        far_taps[k] = TAP(o, FAR_DY[k], FAR_DX[k]) - base;
    in->base = base, in->pattern = pattern, in->near = near, in->far = far;
    in->activity = (near << 1) + far, in->activity_log = v_log8(in->activity);
}

INLINE V cell_of(const int32_t *thresholds, const Inputs *in)
{
    V level = -((in->activity_log >= thresholds[0]) + (in->activity_log >= thresholds[1]) +
                (in->activity_log >= thresholds[2]));
    return (level << 4) + (in->pattern & 3) + ((in->pattern >> 4) & 12);
}

/* The linear prediction in 1/64 steps: section 5.2. */
INLINE V linear_of(const Plane *plane, const Inputs *in, const int references, const int mode, const int source)
{
    const int regressors = OWN_REGRESSORS + references * REFERENCE_REGRESSORS;
    const V limit = v_all(plane->top << FRACTION_BITS);
    V set = source == OF_ONE_SET ? v_all(0) : v_gather(plane->set_of_cell, cell_of(plane->thresholds, in));
    V sum = linear_sum(plane, in->x, set, (Rows){0, 0}, regressors, 0, mode, source);
    return v_min(v_max((in->base << FRACTION_BITS) + sum, v_all(0)), limit);
}

/* The mean of samples in 1/64 steps, the integer next to it and what lies between, and the index of
   their static table: context, and phase |fraction| / 8 where the context's scale is small. */
typedef struct {
    V mean, prediction, fraction, table;
} Mean;

INLINE Mean mean_of(V linear, V correction, V context, int32_t gain, int32_t top)
{
    Mean m;
    V moved = correction * gain + (1 << (GAIN_BITS - 1));
    m.mean = v_min(v_max(linear + (moved >> GAIN_BITS), v_all(0)), v_all(top << FRACTION_BITS));
    m.prediction = (m.mean + HALF) >> FRACTION_BITS;
    m.fraction = m.mean - (m.prediction << FRACTION_BITS);
    V phased = (context << 2) + v_min(v_abs(m.fraction) >> 3, v_all(PHASES - 1));
    m.table = v_select(context < PHASED_CONTEXTS, phased, context + PHASED_CONTEXTS * (PHASES - 1));
    return m;
}

/* Errors of the linear path around. */
typedef struct {
    V error[6], size[6], wide, log, scale;
} Around;

INLINE void around_of(const int32_t *errors, int64_t at, int64_t pitch, Around *out)
{
    const int32_t *e = errors + at;
    V error[6] = {TAP(e, 0, -1), TAP(e, -1, 0), TAP(e, -1, -1), TAP(e, -1, 1), TAP(e, 0, -2), TAP(e, -2, 0)};
    for (int k = 0; k < 6; k++)
        out->error[k] = error[k], out->size[k] = v_abs(error[k]);
    out->wide = v_abs(TAP(e, -1, -2)) + v_abs(TAP(e, -2, -1)) + v_abs(TAP(e, -2, 1)) + v_abs(TAP(e, 0, -3)) +
                v_abs(TAP(e, -3, 0));
    V sum = ((out->size[0] + out->size[1]) << 1) + out->size[2] + out->size[3] + out->size[4] + out->size[5] +
            out->wide;
    out->log = v_log8(sum), out->scale = v_bit_length(sum) - 8;
}

/* The network's inputs, (FEATURES,), of which those of references are filled where there are any:
   section 5.3. */
INLINE void features_of(const Plane *plane, const Inputs *in, const Around *around, int64_t at, int64_t pitch,
                        V linear, const int references, V *f)
{
    const V *x = in->x;
    const V base = in->base, pattern = in->pattern, near = in->near, far = in->far, activity = in->activity;
    const V activity_log = in->activity_log, error_log = around->log, error_scale = around->scale;
    const V wide = around->wide, *error = around->error, *size = around->size;
    const V limit = v_all(plane->top << FRACTION_BITS), scale = v_bit_length(activity) - 9;
    Scaling of_taps = scaling_of(scale), of_sums = scaling_of(scale + FRACTION_BITS);
    Scaling of_range = scaling_of(scale + FRACTION_BITS + 1), of_errors = scaling_of(error_scale);
        for (int k = 0; k < OWN_TAPS; k++)
        f[k] = v_scaled(x[k], of_taps);
    f[16] = v_scaled(linear - (base << FRACTION_BITS), of_sums);
    f[17] = v_scaled(x[OWN_TAPS], of_taps);
    f[18] = (activity_log >> 1) - 40;
    V up = v_max(-scale - 2, v_all(0)), down = v_max(scale + 2, v_all(0));
    f[19] = v_clip((((activity >> down) << up) & 127) - 96, -63, 63);
    f[20] = v_clip(v_log8(3 * near) - v_log8(far), -63, 63);
    f[21] = v_scaled(linear, of_range);
    f[22] = v_scaled(limit - linear, of_range);
    for (int k = 0; k < 6; k++) {
        f[23 + k] = ((pattern >> k) & 1) << 5;
        f[29 + k] = v_scaled(error[k], of_errors);
        f[35 + k] = v_max(v_log8(size[k]) - error_log + 28, v_all(-63));
    }
    f[41] = v_max(v_log8(wide) - error_log + 12, v_all(-63));
    f[42] = v_min((error_log >> 1) - 50, v_all(63));
    f[43] = v_clip(error_log - activity_log - 32, -63, 63);
    f[44] = ((error_log & 7) << 3) - 28;
    f[45] = v_scaled(((base + x[0]) << FRACTION_BITS) - linear, of_errors);
    f[46] = v_scaled(((base + x[1]) << FRACTION_BITS) - linear, of_errors);
    f[47] = v_scaled(((base + x[OWN_TAPS]) << FRACTION_BITS) - linear, of_errors);
    if (references) {
        static const int8_t PICKED[8] = {0, 1, 2, 3, 4, 7, 8, 9};
        Scaling of_residuals = scaling_of(error_scale - FRACTION_BITS);
        for (int r = 0; r < references; r++) {
            const int32_t *p = plane->reference_error + r * plane->reference_stride + at;
            const V *y = x + OWN_REGRESSORS + r * REFERENCE_REGRESSORS;
            V *g = f + (r ? 65 : 48);
            V here = y[REFERENCE_TAPS + 1], left = TAP(p, 0, -1), above = TAP(p, -1, 0);
            V energy = v_abs(here) + v_abs(left) + v_abs(TAP(p, 0, 1)) + v_abs(above) + v_abs(TAP(p, 1, 0));
            energy = v_min(energy, v_all(1 << 22));
            V at_here = v_min(v_abs(here), v_all(1 << 22));
            V here_log = v_clip(v_log8(at_here << FRACTION_BITS) - error_log + 16, -63, 63);
            V energy_log = v_clip(v_log8(energy << FRACTION_BITS) - error_log, -63, 63);
            g[0] = v_all(32);
            if (r == 0) {
                for (int k = 0; k < 8; k++)
                    g[1 + k] = v_scaled(y[PICKED[k]], of_taps);
                g[9] = v_scaled(here, of_residuals);
                g[10] = v_scaled(left, of_residuals);
                g[11] = v_scaled(above, of_residuals);
                g[12] = ((pattern >> 6) & 1) << 5;
                g[13] = ((pattern >> 7) & 1) << 5;
                g[14] = here_log;
                g[15] = energy_log;
                g[16] = (v_log8(energy) >> 1) - 32;
            } else {
                g[1] = v_scaled(y[0], of_taps);
                g[2] = v_scaled(y[9], of_taps);
                g[3] = v_scaled(here, of_residuals);
                g[4] = here_log;
                g[5] = energy_log;
                g[6] = ((pattern >> 8) & 1) << 5;
            }
        }
        if (references == 1)
            for (int k = 65; k < FEATURES; k++)
                f[k] = v_all(0);
    }
}

/* Predict the n samples of a step from cell ``at`` on: linear, pattern, correction, context. */
INLINE void predict_step(const Plane *plane, const int32_t *own, const int32_t *errors, int64_t at, int64_t pitch,
                         int64_t n, Work *work, const int references, const int mode, const int source)
{
    const int inputs = references ? FEATURES : OWN_FEATURES;
    const int hidden = plane->hidden;
    for (int64_t i = 0; i < n; i += LANES) {
        Inputs in;
        inputs_of(plane, own, at + i, pitch, references, &in);
        V linear = source == GIVEN ? v_load(work->linear + i) : linear_of(plane, &in, references, mode, source);
        v_store(work->linear + i, linear);
        v_store(work->pattern + i, in.pattern);
        Around around;
        around_of(errors, at + i, pitch, &around);
        if (!hidden) {
            V level = v_clip((3 * around.log - 129) >> 3, 0, 47);
            v_store(work->context + i, 3 * level + 1);
            continue;
        }
        V f[FEATURES];
        features_of(plane, &in, &around, at + i, pitch, linear, references, f);
        V packed[FEATURES / 4];
        for (int k = 0; k < inputs; k += 4)
            packed[k / 4] = four_bytes(f[k], f[k + 1], f[k + 2], f[k + 3]);
        V outputs[3] = {v_all(0), v_all(0), v_all(0)};
        for (int j = 0; j < hidden; j += 4) {
            V unit[4];
            for (int u = 0; u < 4; u++)
                unit[u] = v_all(work->hidden_bias[j + u]);
            const int32_t *weights = work->hidden_weight + j * (FEATURES / 4);
            for (int k = 0; k < inputs / 4; k += 2, weights += 8)
                for (int u = 0; u < 4; u++)
                    unit[u] = v_dot8(unit[u], packed[k], packed[k + 1], weights[u], weights[u + 4]);
            for (int u = 0; u < 4; u++)
                unit[u] = v_clip(unit[u] >> plane->hidden_shift[j + u], 0, 127);
            V four = unit[0] + (unit[1] << 8) + (unit[2] << 16) + (unit[3] << 24);
            for (int k = 0; k < 3; k++)
                outputs[k] = v_dot4(outputs[k], four, work->output_weight[(k * hidden + j) / 4]);
        }
        for (int k = 0; k < 3; k++)
            outputs[k] = (outputs[k] + plane->output_bias[k]) >> plane->output_shift[k];
        V exponent = around.scale - 4, zero = v_all(0);
        V up = v_max(exponent, zero), down = v_max(-exponent, zero);
        V moved = v_clip(outputs[0], -2047, 2047);
        v_store(work->correction + i, ((moved << up) + ((v_all(1) << down) >> 1)) >> down);
        V spread = v_clip(outputs[1], -1023, 1023);
        V level = v_clip((3 * around.log + (spread >> 1) - 129) >> 3, 0, 47);
        v_store(work->context + i, 3 * level - (outputs[2] > -16) - (outputs[2] > 16));
    }
}

/* One function for each number of references, size of sums, and source of weights. */
typedef void Predict(const Plane *, const int32_t *, const int32_t *, int64_t, int64_t, int64_t, Work *);
#define VARIANT(name, references, mode, source)                                                                   \
    static __attribute__((noinline)) void name(const Plane *p, const int32_t *o, const int32_t *e, int64_t at,  \
                                               int64_t pitch, int64_t n, Work *w)                               \
    {                                                                                                          \
        predict_step(p, o, e, at, pitch, n, w, references, mode, source);                                         \
    }
#define VARIANTS(r)                                                                                            \
    VARIANT(predict_##r##_0_0, r, 0, 0) VARIANT(predict_##r##_0_1, r, 0, 1) VARIANT(predict_##r##_1_0, r, 1, 0)  \
    VARIANT(predict_##r##_1_1, r, 1, 1) VARIANT(predict_##r##_2_0, r, 2, 0) VARIANT(predict_##r##_2_1, r, 2, 1)  \
    VARIANT(predict_##r##_given, r, 0, GIVEN)
VARIANTS(0)
VARIANTS(1)
VARIANTS(2)
static Predict *const PREDICT[3][3][2] = {
#define ROW(r)                                                                                                 \
    {{predict_##r##_0_0, predict_##r##_0_1}, {predict_##r##_1_0, predict_##r##_1_1}, {predict_##r##_2_0, predict_##r##_2_1}}
    ROW(0), ROW(1), ROW(2)};
static Predict *const PREDICT_GIVEN[3] = {predict_0_given, predict_1_given, predict_2_given};

static int64_t largest(const int32_t *of, int64_t count)
{
    V low = v_all(0), high = v_all(0);
    for (int64_t i = 0; i < count; i += LANES) { /* up to PADDING cells too far */
        low = v_min(low, v_load(of + i));
        high = v_max(high, v_load(of + i));
    }
    int64_t out = 0;
    for (int k = 0; k < LANES; k++) {
        out = high[k] > out ? high[k] : out;
        out = -(int64_t)low[k] > out ? -(int64_t)low[k] : out;
    }
    return out;
}

/* How sums are worked out whose largest values these are: of weights and regressors; of weights and
   what 256 goes into these; and of weights and the rest. */
INLINE int mode_of(int64_t whole, int64_t high, int64_t low)
{
    return whole < 1 << 30                        ? SUMS_OF_32_BITS
           : high < 1 << 29 && low < 1 << 30 ? SUMS_IN_HALVES
                                                   : SUMS_OF_64_BITS;
}

/* The smallest sums that cannot overflow, whatever the samples of a plane are. */
static int mode_for(const Plane *plane)
{
    int64_t cells = tp_sheared_size(plane->height, plane->width) - PADDING;
    int64_t most[REGRESSORS];
    for (int k = 0; k < OWN_REGRESSORS; k++)
        most[k] = plane->top;
    for (int r = 0; r < plane->references; r++) {
        int64_t sample = 2 * largest(plane->reference + r * plane->reference_stride, cells);
        int64_t residual = largest(plane->reference_error + r * plane->reference_stride, cells);
        for (int k = 0; k < REFERENCE_REGRESSORS; k++)
            most[OWN_REGRESSORS + r * REFERENCE_REGRESSORS + k] = k <= REFERENCE_TAPS ? sample : residual;
    }
    int regressors = OWN_REGRESSORS + plane->references * REFERENCE_REGRESSORS;
    int mode = plane->least_mode;
    for (int set = 0; set < plane->sets; set++) {
        int64_t whole = 0, high = 0, low = 0;
        for (int k = 0; k < regressors; k++) {
            int64_t weight = plane->weights[16 * k + set];
            weight = weight < 0 ? -weight : weight;
            whole += weight * most[k];
            high += weight * (most[k] / 256 + 1);
            low += weight * 255;
        }
        int needs = mode_of(whole, high, low);
        mode = needs > mode ? needs : mode;
    }
    for (int k = 0; plane->memory && k < regressors; k++) { /* whichever has all of a strip's weight */
        int64_t weight = MAX_WEIGHTS_SUM;
        int needs = mode_of(weight * most[k], weight * (most[k] / 256 + 1), weight * 255);
        mode = needs > mode ? needs : mode;
    }
    return mode;
}

/* The variant for a plane. */
static Predict *predict_of(const Plane *plane)
{
    return plane->memory ? PREDICT_GIVEN[plane->references]
                         : PREDICT[plane->references][mode_for(plane)][plane->sets == 1];
}

/* After step t: repeat a row's last sample to its right, its first below left. */
INLINE void pad_edges(int32_t *sheared, int64_t t, int64_t y0, int64_t n, const Plane *plane, int64_t pitch)
{
    if (n == 0)
        return;
    if (t - SHEAR * y0 == plane->width - 1) {
        int32_t *at = sheared + tp_position(t, y0, pitch);
        for (int k = 1; k <= RIGHT; k++)
            at[k * pitch] = *at;
    }
    int64_t y = y0 + n - 1;
    if (t - SHEAR * y == 0 && y + 1 < plane->height) {
        int32_t first = sheared[tp_position(t, y, pitch)];
        int32_t *below = sheared + tp_position(t + SHEAR, y + 1, pitch);
        for (int k = 1; k <= LEFT; k++)
            below[-k * pitch] = first;
    }
}
