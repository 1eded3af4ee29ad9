"""Draws the dashboard as a picture, and lists the alerts, both from the files below ``deploy/``.

The picture has every row and panel where Grafana puts it, under its own title; the lines in the panels are made up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
UNIT = (42, 15)
"""Width of one of the grid's 24 columns and height of one of its lines, as drawn."""
EDGE = 12
_COLOURS = {"green": "#2da44e", "red": "#cf222e", "orange": "#bc4c00", "blue": "#0969da", "purple": "#8250df"}
_FIGURES = {"Agents that answer": (2, "green"), "Halted": (1, "red")}
"""What is not 0: the picture has one sync that halted."""
_STYLE = """
  .page { fill: #f6f8fa; stroke: #d0d7de; }
  .panel { fill: #ffffff; stroke: #d0d7de; }
  .line { fill: none; stroke-width: 1.6; }
  .axis { stroke: #d8dee4; }
  text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 11px; fill: #1f2328; }
  .row { font-size: 13px; font-weight: 600; }
  .figure { font-size: 20px; font-weight: 600; fill: #ffffff; text-anchor: middle; }
  .small { font-size: 9.5px; fill: #57606a; }
"""


def picture() -> str:
    """The whole picture as SVG."""
    panels = json.loads((DEPLOY / "grafana" / "fuagent.json").read_text(encoding="utf-8"))["panels"]
    low = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width, height = 24 * UNIT[0] + 2 * EDGE, low * UNIT[1] + 2 * EDGE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>The dashboard</title>",
        "<!-- Made from the code by scripts/docs.py; `make docs` writes it anew. -->",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" x="1" y="1" width="{width - 2}" height="{height - 2}" rx="8"/>',
    ]
    for panel in panels:
        lines += _panel(panel)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(panel: dict[str, Any]) -> Iterator[str]:
    grid = panel["gridPos"]
    x, y = EDGE + grid["x"] * UNIT[0], EDGE + grid["y"] * UNIT[1]
    wide, high = grid["w"] * UNIT[0] - 4, grid["h"] * UNIT[1] - 4
    if panel["type"] == "row":
        yield f'<text class="row" x="{x}" y="{y + 12}">{escape(panel["title"])}</text>'
        return
    yield f'<rect class="panel" x="{x}" y="{y}" width="{wide}" height="{high}" rx="3"/>'
    yield f'<text x="{x + 7}" y="{y + 14}">{escape(panel["title"])}</text>'
    yield from _DRAWN[panel["type"]](panel, x + 8, y + 22, wide - 16, high - 30)


def _figure(panel: dict[str, Any], x: int, y: int, wide: int, high: int) -> Iterator[str]:
    number, colour = _FIGURES.get(panel["title"], (0, "green"))
    yield f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" rx="2" fill="{_COLOURS[colour]}"/>'
    yield f'<text class="figure" x="{x + wide // 2}" y="{y + high // 2 + 7}">{number}</text>'


def _lines(panel: dict[str, Any], x: int, y: int, wide: int, high: int) -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        yield f'<line class="axis" x1="{x}" x2="{x + wide}" y1="{y + share * high:g}" y2="{y + share * high:g}"/>'
    for number, colour in enumerate(("blue", "purple")):
        points = " ".join(
            f"{x + wide * step // 40},{y + high * (0.75 - 0.25 * _wave(panel['id'], number, step)):.1f}"
            for step in range(41)
        )
        yield f'<polyline class="line" stroke="{_COLOURS[colour]}" points="{points}"/>'


def _wave(at: int, number: int, step: int) -> float:
    """A curve between -1 and 2, another one for each panel and line."""
    return math.sin(step / (3 + number) + at) + max(0.0, math.sin(step / 9 + 2 * at + number)) ** 3


def _states(_panel: dict[str, Any], x: int, y: int, wide: int, high: int) -> Iterator[str]:
    spans = (
        ("customers-sync", (("blue", 0.2), ("green", 0.8))),
        ("orders-sync", (("green", 0.45), ("orange", 0.2), ("green", 0.35))),
        ("stock-sync", (("green", 0.7), ("red", 0.3))),
    )
    each = high // len(spans)
    for number, (name, parts) in enumerate(spans):
        top = y + number * each
        yield f'<text class="small" x="{x}" y="{top + each // 2}">{name}</text>'
        left = x + 80.0
        for colour, share in parts:
            length = (wide - 80) * share
            yield (
                f'<rect x="{left:g}" y="{top + 3}" width="{length:g}" height="{each - 10}" fill="{_COLOURS[colour]}" '
                f'fill-opacity="0.75"/>'
            )
            left += length


def _table(_panel: dict[str, Any], x: int, y: int, wide: int, high: int) -> Iterator[str]:
    rows = (
        ("sync", "agent", "behind"),
        ("orders-sync", "10.0.0.5:8103", "4.2 s"),
        ("stock-sync", "10.0.0.6:8103", "0 s"),
    )
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            left = x + column * wide // 3
            yield f'<text class="small" x="{left}" y="{y + 12 + number * min(20, high // 3)}">{text}</text>'


def _bars(_panel: dict[str, Any], x: int, y: int, wide: int, high: int) -> Iterator[str]:
    for number, share in enumerate((1.0, 0.62)):
        top = y + number * high // 2
        yield f'<rect x="{x}" y="{top}" width="{wide}" height="{high // 2 - 8}" fill="#eaeef2"/>'
        yield f'<rect x="{x}" y="{top}" width="{wide * share:g}" height="{high // 2 - 8}" fill="{_COLOURS["blue"]}"/>'


_DRAWN = {"stat": _figure, "timeseries": _lines, "state-timeline": _states, "table": _table, "bargauge": _bars}


def alerts() -> list[dict[str, Any]]:
    """Every alert rule, in the order of the file."""
    told = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in told["groups"] for rule in group["rules"]]
