"""The handbook's regions, from the table of states and the tree of errors, and the page of every message.

What a state means and asks for stands in ``engine/lifecycle.py``; what a message says and asks for stands where it is
raised, and is read from there by :mod:`docs_messages`. Some drivers keep theirs in tables, by the number of an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from docs_messages import Message, messages
from docs_pages import page, table
from docs_texts import GAP

from fuagent import errors
from fuagent.engine import start
from fuagent.engine.lifecycle import ADVICE, MEANING, State
from fuagent.sources.mysql import dump as mysql_dump
from fuagent.sources.mysql import faults as mysql
from fuagent.sources.postgres import faults as postgres
from fuagent.sources.sqlite import faults as sqlite

SUBJECTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("MySQL and MariaDB", ("sources/mysql/",)),
    ("PostgreSQL", ("sources/postgres/",)),
    ("SQLite", ("sources/sqlite/",)),
    ("Tables, rows and their mapping", ("sources/", "encode/", "functions")),
    ("The service and its document", ("contract/", "pushers/")),
    ("The receiving end", ("receiver/", "cli_receive")),
    ("The configuration", ("config",)),
    ("The agent, its journal and its commands", ("",)),
)
"""What messages are about, by where they are said; the first that fits holds."""

REACTIONS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "It is tried again",
        ("TryAgainError",),
        (
            "It passes by itself once its cause is gone; nothing is lost meanwhile, and no restart is needed. "
            "The sync is [retrying](../how-to/handbook.md#retrying)."
        ),
    ),
    (
        "The credential is refused",
        ("UnauthorisedError",),
        "It is read again and tried slowly. The sync is [unauthorised](../how-to/handbook.md#unauthorised).",
    ),
    (
        "Something else answers",
        ("WrongAnswerError",),
        "It is tried again slowly. The sync shows [wrong answer](../how-to/handbook.md#wrong-answer).",
    ),
    (
        "The place is lost",
        ("LostPlaceError",),
        (
            "Changes may be missing, and a snapshot mends it; the fix says how to keep it from happening again. "
            "The sync shows [lost place](../how-to/handbook.md#lost-place)."
        ),
    ),
    (
        "The sync halts",
        ("HaltSyncError", "DecodeError", "JournalWriteError"),
        (
            "A person has to act; other syncs go on. The sync is [halted](../how-to/handbook.md#halted). "
            "Before the first run these are what `fuagent check` finds."
        ),
    ),
    (
        "The agent does not start",
        ("StopAgentError", "StateError"),
        "The command ends with [an exit code](cli.md#exit-codes) that says which kind it was.",
    ),
    (
        "The configuration is wrong",
        ("ConfigError",),
        "All mistakes are told at once, each with its line. A running agent that reloads goes on as it was.",
    ),
    ("A command is refused", ("FuagentError",), "Nothing was changed."),
    (
        "The console refuses a request",
        ("RefusedError",),
        "The page shows it where something was asked for; nothing was changed.",
    ),
    (
        "The receiving end refuses a batch",
        ("PayloadError",),
        "What the kit and `fuagent receive` answer with 422: whoever sent it is no agent of this contract.",
    ),
    ("Something is worth knowing", ("notice",), "Said once in the log and shown by `fuagent status`."),
    ("What fuagent check finds: errors", ("ERROR",), "They keep a sync from running; the exit code is 1."),
    ("What fuagent check finds: warnings", ("WARNING",), "It runs, and somebody may regret it."),
)
"""What follows from a message, the classes of errors and levels of findings that have it, and the sentence above them."""

_DRIVERS: tuple[tuple[str, str, dict[int, tuple[str, str]]], ...] = (
    ("TryAgainError", "sources/mysql/faults.py", vars(mysql)["_AGAIN"]),
    ("UnauthorisedError", "sources/mysql/faults.py", vars(mysql)["_REFUSED"]),
    ("HaltSyncError", "sources/mysql/faults.py", vars(mysql)["_STAYS"]),
    ("TryAgainError", "sources/sqlite/faults.py", vars(sqlite)["_PASSES"]),
    ("HaltSyncError", "sources/sqlite/faults.py", vars(sqlite)["_STAYS"]),
)
_UNSAID = {
    "TryAgainError": "it goes on by itself",
    "LostPlaceError": "`fuagent snapshot SYNC`, if the service does not ask for one itself",
    "notice": "nothing",
}
"""What to do where a message says nothing of it."""
MADE_UP = frozenset(
    {
        "app_bundle.py",
        "app_set_aside.py",  # an outcome
        "cli.py",
        "cli_frame.py",
        "cli_receive.py",
        "config_check.py",
        "config_yaml.py",
        "console/server.py",
        "contract/document.py",
        "control.py",
        "engine/delivery.py",
        "engine/pipeline.py",
        "engine/reporter.py",
        "functions.py",
        "preflight.py",
        "pushers/faults.py",
        "pushers/openapi.py",
        "sources/mysql/dump.py",
        "sources/mysql/reading.py",
        "sources/postgres/findings.py",
        "sources/postgres/reading.py",
        "sources/postgres/slots.py",
        "sources/postgres/source.py",
        "sources/source.py",
        "sources/sqlite/faults.py",
        "sources/sqlite/source.py",
    }
)
"""Files with a message that passes on what was said elsewhere, or says what stands in a table; their others are read."""


class UnreadMessageError(Exception):
    """A message whose text cannot be read from the code, in a file that has none such."""


@cache
def told() -> tuple[Message, ...]:
    """Every message, with those that drivers keep in tables.

    Raises:
        UnreadMessageError: one cannot be read, so that the page would lack it.
    """
    read, unread = messages()
    strange = [f"{one.path}:{one.line}" for one in unread if one.path not in MADE_UP]
    if strange:
        raise UnreadMessageError(
            f"no text can be read at {', '.join(strange)}: write it as a literal where it is raised, "
            "or name the file in scripts/docs_handbook.py if it passes on what was said elsewhere"
        )
    return (*read, *_from_tables())


def _from_tables() -> Iterator[Message]:
    for kind, path, known in _DRIVERS:
        for number, (what, fix) in known.items():
            code = f" (error {number})" if "mysql" in path else ""  # the agent names no code of SQLite's
            yield Message(kind, f"{what}{code}", fix, path, 0)
    for state, (kind, what, fix) in (vars(postgres)["_BY_STATE"] | vars(postgres)["_BY_CLASS"]).items():
        yield Message(kind.__name__, f"{what} (error {state:x<5})", fix, "sources/postgres/faults.py", 0)
    for _, (kind, what, fix) in vars(postgres)["_BY_TEXT"]:
        if (kind, what, fix) not in vars(postgres)["_BY_STATE"].values():
            yield Message(kind.__name__, what, fix, "sources/postgres/faults.py", 0)
    for what in vars(mysql_dump)["_LOST"]:
        yield Message("LostPlaceError", what, vars(mysql_dump)["_KEEP"], "sources/mysql/dump.py", 0)
    for row in start.TABLE:
        if row.loud:
            yield Message("notice", row.loud, "", "engine/start.py", 0)


# ------------------------------------------------------------------ the page of messages


def messages_page() -> str:
    """Every message with what to do about it, by what follows and what it is about."""
    lead = """Every message fuagent can say, as it stands in its code, with what to do about it.
Three dots stand for what is known only when it happens: a name, a number, what somebody else said.
In the log and in `fuagent status` the place comes first (a URL, a table, a line of the configuration), then the message, then the fix.
Look for a few words of yours with the search of your browser, or of this site.

What follows from an answer of the service stands in [Answers and what follows](outcomes.md), and what each state asks for in [the handbook](../how-to/handbook.md).
Sentences about bytes of a log that make no sense are left out: they name what was read, and all mean that the sync [halts](../how-to/handbook.md#halted) and that we would like to know."""
    parts = [f"## {title}\n\n{about}\n\n" + _subjects(of) for title, of, about in REACTIONS]
    return page("Messages", lead, *parts)


def _subjects(of: tuple[str, ...]) -> str:
    found = [one for one in told() if one.kind in of]
    parts = []
    for subject, _ in SUBJECTS:
        rows = list(_rows(one for one in found if _subject(one) == subject))
        if rows:
            parts.append(f"### {subject}\n\n" + table(("Message", "What to do"), rows))
    return "\n\n".join(parts)


def _subject(message: Message) -> str:
    return next(title for title, starts in SUBJECTS if message.path.startswith(starts))


def _rows(found: Iterable[Message]) -> Iterator[tuple[str, str]]:
    """Each text once, with every fix it may come with."""
    known: dict[str, dict[str, None]] = {}
    for one in found:
        if _tidy(one.what).endswith(f"{GAP} {GAP}"):
            continue  # nothing in it can be looked for
        known.setdefault(_tidy(one.what), {})[_tidy(one.fix or _UNSAID.get(one.kind, ""))] = None
    for what in sorted(known, key=lambda text: text.lower().lstrip(f"{GAP} ")):
        fixes = [fix for fix in known[what] if any(sign.isalpha() for sign in fix)]
        yield _plain(what), "<br>or: ".join(map(_plain, fixes))


def _tidy(text: str) -> str:
    return text.replace(GAP + GAP, GAP).rstrip(".")


def _plain(text: str) -> str:
    """A sentence in which nothing but what stands in backticks is code, and nothing is HTML."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        for sign in "\\<*_[]{}$":
            parts[place] = parts[place].replace(sign, "&lt;" if sign == "<" else f"\\{sign}")
    return "`".join(parts)


# ------------------------------------------------------------------ regions of the handbook


def states() -> str:
    """A section for each state, those first in which a person has to act."""
    order = sorted(State, key=lambda state: not ADVICE[state].urgent)
    return "\n\n".join(map(_state, order))


def _state(state: State) -> str:
    advice = ADVICE[state]
    return (
        f"### {state}\n\n{MEANING[state][0].upper()}{MEANING[state][1:]}.\n\n"
        f"- **By itself:** {advice.by_itself}\n- **You:** {advice.to_do}"
    )


def reactions() -> str:
    """Each kind of error with what follows, and where its messages stand."""
    rows = []
    for title, kinds, _ in REACTIONS:
        anchor = title.lower().replace(" ", "-").replace(":", "")
        about = " ".join(filter(None, (_first_line(kind) for kind in kinds)))
        if about:
            rows.append((f"[{title}](../reference/messages.md#{anchor})", about))
    return table(("What follows", "Which errors"), rows)


def _first_line(kind: str) -> str:
    found = getattr(errors, kind, None)
    return (inspect.getdoc(found) or "").partition("\n")[0].replace("``", "`") if found else ""


REGIONS: dict[str, Callable[[], str]] = {"states": states, "reactions": reactions}
PAGES: dict[str, Callable[[], str]] = {"docs/reference/messages.md": messages_page}
