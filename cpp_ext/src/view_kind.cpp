#include "blurvote/view_kind.h"

#include <cstdlib>

namespace blurvote {
namespace {

constexpr const char* kDenoised = "denoised";

std::string blur_name(int passes) {
    switch (passes) {
        case 0: return "clean";
        case 1: return "single-blur";
        case 2: return "double-blur";
        default: return std::to_string(passes) + "-blur";
    }
}

}  // namespace

std::string ViewKind::name() const {
    if (!denoised) return blur_name(passes);
    const std::string part = strength == 100 ? kDenoised : std::to_string(strength) + "%-" + kDenoised;
    return passes == 0 ? part : part + "-" + blur_name(passes);
}

std::optional<ViewKind> view_kind(const std::string& name) {
    ViewKind kind;
    const std::size_t at = name.find(kDenoised);
    if (at != std::string::npos) {
        kind.denoised = true;
        // Read leniently: only a name that is written just so is one.
        if (at > 0) kind.strength = std::atoi(name.substr(0, at < 3 ? at : 3).c_str());
        if (kind.strength < 1 || kind.strength > 100) return std::nullopt;
    }
    for (kind.passes = 0; kind.passes <= kMaxPasses; ++kind.passes) {
        if (kind.name() == name) return kind;
    }
    return std::nullopt;
}

}  // namespace blurvote
