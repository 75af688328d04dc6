#!/usr/bin/env bash
# Installs this machine's wheel from dist/ into a fresh environment of each Python that is found,
# from its declared dependencies alone, and runs the demo there:
#   try.sh 3.10 3.11 ...
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH"
wheel=$(echo dist/blurvote-*"_$(uname -m).whl")

tried=0
for version in "$@"; do
  venv=.build-wheels/try-$version
  uv venv --quiet --clear --no-python-downloads --python "$version" "$venv" 2>/dev/null ||
    { echo "Python $version: not found, not tried"; continue; }
  uv pip install --quiet --python "$venv/bin/python" "$wheel[cpu]"
  "$venv/bin/blurvote" demo --no-video --frames-per-sign 1 --out "$venv/demo" >/dev/null
  echo "Python $version: $(basename "$wheel") installs and runs the demo"
  tried=$((tried + 1))
done
[ "$tried" -gt 0 ] || { echo "none of these Pythons is here: $*" >&2; exit 1; }
