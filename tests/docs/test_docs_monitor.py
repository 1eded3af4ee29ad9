"""What is shipped for Grafana and Prometheus asks for what an agent really tells, and leads to what is really there."""

from __future__ import annotations

import importlib
import json
import re
import sys

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fuagent import metrics
from fuagent.engine.lifecycle import Event, State
from fuagent.engine.progress import Progress
from fuagent.engine.reporter import GO_ON

SCRAPED = {"job", "instance"}
"""Labels that Prometheus itself puts on what it reads."""
ITS_OWN = {"up": SCRAPED, "ALERTS": {"alertname", "alertstate", "severity", "sync", *SCRAPED}}
NAME = re.compile(r"\b((?:fuagent|process|up\b|ALERTS\b)\w*)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*[=!]~?\s*\"([^\"]*)\"")
LISTED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")


@pytest.fixture(scope="module")
def deployment(root):
    """scripts/deployment.py as a module."""
    sys.path.insert(0, str(root / "scripts"))
    try:
        return importlib.import_module("deployment")
    finally:
        sys.path.remove(str(root / "scripts"))


@pytest.fixture(scope="module")
def dashboard(root):
    return json.loads((root / "deploy/grafana/fuagent.json").read_text())


@pytest.fixture(scope="module")
def rules(root):
    told = yaml.safe_load((root / "deploy/prometheus/alerts.yaml").read_text())
    return [rule for group in told["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def told():
    """Sample to its labels, as the page of a sync that knows every figure has them."""
    one = Progress("orders", since=1.0, last_sent=1.0, last_change=1.0, snapshot_since=1.0, snapshot_total=1)
    one.meet(Event.STREAM, 1.0)
    one.kept_seconds = 1
    one.index, one.behind_bytes, one.behind_rows, one.kept_bytes, one.room_bytes = 1, 1, 1, 1, 1
    one.retry("session")
    one.attempted(0.1)
    text = metrics.page(metrics.Exhibit(lambda: [one], lambda: 1, lambda: 2.0)).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    # A figure that this sync had no value for would be missing below, and nobody would know.
    assert {figure.name for figure in metrics.FIGURES} <= set(found)
    return {name: labels | SCRAPED for name, labels in found.items()} | ITS_OWN


def asked(expression):
    """Every metric in PromQL, with the labels that its braces name and what they are held against."""
    for name, braces in NAME.findall(expression):
        yield name, dict(LABEL.findall(braces))


def everything(deployment, dashboard, rules):
    """Every PromQL expression that ships."""
    return [*deployment.questions(), *(rule["expr"] for rule in rules)]


def test_every_metric_and_label_is_one_there_is(deployment, dashboard, rules, told):
    """Each name stands on the page of an agent, with each label that is asked for."""
    wrong = []
    for expression in everything(deployment, dashboard, rules):
        names = list(asked(expression))
        assert names, expression
        wrong += [f"{name} in {expression}" for name, _ in names if name not in told]
        wrong += [
            f"{name} {set(labels) - told[name]}" for name, labels in names if name in told and set(labels) - told[name]
        ]
        known = set().union(*(told.get(name, ()) for name, _ in names))
        listed = {label.strip() for inside in LISTED.findall(expression) for label in inside.split(",")}
        wrong += [f"{listed - known} in {expression}"] if listed - known else []

    assert wrong == []


def test_every_state_that_is_asked_for_is_one_there_is(deployment, dashboard, rules):
    """A renamed state would make an alert silent for ever."""
    states = {
        word
        for expression in everything(deployment, dashboard, rules)
        for _, labels in asked(expression)
        if "state" in labels
        for word in labels["state"].split("|")
    }

    assert states == {str(state) for state in State}


def test_every_figure_is_shown(deployment, dashboard, rules):
    """What an agent tells is on the dashboard, but for the place it has reached."""
    shown = " ".join(deployment.questions())

    assert [figure.name for figure in metrics.FIGURES if figure.name not in shown] == ["fuagent_acknowledged_index"]


def test_the_dashboard_has_the_shape_grafana_reads(dashboard, deployment):
    """Ids of their own, a grid in which nothing overlaps, every panel explained, and no data source but the one chosen."""
    panels = list(deployment.panels(dashboard))
    grid = [
        (panel["id"], x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    sources = set(re.findall(r'"uid": "([^"]*)"', json.dumps([dashboard["panels"], dashboard["templating"]])))

    assert dashboard["schemaVersion"] >= 36
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(x, y) for _, x, y in grid}) == len(grid)
    assert max(x for _, x, _ in grid) == 23
    assert [panel["title"] for panel in panels if panel["type"] != "row" and not panel["description"]] == []
    assert sources == {"${datasource}"}
    assert [one["name"] for one in dashboard["templating"]["list"]] == ["datasource", "agent", "sync"]


def test_variables_of_the_dashboard_are_there(dashboard, deployment):
    """Each name behind a dollar is one of the dashboard's own or one of Grafana's."""
    own = {one["name"] for one in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"])))

    assert {name for name in used if not name.startswith("__")} == own
    assert not re.search(r"\$__", " ".join(deployment.questions()))


def test_every_legend_names_a_label_that_its_series_have(dashboard, deployment, told):
    """Braces in a legend are labels of the metric, or of what it is summed by."""
    wrong = []
    for panel in deployment.panels(dashboard):
        for target in panel.get("targets", ()):
            used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = [
                {label.strip() for label in inside.split(",")}
                for inside in re.findall(r"by \(([^)]*)\)", target["expr"])
            ]
            known = kept[0] if kept else set().union(*(told[name] for name, _ in asked(target["expr"])))
            wrong += [f"{panel['title']}: {used - known}"] if used - known else []

    assert wrong == []


def test_every_alert_says_what_to_do(rules):
    """A summary, a description, a severity, and a page to read; each under a name of its own."""
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["for"]


def test_every_alert_leads_to_a_heading(rules, docs, root):
    """Page and heading are there."""
    lost = []
    for rule in rules:
        name, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        path = root / name
        if not path.exists() or anchor not in docs._anchors(path.read_text(encoding="utf-8")):
            lost.append(f"{rule['alert']}: {name}#{anchor}")

    assert lost == []


def test_every_alert_has_a_test(root, rules):
    """promtool shows each of them firing."""
    shown = (root / "deploy/prometheus/alerts_test.yaml").read_text()

    assert [rule["alert"] for rule in rules if f'alertname="{rule["alert"]}"' not in shown] == []


def test_commands_in_alerts_exist(rules, generated):
    """Every fuagent command that a description names is one there is."""
    commands = dict(generated.commands())
    named = {
        " ".join(command.split()).replace("{{ $labels.sync }}", "SYNC")
        for rule in rules
        for command in re.findall(r"`(fuagent [^`]+)`", rule["annotations"]["description"])
    }
    taken = {one: name for one in named for name in commands if f"{one} ".startswith(f"{name} ")}
    of_syncs = {one for one in named if one.endswith(" SYNC")}

    assert of_syncs < named
    assert named - taken.keys() == set()
    assert {one for one in of_syncs if "sync" not in {param.name for param in commands[taken[one]].params}} == set()


def test_what_ends_a_halt_is_what_the_agent_says(rules):
    """Resuming ends a pause alone: whoever is woken would wait for it in vain."""
    told = {rule["alert"]: " ".join(rule["annotations"]["description"].split()) for rule in rules}

    assert told["FuagentHalted"].endswith(GO_ON.replace("fuagent reload", "`fuagent reload`"))


def test_every_attribute_of_a_span_is_documented(page):
    """What a span may hold stands in the table, and the table names nothing else."""
    source, text = (
        page("src/fuagent/traces.py"),
        page("docs/how-to/monitor.md").partition("| Attribute |")[2].partition("\n\n")[0],
    )
    written = set(re.findall(r'"((?:fuagent|http|url|server|error)\.[\w.]+)"', source))

    assert written == set(re.findall(r"`((?:fuagent|http|url|server|error)\.[\w.]+)`", text))
