"""A receiver of the kit killed with SIGKILL at random moments, on every store that lasts."""

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from fuagent.contract import payload
from fuagent.receiver.service import receive
from harness import kept_orders, killing_receivers
from harness.passage import Batch
from harness.receiving import AGENT, batch

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "1"))
STORES = ["sqlite", "postgres", "mariadb"]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.fault("F90")
async def test_rows_and_checkpoint_agree_after_every_kill(store: str, tmp_path: Path, copy) -> None:
    """After each kill the copy is as before the batch under way or as behind it, and at last as the source."""
    kills = KILLS // len(STORES) + (STORES.index(store) < KILLS % len(STORES))

    report = await killing_receivers.run(tmp_path, copy(store), kills, SEED)

    assert report.faults == [], report
    assert report.kills == kills


async def test_no_checkpoint_is_ahead_of_its_rows_in_redis(tmp_path: Path, copy, redis) -> None:
    """Where rows and checkpoint are kept apart, rows may come twice, and the checkpoint is never first."""
    report = await killing_receivers.run(tmp_path, copy("sqlite"), KILLS // 4, SEED, redis=redis.url())

    assert report.faults == [], report
    assert report.kills == KILLS // 4


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE fuagent_state SET checkpoint = 7",
        "UPDATE orders SET ver = 3 WHERE id = 1",
        "DELETE FROM orders WHERE id = 2",
        "UPDATE orders SET fuagent_run = 'a.2'",
    ],
)
def test_the_judge_sees_what_does_not_belong_together(fault, tmp_path):
    """One row or the checkpoint alone from another moment is neither before nor behind the batch."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/copy.db", poolclass=sa.NullPool)
    store, judge = kept_orders.store(engine), killing_receivers.Judge(engine, AGENT)
    sent = [
        Batch(batch(kept_orders.TASK, *({"id": id_, "name": None, "price": 1.5, "ver": 1} for id_ in (1, 2))), "a.1.1"),
        Batch(batch(kept_orders.TASK, {"id": 1, "name": "b", "price": None, "ver": 2, "index": 6}), "a.1.2"),
    ]
    for one in sent:
        receive(store, judge.route, payload.read(one.body), one.key)
        one.status = 200
    assert judge.judge(sent) == ("none under way", "")
    open_ = Batch(batch(kept_orders.TASK, {"id": 1, "name": "b", "price": None, "ver": 3, "index": 7}), "a.1.3")
    assert judge.judge([*sent, open_]) == ("undone", "")

    with engine.begin() as connection:
        connection.execute(sa.text(fault))

    assert judge.judge([*sent, open_, open_])[0] == "wrong"
