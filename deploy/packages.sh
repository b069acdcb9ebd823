#!/usr/bin/env bash
# The Debian packages that understudy needs, in one place, and their
# installation: only what is missing, as root or with sudo, asking nothing.
#
#   deploy/packages.sh [--list] GROUP...
#
# Groups: build     what the programs are built with
#         test      what the tests need besides
#         clang     the second compiler, and the thread sanitizer
#         registry  what fetches the programs that tests drive and Debian does
#                   not have; left out where another npm or Go is on PATH
#
# --list prints the names and installs nothing.
set -euo pipefail

build=(
  ccache cmake g++ mold ninja-build
  grpc-proto libabsl-dev libgrpc++-dev libprotobuf-dev
  protobuf-compiler protobuf-compiler-grpc
  libboost-dev libcli11-dev libsimdjson-dev libspdlog-dev libsqlite3-dev
  nlohmann-json3-dev
)
test=(libgmock-dev libgtest-dev python3 python3-grpcio)
clang=(clang libclang-rt-14-dev)
registry=(ca-certificates)
# Another vendor's package of these would conflict with Debian's.
command -v npm >/dev/null || registry+=(nodejs npm)
command -v go >/dev/null || registry+=(golang-go)

fail() {
  echo "packages.sh: $*" >&2
  exit 1
}

list=
wanted=()
for argument in "$@"; do
  case $argument in
    --list) list=1 ;;
    build | test | clang | registry)
      declare -n group=$argument
      wanted+=("${group[@]}")
      ;;
    *) fail "no such group: $argument (build, test, clang, registry)" ;;
  esac
done
[ ${#wanted[@]} -gt 0 ] || fail "name at least one group: build, test, clang, registry"
if [ -n "$list" ]; then
  printf '%s\n' "${wanted[@]}"
  exit
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  fail "this system has no apt: install what corresponds to these Debian" \
    "packages, then repeat with --no-install: ${wanted[*]}"
fi

missing() {
  printf '%s\n' "${wanted[@]}" | grep -vxF -f <(
    dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" \
      2>/dev/null | sed -n 's/^installed //p')
}
mapfile -t packages < <(missing)
[ ${#packages[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null ||
    fail "missing packages, and neither root nor sudo to install them." \
      "As root: apt-get install --no-install-recommends ${packages[*]}"
  as_root=(sudo)
fi

echo "packages.sh: installing ${packages[*]}"
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    apt-get -qq -o DPkg::Lock::Timeout=600 "$@" </dev/null >/dev/null
}
install() {
  apt install -y --no-install-recommends "${packages[@]}"
}
# The package lists are fetched where they lack something, or name files that
# the mirror no longer has.
known() {
  apt-cache show --no-all-versions "${packages[@]}" >/dev/null 2>&1
}
if ! { known && install 2>/dev/null; }; then
  apt update || fail "apt-get update failed: is a Debian mirror reachable?"
  install || fail "cannot install ${packages[*]}"
fi
