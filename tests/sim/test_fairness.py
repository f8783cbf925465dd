"""Two unequal engines and tasks of mixed length are as quick as the greedy schedule of the same durations."""

import heapq
import random
from statistics import fmean

import pytest
from house import House

from disbatch.core.driver_events import Ending
from disbatch.core.engine_events import Job
from disbatch.core.fleet import Fleet

SLOTS = [2, 8]
RTT_S = 0.0005


class Mixed(House):
    """Durations from 10 ms to 5 s, on a quick network: first many short ones, which make engines hold tasks ahead."""

    def __init__(self, seed: int, count: int) -> None:
        chance = random.Random(seed)
        short = [0.01 * 2 ** chance.random() for _ in range(count // 2)]
        mixed = [0.01 * 500 ** chance.random() for _ in range(count // 2)]
        self.durations = short + mixed
        self.finished_s = 0.0
        super().__init__(seed, b"\n".join(b"t%d" % n for n in range(count)), SLOTS)

    def delay(self) -> float:
        return RTT_S / 2

    def duration(self, job: Job) -> float:
        seconds = self.durations[job.task_id]
        self.finished_s = max(self.finished_s, self.now + seconds)
        return seconds


def greedy_s(durations: list[float]) -> float:
    """The makespan of handing each task, in order, to the slot that is free first."""
    free = [0.0] * sum(SLOTS)
    for seconds in durations:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def ratio(seed: int, count: int) -> float:
    house = Mixed(seed, count)
    assert house.run() is Ending.COMPLETE and house.recorded == house.tasks
    return house.finished_s / greedy_s(house.durations)


@pytest.mark.parametrize("seed", range(20))
def test_a_long_list_takes_as_long_as_the_greedy_schedule(seed: int) -> None:
    assert ratio(seed, 400) < 1.05


def test_a_short_list_does_so_because_what_was_not_started_is_recalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_recall = [ratio(seed, 60) for seed in range(30)]
    assert fmean(with_recall) < 1.01
    monkeypatch.setattr(Fleet, "recalls", lambda fleet: [])
    without = [ratio(seed, 60) for seed in range(30)]
    assert fmean(without) > 1.05
    assert all(mine <= other + 1e-9 for mine, other in zip(with_recall, without, strict=True))
