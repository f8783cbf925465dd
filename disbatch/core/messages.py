"""What crosses the KVS between driver and engines, as values with a JSON codec and a version.

The protocol is in docs/design.md, "The messages"; here is its alphabet. Lists, not objects with names: half the bytes and time.
Commands are bytes; they travel as text with surrogate escapes, which JSON carries both ways.
"""

import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from disbatch.core.errors import PeerError
from disbatch.core.model import Outcome

VERSION = 2
REPORT_S = 0.04  # short tasks: reports are sent this often, so that one message carries many
NOTE_CHARS = 300  # of a note to the user
ReportKind = Literal["T", "A", "Z"]  # a task, a per-engine START, a per-engine STOP
StopMode = Literal["", "finish", "kill", "abort"]
# finish: end what is running, start nothing; kill: TERM, then KILL, and no reports of what was killed;
# abort: KILL at once and skip the STOP commands. Each goes on to the PERENGINE STOP commands but abort.
_STRENGTH: dict[StopMode, int] = {"": 0, "finish": 1, "kill": 2, "abort": 3}


def stronger(one: StopMode, other: StopMode) -> StopMode:
    """Of two orders to stop, the one that leaves less time."""
    return one if _STRENGTH[one] >= _STRENGTH[other] else other


class Handed(NamedTuple):
    """An attempt as it is handed to an engine."""

    task_id: int
    attempt: int
    line_no: int
    repeat_index: int
    command: bytes


class EngineCommand(NamedTuple):
    """A per-engine command as it is handed to an engine."""

    task_id: int
    line_no: int
    command: bytes


class Setup(NamedTuple):
    """What an engine runs before its first task and after its last one. Sent once, before any task."""

    starts: tuple[EngineCommand, ...]
    stops: tuple[EngineCommand, ...]


class Report(NamedTuple):
    """How an attempt ended. `n` counts the reports of a session from 1."""

    n: int
    kind: ReportKind
    task_id: int
    attempt: int
    outcome: Outcome
    slot: int = -1  # of the engine; -1 for per-engine commands


Held = tuple[int, int]  # (task id, attempt number)


class Vitals(NamedTuple):
    """How the node of an engine is, for people who watch."""

    load: float  # mean number of runnable processes of the last minute
    mem_used_kib: int  # without what could be freed
    mem_total_kib: int
    cpus: int


class Means(NamedTuple):
    """What an engine has for its tasks; it does not change."""

    cores_per_task: int = 1  # what tasks are told
    cpus: int = 0  # that it may use; 0: not known
    memory_kib: int = 0  # of its node, or of the control group that confines it; 0: not known
    gpus: int = -1  # to be divided among the slots; -1: not asked for


NO_MEANS = Means()


class Hello(NamedTuple):
    """Engine to driver at each (re)connect: who I am, what I hold, what I still have to report."""

    sid: str
    ep: int
    rank: int
    node: str
    slots: int
    t: float
    held: tuple[Held, ...]
    reports: tuple[Report, ...]
    demand: int
    vitals: Vitals | None = None
    means: Means = NO_MEANS
    ended: int = 0  # tasks whose outcome this process has had to report, so far


class Up(NamedTuple):
    """Engine to driver: reports, and how many unfinished tasks the engine wants to hold (absolute)."""

    sid: str
    ep: int
    n_hi: int
    t: float
    reports: tuple[Report, ...]
    demand: int
    returned: tuple[Held, ...] = ()  # were not started, or were stopped: they will never have an outcome here
    bye: str = ""  # the last message of a session, with the reason
    answers: int = 0  # seq of the newest message whose recall has been dealt with
    vitals: Vitals | None = None  # now and then
    note: str = ""  # for the user: what this node is short of


class Down(NamedTuple):
    """Driver to engine: tasks, an acknowledgement of all reports up to `ack`, a recall, a stop."""

    did: str
    sid: str
    ep: int
    seq: int
    ack: int
    echo: float
    tasks: tuple[Handed, ...] = ()
    recall: tuple[Held, ...] = ()
    stop: StopMode = ""
    setup: Setup | None = None
    every_s: float = REPORT_S  # between reports, as long as no slot would run dry


class Die(NamedTuple):
    """Driver to engine: this session is held as lost; kill everything, take a new one."""

    sid: str


Message = Hello | Up | Down | Die


def encode(message: Message) -> bytes:
    """The message as JSON text in ASCII."""
    m = message
    body: list[Any]
    said: tuple[Any, ...]
    if isinstance(m, Down):
        tasks = [(h[0], h[1], h[2], h[3], _text(h[4])) for h in m.tasks]
        setup = m.setup and [[(c[0], c[1], _text(c[2])) for c in commands] for commands in m.setup]
        body = [
            "D",
            VERSION,
            m.did,
            m.sid,
            m.ep,
            m.seq,
            m.ack,
            m.echo,
            tasks,
            m.recall,
            m.stop,
            setup,
            m.every_s,
        ]
    elif isinstance(m, Up):
        said = (m.reports, m.demand, m.returned, m.bye, m.answers, m.vitals, m.note)
        body = ["U", VERSION, m.sid, m.ep, m.n_hi, m.t, *said]
    elif isinstance(m, Hello):
        said = (m.held, m.reports, m.demand, m.vitals, m.means, m.ended)
        body = ["H", VERSION, m.sid, m.ep, m.rank, m.node, m.slots, m.t, *said]
    else:
        body = ["X", VERSION, m.sid]
    return _dump(body).encode("ascii")


def decode(data: bytes) -> Message:
    """The message in `data`. Raises PeerError for anything that is not one, or of another version."""
    try:
        body = json.loads(data)
        kind, version = body[0], body[1]
        if version != VERSION:
            raise PeerError(f"a message of protocol version {version!r}; this program speaks {VERSION}")
        return _READERS[kind](body[2:])
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise PeerError(f"not a message between driver and engine ({error}): {data[:80]!r}") from None


def _hello(b: list[Any]) -> Hello:
    sid, ep, rank, node, slots, t, held, reports, demand, vitals, means, ended = b
    return Hello(
        str(sid),
        int(ep),
        int(rank),
        str(node),
        int(slots),
        float(t),
        _held(held),
        _reports(reports),
        int(demand),
        _vitals(vitals),
        Means(*map(_int, means)),
        _int(ended),
    )


def _up(b: list[Any]) -> Up:
    sid, ep, n_hi, t, reports, demand, returned, bye, answers, vitals, note = b
    return Up(
        str(sid),
        int(ep),
        int(n_hi),
        float(t),
        _reports(reports),
        int(demand),
        _held(returned),
        str(bye),
        int(answers),
        _vitals(vitals),
        str(note)[:NOTE_CHARS],
    )


def _down(b: list[Any]) -> Down:
    did, sid, ep, seq, ack, echo, tasks, recall, stop, setup, every_s = b
    if stop not in ("", "finish", "kill", "abort"):
        raise ValueError(f"unknown stop {stop!r}")
    if not 0 < every_s < 1e6:
        raise ValueError(f"reports every {every_s!r} s")
    handed = tuple([Handed(_int(i), _int(a), _int(line), _int(r), _bytes(c)) for i, a, line, r, c in tasks])
    ready = None
    if setup is not None:
        starts, stops = (
            [EngineCommand(_int(i), _int(line), _bytes(c)) for i, line, c in commands] for commands in setup
        )
        ready = Setup(tuple(starts), tuple(stops))
    return Down(
        str(did),
        str(sid),
        int(ep),
        int(seq),
        int(ack),
        float(echo),
        handed,
        _held(recall),
        stop,
        ready,
        float(every_s),
    )


def _die(b: list[Any]) -> Die:
    return Die(str(b[0]))


_READERS: dict[str, Callable[[list[Any]], Message]] = {"H": _hello, "U": _up, "D": _down, "X": _die}


def _held(pairs: list[Any]) -> tuple[Held, ...]:
    return tuple([(int(task_id), int(attempt)) for task_id, attempt in pairs])


def _reports(rows: list[Any]) -> tuple[Report, ...]:
    reports = []
    for n, kind, task_id, attempt, outcome, slot in rows:
        if kind not in ("T", "A", "Z"):
            raise ValueError(f"unknown kind of report {kind!r}")
        reports.append(Report(int(n), kind, int(task_id), int(attempt), _outcome(outcome), int(slot)))
    return tuple(reports)


def _vitals(row: list[Any] | None) -> Vitals | None:
    if row is None:
        return None
    load, used, total, cpus = row
    if not 0 <= load < 1e9:  # nor is a NaN anything that a viewer could show
        raise ValueError(f"a load of {load!r}")
    return Vitals(float(load), _int(used), _int(total), _int(cpus))


def _outcome(row: list[Any]) -> Outcome:
    pid, code, elapsed, start, finish, out_n, out, err_n, err, cpu, peak = row
    numbers = (pid, code, elapsed, start, finish, out_n, err_n, cpu, peak)
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError("an outcome with a field that is no number")
    return Outcome(pid, code, elapsed, start, finish, out_n, str(out), err_n, str(err), cpu, peak)


def _int(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no integer")
    return value


def _text(command: bytes) -> str:
    return command.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


_dump = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
