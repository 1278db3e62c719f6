/* The kernel of x86-64 machines with AVX-512 and its dot products of bytes. */
#define KERNEL tp_kernel_avx512
#include "plane.inc.h"
