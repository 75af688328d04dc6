// The plain twin of the vector kernels: the definition, written as loops. Slow, and the reference
// that every instruction set is compared with.
#include "view_kernel.h"

namespace blurvote {
namespace {

// Bytes of a plane's row up to the last one that a view needs.
std::size_t row_bytes(const KernelJob& job, int plane) {
    const PixelLayout& layout = kLayouts[job.layout];
    int bytes = 0;
    for (int g = 0; g < layout.groups; ++g) {
        if (layout.group[g].plane != plane) continue;
        const Band* cols = job.group[g].col_bands + static_cast<std::ptrdiff_t>(job.last_view - 1) * job.out_w;
        for (int j = 0; j < job.out_w; ++j) {
            const int end = job.group[g].origin + layout.group[g].pitch * cols[j].end;
            bytes = end > bytes ? end : bytes;
        }
    }
    return static_cast<std::size_t>(bytes);
}

std::size_t scratch_floats(const KernelJob& job) {
    return row_bytes(job, 0) + (kLayouts[job.layout].planes > 1 ? row_bytes(job, 1) : 0);
}

void filter_rows(const KernelJob& job, int plane, int view, int row, float* sums) {
    const PlaneJob& from = job.plane[plane];
    const Band& rows = from.row_bands[static_cast<std::ptrdiff_t>(view) * job.out_h + row];
    const std::size_t bytes = row_bytes(job, plane);
    for (std::size_t k = 0; k < bytes; ++k) {
        float sum = 0.0f;
        for (int r = rows.begin; r < rows.end; ++r) {
            sum += from.row_weights[rows.offset + r - rows.begin] * from.data[r * from.row_stride + k];
        }
        sums[k] = sum;
    }
}

void build(const KernelJob& job, int row) {
    const PixelLayout& layout = kLayouts[job.layout];
    float* const sums[2] = {job.scratch, job.scratch + row_bytes(job, 0)};
    for (int view = job.first_view; view < job.last_view; ++view) {
        for (int p = 0; p < layout.planes; ++p) filter_rows(job, p, view, row, sums[p]);
        for (int j = 0; j < job.out_w; ++j) {
            float samples[3] = {};
            int sample = 0;
            for (int g = 0; g < layout.groups; ++g) {
                const SampleGroup& group = layout.group[g];
                const Band& cols = job.group[g].col_bands[static_cast<std::ptrdiff_t>(view) * job.out_w + j];
                for (int c = 0; c < group.count; ++c, ++sample) {
                    const float* from = sums[group.plane] + job.group[g].origin + group.first + group.step * c;
                    for (int x = cols.begin; x < cols.end; ++x) {
                        samples[sample] += job.group[g].col_weights[cols.offset + x - cols.begin] * from[group.pitch * x];
                    }
                }
            }
            for (int c = 0; c < 3; ++c) {
                float value = job.bias[c];
                for (int s = 0; s < 3; ++s) value += job.mix[c][s] * samples[job.bgr ? 2 - s : s];
                const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(view - job.first_view) * 3 + c;
                job.out[(plane * job.out_h + row) * job.out_w + j] = value;
            }
        }
    }
}

void noise(const NoiseJob& job) {
    static constexpr int kMask[3][3] = {{1, -2, 1}, {-2, 4, -2}, {1, -2, 1}};
    for (int s = 0; s < job.segments; ++s) {
        job.sums[s] = job.saturated[s] = 0;
        for (int x = 1 + s * kSegment; x < 1 + (s + 1) * kSegment; ++x) {
            for (int c = 0; c < job.channels; ++c) {
                int response = 0;
                for (int i = 0; i < 3; ++i) {
                    for (int j = 0; j < 3; ++j) {
                        const int at = ((x + j - 1) * job.channels + c) * job.pitch;
                        response += kMask[i][j] * job.row[(i - 1) * job.row_stride + at];
                    }
                }
                const std::uint8_t sample = job.row[(x * job.channels + c) * job.pitch];
                job.sums[s] += response < 0 ? -response : response;
                job.saturated[s] += sample <= job.dark || sample >= job.bright;
            }
        }
    }
}

}  // namespace

const Kernel kScalarKernel = {1, scratch_floats, build, noise};

}  // namespace blurvote
