/* The kernel of any machine: SSE2 on x86-64, NEON on AArch64. */
#define KERNEL tp_kernel_base
#define TP_NARROW
#include "plane.inc.h"
