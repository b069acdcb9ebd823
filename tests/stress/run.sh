#!/usr/bin/env bash
# The full form of the stress test: 1,000 kills of agents and 200 of the server.
# Options go to understudy-stress (--help), such as --seed=N, and win over these.
set -euo pipefail

cd "$(dirname "$0")/../.."
deploy/packages.sh build test
if [ -z "${CCACHE_DIR:-}" ] && ! [ -w "${HOME:-}" ]; then
  export CCACHE_DIR=$PWD/.cache/ccache
fi
export CCACHE_DEPEND=1
cmake --preset dev --log-level=NOTICE
cmake --build build --parallel "$(nproc)" --target understudy-stress
exec build/tests/stress/understudy-stress --sessions=24 --agent-kills=1000 \
  --server-kills=200 "$@"
