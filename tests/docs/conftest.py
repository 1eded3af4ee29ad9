"""The scripts that make the documentation, and its pages as text."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def docs() -> ModuleType:
    """scripts/docs.py as a module."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module("docs")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="session")
def generated(docs) -> ModuleType:
    """scripts/docs_pages.py as a module."""
    return sys.modules["docs_pages"]


@pytest.fixture(scope="session")
def page(root):
    """The text of one page."""
    return lambda name: (root / name).read_text(encoding="utf-8")
