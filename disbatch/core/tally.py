"""What follows from the engines of a fleet, kept up to date: a driver with a thousand of them must not look at all of
them for each message. Everything is by rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from disbatch.core.fleet import Engine


class Tally:
    """Engines that have changed stand in `changes` until `look` has taken them in. Read the rest after a look only."""

    def __init__(self) -> None:
        # by engine and not by rank: an earlier session has the same rank, and must not hide its successor
        self.changes: dict[Engine, None] = {}
        self.alive: set[int] = set()  # and not proven to be on a bad node
        self.rooms: dict[int, int] = {}  # of those that have any, whatever the limit of their context
        self.room = 0  # their sum
        self.free: dict[
            int, int
        ] = {}  # free slots of these, where nothing has been asked back; in order of becoming so
        self.free_slots = 0  # their sum
        self.overfull: set[int] = set()  # running ones that hold more than their slots
        self.recalled: dict[int, int] = {}  # how many tasks have been asked back and not answered
        self._unseen: set[int] = set()  # overfull ones that may hold something which can be asked back
        self._askable: set[int] = set()  # those that do

    def look(self, engines: dict[int, Engine]) -> None:
        """Takes in what has changed."""
        while self.changes:
            engine, _ = self.changes.popitem()
            rank = engine.rank
            if engines.get(rank) is not engine:
                continue  # its next session has taken its place
            (self.alive.add if engine.useful else self.alive.discard)(rank)
            self.room -= self.rooms.pop(rank, 0)
            room = engine.own_room
            if room > 0:
                self.rooms[rank] = room
                self.room += room
            self._free(
                rank, max(0, engine.slots - len(engine.held)) if room > 0 and not engine.recalled else 0
            )
            overfull = engine.takes and len(engine.held) > engine.slots
            (self.overfull.add if overfull else self.overfull.discard)(rank)
            (self._unseen.add if overfull else self._unseen.discard)(rank)
            self._askable.discard(rank)
            self.recalled.pop(rank, None)
            if engine.recalled:
                self.recalled[rank] = len(engine.recalled)

    def askable(self, engines: dict[int, Engine]) -> list[Engine]:
        """Engines that hold what they have not started and were not asked for, by rank. To be asked rarely."""
        for rank in self._unseen:
            if engines[rank].ahead():
                self._askable.add(rank)
        self._unseen.clear()
        return [engines[rank] for rank in sorted(self._askable)]

    def _free(self, rank: int, slots: int) -> None:
        before = self.free.get(rank, 0)
        self.free_slots += slots - before
        if not slots:
            self.free.pop(rank, None)
        else:
            self.free[rank] = slots

    def check(self, engines: dict[int, Engine]) -> None:
        """For tests: what is kept up to date is what a look at all engines gives."""
        self.look(engines)
        every = engines.values()
        assert self.alive == {e.rank for e in every if e.useful}
        assert self.rooms == {e.rank: e.own_room for e in every if e.own_room > 0}
        assert self.room == sum(self.rooms.values())
        assert self.overfull == {e.rank for e in every if e.takes and len(e.held) > e.slots}
        assert self.recalled == {e.rank: len(e.recalled) for e in every if e.recalled}
        hungry = [e for e in every if e.own_room > 0 and not e.recalled]
        assert self.free == {e.rank: e.slots - len(e.held) for e in hungry if len(e.held) < e.slots}
        assert self.free_slots == sum(self.free.values())
        asked = [e.rank for e in self.askable(engines)]
        assert asked == sorted(e.rank for e in every if e.rank in self.overfull and e.ahead())
