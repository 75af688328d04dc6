// Tests of the noise estimate: every instruction set against the scalar twin, which is the definition,
// in every format, at odd places, and with no byte of memory behind what may be read.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <vector>

#include "blurvote/views.h"
#include "allocations.h"
#include "check.h"

using namespace blurvote;

namespace {

// A frame in memory of its exact size, whose last row ends with its last pixel.
struct Camera {
    std::vector<std::uint8_t> bytes, chroma;
    FrameSpan span;
};

Camera noisy_frame(Colour colour, int height, int width, bool odd_left, int padding, double sigma, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> noise(0.0, 255 * sigma);
    const int pairs = (width + odd_left + 1) / 2;
    const bool packed = colour == Colour::rgb || colour == Colour::bgr;
    const int row = colour == Colour::yuyv ? 4 * pairs : packed ? 3 * width : width;
    Camera camera;
    const std::size_t stride = static_cast<std::size_t>(row) + padding;
    camera.bytes.resize(stride * (height - 1) + row);
    for (std::size_t k = 0; k < camera.bytes.size(); ++k) {
        const double shade = 300.0 * (k % stride) / stride - 20 + noise(random);
        camera.bytes[k] = static_cast<std::uint8_t>(std::fmin(std::fmax(std::nearbyint(shade), 0.0), 255.0));
    }
    camera.span = {camera.bytes.data(), height, width, static_cast<std::ptrdiff_t>(stride), colour};
    camera.span.odd_left = odd_left && (colour == Colour::nv12 || colour == Colour::yuyv);
    if (colour == Colour::nv12) {
        camera.chroma.assign(static_cast<std::size_t>(2 * pairs) * ((height + 1) / 2), 128);
        camera.span.chroma = camera.chroma.data();
        camera.span.chroma_stride = 2 * pairs;
    }
    return camera;
}

ViewSpec spec_of(int resize, int crop_h, int crop_w) {
    ViewSpec spec;
    spec.geometry.kernel_size = 3;
    spec.geometry.resize = resize;
    spec.geometry.crop_h = crop_h;
    spec.geometry.crop_w = crop_w;
    return spec;
}

double level_of(const ViewSpec& spec, const FrameSpan& frame, Isa isa, int threads, int first, int last) {
    ViewBuilder builder(spec, threads, isa);
    const std::size_t floats = static_cast<std::size_t>(3) * spec.geometry.crop_h * spec.geometry.crop_w;
    std::vector<float> views((last - first) * floats), alone(views.size());
    const double level = builder.build_noise(frame, first, last, views.data());
    builder.build(frame, first, last, alone.data());
    CHECK(std::memcmp(views.data(), alone.data(), views.size() * sizeof(float)) == 0);
    return level;
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void every_instruction_set_gives_the_same() {
    const int sizes[][2] = {{96, 128}, {240, 401}, {33, 47}, {31, 34}, {32, 33}, {3, 300}, {2, 300}, {8, 9}};
    unsigned seed = 0;
    int without = 0, levels = 0;
    for (const Colour colour : {Colour::rgb, Colour::bgr, Colour::gray, Colour::nv12, Colour::yuyv}) {
        for (const auto& size : sizes) {
            for (const bool odd_left : {false, true}) {
                ++seed;
                const ViewSpec spec = spec_of(32, 21 + seed % 12, 32 - seed % 3);
                const double sigma = 0.02 * (1 + seed % 9);
                Camera camera = noisy_frame(colour, size[0], size[1], odd_left, seed % 2 ? 0 : 13, sigma, seed);
                camera.span.range = seed % 3 ? Range::limited : Range::full;
                const double expected = level_of(spec, camera.span, Isa::scalar, 1, 0, 3);
                CHECK(std::isnan(expected) || (expected >= 0 && expected <= 0.5));
                (std::isnan(expected) ? without : levels) += 1;
                for (const Isa isa : available_isas()) {
                    for (const int threads : {1, 3}) {
                        CHECK(same(level_of(spec, camera.span, isa, threads, 0, 3), expected));
                    }
                    CHECK(same(level_of(spec, camera.span, isa, 1, 1, 2), expected));
                }
            }
        }
    }
    CHECK(without > 20 && levels > 20);
}

// Where R, G and B have the noise of its level, all of one intensity.
void flat_frames_read_their_noise() {
    for (const double sigma : {0.03, 0.1, 0.2}) {
        Camera camera = noisy_frame(Colour::rgb, 375, 500, false, 0, 0, 1);
        std::mt19937 random(7);
        std::normal_distribution<double> noise(127.5, 255 * sigma);
        for (std::uint8_t& byte : camera.bytes) {
            byte = static_cast<std::uint8_t>(std::fmin(std::fmax(std::nearbyint(noise(random)), 0.0), 255.0));
        }
        const double level = level_of({}, camera.span, available_isas().front(), 1, 0, 1);
        CHECK(std::fabs(level / sigma - 1) < 0.12);
    }
}

void the_table_is_followed() {
    for (int kind = 0; kind < kNoiseKinds; ++kind) {
        const Colour colour = kind == 0 ? Colour::rgb : kind == 1 ? Colour::gray : Colour::nv12;
        const Matrix matrix = kind == 3 ? Matrix::bt709 : Matrix::bt601;
        const double share = luma_share(colour, matrix, Range::full);
        const double* const readings = kNoiseReadings[kind];
        for (int k = 0; k < kNoiseKnots; ++k) {
            const double level = noise_level(readings[k] * share, colour, matrix, Range::full);
            CHECK(std::fabs(level - kNoiseLevels[k]) < 1e-12);
            if (k == 0) continue;
            CHECK(readings[k] > readings[k - 1] && kNoiseLevels[k] > kNoiseLevels[k - 1]);
            const double middle = noise_level((readings[k] + readings[k - 1]) / 2 * share, colour, matrix, Range::full);
            CHECK(std::fabs(middle - (kNoiseLevels[k] + kNoiseLevels[k - 1]) / 2) < 1e-12);
        }
        CHECK(noise_level(0, colour, matrix, Range::full) == 0);
        CHECK(noise_level(1, colour, matrix, Range::full) == kNoiseLevels[kNoiseKnots - 1]);
        CHECK(std::isnan(noise_level(std::nan(""), colour, matrix, Range::full)));
    }
}

void a_known_size_allocates_nothing() {
    const Camera camera = noisy_frame(Colour::nv12, 240, 400, true, 0, 0.1, 3);
    const ViewSpec spec = spec_of(64, 64, 64);
    ViewBuilder builder(spec, 2, available_isas().front());
    std::vector<float> views(3 * 3 * 64 * 64);
    const double level = builder.build_noise(camera.span, 0, 3, views.data());
    const long before = g_allocations;
    CHECK(builder.build_noise(camera.span, 0, 3, views.data()) == level);
    CHECK(g_allocations == before);
}

void no_clean_view_is_refused() {
    ViewSpec spec = spec_of(32, 32, 32);
    spec.geometry.passes = {1, 2};
    const Camera camera = noisy_frame(Colour::rgb, 96, 128, false, 0, 0.1, 3);
    ViewBuilder builder(spec, 1, Isa::scalar);
    std::vector<float> views(2 * 3 * 32 * 32);
    builder.build(camera.span, 0, 2, views.data());
    bool refused = false;
    try {
        builder.build_noise(camera.span, 0, 2, views.data());
    } catch (const std::invalid_argument&) {
        refused = true;
    }
    CHECK(refused && builder.plan(96, 128)->noise.rows.empty());
}

}  // namespace

int main() {
    every_instruction_set_gives_the_same();
    flat_frames_read_their_noise();
    the_table_is_followed();
    a_known_size_allocates_nothing();
    no_clean_view_is_refused();
    std::puts("all noise tests passed");
}
