#!/usr/bin/env bash
# Scenarios of `./dev e2e`: what goes wrong with the operator itself.
# shellcheck disable=SC2154,SC2153  # what is not assigned here is in tests/e2e/run, which reads this file

# The operator with fault points (base/fault_points.h), as a process of this machine.
readonly OPERATOR=build-faults/bin/raftkv-operator

# --- Operators outside of the cluster -------------------------------------------------------------

# A pod that is nothing but a network which members' NetworkPolicies take for the operator's; `seat` leads into it.
seat=()
take_seat() {
  idle_pod "$SYSTEM" operator-seat "app.kubernetes.io/name: raftkv-operator"
  idle_pods_run
  seat=(nsenter --net="$($KUBE pod-network "$SYSTEM" operator-seat)")
}
# idle_pod NAMESPACE NAME LABELS: on the first node, which no scenario cuts off or stops.
idle_pod() {
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {namespace: $1, name: $2, labels: {raftkv-e2e: idle, $3}}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: idle
      image: localhost/raftkv-pause:1
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
YAML
}
idle_pods_run() { kubectl wait --for=condition=Ready pods -A -l raftkv-e2e=idle --timeout=60s >/dev/null; }
delete_idle_pods() { kubectl delete pods -A -l raftkv-e2e=idle --grace-period=0 --force >/dev/null 2>&1; }

# The installed one, with its arguments: its Lease, its image of the nodes.
operator_arguments() {
  k_system get deployment "$RELEASE" -o json | python3 -c '
import json, sys
for argument in json.load(sys.stdin)["spec"]["template"]["spec"]["containers"][0]["args"]:
    if not argument.startswith(("--health-address", "--log-format")):
        print(argument)'
}
# own_operator FAULTS LOG: starts one that obeys the line in the file FAULTS; the process is $!.
own_operator() {
  local arguments
  mapfile -t arguments < <(operator_arguments)
  RAFTKV_FAULT_POINT=$1 "${seat[@]}" $OPERATOR "${arguments[@]}" --health-address= --log-format=text 2>>"$2" &
  echo $! >"$work/operator"
}
stop_own_operator() {
  local pid
  rm -f "$work/dying"
  pid=$(cat "$work/operator" 2>/dev/null) || return 0
  rm -f "$work/operator"
  if grep -q raftkv-operator "/proc/$pid/cmdline" 2>/dev/null; then kill -KILL "$pid" 2>/dev/null || true; fi
}

# The chart's Deployment: 0 makes room for others.
installed_operators() {
  k_system scale deployment "$RELEASE" --replicas="$1" >/dev/null
  k_system rollout status deployment "$RELEASE" --timeout=60s >/dev/null
  [ "$1" != 0 ] || soon 60 no_operator_pods || fail "pods of the operator do not end"
}
no_operator_pods() { [ -z "$(k_system get pods -l app.kubernetes.io/name=raftkv-operator -o name)" ]; }
lease_holder() { k_system get lease "$RELEASE" -o 'jsonpath={.spec.holderIdentity}'; }
# Who was killed cannot give it back; nobody wants to wait 15 s each time.
release_lease() {
  k_system patch lease "$RELEASE" --type merge -p '{"spec":{"holderIdentity":""}}' >/dev/null
}

# --- Killed at any time ---------------------------------------------------------------------------

# Members go on by themselves; what the next one finds half done it does in the same order, the hand-over first.
operator_killed() {
  local from n
  from=$(now)
  k scale "rkv/$NAME" --replicas=5 >/dev/null
  for n in 1 2 3; do
    k_system delete pod -l app.kubernetes.io/name=raftkv-operator --grace-period=0 --force >/dev/null 2>&1
    sleep 1
  done
  settle 5
  report "3 -> 5 with the operator killed $n times" "$(since "$from")"
  k scale "rkv/$NAME" --replicas=3 >/dev/null
  settle 3
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
}

# --- Killed around each of its writes -------------------------------------------------------------

# A whole life of a RaftKV, in which no operator lives to make two writes: first each dies behind its first one,
# then each before its second one. All that one did, the next has to find out.
operator_dies() {
  local log=$work/dying.log
  needs_own_cluster "operators are processes of this machine, in the network of a pod"
  [ -x $OPERATOR ] || die "$OPERATOR is missing; ./dev e2e builds it"
  installed_operators 0
  take_seat
  : >"$log"
  : >"$work/dying"
  echo '*_after kill 1' >"$work/faults"
  keep_operators_dying "$work/faults" "$log" &
  live_a_life killed-after
  echo '*_before kill 2' >"$work/faults"
  live_a_life killed-before
  stop_own_operator
  wait
  delete_idle_pods
  installed_operators 1
  check_deaths "$log"
}
# Until $work/dying is taken away.
keep_operators_dying() {
  while [ -e "$work/dying" ]; do
    own_operator "$1" "$2"
    wait $! || true
    release_lease || true
  done 2>/dev/null
}

live_a_life() {
  local name=$1 from pid claim
  from=$(now)
  apply_store "$name" 1
  k wait --for=condition=Available "rkv/$name" --timeout=180s >/dev/null || fail "$name is not available"
  start_load "$(k get service "$name" -o 'jsonpath={.spec.clusterIP}')" "$work/$name"
  pid=$!
  step "$name" 3 '{"spec":{"replicas":3}}'
  step "$name" 3 '{"spec":{"pod":{"annotations":{"e2e/roll":"2"}}}}'
  step "$name" 3 '{"spec":{"storage":{"size":"2Gi"}}}'
  claim=$(uid pvc "data-$name-1")
  k delete pvc "data-$name-1" --wait=false >/dev/null
  # It stays as long as its pod does, and goes with the roll.
  step "$name" 3 '{"spec":{"pod":{"labels":{"e2e":"lost-claim"}}}}'
  soon 240 other_object pvc "data-$name-1" "$claim" || fail "the lost claim of $name is not replaced"
  settle 3 240 "$name"
  step "$name" 1 '{"spec":{"replicas":1}}'
  check_history $pid "$work/$name"
  patch '{"spec":{"replicas":0}}' "$name"
  soon 120 no_pods_of "$name" || fail "$name does not sleep"
  step "$name" 1 '{"spec":{"replicas":1,"storage":{"retention":{"onDelete":"Delete"}}}}'
  k delete rkv "$name" --timeout=180s >/dev/null || fail "$name is not deleted"
  soon 30 nothing_left_of "$name" || fail "claims of $name are left"
  report "create, 3, roll, grow, lose a claim, 1, sleep, wake, delete" "$(since "$from")"
}
step() {
  patch "$3" "$1"
  settle "$2" 240 "$1"
}
no_pods_of() { [ -z "$(k get pods -l "app.kubernetes.io/instance=$1" -o name)" ]; }
nothing_left_of() { [ -z "$(k get pvc,pods -l "app.kubernetes.io/instance=$1" -o name)" ]; }

# check_deaths LOG: each kind of write was died at, before and behind.
check_deaths() {
  local kind when
  say "  operators killed: $(grep -c '^fault point' "$1")"
  for when in before after; do
    for kind in status apply patch delete initialize membership transfer; do
      grep -q "^fault point ${kind}_$when: kill" "$1" || fail "no operator died at ${kind}_$when"
    done
  done
  say "  at: $(sed -n 's/^fault point \(.*\): kill/\1/p' "$1" | sort | uniq -c | awk '{ printf "%s %s  ", $2, $1 }')"
}

# --- Two of them ----------------------------------------------------------------------------------

two_operators() {
  other_takes_over
  if [ "$own_cluster" = no ]; then
    say "  skipped: a frozen one and one with an old epoch, which need a cluster of its own, as operator_dies does"
    return
  fi
  frozen_one_wakes
  older_ones_are_refused
}

other_takes_over() {
  local holder from
  installed_operators 2
  holder=$(lease_holder)
  from=$(now)
  if [ "$own_cluster" = yes ]; then
    kill_process "${holder%_*}" "$SYSTEM"
  else
    k_system delete pod "${holder%_*}" --grace-period=0 --force >/dev/null 2>&1
  fi
  soon 90 other_holds "$holder" || fail "the Lease stays with '$holder'"
  report "operator killed, until the other one works" "$(since "$from")"
  k scale "rkv/$NAME" --replicas=5 >/dev/null
  settle 5
  k scale "rkv/$NAME" --replicas=3 >/dev/null
  settle 3
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  installed_operators 1
}
other_holds() { local now; now=$(lease_holder); [ -n "$now" ] && [ "$now" != "$1" ]; }

# One is stopped just before it sends a change of the membership, and wakes when another one has gone on: what it
# then sends, without a look at its Lease, must be refused.
frozen_one_wakes() {
  local log=$work/frozen.log frozen before
  installed_operators 0
  take_seat
  echo 'membership_before stop 1' >"$work/faults"
  : >"$log"
  own_operator "$work/faults" "$log"
  frozen=$!
  k scale "rkv/$NAME" --replicas=5 >/dev/null
  soon 60 grep -q '^fault point membership_before: stop' "$log" || fail "the operator did not come to a change"
  installed_operators 1
  settle 5
  k scale "rkv/$NAME" --replicas=3 >/dev/null
  settle 3
  before=$(status configIndex)
  kill -CONT $frozen
  soon 30 grep -q 'not done' "$log" || fail "what the frozen operator sent was not refused: $(tail -n 5 "$log")"
  grep 'not done' "$log" | head -n 1 | sed 's/^.*not done/  refused:/'
  grep -q 'not done.*why="conflict' "$log" || fail "the member did not refuse it"
  soon 30 gone $frozen || fail "the operator that lost its Lease goes on"
  delete_idle_pods
  settle 3
  [ "$(status configIndex)" = "$before" ] || fail "a frozen operator changed the membership"
}
gone() { ! kill -0 "$1" 2>/dev/null; }

# Without any Lease at all: an old epoch, and an old index.
older_ones_are_refused() {
  local leader index epoch sent answer before
  leader=$(leader)
  read -r index epoch < <(admin_of "$leader" status |
    python3 -c 'import json, sys; c = json.load(sys.stdin)["cluster"]; print(c["config_index"], c["epoch"])')
  before=$(status 'members[*].memberID')
  for sent in "$index $((epoch - 1))" "$((index - 1)) $epoch"; do
    answer=$(admin_of "$leader" membership -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' \
      -d "{\"expected_config_index\":${sent% *},\"epoch\":${sent#* },\"remove\":[\"$(member_of_slot 0)\"]}")
    [ "$answer" = 409 ] || fail "index and epoch $sent (now $index $epoch) are answered with $answer"
  done
  settle 3
  [ "$(status 'members[*].memberID')" = "$before" ] || fail "the members are not what they were"
  say "  changes with an old epoch or an old index are refused"
}
