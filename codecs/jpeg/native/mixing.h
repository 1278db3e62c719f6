/* Adaptive binary coding, as mixing.py says. One function codes both ways, so that they cannot differ:
   ``decoding`` is constant where it is called, and all of it is inlined. */
#ifndef TILEPRESS_JPEG_MIXING_H
#define TILEPRESS_JPEG_MIXING_H

#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

enum { INPUTS = 6 };

/* Of mixing.py: probabilities of 16 bits for −2048 … 2047, (4096,); the inverse, of those of 12 bits,
   (4096,); how far a slot goes towards a bit when seen so often, of 2^16, (1024,). */
typedef struct {
    const uint16_t *squash;
    const int16_t *stretch;
    const uint16_t *rate;
} Curves;

typedef struct {
    uint32_t low, high, code;
    int64_t at;             /* the next byte, which may be beyond the end: zeros are read there */
    int64_t cap, speed;     /* how often a slot counts at most; how fast weights learn */
    uint8_t *data;
    int64_t size;
    Curves curves;
    uint32_t *slots[INPUTS]; /* the first of each context */
} Coder;

/* A coder's state between calls, (STATE,) int64, as ``start`` of mixing.py makes it. */
enum { LOW, HIGH, CODE, AT, CAP, SPEED, STATE };

INLINE Coder resume(const int64_t *state, uint8_t *data, int64_t size, Curves curves)
{
    return (Coder){(uint32_t)state[LOW], (uint32_t)state[HIGH], (uint32_t)state[CODE], state[AT], state[CAP],
                   state[SPEED], data, size, curves, {0}};
}

INLINE void suspend(const Coder *c, int64_t *state)
{
    state[LOW] = c->low, state[HIGH] = c->high, state[CODE] = c->code, state[AT] = c->at;
}

/* Code a bit that is 1 with probability p of 2^16, 0 < p < 2^16. */
INLINE int code_bit(Coder *c, int decoding, int bit, uint32_t p)
{
    uint32_t middle = c->low + (uint32_t)(((uint64_t)(c->high - c->low) * p) >> 16);
    if (decoding)
        bit = c->code <= middle;
    c->high = bit ? middle : c->high;
    c->low = bit ? c->low : middle + 1;
    while (!((c->low ^ c->high) >> 24)) {
        int inside = c->at < c->size;
        if (decoding)
            c->code = c->code << 8 | (inside ? c->data[c->at] : 0);
        else if (inside)
            c->data[c->at] = (uint8_t)(c->high >> 24);
        c->at++;
        c->low <<= 8, c->high = c->high << 8 | 255;
    }
    return bit;
}

/* A slot that has seen a bit. */
INLINE uint32_t learned(const Coder *c, uint32_t slot, int bit)
{
    uint32_t n = slot & 1023;
    int64_t step = ((int64_t)((bit << 22) - (int32_t)(slot >> 10)) * c->curves.rate[n]) >> 16;
    return slot + ((uint32_t)step << 10) + (n < (uint32_t)c->cap);
}

INLINE int32_t moved(int32_t weight, int64_t v, int64_t error)
{
    return (int32_t)(uint32_t)(weight + ((v * error + (1 << 19)) >> 20));
}

/* Code a bit by the mixture of six slots, ``offset`` behind the first of each context, with six
   weights; returns it. */
INLINE int code_mixed(Coder *c, int decoding, int bit, int64_t offset, int32_t *weights)
{
    uint32_t s[INPUTS];
    int64_t v[INPUTS], total = 0;
    for (int i = 0; i < INPUTS; i++) {
        s[i] = c->slots[i][offset];
        v[i] = c->curves.stretch[s[i] >> 20];
        total += v[i] * weights[i];
    }
    total >>= 16;
    uint32_t p = c->curves.squash[(total < -2047 ? -2047 : total > 2047 ? 2047 : total) + 2048];
    bit = code_bit(c, decoding, bit, p);
    int64_t error = ((int64_t)(bit << 16) - p) * c->speed;
    for (int i = 0; i < INPUTS; i++)
        weights[i] = moved(weights[i], v[i], error);
    for (int i = 0; i < INPUTS; i++)
        c->slots[i][offset] = learned(c, s[i], bit);
    return bit;
}

/* Code a bit by one slot; returns it. */
INLINE int code_plain(Coder *c, int decoding, int bit, uint32_t *slot)
{
    uint32_t p = *slot >> 16, most = 65536 - 32;
    bit = code_bit(c, decoding, bit, p < 32 ? 32 : p > most ? most : p);
    *slot = learned(c, *slot, bit);
    return bit;
}

#endif
