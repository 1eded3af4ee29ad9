"""Values kept by what they were made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

MOST = 100_000
"""Entries after which a cache starts anew: some 20 MB where keys and values are short."""


class Cached(dict[Given, Made]):
    """``cached[key]`` is ``make(key)``, kept for the next time; emptied when it holds ``most`` entries.

    Finding a kept value costs about a third of calling a function of Python's.
    """

    __slots__ = ("_make", "_most")

    def __init__(self, make: Callable[[Given], Made], most: int = MOST) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, key: Given) -> Made:
        made = self._make(key)
        if len(self) >= self._most:
            self.clear()
        self[key] = made
        return made
