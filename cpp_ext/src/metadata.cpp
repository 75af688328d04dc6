#include "blurvote/metadata.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>

#include "base64.h"
#include "fields.h"
#include "json.h"

namespace blurvote {
namespace {

constexpr int kSchemaVersion = 1, kSchemaVersionDenoised = 2;  // 2 alone needs the fields of noisy frames
constexpr int kMaxSide = 4096;

using Type = Json::Type;

void check_schema(const Json& object) {
    if (object.type != Type::object) throw std::invalid_argument("the defence is no JSON object");
    const Json& version = Fields(object)["schema_version"];
    const bool known_version = version.number == kSchemaVersion || version.number == kSchemaVersionDenoised;
    if (version.type != Type::number || !known_version) {
        throw std::invalid_argument("the defence has schema_version " + shown(version) + "; this blurvote reads " +
                                    std::to_string(kSchemaVersion) + " and " + std::to_string(kSchemaVersionDenoised) +
                                    ": install the blurvote that wrote it");
    }
    const std::vector<std::string> known{
        "schema_version", "kernel_size", "sigma",     "passes",      "blur_at",      "border",
        "antialias",      "fit",         "resize",    "interpolation", "crop",       "mean",
        "std",            "decision",    "threshold", "noisy_views", "noise_switch", "noisy_threshold"};
    for (const auto& field : object.fields) {
        if (std::find(known.begin(), known.end(), field.first) == known.end()) {
            throw std::invalid_argument("the defence has an unknown field: " + field.first);
        }
    }
}

Geometry read_geometry(const Fields& fields) {
    Geometry g;
    g.kernel_size = fields.integer("kernel_size", 3, 31);
    if (g.kernel_size % 2 == 0) fields.refuse("kernel_size", "an odd integer from 3 to 31");
    const Json& sigma = fields["sigma"];
    g.sigma = sigma.number;
    if (sigma.type != Type::number || !(g.sigma >= 0.01 && g.sigma <= 100)) {
        fields.refuse("sigma", "a number from 0.01 to 100, in pixels");
    }
    const std::string increasing = "1 to 8 strictly increasing integers from 0 to 16";
    g.passes = fields.integers("passes", 0, 16, increasing);
    const bool falls = std::adjacent_find(g.passes.begin(), g.passes.end(), std::greater_equal<>()) != g.passes.end();
    if (g.passes.empty() || g.passes.size() > 8 || falls) fields.refuse("passes", increasing);
    g.blur_at = static_cast<BlurAt>(fields.choice("blur_at", {"frame", "model"}));
    g.antialias = fields.boolean("antialias");
    g.interpolation = static_cast<Interpolation>(fields.choice("interpolation", {"bilinear", "bicubic"}));
    g.fit = static_cast<Fit>(fields.choice("fit", {"crop", "stretch"}));
    g.resize = fields.integer("resize", 1, kMaxSide);
    const std::string two = "two integers (height, width) from 1 to " + std::to_string(kMaxSide);
    const std::vector<int> crop = fields.integers("crop", 1, kMaxSide, two);
    if (crop.size() != 2) fields.refuse("crop", two);
    g.crop_h = crop[0];
    g.crop_w = crop[1];
    if (g.fit == Fit::crop && std::min(g.crop_h, g.crop_w) > g.resize) {
        fields.refuse("crop", "at least one side no longer than resize = " + std::to_string(g.resize));
    }
    return g;
}

// The fields of noisy frames; the rest of the defence is read already.
void read_noisy(const Fields& fields, Defense& defense) {
    const std::vector<int>& passes = defense.spec.geometry.passes;
    std::vector<ViewKind>& kinds = defense.noisy_views;
    const Json& names = fields["noisy_views"];
    const std::string expected = "no names, or " + std::to_string(passes.size()) + " different ones, as many as passes";
    if (names.type != Type::array) fields.refuse("noisy_views", expected);
    for (const Json& name : names.items) {
        if (name.type != Type::text) fields.refuse("noisy_views", expected);
        const std::optional<ViewKind> kind = view_kind(name.text);
        if (!kind) fields.refuse("noisy_views", "names of views; none is called " + shown(name));
        for (const ViewKind& other : kinds) {
            if (other.name() == name.text) fields.refuse("noisy_views", expected);
        }
        kinds.push_back(*kind);
    }
    if (!kinds.empty() && kinds.size() != passes.size()) fields.refuse("noisy_views", expected);
    const auto denoised = [](const ViewKind& kind) { return kind.denoised; };
    if (!kinds.empty() && std::none_of(kinds.begin(), kinds.end(), denoised)) {
        fields.refuse("noisy_views", "at least one view that is denoised, such as 'denoised'");
    }
    if (!kinds.empty() && passes[0] != 0) fields.refuse("passes", "0 first: the clean view is what is denoised");
    for (const ViewKind& kind : kinds) {
        if (!kind.denoised && std::find(passes.begin(), passes.end(), kind.passes) == passes.end()) {
            fields.refuse("noisy_views", "views that are denoised or among passes");
        }
    }
    const Json& limits = fields["noise_switch"];
    const bool two = limits.type == Type::array && limits.items.size() == 2 && Fields::is_share(limits.items[0]) &&
                     Fields::is_share(limits.items[1]);
    if (!two || limits.items[0].number > limits.items[1].number) {
        fields.refuse("noise_switch", "two noise levels (low, high) with 0 <= low <= high <= 1");
    }
    defense.noise_low = limits.items[0].number;
    defense.noise_high = limits.items[1].number;
    defense.noisy_threshold = fields.threshold("noisy_threshold", defense.decision);
    if (defense.noisy_threshold && kinds.empty()) {
        fields.refuse("noisy_threshold", "null: without noisy_views no frame is noisy");
    }
}

std::optional<DenoiserEntry> read_denoiser(const std::map<std::string, std::string>& entries) {
    const auto found = entries.find("blurvote.denoiser");
    if (found == entries.end()) return std::nullopt;
    const Json object = parse_json(found->second);
    if (object.type == Type::null) return std::nullopt;
    bool whole = true;
    const auto text = [&](const char* name) -> std::string {
        for (auto field = object.fields.rbegin(); field != object.fields.rend(); ++field) {
            if (field->first == name && field->second.type == Type::text) return field->second.text;
        }
        whole = false;
        return {};
    };
    const std::string name = text("name"), sha256 = text("sha256");
    const std::optional<std::string> onnx = decode_base64(text("onnx"));
    const bool hex = sha256.size() == 64 && sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!whole || !onnx || !hex) {
        throw std::invalid_argument(
            "the guard's entry blurvote.denoiser is broken; expected an object of name, sha256 (64 hex digits) and "
            "onnx (base64): export it again");
    }
    return DenoiserEntry{name, sha256, *onnx};
}

const std::string& entry(const std::map<std::string, std::string>& entries, const std::string& key) {
    const auto found = entries.find(key);
    if (found == entries.end()) {
        throw std::invalid_argument("not a guard: its ONNX metadata has no " + key +
                                    " entry; turn the model into a guard by blurvote export");
    }
    return found->second;
}

}  // namespace

int Defense::first_view() const noexcept {
    if (decision != Decision::single) return 0;
    const std::vector<int>& passes = spec.geometry.passes;
    return static_cast<int>(std::find(passes.begin(), passes.end(), 1) - passes.begin());
}

int Defense::last_view() const noexcept {
    return decision == Decision::single ? first_view() + 1 : static_cast<int>(spec.geometry.passes.size());
}

Defense parse_defense(const std::string& json) {
    const Json object = parse_json(json);
    check_schema(object);
    const Fields fields(object);
    Defense defense;
    defense.spec.geometry = read_geometry(fields);
    fields.choice("border", {"reflect"});
    fields.three("mean", false, defense.spec.mean);
    fields.three("std", true, defense.spec.std);
    defense.decision = static_cast<Decision>(fields.choice("decision", {"majority", "single", "mean"}));
    const std::vector<int>& passes = defense.spec.geometry.passes;
    if (defense.decision == Decision::single && std::find(passes.begin(), passes.end(), 1) == passes.end()) {
        fields.refuse("passes", "a view of one pass, which the decision 'single' uses");
    }
    defense.threshold = fields.threshold("threshold", defense.decision);
    const bool noisy = fields.has("noisy_views") || fields.has("noise_switch") || fields.has("noisy_threshold");
    if (noisy || fields["schema_version"].number == kSchemaVersionDenoised) read_noisy(fields, defense);
    return defense;
}

GuardMetadata parse_metadata(const std::map<std::string, std::string>& entries) {
    GuardMetadata metadata;
    metadata.defense = parse_defense(entry(entries, "blurvote.defense"));
    const Json kind = parse_json(entry(entries, "blurvote.kind"));
    if (kind.type != Type::text || kind.text != "views") {
        throw std::invalid_argument("the guard is of kind " + shown(kind) +
                                    "; expected 'views' (a guard of 'frames' is run as it is: frames in, labels out)");
    }
    const Json labels = parse_json(entry(entries, "blurvote.labels"));
    if (labels.type != Type::array) {
        throw std::invalid_argument("the guard's labels are " + shown(labels) + "; expected a list of texts");
    }
    for (const Json& label : labels.items) {
        if (label.type != Type::text) {
            throw std::invalid_argument("the guard's label " + std::to_string(metadata.labels.size()) + " is " +
                                        shown(label) + "; expected a text");
        }
        metadata.labels.push_back(label.text);
    }
    metadata.denoiser = read_denoiser(entries);
    if (metadata.defense.adaptive() && (!metadata.denoiser || metadata.denoiser->onnx.empty())) {
        throw std::invalid_argument("the guard has views of noisy frames and no denoiser in its blurvote.denoiser "
                                    "entry; export it again with --denoiser");
    }
    return metadata;
}

}  // namespace blurvote
