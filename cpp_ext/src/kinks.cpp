// A shorter way to the sums of blurred rows; see AxisPlan::kink_bands.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "blurvote/bands.h"

namespace blurvote {
namespace {

// Smallest scale at which kinks pay: below it their bands are no shorter than the rows'.
constexpr double kMinScale = 2.0;

// What `passes` of the blur add to |x| / 2 around its kink at 0. The second difference of |x| / 2 is
// one at 0, so this is the second sum of the blur's taps less one at 0. Entries x = 1 - r .. r - 1,
// r = passes * radius; zero elsewhere.
std::vector<double> kink_profile(const std::vector<double>& taps, int passes) {
    std::vector<double> blur{1.0};
    for (int pass = 0; pass < passes; ++pass) {
        std::vector<double> wider(blur.size() + taps.size() - 1, 0.0);
        for (std::size_t k = 0; k < blur.size(); ++k) {
            for (std::size_t d = 0; d < taps.size(); ++d) wider[k + d] += blur[k] * taps[d];
        }
        blur = wider;
    }
    blur[blur.size() / 2] -= 1.0;
    std::vector<double> profile;
    double slope = 0.0, sum = 0.0;
    for (std::size_t k = 0; k + 2 < blur.size(); ++k) profile.push_back(sum += slope += blur[k]);
    return profile;
}

}  // namespace

void plan_kinks(AxisPlan& plan, const Geometry& g) {
    const double scale = static_cast<double>(plan.in) / plan.resized;
    const int views = static_cast<int>(g.passes.size());
    if (g.interpolation != Interpolation::bilinear || !g.antialias || g.blur_at != BlurAt::frame || g.passes[0] != 0 ||
        views < 2 || scale < kMinScale) {
        return;
    }
    // At the image's border rows are cut and the blur reflects: no axis that comes near it.
    const double reach = scale + g.passes.back() * (g.kernel_size / 2) + 2.0;
    if (scale * (plan.offset + 0.5) < reach || scale * (plan.offset + plan.out - 0.5) > plan.in - reach) return;

    const std::vector<double> taps = gaussian_taps(g.kernel_size, g.sigma);
    const int count = plan.out + 2;
    plan.kink_bands.resize(static_cast<std::size_t>(views) * count);
    plan.kink_scale.reserve(plan.out);
    for (int view = 1; view < views; ++view) {
        const std::vector<double> profile = kink_profile(taps, g.passes[view]);
        const int size = static_cast<int>(profile.size());
        for (int i = 0; i < count; ++i) {
            // A kink between two pixels is the linear interpolation of kinks at both.
            const double p = scale * (plan.offset + i - 0.5) - 0.5;
            const int floor = static_cast<int>(p), begin = floor - size / 2;
            const double t = p - floor;
            plan.kink_bands[view * count + i] = {begin, begin + size + 1, static_cast<int>(plan.kink_weights.size())};
            for (int k = 0; k <= size; ++k) {
                const double here = k < size ? profile[k] : 0.0, before = k > 0 ? profile[k - 1] : 0.0;
                plan.kink_weights.push_back(static_cast<float>((1.0 - t) * here + t * before));
            }
        }
    }
    for (int i = 0; i < count; ++i) {  // the clean rows, widened to contain all kinks of their output
        const Band widest = plan.kink_bands[(views - 1) * count + i];
        Band& band = plan.kink_bands[i] = {widest.begin, widest.end, static_cast<int>(plan.kink_weights.size())};
        const bool inside = i > 0 && i < count - 1;
        if (inside) {
            band.begin = std::min(band.begin, plan.bands[i - 1].begin);
            band.end = std::max(band.end, plan.bands[i - 1].end);
        }
        plan.kink_weights.resize(band.offset + (band.end - band.begin), 0.0f);
        if (!inside) continue;
        const Band& row = plan.bands[i - 1];
        double sum = 0.0;
        for (int x = row.begin; x < row.end; ++x) {
            sum += std::max(0.0, 1.0 - std::fabs((x + 0.5) / scale - (plan.offset + i - 0.5)));
            plan.kink_weights[band.offset + x - band.begin] = plan.weights[row.offset + x - row.begin];
        }
        plan.kink_scale.push_back(static_cast<float>(1.0 / (scale * sum)));
    }
}

}  // namespace blurvote
