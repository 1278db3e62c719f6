/* The coefficients of a component ↔ bits, as coefficients.py says (FORMAT.md §12.4). */
#include <stdlib.h>

#include "contexts.h"
#include "export.h"
#include "numbers.h"
#include "transform.h"

enum { IMPOSSIBLE = 0, DONE = 1, NO_ROOM = 2 };
enum { MOST_BYTES = 8192 }; /* of one block, 16 bits for each of its bits at worst */

/* 2^13 times what a frequency contributes at the centre of a border's samples. */
static const int64_t CENTRE[8] = {8192, 11363, 10703, 9633, 8192, 6436, 4433, 2260};

/* What codes: its slots, weights and classes. */
typedef struct {
    Coder c;
    uint32_t *slots;
    int32_t *weights;
    Classes of;
} Run;

/* What is known of each place from the neighbours' magnitudes. */
typedef struct {
    int32_t sum[80], mean[64], wide[64];
} Hints;

/* A block and what its contexts are made of. */
typedef struct {
    int16_t *block;
    const int16_t *above, *left, *other;
    const int64_t *step;
    Hints hints;
    int count;
} Block;

INLINE int sign_of(int64_t value)
{
    return (value != 0) + (value < 0);
}

/* The first slots of six contexts. */
#define PLACE(r, name, size, a, b, c_, d, e, f)                                                               \
    do {                                                                                                     \
        (r)->c.slots[0] = (r)->slots + name##_0 + (a) * (size);                                              \
        (r)->c.slots[1] = (r)->slots + name##_1 + (b) * (size);                                              \
        (r)->c.slots[2] = (r)->slots + name##_2 + (c_) * (size);                                             \
        (r)->c.slots[3] = (r)->slots + name##_3 + (d) * (size);                                              \
        (r)->c.slots[4] = (r)->slots + name##_4 + (e) * (size);                                              \
        (r)->c.slots[5] = (r)->slots + name##_5 + (f) * (size);                                              \
    } while (0)

static void foresee(const int16_t *above, const int16_t *left, const int16_t *corner, const int16_t *beyond, Hints *h)
{
    for (int k = 0; k < 64; k++) {
        int32_t a = abs(above[k]), b = abs(left[k]), c = abs(corner[k]), d = abs(beyond[k]);
        int32_t mean = (13 * (a + b) + 6 * c) >> 3;
        h->sum[k] = a + b;
        h->mean[k] = mean < 255 ? mean : 255;
        h->wide[k] = a + b + d;
    }
    for (int k = 9; k < 64; k++) {
        int32_t around = h->sum[k - 1] + h->sum[k + 1] + h->sum[k - 8] + h->sum[k + 8];
        int32_t wide = h->wide[k] + (around >> 1);
        h->wide[k] = wide < 255 ? wide : 255;
    }
}

/* Code the 49 coefficients of which ``count`` are not 0; returns 8 * the highest of their rows + the
   highest of their columns, or -1 where there are not so many. */
INLINE int code_inner(Run *r, int decoding, Block *b)
{
    const Classes *of = &r->of;
    const Hints *h = &b->hints;
    int64_t known[64] = {0};
    int remaining = b->count, before = 0, second = 0, far_u = 0, far_v = 0;
    const int many = of->count[b->count] * 16;
    for (int i = 0; i < 49 && remaining; i++) {
        int k = of->inner[i], o = b->other[k];
        int fine = of->fine[h->mean[k]], left_over = of->count[remaining];
        int64_t near = least(2 * (magnitude_of(known[k - 1]) + magnitude_of(known[k - 8])), 255);
        int c_other = of->coarse[least(abs(o), 63)], c_both = of->coarse[least((h->sum[k] + 1) >> 1, 63)];
        int spare = (int)least(49 - i - remaining, 47) * 21846 >> 16;
        PLACE(r, INNER, VALUE_SLOTS,
              ((int)least(remaining, 15) * 16 + spare) * 9 + (int)least(before, 2) * 3 + (int)least(second, 2),
              (i * 16 + of->fine[near]) * 8 + (int)least(left_over, 7),
              i * 64 + c_other * 8 + c_both,
              i * 16 + of->fine[h->wide[k]],
              (many + fine) * 8 + c_other,
              (left_over * 16 + fine) * 16 + (int)least((49 - i) * 21846 >> 16, 15));
        int64_t value = b->block[k];
        int length = code_length(&r->c, decoding, magnitude_of(value),
                                 SET(r->weights, INNER_SET + i * VALUE_SLOTS), VALUE_SLOTS - 1);
        second = before, before = length;
        if (length == 0)
            continue;
        int sign = value < 0;
        if (o == 0) /* no component foretells it, and mixing others gains next to nothing */
            sign = code_plain(&r->c, decoding, sign, r->slots + SIGN_1 + k * 32);
        else {
            int s_above = sign_of(b->above[k]), s_left = sign_of(b->left[k]), s_other = sign_of(o);
            PLACE(r, SIGN, 1,
                  k * 16 + (int)least(abs(o), 7) * 2 + (o < 0),
                  k * 32,
                  s_other * 9 + s_above * 3 + s_left,
                  k * 9 + s_other * 3 + s_above,
                  k * 16 + sign_of(known[k - 9]),
                  k * 9 + s_above * 3 + s_left);
            sign = code_mixed(&r->c, decoding, sign, 0, SET(r->weights, SIGN_SET + k));
        }
        value = code_rest(&r->c, decoding, magnitude_of(value), sign, r->slots + REST_AT, length, h->mean[k] >> 1);
        if (decoding) {
            if (value > 32767 || value < -32767)
                return -1;
            b->block[k] = (int16_t)value;
        }
        known[k] = value;
        remaining--;
        far_u = (k & 7) > far_u ? k & 7 : far_u, far_v = k >> 3 > far_v ? k >> 3 : far_v;
    }
    return remaining == 0 ? far_v * 8 + far_u : -1;
}

/* Eight times the coefficient at a place of the first row or column as the border foretells it;
   across : places from one to the next towards the border. */
static int64_t predict_edge(const int16_t *block, const int16_t *border, int at, int across, const int64_t *steps)
{
    int64_t total = border[at] * steps[at] * CENTRE[0];
    for (int k = 1; k < 8; k++) {
        int place = at + k * across, theirs = border[place];
        total += ((k & 1 ? -theirs : theirs) - block[place]) * steps[place] * CENTRE[k];
    }
    return floor_divide(total, (steps[at] > 1 ? steps[at] : 1) << 10);
}

/* Code the coefficients of the first row (side 0) or column, of which ``here`` are not 0; says whether
   there are so many. */
INLINE int code_side(Run *r, int decoding, Block *b, int side, int has_border, int here)
{
    const Classes *of = &r->of;
    const int along = side ? 8 : 1, across = side ? 1 : 8, many = of->count[b->count];
    const int16_t *border = side ? b->left : b->above;
    int remaining = here, before = 0, second = 0;
    for (int u = 1; u < 8 && remaining; u++) {
        int k = u * along, e = side * 7 + u - 1, o = b->other[k];
        int64_t guess = has_border ? predict_edge(b->block, border, k, across, b->step) : 0;
        int64_t size = magnitude_of(guess);
        int fine = of->fine[b->hints.mean[k]], guessed = of->fine[least((size + 1) >> 1, 255)];
        int c_other = of->coarse[least(abs(o), 63)], c_size = of->coarse[least((size + 4) >> 3, 63)];
        PLACE(r, EDGE, VALUE_SLOTS,
              (e * 16 + guessed) * 16 + fine,
              (e * 12 + many) * 8 + remaining,
              e * 64 + c_other * 8 + c_size,
              (e * 9 + (int)least(before, 2) * 3 + (int)least(second, 2)) * 8 + remaining,
              (guessed * 16 + fine) * 12 + many,
              (e * 16 + guessed) * 8 + remaining);
        int64_t value = b->block[k];
        int length = code_length(&r->c, decoding, magnitude_of(value),
                                 SET(r->weights, EDGE_SET + e * VALUE_SLOTS), VALUE_SLOTS - 1);
        second = before, before = length;
        if (length == 0)
            continue;
        int s_above = sign_of(b->above[k]), s_left = sign_of(b->left[k]), s_other = sign_of(o);
        int s_guess = sign_of(guess);
        PLACE(r, SIGN, 1,
              k * 16 + (int)least(abs(o), 7) * 2 + (o < 0),
              k * 32 + guessed * 2 + (guess < 0),
              s_other * 9 + s_guess * 3 + s_left,
              k * 9 + s_other * 3 + s_above,
              k * 16 + guessed,
              k * 9 + s_guess * 3 + s_other);
        int sign = code_mixed(&r->c, decoding, value < 0, 0, SET(r->weights, SIGN_SET + k));
        value = code_rest(&r->c, decoding, magnitude_of(value), sign, r->slots + REST_AT + REST, length, size >> 1);
        if (decoding) {
            if (value > 32767 || value < -32767)
                return 0;
            b->block[k] = (int16_t)value;
        }
        remaining--;
    }
    return remaining == 0;
}

/* Last and second-last lines of the blocks above or left, in eighths of a sample. */
typedef struct {
    int64_t last[8], second[8];
} Border;

/* Return the level that meets the borders best; spread becomes how far apart what they say is.
   pixels : (64,) of the block without its mean, in eighths of a sample. */
static int64_t predict_mean(const int64_t *pixels, const Border *above, const Border *left, int64_t *spread)
{
    int64_t found[16], total = 0;
    int n = 0;
    for (int x = 0; x < 8; x++) {
        if (above) {
            int64_t ours = pixels[x] + ((pixels[x] - pixels[8 + x]) >> 1);
            found[n++] = above->last[x] + ((above->last[x] - above->second[x]) >> 1) - ours;
        }
        if (left) {
            int64_t ours = pixels[8 * x] + ((pixels[8 * x] - pixels[8 * x + 1]) >> 1);
            found[n++] = left->last[x] + ((left->last[x] - left->second[x]) >> 1) - ours;
        }
    }
    *spread = 0;
    if (n == 0)
        return 0;
    for (int i = 1; i < n; i++) {
        int64_t value = found[i];
        int j = i - 1;
        for (; j >= 0 && found[j] > value; j--)
            found[j + 1] = found[j];
        found[j + 1] = value;
    }
    for (int i = n / 4; i < n - n / 4; i++)
        total += found[i];
    int64_t used = n - 2 * (n / 4);
    *spread = found[n - 1 - n / 8] - found[n / 8];
    return floor_divide(2 * total + used, 2 * used);
}

/* How far the means of the blocks left, above and of another component were from what was told. */
typedef struct {
    int32_t left, above, cross;
} Misses;

/* Code a block's mean, whose step is q; returns it, and how far it is from what was told. */
INLINE int64_t code_mean(Run *r, int decoding, const Block *b, int64_t level, int64_t spread, Misses m, int32_t *miss)
{
    const Classes *of = &r->of;
    const int64_t q = b->step[0] > 1 ? b->step[0] : 1;
    int64_t guess = floor_divide(2 * level + q, 2 * q);
    guess = guess < -32768 ? -32768 : guess > 32767 ? 32767 : guess;
    int64_t part = floor_divide((level - guess * q) * 8, q) + 4, far = spread / q;
    part = part < 0 ? 0 : part > 7 ? 7 : part;
    int64_t left = magnitude_of(m.left), above = magnitude_of(m.above);
    int doubt = of->fine[least(far * 2, 255)], around = of->fine[least(left + above, 255)];
    int c_miss = of->coarse[least(magnitude_of(m.cross), 63)];
    int c_left = of->coarse[least(left, 63)], c_above = of->coarse[least(above, 63)];
    int many = of->count[b->count];
    PLACE(r, MEAN, MEAN_SLOTS, c_left * 8 + c_above, doubt * 8 + c_miss, (around >> 1) * 8 + c_miss,
          doubt * 12 + many, many, c_miss);
    int64_t value = b->block[0] - guess;
    int length = code_length(&r->c, decoding, magnitude_of(value), SET(r->weights, MEAN_SET), MEAN_SLOTS - 1);
    *miss = 0;
    if (length == 0)
        return guess;
    int s_left = sign_of(m.left), s_above = sign_of(m.above), s_cross = sign_of(m.cross);
    PLACE(r, MEAN_SIGN, 1, c_left * 2 + (m.left < 0), c_above * 2 + (m.above < 0), s_cross * 3 + s_left,
          c_miss * 2 + (m.cross < 0), part, s_cross * 9 + s_left * 3 + s_above);
    int sign = code_mixed(&r->c, decoding, value < 0, 0, SET(r->weights, MEAN_SET + MEAN_SLOTS));
    value = code_rest(&r->c, decoding, magnitude_of(value), sign, r->slots + REST_AT + 2 * REST, length, far);
    *miss = (int32_t)value;
    return value + guess;
}

/* Numbers of coefficients of the blocks around, and at a place of another component. */
typedef struct {
    int above, left, beyond, far, cross;
} Counts;

/* Code how many of the 49 coefficients are not 0. */
INLINE int code_counts(Run *r, int decoding, const int16_t *block, Counts n)
{
    const Classes *of = &r->of;
    int above = n.above & 63, left = n.left & 63, cross = n.cross & 63, average = (above + left + 1) >> 1, count = 0;
    PLACE(r, COUNT, COUNT_SLOTS, cross, of->count[cross] * 12 + of->count[average], left, above,
          of->count[above] * 12 + of->count[left], of->count[n.beyond & 63] * 12 + of->count[n.far & 63]);
    if (!decoding)
        for (int i = 0; i < 49; i++)
            count += block[of->inner[i]] != 0;
    return code_count(&r->c, decoding, count, 6, SET(r->weights, COUNT_SET));
}

/* Code how many of a side's seven coefficients are not 0; n_row : how many the first row has. */
INLINE int code_side_count(Run *r, int decoding, const Block *b, int side, Counts n, int n_row, int far)
{
    const int along = side ? 8 : 1, many = r->of.count[b->count], shift = 6 + 3 * side;
    int above = n.above >> shift & 7, left = n.left >> shift & 7, cross = n.cross >> shift & 7;
    int average = (above + left + 1) >> 1, here = 0;
    PLACE(r, SIDE, SIDE_SLOTS,
          side * 64 + cross * 8 + average,
          side * 50 + b->count,
          (side * 12 + many) * 15 + above + left,
          side * 64 + n_row * 8 + far,
          side * 64 + n_row * 8 + average,
          side);
    if (!decoding)
        for (int u = 1; u < 8; u++)
            here += b->block[u * along] != 0;
    return code_count(&r->c, decoding, here, 3, SET(r->weights, SIDE_SET + side * SIDE_SLOTS));
}

/* Eighths of samples of a block without its mean. */
static void render(const Block *b, int64_t *pixels)
{
    int64_t sum = dequantise(b->block, b->step, pixels) - magnitude_of(pixels[0]);
    pixels[0] = 0;
    if (sum > SMALL) {
        inverse_64(pixels, 2, 0);
        return;
    }
    int32_t small[64];
    for (int k = 0; k < 64; k++)
        small[k] = (int32_t)pixels[k];
    inverse_32(small, 2, 0);
    for (int k = 0; k < 64; k++)
        pixels[k] = small[k];
}

/* A component's blocks, (rows, columns) of ``blocks`` from ``first`` on. */
typedef struct {
    int16_t *blocks;
    int64_t first, rows, columns;
    const int32_t *owners;                /* (rows, columns), the stream of each, or -1 */
    const int64_t *steps;                 /* (streams, 64) */
    int64_t cross;                        /* the first block of the component to look at, or -1 */
    int64_t cross_v, cross_h;             /* its blocks for each of ours */
    int64_t cross_columns;
    int32_t related;                      /* its coefficients are alike ours in place */
    int32_t *counts, *misses;             /* (rows, columns), filled */
    const int32_t *cross_counts, *cross_misses;
} Component;

INLINE int code_block(Run *r, int decoding, const Component *p, int64_t row, int64_t column, Border *bottoms,
                      Border *right)
{
    static const int16_t nothing[64] = {0};
    const int64_t columns = p->columns, cell = row * columns + column;
    const int32_t *owners = p->owners + cell;
    int16_t *block = p->blocks + 64 * (p->first + cell);
    const int has_above = row > 0 && owners[-columns] >= 0, has_left = column > 0 && owners[-1] >= 0;
    const int is_beyond = has_above && column + 1 < columns && owners[1 - columns] >= 0;
    Block b = {.block = block, .step = p->steps + 64 * *owners, .other = nothing};
    b.above = has_above ? block - 64 * columns : has_left ? block - 64 : nothing;
    b.left = has_left ? block - 64 : b.above;
    const int16_t *corner = has_above && has_left ? block - 64 * columns - 64 : b.above;
    const int16_t *beyond = is_beyond ? block - 64 * columns + 64 : b.above;
    int32_t *counts = p->counts + cell, *misses = p->misses + cell;
    Counts n = {.above = has_above ? counts[-columns] : has_left ? counts[-1] : 0};
    n.left = has_left ? counts[-1] : n.above;
    n.beyond = is_beyond ? counts[1 - columns] : n.above;
    n.far = column > 1 ? counts[-2] : n.left;
    Misses m = {has_left ? misses[-1] : 0, has_above ? misses[-columns] : 0, 0};
    if (p->cross >= 0) {
        int64_t at = row * p->cross_v * p->cross_columns + column * p->cross_h;
        n.cross = p->cross_counts[at], m.cross = p->cross_misses[at];
        if (p->related)
            b.other = p->blocks + 64 * (p->cross + at);
    }
    b.count = code_counts(r, decoding, block, n);
    if (b.count > 49)
        return IMPOSSIBLE;
    memset(b.hints.sum + 64, 0, 16 * sizeof(int32_t));
    foresee(b.above, b.left, corner, beyond, &b.hints);
    int far = code_inner(r, decoding, &b), along = 0;
    if (far < 0)
        return IMPOSSIBLE;
    *counts = b.count;
    for (int side = 0; side < 2; side++) {
        int here = code_side_count(r, decoding, &b, side, n, along, side ? far >> 3 : far & 7);
        if (!code_side(r, decoding, &b, side, side ? has_left : has_above, here))
            return IMPOSSIBLE;
        *counts += here << (6 + 3 * side);
        along = here;
    }
    int64_t pixels[64] = {0}, spread;
    if (*counts)
        render(&b, pixels);
    int64_t level = predict_mean(pixels, has_above ? bottoms : 0, has_left ? right : 0, &spread);
    int64_t mean = code_mean(r, decoding, &b, level, spread, m, misses);
    if (mean > 32767 || mean < -32768)
        return IMPOSSIBLE;
    block[0] = (int16_t)mean;
    level = mean * b.step[0];
    for (int x = 0; x < 8; x++) {
        bottoms->last[x] = pixels[56 + x] + level, bottoms->second[x] = pixels[48 + x] + level;
        right->last[x] = pixels[8 * x + 7] + level, right->second[x] = pixels[8 * x + 6] + level;
    }
    return DONE;
}

INLINE int code_all(Run *r, int decoding, const Component *p, Border *bottoms)
{
    Border right;
    memset(&right, 0, sizeof right);
    for (int64_t row = 0; row < p->rows; row++)
        for (int64_t column = 0; column < p->columns; column++) {
            if (p->owners[row * p->columns + column] < 0)
                continue;
            if (!decoding && r->c.at + MOST_BYTES > r->c.size)
                return NO_ROOM;
            int result = code_block(r, decoding, p, row, column, bottoms + column, &right);
            if (result != DONE)
                return result;
        }
    return DONE;
}

/* Code a component's blocks; returns DONE, or IMPOSSIBLE or NO_ROOM where it cannot go on, or
   FAULT_MEMORY. slots : (slot_count,); weights : (set_count, INPUTS); zigzag : (64,). */
EXPORT int tp_code_component(int64_t *state, uint8_t *data, int64_t size, int decoding, const Component *component,
                             uint32_t *slots, int64_t slot_count, int32_t *weights, int64_t set_count,
                             const int64_t *zigzag, const uint16_t *squash, const int16_t *stretch,
                             const uint16_t *rate)
{
    if (slot_count != SLOTS || set_count != WEIGHT_SETS)
        return IMPOSSIBLE;
    Border *bottoms = calloc((size_t)component->columns + 1, sizeof(Border));
    if (!bottoms)
        return FAULT_MEMORY;
    Run r = {resume(state, data, size, (Curves){squash, stretch, rate}), slots, weights, classes_of(zigzag)};
    int result = decoding ? code_all(&r, 1, component, bottoms) : code_all(&r, 0, component, bottoms);
    suspend(&r.c, state);
    free(bottoms);
    return !decoding && r.c.at > size ? NO_ROOM : result;
}
