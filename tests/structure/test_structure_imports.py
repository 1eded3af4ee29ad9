"""The street: who imports whom, that nothing runs in a ring, and that the pure rooms are pure."""

import tomllib
from graphlib import CycleError, TopologicalSorter

import pytest
from rooms import EVERYONE, IMPORTS_LATE, IMPURE_LIBRARIES, MAY_IMPORT, PURE
from tree import ROOT, covers, imports, modules, room_of


@pytest.fixture(scope="module")
def known():
    return modules()


@pytest.fixture(scope="module")
def found(known):
    return imports(known)


def forbidden(found, known):
    """The imports of ours that the table does not allow."""
    for one in found:
        if one.target not in known:
            continue
        here, there = room_of(one.module, MAY_IMPORT), room_of(one.target, MAY_IMPORT)
        free = one.target in EVERYONE and here not in EVERYONE
        named = any(covers(name, one.target) for name in MAY_IMPORT.get(here, ()))
        if not (here == there or free or named):
            yield str(one)


def test_every_module_stands_in_a_room(known):
    """A module outside the table has no rules yet; it is given a room first."""
    assert [module for module in known if room_of(module, MAY_IMPORT) is None] == []


def test_rooms_import_only_what_the_table_allows(found, known):
    """Every arrow between two rooms is one of the table's, imports for types and late ones included."""
    assert list(forbidden(found, known)) == []


def test_nobody_imports_the_package_root(found):
    """Every ring seen in packages of this size runs through an import of the package's own root."""
    assert [str(one) for one in found if one.target == "fuagent"] == []


def test_only_the_command_line_imports_late(found, known):
    """An import inside a function hides an arrow; only the command line has a reason."""
    late = [
        str(one)
        for one in found
        if one.late and one.target in known and room_of(one.module, MAY_IMPORT) != IMPORTS_LATE
    ]

    assert late == []


def test_other_late_imports_are_optional_dependencies_with_a_comment(found, known):
    """A library imported inside a function is one that an extra installs, and the line says so."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = {"psycopg", "asyncmy", "starlette", "opentelemetry"} | {
        requirement.partition("[")[0].partition(">")[0].replace("-", "_")
        for requirements in project["optional-dependencies"].values()
        for requirement in requirements
    }
    wrong = []
    for one in found:
        if one.late and one.target not in known and room_of(one.module, MAY_IMPORT) != IMPORTS_LATE:
            lines = known[one.module].read_text().splitlines()[one.line - 2 : one.line]
            if one.target.split(".")[0] not in optional or not any("#" in line for line in lines):
                wrong.append(str(one))

    assert wrong == []


def test_no_ring(found, known):
    """Modules can be put in an order in which each imports only earlier ones."""
    graph = {module: set() for module in known}
    for one in found:
        # The types of an error's findings are the one import that exists for the type checker alone.
        if one.target in known and one.target != one.module and (one.module, one.target) != ("errors", "model"):
            graph[one.module].add(one.target)
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail("a ring of imports: " + " → ".join(error.args[1]))

    assert graph


def test_pure_rooms_are_pure(found, known):
    """No pure module reaches a socket, a clock, chance or the operating system, itself or through what it imports."""
    reached = {module for module in known if any(covers(name, module) for name in PURE)}
    waiting = list(reached)
    while waiting:
        module = waiting.pop()
        for one in found:
            if one.module == module and one.target in known and one.target not in reached:
                reached.add(one.target)
                waiting.append(one.target)
    impure = [
        str(one)
        for one in found
        if one.module in reached and any(covers(name, one.target) for name in IMPURE_LIBRARIES)
    ]

    assert impure == []


def test_the_demonstration_is_reached_from_the_command_line_alone():
    """Nothing else in the table may import the demonstration."""
    assert [room for room, allowed in MAY_IMPORT.items() if "demo" in allowed] == ["cli"]


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("encode/text.py", "from fuagent.contract.payload import x", []),
        ("encode/text.py", "from fuagent.contract import spec", ["encode.text line 1 imports contract.spec"]),
        ("encode/text.py", "from ..contract.spec import x", ["encode.text line 1 imports contract.spec"]),
        ("wire/__init__.py", "def f():\n    import fuagent.journal", ["wire line 2 imports journal"]),
        ("contract/a.py", "import fuagent.model, fuagent.errors", []),
        ("config_keys.py", "from fuagent.config import x\nfrom fuagent.interfaces import y", []),
        ("model.py", "from fuagent.errors import x", ["model line 1 imports errors"]),
    ],
)
def test_the_test_itself_sees_forbidden_arrows(tmp_path, place, text, expected):
    """The reading of imports is right about names, relative imports, late imports and free rooms."""
    for name in (
        "contract/spec.py",
        "contract/payload.py",
        "journal.py",
        "errors.py",
        "interfaces.py",
        "config.py",
        place,
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("model.py", "contract/__init__.py"):
        (tmp_path / name).touch()
    (tmp_path / place).write_text(text)

    known = modules(tmp_path)

    assert list(forbidden(imports(known), known)) == expected


def test_the_pure_list_names_what_exists():
    """A renamed pure module does not slip out of its promise."""
    known = modules()
    rooms = {name.split(".")[0] for name in PURE}
    built = {room for room in rooms if len([module for module in known if covers(room, module)]) > 1}

    missing = [name for name in PURE if name.split(".")[0] in built and not any(covers(name, one) for one in known)]

    assert missing == []
