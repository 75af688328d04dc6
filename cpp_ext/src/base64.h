// Base64 (RFC 4648), in which a guard's metadata holds its denoiser.
#pragma once

#include <optional>
#include <string>

namespace blurvote {

// The bytes that a text stands for, or nothing for a text that is no padded base64.
std::optional<std::string> decode_base64(const std::string& text);

}  // namespace blurvote
