// Reads the fields of a JSON object, each checked, so that what is refused is named.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "blurvote/metadata.h"
#include "json.h"

namespace blurvote {

// A value as a message shows it.
std::string shown(const Json& value);

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

    bool has(const std::string& name) const {
        const auto named = [&](const auto& field) { return field.first == name; };
        return std::any_of(object_.fields.begin(), object_.fields.end(), named);
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
        if ((*this)[name].type != Json::Type::boolean) refuse(name, "true or false");
        return (*this)[name].boolean;
    }

    // A number from 0 to 1, or null for anything but Decision::mean.
    std::optional<double> threshold(const std::string& name, Decision decision) const {
        const Json& value = (*this)[name];
        if (value.type == Json::Type::null) return std::nullopt;
        if (!is_share(value)) refuse(name, "a number from 0 to 1, or null");
        if (decision != Decision::mean) refuse(name, "null: only the decision 'mean' has one");
        return value.number;
    }

    static bool is_share(const Json& value) {
        return value.type == Json::Type::number && value.number >= 0 && value.number <= 1;
    }

    // The index of the field's text in `choices`.
    int choice(const std::string& name, const std::vector<std::string>& choices) const {
        const Json& value = (*this)[name];
        const auto found = std::find(choices.begin(), choices.end(), value.text);
        if (value.type != Json::Type::text || found == choices.end()) {
            std::string known;
            for (const std::string& choice : choices) known += (known.empty() ? "'" : ", '") + choice + "'";
            refuse(name, "one of " + known);
        }
        return static_cast<int>(found - choices.begin());
    }

    std::vector<int> integers(const std::string& name, int smallest, int largest, const std::string& expected) const {
        std::vector<int> values;
        if ((*this)[name].type != Json::Type::array) refuse(name, expected);
        for (const Json& item : (*this)[name].items) {
            if (!is_integer(item, smallest, largest)) refuse(name, expected);
            values.push_back(static_cast<int>(item.number));
        }
        return values;
    }

    void three(const std::string& name, bool positive, float* out) const {
        const Json& list = (*this)[name];
        bool ok = list.type == Json::Type::array && list.items.size() == 3;
        for (std::size_t k = 0; ok && k < 3; ++k) {
            const Json& item = list.items[k];
            // As float: other conversions are undefined, and a std that becomes 0 is none.
            ok = item.type == Json::Type::number && std::abs(item.number) <= std::numeric_limits<float>::max() &&
                 (!positive || item.number >= static_cast<double>(std::numeric_limits<float>::min()));
            if (ok) out[k] = static_cast<float>(item.number);
        }
        if (!ok) refuse(name, positive ? "three numbers above 0" : "three finite numbers");
    }

  private:
    static bool is_integer(const Json& value, int smallest, int largest) {
        return value.type == Json::Type::number && value.text.find_first_not_of("-0123456789") == std::string::npos &&
               value.number >= smallest && value.number <= largest;
    }

    const Json& object_;
};

}  // namespace blurvote
