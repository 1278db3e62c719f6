/* Sums over a plane that its own linear weights are fitted to: see linear.py. */

enum { BATCH = 64, AROUND = 13 /* errors that one beside is compared with, as often as they count */ };

/* How often the samples of every ``stride``-th step have each logarithm of activity; (256,). */
static int plane_activities(const Plane *plane, const int32_t *own, int64_t stride, int64_t *counts)
{
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width);
    for (int64_t t = 0; t < steps; t += stride) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        int64_t at = tp_position(t, y0, pitch);
        for (int64_t i = 0; i < n; i += LANES) {
            Inputs in;
            inputs_of(plane, own, at + i, pitch, 0, &in);
            for (int64_t lane = 0; lane < LANES && i + lane < n; lane++)
                if (!(plane->mask && plane->mask[at + i + lane]))
                    counts[in.activity_log[lane] & 255]++;
        }
    }
    return 0;
}

/* Add the products of all pairs of rows, (rows, BATCH), to the upper triangle of gram. */
static void add_products(const int16_t *batch, int rows, int64_t *gram)
{
    for (int a = 0; a < rows; a++)
        for (int b = a; b < rows; b++) {
            int32_t total = 0; /* 64 * 2047^2 < 2^31 */
            for (int i = 0; i < BATCH; i++)
                total += (int32_t)batch[a * BATCH + i] * batch[b * BATCH + i];
            gram[a * rows + b] += total;
        }
}

/* value * 2^up / 2^down, clipped; up is 11 at most. The first clip is for planes that no encoder has:
   differences of samples are smaller. */
INLINE V weighed(V value, int up, V down)
{
    value = up < 0 ? value >> -up : v_clip(value, -(1 << 19), 1 << 19) << up;
    return v_clip(value >> down, -BATCH_LIMIT, BATCH_LIMIT);
}

/* Half the binary logarithm of s(s + |e|), e being a sample's error and s the sum around it: what a sample
   weighs where its error's size is known, by about as many errors, and is not. An error counts as often as
   those around do. Both together are about 64 * 13 / 20 squared of what activity is, 2^10.8: ten octaves
   are taken off, so that ``up`` suits either. */
INLINE V size_of_errors(const int32_t *errors, int64_t at, int64_t pitch)
{
    Around around;
    around_of(errors, at, pitch, &around);
    V sum = ((around.size[0] + around.size[1]) << 1) + around.size[2] + around.size[3] + around.size[4] +
            around.size[5] + around.wide;
    V total = around.log + v_log8(AROUND * v_abs(v_load(errors + at)) + sum);
    return v_clip((total - 80) >> 4, 0, 15);
}

/* Normal equations of each cell over every ``stride``-th step, all in integers. */
static int plane_equations(const Plane *plane, const int32_t *own, const Equations *equations)
{
    const int n_taps = OWN_REGRESSORS + plane->references * REFERENCE_REGRESSORS, rows = n_taps + 1;
    int16_t *batches = calloc((size_t)CELLS * rows * BATCH, sizeof(int16_t));
    if (!batches)
        return FAULT_MEMORY;
    int filled[CELLS] = {0};
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width);
    const int up = equations->up;
    double mass[16];
    for (int down = 0; down < 16; down++)
        mass[down] = ldexp(1.0, 2 * (up - down));
    for (int64_t t = 0; t < steps; t += equations->stride) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        int64_t at = tp_position(t, y0, pitch);
        for (int64_t i = 0; i < n; i += LANES) {
            Inputs in;
            inputs_of(plane, own, at + i, pitch, plane->references, &in);
            V cells = cell_of(equations->thresholds, &in), down = in.activity_log >> 4; /* half of it */
            if (equations->errors)
                down = size_of_errors(equations->errors, at + i, pitch);
            for (int k = 0; k < n_taps; k++)
                in.x[k] = weighed(in.x[k], up, down);
            V target = weighed(v_load(own + at + i) - in.base, up, down);
            for (int64_t lane = 0; lane < LANES && i + lane < n; lane++) {
                if (plane->mask && plane->mask[at + i + lane])
                    continue;
                int cell = cells[lane];
                int16_t *batch = batches + (int64_t)cell * rows * BATCH, *slot = batch + filled[cell];
                for (int k = 0; k < n_taps; k++)
                    slot[k * BATCH] = (int16_t)in.x[k][lane];
                slot[n_taps * BATCH] = (int16_t)target[lane];
                equations->counts[cell]++;
                equations->masses[cell] += mass[down[lane] & 15];
                if (++filled[cell] == BATCH) {
                    add_products(batch, rows, equations->gram + (int64_t)cell * rows * rows);
                    filled[cell] = 0;
                }
            }
        }
    }
    for (int cell = 0; cell < CELLS; cell++) {
        int16_t *batch = batches + (int64_t)cell * rows * BATCH;
        for (int k = 0; k < rows && filled[cell]; k++)
            for (int i = filled[cell]; i < BATCH; i++)
                batch[k * BATCH + i] = 0;
        if (filled[cell])
            add_products(batch, rows, equations->gram + (int64_t)cell * rows * rows);
    }
    free(batches);
    return 0;
}
