"""Takes over into the corpus what `fuzz.py` found, as far as it reaches lines that nothing kept reaches: ``fuzz_keep.py [TARGET…]``."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz_targets import TARGETS

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
FOUND = HERE.parents[1] / ".cache" / "fuzz"
PACKAGE = str(HERE.parents[1] / "src" / "fuagent")


def reached(target: Callable[[bytes], None], data: bytes) -> set[tuple[str, int, int]]:
    """The steps from line to line that a target takes in the package."""
    steps: set[tuple[str, int, int]] = set()

    def step(name: str, before: int) -> Any:
        def line(frame: FrameType, event: str, _: object) -> Any:
            nonlocal before
            if event == "line":
                steps.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    def call(frame: FrameType, _event: str, _: object) -> Any:
        name = frame.f_code.co_filename
        return step(name, frame.f_lineno) if name.startswith(PACKAGE) else None

    sys.settrace(call)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return steps


def keep(name: str) -> int:
    """Take over for one target; gives how many files its corpus has then."""
    corpus, target = CORPUS / name, TARGETS[name]
    known = set().union(*(reached(target, path.read_bytes()) for path in sorted(corpus.iterdir())))
    for data in sorted((path.read_bytes() for path in (FOUND / name).iterdir()), key=len):
        new = reached(target, data) - known
        if new:
            known |= new
            (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return len(list(corpus.iterdir()))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or TARGETS:
        sys.stdout.write(f"{chosen}: {keep(chosen)} files\n")
