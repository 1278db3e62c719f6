/* Features of a row of a band, from all that is decoded before it: FORMAT.md §15.4.

   Two features of 16 bits each share a number; pair k of cell x is at pairs[k * width + x]. Pair 0, the two
   cells to the left, is left to the loop that decodes. */

/* What lies around a band of a plane. */
typedef struct {
    const Band *up, *left, *up2, *left2, *diagonal, *other; /* lapped: lower frequencies */
    const Band *parent[3], *grandparent, *sibling[2];       /* wavelet; parent[0]: of the same orientation */
    const uint16_t *between[2];                             /* lapped: the next frequencies of the plane before */
    int64_t context_mean;                                   /* 1/256 */
    int32_t coded;                                          /* lapped: bands in ``energy`` */
    const uint16_t *energy;                                 /* (height, width) sums of their logarithms */
} Around;

static const Band *band_at(const Bands *all, int net, int down, int across)
{
    for (int k = 0; k < all->count; k++)
        if (all->band[k].net == net && all->band[k].down == down && all->band[k].across == across)
            return all->band + k;
    return 0;
}

static Around around(const Bands *all, const Band *band, const uint16_t *energy, int32_t coded)
{
    Around a = {0};
    const Band *found[2];
    int v = band->down, u = band->across;
    if (band->net == LAPPED) {
        a.up = v > 0 && v - 1 + u > 0 ? band_at(all, LAPPED, v - 1, u) : 0;
        a.left = u > 0 && v + u - 1 > 0 ? band_at(all, LAPPED, v, u - 1) : 0;
        a.up2 = v > 1 && v - 2 + u > 0 ? band_at(all, LAPPED, v - 2, u) : 0;
        a.left2 = u > 1 && v + u - 2 > 0 ? band_at(all, LAPPED, v, u - 2) : 0;
        a.diagonal = v > 0 && u > 0 && v + u > 2 ? band_at(all, LAPPED, v - 1, u - 1) : 0;
        a.other = v > 0 && u < 7 ? band_at(all, LAPPED, v - 1, u + 1) : 0;
        found[0] = v < 7 ? band_at(all, LAPPED, v + 1, u) : 0;
        found[1] = u < 7 ? band_at(all, LAPPED, v, u + 1) : 0;
        for (int k = 0; k < 2; k++)
            a.between[k] = found[k] ? found[k]->before : 0;
        a.energy = energy, a.coded = coded;
        a.context_mean = ((a.up ? a.up->mean : 0) + (a.left ? a.left->mean : 0)) / (a.up && a.left ? 2 : 1);
    } else {
        for (int k = 1; k < 4; k++)
            a.parent[k == u ? 0 : k < u ? k : k - 1] = band_at(all, WAVELET, v + 1, k);
        a.grandparent = band_at(all, WAVELET, v + 2, u);
        for (int k = 1; k < u; k++)
            a.sibling[k - 1] = band_at(all, WAVELET, v, k);
        a.context_mean = a.parent[0] ? a.parent[0]->mean : 0;
    }
    return a;
}

INLINE void put(int32_t *pairs, int64_t x, int32_t low, int32_t high) { pairs[x] = low | high << 16; }

/* The cells of row y of a map that may not be there. */
static const uint16_t *row_or(const uint16_t *map, int64_t pitch, int64_t y, const uint16_t *none)
{
    return map ? map + y * pitch : none;
}

#define ROW(band, map, y) row_or((band) ? (band)->map : 0, (band) ? (band)->pitch : 0, (y), none)

static void lapped_row(const Band *band, const Around *a, int64_t y, const uint16_t *none, int32_t *pairs)
{
    int64_t w = band->width, p = band->pitch;
    const uint16_t *up = ROW(a->up, own, y), *left = ROW(a->left, own, y);
    const uint16_t *up2 = ROW(a->up2, own, y), *left2 = ROW(a->left2, own, y);
    const uint16_t *diagonal = ROW(a->diagonal, own, y), *other = ROW(a->other, own, y);
    const uint16_t *up_sums = ROW(a->up, sums, y), *left_sums = ROW(a->left, sums, y);
    const uint16_t *above[2] = {ROW(a->up, sums, y - 2), ROW(a->left, sums, y - 2)};
    const uint16_t *below[2] = {ROW(a->up, sums, y + 2), ROW(a->left, sums, y + 2)};
    const uint16_t *before = row_or(band->before, p, y, none), *sums = row_or(band->before_sums, p, y, none);
    const uint16_t *next[4] = {row_or(a->up ? a->up->before : 0, p, y, none),
                               row_or(a->left ? a->left->before : 0, p, y, none),
                               row_or(a->between[0], p, y, none), row_or(a->between[1], p, y, none)};
    const uint16_t *energy = a->energy + y * w;
    int32_t share = a->coded ? 65536 / a->coded : 0;
    for (int64_t x = 0; x < w; x++)
        put(pairs + 3 * w, x, up[x], left[x]);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 4 * w, x, up2[x], left2[x]);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 5 * w, x, diagonal[x], other[x]);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 6 * w, x, up_sums[x] >> 3, left_sums[x] >> 3);
    for (int64_t x = 0; x < w; x++) {
        int32_t first = above[0][x - 2] + above[0][x + 2] + below[0][x - 2] + below[0][x + 2];
        int32_t second = above[1][x - 2] + above[1][x + 2] + below[1][x - 2] + below[1][x + 2];
        put(pairs + 7 * w, x, (first + second) >> 6, (int32_t)((uint32_t)(energy[x] * share) >> 16));
    }
    for (int64_t x = 0; x < w; x++)
        put(pairs + 8 * w, x, before[x], sums[x] >> 3);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 9 * w, x, (next[0][x] + next[1][x] + next[2][x] + next[3][x]) >> 2, 0);
}

/* A map's row at half the resolution. */
static void widened(const uint16_t *from, int64_t width, int by, uint16_t *to)
{
    for (int64_t x = 0; x < width; x++)
        to[x] = from[x >> by];
}

static void wavelet_row(const Band *band, const Around *a, int64_t y, const uint16_t *none, uint16_t *room,
                        int32_t *pairs)
{
    int64_t w = band->width, p = band->pitch;
    uint16_t *parent = room, *sums = room + w, *others[2] = {room + 2 * w, room + 3 * w}, *grand = room + 4 * w;
    widened(ROW(a->parent[0], own, y >> 1), w, 1, parent);
    widened(ROW(a->parent[0], sums, y >> 1), w, 1, sums);
    widened(ROW(a->parent[1], sums, y >> 1), w, 1, others[0]);
    widened(ROW(a->parent[2], sums, y >> 1), w, 1, others[1]);
    widened(ROW(a->grandparent, sums, y >> 2), w, 2, grand);
    /* siblings may be a row or a column smaller: beyond them are zeros of their margin */
    const uint16_t *sibling[2] = {ROW(a->sibling[0], own, y), ROW(a->sibling[1], own, y)};
    const uint16_t *around[2] = {ROW(a->sibling[0], sums, y), ROW(a->sibling[1], sums, y)};
    const uint16_t *before = row_or(band->before, p, y, none), *before_sums = row_or(band->before_sums, p, y, none);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 3 * w, x, parent[x], sums[x] >> 3);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 4 * w, x, (sums[x] + others[0][x] + others[1][x]) / 24, grand[x] >> 3);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 5 * w, x, sibling[0][x], around[0][x] >> 3);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 6 * w, x, sibling[1][x], around[1][x] >> 3);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 7 * w, x, before[x], before_sums[x] >> 3);
    for (int64_t x = 0; x < 2 * w; x++)
        pairs[8 * w + x] = 0;
}

/* Pairs 1 to PAIRS - 1 of row y; ``running`` is the mean of the rows above, in 1/256. */
static void row_features(const Band *band, const Around *a, int64_t y, int64_t running, const uint16_t *none,
                         uint16_t *room, int32_t *pairs)
{
    int64_t w = band->width, p = band->pitch;
    const uint16_t *n = band->own + (y - 1) * p, *nn = band->own + (y - 2) * p;
    for (int64_t x = 0; x < w; x++)
        put(pairs + w, x, n[x], (n[x - 1] + n[x + 1]) >> 1);
    for (int64_t x = 0; x < w; x++)
        put(pairs + 2 * w, x, nn[x], (nn[x - 1] + nn[x + 1] + n[x - 2] + n[x + 2]) >> 2);
    if (band->net == LAPPED)
        lapped_row(band, a, y, none, pairs);
    else
        wavelet_row(band, a, y, none, room, pairs);
    int32_t own = tp_log16((uint32_t)running), context = tp_log16((uint32_t)a->context_mean);
    for (int64_t x = 0; x < w; x++)
        pairs[9 * w + x] |= own << 16;
    for (int64_t x = 0; x < w; x++)
        put(pairs + 10 * w, x, context, band->before_mean);
}
#undef ROW
