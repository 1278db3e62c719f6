/* The loop of x86-64 machines with AVX-512. */
#define NTC_KERNEL tp_ntc_avx512
#include "code.inc.h"
