// What one instruction set's view kernel works on. Plain data only: the kernels are compiled with
// flags of their own, so nothing here may carry code that the linker could pick for another build.
#pragma once

#include <cstddef>
#include <cstdint>

#include "blurvote/band.h"

namespace blurvote {

// One block of view rows to build.
struct KernelJob {
    const std::uint8_t* frame;
    std::ptrdiff_t row_stride;  // bytes
    int bgr;

    const Band* row_bands;  // [view][out_h]
    const float* row_weights;
    const Band* kink_bands;  // [view][out_h + 2], see AxisPlan; null where there are none
    const float* kink_weights;
    const float* kink_scale;
    const Band* col_bands;  // [view][out_w]
    const float* col_weights;
    int out_h, out_w;
    int first_view, last_view;

    const float* scale;  // per output channel: 1 / (255 std)
    const float* bias;   // per output channel: -mean / std

    float* out;      // (last_view - first_view, 3, out_h, out_w)
    float* scratch;  // 64-byte aligned, at least scratch_floats() floats
};

struct Kernel {
    int block_rows;  // view rows per job
    std::size_t (*scratch_floats)(const KernelJob& job);
    void (*build)(const KernelJob& job, int first_row);  // rows first_row .. first_row + block_rows - 1
};

extern const Kernel kScalarKernel;
extern const Kernel kVector128Kernel;
#if defined(__x86_64__)
extern const Kernel kAvx2Kernel;
extern const Kernel kAvx512Kernel;
#endif

}  // namespace blurvote
