/* The two linear transforms of a plane and back, in IEEE-754 single precision: FORMAT.md §15.5.

   Sums are written out, in one order and without contraction (-ffp-contract=off): the same bits on every
   machine and in every width of vectors, for vectors run along rows and never across a sum. */
#include <stdlib.h>
#include <string.h>

#include "tile.h"

/* Cosines of the orthonormal DCT of 8: each is the single next to sqrt(1/8) or cos(k pi / 16) / 2. */
#define C0 0x1.6a09e6p-2f
#define C1 0x1.f6297cp-2f
#define C2 0x1.d906bcp-2f
#define C3 0x1.a9b662p-2f
#define C5 0x1.1c73b4p-2f
#define C6 0x1.87de2ap-3f
#define C7 0x1.8f8b84p-4f

/* What lapping does to differences across a border: the decoder's is in 1/4096, the encoder's its inverse. */
#define Q(a) ((a) / 4096.0f)
static const float UNLAP[4][4] = {{Q(2881), Q(-2350), Q(372), Q(-235)},
                                  {Q(1604), Q(2395), Q(-1892), Q(-171)},
                                  {Q(213), Q(1035), Q(2971), Q(-1218)},
                                  {Q(84), Q(31), Q(324), Q(3325)}};
static const float LAP[4][4] = {{0.9540325403213501f, 0.7809075713157654f, 0.3520481288433075f, 0.23654961585998535f},
                                {-0.552676796913147f, 0.8986737728118896f, 0.6161039471626282f, 0.2328447550535202f},
                                {0.11189859360456467f, -0.3659577965736389f, 1.0892746448516846f, 0.38810646533966064f},
                                {-0.02985290251672268f, 0.0075534433126449585f, -0.1207808330655098f, 1.1859142780303955f}};

/* Lengths of the basis that the decoder sums, of a DCT's frequencies and of levels of CDF 9/7. */
static const float LAPPED_LENGTH[8] = {Q(3437), Q(3457), Q(3797), Q(3804), Q(3934), Q(3924), Q(4014), Q(3999)};
static const float LOW_LENGTH[6] = {1.0f, Q(4061), Q(4158), Q(4201), Q(4214), Q(4217)};
static const float HIGH_LENGTH[6] = {1.0f, Q(4178), Q(4028), Q(4176), Q(4247), Q(4268)};

/* Lifting of CDF 9/7 (ISO/IEC 15444-1 annex F). */
#define ALPHA -1.586134342f
#define BETA -0.05298011854f
#define GAMMA 0.8829110762f
#define DELTA 0.4435068522f
#define KAPPA 1.149604398f
#define KAPPA_INVERSE 0.86986445f

float tp_lapped_length(int v, int u) { return LAPPED_LENGTH[v] * LAPPED_LENGTH[u]; }

/* orientation: 0 low, 1 high across, 2 high down, 3 high both. */
float tp_wavelet_length(int level, int orientation)
{
    float across = (orientation & 1 ? HIGH_LENGTH : LOW_LENGTH)[level];
    float down = (orientation & 2 ? HIGH_LENGTH : LOW_LENGTH)[level];
    return across * down;
}

static void transpose(const float *from, int64_t from_pitch, int64_t rows, int64_t columns, float *to, int64_t to_pitch)
{
    for (int64_t y0 = 0; y0 < rows; y0 += 16)
        for (int64_t x0 = 0; x0 < columns; x0 += 16) {
            int64_t y1 = y0 + 16 < rows ? y0 + 16 : rows, x1 = x0 + 16 < columns ? x0 + 16 : columns;
            for (int64_t x = x0; x < x1; x++)
                for (int64_t y = y0; y < y1; y++)
                    to[x * to_pitch + y] = from[y * from_pitch + x];
        }
}

/* Lapped 8 x 8 -------------------------------------------------------------------------------- */

/* The filter across the border in the middle of eight rows. */
static void across_border(float *at, int64_t pitch, int64_t width, const float m[4][4])
{
    float *restrict r0 = at, *restrict r1 = r0 + pitch, *restrict r2 = r1 + pitch, *restrict r3 = r2 + pitch;
    float *restrict r4 = r3 + pitch, *restrict r5 = r4 + pitch, *restrict r6 = r5 + pitch, *restrict r7 = r6 + pitch;
    for (int64_t x = 0; x < width; x++) {
        float s0 = r0[x] + r7[x], s1 = r1[x] + r6[x], s2 = r2[x] + r5[x], s3 = r3[x] + r4[x];
        float d0 = r3[x] - r4[x], d1 = r2[x] - r5[x], d2 = r1[x] - r6[x], d3 = r0[x] - r7[x];
        float e0 = ((m[0][0] * d0 + m[0][1] * d1) + m[0][2] * d2) + m[0][3] * d3;
        float e1 = ((m[1][0] * d0 + m[1][1] * d1) + m[1][2] * d2) + m[1][3] * d3;
        float e2 = ((m[2][0] * d0 + m[2][1] * d1) + m[2][2] * d2) + m[2][3] * d3;
        float e3 = ((m[3][0] * d0 + m[3][1] * d1) + m[3][2] * d2) + m[3][3] * d3;
        r0[x] = 0.5f * (s0 + e3), r1[x] = 0.5f * (s1 + e2), r2[x] = 0.5f * (s2 + e1), r3[x] = 0.5f * (s3 + e0);
        r4[x] = 0.5f * (s3 - e0), r5[x] = 0.5f * (s2 - e1), r6[x] = 0.5f * (s1 - e2), r7[x] = 0.5f * (s0 - e3);
    }
}

static void borders(float *plane, int64_t height, int64_t width, const float m[4][4])
{
    for (int64_t y = 8; y + 8 <= height; y += 8)
        across_border(plane + (y - 4) * width, width, width, m);
}

static void dct_rows(float *at, int64_t pitch, int64_t width)
{
    float *restrict r0 = at, *restrict r1 = r0 + pitch, *restrict r2 = r1 + pitch, *restrict r3 = r2 + pitch;
    float *restrict r4 = r3 + pitch, *restrict r5 = r4 + pitch, *restrict r6 = r5 + pitch, *restrict r7 = r6 + pitch;
    for (int64_t x = 0; x < width; x++) {
        float s0 = r0[x] + r7[x], s1 = r1[x] + r6[x], s2 = r2[x] + r5[x], s3 = r3[x] + r4[x];
        float d0 = r0[x] - r7[x], d1 = r1[x] - r6[x], d2 = r2[x] - r5[x], d3 = r3[x] - r4[x];
        r0[x] = C0 * ((s0 + s3) + (s1 + s2));
        r4[x] = C0 * ((s0 + s3) - (s1 + s2));
        r2[x] = C2 * (s0 - s3) + C6 * (s1 - s2);
        r6[x] = C6 * (s0 - s3) - C2 * (s1 - s2);
        r1[x] = ((C1 * d0 + C3 * d1) + C5 * d2) + C7 * d3;
        r3[x] = ((C3 * d0 - C7 * d1) - C1 * d2) - C5 * d3;
        r5[x] = ((C5 * d0 - C1 * d1) + C7 * d2) + C3 * d3;
        r7[x] = ((C7 * d0 - C5 * d1) + C3 * d2) - C1 * d3;
    }
}

static void inverse_dct_rows(float *at, int64_t pitch, int64_t width)
{
    float *restrict r0 = at, *restrict r1 = r0 + pitch, *restrict r2 = r1 + pitch, *restrict r3 = r2 + pitch;
    float *restrict r4 = r3 + pitch, *restrict r5 = r4 + pitch, *restrict r6 = r5 + pitch, *restrict r7 = r6 + pitch;
    for (int64_t x = 0; x < width; x++) {
        float y1 = r1[x], y3 = r3[x], y5 = r5[x], y7 = r7[x];
        float a = C0 * (r0[x] + r4[x]), b = C0 * (r0[x] - r4[x]);
        float c = C2 * r2[x] + C6 * r6[x], d = C6 * r2[x] - C2 * r6[x];
        float e0 = a + c, e1 = b + d, e2 = b - d, e3 = a - c;
        float o0 = ((C1 * y1 + C3 * y3) + C5 * y5) + C7 * y7;
        float o1 = ((C3 * y1 - C7 * y3) - C1 * y5) - C5 * y7;
        float o2 = ((C5 * y1 - C1 * y3) + C7 * y5) + C3 * y7;
        float o3 = ((C7 * y1 - C5 * y3) + C3 * y5) - C1 * y7;
        r0[x] = e0 + o0, r1[x] = e1 + o1, r2[x] = e2 + o2, r3[x] = e3 + o3;
        r4[x] = e3 - o3, r5[x] = e2 - o2, r6[x] = e1 - o1, r7[x] = e0 - o0;
    }
}

/* Coefficient (v, u) of block (i, j) lies at row 8 i + v, column 8 j + u. Sides are multiples of 8. */
EXPORT int tp_lapped(float *plane, int64_t height, int64_t width)
{
    float *turned = malloc(sizeof(float) * (size_t)(height * width));
    if (!turned)
        return FAULT_MEMORY;
    borders(plane, height, width, LAP);
    for (int64_t y = 0; y < height; y += 8)
        dct_rows(plane + y * width, width, width);
    transpose(plane, width, height, width, turned, height);
    borders(turned, width, height, LAP);
    for (int64_t x = 0; x < width; x += 8)
        dct_rows(turned + x * height, height, height);
    transpose(turned, height, width, height, plane, width);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            plane[y * width + x] *= tp_lapped_length((int)(y & 7), (int)(x & 7));
    free(turned);
    return 0;
}

EXPORT int tp_lapped_inverse(float *plane, int64_t height, int64_t width)
{
    float *turned = malloc(sizeof(float) * (size_t)(height * width)), inverse[8][8];
    if (!turned)
        return FAULT_MEMORY;
    for (int v = 0; v < 8; v++)
        for (int u = 0; u < 8; u++)
            inverse[v][u] = 1.0f / tp_lapped_length(v, u);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x += 8)
            for (int u = 0; u < 8; u++)
                plane[y * width + x + u] *= inverse[y & 7][u];
    transpose(plane, width, height, width, turned, height);
    for (int64_t x = 0; x < width; x += 8)
        inverse_dct_rows(turned + x * height, height, height);
    borders(turned, width, height, UNLAP);
    transpose(turned, height, width, height, plane, width);
    for (int64_t y = 0; y < height; y += 8)
        inverse_dct_rows(plane + y * width, width, width);
    borders(plane, height, width, UNLAP);
    free(turned);
    return 0;
}

/* CDF 9/7 ------------------------------------------------------------------------------------- */

/* to[x] += by * (a[x] + b[x]), or, to undo it, with -by. */
static void lift(float *restrict to, const float *a, const float *b, float by, int64_t width)
{
    for (int64_t x = 0; x < width; x++)
        to[x] += by * (a[x] + b[x]);
}

static void scale(float *row, float by, int64_t width)
{
    for (int64_t x = 0; x < width; x++)
        row[x] *= by;
}

/* One step over every second row: odd rows from even ones, or the reverse; a border repeats. */
static void lift_rows(float *rows, int64_t pitch, int64_t count, int64_t width, int odd, float by)
{
    for (int64_t y = odd; y < count; y += 2) {
        int64_t above = y ? y - 1 : 1, below = y + 1 < count ? y + 1 : y - 1;
        lift(rows + y * pitch, rows + above * pitch, rows + below * pitch, by, width);
    }
}

static void analyse_rows(float *rows, int64_t pitch, int64_t count, int64_t width)
{
    if (count < 2)
        return;
    lift_rows(rows, pitch, count, width, 1, ALPHA);
    lift_rows(rows, pitch, count, width, 0, BETA);
    lift_rows(rows, pitch, count, width, 1, GAMMA);
    lift_rows(rows, pitch, count, width, 0, DELTA);
    for (int64_t y = 0; y < count; y++)
        scale(rows + y * pitch, y & 1 ? KAPPA_INVERSE : KAPPA, width);
}

static void synthesise_rows(float *rows, int64_t pitch, int64_t count, int64_t width)
{
    if (count < 2)
        return;
    for (int64_t y = 0; y < count; y++)
        scale(rows + y * pitch, y & 1 ? KAPPA : KAPPA_INVERSE, width);
    lift_rows(rows, pitch, count, width, 0, -DELTA);
    lift_rows(rows, pitch, count, width, 1, -GAMMA);
    lift_rows(rows, pitch, count, width, 0, -BETA);
    lift_rows(rows, pitch, count, width, 1, -ALPHA);
}

/* Even rows to the front, odd ones behind; or, back. */
static void split_rows(const float *from, int64_t from_pitch, int64_t count, int64_t width, float *to, int64_t to_pitch)
{
    for (int64_t y = 0; y < count; y++)
        memcpy(to + (y & 1 ? (count + 1) / 2 + y / 2 : y / 2) * to_pitch, from + y * from_pitch, sizeof(float) * (size_t)width);
}

static void join_rows(const float *from, int64_t from_pitch, int64_t count, int64_t width, float *to, int64_t to_pitch)
{
    for (int64_t y = 0; y < count; y++)
        memcpy(to + y * to_pitch, from + (y & 1 ? (count + 1) / 2 + y / 2 : y / 2) * from_pitch, sizeof(float) * (size_t)width);
}

/* Multiply or divide each band by the length of its basis; pitch: of a row of the plane. */
static void scale_bands(float *plane, int64_t pitch, int64_t height, int64_t width, int levels, int divide)
{
    for (int level = 1; level <= levels; level++) {
        int64_t low_height = (height + 1) / 2, low_width = (width + 1) / 2;
        for (int k = level < levels; k < 4; k++) {
            float by = tp_wavelet_length(level, k);
            if (divide)
                by = 1.0f / by;
            int64_t y0 = k & 2 ? low_height : 0, y1 = k & 2 ? height : low_height;
            int64_t x0 = k & 1 ? low_width : 0, x1 = k & 1 ? width : low_width;
            for (int64_t y = y0; y < y1; y++)
                scale(plane + y * pitch + x0, by, x1 - x0);
        }
        height = low_height, width = low_width;
    }
}

/* In place, the bands of each level around the lower ones (Mallat's order). */
EXPORT int tp_wavelet(float *plane, int64_t height, int64_t width, int levels)
{
    float *work = malloc(sizeof(float) * 2 * (size_t)(height * width));
    if (!work)
        return FAULT_MEMORY;
    float *turned = work + height * width;
    int64_t h = height, w = width;
    for (int level = 0; level < levels; level++, h = (h + 1) / 2, w = (w + 1) / 2) {
        analyse_rows(plane, width, h, w);
        split_rows(plane, width, h, w, work, w);
        transpose(work, w, h, w, turned, h);
        analyse_rows(turned, h, w, h);
        split_rows(turned, h, w, h, work, h);
        transpose(work, h, w, h, plane, width);
    }
    scale_bands(plane, width, height, width, levels, 0);
    free(work);
    return 0;
}

/* Back, but for the finest ``skipped`` levels: a plane of ceil(side / 2^skipped), whose rows keep their pitch.
   Lengths of the basis are divided out before, as scale_bands says. */
EXPORT int tp_wavelet_inverse(float *plane, int64_t height, int64_t width, int levels, int skipped)
{
    float *work = malloc(sizeof(float) * 2 * (size_t)(height * width));
    if (!work)
        return FAULT_MEMORY;
    float *turned = work + height * width;
    scale_bands(plane, width, height, width, levels, 1);
    for (int level = levels - 1; level >= skipped; level--) {
        int64_t h = height, w = width;
        for (int k = 0; k < level; k++)
            h = (h + 1) / 2, w = (w + 1) / 2;
        transpose(plane, width, h, w, turned, h);
        join_rows(turned, h, w, h, work, h);
        synthesise_rows(work, h, w, h);
        transpose(work, h, w, h, turned, w);
        join_rows(turned, w, h, w, plane, width);
        synthesise_rows(plane, width, h, w);
    }
    free(work);
    return 0;
}

/* Samples ------------------------------------------------------------------------------------- */

/* Planes, (bands, cells) with ``stride`` from one to the next, times a matrix (bands, bands), in place. */
EXPORT void tp_turn_bands(float *planes, int64_t stride, int64_t cells, int bands, const float *matrix)
{
    enum { BLOCK = 256, MOST = 32 };
    float made[MOST][BLOCK];
    for (int64_t first = 0; first < cells; first += BLOCK) {
        int64_t n = cells - first < BLOCK ? cells - first : BLOCK;
        for (int i = 0; i < bands; i++) {
            const float *m = matrix + i * bands;
            for (int64_t k = 0; k < n; k++)
                made[i][k] = m[0] * planes[first + k];
            for (int j = 1; j < bands; j++) {
                const float *from = planes + j * stride + first;
                for (int64_t k = 0; k < n; k++)
                    made[i][k] += m[j] * from[k];
            }
        }
        for (int i = 0; i < bands; i++)
            memcpy(planes + i * stride + first, made[i], sizeof(float) * (size_t)n);
    }
}

/* Steps to samples above the least, (height, width), of a plane of ``pitch``; ``hole``, if not below 0, is a
   sample that none may become: it moves by one. */
EXPORT void tp_to_samples(const float *plane, int64_t pitch, int64_t height, int64_t width, float step, float mean,
                          int32_t span, int32_t hole, int32_t *out)
{
    float top = (float)span;
    int32_t instead = hole < span ? hole + 1 : hole - 1;
    for (int64_t y = 0; y < height; y++) {
        const float *row = plane + y * pitch;
        int32_t *to = out + y * width;
        for (int64_t x = 0; x < width; x++) {
            float value = row[x] * step + mean;
            value = value < 0.0f ? 0.0f : value > top ? top : value;
            to[x] = (int32_t)(value + 0.5f);
        }
        for (int64_t x = 0; hole >= 0 && x < width; x++)
            to[x] = to[x] == hole ? instead : to[x];
    }
}

/* Squared differences of a plane of ``pitch`` and another, (height, width), that is multiplied by ``by``. */
EXPORT double tp_squared(const float *plane, int64_t pitch, int64_t height, int64_t width, const float *other, float by)
{
    double total = 0.0;
    for (int64_t y = 0; y < height; y++) {
        const float *a = plane + y * pitch, *b = other + y * width;
        double sums[4] = {0.0, 0.0, 0.0, 0.0};
        int64_t x = 0;
        for (; x + 4 <= width; x += 4)
            for (int k = 0; k < 4; k++) {
                double off = (double)(a[x + k] - b[x + k] * by);
                sums[k] += off * off;
            }
        for (; x < width; x++)
            sums[0] += (double)(a[x] - b[x] * by) * (double)(a[x] - b[x] * by);
        total += (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
    return total;
}
