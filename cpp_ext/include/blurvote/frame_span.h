// A frame in memory, in the pixel formats that cameras deliver.
#pragma once

#include <cstddef>
#include <cstdint>

namespace blurvote {

// rgb, bgr  3 interleaved bytes per pixel
// gray      1 byte per pixel, made R = G = B as it is
// nv12      a plane of luma, 1 byte per pixel, and one of U V pairs, a pair for every 2 x 2 pixels
// yuyv      Y U Y V for every 2 x 1 pixels (YUY2)
enum class Colour { rgb, bgr, gray, nv12, yuyv };

// How nv12 and yuyv mean R, G, B. OpenCV knows BT.601 in the limited range (luma 16..235) alone.
enum class Matrix { bt601, bt709 };
enum class Range { limited, full };

// Rows may lie any distance apart (cropped slices, padded buffers, negative strides of flipped
// frames), and the chroma of nv12 anywhere. A chroma sample stands for all its pixels, as in
// OpenCV's conversion. Sides may be odd: the last chroma samples then have one pixel less.
struct FrameSpan {
    const std::uint8_t* data = nullptr;
    int height = 0;
    int width = 0;
    std::ptrdiff_t row_stride = 0;  // bytes
    Colour colour = Colour::rgb;

    const std::uint8_t* chroma = nullptr;  // nv12 only
    std::ptrdiff_t chroma_stride = 0;      // bytes
    Matrix matrix = Matrix::bt601;         // nv12 and yuyv
    Range range = Range::limited;

    // Whether the first row (nv12) or column (nv12, yuyv) is the second of the two that share chroma
    // samples, as in a part cut out at an odd place. `data` of yuyv is where the first Y U Y V is.
    bool odd_top = false, odd_left = false;
};

// The part of a frame whose first pixel is (top, left). Shares its memory. Throws
// std::invalid_argument for a part that is empty or reaches beyond the frame, or nv12 without chroma.
FrameSpan cut(const FrameSpan& frame, int top, int left, int height, int width);

// The plain buffer of an nv12 frame, whose chroma follows its luma at once, as OpenCV takes it.
// Throws std::invalid_argument for an odd side (cut a part with one out of it) and for rows that overlap.
FrameSpan nv12_span(const std::uint8_t* data, int height, int width, std::ptrdiff_t row_stride);

// R, G, B in 0..255 are offset + weight times Y, U, V in 0..255; beyond it where the colour is.
struct YuvToRgb {
    double weight[3][3];
    double offset[3];
};
YuvToRgb yuv_to_rgb(Matrix matrix, Range range);

}  // namespace blurvote
