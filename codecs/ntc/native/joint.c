/* Turn components so that what logarithms of their energies in blocks sum up to is least: ../joint.py.

   Sums are of doubles in the order that is written here, without contraction, so each machine finds one matrix. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"

enum { FINE = 12, DETAILS = 15, LEVELS = 2 }; /* details of a block, the fine ones first */

typedef struct {
    double *details, *sums; /* (bands, DETAILS, blocks), (bands, LEVELS, blocks): energies of levels */
    double *both;           /* (LEVELS, blocks): of two components, what they have in common */
    double *vectors;        /* (bands, bands): a component a row */
    int bands;
    int64_t blocks;
    double floor;           /* energy of a detail that costs nothing */
    double still;           /* an angle that is none */
} Joint;

static void by_level(const double *a, const double *b, int64_t blocks, double *sums)
{
    memset(sums, 0, sizeof(double) * (size_t)(LEVELS * blocks));
    for (int k = 0; k < DETAILS; k++) {
        double *to = k < FINE ? sums : sums + blocks;
        for (int64_t x = 0; x < blocks; x++)
            to[x] += a[k * blocks + x] * b[k * blocks + x];
    }
}

static void rotate(double *first, double *second, int64_t count, double cosine, double sine)
{
    for (int64_t x = 0; x < count; x++) {
        double a = first[x], b = second[x];
        first[x] = a * cosine + b * sine;
        second[x] = b * cosine - a * sine;
    }
}

/* Turn two components to where the tangents of the logarithms are least; returns by what angle, about. */
static double turn(Joint *j, int p, int q)
{
    int64_t blocks = j->blocks, count = DETAILS * blocks;
    double *a = j->details + p * count, *b = j->details + q * count;
    double *first = j->sums + p * LEVELS * blocks, *second = j->sums + q * LEVELS * blocks;
    double along = 0, across = 0;
    by_level(a, b, blocks, j->both);
    for (int level = 0; level < LEVELS; level++) {
        double cells = level ? DETAILS - FINE : FINE, floor = cells * j->floor;
        for (int64_t x = level * blocks; x < (level + 1) * blocks; x++) {
            double weight = cells / (first[x] + floor) - cells / (second[x] + floor);
            along += weight * (second[x] - first[x]);
            across -= weight * j->both[x];
        }
    }
    along /= 2;
    double length = sqrt(along * along + across * across);
    if (!(length > 0))
        return 0;
    double cosine = sqrt(fmax(0, (1 + along / length) / 2)), sine = sqrt(fmax(0, (1 - along / length) / 2));
    double angle = fmin(sine, cosine);
    if (angle < j->still / 4)
        return angle;
    sine = across < 0 ? -sine : sine;
    rotate(a, b, count, cosine, sine);
    rotate(j->vectors + p * j->bands, j->vectors + q * j->bands, j->bands, cosine, sine);
    by_level(a, a, blocks, first);
    by_level(b, b, blocks, second);
    return angle;
}

/* Turn ``vectors``, (bands, bands), a component a row, which are unit vectors, at right angles. ``details``:
   (bands, DETAILS, blocks) of the bands. Returns a fault. */
EXPORT int tp_turn_jointly(const double *details, double *vectors, int bands, int64_t blocks, double floor,
                           double still, int sweeps)
{
    int64_t count = DETAILS * blocks, sums = LEVELS * blocks;
    double *memory = calloc((size_t)(bands * (count + sums) + sums), sizeof(double));
    if (!memory)
        return FAULT_MEMORY;
    Joint j = {.details = memory, .sums = memory + bands * count, .vectors = vectors};
    j.both = j.sums + bands * sums, j.bands = bands, j.blocks = blocks, j.floor = floor, j.still = still;
    for (int p = 0; p < bands; p++) {
        double *to = j.details + p * count;
        for (int k = 0; k < bands; k++)
            for (int64_t x = 0; x < count; x++)
                to[x] += vectors[p * bands + k] * details[k * count + x];
        by_level(to, to, blocks, j.sums + p * sums);
    }
    double most = 1;
    for (int sweep = 0; sweep < sweeps && most >= still; sweep++) {
        most = 0;
        for (int p = 0; p < bands; p++)
            for (int q = p + 1; q < bands; q++)
                most = fmax(most, turn(&j, p, q));
    }
    free(memory);
    return 0;
}
