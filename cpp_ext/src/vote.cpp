#include "blurvote/vote.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace blurvote {
namespace {

// Four floats fit the baseline registers of x86-64 and aarch64 alike.
typedef float vf __attribute__((vector_size(16)));
typedef std::int32_t vi __attribute__((vector_size(16)));
constexpr std::size_t kLanes = 4;
constexpr std::size_t kStreams = 4;  // independent maxima, to hide the latency of the comparison
constexpr std::size_t kStep = kLanes * kStreams;

vf load(const float* p) {
    vf v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// Index of the first largest logit; kRejected if any is NaN or all are -inf.
std::int64_t vote_of(const float* logits, std::size_t classes) {
    const float lowest = -std::numeric_limits<float>::infinity();
    float largest = lowest;
    bool nan = false;
    std::size_t k = 0;
    if (classes >= kStep) {
        vf top[kStreams];
        vi nans = {};
        for (vf& t : top) t = vf{lowest, lowest, lowest, lowest};
        for (; k + kStep <= classes; k += kStep) {
            for (std::size_t s = 0; s < kStreams; ++s) {
                const vf x = load(logits + k + s * kLanes);
                nans |= x != x;
                top[s] = x > top[s] ? x : top[s];
            }
        }
        for (const vf& t : top) {
            for (std::size_t l = 0; l < kLanes; ++l) largest = t[l] > largest ? t[l] : largest;
        }
        for (std::size_t l = 0; l < kLanes; ++l) nan |= nans[l] != 0;
    }
    for (; k < classes; ++k) {
        nan |= logits[k] != logits[k];
        largest = logits[k] > largest ? logits[k] : largest;
    }
    if (nan || largest == lowest) return kRejected;
    for (k = 0; k + kLanes <= classes; k += kLanes) {
        const vi equal = load(logits + k) == largest;
        if (equal[0] | equal[1] | equal[2] | equal[3]) break;
    }
    while (logits[k] != largest) ++k;
    return static_cast<std::int64_t>(k);
}

void count_votes(const std::int64_t* view_labels, std::size_t views, std::size_t electorate, std::int64_t* label,
                 std::int64_t* count) {
    *label = kRejected;
    *count = 0;
    for (std::size_t a = 0; a < views; ++a) {
        if (view_labels[a] == kRejected) continue;
        std::int64_t votes = 0;
        for (std::size_t b = 0; b < views; ++b) votes += view_labels[b] == view_labels[a];
        if (votes > *count) *count = votes;
        if (2 * static_cast<std::size_t>(votes) > electorate) *label = view_labels[a];
    }
}

float half_to_float(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1fu;
    const std::uint32_t mantissa = half & 0x3ffu;
    std::uint32_t bits;
    if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
        const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
        std::memcpy(&bits, &magnitude, sizeof bits);
        bits |= sign;
    } else {
        bits = sign | ((exponent == 31 ? 255u : exponent + 112u) << 23) | (mantissa << 13);
    }
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace

void majority_vote(const float* logits, std::size_t frames, std::size_t views, std::size_t classes,
                   std::size_t electorate, std::int64_t* labels, std::int64_t* counts, std::int64_t* view_labels) {
    for (std::size_t n = 0; n < frames; ++n, view_labels += views) {
        for (std::size_t v = 0; v < views; ++v, logits += classes) view_labels[v] = vote_of(logits, classes);
        count_votes(view_labels, views, electorate, labels + n, counts + n);
    }
}

void majority_vote_half(const std::uint16_t* logits, std::size_t frames, std::size_t views, std::size_t classes,
                        std::size_t electorate, std::int64_t* labels, std::int64_t* counts, std::int64_t* view_labels) {
    std::vector<float> row(classes);
    for (std::size_t n = 0; n < frames; ++n, view_labels += views) {
        for (std::size_t v = 0; v < views; ++v, logits += classes) {
            for (std::size_t k = 0; k < classes; ++k) row[k] = half_to_float(logits[k]);
            view_labels[v] = vote_of(row.data(), classes);
        }
        count_votes(view_labels, views, electorate, labels + n, counts + n);
    }
}

double softmax_at(const float* logits, std::size_t classes, std::size_t label) {
    float largest = logits[0];
    for (std::size_t k = 1; k < classes; ++k) largest = logits[k] > largest ? logits[k] : largest;
    const auto weight = [&](float logit) { return logit == largest ? 1.0f : std::exp(logit - largest); };
    double total = 0;
    for (std::size_t k = 0; k < classes; ++k) total += static_cast<double>(weight(logits[k]));
    return static_cast<double>(weight(logits[label])) / total;
}

}  // namespace blurvote
