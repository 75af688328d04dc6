#include "blurvote/frame_span.h"

#include <stdexcept>
#include <string>

namespace blurvote {

FrameSpan cut(const FrameSpan& frame, int top, int left, int height, int width) {
    if (top < 0 || left < 0 || height < 1 || width < 1 || height > frame.height - top || width > frame.width - left) {
        throw std::invalid_argument("the part of " + std::to_string(height) + " x " + std::to_string(width) +
                                    " pixels from (" + std::to_string(top) + ", " + std::to_string(left) +
                                    ") on is empty or reaches beyond the frame of " + std::to_string(frame.height) +
                                    " x " + std::to_string(frame.width));
    }
    if (frame.colour == Colour::nv12 && frame.chroma == nullptr) {
        throw std::invalid_argument("an nv12 frame has no chroma plane");
    }
    FrameSpan part = frame;
    part.height = height;
    part.width = width;
    part.data += top * frame.row_stride;
    const int row = top + frame.odd_top, column = left + frame.odd_left;  // counted on the chroma's grid
    switch (frame.colour) {
        case Colour::rgb:
        case Colour::bgr: part.data += 3 * static_cast<std::ptrdiff_t>(left); break;
        case Colour::gray: part.data += left; break;
        case Colour::nv12:
            part.data += left;
            part.chroma += row / 2 * frame.chroma_stride + column / 2 * 2;
            part.odd_top = row % 2 != 0;
            part.odd_left = column % 2 != 0;
            break;
        case Colour::yuyv:
            part.data += column / 2 * 4;
            part.odd_left = column % 2 != 0;
            break;
    }
    return part;
}

FrameSpan nv12_span(const std::uint8_t* data, int height, int width, std::ptrdiff_t row_stride) {
    if (height % 2 != 0 || width % 2 != 0 || row_stride < width) {
        throw std::invalid_argument("a buffer of nv12 has even sides and rows of at least its width, not " +
                                    std::to_string(height) + " x " + std::to_string(width) + " pixels in rows of " +
                                    std::to_string(row_stride) + " bytes");
    }
    FrameSpan frame{data, height, width, row_stride, Colour::nv12};
    frame.chroma = data + height * row_stride;
    frame.chroma_stride = row_stride;
    return frame;
}

}  // namespace blurvote
