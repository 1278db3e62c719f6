/* What a context tree is grown by: see grow.py. All sums are of integers. */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "scalar.h"

enum { BIT_SHIFT = 16, NEVER_SHIFT = 62 };

/* Below these it is faster to count a node's examples anew: of what is left of the parent's, and of what
   is taken away. */
enum { MOST_COUNTED_ANEW = 512, MANY_EXAMPLES = 128 };

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

/* What a tree is grown on, and what the numbers of its price are. */
typedef struct {
    int64_t m;                     /* examples */
    int32_t known;                 /* properties of each */
    int32_t cost_shift;            /* from the unit of what examples cost to 2^-16 bits */
    const int64_t *logs;           /* (m + 1,) n log2 n in 2^-16 bits */
    double scale;                  /* samples that each example stands for */
    int32_t least, most, node_samples;
    int32_t split_bits, chance_bits, leaf_bits, token_bits, table_bits;
} Growth;

/* A node's examples counted. */
typedef struct {
    int64_t n, plain, left;         /* how many they are, and what they cost */
    int64_t total[EXAMPLE_SYMBOLS]; /* of each symbol */
} Counted;

/* What a split of some of a node's examples is found by. Rows are the symbols that it, or a node
   above, has. */
typedef struct {
    int64_t some;
    int rows;
    int64_t total[EXAMPLE_SYMBOLS];  /* (rows,) */
    uint8_t row_of[EXAMPLE_SYMBOLS];
    uint16_t *counts;                /* (known, rows, BINS) */
} Table;

/* Where a node's examples may be parted best, and what that costs. */
typedef struct {
    int64_t cost;
    int kind, cut;
} Split;

typedef struct {
    int64_t kind, cut;
    int64_t first_child; /* and the other is the next; -1: none */
    double cost;         /* as a leaf */
} Node;

/* A tree as far as it has grown. */
typedef struct {
    const Growth *g;
    Example *examples, *spare; /* (m,) each */
    Node *nodes;
    int64_t count, room;
    int64_t *at_depth;         /* (most,) nodes at each depth */
    Table *tables;
} Tree;

static Counted count_examples(const Example *examples, int64_t n)
{
    uint32_t of[2][EXAMPLE_SYMBOLS] = {{0}}; /* two, as one symbol after another is often the same */
    Counted c = {n, 0, 0, {0}};
    for (int64_t i = 0; i < n; i++) {
        of[i & 1][examples[i].symbol]++;
        c.plain += examples[i].plain, c.left += examples[i].left;
    }
    for (int s = 0; s < EXAMPLE_SYMBOLS; s++)
        c.total[s] = (int64_t)of[0][s] + of[1][s];
    return c;
}

static Counted without(const Counted *all, const Counted *some)
{
    Counted c = {all->n - some->n, all->plain - some->plain, all->left - some->left, {0}};
    for (int s = 0; s < EXAMPLE_SYMBOLS; s++)
        c.total[s] = all->total[s] - some->total[s];
    return c;
}

static int symbols_in_use(const Counted *c)
{
    int used = 0;
    for (int s = 0; s < EXAMPLE_SYMBOLS; s++)
        used += c->total[s] > 0;
    return used;
}

/* Bits of examples as a leaf, in 2^-16: with a table of their own or with the model's, what is less. */
static double leaf_cost(const Growth *g, const Counted *c)
{
    const double unit = 1 << BIT_SHIFT;
    const int64_t *logs = g->logs;
    int64_t n = c->n, entropy = logs[n], west = c->total[0], north = c->total[1];
    for (int s = 0; s < EXAMPLE_SYMBOLS; s++)
        entropy -= logs[c->total[s]];
    int64_t flags = logs[n] - logs[west] - logs[north] - logs[n - west - north];
    double own = (double)entropy * g->scale + unit * (g->table_bits + g->token_bits * symbols_in_use(c));
    int64_t whole = c->plain << g->cost_shift, rest = (c->left << g->cost_shift) + flags;
    double theirs = (double)(whole < rest ? whole : rest) * g->scale;
    return (own < theirs ? own : theirs) + unit * g->leaf_bits;
}

/* Add ``by`` to the bins of examples. ``known`` is a constant where this is called, so that the loop is
   unrolled. Of one example each property has cells of its own: no addition waits for another. */
static inline __attribute__((always_inline)) void add_known(const Table *t, const Example *examples, int64_t n,
                                                            int64_t stride, uint16_t by, const int known)
{
    const int64_t step = (int64_t)t->rows * BINS;
    for (int64_t i = 0; i < n; i += stride) {
        const Example *e = examples + i;
        uint16_t *at = t->counts + t->row_of[e->symbol] * BINS;
#pragma GCC unroll 32
        for (int k = 0; k < known; k++, at += step)
            at[e->bin[k]] = (uint16_t)(at[e->bin[k]] + by);
    }
}

static void add_bins(const Growth *g, const Table *t, const Example *examples, int64_t n, int64_t stride, int by)
{
    if (g->known == OWN_PROPERTIES)
        add_known(t, examples, n, stride, (uint16_t)by, OWN_PROPERTIES);
    else if (g->known == OWN_PROPERTIES + REFERENCE_PROPERTIES)
        add_known(t, examples, n, stride, (uint16_t)by, OWN_PROPERTIES + REFERENCE_PROPERTIES);
    else
        add_known(t, examples, n, stride, (uint16_t)by, PROPERTIES);
}

static size_t cells_of(const Growth *g, const Table *t) { return (size_t)g->known * (size_t)t->rows * BINS; }

/* Count every ``stride``-th of examples, which are c. */
static void fill_table(const Growth *g, const Counted *c, const Example *examples, int64_t stride, Table *t)
{
    t->some = (c->n + stride - 1) / stride, t->rows = 0;
    for (int s = 0; s < EXAMPLE_SYMBOLS; s++)
        if (c->total[s] > 0) {
            t->total[t->rows] = stride == 1 ? c->total[s] : 0;
            t->row_of[s] = (uint8_t)t->rows++;
        }
    for (int64_t i = 0; stride > 1 && i < c->n; i += stride)
        t->total[t->row_of[examples[i].symbol]]++;
    memset(t->counts, 0, sizeof(uint16_t) * cells_of(g, t));
    add_bins(g, t, examples, c->n, stride, 1);
}

/* From the table of all examples of a node to that of all but a few, and, unless these are very few,
   to their own as well, of the same rows. Returns whether that was made. */
static int part_table(const Growth *g, const Counted *few, const Example *examples, Table *all, Table *own)
{
    const int make = few->n >= MANY_EXAMPLES;
    for (int s = 0; s < EXAMPLE_SYMBOLS; s++)
        if (few->total[s] > 0)
            all->total[all->row_of[s]] -= few->total[s];
    all->some -= few->n;
    if (!make) {
        add_bins(g, all, examples, few->n, 1, -1);
        return 0;
    }
    uint16_t *counts = own->counts;
    *own = *all, own->counts = counts, own->some = few->n;
    memset(own->total, 0, sizeof own->total);
    for (int s = 0; s < EXAMPLE_SYMBOLS; s++)
        if (few->total[s] > 0)
            own->total[own->row_of[s]] = few->total[s];
    const size_t cells = cells_of(g, own);
    memset(counts, 0, sizeof(uint16_t) * cells);
    add_bins(g, own, examples, few->n, 1, 1);
    for (size_t i = 0; i < cells; i++)
        all->counts[i] = (uint16_t)(all->counts[i] - counts[i]);
    return 1;
}

/* The best split by property k. ``parts``: what the symbols of all are, n log2 n each, summed up. What
   parts of both sides is, is worked out for each symbol where a bin changes it, and added up at last. */
static void try_property(const Growth *g, const Table *t, int k, int64_t parts, Split *best)
{
    const int64_t *logs = g->logs;
    int64_t change[BINS] = {0};
    uint16_t in_bin[BINS] = {0};
    const uint16_t *row = t->counts + (int64_t)k * t->rows * BINS;
    for (int s = 0; s < t->rows; s++, row += BINS) {
        int64_t total = t->total[s], below = 0, before = logs[total];
        if (!total)
            continue;
        for (int b = 0; b < BINS; b++)
            in_bin[b] = (uint16_t)(in_bin[b] + row[b]);
        for (int b = 0; b < BINS; b += 4) {
            uint64_t four;
            memcpy(&four, row + b, sizeof four);
            if (!four)
                continue;
            for (int j = b; j < b + 4; j++) {
                below += row[j];
                int64_t now = logs[below] + logs[total - below];
                change[j] += now - before, before = now;
            }
        }
    }
    int64_t n_below = 0;
    for (int b = 0; b < BINS - 1; b++) {
        parts += change[b];
        if (!in_bin[b])
            continue;
        n_below += in_bin[b];
        if (n_below == t->some)
            return;
        int64_t cost = logs[n_below] + logs[t->some - n_below] - parts;
        if (cost < best->cost)
            *best = (Split){cost, k, b};
    }
}

/* The best split of a node whose table is t, if it pays; else its kind is -1. An example of the table
   stands for so many samples. */
static Split best_split(const Growth *g, const Table *t, int used, double samples)
{
    int64_t parts = 0, entropy = g->logs[t->some];
    for (int s = 0; s < t->rows; s++)
        parts += g->logs[t->total[s]];
    Split best = {(int64_t)1 << NEVER_SHIFT, -1, -1};
    for (int k = 0; k < g->known; k++)
        try_property(g, t, k, parts, &best);
    double chance = (g->chance_bits + used) * samples;
    double wanted = (1 << BIT_SHIFT) * (chance > g->split_bits ? chance : g->split_bits);
    if (best.kind >= 0 && (double)(entropy - parts - best.cost) * samples <= wanted)
        best.kind = -1;
    return best;
}

/* Put n examples in order: first those up to the cut, then the others. Returns how many the first are. */
static int64_t part_examples(Example *examples, int64_t n, const Split *split, Example *spare)
{
    int64_t low = 0, high = 0;
    for (int64_t i = 0; i < n; i++) { /* each to both places, of which one counts: nothing to guess */
        Example e = examples[i];
        int is_low = e.bin[split->kind] <= split->cut;
        examples[low] = e, spare[high] = e;
        low += is_low, high += !is_low;
    }
    memcpy(examples + low, spare, sizeof(Example) * (size_t)high);
    return low;
}

/* Add both children of a node at ``depth``. Returns 0 or FAULT_MEMORY. */
static int add_children(Tree *tree, int64_t parent, int64_t depth, const Counted *low, const Counted *high)
{
    if (tree->count + 2 > tree->room) {
        Node *nodes = realloc(tree->nodes, sizeof(Node) * 2 * (size_t)tree->room);
        if (!nodes)
            return FAULT_MEMORY;
        tree->nodes = nodes, tree->room *= 2;
    }
    tree->nodes[parent].first_child = tree->count;
    tree->nodes[tree->count++] = (Node){0, 0, -1, leaf_cost(tree->g, low)};
    tree->nodes[tree->count++] = (Node){0, 0, -1, leaf_cost(tree->g, high)};
    tree->at_depth[depth + 1] += 2;
    return 0;
}

/* Whether so many nodes are less deep that one at ``depth`` cannot be split. */
static int is_too_deep(const Tree *tree, int64_t depth)
{
    int64_t before = 0;
    for (int64_t d = 0; d <= depth; d++)
        before += tree->at_depth[d];
    return before + 2 > tree->g->most;
}

/* Split a node, and its children, while that pays. The child of fewer examples goes first, and in a
   call of its own: so there are no more of these than a binary logarithm of the examples. Its table is
   the next one; the other's is what is left of the parent's. ``c``: the node's ``examples``; ``ready``:
   whether its table is filled. Returns 0 or FAULT_MEMORY. */
static int grow_below(Tree *tree, int64_t node, Counted c, Example *examples, int64_t depth, Table *t, int ready)
{
    const Growth *g = tree->g;
    for (;; depth++) {
        if (c.n < g->least || is_too_deep(tree, depth))
            return 0;
        int64_t stride = (c.n + g->node_samples - 1) / g->node_samples;
        if (!ready)
            fill_table(g, &c, examples, stride, t);
        Split best = best_split(g, t, symbols_in_use(&c), g->scale * (double)stride);
        if (best.kind < 0)
            return 0;
        int64_t middle = part_examples(examples, c.n, &best, tree->spare);
        int low_is_less = 2 * middle <= c.n;
        Example *less_examples = low_is_less ? examples : examples + middle;
        Counted less = count_examples(less_examples, low_is_less ? middle : c.n - middle);
        Counted more = without(&c, &less);
        tree->nodes[node].kind = best.kind, tree->nodes[node].cut = best.cut;
        if (add_children(tree, node, depth, low_is_less ? &less : &more, low_is_less ? &more : &less))
            return FAULT_MEMORY;
        ready = stride == 1 && more.n >= MOST_COUNTED_ANEW;
        int less_ready = ready && part_table(g, &less, less_examples, t, t + 1);
        int64_t child = tree->nodes[node].first_child;
        if (grow_below(tree, child + !low_is_less, less, less_examples, depth + 1, t + 1, less_ready))
            return FAULT_MEMORY;
        node = child + low_is_less, c = more;
        examples = low_is_less ? examples + middle : examples;
    }
}

/* The nodes by depth, as many as there may be. Returns how many those are. */
static int64_t by_depth(const Tree *tree, int64_t *kinds, int64_t *cuts, int64_t *children, double *costs)
{
    int64_t *which = tree->at_depth, count = 1; /* that is no longer needed */
    which[0] = 0;
    for (int64_t k = 0; k < count; k++) {
        const Node *node = tree->nodes + which[k];
        costs[k] = node->cost;
        if (node->first_child < 0 || count + 2 > tree->g->most)
            continue;
        kinds[k] = node->kind, cuts[k] = node->cut;
        for (int64_t side = 0; side < 2; side++, count++)
            children[2 * k + side] = count, which[count] = node->first_child + side;
    }
    return count;
}

/* Split breadth first while it pays. Of each node: property, cut, children (2,), cost as a leaf;
   children of a leaf stay as they are. examples: (2, m), of which the second half is room. ``count``
   becomes how many nodes there are. What a split is, hangs on its node alone, so nodes are split depth
   first, where tables of counts are still at hand, and put in order at last. */
EXPORT int tp_grow(const Growth *g, Example *examples, int64_t *kinds, int64_t *cuts, int64_t *children,
                   double *costs, int64_t *count_out)
{
    enum { TABLES = 64 };
    const size_t cells = (size_t)g->known * EXAMPLE_SYMBOLS * BINS;
    Tree tree = {g, examples, examples + g->m, malloc(sizeof(Node) * 64), 1, 64, NULL, NULL};
    tree.at_depth = calloc((size_t)g->most + 1, sizeof(int64_t));
    tree.tables = malloc(sizeof(Table) * TABLES);
    uint16_t *counts = malloc(sizeof(uint16_t) * cells * TABLES);
    int fault = FAULT_MEMORY;
    if (tree.nodes && tree.at_depth && tree.tables && counts) {
        for (int k = 0; k < TABLES; k++)
            tree.tables[k].counts = counts + (size_t)k * cells;
        Counted all = count_examples(examples, g->m);
        tree.nodes[0] = (Node){0, 0, -1, leaf_cost(g, &all)};
        tree.at_depth[0] = 1;
        fault = grow_below(&tree, 0, all, examples, 0, tree.tables, 0);
        *count_out = fault ? 0 : by_depth(&tree, kinds, cuts, children, costs);
    }
    free(tree.nodes), free(tree.at_depth), free(tree.tables), free(counts);
    return fault;
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

/* Rows of counted tokens that tables may be shared by. A table costs ``token_cost`` for each of its
   tokens and ``table_cost`` beside. */
typedef struct {
    int64_t *counts, *prices; /* (n, width): how often, and what that and the token cost, 0 where there is none */
    int64_t *total, *cost;    /* (n,) of each row */
    int64_t *extra;           /* (n, n) what rows i < j cost more as one */
    int64_t *best;            /* (n,) of each row, the later one that suits it best */
    char *alive;              /* (n,) */
    const int64_t *logs;
    int64_t n, table_cost, token_cost;
    int width;
} Rows;

static int64_t n_log_n(int64_t n, const int64_t *logs) { return n > 1 ? n * log2_of(n, logs) : 0; }

/* Work out what row i costs for itself. */
static void price_row(Rows *r, int64_t i)
{
    const int64_t *counts = r->counts + i * r->width;
    int64_t *prices = r->prices + i * r->width, total = 0, bits = 0;
    for (int k = 0; k < r->width; k++) {
        prices[k] = counts[k] > 0 ? r->token_cost - n_log_n(counts[k], r->logs) : 0;
        bits += prices[k], total += counts[k];
    }
    r->total[i] = total, r->cost[i] = bits + n_log_n(total, r->logs) + r->table_cost;
}

/* Work out what rows i and j cost more as one; only tokens that both have change their prices. */
static void price_pair(Rows *r, int64_t i, int64_t j)
{
    const int64_t *a = r->counts + i * r->width, *of_a = r->prices + i * r->width;
    const int64_t *b = r->counts + j * r->width, *of_b = r->prices + j * r->width;
    int64_t total = r->total[i] + r->total[j], own = n_log_n(r->total[i], r->logs) + n_log_n(r->total[j], r->logs);
    int64_t more = n_log_n(total, r->logs) - own - r->table_cost;
    for (int k = 0; k < r->width; k++)
        if (a[k] > 0 && b[k] > 0)
            more += r->token_cost - n_log_n(a[k] + b[k], r->logs) - of_a[k] - of_b[k];
    r->extra[(i < j ? i : j) * r->n + (i < j ? j : i)] = more;
}

static int64_t best_for(const Rows *r, int64_t i)
{
    const int64_t *extra = r->extra + i * r->n;
    int64_t best = i; /* which is never */
    for (int64_t j = i + 1; j < r->n; j++)
        if (extra[j] < extra[best])
            best = j;
    return best;
}

/* Row b becomes a part of a. */
static void merge_rows(Rows *r, int64_t a, int64_t b, int64_t *group)
{
    const int64_t never = (int64_t)1 << NEVER_SHIFT, n = r->n;
    for (int k = 0; k < r->width; k++)
        r->counts[a * r->width + k] += r->counts[b * r->width + k];
    price_row(r, a);
    r->alive[b] = 0;
    for (int64_t i = 0; i < n; i++) {
        r->extra[b * n + i] = r->extra[i * n + b] = never;
        group[i] = group[i] == b ? a : group[i];
    }
    for (int64_t i = 0; i < n; i++) {
        if (!r->alive[i] || i == a)
            continue;
        int64_t before = i < a ? r->extra[i * n + a] : 0;
        price_pair(r, i, a);
        int64_t now = r->extra[i * n + a], *best = r->best + i;
        if (*best == b || (*best == a && now > before))
            *best = best_for(r, i);
        else if (i < a && (now < r->extra[i * n + *best] || (now == r->extra[i * n + *best] && a < *best)))
            *best = a;
    }
    r->best[a] = best_for(r, a);
}

/* Merge rows, (n, width), while that saves bits or more than ``most`` are left; group: (n,) of each
   row that which it came to. */
EXPORT int tp_merge_rows(int64_t *counts, int64_t n, int width, const int64_t *logs, int64_t table_cost,
                         int64_t token_cost, int64_t most, int64_t *group)
{
    const int64_t never = (int64_t)1 << NEVER_SHIFT;
    int64_t *room = malloc(sizeof(int64_t) * (size_t)(n * n + 3 * n + n * width) + (size_t)n);
    if (!room)
        return FAULT_MEMORY;
    int64_t *total = room + n * n, *prices = total + 3 * n;
    Rows r = {counts, prices, total, total + n, room, total + 2 * n, (char *)(prices + n * width), logs, n,
              table_cost, token_cost, width};
    for (int64_t i = 0; i < n; i++) {
        group[i] = i, r.alive[i] = 1;
        price_row(&r, i);
        for (int64_t j = 0; j <= i; j++)
            r.extra[i * n + j] = never;
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = i + 1; j < n; j++)
            price_pair(&r, i, j);
        r.best[i] = best_for(&r, i);
    }
    for (int64_t left = n; left > 1; left--) {
        int64_t a = -1;
        for (int64_t i = 0; i < n; i++)
            if (r.alive[i] && (a < 0 || r.extra[i * n + r.best[i]] < r.extra[a * n + r.best[a]]))
                a = i;
        if (r.extra[a * n + r.best[a]] >= 0 && left <= most)
            break;
        merge_rows(&r, a, r.best[a], group);
    }
    free(room);
    return 0;
}
