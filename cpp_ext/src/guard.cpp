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
void decide_mean(const Defense& defense, const float* logits, std::size_t classes, Verdict& verdict) {
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
    if (*best < *defense.threshold) {
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

// A host may set the fields itself, above all the threshold. One of NaN would accept everything.
void check_decision(const Defense& defense) {
    const std::optional<double>& threshold = defense.threshold;
    if (defense.decision == Decision::mean && !threshold) {
        throw std::invalid_argument("the guard decides by 'mean' but has no threshold; fit one by blurvote calibrate");
    }
    if (defense.decision != Decision::mean && threshold) {
        throw std::invalid_argument("the defence has a threshold; only the decision 'mean' has one");
    }
    if (threshold && !(*threshold >= 0 && *threshold <= 1)) {
        throw std::invalid_argument("the threshold is " + std::to_string(*threshold) +
                                    "; expected a number from 0 to 1");
    }
    const std::vector<int>& passes = defense.spec.geometry.passes;
    if (passes.empty() || passes.size() > kMaxViews) throw std::invalid_argument("a defence has 1 to 8 views");
    if (defense.decision == Decision::single && std::find(passes.begin(), passes.end(), 1) == passes.end()) {
        throw std::invalid_argument("the decision 'single' uses the view of one pass, and the defence has none");
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

Verdict decide(const Defense& defense, const float* logits, int ran, std::size_t classes) {
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
        decide_mean(defense, logits, classes, verdict);
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
};

Guard::Guard(const Defense& defense, Session& session, Plan plan, int threads) {
    check_decision(defense);
    const int views = views_of(defense);
    if (plan == Plan::cascade && (defense.decision == Decision::mean || views < 3)) {
        throw std::invalid_argument(views < 3 ? "with fewer than three views none can be left out; use Plan::batched"
                                              : "the decision 'mean' averages over all views; use Plan::batched");
    }
    const std::size_t classes = session.classes();
    if (classes == 0) throw std::invalid_argument("the session has no classes");
    state_.reset(new State{defense, session, plan, {defense.spec, threads, available_isas().front()}, classes,
                           std::vector<float>(static_cast<std::size_t>(views) * classes)});
}

Guard::~Guard() = default;
Guard::Guard(Guard&&) noexcept = default;
Guard& Guard::operator=(Guard&&) noexcept = default;

Verdict Guard::classify(const FrameSpan& frame) {
    State& s = *state_;
    const int first = s.defense.first_view(), views = views_of(s.defense);
    const std::size_t classes = s.classes;
    Verdict verdict;
    int done = 0, wanted = s.plan == Plan::cascade ? views / 2 + 1 : views;
    do {
        const int count = wanted - done;
        s.builder.build(frame, first + done, first + wanted, s.session.input(count));
        const float* logits = s.session.run(count);
        std::copy(logits, logits + count * classes, s.logits.begin() + static_cast<std::ptrdiff_t>(done * classes));
        done = wanted++;
        verdict = decide(s.defense, s.logits.data(), done, classes);
    } while (can_still_change(s.defense, verdict));
    return verdict;
}

}  // namespace blurvote
