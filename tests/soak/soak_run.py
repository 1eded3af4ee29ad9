"""Lets writers, an agent and a checking service live while one thing after the other breaks, and keeps a report.

    python tests/soak/soak_run.py mariadb --minutes 30 [--rate 1000] [--seed 1] [--report FOLDER]

The report is ``soak-<source>.txt`` and ``soak-<source>.svg`` in the folder. Exits with 1 when a promise did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run by path, without pytest's settings

from soak_course import Course, Plan, Soak
from soak_dialects import DIALECTS
from soak_ground import ground
from soak_picture import picture
from soak_report import failures, text


async def soak(plan: Plan, kind: str, folder: Path, template: Path | None = None) -> tuple[Course, str]:
    """One soak in an empty folder; gives what was seen, and the database's name and version."""
    with ground(kind, folder, template) as made:
        return await Soak(plan, made, folder).run(), titled(kind, made.version)


def titled(kind: str, version: str) -> str:
    """What a report calls it."""
    name = {"mariadb": "MariaDB", "postgres": "PostgreSQL", "sqlite": "SQLite"}[kind]
    return f"{name} {version.removeprefix(name).strip().partition('-')[0]}"


def main() -> None:
    """Run, print the report, keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=DIALECTS)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=1000.0, metavar="COMMITS/S")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    plan = Plan(options.minutes * 60, options.rate, options.seed)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        course, title = asyncio.run(soak(plan, options.kind, Path(name)))
    told = text(course, plan, f"fuagent soak: {title}", time.strftime("ended %Y-%m-%d %H:%M UTC", time.gmtime()))
    sys.stdout.write(told)
    if options.report:
        (options.report / f"soak-{options.kind}.txt").write_text(told)
        heading = f"{title}: {options.minutes:g} minutes, a fault every 5 to 20 seconds"
        (options.report / f"soak-{options.kind}.svg").write_text(picture(course, plan, heading))
    sys.exit(1 if failures(course, plan) else 0)


if __name__ == "__main__":
    main()
