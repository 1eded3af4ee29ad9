"""What became of a run of changes: the events of it that are sent, and the count of those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fuagent.encode.compile import Encoder, Values
from fuagent.encode.transform import Unfit


@dataclass(slots=True)
class Events:
    """What became of a run: events, their indexes, and how many images the sync's settings keep back.

    ``refused``: why this one event cannot be sent; ``among``: whether others of its run can.
    """

    texts: Sequence[bytes] = ()
    indexes: Sequence[int] = ()
    left_out: int = 0
    refused: str = ""
    among: bool = False
    marks: frozenset[int] = frozenset()
    """Which of the events are a key alone: no row that a transform could take."""


def parts(encoder: Encoder, done: Events, *, numbered: bool) -> list[Events]:
    """Events through the transform; one it failed on is a part of its own, so that it can be set aside alone."""
    made = [Events(left_out=done.left_out)]
    numbers = done.indexes or [0] * len(done.texts)
    texts: list[bytes] = []
    indexes: list[int] = []

    def close() -> None:
        made[-1].texts, made[-1].indexes = list(texts), list(indexes) if done.indexes else ()
        texts.clear()
        indexes.clear()

    rows = [place for place in range(len(numbers)) if place not in done.marks]
    through = encoder.transformed(
        [done.texts[place] for place in rows], [numbers[place] for place in rows] if numbered else None
    )
    results: dict[int, bytes | Unfit | None] = dict(zip(rows, through, strict=True))
    among = any(isinstance(one, bytes) for one in through)
    for place, at in enumerate(numbers):
        text = results.get(place, done.texts[place])
        if text is None:
            made[0].left_out += 1
        elif isinstance(text, Unfit):
            close()
            made += [Events([text.text], [at] if done.indexes else (), refused=text.reason, among=among), Events()]
        else:
            texts.append(text)
            indexes.append(at)
    close()
    return made


def stored(encoder: Encoder, rows: Sequence[Values]) -> list[Events]:
    """Rows as a snapshot finds them: those that meet the sync's condition, as events without numbers."""
    wanted = rows
    if encoder.where is not None:
        wanted = [row for row, fits in zip(rows, encoder.fits(rows), strict=True) if fits]
    done = Events(encoder.rows(wanted) if wanted else ())
    return [done] if encoder.transform is None else parts(encoder, done, numbered=False)
