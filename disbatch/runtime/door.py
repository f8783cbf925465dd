"""The driver's door: contexts that join a run, and orders from people, by way of the KVS.

Decisions are `core.membership`'s; this carries messages between it and the mailboxes.
"""

import logging
from collections.abc import Callable

from disbatch.core.driver_events import ContextLost, EngineJoined, Event, JoinCame, Reply, Sweep, Swept
from disbatch.core.errors import PeerError
from disbatch.core.joining import (
    Answer,
    Join,
    Joining,
    Order,
    ProcessGone,
    Rejoin,
    SignedIn,
    StopKind,
    SweepOrder,
    SweptThere,
    Welcome,
    decode_joining,
    encode_joining,
)
from disbatch.core.membership import CONTEXT_KEY
from disbatch.runtime.bus import JSON, join_key
from disbatch.runtime.facts import RunFacts, run_key
from disbatch.runtime.kvs import Kvs
from disbatch.runtime.roster import Roster
from kvsstcp.values import Value

INSIDE = ""  # reply key of orders that come from this process


class Door:
    def __init__(
        self,
        kvs: Kvs,
        facts: RunFacts,
        happened: Callable[[Event], None],
        log: logging.Logger,
        roster: Roster | None,
    ) -> None:
        self._kvs = kvs
        self._facts = facts
        self._happened = happened
        self._log = log
        self._roster = roster
        self._homes: dict[int, str] = {}  # by rank: key of the context that has started this engine
        self._answer = Answer(False, "")

    def open(self) -> None:
        """To be called once the KVS serves."""
        facts = self._facts
        self._kvs.put(run_key(facts.job_id), Value(JSON, facts.to_json().encode("ascii")))
        self._kvs.subscribe(join_key(facts.did), self._came)

    def order(self, kind: StopKind, name: str, *, hard: bool = False) -> Answer:
        """Ends an engine (by rank) or a context (by label), for those in this process."""
        self._happened(JoinCame(Order(kind, name, INSIDE, hard)))
        return self._answer

    def reply(self, effect: Reply) -> None:
        """Carries out what the core wants said."""
        if effect.key == INSIDE:
            assert isinstance(effect.message, Answer)
            self._answer = effect.message
            return
        if not isinstance(effect.message, Welcome):
            self._put(effect.key, effect.message)
            return
        cid = effect.key.removeprefix(CONTEXT_KEY)
        self._homes |= dict.fromkeys(effect.message.ranks, effect.key)
        self._kvs.watch(effect.key.encode(), lambda why: self._context_lost(cid, why))
        welcome = effect.message
        if self._roster is None:
            self._put(effect.key, welcome)
        else:
            self._roster.write(lambda: self._put(effect.key, welcome))

    def _context_lost(self, cid: str, why: str) -> None:
        self._happened(ContextLost(cid, why))
        if self._roster is not None:
            self._roster.write(lambda: None)

    def sweep(self, effect: Sweep) -> bool:
        """Has the context of a lost engine kill what is left of it; false when no context has started it."""
        home = self._homes.get(effect.rank)
        if home is not None:
            self._put(home, SweepOrder(effect.rank, effect.sid))
        return home is not None

    def signed_in(self, engine: EngineJoined) -> None:
        """Whoever has started this engine need not wait for it any more."""
        home = self._homes.get(engine.rank)
        if home is not None:
            self._put(home, SignedIn(engine.rank))

    def _put(self, key: str, message: Joining) -> None:
        self._kvs.put(key.encode(), Value(JSON, encode_joining(message)))

    def _came(self, value: Value) -> None:
        try:
            message = decode_joining(value.data)
        except PeerError as error:
            self._log.warning("dropped a message: %s", error)
            return
        if isinstance(message, Join | Rejoin | ProcessGone | Order):
            self._happened(JoinCame(message))
        elif isinstance(message, SweptThere):
            self._log.info(
                "engine %d was swept by its context: %s",
                message.rank,
                "done" if message.clean else "not possible",
            )
            self._happened(Swept(message.sid, message.clean, message.rank))
