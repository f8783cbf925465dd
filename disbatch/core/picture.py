"""How a `RunSnapshot` is taken from the books of the driver core. Pure.

Counts cost a look at each engine and may be taken a few times a second. Rows are for when somebody looks: they cost
some microseconds for each engine, and no more than a bounded number of tasks is ever looked at.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice

from disbatch.core.failures import MAX_RECENT, FailedTask, FailureGroups, last_line
from disbatch.core.fleet import Engine, EngineState, Fleet
from disbatch.core.history import History
from disbatch.core.ledger import Entry, Ledger
from disbatch.core.snapshot import (
    COMMAND_CHARS,
    MAX_RUNNING,
    ContextView,
    EngineView,
    FailureView,
    RunningView,
    RunSnapshot,
)

ASIDE = "ASIDE"  # instead of RUNNING where an engine is set aside
_TAKING = (EngineState.STARTING, EngineState.RUNNING)
# The state of a context is that of its liveliest engine
_LIVELINESS = (
    EngineState.RUNNING,
    EngineState.STARTING,
    EngineState.STOPPING,
    EngineState.LOST,
    EngineState.STOPPED,
)


def take_snapshot(
    ledger: Ledger,
    fleet: Fleet,
    history: History,
    barrier: str,
    state: str,
    elapsed_s: float,
    total: int | None,
) -> RunSnapshot:
    """The counts of this moment."""
    busy = min(fleet.busy, ledger.assigned)
    counts = (ledger.done, ledger.failed, ledger.skipped, busy, ledger.unfinished - busy)
    rate = history.rate(elapsed_s, ledger.done + ledger.failed)
    slots = sum(e.slots for e in fleet.engines.values() if e.state in _TAKING and not e.aside)
    return RunSnapshot(
        round(elapsed_s, 3),
        *counts,
        total,
        barrier,
        state,
        (),
        round(rate, 4),
        slots,
        skipped_failed=ledger.skipped_failed,
    )


def add_rows(
    snapshot: RunSnapshot,
    ledger: Ledger,
    fleet: Fleet,
    failures: FailureGroups,
    history: History,
    mono_s: float,
    wall_s: float,
) -> RunSnapshot:
    """The same with everything that viewers show; `mono_s` by the clock of the driver core."""
    return replace(
        snapshot,
        detail=True,
        wall_s=round(wall_s, 3),
        engines=tuple([_engine(e, mono_s) for e in fleet.engines.values()]),
        contexts=_contexts(fleet.engines.values()),
        tasks=tuple(_running(ledger, fleet, mono_s)),
        failures=tuple(map(_failure, reversed(failures.recent))),
        history=history.samples(),
    )


def _engine(e: Engine, mono_s: float) -> EngineView:
    silent_s = None if e.heard_s is None else round(max(0.0, mono_s - e.heard_s), 1)
    v = e.vitals
    node = (v.load, v.mem_used_kib, v.mem_total_kib, v.cpus) if v else (None, None, None, None)
    held = len(e.held)
    counts = (e.slots, e.busy, held, e.finished + held, e.finished, e.failed)
    state = ASIDE if e.aside and e.state is EngineState.RUNNING else e.state.name
    return EngineView(e.rank, e.node, e.label, state, *counts, silent_s, *node)


def _contexts(engines: Iterable[Engine]) -> tuple[ContextView, ...]:
    by_label: dict[str, list[Engine]] = {}
    for e in engines:
        by_label.setdefault(e.label, []).append(e)
    views = []
    for label, members in by_label.items():
        states = {e.state for e in members}
        state = next(each for each in _LIVELINESS if each in states)
        living = [e for e in members if e.state not in (EngineState.LOST, EngineState.STOPPED)]
        finished = sum(e.finished for e in members)
        assigned = finished + sum(len(e.held) for e in members)
        views.append(
            ContextView(
                label,
                state.name,
                len(living),
                sum(e.slots for e in living),
                sum(e.busy for e in living),
                assigned,
                finished,
                sum(e.failed for e in members),
                members[0].context.task_limit or None,
            )
        )
    return tuple(views)


@lru_cache(
    maxsize=2 * MAX_RECENT
)  # the same ones are looked at again and again, and this was most of a picture's cost
def _failure(f: FailedTask) -> FailureView:
    ids = (f.task_id, f.line_no, f.repeat_index, f.node, f.rank)
    how = (f.returncode, f.elapsed_s, f.finish_s)
    return FailureView(*ids, *how, last_line(f.err_snippet), _command(f.command))


def _running(ledger: Ledger, fleet: Fleet, mono_s: float) -> Iterator[RunningView]:
    """What runs, the longest first. An engine starts what it holds in order: its oldest ones, one a slot, do run."""
    queues: list[tuple[float, int, Entry, Engine, Iterator[int]]] = []
    for e in fleet.engines.values():
        _push(queues, ledger, e, iter(islice(e.held, e.slots)))
    heapq.heapify(queues)
    for _ in range(MAX_RUNNING):
        if not queues:
            return
        handed_s, _rank, entry, e, more = heapq.heappop(queues)
        task = entry.task
        seconds = round(max(0.0, mono_s - handed_s), 1)
        ids = (task.task_id, task.line_no, task.repeat_index, entry.attempt)
        yield RunningView(*ids, e.node, e.rank, seconds, _command(task.command))
        following: list[tuple[float, int, Entry, Engine, Iterator[int]]] = []
        _push(following, ledger, e, more)
        if following:
            heapq.heappush(queues, following[0])


def _push(
    queues: list[tuple[float, int, Entry, Engine, Iterator[int]]],
    ledger: Ledger,
    engine: Engine,
    held: Iterator[int],
) -> None:
    for task_id in held:
        entry = ledger.entries[task_id]
        # ranks differ, so that nothing behind them is ever compared
        queues.append((entry.handed_s, engine.rank, entry, engine, held))
        return


def _command(command: bytes) -> str:
    # no character takes more than four bytes: what is cut off here would be cut off anyway
    text = command[: 4 * COMMAND_CHARS].decode("utf-8", "replace")
    return text if len(text) <= COMMAND_CHARS else text[: COMMAND_CHARS - 1] + "…"
