/* LANES numbers of 32 bits at once, on what the file that includes this is compiled for.

   Vectors are those of GCC and Clang; what they cannot say is an intrinsic of the instruction set
   or, where there is none, a loop. LANES is 4 (SSE2, NEON), 8 (AVX2) or 16 (AVX-512). */
#ifndef TILEPRESS_VECTORS_H
#define TILEPRESS_VECTORS_H

#include <stdint.h>
#include <string.h>

#if defined(TP_EMULATED) /* for tests: the code for AVX-512, where there is none, by SIMD Everywhere */
#define LANES 16
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#elif defined(__AVX512VNNI__) && defined(__AVX512VL__) && defined(__AVX512BW__) && !defined(TP_NARROW)
#define LANES 16
#include <immintrin.h>
#elif defined(__AVX2__)
#define LANES 8
#include <immintrin.h>
#else
#define LANES 4
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif
#endif

typedef int32_t V __attribute__((vector_size(4 * LANES)));
typedef float VF __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE V v_load(const int32_t *from)
{
    V out;
    memcpy(&out, from, sizeof out);
    return out;
}

INLINE void v_store(int32_t *to, V what) { memcpy(to, &what, sizeof what); }

INLINE V v_all(int32_t value)
{
    V out = {0};
    return out + value;
}

/* Masks are -1 where a comparison holds, else 0. */
INLINE V v_select(V mask, V yes, V no)
{
#if LANES == 8
    return (V)_mm256_blendv_epi8((__m256i)no, (__m256i)yes, (__m256i)mask);
#else
    return (mask & yes) | (~mask & no);
#endif
}

#if LANES == 16
INLINE V v_min(V a, V b) { return (V)_mm512_min_epi32((__m512i)a, (__m512i)b); }
INLINE V v_max(V a, V b) { return (V)_mm512_max_epi32((__m512i)a, (__m512i)b); }
INLINE V v_abs(V a) { return (V)_mm512_abs_epi32((__m512i)a); }
#elif LANES == 8
INLINE V v_min(V a, V b) { return (V)_mm256_min_epi32((__m256i)a, (__m256i)b); }
INLINE V v_max(V a, V b) { return (V)_mm256_max_epi32((__m256i)a, (__m256i)b); }
INLINE V v_abs(V a) { return (V)_mm256_abs_epi32((__m256i)a); }
#else
INLINE V v_min(V a, V b) { return v_select(a < b, a, b); }
INLINE V v_max(V a, V b) { return v_select(a > b, a, b); }
INLINE V v_abs(V a) { return v_max(a, -a); }
#endif

INLINE V v_clip(V a, int32_t low, int32_t high) { return v_min(v_max(a, v_all(low)), v_all(high)); }

/* Bits of numbers from 0 to 2^31 - 1: the exponent of the float that holds their highest bit. */
INLINE V v_bit_length(V a)
{
#if LANES == 16 && !defined(TP_EMULATED)
    return 32 - (V)_mm512_lzcnt_epi32((__m512i)a);
#else
    V highest = a & ~(a >> 1); /* so that rounding cannot carry into the next exponent */
    V exponent = (V)__builtin_convertvector(highest, VF) >> 23;
    return v_max(exponent - 126, v_all(0));
#endif
}

/* Eight times the binary logarithm of a + 1, piecewise linear, for a from 0 to 2^30. */
INLINE V v_log8(V a)
{
    V value = a + 1, n = v_bit_length(value) - 1;
    V up = v_max(3 - n, v_all(0)), down = v_max(n - 3, v_all(0));
    return (n << 3) + (((value >> down) << up) & 7);
}

INLINE V v_median_edge(V west, V north, V north_west)
{
    V low = v_min(west, north), high = v_max(west, north);
    return v_min(v_max(west + north - north_west, low), high);
}

/* A shift by 2^-shift with rounding, then a clip to s7; shared by numbers that have one scale. */
typedef struct {
    V down, up, rounding;
} Scaling;

INLINE Scaling scaling_of(V shift)
{
    V down = v_max(shift, v_all(0));
    V up = v_clip(-shift, 0, 6);
    return (Scaling){down, up, (v_all(1) << down) >> 1};
}

INLINE V v_scaled(V a, Scaling s) { return v_clip(((a + s.rounding) >> s.down) << s.up, -63, 63); }

/* table[which], 16 numbers, of which ``which`` names one a lane. */
INLINE V v_pick(const int32_t *table, V which)
{
#if LANES == 16
    return (V)_mm512_permutexvar_epi32((__m512i)which, _mm512_loadu_si512(table));
#elif LANES == 8
    __m256i low = _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const __m256i *)table), (__m256i)which);
    __m256i high = _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const __m256i *)(table + 8)), (__m256i)which);
    return v_select(which > 7, (V)high, (V)low);
#else
    V out;
    for (int lane = 0; lane < LANES; lane++)
        out[lane] = table[which[lane]];
    return out;
#endif
}

/* table[which] of any table. */
INLINE V v_gather(const int32_t *table, V which)
{
#if LANES == 16 && !defined(TP_EMULATED)
    return (V)_mm512_i32gather_epi32((__m512i)which, table, 4);
#elif LANES == 8
    return (V)_mm256_i32gather_epi32(table, (__m256i)which, 4);
#else
    V out;
    for (int lane = 0; lane < LANES; lane++)
        out[lane] = table[which[lane]];
    return out;
#endif
}

/* sum + the four products of each lane's bytes: inputs of 0 to 127, weights of -63 to 63. */
INLINE V v_dot4(V sum, V inputs, int32_t weights)
{
#if LANES == 16
    return (V)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)inputs, _mm512_set1_epi32(weights));
#elif LANES == 8
    __m256i pairs = _mm256_maddubs_epi16((__m256i)inputs, _mm256_set1_epi32(weights));
    return sum + (V)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif defined(__SSE2__)
    __m128i low = _mm_set1_epi32(0x00FF00FF), w = _mm_set1_epi32(weights);
    __m128i even = _mm_madd_epi16(_mm_and_si128((__m128i)inputs, low), _mm_srai_epi16(_mm_slli_epi16(w, 8), 8));
    __m128i odd = _mm_madd_epi16(_mm_srli_epi16((__m128i)inputs, 8), _mm_srai_epi16(w, 8));
    return sum + (V)even + (V)odd;
#elif defined(__ARM_NEON)
    int8x16_t x = vreinterpretq_s8_s32((int32x4_t)inputs), w = vreinterpretq_s8_s32(vdupq_n_s32(weights));
    int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w)), high = vmull_s8(vget_high_s8(x), vget_high_s8(w));
    return sum + (V)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
#else
    for (int k = 0; k < 4; k++)
        sum += ((inputs >> (8 * k)) & 127) * (int32_t)(int8_t)(weights >> (8 * k));
    return sum;
#endif
}

/* Two of those. The pairs of both fit in 16 bits: 4 * 127 * 63 < 2^15. */
INLINE V v_dot8(V sum, V inputs, V more_inputs, int32_t weights, int32_t more_weights)
{
#if LANES == 8
    __m256i pairs = _mm256_maddubs_epi16((__m256i)inputs, _mm256_set1_epi32(weights));
    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16((__m256i)more_inputs, _mm256_set1_epi32(more_weights)));
    return sum + (V)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#else
    return v_dot4(v_dot4(sum, inputs, weights), more_inputs, more_weights);
#endif
}

#endif
