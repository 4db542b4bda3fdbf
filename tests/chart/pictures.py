#!/usr/bin/env python3
"""Draws the dashboards with the data of a real Prometheus, one PNG each, as Grafana lays them out: to be looked at.

    tests/chart/pictures.py URL NAMESPACE CLUSTER FOLDER [MINUTES]

Needs Debian's `chromium`. Not Grafana: the grid, titles, units, legends, thresholds, mappings and the kinds of panel
that our dashboards use, no more. What can be checked without eyes is in check.py.
"""
import html
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLUMN, LINE, GAP = 64, 30, 8  # pixels; Grafana's line and gap
COLORS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffb357", "#96d98d", "#ca95e5"]
UNITS = {"reqps": " req/s", "ops": " ops/s", "none": "", "percentunit": "%"}
STEPS = 120


def number(value, unit):
    """As Grafana's units print it."""
    if value is None or math.isnan(value):
        return "-"
    if unit == "s":
        for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= scale or name == "µs":
                return f"{value / scale:.3g} {name}" if value else "0 s"
    if unit in ("bytes", "Bps"):
        step = 1024 if unit == "bytes" else 1000
        power = min(4, int(math.log(abs(value), step))) if abs(value) >= 1 else 0
        names = ["B", "KiB", "MiB", "GiB", "TiB"] if unit == "bytes" else ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]
        return f"{value / step ** power:.3g} {names[power]}"
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "short" and abs(value) >= 1000:
        return f"{value / 1000:.3g} K" if abs(value) < 1e6 else f"{value / 1e6:.3g} Mil"
    text = f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"
    return text + UNITS.get(unit, "")


class Prometheus:
    def __init__(self, url, minutes):
        self.url, self.end = url, time.time()
        self.start = self.end - minutes * 60
        self.step = (self.end - self.start) / STEPS

    def ask(self, expr, instant):
        query = {"query": expr, **({"time": self.end} if instant else {"start": self.start, "end": self.end, "step": self.step})}
        with urllib.request.urlopen(f"{self.url}/api/v1/query{'' if instant else '_range'}?" + urllib.parse.urlencode(query), timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
        return [(item["metric"], [item["value"]] if instant else item["values"]) for item in found]


def legend(target, labels):
    text = target.get("legendFormat") or json.dumps(labels)
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), text)


def color_of(value, defaults):
    steps = defaults.get("thresholds", {}).get("steps", [{"color": "green", "value": None}])
    name = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    return {"green": "#37872d", "red": "#c4162a", "orange": "#e0701c", "blue": "#1f60c4"}.get(name, name)


def draw_stat(panel, found):
    defaults, cells = panel["fieldConfig"]["defaults"], []
    for target, series in found:
        for labels, values in series:
            value = float(values[-1][1])
            named = panel["options"].get("textMode") == "name"
            cells.append((legend(target, labels) if named else number(value, defaults["unit"]), color_of(value, defaults)))
    if not cells:
        cells = [(defaults.get("noValue", "No data"), color_of(0, defaults) if "noValue" in defaults else "#555")]
    return "".join(f'<div class=stat style="background:{color}">{html.escape(text)}</div>' for text, color in cells)


def draw_table(panel, found):
    rename = {}
    for step in panel.get("transformations", []):
        rename.update(step["options"].get("renameByName", {}))
    rows, columns = {}, []
    for target, series in found:
        for labels, values in series:
            row = rows.setdefault(json.dumps(labels, sort_keys=True), dict(labels))
            row["Value #" + target["refId"]] = number(float(values[-1][1]), panel["fieldConfig"]["defaults"]["unit"])
    for row in rows.values():
        columns += [name for name in row if name not in columns]
    head = "".join(f"<th>{html.escape(rename.get(name, name))}" for name in columns)
    return f"<table><tr>{head}" + "".join("<tr>" + "".join(f"<td>{html.escape(row.get(name, ''))}" for name in columns) for row in rows.values()) + "</table>" if rows else "No data"


def axis_top(most):
    if most <= 0 or math.isinf(most):
        return 1.0
    power = 10 ** math.floor(math.log10(most))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= most * 0.999)


def draw_lines(panel, found, prometheus, width, height):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    lines = [(legend(target, labels), [(float(at), float(value)) for at, value in values]) for target, series in found for labels, values in series]
    if not lines:
        return "<div class=none>No data</div>"
    values = [value for _, points in lines for _, value in points if not math.isnan(value)]
    low, high = 0.0, axis_top(max(values, default=1))
    if min(values, default=0) < 0:
        low = -axis_top(-min(values))
    left, top, bottom = 74, 6, 18
    plot_w, plot_h = width - left - 8, height - top - bottom - 22 * (1 + sum(len(name) * 6.3 + 24 for name, _ in lines) // width)
    out = []
    for i in range(5):
        value = low + (high - low) * i / 4
        y = top + plot_h * (1 - i / 4)
        out.append(f'<line x1={left} x2={left + plot_w} y1={y:.0f} y2={y:.0f} stroke="#333"/><text x={left - 6} y={y + 4:.0f} text-anchor=end>{html.escape(number(value, unit))}</text>')
    for i, (_, points) in enumerate(lines):
        path, before = "", None
        for at, value in points:
            if math.isnan(value):
                before = None
                continue
            x = left + plot_w * (at - prometheus.start) / (prometheus.end - prometheus.start)
            y = top + plot_h * (1 - (min(value, high) - low) / (high - low))
            path += f"{'L' if before is not None and at - before < 1.5 * prometheus.step else 'M'}{x:.1f} {y:.1f}"
            before = at
        out.append(f'<path d="{path}" stroke="{COLORS[i % len(COLORS)]}" fill=none stroke-width=1.5 />')
    names = "".join(f'<span><i style="background:{COLORS[i % len(COLORS)]}"></i>{html.escape(name)}</span>' for i, (name, _) in enumerate(lines))
    return f"<svg width={width} height={top + plot_h + bottom:.0f}>{''.join(out)}</svg><div class=legend>{names}</div>"


def draw_heatmap(panel, found, prometheus, width, height):
    """Cumulative buckets, as Prometheus has them: each cell is what is new in its bucket."""
    buckets = sorted(((float(labels["le"].replace("+Inf", "inf")), dict((float(at), float(value)) for at, value in values)) for _, series in found for labels, values in series), key=lambda item: item[0])
    if not buckets:
        return "<div class=none>No data</div>"
    unit = panel["options"]["yAxis"]["unit"]
    cells, times = [], sorted(buckets[-1][1])
    for i, (_, values) in enumerate(buckets):
        below = buckets[i - 1][1] if i else {}
        cells.append([max(0.0, values.get(at, 0) - below.get(at, 0)) for at in times])
    most = max((value for row in cells for value in row), default=0) or 1
    used = [i for i, row in enumerate(cells) if max(row, default=0) > 0] or [0]
    first, last = max(0, used[0] - 1), min(len(cells) - 1, used[-1] + 1)
    left, plot_h = 74, height - 30
    cell_h, cell_w, out = plot_h / (last - first + 1), (width - left - 8) / STEPS, []
    for i in range(first, last + 1):
        y = plot_h - (i - first + 1) * cell_h
        out.append(f'<text x={left - 6} y={y + 4:.0f} text-anchor=end>{html.escape("+Inf" if math.isinf(buckets[i][0]) else number(buckets[i][0], unit))}</text>')
        for at, value in zip(times, cells[i]):
            if value > 0:
                x = left + (at - prometheus.start) / prometheus.step * cell_w
                out.append(f'<rect x={x:.1f} y={y:.1f} width={cell_w:.1f} height={cell_h - 1:.1f} fill="hsl(28,90%,{15 + 55 * (value / most) ** 0.5:.0f}%)"/>')
    return f"<svg width={width} height={plot_h + 10:.0f}>{''.join(out)}</svg>"


def draw_timeline(panel, found, prometheus, width, height):
    mapping = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    rows = [(legend(target, labels), values) for target, series in found for labels, values in series]
    out, line = [], (height - 50) / max(1, len(rows))
    for i, (name, values) in enumerate(rows):
        out.append(f'<text x=0 y={i * line + line / 2:.0f}>{html.escape(name)}</text>')
        for at, value in values:
            color = mapping.get(str(int(float(value))), {}).get("color", "#555").replace("transparent", "#2a2d32").replace("green", "#37872d")
            out.append(f'<rect x={90 + (float(at) - prometheus.start) / prometheus.step * (width - 98) / STEPS:.1f} y={i * line + 2:.1f} width={(width - 98) / STEPS + .5:.1f} height={line - 4:.1f} fill="{color}"/>')
    names = "".join(f'<span><i style="background:{entry["color"]}"></i>{entry["text"]}</span>' for entry in mapping.values())
    return f"<svg width={width} height={height - 40}>{''.join(out)}</svg><div class=legend>{names}</div>" if rows else "<div class=none>No data</div>"


def draw(panel, prometheus, replace):
    grid = panel["gridPos"]
    width, height = grid["w"] * COLUMN - GAP, grid["h"] * (LINE + GAP) - GAP
    box = f'style="left:{grid["x"] * COLUMN + GAP}px;top:{grid["y"] * (LINE + GAP) + 60}px;width:{width}px;height:{height}px"'
    if panel["type"] == "row":
        return f'<div class=row {box}>&#8964; {html.escape(panel["title"])}</div>'
    found = [(target, prometheus.ask(replace(target["expr"]), target.get("instant", False))) for target in panel["targets"]]
    inner_w, inner_h = width - 16, height - 34
    kind = panel["type"]
    if kind == "stat":
        body = draw_stat(panel, found)
    elif kind == "table":
        body = draw_table(panel, found)
    else:
        body = {"timeseries": draw_lines, "heatmap": draw_heatmap, "state-timeline": draw_timeline}[kind](panel, found, prometheus, inner_w, inner_h)
    note = " <small>&#9432;</small>" if panel.get("description") else ""
    return f'<div class=panel {box}><b>{html.escape(panel["title"])}{note}</b><div class=body style="height:{inner_h}px">{body}</div></div>'


STYLE = """body{background:#111217;color:#ccccdc;font:12px DejaVu Sans,sans-serif;margin:0} h1{font-size:18px;margin:16px}
.panel{position:absolute;background:#181b1f;border:1px solid #2c2f36;box-sizing:border-box;padding:6px 8px;overflow:hidden}.panel b{font-weight:500}
.row{position:absolute;font-size:15px;font-weight:600}.body{margin-top:4px;overflow:hidden}.stat{display:flex;height:100%;align-items:center;justify-content:center;font-size:30px;color:#fff}
.legend span{margin-right:12px;white-space:nowrap}.legend i{display:inline-block;width:14px;height:4px;margin-right:5px;vertical-align:middle}.none{text-align:center;padding-top:40px;color:#888}
text{fill:#aaa;font-size:11px}table{width:100%;border-collapse:collapse;text-align:left}td,th{border-bottom:1px solid #2c2f36;padding:5px}svg{display:block}"""


def draw_all(url, ns, cluster, folder, minutes):
    prometheus, out = Prometheus(url, minutes), pathlib.Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    replace = lambda expr: expr.replace("$__rate_interval", "30s").replace("$namespace", ns).replace("$cluster", cluster)
    browser = shutil.which("chromium") or sys.exit("chromium is missing (Debian's package of that name)")
    for path in sorted((ROOT / "charts/raftkv-operator/files/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        panels = "".join(draw(panel, prometheus, replace) for panel in board["panels"])
        height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) * (LINE + GAP) + 80
        page = out / f"{path.stem}.html"
        page.write_text(f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><h1>{html.escape(board['title'])}</h1>{panels}")
        subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={24 * COLUMN + 2 * GAP},{height}",
                        f"--screenshot={out / (path.stem + '.png')}", page.absolute().as_uri()], check=True, capture_output=True, timeout=120)
        print(out / f"{path.stem}.png")


def main():
    url, ns, cluster, folder, *rest = sys.argv[1:]
    draw_all(url, ns, cluster, folder, float(rest[0]) if rest else 5)


if __name__ == "__main__":
    main()
