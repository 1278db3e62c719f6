/* From predictions to words: residuals, tokens, match flags, rANS; and what they are counted by.

   FORMAT.md, sections 4 to 6. Only the encoder calls this: see symbols.py, choices.py. */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "scalar.h"

/* The means, (n,) in 1/64 steps, under a gain. */
EXPORT void tp_means(const int32_t *linears, const int32_t *corrections, int64_t n, int32_t gain, int32_t top,
                     int32_t *means)
{
    const int32_t limit = top << FRACTION_BITS;
    for (int64_t i = 0; i < n; i++)
        means[i] = tp_corrected(linears[i], corrections[i], gain, limit);
}

/* A folded residual without the neighbours that flags have ruled out. */
static inline int32_t left_over(int32_t z, int32_t west, int32_t north, int first, int second)
{
    return z - (first && z > west) - (second && north != west && z > north);
}

/* Symbols, intervals (start, size) of at most 3 n, and at most n raw bits (value, count). Counts:
   symbols, raw bits. A step's samples give their flags "as west", then "as north", then tokens. */
EXPORT int tp_symbols(const int16_t *tables, const int32_t *folded, const int32_t *matches,
                      const int32_t *candidates, int64_t n, const int64_t *begins, int64_t steps,
                      const int32_t *flags, const int32_t *table_map, const int32_t *cumulative,
                      const int32_t *used, uint16_t *starts, uint16_t *sizes, uint32_t *bits, uint8_t *bit_counts,
                      int64_t *counts)
{
    uint8_t *open = malloc((size_t)n + 1);
    if (!open)
        return FAULT_MEMORY;
    memset(open, 1, (size_t)n + 1);
    const int32_t *wests = candidates, *norths = candidates ? candidates + n : 0;
    int flagged = 0;
    for (int k = 0; k < 2 * MATCH_CONTEXTS; k++)
        flagged |= flags[k] > 0;
    int64_t m = 0, raw = 0;
    for (int64_t step = 0; step < steps; step++) {
        int64_t first = begins[step], end = begins[step + 1];
        for (int kind = 0; flagged && kind < 2; kind++)
            for (int64_t i = first; i < end; i++) {
                int32_t p = flags[kind * MATCH_CONTEXTS + matches[i]];
                if (p == 0 || !open[i] || (kind && norths[i] == wests[i]))
                    continue;
                int same = folded[i] == (kind ? norths : wests)[i];
                starts[m] = (uint16_t)(same ? 0 : p), sizes[m++] = (uint16_t)(same ? p : 32768 - p);
                open[i] = !same;
            }
        for (int64_t i = first; i < end; i++) {
            if (!open[i])
                continue;
            int32_t code = folded[i];
            if (flagged)
                code = left_over(code, wests[i], norths[i], flags[matches[i]] > 0,
                                 flags[MATCH_CONTEXTS + matches[i]] > 0);
            int32_t token = tp_token_of(code), table = table_map[tables[i]];
            int32_t symbol = tp_min(token, used[table]), count = tp_extra_bits(token);
            const int32_t *interval = cumulative + (int64_t)table * (TOKENS + 2) + symbol;
            starts[m] = (uint16_t)interval[0], sizes[m++] = (uint16_t)(interval[1] - interval[0]);
            uint32_t value = (uint32_t)code & (((uint32_t)1 << count) - 1);
            if (symbol == used[table]) {
                value = value << ESCAPE_BITS | (uint32_t)token;
                count += ESCAPE_BITS;
            }
            if (count)
                bits[raw] = value, bit_counts[raw++] = (uint8_t)count;
        }
    }
    free(open);
    counts[0] = m, counts[1] = raw;
    return 0;
}

/* Code symbols from the last to the first; words, (count + 1,), are filled from their end. lanes: a
   power of two. Returns how many words they are. */
EXPORT int64_t tp_rans_encode(const uint16_t *starts, const uint16_t *sizes, int64_t count, int lanes,
                              uint32_t *states, uint16_t *words)
{
    for (int k = 0; k < lanes; k++)
        states[k] = STATE_LOW;
    int64_t at = count + 1;
    for (int64_t i = count - 1; i >= 0; i--) {
        uint32_t start = starts[i], size = sizes[i], *lane = states + (i & (lanes - 1)), state = *lane;
        int full = (uint64_t)state >= (uint64_t)size << 17; /* written all the same: nothing to guess */
        words[at - 1] = (uint16_t)state;
        at -= full, state >>= 16 * full;
        *lane = ((state / size) << TABLE_BITS) + state % size + start;
    }
    return count + 1 - at;
}

/* Raw bits one after another, least significant first; out has 4 n + 16 bytes. Returns the length. */
EXPORT int64_t tp_pack_raw(const uint32_t *bits, const uint8_t *bit_counts, int64_t n, uint8_t *out)
{
    uint64_t hold = 0;
    int filled = 0;
    int64_t length = 0;
    for (int64_t i = 0; i < n; i++) {
        hold |= (uint64_t)bits[i] << filled;
        for (filled += bit_counts[i]; filled >= 8; filled -= 8, hold >>= 8)
            out[length++] = (uint8_t)hold;
    }
    if (filled > 0)
        out[length++] = (uint8_t)hold;
    return length;
}

/* What choices are counted by ----------------------------------------------------------------- */

/* Add to (2, MATCH_CONTEXTS, 4), for the flags "as west" and "as north" (of the rest): how often it
   is so, how often not, the bits that samples which match cost without the flag, and those that the
   others save because the candidate is ruled out. costs: (tables, TOKENS). */
EXPORT void tp_count_matches(const int16_t *tables, const int32_t *folded, const int32_t *matches,
                             const int32_t *candidates, int64_t n, const int32_t *costs, int64_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t z = folded[i], west = candidates[i], north = candidates[n + i];
        const int32_t *row = costs + TOKENS * tables[i];
        int64_t cost = row[tp_token_of(z)], *as_west = out + 4 * matches[i];
        int64_t *as_north = as_west + 4 * MATCH_CONTEXTS;
        if (z == west) {
            as_west[0]++, as_west[2] += cost;
            continue;
        }
        as_west[1]++, as_west[3] += cost - row[tp_token_of(z - (z > west))];
        if (north == west)
            continue;
        if (z == north)
            as_north[0]++, as_north[2] += cost;
        else
            as_north[1]++, as_north[3] += cost - row[tp_token_of(z - (z > north))];
    }
}

/* Add to (tables, TOKENS) how often each token is coded in each table; flags, (2, MATCH_CONTEXTS),
   are applied unless null. */
EXPORT void tp_count_tokens(const int16_t *tables, const int32_t *folded, const int32_t *matches,
                            const int32_t *candidates, int64_t n, const int32_t *flags, int64_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t z = folded[i];
        if (flags) {
            int32_t west = candidates[i], north = candidates[n + i];
            int first = flags[matches[i]] > 0, second = flags[MATCH_CONTEXTS + matches[i]] > 0;
            if ((first && z == west) || (second && north != west && z == north))
                continue;
            z = left_over(z, west, north, first, second);
        }
        out[TOKENS * tables[i] + tp_token_of(z)]++;
    }
}

/* The tokens of (TOKENS,) counts that there are, the commonest first. Returns how many. */
static int commonest_first(const int64_t *counts, int *tokens)
{
    int used = 0;
    for (int token = 0; token < TOKENS; token++) {
        if (counts[token] == 0)
            continue;
        int at = used++;
        for (; at > 0 && counts[tokens[at - 1]] < counts[token]; at--)
            tokens[at] = tokens[at - 1];
        tokens[at] = token;
    }
    return used;
}

/* What counted tokens cost, or something above ``most``, where they do. */
static int64_t cost_up_to(int64_t most, const int64_t *counts, const int32_t *costs, const int *tokens, int used)
{
    int64_t total = 0;
    for (int k = 0; k < used && total <= most; k++)
        total += counts[tokens[k]] * costs[tokens[k]];
    return total;
}

/* For each table the one whose costs suit its tokens best, its own cost, and what that saves.
   counted, costs: (n, TOKENS), costs not below 0. Of equals the lowest wins. */
EXPORT void tp_best_tables(const int64_t *counted, const int32_t *costs, int64_t n, int32_t *best, int64_t *own,
                           int64_t *saved)
{
    for (int64_t table = 0; table < n; table++) {
        const int64_t *counts = counted + TOKENS * table;
        int tokens[TOKENS], used = commonest_first(counts, tokens);
        own[table] = cost_up_to(INT64_MAX, counts, costs + TOKENS * table, tokens, used);
        best[table] = (int32_t)table;
        int64_t least = own[table];
        for (int64_t k = table ? -1 : 0; used && k < n; k++) { /* first what suited the one before */
            int64_t other = k < 0 ? best[table - 1] : k;
            int64_t total = cost_up_to(least, counts, costs + TOKENS * other, tokens, used);
            if (total < least || (total == least && other < best[table]))
                best[table] = (int32_t)other, least = total;
        }
        saved[table] = own[table] - least;
    }
}
