// Just enough of a JSON reader (RFC 8259) for a guard's metadata, so that a host needs no library.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace blurvote {

struct Json {
    enum class Type { null, boolean, number, text, array, object };

    Type type = Type::null;
    bool boolean = false;
    double number = 0;
    std::string text;                                  // of text: UTF-8; of a number: as it is written
    std::vector<Json> items;                           // of an array
    std::vector<std::pair<std::string, Json>> fields;  // of an object, in their order
};

// Throws std::invalid_argument for what is not JSON, or nests deeper than 16.
Json parse_json(const std::string& text);

}  // namespace blurvote
