// A C++ program that uses the kernels as a user would: views of a grey frame, and a vote.
#include <cstdio>
#include <vector>

#include <blurvote/views.h>
#include <blurvote/vote.h>

int main() {
    const int height = 480, width = 640;
    const std::vector<std::uint8_t> pixels(3 * height * width, 128);
    blurvote::ViewBuilder builder({}, 1, blurvote::available_isas().front());
    std::vector<float> views(3 * 3 * 224 * 224);
    builder.build({pixels.data(), height, width, 3 * width, blurvote::Colour::rgb}, 0, 3, views.data());

    const std::vector<float> logits{0, 1, 0, 1, 1, 0};
    std::int64_t label, count, view_labels[3];
    blurvote::majority_vote(logits.data(), 1, 3, 2, 3, &label, &count, view_labels);
    std::printf("%.5f %lld %lld\n", views[0], static_cast<long long>(label), static_cast<long long>(count));
}
