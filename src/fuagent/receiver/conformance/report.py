"""A report as text for a person, as JSON for a program, and as JUnit XML for a build server."""

from __future__ import annotations

from collections.abc import Iterator
from os.path import commonprefix
from typing import Any
from xml.etree import ElementTree as ET

from fuagent.receiver.conformance.findings import Finding, Grade, Left, Report, Result

_WORDS = {Result.PASSED: "ok", Result.FAILED: "FAIL"}


def text(report: Report) -> str:
    """One line per probe, the details of what failed below it, and at the end what was left behind."""
    lines = [f"document  {report.document}"]
    lines += [f"batches   POST {report.batch_url}"] if report.batch_url else []
    lines += [f"status    GET {report.status_url}"] if report.status_url else []
    lines.append("")
    for one in report.findings:
        lines += _lines(one)
    lines += _skipped(report)
    return "\n".join([*lines, "", summary(report), left(report.left)])


def _lines(one: Finding) -> Iterator[str]:
    about = one.about
    if one.result is not Result.SKIPPED:
        yield f"{_WORDS[one.result]:<4}  {about.grade:<6}  {about.id:<23}  {about.statement}"
    if one.failed:
        for word, told in _details(one).items():
            yield f"{'':<14}{word:<5}  {told}"


def _skipped(report: Report) -> Iterator[str]:
    """One line per reason: it is mostly the same for many probes."""
    reasons: dict[str, list[str]] = {}
    for one in report.findings:
        if one.result is Result.SKIPPED:
            reasons.setdefault(one.why, []).append(one.about.id)
    for why, ids in reasons.items():
        yield f"skip  {', '.join(ids)}"
        yield f"{'':<14}{why}"


def _details(one: Finding) -> dict[str, str]:
    """What a person wants to know of a probe that failed, without the empty ones."""
    told = {
        "sent": one.sent,
        "came": one.came,
        "asked": f"{one.asked} (section {one.about.section} of the contract)",
        "why": one.why,
        "mend": one.about.mend,
    }
    return {word: value for word, value in told.items() if value}


def summary(report: Report) -> str:
    """How many probes passed, failed in each grade, and were skipped."""
    failed = [f"{count} {grade} failed" for grade in Grade if (count := len(report.failed(grade)))]
    parts = [f"{report.count(Result.PASSED)} passed", *(failed or ["none failed"])]
    parts.append(f"{report.count(Result.SKIPPED)} skipped")
    return f"{', '.join(parts)}: the contract is {'kept' if report.keeps_the_contract else 'NOT kept'}."


def left(what: Left) -> str:
    """What the service has now and had not before."""
    if not what.tasks:
        return "Nothing was left behind: no batch was taken."
    tasks, agents = _named("task", what.tasks), _named("agent", what.agents)
    return f"Left behind at the service: {what.rows} rows taken (many of them repeats), of {tasks}, {agents}."


def _named(word: str, ids: list[str]) -> str:
    if len(ids) == 1:
        return f"{word} {ids[0]}"
    return f"{len(ids)} {word}s whose ids begin with {commonprefix(ids)}"  # noqa: RUF071 - no paths


def tree(report: Report) -> dict[str, Any]:
    """The report as plain values, for JSON."""
    return {
        "document": report.document,
        "batch_url": report.batch_url,
        "status_url": report.status_url,
        "keeps_the_contract": report.keeps_the_contract,
        "counts": {str(result): report.count(result) for result in Result},
        "findings": [_branch(one) for one in report.findings],
        "left_behind": {
            "task_ids": report.left.tasks,
            "agent_ids": report.left.agents,
            "rows": report.left.rows,
        },
    }


def _branch(one: Finding) -> dict[str, str]:
    about = one.about
    return {
        "id": about.id,
        "section": about.section,
        "grade": str(about.grade),
        "statement": about.statement,
        "result": str(one.result),
        "why": one.why,
        "sent": one.sent,
        "came": one.came,
        "asked": one.asked,
        "mend": about.mend if one.failed else "",
    }


def junit(report: Report) -> bytes:
    """JUnit XML: a failure for each *must*; what *should* or would be *nice* is a skipped case that says why."""
    cases = report.findings
    failures = report.failed(Grade.MUST)
    counts = {
        "tests": str(len(cases)),
        "failures": str(len(failures)),
        "errors": "0",
        "skipped": str(len(report.failed()) - len(failures) + report.count(Result.SKIPPED)),
    }
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": "fuagent conformance", **counts})
    for one in cases:
        name = f"{one.about.id} {one.about.statement}"
        case = ET.SubElement(suite, "testcase", {"classname": f"conformance.{one.about.grade}", "name": name})
        if one.failed:
            told = "\n".join(f"{word}: {value}" for word, value in _details(one).items())
            is_must = one.about.grade is Grade.MUST
            where = ET.SubElement(case, "failure" if is_must else "skipped", {"message": one.why or one.asked})
            where.text = told
        elif one.result is Result.SKIPPED:
            ET.SubElement(case, "skipped", {"message": one.why})
    ET.SubElement(suite, "system-out").text = left(report.left)
    ET.indent(suites)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True))
