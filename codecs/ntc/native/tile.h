/* What a plane of ntc is made of: bands, maps of magnitudes, the model. Python fills the structures through
   ctypes: ../plane.py. */
#ifndef TILEPRESS_NTC_TILE_H
#define TILEPRESS_NTC_TILE_H

#include <stdint.h>

#include "export.h"

enum {
    LAPPED = 0,
    WAVELET = 1,
    MOST_LEVELS = 5,
    MARGIN = 3,       /* cells around a map, zeros */
    HIDDEN = 32,
    PAIRS = 11,
    FEATURES = 2 * PAIRS,
    LAPPED_BANDS = 64,
    WAVELET_BANDS = 3 * (MOST_LEVELS + 3), /* of a plane, then of a lapped plane's means */
    TABLE_COUNT = 80,
    TOKEN_COUNT = 88,
    OFFSETS = 4,
    NTC_TABLE_BITS = 15,
    NTC_ESCAPE_BITS = 7,
    MOST_BANDS = 1 + 15 + 63 + 16,
    MOST_MAGNITUDE = (1 << 22) - 1,
    STATES = 8,       /* of dependent quantisation */
};

/* Dependent quantisation: the quantiser of a state, and the state that follows by the parity of a magnitude. */
static const uint8_t QUANTISER[STATES] = {0, 1, 0, 1, 0, 1, 0, 1};
static const uint8_t NEXT[STATES][2] = {{0, 2}, {5, 7}, {1, 3}, {6, 4}, {2, 0}, {4, 6}, {3, 1}, {7, 5}};
/* The states before a state, by an even and by an odd magnitude. */
static const uint8_t EVEN_FROM[STATES] = {0, 2, 4, 6, 5, 1, 3, 7}, ODD_FROM[STATES] = {4, 6, 0, 2, 3, 7, 5, 1};

/* Integers that decide symbols. [0]: of lapped bands, [1]: of wavelet bands. */
typedef struct {
    const int16_t *first[2];       /* (PAIRS, HIDDEN, 2) weights of features */
    const int32_t *bias[2];        /* (2, bands, HIDDEN): without, with a previous plane */
    const int16_t *second[2];      /* (HIDDEN,) */
    const int32_t *base[2];        /* (2, bands) */
    int32_t hidden_shift[2], output_shift[2];
    /* dependent: twice as many tables, the second half of quantiser 1 */
    const int32_t *cumulative;     /* (TABLE_COUNT, TOKEN_COUNT + 2) */
    const int32_t *used;           /* (TABLE_COUNT,) tokens before the escape */
    const uint8_t *lookup;         /* (TABLE_COUNT, 256) */
    const int32_t *costs;          /* (TABLE_COUNT, TOKEN_COUNT) 1/256 bits of a token, sign and raw bits included */
    const float *reconstruction;   /* (TABLE_COUNT, OFFSETS + 1) what is taken off a magnitude of 0, 1, ... in steps; half a step of
                                      quantiser 1 included */
} Model;

enum { ENCODE = 0, DECODE = 1, EXAMINE = 2 };

/* One plane to code. */
typedef struct {
    int32_t mode, kind, set;       /* set: of instructions */
    int32_t dependent;             /* whether quantisation is, of bands but the lowest */
    int64_t height, width;         /* of the coefficients */
    float *coefficients;           /* (height, width): given when encoding, in steps; else made, in steps */
    const uint16_t *previous;      /* maps of the plane before, or null */
    uint16_t *maps;                /* made; of tp_maps_size cells, zeros */
    int32_t band_count;            /* bands that are coded, of tp_band_count; made when encoding */
    int32_t low_table;             /* of the lowest band; made when encoding */
    float lambda;                  /* what a squared step costs in bits */
    /* encoding: (height * width) of each, in coding order */
    int32_t *values;
    uint8_t *tables;
    int64_t count;                 /* of those, made */
    double bits;                   /* made */
    float *given;                  /* magnitudes as they were, in steps, in coding order; or null */
    /* decoding */
    const uint32_t *states;
    int32_t lanes;
    const uint16_t *words;
    int64_t word_count;
    const uint8_t *raw;
    int64_t raw_bytes;
    /* examining: of count coefficients, values given as when encoding; tables, or null, get quantisers */
    int16_t *features;             /* (count, FEATURES) */
    uint8_t *bands;                /* (count,) */
    const int32_t *known;          /* values as coded, the lowest band's too, those behind are 0; or null */
    int64_t known_count;
} Coding;

enum { FAULT_WORDS = 1, FAULT_RAW, FAULT_TOKEN, FAULT_LEFT, FAULT_SHAPE };

int tp_wavelet(float *plane, int64_t height, int64_t width, int levels);
int tp_wavelet_inverse(float *plane, int64_t height, int64_t width, int levels, int skipped);
float tp_lapped_length(int v, int u);
float tp_wavelet_length(int level, int orientation);

#endif
