#!/usr/bin/env bash
# From a fresh Debian 12 to a working understudy, in one command; see --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: deploy/quickstart.sh [OPTION...]

Installs the Debian packages that are missing (as root or with sudo), builds
the programs into build/, starts a server in a private folder, and plays the
main job on it, showing every command and every event: create a session, send,
switch its model, send, clear it, send, resume the conversation, send. Then it
stops the server and removes the folder.

  --agent=rehearsal  the scripted agent that comes with understudy: no key and
                     no network (default)
  --agent=claude     the Claude Code CLI on PATH, as it is logged in; it keeps
                     its transcripts where it always does
  --keep             leave the server running until Ctrl-C, to try things out
  --no-install       install nothing: what is needed is there
  --help             this text

Environment: UNDERSTUDY_BUILD, a build folder to take the programs from instead
of building; TMPDIR.
TEXT
}

fail() {
  echo "quickstart.sh: $*" >&2
  exit 1
}

agent=rehearsal
keep=
install=1
for argument in "$@"; do
  case $argument in
    --agent=rehearsal | --agent=claude) agent=${argument#*=} ;;
    --keep) keep=1 ;;
    --no-install) install= ;;
    --help | -h)
      usage
      exit
      ;;
    *)
      echo "quickstart.sh: unknown option $argument; see --help" >&2
      exit 2
      ;;
  esac
done
if [ "$agent" = claude ] && ! command -v claude >/dev/null; then
  fail "--agent=claude: there is no program claude on PATH"
fi

# --- Programs -----------------------------------------------------------------

root=$(cd "$(dirname "$0")/.." && pwd)
build=${UNDERSTUDY_BUILD:-}
if [ -z "$build" ]; then
  build=$root/build
  if [ -n "$install" ]; then "$root/deploy/packages.sh" build; fi
  # ccache insists on a place to write to.
  if [ -z "${CCACHE_DIR:-}" ] && ! [ -w "${HOME:-}" ]; then
    export CCACHE_DIR=$root/.cache/ccache
  fi
  if ! [ -e "$build/build.ninja" ]; then
    echo "Building into $build; this takes a few minutes the first time."
    cmake -S "$root" --preset dev --log-level=NOTICE -DUNDERSTUDY_TESTS=OFF
  fi
  cmake --build "$build" --parallel "$(nproc)" --target \
    understudyd understudyctl understudy-guard understudy-rehearsal
fi
bin=$(cd "$build" && pwd)/bin
[ -x "$bin/understudyd" ] || fail "$bin has no understudyd"

# --- What a reader sees -------------------------------------------------------

bold='' dim='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
fi

say() { printf '\n%s\n' "$*"; }
show() { printf '%s$ %s%s\n' "$bold" "$1" "$plain"; }

# Shows a command and runs it.
run() {
  show "$1"
  eval "$1"
}

# Shows the events that arrive, and says to the play which ones it has shown.
show_events() {
  local line kind
  while IFS= read -r line; do
    printf '%s    | %s%s\n' "$dim" "$line" "$plain"
    read -r _ _ kind _ <<<"$line"
    echo "$kind" >&"$shown"
  done
}

# Returns when the next event of that kind has been shown.
await() {
  local kind
  while IFS= read -r -t 60 -u "$shown" kind; do
    if [ "$kind" = "$1" ]; then return; fi
  done
  fail "there was no $1 within 60 s"
}

# Shows a command and runs it; then its answer, after the event that ends it.
play() {
  say "$3"
  show "$2"
  eval "$2" >"$FOLDER/answer" || fail "that failed"
  await "$1"
  sed 's/^/  /' "$FOLDER/answer"
}

# --- The server, and its end --------------------------------------------------

FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/understudy-quickstart.XXXXXX")
# The address of a unix socket has at most 107 bytes.
if [ ${#FOLDER} -gt 90 ]; then
  rmdir "$FOLDER"
  FOLDER=$(mktemp -d /tmp/understudy-quickstart.XXXXXX)
fi
server=
watch=

stop_server() {
  local code=0
  kill -TERM "$server" 2>/dev/null || :
  wait "$server" || code=$?
  server=
  return "$code"
}

clean_up() {
  local code=$?
  trap '' INT TERM
  if [ -n "$watch" ]; then kill "$watch" 2>/dev/null || :; fi
  if [ -n "$server" ]; then stop_server || :; fi
  if [ "$code" -ne 0 ] && [ -s "$FOLDER/server.log" ]; then
    echo "quickstart.sh: the last lines of the server's log:" >&2
    tail -n 15 "$FOLDER/server.log" >&2
  fi
  rm -rf "$FOLDER"
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir "$FOLDER/work"
mkfifo "$FOLDER/events" "$FOLDER/shown"
exec {shown}<>"$FOLDER/shown"

# The rehearsal agent keeps its conversations under its home, as Claude Code.
home=$FOLDER
if [ "$agent" = claude ]; then
  home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
fi
export FOLDER PATH="$bin:$PATH" UNDERSTUDY_SERVER="unix:$FOLDER/understudy.sock"

say "A server on SQLite, in a folder and on a unix socket of its own:"
show "export PATH=\"$bin:\$PATH\" FOLDER=\"$FOLDER\" UNDERSTUDY_SERVER=\"$UNDERSTUDY_SERVER\""
show 'understudyd --listen="$UNDERSTUDY_SERVER" --store="sqlite:$FOLDER/understudy.db" &'
# In a session of its own: Ctrl-C is for the play, which then stops the server.
HOME=$home setsid understudyd --listen="$UNDERSTUDY_SERVER" \
  --store="sqlite:$FOLDER/understudy.db" \
  >"$FOLDER/server.log" 2>&1 </dev/null {shown}>&- &
server=$!
for ((tries = 0; tries < 400; ++tries)); do
  if [ -S "$FOLDER/understudy.sock" ]; then break; fi
  kill -0 "$server" 2>/dev/null || fail "the server did not start"
  sleep 0.05
done
run 'understudyctl info' || fail "the server does not answer"

# --- The main job -------------------------------------------------------------

say "A session; what happens in it is shown beside everything that follows:"
run "SESSION=\$(understudyctl create --agent=$agent --directory=\"\$FOLDER/work\")"
show 'understudyctl watch $SESSION --after=0 &'
understudyctl watch "$SESSION" --after=0 >"$FOLDER/events" 2>&1 {shown}>&- &
watch=$!
show_events <"$FOLDER/events" &
display=$!
await session_created

play turn_completed \
  'understudyctl send $SESSION "Please remember 4711."' \
  "A message starts the agent and runs a turn:"
play model_changed \
  'understudyctl switch-model $SESSION haiku' \
  "Another model, the same conversation:"
play turn_completed \
  'understudyctl send $SESSION "what is the number?"' \
  "The new model knows what the old one was told:"
CONVERSATION=$(understudyctl get "$SESSION" | awk '$1 == "conversation" {print $2}')
play conversation_cleared \
  'understudyctl clear $SESSION' \
  "A fresh conversation:"
play turn_completed \
  'understudyctl send $SESSION "what is the number?"' \
  "It knows nothing of the one before:"
play conversation_resumed \
  "understudyctl resume \$SESSION $CONVERSATION" \
  "Back to the first conversation:"
play turn_completed \
  'understudyctl send $SESSION "what is the number?"' \
  "It is all there again:"

# --- Until it is enough -------------------------------------------------------

if [ -n "$keep" ]; then
  cat <<TEXT

The server runs until Ctrl-C. In another terminal:

  export PATH="$bin:\$PATH" UNDERSTUDY_SERVER="$UNDERSTUDY_SERVER" SESSION=$SESSION
  understudyctl send \$SESSION "hello"

or with grpcurl (https://github.com/fullstorydev/grpcurl), to which the server
describes itself; proto/README.md has a line for every RPC:

  SOCK="$FOLDER/understudy.sock"
  grpcurl -plaintext -unix "\$SOCK" list
  grpcurl -plaintext -unix -d '{"session_id":"$SESSION","text":"hello","wait_until":"WAIT_UNTIL_COMPLETED"}' \\
    "\$SOCK" understudy.v1.AgentControl/SendMessage
TEXT
  trap : INT TERM
  wait "$server" || :
fi

say "The server stops its agents and ends:"
kill "$watch" && wait "$watch" || :
watch=
wait "$display"
show "kill -TERM $server"
stop_server || fail "the server ended with exit code $?"
for process in /proc/[0-9]*; do
  case $(readlink "$process/cwd" 2>/dev/null) in
    "$FOLDER"/*) fail "process ${process#/proc/} is left" ;;
  esac
done
echo "No process is left."
