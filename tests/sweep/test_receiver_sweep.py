"""Many lives of the receiver kit, on each store that lasts; the report is kept as evidence."""

import os
from pathlib import Path

import pytest

from harness import killing_receivers

KILLS = int(os.environ.get("KILLS", "200"))
STORES = (os.environ.get("STORE") or "sqlite postgres mariadb redis").split()
LIVES = 20
SEEDS = range(1, max(1, KILLS // LIVES) + 1)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("seed", SEEDS)
async def test_rows_and_checkpoint_agree(store: str, seed: int, tmp_path: Path, copy, request) -> None:
    """Twenty kills on a database of its own, half of them with a large table so that the snapshot is cut often."""
    redis = request.getfixturevalue("redis").url() if store == "redis" else ""
    rows = 3000 if seed % 2 else 100
    report = await killing_receivers.run(tmp_path, copy("sqlite" if redis else store), LIVES, seed, rows, redis)

    if evidence := os.environ.get("EVIDENCE"):
        path = Path(evidence) / f"receiver-kills-{store}.txt"
        with path.open("w" if seed == SEEDS[0] else "a") as file:
            file.write(
                f"seed {report.seed}: {report.kills} kills (the batch under way: {dict(report.moments)}),"
                f" {report.changes} changes, {report.batches} batches, faults: {report.faults or 'none'}\n"
            )
    assert report.faults == [], report
