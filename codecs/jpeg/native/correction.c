/* Differences of few samples ↔ bits, as correction.py says. */
#include "export.h"
#include "mixing.h"

enum { LARGEST = 17, SIZES = LARGEST + 1, SIGNS = 24 * SIZES, REST = SIGNS + 27, REST_BITS = 16, ROOM = 128 };

/* What a magnitude is more than LARGEST: 16 bits, the higher first. */
INLINE int32_t code_rest(Coder *c, int decoding, int64_t rest, uint32_t *slots)
{
    int32_t found = 0;
    for (int bit = 0; bit < REST_BITS; bit++)
        found = found << 1 | code_plain(c, decoding, rest >> (REST_BITS - 1 - bit) & 1, slots + bit);
    return found;
}

INLINE int code_all(Coder *c, int decoding, int any, int32_t *values, int64_t planes, int64_t height,
                    int64_t width, uint32_t *slots)
{
    for (int64_t p = 0; p < planes; p++)
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++, values++) {
                if (!decoding && c->at + ROOM > c->size)
                    return 0;
                int32_t value = *values, w = x ? values[-1] : 0, n = y ? values[-width] : 0;
                int near = (x && y ? values[-width - 1] != 0 : 0) + (y && x + 1 < width ? values[1 - width] != 0 : 0);
                int32_t last = p ? values[-height * width] : 0;
                int context = (((w != 0) * 2 + (n != 0)) * 3 + near) * 2 + (last != 0);
                int64_t magnitude = value < 0 ? -(int64_t)value : value;
                int32_t size = 0;
                while (size < LARGEST &&
                       code_plain(c, decoding, magnitude > size, slots + context * SIZES + size))
                    size++;
                if (size == LARGEST) {
                    if (!any || magnitude > LARGEST + (1 << REST_BITS) - 1)
                        return 0;
                    size += code_rest(c, decoding, magnitude - LARGEST, slots + REST);
                }
                if (size == 0) {
                    *values = 0;
                    continue;
                }
                int sign = SIGNS + (w > 0) * 9 + (w < 0) * 18 + (n > 0) * 3 + (n < 0) * 6 + (last > 0) + 2 * (last < 0);
                *values = code_plain(c, decoding, value < 0, slots + sign) ? -size : size;
            }
    return 1;
}

/* Code differences, (planes, height, width); contexts are those around and in the plane before.
   Returns 0 where one is too large, or there is no room. any : whether those above 16 may be.
   slots : (24 * 18 + 27 + 16,). */
EXPORT int tp_code_correction(int64_t *state, uint8_t *data, int64_t size, int decoding, int any,
                              int32_t *values, int64_t planes, int64_t height, int64_t width, uint32_t *slots,
                              const uint16_t *squash, const int16_t *stretch, const uint16_t *rate)
{
    Coder c = resume(state, data, size, (Curves){squash, stretch, rate});
    int whole = decoding ? code_all(&c, 1, any, values, planes, height, width, slots)
                         : code_all(&c, 0, any, values, planes, height, width, slots);
    suspend(&c, state);
    return whole;
}
