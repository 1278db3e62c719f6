/* What Python calls: the kernel that this machine runs best, and what needs no vectors. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "scalar.h"

extern const Kernel tp_kernel_base;
#if defined(__x86_64__) || defined(_M_X64)
extern const Kernel tp_kernel_avx2, tp_kernel_avx512;
#endif

/* Number of the contract that this library was built for (export.h). */
EXPORT int tp_abi(void) { return ABI; }

/* How many kernels this machine can run, numbered from 0, the best last. */
EXPORT int tp_kernels(void)
{
#if defined(TP_EMULATED)
    return 3;
#elif defined(__x86_64__) || defined(_M_X64)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
        return 1;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni"))
        return 3;
    return 2;
#else
    return 1;
#endif
}

static const Kernel *kernel_of(int number)
{
#if defined(__x86_64__) || defined(_M_X64)
    if (number == 2)
        return &tp_kernel_avx512;
    if (number == 1)
        return &tp_kernel_avx2;
#endif
    (void)number;
    return &tp_kernel_base;
}

EXPORT int tp_decode(int kernel, const Plane *plane, const Stream *stream, int32_t *own, int32_t *errors)
{
    return kernel_of(kernel)->decode(plane, stream, own, errors);
}

EXPORT int tp_predict(int kernel, const Plane *plane, const int32_t *own, int32_t *errors, Found *found)
{
    return kernel_of(kernel)->predict(plane, own, errors, found);
}

EXPORT int tp_properties(int kernel, const Plane *plane, const int32_t *own, const int32_t *errors,
                         const Predicted *predicted, int64_t stride, int64_t every, int64_t count, int32_t *out,
                         int64_t *picked)
{
    return kernel_of(kernel)->properties(plane, own, errors, predicted, stride, every, count, out, picked);
}

EXPORT int tp_examples(int kernel, const Plane *plane, const int32_t *own, const int32_t *errors,
                       const Predicted *predicted, int64_t stride, const Examined *examined, Example *out)
{
    return kernel_of(kernel)->examples(plane, own, errors, predicted, stride, examined, out);
}

EXPORT int tp_leaves(int kernel, const Plane *plane, const int32_t *own, const int32_t *errors,
                     const Predicted *predicted, const int32_t *nodes, int64_t node_count, int32_t *out)
{
    return kernel_of(kernel)->leaves(plane, own, errors, predicted, nodes, node_count, out);
}

EXPORT int tp_activities(int kernel, const Plane *plane, const int32_t *own, int64_t stride, int64_t *counts)
{
    return kernel_of(kernel)->activities(plane, own, stride, counts);
}

EXPORT int tp_equations(int kernel, const Plane *plane, const int32_t *own, const Equations *equations)
{
    return kernel_of(kernel)->equations(plane, own, equations);
}

EXPORT void tp_fold_plane(int kernel, const int32_t *linears, const int32_t *corrections, const int32_t *contexts,
                          const int32_t *sample, const int32_t *west, const int32_t *north, int64_t n,
                          int32_t gain, int32_t top, int16_t *tables, int32_t *folded, int32_t *candidates)
{
    const int32_t *samples[3] = {sample, west, north};
    kernel_of(kernel)->fold(linears, corrections, contexts, samples, n, gain, top, tables, folded, candidates);
}

EXPORT void tp_gain_costs(int kernel, const int32_t *linears, const int32_t *corrections, const int32_t *sample,
                          const int64_t *begins, int64_t steps, int64_t stride, const int32_t *gains,
                          int32_t gain_count, int64_t *costs)
{
    kernel_of(kernel)->gain_costs(linears, corrections, sample, begins, steps, stride, gains, gain_count, costs);
}

EXPORT int tp_features(int kernel, const Plane *plane, const int32_t *own, int32_t *errors, int8_t *out,
                       int32_t *facts)
{
    return kernel_of(kernel)->features(plane, own, errors, out, facts);
}

/* Sheared planes: see wavefront.py ------------------------------------------------------------- */

/* A plane, (height, width), sheared with its margins; out begins as ``first`` everywhere. */
EXPORT void tp_shear(const int32_t *plane, int64_t height, int64_t width, int32_t first, int32_t *out)
{
    int64_t pitch = tp_pitch(height, width);
    for (int64_t y = 0; y < height; y++) {
        const int32_t *row = plane + y * width;
        int32_t left = y ? row[-width] : first;
        int32_t *at = out + tp_position(SHEAR * y, y, pitch);
        for (int64_t x = -LEFT; x < width + RIGHT; x++)
            at[x * pitch] = x < 0 ? left : row[x < width ? x : width - 1];
    }
}

/* An earlier plane sheared, its border repeated by one sample on every side. */
EXPORT void tp_fill_reference(const int32_t *plane, int64_t height, int64_t width, int32_t *out)
{
    int64_t pitch = tp_pitch(height, width);
    for (int64_t y = -1; y <= height; y++) {
        const int32_t *row = plane + (y < 0 ? 0 : y < height ? y : height - 1) * width;
        int32_t *at = out + tp_position(SHEAR * y, y, pitch);
        for (int64_t x = -1; x <= width; x++)
            at[x * pitch] = row[x < 0 ? 0 : x < width ? x : width - 1];
    }
}

/* Give samples that are absent, in a plane of (height, width), the mean of west and north. */
EXPORT void tp_fill_absent(int32_t *plane, const uint8_t *mask, int64_t height, int64_t width, int32_t first)
{
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int32_t *at = plane + y * width + x;
            if (!mask[y * width + x])
                continue;
            int32_t north = y ? at[-width] : first, west = x ? at[-1] : y ? at[-width] : first;
            *at = (west + north + 1) >> 1;
        }
}

EXPORT void tp_unshear(const int32_t *sheared, int64_t height, int64_t width, int32_t *out)
{
    int64_t pitch = tp_pitch(height, width);
    for (int64_t y = 0; y < height; y++) {
        const int32_t *at = sheared + tp_position(SHEAR * y, y, pitch);
        for (int64_t x = 0; x < width; x++)
            out[y * width + x] = at[x * pitch];
    }
}
