/* A kernel: what works step by step over a plane, in vectors.

   Included once for each instruction set, with KERNEL the name of what it makes. Nothing here
   depends on how many lanes a vector has: every lane is a sample. */
#include <math.h>
#include <stdlib.h>

#include "kernel.h"
#include "scalar.h"
#include "vectors.h"

#include "predict.inc.h"
#include "blocks.inc.h"
#include "tree.inc.h"

#include "decode.inc.h"
#include "encode.inc.h"
#include "fit.inc.h"

const Kernel KERNEL = {decode_plane, predict_plane, plane_properties, plane_examples, plane_leaves,
                       plane_activities, plane_equations, plane_fold, plane_gain_costs, plane_features};
