"""Everything a user can set, type, meet or import stands in the documentation."""

import re
from html import unescape

import pytest
import typer
import yaml

import fuagent
from fuagent import cli, cli_frame, config, drivers
from fuagent.contract import outcome
from fuagent.engine import lifecycle, start
from fuagent.receiver.cases import CASES


def _cells(text):
    """Every cell of every table, as a reader sees it."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield from (cell.strip() for cell in re.split(r"(?<!\\)\|", line))


def test_every_key_of_the_configuration_is_documented(page, generated):
    """Each key stands in the reference with its description, those of our drivers too."""
    text = page("docs/reference/config.md").replace("\\|", "|")
    missing = [
        option.path
        for option in config.describe(generated._options())
        if f"| `{option.path.rpartition('.')[2]}` |" not in text or option.description not in text
    ]

    assert missing == []


def test_every_key_can_be_written_into_the_example(page, generated):
    """The whole file in the reference holds every key of a sync, in force or as a comment."""
    text = page("docs/reference/config.md").partition("## A whole file")[2]
    keys = [one.path.rpartition(".")[2] for one in config.describe() if one.path.startswith("syncs.<name>.")]

    assert [key for key in keys if not re.search(rf"^ +(# )?{key}:", text, re.MULTILINE)] == []


def test_every_command_is_documented(page, generated):
    """Each command has a heading of its own, its help, and every option."""
    text = page("docs/reference/cli.md")
    for name, command in generated.commands():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, f"{name} has no section"
        names = [option for one in command.params if one.param_type_name == "option" for option in one.opts]

        assert [option for option in names if f"`{option}`" not in section] == []


def test_every_command_and_option_has_help(generated):
    """No command and no option of ours goes without a sentence."""
    silent = [name for name, command in generated.commands() if not command.help]
    silent += [
        f"{name} {parameter.name}"
        for name, command in generated.commands()
        for parameter in command.params
        if not parameter.help
    ]

    assert silent == []


def test_every_exit_code_is_documented(page):
    """Each exit code stands in its table."""
    text = page("docs/reference/cli.md").partition("## Exit codes")[2]

    assert [code for code, _ in cli_frame.EXIT_CODES if f"| `{code}` |" not in text] == []


def test_every_entry_point_group_and_driver_is_documented(page, generated):
    """Both groups and each driver that comes with the package stand in the reference and in the guide."""
    reference, guide = page("docs/reference/drivers.md"), page("docs/how-to/write-a-driver.md")
    for group in (drivers.SOURCES, drivers.PUSHERS):
        assert f"`{group}`" in reference
        assert f"`{group}`" in guide
        assert [name for name in generated._own(group) if f"| `{name}` |" not in reference] == []


def test_our_drivers_are_the_ones_the_readme_speaks_of(page, generated):
    """A driver that comes with the package is named in the README or the changelog."""
    text = (page("README.md") + page("CHANGELOG.md")).lower()

    assert [
        name for group in (drivers.SOURCES, drivers.PUSHERS) for name in generated._own(group) if name not in text
    ] == []


def test_every_outcome_is_documented(page):
    """Each answer and each fault has its row, with what it leads to."""
    cells = set(_cells(page("docs/reference/outcomes.md")))

    assert [row.answer for row in outcome.ROWS if row.answer not in cells] == []
    assert [f"`{word}`" for word in outcome.OVERRIDES if f"`{word}`" not in cells] == []


def test_every_state_is_documented(page):
    """Each state has its meaning and its row of steps, and stands in the picture."""
    text, picture = page("docs/reference/states.md"), unescape(page("docs/images/states.svg"))

    assert [state for state in lifecycle.State if text.count(f"| **{state}** |") != 2] == []
    assert [state for state in lifecycle.State if f">{state}<" not in picture] == []


def test_the_picture_of_the_states_tells_every_step(docs):
    """Each step of the table is an arrow, an entry below a name, or a state that stays as it is."""
    import docs_diagram as diagram

    boxes = diagram.BOXES
    box_of = {state: box for box in boxes.values() for state in box}
    told = {(origin, to) for box in boxes.values() for origin, to, _ in diagram.inside(box)}
    for box in boxes.values():
        told |= {(state, to) for state in box for to in diagram.in_all(box).values()}
    untold = [
        (origin, event)
        for origin, steps in lifecycle.TABLE.items()
        for event, to in steps.items()
        if to is not origin and box_of[to] is box_of[origin] and (origin, to) not in told
    ]
    across = {
        (str(event), box_of[origin][0], box_of[to][0])
        for origin, steps in lifecycle.TABLE.items()
        for event, to in steps.items()
        if box_of[origin] is not box_of[to]
    }
    drawn = {
        (label.partition(" (")[0], origin[0], to[0])
        for origin in boxes.values()
        for to in boxes.values()
        if origin is not to
        for label in diagram.between(origin, to)
    }

    assert set(lifecycle.State) == set(box_of)
    assert untold == []
    assert across == drawn


def test_every_start_is_documented(page):
    """Each row of the start table stands in the reference."""
    text = page("docs/reference/start.md")

    assert len(start.TABLE) == text.count("\n| ") - 2
    assert [row.name for row in start.TABLE if f"| {row.service} | {row.journal} |" not in text] == []


def test_every_statement_of_the_contract_is_documented(page):
    """Each case stands in the reference under its own id."""
    text = page("docs/reference/contract.md")

    assert [case.id for case in CASES if f"| `{case.id}` |" not in text] == []


def test_every_public_name_is_documented(page):
    """Each name at the root of the package stands in the reference, with a sentence."""
    text = page("docs/reference/api.md")

    assert [name for name in fuagent.__all__ if not re.search(rf"^\| `{name}` \| .+ \|$", text, re.MULTILINE)] == []


def _commands(text):
    """What stands in inline code, and every line of a shell block."""
    yield from re.findall(r"`([^`\n]+)`", text)
    for block in re.findall(r"^```(?:sh|console|ini)[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield from (line.strip().removeprefix("$ ") for line in block.splitlines())


def test_commands_in_prose_exist(docs, root, generated):
    """Every fuagent command and make target that a page names is one there is."""
    commands = {name for name, _ in generated.commands()}
    groups = {name.rpartition(" ")[0] for name in commands if name.count(" ") > 1}
    targets = set(re.findall(r"^([a-z]+):.*## ", (root / "Makefile").read_text(), re.MULTILINE))
    unknown = []
    for path in docs.pages():
        for line in _commands(path.read_text(encoding="utf-8")):
            told = re.match(r"fuagent ([a-z][a-z-]*)(?: ([a-z]+))?", line)
            if (
                told
                and f"fuagent {told[1]}" not in commands
                and f"fuagent {told[1]} {told[2]}" not in commands | groups
            ):
                unknown.append(f"{path.name}: {line}")
            made = re.match(r"(?:[A-Z]+=\S+ )*make ([a-z]+)", line)
            if made and made[1] not in targets:
                unknown.append(f"{path.name}: {line}")

    assert unknown == []


def test_the_two_commands_of_the_readme_are_there(page):
    """The README shows make demo and make test before anything has to be installed."""
    text = page("README.md")

    assert -1 < text.index("make demo") < text.index("make test") < text.index("## Install")


def test_a_command_and_its_group_are_both_walked(generated):
    """The walk over the command line reaches commands inside groups."""
    names = {name for name, _ in generated.commands()}

    assert {"fuagent run", "fuagent source remove"} <= names
    assert "run" in typer.main.get_command(cli.application).commands


@pytest.mark.parametrize(
    "name", ["README.md", "docs/tutorial.md", "docs/reference/config.md", "docs/how-to/use-sqlite.md"]
)
def test_yaml_in_pages_is_yaml(page, name):
    """Every YAML block reads as one mapping."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page(name), re.DOTALL | re.MULTILINE)

    assert blocks
    assert all(isinstance(yaml.safe_load(block), dict) for block in blocks)


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md", "docs/reference/config.md"])
def test_whole_configurations_in_pages_load(page, name):
    """A block that holds syncs is a configuration without a mistake."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page(name), re.DOTALL | re.MULTILINE)
    whole = [block for block in blocks if "\nsyncs:" in block]
    loaded = [config.parse(block, environ={"SERVICE_KEY": "k"}, options=drivers.options) for block in whole]

    assert len(loaded) == 1
    assert loaded[0].agent_id
    assert tuple(found.what for found in loaded[0].warnings if "agent_id" in found.what) == ()
