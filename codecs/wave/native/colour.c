/* Red, green and blue from the planes that are coded in their places, and back (FORMAT.md, section 3).

   Y, Cb, Cr are those of the decoder of the Independent JPEG Group: what a decoder has made of them
   lies wholly in the image of its formula, a quarter of all colours, and is told apart by that. */
#include <stdint.h>
#include <stdlib.h>

#include "export.h"

enum { YCOCG = 0, YCBCR = 1, LESS_GREEN = 2 };
enum { OUT_OF_RANGE = 1, NO_PREIMAGE = 1 };

/* In units of 2^-16. */
enum { RED_OF_CR = 91881, GREEN_OF_CB = -22554, GREEN_OF_CR = -46802, BLUE_OF_CB = 116130, ROUND = 32768 };

static inline int32_t clip(int32_t v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

static inline int32_t red_of(int32_t cr)
{
    return (RED_OF_CR * cr + ROUND) >> 16;
}

static inline int32_t green_of(int32_t cb, int32_t cr)
{
    return (GREEN_OF_CB * cb + GREEN_OF_CR * cr + ROUND) >> 16;
}

static inline int32_t blue_of(int32_t cb)
{
    return (BLUE_OF_CB * cb + ROUND) >> 16;
}

/* Cr, Y, Cb in the places of red, green, blue; of these `which`. A plane that it does not need may be
   null. Returns OUT_OF_RANGE where one that it needs is not within 0 to 255. */
static int from_ycbcr(const int64_t *cr, const int64_t *luma, const int64_t *cb, int64_t count, int which, int64_t *out)
{
    int64_t seen = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t y = luma[i], b = which > 0 ? cb[i] : 0, r = which < 2 ? cr[i] : 0;
        seen |= y | b | r;
        int32_t blue = (int32_t)(b & 255) - 128, red = (int32_t)(r & 255) - 128;
        out[i] = clip((int32_t)(y & 255) + (which == 0 ? red_of(red) : which == 1 ? green_of(blue, red) : blue_of(blue)));
    }
    return seen & ~(int64_t)255 ? OUT_OF_RANGE : 0;
}

/* Undo a transform for red (0), green (1) or blue (2): `first`, `second`, `third` are coded in their
   places, (count,) each. Sums are modulo 2^64. */
EXPORT int32_t tp_colour_undo(int32_t kind, int32_t which, const int64_t *first, const int64_t *second,
                              const int64_t *third, int64_t count, int64_t *out)
{
    if (kind == YCBCR)
        switch (which) {
        case 0: return from_ycbcr(first, second, third, count, 0, out);
        case 1: return from_ycbcr(first, second, third, count, 1, out);
        default: return from_ycbcr(first, second, third, count, 2, out);
        }
    if (kind == LESS_GREEN) {
        const int64_t *own = which == 0 ? first : third;
        for (int64_t i = 0; i < count; i++)
            out[i] = (int64_t)((uint64_t)second[i] + (uint64_t)own[i]);
        return 0;
    }
    for (int64_t i = 0; i < count; i++) {
        uint64_t base = (uint64_t)second[i] - (uint64_t)(third[i] >> 1);
        if (which == 1)
            base += (uint64_t)third[i];
        else
            base -= (uint64_t)(first[i] >> 1);
        if (which == 0)
            base += (uint64_t)first[i];
        out[i] = (int64_t)base;
    }
    return 0;
}

/* Y, Cb, Cr of a pixel. */
typedef struct {
    int32_t y, cb, cr;
} Triple;

static inline int32_t nearest(int32_t v, int32_t low, int32_t high)
{
    return v < low ? low : v > high ? high : v;
}

static inline int32_t distance(int32_t a, int32_t b)
{
    return a < b ? b - a : a - b;
}

static inline int32_t floor_quotient(int32_t a, int32_t b)
{
    return a / b - (a % b < 0);
}

/* The smallest v of -128 to 128 with (slope·v + ROUND) >> 16 >= least. */
static inline int32_t first_at_least(int32_t slope, int32_t least)
{
    return nearest(-floor_quotient(-(least * 65536 - ROUND), slope), -128, 128);
}

/* Bounds of what gives a sample, once it is clipped: all of 0 or less for 0, of 255 or more for 255. */
enum { FAR = 1024 };

static inline int32_t least_of(int32_t sample)
{
    return sample == 0 ? -FAR : sample;
}

static inline int32_t most_of(int32_t sample)
{
    return sample == 255 ? FAR : sample;
}

/* Chroma of which slope·v gives a sample, with luma y; v may lie in [low, high). */
static inline void chroma_of(int32_t slope, int32_t sample, int32_t y, int32_t *low, int32_t *high)
{
    *low = first_at_least(slope, least_of(sample) - y);
    *high = first_at_least(slope, most_of(sample) + 1 - y);
}

/* What a pixel may have been made of that has no sample of 0 or 255: luma and difference give chroma. */
typedef struct {
    int16_t cb[512], cr[512]; /* by blue less luma and red less luma, + 256; NONE: nothing gives it */
} Inverse;

enum { NONE = 512 };

static void inverse_begin(Inverse *inverse)
{
    for (int k = 0; k < 512; k++)
        inverse->cb[k] = inverse->cr[k] = NONE;
    for (int32_t v = -128; v < 128; v++) {
        inverse->cb[blue_of(v) + 256] = (int16_t)v;
        inverse->cr[red_of(v) + 256] = (int16_t)v;
    }
}

/* Find the Y, Cb, Cr of a colour of 1 to 254: 0 where there are none. */
static inline int inner_preimage(const Inverse *inverse, int32_t red, int32_t green, int32_t blue, Triple *out)
{
    int32_t middle = (19595 * red + 38470 * green + 7471 * blue + ROUND) >> 16;
    for (int32_t y = middle - 1; y <= middle + 1; y++) {
        int32_t cb = inverse->cb[blue - y + 256], cr = inverse->cr[red - y + 256];
        if (cb != NONE && cr != NONE && y + green_of(cb, cr) == green) {
            *out = (Triple){y, cb, cr};
            return 1;
        }
    }
    return 0;
}

/* Find the Y, Cb, Cr of any colour that are nearest to `near`, luma counted twice: 0 where there are
   none. For each Y what gives red and blue is a range of Cr and of Cb; green limits both. */
static int preimage(int32_t red, int32_t green, int32_t blue, Triple near, Triple *out)
{
    int32_t best = INT32_MAX;
    for (int32_t k = 0; k <= 510; k++) {
        int32_t y = near.y + (k & 1 ? (k + 1) / 2 : -k / 2), luma_cost = 2 * distance(y, near.y);
        if (luma_cost >= best)
            break;
        if (y < 0 || y > 255)
            continue;
        int32_t b0, b1, r0, r1, least = (least_of(green) - y) * 65536, above = (most_of(green) + 1 - y) * 65536;
        chroma_of(BLUE_OF_CB, blue, y, &b0, &b1);
        chroma_of(RED_OF_CR, red, y, &r0, &r1);
        if (r0 >= r1)
            continue;
        int32_t b2 = floor_quotient(ROUND + GREEN_OF_CR * r0 - least, -GREEN_OF_CB) + 1;
        int32_t b3 = floor_quotient(ROUND + GREEN_OF_CR * (r1 - 1) - above, -GREEN_OF_CB) + 1;
        b0 = b0 < b3 ? b3 : b0;
        b1 = b1 > b2 ? b2 : b1;
        if (b0 >= b1)
            continue;
        int32_t start = nearest(near.cb, b0, b1 - 1);
        for (int32_t up = 0; up < 2; up++)
            for (int32_t cb = start + up; cb >= b0 && cb < b1; cb += 2 * up - 1) {
                int32_t cost = luma_cost + distance(cb, near.cb);
                if (cost >= best)
                    break;
                int32_t rest = GREEN_OF_CB * cb + ROUND;
                int32_t g0 = floor_quotient(rest - above, -GREEN_OF_CR) + 1;
                int32_t g1 = floor_quotient(rest - least, -GREEN_OF_CR) + 1;
                g0 = g0 < r0 ? r0 : g0;
                g1 = g1 > r1 ? r1 : g1;
                if (g0 >= g1)
                    continue;
                int32_t cr = nearest(near.cr, g0, g1 - 1);
                cost += distance(cr, near.cr);
                if (cost < best) {
                    best = cost;
                    *out = (Triple){y, cb, cr};
                }
            }
    }
    return best < INT32_MAX;
}

static inline int inside(int32_t v)
{
    return v > 0 && v < 255;
}

static inline Triple triple_at(int64_t *const planes[3], int64_t at)
{
    return (Triple){(int32_t)planes[1][at], (int32_t)planes[2][at] - 128, (int32_t)planes[0][at] - 128};
}

/* The Cr, Y, Cb (in the places of red, green, blue) of which the formula makes pixels of 0 to 255. Of
   several, those nearest to the pixel's west neighbour. Absent pixels, where a mask is, take those of
   the neighbour. Returns NO_PREIMAGE as soon as a pixel has none. */
EXPORT int32_t tp_ycbcr_of(const int64_t *rgb, const uint8_t *mask, int64_t height, int64_t width, int64_t *out)
{
    int64_t count = height * width;
    int64_t *planes[3] = {out, out + count, out + 2 * count};
    Triple near = {128, 0, 0};
    Inverse inverse;
    inverse_begin(&inverse);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int64_t at = y * width + x;
            if (x == 0 && y > 0)
                near = triple_at(planes, at - width);
            if (!mask || !mask[at]) {
                int32_t red = (int32_t)rgb[at], green = (int32_t)rgb[count + at], blue = (int32_t)rgb[2 * count + at];
                Triple found;
                if (!(inside(red) && inside(green) && inside(blue) ? inner_preimage(&inverse, red, green, blue, &found)
                                                                   : preimage(red, green, blue, near, &found)))
                    return NO_PREIMAGE;
                near = found;
            }
            planes[0][at] = near.cr + 128;
            planes[1][at] = near.y;
            planes[2][at] = near.cb + 128;
        }
    return 0;
}
