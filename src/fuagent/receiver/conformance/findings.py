"""What the judge says: one finding per probe, and all of them as a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Grade(StrEnum):
    """How much a probe matters."""

    MUST = "must"
    """The contract asks for it, or the agent cannot deliver without it."""
    SHOULD = "should"
    """Works without it until something goes wrong."""
    NICE = "nice"
    """Makes the service easier to live with."""


class Result(StrEnum):
    """What became of a probe."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class About:
    """What a probe is about: its name, the section of the contract, what is asked for, and how to mend it."""

    id: str
    section: str
    grade: Grade
    statement: str
    mend: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One probe and what became of it; texts from the service are cut to 200 characters, credentials covered."""

    about: About
    result: Result
    why: str = ""
    """What was wrong, or why it was skipped."""
    sent: str = ""
    came: str = ""
    asked: str = ""
    """What the contract asks of this very answer."""

    @property
    def failed(self) -> bool:
        """Whether the service broke the statement."""
        return self.result is Result.FAILED


@dataclass(slots=True)
class Left:
    """What the judge left behind at the service."""

    tasks: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    rows: int = 0
    """Events in batches that were taken; many are the same few rows again."""

    def note(self, task: str, agent: str, rows: int) -> None:
        """One batch was taken."""
        if task not in self.tasks:
            self.tasks.append(task)
        if agent not in self.agents:
            self.agents.append(agent)
        self.rows += rows


@dataclass(frozen=True, slots=True)
class Report:
    """Every finding, in the order of the probes; the URLs are without query."""

    document: str
    batch_url: str
    status_url: str
    findings: tuple[Finding, ...]
    left: Left

    def failed(self, grade: Grade | None = None) -> tuple[Finding, ...]:
        """The findings that failed; of one grade, if one is given."""
        return tuple(one for one in self.findings if one.failed and grade in {None, one.about.grade})

    def count(self, result: Result) -> int:
        """How many ended like this."""
        return sum(one.result is result for one in self.findings)

    @property
    def keeps_the_contract(self) -> bool:
        """Whether no *must* failed."""
        return not self.failed(Grade.MUST)
