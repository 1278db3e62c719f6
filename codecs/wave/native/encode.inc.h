/* What an encoder asks of a plane whose samples are known. */

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

/* What the samples of step t were predicted to be, to the rows of work. */
static void load_predicted(const Plane *plane, const Predicted *predicted, int64_t t, int64_t at, int64_t n,
                           Work *work)
{
    int64_t j = predicted->begins[t];
    for (int64_t i = 0; i < n; i++) {
        if (plane->mask && plane->mask[at + i])
            continue;
        work->context[i] = predicted->contexts[j], work->mean[i] = predicted->means[j++];
        work->prediction[i] = (work->mean[i] + HALF) >> FRACTION_BITS;
    }
}

/* Properties, (known, count), of the samples of every ``stride``-th step, and which those are. */
static int plane_properties(const Plane *plane, const int32_t *own, const int32_t *errors,
                            const Predicted *predicted, int64_t stride, int64_t count, int32_t *out, int64_t *picked)
{
    Work work;
    int fault = work_open(&work, plane, 1);
    if (fault)
        return fault;
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width), m = 0;
    int known = OWN_PROPERTIES + REFERENCE_PROPERTIES * plane->references;
    uint8_t wanted[PROPERTIES];
    for (int k = 0; k < PROPERTIES; k++)
        wanted[k] = k < known;
    for (int64_t t = 0; t < steps; t += stride) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        int64_t at = tp_position(t, y0, pitch), j = predicted->begins[t];
        load_predicted(plane, predicted, t, at, n, &work);
        step_properties(plane, own, errors, at, pitch, n, wanted, &work);
        for (int64_t i = 0; i < n; i++) {
            if (plane->mask && plane->mask[at + i])
                continue;
            for (int k = 0; k < known; k++)
                out[k * count + m] = work.properties[k * work.rows + i];
            picked[m++] = j++;
        }
    }
    free(work.block);
    return 0;
}

/* The leaf of every sample. */
static int plane_leaves(const Plane *plane, const int32_t *own, const int32_t *errors, const Predicted *predicted,
                        const int32_t *nodes, int64_t node_count, int32_t *out)
{
    Work work;
    int fault = work_open(&work, plane, 1);
    if (fault)
        return fault;
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width), m = 0;
    uint8_t wanted[PROPERTIES] = {0};
    for (int64_t k = 0; k < node_count; k++)
        wanted[nodes[4 * k]] = 1;
    for (int64_t t = 0; t < steps; t++) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        int64_t at = tp_position(t, y0, pitch);
        load_predicted(plane, predicted, t, at, n, &work);
        step_properties(plane, own, errors, at, pitch, n, wanted, &work);
        step_leaves(nodes, n, &work);
        for (int64_t i = 0; i < n; i++)
            if (!(plane->mask && plane->mask[at + i]))
                out[m++] = work.pattern[i];
    }
    free(work.block);
    return 0;
}

/* The network's inputs, (samples, FEATURES), of every sample in coding order; and facts, (samples, 3):
   the error of the linear path in 1/64 steps, exponent and logarithm of the errors around. For
   training; errors begin as zeros. */
static int plane_features(const Plane *plane, const int32_t *own, int32_t *errors, int8_t *out, int32_t *facts)
{
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width);
    for (int64_t t = 0; t < steps; t++) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        int64_t at = tp_position(t, y0, pitch);
        for (int64_t i = 0; i < n; i += LANES) {
            Inputs in;
            Around around;
            V f[FEATURES] = {v_all(0)};
            inputs_of(plane, own, at + i, pitch, plane->references, &in);
            around_of(errors, at + i, pitch, &around);
            V linear = linear_of(plane, &in, plane->references, SUMS_OF_64_BITS, 0);
            features_of(plane, &in, &around, at + i, pitch, linear, plane->references, f);
            for (int64_t lane = 0; lane < LANES && i + lane < n; lane++, out += FEATURES, facts += 3) {
                for (int k = 0; k < FEATURES; k++)
                    out[k] = (int8_t)f[k][lane];
                facts[0] = (int32_t)((uint32_t)own[at + i + lane] << FRACTION_BITS) - linear[lane];
                facts[1] = around.scale[lane], facts[2] = around.log[lane];
            }
        }
        for (int64_t i = 0; i < n; i++)
            errors[at + i] = facts[3 * (i - n)];
        pad_edges(errors, t, y0, n, plane, pitch);
    }
    return 0;
}

INLINE V fold(V residual, V up, V down, V flip)
{
    V least = v_min(up, down), size = v_abs(residual);
    V near = (size << 1) + ((residual != 0) & ((residual > 0) ^ flip)); /* less one where it is positive */
    return v_select(size > least, size + least, near);
}

/* Tables, (n,), folded residuals, (n,), and, unless null, those of west and north, (2, n). */
static void plane_fold(const int32_t *linears, const int32_t *corrections, const int32_t *contexts,
                       const int32_t *const *samples, int64_t n, int32_t gain, int32_t top, int16_t *tables,
                       int32_t *folded, int32_t *candidates)
{
    const int kinds = candidates ? 3 : 1;
    for (int64_t i = 0; i < n; i += LANES) {
        int32_t room[6][LANES] = {{0}};
        int64_t some = n - i < LANES ? n - i : LANES;
        const int32_t *from[6] = {linears + i, corrections + i, contexts + i, samples[0] + i, samples[1] + i,
                                  samples[2] + i};
        for (int k = 0; some < LANES && k < 3 + kinds; k++) {
            memcpy(room[k], from[k], 4 * (size_t)some);
            from[k] = room[k];
        }
        Mean m = mean_of(v_load(from[0]), v_load(from[1]), v_load(from[2]), gain, top);
        V down = m.prediction, up = top - down, flip = m.fraction < 0, out[3];
        for (int k = 0; k < kinds; k++)
            out[k] = fold(v_load(from[3 + k]) - down, up, down, flip);
        for (int64_t lane = 0; lane < some; lane++)
            tables[i + lane] = (int16_t)m.table[lane];
        for (int k = 0; k < kinds; k++)
            memcpy((k ? candidates + (k - 1) * n : folded) + i, &out[k], 4 * (size_t)some);
    }
}
