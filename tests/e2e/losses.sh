#!/usr/bin/env bash
# Scenarios of `./dev e2e`: what goes wrong with processes, volumes, nodes and the network.
# shellcheck disable=SC2154,SC2153  # what is not assigned here is in tests/e2e/run, which reads this file

# --- Processes ------------------------------------------------------------------------------------

# kill_process POD [NAMESPACE]: SIGKILL to its process, which Kubernetes does not see coming.
kill_process() {
  local node ns=${2:-$NS}
  node=$(kubectl -n "$ns" get pod "$1" -o 'jsonpath={.spec.nodeName}')
  killed=$(container_of "$1" "$ns")
  $KUBE kill-container "${node#node}" "${killed#containerd://}"
}
# started_again POD: after kill_process, and after the pause that Kubernetes makes.
started_again() { soon 60 other_container_in "$1" "$NS" "$killed" || fail "$1 is not started again"; }
container_of() { kubectl -n "$2" get pod "$1" -o 'jsonpath={.status.containerStatuses[0].containerID}'; }
other_container_in() { [ "$(container_of "$1" "$2")" != "$3" ]; }
other_object() { [ "$(uid "$1" "$2" 2>/dev/null || true)" != "$3" ]; }

# The process of each pod, then each pod itself, without any grace.
kill_each() {
  local slot from before pod
  [ "$own_cluster" = yes ] || say "  skipped: the processes, which needs a cluster of its own: signals to processes of nodes"
  for slot in 0 1 2; do
    before=$(member_of_slot $slot)
    from=$(now)
    if [ "$own_cluster" = yes ]; then
      kill_process "$NAME-$slot"
      started_again "$NAME-$slot"
      settle 3
      report "kill -9 of the process of $NAME-$slot" "$(since "$from")"
      report "  longest gap of a writer" "$(longest_gap "$from")" 3
      from=$(now)
    fi
    pod=$(uid pod "$NAME-$slot")
    k delete pod "$NAME-$slot" --grace-period=0 --force >/dev/null 2>&1
    soon 60 other_object pod "$NAME-$slot" "$pod" || fail "$NAME-$slot is not made again"
    settle 3
    report "pod $NAME-$slot killed, until it takes part again" "$(since "$from")"
    report "  longest gap of a writer" "$(longest_gap "$from")" 3
    [ "$(member_of_slot $slot)" = "$before" ] || fail "slot $slot came back as another member"
  done
}

kill_leader() {
  local from pod
  needs_own_cluster "it sends a signal to a process of a node"
  pod=$(leader)
  from=$(now)
  kill_process "$pod"
  soon 60 leader_service_is_right || fail "the leader Service leads to '$(leader_endpoint)', not to $(leader)"
  report "leader's process killed, until the leader Service is right" "$(since "$from")"
  started_again "$pod"
  settle 3
  report "  until all take part" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
  # An election that Kubernetes hears nothing of.
  from=$(now)
  hand_over
  soon 60 leader_service_is_right || fail "the leader Service leads to '$(leader_endpoint)', not to $(leader)"
  report "leadership handed over by hand, until the leader Service is right" "$(since "$from")"
  settle 3
}
# To the member of the first slot that does not lead, in the words of docs/runbooks.md.
hand_over() {
  local slot=0
  [ "$(leader)" != "$NAME-0" ] || slot=1
  hand_over_to $slot
}
# hand_over_to SLOT
hand_over_to() {
  local command
  # shellcheck disable=SC2016  # the page's own quotes
  command=$(sed -n '/^## RaftKVVerySlowFsync$/,/^## /s/.*COMMAND `\([^`]*\)`.*/\1/p' docs/runbooks.md)
  ask_as_the_runbook_says "$(leader)" "${command/MEMBER/$(member_of_slot "$1")}"
}
# ask_as_the_runbook_says POD COMMAND
ask_as_the_runbook_says() {
  local folder=$work/runbook-ask
  rm -rf "$folder"
  mkdir "$folder"
  blocks_of docs/runbooks.md "Ask a member" "$folder"
  sed -i "s/\bNS\b/$NS/g; s/\bPOD\b/$1/g; s/\bCOMMAND\b/$2/g" "$folder/1.sh"
  run_block "$folder/1.sh"
}
leader_endpoint() {
  k get endpointslices -l "kubernetes.io/service-name=$NAME-leader" \
    -o 'jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].targetRef.name}'
}
# By what the members say themselves, not by the status.
leader_service_is_right() {
  local endpoint
  endpoint=$(leader_endpoint)
  [ -n "$endpoint" ] && leads "$endpoint"
}

# admin_of POD PATH [CURL ARGUMENTS]: the admin API of a member. From the pod itself where that is possible: its
# NetworkPolicy lets nobody else in but the operator.
admin_of() {
  local pod=$1 path=$2 network ip
  shift 2
  if [ "$own_cluster" = yes ]; then
    network=$($KUBE pod-network "$NS" "$pod" 2>/dev/null) || return
    nsenter --net="$network" curl -s -m 2 "$@" "http://127.0.0.1:7072/admin/$path"
  else
    ip=$(k get pod "$pod" -o 'jsonpath={.status.podIP}')
    "${enter[@]}" curl -s -m 2 "$@" "http://$ip:7072/admin/$path"
  fi
}

# --- Volumes --------------------------------------------------------------------------------------

# lose_claim SLOT: until the claim is gone, with what it held.
lose_claim() {
  local claim
  claim=$(uid pvc "data-$NAME-$1")
  k delete pvc "data-$NAME-$1" --wait=false >/dev/null
  k delete pod "$NAME-$1" --grace-period=0 --force >/dev/null 2>&1
  soon 60 other_object pvc "data-$NAME-$1" "$claim" || fail "the claim does not go"
}

lost_claim() {
  local from before
  before=$(status 'members[?(@.slot==2)].memberID')
  from=$(now)
  lose_claim 2
  soon 60 replaced 2 "$before" || fail "no replacement within 60 s"
  settle 3
  report "claim and pod deleted, until replaced" "$(since "$from")" 30
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
  [ "$(status 'members[?(@.slot==2)].memberID')" != "$before" ] || fail "an empty disk under an old identity"
}

# What is wrong with a member's volume is found by itself: files that are damaged, by the member; a volume that is gone, by
# its claim. The member that takes over is another one.
damaged_member() {
  local from pod before folder
  needs_own_cluster "it writes into a volume, and takes one away under its claim"
  pod=$NAME-2
  before=$(member_of_slot 2)
  damage_log "$pod"
  from=$(now)
  kill_process "$pod"
  soon 60 replaced 2 "$before" || fail "no replacement within 60 s"
  settle 3
  report "a member's log damaged, its process killed, until replaced" "$(since "$from")" 30
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
  is_told MemberLost "Pod $pod says that its data is damaged" || fail "no event says that the data of $pod is damaged"
  never_back "$before"

  pod=$(leader)
  before=$(member_of_slot "${pod##*-}")
  folder=$(folder_of "$pod")
  lose_volume "$pod"
  sleep 3
  [ "$(member_of_slot "${pod##*-}")" = "$before" ] || fail "a member was replaced although it has its volume yet"
  from=$(now)
  k delete pod "$pod" --grace-period=0 --force >/dev/null 2>&1
  soon 60 replaced "${pod##*-}" "$before" || fail "no replacement within 60 s"
  settle 3
  report "a volume deleted under its claim, pod ended, until replaced" "$(since "$from")" 30
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
  is_told MemberLost "The claim of pod $pod has lost its volume" || fail "no event says that the volume of $pod is gone"
  never_back "$before"
  # Kubernetes has forgotten it.
  rm -r "$folder"
}
is_told() { [[ $(k get events --field-selector "reason=$1" -o 'jsonpath={.items[*].message}') == *"$2"* ]]; }
# folder_of POD: of its volume, on this machine.
folder_of() { kubectl get pv "$(k get pvc "data-$1" -o 'jsonpath={.spec.volumeName}')" -o 'jsonpath={.spec.hostPath.path}'; }
# damage_log POD: in the middle of what its process has written to its log, which it reads again when it starts.
damage_log() {
  local folder
  folder=$(folder_of "$1")
  soon 30 has_a_log "$folder" || fail "$1 writes no log"
  dd if=/dev/urandom of="$(newest_log "$folder")" bs=4096 count=1 seek=2 conv=notrunc status=none
}
newest_log() { find "$1" -path '*/log/*.log' | sort | tail -n 1; }
# The file is made of zeros, which are written over.
has_a_log() { [ "$(tr -d '\0' <"$(newest_log "$1")" | wc -c)" -gt 32768 ]; }
# lose_volume POD: until its claim says so.
lose_volume() {
  local volume
  volume=$(k get pvc "data-$1" -o 'jsonpath={.spec.volumeName}')
  kubectl delete pv "$volume" --wait=false >/dev/null
  kubectl patch pv "$volume" --type merge -p '{"metadata":{"finalizers":null}}' >/dev/null
  soon 30 claim_has_lost_its_volume "$1" || fail "claim data-$1 is $(k get pvc "data-$1" -o 'jsonpath={.status.phase}'), not Lost"
}
claim_has_lost_its_volume() { [ "$(k get pvc "data-$1" -o 'jsonpath={.status.phase}')" = Lost ]; }

# --- Nodes and the network ------------------------------------------------------------------------

# One member a node again: what was moved stays where it is, and a lost node must not take a quorum with it.
spread() {
  local node pod deadline=$((SECONDS + 120))
  while [ $SECONDS -lt $deadline ]; do
    # A node with several, and the last of them.
    read -r node pod < <(k get pods -l "app.kubernetes.io/instance=$NAME" \
      -o 'jsonpath={range .items[*]}{.spec.nodeName} {.metadata.name}{"\n"}{end}' |
      awk '{ count[$1]++; last[$1] = $2 } END { for (node in count) if (count[node] > 1) { print node, last[node]; exit } }') ||
      return 0
    kubectl cordon "$node" >/dev/null
    k delete pod "$pod" >/dev/null
    settle 3
    kubectl uncordon "$node" >/dev/null
  done
  fail "members share a node"
}

# Sets the caller's `node` to the number of the one that the leader is on; makes another one lead if that is ours.
leaders_node() {
  spread
  node=$(k get pod "$(leader)" -o 'jsonpath={.spec.nodeName}')
  if [ "$node" = node1 ]; then
    k delete pod "$(leader)" >/dev/null
    settle 3
    node=$(k get pod "$(leader)" -o 'jsonpath={.spec.nodeName}')
  fi
  node=${node#node}
}

power_cut() {
  local from node before
  needs_own_cluster "it takes a node's power"
  before=$(members_and_claims)
  leaders_node
  from=$(now)
  $KUBE stop-node "$node"
  soon 40 not_ready "node$node" || fail "Kubernetes does not notice the power cut"
  report "power cut of the leader's node: longest gap" "$(longest_gap "$from")" 3
  from=$(now)
  $KUBE start-node "$node" 2>/dev/null
  settle 3
  report "node is back, until all take part" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
  still_are "$before"
}

# lose_leaders_node VERB WHAT: for longer than spec.replacement.after (20 s), until another member has taken over. Sets
# the caller's `node`, and `before` to the member that is lost.
lose_leaders_node() {
  local from pod
  leaders_node
  pod=$(leader)
  before=$(member_of_slot "${pod##*-}")
  from=$(now)
  $KUBE "$1" "$node"
  soon 120 replaced "${pod##*-}" "$before" || fail "no replacement within 120 s"
  settle 3
  report "node $2 for good, until three take part" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
}

lost_node() {
  local node before
  needs_own_cluster "it takes a node's power"
  lose_leaders_node stop-node lost
  $KUBE start-node "$node" 2>/dev/null
  settle 3
  never_back "$before"
}

not_ready() {
  [ "$(kubectl get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = Unknown ]
}

# A partition that is shorter than spec.replacement.after, though Kubernetes notices it: nobody is replaced.
cut_node() {
  local from node pod ip before
  needs_own_cluster "it cuts a node off"
  leaders_node
  pod=$(leader)
  ip=$(k get pod "$pod" -o 'jsonpath={.status.podIP}')
  before=$(member_of_slot "${pod##*-}")
  from=$(now)
  $KUBE cut-node "$node"
  soon 40 not_ready "node$node" || fail "Kubernetes does not notice the partition"
  report "leader's node cut off, until Kubernetes notices" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
  # On its side of the partition it must not answer any more: others have written since.
  if nsenter --net="/run/netns/rk-node$node" curl -sf -m 3 "http://$ip:7070/kv/hello" >/dev/null; then
    fail "a leader that is cut off answers a linearizable read"
  fi
  nsenter --net="/run/netns/rk-node$node" curl -sf -m 3 "http://$ip:7070/kv/hello?consistency=stale" >/dev/null ||
    fail "a member that is cut off does not answer a stale read"
  sleep 5
  from=$(now)
  $KUBE heal-node "$node"
  settle 3
  report "partition healed, until all take part" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
  [ "$(member_of_slot "${pod##*-}")" = "$before" ] || fail "a member was replaced before spec.replacement.after"
}

# What is left on the other side of the partition never comes back.
cut_node_for_good() {
  local from node before
  needs_own_cluster "it cuts a node off"
  lose_leaders_node cut-node "cut off"
  from=$(now)
  $KUBE heal-node "$node"
  soon 60 kubectl wait --for=condition=Ready "node/node$node" --timeout=1s || fail "the node does not come back"
  soon 60 none_left_on "$node" || fail "the pod of the former member still runs on node$node"
  settle 3
  report "partition healed, until the former member is gone" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
  never_back "$before"
}
never_back() { [[ $(status 'members[*].memberID') != *"$1"* ]] || fail "a member that was replaced is back"; }
replaced() { [ "$(member_of_slot "$1")" != "$2" ] && [ "$(status 'members[*].memberID' | wc -w)" = 3 ]; }
# No container of a member without a pod of this node.
none_left_on() {
  local pods containers
  pods=$(kubectl get pods -A --field-selector "spec.nodeName=node$1" -l app.kubernetes.io/name=raftkv -o name | wc -l)
  containers=$($KUBE containers "$1" | grep -c "raftkv-node" || true)
  [ "$containers" -le "$pods" ]
}

# --- A lost quorum --------------------------------------------------------------------------------

# Two of three volumes are destroyed for good, and what docs/runbooks.md says is done. The clients find the store by its
# name in the cluster's DNS, as those of users do: its Services are made anew.
lost_quorum() {
  local from pid cluster survivor
  needs_own_cluster "it resolves names as the pods of this cluster do, and leaves volumes behind"
  # shellcheck disable=SC2016  # for the shell in there
  local enter=("${enter[@]}" unshare --mount sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$work/resolv.conf")
  apply_store lost 3
  k wait --for=condition=Available rkv/lost --timeout=60s >/dev/null || fail "not available"
  settle 3 60 lost
  echo "nameserver $($KUBE dns)" >"$work/resolv.conf"
  start_load "lost.$NS.svc.cluster.local" "$work/lost"
  pid=$!
  sleep 3
  # So that whoever is left has applied what was acknowledged.
  kill -STOP $pid
  sleep 1
  cluster=$(status clusterID lost)
  survivor=lost-0
  [ "$(status leader lost)" != lost-0 ] || survivor=lost-1
  destroy_all_but "$survivor"
  from=$(now)
  soon 60 quorum_is_lost DataLost || fail "the status does not say that the quorum is lost"
  report "two of three volumes destroyed, until the status says so" "$(since "$from")"
  check_what_is_said "$survivor"
  from=$(now)
  follow_runbook RaftKVQuorumLost lost
  settle 3 120 lost
  report "docs/runbooks.md, until three members take part again" "$(since "$from")"
  [ "$(status clusterID lost)" != "$cluster" ] || fail "it is the old cluster"
  cluster=$(status clusterID lost)
  from=$(now)
  kill -CONT $pid
  soon 60 grows "$work/lost/writes" || fail "the writers that were there before do not go on"
  report "the clients of before go on after" "$(since "$from")"
  check_nothing_is_restored_again "$cluster"
  check_history $pid "$work/lost"
  patch '{"spec":{"storage":{"retention":{"onDelete":"Delete"}}}}' lost
  k delete rkv lost --timeout=60s >/dev/null || fail "not deleted within 60 s"
}
# While no operator is there, which would replace the first before the second is gone.
destroy_all_but() {
  local slot volumes claims=()
  k_system scale deployment "$RELEASE" --replicas=0 >/dev/null
  soon 60 no_operator_pods || fail "the operator does not end"
  volumes=$(k get pvc -l app.kubernetes.io/instance=lost -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.volumeName}{"\n"}{end}' |
    awk -v kept="data-$1" '$1 != kept { print $2 }')
  for slot in 0 1 2; do
    [ "lost-$slot" != "$1" ] || continue
    claims+=("$slot $(uid pvc "data-lost-$slot")")
    k delete pvc "data-lost-$slot" --wait=false >/dev/null
  done
  for slot in "${claims[@]}"; do k delete pod "lost-${slot% *}" --grace-period=0 --force >/dev/null 2>&1; done
  for slot in "${claims[@]}"; do
    soon 60 other_object pvc "data-lost-${slot% *}" "${slot#* }" || fail "claim data-lost-${slot% *} does not go"
  done
  # shellcheck disable=SC2086  # a list
  soon 60 object_gone pv $volumes || fail "volumes are left: $volumes"
  k_system scale deployment "$RELEASE" --replicas=1 >/dev/null
}
object_gone() { [ -z "$(kubectl get "$1" "${@:2}" --ignore-not-found -o name)" ]; }
grows() { local lines; lines=$(wc -l <"$1"); sleep 0.5; [ "$(wc -l <"$1")" -gt "$lines" ]; }
quorum_is_lost() { [ "$(status 'conditions[?(@.type=="QuorumLost")].reason' lost)" = "$1" ]; }
# check_what_is_said SURVIVOR: which pods are lost and who is left, as a warning too; and nothing is done about it.
check_what_is_said() {
  local slot message url
  message=$(status 'conditions[?(@.type=="QuorumLost")].message' lost)
  [[ $message == *"pod $1 has the newest state"* ]] || fail "$1 is not named: $message"
  for slot in 0 1 2; do
    [ "lost-$slot" = "$1" ] || [[ $message == *"Pod lost-$slot"* ]] || fail "lost-$slot is not named: $message"
  done
  [ "$(status phase lost)" = QuorumLost ] || fail "its phase is $(status phase lost)"
  soon 10 warned DataLost || fail "there is no event DataLost"
  url=http://$(k get service lost-read -o 'jsonpath={.spec.clusterIP}'):7070/kv/hello
  ! ask -X PUT -d no "$url" >/dev/null || fail "a write is taken without a quorum"
  sleep 5
  quorum_is_lost DataLost || fail "something was done about the quorum"
}
warned() { [ -n "$(k get events --field-selector "type=Warning,reason=$1" -o name)" ]; }

# follow_runbook SECTION NAME: the blocks of its commands as they stand there, one after the other. The survivor is the
# one that the first one's answer names.
follow_runbook() {
  local folder=$work/runbook block survivor=none
  rm -rf "$folder"
  mkdir "$folder"
  blocks_of docs/runbooks.md "$1" "$folder"
  for block in "$folder"/*.sh; do
    sed -i "s/\bNS\b/$NS/g; s/\bNAME\b/$2/g; s/\bSURVIVOR\b/$survivor/g" "$block"
    run_block "$block" || return 0
    [ "$survivor" != none ] || survivor=$(sed -n 's/.*pod \([^ ]*\) has the newest state.*/\1/p' "$block.log")
  done
}

# What comes later makes pods, and blank ones too: none of them may begin the cluster again.
check_nothing_is_restored_again() {
  local before claim
  patch '{"spec":{"pod":{"annotations":{"e2e/roll":"1"}}}}' lost
  settle 3 120 lost
  before=$(status 'members[?(@.slot==0)].memberID' lost)
  claim=$(uid pvc data-lost-0)
  k delete pvc data-lost-0 --wait=false >/dev/null
  k delete pod lost-0 --grace-period=0 --force >/dev/null 2>&1
  soon 60 other_object pvc data-lost-0 "$claim" || fail "the claim does not go"
  soon 60 other_member lost 0 "$before" || fail "the pod that was restored is not replaced"
  settle 3 60 lost
  k scale rkv/lost --replicas=5 >/dev/null
  settle 5 60 lost
  [ "$(status clusterID lost)" = "$1" ] || fail "the cluster is another one: $(status clusterID lost), not $1"
}
other_member() { [ "$(status "members[?(@.slot==$2)].memberID" "$1")" != "$3" ]; }
