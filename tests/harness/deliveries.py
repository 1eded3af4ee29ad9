"""An agent that delivers a table's life to a receiver's store, and a network that repeats, delays and cuts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fuagent.contract.payload import Payload
from fuagent.receiver.rows import RowType
from fuagent.receiver.service import Answer, Route, receive
from fuagent.receiver.store import Store, Target

AGENT = "agent-0123456789ab"
TASK = "orders"
ROWS = RowType(dict[str, Any], ["id"], "_deleted")
ROUTE = Route(TASK, Target(TASK, ("id",)), ROWS, sweep=True)

Sent = tuple[Payload, str]


def payload(*events: dict[str, Any], end: bool = False, suggested: bool = False, agent_id: str = AGENT) -> Payload:
    return Payload(agent_id, TASK, end, suggested, events)


@dataclass
class Life:
    """Changes of a table, as far as they are delivered, and what the store must then hold.

    Each change is an index, an id, and a value or None for a delete. Without ``marks`` deletes are not sent.
    """

    store: Store
    changes: list[tuple[int, int, int | None]]
    marks: bool
    done: int = 0
    highest: int = 0
    start: int = 0x18C0
    run: int = 1
    number: int = 0
    expected: dict[int, int] = field(default_factory=dict)
    runs: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The start and run in which each row came last."""
    last: tuple[int, int] = (0, 0)
    """Those of the last batch that had anything new."""
    past: list[Sent] = field(default_factory=list)
    """Everything sent since the agent started last."""

    def send(self, *events: dict[str, Any], end: bool = False) -> Answer:
        """The next batch, which is always applied."""
        self.number += 1
        sent = payload(*events, end=end), f"{self.start:x}.{self.run}.{self.number}"
        self.past.append(sent)
        return receive(self.store, ROUTE, *sent)

    def stream(self, count: int) -> None:
        """Up to ``count`` changes in one batch."""
        part = self.changes[self.done : self.done + count]
        events: list[dict[str, Any]] = []
        for index, key, value in part:
            if value is not None:
                events.append({"id": key, "value": value, "index": index})
            elif self.marks:
                events.append({"id": key, "_deleted": True, "index": index})
        if events:
            self.send(*events)
        self.done += len(part)
        if any(event["index"] > self.highest for event in events):
            self.last = self.start, self.run
        for index, key, value in part:
            if value is not None and index > self.highest:
                self.expected[key] = value
                self.runs[key] = self.last
            elif value is None and self.marks and index > self.highest:
                self.expected.pop(key, None)
        self.highest = max([self.highest, *(event["index"] for event in events)])

    def repeat(self, which: int) -> None:
        """An attempt of an earlier batch that finishes only now."""
        if self.past:
            receive(self.store, ROUTE, *self.past[which % len(self.past)])

    def restart(self, back: int) -> None:
        """A new start of the agent, which reads its log again from a place further back."""
        self.start += 1
        self.number = 0
        self.run += 1
        self.done = max(0, self.done - back)
        self.past.clear()

    def snapshot(self, cut: int) -> None:
        """The whole table as it is where the changes stand, one row per batch, perhaps begun twice; then the marker."""
        while self.done < len(self.changes) and self.changes[self.done][0] <= self.highest:
            self.stream(1)
        truth: dict[int, int] = {}
        for _, key, value in self.changes[: self.done]:
            if value is None:
                truth.pop(key, None)
            else:
                truth[key] = value
        rows = [{"id": key, "value": value} for key, value in truth.items()]
        self.run += 1
        for row in rows[: cut % (len(rows) + 1)]:
            self.send(row)
        self.run += 1
        for row in rows:
            self.send(row)
        self.send(end=True)
        if rows:
            self.expected, self.last = truth, (self.start, self.run)
            self.runs = dict.fromkeys(truth, self.last)
        else:  # of a table that is empty now, a marker alone is no proof: what came last stays
            self.expected = {key: value for key, value in self.expected.items() if self.runs[key] == self.last}
        self.run += 1
