// Tests of guards whose noisy frames have views of their own; scripted sessions stand in for engines.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "base64.h"
#include "blurvote/guard.h"
#include "check.h"

using namespace blurvote;

namespace {

constexpr int kSide = 32, kFloats = 3 * kSide * kSide;

Defense adaptive() {
    Defense defense;
    defense.spec.geometry.resize = defense.spec.geometry.crop_h = defense.spec.geometry.crop_w = kSide;
    defense.noisy_views = {*view_kind("70%-denoised"), *view_kind("double-blur"), *view_kind("denoised")};
    return defense;
}

// Keeps what it was given; logits alternate between the labels, so that every view is asked for.
struct Backbone : Session {
    std::vector<float> memory = std::vector<float>(3 * kFloats), logits;
    std::vector<std::vector<float>> seen;  // views in the order in which they ran
    bool fails = false;
    std::size_t classes() const override { return 3; }
    float* input(int) override {
        std::fill(memory.begin(), memory.end(), -7.0f);  // what lay there need not stay
        return memory.data();
    }
    const float* run(int count) override {
        if (fails) throw std::runtime_error("no memory");
        logits.assign(3 * count, 0.0f);
        for (int v = 0; v < count; ++v) {
            logits[3 * v + seen.size() % 3] = 1.0f;
            seen.emplace_back(memory.begin() + v * kFloats, memory.begin() + (v + 1) * kFloats);
        }
        return logits.data();
    }
};

// Makes views of nothing but 1, and of nothing but 2.
struct Denoiser : Session {
    std::vector<float> memory = std::vector<float>(4 * kSide * kSide), views, seen;
    int runs = 0;
    bool fails = false;
    std::size_t classes() const override { return 2 * kFloats; }
    float* input(int) override { return memory.data(); }
    const float* run(int count) override {
        CHECK(count == 1);
        if (fails) throw std::runtime_error("no memory");
        ++runs;
        seen = memory;
        views.assign(kFloats, 1.0f);
        views.resize(2 * kFloats, 2.0f);
        return views.data();
    }
};

struct Picture {
    std::vector<std::uint8_t> bytes;
    FrameSpan span;
};

Picture picture(double sigma, unsigned seed = 1) {
    Picture picture;
    std::mt19937 random(seed);
    std::normal_distribution<double> noise(127.5, 255 * sigma);
    picture.bytes.resize(3 * 60 * 80);
    for (std::uint8_t& byte : picture.bytes) {
        byte = static_cast<std::uint8_t>(std::fmin(std::fmax(std::nearbyint(noise(random)), 0.0), 255.0));
    }
    picture.span = {picture.bytes.data(), 60, 80, 240, Colour::rgb};
    return picture;
}

std::vector<float> view_of(const Defense& defense, const FrameSpan& frame, int view) {
    ViewBuilder builder(defense.spec, 1, available_isas().front());
    std::vector<float> out(kFloats);
    builder.build(frame, view, view + 1, out.data());
    return out;
}

bool close(const std::vector<float>& a, const std::vector<float>& b) {
    float largest = 0;
    for (std::size_t k = 0; k < b.size(); ++k) largest = std::max(largest, std::fabs(a[k] - b[k]));
    return a.size() >= b.size() && largest < 1e-5f;
}

void every_frame_has_the_views_of_its_noise() {
    const Defense defense = adaptive();
    for (const Plan plan : {Plan::batched, Plan::cascade}) {
        Backbone backbone;
        Denoiser denoiser;
        Guard guard(defense, backbone, plan, 1, &denoiser);
        const Picture quiet = picture(0.01), noisy = picture(0.2);

        Verdict verdict = guard.classify(quiet.span);
        CHECK(!verdict.denoised && *verdict.noise < 0.02 && verdict.views_run == 3 && denoiser.runs == 0);
        for (int v = 0; v < 3; ++v) CHECK(close(backbone.seen[v], view_of(defense, quiet.span, v)));

        backbone.seen.clear();
        verdict = guard.classify(noisy.span);
        CHECK(verdict.denoised && std::fabs(*verdict.noise - 0.2) < 0.05 && denoiser.runs == 1);
        CHECK(verdict.views_run == 3 && backbone.seen.size() == 3);
        CHECK(backbone.seen[0] == std::vector<float>(kFloats, 1.0f));
        CHECK(close(backbone.seen[1], view_of(defense, noisy.span, 2)));
        CHECK(backbone.seen[2] == std::vector<float>(kFloats, 2.0f));

        CHECK(close(denoiser.seen, view_of(defense, noisy.span, 0)));
        ViewBuilder builder(defense.spec, 1, Isa::scalar);
        const auto level = static_cast<float>(*verdict.noise * builder.plan(60, 80)->noise.gain);
        for (int k = 0; k < kSide * kSide; ++k) CHECK(denoiser.seen[kFloats + k] == level);
    }
}

void the_single_view_has_its_own_slot() {
    Defense defense = adaptive();
    defense.decision = Decision::single;
    Backbone backbone;
    Denoiser denoiser;
    Guard guard(defense, backbone, Plan::batched, 1, &denoiser);
    const Picture noisy = picture(0.2);
    CHECK(guard.classify(noisy.span).denoised && backbone.seen.size() == 1);
    CHECK(close(backbone.seen[0], view_of(defense, noisy.span, 2)));  // double-blur, in the slot of single-blur
    defense.noisy_views = {*view_kind("70%-denoised"), *view_kind("denoised"), *view_kind("clean")};
    Guard other(defense, backbone, Plan::batched, 1, &denoiser);
    other.classify(noisy.span);
    CHECK(backbone.seen[1] == std::vector<float>(kFloats, 2.0f));
    CHECK(close(denoiser.seen, view_of(defense, noisy.span, 0)));
}

void a_stream_stays_noisy_until_it_is_clearly_not() {
    Defense defense = adaptive();
    Backbone backbone;
    Denoiser denoiser;
    const Picture between = picture(0.1), noisy = picture(0.2), quiet = picture(0.01);
    ViewBuilder builder(defense.spec, 1, Isa::scalar);
    const double gain = builder.plan(60, 80)->noise.gain;
    defense.noise_low = 0.05 * gain;
    defense.noise_high = 0.15 * gain;
    Guard guard(defense, backbone, Plan::batched, 1, &denoiser);
    CHECK(!guard.classify(between.span, true).denoised);
    CHECK(guard.classify(noisy.span, true).denoised);
    CHECK(guard.classify(between.span, true).denoised);
    CHECK(!guard.classify(between.span, false).denoised);  // of another camera
    CHECK(!guard.classify(between.span, true).denoised);
    guard.classify(noisy.span, true);
    CHECK(!guard.classify(quiet.span, true).denoised && !guard.classify(between.span, true).denoised);
    defense.noise_low = defense.noise_high = 0;  // always, where there is an estimate
    Guard always(defense, backbone, Plan::batched, 1, &denoiser);
    CHECK(always.classify(quiet.span).denoised);
    FrameSpan narrow = quiet.span;
    narrow.width = 33;
    const Verdict verdict = always.classify(narrow);
    CHECK(!verdict.denoised && !verdict.noise);
}

void a_frame_whose_session_fails_leaves_no_trace() {
    Defense defense = adaptive();
    const Picture between = picture(0.1), noisy = picture(0.2), quiet = picture(0.01);
    ViewBuilder builder(defense.spec, 1, Isa::scalar);
    const double gain = builder.plan(60, 80)->noise.gain;
    defense.noise_low = 0.05 * gain;
    defense.noise_high = 0.15 * gain;
    for (const bool in_backbone : {false, true}) {
        Backbone backbone;
        Denoiser denoiser;
        Guard guard(defense, backbone, Plan::batched, 1, &denoiser);
        const auto fails = [&](const Picture& frame) {
            (in_backbone ? backbone.fails : denoiser.fails) = true;
            bool failed = false;
            try {
                guard.classify(frame.span, true);
            } catch (const std::runtime_error&) {
                failed = true;
            }
            backbone.fails = denoiser.fails = false;
            return failed;
        };
        CHECK(fails(noisy));
        CHECK(!guard.classify(between.span, true).denoised);
        CHECK(guard.classify(noisy.span, true).denoised);
        CHECK(fails(quiet) == in_backbone);  // which no denoiser sees
        if (in_backbone) CHECK(guard.classify(between.span, true).denoised);
    }
}

void noise_is_reported_by_other_guards_too() {
    Defense defense = adaptive();
    defense.noisy_views.clear();
    Backbone backbone;
    Guard guard(defense, backbone, Plan::cascade);
    const Verdict verdict = guard.classify(picture(0.2).span);
    CHECK(!verdict.denoised && std::fabs(*verdict.noise - 0.2) < 0.05);
    defense.spec.geometry.passes = {1, 2, 3};
    Guard blurred(defense, backbone, Plan::cascade);
    CHECK(!blurred.classify(picture(0.2).span).noise);
}

void thresholds_differ() {
    Defense defense = adaptive();
    defense.decision = Decision::mean;
    const float logits[] = {0, 1, 0, 0, 1, 0, 0, 1, 0};
    CHECK(contains(refusal([&] { decide(defense, logits, 3, 3); }), "no threshold; fit one"));
    defense.threshold = 0.9;
    CHECK(contains(refusal([&] { decide(defense, logits, 3, 3); }), "no threshold for noisy frames"));
    defense.noisy_threshold = 0.3;
    CHECK(decide(defense, logits, 3, 3).reason == Rejection::low_confidence);
    CHECK(decide(defense, logits, 3, 3, true).label == 1);
    defense.noisy_threshold = std::nan("");
    CHECK(contains(refusal([&] { decide(defense, logits, 3, 3); }), "threshold for noisy frames is nan"));
}

void mistakes_of_the_host_are_refused() {
    Backbone backbone;
    Denoiser denoiser;
    const auto refused = [&](const std::function<void(Defense&)>& change, Session* session) {
        Defense defense = adaptive();
        change(defense);
        return refusal([&] { Guard(defense, backbone, Plan::batched, 1, session); });
    };
    const auto none = [](Defense&) {};
    CHECK(refused(none, &denoiser).empty());
    CHECK(contains(refused(none, nullptr), "make one of GuardMetadata::denoiser"));
    CHECK(contains(refused(none, &backbone), "makes 3 floats of an image; expected 2 views of 3072"));
    CHECK(contains(refused([](Defense& d) { d.noisy_views.pop_back(); }, &denoiser), "not 2 for 3"));
    CHECK(contains(refused([](Defense& d) { d.noisy_views[1].passes = 3; }, &denoiser), "the view 3-blur of noisy"));
    CHECK(contains(refused([](Defense& d) { d.spec.geometry.passes = {1, 2, 3}; }, &denoiser), "the clean view"));
}

const std::string kJson =
    R"({"schema_version": 2, "kernel_size": 5, "sigma": 1, "passes": [0, 1, 2], "blur_at": "frame",)"
    R"( "border": "reflect", "antialias": true, "interpolation": "bilinear", "fit": "crop", "resize": 32,)"
    R"( "crop": [32, 32], "mean": [0, 0, 0], "std": [1, 1, 1], "decision": "mean", "threshold": 0.5,)"
    R"( "noisy_views": ["90%-denoised", "denoised-single-blur", "double-blur"], "noise_switch": [0.01, 0.03],)"
    R"( "noisy_threshold": 0.25})";

void metadata_is_read() {
    const Defense defense = parse_defense(kJson);
    CHECK(defense.adaptive() && defense.noise_low == 0.01 && defense.noise_high == 0.03);
    CHECK(*defense.noisy_threshold == 0.25 && *defense.threshold == 0.5);
    CHECK(defense.noisy_views[0].strength == 90 && defense.noisy_views[1].passes == 1);
    CHECK(defense.noisy_views[1].denoised && !defense.noisy_views[2].denoised);

    const std::string digits(64, 'a');
    std::map<std::string, std::string> entries{
        {"blurvote.kind", "\"views\""}, {"blurvote.labels", "[]"}, {"blurvote.defense", kJson}};
    CHECK(contains(refusal([&] { parse_metadata(entries); }), "no denoiser in its blurvote.denoiser"));
    const auto with = [&](const std::string& json) {
        entries["blurvote.denoiser"] = json;
        return parse_metadata(entries);
    };
    const GuardMetadata metadata = with(R"({"name": "it", "sha256": ")" + digits + R"(", "onnx": "AP8Qkw=="})");
    CHECK(metadata.denoiser->name == "it" && metadata.denoiser->sha256 == digits);
    CHECK(metadata.denoiser->onnx == std::string("\x00\xff\x10\x93", 4));
    for (const std::string& broken : std::vector<std::string>{
             "[]", R"({"name": "it", "sha256": "aa", "onnx": "AAAA"})",
             R"({"name": "it", "sha256": ")" + digits + R"(", "onnx": "AAA"})",
             R"({"name": 1, "sha256": ")" + digits + R"(", "onnx": "AAAA"})",
             R"({"name": "it", "sha256": ")" + digits + R"("})"}) {
        CHECK(contains(refusal([&] { with(broken); }), "blurvote.denoiser is broken"));
    }
    CHECK(contains(refusal([&] { with("null"); }), "no denoiser"));
    const std::string empty = R"({"name": "it", "sha256": ")" + digits + R"(", "onnx": ""})";
    CHECK(contains(refusal([&] { with(empty); }), "no denoiser"));
}

void base64_is_decoded() {
    const std::pair<const char*, const char*> known[] = {  // RFC 4648, section 10
        {"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"Zm9vYg==", "foob"}, {"Zm9vYmFy", "foobar"}};
    for (const auto& [text, bytes] : known) CHECK(*decode_base64(text) == bytes);
    CHECK(*decode_base64("+/+/") == "\xfb\xff\xbf");
    for (const char* broken : {"Z", "Zg", "Zg=", "=", "====", "Z===", "Zg==Zg==", "Zm9 ", "Zm9\n", "Zm-_", "Zm9v="}) {
        CHECK(!decode_base64(broken));
    }
}

}  // namespace

int main() {
    every_frame_has_the_views_of_its_noise();
    the_single_view_has_its_own_slot();
    a_stream_stays_noisy_until_it_is_clearly_not();
    a_frame_whose_session_fails_leaves_no_trace();
    noise_is_reported_by_other_guards_too();
    thresholds_differ();
    mistakes_of_the_host_are_refused();
    metadata_is_read();
    base64_is_decoded();
    std::puts("all adaptive tests passed");
}
