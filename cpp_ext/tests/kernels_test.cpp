// Tests of the kernels without Python: every instruction set against the scalar twin, the scalar
// twin against a from-the-definition reference in double, the vote against a plain count.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "blurvote/views.h"
#include "blurvote/vote.h"
#include "thread_pool.h"
#include "allocations.h"
#include "check.h"

using namespace blurvote;

namespace {

int reflect(int x, int n) { return x < 0 ? -x : x >= n ? 2 * (n - 1) - x : x; }

// One axis by the definition: blur the samples one pass at a time, then interpolate each output.
// Antialiased bilinear only, on purpose another formulation than the planner's banded products.
std::vector<double> reference_axis(std::vector<double> samples, const Geometry& g, int passes, int resized, int out) {
    const int n = static_cast<int>(samples.size());
    const std::vector<double> taps = gaussian_taps(g.kernel_size, g.sigma);
    const int radius = g.kernel_size / 2;
    for (int pass = 0; pass < passes; ++pass) {
        std::vector<double> blurred(n, 0.0);
        for (int x = 0; x < n; ++x) {
            for (int d = -radius; d <= radius; ++d) blurred[x] += taps[d + radius] * samples[reflect(x + d, n)];
        }
        samples = blurred;
    }
    std::vector<double> result(out);
    const double scale = static_cast<double>(n) / resized, support = std::max(scale, 1.0);
    const int offset = static_cast<int>(std::nearbyint((resized - out) / 2.0));
    for (int i = 0; i < out; ++i) {
        const double centre = scale * (i + offset + 0.5);
        double sum = 0.0, weight = 0.0;
        for (int x = 0; x < n; ++x) {
            const double w = std::max(0.0, 1.0 - std::fabs(x + 0.5 - centre) / support);
            sum += w * samples[x];
            weight += w;
        }
        result[i] = sum / weight;
    }
    return result;
}

struct Picture {
    int height, width;
    std::vector<std::uint8_t> bytes;
    FrameSpan span(Colour colour = Colour::rgb) const { return {bytes.data(), height, width, 3 * width, colour}; }
};

Picture random_picture(int height, int width, unsigned seed) {
    Picture picture{height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(height) * width * 3)};
    std::mt19937 random(seed);
    for (std::uint8_t& byte : picture.bytes) byte = static_cast<std::uint8_t>(random());
    return picture;
}

std::vector<float> build(const ViewSpec& spec, const FrameSpan& frame, Isa isa, int threads, int first, int last) {
    ViewBuilder builder(spec, threads, isa);
    std::vector<float> out(static_cast<std::size_t>(last - first) * 3 * spec.geometry.crop_h * spec.geometry.crop_w,
                           std::numeric_limits<float>::quiet_NaN());
    builder.build(frame, first, last, out.data());
    return out;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    CHECK(a.size() == b.size());
    double largest = 0.0;
    for (std::size_t k = 0; k < a.size(); ++k) {
        CHECK(std::isfinite(a[k]) && std::isfinite(b[k]));
        largest = std::max(largest, std::fabs(static_cast<double>(a[k]) - b[k]));
    }
    return largest;
}

void scalar_matches_the_definition() {
    ViewSpec spec;
    spec.geometry.resize = 40;
    spec.geometry.crop_h = 37;
    spec.geometry.crop_w = 33;
    const Picture picture = random_picture(75, 101, 1);
    const Size size = resized_size(spec.geometry, picture.height, picture.width);
    const std::vector<float> views = build(spec, picture.span(), Isa::scalar, 1, 0, 3);
    const int h = spec.geometry.crop_h, w = spec.geometry.crop_w;
    double largest = 0.0;
    for (int view = 0; view < 3; ++view) {
        for (int c = 0; c < 3; ++c) {
            std::vector<double> columns(static_cast<std::size_t>(h) * picture.width);
            for (int x = 0; x < picture.width; ++x) {
                std::vector<double> samples(picture.height);
                for (int y = 0; y < picture.height; ++y) samples[y] = picture.bytes[(y * picture.width + x) * 3 + c];
                const auto column = reference_axis(samples, spec.geometry, view, size.height, h);
                for (int i = 0; i < h; ++i) columns[static_cast<std::size_t>(i) * picture.width + x] = column[i];
            }
            for (int i = 0; i < h; ++i) {
                const auto from = columns.begin() + static_cast<std::ptrdiff_t>(i) * picture.width;
                const auto row = reference_axis({from, from + picture.width}, spec.geometry, view, size.width, w);
                for (int j = 0; j < w; ++j) {
                    const double expected = (row[j] / 255.0 - spec.mean[c]) / spec.std[c];
                    largest = std::max(largest, std::fabs(views[((view * 3 + c) * h + i) * w + j] - expected));
                }
            }
        }
    }
    CHECK(largest < 1e-5);
}

void every_instruction_set_matches_scalar() {
    const int sizes[][2] = {{375, 500}, {500, 375}, {33, 47}, {32, 32}, {719, 1281}, {8, 9}, {64, 400}};
    const std::vector<std::vector<int>> passes = {{0, 1, 2}, {1}, {0, 3}, {0, 1, 2, 3, 4}};
    unsigned seed = 0;
    for (const auto& size : sizes) {
        for (const auto& views : passes) {
            ViewSpec spec;
            spec.geometry.passes = views;
            spec.geometry.resize = 32;
            spec.geometry.crop_h = 29;
            spec.geometry.crop_w = 31;
            spec.geometry.kernel_size = 3 + 2 * (seed % 4);
            spec.geometry.blur_at = seed % 2 ? BlurAt::frame : BlurAt::model;
            spec.geometry.interpolation = seed % 3 ? Interpolation::bilinear : Interpolation::bicubic;
            spec.geometry.antialias = seed % 5 != 0;
            const Picture picture = random_picture(size[0], size[1], ++seed);
            const Colour colour = seed % 2 ? Colour::rgb : Colour::bgr;
            const int last = static_cast<int>(views.size()), first = last > 1 ? static_cast<int>(seed % 2) : 0;
            const auto expected = build(spec, picture.span(colour), Isa::scalar, 1, first, last);
            for (const Isa isa : available_isas()) {
                for (const int threads : {1, 3}) {
                    const auto got = build(spec, picture.span(colour), isa, threads, first, last);
                    CHECK(largest_difference(got, expected) < 1e-5);
                }
            }
        }
    }
}

void strides_and_colours() {
    ViewSpec spec;
    const Picture picture = random_picture(300, 400, 7);
    Picture flipped = picture, swapped = picture;
    for (int y = 0; y < picture.height; ++y) {
        std::copy_n(picture.bytes.begin() + y * 1200, 1200, flipped.bytes.begin() + (picture.height - 1 - y) * 1200);
    }
    for (std::size_t k = 0; k < picture.bytes.size(); k += 3) std::swap(swapped.bytes[k], swapped.bytes[k + 2]);
    const Isa best = available_isas().front();
    const auto expected = build(spec, picture.span(), best, 1, 0, 3);
    CHECK(build(spec, swapped.span(Colour::bgr), best, 1, 0, 3) == expected);
    const FrameSpan upside_down{flipped.bytes.data() + 299 * 1200, 300, 400, -1200, Colour::rgb};
    CHECK(build(spec, upside_down, best, 1, 0, 3) == expected);
}

void impossible_sizes_are_refused() {
    const auto refuses = [](const ViewSpec& spec, int height, int width) {
        try {
            plan_views(spec, height, width);
        } catch (const std::invalid_argument&) {
            return true;
        }
        return false;
    };
    ViewSpec spec;
    CHECK(!refuses(spec, 3, 4));
    CHECK(refuses(spec, 2, 400));  // not longer than the kernel's radius
    spec.geometry.passes = {0};
    CHECK(!refuses(spec, 2, 400));
    spec.geometry.resize = 200;
    CHECK(refuses(spec, 100, 100));  // shorter than the crop
}

void builder_serves_many_threads_and_sizes() {
    ViewSpec spec;
    spec.geometry.resize = 64;
    spec.geometry.crop_h = spec.geometry.crop_w = 56;
    const Isa best = available_isas().front();
    ViewBuilder builder(spec, 2, best);
    std::vector<std::thread> callers;
    std::vector<int> wrong(4, 0);
    for (int t = 0; t < 4; ++t) {
        callers.emplace_back([&, t] {
            for (int k = 0; k < 40; ++k) {
                const Picture picture = random_picture(60 + k % 7 + t, 90 + k % 5, k);
                std::vector<float> out(3 * 3 * 56 * 56);
                builder.build(picture.span(), 0, 3, out.data());
                wrong[t] += out != build(spec, picture.span(), best, 1, 0, 3);
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    CHECK(wrong == std::vector<int>(4, 0));
}

void a_known_frame_size_allocates_nothing() {
    for (const Isa isa : available_isas()) {
        ViewBuilder builder({}, 2, isa);
        const Picture picture = random_picture(300, 400, 5);
        const FrameSpan nv12 = nv12_span(picture.bytes.data(), 300, 400, 400);
        const FrameSpan yuyv{picture.bytes.data(), 300, 400, 800, Colour::yuyv};
        std::vector<float> out(3 * 3 * 224 * 224);
        for (const FrameSpan& frame : {picture.span(), nv12, yuyv}) builder.build(frame, 0, 3, out.data());
        const long before = g_allocations;
        for (const FrameSpan& frame : {picture.span(), nv12, yuyv}) builder.build(frame, 0, 3, out.data());
        builder.build(picture.span(), 2, 3, out.data());
        CHECK(g_allocations == before);
    }
}

void pool_runs_everything_once() {
    ThreadPool pool(3);
    for (int round = 0; round < 200; ++round) {
        std::vector<int> seen(17, 0);
        pool.run(17, [&](int index, int) { ++seen[index]; });
        CHECK(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
    }
}

void votes() {
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    std::mt19937 random(3);
    for (int round = 0; round < 2000; ++round) {
        const std::size_t views = 1 + random() % 6, classes = 1 + random() % 40;
        std::vector<float> logits(views * classes);
        for (float& x : logits) x = static_cast<float>(random() % 5);
        for (std::size_t v = 0; v < views; ++v) {
            const unsigned what = random() % 8;
            if (what == 0) logits[v * classes + random() % classes] = nan;
            if (what == 1) std::fill_n(logits.begin() + static_cast<std::ptrdiff_t>(v * classes), classes, -inf);
            if (what == 2) logits[v * classes + random() % classes] = inf;
        }
        std::vector<std::int64_t> view_labels(views), expected(views, kRejected);
        std::int64_t label, count, expected_label = kRejected, expected_count = 0;
        double shares = 0;
        for (std::size_t c = 0; c < classes; ++c) shares += softmax_at(logits.data(), classes, c);
        const bool has_nan = std::any_of(logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(classes),
                                         [](float x) { return std::isnan(x); });
        CHECK(has_nan ? std::isnan(shares) : std::abs(shares - 1) < 1e-5);
        majority_vote(logits.data(), 1, views, classes, views, &label, &count, view_labels.data());
        for (std::size_t v = 0; v < views; ++v) {
            const auto from = logits.begin() + static_cast<std::ptrdiff_t>(v * classes);
            const auto to = from + static_cast<std::ptrdiff_t>(classes);
            const bool bad = std::any_of(from, to, [](float x) { return std::isnan(x); }) ||
                             std::all_of(from, to, [&](float x) { return x == -inf; });
            if (!bad) expected[v] = std::max_element(from, to) - from;
        }
        for (const std::int64_t candidate : expected) {
            const auto votes = std::count(expected.begin(), expected.end(), candidate);
            if (candidate == kRejected) continue;
            expected_count = std::max<std::int64_t>(expected_count, votes);
            if (2 * static_cast<std::size_t>(votes) > views) expected_label = candidate;
        }
        CHECK(view_labels == expected && label == expected_label && count == expected_count);
    }
}

}  // namespace

int main() {
    scalar_matches_the_definition();
    every_instruction_set_matches_scalar();
    strides_and_colours();
    impossible_sizes_are_refused();
    builder_serves_many_threads_and_sizes();
    a_known_frame_size_allocates_nothing();
    pool_runs_everything_once();
    votes();
    std::puts("all kernel tests passed");
}
