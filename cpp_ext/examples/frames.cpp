#include "frames.h"

#include <cctype>
#include <cstdio>
#include <stdexcept>
#include <utility>

using blurvote::Colour;

namespace {

constexpr int kEnd = std::istream::traits_type::eof();
constexpr int kMaxSide = 16384;

// Bytes of one row of pixels, or of nv12's luma; and of a whole frame.
std::ptrdiff_t row_bytes(const RawFormat& f) {
    switch (f.colour) {
        case Colour::gray:
        case Colour::nv12: return f.width;
        case Colour::yuyv: return 2 * static_cast<std::ptrdiff_t>(f.width);
        default: return 3 * static_cast<std::ptrdiff_t>(f.width);
    }
}

std::size_t frame_bytes(const RawFormat& f) {
    const std::size_t pixels = static_cast<std::size_t>(row_bytes(f)) * f.height;
    return f.colour == Colour::nv12 ? pixels + pixels / 2 : pixels;
}

}  // namespace

RawFormat parse_raw_format(const std::string& text) {
    const std::pair<const char*, Colour> names[] = {{"rgb24", Colour::rgb},
                                                    {"bgr24", Colour::bgr},
                                                    {"gray", Colour::gray},
                                                    {"nv12", Colour::nv12},
                                                    {"yuyv422", Colour::yuyv}};
    RawFormat format{};
    char pixels[16] = "", more = 0;
    const int found = std::sscanf(text.c_str(), "%5dx%5d:%15[a-z0-9]%c", &format.width, &format.height, pixels, &more);
    const int w = format.width, h = format.height;
    bool known = false;
    for (const auto& [name, colour] : names) {
        if (name == std::string(pixels)) format.colour = colour, known = true;
    }
    if (found != 3 || !known || w < 1 || h < 1 || w > kMaxSide || h > kMaxSide) {
        throw std::invalid_argument("'" + text + "' is no format of raw video; expected WIDTHxHEIGHT:PIXELS with rgb24, "
                                    "bgr24, gray, nv12 or yuyv422, such as 1280x720:nv12");
    }
    const bool pairs = format.colour == Colour::nv12 || format.colour == Colour::yuyv;
    if (pairs && (w % 2 != 0 || (format.colour == Colour::nv12 && h % 2 != 0))) {
        throw std::invalid_argument("'" + text + "': raw video of " + pixels + " has even sides");
    }
    return format;
}

// A number of a picture's header, after white space and comments, and one character after it.
int FrameReader::header_number() {
    int c = in_.get();
    while (c == '#' || std::isspace(c)) {
        if (c == '#') {
            while (c != '\n' && c != kEnd) c = in_.get();
        }
        c = in_.get();
    }
    int value = 0, digits = 0;
    for (; std::isdigit(c) && digits < 6; ++digits, c = in_.get()) value = 10 * value + (c - '0');
    if (digits == 0 || !std::isspace(c)) throw std::runtime_error("a picture's header is broken");
    return value;
}

// Reads the header of the next picture into format_; false at the end.
bool FrameReader::picture_header() {
    const int first = in_.get();
    if (first == kEnd) return false;
    const int kind = in_.get();
    if (first != 'P' || (kind != '5' && kind != '6')) {
        throw std::runtime_error("neither a PPM (P6) nor a PGM (P5) picture; for raw video give --raw WIDTHxHEIGHT:PIXELS");
    }
    format_.colour = kind == '5' ? Colour::gray : Colour::rgb;
    format_.width = header_number();
    format_.height = header_number();
    if (header_number() != 255) throw std::runtime_error("expected a picture of 8 bits per value");
    if (format_.width < 1 || format_.height < 1 || format_.width > kMaxSide || format_.height > kMaxSide) {
        throw std::runtime_error("expected a picture of 1 to " + std::to_string(kMaxSide) + " pixels a side");
    }
    return true;
}

std::optional<blurvote::FrameSpan> FrameReader::next() {
    if (raw_) {
        if (in_.peek() == kEnd) return std::nullopt;
        format_ = *raw_;
    } else if (!picture_header()) {
        return std::nullopt;
    }
    bytes_.resize(frame_bytes(format_));
    const std::streamsize wanted = static_cast<std::streamsize>(bytes_.size());
    if (!in_.read(reinterpret_cast<char*>(bytes_.data()), wanted)) {
        throw std::runtime_error("a frame is cut short: " + std::to_string(in_.gcount()) + " of " +
                                 std::to_string(wanted) + " bytes");
    }
    if (format_.colour == Colour::nv12) {
        return blurvote::nv12_span(bytes_.data(), format_.height, format_.width, row_bytes(format_));
    }
    blurvote::FrameSpan span;
    span.data = bytes_.data();
    span.height = format_.height;
    span.width = format_.width;
    span.row_stride = row_bytes(format_);
    span.colour = format_.colour;
    return span;
}
