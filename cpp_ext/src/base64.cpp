#include "base64.h"

#include <array>
#include <cstdint>

namespace blurvote {

std::optional<std::string> decode_base64(const std::string& text) {
    static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::array<std::int8_t, 256> values;
    values.fill(-1);
    for (int k = 0; k < 64; ++k) values[static_cast<unsigned char>(kAlphabet[k])] = static_cast<std::int8_t>(k);

    if (text.size() % 4 != 0) return std::nullopt;
    std::size_t end = text.size();
    for (int padding = 0; padding < 2 && end > 0 && text[end - 1] == '='; ++padding) --end;
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    std::uint32_t buffer = 0;
    int bits = 0;
    for (std::size_t k = 0; k < end; ++k) {
        const int value = values[static_cast<unsigned char>(text[k])];
        if (value < 0) return std::nullopt;
        buffer = buffer << 6 | static_cast<std::uint32_t>(value);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes += static_cast<char>(buffer >> bits & 0xff);
    }
    return bytes;
}

}  // namespace blurvote
