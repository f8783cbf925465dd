"""Two unequal engines and tasks of mixed length are as quick as the greedy schedule of the same durations."""

import random
from statistics import fmean

import pytest
from house import Engine, House
from schedule import Interval, greedy_s, longest_wait_s

from disbatch.core.driver_events import Ending
from disbatch.core.engine_events import Job
from disbatch.core.fleet import Fleet

SLOTS = [2, 8]
RTT_S = 0.0005


class Mixed(House):
    """Durations from 10 ms to 5 s, on a quick network: first many short ones, which make engines hold tasks ahead."""

    def __init__(self, seed: int, count: int, durations: list[float] | None = None) -> None:
        chance = random.Random(seed)
        short = [0.01 * 2 ** chance.random() for _ in range(count // 2)]
        mixed = [0.01 * 500 ** chance.random() for _ in range(count // 2)]
        self.durations = durations or short + mixed
        self.finished_s = 0.0
        self.runs: list[Interval] = []
        super().__init__(seed, b"\n".join(b"t%d" % n for n in range(count)), SLOTS)

    def delay(self) -> float:
        return RTT_S / 2

    def duration(self, job: Job) -> float:
        seconds = self.durations[job.task_id]
        self.finished_s = max(self.finished_s, self.now + seconds)
        self.runs.append(Interval(self.running_on, self.now, self.now + seconds))
        return seconds

    def check_start(self, engine: Engine, job: Job) -> None:
        super().check_start(engine, job)
        self.running_on = engine.rank


def measure(house: Mixed) -> tuple[float, float]:
    """The makespan as a ratio to the greedy schedule, and the longest wait of a task beside a free slot."""
    assert house.run() is Ending.COMPLETE and house.recorded == house.tasks
    greedy = greedy_s(house.durations, sum(SLOTS))
    return house.finished_s / greedy, longest_wait_s(house.runs, dict(enumerate(SLOTS)))


@pytest.mark.parametrize("count", [20, 40, 60, 100, 200, 400])
def test_a_list_takes_as_long_as_the_greedy_schedule(count: int) -> None:
    ratios, waits = zip(*[measure(Mixed(seed, count)) for seed in range(40)], strict=True)
    assert max(ratios) < 1.05 and fmean(ratios) < 1.005
    assert max(waits) < 0.2


def test_nothing_waits_beside_a_free_slot_because_it_is_recalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of which each slot has one more at hand: at the end of the list, the ones ahead are too many in one place."""

    def waits() -> list[float]:
        found = []
        for seed in range(20):
            chance = random.Random(seed)
            durations = [chance.uniform(0.1, 0.19) for _ in range(45)]
            found.append(measure(Mixed(seed, 45, durations))[1])
        return found

    with_recall = max(waits())
    monkeypatch.setattr(Fleet, "recalls", lambda fleet: [])
    assert with_recall < 0.01 and max(waits()) > 0.03
