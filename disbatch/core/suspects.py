"""Tasks that run alone: which engine takes the next one, and which engine is kept free for it.

Part of the driver core. When an engine dies, each task that ran there may be the cause. So a task that was lost often enough
(`Losses`) is a suspect: no other task runs beside it. The next loss is then its own, and tasks that only ran beside the
cause are done. Engines without suspects go on as ever.
"""

from collections.abc import Iterator

from disbatch.core.fleet import Engine, EngineState, Fleet
from disbatch.core.ledger import Entry, Ledger


class Suspects:
    """Reserved engines get no other tasks. Most often none is: nothing here may cost anything then."""

    def __init__(self, ledger: Ledger, fleet: Fleet) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._reserved: dict[int, Engine] = {}  # by rank

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._ledger.suspects or self._reserved)

    def servings(self) -> Iterator[tuple[Engine, Entry]]:
        """Engines that get a task now, and that task. Each is to be handed out before the next is asked for."""
        waiting, fleet = self._ledger.suspects, self._fleet
        takers = [e for e in fleet.by_sid.values() if _takes(e)]
        for rank, engine in [*self._reserved.items()]:
            if fleet.engines.get(rank) is not engine or engine not in takers:
                self._release(engine)
        running = sum(map(self._holds_one, self._reserved.values()))
        most = max(1, len(takers) // 2)
        for engine in [e for e in takers if not e.held and not e.unwritten]:
            # where nothing else is to be done, an engine that stands idle may as well take one
            if not waiting or (running >= most and self._ledger.ready):
                break
            # the limit of its context may have been reached by the one before
            entry = self._for(engine, takers) if engine.context.left > 0 else None
            if entry is not None:
                running += 1
                self._reserve(engine)
                yield engine, entry
        for engine in [*self._reserved.values()]:
            empty = not engine.held and not engine.unwritten
            if empty or ((not waiting or running) and not self._holds_one(engine)):
                self._release(engine)

    def to_drain(self) -> Engine | None:
        """An engine that is to become empty, as suspects wait and no other engine will be free for them soon."""
        waiting, fleet = self._ledger.suspects, self._fleet
        if not waiting or self._reserved:
            return None
        takers = [e for e in fleet.by_sid.values() if _takes(e)]
        node = self._avoided(waiting.first(), takers)
        coming = any(_comes(e) and e.node != node for e in fleet.engines.values())
        open_to = [e for e in takers if e.node != node]
        if coming or not open_to or (fleet.expected and node is None):
            return None
        engine = min(open_to, key=lambda e: (len(e.held) + e.unwritten, e.rank))
        self._reserve(engine)
        return engine

    def _for(self, engine: Engine, takers: list[Engine]) -> Entry | None:
        """The oldest that this engine may take."""
        waiting = self._ledger.suspects
        first = waiting.first()
        if self._avoided(first, takers) != engine.node:
            return first
        return next((e for e in waiting if self._avoided(e, takers) != engine.node), None)

    @staticmethod
    def _avoided(entry: Entry, takers: list[Engine]) -> str | None:
        """The node where it was lost, if it can run elsewhere: the node may be the cause as well."""
        return entry.lost_on if any(e.node != entry.lost_on for e in takers) else None

    def _holds_one(self, engine: Engine) -> bool:
        entries = [self._ledger.entries.get(task_id) for task_id in engine.held]
        return any(entry is not None and entry.suspect for entry in entries)

    def _reserve(self, engine: Engine) -> None:
        self._reserved[engine.rank] = engine
        engine.reserved = True
        engine.changed()

    def _release(self, engine: Engine) -> None:
        del self._reserved[engine.rank]
        engine.reserved = False
        engine.changed()


def _takes(engine: Engine) -> bool:
    """Whether it takes tasks, now or when those that it holds have ended."""
    able = engine.state is EngineState.RUNNING and not (engine.stop or engine.aside)
    return able and engine.demand > 0 and engine.context.left > 0


def _comes(engine: Engine) -> bool:
    """Whether it will take its first task soon: it starts, or runs its START commands."""
    if engine.state is EngineState.STARTING:
        return not engine.exited
    idle = engine.demand == 0 and not engine.held
    return engine.state is EngineState.RUNNING and idle and not (engine.stop or engine.aside)
