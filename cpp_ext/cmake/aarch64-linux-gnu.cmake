# For aarch64 with Debian's cross compiler (g++-aarch64-linux-gnu); tests run under qemu-user-static.
#   cmake -S cpp_ext -B build -DCMAKE_TOOLCHAIN_FILE=cpp_ext/cmake/aarch64-linux-gnu.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L /usr/aarch64-linux-gnu)
