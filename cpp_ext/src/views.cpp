#include "blurvote/views.h"

#include <cstdlib>
#include <functional>
#include <list>
#include <mutex>
#include <new>
#include <stdexcept>

#include "thread_pool.h"
#include "view_kernel.h"

namespace blurvote {
namespace {

constexpr std::size_t kPlansKept = 64;
constexpr std::size_t kAlignment = 64;

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

}  // namespace

ViewPlan plan_views(const ViewSpec& spec, int height, int width) {
    const Geometry& g = spec.geometry;
    const Size size = resized_size(g, height, width);
    ViewPlan plan{height, width, plan_axis(g, height, size.height, g.crop_h),
                  plan_axis(g, width, size.width, g.crop_w)};
    plan_kinks(plan.rows, g);
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
        : spec(spec), isa(isa), kernel(kernel_of(isa)), pool(threads), scratch(threads) {
        for (int c = 0; c < 3; ++c) {
            scale[c] = static_cast<float>(1.0 / (255.0 * spec.std[c]));
            bias[c] = static_cast<float>(-static_cast<double>(spec.mean[c]) / spec.std[c]);
        }
    }

    ViewSpec spec;
    Isa isa;
    const Kernel& kernel;
    float scale[3], bias[3];
    std::mutex plans_mutex, build_mutex;
    std::list<std::shared_ptr<const ViewPlan>> plans;  // most recently used first
    ThreadPool pool;
    std::vector<Scratch> scratch;  // one per thread
};

ViewBuilder::ViewBuilder(const ViewSpec& spec, int threads, Isa isa)
    : state_(std::make_unique<State>(spec, threads, isa)) {}

ViewBuilder::~ViewBuilder() = default;

const ViewSpec& ViewBuilder::spec() const { return state_->spec; }
int ViewBuilder::threads() const { return state_->pool.threads(); }
Isa ViewBuilder::isa() const { return state_->isa; }

std::shared_ptr<const ViewPlan> ViewBuilder::plan(int height, int width) {
    std::lock_guard<std::mutex> lock(state_->plans_mutex);
    auto& plans = state_->plans;
    for (auto it = plans.begin(); it != plans.end(); ++it) {
        if ((*it)->height == height && (*it)->width == width) {
            plans.splice(plans.begin(), plans, it);
            return plans.front();
        }
    }
    plans.push_front(std::make_shared<const ViewPlan>(plan_views(state_->spec, height, width)));
    if (plans.size() > kPlansKept) plans.pop_back();
    return plans.front();
}

void ViewBuilder::build(const FrameSpan& frame, int first_view, int last_view, float* out) {
    const std::shared_ptr<const ViewPlan> plan = this->plan(frame.height, frame.width);
    State& s = *state_;
    KernelJob job{};
    job.frame = frame.data;
    job.row_stride = frame.row_stride;
    job.bgr = frame.colour == Colour::bgr;
    job.row_bands = plan->rows.bands.data();
    job.row_weights = plan->rows.weights.data();
    if (!plan->rows.kink_bands.empty()) {
        job.kink_bands = plan->rows.kink_bands.data();
        job.kink_weights = plan->rows.kink_weights.data();
        job.kink_scale = plan->rows.kink_scale.data();
    }
    job.col_bands = plan->cols.bands.data();
    job.col_weights = plan->cols.weights.data();
    job.out_h = plan->rows.out;
    job.out_w = plan->cols.out;
    job.first_view = first_view;
    job.last_view = last_view;
    job.scale = s.scale;
    job.bias = s.bias;
    job.out = out;

    std::lock_guard<std::mutex> lock(s.build_mutex);
    const std::size_t floats = s.kernel.scratch_floats(job);
    for (Scratch& scratch : s.scratch) scratch.at_least(floats);
    const int rows = s.kernel.block_rows;
    const auto task = [&](int block, int thread) {
        KernelJob mine = job;
        mine.scratch = s.scratch[thread].at_least(0);
        s.kernel.build(mine, block * rows);
    };
    s.pool.run((job.out_h + rows - 1) / rows, std::cref(task));  // by reference: a copy would allocate
}

}  // namespace blurvote
