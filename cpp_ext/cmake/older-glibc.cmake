# For Linux systems older than this one: this machine's compiler, which the kernels need to be new,
# with the C and C++ libraries of Debian 11 (glibc 2.31, GCC 10), unpacked in a folder. What it
# builds runs on Ubuntu 20.04, RHEL 9 and JetPack 5 and newer. See cpp_ext/wheels/build.sh.
#   -DBLURVOTE_ARCHITECTURE=x86_64|aarch64  -DBLURVOTE_SYSROOT=FOLDER
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES BLURVOTE_ARCHITECTURE BLURVOTE_SYSROOT)
set(triple ${BLURVOTE_ARCHITECTURE}-linux-gnu)

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${BLURVOTE_ARCHITECTURE})
set(CMAKE_CXX_COMPILER ${triple}-g++)
set(CMAKE_SYSROOT ${BLURVOTE_SYSROOT})

# The compiler's own headers stay; all others come from the folder.
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=include
  OUTPUT_VARIABLE own_headers OUTPUT_STRIP_TRAILING_WHITESPACE)
set(CMAKE_CXX_FLAGS_INIT "-nostdinc")
foreach(folder include/c++/10 include/${triple}/c++/10 include/c++/10/backward)
  string(APPEND CMAKE_CXX_FLAGS_INIT " -isystem ${BLURVOTE_SYSROOT}/usr/${folder}")
endforeach()
string(APPEND CMAKE_CXX_FLAGS_INIT " -isystem ${own_headers}"
  " -isystem ${BLURVOTE_SYSROOT}/usr/include/${triple} -isystem ${BLURVOTE_SYSROOT}/usr/include"
  " -B${BLURVOTE_SYSROOT}/usr/lib/${triple}")
foreach(kind EXE MODULE SHARED)
  foreach(folder usr/lib/gcc/${triple}/10 lib/${triple} usr/lib/${triple})
    string(APPEND CMAKE_${kind}_LINKER_FLAGS_INIT " -L${BLURVOTE_SYSROOT}/${folder}")
  endforeach()
endforeach()
