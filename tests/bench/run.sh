#!/usr/bin/env bash
# Builds what is measured (Release, into build-bench/), measures, and prints one
# Markdown table. It takes a few minutes; leave the machine alone meanwhile.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
build=${UNDERSTUDY_BUILD:-$root/build-bench}

if [ -z "${CCACHE_DIR:-}" ] && ! [ -w "${HOME:-}" ]; then
  export CCACHE_DIR=$root/.cache/ccache
fi
{
  cmake -S "$root" -B "$build" -G Ninja --log-level=NOTICE \
    -DCMAKE_BUILD_TYPE=Release -DUNDERSTUDY_TESTS=OFF -DUNDERSTUDY_BENCH=ON
  cmake --build "$build" --parallel "$(nproc)" --target \
    understudy-bench-throughput understudy-bench-latency
} >&2

echo '| | Measured | In the same run | Ratio | Must | Aim |'
echo '|---|---|---|---|---|---|'
timeout 150 "$build/bin/understudy-bench-throughput"
timeout 90 "$build/bin/understudy-bench-latency"
