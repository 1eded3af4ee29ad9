"""What no file says: where it was written, where packages come from, pages that nobody else has."""

import re
from pathlib import Path

import pytest
from tree import ROOT, text_files

SHARED_PLACES = {Path("/"), Path("/tmp"), Path("/home"), Path("/srv"), Path("/opt"), Path("/usr"), Path("/var")}
HERE = {ROOT, ROOT.parent, Path.home()} - SHARED_PLACES
"""Folders of whoever runs this: no file may name one."""

ADDRESS = re.compile(
    r"(?<!emit-)(?:extra-)?index-url|(?<!emit-)find-links|py(?:pi\.org/simple|thonhosted)|regist(?:ry)\.npm"
    r"|https?://[^\s\"')]+\.(?:whl|tgz|tar\.gz|deb)\b"
)
OTHERS_HOME = re.compile(r"/(?:home|Users)/[a-z]\w*/")
ISSUE = re.compile(r"\bissue #?\d", re.IGNORECASE)
FAULT = re.compile(r"(?<![\w#-])(?:F(?:0\d|[1-9]\d|1[01]\d)|[ST][0-4]\d)(?![\w-])")
MARKER = re.compile(r"mark\.fault\([^()]*\)")
CATALOGUE = {Path("tests/faults.toml"), Path("docs/faults.md")}
"""Where the list of faults stands; a test names its entries in a marker."""
PAGE = re.compile(r"[\w-]+\.md\b")

READ_WHERE_PRESENT = {"contract.md"}
"""The contract itself, which may lie beside the checkout."""


def found(pattern, *tops, unless=frozenset()):
    """Where a pattern stands in our files: in all of them, or in those below the folders or files named."""
    here = Path(__file__)
    return [
        f"{path.relative_to(ROOT)} line {number}: {match.group()}"
        for path, text in text_files()
        if path != here and (not tops or path.relative_to(ROOT).parts[0] in tops)
        if path.relative_to(ROOT) not in unless
        for number, line in enumerate(unmarked(text).splitlines(), 1)
        for match in pattern.finditer(line)
    ]


def unmarked(text):
    """The text without the faults that its tests are marked with; its lines stay."""
    return MARKER.sub(lambda match: "\n" * match.group().count("\n"), text)


@pytest.mark.parametrize("folder", sorted(HERE), ids=["folder"] * len(HERE))
def test_no_file_names_a_folder_of_this_machine(folder):
    """A path of the machine a file was written on helps nobody else."""
    assert found(re.compile(r"(?<![\w.])" + re.escape(str(folder)) + r"(?![\w.-])")) == []


def test_no_file_names_anyones_home():
    """Examples use folders that could be anyone's."""
    assert found(OTHERS_HOME) == []


def test_no_file_names_a_place_packages_come_from():
    """Versions and hashes are pinned; where to get them is each user's own choice."""
    assert found(ADDRESS) == []


def test_reasons_stand_in_their_own_words():
    """No file sends its reader to a numbered entry: of a list that is not here, or of one where it would have to look."""
    tops = ("src", "tests", "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile")

    assert found(ISSUE, *tops) == []
    assert found(FAULT, *tops, unless=CATALOGUE) == []


def test_pages_that_are_named_exist():
    """Every page that a file speaks of is in the tree."""
    pages = {path.name for path, _ in text_files() if path.suffix == ".md"} | READ_WHERE_PRESENT

    # The tests of the documentation make pages of their own, broken ones among them.
    places = [place for place in found(PAGE) if not place.startswith("tests/docs/")]

    assert [place for place in places if place.rpartition(": ")[2] not in pages] == []


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (ADDRESS, "--extra-index-url=x", True),
        (ADDRESS, "https://example.com/a.whl", True),
        (ADDRESS, "https://api.your-service.com/openapi.json", False),
        (OTHERS_HOME, "/home/someone/x", True),
        (FAULT, "as F104 says", True),
        (FAULT, "2024-01-01T00:00:00", False),
        (FAULT, "noqa: F401", False),
        (ISSUE, "see issue 12", True),
    ],
)
def test_the_patterns_find_what_they_should(pattern, text, expected):
    """Each pattern meets its example and leaves its neighbour alone."""
    assert bool(pattern.search(text)) is expected


def test_only_a_marker_may_name_a_fault():
    """The entries that a marker names are its own; beside it one is found, on its line."""
    text = '@pytest.mark.fault(\n    "F01", "S02"\n)\ndef test_x():\n    """As F03 says."""\n'

    lines = unmarked(text).splitlines()

    assert [(number, match.group()) for number, line in enumerate(lines, 1) for match in FAULT.finditer(line)] == [
        (5, "F03")
    ]
