#include "blurvote/guard.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace blurvote {
namespace {

int views_of(const Defense& defense) { return defense.last_view() - defense.first_view(); }

int voters(const Verdict& verdict) {
    const auto first = verdict.view_labels.begin();
    return verdict.views_run - static_cast<int>(std::count(first, first + verdict.views_run, kRejected));
}

// The label of the largest mean softmax over the views that vote, if it reaches the threshold.
void decide_mean(double threshold, const float* logits, std::size_t classes, Verdict& verdict) {
    const int valid = voters(verdict);
    if (valid == 0) {
        verdict.reason = Rejection::invalid_views;
        return;
    }
    std::vector<double> mean(classes, 0.0), weights(classes);
    for (int view = 0; view < verdict.views_run; ++view) {
        if (verdict.view_labels[view] == kRejected) continue;
        const float* row = logits + view * classes;
        const float largest = row[verdict.view_labels[view]];
        double total = 0;
        for (std::size_t c = 0; c < classes; ++c) {
            // Equal first: logits of +inf share the whole mass, which is the limit of the formula.
            weights[c] = row[c] == largest ? 1.0 : std::exp(static_cast<double>(row[c]) - largest);
            total += weights[c];
        }
        for (std::size_t c = 0; c < classes; ++c) mean[c] += weights[c] / total / valid;
    }
    const auto best = std::max_element(mean.begin(), mean.end());
    verdict.confidence = *best;
    if (*best < threshold) {
        verdict.reason = Rejection::low_confidence;
    } else {
        verdict.label = best - mean.begin();
        const auto first = verdict.view_labels.begin();
        verdict.count = static_cast<int>(std::count(first, first + verdict.views_run, verdict.label));
    }
}

// The confidence averages over the first two views that voted for the label, so that a cascade,
// which may have run no others, reports the same number as a batch.
void decide_majority(const Defense& defense, const float* logits, std::size_t classes, Verdict& verdict) {
    if (verdict.label == kRejected) {
        const bool few = 2 * voters(verdict) <= views_of(defense);
        verdict.reason = few ? Rejection::invalid_views : Rejection::no_majority;
        return;
    }
    double shares = 0;
    int found = 0;
    for (int view = 0; view < verdict.views_run && found < 2; ++view) {
        if (verdict.view_labels[view] != verdict.label) continue;
        shares += softmax_at(logits + view * classes, classes, static_cast<std::size_t>(verdict.label));
        ++found;
    }
    verdict.confidence = shares / found;
}

// A host may set the fields itself, above all the thresholds. One of NaN would accept everything.
void check_threshold(const Defense& defense, const std::optional<double>& threshold, const std::string& whom) {
    if (defense.decision == Decision::mean && !threshold) {
        throw std::invalid_argument("the guard decides by 'mean' but has no threshold" + whom +
                                    "; fit one by blurvote calibrate");
    }
    if (defense.decision != Decision::mean && threshold) {
        throw std::invalid_argument("the defence has a threshold" + whom + "; only the decision 'mean' has one");
    }
    if (threshold && !(*threshold >= 0 && *threshold <= 1)) {
        throw std::invalid_argument("the threshold" + whom + " is " + std::to_string(*threshold) +
                                    "; expected a number from 0 to 1");
    }
}

void check_decision(const Defense& defense) {
    check_threshold(defense, defense.threshold, "");
    if (defense.adaptive()) check_threshold(defense, defense.noisy_threshold, " for noisy frames");
    const std::vector<int>& passes = defense.spec.geometry.passes;
    if (passes.empty() || passes.size() > kMaxViews) throw std::invalid_argument("a defence has 1 to 8 views");
    if (defense.decision == Decision::single && std::find(passes.begin(), passes.end(), 1) == passes.end()) {
        throw std::invalid_argument("the decision 'single' uses the view of one pass, and the defence has none");
    }
    if (defense.adaptive() && defense.noisy_views.size() != passes.size()) {
        throw std::invalid_argument("a noisy frame has as many views as others, not " +
                                    std::to_string(defense.noisy_views.size()) + " for " +
                                    std::to_string(passes.size()));
    }
    if (defense.adaptive() && passes[0] != 0) {
        throw std::invalid_argument("noise is estimated in the clean view, and the defence has none");
    }
}

std::size_t floats_of_view(const Defense& defense) {
    const Geometry& g = defense.spec.geometry;
    return static_cast<std::size_t>(3) * g.crop_h * g.crop_w;
}

// What an adaptive defence and its denoiser must have in common.
void check_denoiser(const Defense& defense, const Session* denoiser) {
    if (!defense.adaptive()) return;
    std::size_t denoised = 0;
    for (const ViewKind& kind : defense.noisy_views) {
        const std::vector<int>& passes = defense.spec.geometry.passes;
        denoised += kind.denoised;
        if (!kind.denoised && std::find(passes.begin(), passes.end(), kind.passes) == passes.end()) {
            throw std::invalid_argument("the view " + kind.name() + " of noisy frames is neither denoised nor among "
                                        "the passes");
        }
    }
    if (denoiser == nullptr) {
        throw std::invalid_argument("the defence denoises views of noisy frames, and no session that does was given; "
                                    "make one of GuardMetadata::denoiser");
    }
    if (denoiser->classes() != denoised * floats_of_view(defense)) {
        throw std::invalid_argument("the denoiser makes " + std::to_string(denoiser->classes()) +
                                    " floats of an image; expected " + std::to_string(denoised) + " views of " +
                                    std::to_string(floats_of_view(defense)));
    }
}

}  // namespace

const char* rejection_name(Rejection reason) noexcept {
    switch (reason) {
        case Rejection::no_majority: return "no_majority";
        case Rejection::low_confidence: return "low_confidence";
        case Rejection::invalid_views: return "invalid_views";
        default: return "";
    }
}

Verdict decide(const Defense& defense, const float* logits, int ran, std::size_t classes, bool noisy) {
    check_decision(defense);
    if (ran < 1 || ran > views_of(defense)) {
        throw std::invalid_argument(std::to_string(ran) + " views ran; expected 1 to " +
                                    std::to_string(views_of(defense)) + ", as the decision uses");
    }
    if (classes == 0) throw std::invalid_argument("there are no classes to decide between");
    Verdict verdict;
    verdict.view_labels.fill(kRejected);
    std::int64_t count;
    verdict.views_run = ran;
    majority_vote(logits, 1, ran, classes, views_of(defense), &verdict.label, &count, verdict.view_labels.data());
    verdict.count = static_cast<int>(count);
    if (defense.decision == Decision::mean) {
        verdict.label = kRejected;
        const bool other = noisy && defense.adaptive();
        decide_mean(other ? *defense.noisy_threshold : *defense.threshold, logits, classes, verdict);
    } else {
        decide_majority(defense, logits, classes, verdict);
    }
    return verdict;
}

bool can_still_change(const Defense& defense, const Verdict& verdict) noexcept {
    const int views = views_of(defense), rest = views - verdict.views_run;
    if (rest == 0) return false;
    if (defense.decision == Decision::mean) return true;
    if (verdict.label != kRejected) return false;
    if (2 * (verdict.count + rest) > views) return true;
    // Rejected whatever comes; but is it for want of agreement, or of views that vote at all?
    const int votes = voters(verdict);
    return 2 * votes <= views && views < 2 * (votes + rest);
}

struct Guard::State {
    Defense defense;
    Session& session;
    Plan plan;
    ViewBuilder builder;
    std::size_t classes;
    std::vector<float> logits;
    Session* denoiser;
    bool noisy = false;  // of the last frame that got a verdict

    std::optional<double> first_views(const FrameSpan& frame, int first, int last, float* views);
    bool is_noisy(const FrameSpan& frame, const std::optional<double>& noise, bool follows);
    const float* denoise(const FrameSpan& frame, double noise);
    void noisy_views(const FrameSpan& frame, const float* denoised, int first, int last, float* views);
    double gain(const FrameSpan& frame);
};

double Guard::State::gain(const FrameSpan& frame) {
    return builder.plan(frame.height, frame.width, subsampling(frame))->noise.gain;
}

// Builds views of a quiet frame, and estimates its noise where the defence has a clean view.
std::optional<double> Guard::State::first_views(const FrameSpan& frame, int first, int last, float* views) {
    if (defense.spec.geometry.passes[0] != 0) {
        builder.build(frame, first, last, views);
        return std::nullopt;
    }
    const double noise = builder.build_noise(frame, first, last, views);
    return std::isnan(noise) ? std::nullopt : std::optional<double>(noise);
}

bool Guard::State::is_noisy(const FrameSpan& frame, const std::optional<double>& noise, bool follows) {
    const double limit = follows && noisy ? defense.noise_low : defense.noise_high;
    return defense.adaptive() && noise && *noise * gain(frame) >= limit;
}

// The denoised views of a frame, in memory of the denoiser. The clean view is built once more where
// the denoiser reads it: a session's input may be memory that is slow to read.
const float* Guard::State::denoise(const FrameSpan& frame, double noise) {
    float* const input = denoiser->input(1);
    builder.build(frame, 0, 1, input);
    const std::size_t view = floats_of_view(defense);
    std::fill_n(input + view, view / 3, static_cast<float>(noise * gain(frame)));
    return denoiser->run(1);
}

void Guard::State::noisy_views(const FrameSpan& frame, const float* denoised, int first, int last, float* views) {
    const std::vector<int>& passes = defense.spec.geometry.passes;
    const std::size_t size = floats_of_view(defense);
    for (int view = 0; view < last; ++view) {
        const ViewKind& kind = defense.noisy_views[view];
        float* const to = views + static_cast<std::ptrdiff_t>(view - first) * static_cast<std::ptrdiff_t>(size);
        if (kind.denoised) {
            if (view >= first) std::copy_n(denoised, size, to);
            denoised += size;
        } else if (view >= first) {
            const int plain = static_cast<int>(std::find(passes.begin(), passes.end(), kind.passes) - passes.begin());
            builder.build(frame, plain, plain + 1, to);
        }
    }
}

Guard::Guard(const Defense& defense, Session& session, Plan plan, int threads, Session* denoiser) {
    check_decision(defense);
    check_denoiser(defense, denoiser);
    const int views = views_of(defense);
    if (plan == Plan::cascade && (defense.decision == Decision::mean || views < 3)) {
        throw std::invalid_argument(views < 3 ? "with fewer than three views none can be left out; use Plan::batched"
                                              : "the decision 'mean' averages over all views; use Plan::batched");
    }
    const std::size_t classes = session.classes();
    if (classes == 0) throw std::invalid_argument("the session has no classes");
    state_.reset(new State{defense, session, plan, {defense.spec, threads, available_isas().front()}, classes,
                           std::vector<float>(static_cast<std::size_t>(views) * classes), denoiser});
}

Guard::~Guard() = default;
Guard::Guard(Guard&&) noexcept = default;
Guard& Guard::operator=(Guard&&) noexcept = default;

Verdict Guard::classify(const FrameSpan& frame, bool follows) {
    State& s = *state_;
    const int first = s.defense.first_view(), views = views_of(s.defense);
    const std::size_t classes = s.classes;
    Verdict verdict;
    int done = 0, wanted = s.plan == Plan::cascade ? views / 2 + 1 : views;
    const std::optional<double> noise = s.first_views(frame, first, first + wanted, s.session.input(wanted));
    const bool noisy = s.is_noisy(frame, noise, follows);
    const float* const denoised = noisy ? s.denoise(frame, *noise) : nullptr;
    do {
        const int count = wanted - done;
        if (noisy) {
            s.noisy_views(frame, denoised, first + done, first + wanted, s.session.input(count));
        } else if (done > 0) {
            s.builder.build(frame, first + done, first + wanted, s.session.input(count));
        }
        const float* logits = s.session.run(count);
        std::copy(logits, logits + count * classes, s.logits.begin() + static_cast<std::ptrdiff_t>(done * classes));
        done = wanted++;
        verdict = decide(s.defense, s.logits.data(), done, classes, noisy);
    } while (can_still_change(s.defense, verdict));
    s.noisy = noisy;  // not before the sessions ran: they may throw
    verdict.noise = noise;
    verdict.denoised = noisy;
    return verdict;
}

}  // namespace blurvote
