/* Values of coefficients: their tokens, what they cost, how they are read and what they stand for. */

/* Tokens of magnitudes: from 16 on there are four to an octave. */
INLINE int32_t token_of(uint32_t magnitude)
{
    if (magnitude < 16)
        return (int32_t)magnitude;
    int octave = 31 - __builtin_clz(magnitude);
    return 4 * octave + (int32_t)((magnitude >> (octave - 2)) & 3);
}

INLINE int extra_bits(int32_t token) { return token < 16 ? 0 : ((token - 16) >> 2) + 2; }

/* What a decoder reads. */
typedef struct {
    uint32_t states[32];
    int64_t symbol, word, bit; /* how many are read */
    int fault;
} Source;

INLINE uint32_t raw_bits(const Coding *c, Source *s, int count)
{
    int64_t byte = s->bit >> 3;
    if (s->bit + count > 8 * c->raw_bytes) {
        s->fault = FAULT_RAW;
        return 0;
    }
    uint64_t value = 0;
    if (byte + 8 <= c->raw_bytes)
        memcpy(&value, c->raw + byte, 8);
    else
        for (int k = 0; byte + k < c->raw_bytes; k++)
            value |= (uint64_t)c->raw[byte + k] << (8 * k);
    value >>= s->bit & 7;
    s->bit += count;
    return (uint32_t)value & (uint32_t)(((uint64_t)1 << count) - 1);
}

/* The next value under a table; 0 from the first fault on. */
INLINE int32_t read_value(const Coding *c, const Model *m, Source *s, int table)
{
    uint32_t *state = s->states + (s->symbol++ & (c->lanes - 1)), slot = *state & 32767;
    const int32_t *cumulative = m->cumulative + table * (TOKEN_COUNT + 2);
    int32_t token = 0;
    if (slot >= (uint32_t)cumulative[1])
        for (token = m->lookup[table * 256 + (slot >> 7)]; slot >= (uint32_t)cumulative[token + 1];)
            token++;
    uint32_t start = (uint32_t)cumulative[token], size = (uint32_t)cumulative[token + 1] - start;
    uint32_t next = size * (*state >> NTC_TABLE_BITS) + slot - start;
    if (next < 65536) {
        if (s->word >= c->word_count) {
            s->fault = FAULT_WORDS;
            return 0;
        }
        next = next << 16 | c->words[s->word++];
    }
    *state = next;
    if (token == 0)
        return 0;
    if (token == m->used[table]) {
        token = (int32_t)raw_bits(c, s, NTC_ESCAPE_BITS);
        if (token < m->used[table] || token >= TOKEN_COUNT) {
            s->fault = s->fault ? s->fault : FAULT_TOKEN;
            return 0;
        }
    }
    uint32_t magnitude = (uint32_t)token;
    if (token >= 16) {
        int count = extra_bits(token);
        magnitude = ((uint32_t)(4 + (token & 3)) << count) + raw_bits(c, s, count);
    }
    if (magnitude == 0)
        return 0; /* an escaped zero has no sign */
    return raw_bits(c, s, 1) ? -(int32_t)magnitude : (int32_t)magnitude;
}

INLINE float reconstructed(const Model *m, int table, int32_t magnitude)
{
    return (float)magnitude - m->reconstruction[table * (OFFSETS + 1) + (magnitude < OFFSETS ? magnitude : OFFSETS)];
}

INLINE int32_t cost_of(const Model *m, int table, int32_t magnitude)
{
    return m->costs[table * TOKEN_COUNT + token_of((uint32_t)magnitude)];
}

/* The magnitude to code, of the nearest, the one below, and 0: distortion and bits together are least. */
INLINE int32_t chosen(const Model *m, int table, float size, float lambda)
{
    int32_t nearest = size < (float)MOST_MAGNITUDE ? (int32_t)(size + 0.5f) : MOST_MAGNITUDE;
    if (nearest == 0)
        return 0;
    float off = size - reconstructed(m, table, 0);
    float least = lambda * (off * off) + (float)cost_of(m, table, 0) * (1.0f / 256);
    int32_t best = 0;
    for (int32_t k = nearest; k >= nearest - 1 && k > 0; k--) {
        off = size - reconstructed(m, table, k);
        float cost = lambda * (off * off) + (float)cost_of(m, table, k) * (1.0f / 256);
        if (cost < least)
            least = cost, best = k;
    }
    return best;
}
