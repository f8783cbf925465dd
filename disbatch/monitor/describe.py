"""The details of one row, as pairs of a name and a value; a heading has no value. Pure."""

import time
from collections.abc import Sequence

from disbatch.core.plural import noun
from disbatch.core.printable import printable
from disbatch.core.snapshot import ContextView, EngineView, FailureView, RunningView, RunSnapshot
from disbatch.monitor.progress import clock
from disbatch.monitor.tables import failures_of, tasks_of
from disbatch.monitor.words import ago, count, duration, exit_word, load, memory

Pairs = Sequence[tuple[str, str]]
SHOWN_FAILURES = 5


def engine(e: EngineView, snapshot: RunSnapshot) -> Pairs:
    pairs = [
        ("state", e.state.lower()),
        ("context", printable(e.context)),
        ("slots", f"{e.busy} of {e.slots} busy"),
        ("tasks", f"{count(e.assigned)} given, {count(e.finished)} ended, {count(e.failed)} of these failed"),
        ("last heard", "never" if e.silent_s is None else f"{ago(e.silent_s)} ago"),
        ("load", load(e.load, e.cpus)),
        ("memory", memory(e.mem_used_kib, e.mem_total_kib)),
    ]
    tasks = tasks_of(snapshot, e.rank)
    if tasks:
        pairs.append(("Running", ""))
        pairs += [(str(t.task_id), f"{clock(t.seconds)}  {printable(t.command)}") for t in tasks]
    if len(tasks) < e.busy:
        pairs.append(("…", f"{e.busy - len(tasks)} more: only the longest of the whole run are listed"))
    failures = failures_of(snapshot, e.rank)[:SHOWN_FAILURES]
    if failures:
        pairs.append(("Last failures", ""))
        pairs += [(str(f.task_id), f"{exit_word(f.returncode)}  {printable(f.error)}") for f in failures]
    return pairs


def context(c: ContextView, snapshot: RunSnapshot) -> Pairs:
    pairs = [
        ("state", c.state.lower()),
        ("slots", f"{c.busy} of {c.slots} busy"),
        ("tasks", f"{count(c.assigned)} given, {count(c.finished)} ended, {count(c.failed)} of these failed"),
        ("limit", "none" if c.limit is None else f"ends after {count(c.limit)} {noun(c.limit, 'task')}"),
        ("Engines", ""),
    ]
    members = [e for e in snapshot.engines if e.context == c.label]
    pairs += [
        (str(e.rank), f"{e.state.lower()}  {e.busy}/{e.slots} busy  {printable(e.node)}") for e in members
    ]
    return pairs


def task(t: RunningView) -> Pairs:
    pairs = [("line", str(t.line_no))]
    if t.repeat_index >= 0:
        pairs.append(("repeat index", str(t.repeat_index)))
    if t.attempt > 1:
        pairs.append(("attempt", str(t.attempt)))
    pairs += [
        ("engine", f"{t.rank} on {printable(t.node)}"),
        ("running for", clock(t.seconds)),
        ("command", printable(t.command)),
    ]
    return pairs


def failure(f: FailureView) -> Pairs:
    pairs = [("line", str(f.line_no))]
    if f.repeat_index >= 0:
        pairs.append(("repeat index", str(f.repeat_index)))
    pairs += [
        ("engine", f"{f.rank} on {printable(f.node)}"),
        ("exit", exit_word(f.returncode)),
        ("took", duration(f.elapsed_s)),
        ("ended", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(f.finish_s))),
        ("error", printable(f.error) or "–"),
        ("command", printable(f.command)),
    ]
    return pairs
