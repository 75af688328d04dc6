#include "blurvote/noise.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace blurvote {
namespace {

// The root of the mean over a view's rows of their squared weights' sum.
double axis_gain(const AxisPlan& plan) {
    double sum = 0.0;
    for (int i = 0; i < plan.out; ++i) {
        const Band& band = plan.band(0, i);
        for (int k = 0; k < band.end - band.begin; ++k) {
            const double weight = plan.weights[band.offset + k];
            sum += weight * weight;
        }
    }
    return std::sqrt(sum / plan.out);
}

bool is_luma(Colour colour) { return colour == Colour::nv12 || colour == Colour::yuyv; }

}  // namespace

NoiseGrid noise_grid(const AxisPlan& rows, const AxisPlan& cols) {
    NoiseGrid grid;
    grid.gain = axis_gain(rows) * axis_gain(cols);
    int end = 0;
    grid.begin = cols.in;
    for (int j = 0; j < cols.out; ++j) {
        grid.begin = std::min(grid.begin, cols.band(0, j).begin);
        end = std::max(end, cols.band(0, j).end);
    }
    for (int i = kNoiseEvery / 2; rows.in >= 3 && i < rows.out; i += kNoiseEvery) {
        const std::int64_t centre = (2 * static_cast<std::int64_t>(rows.offset + i) + 1) * rows.in / (2 * rows.resized);
        grid.rows.push_back(std::clamp(static_cast<int>(centre), 1, rows.in - 2));
    }
    if (!grid.rows.empty()) grid.segments = std::max(0, end - grid.begin - 2) / kNoiseSegment;
    return grid;
}

void NoiseSegments::make_room(const NoiseGrid& grid) {
    const std::size_t count = grid.rows.size() * grid.segments;
    if (count <= sums.size()) return;
    for (std::vector<std::int32_t>* values : {&sums, &saturated, &kept}) values->resize(count);
}

double noise_reading(NoiseSegments& segments, const NoiseGrid& grid, Colour colour) {
    const std::size_t count = grid.rows.size() * grid.segments;
    if (count == 0) return std::numeric_limits<double>::quiet_NaN();
    const int samples = kNoiseSegment * (colour == Colour::rgb || colour == Colour::bgr ? 3 : 1);
    std::int32_t* const kept = segments.kept.data();
    std::size_t size = 0;
    for (std::size_t k = 0; k < count; ++k) {
        kept[size] = segments.sums[k];  // without a branch: which are kept cannot be foretold
        size += 10 * segments.saturated[k] <= 3 * samples;
    }
    if (10 * size < count) {  // nearly all of the frame is black or white: better these than a few
        std::copy_n(segments.sums.data(), count, kept);
        size = count;
    }
    std::nth_element(kept, kept + size / 4, kept + size);
    constexpr double kPi = 3.14159265358979323846;
    return std::sqrt(kPi / 2) / 6 * kept[size / 4] / samples / 255;
}

Saturation saturation(const FrameSpan& frame) {
    if (is_luma(frame.colour) && frame.range == Range::limited) return {16, 235};
    return {0, 255};
}

NoiseKind noise_kind(Colour colour, Matrix matrix) {
    if (colour == Colour::gray) return NoiseKind::gray;
    if (!is_luma(colour)) return NoiseKind::packed;
    return matrix == Matrix::bt709 ? NoiseKind::bt709 : NoiseKind::bt601;
}

double luma_share(Colour colour, Matrix matrix, Range range) {
    if (!is_luma(colour)) return 1.0;
    const double red = matrix == Matrix::bt709 ? 0.2126 : 0.299, blue = matrix == Matrix::bt709 ? 0.0722 : 0.114;
    const double green = 1.0 - red - blue;
    return std::sqrt(red * red + green * green + blue * blue) * (range == Range::limited ? 219.0 / 255.0 : 1.0);
}

double noise_level(double reading, Colour colour, Matrix matrix, Range range) {
    if (std::isnan(reading)) return reading;
    const double* const readings = kNoiseReadings[static_cast<int>(noise_kind(colour, matrix))];
    reading /= luma_share(colour, matrix, range);
    if (reading <= readings[0]) return kNoiseLevels[0];
    const std::ptrdiff_t k = std::upper_bound(readings, readings + kNoiseKnots, reading) - readings;
    if (k == kNoiseKnots) return kNoiseLevels[kNoiseKnots - 1];
    const double share = (reading - readings[k - 1]) / (readings[k] - readings[k - 1]);
    return kNoiseLevels[k - 1] + share * (kNoiseLevels[k] - kNoiseLevels[k - 1]);
}

}  // namespace blurvote
