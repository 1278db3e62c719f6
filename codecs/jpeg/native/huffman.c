/* The coded bytes of sequential scans, as huffman.py says. */
#include "huffman.h"

#include "export.h"

/* Go back to the byte after the last that was needed; returns 256 * bits left of it + they, or -1. */
int tp_end_interval(Source *s)
{
    int64_t left = s->count - s->fake;
    if (left < 0)
        return -1;
    int pad = (int)(left & 7), bits = 0;
    if (pad)
        bits = (int)(s->bits >> (s->count - pad)) & ((1 << pad) - 1);
    for (int64_t k = left >> 3; k > 0; k--)
        s->at -= s->at > 1 && s->data[s->at - 1] == 0 && s->data[s->at - 2] == 255 ? 2 : 1;
    s->bits = 0, s->count = 0, s->fake = 0;
    return pad << 8 | bits;
}

/* End an interval and step over the restart marker after it; returns 0, or what is wrong. */
int tp_next_interval(Source *s, const Scan *scan, int64_t interval)
{
    int pad = tp_end_interval(s);
    if (pad < 0)
        return CUT;
    scan->pads[interval] = (int16_t)pad;
    if (s->at + 1 >= s->size || s->data[s->at] != 255 || s->data[s->at + 1] != 0xD0 + (interval & 7))
        return NO_RESTART;
    s->at += 2;
    return 0;
}

/* Decode a block after one whose first coefficient is ``before``; says whether that went well. */
INLINE int decode_block(Source *s, const int64_t *zigzag, const uint16_t *dc, const uint16_t *ac, int16_t *block,
                        int64_t before)
{
    fill(s);
    int size = symbol(s, dc);
    if (size < 0 || size > 15)
        return 0;
    int64_t mean = before + signed_of(s, size);
    if (mean < -32768 || mean > 32767)
        return 0;
    block[0] = (int16_t)mean;
    for (int at = 1; at < 64;) {
        fill(s);
        int found = symbol(s, ac), run = found >> 4;
        if (found < 0)
            return 0;
        size = found & 15;
        if (size == 0) {
            if (run != 15)
                break;
            at += 16;
            continue;
        }
        at += run;
        if (at > 63)
            return 0;
        block[zigzag[at++]] = (int16_t)signed_of(s, size);
    }
    return 1;
}

/* Decode a scan's bytes from ``start`` on; returns the place after them, or what is wrong.

   tables : (2 * components, CODES); blocks : zeros where the scan's are; pads : filled with 256 *
   number + value of the bits that fill the last byte of each interval. */
EXPORT int64_t tp_decode_scan(const uint8_t *data, int64_t size, int64_t start, const Scan *scan,
                              const uint16_t *tables, const int64_t *zigzag)
{
    Source s = {0, 0, 0, start, data, size};
    int64_t before[MOST_COMPONENTS] = {0}, done = 0, interval = 0;
    for (int64_t row = 0; row < scan->rows; row++)
        for (int64_t column = 0; column < scan->columns; column++, done++) {
            if (scan->restart && done == scan->restart) {
                int wrong = tp_next_interval(&s, scan, interval++);
                if (wrong)
                    return wrong;
                memset(before, 0, sizeof before);
                done = 0;
            }
            for (int64_t c = 0; c < scan->components; c++) {
                const int64_t *one = scan->places + COLUMNS * c;
                const uint16_t *dc = tables + CODES * one[DC], *ac = tables + CODES * one[AC];
                for (int64_t v = 0; v < one[V]; v++)
                    for (int64_t h = 0; h < one[H]; h++) {
                        int16_t *block = block_of(scan, one, row, column, v, h);
                        if (!decode_block(&s, zigzag, dc, ac, block, before[c]))
                            return s.fake ? CUT : BAD_CODE;
                        before[c] = block[0];
                    }
            }
            if (s.count < s.fake)
                return CUT;
        }
    int pad = tp_end_interval(&s);
    if (pad < 0)
        return CUT;
    scan->pads[interval] = (int16_t)pad;
    return s.at;
}

/* End an interval with as many bits of ``pad`` as its last byte has left. */
void tp_fill_byte(Sink *s, int pad)
{
    int count = (int)(-s->count & 7);
    if (count)
        put(s, pad & ((1 << count) - 1), count);
}

/* End an interval and write the restart marker after it. */
void tp_write_restart(Sink *s, const Scan *scan, int64_t interval)
{
    tp_fill_byte(s, scan->pads[interval]);
    s->out[s->at++] = 255;
    s->out[s->at++] = (uint8_t)(0xD0 + (interval & 7));
}

/* Write a block; says whether all of its symbols have codes. */
INLINE int encode_block(Sink *s, const int64_t *zigzag, const int32_t *dc, const int32_t *ac, const int16_t *block,
                        int64_t before)
{
    int64_t difference = block[0] - before;
    int size = size_of(difference), run = 0;
    if (size > 15 || !put_symbol(s, dc, size))
        return 0;
    put(s, difference > 0 ? difference : difference + ((int64_t)1 << size) - 1, size);
    for (int at = 1; at < 64; at++) {
        int64_t value = block[zigzag[at]];
        if (value == 0) {
            run++;
            continue;
        }
        for (; run > 15; run -= 16)
            if (!put_symbol(s, ac, 0xF0))
                return 0;
        size = size_of(value);
        if (size > 15 || !put_symbol(s, ac, run << 4 | size))
            return 0;
        put(s, value > 0 ? value : value + ((int64_t)1 << size) - 1, size);
        run = 0;
    }
    return !run || put_symbol(s, ac, 0);
}

/* Write a scan's bytes to ``out``, (size,); returns how many, or what is wrong.

   codes : (2 * components, SYMBOLS); pads : the bits that fill the last byte of each interval. */
EXPORT int64_t tp_encode_scan(uint8_t *out, int64_t size, const Scan *scan, const int32_t *codes,
                              const int64_t *zigzag)
{
    Sink s = {0, 0, 0, out, size};
    int64_t before[MOST_COMPONENTS] = {0}, done = 0, interval = 0;
    for (int64_t row = 0; row < scan->rows; row++)
        for (int64_t column = 0; column < scan->columns; column++, done++) {
            if (scan->restart && done == scan->restart) {
                tp_write_restart(&s, scan, interval++);
                memset(before, 0, sizeof before);
                done = 0;
            }
            for (int64_t c = 0; c < scan->components; c++) {
                const int64_t *one = scan->places + COLUMNS * c;
                const int32_t *dc = codes + SYMBOLS * one[DC], *ac = codes + SYMBOLS * one[AC];
                for (int64_t v = 0; v < one[V]; v++)
                    for (int64_t h = 0; h < one[H]; h++) {
                        const int16_t *block = block_of(scan, one, row, column, v, h);
                        if (s.at + MOST_BYTES > s.size)
                            return NO_ROOM;
                        if (!encode_block(&s, zigzag, dc, ac, block, before[c]))
                            return NO_CODE;
                        before[c] = block[0];
                    }
            }
        }
    tp_fill_byte(&s, scan->pads[interval]);
    return s.at;
}
