#include "fields.h"

namespace blurvote {

std::string shown(const Json& value) {
    switch (value.type) {
        case Json::Type::text: return "'" + value.text + "'";
        case Json::Type::number: return value.text;
        case Json::Type::boolean: return value.boolean ? "true" : "false";
        case Json::Type::null: return "null";
        case Json::Type::object: return "an object";
        default: break;
    }
    constexpr std::size_t kShown = 10;  // enough for every list that is expected here
    std::string list;
    for (std::size_t k = 0; k < value.items.size() && k < kShown; ++k) list += (k ? ", " : "") + shown(value.items[k]);
    return "[" + list + (value.items.size() > kShown ? ", ...]" : "]");
}

}  // namespace blurvote
