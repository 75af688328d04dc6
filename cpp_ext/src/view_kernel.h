// What one instruction set's view kernel works on. Plain data only: the kernels are compiled with
// flags of their own, so nothing here may carry code that the linker could pick for another build.
#pragma once

#include <cstddef>
#include <cstdint>

#include "blurvote/band.h"

namespace blurvote {

// How the bytes of a row belong to pixels: samples that lie together in one plane and share their
// column matrices. Sample c of pixel x is byte origin + pitch x + first + step c.
struct SampleGroup {
    int plane;
    int pitch;
    int first, step;
    int count;
};

// Luma and chroma are groups of their own, as chroma has pixels of its own size. The first group
// makes up samples 0 .., the second follows.
struct PixelLayout {
    int planes;
    int groups;
    SampleGroup group[2];
};

enum LayoutName { kPacked3, kGray, kNv12, kYuyv };
static constexpr PixelLayout kLayouts[] = {
    {1, 1, {{0, 3, 0, 1, 3}, {}}},              // R G B (or B G R)
    {1, 1, {{0, 1, 0, 1, 1}, {}}},              // Y
    {2, 2, {{0, 1, 0, 1, 1}, {1, 2, 0, 1, 2}}},  // Y; U V
    {1, 2, {{0, 2, 0, 1, 1}, {0, 4, 1, 2, 2}}},  // Y U Y V
};

// One plane of bytes and the matrices of its rows.
struct PlaneJob {
    const std::uint8_t* data;
    std::ptrdiff_t row_stride;  // bytes
    const Band* row_bands;      // [view][out_h]
    const float* row_weights;
    const Band* kink_bands;  // [view][out_h + 2], see AxisPlan; null where there are none
    const float* kink_weights;
};

// Where the pixels of one group of samples begin in their plane, and the matrices of its columns.
struct GroupJob {
    int origin;             // bytes
    const Band* col_bands;  // [view][out_w]
    const float* col_weights;
};

// One block of view rows to build.
struct KernelJob {
    LayoutName layout;
    int bgr;  // of kPacked3
    PlaneJob plane[2];
    GroupJob group[2];
    const float* kink_scale;
    int out_h, out_w;
    int first_view, last_view;

    // View channel c is bias[c] plus mix[c][s] times sample s, the samples of kPacked3 being R, G, B
    // whatever their order in memory.
    float mix[3][3];
    float bias[3];

    float* out;      // (last_view - first_view, 3, out_h, out_w)
    float* scratch;  // 64-byte aligned, at least scratch_floats() floats
};

// One row of a frame whose noise is sampled, from the pixel before the first segment on.
constexpr int kSegment = 32;  // pixels
struct NoiseJob {
    const std::uint8_t* row;
    std::ptrdiff_t row_stride;  // bytes
    int pitch;                  // bytes from a sample to the next: 2 in the luma of kYuyv, else 1
    int channels;               // 3 of kPacked3, else 1
    int segments;
    std::uint8_t dark, bright;  // samples up to dark and from bright on are saturated

    std::int32_t* sums;       // [segments]: of the magnitudes of the responses
    std::int32_t* saturated;  // [segments]: samples
};

struct Kernel {
    int block_rows;  // view rows per job
    std::size_t (*scratch_floats)(const KernelJob& job);
    void (*build)(const KernelJob& job, int first_row);  // rows first_row .. first_row + block_rows - 1
    void (*noise)(const NoiseJob& job);
};

extern const Kernel kScalarKernel;
extern const Kernel kVector128Kernel;
#if defined(__x86_64__)
extern const Kernel kAvx2Kernel;
extern const Kernel kAvx512Kernel;
#endif

}  // namespace blurvote
