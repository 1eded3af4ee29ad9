"""The source tree as the structure tests see it: files, modules and the imports between them."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "fuagent"
NOT_KEPT = {".cache", ".git", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv", "__pycache__"}
NOT_KEPT |= {"node_modules", "build", "dist", "site", ".fuagent", "demo-data", "bench-data"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement's one name: who imports what, and whether inside a function."""

    module: str
    target: str
    line: int
    late: bool

    def __str__(self) -> str:
        return f"{self.module} line {self.line} imports {self.target}"


def folders(start: Path = ROOT) -> Iterator[tuple[Path, list[str]]]:
    for folder, inner, names in os.walk(start):
        inner[:] = [name for name in inner if name not in NOT_KEPT and not name.startswith(".venv-")]
        yield Path(folder), names


def text_files(start: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Every file of ours that is text; captured bytes are not."""
    for folder, names in folders(start):
        for name in names:
            if not name.startswith(".coverage"):
                try:
                    yield folder / name, (folder / name).read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    continue


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def python_files(*tops: str) -> list[Path]:
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py") if not NOT_KEPT & set(path.parts))


def modules(source: Path = SOURCE) -> dict[str, Path]:
    """Dotted name below the package → file; a package is its ``__init__``, the root ``__init__`` alone."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


def imports(known: dict[str, Path]) -> list[Import]:
    """Every import of every module, ours as dotted names below the package, others as they are written.

    ``fuagent`` itself stands for the package root.
    """
    return [found for module, path in known.items() for found in _imports_of(module, path, known)]


def _imports_of(module: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    tree = parse(path)
    inside = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        late = id(node) in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, _ours(alias.name, known), node.lineno, late)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, path, node)
            for alias in node.names:
                yield Import(module, _ours(f"{base}.{alias.name}", known), node.lineno, late)


def _absolute(module: str, path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    own = ("fuagent." + module).split(".")
    package = own if path.name == "__init__.py" else own[:-1]
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _ours(name: str, known: dict[str, Path]) -> str:
    """The longest beginning of a dotted name that is a module of ours; foreign names stay whole."""
    if name != "fuagent" and not name.startswith("fuagent."):
        return name
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts) or "fuagent"


def room_of(module: str, rooms: dict[str, tuple[str, ...]]) -> str | None:
    """The room a module of ours stands in; None where nobody named one."""
    top = module.partition(".")[0]
    if top in rooms:
        return top
    family = top.partition("_")[0]
    return family if family in rooms else None


def covers(name: str, module: str) -> bool:
    """Whether a room or module of the table holds this module."""
    return module == name or module.startswith((name + ".", name + "_"))
