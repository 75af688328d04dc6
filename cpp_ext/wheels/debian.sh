#!/usr/bin/env bash
# Unpacks Debian packages of any architecture and release, dependencies included, into a folder:
#   debian.sh FOLDER ARCHITECTURE RELEASE PACKAGE...     RELEASE: bullseye, ..., or "this"
# Needs no root and leaves the machine's own packages and list of architectures alone: apt works on
# a state of its own, beside the folder. A folder that already has what is asked for is kept.
set -euo pipefail
folder=$1 architecture=$2 release=$3
shift 3

[ "$(cat "$folder.unpacked" 2>/dev/null)" != "$architecture $release $*" ] || exit 0
fail() { echo "Debian's $* for $architecture are not to be had: $reason" >&2; exit 1; }

reason="this machine has no apt-get and dpkg"
command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail "$@"
reason="this machine's apt sources name no Debian mirror"
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null || true; } |
  sed -nE 's#^(deb|URIs:).* ?((https?|file|mirror\+file):[^] ]*debian/?)( .*|$)#\2#p' | head -n 1)
[ -n "$mirror" ] || fail "$@"
if [ "$release" = this ]; then release=$(. /etc/os-release && echo "$VERSION_CODENAME"); fi

state=$folder.apt
rm -rf "$folder" "$state" "$folder.unpacked"
mkdir -p "$folder" "$state/lists/partial" "$state/cache/archives/partial"
state=$(realpath "$state")
touch "$state/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" > "$state/sources.list"
cat > "$state/apt.conf" <<CONFIG
Dir::State "$state";
Dir::State::status "$state/status";
Dir::Cache "$state/cache";
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Sandbox::User "$(id -un)";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
Debug::NoLocking "true";
CONFIG
export APT_CONFIG=$state/apt.conf

reason="apt-get could not read $release from the mirror in this machine's apt sources"
apt-get update -qq >"$state/log" 2>&1 || { cat "$state/log" >&2; fail "$@"; }
reason="apt-get could not download them from $release"
apt-get install -qq -y --download-only "$@" >"$state/log" 2>&1 || { cat "$state/log" >&2; fail "$@"; }
for package in "$state"/cache/archives/*.deb; do dpkg -x "$package" "$folder"; done
# Links to absolute paths would lead out of the folder.
find "$folder" -type l -lname '/*' | while read -r link; do
  ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$folder$(readlink "$link")")" "$link"
done
[ "$(ls -A "$folder")" ] || { reason="nothing was unpacked"; fail "$@"; }
rm -rf "$state"
echo "$architecture $release $*" > "$folder.unpacked"
