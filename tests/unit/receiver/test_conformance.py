"""The judge, in front of a service that keeps the contract and of the same with faults planted one at a time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broken_service import KEY, PASSWORD, USER, BrokenService, document

from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.receiver.cases import SERVICE_CASES
from fuagent.receiver.conformance import Grade, Report, Result, Target, judge
from fuagent.receiver.conformance.discovery import DOCUMENT_PROBES
from fuagent.receiver.conformance.probes import PROBES
from fuagent.receiver.conformance.report import text
from harness import certificates

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "check-a-service.md"

LARGE = 1200
"""Rows in the large batch: above what the service with that fault takes."""

FAULTS = {
    "the document is a page": {"2-document"},
    "the document names a server elsewhere": {"2-servers"},
    "the document has another path": {"2.1-path"},
    "the document wants what is never sent": {"2.1-path"},
    "the path names a server of its own": {"2-remarks"},
    "the document names no status endpoint": {"2.2-named"},
    "the document leaves the status path out": {"2.2-described"},
    "a page answers": {"4-no-page", "2.1-takes-batches"},
    "the answer is a word": {"4-answer"},
    "the answer is no object": {"4-answer"},
    "the answer does not say what it is": {"4-json-answer"},
    "the answer is 202": {"2.1-takes-batches"},
    "a wish is a text": {"3-suggestion"},
    "a wrong key is taken": {"2.1-wrong-credential", "2.2-wrong-credential"},
    "no key is taken": {"2.1-no-credential", "2.2-no-credential"},
    "a wrong key may ask": {"2.2-wrong-credential"},
    "no key may ask": {"2.2-no-credential", "2.2-same-authentication"},
    "a stranger gets 404": {"2.1-wrong-credential", "2.1-no-credential", "2.2-wrong-credential", "2.2-no-credential"},
    "a slow body is refused": {"2.1-slow-body"},
    "500 on an empty batch": {"3-empty"},
    "400 on the end marker": {"3-end-marker"},
    "422 without an index": {"3-no-index", "3-index-is-optional"},
    "500 on unicode": {"3-unicode"},
    "500 on control characters": {"3-unicode"},
    "422 on unknown fields": {"3-unknown-fields"},
    "500 on a large batch": {"3-large"},
    "500 on large integers": {"3-large-numbers"},
    "500 on nested values": {"3-nested"},
    "500 on the same row twice": {"3-row-twice"},
    "500 on a suggestion": {"3-suggestion"},
    "500 on broken JSON": {"4-broken-json"},
    "200 on broken JSON": {"4-broken-json", "4-failure"},
    "500 on JSON that is no batch": {"4-wrong-shape"},
    "200 on JSON that is no batch": {"4-wrong-shape"},
    "500 with two tasks at once": {"2.1-two-tasks", "2.2-two-tasks"},
    "a repeated row is a conflict": {"3-upsert"},
    "agents share a checkpoint": {"2.2-per-task"},
    "tasks share a checkpoint": {"2.2-per-task"},
    "a row without an index takes the checkpoint back": {"3-index-is-optional"},
    "a replay takes the checkpoint back": {"2.2-never-falls"},
    "the last index counts, not the largest": {"3-largest-index"},
    "the checkpoint stays at the first": {"2.2-checkpoint"},
    "the checkpoint is kept as a 32-bit float": {"2.2-largest-possible", "2.2-checkpoint"},
    "the checkpoint is kept as text of 15 digits": {"2.2-largest-possible"},
    "200 with null for none": {"2.2-no-checkpoint"},
    "200 with 0 for none": {"2.2-no-checkpoint"},
    "200 with {} for none": {"2.2-no-checkpoint"},
    "500 for none": {"2.2-no-checkpoint"},
    "the checkpoint is a text": {"2.2-checkpoint"},
    "the checkpoint is called otherwise": {"2.2-checkpoint"},
    "the checkpoint has a fraction": {"2.2-checkpoint"},
}
"""Fault → the findings that name it."""

ALONE = {
    "2.1-takes-batches",
    "2.2-largest-possible",
    "3-suggestion",
    "3-empty",
    "3-end-marker",
    "3-unicode",
    "3-unknown-fields",
    "3-large",
    "3-large-numbers",
    "3-nested",
    "3-row-twice",
    "2.1-slow-body",
    "2.2-described",
    "2.2-never-falls",
    "3-largest-index",
    "4-json-answer",
    "4-wrong-shape",
}
"""Where a fault is named by one of these alone, nothing else may be found: the service is right otherwise."""


def target(service: BrokenService, **more: object) -> Target:
    """The service, asked with its own key."""
    return Target(**{"url": f"{service.url}/openapi.json", "key": KEY, "rows": LARGE} | more)


async def judged(fault: str = "", **more: object) -> Report:
    """What is said of the service with this fault."""
    async with BrokenService(fault) as service:
        return await judge(target(service, **more))


def failed(report: Report) -> set[str]:
    """The probes that failed."""
    return {one.about.id for one in report.failed()}


def skipped(report: Report) -> set[str]:
    """The probes that were not played."""
    return {one.about.id for one in report.findings if one.result is Result.SKIPPED}


async def test_nothing_is_found_in_a_good_service() -> None:
    """Every probe is played, and every probe passes."""
    report = await judged()

    assert [(one.about.id, one.why, one.came) for one in report.findings if one.result is not Result.PASSED] == []
    assert [one.about.id for one in report.findings] == [
        *(about.id for about in DOCUMENT_PROBES),
        *(probe.about.id for probe in PROBES),
    ]


async def test_a_bare_checkpoint_is_as_good() -> None:
    """The contract has two shapes for it."""
    assert failed(await judged("the checkpoint is bare")) == set()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_planted_fault_is_found(fault: str) -> None:
    """It is named by the findings that are about it, with what was sent, what came and how to mend it."""
    report = await judged(fault)
    named = [one for one in report.failed() if one.about.id in FAULTS[fault]]

    assert {one.about.id for one in named} == FAULTS[fault]
    if FAULTS[fault] <= ALONE:
        assert failed(report) == FAULTS[fault]
    for one in named:
        assert one.asked
        assert one.about.mend
        assert one.sent
        assert one.came or one.about in DOCUMENT_PROBES


def test_every_probe_has_a_fault_that_trips_it() -> None:
    """No probe is there that nothing fails."""
    told = set().union(*FAULTS.values())
    untold = {about.id for about in (*DOCUMENT_PROBES, *(probe.about for probe in PROBES))} - told

    assert untold == set()


async def test_the_contract_s_own_statements_are_all_musts() -> None:
    """Each case of the service's side is a probe, and breaking it breaks the contract."""
    musts = {probe.about.id for probe in PROBES if probe.about.grade is Grade.MUST}

    assert {case.id for case in SERVICE_CASES} <= musts


async def test_what_only_should_be_does_not_break_the_contract() -> None:
    """A replay that takes the checkpoint back is said and is no *must*."""
    report = await judged("a replay takes the checkpoint back")

    assert report.keeps_the_contract
    assert len(report.failed(Grade.SHOULD)) == 1


async def test_user_and_password_are_proven_and_covered() -> None:
    """Basic authentication is judged the same way, and no finding holds the pair in any spelling."""
    async with BrokenService("500 on everything", basic=True) as service:
        report = await judge(target(service, key=None, user=USER, password=PASSWORD))

    shown = "".join(one.sent + one.came + one.why for one in report.findings)
    assert "2.1-takes-batches" in failed(report)
    assert "Basic ***" in shown
    assert PASSWORD not in shown
    assert "ZnVhZ2VudDpw" not in shown

    async with BrokenService(basic=True) as service:
        assert failed(await judge(target(service, key=None, user=USER, password=PASSWORD))) == set()


async def test_a_key_that_comes_back_is_covered() -> None:
    """A service that echoes what it was sent does not put the key into a report."""
    report = await judged("500 on everything")

    shown = "".join(one.sent + one.came + one.why for one in report.findings)
    assert "x-api-key: ***" in shown
    assert KEY not in shown
    assert KEY not in repr(Target("http://localhost", key=KEY))


async def test_without_a_credential_strangers_are_not_asked_for() -> None:
    """Those probes are skipped and say so; a service that wants a key is then left alone."""
    async with BrokenService("no key is taken") as service:
        report = await judge(target(service, key=None))
    open_, shut = report, await judged(key=None)

    assert failed(open_) == set()
    assert skipped(open_) == {probe.about.id for probe in PROBES if probe.needs_credential}
    assert failed(shut) == {"2.1-takes-batches"}
    assert skipped(shut) == {probe.about.id for probe in PROBES[1:]}
    assert shut.left.rows == 0


async def test_a_service_without_a_status_endpoint_is_judged_without_it() -> None:
    """What needs it is skipped, and --status-endpoint brings it back."""
    without = await judged("the document names no status endpoint")
    named = await judged("the document names no status endpoint", status_endpoint="/fuagent-sync-status")

    assert skipped(without) == {"2.2-described"} | {probe.about.id for probe in PROBES if probe.needs_status}
    assert without.keeps_the_contract
    assert failed(named) == {"2.2-named"}
    assert skipped(named) == set()


async def test_a_document_that_allows_no_other_columns_is_believed() -> None:
    """A service that says it refuses unknown fields is not asked to take one."""
    report = await judged("the document allows no other columns")

    assert failed(report) == set()
    assert skipped(report) == {"3-unknown-fields"}


async def test_the_document_is_found_below_the_service() -> None:
    """The service's own URL is enough where the document lies in a usual place."""
    async with BrokenService() as service:
        report = await judge(target(service, url=service.url))

    assert report.document == f"{service.url}/openapi.json"
    assert failed(report) == set()


async def test_a_document_behind_the_key_is_found() -> None:
    """It is asked for without the key first, and then with it."""
    assert failed(await judged("the document wants the key")) == set()


async def test_a_file_is_a_document_too(tmp_path: Path) -> None:
    """The document may lie in a file, with the service's URL beside it."""
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document("")))
    async with BrokenService() as service:
        report = await judge(target(service, url=str(path), base_url=f"{service.url}/v1"))
        without = await judge(target(service, url=str(path)))

    assert failed(report) == set()
    assert failed(without) == {"2-servers"}
    assert "base_url" in without.failed()[0].why


async def test_a_service_without_any_document_is_still_judged() -> None:
    """That it has none is one finding; the rest is asked at the URL that was given."""
    async with BrokenService("the document is a page") as service:
        report = await judge(target(service, base_url=f"{service.url}/v1"))

    assert failed(report) == {"2-document"}
    assert "2.1-takes-batches" not in skipped(report)


async def test_one_task_may_be_all_there_is() -> None:
    """A service that knows its tasks beforehand sees that one only; where there would be two, two agents have it."""
    async with BrokenService() as service:
        report = await judge(target(service, task_id="known", agent_id="a"))

    assert failed(report) == set()
    assert report.left.tasks == ["known"]
    assert all(agent.startswith("a-") for agent in report.left.agents)
    assert {agent[-11:] for agent in report.left.agents} >= {f"two-tasks-{number}" for number in range(1, 5)}


async def test_two_agents_of_one_task_are_told_apart() -> None:
    """What the probes about two tasks find, they find of two agents too."""
    async with BrokenService("500 with two tasks at once") as service:
        report = await judge(target(service, task_id="known"))

    assert failed(report) == {"2.1-two-tasks", "2.2-two-tasks"}


async def test_a_second_run_as_the_same_agent_is_judged_alike() -> None:
    """It does not meet the checkpoints that the first one left behind."""
    async with BrokenService() as service:
        reports = [await judge(target(service, task_id="known", agent_id="a")) for _ in range(2)]

    assert [failed(report) for report in reports] == [set(), set()]


async def test_what_is_left_behind_is_counted() -> None:
    """As many events as the service took, under names that nobody else has."""
    async with BrokenService() as service:
        report = await judge(target(service))
        again = await judge(target(service))

    assert report.left.rows + again.left.rows == service.events
    assert not set(report.left.tasks) & set(again.left.tasks)
    assert all(task.startswith("fuagent-conformance-") for task in report.left.tasks)


async def test_nobody_at_home_is_no_finding(tmp_path: Path) -> None:
    """A port without a service, a file that is not there and a URL that is none end with an error and its fix."""
    async with BrokenService() as service:
        gone = service.url
    for url in (gone, f"{gone}/openapi.json", str(tmp_path / "no.json"), "ftp://example.org/x"):
        with pytest.raises(TryAgainError) as raised:
            await judge(Target(url))
        assert raised.value.fix
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document("")))
    with pytest.raises(TryAgainError, match="cannot be reached") as raised:
        await judge(Target(str(path), base_url=gone))
    assert raised.value.where == gone


async def test_a_certificate_that_nobody_vouches_for_is_named(tmp_path: Path) -> None:
    """A service whose certificate is not trusted is not reached, and the reason is the certificate."""
    async with BrokenService(tls=certificates.make(tmp_path).server()) as service:
        with pytest.raises(TryAgainError, match="certificate"):
            await judge(target(service))


async def test_a_service_that_hangs_is_a_finding() -> None:
    """An answer that does not come in time breaks the probe it was for, and the others are asked all the same."""
    report = await judged("a large batch hangs", timeout=5)

    assert failed(report) == {"3-large"}
    [one] = report.failed()
    assert one.why == "no whole answer within 5 s"
    assert one.came == "no answer"


async def test_a_connection_that_is_cut_is_a_finding() -> None:
    """So does one that ends before the answer."""
    report = await judged("the end marker cuts the connection")

    assert failed(report) == {"3-end-marker"}
    assert "the connection ended" in report.failed()[0].why


async def test_a_redirect_is_not_followed_with_rows() -> None:
    """A POST that is sent elsewhere is the end of it: nothing else is asked."""
    report = await judged("batches are redirected")

    assert failed(report) == {"2.1-takes-batches"}
    assert "a redirect, which is never followed" in report.failed()[0].why
    assert report.left.rows == 0


async def test_a_redirect_of_the_document_is_followed_at_home() -> None:
    """On the same origin; one that goes round for ever is a finding."""
    async with BrokenService() as service:
        assert failed(await judge(target(service, url=f"{service.url}/moved.json"))) == set()
        assert "2-document" in failed(await judge(target(service, url=f"{service.url}/round.json")))


async def test_what_else_the_document_demands_is_sent() -> None:
    """A key in the query is sent beside the contract's headers, and not for a stranger."""
    assert failed(await judged("the key belongs into the query too")) == set()


async def test_a_key_that_no_header_can_carry_is_refused() -> None:
    """A line end in it could begin another header."""
    with pytest.raises(HaltSyncError, match="header"):
        await judge(Target("http://127.0.0.1:1", key="a\nb: c"))


async def test_a_path_for_any_table_has_to_be_one_table_s() -> None:
    """Nobody can send to a placeholder."""
    async with BrokenService() as service:
        with pytest.raises(HaltSyncError, match="names no table"):
            await judge(target(service, batch_endpoint="/ingest/{table}"))


def told(language: str) -> str:
    """The code block of the guide in this language."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(block)


async def test_the_guide_shows_what_is_printed() -> None:
    """The report in the guide is the one of a service that refuses the end marker, but for what differs every time."""
    async with BrokenService("400 on the end marker") as service:
        printed = text(await judge(target(service, rows=5000))).replace(service.url, "http://127.0.0.1:8000")
    printed = re.sub(r"conformance-[0-9a-f]{8}", "conformance-5b1f0c9e", printed)

    assert [line for line in told("text").splitlines() if line != "..." and line not in printed.splitlines()] == []
    assert "FAIL  must    3-end-marker" in told("text")


async def test_the_guide_s_own_test_can_be_copied() -> None:
    """The Python of the guide passes in front of a good service, and fails in front of another."""
    names: dict[str, Any] = {}
    exec(told("python").replace('"secret"', repr(KEY)), names)
    async with BrokenService() as service:
        await names["test_keeps_the_contract"](service.url)
    async with BrokenService("400 on the end marker") as service:
        with pytest.raises(AssertionError):
            await names["test_keeps_the_contract"](service.url)


@pytest.fixture(scope="module", params=["service_fastapi", "service_plain"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of each service of the demonstration, as a process."""
    database: Path = tmp_path_factory.mktemp("service") / "service.db"
    environment = os.environ | {"SERVICE_KEY": KEY, "SERVICE_DATABASE": str(database)}
    command = [sys.executable, "-m", f"fuagent.demo.{request.param}", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    process.stdout.close()


@pytest.mark.parametrize("table", ["customers", "orders", "order_items"])
async def test_nothing_is_found_in_the_services_of_the_demonstration(example: str, table: str) -> None:
    """Each table of each service keeps the contract, and what should and would be nice."""
    report = await judge(Target(example, key=KEY, batch_endpoint=f"/ingest/{table}"))

    assert [(one.about.id, one.sent, one.came, one.why) for one in report.failed()] == []
    assert report.count(Result.PASSED) > 30
