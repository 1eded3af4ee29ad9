"""Sizes and words: modules and functions stay small, and each thing has one name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest
from tree import ROOT, SOURCE, modules, parse, python_files, text_files

VAGUE = {"manager", "helper", "util", "common", "handler"}
VAGUE |= {word + "s" for word in VAGUE}
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
ASSERTING = ("assert", "expect", "check", "verify")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def defined_names(path: Path) -> Iterator[tuple[str, int]]:
    """Every name a module gives to something: not the names it merely uses."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno


def words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_modules_are_small():
    """No module has more than 600 lines, and half of them have at most 150."""
    lines = {name: len(path.read_text().splitlines()) for name, path in modules().items()}

    assert {name: count for name, count in lines.items() if count > 600} == {}
    assert median(count for count in lines.values() if count) <= 150


def test_functions_are_small():
    """Nine functions of ten are shorter than 35 lines, and half of them have at most 10."""
    lengths = [node.end_lineno - node.lineno + 1 for path in modules().values() for node in functions(path)]

    assert quantiles(lengths, n=10)[-1] < 35
    assert median(lengths) <= 10


def test_no_vague_words():
    """No name of ours says only that something deals with something."""
    files = python_files("src", "tests", "scripts", "bench")
    vague = [f"{path.relative_to(ROOT)}: file name" for path in files if words(path.stem) & VAGUE]
    vague += [
        f"{path.relative_to(ROOT)} line {line}: {name}"
        for path in files
        for name, line in defined_names(path)
        if words(name) & VAGUE
    ]

    assert vague == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("SignalHandler", True), ("on_signal", False), ("http_utils", True), ("HTTPHelper", True), ("utility", False)],
)
def test_words_are_told_apart(name, expected):
    """Names are read word by word, in either spelling."""
    assert bool(words(name) & VAGUE) is expected


def test_nothing_is_left_unfinished():
    """What is still to be done stands in an issue, not in the tree."""
    marks = [
        f"{path.relative_to(ROOT)} line {number}"
        for path, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]

    assert marks == []


def cases_of(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in functions(path) if node.name.startswith("test")]


def asserts(node: ast.AST, asserting: set[str]) -> bool:
    """Whether something in here can fail: an assertion, or a call of something that asserts."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assert):
            return True
        if isinstance(inner, ast.Call):
            name = getattr(inner.func, "attr", getattr(inner.func, "id", ""))
            if name in {"raises", "warns", "fail"} or name in asserting or name.startswith(ASSERTING):
                return True
    return False


def test_every_test_is_a_sentence():
    """Each test's docstring says what holds."""
    silent = [
        f"{path.relative_to(ROOT)} line {node.lineno}: {node.name}"
        for path in python_files("tests")
        for node in cases_of(path)
        if path.name.startswith("test_") and len((ast.get_docstring(node) or "").split()) < 3
    ]

    assert silent == []


def test_every_test_can_fail():
    """Each test asserts something, itself or through a function beside it that does."""
    idle = []
    for path in python_files("tests"):
        beside = {node.name for node in functions(path) if asserts(node, set())}
        idle += [
            f"{path.relative_to(ROOT)} line {node.lineno}: {node.name}"
            for node in cases_of(path)
            if path.name.startswith("test_") and not asserts(node, beside)
        ]

    assert idle == []


def test_modules_say_what_they_are_for():
    """Each module with something in it opens with a docstring."""
    silent = [
        str(path.relative_to(SOURCE))
        for path in modules().values()
        if parse(path).body and not ast.get_docstring(parse(path))
    ]

    assert silent == []


def test_test_files_have_names_of_their_own():
    """Test folders are no packages, so two files of one name would hide each other."""
    names = [path.name for path in python_files("tests") if path.name != "conftest.py"]

    assert sorted({name for name in names if names.count(name) > 1}) == []
    assert not list((ROOT / "tests").rglob("__init__.py"))
