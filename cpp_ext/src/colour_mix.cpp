#include "colour_mix.h"

namespace blurvote {
namespace {

// R, G, B = luma (Y - black) + the rest times (U - 128) or (V - 128).
struct Coefficients {
    double luma, black;
    double red_v, green_u, green_v, blue_u;
};

// ITU-R BT.601 and BT.709 define luma by the shares of red and blue in it; all else follows.
Coefficients derived(double red, double blue, Range range) {
    const bool full = range == Range::full;
    const double chroma = full ? 1.0 : 255.0 / 224.0;
    const double green = 1.0 - red - blue;
    return {full ? 1.0 : 255.0 / 219.0,
            full ? 0.0 : 16.0,
            chroma * 2.0 * (1.0 - red),
            chroma * -2.0 * blue * (1.0 - blue) / green,
            chroma * -2.0 * red * (1.0 - red) / green,
            chroma * 2.0 * (1.0 - blue)};
}

// What OpenCV's COLOR_YUV2* compute: BT.601, limited, in 20 bits after the point, of constants that
// were rounded to three decimals before.
Coefficients opencv() {
    constexpr double one = 1 << 20;
    return {1220542 / one, 16.0, 1673527 / one, -409993 / one, -852492 / one, 2116026 / one};
}

Coefficients coefficients(Matrix matrix, Range range) {
    if (matrix == Matrix::bt709) return derived(0.2126, 0.0722, range);
    return range == Range::limited ? opencv() : derived(0.299, 0.114, range);
}

}  // namespace

YuvToRgb yuv_to_rgb(Matrix matrix, Range range) {
    const Coefficients k = coefficients(matrix, range);
    YuvToRgb rgb{{{k.luma, 0.0, k.red_v}, {k.luma, k.green_u, k.green_v}, {k.luma, k.blue_u, 0.0}}, {}};
    for (int c = 0; c < 3; ++c) rgb.offset[c] = -k.luma * k.black - (rgb.weight[c][1] + rgb.weight[c][2]) * 128.0;
    return rgb;
}

ColourMix colour_mix(Colour colour, Matrix matrix, Range range, const float (&mean)[3], const float (&std)[3]) {
    YuvToRgb rgb{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, {}};
    if (colour == Colour::gray) rgb = {{{1, 0, 0}, {1, 0, 0}, {1, 0, 0}}, {}};
    if (colour == Colour::nv12 || colour == Colour::yuyv) rgb = yuv_to_rgb(matrix, range);
    ColourMix result;
    for (int c = 0; c < 3; ++c) {
        const double unit = 255.0 * std[c];
        for (int s = 0; s < 3; ++s) result.mix[c][s] = static_cast<float>(rgb.weight[c][s] / unit);
        result.bias[c] = static_cast<float>(rgb.offset[c] / unit - static_cast<double>(mean[c]) / std[c]);
    }
    return result;
}

}  // namespace blurvote
