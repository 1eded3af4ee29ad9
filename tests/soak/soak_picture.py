"""What a soak looked like: rate, lag and memory over time, with the faults marked; SVG, written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from xml.sax.saxutils import escape

from soak_course import Course, Plan, Sample

WIDTH, LEFT, RIGHT = 960, 84, 30
TOP, BAND, PANEL, GAP = 62, 66, 132, 52
"""Heights: above the faults, of the faults' three rows, of a curve's panel, between panels."""
ROWS = ("agent", "database", "service")
COLUMNS = 424
"""Points of a curve at most."""

STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de; }
  .panel { fill: #f6f8fa; stroke: #d0d7de; }
  .grid { stroke: #d0d7de; stroke-width: 1; }
  .asked { stroke: #57606a; stroke-width: 1.2; stroke-dasharray: 5 4; fill: none; }
  .curve { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
  .rate { stroke: #0969da; } .lag { stroke: #bc4c00; } .memory { stroke: #1a7f37; }
  .agent { fill: #8250df; } .database { fill: #cf222e; } .service { fill: #9a6700; }
  .hit { opacity: 0.13; }
  text { fill: #1f2328; } text.agent { fill: #8250df; } text.database { fill: #cf222e; } text.service { fill: #9a6700; }
  text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; }
  .title { font-weight: 600; font-size: 16px; }
  .name { font-weight: 600; }
  .small { font-size: 11.5px; font-weight: 400; fill: #424a53; }
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One curve: what it is called, its values, and what is drawn across at a fixed height."""

    name: str
    unit: str
    kind: str
    points: Sequence[tuple[float, float]]
    asked: float | None = None


def ceiling(value: float) -> float:
    """The next round number: 1, 2, 2.5 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999)


def thinned(
    points: Sequence[tuple[float, float]], keep: Callable[[Iterable[float]], float]
) -> list[tuple[float, float]]:
    """At most `COLUMNS` points; each stands for several, by ``keep`` of their values."""
    size = max(1, math.ceil(len(points) / COLUMNS))
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [(group[0][0], keep([value for _, value in group])) for group in groups]


def picture(course: Course, plan: Plan, title: str) -> str:
    """The whole file."""
    panels = _panels(course.samples, plan)
    bottom = TOP + BAND + len(panels) * (PANEL + GAP) - 14
    height = bottom + 34
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            ' role="img">'
        ),
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="10"/>',
        f'<text class="title" x="{LEFT}" y="32">{escape(title)}</text>',
        *_faults(course, plan, bottom),
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, plan, TOP + BAND + GAP - 14 + number * (PANEL + GAP), last=panel is panels[-1])
    return "\n".join([*parts, "</svg>", ""])


def _panels(samples: Sequence[Sample], plan: Plan) -> list[Panel]:
    pairs = list(pairwise(samples))
    rate = thinned([(b.time, (b.committed - a.committed) / (b.time - a.time)) for a, b in pairs], fmean)
    applied = thinned([(b.time, (b.applied - a.applied) / (b.time - a.time)) for a, b in pairs], fmean)
    lag = thinned([(sample.time, sample.lag) for sample in samples], max)
    memory = thinned([(sample.time, sample.rss / 1e6) for sample in samples if sample.rss], fmean)
    return [
        Panel(
            "Written to the database",
            "commits per second; the dashed line is what was asked for",
            "rate",
            rate,
            plan.rate,
        ),
        Panel("Arrived at the service", "commits per second", "rate", applied, plan.rate),
        Panel("Lag", "seconds since the oldest commit that had not arrived", "lag", lag),
        Panel("Memory of the agent", "resident, MB", "memory", memory),
    ]


def _x(time: float, plan: Plan) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, time / plan.seconds)


def _faults(course: Course, plan: Plan, bottom: int) -> list[str]:
    """A row for each place, and a pale column through all panels for as long as each fault held."""
    parts = []
    for row, place in enumerate(ROWS):
        y = TOP + row * 20
        strikes = [strike for strike in course.strikes if strike.place == place]
        parts.append(f'<text class="{place}" x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{place}</text>')
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        for strike in strikes:
            x = _x(strike.start, plan)
            wide = max(1.0, _x(strike.end, plan) - x)
            told = f"<title>{escape(strike.name)}, {strike.start:.0f} s</title>"
            parts.append(f'<rect class="{place} hit" x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{bottom - y}"/>')
            parts.append(f'<circle class="{place}" cx="{x:.1f}" cy="{y}" r="4">{told}</circle>')
    return parts


def _panel(panel: Panel, plan: Plan, top: int, *, last: bool) -> list[str]:
    most = ceiling(max([*(value for _, value in panel.points), panel.asked or 0, 0.001]))

    def y(value: float) -> float:
        return top + PANEL * (1 - value / most)

    wide = WIDTH - LEFT - RIGHT
    parts = [
        f'<rect class="panel" x="{LEFT}" y="{top}" width="{wide}" height="{PANEL}" fill-opacity="0"/>',
        f'<text class="name" x="{LEFT}" y="{top - 8}">{panel.name}<tspan class="small" dx="8">{panel.unit}</tspan></text>',
    ]
    for share in (0, 0.5, 1):
        line = y(share * most)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{line:.1f}" x2="{LEFT + wide}" y2="{line:.1f}"/>')
        label = f"{share * most:,.0f}" if most >= 10 else f"{share * most:g}"
        parts.append(f'<text class="small" x="{LEFT - 8}" y="{line + 4:.1f}" text-anchor="end">{label}</text>')
    if panel.asked:
        at = y(panel.asked)
        parts.append(f'<line class="asked" x1="{LEFT}" y1="{at:.1f}" x2="{LEFT + wide}" y2="{at:.1f}"/>')
    drawn = " ".join(f"{_x(time, plan):.1f},{y(min(value, most)):.1f}" for time, value in panel.points)
    parts.append(f'<polyline class="curve {panel.kind}" points="{drawn}"/>')
    return parts + _times(plan, top + PANEL) if last else parts


def _times(plan: Plan, y: int) -> list[str]:
    minutes = plan.seconds / 60
    step = ceiling(minutes / 6)
    marks = [number * step for number in range(int(minutes / step + 0.001) + 1)]
    return [
        f'<text class="small" x="{_x(mark * 60, plan):.1f}" y="{y + 18}" text-anchor="middle">{mark:g}'
        f"{' min' if mark else ''}</text>"
        for mark in marks
    ]
