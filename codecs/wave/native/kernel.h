/* What a kernel is asked, and what it answers. Python fills these through ctypes: structures.py. */
#ifndef TILEPRESS_KERNEL_H
#define TILEPRESS_KERNEL_H

#include <stdint.h>

#include "export.h"

/* A plane to predict: samples sheared, int32 each, see wavefront.py. */
typedef struct {
    int64_t height, width;
    int32_t top;
    int32_t references;            /* 0, 1 or 2 */
    int64_t reference_stride;      /* cells from one reference to the next */
    const int32_t *reference;      /* samples of earlier planes */
    const int32_t *reference_error; /* residuals of their linear paths, in whole steps */
    const uint8_t *mask;           /* nonzero where a sample is absent; null: none is */
    int32_t sets;                  /* of linear weights, 1 to 16 */
    const int32_t *thresholds;     /* (3,) of activity */
    const int32_t *set_of_cell;    /* (CELLS,) */
    const int32_t *weights;        /* (REGRESSORS, 16): of each regressor, those of all sets */
    int32_t memory;                /* of further weights, which follow the plane, in sixteenths; 0: none do */
    int32_t far;                   /* of FAR_TAPS that these have beside the regressors, 0 to all */
    int32_t up;                    /* of these: a sample weighs 4^up / its activity, by powers of four */
    int32_t blended;               /* not 0: they add to the first set, and sets predict beside them */
    int32_t least_mode;            /* of the enum below; above 0 in tests only */
    int32_t hidden;                /* units of the network, a multiple of 8; 0: there is none */
    const int8_t *hidden_weight;   /* (hidden, FEATURES) */
    const int32_t *hidden_bias, *hidden_shift;  /* (hidden,) */
    const int8_t *output_weight;   /* (3, hidden) */
    const int32_t *output_bias, *output_shift;  /* (3,) */
} Plane;

enum { LOOK_STRIDE = 4 }; /* of steps that stand for all where samples are looked at */
enum { MOST_GAINS = 16 }; /* that are compared at one time */

/* How the linear path is summed up. */
enum { SUMS_OF_32_BITS = 0, SUMS_IN_HALVES = 1, SUMS_OF_64_BITS = 2 };

/* A stream to decode. */
typedef struct {
    const uint32_t *states;        /* (lanes,) */
    int64_t lanes;
    const uint16_t *words;
    int64_t word_count;
    const uint8_t *raw;
    int64_t raw_bytes;
    int32_t gain;
    const int32_t *flags;          /* (2, MATCH_CONTEXTS) of 2^15, 0 where a flag is not coded */
    const int32_t *table_map;      /* (table_count,) */
    int64_t table_count;
    const int32_t *cumulative;     /* (tables, TOKENS + 2) */
    const int32_t *used;           /* (tables,) */
    const uint8_t *lookup;         /* (tables, 256) */
    const int32_t *nodes;          /* (node_count, 4) */
    int64_t node_count;            /* 0: no tree */
    const int32_t *leaf_tables;    /* (MATCH_CONTEXTS,) */
} Stream;

/* What is known of every sample of a plane that is there, in coding order; (samples + 1,). */
typedef struct {
    int32_t *linears, *corrections, *contexts, *patterns;
    int32_t *sample, *west, *north;
    int64_t *begins;               /* (steps + 1,) */
    int64_t count, looked_at, matching;
} Found;

/* What a tree is grown on: what a step's samples were predicted to be, all in coding order. */
typedef struct {
    const int32_t *contexts, *means;  /* (samples,) */
    const int64_t *begins;            /* (steps + 1,) */
} Predicted;

/* A sample as a tree that grows sees it. */
typedef struct {
    uint8_t bin[27]; /* of each property, how many of its edges lie below it */
    uint8_t symbol;  /* 0 as west, 1 as north, else 2 + token of what is left */
    uint16_t plain;  /* what it costs by the model's tables */
    uint16_t left;   /* what is left to code after both flags */
} Example;

enum { BINS = 32, EXAMPLE_SYMBOLS = 2 + 72 };

/* What becomes examples: samples' properties by edges, and their symbols by the model's costs. */
typedef struct {
    const int32_t *edges;          /* (known, BINS) ascending, of each property its own ... */
    const int32_t *edge_counts;    /* ... (known,), BINS - 1 at most */
    const int16_t *tables;         /* (samples,) in coding order */
    const int32_t *folded;         /* (samples,) */
    const int32_t *candidates;     /* (2, samples) folded west and north; null: no flags may be coded */
    int64_t samples;
    const int32_t *costs;          /* (tables, TOKENS), below 2^16 */
} Examined;

/* Normal equations of the linear path. */
typedef struct {
    int64_t stride;                /* of steps that are looked at */
    const int32_t *thresholds;     /* (3,) of activity */
    int32_t up;                    /* a sample weighs 4^up / its activity, by powers of four */
    int64_t *gram;                 /* (CELLS, n + 1, n + 1), zeros; the last row is the target's */
    int64_t *counts;               /* (CELLS,), zeros */
    double *masses;                /* (CELLS,), zeros: what a cell's samples weigh */
    const int32_t *errors;         /* of an earlier fit, sheared, by which samples weigh instead; or null */
} Equations;

typedef struct Kernel {
    int (*decode)(const Plane *, const Stream *, int32_t *own, int32_t *errors);
    int (*predict)(const Plane *, const int32_t *own, int32_t *errors, Found *);
    int (*properties)(const Plane *, const int32_t *own, const int32_t *errors, const Predicted *, int64_t stride,
                      int64_t every, int64_t count, int32_t *out, int64_t *picked);
    int (*examples)(const Plane *, const int32_t *own, const int32_t *errors, const Predicted *, int64_t stride,
                    const Examined *, Example *out);
    int (*leaves)(const Plane *, const int32_t *own, const int32_t *errors, const Predicted *,
                  const int32_t *nodes, int64_t node_count, int32_t *out);
    int (*activities)(const Plane *, const int32_t *own, int64_t stride, int64_t *counts);
    int (*equations)(const Plane *, const int32_t *own, const Equations *);
    void (*fold)(const int32_t *linears, const int32_t *corrections, const int32_t *contexts,
                 const int32_t *const *samples, int64_t n, int32_t gain, int32_t top, int16_t *tables,
                 int32_t *folded, int32_t *candidates);
    void (*gain_costs)(const int32_t *linears, const int32_t *corrections, const int32_t *sample,
                       const int64_t *begins, int64_t steps, int64_t stride, const int32_t *gains,
                       int32_t gain_count, int64_t *costs);
    int (*features)(const Plane *, const int32_t *own, int32_t *errors, int8_t *out, int32_t *facts);
} Kernel;

enum { FAULT_WORDS = 1, FAULT_RAW, FAULT_TOKEN, FAULT_SAMPLE, FAULT_LEFT };

#endif
