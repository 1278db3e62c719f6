/* Decode a plane: predictions, symbols and samples of a step before those of the next. */

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
    for (int64_t i = 0; i < n; i += LANES) {
        Mean m = mean_of(v_load(work->linear + i), v_load(work->correction + i), v_load(work->context + i),
                         stream->gain, plane->top);
        v_store(work->mean + i, m.mean);
        v_store(work->prediction + i, m.prediction);
        v_store(work->table + i, v_gather(stream->table_map, m.table));
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
    Blocks blocks;
    int fault = work_open(&work, plane, stream->node_count > 0 ? stream->node_count : NO_PROPERTIES);
    if (fault)
        return fault;
    if (blocks_open(&blocks, plane)) {
        free(work.block);
        return FAULT_MEMORY;
    }
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
    if (stream->node_count > 0)
        prepare_walk(stream->nodes, stream->node_count, wanted, &work);
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
        int64_t at = tp_position(t, y0, pitch);
        if (plane->memory)
            blocks_predict(&blocks, plane, own, t, y0, n, at, pitch, work.linear);
        if (n <= 0)
            continue;
        predict(plane, own, errors, at, pitch, n, &work);
        int32_t *row = own + at, *error = errors + at;
        const int32_t *west = row + NEXT(0, -1), *north = row + NEXT(-1, 0);
        const uint8_t *absent = plane->mask ? plane->mask + at : 0;
        step_means(plane, stream, n, &work);
        if (stream->node_count) {
            step_properties(plane, own, errors, at, pitch, n, wanted, &work);
            step_leaves(n, &work);
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
        if (plane->memory)
            blocks_take(&blocks, plane, own, t, pitch);
    }
    if (word_at != words || bit_at + 8 <= bits)
        fault = FAULT_LEFT;
    for (int64_t k = 0; k < lanes; k++)
        if (states[k] != STATE_LOW)
            fault = FAULT_LEFT;
done:
    free(blocks.block);
    free(work.block);
    return fault;
}
