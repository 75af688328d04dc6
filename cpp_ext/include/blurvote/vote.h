// The majority vote over the views of each frame.
#pragma once

#include <cstddef>
#include <cstdint>

namespace blurvote {

constexpr std::int64_t kRejected = -1;  // as a label: no majority; as a view's label: no vote

// Votes over logits (frames, views, classes), C-contiguous; classes >= 1.
//
// A view votes for its largest logit, the first one where several are equal. A view whose logits
// hold NaN, or nothing but -inf, casts no vote. A label wins with more than half of `electorate`
// votes: the number of all views, including those without a vote and, while a cascade is under
// way, those not run yet.
//
//   labels      (frames)         the winning label, or kRejected
//   counts      (frames)         votes for the label with most votes, rejected or not
//   view_labels (frames, views)  each view's vote, or kRejected
void majority_vote(const float* logits, std::size_t frames, std::size_t views, std::size_t classes,
                   std::size_t electorate, std::int64_t* labels, std::int64_t* counts, std::int64_t* view_labels);

// The same for IEEE half precision logits, given as their bits.
void majority_vote_half(const std::uint16_t* logits, std::size_t frames, std::size_t views, std::size_t classes,
                        std::size_t electorate, std::int64_t* labels, std::int64_t* counts, std::int64_t* view_labels);

// The softmax of one view's logits at `label` < classes, in [0, 1]; NaN if a logit is NaN. Logits of
// +inf share the whole mass, which is the limit of the formula.
double softmax_at(const float* logits, std::size_t classes, std::size_t label);

}  // namespace blurvote
