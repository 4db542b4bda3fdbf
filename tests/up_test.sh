#!/usr/bin/env bash
# `./dev up` and `./dev down` as somebody who reads the README meets them.
#
#   up_test.sh           in a folder of its own, on ports that are free, with the programs in $DEV_BUILD (default build)
#   up_test.sh --plain   word for word as the README has it: its ports, and .raftkv, which must not be there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  printf 'up_test: %s\n' "$*" >&2
  exit 1
}

# The first block of commands that asks the nodes, for nodes whose ports begin at $1.
block_of_readme() {
  local n part words=()
  for n in 0 1 2; do
    for part in 0 1 2; do words+=(-e "s/:70$((7 + n))$part\b/:$(($1 + 10 * n + part))/"); done
  done
  awk '/^```$/ && inside { exit } inside; /^```sh$/ { inside = 1 }' README.md | sed "${words[@]}"
}

# follow BLOCK: each of its commands succeeds, and says what the comment behind it has.
follow() {
  local line answer=
  [ -n "$1" ] || fail "README.md has no commands"
  # What a person would see in the answer has to be seen in the status.
  # shellcheck disable=SC2317  # eval calls it
  curl() { command curl -sSf -m 10 "$@"; }
  while IFS= read -r line; do
    case $line in
      '# '*) [ "$answer" = "${line#\# }" ] || fail "not '$line': $answer" ;;
      *) answer=$(eval "$line") || fail "README.md: $line" ;;
    esac
  done <<<"$1"
  unset -f curl
}

if [ "${1:-}" = --plain ]; then
  [ ! -e .raftkv ] || fail "nodes of ./dev up have been here, and this would end them: ./dev down --purge first"
  trap './dev down --purge' EXIT
  ./dev up
  follow "$(block_of_readme 7070)"
  trap - EXIT
  ./dev down --purge
  [ ! -e .raftkv ] || fail "./dev down --purge left $(find .raftkv | head -n 3)"
  exit
fi

work=$(mktemp -d)
folder=$work/nodes
other=$work/others
end() {
  ./dev down --folder "$folder" >/dev/null 2>&1 || true
  ./dev down --folder "$other" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap end EXIT

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# Below those that the kernel gives to connections, and room around them.
free_ports() {
  local first port
  for _ in $(seq 100); do
    first=$((20000 + RANDOM % 1000 * 10))
    for ((port = first - 20; port < first + 60; ++port)); do ! answers $port || continue 2; done
    echo $first
    return
  done
  fail "no ports are free"
}
# Processes of nodes whose data is below $1.
nodes_of() {
  local file
  for file in /proc/[0-9]*/cmdline; do
    tr '\0' ' ' 2>/dev/null <"$file" | grep -q "^[^ ]*raftkv-node .*$1/" || continue
    basename "${file%/cmdline}"
  done
}
count_of() { nodes_of "$1" | wc -l; }
# refused SENTENCE ARGUMENT...: `./dev up ARGUMENT...` fails with it.
refused() {
  ! ./dev up "${@:2}" >"$work/said" 2>&1 || fail "up ${*:2} succeeds"
  grep -q -e "$1" "$work/said" || fail "up ${*:2} does not say '$1': $(cat "$work/said")"
}

port=$(free_ports)
./dev up --folder "$folder" --port "$port" >"$work/said" 2>&1 || fail "up: $(cat "$work/said")"
readme=$(block_of_readme "$port")
printed=$(sed -n '/^Try:/,/^Nothing/s/^  curl/curl/p' "$work/said")
[ "$printed" = "$(grep -v '^#' <<<"$readme")" ] || fail "what is printed is not what README.md has: $printed"
follow "$readme"
[ "$(count_of "$folder")" = 3 ] || fail "there are not three nodes: $(nodes_of "$folder")"
eval "$(sed -n 's/^ *\([^ ]*raftkvctl .*\)/\1/p' "$work/said")" >"$work/status" || fail "the raftkvctl that is printed: $(cat "$work/status")"

# Again, and from elsewhere: the same nodes, quickly, and the ports need not be told.
before=$(nodes_of "$folder")
from=$SECONDS
(cd "$work" && "$OLDPWD/dev" up --folder nodes) >"$work/said" 2>&1 || fail "up again: $(cat "$work/said")"
[ $((SECONDS - from)) -le 5 ] || fail "up again took $((SECONDS - from)) s"
[ "$(nodes_of "$folder")" = "$before" ] || fail "up again started others: $(nodes_of "$folder"), not $before"
grep -q "127.0.0.1:$((port + 20))" "$work/said" || fail "other ports are told: $(cat "$work/said")"
refused "the nodes in $folder have the ports from $port on" --folder "$folder" --port $((port + 100))

# One that has ended is started again, and the others stay.
first=$(cat "$folder/node1/pid")
kill -KILL "$first"
while kill -0 "$first" 2>/dev/null; do sleep 0.1; done
./dev up --folder "$folder" >"$work/said" 2>&1 || fail "up after a node has ended: $(cat "$work/said")"
[ "$(comm -12 <(sort <<<"$before") <(nodes_of "$folder" | sort) | wc -l)" = 2 ] || fail "others were started, too"
[ "$(count_of "$folder")" = 3 ] || fail "there are not three nodes again"

# A port that is taken, of the first or the last node: nothing is started, or made.
for taken in "$((port + 20)) $((port + 20))" "$((port - 20)) $port"; do
  refused "port ${taken#* }, .* is taken" --folder "$other" --port "${taken% *}"
  grep -q -e '--port' "$work/said" || fail "what to do is not said: $(cat "$work/said")"
  [ "$(count_of "$other")" = 0 ] || fail "nodes are left: $(nodes_of "$other")"
  [ ! -e "$other" ] || fail "$other was made"
done
[ "$(count_of "$folder")" = 3 ] || fail "those that were there have ended"

# A node that ends at once takes the others, which this call has started, with it.
mkdir -p "$other/node2"
touch "$other/node2/data"
refused "node2 ended" --folder "$other" --port $((port + 30))
[ "$(count_of "$other")" = 0 ] || fail "nodes are left of those that could not all start: $(nodes_of "$other")"
./dev down --folder "$other" --purge 2>/dev/null

# Stopped and started, it is the same store.
command curl -sSf -m 10 -X PUT -d kept "http://127.0.0.1:$port/kv/kept" >/dev/null
./dev down --folder "$folder" 2>/dev/null
[ "$(count_of "$folder")" = 0 ] || fail "down leaves nodes: $(nodes_of "$folder")"
./dev up --folder "$folder" >"$work/said" 2>&1 || fail "up after down: $(cat "$work/said")"
[ "$(command curl -sSf -m 10 "http://127.0.0.1:$((port + 10))/kv/kept")" = kept ] || fail "the data went with down"

# What is not of ./dev up stays; without it not even the folder does.
touch "$folder/mine"
./dev down --folder "$folder" --purge 2>/dev/null
[ "$(ls -A "$folder")" = mine ] || fail "after --purge there is: $(ls -A "$folder")"
rm "$folder/mine"
./dev up --folder "$folder" --port "$port" >"$work/said" 2>&1 || fail "up after --purge: $(cat "$work/said")"
./dev down --purge --folder "$folder" 2>/dev/null
[ ! -e "$folder" ] || fail "--purge leaves $(find "$folder" | head -n 3)"
[ "$(count_of "$folder")" = 0 ] || fail "--purge leaves nodes"

for option in --port --folder; do refused "$option needs" $option; done
for wrong in 0 65514 seventy -1; do refused "not '$wrong'" --folder "$folder" --port "$wrong"; done
./dev down --folder "$folder" >"$work/said" 2>&1 || fail "down where nothing is: $(cat "$work/said")"
echo "up_test: three nodes from port $port on came, were used, and went"
