"""Makes a site of the documentation, in dist/site: it needs no network to be made, nor to be read.

Sphinx with MyST and the theme furo does the work, from an environment of its own (``scripts/site``). It gets a copy of
the pages in which every link leads to a file of that copy: pages to pages, and a file of code to itself, to be looked
at or kept. The order of the pages is that of docs/README.md. What Sphinx warns of is an error.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

ROOT = Path(__file__).resolve().parent.parent
STAGED = ROOT / "build" / "site"
SITE = ROOT / "dist" / "site"
INDEX = "docs/README.md"
OPENING = "Begin"
"""The chapter of the pages that are named before the first heading."""
PROJECT = "The project"
"""The chapter of what stands in no other: the README, the changelog, the examples' own pages."""

SETTINGS = {
    "project": "fuagent",
    "root_doc": "index",
    "language": "en",
    "extensions": "myst_parser",
    "source_suffix": ".md",
    "myst_heading_anchors": "6",
    "html_theme": "furo",
    "html_copy_source": "0",
    "html_show_sourcelink": "0",
    "html_show_copyright": "0",
    "html_show_sphinx": "0",
    "html_permalinks_icon": "#",
    "pygments_style": "tango",
    "smartquotes": "0",  # a message is looked for as it was said
}
"""What Sphinx is told instead of a conf.py."""
_FENCE = re.compile(r"^(```+|~~~+).*?^\1 *$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^()\s]+)(\))")
_AWAY = re.compile(r"[a-z][a-z0-9+.-]*:")


class BrokenLinkError(Exception):
    """A link to a file that there is not."""


def pages() -> list[str]:
    """The pages of the project, from its top: those at the top, and those below docs/."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def staged(name: str) -> str:
    """Where a file of the project stands in the copy."""
    if name == INDEX:
        return str(Path(SETTINGS["root_doc"]).with_suffix(SETTINGS["source_suffix"]))
    if name.endswith("/README.md") and not name.startswith("docs/"):
        return f"project/{Path(name).parent.name}.md"
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return f"project/{name.lower()}" if "/" not in name else f"files/{name}"


def links(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Every link of a page that stays in the project: as it is written, and the file it leads to."""
    for match in _LINK.finditer(_FENCE.sub("", text)):
        if not _AWAY.match(match[2]) and not match[2].startswith("#"):
            yield match[2], _target(name, match[2])


def _target(name: str, link: str) -> str:
    path = (ROOT / name).parent / unquote(link.partition("#")[0])
    target = os.path.relpath(path, ROOT)
    if not (ROOT / target).is_file():
        message = f"{name}: {link} leads to no file"
        raise BrokenLinkError(message)
    return target


def rewritten(name: str, text: str) -> str:
    """The page with its links as they are in the copy."""
    known = dict(links(name, text))
    here = Path(staged(name)).parent

    def led(match: re.Match[str]) -> str:
        target = known.get(match[2])
        if target is None:
            return match[0]
        path = quote(os.path.relpath(staged(target), here), safe="/")
        return f"{match[1]}{path}{match[2][len(match[2].partition('#')[0]) :]}{match[3]}"

    parts = _FENCE.split(text)
    fences = [match[0] for match in _FENCE.finditer(text)]
    prose = [_LINK.sub(led, part) for part in parts[::2]]
    return "".join(piece for pair in zip(prose, [*fences, ""], strict=True) for piece in pair)


def chapters(texts: dict[str, str]) -> dict[str, list[str]]:
    """The pages by chapter, each once, as docs/README.md orders them."""
    found: dict[str, list[str]] = {}
    seen = {INDEX}
    opening, *sections = re.split(r"^## ", texts[INDEX], flags=re.MULTILINE)
    for section in (f"{OPENING}\n{opening}", *sections):
        for _, target in links(INDEX, section):
            if target in texts and target not in seen:
                seen.add(target)
                found.setdefault(section.partition("\n")[0], []).append(target)
    found[PROJECT] = [name for name in texts if name not in seen]
    return found


def collected() -> dict[str, str]:
    """Every page by its name: those of the project, and the pages of other folders that they lead to."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in pages()}
    for name in list(texts):
        for _, target in links(name, texts[name]):
            if target.endswith(".md") and target not in texts:
                texts[target] = (ROOT / target).read_text(encoding="utf-8")
    return texts


def stage(to: Path) -> None:
    """Write the copy."""
    shutil.rmtree(to, ignore_errors=True)
    texts = collected()
    for name, text in texts.items():
        _write(to / staged(name), rewritten(name, text) + (_trees(texts) if name == INDEX else ""))
        for _, target in links(name, text):
            if target not in texts:
                path = to / staged(target)
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / target, path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _trees(texts: dict[str, str]) -> str:
    """The chapters as Sphinx reads them; they make the side bar."""
    return "".join(_tree(title, names) for title, names in chapters(texts).items())


def _tree(title: str, names: Iterable[str]) -> str:
    lines = "\n".join(staged(name).removesuffix(".md") for name in names)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{lines}\n```\n"


def main() -> int:
    """Stage, build, and say where it is; Sphinx's exit code."""
    stage(STAGED)
    shutil.rmtree(SITE, ignore_errors=True)
    version = runpy.run_path(str(ROOT / "src" / "fuagent" / "version.py"))["__version__"]
    told = SETTINGS | {"html_title": f"fuagent {version}", "version": version, "release": version}
    options = [part for key, value in told.items() for part in ("-D", f"{key}={value}")]
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-C",
        "-W",
        "--keep-going",
        "-q",
        "-j",
        "2",
        "-d",
        str(STAGED) + ".trees",
    ]
    done = subprocess.run([*command, *options, str(STAGED), str(SITE)], check=False)
    if done.returncode == 0:
        print(f"The site is in {SITE.relative_to(ROOT)}: open index.html")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
