"""Looks for bytes that a target does not stand, led by which code they reach; `make fuzz` runs it.

It starts from the kept corpus. What reaches code that nothing had reached before goes to ``.cache/fuzz/TARGET``, where
the next run goes on from (`fuzz_keep.py` takes it over into the corpus); bytes that break the target lie beside it, and
become a file of the corpus once the reader is mended.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fuagent"]):
    from fuzz_targets import TARGETS

HERE = Path(__file__).resolve().parent
FOUND = HERE.parents[1] / ".cache" / "fuzz"
LARGEST = 2048
"""Bytes of an input: what breaks a reader is small, and small inputs are tried more often."""


def main() -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    kept, found = HERE / "corpus" / chosen.target, FOUND / chosen.target
    for folder in (kept, found):
        folder.mkdir(parents=True, exist_ok=True)
    options = [f"-max_len={LARGEST}", "-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={FOUND}/{chosen.target}-"]
    options += [f"-dict={HERE / 'words.dict'}", f"-seed={chosen.seed}", "-print_final_stats=1"]
    options += [f"-max_total_time={60 * chosen.minutes:.0f}", str(found), str(kept)]
    atheris.Setup([sys.argv[0], *options], TARGETS[chosen.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
