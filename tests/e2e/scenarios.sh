#!/usr/bin/env bash
# Scenarios of `./dev e2e`: what a user does.
# shellcheck disable=SC2154,SC2153  # what is not assigned here is in tests/e2e/run, which reads this file

# --- What scenarios are made of -------------------------------------------------------------------

status() { k get rkv "${2:-$NAME}" -o "jsonpath={.status.$1}"; }
# By the members' own word where they can be asked: the status may be some seconds old.
leader() {
  local pod
  for pod in $(k get pods -l "app.kubernetes.io/instance=$NAME" -o 'jsonpath={.items[*].metadata.name}'); do
    ! leads "$pod" || { echo "$pod"; return; }
  done
  status leader
}
leads() { [[ $(admin_of "$1" status) =~ \"role\":\ ?\"LEADER\" ]]; }
member_of_slot() { status "members[?(@.slot==$1)].memberID"; }
uid() { k get "$1" "$2" -o 'jsonpath={.metadata.uid}'; }

# settle VOTERS [SECONDS] [NAME]: until the spec as it is now is reached.
settle() {
  local wanted deadline seen=
  wanted="$1 $1 0 Available 0"
  deadline=$((SECONDS + ${2:-120}))
  while [ $SECONDS -lt $deadline ]; do
    seen=$(k get rkv "${3:-$NAME}" -o json | python3 -c '
import json, sys
resource = json.load(sys.stdin)
s = resource.get("status", {})
behind = resource["metadata"]["generation"] - s.get("observedGeneration", 0)
print(s.get("voters"), s.get("ready"), s.get("learners"), s.get("phase"), behind)' || true)
    [ "$seen" != "$wanted" ] || return 0
    sleep 0.2
  done
  fail "${3:-$NAME}: voters, ready, learners, phase, generations behind are '$seen', not '$wanted'"
}

# soon SECONDS COMMAND...: until it succeeds; fails after that time.
soon() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.1
  done
}

claims_are() { [ "$(k get pvc -l "app.kubernetes.io/instance=$NAME" -o name | wc -l)" = "$1" ]; }
status_is() { [ "$(status "$1")" = "$2" ]; }
patch() { k patch rkv "${2:-$NAME}" --type merge -p "$1" >/dev/null; }

# Of the three slots that stay.
members_and_claims() {
  local slot
  for slot in 0 1 2; do echo "slot $slot: member $(member_of_slot $slot) on claim $(uid pvc "data-$NAME-$slot")"; done
}
# still_are BEFORE: members and claims are those of then.
still_are() { [ "$(members_and_claims)" = "$1" ] || fail "members or claims are not what they were: $(diff <(echo "$1") <(members_and_claims))"; }

# blocks_of FILE SECTION FOLDER: the section's blocks of commands, a file each.
blocks_of() {
  awk -v section="## $2" -v folder="$3" '
    /^## / { inside = $0 == section }
    /^```$/ { block = "" }
    block != "" { print >block }
    inside && /^```sh$/ { block = sprintf("%s/%d.sh", folder, ++count) }' "$1"
}
# run_block FILE [COMMAND...]: as it stands there and where it lies, under the command; what it leaves running ends with it.
run_block() {
  # shellcheck disable=SC2016  # for that shell
  (cd "$(dirname "$1")" && PATH=$OLDPWD/$BIN:$PATH timeout 400 "${@:2}" bash -euo pipefail -c \
    'trap "kill \$(jobs -p) 2>/dev/null || true" EXIT; . "$0"' "$1" >"$1.log" 2>&1) || {
    sed 's/^/    /' "$1" "$1.log"
    fail "block $(basename "$1" .sh)"
    return 1
  }
}

# --- The image -----------------------------------------------------------------------------------

# What the images weigh, and what the kernel says of the processes that run in them.
image() {
  local name weight user labels most label
  needs_own_cluster "it looks at the archives of the images, and at the processes of the nodes"
  while read -r name weight user labels; do
    most=60
    [ "$name" = raftkv-node ] || most=30
    say "  $name adds $weight MB to its base (at most $most)"
    [ "$weight" -le $most ] || fail "$name adds $weight MB, more than $most"
    [ "$user" = 10001:10001 ] || fail "$name runs as '$user'"
    for label in title description version revision created; do
      [[ ,$labels, == *",org.opencontainers.image.$label,"* ]] || fail "$name has no label for its $label"
    done
  done <"$work/weights"
  check_confinement
}
check_confinement() {
  local node process image checked=0 file
  for node in 1 2 3; do
    while read -r _ process image; do
      [[ $image == */raftkv-node:* || $image == */raftkv-operator:* ]] || continue
      checked=$((checked + 1))
      file=/proc/$process/status
      for row in 'Uid: 10001 10001 10001 10001' 'Gid: 10001 10001 10001 10001' 'CapEff: 0000000000000000' \
        'CapBnd: 0000000000000000' 'NoNewPrivs: 1' 'Seccomp: 2'; do
        tr '\t' ' ' <"$file" | grep -q "^$row" || fail "$image: $(grep "^${row%%:*}:" "$file"), not $row"
      done
      awk '$5 == "/" { root = $6 } END { exit root !~ /^ro(,|$)/ }' "/proc/$process/mountinfo" ||
        fail "$image: the root file system can be written to"
    done < <($KUBE containers $node)
  done
  [ $checked = 4 ] || fail "$checked containers of three members and an operator were found"
  say "  uid 10001, no capabilities, no new privileges, seccomp, root file system read-only"
}

# --- Scenarios ------------------------------------------------------------------------------------

# SIGTERM: the leader hands over before it ends.
restart_process() {
  local from before pod
  pod=$(leader)
  before=$(member_of_slot "${pod##*-}")
  from=$(now)
  k delete pod "$pod" >/dev/null
  report "leader's pod ends on SIGTERM" "$(since "$from")"
  settle 3
  report "  until it takes part again" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  [ "$(member_of_slot "${pod##*-}")" = "$before" ] || fail "a pod with its volume came back as another member"
}

roll() {
  local from before
  before=$(members_and_claims)
  from=$(now)
  k patch rkv "$NAME" --type merge -p '{"spec":{"pod":{"annotations":{"e2e/roll":"1"}}}}' >/dev/null
  settle 3
  report "roll of three pods" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  [ "$(k get pods -o 'jsonpath={.items[*].metadata.annotations.e2e/roll}')" = "1 1 1" ] ||
    fail "not every pod has the new template"
  still_are "$before"
}

# The same bytes under another name, which is another image to Kubernetes and the operator: by the spec, and for a store
# that names none by an operator with another default.
roll_image() {
  local from node image next
  needs_own_cluster "it gives an image another name on the nodes"
  image=$(images_in_use)
  next=${image%:*}:e2e-next
  for node in 1 2 3; do $KUBE tag $node "$image" "$next"; done
  for image in "$next" "$image"; do
    from=$(now)
    patch "{\"spec\":{\"image\":\"$image\"}}"
    settle 3
    report "roll to the image ${image##*/}" "$(since "$from")"
    report "  longest gap of a writer" "$(longest_gap "$from")" 1
    [ "$(images_in_use)" = "$image" ] || fail "members run $(images_in_use), not $image"
  done
  k patch rkv "$NAME" --type json -p '[{"op":"remove","path":"/spec/image"}]' >/dev/null
  settle 3
  from=$(now)
  helm_does upgrade "$RELEASE" charts/raftkv-operator --reuse-values --set "nodeImage.tag=${next##*:}" --wait --timeout 120s
  soon 120 images_are "$next" || fail "members run $(images_in_use), not the new operator's default"
  settle 3
  report "an operator with another default image, until all run it" "$(since "$from")"
  helm_does rollback "$RELEASE" --wait --timeout 120s
  soon 120 images_are "$image" || fail "members run $(images_in_use), not the former operator's default"
  settle 3
  report "  and back" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
}
images_are() { [ "$(images_in_use)" = "$1" ]; }
images_in_use() {
  k get pods -l "app.kubernetes.io/instance=$NAME" -o 'jsonpath={range .items[*]}{.spec.containers[0].image}{"\n"}{end}' |
    sort -u
}

broken_image() {
  local from
  from=$(now)
  k patch rkv "$NAME" --type merge -p '{"spec":{"image":"localhost/no-such-image:1"}}' >/dev/null
  soon 60 status_is ready 2 || fail "the roll does not begin"
  sleep 8
  [ "$(status ready)" = 2 ] || fail "a broken image took $((3 - $(status ready))) members"
  k patch rkv "$NAME" --type json -p '[{"op":"remove","path":"/spec/image"}]' >/dev/null
  settle 3
  report "broken image, and back" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
}

# Every node in turn, as kubectl does it; and two members at once, of which the budget lets one go.
drain() {
  local node from before pods
  needs_own_cluster "it cordons every node in turn and evicts what others run there"
  before=$(members_and_claims)
  mapfile -t pods < <(k get pods -l "app.kubernetes.io/instance=$NAME" -o name)
  from=$(now)
  evict "${pods[0]#pod/}" >"$work/evict.log" 2>&1 || fail "no member can be evicted: $(<"$work/evict.log")"
  for node in 1 2; do
    ! evict "${pods[node]#pod/}" >"$work/evict.log" 2>&1 || fail "${pods[node]} was evicted beside ${pods[0]}"
    grep -q "disruption budget" "$work/evict.log" || fail "refused, but not by the budget: $(<"$work/evict.log")"
  done
  settle 3
  report "eviction of one member, the others' refused meanwhile" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  for node in 1 2 3; do
    from=$(now)
    kubectl drain "node$node" --ignore-daemonsets --delete-emptydir-data --timeout=60s >"$work/drain.log" 2>&1 ||
      fail "node$node was not drained within 60 s: $(tail -n 1 "$work/drain.log")"
    kubectl uncordon "node$node" >/dev/null
    sleep 1
    settle 3
    report "drain of node$node" "$(since "$from")"
    report "  longest gap of a writer" "$(longest_gap "$from")" 1
  done
  still_are "$before"
}

# evict POD: as a drain asks for it.
evict() {
  k create --raw "/api/v1/namespaces/$NS/pods/$1/eviction" -f - \
    <<<'{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "'"$1"'", "namespace": "'"$NS"'"}}'
}

# With what it wrote if the volumes are kept, and blank if they go.
recreate() {
  local from url
  apply_store other 1
  k wait --for=condition=Available rkv/other --timeout=60s >/dev/null || fail "not available"
  url=http://$(k get service other -o 'jsonpath={.spec.clusterIP}'):7070/kv/kept
  soon 30 ask -X PUT -d treasure "$url" || fail "$url takes no write"
  from=$(now)
  k delete rkv other --timeout=60s >/dev/null || fail "not deleted within 60 s"
  report "delete" "$(since "$from")"
  [ -n "$(k get pvc data-other-0 -o name 2>/dev/null)" ] || fail "the claim went although it is to stay"
  from=$(now)
  apply_store other 1
  k wait --for=condition=Available rkv/other --timeout=60s >/dev/null || fail "not available again"
  report "another one under the same name, on its volume" "$(since "$from")"
  url=http://$(k get service other -o 'jsonpath={.spec.clusterIP}'):7070/kv/kept
  soon 30 value_is treasure "$url" || fail "$url is not what was written before"
  patch '{"spec":{"replicas":3,"storage":{"retention":{"onDelete":"Delete"}}}}' other
  settle 3 60 other
  k delete rkv other --timeout=60s >/dev/null || fail "not deleted within 60 s"
  soon 30 nothing_left_of other || fail "claims are left although they are to go"
  from=$(now)
  apply_store other 3
  k wait --for=condition=Available rkv/other --timeout=60s >/dev/null || fail "not available without volumes"
  report "another one under the same name, blank" "$(since "$from")"
  url=http://$(k get service other -o 'jsonpath={.spec.clusterIP}'):7070/kv/kept
  soon 30 not_found "$url" || fail "$url is not 404 on blank volumes"
  patch '{"spec":{"storage":{"retention":{"onDelete":"Delete"}}}}' other
  settle 3 60 other
  orphan_other
}
# Pods that are to go on without their RaftKV keep their claims.
orphan_other() {
  k delete rkv other --cascade=orphan --timeout=60s >/dev/null || fail "not deleted within 60 s, leaving orphans"
  sleep 3
  [ "$(k get pods -l app.kubernetes.io/instance=other -o name | wc -l)" = 3 ] || fail "orphaned pods ended"
  [ -z "$(k get pvc -l app.kubernetes.io/instance=other -o 'jsonpath={.items[*].metadata.deletionTimestamp}')" ] ||
    fail "claims of running pods were deleted"
  k delete statefulset,service,networkpolicy,pdb,serviceaccount,pvc -l app.kubernetes.io/instance=other --wait=false >/dev/null
  soon 60 nothing_left_of other || fail "what was left does not go by hand"
}
value_is() { [ "$(ask "$2")" = "$1" ]; }
not_found() { [ "$("${enter[@]}" curl -s -m 2 -o /dev/null -w '%{http_code}' "$1")" = 404 ]; }

# The blocks of docs/kubernetes.md as they stand there, in its order. Those of Install need what this run has done already,
# with images of other names.
walkthrough() {
  local from folder=$work/walkthrough section count
  needs_own_cluster "it resolves names as the pods of this cluster do, and gives an image another name"
  # As a process of a node, for the way to Services; with the names of the cluster; for its own ports.
  # shellcheck disable=SC2016  # for the shell in there
  local enter=("${enter[@]}" unshare --mount sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$work/resolv.conf")
  printf 'search cluster.local\nnameserver %s\noptions ndots:5\n' "$($KUBE dns)" >"$work/resolv.conf"
  mkdir -p "$folder/docs"
  cp -r docs/samples "$folder/docs"
  sed -i "s|image: raftkv-|image: $registry/raftkv-|" "$folder"/docs/samples/*.yaml
  kubectl config view --raw >"$work/kubeconfig"
  kubectl --kubeconfig "$work/kubeconfig" config set-context --current --namespace="$NS" >/dev/null
  from=$(now)
  walk "Create"
  walk "Connect"
  [ "$(grep -o "hello world" "$folder/Connect.log" | wc -l)" = 3 ] || fail "Connect: the value is not read three times: $(<"$folder/Connect.log")"
  walk "Scale"
  tag_next_version
  walk "Upgrade, and any other change of the pods"
  settle 5 120 db
  [ "$(k get pods -l app.kubernetes.io/instance=db -o 'jsonpath={.items[*].spec.containers[0].image}' | tr ' ' '\n' | sort -u)" = \
    "$registry/raftkv-node:0.2.0" ] || fail "not every pod runs the new version"
  local before
  before=$(status "members[?(@.slot==1)].memberID" db)
  walk "Replace a member"
  settle 5 120 db
  [ "$(status "members[?(@.slot==1)].memberID" db)" != "$before" ] || fail "slot 1 has the member of before"
  walk "Back up, and begin with a backup"
  settle 3 60 restored
  [ "$(ask "http://$(k get service restored -o 'jsonpath={.spec.clusterIP}'):7070/kv/greeting")" = "hello world" ] ||
    fail "what was saved is not in what was restored"
  walk "Hibernate"
  settle 3 120 db
  report "docs/kubernetes.md, block by block" "$(since "$from")"
  # Or else a block that is added would go unseen.
  count=$(grep -c '^```sh$' docs/kubernetes.md)
  [ "$(find "$folder"/blocks-* -name '*.sh' | wc -l)" = $((count - $(blocks_in Install))) ] || fail "docs/kubernetes.md has blocks that were not run"
  for section in db restored; do
    patch '{"spec":{"storage":{"retention":{"onDelete":"Delete"}}}}' $section
    k delete rkv $section --timeout=60s >/dev/null || fail "$section is not deleted within 60 s"
  done
}
# walk SECTION: its blocks, in one shell as somebody pastes them, with what they say in SECTION.log. (Each in a shell of its
# own hid that what one had left running was in the way of the next.)
walk() {
  local part=$work/walkthrough/blocks-${1%%,*} section=$work/walkthrough/${1%%,*}.sh
  mkdir "$part"
  blocks_of docs/kubernetes.md "$1" "$part"
  cat "$part"/*.sh | sed "s/\bNAMESPACE\b/$NS/g" >"$section"
  KUBECONFIG=$work/kubeconfig run_block "$section" "${enter[@]}" || return 0
  mv "$section.log" "${section%.sh}.log"
}
blocks_in() {
  awk -v section="## $1" '/^## / { inside = $0 == section } inside && /^```sh$/ { ++count } END { print count + 0 }' docs/kubernetes.md
}
# The same bytes as the version that the page goes to.
tag_next_version() {
  local node
  for node in 1 2 3; do $KUBE tag $node "$(images_in_use)" "$registry/raftkv-node:0.2.0"; done
}

# What Helm does to the operator does nothing to a store: its members and its volumes stay, and clients see nothing.
chart() {
  local from before kept older=$work/older-chart
  before=$(objects_of_store)
  kept=$(without_pods "$before")
  from=$(now)
  helm_does upgrade "$RELEASE" charts/raftkv-operator --reuse-values --set replicas=2 --wait --timeout 120s
  [ "$(operators_ready)" = 2 ] || fail "$(operators_ready) operators after an upgrade to two"
  helm_does rollback "$RELEASE" 1 --wait --timeout 120s
  [ "$(operators_ready)" = 1 ] || fail "$(operators_ready) operators after going back to one"
  report "helm upgrade and rollback" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  from=$(now)
  helm_does uninstall "$RELEASE" --wait --timeout 120s
  k get "rkv/$NAME" >/dev/null || fail "the store went with the operator"
  they_are "$before" "$(objects_of_store)"
  kill_a_follower
  report "helm uninstall, and a pod that comes back without an operator" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 3
  from=$(now)
  older_chart "$older"
  install_operator "$older"
  settle 3
  patch '{"spec":{"progressDeadlineSeconds":700}}' 2>/dev/null
  [ -z "$(spec progressDeadlineSeconds)" ] || fail "the older definition has the field that it is to lack"
  before=$(objects_of_store)
  helm_does upgrade "$RELEASE" charts/raftkv-operator --reuse-values --wait --timeout 120s
  [ "$(spec progressDeadlineSeconds)" = 600 ] || fail "after an upgrade the new field has '$(spec progressDeadlineSeconds)', not its default"
  patch '{"spec":{"progressDeadlineSeconds":700}}'
  [ "$(spec progressDeadlineSeconds)" = 700 ] || fail "after an upgrade the new field is '$(spec progressDeadlineSeconds)', not what was set"
  settle 3
  they_are "$before" "$(objects_of_store)"
  report "an older chart, upgraded with its definition" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  from=$(now)
  patch '{"spec":{"progressDeadlineSeconds":null,"pod":{"annotations":{"e2e/roll":"3"}}}}'
  settle 3
  report "the new operator rolls a change" "$(since "$from")"
  they_are "$kept" "$(without_pods "$(objects_of_store)")"
}
spec() { k get rkv "$NAME" -o "jsonpath={.spec.$1}"; }
# What belongs to the store, down to its volumes, each with its UID and the time since which it is being deleted.
objects_of_store() {
  local row='{.kind} {.metadata.name} {.metadata.uid} {.metadata.deletionTimestamp}'
  k get statefulsets,services,pods,pvc -l "app.kubernetes.io/instance=$NAME" -o "jsonpath={range .items[*]}$row{\"\n\"}{end}"
  kubectl get pv -o "jsonpath={range .items[*]}$row {.spec.claimRef.namespace}/{.spec.claimRef.name}{\"\n\"}{end}" |
    grep " $NS/data-$NAME-" || true
}
without_pods() { grep -v "^Pod " <<<"$1"; }
they_are() { [ "$2" = "$1" ] || fail "what Helm did to the operator changed the store: $(diff <(echo "$1") <(echo "$2"))"; }
# older_chart FOLDER: as one of before, whose definition had no spec.progressDeadlineSeconds.
older_chart() {
  cp -r charts/raftkv-operator "$1"
  sed -i 's/^version: .*/version: 0.0.9/' "$1/Chart.yaml"
  awk '
    { match($0, /^ */) }
    inside && RLENGTH > depth { next }
    { inside = /^ *progressDeadlineSeconds:$/; depth = RLENGTH }
    !inside' charts/raftkv-operator/files/crds/raftkv.dev_raftkvs.yaml >"$1/files/crds/raftkv.dev_raftkvs.yaml"
}
helm_does() { helm "$1" -n "$SYSTEM" "${@:2}" >"$work/helm.log" 2>&1 || fail "helm $1: $(tail -n 3 "$work/helm.log")"; }
operators_ready() { k_system get deployment "$RELEASE" -o 'jsonpath={.status.readyReplicas}'; }
# A pod that does not lead, without any grace.
kill_a_follower() {
  local pod=$NAME-0 before
  [ "$(leader)" != "$pod" ] || pod=$NAME-1
  before=$(uid pod "$pod")
  k delete pod "$pod" --grace-period=0 --force >/dev/null 2>&1
  soon 60 other_object pod "$pod" "$before" || fail "$pod is not made again"
  k wait --for=condition=Ready "pod/$pod" --timeout=60s >/dev/null || fail "$pod is not ready again"
}

# 20 at once, three of them with three members. They go at once, too, and leave nothing.
many() {
  local n from
  from=$(now)
  for n in $(seq 20); do apply_store "many-$n" "$(members_of_many "$n")"; done
  for n in $(seq 20); do settle "$(members_of_many "$n")" 300 "many-$n"; done
  report "20 RaftKV, 17 of one member and 3 of three" "$(since "$from")"
  for n in $(seq 20); do
    soon 30 ask -X PUT -d "of $n" "$(url_of_many "$n")" || fail "many-$n takes no write"
  done
  for n in $(seq 20); do
    soon 30 value_is "of $n" "$(url_of_many "$n")" || fail "many-$n has not what was written to it"
    patch '{"spec":{"storage":{"retention":{"onDelete":"Delete"}}}}' "many-$n"
  done
  [ "$(left_of_many | grep -c '^pod/')" = 26 ] || fail "there are not 26 pods: $(left_of_many | tr '\n' ' ')"
  from=$(now)
  # shellcheck disable=SC2046  # a list
  k delete rkv $(seq -f 'many-%g' 20) --timeout=180s >/dev/null || fail "not all are deleted within 180 s"
  soon 120 nothing_left_of_many || fail "left of 20 that were deleted: $(left_of_many | tr '\n' ' ')"
  report "the 20 deleted at once, until no object is left" "$(since "$from")"
}
members_of_many() { [ "$1" -le 3 ] && echo 3 || echo 1; }
url_of_many() { echo "http://$(k get service "many-$1" -o 'jsonpath={.spec.clusterIP}'):7070/kv/many"; }
# Objects of every kind with their names, and volumes of their claims. Events are told of what is gone.
left_of_many() {
  local kinds all
  kinds=$(kubectl api-resources --namespaced --verbs=list,delete -o name | grep -v -e '^events' -e '^endpoints$' | paste -sd,) &&
    all=$(k get "$kinds" -o name) &&
    all+=$(kubectl get pv -o "jsonpath={range .items[?(@.spec.claimRef.namespace==\"$NS\")]}{\"\\n\"}volume/{.spec.claimRef.name}{end}") || return
  grep -E '/(data-)?many-' <<<"$all" || true
}
nothing_left_of_many() {
  local left
  left=$(left_of_many) && [ -z "$left" ]
}
