// metadata_props of onnx.ModelProto by the protobuf wire format, in which every field is a tag
// (number << 3 | wire type) and, for messages and texts, a length: the graph is skipped unread.
#include <cstdint>
#include <istream>
#include <sstream>
#include <stdexcept>

#include "blurvote/metadata.h"

namespace blurvote {
namespace {

constexpr std::uint64_t kMetadataProps = 14;  // of ModelProto, onnx.proto3; key = 1 and value = 2 therein
constexpr std::uint64_t kLongestEntry = std::uint64_t{1} << 26;
constexpr std::uint64_t kLongestFile = std::uint64_t{1} << 48;

[[noreturn]] void refuse() {
    throw std::invalid_argument("not an ONNX file: its protobuf fields cannot be followed to the end");
}

std::uint64_t varint(std::istream& in) {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        const int byte = in.get();
        if (byte == std::istream::traits_type::eof()) refuse();
        value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    refuse();
}

void skip(std::istream& in, std::uint64_t bytes) {
    if (bytes == 0) return;
    if (bytes > kLongestFile) refuse();  // more would overflow the stream's own sums
    // One short, and then a read: seeking past the end is no error, reading there is.
    in.seekg(static_cast<std::streamoff>(bytes - 1), std::ios::cur);
    if (in.get() == std::istream::traits_type::eof()) refuse();
}

std::string text(std::istream& in, std::uint64_t bytes) {
    if (bytes > kLongestEntry) refuse();
    std::string value(static_cast<std::size_t>(bytes), '\0');
    if (!in.read(value.data(), static_cast<std::streamsize>(bytes))) refuse();
    return value;
}

// Calls take(field, length) at each length-delimited field; take consumes its bytes.
template <typename Take>
void each_field(std::istream& in, const Take& take) {
    while (in.peek() != std::istream::traits_type::eof()) {
        const std::uint64_t tag = varint(in);
        switch (tag & 7) {
            case 0: varint(in); break;
            case 1: skip(in, 8); break;
            case 2: take(tag >> 3, varint(in)); break;
            case 5: skip(in, 4); break;
            default: refuse();
        }
    }
}

}  // namespace

std::map<std::string, std::string> read_onnx_metadata(std::istream& file) {
    if (!file) throw std::invalid_argument("the ONNX file cannot be read: its stream is not open, or has failed");
    std::map<std::string, std::string> entries;
    each_field(file, [&](std::uint64_t field, std::uint64_t length) {
        if (field != kMetadataProps) return skip(file, length);
        std::istringstream entry(text(file, length));
        std::string key, value;
        each_field(entry, [&](std::uint64_t part, std::uint64_t bytes) {
            if (part != 1 && part != 2) return skip(entry, bytes);
            (part == 1 ? key : value) = text(entry, bytes);
        });
        entries[key] = value;
    });
    // Reading stops at an error as it does at the end: of a folder, or of a disk that went away.
    if (file.bad()) throw std::invalid_argument("the ONNX file cannot be read to its end");
    return entries;
}

}  // namespace blurvote
