"""What chance decides once for a simulated run: its list, lease, pace, machines and faults."""

import random

from faultprofiles import LATER, focus
from faults import FAULTS, kill_driver

from disbatch.core.engine_events import Job
from disbatch.core.losses import LossPolicy
from disbatch.core.recorder import MOST_WAITING


class Plan:
    """What chance decides once for a run: its list, lease, pace and faults."""

    def __init__(self, seed: int, *, calm: bool = False) -> None:
        chance = random.Random(seed ^ 0x5EED)
        self.lease_s = chance.choice((2.0, 2.0, 4.0, 10.0))
        self.mean_s = chance.choice((0.01, 0.3, 1.0, 3.0))
        self.engines = chance.randint(1, 4)
        losses = chance.choice(("rerun",) * 5 + ("fail",)), chance.choice((1, 3, 50))
        self.repeats = chance.choice((0.0, 0.0, 0.05))
        self.reading_s = (
            0.0,
            0.001,
            chance.choice((0.0, 0.0, 0.5)),
        )  # one of them, until more of the list is there
        self.slow = chance.choice((0.0, 0.02, 0.1, 0.3))  # of messages that are late by seconds
        self.faults_s = 0.0 if calm else chance.choice((8.0, 20.0))
        self.pause_s = chance.choice((0.1, 0.3, 1.0, 4.0))  # between faults
        # a few kinds at a time find more than all of them at once, of which some hide what others do
        kinds = chance.choice((1, 2, 3, len(FAULTS)))
        self.faults = sorted(chance.sample(range(len(FAULTS)), kinds))
        checks = not calm and chance.random() < 0.15
        self.text = _a_list(chance, checks=checks)
        # a run whose engines were brought by contexts, and whose driver is started again beside them when it dies
        self.reattach = chance.random() < 0.4
        self.per_context = chance.choice(((1,), (1, 2, 3)))  # engines
        self.limit = chance.choice((0, 0, 3, 8))  # of tasks of such a context
        # failures in a row after which an engine is set aside
        self.quarantine = 0 if calm else chance.choice((0, 0, 0, 1, 2))
        if self.reattach and self.faults_s and chance.random() < 0.7:
            self.faults = sorted({*self.faults, FAULTS.index(kill_driver)})
        self.between = False  # whether faults come while there is no driver, too
        self.stalls = False  # whether drivers stand still soon after they have taken over
        self.most_waiting = MOST_WAITING  # rows, until the list is not read on
        self.sweeps_fail = 0.25  # where they could be done
        self.shares: tuple[float, ...] = (0.01, 0.1, 0.5, 1.0, 1.6)  # of the lease: how long faults last
        self.beside = False  # whether engines are on the machine of the driver, which has started them itself
        self.focus = ""  # the profile
        if not calm and (seed % 3 == 1 or seed % 15 in LATER):
            focus(self, seed)
        # how long messages come together before the driver reads them: longer than a real one lets them; not where a profile
        # goes for one weak spot, which that could hide
        self.gather_s = 0.0 if self.focus else (0.0, 0.02, 0.2)[seed // 3 % 3]
        self.guilty_share = 0.0
        if self.focus == "killers":
            losses = "rerun", 2 + seed % 2
            self.guilty_share = 0.15
        self.seed = seed
        self.policy = LossPolicy(self.lease_s, *losses)

    def code(self, job: Job) -> int:
        if job.kind != "T":
            return 0
        if self.quarantine:  # what fails in one place may go well in another
            return 1 if random.Random(b"%s %d" % (job.command, job.attempt)).random() < 0.4 else 0
        return 1 if job.command.endswith(b"7") else 0

    def guilty(self, task_id: int) -> bool:
        """Whether this task kills its engine, each time that it runs."""
        share = self.guilty_share
        return share > 0 and random.Random(self.seed << 20 | task_id).random() < share

    def duration(self, chance: random.Random) -> float:
        return chance.choice((0.0, 0.5, 1.0, chance.expovariate(1.0))) * self.mean_s


def _a_list(chance: random.Random, *, checks: bool) -> bytes:
    lines = [b"#DISBATCH PERENGINE START up"] * chance.choice((0, 0, 1))
    lines += [b"#DISBATCH PERENGINE STOP down"] * chance.choice((0, 0, 1))
    for number in range(chance.randint(1, 40)):
        what = chance.random()
        if what < 0.06:
            lines.append(b"#DISBATCH BARRIER" + (b" CHECK" if checks else b""))
        elif what < 0.09:
            lines.append(b"#DISBATCH REPEAT %d r%d" % (chance.randint(0, 30), number))
        else:
            lines.append(b"t%d" % number)
    return b"\n".join(lines)
