// Frames from a stream: pictures (PPM, PGM), one after the other, or raw video of a given format.
#pragma once

#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <vector>

#include <blurvote/views.h>

// The format of raw video: WIDTHxHEIGHT:PIXELS, with FFmpeg's names rgb24, bgr24, gray, nv12 and
// yuyv422 for the pixels.
struct RawFormat {
    int width, height;
    blurvote::Colour colour;
};

// Throws std::invalid_argument.
RawFormat parse_raw_format(const std::string& text);

class FrameReader {
  public:
    // raw: none for pictures, which say their own size.
    FrameReader(std::istream& in, std::optional<RawFormat> raw) : in_(in), raw_(raw) {}

    // The next frame, in memory of the reader that is valid until the next call; none at the end.
    // Throws std::runtime_error for a frame that is cut short or not such a picture.
    std::optional<blurvote::FrameSpan> next();

  private:
    bool picture_header();
    int header_number();

    std::istream& in_;
    std::optional<RawFormat> raw_;
    RawFormat format_{};
    std::vector<std::uint8_t> bytes_;
};
