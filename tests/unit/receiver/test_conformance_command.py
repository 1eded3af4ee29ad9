"""``fuagent conformance`` as a program: where secrets come from, what it prints and what it ends with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from broken_service import KEY, PASSWORD, USER, BrokenService
from typer.testing import CliRunner

from fuagent import cli
from harness import nursery

FEW = ("--rows", "10")


async def program(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """The real program to its end: exit code, standard output, standard error."""
    return await nursery.call(["conformance", *arguments], os.environ | environment)


async def test_a_service_that_keeps_the_contract_ends_with_0() -> None:
    """The key comes from the environment, and is printed nowhere."""
    async with BrokenService() as service:
        code, out, err = await program(f"{service.url}/openapi.json", "--key", "env:THE_KEY", *FEW, THE_KEY=KEY)

    assert (code, err) == (0, "")
    assert "none failed, 0 skipped: the contract is kept." in out
    assert "Left behind at the service: " in out.splitlines()[-1]
    assert KEY not in out


async def test_a_broken_must_ends_with_1_and_is_written_everywhere(tmp_path: Path) -> None:
    """JSON on standard output and JUnit XML in a file; the password comes from a file."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    async with BrokenService("400 on the end marker", basic=True) as service:
        code, out, err = await program(
            *(f"{service.url}/openapi.json", "--user", USER, "--password", f"file:{tmp_path / 'password'}"),
            *("--json", "--junit", str(tmp_path / "junit.xml"), "--task-id", "known", *FEW),
        )

    told = json.loads(out)
    assert (code, err) == (1, "")
    assert [one["id"] for one in told["findings"] if one["result"] == "failed"] == ["3-end-marker"]
    assert told["left_behind"]["task_ids"][0] == "known"
    assert len(ET.parse(tmp_path / "junit.xml").findall(".//failure")) == 1
    assert PASSWORD not in out + (tmp_path / "junit.xml").read_text()


async def test_what_only_should_be_ends_with_0() -> None:
    """It is said, and a build does not fail for it."""
    async with BrokenService("500 on an empty batch") as service:
        code, out, _ = await program(service.url, "--key", "env:THE_KEY", *FEW, THE_KEY=KEY)

    assert code == 0
    assert "FAIL  should  3-empty" in out


async def test_nobody_at_home_ends_with_2() -> None:
    """What happened, where, and what to do, on standard error."""
    async with BrokenService() as service:
        gone = service.url
    code, out, err = await program(gone)

    assert (code, out) == (2, "")
    assert err.startswith(f"error: {gone}: cannot be reached: ")
    assert "\nfix: start the service" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--key", "hunter2"), "write env:NAME or file:PATH"),
        (("--key", "env:"), "write env:NAME or file:PATH"),
        (("--key", "env:hunter2"), "no such variable"),
        (("--key", "env:EMPTY"), "the value is empty"),
        (("--key", "file:none"), "the file cannot be used"),
        (("--user", "me"), "--key, or --user and --password"),
        (("--password", "env:SOME"), "--key, or --user and --password"),
        (("--key", "env:SOME", "--user", "me", "--password", "env:SOME"), "--key, or --user and --password"),
        (("--rows", "0"), "--rows"),
    ],
)
def test_what_makes_no_sense_ends_with_2(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The text says what to write instead, and a secret that stands there by mistake is not repeated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("SOME", "text")
    result = CliRunner().invoke(cli.application, ["conformance", "http://127.0.0.1:1", *arguments])

    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert "hunter2" not in result.output


async def test_a_report_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The findings are printed all the same."""
    async with BrokenService() as service:
        code, out, err = await program(
            service.url, "--key", "env:THE_KEY", "--junit", str(tmp_path / "no" / "x.xml"), *FEW, THE_KEY=KEY
        )

    assert code == 2
    assert "the contract is kept" in out
    assert "x.xml: No such file or directory" in " ".join(err.split())
