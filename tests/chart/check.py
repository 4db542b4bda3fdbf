#!/usr/bin/env python3
"""Checks the chart: lint, templates under many values and Kubernetes versions, notes, refusals of its schema, roles, Pod
Security, alerts, dashboards, generated documents; with --server also against a real API server: dry runs of everything,
the samples, install, upgrade, rollback and uninstall.

Needs helm and promtool, python3-yaml; for --server kubectl and the cluster in $KUBECONFIG, or tests/kube/kube, which
starts a control plane. --operator BINARY: also runs the operator with the rights of the chart's account. Prints what failed; status 1 if anything did.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/raftkv-operator"
KUBE = ROOT / "tests/kube/kube"
KUBE_HOME = pathlib.Path(os.environ.get("KUBE_HOME", pathlib.Path.home() / ".cache/raftkv-kube"))
MONITORING = ["--api-versions", "monitoring.coreos.com/v1"]
VERSIONS = ["1.30.0", "1.31.0", "1.33.0", "1.36.3"]

ALL_ON = {
    "replicas": 2, "commonLabels": {"team": "db"}, "imagePullSecrets": [{"name": "pull"}], "podLabels": {"a": "b", "team": "kv"}, "podAnnotations": {"c": "d"},
    "nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [{"key": "x", "operator": "Exists"}], "priorityClassName": "system-cluster-critical",
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
                                   "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "raftkv-operator"}}}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]},
                 "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                     {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "raftkv-operator"}}}]}},
    "podSecurityContext": {"fsGroupChangePolicy": "OnRootMismatch", "supplementalGroups": [10002]}, "securityContext": {"runAsNonRoot": True, "runAsUser": 10001},
    "serviceAccount": {"annotations": {"e": "f"}}, "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
    "metrics": {"service": {"annotations": {"g": "h"}}},
    "monitoring": {"labels": {"release": "prometheus", "team": "kv"}, "interval": "15s", "serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True},
                   "prometheusRule": {"enabled": True}, "dashboards": {"enabled": True, "annotations": {"grafana_folder": "raftkv"}}},
}
ALL_OFF = {
    "crds": {"enabled": False}, "serviceAccount": {"create": False, "name": "mine"}, "rbac": {"create": False}, "resources": {},
    "podDisruptionBudget": {"enabled": False}, "metrics": {"service": {"enabled": False}}, "tests": {"enabled": False},
}
# (values, a part of the refusal): typing errors, and what would break Pod Security "restricted".
AFFINITY = {"podAffinityTerm": {"topologyKey": "zone"}}
REFUSED = [
    ({"replica": 2}, "replica"),
    ({"replicas": 0}, "replicas"),
    ({"replicas": "two"}, "replicas"),
    ({"replicas": None}, "replicas"),
    ({"commonLabels": {"a b": "x"}}, "commonLabels"),
    ({"commonLabels": {"a": "no spaces"}}, "commonLabels"),
    ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "commonLabels"),
    ({"commonLabels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}}, "commonLabels"),
    ({"image": None}, "image"),
    ({"image": {"repository": ""}}, "repository"),
    ({"image": {"repository": None}}, "repository"),
    ({"image": {"repository": "raftkv-operator:1"}}, "repository"),
    ({"image": {"tag": "a b"}}, "tag"),
    ({"image": {"digest": "sha256:1"}}, "digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"nodeImage": {"pullPolicy": "Always"}}, "pullPolicy"),
    ({"imagePullSecrets": [{}]}, "name"),
    ({"imagePullSecrets": [{"name": "a", "namespace": "b"}]}, "namespace"),
    ({"logLevel": "loud"}, "logLevel"),
    ({"watchNamespace": "a"}, "--set watchNamespace= --set watchNamespaces={a}"),  # it must not become every namespace
    ({"watchNamespaces": "a"}, "watchNamespaces"),
    ({"watchNamespaces": ["a,b"]}, "watchNamespaces"),
    ({"watchNamespaces": [""]}, "watchNamespaces"),
    ({"watchNamespaces": ["a", "a"]}, "watchNamespaces"),
    ({"podSecurityContext": None}, "podSecurityContext"),
    ({"podSecurityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
    ({"podSecurityContext": {"runAsNonRoot": None}}, "runAsNonRoot"),
    ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
    ({"podSecurityContext": {"seccompProfile": None}}, "seccompProfile"),
    ({"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile"),
    ({"podSecurityContext": {"seccompProfile": {"type": "Localhost"}}}, "localhostProfile"),
    ({"podSecurityContext": {"appArmorProfile": {"type": "Unconfined"}}}, "appArmorProfile"),
    ({"podSecurityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "seLinuxOptions"),
    ({"podSecurityContext": {"seLinuxOptions": {"user": "system_u"}}}, "seLinuxOptions"),
    ({"podSecurityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "sysctls"),
    ({"podSecurityContext": {"fsGroups": 1}}, "fsGroups"),
    ({"securityContext": None}, "securityContext"),
    ({"securityContext": {"allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation"),
    ({"securityContext": {"allowPrivilegeEscalation": None}}, "allowPrivilegeEscalation"),
    ({"securityContext": {"privileged": True}}, "privileged"),
    ({"securityContext": {"capabilities": None}}, "capabilities"),
    ({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "add"),
    ({"securityContext": {"capabilities": {"drop": None}}}, "drop"),
    ({"securityContext": {"capabilities": {"drop": ["NET_RAW"]}}}, "drop"),
    ({"securityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
    ({"securityContext": {"runAsUser": 0}}, "runAsUser"),
    ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile"),
    ({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}, "appArmorProfile"),
    ({"securityContext": {"procMount": "Unmasked"}}, "procMount"),
    ({"securityContext": {"readOnlyRootFileSystem": True}}, "readOnlyRootFileSystem"),
    ({"podLabels": {"app.kubernetes.io/instance": "x"}}, "podLabels"),
    ({"podLabels": {"a/b/c": "x"}}, "podLabels"),
    ({"podAnnotations": {"a": 1}}, "podAnnotations"),
    ({"nodeSelector": {"a b": "x"}}, "nodeSelector"),
    ({"tolerations": [{"kye": "x"}]}, "tolerations"),
    ({"tolerations": [{"key": "x", "operator": "Is"}]}, "operator"),
    ({"tolerations": [{"key": "x", "operator": "Exists", "value": "y"}]}, "tolerations"),
    ({"tolerations": [{"operator": "Equal"}]}, "key"),
    ({"tolerations": [{"key": "x", "effect": "NoSchedule", "tolerationSeconds": 1}]}, "effect"),
    ({"affinity": {"podAntiAfinity": {}}}, "podAntiAfinity"),
    ({"affinity": {"podAntiAffinity": {"preferredDuringScheduling": []}}}, "preferredDuringScheduling"),
    ({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [AFFINITY]}}}, "weight"),
    ({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}}, "topologyKey"),
    ({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}, "nodeSelectorTerms"),
    ({"topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}, "maxSkew"),
    ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "Never"}]}, "whenUnsatisfiable"),
    ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labels": {}}]}, "labels"),
    ({"networkPolicy": {"apiServerPorts": []}}, "apiServerPorts"),
    ({"networkPolicy": {"metricsFrom": [{}]}}, "metricsFrom"),
    ({"networkPolicy": {"metricsFrom": [{"namespaceSelecter": {}}]}}, "namespaceSelecter"),
    ({"metrics": {"service": {"port": 70000}}}, "port"),
    ({"monitoring": {"labels": {"helm.sh/chart": "x"}}}, "labels"),
    ({"monitoring": {"interval": "often"}}, "interval"),
    ({"monitoring": {"prometheusRule": {"runbookUrl": "runbooks.md"}}}, "runbookUrl"),
    ({"monitoring": {"dashboards": {"labels": {"grafana_dashboard": 1}}}}, "grafana_dashboard"),
    ({"resources": {"limits": {"memory": "lots"}}}, "memory"),
    ({"resources": {"limits": {"memory": "1mi"}}}, "memory"),
    ({"resources": {"limits": {"memory": "256m"}}}, "memory"),  # bytes in thousandths
    ({"resources": {"requests": {"cpu": "1.2.3"}}}, "cpu"),
    ({"resources": {"requests": {"mem": "1Mi"}}}, "mem"),
    ({"resources": {"request": {"memory": "1Mi"}}}, "request"),
    ({"crds": {"enabled": "yes"}}, "enabled"),
    ({"tests": {"image": None}}, "image"),
]
# Neighbours of these that are right: a schema that refuses everything refuses these too.
TAKEN = [
    {"commonLabels": {"example.com/team": "a-b_c.D", "empty": ""}},
    {"watchNamespaces": ["a", "b-2"]},
    {"watchNamespaces": None},
    {"watchNamespace": ""},  # the former default, which --reuse-values brings along
    {"podSecurityContext": {"runAsUser": None, "fsGroup": None}},  # where the platform gives each namespace its own users
    {"podSecurityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "operator.json"}, "seLinuxOptions": {"level": "s0:c123,c456"}}},
    {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "runAsGroup": 0}},
    {"tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b"}, {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]},
    {"resources": {"requests": {"cpu": 0.5, "memory": 1000000, "example.com/device": 1}, "limits": {"cpu": "1500m", "memory": "1e8", "ephemeral-storage": "1.5Gi"}}},
    {"networkPolicy": {"enabled": True, "metricsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    {"global": {"anything": 1}},
]

# The definition is long, and is read for each of dozens of templates.
class Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """No key twice in a map, which Helm would render."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        if len(keys) > len(set(keys)):
            raise yaml.constructor.ConstructorError(None, None, f"a key twice: {keys}", node.start_mark)
        return super().construct_mapping(node, deep)


failures = []


def expect(condition, message):
    if not condition:
        failures.append(message)
        print("FAILED " + message)


def program(name):
    found = KUBE_HOME / "bin" / name
    return str(found) if found.exists() else shutil.which(name) or sys.exit(f"{name} is missing: tests/kube/kube build makes helm and kubectl")


def run(*command, stdin=None):
    return subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=True, check=False)


def helm(*arguments, values=None):
    command = [program("helm"), *arguments]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        if values is not None:
            yaml.safe_dump(values, file)
            file.flush()
            command += ["-f", file.name]
        return run(*command)


def template(values=None, *arguments, version="1.36.3", name="raftkv", ns="ops"):
    done = helm("template", name, CHART, "-n", ns, "--kube-version", version, *arguments, values=values or {})
    expect(done.returncode == 0, f"template {values} {arguments} {version}: {done.stderr.strip()}")
    return [item for item in yaml.load_all(done.stdout, Strict) if item]


def of(objects, kind):
    return [item for item in objects if item["kind"] == kind]


def names(objects):
    return sorted(f"{item['kind']}/{item['metadata']['name']}" for item in objects)


def check_templates():
    expect((done := helm("lint", "--strict", CHART)).returncode == 0, f"helm lint: {done.stdout}{done.stderr}")
    for values in TAKEN:
        check_each(template(values, *MONITORING))
    for values in ({}, ALL_ON, ALL_OFF, {"watchNamespaces": ["prod", "test"]}):
        expect((done := helm("lint", "--strict", CHART, values=values)).returncode == 0, f"helm lint {values}: {done.stdout}{done.stderr}")
        for version in VERSIONS:
            for more in ([], MONITORING):
                check_each(template(values, *more, version=version))
    old = helm("template", "raftkv", CHART, "--kube-version", "1.29.9")
    expect(old.returncode != 0 and "kubeVersion" in old.stderr, "Kubernetes 1.29, where a rule that is added invalidates what is stored, must be refused")
    expect(names(template(ALL_OFF)) == ["Deployment/raftkv-raftkv-operator"], f"all off leaves {names(template(ALL_OFF))}")
    expect(not of(template(ALL_ON), "PodMonitor"), "no PodMonitor where the cluster does not know the kind")
    on = template(ALL_ON, *MONITORING)
    for kind, count in {"ServiceMonitor": 1, "PodMonitor": 1, "PrometheusRule": 1, "PodDisruptionBudget": 1, "NetworkPolicy": 1, "ConfigMap": 3,
                        "CustomResourceDefinition": 1, "Pod": 1}.items():
        expect(len(of(on, kind)) == count, f"{count} {kind} with everything on")
    of_pods = of(on, "Deployment")[0]["spec"]["template"]["metadata"]["labels"]
    expect(of_pods["a"] == "b" and of_pods["team"] == "kv" and of(on, "ServiceMonitor")[0]["metadata"]["labels"]["team"] == "kv", "own labels win over common ones")
    expect(not of(template(), "PodDisruptionBudget"), "a budget for one operator would block every drain")
    for item in of(on, "ConfigMap"):
        expect(item["metadata"]["labels"].get("grafana_dashboard") == "1", "dashboards carry the label grafana_dashboard")
        for text in item["data"].values():
            json.loads(text)
    crd = of(template(), "CustomResourceDefinition")[0]
    source = yaml.safe_load((CHART / "files/crds/raftkv.dev_raftkvs.yaml").read_text())
    expect(crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}, "the definition is kept by default")
    expect(crd["spec"] == source["spec"], "the definition is rendered as it is in the file")
    expect("annotations" not in of(template({"crds": {"keep": False}}), "CustomResourceDefinition")[0]["metadata"], "crds.keep=false")
    own = of(template(), "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["resources"]
    expect({"cpu", "memory"} <= set(own["requests"]) and "memory" in own["limits"], f"the operator's resources: {own}")
    digest = "sha256:" + "a" * 64
    operator = of(template({"image": {"digest": digest}, "nodeImage": {"repository": "r.example:5000/node", "tag": "9"}}), "Deployment")[0]
    container = operator["spec"]["template"]["spec"]["containers"][0]
    expect(container["image"] == f"raftkv-operator@{digest}" and "--image=r.example:5000/node:9" in container["args"], "images by tag and digest")


def check_each(objects):
    full = [f"{item['kind']}/{item['metadata'].get('namespace')}/{item['metadata']['name']}" for item in objects]
    expect(len(full) == len(set(full)), f"two objects of one name: {full}")
    for item in objects:
        check_object(item)


def check_object(item):
    name = f"{item['kind']}/{item['metadata']['name']}"
    labels = item["metadata"].get("labels", {})
    for label in ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"):
        expect(label in labels, f"{name} has no label {label}")
    pod = item["spec"] if item["kind"] == "Pod" else item["spec"]["template"]["spec"] if item["kind"] == "Deployment" else None
    if pod:
        check_restricted(name, pod)
    if item["kind"] in ("Role", "ClusterRole"):
        for rule in item["rules"]:
            for part in ("apiGroups", "resources", "verbs"):
                expect("*" not in rule[part], f"{name} has a wildcard")
            expect("secrets" not in rule["resources"] and not {"escalate", "bind", "impersonate"} & set(rule["verbs"]), f"{name} is too mighty")
    if item["kind"] in ("RoleBinding", "ClusterRoleBinding"):
        expect(item["roleRef"]["name"] not in ("cluster-admin", "admin", "edit"), f"{name} binds {item['roleRef']['name']}")


def check_restricted(name, pod):
    """What the Pod Security Standard "restricted" asks for, and a read-only root file system."""
    security = pod["securityContext"]
    expect(security["runAsNonRoot"] and security["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost") and security.get("runAsUser", 1) > 0, f"{name}: pod security")
    expect(set(next(iter(volume.keys() - {"name"})) for volume in pod.get("volumes", [])) <= {"emptyDir", "projected"}, f"{name}: volumes")
    for container in pod["containers"]:
        own = container["securityContext"]
        expect(not own["allowPrivilegeEscalation"] and own["readOnlyRootFilesystem"] and own["capabilities"] == {"drop": ["ALL"]}, f"{name}: container security")
        expect("command" not in container, f"{name} starts something else than its image's program")


def check_namespaced():
    """A Role in each watched namespace, and none elsewhere."""
    objects = template({"watchNamespaces": ["prod", "test"], "rbac": {"readNodes": False}, "networkPolicy": {"enabled": True}})
    expect(not of(objects, "ClusterRole") and not of(objects, "ClusterRoleBinding"), "namespaced mode makes no ClusterRole")
    for kind in ("Role", "RoleBinding"):
        there = sorted((item["metadata"]["namespace"], item["metadata"]["name"]) for item in of(objects, kind))
        expect(there == [("ops", "raftkv-raftkv-operator-lease"), ("prod", "raftkv-raftkv-operator"), ("test", "raftkv-raftkv-operator")], f"{kind}s {there}")
    for item in of(objects, "RoleBinding"):
        expect([(who["name"], who["namespace"]) for who in item["subjects"]] == [("raftkv-raftkv-operator", "ops")], f"subjects {item['subjects']}")
    args = of(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    expect("--namespace=prod,test" in args and "--read-nodes=false" in args, f"arguments {args}")
    expect("--namespace=" in of(template(), "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"], "all namespaces by default")
    # Nothing that only could be of use one day: what the operator calls (operator/raftkv/act.cc and the caches).
    rules = next(item["rules"] for item in of(objects, "Role") if item["metadata"]["namespace"] == "prod")
    expect(rules == next(item["rules"] for item in of(objects, "Role") if item["metadata"]["namespace"] == "test"), "the same rights in each namespace")
    deletes = sorted(resource for rule in rules if "delete" in rule["verbs"] for resource in rule["resources"])
    expect(deletes == ["persistentvolumeclaims", "poddisruptionbudgets", "pods", "serviceaccounts"], f"the operator may delete {deletes}")
    nodes = of(template({"watchNamespaces": ["prod"]}), "ClusterRole")
    expect([rule["verbs"] for item in nodes for rule in item["rules"]] == [["get", "list", "watch"]], "nodes are read")
    expect([rule["resources"] for item in nodes for rule in item["rules"]] == [["nodes"]], "the ClusterRole of namespaced mode reads nodes alone")
    # It said "no ClusterRole", which is so only without rbac.readNodes.
    said = next(line for line in (CHART / "README.md").read_text().splitlines() if line.startswith("| `watchNamespaces` |"))
    expect("rbac.readNodes" in said, f"the README of namespaced mode: {said}")
    admin = next(rule for rule in of(objects, "NetworkPolicy")[0]["spec"]["egress"] if rule["ports"] == [{"port": 7072}])["to"][0]["namespaceSelector"]
    expect(admin == {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["prod", "test"]}]}, f"the way to members: {admin}")
    monitor = of(template({"watchNamespaces": ["prod", "test"], "monitoring": {"podMonitor": {"enabled": True}}}, *MONITORING), "PodMonitor")[0]
    expect(monitor["spec"]["namespaceSelector"] == {"matchNames": ["prod", "test"]}, "the PodMonitor looks into the watched namespaces alone")


def check_refusals():
    for values, part in REFUSED:
        done = helm("template", "raftkv", CHART, values=values)
        expect(done.returncode != 0 and part in done.stderr, f"values {values} must be refused: {done.stderr.strip()[:300]}")
    done = helm("template", "raftkv", CHART, values={"serviceAccount": {"create": False}})
    expect(done.returncode != 0 and "serviceAccount.name is needed" in done.stderr, "serviceAccount.name is needed without create")


NOTES = {
    "every namespace": "looks after the RaftKV resources of every namespace.",
    "some namespaces": "looks after RaftKV resources in prod, test.",
    "test": "Test:   helm test raftkv -n ops",
    "no definition": "crds.enabled is false: the RaftKV definition has to be applied by somebody else",
    "kept": "helm uninstall leaves the RaftKV definition, every RaftKV and its volumes",
    "not kept": "CAREFUL: crds.keep is false. helm uninstall deletes the RaftKV definition and with it EVERY RaftKV.",
    "no monitors": "Monitors and alerts were NOT installed: this cluster does not know monitoring.coreos.com/v1.",
    "no service": "The ServiceMonitor was NOT installed: without metrics.service.enabled it has no Service to look at.",
    "no nodes": "Without rbac.readNodes members on lost nodes are not replaced.",
}
SOME = {"watchNamespaces": ["prod", "test"]}
# (values, what of NOTES is said with them): all else is not.
NOTED = [
    ({}, {"every namespace", "test", "kept"}),
    (SOME, {"some namespaces", "test", "kept"}),
    ({**SOME, "rbac": {"readNodes": False}}, {"some namespaces", "test", "kept", "no nodes"}),
    ({"rbac": {"readNodes": False}}, {"every namespace", "test", "kept"}),  # that mode reads them nevertheless
    ({"watchNamespaces": None}, {"every namespace", "test", "kept"}),
    ({"tests": {"enabled": False}}, {"every namespace", "kept"}),
    # The test asks the operator through its Service: it was told of although there was none.
    ({"metrics": {"service": {"enabled": False}}}, {"every namespace", "kept"}),
    ({"metrics": {"service": {"enabled": False}}, "monitoring": {"serviceMonitor": {"enabled": True}}}, {"every namespace", "kept", "no monitors", "no service"}),
    ({"metrics": {"service": {"enabled": False}}, "monitoring": {"podMonitor": {"enabled": True}}}, {"every namespace", "kept", "no monitors"}),
    ({"crds": {"enabled": False}}, {"every namespace", "test", "no definition"}),
    ({"crds": {"enabled": False, "keep": False}}, {"every namespace", "test", "no definition"}),
    ({"crds": {"keep": False}}, {"every namespace", "test", "not kept"}),
    ({"monitoring": {"serviceMonitor": {"enabled": True}}}, {"every namespace", "test", "kept", "no monitors"}),
    ({"monitoring": {"podMonitor": {"enabled": True}}}, {"every namespace", "test", "kept", "no monitors"}),
    ({"monitoring": {"prometheusRule": {"enabled": True}}}, {"every namespace", "test", "kept", "no monitors"}),
    ({"monitoring": {"dashboards": {"enabled": True}}}, {"every namespace", "test", "kept"}),
]


def notes(values):
    """What helm install prints; `helm template` does not print it."""
    done = helm("install", "raftkv", CHART, "-n", "ops", "--dry-run=client", "-o", "json", values=values)
    expect(done.returncode == 0, f"helm install {values}: {done.stderr.strip()}")
    return json.loads(done.stdout)["info"]["notes"] if done.returncode == 0 else ""


def check_notes():
    """Every branch, and what a shell makes of the commands."""
    lines = set()
    for values, wanted in NOTED:
        text = notes(values)
        said = {name for name, sentence in NOTES.items() if sentence in text}
        expect(said == wanted, f"notes of {values} say {said}")
        expect("\n\n\n" not in text and "{{" not in text and "<no value>" not in text, f"notes of {values}: {text}")
        expect("One release for each set of namespaces:" in text, f"notes of {values} do not say that two releases fight")
        tested = any(item["kind"] == "Pod" for item in template(values))
        expect(tested == (NOTES["test"] in text), f"notes of {values}: there is {'a' if tested else 'no'} test")
        check_commands(text, (values.get("watchNamespaces") or ["default"])[0])
        lines |= set(text.splitlines())
    literal = {line for line in (CHART / "templates/NOTES.txt").read_text().splitlines() if line.strip() and "{{" not in line}
    expect(literal <= lines, f"notes that no values print: {literal - lines}")


def commands_of(text):
    """The block after "A store of three members:", and the commands behind "Look:" and "Test:", as they stand there."""
    block = text.split("A store of three members:\n\n")[1].split("\nLook:")[0]
    return block, [command for line in re.findall(r"^(?:Look|Test): +(.*)$", text, re.M) for command in re.split(r" {2,}", line)]


# Writes down what it is called with; of `kubectl apply` also the manifest.
RECORDER = """
record() { printf '%s\\n' "$*" >&3; case " $* " in *" apply "*) cat >&3 ;; esac; }
kubectl() { record kubectl "$@"; }
curl() { record curl "$@"; }
helm() { record helm "$@"; }
"""


def called(commands):
    """The calls that a shell makes of them; of what it does not take, none."""
    done = run("bash", "-euo", "pipefail", "-c", f"{RECORDER}exec 3>&1\n{commands}\nwait", stdin="")
    expect(done.returncode == 0 and not done.stderr, f"a shell does not take what the notes print: {done.stderr}")
    return "" if done.stderr else done.stdout


def check_commands(text, ns):
    block, others = commands_of(text)
    if not (calls := called(block)):
        return
    first, _, rest = calls.partition("\n")
    manifest, _, rest = rest.partition("kubectl ")
    expect(first == "kubectl apply -f -", f"notes: {first}")
    store = yaml.safe_load(manifest)
    expect(store == {"apiVersion": "raftkv.dev/v1alpha1", "kind": "RaftKV", "metadata": {"name": "db", "namespace": ns}, "spec": {"replicas": 3}}, f"notes apply {store}")
    # The port-forward runs behind the others.
    expect(sorted(("kubectl " + rest).splitlines()) == [
        "curl --retry 9 --retry-connrefused -X PUT -d hello world http://127.0.0.1:7070/kv/greeting", "curl http://127.0.0.1:7070/kv/greeting",
        f"kubectl -n {ns} port-forward service/db 7070", f"kubectl -n {ns} wait --for=condition=Available --timeout=2m rkv/db"], f"notes of a store in {ns} call {rest}")
    for command in others:
        expect(called(command) in ("kubectl get rkv -A\n", "kubectl explain rkv.spec\n", f"kubectl -n {ns} describe rkv db\n", "helm test raftkv -n ops\n"), f"notes: {command}")


def check_alerts():
    rules = CHART / "files/alerts/rules.yaml"
    promtool = program("promtool")
    expect((done := run(promtool, "check", "rules", rules)).returncode == 0, done.stdout + done.stderr)
    expect((done := run(promtool, "test", "rules", ROOT / "tests/chart/alerts_test.yaml")).returncode == 0, done.stdout + done.stderr)
    runbooks = set(re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text(), re.M))
    alerts = {}
    for group in yaml.safe_load(rules.read_text())["groups"]:
        for rule in group["rules"]:
            name = rule["alert"]
            alerts[name] = rule
            expect(rule["labels"].get("severity") in ("warning", "critical"), f"{name}: severity")
            expect(rule["annotations"].get("summary", "").endswith("."), f"{name}: summary")
            expect(rule["annotations"].get("runbook_url") == f"RUNBOOK_URL#{name.lower()}", f"{name}: runbook_url")
    # Clients cannot write, or soon will not: a person is woken for nothing else.
    critical = {name for name, rule in alerts.items() if rule["labels"]["severity"] == "critical"}
    expect(critical == {"RaftKVInsufficientMembers", "RaftKVNoLeader", "RaftKVQuorumLost", "RaftKVManyHttpErrors", "RaftKVVerySlowFsync", "RaftKVOutOfSpace"},
           f"critical are {critical}")
    check_alert_tests(alerts)
    check_reasons(alerts)
    check_worries(alerts)
    expect(set(alerts) == runbooks, f"alerts without runbook or the reverse: {set(alerts) ^ runbooks}")
    rendered = of(template(ALL_ON, *MONITORING), "PrometheusRule")[0]
    expect("RUNBOOK_URL" not in json.dumps(rendered), "the chart fills in the runbooks' address")


def check_alert_tests(alerts):
    """Each alert has a test in which it is silent with everything well, fires, and is silent again."""
    cases = {}
    for case in yaml.safe_load((ROOT / "tests/chart/alerts_test.yaml").read_text())["tests"]:
        cases.setdefault(case["name"], []).append(case)
    expect(set(alerts) == set(cases), f"alerts without test or the reverse: {set(alerts) ^ set(cases)}")
    for name in set(alerts) & set(cases):
        expect(any(comes_and_goes(name, case) for case in cases[name]),
               f"{name}: no test has 'ALERTS{{alertname=\"{name}\"}}' empty, then firing, then empty, over series that are there from the beginning")


def comes_and_goes(name, case):
    """Without alertstate also no pending alert is let through: what is silent then is not what waits for its time."""
    silent = [minutes(part) for part in case["promql_expr_test"] if part["expr"] == f'ALERTS{{alertname="{name}"}}' and not part["exp_samples"]]
    firing = [minutes(part) for part in case["promql_expr_test"] if f'ALERTS{{alertname="{name}", alertstate="firing"}}' in part["expr"] and part["exp_samples"]]
    there = any(not series["values"].startswith("_") for series in case["input_series"])
    return bool(silent and firing and there) and 0 < min(silent) < min(firing) <= max(firing) < max(silent)


def minutes(part):
    return int(re.fullmatch(r"(\d+)m", part["eval_time"])[1])


def check_worries(alerts):
    """docs/metrics.md says of each alert on a metric of it when it fires: how much, of what, for how long."""
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", (ROOT / "docs/metrics.md").read_text(), re.M))
    said = {}
    for metric, cell in rows.items():
        for text, name in re.findall(r"([^();]*) \((RaftKV\w+)\)", cell):
            said[name] = (metric, text)
    on_rows = {name for name, rule in alerts.items() if set(re.findall(r"\braftkv_\w+?(?=_bucket\b|\b)", rule["expr"])) & set(rows)}
    expect(set(said) == on_rows, f"alerts that docs/metrics.md does not name, or names of none: {set(said) ^ on_rows}")
    for name in set(said) & on_rows:
        metric, text = said[name]
        expr, wait = alerts[name]["expr"], int(alerts[name]["for"].removesuffix("m"))
        wanted = ["for a minute" if wait == 1 else f"for {wait} minutes"]
        if bounds := re.findall(r"(?:[<>]=?|==) ([\d.]+)", expr):
            wanted.append(f"{float(bounds[-1]):.0%}".replace("%", " %") if " / " in expr or " + " in expr else f"{float(bounds[-1]):g}")
        if increase := re.search(r"increase\(.*\[(\d+)m\]", expr):
            wanted.append(f"in {increase[1]} minutes")
        elif "histogram_quantile(0.99" in expr:
            wanted.append("p99")
        elif "rate(" in expr and " / " not in expr:
            wanted.append("a second")
        for part in wanted:
            expect(re.search(rf"(?<![\d.]){re.escape(part)}(?![\d.])", text) and metric in expr, f"docs/metrics.md: {metric}: '{text}' is not when {name} fires: '{part}' is missing")


# Reasons of warnings that another alert tells of. Every other one raises RaftKVRefused.
TOLD_BY = {
    "DeadlineExceeded": "RaftKVOperationStuck", "LearnerBehind": "RaftKVOperationStuck", "LearnerSilent": "RaftKVOperationStuck",
    "MembersDown": "RaftKVMembersMissing", "MemberLost": "RaftKVMembersMissing", "ReplacementDisabled": "RaftKVMembersMissing",
    "QuorumLost": "RaftKVQuorumLost", "DataLost": "RaftKVQuorumLost", "ClusterUnreachable": "RaftKVQuorumLost", "ElectionsFail": "RaftKVQuorumLost",
}


def check_reasons(alerts):
    """Each reason of the planner that warns raises an alert; RaftKVRefused is tested and has a runbook for each of its own."""
    source = (ROOT / "operator/raftkv/plan_rules.h").read_text()
    warnings = set(re.findall(r'\{"(\w+)", true\}', source[source.index("kConditionReasons[] = {"):]))
    refused = set(re.search(r'reason=~"([^"]*)"', alerts["RaftKVRefused"]["expr"])[1].split("|"))
    expect(not refused & set(TOLD_BY), f"two alerts for {refused & set(TOLD_BY)}")
    expect(set(TOLD_BY.values()) <= set(alerts), f"no alerts: {set(TOLD_BY.values()) - set(alerts)}")
    expect(warnings == refused | set(TOLD_BY), f"reasons of the planner without alert, or alerts of no reason: {warnings ^ (refused | set(TOLD_BY))}")
    tested = set()
    for case in yaml.safe_load((ROOT / "tests/chart/alerts_test.yaml").read_text())["tests"]:
        if case["name"] == "RaftKVRefused" and comes_and_goes("RaftKVRefused", case):
            tested |= {reason for part in case["promql_expr_test"] for sample in part["exp_samples"] for reason in re.findall(r'reason="(\w+)"', sample.get("labels", ""))}
    expect(tested == refused, f"reasons of RaftKVRefused without test, or the reverse: {tested ^ refused}")
    section = (ROOT / "docs/runbooks.md").read_text().split("\n## RaftKVRefused\n")[1].split("\n## ")[0]
    rows = {reason for row in re.findall(r"^\| ([A-Z][\w, ]+) \|", section, re.M) for reason in row.split(", ")} - {"Reason"}
    expect(rows == refused, f"docs/runbooks.md has other reasons of RaftKVRefused: {rows ^ refused}")


def check_layout(name, panels):
    """Every panel is in the grid and over no other, says what it shows, and has a unit; no title occurs twice in a row."""
    taken, titles = {}, set()
    for panel in panels:
        grid, title = panel["gridPos"], panel["title"]
        expect(0 <= grid["x"] and grid["x"] + grid["w"] <= 24 and grid["h"] > 0 and grid["w"] > 0, f"{name}: {title} is not in the grid")
        for cell in ((x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])):
            expect(cell not in taken, f"{name}: {title} lies over {taken.get(cell)}")
            taken[cell] = title
        if panel["type"] == "row":
            titles = set()
            continue
        expect(title not in titles, f"{name}: {title} twice in a row")
        titles.add(title)
        expect(panel["description"].endswith((".", "...")), f"{name}: {title} has no description")
        expect(panel["fieldConfig"]["defaults"].get("unit"), f"{name}: {title} has no unit")
        for target in panel["targets"]:
            expect(target["legendFormat"] or panel["type"] in ("stat", "table"), f"{name}: {title} has a query without a legend")
            # A pod that restarts has another instance: its series would be there twice.
            expect(panel["type"] in ("stat", "table") or " by (" in target["expr"] or "{{" not in target["legendFormat"],
                   f"{name}: {title} shows a series for each instance that a pod has had")


def check_dashboards():
    """Unique ids; panels that can be read; every query parses."""
    uids, rules = set(), []
    sys.path.insert(0, str(ROOT / "tests/chart"))
    import metrics  # pylint: disable=import-outside-toplevel
    for path in sorted((CHART / "files/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        expect(board["uid"] not in uids and re.fullmatch(r"[a-z0-9-]{1,40}", board["uid"]), f"{path.name}: uid")
        uids.add(board["uid"])
        check_layout(path.name, board["panels"])
        ids = [panel["id"] for panel in board["panels"]]
        expect(len(ids) == len(set(ids)), f"{path.name}: ids of panels")
        known = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
        expect("datasource" in known and "namespace" in known, f"{path.name}: variables")
        used = set(re.findall(r"\$\{?([A-Za-z_]\w*)", json.dumps(board["panels"])))
        expect(used <= known, f"{path.name} uses variables that it does not have: {used - known}")
    for number, (where, expr) in enumerate(metrics.expressions()):
        expr = expr.replace("$__rate_interval", "5m").replace("$namespace", "a").replace("$cluster", "b")
        rules.append({"record": f"q{number}", "expr": expr, "labels": {"where": where}})
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}, file)
        file.flush()
        done = run(program("promtool"), "check", "rules", "--lint=none", file.name)
    expect(done.returncode == 0, f"a query does not parse: {done.stdout}{done.stderr}")


def check_settings():
    """spec.config has the node's settings, and no others."""
    left_out = {"raft.pre_vote", "raft.check_quorum", "raft.max_inflight_append_bytes", "http.max_admin_connections",
                "limits.memory_bytes"}  # a pod's memory is in its resources
    groups = ("raft", "limits", "storage", "history", "http", "log")
    wanted = {key for key in re.findall(r"^\| `(\w+\.\w+)` \|", (ROOT / "docs/configuration.md").read_text(), re.M) if key.split(".")[0] in groups} - left_out
    schema = yaml.safe_load((CHART / "files/crds/raftkv.dev_raftkvs.yaml").read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    config = schema["properties"]["spec"]["properties"]["config"]["properties"]
    snake = lambda name: re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)
    have = {f"{group}.{snake(name)}" for group, part in config.items() for name in part["properties"]}
    expect(have == wanted, f"spec.config and docs/configuration.md differ: {have ^ wanted}")


def check_documents():
    for script in ("documents.py", "dashboards.py"):
        expect((done := run(sys.executable, ROOT / "tests/chart" / script, "--check")).returncode == 0, done.stderr.strip())
    expect((done := run(sys.executable, ROOT / "tests/chart/metrics.py")).returncode == 0, done.stderr.strip())
    tests = {f"{suite}.{name}" for path in ROOT.glob("*/**/*_test.cc") if not path.parts[len(ROOT.parts)].startswith("build")
             for suite, name in re.findall(r"^TEST(?:_F|_P)?\((\w+), (\w+)\)", path.read_text(), re.M)}
    for test in re.findall(r"`([A-Z]\w+\.[A-Z]\w+)`", (ROOT / "docs/kubernetes-levels.md").read_text()):
        expect(test in tests, f"docs/kubernetes-levels.md names {test}, which does not exist")
    check_scenarios()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r"^project\(raftkv VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(), re.M)[1]
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    images = {f"{defaults_of['repository']}:{version}" for defaults_of in (defaults["image"], defaults["nodeImage"], defaults["tests"]["image"])}
    expect({image["image"] for image in yaml.safe_load(chart["annotations"]["artifacthub.io/images"])} == images, f"artifacthub.io/images and {images}")
    expect(chart["appVersion"] == version, f"appVersion is {chart['appVersion']}, the program's version {version}")


def check_scenarios():
    """docs/kubernetes-levels.md names scenarios and checks that there are, each in its table with what it needs."""
    page = (ROOT / "docs/kubernetes-levels.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "tests/e2e").glob("*.sh"))
    there = ["install", *run(ROOT / "tests/e2e/run", "--list").stdout.split()]
    own = re.findall(r"^(\w+)\(\) \{\n(?:  local .*\n)?  needs_own_cluster", sources, re.M)
    told = {}
    for names, notes in re.findall(r"^\| ([a-z_]+(?:, [a-z_]+)*) \| .* \|([^|]*)\|$", page.partition("## The scenarios of ./dev e2e")[2], re.M):
        told.update({name: set(notes.replace(",", "").split()) for name in names.split(", ")})
    expect(set(told) == set(there), f"docs/kubernetes-levels.md and ./dev e2e --list differ: {set(told) ^ set(there)}")
    for name, notes in told.items():
        expect(notes == ({"own"} if name in own else set()), f"docs/kubernetes-levels.md says of {name}: {notes or 'nothing'}")
    live = re.findall(r'"(\w+)": ', re.search(r"checks = \{(.*)\}", (ROOT / "tests/chart/live.py").read_text())[1])
    for command, known in (("e2e", there), ("chart --live", live)):
        rows = "".join(re.findall(r"^\| .*\n", page, re.M))
        for names in re.findall(rf"`\./dev {command}` \(?([a-z_]+(?:, [a-z_]+)*)", rows):
            expect(set(names.split(", ")) <= set(known), f"docs/kubernetes-levels.md: ./dev {command} has no {set(names.split(', ')) - set(known)}")


def check_cgroups():
    """Where a limit on writes goes in either version of cgroups, and where both are mounted: to the one that has the controller."""
    sys.path.insert(0, str(ROOT / "tests/chart"))
    import cgroups  # pylint: disable=import-outside-toplevel
    v1 = "cgroup /sys/fs/cgroup/blkio cgroup rw,relatime,blkio 0 0\n"
    mixed = v1 + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    for mounts, groups, made, wanted in (
            (v1, "4:memory:/\n7:blkio:/kubepods/a\n", None, ("sys/fs/cgroup/blkio/kubepods/a/blkio.throttle.write_bps_device", "8:0 100", "0")),
            (mixed, "7:blkio:/kubepods/a\n0::/kubepods/a\n", None, ("sys/fs/cgroup/blkio/kubepods/a/blkio.throttle.write_bps_device", "8:0 100", "0")),
            ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "0::/kubepods.slice/a\n", "sys/fs/cgroup/kubepods.slice/a/io.max",
             ("sys/fs/cgroup/kubepods.slice/a/io.max", "8:0 wbps=100", "max")),
            (mixed.replace(v1, ""), "0::/a\n", None, None)):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {"proc/self/mounts": mounts, "proc/5/cgroup": groups, made: ""}.items():
                if name:
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    (root / name).write_text(text)
            try:
                file, line, unlimited = cgroups.write_limit(5, root)
                found = (str(file.relative_to(root)), line.format(device="8:0", rate=100), unlimited)
            except SystemExit:
                found = None
            expect(found == wanted, f"the limit on writes with {groups!r}: {found}")


# --- With an API server ---------------------------------------------------------------------------


def kubectl(*arguments, stdin=None):
    return run(program("kubectl"), *arguments, stdin=stdin)


def must(*arguments, stdin=None):
    done = kubectl(*arguments, stdin=stdin)
    expect(done.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()[:500]}")
    return done.stdout


def check_server():
    """Install, change, roll back, uninstall; dry runs of everything that can be rendered."""
    install = helm("install", "raftkv", CHART, "-n", "chart-test", "--create-namespace")
    expect(install.returncode == 0, f"helm install: {install.stderr}")
    must("wait", "--for=condition=Established", "crd/raftkvs.raftkv.dev", "--timeout=30s")
    must("label", "namespace", "chart-test", "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    # Made by a controller a moment after the namespace; a pod that names no account needs it.
    must("wait", "--for=create", "serviceaccount/default", "-n", "chart-test", "--timeout=60s")
    for values in ({}, ALL_ON, ALL_OFF, {"watchNamespaces": ["default", "chart-test"]}):
        # The budget of cluster-wide names is the release's own: another name for the dry run.
        rendered = [item for item in template(values, name="other", ns="chart-test") if item["kind"] != "CustomResourceDefinition"]
        done = kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(rendered))
        expect(done.returncode == 0 and "would violate" not in done.stderr, f"dry run {values}: {done.stderr.strip()[:800]}")
    for sample in sorted((ROOT / "docs/samples").glob("*.yaml")):
        expect((done := kubectl("apply", "--dry-run=server", "-n", "chart-test", "-f", sample)).returncode == 0, f"{sample.name}: {done.stderr}")
    monitoring_objects()
    check_permissions()
    # Before there is another RaftKV, which would get a finalizer that nobody takes away.
    if "--operator" in sys.argv[1:]:
        check_operator(sys.argv[sys.argv.index("--operator") + 1])

    check_notes_on_server()
    must("apply", "-n", "chart-test", "-f", ROOT / "docs/samples/three.yaml")
    must("scale", "-n", "chart-test", "rkv/db", "--replicas=5")
    must("patch", "-n", "chart-test", "rkv/db", "--subresource=status", "--type=merge", "-p", '{"status": {"voters": 5, "selector": "raftkv.dev/cluster=db"}}')
    scale = json.loads(must("get", "-n", "chart-test", "rkv/db", "--subresource=scale", "-o", "json") or "{}")
    expect(scale.get("status") == {"replicas": 5, "selector": "raftkv.dev/cluster=db"} and scale["spec"]["replicas"] == 5, f"scale subresource: {scale}")
    unknown = kubectl("apply", "-n", "chart-test", "-f", "-", stdin='{"apiVersion": "raftkv.dev/v1alpha1", "kind": "RaftKV", "metadata": {"name": "x"}, "spec": {"config": {"raft": {"tik": "1s"}}}}')
    expect(unknown.returncode != 0 and 'unknown field "spec.config.raft.tik"' in unknown.stderr, f"an unknown setting: {unknown.stderr}")
    explained = must("explain", "rkv.spec.config.raft.electionTicks")
    expect("starts an election" in " ".join(explained.split()), f"kubectl explain: {explained}")
    uid = must("get", "-n", "chart-test", "rkv/db", "-o", "jsonpath={.metadata.uid}")
    upgrade = helm("upgrade", "raftkv", CHART, "-n", "chart-test", values={"replicas": 2, "logLevel": "debug"})
    expect(upgrade.returncode == 0, f"helm upgrade: {upgrade.stderr}")
    expect(must("get", "-n", "chart-test", "deploy/raftkv-raftkv-operator", "-o", "jsonpath={.spec.replicas}") == "2", "helm upgrade changes the deployment")
    rollback = helm("rollback", "raftkv", "1", "-n", "chart-test")
    expect(rollback.returncode == 0, f"helm rollback: {rollback.stderr}")
    expect(must("get", "-n", "chart-test", "deploy/raftkv-raftkv-operator", "-o", "jsonpath={.spec.replicas}") == "1", "helm rollback takes it back")
    uninstall = helm("uninstall", "raftkv", "-n", "chart-test")
    expect(uninstall.returncode == 0, f"helm uninstall: {uninstall.stderr}")
    expect(must("get", "-n", "chart-test", "rkv/db", "-o", "jsonpath={.metadata.uid}") == uid, "uninstall leaves the clusters")
    again = helm("install", "raftkv", CHART, "-n", "chart-test")
    expect(again.returncode == 0, f"install again takes the definition over: {again.stderr}")
    helm("uninstall", "raftkv", "-n", "chart-test")
    must("delete", "namespace", "chart-test", "--wait=false")
    kubectl("delete", "namespace", "chart-watched", "chart-also", "--wait=false")
    must("delete", "crd", "raftkvs.raftkv.dev", "--wait=false")


def check_notes_on_server():
    """The commands as they stand there, but for those that need a node: tests/chart/live.py runs all of them."""
    installed = json.loads(helm("status", "raftkv", "-n", "chart-test", "-o", "json").stdout)["info"]["notes"]
    block, others = commands_of(installed)
    apply = block[:block.index("\nYAML\n") + len("\nYAML\n")]
    for command in [apply, *(command for command in others if command.startswith("kubectl "))]:
        done = run("bash", "-euo", "pipefail", "-c", f"kubectl() {{ {program('kubectl')} \"$@\"; }}\n{command}")
        expect(done.returncode == 0 and (done.stdout.strip() or command == apply), f"notes: {command}: {done.stdout}{done.stderr}")
    must("delete", "rkv", "db", "-n", re.search(r"namespace: (\S+)", block)[1], "--timeout=60s")


def check_permissions():
    """The operator's account may do what it needs and nothing that would make it dangerous."""
    account = "--as=system:serviceaccount:chart-test:raftkv-raftkv-operator"
    for verb, what, wanted in [
        ("patch", "raftkvs.raftkv.dev", True), ("update", "raftkvs.raftkv.dev/status", True), ("create", "statefulsets.apps", True), ("delete", "persistentvolumeclaims", True),
        ("delete", "pods", True), ("delete", "serviceaccounts", True), ("delete", "poddisruptionbudgets.policy", True),
        # Garbage collection takes what else the operator makes.
        ("delete", "statefulsets.apps", False), ("delete", "services", False), ("delete", "networkpolicies.networking.k8s.io", False),
        ("patch", "raftkvs.raftkv.dev/status", False), ("update", "raftkvs.raftkv.dev", False), ("create", "persistentvolumeclaims", False),
        ("get", "nodes", True), ("watch", "nodes", True), ("create", "events.events.k8s.io", True), ("get", "secrets", False), ("create", "pods", False), ("delete", "raftkvs.raftkv.dev", False),
        ("create", "pods/exec", False), ("patch", "nodes", False), ("create", "clusterroles.rbac.authorization.k8s.io", False), ("delete", "persistentvolumes", False),
    ]:
        resource, _, subresource = what.partition("/")  # can-i takes what stands behind a slash for a name
        answer = kubectl("auth", "can-i", verb, resource, f"--subresource={subresource}", account, "-n", "default").stdout.strip()
        expect(answer == ("yes" if wanted else "no"), f"the operator {verb} {what}: {answer}")
    expect(kubectl("auth", "can-i", "update", "leases.coordination.k8s.io/other", account, "-n", "chart-test").stdout.strip() == "no", "another Lease")
    expect(kubectl("auth", "can-i", "update", "leases.coordination.k8s.io/raftkv-raftkv-operator", account, "-n", "chart-test").stdout.strip() == "yes", "its Lease")


def check_operator(binary):
    """An operator with the rights that the chart gives, and no others: a RaftKV comes and goes and nothing is forbidden."""
    watched = {"watchNamespaces": ["chart-watched", "chart-also"], "rbac": {"readNodes": False}}
    for values, namespaces, cascade in (({}, ["chart-test"], "background"), (watched, watched["watchNamespaces"], "foreground")):
        for ns in namespaces:
            kubectl("create", "namespace", ns)
        upgrade = helm("upgrade", "raftkv", CHART, "-n", "chart-test", values=values)
        expect(upgrade.returncode == 0, f"helm upgrade {values}: {upgrade.stderr}")
        args = json.loads(must("get", "-n", "chart-test", "deploy/raftkv-raftkv-operator", "-o", "jsonpath={.spec.template.spec.containers[0].args}"))
        token = must("create", "token", "raftkv-raftkv-operator", "-n", "chart-test").strip()
        config = json.loads(must("config", "view", "--raw", "--minify", "-o", "json"))
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        with tempfile.TemporaryDirectory() as folder:
            path, log = pathlib.Path(folder, "kubeconfig"), pathlib.Path(folder, "log")
            path.write_text(json.dumps(config))
            args = [arg for arg in args if "health-address" not in arg] + ["--health-address=127.0.0.1:0", f"--kubeconfig={path}"]
            with open(log, "wb") as out:
                operator = subprocess.Popen([binary, *args], stdout=out, stderr=out)
            try:
                for ns in namespaces:
                    check_life(ns, cascade)
            finally:
                operator.terminate()
                operator.wait(60)
            # In a foreground deletion the StatefulSet goes first, and was to be scaled down then.
            refused = [event["note"] for ns in namespaces for event in json.loads(must("get", "events.events.k8s.io", "-n", ns, "-o", "json"))["items"]
                       if event["reason"] == "ActionRefused"]
            expect(not refused or cascade == "background", f"a deletion with cascade={cascade} gives warnings: {refused[:3]}")
            said = [line for line in log.read_text().splitlines() if "orbidden" in line or "cannot " in line]
            expect(not said, f"the operator lacks rights with {values}: {said[:3]}")
            expect(operator.returncode == 0, f"the operator ended with {operator.returncode}: {log.read_text()[-1500:]}")


def check_life(ns, cascade):
    """Of a RaftKV. Its pod never runs here: there is no node."""
    must("apply", "-n", ns, "-f", "-", stdin=yaml.safe_dump({
        "apiVersion": "raftkv.dev/v1alpha1", "kind": "RaftKV", "metadata": {"name": "rights"},
        "spec": {"replicas": 1, "storage": {"size": "1Gi", "retention": {"onDelete": "Delete"}}}}))
    for made in ("statefulset/rights", "service/rights-leader", "networkpolicy/rights-members", "serviceaccount/rights", "pod/rights-0", "pvc/data-rights-0"):
        must("wait", "-n", ns, "--for=create", made, "--timeout=60s")
    must("wait", "-n", ns, "--for=jsonpath={.status.phase}=Bootstrapping", "rkv/rights", "--timeout=60s")
    must("delete", "-n", ns, "rkv/rights", f"--cascade={cascade}", "--timeout=60s")
    must("wait", "-n", ns, "--for=delete", "pvc/data-rights-0", "statefulset/rights", "--timeout=60s")


def monitoring_objects():
    """The Prometheus Operator's own definitions, out of its Go module, accept our monitors and rules."""
    module = run("go", "mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator@v0.85.0")
    if module.returncode != 0:
        expect(False, f"the Prometheus Operator's module cannot be had: {module.stderr or module.stdout}")
        return
    folder = pathlib.Path(json.loads(module.stdout)["Dir"]) / "example/prometheus-operator-crd"
    for kind in ("podmonitors", "servicemonitors", "prometheusrules"):
        must("apply", "--server-side", "-f", folder / f"monitoring.coreos.com_{kind}.yaml")
        must("wait", "--for=condition=Established", f"crd/{kind}.monitoring.coreos.com", "--timeout=30s")
    done = helm("upgrade", "raftkv", CHART, "-n", "chart-test", "--dry-run=server", "-o", "json", values={"monitoring": {"prometheusRule": {"enabled": True}}})
    said = json.loads(done.stdout or "{}").get("info", {}).get("notes", done.stderr)
    expect(NOTES["kept"] in said and NOTES["no monitors"] not in said, f"notes where the cluster knows the monitors: {said}")
    rendered = [item for item in template(ALL_ON, *MONITORING, name="other", ns="chart-test") if item["apiVersion"].startswith("monitoring.")]
    expect(len(rendered) == 3, "three monitoring objects")
    must("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(rendered))
    for kind in ("podmonitors", "servicemonitors", "prometheusrules"):
        must("delete", "crd", f"{kind}.monitoring.coreos.com", "--wait=false")


def with_server():
    if "KUBECONFIG" in os.environ:
        check_server()
        return
    started = run(KUBE, "up", "0")
    if started.returncode != 0:
        sys.exit(f"no cluster: set KUBECONFIG, or see what '{KUBE} up 0' needs\n{started.stderr}")
    os.environ["KUBECONFIG"] = started.stdout.strip().splitlines()[-1]
    try:
        check_server()
    finally:
        run(KUBE, "down")


def main():
    check_templates()
    check_namespaced()
    check_refusals()
    check_notes()
    check_alerts()
    check_dashboards()
    check_settings()
    check_documents()
    check_cgroups()
    if "--server" in sys.argv[1:]:
        with_server()
    print(f"{len(failures)} failed" if failures else "the chart is in order")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
