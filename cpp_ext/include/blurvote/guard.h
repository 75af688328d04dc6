// Guarded inference: a frame in, a verdict out. The host brings the inference session.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "blurvote/metadata.h"
#include "blurvote/views.h"
#include "blurvote/vote.h"

namespace blurvote {

constexpr int kMaxViews = 8;  // of a defence

// The host's inference engine: ONNX Runtime, TensorRT, or anything else that runs the guard's graph.
// Failures are exceptions of the session's own: they pass through Guard::classify, after which the
// guard is as before. No pointer may be null.
class Session {
  public:
    virtual ~Session() = default;

    // Number of classes C, which never changes.
    virtual std::size_t classes() const = 0;

    // Memory of the session for `count` views, which the kernel writes straight into: float32
    // (count, 3, crop_h, crop_w), C-contiguous. Pinned or mapped memory saves a GPU session a copy.
    virtual float* input(int count) = 0;

    // Runs the `count` views that input(count) holds. Returns their logits, float32 (count, C),
    // C-contiguous, in memory of the session that is valid until its next call.
    virtual const float* run(int count) = 0;
};

// batched runs all views in one inference. cascade runs the fewest that can make a majority, then
// one more at a time while it can still change the verdict: the same verdict, given the same logits.
enum class Plan { batched, cascade };

enum class Rejection { none, no_majority, low_confidence, invalid_views };
const char* rejection_name(Rejection reason) noexcept;  // as in Python: "no_majority", ...; "" for none

struct Verdict {
    std::int64_t label = kRejected;
    Rejection reason = Rejection::none;
    // Mean softmax of the label over the (first two) views that voted for it; for Decision::mean
    // that of the likeliest label over all, rejected or not. In [0, 1].
    std::optional<double> confidence;
    int count = 0;  // of the views run, those that voted for the label; rejected: for the label with most
    int views_run = 0;
    std::array<std::int64_t, kMaxViews> view_labels{};  // of the first views_run; kRejected: no vote
    std::optional<double> noise;  // level of the frame's noise, in [0, 1] RGB units, where there is an estimate
    bool denoised = false;        // whether the views that voted are Defense::noisy_views
};

// The verdict on the logits (ran, classes) of the first `ran` views that the defence uses.
// noisy: whether they are those of a noisy frame.
// Throws std::invalid_argument for a defence that cannot decide: mean without thresholds in [0, 1],
// another decision with one, single without a view of one pass.
Verdict decide(const Defense& defense, const float* logits, int ran, std::size_t classes, bool noisy = false);

// Whether the views not run yet could alter the label, the rejection or its reason.
bool can_still_change(const Defense& defense, const Verdict& verdict) noexcept;

// Builds the views of each frame, those of Defense::noisy_views if it is noisy, has the session run
// them, decides. For one thread at a time.
// Several cameras take a guard and a session each; guards that share a session must not classify at
// the same time (one mutex around their calls: a lock in the session cannot span input and run).
class Guard {
  public:
    // threads: threads that build views, the caller's included; at least 1. The defence is copied,
    // the sessions must outlive the guard.
    //
    // denoiser: runs DenoiserEntry::onnx for a defence that is adaptive, and is not used by another.
    // Its input(count) is float32 (count, 4, crop_h, crop_w): a clean view, normalised, and in the
    // fourth channel the noise level on the backbone's grid, in [0, 1] RGB units, at every pixel. Its
    // run(count) returns float32 (count, K, 3, crop_h, crop_w), normalised: K views, the denoised
    // ones of Defense::noisy_views in their order. Its classes() are the floats of K views.
    //
    // Throws std::invalid_argument for a defence that cannot decide (see decide), cannot run as a
    // cascade (mean, or fewer than three views), or is adaptive and has no denoiser that makes its
    // views, and as ViewBuilder does.
    Guard(const Defense& defense, Session& session, Plan plan, int threads = 1, Session* denoiser = nullptr);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    Guard(Guard&&) noexcept;  // what was moved from may only be destroyed or assigned to
    Guard& operator=(Guard&&) noexcept;

    // follows: whether the frame is of the camera that the last with a verdict came from: after a noisy
    // frame it is noisy from Defense::noise_low on, else from noise_high on.
    // Throws std::invalid_argument for a frame without pixels or of a size that the defence cannot
    // serve, and whatever the sessions throw.
    Verdict classify(const FrameSpan& frame, bool follows = false);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace blurvote
