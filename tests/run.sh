#!/usr/bin/env bash
# Installs what the tests need, builds, and runs all of them; see --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/run.sh [OPTION...]

Installs the Debian packages that are missing (as root or with sudo), builds
with gcc into build/, and runs all tests.

  --offline         leave out the tests that need a package registry
  --filter=REGEX    only tests whose name matches
  --engine          only the engine's tests (session/), and build no more
  --programs        with --engine: build all libraries and programs as well
  --sanitizer=KIND  address (with undefined), undefined or thread; each has a
                    build folder of its own
  --clang           instead of testing, compile libraries and programs with
                    clang and its thread safety analysis
  --no-install      install nothing: what is needed is there
  --help            this text

Environment: CCACHE_DIR; UNDERSTUDY_AGENT_CACHE, where programs from package
registries are kept (default ${XDG_CACHE_HOME:-~/.cache}/understudy/agents).
TEXT
}

refuse() {
  echo "tests/run.sh: $*; see --help" >&2
  exit 2
}

offline=
filter=
engine=
programs=
sanitizer=
clang=
install=1
while [ $# -gt 0 ]; do
  case $1 in
    --offline) offline=1 ;;
    --filter=*) filter=${1#*=} ;;
    --filter)
      [ $# -gt 1 ] || refuse "--filter needs a regular expression"
      filter=$2
      shift
      ;;
    --engine) engine=1 ;;
    --programs) programs=1 ;;
    --sanitizer=*) sanitizer=${1#*=} ;;
    --clang) clang=1 ;;
    --no-install) install= ;;
    --help | -h)
      usage
      exit
      ;;
    *) refuse "unknown option $1" ;;
  esac
  shift
done

packages=(build test)
case $sanitizer in
  "") preset=dev build=build ;;
  address) preset=asan build=build-asan ;;
  undefined) preset=ubsan build=build-ubsan ;;
  thread) preset=tsan build=build-tsan packages+=(clang) ;;
  *) refuse "no such sanitizer: $sanitizer (address, undefined, thread)" ;;
esac
if [ -n "$clang" ]; then
  [ -z "$sanitizer$engine$filter" ] || refuse "--clang runs no tests"
  preset=clang build=build-clang packages=(build clang)
elif [ -z "$offline$engine" ]; then
  packages+=(registry)
fi

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
if [ -n "$install" ]; then deploy/packages.sh "${packages[@]}"; fi

# ccache insists on a place to write to.
if [ -z "${CCACHE_DIR:-}" ] && ! [ -w "${HOME:-}" ]; then
  export CCACHE_DIR=$root/.cache/ccache
fi
# The compiler says what it has read: no second run of the preprocessor.
export CCACHE_DEPEND=1
jobs=$(nproc)

# A process for each test where one is looked for; else a sanitizer's start is
# what takes the time.
whole=()
if [ -n "$filter" ] && [ -n "$sanitizer" ]; then
  whole=(-DUNDERSTUDY_TEST_SHARDS=0)
fi
cmake --preset "$preset" --log-level=NOTICE "${whole[@]}"
targets=(all)
if [ -n "$engine" ]; then targets=(unit_session); fi
if [ -n "$programs" ]; then
  targets+=(understudyd understudyctl understudy-rehearsal understudy-guard
    understudy-example)
fi
cmake --build "$build" --parallel "$jobs" --target "${targets[@]}"
if [ -n "$clang" ]; then
  echo "tests/run.sh: clang has nothing to complain about"
  exit
fi

selected=()
if [ -n "$offline" ]; then
  echo "tests/run.sh: offline: left out are the tests that need a package" \
    "registry: the real agents (Claude Code, OpenCode, Codex), grpcurl, buf"
  selected+=(--label-exclude registry)
fi
if [ -n "$engine" ]; then selected+=(--label-regex engine); fi
if [ -n "$filter" ]; then selected+=(--tests-regex "$filter"); fi

# The thread sanitizer of this clang needs memory where the kernel may not put
# it when it randomizes addresses widely.
plain=()
if [ "$sanitizer" = thread ] && setarch -R true 2>/dev/null; then
  plain=(setarch -R)
fi

# Nothing is left beside the sources.
export PYTHONDONTWRITEBYTECODE=1
exec "${plain[@]}" ctest --test-dir "$build" --parallel "$jobs" \
  --output-on-failure --no-tests=error "${selected[@]}"
