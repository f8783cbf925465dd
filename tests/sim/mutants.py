"""Takes one guard of the protocol away at a time, and says how many seeds the simulation needs to see it.

    python tests/sim/mutants.py [MOST_SEEDS [MUTANT...]]

A guard whose absence nothing shows is either not needed, or the faults are too kind.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import faultdriver  # noqa: E402
import mutants_more  # noqa: E402
from faulthouse import FaultHouse  # noqa: E402
from faultnode import Node  # noqa: E402
from faultworld import Broken  # noqa: E402
from mutants_more import patched  # noqa: E402

from disbatch.core import dispatch, engine, fleet, lease, losses, sessions  # noqa: E402
from disbatch.core.books import Books  # noqa: E402
from disbatch.core.ledger import Ledger  # noqa: E402

MOST_SEEDS = 20_000


def no_lease_check() -> Any:
    """An engine goes on past its deadline, and so does its guard."""

    def renew(self: lease.Lease, now: float, echo: float) -> bool:
        self.deadline = now + 1e6
        return True

    return patched((lease.Lease, "renew", renew))


def renewal_by_receipt() -> Any:
    """A lease counts from the moment at which an answer comes, not from the time that it gives back."""

    def renew(self: lease.Lease, now: float, echo: float) -> bool:
        self.deadline = now + self._lasts_s
        return True

    return patched((lease.Lease, "renew", renew))


def no_margin() -> Any:
    """The engine kills when the driver gives away, not before."""
    return patched((engine, "Lease", _LateLease))


class _LateLease(lease.Lease):
    def __init__(self, lease_s: float) -> None:
        super().__init__(lease_s)
        self._lasts_s = lease_s + 0.3


def no_guard_deadline() -> Any:
    """The guard does not know the deadline, and no node is swept at the end of a lease."""
    return patched(
        (Node, "_rings", lambda self, at: None),
        (faultdriver, "_CARRIERS", {**faultdriver._CARRIERS, faultdriver.Sweep: _no_sweep}),
    )


def _no_sweep(self: Any, effect: Any) -> None:
    self.world.later(0.1, lambda: self.happens(faultdriver.Swept(effect.sid, False, effect.rank)))


def no_sweep() -> Any:
    """A launcher that ended is taken as proof that its engine's tasks did."""

    def lose(self: losses.Losses, now: Any, engine: Any, why: str, *, killed: bool) -> None:
        _LOSE(self, now, engine, why, killed=True)

    return patched((losses.Losses, "lose", lose))


_LOSE = losses.Losses.lose


def no_promise() -> Any:
    """A node that could not be swept is taken as swept."""

    def swept(self: losses.Losses, now: Any, event: Any) -> None:
        _SWEPT(self, now, event._replace(clean=True))

    return patched(
        (losses.Losses, "_swept", swept), (losses, "_HANDLERS", {**losses._HANDLERS, losses.Swept: swept})
    )


_SWEPT = losses.Losses._swept


def no_attempt_number() -> Any:
    """A report or an answer speaks of a task, whatever attempt it was."""

    def current(self: Ledger, task_id: int, attempt: int, sid: str) -> Any:
        entry = self.entries.get(task_id)
        return entry if entry is not None and entry.state.name == "ASSIGNED" else None

    return patched((Ledger, "current", current))


def no_epoch_at_engine() -> Any:
    """Messages of older connections are taken."""

    def down(self: engine.EngineCore, now: float, event: Any) -> None:
        message = event.message
        if message.sid == self.sid and message.ep != self.ep:
            event = event._replace(message=message._replace(ep=self.ep, seq=self._seq + 1))
            seq = self._seq
            _DOWN(self, now, event)
            self._seq = seq
            return
        _DOWN(self, now, event)

    return patched((engine, "_HANDLERS", {**engine._HANDLERS, engine.DownCame: down}))


_DOWN = engine.EngineCore._down


def no_epoch_at_driver() -> Any:
    """A hello of an older connection is taken as a new one."""

    def sign_in(self: fleet.Fleet, hello: Any) -> Any:
        found = self.engines.get(hello.rank)
        if found is not None and found.sid == hello.sid:
            found.ep = min(found.ep, hello.ep - 1)
        return _SIGN_IN(self, hello)

    return patched((fleet.Fleet, "sign_in", sign_in))


def no_age_at_driver() -> Any:
    """An older message of an engine is taken for its newest."""

    def message(self: sessions.Sessions, now: Any, event: Any) -> None:
        found = self._books.fleet.by_sid.get(event.message.sid)
        if found is not None and not isinstance(event.message, sessions.Hello):
            found.echo = min(found.echo, event.message.t)
        _MESSAGE(self, now, event)

    return patched((sessions, "_HANDLERS", {**sessions._HANDLERS, sessions.MessageCame: message}))


_MESSAGE = sessions.Sessions._message


def no_session_at_engine() -> Any:
    """Messages for an older session of the same process are taken."""

    def down(self: engine.EngineCore, now: float, event: Any) -> None:
        if event.message.sid != self.sid:
            event = event._replace(
                message=event.message._replace(sid=self.sid, ep=self.ep, seq=self._seq + 1)
            )
            seq = self._seq
            _DOWN(self, now, event)
            self._seq = seq
            return
        _DOWN(self, now, event)

    return patched((engine, "_HANDLERS", {**engine._HANDLERS, engine.DownCame: down}))


def no_resync() -> Any:
    """What a hello does not hold is not given out again."""

    def give_back(self: Books, who: Any, held: list[tuple[int, int]]) -> None:
        if sys._getframe(1).f_code.co_name != "_hello":
            _GIVE_BACK(self, who, held)

    return patched((Books, "give_back", give_back))


_GIVE_BACK = Books.give_back


def no_acknowledgement() -> Any:
    """A report is forgotten when it is sent, not when it is acknowledged."""

    def up(self: engine.EngineCore, *args: Any) -> Any:
        message = _UP(self, *args)
        self._reports.clear()
        return message

    return patched((engine.EngineCore, "_up", up))


_UP = engine.EngineCore._up


def repeated_reports_taken() -> Any:
    """The number of a report is not looked at."""

    def take(self: sessions.Sessions, now: Any, who: Any, reports: Any) -> None:
        seen, who.seen = who.seen, 0
        _TAKE(self, now, who, reports)
        who.seen = max(seen, who.seen)

    return patched((sessions.Sessions, "_take_reports", take))


_TAKE = sessions.Sessions._take_reports


def repeated_messages_taken() -> Any:
    """The number of a message from the driver is not looked at."""

    def down(self: engine.EngineCore, now: float, event: Any) -> None:
        self._seq = 0
        _DOWN(self, now, event)

    return patched((engine, "_HANDLERS", {**engine._HANDLERS, engine.DownCame: down}))


def recall_gives_all() -> Any:
    """What is asked back counts as given back at once, before the engine has answered."""

    def message(self: dispatch.Dispatcher, now: Any, who: Any, *rest: Any) -> Any:
        made = _MAKE(self, now, who, *rest)
        if made is not None and made.recall:
            books = Books(self._ledger, self._fleet, None, None, None, self, None)  # type: ignore[arg-type]
            books.give_back(who, list(made.recall))
        return made

    return patched((dispatch.Dispatcher, "_message", message))


_MAKE = dispatch.Dispatcher._message


def barrier_not_counted() -> Any:
    """A barrier opens when nothing waits, though something still runs."""
    return patched((Ledger, "unfinished", property(lambda self: len(self.ready))))


def lost_sessions_heard() -> Any:
    """A session that is held as lost may still report and sign in."""

    return patched((losses.Losses, "is_lost", lambda self, sid: False))


_SIGN_IN = fleet.Fleet.sign_in


MUTANTS: list[Callable[[], Any]] = [
    no_lease_check,
    renewal_by_receipt,
    no_margin,
    no_guard_deadline,
    no_sweep,
    no_promise,
    no_attempt_number,
    no_epoch_at_engine,
    no_epoch_at_driver,
    no_age_at_driver,
    no_session_at_engine,
    no_resync,
    no_acknowledgement,
    repeated_reports_taken,
    repeated_messages_taken,
    recall_gives_all,
    barrier_not_counted,
    lost_sessions_heard,
    *mutants_more.MUTANTS,
]


def seeds_needed(mutant: Callable[[], Any], most: int) -> tuple[int, str] | None:
    """How many seeds until a rule is broken, and which; None when none was."""
    with mutant():
        for seed in range(most):
            try:
                FaultHouse(seed).run()
            except Broken as found:
                return seed + 1, str(found).partition(" s: ")[2]
            except (TypeError, AttributeError):
                raise  # the mutant does not fit the code any more, and proves nothing
            except Exception as found:
                return seed + 1, f"{type(found).__name__}: {found}"
    return None


def main() -> int:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else MOST_SEEDS
    missed = 0
    print(f"{'guard taken away':28} {'seeds':>7}  what was seen")
    for mutant in [each for each in MUTANTS if each.__name__ in sys.argv[2:] or not sys.argv[2:]]:
        began = time.monotonic()
        found = seeds_needed(mutant, most)
        missed += found is None
        seeds, what = found or (most, "NOTHING")
        print(f"{mutant.__name__:28} {seeds:7}  {what[:90]}  ({time.monotonic() - began:.1f} s)", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
