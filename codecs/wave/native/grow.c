/* What a context tree is grown by: see grow.py. All sums are of integers. */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "scalar.h"

enum { BIT_SHIFT = 16, NEVER_SHIFT = 62 };

/* Binary logarithm of n >= 1 in 2^-16 bits, linear between 4096 steps an octave; table: (4097,). */
static int64_t log2_of(int64_t n, const int64_t *table)
{
    int exponent = 63 - __builtin_clzll((unsigned long long)n);
    int64_t whole = (int64_t)exponent << BIT_SHIFT;
    if (exponent <= 12)
        return whole + table[(n << (12 - exponent)) - 4096];
    int shift = exponent - 12;
    int64_t step = n >> shift, low = table[step - 4096], high = table[step - 4095];
    return whole + low + (((high - low) * (n - (step << shift))) >> shift);
}

/* Logarithms of (n,) numbers; 0 of what is below 1. */
EXPORT void tp_log2(const int64_t *numbers, int64_t n, const int64_t *table, int64_t *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = numbers[i] > 0 ? log2_of(numbers[i], table) : 0;
}

/* For each value, (n,), how many edges, ascending, lie below it. */
EXPORT void tp_fill_bins(const int32_t *values, int64_t n, const int32_t *edges, int32_t count, uint8_t *out)
{
    int64_t first = count ? edges[0] : 0, span = count ? (int64_t)edges[count - 1] - first + 1 : 0;
    if (span <= 4096) {
        uint8_t below[4097] = {0};
        int32_t passed = 0;
        for (int64_t k = 0; k <= span; k++) {
            while (passed < count && edges[passed] < first + k)
                passed++;
            below[k] = (uint8_t)passed;
        }
        for (int64_t i = 0; i < n; i++) {
            int64_t place = values[i] - first;
            out[i] = below[place < 0 ? 0 : place > span ? span : place];
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t low = 0, high = count;
        while (low < high) {
            int32_t middle = (low + high) >> 1;
            if (edges[middle] < values[i])
                low = middle + 1;
            else
                high = middle;
        }
        out[i] = (uint8_t)low;
    }
}

/* Of the samples ``picked``, (m,): joint symbols, 0 as west, 1 as north, else 2 + token of what is
   left; what they cost by the model's tables whole, and what is left over after both flags. */
EXPORT void tp_joint(const int64_t *picked, int64_t m, const int16_t *tables, const int32_t *folded,
                     const int32_t *candidates, int64_t n, const int32_t *costs, int64_t *joint, int64_t *plain,
                     int64_t *left)
{
    for (int64_t k = 0; k < m; k++) {
        int64_t i = picked[k];
        int32_t z = folded[i];
        const int32_t *row = costs + TOKENS * tables[i];
        plain[k] = row[tp_token_of(z)], left[k] = 0;
        if (candidates) {
            int32_t west = candidates[i], north = candidates[n + i];
            if (z == west || z == north) {
                joint[k] = z != west;
                continue;
            }
            z -= (z > west) + (north != west && z > north);
        }
        joint[k] = 2 + tp_token_of(z);
        left[k] = row[tp_token_of(z)];
    }
}

/* What a tree is grown on, and what the numbers of its price are. */
typedef struct {
    const uint8_t *bins, *joint;   /* (known, m), (m,) */
    const int64_t *plain, *left;   /* (m,) */
    int64_t m;
    int32_t known, symbols;
    int32_t west, north;           /* which symbols are the flags; -1: none */
    const int64_t *logs;           /* (m + 1,) n log2 n in 2^-16 bits */
    double scale;                  /* samples that each of these stands for */
    int32_t cost_shift;            /* from the unit of plain and left to 2^-16 bits */
    int32_t bin_count, least, most, node_samples;
    int32_t split_bits, chance_bits, leaf_bits, token_bits, table_bits;
} Growth;

/* Where a node's samples may be parted best, and what that costs. */
typedef struct {
    int64_t cost;
    int kind, cut;
} Split;

/* What the tables and sums of one node are worked out in. */
typedef struct {
    int64_t *total, *below, *number; /* (symbols,), the last numbers those that the node has */
    uint8_t *symbol;                 /* (node_samples,), of the samples that are looked at */
    int64_t *which;                  /* (node_samples,), those samples */
    int32_t *counts;                 /* (bin_count, symbols) */
} Tables;

/* The best split by one property: what follows is added up bin by bin, and only what a bin changes. */
static void try_property(const Growth *g, const Tables *t, int k, int64_t some, int used, Split *best)
{
    const int64_t *logs = g->logs, *total = t->total;
    const uint8_t *bins = g->bins + k * g->m;
    int64_t *below = t->below, n_below = 0, parts = 0;
    memset(t->counts, 0, sizeof(int32_t) * (size_t)(g->bin_count * used));
    for (int64_t a = 0; a < some; a++)
        t->counts[bins[t->which[a]] * used + t->symbol[a]]++;
    for (int s = 0; s < used; s++)
        below[s] = 0, parts += logs[total[s]];
    for (int b = 0; b < g->bin_count - 1; b++) {
        const int32_t *here = t->counts + b * used;
        int64_t in_bin = 0;
        for (int s = 0; s < used; s++) {
            int32_t count = here[s];
            if (!count)
                continue;
            in_bin += count;
            parts -= logs[below[s]] + logs[total[s] - below[s]];
            below[s] += count;
            parts += logs[below[s]] + logs[total[s] - below[s]];
        }
        if (!in_bin)
            continue;
        n_below += in_bin;
        if (n_below == some)
            return;
        int64_t cost = logs[n_below] + logs[some - n_below] - parts;
        if (cost < best->cost)
            *best = (Split){cost, k, b};
    }
}

/* Split breadth first while it pays. Of each node: property, cut, children (2,), cost as a leaf;
   children of a leaf stay as they are. ``count`` becomes how many. */
EXPORT int tp_grow(const Growth *g, int64_t *kinds, int64_t *cuts, int64_t *children, double *costs, int64_t *count_out)
{
    const double unit = 1 << BIT_SHIFT;
    const int64_t m = g->m, *logs = g->logs;
    const int symbols = g->symbols;
    int64_t *order = malloc(sizeof(int64_t) * (size_t)(2 * m + 2 * (int64_t)g->most + 3 * symbols + g->node_samples));
    int32_t *counts = malloc(sizeof(int32_t) * (size_t)(g->bin_count * symbols + 1) + (size_t)g->node_samples);
    if (!order || !counts) {
        free(order), free(counts);
        return FAULT_MEMORY;
    }
    int64_t *spare = order + m, *begin = spare + m, *end = begin + g->most, *total = end + g->most;
    Tables t = {total, total + symbols, total + 2 * symbols, (uint8_t *)(counts + g->bin_count * symbols + 1),
                total + 3 * symbols, counts};
    for (int64_t i = 0; i < m; i++)
        order[i] = i;
    begin[0] = 0, end[0] = m;
    int64_t count = 1;
    for (int64_t node = 0; node < count; node++) {
        int64_t first = begin[node], last = end[node], n = last - first, plain = 0, left = 0;
        memset(total, 0, sizeof(int64_t) * (size_t)symbols);
        for (int64_t a = first; a < last; a++) {
            int64_t i = order[a];
            total[g->joint[i]]++;
            plain += g->plain[i], left += g->left[i];
        }
        int64_t entropy = logs[n];
        int used = 0;
        for (int s = 0; s < symbols; s++) {
            entropy -= logs[total[s]];
            if (total[s] > 0)
                t.number[s] = used++;
        }
        int64_t west = g->west >= 0 ? total[g->west] : 0, north = g->north >= 0 ? total[g->north] : 0;
        int64_t flags = logs[n] - logs[west] - logs[north] - logs[n - west - north];
        double own = (double)entropy * g->scale + unit * (g->table_bits + g->token_bits * used);
        int64_t whole = plain << g->cost_shift, rest = (left << g->cost_shift) + flags;
        double theirs = (double)(whole < rest ? whole : rest) * g->scale;
        costs[node] = (own < theirs ? own : theirs) + unit * g->leaf_bits;
        if (n < g->least || count + 2 > g->most)
            continue;
        int64_t stride = (n + g->node_samples - 1) / g->node_samples, some = 0;
        memset(total, 0, sizeof(int64_t) * (size_t)used);
        for (int64_t a = first; a < last; a += stride, some++) {
            t.which[some] = order[a];
            t.symbol[some] = (uint8_t)t.number[g->joint[order[a]]];
            total[t.symbol[some]]++;
        }
        entropy = logs[some];
        for (int s = 0; s < used; s++)
            entropy -= logs[total[s]];
        Split best = {(int64_t)1 << NEVER_SHIFT, -1, -1};
        for (int k = 0; k < g->known; k++)
            try_property(g, &t, k, some, used, &best);
        double sampled = g->scale * (double)stride, chance = (g->chance_bits + used) * g->scale * (double)stride;
        double wanted = unit * (chance > g->split_bits ? chance : g->split_bits);
        if (best.kind < 0 || (double)(entropy - best.cost) * sampled <= wanted)
            continue;
        kinds[node] = best.kind, cuts[node] = best.cut;
        const uint8_t *bins = g->bins + best.kind * m;
        int64_t a = first, z = 0;
        for (int64_t p = first; p < last; p++) {
            int64_t i = order[p];
            if (bins[i] <= best.cut)
                order[a++] = i;
            else
                spare[z++] = i;
        }
        memcpy(order + a, spare, sizeof(int64_t) * (size_t)z);
        children[2 * node] = count, children[2 * node + 1] = count + 1;
        begin[count] = first, end[count] = a;
        begin[count + 1] = a, end[count + 1] = last;
        count += 2;
    }
    free(order), free(counts);
    *count_out = count;
    return 0;
}

/* Add, for each leaf and three ways to code it (no flags, "as west", both): tokens, (leaves, 3,
   TOKENS), what they cost by the model's tables, (leaves, 3), and flags, (leaves, 4): west yes, no,
   north yes, no. */
EXPORT void tp_count_leaves(const int32_t *leaves, const int16_t *tables, const int32_t *folded,
                            const int32_t *candidates, int64_t n, const int32_t *costs, int64_t *tokens,
                            int64_t *theirs, int64_t *flags)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t leaf = leaves[i], *counted = tokens + 3 * TOKENS * leaf, *price = theirs + 3 * leaf;
        const int32_t *row = costs + TOKENS * tables[i];
        int32_t z = folded[i], token = tp_token_of(z);
        counted[token]++, price[0] += row[token];
        if (!candidates)
            continue;
        int32_t west = candidates[i], north = candidates[n + i];
        if (z == west) {
            flags[4 * leaf]++;
            continue;
        }
        flags[4 * leaf + 1]++;
        int32_t left = z - (z > west);
        token = tp_token_of(left);
        counted[TOKENS + token]++, price[1] += row[token];
        if (north != west) {
            if (z == north) {
                flags[4 * leaf + 2]++;
                continue;
            }
            flags[4 * leaf + 3]++;
            left -= z > north;
        }
        token = tp_token_of(left);
        counted[2 * TOKENS + token]++, price[2] += row[token];
    }
}

/* What (width,) counted symbols cost with a table of their own. */
static int64_t price_of(const int64_t *counts, int width, const int64_t *logs, int64_t table, int64_t token)
{
    int64_t total = 0, bits = 0;
    for (int k = 0; k < width; k++)
        if (counts[k] > 0) {
            total += counts[k];
            bits += token - counts[k] * log2_of(counts[k], logs);
        }
    return bits + total * log2_of(total > 1 ? total : 1, logs) + table;
}

typedef struct {
    int64_t *counts, *both;
    const int64_t *logs;
    int width;
    int64_t table_cost, token_cost;
} Rows;

static int64_t price_of_pair(const Rows *r, int64_t i, int64_t j)
{
    for (int k = 0; k < r->width; k++)
        r->both[k] = r->counts[i * r->width + k] + r->counts[j * r->width + k];
    return price_of(r->both, r->width, r->logs, r->table_cost, r->token_cost);
}

/* Merge rows, (n, width), while that saves bits or more than ``most`` are left; group: (n,) of each
   row that which it came to. */
EXPORT int tp_merge_rows(int64_t *counts, int64_t n, int width, const int64_t *logs, int64_t table_cost,
                         int64_t token_cost, int64_t most, int64_t *group)
{
    const int64_t never = (int64_t)1 << NEVER_SHIFT;
    int64_t *room = malloc(sizeof(int64_t) * (size_t)(n * n + 3 * n + width));
    if (!room)
        return FAULT_MEMORY;
    int64_t *extra = room, *cost = extra + n * n, *best = cost + n, *alive = best + n;
    Rows r = {counts, alive + n, logs, width, table_cost, token_cost};
    for (int64_t i = 0; i < n; i++) {
        group[i] = i, alive[i] = 1;
        cost[i] = price_of(counts + i * width, width, logs, table_cost, token_cost);
        for (int64_t j = 0; j < n; j++)
            extra[i * n + j] = never;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++)
            extra[i * n + j] = price_of_pair(&r, i, j) - cost[i] - cost[j];
    for (int64_t left = n; left > 1; left--) {
        int64_t a = -1;
        for (int64_t i = 0; i < n; i++) { /* of each row, the later row that suits it best */
            if (!alive[i])
                continue;
            best[i] = i;
            for (int64_t j = i; j < n; j++)
                if (extra[i * n + j] < extra[i * n + best[i]])
                    best[i] = j;
            if (a < 0 || extra[i * n + best[i]] < extra[a * n + best[a]])
                a = i;
        }
        int64_t b = best[a];
        if (extra[a * n + b] >= 0 && left <= most)
            break;
        for (int k = 0; k < width; k++)
            counts[a * width + k] += counts[b * width + k];
        cost[a] += cost[b] + extra[a * n + b];
        alive[b] = 0;
        for (int64_t i = 0; i < n; i++) {
            extra[b * n + i] = extra[i * n + b] = never;
            if (group[i] == b)
                group[i] = a;
        }
        for (int64_t i = 0; i < n; i++)
            if (alive[i] && i != a) {
                int64_t low = i < a ? i : a, high = i < a ? a : i;
                extra[low * n + high] = price_of_pair(&r, low, high) - cost[i] - cost[a];
            }
    }
    free(room);
    return 0;
}
