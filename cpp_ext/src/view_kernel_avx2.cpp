#define BLURVOTE_LANES 8
#define BLURVOTE_CHUNK 3
#define BLURVOTE_KERNEL kAvx2Kernel
#include "view_kernel_simd.inc"
