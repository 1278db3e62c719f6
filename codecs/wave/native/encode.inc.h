/* What an encoder asks of a plane whose samples are known. */

/* Add what is known of the n samples of a step that are there; returns how many those are. */
static int64_t add_found(const Plane *plane, const int32_t *row, int64_t pitch, int64_t at, int64_t n,
                         const Work *work, Found *found)
{
    const int32_t *from[7] = {work->linear, work->correction, work->context, work->pattern,
                              row, row + NEXT(0, -1), row + NEXT(-1, 0)};
    int32_t *to[7] = {found->linears, found->corrections, found->contexts, found->patterns,
                      found->sample, found->west, found->north};
    int64_t there = n;
    for (int k = 0; k < 7; k++) {
        int32_t *out = to[k] + found->count;
        if (!plane->mask) {
            memcpy(out, from[k], sizeof(int32_t) * (size_t)n);
            continue;
        }
        there = 0;
        for (int64_t i = 0; i < n; i++) /* what is absent is written, too, and then over */
            out[there] = from[k][i], there += !plane->mask[at + i];
    }
    found->count += there;
    return there;
}

/* Predict a plane whose samples are known; errors begin as zeros. */
static int predict_plane(const Plane *plane, const int32_t *own, int32_t *errors, Found *found)
{
    Work work;
    Blocks blocks;
    int fault = work_open(&work, plane, NO_PROPERTIES);
    if (fault)
        return fault;
    if (blocks_open(&blocks, plane)) {
        free(work.block);
        return FAULT_MEMORY;
    }
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width);
    Predict *predict = predict_of(plane);
    found->count = found->looked_at = found->matching = 0;
    for (int64_t t = 0; t < steps; t++) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        int64_t at = tp_position(t, y0, pitch);
        found->begins[t] = found->count;
        if (plane->memory)
            blocks_predict(&blocks, plane, own, t, y0, n, at, pitch, work.linear);
        if (n <= 0)
            continue;
        predict(plane, own, errors, at, pitch, n, &work);
        for (int64_t i = 0; i < n; i++)
            errors[at + i] = (int32_t)((uint32_t)own[at + i] << FRACTION_BITS) - work.linear[i];
        int64_t there = add_found(plane, own + at, pitch, at, n, &work, found);
        if (t % LOOK_STRIDE == 0) {
            found->looked_at += there;
            for (int64_t i = found->count - there; i < found->count; i++)
                found->matching += (found->sample[i] == found->west[i]) | (found->sample[i] == found->north[i]);
        }
        for (int64_t i = 0; plane->mask && i < n; i++)
            if (plane->mask[at + i])
                errors[at + i] = 0;
        pad_edges(errors, t, y0, n, plane, pitch);
        if (plane->memory)
            blocks_take(&blocks, plane, own, t, pitch);
    }
    found->begins[steps] = found->count;
    free(blocks.block);
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

/* Move what a step's rows say of the samples that are there together; returns how many those are. */
static int64_t close_ranks(const Plane *plane, int64_t at, int64_t n, int known, Work *work)
{
    if (!plane->mask)
        return n;
    int64_t there = 0;
    for (int64_t i = 0; i < n; i++) {
        if (plane->mask[at + i])
            continue;
        for (int k = 0; k < known; k++)
            work->properties[k * work->rows + there] = work->properties[k * work->rows + i];
        there++;
    }
    return there;
}

/* All properties of the samples of step t that are there; returns how many those are. */
static int64_t load_properties(const Plane *plane, const int32_t *own, const int32_t *errors,
                               const Predicted *predicted, int64_t t, Work *work)
{
    static const uint8_t ALL[PROPERTIES] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    int64_t pitch = tp_pitch(plane->height, plane->width);
    int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
    int64_t at = tp_position(t, y0, pitch);
    load_predicted(plane, predicted, t, at, n, work);
    step_properties(plane, own, errors, at, pitch, n, ALL, work);
    return close_ranks(plane, at, n, OWN_PROPERTIES + REFERENCE_PROPERTIES * plane->references, work);
}

/* Of the samples of every ``stride``-th step, every ``every``-th: properties, (known, count), and
   which those are. */
static int plane_properties(const Plane *plane, const int32_t *own, const int32_t *errors,
                            const Predicted *predicted, int64_t stride, int64_t every, int64_t count, int32_t *out,
                            int64_t *picked)
{
    Work work;
    int fault = work_open(&work, plane, 0);
    if (fault)
        return fault;
    int64_t steps = tp_steps(plane->height, plane->width), m = 0, next = 0;
    int known = OWN_PROPERTIES + REFERENCE_PROPERTIES * plane->references;
    for (int64_t t = 0; t < steps; t += stride) {
        int64_t n = load_properties(plane, own, errors, predicted, t, &work);
        for (; next < n; next += every, m++) {
            for (int k = 0; k < known; k++)
                out[k * count + m] = work.properties[k * work.rows + next];
            picked[m] = predicted->begins[t] + next;
        }
        next -= n;
    }
    free(work.block);
    return 0;
}

/* How many edges of a property lie below a value, for the values from the first edge on; what is
   below the first or above the last is as these are. */
enum { LOOKUP = 4096 };

typedef struct {
    const int32_t *edges;
    int32_t count, first, span; /* span: of the lookup, or -1 where edges are too far apart */
    uint8_t below[LOOKUP + 1];
} Binning;

static void binning_open(Binning *b, const int32_t *edges, int32_t count)
{
    int64_t span = count ? (int64_t)edges[count - 1] - edges[0] + 1 : 0;
    b->edges = edges, b->count = count, b->first = count ? edges[0] : 0;
    b->span = span <= LOOKUP ? (int32_t)span : -1;
    int32_t passed = 0;
    for (int32_t k = 0; k <= b->span; k++) {
        while (passed < count && edges[passed] - b->first < k)
            passed++;
        b->below[k] = (uint8_t)passed;
    }
}

/* Bins of values, (n,), to one byte of each example. */
static void fill_bins(const Binning *b, const int32_t *values, int64_t n, uint8_t *out)
{
    const int32_t first = b->first, last = b->first + b->span;
    const uint8_t *below = b->below;
    for (int64_t i = 0; b->span >= 0 && i < n; i++, out += sizeof(Example))
        *out = below[tp_min(tp_max(values[i], first), last) - first];
    for (int64_t i = 0; b->span < 0 && i < n; i++, out += sizeof(Example)) {
        int32_t count = 0;
        for (int32_t k = 0; k < b->count; k++)
            count += b->edges[k] < values[i];
        *out = (uint8_t)count;
    }
}

/* The symbols of n samples from ``first`` on, and what they cost by the model's tables. */
static void fill_symbols(const Examined *examined, int64_t first, int64_t n, Example *out)
{
    const int32_t *candidates = examined->candidates;
    for (int64_t i = first; i < first + n; i++, out++) {
        int32_t z = examined->folded[i], token = tp_token_of(z);
        const int32_t *row = examined->costs + TOKENS * examined->tables[i];
        out->plain = (uint16_t)row[token], out->left = 0;
        if (candidates) {
            int32_t west = candidates[i], north = candidates[examined->samples + i];
            if (z == west || z == north) {
                out->symbol = z != west;
                continue;
            }
            token = tp_token_of(z - (z > west) - (north != west && z > north));
        }
        out->symbol = (uint8_t)(2 + token), out->left = (uint16_t)row[token];
    }
}

/* The samples of every ``stride``-th step as examples. */
static int plane_examples(const Plane *plane, const int32_t *own, const int32_t *errors, const Predicted *predicted,
                          int64_t stride, const Examined *examined, Example *out)
{
    Work work;
    int fault = work_open(&work, plane, 0);
    if (fault)
        return fault;
    int64_t steps = tp_steps(plane->height, plane->width);
    int known = OWN_PROPERTIES + REFERENCE_PROPERTIES * plane->references;
    Binning *binnings = malloc(sizeof(Binning) * (size_t)known);
    if (!binnings) {
        free(work.block);
        return FAULT_MEMORY;
    }
    for (int k = 0; k < known; k++)
        binning_open(binnings + k, examined->edges + k * BINS, examined->edge_counts[k]);
    for (int64_t t = 0; t < steps; t += stride) {
        int64_t n = load_properties(plane, own, errors, predicted, t, &work);
        for (int k = 0; k < known; k++)
            fill_bins(binnings + k, work.properties + k * work.rows, n, &out->bin[k]);
        fill_symbols(examined, predicted->begins[t], n, out);
        out += n;
    }
    free(binnings), free(work.block);
    return 0;
}

/* The leaf of every sample. */
static int plane_leaves(const Plane *plane, const int32_t *own, const int32_t *errors, const Predicted *predicted,
                        const int32_t *nodes, int64_t node_count, int32_t *out)
{
    Work work;
    int fault = work_open(&work, plane, node_count);
    if (fault)
        return fault;
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width), m = 0;
    uint8_t wanted[PROPERTIES] = {0};
    prepare_walk(nodes, node_count, wanted, &work);
    for (int64_t t = 0; t < steps; t++) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        int64_t at = tp_position(t, y0, pitch);
        load_predicted(plane, predicted, t, at, n, &work);
        step_properties(plane, own, errors, at, pitch, n, wanted, &work);
        step_leaves(n, &work);
        for (int64_t i = 0; plane->mask && i < n; i++)
            if (!plane->mask[at + i])
                out[m++] = work.pattern[i];
        if (!plane->mask) {
            memcpy(out + m, work.pattern, sizeof(int32_t) * (size_t)n);
            m += n;
        }
    }
    free(work.block);
    return 0;
}

/* The network's inputs, (samples, FEATURES), of every sample in coding order; and facts, (samples, 3):
   the error of the linear path in 1/64 steps, exponent and logarithm of the errors around. For
   training; errors begin as zeros. */
static int plane_features(const Plane *plane, const int32_t *own, int32_t *errors, int8_t *out, int32_t *facts)
{
    Blocks blocks;
    if (blocks_open(&blocks, plane))
        return FAULT_MEMORY;
    int64_t pitch = tp_pitch(plane->height, plane->width), steps = tp_steps(plane->height, plane->width);
    for (int64_t t = 0; t < steps; t++) {
        int64_t y0 = tp_first_row(t, plane->width), n = tp_end_row(t, plane->height) - y0;
        int64_t at = tp_position(t, y0, pitch);
        if (plane->memory)
            blocks_predict(&blocks, plane, own, t, y0, n, at, pitch, blocks.linear);
        for (int64_t i = 0; i < n; i += LANES) {
            Inputs in;
            Around around;
            V f[FEATURES] = {v_all(0)};
            inputs_of(plane, own, at + i, pitch, plane->references, &in);
            around_of(errors, at + i, pitch, &around);
            V linear = plane->memory ? v_load(blocks.linear + i)
                                     : linear_of(plane, &in, plane->references, SUMS_OF_64_BITS, OF_SETS);
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
        if (plane->memory)
            blocks_take(&blocks, plane, own, t, pitch);
    }
    free(blocks.block);
    return 0;
}

/* n numbers, LANES at most, and zeros. */
INLINE V load_some(const int32_t *from, int64_t n)
{
    V out = {0};
    if (n >= LANES)
        return v_load(from);
    memcpy(&out, from, 4 * (size_t)n);
    return out;
}

/* About what the residuals of every ``stride``-th step cost with each gain, (gain_count,) of MOST_GAINS,
   in eighths of a bit: by logarithms, for by squares few samples would decide where most are nearly
   exact. An error counts as no less than a quarter of a step. */
static void plane_gain_costs(const int32_t *linears, const int32_t *corrections, const int32_t *sample,
                             const int64_t *begins, int64_t steps, int64_t stride, const int32_t *gains,
                             int32_t gain_count, int64_t *costs)
{
    const int32_t least = ONE / 4, nothing = tp_log8(least); /* what lanes without a sample cost */
    for (int64_t t = 0; t < steps; t += stride) {
        V sums[MOST_GAINS] = {{0}};
        int64_t n = begins[t + 1] - begins[t], empty = (LANES - n % LANES) % LANES;
        for (int64_t i = begins[t], left = n; left > 0; i += LANES, left -= LANES) {
            V error = (load_some(sample + i, left) << FRACTION_BITS) - load_some(linears + i, left);
            V correction = load_some(corrections + i, left);
            for (int32_t k = 0; k < gain_count; k++) {
                V moved = (correction * gains[k] + (1 << (GAIN_BITS - 1))) >> GAIN_BITS;
                sums[k] += v_log8(v_abs(error - moved) + least);
            }
        }
        for (int32_t k = 0; k < gain_count; k++) {
            costs[k] -= empty * nothing;
            for (int lane = 0; lane < LANES; lane++)
                costs[k] += sums[k][lane];
        }
    }
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
