#define BLURVOTE_LANES 4
#define BLURVOTE_CHUNK 3
#define BLURVOTE_KERNEL kVector128Kernel
#include "view_kernel_simd.inc"
