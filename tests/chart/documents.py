#!/usr/bin/env python3
"""Writes what is generated from the chart: its README from values.yaml, docs/crd.md from the RaftKV schema.

With --check it writes nothing and fails if a file is not what this would write.
"""
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/raftkv-operator"

README = """# raftkv-operator

Installs the operator that runs [raftkv](../../README.md) clusters, one `RaftKV` resource each, with its CustomResourceDefinition, roles,
alerts and dashboards. How to use it: [docs/kubernetes.md](../../docs/kubernetes.md). This file is generated: `./dev chart --write`.

```sh
helm install raftkv-operator charts/raftkv-operator -n raftkv-system --create-namespace
helm test raftkv-operator -n raftkv-system
helm upgrade raftkv-operator charts/raftkv-operator -n raftkv-system
helm uninstall raftkv-operator -n raftkv-system      # clusters, volumes and the definition stay
```

Needs Kubernetes {kube}. The chart's version is {version}.

## Values

| Value | Default | Meaning |
| --- | --- | --- |
{rows}

Unknown and wrong values are refused (`values.schema.json`).
"""

CRD = """# The RaftKV resource, field by field

Generated from the schema (`charts/raftkv-operator/files/crds/`): `./dev chart --write`. The same texts are in `kubectl explain rkv.spec`.
Rules are checked by the API server when an object is written. `[]` is an element of a list, `{{}}` a value of a map.

`{group}/{version}`, kind `{kind}`, short name `{short}`.

{body}
"""


def values_rows():
    """One row for each comment that begins with "--": the key below it, its default, the text."""
    rows, path, text = [], [], None
    data = yaml.safe_load((CHART / "values.yaml").read_text())
    for line in (CHART / "values.yaml").read_text().splitlines():
        if match := re.match(r"\s*# -- (.*)", line):
            text = match[1]
        elif match := re.match(r"( *)([A-Za-z]\w*):", line):
            depth = len(match[1]) // 2
            path = path[:depth] + [match[2]]
            if text is None:
                continue
            value = data
            for name in path:
                value = value[name]
            rendered = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False).replace("\n...", "").strip()
            rows.append(f"| `{'.'.join(path)}` | `{rendered}` | {text} |")
            text = None
    return rows


def undocumented_values():
    """Leaves of values.yaml without a comment of their own or of a parent."""
    documented = {re.match(r"\| `([^`]+)`", row)[1] for row in values_rows()}

    def leaves(value, path):
        if ".".join(path) in documented:
            return
        if isinstance(value, dict) and value:
            for name, child in value.items():
                yield from leaves(child, path + [name])
        else:
            yield ".".join(path)

    return list(leaves(yaml.safe_load((CHART / "values.yaml").read_text()), []))


def readme():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    return README.format(kube=chart["kubeVersion"], version=chart["version"], rows="\n".join(values_rows()))


def type_of(schema):
    if schema.get("x-kubernetes-int-or-string"):
        return "number or text"
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    kind = schema["type"]
    if kind == "array":
        return f"list of {type_of(schema['items'])}"
    if kind == "object" and "additionalProperties" in schema:
        return "map"
    return {"string": "text", "integer": "number", "boolean": "true, false", "object": "object"}[kind] + (
        f" ({schema['format']})" if schema.get("format") == "date-time" else "")


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def limits_of(schema):
    out = []
    if "minimum" in schema or schema.get("maximum", 1 << 62) < 1 << 62:
        out.append(f"{schema.get('minimum', '')} to {schema.get('maximum', '')}".strip() if "maximum" in schema else f"at least {schema['minimum']}")
    if "maxLength" in schema:
        out.append(f"at most {schema['maxLength']} characters")
    most = schema.get("maxItems", schema.get("maxProperties"))
    if most is not None:
        entry = schema.get("items", schema.get("additionalProperties", {}))
        each = f", each of at most {entry['maxLength']} characters" if "maxLength" in entry else ""
        out.append(f"at most {most}{each}")
    out += [rule["message"] for rule in schema.get("x-kubernetes-validations", [])]
    return out


def fields(schema, path, rows, required=False):
    text = schema.get("description", "")
    notes = limits_of(schema)
    if required:
        notes.insert(0, "required")
    if "default" in schema and schema["default"] != {}:
        notes.insert(0, f"default `{str(schema['default']).lower() if isinstance(schema['default'], bool) else schema['default']}`")
    rows.append(f"| `{path}` | {type_of(schema)} | {cell(text)} | {cell('; '.join(notes))} |")
    below(schema, path, rows)


def below(schema, path, rows):
    for name, child in schema.get("properties", {}).items():
        fields(child, f"{path}.{name}" if path else name, rows, name in schema.get("required", []))
    items = schema.get("items")
    if items and items.get("type") == "object":
        below(items, path + "[]", rows)


def crd():
    definition = yaml.safe_load((CHART / "files/crds/raftkv.dev_raftkvs.yaml").read_text())["spec"]
    version = definition["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    head = "| Field | Type | Meaning | Rules |\n| --- | --- | --- | --- |"
    body = ["The object: " + "; ".join(limits_of(schema)) + "."]
    for part in ("spec", "status"):
        rows, deep = [], {}
        fields(schema["properties"][part], part, rows)
        # The embedded pod types are long: a section for each.
        for row in rows:
            name = re.match(r"\| `(\w+\.(?:affinity|topologySpreadConstraints|pod|config|resources))[.\[]", row)
            deep.setdefault(name[1] if name else part, []).append(row)
        for title, group in deep.items():
            body.append(f"## {title}\n\n{head}\n" + "\n".join(group))
    columns = "\n".join(f"| {c['name']} | `{c['jsonPath']}` | {'-o wide' if c.get('priority') else ''} |" for c in version["additionalPrinterColumns"])
    body.append("## Columns of kubectl get\n\n| Column | Field | |\n| --- | --- | --- |\n" + columns)
    return CRD.format(group=definition["group"], version=version["name"], kind=definition["names"]["kind"],
                      short=definition["names"]["shortNames"][0], body="\n\n".join(body))


def main():
    check, wrong = sys.argv[1:] == ["--check"], []
    for path, text in {CHART / "README.md": readme(), ROOT / "docs/crd.md": crd()}.items():
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(str(path.relative_to(ROOT)))
    if missing := undocumented_values():
        sys.exit("values without a comment '# -- ...': " + ", ".join(missing))
    if wrong:
        sys.exit("not up to date, run ./dev chart --write: " + ", ".join(wrong))


if __name__ == "__main__":
    main()
