/* What a kernel is asked, and what it answers. Python fills these through ctypes: native.py. */
#ifndef TILEPRESS_KERNEL_H
#define TILEPRESS_KERNEL_H

#include <stdint.h>

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
    int32_t least_mode;            /* of the enum below; above 0 in tests only */
    int32_t hidden;                /* units of the network, a multiple of 8; 0: there is none */
    const int8_t *hidden_weight;   /* (hidden, FEATURES) */
    const int32_t *hidden_bias, *hidden_shift;  /* (hidden,) */
    const int8_t *output_weight;   /* (3, hidden) */
    const int32_t *output_bias, *output_shift;  /* (3,) */
} Plane;

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

typedef struct Kernel {
    int (*decode)(const Plane *, const Stream *, int32_t *own, int32_t *errors);
    int (*predict)(const Plane *, const int32_t *own, int32_t *errors, Found *);
} Kernel;

enum { FAULT_WORDS = 1, FAULT_RAW, FAULT_TOKEN, FAULT_SAMPLE, FAULT_LEFT, FAULT_MEMORY = 100 };

#endif
