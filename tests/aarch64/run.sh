#!/usr/bin/env bash
# blurvote on an emulated aarch64 machine, next to the same on this one:
#   1. the C++ tests, cross-compiled and run under qemu-user;
#   2. Debian's aarch64 Python, unpacked into .build-aarch64 (no chroot, no binfmt), with the wheel
#      that `make wheels` builds and aarch64 wheels of its dependencies;
#   3. there: doctor, demo, the same verdicts as here by a shipped guard on drawn pictures and by
#      MobileNetV2 on photographs (needs the assets), and the runtime's tests (see emulated.py).
# Where something needed is not to be had, one line says what, and the exit status is 1; with
# MAY_SKIP=1 it is 0. What fails, fails in both.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/.build-aarch64
here=$PWD/.venv/bin
assets=${BLURVOTE_ASSETS:-../shared/assets}
mkdir -p "$work"
export PATH="$here:$PATH"

cannot() { echo "aarch64 NOT TESTED: $1"; [ -n "${MAY_SKIP:-}" ]; exit; }
step() { printf '== %s (%s s)\n' "$1" "$SECONDS"; }
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; return 1; }; }

if [ "$(uname -m)" = aarch64 ]; then
  echo "this machine is aarch64: make test tests it"
  exit
fi
for tool in aarch64-linux-gnu-g++:g++-aarch64-linux-gnu qemu-aarch64-static:qemu-user-static; do
  command -v "${tool%:*}" >/dev/null || cannot "${tool%:*} is missing (apt-get install ${tool#*:})"
done

step "C++ tests under $(qemu-aarch64-static --version | head -n 1)"
quietly cmake -S cpp_ext -B "$work/cpp" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$PWD/cpp_ext/cmake/aarch64-linux-gnu.cmake"
quietly cmake --build "$work/cpp"
ctest --test-dir "$work/cpp" --output-on-failure --no-tests=error

step "an aarch64 Python"
cpp_ext/wheels/debian.sh "$work/root" arm64 this python3 libstdc++6 || cannot "no aarch64 Python (see above)"
python=$(echo "$work"/root/usr/bin/python3.[0-9]*)
# A script that is a Python to everybody: to uv, to shebangs, and to tests that start sys.executable.
printf '#!/bin/sh\nexec qemu-aarch64-static -L "%s" -0 "$0" "%s" "$@"\n' "$work/root" "$python" > "$work/python"
chmod +x "$work/python"

step "the aarch64 wheel"
cpp_ext/wheels/debian.sh .build-wheels/sysroot-aarch64 arm64 bullseye libc6-dev libstdc++-10-dev ||
  cannot "no libraries to link the wheel against (see above)"
cpp_ext/wheels/build.sh aarch64
uv venv --quiet --clear --no-python-downloads --python "$work/python" "$work/venv"
there=$work/venv/bin
quietly uv pip install --python "$there/python" -r requirements/aarch64.txt ||
  cannot "the aarch64 wheels of requirements/aarch64.txt could not be installed (see above)"
uv pip install --quiet --python "$there/python" --no-deps dist/blurvote-*_aarch64.whl

# Two lanes, as these take minutes: what blurvote answers, here and there, and the tests there.
# verdicts GUARD PICTURE...: the same labels, reasons and votes of both
verdicts() {
  for place in "$here" "$there"; do
    out=$work/verdicts-$(basename "${place%/bin}").jsonl
    rm -f "$out"
    "$place/blurvote" run "$@" --plan batched --threads 1 --no-spin --quiet --out "$out" >/dev/null
  done
  python tests/aarch64/compare.py "$work/verdicts-.venv.jsonl" "$work/verdicts-venv.jsonl"
}
answers() {
  "$there/blurvote" doctor
  # OpenCV draws a little differently on each processor, so the demo's own clip cannot be compared.
  "$there/blurvote" demo --no-video --frames-per-sign 1 --out "$work/demo"
  echo "a shipped guard on drawn, noisy pictures:"
  python tests/aarch64/pictures.py "$work/pictures"
  verdicts "$(python -c 'from blurvote.runtime.demo import guard_path; print(guard_path("views"))')" "$work"/pictures/*.png
  if [ -d "$assets/images/imagenet-half" ] && python -c "import onnx, torch" 2>/dev/null; then
    guard=$work/mobilenetv2.onnx
    [ -s "$guard" ] || blurvote export "$assets/models/mobilenet_v2_1.0_224_quant.onnx" -o "$guard" >/dev/null
    mapfile -t pictures < <(ls "$assets"/images/imagenet-half/*.JPEG | awk 'NR % 100 == 1')
    echo "MobileNetV2 on photographs:"
    verdicts "$guard" "${pictures[@]}"
  else
    echo "photographs: not compared, as there are no assets at $assets or no torch to export a guard with"
  fi
}
step "doctor, demo, real pictures; and the runtime's tests"
answers >"$work/answers" 2>&1 &
failed=0
"$there/python" -m pytest -q -p no:cacheprovider -p tests.aarch64.emulated ${TESTS:-tests/runtime} || failed=1
wait $! || failed=1
cat "$work/answers"
step "$([ $failed = 0 ] && echo "all well" || echo FAILED)"
exit $failed
