"""Runs seeds side by side, prints what they reached, and keeps a report.

    python tests/simulation/simulate.py --seeds 1000 [--first 0] [--report FILE] [--bug NAME]

A seed that fails is printed with the promise that does not hold and the last steps before it;
``--seeds 1 --first N`` plays it again, byte for byte.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from simulated_bugs import BUGS, planted
from simulated_nemesis import SITUATIONS, Nemesis


@dataclass(slots=True)
class Played:
    """One seed."""

    seed: int
    digest: str = ""
    """Over every byte on the wire and every step."""
    reached: Counter[str] = field(default_factory=Counter)
    failure: str = ""
    requests: int = 0
    simulated: float = 0.0
    """Seconds on the world's own clock."""


def play(seed: int, bug: str = "") -> Played:
    """Live one seed to its end; a promise that does not hold is in ``failure``."""
    played = Played(seed)
    nemesis = None
    try:
        with planted(bug):
            nemesis = Nemesis(seed)
            nemesis.play()
    except Exception as error:
        played.failure = f"{type(error).__name__}: {error}"
        if nemesis:
            tail = "\n    ".join(nemesis.world.lines[-25:])
            played.failure += f"\n  profile={nemesis.world.profile} acts={nemesis.acts}\n    {tail}"
    if nemesis:
        played.digest = nemesis.world.trace.hexdigest()
        played.reached = nemesis.reached
        played.requests = len(nemesis.world.oracle.bodies)
        played.simulated = nemesis.world.clock.monotonic()
    return played


def missing(played: Iterable[Played]) -> list[str]:
    """The situations that no seed reached."""
    reached = sum((one.reached for one in played), Counter())
    return [situation for situation in SITUATIONS if not reached[situation]]


def report(played: list[Played], seconds: float) -> str:
    """What a run of seeds showed, in words."""
    reached = sum((one.reached for one in played), Counter())
    failed = [one for one in played if one.failure]
    hours = sum(one.simulated for one in played) / 3600
    total = sha256("".join(one.digest for one in played).encode()).hexdigest()
    lines = [
        f"Simulation: seeds {played[0].seed} to {played[-1].seed}, {len(failed)} failed.",
        f"{sum(one.requests for one in played)} batches, {hours:.0f} hours of simulated time in {seconds:.0f} s.",
        f"Digest of everything on the wire and every step: {total[:32]}",
        "",
        "Situations reached, and how often:",
        *(f"{reached[situation]:8}  {situation}" for situation in SITUATIONS),
    ]
    lines += [f"\nFUAGENT_SEED={one.seed}\n  {one.failure}" for one in failed[:3]]
    if unreached := missing(played):
        lines.append(f"\nNever reached: {', '.join(unreached)}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--bug", choices=sorted(BUGS), default="")
    given = parser.parse_args()
    began = time.monotonic()
    seeds = range(given.first, given.first + given.seeds)
    with ProcessPoolExecutor() as pool:
        played = list(pool.map(play, seeds, [given.bug] * len(seeds), chunksize=10))
    text = report(played, time.monotonic() - began)
    sys.stdout.write(text + "\n")
    if given.report:
        given.report.write_text(text + "\n", encoding="utf-8")
    whole = given.seeds >= 200 and not given.bug
    return 1 if any(one.failure for one in played) or (whole and missing(played)) else 0


if __name__ == "__main__":
    sys.exit(main())
