/* The inverse cosine transform of a block in numbers of type T, with NAME(…) for each function.

   The slow integer one of Loeffler, Ligtenberg and Moschytz as the Independent JPEG Group (IJG) has
   it, 11 multiplications, with constants of 13 bits; the committee's own libjpeg has the same with
   constants of 9 bits. All eight lines at once: number k of line j is s[8 * k + j]. */

static inline void NAME(transform)(T *s, int bits, int shift)
{
    const T half = (T)1 << (shift - 1), one = (T)1 << bits;
    const T c0_298 = CONSTANT(2446, bits), c0_390 = CONSTANT(3196, bits), c0_541 = CONSTANT(4433, bits),
            c0_765 = CONSTANT(6270, bits), c0_899 = CONSTANT(7373, bits), c1_175 = CONSTANT(9633, bits),
            c1_501 = CONSTANT(12299, bits), c1_847 = CONSTANT(15137, bits), c1_961 = CONSTANT(16069, bits),
            c2_053 = CONSTANT(16819, bits), c2_562 = CONSTANT(20995, bits), c3_072 = CONSTANT(25172, bits);
    for (int j = 0; j < 8; j++) {
        T *at = s + j;
        T z2 = at[16], z3 = at[48], z1 = (z2 + z3) * c0_541;
        T even2 = z1 - z3 * c1_847, even3 = z1 + z2 * c0_765;
        T even0 = (at[0] + at[32]) * one, even1 = (at[0] - at[32]) * one;
        T a0 = even0 + even3, a3 = even0 - even3, a1 = even1 + even2, a2 = even1 - even2;
        T o0 = at[56], o1 = at[40], o2 = at[24], o3 = at[8], z4 = o1 + o3, z5;
        z1 = o0 + o3, z2 = o1 + o2, z3 = o0 + o2;
        z5 = (z3 + z4) * c1_175;
        o0 *= c0_298, o1 *= c2_053, o2 *= c3_072, o3 *= c1_501;
        z1 *= -c0_899, z2 *= -c2_562;
        z3 = z5 - z3 * c1_961, z4 = z5 - z4 * c0_390;
        o0 += z1 + z3, o1 += z2 + z4, o2 += z2 + z3, o3 += z1 + z4;
        at[0] = (a0 + o3 + half) >> shift, at[56] = (a0 - o3 + half) >> shift;
        at[8] = (a1 + o2 + half) >> shift, at[48] = (a1 - o2 + half) >> shift;
        at[16] = (a2 + o1 + half) >> shift, at[40] = (a2 - o1 + half) >> shift;
        at[24] = (a3 + o0 + half) >> shift, at[32] = (a3 - o0 + half) >> shift;
    }
}

static inline void NAME(turn)(T *s)
{
    for (int y = 1; y < 8; y++)
        for (int x = 0; x < y; x++) {
            T kept = s[8 * y + x];
            s[8 * y + x] = s[8 * x + y], s[8 * x + y] = kept;
        }
}

/* Columns, then rows, as the IJG has it: ``extra`` bits are kept in between; the result is s, row by
   row, in units of 2^(3 - down). */
static inline void NAME(inverse)(T *s, int extra, int down)
{
    NAME(transform)(s, 13, 13 - extra);
    NAME(turn)(s);
    NAME(transform)(s, 13, 13 + extra + down);
    NAME(turn)(s);
}

/* Rows, then columns, as the committee's library has it. */
static inline void NAME(fine_inverse)(T *s)
{
    NAME(turn)(s);
    NAME(transform)(s, 9, 9);
    NAME(turn)(s);
    NAME(transform)(s, 9, 9 + 3);
}

/* Eight numbers in steps of ``step`` to sixteen in steps of ``wide``. */
static inline void NAME(stretch)(const T *s, int step, T *out, int wide, int shift)
{
    for (int j = 0; j < 8; j++) {
        T even = (T)1 << (shift - 1), odd = 0;
        for (int k = 0; k < 8; k += 2) {
            even += s[k * step] * LONG[j][k];
            odd += s[(k + 1) * step] * LONG[j][k + 1];
        }
        out[j * wide] = (even + odd) >> shift, out[(15 - j) * wide] = (even - odd) >> shift;
    }
}

/* As ``inverse`` to samples, of twice the height, the width or both; t: row by row, in the width that it has. */
static inline void NAME(larger)(T *s, int extra, int high, int wide, T *t)
{
    T tall[128];
    int height = high ? 16 : 8;
    if (high)
        for (int k = 0; k < 8; k++)
            NAME(stretch)(s + k, 8, tall + k, 8, 13 - extra);
    else {
        NAME(transform)(s, 13, 13 - extra);
        memcpy(tall, s, 64 * sizeof(T));
    }
    if (wide) {
        for (int y = 0; y < height; y++)
            NAME(stretch)(tall + 8 * y, 1, t + 16 * y, 1, 13 + extra + 3);
        return;
    }
    for (int half = 0; half < height; half += 8) {
        NAME(turn)(tall + 8 * half);
        NAME(transform)(tall + 8 * half, 13, 13 + extra + 3);
        NAME(turn)(tall + 8 * half);
    }
    memcpy(t, tall, (size_t)(8 * height) * sizeof(T));
}
