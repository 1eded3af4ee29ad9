"""Holds the coverage gate: reads coverage's JSON report, prints a table per room, fails below the floor.

Rooms without I/O owe every branch; every other room owes nine of ten. A room's share
counts lines and branches together, as coverage's own total does.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

WHOLE = 100.0
MOST = 90.0
PURE_ROOMS = {"wire", "contract", "encode"}
PURE_MODULES = {"engine/batcher.py", "engine/retry.py", "engine/lifecycle.py"}


@dataclass(slots=True)
class Share:
    """What was owed and what was run; ``open`` names where something was not."""

    floor: float
    owed: int = 0
    run: int = 0
    open: tuple[str, ...] = ()

    @property
    def percent(self) -> float:
        return 100 * self.run / self.owed if self.owed else WHOLE

    @property
    def held(self) -> bool:
        return self.percent >= self.floor


def room_of(path: str) -> tuple[str, float]:
    """The line of the table a module counts in, and the floor there."""
    inner = PurePosixPath(path.replace("\\", "/").rpartition("fuagent/")[2])
    if str(inner) in PURE_MODULES:
        return str(inner.with_suffix("")), WHOLE
    # config_keys and its like are pieces of config.
    room = f"{inner.parts[0]}/" if len(inner.parts) > 1 else inner.stem.partition("_")[0] or inner.stem
    return room, WHOLE if inner.parts[0] in PURE_ROOMS else MOST


def shares(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> dict[str, Share]:
    """One share per room, in the order of their names."""
    found: dict[str, Share] = {}
    places = defaultdict(list)
    for path, entry in report["files"].items():
        room, floor = room_of(path)
        summary = entry["summary"]
        share = found.setdefault(room, Share(floor))
        owed = summary["num_statements"] + summary["num_branches"]
        run = summary["covered_lines"] + summary["covered_branches"]
        share.owed, share.run = share.owed + owed, share.run + run
        if run < owed:
            places[room].append(f"{PurePosixPath(path).name} ({owed - run})")
    for room, names in places.items():
        found[room].open = tuple(names)
    return dict(sorted(found.items()))


def main() -> int:
    found = shares(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    if not found:
        print("The coverage report names no module of fuagent: nothing was measured.", file=sys.stderr)
        return 1
    width = max(map(len, found))
    print(f"{'room':<{width}}  {'owed':>6}  {'run':>6}  {'share':>7}  {'floor':>5}")
    for room, share in found.items():
        verdict = "" if share.held else "  BELOW: " + ", ".join(share.open)
        print(
            f"{room:<{width}}  {share.owed:>6}  {share.run:>6}  {share.percent:>6.2f}%  {share.floor:>4.0f}%{verdict}"
        )
    return 0 if all(share.held for share in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
