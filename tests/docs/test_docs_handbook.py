"""The handbook and the page of messages say what the code says, all of it."""

import ast
import re
import sys

import pytest

from fuagent.engine.lifecycle import ADVICE, MEANING, State
from fuagent.sources.mysql import faults as mysql
from fuagent.sources.postgres import faults as postgres
from fuagent.sources.sqlite import faults as sqlite

TABLES = [vars(mysql)[name] for name in ("_AGAIN", "_REFUSED", "_STAYS")]
TABLES += [vars(sqlite)[name] for name in ("_PASSES", "_STAYS")]


@pytest.fixture(scope="session")
def handbook(docs):
    """scripts/docs_handbook.py as a module."""
    return sys.modules["docs_handbook"]


@pytest.fixture
def said(handbook, monkeypatch):
    """The messages of a package that is one module with this text, each as (kind, text, fix)."""
    texts, messages = sys.modules["docs_texts"], sys.modules["docs_messages"]

    def read(source):
        module = texts.Module("src/fuagent/one.py", ast.parse(source))
        base = texts.modules()["fuagent.errors"]
        monkeypatch.setattr(messages, "modules", lambda: {"fuagent.errors": base, "fuagent.one": module})
        return [[(one.kind, one.what, one.fix) for one in some] for some in messages.messages()]

    return read


def test_every_state_has_its_place(page):
    """Each state has a heading that alerts can link to, what it means, and what to do."""
    text = page("docs/how-to/handbook.md")
    for state in State:
        section = text.partition(f"\n### {state}\n")[2].partition("\n### ")[0]

        assert MEANING[state][1:] in section
        assert ADVICE[state].by_itself in section
        assert ADVICE[state].to_do in section


def test_the_first_aid_begins_with_commands(page):
    """Each of the six symptoms begins with what to type."""
    aid = page("docs/how-to/handbook.md").partition("## First aid")[2].partition("\n## ")[0]
    symptoms = aid.split("\n### ")[1:]

    assert len(symptoms) == 6
    assert [one.partition("\n")[0] for one in symptoms if not re.match(r"[^\n]+\n\n```sh\n", one)] == []


@pytest.mark.parametrize("table", TABLES, ids=["again", "refused", "stays", "passes", "stays-sqlite"])
def test_every_error_of_a_server_is_told(page, table):
    """What a driver keeps in a table stands on the page too, text and fix."""
    text = page("docs/reference/messages.md").replace("\\", "")

    assert [what for what, fix in table.values() if what not in text or fix.rstrip(".") not in text] == []


def test_every_sqlstate_is_told(page):
    """The same for PostgreSQL, by state and by class."""
    text = page("docs/reference/messages.md").replace("\\", "")
    states = [f"(error {state})" for state in vars(postgres)["_BY_STATE"]]
    states += [f"(error {state}xxx)" for state in vars(postgres)["_BY_CLASS"]]

    assert [one for one in states if one not in text] == []


def test_files_that_pass_messages_on_are_known(handbook):
    """No message goes unread but in the files that say so, and each of these has one."""
    _, unread = sys.modules["docs_messages"].messages()

    assert {one.path for one in unread} == handbook.MADE_UP


def test_a_message_that_cannot_be_read_stops_the_page(handbook, monkeypatch):
    """Where a text is made up out of sight, whoever writes it hears of it."""
    lost = sys.modules["docs_messages"].Message("HaltSyncError", "…", "", "engine/new.py", 7)
    monkeypatch.setattr(handbook, "messages", lambda: ([], [lost]))
    handbook.told.cache_clear()
    try:
        with pytest.raises(handbook.UnreadMessageError, match=r"engine/new\.py:7"):
            handbook.told()
    finally:
        handbook.told.cache_clear()


PAIR = """
def f(a):
    if a:
        what, fix = "b", "c"
    else:
        what, fix = "d", "e"
    raise StateError(what, fix=fix)
"""
ARGUMENT = """
def f(what):
    return StateError(f"no {what}", fix=f"bring {what}")

f("a")
f("b")
"""
ORDER = """
def f(a):
    what = "b"
    if a:
        what = "c"
        raise StateError(what)
    raise StateError(what)
"""
UNKNOWN = """
def f(a):
    what, fix = a
    raise StateError(f"b {what}", fix=fix)
"""
OWN_CLASS = """
class _Own(StateError): ...

raise _Own("a")
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise StateError("a b", fix="c")', [("StateError", "a b", "c")]),
        ('WHAT = "a"\nraise StateError(f"{WHAT} {b} c")', [("StateError", "a … c", "")]),
        ('raise StateError("a" if b else "c")', [("StateError", "a", ""), ("StateError", "c", "")]),
        (PAIR, [("StateError", "b", "c"), ("StateError", "d", "e")]),
        (ARGUMENT, [("StateError", "no a", "bring a"), ("StateError", "no b", "bring b")]),
        (ORDER, [("StateError", "c", ""), ("StateError", "b", "")]),
        (UNKNOWN, [("StateError", "b …", "…")]),
        (OWN_CLASS, [("StateError", "a", "")]),
        ('yield_ = Finding(Level.WARNING, where, "a", "b")', [("WARNING", "a", "b")]),
    ],
    ids=["literal", "name", "choice", "pair", "argument", "order", "unknown", "own class", "finding"],
)
def test_texts_are_followed(said, source, expected):
    """A text comes out as the code would put it together, and its fix with it."""
    read, _ = said(source)

    assert read == expected
