// The plain twin of the vector kernels: the definition, written as loops. Slow, and the reference
// that every instruction set is compared with.
#include "view_kernel.h"

namespace blurvote {
namespace {

std::size_t scratch_floats(const KernelJob& job) {
    const Band* cols = job.col_bands + static_cast<std::ptrdiff_t>(job.last_view - 1) * job.out_w;
    int end = 0;
    for (int j = 0; j < job.out_w; ++j) end = cols[j].end > end ? cols[j].end : end;
    return static_cast<std::size_t>(3) * end;
}

void build(const KernelJob& job, int row) {
    const std::size_t floats = scratch_floats(job);
    for (int view = job.first_view; view < job.last_view; ++view) {
        const Band& rows = job.row_bands[static_cast<std::ptrdiff_t>(view) * job.out_h + row];
        for (std::size_t k = 0; k < floats; ++k) {
            float sum = 0.0f;
            for (int r = rows.begin; r < rows.end; ++r) {
                const std::uint8_t* pixels = job.frame + r * job.row_stride;
                sum += job.row_weights[rows.offset + r - rows.begin] * pixels[k];
            }
            job.scratch[k] = sum;
        }
        for (int c = 0; c < 3; ++c) {
            const int source = job.bgr ? 2 - c : c;
            const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(view - job.first_view) * 3 + c;
            float* out = job.out + (plane * job.out_h + row) * job.out_w;
            for (int j = 0; j < job.out_w; ++j) {
                const Band& cols = job.col_bands[static_cast<std::ptrdiff_t>(view) * job.out_w + j];
                float sum = 0.0f;
                for (int x = cols.begin; x < cols.end; ++x) {
                    sum += job.col_weights[cols.offset + x - cols.begin] * job.scratch[3 * x + source];
                }
                out[j] = sum * job.scale[c] + job.bias[c];
            }
        }
    }
}

}  // namespace

const Kernel kScalarKernel = {1, scratch_floats, build};

}  // namespace blurvote
