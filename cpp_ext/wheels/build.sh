#!/usr/bin/env bash
# Builds and audits one wheel per architecture into dist/, for every CPython from 3.10 on:
#   build.sh ARCHITECTURE...          x86_64, aarch64; .venv has to be there (see `make wheels`)
# The wheels run on glibc 2.31 and newer: they are linked against Debian 11's libraries, which are
# fetched into .build-wheels. The stable ABI makes this machine's Python headers good for all.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH"

for architecture in "$@"; do
  compiler=$architecture-linux-gnu-g++
  command -v "$compiler" >/dev/null || {
    echo "no wheel for $architecture: $compiler is missing (apt-get install g++-${architecture//_/-}-linux-gnu)" >&2
    exit 1
  }
  case $architecture in x86_64) debian=amd64 ;; aarch64) debian=arm64 ;; *) debian=$architecture ;; esac
  sysroot=$PWD/.build-wheels/sysroot-$architecture
  cpp_ext/wheels/debian.sh "$sysroot" "$debian" bullseye libc6-dev libstdc++-10-dev

  raw=.build-wheels/raw-$architecture
  rm -rf "$raw" dist/blurvote-*_"$architecture".whl
  _PYTHON_HOST_PLATFORM=linux-$architecture uv build --quiet --wheel --no-build-isolation \
    --python .venv/bin/python --out-dir "$raw" \
    -C build-dir=".build-wheels/build-$architecture" \
    -C cmake.define.CMAKE_TOOLCHAIN_FILE="$PWD/cpp_ext/cmake/older-glibc.cmake" \
    -C cmake.define.BLURVOTE_ARCHITECTURE="$architecture" \
    -C cmake.define.BLURVOTE_SYSROOT="$sysroot" .
  auditwheel show "$raw"/*.whl 2>/dev/null | sed '/^This constrains/,$d'
  auditwheel repair --wheel-dir dist "$raw"/*.whl >"$raw/log" 2>&1 || { cat "$raw/log" >&2; exit 1; }
  wheel=$(echo dist/blurvote-*"_$architecture.whl")
  case $wheel in
    *-cp310-abi3-manylinux_2_31_"$architecture".whl) echo "$wheel" ;;
    *) echo "$wheel should run on glibc 2.31 and CPython 3.10; it needs newer ones" >&2; exit 1 ;;
  esac
done
