/* The coded bytes of progressive scans, as progressive.py says. */
#include "export.h"
#include "huffman.h"

enum {
    LONGEST_RUN = 0x7FFF,
    GATHERED = 1000 - 64 + 1, /* bits of correction above which a run of blocks ends */
};

/* Which coefficients a scan has, and which of their bits: from bit ``low`` on; high : 0, or the bit that
   was read before. */
typedef struct {
    const int64_t *zigzag;
    int first, last, high, low;
} Part;

INLINE int is_coefficient(int64_t number)
{
    return number >= -32767 && number <= 32767;
}

/* Decode a block's mean, or its next bit; says whether that went well. */
INLINE int decode_mean(Source *s, const Part *p, const uint16_t *table, int16_t *block, int64_t *before)
{
    fill(s);
    if (p->high) {
        if (take(s, 1))
            block[0] = (int16_t)(block[0] | 1 << p->low);
        return 1;
    }
    int size = symbol(s, table);
    if (size < 0 || size > 15)
        return 0;
    *before += signed_of(s, size);
    int64_t found = *before * (1 << p->low);
    if (found < -32768 || found > 32767)
        return 0;
    block[0] = (int16_t)found;
    return 1;
}

/* Decode a block's coefficients; returns the blocks left in the run, or -1. */
INLINE int64_t decode_first(Source *s, const Part *p, const uint16_t *table, int16_t *block, int64_t run)
{
    if (run)
        return run - 1;
    for (int at = p->first; at <= p->last;) {
        fill(s);
        int found = symbol(s, table), zeros = found >> 4, size = found & 15;
        if (found < 0)
            return -1;
        if (size == 0) {
            if (zeros < 15)
                return ((int64_t)1 << zeros) - 1 + take(s, zeros);
            at += 16;
            continue;
        }
        at += zeros;
        if (at > p->last)
            return -1;
        int64_t number = signed_of(s, size) * (1 << p->low);
        if (!is_coefficient(number))
            return -1;
        block[p->zigzag[at++]] = (int16_t)number;
    }
    return 0;
}

/* Read the next bit of a coefficient that is not 0; says whether it stays within bounds. */
INLINE int correct(Source *s, const Part *p, int16_t *coefficient)
{
    fill(s);
    if (!take(s, 1))
        return 1;
    int64_t number = *coefficient > 0 ? *coefficient + (1 << p->low) : *coefficient - (1 << p->low);
    if (!is_coefficient(number))
        return 0;
    *coefficient = (int16_t)number;
    return 1;
}

/* Decode one more bit of a block's coefficients; returns as ``decode_first``. */
INLINE int64_t decode_next(Source *s, const Part *p, const uint16_t *table, int16_t *block, int64_t run)
{
    int at = p->first;
    if (run == 0) {
        for (; at <= p->last; at++) {
            fill(s);
            int found = symbol(s, table), zeros = found >> 4, size = found & 15, new = 0;
            if (found < 0 || size > 1)
                return -1;
            if (size)
                new = take(s, 1) ? 1 << p->low : -(1 << p->low);
            else if (zeros < 15) {
                run = ((int64_t)1 << zeros) + take(s, zeros);
                break;
            }
            for (; at <= p->last; at++) {
                int16_t *coefficient = block + p->zigzag[at];
                if (*coefficient) {
                    if (!correct(s, p, coefficient))
                        return -1;
                } else if (zeros-- == 0)
                    break;
            }
            if (new) {
                if (at > p->last)
                    return -1;
                block[p->zigzag[at]] = (int16_t)new;
            }
        }
        if (run == 0)
            return 0;
    }
    for (; at <= p->last; at++) {
        int16_t *coefficient = block + p->zigzag[at];
        if (*coefficient && !correct(s, p, coefficient))
            return -1;
    }
    return run - 1;
}

/* As tp_decode_scan; tables : (components, CODES). */
EXPORT int64_t tp_decode_part(const uint8_t *data, int64_t size, int64_t start, const Scan *scan,
                              const uint16_t *tables, const int64_t *zigzag, int first, int last, int high, int low)
{
    const Part part = {zigzag, first, last, high, low}, *p = &part;
    Source s = {0, 0, 0, start, data, size};
    int64_t before[MOST_COMPONENTS] = {0}, done = 0, interval = 0, run = 0;
    for (int64_t row = 0; row < scan->rows; row++)
        for (int64_t column = 0; column < scan->columns; column++, done++) {
            if (scan->restart && done == scan->restart) {
                int wrong = run ? CUT : tp_next_interval(&s, scan, interval++);
                if (wrong)
                    return wrong;
                memset(before, 0, sizeof before);
                done = 0;
            }
            for (int64_t c = 0; c < scan->components; c++) {
                const int64_t *one = scan->places + COLUMNS * c;
                const uint16_t *table = tables + CODES * c;
                for (int64_t v = 0; v < one[V]; v++)
                    for (int64_t h = 0; h < one[H]; h++) {
                        int16_t *block = block_of(scan, one, row, column, v, h);
                        if (first == 0)
                            run = decode_mean(&s, p, table, block, before + c) ? 0 : -1;
                        else if (high)
                            run = decode_next(&s, p, table, block, run);
                        else
                            run = decode_first(&s, p, table, block, run);
                        if (run < 0)
                            return s.fake ? CUT : BAD_CODE;
                    }
            }
            if (s.count < s.fake)
                return CUT;
        }
    if (run)
        return BAD_CODE;
    int pad = tp_end_interval(&s);
    if (pad < 0)
        return CUT;
    scan->pads[interval] = (int16_t)pad;
    return s.at;
}

/* Writing -------------------------------------------------------------------------------------- */

/* A writer's state: blocks in the run, and the bits of correction that wait for its end. */
typedef struct {
    Sink s;
    int64_t run;
    int count;
    uint8_t waiting[2048];
} Writer;

static void put_bits(Sink *s, const uint8_t *bits, int count)
{
    for (int i = 0; i < count; i++)
        put(s, bits[i], 1);
}

/* Write the run of blocks without further coefficients, and the bits that wait for it. */
static int end_run(Writer *w, const int32_t *table)
{
    if (w->run) {
        int size = size_of(w->run) - 1;
        if (!put_symbol(&w->s, table, size << 4))
            return 0;
        put(&w->s, w->run & (((int64_t)1 << size) - 1), size);
        w->run = 0;
    }
    put_bits(&w->s, w->waiting, w->count);
    w->count = 0;
    return 1;
}

/* Write a block's coefficients; says whether all symbols have codes. */
static int encode_first(Writer *w, const Part *p, const int32_t *table, const int16_t *block)
{
    int zeros = 0;
    for (int at = p->first; at <= p->last; at++) {
        int64_t number = block[p->zigzag[at]], magnitude = (number < 0 ? -number : number) >> p->low;
        if (magnitude == 0) {
            zeros++;
            continue;
        }
        if (w->run && !end_run(w, table))
            return 0;
        for (; zeros > 15; zeros -= 16)
            if (!put_symbol(&w->s, table, 0xF0))
                return 0;
        int size = size_of(magnitude);
        if (size > 15 || !put_symbol(&w->s, table, zeros << 4 | size))
            return 0;
        put(&w->s, number > 0 ? magnitude : ((int64_t)1 << size) - 1 - magnitude, size);
        zeros = 0;
    }
    if (zeros && ++w->run == LONGEST_RUN)
        return end_run(w, table);
    return 1;
}

/* Write one more bit of a block's coefficients; says whether all symbols have codes. */
static int encode_next(Writer *w, const Part *p, const int32_t *table, const int16_t *block)
{
    int newest = 0, zeros = 0;
    for (int at = p->first; at <= p->last; at++)
        if ((block[p->zigzag[at]] < 0 ? -block[p->zigzag[at]] : block[p->zigzag[at]]) >> p->low == 1)
            newest = at;
    int begin = w->count, own = 0; /* this block's bits of correction, behind those that wait already */
    for (int at = p->first; at <= p->last; at++) {
        int64_t number = block[p->zigzag[at]], magnitude = (number < 0 ? -number : number) >> p->low;
        if (magnitude == 0) {
            zeros++;
            continue;
        }
        for (; zeros > 15 && at <= newest; zeros -= 16) {
            if ((w->run && !end_run(w, table)) || !put_symbol(&w->s, table, 0xF0))
                return 0;
            put_bits(&w->s, w->waiting + begin, own);
            begin = 0, own = 0;
        }
        if (magnitude > 1) {
            w->waiting[begin + own++] = magnitude & 1;
            continue;
        }
        if ((w->run && !end_run(w, table)) || !put_symbol(&w->s, table, zeros << 4 | 1))
            return 0;
        put(&w->s, number > 0, 1);
        put_bits(&w->s, w->waiting + begin, own);
        begin = 0, own = 0;
        zeros = 0;
    }
    if (zeros || own) {
        w->run++;
        w->count = begin + own;
        if (w->run == LONGEST_RUN || w->count > GATHERED)
            return end_run(w, table);
    }
    return 1;
}

/* Write a block's mean, or its next bit; says whether its symbol has a code. */
static int encode_mean(Writer *w, const Part *p, const int32_t *table, const int16_t *block, int64_t *before)
{
    int64_t mean = block[0] >> p->low;
    if (p->high) {
        put(&w->s, mean & 1, 1);
        return 1;
    }
    int64_t difference = mean - *before;
    *before = mean;
    int size = size_of(difference);
    if (size > 15 || !put_symbol(&w->s, table, size))
        return 0;
    put(&w->s, difference + (difference < 0 ? ((int64_t)1 << size) - 1 : 0), size);
    return 1;
}

/* As tp_encode_scan; codes : (components, SYMBOLS). */
EXPORT int64_t tp_encode_part(uint8_t *out, int64_t size, const Scan *scan, const int32_t *codes,
                              const int64_t *zigzag, int first, int last, int high, int low)
{
    const Part part = {zigzag, first, last, high, low}, *p = &part;
    Writer w;
    w.s = (Sink){0, 0, 0, out, size}, w.run = 0, w.count = 0;
    int64_t before[MOST_COMPONENTS] = {0}, done = 0, interval = 0;
    for (int64_t row = 0; row < scan->rows; row++)
        for (int64_t column = 0; column < scan->columns; column++, done++) {
            if (w.s.at + 10 * MOST_BYTES > size)
                return NO_ROOM;
            if (scan->restart && done == scan->restart) {
                if (!end_run(&w, codes))
                    return NO_CODE;
                tp_write_restart(&w.s, scan, interval++);
                memset(before, 0, sizeof before);
                done = 0;
            }
            for (int64_t c = 0; c < scan->components; c++) {
                const int64_t *one = scan->places + COLUMNS * c;
                const int32_t *table = codes + SYMBOLS * c;
                for (int64_t v = 0; v < one[V]; v++)
                    for (int64_t h = 0; h < one[H]; h++) {
                        const int16_t *block = block_of(scan, one, row, column, v, h);
                        int fits = first == 0 ? encode_mean(&w, p, table, block, before + c)
                                   : high     ? encode_next(&w, p, table, block)
                                              : encode_first(&w, p, table, block);
                        if (!fits)
                            return NO_CODE;
                    }
            }
        }
    if (!end_run(&w, codes))
        return NO_CODE;
    tp_fill_byte(&w.s, scan->pads[interval]);
    return w.s.at;
}
