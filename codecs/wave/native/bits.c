/* Adaptive binary arithmetic coding, and what is coded with it: bitmaps and context trees.

   FORMAT.md, sections 4.2 and 4.5. A carry-propagating range coder as in LZMA (Pavlov); the
   probability of a zero has 16 bits and adapts in every context for itself. */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "scalar.h"

enum { BITMAP_CONTEXTS = 1024, LEAST_CHANCE = 16, MOST_CHANCE = 65520, MOST_RATE = 6 };

static const uint32_t SPAN_LOW = (uint32_t)1 << 24;

/* Of a context: the probability of a zero, of 2^16, and how often it was used, up to MOST_RATE. */
typedef struct {
    uint32_t chance;
    uint32_t seen;
} Context;

static void contexts_begin(Context *contexts, int64_t count)
{
    for (int64_t k = 0; k < count; k++)
        contexts[k] = (Context){1u << 15, 0};
}

static inline void adapt(Context *context, int bit)
{
    uint32_t rate = context->seen < MOST_RATE ? ++context->seen : MOST_RATE, chance = context->chance;
    if (bit)
        chance -= chance >> rate;
    else
        chance += ((1u << 16) - chance) >> rate;
    context->chance = chance < LEAST_CHANCE ? LEAST_CHANCE : chance > MOST_CHANCE ? MOST_CHANCE : chance;
}

/* Writing ------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t low;
    uint32_t span, cache;
    int64_t pending, at;
    uint8_t *out;
} Writer;

/* Move the top byte of low out, once no carry can change it. */
static void shift_low(Writer *w)
{
    if (w->low < 0xFF000000u || w->low > 0xFFFFFFFFu) {
        uint32_t carry = (uint32_t)(w->low >> 32);
        for (; w->pending > 0; w->pending--, w->cache = 0xFF)
            w->out[w->at++] = (uint8_t)(w->cache + carry);
        w->cache = (uint32_t)(w->low >> 24) & 0xFF;
    }
    w->low = (w->low & 0x00FFFFFF) << 8;
    w->pending++;
}

static void write_bit(Writer *w, Context *context, int bit)
{
    uint32_t bound = (w->span >> 16) * context->chance;
    if (bit) {
        w->low += bound;
        w->span -= bound;
    } else
        w->span = bound;
    adapt(context, bit);
    for (; w->span < SPAN_LOW; w->span <<= 8)
        shift_low(w);
}

/* End the stream; returns how many bytes it has, zeros at its end left out. They begin at the second
   byte of what was written to. */
static int64_t write_end(Writer *w)
{
    for (int k = 0; k < 5; k++)
        shift_low(w);
    while (w->at > 1 && w->out[w->at - 1] == 0)
        w->at--;
    return w->at - 1;
}

/* Reading ------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *data;
    int64_t size, at; /* what is behind the end is zeros */
    uint32_t code, span;
} Bits;

static inline uint32_t next_byte(Bits *b)
{
    uint32_t byte = b->at < b->size ? b->data[b->at] : 0;
    b->at++;
    return byte;
}

static Bits bits_begin(const uint8_t *data, int64_t size)
{
    Bits b = {data, size, 0, 0, 0xFFFFFFFFu};
    for (int k = 0; k < 4; k++)
        b.code = b.code << 8 | next_byte(&b);
    return b;
}

static inline int read_bit(Bits *b, Context *context)
{
    uint32_t bound = (b->span >> 16) * context->chance;
    int bit = b->code >= bound;
    if (bit) {
        b->code -= bound;
        b->span -= bound;
    } else
        b->span = bound;
    adapt(context, bit);
    for (; b->span < SPAN_LOW; b->span <<= 8)
        b->code = b->code << 8 | next_byte(b);
    return bit;
}

/* Bitmaps ------------------------------------------------------------------------------------- */

/* Ten earlier neighbours as a number; a single row looks ten samples back. */
static inline int context_of_pixel(const uint8_t *bits, int64_t height, int64_t width, int64_t y, int64_t x)
{
    const uint8_t *row = bits + y * width, *above = row - width;
    int value = 0, back = height == 1 ? 10 : 4;
    for (int k = 1; k <= back; k++)
        value = 2 * value + (x >= k ? row[x - k] : 0);
    if (height == 1)
        return value;
    for (int k = -2; k <= 2; k++)
        value = 2 * value + (y >= 1 && x + k >= 0 && x + k < width ? above[x + k] : 0);
    return 2 * value + (y >= 2 ? above[x - width] : 0);
}

/* Code a plane of zeros and ones, of which each takes at most 12 bits; what is coded begins at the
   second byte of out, (2 height * width + 64,). Returns its length. */
EXPORT int64_t tp_encode_bitmap(const uint8_t *bits, int64_t height, int64_t width, uint8_t *out)
{
    Context state[BITMAP_CONTEXTS];
    contexts_begin(state, BITMAP_CONTEXTS);
    Writer w = {0, 0xFFFFFFFFu, 0, 1, 0, out};
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            write_bit(&w, state + context_of_pixel(bits, height, width, y, x), bits[y * width + x]);
    return write_end(&w);
}

/* Decode one; returns how many bytes were asked for. */
EXPORT int64_t tp_decode_bitmap(const uint8_t *data, int64_t size, int64_t height, int64_t width, uint8_t *bits)
{
    Context state[BITMAP_CONTEXTS];
    contexts_begin(state, BITMAP_CONTEXTS);
    Bits b = bits_begin(data, size);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            bits[y * width + x] =
                (uint8_t)read_bit(&b, state + context_of_pixel(bits, height, width, y, x));
    return b.at;
}

/* Context trees ------------------------------------------------------------------------------- */

/* The first context of each kind of number, and how many bits a number has. */
enum {
    OF_SPLIT = 0,
    OF_PROPERTY = 1,
    OF_SIZE = 1 + 32,
    OF_SIGN = 1 + 64,
    OF_REST = 2 + 64,
    OF_WEST = 3 + 64,
    OF_NORTH = 3 + 192,
    OF_TABLE = 3 + 320,
    OF_TOKENS = 3 + 384,
    OF_LEVEL = 3 + 512,
    TREE_CONTEXTS = OF_LEVEL + 16 * 64,
    COUNT_WIDTH = 6,
    PROPERTY_WIDTH = 5,
    SIZE_WIDTH = 5,
    TOKEN_WIDTH = 7,
    LEVEL_WIDTH = 6,
    FLAG_WIDTH = 7,
};

static void write_number(Writer *w, Context *state, int32_t value, int width, int first)
{
    int32_t before = 1;
    for (int k = width - 1; k >= 0; k--) {
        int bit = value >> k & 1;
        write_bit(w, state + first + before - 1, bit);
        before = 2 * before + bit;
    }
}

/* Pack a tree: number of own tables, nodes and leaves in the order of a walk that goes first where
   the answer is no, own tables. nodes: (n, 4); flags: (leaves, 2); tables: (leaves,); levels: (own,
   TOKENS). out: as of tp_encode_bitmap, with
   2 bytes for every bit: of a node 36, of a leaf 20, of a table 7 + 6 TOKENS. Returns its length,
   or -1 where there is no memory. */
EXPORT int64_t tp_pack_tree(const int32_t *nodes, int64_t node_count, const int32_t *flags, const int32_t *tables,
                            const int32_t *levels, int32_t own, uint8_t *out)
{
    Context state[TREE_CONTEXTS];
    contexts_begin(state, TREE_CONTEXTS);
    Writer w = {0, 0xFFFFFFFFu, 0, 1, 0, out};
    int32_t *waiting = malloc(sizeof(int32_t) * (size_t)(node_count + 2));
    if (!waiting)
        return -1;
    int64_t depth = 0;
    waiting[0] = node_count ? 0 : ~0;
    write_number(&w, state, own, COUNT_WIDTH, OF_TABLE);
    while (depth >= 0) {
        int32_t node = waiting[depth--];
        write_number(&w, state, node >= 0, 1, OF_SPLIT);
        if (node < 0) {
            write_number(&w, state, flags[2 * ~node], FLAG_WIDTH, OF_WEST);
            write_number(&w, state, flags[2 * ~node + 1], FLAG_WIDTH, OF_NORTH);
            write_number(&w, state, tables[~node], COUNT_WIDTH, OF_TABLE);
            continue;
        }
        const int32_t *asked = nodes + 4 * node;
        int32_t size = tp_abs(asked[1]), bits = tp_bit_length(size);
        write_number(&w, state, asked[0], PROPERTY_WIDTH, OF_PROPERTY);
        write_number(&w, state, bits, SIZE_WIDTH, OF_SIZE);
        if (bits)
            write_number(&w, state, asked[1] < 0, 1, OF_SIGN);
        for (int k = bits - 2; k >= 0; k--)
            write_number(&w, state, size >> k & 1, 1, OF_REST);
        waiting[++depth] = asked[3], waiting[++depth] = asked[2];
    }
    for (int32_t row = 0; row < own; row++) {
        const int32_t *of = levels + TOKENS * row;
        int32_t tokens = TOKENS, before = 0;
        while (tokens > 1 && !of[tokens - 1])
            tokens--;
        write_number(&w, state, tokens, TOKEN_WIDTH, OF_TOKENS);
        for (int32_t token = 0; token < tokens; token++) {
            write_number(&w, state, of[token], LEVEL_WIDTH, OF_LEVEL + 64 * (before >> 2));
            before = of[token];
        }
    }
    free(waiting);
    return write_end(&w);
}

static int32_t read_number(Bits *b, Context *state, int width, int first)
{
    int32_t before = 1;
    for (int k = 0; k < width; k++)
        before = 2 * before + read_bit(b, state + first + before - 1);
    return before - (1 << width);
}

/* Fill the arrays of a tree, which begin as zeros: nodes (limit, 4), flags (limit + 1, 2), tables
   (limit + 1,), levels (64, TOKENS). Counts: nodes, leaves, own tables, bytes asked for. Returns 0
   or a fault of ``TREE_…``. */
EXPORT int tp_read_tree(const uint8_t *data, int64_t size, int32_t limit, int32_t own_limit, int32_t properties,
                        int32_t flag_levels, int32_t table_levels, int32_t *nodes, int32_t *flags,
                        int32_t *tables, int32_t *levels, int64_t *counts)
{
    enum { NO_NODES = 1, FLAG, TABLE, NODES, PROPERTY, TOKENLESS, MAX_SIZE = 24 };
    Context state[TREE_CONTEXTS];
    contexts_begin(state, TREE_CONTEXTS);
    Bits b = bits_begin(data, size);
    int32_t n_nodes = 0, n_leaves = 0, fault = 0;
    int32_t own = read_number(&b, state, COUNT_WIDTH, OF_TABLE);
    if (own > own_limit)
        return TABLE;
    int32_t *waiting = calloc((size_t)limit + 2, 2 * sizeof(int32_t)); /* whose which child comes next */
    if (!waiting)
        return FAULT_MEMORY;
    int32_t depth = 0;
    waiting[0] = -1;
    while (depth >= 0) {
        int32_t parent = waiting[2 * depth], side = waiting[2 * depth + 1];
        depth--;
        int split = read_number(&b, state, 1, OF_SPLIT);
        if (parent >= 0)
            nodes[4 * parent + 2 + side] = split ? n_nodes : ~n_leaves;
        else if (!split) {
            fault = NO_NODES;
            goto done;
        }
        if (!split) {
            for (int k = 0; k < 2; k++) {
                int32_t flag = read_number(&b, state, FLAG_WIDTH, k ? OF_NORTH : OF_WEST);
                if (flag > flag_levels) {
                    fault = FLAG;
                    goto done;
                }
                flags[2 * n_leaves + k] = flag;
            }
            int32_t table = read_number(&b, state, COUNT_WIDTH, OF_TABLE);
            if (table > own) {
                fault = TABLE;
                goto done;
            }
            tables[n_leaves++] = table;
            continue;
        }
        if (n_nodes == limit) {
            fault = NODES;
            goto done;
        }
        int32_t kind = read_number(&b, state, PROPERTY_WIDTH, OF_PROPERTY);
        int32_t bits = read_number(&b, state, SIZE_WIDTH, OF_SIZE);
        if (kind >= properties || bits > MAX_SIZE) {
            fault = PROPERTY;
            goto done;
        }
        int32_t threshold = 0;
        if (bits) {
            int negative = read_number(&b, state, 1, OF_SIGN);
            threshold = 1;
            for (int k = 1; k < bits; k++)
                threshold = 2 * threshold + read_number(&b, state, 1, OF_REST);
            threshold = negative ? -threshold : threshold;
        }
        nodes[4 * n_nodes] = kind, nodes[4 * n_nodes + 1] = threshold;
        for (int k = 1; k >= 0; k--) {
            depth++;
            waiting[2 * depth] = n_nodes, waiting[2 * depth + 1] = k;
        }
        n_nodes++;
    }
    for (int32_t row = 0; row < own; row++) {
        int32_t tokens = read_number(&b, state, TOKEN_WIDTH, OF_TOKENS), before = 0;
        if (tokens == 0 || tokens > TOKENS) {
            fault = TOKENLESS;
            goto done;
        }
        for (int32_t token = 0; token < tokens; token++) {
            before = read_number(&b, state, LEVEL_WIDTH, OF_LEVEL + 64 * (before >> 2));
            if (before >= table_levels) {
                fault = TOKENLESS;
                goto done;
            }
            levels[TOKENS * row + token] = before;
        }
        if (before == 0) {
            fault = TOKENLESS;
            goto done;
        }
    }
done:
    free(waiting);
    counts[0] = n_nodes, counts[1] = n_leaves, counts[2] = own, counts[3] = b.at;
    return fault;
}
