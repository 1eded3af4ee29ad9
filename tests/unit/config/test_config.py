"""The configuration as values: what is read, and what is refused before it is read."""

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fuagent import config
from fuagent.errors import ConfigError
from fuagent.model import Deletes, Field, Level, Mapping

WHOLE = """\
agent_id: agent-c7a8b9d0e1f2
sources:
  shop:
    driver: mysql                       # mysql (MariaDB too), postgres, sqlite
    endpoint: mysql://db.internal:3306/shop   # postgres://host:5432/shop · sqlite:///data/shop.db
    credential: {user: fuagent, password: "${SHOP_PASSWORD}"}
pushers:
  my-openapi-service:
    driver: openapi
    endpoint: https://api.your-service.com/openapi.json
    credential: {key: "${SERVICE_KEY}"}
    driver_params: {batch_endpoint: /ingest-batch}
syncs:
  mysql-to-my-api-sync:
    source: shop
    pusher: my-openapi-service
    tables: [orders]
"""

CONTRACT_EXAMPLE = """\
# in config.yaml
pushers:
  my-openapi-service:
    driver: openapi
    endpoint: "https://api.your-service.com/openapi.json" # URL to your OpenAPI spec
    credential:
      key: "your-secret-api-key" # For ApiKeyCredential
    driver_params:
      batch_endpoint: "/ingest-batch" # Optional: overrides the default path
"""

REST = """
agent_id: a
sources: {shop: {driver: sqlite, endpoint: "sqlite:///shop.db"}}
syncs: {orders: {source: shop, pusher: my-openapi-service, tables: orders}}
"""


def test_a_whole_config(read, tmp_path):
    """Every section comes out typed, defaults filled in, variables replaced, and without a warning."""
    found = read(WHOLE, SHOP_PASSWORD="p-word", SERVICE_KEY="k3y")
    source, pusher = found.sources["shop"], found.pushers["my-openapi-service"]

    assert (found.agent_id, found.base_dir, found.state_dir) == ("agent-c7a8b9d0e1f2", tmp_path, tmp_path / ".fuagent")
    assert (source.name, source.driver, source.endpoint) == ("shop", "mysql", "mysql://db.internal:3306/shop")
    assert source.credential().password.reveal() == "p-word"
    assert pusher.credential().key.reveal() == "k3y"
    assert pusher.options.batch_endpoint == "/ingest-batch"
    assert found.warnings == ()
    assert found.syncs["mysql-to-my-api-sync"] == config.SyncConfig(
        name="mysql-to-my-api-sync",
        source="shop",
        pusher="my-openapi-service",
        tables=("orders",),
        exclude=(),
        mapping=Mapping(),
        transform=None,
        whole_transactions=False,
        deletes_given=False,
        batch_size=1000,
        batch_bytes=1_000_000,
        batch_wait=0.0,
        timeout=30.0,
        drain=20.0,
        on_reject="halt",
        rejected_limit=1000,
        validate_rows=False,
        on_lost_place="continue",
        on_schema_change="follow",
        trust_checkpoint=False,
        accept_rejected=False,
        outcomes={},
    )


def test_the_contracts_own_example_is_accepted(read):
    """The pusher section of the contract is read exactly as it is written there."""
    pusher = read(CONTRACT_EXAMPLE + REST).pushers["my-openapi-service"]

    assert pusher.endpoint == "https://api.your-service.com/openapi.json"
    assert pusher.credential().key.reveal() == "your-secret-api-key"
    assert pusher.options.batch_endpoint == "/ingest-batch"


def test_the_contracts_own_example_alone_lacks_only_its_other_sections(mistakes):
    """Read as a whole file it is told what is missing, and nothing else."""
    assert [(where, what) for where, what, _ in mistakes(CONTRACT_EXAMPLE)] == [
        ("2 sources", "sources is missing"),
        ("2 syncs", "syncs is missing"),
    ]


def test_the_options_of_a_sync(read, right):
    """Every option of a sync arrives in its own unit."""
    sync = read(
        right
        + """\
    exclude: log_*
    fields: {id: id, full_name: name, country: {constant: "NL"}, none: {constant: null}, n: {constant: 1.5}}
    deletes: mark
    delete_field: gone
    batch_size: 10
    batch_bytes: 512KiB
    batch_wait: 500ms
    timeout: 5m
    drain: 1.5
    on_reject: set_aside
    rejected_limit: 0
    on_lost_place: wait
    on_schema_change: halt
    outcomes: {409: acknowledge, "403": halt}
"""
    ).syncs["orders"]

    assert sync.exclude == ("log_*",)
    assert sync.mapping == Mapping(
        fields=(
            Field("id", "id"),
            Field("full_name", "name"),
            Field("country", constant="NL"),
            Field("none"),
            Field("n", constant=1.5),
        ),
        deletes=Deletes.MARK,
        delete_field="gone",
    )
    assert sync.deletes_given
    assert (sync.batch_size, sync.batch_bytes) == (10, 512 * 1024)
    assert (sync.batch_wait, sync.timeout, sync.drain) == (0.5, 300.0, 1.5)
    assert (sync.on_reject, sync.rejected_limit) == ("set_aside", 0)
    assert (sync.on_lost_place, sync.on_schema_change) == ("wait", "halt")
    assert sync.outcomes == {409: "acknowledge", 403: "halt"}


def test_a_list_of_fields_selects(read, right):
    """The short form takes each column under its own name, in the order given."""
    sync = read(right + "    fields: [name, id]\n").syncs["orders"]

    assert sync.mapping.fields == (Field("name", "name"), Field("id", "id"))


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1_000_000", 1_000_000),
        ("1MB", 1_000_000),
        ("2 MiB", 2 * 1024**2),
        ('"5000"', 5000),
        ("64kB", 64_000),
        ("4096 B", 4096),
    ],
)
def test_sizes(read, right, written, number):
    """A size is a number of bytes, or one with its unit."""
    assert read(right + f"    batch_bytes: {written}\n").syncs["orders"].batch_bytes == number


@pytest.mark.parametrize(
    ("written", "seconds"), [("0.5", 0.5), ("30", 30.0), ("1h", 3600.0), ("250 ms", 0.25), ('"7"', 7.0), ("2.5s", 2.5)]
)
def test_durations(read, right, written, seconds):
    """A duration is a number of seconds, or one with its unit."""
    assert read(right + f"    timeout: {written}\n").syncs["orders"].timeout == seconds


@pytest.mark.parametrize(("mode", "given"), [("row", True), ("skip", True), (None, False)])
def test_it_is_known_whether_deletes_was_chosen(read, right, mode, given):
    """The service's document may choose only where the config did not, even where both say the same."""
    sync = read(right + (f"    deletes: {mode}\n" if mode else "")).syncs["orders"]

    assert (sync.deletes_given, sync.mapping.deletes) == (given, Deletes(mode or "row"))


def test_variables_stand_anywhere_in_a_value(read, right):
    """A variable may be part of a text and may become a number; $${ stays ${."""
    text = (
        right.replace("sqlite:///data/shop.db", '"sqlite:///${DIR}/${FILE}"')
        + '    batch_size: "${SIZE}"\n    exclude: ["$${X}"]\n'
    )
    found = read(text, DIR="data", FILE="shop.db", SIZE="17")

    assert found.sources["shop"].endpoint == "sqlite:///data/shop.db"
    assert found.syncs["orders"].batch_size == 17
    assert found.syncs["orders"].exclude == ("${X}",)


def test_a_variable_is_not_expanded_twice(read, right):
    """What a variable holds is taken as it is, dollar signs, digits and all."""
    found = read(right.replace('{key: "k3y-of-mine"}', "\n      key: ${KEY}"), KEY="0123${OTHER}")

    assert found.pushers["service"].credential().key.reveal() == "0123${OTHER}"


def test_a_byte_order_mark_is_no_part_of_the_text(read, right, tmp_path, lookup):
    """Editors of some systems put one in front; it is read over in texts and in files."""
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + right.encode())

    assert read("\ufeff" + right).agent_id == "agent-1"
    assert config.load(path, environ={}, options=lookup).agent_id == "agent-1"


def test_aliases_stand_for_what_they_name(read, right):
    """A value given once with & may be used again with *."""
    text = right.replace("tables: [orders]", "tables: &t [orders]") + "    exclude: *t\n"

    assert read(text).syncs["orders"].exclude == ("orders",)


def test_a_pusher_may_need_no_endpoint(read, right):
    """A driver that goes nowhere says so itself; its keys may all be commented out."""
    text = re.sub(r"  service:\n(    .*\n)+", "  service:\n    driver: stdout\n    driver_params:\n", right)

    assert read(text).pushers["service"].endpoint == ""
    assert read(text).pushers["service"].credential() is None


def test_an_absent_agent_id_is_warned_about(read, right):
    """Without it the agent works, and the reader is told what hangs on it."""
    found = read(right.replace("agent_id: agent-1\n", ""))
    (warning,) = found.warnings

    assert (found.agent_id, warning.level) == (None, Level.WARNING)
    assert warning.where.endswith("config.yaml:1 agent_id")
    assert "journal" in warning.what


@pytest.mark.parametrize(
    ("mode", "key", "warned"),
    [
        (0o644, '"k3y-of-mine"', True),
        (0o640, '"k3y-of-mine"', True),
        (0o600, '"k3y-of-mine"', False),
        (0o644, '"${KEY}"', False),
    ],
)
@pytest.mark.fault("S09")
def test_a_written_out_secret_in_a_readable_file(tmp_path, right, lookup, mode, key, warned):
    """A secret in a file that others can read is warned about, a variable's name is not one."""
    path = tmp_path / "config.yaml"
    path.write_text(right.replace('"k3y-of-mine"', key))
    path.chmod(mode)
    found = config.load(path, environ={"KEY": "x" * 9}, options=lookup)

    assert [w.where for w in found.warnings] == ([f"{path}:10 pushers.service.credential.key"] if warned else [])
    assert all(f"chmod 600 {path}" in w.fix and w.level is Level.WARNING for w in found.warnings)


def test_relative_paths_start_at_the_file(read, right, tmp_path):
    """The state directory lies beside the file unless it is absolute."""
    assert read("state_dir: state\n" + right).state_dir == tmp_path / "state"
    assert read("state_dir: /var/lib/fuagent\n" + right).state_dir == Path("/var/lib/fuagent")


def refused(path: Path, lookup) -> tuple[str, str, str]:
    """The one finding of a file that cannot be read at all."""
    with pytest.raises(ConfigError) as caught:
        config.load(path, environ={}, options=lookup)
    (finding,) = caught.value.findings
    assert finding.what in str(caught.value)
    return finding.where, finding.what, finding.fix


def test_files_that_are_none(tmp_path, lookup):
    """A missing file, a directory, a pipe and a name that cannot be one are said as what they are."""
    os.mkfifo(tmp_path / "pipe")
    fix = "Give another --config, or let `fuagent init` write one."
    not_a_file = "this is a directory or device, not a file"

    assert refused(tmp_path / "none", lookup) == (str(tmp_path / "none"), "there is no such file", fix)
    assert refused(tmp_path, lookup) == (str(tmp_path), not_a_file, fix)
    assert refused(tmp_path / "pipe", lookup) == (str(tmp_path / "pipe"), not_a_file, fix)
    assert refused(Path("a\0b"), lookup)[0] == "a?b"
    assert refused(tmp_path / ("x" * 300), lookup)[1] in (
        "there is no such file",
        "the file cannot be read: File name too long",
    )


@pytest.fixture
def open_folder():
    """A folder where everyone may read and write, unlike those above ``tmp_path``."""
    with TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


@pytest.fixture
def nobody():
    """The test is not root, who could read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_an_unreadable_file(open_folder, nobody, right, lookup):
    """A file without permission is told as that."""
    path = open_folder / "config.yaml"
    path.write_text(right)
    path.chmod(0)

    assert refused(path, lookup)[1:] == (
        "the file cannot be read: Permission denied",
        "Make it readable for the user fuagent runs as.",
    )


def test_files_that_hold_no_text(tmp_path, lookup):
    """Bytes that are not UTF-8 are told with their line, too many of them without reading on."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b"agent_id: a\nsources: \xff\n")
    assert refused(path, lookup) == (f"{path}:2", "the file is not UTF-8 text", "Save it as UTF-8.")

    path.write_bytes(b"#" * 1_000_001)
    assert refused(path, lookup)[1] == "the file is longer than 1,000,000 bytes"
