#include "blurvote/metadata.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>

#include "json.h"

namespace blurvote {
namespace {

constexpr int kSchemaVersion = 1;
constexpr int kMaxSide = 4096;

using Type = Json::Type;

std::string shown(const Json& value) {
    switch (value.type) {
        case Type::text: return "'" + value.text + "'";
        case Type::number: return value.text;
        case Type::boolean: return value.boolean ? "true" : "false";
        case Type::null: return "null";
        case Type::object: return "an object";
        default: break;
    }
    constexpr std::size_t kShown = 10;  // enough for every list that is expected here
    std::string list;
    for (std::size_t k = 0; k < value.items.size() && k < kShown; ++k) list += (k ? ", " : "") + shown(value.items[k]);
    return "[" + list + (value.items.size() > kShown ? ", ...]" : "]");
}

// The fields of the defence, each checked as it is read; the ranges are those of Python's Defense.
class Fields {
  public:
    explicit Fields(const Json& object) : object_(object) {}

    const Json& operator[](const std::string& name) const {
        const auto& all = object_.fields;  // the last of a name counts, as in Python
        for (auto field = all.rbegin(); field != all.rend(); ++field) {
            if (field->first == name) return field->second;
        }
        throw std::invalid_argument("the defence has no field " + name);
    }

    [[noreturn]] void refuse(const std::string& name, const std::string& expected) const {
        throw std::invalid_argument("Defense." + name + " is " + shown((*this)[name]) + "; expected " + expected);
    }

    int integer(const std::string& name, int smallest, int largest) const {
        const Json& value = (*this)[name];
        if (!is_integer(value, smallest, largest)) {
            refuse(name, "an integer from " + std::to_string(smallest) + " to " + std::to_string(largest));
        }
        return static_cast<int>(value.number);
    }

    bool boolean(const std::string& name) const {
        if ((*this)[name].type != Type::boolean) refuse(name, "true or false");
        return (*this)[name].boolean;
    }

    // The index of the field's text in `choices`.
    int choice(const std::string& name, const std::vector<std::string>& choices) const {
        const Json& value = (*this)[name];
        const auto found = std::find(choices.begin(), choices.end(), value.text);
        if (value.type != Type::text || found == choices.end()) {
            std::string known;
            for (const std::string& choice : choices) known += (known.empty() ? "'" : ", '") + choice + "'";
            refuse(name, "one of " + known);
        }
        return static_cast<int>(found - choices.begin());
    }

    std::vector<int> integers(const std::string& name, int smallest, int largest, const std::string& expected) const {
        std::vector<int> values;
        if ((*this)[name].type != Type::array) refuse(name, expected);
        for (const Json& item : (*this)[name].items) {
            if (!is_integer(item, smallest, largest)) refuse(name, expected);
            values.push_back(static_cast<int>(item.number));
        }
        return values;
    }

    void three(const std::string& name, bool positive, float* out) const {
        const Json& list = (*this)[name];
        bool ok = list.type == Type::array && list.items.size() == 3;
        for (std::size_t k = 0; ok && k < 3; ++k) {
            const Json& item = list.items[k];
            // As float: other conversions are undefined, and a std that becomes 0 is none.
            ok = item.type == Type::number && std::abs(item.number) <= std::numeric_limits<float>::max() &&
                 (!positive || item.number >= static_cast<double>(std::numeric_limits<float>::min()));
            if (ok) out[k] = static_cast<float>(item.number);
        }
        if (!ok) refuse(name, positive ? "three numbers above 0" : "three finite numbers");
    }

  private:
    static bool is_integer(const Json& value, int smallest, int largest) {
        return value.type == Type::number && value.text.find_first_not_of("-0123456789") == std::string::npos &&
               value.number >= smallest && value.number <= largest;
    }

    const Json& object_;
};

void check_schema(const Json& object) {
    if (object.type != Type::object) throw std::invalid_argument("the defence is no JSON object");
    const Json& version = Fields(object)["schema_version"];
    if (version.type != Type::number || version.number != kSchemaVersion) {
        throw std::invalid_argument("the defence has schema_version " + shown(version) + "; this blurvote reads " +
                                    std::to_string(kSchemaVersion) + ": install the blurvote that wrote it");
    }
    const std::vector<std::string> known{"schema_version", "kernel_size", "sigma",  "passes", "blur_at",
                                         "border",         "antialias",   "fit",    "resize", "interpolation",
                                         "crop",           "mean",        "std",    "decision", "threshold"};
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
    const Json& threshold = fields["threshold"];
    if (threshold.type != Type::null) {
        if (threshold.type != Type::number || !(threshold.number >= 0 && threshold.number <= 1)) {
            fields.refuse("threshold", "a number from 0 to 1, or null");
        }
        if (defense.decision != Decision::mean) fields.refuse("threshold", "null: only the decision 'mean' has one");
        defense.threshold = threshold.number;
    }
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
    return metadata;
}

}  // namespace blurvote
