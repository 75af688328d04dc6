// The matrices of a chroma plane, whose samples each stand for two pixels along the axis.
#include <cstddef>
#include <vector>

#include "blurvote/bands.h"

namespace blurvote {
namespace {

// A U for each row of the banded matrix A, where U repeats every sample twice: neighbouring weights
// that meet in one sample are added.
void fold(const std::vector<Band>& bands, const std::vector<float>& weights, int odd, std::vector<Band>& to_bands,
          std::vector<float>& to_weights) {
    to_bands.reserve(bands.size());
    to_weights.reserve(weights.size() / 2 + 2 * bands.size());
    for (const Band& band : bands) {
        const int begin = (band.begin + odd) / 2, end = (band.end + odd + 1) / 2;
        const int offset = static_cast<int>(to_weights.size());
        to_weights.resize(offset + (end - begin), 0.0f);
        for (int x = band.begin; x < band.end; ++x) {
            to_weights[offset + (x + odd) / 2 - begin] += weights[band.offset + x - band.begin];
        }
        to_bands.push_back({begin, end, offset});
    }
}

}  // namespace

AxisPlan chroma_axis(const AxisPlan& luma, bool odd) {
    AxisPlan chroma;
    chroma.in = (luma.in + odd + 1) / 2;
    chroma.resized = luma.resized;
    chroma.offset = luma.offset;
    chroma.out = luma.out;
    fold(luma.bands, luma.weights, odd, chroma.bands, chroma.weights);
    fold(luma.kink_bands, luma.kink_weights, odd, chroma.kink_bands, chroma.kink_weights);
    chroma.kink_scale = luma.kink_scale;
    return chroma;
}

}  // namespace blurvote
