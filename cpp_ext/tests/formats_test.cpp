// Tests of the pixel formats of cameras. The reference is the RGB path, which kernels_test.cpp
// compares with the definition: given a picture whose three channels are Y, U and V, chroma
// repeated, it filters each at full size; the colours are then mixed in double, by ITU-R's formulas.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include "blurvote/views.h"
#include "check.h"

using namespace blurvote;

namespace {

// A frame in exactly the memory that it needs, so that the address sanitizer sees every step beyond.
struct Camera {
    std::unique_ptr<std::uint8_t[]> luma, chroma;
    FrameSpan span;
};

std::unique_ptr<std::uint8_t[]> noise(std::ptrdiff_t rows, std::ptrdiff_t stride, std::ptrdiff_t last, std::mt19937& random) {
    const std::ptrdiff_t bytes = (rows - 1) * stride + last;
    std::unique_ptr<std::uint8_t[]> memory(new std::uint8_t[bytes]);
    for (std::ptrdiff_t k = 0; k < bytes; ++k) memory[k] = static_cast<std::uint8_t>(random());
    return memory;
}

Camera random_frame(Colour colour, int height, int width, bool odd_top, bool odd_left, int padding, unsigned seed) {
    std::mt19937 random(seed);
    Camera camera;
    const std::ptrdiff_t pairs = (width + odd_left + 1) / 2;
    const std::ptrdiff_t row = colour == Colour::yuyv ? 4 * pairs : width;
    camera.luma = noise(height, row + padding, row, random);
    camera.span = {camera.luma.get(), height, width, row + padding, colour};
    camera.span.odd_left = odd_left && colour != Colour::gray;
    if (colour == Colour::nv12) {
        camera.chroma = noise((height + odd_top + 1) / 2, 2 * pairs + 3 * padding, 2 * pairs, random);
        camera.span.chroma = camera.chroma.get();
        camera.span.chroma_stride = 2 * pairs + 3 * padding;
        camera.span.odd_top = odd_top;
    }
    return camera;
}

// Sample s (Y, U, V) of a pixel, as the formats define it.
std::uint8_t sample(const FrameSpan& f, int y, int x, int s) {
    const std::uint8_t* row = f.data + y * f.row_stride;
    const int column = x + f.odd_left;
    switch (f.colour) {
        case Colour::gray: return row[x];
        case Colour::nv12:
            return s == 0 ? row[x] : f.chroma[(y + f.odd_top) / 2 * f.chroma_stride + column / 2 * 2 + s - 1];
        default: return s == 0 ? row[2 * column] : row[column / 2 * 4 + 2 * s - 1];
    }
}

std::vector<float> build(const ViewSpec& spec, const FrameSpan& frame, Isa isa, int threads, int first, int last) {
    ViewBuilder builder(spec, threads, isa);
    std::vector<float> out(static_cast<std::size_t>(last - first) * 3 * spec.geometry.crop_h * spec.geometry.crop_w,
                           std::numeric_limits<float>::quiet_NaN());
    builder.build(frame, first, last, out.data());
    return out;
}

std::vector<double> reference(const ViewSpec& spec, const FrameSpan& frame, int first, int last) {
    const bool grey = frame.colour == Colour::gray, full = frame.range == Range::full;
    std::vector<std::uint8_t> packed;
    for (int y = 0; y < frame.height; ++y) {
        for (int x = 0; x < frame.width; ++x) {
            for (int s = 0; s < 3; ++s) packed.push_back(sample(frame, y, x, s));
        }
    }
    ViewSpec plain = spec;
    for (int c = 0; c < 3; ++c) plain.mean[c] = 0.0f, plain.std[c] = 1.0f;
    const FrameSpan as_rgb{packed.data(), frame.height, frame.width, 3 * static_cast<std::ptrdiff_t>(frame.width)};
    const std::vector<float> samples = build(plain, as_rgb, Isa::scalar, 1, first, last);
    const bool hd = frame.matrix == Matrix::bt709;
    const double kr = hd ? 0.2126 : 0.299, kb = hd ? 0.0722 : 0.114, kg = 1 - kr - kb;
    const std::size_t plane = static_cast<std::size_t>(spec.geometry.crop_h) * spec.geometry.crop_w;
    std::vector<double> views(samples.size());
    for (std::size_t k = 0; k < samples.size(); ++k) {
        if (k / plane % 3 != 0) continue;
        const double y = samples[k] * 255, u = samples[k + plane] * 255 - 128, v = samples[k + 2 * plane] * 255 - 128;
        double rgb[3] = {y, y, y};
        if (!grey) {
            const double luma = full ? y : (y - 16) * 255 / 219, chroma = full ? 1.0 : 255.0 / 224;
            rgb[0] = luma + chroma * 2 * (1 - kr) * v;
            rgb[2] = luma + chroma * 2 * (1 - kb) * u;
            rgb[1] = (luma - kr * rgb[0] - kb * rgb[2]) / kg;  // since luma is their weighted sum
            if (!hd && !full) {  // OpenCV's constants
                rgb[0] = 1.164 * (y - 16) + 1.596 * v;
                rgb[1] = 1.164 * (y - 16) - 0.391 * u - 0.813 * v;
                rgb[2] = 1.164 * (y - 16) + 2.018 * u;
            }
        }
        for (int c = 0; c < 3; ++c) views[k + c * plane] = (rgb[c] / 255 - spec.mean[c]) / spec.std[c];
    }
    return views;
}

double largest_difference(const std::vector<float>& a, const std::vector<double>& b) {
    CHECK(a.size() == b.size());
    double largest = 0.0;
    for (std::size_t k = 0; k < a.size(); ++k) {
        CHECK(std::isfinite(a[k]));
        largest = std::fmax(largest, std::fabs(a[k] - b[k]));
    }
    return largest;
}

void every_instruction_set_matches_the_rgb_path() {
    const int sizes[][2] = {{96, 128}, {375, 500}, {33, 47}, {32, 32}, {8, 9}, {64, 401}, {3, 300}};
    const std::vector<std::vector<int>> passes = {{0, 1, 2}, {1}, {0, 1, 2, 3, 4}};
    unsigned seed = 0;
    double largest = 0.0;
    for (const Colour colour : {Colour::gray, Colour::nv12, Colour::yuyv}) {
        for (const auto& size : sizes) {
            for (const auto& views : passes) {
                ++seed;
                ViewSpec spec;
                spec.geometry.passes = views;
                spec.geometry.resize = 32;
                spec.geometry.crop_h = 29;
                spec.geometry.crop_w = 31;
                spec.geometry.kernel_size = 3 + 2 * (size[0] > 8 ? seed % 4 : 0);
                spec.geometry.blur_at = seed % 4 ? BlurAt::frame : BlurAt::model;
                spec.geometry.interpolation = seed % 3 ? Interpolation::bilinear : Interpolation::bicubic;
                spec.geometry.antialias = seed % 5 != 0;
                const bool odd_top = seed % 2, odd_left = seed / 2 % 2;
                Camera camera = random_frame(colour, size[0], size[1], odd_top, odd_left, seed % 3 ? 0 : 13, seed);
                camera.span.matrix = seed / 4 % 2 ? Matrix::bt709 : Matrix::bt601;
                camera.span.range = seed / 8 % 2 ? Range::full : Range::limited;
                const int last = static_cast<int>(views.size()), first = last > 1 ? static_cast<int>(seed % 2) : 0;
                const auto expected = reference(spec, camera.span, first, last);
                for (const Isa isa : available_isas()) {
                    for (const int threads : {1, 3}) {
                        const auto got = build(spec, camera.span, isa, threads, first, last);
                        largest = std::fmax(largest, largest_difference(got, expected));
                    }
                }
            }
        }
    }
    CHECK(largest < 1e-5);
}

void every_part_is_cut_as_if_it_were_copied() {
    ViewSpec spec;
    spec.geometry.resize = spec.geometry.crop_h = spec.geometry.crop_w = 16;
    for (const Colour colour : {Colour::gray, Colour::nv12, Colour::yuyv}) {
        const Camera camera = random_frame(colour, 61, 73, true, true, 5, 9);
        for (int k = 0; k < 16; ++k) {
            const int top = k % 4, left = k / 4, height = 40 + k % 3, width = 50 + k % 5;
            const FrameSpan part = cut(camera.span, top, left, height, width);
            for (int s = 0; s < 3; ++s) {
                CHECK(sample(part, 0, 0, s) == sample(camera.span, top, left, s));
                CHECK(sample(part, height - 1, width - 1, s) ==
                      sample(camera.span, top + height - 1, left + width - 1, s));
            }
            const FrameSpan twice = cut(cut(camera.span, 1, 1, 60, 72), top, left, height, width);
            const FrameSpan once = cut(camera.span, top + 1, left + 1, height, width);
            CHECK(twice.data == once.data && twice.chroma == once.chroma);
            CHECK(twice.odd_top == once.odd_top && twice.odd_left == once.odd_left);
            for (const Isa isa : available_isas()) {
                CHECK(largest_difference(build(spec, part, isa, 1, 0, 3), reference(spec, part, 0, 3)) < 1e-5);
            }
        }
    }
}

void one_buffer_of_nv12() {
    const std::vector<std::uint8_t> bytes(1920 * 1080 * 3 / 2);
    const FrameSpan frame = nv12_span(bytes.data(), 1080, 1920, 1920);
    CHECK(frame.chroma == bytes.data() + 1920 * 1080 && frame.chroma_stride == 1920 && frame.colour == Colour::nv12);
}

template <typename Call>
bool refused(const Call& call) {
    try {
        call();
    } catch (const std::invalid_argument&) {
        return true;
    }
    return false;
}

void mistakes_of_the_host_are_refused() {
    const std::vector<std::uint8_t> bytes(96 * 128 * 3 / 2);
    const FrameSpan frame = nv12_span(bytes.data(), 96, 128, 128);
    std::vector<float> out(3 * 3 * 224 * 224);
    ViewBuilder builder({}, 1, Isa::scalar);
    const auto fails = [&](const FrameSpan& span, int first, int last) {
        return refused([&] { builder.build(span, first, last, out.data()); });
    };
    CHECK(!fails(frame, 0, 3));
    FrameSpan without = frame;
    without.chroma = nullptr;
    CHECK(fails(without, 0, 1) && refused([&] { cut(without, 2, 2, 40, 40); }));
    without = frame;
    without.data = nullptr;
    CHECK(fails(without, 0, 1));
    for (const int side : {0, -1, 32769}) {
        FrameSpan wrong = frame;
        wrong.height = side;
        CHECK(fails(wrong, 0, 1) && refused([&] { builder.plan(96, side); }));
    }
    CHECK(fails(frame, -1, 1) && fails(frame, 1, 1) && fails(frame, 2, 4));
    CHECK(refused([&] { builder.build(frame, 0, 1, nullptr); }));

    for (const int threads : {0, -1}) CHECK(refused([&] { ViewBuilder({}, threads, Isa::scalar); }));
    const auto unfit = [](void (*change)(Geometry&)) {
        ViewSpec spec;
        change(spec.geometry);
        return refused([&] { ViewBuilder(spec, 1, Isa::scalar); }) && refused([&] { plan_views(spec, 96, 128); });
    };
    CHECK(unfit([](Geometry& g) { g.passes.clear(); }) && unfit([](Geometry& g) { g.passes = {-1, 0}; }));
    CHECK(unfit([](Geometry& g) { g.passes = {1, 1}; }) && unfit([](Geometry& g) { g.kernel_size = 4; }));
    CHECK(unfit([](Geometry& g) { g.kernel_size = -1; }) && unfit([](Geometry& g) { g.sigma = 0; }));
    CHECK(unfit([](Geometry& g) { g.crop_w = 0; }) && unfit([](Geometry& g) { g.resize = 0; }));

    const int parts[][4] = {{-1, 0, 4, 4}, {0, -1, 4, 4}, {0, 0, 0, 4}, {0, 0, 4, 0}, {93, 0, 4, 4}, {0, 125, 4, 4}};
    for (const auto& part : parts) CHECK(refused([&] { cut(frame, part[0], part[1], part[2], part[3]); }));
    CHECK(!refused([&] { cut(frame, 92, 124, 4, 4); }));
    CHECK(refused([&] { nv12_span(bytes.data(), 95, 128, 128); }));
    CHECK(refused([&] { nv12_span(bytes.data(), 96, 127, 128); }));
    CHECK(refused([&] { nv12_span(bytes.data(), 96, 128, -128); }));
}

}  // namespace

int main() {
    every_instruction_set_matches_the_rgb_path();
    every_part_is_cut_as_if_it_were_copied();
    one_buffer_of_nv12();
    mistakes_of_the_host_are_refused();
    std::puts("all format tests passed");
}
