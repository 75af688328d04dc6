// The noise of a frame, estimated from the frame alone while its views are built.
//
// Immerkaer's estimate (Fast noise variance estimation, CVIU 1996), on some rows and made robust: the
// mean magnitude of the response to the mask 1 -2 1, -2 4 -2, 1 -2 1, which no plane and no straight
// edge along an axis answers, over segments of 32 pixels; of those that are hardly saturated, the
// quartile of least response, where there is least texture. All sums are integers, so that every
// instruction set, number of threads and block size gives the same.
#pragma once

#include <cstdint>
#include <vector>

#include "blurvote/bands.h"
#include "blurvote/frame_span.h"

namespace blurvote {

constexpr int kNoiseEvery = 8;    // view rows from one sampled row to the next; the first is half as far in
constexpr int kNoiseSegment = 32;  // pixels

// Where a frame is sampled, and what the resize leaves of its noise.
struct NoiseGrid {
    std::vector<int> rows;  // of the frame, the masks' middle ones: view row 4, 12, ...; see noise_grid
    int begin = 0;          // pixel before the first response's centre
    int segments = 0;       // of each row; 0 where there is no estimate
    double gain = 1.0;      // level of white noise in the clean view by that in the frame
};

// The grid of a frame whose first view, of no passes, has these matrices. Frames of fewer than three
// rows, or whose view sees fewer than 34 columns, have no estimate.
NoiseGrid noise_grid(const AxisPlan& rows, const AxisPlan& cols);

// Response sums of segments, and how many samples of each are black or white.
struct NoiseSegments {
    std::vector<std::int32_t> sums, saturated, kept;  // kept: working memory
    void make_room(const NoiseGrid& grid);
};

// sqrt(pi / 2) / 6 times the mean magnitude of the chosen segment's responses, over 255: the standard
// deviation of Gaussian noise with such responses, in [0, 1]. NaN where the grid has no segments.
double noise_reading(NoiseSegments& segments, const NoiseGrid& grid, Colour colour);

// Samples at or below dark and at or above bright are saturated.
struct Saturation {
    int dark, bright;
};
Saturation saturation(const FrameSpan& frame);

// The level of Gaussian noise, alike and independent in R, G and B, in [0, 1], that gives a reading.
// From a table, simulated by blurvote.benchmarks.robustness.noise_table: a reading is less than the
// level, as clipping and the choice of the segment take from it. NaN of NaN.
double noise_level(double reading, Colour colour, Matrix matrix, Range range);

// The table: readings[kind][k] belongs to levels[k]; straight lines between, both rising. Readings of
// luma are made those of R, G and B before they are looked up, by luma_share.
enum class NoiseKind { packed, gray, bt601, bt709 };
constexpr int kNoiseKnots = 17, kNoiseKinds = 4;
extern const double kNoiseLevels[kNoiseKnots];
extern const double kNoiseReadings[kNoiseKinds][kNoiseKnots];
NoiseKind noise_kind(Colour colour, Matrix matrix);

// The level of luma's noise by that of independent noise in R, G and B; 1 where there is no luma.
double luma_share(Colour colour, Matrix matrix, Range range);

}  // namespace blurvote
