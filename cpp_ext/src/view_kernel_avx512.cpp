#define BLURVOTE_LANES 16
#define BLURVOTE_CHUNK 4
#define BLURVOTE_PIXEL std::uint8_t
#define BLURVOTE_KERNEL kAvx512Kernel
#include "view_kernel_simd.inc"
