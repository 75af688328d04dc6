// The only file that knows Python: numpy arrays in, the plain C++ kernels, numpy arrays out.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "blurvote/views.h"
#include "blurvote/vote.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Frame = nb::ndarray<const std::uint8_t, nb::device::cpu>;
using Window = std::tuple<int, int, int, int>;  // top, left, height, width
using Views = nb::ndarray<float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
template <typename T, int N>
using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

blurvote::Isa isa_from_name(const std::string& name) {
    const std::vector<blurvote::Isa> isas = blurvote::available_isas();
    if (name == "auto") return isas.front();
    for (const blurvote::Isa isa : isas) {
        if (name == blurvote::isa_name(isa)) return isa;
    }
    std::string known;
    for (const blurvote::Isa isa : isas) known += std::string(" ") + blurvote::isa_name(isa);
    throw std::invalid_argument("instruction set '" + name + "' cannot run here; this machine has:" + known);
}

// What the array of a format holds: (H, W, 3), (H, W) or (H, W, 1), (3 H / 2, W), (H, W, 2).
blurvote::FrameSpan whole_span(const Frame& frame, const std::string& colour) {
    struct Format {
        const char* name;
        blurvote::Colour colour;
        std::int64_t bytes;  // per pixel of the array
    };
    static constexpr Format kFormats[] = {{"rgb", blurvote::Colour::rgb, 3},
                                          {"bgr", blurvote::Colour::bgr, 3},
                                          {"gray", blurvote::Colour::gray, 1},
                                          {"nv12", blurvote::Colour::nv12, 1},
                                          {"yuyv", blurvote::Colour::yuyv, 2}};
    for (const Format& format : kFormats) {
        if (colour != format.name) continue;
        const bool flat = frame.ndim() == 2 && format.bytes == 1;
        if (!flat && (frame.ndim() != 3 || frame.shape(2) != static_cast<std::size_t>(format.bytes) ||
                      (format.bytes > 1 && frame.stride(2) != 1))) {
            throw std::invalid_argument("the frame has the wrong shape");
        }
        if (frame.stride(1) != format.bytes) throw std::invalid_argument("pixels are not packed");
        const int rows = static_cast<int>(frame.shape(0)), width = static_cast<int>(frame.shape(1));
        if (format.colour != blurvote::Colour::nv12) return {frame.data(), rows, width, frame.stride(0), format.colour};
        if (rows % 3 != 0) throw std::invalid_argument("the frame has the wrong shape");
        return blurvote::nv12_span(frame.data(), rows / 3 * 2, width, frame.stride(0));
    }
    throw std::invalid_argument("no such colour");
}

class ViewBuilder {
  public:
    ViewBuilder(const blurvote::ViewSpec& spec, int threads, const std::string& isa)
        : builder_(spec, threads, isa_from_name(isa)) {}

    void build(const Frame& frame, const Views& out, int first, int last, const std::string& colour,
               const Window& window, bool bt709, bool full) {
        const blurvote::FrameSpan span = checked(frame, out, first, last, colour, window, bt709, full);
        nb::gil_scoped_release release;
        builder_.build(span, first, last, out.data());
    }

    double build_noise(const Frame& frame, const Views& out, int first, int last, const std::string& colour,
                       const Window& window, bool bt709, bool full) {
        const blurvote::FrameSpan span = checked(frame, out, first, last, colour, window, bt709, full);
        nb::gil_scoped_release release;
        return builder_.build_noise(span, first, last, out.data());
    }

    // (resized height, resized width, crop top, crop left) in pixels
    std::tuple<int, int, int, int> plan(int height, int width) {
        const auto plan = builder_.plan(height, width);
        return {plan->rows.resized, plan->cols.resized, plan->rows.offset, plan->cols.offset};
    }

    std::tuple<std::vector<int>, int, int, double> noise_grid(int height, int width) {
        const auto plan = builder_.plan(height, width);
        return {plan->noise.rows, plan->noise.begin, plan->noise.segments, plan->noise.gain};
    }

    int threads() const { return builder_.threads(); }
    const char* isa() const { return blurvote::isa_name(builder_.isa()); }

  private:
    blurvote::FrameSpan checked(const Frame& frame, const Views& out, int first, int last, const std::string& colour,
                                const Window& window, bool bt709, bool full) const {
        const blurvote::Geometry& g = builder_.spec().geometry;
        if (out.shape(0) != static_cast<std::size_t>(last - first) || out.shape(1) != 3 ||
            out.shape(2) != static_cast<std::size_t>(g.crop_h) || out.shape(3) != static_cast<std::size_t>(g.crop_w)) {
            throw std::invalid_argument("the output has the wrong shape");
        }
        const auto [top, left, height, width] = window;
        blurvote::FrameSpan span = blurvote::cut(whole_span(frame, colour), top, left, height, width);
        span.matrix = bt709 ? blurvote::Matrix::bt709 : blurvote::Matrix::bt601;
        span.range = full ? blurvote::Range::full : blurvote::Range::limited;
        return span;
    }

    blurvote::ViewBuilder builder_;
};

blurvote::ViewSpec make_spec(int kernel_size, double sigma, const std::vector<int>& passes, bool blur_at_model,
                             bool antialias, bool bicubic, bool stretch, int resize, int crop_h, int crop_w,
                             const std::vector<float>& mean, const std::vector<float>& std) {
    blurvote::ViewSpec spec;
    spec.geometry = {kernel_size,
                     sigma,
                     passes,
                     blur_at_model ? blurvote::BlurAt::model : blurvote::BlurAt::frame,
                     antialias,
                     bicubic ? blurvote::Interpolation::bicubic : blurvote::Interpolation::bilinear,
                     stretch ? blurvote::Fit::stretch : blurvote::Fit::crop,
                     resize,
                     crop_h,
                     crop_w};
    for (int c = 0; c < 3; ++c) {
        spec.mean[c] = mean.at(c);
        spec.std[c] = std.at(c);
    }
    return spec;
}

}  // namespace

NB_MODULE(_kernels, m) {
    m.doc() = "The C++ kernels: fused view building and majority vote.";

    m.def(
        "available_isas",
        [] {
            std::vector<std::string> names;
            for (const blurvote::Isa isa : blurvote::available_isas()) names.emplace_back(blurvote::isa_name(isa));
            return names;
        },
        "Instruction sets that the view kernel can use on this machine, best first.");

    m.def(
        "yuv_to_rgb",
        [](bool bt709, bool full) {
            const blurvote::YuvToRgb rgb =
                blurvote::yuv_to_rgb(bt709 ? blurvote::Matrix::bt709 : blurvote::Matrix::bt601,
                                     full ? blurvote::Range::full : blurvote::Range::limited);
            std::vector<double> table;
            for (int c = 0; c < 3; ++c) {
                table.insert(table.end(), rgb.weight[c], rgb.weight[c] + 3);
                table.push_back(rgb.offset[c]);
            }
            return table;
        },
        "bt709"_a, "full"_a, "R, G and B of Y, U and V, all in 0..255: for each three weights and an offset.");

    m.def(
        "noise_table",
        [] {
            std::map<std::string, std::vector<double>> readings;
            const char* const names[] = {"packed", "gray", "bt601", "bt709"};
            for (int kind = 0; kind < blurvote::kNoiseKinds; ++kind) {
                const double* const of = blurvote::kNoiseReadings[kind];
                readings[names[kind]].assign(of, of + blurvote::kNoiseKnots);
            }
            const double* const levels = blurvote::kNoiseLevels;
            return std::make_tuple(std::vector<double>(levels, levels + blurvote::kNoiseKnots), readings);
        },
        "Noise levels, and the reading of the noise estimate at each, by what the samples are.");

    nb::class_<ViewBuilder>(m, "ViewBuilder", "Builds views of uint8 frames; see blurvote.runtime.ViewBuilder.")
        .def(
            "__init__",
            [](ViewBuilder* self, int kernel_size, double sigma, const std::vector<int>& passes, bool blur_at_model,
               bool antialias, bool bicubic, bool stretch, int resize, int crop_h, int crop_w,
               const std::vector<float>& mean, const std::vector<float>& std, int threads, const std::string& isa) {
                new (self) ViewBuilder(make_spec(kernel_size, sigma, passes, blur_at_model, antialias, bicubic, stretch,
                                                 resize, crop_h, crop_w, mean, std),
                                       threads, isa);
            },
            nb::kw_only(), "kernel_size"_a, "sigma"_a, "passes"_a, "blur_at_model"_a, "antialias"_a, "bicubic"_a,
            "stretch"_a, "resize"_a, "crop_h"_a, "crop_w"_a, "mean"_a, "std"_a, "threads"_a, "isa"_a)
        .def("build", &ViewBuilder::build, "frame"_a.noconvert(), "out"_a.noconvert(), "first"_a, "last"_a, "colour"_a,
             "window"_a, "bt709"_a, "full"_a,
             "Writes views first .. last - 1 of the window (top, left, height, width) of a uint8 frame to out.")
        .def("build_noise", &ViewBuilder::build_noise, "frame"_a.noconvert(), "out"_a.noconvert(), "first"_a, "last"_a,
             "colour"_a, "window"_a, "bt709"_a, "full"_a,
             "The same, and returns the frame's noise level in [0, 1], or NaN where there is no estimate.")
        .def("noise_grid", &ViewBuilder::noise_grid, "height"_a, "width"_a,
             "(sampled rows, first column, segments of 32 pixels, noise gain of the clean view) of a frame size.")
        .def("plan", &ViewBuilder::plan, "height"_a, "width"_a,
             "(resized height, resized width, crop top, crop left) of a frame size, in pixels.")
        .def_prop_ro("threads", &ViewBuilder::threads)
        .def_prop_ro("isa", &ViewBuilder::isa);

    m.def(
        "majority_vote",
        [](const Array<const float, 3>& logits, std::size_t electorate, const Array<std::int64_t, 1>& labels,
           const Array<std::int64_t, 1>& counts, const Array<std::int64_t, 2>& view_labels) {
            nb::gil_scoped_release release;
            blurvote::majority_vote(logits.data(), logits.shape(0), logits.shape(1), logits.shape(2), electorate,
                                    labels.data(), counts.data(), view_labels.data());
        },
        "logits"_a.noconvert(), "electorate"_a, "labels"_a.noconvert(), "counts"_a.noconvert(),
        "view_labels"_a.noconvert(),
        "Votes over (N, V, C) float32 logits; fills labels (N), counts (N) and view_labels (N, V).");

    m.def(
        "majority_vote_half",
        [](const Array<const std::uint16_t, 3>& logits, std::size_t electorate, const Array<std::int64_t, 1>& labels,
           const Array<std::int64_t, 1>& counts, const Array<std::int64_t, 2>& view_labels) {
            nb::gil_scoped_release release;
            blurvote::majority_vote_half(logits.data(), logits.shape(0), logits.shape(1), logits.shape(2), electorate,
                                         labels.data(), counts.data(), view_labels.data());
        },
        "logits"_a.noconvert(), "electorate"_a, "labels"_a.noconvert(), "counts"_a.noconvert(),
        "view_labels"_a.noconvert(), "The same for float16 logits, given as their bits in uint16.");

    m.def(
        "softmax_at",
        [](const Array<const float, 2>& logits, std::size_t row, std::size_t label) {
            if (row >= logits.shape(0) || label >= logits.shape(1)) {
                throw nb::index_error("no such row or label in the logits");
            }
            return blurvote::softmax_at(logits.data() + row * logits.shape(1), logits.shape(1), label);
        },
        "logits"_a.noconvert(), "row"_a, "label"_a,
        "Softmax of row `row` of (R, C) float32 logits at `label`.");
}
