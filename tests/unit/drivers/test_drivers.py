"""Names to drivers: what is listed, loaded, and said when it cannot be."""

import subprocess
import sys
import textwrap

import pytest

from fuagent import drivers
from fuagent.errors import ConfigError

GOOD = """
from pydantic import BaseModel, ConfigDict

class Good:
    '''Reads nothing at all.

    More about it.
    '''

    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")
        speed: int = 1

class Silent:
    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

class NoOptions:
    pass

class Lax:
    class Options(BaseModel):
        pass

def function():
    pass
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with entry points on the path, as an installer would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(package: str, entries: str, version: str = "1.2") -> None:
        (tmp_path / f"{package}_module.py").write_text(GOOD)
        info = tmp_path / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entries))

    yield write
    for name in [name for name in sys.modules if name.endswith("_module")]:
        monkeypatch.delitem(sys.modules, name, raising=False)


def refusal(group: str, name: str) -> tuple[str, str]:
    """What and fix of the error for a name."""
    with pytest.raises(ConfigError) as caught:
        drivers.options(group, name)
    (finding,) = caught.value.findings
    assert finding.what == caught.value.what
    return finding.what, finding.fix


def test_built_ins_are_listed():
    """What the project brings is listed like anything else, with the package it comes from."""
    names = {driver.name for driver in drivers.known(drivers.PUSHERS) if driver.package.startswith("fuagent ")}

    assert names >= {"openapi", "stdout"}
    assert "sqlite" in {driver.name for driver in drivers.known(drivers.SOURCES)}


def test_listing_imports_no_driver():
    """Names and packages are told without importing a single driver."""
    code = (
        "import sys; from fuagent import drivers; drivers.known(drivers.SOURCES); drivers.known(drivers.PUSHERS); "
        "print([n for n in sys.modules if n.startswith(('fuagent.sources', 'fuagent.pushers', 'aiohttp'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_listing_is_in_order_and_names_the_package(install):
    """Entries come by name; the same entry seen twice on the path is listed once."""
    install("zeta", "[fuagent.sources]\naaa = zeta_module:Good\nzzz = zeta_module:Good\n")
    listed = drivers.known(drivers.SOURCES)
    ours = [driver for driver in listed if driver.package == "zeta 1.2"]

    assert [driver.name for driver in ours] == ["aaa", "zzz"]
    assert list(listed) == sorted(listed, key=lambda driver: driver.name)
    assert ours[0].target == "zeta_module:Good"


def test_a_driver_from_elsewhere_is_loaded(install):
    """A class of another package comes back with its options and the first line of its docstring."""
    install("zeta", "[fuagent.sources]\ngood = zeta_module:Good\n[fuagent.pushers]\nquiet = zeta_module:Silent\n")

    assert drivers.load_source("good").__name__ == "Good"
    assert drivers.load_pusher("quiet").__name__ == "Silent"
    assert drivers.options(drivers.SOURCES, "good")().model_dump() == {"speed": 1}
    assert drivers.summary(drivers.SOURCES, "good") == "Reads nothing at all."
    assert drivers.summary(drivers.PUSHERS, "quiet") == ""


@pytest.mark.parametrize(
    ("group", "name", "what", "fix"),
    [
        (drivers.SOURCES, "sqllite", "there is no source driver sqllite", "Did you mean sqlite?"),
        (drivers.SOURCES, "mysqll", "there is no source driver mysqll", "Did you mean mysql?"),
        (drivers.SOURCES, "mariadb", "there is no source driver mariadb", "Did you mean mysql?"),
        (drivers.SOURCES, "postgresql", "there is no source driver postgresql", "Did you mean postgres?"),
        (drivers.PUSHERS, "http", "there is no pusher driver http", "Did you mean openapi?"),
        (drivers.PUSHERS, "opanapi", "there is no pusher driver opanapi", "Did you mean openapi?"),
        (drivers.PUSHERS, "mysql", "there is no pusher driver mysql", "Installed are: openapi, stdout."),
        (drivers.PUSHERS, "a\x1b[2Jb", "there is no pusher driver a [2Jb", "Installed are: openapi, stdout."),
    ],
)
def test_unknown_names(group, name, what, fix):
    """A name nobody has is refused with what may have been meant."""
    assert refusal(group, name) == (what, fix)


@pytest.mark.parametrize(
    ("name", "extra"), [("mysql", "pip install 'fuagent[mysql]'"), ("postgres", "pip install 'fuagent[postgres]'")]
)
def test_a_missing_extra_is_named(name, extra, monkeypatch):
    """A known driver that is not there comes with the exact command that brings it."""
    monkeypatch.setattr(drivers, "entry_points", lambda group: ())

    assert refusal(drivers.SOURCES, name) == (f"there is no source driver {name}", extra)


def test_a_driver_whose_library_is_missing(install, monkeypatch):
    """The entry point is there but its library is not: the same command, and the library's name."""
    install("zeta", "[fuagent.sources]\nmysql = library_that_is_not_there.sub:Thing\n")
    ours = [entry for entry in drivers.entry_points(group=drivers.SOURCES) if "library_that" in entry.value]
    monkeypatch.setattr(drivers, "entry_points", lambda group: ours)
    what, fix = refusal(drivers.SOURCES, "mysql")

    assert what == "the source driver mysql needs the package library_that_is_not_there, which is not installed"
    assert fix == "pip install 'fuagent[mysql]'"


def test_mysql_without_its_library():
    """Our own driver where its extra is not installed: the command that brings it."""
    program = """
        import sys
        sys.modules["asyncmy"] = None
        from fuagent import drivers, errors
        try:
            drivers.load_source("mysql")
        except errors.ConfigError as error:
            print(*((one.what, one.fix) for one in error.findings))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "the source driver mysql needs the package asyncmy, which is not installed" in said
    assert "pip install 'fuagent[mysql]'" in said


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module_xyz:Thing", "ModuleNotFoundError: No module named 'no_such_module_xyz'"),
        ("zeta_module:Nothing", "AttributeError: module 'zeta_module' has no attribute 'Nothing'"),
        ("zeta_module:function", "it is not a class"),
        ("zeta_module:NoOptions", "it has no Options model"),
        ("zeta_module:Lax", "its Options model must be frozen and forbid extra keys"),
        ("raising_module:Thing", "RuntimeError: boom  [31m" + "x" * 10),
        ("::", "AttributeError"),
    ],
)
def test_broken_entry_points_name_their_package(install, tmp_path, target, reason):
    """Whatever is wrong inside another package, the error says which package, on one line."""
    (tmp_path / "raising_module.py").write_text("raise RuntimeError('boom\\n\\x1b[31m' + 'x' * 5000)")
    install("zeta", f"[fuagent.sources]\nbroken = {target}\n")
    what, fix = refusal(drivers.SOURCES, "broken")

    assert what.startswith(f"the source driver broken of the package zeta 1.2 cannot be used: {reason}")
    assert len(what) < 300
    assert what.isprintable()
    assert fix == "Update or reinstall zeta, or tell its authors."


def test_one_name_in_two_packages(install):
    """Two packages with one name are refused, both named: which one wins must not be chance."""
    install("zeta", "[fuagent.sources]\ntwice = zeta_module:Good\n")
    install("omega", "[fuagent.sources]\ntwice = omega_module:Good\n")

    assert refusal(drivers.SOURCES, "twice") == (
        "the source driver twice is there twice: in omega 1.2 and zeta 1.2",
        "Uninstall one of them.",
    )
