#!/usr/bin/env bash
# Builds the fuzz targets and runs them, one after the other; see --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/fuzz/run.sh [OPTION...] [TARGET...]

Builds the fuzz targets with clang into build-fuzz/ and runs each, or those
that are named: line_buffer json json_rpc claude acp check config.

  --executions=N  so many inputs each (10000000)
  --seconds=N     so long each, instead
  --no-install    install nothing: what is needed is there
  --help          this text

What is found stays in build-fuzz/corpus/TARGET, and the next run goes on from
there. An input that fails is in build-fuzz/crashes/;
build-fuzz/tests/fuzz/fuzz_TARGET FILE repeats it.
TEXT
}

refuse() {
  echo "tests/fuzz/run.sh: $*; see --help" >&2
  exit 2
}

all=(line_buffer json json_rpc claude acp check config)
targets=()
bound=-runs=10000000
install=1
while [ $# -gt 0 ]; do
  case $1 in
    --executions=*) bound=-runs=${1#*=} ;;
    --seconds=*) bound=-max_total_time=${1#*=} ;;
    --no-install) install= ;;
    --help | -h)
      usage
      exit
      ;;
    -*) refuse "unknown option $1" ;;
    *)
      [[ " ${all[*]} " == *" $1 "* ]] || refuse "no such target: $1 (${all[*]})"
      targets+=("$1")
      ;;
  esac
  shift
done
[[ ${bound#*=} =~ ^[1-9][0-9]*$ ]] || refuse "not a positive number: ${bound#*=}"
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}")

cd "$(dirname "$0")/../.."
if [ -n "$install" ]; then deploy/packages.sh build clang; fi
if [ -z "${CCACHE_DIR:-}" ] && ! [ -w "${HOME:-}" ]; then
  export CCACHE_DIR=$PWD/.cache/ccache
fi
export CCACHE_DEPEND=1
cmake --preset fuzz --log-level=NOTICE
cmake --build build-fuzz --parallel "$(nproc)" --target \
  "${targets[@]/#/fuzz_}"

failed=()
mkdir -p build-fuzz/crashes
for target in "${targets[@]}"; do
  mkdir -p "build-fuzz/corpus/$target"
  options=("$bound" -timeout=5 -rss_limit_mb=1024 -max_len=4096
    -print_final_stats=1 -artifact_prefix="build-fuzz/crashes/$target-")
  if [ -e "tests/fuzz/$target.dict" ]; then
    options+=(-dict="tests/fuzz/$target.dict")
  fi
  log=build-fuzz/crashes/$target.log
  code=0
  "build-fuzz/tests/fuzz/fuzz_$target" "${options[@]}" \
    "build-fuzz/corpus/$target" "tests/fuzz/corpus/$target" \
    >"$log" 2>&1 || code=$?
  stat() { sed -n "s/^stat::$1: *//p" "$log"; }
  echo "$target: $(stat number_of_executed_units) executions," \
    "$(stat average_exec_per_sec) a second, $(stat peak_rss_mb) MiB," \
    "$([ "$code" -eq 0 ] && echo nothing found || echo "FAILED ($code)")"
  if [ "$code" -ne 0 ]; then
    failed+=("$target")
    tail -n 60 "$log"
  fi
done
[ ${#failed[@]} -eq 0 ] || exit 1
