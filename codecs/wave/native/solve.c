/* Weighted least squares of small systems, and which cells share their weights: see linear.py.

   Written out, in a fixed order and without contraction, so that no library decides a bit. A system
   is (n + 1, n + 1) doubles, the upper triangle of a Gram matrix, whose last row is the target's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "scalar.h"

#define RIDGE 1e-4
#define AT(i, j) ((i) * (n + 1) + (j))

/* Weighted squares that weights x leave. */
static double squares_of(const double *gram, int n, const double *x)
{
    double squares = gram[AT(n, n)];
    for (int i = 0; i < n; i++) {
        squares += x[i] * (x[i] * gram[AT(i, i)] - 2.0 * gram[AT(i, n)]);
        for (int j = i + 1; j < n; j++)
            squares += 2.0 * x[i] * x[j] * gram[AT(i, j)];
    }
    return squares > 0.0 ? squares : 0.0;
}

/* The weights of a system, drawn to ``start``, by Cholesky's decomposition; returns what squares they
   leave. A column of the decomposition is worked out at a time, all its rows side by side: of each
   number the products go off in the order of the columns, whatever the width of vectors. */
static double solve(const double *gram, int n, const double *start, double *x)
{
    double lower[REGRESSORS * REGRESSORS], column[REGRESSORS], y[REGRESSORS], trace = 0.0; /* by columns */
    for (int i = 0; i < n; i++)
        trace += gram[AT(i, i)];
    for (int j = 0; j < n; j++) {
        double ridge = RIDGE * gram[AT(j, j)] + 1e-6 * trace / n + 1e-6;
        y[j] = gram[AT(j, n)] + ridge * start[j];
        for (int i = j; i < n; i++)
            column[i] = gram[AT(j, i)];
        column[j] += ridge;
        for (int k = 0; k < j; k++) {
            const double *before = lower + k * n, times = before[j];
            for (int i = j; i < n; i++)
                column[i] -= before[i] * times;
        }
        double pivot = sqrt(column[j] > 1e-9 ? column[j] : 1e-9);
        lower[j * n + j] = pivot;
        for (int i = j + 1; i < n; i++)
            lower[j * n + i] = column[i] / pivot;
    }
    for (int k = 0; k < n; k++) {
        y[k] /= lower[k * n + k];
        for (int i = k + 1; i < n; i++)
            y[i] -= lower[k * n + i] * y[k];
    }
    for (int i = n - 1; i >= 0; i--) {
        double total = y[i];
        for (int k = i + 1; k < n; k++)
            total -= lower[i * n + k] * x[k];
        x[i] = total / lower[i * n + i];
    }
    return squares_of(gram, n, x);
}


/* Solve a system of n unknowns, at most REGRESSORS. */
EXPORT void tp_solve(const double *gram, int n, const double *start, double *x) { solve(gram, n, start, x); }

/* About the bits that residuals cost; what is below a step's rounding is free. */
static double bits_of(double squares, double count, double mass)
{
    return 0.5 * count * log2((squares + 0.08 * mass) / count);
}

typedef struct {
    double *gram, *counts, *masses; /* of each set */
    const double *start;
    double *sum; /* a system */
    int n;
} Sets;

static double bits_of_set(const Sets *s, int i)
{
    double x[REGRESSORS];
    int size = (s->n + 1) * (s->n + 1);
    return bits_of(solve(s->gram + (int64_t)i * size, s->n, s->start, x), s->counts[i], s->masses[i]);
}

static double bits_of_pair(const Sets *s, int i, int j)
{
    double x[REGRESSORS];
    int size = (s->n + 1) * (s->n + 1);
    const double *a = s->gram + (int64_t)i * size, *b = s->gram + (int64_t)j * size;
    for (int k = 0; k < size; k++)
        s->sum[k] = a[k] + b[k];
    return bits_of(solve(s->sum, s->n, s->start, x), s->counts[i] + s->counts[j], s->masses[i] + s->masses[j]);
}

/* Merge cells into sets, best pair first, while a set does not pay its ``cost`` in bits or more than
   ``most`` are left. owner: (cells,) the set of each; gram, counts and masses become the sets'.
   scale: how many samples one counted sample stands for. Returns 0 or FAULT_MEMORY. */
EXPORT int tp_merge_cells(double *gram, double *counts, double *masses, const double *start, int cells, int n,
                          int most, double cost, double scale, int64_t *owner)
{
    int size = (n + 1) * (n + 1), sets = 0;
    double *room = malloc(sizeof(double) * (size_t)(2 * cells * cells + size));
    if (!room)
        return FAULT_MEMORY;
    double *loss = room, *joint = loss + cells * cells, bits[CELLS];
    char alive[CELLS];
    Sets s = {gram, counts, masses, start, joint + cells * cells, n};
    for (int i = 0; i < cells; i++) {
        owner[i] = i, alive[i] = counts[i] > 0, sets += alive[i];
        bits[i] = alive[i] ? bits_of_set(&s, i) : 0.0;
    }
    for (int i = 0; i < cells; i++)
        for (int j = i + 1; j < cells; j++) {
            loss[i * cells + j] = INFINITY;
            if (alive[i] && alive[j]) {
                joint[i * cells + j] = bits_of_pair(&s, i, j);
                loss[i * cells + j] = joint[i * cells + j] - bits[i] - bits[j];
            }
        }
    for (; sets > 1; sets--) {
        double best = INFINITY;
        int to = 0, from = 0;
        for (int i = 0; i < cells; i++)
            for (int j = i + 1; j < cells; j++)
                if (alive[i] && alive[j] && loss[i * cells + j] < best)
                    best = loss[i * cells + j], to = i, from = j;
        if (best * scale > cost && sets <= most)
            break;
        for (int k = 0; k < size; k++)
            gram[(int64_t)to * size + k] += gram[(int64_t)from * size + k];
        counts[to] += counts[from], masses[to] += masses[from];
        alive[from] = 0, bits[to] = joint[to * cells + from];
        for (int i = 0; i < cells; i++) {
            if (owner[i] == from)
                owner[i] = to;
            if (alive[i] && i != to) {
                int low = i < to ? i : to, high = i < to ? to : i;
                joint[low * cells + high] = bits_of_pair(&s, low, high);
                loss[low * cells + high] = joint[low * cells + high] - bits[low] - bits[high];
            }
        }
    }
    free(room);
    return 0;
}
