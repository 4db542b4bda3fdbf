#!/usr/bin/env bash
# Scenarios of `./dev e2e`: fields of the spec, and specs that are refused.
# shellcheck disable=SC2154,SC2153  # what is not assigned here is in tests/e2e/run, which reads this file

# A setting comes into force, and goes when it is taken back.
config() {
  local from large=$work/large
  head -c 3072 /dev/zero >"$large"
  from=$(now)
  patch '{"spec":{"config":{"http":{"maxValueBytes":"2Ki"}}}}'
  settle 3
  report "roll of a setting" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  [ "$(code_of_put "$large")" = 413 ] || fail "a value beyond the new setting is answered with $(code_of_put "$large")"
  from=$(now)
  k patch rkv "$NAME" --type json -p '[{"op":"remove","path":"/spec/config"}]' >/dev/null
  settle 3
  report "the setting taken back" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  [[ $(code_of_put "$large") == 20? ]] || fail "a value that is allowed again is answered with $(code_of_put "$large")"
}
code_of_put() {
  "${enter[@]}" curl -s -m 2 -o /dev/null -w '%{http_code}' --retry 3 -T "$1" "http://$service:7070/kv/large"
}

# A field of each group of the spec on a store of its own, set and taken back while it is written to.
fields() {
  local from pid before wanted
  apply_store fields 3
  k wait --for=condition=Available rkv/fields --timeout=60s >/dev/null || fail "not available"
  settle 3 60 fields
  start_load "$(k get service fields -o 'jsonpath={.spec.clusterIP}')" "$work/fields"
  pid=$!
  before=$(fields_seen)
  from=$(now)
  patch '{"spec":{
    "resources": {"requests": {"cpu": "11m"}},
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 7, "preference":
      {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}}]}},
    "topologySpreadConstraints": [{"maxSkew": 3, "topologyKey": "kubernetes.io/os", "whenUnsatisfiable": "ScheduleAnyway"}],
    "pod": {"labels": {"e2e-field": "set"}, "annotations": {"e2e-field": "set"}, "env": [{"name": "E2E_FIELD", "value": "set"}],
      "nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [{"key": "e2e-field", "operator": "Exists"}],
      "podSecurityContext": {"fsGroupChangePolicy": "Always"}},
    "config": {"log": {"level": "debug"}},
    "service": {"type": "NodePort", "annotations": {"e2e-field": "set"}},
    "disruptionBudget": {"enabled": false}}}' fields
  settle 3 120 fields
  report "fields of the pods, the Service and the budget" "$(since "$from")"
  wanted='cpu 11m
affinity 7
spread kubernetes.io/os
label set
annotation set
env set
nodeSelector linux
toleration Exists
security Always
config debug
service NodePort
service annotation set
budget '
  [ "$(fields_seen)" = "$wanted" ] || fail "set, and seen otherwise: $(diff <(echo "$wanted") <(fields_seen))"
  from=$(now)
  patch '{"spec":{"resources":null,"affinity":null,"topologySpreadConstraints":null,"pod":null,"config":null,"service":null,
    "disruptionBudget":null}}' fields
  settle 3 120 fields
  report "taken back" "$(since "$from")"
  [ "$(fields_seen)" = "$before" ] || fail "taken back, and seen otherwise: $(diff <(echo "$before") <(fields_seen))"
  fields_of_what_is_done
  check_history $pid "$work/fields"
  patch '{"spec":{"storage":{"retention":{"onDelete":"Delete"}}}}' fields
  k delete rkv fields --timeout=60s >/dev/null || fail "not deleted within 60 s"
}
# A line for each: what all pods have alike, and the objects around them.
fields_seen() {
  local row
  for row in 'cpu .spec.containers[0].resources.requests.cpu' \
    'affinity .spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight' \
    'spread .spec.topologySpreadConstraints[0].topologyKey' 'label .metadata.labels.e2e-field' \
    'annotation .metadata.annotations.e2e-field' 'env .spec.containers[0].env[?(@.name=="E2E_FIELD")].value' \
    'nodeSelector .spec.nodeSelector.kubernetes\.io/os' 'toleration .spec.tolerations[?(@.key=="e2e-field")].operator' \
    'security .spec.securityContext.fsGroupChangePolicy' 'config .spec.containers[0].env[?(@.name=="RAFTKV_LOG_LEVEL")].value'; do
    printf '%s %s\n' "${row%% *}" "$(pods_have "${row#* }")"
  done
  printf 'service %s\n' "$(k get service fields -o 'jsonpath={.spec.type}')"
  printf 'service annotation %s\n' "$(k get service fields -o 'jsonpath={.metadata.annotations.e2e-field}')"
  printf 'budget %s\n' "$(k get pdb fields --ignore-not-found -o name)"
}
# A value that not all of them have shows as several.
pods_have() {
  k get pods -l app.kubernetes.io/instance=fields -o "jsonpath={range .items[*]}{$1}{\"\\n\"}{end}" | sort -u | paste -sd,
}
# Those that say what the operator does.
fields_of_what_is_done() {
  local from before
  # Neither strategy OnDelete, nor an update or an operator that is paused, touches a pod.
  before=$(uids_of_fields)
  patch '{"spec":{"update":{"strategy":"OnDelete"},"pod":{"annotations":{"e2e-field":"later"}}}}' fields
  sleep 5
  patch '{"spec":{"update":{"strategy":null,"paused":true}}}' fields
  sleep 5
  patch '{"spec":{"update":null,"paused":true}}' fields
  soon 30 status_of_fields_is phase Paused || fail "its phase is $(status phase fields), not Paused"
  [ "$(uids_of_fields)" = "$before" ] || fail "pods were touched although it was not to be"
  from=$(now)
  patch '{"spec":{"paused":null}}' fields
  settle 3 120 fields
  report "update and paused taken back, until the change has rolled" "$(since "$from")"
  [ "$(pods_have .metadata.annotations.e2e-field)" = later ] || fail "the change has not reached every pod"

  patch '{"spec":{"replacement":{"enabled":false}}}' fields
  before=$(status 'members[?(@.slot==2)].memberID' fields)
  k delete pvc data-fields-2 --wait=false >/dev/null
  k delete pod fields-2 --grace-period=0 --force >/dev/null 2>&1
  soon 60 degraded_fields_say ReplacementDisabled || fail "nobody says that replacement is off"
  sleep 3
  [[ $(status 'members[*].memberID' fields) == *$before* ]] || fail "the member was replaced although that is off"
  from=$(now)
  patch '{"spec":{"replacement":{"enabled":null}}}' fields
  settle 3 120 fields
  report "replacement taken back, until the member is replaced" "$(since "$from")"

  sizes_of_volumes
}
# Volumes grow where their class lets them, and never shrink. On a cluster of its own the class does not let them first, and
# then somebody mends it.
sizes_of_volumes() {
  local class
  class=$(k get pvc data-fields-0 -o 'jsonpath={.spec.storageClassName}')
  [ "$own_cluster" = no ] || let_grow "$class" false
  patch '{"spec":{"storage":{"size":"2Gi"}}}' fields
  case $(kubectl get storageclass "$class" -o 'jsonpath=allowVolumeExpansion: {.allowVolumeExpansion}') in
    "allowVolumeExpansion: true") volumes_grow ;;
    "allowVolumeExpansion: "*) growth_is_refused "$class" ;;
    *) fail "StorageClass '$class' cannot be read, and whether its volumes can grow not be told" ;;
  esac
  if [ "$own_cluster" = yes ]; then
    let_grow "$class" true
    volumes_grow
  fi
  ! patch '{"spec":{"storage":{"size":"1Gi"}}}' fields 2>/dev/null || fail "a volume was to shrink, and nobody objected"
}
let_grow() { kubectl patch storageclass "$1" -p "{\"allowVolumeExpansion\":$2}" >/dev/null; }
volumes_grow() {
  local from
  from=$(now)
  # What was refused before is tried again after up to a minute in so short a time.
  soon 120 volumes_of_fields_are .status.capacity.storage 2Gi || fail "the volumes have $(sizes_of_fields .status.capacity.storage)"
  report "volumes grow" "$(since "$from")"
  volumes_of_fields_are .spec.resources.requests.storage 2Gi || fail "the claims ask for $(sizes_of_fields .spec.resources.requests.storage)"
  settle 3 60 fields
  soon 60 degraded_fields_say AsExpected || fail "the volumes have grown, and Degraded is still $(status 'conditions[?(@.type=="Degraded")].reason' fields)"
}
# growth_is_refused CLASS: that is said in the words of the API server, and holds up nothing else.
growth_is_refused() {
  local condition
  soon 60 degraded_fields_say VolumeCannotGrow || fail "nobody says that the volumes cannot grow: Degraded is $(status 'conditions[?(@.type=="Degraded")].reason' fields)"
  condition=$(status 'conditions[?(@.type=="Degraded")].message' fields)
  [[ $condition == *"PersistentVolumeClaim data-fields-"*storageclass* ]] || fail "Degraded does not have the API server's words on a claim: $condition"
  soon 30 progress_of_fields_is VolumeCannotGrow || fail "Progressing is $(status 'conditions[?(@.type=="Progressing")].reason' fields)"
  soon 10 warned VolumeCannotGrow || fail "there is no event VolumeCannotGrow"
  patch '{"spec":{"pod":{"annotations":{"e2e-field":"beside"}}}}' fields
  soon 120 annotations_of_fields_are beside || fail "a growth that is refused holds up a roll"
  soon 60 status_of_fields_is ready 3 || fail "$(status ready fields) members take part after that roll"
  degraded_fields_say VolumeCannotGrow || fail "nobody says any more that the volumes cannot grow"
  volumes_of_fields_are .spec.resources.requests.storage 1Gi || fail "the claims ask for $(sizes_of_fields .spec.resources.requests.storage)"
  say "  StorageClass $1 does not let volumes grow: the operator says VolumeCannotGrow, and goes on with all else"
}
sizes_of_fields() { k get pvc -l app.kubernetes.io/instance=fields -o "jsonpath={range .items[*]}{$1}{\"\\n\"}{end}" | sort -u | paste -sd,; }
# volumes_of_fields_are PATH GIBIBYTES: of each claim, however that is written.
volumes_of_fields_are() {
  local size
  size=$(sizes_of_fields "$1")
  [ "$size" = "$2" ] || [ "$size" = $((${2%Gi} << 30)) ]
}
progress_of_fields_is() { [ "$(status 'conditions[?(@.type=="Progressing")].reason' fields)" = "$1" ]; }
annotations_of_fields_are() { [ "$(pods_have .metadata.annotations.e2e-field)" = "$1" ]; }
uids_of_fields() { k get pods -l app.kubernetes.io/instance=fields -o 'jsonpath={.items[*].metadata.uid}'; }
status_of_fields_is() { [ "$(status "$1" fields)" = "$2" ]; }
degraded_fields_say() { [ "$(status 'conditions[?(@.type=="Degraded")].reason' fields)" = "$1" ]; }

# What the refusal must name, and what is put over a right spec. As `kubectl apply` sends it: it is that which refuses
# fields that there are not.
bad_spec() {
  local row field wrong answer
  for row in 'spec.replicas {"replicas":11}' 'spec.replicas {"replicas":-1}' 'spec.storage {"storage":{"size":"1Mi"}}' \
    'spec.storage {"storage":{"size":"1Gi","className":"other"}}' 'electionTick {"config":{"raft":{"electionTick":3}}}' \
    'heartbeatTicks {"config":{"raft":{"heartbeatTicks":9}}}' 'version {"version":"1","image":"a:1"}' \
    'spec.config {"pod":{"env":[{"name":"RAFTKV_X","value":"1"}]}}' 'spec.replacement.after {"replacement":{"after":"soon"}}'; do
    field=${row%% *}
    wrong=${row#* }
    if answer=$(apply_over "$wrong" 2>&1); then
      fail "accepted: $wrong"
    elif [[ $answer != *"$field"* ]]; then
      fail "the refusal of $wrong does not name $field: $answer"
    fi
  done
  # The same way with nothing wrong, or else this could not fail.
  answer=$(apply_over '{}' 2>&1) || fail "refused although nothing is wrong: $answer"
  ! apply_store Not_A_Name 3 2>/dev/null || fail "accepted: a name with capitals"
  settle 3
  say "  wrong specs are refused, and the refusal says of what"
  refused_pods
}
# The schema takes it, and the API server does not take the pods: which resources must have limits no schema knows.
refused_pods() {
  local from before pod
  patch '{"spec":{"resources":{"requests":{"example.com/device":"1"}}}}'
  soon 30 degraded_says ApplyRefused || fail "nobody says that the pods are refused"
  [[ $(status 'conditions[?(@.type=="Degraded")].message') == *"StatefulSet $NAME:"*"Limit must be set"* ]] ||
    fail "Degraded does not say what is refused: $(status 'conditions[?(@.type=="Degraded")].message')"
  if [ "$own_cluster" = yes ]; then
    pod=$(leader)
    from=$(now)
    kill_process "$pod"
    soon 60 leader_service_is_right || fail "the leader Service leads to '$(leader_endpoint)', not to $(leader)"
    report "refused pods: leader killed, until its Service is right" "$(since "$from")"
    started_again "$pod"
    soon 60 status_is ready 3 || fail "$(status ready) members are ready, not 3"
  fi
  before=$(member_of_slot 2)
  from=$(now)
  lose_claim 2
  soon 60 replaced 2 "$before" || fail "no replacement within 60 s"
  report "refused pods: claim lost, until replaced" "$(since "$from")" 30
  from=$(now)
  k scale "rkv/$NAME" --replicas=5 >/dev/null
  soon 60 status_is voters 5 || fail "$(status voters) voters, not 5"
  report "refused pods: 3 -> 5" "$(since "$from")" 20
  k scale "rkv/$NAME" --replicas=3 >/dev/null
  soon 60 status_is voters 3 || fail "$(status voters) voters, not 3"
  degraded_says ApplyRefused || fail "nobody says any more that the pods are refused"
  from=$(now)
  patch '{"spec":{"resources":{"requests":{"example.com/device":null,"cpu":"11m"}}}}'
  settle 3
  report "refused pods: mended, until it has rolled" "$(since "$from")"
  degraded_says AsExpected || fail "Degraded is still $(status 'conditions[?(@.type=="Degraded")].reason')"
  k patch rkv "$NAME" --type json -p '[{"op":"remove","path":"/spec/resources"}]' >/dev/null
  settle 3
}
degraded_says() { [ "$(status 'conditions[?(@.type=="Degraded")].reason')" = "$1" ]; }
apply_over() {
  python3 -c '
import json, sys
spec = {"replicas": 3, "storage": {"size": "1Gi"}, "replacement": {"after": "20s"}} | json.loads(sys.argv[2])
print(json.dumps({"apiVersion": "raftkv.dev/v1alpha1", "kind": "RaftKV", "metadata": {"name": sys.argv[1]}, "spec": spec}))' \
    "$NAME" "$1" | k apply --dry-run=server -f -
}
