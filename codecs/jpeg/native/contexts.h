/* Where the slots of each context lie, and the classes that numbers fall in (FORMAT.md §12.4). */
#ifndef TILEPRESS_JPEG_CONTEXTS_H
#define TILEPRESS_JPEG_CONTEXTS_H

#include <stdint.h>

/* Slots of one context: of a number of coefficients, of one along a side, of a value's length, of the
   mean's; and of lower bits, of each of three kinds: length × bit × what is expected. */
enum { COUNT_SLOTS = 40, SIDE_SLOTS = 8, VALUE_SLOTS = 8, MEAN_SLOTS = 16, REST = 17 * 16 * 8 };

/* Contexts of six inputs, each behind the one before: where they begin, and where they end. */
#define LAY(name, first, slots, a, b, c, d, e, f)                                                            \
    name##_0 = (first), name##_1 = name##_0 + (slots) * (a), name##_2 = name##_1 + (slots) * (b),            \
    name##_3 = name##_2 + (slots) * (c), name##_4 = name##_3 + (slots) * (d), name##_5 = name##_4 + (slots) * (e), \
    name##_END = name##_5 + (slots) * (f)

enum {
    LAY(COUNT, 0, COUNT_SLOTS, 50, 144, 50, 50, 144, 144),
    LAY(SIDE, COUNT_END, SIDE_SLOTS, 128, 100, 360, 128, 128, 2),
    LAY(INNER, SIDE_END, VALUE_SLOTS, 2304, 49 * 128, 49 * 64, 49 * 16, 1536, 3072),
    LAY(EDGE, INNER_END, VALUE_SLOTS, 14 * 256, 14 * 96, 14 * 64, 14 * 72, 16 * 192, 14 * 128),
    LAY(MEAN, EDGE_END, MEAN_SLOTS, 64, 128, 64, 192, 12, 8),
    LAY(SIGN, MEAN_END, 1, 1024, 2048, 27, 576, 1024, 576),
    LAY(MEAN_SIGN, SIGN_END, 1, 16, 16, 9, 16, 8, 27),
    REST_AT = MEAN_SIGN_END,
    SLOTS = REST_AT + 3 * REST,
};

/* Sets of six weights: one for each slot of a kind and place, one for each place's sign. */
enum {
    COUNT_SET = 0,
    SIDE_SET = COUNT_SET + COUNT_SLOTS,
    INNER_SET = SIDE_SET + 2 * SIDE_SLOTS,
    EDGE_SET = INNER_SET + 49 * VALUE_SLOTS,
    SIGN_SET = EDGE_SET + 14 * VALUE_SLOTS,
    MEAN_SET = SIGN_SET + 64,
    WEIGHT_SETS = MEAN_SET + MEAN_SLOTS + 1,
};

/* Sixteen classes of four times a magnitude, eight of a magnitude, twelve of a number of coefficients;
   and the places of the 49 coefficients beyond first row and column, in zigzag order. */
typedef struct {
    uint8_t fine[256], coarse[64], count[64], inner[49];
} Classes;

static inline void fill_classes(const uint8_t *limits, int count, uint8_t *out, int size)
{
    int passed = 0;
    for (int value = 0; value < size; value++) {
        while (passed < count && limits[passed] <= value)
            passed++;
        out[value] = (uint8_t)passed;
    }
}

/* zigzag : (64,), the place of each coefficient in the order of a scan. */
static inline Classes classes_of(const int64_t *zigzag)
{
    static const uint8_t fine[] = {1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 32, 48, 72, 112, 192};
    static const uint8_t coarse[] = {1, 2, 3, 4, 6, 9, 14};
    static const uint8_t counts[] = {1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 34};
    Classes out;
    fill_classes(fine, sizeof fine, out.fine, 256);
    fill_classes(coarse, sizeof coarse, out.coarse, 64);
    fill_classes(counts, sizeof counts, out.count, 64);
    int n = 0;
    for (int i = 0; i < 64; i++)
        if (zigzag[i] & 7 && zigzag[i] >> 3)
            out.inner[n++] = (uint8_t)zigzag[i];
    return out;
}

#endif
