"""The contexts of a run: those that join while it runs, their task limits, and soft stops of engines and contexts.

Part of the driver core, beside the sessions with engines.
"""

from collections.abc import Callable

from disbatch.core import notices
from disbatch.core.context import Context, label_fault
from disbatch.core.dispatch import Dispatcher
from disbatch.core.driver_events import (
    ContextLost,
    ContextOpened,
    EngineExited,
    Event,
    Instant,
    JoinCame,
    Reply,
)
from disbatch.core.fleet import GONE, Engine, EngineState, Fleet
from disbatch.core.joining import Answer, Join, Order, ProcessGone, Refusal, Rejoin, Welcome
from disbatch.core.messages import stronger
from disbatch.core.outbox import Outbox
from disbatch.core.takeover import JoinedContext, Takeover

CONTEXT_KEY = "disBatch context "  # followed by the context's id: its mailbox


class Membership:
    """`exited` is what happens when the process of an engine is gone; `ending` says whether the run takes nobody in."""

    def __init__(
        self,
        fleet: Fleet,
        dispatcher: Dispatcher,
        outbox: Outbox,
        exited: Callable[[Instant, EngineExited], None],
        ending: Callable[[], bool],
        takeover: Takeover,
    ) -> None:
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._outbox = outbox
        self._exited = exited
        self._ending = ending
        self._takeover = takeover
        self._by_cid: dict[str, Context] = {}  # that have come, or come back
        self._joined = {each.cid: each for each in takeover.inheritance.contexts}
        fleet.contexts.update((context.label, context) for context in takeover.contexts.values())

    def handle(self, now: Instant, event: Event) -> None:
        if isinstance(event, ContextOpened):
            self._fleet.contexts[event.label] = Context(event.label, event.task_limit)
        elif isinstance(event, ContextLost):
            self._lost(now, event)
        elif isinstance(event, JoinCame):
            message = event.message
            if isinstance(message, Join):
                self._join(message)
            elif isinstance(message, Rejoin):
                self._rejoin(now, message)
            elif isinstance(message, Order):
                self._outbox.add(Reply(message.reply_key, self._order(message)))
            else:
                self._process_gone(now, message)

    @property
    def left(self) -> tuple[JoinedContext, ...]:
        """Contexts that may have engines: all but those whose engines have ended in order."""
        engines = self._fleet.engines.values()
        busy = {e.context.cid for e in engines if e.state is not EngineState.STOPPED} | self._takeover.missing
        return tuple([each for cid, each in self._joined.items() if cid in busy])

    def limit_reached(self, context: Context) -> None:
        """As many tasks as the context may run have ended in it."""
        engines = [e for e in self._fleet.engines_of(context) if e.state not in GONE and not e.stop]
        if engines:
            self._outbox.say(notices.limit_reached(context.label, context.task_limit))
            self._stop(engines)

    # -- joining

    def _join(self, join: Join) -> None:
        key = CONTEXT_KEY + join.cid
        if join.cid in self._by_cid:
            return  # a repeated message
        if self._ending():
            self._outbox.add(Reply(key, Refusal("the run is ending")))
            return
        if why := label_fault(join.label):
            self._outbox.add(Reply(key, Refusal(why)))
            return
        label = join.label if join.label_given else self._free_label(join.label)
        if self._taken(label):
            why = f"the label {label!r} is taken by a context of this run; give another with -l"
            self._outbox.add(Reply(key, Refusal(why)))
            return
        context = Context(label, join.task_limit, join.cid)
        self._by_cid[join.cid] = self._fleet.contexts[label] = context
        first = self._fleet.next_rank
        ranks = range(first, first + len(join.nodes))
        self._joined[join.cid] = JoinedContext(join.cid, label, join.task_limit, ranks)
        for rank, (node, slots, retires) in enumerate(join.nodes, first):
            self._fleet.launched(rank, node, slots, label, retires)
        self._outbox.add(Reply(key, Welcome(label, tuple(ranks))))
        slots = sum(slots for _, slots, _ in join.nodes)
        self._outbox.say(notices.context_joins(context.label, len(ranks), slots, join.where))

    def _rejoin(self, now: Instant, back: Rejoin) -> None:
        """A context of the driver before us: its engines are ours, if they have not said so themselves already."""
        key = CONTEXT_KEY + back.cid
        if back.cid in self._by_cid:
            return  # a repeated message
        context = self._takeover.contexts.get(back.cid)
        if context is None:
            self._outbox.add(Reply(key, Refusal("the driver of this run does not know this context")))
            return
        self._by_cid[back.cid] = self._fleet.contexts[context.label] = context
        for rank, node, slots, retires in back.nodes:
            engine = self._fleet.engines.get(rank)
            if engine is None:
                self._fleet.launched(rank, node, slots, context.label, retires, context)
            else:
                self._fleet.gives_back(engine, retires)
        if 0 < context.task_limit <= context.finished:
            self.limit_reached(context)
        self._takeover.returned(back.cid, clean=back.clean)
        self._outbox.add(Reply(key, Welcome(context.label, tuple([rank for rank, *_ in back.nodes]))))
        self._outbox.say(notices.context_rejoins(context.label, len(back.nodes), back.where))

    def _taken(self, label: str) -> bool:
        context = self._fleet.contexts.get(label)
        if context is None:
            return False
        missing = context.cid in self._takeover.missing
        return missing or any(e.state not in GONE for e in self._fleet.engines_of(context))

    def _free_label(self, label: str) -> str:
        number = 1
        wanted = label
        while wanted in self._fleet.contexts:
            number += 1
            wanted = f"{label}.{number}"
        return wanted

    # -- leaving

    def _process_gone(self, now: Instant, message: ProcessGone) -> None:
        context = self._by_cid.get(message.cid)
        engine = self._fleet.engines.get(message.rank)
        if context is None or engine is None or engine.label != context.label:
            self._outbox.note(f"an unknown context says that engine {message.rank} is gone: ignored")
            return
        self._exited(now, EngineExited(message.rank, message.why))

    def _lost(self, now: Instant, event: ContextLost) -> None:
        """Engines that have signed in speak for themselves; those that have not will never be started."""
        context = self._by_cid.get(event.cid)
        if context is None:
            return
        for engine in self._fleet.engines_of(context):
            if engine.state not in GONE and not engine.sid:
                self._exited(now, EngineExited(engine.rank, f"its context has ended ({event.why})"))
        self._outbox.note(f"context {context.label} has ended: {event.why}")

    # -- orders

    def _order(self, order: Order) -> Answer:
        if order.kind == "engine":
            return self._stop_engine(order.name, order.hard)
        context = self._fleet.contexts.get(order.name)
        if context is None:
            known = ", ".join(self._fleet.contexts) or "none"
            return Answer(False, f"this run has no context {order.name!r} (it has: {known})")
        engines = [e for e in self._fleet.engines_of(context) if e.state not in GONE]
        if not engines:
            return Answer(False, f"context {order.name} has ended already")
        self._stop(engines, hard=order.hard)
        held = sum(e.busy for e in engines)
        return self._told(notices.context_stops(order.name, len(engines), held))

    def _stop_engine(self, name: str, hard: bool) -> Answer:
        engine = self._fleet.engines.get(int(name)) if name.isascii() and name.isdigit() else None
        if engine is None:
            return Answer(
                False, f"this run has no engine {name!r} (ranks go up to {self._fleet.next_rank - 1})"
            )
        if engine.state in GONE:
            return Answer(False, f"engine {name} on {engine.node} has ended already")
        self._stop([engine], hard=hard)
        return self._told(notices.engine_stops(engine.rank, engine.node, engine.busy))

    def _told(self, text: str) -> Answer:
        self._outbox.say(text)
        return Answer(True, text)

    def _stop(self, engines: list[Engine], *, hard: bool = False) -> None:
        for engine in engines:
            wanted = stronger("kill" if hard else "finish", engine.stop)
            if engine.state not in GONE and wanted != engine.stop:
                engine.stop = wanted
                engine.changed()
                self._dispatcher.owe(engine)
