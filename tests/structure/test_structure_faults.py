"""The catalogue of faults is complete, and every entry has a test that names it."""

import importlib
import sys

import pytest
from tree import ROOT


@pytest.fixture(scope="module")
def faults():
    """scripts/docs_faults.py as a module."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module("docs_faults")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


def test_the_catalogue_is_complete(faults):
    """Every entry stands there once, in order: the faults from the first to the 105th, the risks to the 45th."""
    assert [fault.id for fault in faults.catalogue()] == list(faults.IDS)
    assert [one[0] for one in faults.IDS] == ["F"] * 105 + ["S"] * 45
    assert [int(one[1:]) for one in faults.IDS] == [*range(1, 106), *range(1, 46)]


def test_every_entry_says_what_and_then(faults):
    """Each line says in one line what goes wrong and what is done."""
    poor = [
        fault.id
        for fault in faults.catalogue()
        for text in (fault.what, fault.then)
        if len(text.split()) < 2 or "\n" in text or "|" in text
    ]

    assert poor == []


def test_every_entry_is_shown_or_absent(faults):
    """A test names each entry, unless fuagent has no such part; then none does."""
    tests = faults.shown()

    assert [fault.id for fault in faults.catalogue() if not fault.absent and fault.id not in tests] == []
    assert [fault.id for fault in faults.catalogue() if fault.absent and fault.id in tests] == []


def test_no_test_names_an_entry_there_is_not(faults):
    """What a marker names stands in the catalogue."""
    assert set(faults.shown()) - set(faults.IDS) == set()


def test_markers_are_found(faults, tmp_path):
    """On a test of either kind, in a class, or on one case of a test's parameters; no other marker counts."""
    path = tmp_path / "tests" / "unit" / "test_x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "@pytest.mark.fault('A1', 'A2')\n@pytest.mark.slow\ndef test_a(): ...\n"
        "class TestX:\n    @pytest.mark.fault('A1')\n    async def test_b(self): ...\n"
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.fault('A3'))])\ndef test_c(): ...\n"
        "@pytest.mark.other('A4')\ndef test_d(): ...\n"
    )

    found = {
        fault: [(place.path, place.test) for place in places] for fault, places in faults.shown(path.parents[1]).items()
    }

    name = "tests/unit/test_x.py"
    assert found == {"A1": [(name, "test_a"), (name, "test_b")], "A2": [(name, "test_a")], "A3": [(name, "test_c")]}
