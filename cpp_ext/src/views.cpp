#include "blurvote/views.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <list>
#include <mutex>
#include <new>
#include <stdexcept>

#include "colour_mix.h"
#include "thread_pool.h"
#include "view_kernel.h"

namespace blurvote {
namespace {

constexpr std::size_t kPlansKept = 64;
constexpr std::size_t kAlignment = 64;
constexpr int kMaxSide = 32768;  // pixels; beyond it a frame is taken for a mistake

void expect(bool fits, const std::string& fault) {
    if (!fits) throw std::invalid_argument(fault);
}

std::string by(int height, int width) { return std::to_string(height) + " x " + std::to_string(width) + " pixels"; }

const Geometry& checked(const Geometry& g) {
    const bool falls = std::adjacent_find(g.passes.begin(), g.passes.end(), std::greater_equal<>()) != g.passes.end();
    expect(!g.passes.empty() && g.passes.front() >= 0 && !falls, "passes are one or more, from 0 on and rising");
    expect(g.kernel_size > 0 && g.kernel_size % 2 == 1, "kernel_size is odd, not " + std::to_string(g.kernel_size));
    expect(g.sigma > 0 && std::isfinite(g.sigma), "sigma is above 0, not " + std::to_string(g.sigma));
    expect(g.crop_h > 0 && g.crop_w > 0, "the crop is empty, " + by(g.crop_h, g.crop_w));
    expect(g.fit == Fit::stretch || g.resize > 0, "resize is above 0, not " + std::to_string(g.resize));
    return g;
}

int checked_threads(int threads) {
    expect(threads >= 1, "threads is " + std::to_string(threads) + "; expected 1 or more");
    return threads;
}

const Kernel& kernel_of(Isa isa) {
    switch (isa) {
#if defined(__x86_64__)
        case Isa::avx512: return kAvx512Kernel;
        case Isa::avx2: return kAvx2Kernel;
#endif
        case Isa::vector128: return kVector128Kernel;
        case Isa::scalar: return kScalarKernel;
        default: throw std::invalid_argument(std::string(isa_name(isa)) + " is not built for this architecture");
    }
}

// Grow-only aligned memory, zeroed so that unused lanes never hold slow or signalling values.
class Scratch {
  public:
    ~Scratch() { std::free(data_); }
    float* at_least(std::size_t floats) {
        if (floats > size_) {
            const std::size_t bytes = (floats * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
            void* data = std::aligned_alloc(kAlignment, bytes);
            if (data == nullptr) throw std::bad_alloc();
            std::free(data_);
            data_ = static_cast<float*>(data);
            size_ = bytes / sizeof(float);
            for (std::size_t k = 0; k < size_; ++k) data_[k] = 0.0f;
        }
        return data_;
    }

  private:
    float* data_ = nullptr;
    std::size_t size_ = 0;
};

LayoutName layout_of(Colour colour) {
    switch (colour) {
        case Colour::gray: return kGray;
        case Colour::nv12: return kNv12;
        case Colour::yuyv: return kYuyv;
        default: return kPacked3;
    }
}

PlaneJob plane_job(const std::uint8_t* data, std::ptrdiff_t row_stride, const AxisPlan& rows) {
    const bool kinks = !rows.kink_bands.empty();
    return {data,
            row_stride,
            rows.bands.data(),
            rows.weights.data(),
            kinks ? rows.kink_bands.data() : nullptr,
            kinks ? rows.kink_weights.data() : nullptr};
}

KernelJob kernel_job(const FrameSpan& frame, const ViewPlan& plan, const ViewSpec& spec) {
    KernelJob job{};
    job.layout = layout_of(frame.colour);
    job.bgr = frame.colour == Colour::bgr;
    job.plane[0] = plane_job(frame.data, frame.row_stride, plan.rows);
    if (frame.colour == Colour::nv12) job.plane[1] = plane_job(frame.chroma, frame.chroma_stride, plan.chroma_rows);
    const int skipped = frame.colour == Colour::yuyv && frame.odd_left ? 2 : 0;
    job.group[0] = {skipped, plan.cols.bands.data(), plan.cols.weights.data()};
    job.group[1] = {0, plan.chroma_cols.bands.data(), plan.chroma_cols.weights.data()};
    job.kink_scale = plan.rows.kink_scale.data();
    job.out_h = plan.rows.out;
    job.out_w = plan.cols.out;
    const ColourMix colours = colour_mix(frame.colour, frame.matrix, frame.range, spec.mean, spec.std);
    for (int c = 0; c < 3; ++c) {
        for (int s = 0; s < 3; ++s) job.mix[c][s] = colours.mix[c][s];
        job.bias[c] = colours.bias[c];
    }
    return job;
}

// The sampled row `index` of a frame.
NoiseJob noise_job(const FrameSpan& frame, const NoiseGrid& grid, int index, NoiseSegments& segments) {
    NoiseJob job{};
    job.channels = frame.colour == Colour::rgb || frame.colour == Colour::bgr ? 3 : 1;
    job.pitch = frame.colour == Colour::yuyv ? 2 : 1;
    const std::ptrdiff_t column = grid.begin + (frame.colour == Colour::yuyv && frame.odd_left);
    job.row_stride = frame.row_stride;
    job.row = frame.data + grid.rows[index] * frame.row_stride + column * job.channels * job.pitch;
    job.segments = grid.segments;
    const Saturation limits = saturation(frame);
    job.dark = static_cast<std::uint8_t>(limits.dark);
    job.bright = static_cast<std::uint8_t>(limits.bright);
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(index) * grid.segments;
    job.sums = segments.sums.data() + first;
    job.saturated = segments.saturated.data() + first;
    return job;
}

bool same(const Subsampling& a, const Subsampling& b) {
    return a.rows == b.rows && a.cols == b.cols && a.odd_top == b.odd_top && a.odd_left == b.odd_left;
}

}  // namespace

Subsampling subsampling(const FrameSpan& frame) {
    switch (frame.colour) {
        case Colour::nv12: return {2, 2, frame.odd_top, frame.odd_left};
        case Colour::yuyv: return {1, 2, false, frame.odd_left};
        default: return {};
    }
}

ViewPlan plan_views(const ViewSpec& spec, int height, int width, const Subsampling& chroma) {
    const Geometry& g = checked(spec.geometry);
    const bool fits = height >= 1 && width >= 1 && height <= kMaxSide && width <= kMaxSide;
    expect(fits, "the frame has " + by(height, width) + "; expected sides of 1 to " + std::to_string(kMaxSide));
    const Size size = resized_size(g, height, width);
    ViewPlan plan{height, width, chroma, plan_axis(g, height, size.height, g.crop_h),
                  plan_axis(g, width, size.width, g.crop_w), {}, {}, {}};
    if (g.passes[0] == 0) plan.noise = noise_grid(plan.rows, plan.cols);
    plan_kinks(plan.rows, g);
    if (chroma.rows > 1) plan.chroma_rows = chroma_axis(plan.rows, chroma.odd_top);
    if (chroma.cols > 1) plan.chroma_cols = chroma_axis(plan.cols, chroma.odd_left);
    return plan;
}

std::vector<Isa> available_isas() {
    std::vector<Isa> isas;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        isas.push_back(Isa::avx512);
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas.push_back(Isa::avx2);
#endif
    isas.push_back(Isa::vector128);
    isas.push_back(Isa::scalar);
    return isas;
}

const char* isa_name(Isa isa) {
    switch (isa) {
        case Isa::avx512: return "avx512";
        case Isa::avx2: return "avx2";
#if defined(__aarch64__)
        case Isa::vector128: return "neon";
#elif defined(__x86_64__)
        case Isa::vector128: return "sse2";
#else
        case Isa::vector128: return "vector128";
#endif
        default: return "scalar";
    }
}

struct ViewBuilder::State {
    State(const ViewSpec& spec, int threads, Isa isa)
        : spec(spec), isa(isa), kernel(kernel_of(isa)), pool(checked_threads(threads)), scratch(threads) {
        checked(spec.geometry);
    }

    ViewSpec spec;
    Isa isa;
    const Kernel& kernel;
    std::mutex plans_mutex, build_mutex;
    std::list<std::shared_ptr<const ViewPlan>> plans;  // most recently used first
    ThreadPool pool;
    std::vector<Scratch> scratch;  // one per thread
    NoiseSegments segments;
};

ViewBuilder::ViewBuilder(const ViewSpec& spec, int threads, Isa isa)
    : state_(std::make_unique<State>(spec, threads, isa)) {}

ViewBuilder::~ViewBuilder() = default;

const ViewSpec& ViewBuilder::spec() const { return state_->spec; }
int ViewBuilder::threads() const { return state_->pool.threads(); }
Isa ViewBuilder::isa() const { return state_->isa; }

std::shared_ptr<const ViewPlan> ViewBuilder::plan(int height, int width, const Subsampling& chroma) {
    std::lock_guard<std::mutex> lock(state_->plans_mutex);
    auto& plans = state_->plans;
    for (auto it = plans.begin(); it != plans.end(); ++it) {
        if ((*it)->height == height && (*it)->width == width && same((*it)->chroma, chroma)) {
            plans.splice(plans.begin(), plans, it);
            return plans.front();
        }
    }
    plans.push_front(std::make_shared<const ViewPlan>(plan_views(state_->spec, height, width, chroma)));
    if (plans.size() > kPlansKept) plans.pop_back();
    return plans.front();
}

void ViewBuilder::build(const FrameSpan& frame, int first_view, int last_view, float* out) {
    build(frame, first_view, last_view, out, false);
}

double ViewBuilder::build_noise(const FrameSpan& frame, int first_view, int last_view, float* out) {
    if (state_->spec.geometry.passes[0] != 0) {
        throw std::invalid_argument("noise is estimated where the clean view lies, and there is none: the first of the "
                                    "passes is " + std::to_string(state_->spec.geometry.passes[0]));
    }
    return build(frame, first_view, last_view, out, true);
}

double ViewBuilder::build(const FrameSpan& frame, int first_view, int last_view, float* out, bool noise) {
    const int views = static_cast<int>(state_->spec.geometry.passes.size());
    // Not by expect(), whose messages would allocate for every frame.
    if (frame.data == nullptr) {
        throw std::invalid_argument("the frame is without data, " + by(frame.height, frame.width));
    }
    if (frame.colour == Colour::nv12 && frame.chroma == nullptr) {
        throw std::invalid_argument("an nv12 frame has no chroma plane");
    }
    if (first_view < 0 || first_view >= last_view || last_view > views) {
        throw std::invalid_argument("views " + std::to_string(first_view) + " to " + std::to_string(last_view) +
                                    " are no part of " + std::to_string(views));
    }
    if (out == nullptr) throw std::invalid_argument("there is no memory to write the views to");
    const std::shared_ptr<const ViewPlan> plan = this->plan(frame.height, frame.width, subsampling(frame));
    State& s = *state_;
    KernelJob job = kernel_job(frame, *plan, s.spec);
    job.first_view = first_view;
    job.last_view = last_view;
    job.out = out;

    std::lock_guard<std::mutex> lock(s.build_mutex);
    const std::size_t floats = s.kernel.scratch_floats(job);
    for (Scratch& scratch : s.scratch) scratch.at_least(floats);
    if (noise) s.segments.make_room(plan->noise);
    const int rows = s.kernel.block_rows;
    const auto task = [&](int block, int thread) {
        KernelJob mine = job;
        mine.scratch = s.scratch[thread].at_least(0);
        s.kernel.build(mine, block * rows);
        if (!noise || plan->noise.segments == 0) return;
        // The sampled rows of these view rows, which are in cache now.
        int sampled = (block * rows + kNoiseEvery / 2 - 1) / kNoiseEvery;
        for (; sampled * kNoiseEvery + kNoiseEvery / 2 < std::min((block + 1) * rows, job.out_h); ++sampled) {
            s.kernel.noise(noise_job(frame, plan->noise, sampled, s.segments));
        }
    };
    s.pool.run((job.out_h + rows - 1) / rows, std::cref(task));  // by reference: a copy would allocate
    if (!noise) return std::numeric_limits<double>::quiet_NaN();
    return noise_level(noise_reading(s.segments, plan->noise, frame.colour), frame.colour, frame.matrix, frame.range);
}

}  // namespace blurvote
