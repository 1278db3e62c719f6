/* The loop of any machine: SSE2 on x86-64, NEON on AArch64. */
#define NTC_KERNEL tp_ntc_base
#define TP_NARROW
#include "code.inc.h"
