#!/usr/bin/env bash
# Scenarios of `./dev e2e`: changes of size.
# shellcheck disable=SC2154,SC2153  # what is not assigned here is in tests/e2e/run, which reads this file

scale() {
  local size before=3
  leader_is_in_slot 2
  for size in 1 3; do resize $size; done
  turn_round_growing
  resize 5
  turn_round_shrinking
  leader_is_in_slot 4
  resize 3
  soon 30 claims_are 3 || fail "claims of removed members are left"
  scale_with_retained_claims
}
# leader_is_in_slot SLOT: so that the leader is among those who go. Nobody but the operator may ask that of a member of a
# cluster of others.
leader_is_in_slot() {
  [ "$own_cluster" = yes ] && ! leads "$NAME-$1" || return 0
  hand_over_to "$1"
  soon 10 leads "$NAME-$1" || fail "$NAME-$1 does not lead"
}
# resize SIZE: from the caller's `before`. A leader that goes hands over first, so that nobody waits for an election.
resize() {
  local from
  from=$(now)
  k scale "rkv/$NAME" --replicas="$1" >/dev/null
  settle "$1"
  report "scale $before -> $1" "$(since "$from")" "$([ "$1" -gt "$before" ] && echo 20 || echo 15)"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  before=$1
}
# The wish is taken back while it is being fulfilled: before the new ones vote. Their pods take a second or two to start.
turn_round_growing() {
  local from staying
  staying=$(members_and_claims)
  from=$(now)
  k scale "rkv/$NAME" --replicas=5 >/dev/null
  soon 30 status_is operation.step WaitForNodes || fail "no pods are waited for: $(status operation.step)"
  k scale "rkv/$NAME" --replicas=3 >/dev/null
  settle 3
  report "3 -> 5, and back while the new pods start" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  still_are "$staying"
  soon 30 claims_are 3 || fail "claims are left of members that were not wanted any more"
}
# Two members are removed for good by then, and their slots are not used again while they end there.
turn_round_shrinking() {
  local from staying left step id
  staying=$(members_and_claims)
  left="$(member_of_slot 3) $(member_of_slot 4)"
  from=$(now)
  k scale "rkv/$NAME" --replicas=3 >/dev/null
  soon 30 status_is voters 3 || fail "nobody is removed: $(status operation.step)"
  k scale "rkv/$NAME" --replicas=5 >/dev/null
  step=$(status operation.step)
  settle 5
  report "5 -> 3, and back at ${step:-the end}" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  still_are "$staying"
  for id in $left; do never_back "$id"; done
}
# Slots whose claims were to stay are not filled again before somebody has said that what they hold may go, in the words of
# docs/runbooks.md.
scale_with_retained_claims() {
  local from slot delete before=3
  delete=$(grep -o 'kubectl -n NS delete pvc data-NAME-SLOT[^`]*' docs/runbooks.md)
  patch '{"spec":{"storage":{"retention":{"onScaleDown":"Retain"}}}}'
  resize 1
  claims_are 3 || fail "not every claim stayed although they are to"
  from=$(now)
  k scale "rkv/$NAME" --replicas=3 >/dev/null
  for slot in 1 2; do
    soon 30 retained_is_said $slot || fail "nobody says that data-$NAME-$slot was retained: $(status 'conditions[?(@.type=="Degraded")].message')"
    soon 10 warned ClaimOfRemovedMember || fail "there is no event ClaimOfRemovedMember"
    [ "$(status voters)" = 1 ] || fail "there are $(status voters) voters although a slot is not free"
    bash -c "$(sed "s/\bNS\b/$NS/; s/NAME/$NAME/; s/SLOT/$slot/" <<<"$delete")" >/dev/null || fail "$delete"
  done
  settle 3
  report "1 -> 3 onto retained claims, refused until they are deleted" "$(since "$from")"
  report "  longest gap of a writer" "$(longest_gap "$from")" 1
  patch '{"spec":{"storage":{"retention":{"onScaleDown":null}}}}'
  settle 3
  claims_are 3 || fail "there are other claims than those of the members"
}
retained_is_said() {
  degraded_says ClaimOfRemovedMember && [[ $(status 'conditions[?(@.type=="Degraded")].message') == *"data-$NAME-$1 "* ]]
}

hibernate() {
  local from value before
  before=$(members_and_claims)
  kill -STOP "$load_pid"
  from=$(now)
  k scale "rkv/$NAME" --replicas=0 >/dev/null
  soon 60 no_pods_of "$NAME" || fail "pods are left"
  report "hibernate" "$(since "$from")"
  claims_are 3 || fail "not every volume stayed"
  from=$(now)
  k scale "rkv/$NAME" --replicas=3 >/dev/null
  settle 3
  report "wake" "$(since "$from")"
  still_are "$before"
  kill -CONT "$load_pid"
  # As a client would: the Service may lead nowhere for a moment yet.
  value=$(ask --retry 20 --retry-delay 1 --retry-connrefused "http://$service:7070/kv/hello") || true
  [ "$value" = world ] || fail "what was written is '$value' now"
}
