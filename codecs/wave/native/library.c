/* What Python calls: the kernel that this machine runs best, and what needs no vectors. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "scalar.h"

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

extern const Kernel tp_kernel_base;
#if defined(__x86_64__) || defined(_M_X64)
extern const Kernel tp_kernel_avx2, tp_kernel_avx512;
#endif

/* How many kernels this machine can run, numbered from 0, the best last. */
EXPORT int tp_kernels(void)
{
#if defined(__x86_64__) || defined(_M_X64)
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

EXPORT int64_t tp_cells(int64_t height, int64_t width) { return tp_sheared_size(height, width); }

EXPORT int64_t tp_steps_of(int64_t height, int64_t width) { return tp_steps(height, width); }

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

EXPORT void tp_unshear(const int32_t *sheared, int64_t height, int64_t width, int32_t *out)
{
    int64_t pitch = tp_pitch(height, width);
    for (int64_t y = 0; y < height; y++) {
        const int32_t *at = sheared + tp_position(SHEAR * y, y, pitch);
        for (int64_t x = 0; x < width; x++)
            out[y * width + x] = at[x * pitch];
    }
}

/* Symbols to words: see rans.py ---------------------------------------------------------------- */

/* Code symbols from the last to the first; words fill ``words`` from its end. Returns how many. */
EXPORT int64_t tp_rans_encode(const uint16_t *starts, const uint16_t *sizes, int64_t count, int lanes,
                              uint32_t *states, uint16_t *words)
{
    for (int k = 0; k < lanes; k++)
        states[k] = STATE_LOW;
    int64_t at = count + 1;
    for (int64_t i = count - 1; i >= 0; i--) {
        uint32_t start = starts[i], size = sizes[i], state = states[i % lanes];
        if ((uint64_t)state >= (uint64_t)size << 17) {
            words[--at] = (uint16_t)state;
            state >>= 16;
        }
        states[i % lanes] = ((state / size) << TABLE_BITS) + state % size + start;
    }
    return count + 1 - at;
}
