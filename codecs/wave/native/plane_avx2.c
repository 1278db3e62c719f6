/* The kernel of x86-64 machines since 2013. */
#define KERNEL tp_kernel_avx2
#define TP_NARROW
#include "plane.inc.h"
