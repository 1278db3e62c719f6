/* The loop of x86-64 machines since 2013. */
#define NTC_KERNEL tp_ntc_avx2
#define TP_NARROW
#include "code.inc.h"
