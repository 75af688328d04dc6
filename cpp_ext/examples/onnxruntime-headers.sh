#!/usr/bin/env bash
# Puts ONNX Runtime's C++ headers into FOLDER/usr/include/onnxruntime, without installing anything.
# They are in no wheel; Debian packages them from release 13 on, and headers serve every library
# that is as new as they are. Takes the mirror that this machine's apt uses already.
set -euo pipefail
folder=$(mkdir -p "${1:?usage: onnxruntime-headers.sh FOLDER}" && cd "$1" && pwd)
release=${2:-trixie}

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$') || {
  echo "$0: this machine's apt has no Debian mirror; take the headers of ONNX Runtime's release archive" >&2
  exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$work/sources.list"
apt=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
(cd "$work" && "${apt[@]}" download libonnxruntime-dev)
dpkg -x "$work"/libonnxruntime-dev_*.deb "$folder"
