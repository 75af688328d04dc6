// Fused view building: a frame as cameras give it to every blurred, resized, cropped and normalised view.
//
// Everything between the camera and the backbone is linear and separable, so a view is
//     out[c] = ((A_rows X[c] A_cols^T) / 255 - mean[c]) / std[c]
// with two banded matrices. Plan them once per frame size (ViewPlan), then run them (ViewBuilder).
// Conversion from YUV is linear, too, and so comes last: luma and chroma are each filtered at their
// own size, and only the pixels of the view are converted. Unlike a conversion of the whole frame
// this rounds nothing, and keeps colours beyond R, G, B in 0..255 until they are averaged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blurvote/bands.h"
#include "blurvote/frame_span.h"
#include "blurvote/noise.h"

namespace blurvote {

// The instruction sets the kernel is built for. `vector128` is the baseline of the architecture
// (SSE2 on x86-64, NEON on aarch64); `scalar` is the plain twin that the others are tested against.
enum class Isa { scalar, vector128, avx2, avx512 };

// The part of a Defense that fixes the pixels of its views.
struct ViewSpec {
    Geometry geometry;
    float mean[3] = {0.485f, 0.456f, 0.406f};  // R, G, B in [0, 1]
    float std[3] = {0.229f, 0.224f, 0.225f};
};

// Pixels that share one chroma sample, along each axis, and whether a frame begins with the second of
// two (see FrameSpan).
struct Subsampling {
    int rows = 1, cols = 1;
    bool odd_top = false, odd_left = false;
};
Subsampling subsampling(const FrameSpan& frame);

// The banded matrices of all views for one frame size. Those of chroma are empty where it has the
// pixels' own size.
struct ViewPlan {
    int height = 0, width = 0;
    Subsampling chroma;
    AxisPlan rows, cols, chroma_rows, chroma_cols;
    NoiseGrid noise;  // of the clean view; without rows where the geometry has none
};

// Throws std::invalid_argument when the frame size cannot be served: sides that are not 1 to 32768
// pixels, or what plan_axis refuses.
ViewPlan plan_views(const ViewSpec& spec, int height, int width, const Subsampling& chroma = {});

// The instruction sets this machine can run, best first; ends with vector128 and scalar.
std::vector<Isa> available_isas();
const char* isa_name(Isa isa);

// Builds views of frames. Keeps the plans of the most recently used frame sizes and all working
// memory, so that a frame of a known size allocates nothing. Safe to call from several threads,
// which then take turns.
class ViewBuilder {
  public:
    // threads: number of threads that share one frame's work, the caller's included; at least 1.
    // Throws std::invalid_argument for fewer, for an instruction set that is not built, and for a
    // geometry that makes no views.
    ViewBuilder(const ViewSpec& spec, int threads, Isa isa);
    ~ViewBuilder();
    ViewBuilder(const ViewBuilder&) = delete;
    ViewBuilder& operator=(const ViewBuilder&) = delete;

    // Plans (or finds) the matrices of a frame size.
    std::shared_ptr<const ViewPlan> plan(int height, int width, const Subsampling& chroma = {});

    // Writes views first_view .. last_view - 1 to `out`, float32 (last_view - first_view, 3,
    // crop_h, crop_w), C-contiguous, channels in R, G, B order whatever the frame's order is.
    // Throws std::invalid_argument for a frame without data (nv12: or chroma) or of a size that cannot
    // be served, and for views that the geometry has not.
    void build(const FrameSpan& frame, int first_view, int last_view, float* out);

    // The same, estimating the noise of the part of the frame that the clean view sees, from rows that
    // are in cache. Returns its level, see noise_level; NaN where there is no estimate (NoiseGrid). It
    // depends on no instruction set, number of threads or choice of views.
    // Throws what build does, and std::invalid_argument for a geometry whose first view is blurred.
    double build_noise(const FrameSpan& frame, int first_view, int last_view, float* out);

    const ViewSpec& spec() const;
    int threads() const;
    Isa isa() const;

  private:
    struct State;
    double build(const FrameSpan& frame, int first_view, int last_view, float* out, bool noise);
    std::unique_ptr<State> state_;
};

}  // namespace blurvote
