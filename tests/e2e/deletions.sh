#!/usr/bin/env bash
# Scenarios of `./dev e2e`: what is deleted while it runs, with all that it owns or all that is beside it.
# shellcheck disable=SC2154,SC2153  # what is not assigned here is in tests/e2e/run, which reads this file

# --- With what it owns ----------------------------------------------------------------------------

# Its pods run when it is deleted in the foreground, and go before it; whoever asks for the same name all the time gets it
# then: with its data if the volumes are kept, blank if not.
deleted_in_foreground() {
  local from members claims
  apply_store front 3
  k wait --for=condition=Available rkv/front --timeout=60s >/dev/null || fail "not available"
  settle 3 60 front
  soon 30 ask -X PUT -d treasure "$(url_of_front)" || fail "$(url_of_front) takes no write"
  from=$(now)
  members=$(status 'members[*].memberID' front)
  claims=$(claims_of_front)
  delete_and_make_again
  soon 30 value_is treasure "$(url_of_front)" || fail "$(url_of_front) is not what was written before"
  [ "$(status 'members[*].memberID' front)" = "$members" ] || fail "other members are on the volumes of before"
  [ "$(claims_of_front)" = "$claims" ] || fail "the claims went although they are to stay"

  patch '{"spec":{"storage":{"retention":{"onDelete":"Delete"}}}}' front
  settle 3 60 front
  delete_and_make_again
  soon 30 not_found "$(url_of_front)" || fail "$(url_of_front) is not 404 on blank volumes"
  [ "$(comm -12 <(sort <<<"$claims") <(claims_of_front | sort))" = "" ] || fail "claims stayed although they are to go"
  report "  longest gap of a writer to another one" "$(longest_gap "$from")" 1
  patch '{"spec":{"storage":{"retention":{"onDelete":"Delete"}}}}' front
  settle 3 60 front
  k delete rkv front --cascade=foreground --timeout=60s >/dev/null || fail "not deleted within 60 s"
  soon 30 nothing_left_of front || fail "left: $(k get pvc,pods -l app.kubernetes.io/instance=front -o name | tr '\n' ' ')"
}
delete_and_make_again() {
  local from pods
  pods=$(uids_of_pods)
  [ "$(wc -w <<<"$pods")" = 3 ] || fail "three pods do not run: $pods"
  from=$(now)
  k delete rkv front --cascade=foreground --wait=false >/dev/null
  soon 90 make_front || fail "not made again within 90 s: $(k get rkv front -o 'jsonpath={.metadata.finalizers} {.status.conditions}')"
  [ "$(comm -12 <(sort <<<"$pods") <(uids_of_pods | sort))" = "" ] || fail "it went before its pods"
  report "deleted in the foreground, until its name is free" "$(since "$from")" 15
  from=$(now)
  k wait --for=condition=Available rkv/front --timeout=90s >/dev/null || fail "not available again"
  settle 3 60 front
  report "made again at once, until three take part" "$(since "$from")" 20
}
# Not applied: that would be a change of the one that goes.
make_front() { store_of front 3 | k create -f -; }
uids_of_pods() { k get pods -l app.kubernetes.io/instance=front -o 'jsonpath={range .items[*]}{.metadata.uid}{"\n"}{end}'; }
claims_of_front() { k get pvc -l app.kubernetes.io/instance=front -o 'jsonpath={range .items[*]}{.metadata.uid}{"\n"}{end}'; }
url_of_front() { echo "http://$(k get service front -o 'jsonpath={.spec.clusterIP}'):7070/kv/kept"; }

# --- With all that is beside it -------------------------------------------------------------------

# In a namespace that goes nothing can be made any more, and everything is being deleted in whatever order: members that
# serve, one whose image cannot be had, and in another life one that has only just been asked for. None of them holds it.
namespace_deleted() {
  local from start
  start=$(now)
  kubectl create namespace "$GOING" >/dev/null
  kubectl label namespace "$GOING" pod-security.kubernetes.io/enforce=restricted >/dev/null
  store_of kept 3 | in_going apply -f - >/dev/null
  store_of wiped 3 | sed 's/storage: {/&retention: {onDelete: Delete}, /' | in_going apply -f - >/dev/null
  store_of stuck 1 | sed 's/^spec:/&\n  image: localhost\/no-such-image:1/' | in_going apply -f - >/dev/null
  in_going wait --for=condition=Available rkv/kept rkv/wiped --timeout=120s >/dev/null || fail "not available"
  delete_namespace "with members that serve"

  kubectl create namespace "$GOING" >/dev/null
  store_of kept 3 | in_going apply -f - >/dev/null
  soon 30 has_finalizers kept || fail "the operator has not seen it"
  delete_namespace "while its members are being made"
  report "  longest gap of a writer elsewhere" "$(longest_gap "$start")" 1

  # And for the operator it is as if it had never been.
  from=$(now)
  kubectl create namespace "$GOING" >/dev/null
  store_of kept 1 | in_going apply -f - >/dev/null
  in_going wait --for=condition=Available rkv/kept --timeout=60s >/dev/null || fail "not available in a namespace of the same name"
  report "the same name in a new namespace, until Available" "$(since "$from")" 15
  delete_namespace "with one member"
}
in_going() { kubectl -n "$GOING" "$@"; }
has_finalizers() { [ -n "$(in_going get rkv "$1" -o 'jsonpath={.metadata.finalizers}')" ]; }
# delete_namespace WITH: pods have 30 s to end, for which Kubernetes looks again after half of that and less and less.
delete_namespace() {
  local from
  from=$(now)
  kubectl delete namespace "$GOING" --wait=false >/dev/null
  soon 120 going_is_gone || fail "the namespace does not go: $(kubectl get namespace "$GOING" -o 'jsonpath={.status.conditions[?(@.status=="True")].message}')"
  report "a namespace deleted $1, until it is gone" "$(since "$from")" 40
}
going_is_gone() { [ -z "$(kubectl get namespace "$GOING" --ignore-not-found -o name)" ]; }
