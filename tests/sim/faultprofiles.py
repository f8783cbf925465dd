"""Plans that go for one weak spot each, for every third seed. What chance alone brings together too rarely stands here:
a few kinds of faults, and a list and a pace at which they meet. They have a chance of their own, so that the other seeds
are what they were."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from faults import (
    FAULTS,
    Fault,
    break_connection,
    cut,
    fill_disk,
    freeze_both,
    freeze_driver,
    freeze_engine,
    freeze_guard,
    join,
    kill_both,
    kill_context,
    kill_driver,
    kill_engine,
    kill_launcher,
    lose_way,
)

if TYPE_CHECKING:
    from faultplan import Plan


def focus(plan: "Plan", seed: int) -> None:
    """Changes a plan that is there, by its profile."""
    chance = random.Random(seed ^ 0xF0C05)
    profile = LATER.get(seed % 15) or PROFILES[seed // 3 % len(PROFILES)]
    plan.focus = profile.__name__
    plan.quarantine = 0
    plan.faults_s = chance.choice((8.0, 20.0))
    profile(plan, chance)


def _only(plan: "Plan", *faults: Fault) -> None:
    plan.faults = [FAULTS.index(fault) for fault in faults]


def read_late(plan: "Plan", chance: random.Random) -> None:
    """Drivers that take over have the list late, and engines connect again and again: what they say of it has to wait."""
    plan.reattach = True
    plan.reading_s = (0.5, 1.0, 2.0)
    plan.text += b"\n#DISBATCH REPEAT %d r" % chance.choice((0, 100))
    plan.pause_s = 0.2
    plan.mean_s = chance.choice((0.3, 1.0, 3.0))
    plan.lease_s = 10.0
    plan.engines = 2
    other = chance.choice((cut, fill_disk, freeze_engine, kill_engine))
    _only(plan, kill_driver, *10 * [break_connection], other)


def stalled(plan: "Plan", chance: random.Random) -> None:
    """Drivers that take over stand still until their time of claims is over, and are told all of it then."""
    plan.reattach = plan.stalls = True
    plan.pause_s = 1.0
    plan.mean_s = 3.0
    plan.lease_s = chance.choice((2.0, 4.0))
    _only(plan, kill_driver, freeze_driver)


def between_drivers(plan: "Plan", chance: random.Random) -> None:
    """Engines, guards and contexts die while there is no driver, or just before."""
    plan.reattach = plan.between = True
    plan.pause_s = 1.0
    plan.mean_s = 20.0
    plan.lease_s = chance.choice((4.0, 10.0))
    plan.engines = 4
    plan.per_context = (2, 3)
    other = chance.choice((kill_engine, freeze_guard, kill_launcher, kill_context))
    _only(plan, kill_driver, kill_both, other)


def silent(plan: "Plan", chance: random.Random) -> None:
    """Machines stand still while a driver dies and for the whole time of claims of the next."""
    plan.reattach = plan.between = True
    plan.pause_s = 0.5
    plan.mean_s = 20.0
    plan.lease_s = 4.0
    plan.per_context = (2, 3)
    _only(plan, kill_driver, *6 * [freeze_both])


def never_answered(plan: "Plan", chance: random.Random) -> None:
    """Engines whose first word is heard, and that hear none themselves for longer than a lease."""
    plan.lease_s = 2.0
    plan.mean_s = 3.0
    plan.slow = 0.1
    plan.pause_s = chance.choice((0.1, 0.3))
    _only(plan, cut, break_connection, chance.choice((freeze_engine, freeze_both, join)))


def started_again(plan: "Plan", chance: random.Random) -> None:
    """Launchers die whose engines stand still, and others are started on these nodes."""
    plan.reattach = False
    plan.lease_s = 10.0
    plan.mean_s = 20.0
    plan.pause_s = 0.3
    plan.engines = 4
    plan.sweeps_fail = 0.8
    _only(plan, freeze_engine, freeze_engine, kill_launcher)


def late_answers(plan: "Plan", chance: random.Random) -> None:
    """Answers come late to engines that are cut off soon after, and whose tasks are long."""
    plan.reattach = False
    plan.lease_s = 10.0
    plan.faults_s = 60.0
    plan.mean_s = 20.0
    plan.slow = chance.choice((0.1, 0.3))
    plan.pause_s = 3.0
    plan.engines = 4
    plan.sweeps_fail = 0.8
    _only(plan, cut, cut, lose_way)


def full_disk(plan: "Plan", chance: random.Random) -> None:
    """Results wait for a disk, and engines for the word that they are written."""
    plan.mean_s = chance.choice((0.01, 0.3))
    plan.pause_s = 1.0
    plan.engines = chance.choice((2, 4))
    _only(plan, fill_disk, chance.choice((break_connection, freeze_engine, kill_driver)))


def copied(plan: "Plan", chance: random.Random) -> None:
    """A long list is resumed: what is copied from the files before waits for a disk."""
    plan.reattach = False
    plan.text = b"\n".join([b"#DISBATCH REPEAT 400 r"])
    plan.most_waiting = 16
    plan.mean_s = 0.01
    plan.reading_s = (0.0, 0.1, 0.5)
    plan.pause_s = 1.0
    plan.engines = 4
    _only(plan, fill_disk, fill_disk, kill_driver)


def repeated(plan: "Plan", chance: random.Random) -> None:
    """Messages come twice, and the second time late."""
    plan.repeats = 0.3
    plan.slow = chance.choice((0.1, 0.3))
    plan.pause_s = chance.choice((0.3, 1.0))
    _only(plan, break_connection, chance.choice((cut, freeze_engine, kill_engine, kill_driver)))


def killers(plan: "Plan", chance: random.Random) -> None:
    """Some tasks kill their engine, and nothing else does."""
    plan.lease_s = 10.0
    plan.slow = 0.0
    plan.mean_s = chance.choice((0.1, 1.0))
    plan.engines = chance.choice((1, 2, 4))
    plan.pause_s = 2.0
    _only(plan, break_connection, chance.choice((break_connection, fill_disk, kill_driver)))


def stands_still(plan: "Plan", chance: random.Random) -> None:
    """A driver is stopped for longer than the lease, on the machine of its engines, which wait for it."""
    plan.beside = True
    plan.reattach = False
    plan.lease_s = chance.choice((2.0, 4.0))
    plan.mean_s = chance.choice((1.0, 20.0))
    plan.slow = chance.choice((0.0, 0.3))
    plan.pause_s = chance.choice((0.3, 1.0))
    plan.engines = chance.choice((2, 4))
    plan.sweeps_fail = 0.8
    other = chance.choice((break_connection, freeze_engine, freeze_both, kill_engine))
    _only(plan, *4 * [freeze_driver], other)
    if chance.random() < 0.5:  # again and again, and never so long that it notices
        plan.shares, plan.lease_s, plan.mean_s = (0.1, 0.2), 2.0, 20.0
        plan.pause_s, plan.slow, plan.sweeps_fail = 0.2, 0.1, 0.9
        _only(plan, freeze_driver)


PROFILES: "list[Callable[[Plan, random.Random], None]]" = [
    read_late,
    stalled,
    between_drivers,
    silent,
    never_answered,
    started_again,
    late_answers,
    full_disk,
    copied,
    repeated,
]
# profiles that came later, by seed % 15: so the seeds of the others have kept theirs
LATER: "dict[int, Callable[[Plan, random.Random], None]]" = {5: killers, 11: stands_still}
