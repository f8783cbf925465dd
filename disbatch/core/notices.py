"""The sentences that a driver says to the user while it runs: what happened, where, and what follows."""

from collections.abc import Sequence

from disbatch.core.failures import last_line
from disbatch.core.model import Barrier, Outcome, PerEngine, Task
from disbatch.core.plural import counted, noun

SHOWN_RUNNING = 10  # commands named when a run is interrupted: what fits on a screen
SHOWN_BYTES = 100  # of one command

INTERRUPTED = "interrupted: nothing more is started (interrupt once more to stop what runs)"
UNKNOWN_CONTEXT = "unknown"  # label of engines whose context has not come back to a new driver
NOBODY = "no engine is left; waiting for more to join"
KILLED_NOW = "stopping at once: what is left is killed"


def tasks(count: int, word: str = "") -> str:
    """`1 task`, `2 running tasks`."""
    return counted(count, f"{word} task" if word else "task")


def stopping(running: int) -> str:
    if not running:
        return "stopping"
    gets, they, do = ("gets", "it", "does") if running == 1 else ("get", "they", "do")
    return f"stopping: {tasks(running, 'running')} {gets} TERM, and KILL if {they} {do} not end"


def broken(why: str) -> str:
    return f"disBatch cannot go on: {why}; the run ends, and the command that it prints last resumes it"


def draining(before_s: float, running: int) -> str:
    what = f"waiting for {tasks(running, 'running')}" if running else "no task runs"
    return f"the job ends in less than {before_s:g} s (--drain-before): nothing more is started, {what}"


def context_drains(label: str, before_s: float) -> str:
    return f"context {label}: the job ends in less than {before_s:g} s (--drain-before): nothing more is started here"


def what_runs(running: Sequence[tuple[str, Task]]) -> str:
    """Node and task of everything that an interrupted run waits for."""
    lines = [f"waiting for {tasks(len(running), 'running')}:"]
    for node, task in running[:SHOWN_RUNNING]:
        lines.append(f"    task {task.task_id} on {node}: {_shown(task.command)}")
    if len(running) > SHOWN_RUNNING:
        lines.append(f"    and {len(running) - SHOWN_RUNNING} more")
    return "\n".join(lines)


def command_failed(command: PerEngine, node: str, outcome: Outcome) -> str:
    text = (
        f"PERENGINE {command.when} (line {command.line_no}) failed on {node}, "
        f"exit code {outcome.returncode}: {_shown(command.command)}"
    )
    error = last_line(outcome.err_snippet)
    if error:
        text += f"\n    {error}"
    if command.when == "START":
        text += "\n    this engine takes no task"
    return text


def engine_lost(node: str, running: int | None, why: str) -> str:
    """`running` is None for an engine that never signed in."""
    if running is None:
        return f"no engine could be started on {node}: {why}"
    return f"the engine on {node} was lost with {tasks(running)} running: {why}"


def orphaned(node: str, why: str = "") -> str:
    text = f"the engine on {node} has stopped its tasks and left, as what had launched it is gone"
    return f"{text}: {why}" if why else text


def terminated(node: str, why: str) -> str:
    return f"the engine on {node} was lost: {why}; it has stopped its tasks and left"


def taken_over(held: int) -> str:
    return f"all that the engines of the driver before have is known: they go on with {tasks(held)}"


def context_rejoins(label: str, engines: int, where: str) -> str:
    return f"context {label} is back with {_engines(engines)} ({where})"


def context_joins(label: str, engines: int, slots: int, where: str) -> str:
    return f"context {label} joins ({where}): {_size(engines, slots)}"


def context_joined(label: str, engines: int, slots: int) -> str:
    """The same, as the context itself says it."""
    return f"context {label} has joined: {_size(engines, slots)}"


def limit_reached(label: str, limit: int) -> str:
    return f"context {label} has run its {tasks(limit)} (-C) and ends"


def context_stops(label: str, engines: int, running: int) -> str:
    return f"context {label} ends: {_engines(engines)}, {tasks(running, 'running')} to finish first"


def engine_stops(rank: int, node: str, running: int) -> str:
    return f"engine {rank} on {node} ends: {tasks(running, 'running')} to finish first"


def _size(engines: int, slots: int) -> str:
    return f"{_engines(engines)}, {counted(slots, 'slot')}"


def _engines(count: int) -> str:
    return counted(count, "engine")


def few_gpus(node: str, gpus: int, slots: int) -> str:
    return f"-g: {node} has {counted(gpus, 'GPU')} for {counted(slots, 'slot')}: {tasks(gpus)} at a time {noun(gpus, 'runs', 'run')} there, each with one"


def not_swept(node: str, held: int, seconds: float) -> str:
    return (
        f"{node} cannot be asked whether something of the lost engine still runs: "
        f"{tasks(held)} will start again in {seconds:.0f} s (--lease)"
    )


def not_killed(node: str, held: int) -> str:
    return (
        f"what is left of the lost engine on {node} cannot be killed yet: {tasks(held)} will start again when it can "
        "(tried each second)"
    )


def started_again(node: str) -> str:
    return f"another engine is started on {node}"


NOBODY_ELSE = "no other engine is left to try them on"


def set_aside(node: str, row: int, again: int) -> str:
    return (
        f"{tasks(row)} in a row failed at once on {node}: its engine is set aside, "
        f"{tasks(again)} of them will run once more elsewhere (--quarantine)"
    )


def well_elsewhere(good: int, ended: int) -> str:
    return f"of {tasks(ended)} that had failed at once there, {good} went well elsewhere"


def failed_elsewhere(failed: int, ended: int) -> str:
    return f"of {tasks(ended)} that had failed at once there, {failed} failed elsewhere as well"


def stays_aside(node: str, why: str) -> str:
    return f"the engine on {node} gets no more tasks: {why}"


def comes_back(node: str, why: str) -> str:
    return f"the engine on {node} gets tasks again: {why}"


def run_alone(count: int, lost: int) -> str:
    who = f"{tasks(count)} {noun(count, 'was', 'were')}"
    return (
        f"{who} running when an engine was lost, {times(lost)} now: from here on each of them runs alone on an engine, so that "
        "only a task that ends its engine is given up (--lost-limit)"
    )


def times(count: int) -> str:
    """`once`, `2 times`."""
    return "once" if count == 1 else counted(count, "time")


def check_failed(barrier: Barrier, failed: int) -> str:
    return (
        f"BARRIER CHECK (line {barrier.line_no}): {tasks(failed)} before it failed, nothing after it is run"
    )


def _shown(command: bytes) -> str:
    cut = command[:SHOWN_BYTES].decode("utf-8", "replace")
    return cut + "…" if len(command) > SHOWN_BYTES else cut
