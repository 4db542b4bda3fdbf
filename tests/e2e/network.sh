#!/usr/bin/env bash
# Scenarios of `./dev e2e`: what NetworkPolicies let through and what they refuse.
# shellcheck disable=SC2154,SC2153  # what is not assigned here is in tests/e2e/run, which reads this file

readonly STRANGERS=raftkv-e2e-strangers PORTS=(7070 7071 7072 7073)  # clients, peers, admin, health and metrics
readonly NOBODY="app.kubernetes.io/name: nobody" PROMETHEUS="app.kubernetes.io/name: prometheus"

policies() {
  local from
  needs_own_cluster "it needs a network that enforces NetworkPolicies, and enters that of pods"
  kubectl create namespace $STRANGERS >/dev/null
  idle_pod $STRANGERS nobody "$NOBODY"
  idle_pod $STRANGERS prometheus "$PROMETHEUS"
  idle_pod $STRANGERS member "app.kubernetes.io/name: raftkv, app.kubernetes.io/instance: $NAME"
  idle_pod $STRANGERS operator "app.kubernetes.io/name: raftkv-operator"
  idle_pod "$NS" neighbour "$NOBODY"
  idle_pod "$NS" prometheus "$PROMETHEUS"
  idle_pod "$NS" operator "app.kubernetes.io/name: raftkv-operator"
  idle_pod "$SYSTEM" nobody "$NOBODY"
  idle_pod "$SYSTEM" operator "app.kubernetes.io/name: raftkv-operator"
  idle_pods_run
  refused_by_members
  # Or else what is refused above could have been refused by anything.
  patch '{"spec":{"paused":true}}'
  soon 30 status_is phase Paused || fail "the operator does not pause"
  k delete networkpolicy "$NAME-members" "$NAME-clients" >/dev/null
  say "  without the members' policies:"
  reaches $STRANGERS nobody "7070 7071 7072 7073"
  reaches "$NS" neighbour "7070 7071 7072 7073"
  patch '{"spec":{"paused":false}}'
  say "  with them again, which the operator has made:"
  reaches $STRANGERS nobody "7070 7073"
  reaches "$NS" neighbour "7070 7073"

  from=$(now)
  k scale "rkv/$NAME" --replicas=5 >/dev/null
  settle 5
  k scale "rkv/$NAME" --replicas=3 >/dev/null
  settle 3
  report "3 -> 5 -> 3 with all policies" "$(since "$from")"
  operators_metrics
  kubectl delete namespace $STRANGERS --wait=false >/dev/null
  delete_idle_pods
}

refused_by_members() {
  local pod
  for pod in nobody prometheus member operator; do reaches $STRANGERS $pod "7070 7073"; done
  for pod in neighbour prometheus operator; do reaches "$NS" $pod "7070 7073"; done
  reaches "$SYSTEM" nobody "7070 7073"
  reaches "$SYSTEM" operator "7070 7072 7073"
  for pod in 0 1 2; do reaches "$NS" "$NAME-$pod" "7070 7071 7073"; done
  # Its own policy lets it out to nothing else.
  reaches "$SYSTEM" "$(operator_pod)" "7072"
}
operator_pod() {
  k_system get pods -l "app.kubernetes.io/name=raftkv-operator,app.kubernetes.io/instance=$RELEASE" \
    -o 'jsonpath={.items[0].metadata.name}'
}

# reaches NAMESPACE POD PORTS: these ports of each member but itself, and no others. Rules follow pods and policies with
# a moment's delay.
reaches() {
  local network addresses
  network=$($KUBE pod-network "$1" "$2")
  addresses=$(k get pods -l "app.kubernetes.io/instance=$NAME,app.kubernetes.io/name=raftkv" \
    -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.status.podIP}{"\n"}{end}' |
    awk -v self="$1/$2" '$1 != self { print $2 }')
  soon 20 open_ports_are "$3" || fail "from $1/$2 these are reached, and not the ports $3: $(open_ports | paste -sd' ')"
  say "  from $1/$2 to $(wc -l <<<"$addresses") members: $3 reached$(refused_ones "$3")"
}
# With `network` and `addresses`: ADDRESS:PORT of all that take a connection.
open_ports() {
  local address port
  # shellcheck disable=SC2016  # the inner shell expands it
  for address in $addresses; do for port in "${PORTS[@]}"; do echo "$address $port"; done; done |
    nsenter --net="$network" bash -c 'while read -r address port; do
      ! timeout 2 bash -c ": </dev/tcp/$address/$port" 2>/dev/null || echo "$address:$port"
    done'
}
open_ports_are() {
  local address port
  [ "$(open_ports)" = "$(for address in $addresses; do for port in $1; do echo "$address:$port"; done; done)" ]
}
refused_ones() {
  local port refused=
  for port in "${PORTS[@]}"; do [[ " $1 " == *" $port "* ]] || refused+=" $port"; done
  [ -z "$refused" ] || printf ';%s refused' "$refused"
}
# The operator's own port, once it is not for everybody; probes of the kubelet come from the node, and get through.
operators_metrics() {
  local from
  metrics_are "reached" "reached"
  helm_does upgrade "$RELEASE" charts/raftkv-operator --reuse-values --wait --timeout 120s --set-json \
    "networkPolicy.metricsFrom=[{\"namespaceSelector\":{\"matchLabels\":{\"kubernetes.io/metadata.name\":\"$STRANGERS\"}},\"podSelector\":{\"matchLabels\":{\"app.kubernetes.io/name\":\"prometheus\"}}}]"
  from=$(now)
  k_system delete pod "$(operator_pod)" >/dev/null
  k_system rollout status deployment "$RELEASE" --timeout=60s >/dev/null || fail "the operator does not become ready"
  report "another operator, until the kubelet finds it ready" "$(since "$from")"
  metrics_are "refused" "reached"
  helm_does upgrade "$RELEASE" charts/raftkv-operator --reuse-values --wait --timeout 120s --set-json 'networkPolicy.metricsFrom=[]'
}
# metrics_are FROM_NOBODY FROM_PROMETHEUS: in the namespace of strangers.
metrics_are() {
  local address pod
  address=$(k_system get pod "$(operator_pod)" -o 'jsonpath={.status.podIP}')
  for pod in nobody prometheus; do
    soon 20 port_is "$1" $STRANGERS $pod "$address" 8081 || fail "8081 of the operator is not $1 from $STRANGERS/$pod"
    say "  from $STRANGERS/$pod to the operator: 8081 $1"
    shift
  done
}
port_is() {
  local answer=refused
  ! nsenter --net="$($KUBE pod-network "$2" "$3")" timeout 2 bash -c ": </dev/tcp/$4/$5" 2>/dev/null || answer=reached
  [ $answer = "$1" ]
}
