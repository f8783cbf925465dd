"""Guards to take away, continued from mutants.py: of a driver that takes over, of what was found once, of limits and files."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from faultdisk import StatusFile
from faultsite import Site

from disbatch.core import context, fleet, losses, recorder, takeover
from disbatch.core.ledger import Ledger


@contextmanager
def patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Attributes of classes and modules, changed for a while."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def no_hold_at_takeover() -> Any:
    """What no engine claims is handed out at once by a driver that takes over."""

    def look(self: takeover.Takeover, now: Any, engines: Any) -> Any:
        asked = _LOOK(self, now, engines)
        self.active = False
        return asked

    return patched((takeover.Takeover, "look", look))


_LOOK = takeover.Takeover.look


def no_claims() -> Any:
    """What engines hold of the driver before counts for nothing."""
    return patched((takeover.Takeover, "claim", lambda self, engine, held: None))


def no_claims_ahead() -> Any:
    """Nor does what they hold of the part of the list that is not read yet."""
    return patched((takeover.Takeover, "take", lambda self, task: None))


def silent_engines_not_swept() -> Any:
    """An engine that has said nothing in the time of claims is held as gone."""

    def look(self: takeover.Takeover, now: Any, engines: Any) -> Any:
        _LOOK(self, now, engines)
        self._to_sweep.clear()
        self.active = self.active and now.mono_s < self._until
        return []

    return patched((takeover.Takeover, "look", look))


def context_not_asked() -> Any:
    """A context that comes back is taken to have left nothing of the engines that are gone."""
    return patched((Site, "clean", lambda self: True))


def early_reports_taken() -> Any:
    """Reports of tasks that a driver which takes over has not read yet are taken at once."""
    return patched((takeover.Takeover, "early", lambda self, reports: False))


def torn_line_written_on() -> Any:
    """A driver that takes over writes on behind the line that was torn."""

    def init(self: StatusFile, world: Any, earlier: bytes, text: bytes, charges: bytes) -> None:
        _STATUS(self, world, earlier, text, charges)
        self.text = bytearray(text)

    return patched((StatusFile, "__init__", init))


_STATUS = StatusFile.__init__


def limit_not_charged() -> Any:
    """A task counts against its context's limit when it has ended, not when it is handed out."""
    left = property(lambda self: self.task_limit - self.finished if self.task_limit else context.NO_LIMIT)
    return patched((context.Context, "left", left))


def what_ran_is_forgotten() -> Any:
    """A driver that takes over does not know what a context has run."""
    return patched((StatusFile, "charged", lambda self: Counter()))


def charges_after_lines() -> Any:
    """Which context a task counts for is noted after its line, not before."""

    def charge(self: StatusFile, lines: Any, *, whole: bool | None = None) -> None:
        if whole is None:  # else the driver dies
            _CHARGE(self, lines)

    return patched((StatusFile, "charge", charge))


_CHARGE = StatusFile.charge


def limit_with_the_context() -> Any:
    """Engines of the driver before have no limit until their context is back."""
    return patched((takeover.Takeover, "home", lambda self, rank: None))


def acknowledged_unwritten() -> Any:
    """A report is acknowledged when its line is on the way to the disk."""

    def seal(self: recorder.Recorder, engine: Any, n: int) -> Any:
        record = _SEAL(self, engine, n)
        if engine is not None:
            engine.acked, engine.ack_due = n, True
        return record

    return patched((recorder.Recorder, "seal", seal))


_SEAL = recorder.Recorder.seal


def disk_not_waited_for() -> Any:
    """The list is read on, whatever waits for the disk."""
    return patched((recorder.Recorder, "behind", False))


def kept_twice() -> Any:
    """Reports that wait for the list are kept once more on each new connection."""

    def keep(self: takeover.Takeover, engine: Any, reports: Any) -> None:
        before = self._reports.get(engine.sid, (engine, ()))[1]
        self._reports[engine.sid] = (engine, before + reports)

    return patched((takeover.Takeover, "keep", keep))


def check_not_counted() -> Any:
    """A BARRIER CHECK opens whatever has failed before it."""

    def finish(self: Ledger, entry: Any, *, failed: bool) -> None:
        _FINISH(self, entry, failed=failed)
        self.age_failed = 0

    return patched((Ledger, "finish", finish))


_FINISH = Ledger.finish


def kept_is_asked_again() -> Any:
    """What an engine was asked to give back, and has kept, is asked back once more."""
    return patched((fleet.Engine, "kept", property(lambda self: set(), lambda self, value: None)))


def starts_beside_what_may_run() -> Any:
    """Another engine is started on a node where tasks of the one before may still run."""

    def launch_again(self: losses.Losses, now: Any) -> None:
        lingering, self._lingering = self._lingering, {}
        _LAUNCH(self, now)
        self._lingering = lingering

    return patched((losses.Losses, "_launch_again", launch_again))


_LAUNCH = losses.Losses._launch_again


def earlier_session_hides() -> Any:
    """Of two sessions of one rank, the fleet's sums look at the one that changed last."""

    def changed(self: fleet.Engine) -> None:
        for other in [each for each in self._changes if each.rank == self.rank]:
            del self._changes[other]
        self._changes[self] = None

    return patched((fleet.Engine, "changed", changed))


def suspects_beside_others() -> Any:
    """A task that was lost again and again runs beside others all the same."""
    return patched((losses.LossPolicy, "alone_after", property(lambda self: 1 << 30)))


def suspects_not_alone() -> Any:
    """An engine that runs a suspect is given other tasks as well."""
    return patched((fleet.Engine, "reserved", property(lambda self: False, lambda self, value: None)))


def lapse_beside_the_driver() -> Any:
    """Tasks of an engine that waits for a stopped driver are given to others when its lease is over."""

    def lapsed(self: losses.Losses, now: Any, engine: Any) -> bool:
        beside, engine.beside = engine.beside, False
        over = _LAPSED(self, now, engine)
        engine.beside = beside
        return over

    return patched((losses.Losses, "_lapsed", lapsed))


_LAPSED = losses.Losses._lapsed


MUTANTS: list[Callable[[], Any]] = [
    earlier_session_hides,
    no_hold_at_takeover,
    no_claims,
    no_claims_ahead,
    silent_engines_not_swept,
    context_not_asked,
    early_reports_taken,
    torn_line_written_on,
    limit_not_charged,
    what_ran_is_forgotten,
    charges_after_lines,
    limit_with_the_context,
    check_not_counted,
    kept_is_asked_again,
    kept_twice,
    acknowledged_unwritten,
    disk_not_waited_for,
    starts_beside_what_may_run,
    suspects_beside_others,
    suspects_not_alone,
    lapse_beside_the_driver,
]
