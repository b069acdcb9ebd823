#!/usr/bin/env bash
# The quick start plays the main job, shows it, and leaves nothing behind.
#
#   UNDERSTUDY_BUILD=<build folder> tests/deploy/quickstart_test.sh
set -euo pipefail

quickstart=$(cd "$(dirname "$0")/../.." && pwd)/deploy/quickstart.sh
: "${UNDERSTUDY_BUILD:?}"
folder=$(mktemp -d /tmp/understudy-qs-test.XXXXXX)
trap 'rm -rf "$folder"' EXIT
# With a space: what the quick start shows and runs is quoted.
temporary="$folder/t p"
mkdir "$temporary" "$folder/bin"

fail() {
  echo "quickstart_test: $*" >&2
  cat "$folder/output" >&2
  exit 1
}

# Runs the quick start; its output is in $folder/output, its exit code in $code.
# Nothing may be left, however it ends.
play() {
  code=0
  TMPDIR=$temporary timeout 120 "$quickstart" "$@" \
    >"$folder/output" 2>&1 </dev/null || code=$?
  [ -z "$(ls -A "$temporary")" ] || fail "files are left"
  for process in /proc/[0-9]*; do
    case $(readlink "$process/cwd" 2>/dev/null) in
      "$folder"/*) fail "process ${process#/proc/} is left" ;;
    esac
  done
}

# Whether the output has lines with these words, in this order.
shows() {
  local line=0 found
  for words in "$@"; do
    # awk reads to the end, so that no writer meets a closed pipe.
    found=$(WORDS=$words awk -v after="$line" \
      '!at && NR > after && index($0, ENVIRON["WORDS"]) { at = NR } END { print at }' \
      "$folder/output")
    [ -n "$found" ] || fail "the output lacks '$words', or has it elsewhere"
    line=$found
  done
}

unset HOME
play
[ "$code" -eq 0 ] || fail "exit code $code"
shows '$ understudyd ' '$ understudyctl info' \
  '$ SESSION=$(understudyctl create ' session_created \
  '$ understudyctl send ' message_accepted turn_started turn_completed \
  '$ understudyctl switch-model ' model_changed NATIVE \
  '$ understudyctl send ' turn_completed 'The number is 4711.' \
  '$ understudyctl clear ' conversation_cleared \
  '$ understudyctl send ' turn_completed 'I know of no number.' \
  '$ understudyctl resume ' conversation_resumed \
  '$ understudyctl send ' turn_completed 'The number is 4711.' \
  'No process is left.'

# Whatever is named claude and speaks like it will do.
ln -s "$UNDERSTUDY_BUILD/bin/understudy-rehearsal" "$folder/bin/claude"
export HOME=$folder PATH=$folder/bin:$PATH
play --agent=claude
[ "$code" -eq 0 ] || fail "--agent=claude: exit code $code"
shows 'create --agent=claude' session_created 'The number is 4711.'

# A step that fails is the end, and says so.
rm "$folder/bin/claude"
printf '#!/bin/sh\nexit 3\n' >"$folder/bin/claude"
chmod +x "$folder/bin/claude"
play --agent=claude
[ "$code" -eq 1 ] || fail "an agent that does not start: exit code $code"
shows AGENT_START_FAILED 'quickstart.sh: that failed'
