"""The values that everything else talks about: tasks, barriers, attempts, outcomes, nodes. No behaviour."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from disbatch.core.binding import NO_BINDING, BindRule

NO_REPEAT = -1  # repeat index of a task outside REPEAT (formats: RepeatIndex)
LOST = -100  # return code of a task whose engine was lost and that is not run again
NOT_STARTED = -1  # PID of a task that never became a process

PerEngineWhen = Literal["START", "STOP"]

# What a NamedTuple's own constructor comes to, in half the time: for the few places that make one for each task.
quick: Callable[[Any, tuple[Any, ...]], Any] = tuple.__new__


class Task(NamedTuple):
    """One command of the task list. `command` is prefix + text + suffix, as bytes, to the letter."""

    task_id: int  # counted from 0; barriers take one as well
    line_no: int  # counted from 1
    repeat_index: int
    command: bytes


class Barrier(NamedTuple):
    """A point that later tasks wait at until all earlier ones have finished."""

    task_id: int
    line_no: int
    check: bool  # end the run here when a task since the last barrier failed
    key: bytes | None  # KVS key that is told the barrier's id when it is met
    text: bytes  # the directive as it stands in the file


class PerEngine(NamedTuple):
    """A command that every engine runs when it joins (START) or leaves (STOP). Ids count from 0 for each."""

    when: PerEngineWhen
    task_id: int
    line_no: int
    command: bytes


Item = Task | Barrier | PerEngine


class Outcome(NamedTuple):
    """What the engine saw of one process that ran (or could not be started: pid -1, returncode the errno)."""

    pid: int
    returncode: int  # negative for a signal
    elapsed_s: float  # by a clock that nobody sets
    start_s: float  # since the epoch
    finish_s: float  # start_s + elapsed_s, so that a clock set back shows no negative duration
    out_bytes: int
    out_snippet: str
    err_bytes: int
    err_snippet: str
    cpu_s: float  # user and system time of the process and the children that it waited for
    peak_kib: int  # largest resident set
    peak_own: bool = True  # False: the task may have taken less


class NodeSpec(NamedTuple):
    """One node of a context: how its engine is called and what it may use."""

    name: str
    slots: int  # tasks at a time
    cores: int  # cores given to disBatch on that node
    cores_per_task: int  # what a task is told, at least 1
    bind: BindRule = NO_BINDING
    part: int | None = None  # component of a heterogeneous allocation
    gpus: int | None = None  # to be divided among the slots: 0, those that the engine finds; None: none
