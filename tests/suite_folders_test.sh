#!/usr/bin/env bash
# suite_folders_test.sh PROGRAM...: a folder of data-driven files that somebody names and that is not there is an error,
# not a skip: a mistyped name would leave a suite out unseen.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  printf 'suite_folders_test: %s\n' "$*" >&2
  exit 1
}

# refuses PROGRAM ARGUMENT...
refuses() {
  local status=0
  "$@" >"$work/said" 2>&1 || status=$?
  [ $status = 2 ] || fail "'$*' ends with $status: $(cat "$work/said")"
  grep -q "there is no .*$work/absent" "$work/said" || fail "'$*' does not say what is absent: $(cat "$work/said")"
}

for program in "$@"; do
  refuses "$program" "$work/absent"
  RAFTKV_CONFORMANCE=$work/absent refuses "$program"
done
echo "suite_folders_test: $# programs refuse folders that are not there"
