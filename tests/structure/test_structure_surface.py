"""What others see: the names at the root, and what the wheel carries."""

import os
import subprocess
import sys
import zipfile
from types import ModuleType

import pytest
from tree import ROOT, SOURCE

import fuagent


def test_the_root_exports_what_it_lists():
    """The list of public names is complete, sorted, without doubles, and has at most 24."""
    reachable = {
        name for name, value in vars(fuagent).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert set(fuagent.__all__) == reachable | {"__version__"}
    assert fuagent.__all__ == sorted(set(fuagent.__all__))
    assert len(fuagent.__all__) <= 24


def test_importing_the_root_is_cheap():
    """The root brings no library along, so that whoever imports a part pays for that part alone."""
    code = "import sys, fuagent; print(*{name.partition('.')[0] for name in sys.modules})"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, env=unmeasured).stdout.split()

    heavy = {"aiohttp", "orjson", "pydantic", "yaml", "rich", "structlog", "typer", "watchfiles", "fastapi", "sqlite3"}
    assert heavy & set(loaded) == set()
    assert "fuagent" in loaded


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_carries_the_package_and_nothing_else(wheel):
    """Every module, the type marker and the console's files are in, and no test or script is."""
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert "fuagent/py.typed" in names
    assert {str(path.relative_to(SOURCE.parent)) for path in SOURCE.rglob("*.py")} <= names
    assert {str(path.relative_to(SOURCE.parent)) for path in (SOURCE / "console" / "assets").iterdir()} <= names
    assert {name.partition("/")[0] for name in names} == {"fuagent"}


def test_the_wheel_says_version_licence_and_entry_points(wheel):
    """The version is the one constant, the licence is enclosed, and built-in drivers are ordinary entry points."""
    inside = {
        name.partition(".dist-info/")[2]: wheel.read(name).decode() for name in wheel.namelist() if "dist-info" in name
    }

    assert f"\nVersion: {fuagent.__version__}\n" in inside["METADATA"]
    assert "Apache License" in inside["licenses/LICENSE"]
    for line in (
        "fuagent = fuagent.cli:main",
        "sqlite = fuagent.sources.sqlite:SQLite",
        "openapi = fuagent.pushers.openapi:OpenAPI",
        "stdout = fuagent.pushers.stdout:Stdout",
    ):
        assert line in inside["entry_points.txt"]
