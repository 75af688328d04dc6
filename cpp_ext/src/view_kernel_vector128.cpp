#define BLURVOTE_LANES 4
#define BLURVOTE_CHUNK 4
#define BLURVOTE_PIXEL float
#define BLURVOTE_KERNEL kVector128Kernel
#include "view_kernel_simd.inc"
