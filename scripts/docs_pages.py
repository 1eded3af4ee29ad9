"""The reference pages, each made from the code it describes.

A page is a function that gives Markdown; :data:`PAGES` says which file it fills.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Any

import docs_diagram
import packages
import typer

import fuagent
from fuagent import cli, cli_frame, config, drivers, errors, metrics
from fuagent.contract import outcome, payload
from fuagent.engine import lifecycle, progress, retry, start
from fuagent.model import Kind, Verdict
from fuagent.receiver.cases import AGENT_CASES, CASES, Ask, Case, Exchange, Reply, Side
from fuagent.receiver.conformance.discovery import DOCUMENT_PROBES
from fuagent.receiver.conformance.probes import PROBES

NOTE = "<!-- Made from the code by scripts/docs.py; `make docs` writes it anew. -->"
OURS = "fuagent"

KINDS = {
    Kind.INTEGER: "whole numbers up to 64 bits",
    Kind.DECIMAL: "exact decimals",
    Kind.FLOAT: "binary floating point",
    Kind.BOOLEAN: "true and false",
    Kind.TEXT: "text",
    Kind.DATE: "a day",
    Kind.TIME: "a time of day",
    Kind.DATETIME: "a day and time without a zone",
    Kind.TIMESTAMP: "a moment, with a zone",
    Kind.INTERVAL: "a span of time",
    Kind.BINARY: "bytes",
    Kind.ENUM: "one of some labels",
    Kind.SET: "any of some labels",
    Kind.JSON: "JSON",
    Kind.OTHER: "anything else a database knows",
    Kind.DYNAMIC: "what the value itself says it is: every column of SQLite",
}
VERDICTS = {
    Verdict.ACKNOWLEDGED: "The batch is delivered; the agent goes on behind it.",
    Verdict.RETRY: "The same bytes are sent again, for ever, after 0.5 to 60 seconds (random, doubling).",
    Verdict.SPLIT: "The batch is halved until it fits; the size that fits is remembered and probed upwards later. "
    "One row that is too large by itself is treated as rejected.",
    Verdict.REJECTED: "The batch is halved until the refused row stands alone; `on_reject` says what happens to it.",
    Verdict.UNAUTHORISED: "Credential files and tokens are read again, and the same bytes are tried slowly.",
    Verdict.WRONG_ANSWER: "Something other than the service seems to answer: the same bytes are tried slowly.",
    Verdict.HALT: "The sync stops and waits for a person; other syncs go on.",
}
SECTIONS = {
    "2.1": "Sending a batch",
    "2.2": "Asking for the checkpoint",
    "3": "The body of a batch",
    "4": "The service's answer",
    "5": "Configuration",
}

_ALL_CHECKS = Counter(
    check.text for case in AGENT_CASES for check in {c for exchange in case.exchanges for c in exchange.checks}
)
ORDINARY = {text for text, cases in _ALL_CHECKS.items() if cases > len(AGENT_CASES) / 2}
"""What is looked at in most conversations, and so tells nothing about one of them."""


def page(title: str, lead: str, *parts: str) -> str:
    """A whole page; empty parts are left out."""
    return "\n\n".join([f"# {title}", NOTE, lead, *filter(None, parts)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [_row(head), _row(["---"] * len(head)), *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ").strip() for cell in cells) + " |"


def _sentence(text: str) -> str:
    """Capital first, stop last."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _code(text: object) -> str:
    """Inline code that keeps backticks and pipes readable."""
    return f"`{text}`" if str(text) else ""


def _own(group: str) -> list[str]:
    return [one.name for one in drivers.known(group) if one.package.split(" ")[0] == OURS]


def _options() -> dict[tuple[str, str], Any]:
    return {
        (group, name): drivers.options(group, name)
        for group in (drivers.SOURCES, drivers.PUSHERS)
        for name in _own(group)
    }


def config_page() -> str:
    """Every key of config.yaml and every option of our drivers."""
    rows = config.describe(_options())
    titles = {
        "": "The top of the file",
        "sources.<name>.": "A source",
        "pushers.<name>.": "A pusher",
        "<sources or pushers>.<name>.credential.": "A credential",
        "syncs.<name>.": "A sync",
    }
    parts = []
    for (prefix, driver), options in groupby(rows, key=lambda one: (one.path.rpartition(".")[0], one.driver)):
        title = f"Options of the driver {driver}" if driver else titles[f"{prefix}." if prefix else ""]
        where = f"These keys stand under `{prefix}`." if prefix else "These keys stand at the top of the file."
        cells = [
            (_code(one.path.rpartition(".")[2]), one.type, _default(one), one.description, _code(one.example))
            for one in options
        ]
        parts.append(f"## {title}\n\n{where}\n\n" + table(("Key", "Type", "Default", "What it says", "Example"), cells))
    example = config.example(
        config.Answers(
            agent_id="agent-c7a8b9d0e1f2",
            tables=["orders"],
            source_endpoint="sqlite:///data/shop.db",
            pusher_endpoint="https://api.your-service.com/openapi.json",
        )
    )
    lead = """One file says everything: which databases, which services, which tables go where.
Unknown keys are refused, and all mistakes are reported at once, each with its line.
Times are seconds or carry a unit (`500ms`, `30s`, `5m`, `1h`); sizes are bytes or carry one (`512KiB`, `1MB`).
`${NAME}` stands for an environment variable and `$${` for the two characters.
Text that YAML readers disagree about (`no`, `0123`) must be in quotes.
Every secret can also stand in a file of its own, under the key that ends in `_file`; it is read again when it is needed.
[config.schema.json](config.schema.json) holds the same as a JSON Schema, for editors."""
    whole = f"## A whole file\n\nThis is what `fuagent init` writes.\n\n```yaml\n{example}```"
    return page("config.yaml", lead, *parts, whole)


def _default(option: config.Option) -> str:
    return option.default if option.default in {"", "required"} else _code(option.default)


def schema_file() -> str:
    """The JSON Schema of config.yaml."""
    return json.dumps(config.json_schema(_options()), indent=2, ensure_ascii=False) + "\n"


def drivers_page() -> str:
    """What is installed with the package, by entry-point group."""
    parts = []
    for group, title in ((drivers.SOURCES, "Sources"), (drivers.PUSHERS, "Pushers")):
        rows = [(_code(name), drivers.summary(group, name)) for name in _own(group)]
        lead = f"Entry-point group `{group}`."
        parts.append(f"## {title}\n\n{lead}\n\n" + table(("Driver", "What it does"), rows))
    lead = """A driver is named in `config.yaml` and found through an entry point, so another package can bring one.
These come with fuagent itself; `fuagent drivers` lists all that are installed.
Their options are in [config.yaml](config.md); [Write a driver](../how-to/write-a-driver.md) says how to add one."""
    return page("Drivers", lead, *parts)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    yield from _walk("fuagent", typer.main.get_command(cli.application))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", {})
    if not below:
        yield name, command
    for word, inner in below.items():
        if not inner.hidden:
            yield from _walk(f"{name} {word}", inner)


def cli_page() -> str:
    """Every command with its options, and the exit codes."""
    root = typer.main.get_command(cli.application)
    parts = ["## Options before the command\n\n" + _parameters(root)]
    for name, command in commands():
        usage = " ".join([name, *(_usage(one) for one in command.params if one.param_type_name == "argument")])
        text = inspect.cleandoc(command.help or "")
        parts.append(f"## {name}\n\n{text}\n\n```console\n$ {usage} [OPTIONS]\n```\n\n" + _parameters(command))
    codes = table(("Code", "Meaning"), [(_code(code), _sentence(text)) for code, text in cli_frame.EXIT_CODES])
    lead = """Every command answers `--help` with what stands here.
`--config`, `--state-dir` and `--debug` may stand before or behind a command's name; behind wins."""
    return page("The command line", lead, *parts, "## Exit codes\n\n" + codes)


def _usage(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required else f"[{name}]"


def _parameters(command: Any) -> str:
    rows = []
    for one in command.params:
        if getattr(one, "hidden", False):
            continue
        names = ", ".join(map(_code, [*one.opts, *one.secondary_opts]))
        if one.param_type_name == "argument":
            names = _code(one.metavar or one.name.upper())
        default = "" if one.default in (None, False, ()) or callable(one.default) else _code(one.default)
        variable = f" Also taken from `{one.envvar}`." if getattr(one, "envvar", None) else ""
        rows.append((names, "required" if one.required else default, (one.help or "") + variable))
    return table(("Argument or option", "Default", "What it does"), rows) if rows else "It takes no options."


def types_page() -> str:
    """How every kind of column is written as JSON."""
    rows = []
    for number, rule in enumerate(payload.RULES):
        first = number == 0 or payload.RULES[number - 1].kind is not rule.kind
        kind = f"**{rule.kind}**: {KINDS[rule.kind]}" if first else ""
        asked = "" if first else _asked(rule)
        rows.append((kind, _sentence(rule.explanation), asked))
    lead = """How a column's value is written follows from its kind.
The first line of a kind is how it is written when the service's document says nothing about it.
The other lines are forms the document can ask for: it names a `type` (and perhaps a `format`) for the property, and the first line that gives it is taken.
If none does, that is an error at the start, with the names of the column and the property.
`NULL` is `null` in every form.
SQLite has the last kind only, because there each value brings its own type; MySQL and MariaDB declare theirs, and have all the others but boolean and interval."""
    return page("How values are written", lead, table(("Kind", "Written as", "If the document asks for"), rows))


def _asked(rule: payload.Rule) -> str:
    types = " or ".join(_code(one) for one in sorted(rule.types))
    formats = " or ".join(_code(one) for one in sorted(rule.formats or ()))
    before = payload.RULES[: payload.RULES.index(rule)]
    also = "" if any(one.kind is rule.kind and one.types & rule.types for one in before) else ", also"
    return f"{types}{also} with format {formats}" if formats else types


def outcomes_page() -> str:
    """Every answer and every fault, and what follows."""
    verdicts = table(("Verdict", "What the agent does"), [(f"**{one.value}**", text) for one, text in VERDICTS.items()])
    head = ("Answer", "Verdict", "What it means", "What to do about it")
    answers = [row for row in outcome.ROWS if row not in outcome.FAULTS.values()]
    own = table(("In `outcomes`", "Verdict"), [(_code(word), to.value) for word, to in outcome.OVERRIDES.items()])
    lead = """Every answer to a batch falls into one row, and the row decides alone.
A `Retry-After` in the answer is the least that is waited, up to 15 minutes.
Bodies are read up to 64 KiB, and a redirect is never followed."""
    return page(
        "Answers and what follows",
        lead,
        "## Verdicts\n\n" + verdicts,
        "## Answers\n\n" + table(head, map(_outcome_row, answers)),
        "## No answer at all\n\n" + table(head, map(_outcome_row, outcome.FAULTS.values())),
        "## Giving a status another meaning\n\n"
        "`syncs.<name>.outcomes` maps a status to one of these words, as in `outcomes: {409: acknowledge}`.\n"
        "A page in place of an answer stays a wrong answer.\n\n" + own,
    )


def _outcome_row(row: outcome.Row) -> tuple[str, ...]:
    return (row.answer, row.verdict.value, _sentence(row.reason), _sentence(row.fix))


def start_page() -> str:
    """The table that says where a sync starts."""
    rows = [(row.service, row.journal, _sentence(row.do.value), row.loud) for row in start.TABLE]
    lead = f"""When a sync starts, the agent asks the service for its checkpoint and looks into its own journal.
The rows are tried from top to bottom, and the first one that fits holds; N is an index.
An answer that is no answer (an error, a timeout, a page) is asked again and never counts as "no checkpoint".
An answer that cannot be an index (text, a negative number, a fraction) halts the sync.
A missing checkpoint is asked for again for {start.PATIENCE:.0f} seconds if the service had taken rows before."""
    tail = """Going on behind N means that N is looked for in the source's log and met exactly.
If it is not there any more, or lies beyond the log's end, the place is lost: see [Delivery](../explanation/delivery.md#when-the-place-is-lost)."""
    head = ("The service says", "The journal holds", "What is done", "What the operator is told")
    return page("Where a sync starts", lead, table(head, rows), tail)


def states_page() -> str:
    """The states of a sync, as a picture and as tables."""
    meaning = table(
        ("State", "Meaning"), [(f"**{state}**", _sentence(lifecycle.MEANING[state])) for state in lifecycle.State]
    )
    events = list(lifecycle.Event)
    steps = [
        (f"**{state}**", *(lifecycle.TABLE[state].get(event, "") for event in events)) for state in lifecycle.State
    ]
    lead = """A sync is always in one of these states; `fuagent status` shows it.
While a gap is open, `status` shows *lost place* also while rows go on."""
    picture = "![The states of a sync and how it gets from one to another](../images/states.svg)"
    return page(
        "States of a sync",
        lead,
        meaning,
        "## The picture\n\n" + picture,
        "## The table\n\nAn empty cell cannot happen.\n\n" + table(("State", *events), steps),
    )


def contract_page() -> str:
    """The contract, statement by statement."""
    parts = []
    for side, title in ((Side.AGENT, "What the agent owes"), (Side.SERVICE, "What the service owes")):
        for section, cases in groupby((one for one in CASES if one.side is side), key=lambda one: one.section):
            rows = [(_code(one.id), _inline(one.statement), "<br>".join(_shown(one))) for one in cases]
            head = ("Case", "Statement", "Shown by")
            parts.append(f"## {title}: {SECTIONS[section].lower()}\n\n" + table(head, rows))
    lead = """The contract between the agent and a service, one statement at a time.
Each statement comes with a conversation in which it shows; the tests play the agent's over HTTP against a running agent.
For the agent, a line is one request it makes (after what is done to the table or to the agent) and the answer it gets.
*A first snapshot* is how most of them begin: the checkpoint question, answered with 404, then the rows and the end marker, answered with 200.
For the service, a line is what its answers must be.
[Write a service](../how-to/write-a-service.md) says the same as a guide."""
    return page("The contract", lead, *parts)


def _shown(case: Case) -> Iterator[str]:
    texts = [expect.text for step in case.steps for expect in step.expects]
    yield from map(_inline, dict.fromkeys(texts))
    batches = [_owed(exchange) for exchange in case.exchanges if exchange.ask is not Ask.QUESTION]
    always = [text for text in (batches[0] if batches else []) if all(text in owed for owed in batches)]
    lines = [_line(exchange, always) for exchange in case.exchanges]
    if lines[: len(OPENING)] == OPENING:
        lines[: len(OPENING)] = ["*a first snapshot*"]
    yield from lines
    if always:
        yield f"on every batch: {_inline('; '.join(always))}"


def _owed(exchange: Exchange) -> list[str]:
    return [check.text for check in exchange.checks if check.text not in ORDINARY]


def _line(exchange: Exchange, always: Sequence[str]) -> str:
    acts = "".join(f"{act.do.value}; " for act in exchange.acts)
    owed = [text for text in _owed(exchange) if text not in always]
    also = f" ({'; '.join(owed)})" if owed else ""
    return _inline(f"{acts}{exchange.ask}{also} → {_answer(exchange.answer)}")


def _answer(answer: Reply | Callable[..., Reply]) -> str:
    if not isinstance(answer, Reply):
        return "200 with its checkpoint"
    return f"{answer.status} {answer.body.decode()}".strip() if answer.status == HTTPStatus.OK else str(answer.status)


def _inline(text: str) -> str:
    """Braces, angle brackets and stars in plain sentences shown as they are."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def conformance_page() -> str:
    """Every probe of the judge, section by section of the contract."""
    probes = sorted((*DOCUMENT_PROBES, *(probe.about for probe in PROBES)), key=lambda about: about.section)
    parts = []
    for section, found in groupby(probes, key=lambda about: about.section):
        rows = [(_code(one.id), str(one.grade), _inline(one.statement), _inline(one.mend)) for one in found]
        title = SECTIONS.get(section, "The document").lower()
        parts.append(f"## {title[0].upper()}{title[1:]}\n\n" + table(("Probe", "Grade", "Statement", "Mend"), rows))
    lead = """What `fuagent conformance` asks of a service, by the section of [the contract](contract.md) it belongs to.
[Check a service](../how-to/check-a-service.md) says how to run it and how to read its report."""
    return page("Probes of a service", lead, *parts)


def metrics_page() -> str:
    """Every metric, the words its labels may hold, and the other two pages."""
    rows: list[tuple[str, ...]] = [
        (_code(one.name), one.kind, ", ".join(map(_code, filter(None, ("sync", one.label)))), _sentence(one.about))
        for one in metrics.FIGURES
    ]
    rows.append((_code(metrics.ATTEMPTS[0]), "histogram", "`sync`, `le`", _sentence(metrics.ATTEMPTS[1])))
    rows.append((_code(metrics.JOURNAL[0]), "gauge", "", _sentence(metrics.JOURNAL[1])))
    reasons = [(_code(word), _sentence(about)) for word, about in retry.REASONS.items()]
    bounds = ", ".join(f"{bound:g}" for bound in progress.DURATIONS)
    lead = """`fuagent run --listen 127.0.0.1:8103` serves three pages over HTTP, to GET and HEAD alone, beside [the console](../how-to/operate.md#the-console).
[Operate](../how-to/operate.md#metrics-and-health) says how to use them."""
    ready = f"""`/healthz` answers 200 as long as the process lives and is not stuck itself.

`/readyz` answers 200, or 503 with one line for each sync that is

- *halted*,
- in a gap (*lost place*), or
- *stuck*: not paused, and for more than {metrics.STUCK_AFTER / 60:g} minutes it could not start, or its attempts failed and nothing was delivered."""
    return page(
        "Metrics and health",
        lead,
        "## Metrics\n\n`/metrics` is in Prometheus' text format. "
        "A figure that is not known is left out. What a source has to be asked for (rows and bytes behind, log kept, room left) "
        "is asked for after each page, so that none waits for a database, and stands in the next; of a sync that has no connection, as one that is paused or halted, every 30 seconds at most. Metrics of the process itself (`process_*`) stand beside these.\n\n"
        + table(("Metric", "Kind", "Labels", "What it is"), rows),
        "## Labels\n\n`sync` is the name of a sync and `state` one of the [states](states.md). "
        f"`le` is one of {bounds} seconds and `+Inf`. "
        "`reason` is an answer or fault of [the table of outcomes](outcomes.md), or one of these.\n\n"
        + table(("Reason", "Meaning"), reasons),
        "## Health\n\n" + ready,
    )


def api_page() -> str:
    """What ``import fuagent`` offers, and the tree of errors."""
    rows = [(_code(name), _first_line(getattr(fuagent, name))) for name in fuagent.__all__]
    tree = inspect.getdoc(errors) or ""
    drawn = inspect.cleandoc(tree.partition("::\n")[2].partition("\nThe reaction")[0])
    lead = """What the author of a driver needs stands at the root of the package.
Public as well are the modules `fuagent.interfaces`, `fuagent.model` and `fuagent.errors`, which these names come from, `fuagent.encode.compile.compile_encoder`, which writes rows as events, and `fuagent.testing` with its suites; the rest is internal.
[Write a driver](../how-to/write-a-driver.md) says how the pieces fit."""
    return page(
        "Names for driver authors",
        lead,
        "## At the root\n\n" + table(("Name", "What it is"), rows),
        f"## Errors\n\nThe type of an error says what happens next.\n\n```text\n{drawn}\n```",
    )


def _first_line(value: object) -> str:
    if isinstance(value, str):
        return "The version of the package."
    first = (inspect.getdoc(value) or "").partition("\n\n")[0]
    return first.replace("``", "`").replace("\n", " ")


OPENING = [f"{Ask.QUESTION} → 404", f"{Ask.ROWS} → 200 {{}}", f"{Ask.END} → 200 {{}}"]
"""How most conversations begin."""


def packages_page() -> str:
    """What is installed beside fuagent, and under which licences."""
    wanted = packages.direct()
    rows = [
        (
            f"`{one.name}`",
            one.version,
            packages.licence(one),
            ", ".join(wanted.get(one.name, ["through another"])),
            f"`{one.marker}`" if one.marker else "",
        )
        for one in packages.locked()
    ]
    lead = (
        "What `fuagent[all]` brings along, as `requirements/run.lock` pins it: exact versions, each with the hashes it may "
        "have. `pip install --require-hashes --no-deps -r requirements/run.lock` installs these and no others."
    )
    notes = (
        "fuagent itself is under the Apache License 2.0. All of these may stand beside it: they are imported as they are. "
        "MPL-2.0 and LGPL-3.0 bind whoever changes or passes on those packages themselves.\n\n"
        "`make sbom` writes the same as a bill of materials for programs (CycloneDX), hashes included, into `dist/`. "
        "`make check` fails when a package comes with a licence that nobody has looked at, and when one of these versions "
        "has a known vulnerability."
    )
    return page("Packages", lead, table(("Package", "Version", "Licence", "For", "Only where"), rows), notes)


PAGES: dict[str, Callable[[], str]] = {
    "docs/images/states.svg": docs_diagram.states,
    "docs/reference/api.md": api_page,
    "docs/reference/cli.md": cli_page,
    "docs/reference/config.md": config_page,
    "docs/reference/config.schema.json": schema_file,
    "docs/reference/conformance.md": conformance_page,
    "docs/reference/contract.md": contract_page,
    "docs/reference/drivers.md": drivers_page,
    "docs/reference/metrics.md": metrics_page,
    "docs/reference/outcomes.md": outcomes_page,
    "docs/reference/packages.md": packages_page,
    "docs/reference/start.md": start_page,
    "docs/reference/states.md": states_page,
    "docs/reference/types.md": types_page,
}
