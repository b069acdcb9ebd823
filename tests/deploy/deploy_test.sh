#!/usr/bin/env bash
# What an operator copies is right: the example configuration, as it stands and
# with everything in it that is commented out.
#
#   UNDERSTUDY_BUILD=<build folder> tests/deploy/deploy_test.sh
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
example=$root/deploy/config.example.textproto
folder=$(mktemp -d "${TMPDIR:-/tmp}/understudy-deploy-test.XXXXXX")
trap 'rm -rf "$folder"' EXIT

fail() {
  echo "deploy_test: $*" >&2
  exit 1
}

check() {
  PATH=$folder/bin:$PATH "$UNDERSTUDY_BUILD/bin/understudyd" \
    --config="$1" --check-config
}

check "$example" || fail "the example is wrong"

# The commented lines that are configuration: a field, or the end of one.
sed -E 's/^# ( *([a-z_]+(: ["0-9A-Z]| \{)|\}|#).*)$/\1/' "$example" |
  sed "s|/srv/projects|$folder|" >"$folder/all.textproto"
programs=$(sed -n 's/^  command: "\(.*\)"$/\1/p' "$folder/all.textproto" |
  grep -v '^understudy-')
for program in claude opencode gemini codex-acp claude-agent-acp; do
  grep -qx "$program" <<<"$programs" || fail "there is no profile of $program"
done
mkdir "$folder/bin"
for program in $programs; do
  if [ "$program" = claude ]; then continue; fi
  printf '#!/bin/sh\n' >"$folder/bin/$program"
  chmod +x "$folder/bin/$program"
done
if check "$folder/all.textproto" 2>"$folder/errors"; then
  command -v claude >/dev/null || fail "a program that is missing is no error"
else
  grep -q 'all.textproto:[0-9]*:.*claude' "$folder/errors" ||
    fail "the error does not name the line: $(cat "$folder/errors")"
fi
printf '#!/bin/sh\n' >"$folder/bin/claude"
chmod +x "$folder/bin/claude"
check "$folder/all.textproto" || fail "what is commented out is wrong"
# What is commented out in a profile, too.
sed -E 's/^( *)# ([a-z_]+: ["0-9A-Z].*)$/\1\2/' "$folder/all.textproto" \
  >"$folder/more.textproto"
if cmp -s "$folder/all.textproto" "$folder/more.textproto"; then
  fail "nothing is commented out in a profile any more"
fi
check "$folder/more.textproto" ||
  fail "what is commented out in a profile is wrong"
