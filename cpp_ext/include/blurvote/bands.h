// The banded matrices of one image axis: resize, centre crop and repeated Gaussian blur in one.
#pragma once

#include <cstddef>
#include <vector>

#include "blurvote/band.h"

namespace blurvote {

enum class Interpolation { bilinear, bicubic };
enum class Fit { crop, stretch };
enum class BlurAt { frame, model };

// How a frame becomes the backbone's input grid. Field by field the same as blurvote.runtime.Defense.
struct Geometry {
    int kernel_size = 5;               // taps of one Gaussian pass, odd
    double sigma = 1.0;                // pixels of the grid that is blurred
    std::vector<int> passes{0, 1, 2};  // Gaussian passes of each view, strictly increasing
    BlurAt blur_at = BlurAt::frame;
    bool antialias = true;
    Interpolation interpolation = Interpolation::bilinear;
    Fit fit = Fit::crop;
    int resize = 256;                  // short side before the crop; unused by Fit::stretch
    int crop_h = 224;
    int crop_w = 224;
};

// The matrices of all views along one axis, view-major: bands[view * out + i].
// Rows of one output nest: view k's band lies inside view k + 1's, as its blur is wider.
struct AxisPlan {
    int in = 0;       // frame pixels along the axis
    int resized = 0;  // pixels after the resize
    int offset = 0;   // first resized pixel that the crop keeps
    int out = 0;      // pixels of the view
    std::vector<Band> bands;
    std::vector<float> weights;

    // A shorter way to the same sums, where there is one (else empty): antialiased bilinear rows
    // are piecewise linear, and a symmetric blur changes such a row only around its kinks, which
    // lie at the centres of the outputs i - 1, i and i + 1. Hence, exactly,
    //     view[k][i] = view[0][i] + kink_scale[i] (kink[k][i - 1] - 2 kink[k][i] + kink[k][i + 1]),
    // and the kinks' bands are short. Bands are [view * (out + 2) + i + 1], i = -1 .. out; those
    // of view 0 are its rows themselves (zero at both ends), widened to contain the others.
    std::vector<Band> kink_bands;
    std::vector<float> kink_weights, kink_scale;

    const Band& band(int view, int i) const { return bands[static_cast<std::size_t>(view) * out + i]; }
};

// The taps exp(-d^2 / 2 sigma^2) / Z, d = -(size / 2) .. size / 2.
std::vector<double> gaussian_taps(int kernel_size, double sigma);

// Plans one axis of `in` pixels that is resized to `resized` and cropped to `out`.
// Throws std::invalid_argument, with the reason, when the resized axis is shorter than the crop
// or the blurred axis is not longer than the kernel's radius (reflection needs that many pixels).
AxisPlan plan_axis(const Geometry& geometry, int in, int resized, int out);

// Adds the kinks to a planned axis that has them. Only the first axis summed gains: its views share
// the clean sums, while along the second each view has sums of its own.
void plan_kinks(AxisPlan& plan, const Geometry& geometry);

// The matrices that take chroma samples to the same outputs, where each stands for two pixels of the
// axis; with `odd` the first pixel is the second of its two. Exact: A U, U repeating each sample.
AxisPlan chroma_axis(const AxisPlan& luma, bool odd);

// Long and short side after the resize, as torchvision computes them.
struct Size {
    int height;
    int width;
};
Size resized_size(const Geometry& geometry, int height, int width);

}  // namespace blurvote
