#include "export.h"
#include "mixing.h"

/* Code bits, (n,), each by the mixture of the slots that ``contexts``, (n, INPUTS), names; without
   weights, (INPUTS,), each by its first slot alone. Decoding fills ``bits``. */
EXPORT void tp_code_bits(int64_t *state, uint8_t *data, int64_t size, int decoding, int64_t *bits,
                         const int64_t *contexts, int64_t n, uint32_t *slots, int32_t *weights,
                         const uint16_t *squash, const int16_t *stretch, const uint16_t *rate)
{
    Coder c = resume(state, data, size, (Curves){squash, stretch, rate});
    for (int64_t i = 0; i < n; i++, contexts += INPUTS) {
        for (int k = 0; k < INPUTS; k++)
            c.slots[k] = slots + contexts[k];
        bits[i] = weights ? code_mixed(&c, decoding, (int)bits[i], 0, weights)
                          : code_plain(&c, decoding, (int)bits[i], c.slots[0]);
    }
    suspend(&c, state);
}
