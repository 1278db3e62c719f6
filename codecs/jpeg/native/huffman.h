/* Bits in and out of the coded bytes of scans, and what a scan is given as. */
#ifndef TILEPRESS_JPEG_HUFFMAN_H
#define TILEPRESS_JPEG_HUFFMAN_H

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* What cannot go on: huffman.py names them, too. */
enum { CUT = -1, BAD_CODE = -2, NO_RESTART = -3, NO_ROOM = -4, NO_CODE = -5 };

/* Numbers of a component of a scan, (components, 6) int64. */
enum { FIRST, STRIDE, H, V, DC, AC, COLUMNS };

enum {
    CODES = 1 << 16,                   /* of a look-up table */
    SYMBOLS = 256,                     /* of a code table */
    MOST_BYTES = 64 * 31 / 8 * 2 + 16, /* of one block with stuffed zeros, and a restart marker */
    MOST_COMPONENTS = 4,
};

/* Where the blocks of a scan are. */
typedef struct {
    const int64_t *places; /* (components, COLUMNS) */
    int64_t components, rows, columns, restart;
    int16_t *blocks;       /* (n, 64) */
    int16_t *pads;         /* one for each interval between restart markers */
} Scan;

/* The block of a component, number (v, h) of the MCU at (row, column). */
INLINE int16_t *block_of(const Scan *s, const int64_t *one, int64_t row, int64_t column, int64_t v, int64_t h)
{
    return s->blocks + 64 * (one[FIRST] + (row * one[V] + v) * one[STRIDE] + column * one[H] + h);
}

/* Reading -------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t bits;
    int64_t count, fake, at; /* bits at hand; those of them that are behind the scan's end */
    const uint8_t *data;
    int64_t size;
} Source;

/* Read bytes until 49 bits or more are at hand; zeros, counted, where the scan's bytes end. */
INLINE void fill(Source *s)
{
    while (s->count <= 48) {
        uint32_t byte = 0;
        if (s->at < s->size && s->data[s->at] != 255)
            byte = s->data[s->at++];
        else if (s->at + 1 < s->size && s->data[s->at + 1] == 0)
            byte = 255, s->at += 2;
        else
            s->fake += 8;
        s->bits = s->bits << 8 | byte;
        s->count += 8;
    }
}

/* The next bits, which must be at hand. */
INLINE int64_t take(Source *s, int size)
{
    s->count -= size;
    return (int64_t)(s->bits >> s->count & (((uint64_t)1 << size) - 1));
}

/* A signed number of ``size`` bits (T.81 F.2.2.1). */
INLINE int64_t signed_of(Source *s, int size)
{
    if (size == 0)
        return 0;
    int64_t value = take(s, size);
    return value >> (size - 1) ? value : value - ((int64_t)1 << size) + 1;
}

/* The next symbol, or -1 where no code begins so; 16 bits must be at hand. */
INLINE int symbol(Source *s, const uint16_t *table)
{
    int found = table[s->bits >> (s->count - 16) & 0xFFFF];
    s->count -= found >> 8;
    return found ? found & 255 : -1;
}

int tp_end_interval(Source *s);
int tp_next_interval(Source *s, const Scan *scan, int64_t interval);

/* Writing -------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t bits;
    int64_t count, at;
    uint8_t *out;
    int64_t size;
} Sink;

/* Write bits, at most 32, of which none is above. */
INLINE void put(Sink *s, int64_t value, int size)
{
    s->bits = s->bits << size | (uint64_t)value;
    for (s->count += size; s->count >= 8; s->count -= 8) {
        uint8_t byte = (uint8_t)(s->bits >> (s->count - 8));
        s->out[s->at++] = byte;
        if (byte == 255)
            s->out[s->at++] = 0;
    }
    s->bits &= ((uint64_t)1 << s->count) - 1;
}

/* Write a symbol; says whether it has a code. */
INLINE int put_symbol(Sink *s, const int32_t *table, int symbol)
{
    int32_t code = table[symbol];
    if (!code)
        return 0;
    put(s, code >> 5, code & 31);
    return 1;
}

INLINE int size_of(int64_t value)
{
    return value ? 64 - __builtin_clzll((unsigned long long)(value < 0 ? -value : value)) : 0;
}

void tp_fill_byte(Sink *s, int pad);
void tp_write_restart(Sink *s, const Scan *scan, int64_t interval);

#endif
