// What a view is made of, and the names of its kinds.
#pragma once

#include <optional>
#include <string>

namespace blurvote {

constexpr int kMaxPasses = 16;

// As blurvote.runtime.view_kind.ViewKind: Gaussian passes, of the frame or of the denoised clean view,
// from which the denoiser took `strength` percent of what it finds, 1 to 100.
struct ViewKind {
    int passes = 0;
    bool denoised = false;
    int strength = 100;

    std::string name() const;  // "clean", "single-blur", "3-blur", "denoised", "70%-denoised-single-blur", ...
};

// The kind of that name, if there is one.
std::optional<ViewKind> view_kind(const std::string& name);

}  // namespace blurvote
