// One row of a banded matrix.
#pragma once

namespace blurvote {

// Entries begin .. end - 1 of the row, kept at weights[offset] onwards. Plain data: this header is
// shared with the kernels that are compiled for one instruction set each.
struct Band {
    int begin;
    int end;
    int offset;
};

}  // namespace blurvote
