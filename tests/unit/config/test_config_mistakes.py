"""A table of wrong configs: each mistake with its line, its path and its repair."""

import re
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuagent import config
from fuagent.errors import ConfigError

QUOTE = 'Put it in quotes: "…".'
UNCLEAR = "unquoted, this value is one thing to some YAML readers and another to others"
UNCLEAR_FIX = "Put it in quotes if it is text; write true or false for a switch."
TAKEN = "the property index is taken: the event's number goes there"

# What is replaced in (or added to) the right config, and what is then said.
TABLE = [
    # keys and sections
    ("tables:", "tabels:", ("15 syncs.orders.tabels", "there is no key tabels", "Did you mean tables?")),
    ("sources:", "source:", ("2 source", "there is no key source", "Did you mean sources?")),
    ("+", "  mask: x", ("16 syncs.orders.mask", "a mapping belongs here", None)),
    (
        "+",
        "  mask: {a: blur}",
        ("16 syncs.orders.mask.a", "this is no way to mask a column", "Write hash, redact, or {truncate: 3}."),
    ),
    ("+", "  mask: {a: {truncate: 0}}", ("16 syncs.orders.mask.a", "this is no way to mask a column", None)),
    (
        "+",
        "  mask: {a: hash}",
        (
            "12 syncs.orders.mask_salt",
            "mask_salt is missing: without it anybody can find out what a hash stands for by trying",
            'Add mask_salt: "${MASK_SALT}", a long random text that stays the same.',
        ),
    ),
    (
        "+",
        "  mask_salt: abc",
        ("16 syncs.orders.mask_salt", "mask_salt counts only where a column is hashed", "Remove it."),
    ),
    (
        "+",
        "  transform: x",
        ("16 syncs.orders.transform", "this is not the name of a function", "Write package.module:function."),
    ),
    ("+", "  whole_transactions: 3", ("16 syncs.orders.whole_transactions", "a switch belongs here", None)),
    ("    source: shop\n", "", ("12 syncs.orders.source", "source is missing", 'Add source: "shop"')),
    ("    tables: [orders]\n", "", ("12 syncs.orders.tables", "tables is missing", 'Add tables: ["orders", "log_*"]')),
    ("    driver: sqlite\n", "", ("3 sources.shop.driver", "driver is missing", 'Add driver: "sqlite"')),
    (
        "    endpoint: sqlite:///data/shop.db\n",
        "",
        ("3 sources.shop.endpoint", "endpoint is missing", "Add endpoint: where the driver connects to."),
    ),
    (
        "source: shop",
        "source: shpo",
        ("13 syncs.orders.source", "sources has no entry of this name", "Did you mean shop?"),
    ),
    (
        "pusher: service",
        "pusher: qqq",
        ("14 syncs.orders.pusher", "pushers has no entry of this name", "There are: service."),
    ),
    (
        "driver: sqlite",
        "driver: sqllite",
        ("4 sources.shop.driver", "there is no driver sqllite", "Did you mean sqlite?"),
    ),
    ("agent_id: agent-1", "agent_id: 17", ("1 agent_id", "text belongs here, and YAML reads this as a number", QUOTE)),
    (
        "agent_id: agent-1",
        'agent_id: "a\\r\\nb"',
        ("1 agent_id", "a name is 1 to 128 of the characters A-Z a-z 0-9 . _ : -", "Choose another name."),
    ),
    (
        "  orders:",
        "  bestellungen ü:",
        (
            '12 syncs["bestellungen ü"]',
            "a name is 1 to 128 of the characters A-Z a-z 0-9 . _ : -",
            "Choose another name.",
        ),
    ),
    ("tables: [orders]", "agent_id: a", ("15 syncs.orders.agent_id", "there is no key agent_id", None)),
    ("+", "  source: shop", ("16 syncs.orders.source", "the key stands here and in line 13", "Keep one of the two.")),
    ("+", "  ? [a]\n    : b", ("16 syncs.orders", "a key must be a plain name", None)),
    ("+", "  <<: {timeout: 3}", ("16 syncs.orders", "merge keys (<<) are not read here", "Write the keys out.")),
    (
        "    driver: sqlite",
        "    driver:",
        ("4 sources.shop.driver", "nothing stands here", None),
    ),
    # tables
    ("[orders]", "[]", ("15 syncs.orders.tables", "nothing is in here", 'Write it like ["orders", "log_*"]')),
    ("[orders]", "[a, a]", ("15 syncs.orders.tables", "a table stands here twice", "Name each table or pattern once.")),
    ("[orders]", '["  "]', ("15 syncs.orders.tables", "a table name is empty", None)),
    ("[orders]", "[a, 7]", ("15 syncs.orders.tables[1]", "text belongs here, and YAML reads this as a number", QUOTE)),
    (
        "[orders]",
        "[a, {b: c}]",
        ("15 syncs.orders.tables[1]", "text belongs here, and YAML reads this as a mapping", QUOTE),
    ),
    ("[orders]", "{a: b}", ("15 syncs.orders.tables", "a list belongs here", 'Write it like ["orders", "log_*"]')),
    ("[orders]", "[no]", ("15 syncs.orders.tables[0]", UNCLEAR, UNCLEAR_FIX)),
    # numbers and choices
    (
        "+",
        "  deletes: marc",
        ("16 syncs.orders.deletes", "this is none of the values possible here", "Did you mean mark?"),
    ),
    (
        "+",
        "  on_lost_place: 3",
        (
            "16 syncs.orders.on_lost_place",
            "this is none of the values possible here",
            "Write 'continue', 'wait' or 'snapshot'.",
        ),
    ),
    ("+", "  batch_size: 0", ("16 syncs.orders.batch_size", "the value should be greater than or equal to 1", None)),
    (
        "+",
        "  batch_size: true",
        ("16 syncs.orders.batch_size", "a number belongs here, not true or false", "Write a number."),
    ),
    ("+", "  batch_size: 010", ("16 syncs.orders.batch_size", UNCLEAR, UNCLEAR_FIX)),
    ("+", "  batch_bytes: 1 GB", ("16 syncs.orders.batch_bytes", "this is not a size", None)),
    ("+", "  batch_bytes: true", ("16 syncs.orders.batch_bytes", "this is not a size", None)),
    ("+", "  timeout: soon", ("16 syncs.orders.timeout", "this is not a duration", None)),
    ("+", "  timeout: false", ("16 syncs.orders.timeout", "this is not a duration", None)),
    ("+", "  timeout: 1e400", ("16 syncs.orders.timeout", "this is not a duration", None)),
    ("+", "  timeout: .inf", ("16 syncs.orders.timeout", UNCLEAR, UNCLEAR_FIX)),
    ("+", f"  timeout: {'9' * 600}", ("16 syncs.orders.timeout", "this is not a duration", None)),
    ("+", f"  timeout: {'9' * 5000}", ("16 syncs.orders.timeout", "the number has too many digits", None)),
    ("+", "  timeout: 0", ("16 syncs.orders.timeout", "the value should be greater than or equal to 0.1", None)),
    ("+", "  drain: -1", ("16 syncs.orders.drain", "the value should be greater than or equal to 0", None)),
    ("+", "  drain: 1:30", ("16 syncs.orders.drain", UNCLEAR, UNCLEAR_FIX)),
    ("+", "  trust_checkpoint: 17", ("16 syncs.orders.trust_checkpoint", "a switch belongs here", None)),
    ("+", "  trust_checkpoint: yes", ("16 syncs.orders.trust_checkpoint", UNCLEAR, UNCLEAR_FIX)),
    ("+", "  outcomes: {99: retry}", ('16 syncs.orders.outcomes["99"]', "this is not an HTTP status", None)),
    (
        "+",
        "  outcomes: {409: acknowlege}",
        ('16 syncs.orders.outcomes["409"]', "this is none of the values possible here", "Did you mean acknowledge?"),
    ),
    ("+", "  outcomes: [409]", ("16 syncs.orders.outcomes", "a mapping belongs here", None)),
    # fields
    ("+", "  fields: []", ("16 syncs.orders.fields", "nothing is in here", None)),
    ("+", "  fields: [a, a]", ("16 syncs.orders.fields", "a field stands here twice", "Name each field once.")),
    ("+", "  fields: [a, 3]", ("16 syncs.orders.fields", "a list of fields holds names only", None)),
    ("+", "  fields: {index: id}", ("16 syncs.orders.fields.index", TAKEN, "Give the column another property.")),
    ("+", "  fields: [index]", ("16 syncs.orders.fields", TAKEN, "Give the column another property.")),
    (
        "+",
        "  fields: {address..city: city}",
        (
            '16 syncs.orders.fields["address..city"]',
            "a nested property has an empty name in it",
            "Write it like customer.email: column.",
        ),
    ),
    (
        "+",
        "  fields: {op: $operations}",
        (
            "16 syncs.orders.fields.op",
            "a change tells nothing called $operations",
            "Write one of $operation, $table, $schema, $commit_time, $transaction, $snapshot.",
        ),
    ),
    (
        "+",
        "  fields: [$table]",
        ("16 syncs.orders.fields", "$table is no name of a property", "Write property: $table."),
    ),
    ("+", "  fields: {index.a: id}", ('16 syncs.orders.fields["index.a"]', TAKEN, None)),
    ("+", '  fields: {"": id}', ('16 syncs.orders.fields[""]', "a property needs a name", "Write property: column.")),
    ("+", "  fields: {a: }", ("16 syncs.orders.fields.a", "nothing stands here", None)),
    ("+", "  fields: {a: {const: 1}}", ("16 syncs.orders.fields.a", "neither a column nor a constant", None)),
    (
        "+",
        "  fields: {a: {constant: [1]}}",
        ("16 syncs.orders.fields.a", "a constant is one text, number, true, false or null", None),
    ),
    (
        "+",
        "  fields: {a: {constant: 1e999}}",
        ("16 syncs.orders.fields.a", "a constant is one text, number, true, false or null", None),
    ),
    (
        "+",
        "  fields: {a: {constant: 9223372036854775808}}",
        ("16 syncs.orders.fields.a", "the constant is an integer beyond 64 bits", "Put it in quotes."),
    ),
    ("+", "  fields: {a: {constant: NO}}", ("16 syncs.orders.fields.a.constant", UNCLEAR, UNCLEAR_FIX)),
    ("+", "  fields: {a: {constant: 2024-01-01}}", ("16 syncs.orders.fields.a.constant", UNCLEAR, UNCLEAR_FIX)),
    ("+", "  fields: 3", ("16 syncs.orders.fields", "a mapping belongs here", None)),
    # keys that exclude each other
    (
        "+",
        "  delete_field: gone",
        ("16 syncs.orders.delete_field", "delete_field counts only with deletes: mark", None),
    ),
    (
        "+",
        "  deletes: mark\n    delete_field: index",
        ("17 syncs.orders.delete_field", TAKEN, "Rename it."),
    ),
    (
        "+",
        "  deletes: mark\n    fields: {_deleted: a}",
        ("17 syncs.orders.fields._deleted", "deletes: mark writes this property too", "Set another delete_field."),
    ),
    (
        "+",
        "  on_reject: set_aside\n    trust_checkpoint: true",
        (
            "17 syncs.orders.trust_checkpoint",
            "set_aside and trust_checkpoint exclude each other: a row set aside is no longer in the checkpoint",
            "Choose one of them.",
        ),
    ),
    # endpoints
    (
        "https://api.example.com/openapi.json",
        "https://me:geheim@api.example.com/x",
        (
            "9 pushers.service.endpoint",
            "a user or password stands in the URL",
            "Move it: credential: {user: …, password: …}.",
        ),
    ),
    (
        "sqlite:///data/shop.db",
        "mysql://me:ge/heim@db/x",
        ("5 sources.shop.endpoint", "the URL's host or port cannot be read", None),
    ),
    (
        "sqlite:///data/shop.db",
        "mysql://[::1/x",
        ("5 sources.shop.endpoint", "the URL's host or port cannot be read", None),
    ),
    (
        "sqlite:///data/shop.db",
        '"a\\tb"',
        ("5 sources.shop.endpoint", "the URL holds blanks or control characters", None),
    ),
    ("sqlite:///data/shop.db", '""', ("5 sources.shop.endpoint", "endpoint is missing", None)),
    # options of drivers
    (
        "+++",
        "    driver_params: {batch_endpiont: /x}",
        (
            "11 pushers.service.driver_params.batch_endpiont",
            "there is no key batch_endpiont",
            "Did you mean batch_endpoint?",
        ),
    ),
    (
        "+++",
        "    driver_params: {inner: {dept: 3}}",
        ("11 pushers.service.driver_params.inner.dept", "there is no key dept", "Did you mean depth?"),
    ),
    (
        "+++",
        "    driver_params: {inners: {a: [{}, {dept: 3}]}}",
        ("11 pushers.service.driver_params.inners.a[1].dept", "there is no key dept", "Did you mean depth?"),
    ),
    (
        "+++",
        "    driver_params: {inner: 3}",
        ("11 pushers.service.driver_params.inner", "a mapping belongs here", "Indent its keys below it."),
    ),
    (
        "+++",
        "    driver_params: {batch_endpoint: x}",
        ("11 pushers.service.driver_params.batch_endpoint", "x does not begin with a slash", "Correct the value."),
    ),
    ("+++", "    driver_params: [1]", ("11 pushers.service.driver_params", "a mapping belongs here", None)),
    (
        "sqlite:///data/shop.db",
        "sqlite:///a\n    driver_params: {speed: 0}",
        ("6 sources.shop.driver_params.speed", "the value should be greater than or equal to 1", "Write it like 7"),
    ),
    # variables
    (
        "[orders]",
        '"${NO_SUCH}"',
        (
            "15 syncs.orders.tables",
            "the environment variable NO_SUCH is not set",
            "export NO_SUCH=…, or write $${ for a literal.",
        ),
    ),
    ("[orders]", '"${a-b}"', ("15 syncs.orders.tables", "a ${ that no variable name and } follow", None)),
    (
        "[orders]",
        '"${LINES_TWO}"',
        ("15 syncs.orders.tables", "the environment variable LINES_TWO holds control characters", None),
    ),
    ("[orders]", '"\\ud800"', ("15 syncs.orders.tables", "the text holds half a character (\\ud800 to \\udfff)", None)),
    # whole sections
    ("sources:\n", "sources: []\nx:\n", ("2 sources", "a mapping belongs here", None)),
    ("  shop:\n", "  shop: 3\n  other:\n", ("3 sources.shop", "a mapping belongs here", None)),
]


def changed(right: str, old: str, new: str) -> str:
    """The right config with one thing replaced, added to the sync, or added to the pusher."""
    if old == "+":
        return f"{right}  {new}\n"
    if old == "+++":
        return right.replace("syncs:\n", f"{new}\nsyncs:\n")
    assert old in right
    return right.replace(old, new, 1)


@pytest.mark.parametrize(("old", "new", "expected"), TABLE, ids=[f"{new[:50]!r}" for _, new, _ in TABLE])
@pytest.mark.fault("S18")
def test_mistakes(mistakes, right, old, new, expected):
    """One mistake more: it is told with its line and path, what is wrong, and what to do."""
    where, what, fix = expected
    found = {told[0]: told for told in mistakes(changed(right, old, new), LINES_TWO="a\nb")}

    assert where in found
    assert found[where][1] == what
    assert fix in (None, found[where][2])


# What cannot be read any further, with the line.
UNREADABLE = [
    ("", "1", "the file is empty"),
    ("# only a comment\n", "1", "the file is empty"),
    ("- a\n", "1", "the file does not hold a mapping"),
    ("text", "1", "the file does not hold a mapping"),
    ("a: b\n---\nc: d\n", "2", "a second document begins here"),
    ("a: [1, 2\nb: 3\n", "2", "this is not YAML (column 2): expected ',' or ']', but got ':'"),
    (
        "a:\n  b: 1\n c: 2\n",
        "3",
        "this is not YAML (column 2): expected <block end>, but found '<block mapping start>'",
    ),
    ("a: b: c\n", "1", "this is not YAML (column 5): mapping values are not allowed here"),
    ("a:\n\t- b\n", "2", "this is not YAML (column 1): found character tab that cannot start any token"),
    ('a: "\\q"\n', "1", "this is not YAML (column 6): found unknown escape character …"),
    ("a: b\x07\n", "1", "a control character stands in the text"),
    ('a: 1\nb: "\\U00110000"\n', "1", "this is not YAML: an escape in it makes no sense"),
    ("a: *b\n", "1", "an alias (*name) without an anchor (&name) before it"),
    ("a: &a [*a]\n", "1", "an alias (*name) without an anchor (&name) before it"),
    ("a: !!python/object:os.system x\n", "1", "YAML tags are not read here"),
    ("a: !foo [x]\n", "1", "YAML tags are not read here"),
    ("a: !foo {x: y}\n", "1", "YAML tags are not read here"),
    ("a: &a x\nb: [" + "*a," * 101 + "]\n", "2", "more than 100 aliases"),
    ("[" * 100_000, "1", "nested deeper than 50 levels"),
    ("{a: " * 100_000, "1", "nested deeper than 50 levels"),
    ("".join(" " * depth + "a:\n" for depth in range(200)), "50", "nested deeper than 50 levels"),
    ("- x\n" * 30_000, "20000", "more than 20,000 values"),
    ("a" * 1_000_001, "", "the file is longer than 1,000,000 bytes"),
]


@pytest.mark.parametrize(("text", "line", "what"), UNREADABLE, ids=[repr(text[:30]) for text, _, _ in UNREADABLE])
@pytest.mark.fault("S14")
def test_texts_that_cannot_be_read(read, tmp_path, text, line, what):
    """Broken and hostile YAML ends in one finding with its line, never in another exception."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    finding = caught.value.findings[0]

    assert (finding.where, finding.what) == (f"{tmp_path / 'config.yaml'}{line and ':' + line}", what)
    assert finding.fix


def test_an_unquoted_variable_in_braces(mistakes, right):
    """The braces of a variable end those around it: the repair is to quote it."""
    ((where, _, fix),) = mistakes(right.replace('"k3y-of-mine"', "${KEY}"), KEY="x")

    assert (where, fix) == ("10", 'Put "${NAME}" in quotes inside { } and [ ].')


@pytest.mark.fault("S13")
def test_aliases_cannot_grow(read):
    """Nine levels of nine aliases are a billion values; they are counted before they are made."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        read("\n".join(lines))

    assert caught.value.findings[0].what == "more than 20,000 values"
    assert time.monotonic() - started < 30


@pytest.mark.fault("S13", "S14")
def test_aliases_cannot_deepen(read):
    """Depth counts through aliases too."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [[[[[*a{n - 1}]]]]]" for n in range(1, 12)]
    with pytest.raises(ConfigError) as caught:
        read("\n".join(lines))

    assert caught.value.findings[0].what == "nested deeper than 50 levels"


@pytest.mark.fault("S13")
def test_a_long_variable_cannot_be_repeated_without_end(mistakes, right):
    """A text of a megabyte may not become one of gigabytes."""
    found = mistakes(right.replace("[orders]", f'"{"${BIG}" * 1000}"'), BIG="x" * 100_000)

    assert found[0][:2] == ("15 syncs.orders.tables", "the environment variables are too long altogether")


def test_all_mistakes_come_at_once_and_in_order(mistakes, right):
    """Mistakes in every section are told together, from the top of the file to its end."""
    text = (
        right.replace("agent-1", '"a b"')
        .replace("sqlite:", "sqlite://me@h:")
        .replace('"k3y-of-mine"', "17")
        .replace("source: shop", "source: shopp")
        + "    timeout: soon\n    batch_sice: 3\n"
    )

    assert [where for where, _, _ in mistakes(text)] == [
        "1 agent_id",
        "5 sources.shop.endpoint",
        "10 pushers.service.credential.key",
        "13 syncs.orders.source",
        "16 syncs.orders.timeout",
        "17 syncs.orders.batch_sice",
    ]


def test_a_mistake_in_a_section_does_not_hide_those_of_its_driver(mistakes, right):
    """driver_params and credential are checked even where their section is wrong otherwise."""
    text = right.replace("    endpoint: https://api.example.com/openapi.json\n", "").replace(
        'credential: {key: "k3y-of-mine"}', "credential: {key: a, user: b}\n    driver_params: {x: 1}\n    y: 1"
    )

    assert [where for where, _, _ in mistakes(text)] == [
        "7 pushers.service.endpoint",
        "9 pushers.service.credential",
        "10 pushers.service.driver_params.x",
        "11 pushers.service.y",
    ]


def test_findings_end_somewhere(right, read):
    """Thousands of mistakes are not thousands of lines, and looking for likely names stays quick."""
    syncs = "".join(f"  s{number}: {{source: shp{number}, bach: 1}}\n" for number in range(3000))
    with pytest.raises(ConfigError) as caught:
        read(right + syncs)

    assert len(caught.value.findings) == 100
    assert "100 mistakes at least" in str(caught.value)


def test_very_long_names_are_not_compared(mistakes, right):
    """Likeness of two long names is slow to tell, so it is not asked."""
    text = right.replace("  shop:", f"  {'a' * 1000}:").replace("source: shop", f"source: {'a' * 999}b")

    assert mistakes(text)[-1][2].startswith("There are: aaa")


@pytest.mark.fault("S06")
def test_a_variables_value_is_never_shown(mistakes, right):
    """Even the words of a driver's own check are cleared of what came out of the environment."""
    text = changed(right, "+++", '    driver_params: {batch_endpoint: "${PLACE}"}')

    assert mistakes(text, PLACE="hush-hush")[0][1] == "*** does not begin with a slash"


SECRET = "sEcReT4711"


@pytest.mark.parametrize(
    "credential",
    [
        f"{SECRET}",
        f"[{SECRET}]",
        f"{{key: [{SECRET}]}}",
        f"{{key: {{{SECRET}: }}}}",
        f"{{{SECRET}}}",
        f"{{{SECRET}: no}}",
        f"{{{SECRET}: {{a: 1, a: 2}}}}",
        f"{{key: *{SECRET}}}",
        f"{{key: !{SECRET} x}}",
        f"{{key: !{SECRET}!x y}}",
        f"{{key: &{SECRET}}}",
        f"{{key: a, key_file: {SECRET}",
        f"{{key: %{SECRET}}}",
        f"{{key: @{SECRET}}}",
        f"{{key: `{SECRET}}}",
        f'{{key: "{SECRET}\\q"}}',
        f'{{key: "{SECRET}\\n"}}',
        f'{{key: "{SECRET}"}}: x',
        f"{{key: {SECRET}, user: {SECRET}, passwd: {SECRET}, password: {SECRET}}}",
        f"{{client_id: a, client_secret: {SECRET}, token_url: 'https://me:{SECRET}@h/x'}}",
        f"{{client_id: a, client_secret: b, token_url: {SECRET}}}",
        f"{{key: '${{{SECRET}'}}",
        f"{{user: a, password: {SECRET}, scopes: {{}}}}",
        f"{{user: a, password: {SECRET}}}\n    endpoint: https://me:{SECRET}@h/",
    ],
)
@pytest.mark.fault("S06")
def test_no_finding_shows_a_secret(read, right, credential):
    """However a credential is broken, nothing that is told about it holds the secret."""
    with pytest.raises(ConfigError) as caught:
        read(right.replace('{key: "k3y-of-mine"}', credential))

    assert SECRET not in repr([caught.value, str(caught.value), caught.value.findings])


def ends_well(text: str, options) -> bool:
    """Whether reading ends in a config, or in findings fit to be shown, and leaves the interpreter as it was."""
    before = sys.getrecursionlimit()
    try:
        read = isinstance(config.parse(text, environ={"A": "x"}, options=options), config.Config)
    except ConfigError as error:
        read = bool(error.findings) and all(
            finding.where.startswith("config.yaml") and finding.what and finding.what.isprintable()
            for finding in error.findings
        )
    return read and sys.getrecursionlimit() == before


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "sources",
                "pushers",
                "syncs",
                ": ",
                "\n",
                "  ",
                "    ",
                "- ",
                "[",
                "]",
                "{",
                "}",
                ",",
                "${A}",
                "$${",
                "${",
            ]
            + [
                "driver: sqlite",
                "tables: ",
                "fields: ",
                "credential: ",
                "key: ",
                "no",
                "0x1",
                "1e3",
                '"',
                "'",
                "&a",
                "*a",
            ]
            + ["!!str ", "!", "? ", "|\n", ">", "%", "@", "`", "#", "---", "...", "<<: ", "\\U", "~", "\ufeff", "\t"]
        ),
        st.text(max_size=8),
    ),
    max_size=40,
).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=PIECES)
def test_any_text_gives_a_config_or_findings(lookup, text):
    """No text, however strange, ends in another exception."""
    assert ends_well(text, lookup)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["shop", "${A}", "a.b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_at_any_place_gives_a_config_or_findings(lookup, right, data):
    """A value of any shape in the place of a right one is read or told about."""
    spots = [match.span(1) for match in re.finditer(r": ?(\S.*)?$", right, re.MULTILINE)]
    start, end = data.draw(st.sampled_from([span for span in spots if span[0] > 0]))
    value = data.draw(VALUES)

    assert ends_well(right[:start] + repr(value).replace("None", "null") + right[end:], lookup)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), whole=st.booleans())
def test_any_bytes_give_a_config_or_findings(tmp_path, right, lookup, data, whole):
    """The same for a file of any bytes."""
    path = tmp_path / "config.yaml"
    path.write_bytes(data if whole else right.encode() + data)
    try:
        found = config.load(path, environ={}, options=lookup)
    except ConfigError as error:
        assert error.findings
    else:
        assert found.sources
