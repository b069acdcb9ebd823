#!/bin/sh
# `buf lint`, and `buf breaking` against the committed image: what clients were
# built against. Once buf is installed (tests/e2e/install_buf.py), offline.
#
#   tests/proto/buf_test.sh            check
#   tests/proto/buf_test.sh --update   check lint, then write the image anew
#
# BUF=/path/to/buf takes another buf than the pinned one.
set -eu

cd "$(dirname "$0")/../../proto"
image=understudy.v1.image.binpb

buf=${BUF:-}
[ -n "$buf" ] || buf=$(../tests/e2e/install_buf.py)
# Nothing is read from or written to the user's home.
BUF_CACHE_DIR=$(mktemp -d)
export BUF_CACHE_DIR
trap 'rm -rf "$BUF_CACHE_DIR"' EXIT

"$buf" lint
if [ "${1:-}" = --update ]; then
  "$buf" build --exclude-source-info -o "$image"
  exit
fi
"$buf" breaking --against "$image"
echo "buf_test: lint and breaking are clean ($("$buf" --version))"
