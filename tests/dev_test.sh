#!/usr/bin/env bash
# ./dev: every verb tells its usage, and what dev itself reads is refused where it knows no such option; neither builds,
# installs or starts anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program in ninja cmake ctest apt-get sudo setsid docker podman buildah debootstrap go; do
  printf '#!/bin/sh\necho "%s $*" >>"%s/ran"\nexit 1\n' "$program" "$work" >"$work/$program"
  chmod +x "$work/$program"
done
export PATH=$work:$PATH

fail() {
  printf 'dev_test: %s\n' "$*" >&2
  exit 1
}

verbs=$(sed -n 's/^verb_\([a-z0-9]*\)() {.*/\1/p' dev | sort)
told=$(./dev help | sed -n 's/^  \([a-z][a-z0-9]*\)\( .*\)*$/\1/p' | sort)
[ "$verbs" = "$told" ] || fail "the list of verbs is not the one of the functions: $told"

for verb in $verbs; do
  for option in --help -h; do
    ./dev "$verb" "$option" >"$work/said" 2>&1 || fail "$verb $option ends with $?: $(cat "$work/said")"
    { grep -q "^usage: ./dev $verb" "$work/said" && grep -q "^  $verb\b" "$work/said"; } ||
      fail "$verb $option does not tell the usage: $(cat "$work/said")"
  done
done

for verb in up down test fuzz lint image chart build install; do
  ! ./dev "$verb" --no-such-option >"$work/said" 2>&1 || fail "$verb takes --no-such-option"
  grep -q "not '--no-such-option'" "$work/said" || fail "$verb does not say what it refuses: $(cat "$work/said")"
done

[ ! -e "$work/ran" ] || fail "something was run: $(cat "$work/ran")"
echo "dev_test: $(wc -w <<<"$verbs") verbs are in order"
