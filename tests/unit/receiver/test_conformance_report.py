"""The three shapes of a report, and what a person finds in them."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from fuagent.receiver.conformance import About, Finding, Grade, Left, Report, Result
from fuagent.receiver.conformance.report import junit, summary, text, tree

MUST = About("3-end-marker", "3", Grade.MUST, "An end marker is taken.", "Answer 200 to it.")
SHOULD = About("3-empty", "3", Grade.SHOULD, "A batch without events is taken.", "Answer 200 & do nothing.")
NICE = About("4-json-answer", "4", Grade.NICE, "An answer says what it is.", "Send Content-Type.")
STATUS = About("2.2-checkpoint", "2.2", Grade.MUST, "There is a checkpoint.", "Store it.")
PATH = About("2.1-path", "2.1", Grade.MUST, "The path is in the document.", "Describe it.")

BROKEN = Finding(MUST, Result.FAILED, "500: an error", "POST http://h/x  {}", '500 <b>"no"</b>', "it is 2xx")
WORSE = Finding(SHOULD, Result.FAILED, "", "POST http://h/x  {}", "422 ]]>", "it is 2xx")
LEFT = Left(["t-1", "t-2"], ["a-1"], 7)


def report(*findings: Finding, left: Left | None = None) -> Report:
    """These findings about one service."""
    return Report("http://h/openapi.json", "http://h/x", "", findings, left or Left())


ALL = report(
    Finding(PATH, Result.PASSED), BROKEN, WORSE, Finding(STATUS, Result.SKIPPED, "no status endpoint"), left=LEFT
)


def test_the_text_says_what_broke_and_how_to_mend_it() -> None:
    """One line per probe, details below those that failed, reasons for those left out, and what was left behind."""
    assert text(ALL).splitlines() == [
        "document  http://h/openapi.json",
        "batches   POST http://h/x",
        "",
        "ok    must    2.1-path                 The path is in the document.",
        "FAIL  must    3-end-marker             An end marker is taken.",
        "              sent   POST http://h/x  {}",
        '              came   500 <b>"no"</b>',
        "              asked  it is 2xx (section 3 of the contract)",
        "              why    500: an error",
        "              mend   Answer 200 to it.",
        "FAIL  should  3-empty                  A batch without events is taken.",
        "              sent   POST http://h/x  {}",
        "              came   422 ]]>",
        "              asked  it is 2xx (section 3 of the contract)",
        "              mend   Answer 200 & do nothing.",
        "skip  2.2-checkpoint",
        "              no status endpoint",
        "",
        "1 passed, 1 must failed, 1 should failed, 1 skipped: the contract is NOT kept.",
        "Left behind at the service: 7 rows taken (many of them repeats), of 2 tasks whose ids begin with t-, agent a-1.",
    ]


def test_a_probe_left_out_shares_its_line_with_others() -> None:
    """One reason is told once, whatever it kept from being asked."""
    skipped = [Finding(about, Result.SKIPPED, "nobody there") for about in (MUST, STATUS)]

    assert text(report(*skipped)).count("nobody there") == 1
    assert "skip  3-end-marker, 2.2-checkpoint\n" in text(report(*skipped))


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([Finding(MUST, Result.PASSED)], "1 passed, none failed, 0 skipped: the contract is kept."),
        ([WORSE], "0 passed, 1 should failed, 0 skipped: the contract is kept."),
        ([BROKEN, WORSE], "0 passed, 1 must failed, 1 should failed, 0 skipped: the contract is NOT kept."),
        ([Finding(NICE, Result.FAILED)], "0 passed, 1 nice failed, 0 skipped: the contract is kept."),
    ],
)
def test_only_a_must_breaks_the_contract(findings: list[Finding], said: str) -> None:
    """The summary counts each grade by itself."""
    assert summary(report(*findings)) == said


def test_nothing_left_behind_is_said_too() -> None:
    """A service that took no batch is as it was."""
    assert text(report(BROKEN)).splitlines()[-1] == "Nothing was left behind: no batch was taken."


def test_the_json_has_everything() -> None:
    """Each finding with its texts, the counts, and every id that was used."""
    read = json.loads(json.dumps(tree(ALL)))

    assert read["keeps_the_contract"] is False
    assert read["counts"] == {"passed": 1, "failed": 2, "skipped": 1}
    assert read["left_behind"] == {"task_ids": ["t-1", "t-2"], "agent_ids": ["a-1"], "rows": 7}
    assert read["findings"][1] == {
        "id": "3-end-marker",
        "section": "3",
        "grade": "must",
        "statement": "An end marker is taken.",
        "result": "failed",
        "why": "500: an error",
        "sent": "POST http://h/x  {}",
        "came": '500 <b>"no"</b>',
        "asked": "it is 2xx",
        "mend": "Answer 200 to it.",
    }
    assert read["findings"][0]["mend"] == ""


def test_the_xml_fails_for_a_must_and_explains_the_rest() -> None:
    """A build server sees one failure; what should be is a skipped case with its reason."""
    [suite] = ET.fromstring(junit(ALL))
    cases = suite.findall("testcase")

    assert suite.attrib == {
        "name": "fuagent conformance",
        "tests": "4",
        "failures": "1",
        "errors": "0",
        "skipped": "2",
    }
    assert [[inner.tag for inner in case] for case in cases] == [[], ["failure"], ["skipped"], ["skipped"]]
    assert cases[1][0].attrib == {"message": "500: an error"}
    assert 'came: 500 <b>"no"</b>' in (cases[1][0].text or "")
    assert cases[2][0].attrib == {"message": "it is 2xx"}
    assert cases[3][0].attrib == {"message": "no status endpoint"}
    assert "7 rows" in suite.findtext("system-out", "")
