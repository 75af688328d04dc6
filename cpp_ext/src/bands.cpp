#include "blurvote/bands.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>

namespace blurvote {
namespace {

// A banded matrix while it is being planned: rows in double, each with its own begin and end in
// one shared weight store.
struct Matrix {
    std::vector<Band> rows;
    std::vector<double> weights;
};

double triangle(double x) {
    x = std::fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

// Keys' cubic convolution kernel (IEEE TASSP 29, 1981).
double cubic(double x, double a) {
    x = std::fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

// Pillow's and torch's antialiased resize: the filter is widened by the scale, cut at the image
// and normalised. Both use a = -0.5 for its bicubic.
void antialiased_row(Matrix& m, Interpolation interpolation, int in, double scale, int i) {
    const bool bicubic = interpolation == Interpolation::bicubic;
    const double stretch = std::max(scale, 1.0);
    const double support = (bicubic ? 2.0 : 1.0) * stretch;
    const double centre = scale * (i + 0.5);
    const int begin = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int end = std::min(static_cast<int>(centre + support + 0.5), in);
    const int offset = static_cast<int>(m.weights.size());
    double sum = 0.0;
    for (int x = begin; x < end; ++x) {
        const double d = (x - centre + 0.5) / stretch;
        const double w = bicubic ? cubic(d, -0.5) : triangle(d);
        m.weights.push_back(w);
        sum += w;
    }
    for (std::size_t k = offset; k < m.weights.size(); ++k) m.weights[k] /= sum;
    m.rows.push_back({begin, end, offset});
}

// Plain interpolation between the 2 (bilinear) or 4 (bicubic, a = -0.75) nearest pixels, as
// torch.nn.functional.interpolate(align_corners=False) does; taps past the edge repeat it.
void plain_row(Matrix& m, Interpolation interpolation, int in, double scale, int i) {
    const bool bicubic = interpolation == Interpolation::bicubic;
    double source = scale * (i + 0.5) - 0.5;
    if (!bicubic) source = std::max(source, 0.0);
    const int floor = static_cast<int>(std::floor(source));
    const double t = source - floor;
    const int first = bicubic ? floor - 1 : floor;
    const int taps = bicubic ? 4 : 2;
    const int begin = std::clamp(first, 0, in - 1);
    const int end = std::clamp(first + taps - 1, 0, in - 1) + 1;
    const int offset = static_cast<int>(m.weights.size());
    m.weights.resize(offset + (end - begin), 0.0);
    for (int k = 0; k < taps; ++k) {
        const double w = bicubic ? cubic(k - 1 - t, -0.75) : (k == 0 ? 1.0 - t : t);
        m.weights[offset + std::clamp(first + k, 0, in - 1) - begin] += w;
    }
    m.rows.push_back({begin, end, offset});
}

Matrix resize_rows(const Geometry& g, int in, int resized, int first, int count) {
    Matrix m;
    const double scale = static_cast<double>(in) / resized;
    m.rows.reserve(count);
    for (int i = first; i < first + count; ++i) {
        if (g.antialias) antialiased_row(m, g.interpolation, in, scale, i);
        else plain_row(m, g.interpolation, in, scale, i);
    }
    return m;
}

int reflect(int x, int n) {
    if (x < 0) return -x;
    return x < n ? x : 2 * (n - 1) - x;
}

// m G: blurs the axis that m reads. The transpose of "gather with reflection" is "scatter with
// reflection", so each weight is spread to its neighbours.
Matrix blur_columns(const Matrix& m, const std::vector<double>& taps, int in) {
    const int radius = static_cast<int>(taps.size()) / 2;
    Matrix out;
    out.rows.reserve(m.rows.size());
    out.weights.reserve(m.weights.size() + m.rows.size() * taps.size());
    for (const Band& row : m.rows) {
        const int begin = std::max(row.begin - radius, 0);
        const int end = std::min(row.end + radius, in);
        const int offset = static_cast<int>(out.weights.size());
        out.weights.resize(offset + (end - begin), 0.0);
        double* to = out.weights.data() + offset;
        const double* from = m.weights.data() + row.offset;
        const int count = row.end - row.begin;
        const bool reflects = end - begin != count + 2 * radius;
        for (int d = 0; d <= 2 * radius; ++d) {
            if (reflects) {
                for (int k = 0; k < count; ++k) {
                    to[reflect(row.begin + k - radius + d, in) - begin] += taps[d] * from[k];
                }
            } else {
                for (int k = 0; k < count; ++k) to[d + k] += taps[d] * from[k];
            }
        }
        out.rows.push_back({begin, end, offset});
    }
    return out;
}

// G m: blurs the axis that m writes (the crop grid).
Matrix blur_rows(const Matrix& m, const std::vector<double>& taps) {
    const int radius = static_cast<int>(taps.size()) / 2;
    const int n = static_cast<int>(m.rows.size());
    Matrix out;
    out.rows.reserve(n);
    for (int i = 0; i < n; ++i) {
        Band row{std::numeric_limits<int>::max(), 0, static_cast<int>(out.weights.size())};
        for (int d = -radius; d <= radius; ++d) {
            const Band& from = m.rows[reflect(i + d, n)];
            row.begin = std::min(row.begin, from.begin);
            row.end = std::max(row.end, from.end);
        }
        out.weights.resize(row.offset + (row.end - row.begin), 0.0);
        for (int d = -radius; d <= radius; ++d) {
            const Band& from = m.rows[reflect(i + d, n)];
            double* to = out.weights.data() + row.offset + from.begin - row.begin;
            for (int k = 0; k < from.end - from.begin; ++k) {
                to[k] += taps[d + radius] * m.weights[from.offset + k];
            }
        }
        out.rows.push_back(row);
    }
    return out;
}

void append(AxisPlan& plan, const Matrix& m) {
    const int base = static_cast<int>(plan.weights.size());
    for (Band row : m.rows) {
        row.offset += base;
        plan.bands.push_back(row);
    }
    plan.weights.insert(plan.weights.end(), m.weights.begin(), m.weights.end());
}

// Python's round(): halves go to the even neighbour (500x375 lands on an offset of 58.5).
int round_half_even(int numerator, int denominator_two) {
    const int half = numerator / denominator_two;
    return numerator % denominator_two == 0 ? half : half + (half & 1);
}

}  // namespace

std::vector<double> gaussian_taps(int kernel_size, double sigma) {
    std::vector<double> taps(kernel_size);
    double sum = 0.0;
    for (int k = 0; k < kernel_size; ++k) {
        const double d = k - kernel_size / 2;
        sum += taps[k] = std::exp(-d * d / (2.0 * sigma * sigma));
    }
    for (double& tap : taps) tap /= sum;
    return taps;
}

Size resized_size(const Geometry& g, int height, int width) {
    if (g.fit == Fit::stretch) return {g.crop_h, g.crop_w};
    const long long shorter = std::min(height, width), longer = std::max(height, width);
    // torchvision computes int(resize * long / short) in Python: a true division, then truncation.
    const int scaled = static_cast<int>(static_cast<double>(g.resize * longer) / static_cast<double>(shorter));
    return width <= height ? Size{scaled, g.resize} : Size{g.resize, scaled};
}

AxisPlan plan_axis(const Geometry& g, int in, int resized, int out) {
    const int radius = g.kernel_size / 2;
    const int blurred = g.blur_at == BlurAt::frame ? in : out;
    if (resized < out) {
        throw std::invalid_argument("a side of " + std::to_string(in) + " px is resized to " +
                                    std::to_string(resized) + " px, shorter than the crop of " +
                                    std::to_string(out) + " px");
    }
    if (g.passes.back() > 0 && blurred <= radius) {
        throw std::invalid_argument("a side of " + std::to_string(blurred) + " px cannot be blurred by " +
                                    std::to_string(g.kernel_size) + " taps: reflection at the border needs more than " +
                                    std::to_string(radius) + " px");
    }
    AxisPlan plan;
    plan.in = in;
    plan.resized = resized;
    plan.offset = round_half_even(resized - out, 2);
    plan.out = out;
    plan.bands.reserve(g.passes.size() * out);
    const std::vector<double> taps = gaussian_taps(g.kernel_size, g.sigma);
    Matrix m = resize_rows(g, in, resized, plan.offset, out);
    int done = 0;
    for (const int passes : g.passes) {
        for (; done < passes; ++done) {
            m = g.blur_at == BlurAt::frame ? blur_columns(m, taps, in) : blur_rows(m, taps);
        }
        append(plan, m);
    }
    return plan;
}

}  // namespace blurvote
