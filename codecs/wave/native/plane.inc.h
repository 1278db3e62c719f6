/* Predict the samples of a plane, a step of the wavefront at a time, and decode it so.

   Included once for each instruction set, with KERNEL the name of what it makes. Nothing here
   depends on how many lanes a vector has: every lane is a sample. */
#include <stdlib.h>

#include "kernel.h"
#include "scalar.h"
#include "vectors.h"

static const int8_t OWN_DY[OWN_TAPS] = {0, -1, -1, -1, 0, -2, -1, -2, -2, -2, -2, 0, -3, -2, -1, -3};
static const int8_t OWN_DX[OWN_TAPS] = {-1, 0, -1, 1, -2, 0, -2, -1, 1, -2, 2, -3, 0, 3, -3, -1};
static const int8_t REF_DY[REFERENCE_TAPS] = {0, 0, -1, 0, 1, -1, -1, 1, 1};
static const int8_t REF_DX[REFERENCE_TAPS] = {0, -1, 0, 1, 0, -1, 1, -1, 1};

/* From a sample's cell to that of its neighbour (dy, dx). */
#define NEXT(dy, dx) (((dx) + SHEAR * (dy)) * pitch + (dy))
#define TAP(plane, dy, dx) v_load((plane) + NEXT(dy, dx))

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
    void *block;
} Work;

static int work_open(Work *work, const Plane *plane, int properties)
{
    int64_t rows = (tp_most_rows(plane->height, plane->width) + PADDING) / 16 * 16 + 16;
    int64_t arrays = 10 + (properties ? PROPERTIES : 0);
    int32_t *at = calloc(1, (size_t)rows * 4 * (arrays + 1));
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

/* sum of weight * regressor in 1/64 steps, above base * 64, for the sets ``set`` */
INLINE V linear_sum(const Plane *plane, const V *x, V set, int regressors, const int mode, const int one)
{
    if (mode == SUMS_OF_64_BITS) {
        V out;
        for (int lane = 0; lane < LANES; lane++) {
            int64_t sum = 1 << (WEIGHT_BITS - FRACTION_BITS - 1);
            for (int k = 0; k < regressors; k++)
                sum += (int64_t)plane->weights[16 * k + set[lane]] * x[k][lane];
            sum >>= WEIGHT_BITS - FRACTION_BITS;
            int64_t most = (int64_t)1 << 29; /* far beyond what a clip to the range leaves */
            out[lane] = (int32_t)(sum < -most ? -most : sum > most ? most : sum);
        }
        return out;
    }
    V low = v_all(1 << (WEIGHT_BITS - FRACTION_BITS - 1)), high = v_all(0);
    for (int k = 0; k < regressors; k++) {
        V weight = one ? v_all(plane->weights[16 * k]) : v_pick(plane->weights + 16 * k, set);
        if (mode == SUMS_OF_32_BITS)
            low += weight * x[k];
        else { /* (256 h + l + 128) >> 8 = h + ((l + 128) >> 8) */
            low += weight * (x[k] & 255);
            high += weight * (x[k] >> 8);
        }
    }
    return high + (low >> (WEIGHT_BITS - FRACTION_BITS));
}

INLINE V four_bytes(V a, V b, V c, V d)
{
    return (a + (b << 8) + (c << 16) + (d << 24)) + 0x40404040;
}

/* Predict the n samples of a step from cell ``at`` on: linear, pattern, correction, context. */
INLINE void predict_step(const Plane *plane, const int32_t *own, const int32_t *errors, int64_t at, int64_t pitch,
                         int64_t n, Work *work, const int references, const int mode, const int one)
{
    const int regressors = OWN_REGRESSORS + references * REFERENCE_REGRESSORS;
    const int inputs = references ? FEATURES : OWN_FEATURES;
    const int hidden = plane->hidden;
    const V limit = v_all(plane->top << FRACTION_BITS);
    for (int64_t i = 0; i < n; i += LANES) {
        const int32_t *o = own + at + i, *e = errors + at + i;
        V x[REGRESSORS];
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
        V activity = (near << 1) + far, activity_log = v_log8(activity);
        for (int r = 0; r < references; r++) {
            const int32_t *p = plane->reference + r * plane->reference_stride + at + i;
            V *y = x + OWN_REGRESSORS + r * REFERENCE_REGRESSORS;
            for (int k = 0; k < REFERENCE_TAPS; k++)
                y[k] = TAP(p, REF_DY[k], REF_DX[k]);
            V mean = (y[1] + y[2] + y[5] + y[6] + 2) >> 2;
            y[REFERENCE_TAPS] = y[0] - v_median_edge(y[1], y[2], y[5]);
            pattern -= ((y[0] == y[1]) << (6 + 2 * r)) + ((y[0] == y[2]) << (7 + 2 * r));
            for (int k = 0; k < REFERENCE_TAPS; k++)
                y[k] -= mean;
            y[REFERENCE_TAPS + 1] = v_load(plane->reference_error + r * plane->reference_stride + at + i);
        }
        V set = v_all(0);
        if (!one) {
            V level = -((activity_log >= plane->thresholds[0]) + (activity_log >= plane->thresholds[1]) +
                        (activity_log >= plane->thresholds[2]));
            set = v_gather(plane->set_of_cell, (level << 4) + (pattern & 3) + ((pattern >> 4) & 12));
        }
        V linear = (base << FRACTION_BITS) + linear_sum(plane, x, set, regressors, mode, one);
        linear = v_min(v_max(linear, v_all(0)), limit);
        v_store(work->linear + i, linear);
        v_store(work->pattern + i, pattern);

        V error[6] = {TAP(e, 0, -1), TAP(e, -1, 0), TAP(e, -1, -1), TAP(e, -1, 1), TAP(e, 0, -2), TAP(e, -2, 0)};
        V size[6];
        for (int k = 0; k < 6; k++)
            size[k] = v_abs(error[k]);
        V wide = v_abs(TAP(e, -1, -2)) + v_abs(TAP(e, -2, -1)) + v_abs(TAP(e, -2, 1)) + v_abs(TAP(e, 0, -3)) +
                 v_abs(TAP(e, -3, 0));
        V around = ((size[0] + size[1]) << 1) + size[2] + size[3] + size[4] + size[5] + wide;
        V error_log = v_log8(around);
        if (!hidden) {
            V level = v_clip((3 * error_log - 129) >> 3, 0, 47);
            v_store(work->context + i, 3 * level + 1);
            continue;
        }
        V error_scale = v_bit_length(around) - 8, scale = v_bit_length(activity) - 9;
        Scaling of_taps = scaling_of(scale), of_sums = scaling_of(scale + FRACTION_BITS);
        Scaling of_range = scaling_of(scale + FRACTION_BITS + 1), of_errors = scaling_of(error_scale);
        V f[FEATURES];
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
                const int32_t *p = plane->reference_error + r * plane->reference_stride + at + i;
                V *y = x + OWN_REGRESSORS + r * REFERENCE_REGRESSORS, *g = f + (r ? 65 : 48);
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
        V exponent = error_scale - 4, zero = v_all(0);
        up = v_max(exponent, zero), down = v_max(-exponent, zero);
        V moved = v_clip(outputs[0], -2047, 2047);
        v_store(work->correction + i, ((moved << up) + ((v_all(1) << down) >> 1)) >> down);
        V spread = v_clip(outputs[1], -1023, 1023);
        V level = v_clip((3 * error_log + (spread >> 1) - 129) >> 3, 0, 47);
        v_store(work->context + i, 3 * level - (outputs[2] > -16) - (outputs[2] > 16));
    }
}

/* One function for each number of references, size of sums, and for one set of weights or more. */
typedef void Predict(const Plane *, const int32_t *, const int32_t *, int64_t, int64_t, int64_t, Work *);
#define VARIANT(name, references, mode, one)                                                                   \
    static __attribute__((noinline)) void name(const Plane *p, const int32_t *o, const int32_t *e, int64_t at,  \
                                               int64_t pitch, int64_t n, Work *w)                               \
    {                                                                                                          \
        predict_step(p, o, e, at, pitch, n, w, references, mode, one);                                         \
    }
#define VARIANTS(r)                                                                                            \
    VARIANT(predict_##r##_0_0, r, 0, 0) VARIANT(predict_##r##_0_1, r, 0, 1) VARIANT(predict_##r##_1_0, r, 1, 0)  \
    VARIANT(predict_##r##_1_1, r, 1, 1) VARIANT(predict_##r##_2_0, r, 2, 0) VARIANT(predict_##r##_2_1, r, 2, 1)
VARIANTS(0)
VARIANTS(1)
VARIANTS(2)
static Predict *const PREDICT[3][3][2] = {
#define ROW(r)                                                                                                 \
    {{predict_##r##_0_0, predict_##r##_0_1}, {predict_##r##_1_0, predict_##r##_1_1}, {predict_##r##_2_0, predict_##r##_2_1}}
    ROW(0), ROW(1), ROW(2)};

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

/* The variant for a plane: the smallest sums that cannot overflow, whatever its samples are. */
static Predict *predict_of(const Plane *plane)
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
        int needs = whole < 1 << 30 ? SUMS_OF_32_BITS
                    : high < 1 << 29 && low < 1 << 30 ? SUMS_IN_HALVES
                                                      : SUMS_OF_64_BITS;
        mode = needs > mode ? needs : mode;
    }
    return PREDICT[plane->references][mode][plane->sets == 1];
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

/* Predict a plane whose samples are known; errors begin as zeros. */
static int predict_plane(const Plane *plane, const int32_t *own, int32_t *errors, Found *found)
{
    Work work;
    int fault = work_open(&work, plane, 0);
    if (fault)
        return fault;
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width);
    Predict *predict = predict_of(plane);
    int64_t count = 0;
    found->looked_at = found->matching = 0;
    for (int64_t t = 0; t < steps; t++) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        int64_t at = tp_position(t, y0, pitch);
        found->begins[t] = count;
        if (n <= 0)
            continue;
        predict(plane, own, errors, at, pitch, n, &work);
        const int32_t *row = own + at, *west = row + NEXT(0, -1), *north = row + NEXT(-1, 0);
        for (int64_t i = 0; i < n; i++) {
            int absent = plane->mask && plane->mask[at + i];
            errors[at + i] = absent ? 0 : (int32_t)((uint32_t)row[i] << FRACTION_BITS) - work.linear[i];
            found->linears[count] = work.linear[i];
            found->corrections[count] = work.correction[i];
            found->contexts[count] = work.context[i];
            found->patterns[count] = work.pattern[i];
            found->sample[count] = row[i];
            found->west[count] = west[i];
            found->north[count] = north[i];
            count += !absent;
            if (t % 4 == 0 && !absent) {
                found->looked_at++;
                found->matching += (row[i] == west[i]) | (row[i] == north[i]);
            }
        }
        pad_edges(errors, t, y0, n, plane, pitch);
    }
    found->begins[steps] = found->count = count;
    free(work.block);
    return 0;
}

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

static void step_leaves(const Stream *stream, int64_t n, Work *work)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t node = 0;
        while (node >= 0) {
            const int32_t *asked = stream->nodes + 4 * node;
            node = asked[2 + (work->properties[asked[0] * work->rows + i] > asked[1])];
        }
        work->pattern[i] = ~node;
    }
}

INLINE uint32_t read_raw(const uint8_t *raw, int64_t bytes, int64_t at, int count)
{
    int64_t byte = at >> 3;
    uint32_t value = 0;
    if (byte + 4 <= bytes)
        memcpy(&value, raw + byte, 4);
    else
        for (int k = 0; byte + k < bytes; k++)
            value |= (uint32_t)raw[byte + k] << (8 * k);
    return (value >> (at & 7)) & (((uint32_t)1 << count) - 1);
}

/* The mean of each sample of a step, the integer next to it, and the model's table. */
INLINE void step_means(const Plane *plane, const Stream *stream, int64_t n, Work *work)
{
    V limit = v_all(plane->top << FRACTION_BITS), zero = v_all(0);
    for (int64_t i = 0; i < n; i += LANES) {
        V moved = v_load(work->correction + i) * stream->gain + (1 << (GAIN_BITS - 1));
        V mean = v_min(v_max(v_load(work->linear + i) + (moved >> GAIN_BITS), zero), limit);
        V prediction = (mean + HALF) >> FRACTION_BITS, fraction = mean - (prediction << FRACTION_BITS);
        V context = v_load(work->context + i);
        V phased = (context << 2) + v_min(v_abs(fraction) >> 3, v_all(PHASES - 1));
        V table = v_select(context < PHASED_CONTEXTS, phased, context + PHASED_CONTEXTS * (PHASES - 1));
        v_store(work->mean + i, mean);
        v_store(work->prediction + i, prediction);
        v_store(work->table + i, v_gather(stream->table_map, table));
    }
}

/* Unfold a step's residuals to samples; returns whether one is out of range. */
INLINE int step_samples(const Plane *plane, int64_t n, int some, int32_t *row, int32_t *error, Work *work)
{
    V wrong = v_all(0);
    for (int64_t i = 0; i < n; i += LANES) {
        V folded = v_load(work->folded + i), down = v_load(work->prediction + i), up = plane->top - down;
        V flip = v_load(work->mean + i) - (down << FRACTION_BITS) < 0;
        V least = v_min(up, down);
        /* one direction is left beyond the nearer border: that of the other */
        V far = v_select(down > up, least - folded, folded - least);
        V sign = -(folded & 1), near = ((folded + 1) >> 1);
        near = v_select(sign ^ flip, near, -near);
        V value = down + v_select(folded > 2 * least, far, near);
        V there = v_all(-1);
        if (some) {
            there = v_load(work->open + i) != 0;
            value = v_select(there, value, v_load(row + i));
        }
        V lane = {0, 1, 2, 3,
#if LANES > 4
                  4, 5, 6, 7,
#endif
#if LANES > 8
                  8, 9, 10, 11, 12, 13, 14, 15,
#endif
        };
        V inside = (lane + (int32_t)i) < (int32_t)n;
        wrong |= inside & there & ((value < 0) | (value > plane->top));
        V difference = (value << FRACTION_BITS) - v_load(work->linear + i);
        v_store(row + i, v_select(inside, value, v_load(row + i)));
        v_store(error + i, v_select(inside & there, difference, v_load(error + i)));
    }
    int any = 0;
    for (int k = 0; k < LANES; k++)
        any |= wrong[k];
    return any;
}

/* Decode a plane; own begins as ``first`` everywhere, errors as zeros. Returns 0 or a fault. */
static int decode_plane(const Plane *plane, const Stream *stream, int32_t *own, int32_t *errors)
{
    Work work;
    int fault = work_open(&work, plane, stream->node_count > 0);
    if (fault)
        return fault;
    const int32_t top = plane->top;
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width);
    Predict *predict = predict_of(plane);
    uint32_t states[32];
    const int64_t lanes = stream->lanes;
    for (int64_t k = 0; k < lanes; k++)
        states[k] = stream->states[k];
    int64_t lane = 0, word_at = 0, bit_at = 0, words = stream->word_count, bits = 8 * stream->raw_bytes;
    int flagged = 0;
    for (int k = 0; k < 2 * MATCH_CONTEXTS; k++)
        flagged |= stream->flags[k] > 0;
    uint8_t wanted[PROPERTIES] = {0};
    for (int64_t k = 0; k < stream->node_count; k++)
        wanted[stream->nodes[4 * k]] = 1;
    const uint32_t slot_mask = ((uint32_t)1 << TABLE_BITS) - 1;
#define REFILL()                                                                                               \
    if (state < STATE_LOW) {                                                                                   \
        if (word_at >= words) {                                                                                \
            fault = FAULT_WORDS;                                                                               \
            goto done;                                                                                         \
        }                                                                                                      \
        state = (state << 16) | stream->words[word_at++];                                                      \
    }                                                                                                          \
    states[lane] = state;                                                                                      \
    lane = lane + 1 < lanes ? lane + 1 : 0;
    for (int64_t t = 0; t < steps; t++) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        if (n <= 0)
            continue;
        int64_t at = tp_position(t, y0, pitch);
        predict(plane, own, errors, at, pitch, n, &work);
        int32_t *row = own + at, *error = errors + at;
        const int32_t *west = row + NEXT(0, -1), *north = row + NEXT(-1, 0);
        const uint8_t *absent = plane->mask ? plane->mask + at : 0;
        step_means(plane, stream, n, &work);
        if (stream->node_count) {
            step_properties(plane, own, errors, at, pitch, n, wanted, &work);
            step_leaves(stream, n, &work);
            for (int64_t i = 0; i < n; i++) {
                int32_t own_table = stream->leaf_tables[work.pattern[i]];
                work.table[i] = own_table ? (int32_t)stream->table_count - 1 + own_table : work.table[i];
            }
        }
        if (absent || flagged) {
            for (int64_t i = 0; i < n; i++) {
                work.open[i] = !(absent && absent[i]);
                if (!work.open[i])
                    row[i] = (west[i] + north[i] + 1) >> 1;
                work.ruled_out[0][i] = work.ruled_out[1][i] = -1;
            }
        }
        for (int kind = 0; flagged && kind < 2; kind++) {
            const int32_t *neighbour = kind ? north : west;
            for (int64_t i = 0; i < n; i++) {
                uint32_t p = (uint32_t)stream->flags[kind * MATCH_CONTEXTS + work.pattern[i]];
                if (p == 0 || !work.open[i] || (kind && west[i] == north[i]))
                    continue;
                uint32_t state = states[lane], slot = state & slot_mask;
                int same = slot < p;
                state = same ? p * (state >> TABLE_BITS) + slot
                             : (32768 - p) * (state >> TABLE_BITS) + slot - p;
                REFILL()
                if (same) {
                    row[i] = neighbour[i];
                    error[i] = (int32_t)((uint32_t)neighbour[i] << FRACTION_BITS) - work.linear[i];
                    work.open[i] = 0;
                } else {
                    int32_t pred = work.prediction[i];
                    int flip = work.mean[i] - pred * ONE < 0;
                    work.ruled_out[kind][i] = tp_fold(neighbour[i] - pred, top - pred, pred, flip);
                }
            }
        }
        for (int64_t i = 0; i < n; i++) {
            if ((absent || flagged) && !work.open[i])
                continue;
            int32_t table = work.table[i];
            uint32_t state = states[lane], slot = state & slot_mask;
            const int32_t *starts = stream->cumulative + (int64_t)table * (TOKENS + 2);
            int32_t token = stream->lookup[256 * (int64_t)table + (slot >> (TABLE_BITS - 8))];
            while ((uint32_t)starts[token + 1] <= slot)
                token++;
            uint32_t start = (uint32_t)starts[token];
            state = ((uint32_t)starts[token + 1] - start) * (state >> TABLE_BITS) + slot - start;
            REFILL()
            if (token == stream->used[table]) {
                if (bit_at + ESCAPE_BITS > bits) {
                    fault = FAULT_RAW;
                    goto done;
                }
                token = (int32_t)read_raw(stream->raw, stream->raw_bytes, bit_at, ESCAPE_BITS);
                bit_at += ESCAPE_BITS;
                if (token >= TOKENS) {
                    fault = FAULT_TOKEN;
                    goto done;
                }
            }
            int32_t folded = token;
            if (token >= 16) {
                int extra = tp_extra_bits(token);
                if (bit_at + extra > bits) {
                    fault = FAULT_RAW;
                    goto done;
                }
                folded = ((4 + ((token - 16) & 3)) << extra) +
                         (int32_t)read_raw(stream->raw, stream->raw_bytes, bit_at, extra);
                bit_at += extra;
            }
            if (flagged) {
                int32_t low = work.ruled_out[0][i], high = work.ruled_out[1][i];
                if (high >= 0 && (low < 0 || high < low)) {
                    int32_t swap = low;
                    low = high, high = swap;
                }
                folded += low >= 0 && folded >= low;
                folded += high >= 0 && folded >= high;
            }
            work.folded[i] = folded;
        }
        if (step_samples(plane, n, absent || flagged, row, error, &work)) {
            fault = FAULT_SAMPLE;
            goto done;
        }
        pad_edges(own, t, y0, n, plane, pitch);
        pad_edges(errors, t, y0, n, plane, pitch);
    }
    if (word_at != words || bit_at + 8 <= bits)
        fault = FAULT_LEFT;
    for (int64_t k = 0; k < lanes; k++)
        if (states[k] != STATE_LOW)
            fault = FAULT_LEFT;
done:
    free(work.block);
    return fault;
}

const Kernel KERNEL = {decode_plane, predict_plane};
