// Tests of guarded inference without an engine: a scripted session stands in for it.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "blurvote/guard.h"
#include "blurvote/metadata.h"
#include "json.h"
#include "check.h"

using namespace blurvote;

namespace {

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();

const std::string kJson =
    R"({"schema_version": 1, "kernel_size": 7, "sigma": 1.5, "passes": [0, 1, 3], "blur_at": "model",)"
    R"( "border": "reflect", "antialias": false, "interpolation": "bicubic", "fit": "crop", "resize": 20,)"
    R"( "crop": [16, 18], "mean": [0.5, 0.25, 0], "std": [1, 0.5, 2e-1], "decision": "majority",)"
    R"( "threshold": null})";

std::string with(const std::string& old, const std::string& fresh) {
    std::string json = kJson;
    const std::size_t at = json.find(old);
    CHECK(at != std::string::npos);
    return json.replace(at, old.size(), fresh);
}

void defences_are_read() {
    const Defense d = parse_defense(kJson);
    const Geometry& g = d.spec.geometry;
    CHECK(g.kernel_size == 7 && g.sigma == 1.5 && g.passes == (std::vector<int>{0, 1, 3}));
    CHECK(g.blur_at == BlurAt::model && !g.antialias && g.interpolation == Interpolation::bicubic);
    CHECK(g.fit == Fit::crop && g.resize == 20 && g.crop_h == 16 && g.crop_w == 18);
    CHECK(d.spec.mean[1] == 0.25f && d.spec.std[2] == 0.2f);
    CHECK(d.decision == Decision::majority && !d.threshold && d.first_view() == 0 && d.last_view() == 3);
    const Defense single = parse_defense(with("majority", "single"));
    CHECK(single.first_view() == 1 && single.last_view() == 2);
    const Defense mean = parse_defense(with("\"majority\", \"threshold\": null", "\"mean\", \"threshold\": 0.75"));
    CHECK(mean.decision == Decision::mean && *mean.threshold == 0.75);
}

void broken_defences_are_refused() {
    const struct { const char *old, *fresh, *said; } cases[] = {
        {"\"schema_version\": 1", "\"schema_version\": 3", "schema_version 3; this blurvote reads 1 and 2"},
        {"\"schema_version\": 1", "\"schema_version\": 2", "the defence has no field noisy_views"},
        {"\"kernel_size\": 7", "\"kernel_size\": 6", "Defense.kernel_size is 6; expected an odd integer"},
        {"\"kernel_size\": 7", "\"kernel_size\": 7.5", "Defense.kernel_size is 7.5; expected an integer from 3 to 31"},
        {"\"sigma\": 1.5", "\"sigma\": 0", "Defense.sigma is 0; expected a number from 0.01"},
        {"[0, 1, 3]", "[0, 3, 3]", "Defense.passes is [0, 3, 3]; expected 1 to 8 strictly increasing"},
        {"[0, 1, 3]", "[]", "Defense.passes is []"},
        {"[0, 1, 3]", "1", "Defense.passes is 1"},
        {"\"model\"", "\"both\"", "Defense.blur_at is 'both'; expected one of 'frame', 'model'"},
        {"\"reflect\"", "\"zero\"", "Defense.border is 'zero'"},
        {"false", "0", "Defense.antialias is 0; expected true or false"},
        {"[16, 18]", "[21, 22]", "Defense.crop is [21, 22]; expected at least one side no longer than resize = 20"},
        {"[16, 18]", "[16]", "Defense.crop is [16]; expected two integers"},
        {"[0.5, 0.25, 0]", "[0.5, 0.25]", "Defense.mean is [0.5, 0.25]; expected three finite numbers"},
        {"[1, 0.5, 2e-1]", "[1, 0.5, 0]", "Defense.std is [1, 0.5, 0]; expected three numbers above 0"},
        {"null", "0.5", "Defense.threshold is 0.5; expected null"},
        {"[1, 0.5, 2e-1]", "[1, 0.5, 1e-60]", "Defense.std is [1, 0.5, 1e-60]; expected three numbers above 0"},
        {"[0.5, 0.25, 0]", "[0.5, 0.25, 1e300]", "Defense.mean is [0.5, 0.25, 1e300]; expected three finite numbers"},
        {"[0, 1, 3]", "[9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]", "Defense.passes is [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, ...]"},
        {"\"resize\": 20,", "\"resize\": 20, \"resize\": 0,", "Defense.resize is 0"},  // as Python: the last counts
        {"\"resize\": 20,", "", "the defence has no field resize"},
        {"\"resize\": 20,", "\"resize\": 20, \"size\": 1,", "unknown field: size"},
        {"null}", "null", "not valid JSON"},
        {"null}", "null} x", "not valid JSON: more follows"},
    };
    for (const auto& c : cases) CHECK(contains(refusal([&] { parse_defense(with(c.old, c.fresh)); }), c.said));
    CHECK(contains(refusal([] { parse_defense("[1]"); }), "no JSON object"));
    const std::string alone = with("[0, 1, 3]", "[0, 2]");
    CHECK(contains(refusal([&] { parse_defense(std::string(alone).replace(alone.find("majority"), 8, "single")); }),
                   "expected a view of one pass"));
    for (std::size_t n = 0; n < kJson.size(); ++n) CHECK(!refusal([&] { parse_defense(kJson.substr(0, n)); }).empty());
}

void texts_are_unescaped() {
    CHECK(parse_json(R"("a\"\\\/\b\n\u00e9\u20AC\ud83d\ude00")").text == "a\"\\/\b\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    for (const char* broken : {R"("\ud83d")", R"("\ud83dx")", R"("\ude00")", R"("\u12g4")", R"("\x")", "\"\n\"", "\"", "",
                               "tru", "1e999", "--1", "+1", "01", ".5", "1.", "1e", "1e+", "-", "0x10", "NaN",
                               "Infinity", "{1: 2}", "[1 2]", "[1,]"}) {
        CHECK(!refusal([&] { parse_json(broken); }).empty());
    }
    CHECK(contains(refusal([] { parse_json(std::string(100000, '[')); }), "nests too deeply"));
    CHECK(parse_json("-0.5e+1").number == -5 && parse_json(" 0 ").number == 0 && parse_json("1e-400").number == 0);
}

std::string field(int number, const std::string& bytes) {
    std::string out(1, static_cast<char>(number << 3 | 2));
    std::size_t n = bytes.size();
    for (; n >= 128; n >>= 7) out += static_cast<char>(n | 128);
    return out + static_cast<char>(n) + bytes;
}

void metadata_is_found_in_files() {
    const std::string labels = R"(["cat", "na\u00efve \"dog\""])";
    std::string file = "\x08\x0a" + field(2, "pytorch") + field(7, std::string(70000, 'w'));
    for (const auto& [key, value] : std::map<std::string, std::string>{
             {"blurvote.kind", "\"views\""}, {"blurvote.defense", kJson}, {"blurvote.labels", labels}}) {
        file += field(14, field(1, key) + field(2, value));
    }
    std::istringstream in(file);
    const auto entries = read_onnx_metadata(in);
    const GuardMetadata metadata = parse_metadata(entries);
    CHECK(metadata.labels == (std::vector<std::string>{"cat", "na\xc3\xafve \"dog\""}));
    CHECK(metadata.defense.spec.geometry.kernel_size == 7);

    auto frames = entries;
    frames["blurvote.kind"] = "\"frames\"";
    CHECK(contains(refusal([&] { parse_metadata(frames); }), "kind 'frames'; expected 'views'"));
    CHECK(contains(refusal([] { parse_metadata({}); }), "not a guard: its ONNX metadata has no blurvote.defense"));
    auto numbers = entries;
    numbers["blurvote.labels"] = "[1]";
    CHECK(contains(refusal([&] { parse_metadata(numbers); }), "label 0 is 1; expected a text"));
    numbers["blurvote.labels"] = "{}";
    CHECK(contains(refusal([&] { parse_metadata(numbers); }), "labels are an object; expected a list of texts"));
    // A file cut short is refused, unless it is cut between two fields: then it is another file.
    for (std::size_t n = 0; n < file.size(); n += n < 70100 && n > 40 ? 997 : 1) {
        std::istringstream cut(file.substr(0, n));
        const std::string said = refusal([&] { parse_metadata(read_onnx_metadata(cut)); });
        CHECK(contains(said, "not an ONNX file") || contains(said, "not a guard"));
    }
}

void hostile_files_are_refused() {
    const auto refused = [](const std::string& bytes) {
        std::istringstream in(bytes);
        return refusal([&] { read_onnx_metadata(in); });
    };
    const std::string most = std::string(9, '\xff') + '\x01';  // the varint 2^64 - 1
    for (const std::string& bytes : {
             "\x3a" + most,                                        // a graph of that length
             "\x3a" + std::string(8, '\xff') + '\x7f' + "graph",    // of 2^63 - 1
             "\x72" + most,                                        // an entry of that length
             "\x72" + std::string("\xff\xff\xff\x1f"),             // of 64 MB, which is the most
             "\x72\x0c\x0a" + most + "k",                          // a key longer than its entry
             std::string(10, '\xff') + '\x01',                     // a varint of 11 bytes
             std::string("\x08"),                                  // and one of none
             std::string("\x0b\x0c"),                              // groups, which ONNX has not
             std::string("\x09\x01\x02"),                          // a fixed64 cut short
         }) {
        CHECK(contains(refused(bytes), "not an ONNX file"));
    }
    CHECK(refused(field(14, field(3, "of a later ONNX") + field(1, "a"))).empty());

    std::ifstream absent("/absent/guard.onnx", std::ios::binary), folder("/", std::ios::binary);
    CHECK(contains(refusal([&] { read_onnx_metadata(absent); }), "cannot be read: its stream is not open"));
    CHECK(contains(refusal([&] { read_onnx_metadata(folder); }), "cannot be read"));
}

// Hands out given logits, whatever the views are; notes which views it was asked for.
class Scripted : public Session {
  public:
    Scripted(std::vector<float> logits, std::size_t classes, std::size_t floats)
        : logits_(std::move(logits)), classes_(classes), views_(kMaxViews * floats) {}
    std::size_t classes() const override { return classes_; }
    void pretend_classes(std::size_t classes) { classes_ = classes; }
    float* input(int) override { return views_.data(); }
    const float* run(int count) override {
        const float* rows = logits_.data() + ran * classes_;
        ran += count;
        return rows;
    }
    std::size_t ran = 0;

  private:
    std::vector<float> logits_;
    std::size_t classes_;
    std::vector<float> views_;
};

Verdict judge(const Defense& defense, Plan plan, const std::vector<float>& logits, std::size_t classes) {
    const Geometry& g = defense.spec.geometry;
    Scripted session(logits, classes, 3u * g.crop_h * g.crop_w);
    Guard guard(defense, session, plan);
    const std::vector<std::uint8_t> pixels(3 * 24 * 30, 77);
    const Verdict verdict = guard.classify({pixels.data(), 24, 30, 3 * 30, Colour::bgr});
    CHECK(session.ran == static_cast<std::size_t>(verdict.views_run));
    return verdict;
}

void both_plans_reach_the_same_verdict() {
    std::mt19937 random(1);
    long saved = 0;
    for (int round = 0; round < 800; ++round) {
        Defense defense = parse_defense(kJson);
        const std::size_t views = 3 + random() % 5, classes = 1 + random() % 4;
        defense.spec.geometry.passes.clear();
        for (std::size_t v = 0; v < views; ++v) defense.spec.geometry.passes.push_back(static_cast<int>(v));
        std::vector<float> logits(views * classes);
        for (float& x : logits) {
            const unsigned kind = random() % 24;
            x = kind == 0 ? kNan : kind == 1 ? -kInf : kind == 2 ? kInf : static_cast<float>(random() % 5);
        }
        const Verdict batched = judge(defense, Plan::batched, logits, classes);
        const Verdict cascade = judge(defense, Plan::cascade, logits, classes);
        CHECK(batched.views_run == static_cast<int>(views) && cascade.views_run > static_cast<int>(views) / 2);
        CHECK(batched.label == cascade.label && batched.reason == cascade.reason);
        CHECK(batched.confidence == cascade.confidence);
        for (int v = 0; v < cascade.views_run; ++v) CHECK(batched.view_labels[v] == cascade.view_labels[v]);
        saved += static_cast<long>(views) - cascade.views_run;
    }
    CHECK(saved > 250);
}

void verdicts() {
    Defense defense = parse_defense(kJson);
    Verdict v = judge(defense, Plan::cascade, {0, 2, 0, 1, 5, 0}, 2);
    CHECK(v.label == 1 && v.reason == Rejection::none && v.views_run == 2 && v.count == 2);
    CHECK(std::abs(*v.confidence - (1 / (1 + std::exp(-2.0)) + 1 / (1 + std::exp(-1.0))) / 2) < 1e-6);
    v = judge(defense, Plan::batched, {1, 0, 0, 0, 1, 0, 0, 0, 1}, 3);
    CHECK(v.label == kRejected && v.reason == Rejection::no_majority && !v.confidence && v.count == 1);
    v = judge(defense, Plan::batched, {kNan, 0, -kInf, -kInf, 0, 1}, 2);
    CHECK(v.label == kRejected && v.reason == Rejection::invalid_views && v.view_labels[2] == 1);
    CHECK(std::string(rejection_name(v.reason)) == "invalid_views");

    defense.decision = Decision::single;
    v = judge(defense, Plan::batched, {0, 3}, 2);
    CHECK(v.label == 1 && v.views_run == 1);

    defense.decision = Decision::mean;
    CHECK(contains(refusal([&] { judge(defense, Plan::batched, {0}, 1); }), "has no threshold"));
    defense.threshold = 0.6;
    CHECK(contains(refusal([&] { judge(defense, Plan::cascade, {0}, 1); }), "averages over all views"));
    // Softmax (1, 0), (0, 1) and, of the view with two infinities, (1/2, 1/2); a fourth is invalid.
    v = judge(defense, Plan::batched, {100, 0, 0, 100, kInf, kInf}, 2);
    CHECK(v.label == kRejected && v.reason == Rejection::low_confidence && *v.confidence == 0.5);
    v = judge(defense, Plan::batched, {kNan, 0, 0, 100, kInf, kInf}, 2);
    CHECK(v.label == 1 && *v.confidence == 0.75);
    v = judge(defense, Plan::batched, {kNan, 0, kNan, 0, kNan, 0}, 2);
    CHECK(v.reason == Rejection::invalid_views && !v.confidence);

    defense.decision = Decision::majority;
    defense.threshold.reset();
    defense.spec.geometry.passes = {0, 1};
    CHECK(contains(refusal([&] { judge(defense, Plan::cascade, {0}, 1); }), "fewer than three views"));
    CHECK(contains(refusal([&] { judge(defense, Plan::batched, {}, 0); }), "no classes"));

    // The label that is likeliest on average need not be the one that most views voted for.
    defense = parse_defense(kJson);
    defense.decision = Decision::mean;
    defense.threshold = 0.4;
    v = judge(defense, Plan::batched, {0.1f, 0, 0.1f, 0, 0, 50}, 2);
    CHECK(v.label == 1 && v.count == 1 && v.view_labels[kMaxViews - 1] == kRejected);
}

void mistakes_of_the_host_are_refused() {
    const Defense good = parse_defense(kJson);
    const auto refused = [](const Defense& defense, int threads = 1) {
        Scripted session({}, 2, 3 * 16 * 18);
        return refusal([&] { Guard(defense, session, Plan::batched, threads); });
    };
    CHECK(refused(good).empty());
    CHECK(contains(refused(good, 0), "threads is 0; expected 1 or more"));
    Defense defense = good;
    defense.threshold = 0.5;
    CHECK(contains(refused(defense), "only the decision 'mean' has one"));
    defense.decision = Decision::mean;
    CHECK(refused(defense).empty());
    for (const double threshold : {static_cast<double>(kNan), -0.1, 1.1}) {
        defense.threshold = threshold;
        CHECK(contains(refused(defense), "expected a number from 0 to 1"));
        CHECK(contains(refusal([&] { decide(defense, nullptr, 1, 2); }), "expected a number from 0 to 1"));
    }
    defense = good;
    defense.decision = Decision::single;
    defense.spec.geometry.passes = {0, 2};
    CHECK(contains(refused(defense), "the view of one pass"));
    defense.spec.geometry.passes.clear();
    CHECK(contains(refused(defense), "1 to 8 views"));
    CHECK(contains(refusal([&] { decide(good, nullptr, 4, 2); }), "4 views ran; expected 1 to 3"));

    Scripted session({0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}, 2, 3 * 16 * 18);
    Guard first(good, session, Plan::batched);
    const std::vector<std::uint8_t> pixels(3 * 24 * 30, 77);
    CHECK(contains(refusal([&] { first.classify({nullptr, 24, 30, 90, Colour::bgr}); }), "without data, 24 x 30"));
    CHECK(contains(refusal([&] { first.classify({pixels.data(), 0, 30, 90, Colour::bgr}); }), "has 0 x 30 pixels"));
    CHECK(contains(refusal([&] { first.classify({pixels.data(), 24, -1, 90, Colour::bgr}); }), "has 24 x -1 pixels"));
    session.pretend_classes(1000000);  // after the guard made room for 2: those are read, no more
    std::vector<Guard> guards;
    guards.push_back(std::move(first));
    CHECK(guards[0].classify({pixels.data(), 24, 30, 90, Colour::bgr}).label == 1);
}

}  // namespace

int main() {
    defences_are_read();
    broken_defences_are_refused();
    texts_are_unescaped();
    metadata_is_found_in_files();
    both_plans_reach_the_same_verdict();
    verdicts();
    hostile_files_are_refused();
    mistakes_of_the_host_are_refused();
    std::puts("all guard tests passed");
}
