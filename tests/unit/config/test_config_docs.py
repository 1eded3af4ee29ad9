"""What is generated from the declared keys: the reference rows, the JSON Schema, the example."""

import json

import jsonschema_rs
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuagent import config
from fuagent.config_keys import CredentialKeys, FileKeys, PusherKeys, SourceKeys, SyncKeys

SECTIONS = [FileKeys, SourceKeys, PusherKeys, CredentialKeys, SyncKeys]


@pytest.mark.parametrize("model", SECTIONS)
def test_every_key_is_declared_in_full(model):
    """Each key says what it does in a sentence, and each but the sections gives an example."""
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert field.examples or name in ("sources", "pushers", "syncs"), name


def test_rows_for_the_reference(drivers):
    """Every key has a row with path, type and default, a driver's own options among them."""
    rows = {(row.path, row.driver): row for row in config.describe(drivers)}

    assert rows["agent_id", ""].type == "text"
    assert rows["sources.<name>.driver", ""].default == "required"
    assert (rows["syncs.<name>.timeout", ""].type, rows["syncs.<name>.timeout", ""].default) == ("duration", "30")
    assert (rows["syncs.<name>.batch_size", ""].type, rows["syncs.<name>.batch_size", ""].default) == (
        "integer",
        "1000",
    )
    assert rows["syncs.<name>.deletes", ""].type == "row | mark | skip"
    assert rows["syncs.<name>.tables", ""].type == "list of names"
    assert rows["syncs.<name>.trust_checkpoint", ""].type == "true | false"
    assert rows["sources.<name>.credential", ""].type == "mapping"
    speed = rows["sources.<name>.driver_params.speed", "sqlite"]
    assert speed == config.Option(speed.path, "integer", "5", "How fast.", "7", "sqlite")
    assert rows["pushers.<name>.driver_params.hosts", "openapi"].type == "list of text"
    assert rows["pushers.<name>.driver_params.inners", "openapi"].type == "mapping"
    assert all(row.description for row in config.describe())
    assert len(config.describe()) == sum(len(model.model_fields) for model in SECTIONS)


@pytest.fixture
def validator(drivers):
    """The schema as an editor would use it."""
    schema = config.json_schema(drivers)
    jsonschema_rs.meta.validate(schema)
    return jsonschema_rs.validator_for(json.loads(json.dumps(schema)))


WHOLE = """
agent_id: agent-c7a8b9d0e1f2
sources:
  shop:
    driver: mysql
    endpoint: mysql://db.internal:3306/shop
    credential: {user: fuagent, password: "${SHOP_PASSWORD}"}
    driver_params:
pushers:
  my-openapi-service:
    driver: openapi
    endpoint: https://api.your-service.com/openapi.json
    credential: {key: "${SERVICE_KEY}"}
    driver_params: {batch_endpoint: /ingest-batch}
  another: {driver: of-someone-else, driver_params: {anything: [1]}}
syncs:
  mysql-to-my-api-sync:
    source: shop
    pusher: my-openapi-service
    tables: [orders]
    fields: {id: id, full_name: name, country: {constant: "NL"}}
    timeout: 30s
    batch_bytes: 1000000
    outcomes: {"409": acknowledge}
"""


def test_the_schema_takes_a_right_config(validator):
    """A whole config passes, with options of known drivers and of ones nobody knows here."""
    assert [error.message for error in validator.iter_errors(yaml.safe_load(WHOLE))] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tables:", "tabels:"),
        ("agent_id: agent-c7a8b9d0e1f2", "agent_id: 3"),
        ("batch_endpoint: /ingest-batch", "batch_endpiont: /x"),
        ("timeout: 30s", "timeout: []"),
        ("timeout: 30s", "deletes: marc"),
        ("{key:", "{kee:"),
        ("    driver: mysql\n", ""),
        ('"409": acknowledge', '"409": accept'),
        ("{constant:", "{const:"),
        ("[orders]", "[]"),
    ],
)
def test_the_schema_refuses_a_wrong_config(validator, old, new):
    """What reading refuses for its shape, an editor underlines already."""
    assert old in WHOLE
    assert not validator.is_valid(yaml.safe_load(WHOLE.replace(old, new)))


ENVIRON = dict.fromkeys(
    ("SERVICE_KEY", "SERVICE_USER", "SERVICE_PASSWORD", "CLIENT_ID", "CLIENT_SECRET", "SOURCE_PASSWORD", "MASK_SALT"),
    "value-1",
)


@pytest.mark.parametrize("credential", ["key", "basic", "oauth2", "none"])
@pytest.mark.parametrize("user", ["", "me@home"])
def test_the_written_example_loads(read, credential, user):
    """What `fuagent init` writes is right as it stands, without a finding, for every kind of credential."""
    text = config.example(
        config.Answers(
            agent_id="agent-c7a8b9d0e1f2",
            tables=["orders", "log_*", "Order Details"],
            source_endpoint="sqlite:///data/shop.db",
            pusher_endpoint="https://api.example.com/openapi.json",
            source_user=user,
            credential=credential,
        )
    )
    found = read(text, **ENVIRON)
    given = found.pushers["my-service"].credential()

    assert found.warnings == ()
    assert found.syncs["shop-to-my-service"].tables == ("orders", "log_*", "Order Details")
    assert found.sources["shop"].endpoint == "sqlite:///data/shop.db"
    assert (found.sources["shop"].credential() is not None) == bool(user)
    assert (given is None) == (credential == "none")
    assert credential != "oauth2" or given.client_secret.reveal() == "value-1"


def test_the_examples_comments_are_right_too(read):
    """Every option stands in the example as a comment, and each is right once it is uncommented."""
    text = config.example(config.Answers("a", ["t"], "sqlite:///x.db", "https://h/openapi.json"))
    lines = [line.replace("    # ", "    ", 1) for line in text.splitlines()]
    known = {field.alias or name for name, field in SyncKeys.model_fields.items()}
    keys = [line for line in lines if line.startswith("    ") and line.split(":")[0].strip() in known]
    head = text[: text.index("    source: shop")]

    assert {line.split(":")[0].strip() for line in keys} == known
    assert read(head + "\n".join(keys), **ENVIRON).syncs["shop-to-my-service"].batch_bytes == 512 * 1024


def test_an_example_for_printing(read):
    """A pusher without an endpoint is written without one."""
    answers = config.Answers("a", ["t"], "sqlite:///x.db", "", pusher_driver="stdout", credential="none")

    assert read(config.example(answers)).pushers["my-service"].endpoint == ""


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tables=st.lists(st.text(min_size=1).filter(lambda name: name.strip() and "${" not in name), min_size=1, unique=True)
)
def test_any_table_name_survives_the_example(read, tables):
    """Whatever a table is called, it is quoted so that it is read back the same."""
    text = config.example(config.Answers("a", tables, "sqlite:///x.db", "https://h/openapi.json"))

    assert read(text, **ENVIRON).syncs["shop-to-my-service"].tables == tuple(tables)
