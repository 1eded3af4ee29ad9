"""The page of faults: the catalogue in ``tests/faults.toml``, each entry with the tests whose markers name it."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from docs_pages import page, table

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "tests" / "faults.toml"
IDS = (*(f"F{number:02}" for number in range(1, 106)), *(f"S{number:02}" for number in range(1, 46)))
"""Every entry there has to be: F01 to F105, S01 to S45."""

CHAPTERS = (
    ("F01", "MySQL and MariaDB"),
    ("F30", "PostgreSQL"),
    ("F55", "SQLite"),
    ("F60", "Files"),
    ("F64", "Process, journal and host"),
    ("F76", "The service and the way to it"),
    ("F95", "The service's document"),
    ("F99", "Checkpoints and snapshots"),
    ("S01", "Secrets, and where they are sent"),
    ("S12", "Hostile documents, answers and names"),
    ("S22", "Databases"),
    ("S30", "The agent's own pages"),
    ("S35", "The receiver kit"),
    ("S42", "The package and its process"),
)
"""The first entry of each chapter."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, what fuagent does then, and, where it has no such part, why."""

    id: str
    what: str
    then: str
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A test, and its file as seen from the project's top."""

    path: str
    test: str


def catalogue(path: Path = CATALOGUE) -> list[Fault]:
    """Every entry, in the order of the file; TypeError for a key that there is not."""
    return [Fault(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["fault"]]


def shown(top: Path = ROOT / "tests") -> dict[str, list[Place]]:
    """The tests below a folder that are marked, by the entries they name.

    A marker that stands on one case of a test's parameters counts for the test.
    """
    found: dict[str, list[Place]] = {}
    for path in sorted(top.rglob("test_*.py")):
        for test, fault in _marked(ast.parse(path.read_text(encoding="utf-8"))):
            place = Place(str(path.relative_to(top.parent)), test)
            if place not in found.setdefault(fault, []):
                found[fault].append(place)
    return found


def _marked(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each test with each entry that a marker of its names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for inner in chain.from_iterable(map(ast.walk, node.decorator_list)):
                if isinstance(inner, ast.Call) and ast.unparse(inner.func) == "pytest.mark.fault":
                    yield from ((node.name, ast.literal_eval(one)) for one in inner.args)


def faults_page() -> str:
    """The whole catalogue, a table per chapter."""
    tests = shown()
    parts = [f"## {title}\n\n{_table(faults, tests)}" for title, faults in _chapters(catalogue())]
    lead = """What breaks around an agent, what fuagent does then, and the test that shows it.
Every line has a test that names it, or says why fuagent has nothing that could break this way; a rule in `tests/structure` keeps the list complete.

A test shows a line only if it fails when fuagent does something else.
Most break the real thing: a server is killed, a log purged, a connection cut in the middle of a message, a disk filled, a process stopped; [how fuagent is tested](explanation/testing.md) tells how, and how random faults are played in between.

`.venv/bin/python -m pytest -k NAME` runs the tests of one line by their names.
One whose name is not in the list is no fault fuagent is known to survive: please report it."""
    return page("What breaks, and what happens then", lead, *parts)


def _chapters(faults: Iterable[Fault]) -> Iterator[tuple[str, list[Fault]]]:
    """Each chapter that has entries, in their order."""
    starts = [IDS.index(first) for first, _ in CHAPTERS] + [len(IDS)]
    known = {fault.id: fault for fault in faults}
    for number, (_, title) in enumerate(CHAPTERS):
        within = [known[one] for one in IDS[starts[number] : starts[number + 1]] if one in known]
        if within:
            yield title, within


def _table(faults: Iterable[Fault], tests: dict[str, list[Place]]) -> str:
    head = ("", "What goes wrong", "What fuagent does", "Shown by")
    return table(
        head,
        [
            (fault.id, _plain(fault.what), _plain(fault.then), _proof(fault, tests.get(fault.id, [])))
            for fault in faults
        ],
    )


def _plain(text: str) -> str:
    """A sentence in which only what stands in backticks is code, and nothing is HTML."""
    parts = text.split("`")
    parts[::2] = (part.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_") for part in parts[::2])
    return "`".join(parts)


def _proof(fault: Fault, places: Iterable[Place]) -> str:
    """Links to the tests; a page below docs/ leads to them through the project's top."""
    links = (f"[`{place.test}`](../{place.path})" for place in places)
    return "<br>".join([*links, *filter(None, [_plain(fault.absent)])])
