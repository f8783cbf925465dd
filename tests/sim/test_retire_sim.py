"""Whole runs in which nodes are given back early: nothing is lost, and no engine leaves that could have helped."""

import random

import pytest
from house import Engine, House
from test_house import a_list, mean_s, slots

from disbatch.core.driver_events import Ending
from disbatch.core.messages import Down

SEEDS = range(150)


class Retiring(House):
    """All nodes but the first can be given back. Notes which engines were told to leave while the run went on."""

    def __init__(self, seed: int, text: bytes, counts: list[int], **more: object) -> None:
        super().__init__(seed, text, counts, retires=range(1, len(counts)), **more)  # type: ignore[arg-type]
        self.left_early: set[int] = set()

    def carry_to_engine(self, engine: Engine, message: Down) -> None:
        if message.stop and self.driver.ending is None:
            assert engine.rank in self.retires
            assert not self.driver.ledger.ready and self.driver.list_ended
            self.left_early.add(engine.rank)
        super().carry_to_engine(engine, message)


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_done_once_although_engines_leave(seed: int) -> None:
    text, codes = a_list(seed)
    house = Retiring(seed, text, slots(seed), codes=codes, mean_s=mean_s(seed))
    assert house.run() is Ending.COMPLETE
    assert house.recorded == house.tasks
    assert set(count for (kind, _, _), count in house.spawned.items() if kind == "T") <= {1}


@pytest.mark.parametrize("seed", range(30))
def test_a_long_last_task_sets_all_others_free(seed: int) -> None:
    class LongTail(Retiring):
        def duration(self, job: object) -> float:
            return 1000.0 if job.command == b"long" else random.Random(seed).random()

    counts = [*slots(seed), 2, 2]
    house = LongTail(seed, b"#DISBATCH REPEAT 40 x\nlong", counts)
    assert house.run() is Ending.COMPLETE
    assert len(house.left_early) >= len(counts) - 2  # all but the first, and the one that has the long one
