#!/usr/bin/env python3
"""Compares docs/metrics.md and docs/metrics-operator.md with the sources and with what dashboards and alerts use.

Every metric that the node and the operator export has a row there, the operator's with the source's help text, every row
is exported, and no query uses a name that is not in them. With --write missing rows of the operator are added, with the source's help text.
"""
import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = {"Node": ROOT / "docs/metrics.md", "Operator": ROOT / "docs/metrics-operator.md"}
CHART = ROOT / "charts/raftkv-operator/files"
# Section of the page -> sources. `MakeGauge(r, "x"` and the like give a name its prefix.
SOURCES = {
    "Node": ["node/runtime/metrics.cc", "node/server/metrics.cc", "node/server/metrics_process.cc"],
    "Operator": ["operator/kube/metrics.cc", "operator/raftkv/cluster_metrics.cc"],
}
NAME = r'"((?:raftkv|workqueue|controller_runtime|rest_client|leader_election|process)_[a-z_]+)"'
TEXT = r'((?:\s*"(?:[^"\\]|\\.)*")+)'


def exported():
    """{section: {name: help}}."""
    out = {}
    for section, files in SOURCES.items():
        found = out.setdefault(section, {})
        for name in files:
            path = ROOT / name
            if not path.exists():
                continue
            source = path.read_text()
            prefix = re.search(r'Name\("(\w+_)" \+ name\)', source)
            if prefix:
                source = re.sub(r'MakeGauge\(r, "', f'MakeGauge(r, "{prefix[1]}', source)
            for match in re.finditer(NAME + r"(?:,|\)\s*\.Help\()" + TEXT, source):
                found[match[1]] = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', match[2]))
    return out


def documented():
    return [name for page in PAGES.values() for name in re.findall(r"^\| `([a-z_]+)` \|", page.read_text(), re.M)]


def expressions():
    """(where, expression) of every panel and alert."""
    for path in sorted((CHART / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            if match := re.match(r"label_values\((.*), \w+\)", str(variable.get("definition", ""))):
                yield f"{path.stem}: ${variable['name']}", match[1]
    for group in yaml.safe_load((CHART / "alerts/rules.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def main():
    sources, wrong = exported(), []
    if sys.argv[1:] == ["--write"]:
        page = PAGES["Operator"]
        lines = [f"| `{name}` | {text} |\n" for name, text in sorted(sources["Operator"].items()) if name not in documented()]
        page.write_text(page.read_text() + "".join(lines))
    rows = documented()
    every = {name for found in sources.values() for name in found}
    wrong += [f"{name} is exported and has no row in docs/metrics*.md" for name in sorted(every - set(rows))]
    # process_* is filled in by code that has no help texts of this form.
    wrong += [f"{name} has a row in docs/metrics*.md and nobody exports it" for name in sorted(set(rows) - every)
              if not name.startswith(("process_", "up"))]
    wrong += [f"docs/metrics-operator.md says of {name} other than its help text: {text}" for name, text in sources["Operator"].items()
              if f"| `{name}` | {text} |" not in PAGES["Operator"].read_text()]
    for where, expr in expressions():
        for name in re.findall(r"\b(?:raftkv|workqueue|controller_runtime|rest_client|leader_election|process)_[a-z_]+", expr):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            if name not in rows and base not in rows:
                wrong.append(f"{where} uses {name}, which docs/metrics*.md do not know")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
