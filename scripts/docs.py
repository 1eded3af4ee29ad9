"""Writes the reference pages and the marked regions of the documentation; ``--check`` says what is stale.

Whole pages come from ``docs_pages`` and ``docs_faults``. In a page written by hand a region like ::

    <!-- begin file: examples/service-fastapi-kit/service.py -->
    <!-- end -->

is filled with what it names. Both ways a page says what the code says, or this
script fails. It also fails on links and headings that lead nowhere, and on a page
that no other page leads to.
"""

from __future__ import annotations

import argparse
import itertools
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import docs_dashboard
import docs_handbook
from docs_faults import faults_page
from docs_pages import PAGES as REFERENCE
from docs_pages import commands as cli_commands
from docs_pages import table

ROOT = Path(__file__).resolve().parent.parent
_REGION = re.compile(r"(<!-- begin (\w+)(?:: *([^ ]+))? -->\n).*?(<!-- end -->)", re.DOTALL)
_FENCE = re.compile(r"^(```+|~~~+).*?^\1 *$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *#*$", re.MULTILINE)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "sh", ".service": "ini"}
_START = "README.md"
_REPORTS = "evidence"

PAGES = {
    **REFERENCE,
    **docs_handbook.PAGES,
    "docs/faults.md": faults_page,
    "docs/images/dashboard.svg": docs_dashboard.picture,
}
"""What makes each generated page."""


class BrokenRegionError(Exception):
    """A region that names what there is not."""


def hand_written() -> list[Path]:
    """Every Markdown page that is not generated."""
    generated = {ROOT / name for name in PAGES}
    return [path for path in pages() if path not in generated]


def pages() -> list[Path]:
    """Every Markdown page of the project, but for the reports of long test runs."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(path for path in found if _REPORTS not in path.parts)


def wanted() -> dict[Path, str]:
    """What every generated page and every page with regions should hold."""
    texts = {ROOT / name: make() for name, make in PAGES.items()}
    for path in hand_written():
        texts[path] = filled(path)
    return texts


def filled(path: Path) -> str:
    """A page with its regions as they should be."""
    return _REGION.sub(lambda match: _filled(match, path), path.read_text(encoding="utf-8"))


def stale() -> dict[Path, str]:
    """The pages that do not hold what they should."""
    return {path: text for path, text in wanted().items() if not _holds(path, text)}


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def _filled(match: re.Match[str], path: Path) -> str:
    kind, name = match[2], match[3] or ""
    if kind == "file" and (ROOT / name).is_file():
        source = (ROOT / name).read_text(encoding="utf-8")
        return f"{match[1]}\n```{_LANGUAGES.get(Path(name).suffix, 'text')}\n{source}```\n\n{match[4]}"
    if kind in REGIONS:
        return f"{match[1]}\n{REGIONS[kind]()}\n\n{match[4]}"
    message = f"{path.relative_to(ROOT)}: there is nothing for the region {kind} {name}"
    raise BrokenRegionError(message)


def _rooms() -> str:
    """Who may import whom, from the table that the structure tests hold."""
    rooms = runpy.run_path(str(ROOT / "tests" / "structure" / "rooms.py"))
    rows = [
        (f"`{room}`", ", ".join(f"`{one}`" for one in may if _there(one)) or "nothing")
        for room, may in rooms["MAY_IMPORT"].items()
        if _there(room) and room not in rooms["EVERYONE"]
    ]
    return table(("Room", "May import"), rows)


def _there(room: str) -> bool:
    """Whether the room exists as yet."""
    path = ROOT / "src" / "fuagent" / room.partition(".")[0]
    return path.is_dir() or path.with_suffix(".py").is_file()


def _commands() -> str:
    """Every command with the first line of its help."""
    rows = []
    for name, command in cli_commands():
        first = (command.help or "").strip().partition("\n\n")[0].replace("\n", " ")
        rows.append((f"`{name}`", first))
    return table(("Command", "What it does"), rows)


def _alerts() -> str:
    """Every alert rule that ships, with how long it has to hold."""
    rows = [
        (f"`{one['alert']}`", one["labels"]["severity"], one["for"], _shown(one)) for one in docs_dashboard.alerts()
    ]
    return table(("Alert", "Severity", "For", "What it says"), rows)


def _shown(rule: dict[str, Any]) -> str:
    """The summary of an alert with words in the place of Prometheus' own braces."""
    text = re.sub(r"{{ with .*?{{ end }}", "", rule["annotations"]["summary"])
    names = {"$labels.sync": "SYNC", "$labels.instance": "AGENT"}
    return re.sub(r"{{ (\$[\w.]+).*? ?}}B?", lambda match: f"*{names.get(match[1], 'N')}*", text)


REGIONS = {"rooms": _rooms, "commands": _commands, "alerts": _alerts, **docs_handbook.REGIONS}


def broken() -> list[str]:
    """Everything wrong with links and headings, one line each."""
    anchors = {path: list(_anchors(path.read_text(encoding="utf-8"))) for path in pages()}
    found: list[str] = []
    reached: dict[Path, set[Path]] = {}
    for path in pages():
        text = path.read_text(encoding="utf-8")
        found += _headings(path, text)
        reached[path] = set()
        for link in _links(text):
            target = _target(path, link)
            if target is None:
                continue
            if not target.exists():
                found.append(f"{path.relative_to(ROOT)}: {link} leads to no file")
            elif "#" in link and unquote(link.partition("#")[2]) not in anchors.get(target, []):
                found.append(f"{path.relative_to(ROOT)}: {link} leads to no heading")
            reached[path].add(target)
    return found + [f"{path.relative_to(ROOT)}: no page leads here" for path in _lonely(reached)]


def _lonely(reached: dict[Path, set[Path]]) -> list[Path]:
    """Pages below docs/ that a reader who starts at the README never gets to."""
    seen: set[Path] = set()
    ahead = [ROOT / _START]
    while ahead:
        path = ahead.pop()
        if path not in seen:
            seen.add(path)
            ahead += reached.get(path, ())
    return [path for path in pages() if path not in seen and (ROOT / "docs") in path.parents]


def _target(path: Path, link: str) -> Path | None:
    """The file a link leads to; None for one that leads out of the project."""
    if re.match(r"[a-z][a-z0-9+.-]*:", link):
        return None
    name = unquote(link.partition("#")[0])
    return (path.parent / name).resolve() if name else path


def _prose(text: str) -> str:
    """The page without code and comments."""
    return _CODE.sub(lambda match: "x" * len(match[0]), _FENCE.sub("", _COMMENT.sub("", text)))


def _links(text: str) -> Iterator[str]:
    return (match[1] for match in _LINK.finditer(_prose(text)))


def _headings(path: Path, text: str) -> Iterator[str]:
    levels = [len(match[1]) for match in _HEADING.finditer(_FENCE.sub("", text))]
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"{path.relative_to(ROOT)}: a page has one title, at its top"
    for before, after in itertools.pairwise(levels):
        if after > before + 1:
            yield f"{path.relative_to(ROOT)}: a heading of level {after} stands right below one of level {before}"


def _anchors(text: str) -> Iterator[str]:
    """The names of headings as GitHub makes them."""
    seen: dict[str, int] = {}
    for match in _HEADING.finditer(_FENCE.sub("", text)):
        name = re.sub(r"[^\w\- ]", "", match[2].lower()).replace(" ", "-")
        number = seen.get(name, 0)
        seen[name] = number + 1
        yield f"{name}-{number}" if number else name


def main() -> int:
    """Write, or with ``--check`` compare; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if something is stale")
    check = parser.parse_args().check
    late = stale()
    for path, text in late.items():
        if check:
            print(f"{path.relative_to(ROOT)} is stale: run make docs")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} written")
    wrong = broken()
    for line in wrong:
        print(line)
    return int(bool(wrong or (check and late)))


if __name__ == "__main__":
    sys.exit(main())
