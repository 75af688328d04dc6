// The step from filtered samples to normalised R, G, B, as one affine map.
#pragma once

#include "blurvote/frame_span.h"

namespace blurvote {

// Channel c of a view is bias[c] + sum over s of mix[c][s] * sample s, the samples being bytes'
// averages: R, G, B whatever their order in memory; Y alone; or Y, U, V.
struct ColourMix {
    float mix[3][3];
    float bias[3];
};

ColourMix colour_mix(Colour colour, Matrix matrix, Range range, const float (&mean)[3], const float (&std)[3]);

}  // namespace blurvote
