"""Events through a function of the user's: text to dict, the function, and back.

What the function sees is the event exactly as it would be sent, without its index; what it
gives is sent instead. It can leave a row out, and it can fail on one: neither moves an index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from fuagent.encode.plan import INDEX
from fuagent.model import Transform

Function = Callable[[dict[str, object]], object]


@dataclass(frozen=True, slots=True)
class Unfit:
    """An event the function failed on, as it was before, and why; the reason holds nothing of the row."""

    text: bytes
    reason: str


def transformed(
    transform: Transform, texts: Sequence[bytes], indexes: Sequence[int] | None
) -> list[bytes | Unfit | None]:
    """One result for each event: its new text, None to leave it out, or that it cannot be sent.

    Args:
        transform: The function and its name.
        texts: Events as JSON text, without an index.
        indexes: Their indexes, added to what the function gives; None for rows without.
    """
    # What it says it gives is not what it may give.
    function: Function = transform.function
    name = transform.name
    numbers = [0] * len(texts) if indexes is None else indexes
    return [_one(function, name, text, number) for text, number in zip(texts, numbers, strict=True)]


def _one(function: Function, name: str, text: bytes, number: int) -> bytes | Unfit | None:
    try:
        event = function(orjson.loads(text))
        if event is None:
            return None
        if not isinstance(event, dict) or INDEX in event:
            reason = "gave something other than a row" if not isinstance(event, dict) else "set index, which is not its"
            return Unfit(_numbered(text, number), f"transform {name} {reason}")
        return _numbered(orjson.dumps(event), number)
    except Exception as error:
        # The type alone: the message may hold values of the row.
        return Unfit(_numbered(text, number), f"transform {name} failed with {type(error).__name__}")


def _numbered(text: bytes, number: int) -> bytes:
    if not number:
        return text
    return b'%b%b"index":%d}' % (text[:-1], b"," if len(text) > len(b"{}") else b"", number)
